/* Text and values. Own header: value_cast.h. Numbers: expr_cast.c, expr_format.c, numeric_text.c. */
#include "processor/value_cast.h"

#include "base/timefmt.h"
#include "processor/array.h"
#include "processor/expr_step.h"
#include "processor/jsonb.h"
#include "processor/numeric.h"

#include <string.h>

/* ---- uuid: 32 hexadecimal digits, with hyphens behind groups of four, perhaps in braces. */

static enum expr_state parse_uuid(struct kappa_text text, struct arena *memory,
                                  struct kappa_text *out)
{
    text = expr_without_blanks(text);
    if (text.len >= 2 && text.bytes[0] == '{' && text.bytes[text.len - 1] == '}') {
        text = (struct kappa_text){text.bytes + 1, text.len - 2};
    }
    uint8_t uuid[16] = {0};
    uint32_t digits = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.bytes[i] == '-' && digits % 4 == 0 && digits > 0 && text.bytes[i - 1] != '-') {
            continue;
        }
        int digit = hex_digit(text.bytes[i]);
        if (digit < 0 || digits == 32) {
            return EXPR_ERROR_CAST;
        }
        uuid[digits / 2] = (uint8_t)(uuid[digits / 2] << 4 | digit);
        digits++;
    }
    if (digits != 32 || text.bytes[text.len - 1] == '-') {
        return EXPR_ERROR_CAST;
    }
    char *copy = arena_alloc(memory, sizeof uuid);
    memcpy(copy, uuid, sizeof uuid);
    *out = (struct kappa_text){copy, sizeof uuid};
    return EXPR_OK;
}

static void put_hex(struct buf *out, struct kappa_text bytes, bool uuid)
{
    static const char digits[] = "0123456789abcdef";
    for (uint32_t i = 0; i < bytes.len; i++) {
        if (uuid && (i == 4 || i == 6 || i == 8 || i == 10)) {
            buf_append_u8(out, '-');
        }
        buf_append_u8(out, (uint8_t)digits[(uint8_t)bytes.bytes[i] >> 4]);
        buf_append_u8(out, (uint8_t)digits[(uint8_t)bytes.bytes[i] & 15]);
    }
}

/* ---- bytea: "\x" and hexadecimal digits, with blanks between bytes; or the bytes themselves, where
 * a backslash is "\\" and any byte may be a backslash and three octal digits. */

static enum expr_state parse_hex(struct kappa_text text, char *to, uint32_t *len)
{
    for (uint32_t i = 2; i < text.len; i++) {
        if (strchr(" \t\r\n", text.bytes[i]) != NULL && text.bytes[i] != '\0') {
            continue;
        }
        int high = hex_digit(text.bytes[i]);
        int low = i + 1 < text.len ? hex_digit(text.bytes[i + 1]) : -1;
        if (high < 0 || low < 0) {
            return EXPR_ERROR_CAST;
        }
        to[(*len)++] = (char)(high << 4 | low);
        i++;
    }
    return EXPR_OK;
}

static bool octal_at(struct kappa_text text, uint32_t i)
{
    for (uint32_t k = 0; k < 3; k++) {
        if (i + k >= text.len) {
            return false;
        }
        char c = text.bytes[i + k];
        if (c < '0' || c > (k == 0 ? '3' : '7')) {
            return false;
        }
    }
    return true;
}

static enum expr_state parse_bytea(struct kappa_text text, struct arena *memory,
                                   struct kappa_text *out)
{
    char *bytes = arena_alloc(memory, (size_t)text.len + 1);
    uint32_t len = 0;
    enum expr_state state = EXPR_OK;
    if (text.len >= 2 && text.bytes[0] == '\\' && text.bytes[1] == 'x') {
        state = parse_hex(text, bytes, &len);
        *out = (struct kappa_text){bytes, len};
        return state;
    }
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.bytes[i];
        if (c == '\\' && i + 1 < text.len && text.bytes[i + 1] == '\\') {
            i++;
        } else if (c == '\\' && octal_at(text, i + 1)) {
            c = (char)((text.bytes[i + 1] - '0') << 6 | (text.bytes[i + 2] - '0') << 3 |
                       (text.bytes[i + 3] - '0'));
            i += 3;
        } else if (c == '\\') {
            return EXPR_ERROR_CAST;
        }
        bytes[len++] = c;
    }
    *out = (struct kappa_text){bytes, len};
    return EXPR_OK;
}

/* ---- Numbers and times. */

typedef enum expr_state (*parse_int_fn)(struct kappa_text text, int64_t *out);

static enum expr_state parse_int(struct kappa_text text, enum kappa_type type, int64_t *out)
{
    static const parse_int_fn parsers[KAPPA_TYPE_COUNT] = {
        [KAPPA_TYPE_BOOLEAN] = expr_parse_boolean,
        [KAPPA_TYPE_SMALLINT] = expr_parse_smallint,
        [KAPPA_TYPE_INTEGER] = expr_parse_integer,
        [KAPPA_TYPE_BIGINT] = expr_parse_bigint,
        [KAPPA_TYPE_DATE] = expr_parse_date,
        [KAPPA_TYPE_TIMESTAMP] = expr_parse_timestamp,
        [KAPPA_TYPE_TIMESTAMPTZ] = expr_parse_timestamptz,
        [KAPPA_TYPE_INTERVAL] = expr_parse_interval,
    };
    ASSERT(parsers[type] != NULL);
    return parsers[type](text, out);
}

enum expr_state value_parse(struct kappa_text text, enum kappa_type type, struct arena *memory,
                            struct kappa_value *out)
{
    *out = (struct kappa_value){.type = type};
    switch (kappa_type_payload(type)) {
    case KAPPA_PAYLOAD_NUMERIC:
        return numeric_parse(expr_without_blanks(text), &out->n);
    case KAPPA_PAYLOAD_DOUBLE:
        return type == KAPPA_TYPE_REAL ? expr_parse_real(text, &out->d)
                                       : expr_parse_double(text, &out->d);
    case KAPPA_PAYLOAD_BYTES:
        if (type == KAPPA_TYPE_UUID) {
            return parse_uuid(text, memory, &out->s);
        }
        if (type == KAPPA_TYPE_BYTEA) {
            return parse_bytea(text, memory, &out->s);
        }
        if (kappa_type_is_array(type)) {
            return array_parse(text, kappa_type_element(type), memory, &out->s);
        }
        if (type == KAPPA_TYPE_JSONB) {
            return jsonb_parse(text, memory, &out->s);
        }
        ASSERT_CMP(type, ==, KAPPA_TYPE_TEXT);
        out->s = text;
        return EXPR_OK;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        break;
    }
    return parse_int(text, type, &out->i);
}

typedef uint32_t (*format_int_fn)(int64_t value, char *out);

static uint32_t format_boolean(int64_t value, char *out)
{
    memcpy(out, value != 0 ? "true" : "false", value != 0 ? 4 : 5);
    return value != 0 ? 4 : 5;
}

static uint32_t format_int(enum kappa_type type, int64_t value, char *out)
{
    static const format_int_fn formatters[KAPPA_TYPE_COUNT] = {
        [KAPPA_TYPE_BOOLEAN] = format_boolean,
        [KAPPA_TYPE_DATE] = expr_format_date,
        [KAPPA_TYPE_TIMESTAMP] = expr_format_timestamp,
        [KAPPA_TYPE_TIMESTAMPTZ] = expr_format_timestamptz,
        [KAPPA_TYPE_INTERVAL] = expr_format_interval,
    };
    return formatters[type] != NULL ? formatters[type](value, out) : expr_format_bigint(value, out);
}

uint32_t value_scalar_text(const struct kappa_value *value, char *text)
{
    uint32_t len = 0;
    enum kappa_payload payload = kappa_type_payload(value->type);
    ASSERT_CMP(payload, !=, KAPPA_PAYLOAD_BYTES);
    if (payload == KAPPA_PAYLOAD_NUMERIC) {
        len = numeric_format(value->n, text);
    } else if (payload == KAPPA_PAYLOAD_INT) {
        len = format_int(value->type, value->i, text);
    } else if (value->type == KAPPA_TYPE_REAL) {
        len = expr_format_real(value->d, text);
    } else {
        len = expr_format_double(value->d, text);
    }
    ASSERT_CMP(len, <=, EXPR_VALUE_TEXT);
    return len;
}

void value_bytes_text(struct buf *out, const struct kappa_value *value)
{
    if (value->type == KAPPA_TYPE_UUID) {
        put_hex(out, value->s, true);
    } else if (value->type == KAPPA_TYPE_BYTEA) {
        buf_append_text(out, "\\x");
        put_hex(out, value->s, false);
    } else if (kappa_type_is_array(value->type)) {
        array_text(out, value->s, kappa_type_element(value->type));
    } else {
        buf_append(out, value->s.bytes, value->s.len);
    }
}

static struct kappa_text keep(struct arena *memory, const void *bytes, size_t len)
{
    char *copy = arena_alloc(memory, len + 1);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    return (struct kappa_text){copy, u32_from(len)};
}

struct kappa_text value_format(const struct kappa_value *value, struct arena *memory)
{
    char text[EXPR_VALUE_TEXT];
    ASSERT(!value->is_null);
    if (value->type == KAPPA_TYPE_TEXT || value->type == KAPPA_TYPE_JSONB) {
        return value->s;
    }
    if (kappa_type_payload(value->type) != KAPPA_PAYLOAD_BYTES) {
        return keep(memory, text, value_scalar_text(value, text));
    }
    struct buf made = {0};
    value_bytes_text(&made, value);
    struct kappa_text copy = keep(memory, made.data, made.len);
    buf_free(&made);
    return copy;
}
