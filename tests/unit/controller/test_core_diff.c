/* Goal: a diff sees both versions at one cut and lets both go on, whatever happens in between; swaps and
 * diffs of a processor keep out of each other's way; every request is answered and nothing is left
 * open. Method: the world of world.h; the model's snapshot looks at the positions in the "files". */
#include "tests/unit/controller/world.h"

/* What serve/diff.h would be. */
struct model {
    struct world *world;
    const struct world_files *files[2];
    int64_t cut[WORLD_PARTITIONS];
};

static int models_open;
static int snapshots;

static int model_open(void *ctx, const char *processor, uint32_t a, uint32_t b, const json_t *body,
                      void **out, struct err *err)
{
    struct model *model = xcalloc(1, sizeof *model);
    const uint32_t numbers[2] = {a, b};
    (void)body;
    model->world = ctx;
    *out = NULL;
    for (int i = 0; i < 2; i++) {
        char dir[192];
        (void)snprintf(dir, sizeof dir, "%s/%u", processor, numbers[i]);
        model->files[i] = world_files(model->world, dir, false);
        if (model->files[i] == NULL) {
            free(model);
            return err_set(err, KE_NOT_FOUND, "no files of %s", dir);
        }
    }
    models_open++;
    *out = model;
    return 0;
}

static int model_snapshot(void *diff, struct err *err)
{
    struct model *model = diff;
    memcpy(model->cut, model->files[0]->next, sizeof model->cut);
    snapshots++;
    return memcmp(model->cut, model->files[1]->next, sizeof model->cut) == 0
               ? 0
               : err_set(err, KE_REFUSED, "not at one cut");
}

static int model_run(void *diff, json_t **out, struct err *err)
{
    const struct model *model = diff;
    (void)err;
    *out = json_pack("{s:I}", "first", (json_int_t)model->cut[0]);
    return 0;
}

static void model_stop(void *diff)
{
    (void)diff;
}

static void model_close(void *diff)
{
    models_open--;
    free(diff);
}

static const struct core_diff_ops model_ops = {model_open, model_snapshot, model_run, model_stop,
                                               model_close};

/* v1 serves, v2 is ready. */
static int setup(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world_open(world);
    world_core_close(world);
    world->diff_ops = &model_ops;
    models_open = 0;
    snapshots = 0;
    world_core_open(world);
    world_deploy(world, COUNTS_1, "auto");
    world_wait(world, 1, "serving");
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    world_close(world);
    free(world);
    assert_int_equal(models_open, 0);
    return 0;
}

static json_t *both(int a, int b)
{
    return json_pack("{s:i, s:i}", "a", a, "b", b);
}

static int64_t first_of(struct world *world, const char *dir)
{
    const struct world_files *files = world_files(world, dir, false);
    ASSERT(files != NULL);
    return files->next[0];
}

static void assert_both_go_on(struct world *world)
{
    static const char *const dirs[] = {"p/1", "p/2"};
    world_steps(world, 5);
    for (int i = 0; i < 2; i++) {
        int64_t at = first_of(world, dirs[i]);
        world_steps(world, 3);
        assert_true(first_of(world, dirs[i]) > at);
    }
}

/* Steps until a worker is held. */
static void until_held(struct world *world)
{
    for (int i = 0; i < 50; i++) {
        for (int k = 0; k < WORLD_WORKERS; k++) {
            if (world->workers[k].id != 0 && world->workers[k].held) {
                return;
            }
        }
        world_step(world);
    }
    fail_msg("nobody is held");
}

/* ---- tests */

static void test_one_cut(void **state)
{
    struct world *world = *state;
    int64_t before = 0;
    for (int i = 0; i < 5; i++) {
        json_t *answer = world_call(world, "diff", "p", 0, both(1 + i % 2, 2 - i % 2));
        assert_true(json_int(answer, "first", -1) > before);
        before = json_int(answer, "first", -1);
        assert_true(json_number(answer, "hold_ms", -1) > 0);
        assert_true(json_number(answer, "hold_ms", -1) < 2000);
        json_decref(answer);
        assert_both_go_on(world);
    }
    assert_int_equal(snapshots, 5);
    assert_string_equal(world_state(world, 1), "serving");
    assert_string_equal(world_state(world, 2), "ready");
}

static void test_refused(void **state)
{
    struct world *world = *state;
    world_refused(world, "diff", 0, both(1, 1), -KE_INVALID, "with itself");
    world_refused(world, "diff", 0, both(1, 3), -KE_NOT_FOUND, "no version 3");
    world_refused(world, "diff", 0, json_pack("{s:i}", "a", 1), -KE_INVALID, "\"b\" must be");
    world_refused(world, "diff", 0, json_pack("{s:i,s:i,s:i}", "a", 1, "b", 2, "table", 7),
                  -KE_INVALID, "name of a table");
    world_refused(world, "diff", 0, json_pack("{s:i,s:i,s:i}", "a", 1, "b", 2, "limit", 1001),
                  -KE_INVALID, "0 to 1000");
    /* Only one at a time of a processor. */
    struct world_answer answer;
    world_ask(world, &answer, "diff", "p", 0, both(1, 2));
    world_refused(world, "diff", 0, both(2, 1), -KE_BUSY, "being compared");
    world_until(world, &answer);
    json_decref(answer.body);
    /* Too far behind to be held: said at once, nobody is held for it. */
    world->pace = 0;
    world_do(world, "pause", "p", 2);
    world_steps(world, 3);
    world->pace = 1000;
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->end[i] += 3000;
    }
    world_steps(world, 20);
    world_refused(world, "diff", 0, both(1, 2), -KE_REFUSED, "records behind v1");
    world_do(world, "resume", "p", 2);
    world_wait(world, 2, "ready");
    world_steps(world, 20);
    json_decref(world_call(world, "diff", "p", 0, both(1, 2)));
}

static void test_hold_runs_out(void **state)
{
    struct world *world = *state;
    static const char *const steps[] = {"hold", "run_to"};
    for (uint32_t i = 0; i < 8; i++) {
        world->silent_at = steps[i % 2];
        world->fault_version = 1 + i / 2 % 2;
        world->fault_once = true;
        int64_t before = world->now_us;
        world_refused(world, "diff", 0, i < 4 ? both(1, 2) : both(2, 1), -KE_TIMEOUT,
                      i / 2 % 2 == 0 ? "waiting for v1" : "waiting for v2");
        assert_true(world->now_us - before < 2200000);
        assert_both_go_on(world);
    }
    assert_int_equal(snapshots, 0);
    json_decref(world_call(world, "diff", "p", 0, both(1, 2)));
}

static void test_worker_dies(void **state)
{
    struct world *world = *state;
    static const char *const steps[] = {"hold", "run_to"};
    for (uint32_t i = 0; i < 4; i++) {
        world->die_at = steps[i % 2];
        world->fault_version = 1 + i / 2;
        world->fault_once = true;
        world_refused(world, "diff", 0, both(1, 2), -KE_AGAIN, "ended while it was held");
        world_steps(world, 100); /* it is started again */
        assert_both_go_on(world);
    }
    json_decref(world_call(world, "diff", "p", 0, both(1, 2)));
}

/* A swap that is asked for while both are held comes when they are released; a diff waits for a swap. */
static void test_beside_a_swap(void **state)
{
    struct world *world = *state;
    struct world_answer diff;
    struct world_answer swap;
    world_ask(world, &diff, "diff", "p", 0, both(1, 2));
    until_held(world);
    assert_false(diff.done);
    world_ask(world, &swap, "swap", "p", 2, json_object());
    assert_false(swap.done);
    json_t *status = world_call(world, "status", "p", 0, NULL);
    assert_true(json_is_null(json_object_get(status, "swap"))); /* not begun */
    json_decref(status);
    world_until(world, &diff);
    assert_non_null(diff.body);
    json_decref(diff.body);
    world_until(world, &swap);
    assert_non_null(swap.body);
    json_decref(swap.body);
    assert_string_equal(world_state(world, 2), "serving");
    world_ask(world, &swap, "rollback", "p", 0, json_object());
    world_step(world);
    world_ask(world, &diff, "diff", "p", 0, both(1, 2));
    world_until(world, &diff);
    assert_true(swap.done);
    assert_non_null(swap.body);
    assert_non_null(diff.body);
    json_decref(swap.body);
    json_decref(diff.body);
    assert_both_go_on(world);
}

/* Without a worker a version stands where it is. */
static void test_still(void **state)
{
    struct world *world = *state;
    world_do(world, "swap", "p", 2);
    world->now_us += 61000000; /* the standby is over */
    world_wait(world, 1, "retired");
    world_steps(world, 50);
    world_refused(world, "diff", 0, both(1, 2), -KE_REFUSED, "not at one cut");
    world_refused(world, "diff", 0, both(2, 1), -KE_REFUSED, "not at one cut");
    world->inflow = 0;
    world_steps(world, 5);
    struct world_files *old = world_files(world, "p/1", false);
    const struct world_files *new = world_files(world, "p/2", false);
    ASSERT(old != NULL && new != NULL);
    memcpy(old->next, new->next, sizeof old->next);
    json_decref(world_call(world, "diff", "p", 0, both(1, 2)));
    json_decref(world_call(world, "diff", "p", 0, both(2, 1)));
}

/* Dropped, shut down, closed or killed in the middle: answered, nothing left open. */
static void test_ends(void **state)
{
    struct world *world = *state;
    struct world_answer answer;
    world_ask(world, &answer, "diff", "p", 0, both(1, 2));
    until_held(world);
    world_do(world, "drop", "p", 2);
    world_until(world, &answer);
    assert_int_equal(answer.err.code, -KE_AGAIN);
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 3, "ready");
    for (int steps = 0; steps < 8; steps++) {
        world_ask(world, &answer, "diff", "p", 0, both(1, 3));
        world_steps(world, steps);
        world_restart(world);
        assert_true(answer.done);
        assert_true(answer.err.code == -KE_CLOSED || answer.body != NULL);
        json_decref(answer.body);
        assert_int_equal(models_open, 0);
        world_steps(world, 50);
    }
    world_ask(world, &answer, "diff", "p", 0, both(1, 3));
    until_held(world);
    core_shutdown(world->core);
    world_steps(world, 10);
    assert_int_equal(answer.err.code, -KE_CLOSED);
    assert_int_equal(core_workers_left(world->core), 0);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_one_cut),       WORLD_TEST(test_refused),
        WORLD_TEST(test_hold_runs_out), WORLD_TEST(test_worker_dies),
        WORLD_TEST(test_beside_a_swap), WORLD_TEST(test_still),
        WORLD_TEST(test_ends),
    };
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
