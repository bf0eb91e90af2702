/* Texts as values of columns, strict as casts are, and records' texts checked. Own header:
 * decode_inside.h. */
#include "processor/decode_inside.h"
#include "processor/expr_step.h"
#include "processor/json_simd.h"
#include "processor/json_token.h"
#include "processor/value_cast.h"

#include <string.h>

#define NUMBER_LEN_MAX 40 /* of a number that is read the short way */
#define SHOWN_BYTES    60 /* of a value in a reason */

/* A number and, if what stands behind its text is not sure to end it, a copy with an end. */
struct scanned {
    struct json_number number;
    uint8_t copy[NUMBER_LEN_MAX + 16];
};

/* Is the whole text a number as JSON writes them? */
static bool scan_number(struct kappa_text text, bool ended, struct scanned *out)
{
    const uint8_t *start = (const uint8_t *)text.bytes;
    if (text.len == 0 || text.len > NUMBER_LEN_MAX) {
        return false;
    }
    if (!ended) {
        memset(out->copy, 0, sizeof out->copy);
        memcpy(out->copy, text.bytes, text.len);
        out->copy[text.len] = ',';
        start = out->copy;
    }
    out->number.end = NULL;
    return json_number_scan(start, &out->number) && out->number.end == start + text.len;
}

static enum expr_state scale_time(const struct decoder *d, const struct json_number *number,
                                  int64_t *us)
{
    bool fits = json_number_scaled(number, d->input->timestamp_unit_us_num,
                                   d->input->timestamp_unit_us_den, us);
    return fits ? EXPR_OK : EXPR_ERROR_OVERFLOW;
}

/* A timestamptz that is written as a number counts the input's unit. */
static enum expr_state parse_time(const struct decoder *d, struct kappa_text text, int64_t *us)
{
    struct scanned scanned;
    return scan_number(text, false, &scanned) ? scale_time(d, &scanned.number, us)
                                              : expr_parse_timestamptz(text, us);
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

/* Numbers that are read in one step, to the value that the long way gives. */
static bool take_number(const struct decoder *d, struct decode_column *column, uint32_t row,
                        const struct json_number *number)
{
    int64_t value = 0;
    switch ((unsigned)column->type) {
    case KAPPA_TYPE_DOUBLE:
        /* Digits and power are exact doubles. */
        return number->exact && number->digits <= UINT64_C(1) << 53 && number->exponent >= -22 &&
               number->exponent <= 22 && json_number_double(number, &column->vec.d[row]);
    case KAPPA_TYPE_TIMESTAMPTZ:
        if (scale_time(d, number, &value) != EXPR_OK || value < -DECODE_TIME_MAX ||
            value > DECODE_TIME_MAX) {
            return false;
        }
        break;
    case KAPPA_TYPE_BIGINT:
        if (!json_number_int(number, &value)) {
            return false;
        }
        break;
    case KAPPA_TYPE_INTEGER:
        if (!json_number_int(number, &value) || value > INT32_MAX || value < INT32_MIN) {
            return false;
        }
        break;
    default:
        return false;
    }
    column->vec.i[row] = value;
    return true;
}

bool decode_text_inside(struct decoder *d, struct decode_column *column, uint32_t row,
                        struct kappa_text text, const struct kappa_record *record)
{
    if (column->type == KAPPA_TYPE_TEXT) {
        column->vec.s[row] = text;
        column->vec.state[row] = EXPR_OK;
        return true;
    }
    const uint8_t *behind = (const uint8_t *)text.bytes + text.len;
    bool ended = behind < record->value + record->value_len && json_ends_scalar(*behind);
    struct scanned scanned;
    if ((column->type == KAPPA_TYPE_DOUBLE || column->type == KAPPA_TYPE_TIMESTAMPTZ ||
         column->type == KAPPA_TYPE_BIGINT || column->type == KAPPA_TYPE_INTEGER) &&
        scan_number(text, ended, &scanned) && take_number(d, column, row, &scanned.number)) {
        column->vec.state[row] = EXPR_OK;
        return true;
    }
    return decode_text(d, column, row, text);
}

bool decode_check_utf8(struct decoder *d, const uint8_t *bytes, size_t len, const char *what)
{
    if (json_simd_utf8(bytes, len)) {
        return true;
    }
    buf_printf(&d->reason, "%s is not UTF-8 text", what);
    return false;
}
