/* SELECT: the select list, WHERE and HAVING; subqueries in FROM. Own header: sql.h.
 *
 * A subquery that groups nothing adds no work of its own: its columns are names for expressions over
 * the same rows, its WHERE is one more condition on them. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

/* ---- The select list. */

/* The columns of one SELECT while they are bound. */
struct target_list {
    const struct sql_scope *scope;
    struct sql_target *targets; /* LIMIT_COLUMNS */
    uint32_t count;
    bool literals; /* bare ones keep their type NULL; names need not differ */
};

static int target_add(struct sql *sql, struct target_list *list, const char *name,
                      struct expr_node *node, int place)
{
    if (list->count == LIMIT_COLUMNS) {
        return sql_error(sql, place, "more than %d columns", LIMIT_COLUMNS);
    }
    for (uint32_t i = 0; i < list->count && !list->literals; i++) {
        if (strcmp(list->targets[i].name, name) == 0) {
            int rc = sql_error(sql, place, "column \"%s\" specified more than once", name);
            err_hint(sql->err, "give one of them another name with AS");
            return rc;
        }
    }
    if (node->type == KAPPA_TYPE_NULL && !list->literals) {
        node = sql_coerce(sql, node, KAPPA_TYPE_TEXT);
        if (node == NULL) {
            return -KE_SQL;
        }
    }
    list->targets[list->count++] = (struct sql_target){arena_strdup(&sql->temp, name), place, node};
    return 0;
}

static int relation_star(struct sql *sql, struct target_list *list,
                         const struct sql_relation *relation, bool qualified, int place)
{
    for (uint32_t i = 0; i < relation->count; i++) {
        const struct sql_field *field = &relation->fields[i];
        struct expr_node *node = sql_field_at(sql, list->scope, field->node, place);
        bool shown = !field->hidden && (!field->merged || qualified);
        int rc = !shown ? 0 : target_add(sql, list, field->name, node, place);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* * and t.*: all columns. Returns 1 if the target is no star. */
static int target_star(struct sql *sql, struct target_list *list, const json_t *value)
{
    const json_t *fields = json_object_get(sql_body(value, "ColumnRef"), "fields");
    size_t count = json_array_size(fields);
    if (count == 0 || sql_body(json_array_get(fields, count - 1), "A_Star") == NULL) {
        return 1;
    }
    int place = sql_place(value);
    const char *qualifier = count == 1 ? NULL : count == 2 ? sql_name(fields, 0) : "";
    bool found = false;
    for (uint32_t r = 0; r < list->scope->relation_count; r++) {
        const struct sql_relation *relation = &list->scope->relations[r];
        if (qualifier == NULL || strcmp(qualifier, relation->alias) == 0) {
            found = true;
            int rc = relation_star(sql, list, relation, qualifier != NULL, place);
            if (rc != 0) {
                return rc;
            }
        }
    }
    return found ? 0
                 : sql_error(sql, place, "missing FROM-clause entry for table \"%s\"",
                             qualifier == NULL ? "" : qualifier);
}

static int targets_bind(struct sql *sql, struct target_list *list, const json_t *elements)
{
    static const char *const allowed[] = {"name", "val", NULL};
    if (json_array_size(elements) == 0) {
        return sql_error(sql, -1, "the view has no columns");
    }
    list->targets = arena_calloc(&sql->temp, sizeof *list->targets * LIMIT_COLUMNS);
    size_t i;
    json_t *element;
    json_array_foreach (elements, i, element) {
        const json_t *body = sql_body(element, "ResTarget");
        const json_t *value = json_object_get(body, "val");
        if (sql_only(sql, body, allowed) != 0) {
            return -KE_SQL;
        }
        int rc = target_star(sql, list, value);
        if (rc == 1) {
            const char *name = json_text(body, "name", NULL);
            struct expr_node *node = sql_bind(sql, list->scope, value);
            rc = node == NULL ? -KE_SQL
                              : target_add(sql, list, name == NULL ? sql_figure_name(value) : name,
                                           node, sql_place(body));
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
            (void)sql_error(sql, sql_keyword_place(sql, operations[i].word, place),
                            "not supported yet: %s", operations[i].word);
            err_hint(sql->err,
                     "a materialized view for each side, and CREATE VIEW with %s over "
                     "them, which is computed when it is read",
                     operations[i].word);
            return -KE_SQL;
        }
    }
    return 0;
}

int sql_where(struct sql *sql, struct sql_select *select, const struct sql_scope *scope,
              const json_t *condition, const char *clause)
{
    if (select->top != NULL) {
        return sql_top_where(sql, select, scope, condition);
    }
    struct sql_scope inner = *scope;
    inner.clause = clause;
    inner.windows_allowed = false;
    struct expr_node *node = sql_bind_boolean(sql, &inner, condition, clause);
    if (node == NULL) {
        return -KE_SQL;
    }
    if (select->where != NULL) {
        struct expr_node *both =
            expr_node_call(&sql->pool, expr_and, KAPPA_TYPE_BOOLEAN, node->place, 2);
        both->args[0] = select->where;
        both->args[1] = node;
        node = expr_pool_assign(&sql->pool, both);
    }
    select->where = node;
    return 0;
}

/* FROM, WHERE and the select list, of the query itself or of a subquery. */
static int query_bind(struct sql *sql, struct sql_select *select, const json_t *query,
                      struct sql_scope *scope, struct target_list *list)
{
    static const char *const allowed[] = {"targetList",  "fromClause",   "whereClause",
                                          "groupClause", "havingClause", "limitOption",
                                          "op",          "windowClause", NULL};
    const json_t *where = json_object_get(query, "whereClause");
    list->scope = scope;
    scope->windows = json_object_get(query, "windowClause");
    if (refuse_set_operation(sql, query) != 0 || sql_only(sql, query, allowed) != 0 ||
        sql_from(sql, select, json_object_get(query, "fromClause"), scope) != 0 ||
        (where != NULL && sql_where(sql, select, scope, where, "WHERE") != 0)) {
        return -KE_SQL;
    }
    select->phase_open = select->phase_count;
    scope->windows_allowed = json_object_get(query, "groupClause") == NULL &&
                             json_object_get(query, "havingClause") == NULL;
    int rc = targets_bind(sql, list, json_object_get(query, "targetList"));
    scope->windows_allowed = false;
    return rc;
}

int sql_subquery(struct sql *sql, struct sql_select *select, const json_t *query, const char *alias,
                 struct sql_relation *out)
{
    if (json_object_get(query, "groupClause") != NULL ||
        json_object_get(query, "havingClause") != NULL) {
        int rc = sql_error(sql, sql_place(json_object_get(query, "groupClause")),
                           "a subquery that groups is a table of its own");
        err_hint(sql->err, "write CREATE MATERIALIZED VIEW for it, and CREATE VIEW for the query "
                           "around it: that one is computed when it is read");
        return rc;
    }
    if (sql->depth >= LIMIT_SQL_DEPTH) {
        return sql_error(sql, sql_place(query), "queries nested deeper than %d levels",
                         LIMIT_SQL_DEPTH);
    }
    struct sql_scope scope = {.select = select, .clause = "a subquery"};
    struct target_list list = {0};
    sql->depth++;
    int rc = query_bind(sql, select, query, &scope, &list);
    sql->depth--;
    if (rc != 0) {
        return rc;
    }
    *out = (struct sql_relation){.alias = alias, .count = list.count};
    out->fields = arena_calloc(&sql->temp, sizeof *out->fields * ((size_t)list.count + 1));
    for (uint32_t i = 0; i < list.count; i++) {
        out->fields[i] =
            (struct sql_field){.name = list.targets[i].name, .node = list.targets[i].node};
    }
    return 0;
}

struct sql_select *sql_select_bind(struct sql *sql, const json_t *query, bool literals)
{
    expr_pool_open(&sql->pool, &sql->temp);
    struct sql_select *select = arena_calloc(&sql->temp, sizeof *select);
    select->input = PLAN_NONE;
    select->scope.select = select;
    select->scope.aggregates = select->aggregates;
    select->scope.aggregate_count = &select->aggregate_count;
    struct target_list list = {.literals = literals};
    if (query_bind(sql, select, query, &select->scope, &list) != 0) {
        return NULL;
    }
    select->targets = list.targets;
    select->target_count = list.count;
    const json_t *having = json_object_get(query, "havingClause");
    if (having != NULL) {
        select->having = sql_bind_boolean(sql, &select->scope, having, "HAVING");
        if (select->having == NULL) {
            return NULL;
        }
    }
    if (sql_group_bind(sql, select, json_object_get(query, "groupClause")) != 0) {
        return NULL;
    }
    select->grouped = select->key_count > 0 || having != NULL || select->aggregate_count > 0;
    if (select->grouped && select->phase_count > select->phase_open) {
        (void)sql_error(sql, select->targets[0].place,
                        "aggregates and window functions in one SELECT");
        err_hint(sql->err, "write the window functions in a subquery in FROM");
        return NULL;
    }
    if (sql->inputs[select->input].primary_count > 0) {
        return sql_upsert(sql, select) == 0 ? select : NULL;
    }
    if (select->top != NULL) {
        return sql_top_check(sql, select) == 0 ? select : NULL;
    }
    return !select->grouped || sql_group_check(sql, select) == 0 ? select : NULL;
}
