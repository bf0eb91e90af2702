/* A state that is one encoded row. Own header: row_state.h. */
#include "processor/row_state.h"

#include "processor/value_codec.h"

#include <string.h>

void row_layout_init(struct agg_layout *layout, struct arena *arena)
{
    layout->slots = arena_calloc(arena, sizeof *layout->slots);
    layout->slots[0] = (struct agg_slot){.op = &row_operator};
    layout->count = 1;
    layout->bytes = (sizeof(struct agg_text) + 15) / 16 * 16;
}

void row_encode(struct buf *out, const struct expr_vec *registers, const uint32_t *regs,
                uint32_t count, uint32_t row)
{
    for (uint32_t c = 0; c < count; c++) {
        enum expr_state state = EXPR_NULL;
        struct kappa_value value = {.is_null = true};
        if (regs[c] != PLAN_NONE) {
            value = expr_value(&registers[regs[c]], row, &state);
        }
        buf_append_u8(out, value.is_null);
        if (!value.is_null) {
            value_encode(out, &value);
        }
    }
}

bool row_state_there(const uint8_t *state)
{
    return ((const struct agg_text *)(const void *)state)->bytes != NULL;
}

void row_state_set(uint8_t *state, struct pool *pool, const void *bytes, size_t len)
{
    agg_text_set((struct agg_text *)(void *)state, pool, bytes, u32_from(len));
}

void row_state_clear(uint8_t *state, struct pool *pool)
{
    agg_text_free((struct agg_text *)(void *)state, pool);
}

bool row_state_get(const uint8_t *state, struct arena *arena, struct expr_vec *registers,
                   const uint32_t *outs, const enum kappa_type *types, uint32_t count, uint32_t row)
{
    const struct agg_text *text = (const struct agg_text *)(const void *)state;
    uint8_t *bytes = arena_alloc(arena, (size_t)text->len + 1);
    memcpy(bytes, text->bytes, text->len);
    size_t pos = 0;
    for (uint32_t c = 0; c < count; c++) {
        struct kappa_value value = {.type = types[c]};
        if (pos >= text->len || bytes[pos] > 1) {
            return false;
        }
        value.is_null = bytes[pos++] == 1;
        if (!value.is_null && !value_decode(bytes, text->len, &pos, &value)) {
            return false;
        }
        if (outs[c] == PLAN_NONE) {
            continue;
        }
        struct expr_vec *out = &registers[outs[c]];
        out->state[row] = value.is_null ? EXPR_NULL : EXPR_OK;
        size_t width = expr_payload_size(out->type);
        if (!value.is_null) {
            memcpy((uint8_t *)out->i + width * row, &value.i, width);
        }
    }
    return pos == text->len;
}

/* ---- As the slot of a row. */

static void row_slot_encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    (void)slot;
    const struct agg_text *text = at;
    buf_append(out, text->bytes, text->len);
}

static bool row_slot_decode(const struct agg_slot *slot, void *at, struct pool *pool,
                            struct agg_cursor *in)
{
    (void)slot;
    agg_text_set(at, pool, in->bytes + in->pos, u32_from(in->len - in->pos));
    in->pos = in->len;
    return true;
}

/* Such rows are not merged, and have no value of their own. */
static void row_slot_merge(const struct agg_slot *slot, void *to, const void *from,
                           struct pool *pool)
{
    (void)slot;
    (void)to;
    (void)from;
    (void)pool;
    ASSERT(false);
}

static void row_slot_result(const struct agg_slot *slot, const void *at, struct arena *arena,
                            struct expr_vec *out)
{
    (void)slot;
    (void)at;
    (void)arena;
    (void)out;
    ASSERT(false);
}

static void row_slot_free(const struct agg_slot *slot, void *at, struct pool *pool)
{
    (void)slot;
    agg_text_free(at, pool);
}

static size_t row_slot_owned(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    const struct agg_text *text = at;
    return text->bytes == NULL ? 0 : text->capacity;
}

const struct agg_operator row_operator = {.bytes = sizeof(struct agg_text),
                                          .encode = row_slot_encode,
                                          .decode = row_slot_decode,
                                          .merge = row_slot_merge,
                                          .result = row_slot_result,
                                          .free = row_slot_free,
                                          .owned = row_slot_owned};
