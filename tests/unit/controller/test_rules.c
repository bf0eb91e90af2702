/* Goal: the pure rules of the controller: the life cycle is the one drawn, the cut is the right one,
 * the swap's steps take only what belongs to them, lags lead to the right questions.
 * Method: the table against the list in the source; random swaps against a recount that knows
 * nothing of steps or numbering; named cases. */
#include "tests/unit/unit.h"

#include "base/prng.h"
#include "controller/lag.h"
#include "controller/partitions.h"
#include "controller/swap.h"
#include "controller/versions.h"

#include <string.h>

/* ---- Life cycle ---- */

/* Reads the lines " *     state -> a b c" of versions.c. */
static uint64_t moves_drawn(const char *name)
{
    FILE *file = fopen("controller/versions.c", "r");
    assert_non_null(file);
    char line[256];
    uint64_t moves = 0;
    bool found = false;
    while (fgets(line, sizeof line, file) != NULL) {
        char *arrow = strstr(line, "->");
        char from[64];
        if (arrow == NULL || strstr(line, "-->") != NULL || sscanf(line, " * %63s ->", from) != 1 ||
            strcmp(from, name) != 0) {
            continue;
        }
        found = true;
        for (char *word = strtok_r(arrow + 2, " \n", &arrow); word != NULL;
             word = strtok_r(NULL, " \n", &arrow)) {
            uint32_t to = state_find(&version_states, word);
            assert_true(to < VERSION_STATE_COUNT);
            moves |= STATE_BIT(to);
        }
    }
    (void)fclose(file);
    assert_true(found);
    return moves;
}

static void test_life_cycle_is_the_one_drawn(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < VERSION_STATE_COUNT; i++) {
        assert_int_equal(version_states.rows[i].next, moves_drawn(version_states.rows[i].name));
    }
}

static void test_life_cycle_rules(void **unused)
{
    (void)unused;
    for (uint32_t from = 0; from < VERSION_STATE_COUNT; from++) {
        assert_false(state_may_move(&version_states, from, from));
        assert_false(state_may_move(&version_states, from, VERSION_PLANNED));
        bool serves_next = from == VERSION_READY || from == VERSION_STANDBY;
        assert_int_equal(version_may_serve((enum version_state)from), serves_next);
        /* What serves has synced files, and a worker. */
        assert_true(!serves_next || version_is_sealed((enum version_state)from));
        assert_true(!serves_next || version_wants_worker((enum version_state)from));
    }
    assert_false(state_may_move(&version_states, VERSION_SERVING, VERSION_ABORTED));
    assert_false(state_may_move(&version_states, VERSION_SERVING, VERSION_PAUSED));
    assert_false(state_may_move(&version_states, VERSION_RETIRED, VERSION_SERVING));
}

/* ---- The swap ---- */

#define TOPICS     5
#define PARTITIONS 6

struct reading {
    uint32_t count;
    uint32_t topic[64];
    uint32_t partition[64];
    int64_t position[64];
    json_t *inputs;
};

static json_t *input(uint32_t topic, uint32_t partitions)
{
    char name[16];
    (void)snprintf(name, sizeof name, "t%u", topic);
    return json_pack("{s:s, s:i, s:i}", "topic", name, "identity", 7, "partitions",
                     (int)partitions);
}

/* A version that reads some topics in some order. */
static void reading_make(struct reading *reading, struct prng *prng, uint32_t topics_max)
{
    memset(reading, 0, sizeof *reading);
    reading->inputs = json_array();
    uint32_t first = (uint32_t)prng_below(prng, TOPICS);
    uint32_t topics = 1 + (uint32_t)prng_below(prng, topics_max);
    for (uint32_t i = 0; i < topics; i++) {
        uint32_t topic = (first + i) % TOPICS;
        uint32_t partitions = 1 + (uint32_t)prng_below(prng, PARTITIONS);
        json_array_append_new(reading->inputs, input(topic, partitions));
        for (uint32_t p = 0; p < partitions; p++) {
            reading->topic[reading->count] = topic;
            reading->partition[reading->count] = p;
            reading->position[reading->count++] = (int64_t)prng_below(prng, 1000);
        }
    }
}

/* The rule, said again: the larger of the positions of everybody who reads it. */
static int64_t cut_expected(const struct reading *a, const struct reading *b, uint32_t topic,
                            uint32_t partition)
{
    int64_t cut = -1;
    const struct reading *both[] = {a, b};
    for (int side = 0; side < 2; side++) {
        for (uint32_t i = 0; both[side] != NULL && i < both[side]->count; i++) {
            if (both[side]->topic[i] == topic && both[side]->partition[i] == partition) {
                cut = i64_max(cut, both[side]->position[i]);
            }
        }
    }
    return cut;
}

static void check_cut(const struct swap *swap, enum swap_side side, const struct reading *own,
                      const struct reading *other)
{
    int64_t cut[64];
    swap_cut_of(swap, side, cut);
    for (uint32_t i = 0; i < own->count; i++) {
        assert_int_equal(cut[i], cut_expected(own, other, own->topic[i], own->partition[i]));
        assert_true(cut[i] >= own->position[i]);
    }
}

static void party(struct swap *swap, const struct partitions *partitions, enum swap_side side,
                  enum swap_part part, const struct reading *reading)
{
    uint32_t *map = partitions_map(partitions, reading->inputs);
    swap_party_set(swap, side, part, map, reading->position, reading->count);
    free(map);
}

static void test_cut_of_random_versions(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("cut"));
    for (int round = 0; round < 3000; round++) {
        struct reading old;
        struct reading new;
        reading_make(&old, &prng, 3);
        reading_make(&new, &prng, 3);
        struct partitions partitions;
        partitions_open(&partitions, old.inputs, new.inputs);
        struct swap swap;
        uint64_t id = 1 + prng_below(&prng, 9);
        swap_open(&swap, id, partitions.count, 1000, 500);
        bool still = prng_below(&prng, 4) == 0;
        party(&swap, &partitions, SWAP_OLD, still ? SWAP_STILL : SWAP_LIVE, &old);
        party(&swap, &partitions, SWAP_NEW, SWAP_LIVE, &new);
        int64_t at[64];
        int rc = 0;
        if (!still) {
            rc = swap_held(&swap, SWAP_OLD, id, old.position, old.count, NULL);
            assert_int_equal(swap.step, SWAP_PREPARE);
        }
        rc += swap_held(&swap, SWAP_NEW, id, new.position, new.count, NULL);
        assert_int_equal(swap.step, SWAP_RUN_TO);
        check_cut(&swap, SWAP_OLD, &old, &new);
        check_cut(&swap, SWAP_NEW, &new, &old);
        if (!still) {
            swap_cut_of(&swap, SWAP_OLD, at);
            rc += swap_at_cut(&swap, SWAP_OLD, id, at, old.count, NULL);
            assert_int_equal(swap.step, SWAP_RUN_TO);
        }
        swap_cut_of(&swap, SWAP_NEW, at);
        rc += swap_at_cut(&swap, SWAP_NEW, id, at, new.count, NULL);
        assert_int_equal(swap.step, SWAP_CHECK);
        rc += swap_may_commit(&swap, 1400, NULL);
        assert_int_equal(rc, 0);
        swap_committed(&swap);
        assert_false(swap_running(&swap));
        swap_close(&swap);
        partitions_close(&partitions);
        json_decref(old.inputs);
        json_decref(new.inputs);
    }
}

/* A swap of one partition, both sides at the given positions and held. */
static void open_simple(struct swap *swap, const int64_t *old, const int64_t *new)
{
    const uint32_t map[1] = {0};
    swap_open(swap, 42, 1, 0, 2000);
    swap_party_set(swap, SWAP_OLD, SWAP_LIVE, map, old, 1);
    swap_party_set(swap, SWAP_NEW, SWAP_LIVE, map, new, 1);
    int rc = swap_held(swap, SWAP_OLD, 42, old, 1, NULL);
    rc += swap_held(swap, SWAP_NEW, 42, new, 1, NULL);
    assert_int_equal(rc, 0);
}

static void test_swap_takes_only_its_answers(void **unused)
{
    (void)unused;
    const uint32_t map[1] = {0};
    const int64_t five[1] = {5};
    const int64_t nine[1] = {9};
    struct swap swap;
    swap_open(&swap, 42, 1, 0, 2000);
    swap_party_set(&swap, SWAP_OLD, SWAP_ABSENT, NULL, NULL, 0);
    swap_party_set(&swap, SWAP_NEW, SWAP_LIVE, map, five, 1);
    /* Another try's answer, an answer of the next step, one of nobody. */
    assert_int_equal(swap_held(&swap, SWAP_NEW, 41, five, 1, NULL), 0);
    assert_int_equal(swap_at_cut(&swap, SWAP_NEW, 42, five, 1, NULL), 0);
    assert_int_equal(swap_held(&swap, SWAP_OLD, 42, nine, 1, NULL), 0);
    assert_int_equal(swap.step, SWAP_PREPARE);
    assert_int_equal(swap_held(&swap, SWAP_NEW, 42, five, 2, NULL), -KE_INVALID);
    assert_int_equal(swap_held(&swap, SWAP_NEW, 42, (int64_t[]){-1}, 1, NULL), -KE_INVALID);
    assert_int_equal(swap_held(&swap, SWAP_NEW, 42, five, 1, NULL), 0);
    assert_int_equal(swap.step, SWAP_RUN_TO);
    int64_t cut[1];
    swap_cut_of(&swap, SWAP_NEW, cut);
    assert_int_equal(cut[0], 5);
    assert_int_equal(swap_at_cut(&swap, SWAP_NEW, 41, five, 1, NULL), 0);
    assert_int_equal(swap.step, SWAP_RUN_TO);
    swap_fail(&swap);
    assert_int_equal(swap_at_cut(&swap, SWAP_NEW, 42, five, 1, NULL), 0);
    assert_int_equal(swap.step, SWAP_FAILED);
    swap_close(&swap);
}

static void test_swap_refuses_another_cut(void **unused)
{
    (void)unused;
    const int64_t five[1] = {5};
    const int64_t nine[1] = {9};
    const int64_t ten[1] = {10};
    struct swap swap;
    struct err err = {0};
    open_simple(&swap, nine, five);
    int rc = swap_at_cut(&swap, SWAP_OLD, 42, nine, 1, NULL);
    rc += swap_at_cut(&swap, SWAP_NEW, 42, ten, 1, NULL); /* ran over it */
    assert_int_equal(rc, 0);
    assert_int_equal(swap.step, SWAP_CHECK);
    assert_int_equal(swap_may_commit(&swap, 10, &err), -KE_INTERNAL);
    assert_non_null(strstr(err.text, "the cut is 9"));
    assert_int_equal(swap.step, SWAP_CHECK);
    swap_close(&swap);
}

static void test_swap_refuses_after_its_hold(void **unused)
{
    (void)unused;
    const int64_t nine[1] = {9};
    struct swap swap;
    open_simple(&swap, nine, nine);
    enum swap_side side;
    assert_string_equal(swap_waits_for(&swap, &side), "to reach the cut");
    assert_int_equal(side, SWAP_OLD);
    int rc = swap_at_cut(&swap, SWAP_OLD, 42, nine, 1, NULL);
    rc += swap_at_cut(&swap, SWAP_NEW, 42, nine, 1, NULL);
    assert_int_equal(rc, 0);
    assert_false(swap_expired(&swap, 2000));
    assert_true(swap_expired(&swap, 2001));
    assert_int_equal(swap_may_commit(&swap, 2001, NULL), -KE_TIMEOUT);
    assert_int_equal(swap_may_commit(&swap, 2000, NULL), 0);
    swap_close(&swap);
}

static void test_recreated_topic_is_another(void **unused)
{
    (void)unused;
    json_t *old = json_pack("[{s:s, s:i, s:i}]", "topic", "t", "identity", 1, "partitions", 2);
    json_t *new = json_pack("[{s:s, s:i, s:i}]", "topic", "t", "identity", 2, "partitions", 3);
    struct partitions partitions;
    partitions_open(&partitions, old, new);
    assert_int_equal(partitions.count, 5);
    uint32_t *map = partitions_map(&partitions, new);
    assert_int_equal(map[0], 2);
    const int64_t cut[5] = {100, 200, 1, 2, 3};
    json_t *text = partitions_cut_json(&partitions, cut);
    json_t *expected = json_pack("{s:[i, i, i]}", "t", 1, 2, 3);
    assert_true(json_equal(text, expected));
    free(map);
    json_decref(text);
    json_decref(expected);
    partitions_close(&partitions);
    json_decref(old);
    json_decref(new);
}

/* ---- Lag ---- */

static void progress(struct lag *lag, int64_t now_us, const char *text)
{
    json_t *event = json_parse(text, strlen(text), NULL);
    assert_non_null(event);
    assert_true(lag_progress(lag, event, now_us));
    json_decref(event);
}

static void test_lag_questions(void **unused)
{
    (void)unused;
    json_t *begin = json_pack("[i, i]", 0, 10);
    json_t *target = json_pack("[i, i]", 5000, 20);
    struct lag lag;
    lag_open(&lag, begin, target);
    assert_int_equal(lag_records(&lag), CATCHUP_UNKNOWN);
    assert_false(lag_past_target(&lag));
    assert_false(lag_is_ready(&lag));
    progress(&lag, 1000000,
             "{\"next\":[4000,20],\"end\":[6000,20],\"at_end\":[false,true],"
             "\"record_time_ms\":[500,null]}");
    assert_int_equal(lag_records(&lag), 2000);
    assert_false(lag_past_target(&lag));
    assert_false(lag_is_ready(&lag)); /* more than 1000, no pace yet */
    progress(&lag, 2000000,
             "{\"next\":[5000,20],\"end\":[6001,20],\"at_end\":[false,true],"
             "\"record_time_ms\":[600,null]}");
    assert_true(lag_past_target(&lag));
    assert_false(lag_is_ready(&lag)); /* 1001 left at 1000 a second */
    progress(&lag, 3000000,
             "{\"next\":[105000,20],\"end\":[125000,20],\"at_end\":[false,true],"
             "\"record_time_ms\":[600,null]}");
    assert_int_equal(lag_records(&lag), 20000);
    assert_true(catchup_rate_get(&lag.rate) > 50000);
    assert_false(lag_is_ready(&lag)); /* a quarter second at some 60 000 a second is less */
    progress(&lag, 4000000,
             "{\"next\":[205000,20],\"end\":[215000,20],\"at_end\":[false,true],"
             "\"record_time_ms\":[600,null]}");
    assert_true(lag_is_ready(&lag));
    progress(&lag, 5000000,
             "{\"next\":[205000,20],\"end\":[-1,20],\"at_end\":[true,true],"
             "\"record_time_ms\":[600,null]}");
    assert_true(lag_is_ready(&lag)); /* whatever the numbers: the worker saw the end */
    /* An open transaction is no lag; since when it blocks is remembered until it does not. */
    progress(&lag, 6000000,
             "{\"next\":[205000,20],\"end\":[205000,20],\"high\":[205009,20],"
             "\"blocked\":[true,false]}");
    assert_int_equal(lag.log_high[0], 205009);
    assert_int_equal(lag_records(&lag), 0);
    assert_string_equal(lag_status(&lag, 0, 6000000), "blocked");
    assert_string_equal(lag_status(&lag, 1, 6000000), "ok");
    progress(&lag, 7000000, "{\"next\":[205000,20],\"blocked\":[true,false]}");
    assert_int_equal(lag.blocked_us[0], 6000000);
    progress(&lag, 8000000, "{\"next\":[205009,20],\"blocked\":[false,false]}");
    assert_int_equal(lag.blocked_us[0], -1);
    assert_string_equal(lag_status(&lag, 0, 8000000), "ok");
    progress(&lag, 9000000, "{\"next\":[205009,20]}"); /* a worker that says nothing of it */
    assert_string_equal(lag_status(&lag, 0, 9000000), "ok");
    lag.blocked_us[1] = 1;
    /* A new incarnation knows no ends. */
    json_t *next = json_pack("[i, i]", 205000, 20);
    assert_true(lag_opened(&lag, next));
    assert_int_equal(lag.blocked_us[1], -1);
    assert_false(lag_is_ready(&lag));
    json_array_append_new(next, json_integer(1));
    assert_false(lag_opened(&lag, next));
    json_decref(next);
    lag_close(&lag);
    json_decref(begin);
    json_decref(target);
}

/* A version that took windows over is past its target where these were, and no sooner. */
static void test_lag_least(void **unused)
{
    (void)unused;
    json_t *begin = json_pack("[i, i]", 0, 0);
    json_t *target = json_pack("[i, i]", 100, 100);
    json_t *least = json_pack("[i, i]", 120, 70);
    struct lag lag;
    lag_open(&lag, begin, target);
    lag_least(&lag, NULL); /* of most there is none */
    progress(&lag, 1000, "{\"next\":[100,100],\"end\":[200,200]}");
    assert_true(lag_past_target(&lag));
    lag_least(&lag, least);
    assert_false(lag_past_target(&lag));
    progress(&lag, 2000, "{\"next\":[119,100],\"end\":[200,200]}");
    assert_false(lag_past_target(&lag));
    progress(&lag, 3000, "{\"next\":[120,99],\"end\":[200,200]}");
    assert_false(lag_past_target(&lag));
    progress(&lag, 4000, "{\"next\":[120,100],\"end\":[200,200]}");
    assert_true(lag_past_target(&lag));
    lag_close(&lag);
    json_decref(begin);
    json_decref(target);
    json_decref(least);
}

static void test_lag_status(void **unused)
{
    (void)unused;
    json_t *begin = json_pack("[i, i]", 0, 0);
    json_t *target = json_pack("[i, i]", 100, 100);
    struct lag lag;
    lag_open(&lag, begin, target);
    assert_string_equal(lag_status(&lag, 0, 0), "unknown");
    progress(&lag, 1000, "{\"next\":[10,100],\"end\":[100,100]}");
    assert_string_equal(lag_status(&lag, 0, 1000), "ok");
    progress(&lag, LAG_STALLED_US, "{\"next\":[10,100],\"end\":[100,100]}");
    assert_string_equal(lag_status(&lag, 0, LAG_STALLED_US), "ok");
    assert_string_equal(lag_status(&lag, 0, LAG_STALLED_US + 1000), "stalled");
    assert_string_equal(lag_status(&lag, 1, LAG_STALLED_US + 1000), "ok");
    /* Records come to one that was idle for long: its time begins then. */
    progress(&lag, 2 * LAG_STALLED_US, "{\"next\":[11,100],\"end\":[100,200]}");
    assert_string_equal(lag_status(&lag, 0, 2 * LAG_STALLED_US), "ok");
    assert_string_equal(lag_status(&lag, 1, 2 * LAG_STALLED_US), "ok");
    assert_string_equal(lag_status(&lag, 1, 3 * LAG_STALLED_US), "stalled");
    assert_true(lag_opened(&lag, begin));
    assert_string_equal(lag_status(&lag, 1, 3 * LAG_STALLED_US), "unknown");
    lag_close(&lag);
    json_decref(begin);
    json_decref(target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_cycle_is_the_one_drawn),
        cmocka_unit_test(test_life_cycle_rules),
        cmocka_unit_test(test_cut_of_random_versions),
        cmocka_unit_test(test_swap_takes_only_its_answers),
        cmocka_unit_test(test_swap_refuses_another_cut),
        cmocka_unit_test(test_swap_refuses_after_its_hold),
        cmocka_unit_test(test_recreated_topic_is_another),
        cmocka_unit_test(test_lag_questions),
        cmocka_unit_test(test_lag_least),
        cmocka_unit_test(test_lag_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
