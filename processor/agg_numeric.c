/* sum and avg of numeric. Own header: agg_operator.h.
 *
 * The sum has 256 bits at the largest scale seen, so that it is exact and the order of rows is not
 * seen in it; whether it fits numeric is asked when it is read. Should even those be too few (values
 * of 38 whole digits beside values of 38 digits behind the point), it is out of range for good.
 *
 * Bytes: varint n (sum: 1 if anything was seen); if n > 0: varint scale, u8 count of the sum's bytes
 * (255: out of range), and these, LE, two's complement, as few as hold it. */
#include "processor/agg_operator.h"
#include "processor/numeric.h"

#include <string.h>

#define LIMBS      4
#define BYTES_OVER 255

struct sum_numeric {
    uint64_t limb[LIMBS]; /* two's complement, the lowest first */
    uint64_t n;           /* avg: values; sum: 1 if there was one */
    uint32_t scale;
    uint32_t over; /* 1: out of range for good, and the limbs are 0 */
};

static bool is_negative(const uint64_t *limb)
{
    return limb[LIMBS - 1] >> 63 != 0;
}

static void negate(uint64_t *limb)
{
    uint64_t carry = 1;
    for (int i = 0; i < LIMBS; i++) {
        limb[i] = ~limb[i] + carry;
        carry = carry != 0 && limb[i] == 0;
    }
}

static void set_over(struct sum_numeric *sum)
{
    memset(sum->limb, 0, sizeof sum->limb);
    sum->over = 1;
}

/* limb * 10^power; false when it does not fit. */
static bool multiply(uint64_t *limb, uint32_t power)
{
    bool negative = is_negative(limb);
    bool fits = true;
    if (negative) {
        negate(limb);
    }
    while (power > 0) {
        uint32_t part = power < 19 ? power : 19;
        uint128 carry = 0;
        for (int i = 0; i < LIMBS; i++) {
            carry += (uint128)limb[i] * (uint64_t)numeric_power10(part);
            limb[i] = (uint64_t)carry;
            carry >>= 64;
        }
        fits = fits && carry == 0 && !is_negative(limb);
        power -= part;
    }
    if (negative) {
        negate(limb);
    }
    return fits;
}

/* to += more; false when it does not fit. */
static bool add(uint64_t *to, const uint64_t *more)
{
    bool same = is_negative(to) == is_negative(more);
    bool was = is_negative(to);
    uint64_t carry = 0;
    for (int i = 0; i < LIMBS; i++) {
        uint128 all = (uint128)to[i] + more[i] + carry;
        to[i] = (uint64_t)all;
        carry = (uint64_t)(all >> 64);
    }
    return !same || is_negative(to) == was;
}

/* Adds limb / 10^scale, which is changed. */
static void take(struct sum_numeric *sum, uint64_t *limb, uint32_t scale)
{
    bool fits = sum->over == 0;
    if (scale > sum->scale) {
        fits = fits && multiply(sum->limb, scale - sum->scale);
        sum->scale = scale;
    } else if (scale < sum->scale) {
        fits = fits && multiply(limb, sum->scale - scale);
    }
    if (!fits || !add(sum->limb, limb)) {
        set_over(sum);
    }
}

static bool is_average(const struct agg_slot *slot)
{
    return slot->plan->kind == PLAN_AVG;
}

static void update(const struct agg_slot *slot, const struct agg_rows *rows,
                   const struct expr_vec *registers)
{
    bool average = is_average(slot);
    struct agg_taken taken = agg_taken(slot, rows, registers);
    for (struct sum_numeric *sum; (sum = agg_next(&taken)) != NULL;) {
        struct kappa_numeric value = taken.argument->n[taken.row];
        uint64_t sign = value.high < 0 ? UINT64_MAX : 0;
        uint64_t limb[LIMBS] = {value.low, (uint64_t)value.high, sign, sign};
        take(sum, limb, value.scale);
        sum->n = average ? sum->n + 1 : 1;
    }
}

static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    (void)pool;
    struct sum_numeric *sum = to;
    struct sum_numeric more = *(const struct sum_numeric *)from;
    if (more.n == 0) {
        return;
    }
    sum->over |= more.over;
    take(sum, more.limb, more.scale);
    sum->n = is_average(slot) ? sum->n + more.n : 1;
}

static void encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    (void)slot;
    const struct sum_numeric *sum = at;
    buf_append_varint(out, sum->n);
    if (sum->n == 0) {
        return;
    }
    buf_append_varint(out, sum->scale);
    if (sum->over != 0) {
        buf_append_u8(out, BYTES_OVER);
        return;
    }
    uint8_t bytes[LIMBS * 8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(sum->limb[i / 8] >> (i % 8 * 8));
    }
    uint8_t fill = is_negative(sum->limb) ? 0xFF : 0;
    size_t count = sizeof bytes;
    while (count > 1 && bytes[count - 1] == fill && (bytes[count - 2] & 0x80) == (fill & 0x80)) {
        count--;
    }
    buf_append_u8(out, (uint8_t)count);
    buf_append(out, bytes, count);
}

static bool decode(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in)
{
    (void)slot, (void)pool;
    struct sum_numeric *sum = at;
    uint64_t scale = 0;
    uint8_t count = 0;
    if (!agg_take_varint(in, &sum->n)) {
        return false;
    }
    if (sum->n == 0) {
        return true;
    }
    if (!agg_take_varint(in, &scale) || scale > NUMERIC_SCALE_MAX || !agg_take_u8(in, &count)) {
        return false;
    }
    sum->scale = (uint32_t)scale;
    sum->over = count == BYTES_OVER;
    if (sum->over != 0) {
        return true;
    }
    if (count < 1 || count > LIMBS * 8 || in->len - in->pos < count) {
        return false;
    }
    const uint8_t *bytes = in->bytes + in->pos;
    uint8_t fill = (bytes[count - 1] & 0x80) != 0 ? 0xFF : 0;
    for (size_t i = 0; i < (size_t)LIMBS * 8; i++) {
        sum->limb[i / 8] |= (uint64_t)(i < count ? bytes[i] : fill) << (i % 8 * 8);
    }
    in->pos += count;
    return true;
}

/* The sum as a numeric; false when it has too many digits. */
static bool fitted(const struct sum_numeric *sum, struct kappa_numeric *out)
{
    uint64_t sign = (sum->limb[1] & UINT64_C(1) << 63) != 0 ? UINT64_MAX : 0;
    int128 value = (int128)((uint128)sum->limb[1] << 64 | sum->limb[0]);
    if (sum->over != 0 || sum->limb[2] != sign || sum->limb[3] != sign || !numeric_fits(value)) {
        return false;
    }
    *out = numeric_make(value, sum->scale);
    return true;
}

static void result(const struct agg_slot *slot, const void *at, struct arena *arena,
                   struct expr_vec *out)
{
    (void)arena;
    const struct sum_numeric *sum = at;
    struct kappa_numeric total;
    if (sum->n == 0) {
        out->state[0] = EXPR_NULL;
    } else if (!fitted(sum, &total)) {
        out->state[0] = EXPR_ERROR_OVERFLOW;
    } else if (is_average(slot)) {
        struct kappa_numeric n = numeric_make((int128)sum->n, 0);
        out->state[0] = (uint8_t)numeric_divide(total, n, &out->n[0]);
    } else {
        out->state[0] = EXPR_OK;
        out->n[0] = total;
    }
}

const struct agg_operator agg_sum_numeric = {.bytes = sizeof(struct sum_numeric),
                                             .update = update,
                                             .encode = encode,
                                             .decode = decode,
                                             .merge = merge,
                                             .result = result};
