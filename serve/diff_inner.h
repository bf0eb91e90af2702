/* The inside of a diff: diff.c (versions, cut, tables), diff_rows.c (two cursors merged), diff_column.c
 * (what differs in a column). */
#ifndef KAPPA_SERVE_DIFF_INNER_H
#define KAPPA_SERVE_DIFF_INNER_H

#include "serve/diff.h"
#include "serve/reader_inner.h"
#include "serve/reader_side.h"
#include "serve/row_filter.h"

enum diff_side { DIFF_A, DIFF_B, DIFF_SIDES };

/* How a column that both versions have is compared. */
enum diff_kind {
    DIFF_SAME_TYPE,
    DIFF_NUMBERS, /* of two types */
    DIFF_TEXTS    /* two types that are no numbers: as text */
};

struct diff_column {
    const struct plan_output *of[DIFF_SIDES]; /* NULL where it is not there */
    uint32_t index[DIFF_SIDES];
    enum diff_kind kind;
    bool measured;     /* there is a distance */
    double unit;       /* that one of the distance has, e.g. 1e6 of us in a second */
    bool unit_is_time; /* the distance is in seconds */
    uint64_t differ;
    uint64_t nulls;
    double sum; /* of the distances */
    double max;
    uint64_t *buckets; /* of the distances, by their leading bits; NULL until the first */
};

/* Whether the values of a column differ; if so, it is counted. */
bool diff_column_compare(struct diff_column *column, const struct kappa_value *a,
                         const struct kappa_value *b);
/* Sets how it is compared, from `of`. */
void diff_column_init(struct diff_column *column);
/* A new reference. */
json_t *diff_column_json(const struct diff_column *column);
void diff_column_free(struct diff_column *column);

enum diff_kept { DIFF_KEPT_CHANGED, DIFF_KEPT_ONLY_A, DIFF_KEPT_ONLY_B };

/* A row that is shown, in the order in which they were found; kept when its records are asked for. */
struct diff_sample {
    struct diff_sample *next;
    enum diff_kept kept;
    size_t number;      /* from 0 */
    uint32_t partition; /* views without groups */
    json_t *records;    /* that explain it; owned */
    size_t len;
    uint8_t key[LIMIT_TABLE_KEY_LEN]; /* behind the source */
};

/* One table of both. */
struct diff_rows {
    struct reader *reader;
    struct reader_read reading[DIFF_SIDES];
    const struct plan_view *view[DIFF_SIDES];
    int64_t limit;
    const bool *stop; /* atomic */
    struct diff_column columns[2 * LIMIT_COLUMNS];
    uint32_t column_count;
    bool alike; /* kept and read in the same way, and each row by its key */
    bool wants_records;
    struct diff_sample *samples; /* owned */
    struct diff_sample **samples_end;
    size_t sample_count;
    bool by_bytes; /* equal bytes are equal rows: only keys whose bytes differ are looked at */
    uint64_t taken[DIFF_SIDES]; /* rows that were looked at */
    uint64_t only[DIFF_SIDES];
    uint64_t changed;
    uint64_t equal;
    uint64_t equal_most;                    /* above `equal`: that is how many at least */
    uint64_t exact_rows;                    /* as in diff_options */
    struct row_filter *filters[DIFF_SIDES]; /* owned; NULL: all rows */
    bool unclear; /* only a look at all rows can say how many are equal, and it is wanted */
    json_t *only_samples[DIFF_SIDES]; /* owned */
    json_t *changed_samples;          /* owned */
};

/* Can rows be told which is which? Else a sentence, in memory of the caller. */
bool diff_rows_match(const struct plan *plan_a, const struct plan_view *a,
                     const struct plan *plan_b, const struct plan_view *b, struct buf *why_not);
/* Counts and samples; the other members are set by the caller. */
int diff_rows_run(struct diff_rows *rows, struct err *err) must_check;
void diff_rows_free(struct diff_rows *rows);

/* diff_records.c: keeps a sample. */
void diff_sample_keep(struct diff_rows *rows, enum diff_kept kept, const struct reader_side *side);
void diff_samples_free(struct diff_sample *samples);
/* Why the records that explain the samples cannot be told; or NULL. */
const char *diff_records_why_not(const struct diff_rows *rows);
/* Finds the records of all samples; *partial: the log has lost records that the versions have read. */
int diff_records_find(struct diff_rows *rows, struct log *log, bool *partial,
                      struct err *err) must_check;

#endif
