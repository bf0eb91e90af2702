/* Rows as they are between two applies. Interface: processor.h (processor_times, processor_row_at); for
 * sessions node_session.c.
 *
 * A row is what the store would hold after a commit at this very record: the entry of the cache, else the
 * row that is stored, unless the watermark has let it go. So it does not depend on when commits came.
 *
 * The window that holds a time which no event is behind is never closed: the watermark is not above the
 * largest event time. So its rows, and the panes of a hop, have neither expired nor left the cache
 * without being stored. */
#include "base/digest.h"
#include "base/limits.h"
#include "processor/agg_top.h"
#include "processor/event_time.h"
#include "processor/key_codec.h"
#include "processor/node.h"

#include <stdlib.h>
#include <string.h>

/* ---- Times of records. */

static int64_t record_time_us(const struct kappa_record *record)
{
    int64_t us = KAPPA_NO_TIME;
    if (record->time_ms == KAPPA_NO_TIME || !__builtin_mul_overflow(record->time_ms, 1000, &us)) {
        return us;
    }
    return record->time_ms > 0 ? INT64_MAX : INT64_MIN + 1;
}

/* How much older than its record an event is: the least of all so far. Never below nothing: what is planned
 * is no measure. */
static void age_follow(struct node_source *from, const struct kappa_record *record, int64_t time)
{
    int64_t age = 0;
    if (record->time_ms != KAPPA_NO_TIME &&
        !__builtin_sub_overflow(record_time_us(record), time, &age)) {
        from->age_us = i64_min(from->age_us, i64_max(age, 0));
    }
}

/* A deletion has no event time. It is taken to be as much older than its record as the events in front of it
 * were at least: where they come live, it happened when it came; where a past was loaded, with the newest. */
static int64_t deletion_time(const struct node_source *from, const struct kappa_record *record)
{
    int64_t time = KAPPA_NO_TIME;
    bool known = record->time_ms != KAPPA_NO_TIME && from->age_us != INT64_MAX &&
                 !__builtin_sub_overflow(record_time_us(record), from->age_us, &time);
    return known ? time : KAPPA_NO_TIME;
}

static int64_t decoded_time(struct decoder *decoder, const struct plan_input *input,
                            struct node_source *from, const struct kappa_record *record,
                            uint32_t row)
{
    const struct expr_vec *times = &decoder_columns(decoder)[input->event_time];
    switch (decoder_take(decoder, record, row)) {
    case DECODE_ROW:
        if (times->state[row] != EXPR_OK) {
            return KAPPA_NO_TIME;
        }
        age_follow(from, record, times->i[row]);
        return times->i[row];
    case DECODE_MARK:
        return input->marked ? decoder_mark(decoder) : KAPPA_NO_TIME;
    case DECODE_DELETE:
        return deletion_time(from, record);
    case DECODE_REFUSED:
    case DECODE_IGNORED:
        break;
    }
    return KAPPA_NO_TIME;
}

void processor_times(struct processor *p, uint32_t source, const struct kappa_record *records,
                     uint32_t count, int64_t *times)
{
    ASSERT_CMP(source, <, p->source_count);
    struct node_source *from = &p->sources[source];
    const struct plan_input *input = &p->options.plan->inputs[from->input];
    struct decoder *decoder = p->decoders[from->input];
    for (uint32_t i = 0; i < count; i++) {
        if (input->event_time == PLAN_NONE) {
            times[i] = record_time_us(&records[i]);
            continue;
        }
        uint32_t row = i % NODE_CHUNK;
        if (row == 0) {
            decoder_reset(decoder);
            decoder_partition(decoder, from->partition, from->partitions);
        }
        times[i] = decoded_time(decoder, input, from, &records[i], row);
    }
}

/* ---- Rows. */

struct peek {
    struct processor *p;
    struct node_view *view;
    struct node_source *source;
    uint8_t key[LIMIT_TABLE_KEY_LEN]; /* as in the store */
    size_t key_len;
    int64_t expired; /* rows whose time is at or below it are gone */
};

/* An entry of the cache as it would be stored: 1, or 0 when it would not be. */
static int from_cache(const struct peek *peek, const struct agg_entry *entry, struct buf *value)
{
    const struct node_view *view = peek->view;
    if (view->plan->shape.idle) {
        uint8_t time[sizeof(int64_t)];
        if (entry->time <= peek->expired) {
            return 0;
        }
        store_i64_sortable(time, entry->time);
        buf_append(value, time, sizeof time);
    }
    if (view->plan->upsert && agg_top_count(entry->state) == 0) {
        return 0;
    }
    agg_encode(&view->layout, entry->state, value);
    return 1;
}

static int from_store(struct peek *peek, struct buf *value, struct err *err)
{
    struct processor *p = peek->p;
    const struct node_view *view = peek->view;
    const uint8_t *stored = NULL;
    size_t len = 0;
    p->loads++;
    int rc = p->options.load(p->options.load_ctx, view->table, peek->key, peek->key_len, &stored,
                             &len, err);
    if (rc <= 0) {
        return rc;
    }
    if (view->plan->shape.idle) {
        if (len < sizeof(int64_t)) {
            return err_set(err, KE_CORRUPT, "table %s: a row's value does not decode",
                           view->plan->shape.name);
        }
        if (load_i64_sortable(stored) <= peek->expired) {
            return 0;
        }
    }
    buf_append(value, stored, len);
    return 1;
}

/* The row of the key at hand, which is in the window, or pane, that ends there. */
static int row_peek(struct peek *peek, int64_t end, struct buf *value, struct err *err)
{
    const struct node_part *part = &peek->source->parts[peek->view->index];
    uint64_t hash = hash_bytes(peek->key, peek->key_len);
    const struct agg_entry *entry =
        agg_cache_find(&peek->view->cache, hash, peek->key, peek->key_len);
    if (peek->view->plan->shape.windowed && end <= peek->expired) {
        return 0;
    }
    if (entry != NULL) {
        return from_cache(peek, entry, value);
    }
    return end <= part->maybe_stored ? from_store(peek, value, err) : 0;
}

/* Is it of this key, in whatever window? */
static bool is_of_key(const struct peek *peek, const struct agg_entry *entry)
{
    const uint8_t *key = agg_entry_key(&peek->view->cache, entry);
    return entry->key_len == peek->key_len && memcmp(key, peek->key, KAPPA_KEY_SOURCE_BYTES) == 0 &&
           memcmp(key + KEY_PREFIX_MAX, peek->key + KEY_PREFIX_MAX,
                  peek->key_len - KEY_PREFIX_MAX) == 0;
}

/* The entry of the key's newest window that ends in [least, most]. Windows are asked for one by one, or, when
 * there are more of them than entries (an event at 1970, and one of today), all entries are looked at. */
static const struct agg_entry *newest_made(struct peek *peek, int64_t least, int64_t most)
{
    const struct agg_cache *cache = &peek->view->cache;
    const struct agg_entry *newest = NULL;
    if (least > most) {
        return NULL;
    }
    if (((uint64_t)most - (uint64_t)least) / (uint64_t)peek->view->plan->slide_us > cache->mask) {
        for (size_t i = 0; i <= cache->mask; i++) {
            const struct agg_entry *entry = cache->slots[i].entry;
            if (entry != NULL && entry->window_end >= least && entry->window_end <= most &&
                (newest == NULL || entry->window_end > newest->window_end) &&
                is_of_key(peek, entry)) {
                newest = entry;
            }
        }
        return newest;
    }
    for (int64_t end = most; end >= least && newest == NULL; end -= peek->view->plan->slide_us) {
        store_i64_sortable(peek->key + KAPPA_KEY_SOURCE_BYTES, end);
        newest =
            agg_cache_find(cache, hash_bytes(peek->key, peek->key_len), peek->key, peek->key_len);
    }
    return newest;
}

/* The same of the key's newest window. What is not stored yet was made since the last commit, and lies
 * between the ends of such windows; all else the store knows. */
static int newest_peek(struct peek *peek, int64_t *window_end, struct buf *value, struct err *err)
{
    struct processor *p = peek->p;
    const struct node_view *view = peek->view;
    const struct node_part *part = &peek->source->parts[view->index];
    uint8_t key[LIMIT_TABLE_KEY_LEN]; /* without the window */
    size_t columns = peek->key_len - KEY_PREFIX_MAX;
    int64_t stored = KAPPA_NO_TIME;
    memcpy(key, peek->key, KAPPA_KEY_SOURCE_BYTES);
    memcpy(key + KAPPA_KEY_SOURCE_BYTES, peek->key + KEY_PREFIX_MAX, columns);
    int rc = p->options.window_below(p->options.load_ctx, view->table, key,
                                     KAPPA_KEY_SOURCE_BYTES + columns, INT64_MAX, &stored, err);
    if (rc < 0) {
        return rc;
    }
    int64_t least =
        i64_max(i64_max(part->made_first, peek->expired + 1), rc == 1 ? stored + 1 : INT64_MIN);
    const struct agg_entry *made = newest_made(peek, least, part->made_last);
    if (made != NULL) {
        *window_end = made->window_end;
        return from_cache(peek, made, value);
    }
    if (rc == 0 || stored <= peek->expired) {
        return 0;
    }
    *window_end = stored;
    store_i64_sortable(peek->key + KAPPA_KEY_SOURCE_BYTES, stored);
    const struct agg_entry *entry = agg_cache_find(
        &view->cache, hash_bytes(peek->key, peek->key_len), peek->key, peek->key_len);
    return entry != NULL ? from_cache(peek, entry, value) : from_store(peek, value, err);
}

/* ---- Hop windows: the panes are merged as a reader merges them. */

struct merged {
    uint8_t *state;
    uint8_t *pane;
    uint32_t count;
};

static int merge_pane(struct peek *peek, struct merged *merged, const struct buf *value,
                      struct err *err)
{
    const struct agg_layout *layout = &peek->view->layout;
    struct pool *pool = &peek->p->pool;
    bool first = merged->count++ == 0;
    uint8_t *state = first ? merged->state : merged->pane;
    int rc = agg_decode(layout, state, pool, value->data, value->len, err);
    if (rc != 0) {
        err_prefix(err, "table %s", peek->view->plan->shape.name);
    } else if (!first) {
        agg_merge(layout, merged->state, merged->pane, pool);
    }
    if (!first) {
        agg_state_free(layout, merged->pane, pool);
        memset(merged->pane, 0, layout->bytes);
    }
    return rc;
}

/* The parts of a pane that count in the window: part k stays out of the first k windows. */
static int pane_peek(struct peek *peek, int64_t pane_end, int64_t window_end, struct merged *merged,
                     struct err *err)
{
    const struct plan_view *plan = peek->view->plan;
    struct buf value = {0};
    int64_t behind = (window_end - event_time_first_end(plan, pane_end)) / plan->slide_us;
    int64_t last = i64_min(behind, peek->source->parts[peek->view->index].late_part);
    int rc = 0;
    store_i64_sortable(peek->key + KAPPA_KEY_SOURCE_BYTES, pane_end);
    for (int64_t part = 0; part <= last && rc >= 0; part++) {
        store_u16_be(peek->key + peek->key_len - KAPPA_KEY_PART_BYTES, u16_from((uint64_t)part));
        buf_reset(&value);
        rc = row_peek(peek, pane_end, &value, err);
        if (rc == 1) {
            rc = merge_pane(peek, merged, &value, err);
        }
    }
    buf_free(&value);
    return rc;
}

static int hop_peek(struct peek *peek, int64_t window_end, struct buf *value, struct err *err)
{
    const struct plan_view *plan = peek->view->plan;
    const struct agg_layout *layout = &peek->view->layout;
    struct merged merged = {.state = xcalloc(1, layout->bytes + 1),
                            .pane = xcalloc(1, layout->bytes + 1)};
    int rc = 0;
    peek->key_len += KAPPA_KEY_PART_BYTES;
    int64_t pane = window_end - plan->window_us + plan->pane_us;
    for (; pane <= window_end && rc >= 0; pane += plan->pane_us) {
        rc = pane_peek(peek, pane, window_end, &merged, err);
    }
    if (rc >= 0 && merged.count > 0) {
        agg_encode(layout, merged.state, value);
    }
    agg_state_free(layout, merged.state, &peek->p->pool);
    free(merged.state);
    free(merged.pane);
    return rc < 0 ? rc : merged.count > 0;
}

int processor_row_at(struct processor *p, uint32_t index, uint32_t source, const uint8_t *columns,
                     size_t len, int64_t at_us, bool newest, int64_t *window_end, struct buf *value,
                     struct err *err)
{
    ASSERT_CMP(source, <, p->source_count);
    struct node_view *view = &p->views[index];
    const struct plan_view *plan = view->plan;
    struct peek peek = {.p = p, .view = view, .source = &p->sources[source]};
    bool windowed = plan->shape.windowed && plan->window != PLAN_WINDOW_SESSION;
    ASSERT(plan->kind == PLAN_GROUP && plan->input == peek.source->input);
    ASSERT_CMP(len, <=, LIMIT_GROUP_KEY_LEN);
    *window_end = windowed ? event_time_window_end(plan, at_us) : 0;
    uint8_t *at = key_put_prefix(peek.key, source, windowed, *window_end);
    if (len > 0) {
        memcpy(at, columns, len);
    }
    peek.key_len = (size_t)(at - peek.key) + len;
    peek.expired = node_expired(view, node_watermark(p, peek.source));
    switch (plan->shape.windowed ? plan->window : PLAN_WINDOW_NONE) {
    case PLAN_WINDOW_SESSION:
        return node_session_peek(p, view, source, peek.key, peek.key_len,
                                 newest ? KAPPA_NO_TIME : at_us, window_end, value, err);
    case PLAN_WINDOW_HOP:
        ASSERT(!newest);
        return hop_peek(&peek, *window_end, value, err);
    case PLAN_WINDOW_TUMBLE:
        if (newest) {
            return newest_peek(&peek, window_end, value, err);
        }
        break;
    case PLAN_WINDOW_NONE:
        break;
    }
    return row_peek(&peek, *window_end, value, err);
}
