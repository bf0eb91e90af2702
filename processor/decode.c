/* What is the same for every format. Own headers: decode.h, decode_inside.h. */
#include "processor/decode.h"

#include "base/limits.h"
#include "processor/decode_inside.h"
#include "processor/functions.h"

#include <stdlib.h>
#include <string.h>

const char *decoder_type_name(enum kappa_type type)
{
    return type == KAPPA_TYPE_TIMESTAMPTZ ? "timestamptz"
           : type == KAPPA_TYPE_TIMESTAMP ? "timestamp"
                                          : function_type_name(type);
}

static const struct decode_ops *ops_of(enum plan_format format)
{
    static const struct decode_ops *const all[PLAN_FORMAT_COUNT] = {
        [PLAN_FORMAT_JSON] = &decode_json_ops,         [PLAN_FORMAT_CSV] = &decode_csv_ops,
        [PLAN_FORMAT_TSV] = &decode_csv_ops,           [PLAN_FORMAT_RAW] = &decode_raw_ops,
        [PLAN_FORMAT_DEBEZIUM] = &decode_debezium_ops, [PLAN_FORMAT_AVRO] = &decode_avro_ops,
    };
    ASSERT(all[format] != NULL);
    return all[format];
}

static void vec_open(struct arena *arena, struct expr_vec *vec, enum kappa_type type, uint32_t rows)
{
    vec->type = type;
    vec->state = arena_alloc(arena, rows);
    memset(vec->state, EXPR_NULL, rows);
    vec->i = arena_calloc(arena, rows * expr_payload_size(type));
}

static bool is_primary(const struct plan_input *input, uint32_t column)
{
    bool primary = false;
    for (uint32_t i = 0; i < input->primary_count; i++) {
        primary = primary || input->primary[i] == column;
    }
    return primary;
}

struct decoder *decoder_new(const struct plan_input *input, uint32_t capacity)
{
    ASSERT(capacity > 0);
    const struct decode_ops *ops = ops_of(input->format);
    struct decoder *d = xcalloc(1, ops->size);
    d->ops = ops;
    d->input = input;
    d->capacity = capacity;
    arena_init(&d->memory);
    arena_init(&d->texts);
    d->columns = arena_calloc(&d->memory, (input->column_count + 1) * sizeof *d->columns);
    d->vecs = arena_calloc(&d->memory, (input->column_count + 1) * sizeof *d->vecs);
    uint32_t declared = input->column_count - input->meta_count;
    for (uint32_t c = 0; c < input->column_count; c++) {
        const struct plan_column *from = &input->columns[c];
        vec_open(&d->memory, &d->vecs[c], from->type, capacity);
        bool used =
            from->used || c == input->event_time || (input->keyed && c == input->key_column);
        used = used || is_primary(input, c);
        if (!used || c >= declared) {
            continue;
        }
        struct decode_column *column = &d->columns[d->column_count++];
        column->index = c;
        column->type = from->type;
        column->modifier = from->modifier;
        column->name = from->name;
        column->name_len = u32_from(strlen(from->name));
        column->vec = d->vecs[c];
    }
    decode_meta_open(d);
    decode_key_open(d);
    ops->open(d);
    return d;
}

void decoder_free(struct decoder *d)
{
    if (d == NULL) {
        return;
    }
    d->ops->close(d);
    decode_key_close(d);
    buf_free(&d->reason);
    arena_free(&d->texts);
    arena_free(&d->memory);
    free(d);
}

const struct expr_vec *decoder_columns(const struct decoder *d)
{
    return d->vecs;
}

const char *decoder_reason(const struct decoder *d)
{
    return buf_text(&d->reason);
}

void decoder_reset(struct decoder *d)
{
    d->last_row = UINT32_MAX;
    for (uint32_t c = 0; c < d->column_count; c++) {
        memset(d->columns[c].vec.state, EXPR_NULL, d->capacity);
    }
    for (uint32_t m = 0; m < d->meta_count; m++) {
        memset(d->metas[m].vec.state, EXPR_NULL, d->capacity);
    }
    arena_reset(&d->texts);
}

int64_t decoder_mark(const struct decoder *d)
{
    return d->mark;
}

void decoder_partition(struct decoder *d, uint32_t partition, uint32_t partitions)
{
    d->partition = partition;
    d->partitions = partitions;
}

static void clear_row(struct decoder *d, uint32_t row)
{
    for (uint32_t c = 0; c < d->column_count; c++) {
        d->columns[c].vec.state[row] = EXPR_NULL;
    }
    decode_meta_clear(d, row);
}

/* null: a row is gone, where rows have a key; or a time has passed. */
static enum decode_taken take_tombstone(struct decoder *d, const struct kappa_record *record,
                                        uint32_t row)
{
    if (decode_mark(record, &d->mark)) {
        return DECODE_MARK;
    }
    if (d->input->format == PLAN_FORMAT_DEBEZIUM) {
        return DECODE_IGNORED; /* the envelope before it said so already */
    }
    if (d->input->primary_count == 0 && d->input->format == PLAN_FORMAT_RAW) {
        return DECODE_ROW; /* the column is null */
    }
    if (d->input->tombstones) {
        return decode_key_alone(d, record, row) ? DECODE_DELETE : DECODE_REFUSED;
    }
    if (d->input->primary_count == 0) {
        buf_append_text(&d->reason, "no value (tombstone)");
        return DECODE_REFUSED;
    }
    return decode_key_take(d, record, row) ? DECODE_DELETE : DECODE_REFUSED;
}

static enum decode_taken take_value(struct decoder *d, const struct kappa_record *record,
                                    uint32_t row)
{
    if (record->value_len == KAPPA_NULL_LEN) {
        return take_tombstone(d, record, row);
    }
    if (record->value_len > LIMIT_RECORD_BYTES) {
        buf_append_text(&d->reason, "longer than a record may be");
        return DECODE_REFUSED;
    }
    return d->ops->take(d, record, row);
}

static enum decode_taken take_record(struct decoder *d, const struct kappa_record *record,
                                     uint32_t row)
{
    const struct plan_input *input = d->input;
    buf_reset(&d->reason);
    enum decode_taken taken = take_value(d, record, row);
    bool good = taken == DECODE_ROW || taken == DECODE_DELETE;
    if (!good || (d->meta_count == 0 && !input->keyed && input->primary_count == 0)) {
        return taken;
    }
    good = (d->meta_count == 0 || decode_meta_take(d, record, row)) &&
           (input->primary_count == 0 || decode_key_whole(d, row)) &&
           (!input->keyed || decode_key_check(d, record, row));
    return good ? taken : DECODE_REFUSED;
}

enum decode_taken decoder_take(struct decoder *d, const struct kappa_record *record, uint32_t row)
{
    ASSERT_CMP(row, <, d->capacity);
    if (row == d->last_row) {
        clear_row(d, row);
    }
    d->last_row = row;
    enum decode_taken taken = take_record(d, record, row);
    if (taken != DECODE_ROW && taken != DECODE_DELETE) {
        clear_row(d, row);
    }
    return taken;
}
