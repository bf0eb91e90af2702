/* Numbers as decimal digits, without stdio: what readers print by the million. Nothing here writes a
 * NUL. */
#ifndef KAPPA_BASE_DIGITS_H
#define KAPPA_BASE_DIGITS_H

#include "base/base.h"

#define DIGITS_MAX       20 /* of a uint64_t */
#define DIGITS_SHORT_MAX 24 /* of digits_put_short: a sign, 0.000, 15 digits, and room */

/* The digits of value, at least `width` of them (zeros in front), at most DIGITS_MAX; the place
 * behind. */
char *digits_put(char *at, uint64_t value, int width);

/* The shortest decimal that reads back as this double, if it has at most 15 digits and lies between
 * 0.0001 and 10^15, as -12.5 or 3: the place behind, or `at` itself when it is another one (0, NaN,
 * infinities, and all that needs an exponent or more digits). There is one such decimal at most, and
 * printf("%.15g") prints it too. */
char *digits_put_short(char *at, double value);

#endif
