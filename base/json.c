/* Helpers over jansson. Own header: json.h. */
#include "base/json.h"

#include "base/digits.h"
#include "base/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nesting as brackets outside strings; jansson's own bound (2048) is not adjustable. */
static bool depth_within(const char *text, size_t len, unsigned max)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > max) {
                return false;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

json_t *json_parse(const char *text, size_t len, struct err *err)
{
    if (!depth_within(text, len, LIMIT_JSON_DEPTH)) {
        (void)err_set(err, KE_INVALID, "JSON nested deeper than %d levels", LIMIT_JSON_DEPTH);
        return NULL;
    }
    json_error_t error;
    json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (value == NULL) {
        (void)err_set(err, KE_INVALID, "not JSON: %s (line %d, column %d)", error.text, error.line,
                      error.column);
    }
    return value;
}

const char *json_text(const json_t *object, const char *name, const char *fallback)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? fallback : text;
}

int64_t json_int(const json_t *object, const char *name, int64_t fallback)
{
    const json_t *value = json_object_get(object, name);
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
}

bool json_bool(const json_t *object, const char *name, bool fallback)
{
    const json_t *value = json_object_get(object, name);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

double json_number(const json_t *object, const char *name, double fallback)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

static int append_chunk(const char *data, size_t len, void *ctx)
{
    buf_append(ctx, data, len);
    return 0;
}

/* Whether a text (of ASCII alone, if wanted so) in quotes is its JSON: jansson escapes these, and
 * nothing else when asked for compact output. */
static bool is_plain(const char *text, size_t len, bool ascii)
{
    bool plain = true;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        plain &= (c >= ' ') & (c != '"') & (c != '\\') & (c < 0x80 || !ascii);
    }
    return plain;
}

static void write_quoted(struct buf *buf, const char *text, size_t len)
{
    buf_reserve(buf, len + 2);
    buf_append_u8(buf, '"');
    buf_append(buf, text, len);
    buf_append_u8(buf, '"');
}

void json_write_int(struct buf *buf, int64_t value)
{
    char text[DIGITS_MAX + 1] = "-";
    char *end = digits_put(text + (value < 0), i64_magnitude(value), 1);
    buf_append(buf, text, (size_t)(end - text));
}

static void write_scalar(struct buf *buf, const json_t *value)
{
    if (json_is_string(value) &&
        is_plain(json_string_value(value), json_string_length(value), false)) {
        write_quoted(buf, json_string_value(value), json_string_length(value));
        return;
    }
    if (json_is_integer(value)) {
        json_write_int(buf, json_integer_value(value));
        return;
    }
    int rc = json_dump_callback(value, append_chunk, buf, JSON_COMPACT | JSON_ENCODE_ANY);
    ASSERT(rc == 0);
}

static void write_name(struct buf *buf, const char *name)
{
    if (is_plain(name, strlen(name), false)) {
        write_quoted(buf, name, strlen(name));
        return;
    }
    json_t *text = json_string_nocheck(name);
    ASSERT(text != NULL);
    write_scalar(buf, text);
    json_decref(text);
}

void json_write_real(struct buf *buf, double value)
{
    char text[40];
    if (!isfinite(value)) {
        buf_append_text(buf, isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
        return;
    }
    char *end = digits_put_double(text, value);
    if (end != text) {
        bool whole = memchr(text, '.', (size_t)(end - text)) == NULL;
        memcpy(end, ".0", 2);
        buf_append(buf, text, (size_t)(end - text) + (whole ? 2 : 0));
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    buf_append_text(buf, text);
    if (strpbrk(text, ".e") == NULL) {
        buf_append_text(buf, ".0");
    }
}

/* An object of one member whose name is no UTF-8, so that no parsed text and no checked name is it. */
#define RAW_NAME "\xFFraw"

json_t *json_raw(const char *text, size_t len)
{
    json_t *raw = json_object();
    int rc = json_object_set_new_nocheck(raw, RAW_NAME, json_stringn_nocheck(text, len));
    ASSERT(rc == 0);
    return raw;
}

const char *json_figure(const json_t *value)
{
    const char *raw = json_string_value(json_object_get(value, RAW_NAME));
    bool number = raw != NULL && (raw[0] == '-' || (raw[0] >= '0' && raw[0] <= '9'));
    return number ? raw : NULL;
}

bool json_is_figure(const json_t *value)
{
    return json_is_number(value) || json_figure(value) != NULL;
}

/* Would this number come out of json_parse and json_write as it is? */
static bool kept(const char *number, size_t len)
{
    char copy[40];
    if (len >= sizeof copy) {
        return false;
    }
    memcpy(copy, number, len);
    copy[len] = '\0';
    if (strpbrk(copy, ".eE") == NULL) {
        return len <= 18;
    }
    struct buf again = {0};
    json_write_real(&again, strtod(copy, NULL));
    bool same = again.len == len && memcmp(again.data, copy, len) == 0;
    buf_free(&again);
    return same;
}

/* The text with each number that would not be kept as a string that begins with the mark. */
static void mark_numbers(struct buf *out, const char *text, size_t len, const char *mark)
{
    for (size_t i = 0; i < len;) {
        size_t end = i + 1;
        if (text[i] == '"') {
            while (end < len && text[end] != '"') {
                end += text[end] == '\\' ? 2 : 1;
            }
            end = end < len ? end + 1 : len;
        } else if (text[i] == '-' || (text[i] >= '0' && text[i] <= '9')) {
            while (end < len && text[end] != '\0' && strchr("+-.0123456789eE", text[end]) != NULL) {
                end++;
            }
            if (!kept(text + i, end - i)) {
                buf_printf(out, "\"%s%.*s\"", mark, (int)(end - i), text + i);
                i = end;
                continue;
            }
        }
        buf_append(out, text + i, end - i);
        i = end;
    }
}

/* A marked string becomes raw. Takes the value and gives back what stands for it. */
/* NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH */
static json_t *unmark(json_t *value, const char *mark)
{
    const char *name;
    json_t *member;
    void *next;
    const char *text = json_string_value(value);
    if (text != NULL && strncmp(text, mark, strlen(mark)) == 0) {
        json_t *raw = json_raw(text + strlen(mark), strlen(text) - strlen(mark));
        json_decref(value);
        return raw;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *element = json_incref(json_array_get(value, i));
        int rc = json_array_set_new(value, i, unmark(element, mark));
        ASSERT(rc == 0);
    }
    json_object_foreach_safe(value, next, name, member)
    {
        int rc = json_object_set_new_nocheck(value, name, unmark(json_incref(member), mark));
        ASSERT(rc == 0);
    }
    return value;
}

json_t *json_parse_exact(const char *text, size_t len, struct err *err)
{
    char mark[16] = "=";
    while (memmem(text, len, mark, strlen(mark)) != NULL) { /* nothing in the text has it */
        size_t used = strlen(mark);
        if (used + 2 > sizeof mark) {
            return json_parse(text, len, err);
        }
        mark[used] = used % 2 == 0 ? '=' : '#';
        mark[used + 1] = '\0';
    }
    struct buf marked = {0};
    mark_numbers(&marked, text, len, mark);
    json_t *value = json_parse(buf_text(&marked), marked.len, err);
    buf_free(&marked);
    return value == NULL ? NULL : unmark(value, mark);
}

/* NOLINTNEXTLINE(misc-no-recursion): values come from json_parse (LIMIT_JSON_DEPTH) or our own code */
static void write_value(struct buf *buf, const json_t *value, unsigned depth)
{
    ASSERT_CMP(depth, <=, LIMIT_JSON_DEPTH + 8);
    if (json_is_real(value)) {
        json_write_real(buf, json_real_value(value));
    } else if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            buf_append_u8(buf, i == 0 ? '[' : ',');
            write_value(buf, json_array_get(value, i), depth + 1);
        }
        buf_append_text(buf, json_array_size(value) == 0 ? "[]" : "]");
    } else if (json_object_get(value, RAW_NAME) != NULL) {
        const json_t *raw = json_object_get(value, RAW_NAME);
        buf_append(buf, json_string_value(raw), json_string_length(raw));
    } else if (json_is_object(value)) {
        const char *name;
        const json_t *member;
        char before = '{';
        json_object_foreach ((json_t *)(uintptr_t)value, name, member) {
            buf_append_u8(buf, (uint8_t)before);
            write_name(buf, name);
            buf_append_u8(buf, ':');
            write_value(buf, member, depth + 1);
            before = ',';
        }
        buf_append_text(buf, before == '{' ? "{}" : "}");
    } else {
        write_scalar(buf, value);
    }
}

void json_write(struct buf *buf, const json_t *value)
{
    write_value(buf, value, 0);
}

char *json_print(const json_t *value)
{
    struct buf buf = {0};
    json_write(&buf, value);
    return (char *)buf.data;
}

json_t *json_from_err(const struct err *err)
{
    json_t *body = json_pack("{s:s, s:o}", "code", err_word(err->code), "message",
                             json_text_lossy(err->text, strlen(err->text)));
    ASSERT(body != NULL);
    if (err->hint[0] != '\0') {
        int rc = json_object_set_new(body, "hint", json_text_lossy(err->hint, strlen(err->hint)));
        ASSERT(rc == 0);
    }
    json_t *outer = json_pack("{s:o}", "error", body);
    ASSERT(outer != NULL);
    return outer;
}

int json_only(const json_t *object, const char *known, struct err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)object, name, value) {
        if (!list_has(known, name)) {
            int rc = err_set(err, KE_INVALID, "unknown member \"%.100s\"", name);
            err_hint(err, known[0] == '\0' ? "there may be none" : "it may be one of: %s", known);
            return rc;
        }
    }
    return 0;
}

bool json_to_err(const json_t *value, struct err *err)
{
    const json_t *body = json_object_get(value, "error");
    if (!json_is_object(body)) {
        return false;
    }
    (void)err_set(err, err_from_word(json_text(body, "code", "internal")), "%s",
                  json_text(body, "message", "unknown error"));
    err_hint(err, "%s", json_text(body, "hint", ""));
    return true;
}

/* Length of the UTF-8 sequence at bytes, or 0 if it is not one (RFC 3629: no surrogates, no overlong). */
static size_t utf8_sequence(const uint8_t *bytes, size_t left)
{
    uint8_t first = bytes[0];
    if (first < 0x80) {
        return 1;
    }
    size_t len = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || left < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((bytes[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool low = (first == 0xE0 && bytes[1] < 0xA0) || (first == 0xF0 && bytes[1] < 0x90);
    bool high = (first == 0xED && bytes[1] > 0x9F) || (first == 0xF4 && bytes[1] > 0x8F);
    return low || high ? 0 : len;
}

json_t *json_text_lossy(const void *bytes, size_t len)
{
    json_t *plain = json_stringn(bytes, len);
    if (plain != NULL) {
        return plain;
    }
    struct buf clean = {0};
    const uint8_t *at = bytes;
    size_t left = len;
    while (left > 0) {
        size_t step = utf8_sequence(at, left);
        if (step == 0) {
            buf_append_text(&clean, "\xEF\xBF\xBD");
            step = 1;
        } else {
            buf_append(&clean, at, step);
        }
        at += step;
        left -= step;
    }
    json_t *text = json_stringn(buf_text(&clean), clean.len);
    ASSERT(text != NULL);
    buf_free(&clean);
    return text;
}

void json_write_text(struct buf *buf, const void *bytes, size_t len)
{
    if (is_plain(bytes, len, true)) {
        write_quoted(buf, bytes, len);
        return;
    }
    json_t *text = json_text_lossy(bytes, len);
    write_scalar(buf, text);
    json_decref(text);
}
