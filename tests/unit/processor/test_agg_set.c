/* Goal: the union of sets that are read (loose ones) has the values of all of them, each once, in the order
 * in which they first come, whatever their lengths and number, and whether it stays loose or not.
 * Method: random sets of texts from a small world, against a list that is searched from its beginning. */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/prng.h"
#include "processor/agg_set.h"

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

/* A set of up to `most` different texts, as it is read, or NULL. */
static struct agg_set *part_make(struct prng *prng, struct pool *pool, uint32_t world,
                                 uint32_t most, struct naive *part)
{
    struct buf bytes = {0};
    uint32_t wanted = (uint32_t)prng_below(prng, most + 1);
    part->count = 0;
    for (uint32_t i = 0; i < wanted; i++) {
        uint8_t text[TEXT_MAX];
        uint32_t len = text_make(prng, world, text);
        if (naive_add(part, text, len)) {
            buf_append_varint(&bytes, len);
            buf_append(&bytes, text, len);
        }
    }
    struct agg_set *set = NULL;
    if (part->count > 0) {
        size_t pos = 0;
        set = agg_set_of_texts(pool, bytes.data, bytes.len, &pos, part->count);
        assert_int_equal(pos, bytes.len);
    }
    buf_free(&bytes);
    return set;
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

static void unions(struct prng *prng, uint32_t world, uint32_t most, uint32_t parts)
{
    static struct naive all;
    static struct naive part;
    struct pool pool;
    pool_init(&pool);
    struct agg_set *set = NULL;
    all.count = 0;
    for (uint32_t p = 0; p < parts; p++) {
        struct agg_set *more = part_make(prng, &pool, world, most, &part);
        if (p == 0) {
            set = more;
        } else {
            set = agg_set_union(set, &pool, more, (size_t)1 << 28);
            agg_set_free(more, &pool);
        }
        for (uint32_t i = 0; i < part.count; i++) {
            (void)naive_add(&all, part.text[i], part.len[i]);
        }
        assert_same(set, &all);
    }
    uint8_t text[TEXT_MAX];
    uint32_t len = text_make(prng, world, text); /* and it can be added to */
    (void)naive_add(&all, text, len);
    set = agg_set_add(set, &pool, text, len, (size_t)1 << 28);
    assert_same(set, &all);
    agg_set_free(set, &pool);
    assert_int_equal(pool.used_bytes, 0);
    pool_close(&pool);
}

static void test_unions(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("agg_set"));
    for (int i = 0; i < 400; i++) {
        uint32_t world = 1 + (uint32_t)prng_below(&prng, 300);
        unions(&prng, world, (uint32_t)prng_below(&prng, 60), 1 + (uint32_t)prng_below(&prng, 9));
    }
    unions(&prng, 10000, 3000, 4); /* more than a loose set may have */
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
    /* As it is read again: loose first, then with values added. */
    struct buf bytes = {0};
    for (uint32_t i = 0; i < all.count; i++) {
        buf_append_varint(&bytes, all.len[i]);
        buf_append(&bytes, all.text[i], all.len[i]);
    }
    size_t pos = 0;
    struct agg_set *again = agg_set_of_texts(&pool, bytes.data, bytes.len, &pos, all.count);
    for (uint32_t i = 0; i < all.count; i++) {
        again = agg_set_add(again, &pool, all.text[i], all.len[i], (size_t)1 << 28);
    }
    assert_same(again, &all);
    again = agg_set_union(again, &pool, set, 16 * (size_t)all.count); /* nothing is new: it fits */
    assert_same(again, &all);
    again = agg_set_add(again, &pool, "new", 3, 16 * (size_t)all.count);
    assert_ptr_equal(again, AGG_SET_FULL);
    agg_set_free(rest, &pool);
    agg_set_free(set, &pool);
    buf_free(&bytes);
    assert_int_equal(pool.used_bytes, 0);
    pool_close(&pool);
}

static void test_limit(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool);
    size_t pos = 0;
    const uint8_t a[] = {2, 'a', 'b'};
    const uint8_t b[] = {2, 'c', 'd'};
    struct agg_set *set = agg_set_of_texts(&pool, a, sizeof a, &pos, 1);
    pos = 0;
    struct agg_set *more = agg_set_of_texts(&pool, b, sizeof b, &pos, 1);
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
