/* Goal: sets, aggregate states and their bytes hold what they were given, at every size; damaged
 * bytes are refused; sums do not overflow; the sum of doubles is the same to the last bit.
 * Method: random values against naive models; encode, decode, encode again; every cut of the bytes.
 * */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "base/prng.h"
#include "processor/agg_operator.h"
#include "processor/agg_set.h"
#include "processor/numeric.h"

#include <math.h>
#include <string.h>

static void test_set(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("set"));
    struct pool pool;
    pool_init(&pool);
    for (int round = 0; round < 200; round++) {
        uint32_t range = 1 + (uint32_t)prng_below(&prng, round % 4 == 0 ? 3000 : 40);
        uint32_t length = (uint32_t)prng_below(&prng, 30);
        uint32_t order[3000];
        uint32_t count = 0;
        bool seen[3000] = {0};
        struct agg_set *set = NULL;
        for (int i = 0; i < 1500; i++) {
            uint32_t value = (uint32_t)prng_below(&prng, range);
            char text[64] = {0};
            int len = snprintf(text, sizeof text, "%u%.*s", value, (int)length,
                               "abcdefghijklmnopqrstuvwxyz0123456789");
            set = agg_set_add(set, &pool, text, value == 0 ? 0 : (uint32_t)len, 1 << 20);
            if (!seen[value]) {
                seen[value] = true;
                order[count++] = value;
            }
        }
        assert_int_equal(agg_set_count(set), count);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t len = 0;
            const char *bytes = (const char *)agg_set_value(set, i, &len);
            char number[16] = {0};
            memcpy(number, bytes, len < 15 ? len : 15);
            assert_int_equal(strtoul(number, NULL, 10), order[i]);
        }
        agg_set_free(set, &pool);
        assert_int_equal(pool.used_bytes, 0);
    }
    pool_close(&pool);
}

static void test_set_full(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool);
    struct agg_set *set = agg_set_add(NULL, &pool, "abc", 3, 5);
    set = agg_set_add(set, &pool, "de", 2, 5);
    set = agg_set_add(set, &pool, "abc", 3, 5);
    assert_int_equal(agg_set_count(set), 2);
    set = agg_set_add(set, &pool, "f", 1, 5);
    assert_ptr_equal(set, AGG_SET_FULL);
    set = agg_set_add(set, &pool, "abc", 3, 5);
    assert_ptr_equal(set, AGG_SET_FULL);
    assert_int_equal(pool.used_bytes, 0);
    agg_set_free(set, &pool);
    pool_close(&pool);
}

/* ---- One aggregate of each kind over a small vector. */

#define AGG(agg_kind, type, result, reg)                                                           \
    {                                                                                              \
        .kind = (agg_kind), .argument_type = (type), .result_type = (result), .argument = (reg),   \
        .filter = PLAN_NONE                                                                        \
    }

#define AGG_BY(agg_kind, type, reg, type_by, reg_by)                                               \
    {                                                                                              \
        .kind = (agg_kind), .argument_type = (type), .result_type = (type), .argument = (reg),     \
        .filter = PLAN_NONE, .by_type = (type_by), .by = (reg_by)                                  \
    }

/* kappa_type_array_of as a constant. */
#define ARRAY_OF(type) ((enum kappa_type)(KAPPA_TYPE_ARRAY | (type)))

#define AGG_TOP(of, reg)                                                                           \
    {                                                                                              \
        .kind = PLAN_TOPK, .argument_type = (of), .result_type = ARRAY_OF(of), .argument = (reg),  \
        .filter = PLAN_NONE, .parameter = {                                                        \
            .type = KAPPA_TYPE_BIGINT,                                                             \
            .i = 3                                                                                 \
        }                                                                                          \
    }

static const struct plan_aggregate all[] = {
    AGG(PLAN_COUNT_ROWS, KAPPA_TYPE_NULL, KAPPA_TYPE_BIGINT, PLAN_NONE),
    AGG(PLAN_COUNT, KAPPA_TYPE_TEXT, KAPPA_TYPE_BIGINT, 2),
    AGG(PLAN_COUNT_DISTINCT, KAPPA_TYPE_TEXT, KAPPA_TYPE_BIGINT, 2),
    AGG(PLAN_COUNT_DISTINCT, KAPPA_TYPE_BIGINT, KAPPA_TYPE_BIGINT, 0),
    AGG(PLAN_COUNT_DISTINCT, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_BIGINT, 1),
    AGG(PLAN_SUM, KAPPA_TYPE_BIGINT, KAPPA_TYPE_BIGINT, 0),
    AGG(PLAN_SUM, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, 1),
    AGG(PLAN_AVG, KAPPA_TYPE_BIGINT, KAPPA_TYPE_DOUBLE, 0),
    AGG(PLAN_AVG, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, 1),
    AGG(PLAN_MIN, KAPPA_TYPE_BIGINT, KAPPA_TYPE_BIGINT, 0),
    AGG(PLAN_MAX, KAPPA_TYPE_BIGINT, KAPPA_TYPE_BIGINT, 0),
    AGG(PLAN_MIN, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, 1),
    AGG(PLAN_MAX, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, 1),
    AGG(PLAN_MIN, KAPPA_TYPE_TEXT, KAPPA_TYPE_TEXT, 2),
    AGG(PLAN_MAX, KAPPA_TYPE_TEXT, KAPPA_TYPE_TEXT, 2),
    AGG(PLAN_SUM, KAPPA_TYPE_NUMERIC, KAPPA_TYPE_NUMERIC, 3),
    AGG(PLAN_AVG, KAPPA_TYPE_NUMERIC, KAPPA_TYPE_NUMERIC, 3),
    AGG(PLAN_MIN, KAPPA_TYPE_NUMERIC, KAPPA_TYPE_NUMERIC, 3),
    AGG(PLAN_MAX, KAPPA_TYPE_NUMERIC, KAPPA_TYPE_NUMERIC, 3),
    AGG(PLAN_FIRST, KAPPA_TYPE_TEXT, KAPPA_TYPE_TEXT, 2),
    AGG(PLAN_LAST, KAPPA_TYPE_NUMERIC, KAPPA_TYPE_NUMERIC, 3),
    AGG_BY(PLAN_MIN_BY, KAPPA_TYPE_TEXT, 2, KAPPA_TYPE_DOUBLE, 1),
    AGG_BY(PLAN_MAX_BY, KAPPA_TYPE_DOUBLE, 1, KAPPA_TYPE_TEXT, 2),
    AGG_BY(PLAN_MAX_BY, KAPPA_TYPE_BIGINT, 0, KAPPA_TYPE_NUMERIC, 3),
    AGG(PLAN_VAR_POP, KAPPA_TYPE_BIGINT, KAPPA_TYPE_DOUBLE, 0),
    AGG(PLAN_STDDEV_SAMP, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, 1),
    AGG(PLAN_MEDIAN, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, 1),
    AGG(PLAN_MODE, KAPPA_TYPE_BIGINT, KAPPA_TYPE_BIGINT, 0),
    AGG(PLAN_APPROX_PERCENTILE, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, 1),
    AGG(PLAN_APPROX_DISTINCT, KAPPA_TYPE_TEXT, KAPPA_TYPE_BIGINT, 2),
    AGG(PLAN_APPROX_DISTINCT, KAPPA_TYPE_NUMERIC, KAPPA_TYPE_BIGINT, 3),
    AGG(PLAN_COUNT_DISTINCT, KAPPA_TYPE_NUMERIC, KAPPA_TYPE_BIGINT, 3),
    AGG(PLAN_SUM_DISTINCT, KAPPA_TYPE_NUMERIC, KAPPA_TYPE_NUMERIC, 3),
    AGG(PLAN_AVG_DISTINCT, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, 1),
    AGG(PLAN_STRING_AGG, KAPPA_TYPE_TEXT, KAPPA_TYPE_TEXT, 2),
    AGG(PLAN_JSONB_AGG, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_JSONB, 1),
    AGG(PLAN_ARRAY_AGG, KAPPA_TYPE_NUMERIC, ARRAY_OF(KAPPA_TYPE_NUMERIC), 3),
    AGG(PLAN_JSONB_AGG, KAPPA_TYPE_TEXT, KAPPA_TYPE_JSONB, 2),
    AGG_TOP(KAPPA_TYPE_BIGINT, 0),
    AGG_TOP(KAPPA_TYPE_TEXT, 2),
    AGG(PLAN_STRING_AGG_DISTINCT, KAPPA_TYPE_TEXT, KAPPA_TYPE_TEXT, 2),
};

enum { ROWS = 64, KINDS = array_len(all) };

struct bench {
    struct arena arena;
    struct pool pool;
    struct agg_layout layout;
    struct agg_layout reading; /* the same aggregates, when they are read */
    int64_t ints[ROWS];
    double reals[ROWS];
    struct kappa_text texts[ROWS];
    struct kappa_numeric numerics[ROWS];
    uint8_t states[4][ROWS];
    struct expr_vec vecs[4];
    uint8_t *state[ROWS];
    uint32_t rows[ROWS];
    int64_t offsets[ROWS];
};

static void bench_open(struct bench *b)
{
    memset(b, 0, sizeof *b);
    arena_init(&b->arena);
    pool_init(&b->pool);
    agg_layout_init(&b->layout, &b->arena, all, KINDS);
    agg_layout_init(&b->reading, &b->arena, all, KINDS);
    agg_layout_for_reading(&b->reading);
    b->vecs[0] = (struct expr_vec){KAPPA_TYPE_BIGINT, b->states[0], {.i = b->ints}};
    b->vecs[1] = (struct expr_vec){KAPPA_TYPE_DOUBLE, b->states[1], {.d = b->reals}};
    b->vecs[2] = (struct expr_vec){KAPPA_TYPE_TEXT, b->states[2], {.s = b->texts}};
    b->vecs[3] = (struct expr_vec){KAPPA_TYPE_NUMERIC, b->states[3], {.n = b->numerics}};
    for (uint32_t i = 0; i < ROWS; i++) {
        b->offsets[i] = i;
    }
}

static void bench_close(struct bench *b)
{
    assert_int_equal(b->pool.used_bytes, 0);
    pool_close(&b->pool);
    arena_free(&b->arena);
}

static void feed_source(struct bench *b, uint8_t *state, uint32_t source, uint32_t from,
                        uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        b->state[i - from] = state;
        b->rows[i - from] = i;
    }
    struct agg_rows rows = {.states = b->state,
                            .rows = b->rows,
                            .count = to - from,
                            .pool = &b->pool,
                            .source = source,
                            .offset = b->offsets};
    for (uint32_t a = 0; a < KINDS; a++) {
        agg_update(&b->layout.slots[a], &rows, b->vecs);
    }
}

static void feed(struct bench *b, uint8_t *state, uint32_t from, uint32_t to)
{
    feed_source(b, state, 0, from, to);
}

static uint8_t *state_new(struct bench *b)
{
    return xcalloc(1, b->layout.bytes);
}

static void state_free(struct bench *b, uint8_t *state)
{
    agg_state_free(&b->layout, state, &b->pool);
    free(state);
}

/* Adds encoded bytes as readers do: what they decode first, and then the others to it. */
static int read_add(struct bench *b, uint8_t *read, bool first, const uint8_t *bytes, size_t len)
{
    uint8_t *part = state_new(b);
    uint8_t *zeros = state_new(b);
    int rc = first ? agg_decode(&b->reading, read, &b->pool, bytes, len, NULL)
                   : agg_add(&b->reading, read, part, &b->pool, bytes, len, NULL);
    assert_memory_equal(part, zeros, b->layout.bytes);
    free(part);
    free(zeros);
    return rc;
}

static void read_free(struct bench *b, uint8_t *read)
{
    agg_state_free(&b->reading, read, &b->pool);
    free(read);
}

static void random_rows(struct bench *b, struct prng *prng)
{
    static const double reals[] = {0.0,    -0.0, __builtin_nan(""), 1e300, -1e300, 0.1,
                                   5e-324, 1e16, __builtin_inf()};
    static const char *const texts[] = {
        "", "a", "b", "ab", "zz", "\xc3\xa9", "a long text, more than one block of the pool"};
    for (uint32_t i = 0; i < ROWS; i++) {
        b->ints[i] = prng_below(prng, 4) == 0 ? INT64_MAX : (int64_t)prng_next(prng) >> 40;
        b->ints[i] = prng_below(prng, 2) == 0 ? -b->ints[i] : b->ints[i];
        b->reals[i] = reals[prng_below(prng, array_len(reals))];
        const char *text = texts[prng_below(prng, array_len(texts))];
        b->texts[i] = (struct kappa_text){text, (uint32_t)strlen(text)};
        uint128 power = numeric_power10((uint32_t)prng_below(prng, 39)) - 1;
        int128 coefficient = prng_below(prng, 2) == 0 ? (int128)power : (int128)(power / 7);
        b->numerics[i] = numeric_make(prng_below(prng, 2) == 0 ? coefficient : -coefficient,
                                      (uint32_t)prng_below(prng, 39));
        for (int c = 0; c < 4; c++) {
            b->states[c][i] = prng_below(prng, 4) == 0 ? EXPR_NULL : EXPR_OK;
        }
    }
}

static void assert_same_bytes(struct bench *b, const uint8_t *one, const uint8_t *two)
{
    struct buf left = {0};
    struct buf right = {0};
    agg_encode(&b->layout, one, &left);
    agg_encode(&b->layout, two, &right);
    assert_int_equal(left.len, right.len);
    assert_memory_equal(left.data, right.data, left.len);
    buf_free(&left);
    buf_free(&right);
}

/* A state is what it was when it comes back from bytes, also when it goes on from there. */
static void test_codec(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("aggregate codec"));
    struct bench b;
    bench_open(&b);
    for (int round = 0; round < 300; round++) {
        random_rows(&b, &prng);
        uint32_t cut = (uint32_t)prng_below(&prng, ROWS);
        uint8_t *whole = state_new(&b);
        uint8_t *first = state_new(&b);
        feed(&b, whole, 0, ROWS);
        feed(&b, first, 0, cut);
        struct buf bytes = {0};
        agg_encode(&b.layout, first, &bytes);
        uint8_t *again = state_new(&b);
        assert_int_equal(agg_decode(&b.layout, again, &b.pool, bytes.data, bytes.len, NULL), 0);
        assert_same_bytes(&b, first, again);
        feed(&b, again, cut, ROWS);
        assert_same_bytes(&b, whole, again);
        /* Cut short or with a byte too many it is no state. */
        for (size_t len = 0; len <= bytes.len + 1; len++) {
            uint8_t *copy = xcalloc(1, len + 1);
            memcpy(copy, bytes.data, len < bytes.len ? len : bytes.len);
            uint8_t *damaged = state_new(&b);
            int rc = agg_decode(&b.layout, damaged, &b.pool, copy, len, NULL);
            assert_int_equal(rc, len == bytes.len ? 0 : -KE_CORRUPT);
            state_free(&b, damaged);
            free(copy);
        }
        buf_free(&bytes);
        state_free(&b, whole);
        state_free(&b, first);
        state_free(&b, again);
    }
    bench_close(&b);
}

static struct kappa_value result(struct bench *b, const uint8_t *state, uint32_t a,
                                 enum expr_state *what);
static struct kappa_value result_of(struct bench *b, const struct agg_layout *layout,
                                    const uint8_t *state, uint32_t a, enum expr_state *what);

/* What decodes can be merged, both ways, and read; and its bytes decode again. */
static void read_damaged(struct bench *b, const uint8_t *whole, const uint8_t *bytes, size_t len)
{
    uint8_t *damaged = state_new(b);
    uint8_t *merged = state_new(b);
    uint8_t *again = state_new(b);
    struct buf out = {0};
    int rc = agg_decode(&b->layout, damaged, &b->pool, bytes, len, NULL);
    assert_true(rc == 0 || rc == -KE_CORRUPT);
    if (rc == 0) {
        agg_merge(&b->layout, merged, damaged, &b->pool);
        agg_merge(&b->layout, merged, whole, &b->pool);
        for (uint32_t a = 0; a < KINDS; a++) {
            enum expr_state what = EXPR_OK;
            (void)result(b, damaged, a, &what);
            (void)result(b, merged, a, &what);
        }
        agg_encode(&b->layout, damaged, &out);
        assert_int_equal(agg_decode(&b->layout, again, &b->pool, out.data, out.len, NULL), 0);
    }
    for (int first = 0; first < 2; first++) {
        uint8_t *read = state_new(b);
        int other = read_add(b, read, first == 0, bytes, len);
        assert_true(first != 0 || rc != 0 || other == 0); /* what writers take readers take */
        if (other == 0) {
            out.len = 0;
            agg_encode(&b->layout, whole, &out);
            assert_int_equal(read_add(b, read, false, out.data, out.len), 0);
        }
        for (uint32_t a = 0; a < KINDS && other == 0; a++) {
            enum expr_state what = EXPR_OK;
            (void)result_of(b, &b->reading, read, a, &what);
        }
        read_free(b, read);
    }
    buf_free(&out);
    state_free(b, damaged);
    state_free(b, merged);
    state_free(b, again);
}

/* Any bytes decode or are refused; none crash. */
static void test_codec_noise(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("aggregate noise"));
    struct bench b;
    bench_open(&b);
    random_rows(&b, &prng);
    uint8_t *state = state_new(&b);
    feed(&b, state, 0, ROWS);
    struct buf bytes = {0};
    agg_encode(&b.layout, state, &bytes);
    for (int round = 0; round < 5000; round++) {
        uint8_t *copy = xmalloc(bytes.len);
        memcpy(copy, bytes.data, bytes.len);
        for (uint64_t k = 1 + prng_below(&prng, 4); k > 0; k--) {
            copy[prng_below(&prng, bytes.len)] = (uint8_t)prng_next(&prng);
        }
        read_damaged(&b, state, copy, bytes.len);
        free(copy);
    }
    buf_free(&bytes);
    state_free(&b, state);
    bench_close(&b);
}

static struct kappa_value result_of(struct bench *b, const struct agg_layout *layout,
                                    const uint8_t *state, uint32_t a, enum expr_state *what)
{
    uint8_t flag = 0;
    static struct kappa_numeric room;
    struct expr_vec out = {all[a].result_type, &flag, {.n = &room}};
    agg_result(&layout->slots[a], state, &b->arena, &out);
    return expr_value(&out, 0, what);
}

static struct kappa_value result(struct bench *b, const uint8_t *state, uint32_t a,
                                 enum expr_state *what)
{
    return result_of(b, &b->layout, state, a, what);
}

static void test_results(void **unused)
{
    (void)unused;
    struct bench b;
    bench_open(&b);
    uint8_t *state = state_new(&b);
    enum expr_state what = EXPR_OK;
    /* Nothing seen: counts are 0, the rest is null. */
    for (uint32_t a = 0; a < KINDS; a++) {
        struct kappa_value value = result(&b, state, a, &what);
        bool counts = all[a].kind <= PLAN_COUNT_DISTINCT || all[a].kind == PLAN_APPROX_DISTINCT;
        assert_int_equal(what, counts ? EXPR_OK : EXPR_NULL);
        assert_true(!counts || value.i == 0);
    }
    /* A sum beyond bigint comes back when the other sign follows. */
    b.ints[0] = b.ints[1] = INT64_MAX;
    b.ints[2] = b.ints[3] = -INT64_MAX;
    memset(b.states[1], EXPR_NULL, ROWS);
    memset(b.states[2], EXPR_NULL, ROWS);
    memset(b.states[3], EXPR_NULL, ROWS);
    feed(&b, state, 0, 2);
    (void)result(&b, state, 5, &what);
    assert_int_equal(what, EXPR_ERROR_OVERFLOW);
    assert_true(result(&b, state, 7, &what).d == 0x1p63);
    feed(&b, state, 2, 4);
    assert_int_equal(result(&b, state, 5, &what).i, 0);
    assert_int_equal(what, EXPR_OK);
    assert_int_equal(result(&b, state, 3, &what).i, 2);
    /* NaN is above all numbers; zeros are one value. */
    memset(b.states[1], EXPR_OK, ROWS);
    b.reals[0] = 0.0;
    b.reals[1] = -0.0;
    b.reals[2] = __builtin_nan("");
    b.reals[3] = -5;
    feed(&b, state, 0, 4);
    assert_int_equal(result(&b, state, 4, &what).i, 3);
    assert_true(result(&b, state, 11, &what).d == -5);
    assert_true(__builtin_isnan(result(&b, state, 12, &what).d));
    state_free(&b, state);
    /* Text in byte order. */
    state = state_new(&b);
    memset(b.states[2], EXPR_OK, ROWS);
    b.texts[0] = (struct kappa_text){"b", 1};
    b.texts[1] = (struct kappa_text){"ab", 2};
    b.texts[2] = (struct kappa_text){"a", 1};
    b.texts[3] = (struct kappa_text){"bb", 2};
    feed(&b, state, 0, 4);
    struct kappa_value least = result(&b, state, 13, &what);
    assert_int_equal(least.s.len, 1);
    assert_memory_equal(least.s.bytes, "a", 1);
    struct kappa_value most = result(&b, state, 14, &what);
    assert_int_equal(most.s.len, 2);
    assert_memory_equal(most.s.bytes, "bb", 2);
    state_free(&b, state);
    bench_close(&b);
}

/* The sum of doubles, rounded once: Shewchuk's algorithm, as in Python's math.fsum. */
static double model_sum(const double *values, uint32_t count)
{
    double parts[64];
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        double x = values[i];
        uint32_t kept = 0;
        for (uint32_t k = 0; k < n; k++) {
            double y = parts[k];
            if (fabs(x) < fabs(y)) {
                double swap = x;
                x = y;
                y = swap;
            }
            double high = x + y;
            double low = y - (high - x);
            if (low != 0) {
                parts[kept++] = low;
            }
            x = high;
        }
        parts[kept++] = x;
        n = kept;
        assert_true(n < 64);
    }
    double high = n == 0 ? 0 : parts[--n];
    double low = 0;
    while (n > 0 && low == 0) {
        double x = high;
        double y = parts[--n];
        high = x + y;
        low = y - (high - x);
    }
    /* A tie that the parts below decide. */
    if (n > 0 && ((low < 0 && parts[n - 1] < 0) || (low > 0 && parts[n - 1] > 0))) {
        double x = high + low * 2;
        high = x - high == low * 2 ? x : high;
    }
    return high;
}

/* Sums of doubles are exact: any order, any cuts and any spread give the same bits and bytes. */
static void test_double_bits(void **unused)
{
    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("double bits"));
    struct bench b;
    bench_open(&b);
    for (int round = 0; round < 3000; round++) {
        int range = (int[]){8, 60, 200, 1900}[prng_below(&prng, 4)];
        for (uint32_t i = 0; i < ROWS; i++) {
            double unit = prng_below(&prng, 3) == 0 ? (double)prng_below(&prng, 4) - 2
                                                    : prng_unit(&prng) - 0.5;
            b.reals[i] = ldexp(unit, (int)prng_below(&prng, (uint64_t)range) - range / 2);
            if (i > 0 && prng_below(&prng, 4) == 0) {
                b.reals[i] = -b.reals[prng_below(&prng, i)];
            }
        }
        double model = model_sum(b.reals, ROWS);
        uint8_t *states[3] = {state_new(&b), state_new(&b), state_new(&b)};
        for (uint32_t from = 0; from < ROWS;) {
            uint32_t to = from + 1 + (uint32_t)prng_below(&prng, ROWS - from);
            feed(&b, states[1 + prng_below(&prng, 2)], from, to);
            from = to;
        }
        for (uint32_t i = ROWS; i-- > 0;) {
            feed(&b, states[0], i, i + 1);
        }
        agg_merge(&b.layout, states[1], states[2], &b.pool);
        struct buf bytes[2] = {0};
        for (uint32_t k = 0; k < 2; k++) {
            enum expr_state what = EXPR_OK;
            double sum = result(&b, states[k], 6, &what).d;
            assert_int_equal(what, EXPR_OK);
            if (memcmp(&sum, &model, sizeof sum) != 0) {
                fail_msg("round %d: %.17g, the model says %.17g", round, sum, model);
            }
            b.layout.slots[6].op->encode(&b.layout.slots[6], states[k] + b.layout.slots[6].offset,
                                         &bytes[k]);
        }
        assert_int_equal(bytes[0].len, bytes[1].len);
        assert_memory_equal(bytes[0].data, bytes[1].data, bytes[0].len);
        for (uint32_t k = 0; k < 3; k++) {
            state_free(&b, states[k]);
        }
        buf_free(&bytes[0]);
        buf_free(&bytes[1]);
    }
    bench_close(&b);
}

/* A full count(DISTINCT) stays full through bytes and merges, and reads as an error. */
static void test_full_is_sticky(void **unused)
{
    (void)unused;
    struct bench b;
    bench_open(&b);
    uint8_t *state = state_new(&b);
    char *large = xcalloc(1, LIMIT_DISTINCT_BYTES);
    memset(b.states[0], EXPR_NULL, ROWS);
    memset(b.states[1], EXPR_NULL, ROWS);
    b.texts[0] = (struct kappa_text){large, LIMIT_DISTINCT_BYTES};
    b.texts[1] = (struct kappa_text){"x", 1};
    feed(&b, state, 0, 2);
    enum expr_state what = EXPR_OK;
    (void)result(&b, state, 2, &what);
    assert_int_equal(what, EXPR_ERROR_FULL);
    struct buf bytes = {0};
    agg_encode(&b.layout, state, &bytes);
    uint8_t *again = state_new(&b);
    assert_int_equal(agg_decode(&b.layout, again, &b.pool, bytes.data, bytes.len, NULL), 0);
    uint8_t *merged = state_new(&b);
    feed(&b, merged, 1, 2);
    agg_merge(&b.layout, merged, again, &b.pool);
    (void)result(&b, merged, 2, &what);
    assert_int_equal(what, EXPR_ERROR_FULL);
    buf_free(&bytes);
    free(large);
    state_free(&b, state);
    state_free(&b, again);
    state_free(&b, merged);
    bench_close(&b);
}

/* layout: of the second. */
static void assert_same_result(struct bench *b, const uint8_t *one, const struct agg_layout *layout,
                               const uint8_t *two, uint32_t a)
{
    enum expr_state left_state = EXPR_OK;
    enum expr_state right_state = EXPR_OK;
    struct kappa_value left = result(b, one, a, &left_state);
    struct kappa_numeric copy = left.n;
    struct kappa_value right = result_of(b, layout, two, a, &right_state);
    assert_int_equal(left_state, right_state);
    if (left_state != EXPR_OK) {
        return;
    }
    switch (kappa_type_payload(left.type)) {
    case KAPPA_PAYLOAD_BYTES:
        assert_int_equal(left.s.len, right.s.len);
        assert_memory_equal(left.s.bytes, right.s.bytes, left.s.len);
        break;
    case KAPPA_PAYLOAD_NUMERIC:
        assert_memory_equal(&copy, &right.n, sizeof copy);
        break;
    case KAPPA_PAYLOAD_DOUBLE:
        assert_true(left.d == right.d || (left.d != left.d && right.d != right.d));
        break;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        assert_int_equal(left.i, right.i);
        break;
    }
}

static void assert_same_value(struct bench *b, const uint8_t *one, const uint8_t *two, uint32_t a)
{
    assert_same_result(b, one, &b->layout, two, a);
}

/* Parts of several sources and of one, merged in any order, have one value; one that saw all rows of
 * a single source has it too. */
static void test_merge_order(void **unused)
{
    enum { PARTS = 6 };

    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("merge order"));
    struct bench b;
    bench_open(&b);
    for (int round = 0; round < 300; round++) {
        uint8_t *merged[3] = {state_new(&b), state_new(&b), state_new(&b)};
        uint32_t order[PARTS] = {0, 1, 2, 3, 4, 5};
        bool one_source = round % 3 == 0;
        random_rows(&b, &prng);
        for (int again = 0; again < 2; again++) {
            uint8_t *parts[PARTS];
            for (uint32_t p = 0; p < PARTS; p++) {
                parts[p] = state_new(&b);
            }
            for (uint32_t i = 0; i < ROWS; i++) {
                uint32_t part = (i * 7 + i / 11 + (uint32_t)round) % PARTS;
                feed_source(&b, parts[part], one_source ? 0 : part / 2, i, i + 1);
            }
            for (uint32_t p = PARTS; p > 1; p--) {
                uint32_t other = (uint32_t)prng_below(&prng, p);
                uint32_t swap = order[p - 1];
                order[p - 1] = order[other];
                order[other] = swap;
            }
            for (uint32_t p = 0; p < PARTS; p++) {
                agg_merge(&b.layout, merged[again], parts[order[p]], &b.pool);
            }
            for (uint32_t p = 0; p < PARTS; p++) {
                state_free(&b, parts[p]);
            }
        }
        feed(&b, merged[2], 0, ROWS);
        for (uint32_t a = 0; a < KINDS; a++) {
            assert_same_value(&b, merged[0], merged[1], a);
            if (one_source) {
                assert_same_value(&b, merged[0], merged[2], a);
            }
        }
        for (int m = 0; m < 3; m++) {
            state_free(&b, merged[m]);
        }
    }
    bench_close(&b);
}

/* Readers decode the first part and add the others to it: the values are those of writers, who merge all
 * of them. */
static void test_merge_for_reading(void **unused)
{
    enum { PARTS = 3 };

    (void)unused;
    struct prng prng;
    prng_init(&prng, unit_seed("merge for reading"));
    struct bench b;
    bench_open(&b);
    for (int round = 0; round < 300; round++) {
        uint8_t *written = state_new(&b);
        uint8_t *read = state_new(&b);
        uint32_t parts = 1 + (uint32_t)prng_below(&prng, PARTS);
        random_rows(&b, &prng);
        for (uint32_t p = 0; p < parts; p++) {
            uint8_t *part = state_new(&b);
            struct buf bytes = {0};
            for (uint32_t i = p; i < ROWS; i += parts) {
                feed_source(&b, part, p, i, i + 1);
            }
            agg_merge(&b.layout, written, part, &b.pool);
            agg_encode(&b.layout, part, &bytes);
            assert_int_equal(read_add(&b, read, p == 0, bytes.data, bytes.len), 0);
            buf_free(&bytes);
            state_free(&b, part);
        }
        for (uint32_t a = 0; a < KINDS; a++) {
            assert_same_result(&b, written, &b.reading, read, a);
        }
        state_free(&b, written);
        read_free(&b, read);
    }
    bench_close(&b);
}

/* States that are merged to be stored keep the limits of stored ones; those merged for reading need
 * not. */
static void test_merged_limits(void **unused)
{
    (void)unused;
    struct bench b;
    bench_open(&b);
    uint8_t *states[2] = {state_new(&b), state_new(&b)};
    for (int c = 0; c < 4; c++) {
        memset(b.states[c], EXPR_NULL, ROWS);
    }
    char *large = xcalloc(1, b.layout.slots[2].limit);
    for (uint32_t i = 0; i < 2; i++) {
        b.states[2][0] = EXPR_OK;
        large[0] = (char)('a' + i);
        b.texts[0] = (struct kappa_text){large, b.layout.slots[2].limit / 2 + 1};
        feed(&b, states[i], 0, 1);
    }
    uint8_t *merged = state_new(&b);
    uint8_t *again = state_new(&b);
    uint8_t *read = state_new(&b);
    struct buf bytes = {0};
    enum expr_state what = EXPR_OK;
    agg_merge(&b.layout, merged, states[0], &b.pool);
    agg_merge(&b.layout, merged, states[1], &b.pool);
    (void)result(&b, merged, 2, &what);
    assert_int_equal(what, EXPR_ERROR_FULL);
    agg_encode(&b.layout, merged, &bytes);
    assert_true(bytes.len < LIMIT_ROW_BYTES);
    assert_int_equal(agg_decode(&b.layout, again, &b.pool, bytes.data, bytes.len, NULL), 0);
    for (int i = 0; i < 2; i++) {
        bytes.len = 0;
        agg_encode(&b.layout, states[i], &bytes);
        assert_int_equal(read_add(&b, read, i == 0, bytes.data, bytes.len), 0);
    }
    assert_int_equal(result_of(&b, &b.reading, read, 2, &what).i, 2);
    assert_int_equal(what, EXPR_OK);
    buf_free(&bytes);
    state_free(&b, merged);
    state_free(&b, again);
    read_free(&b, read);
    free(large);
    state_free(&b, states[0]);
    state_free(&b, states[1]);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_set_full),
        cmocka_unit_test(test_codec),
        cmocka_unit_test(test_codec_noise),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_double_bits),
        cmocka_unit_test(test_full_is_sticky),
        cmocka_unit_test(test_merged_limits),
        cmocka_unit_test(test_merge_order),
        cmocka_unit_test(test_merge_for_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
