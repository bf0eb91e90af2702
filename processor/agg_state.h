/* Aggregate states: where they lie in a row's memory, and how a row changes them.
 *
 * A group view has a layout: one slot per aggregate at a fixed offset of the row's state, which is
 * `bytes` long, zeroed at birth (a zeroed state has seen nothing). Texts and sets are owned by the
 * state and live in a pool.
 *
 *     agg_layout_init -> agg_update ... , agg_encode, agg_decode, agg_merge, agg_result
 *
 * Sums of integers are 128 bits wide, so they never overflow while summing; whether the sum fits
 * its type is asked when it is read. Sums of doubles are added in the order of the rows.
 *
 * Encoded state, a pure function of the state, one after the other:
 *     count                varint
 *     sum, avg             varint n (sum: 1 if anything was seen); if n > 0 the sum: for integers a
 *                          zigzag varint of up to 128 bits, for doubles 8 bytes LE
 *     min, max             u8 seen; if seen the value
 *     count(DISTINCT)      varint n + 1, then n values in the order they first came; 0: full
 *     value                text: varint length, bytes; double: 8 bytes LE; else zigzag varint
 */
#ifndef KAPPA_PROCESSOR_AGG_STATE_H
#define KAPPA_PROCESSOR_AGG_STATE_H

#include "base/buf.h"
#include "base/pool.h"
#include "processor/agg_set.h"
#include "processor/plan.h"

enum agg_op {
    AGG_COUNT_ROWS,
    AGG_COUNT,
    AGG_DISTINCT,
    AGG_SUM_INT,
    AGG_SUM_DOUBLE,
    AGG_AVG_INT,
    AGG_AVG_DOUBLE,
    AGG_LEAST, /* min and max of types kept in 64 bits */
    AGG_GREATEST,
    AGG_LEAST_DOUBLE,
    AGG_GREATEST_DOUBLE,
    AGG_LEAST_TEXT,
    AGG_GREATEST_TEXT
};

struct agg_slot {
    enum agg_op op;
    uint32_t offset;
    const struct plan_aggregate *plan;
};

struct agg_layout {
    struct agg_slot *slots;
    uint32_t count;
    uint32_t bytes; /* of a state; a multiple of 16 */
};

/* The slots, by op. */
struct agg_sum_int {
    uint64_t low; /* of the 128-bit sum */
    int64_t high;
    uint64_t n; /* avg: values; sum: 1 if there was one */
};

struct agg_sum_double {
    double sum;
    uint64_t n; /* as above */
};

struct agg_extreme {
    union {
        int64_t i;
        double d;
    };

    uint64_t seen;
};

struct agg_extreme_text {
    uint8_t *bytes; /* NULL: nothing seen */
    uint32_t len;
    uint32_t capacity; /* as asked from the pool, > 0 */
};

/* The rows that change states: states[i] takes row rows[i] of the vectors. */
struct agg_rows {
    uint8_t *const *states;
    const uint32_t *rows;
    uint32_t count;
    struct pool *pool;
};

/* The slots are allocated from the arena; the aggregates are borrowed from the plan. */
void agg_layout_init(struct agg_layout *layout, struct arena *arena,
                     const struct plan_aggregate *aggregates, uint32_t count);
/* Feeds one aggregate. argument, filter: NULL if it has none; no value they give is an error. */
void agg_update(const struct agg_slot *slot, const struct agg_rows *rows,
                const struct expr_vec *argument, const struct expr_vec *filter);
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
/* Adds what `from` has seen behind what `state` has. */
void agg_merge(const struct agg_layout *layout, uint8_t *state, const uint8_t *from,
               struct pool *pool);
/* Sets row 0 of the vector; text is borrowed from the state. */
void agg_result(const struct agg_slot *slot, const uint8_t *state, struct expr_vec *out);

/* Shared by agg_state.c and agg_codec.c. */
static inline int128 agg_sum_get(const struct agg_sum_int *sum)
{
    return (int128)((uint128)(uint64_t)sum->high << 64 | sum->low);
}

static inline void agg_sum_set(struct agg_sum_int *sum, int128 value)
{
    sum->low = (uint64_t)value;
    sum->high = (int64_t)(value >> 64);
}

/* Is a below b? NaN is above all numbers, and equal to itself. */
static inline bool agg_double_below(double a, double b)
{
    return a < b || (b != b && a == a);
}

void agg_text_set(struct agg_extreme_text *text, struct pool *pool, const void *bytes,
                  uint32_t len);
bool agg_text_below(const void *a, uint32_t a_len, const void *b, uint32_t b_len);

#endif
