/* Finding out what is wrong with an archive, and fetching again what its log still has.
 *
 *     archive_mend_check                                              (a look; no lock)
 *     archive_mend_repair -> archive_mend_fill                        (holder of the topic's lock)
 *
 * Rule: no sound record is given up. A file is only cut where the log behind still has everything
 * from there to the file's end; what cannot be read at all is kept beside, as NAME.bad. */
#ifndef KAPPA_LOG_ARCHIVE_MEND_H
#define KAPPA_LOG_ARCHIVE_MEND_H

#include "log/archive_partition.h"
#include "log/log.h"

#include "base/json.h"

/* Adds to `problems` objects {"topic","partition","offset","what"}: blocks that fail their checksums,
 * files that cannot be read, gaps where the archive held records once. *blocks, *records: sound ones,
 * added up. */
int archive_mend_check(const char *archive_dir, const char *topic, uint32_t partition,
                       json_t *problems, int64_t *blocks, int64_t *records,
                       struct err *err) must_check;

/* Takes damaged blocks out, so that they are gaps. start: where the log behind begins, or INT64_MAX. */
int archive_mend_repair(const char *archive_dir, const char *topic, uint32_t partition,
                        int64_t start, struct err *err) must_check;

/* Reads from the log what the archive lacks and the log has, [start, end): in front of it, in its
 * gaps, and (`tail`) behind it. log: with this archive, so that what borders on a gap is compared.
 * *records, added up: how many were fetched. Passing trouble with brokers is waited out for some
 * seconds. */
int archive_mend_fill(struct log *log, const char *archive_dir, const char *topic,
                      uint32_t partition, int64_t start, int64_t end, bool tail, int64_t *records,
                      struct err *err) must_check;

#endif
