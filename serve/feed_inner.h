/* The inside of the feeds: feed.c (threads, snapshots), feed_ring.c (texts and who reads them),
 * feed_choice.c (which rows they tell of), feed_rows.c (which of them differ, events as text),
 * feed_view.c (views, which are run). */
#ifndef KAPPA_SERVE_FEED_INNER_H
#define KAPPA_SERVE_FEED_INNER_H

#include "base/digest.h"
#include "base/limits.h"
#include "serve/feed.h"
#include "serve/reader_inner.h"
#include "serve/reader_side.h"
#include "serve/routes_private.h"
#include "serve/row_filter.h"
#include "serve/row_range.h"

#define FEED_RING_BYTES  (16U << 20)
#define FEED_STEP_BYTES  (FEED_RING_BYTES / 2) /* of one step: more becomes a reset */
#define FEED_VIEW_BYTES  (8U << 20) /* of a view's rows as text; twice while it is compared */
#define FEED_VIEW_US     10000000   /* of a view's run, which holds a snapshot */
#define FEED_PIECES      8192       /* of the ring */
#define FEED_PIECE_BYTES 65536      /* and one event more */

/* Whole events. Counted, for one who reads it may do so when the ring has dropped it. */
struct feed_piece {
    uint32_t owners; /* lock */
    size_t len;
    char id[DIGEST_TEXT_LEN + 1]; /* of the cut that it ends with, else "" */
    char text[];
};

/* Pieces that are being made: what happened from one snapshot to the next. */
struct feed_step {
    struct buf text; /* not yet a piece */
    struct feed_piece **pieces;
    uint32_t count;
    uint32_t capacity;
    size_t bytes; /* of all */
};

/* All rows at a cut, between a reset and the cut. Counted as pieces are. */
struct feed_listing {
    uint32_t owners;           /* lock */
    uint64_t seq;              /* of the ring: the first piece behind it */
    uint64_t bytes_before;     /* that the ring was given before it */
    struct route_answer whole; /* in memory or in a file */
};

/* Which rows of a table a feed tells of. Texts are owned. */
struct feed_choice {
    struct row_range range;
    bool bounded; /* the range says anything */
    char *where;  /* or NULL */
    char *name;   /* the table and all of this: feeds of one name tell the same */
    int name_len; /* of the table in it */
};

/* The same as a version understands it; the columns of another one that feed_rows_match are alike. */
struct feed_sieve {
    uint32_t version; /* 0: of none yet */
    char processor[LIMIT_NAME_LEN + 1];
    struct reader_bounds *bounds; /* NULL: all keys */
    struct row_filter *filter;    /* NULL: all rows */
};

/* A table at one snapshot. */
struct feed_point {
    struct reader_read reading; /* table: PLAN_NONE of a view */
    bool there;
    struct feed_view *view; /* its rows, once they were read; NULL of a table */
    char id[DIGEST_TEXT_LEN + 1];
};

struct feed_follower {
    uint32_t magic;
    struct feed *feed;
    struct feed_follower *next; /* lock */
    struct feed_follower *prev;
    struct feed_sleeper sleeper;
    char after[DIGEST_TEXT_LEN + 1]; /* an id to go on behind, until it was looked up */
    bool rows;                       /* a reset brings them */
    bool asleep;                     /* lock */
    bool ending;                     /* what it reads is the last */
    uint64_t generation;             /* as the feed's: it has a place in the ring, `seq` */
    uint64_t seq;
    uint64_t beats_seen;
    struct feed_piece *piece; /* being read, or NULL */
    struct feed_listing *listing;
    uint64_t at; /* bytes of it that were taken */
};

/* All but `base` and the times is guarded by feeds->lock. */
struct feed {
    uint32_t magic;
    uint32_t owners; /* its thread, and its followers */
    struct feeds *feeds;
    struct feed *next;
    char table[LIMIT_NAME_LEN + 1];
    struct feed_choice choice; /* never changes */
    bool ended;                /* out of the list; with err when it failed */
    struct err err;
    struct feed_follower *followers;
    int64_t left_us; /* when the last one went */

    struct feed_piece *ring[FEED_PIECES]; /* piece n is at n % FEED_PIECES */
    uint64_t first;                       /* first <= n < behind */
    uint64_t behind;
    uint64_t ring_bytes;
    uint64_t bytes_ever;
    char floor_id[DIGEST_TEXT_LEN + 1]; /* of the state in front of the first piece */
    struct feed_piece *brief;     /* a reset without rows to the state behind the last one, with its
                                     id; NULL before there is any */
    uint64_t generation;          /* grows with each reset */
    struct feed_listing *listing; /* the newest since, or NULL */
    bool listing_wanted;
    uint64_t beats;

    struct feed_point base; /* the thread's, as the sieve is */
    struct feed_sieve sieve;
    uint32_t outgrown;   /* looks in a row at which the file was larger than its map */
    int64_t told_us;     /* when there was something last */
    int64_t wait_us;     /* to the next look */
    const char *why;     /* of the next reset */
    struct query *query; /* the thread's, of a view, or NULL */
};

struct feeds {
    uint32_t magic;
    struct reader *reader;
    int64_t view_us; /* FEED_VIEW_US; a test, which waits for no clock, makes it less */
    pthread_mutex_t lock;
    pthread_cond_t moved;          /* a follower came or wants rows, a thread ended, closing */
    struct feed *first;            /* lock */
    struct feed_counters counters; /* lock for writing; `tables` are threads */
    bool closing;                  /* written with the lock, read atomically */
};

/* With the lock held. */
static inline void feed_count(uint64_t *counter, int by)
{
    __atomic_store_n(counter, *counter + (uint64_t)(int64_t)by, __ATOMIC_RELAXED);
}

/* ---- feed_choice.c */

void feed_choice_make(const struct feed_ask *ask, struct feed_choice *out);
void feed_choice_free(struct feed_choice *choice);
/* INVALID, SQL: it says nothing about this table. REFUSED: rows of a view cannot be chosen, or not be
 * followed at all. */
int feed_sieve_open(const struct feed_choice *choice, const struct reader_read *reading,
                    struct feed_sieve *out, struct err *err) must_check;
void feed_sieve_close(struct feed_sieve *sieve);
/* A side in front of its first row, and the next row that is chosen, as reader_side_next. REFUSED: the
 * condition has no value for a row. */
int feed_sieve_side(const struct feed_sieve *sieve, struct reader *reader,
                    const struct feed_point *point, struct reader_side *side,
                    struct err *err) must_check;
int feed_sieve_next(const struct feed_sieve *sieve, struct reader_side *side,
                    struct err *err) must_check;

/* ---- feed_view.c */

struct feed_view;

/* A read of the version that the view of this name is read from; its table is PLAN_NONE. */
int feed_view_begin(struct reader *reader, const char *table, struct reader_read *out,
                    struct err *err) must_check;
/* REFUSED: its rows are no function of the tables. */
int feed_view_check(const char *table, const struct reader_read *reading,
                    struct err *err) must_check;
/* Runs it as of the point, which holds the rows then. */
int feed_view_read(struct feed *feed, struct feed_point *point, struct err *err) must_check;
void feed_view_free(struct feed_view *view);
/* May they be compared: the same columns and key, as far as rows say? */
bool feed_view_match(const struct feed_view *a, const struct feed_view *b);
/* As feed_rows_compare and feed_rows_list, which call them. */
int feed_view_compare(const struct feed_view *a, const struct feed_view *b,
                      struct feed_step *step) must_check;
int feed_view_list(const struct feed_view *view, struct route_answer *out,
                   struct err *err) must_check;

/* ---- feed_rows.c */

/* The id of a point: of what was chosen of a table, as that is named. */
void feed_point_name(struct feed_point *point, const char *choice);
/* May the rows of two points be compared: the same columns? */
bool feed_rows_match(const struct feed_point *a, const struct feed_point *b);
/* What differs, as upserts and deletes: 1, 0 more than a step may hold, negative. The sieve is one of b's
 * version. */
int feed_rows_compare(struct feed *feed, const struct feed_point *a, const struct feed_point *b,
                      struct feed_step *step, struct err *err) must_check;
/* All rows of the base as upserts. */
int feed_rows_list(struct feed *feed, struct route_answer *out, struct err *err) must_check;
void feed_event_reset(struct buf *out, const struct feed_point *point, const char *table,
                      const char *why, bool rows);
void feed_event_swap(struct buf *out, const struct feed_point *from, const struct feed_point *to);
void feed_event_cut(struct buf *out, const struct feed_point *point, const char *table);
void feed_event_end(struct buf *out, const struct err *err);

/* ---- feed_ring.c; with the lock held, but for the steps */

struct feed_piece *feed_piece_new(const struct buf *text, const char *id);
void feed_piece_release(struct feed_piece *piece);
void feed_listing_release(struct feed_listing *listing);
/* What is in step->text becomes a piece. */
void feed_step_cut(struct feed_step *step, const char *id);
void feed_step_free(struct feed_step *step);
/* The pieces go to the ring. */
void feed_publish(struct feed *feed, struct feed_step *step, struct feed_piece *brief);
/* The ring is emptied: everybody begins anew at this state. */
void feed_reset(struct feed *feed, struct feed_piece *brief);
/* The listing that begins at the state at hand, or behind a piece that is still there; or NULL. */
struct feed_listing *feed_listing_usable(const struct feed *feed);
void feed_wake(struct feed *feed);
struct feed_follower *feed_follower_new(struct feed *feed, const char *after, bool rows,
                                        const struct feed_sleeper *sleeper);
/* The caller gives the feed back. */
void feed_follower_remove(struct feed_follower *follower);

#endif
