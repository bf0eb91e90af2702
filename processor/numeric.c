/* Arithmetic of exact decimals. Own header: numeric.h. Text and doubles: numeric_text.c. */
#include "processor/numeric.h"

#include "base/digits.h"

uint128 numeric_power10(uint32_t n)
{
    ASSERT_CMP(n, <=, NUMERIC_DIGITS);
    return n < DIGITS_MAX
               ? (uint128)digits_power10[n]
               : (uint128)digits_power10[DIGITS_MAX - 1] * digits_power10[n - (DIGITS_MAX - 1)];
}

uint32_t numeric_digits(uint128 value)
{
    uint32_t least = u128_bits(value) * 1233 >> 12; /* 1233 / 4096 is a little below log10(2) */
    uint32_t count = least + (value >= numeric_power10(least) ? 1 : 0);
    return count == 0 ? 1 : count;
}

bool numeric_fits(int128 coefficient)
{
    return i128_magnitude(coefficient) < numeric_power10(NUMERIC_DIGITS);
}

/* The value with this sign and size, or an error when it has too many digits. */
static enum expr_state finish(bool negative, uint128 size, uint32_t scale,
                              struct kappa_numeric *out)
{
    if (size >= numeric_power10(NUMERIC_DIGITS)) {
        return EXPR_ERROR_OVERFLOW;
    }
    *out = numeric_make(negative ? -(int128)size : (int128)size, scale);
    return EXPR_OK;
}

int numeric_compare(struct kappa_numeric a, struct kappa_numeric b)
{
    int128 x = numeric_coefficient(a);
    int128 y = numeric_coefficient(b);
    if (a.scale != b.scale && x != 0 && y != 0) {
        bool first = a.scale < b.scale;
        uint32_t apart = first ? b.scale - a.scale : a.scale - b.scale;
        int128 *widened = first ? &x : &y;
        int sign = *widened < 0 ? -1 : 1;
        if (__builtin_mul_overflow(*widened, (int128)numeric_power10(apart), widened)) {
            return first ? sign : -sign; /* it is beyond all coefficients */
        }
    }
    return (x > y) - (x < y);
}

/* ---- Sums. */

enum expr_state numeric_add(struct kappa_numeric a, struct kappa_numeric b,
                            struct kappa_numeric *out)
{
    int128 x = numeric_coefficient(a);
    int128 y = numeric_coefficient(b);
    uint32_t scale = a.scale > b.scale ? a.scale : b.scale;
    int128 sum = 0;
    if ((a.scale < scale &&
         __builtin_mul_overflow(x, (int128)numeric_power10(scale - a.scale), &x)) ||
        (b.scale < scale &&
         __builtin_mul_overflow(y, (int128)numeric_power10(scale - b.scale), &y)) ||
        __builtin_add_overflow(x, y, &sum)) {
        return EXPR_ERROR_OVERFLOW;
    }
    return finish(sum < 0, i128_magnitude(sum), scale, out);
}

enum expr_state numeric_subtract(struct kappa_numeric a, struct kappa_numeric b,
                                 struct kappa_numeric *out)
{
    return numeric_add(a, numeric_make(-numeric_coefficient(b), b.scale), out);
}

/* ---- 256 bits, for products and quotients. */

struct wide {
    uint128 high;
    uint128 low;
};

static struct wide wide_multiply(uint128 a, uint128 b)
{
    uint64_t a0 = (uint64_t)a;
    uint64_t a1 = (uint64_t)(a >> 64);
    uint64_t b0 = (uint64_t)b;
    uint64_t b1 = (uint64_t)(b >> 64);
    uint128 low = (uint128)a0 * b0;
    uint128 middle = (uint128)a1 * b0 + (uint64_t)(low >> 64);
    uint128 other = (uint128)a0 * b1 + (uint64_t)middle;
    return (struct wide){(uint128)a1 * b1 + (uint64_t)(middle >> 64) + (uint64_t)(other >> 64),
                         other << 64 | (uint64_t)low};
}

/* One digit to base 2^64 of a long division: the quotient of rest * 2^64 + next by divisor, whose
 * top bit is set; rest < divisor. *rest becomes the remainder. */
static uint64_t divide_step(uint128 *rest, uint64_t next, uint128 divisor)
{
    uint64_t high = (uint64_t)(divisor >> 64);
    uint64_t low = (uint64_t)divisor;
    uint128 digit = *rest / high;
    uint128 left = *rest - digit * high;
    while (digit >> 64 != 0 || digit * low > (left << 64 | next)) {
        digit--;
        left += high;
        if (left >> 64 != 0) {
            break;
        }
    }
    *rest = (*rest << 64 | next) - digit * divisor; /* modulo 2^128, where it fits */
    return (uint64_t)digit;
}

/* value / divisor, cut; value.high < divisor, so that the quotient fits. */
static uint128 wide_divide(struct wide value, uint128 divisor, uint128 *remainder)
{
    if (value.high == 0) {
        *remainder = value.low % divisor;
        return value.low / divisor;
    }
    ASSERT(divisor != 0);
    ASSERT(value.high < divisor);
    uint32_t shift = 128 - u128_bits(divisor);
    divisor <<= shift;
    uint128 rest = value.high;
    if (shift > 0) {
        rest = value.high << shift | value.low >> (128 - shift);
        value.low <<= shift;
    }
    uint64_t first = divide_step(&rest, (uint64_t)(value.low >> 64), divisor);
    uint64_t second = divide_step(&rest, (uint64_t)value.low, divisor);
    *remainder = rest >> shift;
    return (uint128)first << 64 | second;
}

/* The same, to nearest, halves away from zero; false when it has more than NUMERIC_DIGITS digits. */
static bool wide_divide_nearest(struct wide value, uint128 divisor, uint128 *quotient)
{
    if (value.high >= divisor) {
        return false;
    }
    uint128 rest = 0;
    uint128 result = wide_divide(value, divisor, &rest);
    if (result >= numeric_power10(NUMERIC_DIGITS)) {
        return false;
    }
    *quotient = result + (rest >= divisor - rest ? 1 : 0);
    return *quotient < numeric_power10(NUMERIC_DIGITS);
}

/* ---- Products and quotients. */

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

enum expr_state numeric_multiply(struct kappa_numeric a, struct kappa_numeric b,
                                 struct kappa_numeric *out)
{
    int128 x = numeric_coefficient(a);
    int128 y = numeric_coefficient(b);
    uint32_t scale = a.scale + b.scale;
    uint32_t least = larger(a.scale, b.scale);
    struct wide product = wide_multiply(i128_magnitude(x), i128_magnitude(y));
    uint32_t drop = scale > NUMERIC_SCALE_MAX ? scale - NUMERIC_SCALE_MAX : 0;
    for (; scale >= least + drop; drop++) {
        uint128 size = 0;
        if (wide_divide_nearest(product, numeric_power10(drop), &size)) {
            return finish((x < 0) != (y < 0), size, scale - drop, out);
        }
    }
    return EXPR_ERROR_OVERFLOW;
}

/* Where the leading digit of a value lies, to base 10000 as PostgreSQL counts: value = first *
 * 10000^weight + ..., 1 <= first <= 9999; 0 and 0 for zero. */
static void leading(struct kappa_numeric value, int *weight, int *first)
{
    uint128 size = i128_magnitude(numeric_coefficient(value));
    *weight = 0;
    *first = 0;
    if (size == 0) {
        return;
    }
    int digits = (int)numeric_digits(size);
    int exponent = digits - 1 - (int)value.scale; /* of the leading decimal digit */
    *weight = exponent >= 0 ? exponent / 4 : -((3 - exponent) / 4);
    int take = exponent - 4 * *weight + 1; /* decimal digits of `first` */
    *first = (int)(digits >= take ? size / numeric_power10((uint32_t)(digits - take))
                                  : size * numeric_power10((uint32_t)(take - digits)));
}

/* At least 16 significant digits of a / b, all of them behind the point that a or b has. */
static uint32_t quotient_scale(struct kappa_numeric a, struct kappa_numeric b)
{
    int weight_a = 0;
    int weight_b = 0;
    int first_a = 0;
    int first_b = 0;
    leading(a, &weight_a, &first_a);
    leading(b, &weight_b, &first_b);
    int weight = weight_a - weight_b - (first_a <= first_b ? 1 : 0);
    int scale = 16 - 4 * weight;
    return larger(scale > 0 ? (uint32_t)scale : 0, larger(a.scale, b.scale));
}

/* x * 10^power / y, to nearest; false when it has more than NUMERIC_DIGITS digits. power <= 2 *
 * NUMERIC_DIGITS: the digits are divided out in two parts. */
static bool scaled_quotient(uint128 x, uint128 y, uint32_t power, uint128 *quotient)
{
    uint32_t once = power < NUMERIC_DIGITS ? power : NUMERIC_DIGITS;
    uint128 shift = numeric_power10(power - once);
    uint128 rest = 0;
    struct wide top = wide_multiply(x, numeric_power10(once));
    if (top.high >= y) {
        return false;
    }
    struct wide first = wide_multiply(wide_divide(top, y, &rest), shift);
    uint128 second = wide_divide(wide_multiply(rest, shift), y, &rest);
    if (first.high != 0 || first.low >= numeric_power10(NUMERIC_DIGITS)) {
        return false;
    }
    *quotient = first.low + second + (rest >= y - rest ? 1 : 0);
    return *quotient < numeric_power10(NUMERIC_DIGITS);
}

enum expr_state numeric_divide(struct kappa_numeric a, struct kappa_numeric b,
                               struct kappa_numeric *out)
{
    int128 x = numeric_coefficient(a);
    int128 y = numeric_coefficient(b);
    uint32_t least = larger(a.scale, b.scale);
    if (y == 0) {
        return EXPR_ERROR_DIVISION;
    }
    uint32_t scale = quotient_scale(a, b);
    scale = scale < NUMERIC_SCALE_MAX ? scale : NUMERIC_SCALE_MAX;
    for (uint32_t drop = 0; drop <= scale - least; drop++) {
        uint128 size = 0;
        /* x / 10^a.scale / (y / 10^b.scale) * 10^scale; the power is at least 0. */
        if (scaled_quotient(i128_magnitude(x), i128_magnitude(y), scale - drop + b.scale - a.scale,
                            &size)) {
            return finish((x < 0) != (y < 0), size, scale - drop, out);
        }
    }
    return EXPR_ERROR_OVERFLOW;
}

enum expr_state numeric_modulo(struct kappa_numeric a, struct kappa_numeric b,
                               struct kappa_numeric *out)
{
    int128 x = numeric_coefficient(a);
    int128 y = numeric_coefficient(b);
    if (y == 0) {
        return EXPR_ERROR_DIVISION;
    }
    uint32_t scale = larger(a.scale, b.scale);
    struct wide top = wide_multiply(i128_magnitude(x), numeric_power10(scale - a.scale));
    struct wide bottom = wide_multiply(i128_magnitude(y), numeric_power10(scale - b.scale));
    uint128 rest = 0;
    if (bottom.high != 0) { /* then a has the larger scale, and is the smaller value */
        return finish(x < 0, top.low, scale, out);
    }
    uint128 high = top.high % bottom.low;
    (void)wide_divide((struct wide){high, top.low}, bottom.low, &rest);
    return finish(x < 0, rest, scale, out);
}

/* The root, cut, of value; bit by bit. */
static uint128 wide_root(struct wide value)
{
    uint128 root = 0;
    for (int bit = 127; bit >= 0; bit--) {
        uint128 next = root | (uint128)1 << bit;
        struct wide square = wide_multiply(next, next);
        bool below =
            square.high < value.high || (square.high == value.high && square.low <= value.low);
        root = below ? next : root;
    }
    return root;
}

enum expr_state numeric_sqrt(struct kappa_numeric a, struct kappa_numeric *out)
{
    int128 x = numeric_coefficient(a);
    if (x < 0) {
        return EXPR_ERROR_ARGUMENT;
    }
    int weight = 0;
    int first = 0;
    leading(a, &weight, &first);
    int half = (weight + 1) * 4 / 2 - 1;
    int wanted = 16 - half;
    uint32_t scale = larger(wanted > 0 ? (uint32_t)wanted : 0, a.scale);
    scale = scale < NUMERIC_SCALE_MAX ? scale : NUMERIC_SCALE_MAX;
    for (; 2 * scale >= a.scale; scale--) {
        uint32_t power = 2 * scale - a.scale;
        uint32_t once = power < NUMERIC_DIGITS ? power : NUMERIC_DIGITS;
        struct wide value = wide_multiply(i128_magnitude(x), numeric_power10(once));
        bool fits = power == once || value.high == 0;
        if (fits && power > once) {
            value = wide_multiply(value.low, numeric_power10(power - once));
        }
        uint128 root = fits ? wide_root(value) : 0;
        if (fits && root < numeric_power10(NUMERIC_DIGITS)) {
            /* The root of a whole number never ends in exactly one half. */
            struct wide square = wide_multiply(root, root);
            uint128 rest = value.low - square.low;
            return finish(false, root + (rest > root ? 1 : 0), scale, out);
        }
        if (scale == 0) {
            break;
        }
    }
    return EXPR_ERROR_OVERFLOW;
}

/* ---- Rounding. */

static uint128 round_up(enum numeric_rounding rounding, bool negative, uint128 rest,
                        uint128 divisor)
{
    switch (rounding) {
    case NUMERIC_NEAREST:
        return rest >= divisor - rest;
    case NUMERIC_DOWN:
        return negative && rest != 0;
    case NUMERIC_UP:
        return !negative && rest != 0;
    case NUMERIC_TOWARDS_ZERO:
        break;
    }
    return 0;
}

enum expr_state numeric_round(struct kappa_numeric value, int64_t digits,
                              enum numeric_rounding rounding, struct kappa_numeric *out)
{
    int128 x = numeric_coefficient(value);
    uint128 size = i128_magnitude(x);
    digits = digits > NUMERIC_SCALE_MAX ? NUMERIC_SCALE_MAX : digits;
    if (digits >= (int64_t)value.scale) {
        struct wide padded = wide_multiply(size, numeric_power10((uint32_t)digits - value.scale));
        return padded.high != 0 ? EXPR_ERROR_OVERFLOW
                                : finish(x < 0, padded.low, (uint32_t)digits, out);
    }
    uint32_t scale = digits < 0 ? 0 : (uint32_t)digits;
    int64_t drop = (int64_t)value.scale - digits;
    if (digits < -NUMERIC_DIGITS || drop > NUMERIC_DIGITS) { /* all digits, and at least one zero */
        bool away = (rounding == NUMERIC_UP && x > 0) || (rounding == NUMERIC_DOWN && x < 0);
        *out = numeric_make(0, scale);
        return away ? EXPR_ERROR_OVERFLOW : EXPR_OK;
    }
    uint128 divisor = numeric_power10((uint32_t)drop);
    size = size / divisor + round_up(rounding, x < 0, size % divisor, divisor);
    uint32_t zeros = digits < 0 ? (uint32_t)-digits : 0;
    struct wide result = wide_multiply(size, numeric_power10(zeros));
    return result.high != 0 ? EXPR_ERROR_OVERFLOW : finish(x < 0, result.low, scale, out);
}

enum expr_state numeric_to_int(struct kappa_numeric value, int64_t *out)
{
    struct kappa_numeric whole;
    if (numeric_round(value, 0, NUMERIC_NEAREST, &whole) != EXPR_OK) {
        return EXPR_ERROR_OVERFLOW;
    }
    int128 result = numeric_coefficient(whole);
    if (result != (int64_t)result) {
        return EXPR_ERROR_OVERFLOW;
    }
    *out = (int64_t)result;
    return EXPR_OK;
}
