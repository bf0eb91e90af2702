/* One segment file of the embedded log: DIR/%020lld.seg, named by the offset of its first record.
 *
 *     segment_create -> write records at the end -> segment_seal -> (never written again)
 *     segment_map_open -> segment_find_offset | segment_find_time | read records -> segment_map_close
 *
 * It knows nothing of heads, locks or other segments: who may write and how far the bytes are valid
 * is told by the caller (head.h, partition.h).
 *
 * Invariants:
 *  1. Records lie back to back from byte 64, offsets ascending by one from the base offset.
 *  2. A segment being written has its full capacity and SEGMENT_PAD_BYTES from the beginning (a
 *     sparse file), a sealed one its used bytes and SEGMENT_PAD_BYTES. So a mapping stays valid while
 *     records are added, and KAPPA_RECORD_TAIL bytes behind every value may be read.
 *  3. The seal is written once, before the next segment exists, and synced.
 *
 * Header, 64 bytes, little-endian:
 *
 *      0 magic u64   8 version u32   12 crc32c of bytes 0-11, 16-23 u32   16 base offset i64
 *     24 end offset i64   32 least record time i64   40 largest record time i64   48 used bytes u64
 *     56 seal mark u32 (0: not sealed)   60 crc32c of bytes 16-59 u32
 */
#ifndef KAPPA_LOG_SEGMENT_H
#define KAPPA_LOG_SEGMENT_H

#include "base/err.h"

#define SEGMENT_HEADER_BYTES 64
#define SEGMENT_PAD_BYTES    4096

struct segment_seal {
    int64_t end_offset; /* base of the next segment */
    int64_t time_min;   /* ms */
    int64_t time_max;   /* ms */
    int64_t used;       /* bytes of header and records */
};

/* A read-only view of a whole file. */
struct segment_map {
    int64_t base;
    const uint8_t *bytes; /* NULL: closed */
    size_t size;
    size_t forgotten; /* pages below were given back (segment_map_forget) */
    char *path;       /* for messages */
};

/* At once and durable. capacity: bytes of header and records. *fd: the caller's to close. */
int segment_create(const char *dir, int64_t base, int64_t capacity, int *fd,
                   struct err *err) must_check;
int segment_seal(int fd, int64_t base, const struct segment_seal *seal, const char *path,
                 struct err *err) must_check;
int segment_unseal(int fd, const char *path, struct err *err) must_check;
bool segment_is_sealed(int fd);
/* NOT_FOUND when the file is not there (any more), CORRUPT when its header is damaged. */
int segment_map_open(struct segment_map *map, const char *dir, int64_t base,
                     struct err *err) must_check;
void segment_map_close(struct segment_map *map);
/* Takes the pages of [0, to) out of this process's memory: they have been read. They stay valid
 * (and, for a while, in the system's cache); reading them again only costs a fault. */
void segment_map_forget(struct segment_map *map, size_t to);
/* False: not sealed, or the seal is damaged. */
bool segment_map_seal(const struct segment_map *map, struct segment_seal *out);

/* The byte where the record `offset` begins, hopping from the first; base <= offset. limit: bytes
 * that are valid. offset may be the one behind the last record. */
int segment_find_offset(const struct segment_map *map, size_t limit, int64_t offset, size_t *at,
                        struct err *err) must_check;
/* The first record with time >= time_ms, -1 when there is none. Every record looked at is checked. */
int segment_find_time(const struct segment_map *map, size_t limit, int64_t time_ms, int64_t *offset,
                      struct err *err) must_check;
/* Fills err with CORRUPT: file, byte, offset. Returns the negative code. */
int segment_corrupt(const struct segment_map *map, size_t at, int64_t offset, const char *what,
                    struct err *err);

#endif
