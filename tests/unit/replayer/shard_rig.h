/* Shards of one version over a fixture log, stepped by one thread with a clock of its own: what the
 * tests of the shard share. */
#ifndef KAPPA_TESTS_SHARD_RIG_H
#define KAPPA_TESTS_SHARD_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "replayer/shard.h"
#include "table/view.h"
#include "tests/unit/replayer/fixture_log.h"

#define RIG_SHARDS_MAX 4

static const char rig_sql[] =
    "CREATE TABLE events (\"user\" text, kind text, amount bigint, ts timestamptz)\n"
    "  WITH (topic = 'events', format = 'json', event_time = 'ts', watermark = '5 s',\n"
    "        timestamp_unit = 'ms');\n"
    "CREATE MATERIALIZED VIEW by_user AS\n"
    "  SELECT \"user\", count(*) AS events, sum(amount) AS amount, max(amount) AS largest\n"
    "  FROM events GROUP BY \"user\";\n"
    "CREATE MATERIALIZED VIEW by_minute WITH (retain = '2 minutes') AS\n"
    "  SELECT \"user\", window_start, window_end, count(DISTINCT kind) AS kinds,\n"
    "         avg(amount) AS mean\n"
    "  FROM tumble(events, ts, interval '1 minute')\n"
    "  GROUP BY \"user\", window_start, window_end;\n";

/* How a version is run; a run's result must not depend on any of it. */
struct rig_options {
    uint32_t shards;
    uint32_t batch_records;
    size_t cache_bytes;
    size_t keep_bytes;
    uint32_t crash; /* one commit step in this many dies; 0: none */
    bool serving;
    const char *sql;             /* NULL: rig_sql */
    struct governor_limit limit; /* all zero: none */
};

struct rig {
    struct fixture_log *log; /* borrowed */
    struct plan *plan;
    struct rig_options options;
    struct prng prng; /* of crashes and of the order of steps */
    char dir[40];
    struct shard *shards[RIG_SHARDS_MAX];
    struct shard_source sources[RIG_SHARDS_MAX][FIXTURE_PARTITIONS];
    int64_t now_us;
    struct clock_ops clock;
    struct governor governor;
    uint32_t crashes;
};

static inline int64_t rig_mono_us(void *ctx)
{
    struct rig *rig = ctx;
    return rig->now_us += 50;
}

static inline int rig_fail_point(void *ctx, const char *step)
{
    struct rig *rig = ctx;
    (void)step;
    if (rig->options.crash > 0 && prng_below(&rig->prng, rig->options.crash) == 0) {
        rig->crashes++;
        return -KE_INTERNAL;
    }
    return 0;
}

/* Opens (or opens again) a shard, as often as its first commit dies. */
static inline void rig_open_shard(struct rig *rig, uint32_t index)
{
    uint32_t count = 0;
    char *dir = xasprintf("%s/%u", rig->dir, index);
    for (uint32_t s = index; s < FIXTURE_PARTITIONS; s += rig->options.shards) {
        rig->sources[index][count++] =
            (struct shard_source){.source = s,
                                  .topic = "events",
                                  .partition = s,
                                  .partitions = FIXTURE_PARTITIONS,
                                  .start = rig->log->partitions[s].start};
    }
    struct shard_options options = {.plan = rig->plan,
                                    .log = &rig->log->base,
                                    .group = "test",
                                    .dir = dir,
                                    .sources = rig->sources[index],
                                    .source_count = count,
                                    .building = true,
                                    .cache_bytes = rig->options.cache_bytes,
                                    .batch_records = rig->options.batch_records,
                                    .keep_bytes = rig->options.keep_bytes,
                                    .governor = &rig->governor,
                                    .clock = &rig->clock,
                                    .fail_point = rig_fail_point,
                                    .fail_ctx = rig};
    struct err err = {0};
    int rc = 0;
    do {
        rc = shard_open(&options, &rig->shards[index], &err);
    } while (rc == -KE_INTERNAL && rig->options.crash > 0);
    if (rc != 0) {
        fail_msg("open: %s", err.text);
    }
    shard_serving(rig->shards[index], rig->options.serving);
    free(dir);
}

static inline struct rig *rig_new(struct fixture_log *log, uint64_t seed,
                                  const struct rig_options *options)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    struct err err = {0};
    rig->log = log;
    rig->options = *options;
    prng_init(&rig->prng, seed);
    rig->clock = (struct clock_ops){.ctx = rig, .mono_us = rig_mono_us, .wall_ms = rig_mono_us};
    const char *sql = options->sql != NULL ? options->sql : rig_sql;
    if (plan_compile("test.sql", sql, strlen(sql), &rig->plan, &err) != 0) {
        fail_msg("%s", err.text);
    }
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/kappa-shard-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    governor_init(&rig->governor, options->shards);
    governor_set(&rig->governor, &options->limit, rig->now_us);
    for (uint32_t i = 0; i < options->shards; i++) {
        rig_open_shard(rig, i);
    }
    return rig;
}

static inline void rig_free(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->options.shards; i++) {
        assert_int_equal(shard_close(rig->shards[i], false, NULL), 0);
    }
    char *command = xasprintf("rm -rf '%s'", rig->dir);
    assert_int_equal(system(command), 0); // NOLINT
    free(command);
    governor_close(&rig->governor);
    plan_free(rig->plan);
    free(rig);
}

/* What is expected to succeed, or to die at a fail point: then the shard is opened again. True when
 * it succeeded. */
static inline bool rig_survives(struct rig *rig, uint32_t index, int rc, const struct err *err)
{
    if (rc == 0) {
        return true;
    }
    if (rc != -KE_INTERNAL || rig->options.crash == 0) {
        fail_msg("code %d: %s", rc, err->text);
    }
    assert_int_equal(shard_close(rig->shards[index], false, NULL), 0);
    rig_open_shard(rig, index);
    return false;
}

/* Steps a random shard; false when it crashed (and is open again, running). */
static inline bool rig_step(struct rig *rig, uint32_t *index)
{
    struct err err = {0};
    *index = (uint32_t)prng_below(&rig->prng, rig->options.shards);
    rig->now_us += (int64_t)prng_below(&rig->prng, 3000);
    int rc = shard_step(rig->shards[*index], 0, &err);
    return rig_survives(rig, *index, rc, &err);
}

static inline void rig_positions(struct rig *rig, int64_t *next, int64_t *committed)
{
    for (uint32_t s = 0; s < FIXTURE_PARTITIONS; s++) {
        struct shard_position position;
        shard_position(rig->shards[s % rig->options.shards], s / rig->options.shards, &position);
        next[s] = position.next;
        committed[s] = position.committed;
    }
}

/* Holds one shard and sends it to the cut, again after every crash on the way. */
static inline void rig_shard_to_cut(struct rig *rig, uint32_t index, const int64_t *cut)
{
    for (;;) {
        struct err err = {0};
        int rc = shard_near(rig->shards[index], &err);
        if (rc == 0) {
            shard_hold(rig->shards[index]);
        }
        if (rig_survives(rig, index, rc, &err)) {
            shard_run_to(rig->shards[index], cut);
            return;
        }
    }
}

/* Runs every shard to exactly this cut, and looks that it gets there. */
static inline void rig_run_to(struct rig *rig, const int64_t *cut)
{
    for (uint32_t i = 0; i < rig->options.shards; i++) {
        rig_shard_to_cut(rig, i, cut);
    }
    for (uint32_t round = 0, there = 0; there < rig->options.shards; round++) {
        uint32_t index = 0;
        struct shard_status status;
        assert_true(round < 1000000);
        if (!rig_step(rig, &index)) {
            rig_shard_to_cut(rig, index, cut);
        }
        there = 0;
        for (uint32_t i = 0; i < rig->options.shards; i++) {
            shard_status(rig->shards[i], &status);
            there += status.mode == SHARD_AT_CUT;
        }
    }
    int64_t next[FIXTURE_PARTITIONS];
    int64_t committed[FIXTURE_PARTITIONS];
    rig_positions(rig, next, committed);
    for (uint32_t s = 0; s < FIXTURE_PARTITIONS; s++) {
        assert_int_equal(next[s], cut[s]);
        assert_int_equal(committed[s], cut[s]);
    }
}

static inline void rig_release(struct rig *rig)
{
    for (uint32_t i = 0; i < rig->options.shards; i++) {
        shard_release(rig->shards[i]);
    }
}

static inline void rig_ends(const struct rig *rig, int64_t *cut)
{
    for (uint32_t s = 0; s < FIXTURE_PARTITIONS; s++) {
        cut[s] = rig->log->partitions[s].end;
    }
}

/* Digests of all sources and tables as committed: 2 per source. */
static inline void rig_digests(struct rig *rig, struct digest *out)
{
    for (size_t s = 0; s < FIXTURE_PARTITIONS; s++) {
        struct store_source kept;
        shard_source_digests(rig->shards[s % rig->options.shards],
                             (uint32_t)(s / rig->options.shards), &kept);
        out[2 * s] = kept.digests[0];
        out[2 * s + 1] = kept.digests[1];
    }
}

#define RIG_DIGESTS (2 * FIXTURE_PARTITIONS)

#endif
