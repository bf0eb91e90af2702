/* What an aggregate is: its slot, how rows change it, its bytes, its value. One struct per operator,
 * local to a file agg_*.c but for its name below; agg_state.c holds the table of which aggregate of
 * a plan is which operator. For agg_*.c only: others use agg_state.h.
 *
 * Adding one: a struct agg_operator in a file of its kind, its name at the end of this header, and
 * a row in the table of agg_state.c; in SQL a PLAN_... name and a row of functions.def.
 *
 * Rules for operators:
 *  1. The bytes of a state are a function of the rows it has seen, in their order; not of how they
 *     came in calls, nor of encodings and decodings in between.
 *  2. decode takes any bytes: it gives a valid state or false, after which free works. The slot is zeroed;
 *     of operators that say `adds` it may have seen rows when reading.
 *  3. merge(a, b) may be called for parts of several sources and of one; where the order of rows
 *     matters to the value, the state knows its source and offsets, so that the order of merging
 *     does not.
 */
#ifndef KAPPA_PROCESSOR_AGG_OPERATOR_H
#define KAPPA_PROCESSOR_AGG_OPERATOR_H

#include "processor/agg_state.h"

/* Bytes being read. */
struct agg_cursor {
    const uint8_t *bytes;
    size_t len;
    size_t pos;
};

struct agg_operator {
    uint32_t bytes; /* of the slot, a multiple of 8; it is 8-byte aligned */
    bool grows;     /* keeps all values, up to slot->limit bytes of them, more when reading */
    bool adds;      /* when reading, decode adds what the bytes have seen to what the slot has */
    void (*encode)(const struct agg_slot *slot, const void *at, struct buf *out);
    bool (*decode)(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in);
    /* NULL in rows of hidden tables: their nodes change them, and they are not merged. */
    /* at = states[i] + slot->offset */
    void (*update)(const struct agg_slot *slot, const struct agg_rows *rows,
                   const struct expr_vec *registers);
    void (*merge)(const struct agg_slot *slot, void *to, const void *from, struct pool *pool);
    /* NULL likewise, and in agg_top, whose rows are read one by one. */
    void (*result)(const struct agg_slot *slot, const void *at, struct arena *arena,
                   struct expr_vec *out);
    /* NULL in operators whose slot is all there is: */
    void (*free)(const struct agg_slot *slot, void *at, struct pool *pool); /* leaves it zeroed */
    size_t (*owned)(const struct agg_slot *slot, const void *at);
    void (*prefetch)(const void *at);
};

/* ---- Rows. */

static inline const struct expr_vec *agg_argument(const struct agg_slot *slot,
                                                  const struct expr_vec *registers)
{
    return &registers[slot->plan->argument];
}

/* NULL: none. */
static inline const struct expr_vec *agg_filter(const struct agg_slot *slot,
                                                const struct expr_vec *registers)
{
    return slot->plan->filter == PLAN_NONE ? NULL : &registers[slot->plan->filter];
}

/* Does this row count for the aggregate? */
static inline bool agg_passes(const struct expr_vec *filter, uint32_t row)
{
    return filter == NULL || (filter->state[row] == EXPR_OK && filter->i[row] != 0);
}

/* Likewise, and the argument is not null. */
static inline bool agg_takes(const struct expr_vec *argument, const struct expr_vec *filter,
                             uint32_t row)
{
    return argument->state[row] == EXPR_OK && agg_passes(filter, row);
}

/* The slot of the i-th of the rows. */
static inline void *agg_at(const struct agg_slot *slot, const struct agg_rows *rows, uint32_t i)
{
    return rows->states[i] + slot->offset;
}

/* The rows an aggregate takes, and the slots that take them:
 *
 *     struct agg_taken taken = agg_taken(slot, rows, registers);
 *     for (struct sum *sum; (sum = agg_next(&taken)) != NULL;) {
 *         sum->value += taken.argument->i[taken.row];
 *     } */
struct agg_taken {
    const struct agg_slot *slot;
    const struct agg_rows *rows;
    const struct expr_vec *argument;
    const struct expr_vec *filter; /* NULL: none */
    uint32_t next;                 /* of `rows` */
    uint32_t row;                  /* of the registers: the one at hand */
};

static inline struct agg_taken agg_taken(const struct agg_slot *slot, const struct agg_rows *rows,
                                         const struct expr_vec *registers)
{
    return (struct agg_taken){.slot = slot,
                              .rows = rows,
                              .argument = agg_argument(slot, registers),
                              .filter = agg_filter(slot, registers)};
}

/* The slot of the next row; NULL behind the last. */
static inline void *agg_next(struct agg_taken *taken)
{
    while (taken->next < taken->rows->count) {
        uint32_t i = taken->next++;
        taken->row = taken->rows->rows[i];
        if (agg_takes(taken->argument, taken->filter, taken->row)) {
            return agg_at(taken->slot, taken->rows, i);
        }
    }
    return NULL;
}

/* ---- Values kept in a state. */

/* Is a below b? NaN is above all numbers, and equal to itself. */
static inline bool agg_double_below(double a, double b)
{
    return a < b || (b != b && a == a);
}

/* A text owned by a state. */
struct agg_text {
    uint8_t *bytes; /* NULL: nothing seen */
    uint32_t len;
    uint32_t capacity; /* as asked from the pool, > 0 */
};

void agg_text_set(struct agg_text *text, struct pool *pool, const void *bytes, uint32_t len);
void agg_text_free(struct agg_text *text, struct pool *pool);
bool agg_text_below(const void *a, uint32_t a_len, const void *b, uint32_t b_len);

/* ---- Bytes (agg_codec.c). */

static inline uint64_t agg_zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static inline int64_t agg_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}

#define AGG_VARINT_BYTES ((size_t)10)

/* Puts a varint at `at`, where there is room, and returns the place behind. */
static inline uint8_t *agg_put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        *at++ = (uint8_t)(value | 0x80);
    }
    *at++ = (uint8_t)value;
    return at;
}

/* A zigzag varint of up to 128 bits. */
void agg_put_wide(struct buf *out, int128 value);
void agg_put_double(struct buf *out, double d);
void agg_put_numeric(struct buf *out, struct kappa_numeric n);

/* These return false when the bytes are none. */
static inline bool agg_take_u8(struct agg_cursor *in, uint8_t *value)
{
    if (in->pos >= in->len) {
        return false;
    }
    *value = in->bytes[in->pos++];
    return true;
}

static inline bool agg_take_varint(struct agg_cursor *in, uint64_t *value)
{
    if (in->pos < in->len && in->bytes[in->pos] < 0x80) {
        *value = in->bytes[in->pos++];
        return true;
    }
    return varint_read(in->bytes, in->len, &in->pos, value);
}

bool agg_take_wide(struct agg_cursor *in, int128 *value);
bool agg_take_double(struct agg_cursor *in, double *d);
/* Text is borrowed from the bytes. */
bool agg_take_text(struct agg_cursor *in, struct kappa_text *text);
bool agg_take_numeric(struct agg_cursor *in, struct kappa_numeric *n);
bool agg_take_value(struct agg_cursor *in, struct kappa_value *value); /* as value_decode */

/* ---- Results. */

static inline void agg_result_int(struct expr_vec *out, int64_t value)
{
    out->state[0] = EXPR_OK;
    out->i[0] = value;
}

/* ---- The operators, by file. */

/* agg_count.c */
extern const struct agg_operator agg_count_rows;
extern const struct agg_operator agg_count;
extern const struct agg_operator agg_count_if;

/* agg_sum.c */
extern const struct agg_operator agg_sum_int;
extern const struct agg_operator agg_sum_double;
extern const struct agg_operator agg_avg_double;
extern const struct agg_operator agg_avg_int;

/* agg_variance.c */
extern const struct agg_operator agg_variance_int;
extern const struct agg_operator agg_variance_double;

/* agg_numeric.c: sum and avg */
extern const struct agg_operator agg_sum_numeric;

/* agg_extreme.c */
extern const struct agg_operator agg_extreme_int;
extern const struct agg_operator agg_extreme_double;
extern const struct agg_operator agg_extreme_text;

extern const struct agg_operator agg_extreme_numeric;

/* agg_pick.c */
extern const struct agg_operator agg_pick;

/* agg_percentile.c */
extern const struct agg_operator agg_percentile_cont;
extern const struct agg_operator agg_percentile_value;
extern const struct agg_operator agg_percentile_approx;

/* agg_approx_distinct.c */
extern const struct agg_operator agg_approx_distinct;

/* agg_gather.c */
extern const struct agg_operator agg_gather_string;
extern const struct agg_operator agg_gather_array;
extern const struct agg_operator agg_gather_json;

/* agg_topk.c */
extern const struct agg_operator agg_topk;

/* agg_distinct.c */
extern const struct agg_operator agg_distinct;
extern const struct agg_operator agg_distinct_sum;
extern const struct agg_operator agg_distinct_string;

/* agg_top.c */
extern const struct agg_operator agg_top;

#endif
