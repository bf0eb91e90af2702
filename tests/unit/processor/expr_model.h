/* Random typed expressions over random rows: their trees and their SQL, ours and sqlite's. */
#ifndef KAPPA_TESTS_EXPR_MODEL_H
#define KAPPA_TESTS_EXPR_MODEL_H

#include "base/buf.h"
#include "base/prng.h"
#include "tests/unit/processor/expr_fixture.h"

#include <ctype.h>
#include <math.h>

enum model_op {
    OP_CONST, /* also NULL */
    OP_COLUMN,
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_DIVIDE,
    OP_MODULO,
    OP_NEGATE,
    OP_ABS,
    OP_CAST, /* between number types, and whole numbers to text */
    OP_LENGTH,
    OP_CONCAT,
    OP_LOWER,
    OP_UPPER,
    OP_SUBSTR, /* (text), from a, count b */
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_AND,
    OP_OR,
    OP_NOT,
    OP_IS_NULL,
    OP_IS_TRUE,
    OP_DISTINCT,
    OP_IN,
    OP_BETWEEN,
    OP_LIKE,
    OP_CASE, /* when, then, when, then, else */
    OP_COALESCE,
    OP_NULLIF,
    OP_GREATEST,
    OP_LEAST
};

struct model_value {
    enum expr_state state;
    int64_t i;
    double d;
    const char *s; /* NUL-terminated; "" when it is no text */
};

struct model_node {
    enum model_op op;
    enum kappa_type type;
    struct model_node *args[5];
    int arg_count;
    struct model_value constant;
    uint32_t column;
    int a;
    int b;
};

#define MODEL_ROWS 48

struct model {
    struct prng prng;
    struct arena arena; /* trees and texts of one round */
    struct model_value rows[FIXTURE_COLUMNS][MODEL_ROWS];
};

static const enum kappa_type column_types[FIXTURE_COLUMNS] = {
    KAPPA_TYPE_INTEGER, KAPPA_TYPE_INTEGER, KAPPA_TYPE_BIGINT,      KAPPA_TYPE_BIGINT,
    KAPPA_TYPE_DOUBLE,  KAPPA_TYPE_DOUBLE,  KAPPA_TYPE_TEXT,        KAPPA_TYPE_TEXT,
    KAPPA_TYPE_BOOLEAN, KAPPA_TYPE_BOOLEAN, KAPPA_TYPE_TIMESTAMPTZ, KAPPA_TYPE_TIMESTAMPTZ};

static const char *const column_names[FIXTURE_COLUMNS] = {"i1", "i2", "b1", "b2", "d1", "d2",
                                                          "s1", "s2", "f1", "f2", "z1", "z2"};

// NOLINTBEGIN(misc-no-recursion): random trees are at most 6 deep

/* ---- Random values and trees. */

static uint64_t below(struct model *model, uint64_t bound)
{
    return prng_below(&model->prng, bound);
}

static struct model_value random_value(struct model *model, enum kappa_type type)
{
    static const char *const texts[] = {"",  "a",  "b",  "ab",    "AB",     "a日",
                                        "%", "a%", "_b", "click", "clicks", "a long text of words",
                                        "日"};
    static const int64_t numbers[] = {0, 1, -1, 2, 3, 7, -7, 2147483647, -2147483647, 65536};
    struct model_value value = {.state = EXPR_OK};
    value.i = numbers[below(model, array_len(numbers))];
    if (type == KAPPA_TYPE_BIGINT && below(model, 4) == 0) {
        value.i = below(model, 2) == 0 ? INT64_MAX : -INT64_MAX;
    }
    if (type == KAPPA_TYPE_BOOLEAN) {
        value.i = (int64_t)below(model, 2);
    }
    static const double doubles[] = {0, 0.5, -1.25, 3, 1e300, -1e300, 1e-300, 1e15};
    value.d = doubles[below(model, array_len(doubles))];
    const char *text = texts[below(model, array_len(texts))];
    value.s = arena_strdup(&model->arena, text);
    return value;
}

static void model_fill_rows(struct model *model)
{
    for (uint32_t c = 0; c < FIXTURE_COLUMNS; c++) {
        for (uint32_t row = 0; row < MODEL_ROWS; row++) {
            struct model_value *value = &model->rows[c][row];
            *value = random_value(model, column_types[c]);
            uint64_t state = below(model, 12);
            value->state = state < 2 ? EXPR_NULL : state == 2 ? EXPR_ERROR_TYPE : EXPR_OK;
        }
    }
}

static struct model_node *node_new(struct model *model, enum model_op op, enum kappa_type type)
{
    struct model_node *node = arena_calloc(&model->arena, sizeof *node);
    node->op = op;
    node->type = type;
    return node;
}

static struct model_node *leaf(struct model *model, enum kappa_type type)
{
    if (below(model, 3) == 0) {
        struct model_node *node = node_new(model, OP_CONST, type);
        node->constant = random_value(model, type);
        node->constant.state = below(model, 8) == 0 ? EXPR_NULL : EXPR_OK;
        return node;
    }
    struct model_node *node = node_new(model, OP_COLUMN, type);
    do {
        node->column = (uint32_t)below(model, FIXTURE_COLUMNS);
    } while (column_types[node->column] != type);
    return node;
}

static enum kappa_type random_type(struct model *model)
{
    static const enum kappa_type types[] = {KAPPA_TYPE_INTEGER, KAPPA_TYPE_BIGINT,
                                            KAPPA_TYPE_DOUBLE, KAPPA_TYPE_TEXT, KAPPA_TYPE_BOOLEAN};

    return types[below(model, array_len(types))];
}

static struct model_node *tree(struct model *model, enum kappa_type type, int depth);

static void add_args(struct model *model, struct model_node *node, enum kappa_type type, int count,
                     int depth)
{
    for (int i = 0; i < count; i++) {
        node->args[node->arg_count++] = tree(model, type, depth);
    }
}

/* CASE, COALESCE, NULLIF, GREATEST, LEAST give any type. */
static struct model_node *any_tree(struct model *model, enum kappa_type type, int depth)
{
    static const enum model_op ops[] = {OP_CASE, OP_COALESCE, OP_NULLIF, OP_GREATEST, OP_LEAST};
    struct model_node *node = node_new(model, ops[below(model, array_len(ops))], type);
    if (node->op != OP_CASE) {
        add_args(model, node, type, node->op == OP_NULLIF ? 2 : 3, depth);
        return node;
    }
    for (int i = 0; i < 2; i++) {
        add_args(model, node, KAPPA_TYPE_BOOLEAN, 1, depth);
        add_args(model, node, type, 1, depth);
    }
    add_args(model, node, type, 1, depth);
    return node;
}

static struct model_node *number_tree(struct model *model, enum kappa_type type, int depth)
{
    static const enum model_op ops[] = {OP_ADD,    OP_SUBTRACT, OP_MULTIPLY, OP_DIVIDE, OP_MODULO,
                                        OP_NEGATE, OP_ABS,      OP_CAST,     OP_LENGTH};
    enum model_op op = ops[below(model, array_len(ops))];
    if ((op == OP_MODULO && type == KAPPA_TYPE_DOUBLE) || op == OP_LENGTH) {
        op = type == KAPPA_TYPE_INTEGER ? OP_LENGTH : OP_ADD;
    }
    struct model_node *node = node_new(model, op, type);
    if (op == OP_LENGTH) {
        add_args(model, node, KAPPA_TYPE_TEXT, 1, depth);
    } else if (op == OP_CAST) {
        add_args(model, node, type == KAPPA_TYPE_INTEGER ? KAPPA_TYPE_BIGINT : KAPPA_TYPE_INTEGER,
                 1, depth);
    } else {
        add_args(model, node, type, op == OP_NEGATE || op == OP_ABS ? 1 : 2, depth);
    }
    return node;
}

static struct model_node *text_tree(struct model *model, int depth)
{
    static const enum model_op ops[] = {OP_CONCAT, OP_LOWER, OP_UPPER, OP_SUBSTR, OP_CAST};
    enum model_op op = ops[below(model, array_len(ops))];
    struct model_node *node = node_new(model, op, KAPPA_TYPE_TEXT);
    enum kappa_type argument = op == OP_CAST ? KAPPA_TYPE_BIGINT : KAPPA_TYPE_TEXT;
    add_args(model, node, argument, op == OP_CONCAT ? 2 : 1, depth);
    node->a = 1 + (int)below(model, 3);
    node->b = (int)below(model, 4);
    return node;
}

static struct model_node *boolean_tree(struct model *model, int depth)
{
    enum model_op op = (enum model_op)(OP_EQ + below(model, OP_LIKE - OP_EQ + 1));
    struct model_node *node = node_new(model, op, KAPPA_TYPE_BOOLEAN);
    enum kappa_type argument = random_type(model);
    int count = 2;
    if (op == OP_AND || op == OP_OR || op == OP_NOT || op == OP_IS_TRUE) {
        argument = KAPPA_TYPE_BOOLEAN;
    } else if (op == OP_LIKE) {
        argument = KAPPA_TYPE_TEXT;
    }
    if (op == OP_NOT || op == OP_IS_TRUE || op == OP_IS_NULL) {
        count = 1;
    } else if (op == OP_IN || op == OP_BETWEEN || op == OP_AND) {
        count = 3;
    }
    add_args(model, node, argument, count, depth);
    node->a = (int)below(model, 2); /* negated, where there is such a spelling */
    return node;
}

static struct model_node *tree(struct model *model, enum kappa_type type, int depth)
{
    if (depth == 0 || below(model, 8) == 0) {
        return leaf(model, type);
    }
    if (below(model, 4) == 0) {
        return any_tree(model, type, depth - 1);
    }
    if (type == KAPPA_TYPE_TEXT) {
        return text_tree(model, depth - 1);
    }
    return type == KAPPA_TYPE_BOOLEAN ? boolean_tree(model, depth - 1)
                                      : number_tree(model, type, depth - 1);
}

/* ---- As SQL. */

static void print_constant(const struct model_node *node, bool sqlite, struct buf *out)
{
    static const char *const names[KAPPA_TYPE_COUNT] = {
        [KAPPA_TYPE_BOOLEAN] = "boolean",         [KAPPA_TYPE_INTEGER] = "integer",
        [KAPPA_TYPE_BIGINT] = "bigint",           [KAPPA_TYPE_TEXT] = "text",
        [KAPPA_TYPE_DOUBLE] = "double precision",
    };
    const struct model_value *value = &node->constant;
    if (value->state == EXPR_NULL) {
        buf_printf(out, sqlite ? "NULL" : "NULL::%s", names[node->type]);
    } else if (node->type == KAPPA_TYPE_TEXT) {
        buf_printf(out, "'%s'", value->s);
    } else if (node->type == KAPPA_TYPE_BOOLEAN) {
        buf_append_text(out, value->i ? "true" : "false");
    } else if (node->type == KAPPA_TYPE_DOUBLE) {
        buf_printf(out, "(%.17g)::double precision", value->d);
    } else {
        buf_printf(out, node->type == KAPPA_TYPE_BIGINT && !sqlite ? "(%lld)::bigint" : "(%lld)",
                   (long long)value->i);
    }
}

static void print(const struct model_node *node, bool sqlite, struct buf *out);

/* parts: what stands before, between and behind the arguments */
static void print_parts(const struct model_node *node, bool sqlite, struct buf *out,
                        const char *const *parts)
{
    for (int i = 0; i < node->arg_count; i++) {
        buf_append_text(out, parts[i]);
        print(node->args[i], sqlite, out);
    }
    buf_append_text(out, parts[node->arg_count]);
}

static void print(const struct model_node *node, bool sqlite, struct buf *out)
{
    static const char *const parts[][6] = {
        [OP_ADD] = {"(", " + ", ")"},
        [OP_SUBTRACT] = {"(", " - ", ")"},
        [OP_MULTIPLY] = {"(", " * ", ")"},
        [OP_DIVIDE] = {"(", " / ", ")"},
        [OP_MODULO] = {"(", " % ", ")"},
        [OP_NEGATE] = {"(- ", ")"},
        [OP_ABS] = {"abs(", ")"},
        [OP_LENGTH] = {"length(", ")"},
        [OP_CONCAT] = {"(", " || ", ")"},
        [OP_LOWER] = {"lower(", ")"},
        [OP_UPPER] = {"upper(", ")"},
        [OP_EQ] = {"(", " = ", ")"},
        [OP_NE] = {"(", " <> ", ")"},
        [OP_LT] = {"(", " < ", ")"},
        [OP_LE] = {"(", " <= ", ")"},
        [OP_GT] = {"(", " > ", ")"},
        [OP_GE] = {"(", " >= ", ")"},
        [OP_AND] = {"(", " AND ", " AND ", ")"},
        [OP_OR] = {"(", " OR ", ")"},
        [OP_NOT] = {"(NOT ", ")"},
        [OP_CASE] = {"CASE WHEN ", " THEN ", " WHEN ", " THEN ", " ELSE ", " END"},
        [OP_COALESCE] = {"coalesce(", ", ", ", ", ")"},
        [OP_NULLIF] = {"nullif(", ", ", ")"},
        [OP_GREATEST] = {"greatest(", ", ", ", ", ")"},
        [OP_LEAST] = {"least(", ", ", ", ", ")"},
    };
    static const char *const plain[][5] = {
        [OP_IS_NULL] = {"(", " IS NULL)"},
        [OP_IS_TRUE] = {"(", " IS TRUE)"},
        [OP_DISTINCT] = {"(", " IS DISTINCT FROM ", ")"},
        [OP_IN] = {"(", " IN (", ", ", "))"},
        [OP_BETWEEN] = {"(", " BETWEEN ", " AND ", ")"},
        [OP_LIKE] = {"(", " LIKE ", ")"},
    };
    static const char *const negated[][5] = {
        [OP_IS_NULL] = {"(", " IS NOT NULL)"},
        [OP_IS_TRUE] = {"(", " IS NOT TRUE)"},
        [OP_DISTINCT] = {"(", " IS NOT DISTINCT FROM ", ")"},
        [OP_IN] = {"(", " NOT IN (", ", ", "))"},
        [OP_BETWEEN] = {"(", " NOT BETWEEN ", " AND ", ")"},
        [OP_LIKE] = {"(", " NOT LIKE ", ")"},
    };
    if (node->op == OP_CONST) {
        print_constant(node, sqlite, out);
    } else if (node->op == OP_COLUMN) {
        buf_append_text(out, column_names[node->column]);
    } else if (node->op == OP_SUBSTR) {
        buf_append_text(out, "substr(");
        print(node->args[0], sqlite, out);
        buf_printf(out, ", %d, %d)", node->a, node->b);
    } else if (node->op == OP_CAST) {
        bool text = node->type == KAPPA_TYPE_TEXT;
        buf_append_text(out, text || !sqlite ? "CAST(" : "(");
        print(node->args[0], sqlite, out);
        buf_append_text(out, text                               ? " AS text)"
                             : sqlite                           ? ")"
                             : node->type == KAPPA_TYPE_INTEGER ? " AS integer)"
                             : node->type == KAPPA_TYPE_BIGINT  ? " AS bigint)"
                                                                : " AS double precision)");
    } else if (node->op >= OP_IS_NULL && node->op <= OP_LIKE) {
        print_parts(node, sqlite, out, node->a ? negated[node->op] : plain[node->op]);
    } else {
        print_parts(node, sqlite, out, parts[node->op]);
    }
}

/* abs of the smallest number ends sqlite's query. */
static bool sqlite_knows(const struct model_node *node)
{
    if (node->type == KAPPA_TYPE_DOUBLE || node->op == OP_ABS || node->op == OP_GREATEST ||
        node->op == OP_LEAST) {
        return false;
    }
    for (int i = 0; i < node->arg_count; i++) {
        if (!sqlite_knows(node->args[i])) {
            return false;
        }
    }
    return true;
}

// NOLINTEND(misc-no-recursion)

#endif
