/* Reading the log in memory. Own header: memory_private.h. */
#include "log/memory_private.h"

#include "base/cond.h"
#include "base/limits.h"
#include "log/segment_record.h"
#include "log/topic_name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define READER_MAGIC 0x4C4D5244U /* "LMRD" */

struct memory_source {
    const char *topic; /* the topic's name, borrowed */
    uint32_t partition_number;
    uint32_t number;                    /* the caller's */
    struct memory_partition *partition; /* borrowed: lives as long as the log */
    int64_t next;
};

struct memory_reader {
    struct log_reader reader; /* first */
    uint32_t magic;
    struct log_memory *log; /* borrowed */
    struct memory_source *sources;
    uint32_t count;
    uint32_t turn; /* index of the source to look at first */
    bool woken;
    struct kappa_record *records; /* of the batch, reused */
    uint32_t room;
};

static struct memory_reader *reader_of(struct log_reader *reader)
{
    struct memory_reader *self = container_of(reader, struct memory_reader, reader);
    MAGIC_ASSERT(self, READER_MAGIC);
    return self;
}

static int range_error(const struct memory_source *source, struct err *err)
{
    int64_t start = source->partition->start;
    int64_t end = memory_end(source->partition);
    if (source->next < start) {
        return err_set(err, KE_RANGE_LOST,
                       "topic '%s' partition %u: offset %" PRId64
                       " is asked for, but retention has removed it: the log holds %" PRId64
                       " to %" PRId64,
                       source->topic, source->partition_number, source->next, start, end);
    }
    return err_set(err, KE_TOPIC_CHANGED,
                   "topic '%s' partition %u: offset %" PRId64
                   " is asked for, but the log ends at %" PRId64 " (it begins at %" PRId64 ")",
                   source->topic, source->partition_number, source->next, end, start);
}

/* The error that a test wished for, when the position has reached it. */
static int injected_error(const struct memory_source *source, struct err *err)
{
    struct memory_partition *partition = source->partition;
    enum err_code code = partition->fail_code;
    if (partition->fail_times > 0 && --partition->fail_times == 0) {
        partition->fail_code = KE_OK;
    }
    return err_set(err, code, "topic '%s' partition %u, offset %" PRId64 ": %s (injected)",
                   source->topic, source->partition_number, source->next, err_text((int)code));
}

/* *got: whether the batch was filled. */
static int read_source(struct memory_reader *self, struct memory_source *source, uint32_t max,
                       struct log_batch *batch, bool *got, struct err *err)
{
    struct memory_partition *partition = source->partition;
    int64_t end = memory_end(partition);
    bool failing = partition->fail_code != KE_OK;
    if (source->next < partition->start || source->next > end) {
        return range_error(source, err);
    }
    if (failing && source->next >= partition->fail_offset) {
        return injected_error(source, err);
    }
    if (source->next == end) {
        return 0;
    }
    int64_t stop = failing ? i64_min(end, partition->fail_offset) : end;
    size_t index = memory_lower_bound(partition, source->next);
    size_t bytes = 0;
    uint32_t count = 0;
    while (count < max && bytes < LIMIT_BATCH_BYTES && index < partition->count &&
           partition->records[index].offset < stop) {
        bytes += segment_record_bytes(&partition->records[index]);
        self->records[count++] = partition->records[index++];
    }
    bool drained = index == partition->count || partition->records[index].offset >= stop;
    source->next = drained ? stop : self->records[count - 1].offset + 1;
    *batch = (struct log_batch){
        .source = source->number,
        .count = count,
        .records = self->records,
        .next_offset = source->next,
        .end_offset = end,
        .at_end = source->next == end,
    };
    *got = true;
    return 0;
}

static int read_round(struct memory_reader *self, uint32_t max, struct log_batch *batch, bool *got,
                      struct err *err)
{
    uint32_t first = self->turn;
    for (uint32_t i = 0; i < self->count && !*got; i++) {
        uint32_t index = (first + i) % self->count;
        self->turn = (index + 1) % self->count;
        int rc = read_source(self, &self->sources[index], max, batch, got, err);
        if (rc != 0) {
            batch->source = self->sources[index].number;
            return rc;
        }
    }
    return 0;
}

static int reader_next(struct log_reader *reader, int timeout_ms, uint32_t max_records,
                       struct log_batch *batch, struct err *err)
{
    struct memory_reader *self = reader_of(reader);
    ASSERT_CMP(max_records, >, 0);
    *batch = (struct log_batch){.source = UINT32_MAX};
    if (self->room < max_records) {
        self->records = xrealloc(self->records, max_records * sizeof *self->records);
        self->room = max_records;
    }
    struct timespec deadline = cond_until(timeout_ms > 0 ? timeout_ms : 0);
    bool waited_out = timeout_ms <= 0;
    bool got = false;
    memory_lock(self->log);
    int rc = read_round(self, max_records, batch, &got, err);
    while (rc == 0 && !got && !waited_out && !self->woken) {
        waited_out =
            pthread_cond_timedwait(&self->log->changed, &self->log->mutex, &deadline) == ETIMEDOUT;
        rc = read_round(self, max_records, batch, &got, err);
    }
    if (rc == 0 && !got) {
        self->woken = false;
        batch->none = true;
    }
    memory_unlock(self->log);
    return rc;
}

static int reader_add(struct log_reader *reader, uint32_t number, const char *topic,
                      uint32_t partition, int64_t offset, struct err *err)
{
    struct memory_reader *self = reader_of(reader);
    if (offset < 0) {
        return err_set(err, KE_INVALID, "offset %" PRId64 " is negative", offset);
    }
    memory_lock(self->log);
    const struct memory_topic *found = memory_find_topic(self->log, topic, err);
    struct memory_partition *found_partition =
        found == NULL ? NULL : memory_find_partition(self->log, topic, partition, err);
    if (found_partition != NULL) {
        self->sources = xrealloc(self->sources, (self->count + 1) * sizeof *self->sources);
        self->sources[self->count++] = (struct memory_source){
            .topic = found->name,
            .partition_number = partition,
            .number = number,
            .partition = found_partition,
            .next = offset,
        };
    }
    memory_unlock(self->log);
    return found_partition != NULL ? 0 : -KE_NOT_FOUND;
}

static void reader_progress(struct log_reader *reader, uint32_t number, int64_t *start,
                            int64_t *end, int64_t *high)
{
    struct memory_reader *self = reader_of(reader);
    *start = -1;
    *end = -1;
    memory_lock(self->log);
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->sources[i].number == number) {
            *start = self->sources[i].partition->start;
            *end = memory_end(self->sources[i].partition);
        }
    }
    *high = *end;
    memory_unlock(self->log);
}

static void reader_wake(struct log_reader *reader)
{
    struct memory_reader *self = reader_of(reader);
    memory_lock(self->log);
    self->woken = true;
    (void)pthread_cond_broadcast(&self->log->changed);
    memory_unlock(self->log);
}

static void reader_close(struct log_reader *reader)
{
    struct memory_reader *self = reader_of(reader);
    free(self->sources);
    free(self->records);
    self->magic = 0;
    free(self);
}

static const struct log_reader_ops reader_ops = {
    .close = reader_close,
    .add = reader_add,
    .next = reader_next,
    .progress = reader_progress,
    .wake = reader_wake,
};

int memory_reader_open(struct log *log, const char *group, struct log_reader **out, struct err *err)
{
    (void)group;
    (void)err;
    struct memory_reader *self = xcalloc(1, sizeof *self);
    self->reader.ops = &reader_ops;
    self->magic = READER_MAGIC;
    self->log = log_memory_of(log);
    *out = &self->reader;
    return 0;
}
