/* Goal: a deletion, which has no event time, has one that no later label sees through; and
 * processor_row_at finds a key's newest window, however far apart the windows of the records since the
 * last commit are: an event without a time that somebody made 1970 must not make each look go through all
 * windows since. Method: both ways of looking (few windows, many) against the last event of each key. */
#include "tests/unit/processor/sql_world.h"

#include "base/prng.h"

#define KEYS   5
#define SECOND INT64_C(1000000)

static const char definition[] =
    "CREATE TABLE e (id text, at timestamptz) WITH (topic='e', event_time='at',"
    " watermark='36000 d', timestamp_unit='ms');\n"
    "CREATE MATERIALIZED VIEW seconds AS SELECT id, window_end, count(*) AS n"
    "   FROM tumble(e, at, interval '1 second') GROUP BY id, window_end;\n";

static void put(struct world *w, uint32_t source, int id, int64_t ms)
{
    char json[80];
    (void)snprintf(json, sizeof json, "{\"id\":\"k%d\",\"at\":%lld}", id, (long long)ms);
    struct event event = world_event(source, json);
    world_apply(w, &event);
    free(event.json);
}

/* The end of the key's newest window in the source; 0: none. */
static int64_t newest(struct world *w, uint32_t source, int id, int64_t at_us)
{
    char text[16];
    const char *texts[1] = {text};
    uint8_t key[LIMIT_TABLE_KEY_LEN];
    size_t len = 0;
    uint32_t any = 0;
    int64_t end = 0;
    struct buf value = {0};
    (void)snprintf(text, sizeof text, "k%d", id);
    assert_int_equal(plan_key_from_text(&w->plan->views[0], texts, 1, key, &len, &any, NULL), 0);
    int rc = processor_row_at(w->processor, 0, source, key, len, at_us, true, &end, &value, NULL);
    assert_true(rc == 0 || (rc == 1 && value.len > 0));
    buf_free(&value);
    return rc == 1 ? end : 0;
}

static int64_t end_of(int64_t ms)
{
    return (ms / 1000 + 1) * SECOND;
}

static void test_far_apart(void **state)
{
    (void)state;
    const int64_t today = INT64_C(1760000000000);
    struct world w;
    world_open(&w, definition, 1 << 20, NULL);
    put(&w, 0, 1, 0);
    put(&w, 0, 2, today);
    for (int i = 0; i < 1000; i++) { /* 1.7 thousand million windows each */
        assert_int_equal(newest(&w, 0, 1, today * 1000), end_of(0));
        assert_int_equal(newest(&w, 0, 2, today * 1000), end_of(today));
        assert_int_equal(newest(&w, 0, 3, today * 1000), 0);
    }
    world_commit(&w);
    assert_int_equal(newest(&w, 0, 1, today * 1000), end_of(0));
    world_close(&w);
}

static void test_newest_at_any_distance(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("test_peek_edges"));
    for (int round = 0; round < 30; round++) {
        int64_t last[WORLD_SOURCES][KEYS] = {{0}};
        int64_t spread = 1000 + (int64_t)prng_below(&prng, round % 2 == 0 ? 20000 : 2000000000);
        struct world w;
        world_open(&w, definition, prng_below(&prng, 2) == 0 ? 0 : 1 << 20, NULL);
        for (int i = 0; i < 200; i++) {
            uint32_t source = (uint32_t)prng_below(&prng, WORLD_SOURCES);
            int id = (int)prng_below(&prng, KEYS);
            int64_t ms = INT64_C(1700000000000) + (int64_t)prng_below(&prng, (uint64_t)spread);
            put(&w, source, id, ms);
            last[source][id] = i64_max(last[source][id], end_of(ms));
            if (prng_below(&prng, 40) == 0) {
                world_commit(&w);
            }
            for (uint32_t s = 0; s < WORLD_SOURCES; s++) {
                for (int k = 0; k < KEYS; k++) {
                    assert_int_equal(newest(&w, s, k, INT64_C(1) << 61), last[s][k]);
                }
            }
        }
        world_close(&w);
    }
}

/* ---- Times of deletions */

static const char people[] =
    "CREATE TABLE p (id text, at timestamptz, PRIMARY KEY (id)) WITH (topic='p', event_time='at',"
    " timestamp_unit='ms');\n"
    "CREATE MATERIALIZED VIEW known AS SELECT id FROM p;\n";

#define NONE INT64_MIN

struct said {
    int64_t at;     /* ms; NONE: a deletion */
    int64_t record; /* ms */
    int64_t time;   /* ms, expected; NONE: none */
};

static void assert_times(const struct said *said, uint32_t count, uint32_t chunk)
{
    struct world w;
    char texts[8][80 + KAPPA_RECORD_TAIL] = {{0}};
    struct kappa_record records[8];
    int64_t times[8];
    assert_true(count <= 8);
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(texts[i], 80, "{\"id\":\"a\",\"at\":%lld}", (long long)said[i].at);
        records[i] = (struct kappa_record){
            .offset = i,
            .time_ms = said[i].record,
            .key = (const uint8_t *)"{\"id\":\"a\"}",
            .key_len = 10,
            .value = said[i].at == NONE ? NULL : (const uint8_t *)texts[i],
            .value_len = said[i].at == NONE ? KAPPA_NULL_LEN : u32_from(strlen(texts[i]))};
    }
    world_open(&w, people, 1 << 20, NULL);
    for (uint32_t i = 0; i < count; i += chunk) {
        processor_times(w.processor, 0, records + i, count - i < chunk ? count - i : chunk,
                        times + i);
    }
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(times[i], said[i].time == NONE ? KAPPA_NO_TIME : said[i].time * 1000);
    }
    world_close(&w);
}

static void test_deletions(void **state)
{
    (void)state;
    const struct said live[] = {{NONE, 900, NONE},  {1000, 1005, 1000}, {2000, 2003, 2000},
                                {NONE, 9000, 8997}, {9001, 9000, 9001}, {NONE, 9500, 9500},
                                {9600, NONE, 9600}, {NONE, NONE, NONE}};
    const struct said loaded[] = {{1000, 500000, 1000},
                                  {3000, 500001, 3000},
                                  {NONE, 500002, 3001},
                                  {7000, 500003, 7000},
                                  {NONE, 500004, 7001}};
    for (uint32_t chunk = 1; chunk <= 8; chunk++) {
        assert_times(live, (uint32_t)array_len(live), chunk);
        assert_times(loaded, (uint32_t)array_len(loaded), chunk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deletions),
        cmocka_unit_test(test_far_apart),
        cmocka_unit_test(test_newest_at_any_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
