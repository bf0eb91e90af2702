/* Snapshots that the answers of one round share.
 *
 *     redis_reads_init -> (redis_reads_get...  -> redis_reads_end)* -> redis_reads_free
 *
 * A serving table is read from a snapshot of the round if its processor has one and still serves at
 * the same epoch: that snapshot was begun, by the rules of the reader, while the version served.
 * When the epoch has moved, what is held of the processor is dropped: nobody reads the old one after
 * the new one. A transaction pins all of its tables first (redis_reads_pin). */
#ifndef KAPPA_SERVE_REDIS_READS_H
#define KAPPA_SERVE_REDIS_READS_H

#include "serve/query.h"
#include "serve/reader_pins.h"

#define REDIS_READS_MAX 16 /* names held at once; more begin anew */

struct redis_reads_name {
    char table[LIMIT_NAME_LEN + 1];
    uint32_t version; /* as asked for */
    uint32_t index;   /* of the table in its version */
    uint32_t read;
};

struct redis_reads {
    struct reader *reader;
    struct redis_reads_name names[REDIS_READS_MAX];
    uint32_t name_count;
    struct reader_read reads[REDIS_READS_MAX]; /* version NULL: free */
    bool serving[REDIS_READS_MAX];
    bool pinned;
    struct reader_pins pins;
    struct row_finisher *finisher; /* taken last, or NULL */
    struct reader_version *finisher_version;
    uint32_t finisher_table;
    struct query *query;     /* for views; NULL: none was asked for yet */
    struct query_rows *rows; /* of the view asked last, or NULL */
    const struct view_snapshot *rows_snapshot;
    char rows_view[LIMIT_NAME_LEN + 1];
};

void redis_reads_init(struct redis_reads *reads, struct reader *reader);
void redis_reads_free(struct redis_reads *reads);
/* A read of a table, borrowed until redis_reads_end: of its members, table and epoch too. */
int redis_reads_get(struct redis_reads *reads, const char *table, uint32_t version,
                    struct reader_read *out, struct err *err) must_check;
/* The same, of a view too: then the table is PLAN_NONE. */
int redis_reads_any(struct redis_reads *reads, const char *table, uint32_t version,
                    struct reader_read *out, struct err *err) must_check;
/* Its rows as of such a read of it, until the next view is asked for. */
int redis_reads_view(struct redis_reads *reads, const char *view, const struct reader_read *reading,
                     struct query_rows **out, struct err *err) must_check;
/* *reading is a serving read of the table by the last call: which version answers for this row (a canary's
 * share). It may be another read afterwards; nothing is changed while pins hold. */
int redis_reads_row(struct redis_reads *reads, const char *table, const char *const *keys,
                    uint32_t key_count, int64_t at_us, struct reader_read *reading,
                    struct err *err) must_check;
/* A finisher for it, until the next one is asked for. */
struct row_finisher *redis_reads_finisher(struct redis_reads *reads,
                                          const struct reader_read *reading);
/* From now on, until redis_reads_end, only what the pins hold is read. The caller has added its
 * names to reads->pins behind redis_reads_end. */
int redis_reads_pin(struct redis_reads *reads, struct err *err) must_check;
void redis_reads_end(struct redis_reads *reads);

#endif
