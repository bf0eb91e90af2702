/* Percentiles. Own header: agg_operator.h. State: a bag of keys that sort as the values do.
 *
 * percentile_cont, percentile_disc, median, mode: exact; every different value is kept, up to
 * 262144 of them (slot->limit) in one group and source.
 *
 * approx_percentile: keys are the upper bits of the double, 64 equal parts between a power of two
 * and the next; so the value that is given back, the harmonic mean of the part's ends, is within
 * 0.8 % of the one that stands at that place. No logarithm is taken: a key is the same on every
 * machine, and counts of keys add up, in whatever order. Numbers below 2^-1022 count as 0. */
#include "base/limits.h"
#include "processor/agg_bag.h"
#include "processor/key_codec.h"

#include <math.h>
#include <string.h>

#define SIGN         (UINT64_C(1) << 63)
#define SKETCH_SHIFT 46 /* sign, 11 bits of exponent, 6 of the mantissa are left */
#define SKETCH_KEYS  (UINT32_C(1) << (64 - SKETCH_SHIFT))
#define UNION_KEYS   (UINT32_C(1) << 26)

static uint64_t key_of_int(int64_t value)
{
    return (uint64_t)value ^ SIGN;
}

static uint64_t key_of_double(double value)
{
    double canonical = key_double(value);
    uint64_t bits = 0;
    memcpy(&bits, &canonical, sizeof bits);
    return (bits & SIGN) != 0 ? ~bits : bits | SIGN;
}

static double double_of_key(uint64_t key)
{
    uint64_t bits = (key & SIGN) != 0 ? key & ~SIGN : ~key;
    double value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Different keys: one is 16 bytes in memory, and about so many in a row. */
static uint32_t limit_of(const struct agg_slot *slot)
{
    return slot->plan->kind == PLAN_APPROX_PERCENTILE ? SKETCH_KEYS : slot->limit / 16;
}

static bool is_double(const struct agg_slot *slot)
{
    return kappa_type_payload(slot->plan->argument_type) == KAPPA_PAYLOAD_DOUBLE;
}

static void update(const struct agg_slot *slot, const struct agg_rows *rows,
                   const struct expr_vec *registers)
{
    uint32_t limit = limit_of(slot);
    uint32_t shift = slot->plan->kind == PLAN_APPROX_PERCENTILE ? SKETCH_SHIFT : 0;
    bool real = is_double(slot);
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct agg_bag *bag; (bag = agg_next(&taken)) != NULL;) {
        uint64_t key = real ? key_of_double(taken.argument->d[taken.row])
                            : key_of_int(taken.argument->i[taken.row]);
        agg_bag_add(bag, rows->pool, key >> shift, limit);
    }
}

static void encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    agg_bag_encode(at, out, limit_of(slot));
}

static bool decode(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in)
{
    bool sketch = slot->plan->kind == PLAN_APPROX_PERCENTILE;
    return agg_bag_decode(at, pool, in, limit_of(slot), sketch ? SKETCH_KEYS - 1 : UINT64_MAX);
}

static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    agg_bag_merge(to, pool, from, slot->reading ? UNION_KEYS : limit_of(slot));
}

static void free_bag(const struct agg_slot *slot, void *at, struct pool *pool)
{
    (void)slot;
    agg_bag_free(at, pool);
}

static size_t owned(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    return agg_bag_owned(at);
}

/* ---- Results. */

static double fraction_of(const struct agg_slot *slot)
{
    return slot->plan->kind == PLAN_MEDIAN ? 0.5 : slot->plan->parameter.d;
}

/* Between the values around the place, as PostgreSQL. */
static double interpolate(const struct agg_bag_view *view, double fraction)
{
    double place = fraction * (double)(view->total - 1);
    uint64_t first = (uint64_t)place;
    uint64_t second = (uint64_t)ceil(place);
    double low = double_of_key(agg_bag_at(view, first));
    if (first == second) {
        return low;
    }
    double high = double_of_key(agg_bag_at(view, second));
    return low + (place - (double)first) * (high - low);
}

/* Of the first value that so many are not above: PostgreSQL's percentile_disc. */
static uint64_t place_of(const struct agg_slot *slot, const struct agg_bag_view *view)
{
    double place = ceil(fraction_of(slot) * (double)view->total);
    return place < 1 ? 0 : (uint64_t)place - 1;
}

static uint64_t most_frequent(const struct agg_bag_view *view)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < view->count; i++) {
        best = view->entries[i].count > view->entries[best].count ? i : best;
    }
    return view->entries[best].key;
}

/* A value that stands for all of its part. */
static double part_value(uint64_t key)
{
    uint64_t first = key << SKETCH_SHIFT;
    uint64_t last = first + ((UINT64_C(1) << SKETCH_SHIFT) - 1);
    bool negative = (first & SIGN) == 0;
    double low = double_of_key(negative ? last : first); /* towards zero */
    if (low == 0 || !isfinite(low)) {
        return low;
    }
    double high = double_of_key(negative ? first - 1 : last + 1);
    return isfinite(high) ? low * (2 / (1 + low / high)) : low;
}

static bool start(const void *at, struct agg_bag_view *view, struct expr_vec *out)
{
    *view = agg_bag_is_full(at) ? (struct agg_bag_view){0} : agg_bag_view(at);
    out->state[0] = agg_bag_is_full(at) ? EXPR_ERROR_FULL : view->total == 0 ? EXPR_NULL : EXPR_OK;
    return out->state[0] == EXPR_OK;
}

static void result_cont(const struct agg_slot *slot, const void *at, struct arena *arena,
                        struct expr_vec *out)
{
    (void)arena;
    struct agg_bag_view view;
    if (start(at, &view, out)) {
        out->d[0] = interpolate(&view, fraction_of(slot));
    }
    agg_bag_view_free(&view);
}

static void result_value(const struct agg_slot *slot, const void *at, struct arena *arena,
                         struct expr_vec *out)
{
    (void)arena;
    struct agg_bag_view view;
    if (start(at, &view, out)) {
        uint64_t key = 0;
        if (slot->plan->kind == PLAN_MODE) {
            key = most_frequent(&view);
        } else {
            key = agg_bag_at(&view, place_of(slot, &view));
        }
        if (is_double(slot)) {
            out->d[0] = double_of_key(key);
        } else {
            out->i[0] = (int64_t)(key ^ SIGN);
        }
    }
    agg_bag_view_free(&view);
}

static void result_approx(const struct agg_slot *slot, const void *at, struct arena *arena,
                          struct expr_vec *out)
{
    (void)arena;
    struct agg_bag_view view;
    if (start(at, &view, out)) {
        out->d[0] = part_value(agg_bag_at(&view, place_of(slot, &view)));
    }
    agg_bag_view_free(&view);
}

#define PERCENTILE(result_of, keeps_all)                                                           \
    {                                                                                              \
        .bytes = sizeof(struct agg_bag), .grows = (keeps_all), .update = update, .encode = encode, \
        .decode = decode, .merge = merge, .result = (result_of), .free = free_bag, .owned = owned  \
    }

const struct agg_operator agg_percentile_cont = PERCENTILE(result_cont, true);
const struct agg_operator agg_percentile_value = PERCENTILE(result_value, true);
const struct agg_operator agg_percentile_approx = PERCENTILE(result_approx, false);
