/* Goal: what must not happen is refused, with a sentence that says what to do: two deploys at once, a
 * deploy during a swap, a version that would lack what the serving one has, one that would not fit, one
 * that failed, dropping what serves; and each refusal changes nothing. Method: the world of world.h. */
#include "tests/unit/controller/world.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

static int setup(void **state)
{
    (void)world_setup(state);
    struct world *world = *state;
    world_deploy(world, COUNTS_1, "auto");
    world_wait(world, 1, "serving");
    return 0;
}

static void expire(struct world *world, int64_t offset)
{
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->start[i] = offset;
    }
}

static json_t *settings(const char *sql, const char *name, const char *value)
{
    return json_pack("{s:s, s:{s:s}}", "sql", sql, "settings", name, value);
}

static void test_two_deploys_at_once(void **state)
{
    struct world *world = *state;
    struct world_answer first;
    struct world_answer second;
    struct world_answer dry;
    world_ask(world, &first, "deploy", "p", 0, world_definition(COUNTS_2, "auto"));
    world_ask(world, &second, "deploy", "p", 0, world_definition(COUNTS_3, "auto"));
    json_t *body = world_definition(COUNTS_2, "auto");
    json_object_set_new(body, "dry_run", json_true());
    world_ask(world, &dry, "deploy", "p", 0, body);
    assert_false(first.done);
    assert_true(second.done);
    assert_int_equal(second.err.code, -KE_REFUSED);
    assert_non_null(strstr(second.err.text, "p is being deployed by test"));
    world_until(world, &first);
    world_until(world, &dry);
    assert_non_null(first.body);
    json_decref(first.body);
    json_decref(dry.body);
    world_wait(world, 2, "serving");
    /* It is over: the next one is as before. */
    assert_int_equal(world_deploy(world, COUNTS_1, "manual"), 1);
}

static void test_deploy_during_a_swap(void **state)
{
    struct world *world = *state;
    struct world_answer answer;
    world->silent_at = "hold";
    world->fault_version = 2;
    world->fault_once = true;
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    world_ask(world, &answer, "swap", "p", 2, json_object());
    world_step(world);
    struct world_answer refused;
    world_ask(world, &refused, "deploy", "p", 0, world_definition(COUNTS_3, "auto"));
    assert_true(refused.done && !answer.done);
    world_until(world, &answer);
    assert_int_equal(refused.err.code, -KE_REFUSED);
    assert_non_null(strstr(refused.err.text, "a swap of p to v2 is under way"));
    assert_int_equal(answer.err.code, -KE_TIMEOUT);
    assert_int_equal(world_deploy(world, COUNTS_3, "manual"), 3);
}

static void test_gap_at_the_deploy(void **state)
{
    struct world *world = *state;
    expire(world, 40);
    world_refused(world, "deploy", 0, world_definition(COUNTS_2, "auto"), -KE_REFUSED,
                  "v2 started later than v1, which serves, and lacks 120 offsets: events/0 begins "
                  "at offset 40, not 0");
    assert_string_equal(world_state(world, 2), "");
    json_decref(world_call(world, "deploy", "p", 0, settings(COUNTS_2, "swap.accept_gap", "on")));
    world_wait(world, 2, "serving");
}

static void test_gap_at_the_swap(void **state)
{
    struct world *world = *state;
    expire(world, 40);
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "lacks 120 offsets");
    /* --force is about the policy, not about this. */
    world_refused(world, "swap", 2, json_pack("{s:b, s:s}", "force", 1, "reason", "I say so"),
                  -KE_REFUSED, "lacks 120 offsets");
    assert_string_equal(world_state(world, 2), "ready");
    json_decref(world_call(world, "swap", "p", 2, json_pack("{s:b}", "accept_gap", 1)));
    assert_string_equal(world_state(world, 2), "serving");
    /* Back to more is no gap, and forward again was accepted once. */
    world_do(world, "rollback", "p", 0);
    world_do(world, "swap", "p", 2);
}

static void test_topic_made_anew(void **state)
{
    struct world *world = *state;
    world->identity = 6;
    world_refused(world, "deploy", 0, world_definition(COUNTS_2, "auto"), -KE_REFUSED,
                  "the topic events was made anew: what v1 has of the old one, v2 lacks");
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    world_refused(world, "swap", 0, json_object(), -KE_REFUSED, "made anew");
}

/* A log that tells no identities: one that ends below a version's position is another. */
static void test_topic_shorter(void **state)
{
    struct world *world = *state;
    int64_t end[WORLD_PARTITIONS];
    world->inflow = 0;
    memcpy(end, world->end, sizeof end);
    world->identity = 0;
    world->end[1] = 1;
    world_refused(world, "deploy", 0, world_definition(COUNTS_2, "auto"), -KE_REFUSED,
                  "the topic events was made anew: what v1 has of the old one, v2 lacks");
    memcpy(world->end, end, sizeof end);
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "serving");
}

/* The log's end is asked first, and the version reads on before the answer is looked at. */
static void test_topic_grows_meanwhile(void **state)
{
    struct world *world = *state;
    world->identity = 0;
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "serving");
    for (uint32_t version = 3; version < 7; version++) {
        json_decref(world_call(world, "replay", "p", 0, json_pack("{s:s}", "swap", "auto")));
        world_wait(world, version, "serving");
    }
}

/* Made automatic later on: it stays ready, and says why. */
static void test_gap_of_an_automatic_swap(void **state)
{
    struct world *world = *state;
    expire(world, 40);
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    json_decref(world_call(world, "deploy", "p", 0, settings(COUNTS_2, "swap.mode", "auto")));
    world_steps(world, 50);
    assert_string_equal(world_state(world, 2), "ready");
    assert_non_null(strstr(world_held_back(world), "lacks 120 offsets"));
    json_decref(world_call(world, "deploy", "p", 0, settings(COUNTS_2, "swap.accept_gap", "on")));
    world_wait(world, 2, "serving");
}

#define WINDOWS(where)                                                                             \
    "CREATE TABLE events (user_id text, kind text, ts timestamptz) WITH (topic='events', "         \
    "format='json', event_time='ts', watermark='1 s');\n"                                          \
    "CREATE MATERIALIZED VIEW counts AS SELECT user_id, window_end, count(*) AS n FROM "           \
    "tumble(events, ts, interval '1 minute') " where                                               \
    " GROUP BY user_id, window_start, window_end;\n"

static json_t *windows_from(bool in_window)
{
    return json_pack("{s:s, s:s, s:b, s:s}", "sql", WINDOWS("WHERE kind <> 'x'"), "from", "@1000",
                     "in_window", in_window, "swap", "manual");
}

/* The same definition from the same time, and yet other rows: those before it are another version's. */
static void test_windows_that_were_taken_over(void **state)
{
    struct world *world = *state;
    world_deploy(world, WINDOWS(""), "auto");
    world_wait(world, 2, "serving");
    json_decref(world_call(world, "deploy", "p", 0, windows_from(true)));
    json_t *again = world_call(world, "deploy", "p", 0, windows_from(true));
    assert_int_equal(json_int(again, "version", 0), 3);
    assert_true(json_bool(again, "unchanged", false));
    json_decref(again);
    again = world_call(world, "deploy", "p", 0, windows_from(false));
    assert_int_equal(json_int(again, "version", 0), 4);
    assert_null(json_object_get(again, "window"));
    json_decref(again);
}

static void test_would_not_fit(void **state)
{
    struct world *world = *state;
    world->used_bytes = INT64_C(1) << 60;
    world_steps(world, 10);
    world_refused(world, "deploy", 0, world_definition(COUNTS_2, "auto"), -KE_REFUSED,
                  "the version would not fit");
    assert_string_equal(world_state(world, 2), "");
    /* Other tables may be smaller: nothing is known of them. */
    assert_int_equal(world_deploy(world, COUNTS_3, "manual"), 2);
}

static void test_failed_and_serving(void **state)
{
    struct world *world = *state;
    world_refused(world, "drop", 1, json_object(), -KE_REFUSED, "serving");
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].id != 0 && world->workers[i].version == 2) {
            world_event(world, &world->workers[i],
                        json_pack("{s:s, s:{s:s, s:s, s:s}}", "is", "failed", "error", "code",
                                  "range_lost", "message", "offset 7 is gone", "hint", ""));
        }
    }
    world_wait(world, 2, "failed");
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "v2 is failed: offset 7 is gone");
    world_refused(world, "swap", 2, json_pack("{s:b, s:s}", "force", 1, "reason", "I say so"),
                  -KE_REFUSED, "v2 is failed");
    assert_string_equal(world_state(world, 1), "serving");
}

/* From now on no file takes a byte, or as many as before. */
static void disk_full(bool full)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = full ? 0 : limit.rlim_max;
    (void)signal(SIGXFSZ, full ? SIG_IGN : SIG_DFL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A call that is refused because the catalog cannot be written. */
static void refused_when_full(struct world *world, const char *verb, uint32_t version)
{
    struct world_answer answer;
    disk_full(true);
    world_ask(world, &answer, verb, "p", version, json_object());
    world_until(world, &answer);
    disk_full(false);
    json_decref(answer.body);
    assert_true(answer.err.code < 0);
    if (strstr(answer.err.text, "the catalog") == NULL) {
        fail_msg("%s: %s", verb, answer.err.text);
    }
}

/* What the catalog did not take has not happened: memory and pointers are as they were. */
static void test_catalog_that_cannot_be_written(void **state)
{
    struct world *world = *state;
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    uint64_t epoch = world->seen_epoch;
    refused_when_full(world, "swap", 2);
    assert_string_equal(world_state(world, 1), "serving");
    assert_string_equal(world_state(world, 2), "ready");
    refused_when_full(world, "pause", 2);
    assert_string_equal(world_state(world, 2), "ready");
    refused_when_full(world, "abort", 2);
    assert_string_equal(world_state(world, 2), "ready");
    world_steps(world, 100);
    assert_int_equal(world->seen_epoch, epoch);
    json_t *history = world_call(world, "history", "p", 0, NULL);
    assert_int_equal(json_array_size(json_object_get(history, "receipts")), 1);
    json_decref(history);
    world_do(world, "swap", "p", 2);
    assert_string_equal(world_state(world, 2), "serving");
}

/* The hold begins when the old version has stopped: not when it was told to, nor when it says so. */
static void test_hold_begins_when_it_stops(void **state)
{
    struct world *world = *state;
    world_deploy(world, COUNTS_2, "auto");
    world_wait(world, 2, "serving");
    static const int64_t ago_us[] = {0, 1000, 1000000000, -1000000000};
    double hold_ms[array_len(ago_us)];
    for (size_t i = 0; i < array_len(ago_us); i++) {
        world_do(world, "rollback", "p", 0);
        world->held_ago_us = ago_us[i];
        json_t *receipt = world_call(world, "swap", "p", 2, json_object());
        hold_ms[i] = json_number(receipt, "hold_ms", -1);
        json_decref(receipt);
    }
    assert_true(hold_ms[0] >= 0);
    assert_true(fabs(hold_ms[1] - hold_ms[0] - 1) < 0.01);
    assert_true(hold_ms[2] > hold_ms[1] && hold_ms[2] < 1000); /* not before it was told */
    assert_true(fabs(hold_ms[3] - hold_ms[0]) < 0.01);         /* nor in the future */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_two_deploys_at_once),
        TEST(test_deploy_during_a_swap),
        TEST(test_hold_begins_when_it_stops),
        TEST(test_gap_at_the_deploy),
        TEST(test_gap_at_the_swap),
        TEST(test_topic_made_anew),
        TEST(test_topic_shorter),
        TEST(test_topic_grows_meanwhile),
        TEST(test_gap_of_an_automatic_swap),
        TEST(test_windows_that_were_taken_over),
        TEST(test_would_not_fit),
        TEST(test_failed_and_serving),
        TEST(test_catalog_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
