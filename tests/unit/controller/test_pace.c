/* Goal: the pace comes near what keeps the goal and does not stay beyond it, whatever that is; division
 * gives everybody his part and nobody too much. Method: a machine whose freshness is good up to some
 * rate; random shares against what division must hold.
 *
 * KAPPA_SEED gives the seed. */
#include "tests/unit/unit.h"

#include <math.h>
#include <string.h>

#include "base/prng.h"
#include "controller/pace.h"

static void test_finds_the_capacity(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("capacity"));
    for (double capacity = 3000; capacity < 5e6; capacity *= 3) {
        struct pace pace;
        uint32_t over = 0;
        pace_open(&pace);
        for (uint32_t look = 0; look < 400; look++) {
            double noise = (double)prng_below(&prng, 1000) / 1000;
            double p99 = pace.rate <= capacity ? 10000 + 25000 * noise : 60000 + 900000 * noise;
            pace_look(&pace, p99, 50000, pace.rate * (0.9 + noise / 10));
            over += look >= 100 && pace.rate > capacity;
            assert_true(look < 100 || pace.rate >= capacity * 0.5);
        }
        assert_true(over <= 60); /* one look in six or so is a try */
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct pace pace;
    pace_open(&pace);
    for (int i = 0; i < 100; i++) {
        pace_look(&pace, 1e9, 1000, 5000);
    }
    assert_true(pace.rate == PACE_LEAST && pace.why == PACE_FALLS);
    for (int i = 0; i < 1000; i++) {
        pace_look(&pace, -1, 1000, pace.rate);
    }
    assert_true(pace.rate == PACE_MOST && pace.why == PACE_QUIET);
    pace_open(&pace);
    pace_look(&pace, 100, 1000, PACE_START / 2);
    assert_true(pace.rate == PACE_START && pace.why == PACE_UNUSED);
    pace_look(&pace, 900, 1000, PACE_START);
    assert_true(pace.rate == PACE_START && pace.why == PACE_IS_NEAR);
    pace_look(&pace, 100, 1000, PACE_START);
    assert_true(pace.rate == 2 * PACE_START && pace.why == PACE_GROWS);
    pace_look(&pace, 1001, 1000, PACE_START);
    assert_true(pace.rate == PACE_SLOWER * PACE_START && pace.why == PACE_FALLS);
}

static void test_divides(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("divide"));
    for (uint32_t round = 0; round < 2000; round++) {
        struct pace_share shares[6];
        uint32_t count = 1 + (uint32_t)prng_below(&prng, 6);
        double rate = 1 + (double)prng_below(&prng, 100000);
        double sum = 0;
        double most = 0;
        for (uint32_t i = 0; i < count; i++) {
            double cap = prng_below(&prng, 2) ? PACE_MOST : 1 + (double)prng_below(&prng, 50000);
            shares[i] =
                (struct pace_share){.weight = 1 + (double)prng_below(&prng, 5), .most = cap};
            most += cap;
        }
        pace_divide(rate, shares, count);
        for (uint32_t i = 0; i < count; i++) {
            sum += shares[i].gets;
            assert_true(shares[i].gets > 0 && shares[i].gets <= shares[i].most * (1 + 1e-9));
            for (uint32_t k = 0; k < count; k++) {
                /* Who is not capped has at least as much for its weight as any other. */
                bool free = shares[i].gets < shares[i].most * (1 - 1e-9);
                assert_true(!free || shares[i].gets / shares[i].weight >=
                                         shares[k].gets / shares[k].weight * (1 - 1e-9));
            }
        }
        assert_true(fabs(sum - fmin(rate, most)) <= 1e-6 * rate);
    }
}

static void test_windows(void **state)
{
    (void)state;
    struct pace_window window = {.since_us = 0};
    struct histogram counts;
    memset(&counts, 0, sizeof counts);
    int64_t now = 1000000;
    histogram_add(&counts, 9000000); /* before anybody looked */
    pace_window_look(&window, &counts, now);
    for (int i = 0; i < 50; i++) {
        histogram_add(&counts, 4000);
        pace_window_look(&window, &counts, now += 10000);
    }
    assert_int_equal(window.ended_us, 0);
    pace_window_look(&window, &counts, now += 500000);
    assert_int_equal(window.ended_us, now);
    assert_in_range(window.p99_us, 2500, 5000);
    /* Nothing came; then too little to say anything soon. */
    pace_window_look(&window, &counts, now += 1000000);
    assert_int_equal(window.p99_us, -1);
    histogram_add(&counts, 200000);
    pace_window_look(&window, &counts, now += 4000000);
    assert_int_equal(window.p99_us, -1);
    pace_window_look(&window, &counts, now += 1000000);
    assert_in_range(window.p99_us, 100000, 250000);
    memset(&counts, 0, sizeof counts); /* another worker */
    pace_window_look(&window, &counts, now += 10000000);
    histogram_add(&counts, 300);
    pace_window_look(&window, &counts, now += 5000000);
    assert_in_range(window.p99_us, 250, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_capacity),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_divides),
        cmocka_unit_test(test_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
