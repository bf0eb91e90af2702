/* What decides the stored bytes of a plan, as one hash. Own header: plan.h.
 *
 * Every field of the plan that the processor reads before a row is stored is written into a buffer, with
 * lengths in front, and that is hashed. A field that is forgotten here would let a version begin with
 * another one's state, so: when plan.h grows, so does this, or tests/unit/processor/test_plan_members.c
 * does not compile or fails. What is compiled into a step (a pattern) is not looked into: there the whole
 * definition counts. */
#include "base/buf.h"
#include "processor/event_time.h"
#include "processor/expr_step.h"
#include "processor/plan.h"

#include <string.h>

static void put(struct buf *out, uint64_t value)
{
    uint8_t bytes[8];
    store_u64_le(bytes, value);
    buf_append(out, bytes, sizeof bytes);
}

static void put_time(struct buf *out, int64_t value)
{
    put(out, (uint64_t)value);
}

static void put_text(struct buf *out, const char *text)
{
    put(out, text == NULL ? UINT64_MAX : strlen(text));
    buf_append_text(out, text == NULL ? "" : text);
}

static void put_list(struct buf *out, const uint32_t *list, uint32_t count)
{
    put(out, list == NULL ? UINT64_MAX : count);
    for (uint32_t i = 0; list != NULL && i < count; i++) {
        put(out, list[i]);
    }
}

static void put_constant(struct buf *out, const struct kappa_value *value)
{
    put(out, value->type);
    put(out, value->is_null);
    if (value->is_null || value->type == KAPPA_TYPE_NULL) {
        return;
    }
    enum kappa_payload payload = kappa_type_payload(value->type);
    if (payload == KAPPA_PAYLOAD_BYTES) {
        put(out, value->s.len);
        buf_append(out, value->s.bytes, value->s.len);
    } else if (payload == KAPPA_PAYLOAD_NUMERIC) {
        put(out, value->n.low);
        put_time(out, value->n.high);
        put_time(out, value->n.scale);
    } else {
        put_time(out, value->i); /* of doubles: their bits */
    }
}

/* ---- Programs */

static void put_program(struct buf *out, const struct plan *plan,
                        const struct expr_program *program)
{
    put(out, program->step_count);
    put(out, program->input_count);
    put(out, program->register_count);
    for (uint32_t i = 0; i < program->register_count; i++) {
        put(out, program->types[i]);
    }
    for (uint32_t i = 0; i < program->step_count; i++) {
        const struct expr_step *step = &program->steps[i];
        put(out, (uint64_t)((uintptr_t)step->run - (uintptr_t)expr_constant));
        put(out, step->out);
        put_time(out, step->option);
        put_list(out, step->args, step->arg_count);
        put_constant(out, &step->constant);
        if (step->prepared != NULL) { /* not looked into: the definition says what it is */
            buf_append(out, &plan->hash, sizeof plan->hash);
        }
    }
}

static void put_top(struct buf *out, const struct plan_top *top)
{
    put(out, top != NULL);
    if (top == NULL) {
        return;
    }
    put(out, top->limit);
    put(out, top->order_count);
    for (uint32_t i = 0; i < top->order_count; i++) {
        put(out, top->order[i].reg);
        put(out, top->order[i].descending);
    }
    put_list(out, top->columns, top->column_count);
    put(out, top->newest);
}

static void put_aggregate(struct buf *out, const struct plan_aggregate *aggregate)
{
    put(out, aggregate->kind);
    put(out, aggregate->argument_type);
    put(out, aggregate->result_type);
    put(out, aggregate->argument);
    put(out, aggregate->filter);
    put(out, aggregate->by_type);
    put(out, aggregate->by_type == KAPPA_TYPE_NULL ? 0 : aggregate->by);
    put_constant(out, &aggregate->parameter);
    put_top(out, aggregate->top);
}

static void put_over(struct buf *out, const struct plan_over *over)
{
    put(out, over->kind);
    put(out, over->out);
    switch (over->kind) {
    case PLAN_OVER_LAG:
        put(out, over->value);
        put(out, over->otherwise);
        put_time(out, over->n);
        break;
    case PLAN_OVER_AGGREGATE:
        put(out, over->frame.rows);
        put_time(out, over->frame.start);
        put_time(out, over->frame.end);
        put(out, over->frame.without_current);
        put_aggregate(out, &over->aggregate);
        break;
    case PLAN_OVER_ROW_NUMBER:
        break;
    }
}

static void put_operator(struct buf *out, const struct plan_operator *op)
{
    put(out, op->kind);
    put(out, op->table);
    put_list(out, op->keys, op->key_count);
    put_list(out, op->values, op->value_count);
    if (op->kind == PLAN_LOOKUP) {
        put(out, op->right_where);
        put_list(out, op->right_keys, op->key_count);
        put_list(out, op->outs, op->value_count);
        put(out, op->inner);
        put(out, op->as_of);
        put(out, op->before);
        put(out, op->as_of ? op->left_time : 0);
        put(out, op->as_of ? op->right_time : 0);
        put_time(out, op->history_us);
        return;
    }
    put(out, op->by_time);
    put(out, op->over_count);
    for (uint32_t i = 0; i < op->over_count; i++) {
        put_over(out, &op->overs[i]);
    }
    put_time(out, op->keep_us);
    put(out, op->keep_rows);
}

/* ---- Inputs, views, topics */

/* used: which of them are read counts too. */
static void put_columns(struct buf *out, const struct plan_column *columns, uint32_t count,
                        bool used)
{
    put(out, count);
    for (uint32_t i = 0; i < count; i++) {
        put_text(out, columns[i].name);
        put(out, columns[i].type);
        put(out, used && columns[i].used);
        put(out, columns[i].hidden);
        put_time(out, columns[i].modifier);
    }
}

static void put_format(struct buf *out, const struct plan_input *input)
{
    put(out, input->format);
    put(out, (uint8_t)input->csv.delimiter);
    put(out, (uint8_t)input->csv.quote);
    put(out, input->csv.any_fields);
    put(out, input->csv.null.len);
    buf_append(out, input->csv.null.bytes, input->csv.null.len);
    put_text(out, input->avro_schema);
    put_text(out, input->schema_registry);
    put(out, input->rename_count);
    for (uint32_t i = 0; i < input->rename_count; i++) {
        put(out, input->renames[i].column);
        put(out, input->renames[i].depth);
        for (uint32_t k = 0; k < input->renames[i].depth; k++) {
            put_text(out, input->renames[i].path[k]);
        }
    }
    put_time(out, input->timestamp_unit_us_num);
    put_time(out, input->timestamp_unit_us_den);
}

static void put_input(struct buf *out, const struct plan_input *input, bool used)
{
    put_text(out, input->topic);
    put_columns(out, input->columns, input->column_count, used);
    put(out, input->meta_count);
    for (uint32_t i = 0; i < input->meta_count; i++) {
        put(out, input->metas[i].kind);
        put(out, input->metas[i].column);
        put_text(out, input->metas[i].header);
    }
    put_format(out, input);
    put(out, input->keyed);
    put(out, input->keyed ? input->key_column : 0);
    put(out, input->partitioner);
    put(out, input->tombstones);
    put_list(out, input->primary, input->primary_count);
    put(out, input->dead_limited);
    put(out, input->dead_share);
    put_time(out, input->dead_max);
    put(out, input->dead_ppm);
    put(out, input->event_time);
    put_time(out, input->watermark_us);
    put(out, input->marked);
    put_time(out, input->lateness_us);
    put_time(out, input->history_us);
    put(out, input->late_kept);
}

static void put_shape(struct buf *out, const struct kappa_table_shape *shape)
{
    put_text(out, shape->name);
    put(out, shape->windowed);
    put(out, shape->history);
    put(out, shape->idle);
    put(out, shape->leaves);
}

static void put_phases(struct buf *out, const struct plan_view *view)
{
    put(out, view->phase_count);
    for (uint32_t i = 0; i < view->phase_count; i++) {
        put(out, view->phases[i].step_end);
        put(out, view->phases[i].where);
        put(out, view->phases[i].op != NULL);
        if (view->phases[i].op != NULL) {
            put_operator(out, view->phases[i].op);
        }
    }
    put(out, view->where);
}

static void put_keys(struct buf *out, const struct plan_view *view)
{
    put(out, view->key_count);
    for (uint32_t i = 0; i < view->key_count; i++) {
        put(out, view->keys[i].role);
        put(out, view->keys[i].type);
        put(out, view->keys[i].reg);
        put_time(out, view->keys[i].modifier);
    }
}

/* A row that becomes a message: what is made of it is stored too. */
static void put_finish(struct buf *out, const struct plan *plan, const struct plan_view *view)
{
    put_program(out, plan, &view->final);
    put(out, view->having);
    put(out, view->output_count);
    for (uint32_t i = 0; i < view->output_count; i++) {
        put_text(out, view->outputs[i].name);
        put(out, view->outputs[i].type);
        put(out, view->outputs[i].reg);
    }
    put_list(out, view->topic_outputs, plan->topics[view->topic].column_count);
}

static void put_view(struct buf *out, const struct plan *plan, const struct plan_view *view)
{
    put_shape(out, &view->shape);
    put(out, view->kind);
    put(out, view->input);
    put(out, view->rows);
    put(out, view->numbered);
    put(out, view->emits);
    put(out, view->emits || view->kind == PLAN_TOPIC ? view->topic : 0);
    put(out, view->emits ? view->table : 0);
    put(out, view->window);
    put_time(out, view->window_us);
    put_time(out, view->slide_us);
    put_time(out, view->pane_us);
    put_time(out, view->window_offset_us);
    put_time(out, view->retain_us);
    put_time(out, view->ttl_us);
    put_program(out, plan, &view->row);
    put_phases(out, view);
    put_keys(out, view);
    put(out, view->aggregate_count);
    for (uint32_t i = 0; i < view->aggregate_count; i++) {
        put_aggregate(out, &view->aggregates[i]);
    }
    put_top(out, view->top);
    put(out, view->upsert);
    put_list(out, view->append_regs, view->append_count);
    if (view->emits) {
        put_finish(out, plan, view);
    }
}

static void put_topic(struct buf *out, const struct plan_topic *topic)
{
    put_text(out, topic->topic);
    put_text(out, topic->format);
    put_columns(out, topic->columns, topic->column_count, true);
    for (uint32_t i = 0; i < topic->column_count; i++) {
        put(out, topic->not_null != NULL && topic->not_null[i]);
    }
    put(out, topic->key);
    put(out, topic->value);
    put_list(out, topic->headers, topic->header_count);
    put(out, topic->keep_headers);
    put(out, topic->time);
}

struct digest plan_state_hash(const struct plan *plan)
{
    struct buf out = {0};
    put(&out, plan->input_count);
    for (uint32_t i = 0; i < plan->input_count; i++) {
        put_input(&out, &plan->inputs[i], true);
    }
    put(&out, plan->plugin_count);
    for (uint32_t i = 0; i < plan->plugin_count; i++) {
        put_text(&out, plan->plugins[i].file);
        put(&out, plan->plugins[i].input);
        put(&out, plan->plugins[i].table);
        put_input(&out, &plan->inputs[plan->plugins[i].rows], true);
    }
    put(&out, plan->view_count);
    put(&out, plan->pipeline_count);
    for (uint32_t i = 0; i < plan->pipeline_count; i++) {
        put_view(&out, plan, &plan->views[i]);
    }
    put(&out, plan->topic_count);
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        put_topic(&out, &plan->topics[i]);
    }
    put(&out, plan->table_count);
    for (uint32_t i = 0; i < plan->table_count; i++) {
        put_shape(&out, &plan->tables[i].shape);
        put(&out, plan->tables[i].hidden);
    }
    for (uint32_t i = 0; i < plan->file_count; i++) {
        put_text(&out, plan->files[i].name);
        buf_append(&out, &plan->files[i].hash, sizeof plan->files[i].hash);
    }
    struct digest hash = hash_content(out.data, out.len);
    buf_free(&out);
    return hash;
}

/* ---- Windows that are taken over */

static int refuse(const struct plan_view *view, const char *what, struct err *err)
{
    int rc = err_set(err, KE_REFUSED, "%s %s: its windows cannot be recomputed alone",
                     view->shape.name, what);
    err_hint(err, "--in-window is for tables of tumbling and hopping windows; without it all is "
                  "replayed");
    return rc;
}

static int check_view(const struct plan *plan, const struct plan_view *view, struct err *err)
{
    if (view->kind == PLAN_TOPIC && view->phase_count == 0) {
        return 0;
    }
    if (view->phase_count > 0 || view->rows != view->input) {
        return refuse(view, "keeps state beside its rows (OVER, a join, a plugin)", err);
    }
    if (view->window == PLAN_WINDOW_SESSION) {
        return refuse(view,
                      "has sessions, and one that goes on at that time may have begun at any "
                      "time before",
                      err);
    }
    if (view->kind != PLAN_GROUP || !view->shape.windowed) {
        return refuse(view, "is no table of tumbling or hopping windows", err);
    }
    if (view->emits || view->top != NULL || view->upsert) {
        return refuse(view, "keeps state beside its rows", err);
    }
    return plan->inputs[view->input].marked ? refuse(view, "has its watermark from marks", err) : 0;
}

/* What of a table decides which rows there are, and what their bytes mean. */
static void put_layout(struct buf *out, const struct plan_view *view)
{
    put_shape(out, &view->shape);
    put(out, view->input);
    put(out, view->window);
    put_time(out, view->window_us);
    put_time(out, view->slide_us);
    put_time(out, view->window_offset_us);
    put(out, view->key_count);
    for (uint32_t i = 0; i < view->key_count; i++) {
        put(out, view->keys[i].role);
        put(out, view->keys[i].type);
        put_time(out, view->keys[i].modifier);
    }
    put(out, view->aggregate_count);
    for (uint32_t i = 0; i < view->aggregate_count; i++) {
        const struct plan_aggregate *aggregate = &view->aggregates[i];
        put(out, aggregate->kind);
        put(out, aggregate->argument_type);
        put(out, aggregate->result_type);
        put(out, aggregate->by_type);
        put_constant(out, &aggregate->parameter);
    }
}

static struct digest layout_of(const struct plan_view *view)
{
    struct buf out = {0};
    put_layout(&out, view);
    struct digest hash = hash_content(out.data, out.len);
    buf_free(&out);
    return hash;
}

static struct digest reading_of(const struct plan *plan)
{
    struct buf out = {0};
    put(&out, plan->input_count);
    for (uint32_t i = 0; i < plan->input_count; i++) {
        put_input(&out, &plan->inputs[i], false);
    }
    struct digest hash = hash_content(out.data, out.len);
    buf_free(&out);
    return hash;
}

int plan_windows_check(const struct plan *from, const struct plan *to, struct err *err)
{
    const struct plan *const both[] = {from, to};
    for (size_t b = 0; b < array_len(both); b++) {
        for (uint32_t i = 0; i < both[b]->pipeline_count; i++) {
            int rc = check_view(both[b], &both[b]->views[i], err);
            if (rc != 0) {
                return rc;
            }
        }
    }
    if (from->table_count != to->table_count || to->table_count != to->view_count ||
        from->view_count != to->view_count || to->view_count == 0) {
        return err_set(err, KE_REFUSED, "--in-window: the definitions do not have the same tables");
    }
    if (!digest_equal(reading_of(from), reading_of(to))) {
        return err_set(err, KE_REFUSED,
                       "--in-window: the definitions do not read their topics in the same way, so "
                       "that other records may be late");
    }
    for (uint32_t i = 0; i < to->view_count; i++) {
        if (!digest_equal(layout_of(&from->views[i]), layout_of(&to->views[i]))) {
            return refuse(&to->views[i], "stores other rows than the serving version's", err);
        }
        /* A window that expired there may have lost the panes that it alone was in. */
        if (to->views[i].window == PLAN_WINDOW_HOP &&
            to->views[i].retain_us > from->views[i].retain_us) {
            return refuse(&to->views[i],
                          "retains windows longer than the serving version, which "
                          "has let parts of them go",
                          err);
        }
    }
    return 0;
}

int64_t plan_first_window(const struct plan_view *view, int64_t t, int64_t *start)
{
    int64_t end = event_time_window_end(view, t);
    *start = end - view->window_us;
    return end;
}

bool plan_is_stateful(const struct plan *plan)
{
    bool stateful = plan->plugin_count > 0;
    for (uint32_t i = 0; i < plan->pipeline_count && !stateful; i++) {
        const struct plan_view *view = &plan->views[i];
        stateful = view->kind == PLAN_GROUP || view->upsert || view->phase_count > 0;
    }
    return stateful;
}
