/* Names of the files of a partition, of the embedded log and of its archive: the first offset that is
 * in the file, as %020lld, and what kind of file it is. */
#ifndef KAPPA_LOG_SEGMENT_NAME_H
#define KAPPA_LOG_SEGMENT_NAME_H

#include "base/err.h"

#define SEGMENT_SUFFIX ".seg"
#define ARCHIVE_SUFFIX ".arc"

/* Malloc'd. */
char *segment_name_path(const char *dir, int64_t base, const char *suffix);
/* Base offsets of the files of this kind in the folder, ascending; malloc'd, NULL when there are
 * none. */
int segment_name_list(const char *dir, const char *suffix, int64_t **bases, size_t *count,
                      struct err *err) must_check;

#endif
