/* The inside of the reader, shared by reader.c (which version, as of when), reader_names.c (tables
 * and whose they are), reader_version.c (versions opened once and kept), reader_row.c (one row),
 * reader_route.c (where a key may lie), reader_cursor.c (rows of a range), reader_bounds.c, reader_hop.c,
 * reader_session.c and reader_limits.c (windows), reader_scan.c (all rows), reader_value.c (values as
 * JSON), reader_cut.c (how far a version is), reader_canary.c (a share of keys), reader_outbox.c
 * (messages for topics) and reader_report.c (digests, dead records). */
#ifndef KAPPA_SERVE_READER_INNER_H
#define KAPPA_SERVE_READER_INNER_H

#include "base/arena.h"
#include "base/limits.h"
#include "processor/processor.h"
#include "serve/reader.h"
#include "table/catalog.h"
#include "table/view.h"

#include <pthread.h>
#include <sys/types.h>

#define READER_MAGIC     0x72656452U /* "Rder" */
#define READER_FINISHERS 32          /* idle row finishers kept per table */

/* An input partition of a version. */
struct reader_source {
    uint32_t input;
    uint32_t partition;
    const char *topic; /* in object */
    int64_t start;     /* its cut until the first commit */
};

/* Scratch for reading rows of one table; guarded by reader->lock. */
struct reader_idle {
    uint32_t count;
    struct row_finisher *finishers[READER_FINISHERS];
};

/* A cut as text, and the commits that it was made of: every read over HTTP says its cut. */
struct reader_cut_text {
    pthread_mutex_t lock;
    struct buf text; /* empty: none was made */
    uint64_t commits[LIMIT_SHARDS];
};

/* A version that is open: plan and environments. Read-only but for the fields named, and cut. */
struct reader_version {
    struct reader_version *next; /* reader->lock */
    uint32_t refs;               /* reads in it; reader->lock */
    bool doomed;                 /* out of the list, closed by its last read; reader->lock */
    int64_t used_us;             /* when it was last taken; reader->lock */
    uint64_t seen_epoch; /* its files were looked at while it served in that epoch; reader->lock */
    char processor[LIMIT_NAME_LEN + 1];
    uint32_t number;
    dev_t device; /* of its first shard's data: a version made anew at this place is another one */
    ino_t inode;
    char since[READER_SINCE_LEN]; /* of what it is complete, as in a stamp */
    json_t *object;               /* "v/P/N" of the catalog */
    struct plan *plan;
    struct view *view;
    struct reader_source *sources;
    uint32_t source_count;
    uint32_t *input_first;    /* first source of each input, and source_count behind the last */
    struct reader_idle *idle; /* per table */
    struct reader_cut_text cut;
};

/* What comparing a row of a canary's share has shown. */
enum reader_compared {
    READER_SAME,
    READER_DIFFERENT,
    READER_MISSING, /* the candidate has no such row */
    READER_ADDED,   /* only the candidate has it */
    READER_FAILED,  /* the candidate could not be asked */
    READER_COMPARED
};

#define READER_CANARIES                                                                            \
    16 /* counted; another one takes the place of the one not used for longest */

struct reader_canary_counts {
    char processor[LIMIT_NAME_LEN + 1];
    uint32_t number; /* of the candidate; 0: free */
    uint64_t used;   /* when; a count */
    uint64_t counts[READER_COMPARED];
};

struct reader {
    uint32_t magic;
    char *data_dir;
    struct catalog *catalog;
    pthread_mutex_t lock;            /* the list and what is marked so; held for moments */
    pthread_mutex_t opening;         /* held while a version is opened; taken before lock */
    struct reader_version *versions; /* lock */
    struct reader_canary_counts canaries[READER_CANARIES]; /* lock */
    uint64_t canaries_used;                                /* lock */
    int64_t sweep_us;                                      /* when the next sweep is due; atomic */
    void (*between)(
        void *ctx); /* tests: called between the first look at a pointer and a snapshot */
    void *between_ctx;
};

/* One read: which table of which version, as of when. */
struct reader_read {
    struct reader_version *version;
    struct view_snapshot *snapshot;
    uint32_t table;
    uint64_t epoch;
    struct catalog_canary canary; /* of a serving read, as of the pointer */
};

/* version 0: the serving one. REFUSED: it is a view. */
int reader_begin(struct reader *reader, const char *table, uint32_t version,
                 struct reader_read *reading, struct err *err) must_check;
/* The same, of a view too: then the table is PLAN_NONE, and statements read it (query.h). */
int reader_begin_any(struct reader *reader, const char *table, uint32_t version,
                     struct reader_read *reading, struct err *err) must_check;
/* A view of the plan that is computed when it is read, or NULL. */
const struct plan_read_view *reader_view_find(const struct plan *plan, const char *name);
/* REFUSED: what was asked is not for views. */
int reader_view_refused(const char *view, struct err *err);
void reader_end(struct reader *reader, struct reader_read *reading);

/* Which rows of a table: those that differ from it are left out. */
struct reader_range {
    int64_t window_least; /* window ends, inclusive; INT64_MIN, INT64_MAX: no bound. For tables */
    int64_t window_most;  /* without windows they say nothing */
    uint32_t key_count;   /* leading key columns that are given; of append views none may be */
    const struct kappa_value *keys; /* of the columns' types; read by the open only */
    const uint8_t *low; /* key columns as stored: from these on; low_len 0: no bound. Borrowed by */
    const uint8_t *high; /* the open only. Below these; both begin with `keys` */
    size_t low_len;
    size_t high_len;
    const uint8_t
        *from;       /* or NULL: a key as of reader_cursor_key; rows below it are left out. Of */
    size_t from_len; /* hop windows, only those of windows below it */
};

/* A range with the memory of its bounds: keys and key_count of `range` are set by the caller, which
 * puts values into `keys`, then reader_bounds_set. */
struct reader_bounds {
    struct arena memory;
    struct kappa_value keys[LIMIT_COLUMNS];
    uint8_t low[LIMIT_TABLE_KEY_LEN];
    uint8_t high[LIMIT_TABLE_KEY_LEN];
    struct reader_range range;
};

void reader_bounds_init(struct reader_bounds *bounds);
void reader_bounds_free(struct reader_bounds *bounds);
/* Bounds of the key column behind those that are given: from (inclusive) and below, or a prefix alone;
 * each may be NULL. INVALID: a null, a prefix of what is no text, something longer than a key. */
int reader_bounds_set(const struct plan_view *view, struct reader_bounds *bounds,
                      const struct kappa_value *from, const struct kappa_value *below,
                      const struct kappa_text *prefix, struct err *err) must_check;
/* Column i of the key, without those of windows; NULL: the key has fewer. */
const struct plan_key *reader_key_column(const struct plan_view *view, uint32_t i);

/* One row as it is asked for. */
struct reader_key {
    const uint8_t *columns; /* key columns as stored; of append views the offset; borrowed */
    size_t len;             /* <= LIMIT_TABLE_KEY_LEN */
    uint32_t partition;     /* of append views */
    uint32_t number;        /* tables of first rows: which row of the key, from 0 */
    int64_t at_us;          /* as in reader_get */
};

/* 1 a row, 0 there is none, negative. values: output columns, borrowed until the finisher is used
 * again. */
int reader_row_find(const struct reader_read *reading, struct row_finisher *finisher,
                    const struct reader_key *key, const struct kappa_value **values,
                    struct err *err) must_check;
/* The same by texts, as reader_get takes them. */
int reader_row_find_text(const struct reader_read *reading, struct row_finisher *finisher,
                         const char *const *keys, uint32_t key_count, int64_t at_us,
                         const struct kappa_value **values, struct err *err) must_check;

/* What the watermarks of the sources say about the windows of a table, as of a read. */
struct reader_limits {
    int64_t shown; /* windows that end later are not shown: emit='final' */
    int64_t
        *expired; /* per source: windows of a hop that end there or before are gone; NULL: none */
};

void reader_limits_make(const struct reader_read *reading, struct reader_limits *out);
void reader_limits_free(struct reader_limits *limits);

#define READER_CANARY_ROUNDS 1000 /* a pointer that moves for so long is a fault elsewhere */

/* reader_canary.c: are the rows of a serving read whose first key column is this, as text, in the share of
 * the canary? NULL: no. */
bool reader_canary_takes(const struct reader_read *serving, const char *first);
/* A read of the version that answers for rows with this first key column: serving, or the canary. */
int reader_begin_for(struct reader *reader, const char *table, const char *first,
                     struct reader_read *reading, struct err *err) must_check;
/* To be asked behind the snapshot of the candidate: is the pointer as it was? */
bool reader_canary_stands(struct reader *reader, const struct reader_read *serving);

/* A row in both versions, as JSON; empty: there is none, or it cannot be read. */
struct reader_both {
    struct buf serving;
    struct buf candidate;
};

/* Reads the row in both, and counts; rows is zeros before. False: the candidate cannot answer. */
bool reader_canary_compare(struct reader *reader, const struct reader_read *serving,
                           const struct reader_read *candidate, const char *const *keys,
                           uint32_t key_count, int64_t at_us, struct reader_both *rows);
void reader_both_free(struct reader_both *rows);
void reader_canary_failed(struct reader *reader, const struct reader_read *serving);
/* All of it: 1 and a read of the candidate, which answers for this row and is to be ended, 0: the serving
 * version does, -AGAIN: the pointer has moved, and the serving read with it. The JSON of who answers is
 * appended to row where it was read for this and is there. */
int reader_canary_begin(struct reader *reader, const struct reader_read *serving,
                        const char *const *keys, uint32_t key_count, int64_t at_us,
                        struct reader_read *out, struct buf *row) must_check;

/* reader_route.c: the sources that may hold rows whose key columns begin with these, which need not be
 * all: those of the table's input, or fewer. */
struct view_sources reader_sources(const struct reader_read *reading, const uint8_t *columns,
                                   size_t len);

/* reader_hop.c: windows put together from panes. */
struct reader_hop;

struct reader_windows {
    int64_t least; /* window ends, inclusive */
    int64_t most;
    const uint8_t *prefix; /* of the key columns; read by the open only */
    size_t prefix_len;
};

int reader_hop_open(const struct reader_read *reading, struct row_finisher *finisher,
                    const struct reader_windows *windows, struct reader_hop **out,
                    struct err *err) must_check;
/* Merges the next row in the finisher: 1 (to be finished by the caller), 0 the end, negative. */
int reader_hop_next(struct reader_hop *hop, struct err *err) must_check;
/* Window end and key columns of the row merged last, until the next call. */
void reader_hop_key(const struct reader_hop *hop, const uint8_t **key, size_t *len);
void reader_hop_close(struct reader_hop *hop);
/* The window to show of a key: the first one that its newest events are in. 1, 0 none, negative. */
int reader_hop_newest(const struct reader_read *reading, const uint8_t *key, size_t len,
                      int64_t *end, struct err *err) must_check;

/* reader_session.c: sessions that several sources have a part of. */

/* May a session of the table have parts in several sources? */
bool reader_session_merges(const struct reader_version *version, uint32_t table);
/* A stored session (row_key: window end, key columns; its start). If it is the last part of its
 * session, by (end, source), the whole is merged in the finisher: 1; else 0; or negative. */
int reader_session_row(const struct reader_read *reading, struct row_finisher *finisher,
                       uint32_t source, const uint8_t *row_key, size_t row_len, int64_t start,
                       struct err *err) must_check;
/* Merges the session of the key that holds the time, or with KAPPA_NO_TIME the newest one, in the
 * finisher: 1, 0 there is none, negative. */
int reader_session_get(const struct reader_read *reading, struct row_finisher *finisher,
                       const uint8_t *columns, size_t len, int64_t at_us,
                       struct err *err) must_check;

struct reader_cursor;

/* Rows in key order (window end, key columns) as of a read, which must outlive the cursor. range
 * NULL: all. */
int reader_cursor_open(struct reader *reader, const struct reader_read *reading,
                       const struct reader_range *range, struct reader_cursor **out,
                       struct err *err) must_check;
/* 1 a row, 0 the end, negative. values: output columns, borrowed until the next call. */
int reader_cursor_next(struct reader_cursor *cursor, const struct kappa_value **values,
                       struct err *err) must_check;
/* From now on only rows of this key (window end, key columns; of append views the offset), which lies
 * above all keys given so far. The read is of one whole table, and not of a hop, nor of sessions with
 * parts in several sources. */
int reader_cursor_only(struct reader_cursor *cursor, const uint8_t *key, size_t len,
                       struct err *err) must_check;
/* Identity of the row given last: its key, and for append views its source. Borrowed from the
 * snapshot. */
void reader_cursor_key(const struct reader_cursor *cursor, uint32_t *source, const uint8_t **key,
                       size_t *len);
/* Of tables that keep several rows of a key: which one it is, from 0. */
uint32_t reader_cursor_number(const struct reader_cursor *cursor);
void reader_cursor_close(struct reader_cursor *cursor);

/* There is no version of that number (0: no such processor): NOT_FOUND, with the processor that is
 * nearest when there is none of the name. */
int reader_version_unknown(struct reader *reader, const char *processor, uint32_t version,
                           struct err *err);
/* Fills err with why there is no pointer for the table: unknown, or not served yet. Returns the
 * negative code. */
int reader_table_not_served(struct reader *reader, const char *table, struct err *err);
/* The processor that a named version of a table belongs to; processor has LIMIT_NAME_LEN + 1
 * bytes. */
int reader_processor_of(struct reader *reader, const char *table, uint32_t version, char *processor,
                        struct err *err) must_check;
/* The newest version on its way to serve. NOT_FOUND when there is none. */
int reader_candidate_of(struct reader *reader, const char *processor, uint32_t *version,
                        struct err *err) must_check;
/* The version itself; for 0 the one that serves, for READER_CANDIDATE the newest on its way to serve. */
int reader_number_of(struct reader *reader, const char *processor, uint32_t version, uint32_t *out,
                     struct err *err) must_check;
/* The same; READER_CANDIDATE in *version becomes a number. */
int reader_version_resolve(struct reader *reader, const char *table, uint32_t *version,
                           char *processor, struct err *err) must_check;

/* "table@3" and version 0, or a name and any version: the name by itself, of LIMIT_NAME_LEN + 1 bytes. */
int reader_name_split(const char *text, char *table, uint32_t *version, struct err *err) must_check;

/* Opens or finds a version; NOT_FOUND when there is none, or none with files. Give it back. */
int reader_version_take(struct reader *reader, const char *processor, uint32_t number,
                        struct reader_version **out, struct err *err) must_check;
/* The same, because the serving pointer named it in that epoch; the caller will look at it again. */
int reader_version_take_serving(struct reader *reader, const char *processor, uint32_t number,
                                uint64_t epoch, struct reader_version **out,
                                struct err *err) must_check;
void reader_version_give(struct reader *reader, struct reader_version *version);
/* Index of a table, or PLAN_NONE. */
uint32_t reader_version_table(const struct reader_version *version, const char *table);
struct row_finisher *reader_finisher_take(struct reader *reader, struct reader_version *version,
                                          uint32_t table);
void reader_finisher_give(struct reader *reader, struct reader_version *version, uint32_t table,
                          struct row_finisher *finisher);
/* At reader_close: nobody reads. */
void reader_versions_close(struct reader *reader);

/* The next offset of a source as of the snapshot. */
int64_t reader_source_next(const struct reader_version *version, struct view_snapshot *snapshot,
                           uint32_t source);
/* {"topic": [next offset per partition]}, appended; or as a new reference. */
void reader_cut_write(struct buf *out, struct reader_version *version,
                      struct view_snapshot *snapshot);
json_t *reader_cut(struct reader_version *version, struct view_snapshot *snapshot);
/* Where a read comes from; the cut is a new reference. */
void reader_stamp_of(const struct reader_read *reading, struct reader_stamp *out);
/* Epoch of a processor, 0 when it never swapped. */
uint64_t reader_epoch(struct reader *reader, const char *processor);

#endif
