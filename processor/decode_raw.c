/* The format raw: the whole value is the one column of the input. Own header: decode_inside.h.
 *
 * A null value (a tombstone) is null there. A bytea takes any bytes; a text must be UTF-8; any other
 * type reads the text as a cast would. */
#include "processor/decode_inside.h"

static void open_raw(struct decoder *d)
{
    ASSERT_CMP(d->column_count, <=, 1);
}

static void close_raw(struct decoder *d)
{
    (void)d;
}

static enum decode_taken take_raw(struct decoder *d, const struct kappa_record *record,
                                  uint32_t row)
{
    struct kappa_text text = {(const char *)record->value, record->value_len};
    if (d->column_count == 0) {
        return DECODE_ROW; /* nobody reads it */
    }
    struct decode_column *column = &d->columns[0];
    if (column->type == KAPPA_TYPE_BYTEA) {
        column->vec.s[row] = text;
        column->vec.state[row] = EXPR_OK;
        return DECODE_ROW;
    }
    bool good = decode_check_utf8(d, record->value, record->value_len, "the record") &&
                decode_text(d, column, row, text);
    return good ? DECODE_ROW : DECODE_REFUSED;
}

const struct decode_ops decode_raw_ops = {
    .size = sizeof(struct decoder),
    .open = open_raw,
    .take = take_raw,
    .close = close_raw,
};
