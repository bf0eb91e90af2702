/* Goal: the cache finds what was put in and not evicted, gives dirty rows out in key order, and
 * keeps dirty rows whatever the budget.
 * Method: random operations beside a plain array; keys with long common beginnings, prefixes of
 * each other, and hashes that collide. */
#include "tests/unit/unit.h"

#include "base/digest.h"
#include "base/prng.h"
#include "processor/agg_cache.h"

#include <string.h>

#define KEYS 700

struct model_row {
    uint8_t key[64];
    size_t len;
    bool here;
    bool dirty;
    uint8_t value; /* first byte of the state */
};

struct world {
    struct arena arena;
    struct pool pool;
    struct agg_layout layout;
    struct agg_cache cache;
    struct model_row rows[KEYS];
    uint32_t hash_bits;
};

static const struct plan_aggregate count_rows = {.kind = PLAN_COUNT_ROWS,
                                                 .result_type = KAPPA_TYPE_BIGINT,
                                                 .argument = PLAN_NONE,
                                                 .filter = PLAN_NONE};

static uint64_t hash_of(const struct world *w, const struct model_row *row)
{
    return hash_bytes(row->key, row->len) >> (64 - w->hash_bits);
}

static void make_key(struct model_row *row, uint32_t number)
{
    /* source, then a text of which many are equal in the first 8, 16... bytes */
    row->key[0] = 0;
    row->key[1] = (uint8_t)(number % 3);
    uint32_t same = number % 5 * 7;
    memset(row->key + 2, 'k', same);
    int len = snprintf((char *)row->key + 2 + same, 16, "%u", number / 7);
    row->len = 2 + same + (size_t)len;
    row->key[row->len] = 0; /* some keys are others with zeros behind */
    row->len += number % 4 == 0 ? 1 : 0;
}

static struct agg_entry *find(struct world *w, const struct model_row *row)
{
    return agg_cache_find(&w->cache, hash_of(w, row), row->key, row->len);
}

static void check_all(struct world *w)
{
    size_t here = 0;
    size_t dirty = 0;
    for (size_t i = 0; i < KEYS; i++) {
        struct agg_entry *entry = find(w, &w->rows[i]);
        assert_int_equal(entry != NULL, w->rows[i].here);
        if (entry != NULL) {
            assert_int_equal(entry->state[0], w->rows[i].value);
            assert_int_equal((entry->flags & AGG_ENTRY_DIRTY) != 0, w->rows[i].dirty);
            dirty += w->rows[i].dirty ? 1 : 0;
            here++;
        }
    }
    assert_int_equal(w->cache.count, here);
    assert_int_equal(w->cache.dirty_count, dirty);
    assert_int_equal(w->cache.dirty_bytes > 0, dirty > 0);
}

static void check_sorted(struct world *w)
{
    struct agg_sorted *rows = agg_cache_sorted(&w->cache);
    assert_int_equal(rows == NULL, w->cache.dirty_count == 0);
    for (size_t i = 1; i < w->cache.dirty_count; i++) {
        const struct agg_entry *a = rows[i - 1].entry;
        const struct agg_entry *b = rows[i].entry;
        size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;
        int order = memcmp(agg_entry_key(&w->cache, a), agg_entry_key(&w->cache, b), len);
        assert_true(order < 0 || (order == 0 && a->key_len < b->key_len));
    }
    free(rows);
}

static void note_gone(void *ctx, const struct agg_entry *entry)
{
    struct world *w = ctx;
    const uint8_t *key = agg_entry_key(&w->cache, entry);
    for (size_t i = 0; i < KEYS; i++) {
        struct model_row *row = &w->rows[i];
        if (row->here && row->len == entry->key_len && memcmp(row->key, key, row->len) == 0) {
            assert_false(row->dirty);
            row->here = false;
            return;
        }
    }
    fail_msg("an entry left that was not there");
}

static bool drop_some(void *ctx, struct agg_entry *entry)
{
    (void)ctx;
    return entry->state[0] % 3 == 0;
}

/* What drop_some lets go, of the clean rows or of all. */
static void dropped(struct world *w, bool all)
{
    for (size_t i = 0; i < KEYS; i++) {
        struct model_row *row = &w->rows[i];
        if (row->here && (all || !row->dirty) && row->value % 3 == 0) {
            row->here = false;
            row->dirty = false;
        }
    }
}

static void commit(struct world *w)
{
    agg_cache_committed(&w->cache);
    for (size_t i = 0; i < KEYS; i++) {
        w->rows[i].dirty = false;
    }
}

static void touch(struct world *w, struct prng *prng)
{
    struct model_row *row = &w->rows[prng_below(prng, KEYS)];
    struct agg_entry *entry = find(w, row);
    if (entry == NULL) {
        entry = agg_cache_create(&w->cache, hash_of(w, row), row->key, row->len, row->key[1], 0);
    }
    agg_cache_touch(&w->cache, entry);
    row->value = (uint8_t)prng_next(prng);
    entry->state[0] = row->value;
    row->here = true;
    row->dirty = true;
}

static void test_random_operations(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("cache"));
    static const uint32_t bits[] = {64, 8, 2}; /* of the hash: fewer make long probes */
    for (size_t b = 0; b < array_len(bits); b++) {
        static struct world w;
        memset(&w, 0, sizeof w);
        w.hash_bits = bits[b];
        arena_init(&w.arena);
        pool_init(&w.pool);
        agg_layout_init(&w.layout, &w.arena, &count_rows, 1);
        agg_cache_open(&w.cache, &w.layout, &w.pool);
        for (uint32_t i = 0; i < KEYS; i++) {
            make_key(&w.rows[i], i);
        }
        for (int round = 0; round < 150; round++) {
            for (uint64_t n = prng_below(&prng, round % 10 == 0 ? 2000 : 100); n > 0; n--) {
                touch(&w, &prng);
            }
            check_sorted(&w);
            check_all(&w);
            if (prng_below(&prng, 2) == 0) {
                commit(&w);
            }
            if (prng_below(&prng, 3) == 0) {
                (void)agg_cache_evict(&w.cache, prng_below(&prng, 20000), note_gone, &w);
            }
            if (prng_below(&prng, 5) == 0) {
                bool forget = prng_below(&prng, 2) == 0;
                (forget ? agg_cache_forget : agg_cache_drop_if)(&w.cache, drop_some, NULL);
                dropped(&w, forget);
            }
            check_all(&w);
        }
        /* Nothing fits, and nothing but dirty rows stays. */
        commit(&w);
        touch(&w, &prng);
        (void)agg_cache_evict(&w.cache, 1, note_gone, &w);
        assert_int_equal(w.cache.count, 1);
        check_all(&w);
        agg_cache_close(&w.cache);
        assert_int_equal(w.pool.used_bytes, 0);
        pool_close(&w.pool);
        arena_free(&w.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
