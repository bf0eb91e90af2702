/* Own header: redis_reply.h. */
#include "serve/redis_reply.h"

#include <string.h>

/* A sign, a number, a line end. */
static void head(struct redis_reply *reply, char sign, int64_t number)
{
    char text[24];
    char *at = text + sizeof text;
    uint64_t left = i64_magnitude(number);
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0) {
        *--at = '-';
    }
    buf_append_u8(reply->out, (uint8_t)sign);
    buf_append(reply->out, at, (size_t)(text + sizeof text - at));
}

void redis_reply_status(struct redis_reply *reply, const char *text)
{
    buf_append_u8(reply->out, '+');
    buf_append_text(reply->out, text);
    buf_append(reply->out, "\r\n", 2);
}

void redis_reply_error(struct redis_reply *reply, const char *format, ...)
{
    va_list args;
    buf_append_u8(reply->out, '-');
    size_t from = reply->out->len;
    va_start(args, format);
    buf_vprintf(reply->out, format, args);
    va_end(args);
    for (size_t i = from; i < reply->out->len; i++) {
        if (reply->out->data[i] == '\r' || reply->out->data[i] == '\n') {
            reply->out->data[i] = ' ';
        }
    }
    buf_append(reply->out, "\r\n", 2);
    reply->errors++;
}

void redis_reply_err(struct redis_reply *reply, const struct err *err)
{
    bool hint = err->hint[0] != '\0';
    redis_reply_error(reply, "ERR %s%s%s", err->text, hint ? "; " : "", err->hint);
}

void redis_reply_int(struct redis_reply *reply, int64_t value)
{
    head(reply, ':', value);
}

void redis_reply_bulk(struct redis_reply *reply, const void *bytes, size_t len)
{
    head(reply, '$', (int64_t)len);
    buf_append(reply->out, bytes, len);
    buf_append(reply->out, "\r\n", 2);
}

void redis_reply_text(struct redis_reply *reply, const char *text)
{
    redis_reply_bulk(reply, text, strlen(text));
}

void redis_reply_null(struct redis_reply *reply)
{
    buf_append_text(reply->out, reply->protocol == 3 ? "_\r\n" : "$-1\r\n");
}

void redis_reply_array(struct redis_reply *reply, uint64_t count)
{
    head(reply, '*', (int64_t)count);
}

void redis_reply_map(struct redis_reply *reply, uint64_t count)
{
    bool map = reply->protocol == 3;
    head(reply, map ? '%' : '*', (int64_t)(map ? count : 2 * count));
}

void redis_reply_set(struct redis_reply *reply, uint64_t count)
{
    head(reply, reply->protocol == 3 ? '~' : '*', (int64_t)count);
}
