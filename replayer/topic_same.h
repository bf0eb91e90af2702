/* Does a log still hold what was read of it? Kafka's library tells no identity of topics, and one that was
 * deleted, made again and has grown past a position looks as if nothing were. So does the embedded log when a
 * machine died, its newest records were not on the disk, a version that had read them was, and others have
 * been appended in their place before its worker came up.
 *
 * The largest time of all records read is known. If the log has a newer record below the position, then
 * it was not there when this part was read. The log is asked for the first such offset, which costs one
 * question; where there is one, the first record from there on is read, since control records of
 * transactions and what was aborted have times too, and are never read. So nothing is found where nothing
 * is; a topic whose new records are all older than the old ones is not found.
 *
 * It is asked when a worker begins (worker_shard.c), and before anything is applied that was read behind
 * a moment in which the topic may have been made again (pump.c, log_batch.doubt). */
#ifndef KAPPA_REPLAYER_TOPIC_SAME_H
#define KAPPA_REPLAYER_TOPIC_SAME_H

#include "log/log.h"

/* What was read: everything in [start, next) that readers see, of which no record is newer than time_ms. */
struct topic_read {
    const char *topic;
    uint32_t partition;
    int64_t start, next;
    int64_t time_ms; /* KAPPA_NO_TIME: nothing was read */
};

/* TOPIC_CHANGED, or 0; *asked: false when nobody answers. Only Kafka and the embedded log are asked.
 * group: of the reader. Blocks for some seconds at most. */
int topic_same(struct log *log, const char *group, const struct topic_read *read, bool *asked,
               struct err *err) must_check;

#endif
