/* Goal: the approximate aggregates are within the errors that are stated, and are functions of the set
 * of values: spread over states and merged in any order they give the same bytes.
 * Method: sets of known size and multisets of several shapes, against the exact answer. */
#include "tests/unit/unit.h"

#include "base/prng.h"
#include "processor/agg_state.h"
#include "processor/expr_step.h"

#include <math.h>
#include <string.h>

enum { CHUNK = 1024, PARTS = 3 };

struct sketch {
    struct arena arena;
    struct pool pool;
    struct plan_aggregate plan;
    struct agg_layout layout;
    uint8_t *state;
    uint8_t *parts[PARTS];
};

static void sketch_open(struct sketch *s, enum plan_aggregate_kind kind, enum kappa_type type,
                        double fraction)
{
    memset(s, 0, sizeof *s);
    arena_init(&s->arena);
    pool_init(&s->pool);
    s->plan = (struct plan_aggregate){.kind = kind,
                                      .argument_type = type,
                                      .filter = PLAN_NONE,
                                      .parameter = {.type = KAPPA_TYPE_DOUBLE, .d = fraction}};
    s->plan.result_type = kind == PLAN_APPROX_DISTINCT ? KAPPA_TYPE_BIGINT : KAPPA_TYPE_DOUBLE;
    agg_layout_init(&s->layout, &s->arena, &s->plan, 1);
    s->state = arena_calloc(&s->arena, s->layout.bytes);
    for (int p = 0; p < PARTS; p++) {
        s->parts[p] = arena_calloc(&s->arena, s->layout.bytes);
    }
}

static void sketch_close(struct sketch *s)
{
    agg_state_free(&s->layout, s->state, &s->pool);
    for (int p = 0; p < PARTS; p++) {
        agg_state_free(&s->layout, s->parts[p], &s->pool);
    }
    assert_int_equal(s->pool.used_bytes, 0);
    pool_close(&s->pool);
    arena_free(&s->arena);
}

/* Feeds values of 8 bytes: all to the state, each to one of the parts. */
static void feed(struct sketch *s, const void *values, uint32_t count, struct prng *prng)
{
    static uint8_t ok[CHUNK];
    static uint8_t *states[CHUNK];
    static uint32_t rows[CHUNK];
    static int64_t offsets[CHUNK];
    struct agg_rows to = {
        .states = states, .rows = rows, .count = count, .pool = &s->pool, .offset = offsets};
    struct expr_vec vec = {.type = s->plan.argument_type, .state = ok};
    assert_true(count <= CHUNK);
    vec.i = (int64_t *)(uintptr_t)values;
    for (int whole = 0; whole < 2; whole++) {
        for (uint32_t i = 0; i < count; i++) {
            states[i] = whole ? s->state : s->parts[prng_below(prng, PARTS)];
            rows[i] = i;
        }
        agg_update(&s->layout.slots[0], &to, &vec);
    }
}

static struct kappa_value value_of(struct sketch *s, const uint8_t *state)
{
    uint8_t flag = 0;
    int64_t room = 0;
    struct expr_vec out = {s->plan.result_type, &flag, {.i = &room}};
    enum expr_state what = EXPR_OK;
    agg_result(&s->layout.slots[0], state, &s->arena, &out);
    struct kappa_value value = expr_value(&out, 0, &what);
    assert_int_equal(what, EXPR_OK);
    return value;
}

/* The parts, merged backwards, are the whole. */
static void assert_parts(struct sketch *s)
{
    for (int p = PARTS - 1; p > 0; p--) {
        agg_merge(&s->layout, s->parts[p - 1], s->parts[p], &s->pool);
    }
    struct buf whole = {0};
    struct buf merged = {0};
    agg_encode(&s->layout, s->state, &whole);
    agg_encode(&s->layout, s->parts[0], &merged);
    assert_int_equal(whole.len, merged.len);
    assert_memory_equal(whole.data, merged.data, whole.len);
    buf_free(&whole);
    buf_free(&merged);
}

/* Distinct values, each up to three times. */
static int64_t count_distinct(uint64_t count, struct prng *prng)
{
    struct sketch s;
    int64_t values[CHUNK];
    uint32_t n = 0;
    sketch_open(&s, PLAN_APPROX_DISTINCT, KAPPA_TYPE_BIGINT, 0);
    uint64_t first = prng_next(prng) >> 8;
    for (uint64_t i = 0; i < count; i++) {
        for (uint64_t again = 1 + prng_below(prng, 3); again > 0; again--) {
            values[n++] = (int64_t)(first + i);
            if (n == CHUNK) {
                feed(&s, values, n, prng);
                n = 0;
            }
        }
    }
    feed(&s, values, n, prng);
    assert_parts(&s);
    int64_t said = value_of(&s, s.state).i;
    sketch_close(&s);
    return said;
}

static void test_approx_count_distinct(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("approx_count_distinct"));
    static const uint64_t exact[] = {1, 2, 17, 511, 512};
    for (size_t i = 0; i < array_len(exact); i++) {
        assert_int_equal(count_distinct(exact[i], &prng), exact[i]);
    }

    static const struct {
        uint64_t count;
        int runs;
    } sizes[] = {{513, 100}, {1000, 100}, {4000, 100}, {12000, 60}, {40000, 40}, {300000, 10}};

    for (size_t i = 0; i < array_len(sizes); i++) {
        double squares = 0;
        for (int run = 0; run < sizes[i].runs; run++) {
            double said = (double)count_distinct(sizes[i].count, &prng);
            double error = said / (double)sizes[i].count - 1;
            assert_true(fabs(error) < 5.5 * 0.01625);
            squares += error * error;
        }
        double deviation = sqrt(squares / sizes[i].runs);
        print_message("approx_count_distinct of %llu: standard error %.2f %%\n",
                      (unsigned long long)sizes[i].count, 100 * deviation);
        assert_true(deviation < 0.01625 * (sizes[i].runs >= 40 ? 1.5 : 2.2));
    }
}

static double shaped(int shape, struct prng *prng)
{
    double unit = prng_unit(prng);
    switch (shape) {
    case 0:
        return unit * 1000;
    case 1:
        return ldexp(1 + unit, (int)prng_below(prng, 2000) - 1000);
    case 2:
        return (unit - 0.5) * 1e6;
    case 3:
        return (double)prng_below(prng, 5);
    default:
        return prng_below(prng, 100) == 0 ? 1e9 * unit : -0.001 * unit;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    return expr_compare_double(*(const double *)a, *(const double *)b);
}

static void test_approx_percentile(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("approx_percentile"));
    static const double fractions[] = {0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1};
    double worst = 0;
    for (int round = 0; round < 90; round++) {
        static double values[8 * CHUNK];
        uint32_t count = 1 + (uint32_t)prng_below(&prng, array_len(values));
        double fraction = fractions[prng_below(&prng, array_len(fractions))];
        struct sketch s;
        sketch_open(&s, PLAN_APPROX_PERCENTILE, KAPPA_TYPE_DOUBLE, fraction);
        for (uint32_t i = 0; i < count; i++) {
            values[i] = shaped(round % 5, &prng);
        }
        for (uint32_t i = 0; i < count; i += CHUNK) {
            feed(&s, values + i, count - i < CHUNK ? count - i : CHUNK, &prng);
        }
        assert_parts(&s);
        qsort(values, count, sizeof *values, compare_doubles);
        double exact = values[(uint32_t)fmax(ceil(fraction * count), 1) - 1];
        double said = value_of(&s, s.state).d;
        double error = exact == 0 ? fabs(said) : fabs(said / exact - 1);
        worst = error > worst ? error : worst;
        if (error > 0.008) {
            fail_msg("percentile %g of %u values of shape %d: %.17g, it is %.17g", fraction, count,
                     round % 5, said, exact);
        }
        sketch_close(&s);
    }
    print_message("approx_percentile: worst error %.3f %%\n", 100 * worst);
}

/* Ends of the range: infinities and NaN are what they are, the smallest numbers count as 0. */
static void test_approx_percentile_ends(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, 1);
    const double values[] = {1.7976931348623157e308,
                             -1.7976931348623157e308,
                             2.2250738585072014e-308,
                             INFINITY,
                             -INFINITY,
                             5e-324,
                             0.0,
                             -5e-324};
    for (size_t i = 0; i < array_len(values); i++) {
        struct sketch s;
        sketch_open(&s, PLAN_APPROX_PERCENTILE, KAPPA_TYPE_DOUBLE, 0.5);
        feed(&s, &values[i], 1, &prng);
        double said = value_of(&s, s.state).d;
        if (fabs(values[i]) < 2.2250738585072014e-308) {
            assert_true(said == 0);
        } else if (isinf(values[i])) {
            assert_true(said == values[i]);
        } else {
            assert_true(fabs(said / values[i] - 1) < 0.008);
        }
        sketch_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_approx_count_distinct),
        cmocka_unit_test(test_approx_percentile),
        cmocka_unit_test(test_approx_percentile_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
