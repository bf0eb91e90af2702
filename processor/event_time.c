/* Event time, watermark and windows. Own header: event_time.h. */
#include "processor/event_time.h"

/* The largest k * step + offset <= t. */
static int64_t floor_to(int64_t t, int64_t step, int64_t offset)
{
    ASSERT(step > 0);
    int64_t into = (t - offset) % step;
    return t - (into < 0 ? into + step : into);
}

int64_t event_time_pane_end(const struct plan_view *view, int64_t t)
{
    return floor_to(t, view->pane_us, view->window_offset_us) + view->pane_us;
}

int64_t event_time_end_before(const struct plan_view *view, int64_t t)
{
    return floor_to(t - view->window_us, view->slide_us, view->window_offset_us) + view->window_us;
}

int64_t event_time_first_end(const struct plan_view *view, int64_t pane_end)
{
    return event_time_end_before(view, pane_end - 1) + view->slide_us;
}

int64_t event_time_last_end(const struct plan_view *view, int64_t pane_end)
{
    return event_time_end_before(view, pane_end - view->pane_us + view->window_us);
}

int64_t event_time_window_end(const struct plan_view *view, int64_t t)
{
    return event_time_end_before(view, t) + view->slide_us;
}

int64_t event_time_taken(const struct plan_view *view, int64_t first_end)
{
    return view->window == PLAN_WINDOW_HOP ? first_end - view->window_us : first_end - 1;
}

int64_t event_time_gone(const struct plan_view *view, int64_t limit)
{
    if (limit == KAPPA_NO_TIME || view->window == PLAN_WINDOW_SESSION) {
        return limit;
    }
    /* The first window start that is still needed; panes that end there or before are not. */
    return event_time_end_before(view, limit) - view->window_us + view->slide_us;
}

int64_t event_time_expired(const struct plan_view *view, int64_t watermark)
{
    if (view->retain_us == INT64_MAX) {
        return KAPPA_NO_TIME;
    }
    return event_time_gone(view, event_time_limit(watermark, view->retain_us));
}
