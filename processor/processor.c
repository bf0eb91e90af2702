/* One shard's state of one plan. Own header: processor.h. Operators: node.h.
 *
 * processor_apply cuts records into chunks, decodes each record once for all views of its input,
 * and takes event time and watermark record by record; then each view runs over the chunk as a
 * whole. */
#include "processor/processor.h"

#include "base/limits.h"
#include "processor/dead_limit.h"
#include "processor/event_time.h"
#include "processor/node.h"

#include <stdlib.h>
#include <string.h>

#define PROCESSOR_MAGIC 0x50524F43U

/* ---- Opening and closing. */

/* The plugin that makes these rows. */
static struct node_plugin *plugin_of(const struct processor *p, uint32_t rows)
{
    uint32_t i = 0;
    while (p->options.plan->plugins[i].rows != rows) {
        i++;
        ASSERT_CMP(i, <, p->options.plan->plugin_count);
    }
    return &p->plugins[i];
}

/* Column registers are the decoder's vectors: a record is decoded once, whatever reads it. */
static void open_machine(struct processor *p, struct node_view *view)
{
    const struct plan_view *plan = view->plan;
    uint32_t columns = p->options.plan->inputs[plan->rows].column_count;
    expr_machine_open(&view->machine, &plan->row, NODE_CHUNK);
    ASSERT_CMP(plan->row.input_count, >=, columns + 2);
    const struct expr_vec *decoded = plan->rows == plan->input
                                         ? decoder_columns(p->decoders[plan->input])
                                         : plugin_of(p, plan->rows)->columns;
    for (uint32_t c = 0; c < columns; c++) {
        ASSERT(view->machine.registers[c].type == decoded[c].type);
        view->machine.registers[c] = decoded[c];
    }
}

static void open_operators(struct processor *p, struct node_view *view)
{
    uint32_t count = view->plan->phase_count;
    view->operators = arena_calloc(&p->memory, (count + 1) * sizeof(struct node_operator *));
    for (uint32_t i = 0; i < count; i++) {
        const struct plan_operator *op = view->plan->phases[i].op;
        view->operators[i] =
            op->kind == PLAN_OVER ? node_over_open(p, view, op) : node_lookup_open(p, view, op);
    }
}

static struct node_keyed *keyed_of(const struct node_view *view, uint32_t phase)
{
    return &view->operators[phase]->keyed;
}

static int open_plugins(struct processor *p, struct err *err)
{
    for (uint32_t i = 0; i < p->options.plan->plugin_count; i++) {
        if (p->options.plugins == NULL) {
            return err_set(err, KE_REFUSED, "plugin %s is not loaded here",
                           p->options.plan->plugins[i].file);
        }
        int rc = node_plugin_open(&p->plugins[i], p->options.plugins[i], err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int processor_open(const struct processor_options *options, struct processor **out, struct err *err)
{
    const struct plan *plan = options->plan;
    if (options->rows_stored && options->load == NULL) {
        return err_set(err, KE_INVALID, "stored rows need a way to load them");
    }
    for (uint32_t v = 0; v < plan->pipeline_count; v++) {
        if (options->load != NULL && options->window_below == NULL &&
            plan->views[v].window == PLAN_WINDOW_SESSION) {
            return err_set(err, KE_INVALID, "sessions need a way to find stored windows");
        }
        if (options->load != NULL && options->row_from == NULL && plan->views[v].emits) {
            return err_set(err, KE_INVALID, "final rows of windows need a way to scan stored ones");
        }
    }
    if (options->load != NULL && options->row_from == NULL && plan->plugin_count > 0) {
        return err_set(err, KE_INVALID, "plugins need a way to scan stored rows");
    }
    struct processor *p = xcalloc(1, sizeof *p);
    p->magic = PROCESSOR_MAGIC;
    p->options = *options;
    arena_init(&p->memory);
    pool_init(&p->pool);
    dead_open(&p->dead);
    dead_open(&p->late);
    p->keys.bytes = arena_alloc(&p->memory, (size_t)NODE_CHUNK * LIMIT_TABLE_KEY_LEN);
    p->decoders = arena_calloc(&p->memory, (plan->input_count + 1) * sizeof(struct decoder *));
    for (uint32_t i = 0; i < plan->input_count; i++) {
        p->decoders[i] = decoder_new(&plan->inputs[i], NODE_CHUNK);
    }
    p->plugins = arena_calloc(&p->memory, (plan->plugin_count + 1) * sizeof *p->plugins);
    for (uint32_t i = 0; i < plan->plugin_count; i++) {
        node_plugin_prepare(p, &p->plugins[i], &plan->plugins[i]);
    }
    p->views = arena_calloc(&p->memory, (plan->pipeline_count + 1) * sizeof *p->views);
    for (uint32_t v = 0; v < plan->pipeline_count; v++) {
        struct node_view *view = &p->views[v];
        view->plan = &plan->views[v];
        view->index = v;
        view->table = plan->views[v].emits ? plan->views[v].table : v;
        ASSERT(view->plan->window_us == 0 ||
               plan->inputs[view->plan->input].event_time != PLAN_NONE);
        open_machine(p, view);
        node_filter_open(p, view);
        open_operators(p, view);
        if (view->plan->kind == PLAN_GROUP) {
            node_aggregate_open(p, view);
        }
        if (view->plan->kind == PLAN_TOPIC || view->plan->emits) {
            node_topic_open(p, view);
        }
    }
    int rc = open_plugins(p, err);
    if (rc < 0) {
        processor_close(p);
        return rc;
    }
    *out = p;
    return 0;
}

void processor_close(struct processor *p)
{
    if (p == NULL) {
        return;
    }
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    for (uint32_t v = 0; v < p->options.plan->pipeline_count; v++) {
        if (p->views[v].plan->kind == PLAN_GROUP) {
            node_aggregate_close(&p->views[v]);
        }
        for (uint32_t i = 0; i < p->views[v].plan->phase_count; i++) {
            node_keyed_close(keyed_of(&p->views[v], i));
        }
        expr_machine_close(&p->views[v].machine);
    }
    for (uint32_t i = 0; i < p->options.plan->plugin_count; i++) {
        node_plugin_close(&p->plugins[i]);
    }
    for (uint32_t s = 0; s < p->source_count; s++) {
        for (uint32_t v = 0; p->sources[s].open && v < p->options.plan->pipeline_count; v++) {
            node_append_close(&p->sources[s].parts[v]);
            node_final_part_close(&p->sources[s].parts[v]);
        }
    }
    for (uint32_t i = 0; i < p->options.plan->input_count; i++) {
        decoder_free(p->decoders[i]);
    }
    free(p->sources);
    buf_free(&p->row);
    dead_close(&p->dead);
    dead_close(&p->late);
    pool_close(&p->pool);
    arena_free(&p->memory);
    p->magic = 0;
    free(p);
}

/* ---- Sources. */

void processor_source_take(struct processor *p, uint32_t source, int64_t below,
                           const int64_t *first_ends)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    ASSERT_CMP(source, <, p->source_count);
    struct node_source *to = &p->sources[source];
    ASSERT(to->open);
    to->taken_below = below;
    to->taken = first_ends;
    for (uint32_t v = 0; v < p->options.plan->pipeline_count; v++) {
        const struct plan_view *view = p->views[v].plan;
        if (view->kind == PLAN_GROUP && view->input == to->input) {
            ASSERT(view->shape.windowed && view->window != PLAN_WINDOW_SESSION && !view->emits);
            struct node_part *part = &to->parts[v]; /* the state is older than the rows */
            int64_t last = event_time_taken(view, first_ends[p->views[v].table]);
            part->maybe_stored = i64_max(part->maybe_stored, last);
        }
    }
}

void processor_source_restore(struct processor *p, uint32_t source, uint32_t input,
                              const struct kappa_source_state *state)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    ASSERT_CMP(source, <, LIMIT_SOURCES);
    ASSERT_CMP(input, <, p->options.plan->input_count);
    if (source >= p->source_count) {
        p->sources = xrealloc(p->sources, (source + 1) * sizeof *p->sources);
        memset(p->sources + p->source_count, 0,
               (source + 1 - p->source_count) * sizeof *p->sources);
        p->source_count = source + 1;
    }
    struct node_source *to = &p->sources[source];
    ASSERT(!to->open);
    to->open = true;
    to->input = input;
    to->state = *state;
    to->age_us = INT64_MAX;
    for (uint32_t i = 0; i < p->options.plan->plugin_count; i++) {
        node_keyed_restore(&p->plugins[i].keyed, source,
                           p->options.rows_stored && state->records > 0);
    }
    uint32_t views = p->options.plan->pipeline_count;
    to->parts = arena_calloc(&p->memory, (views + 1) * sizeof *to->parts);
    for (uint32_t v = 0; v < views; v++) {
        if (p->views[v].plan->kind == PLAN_GROUP && p->views[v].plan->input == input) {
            node_aggregate_restore(p, &p->views[v], to);
        }
        for (uint32_t i = 0; i < p->views[v].plan->phase_count; i++) {
            node_keyed_restore(keyed_of(&p->views[v], i), source,
                               p->options.rows_stored && state->records > 0);
        }
    }
}

void processor_source_partition(struct processor *p, uint32_t source, uint32_t partition,
                                uint32_t partitions)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    ASSERT_CMP(source, <, p->source_count);
    p->sources[source].partition = partition;
    p->sources[source].partitions = partitions;
    dead_limit_restored(p, &p->sources[source]);
}

void processor_source_state(const struct processor *p, uint32_t source,
                            struct kappa_source_state *state)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    ASSERT_CMP(source, <, p->source_count);
    ASSERT(p->sources[source].open);
    *state = p->sources[source].state;
}

/* ---- Applying. */

static void refuse_record(struct processor *p, const struct kappa_record *record,
                          const char *reason)
{
    dead_add(&p->dead, p->chunk.source_index, UINT32_MAX, record, reason);
    p->chunk.source->state.dead++;
}

/* The record at this offset moves the watermark, if its time, or mark, is the largest one yet. */
static void time_passes(struct processor *p, int64_t time, int64_t offset)
{
    struct node_source *source = p->chunk.source;
    if (time > source->state.event_time_max) {
        source->state.event_time_max = time;
        if (p->emits) {
            node_final_advance(p, source, offset);
        }
    }
}

/* Takes the row's event time into the watermark. False: it has none, and needs one. */
static bool take_event_time(struct processor *p, const struct plan_input *input,
                            const struct expr_vec *times, const struct kappa_record *record)
{
    struct node_chunk *chunk = &p->chunk;
    struct kappa_source_state *state = &chunk->source->state;
    uint32_t row = chunk->n;
    if (times->state[row] != EXPR_OK) {
        buf_reset(&p->row);
        buf_printf(&p->row, "no event time: column \"%s\" is missing or null",
                   input->columns[input->event_time].name);
        refuse_record(p, record, buf_text(&p->row));
        return false;
    }
    if (!input->marked) {
        time_passes(p, times->i[row], record->offset);
    }
    chunk->watermark[row] = event_time_watermark(state->event_time_max, input->watermark_us);
    return true;
}

/* Decodes records into the chunk until it is full; returns how many were taken. */
static uint32_t fill_chunk(struct processor *p, const struct kappa_record *records, uint32_t count)
{
    struct node_chunk *chunk = &p->chunk;
    struct kappa_source_state *state = &chunk->source->state;
    const struct plan_input *input = &p->options.plan->inputs[chunk->source->input];
    struct decoder *decoder = p->decoders[chunk->source->input];
    const struct expr_vec *times =
        input->event_time == PLAN_NONE ? NULL : &decoder_columns(decoder)[input->event_time];
    decoder_reset(decoder);
    decoder_partition(decoder, chunk->source->partition, chunk->source->partitions);
    chunk->n = 0;
    chunk->event_time = times == NULL ? NULL : times->i;
    uint32_t taken = 0;
    for (; taken < count && chunk->n < NODE_CHUNK; taken++) {
        const struct kappa_record *record = &records[taken];
        ASSERT(record->offset >= state->next_offset);
        state->next_offset = record->offset + 1;
        state->records++;
        state->record_time_max = i64_max(state->record_time_max, record->time_ms);
        enum decode_taken got = decoder_take(decoder, record, chunk->n);
        if (got == DECODE_REFUSED) {
            refuse_record(p, record, decoder_reason(decoder));
        } else if (got == DECODE_MARK) {
            time_passes(p, input->marked ? decoder_mark(decoder) : KAPPA_NO_TIME, record->offset);
        } else if (got == DECODE_ROW && times != NULL &&
                   !take_event_time(p, input, times, record)) {
            continue; /* refused there */
        } else if (got != DECODE_IGNORED) {
            chunk->deleted[chunk->n] = got == DECODE_DELETE;
            if (got == DECODE_DELETE && times != NULL) {
                chunk->watermark[chunk->n] =
                    event_time_watermark(state->event_time_max, input->watermark_us);
            }
            chunk->offset[chunk->n] = record->offset;
            chunk->records[chunk->n++] = record;
        }
    }
    return taken;
}

static int apply_view(struct processor *p, struct node_view *view, struct err *err)
{
    struct node_chunk *chunk = &p->chunk;
    const struct plan_view *plan = view->plan;
    chunk->count = 0;
    for (uint32_t row = 0; row < chunk->n; row++) {
        chunk->selected[chunk->count] = row;
        chunk->count += !chunk->deleted[row] || plan->upsert;
    }
    node_window_apply(p, view);
    expr_begin(&view->machine);
    uint32_t done = plan->row.constant_count;
    for (uint32_t i = 0; i < plan->phase_count; i++) {
        const struct plan_phase *phase = &plan->phases[i];
        expr_run_steps(&view->machine, done, phase->step_end, chunk->n);
        done = phase->step_end;
        node_filter_apply(p, view, phase->where);
        struct node_operator *op = view->operators[i];
        int rc = phase->op->kind == PLAN_OVER ? node_over_apply(p, view, op, err)
                                              : node_lookup_apply(p, view, op, err);
        if (rc < 0) {
            return rc;
        }
    }
    expr_run_steps(&view->machine, done, plan->row.step_count, chunk->n);
    if (plan->upsert) {
        node_filter_upsert(p, view);
    } else {
        node_filter_apply(p, view, plan->where);
        node_filter_errors(p, view);
    }
    switch (plan->kind) {
    case PLAN_GROUP:
        return node_aggregate_apply(p, view, err);
    case PLAN_APPEND:
        node_append_apply(p, view);
        return 0;
    case PLAN_TOPIC:
        node_topic_apply(p, view);
        return 0;
    }
    return 0;
}

uint32_t processor_ready(struct processor *p, uint32_t source, const struct kappa_record *records,
                         uint32_t count, uint32_t *schema)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    ASSERT_CMP(source, <, p->source_count);
    struct decoder *decoder = p->decoders[p->sources[source].input];
    uint32_t ready = 0;
    while (ready < count && !decoder_schema_wanted(decoder, &records[ready], schema)) {
        ready++;
    }
    return ready;
}

void processor_schema(struct processor *p, uint32_t source, uint32_t schema, const char *text,
                      size_t len)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    ASSERT_CMP(source, <, p->source_count);
    decoder_schema(p->decoders[p->sources[source].input], schema, text, len);
}

int processor_run_views(struct processor *p, uint32_t rows, struct err *err)
{
    for (uint32_t v = 0; v < p->options.plan->pipeline_count && p->chunk.n > 0; v++) {
        if (p->views[v].plan->rows == rows) {
            int rc = apply_view(p, &p->views[v], err);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return 0;
}

static int run_chunk(struct processor *p, uint32_t input, struct err *err)
{
    int rc = processor_run_views(p, input, err);
    for (uint32_t v = 0; p->emits && v < p->options.plan->pipeline_count && rc == 0; v++) {
        if (p->views[v].final != NULL && p->views[v].plan->input == input) {
            rc = node_final_due(p, &p->views[v], err);
        }
    }
    for (uint32_t i = 0; i < p->options.plan->plugin_count && rc == 0; i++) {
        if (p->options.plan->plugins[i].input == input) {
            rc = node_plugin_apply(p, &p->plugins[i], err);
        }
    }
    return rc;
}

int processor_check(const struct processor *p, struct err *err)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    if (p->excess.code != 0 && err != NULL) {
        *err = p->excess;
    }
    return p->excess.code;
}

static void tell(const struct processor *p, enum processor_phase phase)
{
    if (p->options.phase != NULL) {
        p->options.phase(p->options.phase_ctx, phase);
    }
}

int processor_apply(struct processor *p, uint32_t source, const struct kappa_record *records,
                    uint32_t count, int64_t next_offset, struct err *err)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    ASSERT_CMP(source, <, p->source_count);
    struct node_source *from = &p->sources[source];
    ASSERT(from->open);
    p->chunk.source_index = source;
    p->chunk.source = from;
    p->unflushed = true;
    for (uint32_t done = 0; done < count;) {
        const struct kappa_source_state before = from->state;
        size_t listed = p->dead.count;
        tell(p, PROCESSOR_DECODES);
        uint32_t taken = fill_chunk(p, records + done, count - done);
        tell(p, PROCESSOR_COMPUTES);
        int rc = run_chunk(p, from->input, err);
        if (rc < 0) {
            return rc;
        }
        dead_limit_check(p, &before, listed, records + done, taken);
        done += taken;
    }
    tell(p, PROCESSOR_RETURNS);
    ASSERT_CMP(next_offset, >=, from->state.next_offset);
    from->state.next_offset = next_offset;
    return 0;
}

/* ---- Commits. */

static int flush_view(struct processor *p, const struct node_view *view,
                      const struct kappa_change_sink *sink, struct err *err)
{
    for (uint32_t i = 0; i < view->plan->phase_count; i++) {
        int rc = node_keyed_flush(p, keyed_of(view, i), sink, err);
        if (rc < 0) {
            return rc;
        }
    }
    switch (view->plan->kind) {
    case PLAN_GROUP: {
        int rc = node_aggregate_flush(p, view, sink, err);
        return rc == 0 && view->plan->emits ? node_topic_flush(p, view, sink, err) : rc;
    }
    case PLAN_APPEND:
        return node_append_flush(p, view, sink, err);
    case PLAN_TOPIC:
        return node_topic_flush(p, view, sink, err);
    }
    return 0;
}

int processor_flush(struct processor *p, const struct kappa_change_sink *sink, struct err *err)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    for (uint32_t v = 0; v < p->options.plan->pipeline_count; v++) {
        int rc = p->views[v].final == NULL ? 0 : node_final_emit(p, &p->views[v], err);
        if (rc < 0) {
            return rc;
        }
    }
    for (uint32_t v = 0; v < p->options.plan->pipeline_count; v++) {
        int rc = flush_view(p, &p->views[v], sink, err);
        if (rc < 0) {
            return rc;
        }
    }
    for (uint32_t i = 0; i < p->options.plan->plugin_count; i++) {
        int rc = node_keyed_flush(p, &p->plugins[i].keyed, sink, err);
        if (rc < 0) {
            return rc;
        }
    }
    int rc = dead_flush(&p->dead, sink->dead, sink->ctx, err);
    if (rc == 0) {
        rc = dead_flush(&p->late, sink->late, sink->ctx, err);
    }
    if (rc == 0) {
        p->unflushed = false;
    }
    return rc;
}

/* Clean rows go while the cache is over its budget. */
static void evict(struct processor *p)
{
    for (uint32_t i = 0; i < p->options.plan->plugin_count; i++) {
        node_keyed_evict(p, &p->plugins[i].keyed, p->options.cache_bytes);
    }
    for (uint32_t v = 0; v < p->options.plan->pipeline_count; v++) {
        struct node_view *view = &p->views[v];
        if (view->plan->kind == PLAN_GROUP) {
            node_aggregate_evict(p, view, p->options.cache_bytes);
        }
        for (uint32_t i = 0; i < view->plan->phase_count; i++) {
            node_keyed_evict(p, keyed_of(view, i), p->options.cache_bytes);
        }
    }
}

void processor_committed(struct processor *p)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    ASSERT(!p->unflushed);
    dead_clear(&p->dead);
    dead_clear(&p->late);
    p->pending_bytes = 0;
    for (uint32_t i = 0; i < p->options.plan->plugin_count; i++) {
        node_plugin_committed(&p->plugins[i]);
    }
    for (uint32_t v = 0; v < p->options.plan->pipeline_count; v++) {
        struct node_view *view = &p->views[v];
        for (uint32_t i = 0; i < view->plan->phase_count; i++) {
            node_keyed_committed(keyed_of(view, i));
        }
        if (view->plan->kind == PLAN_GROUP) {
            node_aggregate_committed(p, view);
        }
        node_append_committed(p, view);
    }
    if (p->options.load != NULL) {
        evict(p);
    }
}

static void add_cache(struct processor_stats *stats, const struct agg_cache *cache)
{
    stats->cache_bytes += agg_cache_table_bytes(cache);
    stats->cache_rows += cache->count;
    stats->dirty_rows += cache->dirty_count;
    stats->dirty_bytes += cache->dirty_bytes;
}

void processor_stats(const struct processor *p, struct processor_stats *stats)
{
    MAGIC_ASSERT(p, PROCESSOR_MAGIC);
    *stats =
        (struct processor_stats){.cache_bytes = p->pool.used_bytes,
                                 .dirty_bytes = p->pending_bytes + p->dead.bytes + p->late.bytes,
                                 .append_bytes = p->pending_bytes,
                                 .loads = p->loads,
                                 .evictions = p->evictions};
    for (uint32_t i = 0; i < p->options.plan->plugin_count; i++) {
        add_cache(stats, &p->plugins[i].keyed.cache);
    }
    for (uint32_t v = 0; v < p->options.plan->pipeline_count; v++) {
        const struct node_view *view = &p->views[v];
        if (view->plan->kind == PLAN_GROUP) {
            add_cache(stats, &view->cache);
        }
        for (uint32_t i = 0; i < view->plan->phase_count; i++) {
            add_cache(stats, &keyed_of(view, i)->cache);
        }
    }
}
