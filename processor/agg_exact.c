/* Sums without rounding. Own header: agg_exact.h. */
#include "processor/agg_exact.h"

#include <math.h>

/* ---- Bits. */

/* value is not 0. */
static uint32_t trailing_zeros(uint128 value)
{
    uint64_t low = (uint64_t)value;
    return low != 0 ? (uint32_t)__builtin_ctzll(low)
                    : 64 + (uint32_t)__builtin_ctzll((uint64_t)(value >> 64));
}

static int32_t min_i32(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t max_i32(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* A number to add: an odd magnitude, or 0. */
struct term {
    uint128 magnitude;
    int32_t exponent;
    bool negative;
};

static struct term term_make(uint128 magnitude, bool negative, int32_t exponent)
{
    if (magnitude == 0) {
        return (struct term){0};
    }
    uint32_t zeros = trailing_zeros(magnitude);
    return (struct term){magnitude >> zeros, exponent + (int32_t)zeros, negative};
}

/* The bit above its highest one. */
static int32_t term_top(const struct term *term)
{
    return term->exponent + (int32_t)u128_bits(term->magnitude);
}

/* ---- In the struct. */

static struct term term_inside(const struct agg_exact *sum)
{
    uint128 bits = (uint128)sum->in[1] << 64 | sum->in[0];
    bool negative = (int64_t)sum->in[1] < 0;
    return sum->limbs == 0 ? (struct term){0}
                           : term_make(negative ? -bits : bits, negative, sum->base);
}

/* Bits below the lowest one, for later values that are a little smaller. */
#define SLACK 10

static void inside_set(struct agg_exact *sum, uint128 bits, int32_t base)
{
    sum->base = base;
    sum->limbs = 2;
    sum->in[0] = (uint64_t)bits;
    sum->in[1] = (uint64_t)(bits >> 64);
}

static uint128 shifted(const struct term *term, int32_t base)
{
    if (term->magnitude == 0) {
        return 0;
    }
    uint128 bits = term->magnitude << (uint32_t)(term->exponent - base);
    return term->negative ? -bits : bits;
}

/* ---- In a block. */

static bool is_negative(const uint64_t *limb, uint32_t count)
{
    return limb[count - 1] >> 63 != 0;
}

/* Adds where there is room. */
static void block_add(const struct agg_exact *sum, const struct term *term)
{
    uint32_t shift = (uint32_t)(term->exponent - sum->base);
    uint32_t bits = shift % 64;
    uint128 low = term->magnitude << bits;
    uint64_t words[3] = {(uint64_t)low, (uint64_t)(low >> 64),
                         bits == 0 ? 0 : (uint64_t)(term->magnitude >> (128 - bits))};
    uint64_t carry = 0;
    for (uint32_t i = shift / 64, w = 0; i < sum->limbs && (w < 3 || carry != 0); i++, w++) {
        uint64_t word = w < 3 ? words[w] : 0;
        uint64_t limb = sum->block[i];
        uint128 result =
            term->negative ? (uint128)limb - word - carry : (uint128)limb + word + carry;
        sum->block[i] = (uint64_t)result;
        carry = (uint64_t)(result >> 64) & 1;
    }
}

/* A block from `base` up to at least `top`, with what is in the old one. */
static void block_grow(struct agg_exact *sum, struct pool *pool, int32_t base, int32_t top)
{
    uint32_t limbs = ((uint32_t)(top - base) + 63) / 64;
    uint64_t *block = pool_alloc(pool, limbs * sizeof *block);
    memset(block, 0, limbs * sizeof *block);
    if (sum->limbs > 2) {
        uint32_t skip = (uint32_t)(sum->base - base) / 64;
        ASSERT_CMP(skip + sum->limbs, <=, limbs);
        memcpy(block + skip, sum->block, sum->limbs * sizeof *block);
        int fill = is_negative(sum->block, sum->limbs) ? 0xFF : 0;
        memset(block + skip + sum->limbs, fill, (limbs - skip - sum->limbs) * sizeof *block);
        pool_free(pool, sum->block, sum->limbs * sizeof *block);
    }
    sum->block = block;
    sum->limbs = u16_from(limbs);
    sum->base = base;
}

static int32_t whole_limbs(int32_t exponent)
{
    return exponent & ~63;
}

static void add_to_block(struct agg_exact *sum, struct pool *pool, const struct term *term)
{
    uint64_t top_limb = sum->block[sum->limbs - 1];
    bool tight = (top_limb >> 63) != (top_limb >> 62 & 1);
    int32_t top = sum->base + 64 * sum->limbs;
    int32_t needed = max_i32(term_top(term) + 3, tight ? top + 1 : top);
    if (term->exponent < sum->base || needed > top) {
        block_grow(sum, pool, min_i32(sum->base, whole_limbs(term->exponent)), needed);
    }
    block_add(sum, term);
}

/* ---- Adding. */

void agg_exact_add(struct agg_exact *sum, struct pool *pool, uint128 magnitude, bool negative,
                   int32_t exponent)
{
    if (magnitude == 0) {
        return;
    }
    if (sum->limbs == 0 && magnitude >> 64 == 0) {
        inside_set(sum, negative ? -(magnitude << SLACK) : magnitude << SLACK, exponent - SLACK);
        return;
    }
    struct term term = term_make(magnitude, negative, exponent);
    if (sum->limbs > 2) {
        add_to_block(sum, pool, &term);
        return;
    }
    struct term old = term_inside(sum);
    int32_t low = old.magnitude == 0 ? term.exponent : min_i32(old.exponent, term.exponent);
    int32_t high = old.magnitude == 0 ? term_top(&term) : max_i32(term_top(&old), term_top(&term));
    int32_t room = 125 - (high - low);
    if (room >= 0) {
        /* Below the lowest bit there is room for later values that are a little smaller, and the
         * other half above. */
        int32_t wanted = low - min_i32(low, exponent) + SLACK;
        int32_t base = low - min_i32(wanted, room / 2);
        inside_set(sum, shifted(&old, base) + shifted(&term, base), base);
        return;
    }
    sum->limbs = 0;
    block_grow(sum, pool, whole_limbs(low), high + 3);
    block_add(sum, &term);
    if (old.magnitude != 0) {
        add_to_block(sum, pool, &old);
    }
}

void agg_exact_add_int(struct agg_exact *sum, struct pool *pool, int64_t value)
{
    agg_exact_add(sum, pool, i64_magnitude(value), value < 0, 0);
}

void agg_exact_add_square(struct agg_exact *sum, struct pool *pool, double value)
{
    struct agg_double_parts parts;
    if (!agg_double_split(value, &parts)) {
        agg_exact_add_special(sum, value);
        return;
    }
    agg_exact_add(sum, pool, (uint128)parts.mantissa * parts.mantissa, false, 2 * parts.exponent);
}

void agg_exact_add_special(struct agg_exact *sum, double value)
{
    unsigned flag = value != value ? AGG_EXACT_NAN
                    : value > 0    ? AGG_EXACT_INFINITE
                                   : AGG_EXACT_MINUS_INFINITE;
    sum->special = (uint8_t)(sum->special | flag);
}

static void add_big(struct agg_exact *sum, struct pool *pool, const struct agg_big *big)
{
    for (uint32_t i = 0; i < big->count; i++) {
        agg_exact_add(sum, pool, big->limb[i], big->negative, big->exponent + 64 * (int32_t)i);
    }
}

void agg_exact_merge(struct agg_exact *sum, struct pool *pool, const struct agg_exact *more)
{
    sum->special |= more->special;
    if (more->limbs <= 2) {
        struct term term = term_inside(more);
        agg_exact_add(sum, pool, term.magnitude, term.negative, term.exponent);
        return;
    }
    struct agg_big big;
    agg_big_from(&big, more);
    add_big(sum, pool, &big);
}

void agg_exact_free(struct agg_exact *sum, struct pool *pool)
{
    if (sum->limbs > 2) {
        pool_free(pool, sum->block, sum->limbs * sizeof(uint64_t));
    }
    *sum = (struct agg_exact){0};
}

/* ---- Sign and magnitude. */

static void big_trim(struct agg_big *big)
{
    while (big->count > 0 && big->limb[big->count - 1] == 0) {
        big->count--;
    }
}

void agg_big_from(struct agg_big *big, const struct agg_exact *sum)
{
    big->count = sum->limbs;
    big->exponent = sum->base;
    big->negative = false;
    if (sum->limbs == 0) {
        return;
    }
    ASSERT_CMP(sum->limbs, <=, AGG_BIG_LIMBS);
    memcpy(big->limb, sum->limbs > 2 ? sum->block : sum->in, sum->limbs * sizeof(uint64_t));
    big->negative = is_negative(big->limb, big->count);
    uint64_t carry = 1;
    for (uint32_t i = 0; i < big->count && big->negative; i++) {
        big->limb[i] = ~big->limb[i] + carry;
        carry = carry != 0 && big->limb[i] == 0;
    }
    big_trim(big);
}

void agg_big_multiply(struct agg_big *big, uint64_t factor)
{
    uint64_t carry = 0;
    for (uint32_t i = 0; i < big->count; i++) {
        uint128 product = (uint128)big->limb[i] * factor + carry;
        big->limb[i] = (uint64_t)product;
        carry = (uint64_t)(product >> 64);
    }
    if (carry != 0) {
        ASSERT_CMP(big->count, <, AGG_BIG_LIMBS);
        big->limb[big->count++] = carry;
    }
    big_trim(big);
}

void agg_big_square(struct agg_big *big)
{
    struct agg_big in = *big;
    ASSERT_CMP(2 * in.count, <=, AGG_BIG_LIMBS);
    memset(big->limb, 0, sizeof big->limb);
    for (uint32_t i = 0; i < in.count; i++) {
        uint64_t carry = 0;
        for (uint32_t k = 0; k < in.count; k++) {
            uint128 now = (uint128)in.limb[i] * in.limb[k] + big->limb[i + k] + carry;
            big->limb[i + k] = (uint64_t)now;
            carry = (uint64_t)(now >> 64);
        }
        big->limb[i + in.count] = carry;
    }
    big->count = 2 * in.count;
    big->exponent *= 2;
    big->negative = false;
    big_trim(big);
}

/* Writes the same number with a lower exponent. */
static void big_lower(struct agg_big *big, int32_t exponent)
{
    uint32_t shift = (uint32_t)(big->exponent - exponent);
    uint32_t limbs = shift / 64;
    uint32_t bits = shift % 64;
    ASSERT_CMP(big->count + limbs, <, AGG_BIG_LIMBS);
    big->exponent = exponent;
    if (big->count == 0) {
        return;
    }
    big->limb[big->count] = 0;
    for (uint32_t i = big->count + 1; i-- > 0;) {
        uint64_t below = i > 0 && bits > 0 ? big->limb[i - 1] >> (64 - bits) : 0;
        big->limb[i + limbs] = big->limb[i] << bits | below;
    }
    memset(big->limb, 0, limbs * sizeof(uint64_t));
    big->count += limbs + 1;
    big_trim(big);
}

static int big_compare(const struct agg_big *a, const struct agg_big *b)
{
    if (a->count != b->count) {
        return a->count < b->count ? -1 : 1;
    }
    for (uint32_t i = a->count; i-- > 0;) {
        if (a->limb[i] != b->limb[i]) {
            return a->limb[i] < b->limb[i] ? -1 : 1;
        }
    }
    return 0;
}

/* a - b of magnitudes, a >= b; or a + b. */
static void big_combine(struct agg_big *out, const struct agg_big *a, const struct agg_big *b,
                        bool subtract)
{
    uint64_t carry = 0;
    uint32_t count = (a->count > b->count ? a->count : b->count) + 1;
    ASSERT_CMP(count, <=, AGG_BIG_LIMBS);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t left = i < a->count ? a->limb[i] : 0;
        uint64_t right = i < b->count ? b->limb[i] : 0;
        uint128 now = subtract ? (uint128)left - right - carry : (uint128)left + right + carry;
        out->limb[i] = (uint64_t)now;
        carry = (uint64_t)(now >> 64) & 1;
    }
    out->count = count;
    big_trim(out);
}

void agg_big_subtract(struct agg_big *a, const struct agg_big *b)
{
    struct agg_big left = *a;
    struct agg_big right = *b;
    int32_t exponent = min_i32(a->exponent, b->exponent);
    big_lower(&left, exponent);
    big_lower(&right, exponent);
    bool same_sign = left.negative == right.negative;
    bool swap = same_sign && big_compare(&left, &right) < 0;
    big_combine(a, swap ? &right : &left, swap ? &left : &right, same_sign);
    a->exponent = exponent;
    a->negative = swap ? !left.negative : left.negative;
}

static bool big_bit(const struct agg_big *big, uint32_t bit)
{
    return (big->limb[bit / 64] >> (bit % 64) & 1) != 0;
}

static uint32_t big_bits(const struct agg_big *big)
{
    return big->count == 0 ? 0
                           : 64 * big->count - (uint32_t)__builtin_clzll(big->limb[big->count - 1]);
}

/* The word of 64 bits from bit `from` on. */
static uint64_t big_word(const struct agg_big *big, uint32_t from)
{
    uint32_t limb = from / 64;
    uint32_t bits = from % 64;
    uint64_t above = limb + 1 < big->count && bits > 0 ? big->limb[limb + 1] << (64 - bits) : 0;
    return limb < big->count ? big->limb[limb] >> bits | above : 0;
}

/* Is any bit below this one set? */
static bool big_rest(const struct agg_big *big, uint32_t below)
{
    uint64_t rest = 0;
    for (uint32_t i = 0; i < below / 64; i++) {
        rest |= big->limb[i];
    }
    uint32_t bits = below % 64;
    return (rest | (bits > 0 ? big->limb[below / 64] << (64 - bits) : 0)) != 0;
}

/* The highest bits from `drop` on, rounded to even by those below; they fit a double. */
static double big_head(const struct agg_big *big, uint32_t drop)
{
    uint64_t head = big_word(big, drop);
    if (drop > 0 && big_bit(big, drop - 1)) {
        head += big_rest(big, drop - 1) || (head & 1) != 0 ? 1 : 0;
    }
    return big->negative ? -(double)head : (double)head;
}

double agg_big_round(const struct agg_big *big, int *exponent)
{
    uint32_t bits = big_bits(big);
    *exponent = 0;
    if (bits == 0) {
        return 0;
    }
    uint32_t kept = bits < 53 ? bits : 53;
    *exponent = big->exponent + (int32_t)bits;
    return ldexp(big_head(big, bits - kept), -(int)kept);
}

double agg_exact_round(const struct agg_exact *sum)
{
    struct agg_big big;
    agg_big_from(&big, sum);
    int32_t bits = (int32_t)big_bits(&big);
    if (bits == 0) {
        return 0;
    }
    /* Digits below the smallest double are rounded away in the same step. */
    int32_t drop = max_i32(max_i32(bits - 53, -1074 - big.exponent), 0);
    if (drop > bits) {
        return big.negative ? -0.0 : 0.0;
    }
    return ldexp(big_head(&big, (uint32_t)drop), big.exponent + drop);
}

/* ---- Bytes. */

/* Where the bits of a sum can be: from the lowest bit of the smallest double up to 2^64 times the
 * largest, and twice that for squares. */
#define EXPONENT_MIN (-1074)
#define TOP_MAX      (1024 + 64 + 16)

static void encode_inside(const struct agg_exact *sum, struct buf *out)
{
    struct term term = term_inside(sum);
    uint32_t bytes = (u128_bits(term.magnitude) + 7) / 8;
    uint64_t head = (uint64_t)bytes << 4 | (uint64_t)term.negative << 3 | sum->special;
    buf_reserve(out, 2 * AGG_VARINT_BYTES + sizeof term.magnitude);
    uint8_t *at = agg_put_varint(out->data + out->len, head);
    if (bytes > 0) {
        at = agg_put_varint(at, agg_zigzag(term.exponent));
        memcpy(at, &term.magnitude, sizeof term.magnitude);
        at += bytes;
    }
    *at = 0;
    out->len = (size_t)(at - out->data);
}

void agg_exact_encode(const struct agg_exact *sum, struct buf *out)
{
    if (sum->limbs <= 2) {
        encode_inside(sum, out);
        return;
    }
    struct agg_big big;
    agg_big_from(&big, sum);
    uint32_t zeros = 0;
    while (big.count > 0 && !big_bit(&big, zeros)) {
        zeros++;
    }
    uint32_t bytes = (big_bits(&big) - zeros + 7) / 8;
    buf_append_varint(out, (uint64_t)bytes << 4 | (uint64_t)big.negative << 3 | sum->special);
    if (bytes == 0) {
        return;
    }
    buf_append_varint(out, agg_zigzag(big.exponent + (int32_t)zeros));
    uint32_t skip = zeros / 64;
    uint32_t bits = zeros % 64;
    for (uint32_t i = 0; i < bytes; i++) {
        uint32_t limb = skip + i / 8;
        uint64_t above = limb + 1 < big.count && bits > 0 ? big.limb[limb + 1] << (64 - bits) : 0;
        uint64_t word = big.limb[limb] >> bits | above;
        buf_append_u8(out, (uint8_t)(word >> i % 8 * 8));
    }
}

bool agg_exact_decode(struct agg_exact *sum, struct pool *pool, struct agg_cursor *in, bool squares)
{
    uint64_t head = 0;
    uint64_t exponent_wire = 0;
    if (!agg_take_varint(in, &head)) {
        return false;
    }
    sum->special |= (uint8_t)(head & 7);
    uint64_t bytes = head >> 4;
    if (bytes == 0) {
        return (head & 8) == 0;
    }
    if (!agg_take_varint(in, &exponent_wire) || bytes > in->len - in->pos) {
        return false;
    }
    int64_t exponent = agg_unzigzag(exponent_wire);
    int64_t lowest = squares ? 2 * EXPONENT_MIN : EXPONENT_MIN;
    int64_t top = squares ? 2 * TOP_MAX : TOP_MAX;
    const uint8_t *from = in->bytes + in->pos;
    if (exponent < lowest || exponent > top || bytes > (uint64_t)(top - exponent + 7) / 8 ||
        (from[0] & 1) == 0 || from[bytes - 1] == 0) {
        return false;
    }
    if (bytes <= sizeof(uint128)) {
        uint128 magnitude = 0;
        memcpy(&magnitude, from, bytes);
        in->pos += bytes;
        agg_exact_add(sum, pool, magnitude, (head & 8) != 0, (int32_t)exponent);
        return true;
    }
    struct agg_big big = {.exponent = (int32_t)exponent,
                          .negative = (head & 8) != 0,
                          .count = ((uint32_t)bytes + 7) / 8};
    memcpy(big.limb, from, bytes);
    in->pos += bytes;
    add_big(sum, pool, &big);
    return true;
}
