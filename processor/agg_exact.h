/* Sums that are never rounded: of doubles, of their squares, of wide integers. The sum is the same
 * in whatever order values and partial sums are added; it is rounded once, when it is read.
 *
 * A sum is an integer in two's complement times 2^base. While 128 bits hold it, it stands in the
 * struct, and adding a double is a shift and an addition; when small and large values are too far
 * apart, or the sum grows too long, it moves to a block of the pool, which grows as needed (the
 * sums of all doubles fit 35 limbs, those of their squares 70).
 *
 * NaN and infinities are flags beside it. -0 counts as 0.
 *
 * Bytes, a function of the sum alone: varint length << 4 | sign << 3 | flags; if length > 0 the
 * zigzag varint exponent and so many bytes LE, an odd number whose last byte is not 0. */
#ifndef KAPPA_PROCESSOR_AGG_EXACT_H
#define KAPPA_PROCESSOR_AGG_EXACT_H

#include "processor/agg_operator.h"

#include <string.h>

enum { AGG_EXACT_NAN = 1, AGG_EXACT_INFINITE = 2, AGG_EXACT_MINUS_INFINITE = 4 };

struct agg_exact { /* zeroed: 0 */
    int32_t base;
    uint16_t limbs;  /* of 64 bits: 0 or 2 in the struct, more: a block of the pool */
    uint8_t special; /* AGG_EXACT_... */
    uint8_t seen;    /* for the owner */

    union {
        uint64_t in[2];
        uint64_t *block; /* base is a multiple of 64; the top limb has its upper two bits equal */
    };
};

/* Sign and magnitude, to count on with: the result of reading a sum. */
#define AGG_BIG_LIMBS 80

struct agg_big {
    int32_t exponent;
    uint32_t count; /* limbs; 0: zero; the last one is not 0 */
    bool negative;
    uint64_t limb[AGG_BIG_LIMBS];
};

/* Adds +-magnitude * 2^exponent. */
void agg_exact_add(struct agg_exact *sum, struct pool *pool, uint128 magnitude, bool negative,
                   int32_t exponent);
void agg_exact_add_int(struct agg_exact *sum, struct pool *pool, int64_t value);
void agg_exact_add_square(struct agg_exact *sum, struct pool *pool, double value);
/* NaN or an infinity. */
void agg_exact_add_special(struct agg_exact *sum, double value);
void agg_exact_merge(struct agg_exact *sum, struct pool *pool, const struct agg_exact *more);
void agg_exact_free(struct agg_exact *sum, struct pool *pool);

static inline size_t agg_exact_owned(const struct agg_exact *sum)
{
    return sum->limbs > 2 ? sum->limbs * sizeof(uint64_t) : 0;
}

void agg_exact_encode(const struct agg_exact *sum, struct buf *out);
/* Adds to the sum. squares: it is of squares, which need twice the range. */
bool agg_exact_decode(struct agg_exact *sum, struct pool *pool, struct agg_cursor *in,
                      bool squares);
/* The nearest double, ties to even; infinite when it is out of range. Flags are not looked at. */
double agg_exact_round(const struct agg_exact *sum);

/* The value that the flags of infinite and undefined values give, or 0. */
static inline double agg_exact_special(const struct agg_exact *sum)
{
    return sum->special == 0                          ? 0.0
           : sum->special == AGG_EXACT_INFINITE       ? __builtin_inf()
           : sum->special == AGG_EXACT_MINUS_INFINITE ? -__builtin_inf()
                                                      : __builtin_nan("");
}

void agg_big_from(struct agg_big *big, const struct agg_exact *sum);
/* By a positive number. */
void agg_big_multiply(struct agg_big *big, uint64_t factor);
void agg_big_square(struct agg_big *big);
/* a - b into a. */
void agg_big_subtract(struct agg_big *a, const struct agg_big *b);
/* The nearest double times a power of two, as frexp: 0 or +-[0.5, 1], *exponent. */
double agg_big_round(const struct agg_big *big, int *exponent);

struct agg_double_parts {
    uint64_t mantissa; /* below 2^53 */
    int32_t exponent;
    bool negative;
};

static inline bool agg_double_split(double value, struct agg_double_parts *parts)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    uint64_t exponent = bits >> 52 & 0x7FF;
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    parts->mantissa = exponent == 0 ? fraction : fraction | UINT64_C(1) << 52;
    parts->exponent = (int32_t)(exponent == 0 ? 1 : exponent) - 1075;
    parts->negative = bits >> 63 != 0;
    return exponent != 0x7FF;
}

static inline void agg_exact_add_double(struct agg_exact *sum, struct pool *pool, double value)
{
    struct agg_double_parts parts;
    if (!agg_double_split(value, &parts)) {
        agg_exact_add_special(sum, value);
        return;
    }
    uint32_t shift = (uint32_t)parts.exponent - (uint32_t)sum->base;
    if (sum->limbs == 2 && shift <= 73) {
        int128 now = (int128)((uint128)sum->in[1] << 64 | sum->in[0]);
        int128 more = (int128)((uint128)parts.mantissa << shift);
        int128 total = 0;
        if (!__builtin_add_overflow(now, parts.negative ? -more : more, &total)) {
            sum->in[0] = (uint64_t)total;
            sum->in[1] = (uint64_t)((uint128)total >> 64);
            return;
        }
    }
    agg_exact_add(sum, pool, parts.mantissa, parts.negative, parts.exponent);
}

#endif
