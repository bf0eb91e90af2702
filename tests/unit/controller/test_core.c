/* Goal: the brain does what is asked and what is due: deploy to serving, swap, rollback and forward,
 * abort, drop, pause; it says no where it must; it survives workers that die, hang or fail.
 * Method: the world of world.h, stepped; a reader's view is checked after every step. */
#include "tests/unit/controller/world.h"

#include <signal.h>

static json_t *receipt_of(struct world *world, size_t newest)
{
    json_t *body = world_call(world, "history", "p", 0, NULL);
    json_t *receipt = json_incref(json_array_get(json_object_get(body, "receipts"), newest));
    assert_non_null(receipt);
    json_decref(body);
    return receipt;
}

static json_t *status_of(struct world *world)
{
    return world_call(world, "status", "p", 0, NULL);
}

static json_t *version_of(const json_t *status, uint32_t version)
{
    size_t i;
    json_t *entry;
    json_array_foreach (json_object_get(status, "versions"), i, entry) {
        if (json_int(entry, "version", 0) == version) {
            return entry;
        }
    }
    fail_msg("no version %u in the status", version);
    return NULL;
}

/* ---- The main road ---- */

static void test_first_version_serves(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    struct catalog_pointer pointer;
    assert_int_equal(catalog_pointer_get(world->catalog, "counts", &pointer, NULL), 0);
    assert_string_equal(pointer.processor, "p");
    assert_int_equal(pointer.version, 1);
    assert_int_equal(pointer.epoch, 1);
    json_t *receipt = receipt_of(world, 0);
    assert_int_equal(json_int(receipt, "old", -1), 0);
    assert_int_equal(json_int(receipt, "new", -1), 1);
    assert_string_equal(json_text(receipt, "why", ""), "auto");
    assert_true(json_is_null(json_object_get(receipt, "old_digest")));
    json_decref(receipt);
}

static void test_second_version_is_swapped_in(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    json_t *receipt = receipt_of(world, 0);
    assert_int_equal(json_int(receipt, "old", -1), 1);
    assert_int_equal(json_int(receipt, "new", -1), 2);
    assert_int_equal(json_int(receipt, "epoch", -1), 2);
    const json_t *cut = json_object_get(json_object_get(receipt, "cut"), "events");
    assert_int_equal(json_array_size(cut), WORLD_PARTITIONS);
    assert_string_equal(json_text(receipt, "old_digest", ""), "all");
    assert_string_equal(
        json_text(json_object_get(json_object_get(receipt, "tables"), "counts"), "new", ""), "d");
    double hold_ms = json_number(receipt, "hold_ms", -1);
    assert_true(hold_ms >= 0);
    assert_true(hold_ms < 2000);
    json_decref(receipt);
    /* Both go on. */
    int64_t before = world->seen[0];
    world_steps(world, 20);
    assert_true(world->seen[0] > before);
    json_t *status = status_of(world);
    assert_int_equal(json_int(status, "serving", 0), 2);
    assert_true(json_is_null(json_object_get(status, "swap")));
    assert_true(json_is_null(json_object_get(status, "last_swap_error")));
    const json_t *old = version_of(status, 1);
    assert_true(json_int(old, "lag", -1) < 100);
    assert_int_equal(json_array_size(json_object_get(old, "sources")), WORLD_PARTITIONS);
    json_decref(status);
}

static void test_rollback_and_forward(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    json_t *receipt = world_call(world, "rollback", "p", 0, json_pack("{s:s}", "who", "ann"));
    assert_int_equal(json_int(receipt, "new", 0), 1);
    assert_string_equal(json_text(receipt, "why", ""), "rollback");
    assert_string_equal(json_text(receipt, "who", ""), "ann");
    json_decref(receipt);
    assert_string_equal(world_state(world, 1), "serving");
    assert_string_equal(world_state(world, 2), "standby");
    /* Barred: not by itself, not by another rollback, but when a person says so. */
    world_steps(world, 200);
    assert_string_equal(world_state(world, 2), "standby");
    world_refused(world, "rollback", 0, json_object(), -KE_REFUSED, "was itself rolled back");
    receipt = world_call(world, "swap", "p", 0, json_object());
    assert_int_equal(json_int(receipt, "new", 0), 2);
    json_decref(receipt);
    json_t *status = status_of(world);
    assert_false(json_bool(version_of(status, 2), "barred", true));
    assert_int_equal(json_int(status, "epoch", 0), 4);
    json_decref(status);
}

static void test_standby_retires(void **state)
{
    struct world *world = *state;
    world->standby_ms = 2000;
    world_restart(world);
    world_serve_second(world);
    world_wait(world, 1, "retired");
    world_steps(world, 20);
    world_refused(world, "rollback", 0, json_object(), -KE_REFUSED, "no version on standby");
    world_refused(world, "swap", 1, json_object(), -KE_REFUSED, "v1 is retired");
    assert_non_null(world_files(world, "p/1", false)); /* until it is dropped */
    world_do(world, "drop", "p", 1);
    assert_null(world_files(world, "p/1", false));
    assert_string_equal(world_state(world, 1), "");
}

static void test_third_version_retires_the_first(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    assert_int_equal(world_deploy(world, COUNTS_1 "-- again\n", "auto"), 1); /* unchanged */
    json_decref(world_call(world, "replay", "p", 0, json_object()));
    world_wait(world, 3, "serving");
    assert_string_equal(world_state(world, 2), "standby");
    assert_string_equal(world_state(world, 1), "retired");
}

static void test_manual_swap_waits(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world_deploy(world, COUNTS_2, "manual");
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "not caught up");
    world_wait(world, 2, "ready");
    world_steps(world, 100);
    assert_string_equal(world_state(world, 2), "ready");
    world_do(world, "swap", "p", 2);
    assert_string_equal(world_state(world, 2), "serving");
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "already serving");
}

static void test_tables_that_go(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world_deploy(world, COUNTS_3, "auto");
    world->seen_epoch = 0; /* the table is to disappear */
    for (int i = 0; i < 500 && strcmp(world_state(world, 2), "serving") != 0; i++) {
        world->seen_epoch = 0;
        world_step(world);
    }
    struct catalog_pointer pointer;
    assert_int_equal(catalog_pointer_get(world->catalog, "counts", &pointer, NULL), -KE_NOT_FOUND);
    assert_int_equal(catalog_pointer_get(world->catalog, "other", &pointer, NULL), 0);
    assert_int_equal(pointer.version, 2);
}

/* ---- Saying no ---- */

static void test_deploys_that_are_refused(void **state)
{
    struct world *world = *state;
    world_refused(world, "deploy", 0, json_object(), -KE_INVALID, "needs \"sql\"");
    world_refused(world, "deploy", 0, world_definition("SELEC 1;", "auto"), -KE_SQL, "SELEC");
    world_refused(world, "deploy", 0, world_definition(COUNTS_1, "maybe"), -KE_INVALID, "maybe");
    world_refused(world, "deploy", 0,
                  world_definition("CREATE TABLE e (a text) WITH (topic='nowhere', format='json');"
                                   "CREATE MATERIALIZED VIEW v AS SELECT a, count(*) AS n FROM e "
                                   "GROUP BY a;",
                                   "auto"),
                  -KE_NOT_FOUND, "nowhere");
    struct world_answer answer;
    world_ask(world, &answer, "deploy", "../etc", 0, world_definition(COUNTS_1, "auto"));
    assert_int_equal(answer.err.code, -KE_INVALID);
    world_ask(world, &answer, "status", "p", 0, NULL);
    assert_int_equal(answer.err.code, -KE_NOT_FOUND); /* nothing was left behind */
    world_serve_first(world);
    world_ask(world, &answer, "deploy", "q", 0, world_definition(COUNTS_2, "auto"));
    assert_int_equal(answer.err.code, -KE_EXISTS);
    assert_non_null(strstr(answer.err.text, "\"counts\" belongs to p"));
}

static void test_same_definition_is_unchanged(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    json_t *body = world_call(world, "deploy", "p", 0, world_definition(COUNTS_1, "auto"));
    assert_true(json_bool(body, "unchanged", false));
    assert_int_equal(json_int(body, "version", 0), 1);
    json_decref(body);
    /* Two at the same time: one version. */
    struct world_answer first;
    struct world_answer second;
    world_ask(world, &first, "deploy", "p", 0, world_definition(COUNTS_2, "auto"));
    world_ask(world, &second, "deploy", "p", 0, world_definition(COUNTS_2, "auto"));
    world_until(world, &first);
    world_until(world, &second);
    assert_int_equal(json_int(first.body, "version", 0), 2);
    assert_int_equal(json_int(second.body, "version", 0), 2);
    assert_true(json_bool(first.body, "unchanged", false) !=
                json_bool(second.body, "unchanged", false));
    json_decref(first.body);
    json_decref(second.body);
    /* Another start is another version. */
    body = world_definition(COUNTS_2, "manual");
    json_object_set_new(body, "from", json_string("end"));
    body = world_call(world, "deploy", "p", 0, body);
    assert_int_equal(json_int(body, "version", 0), 3);
    assert_false(json_bool(body, "complete", true));
    json_decref(body);
}

static void test_calls_that_are_refused(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world_refused(world, "abort", 1, json_object(), -KE_REFUSED, "is serving");
    world_refused(world, "pause", 1, json_object(), -KE_REFUSED, "is serving");
    world_refused(world, "drop", 1, json_object(), -KE_REFUSED, "is serving");
    world_refused(world, "resume", 1, json_object(), -KE_REFUSED, "not paused");
    world_refused(world, "drop", 9, json_object(), -KE_NOT_FOUND, "no version 9");
    world_refused(world, "swap", 9, json_object(), -KE_NOT_FOUND, "no version 9");
    world_refused(world, "swap", 0, json_object(), -KE_REFUSED, "could be swapped in");
    world_refused(world, "rollback", 0, json_object(), -KE_REFUSED, "no version on standby");
    world_refused(world, "frobnicate", 0, json_object(), -KE_INVALID, "frobnicate");
    world_serve_first(world);
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "serving");
    world_refused(world, "abort", 1, json_object(), -KE_REFUSED, "only a candidate");
}

static void test_lagging_candidate_is_refused(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    world->inflow = 5000; /* more than anybody can drain */
    world_steps(world, 5);
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "not caught up: lag");
}

/* ---- Abort, drop, pause ---- */

static void test_abort_removes_files(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world->pace = 10;
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "replaying");
    assert_non_null(world_files(world, "p/2", false));
    world_do(world, "abort", "p", 2);
    assert_string_equal(world_state(world, 2), "aborted");
    world_steps(world, 5);
    assert_null(world_files(world, "p/2", false));
    world_do(world, "drop", "p", 2);
    assert_string_equal(world_state(world, 2), "");
    /* Numbers are not used twice. */
    assert_int_equal(world_deploy(world, COUNTS_2, "auto"), 3);
}

static void test_drop_of_standby(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    json_t *body = world_call(world, "drop", "p", 1, json_object());
    assert_true(json_bool(body, "dropped", false));
    json_decref(body);
    assert_null(world_files(world, "p/1", false));
    world_refused(world, "rollback", 0, json_object(), -KE_REFUSED, "no version on standby");
    world_restart(world);
    assert_string_equal(world_state(world, 1), "");
}

static void test_pause_and_resume(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world->pace = 20;
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "replaying");
    world_do(world, "pause", "p", 2);
    world_steps(world, 3);
    int64_t at = world_files_of(world, "p/2")->next[0];
    world_steps(world, 50);
    assert_int_equal(world_files_of(world, "p/2")->next[0], at);
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "v2 is paused");
    /* A paused version stays so over a restart, without a worker. */
    uint32_t starts = world->starts;
    world_restart(world);
    world_steps(world, 10);
    assert_int_equal(world->starts, starts + 1);
    world->pace = 1000;
    world_do(world, "resume", "p", 2);
    world_wait(world, 2, "serving");
}

/* ---- Workers in trouble ---- */

/* A worker dies at every command of a swap: the old one stays until a later try succeeds. */
static void swap_with_fault(struct world *world, const char *die, const char *silent,
                            uint32_t version, bool once)
{
    world->die_at = die;
    world->silent_at = silent;
    world->fault_version = version;
    world->fault_once = once;
}

static void test_worker_dies_at_each_step(void **state)
{
    (void)state;
    static const char *const steps[] = {"near",    "hold", "run_to", "release",
                                        "serving", "seal", "open"};
    for (size_t i = 0; i < array_len(steps); i++) {
        /* Only the new one is told that a cut is near. */
        for (uint32_t victim = i == 0 ? 2 : 1; victim <= 2; victim++) {
            struct world *world = xcalloc(1, sizeof *world);
            world_open(world);
            world_serve_first(world);
            world_deploy(world, COUNTS_2, "auto");
            swap_with_fault(world, steps[i], NULL, victim, true);
            world_wait(world, 2, "serving");
            assert_string_equal(world_state(world, 1), "standby");
            world_steps(world, 100); /* restarted, and back at work */
            world_do(world, "rollback", "p", 0);
            world_close(world);
            free(world);
        }
    }
}

static void test_hold_runs_out(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    static const char *const steps[] = {"hold", "run_to"};
    for (uint32_t i = 0; i < 4; i++) {
        swap_with_fault(world, NULL, steps[i % 2], 1 + i / 2, true);
        int64_t before = world->now_us;
        world_refused(world, "swap", 2, json_object(), -KE_TIMEOUT,
                      i / 2 == 0 ? "waiting for v1" : "waiting for v2");
        assert_true(world->now_us - before < 2100000);
        assert_string_equal(world_state(world, 1), "serving");
        world_steps(world, 5);
        int64_t at = world_files_of(world, "p/1")->next[0];
        world_steps(world, 5); /* both were released */
        assert_true(world_files_of(world, "p/1")->next[0] > at);
        json_t *status = status_of(world);
        assert_non_null(strstr(json_text(json_object_get(status, "last_swap_error"), "message", ""),
                               "ran out"));
        json_decref(status);
    }
    world_do(world, "swap", "p", 2);
    json_t *status = status_of(world);
    assert_true(json_is_null(json_object_get(status, "last_swap_error")));
    json_decref(status);
}

/* That a cut is near is only good to know: whoever does not answer is held all the same. */
static void test_near_is_not_answered(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    swap_with_fault(world, NULL, "near", 2, true);
    int64_t before = world->now_us;
    json_t *receipt = world_call(world, "swap", "p", 2, NULL);
    const json_t *steps = json_object_get(receipt, "steps_ms");
    assert_in_range(world->now_us - before, 2000000, 2200000);
    assert_true(json_number(steps, "near", 0) >= 2000);
    assert_true(json_number(receipt, "hold_ms", 1e9) < 1000);
    json_decref(receipt);
    assert_string_equal(world_state(world, 2), "serving");
}

/* The steps of a hold are all of it. */
static void test_steps_of_the_hold(void **state)
{
    static const char *const names[] = {"prepare", "run_to", "check", "commit", "release"};
    struct world *world = *state;
    world_serve_first(world);
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "serving");
    world_do(world, "rollback", "p", 0);
    json_t *history = world_call(world, "history", "p", 0, NULL);
    size_t i;
    const json_t *receipt;
    json_array_foreach (json_object_get(history, "receipts"), i, receipt) {
        const json_t *steps = json_object_get(receipt, "steps_ms");
        double sum = 0;
        for (size_t k = 0; k < array_len(names); k++) {
            double took = json_number(steps, names[k], -1);
            assert_true(took >= 0);
            sum += took;
        }
        double hold = json_number(receipt, "hold_ms", -1);
        assert_true(sum > hold - 0.01 && sum < hold + 0.01);
        bool waited = json_number(receipt, "caught_up_ms", -1) >= 0;
        assert_int_equal(waited, strcmp(json_text(receipt, "why", ""), "auto") == 0);
    }
    assert_int_equal(i, 3);
    json_decref(history);
}

/* Automatic tries come with growing pauses. */
static void test_auto_swap_backs_off(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    swap_with_fault(world, "hold", NULL, 2, false); /* dies whenever it is to hold */
    world_deploy(world, COUNTS_2, "auto");
    world_steps(world, 500); /* ten seconds */
    assert_string_equal(world_state(world, 1), "serving");
    assert_in_range(world->starts, 5, 12);
    world->die_at = NULL;
    world_wait(world, 2, "serving");
}

static void test_restart_backs_off(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    uint32_t starts = world->starts;
    world->refuse_start = 4;
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].alive) {
            world_worker_exit(&world->workers[i], 0, 9);
        }
    }
    world_step(world);
    json_t *status = status_of(world);
    const json_t *version = version_of(status, 1);
    assert_string_equal(json_text(json_object_get(version, "worker"), "phase", ""), "off");
    assert_non_null(strstr(json_text(json_object_get(version, "trouble"), "message", ""),
                           "killed by signal 9"));
    json_decref(status);
    int64_t before = world->now_us;
    while (world->starts == starts) {
        world_step(world);
    }
    /* 100 + 200 + 400 + 800 + 1600 ms */
    assert_in_range(world->now_us - before, 3000000, 3300000);
    world_steps(world, 1600); /* healthy for 30 s */
    status = status_of(world);
    assert_true(json_is_null(json_object_get(version_of(status, 1), "trouble")));
    json_decref(status);
}

static void fail_worker(struct world *world, uint32_t version, const char *code)
{
    for (int i = 0; i < WORLD_WORKERS; i++) {
        struct world_worker *worker = &world->workers[i];
        if (worker->alive && worker->version == version) {
            world_event(world, worker,
                        json_pack("{s:s, s:{s:s, s:s, s:s}, s:i}", "is", "failed", "error", "code",
                                  code, "message", "it went wrong", "hint", "do this", "source",
                                  1));
            world_worker_exit(worker, 1, 0);
            return;
        }
    }
    fail_msg("v%u has no worker", version);
}

static void test_candidate_fails_for_good(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world->pace = 10;
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "replaying");
    fail_worker(world, 2, "range_lost");
    world_wait(world, 2, "failed");
    uint32_t starts = world->starts;
    world_steps(world, 1000);
    assert_int_equal(world->starts, starts);
    json_t *status = status_of(world);
    const json_t *error = json_object_get(version_of(status, 2), "error");
    assert_string_equal(json_text(error, "code", ""), "range_lost");
    assert_string_equal(json_text(error, "message", ""), "it went wrong");
    assert_string_equal(json_text(error, "hint", ""), "do this");
    json_decref(status);
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "v2 is failed");
    world_do(world, "drop", "p", 2);
}

static void test_candidate_fails_for_now(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world->pace = 10;
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "replaying");
    fail_worker(world, 2, "disk_full");
    world_step(world);
    json_t *status = status_of(world);
    const json_t *trouble = json_object_get(version_of(status, 2), "trouble");
    assert_string_equal(json_text(trouble, "code", ""), "disk_full");
    json_decref(status);
    world->pace = 1000;
    world_wait(world, 2, "serving");
}

/* A serving version that cannot go on keeps serving, shows why, and can be replaced. */
static void test_serving_version_fails(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    fail_worker(world, 1, "topic_changed");
    world_steps(world, 10);
    assert_string_equal(world_state(world, 1), "serving");
    json_t *status = status_of(world);
    assert_string_equal(json_text(json_object_get(version_of(status, 1), "error"), "code", ""),
                        "topic_changed");
    json_decref(status);
    uint32_t starts = world->starts;
    world_steps(world, 200);
    assert_int_equal(world->starts, starts);
    json_decref(world_call(world, "replay", "p", 0, json_object()));
    world_wait(world, 2, "serving");
    assert_string_equal(world_state(world, 1), "failed");
    world_refused(world, "rollback", 0, json_object(), -KE_REFUSED, "no version on standby");
}

/* What was rolled back bars the candidates before it from being swapped in by themselves, also while it
 * is paused. */
static void test_rolled_back_bars_older_candidates(void **state)
{
    static const char counts_3[] =
        "CREATE TABLE events (user_id text, kind text) WITH (topic='events', format='json');\n"
        "CREATE MATERIALIZED VIEW counts AS SELECT user_id, max(kind) AS n FROM events GROUP BY "
        "user_id;\n";
    struct world *world = *state;
    world_serve_first(world);
    world->pace = 10;
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "replaying");
    world_do(world, "pause", "p", 2);
    world->pace = 1000;
    assert_int_equal(world_deploy(world, counts_3, "auto"), 3);
    world_wait(world, 3, "serving");
    world_do(world, "rollback", "p", 0);
    world_do(world, "pause", "p", 3);
    world_do(world, "resume", "p", 2);
    world_wait(world, 2, "ready");
    world_steps(world, 200);
    assert_string_equal(world_state(world, 2), "ready");
    world_do(world, "swap", "p", 2);
    assert_string_equal(world_state(world, 2), "serving");
}

/* v2 serves and its worker dies as soon as it opens: what rollbacks are for. */
static void test_rollback_from_a_dying_version(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    swap_with_fault(world, "open", NULL, 2, false);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].alive && world->workers[i].version == 2) {
            /* It had committed more than it told. */
            for (int p = 0; p < WORLD_PARTITIONS; p++) {
                world->workers[i].files->next[p] += 500;
                world->end[p] += 600;
            }
            world_worker_exit(&world->workers[i], 0, 11);
        }
    }
    world_steps(world, 60);
    int64_t stood = world_files_of(world, "p/2")->next[0];
    json_t *receipt = world_call(world, "rollback", "p", 0, json_object());
    const json_t *cut = json_object_get(json_object_get(receipt, "cut"), "events");
    assert_true(json_integer_value(json_array_get(cut, 0)) >= stood);
    assert_true(json_is_null(json_object_get(receipt, "old_digest")));
    json_decref(receipt);
    assert_string_equal(world_state(world, 1), "serving");
    assert_string_equal(world_state(world, 2), "standby");
    world_steps(world, 50);
    world->die_at = NULL;
    world_steps(world, 600);
    world_do(world, "swap", "p", 2);
}

/* The other version has some way to go to where the dead one stood: meanwhile that one is not started
 * again, or readers would see it run ahead and then go back. */
static void test_dead_version_stands_still(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    world->pace = 20;
    world->inflow = 0;
    world_steps(world, 5);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].alive && world->workers[i].version == 2) {
            for (int p = 0; p < WORLD_PARTITIONS; p++) {
                world->workers[i].files->next[p] += 250; /* committed, and never told */
                world->end[p] += 300;
            }
            world_worker_exit(&world->workers[i], 0, 9);
        }
    }
    uint32_t starts = world->starts;
    world_step(world);
    world_do(world, "rollback", "p", 0);
    assert_int_equal(world->starts, starts);
    world_steps(world, 20);
    assert_int_equal(world->starts, starts + 1);
}

/* Asked before the workers are up: it waits for them, not for ever. */
static void test_rollback_just_after_a_crash(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    world_restart(world);
    world_do(world, "rollback", "p", 0);
    world->refuse_start = 1000;
    world_restart(world);
    int64_t before = world->now_us;
    world_refused(world, "swap", 2, json_object(), -KE_AGAIN, "the worker of v2 is not running");
    assert_in_range(world->now_us - before, 2900000, 3200000);
    world->refuse_start = 0;
    struct world_answer answer;
    world_restart(world);
    world_ask(world, &answer, "swap", "p", 2, json_object());
    assert_false(answer.done);
    core_shutdown(world->core);
    assert_int_equal(answer.err.code, -KE_CLOSED);
}

/* A serving version that only dies is replaced in the end, also by itself. */
static void test_auto_swap_from_a_dying_version(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    swap_with_fault(world, "open", NULL, 1, false);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].alive) {
            world_worker_exit(&world->workers[i], 0, 11);
        }
    }
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "serving");
    assert_string_equal(world_state(world, 1), "standby");
}

/* Kills the workers of a version's first steps so often, with that signal. */
static void kill_again_and_again(struct world *world, uint32_t version, int signal)
{
    for (int deaths = 0; deaths < 8; deaths++) {
        bool found = false;
        for (int steps = 0; steps < 600 && !found; steps++) {
            world_step(world);
            for (int i = 0; i < WORLD_WORKERS; i++) {
                if (world->workers[i].alive && world->workers[i].version == version) {
                    world_worker_exit(&world->workers[i], 0, signal);
                    found = true;
                }
            }
        }
    }
}

/* A candidate that runs a plugin and dies again and again has failed; being killed from outside does not
 * count. */
static void test_dying_of_a_plugin(void **state)
{
    struct world *world = *state;
    static const char sql[] =
        "CREATE TABLE events (user_id text, kind text) WITH (topic='events', format='json');\n"
        "CREATE MATERIALIZED VIEW counts AS SELECT w, count(*) AS n FROM plugin('harm.so', events) "
        "AS h(w text) GROUP BY w;\n";
    world_serve_first(world);
    json_t *body = world_definition(sql, "auto");
    json_object_set_new(body, "plugins",
                        json_pack("{s:s}", "harm.so", "0123456789abcdef0123456789abcdef"));
    json_decref(world_call(world, "deploy", "p", 0, body));
    kill_again_and_again(world, 2, SIGKILL);
    kill_again_and_again(world, 2, SIGTERM);
    assert_string_not_equal(world_state(world, 2), "failed");
    kill_again_and_again(world, 2, SIGSEGV);
    assert_string_equal(world_state(world, 2), "failed");
    json_t *status = status_of(world);
    const json_t *error = json_object_get(version_of(status, 2), "error");
    assert_non_null(strstr(json_text(error, "message", ""), "it runs a plugin"));
    json_decref(status);
    assert_string_equal(world_state(world, 1), "serving");
}

static void test_resume_of_a_serving_version(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    fail_worker(world, 1, "corrupt");
    world_steps(world, 10);
    world_do(world, "resume", "p", 1);
    world_steps(world, 1600);
    json_t *status = status_of(world);
    assert_true(json_is_null(json_object_get(version_of(status, 1), "error")));
    json_decref(status);
}

/* Sealed files that are not there any more are not built again under a serving version. */
static void test_lost_files(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    world_core_close(world);
    assert_int_equal(world_remove_files(world, "p/1", NULL), 0);
    world_core_open(world);
    world_wait(world, 1, "failed");
    assert_string_equal(world_state(world, 2), "serving");
}

/* ---- Verify ---- */

static void test_verify(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    json_t *body = world_call(world, "verify", "p", 1, json_object());
    assert_true(json_bool(body, "verified", false));
    assert_int_equal(json_int(body, "records", 0), 77);
    assert_true(json_number(body, "seconds", 0) > 0);
    json_decref(body);
    /* Who has the answer may ask again, though that worker has not ended yet. */
    json_decref(world_call(world, "verify", "p", 1, json_object()));
    world_steps(world, 5);
    for (int i = 0; i < WORLD_FILES; i++) {
        assert_null(strstr(world->files[i].dir, ".verify"));
    }
    /* A scratch worker that dies is not started again. */
    struct world_answer answer;
    world_ask(world, &answer, "verify", "p", 1, json_object());
    world_refused(world, "verify", 1, json_object(), -KE_BUSY, "being verified");
    world->pace = 1;
    world_steps(world, 5);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].alive && world->workers[i].until) {
            world_worker_exit(&world->workers[i], 0, 11);
        }
    }
    world_until(world, &answer);
    assert_int_equal(answer.err.code, -KE_AGAIN);
    assert_non_null(strstr(answer.err.text, "killed by signal 11"));
}

/* ---- The end ---- */

static void test_shutdown_drains(void **state)
{
    struct world *world = *state;
    world_serve_second(world);
    struct world_answer answer;
    world_ask(world, &answer, "rollback", "p", 0, json_object());
    core_shutdown(world->core);
    assert_true(answer.done); /* the swap was given up */
    for (int i = 0; i < 10 && core_workers_left(world->core) > 0; i++) {
        world_step(world);
    }
    assert_int_equal(core_workers_left(world->core), 0);
    uint32_t starts = world->starts;
    world_steps(world, 100);
    assert_int_equal(world->starts, starts);
    world_ask(world, &answer, "status", NULL, 0, NULL);
    assert_int_equal(answer.err.code, -KE_CLOSED);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

/* A worker that hangs is told from one that has nothing to do. */
static void test_silent_worker(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world->now_us += 4000000;
    json_t *status = status_of(world);
    assert_true(json_is_null(json_object_get(version_of(status, 1), "trouble")));
    json_decref(status);
    world->now_us += 3000000;
    status = status_of(world);
    const json_t *trouble = json_object_get(version_of(status, 1), "trouble");
    assert_non_null(strstr(json_text(trouble, "message", ""), "said nothing for 7 s"));
    json_decref(status);
    for (int i = 0; i < 60; i++) {
        world_step(world);
    }
    status = status_of(world);
    assert_true(json_is_null(json_object_get(version_of(status, 1), "trouble")));
    json_decref(status);
}

/* ---- Plots ---- */

/* [time, lag, lag_seconds, rate] every 5 s, of the last hour. */
static void test_plots(void **state)
{
    struct world *world = *state;
    world_serve_first(world);
    world->inflow = 1;
    for (int i = 0; i < 30 * 50; i++) { /* 30 s in steps of 20 ms */
        world_step(world);
    }
    json_t *body = world_call(world, "plots", "p", 0, NULL);
    assert_int_equal(json_int(body, "every_seconds", 0), 5);
    const json_t *version = json_array_get(json_object_get(body, "versions"), 0);
    assert_int_equal(json_int(version, "version", 0), 1);
    const json_t *points = json_object_get(version, "points");
    assert_in_range(json_array_size(points), 6, 8);
    int64_t last = 0;
    size_t i;
    const json_t *point;
    json_array_foreach (points, i, point) {
        int64_t at = json_integer_value(json_array_get(point, 0));
        assert_true(i == 0 || (at - last >= 5000 && at - last <= 5100));
        assert_true(i == 0 || json_integer_value(json_array_get(point, 1)) >= 0);
        last = at;
    }
    json_decref(body);
    world->now_us += INT64_C(3600000000); /* an hour later all but the newest are too old */
    world_step(world);
    body = world_call(world, "plots", "p", 0, NULL);
    version = json_array_get(json_object_get(body, "versions"), 0);
    assert_in_range(json_array_size(json_object_get(version, "points")), 0, 2);
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_first_version_serves),
        WORLD_TEST(test_second_version_is_swapped_in),
        WORLD_TEST(test_rollback_and_forward),
        WORLD_TEST(test_standby_retires),
        WORLD_TEST(test_third_version_retires_the_first),
        WORLD_TEST(test_manual_swap_waits),
        WORLD_TEST(test_tables_that_go),
        WORLD_TEST(test_deploys_that_are_refused),
        WORLD_TEST(test_same_definition_is_unchanged),
        WORLD_TEST(test_calls_that_are_refused),
        WORLD_TEST(test_lagging_candidate_is_refused),
        WORLD_TEST(test_abort_removes_files),
        WORLD_TEST(test_drop_of_standby),
        WORLD_TEST(test_pause_and_resume),
        cmocka_unit_test(test_worker_dies_at_each_step),
        WORLD_TEST(test_hold_runs_out),
        WORLD_TEST(test_near_is_not_answered),
        WORLD_TEST(test_steps_of_the_hold),
        WORLD_TEST(test_auto_swap_backs_off),
        WORLD_TEST(test_restart_backs_off),
        WORLD_TEST(test_candidate_fails_for_good),
        WORLD_TEST(test_candidate_fails_for_now),
        WORLD_TEST(test_serving_version_fails),
        WORLD_TEST(test_rollback_from_a_dying_version),
        WORLD_TEST(test_rolled_back_bars_older_candidates),
        WORLD_TEST(test_dying_of_a_plugin),
        WORLD_TEST(test_dead_version_stands_still),
        WORLD_TEST(test_rollback_just_after_a_crash),
        WORLD_TEST(test_auto_swap_from_a_dying_version),
        WORLD_TEST(test_resume_of_a_serving_version),
        WORLD_TEST(test_lost_files),
        WORLD_TEST(test_verify),
        WORLD_TEST(test_shutdown_drains),
        WORLD_TEST(test_plots),
        WORLD_TEST(test_silent_worker),
    };
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
