/* One partition of an archive: a folder of segments, and the offsets that they answer for.
 *
 *     archive_view_load -> find, end_from, gaps -> archive_view_free      (a look; no lock)
 *     archive_writer_open -> add... -> flush, sync -> close               (holder of the topic's lock)
 *
 * Invariants:
 *  1. Spans ascend and do not overlap. Where one begins behind the end of the one before there is a
 *     gap: offsets that were never archived (the log had removed them), or, when the span's `after`
 *     says that the archive did hold them, lost: a file is missing, damaged, or shorter than it was.
 *  2. A gap is never read over: what asks for an offset in it gets it from the log, or RANGE_LOST.
 *  3. Only the last segment is written. What a writer that was killed left behind the last sound
 *     block is removed by the next, and read from the log again.
 *  4. `first` (a file) says how far retention has removed the beginning; below, nothing is missed.
 */
#ifndef KAPPA_LOG_ARCHIVE_PARTITION_H
#define KAPPA_LOG_ARCHIVE_PARTITION_H

#include "log/archive_segment.h"

#define ARCHIVE_SEGMENT_BYTES (INT64_C(128) << 20)

struct archive_view {
    char *dir;
    struct archive_owner owner;
    struct archive_segment *spans; /* without entries; empty ones (damaged headers) left out */
    uint32_t count;
    uint32_t damaged; /* files whose header is */
    int64_t first;    /* removed by retention below this; 0 when it never did */
};

/* archive_dir: DATA/archive. A partition that has no folder is an empty view. */
int archive_view_load(const char *archive_dir, const char *topic, uint32_t partition,
                      struct archive_view *out, struct err *err) must_check;
void archive_view_free(struct archive_view *view);
/* The span that holds the offset, or UINT32_MAX. */
uint32_t archive_view_find(const struct archive_view *view, int64_t offset);
/* The end of what follows the offset without a gap; the offset itself when it is not held. */
int64_t archive_view_reach(const struct archive_view *view, int64_t offset);
/* First offset from which the archive answers for everything up to its end, and that end; false: it
 * is empty. */
bool archive_view_tail(const struct archive_view *view, int64_t *start, int64_t *end);
/* The gap in front of span i, if any. lost: the archive held it once. */
bool archive_view_gap(const struct archive_view *view, uint32_t i, int64_t *from, int64_t *to,
                      bool *lost);
/* First offset at or after `from` of a record with time >= time_ms, in spans that follow each other
 * without a gap; -1: none. */
int archive_view_time(const struct archive_view *view, int64_t from, int64_t time_ms,
                      int64_t *offset, struct err *err) must_check;

/* What a check of every byte found. */
struct archive_check {
    int64_t blocks, records;
    int64_t bad_blocks;
    int64_t bad_from; /* of the first bad block of this segment, -1 */
    bool unsealed;    /* this segment is not the last and has no sound trailer */
    struct err first; /* the first that was found */
};

/* Reads every block of span i and adds to *check. An error only when it cannot be looked at. */
int archive_view_check(const struct archive_view *view, uint32_t i, struct archive_check *check,
                       struct err *err) must_check;

/* ---- Retention: whole sealed segments from the oldest */

struct archive_retain {
    int64_t ms;    /* by record time; -1: for ever */
    int64_t bytes; /* on disk, per partition; -1: no bound */
};

/* How many of the first spans may go. */
uint32_t archive_view_expired(const struct archive_view *view, const struct archive_retain *retain,
                              int64_t now_ms);
/* Removes the first `count` spans, durably, oldest first. */
int archive_view_remove(struct archive_view *view, uint32_t count, struct err *err) must_check;

/* ---- Writing */

struct archive_writer {
    char *dir;
    struct archive_owner owner;
    struct archive_segment segment; /* fd < 0: none is open */
    int fd;
    int64_t end;           /* next offset to add; -1: nothing is there */
    int64_t stop;          /* of a gap that is filled: everything from here on is there; else -1 */
    int64_t segment_bytes; /* a segment that is larger is sealed */
    int64_t cut;           /* bytes of a torn end that opening removed */
    bool unsynced;
    struct archive_pack pack;    /* holds [pack.head.from, end) */
    struct archive_press *press; /* shared with other writers of the thread; NULL: own_press */
    struct archive_press own_press;
};

/* Makes the folders; goes on behind what is there. CORRUPT when the last segment is damaged in the
 * middle. */
int archive_writer_open(struct archive_writer *writer, const char *archive_dir, const char *topic,
                        uint32_t partition, struct err *err) must_check;
/* For a gap of a view: [from, to) is written as segments of its own, which finish seals. */
int archive_writer_open_gap(struct archive_writer *writer, const struct archive_view *view,
                            int64_t from, int64_t to, struct err *err) must_check;
/* Where an empty archive begins, or one that the log's retention has overtaken goes on: >= end. What
 * lies between is a gap. */
int archive_writer_begin(struct archive_writer *writer, int64_t from, struct err *err) must_check;
/* Records in order, and that everything below `next` is with them. What lies below end is passed
 * over: after an error the same call may be made again. */
int archive_writer_add(struct archive_writer *writer, const struct kappa_record *records,
                       uint32_t count, int64_t next, struct err *err) must_check;
/* What was added is in the file. After an error (DISK_FULL) it may be called again. */
int archive_writer_flush(struct archive_writer *writer, struct err *err) must_check;
/* Flushes and seals: the next record opens a segment of its own. */
int archive_writer_finish(struct archive_writer *writer, struct err *err) must_check;
/* What was flushed survives a crash of the machine. */
int archive_writer_sync(struct archive_writer *writer, struct err *err) must_check;
/* Drops what is not flushed. */
void archive_writer_close(struct archive_writer *writer);

#endif
