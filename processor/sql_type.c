/* Type names, literals and conversions, by PostgreSQL's rules and in its words. Own header: sql.h. */
#include "processor/functions.h"
#include "processor/numeric.h"
#include "processor/sql.h"
#include "processor/value_cast.h"

#include <string.h>

static const struct {
    const char *name;
    enum kappa_type type;
} type_names[] = {
    {"text", KAPPA_TYPE_TEXT},           {"varchar", KAPPA_TYPE_TEXT},
    {"bigint", KAPPA_TYPE_BIGINT},       {"int8", KAPPA_TYPE_BIGINT},
    {"integer", KAPPA_TYPE_INTEGER},     {"int", KAPPA_TYPE_INTEGER},
    {"int4", KAPPA_TYPE_INTEGER},        {"smallint", KAPPA_TYPE_SMALLINT},
    {"int2", KAPPA_TYPE_SMALLINT},       {"numeric", KAPPA_TYPE_NUMERIC},
    {"decimal", KAPPA_TYPE_NUMERIC},     {"real", KAPPA_TYPE_REAL},
    {"float4", KAPPA_TYPE_REAL},         {"double precision", KAPPA_TYPE_DOUBLE},
    {"float8", KAPPA_TYPE_DOUBLE},       {"boolean", KAPPA_TYPE_BOOLEAN},
    {"bool", KAPPA_TYPE_BOOLEAN},        {"timestamptz", KAPPA_TYPE_TIMESTAMPTZ},
    {"interval", KAPPA_TYPE_INTERVAL},   {"date", KAPPA_TYPE_DATE},
    {"timestamp", KAPPA_TYPE_TIMESTAMP}, {"bytea", KAPPA_TYPE_BYTEA},
    {"jsonb", KAPPA_TYPE_JSONB},         {"uuid", KAPPA_TYPE_UUID},
};

/* PostgreSQL's other types, and what to write instead. */
static const struct {
    const char *name;
    const char *instead;
} other_types[] = {
    {"time", "use timestamptz"},    {"timetz", "use timestamptz"},
    {"money", "use numeric(12,2)"}, {"serial", "use bigint"},
    {"bigserial", "use bigint"},    {"bpchar", "use text"},
    {"char", "use text"},           {"string", "use text"},
    {"json", "use jsonb"},          {"double", "use double precision"},
};

static void refuse_type(struct sql *sql, const char *name, int place)
{
    for (size_t i = 0; i < array_len(other_types); i++) {
        if (strcmp(other_types[i].name, name) == 0) {
            const char *shown = strcmp(name, "bpchar") == 0 ? "character" : name;
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
                   "types: text, bigint, integer, smallint, numeric, double precision, real, "
                   "boolean, date, timestamp, timestamptz, interval, uuid, bytea, jsonb");
}

/* numeric(precision, scale) as precision << 8 | scale; 0 if there is none. */
static int numeric_modifier(struct sql *sql, const json_t *typmods, int place, int64_t *modifier)
{
    int64_t numbers[2] = {0, 0};
    size_t count = json_array_size(typmods);
    *modifier = 0;
    for (size_t i = 0; i < count && i < 2; i++) {
        const json_t *constant = sql_body(json_array_get(typmods, i), "A_Const");
        numbers[i] = json_int(json_object_get(constant, "ival"), "ival", 0);
    }
    if (count == 0) {
        return 0;
    }
    if (count > 2 || numbers[0] < 1 || numbers[0] > NUMERIC_DIGITS || numbers[1] < 0 ||
        numbers[1] > numbers[0]) {
        int rc = sql_error(sql, place,
                           "numeric(p, s) takes 1 to %d digits, of which s, 0 to p, "
                           "are behind the point",
                           NUMERIC_DIGITS);
        err_hint(sql->err, "for example numeric(12,2)");
        return rc;
    }
    *modifier = numbers[0] << 8 | numbers[1];
    return 0;
}

/* The type of arrays of a type: text[]. */
static int array_bind(struct sql *sql, const json_t *type_name, struct sql_type *out)
{
    static const char *const allowed[] = {"names", "typemod", "arrayBounds", NULL};
    if (json_array_size(json_object_get(type_name, "arrayBounds")) != 1) {
        return sql_error(sql, sql_place(type_name), "not supported yet: arrays of arrays");
    }
    out->type = kappa_type_array_of(out->type);
    out->modifier = 0;
    return sql_only(sql, type_name, allowed);
}

int sql_type_bind(struct sql *sql, const json_t *type_name, struct sql_type *out)
{
    static const char *const allowed[] = {"names", "typemod", NULL};
    static const char *const of_numeric[] = {"names", "typemod", "typmods", NULL};
    int place = sql_place(type_name);
    const json_t *typmods = json_object_get(type_name, "typmods");
    const char *name = sql_plain_name(json_object_get(type_name, "names"));
    *out = (struct sql_type){KAPPA_TYPE_NULL, 0};
    if (name == NULL) {
        return sql_error(sql, place, "not supported yet: schema names");
    }
    for (size_t i = 0; i < array_len(type_names); i++) {
        if (strcmp(type_names[i].name, name) != 0) {
            continue;
        }
        out->type = type_names[i].type;
        if (out->type == KAPPA_TYPE_NUMERIC &&
            numeric_modifier(sql, typmods, place, &out->modifier) != 0) {
            return -KE_SQL;
        }
        if (json_object_get(type_name, "arrayBounds") != NULL) {
            return array_bind(sql, type_name, out);
        }
        return sql_only(sql, type_name, out->type == KAPPA_TYPE_NUMERIC ? of_numeric : allowed);
    }
    refuse_type(sql, name, place);
    return -KE_SQL;
}

struct expr_node *sql_literal(struct sql *sql, struct kappa_text text, enum kappa_type type,
                              int place)
{
    struct expr_node *node = expr_node_new(&sql->pool, EXPR_NODE_CONSTANT, type, place);
    enum expr_state state = value_parse(text, type, &sql->temp, &node->constant);
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

/* A step over a constant is done now, unless it is an error: that may never be asked for. */
static struct expr_node *fold(struct sql *sql, struct expr_node *call)
{
    const struct expr_node *arg = call->args[0];
    struct kappa_value in = arg->constant;
    struct kappa_value made = {.type = call->type};
    uint8_t states[2] = {EXPR_OK, EXPR_OK};
    struct expr_vec registers[2] = {{.type = arg->type, .state = &states[0]},
                                    {.type = call->type, .state = &states[1]}};
    uint32_t operand = 0;
    struct expr_step step = {
        .run = call->run, .args = &operand, .arg_count = 1, .out = 1, .option = call->option};
    struct expr_frame frame = {registers, 1, &sql->temp};
    registers[0].i = &in.i; /* the payloads are members of one union */
    registers[1].i = &made.i;
    step.run(&step, &frame);
    if (states[1] != EXPR_OK) {
        return call;
    }
    struct expr_node *node = expr_node_new(&sql->pool, EXPR_NODE_CONSTANT, call->type, call->place);
    node->constant = made;
    return node;
}

static struct expr_node *wrap(struct sql *sql, struct expr_node *node, expr_run_fn run,
                              enum kappa_type type, int64_t option)
{
    struct expr_node *call = expr_node_call(&sql->pool, run, type, node->place, 1);
    call->args[0] = node;
    call->option = option;
    if (node->kind == EXPR_NODE_CONSTANT && node->constant.is_null) {
        return sql_null(sql, type, node->place);
    }
    if (node->kind == EXPR_NODE_CONSTANT) {
        call = fold(sql, call);
    }
    return expr_pool_assign(&sql->pool, call);
}

/* [from][to]; NULL: by way of text, or no such cast. */
static const expr_run_fn casts[KAPPA_TYPE_COUNT][KAPPA_TYPE_COUNT] = {
    [KAPPA_TYPE_BOOLEAN] =
        {[KAPPA_TYPE_INTEGER] = expr_widen, [KAPPA_TYPE_TEXT] = expr_text_from_boolean},
    [KAPPA_TYPE_SMALLINT] = {[KAPPA_TYPE_INTEGER] = expr_widen,
                             [KAPPA_TYPE_BIGINT] = expr_widen,
                             [KAPPA_TYPE_NUMERIC] = expr_numeric_from_bigint,
                             [KAPPA_TYPE_REAL] = expr_real_from_bigint,
                             [KAPPA_TYPE_DOUBLE] = expr_double_from_bigint,
                             [KAPPA_TYPE_TEXT] = expr_text_from_bigint},
    [KAPPA_TYPE_INTEGER] = {[KAPPA_TYPE_BOOLEAN] = expr_boolean_from_integer,
                            [KAPPA_TYPE_SMALLINT] = expr_smallint_from_bigint,
                            [KAPPA_TYPE_BIGINT] = expr_widen,
                            [KAPPA_TYPE_NUMERIC] = expr_numeric_from_bigint,
                            [KAPPA_TYPE_REAL] = expr_real_from_bigint,
                            [KAPPA_TYPE_DOUBLE] = expr_double_from_bigint,
                            [KAPPA_TYPE_TEXT] = expr_text_from_bigint},
    [KAPPA_TYPE_BIGINT] = {[KAPPA_TYPE_SMALLINT] = expr_smallint_from_bigint,
                           [KAPPA_TYPE_INTEGER] = expr_integer_from_bigint,
                           [KAPPA_TYPE_NUMERIC] = expr_numeric_from_bigint,
                           [KAPPA_TYPE_REAL] = expr_real_from_bigint,
                           [KAPPA_TYPE_DOUBLE] = expr_double_from_bigint,
                           [KAPPA_TYPE_TEXT] = expr_text_from_bigint},
    [KAPPA_TYPE_NUMERIC] = {[KAPPA_TYPE_SMALLINT] = expr_smallint_from_numeric,
                            [KAPPA_TYPE_INTEGER] = expr_integer_from_numeric,
                            [KAPPA_TYPE_BIGINT] = expr_bigint_from_numeric,
                            [KAPPA_TYPE_REAL] = expr_real_from_numeric,
                            [KAPPA_TYPE_DOUBLE] = expr_double_from_numeric},
    [KAPPA_TYPE_REAL] = {[KAPPA_TYPE_SMALLINT] = expr_smallint_from_double,
                         [KAPPA_TYPE_INTEGER] = expr_integer_from_double,
                         [KAPPA_TYPE_BIGINT] = expr_bigint_from_double,
                         [KAPPA_TYPE_NUMERIC] = expr_numeric_from_real,
                         [KAPPA_TYPE_DOUBLE] = expr_widen},
    [KAPPA_TYPE_DOUBLE] = {[KAPPA_TYPE_SMALLINT] = expr_smallint_from_double,
                           [KAPPA_TYPE_INTEGER] = expr_integer_from_double,
                           [KAPPA_TYPE_BIGINT] = expr_bigint_from_double,
                           [KAPPA_TYPE_NUMERIC] = expr_numeric_from_double,
                           [KAPPA_TYPE_REAL] = expr_real_from_double,
                           [KAPPA_TYPE_TEXT] = expr_text_from_double},
    [KAPPA_TYPE_TEXT] = {[KAPPA_TYPE_BOOLEAN] = expr_boolean_from_text,
                         [KAPPA_TYPE_INTEGER] = expr_integer_from_text,
                         [KAPPA_TYPE_BIGINT] = expr_bigint_from_text,
                         [KAPPA_TYPE_DOUBLE] = expr_double_from_text,
                         [KAPPA_TYPE_TIMESTAMPTZ] = expr_timestamptz_from_text,
                         [KAPPA_TYPE_INTERVAL] = expr_interval_from_text},
    [KAPPA_TYPE_JSONB] = {[KAPPA_TYPE_BOOLEAN] = expr_boolean_from_jsonb,
                          [KAPPA_TYPE_NUMERIC] = expr_numeric_from_jsonb,
                          [KAPPA_TYPE_DOUBLE] = expr_double_from_jsonb},
    [KAPPA_TYPE_DATE] = {[KAPPA_TYPE_TIMESTAMP] = expr_timestamp_from_date,
                         [KAPPA_TYPE_TIMESTAMPTZ] = expr_timestamp_from_date},
    [KAPPA_TYPE_TIMESTAMP] =
        {[KAPPA_TYPE_DATE] = expr_date_from_timestamp, [KAPPA_TYPE_TIMESTAMPTZ] = expr_widen},
    [KAPPA_TYPE_TIMESTAMPTZ] = {[KAPPA_TYPE_DATE] = expr_date_from_timestamp,
                                [KAPPA_TYPE_TIMESTAMP] = expr_widen,
                                [KAPPA_TYPE_TEXT] = expr_text_from_timestamptz},
};

static expr_run_fn cast_find(enum kappa_type from, enum kappa_type to, int64_t *option)
{
    *option = 0;
    if (!kappa_type_is_array(from) && !kappa_type_is_array(to) && casts[from][to] != NULL) {
        return casts[from][to];
    }
    *option = to == KAPPA_TYPE_TEXT ? from : to;
    return to == KAPPA_TYPE_TEXT     ? expr_text_from_value
           : from == KAPPA_TYPE_TEXT ? expr_value_from_text
                                     : NULL;
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
    int64_t option = 0;
    expr_run_fn run = cast_find(node->type, type, &option);
    ASSERT(run != NULL);
    return wrap(sql, node, run, type, option);
}

struct expr_node *sql_cast(struct sql *sql, struct expr_node *node, struct sql_type type, int place)
{
    int64_t option = 0;
    struct expr_node *made = NULL;
    if (function_converts(node->type, type.type)) {
        made = sql_coerce(sql, node, type.type);
    } else if (node->type == KAPPA_TYPE_JSONB && type.type >= KAPPA_TYPE_SMALLINT &&
               type.type <= KAPPA_TYPE_REAL && type.type != KAPPA_TYPE_NUMERIC) {
        made = wrap(sql, node, expr_numeric_from_jsonb, KAPPA_TYPE_NUMERIC, 0);
        made = wrap(sql, made, cast_find(KAPPA_TYPE_NUMERIC, type.type, &option), type.type, 0);
    } else {
        expr_run_fn run = cast_find(node->type, type.type, &option);
        if (run == NULL) {
            return sql_error_null(sql, place, "cannot cast type %s to %s",
                                  function_type_name(node->type), function_type_name(type.type));
        }
        made = wrap(sql, node, run, type.type, option);
    }
    if (made == NULL || type.modifier == 0) {
        return made;
    }
    made = wrap(sql, made, expr_numeric_modify, type.type, type.modifier);
    made->modifier = type.modifier;
    return made;
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
