/* The log in memory. Own header: log_memory.h.
 *
 * Topics are made and never removed, so pointers to them stay; one mutex guards all that is in
 * them, one condition wakes all readers. Payloads are blocks of their own with the readable tail,
 * freed when the log is closed: what readers hold stays valid through trim and recreate. */
#include "log/log_memory.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/limits.h"
#include "log/memory_private.h"
#include "log/topic_name.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct log_memory *log_memory_of(struct log *log)
{
    struct log_memory *self = container_of(log, struct log_memory, log);
    MAGIC_ASSERT(self, LOG_MEMORY_MAGIC);
    return self;
}

struct memory_topic *memory_find_topic(struct log_memory *self, const char *name, struct err *err)
{
    for (struct memory_topic *topic = self->topics; topic != NULL; topic = topic->next) {
        if (strcmp(topic->name, name) == 0) {
            return topic;
        }
    }
    json_t *names = memory_list_topics(self);
    (void)topic_name_not_found(name, names, err);
    json_decref(names);
    return NULL;
}

struct memory_partition *memory_find_partition(struct log_memory *self, const char *name,
                                               uint32_t number, struct err *err)
{
    struct memory_topic *topic = memory_find_topic(self, name, err);
    if (topic != NULL && number >= topic->partition_count) {
        (void)err_set(err, KE_NOT_FOUND, "topic '%s' has no partition %u: it has %u, from 0", name,
                      number, topic->partition_count);
        topic = NULL;
    }
    return topic == NULL ? NULL : &topic->partitions[number];
}

json_t *memory_list_topics(struct log_memory *self)
{
    json_t *list = json_array();
    for (const struct memory_topic *topic = self->topics; topic != NULL; topic = topic->next) {
        (void)json_array_append_new(list, json_pack("{s:s,s:I}", "name", topic->name, "partitions",
                                                    (json_int_t)topic->partition_count));
    }
    return list;
}

/* ---- Records ---- */

int64_t memory_end(const struct memory_partition *partition)
{
    return partition->end_bound < 0 ? partition->append_offset
                                    : i64_min(partition->end_bound, partition->append_offset);
}

static const uint8_t *copy_bytes(struct log_memory *self, const uint8_t *bytes, uint32_t len)
{
    if (len == KAPPA_NULL_LEN) {
        return NULL;
    }
    uint8_t *copy = arena_calloc(&self->arena, (size_t)len + KAPPA_RECORD_TAIL);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return copy;
}

void memory_add(struct log_memory *self, struct memory_partition *partition,
                const struct kappa_record *record, int64_t offset, int64_t time_ms)
{
    ASSERT_CMP(offset, >=, partition->append_offset);
    if (partition->count == partition->room) {
        partition->room = partition->room == 0 ? 64 : partition->room * 2;
        partition->records =
            xrealloc(partition->records, partition->room * sizeof *partition->records);
    }
    partition->records[partition->count++] = (struct kappa_record){
        .offset = offset,
        .time_ms = time_ms,
        .key = copy_bytes(self, record->key, record->key_len),
        .value = copy_bytes(self, record->value, record->value_len),
        .headers = copy_bytes(self, record->headers, record->headers_len),
        .key_len = record->key_len,
        .value_len = record->value_len,
        .headers_len = record->headers_len,
    };
    partition->append_offset = offset + 1;
    (void)pthread_cond_broadcast(&self->changed);
}

size_t memory_lower_bound(const struct memory_partition *partition, int64_t offset)
{
    size_t low = 0;
    size_t high = partition->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (partition->records[middle].offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- Operations ---- */

static void memory_close(struct log *log)
{
    struct log_memory *self = log_memory_of(log);
    while (self->topics != NULL) {
        struct memory_topic *topic = self->topics;
        self->topics = topic->next;
        for (uint32_t i = 0; i < topic->partition_count; i++) {
            free(topic->partitions[i].records);
        }
        free(topic->partitions);
        free(topic->name);
        free(topic);
    }
    arena_free(&self->arena);
    (void)pthread_cond_destroy(&self->changed);
    (void)pthread_mutex_destroy(&self->mutex);
    self->magic = 0;
    free(self);
}

/* In its place by name. */
static void insert_topic(struct log_memory *self, const char *name, uint32_t partitions)
{
    struct memory_topic *topic = xcalloc(1, sizeof *topic);
    topic->name = xstrdup(name);
    topic->identity = ++self->identities;
    topic->partition_count = partitions;
    topic->partitions = xcalloc(partitions, sizeof *topic->partitions);
    for (uint32_t i = 0; i < partitions; i++) {
        topic->partitions[i].end_bound = -1;
    }
    struct memory_topic **at = &self->topics;
    while (*at != NULL && strcmp((*at)->name, name) < 0) {
        at = &(*at)->next;
    }
    topic->next = *at;
    *at = topic;
}

static int memory_topic_create(struct log *log, const char *name,
                               const struct log_topic_options *options, struct err *err)
{
    struct log_memory *self = log_memory_of(log);
    int rc = topic_name_check(name, err);
    if (rc == 0 && options->partitions == 0) {
        rc = err_set(err, KE_INVALID, "a topic needs at least one partition");
    }
    if (rc == 0 && options->partitions > LIMIT_PARTITIONS) {
        rc = err_set(err, KE_LIMIT, "%u partitions are more than the %d that a topic may have",
                     options->partitions, LIMIT_PARTITIONS);
    }
    if (rc != 0) {
        return rc;
    }
    memory_lock(self);
    if (memory_find_topic(self, name, NULL) != NULL) {
        rc = err_set(err, KE_EXISTS, "the topic '%s' already exists", name);
    } else {
        insert_topic(self, name, options->partitions);
    }
    memory_unlock(self);
    return rc;
}

static int memory_topic_list(struct log *log, json_t **out, struct err *err)
{
    (void)err;
    struct log_memory *self = log_memory_of(log);
    memory_lock(self);
    *out = memory_list_topics(self);
    memory_unlock(self);
    return 0;
}

static int memory_topic_partitions(struct log *log, const char *name, uint32_t *count,
                                   struct err *err)
{
    struct log_memory *self = log_memory_of(log);
    int rc = topic_name_check(name, err);
    if (rc != 0) {
        return rc;
    }
    memory_lock(self);
    const struct memory_topic *topic = memory_find_topic(self, name, err);
    if (topic != NULL) {
        *count = topic->partition_count;
    }
    memory_unlock(self);
    return topic != NULL ? 0 : -KE_NOT_FOUND;
}

static int memory_topic_identity(struct log *log, const char *name, uint64_t *identity,
                                 struct err *err)
{
    struct log_memory *self = log_memory_of(log);
    memory_lock(self);
    const struct memory_topic *topic = memory_find_topic(self, name, err);
    if (topic != NULL) {
        *identity = topic->identity;
    }
    memory_unlock(self);
    return topic != NULL ? 0 : -KE_NOT_FOUND;
}

static int memory_offsets(struct log *log, const char *name, uint32_t number, int64_t *start,
                          int64_t *end, struct err *err)
{
    struct log_memory *self = log_memory_of(log);
    memory_lock(self);
    const struct memory_partition *partition = memory_find_partition(self, name, number, err);
    if (partition != NULL) {
        *start = partition->start;
        *end = memory_end(partition);
    }
    memory_unlock(self);
    return partition != NULL ? 0 : -KE_NOT_FOUND;
}

static int memory_offset_at_time(struct log *log, const char *name, uint32_t number,
                                 int64_t time_ms, int64_t *offset, struct err *err)
{
    struct log_memory *self = log_memory_of(log);
    if (time_ms < 0) {
        return err_set(err, KE_INVALID, "a time before 1970 cannot be looked up");
    }
    memory_lock(self);
    const struct memory_partition *partition = memory_find_partition(self, name, number, err);
    if (partition != NULL) {
        *offset = -1;
        size_t i = memory_lower_bound(partition, partition->start);
        size_t stop = memory_lower_bound(partition, memory_end(partition));
        for (; i < stop && *offset < 0; i++) {
            if (partition->records[i].time_ms >= time_ms) {
                *offset = partition->records[i].offset;
            }
        }
    }
    memory_unlock(self);
    return partition != NULL ? 0 : -KE_NOT_FOUND;
}

static int memory_expire(struct log *log, int64_t now_ms, struct err *err)
{
    (void)log;
    (void)now_ms;
    (void)err;
    return 0;
}

static const struct log_ops memory_ops = {
    .close = memory_close,
    .topic_create = memory_topic_create,
    .topic_list = memory_topic_list,
    .topic_partitions = memory_topic_partitions,
    .topic_identity = memory_topic_identity,
    .offsets = memory_offsets,
    .offset_at_time = memory_offset_at_time,
    .expire = memory_expire,
    .reader_open = memory_reader_open,
    .writer_open = memory_writer_open,
    .sender_open = log_sender_plain,
};

int log_open_memory(struct log **out, struct err *err)
{
    (void)err;
    struct log_memory *self = xcalloc(1, sizeof *self);
    self->log = (struct log){.ops = &memory_ops, .kind = "memory"};
    self->magic = LOG_MEMORY_MAGIC;
    arena_init(&self->arena);
    ASSERT(pthread_mutex_init(&self->mutex, NULL) == 0);
    cond_init(&self->changed);
    *out = &self->log;
    return 0;
}

/* ---- States for tests ---- */

static struct memory_partition *must_find(struct log_memory *self, const char *topic,
                                          uint32_t number)
{
    struct memory_partition *partition = memory_find_partition(self, topic, number, NULL);
    ASSERT(partition != NULL);
    return partition;
}

void log_memory_append(struct log *log, const char *topic, uint32_t partition,
                       const struct kappa_record *record)
{
    struct log_memory *self = log_memory_of(log);
    memory_lock(self);
    memory_add(self, must_find(self, topic, partition), record, record->offset, record->time_ms);
    memory_unlock(self);
}

void log_memory_skip_to(struct log *log, const char *topic, uint32_t partition, int64_t offset)
{
    struct log_memory *self = log_memory_of(log);
    memory_lock(self);
    struct memory_partition *found = must_find(self, topic, partition);
    found->append_offset = i64_max(found->append_offset, offset);
    (void)pthread_cond_broadcast(&self->changed);
    memory_unlock(self);
}

void log_memory_trim(struct log *log, const char *topic, uint32_t partition, int64_t start)
{
    struct log_memory *self = log_memory_of(log);
    memory_lock(self);
    struct memory_partition *found = must_find(self, topic, partition);
    found->start = i64_min(i64_max(found->start, start), memory_end(found));
    (void)pthread_cond_broadcast(&self->changed);
    memory_unlock(self);
}

void log_memory_set_end(struct log *log, const char *topic, uint32_t partition, int64_t end)
{
    struct log_memory *self = log_memory_of(log);
    memory_lock(self);
    struct memory_partition *found = must_find(self, topic, partition);
    ASSERT(end < 0 || end >= found->start);
    found->end_bound = end;
    (void)pthread_cond_broadcast(&self->changed);
    memory_unlock(self);
}

void log_memory_recreate(struct log *log, const char *topic)
{
    struct log_memory *self = log_memory_of(log);
    memory_lock(self);
    struct memory_topic *found = memory_find_topic(self, topic, NULL);
    ASSERT(found != NULL);
    found->identity = ++self->identities;
    for (uint32_t i = 0; i < found->partition_count; i++) {
        struct memory_partition *partition = &found->partitions[i];
        free(partition->records);
        *partition = (struct memory_partition){.end_bound = -1};
    }
    (void)pthread_cond_broadcast(&self->changed);
    memory_unlock(self);
}

void log_memory_fail(struct log *log, const char *topic, uint32_t partition, int64_t offset,
                     enum err_code code, uint32_t times)
{
    struct log_memory *self = log_memory_of(log);
    memory_lock(self);
    struct memory_partition *found = must_find(self, topic, partition);
    found->fail_offset = offset;
    found->fail_code = code;
    found->fail_times = times;
    (void)pthread_cond_broadcast(&self->changed);
    memory_unlock(self);
}
