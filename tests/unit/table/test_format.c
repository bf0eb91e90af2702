/* Goal: keys are ordered as LMDB orders them by itself, so that whoever opens an environment without this
 * order finds the same rows.
 * Method: random keys of all short lengths that differ late, against memcmp; each in memory of its own
 * length, so that a sanitizer sees a byte read too many. */
#include "tests/unit/unit.h"

#include "base/prng.h"
#include "table/format.h"

#include <stdlib.h>
#include <string.h>

enum { LEN_MAX = 40 };

static MDB_val key_of(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = xmalloc(len > 0 ? len : 1);
    memcpy(copy, bytes, len);
    return val_of(copy, len);
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void test_key_order(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("key_order"));
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[2][LEN_MAX];
        size_t len = prng_below(&prng, LEN_MAX + 1);
        for (size_t k = 0; k < LEN_MAX; k++) {
            bytes[0][k] = (uint8_t)prng_next(&prng);
        }
        memcpy(bytes[1], bytes[0], LEN_MAX);
        for (uint64_t k = prng_below(&prng, 3); k > 0; k--) {
            bytes[1][prng_below(&prng, LEN_MAX)] = (uint8_t)prng_next(&prng);
        }
        size_t other = prng_below(&prng, 2) == 0 ? len : prng_below(&prng, LEN_MAX + 1);
        MDB_val a = key_of(bytes[0], len);
        MDB_val b = key_of(bytes[1], other);
        int order = bytes_order(a.mv_data, a.mv_size, b.mv_data, b.mv_size);
        assert_int_equal(sign(format_key_order(&a, &b)), sign(order));
        assert_int_equal(sign(format_key_order(&b, &a)), -sign(order));
        free(a.mv_data);
        free(b.mv_data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
