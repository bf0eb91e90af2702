/* Numbers as digits. Goal: what is printed quickly is what printf would print. Method: printf and strtod
 * as the oracle, over random doubles of several kinds. */
#include "base/digits.h"
#include "base/prng.h"
#include "base/timefmt.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_put(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("digits"));
    for (int i = 0; i < 20000; i++) {
        char text[DIGITS_MAX + 1];
        char wanted[64];
        uint64_t value = prng_next(&prng) >> prng_below(&prng, 64);
        int width = (int)prng_below(&prng, DIGITS_MAX + 1);
        *digits_put(text, value, width) = '\0';
        (void)snprintf(wanted, sizeof wanted, "%0*llu", width, (unsigned long long)value);
        assert_string_equal(text, wanted);
    }
}

/* The shortest that reads back, by printf. */
static void shortest(double value, char *text, size_t cap)
{
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, cap, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            return;
        }
    }
    fail();
}

static double random_double(struct prng *prng)
{
    double value = 0;
    uint64_t bits = prng_next(prng);
    switch (prng_below(prng, 5)) {
    case 0: /* any bits */
        memcpy(&value, &bits, sizeof value);
        return value;
    case 4: /* any digits, exponents from 2^-15 to 2^51 */
        bits = (bits & ~(UINT64_C(0x7FF) << 52)) | (1023 - 15 + prng_below(prng, 67)) << 52;
        memcpy(&value, &bits, sizeof value);
        return value;
    case 1: /* a sum of money */
        return (double)(int64_t)(bits % 2000000000) / 100 - 1e7;
    case 2: { /* so many digits */
        char text[64];
        (void)snprintf(text, sizeof text, "%llue-%d", (unsigned long long)(bits % 1000000000000000),
                       (int)prng_below(prng, 20));
        return strtod(text, NULL);
    }
    default: /* next to one of those */
        value = (double)(int64_t)(bits % 100000) / 1000;
        memcpy(&bits, &value, sizeof bits);
        bits += prng_below(prng, 3);
        memcpy(&value, &bits, sizeof value);
        return value;
    }
}

static bool is_power_of_two(double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    return (bits & ((UINT64_C(1) << 52) - 1)) == 0;
}

static void test_double(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("doubles"));
    uint32_t found[18] = {0};
    for (int i = 0; i < 200000; i++) {
        double value = random_double(&prng);
        double size = value < 0 ? -value : value;
        char text[DIGITS_DOUBLE_MAX + 1];
        char wanted[64];
        char *end = digits_put_double(text, value);
        *end = '\0';
        assert_true(end - text <= DIGITS_DOUBLE_MAX);
        if (!(size >= 1e-4 && size < 1e15)) {
            assert_true(end == text);
            continue;
        }
        shortest(value, wanted, sizeof wanted);
        if (end == text) {
            assert_true(is_power_of_two(value) || strchr(wanted, 'e') != NULL);
            continue;
        }
        assert_string_equal(text, wanted);
        size_t digits = strspn(wanted, "-0.");
        digits = strlen(wanted + digits) - (strchr(wanted + digits, '.') != NULL ? 1 : 0);
        assert_true(digits < array_len(found));
        found[digits]++;
    }
    assert_true(found[5] > 1000 && found[15] > 1000 && found[16] > 1000 && found[17] > 1000);
}

static void test_times(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("times"));
    for (int i = 0; i < 20000; i++) {
        char text[TIME_TEXT_LEN];
        int64_t again = 0;
        int64_t us = (int64_t)prng_below(&prng, UINT64_C(10000) * 365 * 86400 * 1000000) -
                     INT64_C(1970) * 365 * 86400 * 1000000;
        int64_t unit = prng_below(&prng, 2) == 0 ? 1 : prng_below(&prng, 2) == 0 ? 1000 : 1000000;
        us -= us % unit;
        time_format(us, text);
        assert_true(time_parse(text, strlen(text), &again));
        assert_int_equal(us, again);
        size_t fraction = us % 1000000 == 0 ? 0 : us % 1000 == 0 ? 4 : 7;
        assert_int_equal(strlen(text), strlen("2026-01-31T12:00:00Z") + fraction);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_double),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
