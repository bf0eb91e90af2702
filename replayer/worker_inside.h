/* The inside of the worker's main thread, for worker.c (commands and answers), worker_setup.c
 * (opening and closing) and worker_events.c (what is said). */
#ifndef KAPPA_REPLAYER_WORKER_INSIDE_H
#define KAPPA_REPLAYER_WORKER_INSIDE_H

#include "base/buf.h"
#include "replayer/plugin_file.h"
#include "replayer/schemas.h"
#include "replayer/version_dir.h"
#include "replayer/worker_monitor.h"
#include "replayer/worker_sender.h"
#include "replayer/worker_shard.h"

#define WORKER_REQUESTS_MAX 64 /* unanswered commands; a controller has one or two */
#define WORKER_SENDERS_MAX  16 /* one that sends, and those that are ending */
#define WORKER_RATE_SAMPLES 11 /* ten steps of 100 ms make the last second */

/* A command that an event will answer. */
struct worker_request {
    enum worker_do what;
    uint64_t id;
    uint64_t seq; /* of the orders that carry it out */
};

/* How the version stands: the shards' reports brought together, one entry per source. */
struct worker_snapshot {
    int64_t *next, *least, *committed, *start, *end, *high, *record_time_ms;
    bool *at_end;
    bool *blocked; /* an open transaction holds the end below what is there */
    enum shard_mode mode;
    bool sealed; /* all shards */
    uint64_t records, dead, late, duplicates, bytes, archived_bytes, commits;
    int64_t commit_us_max, cut_commit_us;
    int64_t held_us; /* since when the first of the shards is held */
    struct histogram commits_took, freshness;
    int64_t time_us[SHARD_TIME_COUNT];
    uint32_t readers;      /* of the shard with the most */
    int64_t oldest_age_us; /* of the oldest of all */
    uint64_t cache_bytes, cache_rows, evictions, file_bytes, used_bytes, outbox_rows;
    struct err trouble; /* of the first shard that has some */
};

/* What progress was last told: it is told again when this changes. */
struct worker_told {
    int64_t next_sum, committed_sum, end_sum;
    uint64_t commits, outbox_rows;
    uint32_t blocked; /* sources */
    enum shard_mode mode;
    int trouble;
};

struct worker {
    int in_fd, out_fd;
    int event_fd; /* shards and monitor write it */
    struct buf in;
    struct buf out;
    size_t out_at;   /* bytes of `out` already written */
    bool out_closed; /* nobody reads the events any more */
    bool input_ended;

    struct worker_open open; /* message NULL before the open command */
    struct plan *plan;
    struct plugins *plugins; /* or NULL */
    struct log *log;
    struct schemas *schemas;
    int nice;                 /* added to its nice value while it replays; 0: not, or no more */
    struct governor governor; /* of all shards, once there are some */
    struct version_dir *dir;
    struct worker_monitor *monitor;
    struct shard_source *sources; /* of all shards, grouped by shard */
    struct shard_take take;       /* of all shards, if the open message has one */
    char **shard_dirs;
    struct worker_shard *shards;
    uint32_t shard_count;        /* made; they run from worker_launch on */
    bool opened;                 /* said so */
    struct worker_bell bell;     /* rung after each commit */
    struct worker_outbox outbox; /* to be sent once opened; message NULL: nothing */
    struct worker_sender *senders[WORKER_SENDERS_MAX]; /* oldest first */
    uint32_t sender_count;
    bool sending;            /* the last of them was not stopped */
    int64_t *sent;           /* per source: as last told to the shards */
    bool stopping;           /* shards were ordered to stop */
    struct err failure;      /* the first; code 0: none */
    uint32_t failure_source; /* or UINT32_MAX */

    uint64_t seq; /* of the newest order */
    struct worker_request requests[WORKER_REQUESTS_MAX];
    uint32_t request_count;

    struct worker_snapshot snapshot;
    struct worker_told told;
    int64_t progress_us; /* when progress was last told */
    int64_t rate_us[WORKER_RATE_SAMPLES];
    uint64_t rate_records[WORKER_RATE_SAMPLES];
    uint32_t rate_count; /* samples taken */
};

/* ---- worker.c */

/* An order for all shards. */
void worker_order_all(struct worker *w, enum worker_do what, bool on, const int64_t *cut);

/* ---- worker_setup.c */

/* Everything from the open message to shards that wait for their first orders. On error the caller
 * fails the worker. */
int worker_setup(struct worker *w, json_t *message, struct err *err) must_check;
/* Starts the threads: what was ordered before comes before the first record. */
void worker_launch(struct worker *w);
/* After all shards have closed: joins and frees everything. */
void worker_teardown(struct worker *w);

/* ---- worker_send.c */

/* The version serves and sends this from now on (NULL: it has no outputs), or it does not any more:
 * then nothing is sent of what is committed after this call. */
int worker_send_on(struct worker *w, const json_t *outbox, struct err *err) must_check;
void worker_send_off(struct worker *w);
/* Starts a sender that waits for the shards to be open. */
void worker_send_start(struct worker *w);
/* Tells the shards what is sent, when that changed. */
void worker_send_look(struct worker *w);
/* False: one is stuck in the log and still uses everything. */
bool worker_send_end(struct worker *w);
/* The member "outbox" of progress, a new reference; NULL when the version has no outputs. *trouble:
 * why nothing is sent, when nothing worse is known. */
json_t *worker_send_status(struct worker *w, struct err *trouble);

/* ---- worker_events.c */

void worker_snapshot_take(struct worker *w);
void worker_say_opened(struct worker *w);
void worker_say_near(struct worker *w, uint64_t id);
void worker_say_held(struct worker *w, uint64_t id);
void worker_say_at_cut(struct worker *w, uint64_t id);
/* A snapshot is made; takes the note of it. */
void worker_say_copied(struct worker *w, json_t *note);
/* "sealed", "paused", "resumed", "stopped" */
void worker_say(struct worker *w, const char *what);
void worker_say_failed(struct worker *w);
/* Tells progress when it is due and the pipe is not behind. Returns ms until it should be called
 * again. */
int worker_progress(struct worker *w);
uint64_t worker_rss_bytes(void);
/* A plugin that does not return, or grows without bound: worker_guard.c. */
bool worker_runs_away(const struct worker *w, struct err *err);
/* Writes what the pipe takes. */
void worker_out_flush(struct worker *w);
/* Is something left to write? */
bool worker_out_waiting(const struct worker *w);

#endif
