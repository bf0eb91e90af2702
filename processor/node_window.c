/* tumble(): the window of each row, and rows that come too late for theirs. Own header: node.h.
 *
 * A row is late for a table of windows when its window closed: window end <= watermark. Whether the
 * watermark is taken before or behind the row itself makes no difference: a row's own event time is
 * inside of its window, so it cannot close it. Tables that do not keep windows apart have no late
 * rows. */
#include "processor/event_time.h"
#include "processor/node.h"

#include <string.h>

void node_window_apply(struct processor *p, struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    const struct plan_view *plan = view->plan;
    if (plan->window_us == 0) {
        return;
    }
    ASSERT(chunk->event_time != NULL);
    uint32_t columns = p->options.plan->inputs[plan->input].column_count;
    struct expr_vec *start = &view->machine.registers[columns];
    struct expr_vec *end = &view->machine.registers[columns + 1];
    memset(start->state, EXPR_OK, chunk->n);
    memset(end->state, EXPR_OK, chunk->n);
    int64_t last_end = KAPPA_NO_TIME; /* most rows share the window of the row before */
    for (uint32_t row = 0; row < chunk->n; row++) {
        int64_t t = chunk->event_time[row];
        if (last_end == KAPPA_NO_TIME || t >= last_end || t < last_end - plan->window_us) {
            last_end = event_time_window_end(plan, t);
        }
        start->i[row] = last_end - plan->window_us;
        end->i[row] = last_end;
    }
    if (!plan->shape.windowed) {
        return;
    }
    uint32_t kept = 0;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        chunk->selected[kept] = row;
        kept += end->i[row] > chunk->watermark[row] ? 1 : 0;
    }
    chunk->source->state.late += chunk->count - kept;
    chunk->count = kept;
}
