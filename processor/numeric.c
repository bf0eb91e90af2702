/* Arithmetic of exact decimals. Own header: numeric.h. */
#include "processor/numeric.h"

#define E19 UINT64_C(10000000000000000000)

uint128 numeric_power10(uint32_t n)
{
    static const uint64_t powers[] = {1,
                                      10,
                                      100,
                                      1000,
                                      10000,
                                      100000,
                                      1000000,
                                      10000000,
                                      100000000,
                                      1000000000,
                                      10000000000,
                                      100000000000,
                                      1000000000000,
                                      10000000000000,
                                      100000000000000,
                                      1000000000000000,
                                      10000000000000000,
                                      100000000000000000,
                                      1000000000000000000,
                                      E19};
    ASSERT_CMP(n, <=, NUMERIC_DIGITS);
    return n < array_len(powers) ? (uint128)powers[n] : (uint128)E19 * powers[n - 19];
}

uint32_t numeric_digits(uint128 value)
{
    uint32_t count = 1;
    while (count < NUMERIC_DIGITS && value >= numeric_power10(count)) {
        count++;
    }
    return count;
}

int numeric_compare(struct kappa_numeric a, struct kappa_numeric b)
{
    int128 x = numeric_coefficient(a);
    int128 y = numeric_coefficient(b);
    if (a.scale != b.scale && x != 0 && y != 0) {
        bool first = a.scale < b.scale;
        uint32_t apart = first ? b.scale - a.scale : a.scale - b.scale;
        int128 *widened = first ? &x : &y;
        int sign = *widened < 0 ? -1 : 1;
        if (__builtin_mul_overflow(*widened, (int128)numeric_power10(apart), widened)) {
            return first ? sign : -sign; /* it is beyond all coefficients */
        }
    }
    return (x > y) - (x < y);
}
