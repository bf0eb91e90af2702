/* A limit on how fast a version reads: records and bytes per second, shared by the shards of a worker.
 *
 *     governor_init -> governor_wait_us == 0 -> read at most governor_batch() records
 *                   -> governor_spent -> governor_wait_us ...     governor_set at any time
 *
 * Virtual scheduling: what was read has a cost in time, 1 / limit a record or byte; `due` is when all
 * of it is paid for, and nothing is read before. The cost is known only when a batch is there, so a
 * batch is taken first and paid after; batches are small (GOVERNOR_BATCH_US of the limit, for all
 * shards together), so that reading is smooth. Time in which nothing was read is credit for at most
 * GOVERNOR_CREDIT_US: a thread that wakes late catches up, one that was idle does not rush.
 *
 * So in any t seconds at most limit * (t + GOVERNOR_CREDIT_US + GOVERNOR_BATCH_US) + 2 * sharers records
 * are read (bytes: the same, and a record that is larger than its share is read whole).
 *
 * Bytes of the log itself, which its archive does not give ("broker"), have a limit and a debt of their own:
 * while it is not paid, archives are read on.
 *
 * Any thread; one lock, never held while anything slow happens. Times are of the caller's monotonic
 * clock. */
#ifndef KAPPA_REPLAYER_GOVERNOR_H
#define KAPPA_REPLAYER_GOVERNOR_H

#include <pthread.h>

#include "base/err.h"
#include "base/json.h"

#define GOVERNOR_RATE_MAX  INT64_C(1000000000000) /* per second: more is no limit */
#define GOVERNOR_BATCH_US  20000
#define GOVERNOR_CREDIT_US 100000

/* Per second; 0: not limited. */
struct governor_limit {
    int64_t records;
    int64_t bytes;  /* of keys, values and headers */
    int64_t broker; /* of these, what is read from the log itself and not from its archive */
};

struct governor {
    pthread_mutex_t lock; /* guards what follows */
    struct governor_limit limit;
    uint32_t sharers;
    int64_t records_due_ns; /* what was read is paid for then */
    int64_t bytes_due_ns;
    int64_t broker_due_ns;
    int64_t mean_bytes; /* of a record, about; 0: none was read */
};

/* sharers: threads that read, at least 1. */
void governor_init(struct governor *governor, uint32_t sharers);
void governor_close(struct governor *governor);
/* From now on. What is not yet paid for is paid for at the new speed. */
void governor_set(struct governor *governor, const struct governor_limit *limit, int64_t now_us);
/* 0: read now; else not before so many microseconds have passed. */
int64_t governor_wait_us(struct governor *governor, int64_t now_us);
/* At most so many records in the next batch, >= 1; UINT32_MAX: any number. */
uint32_t governor_batch(struct governor *governor);
/* The same two for the log itself, beside these. */
int64_t governor_broker_wait_us(struct governor *governor, int64_t now_us);
uint32_t governor_broker_batch(struct governor *governor);
/* This was read; from an archive or not. */
void governor_spent(struct governor *governor, int64_t now_us, uint32_t records, uint64_t bytes,
                    bool archived);

/* {"records_per_second","bytes_per_second","broker_bytes_per_second"}, all optional; null, NULL or {}: no
 * limit. INVALID with what is wrong. Other members are not looked at. */
int governor_limit_parse(const json_t *value, struct governor_limit *out,
                         struct err *err) must_check;
bool governor_limited(const struct governor_limit *limit);

#endif
