/* The embedded log, for its own files only: others see it through log.h. */
#ifndef KAPPA_LOG_LOG_SEGMENT_H
#define KAPPA_LOG_LOG_SEGMENT_H

#include "log/log.h"
#include "log/notify.h"

#define LOG_SEGMENT_MAGIC 0x4C534547U /* "LSEG" */

struct log_segment {
    struct log log; /* first */
    uint32_t magic;
    char *dir; /* DATA/log */
    struct notify notify;
};

int log_segment_reader_open(struct log *log, const char *group, struct log_reader **out,
                            struct err *err);
int log_segment_writer_open(struct log *log, const char *topic, struct log_writer **out,
                            struct err *err);

static inline struct log_segment *log_segment_of(struct log *log)
{
    struct log_segment *self = container_of(log, struct log_segment, log);
    MAGIC_ASSERT(self, LOG_SEGMENT_MAGIC);
    return self;
}

#endif
