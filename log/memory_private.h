/* The log in memory, for its own files only (log_memory.c, memory_reader.c, memory_writer.c). */
#ifndef KAPPA_LOG_MEMORY_PRIVATE_H
#define KAPPA_LOG_MEMORY_PRIVATE_H

#include "base/arena.h"
#include "log/log.h"

#include <pthread.h>

#define LOG_MEMORY_MAGIC 0x4C4D454DU /* "LMEM" */

struct memory_partition {
    struct kappa_record *records; /* ascending offsets; payloads in the log's arena */
    size_t count;
    size_t room;
    int64_t start;           /* log start */
    int64_t append_offset;   /* of the next append, or above */
    int64_t end_bound;       /* readers see nothing from here on; -1: no bound */
    int64_t fail_offset;     /* log_memory_fail */
    enum err_code fail_code; /* KE_OK: none */
    uint32_t fail_times;     /* left; 0: for ever */
};

struct memory_topic {
    struct memory_topic *next; /* by name */
    char *name;
    uint64_t identity;
    struct memory_partition *partitions;
    uint32_t partition_count;
};

struct log_memory {
    struct log log; /* first */
    uint32_t magic;
    pthread_mutex_t mutex;  /* guards all below, and `woken` of readers */
    pthread_cond_t changed; /* on CLOCK_MONOTONIC: something was appended, or a reader woken */
    struct memory_topic *topics;
    uint64_t identities; /* handed out */
    struct arena arena;  /* payloads */
};

struct log_memory *log_memory_of(struct log *log);

static inline void memory_lock(struct log_memory *self)
{
    ASSERT(pthread_mutex_lock(&self->mutex) == 0);
}

static inline void memory_unlock(struct log_memory *self)
{
    ASSERT(pthread_mutex_unlock(&self->mutex) == 0);
}

/* All of these: for the holder of the mutex. The two look-ups return NULL when there is no such
 * thing, with NOT_FOUND in err. */
struct memory_topic *memory_find_topic(struct log_memory *self, const char *name, struct err *err);
struct memory_partition *memory_find_partition(struct log_memory *self, const char *name,
                                               uint32_t number, struct err *err);
json_t *memory_list_topics(struct log_memory *self);
int64_t memory_end(const struct memory_partition *partition);
void memory_add(struct log_memory *self, struct memory_partition *partition,
                const struct kappa_record *record, int64_t offset, int64_t time_ms);
/* Index of the first record at or above offset. */
size_t memory_lower_bound(const struct memory_partition *partition, int64_t offset);

int memory_reader_open(struct log *log, const char *group, struct log_reader **out,
                       struct err *err);
int memory_writer_open(struct log *log, const char *topic, struct log_writer **out,
                       struct err *err);

#endif
