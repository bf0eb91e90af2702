/* The bytes of one record in a segment file, little-endian:
 *
 *      0 length u32 (of all behind byte 8)   4 crc32c of all behind byte 8 u32
 *      8 offset i64   16 time i64, ms   24 key length u32   28 value length u32 (each or
 *     KAPPA_NULL_LEN)   32 headers length u32   36 key, headers, value
 *
 * The length is checked too, although the checksum does not cover it: it must be the sum of the
 * others. The value comes last, so what may be read behind it is the next record or the pad. */
#ifndef KAPPA_LOG_SEGMENT_RECORD_H
#define KAPPA_LOG_SEGMENT_RECORD_H

#include "base/buf.h"
#include "include/kappa/record.h"
#include "log/crc32c.h"

#define SEGMENT_RECORD_FIXED   36
#define SEGMENT_RECORD_CHECKED 8 /* the first byte that the checksum covers */

static inline uint32_t segment_null_as_zero(uint32_t len)
{
    return len == KAPPA_NULL_LEN ? 0 : len;
}

/* Bytes of the record that begins at `at`, or 0 when it does not lie whole below limit or its
 * lengths disagree. */
static inline size_t segment_record_size(const uint8_t *bytes, size_t at, size_t limit)
{
    if (at > limit || limit - at < SEGMENT_RECORD_FIXED) {
        return 0;
    }
    const uint8_t *p = bytes + at;
    uint64_t size = (uint64_t)load_u32_le(p) + SEGMENT_RECORD_CHECKED;
    uint64_t sum = (uint64_t)SEGMENT_RECORD_FIXED + segment_null_as_zero(load_u32_le(p + 24)) +
                   segment_null_as_zero(load_u32_le(p + 28)) + load_u32_le(p + 32);
    return size == sum && size <= limit - at ? (size_t)size : 0;
}

static inline int64_t segment_record_offset(const uint8_t *record)
{
    return (int64_t)load_u64_le(record + 8);
}

static inline int64_t segment_record_time(const uint8_t *record)
{
    return (int64_t)load_u64_le(record + 16);
}

static inline bool segment_record_sound(const uint8_t *record, size_t size)
{
    return load_u32_le(record + 4) ==
           crc32c(0, record + SEGMENT_RECORD_CHECKED, size - SEGMENT_RECORD_CHECKED);
}

/* Points into the bytes; size is what segment_record_size said. */
static inline void segment_record_view(const uint8_t *record, struct kappa_record *out)
{
    const uint8_t *key = record + SEGMENT_RECORD_FIXED;
    out->offset = segment_record_offset(record);
    out->time_ms = segment_record_time(record);
    out->key_len = load_u32_le(record + 24);
    out->value_len = load_u32_le(record + 28);
    out->headers_len = load_u32_le(record + 32);
    out->key = out->key_len == KAPPA_NULL_LEN ? NULL : key;
    out->headers = key + segment_null_as_zero(out->key_len);
    out->value = out->value_len == KAPPA_NULL_LEN ? NULL : out->headers + out->headers_len;
}

size_t segment_record_bytes(const struct kappa_record *record);
/* Appends the record without offset and checksum, which are set when it is written. */
void segment_record_encode(struct buf *buf, const struct kappa_record *record, int64_t time_ms);
void segment_record_stamp(uint8_t *record, size_t size, int64_t offset);

#endif
