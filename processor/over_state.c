/* The rows of one key that OVER remembers. Own header: over_state.h.
 *
 * Most rows come in order: then the row goes to the end, totals take it once, and frames end with the
 * last row. A row that comes late within the watermark is put in its place, and totals are made again
 * from the base: so they are always what adding the rows in (time, offset) order gives. */
#include "processor/over_state.h"

#include "base/limits.h"
#include "include/kappa/record.h"
#include "processor/value_codec.h"

#include <string.h>

#define ROWS_MIN 4

static const struct over_shape *shape_of(const struct agg_slot *slot)
{
    return (const struct over_shape *)(const void *)slot->plan;
}

void over_shape_init(struct over_shape *shape, struct arena *arena, const struct plan_operator *op,
                     const enum kappa_type *types, struct agg_layout *layout)
{
    memset(shape, 0, sizeof *shape);
    shape->op = op;
    shape->value_count = op->value_count;
    shape->types = arena_calloc(arena, sizeof *shape->types * ((size_t)op->value_count + 1));
    for (uint32_t v = 0; v < op->value_count; v++) {
        shape->types[v] = types[op->values[v]];
    }
    struct plan_aggregate *aggregates =
        arena_calloc(arena, sizeof *aggregates * ((size_t)op->over_count + 1));
    shape->unbounded = arena_calloc(arena, op->over_count + 1);
    uint32_t count = 0;
    for (uint32_t i = 0; i < op->over_count; i++) {
        if (op->overs[i].kind == PLAN_OVER_AGGREGATE) {
            shape->unbounded[count] = op->overs[i].frame.start == PLAN_UNBOUNDED;
            shape->any_unbounded = shape->any_unbounded || shape->unbounded[count];
            aggregates[count++] = op->overs[i].aggregate;
        }
    }
    agg_layout_init(&shape->totals, arena, aggregates, count);
    layout->slots = arena_calloc(arena, sizeof *layout->slots);
    layout->slots[0] = (struct agg_slot){.op = &over_operator, .plan = &shape->tag};
    layout->count = 1;
    layout->bytes = 16;
}

/* ---- Memory. */

static size_t row_bytes(const struct over_shape *shape)
{
    size_t bytes = 2 * sizeof(int64_t);
    for (uint32_t v = 0; v < shape->value_count; v++) {
        bytes += 1 + expr_payload_size(shape->types[v]);
    }
    return bytes;
}

/* The arrays, one behind the other in one block: times, offsets, payloads, states. */
static void arrays_place(struct over_state *state, uint8_t *block, uint32_t capacity)
{
    const struct over_shape *shape = state->shape;
    state->time = (int64_t *)(void *)block;
    block += sizeof(int64_t) * capacity;
    state->offset = (int64_t *)(void *)block;
    block += sizeof(int64_t) * capacity;
    for (uint32_t v = 0; v < shape->value_count; v++) {
        state->values[v].type = shape->types[v];
        state->values[v].i = (int64_t *)(void *)block;
        block += expr_payload_size(shape->types[v]) * capacity;
    }
    for (uint32_t v = 0; v < shape->value_count; v++) {
        state->values[v].state = block;
        block += capacity;
    }
    state->capacity = capacity;
}

static void *block_of(const struct over_state *state)
{
    return state->time;
}

static size_t state_bytes(const struct over_shape *shape)
{
    return sizeof(struct over_state) + sizeof(struct expr_vec) * shape->value_count +
           (shape->any_unbounded ? 2 * (size_t)shape->totals.bytes : 0);
}

static struct over_state *state_new(const struct over_shape *shape, struct pool *pool)
{
    size_t size = state_bytes(shape);
    struct over_state *state = pool_alloc(pool, size);
    memset(state, 0, size);
    state->shape = shape;
    state->values = (struct expr_vec *)(void *)(state + 1);
    if (shape->any_unbounded) {
        state->base = (uint8_t *)(state->values + shape->value_count);
        state->total = state->base + shape->totals.bytes;
    }
    uint8_t *block = pool_alloc(pool, row_bytes(shape) * ROWS_MIN);
    arrays_place(state, block, ROWS_MIN);
    state->owned = size + row_bytes(shape) * ROWS_MIN;
    return state;
}

/* Moves the kept rows, or part of them, within arrays or to others. */
static void rows_move(const struct over_state *from, uint32_t at, uint32_t count,
                      const struct over_state *to, uint32_t place)
{
    memmove(to->time + place, from->time + at, sizeof(int64_t) * count);
    memmove(to->offset + place, from->offset + at, sizeof(int64_t) * count);
    for (uint32_t v = 0; v < from->shape->value_count; v++) {
        size_t width = expr_payload_size(from->shape->types[v]);
        memmove((uint8_t *)to->values[v].i + width * place,
                (const uint8_t *)from->values[v].i + width * at, width * count);
        memmove(to->values[v].state + place, from->values[v].state + at, count);
    }
}

/* Makes room for one more row behind the last. */
static void rows_reserve(struct over_state *state, struct pool *pool)
{
    if (state->first + state->count < state->capacity) {
        return;
    }
    if (state->first >= state->capacity / 2 && state->first > 0) {
        rows_move(state, state->first, state->count, state, 0);
        state->first = 0;
        return;
    }
    const struct over_shape *shape = state->shape;
    struct over_state old = *state;
    struct expr_vec old_values[LIMIT_OVER_VALUES];
    memcpy(old_values, state->values, sizeof *old_values * shape->value_count);
    old.values = old_values;
    uint32_t capacity = state->capacity * 2;
    arrays_place(state, pool_alloc(pool, row_bytes(shape) * capacity), capacity);
    rows_move(&old, old.first, old.count, state, 0);
    state->first = 0;
    pool_free(pool, block_of(&old), row_bytes(shape) * old.capacity);
    state->owned += row_bytes(shape) * (capacity - old.capacity);
}

static void bytes_free(struct over_state *state, uint32_t at, struct pool *pool)
{
    for (uint32_t v = 0; v < state->shape->value_count; v++) {
        const struct expr_vec *values = &state->values[v];
        if (kappa_type_payload(values->type) == KAPPA_PAYLOAD_BYTES &&
            values->state[at] == EXPR_OK && values->s[at].len > 0) {
            pool_free(pool, (void *)(uintptr_t)values->s[at].bytes, values->s[at].len);
            state->owned -= pool_block_size(values->s[at].len);
        }
    }
}

/* Keeps a copy of the bytes. */
static void bytes_own(struct over_state *state, struct kappa_text *text, struct pool *pool)
{
    if (text->len == 0) {
        text->bytes = "";
        return;
    }
    char *copy = pool_alloc(pool, text->len);
    memcpy(copy, text->bytes, text->len);
    text->bytes = copy;
    state->owned += pool_block_size(text->len);
}

static void value_set(struct over_state *state, uint32_t v, uint32_t at,
                      const struct expr_vec *from, uint32_t row, struct pool *pool)
{
    struct expr_vec *to = &state->values[v];
    size_t width = expr_payload_size(to->type);
    to->state[at] = from->state[row];
    memcpy((uint8_t *)to->i + width * at, (const uint8_t *)from->i + width * row, width);
    if (kappa_type_payload(to->type) == KAPPA_PAYLOAD_BYTES && to->state[at] == EXPR_OK) {
        bytes_own(state, &to->s[at], pool);
    }
}

static void over_free(const struct agg_slot *slot_of_row, void *at, struct pool *pool)
{
    (void)slot_of_row;
    struct over_state **slot = at;
    struct over_state *state = *slot;
    if (state == NULL) {
        return;
    }
    const struct over_shape *shape = state->shape;
    for (uint32_t i = 0; i < state->count; i++) {
        bytes_free(state, state->first + i, pool);
    }
    if (shape->any_unbounded) {
        agg_state_free(&shape->totals, state->base, pool);
        agg_state_free(&shape->totals, state->total, pool);
    }
    pool_free(pool, block_of(state), row_bytes(shape) * state->capacity);
    pool_free(pool, state, state_bytes(shape));
    *slot = NULL;
}

/* ---- Totals and frames. */

#define FEED_ROWS 256

/* Feeds rows [from, to) but `without` to one aggregate's slot in `into`. */
static void feed(const struct over_state *state, uint32_t aggregate, uint8_t *into, uint32_t from,
                 uint32_t to, uint32_t without, struct pool *pool)
{
    uint8_t *states[FEED_ROWS];
    uint32_t rows[FEED_ROWS];
    struct agg_rows chunk = {.states = states,
                             .rows = rows,
                             .pool = pool,
                             .offset = state->offset,
                             .event_time = state->shape->op->by_time ? state->time : NULL};
    for (uint32_t at = from; at < to;) {
        chunk.count = 0;
        for (; at < to && chunk.count < FEED_ROWS; at++) {
            states[chunk.count] = into;
            rows[chunk.count] = at;
            chunk.count += at != without ? 1 : 0;
        }
        agg_update(&state->shape->totals.slots[aggregate], &chunk, state->values);
    }
}

static void totals_feed(const struct over_state *state, uint8_t *into, uint32_t from, uint32_t to,
                        struct pool *pool)
{
    for (uint32_t a = 0; a < state->shape->totals.count; a++) {
        if (state->shape->unbounded[a]) {
            feed(state, a, into, from, to, UINT32_MAX, pool);
        }
    }
}

/* The total anew: base, and the kept rows on top of it. */
static void totals_from_base(struct over_state *state, struct pool *pool)
{
    const struct agg_layout *layout = &state->shape->totals;
    agg_state_free(layout, state->total, pool);
    memset(state->total, 0, layout->bytes);
    agg_merge(layout, state->total, state->base, pool);
    totals_feed(state, state->total, state->first, state->first + state->count, pool);
}

/* First kept row whose time is >= t (or > t). */
static uint32_t time_bound(const struct over_state *state, int64_t t, bool above)
{
    uint32_t low = state->first;
    uint32_t high = state->first + state->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        bool before = above ? state->time[middle] <= t : state->time[middle] < t;
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    return low;
}

uint32_t over_state_insert(const struct over_shape *shape, struct over_state **slot,
                           struct pool *pool, int64_t time, int64_t offset,
                           const struct expr_vec *registers, uint32_t row)
{
    if (*slot == NULL) {
        *slot = state_new(shape, pool);
    }
    struct over_state *state = *slot;
    rows_reserve(state, pool);
    uint32_t at = time_bound(state, time, true);
    uint32_t end = state->first + state->count;
    rows_move(state, at, end - at, state, at + 1);
    state->time[at] = time;
    state->offset[at] = offset;
    for (uint32_t v = 0; v < shape->value_count; v++) {
        value_set(state, v, at, &registers[shape->op->values[v]], row, pool);
    }
    state->count++;
    if (shape->any_unbounded && at == end) {
        totals_feed(state, state->total, at, at + 1, pool);
    } else if (shape->any_unbounded) {
        totals_from_base(state, pool);
    }
    return at;
}

/* Rows of the frame of the row at `index`: [*from, *to). */
static void frame_rows(const struct over_state *state, const struct plan_frame *frame,
                       uint32_t index, uint32_t *from, uint32_t *to)
{
    uint32_t before = index - state->first; /* kept rows before it */
    if (frame->rows) {
        *to = frame->end > before ? state->first : index + 1 - (uint32_t)frame->end;
        *from = frame->start > before ? state->first : index - (uint32_t)frame->start;
        return;
    }
    int64_t time = state->time[index];
    *to = time_bound(state, time - frame->end, true);
    *from = frame->start == PLAN_UNBOUNDED ? state->first
                                           : time_bound(state, time - frame->start, false);
}

/* The value of a slot as row `row` of the register. */
static void result_set(const struct agg_slot *slot, const uint8_t *from, struct arena *arena,
                       const struct expr_vec *out, uint32_t row)
{
    size_t width = expr_payload_size(out->type);
    struct expr_vec one = *out;
    one.state = out->state + row;
    one.i = (int64_t *)(void *)((uint8_t *)out->i + width * row);
    agg_result(slot, from, arena, &one);
    if (kappa_type_payload(out->type) == KAPPA_PAYLOAD_BYTES && one.state[0] == EXPR_OK) {
        char *copy = arena_alloc(arena, one.s[0].len + 1);
        memcpy(copy, one.s[0].bytes, one.s[0].len);
        one.s[0].bytes = copy;
    }
}

static void aggregate_value(struct over_state *state, const struct plan_over *over,
                            uint32_t aggregate, uint32_t index, struct pool *pool,
                            struct arena *arena, const struct expr_vec *out, uint32_t row)
{
    const struct agg_layout *layout = &state->shape->totals;
    const struct agg_slot *slot = &layout->slots[aggregate];
    uint32_t end = state->first + state->count;
    uint32_t from = 0;
    uint32_t to = 0;
    frame_rows(state, &over->frame, index, &from, &to);
    bool unbounded = state->shape->unbounded[aggregate];
    if (unbounded && to == end && !over->frame.without_current && index + 1 == end) {
        result_set(slot, state->total, arena, out, row);
        return;
    }
    uint8_t *scratch = arena_calloc(arena, layout->bytes);
    if (unbounded) {
        slot->op->merge(slot, scratch + slot->offset, state->base + slot->offset, pool);
    }
    feed(state, aggregate, scratch, from, to, over->frame.without_current ? index : UINT32_MAX,
         pool);
    result_set(slot, scratch, arena, out, row);
    agg_state_free(layout, scratch, pool);
}

static void lag_value(const struct over_state *state, const struct plan_over *over, uint32_t index,
                      struct arena *arena, const struct expr_vec *registers, uint32_t row)
{
    const struct expr_vec *out = &registers[over->out];
    size_t width = expr_payload_size(out->type);
    bool there = over->n <= index - state->first;
    const struct expr_vec *from = there                          ? &state->values[over->value]
                                  : over->otherwise != PLAN_NONE ? &registers[over->otherwise]
                                                                 : NULL;
    if (from == NULL) {
        out->state[row] = EXPR_NULL;
        return;
    }
    uint32_t at = there ? index - (uint32_t)over->n : row;
    out->state[row] = from->state[at];
    memcpy((uint8_t *)out->i + width * row, (const uint8_t *)from->i + width * at, width);
    if (there && kappa_type_payload(out->type) == KAPPA_PAYLOAD_BYTES &&
        from->state[at] == EXPR_OK) {
        char *copy = arena_alloc(arena, from->s[at].len + 1);
        memcpy(copy, from->s[at].bytes, from->s[at].len);
        out->s[row].bytes = copy;
    }
}

void over_state_value(struct over_state *state, const struct plan_over *over, uint32_t aggregate,
                      uint32_t index, struct pool *pool, struct arena *arena,
                      const struct expr_vec *registers, uint32_t row)
{
    const struct expr_vec *out = &registers[over->out];
    switch (over->kind) {
    case PLAN_OVER_LAG:
        lag_value(state, over, index, arena, registers, row);
        return;
    case PLAN_OVER_ROW_NUMBER:
        out->state[row] = EXPR_OK;
        out->i[row] = (int64_t)(state->folded + (index - state->first) + 1);
        return;
    case PLAN_OVER_AGGREGATE:
        aggregate_value(state, over, aggregate, index, pool, arena, out, row);
        return;
    }
}

void over_state_trim(struct over_state *state, int64_t watermark, struct pool *pool)
{
    const struct plan_operator *op = state->shape->op;
    int64_t limit = watermark;
    if (watermark == KAPPA_NO_TIME || __builtin_sub_overflow(watermark, op->keep_us, &limit)) {
        return;
    }
    uint32_t settled = time_bound(state, watermark, false) - state->first;
    uint32_t gone = time_bound(state, limit, false) - state->first;
    uint32_t most = settled > op->keep_rows ? settled - op->keep_rows : 0;
    gone = gone < most ? gone : most;
    if (gone == 0) {
        return;
    }
    if (state->shape->any_unbounded) {
        totals_feed(state, state->base, state->first, state->first + gone, pool);
    }
    for (uint32_t i = 0; i < gone; i++) {
        bytes_free(state, state->first + i, pool);
    }
    state->first += gone;
    state->count -= gone;
    state->folded += gone;
}

/* ---- As the slot of a row. */

static void over_encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    const struct over_shape *shape = shape_of(slot);
    struct over_state *const *place = at;
    const struct over_state *state = *place;
    ASSERT(state != NULL); /* a state is made by its first row */
    buf_append_varint(out, state->folded);
    buf_append_varint(out, state->count);
    int64_t time = 0;
    int64_t offset = 0;
    for (uint32_t i = state->first; i < state->first + state->count; i++) {
        buf_append_varint(out, agg_zigzag((int64_t)((uint64_t)state->time[i] - (uint64_t)time)));
        buf_append_varint(out, agg_zigzag(state->offset[i] - offset));
        time = state->time[i];
        offset = state->offset[i];
        for (uint32_t v = 0; v < shape->value_count; v++) {
            enum expr_state value_state = EXPR_OK;
            struct kappa_value value = expr_value(&state->values[v], i, &value_state);
            buf_append_u8(out, value.is_null);
            if (!value.is_null) {
                value_encode(out, &value);
            }
        }
    }
    if (shape->any_unbounded) {
        agg_encode(&shape->totals, state->base, out);
    }
}

static bool take_row(struct over_state *state, uint32_t at, struct agg_cursor *in, int64_t *time,
                     int64_t *offset, struct pool *pool)
{
    uint64_t number = 0;
    if (!agg_take_varint(in, &number)) {
        return false;
    }
    *time = (int64_t)((uint64_t)*time + (uint64_t)agg_unzigzag(number));
    if (!agg_take_varint(in, &number)) {
        return false;
    }
    *offset = (int64_t)((uint64_t)*offset + (uint64_t)agg_unzigzag(number));
    state->time[at] = *time;
    state->offset[at] = *offset;
    for (uint32_t v = 0; v < state->shape->value_count; v++) {
        state->values[v].state[at] = EXPR_NULL;
    }
    state->count++;
    for (uint32_t v = 0; v < state->shape->value_count; v++) {
        struct expr_vec *values = &state->values[v];
        struct kappa_value value = {.type = values->type};
        uint8_t null = 0;
        if (!agg_take_u8(in, &null) || null > 1 || (null == 0 && !agg_take_value(in, &value))) {
            return false;
        }
        if (null == 1) {
            continue;
        }
        size_t width = expr_payload_size(values->type);
        memcpy((uint8_t *)values->i + width * at, &value.i, width);
        values->state[at] = EXPR_OK;
        if (kappa_type_payload(values->type) == KAPPA_PAYLOAD_BYTES) {
            bytes_own(state, &values->s[at], pool);
        }
    }
    return true;
}

static bool take_base(struct over_state *state, struct agg_cursor *in, struct pool *pool)
{
    const struct agg_layout *layout = &state->shape->totals;
    bool good = true;
    for (uint32_t a = 0; a < layout->count && good; a++) {
        const struct agg_slot *slot = &layout->slots[a];
        good = slot->op->decode(slot, state->base + slot->offset, pool, in);
    }
    return good;
}

static bool over_decode(const struct agg_slot *slot, void *at, struct pool *pool,
                        struct agg_cursor *in)
{
    struct over_state **place = at;
    uint64_t folded = 0;
    uint64_t count = 0;
    if (!agg_take_varint(in, &folded) || !agg_take_varint(in, &count) ||
        count > in->len - in->pos) {
        return false;
    }
    struct over_state *state = state_new(shape_of(slot), pool);
    *place = state;
    state->folded = folded;
    int64_t time = 0;
    int64_t offset = 0;
    for (uint64_t i = 0; i < count; i++) {
        rows_reserve(state, pool);
        int64_t before = time;
        if (!take_row(state, (uint32_t)i, in, &time, &offset, pool) || (i > 0 && time < before)) {
            return false;
        }
    }
    if (state->base == NULL) {
        return true;
    }
    if (!take_base(state, in, pool)) {
        return false;
    }
    totals_from_base(state, pool);
    return true;
}

static size_t over_owned(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    struct over_state *const *place = at;
    return *place == NULL ? 0 : (*place)->owned;
}

const struct agg_operator over_operator = {.bytes = 8,
                                           .encode = over_encode,
                                           .decode = over_decode,
                                           .free = over_free,
                                           .owned = over_owned};
