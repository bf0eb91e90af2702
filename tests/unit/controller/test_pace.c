/* Goal: the pace comes near what keeps the goal and does not stay beyond it, whatever that is; division
 * gives everybody his part and nobody too much. Method: a machine whose freshness is good up to some
 * rate; random shares against what division must hold.
 *
 * KAPPA_SEED gives the seed. */
#include "tests/unit/unit.h"

#include <math.h>
#include <string.h>

#include "base/prng.h"
#include "controller/finish.h"
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

/* Those that are first have what they may before others have more than is kept for these. */
static void divided(const struct pace_share *shares, uint32_t count, double rate)
{
    bool first_free = false;
    double others = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool free = shares[i].gets < shares[i].most * (1 - 1e-9);
        first_free = first_free || (shares[i].first && free);
        others += shares[i].first ? 0 : shares[i].gets;
    }
    assert_true(!first_free || others <= PACE_LEFT * rate * (1 + 1e-9));
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
            shares[i] = (struct pace_share){.weight = 1 + (double)prng_below(&prng, 5),
                                            .most = cap,
                                            .first = prng_below(&prng, 3) == 0};
            most += cap;
        }
        pace_divide(rate, shares, count);
        divided(shares, count, rate);
        for (uint32_t i = 0; i < count; i++) {
            sum += shares[i].gets;
            assert_true(shares[i].gets > 0 && shares[i].gets <= shares[i].most * (1 + 1e-9));
            for (uint32_t k = 0; k < count; k++) {
                /* Who is not capped has at least as much for its weight as any other. */
                bool free = shares[i].gets < shares[i].most * (1 - 1e-9) &&
                            shares[i].first == shares[k].first;
                assert_true(!free || shares[i].gets / shares[i].weight >=
                                         shares[k].gets / shares[k].weight * (1 - 1e-9));
            }
        }
        assert_true(fabs(sum - fmin(rate, most)) <= 1e-6 * rate);
    }
}

/* A replay that keeps to what it needs is done before the time, whatever disturbs it in the middle, if the
 * machine can make up for that; and does not hurry. */
static void test_done_in_time(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("finish"));
    for (uint32_t round = 0; round < 300; round++) {
        double seconds = 20 + (double)prng_below(&prng, 20000);
        double lag = 1e5 + (double)prng_below(&prng, 1000000000);
        double arrival = prng_below(&prng, 2) ? (double)prng_below(&prng, 5000) : 0;
        double first = finish_needs((int64_t)lag, arrival, seconds);
        double done = -1;
        double begin = seconds * 0.3;
        for (double now = 0; now < seconds && done < 0; now++) {
            double noise = 0.9 + (double)prng_below(&prng, 200) / 1000;
            double needs = finish_needs((int64_t)lag, arrival * noise, seconds - now);
            /* For a twentieth of the time it comes to nearly nothing. */
            bool disturbed = now > begin && now < begin + seconds * 0.05;
            double rate = fmin(needs, 1.5 * first) * (disturbed ? 0.1 : 1);
            lag += arrival - rate;
            done = lag <= rate * 0.25 ? now : -1;
        }
        assert_true(done >= 0 && done < seconds);
        assert_true(done >= seconds * 0.5 || seconds < 30);
    }
}

static void test_late(void **state)
{
    (void)state;
    assert_true(finish_needs(1000, 0, 0) == PACE_MOST);
    assert_true(finish_needs(1000, 0, -5) == PACE_MOST);
    assert_true(finish_needs(1000, 0, FINISH_MARGIN_S_MIN) == PACE_MOST);
    assert_true(fabs(finish_needs(90000, 50, 100) - 1050) < 1e-6);
    assert_true(fabs(finish_needs(30000, 0, 30600) - 1) < 1e-6); /* 10 minutes in hand, not more */
    assert_true(fabs(finish_late_s(1000, 10, 0, 60) - 40) < 1e-6);
    assert_true(finish_late_s(1000, 100, 0, 60) == 0);
    assert_true(finish_late_s(1000, 100, 100, 60) == FINISH_NEVER);
    assert_true(finish_late_s(1000, 0, 0, 60) == 0); /* not known */
    assert_true(fabs(finish_late_s(1000, 0, 0, -7) - 7) < 1e-6);
    assert_true(fabs(finish_late_s(1000, 100, 0, -7) - 17) < 1e-6);
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
        cmocka_unit_test(test_done_in_time),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
