/* An Avro value as JSON text. Own header: avro_json.h. */
#include "processor/avro_json.h"

#include "base/limits.h"
#include "base/timefmt.h"
#include "processor/decode.h"
#include "processor/expr_step.h"
#include "processor/json_simd.h"
#include "processor/numeric.h"
#include "processor/value_text.h"

#include <math.h>
#include <string.h>

static bool refuse(struct avro_json *json, const char *why)
{
    json->refused = why;
    return false;
}

static bool put_string(struct avro_json *json, struct kappa_text text)
{
    if (!json_simd_utf8((const uint8_t *)text.bytes, text.len)) {
        return refuse(json, "a string in it is not UTF-8 text");
    }
    value_json_string(json->out, text.bytes, text.len);
    return true;
}

static bool put_quoted(struct avro_json *json, const char *text, uint32_t len)
{
    buf_append_u8(json->out, '"');
    buf_append(json->out, text, len);
    buf_append_u8(json->out, '"');
    return true;
}

static bool put_time(struct avro_json *json, int64_t value, int64_t unit_us)
{
    char text[EXPR_TIME_TEXT];
    if (value > DECODE_TIME_MAX / unit_us || value < -DECODE_TIME_MAX / unit_us) {
        return refuse(json, "a time in it is out of range");
    }
    return put_quoted(json, text, expr_format_timestamptz(value * unit_us, text));
}

static bool put_long(struct avro_json *json, const struct avro_type *type)
{
    char text[EXPR_VALUE_TEXT];
    int64_t value = 0;
    if (!avro_read_long(json->cursor, &value)) {
        return false;
    }
    switch (type->logical) {
    case AVRO_DATE:
        if (value > DECODE_TIME_MAX / US_DAY || value < -DECODE_TIME_MAX / US_DAY) {
            return refuse(json, "a time in it is out of range");
        }
        return put_quoted(json, text, expr_format_date(value, text));
    case AVRO_TIMESTAMP_MILLIS:
        return put_time(json, value, 1000);
    case AVRO_TIMESTAMP_MICROS:
        return put_time(json, value, 1);
    case AVRO_PLAIN:
    case AVRO_DECIMAL:
    case AVRO_UUID:
        break;
    }
    buf_append(json->out, text, expr_format_bigint(value, text));
    return true;
}

static bool put_double(struct avro_json *json, const struct avro_type *type)
{
    char text[EXPR_VALUE_TEXT];
    double value = 0;
    bool single = type->kind == AVRO_FLOAT;
    if (!(single ? avro_read_float(json->cursor, &value)
                 : avro_read_double(json->cursor, &value))) {
        return false;
    }
    if (!isfinite(value)) {
        return refuse(json, "NaN and infinity have no JSON form");
    }
    buf_append(json->out, text,
               single ? expr_format_real(value, text) : expr_format_double(value, text));
    return true;
}

static bool put_bytes(struct avro_json *json, const struct avro_type *type)
{
    char text[NUMERIC_TEXT];
    struct kappa_text bytes;
    struct kappa_numeric number;
    if (!(type->kind == AVRO_FIXED ? avro_read_fixed(json->cursor, type->size, &bytes)
                                   : avro_read_bytes(json->cursor, &bytes))) {
        return false;
    }
    if (type->kind == AVRO_STRING) {
        return put_string(json, bytes);
    }
    if (type->logical != AVRO_DECIMAL) {
        return refuse(json, "bytes have no JSON form");
    }
    if (!avro_decimal(bytes, type->scale, &number)) {
        return refuse(json, "a decimal in it is out of range");
    }
    buf_append(json->out, text, numeric_format(number, text));
    return true;
}

static bool put_enum(struct avro_json *json, const struct avro_type *type)
{
    uint32_t index = 0;
    if (!avro_read_index(json->cursor, type->count, &index)) {
        return false;
    }
    const char *symbol = type->symbols[index];
    return put_string(json, (struct kappa_text){symbol, u32_from(strlen(symbol))});
}

static bool put_boolean(struct avro_json *json)
{
    bool value = false;
    if (!avro_read_boolean(json->cursor, &value)) {
        return false;
    }
    buf_append_text(json->out, value ? "true" : "false");
    return true;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static bool put_record(struct avro_json *json, const struct avro_type *type, uint32_t depth)
{
    buf_append_u8(json->out, '{');
    for (uint32_t i = 0; i < type->count; i++) {
        const char *name = type->fields[i].name;
        buf_append_text(json->out, i == 0 ? "" : ",");
        value_json_string(json->out, name, strlen(name));
        buf_append_u8(json->out, ':');
        if (!avro_json_put(json, type->fields[i].type, depth)) {
            return false;
        }
    }
    buf_append_u8(json->out, '}');
    return true;
}

/* The next element. Elements may be encoded in no bytes at all: the text has a bound of its own. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static bool put_element(struct avro_json *json, const struct avro_type *type, uint32_t depth)
{
    struct kappa_text name;
    if (type->kind == AVRO_MAP) {
        if (!avro_read_bytes(json->cursor, &name) || !put_string(json, name)) {
            return false;
        }
        buf_append_u8(json->out, ':');
    }
    return avro_json_put(json, type->types[0], depth) &&
           (json->out->len <= LIMIT_ROW_BYTES || refuse(json, "it is too long"));
}

/* Blocks as in avro_read.c. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static bool put_blocks(struct avro_json *json, const struct avro_type *type, uint32_t depth)
{
    bool map = type->kind == AVRO_MAP;
    bool first = true;
    buf_append_u8(json->out, map ? '{' : '[');
    for (;;) {
        int64_t count = 0;
        int64_t size = 0;
        if (!avro_read_long(json->cursor, &count) ||
            (count < 0 && !avro_read_long(json->cursor, &size))) {
            return false;
        }
        if (count == 0) {
            break;
        }
        uint64_t elements = i64_magnitude(count);
        const uint8_t *start = json->cursor->at;
        for (uint64_t i = 0; i < elements; i++) {
            buf_append_text(json->out, first ? "" : ",");
            first = false;
            if (!put_element(json, type, depth)) {
                return false;
            }
        }
        if (count < 0 && json->cursor->at - start != size) {
            return avro_fail(json->cursor, "a block of another size than it says");
        }
    }
    buf_append_u8(json->out, map ? '}' : ']');
    return true;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
bool avro_json_put(struct avro_json *json, const struct avro_type *type, uint32_t depth)
{
    uint32_t branch = 0;
    if (depth > LIMIT_JSON_DEPTH) {
        return avro_fail(json->cursor, "nested too deep");
    }
    switch (type->kind) {
    case AVRO_NULL:
        buf_append_text(json->out, "null");
        return true;
    case AVRO_BOOLEAN:
        return put_boolean(json);
    case AVRO_INT:
    case AVRO_LONG:
        return put_long(json, type);
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
        return put_double(json, type);
    case AVRO_BYTES:
    case AVRO_STRING:
    case AVRO_FIXED:
        return put_bytes(json, type);
    case AVRO_ENUM:
        return put_enum(json, type);
    case AVRO_UNION:
        return avro_read_index(json->cursor, type->count, &branch) &&
               avro_json_put(json, type->types[branch], depth + 1);
    case AVRO_ARRAY:
    case AVRO_MAP:
        return put_blocks(json, type, depth + 1);
    case AVRO_RECORD:
        return put_record(json, type, depth + 1);
    }
    return avro_fail(json->cursor, "a type that is unknown");
}
