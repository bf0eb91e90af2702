/* INSERT INTO: a message per row, kept until the commit (node_message.c). Own header: node.h.
 *
 * Time: the row's event time, else the record's time. Rows of closed windows: node_final.c. */
#include "processor/node.h"

void node_topic_open(struct processor *p, struct node_view *view)
{
    uint32_t columns = p->options.plan->topics[view->plan->topic].column_count;
    view->values = arena_calloc(&p->memory, (columns + 1) * sizeof *view->values);
}

/* The columns of the topic in this row; null where nothing is inserted. */
static void set_values(const struct node_view *view, uint32_t columns, uint32_t row)
{
    for (uint32_t c = 0; c < columns; c++) {
        enum expr_state state = EXPR_OK;
        uint32_t reg = view->plan->append_regs[c];
        view->values[c] = reg == PLAN_NONE ? (struct kappa_value){.is_null = true}
                                           : expr_value(&view->machine.registers[reg], row, &state);
    }
}

static int64_t message_time(const struct node_chunk *chunk, uint32_t row)
{
    if (chunk->event_time == NULL) {
        return chunk->records[row]->time_ms;
    }
    int64_t us = chunk->event_time[row];
    return us / 1000 - (us % 1000 < 0 ? 1 : 0);
}

void node_topic_apply(struct processor *p, const struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    const struct plan_topic *topic = &p->options.plan->topics[view->plan->topic];
    struct node_pending *pending = &chunk->source->parts[view->index].pending;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        set_values(view, topic->column_count, row);
        const struct node_message message = {.topic = topic,
                                             .values = view->values,
                                             .record = chunk->records[row],
                                             .time_ms = message_time(chunk, row),
                                             .offset = chunk->offset[row],
                                             .number = chunk->number[row]};
        if (!node_message_keep(p, pending, &message, &p->row)) {
            node_refuse(p, view, row, buf_text(&p->row));
        }
    }
}

int node_topic_flush(struct processor *p, const struct node_view *view,
                     const struct kappa_change_sink *sink, struct err *err)
{
    if (sink->out == NULL) {
        return err_set(err, KE_REFUSED, "not supported yet: messages to topic %s",
                       view->plan->shape.name);
    }
    /* Views that write one topic share its numbers: each has its own seq. */
    const struct plan *plan = p->options.plan;
    uint32_t seq = 0;
    uint32_t writers = 0;
    for (uint32_t v = plan->view_count; v < plan->pipeline_count; v++) {
        bool same = plan->views[v].topic == view->plan->topic;
        seq += same && v < view->index ? 1 : 0;
        writers += same ? 1 : 0;
    }
    for (uint32_t s = 0; s < p->source_count; s++) {
        const struct node_source *source = &p->sources[s];
        if (!source->open || source->input != view->plan->input) {
            continue;
        }
        const struct node_pending *pending = &source->parts[view->index].pending;
        size_t start = 0;
        for (size_t i = 0; i < pending->count; i++) {
            int rc = sink->out(sink->ctx, view->plan->topic, s, pending->offsets[i],
                               seq + pending->numbers[i] * writers, pending->bytes.data + start,
                               pending->ends[i] - start, err);
            if (rc < 0) {
                return rc;
            }
            start = pending->ends[i];
        }
    }
    return 0;
}
