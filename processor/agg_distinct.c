/* count(DISTINCT x), exact. Slot: a set of byte strings (agg_set.h); of values other than
 * texts their bytes in memory, canonical. Own header: agg_operator.h.
 *
 * Bytes: varint n + 1, then n values in the order they first came (value_codec.h); 0: full. */
#include "base/limits.h"
#include "processor/agg_set.h"
#include "processor/agg_value.h"

#include <string.h>

static struct agg_set *set_at(const void *at)
{
    return *(struct agg_set *const *)at;
}

static void update(const struct agg_slot *slot, const struct agg_rows *rows,
                   const struct expr_vec *registers)
{
    enum { AHEAD = 8 };

    const struct expr_vec *argument = agg_argument(slot, registers);
    const struct expr_vec *filter = agg_filter(slot, registers);
    bool texts = kappa_type_payload(argument->type) == KAPPA_PAYLOAD_BYTES;
    for (uint32_t i = 0; i < rows->count; i++) {
        if (i + AHEAD < rows->count) {
            agg_set_prefetch(set_at(agg_at(slot, rows, i + AHEAD)));
        }
        uint32_t row = rows->rows[i];
        if (!agg_takes(argument, filter, row)) {
            continue;
        }
        enum expr_state state = EXPR_OK;
        struct kappa_value value = {0};
        if (!texts) {
            value = agg_value_canonical(expr_value(argument, row, &state));
        }
        struct kappa_text bytes = texts ? argument->s[row] : agg_value_bytes(&value);
        struct agg_set **set = agg_at(slot, rows, i);
        *set = agg_set_add(*set, rows->pool, bytes.bytes, bytes.len, LIMIT_DISTINCT_BYTES);
    }
}

static void encode_numerics(const struct agg_set *set, struct buf *out)
{
    for (uint32_t i = 0; i < agg_set_count(set); i++) {
        struct kappa_numeric n;
        uint32_t len = 0;
        memcpy(&n, agg_set_value(set, i, &len), sizeof n);
        agg_put_numeric(out, n);
    }
}

static void encode(const struct agg_slot *slot, const void *slot_at, struct buf *out)
{
    const struct agg_set *set = set_at(slot_at);
    enum kappa_payload payload = kappa_type_payload(slot->plan->argument_type);
    if (set == AGG_SET_FULL) {
        buf_append_varint(out, 0);
        return;
    }
    uint32_t count = agg_set_count(set);
    buf_append_varint(out, (uint64_t)count + 1);
    if (payload == KAPPA_PAYLOAD_NUMERIC) {
        encode_numerics(set, out);
        return;
    }
    /* Sets are most of what a flush writes: the room is made once, and values are put by pointer. */
    buf_reserve(out, agg_set_bytes(set) + count * AGG_VARINT_BYTES);
    uint8_t *at = out->data + out->len;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = 0;
        const uint8_t *bytes = agg_set_value(set, i, &len);
        if (payload == KAPPA_PAYLOAD_INT) {
            int64_t value = 0;
            memcpy(&value, bytes, sizeof value);
            at = agg_put_varint(at, agg_zigzag(value));
        } else {
            at = payload == KAPPA_PAYLOAD_BYTES ? agg_put_varint(at, len) : at;
            memcpy(at, bytes, len);
            at += len;
        }
    }
    *at = 0;
    out->len = (size_t)(at - out->data);
}

static bool decode(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in)
{
    struct agg_set **set = at;
    uint64_t wire = 0;
    if (!agg_take_varint(in, &wire)) {
        return false;
    }
    if (wire == 0) {
        *set = AGG_SET_FULL;
        return true;
    }
    for (uint64_t i = 0; i + 1 < wire; i++) {
        struct kappa_value value = {.type = slot->plan->argument_type};
        if (!agg_take_value(in, &value)) {
            return false;
        }
        value = agg_value_canonical(value);
        struct kappa_text bytes = agg_value_bytes(&value);
        *set = agg_set_add(*set, pool, bytes.bytes, bytes.len, LIMIT_DISTINCT_BYTES);
    }
    return *set != AGG_SET_FULL && agg_set_count(*set) + UINT64_C(1) == wire;
}

/* The union of sources may be larger than what one source may hold, up to what a set can count. */
static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    (void)slot;
    struct agg_set **set = to;
    const struct agg_set *more = set_at(from);
    if (more == AGG_SET_FULL) {
        agg_set_free(*set, pool);
        *set = AGG_SET_FULL;
        return;
    }
    for (uint32_t i = 0; i < agg_set_count(more); i++) {
        uint32_t len = 0;
        const uint8_t *bytes = agg_set_value(more, i, &len);
        *set = agg_set_add(*set, pool, bytes, len, (size_t)1 << 28);
    }
}

static void result(const struct agg_slot *slot, const void *at, struct arena *arena,
                   struct expr_vec *out)
{
    (void)slot, (void)arena;
    const struct agg_set *set = set_at(at);
    agg_result_int(out, agg_set_count(set));
    out->state[0] = set == AGG_SET_FULL ? EXPR_ERROR_FULL : EXPR_OK;
}

static void free_set(const struct agg_slot *slot, void *at, struct pool *pool)
{
    (void)slot;
    struct agg_set **set = at;
    agg_set_free(*set, pool);
    *set = NULL;
}

static size_t owned(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    return agg_set_bytes(set_at(at));
}

static void prefetch(const void *at)
{
    agg_set_prefetch(set_at(at));
}

const struct agg_operator agg_distinct = {.bytes = sizeof(struct agg_set *),
                                          .update = update,
                                          .encode = encode,
                                          .decode = decode,
                                          .merge = merge,
                                          .result = result,
                                          .free = free_set,
                                          .owned = owned,
                                          .prefetch = prefetch};
