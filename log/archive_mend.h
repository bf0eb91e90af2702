/* Finding out what is wrong with an archive, and fetching again what its log still has.
 *
 *     archive_mend_check                                              (a look; no lock)
 *     archive_mend_repair -> archive_mend_fill                        (holder of the topic's lock)
 *
 * Rule: nothing is destroyed. A damaged file stays as it is until another with all its sound blocks is
 * durable (archive_patch.h); missing files are written beside what there is. */
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

/* Makes damaged files again, where the log has what is damaged; the others stay. log: with this
 * archive. same: the topic's identity is known, and that of the archive (archive_topic_same).
 * TOPIC_CHANGED or REFUSED, with nothing changed, when the log is not that of the archive, or nothing
 * shows that it is. *records, added up: how many were fetched. */
int archive_mend_repair(struct log *log, const char *archive_dir, const char *topic,
                        uint32_t partition, bool same, int64_t *records,
                        struct err *err) must_check;

/* Reads from the log what the archive lacks and the log has: in front of it, in its gaps, and (`tail`)
 * behind it. log: with this archive, so that what borders on a gap is compared. *records, added up:
 * how many were fetched. Passing trouble with brokers is waited out for some seconds. TOPIC_CHANGED
 * when the log ends below the archive. */
int archive_mend_fill(struct log *log, const char *archive_dir, const char *topic,
                      uint32_t partition, bool tail, int64_t *records, struct err *err) must_check;

#endif
