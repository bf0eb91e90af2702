/* The inside of a shard, for shard.c (life and commands) and pump.c (read, apply, commit). */
#ifndef KAPPA_REPLAYER_SHARD_INSIDE_H
#define KAPPA_REPLAYER_SHARD_INSIDE_H

#include <pthread.h>

#include "base/buf.h"
#include "replayer/pending.h"
#include "replayer/schemas.h"
#include "replayer/shard.h"

#define SHARD_BATCH_RECORDS_MIN 64 /* when caught up: more would only wait */

/* One source of this shard. */
struct shard_input {
    struct shard_source spec; /* topic borrowed */
    int64_t next;             /* next offset to apply; the processor stands here */
    int64_t committed;        /* next as of the last commit; -1: never committed */
    int64_t least;            /* windows were taken over as of this offset; or 0 */
    int64_t cut;              /* while to_cut or at_cut: do not go beyond */
    int64_t log_start;        /* as last seen, or -1 */
    int64_t log_end;          /* as last seen, or -1 */
    int64_t log_high;         /* the same of all that is there, readable or not */
    bool at_end;              /* its newest batch ended at the end */
    int64_t end_us;           /* when it was last seen to be at the end */
    bool reading;             /* the open reader delivers it */
    uint64_t trusted;         /* the doubt that was looked into last: the topic was the same */
    int64_t below;            /* messages of records below it may go; -1: none */
    struct store_source kept; /* as of the last commit */
};

/* Between commands. `paused` is kept beside it: a paused shard may be held. */
enum shard_hold { HOLD_NONE, HOLD_HELD, HOLD_TO_CUT, HOLD_AT_CUT };

struct shard {
    const struct plan *plan;       /* borrowed */
    struct log *log;               /* borrowed */
    const struct shard_take *take; /* borrowed; or NULL */
    const struct clock_ops *clock;
    char *group;
    struct store *store;
    struct processor *processor;
    struct shard_input *inputs;
    uint32_t input_count;
    struct pending pending;
    struct schemas *schemas;   /* borrowed; or NULL */
    struct governor *governor; /* the same */
    bool governed_to_cut;
    const struct shard_tap *tap; /* the same */
    struct buf schema;           /* the one being handed in */

    enum shard_hold hold;
    bool paused;
    bool serving;
    bool near;              /* a cut comes soon */
    bool failed;            /* an error was returned: nothing may be committed any more */
    uint32_t failed_source; /* of the version, or UINT32_MAX */

    uint32_t batch_max; /* bound of batch_now */
    uint32_t batch_now; /* records to ask for */
    size_t cache_bytes;
    size_t keep_bytes;
    bool scattered; /* some table's changes lie anywhere in it: no windows keep them together */

    bool dirty;              /* something was applied since the last commit */
    int64_t dirty_us;        /* when it first was */
    int64_t commit_began_us; /* when the last commit began */
    int64_t commit_spent_us; /* how long it took */
    uint64_t commits;
    int64_t commit_us_max;
    int64_t held_us; /* since when it has been held */
    int64_t cut_commit_us;
    struct histogram commits_took;
    struct histogram freshness;
    int64_t unseen_us; /* when the oldest record came that no commit shows; 0: none */
    int64_t time_us[SHARD_TIME_COUNT];
    int64_t time_from_us; /* what is not yet counted began here */
    struct store_readers readers;
    int64_t readers_us; /* when they were last looked at */
    int64_t oldest_us;  /* when the oldest of them was first seen to be it */
    uint64_t duplicates;
    uint64_t bytes;                  /* read */
    uint64_t archived_bytes;         /* of them, from archives */
    uint64_t file_bytes, used_bytes; /* of the environment after the last commit */
    bool outbox_drop;
    bool trim_due;  /* the outbox may hold messages that are not needed */
    bool trim_more; /* it does: the last trim stopped at its bound */
    void (*committed)(void *ctx);
    void *committed_ctx;

    struct err trouble;    /* passing; code 0: none */
    int64_t trouble_us;    /* when it was last met */
    int64_t retry_us;      /* the reader is left alone until then */
    int64_t retry_wait_us; /* the wait that led there; doubles */

    pthread_mutex_t lock;      /* guards `reader` (the pointer) and `woken` against shard_wake */
    pthread_cond_t wake;       /* ends a wait that is not the reader's */
    struct log_reader *reader; /* NULL: to be opened by the next read */
    bool woken;
};

/* One step while records are wanted (running or to_cut). */
int pump_step(struct shard *shard, int timeout_ms, struct err *err) must_check;
/* Writes what was applied, if anything was. */
int pump_commit(struct shard *shard, struct err *err) must_check;
/* The time since the last call, or since shard_open, was spent so. */
void pump_spent(struct shard *shard, enum shard_time on);
/* Closes the reader and forgets what it delivered and nobody applied. */
void pump_reader_close(struct shard *shard);
/* Sleeps until shard_wake, at most timeout_ms. */
void pump_wait(struct shard *shard, int timeout_ms);

#endif
