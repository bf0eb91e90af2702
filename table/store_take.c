/* Taking windows over from another version's environment. Own header: copy.h, which says what becomes of
 * the rows of hops.
 *
 * The rows go through the sink of a new store, in the order of their keys, so that digests, leaves and
 * indexes come from where they always do. A batch is a transaction; when the map is full it is made again
 * from its first key. Nobody sees the environment before it is whole and has its name. */
#include "table/copy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "table/store_inner.h"

#define BATCH_ROWS 20000

struct taking {
    const struct store_take *take;
    struct env *env; /* of the other version */
    MDB_txn *txn;    /* its commit */
    struct format_dbs dbs;
    struct store *store;               /* the new one */
    struct kappa_source_state *states; /* at O, per source of the take */
    int64_t *cuts;                     /* C */
    struct buf merged;
    /* The row put last by the batch at hand: its source and window end, and whether it was moved. */
    uint32_t put;
    bool moving;
    uint8_t pane[KAPPA_KEY_SOURCE_BYTES + KAPPA_KEY_WINDOW_BYTES];
    /* Where the next batch begins. */
    size_t at_len;
    uint8_t at[LIMIT_TABLE_KEY_LEN];
};

static int read_failed(const struct taking *t, int rc, struct err *err)
{
    return env_error(t->env, rc, "cannot take its windows over", err);
}

static uint32_t index_of(const struct store_take *take, uint32_t source)
{
    uint32_t i = 0;
    while (i < take->source_count && take->sources[i] != source) {
        i++;
    }
    return i;
}

/* ---- Where each source goes on */

static int source_cut(const struct taking *t, uint32_t source, int64_t *cut)
{
    uint8_t bytes[FORMAT_SOURCE_KEY];
    struct store_source found;
    MDB_val value;
    format_source_key(bytes, source);
    MDB_val key = val_of(bytes, sizeof bytes);
    int rc = mdb_get(t->txn, t->dbs.meta, &key, &value);
    if (rc == 0 && !format_source_decode(value.mv_data, value.mv_size, 0, &found)) {
        return MDB_CORRUPTED;
    }
    *cut = rc == 0 ? found.state.next_offset : -1;
    return rc;
}

static int find_places(struct taking *t, struct err *err)
{
    const struct store_take *take = t->take;
    for (uint32_t i = 0; i < take->source_count; i++) {
        struct store_source zero;
        format_source_zero(&zero);
        t->states[i] = zero.state;
        t->states[i].next_offset = take->starts[i];
        int rc = source_cut(t, take->sources[i], &t->cuts[i]);
        if (rc == 0) {
            rc = store_times_before(t->txn, t->dbs.times, take->sources[i], take->since,
                                    &t->states[i]);
            rc = rc == MDB_NOTFOUND ? 0 : rc;
        }
        if (rc != 0) {
            return read_failed(t, rc, err);
        }
        ASSERT_CMP(t->states[i].next_offset, <=, t->cuts[i]);
    }
    return 0;
}

/* ---- Batches */

/* One row or record into the open transaction of the new store; 0 also when it is not wanted; BATCH_ENDS:
 * nothing was done, it comes first in the next transaction. */
#define BATCH_ENDS 1
typedef int (*take_one_fn)(struct taking *t, uint32_t table, const MDB_val *key,
                           const MDB_val *value, struct err *err);

static int put_row(const struct taking *t, uint32_t table, const uint8_t *key, size_t key_len,
                   const uint8_t *value, size_t value_len, bool is_new, struct err *err)
{
    const struct kappa_change_sink *sink = store_sink(t->store);
    return sink->put(sink->ctx, table, key, key_len, value, value_len, is_new, err);
}

/* A row of a pane in (S, E) to pane S, into the part that begins with the same window. Below: as many
 * slides before E as that window, or the first one of pane S, ends. */
static int move_row(struct taking *t, uint32_t table, const MDB_val *key, const MDB_val *value,
                    int64_t pane_end, struct err *err)
{
    const struct store_take_hop *hop = &t->take->hops[table];
    const uint8_t *bytes = key->mv_data;
    int64_t first_end = t->take->first_ends[table];
    const uint8_t *part_at = bytes + key->mv_size - KAPPA_KEY_PART_BYTES;
    int64_t below = (first_end - pane_end) / hop->slide_us - load_u16_be(part_at);
    if (below <= 0) {
        return 0; /* it is in recomputed windows only */
    }
    int64_t part = hop->window_us / hop->slide_us - below;
    uint8_t to[LIMIT_TABLE_KEY_LEN];
    const uint8_t *there = NULL;
    size_t there_len = 0;
    ASSERT_CMP(key->mv_size, <=, sizeof to);
    ASSERT_CMP(part, >=, 0);
    memcpy(to, bytes, key->mv_size);
    store_i64_sortable(to + KAPPA_KEY_SOURCE_BYTES, first_end - hop->window_us);
    store_u16_be(to + key->mv_size - KAPPA_KEY_PART_BYTES, u16_from((uint64_t)part));
    int rc = store_load(t->store, table, to, key->mv_size, &there, &there_len, err);
    if (rc == 0) {
        return put_row(t, table, to, key->mv_size, value->mv_data, value->mv_size, true, err);
    }
    if (rc == 1) {
        buf_reset(&t->merged);
        rc = t->take->merge(t->take->merge_ctx, table, there, there_len, value->mv_data,
                            value->mv_size, &t->merged, err);
    }
    return rc != 0 ? rc
                   : put_row(t, table, to, key->mv_size, t->merged.data, t->merged.len, false, err);
}

/* Rows that move are merged with what was committed. So those of a pane have transactions of their own:
 * they come to different keys, in the order of these. */
static int take_row(struct taking *t, uint32_t table, const MDB_val *key, const MDB_val *value,
                    struct err *err)
{
    const struct store_take_hop *hop = t->take->hops == NULL ? NULL : &t->take->hops[table];
    bool hops = hop != NULL && hop->slide_us > 0;
    const uint8_t *bytes = key->mv_data;
    size_t around =
        KAPPA_KEY_SOURCE_BYTES + KAPPA_KEY_WINDOW_BYTES + (hops ? KAPPA_KEY_PART_BYTES : 0);
    if (key->mv_size < around) {
        return read_failed(t, MDB_CORRUPTED, err);
    }
    int64_t end = load_i64_sortable(bytes + KAPPA_KEY_SOURCE_BYTES);
    if (end >= t->take->first_ends[table]) {
        return 0;
    }
    bool moves = hops && end > t->take->first_ends[table] - hop->window_us;
    if (t->put > 0 && (moves || t->moving) && memcmp(t->pane, bytes, sizeof t->pane) != 0) {
        return BATCH_ENDS;
    }
    memcpy(t->pane, bytes, sizeof t->pane);
    t->moving = moves;
    t->put++;
    return moves
               ? move_row(t, table, key, value, end, err)
               : put_row(t, table, bytes, key->mv_size, value->mv_data, value->mv_size, true, err);
}

static int take_kept(struct taking *t, bool late, const MDB_val *key, const MDB_val *value,
                     struct err *err)
{
    struct view_dead dead;
    const struct kappa_change_sink *sink = store_sink(t->store);
    if (!format_dead_decode(key, value, &dead)) {
        return read_failed(t, MDB_CORRUPTED, err);
    }
    uint32_t i = index_of(t->take, dead.source);
    if (i == t->take->source_count || dead.offset >= t->states[i].next_offset) {
        return 0;
    }
    char *reason = xstrndup(dead.reason, dead.reason_len);
    int rc = (late ? sink->late : sink->dead)(sink->ctx, dead.source, dead.offset, dead.view,
                                              reason, dead.bytes, dead.bytes_len, err);
    free(reason);
    return rc;
}

static int take_dead(struct taking *t, uint32_t table, const MDB_val *key, const MDB_val *value,
                     struct err *err)
{
    (void)table;
    return take_kept(t, false, key, value, err);
}

static int take_late(struct taking *t, uint32_t table, const MDB_val *key, const MDB_val *value,
                     struct err *err)
{
    (void)table;
    return take_kept(t, true, key, value, err);
}

/* From t->at on, into an open transaction. *more: t->next is where to go on. */
static int run_batch(struct taking *t, MDB_dbi dbi, uint32_t table, take_one_fn one, MDB_val *next,
                     bool *more, struct err *err)
{
    MDB_cursor *cursor = NULL;
    MDB_val key = val_of(t->at, t->at_len);
    MDB_val value;
    int count = 0;
    int rc = mdb_cursor_open(t->txn, dbi, &cursor);
    if (rc != 0) {
        return read_failed(t, rc, err);
    }
    int found = mdb_cursor_get(cursor, &key, &value, t->at_len == 0 ? MDB_FIRST : MDB_SET_RANGE);
    t->put = 0;
    while (rc == 0 && found == 0 && count < BATCH_ROWS) {
        rc = one(t, table, &key, &value, err);
        found = rc == 0 ? mdb_cursor_get(cursor, &key, &value, MDB_NEXT) : found;
        count++;
    }
    rc = rc == BATCH_ENDS ? 0 : rc;
    *more = rc == 0 && found == 0;
    *next = key; /* in the map, as long as the read transaction lasts */
    mdb_cursor_close(cursor);
    return rc != 0 || found == 0 || found == MDB_NOTFOUND ? rc : read_failed(t, found, err);
}

static int take_all(struct taking *t, MDB_dbi dbi, uint32_t table, take_one_fn one, struct err *err)
{
    bool more = true;
    t->at_len = 0;
    while (more) {
        MDB_val next = {0, NULL};
        int rc = store_begin(t->store, err);
        if (rc == 0) {
            rc = run_batch(t, dbi, table, one, &next, &more, err);
        }
        if (rc == 0) {
            rc = store_commit(t->store, err);
        }
        if (rc == -KE_AGAIN) { /* the map has grown: this batch again */
            more = true;
            continue;
        }
        if (rc != 0) {
            return rc;
        }
        if (more && next.mv_data != NULL) {
            ASSERT_CMP(next.mv_size, <=, sizeof t->at);
            memcpy(t->at, next.mv_data, next.mv_size);
            t->at_len = next.mv_size;
        }
    }
    return 0;
}

/* ---- The end */

static int put_taken(struct taking *t, uint32_t i)
{
    uint8_t bytes[FORMAT_TAKEN_KEY];
    uint8_t cut[8];
    format_taken_key(bytes, t->take->sources[i]);
    store_u64_le(cut, (uint64_t)t->cuts[i]);
    MDB_val key = val_of(bytes, sizeof bytes);
    MDB_val value = val_of(cut, sizeof cut);
    return mdb_put(t->store->txn, t->store->dbs.meta, &key, &value, 0);
}

static int put_places_once(struct taking *t, struct err *err)
{
    int rc = store_begin(t->store, err);
    for (uint32_t i = 0; rc == 0 && i < t->take->source_count; i++) {
        rc = store_source_put(t->store, t->take->sources[i], &t->states[i], err);
        if (rc == 0) {
            int code = put_taken(t, i);
            rc = code == 0 ? 0 : store_fail(t->store, code, "cannot write its sources", err);
        }
    }
    return rc == 0 ? store_commit(t->store, err) : rc;
}

static int put_places(struct taking *t, struct err *err)
{
    int rc;
    do {
        rc = put_places_once(t, err);
    } while (rc == -KE_AGAIN);
    return rc;
}

static int take_everything(struct taking *t, struct err *err)
{
    int rc = find_places(t, err);
    for (uint32_t i = 0; rc == 0 && i < t->take->table_count; i++) {
        rc = take_all(t, t->dbs.rows[i], i, take_row, err);
    }
    if (rc == 0) {
        rc = take_all(t, t->dbs.dead, 0, take_dead, err);
    }
    if (rc == 0) {
        rc = take_all(t, t->dbs.late, 0, take_late, err);
    }
    return rc == 0 ? put_places(t, err) : rc;
}

/* What somebody left who died at it. */
static int clear(const char *dir, struct err *err)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < array_len(files); i++) {
        char *path = xasprintf("%s/%s", dir, files[i]);
        if (unlink(path) != 0 && errno != ENOENT) {
            rc = err_errno(err, errno, "cannot remove %s", path);
        }
        free(path);
    }
    return rc;
}

static int take_into(struct taking *t, const char *dir, struct err *err)
{
    const struct store_take *take = t->take;
    const struct store_options options = {.dir = dir,
                                          .tables = take->tables,
                                          .table_count = take->table_count,
                                          .output_count = take->output_count,
                                          .building = true};
    int rc = clear(dir, err);
    if (rc == 0) {
        rc = store_open(&options, &t->store, err);
    }
    if (rc == 0) {
        rc = take_everything(t, err);
        store_close(t->store);
    }
    if (rc == 0 && rename(dir, take->dir) != 0) {
        rc = err_errno(err, errno, "cannot make the directory %s", take->dir);
    }
    return rc;
}

int store_take(const struct store_take *take, struct err *err)
{
    struct taking t = {.take = take};
    if (access(take->dir, F_OK) == 0) {
        return 0;
    }
    int rc = env_open(take->from, false, 0, &t.env, err);
    if (rc != 0) {
        return rc;
    }
    rc = format_open(t.env, take->tables, take->table_count, &t.dbs, err);
    if (rc == 0) {
        rc = env_read_begin(t.env, &t.txn, err);
    }
    if (rc == 0) {
        char *dir = xasprintf("%s.new", take->dir);
        t.states = xcalloc(take->source_count + 1, sizeof *t.states);
        t.cuts = xcalloc(take->source_count + 1, sizeof *t.cuts);
        rc = take_into(&t, dir, err);
        free(t.states);
        free(t.cuts);
        buf_free(&t.merged);
        free(dir);
        env_read_end(t.env, t.txn);
    }
    env_close(t.env);
    return rc;
}
