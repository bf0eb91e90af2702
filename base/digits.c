/* Own header: digits.h. */
#include "base/digits.h"

#include <string.h>

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233"
                            "34353637383940414243444546474849505152535455565758596061626364656667"
                            "6869707172737475767778798081828384858687888990919293949596979899";

char *digits_put(char *at, uint64_t value, int width)
{
    char digits[DIGITS_MAX];
    char *first = digits + sizeof digits;
    ASSERT_CMP(width, <=, DIGITS_MAX);
    while (value >= 100) {
        first -= 2;
        memcpy(first, pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        first -= 2;
        memcpy(first, pairs + 2 * value, 2);
    } else {
        *--first = (char)('0' + value);
    }
    while (digits + sizeof digits - first < width) {
        *--first = '0';
    }
    size_t len = (size_t)(digits + sizeof digits - first);
    memcpy(at, first, len);
    return at + len;
}

/* n / 10^k is divided once, of two exact numbers, so it is the double next to the decimal: when that is
 * the value, the decimal reads back as it. The decimal of 15 digits next to a double is the only one
 * that may, as doubles lie closer there. */
char *digits_put_short(char *at, double value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
    static const uint64_t wholes[] = {1,
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
                                      1000000000000000000};
    double left = value < 0 ? -value : value;
    if (!(left >= 1e-4 && left < 1e15)) {
        return at;
    }
    for (int k = 0; k < (int)array_len(powers); k++) {
        double scaled = left * powers[k];
        if (scaled >= 999999999999999.5) { /* more than 15 digits */
            return at;
        }
        uint64_t n = (uint64_t)(scaled + 0.5);
        if ((double)n / powers[k] != left) {
            continue;
        }
        if (value < 0) {
            *at++ = '-';
        }
        at = digits_put(at, n / wholes[k], 1);
        if (k > 0) {
            *at++ = '.';
            at = digits_put(at, n % wholes[k], k);
        }
        return at;
    }
    return at;
}
