/* One shard's thread inside a worker: carries out orders between steps and publishes how it
 * stands.
 *
 *     worker_shard_init -> [worker_shard_order ...] -> worker_shard_start
 *     -> worker_shard_order ... -> WORKER_STOP ordered, or it fails
 *     -> `closed` in the report -> worker_shard_join
 *
 * Orders given before the start are carried out before the first step: a shard that must not pass
 * a cut is told so then, for once started it reads.
 *
 * The thread opens the shard, steps it and closes it: nobody else touches the shard, but for
 * shard_wake. The main thread orders through a mailbox and reads the report; both are guarded by
 * one lock that is never held while anything slow happens. After each change that the main thread
 * waits for (opened, an order done, at the cut, closed) the event descriptor is written.
 *
 * Orders are numbered by the caller, ascending. done_seq says which was carried out last;
 * at_cut_seq names the run_to at whose cut the shard stands. */
#ifndef KAPPA_REPLAYER_WORKER_SHARD_H
#define KAPPA_REPLAYER_WORKER_SHARD_H

#include <pthread.h>

#include "replayer/shard.h"
#include "replayer/worker_protocol.h"

struct worker_order {
    struct worker_order *next; /* in the mailbox */
    uint64_t seq;
    enum worker_do what; /* not WORKER_OPEN; WORKER_STOP: commit and close */
    bool on;
    int64_t *cut; /* of WORKER_RUN_TO and WORKER_SENT; owned */
};

/* How the shard stands: written by its thread, read by the main thread, under the lock. */
struct worker_report {
    bool opened;
    bool closed;        /* the thread is about to end */
    struct err failure; /* code 0: none */
    uint64_t done_seq;
    uint64_t at_cut_seq; /* 0: none */
    struct shard_status status;
    struct shard_position *positions; /* per source of the shard */
    struct store_source *kept;        /* per source; as of the last at_cut */
};

struct worker_shard {
    struct shard_options options; /* what it points to is the caller's, and outlives the thread */
    int event_fd;                 /* borrowed: told when the report changed in a way that matters */
    pthread_t thread;
    bool started;
    _Atomic int64_t step_us; /* when the step that is going on began; 0: none is */

    pthread_mutex_t lock; /* guards what follows */
    struct worker_order *orders;
    struct worker_order **orders_last;
    struct shard *shard; /* NULL before open and from close on; the pointer is for shard_wake */
    struct worker_report report;
};

void worker_shard_init(struct worker_shard *shard, const struct shard_options *options,
                       int event_fd);
void worker_shard_start(struct worker_shard *shard);
/* cut: of WORKER_RUN_TO and WORKER_SENT, all sources of the version; copied. */
void worker_shard_order(struct worker_shard *shard, uint64_t seq, enum worker_do what, bool on,
                        const int64_t *cut, uint32_t cut_count);
/* Waits for the thread's end, if it was started, and frees what the shard owns. */
void worker_shard_join(struct worker_shard *shard);

#endif
