/* The function table and its lookup. Own header: functions.h. */
#include "processor/functions.h"

#include <string.h>

#define SCALAR(name, args, result, run, help, example, expected)                                   \
    {name, args, result, run, help, example, expected, FUNCTION_SCALAR, 0},
#define OPERATOR(name, args, result, run, help, example, expected)                                 \
    {name, args, result, run, help, example, expected, FUNCTION_OPERATOR, 0},
#define AGGREGATE(name, args, result, kind, help, example, expected)                               \
    {name, args, result, NULL, help, example, expected, FUNCTION_AGGREGATE, kind},

static const struct function_row rows[] = {
#include "processor/functions.def"
};

const struct function_row *function_rows(uint32_t *count)
{
    *count = array_len(rows);
    return rows;
}

bool function_exists(enum function_kind kind, const char *name)
{
    for (size_t i = 0; i < array_len(rows); i++) {
        if (rows[i].kind == kind && strcmp(rows[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static const struct {
    char letter;
    const char *name;
    const char *of_arrays;
} types[KAPPA_TYPE_COUNT] = {
    [KAPPA_TYPE_NULL] = {'x', "unknown", "anyarray"},
    [KAPPA_TYPE_BOOLEAN] = {'b', "boolean", "boolean[]"},
    [KAPPA_TYPE_SMALLINT] = {'s', "smallint", "smallint[]"},
    [KAPPA_TYPE_INTEGER] = {'i', "integer", "integer[]"},
    [KAPPA_TYPE_BIGINT] = {'l', "bigint", "bigint[]"},
    [KAPPA_TYPE_NUMERIC] = {'n', "numeric", "numeric[]"},
    [KAPPA_TYPE_REAL] = {'f', "real", "real[]"},
    [KAPPA_TYPE_DOUBLE] = {'d', "double precision", "double precision[]"},
    [KAPPA_TYPE_TEXT] = {'t', "text", "text[]"},
    [KAPPA_TYPE_BYTEA] = {'y', "bytea", "bytea[]"},
    [KAPPA_TYPE_UUID] = {'u', "uuid", "uuid[]"},
    [KAPPA_TYPE_JSONB] = {'j', "jsonb", "jsonb[]"},
    [KAPPA_TYPE_DATE] = {'c', "date", "date[]"},
    [KAPPA_TYPE_TIMESTAMP] = {'p', "timestamp without time zone", "timestamp without time zone[]"},
    [KAPPA_TYPE_TIMESTAMPTZ] = {'z', "timestamp with time zone", "timestamp with time zone[]"},
    [KAPPA_TYPE_INTERVAL] = {'v', "interval", "interval[]"},
};

enum kappa_type function_letter_type(char letter)
{
    bool array = letter >= 'A' && letter <= 'Z';
    char element = (char)(letter | 0x20);
    unsigned type = 0;
    while (types[type].letter != element) {
        type++;
        ASSERT_CMP(type, <, KAPPA_TYPE_COUNT);
    }
    return array ? kappa_type_array_of((enum kappa_type)type) : (enum kappa_type)type;
}

const char *function_type_name(enum kappa_type type)
{
    unsigned element = kappa_type_element(type);
    ASSERT_CMP(element, <, KAPPA_TYPE_COUNT);
    return kappa_type_is_array(type) ? types[element].of_arrays : types[element].name;
}

static bool is_number(enum kappa_type type)
{
    return type >= KAPPA_TYPE_SMALLINT && type <= KAPPA_TYPE_DOUBLE;
}

static bool is_time(enum kappa_type type)
{
    return type >= KAPPA_TYPE_DATE && type <= KAPPA_TYPE_TIMESTAMPTZ;
}

bool function_converts(enum kappa_type from, enum kappa_type to)
{
    return from == to || from == KAPPA_TYPE_NULL ||
           (from < to && ((is_number(from) && is_number(to)) || (is_time(from) && is_time(to))));
}

#define COST_NEVER 1000u

/* What it costs to pass a value of type from as a parameter of type to. Wider whole numbers are the
 * nearest; then double precision, which PostgreSQL prefers to numeric unless the other operand is one;
 * nothing but real itself becomes real. */
static uint32_t conversion_cost(enum kappa_type from, enum kappa_type to)
{
    if (from == to || to == KAPPA_TYPE_NULL) {
        return 0;
    }
    if (to == KAPPA_TYPE_ARRAY) { /* of any elements */
        return kappa_type_is_array(from) ? 0 : COST_NEVER;
    }
    if (from == KAPPA_TYPE_NULL) {
        return to == KAPPA_TYPE_TEXT ? 1 : to == KAPPA_TYPE_DOUBLE ? 2 : 3;
    }
    if (!function_converts(from, to)) {
        return COST_NEVER;
    }
    switch ((unsigned)to) {
    case KAPPA_TYPE_DOUBLE:
        return from == KAPPA_TYPE_REAL ? 10 : from == KAPPA_TYPE_NUMERIC ? 60 : 40;
    case KAPPA_TYPE_NUMERIC:
        return 50;
    case KAPPA_TYPE_REAL:
        return 200;
    case KAPPA_TYPE_TIMESTAMP:
        return 20; /* of a date, which rather becomes timestamptz */
    case KAPPA_TYPE_TIMESTAMPTZ:
        return 10;
    default:
        return 10 * ((uint32_t)to - (uint32_t)from);
    }
}

char function_arg_letter(const struct function_row *row, uint32_t k)
{
    size_t len = strlen(row->args);
    bool more = len > 0 && row->args[len - 1] == '*';
    if (k + (size_t)more < len) {
        return row->args[k];
    }
    return more ? row->args[len - 2] : '\0';
}

static bool takes_count(const struct function_row *row, uint32_t count)
{
    size_t len = strlen(row->args);
    bool more = len > 0 && row->args[len - 1] == '*';
    return more ? count + 1 >= len : count == len;
}

static uint32_t row_cost(const struct function_row *row, const enum kappa_type *args,
                         uint32_t count)
{
    if (!takes_count(row, count)) {
        return COST_NEVER;
    }
    uint32_t cost = 0;
    for (uint32_t k = 0; k < count; k++) {
        char letter = function_arg_letter(row, k);
        cost += letter == 'a' ? 0 : conversion_cost(args[k], function_letter_type(letter));
    }
    return cost < COST_NEVER ? cost : COST_NEVER;
}

const struct function_row *function_find(enum function_kind kind, const char *name,
                                         const enum kappa_type *given, uint32_t count)
{
    if (count > FUNCTION_ARGS_MAX) {
        return NULL;
    }

    enum kappa_type args[FUNCTION_ARGS_MAX] = {KAPPA_TYPE_NULL};

    memcpy(args, given, sizeof *args * count);
    if (kind == FUNCTION_OPERATOR && count == 2) {
        /* A bare literal beside a typed operand is first read as that operand's type. */
        args[0] = given[0] == KAPPA_TYPE_NULL ? given[1] : given[0];
        args[1] = given[1] == KAPPA_TYPE_NULL ? given[0] : given[1];
    }
    const struct function_row *best = NULL;
    for (int attempt = 0; attempt < 2 && best == NULL; attempt++) {
        uint32_t best_cost = COST_NEVER;
        for (size_t i = 0; i < array_len(rows); i++) {
            if (rows[i].kind != kind || strcmp(rows[i].name, name) != 0) {
                continue;
            }
            uint32_t cost = row_cost(&rows[i], args, count);
            if (cost < best_cost) {
                best_cost = cost;
                best = &rows[i];
            }
        }
        memcpy(args, given, sizeof *args * count); /* then as whatever fits */
    }
    return best;
}
