/* Numerics as SQLite has them, which knows no decimals. Own header: query_private.h.
 *
 *     of at most 15 digits (short)      the nearest double: no other short one has the same
 *     whole, more digits, 64 bits       INTEGER
 *     all others (long)                 a double that stands for this one while the statement runs
 *
 * Doubles that stand for long ones, invariants:
 *   1. no two long ones have the same, and none has that of a short one: between two neighbouring short
 *      ones (a gap) there are at least three other doubles, mostly ten to forty;
 *   2. they are in the order of the values: a value has its nearest double, or, where that is taken or
 *      would be out of order, one in the middle of what is free between its neighbours.
 * So SQLite compares, sorts, groups and joins them as they are, and each is found again by its double.
 * Where too many long ones agree in their first 15 digits, and a gap is full, the statement fails and says
 * so. A value and its opposite have one place. */
#include "serve/query_private.h"

#include <math.h>
#include <string.h>

#define SLOTS_FIRST  1024
#define DIGITS_SHORT 15
#define SHORT_LIMIT  1000000000000000 /* 10^15 */

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#define POWER_MAX ((uint32_t)array_len(powers) - 1)

/* ---- short ones */

static struct kappa_numeric trimmed(struct kappa_numeric value)
{
    int128 coefficient = numeric_coefficient(value);
    uint32_t scale = value.scale;
    if (coefficient >= INT64_MIN && coefficient <= INT64_MAX) { /* much faster */
        int64_t small = (int64_t)coefficient;
        for (; scale > 0 && small % 10 == 0; scale--) {
            small /= 10;
        }
        return numeric_make(small, scale);
    }
    for (; scale > 0 && coefficient % 10 == 0; scale--) {
        coefficient /= 10;
    }
    return numeric_make(coefficient, scale);
}

/* Has it a short neighbour that is found without text? */
static bool is_handy(double size)
{
    return size == 0 || (size >= 1e-7 && size < 1e15);
}

/* The scale at which a handy size has 15 digits. */
static uint32_t scale_of(double size)
{
    int exponent = 0;
    (void)frexp(size, &exponent);
    int about = DIGITS_SHORT + 1 - exponent * 3 / 10; /* not too small */
    uint32_t scale = about < 0 ? 0 : about > (int)POWER_MAX ? POWER_MAX : (uint32_t)about;
    while (scale > 0 && size * powers[scale] >= SHORT_LIMIT) {
        scale--;
    }
    return scale;
}

static struct kappa_numeric short_make(double coefficient, uint32_t scale, bool negative)
{
    return trimmed(numeric_make((int64_t)(negative ? -coefficient : coefficient), scale));
}

bool query_numeric_near(double d, struct kappa_numeric *out)
{
    struct kappa_numeric near;
    double size = fabs(d);
    if (is_handy(size)) {
        uint32_t scale = scale_of(size);
        double product = size * powers[scale];
        double coefficient = rint(product);
        double beside = product - coefficient + fma(size, powers[scale], -product); /* exactly */
        coefficient += beside > 0.5 ? 1 : beside < -0.5 ? -1 : 0;
        *out = short_make(coefficient, scale, d < 0);
        return true;
    }
    if (numeric_from_double(d, DIGITS_SHORT, &near) != EXPR_OK) {
        return false;
    }
    *out = trimmed(near);
    return true;
}

bool query_numeric_short(double d, struct kappa_numeric *out)
{
    struct kappa_numeric near;
    double size = fabs(d);
    if (is_handy(size)) {
        uint32_t scale = scale_of(size);
        double coefficient = rint(size * powers[scale]);
        if (coefficient / powers[scale] != size) { /* both are exact */
            return false;
        }
        *out = short_make(coefficient, scale, d < 0);
        return true;
    }
    if (!query_numeric_near(d, &near) || numeric_to_double(near) != d) {
        return false;
    }
    *out = near;
    return true;
}

/* ---- long ones */

static uint64_t bits_of(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

static double of_bits(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* Neighbouring doubles lie side by side. d > 0. */
static struct query_long *slot_of(const struct query *query, double d)
{
    uint64_t bits = bits_of(d);
    uint64_t block = ((bits >> 5) * UINT64_C(0x9E3779B97F4A7C15)) >> 32;
    uint64_t slot = (block + (bits & 31)) & (query->long_slots - 1);
    while (query->longs[slot].stands != 0 && query->longs[slot].stands != d) {
        slot = (slot + 1) & (query->long_slots - 1);
    }
    return &query->longs[slot];
}

/* Room for one more; the memory is counted against the limit of all statements. */
static bool longs_reserve(struct query *query)
{
    if (query->long_count < query->long_slots / 2) {
        return true;
    }
    struct query_long *old = query->longs;
    uint32_t old_slots = query->long_slots;
    uint32_t slots = old_slots == 0 ? SLOTS_FIRST : 2 * old_slots;
    struct query_long *more = sqlite3_malloc64(slots * sizeof *more);
    if (more == NULL) {
        return false;
    }
    memset(more, 0, slots * sizeof *more);
    query->longs = more;
    query->long_slots = slots;
    for (uint32_t i = 0; i < old_slots; i++) {
        if (old[i].stands != 0) {
            *slot_of(query, old[i].stands) = old[i];
        }
    }
    sqlite3_free(old);
    return true;
}

void query_numerics_forget(struct query *query)
{
    sqlite3_free(query->longs);
    query->longs = NULL;
    query->long_slots = 0;
    query->long_count = 0;
}

/* The doubles between which a long numeric > 0 may have its own: first those of the short ones beside it,
 * then, as far as they are nearer, those of long ones. Bits, which are in the order of the doubles. */
struct gap {
    uint64_t low;
    uint64_t high;
};

static struct gap gap_of(struct kappa_numeric value)
{
    int128 coefficient = numeric_coefficient(value);
    uint32_t drop = numeric_digits((uint128)coefficient) - DIGITS_SHORT;
    int128 unit = (int128)numeric_power10(drop);
    int128 below = coefficient / unit;
    if (value.scale >= drop) {
        uint32_t scale = value.scale - drop;
        return (struct gap){bits_of(numeric_to_double(numeric_make(below, scale))),
                            bits_of(numeric_to_double(numeric_make(below + 1, scale)))};
    }
    int128 above = (below + 1) * unit;
    double high = numeric_fits(above) ? numeric_to_double(numeric_make(above, value.scale)) : 1e38;
    return (struct gap){bits_of(numeric_to_double(numeric_make(below * unit, value.scale))),
                        bits_of(high)};
}

/* Narrows the gap to the long ones beside the value; the slot that it has itself, or NULL. */
static struct query_long *gap_narrow(const struct query *query, struct kappa_numeric value,
                                     struct gap *gap)
{
    for (uint64_t at = gap->low + 1; at < gap->high; at++) {
        struct query_long *slot = slot_of(query, of_bits(at));
        int order = slot->stands == 0 ? 1 : numeric_compare(value, slot->value);
        if (order == 0) {
            return slot;
        }
        if (order < 0) {
            gap->high = at;
        } else if (slot->stands != 0) {
            gap->low = at;
        }
    }
    return NULL;
}

/* The slot of a long numeric > 0, which it may have just got; NULL: there is no room. */
static const struct query_long *place(struct query *query, struct kappa_numeric value)
{
    uint64_t nearest = bits_of(numeric_to_double(value));
    struct query_long *slot = slot_of(query, of_bits(nearest));
    if (slot->stands != 0 && numeric_compare(slot->value, value) == 0) {
        return slot;
    }
    struct gap gap = gap_of(value);
    slot = gap_narrow(query, value, &gap);
    if (slot != NULL || gap.high - gap.low < 2) {
        return slot;
    }
    if (nearest <= gap.low || nearest >= gap.high) {
        uint64_t free = gap.high - gap.low - 1;
        uint64_t aside = free < 3 ? 1 : 2 + free / 8; /* leaves room on either side */
        nearest = nearest <= gap.low ? gap.low + aside : gap.high - aside;
    }
    slot = slot_of(query, of_bits(nearest));
    *slot = (struct query_long){.stands = of_bits(nearest), .value = value};
    query->long_count++;
    return slot;
}

static void no_room(struct query *query, sqlite3_context *context, struct kappa_numeric value)
{
    char text[NUMERIC_TEXT];
    if (query->err.code == 0) {
        (void)err_set(&query->err, KE_LIMIT,
                      "too many numerics agree with %.*s in their first 15 digits",
                      (int)numeric_format(value, text), text);
        err_hint(&query->err, "SQL compares numbers as doubles and cannot keep these apart; `kappa "
                              "scan` and `kappa get` give them, and a materialized view can round "
                              "them or make texts of them");
    }
    sqlite3_result_error(context, query->err.text, -1);
}

/* ---- in and out */

static struct kappa_numeric opposite(struct kappa_numeric value)
{
    return numeric_make(-numeric_coefficient(value), value.scale);
}

void query_result_numeric(struct query *query, sqlite3_context *context, struct kappa_numeric given)
{
    struct kappa_numeric value = trimmed(given);
    int128 coefficient = numeric_coefficient(value);
    struct kappa_numeric near;
    if (coefficient > -SHORT_LIMIT && coefficient < SHORT_LIMIT) {
        sqlite3_result_double(context, numeric_to_double(value));
        return;
    }
    if (value.scale == 0 && coefficient >= INT64_MIN && coefficient <= INT64_MAX) {
        sqlite3_result_int64(context, (int64_t)coefficient);
        return;
    }
    double d = numeric_to_double(value);
    if (query_numeric_short(d, &near) && numeric_compare(value, near) == 0) {
        sqlite3_result_double(context, d);
        return;
    }
    if (!longs_reserve(query)) {
        sqlite3_result_error_nomem(context);
        return;
    }
    const struct query_long *slot = place(query, coefficient < 0 ? opposite(value) : value);
    if (slot == NULL) {
        no_room(query, context, value);
    } else {
        sqlite3_result_double(context, coefficient < 0 ? -slot->stands : slot->stands);
    }
}

bool query_numeric_of(const struct query *query, double d, struct kappa_numeric *out)
{
    if (query->long_count > 0) {
        const struct query_long *slot = slot_of(query, fabs(d));
        if (slot->stands != 0) {
            *out = d < 0 ? opposite(slot->value) : slot->value;
            return true;
        }
    }
    return query_numeric_short(d, out);
}

void query_scale_note(uint8_t *scale, struct kappa_numeric value)
{
    if (*scale != value.scale) {
        *scale = *scale == QUERY_SCALE_UNSEEN ? (uint8_t)value.scale : QUERY_SCALE_MIXED;
    }
}

uint32_t query_numeric_text(struct kappa_numeric value, uint8_t scale, char *text)
{
    struct kappa_numeric wider;
    if (scale <= NUMERIC_SCALE_MAX && scale > value.scale &&
        numeric_round(value, scale, NUMERIC_NEAREST, &wider) == EXPR_OK) {
        value = wider;
    }
    return numeric_format(value, text);
}
