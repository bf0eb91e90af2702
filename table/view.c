/* Reading a version's environments. Own header: view.h; bytes: format.h.
 *
 * A snapshot is one read transaction per shard. They begin one after the other, which is no harm:
 * sources of different shards have cuts of their own, and a row's partials are merged whatever
 * their cuts are. What must be seen as one, a source's rows and state, stands in one transaction.
 *
 * The merged scan keeps a cursor per source in a binary heap ordered by (key behind the source,
 * source).
 */
#include "table/view.h"

#include "base/limits.h"
#include "table/history.h"
#include "table/view_inside.h"

#include <stdlib.h>
#include <string.h>

#define CURSOR_MAGIC 0x73727543U /* "Curs" */

/* One source within a merged scan. */
struct cursor_source {
    MDB_cursor *cursor;
    uint32_t source;
    MDB_val key; /* with the source prefix */
    MDB_val value;
};

struct view_cursor {
    uint32_t magic;
    bool started; /* the top of the heap was handed out */
    struct view_snapshot *snapshot;
    uint32_t count;               /* of sources that have rows left: the heap */
    struct cursor_source *heap[]; /* least first */
};

/* ---- opening */

int view_open(const char *dir, uint32_t shards, const struct kappa_table_shape *tables,
              uint32_t table_count, struct view **out, struct err *err)
{
    ASSERT_CMP(shards, >, 0);
    ASSERT_CMP(shards, <=, LIMIT_SHARDS);
    ASSERT_CMP(table_count, <=, STORE_DIGESTS);
    struct view *view = xcalloc(1, sizeof *view + shards * sizeof view->shards[0]);
    view->magic = VIEW_MAGIC;
    view->table_count = table_count;
    for (uint32_t i = 0; i < table_count; i++) {
        view->windowed[i] = tables[i].windowed;
        view->history[i] = tables[i].history;
    }
    int rc = 0;
    for (uint32_t i = 0; i < shards && rc == 0; i++) {
        struct view_shard *shard = &view->shards[i];
        char *path = xasprintf("%s/%u", dir, i);
        rc = env_open(path, false, 0, &shard->env, err);
        free(path);
        if (rc == 0) {
            view->shard_count++; /* from here on view_close closes it */
            rc = format_open(shard->env, tables, table_count, &shard->dbs, err);
        }
    }
    if (rc != 0) {
        view_close(view);
        return rc;
    }
    *out = view;
    return 0;
}

void view_close(struct view *view)
{
    if (view == NULL) {
        return;
    }
    MAGIC_ASSERT(view, VIEW_MAGIC);
    ASSERT_CMP(__atomic_load_n(&view->snapshots, __ATOMIC_ACQUIRE), ==, 0);
    for (uint32_t i = 0; i < view->shard_count; i++) {
        env_close(view->shards[i].env);
    }
    view->magic = 0;
    free(view);
}

/* ---- snapshots */

int view_snapshot_begin(struct view *view, struct view_snapshot **out, struct err *err)
{
    MAGIC_ASSERT(view, VIEW_MAGIC);
    struct view_snapshot *snapshot =
        xcalloc(1, sizeof *snapshot + view->shard_count * sizeof(MDB_txn *));
    snapshot->magic = SNAPSHOT_MAGIC;
    snapshot->view = view;
    (void)__atomic_add_fetch(&view->snapshots, 1, __ATOMIC_ACQ_REL);
    for (uint32_t i = 0; i < view->shard_count; i++) {
        int rc = env_read_begin(view->shards[i].env, &snapshot->txns[i], err);
        if (rc != 0) {
            snapshot->txns[i] = NULL;
            view_snapshot_end(snapshot);
            return rc;
        }
    }
    *out = snapshot;
    return 0;
}

void view_snapshot_end(struct view_snapshot *snapshot)
{
    if (snapshot == NULL) {
        return;
    }
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    struct view *view = snapshot->view;
    for (uint32_t i = 0; i < view->shard_count && snapshot->txns[i] != NULL; i++) {
        env_read_end(view->shards[i].env, snapshot->txns[i]);
    }
    snapshot->magic = 0;
    free(snapshot);
    (void)__atomic_sub_fetch(&view->snapshots, 1, __ATOMIC_ACQ_REL);
}

uint32_t view_snapshot_commits(const struct view_snapshot *snapshot, uint64_t *commits)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    for (uint32_t i = 0; i < snapshot->view->shard_count; i++) {
        commits[i] = mdb_txn_id(snapshot->txns[i]);
    }
    return snapshot->view->shard_count;
}

bool view_outgrown(const struct view *view)
{
    MAGIC_ASSERT(view, VIEW_MAGIC);
    for (uint32_t i = 0; i < view->shard_count; i++) {
        if (env_outgrown(view->shards[i].env)) {
            return true;
        }
    }
    return false;
}

/* ---- single rows */

/* 1 found, 0 not, negative. */
static int shard_get(struct view_snapshot *snapshot, uint32_t shard, MDB_dbi dbi, MDB_val key,
                     MDB_val *value, struct err *err)
{
    int rc = mdb_get(snapshot->txns[shard], dbi, &key, value);
    if (rc == 0) {
        return 1;
    }
    if (rc == MDB_NOTFOUND) {
        return 0;
    }
    return env_error(snapshot->view->shards[shard].env, rc, "cannot read a row", err);
}

/* Source prefix and the rest; *fits is false when it is too long to be stored. */
static MDB_val prefixed(uint8_t *bytes, uint32_t source, const uint8_t *key, size_t len, bool *fits)
{
    *fits = KAPPA_KEY_SOURCE_BYTES + len <= LIMIT_TABLE_KEY_LEN;
    store_u16_be(bytes, u16_from(source));
    if (*fits && len > 0) {
        memcpy(bytes + KAPPA_KEY_SOURCE_BYTES, key, len);
    }
    return val_of(bytes, KAPPA_KEY_SOURCE_BYTES + len);
}

int view_get(struct view_snapshot *snapshot, uint32_t table, uint32_t source, const uint8_t *key,
             size_t key_len, const uint8_t **value, size_t *value_len, struct err *err)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    const struct view *view = snapshot->view;
    ASSERT_CMP(table, <, view->table_count);
    uint8_t bytes[LIMIT_TABLE_KEY_LEN];
    bool fits = false;
    uint32_t shard = source % view->shard_count;
    MDB_val k = prefixed(bytes, source, key, key_len, &fits);
    MDB_val v;
    int rc = fits ? shard_get(snapshot, shard, view->shards[shard].dbs.rows[table], k, &v, err) : 0;
    if (rc == 1) {
        *value = v.mv_data;
        *value_len = v.mv_size;
    }
    return rc;
}

/* The first window from a time on, or the last one below it, in a table with history. */
static int history_get(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                       const uint8_t *key_columns, size_t len, bool from, int64_t time,
                       int64_t *window_end, struct err *err)
{
    const struct view *view = snapshot->view;
    uint8_t bytes[LIMIT_TABLE_KEY_LEN];
    bool fits = false;
    uint32_t shard = source % view->shard_count;
    MDB_val k = prefixed(bytes, source, key_columns, len, &fits);
    MDB_dbi index = view->shards[shard].dbs.newest[table];
    int rc = MDB_NOTFOUND;
    if (fits) {
        rc = (from ? history_from : history_below)(snapshot->txns[shard], index, k.mv_data,
                                                   k.mv_size, time, window_end);
    }
    return rc == 0 ? 1
           : rc == MDB_NOTFOUND
               ? 0
               : env_error(view->shards[shard].env, rc, "cannot read a window", err);
}

int view_window_from(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                     const uint8_t *key_columns, size_t len, int64_t from, int64_t *window_end,
                     struct err *err)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    ASSERT_CMP(table, <, snapshot->view->table_count);
    ASSERT(snapshot->view->history[table]);
    return history_get(snapshot, table, source, key_columns, len, true, from, window_end, err);
}

int view_window_below(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                      const uint8_t *key_columns, size_t len, int64_t below, int64_t *window_end,
                      struct err *err)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    ASSERT_CMP(table, <, snapshot->view->table_count);
    ASSERT(snapshot->view->history[table]);
    return history_get(snapshot, table, source, key_columns, len, false, below, window_end, err);
}

int view_newest(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                const uint8_t *key_columns, size_t len, int64_t *window_end, struct err *err)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    const struct view *view = snapshot->view;
    ASSERT_CMP(table, <, view->table_count);
    ASSERT(view->windowed[table]);
    if (view->history[table]) {
        return history_get(snapshot, table, source, key_columns, len, false, INT64_MAX, window_end,
                           err);
    }
    uint8_t bytes[LIMIT_TABLE_KEY_LEN];
    bool fits = false;
    uint32_t shard = source % view->shard_count;
    MDB_val k = prefixed(bytes, source, key_columns, len, &fits);
    MDB_val v;
    int rc =
        fits ? shard_get(snapshot, shard, view->shards[shard].dbs.newest[table], k, &v, err) : 0;
    if (rc == 1 && v.mv_size != KAPPA_KEY_WINDOW_BYTES) {
        return env_error(view->shards[shard].env, MDB_CORRUPTED, "cannot read the newest window",
                         err);
    }
    if (rc == 1) {
        *window_end = load_i64_sortable(v.mv_data);
    }
    return rc;
}

static bool last_known(const struct view_last *last, uint64_t what, uint64_t commit,
                       int64_t *window_end)
{
    uint32_t seq = __atomic_load_n(&last->seq, __ATOMIC_ACQUIRE);
    bool same = __atomic_load_n(&last->what, __ATOMIC_ACQUIRE) == what &&
                __atomic_load_n(&last->commit, __ATOMIC_ACQUIRE) == commit;
    *window_end = __atomic_load_n(&last->window_end, __ATOMIC_ACQUIRE);
    return same && seq % 2 == 0 && __atomic_load_n(&last->seq, __ATOMIC_RELAXED) == seq;
}

/* Not while another thread does. */
static void last_keep(struct view_last *last, uint64_t what, uint64_t commit, int64_t window_end)
{
    uint32_t seq = __atomic_load_n(&last->seq, __ATOMIC_RELAXED);
    if (seq % 2 == 0 && __atomic_compare_exchange_n(&last->seq, &seq, seq + 1, false,
                                                    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        __atomic_store_n(&last->what, what, __ATOMIC_RELEASE);
        __atomic_store_n(&last->commit, commit, __ATOMIC_RELEASE);
        __atomic_store_n(&last->window_end, window_end, __ATOMIC_RELEASE);
        __atomic_store_n(&last->seq, seq + 2, __ATOMIC_RELEASE);
    }
}

/* From the source's last row: a code of LMDB. */
static int last_find(MDB_txn *txn, MDB_dbi rows, uint32_t source, int64_t *window_end)
{
    uint8_t next[KAPPA_KEY_SOURCE_BYTES];
    MDB_cursor *cursor = NULL;
    MDB_val key = val_of(next, sizeof next);
    MDB_val value;
    int rc = mdb_cursor_open(txn, rows, &cursor);
    if (rc != 0) {
        return rc;
    }
    store_u16_be(next, u16_from(source + 1)); /* sources are fewer */
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (rc == 0 || rc == MDB_NOTFOUND) {
        rc = mdb_cursor_get(cursor, &key, &value, rc == 0 ? MDB_PREV : MDB_LAST);
    }
    *window_end = INT64_MIN;
    if (rc == 0 && key.mv_size >= KAPPA_KEY_SOURCE_BYTES + KAPPA_KEY_WINDOW_BYTES &&
        load_u16_be(key.mv_data) == source) {
        *window_end = load_i64_sortable((const uint8_t *)key.mv_data + KAPPA_KEY_SOURCE_BYTES);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int view_last_window(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                     int64_t *window_end, struct err *err)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    struct view *view = snapshot->view;
    ASSERT_CMP(table, <, view->table_count);
    ASSERT(view->windowed[table]);
    const struct view_shard *shard = &view->shards[source % view->shard_count];
    MDB_txn *txn = snapshot->txns[source % view->shard_count];
    struct view_last *last = &view->lasts[(source + 31 * table) % VIEW_LASTS];
    uint64_t what = ((uint64_t)table + 1) << 32 | source;
    uint64_t commit = mdb_txn_id(txn);
    if (last_known(last, what, commit, window_end)) {
        return 0;
    }
    int rc = last_find(txn, shard->dbs.rows[table], source, window_end);
    if (rc != 0) {
        return env_error(shard->env, rc, "cannot read the last window", err);
    }
    last_keep(last, what, commit, *window_end);
    return 0;
}

uint64_t view_entries(struct view_snapshot *snapshot, uint32_t table)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    const struct view *view = snapshot->view;
    ASSERT_CMP(table, <, view->table_count);
    uint64_t entries = 0;
    for (uint32_t i = 0; i < view->shard_count; i++) {
        MDB_stat stat;
        if (mdb_stat(snapshot->txns[i], view->shards[i].dbs.rows[table], &stat) == 0) {
            entries += stat.ms_entries;
        }
    }
    return entries;
}

bool view_source(struct view_snapshot *snapshot, uint32_t source, struct store_source *out)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    const struct view *view = snapshot->view;
    uint32_t shard = source % view->shard_count;
    uint8_t key[FORMAT_SOURCE_KEY];
    format_source_key(key, source);
    MDB_val v;
    int rc =
        shard_get(snapshot, shard, view->shards[shard].dbs.meta, val_of(key, sizeof key), &v, NULL);
    if (rc == 1 && format_source_decode(v.mv_data, v.mv_size, view->table_count, out)) {
        return true;
    }
    format_source_zero(out);
    return false;
}

/* ---- merged scan */

static bool is_less(const struct cursor_source *a, const struct cursor_source *b)
{
    int order = bytes_order((const uint8_t *)a->key.mv_data + KAPPA_KEY_SOURCE_BYTES,
                            a->key.mv_size - KAPPA_KEY_SOURCE_BYTES,
                            (const uint8_t *)b->key.mv_data + KAPPA_KEY_SOURCE_BYTES,
                            b->key.mv_size - KAPPA_KEY_SOURCE_BYTES);
    return order != 0 ? order < 0 : a->source < b->source;
}

/* Restores the heap below `at`. */
static void sift_down(struct view_cursor *cursor, uint32_t at)
{
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < cursor->count && is_less(cursor->heap[child], cursor->heap[least])) {
                least = child;
            }
        }
        if (least == at) {
            return;
        }
        struct cursor_source *moved = cursor->heap[at];
        cursor->heap[at] = cursor->heap[least];
        cursor->heap[least] = moved;
        at = least;
    }
}

static void source_close(struct cursor_source *source)
{
    mdb_cursor_close(source->cursor);
    free(source);
}

/* Moves: 0 it stands on a row of its source, MDB_NOTFOUND behind the last, or another code. */
static int source_move(struct cursor_source *source, MDB_cursor_op op)
{
    int rc = mdb_cursor_get(source->cursor, &source->key, &source->value, op);
    if (rc == 0 && source->key.mv_size < KAPPA_KEY_SOURCE_BYTES) {
        return MDB_CORRUPTED;
    }
    if (rc == 0 && load_u16_be(source->key.mv_data) != source->source) {
        return MDB_NOTFOUND;
    }
    return rc;
}

/* Adds the source behind the heap's end if it has rows. A code of LMDB. */
static int source_add(struct view_cursor *cursor, uint32_t table, uint32_t source)
{
    const struct view *view = cursor->snapshot->view;
    uint32_t shard = source % view->shard_count;
    struct cursor_source *added = xcalloc(1, sizeof *added);
    added->source = source;
    int rc = mdb_cursor_open(cursor->snapshot->txns[shard], view->shards[shard].dbs.rows[table],
                             &added->cursor);
    if (rc != 0) {
        free(added);
        return rc;
    }
    uint8_t first[KAPPA_KEY_SOURCE_BYTES];
    store_u16_be(first, u16_from(source));
    added->key = val_of(first, sizeof first);
    rc = source_move(added, MDB_SET_RANGE);
    if (rc != 0) {
        source_close(added);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    cursor->heap[cursor->count++] = added;
    return 0;
}

int view_cursor_open(struct view_snapshot *snapshot, uint32_t table, struct view_sources sources,
                     struct view_cursor **out, struct err *err)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    ASSERT_CMP(table, <, snapshot->view->table_count);
    ASSERT_CMP(sources.first, <=, sources.behind);
    ASSERT_CMP(sources.behind, <=, LIMIT_SOURCES);
    struct view_cursor *cursor = xcalloc(1, sizeof *cursor + (sources.behind - sources.first) *
                                                                 sizeof(struct cursor_source *));
    cursor->magic = CURSOR_MAGIC;
    cursor->snapshot = snapshot;
    for (uint32_t source = sources.first; source < sources.behind; source++) {
        int rc = source_add(cursor, table, source);
        if (rc != 0) {
            const struct view *view = snapshot->view;
            rc = env_error(view->shards[source % view->shard_count].env, rc, "cannot scan", err);
            view_cursor_close(cursor);
            return rc;
        }
    }
    for (uint32_t i = cursor->count / 2; i > 0; i--) {
        sift_down(cursor, i - 1);
    }
    *out = cursor;
    return 0;
}

/* Is the row of this source below the key? */
static bool is_below(const struct cursor_source *source, const uint8_t *key, size_t len)
{
    return bytes_order((const uint8_t *)source->key.mv_data + KAPPA_KEY_SOURCE_BYTES,
                       source->key.mv_size - KAPPA_KEY_SOURCE_BYTES, key, len) < 0;
}

int view_cursor_seek(struct view_cursor *cursor, const uint8_t *key, size_t len, struct err *err)
{
    MAGIC_ASSERT(cursor, CURSOR_MAGIC);
    uint8_t bytes[LIMIT_TABLE_KEY_LEN];
    bool fits = false;
    for (uint32_t i = 0; i < cursor->count;) {
        struct cursor_source *source = cursor->heap[i];
        int rc = 0;
        if (is_below(source, key, len)) {
            source->key = prefixed(bytes, source->source, key, len, &fits);
            ASSERT(fits);
            rc = source_move(source, MDB_SET_RANGE);
        }
        if (rc == MDB_NOTFOUND) {
            source_close(source);
            cursor->heap[i] = cursor->heap[--cursor->count];
        } else if (rc != 0) {
            const struct view *view = cursor->snapshot->view;
            uint32_t shard = source->source % view->shard_count;
            return env_error(view->shards[shard].env, rc, "cannot scan", err);
        } else {
            i++;
        }
    }
    for (uint32_t i = cursor->count / 2; i > 0; i--) {
        sift_down(cursor, i - 1);
    }
    cursor->started = false;
    return 0;
}

/* Moves the least source on; drops it when it has no more rows. */
static int advance(struct view_cursor *cursor, struct err *err)
{
    struct cursor_source *top = cursor->heap[0];
    int rc = source_move(top, MDB_NEXT);
    if (rc == MDB_NOTFOUND) {
        source_close(top);
        cursor->heap[0] = cursor->heap[--cursor->count];
    } else if (rc != 0) {
        const struct view *view = cursor->snapshot->view;
        return env_error(view->shards[top->source % view->shard_count].env, rc, "cannot scan", err);
    }
    sift_down(cursor, 0);
    return 0;
}

int view_cursor_next(struct view_cursor *cursor, uint32_t *source, const uint8_t **key,
                     size_t *key_len, const uint8_t **value, size_t *value_len, struct err *err)
{
    MAGIC_ASSERT(cursor, CURSOR_MAGIC);
    if (cursor->started && cursor->count > 0) {
        int rc = advance(cursor, err);
        if (rc != 0) {
            return rc;
        }
    }
    cursor->started = true;
    if (cursor->count == 0) {
        return 0;
    }
    const struct cursor_source *top = cursor->heap[0];
    *source = top->source;
    *key = (const uint8_t *)top->key.mv_data + KAPPA_KEY_SOURCE_BYTES;
    *key_len = top->key.mv_size - KAPPA_KEY_SOURCE_BYTES;
    *value = top->value.mv_data;
    *value_len = top->value.mv_size;
    return 1;
}

void view_cursor_close(struct view_cursor *cursor)
{
    if (cursor == NULL) {
        return;
    }
    MAGIC_ASSERT(cursor, CURSOR_MAGIC);
    for (uint32_t i = 0; i < cursor->count; i++) {
        source_close(cursor->heap[i]);
    }
    cursor->magic = 0;
    free(cursor);
}

/* ---- dead and late records */

/* All of one source. A code of LMDB; *more turns false when fn has had enough. */
static int dead_of_source(struct view_snapshot *snapshot, enum view_kept what, uint32_t source,
                          bool (*fn)(void *ctx, const struct view_dead *dead), void *ctx,
                          bool *more)
{
    const struct view *view = snapshot->view;
    uint32_t shard = source % view->shard_count;
    MDB_cursor *cursor = NULL;
    const struct format_dbs *dbs = &view->shards[shard].dbs;
    int rc =
        mdb_cursor_open(snapshot->txns[shard], what == VIEW_LATE ? dbs->late : dbs->dead, &cursor);
    if (rc != 0) {
        return rc;
    }
    uint8_t first[KAPPA_KEY_SOURCE_BYTES];
    store_u16_be(first, u16_from(source));
    MDB_val key = val_of(first, sizeof first);
    MDB_val value;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && *more) {
        struct view_dead dead;
        if (!format_dead_decode(&key, &value, &dead)) {
            rc = MDB_CORRUPTED;
        } else if (dead.source != source) {
            rc = MDB_NOTFOUND;
        } else {
            *more = fn(ctx, &dead);
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int view_dead_each(struct view_snapshot *snapshot, enum view_kept what, uint32_t source_count,
                   bool (*fn)(void *ctx, const struct view_dead *dead), void *ctx, struct err *err)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    ASSERT_CMP(source_count, <=, LIMIT_SOURCES);
    bool more = true;
    for (uint32_t source = 0; source < source_count && more; source++) {
        int rc = dead_of_source(snapshot, what, source, fn, ctx, &more);
        if (rc != 0) {
            const struct view *view = snapshot->view;
            return env_error(view->shards[source % view->shard_count].env, rc,
                             "cannot read dead or late records", err);
        }
    }
    return 0;
}
