/* Rows of several windows at once. Own header: view.h.
 *
 * One cursor per source and pane that is there, in a binary heap. */
#include "base/limits.h"
#include "table/history.h"
#include "table/view_inside.h"

#include <stdlib.h>
#include <string.h>

#define PANES_MAGIC 0x656e6150U /* "Pane" */
#define COLUMNS_AT  (KAPPA_KEY_SOURCE_BYTES + KAPPA_KEY_WINDOW_BYTES)

/* One pane of one source. */
struct pane {
    MDB_cursor *cursor;
    uint32_t source;
    MDB_val key;
    MDB_val value;
};

struct view_panes {
    uint32_t magic;
    bool started; /* the top of the heap was handed out */
    struct view_snapshot *snapshot;
    uint32_t table;
    uint32_t count; /* of panes that have rows left: the heap */
    uint32_t capacity;
    struct pane *heap;
    size_t prefix_len;
    uint8_t prefix[LIMIT_TABLE_KEY_LEN];
};

static bool is_less(const struct pane *a, const struct pane *b)
{
    const uint8_t *left = a->key.mv_data;
    const uint8_t *right = b->key.mv_data;
    size_t around = COLUMNS_AT + KAPPA_KEY_PART_BYTES;
    int order = bytes_order(left + COLUMNS_AT, a->key.mv_size - around, right + COLUMNS_AT,
                            b->key.mv_size - around);
    /* Keys begin with source and window end. */
    order = order != 0 ? order : memcmp(left, right, COLUMNS_AT);
    return (order != 0
                ? order
                : memcmp(left + a->key.mv_size - KAPPA_KEY_PART_BYTES,
                         right + b->key.mv_size - KAPPA_KEY_PART_BYTES, KAPPA_KEY_PART_BYTES)) < 0;
}

static void sift_down(struct view_panes *panes, uint32_t at)
{
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < panes->count && is_less(&panes->heap[child], &panes->heap[least])) {
                least = child;
            }
        }
        if (least == at) {
            return;
        }
        struct pane moved = panes->heap[at];
        panes->heap[at] = panes->heap[least];
        panes->heap[least] = moved;
        at = least;
    }
}

/* Moves: 0 it stands on a row of its pane and the prefix, MDB_NOTFOUND behind the last, or another
 * code. first: source and window end that its rows begin with, and the prefix. */
static int pane_move(const struct view_panes *panes, struct pane *pane, const uint8_t *first,
                     MDB_cursor_op op)
{
    int rc = mdb_cursor_get(pane->cursor, &pane->key, &pane->value, op);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *key = pane->key.mv_data;
    if (pane->key.mv_size < COLUMNS_AT + KAPPA_KEY_PART_BYTES) {
        return MDB_CORRUPTED;
    }
    bool inside = memcmp(key, first, COLUMNS_AT) == 0 &&
                  pane->key.mv_size >= COLUMNS_AT + panes->prefix_len &&
                  memcmp(key + COLUMNS_AT, panes->prefix, panes->prefix_len) == 0;
    return inside ? 0 : MDB_NOTFOUND;
}

/* Adds the pane behind the heap's end if it has rows. A code of LMDB. */
static int pane_add(struct view_panes *panes, uint32_t source, const uint8_t *first)
{
    const struct view *view = panes->snapshot->view;
    uint32_t shard = source % view->shard_count;
    uint8_t bytes[COLUMNS_AT + LIMIT_TABLE_KEY_LEN];
    memcpy(bytes, first, COLUMNS_AT);
    memcpy(bytes + COLUMNS_AT, panes->prefix, panes->prefix_len);
    struct pane added = {.source = source, .key = val_of(bytes, COLUMNS_AT + panes->prefix_len)};
    if (added.key.mv_size > LIMIT_TABLE_KEY_LEN) {
        return 0;
    }
    int rc = mdb_cursor_open(panes->snapshot->txns[shard],
                             view->shards[shard].dbs.rows[panes->table], &added.cursor);
    if (rc != 0) {
        return rc;
    }
    rc = pane_move(panes, &added, first, MDB_SET_RANGE);
    if (rc != 0) {
        mdb_cursor_close(added.cursor);
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    if (panes->count == panes->capacity) {
        panes->capacity = panes->capacity == 0 ? 64 : panes->capacity * 2;
        panes->heap = xrealloc(panes->heap, panes->capacity * sizeof *panes->heap);
    }
    panes->heap[panes->count++] = added;
    return 0;
}

/* All panes of a source in the range: from one that is there to the next. A code of LMDB. */
static int source_add(struct view_panes *panes, const struct view_panes_range *range,
                      uint32_t source)
{
    const struct view *view = panes->snapshot->view;
    uint32_t shard = source % view->shard_count;
    MDB_cursor *finder = NULL;
    int rc = mdb_cursor_open(panes->snapshot->txns[shard],
                             view->shards[shard].dbs.rows[panes->table], &finder);
    int64_t end = range->first;
    while (rc == 0) {
        uint8_t first[COLUMNS_AT];
        store_u16_be(first, u16_from(source));
        store_i64_sortable(first + KAPPA_KEY_SOURCE_BYTES, end);
        MDB_val key = val_of(first, sizeof first);
        MDB_val value;
        rc = mdb_cursor_get(finder, &key, &value, MDB_SET_RANGE);
        if (rc != 0 || key.mv_size < COLUMNS_AT || load_u16_be(key.mv_data) != source) {
            break;
        }
        memcpy(first, key.mv_data, sizeof first);
        end = load_i64_sortable(first + KAPPA_KEY_SOURCE_BYTES);
        if (end > range->last) {
            break;
        }
        rc = pane_add(panes, source, first);
        if (end == INT64_MAX) {
            break;
        }
        end++;
    }
    if (finder != NULL) {
        mdb_cursor_close(finder);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int view_panes_open(struct view_snapshot *snapshot, const struct view_panes_range *range,
                    struct view_panes **out, struct err *err)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    ASSERT_CMP(range->table, <, snapshot->view->table_count);
    ASSERT_CMP(range->prefix_len, <=, LIMIT_TABLE_KEY_LEN);
    struct view_panes *panes = xcalloc(1, sizeof *panes);
    panes->magic = PANES_MAGIC;
    panes->snapshot = snapshot;
    panes->table = range->table;
    panes->prefix_len = range->prefix_len;
    if (range->prefix_len > 0) {
        memcpy(panes->prefix, range->prefix, range->prefix_len);
    }
    for (uint32_t source = range->sources.first; source < range->sources.behind; source++) {
        int rc = source_add(panes, range, source);
        if (rc != 0) {
            const struct view *view = snapshot->view;
            rc = env_error(view->shards[source % view->shard_count].env, rc, "cannot scan", err);
            view_panes_close(panes);
            return rc;
        }
    }
    for (uint32_t i = panes->count / 2; i > 0; i--) {
        sift_down(panes, i - 1);
    }
    *out = panes;
    return 0;
}

/* Moves the least pane on; drops it when it has no more rows. */
static int advance(struct view_panes *panes, struct err *err)
{
    struct pane *top = &panes->heap[0];
    uint8_t first[COLUMNS_AT];
    memcpy(first, top->key.mv_data, sizeof first);
    int rc = pane_move(panes, top, first, MDB_NEXT);
    if (rc == MDB_NOTFOUND) {
        mdb_cursor_close(top->cursor);
        *top = panes->heap[--panes->count];
    } else if (rc != 0) {
        const struct view *view = panes->snapshot->view;
        return env_error(view->shards[top->source % view->shard_count].env, rc, "cannot scan", err);
    }
    sift_down(panes, 0);
    return 0;
}

int view_panes_next(struct view_panes *panes, uint32_t *source, const uint8_t **key,
                    size_t *key_len, const uint8_t **value, size_t *value_len, struct err *err)
{
    MAGIC_ASSERT(panes, PANES_MAGIC);
    if (panes->started && panes->count > 0) {
        int rc = advance(panes, err);
        if (rc != 0) {
            return rc;
        }
    }
    panes->started = true;
    if (panes->count == 0) {
        return 0;
    }
    const struct pane *top = &panes->heap[0];
    *source = top->source;
    *key = (const uint8_t *)top->key.mv_data + KAPPA_KEY_SOURCE_BYTES;
    *key_len = top->key.mv_size - KAPPA_KEY_SOURCE_BYTES;
    *value = top->value.mv_data;
    *value_len = top->value.mv_size;
    return 1;
}

void view_panes_close(struct view_panes *panes)
{
    if (panes == NULL) {
        return;
    }
    MAGIC_ASSERT(panes, PANES_MAGIC);
    for (uint32_t i = 0; i < panes->count; i++) {
        mdb_cursor_close(panes->heap[i].cursor);
    }
    free(panes->heap);
    panes->magic = 0;
    free(panes);
}

/* ---- the newest pane of a key */

/* The first entry of the index that is not below bytes[0, len): its part and, without history, its
 * window end. A code of LMDB. */
static int index_entry(MDB_txn *txn, MDB_dbi index, uint8_t *bytes, size_t columns_end,
                       bool history, uint32_t *part, int64_t *window_end)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, index, &cursor);
    if (rc != 0) {
        return rc;
    }
    MDB_val key = val_of(bytes, columns_end + KAPPA_KEY_PART_BYTES);
    MDB_val value;
    size_t len = key.mv_size + (history ? KAPPA_KEY_WINDOW_BYTES : 0);
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (rc == 0 && (key.mv_size != len || memcmp(key.mv_data, bytes, columns_end) != 0)) {
        rc = MDB_NOTFOUND;
    }
    if (rc == 0 && !history && value.mv_size != KAPPA_KEY_WINDOW_BYTES) {
        rc = MDB_CORRUPTED;
    }
    if (rc == 0) {
        memcpy(bytes + columns_end, (const uint8_t *)key.mv_data + columns_end,
               KAPPA_KEY_PART_BYTES);
        *part = load_u16_be(bytes + columns_end);
        *window_end = history ? 0 : load_i64_sortable(value.mv_data);
    }
    mdb_cursor_close(cursor);
    return rc;
}

int view_part_newest(struct view_snapshot *snapshot, uint32_t table, uint32_t source,
                     const uint8_t *key_columns, size_t len, int64_t below, uint32_t *part,
                     int64_t *window_end, struct err *err)
{
    MAGIC_ASSERT(snapshot, SNAPSHOT_MAGIC);
    const struct view *view = snapshot->view;
    ASSERT_CMP(table, <, view->table_count);
    uint8_t bytes[LIMIT_TABLE_KEY_LEN + KAPPA_KEY_WINDOW_BYTES];
    size_t end = KAPPA_KEY_SOURCE_BYTES + len;
    if (end + KAPPA_KEY_PART_BYTES > LIMIT_TABLE_KEY_LEN) {
        return 0;
    }
    uint32_t shard = source % view->shard_count;
    MDB_txn *txn = snapshot->txns[shard];
    MDB_dbi index = view->shards[shard].dbs.newest[table];
    store_u16_be(bytes, u16_from(source));
    if (len > 0) {
        memcpy(bytes + KAPPA_KEY_SOURCE_BYTES, key_columns, len);
    }
    int rc = 0;
    for (; *part <= UINT16_MAX; (*part)++) {
        store_u16_be(bytes + end, u16_from(*part));
        rc = index_entry(txn, index, bytes, end, view->history[table], part, window_end);
        if (rc != 0 || !view->history[table]) {
            break;
        }
        rc = history_below(txn, index, bytes, end + KAPPA_KEY_PART_BYTES, below, window_end);
        if (rc != MDB_NOTFOUND) {
            break;
        }
    }
    if (rc == MDB_NOTFOUND || *part > UINT16_MAX) {
        return 0;
    }
    return rc == 0 ? 1 : env_error(view->shards[shard].env, rc, "cannot read the newest pane", err);
}
