/* var_pop, var_samp, stddev_pop, stddev_samp. Own header: agg_operator.h.
 *
 * Kept are n and the exact sums of x and of x * x (agg_exact.h); n * sum(x * x) - sum(x)^2 is counted
 * exactly when it is read, so there is no cancellation, and neither the order of rows nor their
 * spread over sources is seen in the result.
 *
 * Bytes: varint n; if n > 0 the two sums. */
#include "processor/agg_exact.h"

#include <math.h>

struct variance {
    uint64_t n;
    struct agg_exact sum;
    struct agg_exact squares;
};

static void update_int(const struct agg_slot *slot, const struct agg_rows *rows,
                       const struct expr_vec *registers)
{
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct variance *v; (v = agg_next(&taken)) != NULL;) {
        int64_t x = taken.argument->i[taken.row];
        uint64_t size = i64_magnitude(x);
        agg_exact_add_int(&v->sum, rows->pool, x);
        agg_exact_add(&v->squares, rows->pool, (uint128)size * size, false, 0);
        v->n++;
    }
}

static void update_double(const struct agg_slot *slot, const struct agg_rows *rows,
                          const struct expr_vec *registers)
{
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct variance *v; (v = agg_next(&taken)) != NULL;) {
        double x = taken.argument->d[taken.row];
        agg_exact_add_double(&v->sum, rows->pool, x);
        agg_exact_add_square(&v->squares, rows->pool, x);
        v->n++;
    }
}

static void encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    (void)slot;
    const struct variance *v = at;
    buf_append_varint(out, v->n);
    if (v->n > 0) {
        agg_exact_encode(&v->sum, out);
        agg_exact_encode(&v->squares, out);
    }
}

static bool decode(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in)
{
    (void)slot;
    struct variance *v = at;
    uint64_t n = 0;
    bool good =
        agg_take_varint(in, &n) && (n == 0 || (agg_exact_decode(&v->sum, pool, in, false) &&
                                               agg_exact_decode(&v->squares, pool, in, true)));
    v->n += n;
    return good;
}

static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    (void)slot;
    struct variance *v = to;
    const struct variance *more = from;
    v->n += more->n;
    agg_exact_merge(&v->sum, pool, &more->sum);
    agg_exact_merge(&v->squares, pool, &more->squares);
}

/* (n * squares - sum^2) / (n * m) as value * 2^exponent. */
static double variance_of(const struct variance *v, uint64_t m, int *exponent)
{
    struct agg_big squares;
    struct agg_big sum;
    agg_big_from(&squares, &v->squares);
    agg_big_from(&sum, &v->sum);
    agg_big_multiply(&squares, v->n);
    agg_big_square(&sum);
    agg_big_subtract(&squares, &sum);
    return agg_big_round(&squares, exponent) / (double)((uint128)v->n * m);
}

static void result(const struct agg_slot *slot, const void *at, struct arena *arena,
                   struct expr_vec *out)
{
    (void)arena;
    const struct variance *v = at;
    enum plan_aggregate_kind kind = slot->plan->kind;
    bool sample = kind == PLAN_VAR_SAMP || kind == PLAN_STDDEV_SAMP;
    bool root = kind == PLAN_STDDEV_POP || kind == PLAN_STDDEV_SAMP;
    uint64_t m = sample ? v->n - 1 : v->n;
    out->state[0] = EXPR_NULL;
    if (v->n == 0 || m == 0) {
        return;
    }
    out->state[0] = EXPR_OK;
    if (v->sum.special != 0) {
        out->d[0] = __builtin_nan("");
        return;
    }
    int exponent = 0;
    double value = variance_of(v, m, &exponent);
    if (root) {
        int odd = exponent & 1;
        value = ldexp(sqrt(ldexp(value, odd)), (exponent - odd) / 2);
    } else {
        value = ldexp(value, exponent);
    }
    out->d[0] = value;
    /* Below zero is what only damaged bytes can be. */
    out->state[0] = isfinite(value) ? EXPR_OK : EXPR_ERROR_OVERFLOW;
}

static void free_variance(const struct agg_slot *slot, void *at, struct pool *pool)
{
    (void)slot;
    struct variance *v = at;
    agg_exact_free(&v->sum, pool);
    agg_exact_free(&v->squares, pool);
}

static size_t owned(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    const struct variance *v = at;
    return agg_exact_owned(&v->sum) + agg_exact_owned(&v->squares);
}

#define VARIANCE(update_rows)                                                                      \
    {                                                                                              \
        .bytes = sizeof(struct variance), .adds = true, .update = (update_rows), .encode = encode, \
        .decode = decode, .merge = merge, .result = result, .free = free_variance, .owned = owned  \
    }

const struct agg_operator agg_variance_int = VARIANCE(update_int);
const struct agg_operator agg_variance_double = VARIANCE(update_double);
