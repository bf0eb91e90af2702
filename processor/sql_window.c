/* Windows: tumble, hop and session behind FROM, and what WITH (...) says about them. Own header:
 * sql.h.
 *
 * Rows of a tumble are in one window, whose start and end are columns like others. A row of a hop is
 * in several windows, and of a session nobody knows yet where it ends: there window_start and
 * window_end are group keys and nothing else. */
#include "processor/sql.h"

#include <string.h>

#define PANES_MAX 4096 /* of one window: reading merges them */

struct window_function {
    const char *name;
    enum plan_window_kind kind;
    size_t args_min;
    size_t args_max;
    const char *usage;
};

static const struct window_function functions[] = {
    {"tumble", PLAN_WINDOW_TUMBLE, 3, 4,
     "write tumble(table, event_time_column, interval '5 minutes')"},
    {"hop", PLAN_WINDOW_HOP, 4, 5,
     "write hop(table, event_time_column, interval '1 minute', interval '5 minutes'): first how "
     "far "
     "apart windows begin, then how long they are"},
    {"session", PLAN_WINDOW_SESSION, 3, 3,
     "write session(table, event_time_column, interval '30 seconds'): a session ends after that "
     "long without an event"},
};

static const struct window_function *function_find(const char *name)
{
    for (size_t i = 0; i < array_len(functions); i++) {
        if (strcmp(functions[i].name, name) == 0) {
            return &functions[i];
        }
    }
    return NULL;
}

bool sql_is_window(const char *name)
{
    return function_find(name) != NULL;
}

static const struct window_function *function_of(enum plan_window_kind kind)
{
    size_t i = 0;
    while (functions[i].kind != kind) {
        i++;
        ASSERT_CMP(i, <, array_len(functions));
    }
    return &functions[i];
}

static int usage(struct sql *sql, const struct window_function *function, int place,
                 const char *what, const char *why)
{
    int rc = sql_error(sql, place, "%s %s%s", what, function->name, why);
    err_hint(sql->err, "%s", function->usage);
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

/* The name of the column that is written there, or record_timestamp(); NULL: something else. */
static const char *time_name(const json_t *node)
{
    const json_t *fields = json_object_get(sql_body(node, "ColumnRef"), "fields");
    const json_t *call = sql_body(node, "FuncCall");
    size_t count = json_array_size(fields);
    if (call == NULL) {
        return count > 2 ? NULL : sql_name(fields, count - 1);
    }
    const char *name = sql_plain_name(json_object_get(call, "funcname"));
    bool plain = json_array_size(json_object_get(call, "args")) == 0;
    bool meta = plain && name != NULL && strcmp(name, "record_timestamp") == 0;
    return meta ? "record_timestamp()" : NULL;
}

/* The second argument: the column of the relation that is the input's event time. */
static int time_column(struct sql *sql, const struct sql_select *select,
                       const struct sql_relation *relation, const struct window_function *function,
                       const json_t *node)
{
    const struct plan_input *input = &sql->inputs[select->input];
    const char *name = time_name(node);
    if (name == NULL) {
        return usage(sql, function, sql_place(node), "the second argument of", " is a column");
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
    err_hint(sql->err, "write %s(%s, %s, ...), or change event_time", function->name,
             relation->alias, event_time);
    return rc;
}

/* Adds window_start and window_end to the relation. */
static int relation_window(struct sql *sql, const struct sql_select *select,
                           struct sql_relation *relation, const char *function, int place)
{
    static const char *const names[] = {"window_start", "window_end"};
    uint32_t own = sql->inputs[select->input].column_count;
    struct sql_field *fields =
        arena_calloc(&sql->temp, sizeof *fields * ((size_t)relation->count + 2));
    for (uint32_t i = 0; i < relation->count; i++) {
        fields[i] = relation->fields[i];
        if (strcmp(fields[i].name, names[0]) == 0 || strcmp(fields[i].name, names[1]) == 0) {
            return sql_error(sql, place, "%s adds the column \"%s\", which \"%s\" already has",
                             function, fields[i].name, relation->alias);
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        fields[relation->count++] =
            (struct sql_field){.name = names[i], .node = sql_input(sql, select, own + i, place)};
    }
    relation->fields = fields;
    return 0;
}

/* Reads an interval above 0. */
static int size_read(struct sql *sql, const json_t *node, const char *what, int64_t *us)
{
    if (interval_read(sql, node, what, us) != 0) {
        return -KE_SQL;
    }
    return *us > 0
               ? 0
               : sql_error(sql, sql_place(node), "the %s of a window must be longer than 0", what);
}

static int64_t common_step(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static int hop_check(struct sql *sql, const struct sql_select *select, int place)
{
    if (select->slide_us > select->window_us) {
        int rc = sql_error(sql, place,
                           "hop: windows that begin further apart than they are long "
                           "leave out rows");
        err_hint(sql->err, "the third argument is how far apart windows begin, the fourth how long "
                           "they are");
        return rc;
    }
    int64_t panes = select->window_us / common_step(select->slide_us, select->window_us);
    if (panes > PANES_MAX) {
        int rc = sql_error(sql, place, "hop: a window would be made of %lld parts; the limit is %d",
                           (long long)panes, PANES_MAX);
        err_hint(sql->err, "let windows begin further apart, best by a part of their length");
        return rc;
    }
    return 0;
}

static int sizes_read(struct sql *sql, struct sql_select *select, const json_t *args, int place)
{
    bool hop = select->window == PLAN_WINDOW_HOP;
    bool session = select->window == PLAN_WINDOW_SESSION;
    size_t at = 2;
    if (hop && size_read(sql, json_array_get(args, at++), "slide", &select->slide_us) != 0) {
        return -KE_SQL;
    }
    const json_t *size = json_array_get(args, at++);
    if (size_read(sql, size, session ? "gap" : "size", &select->window_us) != 0) {
        return -KE_SQL;
    }
    if (session) {
        return 0;
    }
    select->slide_us = hop ? select->slide_us : select->window_us;
    const json_t *offset = json_array_get(args, at);
    if (offset != NULL && interval_read(sql, offset, "offset", &select->window_offset_us) != 0) {
        return -KE_SQL;
    }
    int64_t rest = select->window_offset_us % select->slide_us;
    select->window_offset_us = rest < 0 ? rest + select->slide_us : rest;
    return hop ? hop_check(sql, select, place) : 0;
}

int sql_window(struct sql *sql, struct sql_select *select, const char *name, const json_t *args,
               int place, struct sql_relation *out)
{
    const struct window_function *function = function_find(name);
    ASSERT(function != NULL);
    size_t count = json_array_size(args);
    if (count < function->args_min || count > function->args_max) {
        return usage(sql, function, place, "wrong number of arguments for", "");
    }
    const json_t *table = json_array_get(args, 0);
    const json_t *fields = json_object_get(sql_body(table, "ColumnRef"), "fields");
    const char *relation = json_array_size(fields) == 1 ? sql_name(fields, 0) : NULL;
    if (relation == NULL) {
        return usage(sql, function, sql_place(table), "the first argument of", " is a table");
    }
    const char *alias = arena_strdup(&sql->temp, relation);
    if (sql_relation_bind(sql, select, relation, sql_place(table), alias, out) != 0) {
        return -KE_SQL;
    }
    if (select->window != PLAN_WINDOW_NONE) {
        return sql_error(sql, place, "the rows of \"%s\" already have windows", relation);
    }
    select->window = function->kind;
    select->window_place = place;
    if (time_column(sql, select, out, function, json_array_get(args, 1)) != 0 ||
        sizes_read(sql, select, args, place) != 0) {
        return -KE_SQL;
    }
    return relation_window(sql, select, out, function->name, sql_place(table));
}

/* ---- Into the plan. */

static int keys_check(struct sql *sql, const struct sql_select *select,
                      const struct window_function *function, const struct plan_view *view)
{
    if (view->kind == PLAN_GROUP && view->shape.windowed) {
        return 0;
    }
    int rc = sql_error(sql, select->window_place,
                       "%s needs GROUP BY with window_start or window_end: %s", function->name,
                       select->window == PLAN_WINDOW_HOP
                           ? "a row by itself is in several windows"
                           : "where a session ends is known when its rows are together");
    err_hint(sql->err, "add GROUP BY window_start, window_end");
    return rc;
}

int sql_window_plan(struct sql *sql, const struct sql_select *select, bool read_by_rows,
                    struct plan_view *view)
{
    view->window = select->window;
    view->window_us = select->window_us;
    view->slide_us = select->slide_us;
    view->window_offset_us = select->window_offset_us;
    if (select->window == PLAN_WINDOW_HOP || select->window == PLAN_WINDOW_SESSION) {
        const struct window_function *function = function_of(select->window);
        if (keys_check(sql, select, function, view) != 0) {
            return -KE_SQL;
        }
        if (read_by_rows) {
            return sql_error(sql, select->window_place,
                             "with %s, window_start and window_end are only for GROUP BY, the "
                             "select list and HAVING, not inside of WHERE, of other group "
                             "expressions or of aggregates",
                             function->name);
        }
    }
    /* Sessions are found by key; of final windows the newest is not the one to show. */
    view->shape.history = view->window == PLAN_WINDOW_SESSION || view->final_only;
    if (select->window_us > 0 && select->window != PLAN_WINDOW_SESSION) {
        view->pane_us = common_step(select->slide_us, select->window_us);
    }
    return 0;
}

/* ---- WITH (...) of a view. */

static bool has_windows(const struct sql *sql, const struct sql_select *select)
{
    for (uint32_t k = 0; k < select->key_count; k++) {
        if (sql_key_role(sql, select, select->keys[k]) != PLAN_KEY_COLUMN) {
            return true;
        }
    }
    return false;
}

static int window_needed(struct sql *sql, const struct sql_option *option, const char *why)
{
    int rc = sql_error(sql, option->place, "option \"%s\" needs a window: %s", option->name, why);
    err_hint(sql->err,
             "use FROM tumble(...) and GROUP BY window_start, window_end, or leave %s out",
             option->name);
    return rc;
}

static int retain_set(struct sql *sql, const struct sql_select *select,
                      const struct sql_option *option, struct sql_view_options *out)
{
    out->retain_us = INT64_MAX;
    if (option->value == NULL) {
        return 0;
    }
    if (!has_windows(sql, select)) {
        return window_needed(sql, option, "rows go when their window's end is that long past");
    }
    if (sql_option_duration(sql, option, &out->retain_us) != 0) {
        return -KE_SQL;
    }
    if (out->retain_us < sql->inputs[select->input].lateness_us) {
        int rc = sql_error(sql, option->place,
                           "option \"retain\" is shorter than the lateness of \"%s\"",
                           sql->inputs[select->input].name);
        err_hint(sql->err, "a row must stay as long as late records may still change it");
        return rc;
    }
    return 0;
}

static int ttl_set(struct sql *sql, const struct sql_select *select,
                   const struct sql_option *option, struct sql_view_options *out)
{
    if (option->value == NULL) {
        return 0;
    }
    if (select->window != PLAN_WINDOW_NONE || !select->grouped) {
        int rc = sql_error(sql, option->place,
                           "option \"ttl\" is for groups without windows: each goes when nothing "
                           "came for it that long");
        err_hint(sql->err, select->grouped ? "tables of windows take retain='1 h'"
                                           : "group the rows, or leave ttl out");
        return rc;
    }
    const struct plan_input *input = &sql->inputs[select->input];
    if (input->event_time == PLAN_NONE) {
        int rc = sql_error(sql, option->place,
                           "option \"ttl\" goes by event time, and \"%s\" has none", input->name);
        err_hint(sql->err, "add WITH (event_time='column') to CREATE TABLE %s", input->name);
        return rc;
    }
    if (sql_option_duration(sql, option, &out->ttl_us) != 0) {
        return -KE_SQL;
    }
    return out->ttl_us > 0 ? 0
                           : sql_error(sql, option->place, "option \"ttl\" must be longer than 0");
}

static int emit_set(struct sql *sql, const struct sql_select *select,
                    const struct sql_option *option, struct sql_view_options *out)
{
    if (option->value == NULL || strcmp(option->value, "live") == 0) {
        return 0;
    }
    if (strcmp(option->value, "final") != 0) {
        int rc =
            sql_error(sql, option->place, "option \"emit\": \"%.60s\" is unknown", option->value);
        err_hint(sql->err, "'live' shows windows while they fill, 'final' when they are closed");
        return rc;
    }
    out->final_only = true;
    return has_windows(sql, select)
               ? 0
               : window_needed(sql, option, "a row is final when its window is closed");
}

int sql_view_options(struct sql *sql, const struct sql_select *select, const json_t *list,
                     struct sql_view_options *out)
{
    struct sql_option options[] = {{"retain", NULL, -1}, {"ttl", NULL, -1}, {"emit", NULL, -1}};
    memset(out, 0, sizeof *out);
    if (sql_options(sql, list, options, array_len(options)) != 0 ||
        retain_set(sql, select, &options[0], out) != 0 ||
        ttl_set(sql, select, &options[1], out) != 0) {
        return -KE_SQL;
    }
    return emit_set(sql, select, &options[2], out);
}
