/* The bound statement into a plan_view: programs, keys, aggregates, outputs. Own header: sql.h. */
#include "processor/sql.h"

#include <string.h>

/* Row-level inputs: the columns, window_start, window_end, what operators write. */
static enum kappa_type *row_types(struct sql *sql, const struct sql_select *select, uint32_t *count)
{
    const struct plan_input *input = &sql->inputs[select->input];
    uint32_t own = input->column_count;
    *count = own + 2 + select->operator_count;
    enum kappa_type *types = arena_calloc(&sql->temp, sizeof *types * *count);
    for (uint32_t i = 0; i < *count; i++) {
        types[i] = i < own       ? input->columns[i].type
                   : i < own + 2 ? KAPPA_TYPE_TIMESTAMPTZ
                                 : select->operator_types[i - own - 2];
    }
    return types;
}

static uint32_t add_or_none(struct expr_builder *builder, const struct expr_node *node)
{
    return node == NULL ? PLAN_NONE : expr_builder_add(builder, node);
}

/* The name of a key: of the output that is just this key, else PostgreSQL's for it. */
static const char *key_name(struct sql *sql, const struct sql_select *select,
                            const struct expr_node *key, uint32_t k)
{
    for (uint32_t i = 0; i < select->target_count; i++) {
        const struct expr_node *node = select->targets[i].node;
        bool same = select->top != NULL ? node->id == key->id
                                        : node->kind == EXPR_NODE_INPUT && node->index == k;
        if (same) {
            return arena_strdup(&sql->plan->memory, select->targets[i].name);
        }
    }
    const char *alias = NULL;
    const char *name = sql_field_name(&select->scope, key, &alias);
    return name == NULL ? "?column?" : arena_strdup(&sql->plan->memory, name);
}

static void keys_add(struct sql *sql, struct expr_node *const *nodes, uint32_t count,
                     const struct sql_select *select, struct expr_builder *builder,
                     struct plan_view *view)
{
    struct plan_key *keys = arena_calloc(&sql->plan->memory, sizeof *keys * ((size_t)count + 1));
    for (uint32_t k = 0; k < count; k++) {
        keys[k].role = sql_key_role(sql, select, nodes[k]);
        keys[k].name = key_name(sql, select, nodes[k], k);
        keys[k].type = nodes[k]->type;
        keys[k].modifier = nodes[k]->modifier;
        keys[k].reg = PLAN_NONE;
        if (keys[k].role == PLAN_KEY_COLUMN) {
            keys[k].reg = expr_builder_add(builder, nodes[k]);
        } else {
            view->shape.windowed = true;
        }
    }
    view->keys = keys;
    view->key_count = count;
}

void sql_plan_aggregate(const struct sql_aggregate *from, struct plan_aggregate *to)
{
    to->kind = from->kind;
    to->argument_type = from->argument == NULL ? KAPPA_TYPE_NULL : from->argument->type;
    to->result_type = from->result_type;
    to->by_type = from->by == NULL ? KAPPA_TYPE_NULL : from->by->type;
    to->parameter = from->parameter;
}

static void aggregates_add(struct sql *sql, const struct sql_select *select,
                           struct expr_builder *builder, struct plan_view *view)
{
    struct plan_aggregate *aggregates = arena_calloc(
        &sql->plan->memory, sizeof *aggregates * ((size_t)select->aggregate_count + 1));
    for (uint32_t i = 0; i < select->aggregate_count; i++) {
        const struct sql_aggregate *from = &select->aggregates[i];
        sql_plan_aggregate(from, &aggregates[i]);
        aggregates[i].argument = add_or_none(builder, from->argument);
        aggregates[i].filter = add_or_none(builder, from->filter);
        aggregates[i].by = add_or_none(builder, from->by);
    }
    view->aggregates = aggregates;
    view->aggregate_count = select->aggregate_count;
}

/* An append view stores its output columns as the row program makes them. */
static void append_add(struct sql *sql, const struct sql_select *select,
                       struct expr_builder *builder, struct plan_view *view)
{
    uint32_t *regs = arena_calloc(&sql->plan->memory, sizeof *regs * select->target_count);
    for (uint32_t i = 0; i < select->target_count; i++) {
        regs[i] = expr_builder_add(builder, select->targets[i].node);
    }
    view->append_regs = regs;
    view->append_count = select->target_count;
}

static int row_program(struct sql *sql, const struct sql_select *select, struct plan_view *view)
{
    uint32_t count = 0;
    const enum kappa_type *types = row_types(sql, select, &count);
    struct expr_builder builder;
    expr_builder_open(&builder, &sql->pool, &sql->plan->memory, types, count);
    if (sql_phases_add(sql, select, &builder, view) != 0) {
        return -KE_SQL;
    }
    view->where = add_or_none(&builder, select->where);
    if (select->top != NULL) {
        keys_add(sql, select->top->keys, select->top->key_count, select, &builder, view);
        sql_top_add(sql, select, &builder, view);
    } else if (select->grouped) {
        keys_add(sql, select->keys, select->key_count, select, &builder, view);
        aggregates_add(sql, select, &builder, view);
    } else {
        append_add(sql, select, &builder, view);
    }
    sql_phases_finish(&builder, view);
    expr_builder_close(&builder, &view->row);
    for (uint32_t c = 0; c < sql->inputs[select->input].column_count; c++) {
        struct plan_column *column = &sql->columns[select->input][c];
        column->used = column->used || builder.input_used[c];
    }
    uint32_t own = sql->inputs[select->input].column_count;
    bool windows_read = builder.input_used[own] || builder.input_used[own + 1];
    return sql_window_plan(sql, select, windows_read, view);
}

static void final_program(struct sql *sql, const struct sql_select *select, struct plan_view *view)
{
    uint32_t count =
        select->grouped ? select->key_count + select->aggregate_count : select->target_count;
    enum kappa_type *types = arena_calloc(&sql->temp, sizeof *types * ((size_t)count + 1));
    for (uint32_t i = 0; i < count; i++) {
        types[i] = !select->grouped      ? select->targets[i].node->type
                   : i < view->key_count ? view->keys[i].type
                                         : view->aggregates[i - view->key_count].result_type;
    }
    struct plan_output *outputs =
        arena_calloc(&sql->plan->memory, sizeof *outputs * select->target_count);
    struct expr_builder builder;
    expr_builder_open(&builder, &sql->pool, &sql->plan->memory, types, count);
    for (uint32_t i = 0; i < select->target_count; i++) {
        const struct sql_target *target = &select->targets[i];
        outputs[i].name = arena_strdup(&sql->plan->memory, target->name);
        outputs[i].type = target->node->type;
        outputs[i].reg = select->grouped ? expr_builder_add(&builder, target->node) : i;
    }
    view->having = add_or_none(&builder, select->having);
    expr_builder_close(&builder, &view->final);
    view->outputs = outputs;
    view->output_count = select->target_count;
}

static int registers_check(struct sql *sql, const struct plan_view *view)
{
    uint32_t registers = view->row.register_count > view->final.register_count
                             ? view->row.register_count
                             : view->final.register_count;
    if (registers > SQL_REGISTERS_MAX) {
        return sql_error(sql, -1, "view \"%s\" computes %u values a record; the limit is %d",
                         view->shape.name, registers, SQL_REGISTERS_MAX);
    }
    return 0;
}

int sql_plan_view(struct sql *sql, const struct sql_select *select, const char *name,
                  const struct sql_view_options *options)
{
    ASSERT_CMP(sql->plan->view_count, <, LIMIT_VIEWS);
    struct plan_view *view = &sql->views[sql->plan->view_count++];
    memset(view, 0, sizeof *view);
    view->shape.name = name;
    view->kind = select->grouped || select->top != NULL ? PLAN_GROUP : PLAN_APPEND;
    view->rows = select->input;
    view->input = sql_rows_input(sql, select->input);
    view->numbered = view->rows != view->input;
    view->retain_us = options->retain_us;
    view->ttl_us = options->ttl_us;
    view->final_only = options->final_only;
    view->shape.idle = view->ttl_us > 0;
    if (row_program(sql, select, view) != 0) {
        return -KE_SQL;
    }
    if (select->top != NULL) {
        sql_top_outputs(sql, select, view);
    } else {
        final_program(sql, select, view);
    }
    return registers_check(sql, view);
}

/* Rows of closed windows are messages. Their table is hidden, and lets go of a window when it is
 * closed: it needs no more of it. */
static int final_rows(struct sql *sql, const struct sql_select *select, const uint32_t *columns,
                      const uint32_t *outputs, struct plan_view *view)
{
    if (sql->state_count == LIMIT_VIEWS) {
        return sql_error(sql, -1, "more than %d hidden tables", LIMIT_VIEWS);
    }
    final_program(sql, select, view);
    struct plan_output *named = (struct plan_output *)(uintptr_t)view->outputs;
    for (uint32_t k = 0; k < select->target_count; k++) { /* for messages: as the topic has them */
        named[k].name = sql->topics[view->topic].columns[columns[k]].name;
    }
    view->emits = true;
    view->topic_outputs = outputs;
    view->retain_us = sql->inputs[view->input].lateness_us;
    view->table = sql->state_count; /* plan_finish adds the tables of views */
    struct plan_table *table = &sql->states[sql->state_count++];
    *table = (struct plan_table){.shape = view->shape, .hidden = true};
    table->shape.name =
        arena_printf(&sql->plan->memory, "%s.windows%u", view->shape.name, view->table);
    return registers_check(sql, view);
}

int sql_plan_topic(struct sql *sql, const struct sql_select *select, uint32_t topic,
                   const uint32_t *columns)
{
    ASSERT_CMP(sql->topic_view_count, <, LIMIT_VIEWS);
    struct plan_view *view = &sql->topic_views[sql->topic_view_count++];
    memset(view, 0, sizeof *view);
    view->shape.name = sql->topics[topic].name;
    view->kind = select->grouped ? PLAN_GROUP : PLAN_TOPIC;
    view->topic = topic;
    view->rows = select->input;
    view->input = sql_rows_input(sql, select->input);
    view->numbered = view->rows != view->input;
    view->retain_us = INT64_MAX;
    view->having = PLAN_NONE;
    if (row_program(sql, select, view) != 0) {
        return -KE_SQL;
    }
    uint32_t count = sql->topics[topic].column_count;
    uint32_t *of = arena_alloc(&sql->plan->memory, sizeof *of * count);
    memset(of, 0xFF, sizeof *of * count);
    for (uint32_t k = 0; k < select->target_count; k++) {
        of[columns[k]] = select->grouped ? k : view->append_regs[k];
    }
    if (select->grouped) {
        return final_rows(sql, select, columns, of, view);
    }
    view->append_regs = of;
    view->append_count = count;
    return registers_check(sql, view);
}
