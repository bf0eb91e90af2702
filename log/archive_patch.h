/* A damaged file of an archive made again: what is sound is copied, what is not is fetched from the log,
 * into a new file, which takes the place of the damaged one when it is whole and durable.
 *
 * Rules:
 *  1. Until then the damaged file is not touched, and every block of it whose bytes are sound is in the
 *     new one, also behind damage, and also when the file's header or its end is damaged.
 *  2. What is fetched is shown to be what was archived: by what the damaged block's header says of it;
 *     else by the blocks beside it, which the log must have to the byte, or by the topic's identity,
 *     in a log that is not compacted. Else it is refused.
 *  3. A file of which the log does not have everything that is damaged stays as it is. */
#ifndef KAPPA_LOG_ARCHIVE_PATCH_H
#define KAPPA_LOG_ARCHIVE_PATCH_H

#include "log/archive_partition.h"
#include "log/log.h"

/* The log behind an archive. */
struct archive_behind {
    struct log *log;
    const char *topic;
    int64_t start, end; /* of the partition */
    bool same;          /* the topic's identity is known, and that of the archive */
    bool whole;         /* it is not compacted: what lies in between is all there */
};

/* The file with this base; last: there is none behind it. Holder of the topic's lock. *fetched, added
 * up: records that came from the log. */
int archive_patch(const struct archive_view *view, int64_t base, bool last,
                  const struct archive_behind *behind, int64_t *fetched,
                  struct err *err) must_check;

#endif
