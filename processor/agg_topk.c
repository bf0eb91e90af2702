/* topk(x, n): the n values that came most often, as an array; of values that came equally often
 * the smaller first. Counts are exact. Own header: agg_operator.h.
 *
 * State: a set of the different values (agg_set.h), of at most slot->limit / 2 bytes, and their
 * counts. Bytes: varint n + 1, then n values in the order they first came, each with its varint
 * count; 0: full. */
#include "processor/agg_set.h"
#include "processor/agg_value.h"
#include "processor/array.h"
#include "processor/expr_step.h"
#include "processor/value_codec.h"

#include <stdlib.h>
#include <string.h>

struct topk {
    struct agg_set *set;
    uint64_t *counts;
    uint64_t capacity; /* of counts */
};

static void free_counts(struct topk *top, struct pool *pool)
{
    if (top->counts != NULL) {
        pool_free(pool, top->counts, top->capacity * sizeof *top->counts);
    }
    top->counts = NULL;
    top->capacity = 0;
}

static void become_full(struct topk *top, struct pool *pool)
{
    agg_set_free(top->set, pool);
    free_counts(top, pool);
    top->set = AGG_SET_FULL;
}

/* value: canonical. */
static void add(struct topk *top, struct pool *pool, const struct kappa_value *value,
                uint64_t count, size_t limit)
{
    uint32_t number = 0;
    struct kappa_text bytes = agg_value_bytes(value);
    top->set = agg_set_put(top->set, pool, bytes.bytes, bytes.len, limit, &number);
    if (top->set == AGG_SET_FULL) {
        free_counts(top, pool);
        return;
    }
    if (number >= top->capacity) {
        uint64_t capacity = top->capacity == 0 ? 4 : 2 * top->capacity;
        uint64_t *counts = pool_alloc(pool, capacity * sizeof *counts);
        memset(counts, 0, capacity * sizeof *counts);
        if (top->counts != NULL) {
            memcpy(counts, top->counts, top->capacity * sizeof *counts);
        }
        free_counts(top, pool);
        top->counts = counts;
        top->capacity = capacity;
    }
    top->counts[number] += count;
}

static size_t limit_of(const struct agg_slot *slot)
{
    return slot->reading ? (size_t)1 << 28 : slot->limit / 2;
}

static void update(const struct agg_slot *slot, const struct agg_rows *rows,
                   const struct expr_vec *registers)
{
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct topk *top; (top = agg_next(&taken)) != NULL;) {
        enum expr_state state = EXPR_OK;
        struct kappa_value value =
            agg_value_canonical(expr_value(taken.argument, taken.row, &state));
        add(top, rows->pool, &value, 1, limit_of(slot));
    }
}

static struct kappa_value value_at(const struct topk *top, uint32_t i, enum kappa_type type)
{
    uint32_t len = 0;
    const uint8_t *bytes = agg_set_value(top->set, i, &len);
    return agg_value_of_bytes(bytes, len, type);
}

static uint32_t value_count(const struct topk *top)
{
    return top->set == AGG_SET_FULL ? 0 : agg_set_count(top->set);
}

static void encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    const struct topk *top = at;
    uint32_t count = value_count(top);
    buf_append_varint(out, top->set == AGG_SET_FULL ? 0 : (uint64_t)count + 1);
    for (uint32_t i = 0; i < count; i++) {
        struct kappa_value value = value_at(top, i, slot->plan->argument_type);
        value_encode(out, &value);
        buf_append_varint(out, top->counts[i]);
    }
}

static bool decode(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in)
{
    struct topk *top = at;
    uint64_t wire = 0;
    if (!agg_take_varint(in, &wire)) {
        return false;
    }
    if (wire == 0) {
        become_full(top, pool);
        return true;
    }
    for (uint64_t i = 0; i + 1 < wire; i++) {
        struct kappa_value value = {.type = slot->plan->argument_type};
        uint64_t count = 0;
        if (!agg_take_value(in, &value) || !agg_take_varint(in, &count) || count == 0) {
            return false;
        }
        value = agg_value_canonical(value);
        add(top, pool, &value, count, limit_of(slot));
    }
    return top->set != AGG_SET_FULL && agg_set_count(top->set) + UINT64_C(1) == wire;
}

static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    struct topk *top = to;
    const struct topk *more = from;
    if (more->set == AGG_SET_FULL) {
        become_full(top, pool);
    }
    for (uint32_t i = 0; i < value_count(more); i++) {
        struct kappa_value value = value_at(more, i, slot->plan->argument_type);
        add(top, pool, &value, more->counts[i], limit_of(slot));
    }
}

/* ---- Result. */

struct candidate {
    uint64_t count;
    struct kappa_value value;
};

static int compare(const void *a, const void *b)
{
    const struct candidate *left = a;
    const struct candidate *right = b;
    if (left->count != right->count) {
        return left->count > right->count ? -1 : 1;
    }
    return expr_compare_values(&left->value, &right->value);
}

static void result(const struct agg_slot *slot, const void *at, struct arena *arena,
                   struct expr_vec *out)
{
    const struct topk *top = at;
    uint32_t count = value_count(top);
    out->state[0] = top->set == AGG_SET_FULL ? EXPR_ERROR_FULL : count == 0 ? EXPR_NULL : EXPR_OK;
    if (out->state[0] != EXPR_OK) {
        return;
    }
    struct candidate *all = xcalloc(count, sizeof *all);
    for (uint32_t i = 0; i < count; i++) {
        all[i].count = top->counts[i];
        all[i].value = value_at(top, i, slot->plan->argument_type);
    }
    qsort(all, count, sizeof *all, compare);
    uint32_t n =
        (int64_t)count < slot->plan->parameter.i ? count : (uint32_t)slot->plan->parameter.i;
    struct kappa_value *values = arena_alloc(arena, n * sizeof *values);
    for (uint32_t i = 0; i < n; i++) {
        values[i] = all[i].value;
    }
    out->s[0] = array_make(values, n, arena);
    free(all);
}

static void free_topk(const struct agg_slot *slot, void *at, struct pool *pool)
{
    (void)slot;
    struct topk *top = at;
    agg_set_free(top->set, pool);
    free_counts(top, pool);
    top->set = NULL;
}

static size_t owned(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    const struct topk *top = at;
    return agg_set_bytes(top->set) + top->capacity * sizeof *top->counts;
}

static void prefetch(const void *at)
{
    agg_set_prefetch(((const struct topk *)at)->set);
}

const struct agg_operator agg_topk = {.bytes = sizeof(struct topk),
                                      .grows = true,
                                      .update = update,
                                      .encode = encode,
                                      .decode = decode,
                                      .merge = merge,
                                      .result = result,
                                      .free = free_topk,
                                      .owned = owned,
                                      .prefetch = prefetch};
