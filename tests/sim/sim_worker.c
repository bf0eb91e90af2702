/* A worker process of the simulator: real shards, modelled pipes. It does what replayer/worker.c
 * does with threads, one message or one step at a time. */
#include "tests/sim/sim.h"
#include "tests/sim/sim_operators.h"

#include "base/limits.h"
#include "processor/plan_object.h"

#include <stdlib.h>
#include <string.h>

#define HEALTHY_US INT64_C(40000000) /* a little more than the controller's own */
#define DEATHS_MAX 4

static void say(struct sim_worker *worker, json_t *event)
{
    int rc = json_array_append_new(worker->outbox, event);
    ASSERT(rc == 0);
}

static json_t *event_new(const char *is)
{
    json_t *event = json_pack("{s:s}", "is", is);
    ASSERT(event != NULL);
    return event;
}

static void set(json_t *object, const char *name, json_t *value)
{
    int rc = json_object_set_new(object, name, value);
    ASSERT(rc == 0);
}

bool sim_worker_may_die(struct sim_worker *worker)
{
    struct sim *sim = worker->sim;
    uint32_t *deaths = &sim->deaths[worker->version % SIM_VERSIONS_MAX];
    *deaths = sim->now_us - worker->born_us > HEALTHY_US ? 0 : *deaths;
    if (worker->gone || (sim->plugin && worker->version > 0 && *deaths == DEATHS_MAX)) {
        return false;
    }
    *deaths += 1;
    return true;
}

struct sim_worker *sim_worker_new(struct sim *sim, uint64_t id, const char *name)
{
    struct sim_worker *worker = xcalloc(1, sizeof *worker);
    const char *version = strstr(name, " v");
    worker->id = id;
    worker->born_us = sim->now_us;
    worker->version = version == NULL ? 0 : (uint32_t)strtoul(version + 2, NULL, 10);
    worker->sim = sim;
    worker->inbox = json_array();
    worker->outbox = json_array();
    return worker;
}

/* Closes what the process had open. drain: as a process that ends in order. */
static int worker_close(struct sim_worker *worker, bool drain, struct err *err)
{
    int rc = 0;
    sim_sender_end(worker, !drain || worker->died);
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        struct err one = {0};
        int one_rc = shard_close(worker->shards[i], drain && !worker->died, &one);
        if (one_rc != 0 && rc == 0) {
            rc = one_rc;
            *err = one;
        }
        free(worker->shard_dirs[i]);
    }
    worker->shard_count = 0;
    free(worker->shards);
    free(worker->shard_dirs);
    free(worker->sources);
    worker->shards = NULL;
    worker->shard_dirs = NULL;
    worker->sources = NULL;
    if (worker->dir != NULL) {
        version_dir_close(worker->dir);
        worker->dir = NULL;
    }
    if (worker->plan != NULL) {
        plan_free(worker->plan);
        worker->plan = NULL;
    }
    if (worker->open.message != NULL) {
        worker_open_free(&worker->open);
        worker->open.message = NULL;
    }
    return rc;
}

static void worker_exit(struct sim_worker *worker, int status, int signal)
{
    worker->gone = true;
    json_array_clear(worker->inbox);
    say(worker, json_pack("{s:i, s:i}", "exit", status, "signal", signal));
}

void sim_worker_kill(struct sim_worker *worker)
{
    if (!worker->gone) {
        struct err ignored = {0};
        (void)worker_close(worker, false, &ignored);
        worker_exit(worker, 0, 9);
    }
}

static void worker_fail(struct sim_worker *worker, struct err *err)
{
    if (worker->died) {
        sim_worker_kill(worker);
        return;
    }
    struct err ignored = {0};
    (void)worker_close(worker, true, &ignored);
    json_t *event = event_new("failed");
    json_t *outer = json_from_err(err);
    set(event, "error", json_incref(json_object_get(outer, "error")));
    json_decref(outer);
    say(worker, event);
    worker_exit(worker, 1, 0);
}

void sim_worker_end(struct sim_worker *worker)
{
    if (worker->gone) {
        return;
    }
    struct err err = {0};
    int rc = worker_close(worker, true, &err);
    if (worker->died) {
        worker_exit(worker, 0, 9);
    } else if (rc != 0) {
        worker_fail(worker, &err);
    } else {
        say(worker, event_new("stopped"));
        worker_exit(worker, 0, 0);
    }
}

void sim_worker_free(struct sim_worker *worker)
{
    struct err ignored = {0};
    (void)worker_close(worker, false, &ignored);
    json_decref(worker->inbox);
    json_decref(worker->outbox);
    free(worker);
}

/* ---- Events */

enum vector { NEXT, COMMITTED, START, END, AT_END, RECORD_TIME };

static json_t *vector_of(struct sim_worker *worker, enum vector which)
{
    json_t *array = json_array();
    for (uint32_t s = 0; s < worker->open.source_count; s++) {
        struct shard_position position;
        shard_position(worker->shards[s % worker->open.shards], s / worker->open.shards, &position);
        int64_t values[] = {position.next, position.committed, position.start, position.end};
        json_t *value = which == AT_END        ? json_boolean(position.at_end)
                        : which == RECORD_TIME ? (position.record_time_max == KAPPA_NO_TIME
                                                      ? json_null()
                                                      : json_integer(position.record_time_max))
                                               : json_integer(values[which]);
        int rc = json_array_append_new(array, value);
        ASSERT(rc == 0);
    }
    return array;
}

static void say_opened(struct sim_worker *worker)
{
    struct shard_status status;
    bool sealed = true;
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_status(worker->shards[i], &status);
        sealed = sealed && status.sealed;
    }
    if (sealed) {
        struct err err = {0};
        int rc = version_dir_sealed(worker->dir, &err);
        ASSERT(rc == 0);
    }
    json_t *event = event_new("opened");
    set(event, "sealed", json_boolean(sealed));
    set(event, "next", vector_of(worker, NEXT));
    say(worker, event);
}

static void say_progress(struct sim_worker *worker)
{
    uint64_t sums[3] = {0};
    struct shard_status status = {0};
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_status(worker->shards[i], &status);
        sums[0] += status.records;
        sums[1] += status.dead;
        sums[2] += status.late;
    }
    json_t *event = event_new("progress");
    set(event, "mode", json_string(status.mode == SHARD_RUNNING ? "running" : "held"));
    set(event, "next", vector_of(worker, NEXT));
    set(event, "committed", vector_of(worker, COMMITTED));
    set(event, "start", vector_of(worker, START));
    set(event, "end", vector_of(worker, END));
    set(event, "at_end", vector_of(worker, AT_END));
    set(event, "record_time_ms", vector_of(worker, RECORD_TIME));
    set(event, "records", json_integer((json_int_t)sums[0]));
    set(event, "dead", json_integer((json_int_t)sums[1]));
    set(event, "late", json_integer((json_int_t)sums[2]));
    set(event, "rate", json_real(1000.0));
    set(event, "outbox", sim_sender_progress(worker));
    set(event, "trouble", json_null());
    say(worker, event);
}

static json_t *digest_json(struct digest digest)
{
    char text[DIGEST_TEXT_LEN + 1];
    digest_format(digest, text);
    return json_string(text);
}

static void say_at_cut(struct sim_worker *worker, uint64_t id)
{
    struct digest total = {0, 0};
    struct digest tables[STORE_DIGESTS] = {{0, 0}};
    json_t *sources = json_array();
    for (uint32_t s = 0; s < worker->open.source_count; s++) {
        struct store_source kept;
        shard_source_digests(worker->shards[s % worker->open.shards], s / worker->open.shards,
                             &kept);
        struct digest sum =
            store_digest_sum(&kept, worker->plan->table_count + worker->plan->topic_count);
        digest_add(&total, sum);
        for (uint32_t t = 0; t < worker->plan->view_count; t++) {
            digest_add(&tables[t], kept.digests[t]);
        }
        int rc = json_array_append_new(sources, digest_json(sum));
        ASSERT(rc == 0);
    }
    json_t *by_table = json_object();
    for (uint32_t t = 0; t < worker->plan->view_count; t++) {
        set(by_table, worker->plan->views[t].shape.name, digest_json(tables[t]));
    }
    json_t *event = event_new("at_cut");
    set(event, "id", json_integer((json_int_t)id));
    set(event, "cut", vector_of(worker, COMMITTED));
    set(event, "digest", digest_json(total));
    set(event, "tables", by_table);
    set(event, "sources", sources);
    say(worker, event);
}

static bool all_at_cut(struct sim_worker *worker)
{
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        struct shard_status status;
        shard_status(worker->shards[i], &status);
        if (status.mode != SHARD_AT_CUT) {
            return false;
        }
    }
    return true;
}

/* ---- Commands */

/* The death of the process at a step of a commit. */
static int die_at_commit(void *ctx, const char *step)
{
    struct sim_worker *worker = ctx;
    struct sim *sim = worker->sim;
    (void)step;
    sim->commit_count++;
    if (!sim->crashes || !sim_chance(sim, 150) || !sim_worker_may_die(worker)) {
        return 0;
    }
    worker->died = true;
    sim->crash_count++;
    return -KE_INTERNAL;
}

static int open_shard(struct sim_worker *worker, uint32_t index, uint32_t *used, struct err *err)
{
    struct shard_source *first = worker->sources + *used;
    uint32_t count = 0;
    for (uint32_t s = index; s < worker->open.source_count; s += worker->open.shards) {
        const struct worker_source *source = &worker->open.sources[s];
        first[count++] = (struct shard_source){
            s, source->input, source->topic, source->partition, source->partitions, source->start};
    }
    *used += count;
    worker->shard_dirs[index] = version_dir_shard(worker->dir, index);
    struct shard_options options = {
        .plan = worker->plan,
        .log = worker->sim->log,
        .group = "sim",
        .dir = worker->shard_dirs[index],
        .sources = first,
        .source_count = count,
        .building = version_dir_building(worker->dir),
        .cache_bytes = worker->open.cache_bytes / worker->open.shards + 1,
        .batch_records = 1 + (uint32_t)prng_below(&worker->sim->prng, 40),
        .plugins = sim_plugins,
        .clock = &worker->sim->clock,
        .fail_point = die_at_commit,
        .fail_ctx = worker,
    };
    int rc = shard_open(&options, &worker->shards[index], err);
    if (rc != 0) {
        free(worker->shard_dirs[index]);
        return rc;
    }
    worker->shard_count++;
    return 0;
}

static int do_open(struct sim_worker *worker, json_t *message, struct err *err)
{
    int rc = worker_open_parse(json_incref(message), &worker->open, err);
    if (rc == 0) {
        rc = plan_compile_object(worker->open.message, &worker->plan, err);
    }
    if (rc == 0) {
        rc = version_dir_open(worker->open.dir, worker->sim->boot_id, &worker->dir, err);
    }
    if (rc != 0) {
        return rc;
    }
    uint32_t used = 0;
    worker->shards = xcalloc(worker->open.shards, sizeof(struct shard *));
    worker->shard_dirs = xcalloc(worker->open.shards, sizeof(char *));
    worker->sources = xcalloc(worker->open.source_count, sizeof *worker->sources);
    for (uint32_t i = 0; i < worker->open.shards && rc == 0; i++) {
        rc = open_shard(worker, i, &used, err);
    }
    if (rc != 0) {
        return rc;
    }
    worker->opened = true;
    for (uint32_t i = 0; i < worker->shard_count; i++) {
        shard_serving(worker->shards[i], worker->open.serving);
    }
    say_opened(worker);
    if (worker->open.serving && worker->open.outbox != NULL) {
        sim_sender_start(worker, worker->open.outbox);
    }
    for (uint32_t i = 0; i < worker->shard_count && worker->open.until != NULL && rc == 0; i++) {
        shard_hold(worker->shards[i]);
        shard_run_to(worker->shards[i], worker->open.until);
    }
    worker->run_to = worker->open.until != NULL ? 1 : 0;
    return rc;
}

/* One command for each shard; the first error ends it. */
static int order(struct sim_worker *worker, const struct worker_command *command, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < worker->shard_count && rc == 0; i++) {
        struct shard *shard = worker->shards[i];
        switch (command->what) {
        case WORKER_NEAR:
            rc = shard_near(shard, err);
            break;
        case WORKER_HOLD:
            shard_hold(shard);
            break;
        case WORKER_RUN_TO:
            shard_run_to(shard, command->cut);
            break;
        case WORKER_RELEASE:
            shard_release(shard);
            break;
        case WORKER_PAUSE:
            rc = shard_pause(shard, err);
            break;
        case WORKER_RESUME:
            shard_resume(shard);
            break;
        case WORKER_SEAL:
            rc = shard_seal(shard, err);
            break;
        case WORKER_SERVING:
            shard_serving(shard, command->on);
            break;
        case WORKER_SENT:
            shard_outbox_below(shard, command->cut);
            break;
        case WORKER_LIMIT: /* how fast it reads is the scheduler's to say */
            break;
        case WORKER_COPY: /* no snapshot is asked for */
        case WORKER_OPEN:
        case WORKER_STOP:
            ASSERT(false);
            break;
        }
    }
    return rc;
}

static int answer(struct sim_worker *worker, const struct worker_command *command, struct err *err)
{
    json_t *event = NULL;
    int rc = 0;
    worker->run_to = command->what == WORKER_RUN_TO ? command->id + 1
                     : command->what == WORKER_HOLD || command->what == WORKER_RELEASE
                         ? 0
                         : worker->run_to;
    if (command->what == WORKER_HOLD) {
        event = event_new("held");
        set(event, "id", json_integer((json_int_t)command->id));
        set(event, "next", vector_of(worker, NEXT));
    } else if (command->what == WORKER_NEAR) {
        event = event_new("near");
        set(event, "id", json_integer((json_int_t)command->id));
    } else if (command->what == WORKER_SEAL) {
        rc = version_dir_sealed(worker->dir, err);
        event = rc == 0 ? event_new("sealed") : NULL;
    } else if (command->what == WORKER_PAUSE) {
        event = event_new("paused");
    } else if (command->what == WORKER_RESUME) {
        event = event_new("resumed");
    }
    if (event != NULL) {
        say(worker, event);
    }
    return rc;
}

void sim_worker_deliver(struct sim_worker *worker)
{
    if (worker->gone || json_array_size(worker->inbox) == 0) {
        return;
    }
    json_t *message = json_incref(json_array_get(worker->inbox, 0));
    int removed = json_array_remove(worker->inbox, 0);
    ASSERT(removed == 0);
    char *line = json_print(message);
    json_t *parsed = NULL;
    enum worker_do what = WORKER_STOP;
    struct err err = {0};
    int rc = worker_message_parse(line, strlen(line), &parsed, &what, &err);
    free(line);
    ASSERT(rc == 0);
    if (what == WORKER_OPEN) {
        rc = do_open(worker, parsed, &err);
    } else if (what == WORKER_STOP) {
        sim_worker_end(worker);
    } else {
        struct worker_command command = {0};
        rc = worker_command_parse(parsed, what, worker->open.source_count, &command, &err);
        ASSERT(rc == 0);
        if (what == WORKER_SERVING) {
            sim_sender_stop(worker); /* before a shard commits anything behind the cut */
        }
        rc = order(worker, &command, &err);
        if (rc == 0 && what == WORKER_SERVING && command.on && command.outbox != NULL) {
            sim_sender_start(worker, command.outbox);
        }
        rc = rc == 0 ? answer(worker, &command, &err) : rc;
        worker_command_free(&command);
    }
    json_decref(parsed);
    json_decref(message);
    if (rc != 0) {
        worker_fail(worker, &err);
    }
}

void sim_worker_step(struct sim_worker *worker)
{
    if (worker->gone || !worker->opened || worker->shard_count == 0) {
        return;
    }
    struct err err = {0};
    if (sim_chance(worker->sim, 3) && !sim_sender_step(worker)) {
        sim_worker_kill(worker);
        return;
    }
    uint32_t index = (uint32_t)prng_below(&worker->sim->prng, worker->shard_count);
    if (shard_step(worker->shards[index], 0, &err) != 0) {
        worker_fail(worker, &err);
        return;
    }
    if (worker->run_to != 0 && all_at_cut(worker)) {
        say_at_cut(worker, worker->run_to - 1);
        worker->run_to = 0;
    }
    if (json_array_size(worker->outbox) == 0 && sim_chance(worker->sim, 3)) {
        say_progress(worker);
    }
}
