/* Goal: what is said about a replay before it begins is right at its edges: none to read, nothing
 * known, more coming than is read, a start that retention takes first. Method: tables of facts with
 * answers worked out by hand. */
#include "controller/forecast.h"

#include "tests/unit/unit.h"

#include <math.h>
#include <string.h>

struct forecast_case {
    struct forecast_facts facts;
    double low, high; /* of the ETA */
    bool known;
    bool catches_up;
    const char *says; /* the only warning, or NULL */
};

#define FACTS .disk_needed = FORECAST_UNKNOWN, .disk_free = FORECAST_UNKNOWN, .log = "broker"

static const struct forecast_case forecast_cases[] = {
    {{.records = 0, .arrival = 5, FACTS}, 0, 0, true, true, NULL},
    {{.records = 100, .arrival = FORECAST_UNKNOWN, FACTS}, -1, -1, false, false, NULL},
    {{.records = 1000, .rate_low = 100, .rate_high = 200, .arrival = FORECAST_UNKNOWN, FACTS},
     5,
     10,
     true,
     true,
     NULL},
    {{.records = 1000, .rate_low = 100, .rate_high = 200, .arrival = 75, FACTS},
     8,
     40,
     true,
     true,
     NULL},
    {{.records = 1000, .rate_low = 20000, .rate_high = 35000, .arrival = 40000, FACTS},
     -1,
     -1,
     true,
     false,
     "will never catch up: arrival 40 k/s, replay 35 k/s"},
    {{.records = 1000, .rate_low = 20000, .rate_high = 35000, .arrival = 20000, FACTS},
     1000.0 / 15000,
     -1,
     true,
     true,
     "may never catch up: arrival 20 k/s, replay 20 k/s to 35 k/s"},
    {{.records = 18000, .rate_low = 1, .rate_high = 2, .retained = true, .headroom = 10800, FACTS},
     9000,
     18000,
     true,
     true,
     "the broker will have deleted your start in 3 h 00 min; you need 5 h 00 min"},
    {{.records = 18000, .rate_low = 1, .rate_high = 2, .retained = true, .headroom = 18001, FACTS},
     9000,
     18000,
     true,
     true,
     NULL},
    {{.records = 100, .rate_low = 100, .rate_high = 100, .retained = true, .headroom = -1, FACTS},
     1,
     1,
     true,
     true,
     "your start is older than the topic's retention: the broker may delete it at any time"},
    {{.records = 100,
      .rate_low = 100,
      .rate_high = 100,
      .log = "log",
      .disk_needed = 9 << 20,
      .disk_free = 5 << 20},
     1,
     1,
     true,
     true,
     "the disk has 5 MiB free, and the tables need about 9 MiB"},
    {{.records = 100, .rate_low = 100, .rate_high = 100, .sampled = 50, .dead = 7, FACTS},
     1,
     1,
     true,
     true,
     "7 of 50 records that were looked at are dead: they could not be processed"},
};

static void test_forecast(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_len(forecast_cases); i++) {
        const struct forecast_case *c = &forecast_cases[i];
        struct forecast forecast;
        forecast_make(&c->facts, &forecast);
        if (fabs(forecast.eta.low - c->low) > 1e-9 || fabs(forecast.eta.high - c->high) > 1e-9) {
            fail_msg("case %zu: %g to %g", i, forecast.eta.low, forecast.eta.high);
        }
        assert_int_equal(forecast.known, c->known);
        assert_int_equal(forecast.catches_up, c->catches_up);
        json_t *warnings = forecast_warnings(&c->facts, &forecast);
        assert_int_equal(json_array_size(warnings), c->says != NULL ? 1 : 0);
        if (c->says != NULL) {
            assert_string_equal(json_string_value(json_array_get(warnings, 0)), c->says);
        }
        json_decref(warnings);
    }
}

static void test_utilisation(void **state)
{
    (void)state;
    struct forecast forecast;
    struct forecast_facts facts = {.records = 1, .rate_low = 100, .rate_high = 300, .arrival = 50};
    forecast_make(&facts, &forecast);
    assert_true(fabs(forecast.utilisation - 0.25) < 1e-9);
    facts.arrival = FORECAST_UNKNOWN;
    forecast_make(&facts, &forecast);
    assert_true(forecast.utilisation < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forecast),
        cmocka_unit_test(test_utilisation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
