/* sum and avg. Own header: agg_operator.h.
 *
 * Sums of integers are 128 bits wide, so they never overflow while summing; whether the sum fits
 * its type is asked when it is read. Sums of doubles are exact (agg_exact.h) and rounded when they
 * are read, so that neither the order of rows nor their spread over sources is seen in them.
 *
 * Bytes: varint n (sum: 1 if anything was seen); if n > 0 the sum: for integers a zigzag varint of
 * up to 128 bits, for doubles as agg_exact.h says. */
#include "processor/agg_exact.h"
#include "processor/numeric.h"

#include <math.h>

struct sum_int {
    uint64_t low; /* of the 128-bit sum */
    int64_t high;
    uint64_t n; /* avg: values; sum: 1 if there was one */
};

/* Of doubles; a sum has no n, but seen in the exact sum: rows of few aggregates are many. */
struct avg_double {
    struct agg_exact sum;
    uint64_t n;
};

static inline int128 sum_get(const struct sum_int *sum)
{
    return (int128)((uint128)(uint64_t)sum->high << 64 | sum->low);
}

static inline void sum_set(struct sum_int *sum, int128 value)
{
    sum->low = (uint64_t)value;
    sum->high = (int64_t)(value >> 64);
}

static bool is_average(const struct agg_slot *slot)
{
    return slot->plan->kind == PLAN_AVG;
}

/* ---- Integers. */

static void update_int(const struct agg_slot *slot, const struct agg_rows *rows,
                       const struct expr_vec *registers)
{
    bool average = is_average(slot);
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct sum_int *sum; (sum = agg_next(&taken)) != NULL;) {
        sum_set(sum, sum_get(sum) + taken.argument->i[taken.row]);
        sum->n = average ? sum->n + 1 : 1;
    }
}

static void encode_int(const struct agg_slot *slot, const void *at, struct buf *out)
{
    (void)slot;
    const struct sum_int *sum = at;
    buf_append_varint(out, sum->n);
    if (sum->n > 0) {
        agg_put_wide(out, sum_get(sum));
    }
}

static void add_int(const struct agg_slot *slot, struct sum_int *sum, int128 value, uint64_t n)
{
    /* Wraps where only damaged bytes can bring it. */
    sum_set(sum, (int128)((uint128)sum_get(sum) + (uint128)value));
    sum->n = is_average(slot) ? sum->n + n : sum->n | n;
}

static bool decode_int(const struct agg_slot *slot, void *at, struct pool *pool,
                       struct agg_cursor *in)
{
    (void)pool;
    uint64_t n = 0;
    int128 value = 0;
    if (!agg_take_varint(in, &n) || (n > 0 && !agg_take_wide(in, &value))) {
        return false;
    }
    add_int(slot, at, value, n);
    return true;
}

static void merge_int(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    (void)pool;
    const struct sum_int *more = from;
    add_int(slot, to, sum_get(more), more->n);
}

static void result_sum_int(const struct agg_slot *slot, const void *at, struct arena *arena,
                           struct expr_vec *out)
{
    (void)slot, (void)arena;
    const struct sum_int *sum = at;
    int128 value = sum_get(sum);
    out->i[0] = (int64_t)value;
    out->state[0] = sum->n == 0               ? EXPR_NULL
                    : value == (int64_t)value ? EXPR_OK
                                              : EXPR_ERROR_OVERFLOW;
}

/* Intervals are whole microseconds: the nearest one, halves away from zero. */
static void result_avg_interval(const struct sum_int *sum, struct expr_vec *out)
{
    int128 n = (int128)sum->n;
    int128 total = sum_get(sum);
    out->i[0] = (int64_t)((total + (total < 0 ? -n : n) / 2) / n);
    out->state[0] = EXPR_OK;
}

/* Divided as PostgreSQL divides. */
static void result_avg_numeric(const struct sum_int *sum, struct expr_vec *out)
{
    int128 total = sum_get(sum);
    if (!numeric_fits(total)) {
        out->state[0] = EXPR_ERROR_OVERFLOW;
        return;
    }
    struct kappa_numeric n = numeric_make((int128)sum->n, 0);
    out->state[0] = (uint8_t)numeric_divide(numeric_make(total, 0), n, &out->n[0]);
}

static void result_avg_int(const struct agg_slot *slot, const void *at, struct arena *arena,
                           struct expr_vec *out)
{
    (void)arena;
    const struct sum_int *sum = at;
    if (slot->plan->result_type == KAPPA_TYPE_INTERVAL && sum->n > 0) {
        result_avg_interval(sum, out);
        return;
    }
    out->state[0] = sum->n == 0 ? EXPR_NULL : EXPR_OK;
    if (slot->plan->result_type == KAPPA_TYPE_NUMERIC && sum->n > 0) {
        result_avg_numeric(sum, out);
    } else if (sum->n > 0) {
        out->d[0] = (double)sum_get(sum) / (double)sum->n;
    }
}

const struct agg_operator agg_sum_int = {.bytes = sizeof(struct sum_int),
                                         .adds = true,
                                         .update = update_int,
                                         .encode = encode_int,
                                         .decode = decode_int,
                                         .merge = merge_int,
                                         .result = result_sum_int};

const struct agg_operator agg_avg_int = {.bytes = sizeof(struct sum_int),
                                         .adds = true,
                                         .update = update_int,
                                         .encode = encode_int,
                                         .decode = decode_int,
                                         .merge = merge_int,
                                         .result = result_avg_int};

/* ---- Doubles. */

static void update_sum_double(const struct agg_slot *slot, const struct agg_rows *rows,
                              const struct expr_vec *registers)
{
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct agg_exact *sum; (sum = agg_next(&taken)) != NULL;) {
        agg_exact_add_double(sum, rows->pool, taken.argument->d[taken.row]);
        sum->seen = 1;
    }
}

static void update_avg_double(const struct agg_slot *slot, const struct agg_rows *rows,
                              const struct expr_vec *registers)
{
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct avg_double *avg; (avg = agg_next(&taken)) != NULL;) {
        agg_exact_add_double(&avg->sum, rows->pool, taken.argument->d[taken.row]);
        avg->n++;
    }
}

/* The exact sum is what both begin with. */
static uint64_t double_count(const struct agg_slot *slot, const void *at)
{
    return is_average(slot) ? ((const struct avg_double *)at)->n
                            : ((const struct agg_exact *)at)->seen;
}

static void encode_double(const struct agg_slot *slot, const void *at, struct buf *out)
{
    uint64_t n = double_count(slot, at);
    buf_append_varint(out, n);
    if (n > 0) {
        agg_exact_encode(at, out);
    }
}

static bool decode_double(const struct agg_slot *slot, void *at, struct pool *pool,
                          struct agg_cursor *in)
{
    uint64_t n = 0;
    if (!agg_take_varint(in, &n) || (n > 0 && !agg_exact_decode(at, pool, in, false))) {
        return false;
    }
    if (is_average(slot)) {
        ((struct avg_double *)at)->n += n;
        return true;
    }
    ((struct agg_exact *)at)->seen |= (uint8_t)(n > 0);
    return n <= 1;
}

static void merge_double(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    agg_exact_merge(to, pool, from);
    if (is_average(slot)) {
        ((struct avg_double *)to)->n += ((const struct avg_double *)from)->n;
    } else {
        ((struct agg_exact *)to)->seen |= ((const struct agg_exact *)from)->seen;
    }
}

/* Infinite values give infinite sums; a sum of finite ones that is infinite has left the type. */
static void result_double(const struct agg_slot *slot, const void *at, struct arena *arena,
                          struct expr_vec *out)
{
    (void)arena;
    uint64_t n = double_count(slot, at);
    double special = agg_exact_special(at);
    double value = special != 0 ? special : agg_exact_round(at);
    if (is_average(slot) && n > 0) {
        value /= (double)n;
    }
    if (slot->plan->result_type == KAPPA_TYPE_REAL) {
        value = (double)(float)value;
    }
    out->d[0] = value;
    out->state[0] = n == 0                         ? EXPR_NULL
                    : isinf(value) && special == 0 ? EXPR_ERROR_OVERFLOW
                                                   : EXPR_OK;
}

static void free_double(const struct agg_slot *slot, void *at, struct pool *pool)
{
    if (is_average(slot)) {
        ((struct avg_double *)at)->n = 0;
    }
    agg_exact_free(at, pool);
}

static size_t owned_double(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    return agg_exact_owned(at);
}

const struct agg_operator agg_sum_double = {.bytes = sizeof(struct agg_exact),
                                            .adds = true,
                                            .update = update_sum_double,
                                            .encode = encode_double,
                                            .decode = decode_double,
                                            .merge = merge_double,
                                            .result = result_double,
                                            .free = free_double,
                                            .owned = owned_double};

const struct agg_operator agg_avg_double = {.bytes = sizeof(struct avg_double),
                                            .adds = true,
                                            .update = update_avg_double,
                                            .encode = encode_double,
                                            .decode = decode_double,
                                            .merge = merge_double,
                                            .result = result_double,
                                            .free = free_double,
                                            .owned = owned_double};
