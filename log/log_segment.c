/* The embedded log: topics as folders of segment files under DATA/log, shared by any number of
 * processes without a server.
 *
 *     DATA/log/~notify               notify.h: wakes readers of all topics
 *     DATA/log/TOPIC/topic.json      topic_dir.h: partitions, retention, identity
 *     DATA/log/TOPIC/N/head          head.h: how far partition N is published
 *     DATA/log/TOPIC/N/lock          partition.h: flock of whoever changes the folder
 *     DATA/log/TOPIC/N/%020d.seg     segment.h: records
 *
 * A writer locks a partition for each batch, writes behind the published end, then publishes by
 * moving the head; readers map the files and follow the head without locks or system calls, and
 * sleep on ~notify when there is nothing. Records are handed out where they lie in the mapping.
 *
 * What survives:
 *  - a process that is killed at any instruction loses nothing that was published, and publishes
 *    nothing by halves: a batch is a prefix of what was appended;
 *  - a machine that crashes loses at most what was not synced: flush(sync), the close of a writer,
 *    and the end of each segment sync. A version whose cut lies behind the end then is told
 *    TOPIC_CHANGED; damage to what was synced is CORRUPT, never repaired. See partition_recover.c.
 *
 * It does not replicate, compress or delete by key. */
#include "log/log_segment.h"

#include "base/file.h"
#include "base/trace.h"
#include "log/partition.h"
#include "log/topic_dir.h"
#include "log/topic_name.h"

#include <stdlib.h>

static int load_topic(struct log_segment *self, const char *topic, struct topic_info *info,
                      struct err *err)
{
    int rc = topic_name_check(topic, err);
    return rc != 0 ? rc : topic_dir_load(self->dir, topic, info, err);
}

static int open_partition(struct log_segment *self, const char *topic, uint32_t number,
                          struct partition *partition, struct err *err)
{
    struct topic_info info;
    int rc = load_topic(self, topic, &info, err);
    if (rc != 0) {
        return rc;
    }
    if (number >= info.partitions) {
        return err_set(err, KE_NOT_FOUND, "topic '%s' has no partition %u: it has %u, from 0",
                       topic, number, info.partitions);
    }
    return partition_open(partition, self->dir, topic, number, &info, err);
}

/* ---- Operations ---- */

static void embedded_close(struct log *log)
{
    struct log_segment *self = log_segment_of(log);
    notify_close(&self->notify);
    free(self->dir);
    self->magic = 0;
    free(self);
}

static int embedded_topic_create(struct log *log, const char *topic,
                                 const struct log_topic_options *options, struct err *err)
{
    int rc = topic_name_check(topic, err);
    return rc != 0 ? rc : topic_dir_create(log_segment_of(log)->dir, topic, options, err);
}

static int embedded_topic_list(struct log *log, json_t **out, struct err *err)
{
    return topic_dir_list(log_segment_of(log)->dir, out, err);
}

static int embedded_topic_partitions(struct log *log, const char *topic, uint32_t *count,
                                     struct err *err)
{
    struct topic_info info;
    int rc = load_topic(log_segment_of(log), topic, &info, err);
    if (rc == 0) {
        *count = info.partitions;
    }
    return rc;
}

static int embedded_topic_identity(struct log *log, const char *topic, uint64_t *identity,
                                   struct err *err)
{
    struct topic_info info;
    int rc = load_topic(log_segment_of(log), topic, &info, err);
    if (rc == 0) {
        *identity = info.identity;
    }
    return rc;
}

static int embedded_offsets(struct log *log, const char *topic, uint32_t number, int64_t *start,
                            int64_t *end, struct err *err)
{
    struct partition partition;
    int rc = open_partition(log_segment_of(log), topic, number, &partition, err);
    if (rc != 0) {
        return rc;
    }
    struct head_state state;
    head_read(&partition.head, &state);
    partition_close(&partition);
    *start = state.start_offset;
    *end = state.end_offset;
    return 0;
}

static int embedded_offset_at_time(struct log *log, const char *topic, uint32_t number,
                                   int64_t time_ms, int64_t *offset, struct err *err)
{
    if (time_ms < 0) {
        return err_set(err, KE_INVALID, "a time before 1970 cannot be looked up");
    }
    struct partition partition;
    int rc = open_partition(log_segment_of(log), topic, number, &partition, err);
    if (rc == 0) {
        rc = partition_offset_at_time(&partition, time_ms, offset, err);
        partition_close(&partition);
    }
    return rc;
}

static int embedded_extent(struct log *log, const char *topic, uint32_t number, int64_t from,
                           int64_t to, struct log_extent *out, struct err *err)
{
    struct partition partition;
    int rc = open_partition(log_segment_of(log), topic, number, &partition, err);
    if (rc == 0) {
        out->retain_ms = partition.info.retain_ms;
        out->retain_bytes = partition.info.retain_bytes;
        out->compacted = 0;
        out->stamped = 0;
        rc = partition_bytes(&partition, from, to, &out->bytes, err);
        partition_close(&partition);
    }
    return rc;
}

/* ---- Retention ---- */

static int expire_partition(struct log_segment *self, const char *topic, uint32_t number,
                            const struct topic_info *info, int64_t now_ms, struct err *err)
{
    struct partition partition;
    int rc = partition_open(&partition, self->dir, topic, number, info, err);
    if (rc != 0) {
        return rc;
    }
    rc = partition_lock(&partition, err);
    if (rc == 0) {
        struct head_state state;
        head_read(&partition.head, &state);
        rc = partition_expire(&partition, &state, now_ms, err);
        partition_unlock(&partition);
    }
    partition_close(&partition);
    return rc;
}

static int expire_topic(struct log_segment *self, const char *topic, int64_t now_ms,
                        struct err *err)
{
    struct topic_info info;
    int rc = topic_dir_load(self->dir, topic, &info, err);
    if (rc != 0 || (info.retain_ms < 0 && info.retain_bytes < 0)) {
        return rc;
    }
    for (uint32_t i = 0; i < info.partitions; i++) {
        int failed = expire_partition(self, topic, i, &info, now_ms, rc == 0 ? err : NULL);
        rc = rc == 0 ? failed : rc;
    }
    return rc;
}

/* All topics are tried; the first error is told. One that was deleted meanwhile is none. */
static int embedded_expire(struct log *log, int64_t now_ms, struct err *err)
{
    struct log_segment *self = log_segment_of(log);
    json_t *topics = NULL;
    int rc = topic_dir_list(self->dir, &topics, err);
    if (rc != 0) {
        return rc;
    }
    size_t i;
    json_t *topic;
    json_array_foreach (topics, i, topic) {
        struct err trouble = {0};
        int failed = expire_topic(self, json_text(topic, "name", ""), now_ms, &trouble);
        bool deleted = failed == -KE_NOT_FOUND || failed == -KE_TOPIC_CHANGED;
        if (rc == 0 && failed != 0 && !deleted) {
            rc = failed;
            if (err != NULL) {
                *err = trouble;
            }
        }
    }
    json_decref(topics);
    return rc;
}

static const struct log_ops embedded_ops = {
    .close = embedded_close,
    .topic_create = embedded_topic_create,
    .topic_list = embedded_topic_list,
    .topic_partitions = embedded_topic_partitions,
    .topic_identity = embedded_topic_identity,
    .offsets = embedded_offsets,
    .offset_at_time = embedded_offset_at_time,
    .extent = embedded_extent,
    .expire = embedded_expire,
    .reader_open = log_segment_reader_open,
    .writer_open = log_segment_writer_open,
    .sender_open = log_sender_plain,
};

int log_open_embedded(const char *dir, struct log **out, struct err *err)
{
    int rc = file_make_dir(dir, err);
    if (rc != 0) {
        return rc;
    }
    struct log_segment *self = xcalloc(1, sizeof *self);
    self->log = (struct log){.ops = &embedded_ops, .kind = "embedded"};
    self->magic = LOG_SEGMENT_MAGIC;
    rc = notify_open(&self->notify, dir, err);
    if (rc != 0) {
        free(self);
        return rc;
    }
    self->dir = xstrdup(dir);
    *out = &self->log;
    return 0;
}
