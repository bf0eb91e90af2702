/* Goal: documents, exact numbers, dates and bytes come out of records as they went in.
 * Method: records through a view that writes every column as text; noise for the document reader, whose
 * results read again are themselves. (What PostgreSQL says: tests/system/test_postgres.py.) */
#include "processor/jsonb.h"
#include "tests/unit/processor/agg_rig.h"

#include "base/limits.h"

static void check_record(const char *type, const char *json, const char *want)
{
    char *sql =
        xasprintf("CREATE TABLE t (x %s); CREATE MATERIALIZED VIEW v AS SELECT x::text AS r "
                  "FROM t GROUP BY x;",
                  type);
    struct rig rig;
    rig_open(&rig, sql);
    rig_add(&rig, 0, xasprintf("{\"x\": %s }", json));
    rig_run(&rig, NULL);
    char *got = NULL;
    bool any = rig_values(&rig, NULL, &got, 1);
    if (want == NULL ? any : !any || strcmp(got, want) != 0) {
        fail_msg("%s in %s: %s, expected %s", json, type, any ? got : "dead", want);
    }
    free(got);
    free(sql);
    rig_close(&rig);
}

static void test_columns(void **state)
{
    (void)state;

    static const struct {
        const char *type;
        const char *json;
        const char *want; /* NULL: dead */
    } cases[] = {
        {"jsonb", "{\"bb\":[1,2.50,{}],\"a\":null,\"bb\":\"x\"}", "{\"a\": null, \"bb\": \"x\"}"},
        {"jsonb", "[1 , 2]", "[1, 2]"},
        {"jsonb", "\"a\\u00e9\"", "\"a\u00e9\""},
        {"jsonb", "1.50", "1.50"},
        {"jsonb", "true", "true"},
        {"jsonb", "null", "null"},
        {"jsonb", "{\"a\":\"\\u0000\"}", NULL},
        {"numeric", "12345678901234567890.123456789", "12345678901234567890.123456789"},
        {"numeric", "\"0.10\"", "0.1"}, /* a key keeps the value, not its zeros */
        {"numeric(6,2)", "0.1", "0.10"},
        {"numeric(6,2)", "-1234.565", "-1234.57"},
        {"numeric(6,2)", "12345.1", NULL},
        {"numeric", "1e40", NULL},
        {"numeric", "\"abc\"", NULL},
        {"numeric", "true", NULL},
        {"smallint", "32767", "32767"},
        {"smallint", "32768", NULL},
        {"smallint", "1.0", NULL},
        {"real", "0.1", "0.1"},
        {"real", "16777217", "1.6777216e+07"},
        {"real", "1e39", NULL},
        {"date", "\"2026-02-28\"", "2026-02-28"},
        {"date", "\"2026-02-29\"", NULL},
        {"date", "5", "1970-01-06"},
        {"date", "1767225600000", NULL},
        {"timestamp", "\"2026-02-28T10:00:00+02:00\"", "2026-02-28 10:00:00"},
        {"timestamp", "1000", "1970-01-01 00:00:01"},
        {"interval", "\"1 day 02:00\"", "1 day 02:00:00"},
        {"interval", "\"1 month\"", NULL},
        {"uuid", "\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"",
         "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
        {"uuid", "\"A0EEBC99\"", NULL},
        {"bytea", "\"\\\\x00ff\"", "\\x00ff"},
        {"integer[]", "[1, null,-3]", "{1,NULL,-3}"},
        {"integer[]", "[ ]", "{}"},
        {"integer[]", "null", "null"},
        {"integer[]", "[1.5]", NULL},
        {"integer[]", "[\"1\"]", NULL},
        {"integer[]", "[[1]]", NULL},
        {"integer[]", "[2147483648]", NULL},
        {"integer[]", "{}", NULL},
        {"integer[]", "5", NULL},
        {"text[]", "[\"a b\",\"\\u00e9\",null,\"null\"]", "{\"a b\",\u00e9,NULL,\"null\"}"},
        {"text[]", "[1]", NULL},
        {"boolean[]", "[true,false]", "{t,f}"},
        {"numeric[]", "[1.50,\"2\"]", "{1.5,2}"},
        {"timestamptz[]", "[\"2026-01-31T10:00:00Z\"]", "{\"2026-01-31 10:00:00+00\"}"},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        check_record(cases[i].type, cases[i].json, cases[i].want);
    }
}

static void test_noise(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("jsonb noise"));
    struct arena arena;
    arena_init(&arena);
    static const char letters[] = "{}[]\",:\\ue0123456789.-+E tfnrlas";
    for (int round = 0; round < 200000; round++) {
        char *text = arena_alloc(&arena, 40);
        uint32_t len = (uint32_t)prng_below(&prng, 40);
        for (uint32_t i = 0; i < len; i++) {
            text[i] = letters[prng_below(&prng, sizeof letters - 1)];
        }
        char *exact = xmalloc(len + 1); /* ASan sees any step beyond */
        memcpy(exact, text, len);
        struct kappa_text made;
        struct kappa_text again;
        if (jsonb_parse((struct kappa_text){exact, len}, &arena, &made) == EXPR_OK) {
            assert_int_equal(jsonb_parse(made, &arena, &again), EXPR_OK);
            assert_int_equal(made.len, again.len);
            assert_memory_equal(made.bytes, again.bytes, made.len);
            (void)jsonb_length(made);
            (void)jsonb_element(made, -1, &again);
            (void)jsonb_member(made, (struct kappa_text){"a", 1}, &again);
        }
        /* A text of a damaged store: nothing outside of it is read. */
        struct kappa_text damaged = {exact, len};
        uint32_t pos = 0;
        for (int i = 0; i < 50 && jsonb_next(damaged, &pos, &again); i++) {
            (void)jsonb_text(again, &arena);
        }
        (void)jsonb_length(damaged);
        (void)jsonb_element(damaged, 1, &again);
        (void)jsonb_member(damaged, (struct kappa_text){"e", 1}, &again);
        (void)jsonb_text(damaged, &arena);
        free(exact);
        arena_reset(&arena);
    }
    char deep[2 * LIMIT_JSON_DEPTH + 2];
    struct kappa_text out;
    for (uint32_t depth = LIMIT_JSON_DEPTH - 1; depth <= LIMIT_JSON_DEPTH + 1; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        enum expr_state got = jsonb_parse((struct kappa_text){deep, 2 * depth}, &arena, &out);
        assert_int_equal(got, depth <= LIMIT_JSON_DEPTH ? EXPR_OK : EXPR_ERROR_LIMIT);
    }
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_columns),
                                       cmocka_unit_test(test_noise)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
