/* Goal: processor_row_at, asked between two records, gives the bytes that a commit there stores, from the
 * cache or the store, of the right window; and changes nothing. processor_times gives what moves the
 * watermark. Method: random events with disorder, now and then a look at random keys, then a commit, and the
 * naive store is asked. Tiny caches, so that rows come and go. */
#include "tests/unit/processor/sql_world.h"

#include "base/timefmt.h"
#include "processor/event_time.h"

#include <stdio.h>
#include <stdlib.h>

#define EVENTS 6000
#define USERS  12
#define BASE   INT64_C(1760000000000)

static const char sql[] =
    "CREATE TABLE e (u text, n bigint, at timestamptz) WITH (topic = 'e', event_time = 'at',\n"
    "  watermark = '3 s', lateness = '10 s', timestamp_unit = 'ms');\n"
    "CREATE MATERIALIZED VIEW totals AS SELECT u, count(*) AS c, sum(n) AS s FROM e GROUP BY u;\n"
    "CREATE MATERIALIZED VIEW recent WITH (ttl = '20 s') AS SELECT u, count(*) AS c FROM e GROUP "
    "BY u;\n"
    "CREATE MATERIALIZED VIEW tumbles WITH (retain = '40 s') AS SELECT u, window_end, count(*) AS "
    "c\n"
    "  FROM tumble(e, at, interval '10 seconds') GROUP BY u, window_end;\n"
    "CREATE MATERIALIZED VIEW sessions WITH (retain = '40 s') AS SELECT u, window_end, count(*) AS "
    "c\n"
    "  FROM session(e, at, interval '5 seconds') GROUP BY u, window_end;\n"
    "CREATE MATERIALIZED VIEW hops AS SELECT u, window_end, count(*) AS c, sum(n) AS s\n"
    "  FROM hop(e, at, interval '10 seconds', interval '1 minute') GROUP BY u, window_end;\n";

enum { TOTALS, RECENT, TUMBLES, SESSIONS, HOPS, TABLES };

struct look {
    int rc;
    int64_t end;
    struct buf value;
};

static void look_at(struct world *w, uint32_t table, uint32_t source, const uint8_t *key,
                    size_t len, int64_t at_us, bool newest, struct look *look)
{
    struct err err = {0};
    *look = (struct look){.end = 0};
    look->rc = processor_row_at(w->processor, table, source, key, len, at_us, newest, &look->end,
                                &look->value, &err);
    assert_true(look->rc == 0 || look->rc == 1);
}

/* The next row of the key in the store, from *from on; NULL: none. */
static const struct mem_row *row_of(const struct world *w, uint32_t table, uint32_t source,
                                    const uint8_t *key, size_t len, bool windowed, size_t *from)
{
    size_t prefix = windowed ? 10 : 2;
    for (; *from < w->store.count; (*from)++) {
        const struct mem_row *row = &w->store.rows[*from];
        if (row->table == table && load_u16_be(row->key) == source &&
            row->key_len >= prefix + len && memcmp(row->key + prefix, key, len) == 0) {
            (*from)++;
            return row;
        }
    }
    return NULL;
}

static void assert_value(const struct look *look, const struct mem_row *row, int64_t end)
{
    assert_int_equal(look->rc, row != NULL);
    if (row != NULL) {
        assert_int_equal(look->end, end);
        assert_int_equal(look->value.len, row->value_len);
        assert_memory_equal(look->value.data, row->value, row->value_len);
    }
}

/* One that holds the time, or the newest one. */
static void check_windows(const struct world *w, uint32_t table, uint32_t source,
                          const uint8_t *key, size_t len, int64_t at_us, bool newest,
                          const struct look *look)
{
    const struct plan_view *view = &w->plan->views[table];
    const struct mem_row *found = NULL;
    const struct mem_row *row;
    int64_t found_end = INT64_MIN;
    size_t from = 0;
    while ((row = row_of(w, table, source, key, len, true, &from)) != NULL) {
        int64_t end = load_i64_sortable(row->key + 2);
        bool session = view->window == PLAN_WINDOW_SESSION;
        bool holds = session ? load_i64_sortable(row->value) <= at_us && at_us < end
                             : end == event_time_window_end(view, at_us);
        if ((newest || holds) && end > found_end) {
            found = row;
            found_end = end;
        }
    }
    assert_value(look, found, found_end);
}

/* Merged by a reader: the panes that are stored, and the one value. */
static void check_hop(const struct world *w, uint32_t source, const uint8_t *key, size_t len,
                      int64_t at_us, const struct look *look)
{
    const struct plan_view *view = &w->plan->views[HOPS];
    struct row_finisher *panes = row_finisher_new(w->plan, HOPS);
    struct row_finisher *one = row_finisher_new(w->plan, HOPS);
    const struct kappa_value *wanted = NULL;
    const struct kappa_value *got = NULL;
    const struct mem_row *row;
    int64_t end = event_time_window_end(view, at_us);
    int parts = 0;
    size_t from = 0;
    row_finisher_begin(panes, end, key, len);
    while ((row = row_of(w, HOPS, source, key, len, true, &from)) != NULL) {
        int64_t pane = load_i64_sortable(row->key + 2);
        int64_t part = load_u16_be(row->key + row->key_len - 2);
        if (pane > end - view->window_us && pane <= end &&
            end >= event_time_first_end(view, pane) + part * view->slide_us) {
            assert_int_equal(row_finisher_add(panes, row->value, row->value_len, NULL), 0);
            parts++;
        }
    }
    assert_int_equal(look->rc, parts > 0);
    if (parts > 0) {
        row_finisher_begin(one, look->end, key, len);
        assert_int_equal(row_finisher_add(one, look->value.data, look->value.len, NULL), 0);
        assert_int_equal(row_finisher_finish(panes, &wanted, NULL), 1);
        assert_int_equal(row_finisher_finish(one, &got, NULL), 1);
        assert_int_equal(got[1].i, end);
        for (uint32_t i = 1; i < view->output_count; i++) {
            assert_int_equal(got[i].is_null, wanted[i].is_null);
            assert_true(got[i].is_null || got[i].i == wanted[i].i);
        }
    }
    row_finisher_free(panes);
    row_finisher_free(one);
}

static void look_and_commit(struct world *w, uint32_t source, int64_t at_us, const char *user)
{
    const char *texts[] = {user};
    uint8_t key[LIMIT_GROUP_KEY_LEN];
    size_t len = 0;
    uint32_t ignored = 0;
    struct look looks[TABLES + 2];
    assert_int_equal(plan_key_from_text(&w->plan->views[0], texts, 1, key, &len, &ignored, NULL),
                     0);
    for (uint32_t t = 0; t < TABLES; t++) {
        look_at(w, t, source, key, len, at_us, false, &looks[t]);
    }
    look_at(w, TUMBLES, source, key, len, at_us, true, &looks[TABLES]);
    look_at(w, SESSIONS, source, key, len, at_us, true, &looks[TABLES + 1]);
    world_commit(w);
    size_t from = 0;
    assert_value(&looks[TOTALS], row_of(w, TOTALS, source, key, len, false, &from), 0);
    from = 0;
    assert_value(&looks[RECENT], row_of(w, RECENT, source, key, len, false, &from), 0);
    check_windows(w, TUMBLES, source, key, len, at_us, false, &looks[TUMBLES]);
    check_windows(w, SESSIONS, source, key, len, at_us, false, &looks[SESSIONS]);
    check_windows(w, TUMBLES, source, key, len, at_us, true, &looks[TABLES]);
    check_windows(w, SESSIONS, source, key, len, at_us, true, &looks[TABLES + 1]);
    check_hop(w, source, key, len, at_us, &looks[HOPS]);
    for (size_t t = 0; t < array_len(looks); t++) {
        buf_free(&looks[t].value);
    }
}

static void run(size_t cache_bytes, uint64_t seed)
{
    struct world w = {0};
    struct prng prng;
    int64_t now[WORLD_SOURCES] = {BASE, BASE};
    int64_t latest_us[WORLD_SOURCES] = {BASE * 1000, BASE * 1000};
    prng_init(&prng, seed);
    world_open(&w, sql, cache_bytes, NULL);
    w.store.plan = w.plan; /* a table is idle */
    for (uint32_t i = 0; i < EVENTS; i++) {
        char json[128];
        uint32_t source = (uint32_t)prng_below(&prng, WORLD_SOURCES);
        now[source] += (int64_t)prng_below(&prng, 1500);
        int64_t at =
            now[source] - (prng_below(&prng, 4) == 0 ? (int64_t)prng_below(&prng, 30000) : 0);
        (void)snprintf(json, sizeof json, "{\"u\":\"u%u\",\"n\":%u,\"at\":%lld}",
                       (unsigned)prng_below(&prng, USERS), (unsigned)prng_below(&prng, 100),
                       (long long)at);
        struct event event = world_event(source, json);
        struct kappa_record record = {
            .value = (const uint8_t *)event.json,
            .value_len = u32_from(event.len),
            .key_len = KAPPA_NULL_LEN,
        };
        int64_t time = 0;
        processor_times(w.processor, source, &record, 1, &time);
        assert_int_equal(time, at * 1000);
        world_apply(&w, &event);
        free(event.json);
        latest_us[source] = i64_max(latest_us[source], time);
        if (prng_below(&prng, 8) == 0) {
            char user[16];
            (void)snprintf(user, sizeof user, "u%u", (unsigned)prng_below(&prng, USERS + 1));
            look_and_commit(&w, source,
                            latest_us[source] + (int64_t)prng_below(&prng, 8 * US_SECOND), user);
        }
    }
    world_close(&w);
}

static void test_rows_are_those_of_a_commit(void **state)
{
    (void)state;
    uint64_t seed = unit_seed("peek");
    run(1, seed);
    run(20000, seed + 1);
    run(SIZE_MAX, seed + 2);
}

/* What has no time, and what has one of its own. */
static void test_times(void **state)
{
    (void)state;

    static const struct {
        const char *json;
        int64_t us;
    } cases[] = {
        {"{\"u\":\"a\",\"at\":5}", 5000},
        {"{\"u\":\"a\",\"at\":null}", KAPPA_NO_TIME},
        {"{\"u\":1,\"at\":5}", KAPPA_NO_TIME},
        {"nothing", KAPPA_NO_TIME},
        {"{\"u\":\"a\",\"at\":\"1970-01-01T00:00:01.000002Z\"}", 1000002},
    };
    struct world w = {0};
    struct kappa_record records[array_len(cases)] = {{0}};
    struct event events[array_len(cases)];
    int64_t times[array_len(cases)];
    world_open(&w, sql, SIZE_MAX, NULL);
    for (size_t i = 0; i < array_len(cases); i++) {
        events[i] = world_event(0, cases[i].json);
        records[i].value = (const uint8_t *)events[i].json;
        records[i].value_len = u32_from(events[i].len);
        records[i].key_len = KAPPA_NULL_LEN;
    }
    processor_times(w.processor, 0, records, (uint32_t)array_len(cases), times);
    for (size_t i = 0; i < array_len(cases); i++) {
        assert_int_equal(times[i], cases[i].us);
        free(events[i].json);
    }
    world_close(&w);
    static const int64_t ms[] = {5, -5, KAPPA_NO_TIME, INT64_MAX, INT64_MIN + 1};
    static const int64_t us[] = {5000, -5000, KAPPA_NO_TIME, INT64_MAX, INT64_MIN + 1};
    world_open(&w,
               "CREATE TABLE e (u text) WITH (topic = 'e');\n"
               "CREATE MATERIALIZED VIEW t AS SELECT u, count(*) AS c FROM e GROUP BY u;",
               SIZE_MAX, NULL);
    for (size_t i = 0; i < array_len(ms); i++) {
        struct kappa_record record = {
            .time_ms = ms[i], .key_len = KAPPA_NULL_LEN, .value_len = KAPPA_NULL_LEN};
        processor_times(w.processor, 0, &record, 1, times);
        assert_int_equal(times[0], us[i]);
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_those_of_a_commit),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
