/* The format avro: records in Avro's binary encoding. Own header: decode_inside.h.
 *
 *  1. With avro_schema='...' a record is one value of this schema, bare. With schema_registry='...' it
 *     is framed as Confluent's serializers do: a zero byte, the schema's number (4 bytes, big endian),
 *     the value; schemas are handed in by number (decoder_schema), and never change.
 *  2. The schema is that of the writer, a record. Its fields go to columns by name (and rename, which
 *     may lead into records: 'user.id=user_id'); columns without a field are null, fields without a
 *     column are skipped. A union gives the value of its branch.
 *  3. int and long fit every number in range, float and double real and double precision. Logical types:
 *     date, timestamps, decimal (numeric), uuid. A plain int or long in a timestamptz counts the
 *     input's unit. string and enum fit text and what a JSON string fits; bytes bytea, and text if
 *     they are UTF-8; fixed as bytes, one of 16 bytes a uuid too.
 *  4. A jsonb takes any value as avro_json.h writes it, but a string or bytes as the text of a document; an
 *     array column an array of scalars that would fit its type in JSON, or the text of one.
 *  5. The whole record is walked: bytes that its schema does not explain refuse it. */
#include "base/limits.h"
#include "base/timefmt.h"
#include "processor/array.h"
#include "processor/avro_json.h"
#include "processor/avro_read.h"
#include "processor/decode_inside.h"
#include "processor/expr_step.h"
#include "processor/jsonb.h"
#include "processor/numeric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_BYTES 5

/* What becomes of the fields of one record type, in one place of the schema. */
struct slot {
    struct decode_column *column; /* or NULL */
    struct slots *inside;         /* of a record, itself or as a branch; or NULL */
};

struct slots {
    const struct avro_type *record;
    struct slot *fields;
};

struct known {
    uint32_t id;
    struct avro_schema *schema; /* NULL: it cannot be read */
    struct slots *slots;
    char *reason; /* why it cannot */
};

struct avro_decoder {
    struct decoder base;
    struct known *known; /* by number, in the order they came; a bare schema is the first */
    uint32_t known_count;
    uint32_t last; /* used last */
    bool framed;
    struct avro_cursor cursor;
    struct buf json; /* of the value at hand */
};

/* ---- Schemas */

static const struct avro_type *record_of(const struct avro_type *type)
{
    for (uint32_t i = 0; type->kind == AVRO_UNION && i < type->count; i++) {
        if (type->types[i]->kind == AVRO_RECORD) {
            return type->types[i];
        }
    }
    return type->kind == AVRO_RECORD ? type : NULL;
}

static struct slots *slots_new(struct avro_decoder *d, const struct avro_type *record)
{
    struct slots *slots = arena_calloc(&d->base.memory, sizeof *slots);
    slots->record = record;
    slots->fields = arena_calloc(&d->base.memory, (record->count + 1) * sizeof *slots->fields);
    return slots;
}

/* The column is read from the field at this path, if the schema has it. */
static void bind_path(struct avro_decoder *d, struct slots *slots, const char *const *path,
                      uint32_t depth, struct decode_column *column)
{
    for (uint32_t step = 0; step < depth; step++) {
        uint32_t f = 0;
        while (f < slots->record->count && strcmp(slots->record->fields[f].name, path[step]) != 0) {
            f++;
        }
        if (f == slots->record->count) {
            return;
        }
        struct slot *slot = &slots->fields[f];
        if (step + 1 == depth) {
            slot->column = slot->column == NULL ? column : slot->column;
            return;
        }
        const struct avro_type *inner = record_of(slots->record->fields[f].type);
        if (inner == NULL) {
            return;
        }
        if (slot->inside == NULL) {
            slot->inside = slots_new(d, inner);
        }
        slots = slot->inside;
    }
}

static struct slots *bind(struct avro_decoder *d, const struct avro_type *root)
{
    const struct plan_input *input = d->base.input;
    struct slots *slots = slots_new(d, root);
    for (uint32_t c = 0; c < d->base.column_count; c++) {
        bind_path(d, slots, &d->base.columns[c].name, 1, &d->base.columns[c]);
    }
    for (uint32_t i = 0; i < input->rename_count; i++) {
        const struct plan_rename *rename = &input->renames[i];
        for (uint32_t c = 0; c < d->base.column_count; c++) {
            if (d->base.columns[c].index == rename->column) {
                bind_path(d, slots, rename->path, rename->depth, &d->base.columns[c]);
            }
        }
    }
    return slots;
}

static struct known *find_known(struct avro_decoder *d, uint32_t id)
{
    if (d->last < d->known_count && d->known[d->last].id == id) {
        return &d->known[d->last];
    }
    for (uint32_t i = 0; i < d->known_count; i++) {
        if (d->known[i].id == id) {
            d->last = i;
            return &d->known[i];
        }
    }
    return NULL;
}

static void add_known(struct avro_decoder *d, uint32_t id, const char *text, size_t len)
{
    struct err err = {.code = 0};
    d->known = xrealloc(d->known, (d->known_count + 1) * sizeof *d->known);
    struct known *known = &d->known[d->known_count++];
    *known = (struct known){.id = id};
    if (text == NULL) {
        known->reason = xstrdup("the registry does not have it, or not all that it refers to");
    } else if (avro_schema_parse(text, len, &known->schema, &err) != 0) {
        known->schema = NULL;
        known->reason = xstrdup(err.text);
    } else {
        known->slots = bind(d, avro_schema_root(known->schema));
    }
}

static uint32_t frame_id(const struct kappa_record *record)
{
    return load_u32_be(record->value + 1);
}

bool decoder_schema_wanted(struct decoder *base, const struct kappa_record *record, uint32_t *id)
{
    struct avro_decoder *d = (struct avro_decoder *)base;
    if (base->input->format != PLAN_FORMAT_AVRO || !d->framed ||
        record->value_len == KAPPA_NULL_LEN || record->value_len < FRAME_BYTES ||
        record->value[0] != 0) {
        return false;
    }
    *id = frame_id(record);
    return find_known(d, *id) == NULL;
}

void decoder_schema(struct decoder *base, uint32_t id, const char *text, size_t len)
{
    struct avro_decoder *d = (struct avro_decoder *)base;
    if (base->input->format == PLAN_FORMAT_AVRO && find_known(d, id) == NULL) {
        add_known(d, id, text, len);
    }
}

static void open_avro(struct decoder *base)
{
    struct avro_decoder *d = (struct avro_decoder *)base;
    const char *schema = base->input->avro_schema;
    d->framed = schema == NULL;
    if (!d->framed) {
        add_known(d, 0, schema, strlen(schema));
    }
}

static void close_avro(struct decoder *base)
{
    struct avro_decoder *d = (struct avro_decoder *)base;
    for (uint32_t i = 0; i < d->known_count; i++) {
        avro_schema_free(d->known[i].schema);
        free(d->known[i].reason);
    }
    free(d->known);
    buf_free(&d->json);
}

/* ---- Values */

static bool wrong(struct avro_decoder *d, const struct decode_column *column,
                  const struct avro_type *type, bool range)
{
    buf_printf(&d->base.reason, "column \"%s\": expected %s, got an Avro %s%s", column->name,
               decoder_type_name(column->type), avro_kind_name(type->kind),
               range ? " out of range" : "");
    return false;
}

static bool set_int(struct avro_decoder *d, struct decode_column *column,
                    const struct avro_type *type, uint32_t row, int128 value, int64_t most)
{
    if (value > most || value < -(int128)most - 1) {
        return wrong(d, column, type, true);
    }
    column->vec.i[row] = (int64_t)value;
    column->vec.state[row] = EXPR_OK;
    return true;
}

static bool set_double(struct avro_decoder *d, struct decode_column *column,
                       const struct avro_type *type, uint32_t row, double value)
{
    double rounded = column->type == KAPPA_TYPE_REAL ? (double)(float)value : value;
    if (isinf(rounded) && !isinf(value)) {
        return wrong(d, column, type, true);
    }
    column->vec.d[row] = rounded;
    column->vec.state[row] = EXPR_OK;
    return true;
}

static bool set_numeric(struct avro_decoder *d, struct decode_column *column,
                        const struct avro_type *type, uint32_t row, struct kappa_numeric value)
{
    if (expr_numeric_fit(value, column->modifier, &column->vec.n[row]) != EXPR_OK) {
        return wrong(d, column, type, true);
    }
    column->vec.state[row] = EXPR_OK;
    return true;
}

static int128 floor_div(int128 value, int64_t by)
{
    return value / by - (value % by < 0 ? 1 : 0);
}

/* Microseconds of a number that is a time; num / den: the unit of a plain one. Halves go away from
 * zero. */
static int128 time_us(const struct plan_input *input, const struct avro_type *type, int64_t value)
{
    int128 wide = value;
    int128 scaled = wide * input->timestamp_unit_us_num;
    int64_t den = input->timestamp_unit_us_den;
    switch (type->logical) {
    case AVRO_DATE:
        return wide * US_DAY;
    case AVRO_TIMESTAMP_MILLIS:
        return wide * 1000;
    case AVRO_TIMESTAMP_MICROS:
        return wide;
    case AVRO_PLAIN:
    case AVRO_DECIMAL:
    case AVRO_UUID:
        break;
    }
    return (scaled + (scaled < 0 ? -den / 2 : den / 2)) / den;
}

static bool take_long(struct avro_decoder *d, struct decode_column *column,
                      const struct avro_type *type, uint32_t row)
{
    int64_t value = 0;
    if (!avro_read_long(&d->cursor, &value)) {
        return false;
    }
    switch ((unsigned)column->type) {
    case KAPPA_TYPE_SMALLINT:
        return set_int(d, column, type, row, value, INT16_MAX);
    case KAPPA_TYPE_INTEGER:
        return set_int(d, column, type, row, value, INT32_MAX);
    case KAPPA_TYPE_BIGINT:
        return set_int(d, column, type, row, value, INT64_MAX);
    case KAPPA_TYPE_REAL:
        return set_double(d, column, type, row, (double)(float)value);
    case KAPPA_TYPE_DOUBLE:
        return set_double(d, column, type, row, (double)value);
    case KAPPA_TYPE_NUMERIC:
        return set_numeric(d, column, type, row, numeric_make(value, 0));
    case KAPPA_TYPE_TIMESTAMP:
    case KAPPA_TYPE_TIMESTAMPTZ:
        return set_int(d, column, type, row, time_us(d->base.input, type, value), DECODE_TIME_MAX);
    case KAPPA_TYPE_DATE:
        if (type->logical == AVRO_DATE) {
            return set_int(d, column, type, row, value, DECODE_TIME_MAX / US_DAY);
        }
        if (type->logical != AVRO_PLAIN) {
            return set_int(d, column, type, row,
                           floor_div(time_us(d->base.input, type, value), US_DAY),
                           DECODE_TIME_MAX / US_DAY);
        }
        return wrong(d, column, type, false);
    default:
        return wrong(d, column, type, false);
    }
}

static bool take_float(struct avro_decoder *d, struct decode_column *column,
                       const struct avro_type *type, uint32_t row)
{
    double value = 0;
    if (!(type->kind == AVRO_FLOAT ? avro_read_float(&d->cursor, &value)
                                   : avro_read_double(&d->cursor, &value))) {
        return false;
    }
    if (column->type != KAPPA_TYPE_DOUBLE && column->type != KAPPA_TYPE_REAL) {
        return wrong(d, column, type, false);
    }
    return set_double(d, column, type, row, value);
}

static bool take_boolean(struct avro_decoder *d, struct decode_column *column,
                         const struct avro_type *type, uint32_t row)
{
    bool value = false;
    if (!avro_read_boolean(&d->cursor, &value)) {
        return false;
    }
    if (column->type != KAPPA_TYPE_BOOLEAN) {
        return wrong(d, column, type, false);
    }
    return set_int(d, column, type, row, value, 1);
}

/* What a JSON string fits, too. */
static bool take_text(struct avro_decoder *d, struct decode_column *column,
                      const struct avro_type *type, uint32_t row, struct kappa_text text)
{
    bool fits = kappa_type_payload(column->type) == KAPPA_PAYLOAD_BYTES ||
                column->type == KAPPA_TYPE_NUMERIC || column->type >= KAPPA_TYPE_DATE;
    if (!fits || column->type == KAPPA_TYPE_BYTEA) {
        return wrong(d, column, type, false);
    }
    return decode_check_utf8(&d->base, (const uint8_t *)text.bytes, text.len, column->name) &&
           decode_text(&d->base, column, row, text);
}

static bool take_decimal(struct avro_decoder *d, struct decode_column *column,
                         const struct avro_type *type, uint32_t row, struct kappa_text bytes)
{
    struct kappa_numeric value;
    return avro_decimal(bytes, type->scale, &value) ? set_numeric(d, column, type, row, value)
                                                    : wrong(d, column, type, true);
}

static bool take_bytes(struct avro_decoder *d, struct decode_column *column,
                       const struct avro_type *type, uint32_t row)
{
    struct kappa_text bytes;
    if (!(type->kind == AVRO_FIXED ? avro_read_fixed(&d->cursor, type->size, &bytes)
                                   : avro_read_bytes(&d->cursor, &bytes))) {
        return false;
    }
    if (type->kind == AVRO_STRING) {
        return take_text(d, column, type, row, bytes);
    }
    if (type->logical == AVRO_DECIMAL && column->type == KAPPA_TYPE_NUMERIC) {
        return take_decimal(d, column, type, row, bytes);
    }
    bool uuid = column->type == KAPPA_TYPE_UUID && type->kind == AVRO_FIXED && bytes.len == 16;
    if (column->type == KAPPA_TYPE_BYTEA || uuid) {
        column->vec.s[row] = bytes;
        column->vec.state[row] = EXPR_OK;
        return true;
    }
    return column->type == KAPPA_TYPE_TEXT ? take_text(d, column, type, row, bytes)
                                           : wrong(d, column, type, false);
}

static bool take_enum(struct avro_decoder *d, struct decode_column *column,
                      const struct avro_type *type, uint32_t row)
{
    uint32_t index = 0;
    if (!avro_read_index(&d->cursor, type->count, &index)) {
        return false;
    }
    const char *symbol = type->symbols[index];
    return take_text(d, column, type, row, (struct kappa_text){symbol, u32_from(strlen(symbol))});
}

/* Into a jsonb or an array column. A string or bytes may be the text of one, as in other formats. */
static bool take_document(struct avro_decoder *d, struct decode_column *column,
                          const struct avro_type *type, uint32_t row)
{
    struct arena *memory = &d->base.texts;
    struct avro_json json = {.cursor = &d->cursor, .out = &d->json};
    struct kappa_text doc;
    buf_reset(&d->json);
    if (!avro_json_put(&json, type, 0)) {
        if (json.refused != NULL) {
            buf_printf(&d->base.reason, "column \"%s\": %s", column->name, json.refused);
        }
        return false;
    }
    enum expr_state state =
        jsonb_parse((struct kappa_text){buf_text(&d->json), u32_from(d->json.len)}, memory, &doc);
    column->vec.s[row] = doc;
    if (state == EXPR_OK && column->type != KAPPA_TYPE_JSONB) {
        state = array_from_json(doc, kappa_type_element(column->type), memory, &column->vec.s[row]);
    }
    column->vec.state[row] = EXPR_OK;
    return state == EXPR_OK ||
           wrong(d, column, type, state == EXPR_ERROR_OVERFLOW || state == EXPR_ERROR_LIMIT);
}

static bool is_document(enum kappa_type column, const struct avro_type *type)
{
    bool text = type->kind == AVRO_STRING || type->kind == AVRO_BYTES || type->kind == AVRO_ENUM;
    bool decimal = type->kind == AVRO_BYTES && type->logical == AVRO_DECIMAL;
    if (kappa_type_is_array(column)) {
        return type->kind == AVRO_ARRAY;
    }
    return column == KAPPA_TYPE_JSONB && type->kind != AVRO_NULL && (!text || decimal);
}

static bool take_value(struct avro_decoder *d, struct decode_column *column,
                       const struct avro_type *type, uint32_t row)
{
    if (is_document(column->type, type)) {
        return take_document(d, column, type, row);
    }
    switch (type->kind) {
    case AVRO_NULL:
        column->vec.state[row] = EXPR_NULL;
        return true;
    case AVRO_BOOLEAN:
        return take_boolean(d, column, type, row);
    case AVRO_INT:
    case AVRO_LONG:
        return take_long(d, column, type, row);
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
        return take_float(d, column, type, row);
    case AVRO_BYTES:
    case AVRO_STRING:
    case AVRO_FIXED:
        return take_bytes(d, column, type, row);
    case AVRO_ENUM:
        return take_enum(d, column, type, row);
    case AVRO_RECORD:
    case AVRO_ARRAY:
    case AVRO_MAP:
    case AVRO_UNION:
        break;
    }
    return wrong(d, column, type, false);
}

static bool take_record(struct avro_decoder *d, const struct slots *slots, uint32_t row,
                        uint32_t depth);

// NOLINTNEXTLINE(misc-no-recursion): bounded by the depth of renames
static bool take_field(struct avro_decoder *d, const struct slot *slot,
                       const struct avro_type *type, uint32_t row, uint32_t depth)
{
    uint32_t branch = 0;
    if (slot->column == NULL && slot->inside == NULL) {
        return avro_skip(&d->cursor, type, depth);
    }
    if (type->kind == AVRO_UNION) {
        if (!avro_read_index(&d->cursor, type->count, &branch)) {
            return false;
        }
        type = type->types[branch];
    }
    if (slot->inside != NULL && type == slot->inside->record) {
        return take_record(d, slot->inside, row, depth + 1);
    }
    return slot->column == NULL ? avro_skip(&d->cursor, type, depth + 1)
                                : take_value(d, slot->column, type, row);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by the depth of renames
static bool take_record(struct avro_decoder *d, const struct slots *slots, uint32_t row,
                        uint32_t depth)
{
    for (uint32_t i = 0; i < slots->record->count; i++) {
        if (!take_field(d, &slots->fields[i], slots->record->fields[i].type, row, depth)) {
            return false;
        }
    }
    return true;
}

/* The schema of the record; *skip: bytes before the value. NULL: refused. */
static const struct known *schema_of(struct avro_decoder *d, const struct kappa_record *record,
                                     uint32_t *skip)
{
    if (d->framed && (record->value_len < FRAME_BYTES || record->value[0] != 0)) {
        buf_append_text(&d->base.reason, "no Confluent framing: it does not begin with a zero byte "
                                         "and the number of a schema");
        return NULL;
    }
    uint32_t id = d->framed ? frame_id(record) : 0;
    const struct known *known = find_known(d, id);
    *skip = d->framed ? FRAME_BYTES : 0;
    if (known == NULL || known->schema == NULL) {
        buf_printf(&d->base.reason, "schema %u: %s", id,
                   known == NULL ? "nobody has handed it in" : known->reason);
        return NULL;
    }
    return known;
}

static enum decode_taken take_avro(struct decoder *base, const struct kappa_record *record,
                                   uint32_t row)
{
    struct avro_decoder *d = (struct avro_decoder *)base;
    uint32_t skip = 0;
    const struct known *known = schema_of(d, record, &skip);
    if (known == NULL) {
        return DECODE_REFUSED;
    }
    const uint8_t *end = record->value + record->value_len;
    d->cursor = (struct avro_cursor){
        .at = record->value + skip, .start = record->value, .end = end, .fault = NULL};
    bool good = take_record(d, known->slots, row, 0);
    if (good && d->cursor.at != end) {
        good = avro_fail(&d->cursor, "more bytes than its schema says");
    }
    if (!good && d->cursor.fault != NULL) {
        buf_printf(&base->reason, "malformed Avro: %s, at byte %zu", d->cursor.fault,
                   (size_t)(d->cursor.at - record->value));
    }
    return good ? DECODE_ROW : DECODE_REFUSED;
}

const struct decode_ops decode_avro_ops = {
    .size = sizeof(struct avro_decoder),
    .open = open_avro,
    .take = take_avro,
    .close = close_avro,
};
