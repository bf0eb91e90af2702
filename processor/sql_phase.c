/* Phases of a row program: conditions and operators in their order. Own header: sql.h. */
#include "processor/sql.h"

#include <string.h>

/* ---- Which columns of a join's right side does anything read? */

struct uses {
    bool *inputs; /* by index of the row-level input */
    bool *seen;   /* by id */
};

// NOLINTNEXTLINE(misc-no-recursion): bounded by the depth of the tree
static void uses_mark(struct uses *uses, const struct expr_node *node)
{
    if (node == NULL || uses->seen[node->id]) {
        return;
    }
    uses->seen[node->id] = true;
    if (node->kind == EXPR_NODE_INPUT) {
        uses->inputs[node->index] = true;
    }
    for (uint32_t k = 0; k < node->arg_count; k++) {
        uses_mark(uses, node->args[k]);
    }
}

static void uses_mark_all(struct uses *uses, struct expr_node *const *nodes, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        uses_mark(uses, nodes[k]);
    }
}

/* By index of the row-level input: anything but the right sides themselves. */
static const bool *uses_find(struct sql *sql, const struct sql_select *select)
{
    uint32_t inputs = sql->inputs[select->input].column_count + 2 + select->operator_count;
    struct uses uses = {.inputs = arena_calloc(&sql->temp, inputs + 1),
                        .seen = arena_calloc(&sql->temp, (size_t)sql->pool.count + 1)};
    for (uint32_t i = 0; i < select->phase_count; i++) {
        const struct sql_phase *phase = &select->phases[i];
        uses_mark(&uses, phase->where);
        uses_mark_all(&uses, phase->keys, phase->key_count);
        uses_mark(&uses, phase->left_time);
        if (phase->kind == PLAN_OVER) {
            uses_mark_all(&uses, phase->values, phase->value_count);
        }
        for (uint32_t k = 0; k < phase->over_count; k++) {
            uses_mark(&uses, phase->overs[k].otherwise);
        }
    }
    uses_mark(&uses, select->where);
    uses_mark_all(&uses, select->keys, select->key_count);
    for (uint32_t a = 0; a < select->aggregate_count; a++) {
        uses_mark(&uses, select->aggregates[a].argument);
        uses_mark(&uses, select->aggregates[a].by);
        uses_mark(&uses, select->aggregates[a].filter);
    }
    const struct sql_top *top = select->top;
    for (uint32_t k = 0; top != NULL && k < top->order_count; k++) {
        uses_mark(&uses, top->order[k].node);
    }
    uses_mark_all(&uses, top == NULL ? NULL : top->keys, top == NULL ? 0 : top->key_count);
    for (uint32_t i = 0; i < select->target_count && !select->grouped; i++) {
        uses_mark(&uses, select->targets[i].node);
    }
    return uses.inputs;
}

/* ---- Operators. */

static const uint32_t *registers_add(struct sql *sql, struct expr_builder *builder,
                                     struct expr_node *const *nodes, uint32_t count)
{
    uint32_t *regs = arena_calloc(&sql->plan->memory, sizeof *regs * ((size_t)count + 1));
    for (uint32_t k = 0; k < count; k++) {
        regs[k] = expr_builder_add(builder, nodes[k]);
    }
    return regs;
}

static uint32_t add_or_none(struct expr_builder *builder, const struct expr_node *node)
{
    return node == NULL ? PLAN_NONE : expr_builder_add(builder, node);
}

/* How far back a row may matter to later ones. */
static void over_keep(struct plan_operator *op, const struct plan_over *over)
{
    int64_t rows = over->kind == PLAN_OVER_LAG ? over->n : 0;
    if (over->kind == PLAN_OVER_AGGREGATE) {
        const struct plan_frame *frame = &over->frame;
        int64_t reach = frame->start == PLAN_UNBOUNDED ? frame->end : frame->start;
        rows = frame->rows ? reach : 0;
        op->keep_us = i64_max(op->keep_us, frame->rows ? 0 : reach);
    }
    op->keep_rows = (uint32_t)i64_max(op->keep_rows, rows);
}

static void over_fill(struct sql *sql, const struct sql_phase *from, struct expr_builder *builder,
                      struct plan_operator *op)
{
    struct plan_over *overs =
        arena_calloc(&sql->plan->memory, sizeof *overs * ((size_t)from->over_count + 1));
    op->by_time = from->by_time;
    op->values = registers_add(sql, builder, from->values, from->value_count);
    op->value_count = from->value_count;
    for (uint32_t i = 0; i < from->over_count; i++) {
        overs[i] = from->overs[i].over;
        overs[i].otherwise = add_or_none(builder, from->overs[i].otherwise);
        over_keep(op, &overs[i]);
    }
    op->overs = overs;
    op->over_count = from->over_count;
}

static void lookup_fill(struct sql *sql, const struct sql_phase *from, const bool *used,
                        int64_t history_us, struct expr_builder *builder, struct plan_operator *op)
{
    uint32_t *outs =
        arena_calloc(&sql->plan->memory, sizeof *outs * ((size_t)from->value_count + 1));
    uint32_t *values =
        arena_calloc(&sql->plan->memory, sizeof *values * ((size_t)from->value_count + 1));
    op->right_where = add_or_none(builder, from->right_where);
    op->right_keys = registers_add(sql, builder, from->right_keys, from->key_count);
    op->inner = from->inner;
    op->as_of = from->right_time != NULL;
    op->before = from->before;
    op->left_time = add_or_none(builder, from->left_time);
    op->right_time = add_or_none(builder, from->right_time);
    op->history_us = history_us;
    for (uint32_t v = 0; v < from->value_count; v++) {
        if (used[from->outs[v]]) {
            values[op->value_count] = expr_builder_add(builder, from->values[v]);
            outs[op->value_count++] = from->outs[v];
        }
    }
    op->values = values;
    op->outs = outs;
}

static struct plan_operator *operator_add(struct sql *sql, const struct sql_phase *from,
                                          const bool *used, struct expr_builder *builder,
                                          const struct plan_view *view)
{
    struct plan_operator *op = arena_calloc(&sql->plan->memory, sizeof *op);
    bool over = from->kind == PLAN_OVER;
    op->kind = from->kind;
    op->keys = registers_add(sql, builder, from->keys, from->key_count);
    op->key_count = from->key_count;
    if (over) {
        over_fill(sql, from, builder, op);
    } else {
        lookup_fill(sql, from, used, sql->inputs[view->input].history_us, builder, op);
    }
    op->table = sql->state_count; /* plan_finish adds the tables of views */
    sql->states[sql->state_count++] = (struct plan_table){
        .shape.name = arena_printf(&sql->plan->memory, "%s.%s%u", view->shape.name,
                                   over ? "over" : "join", sql->state_count),
        .hidden = true};
    return op;
}

int sql_phases_add(struct sql *sql, const struct sql_select *select, struct expr_builder *builder,
                   struct plan_view *view)
{
    struct plan_phase *phases =
        arena_calloc(&sql->plan->memory, sizeof *phases * ((size_t)select->phase_count + 1));
    const bool *used = uses_find(sql, select);
    if (sql->state_count + select->phase_count > LIMIT_VIEWS) {
        return sql_error(sql, -1, "more than %d joins and windows of window functions",
                         LIMIT_VIEWS);
    }
    for (uint32_t i = 0; i < select->phase_count; i++) {
        phases[i].where = add_or_none(builder, select->phases[i].where);
        phases[i].op = operator_add(sql, &select->phases[i], used, builder, view);
        phases[i].step_end = builder->step_count;
    }
    view->phases = phases;
    view->phase_count = select->phase_count;
    return 0;
}

/* The steps of a program stand behind its constants, which come from everywhere. */
void sql_phases_finish(const struct expr_builder *builder, struct plan_view *view)
{
    struct plan_phase *phases = (struct plan_phase *)(uintptr_t)view->phases;
    for (uint32_t i = 0; i < view->phase_count; i++) {
        phases[i].step_end = expr_builder_place(builder, phases[i].step_end);
    }
}
