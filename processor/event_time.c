/* Event time, watermark and windows. Own header: event_time.h. */
#include "processor/event_time.h"

int64_t event_time_last_end(const struct plan_view *view, int64_t t)
{
    ASSERT(view->window_us > 0);
    int64_t into = (t - view->window_offset_us) % view->window_us;
    return t - (into < 0 ? into + view->window_us : into);
}

int64_t event_time_window_end(const struct plan_view *view, int64_t t)
{
    return event_time_last_end(view, t) + view->window_us;
}

int64_t event_time_expired(const struct plan_view *view, int64_t watermark)
{
    int64_t limit = 0;
    if (view->retain_us == INT64_MAX || watermark == KAPPA_NO_TIME ||
        __builtin_sub_overflow(watermark, view->retain_us, &limit) || limit < -(INT64_C(1) << 62)) {
        return KAPPA_NO_TIME;
    }
    return event_time_last_end(view, limit);
}
