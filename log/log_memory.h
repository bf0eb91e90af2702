/* What only the log in memory can do: make the states of a log that are hard to come by, for tests
 * and the simulator. Everything else is log.h.
 *
 * Thread-safe; deterministic but for waiting. Records stay in memory until the log is closed, also
 * trimmed ones. Unknown topics and partitions are programmer errors here. */
#ifndef KAPPA_LOG_LOG_MEMORY_H
#define KAPPA_LOG_LOG_MEMORY_H

#include "log/log.h"

/* Appends at record->offset, which must not lie below what was appended before: leaves a hole when
 * it lies above. */
void log_memory_append(struct log *log, const char *topic, uint32_t partition,
                       const struct kappa_record *record);
/* The next append goes to this offset or above: a hole at the end, which readers pass over. */
void log_memory_skip_to(struct log *log, const char *topic, uint32_t partition, int64_t offset);
/* Retention: offsets below start are gone. It only grows, up to the end. */
void log_memory_trim(struct log *log, const char *topic, uint32_t partition, int64_t start);
/* Readers see nothing at or above this offset, as behind an open transaction; -1: all again. */
void log_memory_set_end(struct log *log, const char *topic, uint32_t partition, int64_t end);
/* Deleted and made again: empty, with another identity. Readers behind the end get TOPIC_CHANGED. */
void log_memory_recreate(struct log *log, const char *topic);
/* A reader that comes to this offset gets the error (KE_CORRUPT, KE_BROKER, ...); `times`: that
 * often, then it passes; 0: for ever. One at a time per partition; code 0 takes it away. */
void log_memory_fail(struct log *log, const char *topic, uint32_t partition, int64_t offset,
                     enum err_code code, uint32_t times);

#endif
