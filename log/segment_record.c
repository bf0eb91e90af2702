/* The bytes of one record. Own header: segment_record.h. */
#include "log/segment_record.h"

#include <string.h>

size_t segment_record_bytes(const struct kappa_record *record)
{
    return (size_t)SEGMENT_RECORD_FIXED + segment_null_as_zero(record->key_len) +
           segment_null_as_zero(record->value_len) + record->headers_len;
}

static uint8_t *put_bytes(uint8_t *to, const uint8_t *bytes, uint32_t len)
{
    if (len > 0) {
        memcpy(to, bytes, len);
    }
    return to + len;
}

void segment_record_encode(struct buf *buf, const struct kappa_record *record, int64_t time_ms)
{
    size_t size = segment_record_bytes(record);
    buf_reserve(buf, size);
    uint8_t *p = buf->data + buf->len;
    store_u32_le(p, u32_from(size - SEGMENT_RECORD_CHECKED));
    store_u32_le(p + 4, 0);
    store_u64_le(p + 8, 0);
    store_u64_le(p + 16, (uint64_t)time_ms);
    store_u32_le(p + 24, record->key_len);
    store_u32_le(p + 28, record->value_len);
    store_u32_le(p + 32, record->headers_len);
    p = put_bytes(p + SEGMENT_RECORD_FIXED, record->key, segment_null_as_zero(record->key_len));
    p = put_bytes(p, record->headers, record->headers_len);
    p = put_bytes(p, record->value, segment_null_as_zero(record->value_len));
    *p = 0;
    buf->len += size;
}

void segment_record_stamp(uint8_t *record, size_t size, int64_t offset)
{
    store_u64_le(record + 8, (uint64_t)offset);
    store_u32_le(record + 4,
                 crc32c(0, record + SEGMENT_RECORD_CHECKED, size - SEGMENT_RECORD_CHECKED));
}
