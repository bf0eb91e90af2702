/* Function calls and aggregates. Own header: sql.h. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

/* Functions whose value depends on more than the record. */
static bool reads_the_world(const char *name)
{
    static const char *const names[] = {"now",
                                        "random",
                                        "clock_timestamp",
                                        "statement_timestamp",
                                        "timeofday",
                                        "setseed",
                                        "transaction_timestamp",
                                        "gen_random_uuid",
                                        "uuid_generate_v4",
                                        "nextval",
                                        "currval",
                                        "lastval",
                                        "proctime",
                                        "current_timestamp",
                                        "txid_current",
                                        "pg_sleep",
                                        "current_setting",
                                        "version",
                                        "age"};
    for (size_t i = 0; i < array_len(names); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* "text, integer" */
static const char *type_list(struct sql *sql, struct expr_node *const *args, uint32_t count)
{
    const char *list = "";
    for (uint32_t k = 0; k < count && k < 8; k++) {
        list = arena_printf(&sql->temp, "%s%s%s", list, k == 0 ? "" : ", ",
                            function_type_name(args[k]->type));
    }
    return count > 8 ? arena_printf(&sql->temp, "%s, ...", list) : list;
}

/* "substr(text, integer) or substr(text, integer, integer)" */
static const char *signatures(struct sql *sql, const char *name)
{
    uint32_t count;
    const struct function_row *rows = function_rows(&count);
    const char *list = "";
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].kind == FUNCTION_OPERATOR || strcmp(rows[i].name, name) != 0) {
            continue;
        }
        list = arena_printf(&sql->temp, "%s%s%s(", list, list[0] == '\0' ? "" : " or ", name);
        for (const char *letter = rows[i].args; *letter != '\0'; letter++) {
            const char *type =
                *letter == 'x' ? "any type" : function_type_name(function_letter_type(*letter));
            list =
                arena_printf(&sql->temp, "%s%s%s", list, letter == rows[i].args ? "" : ", ", type);
        }
        bool rows_only = rows[i].kind == FUNCTION_AGGREGATE && rows[i].args[0] == '\0';
        list = arena_printf(&sql->temp, "%s%s)", list, rows_only ? "*" : "");
    }
    return list;
}

static struct expr_node *function_missing(struct sql *sql, const char *name,
                                          struct expr_node *const *args, uint32_t count, int place)
{
    (void)sql_error(sql, place, "function %s(%s) does not exist", name,
                    type_list(sql, args, count));
    if (function_exists(FUNCTION_SCALAR, name) || function_exists(FUNCTION_AGGREGATE, name)) {
        err_hint(sql->err, "there is %s", signatures(sql, name));
        return NULL;
    }
    struct sql_guess guess = sql_guess_new(name);
    uint32_t row_count;
    const struct function_row *rows = function_rows(&row_count);
    for (uint32_t i = 0; i < row_count; i++) {
        if (rows[i].kind != FUNCTION_OPERATOR) {
            sql_guess_offer(&guess, rows[i].name);
        }
    }
    sql_guess_hint(sql, &guess, NULL);
    return NULL;
}

/* ---- Aggregates. */

/* The index of an equal aggregate, or of a new one; -1 when there are too many. */
static int64_t aggregate_share(struct sql *sql, const struct sql_scope *scope,
                               const struct sql_aggregate *aggregate, int place)
{
    for (uint32_t i = 0; i < *scope->aggregate_count; i++) {
        const struct sql_aggregate *other = &scope->aggregates[i];
        bool same_argument =
            (other->argument == NULL) == (aggregate->argument == NULL) &&
            (other->argument == NULL || other->argument->id == aggregate->argument->id);
        bool same_filter = (other->filter == NULL) == (aggregate->filter == NULL) &&
                           (other->filter == NULL || other->filter->id == aggregate->filter->id);
        if (other->kind == aggregate->kind && same_argument && same_filter) {
            return i;
        }
    }
    if (*scope->aggregate_count == SQL_AGGREGATES_MAX) {
        return sql_error(sql, place, "more than %d aggregates in one view", SQL_AGGREGATES_MAX);
    }
    scope->aggregates[*scope->aggregate_count] = *aggregate;
    return (*scope->aggregate_count)++;
}

/* DISTINCT changes the kind, or nothing, or is refused. */
static int aggregate_distinct(struct sql *sql, const char *name, enum plan_aggregate_kind *kind,
                              int place)
{
    if (*kind == PLAN_COUNT) {
        *kind = PLAN_COUNT_DISTINCT;
    } else if (*kind != PLAN_MIN && *kind != PLAN_MAX) {
        return sql_error(sql, place, "not supported yet: %s(DISTINCT ...)", name);
    }
    return 0;
}

/* The argument of the row's type; KAPPA_TYPE_NULL in the row takes any type but interval. */
static struct expr_node *aggregate_argument(struct sql *sql, const struct function_row *row,
                                            struct expr_node *arg)
{
    enum kappa_type type = function_letter_type(row->args[0]);
    if (type == KAPPA_TYPE_NULL) {
        type = arg->type == KAPPA_TYPE_NULL ? KAPPA_TYPE_TEXT : arg->type;
    }
    if (type == KAPPA_TYPE_INTERVAL) {
        return sql_error_null(sql, arg->place, "not supported yet: aggregates of intervals");
    }
    return sql_coerce(sql, arg, type);
}

static int aggregate_allowed(struct sql *sql, const struct sql_scope *scope, int place)
{
    if (scope->in_aggregate) {
        return sql_error(sql, place, "aggregate function calls cannot be nested");
    }
    if (scope->clause != NULL) {
        return sql_error(sql, place, "aggregate functions are not allowed in %s", scope->clause);
    }
    return 0;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static int bind_filter(struct sql *sql, const struct sql_scope *scope, const json_t *body,
                       struct expr_node **filter)
{
    const json_t *condition = json_object_get(body, "agg_filter");
    *filter = NULL;
    if (condition == NULL) {
        return 0;
    }
    struct sql_scope inner = *scope;
    inner.clause = "FILTER";
    *filter = sql_bind_boolean(sql, &inner, condition, "FILTER");
    return *filter == NULL ? -KE_SQL : 0;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_aggregate(struct sql *sql, const struct sql_scope *scope,
                                        const json_t *body, const char *name)
{
    const json_t *list = json_object_get(body, "args");
    uint32_t count = u32_from(json_array_size(list));
    bool star = json_bool(body, "agg_star", false);
    int place = sql_place(body);
    if (aggregate_allowed(sql, scope, place) != 0) {
        return NULL;
    }
    struct sql_scope inner = *scope;
    inner.in_aggregate = true;
    struct expr_node **args = sql_bind_list(sql, &inner, list);
    if (args == NULL) {
        return NULL;
    }
    if (count == 0 && !star && strcmp(name, "count") == 0) {
        return sql_error_null(sql, place,
                              "count(*) must be used to call a parameterless aggregate function");
    }
    enum kappa_type type = count == 0 ? KAPPA_TYPE_NULL : args[0]->type;
    const struct function_row *row =
        function_find(FUNCTION_AGGREGATE, name, &type, count > 1 ? FUNCTION_ARGS_MAX + 1 : count);
    if (row == NULL) {
        return function_missing(sql, name, args, count, place);
    }
    struct sql_aggregate aggregate = {.kind = row->aggregate,
                                      .result_type = function_letter_type(row->result[0])};
    if (count == 1) {
        aggregate.argument = aggregate_argument(sql, row, args[0]);
        if (aggregate.argument == NULL) {
            return NULL;
        }
        if (aggregate.result_type == KAPPA_TYPE_NULL) {
            aggregate.result_type = aggregate.argument->type;
        }
    }
    if (json_bool(body, "agg_distinct", false) &&
        aggregate_distinct(sql, name, &aggregate.kind, place) != 0) {
        return NULL;
    }
    if (bind_filter(sql, scope, body, &aggregate.filter) != 0) {
        return NULL;
    }
    int64_t index = aggregate_share(sql, scope, &aggregate, place);
    if (index < 0) {
        return NULL;
    }
    struct expr_node *node =
        expr_node_new(&sql->pool, EXPR_NODE_AGGREGATE, aggregate.result_type, place);
    node->index = (uint32_t)index;
    return expr_pool_assign(&sql->pool, node);
}

/* ---- Scalar functions. */

static int scalar_only(struct sql *sql, const json_t *body, const char *name, int place)
{
    const char *extra = json_bool(body, "agg_star", false)       ? "(*)"
                        : json_bool(body, "agg_distinct", false) ? "DISTINCT"
                        : json_object_get(body, "agg_filter")    ? "FILTER"
                                                                 : NULL;
    if (extra == NULL) {
        return 0;
    }
    return sql_error(sql, place, "%s specified, but %s is not an aggregate function", extra, name);
}

/* Units written as constants are checked now: date_trunc('huor', t). */
static int check_unit(struct sql *sql, const struct function_row *row, const struct expr_node *unit)
{
    bool trunc = row->run == expr_date_trunc;
    bool extract = row->run == expr_extract || row->run == expr_extract_interval;
    if ((!trunc && !extract) || unit->kind != EXPR_NODE_CONSTANT || unit->constant.is_null) {
        return 0;
    }
    struct kappa_text text = unit->constant.s;
    bool known = trunc ? expr_trunc_unit_known(text) : expr_extract_unit_known(text);
    if (row->run == expr_extract_interval) {
        known = text.len == 5 && strncmp(text.bytes, "epoch", 5) == 0;
    }
    if (known) {
        return 0;
    }
    static const char *const units[] = {"epoch",  "year",         "quarter",      "month",  "week",
                                        "day",    "hour",         "minute",       "second", "dow",
                                        "isodow", "milliseconds", "microseconds", "doy"};
    char *word = arena_strndup(&sql->temp, text.bytes, text.len > 40 ? 40 : text.len);
    (void)sql_error(sql, unit->place, "unit \"%s\" not recognized for type %s", word,
                    function_type_name(function_letter_type(row->args[1])));
    struct sql_guess guess = sql_guess_new(word);
    for (size_t i = 0; i < array_len(units) && row->run != expr_extract_interval; i++) {
        sql_guess_offer(&guess, units[i]);
    }
    sql_guess_hint(sql, &guess, NULL);
    return -KE_SQL;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_scalar(struct sql *sql, const struct sql_scope *scope,
                                     const json_t *body, const char *name)
{
    const json_t *list = json_object_get(body, "args");
    uint32_t count = u32_from(json_array_size(list));
    int place = sql_place(body);
    if (function_exists(FUNCTION_SCALAR, name) && scalar_only(sql, body, name, place) != 0) {
        return NULL;
    }
    struct expr_node **args = sql_bind_list(sql, scope, list);
    if (args == NULL) {
        return NULL;
    }

    enum kappa_type types[FUNCTION_ARGS_MAX] = {KAPPA_TYPE_NULL};

    for (uint32_t k = 0; k < count && k < FUNCTION_ARGS_MAX; k++) {
        types[k] = args[k]->type;
    }
    const struct function_row *row = function_find(FUNCTION_SCALAR, name, types, count);
    if (row == NULL) {
        return function_missing(sql, name, args, count, place);
    }
    struct expr_node *call =
        expr_node_call(&sql->pool, row->run, function_letter_type(row->result[0]), place, count);
    for (uint32_t k = 0; k < count; k++) {
        call->args[k] = sql_coerce(sql, args[k], function_letter_type(row->args[k]));
        if (call->args[k] == NULL) {
            return NULL;
        }
    }
    if (check_unit(sql, row, call->args[0]) != 0) {
        return NULL;
    }
    return expr_pool_assign(&sql->pool, call);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind_call(struct sql *sql, const struct sql_scope *scope, const json_t *body)
{
    static const char *const allowed[] = {"funcname",   "args",       "agg_star", "agg_distinct",
                                          "agg_filter", "funcformat", NULL};
    static const char *const in_from[] = {"tumble", "hop", "session"};
    int place = sql_place(body);
    const char *name = sql_plain_name(json_object_get(body, "funcname"));
    if (name == NULL) {
        return sql_error_null(sql, place, "not supported yet: schema names");
    }
    if (reads_the_world(name)) {
        (void)sql_error(sql, place,
                        "%s() is refused: a table is a pure function of the log, so that a replay "
                        "gives the same rows",
                        name);
        err_hint(sql->err, "use a column of the record, such as its event time");
        return NULL;
    }
    if (sql_only(sql, body, allowed) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < array_len(in_from); i++) {
        if (strcmp(in_from[i], name) == 0) {
            return sql_error_null(sql, place, "%s() belongs behind FROM", name);
        }
    }
    if (strcmp(name, "timezone") == 0) {
        return sql_error_null(sql, place, "not supported yet: AT TIME ZONE (times are UTC)");
    }
    return function_exists(FUNCTION_AGGREGATE, name) ? bind_aggregate(sql, scope, body, name)
                                                     : bind_scalar(sql, scope, body, name);
}
