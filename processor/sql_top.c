/* The first rows of each key: SELECT ... FROM (SELECT *, row_number() OVER (PARTITION BY key ORDER BY x
 * DESC) AS n FROM t) s WHERE n <= 10. Own header: sql.h.
 *
 * By event time, ascending, row_number() is a window function like others (sql_over.c). By any other
 * order a row's number changes when later rows come: so such a query is a table that keeps the first
 * rows of each key, numbered when they are read. Its WHERE is taken apart here. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

#define TOP_MAX 1000

static int refuse(struct sql *sql, int place, const char *what)
{
    int rc = sql_error(sql, place, "%s", what);
    err_hint(sql->err,
             "write SELECT ... FROM (SELECT *, row_number() OVER (PARTITION BY key ORDER BY "
             "x DESC) AS n FROM t) s WHERE n <= 10");
    return rc;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static int bind_order(struct sql *sql, const struct sql_scope *scope, const json_t *list,
                      struct sql_top *top)
{
    size_t i;
    json_t *element;
    top->order = arena_calloc(&sql->temp, sizeof *top->order * json_array_size(list));
    json_array_foreach (list, i, element) {
        const json_t *sort = sql_body(element, "SortBy");
        struct sql_order *order = &top->order[top->order_count++];
        order->descending = sql_is(sort, "sortby_dir", "SORTBY_DESC");
        order->node = sql_bind(sql, scope, json_object_get(sort, "node"));
        if (order->node == NULL) {
            return -KE_SQL;
        }
        if (!sql_is(sort, "sortby_nulls", "SORTBY_NULLS_DEFAULT")) {
            return sql_error(sql, order->node->place, "not supported yet: NULLS FIRST and LAST");
        }
        if (order->node->type == KAPPA_TYPE_NULL) {
            return sql_error(sql, order->node->place, "a constant in ORDER BY");
        }
    }
    return 0;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind_top(struct sql *sql, const struct sql_scope *scope, const json_t *order,
                               struct expr_node **keys, uint32_t key_count, int place)
{
    struct sql_select *select = scope->select;
    if (select->top != NULL) {
        (void)refuse(sql, place, "one numbering of rows in one query");
        return NULL;
    }
    if (select->operator_count == SQL_OPERATORS_MAX) {
        return sql_error_null(sql, place, "more than %d window functions", SQL_OPERATORS_MAX);
    }
    struct sql_scope inner = *scope;
    inner.clause = "ORDER BY";
    inner.windows_allowed = false;
    struct sql_top *top = arena_calloc(&sql->temp, sizeof *top);
    top->keys = keys;
    top->key_count = key_count;
    top->place = place;
    if (bind_order(sql, &inner, order, top) != 0) {
        return NULL;
    }
    select->operator_types[select->operator_count] = KAPPA_TYPE_BIGINT;
    top->number = sql->inputs[select->input].column_count + 2 + select->operator_count++;
    select->top = top;
    return sql_input(sql, select, top->number, place);
}

/* ---- WHERE n <= 10. */

static bool is_number(struct sql *sql, const struct sql_scope *scope, const json_t *node)
{
    struct err *err = sql->err;
    sql->err = NULL;
    const struct expr_node *bound =
        sql_body(node, "ColumnRef") == NULL ? NULL : sql_bind(sql, scope, node);
    sql->err = err;
    return bound != NULL && bound->kind == EXPR_NODE_INPUT &&
           bound->index == scope->select->top->number;
}

static int64_t constant_of(const json_t *node)
{
    const json_t *number = json_object_get(sql_body(node, "A_Const"), "ival");
    return number == NULL ? -1 : json_int(number, "ival", 0);
}

/* The most that this condition lets a number be; -1: it says something else. */
static int64_t limit_of(struct sql *sql, const struct sql_scope *scope, const json_t *condition)
{
    const json_t *body = sql_body(condition, "A_Expr");
    if (body == NULL || !sql_is(body, "kind", "AEXPR_OP")) {
        return -1;
    }
    const char *op = sql_name(json_object_get(body, "name"), 0);
    const json_t *left = json_object_get(body, "lexpr");
    const json_t *right = json_object_get(body, "rexpr");
    bool turned = is_number(sql, scope, right);
    if (!turned && !is_number(sql, scope, left)) {
        return -1;
    }
    int64_t value = constant_of(turned ? left : right);
    if (strcmp(op, turned ? ">=" : "<=") == 0) {
        return value;
    }
    if (strcmp(op, turned ? ">" : "<") == 0) {
        return value - 1;
    }
    return strcmp(op, "=") == 0 && value == 1 ? 1 : -1;
}

int sql_top_where(struct sql *sql, struct sql_select *select, const struct sql_scope *scope,
                  const json_t *condition)
{
    struct sql_top *top = select->top;
    int64_t limit = limit_of(sql, scope, condition);
    if (limit < 0) {
        return refuse(sql, sql_place(condition),
                      "only row_number <= n can stand here: other conditions belong into the "
                      "subquery, before rows are numbered");
    }
    if (limit < 1 || limit > TOP_MAX) {
        return sql_error(sql, sql_place(condition), "the first 1 to %d rows of a key can be kept",
                         TOP_MAX);
    }
    top->limit = (uint32_t)limit;
    return 0;
}

/* ---- Tables with a primary key: the newest row of each key. */

int sql_upsert(struct sql *sql, struct sql_select *select)
{
    const struct plan_input *input = &sql->inputs[select->input];
    if (select->grouped || select->top != NULL || select->phase_count > 0 ||
        select->window_us > 0) {
        int rc =
            sql_error(sql, select->targets[0].place,
                      "\"%s\" has a PRIMARY KEY: its records change rows, and a view over it is "
                      "the table of these rows; groups, joins and windows over it are computed "
                      "when they are read",
                      input->name);
        err_hint(sql->err,
                 "write CREATE MATERIALIZED VIEW rows AS SELECT * FROM %s, and CREATE VIEW "
                 "for the query; or declare it without PRIMARY KEY to work on its records "
                 "(key='column' and "
                 "tombstones='delete' for the right side of a join)",
                 input->name);
        return rc;
    }
    struct sql_top *top = arena_calloc(&sql->temp, sizeof *top);
    top->keys = arena_calloc(&sql->temp, sizeof(struct expr_node *) * input->primary_count);
    top->key_count = input->primary_count;
    for (uint32_t k = 0; k < input->primary_count; k++) {
        top->keys[k] = sql_input(sql, select, input->primary[k], -1);
    }
    top->number = UINT32_MAX;
    top->limit = 1;
    top->upsert = true;
    select->top = top;
    return 0;
}

/* ---- The finished query. */

// NOLINTNEXTLINE(misc-no-recursion): bounded by the depth of the tree
static bool reads_number(const struct sql_top *top, const struct expr_node *node)
{
    if (node->kind == EXPR_NODE_INPUT) {
        return node->index == top->number;
    }
    for (uint32_t k = 0; k < node->arg_count; k++) {
        if (reads_number(top, node->args[k])) {
            return true;
        }
    }
    return false;
}

int sql_top_check(struct sql *sql, const struct sql_select *select)
{
    const struct sql_top *top = select->top;
    if (top->limit == 0) {
        return refuse(sql, top->place,
                      "row_number() by another order than event time needs WHERE row_number <= n "
                      "around it");
    }
    if (select->grouped) {
        return refuse(sql, select->targets[0].place, "numbered rows cannot be grouped again");
    }
    for (uint32_t i = 0; i < select->target_count; i++) {
        const struct sql_target *target = &select->targets[i];
        if (target->node->kind != EXPR_NODE_INPUT && reads_number(top, target->node)) {
            return sql_error(sql, target->place,
                             "not supported yet: computing with row_number(); select it as it is");
        }
    }
    return 0;
}

/* Which of the keys a target is; PLAN_NONE: none. */
static uint32_t key_of(const struct sql_top *top, const struct expr_node *node)
{
    for (uint32_t k = 0; k < top->key_count; k++) {
        if (top->keys[k]->id == node->id) {
            return k;
        }
    }
    return PLAN_NONE;
}

void sql_top_add(struct sql *sql, const struct sql_select *select, struct expr_builder *builder,
                 struct plan_view *view)
{
    const struct sql_top *from = select->top;
    struct plan_top *top = arena_calloc(&sql->plan->memory, sizeof *top);
    struct plan_order *order =
        arena_calloc(&sql->plan->memory, sizeof *order * ((size_t)from->order_count + 1));
    uint32_t *columns =
        arena_calloc(&sql->plan->memory, sizeof *columns * ((size_t)select->target_count + 1));
    for (uint32_t k = 0; k < from->order_count; k++) {
        order[k] = (struct plan_order){.reg = expr_builder_add(builder, from->order[k].node),
                                       .descending = from->order[k].descending};
    }
    for (uint32_t i = 0; i < select->target_count; i++) {
        const struct expr_node *node = select->targets[i].node;
        if (!reads_number(from, node) && key_of(from, node) == PLAN_NONE) {
            columns[top->column_count++] = expr_builder_add(builder, node);
        }
    }
    top->limit = from->limit;
    top->order = order;
    top->order_count = from->order_count;
    top->columns = columns;
    top->newest = from->upsert;
    view->upsert = from->upsert;
    struct plan_aggregate *aggregate = arena_calloc(&sql->plan->memory, sizeof *aggregate);
    aggregate->kind = PLAN_TOP_ROWS;
    aggregate->argument = PLAN_NONE;
    aggregate->filter = PLAN_NONE;
    aggregate->by = PLAN_NONE;
    aggregate->top = top;
    view->top = top;
    view->aggregates = aggregate;
    view->aggregate_count = 1;
}

void sql_top_outputs(struct sql *sql, const struct sql_select *select, struct plan_view *view)
{
    const struct sql_top *from = select->top;
    uint32_t count = view->key_count + view->top->column_count + 1;
    enum kappa_type *types = arena_calloc(&sql->plan->memory, sizeof *types * count);
    struct plan_output *outputs =
        arena_calloc(&sql->plan->memory, sizeof *outputs * select->target_count);
    for (uint32_t k = 0; k < view->key_count; k++) {
        types[k] = view->keys[k].type;
    }
    uint32_t column = view->key_count;
    for (uint32_t i = 0; i < select->target_count; i++) {
        const struct sql_target *target = &select->targets[i];
        uint32_t key = key_of(from, target->node);
        outputs[i].name = arena_strdup(&sql->plan->memory, target->name);
        outputs[i].type = target->node->type;
        outputs[i].reg = reads_number(from, target->node) ? count - 1
                         : key != PLAN_NONE               ? key
                                                          : column++;
        types[outputs[i].reg] = target->node->type;
    }
    types[count - 1] = KAPPA_TYPE_BIGINT;
    view->final =
        (struct expr_program){.input_count = count, .register_count = count, .types = types};
    view->having = PLAN_NONE;
    view->outputs = outputs;
    view->output_count = select->target_count;
}
