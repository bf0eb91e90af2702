/* The "meta" database and the sources: what a commit keeps beside rows. Own header: store_inner.h.
 */
#include "table/store_inner.h"

#include <stdlib.h>
#include <string.h>

int store_meta_put(struct store *store, const char *key, const void *value, size_t len)
{
    MDB_val k = val_of(key, strlen(key));
    MDB_val v = val_of(value, len);
    return mdb_put(store->txn, store->dbs.meta, &k, &v, 0);
}

int store_meta_seq(MDB_txn *txn, const struct format_dbs *dbs, uint64_t *seq)
{
    MDB_val key = val_of("seq", 3);
    MDB_val value;
    int rc = mdb_get(txn, dbs->meta, &key, &value);
    *seq = 0;
    if (rc == 0) {
        if (value.mv_size != sizeof *seq) {
            return MDB_CORRUPTED;
        }
        *seq = load_u64_le(value.mv_data);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- slots */

struct store_slot *store_slot_of(struct store *store, uint32_t source)
{
    ASSERT_CMP(source, <, LIMIT_SOURCES);
    struct store_slot *slot = store->slots[source];
    if (slot == NULL) {
        slot = xcalloc(1, sizeof *slot);
        slot->source = source;
        slot->taken_below = -1;
        slot->timed_now = -1;
        format_source_zero(&slot->now);
        store->slots[source] = slot;
    }
    return slot;
}

struct store_slot *store_slot_touch(struct store *store, uint32_t source)
{
    ASSERT(store->txn != NULL);
    struct store_slot *slot = store_slot_of(store, source);
    if (!slot->touched) {
        slot->touched = true;
        slot->next = slot->now;
        slot->outbox_next = slot->outbox_now;
        slot->timed_next = slot->timed_now;
        store->touched[store->touched_count++] = slot;
    }
    return slot;
}

void store_slots_drop(struct store *store)
{
    for (uint32_t i = 0; i < store->touched_count; i++) {
        store->touched[i]->touched = false;
    }
    store->touched_count = 0;
}

void store_slots_adopt(struct store *store)
{
    for (uint32_t i = 0; i < store->touched_count; i++) {
        store->touched[i]->now = store->touched[i]->next;
        store->touched[i]->outbox_now = store->touched[i]->outbox_next;
        store->touched[i]->timed_now = store->touched[i]->timed_next;
        store->touched[i]->committed = true;
    }
    store_slots_drop(store);
}

void store_slots_free(struct store *store)
{
    for (uint32_t i = 0; i < LIMIT_SOURCES; i++) {
        free(store->slots[i]);
    }
}

int store_slots_write(struct store *store)
{
    int rc = 0;
    for (uint32_t i = 0; i < store->touched_count && rc == 0; i++) {
        uint8_t key[FORMAT_SOURCE_KEY];
        uint8_t bytes[FORMAT_SOURCE_BYTES];
        const struct store_slot *slot = store->touched[i];
        format_source_key(key, slot->source);
        size_t len =
            format_source_encode(bytes, &slot->next, store->table_count + store->output_count);
        MDB_val k = val_of(key, sizeof key);
        MDB_val v = val_of(bytes, len);
        rc = mdb_put(store->txn, store->dbs.meta, &k, &v, 0);
    }
    return rc;
}

/* ---- loading */

static int slots_load(struct store *store, MDB_txn *txn)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, store->dbs.meta, &cursor);
    if (rc != 0) {
        return rc;
    }
    uint8_t first[FORMAT_SOURCE_KEY];
    format_source_key(first, 0);
    MDB_val key = val_of(first, sizeof first);
    MDB_val value;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size == FORMAT_SOURCE_KEY && memcmp(key.mv_data, first, 7) == 0) {
        uint32_t source = load_u16_be((const uint8_t *)key.mv_data + 7);
        if (source >= LIMIT_SOURCES) {
            rc = MDB_CORRUPTED;
            break;
        }
        struct store_slot *slot = store_slot_of(store, source);
        if (!format_source_decode(value.mv_data, value.mv_size,
                                  store->table_count + store->output_count, &slot->now)) {
            rc = MDB_CORRUPTED;
            break;
        }
        slot->committed = true;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int taken_load(struct store *store, MDB_txn *txn)
{
    for (uint32_t i = 0; i < LIMIT_SOURCES; i++) {
        uint8_t bytes[FORMAT_TAKEN_KEY];
        MDB_val value;
        if (store->slots[i] == NULL) {
            continue;
        }
        format_taken_key(bytes, i);
        MDB_val key = val_of(bytes, sizeof bytes);
        int rc = mdb_get(txn, store->dbs.meta, &key, &value);
        if (rc == 0 && value.mv_size != 8) {
            return MDB_CORRUPTED;
        }
        if (rc == 0) {
            store->slots[i]->taken_below = (int64_t)load_u64_le(value.mv_data);
        } else if (rc != MDB_NOTFOUND) {
            return rc;
        }
    }
    return 0;
}

bool store_taken(const struct store *store, uint32_t source, int64_t *below)
{
    ASSERT_CMP(source, <, LIMIT_SOURCES);
    const struct store_slot *slot = store->slots[source];
    if (slot == NULL || slot->taken_below < 0) {
        return false;
    }
    *below = slot->taken_below;
    return true;
}

/* Those that it was made with. Environments of an older format have no leaves. */
static int leaf_bits_load(struct store *store, MDB_txn *txn)
{
    MDB_val key = val_of("leaves", 6);
    MDB_val value;
    int rc = mdb_get(txn, store->dbs.meta, &key, &value);
    if (rc == 0 && (value.mv_size != 1 || *(const uint8_t *)value.mv_data >= 64)) {
        return MDB_CORRUPTED;
    }
    if (rc == 0) {
        store->leaf_bits = *(const uint8_t *)value.mv_data;
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_meta_load(struct store *store, struct err *err)
{
    MDB_txn *txn = NULL;
    int rc = env_read_begin(store->env, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = store_meta_seq(txn, &store->dbs, &store->seq);
    if (rc == 0) {
        MDB_val key = val_of("sealed", 6);
        MDB_val value;
        rc = mdb_get(txn, store->dbs.meta, &key, &value);
        store->sealed = rc == 0;
        rc = rc == MDB_NOTFOUND ? 0 : rc;
    }
    if (rc == 0) {
        rc = leaf_bits_load(store, txn);
    }
    if (rc == 0) {
        rc = slots_load(store, txn);
    }
    if (rc == 0) {
        rc = taken_load(store, txn);
    }
    if (rc == 0) {
        rc = store_times_load(store, txn);
    }
    env_read_end(store->env, txn);
    return rc == 0 ? 0 : env_error(store->env, rc, "cannot read its meta data", err);
}
