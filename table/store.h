/* STATE: the LMDB environment of one version and shard, as its one writer sees it. (Readers: see
 * view.h.)
 *
 *     store_open -> [store_load...] -> store_begin -> sink calls -> store_commit -> ...
 *                -> store_seal (once) -> ... -> store_close
 *
 * One commit changes rows, newest-window index, dead and late records, source states and digests in ONE
 * transaction. When the map is full, the sink or commit returns AGAIN: the transaction is gone, the
 * map has grown, and the caller begins again and repeats the flush. After any other error of a sink
 * call or of store_commit the transaction is gone as well, and the last commit stands; after
 * DISK_FULL the caller may begin again when there is room.
 *
 * Databases of an environment (bytes: format.h):
 *
 *     meta    "format", "shape", "seq" (+1 per commit), "sealed",
 *             "source/" u16 BE     state and digests of a source: struct store_source
 *             "taken/" u16 BE      of a version that took windows over: up to which offset (copy.h)
 *     r<N>    rows of table N, key as in include/kappa/row.h
 *     n<N>    newest window of a key (window tables): source u16 BE, key columns -> window end;
 *             with history: source u16 BE, key columns, window end -> nothing, for every row
 *             idle tables: source u16 BE, time i64 sortable, key columns -> nothing, for every row
 *     d<N>    leaves of table N: digests of ranges of its keys (store_leaves.c)
 *     dead    source u16 BE, offset i64 sortable, view u32 BE -> reason, bytes
 *     late    the same, of records that came behind their window and are kept
 *     times   source u16 BE, offset i64 sortable -> state of the source there; one every few thousand
 *             offsets (of environments with windows; older ones have none)
 *     outbox  messages for topics, of versions that have outputs: see outbox.h
 */
#ifndef KAPPA_TABLE_STORE_H
#define KAPPA_TABLE_STORE_H

#include "base/digest.h"
#include "base/err.h"
#include "include/kappa/record.h"
#include "include/kappa/row.h"

#define STORE_DIGESTS 64 /* tables and outputs: LIMIT_VIEWS of each */

struct store;

/* What one commit keeps for one source. */
struct store_source {
    struct kappa_source_state state;
    /* Per table, of this source's rows; then per output, of all messages that it ever made. */
    struct digest digests[STORE_DIGESTS];
};

struct store_options {
    const char *dir;                        /* made when missing */
    const struct kappa_table_shape *tables; /* copied */
    uint32_t table_count;
    uint32_t output_count; /* topics of the definition: what the sink's `out` may name */
    bool building;    /* NOSYNC until store_seal; the version is deleted if the OS dies meanwhile */
    size_t map_bytes; /* first map size; 0: default (64 MiB) */
    uint32_t
        leaf_bits; /* of a new environment: a leaf has 2^bits rows on average; 0: default (10) */
    /* For crash tests; may be NULL. Called at store_begin ("flush"), before LMDB commits ("commit")
     * and after ("committed": the commit stands). A negative code makes the step fail with it:
     * close the store then, as if the process had died there. */
    int (*fail_point)(void *ctx, const char *step);
    void *fail_ctx;
};

/* Opens for writing. BUSY when another process writes it. */
int store_open(const struct store_options *options, struct store **out, struct err *err) must_check;
/* Drops an open transaction. */
void store_close(struct store *store);

/* False and zeros (KAPPA_NO_TIME) when the source was never committed. */
bool store_source_get(struct store *store, uint32_t source, struct store_source *out);
/* Records below *below change no window that was taken over from another version; false: none was. */
bool store_taken(const struct store *store, uint32_t source, int64_t *below);
/* Any row committed yet? */
bool store_has_rows(const struct store *store);
bool store_sealed(const struct store *store);

/* processor_load_fn over this store: reads the last commit. */
int store_load(void *store, uint32_t table, const uint8_t *key, size_t key_len,
               const uint8_t **value, size_t *value_len, struct err *err);

/* The newest window below `below` of a key (source, key columns), as of the last commit: 1 found, 0 none,
 * negative error. In tables with windows and no history only below INT64_MAX. */
int store_window_below(void *store, uint32_t table, const uint8_t *key, size_t key_len,
                       int64_t below, int64_t *window_end, struct err *err);

/* processor_row_fn over this store: the first row whose key is not below this one, as of the last
 * commit. */
int store_row_from(void *store, uint32_t table, const uint8_t *key, size_t key_len,
                   const uint8_t **found, size_t *found_len, const uint8_t **value,
                   size_t *value_len, struct err *err);

int store_begin(struct store *store, struct err *err) must_check;
/* The sink of the open transaction. */
const struct kappa_change_sink *store_sink(struct store *store);
/* Sets the state of a source as of this commit. */
int store_source_put(struct store *store, uint32_t source, const struct kappa_source_state *state,
                     struct err *err) must_check;
/* Within a transaction: takes away the oldest messages of a source that lie below this offset, as
 * long as there are more than `keep`, and at most `most` of them. *gone: so many. */
int store_outbox_trim(struct store *store, uint32_t source, int64_t below, uint64_t keep,
                      uint64_t most, uint64_t *gone, struct err *err) must_check;
/* Messages of a source in the outbox, as of the last commit. */
uint64_t store_outbox_rows(const struct store *store, uint32_t source);
int store_commit(struct store *store, struct err *err) must_check;
void store_abort(struct store *store);
/* Syncs everything to disk, marks the environment sealed, and from now on every commit syncs. */
int store_seal(struct store *store, struct err *err) must_check;

/* Room in the file of a sealed store for the next commits: a quarter of it, 2 MiB at most, written and
 * synced, so that they need not wait for it to grow. Only when little is left. A full disk is no error
 * here. Not within a commit. */
void store_reserve(struct store *store);

/* Snapshots of the environment that are open, in any process. oldest: the commit that the oldest of
 * them shows while newer ones have come, else 0; pages freed since are not used again. */
struct store_readers {
    uint32_t count;
    uint64_t oldest;
};

void store_readers(const struct store *store, struct store_readers *out);
/* Sizes for status: bytes of the file, and of pages in use. */
void store_sizes(const struct store *store, uint64_t *file_bytes, uint64_t *used_bytes);

/* About the memory that a commit of this many changed rows takes: LMDB copies each page it changes,
 * keeps the copies until the commit, and keeps their memory for the next one. Rows that are changed
 * at random lie on a page each, until there are as many as the table has pages. Above 512 MiB it
 * spills, and the file grows by what was changed: commit before that. */
size_t store_commit_bytes(const struct store *store, uint64_t rows);

/* Adds up the digest of a source over its tables and outputs into one (for receipts). count: of
 * both. */
struct digest store_digest_sum(const struct store_source *source, uint32_t count);

#endif
