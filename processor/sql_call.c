/* Function calls; those of aggregates go on in sql_aggregate.c. Own header: sql.h. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

/* Functions whose value depends on more than the record, and what to write instead. */
static const char *const use_time =
    "use a column of the record, such as its event time, or record_timestamp()";
static const char *const use_producer = "make the value where the record is produced";

static const struct {
    const char *name;
    const char *const *instead; /* NULL: nothing */
} worldly[] = {
    {"now", &use_time},
    {"clock_timestamp", &use_time},
    {"statement_timestamp", &use_time},
    {"transaction_timestamp", &use_time},
    {"timeofday", &use_time},
    {"current_timestamp", &use_time},
    {"proctime", &use_time},
    {"unix_timestamp", &use_time},
    {"current_watermark", &use_time},
    {"random", &use_producer},
    {"rand", &use_producer},
    {"rand_integer", &use_producer},
    {"setseed", &use_producer},
    {"gen_random_uuid", &use_producer},
    {"uuid_generate_v4", &use_producer},
    {"uuid", &use_producer},
    {"nextval", &use_producer},
    {"currval", &use_producer},
    {"lastval", &use_producer},
    {"txid_current", NULL},
    {"pg_sleep", NULL},
    {"current_setting", NULL},
    {"version", NULL},
};

/* True, and the error is written, if the function is one of them. */
static bool refuse_worldly(struct sql *sql, const char *name, int place)
{
    if (strcmp(name, "age") == 0) {
        (void)sql_error(sql, place,
                        "age() is refused: it counts months, which have no fixed length");
        err_hint(sql->err, "subtract the times, a - b, for an interval of days and less");
        return true;
    }
    for (size_t i = 0; i < array_len(worldly); i++) {
        if (strcmp(worldly[i].name, name) != 0) {
            continue;
        }
        (void)sql_error(sql, place,
                        "%s() is refused: a table is a pure function of the log, so that a replay "
                        "gives the same rows",
                        name);
        if (worldly[i].instead != NULL) {
            err_hint(sql->err, "%s", *worldly[i].instead);
        }
        return true;
    }
    return false;
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
        return sql_function_missing(sql, name, args, count, place);
    }
    return sql_function_call(sql, row, args, count, place);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind_call(struct sql *sql, const struct sql_scope *scope, const json_t *body)
{
    static const char *const allowed[] = {"funcname",   "args",       "agg_star", "agg_distinct",
                                          "agg_filter", "funcformat", NULL};
    static const char *const allowed_over[] = {
        "funcname", "args", "agg_star", "agg_distinct", "over", "agg_filter", "funcformat", NULL};
    static const char *const in_from[] = {"tumble", "hop", "session"};
    int place = sql_place(body);
    const char *name = sql_plain_name(json_object_get(body, "funcname"));
    if (name == NULL) {
        return sql_error_null(sql, place, "not supported yet: schema names");
    }
    if (refuse_worldly(sql, name, place)) {
        return NULL;
    }
    if (json_object_get(body, "over") != NULL) {
        return sql_only(sql, body, allowed_over) == 0 ? sql_bind_over(sql, scope, body, name)
                                                      : NULL;
    }
    bool aggregate = function_exists(FUNCTION_AGGREGATE, name);
    if (sql_only(sql, body, aggregate ? sql_aggregate_members : allowed) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < array_len(in_from); i++) {
        if (strcmp(in_from[i], name) == 0) {
            (void)sql_error(sql, place, "%s() belongs behind FROM", name);
            err_hint(sql->err,
                     "write FROM %s(table, event_time_column, interval '5 minutes'%s) and GROUP BY "
                     "window_start, window_end",
                     name, strcmp(name, "hop") == 0 ? ", interval '1 hour'" : "");
            return NULL;
        }
    }
    if (sql_is_meta(name)) {
        return sql_bind_meta(sql, scope, body, name);
    }
    return aggregate ? sql_bind_aggregate(sql, scope, body, name)
                     : bind_scalar(sql, scope, body, name);
}
