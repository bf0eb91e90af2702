/* Goal: a limit is kept, told to the worker whenever it starts or the limit changes, and is nobody's
 * who has served. Method: the world of world.h, whose workers remember what they were told. */
#include "tests/unit/controller/world.h"

#include "base/timefmt.h"

#define COUNTS(what)                                                                               \
    "CREATE TABLE events (user_id text, kind text) WITH (topic='events', format='json');\n"        \
    "CREATE MATERIALIZED VIEW counts AS SELECT user_id, " what " AS n FROM events GROUP BY "       \
    "user_id;\n"

/* As the worker of p's version was told. */
static int64_t told(struct world *world, uint32_t version)
{
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].alive && world->workers[i].version == version) {
            return world->workers[i].limit;
        }
    }
    return -1;
}

/* As status shows it; 0: null. */
static int64_t shown(struct world *world, uint32_t version)
{
    json_t *status = world_call(world, "status", "p", 0, NULL);
    const json_t *entry = json_array_get(json_object_get(status, "versions"), version - 1);
    const json_t *limit = json_object_get(entry, "limit");
    assert_non_null(limit);
    int64_t records = json_int(limit, "records_per_second", 0);
    json_decref(status);
    return records;
}

static json_t *limit_body(const char *limit)
{
    json_t *value = json_loads(limit, JSON_DECODE_ANY, NULL);
    json_t *body = json_pack("{s:o, s:s}", "limit", value, "who", "test");
    assert_non_null(body);
    return body;
}

static void set(struct world *world, uint32_t version, const char *limit)
{
    json_decref(world_call(world, "limit", "p", version, limit_body(limit)));
}

static json_t *definition(const char *sql, const char *limit)
{
    json_t *body = world_definition(sql, "manual");
    json_object_set_new(body, "limit", json_loads(limit, JSON_DECODE_ANY, NULL));
    return body;
}

static void deploy_both(struct world *world)
{
    world_deploy(world, COUNTS("count(*)"), "auto");
    world_wait(world, 1, "serving");
    json_decref(world_call(world, "deploy", "p", 0,
                           definition(COUNTS("max(kind)"), "{\"records_per_second\":70}")));
}

static void test_kept_and_told(void **state)
{
    struct world *world = *state;
    world->pace = 10;
    deploy_both(world);
    world_wait(world, 2, "replaying");
    assert_int_equal(told(world, 2), 70);
    assert_int_equal(shown(world, 2), 70);
    assert_int_equal(told(world, 1), 0);
    set(world, 2, "{\"records_per_second\":71,\"bytes_per_second\":5}");
    world_steps(world, 3);
    assert_int_equal(told(world, 2), 71);
    world_restart(world);
    world_wait(world, 2, "replaying");
    world_steps(world, 3);
    assert_int_equal(told(world, 2), 71);
    world_do(world, "pause", "p", 2);
    set(world, 2, "{\"records_per_second\":72}");
    world_restart(world);
    assert_int_equal(shown(world, 2), 72);
    world_do(world, "resume", "p", 2);
    world_wait(world, 2, "replaying");
    world_steps(world, 3);
    assert_int_equal(told(world, 2), 72);
    set(world, 2, "null");
    world_steps(world, 3);
    assert_int_equal(told(world, 2), 0);
    assert_int_equal(shown(world, 2), 0);
}

/* Not while serving, not on standby, not when it starts again then. */
static void test_over_with_the_swap(void **state)
{
    struct world *world = *state;
    deploy_both(world);
    world_wait(world, 2, "ready");
    world_do(world, "swap", "p", 2);
    assert_int_equal(shown(world, 2), 0);
    world_refused(world, "limit", 2, limit_body("{\"records_per_second\":1}"), -KE_REFUSED,
                  "v2 of p is serving");
    world_restart(world);
    world_steps(world, 10);
    assert_int_equal(told(world, 2), 0);
    world_do(world, "rollback", "p", 0);
    world_refused(world, "limit", 2, limit_body("{\"records_per_second\":1}"), -KE_REFUSED,
                  "v2 of p is standby");
    world_restart(world);
    world_steps(world, 10);
    assert_int_equal(told(world, 2), 0);
    assert_int_equal(shown(world, 2), 0);
}

static void test_refused(void **state)
{
    struct world *world = *state;
    world->pace = 10;
    deploy_both(world);
    world_refused(world, "limit", 2, json_object(), -KE_INVALID, "it needs \"limit\"");
    world_refused(world, "limit", 2, limit_body("{}"), -KE_INVALID, "without a number");
    world_refused(world, "limit", 2, limit_body("{\"records\":5}"), -KE_INVALID,
                  "no member \"records\"");
    world_refused(world, "limit", 2, limit_body("{\"bytes_per_second\":0}"), -KE_INVALID,
                  "\"bytes_per_second\" must be");
    world_refused(world, "limit", 2, limit_body("{\"freshness_ms\":0}"), -KE_INVALID,
                  "\"freshness_ms\" must be");
    world_refused(world, "limit", 2, limit_body("{\"finish_by\":\"soon\"}"), -KE_INVALID,
                  "is not a time");
    world_refused(world, "limit", 2, limit_body("{\"finish_by\":\"2020-01-01T00:00:00Z\"}"),
                  -KE_INVALID, "has passed");
    world_refused(world, "limit", 2, limit_body("5"), -KE_INVALID, "a limit is an object");
    world_refused(world, "limit", 9, limit_body("null"), -KE_NOT_FOUND, "no version 9");
    world_refused(world, "deploy", 0, definition(COUNTS("min(kind)"), "{\"bytes_per_second\":-1}"),
                  -KE_INVALID, "\"bytes_per_second\" must be");
    assert_int_equal(shown(world, 2), 70);
    /* The definition that is there already takes the limit that comes with it. */
    json_decref(world_call(world, "deploy", "p", 0,
                           definition(COUNTS("max(kind)"), "{\"records_per_second\":73}")));
    assert_int_equal(shown(world, 2), 73);
}

/* A goal of freshness: what serves is fresh up to some rate of the replay, and not beyond. The rate comes
 * near it and stays about there, also when it changes, and ends with the swap. */
static void test_goal(void **state)
{
    struct world *world = *state;
    deploy_both(world);
    world->pace = 1;
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->end[i] += 100000000;
    }
    set(world, 2, "{\"freshness_ms\":50,\"priority\":3}");
    world_steps(world, 2);
    assert_int_equal(told(world, 2), 10000);
    for (int64_t capacity = 100000; capacity >= 25000; capacity /= 4) {
        int over = 0;
        for (int i = 0; i < 3000; i++) {
            world->fresh_us = told(world, 2) > capacity ? 90000 : 9000;
            world_step(world);
            over += i > 1500 && told(world, 2) > capacity;
            assert_true(i < 1500 || told(world, 2) > capacity * 4 / 10);
        }
        assert_true(over < 1500 * 3 / 10); /* it tries again and again */
    }
    json_t *status = world_call(world, "status", "p", 0, NULL);
    const json_t *versions = json_object_get(status, "versions");
    const json_t *pace = json_object_get(json_array_get(versions, 1), "pace");
    const json_t *fresh = json_object_get(json_array_get(versions, 0), "freshness");
    assert_int_equal(json_int(pace, "records_per_second", 0), told(world, 2));
    assert_non_null(strstr(json_text(pace, "why", ""), "of p v1 is "));
    assert_true(json_number(fresh, "p99_ms", 0) > 5);
    json_decref(status);
    /* Caught up: it only follows. */
    world->pace = 100000000;
    world_wait(world, 2, "ready");
    world_steps(world, 100);
    assert_int_equal(told(world, 2), 0);
    world_do(world, "swap", "p", 2);
    assert_int_equal(told(world, 2), 0);
}

/* With a number too: never beyond it. */
static void test_goal_and_number(void **state)
{
    struct world *world = *state;
    deploy_both(world);
    world->pace = 1;
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->end[i] += 100000000;
    }
    set(world, 2, "{\"freshness_ms\":50,\"records_per_second\":30000}");
    for (int i = 0; i < 1000; i++) {
        world_step(world);
        assert_true(told(world, 2) <= 30000);
    }
    assert_int_equal(told(world, 2), 30000);
    world_restart(world);
    world_wait(world, 2, "replaying");
    world_steps(world, 2);
    assert_int_equal(told(world, 2), 10000);
}

static json_t *pace_of(struct world *world, uint32_t version)
{
    json_t *status = world_call(world, "status", "p", 0, NULL);
    const json_t *entry = json_array_get(json_object_get(status, "versions"), version - 1);
    json_t *pace = json_incref(json_object_get(entry, "pace"));
    json_decref(status);
    return pace;
}

static void set_finish(struct world *world, uint32_t version, int64_t seconds, const char *more)
{
    char time[TIME_TEXT_LEN];
    char text[200];
    time_format((world_wall(world) + seconds * 1000) * 1000, time);
    (void)snprintf(text, sizeof text, "{\"finish_by\":\"%s\"%s}", time, more);
    set(world, version, text);
}

/* Done before the time, not long before, and told nothing afterwards. */
static void test_finish(void **state)
{
    struct world *world = *state;
    deploy_both(world);
    world->limits = true;
    world->pace = 1;
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->end[i] += 1000000;
    }
    world_steps(world, 1000); /* that they came at once is forgotten */
    world->pace = 100000;
    int64_t begin = world->now_us;
    set_finish(world, 2, 100, "");
    world_steps(world, 100);
    assert_in_range(told(world, 2), 3000000 / 100, 3000000 / 85);
    json_t *pace = pace_of(world, 2);
    assert_string_equal(json_text(pace, "held_by", ""), "finish");
    assert_non_null(strstr(json_text(pace, "why", ""), "fast enough to be done by 2023-"));
    assert_true(json_number(json_object_get(pace, "finish"), "late_seconds", 1) == 0);
    json_decref(pace);
    world_restart(world);
    for (int i = 0; i < 20000 && strcmp(world_state(world, 2), "ready") != 0; i++) {
        world_step(world);
    }
    assert_string_equal(world_state(world, 2), "ready");
    assert_in_range(world->now_us - begin, 70000000, 100000000);
    world_steps(world, 60);
    assert_int_equal(told(world, 2), 0);
}

/* Events of this type, and by what these are held. */
static int noted(struct world *world, const char *type, const char *held_by)
{
    int count = 0;
    size_t i;
    json_t *event;
    json_t *answer = world_call(world, "events", NULL, 0, json_pack("{s:i}", "limit", 1000));
    json_array_foreach (json_object_get(answer, "events"), i, event) {
        if (strcmp(json_text(event, "type", ""), type) == 0) {
            count++;
            assert_true(held_by == NULL || strcmp(json_text(event, "held_by", ""), held_by) == 0);
        }
    }
    json_decref(answer);
    return count;
}

/* Freshness comes first, a number too; and it is said. */
static void test_finish_late(void **state)
{
    struct world *world = *state;
    deploy_both(world);
    world->limits = true;
    world->pace = 100000;
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->end[i] += 10000000;
    }
    set_finish(world, 2, 60, ",\"freshness_ms\":50");
    world->fresh_us = 90000;
    world_steps(world, 1500); /* 30 s */
    assert_in_range(told(world, 2), 1, 10000);
    json_t *pace = pace_of(world, 2);
    assert_string_equal(json_text(pace, "held_by", ""), "freshness");
    assert_non_null(strstr(json_text(pace, "why", ""), "comes first; it will be late by "));
    assert_true(json_number(json_object_get(pace, "finish"), "late_seconds", 0) > 100);
    assert_false(json_bool(json_object_get(pace, "finish"), "in_time", true));
    json_decref(pace);
    assert_int_equal(noted(world, "late", "freshness"), 1); /* once, in 25 s of it */
    assert_int_equal(noted(world, "in_time", NULL), 0);
    set_finish(world, 2, 60, ",\"records_per_second\":30000");
    world_steps(world, 500);
    assert_int_equal(told(world, 2), 30000);
    pace = pace_of(world, 2);
    assert_string_equal(json_text(pace, "held_by", ""), "limit");
    assert_non_null(
        strstr(json_text(pace, "why", ""), "its own limit comes first; it will be late"));
    json_decref(pace);
    /* The time is over: as fast as it can. */
    set_finish(world, 2, 5, "");
    world->pace = 10;
    world_steps(world, 500);
    assert_int_equal(told(world, 2), 0);
    pace = pace_of(world, 2);
    assert_true(json_is_null(json_object_get(pace, "records_per_second")));
    assert_non_null(strstr(json_text(pace, "why", ""), "it should have been done by "));
    json_decref(pace);
}

/* ---- All replays together */

static void set_all(struct world *world, const char *limit)
{
    json_decref(world_call(world, "limit_all", NULL, 0, limit_body(limit)));
}

/* Two processors that replay; p's is v2. */
static void two_replays(struct world *world)
{
    deploy_both(world);
    set(world, 2, "null");
    world->limits = true;
    world->pace = 1;
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->end[i] += 100000000;
    }
    json_decref(world_call(world, "deploy", "q", 0,
                           world_definition("CREATE TABLE events (user_id text, kind text) WITH "
                                            "(topic='events', format='json');\n"
                                            "CREATE MATERIALIZED VIEW q AS SELECT kind, count(*) "
                                            "AS n FROM events GROUP BY kind;\n",
                                            "manual")));
    world_steps(world, 300);
}

static int64_t told_to(struct world *world, const char *processor, uint32_t version)
{
    for (int i = 0; i < WORLD_WORKERS; i++) {
        const struct world_worker *worker = &world->workers[i];
        if (worker->alive && worker->version == version &&
            strcmp(worker->processor, processor) == 0) {
            return worker->limit;
        }
    }
    return -1;
}

static void test_all(void **state)
{
    struct world *world = *state;
    two_replays(world);
    assert_int_equal(told_to(world, "p", 2), 0);
    set_all(world, "{\"records_per_second\":40000}");
    world_steps(world, 100);
    assert_int_equal(told_to(world, "p", 2), 20000);
    assert_int_equal(told_to(world, "q", 1), 20000);
    assert_int_equal(told_to(world, "p", 1), 0); /* what serves */
    set(world, 2, "{\"priority\":3}");
    world_steps(world, 100);
    assert_int_equal(told_to(world, "p", 2), 30000);
    assert_int_equal(told_to(world, "q", 1), 10000);
    /* What one may not have goes to the other; a restart changes nothing. */
    set(world, 2, "{\"records_per_second\":5000,\"priority\":3}");
    world_restart(world);
    world_steps(world, 200);
    assert_int_equal(told_to(world, "p", 2), 5000);
    assert_int_equal(told_to(world, "q", 1), 35000);
    json_t *pace = pace_of(world, 2);
    assert_string_equal(json_text(pace, "held_by", ""), "limit");
    json_decref(pace);
    /* Who must be done in time comes first. */
    set_finish(world, 2, 100000, "");
    world_steps(world, 100);
    int64_t needs = told_to(world, "p", 2);
    assert_in_range(needs, 2900, 3500);
    assert_in_range(told_to(world, "q", 1), 40000 - needs - 100, 40000 - needs + 1);
    /* One that has caught up only follows. */
    world_do(world, "abort", "p", 2);
    world_steps(world, 100);
    assert_int_equal(told_to(world, "q", 1), 40000);
    world->limits = false;
    world->pace = 100000000;
    world_steps(world, 300);
    assert_int_equal(told_to(world, "q", 1), 0);
    set_all(world, "null");
    json_t *status = world_call(world, "status", NULL, 0, NULL);
    assert_true(json_is_null(json_object_get(status, "limit")));
    json_decref(status);
}

/* Who does not use its part leaves it to the others, and has it again when it does. */
static void test_all_unused(void **state)
{
    struct world *world = *state;
    two_replays(world);
    set_all(world, "{\"records_per_second\":40000}");
    world->lazy = "q";
    world->lazy_rate = 1000;
    world_steps(world, 400);
    assert_in_range(told_to(world, "q", 1), 1000, 2000);
    assert_in_range(told_to(world, "p", 2), 38000, 39000);
    world->lazy = NULL;
    world_steps(world, 1000);
    assert_int_equal(told_to(world, "q", 1), 20000);
    assert_int_equal(told_to(world, "p", 2), 20000);
}

/* Few records, which may be many bytes: until the target is reached it is a replay. */
static void test_all_few_left(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->end[i] = 300;
    }
    world->inflow = 0;
    deploy_both(world);
    world_wait(world, 2, "ready");
    world_do(world, "abort", "p", 2);
    world->limits = true;
    world->pace = 1;
    set_all(world, "{\"records_per_second\":10}");
    json_decref(world_call(world, "replay", "p", 0, json_pack("{s:s}", "swap", "manual")));
    world_wait(world, 3, "replaying");
    world_steps(world, 100);
    assert_string_equal(world_state(world, 3), "replaying");
    assert_in_range(told_to(world, "p", 3), 1, 10);
    world->limits = false;
    world->pace = 1000;
    world_wait(world, 3, "ready");
    world_steps(world, 100);
    assert_int_equal(told_to(world, "p", 3), 0);
}

/* The limit over all is in the way of being done in time: told once, and once when it is no more. */
static void test_all_makes_late(void **state)
{
    struct world *world = *state;
    two_replays(world);
    world->pace = 100000;
    set_finish(world, 2, 600, "");
    world_steps(world, 1000);
    assert_int_equal(noted(world, "late", NULL), 0);
    set_all(world, "{\"records_per_second\":40}");
    world_steps(world, 1500);
    assert_int_equal(noted(world, "late", "all"), 1);
    json_t *pace = pace_of(world, 2);
    assert_non_null(strstr(json_text(pace, "why", ""), "the limit over all replays comes first"));
    json_decref(pace);
    set_all(world, "null");
    world_steps(world, 1500);
    assert_int_equal(noted(world, "late", "all"), 1);
    assert_int_equal(noted(world, "in_time", NULL), 1);
}

static void test_all_refused(void **state)
{
    struct world *world = *state;
    static const char *const wrong[] = {"{\"freshness_ms\":5}", "{}", "5", "{\"priority\":2}",
                                        "{\"records_per_second\":0}"};
    deploy_both(world);
    for (size_t i = 0; i < array_len(wrong); i++) {
        struct world_answer answer;
        world_ask(world, &answer, "limit_all", NULL, 0, limit_body(wrong[i]));
        world_until(world, &answer);
        assert_int_equal(answer.err.code, -KE_INVALID);
    }
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_kept_and_told),   WORLD_TEST(test_over_with_the_swap),
        WORLD_TEST(test_refused),         WORLD_TEST(test_goal),
        WORLD_TEST(test_goal_and_number), WORLD_TEST(test_finish),
        WORLD_TEST(test_finish_late),     WORLD_TEST(test_all),
        WORLD_TEST(test_all_unused),      WORLD_TEST(test_all_few_left),
        WORLD_TEST(test_all_refused),     WORLD_TEST(test_all_makes_late),
    };
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
