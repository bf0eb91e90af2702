/* Goal: key bytes compare as the values do, come back as what they were, and keep to their bound;
 * keys that people write become the same bytes.
 * Method: random pairs of values, their order by definition against memcmp; tables of texts. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "base/prng.h"
#include "processor/key_codec.h"
#include "processor/numeric.h"
#include "processor/processor.h"

#include <string.h>

static const enum kappa_type types[] = {
    KAPPA_TYPE_BOOLEAN,  KAPPA_TYPE_INTEGER,     KAPPA_TYPE_BIGINT,    KAPPA_TYPE_DOUBLE,
    KAPPA_TYPE_TEXT,     KAPPA_TYPE_TIMESTAMPTZ, KAPPA_TYPE_NUMERIC,   KAPPA_TYPE_REAL,
    KAPPA_TYPE_SMALLINT, KAPPA_TYPE_DATE,        KAPPA_TYPE_TIMESTAMP, KAPPA_TYPE_INTERVAL,
    KAPPA_TYPE_BYTEA};

static struct kappa_value random_value(struct prng *prng, enum kappa_type type, char *room)
{
    static const double reals[] = {
        0.0,    -0.0,    1.5,   -1.5,  __builtin_inf(), -__builtin_inf(), __builtin_nan(""),
        5e-324, -5e-324, 1e300, -1e300};
    struct kappa_value value = {.type = type, .is_null = prng_below(prng, 8) == 0};
    if (kappa_type_payload(type) == KAPPA_PAYLOAD_BYTES) {
        static const char bytes[] = {0, 0, 1, 'a', 'b', '\xff'};
        uint32_t len = (uint32_t)prng_below(prng, 6);
        for (uint32_t i = 0; i < len; i++) {
            room[i] = bytes[prng_below(prng, sizeof bytes)];
        }
        value.s = (struct kappa_text){room, len};
    } else if (type == KAPPA_TYPE_NUMERIC) {
        uint128 digits = (uint128)prng_next(prng) << 64 | prng_next(prng);
        digits %= numeric_power10((uint32_t)prng_below(prng, prng_below(prng, 2) == 0 ? 3 : 39));
        value.n = numeric_make(prng_below(prng, 2) == 0 ? (int128)digits : -(int128)digits,
                               (uint32_t)prng_below(prng, prng_below(prng, 2) == 0 ? 3 : 39));
    } else if (type == KAPPA_TYPE_DOUBLE || type == KAPPA_TYPE_REAL) {
        value.d = prng_below(prng, 2) == 0 ? reals[prng_below(prng, array_len(reals))]
                                           : (prng_unit(prng) - 0.5) * 1e3;
    } else if (type == KAPPA_TYPE_BOOLEAN) {
        value.i = (int64_t)prng_below(prng, 2);
    } else {
        value.i = (int64_t)prng_next(prng) >> prng_below(prng, 64);
    }
    return value;
}

static int sign(int64_t order)
{
    return order < 0 ? -1 : order > 0;
}

/* The order as SQL has it: nulls last, NaN above all numbers, zeros equal, text by bytes. */
static int by_definition(const struct kappa_value *a, const struct kappa_value *b)
{
    if (a->is_null || b->is_null) {
        return (int)a->is_null - (int)b->is_null;
    }
    if (kappa_type_payload(a->type) == KAPPA_PAYLOAD_BYTES) {
        int order = memcmp(a->s.bytes, b->s.bytes, a->s.len < b->s.len ? a->s.len : b->s.len);
        return order != 0 ? sign(order) : sign((int64_t)a->s.len - (int64_t)b->s.len);
    }
    if (a->type == KAPPA_TYPE_NUMERIC) {
        return numeric_compare(a->n, b->n);
    }
    if (a->type == KAPPA_TYPE_DOUBLE || a->type == KAPPA_TYPE_REAL) {
        if (__builtin_isnan(a->d) || __builtin_isnan(b->d)) {
            return __builtin_isnan(a->d) - __builtin_isnan(b->d);
        }
        return (a->d > b->d) - (a->d < b->d);
    }
    return (a->i > b->i) - (a->i < b->i);
}

/* Two columns: the first value, then one more, so that the end of a text matters. */
static size_t encode(const struct kappa_value *first, const struct kappa_value *second,
                     uint8_t *key)
{
    uint8_t *at = key_put_value(key, key + LIMIT_GROUP_KEY_LEN, first);
    assert_non_null(at);
    at = key_put_value(at, key + LIMIT_GROUP_KEY_LEN, second);
    assert_non_null(at);
    return (size_t)(at - key);
}

static void test_order_and_round_trip(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("key codec"));
    struct arena arena;
    arena_init(&arena);
    for (int round = 0; round < 200000; round++) {
        char rooms[4][8];
        struct kappa_value values[4];
        enum kappa_type first = types[prng_below(&prng, array_len(types))];
        enum kappa_type second = types[prng_below(&prng, array_len(types))];
        for (int i = 0; i < 4; i++) {
            values[i] = random_value(&prng, i % 2 == 0 ? first : second, rooms[i]);
        }
        uint8_t a[LIMIT_GROUP_KEY_LEN];
        uint8_t b[LIMIT_GROUP_KEY_LEN];
        size_t a_len = encode(&values[0], &values[1], a);
        size_t b_len = encode(&values[2], &values[3], b);
        int expected = by_definition(&values[0], &values[2]);
        expected = expected != 0 ? expected : by_definition(&values[1], &values[3]);
        int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
        order = order != 0 ? sign(order) : sign((int64_t)a_len - (int64_t)b_len);
        assert_int_equal(order, expected);

        size_t pos = 0;
        for (int i = 0; i < 2; i++) {
            struct kappa_value back;
            assert_int_equal(key_take(a, a_len, &pos, values[i].type, &arena, &back, NULL), 0);
            assert_int_equal(back.is_null, values[i].is_null);
            assert_int_equal(by_definition(&back, &values[i]), 0);
        }
        assert_int_equal(pos, a_len);
        /* Cut short, it is refused. */
        pos = 0;
        struct kappa_value back;
        size_t cut = prng_below(&prng, a_len);
        bool whole = key_take(a, cut, &pos, first, &arena, &back, NULL) == 0 &&
                     key_take(a, cut, &pos, second, &arena, &back, NULL) == 0;
        assert_false(whole);
        arena_reset(&arena);
    }
    arena_free(&arena);
}

static void test_bound(void **state)
{
    (void)state;
    uint8_t *key = xmalloc(LIMIT_GROUP_KEY_LEN);
    char text[LIMIT_GROUP_KEY_LEN];
    for (int zeros = 0; zeros < 2; zeros++) {
        memset(text, zeros != 0 ? 0 : 'x', sizeof text);
        for (uint32_t len = 0; len < sizeof text; len++) {
            struct kappa_value value = {.type = KAPPA_TYPE_TEXT, .s = {text, len}};
            size_t need = 3 + (size_t)len * (zeros != 0 ? 2 : 1);
            uint8_t *end = key_put_value(key, key + LIMIT_GROUP_KEY_LEN, &value);
            assert_int_equal(end != NULL, need <= LIMIT_GROUP_KEY_LEN);
        }
    }
    /* Columns of fixed size fill the rest up to the bound, not beyond. */
    struct kappa_value number = {.type = KAPPA_TYPE_BIGINT, .i = 1};
    uint8_t *at = key;
    int count = 0;
    for (; at != NULL; count++) {
        at = key_put_value(at, key + LIMIT_GROUP_KEY_LEN, &number);
    }
    assert_int_equal(count - 1, LIMIT_GROUP_KEY_LEN / 9);
    free(key);
}

/* ---- Keys that people write. */

static const struct {
    enum kappa_type type;
    const char *text;
    bool good;
    int64_t i;
    double d;
} written[] = {
    {KAPPA_TYPE_BIGINT, "17", true, 17, 0},
    {KAPPA_TYPE_BIGINT, "-9223372036854775808", true, INT64_MIN, 0},
    {KAPPA_TYPE_BIGINT, "9223372036854775808", false, 0, 0},
    {KAPPA_TYPE_BIGINT, "1.0", false, 0, 0},
    {KAPPA_TYPE_BIGINT, "", false, 0, 0},
    {KAPPA_TYPE_BIGINT, " 1", false, 0, 0},
    {KAPPA_TYPE_BIGINT, "1,", false, 0, 0},
    {KAPPA_TYPE_BIGINT, "abc", false, 0, 0},
    {KAPPA_TYPE_INTEGER, "2147483647", true, 2147483647, 0},
    {KAPPA_TYPE_INTEGER, "2147483648", false, 0, 0},
    {KAPPA_TYPE_BOOLEAN, "true", true, 1, 0},
    {KAPPA_TYPE_BOOLEAN, "f", true, 0, 0},
    {KAPPA_TYPE_BOOLEAN, "1", false, 0, 0},
    {KAPPA_TYPE_DOUBLE, "1.5", true, 0, 1.5},
    {KAPPA_TYPE_DOUBLE, "-0", true, 0, 0},
    {KAPPA_TYPE_DOUBLE, "1e22", true, 0, 1e22},
    {KAPPA_TYPE_DOUBLE, "0.30000000000000004", true, 0, 0.30000000000000004},
    {KAPPA_TYPE_DOUBLE, "-Infinity", true, 0, -__builtin_inf()},
    {KAPPA_TYPE_DOUBLE, "NaN", true, 0, __builtin_nan("")},
    {KAPPA_TYPE_DOUBLE, "1e999", false, 0, 0},
    {KAPPA_TYPE_DOUBLE, "0x10", false, 0, 0},
    {KAPPA_TYPE_TIMESTAMPTZ, "2023-11-14T22:13:20Z", true, 1700000000000000, 0},
    {KAPPA_TYPE_TIMESTAMPTZ, "1700000000123", true, 1700000000123000, 0},
    {KAPPA_TYPE_TIMESTAMPTZ, "tomorrow", false, 0, 0},
};

static void test_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_len(written); i++) {
        struct plan_key key = {PLAN_KEY_COLUMN, "k", written[i].type, 0, 0};
        struct plan_view view = {
            .shape = {.name = "t"}, .kind = PLAN_GROUP, .keys = &key, .key_count = 1};
        uint8_t bytes[LIMIT_GROUP_KEY_LEN];
        size_t len = 0;
        uint32_t source = 0;
        struct err err = {0};
        int rc = plan_key_from_text(&view, &written[i].text, 1, bytes, &len, &source, &err);
        if ((rc == 0) != written[i].good) {
            fail_msg("%s: %d", written[i].text, rc);
        }
        if (rc < 0) {
            assert_int_equal(rc, -KE_INVALID);
            assert_non_null(strstr(err.text, "is not a value of \"k\""));
            continue;
        }
        struct kappa_value value = {.type = written[i].type, .i = written[i].i};
        if (value.type == KAPPA_TYPE_DOUBLE) {
            value.d = written[i].d;
        }
        uint8_t expected[LIMIT_GROUP_KEY_LEN];
        uint8_t *end = key_put_value(expected, expected + sizeof expected, &value);
        assert_int_equal(len, end - expected);
        assert_memory_equal(bytes, expected, len);
        assert_int_equal(source, UINT32_MAX);
    }
}

static void test_written_columns(void **state)
{
    (void)state;
    const struct plan_key keys[] = {
        {PLAN_KEY_WINDOW_START, "window_start", KAPPA_TYPE_TIMESTAMPTZ, PLAN_NONE, 0},
        {PLAN_KEY_COLUMN, "usr", KAPPA_TYPE_TEXT, 0, 0},
        {PLAN_KEY_COLUMN, "n", KAPPA_TYPE_BIGINT, 1, 0},
    };
    struct plan_view view = {
        .shape = {.name = "t", .windowed = true}, .kind = PLAN_GROUP, .keys = keys, .key_count = 3};
    const char *texts[] = {"u1", "5", "6"};
    uint8_t bytes[LIMIT_GROUP_KEY_LEN];
    size_t len = 0;
    uint32_t source = 0;
    struct err err = {0};
    assert_int_equal(plan_key_from_text(&view, texts, 2, bytes, &len, &source, &err), 0);
    assert_int_equal(len, 1 + 2 + 2 + 9);
    assert_int_equal(plan_key_from_text(&view, texts, 1, bytes, &len, &source, &err), -KE_INVALID);
    assert_string_equal(err.text, "the key of t has 2 columns, got 1 value");
    assert_int_equal(plan_key_from_text(&view, texts, 3, bytes, &len, &source, &err), -KE_INVALID);
    assert_string_equal(err.text, "the key of t has 2 columns, got 3 values");

    struct plan_view append = {.shape = {.name = "log"}, .kind = PLAN_APPEND};
    const char *place[] = {"3", "41"};
    assert_int_equal(plan_key_from_text(&append, place, 2, bytes, &len, &source, &err), 0);
    assert_int_equal(source, 3);
    assert_int_equal(len, 8);
    assert_int_equal(load_i64_sortable(bytes), 41);
    assert_int_equal(plan_key_from_text(&append, texts, 2, bytes, &len, &source, &err),
                     -KE_INVALID);
    assert_int_equal(plan_key_from_text(&append, place, 1, bytes, &len, &source, &err),
                     -KE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_round_trip),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_written_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
