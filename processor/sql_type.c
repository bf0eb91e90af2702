/* Type names, literals and conversions, by PostgreSQL's rules and in its words. Own header: sql.h. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

static const struct {
    const char *name;
    enum kappa_type type;
} type_names[] = {
    {"text", KAPPA_TYPE_TEXT},         {"varchar", KAPPA_TYPE_TEXT},
    {"bigint", KAPPA_TYPE_BIGINT},     {"int8", KAPPA_TYPE_BIGINT},
    {"integer", KAPPA_TYPE_INTEGER},   {"int", KAPPA_TYPE_INTEGER},
    {"int4", KAPPA_TYPE_INTEGER},      {"double precision", KAPPA_TYPE_DOUBLE},
    {"float8", KAPPA_TYPE_DOUBLE},     {"boolean", KAPPA_TYPE_BOOLEAN},
    {"bool", KAPPA_TYPE_BOOLEAN},      {"timestamptz", KAPPA_TYPE_TIMESTAMPTZ},
    {"interval", KAPPA_TYPE_INTERVAL},
};

/* PostgreSQL's other types, and what to write instead. */
static const struct {
    const char *name;
    const char *instead;
} other_types[] = {
    {"timestamp", "use timestamptz: times are UTC"},
    {"date", "use timestamptz and date_trunc('day', ...)"},
    {"time", "use timestamptz"},
    {"timetz", "use timestamptz"},
    {"numeric", "use double precision, or bigint in the smallest unit (cents)"},
    {"decimal", "use double precision, or bigint in the smallest unit (cents)"},
    {"money", "use bigint in the smallest unit (cents)"},
    {"float4", "use double precision"},
    {"int2", "use integer"},
    {"smallint", "use integer"},
    {"serial", "use bigint"},
    {"bigserial", "use bigint"},
    {"bpchar", "use text"},
    {"char", "use text"},
    {"string", "use text"},
    {"uuid", "use text"},
    {"json", "use text, or a column for each field"},
    {"jsonb", "use text, or a column for each field"},
    {"bytea", "use text"},
    {"double", "use double precision"},
};

static void refuse_type(struct sql *sql, const char *name, int place)
{
    for (size_t i = 0; i < array_len(other_types); i++) {
        if (strcmp(other_types[i].name, name) == 0) {
            const char *shown = strcmp(name, "float4") == 0   ? "real"
                                : strcmp(name, "int2") == 0   ? "smallint"
                                : strcmp(name, "bpchar") == 0 ? "character"
                                                              : name;
            (void)sql_error(sql, place, "not supported yet: type %s", shown);
            err_hint(sql->err, "%s", other_types[i].instead);
            return;
        }
    }
    (void)sql_error(sql, place, "type \"%s\" does not exist", name);
    struct sql_guess guess = sql_guess_new(name);
    for (size_t i = 0; i < array_len(type_names); i++) {
        sql_guess_offer(&guess, type_names[i].name);
    }
    sql_guess_hint(sql, &guess,
                   "types: text, bigint, integer, double precision, boolean, timestamptz");
}

enum kappa_type sql_type_bind(struct sql *sql, const json_t *type_name, bool *ok)
{
    static const char *const allowed[] = {"names", "typemod", NULL};
    int place = sql_place(type_name);
    const char *name = sql_plain_name(json_object_get(type_name, "names"));
    *ok = false;
    if (name == NULL) {
        (void)sql_error(sql, place, "not supported yet: schema names");
        return KAPPA_TYPE_NULL;
    }
    for (size_t i = 0; i < array_len(type_names); i++) {
        if (strcmp(type_names[i].name, name) == 0) {
            *ok = sql_only(sql, type_name, allowed) == 0;
            return type_names[i].type;
        }
    }
    refuse_type(sql, name, place);
    return KAPPA_TYPE_NULL;
}

static enum expr_state literal_read(struct kappa_text text, enum kappa_type type,
                                    struct kappa_value *value)
{
    typedef enum expr_state (*parse_fn)(struct kappa_text text, int64_t * out);
    static const parse_fn whole[KAPPA_TYPE_COUNT] = {
        [KAPPA_TYPE_BOOLEAN] = expr_parse_boolean,
        [KAPPA_TYPE_INTEGER] = expr_parse_integer,
        [KAPPA_TYPE_BIGINT] = expr_parse_bigint,
        [KAPPA_TYPE_TIMESTAMPTZ] = expr_parse_timestamptz,
        [KAPPA_TYPE_INTERVAL] = expr_parse_interval,
    };
    if (type == KAPPA_TYPE_DOUBLE) {
        return expr_parse_double(text, &value->d);
    }
    if (kappa_type_payload(type) == KAPPA_PAYLOAD_BYTES) {
        value->s = text;
        return EXPR_OK;
    }
    ASSERT(whole[type] != NULL);
    return whole[type](text, &value->i);
}

struct expr_node *sql_literal(struct sql *sql, struct kappa_text text, enum kappa_type type,
                              int place)
{
    struct expr_node *node = expr_node_new(&sql->pool, EXPR_NODE_CONSTANT, type, place);
    node->constant.type = type;
    enum expr_state state = literal_read(text, type, &node->constant);
    int shown = text.len > 60 ? 60 : (int)text.len;
    if (state == EXPR_ERROR_ARGUMENT) {
        (void)sql_error(sql, place, "not supported yet: intervals of months and years");
        err_hint(sql->err, "they have no fixed length; write days, e.g. interval '30 days'");
        return NULL;
    }
    if (state == EXPR_ERROR_OVERFLOW) {
        return sql_error_null(sql, place, "value \"%.*s\" is out of range for type %s", shown,
                              text.bytes, function_type_name(type));
    }
    if (state != EXPR_OK) {
        return sql_error_null(sql, place, "invalid input syntax for type %s: \"%.*s\"",
                              function_type_name(type), shown, text.bytes);
    }
    return expr_pool_assign(&sql->pool, node);
}

/* A bare literal or NULL becomes a constant of the type. */
static struct expr_node *resolve_literal(struct sql *sql, struct expr_node *node,
                                         enum kappa_type type)
{
    ASSERT(node->kind == EXPR_NODE_CONSTANT);
    if (node->constant.is_null) {
        return sql_null(sql, type, node->place);
    }
    return sql_literal(sql, node->constant.s, type, node->place);
}

static struct expr_node *wrap(struct sql *sql, struct expr_node *node, expr_run_fn run,
                              enum kappa_type type)
{
    struct expr_node *call = expr_node_call(&sql->pool, run, type, node->place, 1);
    call->args[0] = node;
    return expr_pool_assign(&sql->pool, call);
}

struct expr_node *sql_coerce(struct sql *sql, struct expr_node *node, enum kappa_type type)
{
    ASSERT(function_converts(node->type, type));
    if (node->type == type) {
        return node;
    }
    if (node->type == KAPPA_TYPE_NULL) {
        return resolve_literal(sql, node, type);
    }
    return wrap(sql, node, type == KAPPA_TYPE_BIGINT ? expr_widen : expr_double_from_bigint, type);
}

/* [from][to]; NULL: no such cast. Widening is in sql_coerce. */
static const expr_run_fn casts[KAPPA_TYPE_COUNT][KAPPA_TYPE_COUNT] = {
    [KAPPA_TYPE_BOOLEAN] =
        {[KAPPA_TYPE_INTEGER] = expr_widen, [KAPPA_TYPE_TEXT] = expr_text_from_boolean},
    [KAPPA_TYPE_INTEGER] = {[KAPPA_TYPE_BOOLEAN] = expr_boolean_from_integer,
                            [KAPPA_TYPE_TEXT] = expr_text_from_bigint},
    [KAPPA_TYPE_BIGINT] = {[KAPPA_TYPE_INTEGER] = expr_integer_from_bigint,
                           [KAPPA_TYPE_TEXT] = expr_text_from_bigint},
    [KAPPA_TYPE_DOUBLE] = {[KAPPA_TYPE_INTEGER] = expr_integer_from_double,
                           [KAPPA_TYPE_BIGINT] = expr_bigint_from_double,
                           [KAPPA_TYPE_TEXT] = expr_text_from_double},
    [KAPPA_TYPE_TEXT] = {[KAPPA_TYPE_BOOLEAN] = expr_boolean_from_text,
                         [KAPPA_TYPE_INTEGER] = expr_integer_from_text,
                         [KAPPA_TYPE_BIGINT] = expr_bigint_from_text,
                         [KAPPA_TYPE_DOUBLE] = expr_double_from_text,
                         [KAPPA_TYPE_TIMESTAMPTZ] = expr_timestamptz_from_text,
                         [KAPPA_TYPE_INTERVAL] = expr_interval_from_text},
    [KAPPA_TYPE_TIMESTAMPTZ] = {[KAPPA_TYPE_TEXT] = expr_text_from_timestamptz},
};

struct expr_node *sql_cast(struct sql *sql, struct expr_node *node, enum kappa_type type, int place)
{
    if (function_converts(node->type, type)) {
        return sql_coerce(sql, node, type);
    }
    expr_run_fn run = casts[node->type][type];
    if (run == NULL) {
        return sql_error_null(sql, place, "cannot cast type %s to %s",
                              function_type_name(node->type), function_type_name(type));
    }
    return wrap(sql, node, run, type);
}

enum kappa_type sql_common_type(struct sql *sql, struct expr_node *const *nodes, uint32_t count,
                                const char *what)
{
    enum kappa_type common = KAPPA_TYPE_NULL;
    for (uint32_t i = 0; i < count; i++) {
        enum kappa_type type = nodes[i]->type;
        if (function_converts(common, type)) {
            common = type == KAPPA_TYPE_NULL ? common : type;
        } else if (!function_converts(type, common)) {
            (void)sql_error(sql, nodes[i]->place, "%s types %s and %s cannot be matched", what,
                            function_type_name(common), function_type_name(type));
            return KAPPA_TYPE_NULL;
        }
    }
    return common == KAPPA_TYPE_NULL ? KAPPA_TYPE_TEXT : common;
}
