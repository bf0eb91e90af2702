/* The first n rows of a group by some order: SELECT ... WHERE row_number <= n. Own headers:
 * agg_operator.h, agg_top.h.
 *
 * A row is kept as two strings of bytes: what it is ordered by, and its columns (row_state.h). The first
 * compares as memcmp does: per expression of ORDER BY its key bytes (key_codec.h), inverted where it
 * is descending, so that nulls come last ascending and first descending, as in PostgreSQL; then source
 * and offset. So no two rows are equal, and merging in any order keeps the same rows.
 *
 * Bytes: varint count, then per row, in order: varint length and bytes of the order, varint length and
 * bytes of the columns. */
#include "processor/agg_top.h"

#include "base/limits.h"
#include "processor/key_codec.h"
#include "processor/row_state.h"

#include <string.h>

struct top_row {
    uint32_t order_len;
    uint32_t columns_len;
    uint8_t bytes[]; /* order, columns */
};

struct top_state {
    uint32_t count;
    uint32_t capacity;
    struct top_row **rows; /* ascending */
    size_t owned;
};

static size_t row_size(const struct top_row *row)
{
    return sizeof *row + row->order_len + row->columns_len;
}

static void row_drop(struct top_state *state, struct pool *pool, struct top_row *row)
{
    state->owned -= pool_block_size(row_size(row));
    pool_free(pool, row, row_size(row));
}

static void rows_drop(struct top_state *state, struct pool *pool)
{
    while (state->count > 0) {
        row_drop(state, pool, state->rows[--state->count]);
    }
}

static int compare(const struct top_row *row, const uint8_t *order, size_t len)
{
    size_t common = row->order_len < len ? row->order_len : len;
    int by = memcmp(row->bytes, order, common);
    return by != 0 ? by : (row->order_len > len) - (row->order_len < len);
}

/* The first kept row that is not below. */
static uint32_t place_of(const struct top_state *state, const uint8_t *order, size_t len)
{
    uint32_t low = 0;
    uint32_t high = state->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        bool below = compare(state->rows[middle], order, len) < 0;
        low = below ? middle + 1 : low;
        high = below ? high : middle;
    }
    return low;
}

#define SLOT_BYTES sizeof(void *) /* of `rows` */

static void reserve(struct top_state *state, struct pool *pool)
{
    if (state->count < state->capacity) {
        return;
    }
    uint32_t capacity = state->capacity == 0 ? 4 : state->capacity * 2;
    struct top_row **rows = pool_alloc(pool, capacity * SLOT_BYTES);
    if (state->capacity > 0) {
        memcpy(rows, state->rows, state->count * SLOT_BYTES);
        pool_free(pool, state->rows, state->capacity * SLOT_BYTES);
    }
    state->owned += (capacity - state->capacity) * SLOT_BYTES;
    state->rows = rows;
    state->capacity = capacity;
}

/* Takes the row in at its place, below the limit. */
static void insert_at(struct top_state *state, struct pool *pool, uint32_t at, uint32_t limit,
                      const struct buf *order, const uint8_t *columns, size_t columns_len)
{
    if (state->count == limit) {
        row_drop(state, pool, state->rows[--state->count]);
    }
    reserve(state, pool);
    struct top_row *row = pool_alloc(pool, sizeof *row + order->len + columns_len);
    row->order_len = u32_from(order->len);
    row->columns_len = u32_from(columns_len);
    memcpy(row->bytes, order->data, order->len);
    memcpy(row->bytes + order->len, columns, columns_len);
    memmove(state->rows + at + 1, state->rows + at, (state->count - at) * SLOT_BYTES);
    state->rows[at] = row;
    state->count++;
    state->owned += pool_block_size(row_size(row));
}

/* Takes the row in, if it is one of the first. */
static void insert(struct top_state *state, struct pool *pool, uint32_t limit,
                   const struct buf *order, const uint8_t *columns, size_t columns_len)
{
    uint32_t at = place_of(state, order->data, order->len);
    if (at < limit) {
        insert_at(state, pool, at, limit, order, columns, columns_len);
    }
}

/* Most bytes of a key column: each byte of a text may be escaped. */
static size_t order_bytes(const struct expr_vec *vec, uint32_t row)
{
    bool bytes = kappa_type_payload(vec->type) == KAPPA_PAYLOAD_BYTES && vec->state[row] == EXPR_OK;
    return LIMIT_GROUP_KEY_LEN + (bytes ? 2 * (size_t)vec->s[row].len : 0);
}

/* What the row is ordered by. */
static void encode_order(struct buf *out, const struct plan_top *top,
                         const struct expr_vec *registers, uint32_t row, uint32_t source,
                         int64_t offset)
{
    buf_reset(out);
    for (uint32_t k = 0; k < top->order_count; k++) {
        const struct expr_vec *vec = &registers[top->order[k].reg];
        buf_reserve(out, order_bytes(vec, row));
        uint8_t *start = out->data + out->len;
        const uint8_t *end = key_put(start, start + order_bytes(vec, row), vec, row);
        ASSERT(end != NULL);
        for (uint8_t *at = start; top->order[k].descending && at < end; at++) {
            *at = (uint8_t) ~*at;
        }
        out->len += (size_t)(end - start);
    }
    uint8_t place[10];
    store_u16_be(place, u16_from(source));
    store_i64_sortable(place + 2, offset);
    for (size_t i = 0; i < sizeof place && top->newest; i++) {
        place[i] = (uint8_t)~place[i];
    }
    buf_append(out, place, sizeof place);
}

/* A row and the list it stands in are in no cache: both are fetched ahead. */
static inline void fetch_ahead(const struct agg_slot *slot, const struct agg_rows *rows, uint32_t i)
{
    enum { FAR = 12, NEAR = 6 };

    if (i + FAR < rows->count) {
        const struct top_state *state = agg_at(slot, rows, i + FAR);
        __builtin_prefetch(state->rows);
    }
    if (i + NEAR < rows->count) {
        const struct top_state *state = agg_at(slot, rows, i + NEAR);
        if (state->count > 0) {
            __builtin_prefetch(state->rows[state->count / 2]);
        }
    }
}

static void update(const struct agg_slot *slot, const struct agg_rows *rows,
                   const struct expr_vec *registers)
{
    const struct plan_top *top = slot->plan->top;
    struct buf order = {0};
    struct buf columns = {0};
    for (uint32_t i = 0; i < rows->count; i++) {
        struct top_state *state = agg_at(slot, rows, i);
        uint32_t row = rows->rows[i];
        fetch_ahead(slot, rows, i);
        if (rows->gone != NULL && rows->gone[row]) {
            rows_drop(state, rows->pool);
            continue;
        }
        encode_order(&order, top, registers, row, rows->source, rows->offset[row]);
        uint32_t at = place_of(state, order.data, order.len);
        if (at == top->limit) {
            continue;
        }
        buf_reset(&columns);
        row_encode(&columns, registers, top->columns, top->column_count, row);
        insert_at(state, rows->pool, at, top->limit, &order, columns.data, columns.len);
    }
    buf_free(&order);
    buf_free(&columns);
}

static void encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    (void)slot;
    const struct top_state *state = at;
    buf_reserve(out, state->owned + AGG_VARINT_BYTES * (1 + 2 * (size_t)state->count));
    buf_append_varint(out, state->count);
    for (uint32_t i = 0; i < state->count; i++) {
        const struct top_row *row = state->rows[i];
        buf_append_varint(out, row->order_len);
        buf_append(out, row->bytes, row->order_len);
        buf_append_varint(out, row->columns_len);
        buf_append(out, row->bytes + row->order_len, row->columns_len);
    }
}

static bool decode(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in)
{
    struct top_state *state = at;
    uint64_t count = 0;
    if (!agg_take_varint(in, &count) || count > slot->plan->top->limit) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        struct kappa_text order;
        struct kappa_text columns;
        if (!agg_take_text(in, &order) || !agg_take_text(in, &columns)) {
            return false;
        }
        struct buf key = {.data = (uint8_t *)(uintptr_t)order.bytes, .len = order.len};
        if (place_of(state, key.data, key.len) != state->count) {
            return false;
        }
        insert(state, pool, slot->plan->top->limit, &key, (const uint8_t *)columns.bytes,
               columns.len);
    }
    return true;
}

static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    const struct top_state *other = from;
    for (uint32_t i = 0; i < other->count; i++) {
        struct top_row *row = other->rows[i];
        struct buf order = {.data = row->bytes, .len = row->order_len};
        insert(to, pool, slot->plan->top->limit, &order, row->bytes + row->order_len,
               row->columns_len);
    }
}

static void release(const struct agg_slot *slot, void *at, struct pool *pool)
{
    (void)slot;
    struct top_state *state = at;
    rows_drop(state, pool);
    if (state->capacity > 0) {
        pool_free(pool, state->rows, state->capacity * SLOT_BYTES);
    }
    memset(state, 0, sizeof *state);
}

static void prefetch(const void *at)
{
    __builtin_prefetch(((const struct top_state *)at)->rows);
}

static size_t owned(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    return ((const struct top_state *)at)->owned;
}

const struct agg_operator agg_top = {.bytes = sizeof(struct top_state),
                                     .update = update,
                                     .encode = encode,
                                     .decode = decode,
                                     .merge = merge,
                                     .free = release,
                                     .owned = owned,
                                     .prefetch = prefetch};

uint32_t agg_top_count(const uint8_t *state)
{
    return ((const struct top_state *)(const void *)state)->count;
}

struct kappa_text agg_top_columns(const uint8_t *state, uint32_t i)
{
    const struct top_state *top = (const struct top_state *)(const void *)state;
    ASSERT_CMP(i, <, top->count);
    const struct top_row *row = top->rows[i];
    return (struct kappa_text){(const char *)row->bytes + row->order_len, row->columns_len};
}
