/* A state that is one encoded row. Own header: row_state.h. */
#include "processor/row_state.h"

#include <string.h>

void row_layout_init(struct agg_layout *layout, struct arena *arena)
{
    layout->slots = arena_calloc(arena, sizeof *layout->slots);
    layout->slots[0] = (struct agg_slot){.op = &row_operator};
    layout->count = 1;
    layout->bytes = (sizeof(struct agg_text) + 15) / 16 * 16;
}

/* Most bytes of a value other than a text, with what says whether it is null. */
#define VALUE_BYTES 48

static size_t row_room(const struct expr_vec *registers, const uint32_t *regs, uint32_t count,
                       uint32_t row)
{
    size_t room = 0;
    for (uint32_t c = 0; c < count; c++) {
        const struct expr_vec *vec = regs[c] == PLAN_NONE ? NULL : &registers[regs[c]];
        room += VALUE_BYTES;
        if (vec != NULL && kappa_type_payload(vec->type) == KAPPA_PAYLOAD_BYTES &&
            vec->state[row] == EXPR_OK) {
            room += vec->s[row].len;
        }
    }
    return room;
}

/* Rows are most of what append views do: the room is made once, and values are put by pointer. */
void row_encode(struct buf *out, const struct expr_vec *registers, const uint32_t *regs,
                uint32_t count, uint32_t row)
{
    buf_reserve(out, row_room(registers, regs, count, row));
    uint8_t *at = out->data + out->len;
    for (uint32_t c = 0; c < count; c++) {
        const struct expr_vec *vec = regs[c] == PLAN_NONE ? NULL : &registers[regs[c]];
        bool is_null = vec == NULL || vec->state[row] != EXPR_OK;
        *at++ = is_null;
        if (is_null) {
            continue;
        }
        switch (kappa_type_payload(vec->type)) {
        case KAPPA_PAYLOAD_BYTES:
            at = agg_put_varint(at, vec->s[row].len);
            if (vec->s[row].len > 0) {
                memcpy(at, vec->s[row].bytes, vec->s[row].len);
            }
            at += vec->s[row].len;
            break;
        case KAPPA_PAYLOAD_DOUBLE:
            memcpy(at, &vec->d[row], sizeof(double));
            at += sizeof(double);
            break;
        case KAPPA_PAYLOAD_NUMERIC:
            out->len = (size_t)(at - out->data);
            agg_put_numeric(out, vec->n[row]);
            at = out->data + out->len;
            break;
        case KAPPA_PAYLOAD_INT:
        case KAPPA_PAYLOAD_COUNT:
            at = agg_put_varint(at, agg_zigzag(vec->i[row]));
            break;
        }
    }
    *at = 0;
    out->len = (size_t)(at - out->data);
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

bool row_decode(const void *from, uint32_t len, struct arena *arena, struct expr_vec *registers,
                const uint32_t *outs, const enum kappa_type *types, uint32_t count, uint32_t row)
{
    uint8_t *bytes = arena_alloc(arena, (size_t)len + 1);
    if (len > 0) {
        memcpy(bytes, from, len);
    }
    struct agg_cursor in = {.bytes = bytes, .len = len};
    for (uint32_t c = 0; c < count; c++) {
        struct kappa_value value;
        uint8_t is_null = 0;
        value.type = types[c];
        if (!agg_take_u8(&in, &is_null) || is_null > 1 ||
            (is_null == 0 && !agg_take_value(&in, &value))) {
            return false;
        }
        if (outs[c] == PLAN_NONE) {
            continue;
        }
        value.is_null = is_null != 0;
        expr_set(&registers[outs[c]], row, &value);
    }
    return in.pos == in.len;
}

bool row_state_get(const uint8_t *state, struct arena *arena, struct expr_vec *registers,
                   const uint32_t *outs, const enum kappa_type *types, uint32_t count, uint32_t row)
{
    const struct agg_text *text = (const struct agg_text *)(const void *)state;
    return row_decode(text->bytes, text->len, arena, registers, outs, types, count, row);
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
                                          .free = row_slot_free,
                                          .owned = row_slot_owned};
