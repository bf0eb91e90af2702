/* Values kept in states. Own header: agg_value.h. */
#include "processor/agg_value.h"

#include "processor/jsonb.h"
#include "processor/key_codec.h"
#include "processor/numeric.h"
#include "processor/value_text.h"

#include <string.h>

void agg_value_set(struct agg_value *value, struct pool *pool, const struct kappa_value *from)
{
    switch (kappa_type_payload(from->type)) {
    case KAPPA_PAYLOAD_BYTES:
        agg_text_set(&value->s, pool, from->s.bytes, from->s.len);
        break;
    case KAPPA_PAYLOAD_DOUBLE:
        value->d = from->d;
        break;
    case KAPPA_PAYLOAD_NUMERIC:
        value->n = from->n;
        break;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        value->i = from->i;
        break;
    }
}

struct kappa_value agg_value_get(const struct agg_value *value, enum kappa_type type)
{
    struct kappa_value out = {.type = type};
    switch (kappa_type_payload(type)) {
    case KAPPA_PAYLOAD_BYTES:
        out.s = (struct kappa_text){(const char *)value->s.bytes, value->s.len};
        break;
    case KAPPA_PAYLOAD_DOUBLE:
        out.d = value->d;
        break;
    case KAPPA_PAYLOAD_NUMERIC:
        out.n = value->n;
        break;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        out.i = value->i;
        break;
    }
    return out;
}

void agg_value_free(struct agg_value *value, enum kappa_type type, struct pool *pool)
{
    if (kappa_type_payload(type) == KAPPA_PAYLOAD_BYTES) {
        agg_text_free(&value->s, pool);
    }
}

static struct kappa_numeric shortest(struct kappa_numeric n)
{
    int128 coefficient = numeric_coefficient(n);
    uint32_t scale = n.scale;
    while (scale > 0 && coefficient % 10 == 0) {
        coefficient /= 10;
        scale--;
    }
    return numeric_make(coefficient, scale);
}

struct kappa_value agg_value_canonical(struct kappa_value value)
{
    enum kappa_payload payload = kappa_type_payload(value.type);
    if (payload == KAPPA_PAYLOAD_DOUBLE) {
        value.d = key_double(value.d);
    } else if (payload == KAPPA_PAYLOAD_NUMERIC) {
        value.n = shortest(value.n);
    }
    return value;
}

struct kappa_text agg_value_bytes(const struct kappa_value *value)
{
    switch (kappa_type_payload(value->type)) {
    case KAPPA_PAYLOAD_BYTES:
        return value->s;
    case KAPPA_PAYLOAD_NUMERIC:
        return (struct kappa_text){(const char *)&value->n, sizeof value->n};
    case KAPPA_PAYLOAD_DOUBLE:
        return (struct kappa_text){(const char *)&value->d, sizeof value->d};
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        break;
    }
    return (struct kappa_text){(const char *)&value->i, sizeof value->i};
}

struct kappa_value agg_value_of_bytes(const void *bytes, uint32_t len, enum kappa_type type)
{
    struct kappa_value value = {.type = type};
    if (kappa_type_payload(type) == KAPPA_PAYLOAD_BYTES) {
        value.s = (struct kappa_text){bytes, len};
    } else {
        ASSERT_CMP(len, <=, sizeof value.n);
        memcpy(&value.n, bytes, len); /* whichever member it is: they begin alike */
    }
    return value;
}

void agg_json_add(struct buf *text, const struct kappa_value *value)
{
    buf_append_text(text, text->len == 0 ? "[" : ", ");
    value_json(text, value);
}

void agg_json_result(struct buf *text, struct arena *arena, struct expr_vec *out)
{
    buf_append_text(text, text->len == 0 ? "[]" : "]");
    struct kappa_text whole = {buf_text(text), u32_from(text->len)};
    out->state[0] = (uint8_t)jsonb_parse(whole, arena, &out->s[0]);
}
