/* Goal: window functions see the rows of their key that came up to the current one, in the order of
 * event time, whatever the commits, evictions and restarts are; what is stored is the same, too.
 * Method: random records of two sources, out of order within and beyond the watermark, through SQL and
 * the naive store; the oracle is sqlite3 with a correlated subquery for each function. A second run
 * over the same records commits often, keeps nothing in memory and starts anew now and then: its
 * stored bytes must be equal. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "base/prng.h"
#include "processor/processor.h"
#include "tests/unit/processor/mem_store.h"

#include <string.h>

#define SOURCES 2
#define ROWS    500

static const char definition[] =
    "CREATE TABLE e (seq bigint, usr text, n bigint, amount double precision, at timestamptz)"
    " WITH (topic='e', event_time='at', watermark='5 s', timestamp_unit='ms');\n"
    "CREATE MATERIALIZED VIEW v AS SELECT seq,"
    " lag(n) OVER w AS l1, lag(usr, 3, 'none') OVER w AS l3, row_number() OVER w AS rn,"
    " count(*) OVER (PARTITION BY usr ORDER BY at RANGE BETWEEN interval '6 s' PRECEDING AND "
    "CURRENT ROW) AS c,"
    " sum(n) OVER (PARTITION BY usr ORDER BY at ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s,"
    " avg(amount) OVER (PARTITION BY usr ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 "
    "PRECEDING) AS a,"
    " max(amount) FILTER (WHERE n > 0) OVER w AS m,"
    " count(n) OVER (PARTITION BY usr ORDER BY at RANGE BETWEEN interval '6 s' PRECEDING AND "
    "CURRENT ROW"
    "   EXCLUDE CURRENT ROW) AS x,"
    " min(usr) OVER (PARTITION BY n % 3) AS by_n, count(*) OVER () AS everything"
    " FROM e WHERE n <> 5 OR n IS NULL WINDOW w AS (PARTITION BY usr ORDER BY at);\n"
    "CREATE MATERIALIZED VIEW jumps AS SELECT usr, count(*) AS jumps, sum(n - before) AS climb FROM"
    " (SELECT usr, n, lag(n) OVER (PARTITION BY usr ORDER BY at) AS before FROM e) s"
    " WHERE n > before GROUP BY usr;\n";

/* b: the rows that row a sees. */
#define SEEN  "FROM ok b WHERE b.src = a.src AND b.usr IS a.usr AND b.seq <= a.seq"
#define UP_TO SEEN " AND (b.at, b.seq) <= (a.at, a.seq)"

static const char oracle[] =
    "CREATE TABLE ok AS SELECT * FROM e a WHERE (n <> 5 OR n IS NULL) AND"
    " at >= (SELECT max(at) FROM e b WHERE b.src = a.src AND b.seq <= a.seq) - 5000;\n"
    "SELECT seq,"
    " (SELECT n " UP_TO " ORDER BY at DESC, seq DESC LIMIT 1 OFFSET 1),"
    " CASE WHEN (SELECT count(*) " UP_TO ") > 3 THEN usr ELSE 'none' END,"
    " (SELECT count(*) " UP_TO "),"
    " (SELECT count(*) " SEEN " AND b.at BETWEEN a.at - 6000 AND a.at),"
    " (SELECT sum(n) FROM (SELECT n " UP_TO " ORDER BY at DESC, seq DESC LIMIT 3)),"
    " printf('%.9f', (SELECT avg(amount) " UP_TO " AND b.seq <> a.seq)),"
    " printf('%.9f', (SELECT max(amount) " SEEN " AND b.at <= a.at AND n > 0)),"
    " (SELECT count(n) " SEEN " AND b.at BETWEEN a.at - 6000 AND a.at AND b.seq <> a.seq),"
    " (SELECT min(usr) FROM ok b WHERE b.src = a.src AND b.seq <= a.seq AND b.n % 3 IS a.n % 3),"
    " (SELECT count(*) FROM ok b WHERE b.src = a.src AND b.seq <= a.seq)"
    " FROM ok a;\n";

static const char jumps_oracle[] =
    "CREATE TABLE ok AS SELECT * FROM e a WHERE"
    " at >= (SELECT max(at) FROM e b WHERE b.src = a.src AND b.seq <= a.seq) - 5000;\n"
    "SELECT usr, count(*), sum(n - before) FROM (SELECT usr, n,"
    " (SELECT n " UP_TO " ORDER BY at DESC, seq DESC LIMIT 1 OFFSET 1) AS before FROM ok a)"
    " WHERE n > before GROUP BY usr;\n";

/* ---- A processor over a naive store. */

struct world {
    struct plan *plan;
    struct mem_store store;
    struct processor *processor;
    size_t cache_bytes;
};

static void start(struct world *w)
{
    struct processor_options options = {.plan = w->plan,
                                        .load = mem_load,
                                        .load_ctx = &w->store,
                                        .cache_bytes = w->cache_bytes,
                                        .rows_stored = true};
    assert_int_equal(processor_open(&options, &w->processor, NULL), 0);
    for (uint32_t s = 0; s < SOURCES; s++) {
        processor_source_restore(w->processor, s, 0, &w->store.states[s]);
    }
}

static void world_open(struct world *w, size_t cache_bytes)
{
    struct err err = {0};
    if (plan_compile("test.sql", definition, strlen(definition), &w->plan, &err) < 0) {
        fail_msg("%s", err.text);
    }
    mem_open(&w->store);
    w->cache_bytes = cache_bytes;
    start(w);
}

static void world_close(struct world *w)
{
    processor_close(w->processor);
    mem_close(&w->store);
    plan_free(w->plan);
}

static void commit(struct world *w)
{
    struct kappa_change_sink sink = mem_sink(&w->store);
    assert_int_equal(processor_flush(w->processor, &sink, NULL), 0);
    mem_commit(&w->store);
    for (uint32_t s = 0; s < SOURCES; s++) {
        processor_source_state(w->processor, s, &w->store.states[s]);
    }
    processor_committed(w->processor);
}

struct event {
    uint32_t source;
    char *json; /* with the readable tail */
    size_t len;
};

static void apply(struct world *w, const struct event *event)
{
    struct kappa_source_state state;
    processor_source_state(w->processor, event->source, &state);
    struct kappa_record record = {.offset = state.next_offset,
                                  .value = (const uint8_t *)event->json,
                                  .value_len = u32_from(event->len)};
    assert_int_equal(
        processor_apply(w->processor, event->source, &record, 1, record.offset + 1, NULL), 0);
}

static void make_events(struct prng *prng, struct event *events, struct buf *script)
{
    buf_append_text(script,
                    "CREATE TABLE e (src, seq integer, usr text, n integer, amount real, at "
                    "integer);\nBEGIN;\n");
    int64_t now = 1700000000000;
    for (int i = 0; i < ROWS; i++) {
        char usr[16] = "null";
        char n[16] = "null";
        char amount[32] = "null";
        if (prng_below(prng, 8) != 0) {
            (void)snprintf(usr, sizeof usr, "u%d", (int)prng_below(prng, 5));
        }
        if (prng_below(prng, 8) != 0) {
            (void)snprintf(n, sizeof n, "%d", (int)prng_below(prng, 11) - 3);
        }
        if (prng_below(prng, 8) != 0) {
            (void)snprintf(amount, sizeof amount, "%.2f",
                           ((double)prng_below(prng, 400) - 200) / 4);
        }
        now += (int64_t)prng_below(prng, 2000);
        long long at = now - (prng_below(prng, 3) == 0 ? (long long)prng_below(prng, 9000) : 0);
        const char *quote = strcmp(usr, "null") == 0 ? "" : "\"";
        char json[200];
        int len = snprintf(json, sizeof json,
                           "{\"seq\":%d,\"usr\":%s%s%s,\"n\":%s,\"amount\":%s,\"at\":%lld}", i,
                           quote, usr, quote, n, amount, at);
        events[i].source = (uint32_t)prng_below(prng, SOURCES);
        events[i].len = (size_t)len;
        events[i].json = xcalloc(1, (size_t)len + KAPPA_RECORD_TAIL);
        memcpy(events[i].json, json, (size_t)len);
        buf_printf(script, "INSERT INTO e VALUES (%u,%d,%s%s%s,%s,%s,%lld);\n", events[i].source, i,
                   quote[0] == '"' ? "'" : "", usr, quote[0] == '"' ? "'" : "", n, amount, at);
    }
    buf_append_text(script, "COMMIT;\n");
}

/* ---- Rows as text. */

static void put_value(struct buf *out, const struct kappa_value *value)
{
    if (value->is_null) {
        buf_append_text(out, value->type == KAPPA_TYPE_DOUBLE ? "0.000000000" : "");
    } else if (value->type == KAPPA_TYPE_TEXT) {
        buf_append(out, value->s.bytes, value->s.len);
    } else if (value->type == KAPPA_TYPE_DOUBLE) {
        buf_printf(out, "%.9f", value->d + 0.0);
    } else {
        buf_printf(out, "%lld", (long long)value->i);
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All rows of a table, a line each, sorted. */
static char *all_rows(struct world *w, uint32_t table)
{
    struct row_finisher *finisher = row_finisher_new(w->plan, table);
    const struct plan_view *view = &w->plan->views[table];
    char **lines = xcalloc(w->store.count + 1, sizeof *lines);
    size_t count = 0;
    for (size_t i = 0; i < w->store.count; i++) {
        const struct mem_row *row = &w->store.rows[i];
        uint8_t key[LIMIT_TABLE_KEY_LEN];
        bool seen = row->table != table;
        memcpy(key, row->key, row->key_len);
        for (uint32_t s = 0; s < load_u16_be(row->key) && view->kind == PLAN_GROUP && !seen; s++) {
            store_u16_be(key, (uint16_t)s);
            seen = mem_get(&w->store, table, key, row->key_len) != NULL;
        }
        if (seen) {
            continue;
        }
        row_finisher_begin(finisher, 0, row->key + 2, row->key_len - 2);
        for (uint32_t s = load_u16_be(row->key); s < SOURCES; s++) {
            store_u16_be(key, (uint16_t)s);
            const struct mem_row *part = mem_get(&w->store, table, key, row->key_len);
            if (part != NULL && (view->kind == PLAN_GROUP || part == row)) {
                assert_int_equal(row_finisher_add(finisher, part->value, part->value_len, NULL), 0);
            }
        }
        const struct kappa_value *values = NULL;
        assert_int_equal(row_finisher_finish(finisher, &values, NULL), 1);
        struct buf line = {0};
        for (uint32_t o = 0; o < view->output_count; o++) {
            buf_append_text(&line, o > 0 ? "|" : "");
            put_value(&line, &values[o]);
        }
        lines[count++] = xstrdup(buf_text(&line));
        buf_free(&line);
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    struct buf all = {0};
    for (size_t i = 0; i < count; i++) {
        buf_printf(&all, "%s\n", lines[i]);
        free(lines[i]);
    }
    free(lines);
    row_finisher_free(finisher);
    char *text = xstrdup(buf_text(&all));
    buf_free(&all);
    return text;
}

static char *sqlite(const char *script, const char *query)
{
    char path[] = "/tmp/kappa-over-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, script, strlen(script)), (ssize_t)strlen(script));
    assert_int_equal(write(fd, query, strlen(query)), (ssize_t)strlen(query));
    (void)close(fd);
    char *command = xasprintf("sqlite3 -batch < %s | LC_ALL=C sort", path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    struct buf out = {0};
    char chunk[4096];
    for (size_t n = 0; (n = fread(chunk, 1, sizeof chunk, pipe)) > 0;) {
        buf_append(&out, chunk, n);
    }
    assert_int_equal(pclose(pipe), 0);
    (void)unlink(path);
    free(command);
    char *text = xstrdup(buf_text(&out));
    buf_free(&out);
    return text;
}

static void assert_same(const char *actual, const char *expected)
{
    size_t at = 0;
    size_t line = 0;
    for (; actual[at] != '\0' && actual[at] == expected[at]; at++) {
        line = actual[at] == '\n' ? at + 1 : line;
    }
    if (actual[at] != expected[at]) {
        fail_msg("ours:   %.120s\nsqlite: %.120s", actual + line, expected + line);
    }
}

static void assert_same_stores(const struct mem_store *a, const struct mem_store *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->rows[i].table, b->rows[i].table);
        assert_int_equal(a->rows[i].key_len, b->rows[i].key_len);
        assert_memory_equal(a->rows[i].key, b->rows[i].key, a->rows[i].key_len);
        assert_int_equal(a->rows[i].value_len, b->rows[i].value_len);
        assert_memory_equal(a->rows[i].value, b->rows[i].value, a->rows[i].value_len);
    }
}

static void test_against_sqlite(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("over"));
    struct event events[ROWS];
    struct buf script = {0};
    make_events(&prng, events, &script);
    struct world once;
    struct world often;
    world_open(&once, 1 << 20);
    world_open(&often, 1);
    for (size_t i = 0; i < ROWS; i++) {
        apply(&once, &events[i]);
        apply(&often, &events[i]);
        uint64_t chance = prng_below(&prng, 20);
        if (chance < 3) {
            commit(&often);
        }
        if (chance == 0) {
            processor_close(often.processor);
            start(&often);
        }
        free(events[i].json);
    }
    commit(&once);
    commit(&often);
    assert_same_stores(&once.store, &often.store);
    assert_true(once.store.states[0].late > 0);
    char *expected = sqlite(buf_text(&script), oracle);
    char *actual = all_rows(&once, 0);
    assert_true(strlen(expected) > 10000);
    assert_same(actual, expected);
    free(expected);
    free(actual);
    expected = sqlite(buf_text(&script), jumps_oracle);
    actual = all_rows(&once, 1);
    assert_same(actual, expected);
    free(expected);
    free(actual);
    buf_free(&script);
    world_close(&once);
    world_close(&often);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sqlite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
