/* Reading the log behind an archive, for those who fetch from it what the archive lacks.
 *
 *     archive_fetch_open -> archive_fetch_next... -> reader->ops->close */
#ifndef KAPPA_LOG_ARCHIVE_FETCH_H
#define KAPPA_LOG_ARCHIVE_FETCH_H

#include "log/log.h"

#define ARCHIVE_GROUP "kappa.archive" /* whoever reads the log for an archive */

/* A reader of this partition alone, which stands at `from`. */
int archive_fetch_open(struct log *log, const char *topic, uint32_t partition, int64_t from,
                       struct log_reader **out, struct err *err) must_check;
/* Some records, or holes. Passing trouble with brokers is waited out for some seconds; TIMEOUT: nothing
 * came in that time. at: the position, for the sentence. */
int archive_fetch_next(struct log_reader *reader, int64_t at, struct log_batch *batch,
                       struct err *err) must_check;

#endif
