/* session(): windows that end when nothing came for a gap. Own header: node.h.
 *
 * A session is [time of its first event, time of its last event + gap). An event belongs to the
 * session that it lies less than the gap from; it may join two. The cache has one entry a key, and in
 * it the list of the key's sessions that are open, the newest first. A session is stored under its
 * end: when that moves, the row under the old end is deleted and one under the new end is put.
 *
 * A session is closed when end + lateness <= watermark. A closed one takes no more events: whatever
 * lies near it begins a session of its own, and is late when that one would be closed at once.
 * Whether a closed session still stands in the list makes no difference.
 *
 * When a key comes (back) into the cache, its open sessions are read: the newest first, by the
 * history index of the table, until one is closed.
 *
 * Stored value: the start, 8 bytes sortable, then the aggregates' state.
 *
 * Two sessions become one in the middle of a chunk: rows before the one that joins them are applied
 * first, then the states are merged in the order of time, then the other rows go on. */
#include "processor/event_time.h"
#include "processor/node.h"

#include "base/digest.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

struct session {
    struct session *older;
    int64_t start;
    int64_t end;
    int64_t stored_end; /* the row in the store; KAPPA_NO_TIME: none */
    bool dirty;
    _Alignas(16) uint8_t state[];
};

/* The end of a stored session that has become part of another one. */
struct merged_end {
    struct merged_end *next;
    int64_t end;
};

/* State of an entry of the cache. */
struct session_head {
    struct session *newest;
    struct merged_end *merged; /* to be deleted by the next commit */
};

static struct session_head *head_of(struct agg_entry *entry)
{
    return (struct session_head *)(void *)entry->state;
}

static const struct session_head *head_of_const(const struct agg_entry *entry)
{
    return (const struct session_head *)(const void *)entry->state;
}

static size_t session_size(const struct node_view *view)
{
    return sizeof(struct session) + view->layout.bytes;
}

static struct session *session_new(struct processor *p, const struct node_view *view, int64_t start,
                                   int64_t end)
{
    struct session *session = pool_alloc(&p->pool, session_size(view));
    *session = (struct session){.start = start, .end = end, .stored_end = KAPPA_NO_TIME};
    memset(session->state, 0, view->layout.bytes);
    return session;
}

static void session_free(struct processor *p, const struct node_view *view, struct session *session)
{
    agg_state_free(&view->layout, session->state, &p->pool);
    pool_free(&p->pool, session, session_size(view));
}

static void merged_free(struct processor *p, struct session_head *head)
{
    while (head->merged != NULL) {
        struct merged_end *merged = head->merged;
        head->merged = merged->next;
        pool_free(&p->pool, merged, sizeof *merged);
    }
}

/* Context of the cache: which processor and view an entry belongs to. */
struct owner {
    struct processor *p;
    struct node_view *view;
};

static void release(void *ctx, struct agg_entry *entry)
{
    const struct owner *owner = ctx;
    struct session_head *head = head_of(entry);
    while (head->newest != NULL) {
        struct session *session = head->newest;
        head->newest = session->older;
        session_free(owner->p, owner->view, session);
    }
    merged_free(owner->p, head);
}

void node_session_open(struct processor *p, struct node_view *view)
{
    ASSERT(view->plan->shape.history);
    struct owner *owner = arena_alloc(&p->memory, sizeof *owner);
    *owner = (struct owner){p, view};
    view->heads = (struct agg_layout){.bytes = sizeof(struct session_head)};
    agg_cache_open(&view->cache, &view->heads, &p->pool);
    view->cache.release = release;
    view->cache.release_ctx = owner;
}

/* ---- Reading sessions back. */

/* source, window end, key columns: the row's key of an entry's session. */
static size_t row_key(const struct node_view *view, const struct agg_entry *entry, int64_t end,
                      uint8_t *key)
{
    const uint8_t *own = agg_entry_key(&view->cache, entry);
    size_t columns = entry->key_len - KAPPA_KEY_SOURCE_BYTES;
    memcpy(key, own, KAPPA_KEY_SOURCE_BYTES);
    store_i64_sortable(key + KAPPA_KEY_SOURCE_BYTES, end);
    memcpy(key + KAPPA_KEY_SOURCE_BYTES + KAPPA_KEY_WINDOW_BYTES, own + KAPPA_KEY_SOURCE_BYTES,
           columns);
    return entry->key_len + KAPPA_KEY_WINDOW_BYTES;
}

/* The stored session with this end, behind the list's oldest. */
static int load_one(struct processor *p, struct node_view *view, const struct agg_entry *entry,
                    int64_t end, struct session **behind, struct err *err)
{
    uint8_t key[LIMIT_TABLE_KEY_LEN];
    const uint8_t *value = NULL;
    size_t len = 0;
    p->loads++;
    int rc = p->options.load(p->options.load_ctx, view->table, key, row_key(view, entry, end, key),
                             &value, &len, err);
    if (rc < 0) {
        return rc;
    }
    if (rc == 0 || len < sizeof(int64_t)) {
        return err_set(err, KE_CORRUPT, "table %s: a session does not decode",
                       view->plan->shape.name);
    }
    struct session *session = session_new(p, view, load_i64_sortable(value), end);
    session->stored_end = end;
    *behind = session; /* from here on the list owns it */
    rc = agg_decode(&view->layout, session->state, &p->pool, value + sizeof(int64_t),
                    len - sizeof(int64_t), err);
    if (rc < 0) {
        err_prefix(err, "table %s", view->plan->shape.name);
    }
    return rc;
}

/* The sessions of a key that are open at the limit. */
static int load_open(struct processor *p, struct node_view *view, struct agg_entry *entry,
                     int64_t limit, struct err *err)
{
    struct session **behind = &head_of(entry)->newest;
    int64_t end = INT64_MAX;
    for (;;) {
        int rc = p->options.window_below(p->options.load_ctx, view->table,
                                         agg_entry_key(&view->cache, entry), entry->key_len, end,
                                         &end, err);
        if (rc <= 0 || end <= limit) {
            return rc < 0 ? rc : 0;
        }
        rc = load_one(p, view, entry, end, behind, err);
        if (rc < 0) {
            return rc;
        }
        behind = &(*behind)->older;
    }
}

/* ---- Looking. */

/* The session that is stored with this end, if it holds the time. */
static int peek_stored(struct processor *p, struct node_view *view, const uint8_t *key, size_t len,
                       int64_t at_us, int64_t end, struct buf *value, struct err *err)
{
    uint8_t row[LIMIT_TABLE_KEY_LEN];
    const uint8_t *stored = NULL;
    size_t stored_len = 0;
    memcpy(row, key, KAPPA_KEY_SOURCE_BYTES);
    store_i64_sortable(row + KAPPA_KEY_SOURCE_BYTES, end);
    memcpy(row + KAPPA_KEY_SOURCE_BYTES + KAPPA_KEY_WINDOW_BYTES, key + KAPPA_KEY_SOURCE_BYTES,
           len - KAPPA_KEY_SOURCE_BYTES);
    p->loads++;
    int rc = p->options.load(p->options.load_ctx, view->table, row, len + KAPPA_KEY_WINDOW_BYTES,
                             &stored, &stored_len, err);
    if (rc < 0) {
        return rc;
    }
    if (rc == 0 || stored_len < sizeof(int64_t)) {
        return err_set(err, KE_CORRUPT, "table %s: a session does not decode",
                       view->plan->shape.name);
    }
    if (at_us != KAPPA_NO_TIME && load_i64_sortable(stored) > at_us) {
        return 0;
    }
    buf_append(value, stored, stored_len);
    return 1;
}

/* What is stored and not in the list is older than what is, or closed. */
int node_session_peek(struct processor *p, struct node_view *view, uint32_t source,
                      const uint8_t *key, size_t len, int64_t at_us, int64_t *end,
                      struct buf *value, struct err *err)
{
    const struct node_source *from = &p->sources[source];
    const struct agg_entry *entry = agg_cache_find(&view->cache, hash_bytes(key, len), key, len);
    bool newest = at_us == KAPPA_NO_TIME;
    const struct session *session = entry == NULL ? NULL : head_of_const(entry)->newest;
    while (!newest && session != NULL && (session->end <= at_us || session->start > at_us)) {
        session = session->older;
    }
    int rc = 0;
    if (newest || (entry == NULL && from->parts[view->index].maybe_stored > at_us)) {
        rc = p->options.window_below(p->options.load_ctx, view->table, key, len, INT64_MAX, end,
                                     err);
    }
    if (rc < 0) {
        return rc;
    }
    int64_t least = newest ? node_expired(view, node_watermark(p, from)) : at_us;
    if (rc == 1 && (session == NULL || session->end < *end)) {
        return *end > least ? peek_stored(p, view, key, len, at_us, *end, value, err) : 0;
    }
    if (session == NULL || session->end <= least) {
        return 0;
    }
    *end = session->end;
    node_session_encode(view, session, value);
    return 1;
}

/* ---- Applying. */

/* Where the rows stand that are not applied yet. */
struct pending {
    uint32_t from;
    uint32_t behind;
};

static void note_merged(struct processor *p, struct session_head *head, int64_t end)
{
    if (end != KAPPA_NO_TIME) {
        struct merged_end *merged = pool_alloc(&p->pool, sizeof *merged);
        *merged = (struct merged_end){head->merged, end};
        head->merged = merged;
    }
}

/* *newer and the session it follows in time become one, in the place of the older. */
static void merge_into_older(struct processor *p, struct node_view *view, struct session_head *head,
                             struct session **newer, struct pending *pending)
{
    struct session *gone = *newer;
    struct session *stays = gone->older;
    node_aggregate_update(p, view, pending->from, pending->behind);
    pending->from = pending->behind;
    agg_merge(&view->layout, stays->state, gone->state, &p->pool);
    /* The row that is overwritten, if any, is the one whose end stays. */
    if (gone->stored_end != KAPPA_NO_TIME) {
        note_merged(p, head, stays->stored_end);
        stays->stored_end = gone->stored_end;
    }
    stays->end = gone->end;
    *newer = stays;
    session_free(p, view, gone);
}

/* The session that takes a row at time t; NULL: the row is late. */
static struct session *session_of(struct processor *p, struct node_view *view,
                                  struct session_head *head, int64_t t, int64_t limit,
                                  struct pending *pending)
{
    const int64_t end = t + view->plan->window_us;
    struct session **at = &head->newest;
    while (*at != NULL && (*at)->start >= end) {
        at = &(*at)->older; /* begins behind the event's reach */
    }
    struct session *found = NULL;
    if (*at != NULL && (*at)->end > t && (*at)->end > limit) {
        found = *at;
        found->end = i64_max(found->end, end);
        struct session *older = found->older;
        if (older != NULL && older->end > t && older->end > limit) {
            merge_into_older(p, view, head, at, pending);
            found = *at;
        }
        found->start = found->start < t ? found->start : t;
    } else if (end > limit) {
        found = session_new(p, view, t, end);
        while (*at != NULL && (*at)->end > end) {
            at = &(*at)->older;
        }
        found->older = *at;
        *at = found;
    }
    return found;
}

static int row_apply(struct processor *p, struct node_view *view, uint32_t s,
                     struct pending *pending, struct err *err)
{
    struct node_chunk *chunk = &p->chunk;
    uint32_t row = chunk->selected[s];
    int64_t lateness_us = p->options.plan->inputs[view->plan->input].lateness_us;
    int64_t limit = event_time_limit(chunk->watermark[row], lateness_us);
    bool made = false;
    struct agg_entry *entry = node_aggregate_entry(p, view, s, &made);
    if (made && chunk->source->parts[view->index].maybe_stored > limit) {
        int rc = load_open(p, view, entry, limit, err);
        if (rc < 0) {
            return rc;
        }
    }
    int64_t t = chunk->event_time[row];
    struct session *session = session_of(p, view, head_of(entry), t, limit, pending);
    if (session == NULL) {
        node_window_late_row(p, view, row, t + view->plan->window_us);
        return 0;
    }
    if (!session->dirty) {
        session->dirty = true;
        view->cache.dirty_bytes +=
            session_size(view) + agg_state_owned(&view->layout, session->state);
    }
    agg_cache_touch(&view->cache, entry);
    p->keys.state[pending->behind] = session->state;
    chunk->selected[pending->behind++] = row;
    return 0;
}

int node_session_apply(struct processor *p, struct node_view *view, struct err *err)
{
    struct pending pending = {0, 0};
    for (uint32_t s = 0; s < p->chunk.count; s++) {
        int rc = row_apply(p, view, s, &pending, err);
        if (rc < 0) {
            return rc;
        }
    }
    p->chunk.count = pending.behind;
    node_aggregate_update(p, view, pending.from, pending.behind);
    return 0;
}

/* ---- Commits. */

/* A row to put, or one to delete (session NULL). */
struct change {
    const struct agg_entry *entry;
    const struct session *session;
    int64_t end;
    uint32_t source; /* of the entry: sorting touches entries only where ends are the same */
};

static int compare_changes(const void *a, const void *b, void *ctx)
{
    const struct change *left = a;
    const struct change *right = b;
    const struct node_view *view = ctx;
    if (left->source != right->source) {
        return left->source < right->source ? -1 : 1;
    }
    if (left->end != right->end) {
        return left->end < right->end ? -1 : 1;
    }
    size_t left_len = left->entry->key_len;
    size_t right_len = right->entry->key_len;
    int order =
        memcmp(agg_entry_key(&view->cache, left->entry), agg_entry_key(&view->cache, right->entry),
               left_len < right_len ? left_len : right_len);
    return order != 0 ? order : (left_len > right_len) - (left_len < right_len);
}

struct changes {
    struct change *list;
    size_t count;
    size_t capacity;
};

static void changes_add(struct changes *changes, const struct agg_entry *entry,
                        const struct session *session, int64_t end)
{
    if (changes->count == changes->capacity) {
        changes->capacity = changes->capacity == 0 ? 256 : changes->capacity * 2;
        changes->list = xrealloc(changes->list, changes->capacity * sizeof(struct change));
    }
    changes->list[changes->count++] = (struct change){entry, session, end, entry->source};
}

/* The dirty entries and their sessions wait for memory: they are fetched ahead. */
static void collect_ahead(const struct node_view *view, size_t i)
{
    const size_t near = 8;
    if (i + 2 * near < view->cache.dirty_count) {
        __builtin_prefetch(view->cache.dirty[i + 2 * near]->state);
    }
    if (i + near < view->cache.dirty_count) {
        __builtin_prefetch(head_of_const(view->cache.dirty[i + near])->newest);
    }
}

static void collect(const struct processor *p, const struct node_view *view, struct changes *dels,
                    struct changes *puts)
{
    for (size_t i = 0; i < view->cache.dirty_count; i++) {
        const struct agg_entry *entry = view->cache.dirty[i];
        const struct session_head *head = head_of_const(entry);
        collect_ahead(view, i);
        int64_t expired = node_expired(view, node_watermark(p, &p->sources[entry->source]));
        const struct session *session = head->newest;
        for (; session != NULL; session = session->older) {
            bool moved = session->stored_end != session->end;
            if (session->dirty && moved && session->stored_end > expired) {
                changes_add(dels, entry, NULL, session->stored_end);
            }
            if (session->dirty && session->end > expired) {
                changes_add(puts, entry, session, session->end);
            }
        }
        for (const struct merged_end *merged = head->merged; merged != NULL;
             merged = merged->next) {
            if (merged->end > expired) {
                changes_add(dels, entry, NULL, merged->end);
            }
        }
    }
}

static void changes_ahead(const struct node_view *view, const struct changes *changes, size_t i)
{
    const size_t near = 8;
    if (i + 2 * near < changes->count) {
        const struct change *change = &changes->list[i + 2 * near];
        __builtin_prefetch(agg_entry_key(&view->cache, change->entry));
        for (size_t at = 0; change->session != NULL && at < session_size(view); at += 64) {
            __builtin_prefetch((const uint8_t *)change->session + at);
        }
    }
    if (i + near < changes->count && changes->list[i + near].session != NULL) {
        agg_state_prefetch(&view->layout, changes->list[i + near].session->state);
    }
}

void node_session_encode(const struct node_view *view, const void *session, struct buf *out)
{
    const struct session *from = session;
    uint8_t start[sizeof(int64_t)];
    store_i64_sortable(start, from->start);
    buf_append(out, start, sizeof start);
    agg_encode(&view->layout, from->state, out);
}

static int put_one(struct processor *p, const struct node_view *view, const struct change *change,
                   const struct kappa_change_sink *sink, struct err *err)
{
    uint8_t key[LIMIT_TABLE_KEY_LEN];
    const struct session *session = change->session;
    size_t len = row_key(view, change->entry, change->end, key);
    if (session == NULL) {
        return sink->del(sink->ctx, view->table, key, len, err);
    }
    buf_reset(&p->row);
    node_session_encode(view, session, &p->row);
    if (p->row.len > LIMIT_ROW_BYTES) {
        return node_aggregate_too_long(p, view, err);
    }
    return sink->put(sink->ctx, view->table, key, len, p->row.data, p->row.len,
                     session->stored_end != session->end, err);
}

int node_session_flush(struct processor *p, const struct node_view *view,
                       const struct kappa_change_sink *sink, struct err *err)
{
    struct changes changes[2] = {0}; /* dels, puts */
    int rc = node_aggregate_expire(p, view, sink, err);
    collect(p, view, &changes[0], &changes[1]);
    for (size_t c = 0; c < 2; c++) {
        if (changes[c].count > 0) {
            qsort_r(changes[c].list, changes[c].count, sizeof(struct change), compare_changes,
                    (void *)(uintptr_t)view);
        }
        for (size_t i = 0; i < changes[c].count && rc >= 0; i++) {
            changes_ahead(view, &changes[c], i);
            rc = put_one(p, view, &changes[c].list[i], sink, err);
        }
        free(changes[c].list);
    }
    return rc;
}

void node_session_committed(struct processor *p, struct node_view *view)
{
    for (size_t i = 0; i < view->cache.dirty_count; i++) {
        struct session_head *head = head_of(view->cache.dirty[i]);
        for (struct session *session = head->newest; session != NULL; session = session->older) {
            session->stored_end = session->dirty ? session->end : session->stored_end;
            session->dirty = false;
        }
        merged_free(p, head);
    }
}

/* Rows of an entry that have changed: for INSERT INTO. */
static void changed_add(struct processor *p, struct node_view *view, const struct agg_entry *entry,
                        const struct session *session, int64_t end)
{
    node_final_add(p, view,
                   &(struct node_final_row){
                       .entry = entry,
                       .session = session,
                       .end = end,
                       .columns = agg_entry_key(&view->cache, entry) + KAPPA_KEY_SOURCE_BYTES,
                       .columns_len = (uint32_t)(entry->key_len - KAPPA_KEY_SOURCE_BYTES),
                       .source = entry->source,
                       .gone = session == NULL});
}

void node_session_changed(struct processor *p, struct node_view *view)
{
    for (size_t i = 0; i < view->cache.dirty_count; i++) {
        const struct agg_entry *entry = view->cache.dirty[i];
        const struct session_head *head = head_of_const(entry);
        collect_ahead(view, i);
        for (const struct session *s = head->newest; s != NULL; s = s->older) {
            if (s->dirty) {
                changed_add(p, view, entry, s, s->end);
            }
            if (s->dirty && s->stored_end != s->end && s->stored_end != KAPPA_NO_TIME) {
                changed_add(p, view, entry, NULL, s->stored_end);
            }
        }
        for (const struct merged_end *m = head->merged; m != NULL; m = m->next) {
            changed_add(p, view, entry, NULL, m->end);
        }
    }
}

void node_session_emitted(struct processor *p, struct node_view *view)
{
    for (size_t i = 0; i < view->cache.dirty_count; i++) {
        struct agg_entry *entry = view->cache.dirty[i];
        (void)node_session_closed(p, view, entry,
                                  p->sources[entry->source].parts[view->index].emitted);
    }
}

bool node_session_closed(struct processor *p, struct node_view *view, struct agg_entry *entry,
                         int64_t limit)
{
    struct session **at = &head_of(entry)->newest;
    while (*at != NULL) {
        struct session *session = *at;
        if (session->end <= limit) {
            *at = session->older;
            session_free(p, view, session);
        } else {
            at = &session->older;
        }
    }
    return head_of(entry)->newest == NULL;
}

int64_t node_session_newest(const struct agg_entry *entry)
{
    const struct session *newest = head_of_const(entry)->newest;
    return newest == NULL ? KAPPA_NO_TIME : newest->end;
}
