/* Goal: rows made by real definitions are what sqlite3 makes of the same records; records whose
 * expressions fail become dead records and change nothing; reading merges sources, applies HAVING,
 * and says so when a value cannot be read.
 * Method: definitions in SQL; records go through the processor over four sources into the naive
 * store and are read back; the oracle is sqlite3 over the same rows, and the text of the row. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "base/prng.h"
#include "processor/numeric.h"
#include "processor/processor.h"
#include "tests/unit/processor/mem_store.h"
#include "tests/unit/processor/sqlite_oracle.h"

#include <string.h>

static const char declare[] =
    "CREATE TABLE e (usr text, n bigint, amount double precision, at timestamptz)"
    " WITH (topic='e', format='json', event_time='at', watermark='1 h', timestamp_unit='ms');\n";

static struct plan *compile(const char *view)
{
    char *text = xasprintf("%s%s", declare, view);
    struct plan *plan = NULL;
    struct err err = {0};
    if (plan_compile("test.sql", text, strlen(text), &plan, &err) < 0) {
        fail_msg("%s", err.text);
    }
    free(text);
    return plan;
}

/* ---- A processor over a naive store. */

struct world {
    struct plan *plan;
    struct mem_store store;
    struct processor *processor;
};

static void world_open(struct world *w, const char *view)
{
    w->plan = compile(view);
    mem_open(&w->store);
    struct processor_options options = {
        .plan = w->plan, .load = mem_load, .load_ctx = &w->store, .cache_bytes = 1 << 20};
    assert_int_equal(processor_open(&options, &w->processor, NULL), 0);
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        processor_source_restore(w->processor, s, 0, &w->store.states[s]);
    }
}

static void world_close(struct world *w)
{
    processor_close(w->processor);
    mem_close(&w->store);
    plan_free(w->plan);
}

static void apply(struct world *w, uint32_t source, const char *json)
{
    size_t len = strlen(json);
    uint8_t *value = xcalloc(1, len + KAPPA_RECORD_TAIL);
    memcpy(value, json, len);
    struct kappa_source_state state;
    processor_source_state(w->processor, source, &state);
    struct kappa_record record = {
        .offset = state.next_offset, .value = value, .value_len = u32_from(len)};
    assert_int_equal(processor_apply(w->processor, source, &record, 1, record.offset + 1, NULL), 0);
    free(value);
}

static void commit(struct world *w)
{
    struct kappa_change_sink sink = mem_sink(&w->store);
    assert_int_equal(processor_flush(w->processor, &sink, NULL), 0);
    mem_commit(&w->store);
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        processor_source_state(w->processor, s, &w->store.states[s]);
    }
    processor_committed(w->processor);
}

static void put_value(struct buf *out, const struct kappa_value *value)
{
    if (value->is_null) {
        return;
    }
    if (value->type == KAPPA_TYPE_TEXT) {
        buf_append(out, value->s.bytes, value->s.len);
    } else if (value->type == KAPPA_TYPE_DOUBLE) {
        buf_printf(out, "%.9f", value->d);
    } else if (value->type == KAPPA_TYPE_NUMERIC) {
        buf_printf(out, "%.9f", numeric_to_double(value->n));
    } else if (value->type == KAPPA_TYPE_TIMESTAMPTZ) {
        buf_printf(out, "%lld", (long long)(value->i / 1000));
    } else {
        buf_printf(out, "%lld", (long long)value->i);
    }
}

/* Row of the key (behind source and window; in an append table of one source only: each row is
 * alone) and window: "a|b|c", "" when HAVING refuses it, "!reason" when it cannot be read. */
static int finish(struct world *w, struct row_finisher *finisher, const struct mem_row *of,
                  struct buf *out)
{
    const struct plan_view *view = &w->plan->views[0];
    size_t skip = 2U + (view->shape.windowed ? KAPPA_KEY_WINDOW_BYTES : 0U);
    const uint8_t *rest = of->key + 2;
    size_t rest_len = of->key_len - 2;
    int64_t window_end = view->shape.windowed ? load_i64_sortable(rest) : 0;
    row_finisher_begin(finisher, window_end, rest + skip - 2, rest_len - (skip - 2));
    int parts = 0;
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        uint8_t key[LIMIT_TABLE_KEY_LEN];
        store_u16_be(key, (uint16_t)s);
        memcpy(key + 2, rest, rest_len);
        const struct mem_row *row = mem_get(&w->store, 0, key, rest_len + 2);
        if (row != NULL && (view->kind == PLAN_GROUP || row == of)) {
            assert_int_equal(row_finisher_add(finisher, row->value, row->value_len, NULL), 0);
            parts++;
        }
    }
    assert_true(parts > 0);
    const struct kappa_value *values = NULL;
    struct err err = {0};
    int rc = row_finisher_finish(finisher, &values, &err);
    if (rc < 0) {
        buf_printf(out, "!%s", err.text);
    }
    for (uint32_t o = 0; rc > 0 && o < view->output_count; o++) {
        buf_append_text(out, o > 0 ? "|" : "");
        put_value(out, &values[o]);
    }
    return rc;
}

/* All rows of the first table, sorted, a line each. */
static char *all_rows(struct world *w)
{
    struct row_finisher *finisher = row_finisher_new(w->plan, 0);
    bool group = w->plan->views[0].kind == PLAN_GROUP;
    char **lines = xcalloc(w->store.count + 1, sizeof *lines);
    size_t count = 0;
    for (size_t i = 0; i < w->store.count; i++) {
        const struct mem_row *row = &w->store.rows[i];
        bool first = row->table == 0;
        for (size_t k = 0; group && k < i; k++) {
            first =
                first && !(w->store.rows[k].key_len == row->key_len &&
                           memcmp(w->store.rows[k].key + 2, row->key + 2, row->key_len - 2) == 0);
        }
        struct buf line = {0};
        if (first && finish(w, finisher, row, &line) != 0) {
            lines[count++] = xstrdup(buf_text(&line));
        }
        buf_free(&line);
    }
    row_finisher_free(finisher);
    return oracle_sorted(lines, count);
}

/* Random rows into both; amounts are multiples of 1/4, so that sums are exact in any order. */
static void random_rows(struct world *w, struct prng *prng, struct buf *script, int count)
{
    buf_append_text(script,
                    "CREATE TABLE e (usr text, n integer, amount real, at integer);\nBEGIN;\n");
    for (int i = 0; i < count; i++) {
        char usr[16] = "null";
        char n[16] = "null";
        char amount[32] = "null";
        if (prng_below(prng, 8) != 0) {
            (void)snprintf(usr, sizeof usr, "u%d", (int)prng_below(prng, 9));
        }
        if (prng_below(prng, 8) != 0) {
            (void)snprintf(n, sizeof n, "%d", (int)prng_below(prng, 11) - 5);
        }
        if (prng_below(prng, 8) != 0) {
            (void)snprintf(amount, sizeof amount, "%.2f",
                           ((double)prng_below(prng, 400) - 200) / 4);
        }
        bool text = strcmp(usr, "null") != 0;
        long long at = 1700000000000 + (long long)prng_below(prng, 1800000);
        char json[200];
        (void)snprintf(json, sizeof json, "{\"usr\":%s%s%s,\"n\":%s,\"amount\":%s,\"at\":%lld}",
                       text ? "\"" : "", usr, text ? "\"" : "", n, amount, at);
        buf_printf(script, "INSERT INTO e VALUES (%s%s%s,%s,%s,%lld);\n", text ? "'" : "", usr,
                   text ? "'" : "", n, amount, at);
        apply(w, (uint32_t)prng_below(prng, MEM_SOURCES), json);
        if (prng_below(prng, 50) == 0) {
            commit(w);
        }
    }
    buf_append_text(script, "COMMIT;\n");
    commit(w);
}

static const struct {
    const char *view;
    const char *oracle;
} queries[] = {
    {"CREATE MATERIALIZED VIEW v AS SELECT usr, count(*) AS c, count(n) AS cn,"
     " count(DISTINCT n) AS d, sum(n) AS s, sum(amount) AS sa, avg(n) AS a, min(usr) AS lo,"
     " max(n) AS hi, min(amount) AS ma FROM e GROUP BY usr;",
     "SELECT usr, count(*), count(n), count(DISTINCT n), sum(n), printf('%.9f', sum(amount)),"
     " printf('%.9f', avg(n)), min(usr), max(n), printf('%.9f', min(amount)) FROM e GROUP BY usr;"},
    {"CREATE MATERIALIZED VIEW v AS SELECT n, count(*) FILTER (WHERE amount > 0) AS up,"
     " sum(n * 2 + 1) FILTER (WHERE usr LIKE 'u%') AS s, coalesce(max(usr), '-') AS m"
     " FROM e WHERE amount IS NOT NULL AND (n < 4 OR usr = 'u1') GROUP BY n HAVING count(*) > 3;",
     "SELECT n, count(*) FILTER (WHERE amount > 0), sum(n * 2 + 1) FILTER (WHERE usr LIKE 'u%'),"
     " coalesce(max(usr), '-') FROM e WHERE amount IS NOT NULL AND (n < 4 OR usr = 'u1')"
     " GROUP BY n HAVING count(*) > 3;"},
    {"CREATE MATERIALIZED VIEW v AS SELECT usr, window_start, window_end, count(*) AS c,"
     " max(at) AS last FROM tumble(e, at, interval '1 minute') GROUP BY usr, window_start,"
     " window_end;",
     "SELECT usr, at/60000*60000, at/60000*60000+60000, count(*), max(at) FROM e"
     " GROUP BY usr, at/60000;"},
    {"CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c, sum(n) AS s FROM e;",
     "SELECT count(*), sum(n) FROM e;"},
    {"CREATE MATERIALIZED VIEW v AS SELECT usr, n + 1 AS m, amount FROM e WHERE n > 2;",
     "SELECT usr, n + 1, printf('%.9f', amount) FROM e WHERE n > 2 AND amount IS NOT NULL"
     " UNION ALL SELECT usr, n + 1, NULL FROM e WHERE n > 2 AND amount IS NULL;"},
    /* Records with 0 for n and a user other than u0 fail. */
    {"CREATE MATERIALIZED VIEW v AS SELECT usr, count(*) AS c,"
     " sum(100 / n) FILTER (WHERE usr <> 'u0') AS s FROM e GROUP BY usr;",
     "SELECT usr, count(*), sum(100 / n) FILTER (WHERE usr <> 'u0') FROM e"
     " WHERE NOT (coalesce(n, 1) = 0 AND coalesce(usr, 'u0') <> 'u0') GROUP BY usr;"},
};

static void test_against_sqlite(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("sqlite"));
    for (size_t q = 0; q < array_len(queries); q++) {
        struct world w;
        struct buf script = {0};
        world_open(&w, queries[q].view);
        random_rows(&w, &prng, &script, 400);
        buf_append_text(&script, queries[q].oracle);
        char *expected = oracle_sqlite(buf_text(&script), "");
        char *actual = all_rows(&w);
        assert_string_equal(actual, expected);
        assert_true(strlen(actual) > 2);
        free(expected);
        free(actual);
        buf_free(&script);
        world_close(&w);
    }
}

/* ---- Dead records of expressions. */

static void assert_dead(const struct world *w, size_t i, uint32_t view, const char *reason)
{
    assert_true(i < w->store.dead_count);
    assert_int_equal(w->store.dead[i].row.table, view);
    assert_string_equal((char *)w->store.dead[i].row.key, reason);
}

static void test_dead(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "CREATE MATERIALIZED VIEW v AS SELECT usr, sum(10 / n) AS s FROM e"
                   " WHERE 10 / n < 6 GROUP BY usr;"
                   "CREATE MATERIALIZED VIEW k AS SELECT 10 / n AS t, count(*) AS c FROM e"
                   " GROUP BY 10 / n;"
                   "CREATE MATERIALIZED VIEW l AS SELECT usr, 10 / n AS t FROM e;");
    apply(&w, 0, "{\"usr\":\"a\",\"n\":2,\"at\":1}");
    apply(&w, 0, "{\"usr\":\"a\",\"n\":0,\"at\":1}");
    apply(&w, 0, "{\"usr\":\"a\",\"n\":5}");
    apply(&w, 0, "{\"usr\":\"a\",\"n\":\"5\",\"at\":1}");
    apply(&w, 0, "{\"usr\":\"a\",\"n\":1,\"at\":1}");
    commit(&w);
    assert_int_equal(w.store.dead_count, 5);
    assert_int_equal(w.store.states[0].dead, 5);
    assert_int_equal(w.store.states[0].records, 5);
    assert_dead(&w, 0, 0, "WHERE: division by zero");
    assert_dead(&w, 1, 1, "t: division by zero");
    assert_dead(&w, 2, 2, "t: division by zero");
    assert_dead(&w, 3, UINT32_MAX, "no event time: column \"at\" is missing or null");
    assert_dead(&w, 4, UINT32_MAX, "column \"n\": expected bigint, got text");
    assert_int_equal(w.store.dead[0].number, 1);
    assert_int_equal(w.store.dead[3].number, 2);
    assert_string_equal((char *)w.store.dead[0].row.value, "{\"usr\":\"a\",\"n\":0,\"at\":1}");
    char *rows = all_rows(&w);
    assert_memory_equal(rows, "a|5\n", 4);
    free(rows);
    world_close(&w);
}

/* Two topics: each source feeds the tables of its own input only, and has its own watermark. */
static void test_two_inputs(void **state)
{
    (void)state;
    struct world w = {0};
    w.plan =
        compile("CREATE TABLE f (n bigint, s text) WITH (topic='f', format='json');"
                "CREATE MATERIALIZED VIEW v AS SELECT s, sum(n) AS t FROM f GROUP BY s;"
                "CREATE MATERIALIZED VIEW x AS SELECT usr, count(*) AS c FROM e GROUP BY usr;");
    mem_open(&w.store);
    struct processor_options options = {.plan = w.plan, .cache_bytes = 1 << 20};
    assert_int_equal(processor_open(&options, &w.processor, NULL), 0);
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        processor_source_restore(w.processor, s, s < 2 ? 0 : 1, &w.store.states[s]);
    }
    apply(&w, 0, "{\"usr\":\"a\",\"n\":1,\"at\":1,\"s\":3}");
    apply(&w, 2, "{\"n\":4,\"s\":\"b\"}");
    apply(&w, 3, "{\"n\":5,\"s\":\"b\"}");
    apply(&w, 1, "{\"n\":4,\"s\":\"b\"}");
    commit(&w);
    assert_int_equal(w.store.count, 3);
    char *rows = all_rows(&w);
    assert_string_equal(rows, "b|9\n");
    free(rows);
    assert_int_equal(w.store.dead_count, 1);
    assert_int_equal(w.store.dead[0].source, 1);
    assert_int_equal(w.store.states[0].event_time_max, 1000);
    assert_int_equal(w.store.states[2].event_time_max, KAPPA_NO_TIME);
    world_close(&w);
}

static void test_long_key(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "CREATE MATERIALIZED VIEW v AS SELECT usr, count(*) AS c FROM e GROUP BY usr;");
    for (int len = 470; len < 490; len++) {
        char *json = xasprintf("{\"usr\":\"%0*d\",\"at\":1}", len, 7);
        apply(&w, 0, json);
        free(json);
    }
    commit(&w);
    assert_int_equal(w.store.count, 8); /* 470 .. 477 and tag and end */
    assert_int_equal(w.store.dead_count, 12);
    assert_dead(&w, 0, 0, "the group key is longer than 480 bytes");
    world_close(&w);
}

/* ---- Reading. */

static void test_unreadable_values(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "CREATE MATERIALIZED VIEW v AS SELECT usr, sum(n) AS total, 10 / count(n) AS r"
                   " FROM e GROUP BY usr;");
    apply(&w, 0, "{\"usr\":\"a\",\"n\":9223372036854775807,\"at\":1}");
    apply(&w, 1, "{\"usr\":\"a\",\"n\":1,\"at\":1}");
    apply(&w, 2, "{\"usr\":\"b\",\"at\":1}");
    apply(&w, 3, "{\"usr\":\"c\",\"n\":3,\"at\":1}");
    commit(&w);
    char *rows = all_rows(&w);
    char *expected =
        xasprintf("!v: r: %s, in the group usr = \"b\"\n!v: total: %s, in the group usr = "
                  "\"a\"\nc|3|10\n",
                  expr_error_text(EXPR_ERROR_DIVISION), expr_error_text(EXPR_ERROR_OVERFLOW));
    assert_string_equal(rows, expected);
    free(expected);
    free(rows);
    /* The sum fits again when a source takes it back. */
    apply(&w, 2, "{\"usr\":\"a\",\"n\":-5,\"at\":1}");
    commit(&w);
    rows = all_rows(&w);
    assert_non_null(strstr(rows, "a|9223372036854775803|3\n"));
    free(rows);
    world_close(&w);
}

static void test_corrupt(void **state)
{
    (void)state;
    struct plan *plan =
        compile("CREATE MATERIALIZED VIEW v AS SELECT usr, count(*) AS c FROM e GROUP BY usr;");
    struct row_finisher *finisher = row_finisher_new(plan, 0);
    const uint8_t key[] = {1, 'a', 0, 0};
    struct err err = {0};
    row_finisher_begin(finisher, 0, key, sizeof key);
    assert_int_equal(row_finisher_add(finisher, (const uint8_t *)"\x80", 1, &err), -KE_CORRUPT);
    assert_string_equal(err.text, "table v: a row's value does not decode");
    const struct kappa_value *values = NULL;
    for (size_t len = 0; len < sizeof key; len++) {
        row_finisher_begin(finisher, 0, key, len);
        assert_int_equal(row_finisher_add(finisher, (const uint8_t *)"\x05", 1, &err), 0);
        assert_int_equal(row_finisher_finish(finisher, &values, &err), -KE_CORRUPT);
    }
    row_finisher_begin(finisher, 0, key, sizeof key);
    assert_int_equal(row_finisher_add(finisher, (const uint8_t *)"\x05", 1, &err), 0);
    assert_int_equal(row_finisher_finish(finisher, &values, &err), 1);
    assert_int_equal(values[1].i, 5);
    row_finisher_free(finisher);
    plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sqlite),    cmocka_unit_test(test_dead),
        cmocka_unit_test(test_two_inputs),        cmocka_unit_test(test_long_key),
        cmocka_unit_test(test_unreadable_values), cmocka_unit_test(test_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
