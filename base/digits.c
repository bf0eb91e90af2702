/* Own header: digits.h. */
#include "base/digits.h"

#include <string.h>

const char digits_pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233"
                            "34353637383940414243444546474849505152535455565758596061626364656667"
                            "6869707172737475767778798081828384858687888990919293949596979899";

const uint64_t digits_power10[DIGITS_MAX] = {1,
                                             10,
                                             100,
                                             1000,
                                             10000,
                                             100000,
                                             1000000,
                                             10000000,
                                             100000000,
                                             1000000000,
                                             10000000000,
                                             100000000000,
                                             1000000000000,
                                             10000000000000,
                                             100000000000000,
                                             1000000000000000,
                                             10000000000000000,
                                             100000000000000000,
                                             1000000000000000000,
                                             UINT64_C(10000000000000000000)};

static int width_of(uint64_t value)
{
    value |= 1; /* as many digits, and 0 has one */
    /* 1233 / 4096 is a little less than log10(2): the number of digits, or one less. */
    int width = (64 - __builtin_clzll(value)) * 1233 >> 12;
    return width + (value >= digits_power10[width] ? 1 : 0);
}

char *digits_put(char *at, uint64_t value, int width)
{
    ASSERT_CMP(width, <=, DIGITS_MAX);
    int wide = width_of(value);
    char *end = at + (wide < width ? width : wide);
    char *first = end;
    while (value >= 100) {
        first = first - 2;
        memcpy(first, digits_pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        first -= 2;
        memcpy(first, digits_pairs + 2 * value, 2);
    } else {
        *--first = (char)('0' + value);
    }
    while (first > at) {
        *--first = '0';
    }
    return end;
}

#define POWER_MAX 20
#define BITS      53 /* of a double's digits */

static const double powers[POWER_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,
                                             1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13,
                                             1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20};

static uint128 power_of(int k)
{
    uint128 power = k >= 10 ? (uint128)10000000000 : 1;
    for (int i = k >= 10 ? 10 : 0; i < k; i++) {
        power *= 10;
    }
    return power;
}

/* n / 10^k. */
static char *put_plain(char *at, bool minus, uint64_t n, int k)
{
    uint128 power = power_of(k);
    uint64_t whole = power > n ? 0 : n / (uint64_t)power;
    if (minus) {
        *at++ = '-';
    }
    at = digits_put(at, whole, 1);
    if (k > 0) {
        *at++ = '.';
        at = digits_put(at, whole == 0 ? n : n % (uint64_t)power, k);
    }
    return at;
}

/* value = m / 2^s, and n the integer nearest to value * 10^k, all exactly: m * 10^k has at most 120
 * bits. Does n / 10^k read back as value? It must lie within half a unit of m. */
struct scaled {
    uint64_t m;
    int s;
    int k;
    uint64_t n;
    bool reads_back;
};

static void scale(struct scaled *scaled)
{
    uint128 power = power_of(scaled->k);
    uint128 exact = scaled->m * power;
    uint128 half = (uint128)1 << (scaled->s - 1);
    scaled->n = (uint64_t)(exact >> scaled->s);
    uint128 rest = exact - ((uint128)scaled->n << scaled->s);
    if (rest > half || (rest == half && (scaled->n & 1) != 0)) { /* as printf rounds */
        scaled->n++;
    }
    uint128 found = (uint128)scaled->n << scaled->s;
    uint128 apart = 2 * (found > exact ? found - exact : exact - found);
    scaled->reads_back = apart < power || (apart == power && (scaled->m & 1) == 0);
}

/* 16 digits if they read back, else 17, which always do. */
static char *put_long(char *at, bool minus, double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    uint64_t fraction = bits & ((UINT64_C(1) << (BITS - 1)) - 1);
    if (fraction == 0) { /* a power of two: the doubles below lie closer */
        return at;
    }
    struct scaled scaled = {.m = fraction | UINT64_C(1) << (BITS - 1),
                            .s = 1075 - (int)(bits >> (BITS - 1) & 0x7FF)};
    while (scaled.k < POWER_MAX && value * powers[scaled.k] < 1e15) {
        scaled.k++;
    }
    for (uint64_t least = UINT64_C(1000000000000000); scaled.k <= POWER_MAX; scaled.k++) {
        scale(&scaled);
        bool shown = scaled.n >= least && scaled.n < 10 * least;
        if (!shown) {
            return at;
        }
        if (scaled.reads_back) {
            return put_plain(at, minus, scaled.n, scaled.k);
        }
        least *= 10;
    }
    return at;
}

/* n / 10^k is divided once, of two exact numbers, so it is the double next to the decimal: when that is
 * the value, the decimal reads back as it. The decimal of 15 digits next to a double is the only one
 * that may, as doubles lie closer there. */
char *digits_put_double(char *at, double value)
{
    bool minus = value < 0;
    double left = minus ? -value : value;
    if (!(left >= 1e-4 && left < 1e15)) {
        return at;
    }
    for (int k = 0; k <= 18; k++) {
        double scaled = left * powers[k];
        if (scaled >= 999999999999999.5) { /* more than 15 digits */
            break;
        }
        uint64_t n = (uint64_t)(scaled + 0.5);
        if ((double)n / powers[k] == left) {
            return put_plain(at, minus, n, k);
        }
    }
    return put_long(at, minus, left);
}
