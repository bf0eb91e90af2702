/* A growing byte buffer, always NUL-terminated behind len.
 *
 * buf_init or `struct buf b = {0}`; append; use data and len; buf_reset keeps the memory, buf_free
 * gives it back. Not thread-safe. */
#ifndef KAPPA_BASE_BUF_H
#define KAPPA_BASE_BUF_H

#include "base/base.h"

#include <stdarg.h>

struct buf {
    uint8_t *data; /* NULL while empty and never used */
    size_t len;
    size_t cap;
};

void buf_init(struct buf *buf);
/* For buf_reserve alone. */
void buf_grow(struct buf *buf, size_t extra);

/* Makes room for `extra` more bytes (and the NUL). */
static inline void buf_reserve(struct buf *buf, size_t extra)
{
    if (extra >= buf->cap || buf->len >= buf->cap - extra) {
        buf_grow(buf, extra);
    }
}

void buf_append(struct buf *buf, const void *data, size_t len);
void buf_append_text(struct buf *buf, const char *text);
void buf_append_u8(struct buf *buf, uint8_t value);
void buf_append_u32_le(struct buf *buf, uint32_t value);
void buf_append_u64_le(struct buf *buf, uint64_t value);
/* LEB128. */
void buf_append_varint(struct buf *buf, uint64_t value);
/* RFC 4648 base64 with padding. */
void buf_append_base64(struct buf *buf, const void *data, size_t len);
/* Undoes it in place: buf holds nothing else. False if that is no base64; then it holds anything. */
bool buf_decode_base64(struct buf *buf);
void buf_printf(struct buf *buf, const char *format, ...) printf_like(2, 3);
void buf_vprintf(struct buf *buf, const char *format, va_list args) printf_like(2, 0);
/* The text so far; "" when empty. Valid until the next append. */
const char *buf_text(const struct buf *buf);
void buf_reset(struct buf *buf);
void buf_free(struct buf *buf);

/* Reads a LEB128 at *pos < len; false if it is cut off or longer than 64 bits. */
bool varint_read(const uint8_t *data, size_t len, size_t *pos, uint64_t *value);

#endif
