/* Reading a version's outbox. Own header: outbox.h; bytes: format.h. */
#include "table/outbox.h"

#include "base/limits.h"
#include "table/format.h"

#include <stdlib.h>

#define OUTBOX_MAGIC 0x786f624fU /* "Obox" */

struct outbox_shard {
    struct env *env;
    MDB_dbi meta;
    MDB_dbi rows; /* ENV_NO_HANDLE: the version has no outputs */
    MDB_txn *txn; /* of the snapshot, or NULL */
};

struct outbox {
    uint32_t magic;
    uint32_t shard_count;
    struct outbox_shard shards[];
};

/* The caller holds env_handles_lock. */
static int open_handles(struct outbox_shard *shard, struct err *err)
{
    MDB_txn *txn = NULL;
    int rc = env_read_begin(shard->env, &txn, err);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_dbi_open(txn, "meta", 0, &shard->meta);
    if (rc != 0) {
        env_read_end(shard->env, txn);
        return rc == MDB_NOTFOUND
                   ? err_set(err, KE_NOT_FOUND, "%s holds nothing yet", env_dir(shard->env))
                   : env_error(shard->env, rc, "cannot open its outbox", err);
    }
    rc = mdb_dbi_open(txn, "outbox", 0, &shard->rows);
    if (rc == MDB_NOTFOUND) {
        shard->rows = ENV_NO_HANDLE;
        rc = 0;
    }
    if (rc != 0) {
        env_read_end(shard->env, txn);
        return env_error(shard->env, rc, "cannot open its outbox", err);
    }
    return env_read_commit(shard->env, txn, err);
}

int outbox_open(const char *dir, uint32_t shards, struct outbox **out, struct err *err)
{
    ASSERT_CMP(shards, >, 0);
    ASSERT_CMP(shards, <=, LIMIT_SHARDS);
    struct outbox *outbox = xcalloc(1, sizeof *outbox + shards * sizeof outbox->shards[0]);
    outbox->magic = OUTBOX_MAGIC;
    int rc = 0;
    for (uint32_t i = 0; i < shards && rc == 0; i++) {
        struct outbox_shard *shard = &outbox->shards[i];
        char *path = xasprintf("%s/%u", dir, i);
        rc = env_open(path, false, 0, &shard->env, err);
        free(path);
        if (rc == 0) {
            outbox->shard_count++;
            env_handles_lock(shard->env);
            rc = open_handles(shard, err);
            env_handles_unlock(shard->env);
        }
    }
    if (rc != 0) {
        outbox_close(outbox);
        return rc;
    }
    *out = outbox;
    return 0;
}

void outbox_close(struct outbox *outbox)
{
    if (outbox == NULL) {
        return;
    }
    MAGIC_ASSERT(outbox, OUTBOX_MAGIC);
    outbox_end(outbox);
    for (uint32_t i = 0; i < outbox->shard_count; i++) {
        env_close(outbox->shards[i].env);
    }
    outbox->magic = 0;
    free(outbox);
}

int outbox_begin(struct outbox *outbox, struct err *err)
{
    MAGIC_ASSERT(outbox, OUTBOX_MAGIC);
    for (uint32_t i = 0; i < outbox->shard_count; i++) {
        struct outbox_shard *shard = &outbox->shards[i];
        ASSERT(shard->txn == NULL);
        int rc = env_read_begin(shard->env, &shard->txn, err);
        if (rc != 0) {
            shard->txn = NULL;
            outbox_end(outbox);
            return rc;
        }
    }
    return 0;
}

void outbox_end(struct outbox *outbox)
{
    MAGIC_ASSERT(outbox, OUTBOX_MAGIC);
    for (uint32_t i = 0; i < outbox->shard_count; i++) {
        struct outbox_shard *shard = &outbox->shards[i];
        if (shard->txn != NULL) {
            env_read_end(shard->env, shard->txn);
            shard->txn = NULL;
        }
    }
}

static struct outbox_shard *shard_of(struct outbox *outbox, uint32_t source)
{
    MAGIC_ASSERT(outbox, OUTBOX_MAGIC);
    struct outbox_shard *shard = &outbox->shards[source % outbox->shard_count];
    ASSERT(shard->txn != NULL);
    return shard;
}

int outbox_position(struct outbox *outbox, uint32_t source, int64_t *next_offset, struct err *err)
{
    struct outbox_shard *shard = shard_of(outbox, source);
    uint8_t bytes[FORMAT_SOURCE_KEY];
    format_source_key(bytes, source);
    MDB_val key = val_of(bytes, sizeof bytes);
    MDB_val value;
    struct store_source found;
    int rc = mdb_get(shard->txn, shard->meta, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return 0;
    }
    if (rc == 0 && !format_source_decode(value.mv_data, value.mv_size, 0, &found)) {
        rc = MDB_CORRUPTED;
    }
    if (rc != 0) {
        return env_error(shard->env, rc, "cannot read a position", err);
    }
    *next_offset = found.state.next_offset;
    return 1;
}

static bool row_decode(const MDB_val *key, const MDB_val *value, struct outbox_row *row)
{
    const uint8_t *at = key->mv_data;
    if (key->mv_size != FORMAT_OUTBOX_KEY) {
        return false;
    }
    *row = (struct outbox_row){
        .source = load_u16_be(at),
        .offset = load_i64_sortable(at + 2),
        .output = load_u16_be(at + 10),
        .seq = load_u32_be(at + 12),
        .message = value->mv_data,
        .len = value->mv_size,
    };
    return true;
}

struct outbox_cursor {
    struct outbox_shard *shard;
    MDB_cursor *cursor;
    uint32_t source;
};

/* 1 with a row of this source, 0 when it has no more. */
static int cursor_get(const struct outbox_cursor *cursor, MDB_val *key, MDB_cursor_op op,
                      struct outbox_row *row, struct err *err)
{
    MDB_val value;
    int rc = mdb_cursor_get(cursor->cursor, key, &value, op);
    if (rc == 0 && !row_decode(key, &value, row)) {
        rc = MDB_CORRUPTED;
    }
    if (rc == 0) {
        return row->source == cursor->source ? 1 : 0;
    }
    return rc == MDB_NOTFOUND ? 0
                              : env_error(cursor->shard->env, rc, "cannot read its outbox", err);
}

int outbox_cursor_open(struct outbox *outbox, uint32_t source, int64_t from_offset,
                       struct outbox_cursor **out, struct outbox_row *row, struct err *err)
{
    struct outbox_cursor cursor = {.shard = shard_of(outbox, source), .source = source};
    uint8_t first[FORMAT_OUTBOX_KEY];
    MDB_stat st;
    *out = NULL;
    if (cursor.shard->rows == ENV_NO_HANDLE) {
        return 0;
    }
    int rc = mdb_stat(cursor.shard->txn, cursor.shard->rows, &st);
    if (rc == 0 && st.ms_entries == 0) {
        return 0; /* as most of the time: nothing is waiting */
    }
    rc = rc == 0 ? mdb_cursor_open(cursor.shard->txn, cursor.shard->rows, &cursor.cursor) : rc;
    if (rc != 0) {
        return env_error(cursor.shard->env, rc, "cannot read its outbox", err);
    }
    format_outbox_key(first, source, from_offset, 0, 0);
    MDB_val key = val_of(first, sizeof first);
    rc = cursor_get(&cursor, &key, MDB_SET_RANGE, row, err);
    if (rc != 1) {
        mdb_cursor_close(cursor.cursor);
        return rc;
    }
    *out = xmalloc(sizeof cursor);
    **out = cursor;
    return 1;
}

int outbox_cursor_next(struct outbox_cursor *cursor, struct outbox_row *row, struct err *err)
{
    MDB_val key;
    return cursor_get(cursor, &key, MDB_NEXT, row, err);
}

void outbox_cursor_close(struct outbox_cursor *cursor)
{
    if (cursor != NULL) {
        mdb_cursor_close(cursor->cursor);
        free(cursor);
    }
}

int outbox_each(struct outbox *outbox, uint32_t source, int64_t from_offset,
                bool (*fn)(void *ctx, const struct outbox_row *row), void *ctx, struct err *err)
{
    struct outbox_cursor *cursor;
    struct outbox_row row;
    int rc = outbox_cursor_open(outbox, source, from_offset, &cursor, &row, err);
    while (rc == 1 && fn(ctx, &row)) {
        rc = outbox_cursor_next(cursor, &row, err);
    }
    outbox_cursor_close(cursor);
    return rc < 0 ? rc : 0;
}
