/* Words of encoded states: varints, wide integers, doubles, texts, numerics. Own header: agg_operator.h. Also
 * the codec of plain values that rows of append tables use. */
#include "processor/value_codec.h"

#include "processor/agg_operator.h"
#include "processor/numeric.h"

#include <string.h>

void agg_put_wide(struct buf *out, int128 value)
{
    uint128 rest = (uint128)value << 1 ^ (uint128)(value >> 127);
    for (; rest >= 0x80; rest >>= 7) {
        buf_append_u8(out, (uint8_t)(rest | 0x80));
    }
    buf_append_u8(out, (uint8_t)rest);
}

void agg_put_double(struct buf *out, double d)
{
    uint64_t bits = 0;
    memcpy(&bits, &d, sizeof bits);
    buf_append_u64_le(out, bits);
}

bool agg_take_wide(struct agg_cursor *in, int128 *value)
{
    uint128 all = 0;
    for (unsigned shift = 0; shift < 128 && in->pos < in->len; shift += 7) {
        uint8_t byte = in->bytes[in->pos++];
        all |= (uint128)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *value = (int128)(all >> 1 ^ (0 - (all & 1)));
            return true;
        }
    }
    return false;
}

bool agg_take_double(struct agg_cursor *in, double *d)
{
    if (in->len - in->pos < sizeof *d) {
        return false;
    }
    memcpy(d, in->bytes + in->pos, sizeof *d);
    in->pos += sizeof *d;
    return true;
}

bool agg_take_text(struct agg_cursor *in, struct kappa_text *text)
{
    uint64_t len = 0;
    if (!agg_take_varint(in, &len) || len > in->len - in->pos) {
        return false;
    }
    *text = (struct kappa_text){(const char *)in->bytes + in->pos, u32_from(len)};
    in->pos += len;
    return true;
}

void agg_put_numeric(struct buf *out, struct kappa_numeric n)
{
    buf_append_varint(out, n.scale);
    agg_put_wide(out, numeric_coefficient(n));
}

bool agg_take_numeric(struct agg_cursor *in, struct kappa_numeric *n)
{
    uint64_t scale = 0;
    int128 coefficient = 0;
    if (!agg_take_varint(in, &scale) || scale > NUMERIC_SCALE_MAX ||
        !agg_take_wide(in, &coefficient) || !numeric_fits(coefficient)) {
        return false;
    }
    *n = numeric_make(coefficient, (uint32_t)scale);
    return true;
}

void value_encode(struct buf *out, const struct kappa_value *value)
{
    switch (kappa_type_payload(value->type)) {
    case KAPPA_PAYLOAD_BYTES:
        buf_append_varint(out, value->s.len);
        buf_append(out, value->s.bytes, value->s.len);
        break;
    case KAPPA_PAYLOAD_DOUBLE:
        agg_put_double(out, value->d);
        break;
    case KAPPA_PAYLOAD_NUMERIC:
        agg_put_numeric(out, value->n);
        break;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        buf_append_varint(out, agg_zigzag(value->i));
        break;
    }
}

bool agg_take_value(struct agg_cursor *in, struct kappa_value *value)
{
    uint64_t wire = 0;
    switch (kappa_type_payload(value->type)) {
    case KAPPA_PAYLOAD_BYTES:
        return agg_take_text(in, &value->s);
    case KAPPA_PAYLOAD_DOUBLE:
        return agg_take_double(in, &value->d);
    case KAPPA_PAYLOAD_NUMERIC:
        return agg_take_numeric(in, &value->n);
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        break;
    }
    if (!agg_take_varint(in, &wire)) {
        return false;
    }
    value->i = agg_unzigzag(wire);
    return true;
}

bool value_decode(const uint8_t *bytes, size_t len, size_t *pos, struct kappa_value *value)
{
    struct agg_cursor in = {.bytes = bytes, .len = len, .pos = *pos};
    bool good = agg_take_value(&in, value);
    *pos = in.pos;
    return good;
}
