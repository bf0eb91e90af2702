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
static int relation_bind(struct sql *sql, struct sql_select *select, const char *name, int place,
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
    return alias == NULL ? -KE_SQL : relation_bind(sql, select, name, sql_place(range), alias, out);
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

/* ---- tumble(table, event_time_column, size [, offset]) */

static int tumble_usage(struct sql *sql, int place, const char *problem)
{
    int rc = sql_error(sql, place, "%s", problem);
    err_hint(sql->err, "write tumble(table, event_time_column, interval '5 minutes')");
    return rc;
}

/* A constant interval. */
static int interval_read(struct sql *sql, const json_t *node, const char *what, int64_t *us)
{
    const struct sql_scope scope = {.clause = "FROM"};
    struct expr_node *bound = sql_bind(sql, &scope, node);
    if (bound != NULL && bound->type == KAPPA_TYPE_NULL) {
        bound = sql_coerce(sql, bound, KAPPA_TYPE_INTERVAL);
    }
    if (bound == NULL) {
        return -KE_SQL;
    }
    if (bound->kind != EXPR_NODE_CONSTANT || bound->type != KAPPA_TYPE_INTERVAL ||
        bound->constant.is_null) {
        return sql_error(sql, sql_place(node),
                         "the %s of a window is an interval, like "
                         "interval '5 minutes'",
                         what);
    }
    *us = bound->constant.i;
    if (*us > SQL_DURATION_MAX_US || *us < -SQL_DURATION_MAX_US) {
        return sql_error(sql, sql_place(node), "the %s of a window is longer than 100 years", what);
    }
    return 0;
}

/* The second argument: the column of the relation that is the input's event time. */
static int tumble_column(struct sql *sql, const struct sql_select *select,
                         const struct sql_relation *relation, const json_t *node)
{
    const struct plan_input *input = &sql->inputs[select->input];
    const json_t *fields = json_object_get(sql_body(node, "ColumnRef"), "fields");
    size_t count = json_array_size(fields);
    const char *name = sql_name(fields, count - 1);
    if (name == NULL || count > 2) {
        return tumble_usage(sql, sql_place(node), "the second argument of tumble is a column");
    }
    if (input->event_time == PLAN_NONE) {
        int rc = sql_error(sql, sql_place(node),
                           "table \"%s\" has no event time, and windows need one", input->name);
        err_hint(sql->err, "add WITH (event_time='%s') to CREATE TABLE %s", name, input->name);
        return rc;
    }
    for (uint32_t i = 0; i < relation->count; i++) {
        const struct expr_node *field = relation->fields[i].node;
        if (strcmp(relation->fields[i].name, name) == 0 && field->kind == EXPR_NODE_INPUT &&
            field->index == input->event_time) {
            return 0;
        }
    }
    const char *event_time = input->columns[input->event_time].name;
    int rc = sql_error(sql, sql_place(node),
                       "windows are over the event time of \"%s\", which is \"%s\", not \"%s\"",
                       input->name, event_time, name);
    err_hint(sql->err, "write tumble(%s, %s, ...), or change event_time", relation->alias,
             event_time);
    return rc;
}

/* Adds window_start and window_end to the relation. */
static int relation_window(struct sql *sql, const struct sql_select *select,
                           struct sql_relation *relation, int place)
{
    static const char *const names[] = {"window_start", "window_end"};
    uint32_t own = sql->inputs[select->input].column_count;
    struct sql_field *fields =
        arena_calloc(&sql->temp, sizeof *fields * ((size_t)relation->count + 2));
    for (uint32_t i = 0; i < relation->count; i++) {
        fields[i] = relation->fields[i];
        if (strcmp(fields[i].name, names[0]) == 0 || strcmp(fields[i].name, names[1]) == 0) {
            return sql_error(sql, place, "tumble adds the column \"%s\", which \"%s\" already has",
                             fields[i].name, relation->alias);
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        fields[relation->count++] =
            (struct sql_field){.name = names[i], .node = sql_input(sql, select, own + i, place)};
    }
    relation->fields = fields;
    return 0;
}

static int tumble_sizes(struct sql *sql, struct sql_select *select, const json_t *args)
{
    if (interval_read(sql, json_array_get(args, 2), "size", &select->window_us) != 0) {
        return -KE_SQL;
    }
    if (select->window_us <= 0) {
        return sql_error(sql, sql_place(json_array_get(args, 2)), "a window must be longer than 0");
    }
    if (json_array_size(args) == 4 &&
        interval_read(sql, json_array_get(args, 3), "offset", &select->window_offset_us) != 0) {
        return -KE_SQL;
    }
    int64_t rest = select->window_offset_us % select->window_us;
    select->window_offset_us = rest < 0 ? rest + select->window_us : rest;
    return 0;
}

static int tumble_bind(struct sql *sql, struct sql_select *select, const json_t *args, int place,
                       struct sql_relation *out)
{
    size_t count = json_array_size(args);
    if (count < 3 || count > 4) {
        return tumble_usage(sql, place,
                            "tumble takes a table, its event time, a size and perhaps "
                            "an offset");
    }
    const json_t *table = json_array_get(args, 0);
    const json_t *fields = json_object_get(sql_body(table, "ColumnRef"), "fields");
    const char *name = json_array_size(fields) == 1 ? sql_name(fields, 0) : NULL;
    if (name == NULL) {
        return tumble_usage(sql, sql_place(table), "the first argument of tumble is a table");
    }
    const char *alias = arena_strdup(&sql->temp, name);
    if (relation_bind(sql, select, name, sql_place(table), alias, out) != 0) {
        return -KE_SQL;
    }
    if (select->window_us > 0) {
        return sql_error(sql, place, "the rows of \"%s\" already have windows", name);
    }
    if (tumble_column(sql, select, out, json_array_get(args, 1)) != 0 ||
        tumble_sizes(sql, select, args) != 0) {
        return -KE_SQL;
    }
    return relation_window(sql, select, out, sql_place(table));
}

static int from_function(struct sql *sql, struct sql_select *select, const json_t *range,
                         struct sql_relation *out)
{
    static const char *const allowed[] = {"functions", "alias", NULL};
    static const char *const allowed_call[] = {"funcname", "args", "funcformat", NULL};
    if (sql_only(sql, range, allowed) != 0) {
        return -KE_SQL;
    }
    const json_t *list = sql_body(json_array_get(json_object_get(range, "functions"), 0), "List");
    const json_t *call = sql_body(json_array_get(json_object_get(list, "items"), 0), "FuncCall");
    if (call == NULL) {
        return sql_error(sql, sql_place(range), "not supported yet: this in FROM");
    }
    int place = sql_place(call);
    const char *name = sql_plain_name(json_object_get(call, "funcname"));
    if (name != NULL && (strcmp(name, "hop") == 0 || strcmp(name, "session") == 0)) {
        return sql_error(sql, place, "not supported yet: %s() windows", name);
    }
    if (name == NULL || strcmp(name, "tumble") != 0) {
        int rc = sql_error(sql, place, "function %s(...) cannot stand behind FROM",
                           name == NULL ? "" : name);
        err_hint(sql->err, "FROM takes a table, or tumble(table, event_time_column, interval '5 "
                           "minutes')");
        return rc;
    }
    if (sql_only(sql, call, allowed_call) != 0 ||
        tumble_bind(sql, select, json_object_get(call, "args"), place, out) != 0) {
        return -KE_SQL;
    }
    out->alias = alias_of(sql, range, out->alias);
    return out->alias == NULL ? -KE_SQL : 0;
}

int sql_from(struct sql *sql, struct sql_select *select, const json_t *list,
             struct sql_scope *scope)
{
    const json_t *first = json_array_get(list, 0);
    const json_t *body = NULL;
    const char *kind = sql_kind(first, &body);
    if (first == NULL) {
        return sql_error(sql, -1, "the view reads nothing: add FROM table");
    }
    if (json_array_size(list) > 1 || strcmp(kind, "JoinExpr") == 0) {
        const json_t *second =
            json_array_size(list) > 1 ? json_array_get(list, 1) : json_object_get(body, "rarg");
        return sql_error(sql, sql_place(second), "not supported yet: joins");
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
