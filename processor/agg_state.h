/* Aggregate states: where they lie in a row's memory, and what is done with all of them.
 *
 * A group view has a layout: one slot per aggregate at a fixed offset of the row's state, which is
 * `bytes` long, zeroed at birth (a zeroed state has seen nothing). What a slot holds, how rows
 * change it and its encoded bytes are the operator's business (agg_operator.h); what a state owns
 * beyond its slots lives in a pool.
 *
 *     agg_layout_init -> agg_update ... , agg_encode, agg_decode, agg_merge, agg_result
 *
 * The encoded state is the slots' bytes one after the other, a pure function of the rows seen.
 */
#ifndef KAPPA_PROCESSOR_AGG_STATE_H
#define KAPPA_PROCESSOR_AGG_STATE_H

#include "base/buf.h"
#include "base/pool.h"
#include "processor/plan.h"

struct agg_operator; /* agg_operator.h */

struct agg_slot {
    const struct agg_operator *op;
    const struct plan_aggregate *plan;
    uint32_t offset;
    uint32_t limit; /* bytes of values that one that keeps them all may hold */
    bool reading;   /* merges sources: together they may hold more */
};

struct agg_layout {
    struct agg_slot *slots;
    uint32_t count;
    uint32_t bytes; /* of a state; a multiple of 16 */
};

/* The rows that change states: states[i] takes row rows[i] of the registers. */
struct agg_rows {
    uint8_t *const *states;
    const uint32_t *rows;
    uint32_t count;
    struct pool *pool;
    uint32_t source;           /* of all rows */
    const int64_t *offset;     /* per row of the registers: ascending in the order of `rows` */
    const int64_t *event_time; /* likewise; NULL: the input has none */
    const bool *gone; /* per row: it takes the state's rows away (upserts); NULL: none does */
};

/* Is there such an aggregate over arguments of this type? Others may not be in a plan. */
bool agg_exists(enum plan_aggregate_kind kind, enum kappa_type argument_type);
/* The slots are allocated from the arena; the aggregates are borrowed from the plan. */
void agg_layout_init(struct agg_layout *layout, struct arena *arena,
                     const struct plan_aggregate *aggregates, uint32_t count);
/* The layout is for reading rows: what it merges is not stored again. */
void agg_layout_for_reading(struct agg_layout *layout);
/* Bytes of the longest text that these aggregates keep a copy of; longer ones may not come in. */
uint32_t agg_text_limit(const struct plan_aggregate *aggregates, uint32_t count);
/* Does the aggregate keep a text argument whole, in one copy? */
bool agg_keeps_text(const struct plan_aggregate *aggregate);
/* Feeds one aggregate from the registers of the row program; no value it takes is an error. */
void agg_update(const struct agg_slot *slot, const struct agg_rows *rows,
                const struct expr_vec *registers);
/* Gives back what the state owns. */
void agg_state_free(const struct agg_layout *layout, uint8_t *state, struct pool *pool);
/* Memory that the state owns beyond itself. */
size_t agg_state_owned(const struct agg_layout *layout, const uint8_t *state);
/* Fetches what the state owns into the processor's caches ahead of its use. */
void agg_state_prefetch(const struct agg_layout *layout, const uint8_t *state);
void agg_encode(const struct agg_layout *layout, const uint8_t *state, struct buf *out);
/* state: zeroed. On CORRUPT it holds what was read so far: agg_state_free it. */
int agg_decode(const struct agg_layout *layout, uint8_t *state, struct pool *pool,
               const uint8_t *bytes, size_t len, struct err *err) must_check;
/* The layout is for reading: adds what is encoded behind what `state` has. part: zeroed scratch of a
 * state's size, which stays so. On CORRUPT `state` holds what was read so far. */
int agg_add(const struct agg_layout *layout, uint8_t *state, uint8_t *part, struct pool *pool,
            const uint8_t *bytes, size_t len, struct err *err) must_check;
/* Adds what `from` has seen behind what `state` has; not where both are for reading. */
void agg_merge(const struct agg_layout *layout, uint8_t *state, const uint8_t *from,
               struct pool *pool);
/* Sets row 0 of the vector; text is borrowed from the state or allocated from the arena. */
void agg_result(const struct agg_slot *slot, const uint8_t *state, struct arena *arena,
                struct expr_vec *out);

#endif
