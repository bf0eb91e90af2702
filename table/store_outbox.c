/* The outbox as its writer sees it: messages come in with a commit and go when they are no longer
 * needed. Own header: store_inner.h; bytes: format.h; readers: outbox.h.
 *
 * The digest of an output adds every message once, when it comes, and does not follow what is taken
 * away: so it says what a version has made up to a cut, whether or not it was sent. */
#include "table/store_inner.h"

#include <string.h>

/* Seeds of digest_row: apart from those of tables, and the same in each definition. */
#define OUTPUT_SEED 0x10000U

static int outbox_ready(struct store *store)
{
    ASSERT(store->txn != NULL);
    if (store->outbox != NULL) {
        return 0;
    }
    return mdb_cursor_open(store->txn, store->dbs.outbox, &store->outbox);
}

int store_outbox_put(void *ctx, uint32_t output, uint32_t source, int64_t offset, uint32_t seq,
                     const uint8_t *message, size_t len, struct err *err)
{
    struct store *store = ctx;
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT_CMP(output, <, store->output_count);
    uint8_t key[FORMAT_OUTBOX_KEY];
    format_outbox_key(key, source, offset, output, seq);
    MDB_val k = val_of(key, sizeof key);
    MDB_val v = val_of(message, len);
    int rc = outbox_ready(store);
    if (rc == 0) {
        rc = mdb_cursor_put(store->outbox, &k, &v, MDB_NOOVERWRITE);
        ASSERT_CMP(rc, !=, MDB_KEYEXIST); /* the processor names each message once */
    }
    if (rc != 0) {
        return store_fail(store, rc, "cannot write to the outbox", err);
    }
    struct store_slot *slot = store_slot_touch(store, source);
    digest_add(&slot->next.digests[store->table_count + output],
               digest_row(OUTPUT_SEED + output, key, sizeof key, message, len));
    slot->outbox_next++;
    return 0;
}

/* Deletes from the oldest on. A code of LMDB. */
static int trim(struct store *store, struct store_slot *slot, const uint8_t *limit, uint64_t keep,
                uint64_t most, uint64_t *gone)
{
    uint8_t first[FORMAT_OUTBOX_KEY];
    format_outbox_key(first, slot->source, INT64_MIN, 0, 0);
    MDB_val key = val_of(first, sizeof first);
    MDB_val value;
    int rc = mdb_cursor_get(store->outbox, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && *gone < most && slot->outbox_next > keep) {
        if (key.mv_size != FORMAT_OUTBOX_KEY) {
            return MDB_CORRUPTED;
        }
        if (memcmp(key.mv_data, limit, FORMAT_OUTBOX_KEY) >= 0) {
            return 0;
        }
        rc = mdb_cursor_del(store->outbox, 0);
        if (rc == 0) {
            slot->outbox_next--;
            (*gone)++;
            rc = mdb_cursor_get(store->outbox, &key, &value, MDB_NEXT); /* behind the deleted */
        }
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_outbox_trim(struct store *store, uint32_t source, int64_t below, uint64_t keep,
                      uint64_t most, uint64_t *gone, struct err *err)
{
    MAGIC_ASSERT(store, STORE_MAGIC);
    ASSERT(store->txn != NULL);
    *gone = 0;
    if (store->output_count == 0 || store_slot_of(store, source)->outbox_now <= keep) {
        return 0;
    }
    uint8_t limit[FORMAT_OUTBOX_KEY];
    format_outbox_key(limit, source, below, 0, 0);
    int rc = outbox_ready(store);
    if (rc == 0) {
        rc = trim(store, store_slot_touch(store, source), limit, keep, most, gone);
    }
    return rc == 0 ? 0 : store_fail(store, rc, "cannot trim the outbox", err);
}

uint64_t store_outbox_rows(const struct store *store, uint32_t source)
{
    ASSERT_CMP(source, <, LIMIT_SOURCES);
    return store->slots[source] == NULL ? 0 : store->slots[source]->outbox_now;
}

/* A code of LMDB. */
static int count(struct store *store, MDB_txn *txn)
{
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, store->dbs.outbox, &cursor);
    if (rc != 0) {
        return rc;
    }
    MDB_val key;
    MDB_val value;
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (rc == 0) {
        uint32_t source = key.mv_size == FORMAT_OUTBOX_KEY ? load_u16_be(key.mv_data) : UINT32_MAX;
        if (source >= LIMIT_SOURCES) {
            rc = MDB_CORRUPTED;
            break;
        }
        store_slot_of(store, source)->outbox_now++;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_outbox_count(struct store *store, struct err *err)
{
    MDB_txn *txn = NULL;
    if (store->output_count == 0) {
        return 0;
    }
    if (store->dbs.outbox == ENV_NO_HANDLE) {
        return err_set(err, KE_CORRUPT, "%s has no outbox, its definition has outputs",
                       env_dir(store->env));
    }
    int rc = env_read_begin(store->env, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = count(store, txn);
    env_read_end(store->env, txn);
    return rc == 0 ? 0 : env_error(store->env, rc, "cannot count its outbox", err);
}
