/* Exact decimals: struct kappa_numeric of include/kappa/row.h, and what is counted with them.
 *
 * A value has at most NUMERIC_DIGITS digits, of which at most NUMERIC_SCALE_MAX are behind the
 * point; none is NaN or infinite. Results have the digits behind the point that PostgreSQL gives
 * them. A result that would need more digits than there are is EXPR_ERROR_OVERFLOW, never a wrap and
 * never a rounded sum; only products and quotients give up digits at the end of their fraction, down
 * to those of the operand that has more of them. *out is not touched on error. */
#ifndef KAPPA_PROCESSOR_NUMERIC_H
#define KAPPA_PROCESSOR_NUMERIC_H

#include "base/base.h"
#include "processor/expr.h"

#define NUMERIC_DIGITS    38
#define NUMERIC_SCALE_MAX 38
/* Room for the text of a value: sign, "0.", digits. */
#define NUMERIC_TEXT      44

static inline int128 numeric_coefficient(struct kappa_numeric value)
{
    return (int128)((uint128)(uint64_t)value.high << 64 | value.low);
}

/* Has it at most NUMERIC_DIGITS digits? */
bool numeric_fits(int128 coefficient);

/* The coefficient fits. */
static inline struct kappa_numeric numeric_make(int128 coefficient, uint32_t scale)
{
    return (struct kappa_numeric){
        .low = (uint64_t)coefficient, .high = (int64_t)(coefficient >> 64), .scale = scale};
}

/* 10^n, n <= NUMERIC_DIGITS. */
uint128 numeric_power10(uint32_t n);
/* Decimal digits of a value below 10^NUMERIC_DIGITS; of 0: 1. */
uint32_t numeric_digits(uint128 value);

/* -1, 0, 1 by value: 1.0 is 1.00. */
int numeric_compare(struct kappa_numeric a, struct kappa_numeric b);

enum expr_state numeric_add(struct kappa_numeric a, struct kappa_numeric b,
                            struct kappa_numeric *out);
enum expr_state numeric_subtract(struct kappa_numeric a, struct kappa_numeric b,
                                 struct kappa_numeric *out);
enum expr_state numeric_multiply(struct kappa_numeric a, struct kappa_numeric b,
                                 struct kappa_numeric *out);
/* PostgreSQL's scale: at least 16 significant digits, and those behind the points of a and b. */
enum expr_state numeric_divide(struct kappa_numeric a, struct kappa_numeric b,
                               struct kappa_numeric *out);
/* With the sign of a. */
enum expr_state numeric_modulo(struct kappa_numeric a, struct kappa_numeric b,
                               struct kappa_numeric *out);
/* PostgreSQL's scale, as above; EXPR_ERROR_ARGUMENT below zero. */
enum expr_state numeric_sqrt(struct kappa_numeric a, struct kappa_numeric *out);

enum numeric_rounding {
    NUMERIC_NEAREST, /* halves away from zero */
    NUMERIC_TOWARDS_ZERO,
    NUMERIC_DOWN,
    NUMERIC_UP
};

/* The value with so many digits behind the point (before it, when digits is negative). */
enum expr_state numeric_round(struct kappa_numeric value, int64_t digits,
                              enum numeric_rounding rounding, struct kappa_numeric *out);

static inline struct kappa_numeric numeric_from_int(int64_t value)
{
    return numeric_make(value, 0);
}

/* Rounded to nearest, halves away from zero. */
enum expr_state numeric_to_int(struct kappa_numeric value, int64_t *out);
/* The nearest double. */
double numeric_to_double(struct kappa_numeric value);
/* The value of so many significant digits: 15 for a double, 6 for a real, as PostgreSQL. */
enum expr_state numeric_from_double(double value, int digits, struct kappa_numeric *out);
/* A number as SQL and JSON write it: sign, digits, point, exponent; nothing around it. */
enum expr_state numeric_parse(struct kappa_text text, struct kappa_numeric *out);
/* Not NUL-terminated; the length is returned. text has NUMERIC_TEXT bytes. */
uint32_t numeric_format(struct kappa_numeric value, char *text);

#endif
