/* The thread around a sender.
 *
 *     worker_sender_start -> look ... -> worker_sender_stop -> worker_sender_join
 *
 * It steps the sender as long as there is something to send, and sleeps on the bell that the shards
 * ring after each commit. The main thread starts one when the version begins to serve and stops it
 * when it ceases to; the old one may still be waiting for the log then, so that several may exist. */
#ifndef KAPPA_REPLAYER_WORKER_SENDER_H
#define KAPPA_REPLAYER_WORKER_SENDER_H

#include <pthread.h>

#include "replayer/worker_outbox.h"

/* Rung by any thread. */
struct worker_bell {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    uint64_t rung;
};

void worker_bell_init(struct worker_bell *bell);
void worker_bell_ring(struct worker_bell *bell);

struct worker_sender;

/* Takes the outbox; log and bell are borrowed until the join. marks: per output, copied. */
struct worker_sender *worker_sender_start(struct worker_outbox *outbox,
                                          const struct sender_marks *marks, struct log *log,
                                          struct worker_bell *bell,
                                          int (*fail_point)(void *ctx, const char *step));
/* Nothing committed after this call is sent; returns at once. */
void worker_sender_stop(struct worker_sender *ws);
/* positions: per source of the version, as sender_positions. epoch: of the span being sent. */
void worker_sender_look(struct worker_sender *ws, struct sender_status *status, int64_t *positions,
                        uint64_t *epoch);
/* Waits so long for the end of a stopped one; true: it has ended and is freed. */
bool worker_sender_join(struct worker_sender *ws, int wait_ms);

#endif
