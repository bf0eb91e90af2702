/* Goal: functions of doubles are right to a unit in the last place, and exact where they can be.
 *
 * Method: against the C library's long doubles (64 bits of mantissa on x86), over random arguments of
 * all sizes and edge values; the largest error of each function is printed. Special values: bit for
 * bit as the C library's double functions. */
#include "processor/math_double.h"
#include "tests/unit/unit.h"

#include "base/prng.h"

#include <math.h>
#include <string.h>

#define ROUNDS 200000

/* Distance of got from the true value in units in the last place of the double near it. */
static double ulps(double got, long double want)
{
    if (isnan(want) || isnan(got)) {
        return isnan(want) && isnan(got) ? 0 : 1e9;
    }
    double near = (double)want;
    if (isinf(near) || isinf(got)) {
        return near == got ? 0 : 1e9;
    }
    double unit = nextafter(fabs(near), (double)INFINITY) - fabs(near);
    return (double)(fabsl(got - want) / unit);
}

/* Any bits, ordinary sizes, or edges. */
static double argument(struct prng *prng, double size)
{
    static const double edges[] = {
        0.0,     -0.0,     1.0,    -1.0,   0.5,     -0.5,   2.0,
        10.0,    1e-300,   1e300,  5e-324, 0.7854,  1.5708, 3.141592653589793,
        6.28319, 0x1p1023, 0x1p-1, 709.7,  -745.13, 1e22,   0.9999999999999999};
    uint64_t kind = prng_below(prng, 16);
    if (kind == 0) {
        return edges[prng_below(prng, array_len(edges))];
    }
    if (kind < 4) {
        uint64_t bits = prng_next(prng);
        double value;
        memcpy(&value, &bits, sizeof value);
        return isfinite(value) ? value : 1.5;
    }
    double fraction = ((double)prng_next(prng) - 0x1p63) / 0x1p63;
    return kind < 8 ? fraction : fraction * size;
}

struct math_case {
    const char *name;
    double (*ours)(double);
    long double (*theirs)(long double);
    double size;
    double ulps;
};

static void test_one_argument(void **state)
{
    (void)state;
    static const struct math_case cases[] = {
        {"exp", math_exp, expl, 750, 0.7},        {"log", math_log, logl, 1e6, 0.51},
        {"log10", math_log10, log10l, 1e6, 0.51}, {"cbrt", math_cbrt, cbrtl, 1e6, 0.6},
        {"sin", math_sin, sinl, 100, 0.9},        {"cos", math_cos, cosl, 100, 0.9},
        {"tan", math_tan, tanl, 100, 1.0},        {"asin", math_asin, asinl, 1, 0.6},
        {"acos", math_acos, acosl, 1, 0.6},       {"atan", math_atan, atanl, 10, 0.6},
    };
    struct prng prng;
    prng_init(&prng, unit_seed("math one"));
    for (size_t c = 0; c < array_len(cases); c++) {
        double worst = 0;
        double at = 0;
        for (int i = 0; i < ROUNDS; i++) {
            double x = argument(&prng, cases[c].size);
            long double want = cases[c].theirs(x);
            double error = ulps(cases[c].ours(x), want);
            bool tiny = fabsl(want) < 0x1p-1022L; /* rounded twice: half a unit more */
            if (error > worst && !(tiny && error < 1.1)) {
                worst = error;
                at = x;
            }
        }
        print_message("%s: %.4f ulp at %a\n", cases[c].name, worst, at);
        assert_true(worst <= cases[c].ulps);
    }
}

static void test_two_arguments(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("math two"));
    double worst_power = 0;
    double worst_angle = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double x = argument(&prng, 100);
        double y = argument(&prng, 20);
        double angle = ulps(math_atan2(y, x), atan2l(y, x));
        bool tiny = fabs(math_atan2(y, x)) < 0x1p-1022;
        worst_angle = angle > worst_angle && !tiny ? angle : worst_angle;
        long double want = powl(x, y);
        double error = ulps(math_power(x, y), want);
        if (error > 0.7 && fabsl(want) >= 0x1p-1022L) {
            fail_msg("power(%a, %a): %a, off by %f", x, y, math_power(x, y), error);
        }
        if (fabsl(want) >= 0x1p-1022L) {
            worst_power = error > worst_power ? error : worst_power;
        }
    }
    print_message("power: %.4f ulp, atan2: %.4f ulp\n", worst_power, worst_angle);
    assert_true(worst_angle <= 0.6);
}

static bool same_bits(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static void test_special_values(void **state)
{
    (void)state;
    const double values[] = {0.0,
                             -0.0,
                             1.0,
                             -1.0,
                             2.0,
                             -2.0,
                             3.0,
                             -3.0,
                             0.5,
                             -0.5,
                             1e300,
                             -1e300,
                             (double)INFINITY,
                             -(double)INFINITY,
                             (double)NAN};

    static const struct {
        double (*ours)(double);
        double (*theirs)(double);
    } pairs[] = {{math_exp, exp}, {math_log, log}, {math_log10, log10}, {math_cbrt, cbrt}};

    for (size_t i = 0; i < array_len(values); i++) {
        for (size_t p = 0; p < array_len(pairs); p++) {
            double got = pairs[p].ours(values[i]);
            double want = pairs[p].theirs(values[i]);
            assert_true(isfinite(want) || same_bits(got, want));
        }
        assert_true(isfinite(values[i]) || isnan(math_sin(values[i])));
        for (size_t k = 0; k < array_len(values); k++) {
            double got = math_power(values[i], values[k]);
            double want = pow(values[i], values[k]);
            if (!same_bits(got, want) && !(isfinite(want) && ulps(got, want) <= 1)) {
                fail_msg("power(%g, %g): %g, not %g", values[i], values[k], got, want);
            }
            got = math_atan2(values[i], values[k]);
            want = atan2(values[i], values[k]);
            if (!same_bits(got, want) && ulps(got, want) > 1) {
                fail_msg("atan2(%g, %g): %g, not %g", values[i], values[k], got, want);
            }
        }
    }
}

/* Whole numbers to whole powers, logarithms of powers of ten and two. */
static void test_exact(void **state)
{
    (void)state;
    for (int base = 2; base <= 12; base++) {
        double power = 1;
        for (int k = 0; power < 0x1p53; k++) {
            assert_true(math_power(base, k) == power);
            assert_true(k == 0 || math_log_base(base, power) == k);
            assert_true(base != 10 || math_log10(power) == k);
            power *= base;
        }
    }
    for (int k = 1; k < 200000; k++) {
        assert_true(math_cbrt((double)k * k * k) == k);
    }
    assert_true(math_exp(0) == 1 && math_log(1) == 0 && math_atan(1) == 0.7853981633974483);
}

/* The same bits wherever this runs: a digest of many values. */
static void test_same_everywhere(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 20260131);
    uint64_t hash = 0;
    for (int i = 0; i < 20000; i++) {
        double x = ((double)prng_below(&prng, 2000000) - 1000000) / 1024;
        const double results[] = {
            math_exp(x / 10), math_log(fabs(x) + 1),  math_sin(x),
            math_tan(x),      math_atan2(x, 7),       math_power(fabs(x) + 0.1, 1.7),
            math_cbrt(x),     math_acos(math_cos(x)), math_haversine_km(x / 12, x / 6, 1, 2)};
        for (size_t k = 0; k < array_len(results); k++) {
            uint64_t bits;
            memcpy(&bits, &results[k], sizeof bits);
            hash = (hash ^ bits) * UINT64_C(0x9E3779B97F4A7C15);
        }
    }
    print_message("digest %016llx\n", (unsigned long long)hash);
    assert_int_equal(hash, UINT64_C(0xfc2300c5aa2a349a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_argument),    cmocka_unit_test(test_two_arguments),
        cmocka_unit_test(test_special_values),  cmocka_unit_test(test_exact),
        cmocka_unit_test(test_same_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
