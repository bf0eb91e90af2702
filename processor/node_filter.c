/* WHERE, and what becomes of rows whose expressions fail. Own header: node.h. */
#include "processor/node.h"

#include <string.h>

void node_refuse(struct processor *p, const struct node_view *view, uint32_t row,
                 const char *reason)
{
    struct node_chunk *chunk = &p->chunk;
    dead_add(&p->dead, chunk->source_index, view->index, chunk->records[row], reason);
    chunk->source->state.dead++;
}

/* name: of the column, or the clause; NULL: it is not known. */
static void refuse_value(struct processor *p, const struct node_view *view, uint32_t row,
                         const char *name, enum expr_state error)
{
    if (name == NULL) {
        node_refuse(p, view, row, expr_error_text(error));
        return;
    }
    buf_reset(&p->row);
    buf_printf(&p->row, "%s: %s", name, expr_error_text(error));
    node_refuse(p, view, row, buf_text(&p->row));
}

static void add_named_check(struct node_view *view, uint32_t reg, uint32_t filter, const char *name)
{
    if (reg != PLAN_NONE) {
        view->checks[view->check_count++] = (struct node_check){reg, filter, UINT32_MAX, name};
    }
}

static void add_check(struct node_view *view, uint32_t reg, uint32_t filter)
{
    add_named_check(view, reg, filter, NULL);
}

/* Arguments of an aggregate that keeps texts may not be longer than the row has room for. */
static void add_argument(struct node_view *view, const struct plan_aggregate *aggregate,
                         uint32_t reg, enum kappa_type type, uint32_t text_limit)
{
    uint32_t before = view->check_count;
    add_check(view, reg, aggregate->filter);
    if (view->check_count > before && agg_keeps_text(aggregate) &&
        kappa_type_payload(type) == KAPPA_PAYLOAD_BYTES) {
        view->checks[before].text_limit = text_limit;
    }
}

/* Stored column c is output c where the final program only passes it on. */
static const char *append_name(const struct plan_view *plan, uint32_t c)
{
    for (uint32_t o = 0; plan->kind == PLAN_APPEND && o < plan->output_count; o++) {
        if (plan->outputs[o].reg == c) {
            return plan->outputs[o].name;
        }
    }
    return NULL;
}

void node_filter_open(struct processor *p, struct node_view *view)
{
    const struct plan_view *plan = view->plan;
    uint32_t top = plan->top == NULL ? 0 : plan->top->order_count + plan->top->column_count;
    uint32_t most = plan->key_count + 3 * plan->aggregate_count + plan->append_count + top + 1;
    view->checks = arena_calloc(&p->memory, most * sizeof *view->checks);
    for (uint32_t k = 0; k < plan->key_count; k++) {
        add_named_check(view, plan->keys[k].reg, PLAN_NONE, plan->keys[k].name);
    }
    uint32_t text_limit = agg_text_limit(plan->aggregates, plan->aggregate_count);
    for (uint32_t a = 0; a < plan->aggregate_count; a++) {
        add_check(view, plan->aggregates[a].filter, PLAN_NONE);
        const struct plan_aggregate *aggregate = &plan->aggregates[a];
        add_argument(view, aggregate, aggregate->argument, aggregate->argument_type, text_limit);
        if (aggregate->by_type != KAPPA_TYPE_NULL) {
            add_argument(view, aggregate, aggregate->by, aggregate->by_type, text_limit);
        }
    }
    for (uint32_t c = 0; c < plan->append_count; c++) {
        add_named_check(view, plan->append_regs[c], PLAN_NONE, append_name(plan, c));
    }
    for (uint32_t k = 0; plan->top != NULL && k < plan->top->order_count; k++) {
        add_check(view, plan->top->order[k].reg, PLAN_NONE);
    }
    for (uint32_t c = 0; plan->top != NULL && c < plan->top->column_count; c++) {
        add_check(view, plan->top->columns[c], PLAN_NONE);
    }
}

void node_filter_apply(struct processor *p, const struct node_view *view, uint32_t reg)
{
    if (reg == PLAN_NONE) {
        return;
    }
    struct node_chunk *chunk = &p->chunk;
    const struct expr_vec *where = &view->machine.registers[reg];
    uint32_t kept = 0;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        uint8_t state = where->state[row];
        if (state >= EXPR_ERROR_FIRST) {
            refuse_value(p, view, row, "WHERE", (enum expr_state)state);
        }
        chunk->selected[kept] = row;
        kept += state == EXPR_OK && where->i[row] != 0 ? 1 : 0;
    }
    chunk->count = kept;
}

/* Eight states at a time; both states without error are below 2. */
static bool any_error(const uint8_t *state, uint32_t n)
{
    uint64_t all = 0;
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        all |= load_u64_le(state + i);
    }
    for (; i < n; i++) {
        all |= state[i];
    }
    return (all & UINT64_C(0xFEFEFEFEFEFEFEFE)) != 0;
}

static bool is_long(const struct expr_vec *vec, uint32_t row, uint32_t limit)
{
    return limit != UINT32_MAX && vec->state[row] == EXPR_OK && vec->s[row].len > limit;
}

/* Of the selected rows: others may have no text. */
static bool any_long(const struct node_chunk *chunk, const struct expr_vec *vec, uint32_t limit)
{
    bool any = false;
    for (uint32_t s = 0; limit != UINT32_MAX && s < chunk->count && !any; s++) {
        any = is_long(vec, chunk->selected[s], limit);
    }
    return any;
}

/* The first error of the row that matters, or EXPR_OK. *name: where it is, or NULL. */
static enum expr_state row_error(const struct node_view *view, uint32_t row, const char **name)
{
    *name = NULL;
    const struct expr_vec *registers = view->machine.registers;
    for (uint32_t c = 0; c < view->check_count; c++) {
        const struct node_check *check = &view->checks[c];
        uint8_t state = registers[check->reg].state[row];
        if (is_long(&registers[check->reg], row, check->text_limit)) {
            state = EXPR_ERROR_LIMIT;
        }
        if (state < EXPR_ERROR_FIRST) {
            continue;
        }
        const struct expr_vec *filter =
            check->filter == PLAN_NONE ? NULL : &registers[check->filter];
        if (filter == NULL || (filter->state[row] == EXPR_OK && filter->i[row] != 0)) {
            *name = check->name;
            return (enum expr_state)state;
        }
    }
    return EXPR_OK;
}

void node_filter_upsert(struct processor *p, const struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    const struct expr_vec *registers = view->machine.registers;
    const struct expr_vec *where =
        view->plan->where == PLAN_NONE ? NULL : &registers[view->plan->where];
    uint32_t kept = 0;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        uint8_t state = where == NULL ? EXPR_OK : where->state[row];
        bool passes = where == NULL || (state == EXPR_OK && where->i[row] != 0);
        chunk->gone[row] = chunk->deleted[row] || (!passes && state < EXPR_ERROR_FIRST);
        const char *name = NULL;
        enum expr_state error = chunk->gone[row] ? EXPR_OK : row_error(view, row, &name);
        if (state >= EXPR_ERROR_FIRST && !chunk->gone[row]) {
            error = (enum expr_state)state;
            name = "WHERE";
        }
        if (error != EXPR_OK) {
            refuse_value(p, view, row, name, error);
        } else {
            chunk->selected[kept++] = row;
        }
    }
    chunk->count = kept;
}

void node_filter_errors(struct processor *p, const struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    bool any = false;
    for (uint32_t c = 0; c < view->check_count && !any; c++) {
        const struct node_check *check = &view->checks[c];
        const struct expr_vec *vec = &view->machine.registers[check->reg];
        any = any_error(vec->state, chunk->n) || any_long(chunk, vec, check->text_limit);
    }
    if (!any) {
        return;
    }
    uint32_t kept = 0;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        const char *name;
        enum expr_state error = row_error(view, row, &name);
        if (error != EXPR_OK) {
            refuse_value(p, view, row, name, error);
        } else {
            chunk->selected[kept++] = row;
        }
    }
    chunk->count = kept;
}
