/* Goal: sums and means of numeric are exact, whatever the order, the sources and the commits; what has
 * too many digits is out of range, and comes back when it leaves that range.
 * Method: random decimals against 128-bit sums at the largest scale; edges by hand. */
#include "processor/numeric.h"
#include "tests/unit/processor/agg_rig.h"

#include "processor/agg_operator.h"

#define DEFINITION                                                                                 \
    "CREATE TABLE t (k text, x numeric); CREATE MATERIALIZED VIEW v AS SELECT k, sum(x)::text AS " \
    "s, avg(x)::text AS a, min(x)::text AS least, max(x)::text AS most, count(DISTINCT x)::text "  \
    "AS n FROM t GROUP BY k;"

static void test_random(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("numeric sums"));
    for (int round = 0; round < 20; round++) {
        struct rig rig;
        rig_open(&rig, DEFINITION);
        int128 total = 0;
        uint32_t scale = 0;
        uint32_t count = 1 + (uint32_t)prng_below(&prng, 300);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t own = (uint32_t)prng_below(&prng, 7);
            int64_t coefficient = (int64_t)prng_next(&prng) >> (8 + prng_below(&prng, 50));
            char text[NUMERIC_TEXT];
            struct kappa_numeric value = numeric_make(coefficient, own);
            scale = own > scale ? own : scale;
            total += (int128)coefficient * (int128)numeric_power10(6 - own);
            bool quoted = prng_below(&prng, 2) == 0;
            rig_add(&rig, (uint32_t)prng_below(&prng, MEM_SOURCES),
                    xasprintf("{\"k\":\"a\",\"x\":%s%.*s%s}", quoted ? "\"" : "",
                              (int)numeric_format(value, text), text, quoted ? "\"" : ""));
        }
        rig_run(&rig, &prng);
        char *out[6];
        assert_true(rig_values(&rig, "a", out, array_len(out)));
        struct kappa_numeric sum = numeric_make(total / (int128)numeric_power10(6 - scale), scale);
        struct kappa_numeric mean;
        char want[NUMERIC_TEXT + 1];
        want[numeric_format(sum, want)] = '\0';
        assert_string_equal(out[1], want);
        assert_int_equal(numeric_divide(sum, numeric_from_int(count), &mean), EXPR_OK);
        want[numeric_format(mean, want)] = '\0';
        assert_string_equal(out[2], want);
        for (size_t i = 0; i < array_len(out); i++) {
            free(out[i]);
        }
        rig_close(&rig);
    }
}

static void check(const char *const *values, uint32_t count, const char *sum, const char *mean)
{
    struct rig rig;
    rig_open(&rig, "CREATE TABLE t (k text, x numeric); CREATE MATERIALIZED VIEW v AS SELECT k, "
                   "sum(x)::text AS s, avg(x)::text AS a FROM t GROUP BY k;");
    for (uint32_t i = 0; i < count; i++) {
        rig_add(&rig, 0, xasprintf("{\"k\":\"a\",\"x\":%s}", values[i]));
    }
    rig_run(&rig, NULL);
    char *out[3];
    assert_true(rig_values(&rig, "a", out, array_len(out)));
    assert_non_null(strstr(out[1], sum));
    assert_non_null(strstr(out[2], mean));
    for (size_t i = 0; i < array_len(out); i++) {
        free(out[i]);
    }
    rig_close(&rig);
}

#define NINES "99999999999999999999999999999999999999"

static void test_edges(void **unused)
{
    (void)unused;
    const char *none[] = {"null", "null"};
    check(none, 2, "null", "null");
    const char *money[] = {"0.10", "0.20", "null", "0.3"};
    check(money, 4, "0.60", "0.20000000000000000000");
    const char *over[] = {NINES, "1"};
    check(over, 2, "out of the range", "out of the range");
    const char *back[] = {NINES, "1", NINES, "-" NINES, "-1"};
    check(back, 5, NINES, "20000000000000000000000000000000000000"); /* 0.2 less */
    const char *wide[] = {NINES, "0.00000000000000000000000000000000000001", "-" NINES};
    check(wide, 3, "0.00000000000000000000000000000000000001", "0.0000");
}

/* Any bytes decode or are refused, and what was decoded encodes as the same. */
static void test_noise(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("numeric noise"));
    struct plan_aggregate plan = {.kind = PLAN_AVG,
                                  .argument_type = KAPPA_TYPE_NUMERIC,
                                  .result_type = KAPPA_TYPE_NUMERIC,
                                  .filter = PLAN_NONE};
    struct agg_slot slot = {.op = &agg_sum_numeric, .plan = &plan};
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[48];
        size_t len = prng_below(&prng, sizeof bytes);
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)(prng_next(&prng) & (prng_below(&prng, 2) == 0 ? 0x1F : 0xFF));
        }
        uint64_t state[8] = {0};
        struct agg_cursor in = {bytes, len, 0};
        if (!agg_sum_numeric.decode(&slot, state, NULL, &in)) {
            continue;
        }
        struct buf first = {0};
        struct buf again = {0};
        uint64_t copy[8] = {0};
        agg_sum_numeric.encode(&slot, state, &first);
        struct agg_cursor back = {first.data, first.len, 0};
        assert_true(agg_sum_numeric.decode(&slot, copy, NULL, &back));
        assert_int_equal(back.pos, first.len);
        agg_sum_numeric.encode(&slot, copy, &again);
        assert_int_equal(first.len, again.len);
        assert_memory_equal(first.data, again.data, first.len);
        buf_free(&first);
        buf_free(&again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
