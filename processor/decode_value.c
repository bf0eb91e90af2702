/* Texts as values of columns, strict as casts are, and records' texts checked. Own header:
 * decode_inside.h. */
#include "processor/decode_inside.h"
#include "processor/expr_step.h"
#include "processor/json_simd.h"
#include "processor/json_token.h"
#include "processor/value_cast.h"

#include <string.h>

#define NUMBER_LEN_MAX 40 /* of a number that is a time */
#define SHOWN_BYTES    60 /* of a value in a reason */

/* A timestamptz that is written as a number counts the input's unit. */
static enum expr_state parse_time(const struct decoder *d, struct kappa_text text, int64_t *us)
{
    char buffer[NUMBER_LEN_MAX + 16] = {0};
    struct json_number number;
    if (text.len > 0 && text.len <= NUMBER_LEN_MAX) {
        memcpy(buffer, text.bytes, text.len);
        buffer[text.len] = ',';
        if (json_number_scan((const uint8_t *)buffer, &number) &&
            number.end == (const uint8_t *)buffer + text.len) {
            return json_number_scaled(&number, d->input->timestamp_unit_us_num,
                                      d->input->timestamp_unit_us_den, us)
                       ? EXPR_OK
                       : EXPR_ERROR_OVERFLOW;
        }
    }
    return expr_parse_timestamptz(text, us);
}

static enum expr_state parse(struct decoder *d, const struct decode_column *column,
                             struct kappa_text text, struct kappa_value *out)
{
    if (column->type == KAPPA_TYPE_TIMESTAMPTZ) {
        *out = (struct kappa_value){.type = column->type};
        enum expr_state state = parse_time(d, text, &out->i);
        bool far = state == EXPR_OK && (out->i < -DECODE_TIME_MAX || out->i > DECODE_TIME_MAX);
        return far ? EXPR_ERROR_OVERFLOW : state;
    }
    enum expr_state state = value_parse(text, column->type, &d->texts, out);
    if (state == EXPR_OK && column->type == KAPPA_TYPE_NUMERIC) {
        state = expr_numeric_fit(out->n, column->modifier, &out->n);
    }
    return state;
}

void decode_show(struct buf *out, struct kappa_text text)
{
    uint32_t len = text.len;
    if (len > SHOWN_BYTES) {
        len = SHOWN_BYTES;
        while (len > 0 && ((unsigned char)text.bytes[len] & 0xC0) == 0x80) {
            len--;
        }
    }
    buf_append_u8(out, '"');
    buf_append(out, text.bytes, len);
    buf_append_text(out, len < text.len ? "\"..." : "\"");
}

bool decode_text(struct decoder *d, struct decode_column *column, uint32_t row,
                 struct kappa_text text)
{
    struct kappa_value value;
    enum expr_state state = parse(d, column, text, &value);
    if (state == EXPR_OK) {
        expr_set(&column->vec, row, &value);
        return true;
    }
    buf_printf(&d->reason, "column \"%s\": ", column->name);
    decode_show(&d->reason, text);
    buf_printf(&d->reason, " is %s %s", state == EXPR_ERROR_OVERFLOW ? "out of range of" : "no",
               decoder_type_name(column->type));
    return false;
}

bool decode_check_utf8(struct decoder *d, const uint8_t *bytes, size_t len, const char *what)
{
    if (json_simd_utf8(bytes, len)) {
        return true;
    }
    buf_printf(&d->reason, "%s is not UTF-8 text", what);
    return false;
}
