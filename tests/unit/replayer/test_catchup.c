/* Goal: the arithmetic that people read as "how long still" is right at its edges. Method: tables
 * of cases with answers worked out by hand, and a steady count fed at two paces, whose rate must
 * come out as its slope whatever the pace. */
#include "replayer/catchup.h"

#include <math.h>

#include "base/prng.h"
#include "include/kappa/record.h"
#include "tests/unit/unit.h"

static void expect_near(double got, double want, double tolerance)
{
    if (fabs(got - want) > tolerance) {
        fail_msg("got %g, want %g", got, want);
    }
}

static void test_lag(void **state)
{
    (void)state;

    static const struct {
        int64_t next, end, lag;
    } cases[] = {
        {0, 0, 0},    {3, 10, 7},  {10, 10, 0}, {12, 10, 0}, /* the end is old news */
        {-1, 10, -1}, {3, -1, -1},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        assert_int_equal(catchup_lag(cases[i].next, cases[i].end), cases[i].lag);
    }
    const int64_t next[] = {3, 5, 0};
    const int64_t end[] = {10, 5, 2};
    const int64_t unknown[] = {10, -1, 2};
    assert_int_equal(catchup_lag_sum(next, end, 3), 9);
    assert_int_equal(catchup_lag_sum(next, unknown, 3), CATCHUP_UNKNOWN);
    assert_int_equal(catchup_lag_sum(next, end, 0), 0);
    assert_int_equal(catchup_sum(unknown, 3), 12);
}

static void test_eta(void **state)
{
    (void)state;

    static const struct {
        int64_t lag;
        double rate, arrival, eta;
    } cases[] = {
        {0, 0, 0, 0},
        {0, 0, 100, 0}, /* caught up is caught up */
        {1000, 100, 0, 10},
        {1000, 300, 100, 5},
        {1000, 100, 100, CATCHUP_NEVER},
        {1000, 100, 200, CATCHUP_NEVER},
        {1000, 0, 0, CATCHUP_NEVER},
        {-1, 100, 0, CATCHUP_NEVER},
        {1000, (double)NAN, 0, CATCHUP_NEVER},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        expect_near(catchup_eta_seconds(cases[i].lag, cases[i].rate, cases[i].arrival),
                    cases[i].eta, 1e-9);
    }
}

static void test_progress(void **state)
{
    (void)state;
    const int64_t start[] = {0, 100};
    const int64_t target[] = {100, 400};
    const int64_t none[] = {0, 100};
    const int64_t half[] = {50, 250};
    const int64_t past[] = {100, 100000}; /* reading on live does not exceed 1 */
    const int64_t uneven[] = {100, 100};
    expect_near(catchup_progress(start, none, target, 2), 0.0, 1e-12);
    expect_near(catchup_progress(start, half, target, 2), 0.5, 1e-12);
    expect_near(catchup_progress(start, past, target, 2), 1.0, 1e-12);
    expect_near(catchup_progress(start, uneven, target, 2), 0.25, 1e-12);
    expect_near(catchup_progress(start, start, start, 2), 1.0, 1e-12);
    assert_true(catchup_reached(past, target, 2));
    assert_false(catchup_reached(uneven, target, 2));
    assert_true(catchup_reached(target, target, 2));
}

static void test_lag_seconds(void **state)
{
    (void)state;
    expect_near(catchup_lag_seconds(0, KAPPA_NO_TIME, 5000), 0.0, 0.0);
    expect_near(catchup_lag_seconds(5, 3500, 5000), 1.5, 1e-9);
    expect_near(catchup_lag_seconds(5, 9000, 5000), 0.0, 0.0);
    expect_near(catchup_lag_seconds(5, KAPPA_NO_TIME, 5000), CATCHUP_NEVER, 0.0);
    expect_near(catchup_lag_seconds(-1, 3500, 5000), CATCHUP_NEVER, 0.0);
}

/* A count that grows by `slope` per second, sampled every `step_us` for ten seconds. */
static double steady(int64_t slope, int64_t step_us)
{
    struct catchup_rate rate = {0};
    for (int64_t t = 0; t <= 10000000; t += step_us) {
        catchup_rate_add(&rate, 1000 + t, 7 + slope * t / 1000000);
    }
    return catchup_rate_get(&rate);
}

static void test_rate(void **state)
{
    (void)state;
    struct catchup_rate rate = {0};
    expect_near(catchup_rate_get(&rate), 0.0, 0.0);
    catchup_rate_add(&rate, 1000000, 500);
    expect_near(catchup_rate_get(&rate), 0.0, 0.0);
    catchup_rate_add(&rate, 1000000, 900); /* no time has passed */
    expect_near(catchup_rate_get(&rate), 0.0, 0.0);
    catchup_rate_add(&rate, 2000000, 1500);
    expect_near(catchup_rate_get(&rate), 1000.0, 1e-6); /* right from the second sample on */
    expect_near(steady(5000, 100000), 5000.0, 1.0);
    expect_near(steady(5000, 1000000), 5000.0, 1.0);
    /* After it stopped for five time constants, nearly nothing is left. */
    catchup_rate_add(&rate, 12000000, 1500);
    assert_true(catchup_rate_get(&rate) < 10.0);
    /* Beginning again is not a negative rate. */
    catchup_rate_add(&rate, 13000000, 0);
    expect_near(catchup_rate_get(&rate), 0.0, 0.0);
    catchup_rate_add(&rate, 14000000, 100);
    expect_near(catchup_rate_get(&rate), 100.0, 1e-6);
}

/* ---- The forecast ---- */

struct pace_case {
    const char *name;
    double noise;      /* each sample's speed is off by up to this part */
    double wave;       /* and by this part over a minute */
    double stall;      /* part of each two seconds in which nothing moves (a commit) */
    double slow_start; /* speed of the first twentieth */
    double arrival;    /* part of the pace at which the log grows */
};

/* Progress as it would be told, every 100 ms of a made-up clock: what is forecast after the first
 * tenth must be within a fifth of what then comes. Of noise each two samples make up for each other:
 * chance may make the samples uneven, not the first tenth slower than the rest. */
static void forecast_holds(const struct pace_case *c, struct prng *prng)
{
    enum { STEPS_MAX = 4000 };

    const double pace = 1e5;
    static double etas[STEPS_MAX], lows[STEPS_MAX], highs[STEPS_MAX], shares[STEPS_MAX];
    struct catchup_rate rate = {0};
    struct catchup_rate arrival = {0};
    struct catchup_trend trend = {0};
    double next = 0;
    double end = 6e6;
    double off = 0;
    int step = 0;
    for (; next < end; step++) {
        assert_true(step < STEPS_MAX);
        int64_t now_us = 1000000 + step * INT64_C(100000);
        catchup_rate_add(&rate, now_us, (int64_t)next);
        catchup_rate_add(&arrival, now_us, (int64_t)end);
        catchup_trend_add(&trend, now_us, (int64_t)next, catchup_rate_get(&rate));
        struct catchup_eta eta =
            catchup_eta_range((int64_t)(end - next), catchup_trend_get(&trend),
                              catchup_trend_spread(&trend), catchup_rate_get(&arrival));
        etas[step] = catchup_eta_seconds((int64_t)(end - next), catchup_trend_get(&trend),
                                         catchup_rate_get(&arrival));
        lows[step] = eta.low;
        highs[step] = eta.high;
        shares[step] = next / end;
        off = step % 2 == 0 ? c->noise * (2 * prng_unit(prng) - 1) : -off;
        double speed = pace * (1 + off);
        speed *= 1 + c->wave * sin(step * 0.1 / 60 * 6.2831853);
        speed *= next < 3e5 ? c->slow_start : 1;
        speed *= step % 20 < 20 * c->stall ? 0 : 1;
        next += speed * 0.1;
        end += c->arrival * pace * 0.1;
    }
    int outside = 0;
    int looked = 0;
    for (int i = 0; i < step; i++) {
        double left = (step - i) * 0.1;
        if (shares[i] < 0.1 || left < 4) {
            continue;
        }
        if (fabs(etas[i] - left) > 0.2 * left + 0.2) {
            fail_msg("%s: at %.0f %% it says %.1f s, and it takes %.1f s", c->name, 100 * shares[i],
                     etas[i], left);
        }
        looked++;
        outside += lows[i] > left + 0.2 || (highs[i] >= 0 && highs[i] < left - 0.2);
    }
    if (outside * 10 > looked) {
        fail_msg("%s: %d of %d ranges do not hold what comes", c->name, outside, looked);
    }
}

static void test_forecast(void **state)
{
    (void)state;
    static const struct pace_case cases[] = {
        {"even", 0, 0, 0, 1, 0},        {"noisy", 0.5, 0, 0, 1, 0},
        {"commits", 0.2, 0, 0.2, 1, 0}, {"slow start", 0.1, 0, 0, 0.5, 0},
        {"waves", 0.1, 0.15, 0, 1, 0},  {"arrivals", 0.1, 0, 0, 1, 0.3},
        {"all", 0.2, 0, 0.1, 1, 0.2},
    };
    uint64_t seed = unit_seed("forecast");
    struct prng prng;
    prng_init(&prng, seed);
    for (size_t i = 0; i < array_len(cases); i++) {
        forecast_holds(&cases[i], &prng);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lag),      cmocka_unit_test(test_eta),
        cmocka_unit_test(test_progress), cmocka_unit_test(test_lag_seconds),
        cmocka_unit_test(test_rate),     cmocka_unit_test(test_forecast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
