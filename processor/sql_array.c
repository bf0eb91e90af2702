/* ARRAY[...], array[n], x = ANY (array), x = ALL (array). Own header: sql.h. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

/* ARRAY[a, b]: elements of one type. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind_array(struct sql *sql, const struct sql_scope *scope, const json_t *body)
{
    const json_t *list = json_object_get(body, "elements");
    uint32_t count = u32_from(json_array_size(list));
    int place = sql_place(body);
    struct expr_node **nodes = sql_bind_list(sql, scope, list);
    if (nodes == NULL) {
        return NULL;
    }
    if (count == 0) { /* its type comes from where it stands, as that of '{}' */
        struct expr_node *empty =
            expr_node_new(&sql->pool, EXPR_NODE_CONSTANT, KAPPA_TYPE_NULL, place);
        empty->constant.s = (struct kappa_text){"{}", 2};
        return empty;
    }
    enum kappa_type element = sql_common_type(sql, nodes, count, "ARRAY");
    if (element == KAPPA_TYPE_NULL) {
        return NULL;
    }
    if (kappa_type_is_array(element)) {
        return sql_error_null(sql, place, "not supported yet: arrays of arrays");
    }
    struct expr_node *call =
        expr_node_call(&sql->pool, expr_array, kappa_type_array_of(element), place, count);
    call->option = element;
    for (uint32_t i = 0; i < count; i++) {
        call->args[i] = sql_coerce(sql, nodes[i], element);
        if (call->args[i] == NULL) {
            return NULL;
        }
    }
    return expr_pool_assign(&sql->pool, call);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind_subscript(struct sql *sql, const struct sql_scope *scope,
                                     const json_t *body)
{
    const json_t *steps = json_object_get(body, "indirection");
    const json_t *indices = sql_body(json_array_get(steps, 0), "A_Indices");
    int place = sql_place(body);
    if (indices == NULL || json_array_size(steps) != 1 || json_bool(indices, "is_slice", false)) {
        return sql_error_null(sql, place, "not supported yet: slices, and fields of rows");
    }
    struct expr_node *array = sql_bind(sql, scope, json_object_get(body, "arg"));
    struct expr_node *index =
        array == NULL ? NULL : sql_bind(sql, scope, json_object_get(indices, "uidx"));
    if (index == NULL) {
        return NULL;
    }
    if (!kappa_type_is_array(array->type)) {
        (void)sql_error(sql, array->place, "cannot subscript type %s because it is not an array",
                        function_type_name(array->type));
        err_hint(sql->err, "for jsonb write doc -> 0 or doc -> 'name'");
        return NULL;
    }
    if (!function_converts(index->type, KAPPA_TYPE_BIGINT)) {
        return sql_error_null(sql, index->place, "array subscript must have type integer");
    }
    struct expr_node *call =
        expr_node_call(&sql->pool, expr_array_element, kappa_type_element(array->type), place, 2);
    call->args[0] = array;
    call->args[1] = sql_coerce(sql, index, KAPPA_TYPE_BIGINT);
    return call->args[1] == NULL ? NULL : expr_pool_assign(&sql->pool, call);
}

/* x op ANY (ARRAY[a, b]) is x op a OR x op b; ALL: AND. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *any_of_list(struct sql *sql, const struct sql_scope *scope,
                                     enum expr_order order, struct expr_node *left,
                                     const json_t *list, bool any, int place)
{
    uint32_t count = u32_from(json_array_size(list));
    struct expr_node **items = sql_bind_list(sql, scope, list);
    if (items == NULL) {
        return NULL;
    }
    struct expr_node *call =
        expr_node_call(&sql->pool, any ? expr_or : expr_and, KAPPA_TYPE_BOOLEAN, place, count);
    for (uint32_t i = 0; i < count; i++) {
        call->args[i] = sql_compare(sql, order, left, items[i], items[i]->place);
        if (call->args[i] == NULL) {
            return NULL;
        }
    }
    return count == 1 ? call->args[0] : expr_pool_assign(&sql->pool, call);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind_any(struct sql *sql, const struct sql_scope *scope,
                               enum expr_order order, const json_t *body, bool any)
{
    int place = sql_place(body);
    const json_t *right = json_object_get(body, "rexpr");
    const json_t *list = json_object_get(sql_body(right, "A_ArrayExpr"), "elements");
    struct expr_node *left = sql_bind(sql, scope, json_object_get(body, "lexpr"));
    if (left == NULL) {
        return NULL;
    }
    if (json_array_size(list) > 0) {
        return any_of_list(sql, scope, order, left, list, any, place);
    }
    struct expr_node *array = sql_bind(sql, scope, right);
    if (array != NULL && array->type == KAPPA_TYPE_NULL) {
        enum kappa_type type = left->type == KAPPA_TYPE_NULL ? KAPPA_TYPE_TEXT : left->type;
        array = sql_coerce(sql, array, kappa_type_array_of(type));
    }
    if (array == NULL) {
        return NULL;
    }
    enum kappa_type element = kappa_type_element(array->type);
    if (!kappa_type_is_array(array->type)) {
        return sql_error_null(sql, place, "op ANY/ALL (array) requires array on right side");
    }
    if (!function_converts(left->type, element)) {
        (void)sql_error(sql, place, "%s cannot be compared with the elements of %s",
                        function_type_name(left->type), function_type_name(array->type));
        err_hint(sql->err, "add a cast, e.g. x::%s", function_type_name(element));
        return NULL;
    }
    struct expr_node *call = expr_node_call(&sql->pool, any ? expr_array_any : expr_array_all,
                                            KAPPA_TYPE_BOOLEAN, place, 2);
    call->option = order;
    call->args[0] = sql_coerce(sql, left, element);
    call->args[1] = array;
    return call->args[0] == NULL ? NULL : expr_pool_assign(&sql->pool, call);
}
