/* Goal: a version stands by for the time that was promised, whatever is done to the clock. Method: the world
 * of world.h, whose clock can be set. */
#include "tests/unit/controller/world.h"

#include "base/timefmt.h"

/* So long v1 stands by, in seconds from now on. */
static int64_t standby_lasts(struct world *world)
{
    int64_t from_us = world->now_us;
    for (int i = 0; i < 6000 && strcmp(world_state(world, 1), "standby") == 0; i++) {
        world_step(world);
    }
    assert_string_equal(world_state(world, 1), "retired");
    return (world->now_us - from_us + 500000) / 1000000;
}

/* The same as status tells it. */
static int64_t standby_told(struct world *world)
{
    json_t *status = world_call(world, "status", "p", 0, NULL);
    const json_t *version = json_array_get(json_object_get(status, "versions"), 0);
    const char *until = json_text(version, "standby_until", "");
    int64_t until_us = 0;
    assert_true(time_parse(until, strlen(until), &until_us));
    json_decref(status);
    return (until_us / 1000 - world_wall(world) + 500) / 1000;
}

/* Who sets the clock neither takes the way back away nor keeps a version for ever; a restart counts by the
 * clock as it is, and forgets nothing of that. */
static void test_standby_when_the_clock_is_set(void **state)
{
    static const struct {
        int64_t set_ms;     /* 10 s after the swap */
        bool restart;       /* 10 s later */
        int64_t set_off_ms; /* while it is down */
        int64_t lasts;      /* from there on */
    } cases[] = {
        {INT64_C(31536000000), false, 0, 40},
        {INT64_C(-31536000000), false, 0, 40},
        {INT64_C(31536000000), true, 0, 40},
        {INT64_C(-31536000000), true, 0, 40},
        {0, true, 15000, 25},
        {0, true, INT64_C(31536000000), 0},
        {0, true, INT64_C(-31536000000), 60},
    };

    (void)state;
    for (size_t i = 0; i < array_len(cases); i++) {
        struct world *world = xcalloc(1, sizeof *world);
        world_open(world);
        world_serve_second(world);
        world_steps(world, 500);
        world->set_ms += cases[i].set_ms;
        world_steps(world, 500);
        if (cases[i].restart) {
            world->set_ms += cases[i].set_off_ms;
            world_restart(world);
        }
        world_step(world);
        if (cases[i].lasts > 0) {
            assert_in_range(standby_told(world), cases[i].lasts - 1, cases[i].lasts + 1);
        }
        assert_in_range(standby_lasts(world), i64_max(cases[i].lasts - 1, 0), cases[i].lasts + 1);
        world_close(world);
        free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standby_when_the_clock_is_set),
    };
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
