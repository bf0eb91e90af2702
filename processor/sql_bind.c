/* Expressions: names, literals, logic, CASE and casts. Own header: sql.h. Operators are in
 * sql_operator.c, function calls in sql_call.c. */
#include "base/limits.h"
#include "processor/functions.h"
#include "processor/numeric.h"
#include "processor/sql.h"

#include <string.h>

struct expr_node *sql_null(struct sql *sql, enum kappa_type type, int place)
{
    struct expr_node *node = expr_node_new(&sql->pool, EXPR_NODE_CONSTANT, type, place);
    node->constant = (struct kappa_value){.type = type, .is_null = true};
    return type == KAPPA_TYPE_NULL ? node : expr_pool_assign(&sql->pool, node);
}

struct expr_node *sql_text_constant(struct sql *sql, struct kappa_text text, int place)
{
    struct expr_node *node = expr_node_new(&sql->pool, EXPR_NODE_CONSTANT, KAPPA_TYPE_TEXT, place);
    node->constant = (struct kappa_value){.type = KAPPA_TYPE_TEXT, .s = text};
    return expr_pool_assign(&sql->pool, node);
}

/* ---- Columns. */

static struct expr_node *bind_column(struct sql *sql, const struct sql_scope *scope,
                                     const json_t *body)
{
    const json_t *fields = json_object_get(body, "fields");
    int place = sql_place(body);
    size_t count = json_array_size(fields);
    const char *name = sql_name(fields, count - 1);
    const char *qualifier = count == 2 ? sql_name(fields, 0) : NULL;
    if (count > 2) {
        return sql_error_null(sql, place, "not supported yet: schema names");
    }
    if (name == NULL) {
        return sql_error_null(sql, place, "* stands for columns only in the list behind SELECT");
    }
    return sql_field_find(sql, scope, qualifier, name, place);
}

/* ---- Literals. */

static struct expr_node *bind_integer(struct sql *sql, int64_t value, int place)
{
    bool small = value >= INT32_MIN && value <= INT32_MAX;
    enum kappa_type type = small ? KAPPA_TYPE_INTEGER : KAPPA_TYPE_BIGINT;
    struct expr_node *node = expr_node_new(&sql->pool, EXPR_NODE_CONSTANT, type, place);
    node->constant = (struct kappa_value){.type = type, .i = value};
    return expr_pool_assign(&sql->pool, node);
}

/* A number too large for integer, or with a point: bigint if it is whole and fits, else numeric; what
 * is beyond numeric, such as 1e300, is double precision. */
static struct expr_node *bind_decimal(struct sql *sql, const char *digits, int place)
{
    struct kappa_text text = {arena_strdup(&sql->temp, digits), u32_from(strlen(digits))};
    int64_t value = 0;
    if (expr_parse_bigint(text, &value) == EXPR_OK) {
        return bind_integer(sql, value, place);
    }
    struct kappa_numeric exact;
    bool fits = numeric_parse(text, &exact) == EXPR_OK;
    return sql_literal(sql, text, fits ? KAPPA_TYPE_NUMERIC : KAPPA_TYPE_DOUBLE, place);
}

static struct expr_node *bind_constant(struct sql *sql, const json_t *body)
{
    int place = sql_place(body);
    const json_t *value = json_object_get(body, "sval");
    if (value != NULL) {
        struct expr_node *node =
            expr_node_new(&sql->pool, EXPR_NODE_CONSTANT, KAPPA_TYPE_NULL, place);
        const char *text = arena_strdup(&sql->temp, json_text(value, "sval", ""));
        node->constant.s = (struct kappa_text){text, u32_from(strlen(text))};
        return node;
    }
    value = json_object_get(body, "ival");
    if (value != NULL) {
        return bind_integer(sql, json_int(value, "ival", 0), place);
    }
    value = json_object_get(body, "fval");
    if (value != NULL) {
        return bind_decimal(sql, json_text(value, "fval", ""), place);
    }
    value = json_object_get(body, "boolval");
    if (value != NULL) {
        struct expr_node *node =
            expr_node_new(&sql->pool, EXPR_NODE_CONSTANT, KAPPA_TYPE_BOOLEAN, place);
        node->constant.type = KAPPA_TYPE_BOOLEAN;
        node->constant.i = json_bool(value, "boolval", false);
        return expr_pool_assign(&sql->pool, node);
    }
    if (json_bool(body, "isnull", false)) {
        return sql_null(sql, KAPPA_TYPE_NULL, place);
    }
    return sql_error_null(sql, place, "not supported yet: bit strings");
}

/* ---- Lists, conditions, logic. */

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node **sql_bind_list(struct sql *sql, const struct sql_scope *scope, const json_t *list)
{
    size_t count = json_array_size(list);
    struct expr_node **nodes = arena_calloc(&sql->temp, sizeof(struct expr_node *) * (count + 1));
    for (size_t i = 0; i < count; i++) {
        nodes[i] = sql_bind(sql, scope, json_array_get(list, i));
        if (nodes[i] == NULL) {
            return NULL;
        }
    }
    return nodes;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind_boolean(struct sql *sql, const struct sql_scope *scope,
                                   const json_t *node, const char *what)
{
    struct expr_node *bound = sql_bind(sql, scope, node);
    if (bound == NULL) {
        return NULL;
    }
    if (!function_converts(bound->type, KAPPA_TYPE_BOOLEAN)) {
        return sql_error_null(sql, bound->place, "argument of %s must be type boolean, not type %s",
                              what, function_type_name(bound->type));
    }
    return sql_coerce(sql, bound, KAPPA_TYPE_BOOLEAN);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_logic(struct sql *sql, const struct sql_scope *scope,
                                    const json_t *body)
{
    const json_t *args = json_object_get(body, "args");
    uint32_t count = u32_from(json_array_size(args));
    bool is_not = sql_is(body, "boolop", "NOT_EXPR");
    bool is_and = sql_is(body, "boolop", "AND_EXPR");
    const char *word = is_not ? "NOT" : is_and ? "AND" : "OR";
    expr_run_fn run = is_not ? expr_not : is_and ? expr_and : expr_or;
    struct expr_node *call =
        expr_node_call(&sql->pool, run, KAPPA_TYPE_BOOLEAN, sql_place(body), count);
    for (uint32_t i = 0; i < count; i++) {
        call->args[i] = sql_bind_boolean(sql, scope, json_array_get(args, i), word);
        if (call->args[i] == NULL) {
            return NULL;
        }
    }
    return expr_pool_assign(&sql->pool, call);
}

static struct expr_node *test_call(struct sql *sql, expr_run_fn run, struct expr_node *arg,
                                   int place)
{
    struct expr_node *call = expr_node_call(&sql->pool, run, KAPPA_TYPE_BOOLEAN, place, 1);
    call->args[0] = arg;
    return expr_pool_assign(&sql->pool, call);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_null_test(struct sql *sql, const struct sql_scope *scope,
                                        const json_t *body)
{
    struct expr_node *arg = sql_bind(sql, scope, json_object_get(body, "arg"));
    if (arg != NULL && arg->type == KAPPA_TYPE_NULL) {
        arg = sql_coerce(sql, arg, KAPPA_TYPE_TEXT);
    }
    if (arg == NULL) {
        return NULL;
    }
    int place = sql_place(body);
    struct expr_node *test = test_call(sql, expr_is_null, arg, place);
    return sql_is(body, "nulltesttype", "IS_NULL") ? test : test_call(sql, expr_not, test, place);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_truth_test(struct sql *sql, const struct sql_scope *scope,
                                         const json_t *body)
{
    static const struct {
        const char *word;
        const char *what;
        expr_run_fn run;
        bool negated;
    } tests[] = {
        {"IS_TRUE", "IS TRUE", expr_is_true, false},
        {"IS_NOT_TRUE", "IS NOT TRUE", expr_is_true, true},
        {"IS_FALSE", "IS FALSE", expr_is_false, false},
        {"IS_NOT_FALSE", "IS NOT FALSE", expr_is_false, true},
        {"IS_UNKNOWN", "IS UNKNOWN", expr_is_null, false},
        {"IS_NOT_UNKNOWN", "IS NOT UNKNOWN", expr_is_null, true},
    };

    int place = sql_place(body);
    for (size_t i = 0; i < array_len(tests); i++) {
        if (!sql_is(body, "booltesttype", tests[i].word)) {
            continue;
        }
        struct expr_node *arg =
            sql_bind_boolean(sql, scope, json_object_get(body, "arg"), tests[i].what);
        if (arg == NULL) {
            return NULL;
        }
        struct expr_node *test = test_call(sql, tests[i].run, arg, place);
        return tests[i].negated ? test_call(sql, expr_not, test, place) : test;
    }
    return sql_error_null(sql, place, "not supported yet: this test");
}

/* ---- CASE, COALESCE, GREATEST, LEAST. */

/* The condition of one WHEN: itself, or subject = it. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_when(struct sql *sql, const struct sql_scope *scope,
                                   struct expr_node *subject, const json_t *when)
{
    const json_t *expr = json_object_get(when, "expr");
    if (subject == NULL) {
        return sql_bind_boolean(sql, scope, expr, "CASE/WHEN");
    }
    struct expr_node *value = sql_bind(sql, scope, expr);
    return value == NULL ? NULL : sql_compare(sql, EXPR_ORDER_EQ, subject, value, sql_place(expr));
}

/* Binds subject, conditions and results into args: (when, then)*, else. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static int bind_case_parts(struct sql *sql, const struct sql_scope *scope, const json_t *body,
                           struct expr_node **args, struct expr_node **results)
{
    const json_t *whens = json_object_get(body, "args");
    const json_t *subject_json = json_object_get(body, "arg");
    const json_t *otherwise = json_object_get(body, "defresult");
    struct expr_node *subject = NULL;
    if (subject_json != NULL) {
        subject = sql_bind(sql, scope, subject_json);
        if (subject == NULL) {
            return -KE_SQL;
        }
    }
    size_t count = json_array_size(whens);
    for (size_t i = 0; i < count; i++) {
        const json_t *when = sql_body(json_array_get(whens, i), "CaseWhen");
        args[2 * i] = bind_when(sql, scope, subject, when);
        if (args[2 * i] == NULL) {
            return -KE_SQL;
        }
        results[i] = sql_bind(sql, scope, json_object_get(when, "result"));
        if (results[i] == NULL) {
            return -KE_SQL;
        }
    }
    results[count] = otherwise == NULL ? sql_null(sql, KAPPA_TYPE_NULL, sql_place(body))
                                       : sql_bind(sql, scope, otherwise);
    return results[count] == NULL ? -KE_SQL : 0;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_case(struct sql *sql, const struct sql_scope *scope,
                                   const json_t *body)
{
    uint32_t count = u32_from(json_array_size(json_object_get(body, "args")));
    struct expr_node **results =
        arena_calloc(&sql->temp, sizeof(struct expr_node *) * ((size_t)count + 1));
    struct expr_node *call =
        expr_node_call(&sql->pool, expr_case, KAPPA_TYPE_NULL, sql_place(body), 2 * count + 1);
    if (bind_case_parts(sql, scope, body, call->args, results) != 0) {
        return NULL;
    }
    call->type = sql_common_type(sql, results, count + 1, "CASE");
    if (call->type == KAPPA_TYPE_NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i <= count; i++) {
        struct expr_node *result = sql_coerce(sql, results[i], call->type);
        if (result == NULL) {
            return NULL;
        }
        call->args[i < count ? 2 * i + 1 : 2 * count] = result;
    }
    return expr_pool_assign(&sql->pool, call);
}

/* A call whose arguments all have one type, which is also the result's. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_alike(struct sql *sql, const struct sql_scope *scope,
                                    const json_t *body, expr_run_fn run, const char *what)
{
    const json_t *list = json_object_get(body, "args");
    uint32_t count = u32_from(json_array_size(list));
    struct expr_node **nodes = sql_bind_list(sql, scope, list);
    if (nodes == NULL) {
        return NULL;
    }
    enum kappa_type type = sql_common_type(sql, nodes, count, what);
    if (type == KAPPA_TYPE_NULL) {
        return NULL;
    }
    struct expr_node *call = expr_node_call(&sql->pool, run, type, sql_place(body), count);
    for (uint32_t i = 0; i < count; i++) {
        call->args[i] = sql_coerce(sql, nodes[i], type);
        if (call->args[i] == NULL) {
            return NULL;
        }
    }
    return expr_pool_assign(&sql->pool, call);
}

/* ---- Casts. */

/* The unit of interval '4' second, from PostgreSQL's bit masks. */
static const char *interval_unit(int64_t mask)
{
    static const struct {
        int64_t mask;
        const char *unit;
    } units[] = {{1 << 1, "month"}, {1 << 2, "year"},    {1 << 3, "day"},
                 {1 << 10, "hour"}, {1 << 11, "minute"}, {1 << 12, "second"}};

    for (size_t i = 0; i < array_len(units); i++) {
        if (units[i].mask == mask) {
            return units[i].unit;
        }
    }
    return NULL;
}

/* interval '4' second: the text gets its unit; other precisions of intervals are refused. */
static struct expr_node *bind_interval_field(struct sql *sql, const json_t *arg,
                                             const json_t *typmods, int place)
{
    const json_t *mask = sql_body(json_array_get(typmods, 0), "A_Const");
    const char *unit = interval_unit(json_int(json_object_get(mask, "ival"), "ival", 0));
    const json_t *text = json_object_get(sql_body(arg, "A_Const"), "sval");
    const char *number = json_text(text, "sval", "");
    bool plain = number[0] != '\0' && strspn(number, " +-.0123456789") == strlen(number);
    if (unit == NULL || !plain || json_array_size(typmods) != 1) {
        return sql_error_null(sql, place, "not supported yet: this form of interval");
    }
    const char *full = arena_printf(&sql->temp, "%s %s", number, unit);
    return sql_literal(sql, (struct kappa_text){full, u32_from(strlen(full))}, KAPPA_TYPE_INTERVAL,
                       place);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_cast(struct sql *sql, const struct sql_scope *scope,
                                   const json_t *body)
{
    const json_t *arg = json_object_get(body, "arg");
    const json_t *type_name = json_object_get(body, "typeName");
    const json_t *typmods = json_object_get(type_name, "typmods");
    const char *name = sql_plain_name(json_object_get(type_name, "names"));
    if (typmods != NULL && name != NULL && strcmp(name, "interval") == 0) {
        return bind_interval_field(sql, arg, typmods, sql_place(body));
    }
    struct sql_type type;
    if (sql_type_bind(sql, type_name, &type) != 0) {
        return NULL;
    }
    struct expr_node *node = sql_bind(sql, scope, arg);
    return node == NULL ? NULL : sql_cast(sql, node, type, sql_place(body));
}

/* ---- What is refused. */

static struct expr_node *refuse_clock(struct sql *sql, const json_t *body)
{
    const char *op = json_text(body, "op", "SVFOP_");
    char word[40];
    size_t len = 0;
    for (const char *c = op + strlen("SVFOP_"); *c != '\0' && len + 1 < sizeof word; c++) {
        word[len++] = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
    }
    word[len] = '\0';
    if (len > 2 && strcmp(word + len - 2, "_n") == 0) {
        word[len - 2] = '\0';
    }
    (void)sql_error(sql, sql_place(body),
                    "%s is refused: a table is a pure function of the log, so that a replay gives "
                    "the same rows",
                    word);
    err_hint(sql->err, "use a column of the record, such as its event time, or record_timestamp()");
    return NULL;
}

static struct expr_node *refuse_kind(struct sql *sql, const char *kind, const json_t *body)
{
    static const struct {
        const char *kind;
        const char *phrase;
    } phrases[] = {
        {"SubLink", "subqueries"},    {"RowExpr", "rows"},
        {"ParamRef", "parameters"},   {"CollateClause", "COLLATE (texts compare by their bytes)"},
        {"GroupingFunc", "GROUPING"}, {"XmlExpr", "XML"},
        {"XmlSerialize", "XML"},      {"CurrentOfExpr", "cursors"},
        {"SetToDefault", "DEFAULT"},  {"NamedArgExpr", "named arguments"},
        {"MultiAssignRef", "rows"},
    };

    for (size_t i = 0; i < array_len(phrases); i++) {
        if (strcmp(phrases[i].kind, kind) == 0) {
            (void)sql_error(sql, sql_place(body), "not supported yet: %s", phrases[i].phrase);
            if (strcmp(kind, "SubLink") == 0) {
                err_hint(sql->err,
                         "only in FROM; a CREATE VIEW over tables, which is computed when "
                         "it is read, may hold any");
            }
            return NULL;
        }
    }
    return sql_error_null(sql, sql_place(body), "not supported yet: %s", kind);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_kind(struct sql *sql, const struct sql_scope *scope, const char *kind,
                                   const json_t *body)
{
    if (strcmp(kind, "ColumnRef") == 0) {
        return bind_column(sql, scope, body);
    }
    if (strcmp(kind, "A_Const") == 0) {
        return bind_constant(sql, body);
    }
    if (strcmp(kind, "A_Expr") == 0) {
        return sql_bind_operator(sql, scope, body);
    }
    if (strcmp(kind, "BoolExpr") == 0) {
        return bind_logic(sql, scope, body);
    }
    if (strcmp(kind, "FuncCall") == 0) {
        return sql_bind_call(sql, scope, body);
    }
    if (strcmp(kind, "TypeCast") == 0) {
        return bind_cast(sql, scope, body);
    }
    if (strcmp(kind, "CaseExpr") == 0) {
        return bind_case(sql, scope, body);
    }
    if (strcmp(kind, "NullTest") == 0) {
        return bind_null_test(sql, scope, body);
    }
    if (strcmp(kind, "BooleanTest") == 0) {
        return bind_truth_test(sql, scope, body);
    }
    if (strcmp(kind, "CoalesceExpr") == 0) {
        return bind_alike(sql, scope, body, expr_coalesce, "COALESCE");
    }
    if (strcmp(kind, "MinMaxExpr") == 0) {
        bool greatest = sql_is(body, "op", "IS_GREATEST");
        return bind_alike(sql, scope, body, greatest ? expr_greatest : expr_least,
                          greatest ? "GREATEST" : "LEAST");
    }
    if (strcmp(kind, "A_ArrayExpr") == 0) {
        return sql_bind_array(sql, scope, body);
    }
    if (strcmp(kind, "A_Indirection") == 0) {
        return sql_bind_subscript(sql, scope, body);
    }
    if (strcmp(kind, "SQLValueFunction") == 0) {
        return refuse_clock(sql, body);
    }
    return refuse_kind(sql, kind, body);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind(struct sql *sql, const struct sql_scope *scope, const json_t *node)
{
    const json_t *body = NULL;
    const char *kind = sql_kind(node, &body);
    if (sql->depth >= LIMIT_SQL_DEPTH) {
        return sql_error_null(sql, sql_place(body), "expression nested deeper than %d levels",
                              LIMIT_SQL_DEPTH);
    }
    sql->depth++;
    struct expr_node *bound = bind_kind(sql, scope, kind, body);
    sql->depth--;
    return bound;
}
