/* COMPARING two versions of a processor, row by row and column by column, at one cut.
 *
 *     diff_open -> diff_snapshot -> diff_run -> diff_close
 *
 * Whoever calls sees to it that both versions stand at the same cut when diff_snapshot is called
 * (controller/diff.c holds them there). Afterwards both may go on: the rest happens in the snapshots.
 * diff_snapshot looks at what the snapshots say themselves: two cuts are never compared.
 *
 * The answer:
 *
 *     {"a","b","cut":{topic:[offset]},"same","complete":{"a","b"},"seconds","tables":[T...]}
 *
 *     T  {"table","in":"a"|"b"}                  only one of them has it
 *        {"table","in":"both","why_not":text}    their rows cannot be told which is which
 *        {"table","in":"both","identical":true}  the stored bytes are the same: nothing was read
 *        {"table","in":"both","only_in_a","only_in_b","changed","equal","equal_most"?,"columns":[C...],
 *         "samples":{"changed":[{"a":row,"b":row,"columns":[name]}],"only_in_a":[row],
 *         "only_in_b":[row]},
 *         "records"?:{"changed":[[R...]...],"only_in_a":[[R...]...],"only_in_b":[[R...]...]},
 *         "records_partial"?:true, "records_why_not"?:text}
 *     R  {"topic","partition","offset","in":"a"|"b"|"both"}: a record that the versions count
 *        differently, at most ten for each sample; in: who counts it at all. Those whose differences
 *        cancel out within some thousand records are left out; partial: the log has lost earlier ones
 *     C  {"name","type","in":"both","differ","nulls", and where both are numbers or times "unit"?,
 *         "mean","max","p50","p90","p99" of |b - a| over the rows that differ}; "type_b" when it has
 *        another type in b; {"name","type","in":"a"|"b"}
 *
 * changed: rows of a key that is in both, in which a column that both have differs. nulls: of those that
 * differ, how many are null on one side (or not finite): they have no distance. Quantiles are right to
 * 2 %, the others exact. equal: of large tables of which only what differs was read (table/delta.h), and
 * whose rows may be stored in parts, in several partitions, it is how many there are at least, and
 * equal_most how many at most; see exact_rows. With `where` all figures are of rows for which it holds in
 * one version at least. */
#ifndef KAPPA_SERVE_DIFF_H
#define KAPPA_SERVE_DIFF_H

#include "base/err.h"
#include "base/json.h"

struct diff;
struct log;
struct reader;

#define DIFF_SAMPLES     10 /* of each kind and table, when nothing is said */
#define DIFF_SAMPLES_MAX 1000
#define DIFF_EXACT_ROWS  200000 /* they are counted in a few hundredths of a second */

struct diff_options {
    const char *table;   /* only this one; or NULL */
    const char *where;   /* only rows for which this holds (row_filter.h) in a or in b; or NULL */
    struct log *log;     /* the records that explain the samples are looked for here; or NULL */
    int64_t limit;       /* samples of each kind, 0 .. DIFF_SAMPLES_MAX */
    uint64_t exact_rows; /* equal rows are counted where at most so many are stored; UINT64_MAX:
                            always, which costs a look at all keys */
};

/* Opens both versions. NOT_FOUND: no such version, no files, no such table. REFUSED: they do not read
 * the same partitions. SQL: `where` is no condition over the columns that a table has in both. */
int diff_open(struct reader *reader, const char *processor, uint32_t a, uint32_t b,
              const struct diff_options *options, struct diff **out, struct err *err) must_check;
/* REFUSED when the two are not at one cut. */
int diff_snapshot(struct diff *diff, struct err *err) must_check;
/* *out: a new reference. CLOSED when stopped. */
int diff_run(struct diff *diff, json_t **out, struct err *err) must_check;
/* From any thread: diff_run ends soon. */
void diff_stop(struct diff *diff);
void diff_close(struct diff *diff);

#endif
