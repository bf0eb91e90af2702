/* The functions, operators and aggregates of SQL: the rows of functions.def, and how a call finds its
 * row. The table serves binding, did-you-mean, the reference and the test that evaluates every
 * example. */
#ifndef KAPPA_PROCESSOR_FUNCTIONS_H
#define KAPPA_PROCESSOR_FUNCTIONS_H

#include "processor/expr_step.h"
#include "processor/plan.h"

enum function_kind { FUNCTION_SCALAR, FUNCTION_OPERATOR, FUNCTION_AGGREGATE };

#define FUNCTION_ARGS_MAX 64

struct function_row {
    const char *name;
    const char *args;     /* a letter each, see functions.def */
    const char *result;   /* a letter; 'x': the argument's type */
    expr_run_fn run;      /* SCALAR, OPERATOR */
    const char *help;     /* one sentence */
    const char *example;  /* an expression; of aggregates over x in 1, 2, 2, null */
    const char *expected; /* its value cast to text */
    enum function_kind kind;
    enum plan_aggregate_kind aggregate; /* AGGREGATE */
};

/* All rows, in the order of functions.def. */
const struct function_row *function_rows(uint32_t *count);
/* True if any row of this kind has the name. */
bool function_exists(enum function_kind kind, const char *name);
/* The row that a call with these argument types means (KAPPA_TYPE_NULL: a bare literal or NULL), or
 * NULL. As PostgreSQL: exact types first, then the fewest and smallest promotions
 * (function_converts); a bare literal takes the type of the other operand, else prefers text. */
const struct function_row *function_find(enum function_kind kind, const char *name,
                                         const enum kappa_type *types, uint32_t count);
/* The letter of argument k of a call of the row; 0 when it takes no more. */
char function_arg_letter(const struct function_row *row, uint32_t k);
/* The type of a letter of functions.def; KAPPA_TYPE_NULL for 'x'. */
enum kappa_type function_letter_type(char letter);
/* PostgreSQL's name of a type; "unknown" for a bare literal. */
const char *function_type_name(enum kappa_type type);
/* smallint -> integer -> bigint -> numeric -> real -> double precision, date -> timestamp ->
 * timestamptz, and a bare literal to anything, without a cast written. */
bool function_converts(enum kappa_type from, enum kappa_type to);

#define SCALAR(name, args, result, run, help, example, expected)                                   \
    void run(const struct expr_step *step, const struct expr_frame *frame);
#define OPERATOR(name, args, result, run, help, example, expected)                                 \
    void run(const struct expr_step *step, const struct expr_frame *frame);
#define AGGREGATE(name, args, result, kind, help, example, expected)
#include "processor/functions.def"
#undef SCALAR
#undef OPERATOR
#undef AGGREGATE

#endif
