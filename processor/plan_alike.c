/* Do two views keep and read rows in the same way? Own header: plan.h.
 *
 * Then equal stored bytes are equal rows, whatever chose and computed what was stored. In doubt the
 * answer is no: that only costs a comparison. */
#include "processor/expr_step.h"
#include "processor/plan.h"

#include <string.h>

static bool same_text(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static bool same_constant(const struct kappa_value *a, const struct kappa_value *b)
{
    if (a->type != b->type || a->is_null != b->is_null) {
        return false;
    }
    if (a->is_null || a->type == KAPPA_TYPE_NULL) {
        return true;
    }
    enum kappa_payload payload = kappa_type_payload(a->type);
    if (payload == KAPPA_PAYLOAD_BYTES) {
        return a->s.len == b->s.len &&
               (a->s.len == 0 || memcmp(a->s.bytes, b->s.bytes, a->s.len) == 0);
    }
    if (payload == KAPPA_PAYLOAD_NUMERIC) {
        return a->n.low == b->n.low && a->n.high == b->n.high && a->n.scale == b->n.scale;
    }
    return a->i == b->i; /* of doubles: their bits */
}

static bool same_step(const struct expr_step *a, const struct expr_step *b)
{
    return a->run == b->run && a->out == b->out && a->option == b->option && a->prepared == NULL &&
           b->prepared == NULL && a->arg_count == b->arg_count &&
           (a->arg_count == 0 || memcmp(a->args, b->args, a->arg_count * sizeof *a->args) == 0) &&
           same_constant(&a->constant, &b->constant);
}

static bool same_program(const struct expr_program *a, const struct expr_program *b)
{
    if (a->step_count != b->step_count || a->input_count != b->input_count ||
        a->register_count != b->register_count) {
        return false;
    }
    for (uint32_t i = 0; i < a->register_count; i++) {
        if (a->types[i] != b->types[i]) {
            return false;
        }
    }
    for (uint32_t i = 0; i < a->step_count; i++) {
        if (!same_step(&a->steps[i], &b->steps[i])) {
            return false;
        }
    }
    return true;
}

static bool same_keys(const struct plan_view *a, const struct plan_view *b)
{
    bool same = a->key_count == b->key_count;
    for (uint32_t i = 0; same && i < a->key_count; i++) {
        same = a->keys[i].role == b->keys[i].role && a->keys[i].type == b->keys[i].type &&
               a->keys[i].modifier == b->keys[i].modifier;
    }
    return same;
}

static bool same_aggregates(const struct plan_view *a, const struct plan_view *b)
{
    bool same = a->aggregate_count == b->aggregate_count;
    for (uint32_t i = 0; same && i < a->aggregate_count; i++) {
        const struct plan_aggregate *x = &a->aggregates[i];
        const struct plan_aggregate *y = &b->aggregates[i];
        same = x->kind == y->kind && x->argument_type == y->argument_type &&
               x->result_type == y->result_type && x->by_type == y->by_type &&
               same_constant(&x->parameter, &y->parameter);
    }
    return same;
}

static bool same_outputs(const struct plan_view *a, const struct plan_view *b)
{
    bool same = a->output_count == b->output_count && a->having == b->having;
    for (uint32_t i = 0; same && i < a->output_count; i++) {
        same = a->outputs[i].reg == b->outputs[i].reg && a->outputs[i].type == b->outputs[i].type &&
               same_text(a->outputs[i].name, b->outputs[i].name);
    }
    return same;
}

/* What is shown of these depends on more than the rows: on watermarks, on an order. */
static bool is_plain(const struct plan_view *view)
{
    return view->window != PLAN_WINDOW_HOP && !view->final_only && view->top == NULL;
}

bool plan_view_alike(const struct plan_view *a, const struct plan_view *b)
{
    return is_plain(a) && is_plain(b) && a->kind == b->kind && a->window == b->window &&
           a->window_us == b->window_us && a->window_offset_us == b->window_offset_us &&
           a->shape.windowed == b->shape.windowed && a->shape.history == b->shape.history &&
           a->shape.idle == b->shape.idle && a->upsert == b->upsert &&
           a->append_count == b->append_count && same_keys(a, b) && same_aggregates(a, b) &&
           same_outputs(a, b) && same_program(&a->final, &b->final);
}
