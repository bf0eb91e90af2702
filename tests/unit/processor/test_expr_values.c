/* Goal: single values are right: every example of functions.def, casts and their texts, LIKE, times,
 * errors and where they go away.
 *
 * Method: tables of an expression and its value as text; random times against the C library's calendar;
 * random doubles must read back from their text. */
#include "processor/expr_step.h"
#include "processor/functions.h"
#include "tests/unit/processor/expr_fixture.h"

#include "base/prng.h"

#include <math.h>
#include <time.h>

struct value_case {
    const char *expr;
    const char *expected;
};

static void check_cases(const struct value_case *cases, size_t count)
{
    uint32_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        char *value = fixture_eval(cases[i].expr);
        if (strcmp(value, cases[i].expected) != 0) {
            print_error("%s: %s, expected %s\n", cases[i].expr, value, cases[i].expected);
            wrong++;
        }
        free(value);
    }
    assert_int_equal(wrong, 0);
}

static void test_examples(void **state)
{
    (void)state;
    uint32_t count;
    const struct function_row *rows = function_rows(&count);
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].kind == FUNCTION_AGGREGATE) {
            continue;
        }
        char *value = fixture_eval(rows[i].example);
        if (strcmp(value, rows[i].expected) != 0) {
            fail_msg("%s: %s, the table says %s", rows[i].example, value, rows[i].expected);
        }
        free(value);
    }
}

#define DIVISION "error: division by zero"
#define RANGE    "error: value out of the range of its type"
#define CAST     "error: text is not a value of the type"
#define ARGUMENT "error: a function does not take this value"

static const struct value_case numbers[] = {
    {"2147483647 + 1", RANGE},
    {"2147483647 + 1::bigint", "2147483648"},
    {"-2147483648 - 1", RANGE},
    {"65536 * 65536", RANGE},
    {"9223372036854775807 + 1", RANGE},
    {"-9223372036854775807 - 2", RANGE},
    {"9223372036854775807 * -1", "-9223372036854775807"},
    {"(-9223372036854775807 - 1) / -1", RANGE},
    {"(-9223372036854775807 - 1) % -1", "0"},
    {"(-2147483648) / -1", RANGE},
    {"- (-2147483648 + 0)", RANGE},
    {"abs(-2147483648)", RANGE},
    {"abs(-9223372036854775807 - 1)", RANGE},
    {"7 / 2", "3"},
    {"-7 / 2", "-3"},
    {"-7 % 3", "-1"},
    {"7 % -3", "1"},
    {"1 / 0", DIVISION},
    {"1 % 0", DIVISION},
    {"1.0 / 0", DIVISION},
    {"0.0 / 0", DIVISION},
    {"1e308 * 10", RANGE},
    {"1e-308 / 1e300", RANGE},
    {"1e308 + 1e308", RANGE},
    {"'Infinity'::double precision + 1", "Infinity"},
    {"'-inf'::float8 * 2", "-Infinity"},
    {"'nan'::float8 = 'nan'::float8", "true"},
    {"'nan'::float8 > 'inf'::float8", "true"},
    {"0.1::float8 + 0.2", "0.30000000000000004"},
    {"0.1 + 0.2", "0.3"},
    {"-0.0::float8", "-0"},
    {"1e15::float8", "1e+15"},
    {"1e15", "1000000000000000"},
    {"123456789012345.0::float8", "123456789012345"},
    {"1e-5::float8", "1e-05"},
    {"1e-5", "0.00001"},
    {"0.0001", "0.0001"},
    {"1.5e-7::float8", "1.5e-07"},
    {"5e-324", "5e-324"},
    {"1.7976931348623157e308", "1.7976931348623157e+308"},
    {"2.5::integer", "3"},
    {"2.5::float8::integer", "2"},
    {"3.5::integer", "4"},
    {"-2.5::integer", "-3"},
    {"2147483647.4::integer", "2147483647"},
    {"2147483647.5::integer", RANGE},
    {"9223372036854775807::double precision::bigint", RANGE},
    {"'nan'::float8::bigint", RANGE},
    {"3000000000::integer", RANGE},
    {"'3000000000'::text::integer", RANGE},
    {"' 12 '::text::integer", "12"},
    {"'+5'::text::bigint", "5"},
    {"'-'::text::bigint", CAST},
    {"''::text::bigint", CAST},
    {"'1.5'::text::integer", CAST},
    {"'0x10'::text::float8", CAST},
    {"'1e400'::text::float8", RANGE},
    {"'12abc'::text::float8", CAST},
    {"' -1.5e2 '::text::float8", "-150"},
    {"'9223372036854775808'::text::bigint", RANGE},
    {"'-9223372036854775808'::text::bigint", "-9223372036854775808"},
    {"round(-2.5)", "-3"},
    {"round(-2.5::float8)", "-2"},
    {"sqrt(-1)", ARGUMENT},
    {"1 + 2 * 3", "7"},
    {"+ 3", "3"},
    {"1 < 1.5", "true"},
    {"greatest(1, 2.5, null)", "2.5"},
    {"least('b', 'a')", "a"},
    {"5 BETWEEN SYMMETRIC 9 AND 1", "true"},
    {"'5' + 1", "6"},
    {"1 = '1'", "true"},
};

static void test_numbers(void **state)
{
    (void)state;
    check_cases(numbers, array_len(numbers));
}

static void test_errors_go_away(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        {"CASE WHEN true THEN 1 ELSE 1 / 0 END", "1"},
        {"CASE WHEN 1 / 0 = 1 THEN 1 ELSE 2 END", DIVISION},
        {"CASE WHEN false THEN 1 / 0 WHEN true THEN 2 WHEN 1 / 0 = 1 THEN 3 END", "2"},
        {"coalesce(1, 1 / 0)", "1"},
        {"coalesce(null, 1 / 0, 2)", DIVISION},
        {"coalesce(null, null)", "null"},
        {"1 / 0 = 1 AND false", "false"},
        {"false AND 1 / 0 = 1", "false"},
        {"1 / 0 = 1 OR true", "true"},
        {"1 / 0 = 1 AND true", DIVISION},
        {"null AND 1 / 0 = 1", DIVISION},
        {"1 / 0 = 1 OR null", DIVISION},
        {"null AND false", "false"},
        {"null OR true", "true"},
        {"(null OR false) IS NULL", "true"},
        {"(1 / 0) IS NULL", DIVISION},
        {"null + 1 / 0", DIVISION},
        {"'x'::text::integer / 0", CAST},
        {"1 / 0 + 'x'::text::integer", DIVISION},
        {"nullif(1, 1)", "null"},
        {"nullif(1, 1 / 0)", DIVISION},
        {"greatest(1, 1 / 0)", DIVISION},
        {"1 IN (1, 1 / 0)", "true"},
        {"2 IN (1, null)", "null"},
        {"2 NOT IN (1, null)", "null"},
        {"1 NOT IN (1, null)", "false"},
        {"null IS DISTINCT FROM 1", "true"},
        {"null IS NOT DISTINCT FROM null::integer", "true"},
        {"1 IS DISTINCT FROM 1 / 0", DIVISION},
        {"null IS TRUE", "false"},
        {"null::boolean IS NOT FALSE", "true"},
        {"(null = 1) IS UNKNOWN", "true"},
        {"NOT null::boolean", "null"},
        {"CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END", "b"},
        {"CASE null WHEN null THEN 'a' ELSE 'b' END", "b"},
    };
    check_cases(cases, array_len(cases));
}

static void test_text(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        {"'abc' LIKE 'abc'", "true"},
        {"'abc' LIKE 'a%'", "true"},
        {"'abc' LIKE '%c'", "true"},
        {"'abc' LIKE '%b%'", "true"},
        {"'abc' LIKE 'a_c'", "true"},
        {"'abc' LIKE '__'", "false"},
        {"'aïc' LIKE 'a_c'", "true"},
        {"'' LIKE '%'", "true"},
        {"'' LIKE '_'", "false"},
        {"'' LIKE ''", "true"},
        {"'a%c' LIKE 'a\\%c'", "true"},
        {"'abc' LIKE 'a\\%c'", "false"},
        {"'a%c' LIKE 'a!%c' ESCAPE '!'", "true"},
        {"'a\\c' LIKE 'a\\c' ESCAPE ''", "true"},
        {"'aab' LIKE '%ab'", "true"},
        {"'mississippi' LIKE 'm%iss%ip%i'", "true"},
        {"'mississippi' LIKE 'm%iss%ipx%i'", "false"},
        {"'ABC' LIKE 'abc'", "false"},
        {"'ABC' ILIKE 'aB_'", "true"},
        {"'ABC' NOT ILIKE 'x%'", "true"},
        {"'a' LIKE ('x' || '\\')::text", ARGUMENT},
        {"'x' || null", "null"},
        {"1 || 'x' || true || 2.5", "1xtrue2.5"},
        {"'a' < 'b'", "true"},
        {"'a' < 'B'", "false"},
        {"'a' < 'ab'", "true"},
        {"'é' > 'z'", "true"},
        {"'abcdefghij' = 'abcdefghij'", "true"},
        {"length('日本語')", "3"},
        {"substr('日本語', 2, 1)", "本"},
        {"substr('abc', 0, 2)", "a"},
        {"substr('abc', -5)", "abc"},
        {"substr('abc', 2, -1)", ARGUMENT},
        {"left('日本語', 2)", "日本"},
        {"left('abc', -5)", ""},
        {"right('日本語', 2)", "本語"},
        {"right('abc', -1)", "bc"},
        {"upper('straße')", "STRAßE"},
        {"strpos('abc', '')", "1"},
        {"strpos('日本語', '語')", "3"},
        {"split_part('a,b,c', ',', -1)", "c"},
        {"split_part('a,b,c', ',', 4)", ""},
        {"split_part('a,b,c', ',', -4)", ""},
        {"split_part('abc', '', 1)", "abc"},
        {"split_part('abc', ',', 0)", ARGUMENT},
        {"replace('aaa', 'a', 'bb')", "bbbbbb"},
        {"replace('abc', '', 'x')", "abc"},
        {"trim(both 'xé' from 'xéabéx')", "ab"},
        {"trim('   ')", ""},
        {"starts_with('abc', '')", "true"},
        {"'yes'::boolean AND 'T'::boolean AND '1'::boolean", "true"},
        {"'of'::text::boolean", "false"},
        {"'o'::text::boolean", CAST},
        {"true::text || false::text", "truefalse"},
        {"true::integer + 5::boolean::integer", "2"},
    };
    check_cases(cases, array_len(cases));
}

static void test_regex(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        {"'abc' ~ ('b' || '')", "true"},
        {"'abc' ~ ('(' || '')", ARGUMENT},
        {"'abc' ~ null", "null"},
        {"'a' || chr(10) || 'b' ~ 'a.b'", "true"},
        {"regexp_like('a' || chr(10) || 'b', 'a.b', 'n')", "false"},
        {"regexp_like('a' || chr(10) || 'b', '^b', 'n')", "true"},
        {"regexp_like('a.b', 'a.b', 'q') AND NOT regexp_like('axb', 'a.b', 'q')", "true"},
        {"repeat('a', 40) || 'b' ~ '^(a+)+$'", "error: matching the pattern takes too many steps"},
        {"regexp_replace('日本語', '本', '<\\&>')", "日<本>語"},
        {"regexp_replace('abc', 'x*', '-', 'g')", "-a-b-c-"},
        {"regexp_replace('日本', '', '.', 'g')", ".日.本."},
        {"regexp_replace(repeat('a', 100000), 'a', repeat('b', 1000), 'g')",
         "error: value longer than allowed"},
        {"regexp_match('abc', '(x)?b')", "null"},
        {"regexp_substr('abc', 'b', 1, 1, '', 12)", "null"},
        {"regexp_count('aaa', '', 5)", "0"},
    };
    check_cases(cases, array_len(cases));
}

static void test_times(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        {"timestamptz '2026-01-31 12:00:00.50+02:00'", "2026-01-31 10:00:00.5+00"},
        {"'2026-02-30'::text::timestamptz", CAST},
        {"timestamptz '1969-12-31T23:59:59.999999Z'", "1969-12-31 23:59:59.999999+00"},
        {"timestamptz '2026-01-31' + interval '1 day 02:30:00.25'", "2026-02-01 02:30:00.25+00"},
        {"timestamptz '2026-01-31' - interval '-90'", "2026-01-31 00:01:30+00"},
        {"timestamptz '2026-01-31' + interval '4' hour", "2026-01-31 04:00:00+00"},
        {"timestamptz '2026-01-31' + 2 * interval '1.5 h'", "2026-01-31 03:00:00+00"},
        {"timestamptz '2026-01-31' > timestamptz '2026-01-30'", "true"},
        {"timestamptz '2026-01-31' = '2026-01-31 00:00:00Z'", "true"},
        {"interval '1 h' > interval '59 min'", "true"},
        {"extract(epoch from '1h30m'::text::interval)", "5400"},
        {"extract(epoch from '1 month'::text::interval)", ARGUMENT},
        {"interval '1 h' / 0 = interval '1 s'", DIVISION},
        {"date_trunc('week', timestamptz '2026-02-01')", "2026-01-26 00:00:00+00"},
        {"date_trunc('quarter', timestamptz '2026-06-30 23:00Z')", "2026-04-01 00:00:00+00"},
        {"date_trunc('YEAR', timestamptz '1969-06-01')", "1969-01-01 00:00:00+00"},
        {"date_trunc('milliseconds', timestamptz '2026-01-01 00:00:00.123456Z')",
         "2026-01-01 00:00:00.123+00"},
        {"date_trunc('sec' || 'ond', timestamptz '1969-12-31 23:59:59.5Z')",
         "1969-12-31 23:59:59+00"},
        {"date_trunc('x' || 'y', timestamptz '2026-01-01')", ARGUMENT},
        {"extract(isodow from timestamptz '2026-02-01')", "7"},
        {"extract(dow from timestamptz '2026-02-01')", "0"},
        {"extract(doy from timestamptz '2024-12-31')", "366"},
        {"extract(quarter from timestamptz '2026-10-01')", "4"},
        {"extract(second from timestamptz '1969-12-31 23:59:59.5Z')", "59.5"},
        {"extract(milliseconds from timestamptz '2026-01-01 00:00:01.5Z')", "1500"},
        {"extract(epoch from timestamptz '1969-12-31 23:59:59.5Z')", "-0.5"},
        {"to_timestamp(1e300)", RANGE},
        {"date_bin(interval '0 s', timestamptz '2026-01-01', timestamptz '2026-01-01')", ARGUMENT},
        {"date_bin('15 min', timestamptz '2025-12-31 23:59Z', timestamptz '2026-01-01 00:05Z')",
         "2025-12-31 23:50:00+00"},
        {"to_timestamp(9000000000000) + interval '36000 days' * 100", RANGE},
    };
    check_cases(cases, array_len(cases));
}

static int64_t field_of(const struct expr_vec *vec, uint32_t row)
{
    enum expr_state state;
    struct kappa_value value = expr_value(vec, row, &state);
    assert_int_equal(state, EXPR_OK);
    return value.type == KAPPA_TYPE_DOUBLE ? (int64_t)value.d : value.i;
}

static void test_random_times(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("expr times"));
    struct plan *plan = fixture_plan(
        "extract(year from z1) AS y, extract(month from z1) AS mo, extract(day from z1) AS d, "
        "extract(hour from z1) AS h, extract(minute from z1) AS mi, extract(dow from z1) AS w, "
        "extract(doy from z1) AS yd, date_trunc('month', z1) AS m, date_trunc('day', z1) AS dd");
    struct expr_machine machine;
    expr_machine_open(&machine, &plan->views[0].row, 512);
    fixture_nulls(&machine, 512);
    memset(machine.registers[10].state, EXPR_OK, 512);
    for (uint32_t i = 0; i < 512; i++) { /* the years 1 to 9999 */
        machine.registers[10].i[i] =
            ((int64_t)prng_below(&prng, 315537897600) - 62135596800) * 1000000 + 999999;
    }
    expr_run(&machine, 512);
    for (uint32_t i = 0; i < 512; i++) {
        int64_t us = machine.registers[10].i[i];
        time_t seconds = (time_t)((us - 999999) / 1000000);
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        struct tm month = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = 1};
        struct tm day = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday};
        const int64_t want[] = {tm.tm_year + 1900,
                                tm.tm_mon + 1,
                                tm.tm_mday,
                                tm.tm_hour,
                                tm.tm_min,
                                tm.tm_wday,
                                tm.tm_yday + 1,
                                (int64_t)timegm(&month) * 1000000,
                                (int64_t)timegm(&day) * 1000000};
        for (uint32_t k = 0; k < array_len(want); k++) {
            const struct expr_vec *vec = &machine.registers[plan->views[0].append_regs[k]];
            assert_int_equal(field_of(vec, i), want[k]);
        }
    }
    expr_machine_close(&machine);
    plan_free(plan);
}

static void test_random_doubles(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("expr doubles"));
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = prng_next(&prng);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (i % 2 == 0) {
            value = ((double)prng_below(&prng, 2000000) - 1000000) / 1000;
        }
        if (!isfinite(value)) {
            continue;
        }
        char text[EXPR_DOUBLE_TEXT];
        struct kappa_text shown = {text, expr_format_double(value, text)};
        double back = 0;
        assert_int_equal(expr_parse_double(shown, &back), EXPR_OK);
        assert_memory_equal(&back, &value, sizeof value);
        if (i % 2 == 0) {
            char plain[40];
            (void)snprintf(plain, sizeof plain, "%.10g", value);
            assert_int_equal(strlen(plain), shown.len);
            assert_memory_equal(plain, text, shown.len);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),       cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_errors_go_away), cmocka_unit_test(test_text),
        cmocka_unit_test(test_regex),          cmocka_unit_test(test_times),
        cmocka_unit_test(test_random_times),   cmocka_unit_test(test_random_doubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
