/* Avro's binary encoding. Own header: avro_read.h. */
#include "processor/avro_read.h"

#include "base/limits.h"
#include "processor/numeric.h"

#include <string.h>

bool avro_fail(struct avro_cursor *cursor, const char *what)
{
    cursor->fault = what;
    return false;
}

static size_t left(const struct avro_cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

bool avro_read_long(struct avro_cursor *cursor, int64_t *value)
{
    uint64_t bits = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (cursor->at == cursor->end) {
            return avro_fail(cursor, "it ends inside of a number");
        }
        uint8_t byte = *cursor->at++;
        if (shift == 63 && byte > 1) {
            break;
        }
        bits |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *value = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return true;
        }
    }
    return avro_fail(cursor, "a number of more than 64 bits");
}

bool avro_read_fixed(struct avro_cursor *cursor, uint32_t size, struct kappa_text *value)
{
    if (left(cursor) < size) {
        return avro_fail(cursor, "it ends inside of a value");
    }
    *value = (struct kappa_text){(const char *)cursor->at, size};
    cursor->at += size;
    return true;
}

bool avro_read_bytes(struct avro_cursor *cursor, struct kappa_text *value)
{
    int64_t size = 0;
    if (!avro_read_long(cursor, &size)) {
        return false;
    }
    if (size < 0 || (uint64_t)size > left(cursor)) {
        return avro_fail(cursor, "a length that the record does not have");
    }
    return avro_read_fixed(cursor, (uint32_t)size, value);
}

bool avro_read_boolean(struct avro_cursor *cursor, bool *value)
{
    struct kappa_text byte;
    if (!avro_read_fixed(cursor, 1, &byte)) {
        return false;
    }
    *value = byte.bytes[0] == 1;
    return byte.bytes[0] == 0 || byte.bytes[0] == 1 ||
           avro_fail(cursor, "a boolean that is neither 0 nor 1");
}

bool avro_read_float(struct avro_cursor *cursor, double *value)
{
    struct kappa_text bytes;
    if (!avro_read_fixed(cursor, 4, &bytes)) {
        return false;
    }
    uint32_t bits = load_u32_le((const uint8_t *)bytes.bytes);
    float number;
    memcpy(&number, &bits, sizeof number);
    *value = (double)number;
    return true;
}

bool avro_read_double(struct avro_cursor *cursor, double *value)
{
    struct kappa_text bytes;
    if (!avro_read_fixed(cursor, 8, &bytes)) {
        return false;
    }
    uint64_t bits = load_u64_le((const uint8_t *)bytes.bytes);
    memcpy(value, &bits, sizeof *value);
    return true;
}

bool avro_read_index(struct avro_cursor *cursor, uint32_t count, uint32_t *value)
{
    int64_t index = 0;
    if (!avro_read_long(cursor, &index)) {
        return false;
    }
    *value = (uint32_t)index;
    return (index >= 0 && index < (int64_t)count) ||
           avro_fail(cursor, "a branch or symbol that the schema does not have");
}

bool avro_decimal(struct kappa_text bytes, uint32_t scale, struct kappa_numeric *value)
{
    const uint8_t *at = (const uint8_t *)bytes.bytes;
    uint128 bits = bytes.len > 0 && at[0] >= 0x80 ? ~(uint128)0 : 0;
    uint8_t sign = (uint8_t)bits;
    for (uint32_t i = 0; i < bytes.len; i++) {
        bool extends = i + 16 >= bytes.len || at[i] == sign;
        if (!extends) {
            return false;
        }
        bits = bits << 8 | at[i];
    }
    int128 coefficient = (int128)bits;
    if ((coefficient < 0) != (sign != 0) || !numeric_fits(coefficient)) {
        return false;
    }
    *value = numeric_make(coefficient, scale);
    return true;
}

/* Blocks of an array or map. Each has a count, a negative one is followed by the block's size in
 * bytes; elements that are encoded in no bytes are not counted through. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static bool skip_blocks(struct avro_cursor *cursor, const struct avro_type *type, uint32_t depth)
{
    bool map = type->kind == AVRO_MAP;
    for (;;) {
        int64_t count = 0;
        int64_t size = 0;
        if (!avro_read_long(cursor, &count)) {
            return false;
        }
        if (count == 0) {
            return true;
        }
        if (count < 0) {
            struct kappa_text block;
            if (!avro_read_long(cursor, &size)) {
                return false;
            }
            if (size < 0 || (uint64_t)size > left(cursor)) {
                return avro_fail(cursor, "a block that is longer than the record");
            }
            (void)avro_read_fixed(cursor, (uint32_t)size, &block);
            continue;
        }
        for (int64_t i = 0; i < count && (map || !type->types[0]->empty); i++) {
            struct kappa_text name;
            if ((map && !avro_read_bytes(cursor, &name)) ||
                !avro_skip(cursor, type->types[0], depth)) {
                return false;
            }
        }
    }
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static bool skip_record(struct avro_cursor *cursor, const struct avro_type *type, uint32_t depth)
{
    for (uint32_t i = 0; i < type->count; i++) {
        if (!avro_skip(cursor, type->fields[i].type, depth)) {
            return false;
        }
    }
    return true;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
bool avro_skip(struct avro_cursor *cursor, const struct avro_type *type, uint32_t depth)
{
    int64_t number = 0;
    uint32_t index = 0;
    bool truth = false;
    struct kappa_text bytes;
    if (type->empty) {
        return true;
    }
    if (depth > LIMIT_JSON_DEPTH) {
        return avro_fail(cursor, "nested too deep");
    }
    switch (type->kind) {
    case AVRO_NULL:
        return true;
    case AVRO_BOOLEAN:
        return avro_read_boolean(cursor, &truth);
    case AVRO_INT:
    case AVRO_LONG:
        return avro_read_long(cursor, &number);
    case AVRO_FLOAT:
        return avro_read_fixed(cursor, 4, &bytes);
    case AVRO_DOUBLE:
        return avro_read_fixed(cursor, 8, &bytes);
    case AVRO_BYTES:
    case AVRO_STRING:
        return avro_read_bytes(cursor, &bytes);
    case AVRO_FIXED:
        return avro_read_fixed(cursor, type->size, &bytes);
    case AVRO_ENUM:
        return avro_read_index(cursor, type->count, &index);
    case AVRO_UNION:
        return avro_read_index(cursor, type->count, &index) &&
               avro_skip(cursor, type->types[index], depth + 1);
    case AVRO_ARRAY:
    case AVRO_MAP:
        return skip_blocks(cursor, type, depth + 1);
    case AVRO_RECORD:
        return skip_record(cursor, type, depth + 1);
    }
    return avro_fail(cursor, "a type that is unknown");
}
