/* A log together with its archive, inside: shared by log_archived.c (topics, offsets, life) and
 * log_archived_reader.c. */
#ifndef KAPPA_LOG_LOG_ARCHIVED_H
#define KAPPA_LOG_LOG_ARCHIVED_H

#include "log/archive_topic.h"
#include "log/log.h"

#define LOG_ARCHIVED_MAGIC 0x4C4F4741U /* "AGOL" */

struct log_archived {
    struct log log;
    struct log_ops ops; /* without those that the base has not */
    uint32_t magic;
    struct log *base; /* owned; NULL: there is nothing but the archive */
    char *dir;        /* DATA/archive */
};

static inline struct log_archived *log_archived_of(struct log *log)
{
    struct log_archived *self = container_of(log, struct log_archived, log);
    MAGIC_ASSERT(self, LOG_ARCHIVED_MAGIC);
    return self;
}

/* What the archive has of the partition: an empty view when there is no archive of this topic, or
 * only one of a topic of this name that was deleted. */
int log_archived_view(struct log_archived *self, const char *topic, uint32_t partition,
                      struct archive_view *out, struct err *err) must_check;
int log_archived_reader_open(struct log *log, const char *group, struct log_reader **out,
                             struct err *err) must_check;

#endif
