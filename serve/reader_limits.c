/* What the watermarks of the sources say about the windows of a table. Own header: reader_inner.h. */
#include "processor/event_time.h"
#include "serve/reader_inner.h"

#include <stdlib.h>

void reader_limits_make(const struct reader_read *reading, struct reader_limits *out)
{
    const struct reader_version *version = reading->version;
    const struct plan_view *view = &version->plan->views[reading->table];
    const struct plan_input *input = &version->plan->inputs[view->input];
    bool hop = view->window == PLAN_WINDOW_HOP && view->retain_us != INT64_MAX;
    *out = (struct reader_limits){.shown = INT64_MAX};
    if (!hop && !view->final_only) {
        return;
    }
    if (hop) {
        out->expired = xcalloc(version->source_count, sizeof *out->expired);
    }
    int64_t closed = INT64_MAX;
    for (uint32_t s = version->input_first[view->input]; s < version->input_first[view->input + 1];
         s++) {
        struct store_source found;
        (void)view_source(reading->snapshot, s, &found);
        int64_t watermark = event_time_watermark(found.state.event_time_max, input->watermark_us);
        if (hop) {
            out->expired[s] = event_time_limit(watermark, view->retain_us);
        }
        bool unmarked = input->marked && found.state.records > 0; /* it waits for its first mark */
        if (watermark != KAPPA_NO_TIME || unmarked) {
            closed = i64_min(closed, event_time_limit(watermark, input->lateness_us));
        }
    }
    out->shown = !view->final_only ? INT64_MAX : closed == INT64_MAX ? KAPPA_NO_TIME : closed;
}

void reader_limits_free(struct reader_limits *limits)
{
    free(limits->expired);
    limits->expired = NULL;
}
