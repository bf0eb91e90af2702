/* Expressions as flat steps over columns.
 *
 * A program is an array of steps in single-assignment form: each writes one register, reads earlier
 * ones. Evaluation is by step, then by row: each step is a plain loop over n rows. Registers are
 * vectors: one state byte a row, and payloads by type. There is no control flow: CASE,
 * COALESCE, AND, OR choose between computed values, and an error (division by zero, overflow) is a
 * state of the value that goes away when the value is not chosen. Three-valued logic as PostgreSQL;
 * false AND error is false, true OR error is true, whatever their order.
 *
 * The program is read-only and shared between threads; struct expr_vec registers belong to one
 * evaluator.
 */
#ifndef KAPPA_PROCESSOR_EXPR_H
#define KAPPA_PROCESSOR_EXPR_H

#include "base/arena.h"
#include "include/kappa/row.h"

/* State of one value. From EXPR_ERROR_FIRST on it is an error; expr_error_text names it. */
enum expr_state {
    EXPR_OK = 0,
    EXPR_NULL = 1,
    EXPR_ERROR_FIRST = 2,
    EXPR_ERROR_DIVISION = 2, /* division by zero */
    EXPR_ERROR_OVERFLOW = 3, /* out of the type's range */
    EXPR_ERROR_CAST = 4,     /* text is not a value of the type */
    EXPR_ERROR_LIMIT = 5,    /* text longer than a record may be */
    EXPR_ERROR_TYPE = 6,     /* decode: the JSON value has another type than the column */
    EXPR_ERROR_ARGUMENT = 7, /* a function does not take this value: an unknown unit, sqrt(-1)... */
    EXPR_ERROR_EFFORT = 8,   /* matching a pattern takes too many steps */
    EXPR_ERROR_FULL = 9,     /* an exact aggregate met more than it keeps in one group and source */
    EXPR_STATE_COUNT
};

const char *expr_error_text(enum expr_state state);

/* A vector of n values of one type. */
struct expr_vec {
    enum kappa_type type;
    uint8_t *state; /* enum expr_state per row */

    union { /* by kappa_type_payload */
        int64_t *i;
        double *d;
        struct kappa_text *s;
        struct kappa_numeric *n;
    };
};

struct expr_step; /* expr_step.h */

struct expr_program {
    const struct expr_step *steps;
    uint32_t step_count;
    uint32_t constant_count; /* the first steps depend on no input: run once, at open */
    uint32_t input_count;    /* registers 0 .. input_count - 1 are filled by the caller */
    uint32_t register_count;
    const enum kappa_type *types; /* register_count */
};

/* One thread's registers for a program. Constants are set once, at open. */
struct expr_machine {
    const struct expr_program *program;
    struct expr_vec *registers; /* register_count, each of `capacity` rows */
    uint32_t capacity;
    struct arena memory;  /* the registers and constants */
    struct arena scratch; /* texts made while evaluating; reset at each expr_run */
};

void expr_machine_open(struct expr_machine *machine, const struct expr_program *program,
                       uint32_t capacity);
/* Fills all registers behind the inputs for rows 0 .. n-1, n <= capacity. Pure. */
void expr_run(struct expr_machine *machine, uint32_t n);
/* The same in parts: a new batch (texts made before are gone), then steps [first, end). */
void expr_begin(struct expr_machine *machine);
void expr_run_steps(struct expr_machine *machine, uint32_t first, uint32_t end, uint32_t n);
void expr_machine_close(struct expr_machine *machine);

/* Bytes of one value in a vector of the type. */
size_t expr_payload_size(enum kappa_type type);
/* The value of register r at row i; text borrowed. An error state is given back as *state. */
struct kappa_value expr_value(const struct expr_vec *vec, uint32_t row, enum expr_state *state);
/* Sets row i to a value of the vector's type, or null; text is borrowed. */
void expr_set(struct expr_vec *vec, uint32_t row, const struct kappa_value *value);

#endif
