/* A world around the brain, in one thread: a real catalog in a temporary directory, a log that is
 * only its ends, workers that are only their positions, a clock that moves when told.
 *
 *     world_open -> world_step / world_call / world_wait ... -> world_close
 *
 * A model worker keeps the worker protocol: it opens, moves `pace` offsets a step, holds, runs to a
 * cut and seals. Its positions are its "files": they outlive it, as LMDB's would. Faults: `pace` 0,
 * death at a given command, silence at a given command. The brain can be killed at any fail point;
 * then its workers die too, and world_restart makes a new brain on the same catalog.
 *
 * After every step world_check looks as a reader would: the version that the pointer names is there,
 * its epoch has not gone back, and neither has any position that was seen before. */
#ifndef KAPPA_TESTS_CONTROLLER_WORLD_H
#define KAPPA_TESTS_CONTROLLER_WORLD_H

#include "tests/unit/unit.h"

#include "base/histogram.h"
#include "base/prng.h"
#include "controller/core.h"
#include "log/log.h"
#include "table/catalog.h"

#include <ftw.h>
#include <string.h>
#include <unistd.h>

#define WORLD_PARTITIONS 3
#define WORLD_WORKERS    64
#define WORLD_FILES      64
#define WORLD_STEP_US    20000
#define WORLD_COMMANDS   64
#define WORLD_JOBS       64

#define COUNTS_1                                                                                   \
    "CREATE TABLE events (user_id text, kind text) WITH (topic='events', format='json');\n"        \
    "CREATE MATERIALIZED VIEW counts AS SELECT user_id, count(*) AS n FROM events GROUP BY "       \
    "user_id;\n"
#define COUNTS_2                                                                                   \
    "CREATE TABLE events (user_id text, kind text) WITH (topic='events', format='json');\n"        \
    "CREATE MATERIALIZED VIEW counts AS SELECT user_id, count(kind) AS n FROM events GROUP BY "    \
    "user_id;\n"
#define COUNTS_3                                                                                   \
    "CREATE TABLE events (user_id text, kind text) WITH (topic='events', format='json');\n"        \
    "CREATE MATERIALIZED VIEW other AS SELECT kind, count(*) AS n FROM events GROUP BY kind;\n"

struct world_files {
    char dir[192]; /* below DATA/versions; "" when free */
    int64_t next[WORLD_PARTITIONS];
    bool sealed;
};

struct world_worker {
    uint64_t id; /* 0: free */
    bool alive;
    bool opened;
    bool ending; /* told to end */
    bool exited; /* to be told to the brain */
    int status;
    int signal;
    struct world_files *files;
    uint32_t version;
    uint64_t identity; /* of the topic that it was made for */
    char processor[32];
    bool serving;
    bool near; /* told that a cut is: it commits often */
    bool held;
    bool paused;
    bool running_to;
    bool until;
    int64_t limit; /* records per second as told; 0: none */
    struct histogram freshness;
    uint64_t cut_id;
    int64_t cut[WORLD_PARTITIONS];
    int64_t sent[WORLD_PARTITIONS]; /* messages of records below are not needed, as told */
    json_t *commands[WORLD_COMMANDS];
    uint32_t command_count;
};

struct world_answer {
    bool done;
    json_t *body; /* owned */
    struct err err;
};

struct world {
    struct log log; /* first: the log's functions find the world through it */
    char dir[64];
    struct clock_ops clock;
    int64_t now_us;
    int64_t set_ms; /* somebody set the clock by this much */
    struct catalog *catalog;
    struct core *core;
    json_t *log_config;
    int64_t start[WORLD_PARTITIONS];
    int64_t end[WORLD_PARTITIONS];
    int64_t inflow;   /* records a step and partition */
    int64_t pace;     /* of every worker, offsets a step and partition */
    bool limits;      /* workers keep to what they were told */
    const char *lazy; /* a processor whose workers say that they read lazy_rate, or NULL */
    int64_t lazy_rate;
    uint64_t identity;
    int64_t dead;       /* what every worker says of its records, */
    uint32_t dead_from; /* if its version is not older than this one */
    int64_t used_bytes; /* the same of its files */
    bool blocked;       /* the same of its last partition: by an open transaction */
    int64_t ahead;      /* offsets that every worker has applied and not committed */
    bool unreadable;    /* versions' files cannot be read */
    int64_t standby_ms;
    bool access;                          /* names of calls are known to be right */
    const struct core_diff_ops *diff_ops; /* or NULL */
    struct world_worker workers[WORLD_WORKERS];
    struct world_files files[WORLD_FILES];
    struct core_job *jobs[WORLD_JOBS]; /* to be run */
    uint32_t job_count;
    struct core_job *ran[WORLD_JOBS]; /* to be told to the brain */
    uint32_t ran_count;
    struct prng *slow_jobs; /* says when they run, and when that is told; NULL: both in one step */
    uint32_t starts;        /* of workers, ever */
    uint32_t refuse_start;  /* so many starts fail */
    /* Faults. */
    int64_t held_ago_us;   /* workers say so late that they hold */
    const char *die_at;    /* a command that kills the worker of version die_version */
    const char *silent_at; /* a command that it never answers */
    uint32_t fault_version;
    uint32_t stopped_version;    /* its workers do nothing, until they are killed */
    const char *fault_processor; /* NULL: of any */
    bool fault_once;
    long fail_at;    /* the brain dies at the n-th fail point; 0: never */
    long fail_count; /* fail points passed */
    char fail_step[16];
    bool in_doubt;
    /* What a reader has seen. */
    uint64_t seen_epoch;
    uint32_t seen_version;
    int64_t seen[WORLD_PARTITIONS];
    int64_t fresh_us; /* of each commit of a version that serves; 0: none comes */
    bool sends;       /* the serving version has sent all that it made, and says so */
    json_t *outbox;   /* whose messages are real, as the serving version was told last; owned */
};

#include "tests/unit/controller/world_log.h"

/* ---- Files ---- */

static inline struct world_files *world_files(struct world *world, const char *dir, bool make)
{
    struct world_files *free_one = NULL;
    for (int i = 0; i < WORLD_FILES; i++) {
        if (strcmp(world->files[i].dir, dir) == 0) {
            return &world->files[i];
        }
        if (free_one == NULL && world->files[i].dir[0] == '\0') {
            free_one = &world->files[i];
        }
    }
    if (!make) {
        return NULL;
    }
    assert_non_null(free_one);
    memset(free_one, 0, sizeof *free_one);
    (void)snprintf(free_one->dir, sizeof free_one->dir, "%s", dir);
    free_one->next[0] = -1;
    return free_one;
}

/* Files that must be there. */
static inline struct world_files *world_files_of(struct world *world, const char *dir)
{
    struct world_files *files = world_files(world, dir, false);
    ASSERT(files != NULL);
    return files;
}

/* ---- The brain's ops ---- */

static inline struct world_worker *world_worker(struct world *world, uint64_t id)
{
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].id == id) {
            return &world->workers[i];
        }
    }
    return NULL;
}

static inline int world_worker_start(void *ctx, uint64_t id, const char *name, struct err *err)
{
    struct world *world = ctx;
    (void)name;
    if (world->refuse_start > 0) {
        world->refuse_start--;
        return err_set(err, KE_IO, "no process");
    }
    struct world_worker *worker = world_worker(world, 0);
    assert_non_null(worker);
    assert_null(world_worker(world, id));
    memset(worker, 0, sizeof *worker);
    worker->id = id;
    worker->alive = true;
    world->starts++;
    return 1000 + (int)id;
}

static inline void world_worker_send(void *ctx, uint64_t id, const json_t *message)
{
    struct world_worker *worker = world_worker(ctx, id);
    if (worker != NULL && worker->alive) {
        assert_true(worker->command_count < WORLD_COMMANDS);
        worker->commands[worker->command_count++] = json_deep_copy(message);
    }
}

static inline void world_worker_exit(struct world_worker *worker, int status, int signal)
{
    if (worker->alive) {
        worker->alive = false;
        worker->exited = true;
        worker->status = status;
        worker->signal = signal;
    }
}

static inline void world_worker_stop(void *ctx, uint64_t id, bool kill)
{
    struct world_worker *worker = world_worker(ctx, id);
    ASSERT(worker != NULL);
    worker->ending = true;
    if (kill) {
        world_worker_exit(worker, 0, 9);
    }
}

static inline int world_remove_files(void *ctx, const char *dir, struct err *err)
{
    (void)err;
    struct world_files *files = world_files(ctx, dir, false);
    if (files != NULL) {
        memset(files, 0, sizeof *files);
    }
    return 0;
}

static inline void world_reply(void *ctx, void *request, json_t *body, const struct err *err)
{
    (void)ctx;
    struct world_answer *answer = request;
    assert_false(answer->done);
    assert_true((body != NULL) != (err != NULL));
    answer->done = true;
    answer->body = body;
    if (err != NULL) {
        assert_true(err->code < 0);
        answer->err = *err;
    }
}

static inline void world_run_job(void *ctx, struct core_job *job)
{
    struct world *world = ctx;
    assert_true(world->job_count < array_len(world->jobs));
    world->jobs[world->job_count++] = job;
}

static inline int64_t world_mono(void *ctx)
{
    return ((struct world *)ctx)->now_us;
}

static inline int64_t world_wall(void *ctx)
{
    const struct world *world = ctx;
    return world->now_us / 1000 + world->set_ms + 1700000000000;
}

static inline int world_fail_point(void *ctx, const char *step)
{
    struct world *world = ctx;
    world->fail_count++;
    if (world->fail_count == world->fail_at) {
        (void)snprintf(world->fail_step, sizeof world->fail_step, "%s", step);
        return 1;
    }
    return 0;
}

static inline void world_in_doubt(void *ctx, const struct err *err)
{
    (void)err;
    ((struct world *)ctx)->in_doubt = true;
}

static inline void world_digest_of(int64_t next, char *text)
{
    (void)snprintf(text, 33, "%032llx", (unsigned long long)next);
}

static inline int world_version_digest(void *ctx, const char *processor, uint32_t version,
                                       json_t **out, struct err *err)
{
    char dir[192];
    (void)snprintf(dir, sizeof dir, "%s/%u", processor, version);
    const struct world_files *files = world_files(ctx, dir, false);
    if (files == NULL || ((struct world *)ctx)->unreadable) {
        return err_set(err, KE_NOT_FOUND, "no files of %s", dir);
    }
    json_t *sources = json_array();
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        char text[33];
        world_digest_of(files->next[i], text);
        json_array_append_new(sources,
                              json_pack("{s:s, s:i, s:I, s:s}", "topic", "events", "partition", i,
                                        "next", (json_int_t)files->next[i], "digest", text));
    }
    *out = json_pack("{s:o, s:s, s:{}}", "sources", sources, "digest", "all", "cut");
    return 0;
}

/* ---- Workers ---- */

static inline void world_event(struct world *world, const struct world_worker *worker,
                               json_t *event)
{
    core_worker_event(world->core, worker->id, event);
    json_decref(event);
}

static inline json_t *world_vector(const int64_t *vector)
{
    return json_pack("[I, I, I]", (json_int_t)vector[0], (json_int_t)vector[1],
                     (json_int_t)vector[2]);
}

static inline json_t *world_vector_ahead(const int64_t *vector, int64_t ahead)
{
    const int64_t there[WORLD_PARTITIONS] = {vector[0] + ahead, vector[1] + ahead,
                                             vector[2] + ahead};
    return world_vector(there);
}

static inline void world_worker_open(struct world *world, struct world_worker *worker,
                                     const json_t *message)
{
    const char *dir = strstr(json_text(message, "dir", ""), "/versions/");
    assert_non_null(dir);
    worker->files = world_files(world, dir + strlen("/versions/"), true);
    worker->serving = json_bool(message, "serving", false);
    worker->limit = json_int(json_object_get(message, "limit"), "records_per_second", 0);
    assert_true(!worker->serving || worker->limit == 0);
    assert_int_equal(json_array_size(json_object_get(message, "sources")), WORLD_PARTITIONS);
    for (int i = 0; worker->files->next[0] < 0 || i > 0; i++) {
        if (i == WORLD_PARTITIONS) {
            break;
        }
        const json_t *source = json_array_get(json_object_get(message, "sources"), (size_t)i);
        worker->files->next[i] = json_int(source, "start", -1);
        assert_true(worker->files->next[i] >= 0);
    }
    const json_t *until = json_object_get(message, "until");
    if (json_is_array(until)) {
        worker->until = true;
        worker->running_to = true;
        for (int i = 0; i < WORLD_PARTITIONS; i++) {
            worker->cut[i] = json_integer_value(json_array_get(until, (size_t)i));
        }
    }
    worker->identity =
        (uint64_t)json_int(json_array_get(json_object_get(message, "topics"), 0), "identity", 0);
    worker->opened = true;
    world_event(world, worker,
                json_pack("{s:s, s:b, s:o}", "is", "opened", "sealed", worker->files->sealed,
                          "next", world_vector(worker->files->next)));
}

/* Of `open` and `serving`. */
static inline void world_outbox(struct world *world, const json_t *message)
{
    json_t *outbox = json_object_get(message, "outbox");
    if (outbox != NULL) {
        json_decref(world->outbox);
        world->outbox = json_deep_copy(outbox);
    }
}

static inline void world_command(struct world *world, struct world_worker *worker,
                                 const json_t *message)
{
    const char *word = json_text(message, "do", "");
    worker->version = (uint32_t)json_int(message, "version", worker->version); /* of open */
    const char *processor = json_text(message, "processor", NULL);             /* the same */
    if (processor != NULL) {
        (void)snprintf(worker->processor, sizeof worker->processor, "%s", processor);
    }
    worker->until = worker->until || json_is_array(json_object_get(message, "until"));
    worker->near = strcmp(word, "near") == 0 || (worker->near && strcmp(word, "release") != 0);
    bool of_it =
        world->fault_processor == NULL || strcmp(world->fault_processor, worker->processor) == 0;
    bool faulty = worker->version == world->fault_version && of_it && !worker->until;
    if (faulty && world->die_at != NULL && strcmp(world->die_at, word) == 0) {
        world->die_at = world->fault_once ? NULL : world->die_at;
        world_worker_exit(worker, 0, 9);
        return;
    }
    if (faulty && world->silent_at != NULL && strcmp(world->silent_at, word) == 0) {
        world->silent_at = world->fault_once ? NULL : world->silent_at;
        return;
    }
    json_int_t id = json_int(message, "id", 0);
    world_outbox(world, message);
    if (strcmp(word, "open") == 0) {
        world_worker_open(world, worker, message);
    } else if (strcmp(word, "near") == 0) {
        world_event(world, worker, json_pack("{s:s, s:I}", "is", "near", "id", id));
    } else if (strcmp(word, "hold") == 0) {
        worker->held = true;
        world_event(world, worker,
                    json_pack("{s:s, s:I, s:o, s:I}", "is", "held", "id", id, "next",
                              world_vector(worker->files->next), "held_us",
                              (json_int_t)(world->now_us - world->held_ago_us)));
    } else if (strcmp(word, "run_to") == 0) {
        assert_true(worker->held);
        worker->running_to = true;
        worker->cut_id = (uint64_t)id;
        for (int i = 0; i < WORLD_PARTITIONS; i++) {
            worker->cut[i] =
                json_integer_value(json_array_get(json_object_get(message, "cut"), (size_t)i));
            assert_true(worker->cut[i] >= worker->files->next[i]);
        }
    } else if (strcmp(word, "release") == 0) {
        worker->held = false;
        worker->running_to = false;
    } else if (strcmp(word, "pause") == 0) {
        worker->paused = true;
    } else if (strcmp(word, "resume") == 0) {
        worker->paused = false;
    } else if (strcmp(word, "seal") == 0) {
        worker->files->sealed = true;
        world_event(world, worker, json_pack("{s:s}", "is", "sealed"));
    } else if (strcmp(word, "serving") == 0) {
        worker->serving = json_bool(message, "on", false);
    } else if (strcmp(word, "sent") == 0) {
        for (int i = 0; i < WORLD_PARTITIONS; i++) {
            worker->sent[i] =
                json_integer_value(json_array_get(json_object_get(message, "below"), (size_t)i));
        }
    } else if (strcmp(word, "limit") == 0) {
        worker->limit = json_int(message, "records_per_second", 0);
    } else {
        fail_msg("a worker was told to '%s'", word);
    }
}

static inline void world_at_cut(struct world *world, struct world_worker *worker)
{
    json_t *sources = json_array();
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        char text[33];
        world_digest_of(worker->files->next[i], text);
        json_array_append_new(sources, json_string(text));
    }
    worker->running_to = false;
    world_event(world, worker,
                json_pack("{s:s, s:I, s:o, s:s, s:{s:s}, s:o}", "is", "at_cut", "id",
                          (json_int_t)worker->cut_id, "cut", world_vector(worker->files->next),
                          "digest", "all", "tables", "counts", "d", "sources", sources));
}

/* Offsets of this step and partition; a limit below one offset a step is not kept. */
static inline int64_t world_pace(const struct world *world, const struct world_worker *worker)
{
    int64_t limit = worker->limit / (1000000 / WORLD_STEP_US) / WORLD_PARTITIONS;
    return world->limits && worker->limit > 0 ? i64_min(world->pace, i64_max(limit, 1))
                                              : world->pace;
}

/* Records/s, as it says. */
static inline double world_rate(const struct world *world, const struct world_worker *worker)
{
    bool lazy = world->lazy != NULL && strcmp(world->lazy, worker->processor) == 0;
    return lazy ? (double)world->lazy_rate : (double)worker->limit;
}

/* Moves, and says so. */
static inline void world_worker_work(struct world *world, struct world_worker *worker)
{
    bool still = (worker->held && !worker->running_to) || worker->paused ||
                 (worker->until && !worker->running_to);
    bool there = true;
    bool at_end = true;
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        int64_t *next = &worker->files->next[i];
        int64_t pace = world_pace(world, worker);
        int64_t bound = worker->running_to ? i64_min(worker->cut[i], world->end[i]) : world->end[i];
        if (!still) {
            *next = i64_max(*next, i64_min(*next + pace, bound));
        }
        there = there && *next == worker->cut[i];
        at_end = at_end && *next == world->end[i];
    }
    if (worker->running_to && there) {
        world_at_cut(world, worker);
    }
    json_t *flags = json_pack("[b, b, b]", at_end, at_end, at_end);
    if (worker->serving && world->fresh_us > 0) {
        histogram_add(&worker->freshness, world->fresh_us);
    }
    json_t *outbox = NULL;
    if (world->sends && worker->serving) {
        const json_t *spans = json_object_get(world->outbox, "spans");
        const json_t *last = json_array_get(spans, json_array_size(spans) - 1);
        outbox = json_pack("{s:o, s:I}", "positions", world_vector(worker->files->next), "epoch",
                           (json_int_t)json_int(last, "epoch", 1));
    }
    world_event(
        world, worker,
        json_pack(
            "{s:o*, s:s, s:[b, b, b], s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:I, s:I, "
            "s:n}",
            "outbox", outbox, "is", "progress", "blocked", false, false, world->blocked,
            "freshness", histogram_to_json(&worker->freshness), "rate", world_rate(world, worker),
            "next", world_vector_ahead(worker->files->next, world->ahead), "committed",
            world_vector(worker->files->next), "start", world_vector(world->start), "end",
            world_vector(world->end), "at_end", flags, "record_time_ms", json_array(), "records",
            77, "dead", (json_int_t)(worker->version >= world->dead_from ? world->dead : 0),
            "used_bytes", (json_int_t)world->used_bytes, "trouble"));
}

static inline void world_worker_step(struct world *world, struct world_worker *worker)
{
    if (worker->alive && worker->version != 0 && worker->version == world->stopped_version) {
        return;
    }
    for (uint32_t i = 0; i < worker->command_count && worker->alive; i++) {
        json_t *command = worker->commands[i];
        worker->commands[i] = NULL;
        world_command(world, worker, command);
        json_decref(command);
    }
    if (worker->alive && worker->ending) {
        world_worker_exit(worker, 0, 0);
    }
    if (worker->alive && worker->opened) {
        world_worker_work(world, worker);
    }
    for (uint32_t i = 0; i < worker->command_count && !worker->alive; i++) {
        json_decref(worker->commands[i]);
        worker->commands[i] = NULL;
    }
    /* Commands that came while it worked are looked at in the next step. */
    uint32_t kept = 0;
    for (uint32_t i = 0; i < worker->command_count; i++) {
        if (worker->commands[i] != NULL) {
            worker->commands[kept++] = worker->commands[i];
        }
    }
    worker->command_count = kept;
    if (worker->exited) {
        uint64_t id = worker->id;
        worker->id = 0;
        worker->exited = false;
        core_worker_exited(world->core, id, worker->status, worker->signal);
    }
}

/* ---- A reader's eyes ---- */

static inline void world_check(struct world *world)
{
    struct catalog_pointer pointer;
    if (catalog_pointer_get(world->catalog, "counts", &pointer, NULL) != 0) {
        assert_int_equal(world->seen_epoch, 0);
        return;
    }
    assert_true(pointer.epoch >= world->seen_epoch);
    if (pointer.epoch == world->seen_epoch) {
        assert_int_equal(pointer.version, world->seen_version);
    }
    char dir[192];
    (void)snprintf(dir, sizeof dir, "%s/%u", pointer.processor, pointer.version);
    const struct world_files *files = world_files_of(world, dir);
    assert_true(files->sealed);
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        assert_true(files->next[i] >= world->seen[i]);
        world->seen[i] = files->next[i];
    }
    world->seen_epoch = pointer.epoch;
    world->seen_version = pointer.version;
}

/* ---- Open, step, restart, close ---- */

static inline void world_core_open(struct world *world)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/catalog", world->dir);
    struct err err = {0};
    int rc = catalog_open(path, true, &world->catalog, &err);
    const struct core_options options = {.ops = {.ctx = world,
                                                 .clock = &world->clock,
                                                 .worker_start = world_worker_start,
                                                 .worker_send = world_worker_send,
                                                 .worker_stop = world_worker_stop,
                                                 .remove_files = world_remove_files,
                                                 .reply = world_reply,
                                                 .run_job = world_run_job,
                                                 .version_digest = world_version_digest,
                                                 .diff = world->diff_ops,
                                                 .in_doubt = world_in_doubt,
                                                 .fail_point = world_fail_point},
                                         .catalog = world->catalog,
                                         .log = &world->log,
                                         .log_config = world->log_config,
                                         .data_dir = world->dir,
                                         .shards = 2,
                                         .cache_bytes = 1000000,
                                         .access = world->access,
                                         .standby_ms = world->standby_ms};
    if (rc == 0) {
        rc = core_open(&options, &world->core, &err);
    }
    if (rc != 0) {
        fail_msg("%s", err.text);
    }
}

static inline void world_open(struct world *world)
{
    memset(world, 0, sizeof *world);
    world->log = (struct log){.ops = &world_log_ops, .kind = "memory"};
    /* In memory, where there is such a place: each move of a version is a synced commit. */
    (void)snprintf(world->dir, sizeof world->dir, "%s/kappa-core-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(world->dir));
    world->clock = (struct clock_ops){world, world_mono, world_wall};
    world->now_us = 1000000;
    world->log_config = json_pack("{s:s, s:s}", "kind", "embedded", "dir", "nowhere");
    world->identity = 5;
    world->pace = 1000;
    world->inflow = 3;
    world->standby_ms = 60000;
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->end[i] = 5000 + 1000 * i;
    }
    world_core_open(world);
}

static inline bool world_job_waits(struct world *world)
{
    return world->slow_jobs != NULL && prng_below(world->slow_jobs, 6) != 0;
}

/* Jobs ask the log, and the world goes on while they do. */
static inline void world_jobs_run(struct world *world)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < world->job_count; i++) {
        struct core_job *job = world->jobs[i];
        if (world_job_waits(world)) {
            world->jobs[left++] = job;
        } else {
            job->run(job);
            assert_true(world->ran_count < array_len(world->ran));
            world->ran[world->ran_count++] = job;
        }
    }
    world->job_count = left;
}

static inline void world_jobs_finish(struct world *world)
{
    uint32_t count = world->ran_count;
    struct core_job *ran[WORLD_JOBS];
    memcpy(ran, world->ran, count * sizeof(struct core_job *));
    world->ran_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (world_job_waits(world)) {
            world->ran[world->ran_count++] = ran[i];
        } else {
            core_job_finish(world->core, ran[i]);
        }
    }
}

static inline void world_step(struct world *world)
{
    world->now_us += WORLD_STEP_US;
    world_jobs_run(world);
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->end[i] += world->inflow;
    }
    core_tick(world->core);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].id != 0) {
            world_worker_step(world, &world->workers[i]);
        }
    }
    world_jobs_finish(world);
    world_check(world);
}

/* The brain is gone, and its workers with it; what they committed stays. */
static inline void world_core_close(struct world *world)
{
    core_close(world->core);
    world->core = NULL;
    while (world->job_count > 0) {
        struct core_job *job = world->jobs[--world->job_count];
        job->run(job);
        core_job_finish(NULL, job);
    }
    while (world->ran_count > 0) {
        core_job_finish(NULL, world->ran[--world->ran_count]);
    }
    for (int i = 0; i < WORLD_WORKERS; i++) {
        struct world_worker *worker = &world->workers[i];
        for (uint32_t k = 0; k < worker->command_count; k++) {
            json_decref(worker->commands[k]);
        }
        memset(worker, 0, sizeof *worker);
    }
    catalog_close(world->catalog);
    world->catalog = NULL;
}

static inline void world_restart(struct world *world)
{
    world_core_close(world);
    world->fail_at = 0;
    world_core_open(world);
}

static inline int world_remove_entry(const char *path, const struct stat *stat, int kind,
                                     struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline void world_close(struct world *world)
{
    world_core_close(world);
    json_decref(world->log_config);
    json_decref(world->outbox);
    (void)nftw(world->dir, world_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- Of a test: a world of its own ---- */

static inline int world_setup(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world_open(world);
    *state = world;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *world = *state;
    assert_false(world->in_doubt);
    world_close(world);
    free(world);
    return 0;
}

/* ---- Calls ---- */

static inline void world_ask(struct world *world, struct world_answer *answer, const char *verb,
                             const char *processor, uint32_t version, json_t *body)
{
    memset(answer, 0, sizeof *answer);
    core_request(world->core, answer, verb, processor, version, body);
    json_decref(body);
}

static inline void world_until(struct world *world, const struct world_answer *answer)
{
    for (int i = 0; i < 1000 && !answer->done; i++) {
        world_step(world);
    }
    assert_true(answer->done);
}

/* The answer's body; fails the test on an error. */
static inline json_t *world_call(struct world *world, const char *verb, const char *processor,
                                 uint32_t version, json_t *body)
{
    struct world_answer answer;
    world_ask(world, &answer, verb, processor, version, body);
    world_until(world, &answer);
    if (answer.body == NULL) {
        fail_msg("%s: %s", verb, answer.err.text);
    }
    return answer.body;
}

static inline void world_do(struct world *world, const char *verb, const char *processor,
                            uint32_t version)
{
    json_decref(world_call(world, verb, processor, version, json_object()));
}

/* The call is refused with this code, and a text that holds `says`. */
static inline void world_refused(struct world *world, const char *verb, uint32_t version,
                                 json_t *body, int code, const char *says)
{
    struct world_answer answer;
    world_ask(world, &answer, verb, "p", version, body);
    world_until(world, &answer);
    json_decref(answer.body);
    assert_int_equal(answer.err.code, code);
    if (strstr(answer.err.text, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", answer.err.text, says);
    }
}

static inline json_t *world_definition(const char *sql, const char *swap)
{
    return json_pack("{s:s, s:s, s:s}", "sql", sql, "swap", swap, "who", "test");
}

static inline uint32_t world_deploy(struct world *world, const char *sql, const char *swap)
{
    json_t *body = world_call(world, "deploy", "p", 0, world_definition(sql, swap));
    uint32_t version = (uint32_t)json_int(body, "version", 0);
    json_decref(body);
    return version;
}

/* The state of p's version, as status says; "" when it is not there. */
static inline const char *world_state(struct world *world, uint32_t version)
{
    static char state[32];
    struct world_answer answer;
    world_ask(world, &answer, "status", "p", 0, NULL);
    assert_true(answer.done);
    state[0] = '\0';
    size_t i;
    json_t *entry;
    json_array_foreach (json_object_get(answer.body, "versions"), i, entry) {
        if (json_int(entry, "version", 0) == version) {
            (void)snprintf(state, sizeof state, "%s", json_text(entry, "state", ""));
        }
    }
    json_decref(answer.body);
    return state;
}

static inline void world_wait(struct world *world, uint32_t version, const char *state)
{
    for (int i = 0; i < 3000 && strcmp(world_state(world, version), state) != 0; i++) {
        world_step(world);
    }
    assert_string_equal(world_state(world, version), state);
}

static inline void world_steps(struct world *world, int count)
{
    for (int i = 0; i < count; i++) {
        world_step(world);
    }
}

/* Why v2 does not serve: "" when nothing is in the way. */
static inline const char *world_held_back(struct world *world)
{
    static char text[400];
    json_t *status = world_call(world, "status", "p", 0, NULL);
    const json_t *version = json_array_get(json_object_get(status, "versions"), 1);
    (void)snprintf(text, sizeof text, "%s",
                   json_text(json_object_get(version, "held_back"), "message", ""));
    json_decref(status);
    return text;
}

/* v1 serves. */
static inline void world_serve_first(struct world *world)
{
    assert_int_equal(world_deploy(world, COUNTS_1, "auto"), 1);
    world_wait(world, 1, "serving");
}

/* v2 serves, and v1 stands by. */
static inline void world_serve_second(struct world *world)
{
    world_serve_first(world);
    assert_int_equal(world_deploy(world, COUNTS_2, "auto"), 2);
    world_wait(world, 2, "serving");
    assert_string_equal(world_state(world, 1), "standby");
}

#endif
