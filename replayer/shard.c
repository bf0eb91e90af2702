/* Life and commands of a shard. What it does with records is in pump.c. */
#include "replayer/shard.h"

#include <stdlib.h>
#include <string.h>

#include "base/cond.h"
#include "base/limits.h"
#include "base/trace.h"
#include "replayer/shard_inside.h"
#include "table/copy.h"

#define KEEP_BYTES_DEFAULT ((size_t)32 << 20)

/* ---- Opening and closing */

static int fail_here(const struct shard_options *options, const char *step, struct err *err)
{
    int code = options->fail_point == NULL ? 0 : options->fail_point(options->fail_ctx, step);
    return code == 0 ? 0 : err_set(err, KE_INTERNAL, "stopped at fail point \"%s\"", step);
}

/* A new environment begins as the snapshot's. When that is gone meanwhile, it is replayed from its start:
 * the same comes of it. */
static int adopt_base(const struct shard_options *options, struct err *err)
{
    if (options->base == NULL || !options->building) {
        return 0;
    }
    bool adopted = false;
    char *copy = xasprintf("%s/%u", options->base, (unsigned)options->base_shard);
    int rc = fail_here(options, "base", err);
    if (rc == 0) {
        rc = store_adopt(copy, options->dir, &adopted, err);
    }
    if (rc == -KE_NOT_FOUND) {
        trace(TRACE_WARN, "%s is gone: replayed from the start instead", copy);
        rc = 0;
    }
    free(copy);
    return rc == 0 && adopted ? fail_here(options, "adopted", err) : rc;
}

static int merge_rows(void *ctx, uint32_t table, const uint8_t *a, size_t a_len, const uint8_t *b,
                      size_t b_len, struct buf *out, struct err *err)
{
    return row_merger_merge(ctx, table, a, a_len, b, b_len, out, err);
}

/* A new environment takes over what the other version's holds now. */
static int take_windows(const struct shard_options *options, const struct kappa_table_shape *shapes,
                        struct err *err)
{
    if (options->take == NULL || !options->building) {
        return 0;
    }
    uint32_t *sources = xcalloc(options->source_count + 1, sizeof *sources);
    int64_t *starts = xcalloc(options->source_count + 1, sizeof *starts);
    for (uint32_t i = 0; i < options->source_count; i++) {
        sources[i] = options->sources[i].source;
        starts[i] = options->sources[i].start;
    }
    struct store_take_hop hops[LIMIT_VIEWS] = {{0}};
    for (uint32_t i = 0; i < options->plan->view_count; i++) {
        const struct plan_view *view = &options->plan->views[i];
        if (view->window == PLAN_WINDOW_HOP) {
            hops[i] = (struct store_take_hop){view->window_us, view->slide_us};
        }
    }
    struct row_merger *merger = row_merger_new(options->plan);
    char *from = xasprintf("%s/%u", options->take->from, (unsigned)options->base_shard);
    const struct store_take take = {.from = from,
                                    .dir = options->dir,
                                    .tables = shapes,
                                    .table_count = options->plan->table_count,
                                    .output_count = options->plan->topic_count,
                                    .first_ends = options->take->first_ends,
                                    .hops = hops,
                                    .merge = merge_rows,
                                    .merge_ctx = merger,
                                    .since = options->take->since,
                                    .sources = sources,
                                    .starts = starts,
                                    .source_count = options->source_count};
    int rc = fail_here(options, "take", err);
    if (rc == 0) {
        rc = store_take(&take, err);
    }
    if (rc == -KE_NOT_FOUND) {
        rc = err_set(err, KE_REFUSED, "%s is gone: no windows can be taken over from it", from);
        err_hint(err, "drop this version, and replay again");
    }
    if (rc == 0) {
        rc = fail_here(options, "taken", err);
    }
    row_merger_free(merger);
    free(from);
    free(sources);
    free(starts);
    return rc;
}

static int open_store(struct shard *shard, const struct shard_options *options, struct err *err)
{
    int rc = adopt_base(options, err);
    if (rc != 0) {
        return rc;
    }
    struct kappa_table_shape shapes[LIMIT_VIEWS];
    ASSERT_CMP(options->plan->table_count, <=, LIMIT_VIEWS);
    for (uint32_t i = 0; i < options->plan->table_count; i++) {
        shapes[i] = options->plan->tables[i].shape;
    }
    rc = take_windows(options, shapes, err);
    if (rc != 0) {
        return rc;
    }
    struct store_options store = {.dir = options->dir,
                                  .tables = shapes,
                                  .table_count = options->plan->table_count,
                                  .output_count = options->plan->topic_count,
                                  .building = options->building,
                                  .fail_point = options->fail_point,
                                  .fail_ctx = options->fail_ctx};
    return store_open(&store, &shard->store, err);
}

/* The time until now was spent on what the processor did before. */
static void processor_phase(void *ctx, enum processor_phase phase)
{
    pump_spent(ctx, phase == PROCESSOR_COMPUTES ? SHARD_DECODE : SHARD_COMPUTE);
}

static int open_processor(struct shard *shard, const struct shard_options *options, struct err *err)
{
    struct processor_options processor = {.plan = options->plan,
                                          .load = store_load,
                                          .window_below = store_window_below,
                                          .row_from = store_row_from,
                                          .load_ctx = shard->store,
                                          .plugins = options->plugins,
                                          .cache_bytes = options->cache_bytes,
                                          .rows_stored = store_has_rows(shard->store),
                                          .phase = processor_phase,
                                          .phase_ctx = shard};
    return processor_open(&processor, &shard->processor, err);
}

/* Where the store stands; a source that it does not know begins at its start. */
static void restore_input(struct shard *shard, struct shard_input *input)
{
    if (store_source_get(shard->store, input->spec.source, &input->kept)) {
        input->committed = input->kept.state.next_offset;
    } else {
        input->kept.state = (struct kappa_source_state){.next_offset = input->spec.start,
                                                        .event_time_max = KAPPA_NO_TIME,
                                                        .record_time_max = KAPPA_NO_TIME};
        input->committed = -1;
        shard->dirty = true;
    }
    input->next = input->kept.state.next_offset;
    input->end_us = shard->time_from_us; /* what came before that is not counted */
    ASSERT_CMP(input->next, >=, 0);
    processor_source_restore(shard->processor, input->spec.source, input->spec.input,
                             &input->kept.state);
    processor_source_partition(shard->processor, input->spec.source, input->spec.partition,
                               input->spec.partitions);
    if (shard->take != NULL && store_taken(shard->store, input->spec.source, &input->least)) {
        processor_source_take(shard->processor, input->spec.source, input->least,
                              shard->take->first_ends);
    }
}

static struct shard *shard_new(const struct shard_options *options)
{
    struct shard *shard = xcalloc(1, sizeof *shard);
    shard->plan = options->plan;
    shard->log = options->log;
    shard->take = options->take;
    shard->clock = options->clock;
    shard->schemas = options->schemas;
    shard->governor = options->governor;
    shard->governed_to_cut = options->governed_to_cut;
    shard->tap = options->tap;
    shard->group = xstrdup(options->group ? options->group : "kappa");
    shard->batch_max = options->batch_records ? options->batch_records : LIMIT_BATCH_RECORDS;
    shard->batch_now =
        shard->batch_max < SHARD_BATCH_RECORDS_MIN ? shard->batch_max : SHARD_BATCH_RECORDS_MIN;
    shard->cache_bytes = options->cache_bytes;
    shard->time_from_us = clock_mono_us(shard->clock);
    shard->keep_bytes = options->keep_bytes ? options->keep_bytes : KEEP_BYTES_DEFAULT;
    shard->failed_source = UINT32_MAX;
    shard->input_count = options->source_count;
    shard->inputs = xcalloc(options->source_count + 1, sizeof *shard->inputs);
    for (uint32_t i = 0; i < options->source_count; i++) {
        struct shard_input *input = &shard->inputs[i];
        input->spec = options->sources[i];
        input->log_start = -1;
        input->log_end = -1;
        input->log_high = -1;
        input->below = options->outbox_drop ? INT64_MAX : -1;
    }
    shard->outbox_drop = options->outbox_drop;
    shard->committed = options->committed;
    shard->committed_ctx = options->committed_ctx;
    for (uint32_t i = 0; i < options->plan->view_count; i++) {
        const struct plan_view *view = &options->plan->views[i];
        shard->scattered |= view->kind == PLAN_GROUP && !view->shape.windowed;
    }
    for (uint32_t i = options->plan->view_count; i < options->plan->table_count; i++) {
        shard->scattered |= !options->plan->tables[i].shape.windowed;
    }
    pending_init(&shard->pending);
    pthread_mutex_init(&shard->lock, NULL);
    cond_init(&shard->wake);
    return shard;
}

static void shard_free(struct shard *shard)
{
    pump_reader_close(shard);
    if (shard->processor) {
        processor_close(shard->processor);
    }
    if (shard->store) {
        store_close(shard->store);
    }
    pthread_cond_destroy(&shard->wake);
    pthread_mutex_destroy(&shard->lock);
    free(shard->inputs);
    buf_free(&shard->schema);
    free(shard->group);
    free(shard);
}

int shard_open(const struct shard_options *options, struct shard **out, struct err *err)
{
    ASSERT(options->clock);
    struct shard *shard = shard_new(options);
    int rc = open_store(shard, options, err);
    if (rc == 0) {
        rc = open_processor(shard, options, err);
    }
    if (rc == 0) {
        for (uint32_t i = 0; i < shard->input_count; i++) {
            restore_input(shard, &shard->inputs[i]);
        }
        store_sizes(shard->store, &shard->file_bytes, &shard->used_bytes);
        rc = processor_check(shard->processor, err);
    }
    if (rc == 0) {
        rc = pump_commit(shard, err);
    }
    if (rc != 0) {
        shard_free(shard);
        return rc;
    }
    *out = shard;
    return 0;
}

int shard_close(struct shard *shard, bool drain, struct err *err)
{
    int rc = drain && !shard->failed ? pump_commit(shard, err) : 0;
    shard_free(shard);
    return rc;
}

/* ---- Moving */

int shard_step(struct shard *shard, int timeout_ms, struct err *err)
{
    ASSERT(!shard->failed);
    bool free = shard->hold == HOLD_NONE && !shard->paused && shard->input_count > 0;
    bool reads = free || shard->hold == HOLD_TO_CUT;
    if (!reads) {
        pump_wait(shard, timeout_ms);
        pump_spent(shard, SHARD_WAIT);
        return 0;
    }
    return pump_step(shard, timeout_ms, err);
}

void shard_wake(struct shard *shard)
{
    pthread_mutex_lock(&shard->lock);
    shard->woken = true;
    pthread_cond_signal(&shard->wake);
    if (shard->reader) {
        shard->reader->ops->wake(shard->reader);
    }
    pthread_mutex_unlock(&shard->lock);
}

int shard_near(struct shard *shard, struct err *err)
{
    int rc = pump_commit(shard, err);
    shard->near = rc == 0;
    return rc;
}

void shard_hold(struct shard *shard)
{
    shard->hold = HOLD_HELD;
    shard->held_us = clock_mono_us(shard->clock);
}

void shard_run_to(struct shard *shard, const int64_t *cut)
{
    ASSERT(shard->hold != HOLD_NONE);
    for (uint32_t i = 0; i < shard->input_count; i++) {
        struct shard_input *input = &shard->inputs[i];
        input->cut = cut[input->spec.source];
        ASSERT_CMP(input->cut, >=, input->next);
    }
    shard->hold = HOLD_TO_CUT;
}

void shard_release(struct shard *shard)
{
    shard->hold = HOLD_NONE;
    shard->near = false;
}

int shard_pause(struct shard *shard, struct err *err)
{
    int rc = pump_commit(shard, err);
    if (rc == 0) {
        shard->paused = true;
    }
    return rc;
}

void shard_resume(struct shard *shard)
{
    shard->paused = false;
}

void shard_serving(struct shard *shard, bool on)
{
    shard->serving = on;
    shard->trim_due |= on && shard->plan->topic_count > 0; /* what was kept to be looked at goes */
    shard->unseen_us = 0;
}

void shard_outbox_below(struct shard *shard, const int64_t *below)
{
    for (uint32_t i = 0; i < shard->input_count; i++) {
        struct shard_input *input = &shard->inputs[i];
        if (below[input->spec.source] > input->below) {
            input->below = below[input->spec.source];
            shard->trim_due = shard->plan->topic_count > 0;
        }
    }
}

int shard_seal(struct shard *shard, struct err *err)
{
    int rc = pump_commit(shard, err);
    if (rc == 0) {
        rc = store_seal(shard->store, err);
        shard->failed = rc != 0;
    }
    return rc;
}

/* ---- Looking */

static enum shard_mode mode_of(const struct shard *shard)
{
    switch (shard->hold) {
    case HOLD_HELD:
        return SHARD_HELD;
    case HOLD_TO_CUT:
        return SHARD_TO_CUT;
    case HOLD_AT_CUT:
        return SHARD_AT_CUT;
    case HOLD_NONE:
        break;
    }
    return shard->paused ? SHARD_PAUSED : SHARD_RUNNING;
}

void shard_status(struct shard *shard, struct shard_status *out)
{
    *out = (struct shard_status){
        .mode = mode_of(shard),
        .sealed = store_sealed(shard->store),
        .commits = shard->commits,
        .commit_us_max = shard->commit_us_max,
        .held_us = shard->held_us,
        .cut_commit_us = shard->cut_commit_us,
        .commits_took = shard->commits_took,
        .freshness = shard->freshness,
        .readers = shard->readers.count,
        .oldest_age_us = shard->readers.oldest == 0 ? 0 : shard->readers_us - shard->oldest_us,
        .duplicates = shard->duplicates,
        .bytes = shard->bytes,
        .archived_bytes = shard->archived_bytes,
        .file_bytes = shard->file_bytes,
        .used_bytes = shard->used_bytes,
        .trouble = shard->trouble,
        .failed_source = shard->failed_source};
    memcpy(out->time_us, shard->time_us, sizeof out->time_us);
    for (uint32_t i = 0; i < shard->input_count; i++) {
        struct kappa_source_state state;
        processor_source_state(shard->processor, shard->inputs[i].spec.source, &state);
        out->records += state.records;
        out->dead += state.dead;
        out->late += state.late;
        out->outbox_rows += store_outbox_rows(shard->store, shard->inputs[i].spec.source);
    }
    processor_stats(shard->processor, &out->processor);
}

void shard_position(struct shard *shard, uint32_t index, struct shard_position *out)
{
    ASSERT_CMP(index, <, shard->input_count);
    struct shard_input *input = &shard->inputs[index];
    struct kappa_source_state state;
    if (shard->reader && input->reading) {
        int64_t start = -1;
        int64_t end = -1;
        int64_t high = -1;
        shard->reader->ops->progress(shard->reader, index, &start, &end, &high);
        input->log_start = i64_max(input->log_start, start);
        /* It goes back when what seemed readable turns out not to be. */
        input->log_end = end < 0 ? input->log_end : end;
        input->log_high = i64_max(input->log_high, high);
    }
    processor_source_state(shard->processor, input->spec.source, &state);
    *out = (struct shard_position){.next = input->next,
                                   .least = input->least,
                                   .committed = input->committed,
                                   .start = input->log_start,
                                   .end = input->log_end,
                                   .high = i64_max(input->log_high, input->log_end),
                                   .at_end = input->log_end >= 0 && input->next >= input->log_end,
                                   .record_time_max = state.record_time_max};
}

void shard_source_digests(struct shard *shard, uint32_t index, struct store_source *out)
{
    ASSERT_CMP(index, <, shard->input_count);
    *out = shard->inputs[index].kept;
}
