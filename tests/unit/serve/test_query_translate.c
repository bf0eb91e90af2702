/* Goal: spellings of PostgreSQL become what SQLite understands, all else stays as it is, and places
 * lead back. Method: a table of texts and what becomes of them; then random garbage, which must
 * neither crash nor lose a token. */
#include "serve/query_translate.h"

#include "base/prng.h"
#include "tests/unit/unit.h"

#include <string.h>

static struct err fault;

static void test_becomes(void **state)
{
    static const struct {
        const char *from;
        const char *to;
    } cases[] = {
        {"SELECT a, 'it''s' FROM t -- all\n WHERE b = ?1;",
         "SELECT a, 'it''s' FROM t WHERE b = ?1"},
        {"SELECT a::int", "SELECT to_integer(a)"},
        {"SELECT t.a::double precision / 3", "SELECT to_double(t.a) / 3"},
        {"SELECT (a + b)::text || 'x'", "SELECT to_text((a + b)) || 'x'"},
        {"SELECT count(*) FILTER (WHERE a)::numeric(10, 2)",
         "SELECT to_numeric(count(*) FILTER (WHERE a),10,2)"},
        {"SELECT CAST(a AS numeric(5)), b::numeric", "SELECT to_numeric(a ,5,0), to_numeric(b)"},
        {"SELECT 0.1234567890123456, 0.123456789012345, 1234567890123456789, 12345678901234567890",
         "SELECT to_numeric('0.1234567890123456'), 0.123456789012345, "
         "to_numeric('1234567890123456789'),"
         " to_numeric('12345678901234567890')"},
        {"SELECT a::int::text", "SELECT to_text(to_integer(a))"},
        {"SELECT CASE WHEN a THEN 1 END::bigint", "SELECT to_integer(CASE WHEN a THEN 1 END)"},
        {"SELECT -5::int", "SELECT -to_integer(5)"},
        {"SELECT CAST(a + 1 AS double precision) AS b", "SELECT to_double(a + 1) AS b"},
        {"SELECT CAST(CAST(a AS text) AS timestamp with time zone)",
         "SELECT timestamptz(to_text(a))"},
        {"SELECT now() - interval '1 day'", "SELECT time_add(now(), '-1 day')"},
        {"SELECT t + INTERVAL '5' minute > x", "SELECT time_add(t, '5 minute') > x"},
        {"SELECT a.t - '1 hour'::interval + interval '1 s'",
         "SELECT time_add(time_add(a.t, '-1 hour'), '1 s')"},
        {"SELECT timestamptz '2026-01-01', date'2026-01-02'",
         "SELECT timestamptz('2026-01-01'), to_date('2026-01-02')"},
        {"SELECT date, timestamp FROM x", "SELECT date, timestamp FROM x"},
        {"SELECT extract(hour FROM t) FROM x", "SELECT date_part('hour',t) FROM x"},
        {"SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY a + b) FROM x",
         "SELECT percentile_cont(0.9, a + b) FROM x"},
        {"SELECT a NOT ILIKE 'x%'", "SELECT a NOT MATCH 'x%'"},
        {"SELECT * FROM totals@3 t", "SELECT * FROM \"totals@3\" t"},
        {"SELECT current_timestamp, \"a::b\", '::'", "SELECT now(), \"a::b\", '::'"},
        {"SELECT a->'x', a->>'y', b<<2", "SELECT a->'x', a->>'y', b<<2"},
        {"SELECT 1e-5, .5, x.\"y z\"", "SELECT 1e-5, .5, x.\"y z\""},
        {"SELECT ~a, a-~b", "SELECT ~a, a-~b"},
        {"EXPLAIN SELECT a FROM explain", "EXPLAIN QUERY PLAN SELECT a FROM explain"},
        {"explain query plan SELECT 1", "explain query plan SELECT 1"},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < array_len(cases); i++) {
        struct query_text text;
        struct buf plain = {0};
        struct buf wanted = {0};
        if (query_translate(&text, cases[i].from, strlen(cases[i].from), NULL, &fault) != 0) {
            fail_msg("%s: %s", cases[i].from, fault.text);
        }
        /* Blanks may differ where they mean nothing. */
        for (const char *c = buf_text(&text.out); *c != '\0'; c++) {
            if (*c != ' ') {
                buf_append_u8(&plain, (uint8_t)*c);
            }
        }
        for (const char *c = cases[i].to; *c != '\0'; c++) {
            if (*c != ' ') {
                buf_append_u8(&wanted, (uint8_t)*c);
            }
        }
        assert_string_equal(buf_text(&plain), buf_text(&wanted));
        buf_free(&plain);
        buf_free(&wanted);
        query_text_free(&text);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *from;
        const char *text; /* begins so */
    } cases[] = {
        {"SELECT DISTINCT ON (a) b FROM c", "1:17: DISTINCT ON"},
        {"SELECT a\nFROM b, LATERAL (SELECT 1)", "2:9: LATERAL"},
        {"EXPLAIN ANALYZE SELECT 1", "1:1: EXPLAIN has no options"},
        {"SELECT a::box", "1:11: there is no conversion"},
        {"SELECT ::int", "1:8: there is nothing to convert"},
        {"SELECT interval '1 hour'", "1:8: an interval can only"},
        {"SELECT a ~ 'x'", "1:10: regular expressions"},
        {"SELECT 'a", "1:8: this quote has no end"},
        {"SELECT 1; SELECT 2", "1:11: one statement"},
        {"SELECT \xC3\xA4, 1 FETCH FIRST 3 ROWS ONLY", "1:13: FETCH FIRST"},
    };

    (void)state;
    for (size_t i = 0; i < array_len(cases); i++) {
        struct query_text text;
        int rc = query_translate(&text, cases[i].from, strlen(cases[i].from), NULL, &fault);
        assert_int_equal(rc, -KE_SQL);
        if (strncmp(fault.text, cases[i].text, strlen(cases[i].text)) != 0) {
            fail_msg("%s: %s", cases[i].from, fault.text);
        }
        query_text_free(&text);
    }
}

static void test_places(void **state)
{
    static const char from[] = "SELECT (a)::int, b::text, nope FROM x";
    struct query_text text;
    (void)state;
    assert_int_equal(query_translate(&text, from, strlen(from), NULL, &fault), 0);
    const char *out = buf_text(&text.out);
    size_t place = query_place(&text, (size_t)(strstr(out, "nope") - out));
    assert_int_equal(place, strstr(from, "nope") - from);
    place = query_place(&text, (size_t)(strstr(out, "to_text") - out));
    assert_true(place >= 17 && place <= 24);
    query_text_free(&text);
}

static void test_statements(void **state)
{
    bool empty = false;
    (void)state;
    assert_int_equal(query_statement("SELECT ';' ; x", 14, &empty), 12);
    assert_false(empty);
    assert_int_equal(query_statement("SELECT 1", 8, &empty), 0);
    assert_int_equal(query_statement("SELECT 'a;", 10, &empty), 0);
    assert_int_equal(query_statement(" -- a;\n /* ; */ ;", 17, &empty), 17);
    assert_true(empty);
    assert_int_equal(query_statement("  -- a;", 7, &empty), 0);
    assert_true(empty);
}

static void test_garbage(void **state)
{
    static const char *const words[] = {
        "SELECT",   "CAST",    "(",    ")",      "AS",    "::",    "int",    "interval",
        "'1 hour'", "+",       "-",    "WITHIN", "GROUP", "ORDER", "BY",     "END",
        "CASE",     "extract", "FROM", "x.y",    "\"q\"", "@3",    "name@3", "~",
        "[a]",      "'",       "/*",   "--",     "\n",    "5",     "?1",     "DISTINCT",
        "ON",       ",",       ";",    "\xff",   "OVER",  "FILTER"};
    struct prng prng;
    (void)state;
    prng_init(&prng, unit_seed("garbage"));
    for (uint32_t round = 0; round < 20000; round++) {
        struct buf text = {0};
        struct query_text query;
        for (uint64_t n = prng_below(&prng, 20); n > 0; n--) {
            buf_append_text(&text, words[prng_below(&prng, array_len(words))]);
            buf_append_text(&text, prng_below(&prng, 3) == 0 ? "" : " ");
        }
        int rc = query_translate(&query, buf_text(&text), text.len, NULL, &fault);
        assert_true(rc == 0 || rc == -KE_SQL);
        for (size_t at = 0; rc == 0 && at <= query.out.len; at++) {
            assert_true(query_place(&query, at) <= text.len);
        }
        query_text_free(&query);
        buf_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_becomes), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_places),  cmocka_unit_test(test_statements),
        cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
