/* Goal: rows and digests at a cut are a function of the log below the cut alone, and the cut is
 * exact. Method: the same nasty log (fixture_log.h) is run in many ways: batch sizes, shards, tiny
 * caches, tiny queues, death at commits, holds at random cuts, serving or not. Every run must give
 * the digests of the plainest one, and its rows must equal a count made from the events
 * themselves.
 *
 * KAPPA_SEED gives the seed, KAPPA_ROUNDS the number of random rounds. */
#include "tests/unit/replayer/shard_rig.h"

#define EVENTS 3000

static uint64_t seed = 20260131;
static uint32_t rounds = 12;

/* ---- The oracle */

struct user_row {
    int64_t events, amount, largest;
};

static void count_users(const struct fixture_log *log, const int64_t *cut, struct user_row *rows)
{
    memset(rows, 0, FIXTURE_USERS * sizeof *rows);
    for (uint32_t s = 0; s < FIXTURE_PARTITIONS; s++) {
        const struct fixture_partition *p = &log->partitions[s];
        for (uint32_t i = 0; i < p->count && p->events[i].offset < cut[s]; i++) {
            const struct fixture_event *e = &p->events[i];
            if (!e->bad) {
                struct user_row *row = &rows[e->user];
                row->events++;
                row->amount += e->amount;
                row->largest = i64_max(row->largest, e->amount);
            }
        }
    }
}

/* Merges the partials of one user's row as a reader does. */
static void read_users(struct rig *rig, struct user_row *rows)
{
    struct kappa_table_shape shapes[2] = {rig->plan->views[0].shape, rig->plan->views[1].shape};
    struct view *view = NULL;
    struct view_snapshot *snapshot = NULL;
    struct err err = {0};
    memset(rows, 0, FIXTURE_USERS * sizeof *rows);
    assert_int_equal(view_open(rig->dir, rig->options.shards, shapes, 2, &view, &err), 0);
    assert_int_equal(view_snapshot_begin(view, &snapshot, &err), 0);
    struct row_finisher *finisher = row_finisher_new(rig->plan, 0);
    for (uint32_t user = 0; user < FIXTURE_USERS; user++) {
        uint8_t key[64];
        char name[16];
        const char *texts[] = {name};
        size_t key_len = 0;
        uint32_t source = 0;
        bool any = false;
        (void)snprintf(name, sizeof name, "u%u", user);
        assert_int_equal(
            plan_key_from_text(&rig->plan->views[0], texts, 1, key, &key_len, &source, &err), 0);
        row_finisher_begin(finisher, 0, key, key_len);
        for (uint32_t s = 0; s < FIXTURE_PARTITIONS; s++) {
            const uint8_t *value = NULL;
            size_t len = 0;
            int found = view_get(snapshot, 0, s, key, key_len, &value, &len, &err);
            assert_true(found >= 0);
            if (found == 1) {
                assert_int_equal(row_finisher_add(finisher, value, len, &err), 0);
                any = true;
            }
        }
        const struct kappa_value *values = NULL;
        if (any) {
            assert_int_equal(row_finisher_finish(finisher, &values, &err), 1);
            rows[user] = (struct user_row){values[1].i, values[2].i, values[3].i};
        }
    }
    row_finisher_free(finisher);
    view_snapshot_end(snapshot);
    view_close(view);
}

static void expect_counted(struct rig *rig, const int64_t *cut)
{
    struct user_row counted[FIXTURE_USERS];
    struct user_row stored[FIXTURE_USERS];
    count_users(rig->log, cut, counted);
    read_users(rig, stored);
    for (uint32_t user = 0; user < FIXTURE_USERS; user++) {
        assert_int_equal(stored[user].events, counted[user].events);
        assert_int_equal(stored[user].amount, counted[user].amount);
        assert_int_equal(stored[user].largest, counted[user].largest);
    }
}

/* ---- Runs */

static const struct rig_options plain = {.shards = 1, .batch_records = 64, .cache_bytes = 8 << 20};

/* Digests at a cut, reached the plainest way. */
static void plain_digests(struct fixture_log *log, const int64_t *cut, struct digest *out)
{
    struct rig *rig = rig_new(log, 1, &plain);
    rig_run_to(rig, cut);
    rig_digests(rig, out);
    rig_free(rig);
}

static void expect_digests(struct rig *rig, const struct digest *want)
{
    struct digest got[RIG_DIGESTS];
    rig_digests(rig, got);
    for (uint32_t i = 0; i < RIG_DIGESTS; i++) {
        if (!digest_equal(got[i], want[i])) {
            fail_msg("source %u, table %u: another digest", i / 2, i % 2);
        }
    }
}

static void test_plain_equals_count(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, EVENTS);
    struct rig *rig = rig_new(log, seed, &plain);
    int64_t cut[FIXTURE_PARTITIONS];
    rig_ends(rig, cut);
    rig_run_to(rig, cut);
    expect_counted(rig, cut);
    struct shard_status status;
    shard_status(rig->shards[0], &status);
    assert_int_equal(status.records, EVENTS);
    assert_true(status.dead > 0);
    assert_true(status.late > 0);
    struct digest digests[RIG_DIGESTS];
    rig_digests(rig, digests);
    assert_false(digest_equal(digests[0], digests[2]));
    rig_free(rig);
    fixture_log_free(log);
}

static void test_same_digests_every_way(void **state)
{
    (void)state;
    static const uint32_t batches[] = {1, 7, 64, 4096};
    static const uint32_t shards[] = {1, 2, 4};
    static const size_t caches[] = {1, 20000, 8 << 20};
    static const uint32_t crashes[] = {0, 9};
    struct fixture_log *log = fixture_log_new(seed, EVENTS);
    int64_t cut[FIXTURE_PARTITIONS];
    struct digest want[RIG_DIGESTS];
    for (uint32_t s = 0; s < FIXTURE_PARTITIONS; s++) {
        cut[s] = log->partitions[s].end;
    }
    plain_digests(log, cut, want);
    for (uint32_t way = 0; way < 36; way++) {
        struct rig_options options = {.shards = shards[way % 3],
                                      .batch_records = batches[way / 3 % 4],
                                      .cache_bytes = caches[way / 12],
                                      .keep_bytes = way % 2 ? 1 : 0,
                                      .crash = crashes[(way / 3) % 2],
                                      .serving = way % 5 == 0};
        log->errors = way % 4 == 1 ? 7 : 0;
        log->repeats = way % 3 == 1 ? 5 : 0;
        struct rig *rig = rig_new(log, seed + way, &options);
        rig_run_to(rig, cut);
        expect_digests(rig, want);
        expect_counted(rig, cut);
        rig_free(rig);
    }
    fixture_log_free(log);
}

/* A cut between the positions and the ends: any offset, so often one inside a hole. */
static void random_cut(struct rig *rig, struct prng *prng, int64_t *cut)
{
    int64_t next[FIXTURE_PARTITIONS];
    int64_t committed[FIXTURE_PARTITIONS];
    rig_positions(rig, next, committed);
    for (uint32_t s = 0; s < FIXTURE_PARTITIONS; s++) {
        int64_t left = rig->log->partitions[s].end - next[s];
        int64_t most[] = {0, i64_min(left, 8), left / 6, prng_below(prng, 8) ? 0 : left};
        cut[s] = next[s] + (int64_t)prng_below(prng, (uint64_t)most[prng_below(prng, 4)] + 1);
    }
}

/* One run with several holds on the way. Crashes bring a shard back to running at its last commit,
 * which lies at or below the cut that was chosen, as a worker that dies in a swap. */
static void run_with_holds(struct fixture_log *log, uint64_t round)
{
    struct prng prng;
    prng_init(&prng, seed * 1000 + round);
    struct rig_options options = {.shards = 1 + (uint32_t)prng_below(&prng, RIG_SHARDS_MAX),
                                  .batch_records = 1 + (uint32_t)prng_below(&prng, 200),
                                  .cache_bytes = 1 + prng_below(&prng, 100000),
                                  .keep_bytes =
                                      prng_below(&prng, 3) ? 0 : 1 + prng_below(&prng, 3000),
                                  .crash = prng_below(&prng, 2) ? 40 : 0,
                                  .serving = prng_below(&prng, 2) == 1};
    log->errors = prng_below(&prng, 3) == 0 ? 20 : 0;
    log->repeats = prng_below(&prng, 3) == 0 ? 10 : 0;
    struct rig *rig = rig_new(log, prng_next(&prng), &options);
    for (int hold = 0; hold < 8; hold++) {
        int64_t cut[FIXTURE_PARTITIONS];
        struct digest want[RIG_DIGESTS];
        uint32_t index = 0;
        for (uint64_t steps = prng_below(&prng, 2) * prng_below(&prng, 15); steps > 0; steps--) {
            (void)rig_step(rig, &index);
        }
        random_cut(rig, &prng, cut);
        rig_run_to(rig, cut);
        plain_digests(log, cut, want);
        expect_digests(rig, want);
        expect_counted(rig, cut);
        if (prng_below(&prng, 3) > 0) { /* else straight on to the next cut */
            rig_release(rig);
        }
    }
    rig_free(rig);
}

static void test_holds_at_random_cuts(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, EVENTS);
    for (uint32_t round = 0; round < rounds; round++) {
        run_with_holds(log, round);
    }
    fixture_log_free(log);
}

/* ---- Single rules */

static void test_start_is_committed_at_open(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, 100);
    log->partitions[1].start = 7;
    struct rig *rig = rig_new(log, seed, &plain);
    int64_t next[FIXTURE_PARTITIONS];
    int64_t committed[FIXTURE_PARTITIONS];
    rig_positions(rig, next, committed);
    for (uint32_t s = 0; s < FIXTURE_PARTITIONS; s++) {
        assert_int_equal(next[s], s == 1 ? 7 : 0);
        assert_int_equal(committed[s], next[s]);
    }
    log->partitions[1].start = 9; /* the stored position counts, not the start, from now on */
    assert_int_equal(shard_close(rig->shards[0], false, NULL), 0);
    rig_open_shard(rig, 0);
    rig_positions(rig, next, committed);
    assert_int_equal(next[1], 7);
    rig_free(rig);
    fixture_log_free(log);
}

static void step_many(struct rig *rig, uint32_t steps)
{
    uint32_t index = 0;
    while (steps-- > 0) {
        assert_true(rig_step(rig, &index));
    }
}

/* What was applied is written when a cut comes near and at the cut, not for being held. */
static void test_near_and_held(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, 3000);
    struct rig *rig = rig_new(log, seed, &plain);
    struct shard *shard = rig->shards[0];
    int64_t next[FIXTURE_PARTITIONS];
    int64_t committed[FIXTURE_PARTITIONS];
    step_many(rig, 2);
    rig_positions(rig, next, committed);
    assert_memory_not_equal(next, committed, sizeof next);
    assert_int_equal(shard_near(shard, NULL), 0);
    rig_positions(rig, next, committed);
    assert_memory_equal(next, committed, sizeof next);
    step_many(rig, 1);
    shard_hold(shard);
    rig_positions(rig, next, committed);
    assert_memory_not_equal(next, committed, sizeof next);
    shard_run_to(shard, next);
    step_many(rig, 1);
    struct shard_status status;
    shard_status(shard, &status);
    assert_int_equal(status.mode, SHARD_AT_CUT);
    rig_positions(rig, next, committed);
    assert_memory_equal(next, committed, sizeof next);
    rig_free(rig);
    fixture_log_free(log);
}

static void test_paused_and_held_do_not_read(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, 1000);
    struct rig *rig = rig_new(log, seed, &plain);
    struct shard *shard = rig->shards[0];
    int64_t before[FIXTURE_PARTITIONS];
    int64_t after[FIXTURE_PARTITIONS];
    int64_t committed[FIXTURE_PARTITIONS];
    struct shard_status status;
    step_many(rig, 5);
    assert_int_equal(shard_pause(shard, NULL), 0);
    rig_positions(rig, before, committed);
    assert_memory_equal(before, committed, sizeof before);
    uint32_t calls = log->next_calls;
    step_many(rig, 10);
    shard_hold(shard); /* held while paused, released to paused */
    step_many(rig, 10);
    shard_status(shard, &status);
    assert_int_equal(status.mode, SHARD_HELD);
    shard_run_to(shard, before);
    step_many(rig, 1);
    shard_status(shard, &status);
    assert_int_equal(status.mode, SHARD_AT_CUT);
    shard_release(shard);
    shard_status(shard, &status);
    assert_int_equal(status.mode, SHARD_PAUSED);
    step_many(rig, 10);
    rig_positions(rig, after, committed);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(log->next_calls, calls);
    shard_resume(shard);
    step_many(rig, 200);
    rig_positions(rig, after, committed);
    rig_ends(rig, before);
    assert_memory_equal(before, after, sizeof before);
    rig_free(rig);
    fixture_log_free(log);
}

static void test_drain_keeps_what_was_applied(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, 2000);
    struct rig_options options = plain;
    options.batch_records = 16; /* less than two seconds of work: nothing is due meanwhile */
    for (int drain = 0; drain < 2; drain++) {
        struct rig *rig = rig_new(log, seed, &options);
        int64_t next[FIXTURE_PARTITIONS];
        int64_t committed[FIXTURE_PARTITIONS];
        int64_t again[FIXTURE_PARTITIONS];
        step_many(rig, 20);
        rig_positions(rig, next, committed);
        assert_memory_not_equal(next, committed, sizeof next);
        assert_int_equal(shard_close(rig->shards[0], drain, NULL), 0);
        rig_open_shard(rig, 0);
        rig_positions(rig, again, again);
        assert_memory_equal(again, drain ? next : committed, sizeof next);
        rig_free(rig);
    }
    fixture_log_free(log);
}

static void test_lost_range_is_for_good(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, 1000);
    struct rig *rig = rig_new(log, seed, &plain);
    struct err err = {0};
    struct shard_status status;
    int64_t next[FIXTURE_PARTITIONS];
    int64_t committed[FIXTURE_PARTITIONS];
    step_many(rig, 4);
    log->partitions[2].start = log->partitions[2].end - 1;
    int rc = 0;
    for (int i = 0; i < 100 && rc == 0; i++) {
        rc = shard_step(rig->shards[0], 0, &err);
    }
    assert_int_equal(rc, -KE_RANGE_LOST);
    assert_int_equal(err.code, -KE_RANGE_LOST);
    assert_non_null(strstr(err.text, "is gone"));
    shard_status(rig->shards[0], &status);
    assert_int_equal(status.failed_source, 2);
    rig_positions(rig, next, committed);
    assert_memory_equal(next, committed, sizeof next); /* what was applied is kept */
    rig_free(rig);
    fixture_log_free(log);
}

static void test_passing_trouble_is_shown(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, 100);
    struct rig *rig = rig_new(log, seed, &plain);
    struct shard_status status;
    log->errors = 1;
    step_many(rig, 1);
    shard_status(rig->shards[0], &status);
    assert_int_equal(status.trouble.code, -KE_BROKER);
    uint32_t calls = log->next_calls;
    step_many(rig, 3); /* it backs off: the log is not asked again at once */
    assert_int_equal(log->next_calls, calls);
    log->errors = 0;
    rig->now_us += 10000000;
    step_many(rig, 60);
    shard_status(rig->shards[0], &status);
    assert_int_equal(status.trouble.code, 0);
    assert_int_equal(status.records, 100);
    rig_free(rig);
    fixture_log_free(log);
}

/* Behind: big commits. At the end: soon. Serving: as soon as nothing more is readable. */
static void test_commit_cadence(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, 3000);
    struct rig_options options = plain;
    for (int serving = 0; serving < 2; serving++) {
        struct shard_status status;
        struct shard_position position;
        options.serving = serving == 1;
        struct rig *rig = rig_new(log, seed, &options);
        step_many(rig, 25);
        shard_status(rig->shards[0], &status);
        if (serving) {
            assert_true(status.commits > 3); /* a step takes 1.5 ms, the bound is 4 ms */
        } else {
            assert_int_equal(status.commits, 1); /* that of the open */
        }
        step_many(rig, 200); /* the end, and one step that finds nothing */
        shard_position(rig->shards[0], 0, &position);
        assert_int_equal(position.committed, log->partitions[0].end);
        assert_true(position.at_end);
        rig_free(rig);
    }
    fixture_log_free(log);
}

/* Behind, rows that are only added leave in small commits. */
static void test_append_cadence(void **state)
{
    (void)state;
    static const char append_sql[] =
        "CREATE TABLE events (\"user\" text, kind text, amount bigint, ts timestamptz)\n"
        "  WITH (topic = 'events', format = 'json', event_time = 'ts', watermark = '5 s',\n"
        "        timestamp_unit = 'ms');\n"
        "CREATE MATERIALIZED VIEW wide AS SELECT repeat(kind, 6000) AS kinds FROM events;\n";
    struct fixture_log *log = fixture_log_new(seed, 3000);
    struct rig_options options = plain;
    struct shard_status status;
    options.cache_bytes = 256 << 20;
    options.sql = append_sql;
    struct rig *rig = rig_new(log, seed, &options);
    size_t most = 0;
    for (uint32_t step = 0; step < 40; step++) {
        step_many(rig, 1);
        shard_status(rig->shards[0], &status);
        most = status.processor.append_bytes > most ? status.processor.append_bytes : most;
    }
    assert_true(status.commits > 1); /* that of the open, and more */
    assert_true(most > 3 << 20 && most < 5 << 20);
    rig_free(rig);
    fixture_log_free(log);
}

/* What is left of uneven sources waits in memory as long as it is little, and is read again when it
 * is much: the reader is opened anew then, and only then. */
static void test_uneven_sources(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, EVENTS);
    for (int tiny = 0; tiny < 2; tiny++) {
        struct rig_options options = plain;
        int64_t cut[FIXTURE_PARTITIONS];
        struct digest want[RIG_DIGESTS];
        options.keep_bytes = tiny ? 1 : 0;
        struct rig *rig = rig_new(log, seed, &options);
        uint32_t readers = log->readers;
        rig_ends(rig, cut);
        cut[0] = 3;
        cut[1] = log->partitions[1].end / 2;
        rig_run_to(rig, cut);
        assert_int_equal(log->readers, tiny ? readers + 3 : readers + 1);
        expect_counted(rig, cut);
        rig_release(rig);
        rig_ends(rig, cut);
        rig_run_to(rig, cut);
        plain_digests(log, cut, want);
        expect_digests(rig, want);
        rig_free(rig);
    }
    fixture_log_free(log);
}

/* Limited or not: the same rows and digests, no faster than allowed, and not committed more often
 * because of it. */
static void test_limited(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, EVENTS);
    struct rig_options options = {
        .shards = 2, .cache_bytes = 8 << 20, .limit = {.records = 1000, .bytes = 1000000000}};
    struct rig *rig = rig_new(log, seed, &options);
    int64_t cut[FIXTURE_PARTITIONS];
    int64_t next[FIXTURE_PARTITIONS];
    int64_t committed[FIXTURE_PARTITIONS];
    struct shard_status status[2];
    struct digest want[RIG_DIGESTS];
    rig_ends(rig, cut);
    plain_digests(log, cut, want);
    double level = 0; /* of a bucket that leaks as fast as is allowed */
    double most = 1000 * (GOVERNOR_CREDIT_US + GOVERNOR_BATCH_US) / 1e6 + 2 * 2;
    uint64_t before = 0;
    int64_t last_us = rig->now_us;
    do {
        uint32_t index = 0;
        assert_true(rig_step(rig, &index));
        shard_status(rig->shards[0], &status[0]);
        shard_status(rig->shards[1], &status[1]);
        uint64_t records = status[0].records + status[1].records;
        level -= (double)(rig->now_us - last_us) / 1000;
        level = (level > 0 ? level : 0) + (double)(records - before);
        assert_true(level <= most);
        before = records;
        last_us = rig->now_us;
        rig_positions(rig, next, committed);
    } while (memcmp(committed, cut, sizeof cut) != 0);
    assert_int_equal(before, EVENTS);
    expect_digests(rig, want);
    assert_true(status[0].time_us[SHARD_LIMITED] > 0);
    assert_true(status[0].commits + status[1].commits <= 12); /* 3 s: of 60 batches */
    assert_true(status[0].bytes > status[0].records);
    rig_free(rig);
    fixture_log_free(log);
}

/* Somebody waits for a cut, and whoever serves has readers. */
static void test_limit_lets_a_cut_pass(void **state)
{
    (void)state;
    struct fixture_log *log = fixture_log_new(seed, EVENTS);
    struct rig_options options = {.shards = 1, .cache_bytes = 8 << 20, .limit = {.records = 1}};
    for (int serving = 0; serving < 2; serving++) {
        options.serving = serving == 1;
        struct rig *rig = rig_new(log, seed, &options);
        int64_t cut[FIXTURE_PARTITIONS];
        int64_t next[FIXTURE_PARTITIONS] = {0};
        int64_t committed[FIXTURE_PARTITIONS];
        uint32_t index = 0;
        int64_t start = rig->now_us;
        rig_ends(rig, cut);
        if (serving == 0) {
            rig_run_to(rig, cut);
        }
        while (serving == 1 && memcmp(next, cut, sizeof cut) != 0) {
            assert_true(rig_step(rig, &index));
            rig_positions(rig, next, committed);
        }
        assert_true(rig->now_us - start < 1000000L * EVENTS / 10);
        rig_free(rig);
    }
    fixture_log_free(log);
}

int main(void)
{
    const char *given = getenv("KAPPA_SEED");
    seed = given ? strtoull(given, NULL, 10) : seed;
    given = getenv("KAPPA_ROUNDS");
    rounds = given ? (uint32_t)strtoul(given, NULL, 10) : rounds;
    print_message("KAPPA_SEED=%llu\n", (unsigned long long)seed);
    (void)setenv("KAPPA_LOG", "error", 0); /* trouble is made on purpose */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_equals_count),
        cmocka_unit_test(test_same_digests_every_way),
        cmocka_unit_test(test_holds_at_random_cuts),
        cmocka_unit_test(test_start_is_committed_at_open),
        cmocka_unit_test(test_near_and_held),
        cmocka_unit_test(test_paused_and_held_do_not_read),
        cmocka_unit_test(test_drain_keeps_what_was_applied),
        cmocka_unit_test(test_lost_range_is_for_good),
        cmocka_unit_test(test_passing_trouble_is_shown),
        cmocka_unit_test(test_commit_cadence),
        cmocka_unit_test(test_append_cadence),
        cmocka_unit_test(test_uneven_sources),
        cmocka_unit_test(test_limited),
        cmocka_unit_test(test_limit_lets_a_cut_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
