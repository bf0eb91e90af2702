/* The primary key of an input whose records say how rows stand now. Own header: decode_inside.h.
 *
 * A row comes with its key columns in the value. Where there is no value (a tombstone), they come from
 * the record's key: a JSON object has them by name, itself or in its member "payload"; anything else is
 * the value of the single key column, written as text (of a JSON string: what it says). */
#include "processor/decode_inside.h"
#include "processor/json_token.h"

#include <string.h>

/* Reads keys that are JSON objects. */
struct decode_key {
    struct plan_input input;
    struct decoder *decoder; /* of one row */
    struct buf bytes;        /* the key with what parsers may read behind it */
};

static struct decode_column *column_at(const struct decoder *d, uint32_t index)
{
    for (uint32_t c = 0; c < d->column_count; c++) {
        if (d->columns[c].index == index) {
            return &d->columns[c];
        }
    }
    ASSERT(!"key columns are always read");
    return NULL;
}

static struct decode_column *primary_column(const struct decoder *d, uint32_t i)
{
    return column_at(d, d->input->primary[i]);
}

void decode_key_open(struct decoder *d)
{
    const struct plan_input *input = d->input;
    if (input->primary_count == 0) {
        return;
    }
    uint32_t count = input->primary_count;
    struct decode_key *key = arena_calloc(&d->memory, sizeof *key);
    struct plan_column *columns = arena_calloc(&d->memory, count * sizeof *columns);
    struct plan_rename *renames = arena_calloc(&d->memory, count * sizeof *renames);
    for (uint32_t i = 0; i < count; i++) {
        columns[i] = input->columns[input->primary[i]];
        columns[i].used = true;
        renames[i] =
            (struct plan_rename){.column = i, .depth = 2, .path = {"payload", columns[i].name}};
    }
    key->input = (struct plan_input){.name = input->name,
                                     .format = PLAN_FORMAT_JSON,
                                     .columns = columns,
                                     .column_count = count,
                                     .renames = renames,
                                     .rename_count = count,
                                     .event_time = PLAN_NONE,
                                     .timestamp_unit_us_num = input->timestamp_unit_us_num,
                                     .timestamp_unit_us_den = input->timestamp_unit_us_den};
    key->decoder = decoder_new(&key->input, 1);
    d->key = key;
}

void decode_key_close(struct decoder *d)
{
    if (d->key != NULL) {
        decoder_free(d->key->decoder);
        buf_free(&d->key->bytes);
    }
}

bool decode_key_whole(struct decoder *d, uint32_t row)
{
    for (uint32_t i = 0; i < d->input->primary_count; i++) {
        const struct decode_column *column = primary_column(d, i);
        if (column->vec.state[row] != EXPR_OK) {
            buf_printf(&d->reason, "column \"%s\" of the primary key is missing or null",
                       column->name);
            return false;
        }
    }
    return true;
}

static struct kappa_value keep_bytes(struct decoder *d, struct kappa_value value)
{
    if (kappa_type_payload(value.type) == KAPPA_PAYLOAD_BYTES && value.s.len > 0) {
        char *copy = arena_alloc(&d->texts, value.s.len);
        memcpy(copy, value.s.bytes, value.s.len);
        value.s.bytes = copy;
    }
    return value;
}

static bool take_object(struct decoder *d, const struct kappa_record *record, uint32_t row)
{
    struct decode_key *key = d->key;
    buf_reset(&key->bytes);
    buf_append(&key->bytes, record->key, record->key_len);
    buf_reserve(&key->bytes, KAPPA_RECORD_TAIL);
    struct kappa_record value = {.value = key->bytes.data, .value_len = record->key_len};
    decoder_reset(key->decoder);
    if (decoder_take(key->decoder, &value, 0) != DECODE_ROW) {
        buf_printf(&d->reason, "no value (tombstone), and the key: %s",
                   decoder_reason(key->decoder));
        return false;
    }
    for (uint32_t i = 0; i < d->input->primary_count; i++) {
        struct decode_column *column = primary_column(d, i);
        enum expr_state state = EXPR_OK;
        struct kappa_value read = expr_value(&decoder_columns(key->decoder)[i], 0, &state);
        if (!read.is_null) {
            read = keep_bytes(d, read);
            expr_set(&column->vec, row, &read);
        }
    }
    return true; /* whether it is whole is looked at later */
}

/* "abc" in quotes, as a JSON converter writes a text. */
static struct kappa_text unquoted(struct decoder *d, struct kappa_text text)
{
    if (text.len < 2 || text.bytes[0] != '"' || text.bytes[text.len - 1] != '"' ||
        memchr(text.bytes + 1, '"', text.len - 2) != NULL) {
        return text;
    }
    uint8_t *made = arena_alloc(&d->texts, text.len);
    int64_t len = json_unescape((const uint8_t *)text.bytes + 1, text.len - 2, made);
    return len < 0 ? text : (struct kappa_text){(const char *)made, (uint32_t)len};
}

/* Is the key a text? */
static bool key_text(struct decoder *d, const struct kappa_record *record, struct kappa_text *text)
{
    if (record->key_len == KAPPA_NULL_LEN) {
        buf_append_text(&d->reason, "neither a value nor a key: no row can be deleted");
        return false;
    }
    *text = (struct kappa_text){(const char *)record->key, record->key_len};
    return decode_check_utf8(d, record->key, record->key_len, "no value (tombstone), and the key");
}

bool decode_key_alone(struct decoder *d, const struct kappa_record *record, uint32_t row)
{
    struct kappa_text text;
    return key_text(d, record, &text) &&
           decode_text(d, column_at(d, d->input->key_column), row, text);
}

bool decode_key_take(struct decoder *d, const struct kappa_record *record, uint32_t row)
{
    struct kappa_text text;
    if (!key_text(d, record, &text)) {
        return false;
    }
    if (text.len > 0 && text.bytes[0] == '{') {
        return take_object(d, record, row);
    }
    if (d->input->primary_count > 1) {
        buf_append_text(&d->reason, "no value (tombstone), and the key is no JSON object with the "
                                    "columns of the primary key");
        return false;
    }
    return decode_text(d, primary_column(d, 0), row, unquoted(d, text));
}
