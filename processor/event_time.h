/* Event time, watermark and windows: pure arithmetic on microseconds since 1970.
 *
 * The watermark of a source is the largest event time seen in it minus the input's bound on
 * disorder. Windows are [start, end) and start at k * slide + offset. A window is closed when
 * watermark >= end + lateness, and its rows expire when watermark >= end + retain. All times are
 * within +-2^62 (DECODE_TIME_MAX), so that sums with sizes below 2^61 cannot overflow.
 *
 * Hop windows share panes: pane p covers [p - pane, p), and belongs to the windows that end at
 * first, first + slide ... last. A tumble window is its only pane. */
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

/* The watermark less a time: windows that end there or before are closed, or expired. */
static inline int64_t event_time_limit(int64_t watermark, int64_t less_us)
{
    const int64_t far_back = -(INT64_C(1) << 62);
    int64_t limit = 0;
    if (watermark == KAPPA_NO_TIME || __builtin_sub_overflow(watermark, less_us, &limit) ||
        limit < far_back) {
        return KAPPA_NO_TIME;
    }
    return limit;
}

/* End of the pane that holds t; of tumble: of its window. */
int64_t event_time_pane_end(const struct plan_view *view, int64_t t);
/* End of the first window that holds t. Not of sessions. */
int64_t event_time_window_end(const struct plan_view *view, int64_t t);
/* End of the first and of the last window that a pane belongs to. */
int64_t event_time_first_end(const struct plan_view *view, int64_t pane_end);
int64_t event_time_last_end(const struct plan_view *view, int64_t pane_end);
/* The largest window end <= t. */
int64_t event_time_end_before(const struct plan_view *view, int64_t t);
/* Windows that end before first_end were taken over from another version: the last end of a pane that
 * belongs to them alone (all of its windows end before). Of tumble: of a window that was taken over. */
int64_t event_time_taken(const struct plan_view *view, int64_t first_end);
/* Largest window end of a stored row (pane, session) all of whose windows end at or before the
 * limit; KAPPA_NO_TIME for KAPPA_NO_TIME. */
int64_t event_time_gone(const struct plan_view *view, int64_t limit);
/* The same for the limit of retention. */
int64_t event_time_expired(const struct plan_view *view, int64_t watermark);

#endif
