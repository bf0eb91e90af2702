/* One block of an archive: some records of a partition, compressed, and the offsets they answer for.
 *
 *     archive_pack_begin -> add... -> close                                   (writing)
 *     archive_block_parse -> archive_block_open -> archive_block_next...      (reading)
 *
 * A block covers [from, next): offsets in it that no record has are holes of the log (transactions
 * that were undone, markers, compaction), and nothing is missing. It may hold no record at all.
 *
 * Header, 64 bytes, little-endian, then `stored` bytes:
 *
 *      0 magic u32   4 crc32c of bytes 8-63 u32   8 stored bytes u32   12 crc32c of these u32
 *     16 from i64   24 next i64   32 least record time i64   40 largest record time i64
 *     48 bytes of the records u32   52 records u32   56 codec u32 (0 as they are, 1 zstd)   60 zero
 *
 * The records are those of segment_record.h, in offset order, without a checksum of their own. Of no
 * record with a time the least is INT64_MAX and the largest INT64_MIN, which is KAPPA_NO_TIME. */
#ifndef KAPPA_LOG_ARCHIVE_BLOCK_H
#define KAPPA_LOG_ARCHIVE_BLOCK_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "include/kappa/record.h"

#define ARCHIVE_BLOCK_HEAD 64
#define ARCHIVE_PACK_BYTES (512 << 10) /* of records; the one that crosses it is the block's last */
/* More than any block has: its last record may be as large as records are. */
#define ARCHIVE_RAW_MAX    (ARCHIVE_PACK_BYTES + LIMIT_RECORD_BYTES + 4096)

struct archive_block {
    int64_t from, next;         /* the offsets that it answers for */
    int64_t time_min, time_max; /* of its records that have a time */
    uint32_t stored;            /* bytes behind the header */
    uint32_t stored_crc;
    uint32_t raw;   /* bytes of the records */
    uint32_t count; /* of records */
    uint32_t codec;
};

/* ---- Writing */

struct archive_pack {
    struct buf records; /* encoded */
    struct archive_block head;
};

/* Compresses for any number of packs, one after the other. */
struct archive_press {
    struct buf out; /* the finished block */
    void *context;  /* of the compressor; NULL until first used */
};

/* Empty, from this offset on. */
void archive_pack_begin(struct archive_pack *pack, int64_t from);
void archive_pack_free(struct archive_pack *pack);
/* Its offset is at or above everything before. */
void archive_pack_add(struct archive_pack *pack, const struct kappa_record *record);
/* Everything below next is here: moves on over holes. */
void archive_pack_cover(struct archive_pack *pack, int64_t next);
/* Header and stored bytes of all this, in press->out; pack->head says what they are. */
void archive_pack_close(struct archive_pack *pack, struct archive_press *press);
void archive_press_free(struct archive_press *press);

/* ---- Reading */

/* False: this is no sound header. */
bool archive_block_parse(const uint8_t head[ARCHIVE_BLOCK_HEAD], struct archive_block *out);

struct archive_unpack {
    struct buf stored; /* filled by the caller: the block's stored bytes */
    struct buf records;
    size_t at;     /* of the next record */
    int64_t next;  /* offset: records lie at or above */
    void *context; /* of the decompressor */
};

/* Checks and unpacks unpack->stored. What is wrong with it, or NULL. */
const char *archive_block_open(struct archive_unpack *unpack, const struct archive_block *block);
/* The next record, in unpack->records until the next open. False: there is none, or (`bad`) the
 * bytes are none. */
bool archive_block_next(struct archive_unpack *unpack, const struct archive_block *block,
                        struct kappa_record *out, bool *bad);
void archive_unpack_free(struct archive_unpack *unpack);

#endif
