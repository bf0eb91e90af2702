/* Numbers as decimal digits, without stdio: what readers print by the million. Nothing here writes a
 * NUL. */
#ifndef KAPPA_BASE_DIGITS_H
#define KAPPA_BASE_DIGITS_H

#include "base/base.h"

#define DIGITS_MAX        20 /* of a uint64_t */
#define DIGITS_DOUBLE_MAX 24 /* of digits_put_double: a sign, 0.000, 17 digits */

extern const char digits_pairs[]; /* "00" to "99" */
extern const uint64_t digits_power10[DIGITS_MAX];

/* Two digits of a value below 100; the place behind. */
static inline char *digits_put_two(char *at, unsigned value)
{
    at[0] = digits_pairs[2 * value];
    at[1] = digits_pairs[2 * value + 1];
    return at + 2;
}

/* The digits of value, at least `width` of them (zeros in front), at most DIGITS_MAX; the place
 * behind. */
char *digits_put(char *at, uint64_t value, int width);

/* The shortest decimal that reads back as this double, of 15, 16 or 17 digits rounded as printf("%.16g")
 * rounds, zeros at the end left out, as -12.5 or 3: the place behind. Or `at` itself when it is one
 * for which there are slower ways: 0, NaN, infinities, numbers below 0.0001 or from 10^15 on, powers of
 * two of more than 15 digits. */
char *digits_put_double(char *at, double value);

#endif
