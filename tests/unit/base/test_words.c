/* Goal: times, durations, digests, state tables, errors and JSON helpers mean what their headers say.
 * Method: tables of cases; times against the C library's calendar; digests against a recount. */
#include "tests/unit/unit.h"

#include "base/digest.h"
#include "base/err.h"
#include "base/json.h"
#include "base/prng.h"
#include "base/state.h"
#include "base/timefmt.h"

#include <string.h>

static void test_time_round_trip(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("time"));
    for (int i = 0; i < 20000; i++) {
        int64_t us = (int64_t)prng_below(&prng, UINT64_C(253402300800000000)) - 62000000000000000;
        us = prng_below(&prng, 2) == 0 ? us : us / 1000000 * 1000000;
        char text[TIME_TEXT_LEN];
        time_format(us, text);
        int64_t back;
        assert_true(time_parse(text, strlen(text), &back));
        assert_int_equal(back, us);
        time_t seconds = (time_t)(us >= 0 ? us / 1000000 : -((-us + 999999) / 1000000));
        struct tm tm;
        char expected[TIME_TEXT_LEN];
        assert_non_null(gmtime_r(&seconds, &tm));
        assert_int_not_equal(strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", &tm), 0);
        if (tm.tm_year >= -900) {
            assert_memory_equal(text, expected, strlen(expected));
        }
    }
}

static void test_time_cases(void **state)
{
    (void)state;

    static const struct {
        const char *text;
        bool ok;
        int64_t us;
    } cases[] = {
        {"1970-01-01T00:00:00Z", true, 0},
        {"1970-01-01", true, 0},
        {"1970-01-01 00:00:01", true, 1000000},
        {"1970-01-01T00:00:00.5Z", true, 500000},
        {"1970-01-01T00:00:00.1234567Z", true, 123456},
        {"1970-01-01T02:00:00+02:00", true, 0},
        {"1969-12-31T23:59:59-00:30", true, 1799000000},
        {"2024-02-29T00:00:00Z", true, 1709164800000000},
        {"2023-02-29T00:00:00Z", false, 0},
        {"2024-13-01", false, 0},
        {"2024-01-01T24:00:00Z", false, 0},
        {"2024-01-01T00:00:00X", false, 0},
        {"2024-01-01T00:00:00.Z", false, 0},
        {"2024-1-1", false, 0},
        {"", false, 0},
        {"yesterday", false, 0},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        int64_t us = -1;
        bool ok = time_parse(cases[i].text, strlen(cases[i].text), &us);
        if (ok != cases[i].ok || (ok && us != cases[i].us)) {
            fail_msg("%s: %d %lld", cases[i].text, ok, (long long)us);
        }
    }
}

static void test_time_ms_cases(void **state)
{
    (void)state;

    static const struct {
        const char *text;
        bool ok;
        int64_t ms;
    } cases[] = {
        {"0", true, 0},
        {"1700000000123", true, 1700000000123},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"1970-01-01T00:00:00.001Z", true, 1},
        {"1970-01-01T00:00:00.0005Z", true, 1},
        {"1969-12-31T23:59:59.9995Z", true, -1},
        {"1969-12-31T23:59:59Z", true, -1000},
        {"-5", false, 0},
        {"5x", false, 0},
        {"", false, 0},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        int64_t ms = 77;
        bool ok = time_parse_ms(cases[i].text, strlen(cases[i].text), &ms);
        if (ok != cases[i].ok || (ok && ms != cases[i].ms)) {
            fail_msg("%s: %d %lld", cases[i].text, ok, (long long)ms);
        }
    }
}

static void test_duration_cases(void **state)
{
    (void)state;

    static const struct {
        const char *text;
        int64_t us; /* -1: refused */
    } cases[] = {
        {"5 s", 5000000},
        {"90 seconds", 90000000},
        {"1h30m", 5400000000},
        {"10m", 600000000},
        {"250 ms", 250000},
        {"1 day", 86400000000},
        {"2 weeks", 1209600000000},
        {"1.5 h", 5400000000},
        {"0 s", 0},
        {"", -1},
        {"5", -1},
        {"-5 s", -1},
        {"5 parsecs", -1},
        {"99999999999999 weeks", -1},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        int64_t us = -1;
        if (!duration_parse(cases[i].text, strlen(cases[i].text), &us)) {
            us = -1;
        }
        if (us != cases[i].us) {
            fail_msg("%s: %lld", cases[i].text, (long long)us);
        }
    }
}

static void test_durations_are_written(void **state)
{
    (void)state;

    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {{1500, "1.50 ms"},
                 {250000, "250 ms"},
                 {12300000, "12.3 s"},
                 {INT64_C(61000000), "1 min 01 s"},
                 {INT64_C(47) * 3600000000, "47 h 00 min"},
                 {INT64_C(48) * 3600000000, "2 days"},
                 {INT64_C(76) * 3600000000, "3 d 04 h"},
                 {INT64_C(2160) * 3600000000, "90 days"}};

    for (size_t i = 0; i < array_len(cases); i++) {
        char text[TIME_TEXT_LEN];
        duration_format(cases[i].us, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_digest_is_order_free(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("digest"));

    enum { ROWS = 500 };

    uint64_t rows[ROWS];
    struct digest all = {0, 0};
    for (int i = 0; i < ROWS; i++) {
        rows[i] = prng_next(&prng);
        digest_add(&all, digest_row(1, &i, sizeof i, &rows[i], sizeof rows[i]));
    }
    struct digest some = all;
    for (int i = ROWS - 1; i >= ROWS / 2; i--) {
        digest_remove(&some, digest_row(1, &i, sizeof i, &rows[i], sizeof rows[i]));
    }
    struct digest half = {0, 0};
    for (int i = ROWS / 2 - 1; i >= 0; i--) {
        digest_add(&half, digest_row(1, &i, sizeof i, &rows[i], sizeof rows[i]));
    }
    assert_true(digest_equal(some, half));
    assert_false(digest_equal(all, half));
    char text[DIGEST_TEXT_LEN + 1];
    digest_format(all, text);
    struct digest back;
    assert_true(digest_parse(text, &back));
    assert_true(digest_equal(all, back));
    assert_false(digest_parse("xyz", &back));
    struct digest moved_byte = digest_row(1, "ab", 2, "c", 1);
    assert_false(digest_equal(moved_byte, digest_row(1, "a", 1, "bc", 2)));
}

static void test_state_table(void **state)
{
    (void)state;
    static const struct state_row rows[] = {
        {"idle", STATE_BIT(1), false},
        {"busy", STATE_BIT(0) | STATE_BIT(2), false},
        {"done", 0, true},
    };
    static const struct state_table table = {"test", rows, array_len(rows)};
    uint32_t now = 0;
    state_move(&table, &now, 1);
    state_move(&table, &now, 2);
    assert_int_equal(now, 2);
    assert_false(state_may_move(&table, 2, 0));
    assert_int_equal(state_find(&table, "busy"), 1);
    assert_int_equal(state_find(&table, "none"), 3);
}

static void test_err_and_json(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(err_set(&err, KE_NOT_FOUND, "no table \"%s\"", "x"), -KE_NOT_FOUND);
    err_hint(&err, "did you mean \"y\"?");
    err_prefix(&err, "get");
    assert_string_equal(err.text, "get: no table \"x\"");
    assert_int_equal(err_exit_code(err.code), 3);
    json_t *json = json_from_err(&err);
    struct err back = {0};
    assert_true(json_to_err(json, &back));
    assert_int_equal(back.code, err.code);
    assert_string_equal(back.text, err.text);
    assert_string_equal(back.hint, err.hint);
    json_decref(json);
    for (int i = 0; i < 40; i++) {
        err_prefix(&err, "%s", "a context of some sixty characters, again and again and again");
    }
    assert_true(strlen(err.text) < sizeof err.text);

    char deep[300];
    memset(deep, '[', 150);
    memset(deep + 150, ']', 150);
    assert_null(json_parse(deep, sizeof deep, &err));
    json = json_text_lossy("a\xff\xc0z", 4);
    assert_string_equal(json_string_value(json), "a\xEF\xBF\xBD\xEF\xBF\xBDz");
    json_decref(json);
}

/* What a number was, to the last zero; strings that look like the marks stay strings. */
static void test_exact_numbers(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"a\":12.50,\"b\":[1,-0.00,1e400,12345678901234567890],\"c\":\"1.50\"}",
        "[\"=\",\"==#\",1.0,1.00,\"\\\"2.50\",0.1,123456789012345678901234567890.123456789]",
        "12345678901234567890123",
        "{}",
    };
    for (size_t i = 0; i < array_len(texts); i++) {
        struct err err = {0};
        json_t *json = json_parse_exact(texts[i], strlen(texts[i]), &err);
        assert_non_null(json);
        char *text = json_print(json);
        assert_string_equal(text, texts[i]);
        free(text);
        json_decref(json);
    }
    struct err err = {0};
    static const char *const broken[] = {"", "\"", "[1.50", "{\"a\\", "1.5.0x"};
    for (size_t i = 0; i < array_len(broken); i++) {
        assert_null(json_parse_exact(broken[i], strlen(broken[i]), &err));
    }
    json_t *figure = json_raw("-1.50", 5);
    assert_true(json_is_figure(figure));
    json_decref(figure);
    figure = json_raw("{}", 2);
    assert_false(json_is_figure(figure));
    json_decref(figure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_round_trip),       cmocka_unit_test(test_time_cases),
        cmocka_unit_test(test_time_ms_cases),         cmocka_unit_test(test_duration_cases),
        cmocka_unit_test(test_durations_are_written), cmocka_unit_test(test_digest_is_order_free),
        cmocka_unit_test(test_state_table),           cmocka_unit_test(test_err_and_json),
        cmocka_unit_test(test_exact_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
