/* first, last, min_by, max_by: one row is chosen, and a value of it kept. Own header:
 * agg_operator.h.
 *
 * Rows are compared by a key: first and last by event time (by nothing, if the input has none),
 * min_by and max_by by their second argument. Of rows with equal keys last takes the one that is
 * last by (source, offset), the others the first one. Source and offset are kept, so the order of
 * merging does not matter. first and last take values that are not null; min_by and max_by rows
 * whose key is not null.
 *
 * Bytes: u8 0 nothing seen, 1 a value, 2 null; then varint source, zigzag varint offset, the key,
 * the value if it is one (value_codec.h). */
#include "processor/agg_value.h"
#include "processor/expr_step.h"
#include "processor/value_codec.h"

struct pick {
    int64_t offset;
    uint32_t source;
    bool seen;
    bool null;
    struct agg_value key;
    struct agg_value value;
};

/* A row that might be chosen. */
struct offer {
    struct kappa_value key;
    struct kappa_value value;
    uint32_t source;
    int64_t offset;
};

static bool by_time(const struct agg_slot *slot)
{
    return slot->plan->kind == PLAN_FIRST || slot->plan->kind == PLAN_LAST;
}

static enum kappa_type key_type(const struct agg_slot *slot)
{
    return by_time(slot) ? KAPPA_TYPE_TIMESTAMPTZ : slot->plan->by_type;
}

/* Is the offer to be chosen rather than what is kept? */
static bool is_better(const struct agg_slot *slot, const struct pick *pick,
                      const struct offer *offer)
{
    if (!pick->seen) {
        return true;
    }
    enum plan_aggregate_kind kind = slot->plan->kind;
    struct kappa_value kept = agg_value_get(&pick->key, key_type(slot));
    int order = expr_compare_values(&offer->key, &kept);
    if (order != 0) {
        return kind == PLAN_LAST || kind == PLAN_MAX_BY ? order > 0 : order < 0;
    }
    bool later =
        offer->source != pick->source ? offer->source > pick->source : offer->offset > pick->offset;
    return later == (kind == PLAN_LAST);
}

static void take(const struct agg_slot *slot, struct pick *pick, const struct offer *offer,
                 struct pool *pool)
{
    if (!is_better(slot, pick, offer)) {
        return;
    }
    agg_value_set(&pick->key, pool, &offer->key);
    if (!offer->value.is_null) {
        agg_value_set(&pick->value, pool, &offer->value);
    }
    pick->null = offer->value.is_null;
    pick->source = offer->source;
    pick->offset = offer->offset;
    pick->seen = true;
}

static void update(const struct agg_slot *slot, const struct agg_rows *rows,
                   const struct expr_vec *registers)
{
    const struct expr_vec *argument = agg_argument(slot, registers);
    const struct expr_vec *filter = agg_filter(slot, registers);
    bool timed = by_time(slot);
    const struct expr_vec *by = timed ? argument : &registers[slot->plan->by];
    for (uint32_t i = 0; i < rows->count; i++) {
        uint32_t row = rows->rows[i];
        if (!agg_takes(by, filter, row)) {
            continue;
        }
        enum expr_state state = EXPR_OK;
        struct offer offer = {.source = rows->source, .offset = rows->offset[row]};
        offer.value = expr_value(argument, row, &state);
        if (!timed) {
            offer.key = agg_value_canonical(expr_value(by, row, &state));
        } else {
            offer.key.type = KAPPA_TYPE_TIMESTAMPTZ;
            offer.key.i = rows->event_time == NULL ? 0 : rows->event_time[row];
        }
        take(slot, agg_at(slot, rows, i), &offer, rows->pool);
    }
}

static void encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    const struct pick *pick = at;
    buf_append_u8(out, !pick->seen ? 0 : pick->null ? 2 : 1);
    if (!pick->seen) {
        return;
    }
    buf_append_varint(out, pick->source);
    buf_append_varint(out, agg_zigzag(pick->offset));
    struct kappa_value key = agg_value_get(&pick->key, key_type(slot));
    value_encode(out, &key);
    if (!pick->null) {
        struct kappa_value value = agg_value_get(&pick->value, slot->plan->argument_type);
        value_encode(out, &value);
    }
}

static bool decode(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in)
{
    struct pick *pick = at;
    struct offer offer = {.key.type = key_type(slot), .value.type = slot->plan->argument_type};
    uint8_t what = 0;
    uint64_t source = 0;
    uint64_t offset = 0;
    if (!agg_take_u8(in, &what) || what > 2) {
        return false;
    }
    if (what == 0) {
        return true;
    }
    offer.value.is_null = what == 2;
    if (!agg_take_varint(in, &source) || source > UINT32_MAX || !agg_take_varint(in, &offset) ||
        !agg_take_value(in, &offer.key) ||
        (!offer.value.is_null && !agg_take_value(in, &offer.value))) {
        return false;
    }
    offer.source = (uint32_t)source;
    offer.offset = agg_unzigzag(offset);
    take(slot, pick, &offer, pool);
    return true;
}

static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    const struct pick *more = from;
    if (more->seen) {
        struct offer offer = {.key = agg_value_get(&more->key, key_type(slot)),
                              .value = agg_value_get(&more->value, slot->plan->argument_type),
                              .source = more->source,
                              .offset = more->offset};
        offer.value.is_null = more->null;
        take(slot, to, &offer, pool);
    }
}

static void result(const struct agg_slot *slot, const void *at, struct arena *arena,
                   struct expr_vec *out)
{
    (void)arena;
    const struct pick *pick = at;
    struct kappa_value value = agg_value_get(&pick->value, slot->plan->argument_type);
    value.is_null = !pick->seen || pick->null;
    expr_set(out, 0, &value);
}

static void free_pick(const struct agg_slot *slot, void *at, struct pool *pool)
{
    struct pick *pick = at;
    agg_value_free(&pick->key, key_type(slot), pool);
    agg_value_free(&pick->value, slot->plan->argument_type, pool);
    *pick = (struct pick){0};
}

static size_t owned_by(const struct agg_value *value, enum kappa_type type)
{
    return kappa_type_payload(type) == KAPPA_PAYLOAD_BYTES ? value->s.capacity : 0;
}

static size_t owned(const struct agg_slot *slot, const void *at)
{
    const struct pick *pick = at;
    return owned_by(&pick->key, key_type(slot)) + owned_by(&pick->value, slot->plan->argument_type);
}

const struct agg_operator agg_pick = {.bytes = sizeof(struct pick),
                                      .adds = true,
                                      .update = update,
                                      .encode = encode,
                                      .decode = decode,
                                      .merge = merge,
                                      .result = result,
                                      .free = free_pick,
                                      .owned = owned};
