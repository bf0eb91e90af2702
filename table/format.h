/* Bytes of a version's environment, shared by its writer (store.c) and its readers (view.c).
 * Private to table/. What the databases are for is said in store.h.
 *
 * All numbers little-endian but where a key must sort. Database "meta":
 *
 *     "format"         u32        FORMAT_VERSION
 *     "shape"          text       per table: 'w' (window table), 'h' (one with history), 'i'
 *                                 (idle rows expire) or 'p' (plain), name, newline
 *     "seq"            u64        commits so far
 *     "sealed"         u8         1
 *     "leaves"         u8         how many bits of a key's hash are zero where a leaf begins
 *     "source/" u16BE  48 bytes   next_offset i64 | event_time_max i64 | record_time_max i64
 *                                 | records u64 | dead u64 | late u64
 *     "taken/" u16BE   8 bytes    offset i64
 *                      16 x N     per table in order, then per output: digest low u64 | high u64
 *
 * "r<N>", rows of table N: the key of include/kappa/row.h -> the row's bytes, not looked into.
 *
 * "n<N>", newest window per key (window tables): source u16 BE | key columns -> window end, the 8
 * bytes as in the row's key. With history: source u16 BE | key columns | window end -> nothing, one for
 * each row.
 *
 * Of idle tables: source u16 BE | time i64 sortable | key columns -> nothing, one for each row, at the
 * time that stood in its value then: at most the time that stands there now.
 *
 * "d<N>", leaves of table N (when it has them): the ranges of its keys that begin at a key whose hash,
 * without the source, has so many zero bits, and at the start of a source. A function of the rows:
 *     a row's key, or source u16 BE alone -> digest low u64 | high u64 | rows u64, never 0
 *
 * "dead", "late": source u16 BE | offset i64 sortable | view u32 BE
 *         -> reason length u32 | value length u32 (UINT32_MAX: null) | reason | value
 *
 * "times": source u16 BE | offset i64 sortable -> the 48 bytes of "source/" as of that commit
 *
 * "outbox": source u16 BE | offset i64 sortable | output u16 BE | seq u32 BE
 *           -> the message's bytes (include/kappa/message.h)
 */
#ifndef KAPPA_TABLE_FORMAT_H
#define KAPPA_TABLE_FORMAT_H

#include "base/buf.h"
#include "table/env.h"
#include "table/store.h"
#include "table/view.h"

#define FORMAT_VERSION      3
#define FORMAT_NO_LEAVES    2 /* has no "d<N>" and gets none; all else is the same */
#define FORMAT_STATE_BYTES  48
#define FORMAT_SOURCE_BYTES (FORMAT_STATE_BYTES + 16 * STORE_DIGESTS)
#define FORMAT_SOURCE_KEY   9 /* "source/" and two bytes */
#define FORMAT_DEAD_KEY     14
#define FORMAT_DEAD_HEAD    8
#define FORMAT_OUTBOX_KEY   16
#define FORMAT_LEAF_BYTES   24
#define FORMAT_TAKEN_KEY    8 /* "taken/" and two bytes */
#define FORMAT_TIMES_KEY    10

/* Handles of one environment's databases. */
struct format_dbs {
    MDB_dbi meta;
    MDB_dbi dead;
    MDB_dbi late;
    MDB_dbi times;  /* ENV_NO_HANDLE when there is none */
    MDB_dbi outbox; /* ENV_NO_HANDLE when the version has no outputs */
    MDB_dbi rows[STORE_DIGESTS];
    MDB_dbi newest[STORE_DIGESTS]; /* ENV_NO_HANDLE for tables without an index */
    MDB_dbi leaves[STORE_DIGESTS]; /* ENV_NO_HANDLE for tables without leaves */
};

/* One leaf's value. */
struct format_leaf {
    struct digest sum;
    uint64_t rows;
};

static inline MDB_val val_of(const void *data, size_t len)
{
    /* LMDB does not write through the pointers it is given; its type just cannot say so. */
    return (MDB_val){len, (void *)(uintptr_t)data};
}

static inline bool format_has_index(const struct kappa_table_shape *table)
{
    return table->windowed || table->idle;
}

/* The order of keys in "r<N>" and "n<N>": LMDB's own (by bytes, then by length), found word by word: a read
 * compares a dozen keys in each partition. */
int format_key_order(const MDB_val *a, const MDB_val *b);

/* Opens the handles in txn, making the databases when `create`. A code of LMDB. The caller holds
 * env_handles_lock until the transaction has ended. */
int format_dbs_open(MDB_txn *txn, const struct kappa_table_shape *tables, uint32_t table_count,
                    bool create, struct format_dbs *out);

/* Opens the handles of an environment that is there, and checks format and shape: NOT_FOUND when
 * nothing was ever committed, REFUSED for another format version, CORRUPT for other tables. */
int format_open(struct env *env, const struct kappa_table_shape *tables, uint32_t table_count,
                struct format_dbs *out, struct err *err) must_check;

/* The text under "shape". */
void format_shape(const struct kappa_table_shape *tables, uint32_t table_count, struct buf *text);

void format_source_key(uint8_t *key, uint32_t source);
/* Returns the length written: FORMAT_STATE_BYTES + 16 * count. count: tables and outputs. */
size_t format_source_encode(uint8_t *bytes, const struct store_source *source, uint32_t count);
/* False when the length is wrong. count: digests there must be at least. */
bool format_source_decode(const uint8_t *bytes, size_t len, uint32_t count,
                          struct store_source *out);
/* As if nothing had been read: zeros and KAPPA_NO_TIME. */
void format_source_zero(struct store_source *out);

void format_leaf_encode(uint8_t *bytes, const struct format_leaf *leaf);
/* False when the length is wrong. */
bool format_leaf_decode(const MDB_val *value, struct format_leaf *out);

void format_outbox_key(uint8_t *key, uint32_t source, int64_t offset, uint32_t output,
                       uint32_t seq);

void format_taken_key(uint8_t *key, uint32_t source);
void format_times_key(uint8_t *key, uint32_t source, int64_t offset);

void format_dead_key(uint8_t *key, uint32_t source, int64_t offset, uint32_t view);
/* False when it does not add up. */
bool format_dead_decode(const MDB_val *key, const MDB_val *value, struct view_dead *out);

#endif
