/* Own header: redis_reply.h. */
#include "serve/redis_reply.h"

#include "base/digits.h"

#include <string.h>

#define HEAD_MAX (DIGITS_MAX + 4) /* a sign, another one, a line end */

static char *put_head(char *at, char sign, int64_t number)
{
    *at++ = sign;
    if (number < 0) {
        *at++ = '-';
    }
    at = digits_put(at, i64_magnitude(number), 1);
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

/* "$" and the length, which is below 100 most of all. */
static char *put_length(char *at, size_t len)
{
    if (len >= 100) {
        return put_head(at, '$', (int64_t)len);
    }
    *at++ = '$';
    if (len < 10) {
        *at++ = (char)('0' + len);
    } else {
        at = digits_put_two(at, (unsigned)len);
    }
    memcpy(at, "\r\n", 2);
    return at + 2;
}

/* Room for so many bytes at the end; ended by done(). */
static char *room(struct redis_reply *reply, size_t bytes)
{
    buf_reserve(reply->out, bytes);
    return (char *)reply->out->data + reply->out->len;
}

static void done(struct redis_reply *reply, char *end)
{
    *end = '\0';
    reply->out->len = (size_t)((uint8_t *)end - reply->out->data);
}

/* A sign, a number, a line end. */
static void head(struct redis_reply *reply, char sign, int64_t number)
{
    done(reply, put_head(room(reply, HEAD_MAX), sign, number));
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
    char *at = put_length(room(reply, len + HEAD_MAX + 2), len);
    if (len > 0) {
        memcpy(at, bytes, len);
        at += len;
    }
    memcpy(at, "\r\n", 2);
    done(reply, at + 2);
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
