/* Aggregate states: layout and updates. Own header: agg_state.h. Bytes of states: agg_codec.c. */
#include "processor/agg_state.h"

#include "base/limits.h"
#include "processor/key_codec.h"

#include <string.h>

static enum agg_op op_of(const struct plan_aggregate *aggregate)
{
    bool text = aggregate->argument_type == KAPPA_TYPE_TEXT;
    bool real = aggregate->argument_type == KAPPA_TYPE_DOUBLE;
    switch (aggregate->kind) {
    case PLAN_COUNT_ROWS:
        return AGG_COUNT_ROWS;
    case PLAN_COUNT:
        return AGG_COUNT;
    case PLAN_COUNT_DISTINCT:
        return AGG_DISTINCT;
    case PLAN_SUM:
        return real ? AGG_SUM_DOUBLE : AGG_SUM_INT;
    case PLAN_AVG:
        return real ? AGG_AVG_DOUBLE : AGG_AVG_INT;
    case PLAN_MIN:
        return text ? AGG_LEAST_TEXT : real ? AGG_LEAST_DOUBLE : AGG_LEAST;
    case PLAN_MAX:
        return text ? AGG_GREATEST_TEXT : real ? AGG_GREATEST_DOUBLE : AGG_GREATEST;
    }
    ASSERT(false); /* a kind of aggregate without an operation */
    return AGG_COUNT_ROWS;
}

static uint32_t slot_bytes(enum agg_op op)
{
    switch (op) {
    case AGG_COUNT_ROWS:
    case AGG_COUNT:
        return sizeof(int64_t);
    case AGG_DISTINCT:
        return sizeof(struct agg_set *);
    case AGG_SUM_INT:
    case AGG_AVG_INT:
        return sizeof(struct agg_sum_int);
    case AGG_SUM_DOUBLE:
    case AGG_AVG_DOUBLE:
        return sizeof(struct agg_sum_double);
    case AGG_LEAST:
    case AGG_GREATEST:
    case AGG_LEAST_DOUBLE:
    case AGG_GREATEST_DOUBLE:
        return sizeof(struct agg_extreme);
    case AGG_LEAST_TEXT:
    case AGG_GREATEST_TEXT:
        return sizeof(struct agg_extreme_text);
    }
    ASSERT(false); /* an operation without a size */
    return 0;
}

void agg_layout_init(struct agg_layout *layout, struct arena *arena,
                     const struct plan_aggregate *aggregates, uint32_t count)
{
    layout->count = count;
    layout->slots = arena_calloc(arena, (count + 1) * sizeof *layout->slots);
    layout->bytes = 0;
    for (uint32_t a = 0; a < count; a++) {
        enum agg_op op = op_of(&aggregates[a]);
        layout->slots[a] =
            (struct agg_slot){.op = op, .offset = layout->bytes, .plan = &aggregates[a]};
        layout->bytes += slot_bytes(op);
    }
    layout->bytes = (layout->bytes + 15) & ~15U;
}

/* Does this row count for the aggregate? */
static inline bool passes(const struct expr_vec *filter, uint32_t row)
{
    return filter == NULL || (filter->state[row] == EXPR_OK && filter->i[row] != 0);
}

static inline bool takes(const struct expr_vec *argument, const struct expr_vec *filter,
                         uint32_t row)
{
    return argument->state[row] == EXPR_OK && passes(filter, row);
}

static void update_count_rows(const struct agg_rows *rows, uint32_t offset,
                              const struct expr_vec *filter)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        int64_t *n = (int64_t *)(void *)(rows->states[i] + offset);
        *n += passes(filter, rows->rows[i]) ? 1 : 0;
    }
}

static void update_count(const struct agg_rows *rows, uint32_t offset,
                         const struct expr_vec *argument, const struct expr_vec *filter)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        int64_t *n = (int64_t *)(void *)(rows->states[i] + offset);
        *n += takes(argument, filter, rows->rows[i]) ? 1 : 0;
    }
}

static void update_sum_int(const struct agg_rows *rows, uint32_t offset,
                           const struct expr_vec *argument, const struct expr_vec *filter,
                           bool average)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        uint32_t row = rows->rows[i];
        if (takes(argument, filter, row)) {
            struct agg_sum_int *sum = (void *)(rows->states[i] + offset);
            agg_sum_set(sum, agg_sum_get(sum) + argument->i[row]);
            sum->n = average ? sum->n + 1 : 1;
        }
    }
}

static void update_sum_double(const struct agg_rows *rows, uint32_t offset,
                              const struct expr_vec *argument, const struct expr_vec *filter,
                              bool average)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        uint32_t row = rows->rows[i];
        if (takes(argument, filter, row)) {
            struct agg_sum_double *sum = (void *)(rows->states[i] + offset);
            sum->sum += argument->d[row];
            sum->n = average ? sum->n + 1 : 1;
        }
    }
}

static void update_extreme(const struct agg_rows *rows, uint32_t offset,
                           const struct expr_vec *argument, const struct expr_vec *filter,
                           bool greatest)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        uint32_t row = rows->rows[i];
        struct agg_extreme *kept = (void *)(rows->states[i] + offset);
        if (takes(argument, filter, row)) {
            int64_t value = argument->i[row];
            if (kept->seen == 0 || (greatest ? value > kept->i : value < kept->i)) {
                kept->i = value;
                kept->seen = 1;
            }
        }
    }
}

static void update_extreme_double(const struct agg_rows *rows, uint32_t offset,
                                  const struct expr_vec *argument, const struct expr_vec *filter,
                                  bool greatest)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        uint32_t row = rows->rows[i];
        struct agg_extreme *kept = (void *)(rows->states[i] + offset);
        if (takes(argument, filter, row)) {
            double value = key_double(argument->d[row]);
            if (kept->seen == 0 ||
                (greatest ? agg_double_below(kept->d, value) : agg_double_below(value, kept->d))) {
                kept->d = value;
                kept->seen = 1;
            }
        }
    }
}

void agg_text_set(struct agg_extreme_text *text, struct pool *pool, const void *bytes, uint32_t len)
{
    if (text->bytes == NULL || text->capacity < len) {
        if (text->bytes != NULL) {
            pool_free(pool, text->bytes, text->capacity);
        }
        text->capacity = u32_from(pool_block_size(len == 0 ? 1 : len));
        text->bytes = pool_alloc(pool, text->capacity);
    }
    if (len > 0) {
        memcpy(text->bytes, bytes, len);
    }
    text->len = len;
}

bool agg_text_below(const void *a, uint32_t a_len, const void *b, uint32_t b_len)
{
    uint32_t len = a_len < b_len ? a_len : b_len;
    int order = len == 0 ? 0 : memcmp(a, b, len);
    return order < 0 || (order == 0 && a_len < b_len);
}

static void update_extreme_text(const struct agg_rows *rows, uint32_t offset,
                                const struct expr_vec *argument, const struct expr_vec *filter,
                                bool greatest)
{
    for (uint32_t i = 0; i < rows->count; i++) {
        uint32_t row = rows->rows[i];
        if (!takes(argument, filter, row)) {
            continue;
        }
        struct agg_extreme_text *kept = (void *)(rows->states[i] + offset);
        struct kappa_text value = argument->s[row];
        if (kept->bytes == NULL ||
            (greatest ? agg_text_below(kept->bytes, kept->len, value.bytes, value.len)
                      : agg_text_below(value.bytes, value.len, kept->bytes, kept->len))) {
            agg_text_set(kept, rows->pool, value.bytes, value.len);
        }
    }
}

static void update_distinct(const struct agg_rows *rows, uint32_t offset,
                            const struct expr_vec *argument, const struct expr_vec *filter)
{
    enum { AHEAD = 8 };

    bool text = argument->type == KAPPA_TYPE_TEXT;
    bool real = argument->type == KAPPA_TYPE_DOUBLE;
    for (uint32_t i = 0; i < rows->count; i++) {
        if (i + AHEAD < rows->count) {
            agg_set_prefetch(*(struct agg_set **)(void *)(rows->states[i + AHEAD] + offset));
        }
        uint32_t row = rows->rows[i];
        if (!takes(argument, filter, row)) {
            continue;
        }
        struct agg_set **set = (void *)(rows->states[i] + offset);
        if (text) {
            *set = agg_set_add(*set, rows->pool, argument->s[row].bytes, argument->s[row].len,
                               LIMIT_DISTINCT_BYTES);
        } else {
            double canonical = real ? key_double(argument->d[row]) : 0;
            const void *bytes = real ? (const void *)&canonical : (const void *)&argument->i[row];
            *set = agg_set_add(*set, rows->pool, bytes, sizeof(int64_t), LIMIT_DISTINCT_BYTES);
        }
    }
}

void agg_update(const struct agg_slot *slot, const struct agg_rows *rows,
                const struct expr_vec *argument, const struct expr_vec *filter)
{
    uint32_t at = slot->offset;
    switch (slot->op) {
    case AGG_COUNT_ROWS:
        update_count_rows(rows, at, filter);
        return;
    case AGG_COUNT:
        update_count(rows, at, argument, filter);
        return;
    case AGG_DISTINCT:
        update_distinct(rows, at, argument, filter);
        return;
    case AGG_SUM_INT:
    case AGG_AVG_INT:
        update_sum_int(rows, at, argument, filter, slot->op == AGG_AVG_INT);
        return;
    case AGG_SUM_DOUBLE:
    case AGG_AVG_DOUBLE:
        update_sum_double(rows, at, argument, filter, slot->op == AGG_AVG_DOUBLE);
        return;
    case AGG_LEAST:
    case AGG_GREATEST:
        update_extreme(rows, at, argument, filter, slot->op == AGG_GREATEST);
        return;
    case AGG_LEAST_DOUBLE:
    case AGG_GREATEST_DOUBLE:
        update_extreme_double(rows, at, argument, filter, slot->op == AGG_GREATEST_DOUBLE);
        return;
    case AGG_LEAST_TEXT:
    case AGG_GREATEST_TEXT:
        update_extreme_text(rows, at, argument, filter, slot->op == AGG_GREATEST_TEXT);
        return;
    }
}

static bool is_text(const struct agg_slot *slot)
{
    return slot->op == AGG_LEAST_TEXT || slot->op == AGG_GREATEST_TEXT;
}

void agg_state_free(const struct agg_layout *layout, uint8_t *state, struct pool *pool)
{
    for (uint32_t a = 0; a < layout->count; a++) {
        const struct agg_slot *slot = &layout->slots[a];
        void *at = state + slot->offset;
        if (is_text(slot)) {
            struct agg_extreme_text *text = at;
            if (text->bytes != NULL) {
                pool_free(pool, text->bytes, text->capacity);
                text->bytes = NULL;
            }
        } else if (slot->op == AGG_DISTINCT) {
            struct agg_set **set = at;
            agg_set_free(*set, pool);
            *set = NULL;
        }
    }
}

size_t agg_state_owned(const struct agg_layout *layout, const uint8_t *state)
{
    size_t bytes = 0;
    for (uint32_t a = 0; a < layout->count; a++) {
        const struct agg_slot *slot = &layout->slots[a];
        const void *at = state + slot->offset;
        if (is_text(slot)) {
            const struct agg_extreme_text *text = at;
            bytes += text->bytes != NULL ? text->capacity : 0;
        } else if (slot->op == AGG_DISTINCT) {
            struct agg_set *const *set = at;
            bytes += agg_set_bytes(*set);
        }
    }
    return bytes;
}

void agg_state_prefetch(const struct agg_layout *layout, const uint8_t *state)
{
    for (uint32_t a = 0; a < layout->count; a++) {
        const void *at = state + layout->slots[a].offset;
        if (layout->slots[a].op == AGG_DISTINCT) {
            agg_set_prefetch(*(struct agg_set *const *)at);
        } else if (is_text(&layout->slots[a])) {
            __builtin_prefetch(((const struct agg_extreme_text *)at)->bytes);
        }
    }
}
