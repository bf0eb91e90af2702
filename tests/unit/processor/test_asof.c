/* Goal: a join by time gives each row of the left side that version of the right side which is valid at
 * its time, among those that came before it, whatever the commits, evictions and restarts are; what is
 * no longer kept makes a dead record and never another row.
 * Method: random records of two kinds in one topic, two sources, with ties, nulls and announcements out
 * of order; the oracle is sqlite3. A second run commits often and keeps nothing in memory: same stored
 * bytes. With history='...' every row is sqlite's, or its record is dead and older than what is kept. */
#include "tests/unit/processor/sql_world.h"

#include "base/prng.h"
#include "processor/history_state.h"

#include <string.h>

#define ROWS    700
#define HISTORY 20000 /* ms */

#define TABLE(options)                                                                             \
    "CREATE TABLE e (seq bigint, kind text, id bigint, ref bigint, other bigint, price bigint,"    \
    " vf timestamptz, vt timestamptz, t timestamptz, at timestamptz)"                              \
    " WITH (topic='e', event_time='at', timestamp_unit='ms'" options ");\n"                        \
    "CREATE VIEW item AS SELECT seq AS iseq, id, price, vf, vt FROM e WHERE kind = 'item';\n"      \
    "CREATE VIEW bid AS SELECT seq, ref, other, price AS bid, t FROM e WHERE kind = 'bid';\n"

static const char definition[] =
    TABLE("") "CREATE MATERIALIZED VIEW seen AS SELECT b.seq, i.price, i.iseq FROM bid b"
              "   LEFT JOIN item i ON i.id = b.ref AND i.vf <= b.t;\n"
              "CREATE MATERIALIZED VIEW below AS SELECT i.iseq, count(*) AS n, sum(b.bid) AS bids"
              "   FROM bid b JOIN item i ON b.t > i.vf AND b.ref = i.id AND b.bid >= i.price"
              "   GROUP BY i.iseq;\n"
              "CREATE MATERIALIZED VIEW ranges AS SELECT b.seq, i.price, i.iseq FROM bid b"
              "   LEFT JOIN item i ON i.id = b.ref AND b.t BETWEEN vf AND vt AND i.price > 2;\n"
              "CREATE MATERIALIZED VIEW days AS SELECT b.seq, i.iseq FROM bid b"
              "   JOIN item i ON i.id = b.ref AND i.vf::date <= b.t::date;\n"
              "CREATE MATERIALIZED VIEW two AS SELECT b.seq, i.iseq, j.iseq AS jseq, k.iseq AS kseq"
              "   FROM bid b JOIN item i ON i.id = b.ref LEFT JOIN item j ON j.id = b.other AND "
              "   j.vf <= i.vf JOIN item k ON k.id = b.ref AND k.vf < b.t WHERE i.price > 1;\n";

/* row: the version of `key` that the bid sees at `time`. */
#define SEEN(key, when, row)                                                                       \
    "(SELECT seq FROM e i WHERE i.kind = 'item' AND i.src = b.src AND i.seq < b.seq AND i.id "     \
    "= " key " AND " when " ORDER BY i.vf DESC, i.seq DESC LIMIT 1) = " row
#define NEWEST(key, row)                                                                           \
    "(SELECT seq FROM e i WHERE i.kind = 'item' AND i.src = b.src AND i.seq < b.seq AND i.id "     \
    "= " key " ORDER BY i.seq DESC LIMIT 1) = " row
#define DAY(x) "(" x " / 86400000)"

static const char *const oracles[] = {
    "SELECT b.seq, x.price, x.seq FROM e b LEFT JOIN e x ON " SEEN("b.ref", "i.vf <= b.t",
                                                                   "x.seq") " WHERE b.kind = "
                                                                            "'bid';",
    "SELECT x.seq, count(*), sum(b.price) FROM e b JOIN e x ON " SEEN(
        "b.ref", "i.vf < b.t", "x.seq") " WHERE b.kind = 'bid' AND b.price >= x.price GROUP BY "
                                        "x.seq;",
    "SELECT b.seq, x.price, x.seq FROM e b LEFT JOIN e x ON " SEEN(
        "b.ref", "i.vf <= b.t", "x.seq") " AND b.t <= x.vt AND x.price > 2 WHERE b.kind = 'bid';",
    "SELECT b.seq, x.seq FROM e b JOIN e x ON x.seq = (SELECT seq FROM e i WHERE i.kind = 'item' "
    "AND i.src = b.src AND i.seq < b.seq AND i.id = b.ref AND " DAY("i.vf") " <= " DAY(
        "b.t") " "
               "ORDER BY " DAY("i.vf") " DESC, i.seq DESC LIMIT 1) WHERE b.kind = 'bid';",
    "SELECT b.seq, x.seq, y.seq, z.seq FROM e b JOIN e x ON " NEWEST(
        "b.ref",
        "x.seq") " LEFT "
                 "JOIN e y ON " SEEN("b.other", "i.vf <= x.vf", "y.seq") " JOIN e z ON " SEEN(
                     "b.ref", "i.vf < b.t", "z.seq") " WHERE b.kind = 'bid' AND x.price > 1;"};

/* "null", or a number. */
static void put_maybe(char *out, size_t size, struct prng *prng, int64_t number)
{
    if (prng_below(prng, 12) == 0) {
        (void)snprintf(out, size, "null");
    } else {
        (void)snprintf(out, size, "%lld", (long long)number);
    }
}

/* spread: of times around the record's own, in ms; times are multiples of `step`. */
static void make_events(struct prng *prng, int64_t spread, int64_t step, struct event *events,
                        struct buf *script)
{
    int64_t at = 1700000000000;
    for (int i = 0; i < ROWS; i++) {
        bool item = prng_below(prng, 3) == 0;
        const char *kind = item ? "item" : prng_below(prng, 9) == 0 ? "other" : "bid";
        char ref[16];
        char other[16];
        char price[16];
        char t[32];
        at += (int64_t)prng_below(prng, 1000);
        int64_t time = (at - (int64_t)prng_below(prng, (uint64_t)spread)) / step * step;
        put_maybe(ref, sizeof ref, prng, (int64_t)prng_below(prng, 6));
        put_maybe(other, sizeof other, prng, (int64_t)prng_below(prng, 6));
        put_maybe(price, sizeof price, prng, (int64_t)prng_below(prng, 12));
        put_maybe(t, sizeof t, prng, time);
        long long until = (long long)(time + (int64_t)prng_below(prng, (uint64_t)spread));
        char json[400];
        (void)snprintf(json, sizeof json,
                       "{\"seq\":%d,\"kind\":\"%s\",\"%s\":%s,\"other\":%s,\"price\":%s,\"%s\":%s,"
                       "\"vt\":%lld,\"at\":%lld}",
                       i, kind, item ? "id" : "ref", ref, other, price, item ? "vf" : "t", t, until,
                       (long long)at);
        events[i] = world_event((uint32_t)prng_below(prng, WORLD_SOURCES), json);
        buf_printf(script, "INSERT INTO e VALUES (%u,%d,'%s',%s,%s,%s,%s,%s,%lld,%s);\n",
                   events[i].source, i, kind, item ? ref : "null", item ? "null" : ref, other,
                   price, item ? t : "null", until, item ? "null" : t);
    }
}

#define COLUMNS                                                                                    \
    "src, seq integer, kind text, id integer, ref integer, other integer, price integer,"          \
    " vf integer, vt integer, t integer"

static void near(struct prng *prng, struct event *events, struct buf *script)
{
    make_events(prng, 30000, 1000, events, script);
}

/* Few times, so that most versions replace another. */
static void ties(struct prng *prng, struct event *events, struct buf *script)
{
    make_events(prng, 60000, 20000, events, script);
}

static void days(struct prng *prng, struct event *events, struct buf *script)
{
    make_events(prng, INT64_C(20) * 86400000, 3600000, events, script);
}

static void check(const struct world *once)
{
    assert_int_equal(once->store.dead_count, 0);
}

static void run(const char *name,
                void (*make)(struct prng *prng, struct event *events, struct buf *script))
{
    world_test(&(struct world_test){.name = name,
                                    .definition = definition,
                                    .rows = ROWS,
                                    .columns = COLUMNS,
                                    .make_events = make,
                                    .check = check,
                                    .oracles = oracles,
                                    .oracle_count = array_len(oracles)});
}

static void test_against_sqlite(void **state)
{
    (void)state;
    run("asof", near);
    run("asof-ties", ties);
    run("asof-days", days);
}

/* ---- What is let go. */

/* Which rows `seen` has, by seq; and which record each offset is. */
static int64_t seq_of(const struct mem_change *dead)
{
    const char *at = strstr((const char *)dead->row.value, "\"seq\":");
    assert_non_null(at);
    return strtoll(at + 6, NULL, 10);
}

static void test_history(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("asof-history"));
    struct event events[ROWS];
    struct buf script = {0};
    buf_append_text(&script, "CREATE TABLE e (" COLUMNS ");\nBEGIN;\n");
    make_events(&prng, 60000, 1000, events, &script);
    const char *short_history =
        TABLE(", history='20 s', watermark='5 s'") "CREATE MATERIALIZED VIEW seen AS SELECT b.seq, "
                                                   "i.price, i.iseq FROM bid b"
                                                   "   LEFT JOIN item i ON i.id = b.ref AND i.vf "
                                                   "<= b.t;\n";
    struct world once;
    struct world often;
    world_open(&once, short_history, 1 << 20, NULL);
    world_open(&often, short_history, 1, NULL);
    int64_t at[ROWS];
    int64_t t[ROWS];
    int64_t latest[WORLD_SOURCES] = {0};
    for (size_t i = 0; i < ROWS; i++) {
        const char *own = strstr(events[i].json, "\"t\":");
        const char *when = strstr(events[i].json, "\"at\":");
        t[i] = own == NULL ? 0 : strtoll(own + 4, NULL, 10);
        latest[events[i].source] = i64_max(latest[events[i].source], strtoll(when + 5, NULL, 10));
        at[i] = latest[events[i].source];
    }
    world_run_both(&once, &often, events, ROWS, &prng);
    assert_true(once.store.dead_count > 5);
    assert_int_equal(once.store.dead_count, often.store.dead_count);
    for (size_t i = 0; i < once.store.dead_count; i++) {
        int64_t seq = seq_of(&once.store.dead[i]);
        assert_true(t[seq] > 0 && t[seq] < at[seq] - HISTORY - 5000);
        assert_non_null(strstr((const char *)once.store.dead[i].row.key, "no longer kept"));
        buf_printf(&script, "UPDATE e SET kind = 'dead' WHERE seq = %lld;\n", (long long)seq);
    }
    buf_append_text(&script, "COMMIT;\n");
    world_assert_tables(&once, &script, oracles, 1);
    buf_free(&script);
    world_close(&once);
    world_close(&often);
}

/* The bounds: the oldest go, later ones of their time are not taken, and bytes are given back. */
static void test_bounds(void **state)
{
    (void)state;
    struct pool pool;
    pool_init(&pool);
    struct history_state history = {0};
    const struct history_row *row = NULL;
    for (int64_t i = 0; i < LIMIT_HISTORY_ROWS; i++) {
        history_add(&history, &pool, i * 10, &i, sizeof i);
    }
    assert_int_equal(history_find(&history, -1, false, &row), HISTORY_NONE);
    int64_t late = -5;
    history_add(&history, &pool, 15, &late, sizeof late);
    assert_int_equal(history_find(&history, 9, false, &row), HISTORY_GONE);
    assert_int_equal(history_find(&history, 10, true, &row), HISTORY_GONE);
    assert_int_equal(history_find(&history, 10, false, &row), HISTORY_FOUND);
    assert_int_equal(history_find(&history, 19, false, &row), HISTORY_FOUND);
    assert_int_equal(row->time, 15);
    history_add(&history, &pool, 9, &late, sizeof late);
    assert_int_equal(history_find(&history, 9, false, &row), HISTORY_GONE);
    assert_int_equal(history.count, LIMIT_HISTORY_ROWS);
    char *big = xcalloc(1, LIMIT_HISTORY_BYTES);
    history_add(&history, &pool, 1 << 20, big, LIMIT_HISTORY_BYTES);
    assert_int_equal(history.count, 1);
    assert_int_equal(history.bytes, LIMIT_HISTORY_BYTES);
    history_add(&history, &pool, 1 << 20, NULL, 0);
    assert_int_equal(history.count, 1);
    assert_int_equal(history_find(&history, INT64_MAX, false, &row), HISTORY_FOUND);
    assert_int_equal(row->len, 0);
    history_add(&history, &pool, 2 << 20, big, 1);
    history_trim(&history, &pool, (2 << 20) - 1);
    assert_int_equal(history.count, 2);
    history_trim(&history, &pool, 2 << 20);
    assert_int_equal(history.count, 1);
    history_operator.free(NULL, &history, &pool);
    assert_int_equal(pool.used_bytes, 0);
    free(big);
    pool_close(&pool);
}

/* Any bytes give a state or are refused, and nothing leaks. */
static void test_broken_bytes(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("asof-bytes"));
    struct pool pool;
    pool_init(&pool);
    for (int round = 0; round < 3000; round++) {
        struct history_state history = {0};
        struct buf bytes = {0};
        for (uint64_t i = prng_below(&prng, 6); i > 0; i--) {
            history_add(&history, &pool, (int64_t)prng_below(&prng, 9) - 4, "abcdefgh",
                        (uint32_t)prng_below(&prng, 8));
        }
        history.gone = prng_below(&prng, 2) == 0;
        history_operator.encode(NULL, &history, &bytes);
        history_operator.free(NULL, &history, &pool);
        bool whole = prng_below(&prng, 4) == 0;
        if (!whole) {
            bytes.data[prng_below(&prng, bytes.len)] ^= (uint8_t)(1 << prng_below(&prng, 8));
            bytes.len -= prng_below(&prng, 3) == 0 ? prng_below(&prng, bytes.len) : 0;
        }
        struct agg_cursor in = {.bytes = bytes.data, .len = bytes.len};
        bool good = history_operator.decode(NULL, &history, &pool, &in);
        assert_true(good || !whole);
        struct buf again = {0};
        history_operator.encode(NULL, &history, &again);
        assert_true(!whole ||
                    (again.len == bytes.len && memcmp(again.data, bytes.data, bytes.len) == 0));
        history_operator.free(NULL, &history, &pool);
        assert_int_equal(pool.used_bytes, 0);
        buf_free(&bytes);
        buf_free(&again);
    }
    pool_close(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sqlite),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_broken_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
