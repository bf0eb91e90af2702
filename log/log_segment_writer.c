/* Writing to the embedded log: which partition a record goes to, and when buffers are flushed. Own
 * header: log_segment.h. The work on one partition is in partition_writer.h. */
#include "log/log_segment.h"

#include "base/clock.h"
#include "base/limits.h"
#include "log/partition_writer.h"
#include "log/segment_record.h"
#include "log/topic_dir.h"
#include "log/topic_name.h"

#include <inttypes.h>
#include <stdlib.h>

#define WRITER_MAGIC 0x4C535752U /* "LSWR" */

/* Bytes over all partitions after which append flushes by itself: large writes, bounded memory. */
#define BUFFERED_BYTES_MAX (1 << 20)

/* Topics with more partitions than this close their files after each flush. */
#define OPEN_PARTITIONS_MAX 128

struct segment_writer {
    struct log_writer writer; /* first */
    uint32_t magic;
    struct log_segment *log; /* borrowed */
    char *topic;
    struct topic_info info;
    struct partition_writer *partitions; /* info.partitions of them */
    size_t buffered;                     /* bytes in all buffers */
    uint32_t turn;                       /* partition of the next record without a key */
};

static struct segment_writer *writer_of(struct log_writer *writer)
{
    struct segment_writer *self = container_of(writer, struct segment_writer, writer);
    MAGIC_ASSERT(self, WRITER_MAGIC);
    return self;
}

/* Every partition is tried; the first error is told. */
static int flush_all(struct segment_writer *self, bool sync, struct err *err)
{
    int rc = 0;
    self->buffered = 0;
    for (uint32_t i = 0; i < self->info.partitions; i++) {
        struct partition_writer *partition = &self->partitions[i];
        if (partition->partition.dir == NULL) {
            continue;
        }
        int failed = partition_writer_flush(partition, rc == 0 ? err : NULL);
        if (failed == 0 && sync) {
            failed = partition_writer_sync(partition, rc == 0 ? err : NULL);
        }
        rc = rc == 0 ? failed : rc;
        self->buffered += partition->buffer.len;
        if (self->info.partitions > OPEN_PARTITIONS_MAX) {
            partition_writer_rest(partition);
        }
    }
    return rc;
}

static int writer_flush(struct log_writer *writer, bool sync, struct err *err)
{
    return flush_all(writer_of(writer), sync, err);
}

static int choose_partition(struct segment_writer *self, int32_t wish,
                            const struct kappa_record *record, uint32_t *number, struct err *err)
{
    if (wish >= (int32_t)self->info.partitions || wish < -1) {
        return err_set(err, KE_INVALID,
                       "topic '%s' has no partition %" PRId32 ": it has %u, from 0", self->topic,
                       wish, self->info.partitions);
    }
    if (wish >= 0) {
        *number = (uint32_t)wish;
    } else if (record->key_len != KAPPA_NULL_LEN) {
        *number = log_partition_of_key(record->key, record->key_len, self->info.partitions);
    } else {
        *number = self->turn;
        self->turn = (self->turn + 1) % self->info.partitions;
    }
    return 0;
}

static int writer_append(struct log_writer *writer, int32_t wish, const struct kappa_record *record,
                         struct err *err)
{
    struct segment_writer *self = writer_of(writer);
    size_t size = segment_record_bytes(record);
    uint32_t number = 0;
    if (size > LIMIT_RECORD_BYTES) {
        return err_set(err, KE_LIMIT,
                       "a record of %zu bytes is larger than the %d that one may have", size,
                       LIMIT_RECORD_BYTES);
    }
    int rc = choose_partition(self, wish, record, &number, err);
    if (rc == 0 && self->buffered > 0 && self->buffered + size > BUFFERED_BYTES_MAX) {
        rc = flush_all(self, false, err);
    }
    if (rc == 0) {
        rc = partition_writer_open(&self->partitions[number], self->log->dir, self->topic, number,
                                   &self->info, err);
    }
    if (rc != 0) {
        return rc;
    }
    bool stamped = record->time_ms != KAPPA_NO_TIME;
    partition_writer_add(&self->partitions[number], record,
                         stamped ? record->time_ms : clock_wall_ms(clock_real()));
    self->buffered += size;
    return 0;
}

static void writer_close(struct log_writer *writer)
{
    struct segment_writer *self = writer_of(writer);
    (void)flush_all(self, true, NULL);
    for (uint32_t i = 0; i < self->info.partitions; i++) {
        partition_writer_close(&self->partitions[i]);
    }
    free(self->partitions);
    free(self->topic);
    self->magic = 0;
    free(self);
}

static const struct log_writer_ops writer_ops = {
    .close = writer_close,
    .append = writer_append,
    .flush = writer_flush,
};

int log_segment_writer_open(struct log *log, const char *topic, struct log_writer **out,
                            struct err *err)
{
    struct log_segment *owner = log_segment_of(log);
    struct topic_info info;
    int rc = topic_name_check(topic, err);
    if (rc == 0) {
        rc = topic_dir_load(owner->dir, topic, &info, err);
    }
    if (rc == 0 && owner->notify.refused != 0) {
        rc = err_errno(err, owner->notify.refused, "cannot write to the log %s", owner->dir);
    }
    if (rc != 0) {
        return rc;
    }
    struct segment_writer *self = xcalloc(1, sizeof *self);
    self->writer.ops = &writer_ops;
    self->magic = WRITER_MAGIC;
    self->log = owner;
    self->topic = xstrdup(topic);
    self->info = info;
    self->partitions = xcalloc(info.partitions, sizeof *self->partitions);
    for (uint32_t i = 0; i < info.partitions; i++) {
        partition_writer_init(&self->partitions[i], &owner->notify);
    }
    *out = &self->writer;
    return 0;
}
