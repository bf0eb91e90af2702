/* Goal: that a serving version falls behind, or is held back by a transaction, is told once, and once
 * that it is over; a moment of either is not. Method: the world of world.h. */
#include "tests/unit/controller/world.h"

static int setup(void **state)
{
    (void)world_setup(state);
    struct world *world = *state;
    world_deploy(world, COUNTS_1, "auto");
    world_wait(world, 1, "serving");
    return 0;
}

/* How often p's v1 had this event. */
static int told(struct world *world, const char *type)
{
    json_t *body = world_call(world, "events", NULL, 0, json_pack("{s:i}", "limit", 1000));
    int count = 0;
    size_t i;
    json_t *event;
    json_array_foreach (json_object_get(body, "events"), i, event) {
        if (strcmp(json_text(event, "type", ""), type) == 0) {
            assert_string_equal(json_text(event, "processor", ""), "p");
            assert_int_equal(json_int(event, "version", 0), 1);
            count++;
        }
    }
    json_decref(body);
    return count;
}

static void seconds(struct world *world, int64_t count)
{
    int64_t until = world->now_us + count * 1000000;
    while (world->now_us < until) {
        world_step(world);
    }
}

static void test_lagging_is_told(void **state)
{
    struct world *world = *state;
    int64_t pace = world->pace;
    for (int round = 1; round <= 2; round++) {
        world->pace = 0;
        world->inflow = 1000;
        seconds(world, 5); /* not long enough */
        assert_int_equal(told(world, "lagging"), round - 1);
        seconds(world, 20);
        assert_int_equal(told(world, "lagging"), round);
        assert_int_equal(told(world, "caught_up"), round - 1);
        world->pace = 100 * pace;
        world->inflow = 0;
        seconds(world, 20);
        assert_int_equal(told(world, "lagging"), round);
        assert_int_equal(told(world, "caught_up"), round);
    }
}

static void test_blocked_is_told(void **state)
{
    struct world *world = *state;
    for (int round = 1; round <= 2; round++) {
        world->blocked = true;
        seconds(world, 50);
        world->blocked = false; /* that was a long transaction, no more */
        seconds(world, 2);
        assert_int_equal(told(world, "blocked"), round - 1);
        world->blocked = true;
        seconds(world, 65);
        assert_int_equal(told(world, "blocked"), round);
        assert_int_equal(told(world, "unblocked"), round - 1);
        world->blocked = false;
        seconds(world, 2);
        assert_int_equal(told(world, "unblocked"), round);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lagging_is_told, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_blocked_is_told, setup, world_teardown),
    };
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
