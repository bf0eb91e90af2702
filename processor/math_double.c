/* Functions of doubles by double-double arithmetic. Own header: math_double.h.
 *
 * exp and log reduce by powers of two and sum series; sine and cosine reduce by pi/2 in whole numbers
 * (M. Payne, R. Hanek, "Radian reduction for trigonometric functions", SIGNUM Newsletter 18, 1983); arc
 * functions come from one arc tangent with a table of 17 places. Constants: the nearest double and the
 * nearest double of the rest. */
#include "processor/math_double.h"

#include "base/base.h"
#include "processor/double_double.h"

#include <string.h>

static const struct dd pi = {0x1.921fb54442d18p+1, 0x1.1a62633145c07p-53};
static const struct dd half_pi = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};
static const struct dd ln2_rest = {0x1.a39ef35793c76p-33, 0x1.cc01f97b57a08p-87};
static const double ln2_head = 0x1.62e42fee00000p-1; /* 32 bits: exact times an exponent */
static const struct dd ln10_inverse = {0x1.bcb7b1526e50ep-2, 0x1.95355baaafad3p-57};

/* coefficients[0] + x * (coefficients[1] + x * ...) */
static double polynomial(const double *coefficients, int count, double x)
{
    double sum = coefficients[count - 1];
    for (int i = count - 2; i >= 0; i--) {
        sum = sum * x + coefficients[i];
    }
    return sum;
}

static double rounded(struct dd value)
{
    return value.hi + value.lo;
}

/* ---- exp */

/* e^x for -760 < x < 720. */
static double exp_of(struct dd x)
{
    static const double inverse_factorials[] = {
        1.0 / 2.0,          1.0 / 6.0,        1.0 / 24.0,        1.0 / 120.0,
        1.0 / 720.0,        1.0 / 5040.0,     1.0 / 40320.0,     1.0 / 362880.0,
        1.0 / 3628800.0,    1.0 / 39916800.0, 1.0 / 479001600.0, 1.0 / 6227020800.0,
        1.0 / 87178291200.0};
    double k = rint(x.hi / ln2_head);
    struct dd r = dd_sum(x.hi, -k * ln2_head);
    struct dd rest = dd_product(-k, ln2_rest.hi);
    rest.lo += x.lo - k * ln2_rest.lo;
    r = dd_add(r, dd_quick(rest.hi, rest.lo));
    double square = r.hi * r.hi;
    double series = square * polynomial(inverse_factorials, array_len(inverse_factorials), r.hi);
    struct dd sum = dd_sum(1.0, r.hi);
    return ldexp(sum.hi + (sum.lo + (r.lo + r.lo * r.hi + series)), (int)k);
}

double math_exp(double x)
{
    if (isnan(x) || x > 720.0) {
        return isnan(x) ? x : (double)INFINITY;
    }
    return x < -760.0 ? 0.0 : exp_of((struct dd){x, 0.0});
}

/* ---- log */

/* ln x for finite x > 0, within 2^-70 of it: 2 atanh((m - 1) / (m + 1)) + k ln 2. */
static struct dd log_of(double x)
{
    static const double tail[] = {1.0 / 9.0,  1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0,
                                  1.0 / 17.0, 1.0 / 19.0, 1.0 / 21.0, 1.0 / 23.0,
                                  1.0 / 25.0, 1.0 / 27.0, 1.0 / 29.0};
    static const struct dd third = {0x1.5555555555555p-2, 0x1.5555555555555p-56};
    static const struct dd fifth = {0x1.999999999999ap-3, -0x1.999999999999ap-57};
    static const struct dd seventh = {0x1.2492492492492p-3, 0x1.2492492492492p-57};
    const double half_root = 0.70710678118654752;
    int k;
    double m = frexp(x, &k);
    if (m < half_root) {
        m *= 2.0;
        k--;
    }
    struct dd s = dd_divide((struct dd){m - 1.0, 0.0}, dd_sum(m, 1.0));
    struct dd z = dd_multiply(s, s);
    struct dd sum = {z.hi * polynomial(tail, array_len(tail), z.hi), 0.0};
    sum = dd_multiply(z, dd_add(seventh, sum));
    sum = dd_multiply(z, dd_add(fifth, sum));
    sum = dd_multiply(z, dd_add(third, sum));
    sum = dd_add(s, dd_multiply(s, sum));
    sum = (struct dd){2.0 * sum.hi, 2.0 * sum.lo};
    struct dd rest = dd_product(k, ln2_rest.hi);
    rest = dd_quick(rest.hi, rest.lo + k * ln2_rest.lo);
    return dd_add(dd_add((struct dd){k * ln2_head, 0.0}, rest), sum);
}

/* Where log_of does not reach: NaN, 0, negative, infinite. */
static bool log_special(double x, double *result)
{
    if (x > 0.0 && !isinf(x)) {
        return false;
    }
    *result = x == 0.0 ? -(double)INFINITY : x > 0.0 || isnan(x) ? x : (double)NAN;
    return true;
}

double math_log(double x)
{
    double result;
    return log_special(x, &result) ? result : rounded(log_of(x));
}

double math_log10(double x)
{
    double result;
    return log_special(x, &result) ? result : rounded(dd_multiply(log_of(x), ln10_inverse));
}

double math_log_base(double base, double x)
{
    double ignored;
    if (log_special(base, &ignored) || log_special(x, &ignored)) {
        return math_log(x) / math_log(base);
    }
    struct dd below = log_of(base);
    return below.hi == 0.0 ? math_log(x) / 0.0 : rounded(dd_divide(log_of(x), below));
}

/* ---- power */

/* x^y for finite x > 0 and finite y. */
static double power_of(double x, double y)
{
    struct dd log = log_of(x);
    double size = log.hi * y;
    if (size > 720.0) {
        return (double)INFINITY;
    }
    if (size < -760.0) {
        return 0.0;
    }
    return log.hi == 0.0 || y == 0.0 || fabs(size) < 0x1p-60
               ? 1.0
               : exp_of(dd_multiply(log, (struct dd){y, 0.0}));
}

static bool is_odd(double y)
{
    return fabs(y) < 0x1p53 && floor(y) == y && floor(y / 2.0) != y / 2.0;
}

static double power_of_zero(double x, double y)
{
    double size = y < 0.0 ? (double)INFINITY : 0.0;
    return is_odd(y) ? copysign(size, x) : size;
}

static double power_of_infinity(double x, double y)
{
    double size = y < 0.0 ? 0.0 : (double)INFINITY;
    return is_odd(y) ? copysign(size, x) : size;
}

double math_power(double x, double y)
{
    if (y == 0.0 || x == 1.0) {
        return 1.0;
    }
    if (isnan(x) || isnan(y)) {
        return (double)NAN;
    }
    if (isinf(y)) {
        bool one = fabs(x) == 1.0;
        bool grows = (fabs(x) > 1.0) == (y > 0.0);
        return one ? 1.0 : grows ? (double)INFINITY : 0.0;
    }
    if (x == 0.0) {
        return power_of_zero(x, y);
    }
    if (isinf(x)) {
        return power_of_infinity(x, y);
    }
    if (x < 0.0 && floor(y) != y) {
        return (double)NAN;
    }
    double size = power_of(fabs(x), y);
    return x < 0.0 && is_odd(y) ? -size : size;
}

double math_cbrt(double x)
{
    if (x == 0.0 || !isfinite(x)) {
        return x;
    }
    int exponent;
    double m = frexp(fabs(x), &exponent);
    int third = exponent >= 0 ? exponent / 3 : -((2 - exponent) / 3);
    m = ldexp(m, exponent - 3 * third); /* 0.5 <= m < 4 */
    double root = 0.55 + 0.36 * m;
    for (int i = 0; i < 5; i++) {
        root = (2.0 * root + m / (root * root)) / 3.0;
    }
    struct dd cube = dd_multiply(dd_product(root, root), (struct dd){root, 0.0});
    root += ((m - cube.hi) - cube.lo) / (3.0 * root * root);
    return copysign(ldexp(root, third), x);
}

/* ---- Sine, cosine, tangent. */

/* 2/pi: 64 bits of zero, then the first 1280 behind the point. */
static const uint64_t two_over_pi[] = {
    UINT64_C(0x0000000000000000), UINT64_C(0xA2F9836E4E441529), UINT64_C(0xFC2757D1F534DDC0),
    UINT64_C(0xDB6295993C439041), UINT64_C(0xFE5163ABDEBBC561), UINT64_C(0xB7246E3A424DD2E0),
    UINT64_C(0x06492EEA09D1921C), UINT64_C(0xFE1DEB1CB129A73E), UINT64_C(0xE88235F52EBB4484),
    UINT64_C(0xE99C7026B45F7E41), UINT64_C(0x3991D639835339F4), UINT64_C(0x9C845F8BBDF9283B),
    UINT64_C(0x1FF897FFDE05980F), UINT64_C(0xEF2F118B5A0A6D1F), UINT64_C(0x6D367ECF27CB09B7),
    UINT64_C(0x4F463F669E5FEA2D), UINT64_C(0x7527BAC7EBE5F17B), UINT64_C(0x3D0739F78A5292EA),
    UINT64_C(0x6BFB5FB11F8D5D08), UINT64_C(0x56033046FC7B6BAB), UINT64_C(0xF0CFBC209AF4361D)};

#define WINDOW 4 /* words */

/* WINDOW words of two_over_pi from a bit on, most significant first. */
static void window_at(unsigned bit, uint64_t *words)
{
    unsigned shift = bit % 64;
    for (unsigned i = 0; i < WINDOW; i++) {
        const uint64_t *at = &two_over_pi[bit / 64 + i];
        words[i] = shift == 0 ? at[0] : at[0] << shift | at[1] >> (64 - shift);
    }
}

/* words *= factor, modulo 2^256. */
static void multiply_words(uint64_t *words, uint64_t factor)
{
    uint128 carry = 0;
    for (unsigned i = WINDOW; i-- > 0;) {
        carry += (uint128)words[i] * factor;
        words[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

static void negate_words(uint64_t *words)
{
    uint64_t carry = 1;
    for (unsigned i = WINDOW; i-- > 0;) {
        words[i] = ~words[i] + carry;
        carry = carry == 1 && words[i] == 0 ? 1 : 0;
    }
}

/* The words as a fraction: the point is in front of the first bit. */
static struct dd fraction_of(const uint64_t *words)
{
    struct dd sum = {0.0, 0.0};
    double unit = 0x1p-32;
    for (unsigned i = 0; i < 2 * WINDOW; i++) {
        uint32_t half = (uint32_t)(words[i / 2] >> (i % 2 == 0 ? 32 : 0));
        sum = dd_add(sum, (struct dd){half * unit, 0.0});
        unit *= 0x1p-32;
    }
    return sum;
}

/* x = (4 n + *quadrant) pi/2 + the result, which lies within pi/4 of 0. x is finite.
 *
 * x = m 2^e with m of 53 bits. Bits of 2/pi whose product with 2^e is a multiple of 4 do not matter; of
 * the next 256, times m, the two in front of the point are the quadrant. What is cut off is below
 * 2^-200. */
static struct dd reduce(double x, unsigned *quadrant)
{
    const double quarter_pi = 0.78539816339744831;
    *quadrant = 0;
    if (fabs(x) <= quarter_pi) {
        return (struct dd){x, 0.0};
    }
    int e;
    uint64_t m = (uint64_t)ldexp(frexp(fabs(x), &e), 53);
    e -= 53;
    ASSERT_CMP(e, >=, -53);
    ASSERT_CMP(e, <=, 971);

    uint64_t words[WINDOW];

    window_at((unsigned)(e - 2 + 64), words);
    multiply_words(words, m);
    *quadrant = (unsigned)(words[0] >> 62);
    for (unsigned i = 0; i < WINDOW; i++) {
        words[i] = words[i] << 2 | (i + 1 < WINDOW ? words[i + 1] >> 62 : 0);
    }
    bool up = words[0] >> 63 != 0; /* nearer to the next multiple */
    if (up) {
        negate_words(words);
        (*quadrant)++;
    }
    struct dd angle = dd_multiply(fraction_of(words), half_pi);
    bool negative = up != (x < 0.0);
    *quadrant = (x < 0.0 ? 0U - *quadrant : *quadrant) & 3U;
    return negative ? dd_negate(angle) : angle;
}

/* Within pi/4 of 0. */
static struct dd sin_of(struct dd x)
{
    static const double series[] = {-1.0 / 6.0,
                                    1.0 / 120.0,
                                    -1.0 / 5040.0,
                                    1.0 / 362880.0,
                                    -1.0 / 39916800.0,
                                    1.0 / 6227020800.0,
                                    -1.0 / 1307674368000.0,
                                    1.0 / 355687428096000.0,
                                    -1.0 / 121645100408832000.0};
    double square = x.hi * x.hi;
    double rest = x.hi * square * polynomial(series, array_len(series), square);
    return dd_quick(x.hi, rest + x.lo * (1.0 - square / 2.0));
}

static struct dd cos_of(struct dd x)
{
    static const double series[] = {
        1.0 / 24.0,        -1.0 / 720.0,         1.0 / 40320.0,          -1.0 / 3628800.0,
        1.0 / 479001600.0, -1.0 / 87178291200.0, 1.0 / 20922789888000.0, -1.0 / 6402373705728000.0};
    double square = x.hi * x.hi;
    struct dd half = dd_product(x.hi, x.hi / 2.0);
    struct dd sum = dd_sum(1.0, -half.hi);
    double rest = square * square * polynomial(series, array_len(series), square);
    return dd_quick(sum.hi, sum.lo + (rest - half.lo - x.hi * x.lo));
}

/* Small x: the square would vanish, and is not needed. */
static bool negligible(double x)
{
    return fabs(x) < 0x1p-30;
}

double math_sin(double x)
{
    if (!isfinite(x) || negligible(x)) {
        return isfinite(x) ? x : (double)NAN;
    }
    unsigned quadrant;
    struct dd angle = reduce(x, &quadrant);
    double size = rounded(quadrant % 2 == 0 ? sin_of(angle) : cos_of(angle));
    return quadrant < 2 ? size : -size;
}

double math_cos(double x)
{
    if (!isfinite(x) || negligible(x)) {
        return isfinite(x) ? 1.0 : (double)NAN;
    }
    unsigned quadrant;
    struct dd angle = reduce(x, &quadrant);
    double size = rounded(quadrant % 2 == 0 ? cos_of(angle) : sin_of(angle));
    return quadrant == 0 || quadrant == 3 ? size : -size;
}

double math_tan(double x)
{
    if (!isfinite(x) || negligible(x)) {
        return isfinite(x) ? x : (double)NAN;
    }
    unsigned quadrant;
    struct dd angle = reduce(x, &quadrant);
    struct dd sine = sin_of(angle);
    struct dd cosine = cos_of(angle);
    return rounded(quadrant % 2 == 0 ? dd_divide(sine, cosine)
                                     : dd_negate(dd_divide(cosine, sine)));
}

/* ---- Arc functions. */

/* The angle of the point (x, y), both >= 0 and one > 0, between 0 and pi/2; the larger is near 1. */
static struct dd angle_of(struct dd y, struct dd x)
{
    static const struct dd places[] = {{0.0, 0.0},
                                       {0x1.ff55bb72cfdeap-5, -0x1.c934d86d23f1dp-60},
                                       {0x1.fd5ba9aac2f6ep-4, -0x1.cd37686760c17p-59},
                                       {0x1.7b97b4bce5b02p-3, 0x1.347b0b4f881cap-58},
                                       {0x1.f5b75f92c80ddp-3, 0x1.8ab6e3cf7afbdp-57},
                                       {0x1.362773707ebccp-2, -0x1.963a544b672d8p-57},
                                       {0x1.6f61941e4def1p-2, -0x1.c63aae6f6e918p-56},
                                       {0x1.a64eec3cc23fdp-2, -0x1.24dec1b50b7ffp-56},
                                       {0x1.dac670561bb4fp-2, 0x1.a2b7f222f65e2p-56},
                                       {0x1.0657e94db30d0p-1, -0x1.d5b495f6349e6p-56},
                                       {0x1.1e00babdefeb4p-1, -0x1.928df287a668fp-58},
                                       {0x1.345f01cce37bbp-1, 0x1.1021137c71102p-55},
                                       {0x1.4978fa3269ee1p-1, 0x1.2419a87f2a458p-56},
                                       {0x1.5d58987169b18p-1, 0x1.0028e4bc5e7cap-57},
                                       {0x1.700a7c5784634p-1, -0x1.8c34d25aadef6p-56},
                                       {0x1.819d0b7158a4dp-1, -0x1.bf76229d3b917p-56},
                                       {0x1.921fb54442d18p-1, 0x1.1a62633145c07p-55}};
    static const double series[] = {-1.0 / 3.0, 1.0 / 5.0,   -1.0 / 7.0,
                                    1.0 / 9.0,  -1.0 / 11.0, 1.0 / 13.0};
    bool steep = y.hi > x.hi;
    struct dd slope = steep ? dd_divide(x, y) : dd_divide(y, x);
    double place = rint(slope.hi * 16.0);
    struct dd from = {place / 16.0, 0.0};
    struct dd step = dd_divide(dd_add(slope, dd_negate(from)),
                               dd_add((struct dd){1.0, 0.0}, dd_multiply(slope, from)));
    double square = step.hi * step.hi;
    double rest = step.hi * square * polynomial(series, array_len(series), square);
    struct dd angle = dd_add(places[(int)place], dd_quick(step.hi, step.lo + rest));
    return steep ? dd_add(half_pi, dd_negate(angle)) : angle;
}

/* The angle of a point that is no infinity and no NaN. */
static double angle_of_point(double y, double x)
{
    bool back = signbit(x) != 0;
    if (y == 0.0) {
        return back ? copysign(pi.hi, y) : y;
    }
    int y_exponent;
    int x_exponent;
    (void)frexp(y, &y_exponent);
    (void)frexp(x, &x_exponent);
    if (x == 0.0 || y_exponent - x_exponent > 60) {
        return copysign(half_pi.hi, y);
    }
    if (x_exponent - y_exponent > 60) {
        return back ? copysign(pi.hi, y) : y / x;
    }
    int scale = y_exponent > x_exponent ? y_exponent : x_exponent;
    struct dd angle = angle_of((struct dd){ldexp(fabs(y), -scale), 0.0},
                               (struct dd){ldexp(fabs(x), -scale), 0.0});
    if (back) {
        angle = dd_add(pi, dd_negate(angle));
    }
    return copysign(rounded(angle), y);
}

double math_atan2(double y, double x)
{
    if (isnan(x) || isnan(y)) {
        return (double)NAN;
    }
    if (isinf(x) || isinf(y)) { /* only the direction matters */
        return angle_of_point(copysign(isinf(y) ? 1.0 : 0.0, y), copysign(isinf(x) ? 1.0 : 0.0, x));
    }
    return angle_of_point(y, x);
}

double math_atan(double x)
{
    return math_atan2(x, 1.0);
}

/* The other leg of a right triangle: sqrt(1 - x^2), |x| <= 1. */
static struct dd other_leg(double x)
{
    return dd_sqrt(dd_multiply(dd_sum(1.0, -x), dd_sum(1.0, x)));
}

double math_asin(double x)
{
    if (!(fabs(x) <= 1.0)) {
        return (double)NAN;
    }
    if (negligible(x)) {
        return x;
    }
    return copysign(rounded(angle_of((struct dd){fabs(x), 0.0}, other_leg(x))), x);
}

double math_acos(double x)
{
    if (!(fabs(x) <= 1.0)) {
        return (double)NAN;
    }
    if (negligible(x)) {
        return rounded(dd_add(half_pi, (struct dd){-x, 0.0}));
    }
    struct dd angle = angle_of(other_leg(x), (struct dd){fabs(x), 0.0});
    return rounded(x < 0.0 ? dd_add(pi, dd_negate(angle)) : angle);
}

double math_haversine_km(double lat1, double lon1, double lat2, double lon2)
{
    const double radius_km = 6371.0088;
    const double radians = 0.017453292519943295;
    if (!(fabs(lat1) <= 90.0) || !(fabs(lat2) <= 90.0) || !(fabs(lon1) <= 180.0) ||
        !(fabs(lon2) <= 180.0)) {
        return (double)NAN;
    }
    double north = math_sin((lat2 - lat1) * radians / 2.0);
    double east = math_sin((lon2 - lon1) * radians / 2.0);
    double chord =
        north * north + math_cos(lat1 * radians) * math_cos(lat2 * radians) * east * east;
    return 2.0 * radius_km * math_asin(sqrt(chord < 1.0 ? chord : 1.0));
}
