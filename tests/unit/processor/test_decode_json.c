/* Goal: the decoder reads what its header says, and refuses the rest with a reason.
 * Method: a table of values with the row or the reason they give; random documents, also damaged
 * ones, whose verdict and values are compared with jansson's. */
#include "tests/unit/unit.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/prng.h"
#include "processor/decode.h"

#include <math.h>
#include <string.h>

static const struct plan_column columns[] = {
    {"t", KAPPA_TYPE_TEXT, true, false, 0},         {"b", KAPPA_TYPE_BOOLEAN, true, false, 0},
    {"i", KAPPA_TYPE_INTEGER, true, false, 0},      {"l", KAPPA_TYPE_BIGINT, true, false, 0},
    {"d", KAPPA_TYPE_DOUBLE, true, false, 0},       {"ts", KAPPA_TYPE_TIMESTAMPTZ, true, false, 0},
    {"unused", KAPPA_TYPE_BIGINT, false, false, 0}, {"a\"q", KAPPA_TYPE_BIGINT, true, false, 0},
};

static struct plan_input input_of(int64_t num, int64_t den)
{
    return (struct plan_input){.name = "events",
                               .topic = "events",
                               .format = PLAN_FORMAT_JSON,
                               .columns = columns,
                               .column_count = array_len(columns),
                               .event_time = PLAN_NONE,
                               .timestamp_unit_us_num = num,
                               .timestamp_unit_us_den = den};
}

/* A value with exactly the tail it is promised, so that ASan sees any step beyond. */
static bool take(struct decoder *decoder, const char *text, size_t len, uint32_t row)
{
    uint8_t *copy = xmalloc(len + KAPPA_RECORD_TAIL);
    memcpy(copy, text, len);
    /* What lies behind a value may look like its continuation. */
    memset(copy + len, len % 2 == 0 ? '9' : '"', KAPPA_RECORD_TAIL);
    struct kappa_record record = {.value = copy, .value_len = u32_from(len)};
    bool good = decoder_take(decoder, &record, row);
    /* Texts are borrowed: they are made the decoder's own for the test's convenience. */
    struct expr_vec texts = decoder_columns(decoder)[0];
    static char kept[4096];
    if (good && texts.state[row] == EXPR_OK) {
        assert_true(texts.s[row].len < sizeof kept);
        memcpy(kept, texts.s[row].bytes, texts.s[row].len);
        texts.s[row].bytes = kept;
    }
    free(copy);
    return good;
}

/* "t=abc i=1", the columns that are not null. */
static void render(const struct decoder *decoder, uint32_t row, struct buf *out)
{
    buf_reset(out);
    for (uint32_t c = 0; c < array_len(columns); c++) {
        enum expr_state state = EXPR_OK;
        struct kappa_value value = expr_value(&decoder_columns(decoder)[c], row, &state);
        assert_true(state <= EXPR_NULL);
        if (value.is_null) {
            continue;
        }
        buf_printf(out, "%s%s=", out->len > 0 ? " " : "", columns[c].name);
        if (value.type == KAPPA_TYPE_TEXT) {
            buf_append(out, value.s.bytes, value.s.len);
        } else if (value.type == KAPPA_TYPE_DOUBLE) {
            buf_printf(out, "%.17g", value.d);
        } else {
            buf_printf(out, "%lld", (long long)value.i);
        }
    }
}

static const struct {
    const char *json;
    const char *expected; /* the row, or "!" and the reason's beginning */
} cases[] = {
    {"{}", ""},
    {" {\t}\n", ""},
    {"{\"t\":\"abc\",\"i\":1,\"l\":2,\"d\":1.5,\"b\":true}", "t=abc b=1 i=1 l=2 d=1.5"},
    {"{ \"t\" : \"abc\" , \"b\" : false }", "t=abc b=0"},
    {"{\"unused\":\"any\",\"x\":{\"y\":[1,{\"z\":null}],\"w\":{}},\"i\":7}", "i=7"},
    {"{\"t\":null,\"i\":null,\"d\":null,\"b\":null,\"ts\":null}", ""},
    {"{\"t\":\"\"}", "t="},
    {"{\"i\":1,\"i\":2}", "i=2"},
    {"{\"i\":\"x\",\"i\":2}", "i=2"},
    {"{\"i\":1,\"i\":null}", ""},
    {"{\"\\u0069\":5}", "i=5"},
    {"{\"a\\\"q\":5}", "a\"q=5"},
    {"{\"t\":\"a\\n\\\"\\\\\\/\\u00e9\\ud83d\\ude00\"}", "t=a\n\"\\/\u00e9\U0001F600"},
    {"{\"t\":\"\u00e9\U0001F600\"}", "t=\u00e9\U0001F600"},
    {"{\"d\":0.1,\"i\":-0}", "i=0 d=0.10000000000000001"},
    {"{\"d\":1e23}", "d=9.9999999999999992e+22"},
    {"{\"d\":123456789012345678901234567890}", "d=1.2345678901234568e+29"},
    {"{\"d\":2.2250738585072014e-308}", "d=2.2250738585072014e-308"},
    {"{\"d\":17.123456789012345678}", "d=17.123456789012344"},
    {"{\"d\":-0.0}", "d=-0"},
    {"{\"d\":5}", "d=5"},
    {"{\"l\":9223372036854775807}", "l=9223372036854775807"},
    {"{\"l\":-9223372036854775808}", "l=-9223372036854775808"},
    {"{\"i\":2147483647}", "i=2147483647"},
    {"{\"ts\":1700000000123}", "ts=1700000000123000"},
    {"{\"ts\":1700000000123.4567}", "ts=1700000000123457"},
    {"{\"ts\":-1.0005}", "ts=-1001"},
    {"{\"ts\":1.7e12}", "ts=1700000000000000"},
    {"{\"ts\":\"2023-11-14T22:13:20Z\"}", "ts=1700000000000000"},
    {"{\"ts\":\"2023-11-14T22:13:20\\u005a\"}", "ts=1700000000000000"},
    /* Wrong types. */
    {"{\"t\":1}", "!column \"t\": expected text, got number"},
    {"{\"t\":true}", "!column \"t\": expected text, got boolean"},
    {"{\"t\":{\"a\":1}}", "!column \"t\": expected text, got object"},
    {"{\"t\":[]}", "!column \"t\": expected text, got array"},
    {"{\"d\":\"1\"}", "!column \"d\": expected double precision, got text"},
    {"{\"d\":1e999}", "!column \"d\": expected double precision, got a number out of range"},
    {"{\"b\":1}", "!column \"b\": expected boolean, got number"},
    {"{\"i\":1.0}", "!column \"i\": expected integer, got a number with fraction or exponent"},
    {"{\"i\":1e3}", "!column \"i\": expected integer, got a number with fraction or exponent"},
    {"{\"i\":2147483648}", "!column \"i\": expected integer, got a number out of range"},
    {"{\"l\":9223372036854775808}", "!column \"l\": expected bigint, got a number out of range"},
    {"{\"l\":99999999999999999999999}",
     "!column \"l\": expected bigint, got a number out of range"},
    {"{\"ts\":\"yesterday\"}",
     "!column \"ts\": expected timestamptz, got text that is not an RFC 3339 time"},
    {"{\"ts\":1e300}", "!column \"ts\": expected timestamptz, got a number out of range"},
    {"{\"ts\":true}", "!column \"ts\": expected timestamptz, got boolean"},
    {"{\"d\":\"x\",\"t\":1}", "!column \"t\": expected text, got number"},
    /* Malformed. */
    {"", "!malformed JSON: "},
    {"  ", "!malformed JSON: "},
    {"1", "!malformed JSON: expected an object"},
    {"[{}]", "!malformed JSON: expected an object"},
    {"null", "!malformed JSON: expected an object"},
    {"{", "!malformed JSON: "},
    {"{\"i\"", "!malformed JSON: "},
    {"{\"i\":", "!malformed JSON: "},
    {"{\"i\":1", "!malformed JSON: "},
    {"{\"i\":1,", "!malformed JSON: "},
    {"{\"i\":1,}", "!malformed JSON: expected a name in quotes at byte 7"},
    {"{,\"i\":1}", "!malformed JSON: expected a name in quotes at byte 1"},
    {"{\"i\" 1}", "!malformed JSON: expected ':' behind a name at byte 5"},
    {"{i:1}", "!malformed JSON: expected a name in quotes at byte 1"},
    {"{\"i\":1}}", "!malformed JSON: something follows the object at byte 7"},
    {"{\"i\":1} x", "!malformed JSON: something follows the object at byte 8"},
    {"{} {}", "!malformed JSON: something follows the object at byte 3"},
    {"{\"i\":1 \"l\":2}", "!malformed JSON: expected ',' or '}' at byte 7"},
    {"{\"i\":01}", "!malformed JSON: expected a value at byte 5"},
    {"{\"d\":1.}", "!malformed JSON: expected a value"},
    {"{\"d\":.5}", "!malformed JSON: expected a value"},
    {"{\"d\":+1}", "!malformed JSON: expected a value"},
    {"{\"d\":1e}", "!malformed JSON: expected a value"},
    {"{\"d\":-}", "!malformed JSON: expected a value"},
    {"{\"d\":NaN}", "!malformed JSON: expected a value"},
    {"{\"d\":1x}", "!malformed JSON: expected a value"},
    {"{\"x\":1x}", "!malformed JSON: expected a value"},
    {"{\"x\":tru}", "!malformed JSON: expected a value"},
    {"{\"x\":nulll}", "!malformed JSON: expected a value"},
    {"{\"x\":}", "!malformed JSON: "},
    {"{\"x\":,\"i\":1}", "!malformed JSON: expected a value"},
    {"{\"x\":[1,]}", "!malformed JSON: expected a value"},
    {"{\"x\":[1 2]}", "!malformed JSON: expected ',' or ']'"},
    {"{\"x\":[}", "!malformed JSON: "},
    {"{\"x\":{]}", "!malformed JSON: "},
    {"{\"x\":{\"a\"}}", "!malformed JSON: expected ':'"},
    {"{\"x\":{\"a\":1]}", "!malformed JSON: expected ',' or '}'"},
    {"{\"x\":[[[]}", "!malformed JSON: "},
    {"{\"t\":\"abc}", "!malformed JSON: "},
    {"{\"t\":\"a\nb\"}", "!malformed JSON: "},
    {"{\"t\":\"\\x\"}", "!malformed JSON: a bad escape in the string at byte 5"},
    {"{\"x\":\"\\x\"}", "!malformed JSON: a bad escape in the string at byte 5"},
    {"{\"x\":\"\\u12\"}", "!malformed JSON: a bad escape"},
    {"{\"t\":\"\\ud800\"}", "!malformed JSON: a bad escape"},
    {"{\"t\":\"\\ud800\\u0041\"}", "!malformed JSON: a bad escape"},
    {"{\"t\":\"\\udc00\"}", "!malformed JSON: a bad escape"},
    {"{\"t\":\"\xff\"}", "!malformed JSON: "},
    {"{\"t\":\"\xc3\"}", "!malformed JSON: "},
    {"\xef\xbb\xbf{}", "!malformed JSON: expected an object"},
};

static void test_cases(void **state)
{
    (void)state;
    struct plan_input input = input_of(1000, 1);
    struct decoder *decoder = decoder_new(&input, 4);
    struct buf row = {0};
    for (size_t i = 0; i < array_len(cases); i++) {
        /* Twice, into row 0 and, with the guesses of the first, into row 1. */
        decoder_reset(decoder);
        for (uint32_t r = 0; r < 2; r++) {
            bool good = take(decoder, cases[i].json, strlen(cases[i].json), r);
            if (cases[i].expected[0] == '!') {
                const char *reason = cases[i].expected + 1;
                if (good || strncmp(decoder_reason(decoder), reason, strlen(reason)) != 0) {
                    fail_msg("%s: %s, want %s", cases[i].json,
                             good ? "accepted" : decoder_reason(decoder), reason);
                }
            } else {
                if (!good) {
                    fail_msg("%s: %s", cases[i].json, decoder_reason(decoder));
                }
            }
            render(decoder, r, &row);
            assert_string_equal(buf_text(&row),
                                cases[i].expected[0] == '!' ? "" : cases[i].expected);
        }
    }
    buf_free(&row);
    decoder_free(decoder);
}

static void test_special_values(void **state)
{
    (void)state;
    struct plan_input input = input_of(1000, 1);
    struct decoder *decoder = decoder_new(&input, 1);
    decoder_reset(decoder);
    struct kappa_record tombstone = {.value_len = KAPPA_NULL_LEN};
    assert_false(decoder_take(decoder, &tombstone, 0));
    assert_string_equal(decoder_reason(decoder), "no value (tombstone)");
    assert_false(take(decoder, "\0\0\0\0\1{}", 7, 0));
    assert_non_null(strstr(decoder_reason(decoder), "looks like Confluent framing"));
    /* A text with U+0000. */
    assert_true(take(decoder, "{\"t\":\"a\\u0000b\"}", 16, 0));
    assert_int_equal(decoder_columns(decoder)[0].s[0].len, 3);
    assert_memory_equal(decoder_columns(decoder)[0].s[0].bytes, "a\0b", 3);
    /* The same row again does not remember it. */
    assert_true(take(decoder, "{\"i\":1}", 7, 0));
    assert_int_equal(decoder_columns(decoder)[0].state[0], EXPR_NULL);
    decoder_free(decoder);
}

static void test_depth(void **state)
{
    (void)state;
    struct plan_input input = input_of(1000, 1);
    struct decoder *decoder = decoder_new(&input, 1);
    for (int depth = LIMIT_JSON_DEPTH - 1; depth <= LIMIT_JSON_DEPTH + 200; depth += 1) {
        for (int objects = 0; objects < 2; objects++) {
            struct buf text = {0};
            buf_append_text(&text, "{\"x\":");
            for (int i = 1; i < depth; i++) {
                buf_append_text(&text, objects != 0 && i + 1 < depth ? "{\"y\":" : "[");
            }
            for (int i = depth - 1; i >= 1; i--) {
                buf_append_text(&text, objects != 0 && i + 1 < depth ? "}" : "]");
            }
            buf_append_text(&text, "}");
            decoder_reset(decoder);
            assert_int_equal(take(decoder, buf_text(&text), text.len, 0),
                             depth <= LIMIT_JSON_DEPTH);
            buf_free(&text);
        }
    }
    decoder_free(decoder);
}

static void test_units(void **state)
{
    (void)state;

    static const struct {
        int64_t num, den;
        const char *json;
        int64_t us;
    } units[] = {
        {1000000, 1, "{\"ts\":1700000000.123456}", 1700000000123456},
        {1, 1, "{\"ts\":1700000000123456}", 1700000000123456},
        {1, 1000, "{\"ts\":1700000000123456789}", 1700000000123457},
        {1000000, 1, "{\"ts\":4000000000}", 4000000000000000},
    };

    for (size_t i = 0; i < array_len(units); i++) {
        struct plan_input input = input_of(units[i].num, units[i].den);
        struct decoder *decoder = decoder_new(&input, 1);
        decoder_reset(decoder);
        assert_true(take(decoder, units[i].json, strlen(units[i].json), 0));
        assert_int_equal(decoder_columns(decoder)[5].i[0], units[i].us);
        decoder_free(decoder);
    }
}

/* ---- Random documents against jansson. */

static void random_text(struct prng *prng, struct buf *out)
{
    static const char *const parts[] = {
        "a", "bc", "\\n", "\\\"", "\\u00e9",         "\u00e9", " ", "\\\\", "\\ud83d\\ude00",
        "{", "}",  ",",   ":",    "0123456789abcdef"};
    buf_append_u8(out, '"');
    for (uint64_t n = prng_below(prng, 6); n > 0; n--) {
        buf_append_text(out, parts[prng_below(prng, array_len(parts))]);
    }
    buf_append_u8(out, '"');
}

static void random_number(struct prng *prng, struct buf *out)
{
    switch (prng_below(prng, 4)) {
    case 0:
        buf_printf(out, "%lld", (long long)(int64_t)prng_next(prng) >> prng_below(prng, 64));
        return;
    case 1:
        buf_printf(out, "%.17g",
                   (prng_unit(prng) - 0.5) * pow(10, (double)prng_below(prng, 40) - 20));
        return;
    case 2:
        buf_printf(out, "%.*f", (int)prng_below(prng, 25), prng_unit(prng) * 1e6);
        return;
    default:
        buf_printf(out, "%llue%lld", (unsigned long long)prng_next(prng),
                   (long long)prng_below(prng, 600) - 320);
        return;
    }
}

static void random_value(struct prng *prng, struct buf *out, int depth)
{
    static const char *const names[] = {"t", "b", "i", "l", "d", "ts", "unused", "x", "\\u0064"};
    uint64_t kind = prng_below(prng, depth < 4 ? 7 : 5);
    if (kind < 2) {
        random_text(prng, out);
    } else if (kind < 4) {
        random_number(prng, out);
    } else if (kind == 4) {
        static const char *const words[] = {"true", "false", "null"};
        buf_append_text(out, words[prng_below(prng, 3)]);
    } else {
        bool object = kind == 5 || depth == 0;
        buf_append_u8(out, object ? '{' : '[');
        for (uint64_t n = prng_below(prng, 6); n > 0; n--) {
            if (object) {
                buf_printf(out, "\"%s\"%s:", names[prng_below(prng, array_len(names))],
                           prng_below(prng, 4) == 0 ? " " : "");
            }
            random_value(prng, out, depth + 1);
            buf_append_text(out, n > 1 ? (prng_below(prng, 4) == 0 ? " , " : ",") : "");
        }
        buf_append_u8(out, object ? '}' : ']');
    }
}

static void compare_values(const struct decoder *decoder, const json_t *root)
{
    const struct expr_vec *vecs = decoder_columns(decoder);
    const json_t *text = json_object_get(root, "t");
    assert_int_equal(vecs[0].state[0], json_is_string(text) ? EXPR_OK : EXPR_NULL);
    if (json_is_string(text)) {
        assert_int_equal(vecs[0].s[0].len, json_string_length(text));
        assert_memory_equal(vecs[0].s[0].bytes, json_string_value(text), vecs[0].s[0].len);
    }
    const json_t *bigint = json_object_get(root, "l");
    if (json_is_integer(bigint)) {
        assert_int_equal(vecs[3].i[0], json_integer_value(bigint));
    }
    const json_t *real = json_object_get(root, "d");
    if (json_is_real(real)) {
        double expected = json_real_value(real);
        assert_memory_equal(&vecs[4].d[0], &expected, sizeof expected);
    } else if (json_is_integer(real)) {
        assert_true(vecs[4].d[0] ==
                    (double)json_integer_value(real)); /* "-0" is an integer there */
    }
}

static void test_random(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("decode"));
    struct plan_input input = input_of(1000, 1);
    struct decoder *decoder = decoder_new(&input, 1);
    struct buf text = {0};
    unsigned good = 0;
    unsigned bad = 0;
    for (int round = 0; round < 60000; round++) {
        buf_reset(&text);
        do {
            buf_reset(&text);
            random_value(&prng, &text, 0);
        } while (text.data[0] != '{');
        for (uint64_t n = prng_below(&prng, 3); n > 0; n--) {
            static const char noise[] = "{}[]\",:\\ 0e-.tfn\x01\xc3";
            text.data[1 + prng_below(&prng, text.len - 1)] =
                (uint8_t)noise[prng_below(&prng, sizeof noise - 1)];
        }
        decoder_reset(decoder);
        bool ours = take(decoder, (const char *)text.data, text.len, 0);
        bool malformed =
            !ours && strncmp(decoder_reason(decoder), "malformed", strlen("malformed")) == 0;
        json_error_t error;
        json_t *root = json_loadb((const char *)text.data, text.len, JSON_ALLOW_NUL, &error);
        if (root == NULL && (json_error_code(&error) == json_error_numeric_overflow ||
                             json_error_code(&error) == json_error_null_byte_in_key)) {
            continue; /* good JSON, but not for jansson */
        }
        if (malformed != (root == NULL)) {
            fail_msg("%s\nours: %s\njansson: %s", buf_text(&text),
                     malformed ? decoder_reason(decoder) : "good",
                     root == NULL ? error.text : "good");
        }
        if (ours) {
            compare_values(decoder, root);
        }
        good += ours;
        bad += malformed;
        json_decref(root);
    }
    assert_true(good > 1000);
    assert_true(bad > 1000);
    buf_free(&text);
    decoder_free(decoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),  cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_depth),  cmocka_unit_test(test_units),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
