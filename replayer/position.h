/* Where a replay begins: what a person writes, turned into one offset per partition.
 *
 *     position_parse -> position_resolve (against a log: blocks on it) -> position_free
 *
 * Written forms:
 *     beginning               the first offset that the log still holds
 *     end                     the end as of now: nothing old is read
 *     @TIME                   RFC 3339, or ms since 1970: of each partition the first record whose
 *                             record time is >= TIME; a partition without one starts at its end
 *     N                       an offset; for one topic of one partition
 *     P:N,P:N,...             an offset for each partition of the one topic
 *     TOPIC/P:N,...           the same for several topics
 * where N is a number, `beginning` or `end`. Partitions must all be named: a forgotten one is
 * refused, not guessed.
 *
 * Rules of resolving:
 *  1. The ends are asked first and frozen; they are the target. No start lies above its target.
 *  2. An offset below the log's start is RANGE_LOST, one above the end INVALID; neither is moved.
 *  3. `complete` says that nothing is missing in front: every source starts at the log's start, and
 *     that is offset 0 or was asked for as `beginning`.
 */
#ifndef KAPPA_REPLAYER_POSITION_H
#define KAPPA_REPLAYER_POSITION_H

#include "base/err.h"
#include "log/log.h"

enum position_kind { POSITION_BEGINNING, POSITION_END, POSITION_TIME, POSITION_OFFSETS };

/* In place of an offset. */
#define POSITION_AT_BEGINNING (-2)
#define POSITION_AT_END       (-1)

struct position_offset {
    char *topic;       /* owned; NULL when not written */
    int64_t partition; /* -1 when not written */
    int64_t offset;    /* or POSITION_AT_... */
};

struct position {
    enum position_kind kind;
    int64_t time_ms;                 /* POSITION_TIME; >= 0 */
    struct position_offset *offsets; /* POSITION_OFFSETS; owned */
    uint32_t offset_count;
};

/* The sources of a version: the partitions of the first topic, then those of the second, ... */
struct position_topic {
    const char *topic;
    uint32_t partitions;
};

/* Of one source. */
struct position_range {
    int64_t start;     /* first offset to read */
    int64_t target;    /* the log's end when asked: replaying up to here is the work to do */
    int64_t log_start; /* the log's start when asked */
};

/* INVALID with the forms in the hint. *out is to be freed when 0 is returned. */
int position_parse(const char *text, struct position *out, struct err *err) must_check;
void position_free(struct position *position);

/* ranges: one per source, filled. INVALID, RANGE_LOST, and what the log returns. */
int position_resolve(const struct position *position, struct log *log,
                     const struct position_topic *topics, uint32_t topic_count,
                     struct position_range *ranges, bool *complete, struct err *err) must_check;

#endif
