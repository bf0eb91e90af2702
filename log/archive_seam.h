/* The seam between an archive and the log behind it: the last records in front of it, which the log
 * is read again for, to see that it is still the log that was archived.
 *
 *     archive_seam_load -> archive_seam_same for each record of the log below `at` -> free() */
#ifndef KAPPA_LOG_ARCHIVE_SEAM_H
#define KAPPA_LOG_ARCHIVE_SEAM_H

#include "base/digest.h"
#include "log/archive_partition.h"

#define ARCHIVE_SEAM_RECORDS 64

struct archive_seam {
    int64_t from; /* offset of the first record that is compared; `at` when there is none */
    int64_t at;   /* the first offset that is read from the log */
    uint32_t count;
    uint32_t seen; /* of them, by archive_seam_same */
    int64_t offsets[ARCHIVE_SEAM_RECORDS];
    struct digest digests[ARCHIVE_SEAM_RECORDS];
};

/* The archive answers for at - 1. *out is malloc'd. */
int archive_seam_load(const struct archive_view *view, int64_t at, struct archive_seam **out,
                      struct err *err) must_check;
/* Whether this record of the log is, to the byte, the one that the archive has there. */
bool archive_seam_same(struct archive_seam *seam, const struct kappa_record *record);

#endif
