/* Scanning one JSON line for a member. Own header: json_line.h. */
#include "serve/json_line.h"

#include "base/json.h"
#include "base/timefmt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The text between two places. */
struct scan {
    const char *at;
    const char *end;
};

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\r' || *scan->at == '\n')) {
        scan->at++;
    }
}

/* Past a string that starts here; false when it does not end. */
static bool skip_string(struct scan *scan)
{
    const char *at = scan->at + 1;
    for (;;) {
        const char *quote = memchr(at, '"', (size_t)(scan->end - at));
        if (quote == NULL) {
            return false;
        }
        size_t slashes = 0;
        while (quote - 1 - slashes >= at && quote[-1 - (ptrdiff_t)slashes] == '\\') {
            slashes++;
        }
        at = quote + 1;
        if (slashes % 2 == 0) {
            scan->at = at;
            return true;
        }
    }
}

/* Past a value of any kind; false when it does not end. */
static bool skip_value(struct scan *scan)
{
    unsigned depth = 0;
    do {
        if (scan->at == scan->end) {
            return false;
        }
        char c = *scan->at;
        if (c == '"') {
            if (!skip_string(scan)) {
                return false;
            }
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
            return false; /* no value at all */
        }
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (depth == 0) {
            scan->at += strcspn(scan->at, ",}] \t\r\n");
            continue;
        }
        scan->at++;
    } while (depth > 0);
    return true;
}

/* The member after '{' or ','; false when the text breaks off or is no object. */
static bool next_member(struct scan *scan, struct scan *name, struct scan *value)
{
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != '"') {
        return false;
    }
    name->at = scan->at + 1;
    if (!skip_string(scan)) {
        return false;
    }
    name->end = scan->at - 1;
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != ':') {
        return false;
    }
    scan->at++;
    skip_blanks(scan);
    value->at = scan->at;
    if (!skip_value(scan)) {
        return false;
    }
    value->end = scan->at;
    skip_blanks(scan);
    return scan->at < scan->end && (*scan->at == ',' || *scan->at == '}');
}

/* Is the name as written in the text this one? Names with escapes are compared undone. */
static bool name_is(const struct scan *written, const char *name, size_t name_len)
{
    size_t len = (size_t)(written->end - written->at);
    if (memchr(written->at, '\\', len) == NULL) {
        return len == name_len && memcmp(written->at, name, len) == 0;
    }
    json_t *text = json_loadb(written->at - 1, len + 2, JSON_DECODE_ANY, NULL);
    bool same = text != NULL && strcmp(json_string_value(text), name) == 0;
    json_decref(text);
    return same;
}

/* text must be followed by a byte that may be read: strcspn stops at the NUL or line end there. */
int json_line_field(const char *text, size_t len, const char *name, const char **value,
                    size_t *value_len, struct err *err)
{
    struct scan scan = {text, text + len};
    struct scan found = {NULL, NULL};
    size_t name_len = strlen(name);
    skip_blanks(&scan);
    if (scan.at == scan.end || *scan.at != '{') {
        return err_set(err, KE_INVALID, "not a JSON object");
    }
    do {
        scan.at++;
        struct scan member;
        struct scan member_value;
        if (!next_member(&scan, &member, &member_value)) {
            break;
        }
        if (name_is(&member, name, name_len)) {
            found = member_value;
        }
    } while (*scan.at == ',');
    if (scan.at >= scan.end || *scan.at != '}') {
        return err_set(err, KE_INVALID, "not a whole JSON object");
    }
    if (found.at == NULL) {
        return err_set(err, KE_INVALID, "no member \"%s\"", name);
    }
    *value = found.at;
    *value_len = (size_t)(found.end - found.at);
    return 0;
}

/* The bytes of a quoted string. */
static int string_bytes(const char *value, size_t len, const char *name, struct buf *out,
                        struct err *err)
{
    if (memchr(value, '\\', len) == NULL) {
        buf_append(out, value + 1, len - 2);
        return 0;
    }
    json_t *text = json_loadb(value, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (text == NULL) {
        return err_set(err, KE_INVALID, "the string in \"%s\" has a bad escape", name);
    }
    buf_append(out, json_string_value(text), json_string_length(text));
    json_decref(text);
    return 0;
}

int json_line_key(const char *text, size_t len, const char *name, struct buf *out, bool *null,
                  struct err *err)
{
    const char *value = NULL;
    size_t value_len = 0;
    int rc = json_line_field(text, len, name, &value, &value_len, err);
    if (rc < 0) {
        return rc;
    }
    ASSERT(value != NULL);
    buf_reset(out);
    *null = value_len == 4 && memcmp(value, "null", 4) == 0;
    if (*null) {
        return 0;
    }
    if (*value == '{' || *value == '[') {
        return err_set(err, KE_INVALID,
                       "\"%s\" is not a text or number, so it cannot be the key; JSON as a key is "
                       "written as a text, with its quotes escaped",
                       name);
    }
    if (*value == '"') {
        return string_bytes(value, value_len, name, out, err);
    }
    buf_append(out, value, value_len);
    return 0;
}

int json_line_time(const char *text, size_t len, const char *name, int64_t *time_ms,
                   struct err *err)
{
    const char *value = NULL;
    size_t value_len = 0;
    int rc = json_line_field(text, len, name, &value, &value_len, err);
    if (rc < 0) {
        return rc;
    }
    ASSERT(value != NULL);
    int64_t us;
    if (*value == '"' && value_len >= 2 && time_parse(value + 1, value_len - 2, &us)) {
        *time_ms = us >= 0 ? us / 1000 : -((-us + 999) / 1000);
        return 0;
    }
    char *end = NULL;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (*value != '"' && end == value + value_len && errno == 0) {
        *time_ms = number;
        return 0;
    }
    return err_set(err, KE_INVALID,
                   "\"%s\" is %.*s: not a time (ms since 1970, or text as 2026-01-31T12:00:00Z)",
                   name, value_len > 80 ? 80 : (int)value_len, value);
}
