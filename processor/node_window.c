/* tumble() and hop(): the window or pane of each row, and rows that come too late for theirs. Own
 * header: node.h.
 *
 * A row is late when its window closed: window end + lateness <= watermark. Whether the watermark is
 * taken before or behind the row itself makes no difference: a row's own event time is inside of its
 * window, so it cannot close it. Tables that do not keep windows apart have no late rows.
 *
 * A row of a hop is late for the first windows of its pane before it is for the last. It goes to a
 * part of the pane that says for how many: part k stays out of the pane's first k windows. Most rows
 * are in part 0.
 *
 * The window registers: of tumble start and end; of hop, where row programs do not read them, the
 * part and the pane's end; of session they are unset, node_session.c does it all. */
#include "base/timefmt.h"
#include "processor/event_time.h"
#include "processor/node.h"

#include <string.h>

static uint32_t window_register(const struct processor *p, const struct plan_view *plan)
{
    return p->options.plan->inputs[plan->rows].column_count;
}

static int64_t lateness_of(const struct processor *p, const struct plan_view *plan)
{
    return p->options.plan->inputs[plan->input].lateness_us;
}

static void tumble_windows(const struct node_chunk *chunk, const struct plan_view *plan,
                           struct expr_vec *start, struct expr_vec *end)
{
    int64_t last_end = KAPPA_NO_TIME; /* most rows share the window of the row before */
    for (uint32_t row = 0; row < chunk->n; row++) {
        int64_t t = chunk->event_time[row];
        if (last_end == KAPPA_NO_TIME || t >= last_end || t < last_end - plan->window_us) {
            last_end = event_time_window_end(plan, t);
        }
        start->i[row] = last_end - plan->window_us;
        end->i[row] = last_end;
    }
}

/* For how many of the pane's windows a row is late. */
static int64_t late_windows(const struct plan_view *plan, int64_t pane_end, int64_t limit)
{
    int64_t first = event_time_first_end(plan, pane_end);
    return limit == KAPPA_NO_TIME || limit < first ? 0 : (limit - first) / plan->slide_us + 1;
}

static void hop_panes(const struct node_chunk *chunk, const struct plan_view *plan,
                      int64_t lateness_us, struct expr_vec *part, struct expr_vec *end)
{
    int64_t last_end = KAPPA_NO_TIME;
    int64_t first_window = 0;
    for (uint32_t row = 0; row < chunk->n; row++) {
        int64_t t = chunk->event_time[row];
        if (last_end == KAPPA_NO_TIME || t >= last_end || t < last_end - plan->pane_us) {
            last_end = event_time_pane_end(plan, t);
            first_window = event_time_first_end(plan, last_end);
        }
        int64_t limit = event_time_limit(chunk->watermark[row], lateness_us);
        end->i[row] = last_end;
        part->i[row] = limit < first_window ? 0 : late_windows(plan, last_end, limit);
    }
}

void node_window_apply(struct processor *p, struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    const struct plan_view *plan = view->plan;
    if (plan->window == PLAN_WINDOW_NONE || plan->window == PLAN_WINDOW_SESSION) {
        return;
    }
    ASSERT(chunk->event_time != NULL);
    struct expr_vec *start = &view->machine.registers[window_register(p, plan)];
    struct expr_vec *end = start + 1;
    memset(start->state, EXPR_OK, chunk->n);
    memset(end->state, EXPR_OK, chunk->n);
    if (plan->window == PLAN_WINDOW_TUMBLE) {
        tumble_windows(chunk, plan, start, end);
    } else {
        hop_panes(chunk, plan, lateness_of(p, plan), start, end);
    }
}

void node_window_late_row(struct processor *p, const struct node_view *view, uint32_t row,
                          int64_t window_end)
{
    struct node_chunk *chunk = &p->chunk;
    chunk->source->state.late++;
    if (!p->options.plan->inputs[view->plan->input].late_kept) {
        return;
    }
    char end[TIME_TEXT_LEN];
    char watermark[TIME_TEXT_LEN];
    time_format(window_end, end);
    time_format(chunk->watermark[row], watermark);
    buf_reset(&p->row);
    buf_printf(&p->row, "the window that ended at %s was closed: the watermark was %s", end,
               watermark);
    dead_add(&p->late, chunk->source_index, view->index, chunk->records[row], buf_text(&p->row));
}

/* No window of the chunk ended by its last watermark, which is its largest. */
static bool none_late(const struct node_chunk *chunk, const struct expr_vec *ends,
                      int64_t lateness_us)
{
    int64_t first = INT64_MAX;
    for (uint32_t row = 0; row < chunk->n; row++) {
        first = i64_min(first, ends->i[row]);
    }
    return first > event_time_limit(chunk->watermark[chunk->n - 1], lateness_us);
}

/* Rows whose windows were taken over with what they add. A pane of a hop that has windows of both kinds
 * takes its row in the part that stays out of those: the same as if it were late for them. */
static void leave_taken(const struct processor *p, const struct node_view *view,
                        struct node_chunk *chunk)
{
    const struct node_source *source = chunk->source;
    const struct plan_view *plan = view->plan;
    struct expr_vec *parts = &view->machine.registers[window_register(p, plan)];
    const struct expr_vec *ends = parts + 1;
    int64_t first_end = source->taken[view->table];
    int64_t taken = event_time_taken(plan, first_end);
    bool hop = plan->window == PLAN_WINDOW_HOP;
    uint32_t kept = 0;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        bool below = chunk->records[row]->offset < source->taken_below;
        if (below && ends->i[row] <= taken) {
            continue;
        }
        if (below && hop && ends->i[row] < first_end) {
            parts->i[row] = i64_max(parts->i[row], late_windows(plan, ends->i[row], first_end - 1));
        }
        chunk->selected[kept++] = row;
    }
    chunk->count = kept;
}

void node_window_taken(struct processor *p, struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    if (chunk->source->taken != NULL && chunk->n > 0 &&
        chunk->records[0]->offset < chunk->source->taken_below) {
        leave_taken(p, view, chunk);
    }
}

void node_window_late(struct processor *p, const struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    const struct plan_view *plan = view->plan;
    if (!plan->shape.windowed || plan->window == PLAN_WINDOW_SESSION) {
        return;
    }
    int64_t lateness_us = lateness_of(p, plan);
    const struct expr_vec *ends = &view->machine.registers[window_register(p, plan) + 1];
    bool hop = plan->window == PLAN_WINDOW_HOP;
    uint32_t kept = 0;
    if (none_late(chunk, ends, lateness_us)) {
        return;
    }
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        int64_t limit = event_time_limit(chunk->watermark[row], lateness_us);
        int64_t end = ends->i[row];
        if (end > limit || (hop && event_time_last_end(plan, end) > limit)) {
            chunk->selected[kept++] = row;
        } else {
            node_window_late_row(p, view, row, hop ? event_time_last_end(plan, end) : end);
        }
    }
    chunk->count = kept;
}
