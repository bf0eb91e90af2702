/* Goal: a person's swap or rollback that has to wait is about what there was when it was asked for, and one
 * that ends before its hold leaves nothing behind; what comes too late is not heard. Method: the world of
 * world.h, with workers that die while somebody waits for them, or speak out of turn. */
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

static struct world_worker *worker_of(struct world *world, uint32_t version)
{
    struct world_worker *worker = world->workers;
    while (worker < world->workers + WORLD_WORKERS &&
           (!worker->alive || worker->version != version)) {
        worker++;
    }
    ASSERT(worker < world->workers + WORLD_WORKERS);
    return worker;
}

/* v2 is ready, its swap was asked for, and both were told to run to the cut, but v2 never comes there. */
static void swap_that_hangs(struct world *world, struct world_answer *answer)
{
    world_serve_first(world);
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    world->silent_at = "run_to";
    world->fault_version = 2;
    world->fault_once = true;
    world_ask(world, answer, "swap", "p", 2, json_object());
    for (int i = 0; i < 100 && world->silent_at != NULL; i++) {
        world_step(world);
    }
    world_step(world);
    assert_false(answer->done);
    assert_false(worker_of(world, 1)->running_to); /* it is there */
}

/* Who drops the candidate ends its swap, at once and with the reason. */
static void test_drop_ends_a_swap(void **state)
{
    struct world *world = *state;
    struct world_answer swap;
    struct world_answer drop;
    swap_that_hangs(world, &swap);
    world_ask(world, &drop, "drop", "p", 2, json_pack("{s:s}", "who", "ann"));
    assert_true(swap.done);
    assert_int_equal(swap.err.code, -KE_REFUSED);
    assert_non_null(strstr(swap.err.text, "dropped by ann"));
    world_until(world, &drop);
    assert_non_null(drop.body);
    json_decref(drop.body);
    world_steps(world, 3);
    assert_false(worker_of(world, 1)->held);
    assert_string_equal(world_state(world, 1), "serving");
    assert_string_equal(world_state(world, 2), "");
}

static void say_at_cut(struct world *world, struct world_worker *worker, uint64_t id,
                       const char *digest)
{
    world_event(world, worker,
                json_pack("{s:s, s:I, s:o, s:s, s:{s:s}, s:[s, s, s]}", "is", "at_cut", "id",
                          (json_int_t)id, "cut", world_vector(worker->cut), "digest", digest,
                          "tables", "counts", "d", "sources", "1", "2", "3"));
}

/* An answer to an earlier order says nothing of this one: neither is it taken for it, nor does it get into
 * the receipt. */
static void test_answers_to_earlier_orders(void **state)
{
    struct world *world = *state;
    struct world_answer swap;
    swap_that_hangs(world, &swap);
    struct world_worker *old = worker_of(world, 1);
    struct world_worker *new = worker_of(world, 2);
    uint64_t id = old->cut_id;
    memcpy(new->cut, old->cut, sizeof new->cut);
    say_at_cut(world, new, id - 1, "earlier");
    say_at_cut(world, old, id - 1, "earlier");
    assert_false(swap.done);
    memcpy(new->files->next, old->cut, sizeof old->cut);
    say_at_cut(world, new, id, "right");
    assert_true(swap.done);
    assert_non_null(swap.body);
    assert_string_equal(json_text(swap.body, "old_digest", ""), "all");
    assert_string_equal(json_text(swap.body, "new_digest", ""), "right");
    json_decref(swap.body);
}

static void say_failed(struct world *world, struct world_worker *worker, const char *message)
{
    world_event(world, worker,
                json_pack("{s:s, s:{s:s, s:s, s:s}, s:i}", "is", "failed", "error", "code",
                          "range_lost", "message", message, "hint", "", "source", 1));
}

/* What a worker says that was told to end counts no more: why it was told stands. */
static void test_last_words(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    struct world_worker *worker = worker_of(world, 1);
    say_failed(world, worker, "the first partition is gone");
    say_failed(world, worker, "and the second");
    world_steps(world, 3);
    json_t *status = world_call(world, "status", "p", 0, NULL);
    const json_t *version = json_array_get(json_object_get(status, "versions"), 0);
    assert_string_equal(json_text(json_object_get(version, "error"), "message", ""),
                        "the first partition is gone");
    json_decref(status);
}

static void assert_trouble(struct world *world, const char *says)
{
    json_t *status = world_call(world, "status", "p", 0, NULL);
    const json_t *version = json_array_get(json_object_get(status, "versions"), 1);
    const char *text = json_text(json_object_get(version, "trouble"), "message", "");
    if (strstr(text, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", text, says);
    }
    json_decref(status);
}

/* What serves hangs in opening: a person's rollback gets past it, at the first look when that is known, and
 * readers go on where they were. */
static void test_rollback_from_what_hangs_in_opening(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    world->silent_at = "open";
    world->fault_version = 2;
    world->fault_once = false;
    kill_workers(world, 2);
    world_steps(world, 20);
    world_refused(world, "rollback", 0, json_object(), -KE_AGAIN, "the serving v2 is starting");
    world_steps(world, 500);
    assert_trouble(world, "has been opening its files for 1");
    world_do(world, "rollback", "p", 0);
    assert_string_equal(world_state(world, 1), "serving");
    world->silent_at = NULL;
    world_steps(world, 600);
    world_do(world, "swap", "p", 2); /* it is none the worse */
}

/* The same of one that has stopped in the middle. */
static void test_rollback_from_what_is_stopped(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    world->stopped_version = 2;
    world_steps(world, 50);
    world_refused(world, "rollback", 0, json_object(), -KE_TIMEOUT, "waiting for v2 to hold");
    world_steps(world, 200);
    assert_trouble(world, "has said nothing for ");
    struct world_worker *worker = worker_of(world, 2);
    struct world_answer answer;
    world_ask(world, &answer, "rollback", "p", 0, json_object());
    assert_false(answer.done);
    assert_true(worker->exited);
    world_worker_step(world, worker);
    world->now_us += 500000; /* it is not started again first, though the time for it has come */
    uint32_t starts = world->starts;
    world_step(world);
    assert_int_equal(world->starts, starts);
    world_until(world, &answer);
    assert_non_null(answer.body);
    json_decref(answer.body);
    assert_string_equal(world_state(world, 1), "serving");
}

/* A verify whose worker hangs is given up after a minute: who asked hears of it, and the next one can
 * begin. */
static void test_verify_that_hangs(void **state)
{
    struct world *world = *state;
    struct world_answer answer;
    world_serve_first(world);
    world_ask(world, &answer, "verify", "p", 1, json_object());
    struct world_worker *scratch = NULL;
    for (int steps = 0; steps < 100 && scratch == NULL; steps++) {
        world_step(world);
        for (int i = 0; i < WORLD_WORKERS; i++) {
            struct world_worker *worker = &world->workers[i];
            scratch = worker->alive && worker->version != 1 ? worker : scratch;
        }
    }
    assert_non_null(scratch);
    assert_int_equal(scratch->command_count, 1); /* it never sees its `open` */
    json_decref(scratch->commands[0]);
    scratch->command_count = 0;
    world_steps(world, 2900);
    assert_false(answer.done);
    world_steps(world, 200);
    assert_true(answer.done);
    assert_int_equal(answer.err.code, -KE_TIMEOUT);
    assert_non_null(strstr(answer.err.text, "said nothing for 60 s"));
    world_do(world, "verify", "p", 1);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_rollback_of_what_served),
        WORLD_TEST(test_swap_of_what_was_newest),
        WORLD_TEST(test_given_up_before_the_hold),
        WORLD_TEST(test_drop_ends_a_swap),
        WORLD_TEST(test_answers_to_earlier_orders),
        WORLD_TEST(test_last_words),
        WORLD_TEST(test_rollback_from_what_hangs_in_opening),
        WORLD_TEST(test_rollback_from_what_is_stopped),
        WORLD_TEST(test_verify_that_hangs),
    };
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
