/* FROM: one table, plain or through tumble(). Own header: sql.h. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

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
    for (uint32_t i = 0; i < sql->plan->view_count; i++) {
        if (strcmp(sql->views[i].shape.name, name) == 0) {
            return sql_error(sql, place, "not supported yet: reading from the view \"%s\"", name);
        }
    }
    int rc = sql_error(sql, place, "relation \"%s\" does not exist", name);
    sql_guess_hint(sql, &guess,
                   "declare it above: CREATE TABLE name (column type, ...) WITH (topic='...')");
    return rc;
}

static int alias_set(struct sql *sql, struct sql_select *select, const json_t *range,
                     const char *name)
{
    const json_t *alias = json_object_get(range, "alias");
    if (json_object_get(alias, "colnames") != NULL) {
        return sql_error(sql, sql_place(range), "not supported yet: a column list after an alias");
    }
    select->scope.alias = arena_strdup(&sql->temp, json_text(alias, "aliasname", name));
    return 0;
}

static int from_table(struct sql *sql, struct sql_select *select, const json_t *range)
{
    static const char *const allowed[] = {"relname", "inh", "relpersistence", "alias", NULL};
    const char *name = json_text(range, "relname", "");
    if (sql_only(sql, range, allowed) != 0 ||
        input_find(sql, name, sql_place(range), &select->input) != 0) {
        return -KE_SQL;
    }
    select->scope.input = &sql->inputs[select->input];
    return alias_set(sql, select, range, name);
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
    static const struct plan_input no_columns = {.name = "tumble"};
    const struct sql_scope scope = {.input = &no_columns, .alias = "", .clause = "FROM"};
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

static int tumble_column(struct sql *sql, const struct plan_input *input, const json_t *node)
{
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
    const char *event_time = input->columns[input->event_time].name;
    if (strcmp(event_time, name) != 0) {
        int rc = sql_error(sql, sql_place(node),
                           "windows are over the event time of \"%s\", which is \"%s\", not \"%s\"",
                           input->name, event_time, name);
        err_hint(sql->err, "write tumble(%s, %s, ...), or change event_time", input->name,
                 event_time);
        return rc;
    }
    return 0;
}

static int tumble_bind(struct sql *sql, struct sql_select *select, const json_t *args, int place)
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
    if (input_find(sql, name, sql_place(table), &select->input) != 0) {
        return -KE_SQL;
    }
    const struct plan_input *input = &sql->inputs[select->input];
    if (tumble_column(sql, input, json_array_get(args, 1)) != 0 ||
        interval_read(sql, json_array_get(args, 2), "size", &select->window_us) != 0) {
        return -KE_SQL;
    }
    if (select->window_us <= 0) {
        return sql_error(sql, sql_place(json_array_get(args, 2)), "a window must be longer than 0");
    }
    if (count == 4 &&
        interval_read(sql, json_array_get(args, 3), "offset", &select->window_offset_us) != 0) {
        return -KE_SQL;
    }
    int64_t rest = select->window_offset_us % select->window_us;
    select->window_offset_us = rest < 0 ? rest + select->window_us : rest;
    for (uint32_t i = 0; i < input->column_count; i++) {
        if (strcmp(input->columns[i].name, "window_start") == 0 ||
            strcmp(input->columns[i].name, "window_end") == 0) {
            return sql_error(sql, sql_place(table),
                             "tumble adds the column \"%s\", which \"%s\" already has",
                             input->columns[i].name, input->name);
        }
    }
    select->scope.input = input;
    select->scope.windowed = true;
    return 0;
}

static int from_function(struct sql *sql, struct sql_select *select, const json_t *range)
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
        tumble_bind(sql, select, json_object_get(call, "args"), place) != 0) {
        return -KE_SQL;
    }
    return alias_set(sql, select, range, select->scope.input->name);
}

int sql_from(struct sql *sql, struct sql_select *select, const json_t *list)
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
    if (strcmp(kind, "RangeVar") == 0) {
        return from_table(sql, select, body);
    }
    if (strcmp(kind, "RangeFunction") == 0) {
        return from_function(sql, select, body);
    }
    bool subquery = strcmp(kind, "RangeSubselect") == 0;
    return sql_error(sql, sql_place(body), "not supported yet: %s",
                     subquery ? "subqueries" : "this in FROM");
}
