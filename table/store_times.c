/* Where a source stood when its event time had come so far: an entry every few thousand offsets, made by
 * commits. Own header: store_inner.h; bytes: format.h.
 *
 * It is no part of the digest: where the entries lie depends on the commits, and that they are there only
 * saves reading. The largest event time of a source never falls, so entries ascend in both. */
#include "table/store_inner.h"

#include <string.h>

#define TIMES_EVERY 4096 /* offsets */

int store_times_write(struct store *store)
{
    int rc = 0;
    for (uint32_t i = 0; i < store->touched_count && rc == 0; i++) {
        struct store_slot *slot = store->touched[i];
        int64_t offset = slot->next.state.next_offset;
        bool far = slot->timed_next < 0 || offset - slot->timed_next >= TIMES_EVERY;
        if (store->dbs.times == ENV_NO_HANDLE || !far) {
            continue;
        }
        uint8_t key[FORMAT_TIMES_KEY];
        uint8_t bytes[FORMAT_SOURCE_BYTES];
        format_times_key(key, slot->source, offset);
        MDB_val k = val_of(key, sizeof key);
        MDB_val v = val_of(bytes, format_source_encode(bytes, &slot->next, 0));
        rc = mdb_put(store->txn, store->dbs.times, &k, &v, 0);
        slot->timed_next = offset;
    }
    return rc;
}

/* Stands on the last entry of the source below this offset. */
static int last_below(MDB_cursor *cursor, uint32_t source, int64_t offset, MDB_val *key,
                      MDB_val *value)
{
    uint8_t bytes[FORMAT_TIMES_KEY];
    format_times_key(bytes, source, offset);
    *key = val_of(bytes, sizeof bytes);
    int rc = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
    rc = mdb_cursor_get(cursor, key, value, rc == 0 ? MDB_PREV : MDB_LAST);
    if (rc == 0 && (key->mv_size != FORMAT_TIMES_KEY || load_u16_be(key->mv_data) != source)) {
        rc = MDB_NOTFOUND;
    }
    return rc;
}

int store_times_load(struct store *store, MDB_txn *txn)
{
    MDB_cursor *cursor = NULL;
    if (store->dbs.times == ENV_NO_HANDLE) {
        return 0;
    }
    int rc = mdb_cursor_open(txn, store->dbs.times, &cursor);
    for (uint32_t i = 0; i < LIMIT_SOURCES && rc == 0; i++) {
        MDB_val key;
        MDB_val value;
        if (store->slots[i] == NULL) {
            continue;
        }
        rc = last_below(cursor, i, INT64_MAX, &key, &value);
        if (rc == 0) {
            store->slots[i]->timed_now = load_i64_sortable((const uint8_t *)key.mv_data + 2);
        }
        rc = rc == MDB_NOTFOUND ? 0 : rc;
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    return rc;
}

int store_times_before(MDB_txn *txn, MDB_dbi times, uint32_t source, int64_t before,
                       struct kappa_source_state *out)
{
    MDB_cursor *cursor = NULL;
    int64_t offset = INT64_MAX;
    int rc = times == ENV_NO_HANDLE ? MDB_NOTFOUND : mdb_cursor_open(txn, times, &cursor);
    while (rc == 0) {
        MDB_val key;
        MDB_val value;
        rc = last_below(cursor, source, offset, &key, &value);
        if (rc != 0) {
            break;
        }
        struct store_source found;
        if (!format_source_decode(value.mv_data, value.mv_size, 0, &found)) {
            rc = MDB_CORRUPTED;
        } else if (found.state.event_time_max < before) { /* KAPPA_NO_TIME is */
            *out = found.state;
            break;
        }
        offset = load_i64_sortable((const uint8_t *)key.mv_data + 2);
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    return rc;
}
