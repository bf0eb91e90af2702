/* What sealed segment files of archives say of themselves, kept for as long as the process lives: a
 * question about offsets is one about every file of a partition, and sealed ones do not change. Any
 * thread.
 *
 * A file is known by what the system says of it: number, size, and times of change to the nanosecond.
 * One that was replaced or written to is another. One that changed a moment ago is not kept, since it
 * may change again within the same tick of the system's clock. Bounded: of two files in one place
 * the later stays. */
#ifndef KAPPA_LOG_ARCHIVE_KNOWN_H
#define KAPPA_LOG_ARCHIVE_KNOWN_H

#include <sys/stat.h>

#include "log/archive_segment.h"

/* False: it is not known. */
bool archive_known_get(const struct stat *file, const struct archive_owner *owner, int64_t base,
                       struct archive_segment *out);
/* A sealed segment, without its entries. */
void archive_known_put(const struct stat *file, const struct archive_owner *owner,
                       const struct archive_segment *segment);

#endif
