/* CREATE MATERIALIZED VIEW name [WITH (retain='1 h')] AS SELECT ... Own header: sql.h. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

/* ---- The select list. */

static int target_add(struct sql *sql, struct sql_select *select, const char *name,
                      struct expr_node *node, int place)
{
    if (select->target_count == LIMIT_COLUMNS) {
        return sql_error(sql, place, "more than %d columns", LIMIT_COLUMNS);
    }
    for (uint32_t i = 0; i < select->target_count; i++) {
        if (strcmp(select->targets[i].name, name) == 0) {
            int rc = sql_error(sql, place, "column \"%s\" specified more than once", name);
            err_hint(sql->err, "give one of them another name with AS");
            return rc;
        }
    }
    if (node->type == KAPPA_TYPE_NULL) {
        node = sql_coerce(sql, node, KAPPA_TYPE_TEXT);
        if (node == NULL) {
            return -KE_SQL;
        }
    }
    if (node->type == KAPPA_TYPE_INTERVAL) {
        int rc = sql_error(sql, place, "not supported yet: columns of type interval");
        err_hint(sql->err, "write extract(epoch from ...) for its seconds");
        return rc;
    }
    select->targets[select->target_count++] =
        (struct sql_target){arena_strdup(&sql->temp, name), place, node};
    return 0;
}

/* * and t.*: all columns of the input. Returns 1 if the target is no star. */
static int target_star(struct sql *sql, struct sql_select *select, const json_t *value)
{
    const json_t *fields = json_object_get(sql_body(value, "ColumnRef"), "fields");
    size_t count = json_array_size(fields);
    if (count == 0 || sql_body(json_array_get(fields, count - 1), "A_Star") == NULL) {
        return 1;
    }
    int place = sql_place(value);
    const char *qualifier = count == 2 ? sql_name(fields, 0) : select->scope.alias;
    if (count > 2 || qualifier == NULL || strcmp(qualifier, select->scope.alias) != 0) {
        return sql_error(sql, place, "missing FROM-clause entry for table \"%s\"",
                         qualifier == NULL || count > 2 ? "" : qualifier);
    }
    for (uint32_t i = 0; i < sql_column_count(&select->scope); i++) {
        struct expr_node *column = sql_column(sql, &select->scope, i, place);
        int rc = target_add(sql, select, sql_column_name(&select->scope, i), column, place);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int targets_bind(struct sql *sql, struct sql_select *select, const json_t *list)
{
    static const char *const allowed[] = {"name", "val", NULL};
    if (json_array_size(list) == 0) {
        return sql_error(sql, -1, "the view has no columns");
    }
    size_t i;
    json_t *element;
    json_array_foreach (list, i, element) {
        const json_t *body = sql_body(element, "ResTarget");
        const json_t *value = json_object_get(body, "val");
        if (sql_only(sql, body, allowed) != 0) {
            return -KE_SQL;
        }
        int rc = target_star(sql, select, value);
        if (rc == 1) {
            const char *name = json_text(body, "name", NULL);
            struct expr_node *node = sql_bind(sql, &select->scope, value);
            rc = node == NULL
                     ? -KE_SQL
                     : target_add(sql, select, name == NULL ? sql_figure_name(value) : name, node,
                                  sql_place(body));
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* ---- The statement. */

static int refuse_set_operation(struct sql *sql, const json_t *query)
{
    static const struct {
        const char *op;
        const char *word;
    } operations[] = {
        {"SETOP_UNION", "UNION"}, {"SETOP_INTERSECT", "INTERSECT"}, {"SETOP_EXCEPT", "EXCEPT"}};

    for (size_t i = 0; i < array_len(operations); i++) {
        if (sql_is(query, "op", operations[i].op)) {
            int place = sql_place(json_object_get(query, "rarg"));
            return sql_error(sql, sql_keyword_place(sql, operations[i].word, place),
                             "not supported yet: %s", operations[i].word);
        }
    }
    return 0;
}

static int select_bind(struct sql *sql, struct sql_select *select, const json_t *query)
{
    static const char *const allowed[] = {
        "targetList",   "fromClause",  "whereClause", "groupClause",
        "havingClause", "limitOption", "op",          NULL};
    const json_t *where = json_object_get(query, "whereClause");
    const json_t *having = json_object_get(query, "havingClause");
    const json_t *group = json_object_get(query, "groupClause");
    if (refuse_set_operation(sql, query) != 0 || sql_only(sql, query, allowed) != 0 ||
        sql_from(sql, select, json_object_get(query, "fromClause")) != 0 ||
        targets_bind(sql, select, json_object_get(query, "targetList")) != 0) {
        return -KE_SQL;
    }
    if (where != NULL) {
        struct sql_scope scope = select->scope;
        scope.clause = "WHERE";
        select->where = sql_bind_boolean(sql, &scope, where, "WHERE");
        if (select->where == NULL) {
            return -KE_SQL;
        }
    }
    if (having != NULL) {
        select->having = sql_bind_boolean(sql, &select->scope, having, "HAVING");
        if (select->having == NULL) {
            return -KE_SQL;
        }
    }
    if (sql_group_bind(sql, select, group) != 0) {
        return -KE_SQL;
    }
    select->grouped = select->key_count > 0 || having != NULL || select->aggregate_count > 0;
    return select->grouped ? sql_group_check(sql, select) : 0;
}

static int retain_read(struct sql *sql, const struct sql_select *select, const json_t *list,
                       int64_t *retain_us)
{
    struct sql_option option = {"retain", NULL, -1};
    if (sql_options(sql, list, &option, 1) != 0) {
        return -KE_SQL;
    }
    *retain_us = INT64_MAX;
    if (option.value == NULL) {
        return 0;
    }
    bool windowed = false;
    for (uint32_t k = 0; k < select->key_count; k++) {
        windowed = windowed || sql_key_role(select, select->keys[k]) != PLAN_KEY_COLUMN;
    }
    if (!windowed) {
        int rc = sql_error(sql, option.place,
                           "option \"retain\" needs a window: rows go when their window's end is "
                           "that long past");
        err_hint(sql->err, "use FROM tumble(...) and GROUP BY window_start, window_end, or leave "
                           "retain out");
        return rc;
    }
    return sql_option_duration(sql, &option, retain_us);
}

int sql_view(struct sql *sql, const json_t *body)
{
    static const char *const allowed[] = {"query", "into", "objtype", NULL};
    static const char *const allowed_into[] = {"rel", "options", "onCommit", NULL};
    const json_t *into = json_object_get(body, "into");
    const json_t *query = sql_body(json_object_get(body, "query"), "SelectStmt");
    if (sql_only(sql, body, allowed) != 0 || sql_only(sql, into, allowed_into) != 0) {
        return -KE_SQL;
    }
    if (query == NULL) {
        return sql_error(sql, -1, "not supported yet: this behind AS; write SELECT");
    }
    if (sql->plan->view_count == LIMIT_VIEWS) {
        return sql_error(sql, -1, "more than %d views", LIMIT_VIEWS);
    }
    const char *name = sql_new_name(sql, json_object_get(into, "rel"));
    if (name == NULL) {
        return -KE_SQL;
    }
    expr_pool_open(&sql->pool, &sql->temp);
    struct sql_select *select = arena_calloc(&sql->temp, sizeof *select);
    select->targets = arena_calloc(&sql->temp, sizeof *select->targets * LIMIT_COLUMNS);
    select->scope.aggregates = select->aggregates;
    select->scope.aggregate_count = &select->aggregate_count;
    int64_t retain_us = INT64_MAX;
    if (select_bind(sql, select, query) != 0 ||
        retain_read(sql, select, json_object_get(into, "options"), &retain_us) != 0) {
        return -KE_SQL;
    }
    return sql_plan_view(sql, select, name, retain_us);
}
