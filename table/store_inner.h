/* The inside of a store, shared by store.c, store_rows.c and store_meta.c. Private to table/.
 *
 * Invariants between calls:
 *  1. txn == NULL: every source slot's `next` is stale, no cursor is open, `now` is what the disk
 *     holds.
 *  2. txn != NULL: slots in `touched` have a valid `next`; the others are unchanged.
 *  3. `now` and seq change only after LMDB said that the commit succeeded.
 */
#ifndef KAPPA_TABLE_STORE_INNER_H
#define KAPPA_TABLE_STORE_INNER_H

#include "base/limits.h"
#include "table/format.h"

#define STORE_MAGIC 0x6f74734bU /* "Ksto" */

/* One source: what the last commit says, and what the open transaction will. */
struct store_slot {
    bool committed; /* `now` stands on disk */
    bool touched;   /* `next` is valid, and the slot is in store->touched */
    uint32_t source;
    struct store_source now;
    struct store_source next;
    uint64_t outbox_now; /* messages in the outbox */
    uint64_t outbox_next;
    int64_t timed_now; /* the newest entry of "times"; its start when there is none */
    int64_t timed_next;
    int64_t taken_below; /* -1: nothing was taken over */
};

/* The leaf that the open transaction is in: [low, high). */
struct store_leaf {
    bool at_hand;
    bool changed;             /* since it was read or written */
    struct format_leaf holds; /* with all changes */
    size_t low_len;
    size_t high_len; /* 0: to the end of the source */
    uint8_t low[LIMIT_TABLE_KEY_LEN];
    uint8_t high[LIMIT_TABLE_KEY_LEN];
};

/* One table within the open transaction. */
struct store_table {
    struct kappa_table_shape shape; /* name is owned */
    MDB_dbi leaf_dbi;               /* or ENV_NO_HANDLE */
    uint32_t index;
    MDB_cursor *rows;   /* of txn, or NULL */
    MDB_cursor *newest; /* of txn, or NULL */
    MDB_cursor *leaves; /* of txn, or NULL */
    struct store_leaf leaf;
    bool last_known; /* last holds the database's greatest key; */
    bool empty;      /* ... unless there is none */
    size_t last_len;
    uint8_t last[LIMIT_TABLE_KEY_LEN];
};

struct store {
    uint32_t magic;
    int lock_fd; /* flock on the directory: one writer; -1 when not held */
    struct env *env;
    struct format_dbs dbs;
    uint32_t table_count;
    uint32_t output_count;
    struct store_table tables[STORE_DIGESTS];
    MDB_cursor *outbox; /* of txn, or NULL */
    uint32_t leaf_bits; /* a leaf begins at keys whose hash ends in so many zero bits */
    bool sealed;
    bool has_rows;
    uint64_t seq;        /* of the last commit */
    uint64_t used_bytes; /* pages in use as of the last commit */
    MDB_txn *txn;        /* the open write transaction, or NULL */
    MDB_txn *load_txn;   /* a read transaction at the last commit, or NULL */
    int (*fail_point)(void *ctx, const char *step);
    void *fail_ctx;
    struct kappa_change_sink sink;
    struct store_slot *slots[LIMIT_SOURCES]; /* by source; NULL: never seen */
    uint32_t touched_count;
    struct store_slot *touched[LIMIT_SOURCES];
};

/* The open transaction failed with a code of LMDB: drops it and says why. AGAIN after a full map.
 */
int store_fail(struct store *store, int rc, const char *what, struct err *err) must_check;

/* store_meta.c */
int store_meta_load(struct store *store, struct err *err) must_check;
/* Makes one when the source is new. */
struct store_slot *store_slot_of(struct store *store, uint32_t source);
struct store_slot *store_slot_touch(struct store *store, uint32_t source);
void store_slots_drop(struct store *store); /* forgets what the open transaction changed */
void store_slots_adopt(struct store *store);
void store_slots_free(struct store *store);
/* Codes of LMDB. */
int store_slots_write(struct store *store);
int store_meta_seq(MDB_txn *txn, const struct format_dbs *dbs, uint64_t *seq);
int store_meta_put(struct store *store, const char *key, const void *value, size_t len);

/* store_times.c: codes of LMDB. */
int store_times_write(struct store *store);
int store_times_load(struct store *store, MDB_txn *txn);
/* The last entry of a source whose largest event time is below `before`, in any environment with this
 * handle: MDB_NOTFOUND when there is none. */
int store_times_before(MDB_txn *txn, MDB_dbi times, uint32_t source, int64_t before,
                       struct kappa_source_state *out);

/* store_rows.c */
void store_rows_sink(struct store *store);

/* store_leaves.c: a row changed. The calls come behind the change. Codes of LMDB; nothing to do for
 * tables without leaves. */
int store_leaf_insert(struct store *store, struct store_table *t, const MDB_val *key,
                      struct digest hash, bool is_last);
int store_leaf_replace(struct store *store, struct store_table *t, const MDB_val *key,
                       struct digest old, struct digest hash);
int store_leaf_remove(struct store *store, struct store_table *t, const MDB_val *key,
                      struct digest hash);
/* Writes what is at hand: before the commit. */
int store_leaves_write(struct store *store);

/* store_outbox.c: the sink's `out`. */
int store_outbox_put(void *ctx, uint32_t output, uint32_t source, int64_t offset, uint32_t seq,
                     const uint8_t *message, size_t len, struct err *err);
/* Counts the messages that are there, at open. */
int store_outbox_count(struct store *store, struct err *err) must_check;

#endif
