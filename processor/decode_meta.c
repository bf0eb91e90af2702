/* What a record is besides its value: key, offset, partition, timestamp, headers, as hidden columns;
 * the promise that the key is a column's text; and records that are marks. Own header:
 * decode_inside.h. */
#include "processor/decode_inside.h"

#include "include/kappa/message.h"
#include "processor/expr_step.h"
#include "processor/json_simd.h"

#include <string.h>

void decode_meta_open(struct decoder *d)
{
    const struct plan_input *input = d->input;
    d->metas = arena_calloc(&d->memory, (input->meta_count + 1) * sizeof *d->metas);
    for (uint32_t m = 0; m < input->meta_count; m++) {
        const struct plan_meta *meta = &input->metas[m];
        if (input->columns[meta->column].used || input->event_time == meta->column) {
            d->metas[d->meta_count++] =
                (struct decode_meta){.kind = meta->kind,
                                     .name = input->columns[meta->column].name,
                                     .header = meta->header,
                                     .vec = d->vecs[meta->column]};
        }
    }
}

void decode_meta_clear(struct decoder *d, uint32_t row)
{
    for (uint32_t m = 0; m < d->meta_count; m++) {
        d->metas[m].vec.state[row] = EXPR_NULL;
    }
}

static bool set_text(struct decoder *d, const struct decode_meta *meta, uint32_t row,
                     const uint8_t *bytes, uint32_t len)
{
    if (len == KAPPA_NULL_LEN) {
        return true;
    }
    if (!decode_check_utf8(d, bytes, len, meta->name)) {
        return false;
    }
    meta->vec.s[row] = (struct kappa_text){(const char *)bytes, len};
    meta->vec.state[row] = EXPR_OK;
    return true;
}

/* Reads a length at *at; false when it, or what it counts, leaves the headers. */
static bool header_part(const struct kappa_record *record, size_t *at, const uint8_t **bytes,
                        uint32_t *len)
{
    if (record->headers_len - *at < 4) {
        return false;
    }
    *len = load_u32_le(record->headers + *at);
    *at += 4;
    *bytes = record->headers + *at;
    if (*len == KAPPA_NULL_LEN) {
        return true;
    }
    if (*len > record->headers_len - *at) {
        return false;
    }
    *at += *len;
    return true;
}

/* The last header of this name, as in Kafka's lastHeader; of null when there is none. False: the
 * headers are cut off. */
static bool header_find(const struct kappa_record *record, const char *header,
                        const uint8_t **value, uint32_t *value_len)
{
    size_t wanted = strlen(header);
    *value = NULL;
    *value_len = KAPPA_NULL_LEN;
    for (size_t at = 0; at < record->headers_len;) {
        const uint8_t *name = NULL;
        const uint8_t *bytes = NULL;
        uint32_t name_len = 0;
        uint32_t len = 0;
        if (!header_part(record, &at, &name, &name_len) ||
            !header_part(record, &at, &bytes, &len)) {
            return false;
        }
        if (name_len == wanted && memcmp(name, header, wanted) == 0) {
            *value = bytes;
            *value_len = len;
        }
    }
    return true;
}

static bool set_header(struct decoder *d, const struct decode_meta *meta, uint32_t row,
                       const struct kappa_record *record)
{
    const uint8_t *value;
    uint32_t len;
    if (!header_find(record, meta->header, &value, &len)) {
        buf_append_text(&d->reason, "the record's headers are cut off");
        return false;
    }
    return set_text(d, meta, row, value, len);
}

bool decode_mark(const struct kappa_record *record, int64_t *us)
{
    const uint8_t *text;
    uint32_t len;
    uint64_t ms = 0;
    if (record->key_len != KAPPA_NULL_LEN || record->headers_len == 0 ||
        !header_find(record, KAPPA_MESSAGE_MARK, &text, &len) || len == KAPPA_NULL_LEN) {
        return false;
    }
    uint32_t sign = len > 0 && text[0] == '-' ? 1 : 0;
    for (uint32_t i = sign; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || ms > DECODE_TIME_MAX / 10000) {
            return false;
        }
        ms = ms * 10 + (uint64_t)(text[i] - '0');
    }
    if (len == sign || ms > DECODE_TIME_MAX / 1000) {
        return false;
    }
    *us = (int64_t)ms * (sign == 1 ? -1000 : 1000);
    return true;
}

static void set_number(const struct decode_meta *meta, uint32_t row, int64_t value)
{
    meta->vec.i[row] = value;
    meta->vec.state[row] = EXPR_OK;
}

static bool set_meta(struct decoder *d, const struct decode_meta *meta,
                     const struct kappa_record *record, uint32_t row)
{
    int64_t us = 0;
    switch (meta->kind) {
    case PLAN_META_KEY:
        return set_text(d, meta, row, record->key, record->key_len);
    case PLAN_META_HEADER:
        return set_header(d, meta, row, record);
    case PLAN_META_OFFSET:
        set_number(meta, row, record->offset);
        return true;
    case PLAN_META_PARTITION:
        set_number(meta, row, d->partition);
        return true;
    case PLAN_META_TIMESTAMP:
        if (record->time_ms == KAPPA_NO_TIME) {
            return true;
        }
        if (__builtin_mul_overflow(record->time_ms, 1000, &us) || us < -DECODE_TIME_MAX ||
            us > DECODE_TIME_MAX) {
            buf_append_text(&d->reason, "record_timestamp(): out of range");
            return false;
        }
        set_number(meta, row, us);
        return true;
    }
    ASSERT(false);
    return false;
}

bool decode_meta_take(struct decoder *d, const struct kappa_record *record, uint32_t row)
{
    for (uint32_t m = 0; m < d->meta_count; m++) {
        if (!set_meta(d, &d->metas[m], record, row)) {
            return false;
        }
    }
    return true;
}

/* ---- key='column' */

static struct kappa_text column_text(const struct expr_vec *vec, uint32_t row, char *number)
{
    if (vec->type == KAPPA_TYPE_TEXT) {
        return vec->s[row];
    }
    ASSERT(kappa_type_payload(vec->type) == KAPPA_PAYLOAD_INT);
    return (struct kappa_text){number, expr_format_bigint(vec->i[row], number)};
}

static void show_key(struct decoder *d, const struct kappa_record *record)
{
    if (record->key_len == KAPPA_NULL_LEN) {
        buf_append_text(&d->reason, "the record has no key");
    } else if (json_simd_utf8(record->key, record->key_len)) {
        buf_append_text(&d->reason, "the key ");
        decode_show(&d->reason, (struct kappa_text){(const char *)record->key, record->key_len});
    } else {
        buf_printf(&d->reason, "the key (%u bytes, no text)", record->key_len);
    }
}

static bool place_check(struct decoder *d, const struct kappa_record *record)
{
    enum partitioner partitioner = d->input->partitioner;
    if (partitioner == PARTITIONER_NONE) {
        return true;
    }
    ASSERT_CMP(d->partition, <, d->partitions);
    uint32_t right = partition_of_key(partitioner, record->key, record->key_len, d->partitions);
    if (right == d->partition) {
        return true;
    }
    show_key(d, record);
    buf_printf(&d->reason, " belongs to partition %u of %u by %s, and lies in %u", right,
               d->partitions, partitioner_name(partitioner), d->partition);
    return false;
}

bool decode_key_check(struct decoder *d, const struct kappa_record *record, uint32_t row)
{
    const struct expr_vec *vec = &d->vecs[d->input->key_column];
    const char *name = d->input->columns[d->input->key_column].name;
    char number[EXPR_BIGINT_TEXT];
    bool keyless = record->key_len == KAPPA_NULL_LEN;
    if (vec->state[row] != EXPR_OK) {
        show_key(d, record);
        buf_printf(&d->reason, "%s column \"%s\" is null", keyless ? ", and" : ", but", name);
        return false;
    }
    struct kappa_text text = column_text(vec, row, number);
    if (!keyless && record->key_len == text.len && memcmp(record->key, text.bytes, text.len) == 0) {
        return place_check(d, record);
    }
    show_key(d, record);
    buf_printf(&d->reason, "%s the value of column \"%s\", ", keyless ? ", not" : " is not", name);
    decode_show(&d->reason, text);
    return false;
}
