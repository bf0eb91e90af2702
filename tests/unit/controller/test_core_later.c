/* Goal: a person's swap or rollback that has to wait is about what there was when it was asked for, and one
 * that ends before its hold leaves nothing behind. Method: the world of world.h, with workers that die while
 * somebody waits for them. */
#include "tests/unit/controller/world.h"

static void kill_workers(struct world *world, uint32_t version)
{
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].alive && world->workers[i].version == version) {
            world_worker_exit(&world->workers[i], 0, 11);
        }
    }
}

/* From now on its workers die as soon as they open. */
static void keep_dead(struct world *world, uint32_t version)
{
    world->die_at = "open";
    world->fault_version = version;
    world->fault_once = false;
    kill_workers(world, version);
    world_step(world);
}

/* Who asks for a way back means from what serves then. While it waits for a worker, another version is
 * swapped in: the way back from that one was not asked for. */
static void test_rollback_of_what_served(void **state)
{
    struct world *world = *state;
    struct world_answer answer;
    struct world_answer swap;
    world_serve_second(world);
    json_decref(world_call(world, "replay", "p", 0, json_pack("{s:s}", "swap", "manual")));
    world_wait(world, 3, "ready");
    keep_dead(world, 1);
    world_ask(world, &answer, "rollback", "p", 0, json_object());
    world_ask(world, &swap, "swap", "p", 3, json_object());
    for (int i = 0; i < 50 * WORLD_WORKERS && !swap.done; i++) { /* all of it between two ticks */
        if (world->workers[i % WORLD_WORKERS].id != 0) {
            world_worker_step(world, &world->workers[i % WORLD_WORKERS]);
        }
    }
    assert_non_null(swap.body);
    json_decref(swap.body);
    assert_false(answer.done);
    world_until(world, &answer);
    json_decref(answer.body);
    assert_int_equal(answer.err.code, -KE_REFUSED);
    assert_non_null(strstr(answer.err.text, "v3 has begun to serve meanwhile, instead of v2"));
    assert_string_equal(world_state(world, 3), "serving");
    assert_string_equal(world_state(world, 2), "standby");
}

/* The newest version, as it was when somebody asked for it. */
static void test_swap_of_what_was_newest(void **state)
{
    struct world *world = *state;
    struct world_answer answer;
    world_serve_first(world);
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    keep_dead(world, 2);
    world_ask(world, &answer, "swap", "p", 0, json_object());
    assert_false(answer.done);
    json_decref(world_call(world, "replay", "p", 0, json_pack("{s:s}", "swap", "manual")));
    world_wait(world, 3, "ready");
    assert_false(answer.done);
    world->die_at = NULL;
    world_until(world, &answer);
    assert_int_equal(json_int(answer.body, "new", 0), 2);
    json_decref(answer.body);
    assert_string_equal(world_state(world, 2), "serving");
}

/* A swap that ends before its hold has begun: the new version was told that a cut is near. */
static void test_given_up_before_the_hold(void **state)
{
    struct world *world = *state;
    struct world_answer answer;
    world_serve_first(world);
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    world->silent_at = "near";
    world->fault_version = 2;
    world->fault_once = true;
    world_ask(world, &answer, "swap", "p", 2, json_object());
    world_steps(world, 3);
    assert_false(answer.done);
    kill_workers(world, 1);
    world_until(world, &answer);
    json_decref(answer.body);
    assert_true(answer.err.code < 0);
    world_steps(world, 3);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        assert_false(world->workers[i].alive && world->workers[i].near);
    }
    world_do(world, "swap", "p", 2);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_rollback_of_what_served),
        WORLD_TEST(test_swap_of_what_was_newest),
        WORLD_TEST(test_given_up_before_the_hold),
    };
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
