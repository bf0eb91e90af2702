/* COMPUTE: one shard's state of one plan. Pure: no clock, no files, no threads, no randomness.
 *
 *     processor_open
 *     processor_source_restore      once per source of the shard; a new one: zeros, KAPPA_NO_TIME
 *     loop:
 *         processor_apply ...       records of one source, in offset order
 *         processor_flush           changes since the last commit, sorted, into a sink; may repeat
 *         processor_committed       the sink's transaction is durable: dirty rows are clean now
 *     processor_close
 *
 * Invariants:
 *  1. What flush has emitted up to a position is a function of the plan and the records before it,
 *     not of how they were cut into apply calls or commits.
 *  2. A record changes all of a view's aggregates or, when it is bad, none: then it is in `dead`.
 *  3. The cache holds every dirty row; clean rows may be evicted when over budget, and are loaded
 *     again.
 *  4. Nothing is applied between a flush and its processor_committed.
 */
#ifndef KAPPA_PROCESSOR_PROCESSOR_H
#define KAPPA_PROCESSOR_PROCESSOR_H

#include "base/buf.h"
#include "include/kappa/plugin.h"
#include "include/kappa/record.h"
#include "include/kappa/row.h"
#include "processor/plan.h"

struct processor;

/* Reads a stored row back: 1 found, 0 not found, negative error. *value is valid until the next
 * call. */
typedef int (*processor_load_fn)(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                                 const uint8_t **value, size_t *value_len, struct err *err);

/* The newest stored window below `below` of a key (source, key columns), of tables with history, or with
 * windows and below INT64_MAX: 1 found, 0 none, negative error. */
typedef int (*processor_window_fn)(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                                   int64_t below, int64_t *window_end, struct err *err);

/* The first stored row of a table whose key is not below this one: 1 found, 0 none, negative error.
 * What it points at is valid until the next commit. */
typedef int (*processor_row_fn)(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                                const uint8_t **found, size_t *found_len, const uint8_t **value,
                                size_t *value_len, struct err *err);

/* What processor_apply is busy with. */
enum processor_phase { PROCESSOR_DECODES, PROCESSOR_COMPUTES, PROCESSOR_RETURNS };

struct processor_options {
    const struct plan *plan;
    processor_load_fn load;           /* NULL: nothing is ever evicted (tests) */
    processor_window_fn window_below; /* with the same context; needed for sessions */
    processor_row_fn row_from;        /* likewise; needed for final rows of windows into a topic,
                                      and for plugins */
    void *load_ctx;
    const struct kappa_plugin *const *plugins; /* per plugin of the plan; borrowed */
    size_t cache_bytes; /* budget of the aggregate cache; small budgets (1) work, slowly */
    bool rows_stored; /* false: the tables are known to be empty (a new version): no loads needed */
    /* Told what apply does from now on, a few times a chunk; the caller may look at its clock. Or
     * NULL. */
    void (*phase)(void *ctx, enum processor_phase phase);
    void *phase_ctx;
};

struct processor_stats {
    size_t cache_bytes; /* used now */
    uint64_t cache_rows;
    uint64_t dirty_rows; /* to be written by the next flush */
    size_t dirty_bytes;  /* about, with pending append rows and dead records */
    size_t append_bytes; /* of these, rows that are only ever added */
    uint64_t loads;      /* rows read back */
    uint64_t evictions;
};

int processor_open(const struct processor_options *options, struct processor **out,
                   struct err *err) must_check;
void processor_close(struct processor *processor);

/* input: which input of the plan the source belongs to. Before any apply of that source. */
void processor_source_restore(struct processor *processor, uint32_t source, uint32_t input,
                              const struct kappa_source_state *state);
/* Which partition of its topic the source is, of how many, for record_partition() and inputs with a
 * partitioner; 0 until told. */
void processor_source_partition(struct processor *processor, uint32_t source, uint32_t partition,
                                uint32_t partitions);
/* Windows that end before first_ends (per table of the plan; borrowed) were taken over from another
 * version, as of the offset `below`: records below it leave them alone, and of a hop count for those of
 * their windows only that end later. What is late or dead is so as ever. Behind processor_source_restore;
 * views are plan_windows_check's. */
void processor_source_take(struct processor *processor, uint32_t source, int64_t below,
                           const int64_t *first_ends);
/* The state after everything applied; next_offset is set by the caller of apply. */
void processor_source_state(const struct processor *processor, uint32_t source,
                            struct kappa_source_state *state);
/* How many of these records, from the first on, need no schema that is not known yet; below count,
 * *schema is the number of the one that the next record needs. For inputs with a schema_registry, to
 * be asked before processor_apply. */
uint32_t processor_ready(struct processor *processor, uint32_t source,
                         const struct kappa_record *records, uint32_t count, uint32_t *schema);
/* Hands in a schema of the source's registry; text NULL: the registry does not have it. */
void processor_schema(struct processor *processor, uint32_t source, uint32_t schema,
                      const char *text, size_t len);
/* Applies records [0, count) and moves the source's position to next_offset (>= last offset + 1).
 * count may be 0: only the position moves. An error means that a load failed: the processor must be
 * closed. */
int processor_apply(struct processor *processor, uint32_t source,
                    const struct kappa_record *records, uint32_t count, int64_t next_offset,
                    struct err *err) must_check;
/* An error once more records of a partition are dead than the input's dead_limit allows: which record
 * it was depends on the records below it alone. What was applied may still be flushed. */
int processor_check(const struct processor *processor, struct err *err) must_check;
int processor_flush(struct processor *processor, const struct kappa_change_sink *sink,
                    struct err *err) must_check;
void processor_committed(struct processor *processor);
void processor_stats(const struct processor *processor, struct processor_stats *stats);

/* ---- Looking at rows between two applies (node_peek.c): no row changes, and what does not call this
 * pays nothing for it. */

/* times[i]: of record i, us since 1970, what its input goes by: the event time where the input has one
 * (of a mark what it says; of a deletion the record's, less by what the events before it were at least
 * older than theirs), else the record's. KAPPA_NO_TIME: none, as of dead records. Records as in
 * processor_apply, before it, each once and in order; it decodes them. */
void processor_times(struct processor *processor, uint32_t source,
                     const struct kappa_record *records, uint32_t count, int64_t *times);
/* The part that a source has in a row of a group view, as if all that was applied were committed: 1, 0 it
 * has none, negative. columns: key columns as stored; at_us: no event of the source that was applied is
 * later, nor are marks; of tables with windows the row is the one that a reader would get for that time, or
 * (newest; not of hops) that of the key's newest window in the source. Appends the value as stored, of hop
 * windows that of all panes merged; *window_end: of the row. */
int processor_row_at(struct processor *processor, uint32_t view, uint32_t source,
                     const uint8_t *columns, size_t len, int64_t at_us, bool newest,
                     int64_t *window_end, struct buf *value, struct err *err) must_check;

/* ---- Reading rows: merges partials and finishes them. One thread's scratch; independent of a
 * processor. */

struct row_finisher;

struct row_finisher *row_finisher_new(const struct plan *plan, uint32_t view);
void row_finisher_free(struct row_finisher *finisher);
/* Starts a row. window_end: of the row's window (of hop: not of a pane), ignored for tables without.
 * key: the encoded key columns (behind source and window end, without a part), borrowed until
 * finish. */
void row_finisher_begin(struct row_finisher *finisher, int64_t window_end, const uint8_t *key,
                        size_t key_len);
/* Merges the partial of the next source; call in ascending source order. CORRUPT if it does not
 * decode. */
int row_finisher_add(struct row_finisher *finisher, const uint8_t *value, size_t value_len,
                     struct err *err) must_check;
/* Makes the output row: 1 a row, 0 HAVING refuses it, negative: a value is in an error state (sum
 * out of range...). values[output_count] is borrowed until the next begin. */
int row_finisher_finish(struct row_finisher *finisher, const struct kappa_value **values,
                        struct err *err) must_check;
/* Views of first rows have several rows of a key, maybe none: row i of them, i < row_finisher_rows.
 * Values are borrowed until the next call. */
uint32_t row_finisher_rows(const struct row_finisher *finisher);
int row_finisher_row(struct row_finisher *finisher, uint32_t i, const struct kappa_value **values,
                     struct err *err) must_check;

/* ---- Merging stored partials of group tables without sessions or ttl, to be stored again. */

struct row_merger;

struct row_merger *row_merger_new(const struct plan *plan);
void row_merger_free(struct row_merger *merger);
/* Appends to `out` what would be stored had the records of both partials come to one. table: of the plan.
 * CORRUPT, or LIMIT when a row may not be as long. */
int row_merger_merge(struct row_merger *merger, uint32_t table, const uint8_t *a, size_t a_len,
                     const uint8_t *b, size_t b_len, struct buf *out, struct err *err) must_check;

/* Encodes key columns given as text (one per PLAN_KEY_COLUMN key, in order) into key bytes behind
 * the source and window prefix, or for an append view: source is the first text, offset the second,
 * and *source is set (else UINT32_MAX). timestamptz: RFC 3339 or milliseconds. key has room for
 * LIMIT_GROUP_KEY_LEN bytes. INVALID with a sentence when a text is not a value of the type. */
int plan_key_from_text(const struct plan_view *view, const char *const *texts, uint32_t count,
                       uint8_t *key, size_t *key_len, uint32_t *source, struct err *err) must_check;

#endif
