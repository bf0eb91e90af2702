/* GROUP BY: keys, rows in the cache, aggregate states. Own header: node.h.
 *
 * Rows travel in passes over the whole chunk, so that the memory of many groups is fetched at once
 * instead of one wait after the other: encode and hash all keys, fetch table slots, fetch the
 * entries they name, compare keys (and create what is missing), then one loop per aggregate. */
#include "base/digest.h"
#include "base/limits.h"
#include "processor/agg_top.h"
#include "processor/event_time.h"
#include "processor/key_codec.h"
#include "processor/node.h"

#include <stdlib.h>
#include <string.h>

#define FORGET_MIN 64

static bool is_session(const struct node_view *view)
{
    return view->plan->window == PLAN_WINDOW_SESSION;
}

void node_aggregate_open(struct processor *p, struct node_view *view)
{
    agg_layout_init(&view->layout, &p->memory, view->plan->aggregates, view->plan->aggregate_count);
    if (is_session(view)) {
        node_session_open(p, view);
    } else {
        agg_cache_open(&view->cache, &view->layout, &p->pool);
    }
    if (view->plan->emits) {
        node_final_open(p, view);
    }
}

void node_aggregate_close(struct node_view *view)
{
    agg_cache_close(&view->cache);
    if (view->final != NULL) {
        node_final_close(view);
    }
}

int64_t node_watermark(const struct processor *p, const struct node_source *source)
{
    return event_time_watermark(source->state.event_time_max,
                                p->options.plan->inputs[source->input].watermark_us);
}

int64_t node_expired(const struct node_view *view, int64_t watermark)
{
    const struct plan_view *plan = view->plan;
    if (plan->shape.windowed) {
        return event_time_expired(plan, watermark);
    }
    return plan->ttl_us > 0 ? event_time_limit(watermark, plan->ttl_us) : KAPPA_NO_TIME;
}

void node_aggregate_restore(const struct processor *p, const struct node_view *view,
                            struct node_source *source)
{
    const struct plan_view *plan = view->plan;
    struct node_part *part = &source->parts[view->index];
    int64_t latest = source->state.event_time_max;
    part->maybe_stored = KAPPA_NO_TIME;
    part->closed = KAPPA_NO_TIME;
    part->oldest = INT64_MAX;
    part->made_first = INT64_MAX;
    part->made_last = INT64_MIN;
    part->late_part = p->options.rows_stored ? INT64_MAX : 0;
    part->expired = node_expired(view, node_watermark(p, source));
    if (plan->shape.windowed && latest != KAPPA_NO_TIME) {
        /* No row can stand in a window behind that of the latest event. */
        part->maybe_stored =
            is_session(view) ? latest + plan->window_us : event_time_pane_end(plan, latest);
    }
    if (plan->shape.windowed && p->options.plan->inputs[source->input].marked) {
        part->maybe_stored = INT64_MAX; /* events may be ahead of the marks */
    } else if (!plan->shape.windowed && source->state.records > 0) {
        part->maybe_stored = 0;
    }
    if (!p->options.rows_stored) {
        part->maybe_stored = KAPPA_NO_TIME;
    }
    if (view->final != NULL) {
        node_final_restore(p, view, source);
    }
}

/* ---- Applying. */

static const struct expr_vec *window_ends(const struct processor *p, const struct node_view *view)
{
    uint32_t columns = p->options.plan->inputs[view->plan->rows].column_count;
    return &view->machine.registers[columns + 1];
}

static uint8_t *put_columns(const struct node_view *view, uint8_t *at, uint32_t row)
{
    const uint8_t *limit = at + LIMIT_GROUP_KEY_LEN;
    for (uint32_t k = 0; k < view->plan->key_count && at != NULL; k++) {
        const struct plan_key *key = &view->plan->keys[k];
        if (key->role == PLAN_KEY_COLUMN) {
            at = key_put(at, limit, &view->machine.registers[key->reg], row);
        }
    }
    return at;
}

/* Keys and hashes of the selected rows; rows whose key is too long leave. */
static void make_keys(struct processor *p, const struct node_view *view)
{
    struct node_chunk *chunk = &p->chunk;
    struct node_keys *keys = &p->keys;
    bool windowed = view->plan->shape.windowed && !is_session(view);
    const struct expr_vec *ends = windowed ? window_ends(p, view) : NULL;
    bool hop = view->plan->window == PLAN_WINDOW_HOP;
    const struct expr_vec *parts = hop ? ends - 1 : NULL;
    int64_t *late_part = &chunk->source->parts[view->index].late_part;
    uint8_t *at = keys->bytes;
    uint32_t kept = 0;
    for (uint32_t s = 0; s < chunk->count; s++) {
        uint32_t row = chunk->selected[s];
        int64_t end = windowed ? ends->i[row] : 0;
        uint8_t *behind = key_put_prefix(at, chunk->source_index, windowed, end);
        behind = put_columns(view, behind, row);
        if (behind != NULL && hop) {
            store_u16_be(behind, u16_from((uint64_t)parts->i[row]));
            behind += KAPPA_KEY_PART_BYTES;
            *late_part = i64_max(*late_part, parts->i[row]);
        }
        if (behind == NULL) {
            node_refuse(p, view, row, "the group key is longer than 480 bytes");
            continue;
        }
        keys->start[kept] = (uint32_t)(at - keys->bytes);
        keys->hash[kept] = hash_bytes(at, (size_t)(behind - at));
        keys->window_end[kept] = end;
        chunk->selected[kept++] = row;
        at = behind;
    }
    keys->start[kept] = (uint32_t)(at - keys->bytes);
    chunk->count = kept;
}

_Static_assert(LIMIT_GROUP_KEY_LEN == 480, "the sentence above");

int node_aggregate_load(struct processor *p, struct node_view *view, struct agg_entry *entry,
                        struct err *err)
{
    const uint8_t *value = NULL;
    size_t value_len = 0;
    p->loads++;
    int rc = p->options.load(p->options.load_ctx, view->table, agg_entry_key(&view->cache, entry),
                             entry->key_len, &value, &value_len, err);
    if (rc <= 0) {
        return rc;
    }
    entry->flags |= AGG_ENTRY_STORED;
    if (view->plan->shape.idle) {
        if (value_len < sizeof(int64_t)) {
            return err_set(err, KE_CORRUPT, "table %s: a row's value does not decode",
                           view->plan->shape.name);
        }
        entry->time = load_i64_sortable(value);
        value += sizeof(int64_t);
        value_len -= sizeof(int64_t);
    }
    rc = agg_decode(&view->layout, entry->state, &p->pool, value, value_len, err);
    if (rc < 0) {
        err_prefix(err, "table %s", view->plan->shape.name);
    }
    return rc;
}

static inline struct agg_entry *entry_of(struct processor *p, struct node_view *view, uint32_t s,
                                         bool *made)
{
    struct node_keys *keys = &p->keys;
    const uint8_t *key = keys->bytes + keys->start[s];
    size_t len = keys->start[s + 1] - keys->start[s];
    struct agg_entry *entry = agg_cache_find(&view->cache, keys->hash[s], key, len);
    *made = entry == NULL;
    if (entry == NULL) {
        entry = agg_cache_create(&view->cache, keys->hash[s], key, len, p->chunk.source_index,
                                 keys->window_end[s]);
        struct node_part *part = &p->chunk.source->parts[view->index];
        part->oldest = i64_min(part->oldest, keys->window_end[s]);
        part->made_first = i64_min(part->made_first, keys->window_end[s]);
        part->made_last = i64_max(part->made_last, keys->window_end[s]);
    }
    return entry;
}

struct agg_entry *node_aggregate_entry(struct processor *p, struct node_view *view, uint32_t s,
                                       bool *made)
{
    return entry_of(p, view, s, made);
}

static void prefetch_entry(const struct node_view *view, const struct agg_entry *entry)
{
    for (size_t at = 0; at < sizeof *entry + view->cache.layout->bytes + 64; at += 64) {
        __builtin_prefetch((const uint8_t *)entry + at);
    }
}

void node_aggregate_prefetch(struct processor *p, const struct node_view *view)
{
    struct node_keys *keys = &p->keys;
    uint32_t count = p->chunk.count;
    for (uint32_t s = 0; s < count; s++) {
        agg_cache_prefetch(&view->cache, keys->hash[s]);
    }
    for (uint32_t s = 0; s < count; s++) {
        const struct agg_entry *entry = agg_cache_peek(&view->cache, keys->hash[s]);
        if (entry != NULL) {
            prefetch_entry(view, entry);
        }
    }
}

static int find_entries(struct processor *p, struct node_view *view, struct err *err)
{
    struct node_keys *keys = &p->keys;
    uint32_t count = p->chunk.count;
    int64_t maybe_stored = p->chunk.source->parts[view->index].maybe_stored;
    for (uint32_t s = 0; s < count; s++) {
        bool made = false;
        struct agg_entry *entry = entry_of(p, view, s, &made);
        if (made && keys->window_end[s] <= maybe_stored) {
            int rc = node_aggregate_load(p, view, entry, err);
            if (rc < 0) {
                return rc;
            }
        }
        agg_cache_touch(&view->cache, entry);
        keys->state[s] = entry->state;
    }
    return 0;
}

void node_aggregate_update(struct processor *p, struct node_view *view, uint32_t from,
                           uint32_t behind)
{
    struct agg_rows rows = {.states = p->keys.state + from,
                            .rows = p->chunk.selected + from,
                            .count = behind - from,
                            .pool = &p->pool,
                            .source = p->chunk.source_index,
                            .offset = p->chunk.offset,
                            .gone = view->plan->upsert ? p->chunk.gone : NULL,
                            .event_time = p->chunk.event_time};
    size_t before = p->pool.used_bytes;
    for (uint32_t a = 0; a < view->plan->aggregate_count; a++) {
        agg_update(&view->layout.slots[a], &rows, view->machine.registers);
    }
    /* A set that fills up gives memory back. */
    view->cache.dirty_bytes += p->pool.used_bytes > before ? p->pool.used_bytes - before : 0;
}

struct gone {
    struct processor *p;
    struct node_view *view;
};

static bool is_expired(void *ctx, struct agg_entry *entry)
{
    const struct gone *gone = ctx;
    const struct node_view *view = gone->view;
    const struct node_source *source = &gone->p->sources[entry->source];
    return (view->plan->shape.idle ? entry->time : entry->window_end) <=
           source->parts[view->index].forgotten;
}

/* A replay passes many windows between two commits. Rows that expired need not be kept for the flush,
 * which would leave them out: nobody asks for them, since they are closed. Each look at all rows is
 * paid for by as many new ones. Those that are to be messages become some first. */
static int forget_expired(struct processor *p, struct node_view *view, struct err *err)
{
    if (view->cache.count < view->forget_count || is_session(view)) {
        return 0;
    }
    bool any = false;
    for (uint32_t s = 0; s < p->source_count; s++) {
        struct node_source *source = &p->sources[s];
        if (source->open && source->input == view->plan->input) {
            struct node_part *part = &source->parts[view->index];
            part->forgotten = node_expired(view, node_watermark(p, source));
            any = any || (view->plan->shape.idle ? part->forgotten > part->expired
                                                 : part->forgotten >= part->oldest);
            if (part->forgotten != KAPPA_NO_TIME) {
                part->oldest = i64_max(part->oldest, part->forgotten + 1);
            }
        }
    }
    int rc = any && view->final != NULL ? node_final_emit(p, view, err) : 0;
    if (any && rc == 0) {
        agg_cache_forget(&view->cache, is_expired, &(struct gone){p, view});
    }
    view->forget_count = 2 * view->cache.count + FORGET_MIN;
    return rc;
}

static int apply_rows(struct processor *p, struct node_view *view, struct err *err)
{
    node_aggregate_prefetch(p, view);
    if (is_session(view)) {
        return node_session_apply(p, view, err);
    }
    if (view->plan->ttl_us > 0) {
        return node_ttl_apply(p, view, err);
    }
    int rc = find_entries(p, view, err);
    if (rc < 0) {
        return rc;
    }
    node_aggregate_update(p, view, 0, p->chunk.count);
    return 0;
}

int node_aggregate_apply(struct processor *p, struct node_view *view, struct err *err)
{
    node_window_late(p, view);
    node_window_taken(p, view);
    make_keys(p, view);
    int rc = p->chunk.count == 0 ? 0 : apply_rows(p, view, err);
    if (rc == 0 && p->chunk.count > 0 && view->plan->ttl_us == 0) {
        rc = forget_expired(p, view, err);
    }
    return rc;
}

/* ---- Commits. */

int node_aggregate_expire(struct processor *p, const struct node_view *view,
                          const struct kappa_change_sink *sink, struct err *err)
{
    for (uint32_t s = 0; s < p->source_count; s++) {
        const struct node_source *source = &p->sources[s];
        if (!source->open || source->input != view->plan->input) {
            continue;
        }
        int64_t limit = node_expired(view, node_watermark(p, source));
        if (limit > source->parts[view->index].expired) {
            int rc = sink->expire(sink->ctx, view->table, s, limit, err);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return 0;
}

int node_aggregate_too_long(const struct processor *p, const struct node_view *view,
                            struct err *err)
{
    err_set(err, KE_LIMIT, "a row of table %s has %zu bytes, a row may have %d",
            view->plan->shape.name, p->row.len, LIMIT_ROW_BYTES);
    err_hint(err, "count(DISTINCT) keeps every value: group by more columns, or use fewer");
    return -KE_LIMIT;
}

/* Upsert views: is the row gone? */
static bool is_gone(const struct node_view *view, const struct agg_entry *entry)
{
    return view->plan->upsert && agg_top_count(entry->state) == 0;
}

static int flush_gone(const struct node_view *view, const struct agg_sorted *rows, size_t count,
                      const struct kappa_change_sink *sink, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < count && view->plan->upsert && rc == 0; i++) {
        const struct agg_entry *entry = rows[i].entry;
        if (is_gone(view, entry)) {
            rc = sink->del(sink->ctx, view->table, agg_entry_key(&view->cache, entry),
                           entry->key_len, err);
        }
    }
    return rc;
}

static int flush_row(struct processor *p, const struct node_view *view,
                     const struct agg_entry *entry, const struct kappa_change_sink *sink,
                     struct err *err)
{
    buf_reset(&p->row);
    if (view->plan->shape.idle) {
        uint8_t time[sizeof(int64_t)];
        store_i64_sortable(time, entry->time);
        buf_append(&p->row, time, sizeof time);
    }
    agg_encode(&view->layout, entry->state, &p->row);
    if (p->row.len > LIMIT_ROW_BYTES) {
        return node_aggregate_too_long(p, view, err);
    }
    return sink->put(sink->ctx, view->table, agg_entry_key(&view->cache, entry), entry->key_len,
                     p->row.data, p->row.len, (entry->flags & AGG_ENTRY_STORED) == 0, err);
}

static int flush_rows(struct processor *p, const struct node_view *view,
                      const struct agg_sorted *rows, size_t count,
                      const struct kappa_change_sink *sink, struct err *err)
{
    const size_t ahead = 8;
    int64_t expired = KAPPA_NO_TIME;
    uint32_t source = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct agg_entry *entry = rows[i].entry;
        if (i + 2 * ahead < count) {
            prefetch_entry(view, rows[i + 2 * ahead].entry);
            agg_state_prefetch(&view->layout, rows[i + ahead].entry->state);
        }
        if (entry->source != source) {
            source = entry->source;
            expired = node_expired(view, node_watermark(p, &p->sources[source]));
        }
        if ((view->plan->shape.idle ? entry->time : entry->window_end) <= expired) {
            continue; /* born and expired between two commits, or expired before */
        }
        if (is_gone(view, entry)) {
            continue;
        }
        int rc = flush_row(p, view, entry, sink, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int node_aggregate_flush(struct processor *p, const struct node_view *view,
                         const struct kappa_change_sink *sink, struct err *err)
{
    if (is_session(view)) {
        return node_session_flush(p, view, sink, err);
    }
    int rc = node_aggregate_expire(p, view, sink, err);
    if (rc < 0) {
        return rc;
    }
    struct agg_sorted *rows = agg_cache_sorted(&view->cache);
    rc = flush_gone(view, rows, view->cache.dirty_count, sink, err);
    if (rc == 0) {
        rc = flush_rows(p, view, rows, view->cache.dirty_count, sink, err);
    }
    free(rows);
    return rc;
}

static bool is_closed(void *ctx, struct agg_entry *entry)
{
    const struct gone *gone = ctx;
    const struct node_view *view = gone->view;
    int64_t closed = gone->p->sources[entry->source].parts[view->index].closed;
    if (is_session(view)) {
        return node_session_closed(gone->p, gone->view, entry, closed);
    }
    return (view->plan->shape.idle ? entry->time : entry->window_end) <= closed;
}

/* Up to where rows need not stay in memory. Limits that move with every record are followed in
 * steps: each step is a walk through the cache. */
static int64_t closed_limit(const struct processor *p, const struct node_view *view,
                            const struct node_part *part, int64_t watermark)
{
    const struct plan_view *plan = view->plan;
    int64_t step = is_session(view) ? plan->window_us : plan->ttl_us / 8;
    int64_t lateness_us = p->options.plan->inputs[plan->input].lateness_us;
    int64_t closed = plan->shape.windowed
                         ? event_time_gone(plan, event_time_limit(watermark, lateness_us))
                         : node_expired(view, watermark);
    bool early = part->closed != KAPPA_NO_TIME && closed - part->closed < step;
    return early ? part->closed : closed;
}

void node_aggregate_committed(struct processor *p, struct node_view *view)
{
    if (is_session(view)) {
        node_session_committed(p, view);
    }
    agg_cache_committed(&view->cache);
    if (!view->plan->shape.windowed && view->plan->ttl_us == 0) {
        return;
    }
    bool moved = false;
    for (uint32_t s = 0; s < p->source_count; s++) {
        struct node_source *source = &p->sources[s];
        if (!source->open || source->input != view->plan->input) {
            continue;
        }
        struct node_part *part = &source->parts[view->index];
        int64_t watermark = node_watermark(p, source);
        part->made_first = INT64_MAX;
        part->made_last = INT64_MIN;
        part->expired = i64_max(part->expired, node_expired(view, watermark));
        int64_t closed = closed_limit(p, view, part, watermark);
        moved = moved || closed > part->closed;
        part->closed = i64_max(closed, part->closed);
    }
    if (moved) {
        agg_cache_drop_if(&view->cache, is_closed, &(struct gone){p, view});
    }
}

static void note_evicted(void *ctx, const struct agg_entry *entry)
{
    const struct gone *gone = ctx;
    struct node_part *part = &gone->p->sources[entry->source].parts[gone->view->index];
    int64_t end = is_session(gone->view) ? node_session_newest(entry) : entry->window_end;
    part->maybe_stored = i64_max(part->maybe_stored, end);
}

void node_aggregate_evict(struct processor *p, struct node_view *view, size_t budget)
{
    p->evictions += agg_cache_evict(&view->cache, budget, note_evicted, &(struct gone){p, view});
}
