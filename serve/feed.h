/* The changes of tables: who follows a table is told each row that comes, changes or goes, and after
 * each step of them the cut at which he then holds the table.
 *
 *     feeds_new -> (feed_follow -> feed_take... -> feed_leave)* -> feeds_close -> feeds_free
 *
 * A table that somebody follows has a feed: a thread that keeps a snapshot of it, begins a newer one
 * when the version has committed or another one was swapped in, and merges the two (feed_rows.c).
 * What differs goes into a ring of texts that all followers read. Events, as server-sent events:
 *
 *     event: reset    {"table","processor","version","epoch","why","rows":bool}   forget all rows;
 *                     those of the table follow as upserts (not with `rows` false)
 *     event: upsert   {"key":[..],"row":{column: value}}
 *     event: delete   {"key":[..]}
 *     event: swap     {"processor","from","to","epoch"}   what follows is how the new version differs
 *     event: cut      {"table","processor","version","epoch","cut"}, with an id
 *     event: end      {"error":{"code","message","hint"}}   the last one
 *
 * A key is a list: the key columns, then in tables of windows the window's end, then in tables that
 * keep several rows of a key the row's number from 1. Of a table that has a row per record:
 * partition, offset (and the number of the row, when a record may give several).
 *
 * A view (CREATE VIEW) is run at each look at which its tables have moved, and its rows, at most 8 MiB, are
 * compared with those of the run before. A key is that of the first table that it reads (and the window's
 * end), when the view gives out all its columns under their names, else all values of the row; rows beyond
 * the first of one key have a number more at its end, from 2. Views over the time or chance are refused.
 *
 * A follower may choose rows, by their keys and by a condition. They are a table of their own then: a
 * row that comes to be among them is an upsert, one that ceases to be a delete; cuts are those of the
 * table. Its ids are for the same choice only. A condition that has no value for a row (a division by
 * zero), or that another version does not understand any more, ends the stream.
 *
 * Invariants:
 *  1. Who applies the events in their order holds, at each cut, the rows that a scan at that cut gives.
 *  2. An id names a state: definition, start and offsets. Whoever comes back with one goes on without
 *     a reset if the feed stands there or still has what came since; also after a restart.
 *  3. A follower costs no memory but a piece that he is reading. One who falls behind the ring is
 *     told so and ended; nothing waits for him.
 *  4. A snapshot is given up when LMDB's map must grow (everybody would wait for it): then all
 *     followers are reset. */
#ifndef KAPPA_SERVE_FEED_H
#define KAPPA_SERVE_FEED_H

#include "base/err.h"
#include "serve/reader.h"

#include <sys/types.h>

struct feeds;
struct feed_follower;
struct row_range;

#define FEED_TABLES_MAX    64 /* tables, and choices of their rows, at a time: a thread each */
#define FEED_FOLLOWERS_MAX 128

/* How a follower waits. Both are called with a lock held: they do not call back. */
struct feed_sleeper {
    void (*sleep)(void *ctx); /* from within feed_take, which gives nothing */
    void (*wake)(void *ctx);  /* from any thread, once for each sleep: take again */
    void *ctx;
};

/* For /metrics; atomic. */
struct feed_counters {
    uint64_t followers;
    uint64_t tables;
    uint64_t steps;
    uint64_t resets; /* but for a table's first */
    uint64_t too_slow;
};

struct feeds *feeds_new(struct reader *reader);
/* All followers are woken and end; waits for the threads. */
void feeds_close(struct feeds *feeds);
const struct feed_counters *feeds_counters(const struct feeds *feeds);
/* When all have left. */
void feeds_free(struct feeds *feeds);

/* Whose changes. Borrowed by feed_follow. */
struct feed_ask {
    const char *table;
    const struct row_range *range; /* only rows of these keys and windows, or NULL */
    const char *where;             /* only rows of this condition (serve/row_filter.h), or NULL */
    const char *after;             /* an id, or NULL */
    bool rows;                     /* a reset is followed by the rows of the table */
};

/* NOT_FOUND as reader_begin says it; INVALID, SQL: the choice of rows; REFUSED: a view that cannot be
 * followed, or a choice of its rows; AGAIN: too many. */
int feed_follow(struct feeds *feeds, const struct feed_ask *ask, const struct feed_sleeper *sleeper,
                struct feed_follower **out, struct err *err) must_check;
/* More text: bytes, 0 none yet (sleep was called), -1 there will be no more. One thread at a time. */
ssize_t feed_take(struct feed_follower *follower, char *to, size_t room);
void feed_leave(struct feed_follower *follower);

#endif
