/* count(DISTINCT x), exact; sum, avg and string_agg of different values. Own header:
 * agg_operator.h. Slot: a set of byte strings (agg_set.h); of values other than texts their bytes
 * in memory, canonical. When reading: values as they are stored (agg_unique.h).
 *
 * Bytes: varint n + 1, then n values in the order they first came (value_codec.h); 0: full. */
#include "base/limits.h"
#include "processor/agg_set.h"
#include "processor/agg_unique.h"
#include "processor/agg_value.h"
#include "processor/expr_step.h"

#include <stdlib.h>
#include <string.h>

static struct agg_set *set_at(const void *at)
{
    return *(struct agg_set *const *)at;
}

static const struct agg_unique *unique_at(const void *at)
{
    return *(struct agg_unique *const *)at;
}

static void update(const struct agg_slot *slot, const struct agg_rows *rows,
                   const struct expr_vec *registers)
{
    enum { AHEAD = 8 };

    const struct expr_vec *argument = agg_argument(slot, registers);
    const struct expr_vec *filter = agg_filter(slot, registers);
    enum kappa_payload payload = kappa_type_payload(argument->type);
    for (uint32_t i = 0; i < rows->count; i++) {
        if (i + AHEAD < rows->count && agg_takes(argument, filter, rows->rows[i + AHEAD])) {
            agg_set_prefetch(set_at(agg_at(slot, rows, i + AHEAD)));
        }
        uint32_t row = rows->rows[i];
        if (!agg_takes(argument, filter, row)) {
            continue;
        }
        struct kappa_value value;
        struct kappa_text bytes;
        if (payload == KAPPA_PAYLOAD_BYTES) {
            bytes = argument->s[row];
        } else if (payload == KAPPA_PAYLOAD_INT) {
            bytes = (struct kappa_text){(const char *)&argument->i[row], sizeof argument->i[row]};
        } else {
            enum expr_state state = EXPR_OK;
            value = agg_value_canonical(expr_value(argument, row, &state));
            bytes = agg_value_bytes(&value);
        }
        struct agg_set **set = agg_at(slot, rows, i);
        *set = agg_set_add(*set, rows->pool, bytes.bytes, bytes.len, slot->limit);
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
    uint64_t wire = 0;
    if (!agg_take_varint(in, &wire)) {
        return false;
    }
    if (slot->reading) {
        if (wire == 0) {
            agg_unique_fill(at, pool);
        }
        return wire <= 1 || agg_unique_add(at, pool, in, wire - 1, slot->plan->argument_type);
    }
    struct agg_set **set = at;
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
        *set = agg_set_add(*set, pool, bytes.bytes, bytes.len, slot->limit);
    }
    return *set != AGG_SET_FULL && agg_set_count(*set) + UINT64_C(1) == wire;
}

/* Not when reading: decode adds then. */
static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    struct agg_set **set = to;
    ASSERT(!slot->reading);
    *set = agg_set_union(*set, pool, set_at(from), slot->limit);
}

static bool is_full(const struct agg_slot *slot, const void *at)
{
    return slot->reading ? agg_unique_is_full(unique_at(at)) : set_at(at) == AGG_SET_FULL;
}

static void result(const struct agg_slot *slot, const void *at, struct arena *arena,
                   struct expr_vec *out)
{
    enum kappa_type type = slot->plan->argument_type;
    agg_result_int(out, slot->reading ? agg_unique_values(unique_at(at), type, arena, NULL)
                                      : agg_set_count(set_at(at)));
    out->state[0] = is_full(slot, at) ? EXPR_ERROR_FULL : EXPR_OK;
}

static void free_set(const struct agg_slot *slot, void *at, struct pool *pool)
{
    if (slot->reading) {
        agg_unique_free(*(struct agg_unique **)at, pool);
    } else {
        agg_set_free(*(struct agg_set **)at, pool);
    }
    *(void **)at = NULL;
}

static size_t owned(const struct agg_slot *slot, const void *at)
{
    return slot->reading ? agg_unique_bytes(unique_at(at)) : agg_set_bytes(set_at(at));
}

static void prefetch(const void *at)
{
    agg_set_prefetch(set_at(at));
}

/* ---- sum(DISTINCT x), avg(DISTINCT x): the values are fed to the plain operator. */

static uint32_t values_at(const struct agg_slot *slot, const void *at, struct arena *arena,
                          struct kappa_value **values)
{
    enum kappa_type type = slot->plan->argument_type;
    return slot->reading ? agg_unique_values(unique_at(at), type, arena, values)
                         : agg_unique_of_set(set_at(at), type, arena, values);
}

static void result_sum(const struct agg_slot *slot, const void *at, struct arena *arena,
                       struct expr_vec *out)
{
    if (is_full(slot, at)) {
        out->state[0] = EXPR_ERROR_FULL;
        return;
    }
    struct kappa_value *values = NULL;
    uint32_t count = values_at(slot, at, arena, &values);
    struct plan_aggregate plan = *slot->plan;
    plan.kind = plan.kind == PLAN_SUM_DISTINCT ? PLAN_SUM : PLAN_AVG;
    plan.argument = 0;
    plan.filter = PLAN_NONE;
    struct agg_layout layout;
    agg_layout_init(&layout, arena, &plan, 1);
    struct pool pool;
    pool_init(&pool);
    uint8_t *state = arena_calloc(arena, layout.bytes);
    uint8_t ok = EXPR_OK;
    struct kappa_numeric room;
    struct expr_vec vec = {.type = plan.argument_type, .state = &ok, {.n = &room}};
    const uint32_t row = 0;
    struct agg_rows rows = {.states = &state, .rows = &row, .count = 1, .pool = &pool};
    for (uint32_t i = 0; i < count; i++) {
        expr_set(&vec, 0, &values[i]);
        agg_update(&layout.slots[0], &rows, &vec);
    }
    agg_result(&layout.slots[0], state, arena, out);
    agg_state_free(&layout, state, &pool);
    pool_close(&pool);
}

/* ---- string_agg(DISTINCT x, delimiter): sorted, as PostgreSQL. */

static size_t put_text(char *to, size_t end, struct kappa_text text)
{
    if (text.len > 0) {
        memcpy(to + end, text.bytes, text.len);
    }
    return end + text.len;
}

static int compare_texts(const void *a, const void *b)
{
    return expr_compare_text(*(const struct kappa_text *)a, *(const struct kappa_text *)b);
}

static void result_string(const struct agg_slot *slot, const void *at, struct arena *arena,
                          struct expr_vec *out)
{
    struct kappa_value *values = NULL;
    uint32_t count = values_at(slot, at, arena, &values);
    struct kappa_text between = slot->plan->parameter.s;
    struct kappa_text *texts = arena_alloc(arena, (count + 1) * sizeof *texts);
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        texts[i] = values[i].s;
        len += texts[i].len + (i == 0 ? 0 : between.len);
    }
    out->state[0] = is_full(slot, at)       ? EXPR_ERROR_FULL
                    : count == 0            ? EXPR_NULL
                    : len > LIMIT_ROW_BYTES ? EXPR_ERROR_LIMIT
                                            : EXPR_OK;
    if (out->state[0] != EXPR_OK) {
        return;
    }
    qsort(texts, count, sizeof *texts, compare_texts);
    char *text = arena_alloc(arena, len + 1);
    size_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        end = put_text(text, end, i == 0 ? (struct kappa_text){0} : between);
        end = put_text(text, end, texts[i]);
    }
    ASSERT_CMP(end, ==, len);
    out->s[0] = (struct kappa_text){text, (uint32_t)len};
}

#define DISTINCT(result_of)                                                                        \
    {                                                                                              \
        .bytes = sizeof(struct agg_set *), .grows = true, .adds = true, .update = update,          \
        .encode = encode, .decode = decode, .merge = merge, .result = (result_of),                 \
        .free = free_set, .owned = owned, .prefetch = prefetch                                     \
    }

const struct agg_operator agg_distinct = DISTINCT(result);
const struct agg_operator agg_distinct_sum = DISTINCT(result_sum);
const struct agg_operator agg_distinct_string = DISTINCT(result_string);
