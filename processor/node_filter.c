/* WHERE, and what becomes of rows whose expressions fail. Own header: node.h. */
#include "processor/node.h"

#include <string.h>

void node_refuse(struct processor *p, const struct node_view *view, uint32_t row,
                 const char *reason)
{
    struct node_chunk *chunk = &p->chunk;
    buf_reset(&p->row);
    buf_printf(&p->row, "%s: %s", view->plan->shape.name, reason);
    dead_add(&p->dead, chunk->source_index, view->index, chunk->records[row], buf_text(&p->row));
    chunk->source->state.dead++;
}

static void add_check(struct node_view *view, uint32_t reg, uint32_t filter)
{
    if (reg != PLAN_NONE) {
        view->checks[view->check_count++] = (struct node_check){reg, filter};
    }
}

void node_filter_open(struct processor *p, struct node_view *view)
{
    const struct plan_view *plan = view->plan;
    uint32_t top = plan->top == NULL ? 0 : plan->top->order_count + plan->top->column_count;
    uint32_t most = plan->key_count + 3 * plan->aggregate_count + plan->append_count + top + 1;
    view->checks = arena_calloc(&p->memory, most * sizeof *view->checks);
    for (uint32_t k = 0; k < plan->key_count; k++) {
        add_check(view, plan->keys[k].reg, PLAN_NONE);
    }
    for (uint32_t a = 0; a < plan->aggregate_count; a++) {
        add_check(view, plan->aggregates[a].filter, PLAN_NONE);
        add_check(view, plan->aggregates[a].argument, plan->aggregates[a].filter);
        if (plan->aggregates[a].by_type != KAPPA_TYPE_NULL) {
            add_check(view, plan->aggregates[a].by, plan->aggregates[a].filter);
        }
    }
    for (uint32_t c = 0; c < plan->append_count; c++) {
        add_check(view, plan->append_regs[c], PLAN_NONE);
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
            node_refuse(p, view, row, expr_error_text((enum expr_state)state));
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

/* The first error of the row that matters, or EXPR_OK. */
static enum expr_state row_error(const struct node_view *view, uint32_t row)
{
    const struct expr_vec *registers = view->machine.registers;
    for (uint32_t c = 0; c < view->check_count; c++) {
        const struct node_check *check = &view->checks[c];
        uint8_t state = registers[check->reg].state[row];
        if (state < EXPR_ERROR_FIRST) {
            continue;
        }
        const struct expr_vec *filter =
            check->filter == PLAN_NONE ? NULL : &registers[check->filter];
        if (filter == NULL || (filter->state[row] == EXPR_OK && filter->i[row] != 0)) {
            return (enum expr_state)state;
        }
    }
    return EXPR_OK;
}

void node_filter_errors(struct processor *p, const struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    bool any = false;
    for (uint32_t c = 0; c < view->check_count && !any; c++) {
        any = any_error(view->machine.registers[view->checks[c].reg].state, chunk->n);
    }
    if (!any) {
        return;
    }
    uint32_t kept = 0;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        enum expr_state error = row_error(view, row);
        if (error != EXPR_OK) {
            node_refuse(p, view, row, expr_error_text(error));
        } else {
            chunk->selected[kept++] = row;
        }
    }
    chunk->count = kept;
}
