/* The shards of a replay for taps, each in its thread. Own header: tap_replay.h. */
#include "replayer/tap_replay.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "replayer/plugin_file.h"
#include "replayer/schemas.h"

#define STEP_WAIT_MS  50
#define LOOK_US       100000
#define PUBLISH_STEPS 16U

struct runner {
    const struct tap_replay *replay;
    struct shard_options options;
    struct shard_source *sources; /* of this shard */
    char *dir;
    pthread_t thread;
    bool started;
    _Atomic bool *halt;     /* another one failed */
    struct digest *digests; /* per source of the version; each runner writes its own */
    struct shard_status status;
    struct err err;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t records;
    struct err trouble;
    bool ended;
};

struct run {
    const struct tap_replay *replay;
    struct plugins *plugins;
    struct schemas *schemas;
    struct governor governor;
    struct runner *runners;
    uint32_t count;
    _Atomic bool halt;
};

/* ---- The thread */

static void publish(struct runner *runner, const struct shard_status *status)
{
    pthread_mutex_lock(&runner->lock);
    runner->records = status->records;
    runner->trouble = status->trouble;
    pthread_mutex_unlock(&runner->lock);
}

static int to_the_cut(struct runner *runner, struct shard *shard)
{
    shard_hold(shard);
    shard_run_to(shard, runner->replay->cut);
    for (uint32_t n = 0;; n++) {
        int rc = shard_step(shard, STEP_WAIT_MS, &runner->err);
        if (rc == 0 && (atomic_load(runner->replay->stop) || atomic_load(runner->halt))) {
            rc = err_set(&runner->err, KE_CLOSED, "stopped");
        }
        if (rc != 0) {
            return rc;
        }
        shard_status(shard, &runner->status);
        if (n % PUBLISH_STEPS == 0) {
            publish(runner, &runner->status);
        }
        if (runner->status.mode == SHARD_AT_CUT) {
            return 0;
        }
    }
}

static void *runner_main(void *ctx)
{
    struct runner *runner = ctx;
    struct shard *shard = NULL;
    const struct plan *plan = runner->replay->plan;
    int rc = shard_open(&runner->options, &shard, &runner->err);
    if (rc == 0) {
        rc = to_the_cut(runner, shard);
        for (uint32_t i = 0; rc == 0 && i < runner->options.source_count; i++) {
            struct store_source kept;
            shard_source_digests(shard, i, &kept);
            runner->digests[runner->sources[i].source] =
                store_digest_sum(&kept, plan->table_count + plan->topic_count);
        }
        struct err ignored;
        (void)shard_close(shard, false, &ignored);
    }
    runner->err.code = rc;
    if (rc != 0) {
        atomic_store(runner->halt, true);
    }
    publish(runner, &runner->status);
    pthread_mutex_lock(&runner->lock);
    runner->ended = true;
    pthread_mutex_unlock(&runner->lock);
    return NULL;
}

/* ---- Setting up */

static int runner_start(struct run *run, struct tap *tap, uint32_t index, struct digest *digests,
                        struct err *err)
{
    const struct tap_replay *replay = run->replay;
    struct runner *runner = &run->runners[index];
    uint32_t count = 0;
    runner->replay = replay;
    runner->halt = &run->halt;
    runner->digests = digests;
    runner->sources = xcalloc(replay->source_count / replay->shards + 1, sizeof *runner->sources);
    for (uint32_t s = index; s < replay->source_count; s += replay->shards) {
        runner->sources[count++] = replay->sources[s];
    }
    runner->dir = xasprintf("%s/%u", replay->dir, index);
    pthread_mutex_init(&runner->lock, NULL);
    run->count++;
    runner->options = (struct shard_options){
        .plan = replay->plan,
        .log = replay->log,
        .group = replay->group,
        .dir = runner->dir,
        .sources = runner->sources,
        .source_count = count,
        .schemas = run->schemas,
        .governor = &run->governor,
        .governed_to_cut = true,
        .building = true,
        .cache_bytes = (replay->cache_bytes + replay->shards - 1) / replay->shards,
        .plugins = plugins_code(run->plugins),
        .batch_records = replay->batch_records,
        .tap = tap == NULL ? NULL : tap_shard(tap, index),
        .outbox_drop = !replay->outbox,
        .clock = clock_real()};
    int rc = pthread_create(&runner->thread, NULL, runner_main, runner);
    runner->started = rc == 0;
    return rc == 0 ? 0 : err_errno(err, rc, "cannot start a thread");
}

/* Looks at the threads until all have ended. */
static void wait_and_tell(struct run *run)
{
    const struct tap_replay *replay = run->replay;
    for (bool ended = false; !ended;) {
        uint64_t records = 0;
        struct err trouble = {.code = 0};
        ended = true;
        for (uint32_t i = 0; i < run->count; i++) {
            struct runner *runner = &run->runners[i];
            pthread_mutex_lock(&runner->lock);
            records += runner->records;
            ended &= runner->ended || !runner->started;
            if (runner->trouble.code != 0) {
                trouble = runner->trouble;
            }
            pthread_mutex_unlock(&runner->lock);
        }
        if (replay->progress != NULL) {
            replay->progress(replay->progress_ctx, records, trouble.code != 0 ? &trouble : NULL);
        }
        if (!ended) {
            (void)usleep(LOOK_US);
        }
    }
}

/* The first error that is not only the echo of another one's. */
static int outcome(struct run *run, struct tap_done *done, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < run->count; i++) {
        struct runner *runner = &run->runners[i];
        if (runner->started && runner->err.code != 0 && (rc == 0 || rc == -KE_CLOSED)) {
            rc = runner->err.code;
            *err = runner->err;
        }
        done->records += runner->status.records;
        done->dead += runner->status.dead;
        done->late += runner->status.late;
    }
    return rc;
}

static void run_free(struct run *run)
{
    for (uint32_t i = 0; i < run->count; i++) {
        struct runner *runner = &run->runners[i];
        if (runner->started) {
            (void)pthread_join(runner->thread, NULL);
        }
        pthread_mutex_destroy(&runner->lock);
        free(runner->sources);
        free(runner->dir);
    }
    free(run->runners);
    governor_close(&run->governor);
    schemas_close(run->schemas);
    plugins_free(run->plugins);
}

static int tap_make(const struct tap_replay *replay, struct tap **tap, struct err *err)
{
    uint32_t *inputs = xcalloc(replay->source_count + 1, sizeof *inputs);
    for (uint32_t s = 0; s < replay->source_count; s++) {
        inputs[s] = replay->sources[s].input;
    }
    struct tap_options options = {.plan = replay->plan,
                                  .labels = replay->labels,
                                  .views = replay->views,
                                  .table_count = replay->table_count,
                                  .newest = replay->newest,
                                  .inputs = inputs,
                                  .source_count = replay->source_count,
                                  .shards = replay->shards,
                                  .dir = replay->dir};
    int rc = tap_open(&options, tap, err);
    free(inputs);
    return rc;
}

int tap_replay_run(const struct tap_replay *replay, struct tap **tap, struct tap_done *done,
                   struct err *err)
{
    struct run run = {.replay = replay};
    *tap = NULL;
    *done = (struct tap_done){.sources = xcalloc(replay->source_count + 1, sizeof(struct digest))};
    int rc = plugins_load(replay->plan, replay->plugins, &run.plugins, err);
    if (rc == 0 && replay->labels != NULL) {
        rc = tap_make(replay, tap, err);
    }
    run.schemas = schemas_open(replay->schemas);
    governor_init(&run.governor, replay->shards);
    governor_set(&run.governor, &replay->limit, clock_mono_us(clock_real()));
    run.runners = xcalloc(replay->shards, sizeof *run.runners);
    for (uint32_t i = 0; i < replay->shards && rc == 0; i++) {
        rc = runner_start(&run, *tap, i, done->sources, err);
    }
    atomic_store(&run.halt, rc != 0 || atomic_load(&run.halt));
    wait_and_tell(&run);
    rc = rc == 0 ? outcome(&run, done, err) : rc;
    for (uint32_t s = 0; s < replay->source_count; s++) {
        digest_add(&done->digest, done->sources[s]);
    }
    run_free(&run);
    return rc;
}
