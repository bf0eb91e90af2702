/* Goal: arena, pool, buf and histogram keep what is put into them and count what they hand out.
 * Method: random operations, each block filled with a pattern that is checked when it is freed. */
#include "tests/unit/unit.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/histogram.h"
#include "base/pool.h"
#include "base/prng.h"

#include <string.h>

static void fill(uint8_t *block, size_t size, uint8_t tag)
{
    memset(block, tag, size);
}

static void check(const uint8_t *block, size_t size, uint8_t tag)
{
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(block[i], tag);
    }
}

static void test_pool(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("pool"));
    struct pool pool;
    pool_init(&pool);

    enum { SLOTS = 300 };

    uint8_t *blocks[SLOTS] = {NULL};
    size_t sizes[SLOTS] = {0};
    size_t expected = 0;
    for (int round = 0; round < 20000; round++) {
        size_t slot = prng_below(&prng, SLOTS);
        if (blocks[slot] != NULL) {
            check(blocks[slot], sizes[slot], (uint8_t)slot);
            pool_free(&pool, blocks[slot], sizes[slot]);
            expected -= pool_block_size(sizes[slot]);
            blocks[slot] = NULL;
        } else {
            sizes[slot] = 1 + prng_below(&prng, prng_below(&prng, 50) == 0 ? 60000 : 700);
            blocks[slot] = pool_alloc(&pool, sizes[slot]);
            assert_int_equal((uintptr_t)blocks[slot] % 16, 0);
            assert_true(pool_block_size(sizes[slot]) >= sizes[slot]);
            expected += pool_block_size(sizes[slot]);
            fill(blocks[slot], sizes[slot], (uint8_t)slot);
        }
        assert_int_equal(pool.used_bytes, expected);
    }
    for (size_t slot = 0; slot < SLOTS; slot++) {
        if (blocks[slot] != NULL) {
            check(blocks[slot], sizes[slot], (uint8_t)slot);
            pool_free(&pool, blocks[slot], sizes[slot]);
        }
    }
    assert_int_equal(pool.used_bytes, 0);
    pool_close(&pool);
}

static void test_arena(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("arena"));
    struct arena arena;
    arena_init(&arena);
    for (int round = 0; round < 20; round++) {
        enum { BLOCKS = 200 };

        uint8_t *blocks[BLOCKS];
        size_t sizes[BLOCKS];
        for (size_t i = 0; i < BLOCKS; i++) {
            sizes[i] = prng_below(&prng, i % 50 == 0 ? 200000 : 2000);
            blocks[i] = arena_alloc(&arena, sizes[i]);
            fill(blocks[i], sizes[i], (uint8_t)i);
        }
        for (size_t i = 0; i < BLOCKS; i++) {
            check(blocks[i], sizes[i], (uint8_t)i);
        }
        arena_reset(&arena);
    }
    assert_string_equal(arena_printf(&arena, "%d-%s", 7, "x"), "7-x");
    arena_free(&arena);
}

static void test_buf_varint(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("varint"));
    struct buf buf = {0};

    enum { COUNT = 2000 };

    uint64_t values[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = prng_next(&prng) >> prng_below(&prng, 64);
        buf_append_varint(&buf, values[i]);
    }
    size_t pos = 0;
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t value;
        assert_true(varint_read(buf.data, buf.len, &pos, &value));
        assert_int_equal(value, values[i]);
    }
    uint64_t value;
    assert_false(varint_read(buf.data, buf.len, &pos, &value));
    const uint8_t too_long[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    pos = 0;
    assert_false(varint_read(too_long, sizeof too_long, &pos, &value));
    buf_reset(&buf);
    assert_string_equal(buf_text(&buf), "");
    buf_printf(&buf, "%s %d", "a", 1);
    assert_string_equal(buf_text(&buf), "a 1");
    buf_free(&buf);
}

static void test_histogram(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("histogram"));
    struct histogram parts[2];
    memset(parts, 0, sizeof parts);
    uint64_t most[HISTOGRAM_COUNTS] = {0}; /* by a recount from the other end */
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        int64_t took = (int64_t)prng_below(&prng, UINT64_C(1) << prng_below(&prng, 26));
        took = i % 7 == 0 ? histogram_bounds_us[i % HISTOGRAM_BOUNDS] + (int64_t)(i % 3) - 1 : took;
        uint32_t class = HISTOGRAM_BOUNDS;
        while (class > 0 && took <= histogram_bounds_us[class - 1]) {
            class --;
        }
        most[class]++;
        sum += (uint64_t)took;
        histogram_add(&parts[i % 2], took);
    }
    histogram_add(&parts[0], -5); /* a clock that went back */
    most[0]++;
    histogram_merge(&parts[0], &parts[1]);
    json_t *told = histogram_to_json(&parts[0]);
    struct histogram back;
    assert_true(histogram_from_json(told, &back));
    assert_memory_equal(back.counts, most, sizeof most);
    assert_int_equal(back.sum_us, sum);
    /* At bounds a quantile is exact. */
    uint64_t below = 0;
    assert_int_equal(histogram_count(&back), 20001);
    for (uint32_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
        below += most[i];
        assert_in_range(histogram_quantile_us(&back, (double)below / 20001),
                        histogram_bounds_us[i] - 1, histogram_bounds_us[i]);
        int64_t beyond = histogram_quantile_us(&back, ((double)below + 0.5) / 20001);
        assert_true(beyond >= histogram_bounds_us[i]);
    }
    struct histogram part;
    assert_true(histogram_since(&parts[0], &parts[1], &part));
    assert_int_equal(histogram_count(&part), 10001);
    assert_false(histogram_since(&parts[1], &parts[0], &part));
    memset(&part, 0, sizeof part);
    assert_int_equal(histogram_quantile_us(&part, 0.99), -1);
    assert_false(histogram_from_json(NULL, &back));
    json_array_append_new(json_object_get(told, "counts"), json_integer(1));
    assert_false(histogram_from_json(told, &back));
    json_decref(told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_buf_varint),
        cmocka_unit_test(test_histogram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
