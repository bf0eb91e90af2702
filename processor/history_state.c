/* The versions of one key. Own header: history_state.h. */
#include "processor/history_state.h"

#include "base/limits.h"

#include <string.h>

#define ROWS_MIN 2

void history_layout_init(struct agg_layout *layout, struct arena *arena)
{
    layout->slots = arena_calloc(arena, sizeof *layout->slots);
    layout->slots[0] = (struct agg_slot){.op = &history_operator};
    layout->count = 1;
    layout->bytes = (sizeof(struct history_state) + 15) / 16 * 16;
}

/* ---- Memory. */

static void row_set(struct history_state *state, struct history_row *row, struct pool *pool,
                    const void *bytes, uint32_t len)
{
    row->bytes = len == 0 ? NULL : pool_alloc(pool, len);
    row->len = len;
    if (len > 0) {
        memcpy(row->bytes, bytes, len);
    }
    state->bytes += len;
}

static void row_free(struct history_state *state, struct history_row *row, struct pool *pool)
{
    if (row->bytes != NULL) {
        pool_free(pool, row->bytes, row->len);
    }
    state->bytes -= row->len;
}

/* Makes room for one more version behind the last. */
static void rows_reserve(struct history_state *state, struct pool *pool)
{
    if (state->first + state->count < state->capacity) {
        return;
    }
    struct history_row *old = state->rows;
    uint32_t old_capacity = state->capacity;
    bool half_free = state->first > 0 && state->first >= old_capacity / 2;
    if (!half_free) {
        state->capacity = old_capacity == 0 ? ROWS_MIN : old_capacity * 2;
        state->rows = pool_alloc(pool, sizeof *old * state->capacity);
    }
    if (state->count > 0) {
        memmove(state->rows, old + state->first, sizeof *old * state->count);
    }
    state->first = 0;
    if (!half_free && old_capacity > 0) {
        pool_free(pool, old, sizeof *old * old_capacity);
    }
}

static void drop_oldest(struct history_state *state, struct pool *pool)
{
    row_free(state, &state->rows[state->first], pool);
    state->first++;
    state->count--;
    state->gone = true;
}

/* ---- Versions. */

/* The first version whose time is above t (or not below it). Most ask for the newest one. */
static uint32_t bound(const struct history_state *state, int64_t t, bool above)
{
    uint32_t low = state->first;
    uint32_t high = low + state->count;
    if (high > low && (above ? state->rows[high - 1].time <= t : state->rows[high - 1].time < t)) {
        return high;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int64_t time = state->rows[middle].time;
        bool below = above ? time <= t : time < t;
        low = below ? middle + 1 : low;
        high = below ? high : middle;
    }
    return low;
}

void history_add(struct history_state *state, struct pool *pool, int64_t time, const void *bytes,
                 uint32_t len)
{
    ASSERT_CMP(len, <=, LIMIT_HISTORY_BYTES);
    uint32_t at = bound(state, time, false);
    uint32_t end = state->first + state->count;
    if (at < end && state->rows[at].time == time) {
        row_free(state, &state->rows[at], pool);
    } else if (at == state->first && state->gone) {
        return; /* it would be the oldest, and such ones have gone */
    } else {
        uint32_t behind = end - at;
        rows_reserve(state, pool);
        at = state->first + state->count - behind;
        memmove(&state->rows[at + 1], &state->rows[at], sizeof *state->rows * behind);
        state->count++;
    }
    state->rows[at].time = time;
    row_set(state, &state->rows[at], pool, bytes, len);
    while (state->count > LIMIT_HISTORY_ROWS || state->bytes > LIMIT_HISTORY_BYTES) {
        drop_oldest(state, pool);
    }
}

void history_trim(struct history_state *state, struct pool *pool, int64_t limit)
{
    while (state->count > 1 && state->rows[state->first + 1].time <= limit) {
        drop_oldest(state, pool);
    }
}

enum history_found history_find(const struct history_state *state, int64_t t, bool before,
                                const struct history_row **row)
{
    uint32_t behind = bound(state, t, !before);
    if (behind == state->first) {
        return state->gone ? HISTORY_GONE : HISTORY_NONE;
    }
    *row = &state->rows[behind - 1];
    return HISTORY_FOUND;
}

/* ---- As the slot of a row. */

static void history_encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    (void)slot;
    const struct history_state *state = at;
    int64_t time = 0;
    buf_append_u8(out, state->gone);
    buf_append_varint(out, state->count);
    for (uint32_t i = state->first; i < state->first + state->count; i++) {
        const struct history_row *row = &state->rows[i];
        buf_append_varint(out, agg_zigzag((int64_t)((uint64_t)row->time - (uint64_t)time)));
        buf_append_varint(out, row->len);
        if (row->len > 0) {
            buf_append(out, row->bytes, row->len);
        }
        time = row->time;
    }
}

static bool history_decode(const struct agg_slot *slot, void *at, struct pool *pool,
                           struct agg_cursor *in)
{
    (void)slot;
    struct history_state *state = at;
    uint8_t gone = 0;
    uint64_t count = 0;
    int64_t time = 0;
    if (!agg_take_u8(in, &gone) || gone > 1 || !agg_take_varint(in, &count) ||
        count > LIMIT_HISTORY_ROWS) {
        return false;
    }
    state->gone = gone == 1;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t step = 0;
        struct kappa_text bytes;
        int64_t before = time;
        if (!agg_take_varint(in, &step) || !agg_take_text(in, &bytes)) {
            return false;
        }
        time = (int64_t)((uint64_t)time + (uint64_t)agg_unzigzag(step));
        if (i > 0 && time <= before) {
            return false;
        }
        rows_reserve(state, pool);
        struct history_row *row = &state->rows[state->count++];
        row->time = time;
        row_set(state, row, pool, bytes.bytes, bytes.len);
    }
    return state->bytes <= LIMIT_HISTORY_BYTES;
}

/* Rows of hidden tables are not merged, and have no value. */
static void history_merge(const struct agg_slot *slot, void *to, const void *from,
                          struct pool *pool)
{
    (void)slot;
    (void)to;
    (void)from;
    (void)pool;
    ASSERT(false);
}

static void history_result(const struct agg_slot *slot, const void *at, struct arena *arena,
                           struct expr_vec *out)
{
    (void)slot;
    (void)at;
    (void)arena;
    (void)out;
    ASSERT(false);
}

static void history_free(const struct agg_slot *slot, void *at, struct pool *pool)
{
    (void)slot;
    struct history_state *state = at;
    for (uint32_t i = state->first; i < state->first + state->count; i++) {
        row_free(state, &state->rows[i], pool);
    }
    if (state->capacity > 0) {
        pool_free(pool, state->rows, sizeof *state->rows * state->capacity);
    }
    memset(state, 0, sizeof *state);
}

static size_t history_owned(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    const struct history_state *state = at;
    return state->bytes + sizeof *state->rows * state->capacity;
}

const struct agg_operator history_operator = {.bytes = sizeof(struct history_state),
                                              .encode = history_encode,
                                              .decode = history_decode,
                                              .merge = history_merge,
                                              .result = history_result,
                                              .free = history_free,
                                              .owned = history_owned};
