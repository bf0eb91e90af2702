/* All aggregates of a row: layout, and each call handed on to the operators. Own header:
 * agg_state.h. */
#include "processor/agg_operator.h"

#include "base/limits.h"

#include <string.h>

#define OF_ANY(op)                                                                                 \
    {                                                                                              \
        &(op), &(op), &(op), &(op)                                                                 \
    }
#define VARIANCE                                                                                   \
    {                                                                                              \
        [KAPPA_PAYLOAD_INT] = &agg_variance_int, [KAPPA_PAYLOAD_DOUBLE] = &agg_variance_double     \
    }
#define EXTREME                                                                                    \
    {                                                                                              \
        &agg_extreme_int, &agg_extreme_double, &agg_extreme_text, &agg_extreme_numeric             \
    }

/* The operator of an aggregate over arguments kept so; NULL: there is none. */
static const struct agg_operator *const operators[PLAN_AGGREGATE_COUNT][KAPPA_PAYLOAD_COUNT] = {
    [PLAN_COUNT_ROWS] = OF_ANY(agg_count_rows),
    [PLAN_COUNT] = OF_ANY(agg_count),
    [PLAN_COUNT_DISTINCT] = OF_ANY(agg_distinct),
    [PLAN_SUM_DISTINCT] = {[KAPPA_PAYLOAD_INT] = &agg_distinct_sum,
                           [KAPPA_PAYLOAD_DOUBLE] = &agg_distinct_sum,
                           [KAPPA_PAYLOAD_NUMERIC] = &agg_distinct_sum},
    [PLAN_AVG_DISTINCT] = {[KAPPA_PAYLOAD_INT] = &agg_distinct_sum,
                           [KAPPA_PAYLOAD_DOUBLE] = &agg_distinct_sum,
                           [KAPPA_PAYLOAD_NUMERIC] = &agg_distinct_sum},
    [PLAN_STRING_AGG] = {[KAPPA_PAYLOAD_BYTES] = &agg_gather_string},
    [PLAN_ARRAY_AGG] = OF_ANY(agg_gather_array),
    [PLAN_JSONB_AGG] = OF_ANY(agg_gather_json),
    [PLAN_TOPK] = OF_ANY(agg_topk),
    [PLAN_STRING_AGG_DISTINCT] = {[KAPPA_PAYLOAD_BYTES] = &agg_distinct_string},
    [PLAN_SUM] = {[KAPPA_PAYLOAD_INT] = &agg_sum_int,
                  [KAPPA_PAYLOAD_DOUBLE] = &agg_sum_double,
                  [KAPPA_PAYLOAD_NUMERIC] = &agg_sum_numeric},
    [PLAN_AVG] = {[KAPPA_PAYLOAD_INT] = &agg_avg_int,
                  [KAPPA_PAYLOAD_DOUBLE] = &agg_avg_double,
                  [KAPPA_PAYLOAD_NUMERIC] = &agg_sum_numeric},
    [PLAN_MIN] = EXTREME,
    [PLAN_MAX] = EXTREME,
    [PLAN_VAR_POP] = VARIANCE,
    [PLAN_VAR_SAMP] = VARIANCE,
    [PLAN_STDDEV_POP] = VARIANCE,
    [PLAN_STDDEV_SAMP] = VARIANCE,
    [PLAN_COUNT_IF] = {[KAPPA_PAYLOAD_INT] = &agg_count_if},
    [PLAN_BOOL_AND] = {[KAPPA_PAYLOAD_INT] = &agg_extreme_int},
    [PLAN_BOOL_OR] = {[KAPPA_PAYLOAD_INT] = &agg_extreme_int},
    [PLAN_FIRST] = OF_ANY(agg_pick),
    [PLAN_LAST] = OF_ANY(agg_pick),
    [PLAN_MIN_BY] = OF_ANY(agg_pick),
    [PLAN_MAX_BY] = OF_ANY(agg_pick),
    [PLAN_PERCENTILE_CONT] = {[KAPPA_PAYLOAD_DOUBLE] = &agg_percentile_cont},
    [PLAN_MEDIAN] = {[KAPPA_PAYLOAD_DOUBLE] = &agg_percentile_cont},
    [PLAN_PERCENTILE_DISC] = {[KAPPA_PAYLOAD_INT] = &agg_percentile_value,
                              [KAPPA_PAYLOAD_DOUBLE] = &agg_percentile_value},
    [PLAN_MODE] = {[KAPPA_PAYLOAD_INT] = &agg_percentile_value,
                   [KAPPA_PAYLOAD_DOUBLE] = &agg_percentile_value},
    [PLAN_APPROX_PERCENTILE] = {[KAPPA_PAYLOAD_DOUBLE] = &agg_percentile_approx},
    [PLAN_APPROX_DISTINCT] = OF_ANY(agg_approx_distinct),
    [PLAN_TOP_ROWS] = OF_ANY(agg_top),
};

bool agg_exists(enum plan_aggregate_kind kind, enum kappa_type argument_type)
{
    return operators[kind][kappa_type_payload(argument_type)] != NULL;
}

/* A row of all these aggregates, each as large as it may be, is not longer than a row may be. */
static void set_limits(struct agg_layout *layout)
{
    uint32_t growing = 1;
    for (uint32_t a = 0; a < layout->count; a++) {
        growing += layout->slots[a].op->grows ? 1 : 0;
    }
    uint32_t share = LIMIT_ROW_BYTES / 2 / growing;
    for (uint32_t a = 0; a < layout->count; a++) {
        layout->slots[a].limit = share < LIMIT_DISTINCT_BYTES ? share : LIMIT_DISTINCT_BYTES;
    }
}

void agg_layout_init(struct agg_layout *layout, struct arena *arena,
                     const struct plan_aggregate *aggregates, uint32_t count)
{
    layout->count = count;
    layout->slots = arena_calloc(arena, (count + 1) * sizeof *layout->slots);
    layout->bytes = 0;
    for (uint32_t a = 0; a < count; a++) {
        const struct plan_aggregate *plan = &aggregates[a];
        const struct agg_operator *op =
            operators[plan->kind][kappa_type_payload(plan->argument_type)];
        ASSERT(op != NULL); /* the binder lets only such through */
        ASSERT(op->bytes % 8 == 0);
        layout->slots[a] = (struct agg_slot){.op = op, .offset = layout->bytes, .plan = plan};
        layout->bytes += op->bytes;
    }
    layout->bytes = (layout->bytes + 15) & ~15U;
    set_limits(layout);
}

void agg_layout_for_reading(struct agg_layout *layout)
{
    for (uint32_t a = 0; a < layout->count; a++) {
        layout->slots[a].reading = true;
    }
}

bool agg_keeps_text(const struct plan_aggregate *aggregate)
{
    switch ((unsigned)aggregate->kind) {
    case PLAN_MIN:
    case PLAN_MAX:
    case PLAN_FIRST:
    case PLAN_LAST:
    case PLAN_MIN_BY:
    case PLAN_MAX_BY:
        return true;
    default:
        return false;
    }
}

uint32_t agg_text_limit(const struct plan_aggregate *aggregates, uint32_t count)
{
    uint32_t texts = 1;
    for (uint32_t a = 0; a < count; a++) {
        texts += agg_keeps_text(&aggregates[a]) ? 1 : 0;
    }
    uint32_t share = LIMIT_KEPT_TEXTS_BYTES / texts;
    return share < LIMIT_KEPT_TEXT_BYTES ? share : LIMIT_KEPT_TEXT_BYTES;
}

void agg_update(const struct agg_slot *slot, const struct agg_rows *rows,
                const struct expr_vec *registers)
{
    ASSERT(slot->op->update != NULL);
    slot->op->update(slot, rows, registers);
}

void agg_state_free(const struct agg_layout *layout, uint8_t *state, struct pool *pool)
{
    for (uint32_t a = 0; a < layout->count; a++) {
        const struct agg_slot *slot = &layout->slots[a];
        if (slot->op->free != NULL) {
            slot->op->free(slot, state + slot->offset, pool);
        }
    }
}

size_t agg_state_owned(const struct agg_layout *layout, const uint8_t *state)
{
    size_t bytes = 0;
    for (uint32_t a = 0; a < layout->count; a++) {
        const struct agg_slot *slot = &layout->slots[a];
        bytes += slot->op->owned == NULL ? 0 : slot->op->owned(slot, state + slot->offset);
    }
    return bytes;
}

void agg_state_prefetch(const struct agg_layout *layout, const uint8_t *state)
{
    for (uint32_t a = 0; a < layout->count; a++) {
        const struct agg_slot *slot = &layout->slots[a];
        if (slot->op->prefetch != NULL) {
            slot->op->prefetch(state + slot->offset);
        }
    }
}

void agg_encode(const struct agg_layout *layout, const uint8_t *state, struct buf *out)
{
    for (uint32_t a = 0; a < layout->count; a++) {
        const struct agg_slot *slot = &layout->slots[a];
        slot->op->encode(slot, state + slot->offset, out);
    }
}

static int decoded(bool good, const struct agg_cursor *in, struct err *err)
{
    return good && in->pos == in->len ? 0
                                      : err_set(err, KE_CORRUPT, "a row's value does not decode");
}

int agg_decode(const struct agg_layout *layout, uint8_t *state, struct pool *pool,
               const uint8_t *bytes, size_t len, struct err *err)
{
    struct agg_cursor in = {.bytes = bytes, .len = len};
    bool good = true;
    for (uint32_t a = 0; a < layout->count && good; a++) {
        const struct agg_slot *slot = &layout->slots[a];
        good = slot->op->decode(slot, state + slot->offset, pool, &in);
        ASSERT_CMP(in.pos, <=, len);
    }
    return decoded(good, &in, err);
}

/* By way of a slot of its own. */
static bool decode_apart(const struct agg_slot *slot, uint8_t *state, uint8_t *part,
                         struct pool *pool, struct agg_cursor *in)
{
    void *at = part + slot->offset;
    bool good = slot->op->decode(slot, at, pool, in);
    if (good) {
        slot->op->merge(slot, state + slot->offset, at, pool);
    }
    if (slot->op->free != NULL) {
        slot->op->free(slot, at, pool);
    }
    memset(at, 0, slot->op->bytes);
    return good;
}

int agg_add(const struct agg_layout *layout, uint8_t *state, uint8_t *part, struct pool *pool,
            const uint8_t *bytes, size_t len, struct err *err)
{
    struct agg_cursor in = {.bytes = bytes, .len = len};
    bool good = true;
    for (uint32_t a = 0; a < layout->count && good; a++) {
        const struct agg_slot *slot = &layout->slots[a];
        good = slot->op->adds ? slot->op->decode(slot, state + slot->offset, pool, &in)
                              : decode_apart(slot, state, part, pool, &in);
        ASSERT_CMP(in.pos, <=, len);
    }
    return decoded(good, &in, err);
}

void agg_merge(const struct agg_layout *layout, uint8_t *state, const uint8_t *from,
               struct pool *pool)
{
    for (uint32_t a = 0; a < layout->count; a++) {
        const struct agg_slot *slot = &layout->slots[a];
        ASSERT(slot->op->merge != NULL);
        slot->op->merge(slot, state + slot->offset, from + slot->offset, pool);
    }
}

void agg_result(const struct agg_slot *slot, const uint8_t *state, struct arena *arena,
                struct expr_vec *out)
{
    ASSERT(slot->op->result != NULL);
    slot->op->result(slot, state + slot->offset, arena, out);
}
