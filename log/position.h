/* Where reading begins (or ends): what a person writes, turned into one offset per partition.
 *
 *     position_parse -> position_resolve or _some (against a log: blocks on it) -> position_free
 *
 * Written forms:
 *     beginning               the first offset that the log still holds
 *     end                     the end as of now: nothing old is read
 *     @TIME                   RFC 3339, or ms since 1970: of each partition the first record whose
 *                             record time is >= TIME; a partition without one starts at its end
 *     -N                      the last N offsets of each partition (fewer records where there are
 *                             holes); all that there is, when it holds fewer
 *     -DURATION               -2h, -30m, -1h30m: @TIME, that long before now
 *     N                       an offset; for one topic of one partition
 *     P:N,P:N,...             an offset for each partition of the one topic
 *     TOPIC/P:N,...           the same for several topics
 *     TOPIC/POSITION,...      one position for each topic: orders/@2026-01-01,users/beginning
 * where N is a number, `beginning`, `end`, @TIME or -DURATION. For a version all partitions must be
 * named: a forgotten one is refused, not guessed. Who only looks (position_resolve_some) reads those
 * that are named.
 *
 * Record times need not ascend: behind the offset of @TIME older records may come, in front of it
 * there are none that are as new. As an end, @TIME is an offset too, so records behind it that are
 * older are left out.
 *
 * Rules of resolving:
 *  1. The ends are asked first and frozen; they are the target. No start lies above its target.
 *  2. An offset below the log's start is RANGE_LOST, one above the end INVALID; neither is moved.
 *  3. `complete` says that nothing is missing in front: every source starts at the log's start, and
 *     that is offset 0 or was asked for as `beginning`.
 */
#ifndef KAPPA_LOG_POSITION_H
#define KAPPA_LOG_POSITION_H

#include "base/err.h"
#include "log/log.h"

enum position_kind {
    POSITION_BEGINNING,
    POSITION_END,
    POSITION_TIME,
    POSITION_LAST,
    POSITION_OFFSET
};

/* In place of a resolved offset: the list does not name the partition. */
#define POSITION_LEFT_OUT (-1)

struct position_point {
    enum position_kind kind;
    int64_t value; /* TIME: ms; LAST: how many; OFFSET: it; >= 0 */
};

struct position_item {
    char *topic;       /* owned; NULL when not written */
    int64_t partition; /* -1 when not written: all of the topic */
    struct position_point point;
};

struct position {
    struct position_point all;   /* of every partition, when there are no items */
    struct position_item *items; /* owned */
    uint32_t item_count;
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

/* now_ms: wall clock, for -DURATION. INVALID with the forms in the hint. *out is to be freed when 0
 * is returned. */
int position_parse(const char *text, int64_t now_ms, struct position *out,
                   struct err *err) must_check;
void position_free(struct position *position);

/* ranges: one per source, filled. INVALID, NOT_FOUND (a partition), RANGE_LOST, and what the log returns. */
int position_resolve(const struct position *position, struct log *log,
                     const struct position_topic *topics, uint32_t topic_count,
                     struct position_range *ranges, bool *complete, struct err *err) must_check;
/* Of one topic; a list may leave out partitions: their start is POSITION_LEFT_OUT. */
int position_resolve_some(const struct position *position, struct log *log,
                          const struct position_topic *topic, struct position_range *ranges,
                          struct err *err) must_check;

#endif
