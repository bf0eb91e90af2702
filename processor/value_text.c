/* Values as text and as JSON. Own header: value_text.h. */
#include "processor/value_text.h"

#include "base/timefmt.h"
#include "processor/array.h"
#include "processor/expr_step.h"
#include "processor/value_cast.h"

#include <math.h>
#include <string.h>

static void time_text(struct buf *out, int64_t us)
{
    char text[TIME_TEXT_LEN];
    buf_append(out, text, time_format(us, text));
}

void value_text(struct buf *out, const struct kappa_value *value)
{
    char text[EXPR_VALUE_TEXT];
    ASSERT(!value->is_null);
    if (value->type == KAPPA_TYPE_TIMESTAMPTZ) {
        time_text(out, value->i);
    } else if (kappa_type_payload(value->type) == KAPPA_PAYLOAD_BYTES) {
        value_bytes_text(out, value);
    } else {
        buf_append(out, text, value_scalar_text(value, text));
    }
}

/* Length of the part that needs no escape. */
static size_t plain_length(const char *bytes, size_t len)
{
    size_t i = 0;
    while (i < len && (unsigned char)bytes[i] >= 0x20 && bytes[i] != '"' && bytes[i] != '\\') {
        i++;
    }
    return i;
}

void value_json_string(struct buf *out, const char *bytes, size_t len)
{
    buf_append_u8(out, '"');
    for (size_t at = 0; at < len;) {
        size_t plain = plain_length(bytes + at, len - at);
        buf_append(out, bytes + at, plain);
        at += plain;
        if (at == len) {
            break;
        }
        char c = bytes[at++];
        if (c == '"' || c == '\\') {
            buf_append_u8(out, '\\');
            buf_append_u8(out, (uint8_t)c);
        } else if (c == '\n') {
            buf_append_text(out, "\\n");
        } else {
            buf_printf(out, "\\u%04x", (unsigned)(unsigned char)c);
        }
    }
    buf_append_u8(out, '"');
}

static void array_json(struct buf *out, const struct kappa_value *array)
{
    struct arena memory;
    struct kappa_value value;
    arena_init(&memory);
    size_t pos = 0;
    buf_append_u8(out, '[');
    for (bool first = true;
         array_next(array->s, &pos, kappa_type_element(array->type), &memory, &value);
         first = false) {
        buf_append_text(out, first ? "" : ",");
        value_json(out, &value); // NOLINT(misc-no-recursion): elements are no arrays
    }
    buf_append_u8(out, ']');
    arena_free(&memory);
}

// NOLINTNEXTLINE(misc-no-recursion): arrays have no arrays in them
void value_json(struct buf *out, const struct kappa_value *value)
{
    bool plain = value->is_null || value->type == KAPPA_TYPE_BOOLEAN ||
                 value->type == KAPPA_TYPE_JSONB ||
                 (value->type >= KAPPA_TYPE_SMALLINT && value->type <= KAPPA_TYPE_DOUBLE);
    if (kappa_type_payload(value->type) == KAPPA_PAYLOAD_DOUBLE && !value->is_null) {
        plain = isfinite(value->d);
    }
    if (value->is_null) {
        buf_append_text(out, "null");
    } else if (plain) {
        value_text(out, value);
    } else if (value->type == KAPPA_TYPE_TEXT) {
        value_json_string(out, value->s.bytes, value->s.len);
    } else if (kappa_type_is_array(value->type)) {
        array_json(out, value);
    } else if (value->type == KAPPA_TYPE_BYTEA) { /* \\x00ff */
        buf_append_text(out, "\"\\");
        value_text(out, value);
        buf_append_u8(out, '"');
    } else { /* nothing in it needs an escape */
        buf_append_u8(out, '"');
        value_text(out, value);
        buf_append_u8(out, '"');
    }
}
