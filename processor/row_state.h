/* A state that is one encoded row: the newest of its key. The one slot of a hidden or an upsert table's
 * rows, so that it is kept, written, loaded and evicted as aggregates are. The stored value is the row:
 * per column u8 null (1) or not (0), and the value (value_codec.h). */
#ifndef KAPPA_PROCESSOR_ROW_STATE_H
#define KAPPA_PROCESSOR_ROW_STATE_H

#include "processor/agg_operator.h"

extern const struct agg_operator row_operator;

/* The layout of a table of such rows. */
void row_layout_init(struct agg_layout *layout, struct arena *arena);
/* Appends registers regs[] of a row; PLAN_NONE is null. */
void row_encode(struct buf *out, const struct expr_vec *registers, const uint32_t *regs,
                uint32_t count, uint32_t row);
/* Is there a row? */
bool row_state_there(const uint8_t *state);
void row_state_set(uint8_t *state, struct pool *pool, const void *bytes, size_t len);
void row_state_clear(uint8_t *state, struct pool *pool);
/* Writes the row in these bytes into row `row` of the registers outs[]; PLAN_NONE: not needed. Bytes
 * are copied to the arena. False: the bytes are none. */
bool row_decode(const void *from, uint32_t len, struct arena *arena, struct expr_vec *registers,
                const uint32_t *outs, const enum kappa_type *types, uint32_t count, uint32_t row);
bool row_state_get(const uint8_t *state, struct arena *arena, struct expr_vec *registers,
                   const uint32_t *outs, const enum kappa_type *types, uint32_t count,
                   uint32_t row);

#endif
