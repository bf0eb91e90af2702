/* Own header: redis_parse.h. */
#include "serve/redis_parse.h"

#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 32 /* of "*COUNT" and "$LENGTH" */
#define ARGS_KEPT      1024

void redis_parse_init(struct redis_parse *parse)
{
    *parse = (struct redis_parse){.left = -1, .bulk = -1};
}

void redis_parse_free(struct redis_parse *parse)
{
    free(parse->places);
    free(parse->args);
    redis_parse_init(parse);
}

void redis_parse_reset(struct redis_parse *parse)
{
    if (parse->cap > ARGS_KEPT) {
        redis_parse_free(parse);
    }
    parse->pos = 0;
    parse->left = -1;
    parse->bulk = -1;
    parse->count = 0;
}

/* Room grows with what has really come, not with what was announced. */
static void arg_add(struct redis_parse *parse, size_t place, size_t len)
{
    if (parse->count == parse->cap) {
        parse->cap = parse->cap == 0 ? 8 : parse->cap * 2;
        parse->places = xrealloc(parse->places, parse->cap * sizeof *parse->places);
        parse->args = xrealloc(parse->args, parse->cap * sizeof *parse->args);
    }
    parse->places[parse->count] = place;
    parse->args[parse->count] = (struct redis_arg){.len = len};
    parse->count++;
}

/* The request is whole: the buffer does not move until it is done. */
static int whole(struct redis_parse *parse, char *data)
{
    for (uint32_t i = 0; i < parse->count; i++) {
        parse->args[i].text = data + parse->places[i];
        data[parse->places[i] + parse->args[i].len] = '\0';
    }
    return 1;
}

/* ---- inline commands */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One character of a text in double quotes at *at; never longer than it is written. */
static char unquoted(const char *data, size_t end, size_t *at)
{
    char c = data[(*at)++];
    if (c != '\\' || *at >= end) {
        return c;
    }
    c = data[(*at)++];
    if (c == 'x' && *at + 2 <= end && hex(data[*at]) >= 0 && hex(data[*at + 1]) >= 0) {
        c = (char)(hex(data[*at]) * 16 + hex(data[*at + 1]));
        *at += 2;
        return c;
    }
    static const char from[] = "nrtba";
    static const char to[] = "\n\r\t\b\a";
    const char *known = strchr(from, c);
    return known != NULL && c != '\0' ? to[known - from] : c;
}

/* The text in quotes at *at, written to *to. False: the quotes are not closed by a blank. */
static bool quoted(char *data, size_t end, size_t *at, size_t *to)
{
    char quote = data[(*at)++];
    while (*at < end && data[*at] != quote) {
        if (quote == '"') {
            char c = unquoted(data, end, at);
            data[(*to)++] = c;
            continue;
        }
        if (data[*at] == '\\' && *at + 1 < end && data[*at + 1] == '\'') {
            (*at)++;
        }
        data[(*to)++] = data[(*at)++];
    }
    if (*at >= end) {
        return false;
    }
    (*at)++;
    return *at == end || data[*at] == ' ' || data[*at] == '\t';
}

static int inline_next(struct redis_parse *parse, char *data, size_t len, const char **why)
{
    size_t seen = len < REDIS_INLINE_MAX ? len : REDIS_INLINE_MAX;
    const char *line_end = memchr(data, '\n', seen);
    if (line_end == NULL) {
        *why = "Protocol error: too big inline request";
        return len >= REDIS_INLINE_MAX ? -1 : 0;
    }
    size_t end = (size_t)(line_end - data);
    parse->pos = end + 1;
    end -= end > 0 && data[end - 1] == '\r' ? 1 : 0;
    for (size_t at = 0; at < end;) {
        if (data[at] == ' ' || data[at] == '\t') {
            at++;
            continue;
        }
        size_t begin = at;
        size_t to = at;
        while (at < end && data[at] != ' ' && data[at] != '\t') {
            if ((data[at] == '"' || data[at] == '\'')) {
                if (!quoted(data, end, &at, &to)) {
                    *why = "Protocol error: unbalanced quotes in request";
                    return -1;
                }
                continue;
            }
            data[to++] = data[at++];
        }
        arg_add(parse, begin, to - begin);
    }
    return whole(parse, data);
}

/* ---- arrays of bulk strings */

/* The number on the line at pos, behind its first character: 1, 0 the line is not whole, -1. */
static int line_number(struct redis_parse *parse, const char *data, size_t len, int64_t *number)
{
    size_t at = parse->pos + 1;
    size_t room = len - parse->pos;
    size_t seen = room < LINE_MAX_BYTES ? room : LINE_MAX_BYTES;
    const char *end = memchr(data + parse->pos, '\n', seen);
    if (end == NULL) {
        return room >= LINE_MAX_BYTES ? -1 : 0;
    }
    size_t stop = (size_t)(end - data);
    if (stop == at || data[stop - 1] != '\r') {
        return -1;
    }
    stop--;
    bool minus = at < stop && data[at] == '-';
    at += minus ? 1 : 0;
    if (at == stop || stop - at > 18) {
        return -1;
    }
    int64_t value = 0;
    for (; at < stop; at++) {
        if (data[at] < '0' || data[at] > '9') {
            return -1;
        }
        value = value * 10 + (data[at] - '0');
    }
    *number = minus ? -value : value;
    parse->pos = stop + 2;
    return 1;
}

/* One argument: 1, 0, -1. */
static int bulk_next(struct redis_parse *parse, const char *data, size_t len, const char **why)
{
    if (parse->bulk < 0) {
        if (parse->pos == len) {
            return 0;
        }
        if (data[parse->pos] != '$') {
            *why = "Protocol error: expected '$' in front of an argument";
            return -1;
        }
        int rc = line_number(parse, data, len, &parse->bulk);
        if (rc != 1 || parse->bulk < 0 || parse->bulk > REDIS_BULK_MAX) {
            *why = "Protocol error: invalid bulk length";
            return rc == 0 ? 0 : -1;
        }
    }
    size_t size = (size_t)parse->bulk;
    if (parse->pos + size + 2 > REDIS_REQUEST_MAX) {
        *why = "Protocol error: a request of more than 4 MiB";
        return -1;
    }
    if (len - parse->pos < size + 2) {
        return 0;
    }
    if (memcmp(data + parse->pos + size, "\r\n", 2) != 0) {
        *why = "Protocol error: an argument is longer than its length says";
        return -1;
    }
    arg_add(parse, parse->pos, size);
    parse->pos += size + 2;
    parse->bulk = -1;
    return 1;
}

int redis_parse_next(struct redis_parse *parse, char *data, size_t len, const char **why)
{
    if (parse->left < 0) {
        if (len == 0) {
            return 0;
        }
        if (data[0] != '*') {
            return inline_next(parse, data, len, why);
        }
        int rc = line_number(parse, data, len, &parse->left);
        if (rc != 1 || parse->left > REDIS_ARGS_MAX) {
            *why = "Protocol error: invalid multibulk length";
            return rc == 0 ? 0 : -1;
        }
        parse->left = parse->left < 0 ? 0 : parse->left;
    }
    while (parse->left > 0) {
        int rc = bulk_next(parse, data, len, why);
        if (rc != 1) {
            return rc;
        }
        parse->left--;
    }
    return whole(parse, data);
}
