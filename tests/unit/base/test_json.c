/* Goal: what json_write prints is what jansson prints compactly, for every text, name and whole
 * number. Method: random values, nested; texts of quotes, backslashes, control characters, NUL and
 * letters of two to four bytes. */
#include "base/json.h"
#include "base/prng.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

static json_t *random_text(struct prng *prng)
{
    static const char *const parts[] = {"a",
                                        "Z9 ",
                                        "\"",
                                        "\\",
                                        "/",
                                        "\n",
                                        "\x01",
                                        "\x1f",
                                        "\x7f",
                                        "\xc3\xa4",
                                        "\xe2\x82\xac",
                                        "<>",
                                        "\xf0\x9f\x98\x80",
                                        "\xe2\x80\xa8"};
    struct buf buf = {0};
    for (uint64_t n = prng_below(prng, 6); n > 0; n--) {
        buf_append_text(&buf, parts[prng_below(prng, sizeof parts / sizeof *parts)]);
    }
    json_t *text = json_stringn(buf.len == 0 ? "" : buf_text(&buf), buf.len);
    buf_free(&buf);
    assert_non_null(text);
    return text;
}

/* NOLINTNEXTLINE(misc-no-recursion): three levels */
static json_t *random_value(struct prng *prng, uint32_t depth)
{
    json_t *made;
    switch (prng_below(prng, depth > 0 ? 7 : 5)) {
    case 0:
        return json_integer((json_int_t)(prng_next(prng) >> prng_below(prng, 64)));
    case 1:
        return json_integer(prng_below(prng, 2) == 0 ? INT64_MIN : INT64_MAX);
    case 2:
        return prng_below(prng, 2) == 0 ? json_null() : json_boolean(prng_below(prng, 2));
    case 3:
        return prng_below(prng, 9) == 0 ? json_stringn("a\0b", 3) : random_text(prng);
    case 4:
        return json_integer(-(json_int_t)prng_below(prng, 1000));
    case 5:
        made = json_array();
        for (uint64_t n = prng_below(prng, 4); n > 0; n--) {
            assert_int_equal(json_array_append_new(made, random_value(prng, depth - 1)), 0);
        }
        return made;
    default:
        made = json_object();
        for (uint64_t n = prng_below(prng, 4); n > 0; n--) {
            json_t *name = random_text(prng);
            assert_int_equal(
                json_object_set_new(made, json_string_value(name), random_value(prng, depth - 1)),
                0);
            json_decref(name);
        }
        return made;
    }
}

static void test_as_jansson_writes(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("json"));
    for (int round = 0; round < 20000; round++) {
        json_t *value = random_value(&prng, 3);
        char *want = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        char *got = json_print(value);
        assert_string_equal(got, want);
        free(got);
        free(want);
        json_decref(value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_jansson_writes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
