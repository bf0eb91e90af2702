/* Event time, watermark and windows: pure arithmetic on microseconds since 1970.
 *
 * The watermark of a source is the largest event time seen in it minus the input's bound on
 * disorder. Windows are [start, end); tumble k is [k * size + offset, (k + 1) * size + offset). A
 * window is closed when watermark >= end, and its rows expire when watermark >= end + retain. All
 * times are within +-2^62 (DECODE_TIME_MAX), so that sums with sizes below 2^61 cannot overflow. */
#ifndef KAPPA_PROCESSOR_EVENT_TIME_H
#define KAPPA_PROCESSOR_EVENT_TIME_H

#include "include/kappa/record.h"
#include "processor/plan.h"

/* event_time_max KAPPA_NO_TIME: the watermark is KAPPA_NO_TIME, below every window end. */
static inline int64_t event_time_watermark(int64_t event_time_max, int64_t bound_us)
{
    int64_t watermark = KAPPA_NO_TIME;
    if (event_time_max == KAPPA_NO_TIME ||
        __builtin_sub_overflow(event_time_max, bound_us, &watermark)) {
        return KAPPA_NO_TIME;
    }
    return watermark;
}

/* End of the window that holds t. */
int64_t event_time_window_end(const struct plan_view *view, int64_t t);
/* The largest window end <= t. */
int64_t event_time_last_end(const struct plan_view *view, int64_t t);
/* The largest window end whose rows have expired at this watermark, or KAPPA_NO_TIME. */
int64_t event_time_expired(const struct plan_view *view, int64_t watermark);

#endif
