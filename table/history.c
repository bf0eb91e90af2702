/* Searching the history index. Own header: history.h. */
#include "table/history.h"

#include "base/limits.h"

#include <string.h>

/* The window end of an entry of this key, or MDB_NOTFOUND. */
static int entry_end(const MDB_val *entry, const uint8_t *key, size_t key_len, int64_t *window_end)
{
    if (entry->mv_size != key_len + KAPPA_KEY_WINDOW_BYTES ||
        memcmp(entry->mv_data, key, key_len) != 0) {
        return MDB_NOTFOUND;
    }
    *window_end = load_i64_sortable((const uint8_t *)entry->mv_data + key_len);
    return 0;
}

static int search(MDB_txn *txn, MDB_dbi index, const uint8_t *key, size_t key_len, int64_t from,
                  bool before, int64_t *window_end)
{
    uint8_t bytes[LIMIT_TABLE_KEY_LEN];
    MDB_cursor *cursor = NULL;
    if (key_len + KAPPA_KEY_WINDOW_BYTES > sizeof bytes) {
        return MDB_NOTFOUND;
    }
    memcpy(bytes, key, key_len);
    store_i64_sortable(bytes + key_len, from);
    MDB_val k = val_of(bytes, key_len + KAPPA_KEY_WINDOW_BYTES);
    MDB_val v;
    int rc = mdb_cursor_open(txn, index, &cursor);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    if (before && (rc == 0 || rc == MDB_NOTFOUND)) {
        rc = mdb_cursor_get(cursor, &k, &v, rc == 0 ? MDB_PREV : MDB_LAST);
    }
    if (rc == 0) {
        rc = entry_end(&k, key, key_len, window_end);
    }
    mdb_cursor_close(cursor);
    return rc;
}

int history_from(MDB_txn *txn, MDB_dbi index, const uint8_t *key, size_t key_len, int64_t from,
                 int64_t *window_end)
{
    return search(txn, index, key, key_len, from, false, window_end);
}

int history_below(MDB_txn *txn, MDB_dbi index, const uint8_t *key, size_t key_len, int64_t below,
                  int64_t *window_end)
{
    return search(txn, index, key, key_len, below, true, window_end);
}
