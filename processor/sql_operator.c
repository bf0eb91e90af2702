/* Operators: arithmetic by functions.def, comparisons, IN, BETWEEN, LIKE, NULLIF, IS DISTINCT FROM.
 * Own header: sql.h. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

static struct expr_node *operator_missing(struct sql *sql, const char *name, enum kappa_type left,
                                          enum kappa_type right, int place)
{
    if (left == KAPPA_TYPE_COUNT) {
        (void)sql_error(sql, place, "operator does not exist: %s %s", name,
                        function_type_name(right));
    } else {
        (void)sql_error(sql, place, "operator does not exist: %s %s %s", function_type_name(left),
                        name, function_type_name(right));
    }
    if (strcmp(name, "==") == 0) {
        err_hint(sql->err, "equality is written with one =");
        return NULL;
    }
    err_hint(sql->err, "no operator takes these types; add a cast, e.g. x::text or x::integer");
    return NULL;
}

static const char *const order_names[EXPR_ORDER_COUNT] = {"=", "<>", "<", "<=", ">", ">="};

static enum expr_order order_find(const char *name)
{
    unsigned order = 0;
    while (order < EXPR_ORDER_COUNT && strcmp(order_names[order], name) != 0) {
        order++;
    }
    return (enum expr_order)order;
}

/* Converts two operands to one type; false when there is none, or a literal is not of it. */
static bool match_types(struct sql *sql, const char *name, struct expr_node **left,
                        struct expr_node **right, int place)
{
    enum kappa_type a = (*left)->type;
    enum kappa_type b = (*right)->type;
    if (!function_converts(a, b) && !function_converts(b, a)) {
        (void)operator_missing(sql, name, a, b, place);
        return false;
    }
    enum kappa_type common = function_converts(a, b) ? b : a;
    common = common == KAPPA_TYPE_NULL ? KAPPA_TYPE_TEXT : common;
    if (common == KAPPA_TYPE_REAL && a != b && a != KAPPA_TYPE_NULL && b != KAPPA_TYPE_NULL) {
        common = KAPPA_TYPE_DOUBLE; /* a real beside another number, as PostgreSQL */
    }
    *left = sql_coerce(sql, *left, common);
    *right = *left == NULL ? NULL : sql_coerce(sql, *right, common);
    return *right != NULL;
}

static bool text_constant(const struct expr_node *node)
{
    return node->kind == EXPR_NODE_CONSTANT && node->type == KAPPA_TYPE_TEXT &&
           !node->constant.is_null;
}

/* text = 'constant', the hot loop of most definitions. */
static struct expr_node *text_is(struct sql *sql, struct expr_node *text,
                                 const struct expr_node *constant, bool negated, int place)
{
    struct expr_node *call = expr_node_call(&sql->pool, expr_text_is, KAPPA_TYPE_BOOLEAN, place, 1);
    call->args[0] = text;
    call->constant = constant->constant;
    call->option = negated ? 1 : 0;
    return expr_pool_assign(&sql->pool, call);
}

struct expr_node *sql_compare(struct sql *sql, enum expr_order order, struct expr_node *left,
                              struct expr_node *right, int place)
{
    if (!match_types(sql, order_names[order], &left, &right, place)) {
        return NULL;
    }
    if (left->type == KAPPA_TYPE_JSONB && order > EXPR_ORDER_NE) {
        (void)sql_error(sql, place, "not supported yet: the order of jsonb values");
        err_hint(sql->err, "compare what is in them, e.g. (doc ->> 'price')::numeric");
        return NULL;
    }
    if (order == EXPR_ORDER_EQ || order == EXPR_ORDER_NE) {
        if (text_constant(right)) {
            return text_is(sql, left, right, order == EXPR_ORDER_NE, place);
        }
        if (text_constant(left)) {
            return text_is(sql, right, left, order == EXPR_ORDER_NE, place);
        }
    }
    expr_run_fn run = expr_compare_run[kappa_type_payload(left->type)][order];
    ASSERT(run != NULL);
    struct expr_node *call = expr_node_call(&sql->pool, run, KAPPA_TYPE_BOOLEAN, place, 2);
    call->args[0] = left;
    call->args[1] = right;
    return expr_pool_assign(&sql->pool, call);
}

static struct expr_node *call_two(struct sql *sql, expr_run_fn run, struct expr_node *left,
                                  struct expr_node *right, int place)
{
    struct expr_node *call = expr_node_call(&sql->pool, run, KAPPA_TYPE_BOOLEAN, place, 2);
    call->args[0] = left;
    call->args[1] = right;
    return expr_pool_assign(&sql->pool, call);
}

static struct expr_node *negate(struct sql *sql, struct expr_node *node, int place)
{
    struct expr_node *call = expr_node_call(&sql->pool, expr_not, KAPPA_TYPE_BOOLEAN, place, 1);
    call->args[0] = node;
    return expr_pool_assign(&sql->pool, call);
}

/* ---- Operators of functions.def. */

static struct expr_node *bind_prefix(struct sql *sql, const char *name, struct expr_node *arg,
                                     int place)
{
    bool number = arg->type >= KAPPA_TYPE_SMALLINT && arg->type <= KAPPA_TYPE_DOUBLE;
    if (strcmp(name, "+") == 0 && number) {
        return arg;
    }
    const struct function_row *row = function_find(FUNCTION_OPERATOR, name, &arg->type, 1);
    if (row == NULL) {
        return operator_missing(sql, name, KAPPA_TYPE_COUNT, arg->type, place);
    }
    return sql_function_call(sql, row, &arg, 1, place);
}

/* In a || b, one text makes the other one text too. */
static bool cast_beside_text(struct sql *sql, struct expr_node **a, struct expr_node **b, int place)
{
    const struct sql_type text = {KAPPA_TYPE_TEXT, 0};
    bool a_text = (*a)->type == KAPPA_TYPE_TEXT || (*a)->type == KAPPA_TYPE_NULL;
    bool b_text = (*b)->type == KAPPA_TYPE_TEXT || (*b)->type == KAPPA_TYPE_NULL;
    if (a_text && !b_text) {
        *b = sql_cast(sql, *b, text, place);
    } else if (b_text && !a_text) {
        *a = sql_cast(sql, *a, text, place);
    }
    return *a != NULL && *b != NULL;
}

static struct expr_node *bind_infix(struct sql *sql, const char *name, struct expr_node *left,
                                    struct expr_node *right, int place)
{
    enum expr_order order = order_find(name);
    if (order != EXPR_ORDER_COUNT) {
        return sql_compare(sql, order, left, right, place);
    }
    if (strcmp(name, "||") == 0 && !cast_beside_text(sql, &left, &right, place)) {
        return NULL;
    }
    bool swap = strcmp(name, "*") == 0 && right->type == KAPPA_TYPE_INTERVAL;
    struct expr_node *operands[2] = {swap ? right : left, swap ? left : right};

    enum kappa_type types[2] = {operands[0]->type, operands[1]->type};
    const struct function_row *row = function_find(FUNCTION_OPERATOR, name, types, 2);
    if (row == NULL) {
        return operator_missing(sql, name, left->type, right->type, place);
    }
    return sql_function_call(sql, row, operands, 2, place);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_plain(struct sql *sql, const struct sql_scope *scope,
                                    const json_t *body, const char *name)
{
    int place = sql_place(body);
    const json_t *left_json = json_object_get(body, "lexpr");
    struct expr_node *left = NULL;
    if (left_json != NULL) {
        left = sql_bind(sql, scope, left_json);
        if (left == NULL) {
            return NULL;
        }
    }
    struct expr_node *right = sql_bind(sql, scope, json_object_get(body, "rexpr"));
    if (right == NULL) {
        return NULL;
    }
    return left == NULL ? bind_prefix(sql, name, right, place)
                        : bind_infix(sql, name, left, right, place);
}

/* ---- Operators with a syntax of their own. */

/* x IN (a, b) is x = a OR x = b; x NOT IN (a, b) is x <> a AND x <> b. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_in(struct sql *sql, const struct sql_scope *scope, const json_t *body,
                                 const char *name)
{
    const json_t *list = json_object_get(sql_body(json_object_get(body, "rexpr"), "List"), "items");
    uint32_t count = u32_from(json_array_size(list));
    int place = sql_place(body);
    bool negated = strcmp(name, "<>") == 0;
    struct expr_node *subject = sql_bind(sql, scope, json_object_get(body, "lexpr"));
    struct expr_node **items = subject == NULL ? NULL : sql_bind_list(sql, scope, list);
    if (items == NULL) {
        return NULL;
    }
    struct expr_node *call =
        expr_node_call(&sql->pool, negated ? expr_and : expr_or, KAPPA_TYPE_BOOLEAN, place, count);
    for (uint32_t i = 0; i < count; i++) {
        call->args[i] = sql_compare(sql, negated ? EXPR_ORDER_NE : EXPR_ORDER_EQ, subject, items[i],
                                    items[i]->place);
        if (call->args[i] == NULL) {
            return NULL;
        }
    }
    return count == 1 ? call->args[0] : expr_pool_assign(&sql->pool, call);
}

/* low <= subject AND subject <= high */
static struct expr_node *between(struct sql *sql, struct expr_node *subject, struct expr_node *low,
                                 struct expr_node *high, int place)
{
    struct expr_node *above = sql_compare(sql, EXPR_ORDER_GE, subject, low, place);
    struct expr_node *below =
        above == NULL ? NULL : sql_compare(sql, EXPR_ORDER_LE, subject, high, place);
    return below == NULL ? NULL : call_two(sql, expr_and, above, below, place);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_between(struct sql *sql, const struct sql_scope *scope,
                                      const json_t *body, const char *kind)
{
    const json_t *list = json_object_get(sql_body(json_object_get(body, "rexpr"), "List"), "items");
    int place = sql_place(body);
    struct expr_node *subject = sql_bind(sql, scope, json_object_get(body, "lexpr"));
    struct expr_node **bounds = subject == NULL ? NULL : sql_bind_list(sql, scope, list);
    if (bounds == NULL) {
        return NULL;
    }
    struct expr_node *result = between(sql, subject, bounds[0], bounds[1], place);
    if (result != NULL && strstr(kind, "_SYM") != NULL) {
        struct expr_node *reversed = between(sql, subject, bounds[1], bounds[0], place);
        result = reversed == NULL ? NULL : call_two(sql, expr_or, result, reversed, place);
    }
    bool negated = strstr(kind, "NOT") != NULL;
    return result != NULL && negated ? negate(sql, result, place) : result;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_text(struct sql *sql, const struct sql_scope *scope,
                                   const json_t *node, const char *name, int place)
{
    struct expr_node *bound = sql_bind(sql, scope, node);
    if (bound == NULL) {
        return NULL;
    }
    if (!function_converts(bound->type, KAPPA_TYPE_TEXT)) {
        return operator_missing(sql, name, bound->type, KAPPA_TYPE_TEXT, place);
    }
    return sql_coerce(sql, bound, KAPPA_TYPE_TEXT);
}

/* A pattern known now is checked now. */
static int check_pattern(struct sql *sql, const struct expr_node *pattern,
                         const struct expr_node *escape)
{
    if (!text_constant(escape) || escape->constant.s.len > 4) {
        return sql_error(sql, escape->place, "invalid escape string: it must be one character");
    }
    uint32_t characters = 0;
    for (uint32_t i = 0; i < escape->constant.s.len; i++) {
        characters += ((unsigned char)escape->constant.s.bytes[i] & 0xC0) != 0x80;
    }
    if (characters > 1) {
        return sql_error(sql, escape->place, "invalid escape string: it must be one character");
    }
    if (text_constant(pattern) && !expr_like_valid(pattern->constant.s, escape->constant.s)) {
        return sql_error(sql, pattern->place, "LIKE pattern must not end with escape character");
    }
    return 0;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_like(struct sql *sql, const struct sql_scope *scope,
                                   const json_t *body, const char *name)
{
    int place = sql_place(body);
    bool fold = strchr(name, '*') != NULL;
    const char *word = fold ? "ILIKE" : "LIKE";
    const json_t *pattern_json = json_object_get(body, "rexpr");
    const json_t *escape_json = NULL;
    const json_t *escaped = sql_body(pattern_json, "FuncCall"); /* like_escape(pattern, escape) */
    const char *function = sql_plain_name(json_object_get(escaped, "funcname"));
    if (function != NULL && strcmp(function, "like_escape") == 0) {
        pattern_json = json_array_get(json_object_get(escaped, "args"), 0);
        escape_json = json_array_get(json_object_get(escaped, "args"), 1);
    }
    struct expr_node *call =
        expr_node_call(&sql->pool, fold ? expr_ilike : expr_like, KAPPA_TYPE_BOOLEAN, place, 3);
    call->args[0] = bind_text(sql, scope, json_object_get(body, "lexpr"), word, place);
    if (call->args[0] == NULL) {
        return NULL;
    }
    call->args[1] = bind_text(sql, scope, pattern_json, word, place);
    if (call->args[1] == NULL) {
        return NULL;
    }
    call->args[2] = escape_json == NULL
                        ? sql_text_constant(sql, (struct kappa_text){"\\", 1}, place)
                        : bind_text(sql, scope, escape_json, word, place);
    if (call->args[2] == NULL || check_pattern(sql, call->args[1], call->args[2]) != 0) {
        return NULL;
    }
    struct expr_node *node = expr_pool_assign(&sql->pool, call);
    return name[0] == '!' ? negate(sql, node, place) : node;
}

/* NULLIF(a, b) is CASE WHEN a = b THEN NULL ELSE a END. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_nullif(struct sql *sql, const struct sql_scope *scope,
                                     const json_t *body)
{
    int place = sql_place(body);
    struct expr_node *left = sql_bind(sql, scope, json_object_get(body, "lexpr"));
    struct expr_node *right =
        left == NULL ? NULL : sql_bind(sql, scope, json_object_get(body, "rexpr"));
    struct expr_node *equal =
        right == NULL ? NULL : sql_compare(sql, EXPR_ORDER_EQ, left, right, place);
    if (equal != NULL && left->type == KAPPA_TYPE_NULL) {
        left =
            sql_coerce(sql, left, right->type == KAPPA_TYPE_NULL ? KAPPA_TYPE_TEXT : right->type);
    }
    if (equal == NULL || left == NULL) {
        return NULL;
    }
    struct expr_node *call = expr_node_call(&sql->pool, expr_case, left->type, place, 3);
    call->args[0] = equal;
    call->args[1] = sql_null(sql, left->type, place);
    call->args[2] = left;
    return expr_pool_assign(&sql->pool, call);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_distinct(struct sql *sql, const struct sql_scope *scope,
                                       const json_t *body, bool negated)
{
    int place = sql_place(body);
    struct expr_node *left = sql_bind(sql, scope, json_object_get(body, "lexpr"));
    struct expr_node *right =
        left == NULL ? NULL : sql_bind(sql, scope, json_object_get(body, "rexpr"));
    if (right == NULL || !match_types(sql, "=", &left, &right, place)) {
        return NULL;
    }
    struct expr_node *call = call_two(sql, expr_distinct, left, right, place);
    return negated ? negate(sql, call, place) : call;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind_operator(struct sql *sql, const struct sql_scope *scope,
                                    const json_t *body)
{
    const char *kind = json_text(body, "kind", "");
    const char *name = sql_plain_name(json_object_get(body, "name"));
    int place = sql_place(body);
    if (name == NULL) {
        return sql_error_null(sql, place, "not supported yet: schema names");
    }
    if (strcmp(kind, "AEXPR_OP") == 0) {
        return bind_plain(sql, scope, body, name);
    }
    if (strcmp(kind, "AEXPR_IN") == 0) {
        return bind_in(sql, scope, body, name);
    }
    if (strstr(kind, "BETWEEN") != NULL) {
        return bind_between(sql, scope, body, kind);
    }
    if (strcmp(kind, "AEXPR_LIKE") == 0 || strcmp(kind, "AEXPR_ILIKE") == 0) {
        return bind_like(sql, scope, body, name);
    }
    if (strcmp(kind, "AEXPR_NULLIF") == 0) {
        return bind_nullif(sql, scope, body);
    }
    if (strcmp(kind, "AEXPR_DISTINCT") == 0 || strcmp(kind, "AEXPR_NOT_DISTINCT") == 0) {
        return bind_distinct(sql, scope, body, strcmp(kind, "AEXPR_NOT_DISTINCT") == 0);
    }
    if (strcmp(kind, "AEXPR_SIMILAR") == 0) {
        return sql_error_null(sql, place, "not supported yet: SIMILAR TO");
    }
    if (order_find(name) == EXPR_ORDER_COUNT) {
        return sql_error_null(sql, place, "not supported yet: %s ANY/ALL over an array", name);
    }
    return sql_bind_any(sql, scope, order_find(name), body, strcmp(kind, "AEXPR_OP_ANY") == 0);
}
