/* Batches that were read but not, or not wholly, applied: a queue in the order of reading.
 *
 * A cut falls inside a batch, and while one source stands at its cut another must read on with the
 * same reader. What lies behind a cut waits here. Per source the queue is in offset order and comes
 * before everything the reader will still deliver.
 *
 * At most the newest batch is borrowed (its records belong to the reader); pending_keep copies it
 * before the reader is called again. Not thread-safe. */
#ifndef KAPPA_REPLAYER_PENDING_H
#define KAPPA_REPLAYER_PENDING_H

#include "log/log.h"

struct pending_batch {
    struct pending_batch *next;
    uint32_t index;                     /* the number given to the reader's add() */
    uint32_t count;                     /* of records */
    uint32_t taken;                     /* records [0, taken) are applied */
    const struct kappa_record *records; /* the reader's, or `copy` */
    struct kappa_record *copy;          /* owned: records, then their bytes; NULL while borrowed */
    int64_t next_offset;                /* position behind the batch */
    size_t bytes;                       /* of the copy */
    bool borrowed;                      /* records belong to the reader */
    uint64_t doubt;                     /* log_batch.doubt */
};

struct pending {
    struct pending_batch *first; /* owned */
    struct pending_batch **last; /* where the next one is linked */
    size_t bytes;                /* of all copies */
};

void pending_init(struct pending *pending);
/* Borrows the batch's records. There must be no borrowed batch. */
void pending_push(struct pending *pending, const struct log_batch *batch);
/* Copies what is left of a borrowed batch, if there is one: the reader may be called again. */
void pending_keep(struct pending *pending);
/* Takes out and frees one batch of the queue. */
void pending_drop(struct pending *pending, struct pending_batch *batch);
void pending_clear(struct pending *pending);

#endif
