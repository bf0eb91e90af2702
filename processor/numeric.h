/* Exact decimals: struct kappa_numeric of include/kappa/row.h, and what is counted with them.
 *
 * Results have the digits behind the point that PostgreSQL gives them. A result that would need more
 * than NUMERIC_DIGITS digits is EXPR_ERROR_OVERFLOW, never a wrap. No value is NaN or infinite. */
#ifndef KAPPA_PROCESSOR_NUMERIC_H
#define KAPPA_PROCESSOR_NUMERIC_H

#include "base/base.h"
#include "include/kappa/row.h"

#define NUMERIC_DIGITS    38
#define NUMERIC_SCALE_MAX 38

static inline int128 numeric_coefficient(struct kappa_numeric value)
{
    return (int128)((uint128)(uint64_t)value.high << 64 | value.low);
}

/* The coefficient has at most NUMERIC_DIGITS digits. */
static inline struct kappa_numeric numeric_make(int128 coefficient, uint32_t scale)
{
    return (struct kappa_numeric){
        .low = (uint64_t)coefficient, .high = (int64_t)(coefficient >> 64), .scale = scale};
}

/* 10^n, n <= NUMERIC_DIGITS. */
uint128 numeric_power10(uint32_t n);

/* Decimal digits; of 0: 1. */
uint32_t numeric_digits(uint128 value);

/* -1, 0, 1 by value: 1.0 is 1.00. */
int numeric_compare(struct kappa_numeric a, struct kappa_numeric b);

#endif
