/* Calls of aggregates: their arguments by role, DISTINCT, FILTER, WITHIN GROUP. Own header: sql.h.
 *
 * An argument is the value that is aggregated, a second one by which rows are chosen (min_by), or a
 * parameter that is the same for all rows and becomes part of the plan. The argument of WITHIN GROUP
 * (ORDER BY x) counts behind those in the parentheses, as in PostgreSQL's catalog. */
#include "processor/agg_state.h"
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

const char *const sql_aggregate_members[] = {"funcname",         "args",       "agg_star",
                                             "agg_distinct",     "agg_filter", "agg_order",
                                             "agg_within_group", "funcformat", NULL};

/* What is said about a kind here and not in functions.def; kinds that are not listed take one value
 * and nothing else. */
struct form {
    const char *roles; /* a letter per argument: v value, b second value, c constant */
    enum plan_aggregate_kind kind;
    bool ordered_set; /* the last argument stands in WITHIN GROUP (ORDER BY ...) */
};

static const struct form forms[] = {
    {"", PLAN_COUNT_ROWS, false},
    {"vb", PLAN_MIN_BY, false},
    {"vb", PLAN_MAX_BY, false},
    {"cv", PLAN_PERCENTILE_CONT, true},
    {"cv", PLAN_PERCENTILE_DISC, true},
    {"v", PLAN_MODE, true},
    {"vc", PLAN_APPROX_PERCENTILE, false},
    {"vc", PLAN_STRING_AGG, false},
    {"vc", PLAN_TOPK, false},
};

static struct form form_of(enum plan_aggregate_kind kind)
{
    for (size_t i = 0; i < array_len(forms); i++) {
        if (forms[i].kind == kind) {
            return forms[i];
        }
    }
    return (struct form){.kind = kind, .roles = "v"};
}

/* All rows of a name are alike in what is asked of its form before the row is known. */
static struct form form_of_name(const char *name)
{
    uint32_t count;
    const struct function_row *rows = function_rows(&count);
    uint32_t i = 0;
    while (rows[i].kind != FUNCTION_AGGREGATE || strcmp(rows[i].name, name) != 0) {
        i++;
        ASSERT_CMP(i, <, count);
    }
    return form_of(rows[i].aggregate);
}

static bool same_node(const struct expr_node *a, const struct expr_node *b)
{
    return (a == NULL) == (b == NULL) && (a == NULL || a->id == b->id);
}

static bool same_parameter(const struct kappa_value *a, const struct kappa_value *b)
{
    if (a->type != b->type) {
        return false;
    }
    if (a->type == KAPPA_TYPE_TEXT) {
        return a->s.len == b->s.len && memcmp(a->s.bytes, b->s.bytes, a->s.len) == 0;
    }
    return a->type == KAPPA_TYPE_NULL || a->i == b->i; /* doubles by their bits */
}

/* The index of an equal aggregate, or of a new one; negative when there are too many. */
static int64_t aggregate_share(struct sql *sql, const struct sql_scope *scope,
                               const struct sql_aggregate *aggregate, int place)
{
    for (uint32_t i = 0; i < *scope->aggregate_count; i++) {
        const struct sql_aggregate *other = &scope->aggregates[i];
        if (other->kind == aggregate->kind && same_node(other->argument, aggregate->argument) &&
            same_node(other->by, aggregate->by) && same_node(other->filter, aggregate->filter) &&
            same_parameter(&other->parameter, &aggregate->parameter)) {
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
static int bind_distinct(struct sql *sql, const char *name, enum plan_aggregate_kind *kind,
                         int place)
{
    static const struct {
        enum plan_aggregate_kind from;
        enum plan_aggregate_kind to;
    } kinds[] = {
        {PLAN_COUNT, PLAN_COUNT_DISTINCT},
        {PLAN_SUM, PLAN_SUM_DISTINCT},
        {PLAN_AVG, PLAN_AVG_DISTINCT},
        {PLAN_STRING_AGG, PLAN_STRING_AGG_DISTINCT},
        {PLAN_MIN, PLAN_MIN},
        {PLAN_MAX, PLAN_MAX},
        {PLAN_BOOL_AND, PLAN_BOOL_AND},
        {PLAN_BOOL_OR, PLAN_BOOL_OR},
        {PLAN_APPROX_DISTINCT, PLAN_APPROX_DISTINCT},
    };

    for (size_t i = 0; i < array_len(kinds); i++) {
        if (kinds[i].from == *kind) {
            *kind = kinds[i].to;
            return 0;
        }
    }
    return sql_error(sql, place, "not supported yet: %s(DISTINCT ...)", name);
}

/* The argument in its parameter's type. */
static struct expr_node *bind_argument(struct sql *sql, char letter, struct expr_node *arg)
{
    enum kappa_type type = function_letter_type(letter);
    if (type == KAPPA_TYPE_NULL) {
        type = arg->type == KAPPA_TYPE_NULL ? KAPPA_TYPE_TEXT : arg->type;
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

/* ---- Parameters. */

/* The value of an expression without inputs; the text lives as long as the plan. */
static int constant_value(struct sql *sql, const struct expr_node *node, const char *name,
                          struct kappa_value *value)
{
    if (!node->constant_only) {
        return sql_error(sql, node->place, "this argument of %s must be a constant", name);
    }
    static const enum kappa_type none = KAPPA_TYPE_NULL;
    struct expr_builder builder;
    struct expr_program program;
    struct expr_machine machine;
    enum expr_state state = EXPR_OK;
    expr_builder_open(&builder, &sql->pool, &sql->temp, &none, 0);
    uint32_t reg = expr_builder_add(&builder, node);
    expr_builder_close(&builder, &program);
    expr_machine_open(&machine, &program, 1);
    expr_run(&machine, 1);
    *value = expr_value(&machine.registers[reg], 0, &state);
    if (value->type == KAPPA_TYPE_TEXT && state == EXPR_OK) {
        value->s.bytes = arena_strndup(&sql->plan->memory, value->s.bytes, value->s.len);
    }
    expr_machine_close(&machine);
    if (state >= EXPR_ERROR_FIRST) {
        return sql_error(sql, node->place, "%s", expr_error_text(state));
    }
    if (state == EXPR_NULL) {
        return sql_error(sql, node->place, "this argument of %s must not be null", name);
    }
    return 0;
}

#define TOPK_MAX 1000

static int check_parameter(struct sql *sql, const struct sql_aggregate *aggregate, int place)
{
    double fraction = aggregate->parameter.d;
    switch ((unsigned)aggregate->kind) {
    case PLAN_PERCENTILE_CONT:
    case PLAN_PERCENTILE_DISC:
    case PLAN_APPROX_PERCENTILE:
        if (!(fraction >= 0 && fraction <= 1)) {
            return sql_error(sql, place, "percentile value %g is not between 0 and 1", fraction);
        }
        return 0;
    case PLAN_TOPK:
        if (aggregate->parameter.i < 1 || aggregate->parameter.i > TOPK_MAX) {
            return sql_error(sql, place, "topk takes 1 to %d values", TOPK_MAX);
        }
        return 0;
    default:
        return 0;
    }
}

/* ---- WITHIN GROUP. */

/* The one expression of ORDER BY, ascending. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_order(struct sql *sql, const struct sql_scope *scope,
                                    const json_t *body, const char *name)
{
    const json_t *list = json_object_get(body, "agg_order");
    const json_t *sort = sql_body(json_array_get(list, 0), "SortBy");
    if (json_array_size(list) != 1 || sort == NULL) {
        return sql_error_null(sql, sql_place(list), "%s takes one ORDER BY expression", name);
    }
    bool descending = sql_is(sort, "sortby_dir", "SORTBY_DESC");
    if (descending || (json_object_get(sort, "sortby_nulls") != NULL &&
                       !sql_is(sort, "sortby_nulls", "SORTBY_NULLS_DEFAULT"))) {
        (void)sql_error(sql, sql_place(sort), "not supported yet: %s in WITHIN GROUP",
                        descending ? "DESC" : "NULLS FIRST or LAST");
        err_hint(sql->err, descending
                               ? "the fraction counts from the smallest value: use 1 - fraction"
                               : "nulls do not count");
        return NULL;
    }
    return sql_bind(sql, scope, json_object_get(sort, "node"));
}

/* Arguments in the parentheses, then that of WITHIN GROUP. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node **bind_arguments(struct sql *sql, const struct sql_scope *scope,
                                         const json_t *body, const char *name, uint32_t *count)
{
    const json_t *list = json_object_get(body, "args");
    bool within = json_bool(body, "agg_within_group", false);
    struct sql_scope inner = *scope;
    inner.in_aggregate = true;
    *count = u32_from(json_array_size(list));
    struct expr_node **args = sql_bind_list(sql, &inner, list);
    if (args == NULL || !within) {
        return args;
    }
    struct expr_node **all = arena_calloc(&sql->temp, sizeof(struct expr_node *) * (*count + 1));
    memcpy(all, args, sizeof(struct expr_node *) * *count);
    all[*count] = bind_order(sql, &inner, body, name);
    return all[(*count)++] == NULL ? NULL : all;
}

static int check_order(struct sql *sql, const json_t *body, const struct form *form,
                       const char *name, int place)
{
    bool within = json_bool(body, "agg_within_group", false);
    const json_t *order = json_object_get(body, "agg_order");
    if (within != form->ordered_set) {
        return form->ordered_set
                   ? sql_error(sql, place, "WITHIN GROUP is required for ordered-set aggregate %s",
                               name)
                   : sql_error(sql, place,
                               "%s is not an ordered-set aggregate, so it cannot have WITHIN GROUP",
                               name);
    }
    if (!within && order != NULL) {
        (void)sql_error(sql, sql_keyword_place(sql, "order", sql_place(order)),
                        "not supported yet: ORDER BY inside %s", name);
        err_hint(sql->err, "values are taken in the order of the log");
        return -KE_SQL;
    }
    return 0;
}

/* ---- The call. */

/* Puts each argument where its role says. */
static int take_arguments(struct sql *sql, const struct function_row *row, const struct form *form,
                          struct expr_node *const *args, struct sql_aggregate *aggregate)
{
    ASSERT(strlen(form->roles) == strlen(row->args));
    for (uint32_t k = 0; row->args[k] != '\0'; k++) {
        struct expr_node *node = bind_argument(sql, row->args[k], args[k]);
        if (node == NULL) {
            return -KE_SQL;
        }
        if (form->roles[k] == 'v') {
            aggregate->argument = node;
        } else if (form->roles[k] == 'b') {
            aggregate->by = node;
        } else if (constant_value(sql, node, row->name, &aggregate->parameter) != 0 ||
                   check_parameter(sql, aggregate, node->place) != 0) {
            return -KE_SQL;
        }
    }
    if (row->result[0] == 'X') {
        ASSERT(aggregate->argument != NULL);
        if (kappa_type_is_array(aggregate->argument->type)) {
            return sql_error(sql, aggregate->argument->place, "not supported yet: %s of arrays",
                             row->name);
        }
        aggregate->result_type = kappa_type_array_of(aggregate->argument->type);
        return 0;
    }
    aggregate->result_type = function_letter_type(row->result[0]);
    if (aggregate->result_type == KAPPA_TYPE_NULL) {
        ASSERT(aggregate->argument != NULL);
        aggregate->result_type = aggregate->argument->type;
    }
    return 0;
}

static const struct function_row *find_row(struct sql *sql, const char *name,
                                           struct expr_node *const *args, uint32_t count, int place)
{
    enum kappa_type types[FUNCTION_ARGS_MAX] = {KAPPA_TYPE_NULL};

    for (uint32_t k = 0; k < count && k < FUNCTION_ARGS_MAX; k++) {
        types[k] = args[k]->type;
    }
    const struct function_row *row = function_find(FUNCTION_AGGREGATE, name, types, count);
    if (row == NULL) {
        (void)sql_function_missing(sql, name, args, count, place);
    }
    return row;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind_aggregate(struct sql *sql, const struct sql_scope *scope,
                                     const json_t *body, const char *name)
{
    uint32_t count = 0;
    int place = sql_place(body);
    if (aggregate_allowed(sql, scope, place) != 0) {
        return NULL;
    }
    struct form form = form_of_name(name);
    if (check_order(sql, body, &form, name, place) != 0) {
        return NULL;
    }
    struct expr_node **args = bind_arguments(sql, scope, body, name, &count);
    if (args == NULL) {
        return NULL;
    }
    if (count == 0 && !json_bool(body, "agg_star", false) && strcmp(name, "count") == 0) {
        return sql_error_null(sql, place,
                              "count(*) must be used to call a parameterless aggregate function");
    }
    const struct function_row *row = find_row(sql, name, args, count, place);
    if (row == NULL) {
        return NULL;
    }
    struct sql_aggregate aggregate = {.kind = row->aggregate};
    form = form_of(row->aggregate);
    if (take_arguments(sql, row, &form, args, &aggregate) != 0) {
        return NULL;
    }
    if (json_bool(body, "agg_distinct", false) &&
        bind_distinct(sql, name, &aggregate.kind, place) != 0) {
        return NULL;
    }
    if (aggregate.argument != NULL && !agg_exists(aggregate.kind, aggregate.argument->type)) {
        return sql_error_null(sql, place, "not supported yet: %s of %s", name,
                              function_type_name(aggregate.argument->type));
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
