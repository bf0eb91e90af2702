/* What was found in topics, in an environment of its own. Own header: ledger.h.
 *
 *     input u32 BE | offset u64 BE | output u32 BE | seq u32 BE | topic u32 BE | hash of the key 16
 *     -> partition u32 LE | retracted u8 | key is null u8 | 0 0 | time i64 LE | content low u64 LE, high
 *        u64 LE | key
 *
 * The hash stands for the key, which may be longer than a key of LMDB. What is put gathers in memory, and
 * goes into the environment in one transaction, which is made again when the map had to grow. */
#include "table/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "include/kappa/record.h"
#include "table/env.h"

#define LEDGER_MAGIC  0x7267644cU /* "Ldgr" */
#define KEY_BYTES     40
#define HEAD_BYTES    32
#define PENDING_BYTES ((size_t)4 << 20)

struct ledger {
    uint32_t magic;
    struct env *env;
    MDB_dbi dbi;
    struct buf pending; /* key | length of the value u32 | value */
};

struct ledger_cursor {
    struct ledger *ledger;
    MDB_txn *txn;
    MDB_cursor *cursor;
    uint32_t input;
};

int ledger_open(const char *dir, struct ledger **out, struct err *err)
{
    struct ledger *ledger = xcalloc(1, sizeof *ledger);
    ledger->magic = LEDGER_MAGIC;
    int rc = file_make_dir(dir, err);
    rc = rc == 0 ? env_open(dir, true, 0, &ledger->env, err) : rc;
    if (rc == 0) {
        env_set_nosync(ledger->env, true);
        rc = env_open_only(ledger->env, &ledger->dbi, err);
    }
    if (rc != 0) {
        ledger_close(ledger);
        return rc;
    }
    *out = ledger;
    return 0;
}

void ledger_close(struct ledger *ledger)
{
    if (ledger == NULL) {
        return;
    }
    MAGIC_ASSERT(ledger, LEDGER_MAGIC);
    if (ledger->env != NULL) {
        env_close(ledger->env);
    }
    buf_free(&ledger->pending);
    ledger->magic = 0;
    free(ledger);
}

/* ---- Writing */

static void key_append(struct buf *out, const struct ledger_entry *entry)
{
    bool null = entry->key_len == KAPPA_NULL_LEN;
    struct digest hash = hash_content(null ? NULL : entry->key, null ? 0 : entry->key_len);
    uint8_t key[KEY_BYTES];
    store_u32_be(key, entry->input);
    store_u64_be(key + 4, (uint64_t)entry->offset);
    store_u32_be(key + 12, entry->output);
    store_u32_be(key + 16, entry->seq);
    store_u32_be(key + 20, entry->topic);
    store_u64_be(key + 24, null ? 0 : hash.high);
    store_u64_be(key + 32, null ? 0 : hash.low);
    buf_append(out, key, sizeof key);
}

int ledger_put(struct ledger *ledger, const struct ledger_entry *entry, struct err *err)
{
    MAGIC_ASSERT(ledger, LEDGER_MAGIC);
    ASSERT_CMP(entry->offset, >=, 0);
    bool null = entry->key_len == KAPPA_NULL_LEN;
    struct buf *out = &ledger->pending;
    key_append(out, entry);
    buf_append_u32_le(out, HEAD_BYTES + (null ? 0 : entry->key_len));
    buf_append_u32_le(out, entry->partition);
    buf_append_u8(out, entry->retracted ? 1 : 0);
    buf_append_u8(out, null ? 1 : 0);
    buf_append_u8(out, 0);
    buf_append_u8(out, 0);
    buf_append_u64_le(out, (uint64_t)entry->time_ms);
    buf_append_u64_le(out, entry->content.low);
    buf_append_u64_le(out, entry->content.high);
    buf_append(out, entry->key, null ? 0 : entry->key_len);
    return out->len >= PENDING_BYTES ? ledger_flush(ledger, err) : 0;
}

/* AGAIN: the map has grown meanwhile. */
static int flush_once(struct ledger *ledger, struct err *err)
{
    MDB_txn *txn = NULL;
    int rc = env_write_begin(ledger->env, &txn, err);
    for (size_t at = 0; rc == 0 && at < ledger->pending.len;) {
        uint8_t *bytes = ledger->pending.data + at;
        size_t len = load_u32_le(bytes + KEY_BYTES);
        MDB_val key = {KEY_BYTES, bytes};
        MDB_val value = {len, bytes + KEY_BYTES + 4};
        int put = mdb_put(txn, ledger->dbi, &key, &value, 0);
        if (put != 0) {
            return env_write_failed(ledger->env, txn, put, "cannot keep what was found", err);
        }
        at += KEY_BYTES + 4 + len;
    }
    return rc == 0 ? env_write_commit(ledger->env, txn, "cannot keep what was found", err) : rc;
}

int ledger_flush(struct ledger *ledger, struct err *err)
{
    MAGIC_ASSERT(ledger, LEDGER_MAGIC);
    int rc = 0;
    do {
        rc = flush_once(ledger, err);
    } while (rc == -KE_AGAIN);
    buf_reset(&ledger->pending);
    return rc;
}

/* ---- Reading */

static bool entry_decode(const MDB_val *key, const MDB_val *value, struct ledger_entry *entry)
{
    const uint8_t *k = key->mv_data;
    const uint8_t *v = value->mv_data;
    if (key->mv_size != KEY_BYTES || value->mv_size < HEAD_BYTES) {
        return false;
    }
    bool null = v[5] != 0;
    *entry = (struct ledger_entry){
        .input = load_u32_be(k),
        .offset = (int64_t)load_u64_be(k + 4),
        .output = load_u32_be(k + 12),
        .seq = load_u32_be(k + 16),
        .topic = load_u32_be(k + 20),
        .key = null ? NULL : v + HEAD_BYTES,
        .key_len = null ? KAPPA_NULL_LEN : (uint32_t)(value->mv_size - HEAD_BYTES),
        .partition = load_u32_le(v),
        .retracted = v[4] != 0,
        .time_ms = (int64_t)load_u64_le(v + 8),
        .content = {.low = load_u64_le(v + 16), .high = load_u64_le(v + 24)},
    };
    return true;
}

static int cursor_get(const struct ledger_cursor *cursor, MDB_val *key, MDB_cursor_op op,
                      struct ledger_entry *entry, struct err *err)
{
    MDB_val value;
    int rc = mdb_cursor_get(cursor->cursor, key, &value, op);
    if (rc == 0 && !entry_decode(key, &value, entry)) {
        rc = MDB_CORRUPTED;
    }
    if (rc == 0) {
        return entry->input == cursor->input ? 1 : 0;
    }
    return rc == MDB_NOTFOUND
               ? 0
               : env_error(cursor->ledger->env, rc, "cannot read what was found", err);
}

int ledger_cursor_open(struct ledger *ledger, uint32_t input, struct ledger_cursor **out,
                       struct ledger_entry *entry, struct err *err)
{
    MAGIC_ASSERT(ledger, LEDGER_MAGIC);
    ASSERT(ledger->pending.len == 0);
    struct ledger_cursor *cursor = xcalloc(1, sizeof *cursor);
    cursor->ledger = ledger;
    cursor->input = input;
    *out = NULL;
    int rc = env_read_begin(ledger->env, &cursor->txn, err);
    if (rc != 0) {
        free(cursor);
        return rc;
    }
    rc = mdb_cursor_open(cursor->txn, ledger->dbi, &cursor->cursor);
    if (rc != 0) {
        rc = env_error(ledger->env, rc, "cannot read what was found", err);
    } else {
        uint8_t first[4];
        store_u32_be(first, input);
        MDB_val key = {sizeof first, first};
        rc = cursor_get(cursor, &key, MDB_SET_RANGE, entry, err);
    }
    if (rc != 1) {
        ledger_cursor_close(cursor);
        return rc;
    }
    *out = cursor;
    return 1;
}

int ledger_cursor_next(struct ledger_cursor *cursor, struct ledger_entry *entry, struct err *err)
{
    MDB_val key;
    return cursor_get(cursor, &key, MDB_NEXT, entry, err);
}

void ledger_cursor_close(struct ledger_cursor *cursor)
{
    if (cursor != NULL) {
        if (cursor->cursor != NULL) {
            mdb_cursor_close(cursor->cursor);
        }
        env_read_end(cursor->ledger->env, cursor->txn);
        free(cursor);
    }
}
