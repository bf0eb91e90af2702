/* The folder of one archived topic: DATA/archive/TOPIC, with archive.json, a folder per partition
 * (archive_partition.h), `lock`, held (flock) by the one who writes, and `turn`, held by one who waits
 * for it.
 *
 * archive.json: {"format":1,"partitions":N,"identity":"hex of the log's" (16 zeros: it cannot tell),
 * "on":bool,"retain_ms":-1,"retain_bytes":-1}; it is replaced whole. state.json is for people: what
 * the server's archiver last said of the topic. */
#ifndef KAPPA_LOG_ARCHIVE_TOPIC_H
#define KAPPA_LOG_ARCHIVE_TOPIC_H

#include "base/err.h"
#include "base/json.h"
#include "log/archive_partition.h"
#include "log/log.h"

struct archive_topic {
    uint32_t partitions;
    uint64_t identity; /* of the topic in the log; 0: the log cannot tell */
    bool on;           /* the server archives what is new */
    struct archive_retain retain;
};

/* NOT_FOUND when the topic has no archive. */
int archive_topic_load(const char *archive_dir, const char *topic, struct archive_topic *out,
                       struct err *err) must_check;
/* Makes the folders. Durable. */
int archive_topic_store(const char *archive_dir, const char *topic,
                        const struct archive_topic *settings, struct err *err) must_check;
/* TOPIC_CHANGED when the topic that the log has is another than the archived one. *known: both say who
 * they are (Kafka's topics do not). */
int archive_topic_same(struct log *log, const char *archive_dir, const char *topic,
                       const struct archive_topic *settings, bool *known,
                       struct err *err) must_check;
/* Names, sorted: array of text. No folder: an empty one. */
int archive_topic_list(const char *archive_dir, json_t **out, struct err *err) must_check;

/* Who writes the topic's archive holds its lock. Waiting asks the server's archiver, which looks every
 * second whether it is wanted, to let go for a while. BUSY when that was not long enough. *fd: closing
 * it gives the lock back. wait_ms 0: tries once, and asks nobody. */
int archive_topic_lock(const char *archive_dir, const char *topic, int wait_ms, int *fd,
                       struct err *err) must_check;
/* For the holder: somebody waits. */
bool archive_topic_wanted(const char *archive_dir, const char *topic);

/* {"time","error":{...}|null}. */
void archive_topic_state_store(const char *archive_dir, const char *topic, const json_t *state);
/* NULL when there is none. A new reference. */
json_t *archive_topic_state(const char *archive_dir, const char *topic);

#endif
