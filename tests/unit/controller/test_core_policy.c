/* Goal: a candidate whose policy says no stays ready with the reason, across restarts, until the policy
 * changes or a person says so; what only takes time is waited for; a person's request is answered when
 * the checks are done; who overrules is in the receipt. Method: the world of world.h; the model of a
 * comparison answers what the test has put there, after as many jobs as the real one. */
#include "tests/unit/controller/world.h"

#include "controller/judge.h"

#define COUNTS_4                                                                                   \
    "CREATE TABLE events (user_id text, kind text) WITH (topic='events', format='json');\n"        \
    "CREATE MATERIALIZED VIEW counts AS SELECT user_id, count(*) FILTER (WHERE kind = 'a') AS n "  \
    "FROM events GROUP BY user_id;\n"

/* ---- A comparison ---- */

static int64_t changed;    /* of 1000 rows */
static uint32_t snapshots; /* that were taken */
static const char *column;
static uint32_t comparisons;
static uint32_t compared; /* the other version of the last one */
static bool broken;       /* it cannot be done */

static int model_open(void *ctx, const char *processor, uint32_t a, uint32_t b, const json_t *body,
                      void **out, struct err *err)
{
    (void)ctx;
    (void)processor;
    assert_true(a < b);
    compared = a;
    assert_int_equal(json_int(body, "limit", -1), 0);
    assert_true(json_bool(body, "exact", false)); /* shares are judged */
    comparisons++;
    *out = xcalloc(1, 1);
    return broken ? err_set(err, KE_IO, "the model is broken") : 0;
}

static int model_snapshot(void *diff, struct err *err)
{
    (void)diff;
    (void)err;
    snapshots++;
    return 0;
}

static json_t *model_table(const char *name)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:I, s:I, s:[{s:s, s:s, s:I}]}", "table", name, "in",
                     "both", "only_in_a", 0, "only_in_b", 0, "changed", (json_int_t)changed,
                     "equal", (json_int_t)(1000 - changed), "columns", "name", column, "in", "both",
                     "differ", (json_int_t)changed);
}

static int model_run(void *diff, json_t **out, struct err *err)
{
    (void)diff;
    (void)err;
    *out = json_pack("{s:[o]}", "tables", model_table("counts"));
    return 0;
}

static void model_stop(void *diff)
{
    (void)diff;
}

static const struct core_diff_ops model_ops = {model_open, model_snapshot, model_run, model_stop,
                                               free};

/* v1 serves. */
static int setup(void **state)
{
    (void)world_setup(state);
    struct world *world = *state;
    world_core_close(world);
    world->diff_ops = &model_ops;
    changed = 0;
    column = "n";
    comparisons = 0;
    snapshots = 0;
    broken = false;
    world_core_open(world);
    world_deploy(world, COUNTS_1, "auto");
    world_wait(world, 1, "serving");
    return 0;
}

/* COUNTS_2 with settings in front, and perhaps more that is asked. */
static json_t *deploy(struct world *world, const char *settings, json_t *asked)
{
    char *sql = xasprintf("%s\n%s", settings, COUNTS_2);
    json_t *body = json_pack("{s:s, s:s, s:o*}", "sql", sql, "who", "test", "settings", asked);
    free(sql);
    return world_call(world, "deploy", "p", 0, body);
}

static void deploy_with(struct world *world, const char *settings)
{
    json_t *body = deploy(world, settings, NULL);
    assert_false(json_bool(body, "unchanged", false));
    json_decref(body);
}

static void assert_held_back(struct world *world, const char *says)
{
    world_steps(world, 30);
    assert_string_equal(world_state(world, 2), "ready");
    if (strstr(world_held_back(world), says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", world_held_back(world), says);
    }
}

static json_t *newest_receipt(struct world *world)
{
    json_t *body = world_call(world, "history", "p", 0, NULL);
    json_t *receipt = json_incref(json_array_get(json_object_get(body, "receipts"), 0));
    json_decref(body);
    return receipt;
}

static json_t *swap_body(const char *reason)
{
    return json_pack("{s:b, s:s*, s:s}", "force", 1, "reason", reason, "who", "ann");
}

/* ---- Tests ---- */

static void test_within_limits(void **state)
{
    struct world *world = *state;
    changed = 5;
    world->dead = 3;
    deploy_with(world,
                "SET swap.max_changed = '0.5 %'; SET swap.columns = n; SET swap.max_dead = 3;");
    world_wait(world, 2, "serving");
    assert_int_equal(comparisons, 1);
    json_t *receipt = newest_receipt(world);
    const json_t *checks = json_object_get(receipt, "checks");
    assert_int_equal(json_array_size(checks), 3);
    const json_t *dead = json_array_get(checks, 0);
    assert_string_equal(json_text(dead, "setting", ""), "swap.max_dead");
    assert_string_equal(json_text(dead, "limit", ""), "3");
    assert_string_equal(json_text(dead, "found", ""), "3 of 77 records");
    assert_string_equal(json_text(json_array_get(checks, 1), "found", ""),
                        "5 of 1000 rows of counts differ");
    assert_null(json_object_get(receipt, "forced"));
    json_decref(receipt);
}

static void test_too_many_rows(void **state)
{
    struct world *world = *state;
    changed = 6;
    deploy_with(world, "SET swap.max_changed = '0.5 %';");
    world_wait(world, 2, "ready");
    assert_held_back(world,
                     "6 of 1000 rows of counts differ from v1 (0.6 %), swap.max_changed is 0.5 %");
    /* It stays so, and is not compared again and again; not by a restart, either. */
    world_steps(world, 100);
    assert_int_equal(comparisons, 1);
    changed = 0;
    world_restart(world);
    assert_held_back(world, "6 of 1000 rows");
    assert_int_equal(comparisons, 1);
    /* A person asks: it is looked at anew. */
    world_do(world, "swap", "p", 2);
    assert_int_equal(comparisons, 2);
    assert_string_equal(world_state(world, 2), "serving");
    assert_string_equal(world_held_back(world), "");
    json_t *body = deploy(world, "SET swap.max_changed = '0.5 %';", NULL);
    assert_true(json_is_null(json_object_get(body, "refusal")));
    json_decref(body);
}

static void test_another_column(void **state)
{
    struct world *world = *state;
    changed = 1;
    column = "score";
    deploy_with(world, "SET swap.columns = n;");
    world_wait(world, 2, "ready");
    assert_held_back(world,
                     "the column score differs in 1 rows of counts from v1, swap.columns is n");
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "the column score differs");
    /* The same definition with another policy: no new version, and v2 serves. */
    json_t *body = deploy(world, "SET swap.columns = n, score;", NULL);
    assert_true(json_bool(body, "unchanged", false) && json_bool(body, "policy_changed", false));
    json_decref(body);
    world_wait(world, 2, "serving");
}

static void test_dead_records(void **state)
{
    struct world *world = *state;
    world->dead = 4;
    deploy_with(world, "SET swap.max_dead = 3;");
    world_wait(world, 2, "ready");
    assert_held_back(world, "v2 has 4 of 77 records dead (5.19 %), swap.max_dead is 3");
    /* --set wins over the definition, for as long as it is not taken back. */
    json_decref(deploy(world, "SET swap.max_dead = 3;",
                       json_pack("{s:s, s:s}", "swap.max_dead", "5 %", "swap.mode", "manual")));
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "swap.max_dead is 5 %");
    json_decref(deploy(world, "SET swap.max_dead = 3;",
                       json_pack("{s:s, s:s}", "swap.max_dead", "6 %", "swap.mode", "default")));
    world_wait(world, 2, "serving");
}

/* Of a definition that fits no record, when the one that serves fits some. */
static void test_all_records_dead(void **state)
{
    struct world *world = *state;
    world->dead = 77;
    world->dead_from = 2;
    deploy_with(world, "");
    world_wait(world, 2, "ready");
    assert_held_back(world, "all 77 records that v2 has read are dead, those of v1");
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "all 77 records");
    json_decref(deploy(world, "", json_pack("{s:s}", "swap.max_dead", "100 %")));
    world_wait(world, 2, "serving");
}

static void test_bad_settings(void **state)
{
    struct world *world = *state;
    static const char *const bad[][2] = {{"swap.max_ded", "1"},
                                         {"swap.max_dead", "-1"},
                                         {"swap.verify", "perhaps"},
                                         {"swap.mode", "never"}};
    for (size_t i = 0; i < array_len(bad); i++) {
        world_refused(
            world, "deploy", 0,
            json_pack("{s:s, s:{s:s}}", "sql", COUNTS_2, "settings", bad[i][0], bad[i][1]),
            -KE_INVALID, "");
    }
    assert_string_equal(world_state(world, 2), "");
}

static void test_force(void **state)
{
    struct world *world = *state;
    world->dead = 4;
    deploy_with(world, "SET swap.max_dead = 0;");
    world_wait(world, 2, "ready");
    assert_held_back(world, "swap.max_dead is 0");
    world_refused(world, "swap", 2, swap_body(NULL), -KE_INVALID, "takes a reason");
    json_decref(world_call(world, "swap", "p", 2, swap_body("known dirt")));
    json_t *receipt = newest_receipt(world);
    assert_true(json_bool(receipt, "forced", false));
    assert_string_equal(json_text(receipt, "reason", ""), "known dirt");
    assert_string_equal(json_text(receipt, "who", ""), "ann");
    assert_non_null(strstr(json_text(receipt, "overruled", ""), "swap.max_dead is 0"));
    json_decref(receipt);
    /* A rollback asks no policy. */
    world_do(world, "rollback", "p", 0);
}

static void test_time_is_waited_for(void **state)
{
    struct world *world = *state;
    deploy_with(world, "SET swap.caught_up = '10 s';");
    world_wait(world, 2, "ready");
    assert_held_back(world, "swap.caught_up is 10 s");
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "swap.caught_up is 10 s");
    int64_t ready_us = world->now_us;
    for (int i = 0; i < 1000 && strcmp(world_state(world, 2), "ready") == 0; i++) {
        world_step(world);
    }
    assert_string_equal(world_state(world, 2), "serving");
    assert_true(world->now_us - ready_us > 8000000);
}

static void test_cannot_be_compared(void **state)
{
    struct world *world = *state;
    broken = true;
    deploy_with(world, "SET swap.max_changed = 0;");
    world_wait(world, 2, "ready");
    assert_held_back(world, "could not be checked: the model is broken");
    world_refused(world, "swap", 2, json_object(), -KE_REFUSED, "the model is broken");
    broken = false;
    world_wait(world, 2, "serving"); /* it is tried again by itself */
}

/* It was compared with v1; meanwhile a person made v2 serve. What was found is no reason for or against a
 * swap with that one. */
static void test_compared_with_another_than_serves(void **state)
{
    struct world *world = *state;
    world_deploy(world, COUNTS_2, "manual");
    world_wait(world, 2, "ready");
    changed = 9;
    char *sql = xasprintf("SET swap.max_changed = 0;\n%s", COUNTS_4);
    json_decref(world_call(world, "deploy", "p", 0, world_definition(sql, "auto")));
    free(sql);
    for (int i = 0; i < 1000 && snapshots == 0; i++) {
        world_step(world);
    }
    assert_int_equal(world->job_count, 1); /* the comparison of rows, which takes long */
    struct core_job *comparing = world->jobs[--world->job_count];
    world_do(world, "swap", "p", 2);
    comparing->run(comparing);
    changed = 0;
    uint32_t before = comparisons;
    core_job_finish(world->core, comparing);
    world_wait(world, 3, "serving");
    assert_int_equal(comparisons, before + 1);
    assert_int_equal(compared, 2);
}

static void test_two_ask(void **state)
{
    struct world *world = *state;
    struct world_answer first;
    struct world_answer second;
    changed = 9;
    deploy_with(world, "SET swap.mode = manual; SET swap.max_changed = 0;");
    world_wait(world, 2, "ready");
    world_steps(world, 20);
    assert_int_equal(comparisons, 0);
    world_ask(world, &first, "swap", "p", 2, json_object());
    world_ask(world, &second, "swap", "p", 2, json_object());
    world_until(world, &first);
    world_until(world, &second);
    assert_int_equal(first.err.code, -KE_REFUSED);
    assert_int_equal(second.err.code, -KE_AGAIN);
    assert_non_null(strstr(second.err.text, "being compared"));
}

static void test_verify(void **state)
{
    struct world *world = *state;
    deploy_with(world, "SET swap.verify = on; SET swap.standby = '3 s';");
    world_wait(world, 2, "serving");
    json_t *receipt = newest_receipt(world);
    assert_string_equal(
        json_text(json_array_get(json_object_get(receipt, "checks"), 0), "setting", ""),
        "swap.verify");
    json_decref(receipt);
    assert_string_equal(world_state(world, 1), "standby");
    world_steps(world, 100);
    assert_string_equal(world_state(world, 1), "standby");
    world_steps(world, 60);
    assert_string_equal(world_state(world, 1), "retired");
}

/* Killed at every fail point from the deploy on: v2 never serves, since its policy says no. */
static void test_killed_at_each_step(void **state)
{
    struct world *world = *state;
    changed = 9;
    deploy_with(world, "SET swap.max_changed = 1;");
    for (long at = 1; at <= 12; at++) {
        world->fail_at = world->fail_count + at;
        for (int i = 0; i < 100; i++) {
            world_step(world);
        }
        world_restart(world);
    }
    world->fail_at = 0;
    world_wait(world, 2, "ready");
    assert_held_back(world, "9 of 1000 rows");
}

/* ---- swap.who ---- */

static json_t *by(const char *who)
{
    return json_pack("{s:s}", "who", who);
}

/* A definition, as this person deploys it. */
static json_t *deploy_by(const char *who, const char *settings, const char *definition)
{
    char *sql = xasprintf("%s\n%s", settings, definition);
    json_t *body = json_pack("{s:s, s:s}", "sql", sql, "who", who);
    free(sql);
    return body;
}

#define ANN_OR_BEN "SET swap.who = 'ann, ben'; SET swap.mode = manual;"

static void test_who_needs_access(void **state)
{
    struct world *world = *state;
    world_refused(world, "deploy", 0, deploy_by("ann", ANN_OR_BEN, COUNTS_2), -KE_REFUSED,
                  "asks nobody who he is");
    world->access = true;
    world_restart(world);
    json_decref(world_call(world, "deploy", "p", 0, deploy_by("ann", ANN_OR_BEN, COUNTS_2)));
    world_wait(world, 2, "ready");
    world->access = false; /* as by a person who leaves --access out: nobody is ann now */
    world_restart(world);
    world_wait(world, 2, "ready");
    world_refused(world, "swap", 2, by("ann"), -KE_REFUSED, "asks nobody who he is");
    json_decref(
        world_call(world, "deploy", "p", 0, deploy_by("ann", "SET swap.mode = manual;", COUNTS_2)));
    json_decref(world_call(world, "swap", "p", 2, by("ann")));
}

static void test_who(void **state)
{
    struct world *world = *state;
    world->access = true;
    world_restart(world);
    world_wait(world, 1, "serving");
    json_decref(world_call(world, "deploy", "p", 0, deploy_by("ann", ANN_OR_BEN, COUNTS_2)));
    world_wait(world, 2, "ready");

    /* By hand: neither plainly nor by force, nor a part of the readers. */
    world_refused(world, "swap", 2, by("eve"), -KE_FORBIDDEN, "only ann, ben may swap p");
    world_refused(world, "swap", 0, by("eve"), -KE_FORBIDDEN, "not eve");
    world_refused(world, "swap", 2, json_object(), -KE_FORBIDDEN, "not api");
    world_refused(world, "swap", 2, by("local"), -KE_FORBIDDEN, "not local");
    world_refused(world, "swap", 2,
                  json_pack("{s:s, s:b, s:s}", "who", "eve", "force", 1, "reason", "I want it"),
                  -KE_FORBIDDEN, "not eve");
    world_refused(world, "canary", 0, json_pack("{s:s, s:i}", "who", "eve", "share", 10),
                  -KE_FORBIDDEN, "not eve");
    json_decref(world_call(world, "canary", "p", 0,
                           json_pack("{s:s, s:i, s:b}", "who", "eve", "share", 10, "shadow", 1)));
    json_decref(
        world_call(world, "canary", "p", 0, json_pack("{s:s, s:i}", "who", "ann", "share", 5)));
    json_decref(
        world_call(world, "canary", "p", 0, json_pack("{s:s, s:i}", "who", "eve", "share", 0)));
    assert_string_equal(world_state(world, 2), "ready");
    json_decref(world_call(world, "swap", "p", 2, by("ben")));

    /* What serves now keeps its list: others deploy only what has it, too, and leave the swap to a person. */
    world_refused(world, "deploy", 0, deploy_by("eve", "", COUNTS_4), -KE_FORBIDDEN,
                  "only ann, ben may change swap.who of p");
    world_refused(world, "deploy", 0,
                  deploy_by("eve", "SET swap.who = eve; SET swap.mode = manual;", COUNTS_4),
                  -KE_FORBIDDEN, "change swap.who");
    world_refused(world, "deploy", 0,
                  deploy_by("eve", "SET swap.who = 'ann, ben'; SET swap.mode = auto;", COUNTS_4),
                  -KE_FORBIDDEN, "automatic");
    world_refused(world, "deploy", 0, deploy_by("eve", "", COUNTS_2), -KE_FORBIDDEN,
                  "change swap.who"); /* of the version itself, with another policy */
    json_decref(world_call(world, "deploy", "p", 0, deploy_by("eve", ANN_OR_BEN, COUNTS_2)));
    json_decref(world_call(world, "deploy", "p", 0, deploy_by("eve", ANN_OR_BEN, COUNTS_4)));
    world_wait(world, 3, "ready");
    world_refused(world, "swap", 3, by("eve"), -KE_FORBIDDEN, "not eve");

    /* Nor back, nor by taking the way back away; who has the server's files may; the list stays in force. */
    world_refused(world, "rollback", 0, by("eve"), -KE_FORBIDDEN, "only ann, ben may roll back p");
    world_refused(world, "drop", 1, by("eve"), -KE_FORBIDDEN, "take away the version on standby");
    world_refused(world, "pause", 1, by("eve"), -KE_FORBIDDEN, "not eve");
    json_decref(world_call(world, "rollback", "p", 0, by("local")));
    assert_string_equal(world_state(world, 1), "serving");
    world_refused(world, "swap", 2, by("eve"), -KE_FORBIDDEN, "not eve");
    world_refused(world, "deploy", 0, deploy_by("eve", "", COUNTS_1), -KE_FORBIDDEN,
                  "change swap.who of p (v2)");
    world_restart(world);
    world_wait(world, 2, "standby");
    world_refused(world, "drop", 2, by("eve"), -KE_FORBIDDEN, "not eve");
    json_decref(world_call(world, "swap", "p", 2, by("ann")));

    /* Who has the server's files gives the right to others, also when nobody is left who has it. */
    json_decref(
        world_call(world, "deploy", "p", 0,
                   deploy_by("local", "SET swap.who = eve; SET swap.mode = manual;", COUNTS_2)));
    world_refused(world, "swap", 3, by("eve"), -KE_FORBIDDEN, "only ann, ben");
    world_refused(world, "swap", 3, by("ann"), -KE_FORBIDDEN, "only eve");
    json_decref(
        world_call(world, "deploy", "p", 0,
                   deploy_by("eve", "SET swap.who = eve; SET swap.mode = manual;", COUNTS_4)));
    json_decref(world_call(world, "swap", "p", 3, by("eve")));
}

/* The list stays in force when its version is gone, until one of its persons ends it; and it may leave the
 * way back to everybody. */
static void test_who_stays(void **state)
{
    struct world *world = *state;
    world->access = true;
    world_restart(world);
    world_wait(world, 1, "serving");
    json_decref(world_call(world, "deploy", "p", 0, deploy_by("ann", ANN_OR_BEN, COUNTS_2)));
    world_wait(world, 2, "ready");
    json_decref(world_call(world, "swap", "p", 2, by("ann")));
    json_decref(world_call(world, "rollback", "p", 0, by("ben")));
    json_decref(world_call(world, "drop", "p", 2, by("ben")));
    world_restart(world);
    world_wait(world, 1, "serving");
    world_refused(world, "deploy", 0, deploy_by("eve", "SET swap.mode = manual;", COUNTS_4),
                  -KE_FORBIDDEN, "change swap.who of p (v2)");
    json_decref(world_call(world, "deploy", "p", 0, deploy_by("eve", ANN_OR_BEN, COUNTS_4)));
    world_wait(world, 3, "ready");
    world_refused(world, "swap", 3, by("eve"), -KE_FORBIDDEN, "not eve");
    json_decref(world_call(world, "swap", "p", 3, by("ann")));

    world_refused(world, "deploy", 0,
                  deploy_by("eve", ANN_OR_BEN "SET swap.rollback = anyone;", COUNTS_4),
                  -KE_FORBIDDEN, "change swap.rollback");
    json_decref(world_call(world, "deploy", "p", 0,
                           deploy_by("ann", ANN_OR_BEN "SET swap.rollback = anyone;", COUNTS_4)));
    world_refused(world, "swap", 1, by("eve"), -KE_FORBIDDEN, "not eve");
    json_decref(world_call(world, "rollback", "p", 0, by("eve")));
    json_decref(world_call(world, "swap", "p", 3, by("ann")));

    json_decref(
        world_call(world, "deploy", "p", 0, deploy_by("ann", "SET swap.mode = manual;", COUNTS_2)));
    world_wait(world, 4, "ready");
    world_refused(world, "swap", 4, by("eve"), -KE_FORBIDDEN, "swap.who of v3");
    json_decref(world_call(world, "swap", "p", 4, by("ann")));
    json_decref(world_call(world, "rollback", "p", 0, by("eve")));
}

/* Without --access nobody is asked who he is, and a way back is left to everybody. */
static void test_who_back_without_access(void **state)
{
    struct world *world = *state;
    world->access = true;
    world_restart(world);
    world_wait(world, 1, "serving");
    json_decref(world_call(world, "deploy", "p", 0, deploy_by("ann", ANN_OR_BEN, COUNTS_2)));
    world_wait(world, 2, "ready");
    json_decref(world_call(world, "swap", "p", 2, by("ann")));
    world->access = false;
    world_restart(world);
    world_wait(world, 1, "standby");
    json_decref(world_call(world, "rollback", "p", 0, by("eve")));
    assert_string_equal(world_state(world, 1), "serving");
}

/* Swaps that nobody asks for are in nobody's way. */
static void test_who_and_auto(void **state)
{
    struct world *world = *state;
    world->access = true;
    world_restart(world);
    world_wait(world, 1, "serving");
    json_decref(
        world_call(world, "deploy", "p", 0, deploy_by("eve", "SET swap.who = ann;", COUNTS_2)));
    world_wait(world, 2, "serving");
    json_decref(
        world_call(world, "deploy", "p", 0, deploy_by("eve", "SET swap.who = ann;", COUNTS_4)));
    world_wait(world, 3, "serving");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_within_limits),
        TEST(test_too_many_rows),
        TEST(test_another_column),
        TEST(test_dead_records),
        TEST(test_all_records_dead),
        TEST(test_bad_settings),
        TEST(test_force),
        TEST(test_two_ask),
        TEST(test_compared_with_another_than_serves),
        TEST(test_time_is_waited_for),
        TEST(test_cannot_be_compared),
        TEST(test_verify),
        TEST(test_killed_at_each_step),
        TEST(test_who_needs_access),
        TEST(test_who),
        TEST(test_who_and_auto),
        TEST(test_who_stays),
        TEST(test_who_back_without_access),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
