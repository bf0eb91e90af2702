/* Goal: a ledger gives back, in the order of names, the newest of what was put under each name and key,
 * whatever the sizes of keys and however often the map had to grow. Method: random puts against an array,
 * compared by cursors. KAPPA_SEED repeats a run. */
#include "base/prng.h"
#include "include/kappa/record.h"
#include "table/ledger.h"
#include "tests/unit/table/temp.h"

#include <stdlib.h>
#include <string.h>

#define INPUTS 3
#define PUTS   6000

struct put {
    struct ledger_entry entry;
    uint8_t key[2000];
};

static int order(const void *a, const void *b)
{
    const struct ledger_entry *x = &((const struct put *)a)->entry;
    const struct ledger_entry *y = &((const struct put *)b)->entry;
    if (x->input != y->input) {
        return x->input < y->input ? -1 : 1;
    }
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    if (x->output != y->output) {
        return x->output < y->output ? -1 : 1;
    }
    if (x->seq != y->seq) {
        return x->seq < y->seq ? -1 : 1;
    }
    return x->topic != y->topic ? (x->topic < y->topic ? -1 : 1) : 0;
}

static void make(struct put *put, struct prng *prng)
{
    static const uint32_t lengths[] = {KAPPA_NULL_LEN, 0, 3, 1900};
    uint32_t len = lengths[prng_below(prng, array_len(lengths))];
    put->entry = (struct ledger_entry){.input = (uint32_t)prng_below(prng, INPUTS),
                                       .offset = (int64_t)prng_below(prng, 200),
                                       .output = (uint32_t)prng_below(prng, 2),
                                       .seq = (uint32_t)prng_below(prng, 2),
                                       .topic = (uint32_t)prng_below(prng, 2),
                                       .key_len = len,
                                       .partition = (uint32_t)prng_below(prng, 9),
                                       .retracted = prng_below(prng, 2) == 0,
                                       .time_ms = (int64_t)prng_next(prng),
                                       .content = {prng_next(prng), prng_next(prng)}};
    memset(put->key, (int)prng_below(prng, 3), sizeof put->key);
}

static bool same_name(const struct put *a, const struct put *b)
{
    return order(a, b) == 0 && a->entry.key_len == b->entry.key_len &&
           (a->entry.key_len == KAPPA_NULL_LEN || memcmp(a->key, b->key, a->entry.key_len) == 0);
}

static void check(const struct ledger_entry *got, const struct put *puts, size_t count,
                  struct ledger_entry *last)
{
    struct put wanted = {.entry = *got};
    if (got->key_len != KAPPA_NULL_LEN) {
        memcpy(wanted.key, got->key, got->key_len);
    }
    size_t i = count;
    while (i > 0 && !same_name(&puts[i - 1], &wanted)) {
        i--;
    }
    assert_true(i > 0);
    const struct ledger_entry *put = &puts[i - 1].entry;
    assert_int_equal(got->partition, put->partition);
    assert_int_equal(got->retracted, put->retracted);
    assert_true(got->time_ms == put->time_ms);
    assert_true(digest_equal(got->content, put->content));
    struct put before = {.entry = *last};
    assert_true(last->input == UINT32_MAX || order(&before, &wanted) <= 0);
    *last = *got;
}

static size_t distinct(const struct put *puts, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        size_t k = i + 1;
        while (k < count && !same_name(&puts[i], &puts[k])) {
            k++;
        }
        found += k == count ? 1 : 0;
    }
    return found;
}

static void test_newest_of_each_name(void **state)
{
    (void)state;
    char *dir = temp_dir();
    char *path = xasprintf("%s/found", dir);
    struct put *puts = xcalloc(PUTS, sizeof *puts);
    struct ledger *ledger = NULL;
    struct prng prng;
    size_t seen = 0;
    prng_init(&prng, unit_seed("ledger"));
    assert_ok(ledger_open(path, &ledger, &fault));
    for (size_t i = 0; i < PUTS; i++) {
        make(&puts[i], &prng);
        struct ledger_entry entry = puts[i].entry;
        entry.key = entry.key_len == KAPPA_NULL_LEN ? NULL : puts[i].key;
        assert_ok(ledger_put(ledger, &entry, &fault));
    }
    assert_ok(ledger_flush(ledger, &fault));
    for (uint32_t input = 0; input < INPUTS + 1; input++) {
        struct ledger_cursor *cursor = NULL;
        struct ledger_entry got;
        struct ledger_entry last = {.input = UINT32_MAX};
        int rc = ledger_cursor_open(ledger, input, &cursor, &got, &fault);
        for (; rc == 1; rc = ledger_cursor_next(cursor, &got, &fault)) {
            assert_int_equal(got.input, input);
            check(&got, puts, PUTS, &last);
            seen++;
        }
        assert_int_equal(rc, 0);
        ledger_cursor_close(cursor);
    }
    assert_int_equal(seen, distinct(puts, PUTS));
    ledger_close(ledger);
    free(puts);
    free(path);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_newest_of_each_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
