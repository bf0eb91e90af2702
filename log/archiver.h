/* The thread that keeps the archives of a data directory: it reads what is new in every topic with
 * archive=on, and appends it.
 *
 *     archiver_start -> (it looks at the settings every second) -> archiver_stop
 *
 * It begins where each archive ends, an empty one at the start of the log, reads through the log with
 * its archive (log_open_archived), so that the last archived records are compared with the log, and
 * writes blocks as they are full or flush_ms old. What it had not written when it was killed is read
 * again. A topic that cannot be archived says so in its state.json and is tried again; others go on. */
#ifndef KAPPA_LOG_ARCHIVER_H
#define KAPPA_LOG_ARCHIVER_H

#include "log/log.h"

#define ARCHIVER_FLUSH_MS 5000

struct archiver_options {
    /* Either a log with its archive, borrowed: outlives the archiver; or what to open one with
     * (log_open_config) as soon as a topic is archived. */
    struct log *log;
    const json_t *config;
    const char *dir; /* DATA/archive */
    int64_t flush_ms;
    int64_t segment_bytes; /* 0: ARCHIVE_SEGMENT_BYTES */
};

struct archiver;

struct archiver *archiver_start(const struct archiver_options *options);
/* For those who watch: an array of a topic each, as archiver_figures.h says; it is a second old, sizes
 * ten or more. NULL: nothing was looked at yet. Any thread; a new reference. */
json_t *archiver_figures(struct archiver *archiver);
/* False: it is stuck in the log, and everything is left to the end of the process. */
bool archiver_stop(struct archiver *archiver);

#endif
