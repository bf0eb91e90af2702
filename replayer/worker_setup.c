/* Opening and closing a worker: plan, directory, log, shards, monitor. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/trace.h"
#include "processor/plan_object.h"
#include "replayer/fail_point.h"
#include "replayer/worker_inside.h"

/* ---- Checks of the open message against the plan */

static int check_sources(const struct worker *w, struct err *err)
{
    if (w->open.take_from != NULL && w->open.take_count != w->plan->table_count) {
        return err_set(err, KE_INVALID, "open: \"take\" is of other tables");
    }
    for (uint32_t i = 0; i < w->open.source_count; i++) {
        const struct worker_source *source = &w->open.sources[i];
        if (source->input >= w->plan->input_count) {
            return err_set(err, KE_INVALID,
                           "open: source %" PRIu32 " belongs to input %" PRIu32
                           ", the definition has %" PRIu32,
                           i, source->input, w->plan->input_count);
        }
        const char *topic = w->plan->inputs[source->input].topic;
        if (strcmp(topic, source->topic) != 0) {
            return err_set(err, KE_INVALID,
                           "open: source %" PRIu32 " is of topic '%s', its input reads '%s'", i,
                           source->topic, topic);
        }
    }
    return 0;
}

/* ---- Shards */

static void snapshot_init(struct worker_snapshot *s, uint32_t count)
{
    s->next = xcalloc(count, sizeof(int64_t));
    s->committed = xcalloc(count, sizeof(int64_t));
    s->least = xcalloc(count, sizeof(int64_t));
    s->start = xcalloc(count, sizeof(int64_t));
    s->end = xcalloc(count, sizeof(int64_t));
    s->high = xcalloc(count, sizeof(int64_t));
    s->record_time_ms = xcalloc(count, sizeof(int64_t));
    s->at_end = xcalloc(count, sizeof(bool));
    s->blocked = xcalloc(count, sizeof(bool));
}

static void committed(void *ctx)
{
    worker_bell_ring(ctx);
}

/* Source s lives in shard s mod shards (table/view.h relies on it). A shard without sources still
 * has its environment. */
static void init_shard(struct worker *w, uint32_t index, struct shard_source *sources)
{
    uint32_t count = 0;
    for (uint32_t s = index; s < w->open.source_count; s += w->open.shards) {
        const struct worker_source *given = &w->open.sources[s];
        sources[count++] = (struct shard_source){.source = s,
                                                 .input = given->input,
                                                 .topic = given->topic,
                                                 .partition = given->partition,
                                                 .partitions = given->partitions,
                                                 .start = given->start};
    }
    w->shard_dirs[index] = version_dir_shard(w->dir, index);
    struct shard_options options = {.plan = w->plan,
                                    .log = w->log,
                                    .group = w->open.group,
                                    .dir = w->shard_dirs[index],
                                    .base = w->open.base,
                                    .base_shard = index,
                                    .take = w->open.take_from != NULL ? &w->take : NULL,
                                    .sources = sources,
                                    .source_count = count,
                                    .schemas = w->schemas,
                                    .governor = &w->governor,
                                    .building = version_dir_building(w->dir),
                                    .cache_bytes =
                                        (w->open.cache_bytes + w->open.shards - 1) / w->open.shards,
                                    .batch_records = w->open.batch_records,
                                    .plugins = plugins_code(w->plugins),
                                    .clock = clock_real(),
                                    .outbox_drop = w->open.until != NULL,
                                    .committed = committed,
                                    .committed_ctx = &w->bell,
                                    .fail_point = fail_point_here};
    worker_shard_init(&w->shards[index], &options, w->event_fd);
    w->shard_count++;
}

static void init_shards(struct worker *w)
{
    w->take = (struct shard_take){
        .from = w->open.take_from, .since = w->open.take_since, .first_ends = w->open.take_first};
    uint32_t shards = w->open.shards;
    w->schemas = schemas_open(w->open.schemas);
    uint32_t most = (w->open.source_count + shards - 1) / shards;
    governor_init(&w->governor, shards);
    governor_set(&w->governor, &w->open.limit, clock_mono_us(clock_real()));
    snapshot_init(&w->snapshot, w->open.source_count);
    worker_bell_init(&w->bell);
    w->sent = xcalloc(w->open.source_count, sizeof *w->sent);
    w->shards = xcalloc(shards, sizeof *w->shards);
    w->shard_dirs = xcalloc(shards, sizeof *w->shard_dirs);
    w->sources = xcalloc((size_t)shards * most, sizeof *w->sources);
    for (uint32_t i = 0; i < shards; i++) {
        init_shard(w, i, w->sources + (size_t)i * most);
    }
}

int worker_setup(struct worker *w, json_t *message, struct err *err)
{
    int rc = worker_open_parse(message, &w->open, err);
    if (rc != 0) {
        return rc;
    }
    char *area = xasprintf("worker %s v%" PRIu32, w->open.processor, w->open.version);
    trace_set_area(area);
    free(area);
    fail_point_setup();
    rc = plan_compile_object(w->open.message, &w->plan, err);
    if (rc == 0) {
        rc = check_sources(w, err);
    }
    if (rc == 0) {
        rc = plugins_load(w->plan, w->open.plugins, &w->plugins, err);
    }
    if (rc == 0) {
        rc = version_dir_open(w->open.dir, NULL, &w->dir, err);
    }
    if (rc == 0) {
        rc = log_open_config(w->open.log, &w->log, err);
    }
    if (rc == 0) {
        init_shards(w);
    }
    return rc;
}

void worker_launch(struct worker *w)
{
    for (uint32_t i = 0; i < w->shard_count; i++) {
        worker_shard_start(&w->shards[i]);
    }
    w->monitor = worker_monitor_start(&w->open, w->log, w->event_fd);
}

void worker_teardown(struct worker *w)
{
    bool log_free = w->monitor ? worker_monitor_stop(w->monitor) : true;
    log_free &= worker_send_end(w);
    for (uint32_t i = 0; i < w->shard_count; i++) {
        worker_shard_join(&w->shards[i]);
        free(w->shard_dirs[i]);
    }
    if (w->shards != NULL) {
        governor_close(&w->governor);
    }
    schemas_close(w->schemas);
    free(w->shards);
    free(w->shard_dirs);
    free(w->sources);
    free(w->snapshot.next);
    free(w->snapshot.committed);
    free(w->snapshot.least);
    free(w->snapshot.start);
    free(w->snapshot.end);
    free(w->snapshot.high);
    free(w->snapshot.record_time_ms);
    free(w->snapshot.at_end);
    free(w->snapshot.blocked);
    free(w->sent);
    if (w->dir) {
        version_dir_close(w->dir);
    }
    if (w->plan) {
        plan_free(w->plan);
    }
    plugins_free(w->plugins);
    /* A monitor that is stuck in the log still uses it and the message: the process ends soon. */
    if (log_free) {
        if (w->log) {
            w->log->ops->close(w->log);
        }
        if (w->open.message) {
            worker_open_free(&w->open);
        }
    }
}
