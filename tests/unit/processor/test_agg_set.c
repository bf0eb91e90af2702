/* Goal: the values of several sources that are read together (agg_unique.h), and those of a set, are all of
 * them, each once, in the order in which they first come, whatever their lengths and number.
 * Method: random values of each type from a small world, against a list that is searched from its
 * beginning. */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/prng.h"
#include "processor/agg_set.h"
#include "processor/agg_unique.h"
#include "processor/agg_value.h"
#include "processor/numeric.h"
#include "processor/value_codec.h"

#include <string.h>

enum { NAIVE_MAX = 12000, TEXT_MAX = 40 };

struct naive {
    uint32_t count;
    uint32_t len[NAIVE_MAX];
    uint8_t text[NAIVE_MAX][TEXT_MAX];
};

static bool naive_add(struct naive *naive, const uint8_t *text, uint32_t len)
{
    for (uint32_t i = 0; i < naive->count; i++) {
        if (naive->len[i] == len && memcmp(naive->text[i], text, len) == 0) {
            return false;
        }
    }
    assert_true(naive->count < NAIVE_MAX);
    memcpy(naive->text[naive->count], text, len);
    naive->len[naive->count++] = len;
    return true;
}

/* Texts of one length differ in their last bytes, in their first ones, or both. */
static uint32_t text_make(struct prng *prng, uint32_t world, uint8_t *text)
{
    uint32_t number = (uint32_t)prng_below(prng, world);
    uint32_t len = number * 7 % TEXT_MAX;
    memset(text, (int)(number % 3), TEXT_MAX);
    for (uint32_t i = 0; i < len && i < 4; i++) {
        text[number % 2 == 0 ? i : len - 1 - i] = (uint8_t)(number >> 8 * i);
    }
    return len;
}

/* A value of the type; its encoded bytes are appended to out, where they begin at the end of before. */
static void value_make(struct prng *prng, uint32_t world, enum kappa_type type, struct buf *out)
{
    uint8_t text[TEXT_MAX];
    uint32_t number = (uint32_t)prng_below(prng, world);
    struct kappa_value value = {.type = type};
    switch (kappa_type_payload(type)) {
    case KAPPA_PAYLOAD_BYTES:
        value.s = (struct kappa_text){(const char *)text, text_make(prng, world, text)};
        break;
    case KAPPA_PAYLOAD_DOUBLE:
        value.d = (double)number / 2;
        break;
    case KAPPA_PAYLOAD_NUMERIC:
        value.n = numeric_make((int128)number * 1000003, number % 4);
        break;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        value.i = number % 2 == 0 ? (int64_t)number : -(int64_t)number * 1000000007;
        break;
    }
    value = agg_value_canonical(value);
    value_encode(out, &value);
}

/* What one source has stored of up to `most` different values; their encoded bytes are `part`. */
static void part_make(struct prng *prng, enum kappa_type type, uint32_t world, uint32_t most,
                      struct naive *part, struct buf *bytes)
{
    uint32_t wanted = (uint32_t)prng_below(prng, most + 1);
    part->count = 0;
    buf_reset(bytes);
    for (uint32_t i = 0; i < wanted; i++) {
        size_t from = bytes->len;
        value_make(prng, world, type, bytes);
        if (!naive_add(part, bytes->data + from, (uint32_t)(bytes->len - from))) {
            bytes->len = from;
        }
    }
}

static void assert_same(const struct agg_set *set, const struct naive *naive)
{
    assert_int_equal(agg_set_count(set), naive->count);
    for (uint32_t i = 0; i < naive->count; i++) {
        uint32_t len = 0;
        const uint8_t *text = agg_set_value(set, i, &len);
        assert_int_equal(len, naive->len[i]);
        assert_memory_equal(text, naive->text[i], len);
    }
}

static void assert_unique(const struct agg_unique *unique, enum kappa_type type,
                          const struct naive *naive)
{
    struct arena arena;
    struct kappa_value *values = NULL;
    struct buf bytes = {0};
    arena_init(&arena);
    assert_int_equal(agg_unique_values(unique, type, &arena, NULL), naive->count);
    assert_int_equal(agg_unique_values(unique, type, &arena, &values), naive->count);
    for (uint32_t i = 0; i < naive->count; i++) {
        buf_reset(&bytes);
        value_encode(&bytes, &values[i]);
        assert_int_equal(bytes.len, naive->len[i]);
        assert_memory_equal(bytes.data, naive->text[i], bytes.len);
    }
    buf_free(&bytes);
    arena_free(&arena);
}

static void unions(struct prng *prng, enum kappa_type type, uint32_t world, uint32_t most,
                   uint32_t parts)
{
    static struct naive all;
    static struct naive part;
    struct pool pool;
    struct agg_unique *unique = NULL;
    struct buf bytes = {0};
    pool_init(&pool);
    all.count = 0;
    for (uint32_t p = 0; p < parts; p++) {
        part_make(prng, type, world, most, &part, &bytes);
        struct agg_cursor in = {.bytes = bytes.data, .len = bytes.len};
        if (part.count > 0) {
            assert_true(agg_unique_add(&unique, &pool, &in, part.count, type));
            in.pos = 0;
            in.len--; /* broken off */
            struct agg_unique *none = NULL;
            assert_false(agg_unique_add(&none, &pool, &in, part.count, type));
            assert_null(none);
        }
        for (uint32_t i = 0; i < part.count; i++) {
            (void)naive_add(&all, part.text[i], part.len[i]);
        }
        assert_unique(unique, type, &all);
        assert_false(agg_unique_is_full(unique));
    }
    agg_unique_fill(&unique, &pool);
    assert_true(agg_unique_is_full(unique));
    struct agg_cursor in = {.bytes = (const uint8_t *)"\1a23456789", .len = 11};
    assert_true(agg_unique_add(&unique, &pool, &in, 1, type)); /* for good */
    assert_true(agg_unique_is_full(unique));
    agg_unique_free(unique, &pool);
    buf_free(&bytes);
    assert_int_equal(pool.used_bytes, 0);
    pool_close(&pool);
}

static void test_unions(void **state)
{
    (void)state;

    static const enum kappa_type types[] = {KAPPA_TYPE_TEXT, KAPPA_TYPE_BIGINT, KAPPA_TYPE_DOUBLE,
                                            KAPPA_TYPE_NUMERIC};
    struct prng prng;
    prng_init(&prng, unit_seed("agg_set"));
    for (int i = 0; i < 400; i++) {
        uint32_t world = 1 + (uint32_t)prng_below(&prng, 300);
        unions(&prng, types[i % 4], world, (uint32_t)prng_below(&prng, 60),
               1 + (uint32_t)prng_below(&prng, 9));
    }
    for (int i = 0; i < 4; i++) {
        unions(&prng, types[i], 10000, 3000, 4); /* more than are kept as they are */
    }
}

/* Values whose hashes are all the same (the first word takes the hash's own away), and some others. */
static void crafted(struct prng *prng, uint8_t *text)
{
    uint64_t words[2] = {UINT64_C(0x9E3779B97F4A7C15), prng_below(prng, 5000)};
    if (prng_below(prng, 8) == 0) {
        words[0] = prng_below(prng, 100);
    }
    memcpy(text, words, sizeof words);
}

/* They are found in another way, and nobody sees a difference: numbers, order, growth, unions. */
static void test_same_hashes(void **state)
{
    (void)state;
    static struct naive all;
    struct pool pool;
    struct prng prng;
    struct agg_set *set = NULL;
    struct agg_set *rest = NULL;
    pool_init(&pool);
    prng_init(&prng, unit_seed("same_hashes"));
    all.count = 0;
    for (int i = 0; i < 9000; i++) {
        uint8_t text[TEXT_MAX];
        uint32_t number = UINT32_MAX;
        crafted(&prng, text);
        if (i >= 6000) { /* a part of another partition */
            rest = agg_set_add(rest, &pool, text, 16, (size_t)1 << 28);
            continue;
        }
        bool new = naive_add(&all, text, 16);
        uint32_t before = agg_set_count(set);
        set = agg_set_put(set, &pool, text, 16, (size_t)1 << 28, &number);
        assert_int_equal(agg_set_count(set), before + new);
        uint32_t len = 0;
        assert_memory_equal(agg_set_value(set, number, &len), text, 16);
    }
    assert_same(set, &all);
    for (uint32_t i = 0; i < agg_set_count(rest); i++) {
        uint32_t len = 0;
        const uint8_t *text = agg_set_value(rest, i, &len);
        (void)naive_add(&all, text, len);
    }
    set = agg_set_union(set, &pool, rest, (size_t)1 << 28);
    assert_same(set, &all);
    set = agg_set_union(set, &pool, rest, 16 * (size_t)all.count); /* nothing is new: it fits */
    assert_same(set, &all);
    set = agg_set_add(set, &pool, "new", 3, 16 * (size_t)all.count);
    assert_ptr_equal(set, AGG_SET_FULL);
    agg_set_free(rest, &pool);
    assert_int_equal(pool.used_bytes, 0);
    pool_close(&pool);
}

static void test_limit(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool);
    struct agg_set *set = agg_set_add(NULL, &pool, "ab", 2, 3);
    struct agg_set *more = agg_set_add(NULL, &pool, "cd", 2, 3);
    set = agg_set_union(set, &pool, more, 3);
    assert_ptr_equal(set, AGG_SET_FULL);
    agg_set_free(more, &pool);
    assert_int_equal(pool.used_bytes, 0);
    pool_close(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unions),
        cmocka_unit_test(test_same_hashes),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
