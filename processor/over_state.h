/* What OVER remembers of one key in one source: its newest rows, ordered by (time, offset), and for
 * frames without a start what all older rows came to.
 *
 *     over_shape_init                      once per operator
 *     over_state_insert -> over_state_value ... -> over_state_trim      for each row
 *
 * A state is the one slot of a row of a hidden table, so that it is kept, written, loaded and evicted
 * as aggregates are: over_operator. Encoded, a pure function of the rows seen:
 *
 *     varint folded | varint count | per row: zigzag varint time - time before, zigzag varint offset -
 *     offset before, per value u8 null, else value_codec | if there are totals: base, as agg_encode
 */
#ifndef KAPPA_PROCESSOR_OVER_STATE_H
#define KAPPA_PROCESSOR_OVER_STATE_H

#include "processor/agg_operator.h"

struct over_shape {
    struct plan_aggregate tag; /* the slot's plan: how the operator finds the shape */
    const struct plan_operator *op;
    enum kappa_type *types; /* of the values kept with a row */
    uint32_t value_count;
    struct agg_layout totals; /* one slot per aggregate of the operator */
    bool *unbounded;          /* per slot: its frame has no start, so totals are kept */
    bool any_unbounded;
};

struct over_state {
    const struct over_shape *shape;
    uint64_t folded; /* rows that came before those kept */
    uint32_t first;  /* rows [first, first + count) of the arrays are kept */
    uint32_t count;
    uint32_t capacity;
    int64_t *time;
    int64_t *offset;
    struct expr_vec *values; /* value_count; bytes are owned */
    uint8_t *base;           /* totals over the folded rows; NULL without totals */
    uint8_t *total;          /* over all rows */
    size_t owned;            /* bytes of all of it */
};

extern const struct agg_operator over_operator;

/* The layout of the hidden table: one slot. types: of the registers. */
void over_shape_init(struct over_shape *shape, struct arena *arena, const struct plan_operator *op,
                     const enum kappa_type *types, struct agg_layout *layout);

/* Puts row `row` of the registers in its place and returns the index. The slot may be zeroed. */
uint32_t over_state_insert(const struct over_shape *shape, struct over_state **slot,
                           struct pool *pool, int64_t time, int64_t offset,
                           const struct expr_vec *registers, uint32_t row);
/* Writes what `over` is for the row at `index`, which was inserted last, as row `row` of its register.
 * aggregate: its number among the operator's aggregates, if it is one.
 * Bytes are allocated from the arena. */
void over_state_value(struct over_state *state, const struct plan_over *over, uint32_t aggregate,
                      uint32_t index, struct pool *pool, struct arena *arena,
                      const struct expr_vec *registers, uint32_t row);
/* Lets go of rows that no later row can see: later ones have time >= watermark. */
void over_state_trim(struct over_state *state, int64_t watermark, struct pool *pool);

#endif
