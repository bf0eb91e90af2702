/* GROUP BY and HAVING: keys are resolved, then the select list and HAVING are rewritten over keys and
 * aggregates. Own header: sql.h.
 *
 * After the rewriting, input k < key_count is key k, and input key_count + a is aggregate a. A subtree
 * that equals a key becomes that key whole, as in PostgreSQL: SELECT lower(x) ... GROUP BY lower(x). */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

enum plan_key_role sql_key_role(const struct sql *sql, const struct sql_select *select,
                                const struct expr_node *key)
{
    uint32_t own = sql->inputs[select->input].column_count;
    if (key->kind != EXPR_NODE_INPUT || key->index < own || key->index > own + 1) {
        return PLAN_KEY_COLUMN;
    }
    return key->index == own ? PLAN_KEY_WINDOW_START : PLAN_KEY_WINDOW_END;
}

void sql_keys_together(struct sql *sql, uint32_t input, struct expr_node *const *keys,
                       uint32_t count)
{
    struct plan_input *of = &sql->inputs[input];
    for (uint32_t k = 0; k < count; k++) {
        if (of->keyed && keys[k]->kind == EXPR_NODE_INPUT && keys[k]->index == of->key_column) {
            return;
        }
    }
    of->one_partition = true;
}

/* ---- Resolving. */

/* GROUP BY 2, or an output's name that is no column: the target it means; NULL if it is neither. */
static int item_target(struct sql *sql, const struct sql_select *select, const json_t *item,
                       struct expr_node **node)
{
    const json_t *constant = sql_body(item, "A_Const");
    const json_t *number = json_object_get(constant, "ival");
    *node = NULL;
    if (number != NULL) {
        int64_t position = json_int(number, "ival", 0);
        if (position < 1 || position > select->target_count) {
            return sql_error(sql, sql_place(item), "GROUP BY position %lld is not in select list",
                             (long long)position);
        }
        *node = select->targets[position - 1].node;
        return 0;
    }
    if (constant != NULL) {
        return sql_error(sql, sql_place(item), "non-integer constant in GROUP BY");
    }
    const json_t *fields = json_object_get(sql_body(item, "ColumnRef"), "fields");
    const char *name = json_array_size(fields) == 1 ? sql_name(fields, 0) : NULL;
    if (name == NULL || sql_field_exists(&select->scope, name)) {
        return 0;
    }
    for (uint32_t i = 0; i < select->target_count; i++) {
        if (strcmp(select->targets[i].name, name) == 0) {
            *node = select->targets[i].node;
        }
    }
    return 0;
}

static struct expr_node *item_bind(struct sql *sql, const struct sql_select *select,
                                   const json_t *item)
{
    if (sql_body(item, "GroupingSet") != NULL) {
        return sql_error_null(sql, sql_place(item), "not supported yet: grouping sets");
    }
    struct expr_node *node = NULL;
    if (item_target(sql, select, item, &node) != 0) {
        return NULL;
    }
    if (node == NULL) {
        struct sql_scope scope = select->scope;
        scope.clause = "GROUP BY";
        node = sql_bind(sql, &scope, item);
    }
    if (node == NULL) {
        return NULL;
    }
    if (node->type == KAPPA_TYPE_NULL || node->constant_only) {
        return sql_error_null(sql, sql_place(item), "a constant in GROUP BY groups nothing");
    }
    if (node->has_aggregate) {
        return sql_error_null(sql, sql_place(item),
                              "aggregate functions are not allowed in GROUP BY");
    }
    return node;
}

int sql_group_bind(struct sql *sql, struct sql_select *select, const json_t *list)
{
    size_t count = json_array_size(list);
    if (count > LIMIT_COLUMNS) {
        return sql_error(sql, sql_place(json_array_get(list, LIMIT_COLUMNS)),
                         "more than %d expressions in GROUP BY", LIMIT_COLUMNS);
    }
    select->keys = arena_calloc(&sql->temp, sizeof(struct expr_node *) * (count + 1));
    for (size_t i = 0; i < count; i++) {
        struct expr_node *key = item_bind(sql, select, json_array_get(list, i));
        if (key == NULL) {
            return -KE_SQL;
        }
        bool known = false;
        for (uint32_t k = 0; k < select->key_count && !known; k++) {
            known = select->keys[k]->id == key->id;
        }
        if (!known) {
            select->keys[select->key_count++] = key;
        }
    }
    return 0;
}

/* ---- Rewriting. */

struct rewrite {
    struct sql *sql;
    const struct sql_select *select;
    struct expr_node **done; /* by id of the node before */
    uint32_t id_count;
};

static struct expr_node *input_node(struct sql *sql, uint32_t index, const struct expr_node *from)
{
    struct expr_node *node = expr_node_new(&sql->pool, EXPR_NODE_INPUT, from->type, from->place);
    node->index = index;
    return expr_pool_assign(&sql->pool, node);
}

static struct expr_node *column_ungrouped(struct rewrite *rewrite, const struct expr_node *node)
{
    struct sql *sql = rewrite->sql;
    const struct sql_select *select = rewrite->select;
    const struct plan_input *input = &sql->inputs[select->input];
    const char *alias = input->name;
    const char *name = sql_field_name(&select->scope, node, &alias);
    if (name == NULL) {
        name = node->index < input->column_count ? input->columns[node->index].name : "?column?";
    }
    (void)sql_error(
        sql, node->place,
        "column \"%s.%s\" must appear in the GROUP BY clause or be used in an aggregate "
        "function",
        alias, name);
    bool window = sql_key_role(sql, select, node) != PLAN_KEY_COLUMN;
    err_hint(sql->err, window ? "add %s to GROUP BY" : "add %s to GROUP BY, or write last(%s)",
             name, name);
    return NULL;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by the depth of the tree
static struct expr_node *rewrite_node(struct rewrite *rewrite, struct expr_node *node)
{
    struct sql *sql = rewrite->sql;
    ASSERT_CMP(node->id, <=, rewrite->id_count);
    if (node->constant_only) {
        return node;
    }
    if (rewrite->done[node->id] != NULL) {
        return rewrite->done[node->id];
    }
    const struct sql_select *select = rewrite->select;
    struct expr_node *result = NULL;
    for (uint32_t k = 0; k < select->key_count && result == NULL; k++) {
        if (select->keys[k]->id == node->id) {
            result = input_node(sql, k, node);
        }
    }
    if (result == NULL && node->kind == EXPR_NODE_AGGREGATE) {
        result = input_node(sql, select->key_count + node->index, node);
    }
    if (result == NULL && node->kind == EXPR_NODE_INPUT) {
        return column_ungrouped(rewrite, node);
    }
    if (result == NULL) {
        result = expr_node_call(&sql->pool, node->run, node->type, node->place, node->arg_count);
        result->option = node->option;
        result->constant = node->constant;
        for (uint32_t k = 0; k < node->arg_count; k++) {
            result->args[k] = rewrite_node(rewrite, node->args[k]);
            if (result->args[k] == NULL) {
                return NULL;
            }
        }
        (void)expr_pool_assign(&sql->pool, result);
    }
    rewrite->done[node->id] = result;
    return result;
}

int sql_group_check(struct sql *sql, struct sql_select *select)
{
    struct rewrite rewrite = {.sql = sql, .select = select, .id_count = sql->pool.count};
    rewrite.done =
        arena_calloc(&sql->temp, sizeof(struct expr_node *) * ((size_t)sql->pool.count + 1));
    for (uint32_t i = 0; i < select->target_count; i++) {
        if (select->targets[i].node->type == KAPPA_TYPE_NULL) {
            continue; /* a literal that INSERT INTO gives its type */
        }
        select->targets[i].node = rewrite_node(&rewrite, select->targets[i].node);
        if (select->targets[i].node == NULL) {
            return -KE_SQL;
        }
    }
    if (select->having != NULL) {
        select->having = rewrite_node(&rewrite, select->having);
        if (select->having == NULL) {
            return -KE_SQL;
        }
    }
    return 0;
}
