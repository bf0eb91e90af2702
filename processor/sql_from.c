/* FROM: a table, plain or through tumble(), or a subquery. Own header: sql.h. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

/* Tables, views and topics that are something else than what FROM reads. */
static int relation_refuse(struct sql *sql, const char *name, int place)
{
    for (uint32_t i = 0; i < sql->plan->view_count; i++) {
        if (strcmp(sql->views[i].shape.name, name) == 0) {
            int rc =
                sql_error(sql, place,
                          "\"%s\" is a materialized view: what builds upon it is computed when "
                          "it is read",
                          name);
            err_hint(sql->err, "write CREATE VIEW instead of CREATE MATERIALIZED VIEW");
            return rc;
        }
    }
    const struct sql_named *named = sql_named_find(sql, name);
    if (named != NULL && named->query == NULL) {
        int rc = sql_error(sql, place, "\"%s\" is a view that is computed when it is read", name);
        err_hint(sql->err, "write CREATE VIEW here too");
        return rc;
    }
    if (sql_is_topic(sql, name)) {
        int rc = sql_error(sql, place, "\"%s\" is written by INSERT INTO, and not read here", name);
        err_hint(sql->err, "another processor can read its topic");
        return rc;
    }
    return 1;
}

static int input_find(struct sql *sql, const char *name, int place, uint32_t *index)
{
    struct sql_guess guess = sql_guess_new(name);
    for (uint32_t i = 0; i < sql->plan->input_count; i++) {
        if (strcmp(sql->inputs[i].name, name) == 0) {
            *index = i;
            return 0;
        }
        sql_guess_offer(&guess, sql->inputs[i].name);
    }
    for (uint32_t i = 0; i < sql->named_count; i++) {
        sql_guess_offer(&guess, sql->named[i].name);
    }
    int rc = relation_refuse(sql, name, place);
    if (rc == 1) {
        rc = sql_error(sql, place, "relation \"%s\" does not exist", name);
        sql_guess_hint(sql, &guess,
                       "declare it above: CREATE TABLE name (column type, ...) WITH (topic='...')");
    }
    return rc;
}

/* All rows of a pipeline come from one input. */
static int input_set(struct sql *sql, struct sql_select *select, const char *name, int place)
{
    ASSERT_CMP(select->input, ==, PLAN_NONE);
    return input_find(sql, name, place, &select->input);
}

static const char *alias_of(struct sql *sql, const json_t *range, const char *name)
{
    const json_t *alias = json_object_get(range, "alias");
    if (json_object_get(alias, "colnames") != NULL) {
        return sql_error_null(sql, sql_place(range),
                              "not supported yet: a column list after an alias");
    }
    return arena_strdup(&sql->temp, json_text(alias, "aliasname", name));
}

/* A table to read, or a CREATE VIEW over one. */
int sql_relation_bind(struct sql *sql, struct sql_select *select, const char *name, int place,
                      const char *alias, struct sql_relation *out)
{
    const struct sql_named *named = sql_named_find(sql, name);
    if (named != NULL && named->query != NULL) {
        return sql_subquery(sql, select, named->query, alias, out);
    }
    if (input_set(sql, select, name, place) != 0) {
        return -KE_SQL;
    }
    *out = sql_relation_of_input(sql, select, alias, place);
    return 0;
}

static int from_table(struct sql *sql, struct sql_select *select, const json_t *range,
                      struct sql_relation *out)
{
    static const char *const allowed[] = {"relname", "inh", "relpersistence", "alias", NULL};
    const char *name = json_text(range, "relname", "");
    if (sql_only(sql, range, allowed) != 0) {
        return -KE_SQL;
    }
    const char *alias = alias_of(sql, range, name);
    return alias == NULL ? -KE_SQL
                         : sql_relation_bind(sql, select, name, sql_place(range), alias, out);
}

static int from_subquery(struct sql *sql, struct sql_select *select, const json_t *range,
                         struct sql_relation *out)
{
    static const char *const allowed[] = {"subquery", "alias", NULL};
    const json_t *query = sql_body(json_object_get(range, "subquery"), "SelectStmt");
    if (sql_only(sql, range, allowed) != 0) {
        return -KE_SQL;
    }
    const char *alias = alias_of(sql, range, "subquery");
    return alias == NULL ? -KE_SQL : sql_subquery(sql, select, query, alias, out);
}

static int from_function(struct sql *sql, struct sql_select *select, const json_t *range,
                         struct sql_relation *out)
{
    static const char *const allowed[] = {"functions", "alias", NULL};
    static const char *const allowed_plugin[] = {"functions", "alias", "coldeflist", NULL};
    static const char *const allowed_call[] = {"funcname", "args", "funcformat", NULL};
    const json_t *list = sql_body(json_array_get(json_object_get(range, "functions"), 0), "List");
    const json_t *call = sql_body(json_array_get(json_object_get(list, "items"), 0), "FuncCall");
    const char *called = sql_plain_name(json_object_get(call, "funcname"));
    bool plugin = called != NULL && strcmp(called, "plugin") == 0;
    if (sql_only(sql, range, plugin ? allowed_plugin : allowed) != 0) {
        return -KE_SQL;
    }
    if (plugin) {
        return sql_only(sql, call, allowed_call) != 0
                   ? -KE_SQL
                   : sql_plugin(sql, select, json_object_get(call, "args"),
                                json_object_get(range, "coldeflist"),
                                arena_strdup(&sql->temp, json_text(json_object_get(range, "alias"),
                                                                   "aliasname", "plugin")),
                                sql_place(call), out);
    }
    if (call == NULL) {
        return sql_error(sql, sql_place(range), "not supported yet: this in FROM");
    }
    int place = sql_place(call);
    const char *name = sql_plain_name(json_object_get(call, "funcname"));
    if (name == NULL || !sql_is_window(name)) {
        int rc = sql_error(sql, place, "function %s(...) cannot stand behind FROM",
                           name == NULL ? "" : name);
        err_hint(sql->err, "FROM takes a table, or tumble(table, event_time_column, interval '5 "
                           "minutes'), hop(...), session(...)");
        return rc;
    }
    if (sql_only(sql, call, allowed_call) != 0 ||
        sql_window(sql, select, name, json_object_get(call, "args"), place, out) != 0) {
        return -KE_SQL;
    }
    out->alias = alias_of(sql, range, out->alias);
    return out->alias == NULL ? -KE_SQL : 0;
}

// NOLINTNEXTLINE(misc-no-recursion): joins are nested as deep as the tree
int sql_from_item(struct sql *sql, struct sql_select *select, const json_t *node,
                  struct sql_scope *scope)
{
    const json_t *body = NULL;
    const char *kind = sql_kind(node, &body);
    if (strcmp(kind, "JoinExpr") == 0) {
        return sql_join(sql, select, body, scope);
    }
    struct sql_relation *out = &scope->relations[scope->relation_count];
    int rc = -KE_SQL;
    if (strcmp(kind, "RangeVar") == 0) {
        rc = from_table(sql, select, body, out);
    } else if (strcmp(kind, "RangeFunction") == 0) {
        rc = from_function(sql, select, body, out);
    } else if (strcmp(kind, "RangeSubselect") == 0) {
        rc = from_subquery(sql, select, body, out);
    } else {
        return sql_error(sql, sql_place(body), "not supported yet: this in FROM");
    }
    scope->relation_count += rc == 0 ? 1 : 0;
    return rc;
}

int sql_from(struct sql *sql, struct sql_select *select, const json_t *list,
             struct sql_scope *scope)
{
    const json_t *first = json_array_get(list, 0);
    if (first == NULL) {
        return sql_error(sql, -1, "the view reads nothing: add FROM table");
    }
    if (json_array_size(list) > 1) {
        int rc = sql_error(sql, sql_place(json_array_get(list, 1)),
                           "not supported yet: several tables in FROM with a comma");
        err_hint(sql->err,
                 "write FROM stream JOIN other ON stream.key = other.key: each row of the "
                 "first looks for the newest of the other");
        return rc;
    }
    return sql_from_item(sql, select, first, scope);
}
