/* Writing to the log in memory. Own header: memory_private.h. Appends become visible with flush, as
 * in the other logs, so that callers who forget it are found out. */
#include "log/memory_private.h"

#include "base/clock.h"
#include "base/limits.h"
#include "log/segment_record.h"
#include "log/topic_name.h"

#include <inttypes.h>
#include <stdlib.h>

#define WRITER_MAGIC 0x4C4D5752U /* "LMWR" */

/* Bytes after which append flushes by itself. */
#define BUFFERED_BYTES_MAX (1 << 20)

struct memory_writer {
    struct log_writer writer; /* first */
    uint32_t magic;
    struct log_memory *log;     /* borrowed */
    struct memory_topic *topic; /* borrowed: topics live as long as the log */
    struct buf *buffers;        /* per partition: records as in a segment file */
    size_t buffered;
    uint32_t turn; /* partition of the next record without a key */
};

static struct memory_writer *writer_of(struct log_writer *writer)
{
    struct memory_writer *self = container_of(writer, struct memory_writer, writer);
    MAGIC_ASSERT(self, WRITER_MAGIC);
    return self;
}

static int writer_flush(struct log_writer *writer, bool sync, struct err *err)
{
    (void)sync;
    (void)err;
    struct memory_writer *self = writer_of(writer);
    memory_lock(self->log);
    for (uint32_t i = 0; i < self->topic->partition_count; i++) {
        struct memory_partition *partition = &self->topic->partitions[i];
        struct buf *buffer = &self->buffers[i];
        for (size_t at = 0; at < buffer->len;) {
            size_t size = segment_record_size(buffer->data, at, buffer->len);
            struct kappa_record record;
            segment_record_view(buffer->data + at, &record);
            memory_add(self->log, partition, &record, partition->append_offset, record.time_ms);
            at += size;
        }
        buf_reset(buffer);
    }
    self->buffered = 0;
    memory_unlock(self->log);
    return 0;
}

static int writer_append(struct log_writer *writer, int32_t wish, const struct kappa_record *record,
                         struct err *err)
{
    struct memory_writer *self = writer_of(writer);
    uint32_t count = self->topic->partition_count;
    uint32_t number = (uint32_t)wish;
    size_t size = segment_record_bytes(record);
    if (size > LIMIT_RECORD_BYTES) {
        return err_set(err, KE_LIMIT,
                       "a record of %zu bytes is larger than the %d that one may have", size,
                       LIMIT_RECORD_BYTES);
    }
    if (wish < -1 || wish >= (int32_t)count) {
        return err_set(err, KE_INVALID,
                       "topic '%s' has no partition %" PRId32 ": it has %u, from 0",
                       self->topic->name, wish, count);
    }
    if (wish == -1 && record->key_len != KAPPA_NULL_LEN) {
        number = log_partition_of_key(record->key, record->key_len, count);
    } else if (wish == -1) {
        number = self->turn;
        self->turn = (self->turn + 1) % count;
    }
    bool stamped = record->time_ms != KAPPA_NO_TIME;
    segment_record_encode(&self->buffers[number], record,
                          stamped ? record->time_ms : clock_wall_ms(clock_real()));
    self->buffered += size;
    return self->buffered > BUFFERED_BYTES_MAX ? writer_flush(writer, false, err) : 0;
}

static void writer_close(struct log_writer *writer)
{
    struct memory_writer *self = writer_of(writer);
    (void)writer_flush(writer, false, NULL);
    for (uint32_t i = 0; i < self->topic->partition_count; i++) {
        buf_free(&self->buffers[i]);
    }
    free(self->buffers);
    self->magic = 0;
    free(self);
}

static const struct log_writer_ops writer_ops = {
    .close = writer_close,
    .append = writer_append,
    .flush = writer_flush,
};

int memory_writer_open(struct log *log, const char *topic, struct log_writer **out, struct err *err)
{
    struct log_memory *owner = log_memory_of(log);
    int rc = topic_name_check(topic, err);
    if (rc != 0) {
        return rc;
    }
    memory_lock(owner);
    struct memory_topic *found = memory_find_topic(owner, topic, err);
    memory_unlock(owner);
    if (found == NULL) {
        return -KE_NOT_FOUND;
    }
    struct memory_writer *self = xcalloc(1, sizeof *self);
    self->writer.ops = &writer_ops;
    self->magic = WRITER_MAGIC;
    self->log = owner;
    self->topic = found;
    self->buffers = xcalloc(found->partition_count, sizeof *self->buffers);
    *out = &self->writer;
    return 0;
}
