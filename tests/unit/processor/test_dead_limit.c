/* Goal: dead_limit fails a version at one record, whatever the batches are; final rows that are no
 * messages count at the record that closed their window.
 * Method: the same records, some of them dead when decoded and some in an expression, are applied in
 * batches of random sizes; the sentence is always the one that a naive count gives. */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/prng.h"
#include "processor/processor.h"

#include <string.h>

#define RECORDS 3000

struct line {
    char text[32 + KAPPA_RECORD_TAIL];
};

static struct plan *compile(const char *limit)
{
    struct plan *plan = NULL;
    struct err err = {.code = 0};
    struct buf sql = {0};
    buf_printf(&sql,
               "CREATE TABLE t (a int, b int) WITH (dead_limit='%s');"
               "CREATE MATERIALIZED VIEW v AS SELECT sum(10 / a) AS s FROM t;"
               "CREATE MATERIALIZED VIEW w AS SELECT 10 / b AS s FROM t",
               limit);
    if (plan_compile("test.sql", buf_text(&sql), sql.len, &plan, &err) != 0) {
        print_message("%s\n", err.text);
        fail();
    }
    buf_free(&sql);
    return plan;
}

static struct processor *start(const struct plan *plan, const struct kappa_source_state *state)
{
    struct processor_options options = {.plan = plan, .cache_bytes = 1 << 20};
    struct processor *processor = NULL;
    assert_int_equal(processor_open(&options, &processor, NULL), 0);
    processor_source_restore(processor, 0, 0, state);
    processor_source_partition(processor, 0, 5, 6);
    return processor;
}

/* Applies all in random batches; the sentence, or "". *state: what a commit would keep then. */
static void run(const struct plan *plan, const struct kappa_record *records, struct prng *prng,
                struct kappa_source_state *state, struct err *err)
{
    *state = (struct kappa_source_state){
        .next_offset = 0, .event_time_max = KAPPA_NO_TIME, .record_time_max = KAPPA_NO_TIME};
    *err = (struct err){.code = 0};
    struct processor *processor = start(plan, state);
    for (uint32_t done = 0; done < RECORDS;) {
        uint32_t n = 1 + (uint32_t)prng_below(prng, prng_below(prng, 2) == 0 ? 20 : 2500);
        n = n > RECORDS - done ? RECORDS - done : n;
        assert_int_equal(
            processor_apply(processor, 0, records + done, n, records[done + n - 1].offset + 1, err),
            0);
        done += n;
    }
    int rc = processor_check(processor, err);
    assert_int_equal(rc, err->code);
    processor_source_state(processor, 0, state);
    processor_close(processor);
}

/* One that begins with what was kept says at once that too many are dead, if they are. */
static void check_restored(const struct plan *plan, const struct kappa_source_state *state,
                           uint64_t dead, bool exceeded)
{
    struct err err = {.code = 0};
    char expected[80];
    struct processor *processor = start(plan, state);
    assert_int_equal(processor_check(processor, &err), exceeded ? -KE_REFUSED : 0);
    (void)snprintf(expected, sizeof expected,
                   "below offset %u of partition 5: %llu of the %u records taken",
                   3 * (RECORDS - 1) + 1, (unsigned long long)dead, RECORDS);
    if (exceeded && strstr(err.text, expected) == NULL) {
        print_message("%s\nnot %s\n", err.text, expected);
        fail();
    }
    processor_close(processor);
}

static const struct {
    const char *limit;
    uint64_t max; /* of dead, when the records taken are few */
    uint64_t ppm; /* 0: none */
} limits[] = {{"0", 0, 0},           {"10", 10, 0},      {"100000", 100000, 0},   {"0 %", 0, 1},
              {" 2.5% ", 25, 25000}, {"3 %", 30, 30000}, {"100 %", 1000, 1000000}};

static bool exceeds(size_t limit, uint64_t dead, uint64_t taken)
{
    if (limits[limit].ppm == 0) {
        return dead > limits[limit].max;
    }
    uint64_t ppm = limits[limit].ppm == 1 ? 0 : limits[limit].ppm;
    return dead > limits[limit].max && dead * 1000000 > taken * ppm;
}

static void test_limit(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("dead limit"));
    struct line *lines = xcalloc(RECORDS, sizeof *lines);
    struct kappa_record *records = xcalloc(RECORDS, sizeof *records);
    for (int round = 0; round < 20; round++) {
        uint64_t rare = 10 + prng_below(&prng, 100);
        size_t limit = (size_t)round % array_len(limits);
        uint64_t dead = 0;
        char expected[80] = "";
        for (uint32_t i = 0; i < RECORDS; i++) {
            bool zero_a = prng_below(&prng, rare) == 0;
            bool zero_b = prng_below(&prng, rare) == 0;
            bool broken = prng_below(&prng, rare) == 0;
            int len = snprintf(lines[i].text, 32, "{\"a\":%d,\"b\":%d%s", !zero_a, !zero_b,
                               broken ? "" : "}");
            records[i] = (struct kappa_record){.offset = 3 * (int64_t)i,
                                               .time_ms = KAPPA_NO_TIME,
                                               .key_len = KAPPA_NULL_LEN,
                                               .value = (const uint8_t *)lines[i].text,
                                               .value_len = (uint32_t)len};
            uint64_t more = broken ? 1 : (uint64_t)zero_a + (uint64_t)zero_b;
            dead += more;
            if (more > 0 && expected[0] == '\0' && exceeds(limit, dead, i + 1)) {
                (void)snprintf(expected, sizeof expected,
                               "at offset %u of partition 5: %llu of the %u records taken", 3 * i,
                               (unsigned long long)dead, i + 1);
            }
        }
        struct plan *plan = compile(limits[limit].limit);
        for (int again = 0; again < 3; again++) {
            struct err err;
            struct kappa_source_state kept;
            run(plan, records, &prng, &kept, &err);
            check_restored(plan, &kept, dead, exceeds(limit, dead, RECORDS));
            assert_int_equal(err.code, expected[0] == '\0' ? 0 : -KE_REFUSED);
            if (expected[0] != '\0' && strstr(err.text, expected) == NULL) {
                print_message("limit %s\n%s\nnot %s\n", limits[limit].limit, err.text, expected);
                fail();
            }
        }
        plan_free(plan);
    }
    free(lines);
    free(records);
}

/* A window a record: each record closes the one before, whose row is an error when its a is 0. */
static void test_final_rows(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("dead limit"));
    struct line *lines = xcalloc(RECORDS, sizeof *lines);
    struct kappa_record *records = xcalloc(RECORDS, sizeof *records);
    const char text[] = "CREATE TABLE t (a int, at timestamptz) WITH (event_time='at', key='a', "
                        "dead_limit='20');"
                        "CREATE TABLE o (x bigint) WITH (topic='o');"
                        "INSERT INTO o SELECT 10 / sum(a) FROM %s GROUP BY a, window_end";
    static const char *const windows[] = {"tumble(t, at, '10 ms')", "session(t, at, '10 ms')",
                                          "hop(t, at, '10 ms', '20 ms')"};
    for (size_t round = 0; round < 9; round++) {
        uint32_t dead = 0;
        uint32_t last = UINT32_MAX;
        for (uint32_t i = 0; i < RECORDS; i++) {
            bool zero = prng_below(&prng, 40) == 0;
            int len = snprintf(lines[i].text, 40, "{\"a\":%d,\"at\":%u}", !zero, 100 * i);
            records[i] = (struct kappa_record){.offset = 3 * (int64_t)i,
                                               .time_ms = KAPPA_NO_TIME,
                                               .key = (const uint8_t *)(zero ? "0" : "1"),
                                               .key_len = 1,
                                               .value = (const uint8_t *)lines[i].text,
                                               .value_len = (uint32_t)len};
            dead += zero ? 1 : 0;
            last = zero && dead == 21 ? i + 1 : last;
        }
        assert_true(last < RECORDS);
        char expected[80];
        (void)snprintf(expected, sizeof expected,
                       "at offset %u of partition 5: 21 of the %u records taken", 3 * last,
                       last + 1);
        char *sql = xasprintf(text, windows[round % 3]);
        struct plan *plan = NULL;
        assert_int_equal(plan_compile("test.sql", sql, strlen(sql), &plan, NULL), 0);
        struct err err;
        struct kappa_source_state kept;
        run(plan, records, &prng, &kept, &err);
        if (strstr(err.text, expected) == NULL) {
            fail_msg("%s: %s\nnot %s", windows[round % 3], err.text, expected);
        }
        plan_free(plan);
        free(sql);
    }
    free(lines);
    free(records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_limit),
                                       cmocka_unit_test(test_final_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
