/* Goal: key and time are found in a JSON line as a full parser would find them, and what is said to
 * be JSON is JSON. Method: random documents, mutated, against jansson as the oracle; and the edges
 * by hand. */
#include "serve/json_check.h"
#include "serve/json_line.h"

#include "base/json.h"
#include "base/prng.h"
#include "processor/value_text.h"
#include "tests/unit/unit.h"

#include <string.h>

/* ---- Random JSON text ---- */

static void blanks(struct prng *prng, struct buf *out)
{
    static const char *const some[] = {"", "", "", " ", "  ", "\t", "\n", "\r "};
    buf_append_text(out, some[prng_below(prng, array_len(some))]);
}

static void random_string(struct prng *prng, struct buf *out)
{
    static const char *const parts[] = {
        "a",   "id",  "\\\"",   "\\\\", "\\n", "\\u00e9", "\\ud83d\\ude00", "\xc3\xa9",
        "{",   "}",   ",",      ":",    "[",   "]",       "\xe2\x82\xac",   "\xf0\x9f\x98\x80",
        "\\/", "x y", "\\u0041"};
    buf_append_u8(out, '"');
    for (uint64_t n = prng_below(prng, 5); n > 0; n--) {
        buf_append_text(out, parts[prng_below(prng, array_len(parts))]);
    }
    buf_append_u8(out, '"');
}

static void random_scalar(struct prng *prng, struct buf *out)
{
    static const char *const numbers[] = {"0",    "-1",  "12",   "1760000000000", "3.25",
                                          "-0.5", "1e3", "2E-2", "1.5e+1"};
    switch (prng_below(prng, 6)) {
    case 0:
        buf_append_text(out, "true");
        break;
    case 1:
        buf_append_text(out, "false");
        break;
    case 2:
        buf_append_text(out, "null");
        break;
    case 3:
        buf_append_text(out, numbers[prng_below(prng, array_len(numbers))]);
        break;
    default:
        random_string(prng, out);
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): at most four deep */
static void random_container(struct prng *prng, struct buf *out, int depth)
{
    bool object = prng_below(prng, 2) == 0;
    buf_append_u8(out, object ? '{' : '[');
    uint64_t count = prng_below(prng, 5);
    for (uint64_t i = 0; i < count; i++) {
        buf_append_text(out, i > 0 ? "," : "");
        blanks(prng, out);
        if (object) {
            random_string(prng, out);
            blanks(prng, out);
            buf_append_u8(out, ':');
            blanks(prng, out);
        }
        if (depth < 4 && prng_below(prng, 4) == 0) {
            random_container(prng, out, depth + 1);
        } else {
            random_scalar(prng, out);
        }
        blanks(prng, out);
    }
    buf_append_u8(out, object ? '}' : ']');
}

static void mutate(struct prng *prng, struct buf *text)
{
    static const char bytes[] = "{}[],:\"\\ 0a.e-\n\x80\xff\x01";
    for (uint64_t n = prng_below(prng, 3); n > 0 && text->len > 0; n--) {
        size_t at = prng_below(prng, text->len);
        if (prng_below(prng, 3) == 0) {
            memmove(text->data + at, text->data + at + 1, text->len - at);
            text->len--;
        } else {
            text->data[at] = (uint8_t)bytes[prng_below(prng, sizeof bytes - 1)];
        }
    }
}

static void test_check_agrees_with_jansson(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("check"));
    struct buf text = {0};
    int valid = 0;
    for (int i = 0; i < 60000; i++) {
        buf_reset(&text);
        blanks(&prng, &text);
        random_container(&prng, &text, 0);
        mutate(&prng, &text);
        json_error_t error;
        json_t *value = json_loadb((const char *)text.data, text.len,
                                   JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
        if (value == NULL && json_error_code(&error) == json_error_numeric_overflow) {
            continue; /* JSON all the same */
        }
        if (json_check_container((const char *)text.data, text.len) != (value != NULL)) {
            fail_msg("jansson says %d to %s", value != NULL, buf_text(&text));
        }
        valid += value != NULL;
        json_decref(value);
    }
    assert_true(valid > 10000 && valid < 55000);
    buf_free(&text);
}

/* The last member of that name, as jansson has it. */
static void test_field_agrees_with_jansson(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("field"));
    struct buf text = {0};
    int found = 0;
    for (int i = 0; i < 30000; i++) {
        buf_reset(&text);
        random_container(&prng, &text, 0);
        json_t *object = json_loadb((const char *)text.data, text.len, JSON_ALLOW_NUL, NULL);
        assert_non_null(object);
        const char *value;
        size_t len;
        int rc = json_line_field(buf_text(&text), text.len, "id", &value, &len, NULL);
        json_t *wanted = json_object_get(object, "id");
        assert_int_equal(rc, wanted != NULL ? 0 : -KE_INVALID);
        if (rc == 0) {
            json_t *got = json_loadb(value, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            assert_true(json_equal(got, wanted));
            json_decref(got);
            found++;
        }
        json_decref(object);
    }
    assert_true(found > 100);
    buf_free(&text);
}

/* Whatever the bytes, nothing beyond them is touched (the sanitizer looks) and it ends. */
static void test_field_of_anything(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("anything"));
    struct buf text = {0};
    for (int i = 0; i < 30000; i++) {
        buf_reset(&text);
        random_container(&prng, &text, 0);
        mutate(&prng, &text);
        if (text.len > 0) {
            text.len = prng_below(&prng, text.len);
        }
        char *copy = xmalloc(text.len + 1);
        memcpy(copy, text.len == 0 ? (const uint8_t *)"" : text.data, text.len);
        copy[text.len] = '\n';
        struct buf key = {0};
        bool null;
        int64_t ms;
        (void)!json_line_key(copy, text.len, "id", &key, &null, NULL);
        (void)!json_line_time(copy, text.len, "id", &ms, NULL);
        buf_free(&key);
        free(copy);
    }
    buf_free(&text);
}

static void key_is(const char *line, const char *wanted)
{
    struct buf key = {0};
    bool null = false;
    assert_int_equal(json_line_key(line, strlen(line), "k", &key, &null, NULL), 0);
    if (wanted == NULL) {
        assert_true(null);
    } else {
        assert_string_equal(buf_text(&key), wanted);
        assert_false(null);
    }
    buf_free(&key);
}

static void test_keys(void **state)
{
    (void)state;
    key_is("{\"k\":\"abc\"}", "abc");
    key_is(" { \"a\" : {\"k\":1} , \"k\" : 12.50 } ", "12.50");
    key_is("{\"k\":1,\"k\":\"two\"}", "two");
    key_is("{\"k\":\"\\u00e9\\\"\"}", "\xc3\xa9\"");
    key_is("{\"\\u006b\":true}", "true");
    key_is("{\"k\":\"\"}", "");
    key_is("{\"k\":null}", NULL);
    static const char *const bad[] = {
        "",       "[1]",       "{\"k\":",  "{\"x\":1}",           "{\"k\":{}}", "{\"k\":[1]}",
        "{\"k\"", "{\"k\":\"", "{\"k\":1", "{\"k\":\"\\ud800\"}", "nonsense"};
    for (size_t i = 0; i < array_len(bad); i++) {
        struct buf key = {0};
        bool null;
        struct err err = {0};
        assert_int_equal(json_line_key(bad[i], strlen(bad[i]), "k", &key, &null, &err),
                         -KE_INVALID);
        assert_true(strlen(err.text) > 5);
        buf_free(&key);
    }
}

static void test_times(void **state)
{
    (void)state;

    static const struct {
        const char *line;
        int64_t ms;
    } good[] = {
        {"{\"t\":1760000000000}", 1760000000000},
        {"{\"t\":-5}", -5},
        {"{\"t\":\"1970-01-01T00:00:01Z\"}", 1000},
        {"{\"t\":\"1970-01-01T02:00:01.5+02:00\"}", 1500},
        {"{\"t\":\"1969-12-31T23:59:59.9995Z\"}", -1},
    };

    int64_t ms;
    for (size_t i = 0; i < array_len(good); i++) {
        assert_int_equal(json_line_time(good[i].line, strlen(good[i].line), "t", &ms, NULL), 0);
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const bad[] = {"{\"t\":1.5}",
                                      "{\"t\":\"noon\"}",
                                      "{\"t\":null}",
                                      "{\"t\":true}",
                                      "{\"t\":99999999999999999999}",
                                      "{\"u\":1}"};
    for (size_t i = 0; i < array_len(bad); i++) {
        assert_int_equal(json_line_time(bad[i], strlen(bad[i]), "t", &ms, NULL), -KE_INVALID);
    }
}

static void test_utf8_and_quotes(void **state)
{
    (void)state;
    assert_true(utf8_check("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10));
    static const char *const bad[] = {"\x80",         "\xc0\xaf",         "\xe0\x80\x80",
                                      "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff",
                                      "\xc3",         "\xe2\x82",         "\xf5\x80\x80\x80"};
    for (size_t i = 0; i < array_len(bad); i++) {
        assert_false(utf8_check(bad[i], strlen(bad[i])));
    }
    struct buf out = {0};
    static const char text[] = "q\" b\\ n\n t\t e\x1b z\0 \xc3\xa9";
    value_json_string(&out, text, sizeof text - 1);
    json_t *back =
        json_loadb((const char *)out.data, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(back);
    assert_int_equal(json_string_length(back), sizeof text - 1);
    assert_memory_equal(json_string_value(back), text, sizeof text - 1);
    json_decref(back);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_agrees_with_jansson),
        cmocka_unit_test(test_field_agrees_with_jansson),
        cmocka_unit_test(test_field_of_anything),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_utf8_and_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
