/* The sink of a commit: rows, the newest-window index, dead records, and the digests that follow
 * each byte replaced and written. Own header: store_inner.h.
 *
 * Keys come in ascending order, so a cursor per table finds most of them on the page it stands on.
 * Keys above the database's last one are appended, which skips the search and fills pages; that is
 * the rule for closed windows and for append tables.
 *
 * The digests, of the table and of the leaf that the row lies in, follow without a second look: an
 * inserted row adds its hash; a replaced one takes the old hash away first; an expired or deleted one
 * takes its hash away. Any failure drops the transaction and
 * with it all of this.
 */
#include "table/store_inner.h"

#include <stdio.h>
#include <string.h>

#define WINDOW_AT       KAPPA_KEY_SOURCE_BYTES /* of the window end in a key */
#define IDLE_TIME_BYTES 8                      /* at the start of an idle table's values */
#define COLUMNS_AT      (KAPPA_KEY_SOURCE_BYTES + KAPPA_KEY_WINDOW_BYTES) /* of a window row's columns */

static int rows_fail(struct store *store, int rc, uint32_t table, const char *what, struct err *err)
{
    char text[LIMIT_NAME_LEN + 64];
    (void)snprintf(text, sizeof text, "cannot %s table %s", what, store->tables[table].shape.name);
    return store_fail(store, rc, text, err);
}

/* Opens the cursor and learns the last key, once per table and transaction. */
static int table_ready(struct store *store, uint32_t table)
{
    struct store_table *t = &store->tables[table];
    if (t->last_known) {
        return 0;
    }
    int rc = mdb_cursor_open(store->txn, store->dbs.rows[table], &t->rows);
    if (rc == 0 && format_has_index(&t->shape)) {
        rc = mdb_cursor_open(store->txn, store->dbs.newest[table], &t->newest);
    }
    if (rc == 0 && t->leaf_dbi != ENV_NO_HANDLE) {
        rc = mdb_cursor_open(store->txn, t->leaf_dbi, &t->leaves);
    }
    if (rc != 0) {
        return rc;
    }
    MDB_val key;
    MDB_val value;
    rc = mdb_cursor_get(t->rows, &key, &value, MDB_LAST);
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    t->empty = rc == MDB_NOTFOUND;
    t->last_len = 0;
    if (!t->empty) {
        ASSERT_CMP(key.mv_size, <=, sizeof t->last);
        memcpy(t->last, key.mv_data, key.mv_size);
        t->last_len = key.mv_size;
    }
    t->last_known = true;
    return 0;
}

/* Rows deleted since make `last` too large, never too small: then a key is not appended although it
 * might be, which is only slower. */
static bool above_last(const struct store_table *t, const uint8_t *key, size_t key_len)
{
    if (t->empty) {
        return true;
    }
    size_t common = key_len < t->last_len ? key_len : t->last_len;
    int order = memcmp(key, t->last, common);
    return order > 0 || (order == 0 && key_len > t->last_len);
}

/* The key of the history index for a row's key: source, key columns, window end. */
static MDB_val history_key(uint8_t *bytes, const uint8_t *key, size_t key_len)
{
    memcpy(bytes, key, KAPPA_KEY_SOURCE_BYTES);
    memcpy(bytes + KAPPA_KEY_SOURCE_BYTES, key + COLUMNS_AT, key_len - COLUMNS_AT);
    memcpy(bytes + key_len - KAPPA_KEY_WINDOW_BYTES, key + WINDOW_AT, KAPPA_KEY_WINDOW_BYTES);
    return val_of(bytes, key_len);
}

static struct digest hash_of(uint32_t table, const MDB_val *key, const MDB_val *value)
{
    return digest_row(table, key->mv_data, key->mv_size, value->mv_data, value->mv_size);
}

/* Overwrites or inserts; *hash: of the old row. */
static int replace(struct store_table *t, uint32_t table, MDB_val *key, MDB_val *value,
                   struct digest *hash, bool *inserted)
{
    MDB_val old;
    int rc = mdb_cursor_get(t->rows, key, &old, MDB_SET);
    if (rc == 0) {
        *inserted = false;
        *hash = hash_of(table, key, &old);
        return mdb_cursor_put(t->rows, key, value, MDB_CURRENT);
    }
    return rc == MDB_NOTFOUND ? mdb_cursor_put(t->rows, key, value, 0) : rc;
}

/* The digests of a row that was put. */
static int note_put(struct store *store, uint32_t table, const MDB_val *key, const MDB_val *value,
                    const struct digest *old, bool is_last)
{
    struct digest *sum = &store_slot_touch(store, load_u16_be(key->mv_data))->next.digests[table];
    struct digest hash = hash_of(table, key, value);
    digest_add(sum, hash);
    if (old == NULL) {
        return store_leaf_insert(store, &store->tables[table], key, hash, is_last);
    }
    digest_remove(sum, *old);
    return store_leaf_replace(store, &store->tables[table], key, *old, hash);
}

/* The digests of a row that is gone. key: a copy of its. */
static int note_gone(struct store *store, uint32_t table, const uint8_t *key, size_t key_len,
                     struct digest hash)
{
    MDB_val k = val_of(key, key_len);
    digest_remove(&store_slot_touch(store, load_u16_be(key))->next.digests[table], hash);
    return store_leaf_remove(store, &store->tables[table], &k, hash);
}

/* The key of the newest-window index for a row's key. */
static MDB_val newest_key(uint8_t *bytes, const uint8_t *key, size_t key_len)
{
    memcpy(bytes, key, KAPPA_KEY_SOURCE_BYTES);
    memcpy(bytes + KAPPA_KEY_SOURCE_BYTES, key + COLUMNS_AT, key_len - COLUMNS_AT);
    return val_of(bytes, key_len - KAPPA_KEY_WINDOW_BYTES);
}

/* A row was inserted: its window may be the newest of its key. */
static int newest_raise(struct store_table *t, const uint8_t *key, size_t key_len)
{
    uint8_t bytes[LIMIT_TABLE_KEY_LEN];
    if (t->shape.history) {
        MDB_val all = history_key(bytes, key, key_len);
        MDB_val nothing = val_of("", 0);
        return mdb_cursor_put(t->newest, &all, &nothing, 0);
    }
    MDB_val k = newest_key(bytes, key, key_len);
    MDB_val old;
    MDB_val end = val_of(key + WINDOW_AT, KAPPA_KEY_WINDOW_BYTES);
    int rc = mdb_cursor_get(t->newest, &k, &old, MDB_SET);
    if (rc == MDB_NOTFOUND) {
        return mdb_cursor_put(t->newest, &k, &end, 0);
    }
    if (rc != 0) {
        return rc;
    }
    if (old.mv_size != KAPPA_KEY_WINDOW_BYTES) {
        return MDB_CORRUPTED;
    }
    if (memcmp(old.mv_data, key + WINDOW_AT, KAPPA_KEY_WINDOW_BYTES) >= 0) {
        return 0;
    }
    return mdb_cursor_put(t->newest, &k, &end, MDB_CURRENT);
}

/* An idle table's row stands, with this value: the index says so. */
static int idle_note(struct store_table *t, const uint8_t *key, size_t key_len,
                     const uint8_t *value)
{
    uint8_t bytes[LIMIT_TABLE_KEY_LEN];
    if (key_len + IDLE_TIME_BYTES > sizeof bytes) {
        return MDB_BAD_VALSIZE;
    }
    memcpy(bytes, key, KAPPA_KEY_SOURCE_BYTES);
    memcpy(bytes + KAPPA_KEY_SOURCE_BYTES, value, IDLE_TIME_BYTES);
    memcpy(bytes + KAPPA_KEY_SOURCE_BYTES + IDLE_TIME_BYTES, key + KAPPA_KEY_SOURCE_BYTES,
           key_len - KAPPA_KEY_SOURCE_BYTES);
    MDB_val k = val_of(bytes, key_len + IDLE_TIME_BYTES);
    MDB_val nothing = val_of("", 0);
    return mdb_cursor_put(t->newest, &k, &nothing, 0);
}

static int check_sizes(struct store *store, uint32_t table, size_t key_len, size_t value_len,
                       struct err *err)
{
    if (key_len <= LIMIT_TABLE_KEY_LEN && value_len <= LIMIT_ROW_BYTES) {
        return 0;
    }
    store_abort(store);
    return err_set(err, KE_LIMIT,
                   "a row of table %s has a key of %zu and a value of %zu bytes; "
                   "%d and %d are the limits",
                   store->tables[table].shape.name, key_len, value_len, LIMIT_TABLE_KEY_LEN,
                   LIMIT_ROW_BYTES);
}

static int rows_put(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                    const uint8_t *value, size_t value_len, bool is_new, struct err *err)
{
    struct store *store = ctx;
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT(store->txn != NULL);
    ASSERT_CMP(table, <, store->table_count);
    struct store_table *t = &store->tables[table];
    ASSERT_CMP(key_len, >=, t->shape.windowed ? COLUMNS_AT : WINDOW_AT);
    ASSERT(!t->shape.idle || value_len >= IDLE_TIME_BYTES);
    int rc = check_sizes(store, table, key_len, value_len, err);
    if (rc != 0) {
        return rc;
    }
    rc = table_ready(store, table);
    if (rc != 0) {
        return rows_fail(store, rc, table, "open", err);
    }
    MDB_val k = val_of(key, key_len);
    MDB_val v = val_of(value, value_len);
    struct digest old;
    bool inserted = true;
    bool is_last = above_last(t, key, key_len);
    if (is_last) {
        rc = mdb_cursor_put(t->rows, &k, &v, MDB_APPEND);
        memcpy(t->last, key, key_len);
        t->last_len = key_len;
        t->empty = false;
    } else if (is_new) {
        rc = mdb_cursor_put(t->rows, &k, &v, MDB_NOOVERWRITE);
        ASSERT_CMP(rc, !=, MDB_KEYEXIST); /* the processor said that there is no such row */
    } else {
        rc = replace(t, table, &k, &v, &old, &inserted);
    }
    if (rc == 0) {
        k = val_of(key, key_len);
        rc = note_put(store, table, &k, &v, inserted ? NULL : &old, is_last);
    }
    if (rc == 0 && inserted && t->shape.windowed) {
        rc = newest_raise(t, key, key_len);
    } else if (rc == 0 && inserted && t->shape.idle) {
        rc = idle_note(t, key, key_len, value);
    }
    return rc == 0 ? 0 : rows_fail(store, rc, table, "write to", err);
}

/* ---- expiry */

/* The row of this key is gone. If the index says that its window was the key's newest, all older
 * ones went before it: rows expire oldest first. */
static int newest_forget(struct store_table *t, const uint8_t *key, size_t key_len)
{
    uint8_t bytes[LIMIT_TABLE_KEY_LEN];
    MDB_val k =
        t->shape.history ? history_key(bytes, key, key_len) : newest_key(bytes, key, key_len);
    MDB_val old;
    int rc = mdb_cursor_get(t->newest, &k, &old, MDB_SET);
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc; /* every key with a row has an entry */
    }
    if (t->shape.history) {
        return mdb_cursor_del(t->newest, 0);
    }
    if (old.mv_size != KAPPA_KEY_WINDOW_BYTES) {
        return MDB_CORRUPTED;
    }
    if (memcmp(old.mv_data, key + WINDOW_AT, KAPPA_KEY_WINDOW_BYTES) != 0) {
        return 0;
    }
    return mdb_cursor_del(t->newest, 0);
}

static int expire_rows(struct store *store, uint32_t table, uint32_t source,
                       const uint8_t *window_last)
{
    struct store_table *t = &store->tables[table];
    uint8_t first[KAPPA_KEY_SOURCE_BYTES];
    store_u16_be(first, u16_from(source));
    MDB_val key = val_of(first, sizeof first);
    MDB_val value;
    int rc = mdb_cursor_get(t->rows, &key, &value, MDB_SET_RANGE);
    while (rc == 0) {
        uint8_t copy[LIMIT_TABLE_KEY_LEN];
        size_t len = key.mv_size;
        if (len < COLUMNS_AT || len > sizeof copy) {
            return MDB_CORRUPTED;
        }
        memcpy(copy, key.mv_data, len); /* deleting moves what key points to */
        if (load_u16_be(copy) != source ||
            memcmp(copy + WINDOW_AT, window_last, KAPPA_KEY_WINDOW_BYTES) > 0) {
            return 0;
        }
        struct digest hash = hash_of(table, &key, &value);
        rc = mdb_cursor_del(t->rows, 0);
        if (rc == 0) {
            rc = note_gone(store, table, copy, len, hash);
        }
        if (rc == 0) {
            rc = newest_forget(t, copy, len);
        }
        if (rc == 0) {
            rc = mdb_cursor_get(t->rows, &key, &value, MDB_NEXT); /* the one behind the deleted */
        }
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The row that an entry of the index belongs to, whose time has come: it goes, or the entry moves to
 * the time that stands in it now. `entry` is a copy. */
static int idle_visit(struct store *store, uint32_t table, const uint8_t *entry, size_t len,
                      const uint8_t *time_last)
{
    struct store_table *t = &store->tables[table];
    uint8_t row[LIMIT_TABLE_KEY_LEN];
    size_t row_len = len - IDLE_TIME_BYTES;
    memcpy(row, entry, KAPPA_KEY_SOURCE_BYTES);
    memcpy(row + KAPPA_KEY_SOURCE_BYTES, entry + KAPPA_KEY_SOURCE_BYTES + IDLE_TIME_BYTES,
           row_len - KAPPA_KEY_SOURCE_BYTES);
    MDB_val key = val_of(row, row_len);
    MDB_val value;
    int rc = mdb_cursor_get(t->rows, &key, &value, MDB_SET);
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? 0 : rc; /* it was deleted by itself */
    }
    if (value.mv_size < IDLE_TIME_BYTES) {
        return MDB_CORRUPTED;
    }
    if (memcmp(value.mv_data, time_last, IDLE_TIME_BYTES) > 0) {
        return idle_note(t, row, row_len, value.mv_data);
    }
    struct digest hash = hash_of(table, &key, &value);
    rc = mdb_cursor_del(t->rows, 0);
    return rc == 0 ? note_gone(store, table, row, row_len, hash) : rc;
}

static int expire_idle(struct store *store, uint32_t table, uint32_t source,
                       const uint8_t *time_last)
{
    struct store_table *t = &store->tables[table];
    uint8_t first[KAPPA_KEY_SOURCE_BYTES];
    store_u16_be(first, u16_from(source));
    for (;;) {
        MDB_val key = val_of(first, sizeof first);
        MDB_val value;
        uint8_t copy[LIMIT_TABLE_KEY_LEN];
        int rc = mdb_cursor_get(t->newest, &key, &value, MDB_SET_RANGE);
        if (rc != 0) {
            return rc == MDB_NOTFOUND ? 0 : rc;
        }
        size_t len = key.mv_size;
        if (len < KAPPA_KEY_SOURCE_BYTES + IDLE_TIME_BYTES || len > sizeof copy) {
            return MDB_CORRUPTED;
        }
        memcpy(copy, key.mv_data, len);
        if (load_u16_be(copy) != source ||
            memcmp(copy + KAPPA_KEY_SOURCE_BYTES, time_last, IDLE_TIME_BYTES) > 0) {
            return 0;
        }
        rc = mdb_cursor_del(t->newest, 0);
        if (rc == 0) {
            rc = idle_visit(store, table, copy, len, time_last);
        }
        if (rc != 0) {
            return rc;
        }
    }
}

static int rows_expire(void *ctx, uint32_t table, uint32_t source, int64_t window_end,
                       struct err *err)
{
    struct store *store = ctx;
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT(store->txn != NULL);
    ASSERT_CMP(table, <, store->table_count);
    struct store_table *t = &store->tables[table];
    ASSERT(format_has_index(&t->shape));
    int rc = table_ready(store, table);
    if (rc == 0) {
        uint8_t window_last[KAPPA_KEY_WINDOW_BYTES];
        store_i64_sortable(window_last, window_end);
        rc = t->shape.idle ? expire_idle(store, table, source, window_last)
                           : expire_rows(store, table, source, window_last);
    }
    return rc == 0 ? 0 : rows_fail(store, rc, table, "expire rows of", err);
}

/* ---- single rows that go */

static int del_row(struct store *store, uint32_t table, const uint8_t *key, size_t key_len)
{
    struct store_table *t = &store->tables[table];
    MDB_val k = val_of(key, key_len);
    MDB_val old;
    int rc = mdb_cursor_get(t->rows, &k, &old, MDB_SET);
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    struct digest hash = hash_of(table, &k, &old);
    rc = mdb_cursor_del(t->rows, 0);
    if (rc == 0) {
        rc = note_gone(store, table, key, key_len, hash);
    }
    return rc == 0 && t->shape.windowed ? newest_forget(t, key, key_len) : rc;
}

static int rows_del(void *ctx, uint32_t table, const uint8_t *key, size_t key_len, struct err *err)
{
    struct store *store = ctx;
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT(store->txn != NULL);
    ASSERT_CMP(table, <, store->table_count);
    struct store_table *t = &store->tables[table];
    ASSERT(!t->shape.windowed || t->shape.history);
    ASSERT_CMP(key_len, >=, t->shape.windowed ? COLUMNS_AT : WINDOW_AT);
    ASSERT_CMP(key_len, <=, LIMIT_TABLE_KEY_LEN);
    int rc = table_ready(store, table);
    if (rc == 0) {
        rc = del_row(store, table, key, key_len);
    }
    return rc == 0 ? 0 : rows_fail(store, rc, table, "delete from", err);
}

/* ---- dead and late records */

static int keep(struct store *store, MDB_dbi dbi, uint32_t source, int64_t offset, uint32_t view,
                const char *reason, const uint8_t *value, uint32_t value_len, struct err *err)
{
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT(store->txn != NULL);
    ASSERT_CMP(source, <, LIMIT_SOURCES);
    uint32_t reason_len = u32_from(strlen(reason));
    size_t bytes_len = value_len == KAPPA_NULL_LEN ? 0 : value_len;
    uint8_t key[FORMAT_DEAD_KEY];
    format_dead_key(key, source, offset, view);
    MDB_val k = val_of(key, sizeof key);
    MDB_val room = {FORMAT_DEAD_HEAD + (size_t)reason_len + bytes_len, NULL};
    int rc = mdb_put(store->txn, dbi, &k, &room, MDB_RESERVE);
    if (rc != 0) {
        return store_fail(store, rc, "cannot keep a dead or late record", err);
    }
    uint8_t *at = room.mv_data;
    store_u32_le(at, reason_len);
    store_u32_le(at + 4, value_len);
    memcpy(at + FORMAT_DEAD_HEAD, reason, reason_len); /* NOLINT: bytes with their length */
    if (bytes_len > 0) {
        memcpy(at + FORMAT_DEAD_HEAD + reason_len, value, bytes_len);
    }
    return 0;
}

static int rows_dead(void *ctx, uint32_t source, int64_t offset, uint32_t view, const char *reason,
                     const uint8_t *value, uint32_t value_len, struct err *err)
{
    struct store *store = ctx;
    return keep(store, store->dbs.dead, source, offset, view, reason, value, value_len, err);
}

static int rows_late(void *ctx, uint32_t source, int64_t offset, uint32_t view, const char *reason,
                     const uint8_t *value, uint32_t value_len, struct err *err)
{
    struct store *store = ctx;
    return keep(store, store->dbs.late, source, offset, view, reason, value, value_len, err);
}

void store_rows_sink(struct store *store)
{
    store->sink = (struct kappa_change_sink){
        .ctx = store,
        .put = rows_put,
        .expire = rows_expire,
        .del = rows_del,
        .out = store_outbox_put,
        .dead = rows_dead,
        .late = rows_late,
    };
}
