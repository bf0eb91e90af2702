/* Growing byte buffer. Own header: buf.h. Invariant: data == NULL, or cap > len and data[len] == 0. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *buf)
{
    memset(buf, 0, sizeof *buf);
}

void buf_grow(struct buf *buf, size_t extra)
{
    ASSERT_CMP(extra, <, SIZE_MAX / 4);
    size_t need = buf->len + extra + 1;
    size_t cap = buf->cap < 64 ? 64 : buf->cap;
    while (cap < need) {
        cap *= 2;
    }
    buf->data = xrealloc(buf->data, cap);
    buf->cap = cap;
}

void buf_append(struct buf *buf, const void *data, size_t len)
{
    buf_reserve(buf, len);
    if (len > 0) {
        memcpy(buf->data + buf->len, data, len);
    }
    buf->len += len;
    buf->data[buf->len] = 0;
}

void buf_append_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_append_u8(struct buf *buf, uint8_t value)
{
    buf_append(buf, &value, sizeof value);
}

void buf_append_u32_le(struct buf *buf, uint32_t value)
{
    uint8_t bytes[sizeof value];
    store_u32_le(bytes, value);
    buf_append(buf, bytes, sizeof bytes);
}

void buf_append_u64_le(struct buf *buf, uint64_t value)
{
    uint8_t bytes[sizeof value];
    store_u64_le(bytes, value);
    buf_append(buf, bytes, sizeof bytes);
}

void buf_append_varint(struct buf *buf, uint64_t value)
{
    uint8_t bytes[10];
    size_t len = 0;
    while (value >= 0x80) {
        bytes[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[len++] = (uint8_t)value;
    buf_append(buf, bytes, len);
}

void buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    ASSERT_CMP(len, >=, 0);
    buf_reserve(buf, (size_t)len);
    (void)vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, format, args);
    buf->len += (size_t)len;
}

void buf_append_base64(struct buf *buf, const void *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t word = (uint32_t)bytes[i] << 16;
        word |= i + 1 < len ? (uint32_t)bytes[i + 1] << 8 : 0;
        word |= i + 2 < len ? (uint32_t)bytes[i + 2] : 0;
        buf_append_u8(buf, (uint8_t)digits[word >> 18]);
        buf_append_u8(buf, (uint8_t)digits[word >> 12 & 63]);
        buf_append_u8(buf, (uint8_t)(i + 1 < len ? digits[word >> 6 & 63] : '='));
        buf_append_u8(buf, (uint8_t)(i + 2 < len ? digits[word & 63] : '='));
    }
}

/* 0 .. 63; 64: no digit. */
static uint32_t base64_digit(uint8_t byte)
{
    if (byte >= 'A' && byte <= 'Z') {
        return (uint32_t)(byte - 'A');
    }
    if (byte >= 'a' && byte <= 'z') {
        return (uint32_t)(byte - 'a' + 26);
    }
    if (byte >= '0' && byte <= '9') {
        return (uint32_t)(byte - '0' + 52);
    }
    return byte == '+' ? 62 : byte == '/' ? 63 : 64;
}

bool buf_decode_base64(struct buf *buf)
{
    size_t len = buf->len;
    size_t out = 0;
    uint32_t word = 0;
    if (len % 4 != 0) {
        return false;
    }
    for (int i = 0; i < 2 && len > 0 && buf->data[len - 1] == '='; i++) {
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        uint32_t digit = base64_digit(buf->data[i]);
        if (digit == 64) {
            return false;
        }
        word = word << 6 | digit;
        if (i % 4 > 0) { /* the second digit completes the first byte, and so on */
            buf->data[out++] = (uint8_t)(word >> (6 - 2 * (i % 4)));
        }
    }
    buf->len = out;
    return true;
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

const char *buf_text(const struct buf *buf)
{
    return buf->data == NULL ? "" : (const char *)buf->data;
}

void buf_reset(struct buf *buf)
{
    buf->len = 0;
    if (buf->data != NULL) {
        buf->data[0] = 0;
    }
}

void buf_free(struct buf *buf)
{
    free(buf->data);
    buf_init(buf);
}

bool varint_read(const uint8_t *data, size_t len, size_t *pos, uint64_t *value)
{
    uint64_t result = 0;
    size_t at = *pos;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (at >= len) {
            return false;
        }
        uint8_t byte = data[at++];
        if (shift == 63 && byte > 1) {
            return false;
        }
        result |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *pos = at;
            *value = result;
            return true;
        }
    }
    return false;
}
