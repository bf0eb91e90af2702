/* One segment file of an archive: DIR/%020lld.arc, named by the first offset that it answers for.
 *
 *     archive_segment_create -> archive_segment_append... -> archive_segment_seal     (one writer)
 *     archive_segment_load (looks at it as it is on disk) -> archive_segment_read -> _free
 *
 * Invariants:
 *  1. Blocks lie back to back from byte 64. The first begins at the base offset, each later one
 *     where the one before ends: within a segment every offset is answered for.
 *  2. A sealed segment ends with an index and a trailer, synced before the next one exists. It is
 *     never written again, only removed, or, damaged, replaced by another (archive_patch.h).
 *  3. One without a sound trailer is as long as its sound blocks, found by hopping over their
 *     headers: the segment being written, one whose writer was killed, or a damaged one. Which of
 *     these is told by `after` of the next: it says how far the segment before it went.
 *
 * Header, 64 bytes, little-endian:
 *      0 magic u64   8 version u32   12 crc32c of bytes 16-63 u32   16 base i64
 *     24 after i64: end of what the archive held before, -1: nothing   32 crc32c of the topic's name u32
 *     36 partition u32   40 zero
 * Index, an entry of 24 bytes per block:   0 from i64   8 largest record time so far i64   16 byte i64
 * Trailer, 80 bytes, the last of the file:
 *      0 magic u64   8 end i64   16 least record time i64   24 largest i64   32 records u64
 *     40 bytes of records u64   48 byte of the index u64   56 entries u32   60 crc32c of the index u32
 *     64 base i64   72 zero u32   76 crc32c of bytes 0-75 u32
 */
#ifndef KAPPA_LOG_ARCHIVE_SEGMENT_H
#define KAPPA_LOG_ARCHIVE_SEGMENT_H

#include "log/archive_block.h"

/* The partition that a file belongs to: in a folder of another one it is refused. */
struct archive_owner {
    uint32_t topic_crc; /* crc32c of the name */
    uint32_t partition;
};

struct archive_entry {
    int64_t from;
    int64_t time_max; /* of this block and those before it in the segment */
    int64_t at;       /* byte of the header */
};

struct archive_segment {
    int64_t base, end;          /* offsets answered for */
    int64_t after;              /* end of the segment before, when this one was begun; -1 */
    int64_t time_min, time_max; /* INT64_MAX and INT64_MIN when no record has a time */
    int64_t records;
    int64_t raw_bytes; /* of the records, before compression */
    int64_t used;      /* header and blocks */
    int64_t size;      /* of the file */
    bool sealed;
    struct archive_entry *entries; /* owned; loaded when asked for */
    uint32_t entry_count, entry_room;
};

/* ---- Looking */

/* What the file says; entries: also where its blocks are. NOT_FOUND; CORRUPT when even the header is
 * not that of this segment. A file whose last block is not whole ends before it. */
int archive_segment_load(const char *dir, const struct archive_owner *owner, int64_t base,
                         bool entries, struct archive_segment *out, struct err *err) must_check;
void archive_segment_free(struct archive_segment *segment);
/* The entry of the block that answers for the offset, base <= offset < end. */
uint32_t archive_segment_find(const struct archive_segment *segment, int64_t offset);
/* Reads and unpacks one block. CORRUPT with file, byte and offset; NOT_FOUND: the file is gone. */
int archive_segment_read(const char *dir, const struct archive_segment *segment, uint32_t entry,
                         struct archive_block *block, struct archive_unpack *unpack,
                         struct err *err) must_check;
/* CORRUPT: the records of this block are none, although its bytes are those that were written. */
int archive_segment_bad(const char *dir, const struct archive_segment *segment, uint32_t entry,
                        struct err *err);
/* CORRUPT: what is wrong at this byte of the segment with this base. Returns the negative code. */
int archive_segment_corrupt(const char *dir, int64_t base, int64_t at, int64_t offset,
                            const char *what, struct err *err);

/* ---- Writing */

/* Durable; replaces a file of the same base. *fd: the caller's to close. */
int archive_segment_create(const char *dir, const struct archive_owner *owner, int64_t base,
                           int64_t after, struct archive_segment *out, int *fd,
                           struct err *err) must_check;
/* After an error nothing has changed, and it may be tried again. */
int archive_segment_append(int fd, const char *dir, struct archive_segment *segment,
                           const struct archive_block *block, const struct buf *bytes,
                           struct err *err) must_check;
/* Needs the entries. */
int archive_segment_seal(int fd, const char *dir, struct archive_segment *segment,
                         struct err *err) must_check;
/* Whether a sound block lies somewhere behind the segment's `used` bytes: then what is there is no torn
 * end, but damage with something behind it. */
int archive_segment_more(const char *dir, const struct archive_segment *segment, bool *more,
                         struct err *err) must_check;

#endif
