/* Goal: no more is read than the limit allows, in any stretch of time, by however many threads; what
 * is allowed is used; a change counts at once. Method: readers with random batches, delays and
 * pauses on a simulated clock, against a bucket that leaks at the limit; a table of JSON.
 *
 * KAPPA_SEED gives the seed. */
#include "replayer/governor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/prng.h"

static uint64_t seed = 20260131;

/* What leaks at a limit; level is what was put in and has not leaked out. */
struct bucket {
    double per_second, most, level;
    int64_t last_us;
};

static void bucket_add(struct bucket *bucket, int64_t now_us, double amount)
{
    double leaked = bucket->per_second * (double)(now_us - bucket->last_us) / 1e6;
    bucket->level = (bucket->level > leaked ? bucket->level - leaked : 0) + amount;
    bucket->last_us = now_us;
    if (bucket->per_second > 0 && bucket->level > bucket->most) {
        fail_msg("%.0f at once, at most %.0f", bucket->level, bucket->most);
    }
}

static struct bucket bucket_of(int64_t per_second, double slack)
{
    double seconds = (GOVERNOR_CREDIT_US + GOVERNOR_BATCH_US) / 1e6;
    return (struct bucket){.per_second = (double)per_second,
                           .most = (double)per_second * seconds + slack};
}

/* Readers that always find records; late: how much later than told they look, at most. Returns the
 * records read in `seconds`. */
static uint64_t read_for(const struct governor_limit *limit, uint32_t sharers, uint32_t size,
                         int64_t late_us, int64_t seconds, struct prng *prng)
{
    struct governor governor;
    struct bucket records = bucket_of(limit->records, 2.0 * sharers);
    struct bucket bytes = bucket_of(limit->bytes, 8.0 * sharers * size);
    uint64_t total = 0;
    governor_init(&governor, sharers);
    governor_set(&governor, limit, 0);
    for (int64_t now = 0; now < seconds * 1000000;) {
        for (uint32_t i = 0; i < sharers; i++) {
            if (governor_wait_us(&governor, now) > 0) {
                continue;
            }
            uint32_t most = governor_batch(&governor);
            uint32_t count = most < 4096 ? most : 4096;
            count = prng_below(prng, 4) == 0 ? 1 + (uint32_t)prng_below(prng, count) : count;
            governor_spent(&governor, now, count, (uint64_t)count * size, false);
            bucket_add(&records, now, count);
            /* The mean of a record is not known before the first one. */
            if (total > 0) {
                bucket_add(&bytes, now, (double)count * size);
            }
            total += count;
        }
        int64_t wait = governor_wait_us(&governor, now);
        now += i64_max(wait, 1) + (int64_t)prng_below(prng, (uint64_t)late_us + 1);
    }
    governor_close(&governor);
    return total;
}

static void test_records(void **state)
{
    (void)state;
    static const int64_t rates[] = {1, 7, 100, 999, 50000, 3000000};
    struct prng prng;
    prng_init(&prng, seed);
    for (size_t r = 0; r < array_len(rates); r++) {
        for (uint32_t sharers = 1; sharers <= 8; sharers *= 2) {
            struct governor_limit limit = {.records = rates[r]};
            uint64_t total = read_for(&limit, sharers, 100, 2000, 20, &prng);
            double want = 20.0 * (double)rates[r];
            assert_true((double)total <= want * 1.02 + 2.0 * sharers);
            /* Batches of at most 4096 and of an eighth of a fiftieth: what there is, is used. */
            assert_true((double)total >= want * 0.95 - 2.0 * sharers || rates[r] > 1000000);
        }
    }
}

static void test_bytes(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, seed + 1);
    for (uint32_t size = 10; size <= 100000; size *= 10) {
        struct governor_limit limit = {.bytes = 20000000};
        uint64_t total = read_for(&limit, 2, size, 2000, 20, &prng);
        double bytes = (double)total * size;
        assert_true(bytes <= 20.0 * 20000000 * 1.02 + 4.0 * 1024 * size);
        assert_true(bytes >= 20.0 * 20000000 * 0.9);
    }
}

/* Both: the tighter one counts. */
static void test_both(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, seed + 2);
    struct governor_limit limit = {.records = 50000, .bytes = 1000000};
    assert_in_range(read_for(&limit, 2, 100, 1000, 20, &prng), 190000, 205000);
    assert_in_range(read_for(&limit, 2, 10, 1000, 20, &prng), 950000, 1020000);
}

/* A thread that sleeps for long does not make up for all of it. */
static void test_idle_is_no_credit(void **state)
{
    (void)state;
    struct governor governor;
    struct governor_limit limit = {.records = 1000};
    uint32_t taken = 0;
    governor_init(&governor, 1);
    governor_set(&governor, &limit, 0);
    int64_t now = 60000000;
    while (governor_wait_us(&governor, now) == 0) {
        uint32_t count = governor_batch(&governor);
        governor_spent(&governor, now, count, count, false);
        taken += count;
    }
    assert_in_range(taken, 100, 152);
    governor_close(&governor);
}

static void test_change(void **state)
{
    (void)state;
    struct governor governor;
    governor_init(&governor, 1);
    assert_int_equal(governor_wait_us(&governor, 5), 0);
    assert_int_equal(governor_batch(&governor), UINT32_MAX);
    governor_spent(&governor, 5, 1000000, 1, false); /* no limit, no debt */
    governor_set(&governor, &(struct governor_limit){.records = 100}, 1000000);
    assert_int_equal(governor_wait_us(&governor, 1000000), 0);
    assert_int_equal(governor_batch(&governor), 2);
    governor_spent(&governor, 1000000, 1000, 1000, false); /* 10 s, less the credit */
    assert_in_range(governor_wait_us(&governor, 1000000), 9800000, 10000000);
    governor_set(&governor, &(struct governor_limit){.records = 10000}, 1000000);
    assert_in_range(governor_wait_us(&governor, 1000000), 98000, 100000);
    governor_set(&governor, &(struct governor_limit){.records = 0}, 1000000);
    assert_int_equal(governor_wait_us(&governor, 1000000), 0);
    governor_set(&governor, &(struct governor_limit){.records = 1}, 1000000);
    assert_int_equal(governor_wait_us(&governor, 1000000), 0);
    assert_int_equal(governor.limit.records, 1);
    governor_close(&governor);
}

/* What an archive gives is no debt to the broker, and a debt to the broker keeps no archive waiting. */
static void test_broker(void **state)
{
    (void)state;
    struct governor governor;
    governor_init(&governor, 1);
    governor_set(&governor, &(struct governor_limit){.broker = 1000}, 0);
    assert_int_equal(governor_batch(&governor), UINT32_MAX);
    assert_int_equal(governor_broker_batch(&governor), 1);
    governor_spent(&governor, 0, 100, 1000000, true);
    assert_int_equal(governor_wait_us(&governor, 0), 0);
    assert_int_equal(governor_broker_wait_us(&governor, 0), 0);
    governor_spent(&governor, 0, 1, 10000, false); /* 10 s, less the credit */
    assert_int_equal(governor_wait_us(&governor, 0), 0);
    assert_in_range(governor_broker_wait_us(&governor, 0), 9800000, 10000000);
    governor_set(&governor, &(struct governor_limit){.broker = 100000, .bytes = 50}, 0);
    assert_in_range(governor_broker_wait_us(&governor, 0), 98000, 100000);
    governor_spent(&governor, 0, 1, 100, true); /* it does count for all bytes */
    assert_in_range(governor_wait_us(&governor, 0), 1800000, 2000000);
    governor_set(&governor, &(struct governor_limit){0}, 0);
    assert_int_equal(governor_broker_wait_us(&governor, 0), 0);
    assert_int_equal(governor_broker_batch(&governor), UINT32_MAX);
    governor_close(&governor);
}

static void test_parse(void **state)
{
    (void)state;

    static const struct {
        const char *text;
        int64_t records, bytes;
        const char *says; /* NULL: it is taken */
    } rows[] = {
        {"null", 0, 0, NULL},
        {"{}", 0, 0, NULL},
        {"{\"records_per_second\":5}", 5, 0, NULL},
        {"{\"records_per_second\":null,\"bytes_per_second\":7}", 0, 7, NULL},
        {"{\"records_per_second\":1,\"bytes_per_second\":1000000000000}", 1, 1000000000000, NULL},
        {"{\"records_per_second\":0}", 0, 0, "\"records_per_second\" must be a whole number"},
        {"{\"bytes_per_second\":1000000000001}", 0, 0, "\"bytes_per_second\""},
        {"{\"bytes_per_second\":1.5}", 0, 0, "\"bytes_per_second\""},
        {"{\"bytes_per_second\":\"1\"}", 0, 0, "\"bytes_per_second\""},
        {"{\"broker_bytes_per_second\":0}", 0, 0, "\"broker_bytes_per_second\""},
        {"[5]", 0, 0, "a limit is an object"},
        {"\"5/s\"", 0, 0, "a limit is an object"},
    };

    for (size_t i = 0; i < array_len(rows); i++) {
        struct governor_limit limit = {.records = -1, .bytes = -1};
        struct err err = {0};
        json_t *value = json_loads(rows[i].text, JSON_DECODE_ANY, NULL);
        assert_non_null(value);
        int rc = governor_limit_parse(value, &limit, &err);
        json_decref(value);
        if (rows[i].says == NULL) {
            assert_int_equal(rc, 0);
            assert_int_equal(limit.records, rows[i].records);
            assert_int_equal(limit.bytes, rows[i].bytes);
        } else if (rc != -KE_INVALID || strstr(err.text, rows[i].says) == NULL) {
            fail_msg("%s: code %d, %s", rows[i].text, rc, err.text);
        }
    }
}

int main(void)
{
    const char *given = getenv("KAPPA_SEED");
    seed = given ? strtoull(given, NULL, 10) : seed;
    print_message("KAPPA_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_both),    cmocka_unit_test(test_idle_is_no_credit),
        cmocka_unit_test(test_change),  cmocka_unit_test(test_broker),
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
