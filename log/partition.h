/* One partition of the embedded log: a folder TOPIC/N of segment files, a head and a lock file.
 *
 *     partition_open (recovers when the machine was restarted, or the head is missing)
 *       -> head_read, segment maps: readers, no lock
 *       -> partition_lock -> read head, change files, head_publish -> partition_unlock: writers
 *       -> partition_close
 *
 * Invariants:
 *  1. Who changes a file of the folder holds the lock (flock of `lock`, so it goes with the process).
 *  2. Every segment below the head's active one is sealed, and its end is the base of the next.
 *     Files above the active one are leftovers of a killed writer and belong to nobody.
 *  3. Readers touch a segment only below what the head (active) or the seal says is valid.
 *  4. Behind that, the active segment is zero when a writer begins to write: who finds leftovers of
 *     a killed writer there removes them first. */
#ifndef KAPPA_LOG_PARTITION_H
#define KAPPA_LOG_PARTITION_H

#include "log/head.h"
#include "log/topic_dir.h"

struct partition {
    char *dir;
    char *label;            /* "topic 'x' partition 3", for messages */
    struct topic_info info; /* of its topic */
    int lock_fd;            /* -1: the lock file is not open */
    struct head head;
};

/* NOT_FOUND when the folder is not there, CORRUPT when recovery refuses. */
int partition_open(struct partition *partition, const char *log_dir, const char *topic,
                   uint32_t number, const struct topic_info *info, struct err *err) must_check;
void partition_close(struct partition *partition);

/* Waits for others. TOPIC_CHANGED when the topic was deleted meanwhile. */
int partition_lock(struct partition *partition, struct err *err) must_check;
void partition_unlock(struct partition *partition);
/* Saves a file descriptor until the next partition_lock. */
void partition_lock_close(struct partition *partition);

/* For the holder of the lock: removes segments that retention lets go; *state is published when it
 * changed. Never the active segment. now_ms: wall clock. */
int partition_expire(struct partition *partition, struct head_state *state, int64_t now_ms,
                     struct err *err) must_check;

/* Bytes of the records in [from, to), no lock: whole segments as they are, of others a share. */
int partition_bytes(const struct partition *partition, int64_t from, int64_t to, int64_t *bytes,
                    struct err *err) must_check;

/* partition_recover.c. For the holder of the lock, head closed or of another boot: makes a new head
 * from the files. */
int partition_recover(struct partition *partition, enum head_found found,
                      struct err *err) must_check;

/* The first record at or after start with time >= time_ms, -1 when there is none. No lock. */
int partition_offset_at_time(const struct partition *partition, int64_t time_ms, int64_t *offset,
                             struct err *err) must_check;

#endif
