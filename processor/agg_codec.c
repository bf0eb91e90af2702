/* Aggregate states as bytes, merged, and as values. Own header: agg_state.h (the layout of the
 * bytes is there). Also the codec of plain values that rows of append tables use. */
#include "processor/value_codec.h"

#include "base/limits.h"
#include "processor/agg_state.h"
#include "processor/numeric.h"

#include <math.h>
#include <string.h>

static uint64_t zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}

static int corrupt(struct err *err)
{
    return err_set(err, KE_CORRUPT, "a row's value does not decode");
}

static void put_wide(struct buf *out, int128 value)
{
    uint128 rest = (uint128)value << 1 ^ (uint128)(value >> 127);
    for (; rest >= 0x80; rest >>= 7) {
        buf_append_u8(out, (uint8_t)(rest | 0x80));
    }
    buf_append_u8(out, (uint8_t)rest);
}

static bool take_wide(const uint8_t *bytes, size_t len, size_t *pos, int128 *value)
{
    uint128 all = 0;
    for (unsigned shift = 0; shift < 128 && *pos < len; shift += 7) {
        uint8_t byte = bytes[(*pos)++];
        all |= (uint128)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *value = (int128)(all >> 1 ^ (0 - (all & 1)));
            return true;
        }
    }
    return false;
}

static void put_double(struct buf *out, double d)
{
    uint64_t bits = 0;
    memcpy(&bits, &d, sizeof bits);
    buf_append_u64_le(out, bits);
}

static bool take_double(const uint8_t *bytes, size_t len, size_t *pos, double *d)
{
    if (len - *pos < sizeof *d) {
        return false;
    }
    memcpy(d, bytes + *pos, sizeof *d);
    *pos += sizeof *d;
    return true;
}

static bool take_text(const uint8_t *bytes, size_t len, size_t *pos, struct kappa_text *text)
{
    uint64_t text_len = 0;
    if (!varint_read(bytes, len, pos, &text_len) || text_len > len - *pos) {
        return false;
    }
    *text = (struct kappa_text){(const char *)bytes + *pos, u32_from(text_len)};
    *pos += text_len;
    return true;
}

/* ---- Values. */

void value_encode(struct buf *out, const struct kappa_value *value)
{
    switch (kappa_type_payload(value->type)) {
    case KAPPA_PAYLOAD_BYTES:
        buf_append_varint(out, value->s.len);
        buf_append(out, value->s.bytes, value->s.len);
        break;
    case KAPPA_PAYLOAD_DOUBLE:
        put_double(out, value->d);
        break;
    case KAPPA_PAYLOAD_NUMERIC:
        buf_append_varint(out, value->n.scale);
        put_wide(out, numeric_coefficient(value->n));
        break;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        buf_append_varint(out, zigzag(value->i));
        break;
    }
}

static bool take_numeric(const uint8_t *bytes, size_t len, size_t *pos, struct kappa_numeric *n)
{
    const int128 bound = (int128)numeric_power10(NUMERIC_DIGITS);
    uint64_t scale = 0;
    int128 coefficient = 0;
    if (!varint_read(bytes, len, pos, &scale) || scale > NUMERIC_SCALE_MAX ||
        !take_wide(bytes, len, pos, &coefficient) || coefficient >= bound ||
        coefficient <= -bound) {
        return false;
    }
    *n = numeric_make(coefficient, (uint32_t)scale);
    return true;
}

bool value_decode(const uint8_t *bytes, size_t len, size_t *pos, struct kappa_value *value)
{
    uint64_t wire = 0;
    switch (kappa_type_payload(value->type)) {
    case KAPPA_PAYLOAD_BYTES:
        return take_text(bytes, len, pos, &value->s);
    case KAPPA_PAYLOAD_DOUBLE:
        return take_double(bytes, len, pos, &value->d);
    case KAPPA_PAYLOAD_NUMERIC:
        return take_numeric(bytes, len, pos, &value->n);
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        break;
    }
    if (!varint_read(bytes, len, pos, &wire)) {
        return false;
    }
    value->i = unzigzag(wire);
    return true;
}

/* ---- Encoding. */

#define VARINT_BYTES 10

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        *at++ = (uint8_t)(value | 0x80);
    }
    *at++ = (uint8_t)value;
    return at;
}

/* A set keeps 8 bytes for types other than text. */
static void encode_set(enum kappa_type type, const struct agg_set *set, struct buf *out)
{
    if (set == AGG_SET_FULL) {
        buf_append_varint(out, 0);
        return;
    }
    uint32_t count = agg_set_count(set);
    buf_append_varint(out, (uint64_t)count + 1);
    /* Sets are most of what a flush writes: the room is made once, and values are put by pointer.
     * */
    buf_reserve(out, agg_set_bytes(set) + (size_t)count * VARINT_BYTES);
    uint8_t *at = out->data + out->len;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = 0;
        const uint8_t *bytes = agg_set_value(set, i, &len);
        if (type == KAPPA_TYPE_TEXT) {
            at = put_varint(at, len);
            memcpy(at, bytes, len);
            at += len;
        } else if (type == KAPPA_TYPE_DOUBLE) {
            memcpy(at, bytes, sizeof(double));
            at += sizeof(double);
        } else {
            int64_t value = 0;
            memcpy(&value, bytes, sizeof value);
            at = put_varint(at, zigzag(value));
        }
    }
    *at = 0;
    out->len = (size_t)(at - out->data);
}

static void encode_slot(const struct agg_slot *slot, const void *at, struct buf *out)
{
    const struct agg_extreme *extreme = at;
    const struct agg_extreme_text *text = at;
    const struct agg_sum_int *sum = at;
    const struct agg_sum_double *real = at;
    switch (slot->op) {
    case AGG_COUNT_ROWS:
    case AGG_COUNT:
        buf_append_varint(out, *(const uint64_t *)at);
        return;
    case AGG_DISTINCT:
        encode_set(slot->plan->argument_type, *(struct agg_set *const *)at, out);
        return;
    case AGG_SUM_INT:
    case AGG_AVG_INT:
        buf_append_varint(out, sum->n);
        if (sum->n > 0) {
            put_wide(out, agg_sum_get(sum));
        }
        return;
    case AGG_SUM_DOUBLE:
    case AGG_AVG_DOUBLE:
        buf_append_varint(out, real->n);
        if (real->n > 0) {
            put_double(out, real->sum);
        }
        return;
    case AGG_LEAST:
    case AGG_GREATEST:
        buf_append_u8(out, (uint8_t)extreme->seen);
        if (extreme->seen != 0) {
            buf_append_varint(out, zigzag(extreme->i));
        }
        return;
    case AGG_LEAST_DOUBLE:
    case AGG_GREATEST_DOUBLE:
        buf_append_u8(out, (uint8_t)extreme->seen);
        if (extreme->seen != 0) {
            put_double(out, extreme->d);
        }
        return;
    case AGG_LEAST_TEXT:
    case AGG_GREATEST_TEXT:
        buf_append_u8(out, text->bytes != NULL);
        if (text->bytes != NULL) {
            buf_append_varint(out, text->len);
            buf_append(out, text->bytes, text->len);
        }
        return;
    }
}

void agg_encode(const struct agg_layout *layout, const uint8_t *state, struct buf *out)
{
    for (uint32_t a = 0; a < layout->count; a++) {
        encode_slot(&layout->slots[a], state + layout->slots[a].offset, out);
    }
}

/* ---- Decoding. */

struct cursor {
    const uint8_t *bytes;
    size_t len;
    size_t pos;
};

static bool decode_set(enum kappa_type type, struct agg_set **set, struct pool *pool,
                       struct cursor *in)
{
    uint64_t wire = 0;
    if (!varint_read(in->bytes, in->len, &in->pos, &wire)) {
        return false;
    }
    if (wire == 0) {
        *set = AGG_SET_FULL;
        return true;
    }
    for (uint64_t i = 0; i + 1 < wire; i++) {
        struct kappa_value value = {.type = type};
        if (!value_decode(in->bytes, in->len, &in->pos, &value)) {
            return false;
        }
        bool text = type == KAPPA_TYPE_TEXT;
        const void *bytes = text ? (const void *)value.s.bytes : (const void *)&value.i;
        *set = agg_set_add(*set, pool, bytes, text ? value.s.len : sizeof value.i,
                           LIMIT_DISTINCT_BYTES);
    }
    return *set != AGG_SET_FULL && agg_set_count(*set) + UINT64_C(1) == wire;
}

static bool decode_extreme(const struct agg_slot *slot, void *at, struct pool *pool,
                           struct cursor *in)
{
    if (in->pos >= in->len || in->bytes[in->pos] > 1) {
        return false;
    }
    if (in->bytes[in->pos++] == 0) {
        return true;
    }
    struct kappa_value value = {.type = slot->plan->argument_type};
    if (!value_decode(in->bytes, in->len, &in->pos, &value)) {
        return false;
    }
    if (value.type == KAPPA_TYPE_TEXT) {
        agg_text_set(at, pool, value.s.bytes, value.s.len);
        return true;
    }
    struct agg_extreme *extreme = at;
    extreme->seen = 1;
    if (value.type == KAPPA_TYPE_DOUBLE) {
        extreme->d = value.d;
    } else {
        extreme->i = value.i;
    }
    return true;
}

static bool decode_sum(const struct agg_slot *slot, void *at, struct cursor *in)
{
    uint64_t n = 0;
    if (!varint_read(in->bytes, in->len, &in->pos, &n)) {
        return false;
    }
    if (slot->op == AGG_SUM_DOUBLE || slot->op == AGG_AVG_DOUBLE) {
        struct agg_sum_double *sum = at;
        sum->n = n;
        return n == 0 || take_double(in->bytes, in->len, &in->pos, &sum->sum);
    }
    struct agg_sum_int *sum = at;
    int128 value = 0;
    if (n > 0 && !take_wide(in->bytes, in->len, &in->pos, &value)) {
        return false;
    }
    sum->n = n;
    agg_sum_set(sum, value);
    return true;
}

static bool decode_slot(const struct agg_slot *slot, void *at, struct pool *pool, struct cursor *in)
{
    switch (slot->op) {
    case AGG_COUNT_ROWS:
    case AGG_COUNT:
        return varint_read(in->bytes, in->len, &in->pos, at);
    case AGG_DISTINCT:
        return decode_set(slot->plan->argument_type, at, pool, in);
    case AGG_SUM_INT:
    case AGG_AVG_INT:
    case AGG_SUM_DOUBLE:
    case AGG_AVG_DOUBLE:
        return decode_sum(slot, at, in);
    case AGG_LEAST:
    case AGG_GREATEST:
    case AGG_LEAST_DOUBLE:
    case AGG_GREATEST_DOUBLE:
    case AGG_LEAST_TEXT:
    case AGG_GREATEST_TEXT:
        return decode_extreme(slot, at, pool, in);
    }
    return false;
}

int agg_decode(const struct agg_layout *layout, uint8_t *state, struct pool *pool,
               const uint8_t *bytes, size_t len, struct err *err)
{
    struct cursor in = {.bytes = bytes, .len = len};
    for (uint32_t a = 0; a < layout->count; a++) {
        if (!decode_slot(&layout->slots[a], state + layout->slots[a].offset, pool, &in)) {
            return corrupt(err);
        }
    }
    return in.pos == len ? 0 : corrupt(err);
}

/* ---- Merging. */

static void merge_extreme(const struct agg_slot *slot, struct agg_extreme *to,
                          const struct agg_extreme *from)
{
    if (from->seen == 0) {
        return;
    }
    bool real = slot->op == AGG_LEAST_DOUBLE || slot->op == AGG_GREATEST_DOUBLE;
    bool below = real ? agg_double_below(from->d, to->d) : from->i < to->i;
    bool above = real ? agg_double_below(to->d, from->d) : from->i > to->i;
    bool least = slot->op == AGG_LEAST || slot->op == AGG_LEAST_DOUBLE;
    if (to->seen == 0 || (least ? below : above)) {
        *to = *from;
    }
}

static void merge_text(bool least, struct agg_extreme_text *to, const struct agg_extreme_text *from,
                       struct pool *pool)
{
    if (from->bytes == NULL) {
        return;
    }
    if (to->bytes == NULL || (least ? agg_text_below(from->bytes, from->len, to->bytes, to->len)
                                    : agg_text_below(to->bytes, to->len, from->bytes, from->len))) {
        agg_text_set(to, pool, from->bytes, from->len);
    }
}

/* The union of sources may be larger than what one source may hold, up to what a set can count. */
static void merge_set(struct agg_set **to, const struct agg_set *from, struct pool *pool)
{
    if (from == AGG_SET_FULL) {
        agg_set_free(*to, pool);
        *to = AGG_SET_FULL;
        return;
    }
    for (uint32_t i = 0; i < agg_set_count(from); i++) {
        uint32_t len = 0;
        const uint8_t *bytes = agg_set_value(from, i, &len);
        *to = agg_set_add(*to, pool, bytes, len, (size_t)1 << 28);
    }
}

static void merge_slot(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    struct agg_sum_int *sum = to;
    const struct agg_sum_int *more = from;
    struct agg_sum_double *real = to;
    const struct agg_sum_double *more_real = from;
    bool average = slot->op == AGG_AVG_INT || slot->op == AGG_AVG_DOUBLE;
    switch (slot->op) {
    case AGG_COUNT_ROWS:
    case AGG_COUNT:
        *(int64_t *)to += *(const int64_t *)from;
        return;
    case AGG_DISTINCT:
        merge_set(to, *(struct agg_set *const *)from, pool);
        return;
    case AGG_SUM_INT:
    case AGG_AVG_INT:
        agg_sum_set(sum, agg_sum_get(sum) + agg_sum_get(more));
        sum->n = average ? sum->n + more->n : sum->n | more->n;
        return;
    case AGG_SUM_DOUBLE:
    case AGG_AVG_DOUBLE:
        real->sum =
            real->n == 0 ? more_real->sum : real->sum + (more_real->n == 0 ? 0.0 : more_real->sum);
        real->n = average ? real->n + more_real->n : real->n | more_real->n;
        return;
    case AGG_LEAST:
    case AGG_GREATEST:
    case AGG_LEAST_DOUBLE:
    case AGG_GREATEST_DOUBLE:
        merge_extreme(slot, to, from);
        return;
    case AGG_LEAST_TEXT:
    case AGG_GREATEST_TEXT:
        merge_text(slot->op == AGG_LEAST_TEXT, to, from, pool);
        return;
    }
}

void agg_merge(const struct agg_layout *layout, uint8_t *state, const uint8_t *from,
               struct pool *pool)
{
    for (uint32_t a = 0; a < layout->count; a++) {
        uint32_t offset = layout->slots[a].offset;
        merge_slot(&layout->slots[a], state + offset, from + offset, pool);
    }
}

/* ---- Results. */

static void set_i64(struct expr_vec *out, int64_t value)
{
    out->state[0] = EXPR_OK;
    out->i[0] = value;
}

/* A sum or mean of finite doubles that is infinite has left the type. NaN can only come from NaN.
 * */
static void set_double(struct expr_vec *out, double value)
{
    out->state[0] = isinf(value) ? EXPR_ERROR_OVERFLOW : EXPR_OK;
    out->d[0] = value;
}

static void result_sum(const struct agg_slot *slot, const void *at, struct expr_vec *out)
{
    const struct agg_sum_int *sum = at;
    const struct agg_sum_double *real = at;
    bool ints = slot->op == AGG_SUM_INT || slot->op == AGG_AVG_INT;
    out->state[0] = EXPR_NULL;
    if ((ints ? sum->n : real->n) == 0) {
        return;
    }
    if (slot->op == AGG_SUM_DOUBLE) {
        set_double(out, real->sum);
    } else if (slot->op == AGG_AVG_DOUBLE) {
        set_double(out, real->sum / (double)real->n);
    } else if (slot->op == AGG_AVG_INT) {
        set_double(out, (double)agg_sum_get(sum) / (double)sum->n);
    } else {
        int128 value = agg_sum_get(sum);
        set_i64(out, (int64_t)value);
        out->state[0] = value == (int64_t)value ? EXPR_OK : EXPR_ERROR_OVERFLOW;
    }
}

void agg_result(const struct agg_slot *slot, const uint8_t *state, struct expr_vec *out)
{
    const void *at = state + slot->offset;
    const struct agg_extreme *extreme = at;
    const struct agg_extreme_text *text = at;
    switch (slot->op) {
    case AGG_COUNT_ROWS:
    case AGG_COUNT:
        set_i64(out, *(const int64_t *)at);
        return;
    case AGG_DISTINCT: {
        const struct agg_set *set = *(struct agg_set *const *)at;
        set_i64(out, agg_set_count(set));
        out->state[0] = set == AGG_SET_FULL ? EXPR_ERROR_LIMIT : EXPR_OK;
        return;
    }
    case AGG_SUM_INT:
    case AGG_AVG_INT:
    case AGG_SUM_DOUBLE:
    case AGG_AVG_DOUBLE:
        result_sum(slot, at, out);
        return;
    case AGG_LEAST:
    case AGG_GREATEST:
        set_i64(out, extreme->i);
        out->state[0] = extreme->seen != 0 ? EXPR_OK : EXPR_NULL;
        return;
    case AGG_LEAST_DOUBLE:
    case AGG_GREATEST_DOUBLE:
        out->d[0] = extreme->d;
        out->state[0] = extreme->seen != 0 ? EXPR_OK : EXPR_NULL;
        return;
    case AGG_LEAST_TEXT:
    case AGG_GREATEST_TEXT:
        out->s[0] = (struct kappa_text){(const char *)text->bytes, text->len};
        out->state[0] = text->bytes != NULL ? EXPR_OK : EXPR_NULL;
        return;
    }
}
