/* Goal: window functions see the rows of their key that came up to the current one, in the order of
 * event time, whatever the commits, evictions and restarts are; what is stored is the same, too.
 * Method: random records of two sources, out of order within and beyond the watermark, through SQL and
 * the naive store; the oracle is sqlite3 with a correlated subquery for each function. A second run
 * over the same records commits often, keeps nothing in memory and starts anew now and then: its
 * stored bytes must be equal. */
#include "tests/unit/processor/sql_world.h"

#include "base/prng.h"

#include <string.h>

#define ROWS 500

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
    " min(usr) OVER (PARTITION BY n % 3) AS by_n, count(*) OVER () AS everything,"
    " first_value(n) OVER w AS fv, last_value(n) OVER (w) AS lv,"
    " first_value(n) OVER (k ORDER BY at ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING) AS f3,"
    " last_value(n) OVER (w ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING) AS l2,"
    " first_value(n) OVER (w RANGE BETWEEN interval '6 s' PRECEDING AND CURRENT ROW) AS f6,"
    " first_value(n) OVER (k) AS log_first"
    " FROM e WHERE n <> 5 OR n IS NULL WINDOW k AS (PARTITION BY usr), w AS (k ORDER BY at);\n"
    "CREATE MATERIALIZED VIEW jumps AS SELECT usr, count(*) AS jumps, sum(n - before) AS climb FROM"
    " (SELECT usr, n, lag(n) OVER (PARTITION BY usr ORDER BY at) AS before FROM e) s"
    " WHERE n > before GROUP BY usr;\n"
    "CREATE MATERIALIZED VIEW top AS SELECT usr, seq, amount, place, n + 1 AS m FROM"
    " (SELECT *, row_number() OVER (PARTITION BY usr ORDER BY amount DESC, n, seq DESC) AS place "
    "FROM e"
    "  WHERE seq % 7 <> 3) s WHERE place <= 5;\n"
    "CREATE MATERIALIZED VIEW newest AS SELECT seq, n AS key FROM"
    " (SELECT *, row_number() OVER (PARTITION BY n ORDER BY at DESC, seq) AS r FROM e) s"
    " WHERE 1 = r;\n";

/* b: the rows that row a sees. */
#define SEEN  "FROM ok b WHERE b.src = a.src AND b.usr IS a.usr AND b.seq <= a.seq"
#define UP_TO SEEN " AND (b.at, b.seq) <= (a.at, a.seq)"

static const char over_oracle[] =
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
    " (SELECT count(*) FROM ok b WHERE b.src = a.src AND b.seq <= a.seq),"
    " (SELECT n " UP_TO " ORDER BY at, seq LIMIT 1), n,"
    " (SELECT n FROM (SELECT n, at, seq " UP_TO " ORDER BY at DESC, seq DESC LIMIT 3 OFFSET 1)"
    "  ORDER BY at, seq LIMIT 1),"
    " (SELECT n " UP_TO " ORDER BY at DESC, seq DESC LIMIT 1 OFFSET 2),"
    " (SELECT n " SEEN " AND b.at BETWEEN a.at - 6000 AND a.at ORDER BY at, seq LIMIT 1),"
    " (SELECT n " SEEN " ORDER BY seq LIMIT 1)"
    " FROM ok a;\n";

static const char jumps_oracle[] =
    "CREATE TABLE ok AS SELECT * FROM e a WHERE"
    " at >= (SELECT max(at) FROM e b WHERE b.src = a.src AND b.seq <= a.seq) - 5000;\n"
    "SELECT usr, count(*), sum(n - before) FROM (SELECT usr, n,"
    " (SELECT n " UP_TO " ORDER BY at DESC, seq DESC LIMIT 1 OFFSET 1) AS before FROM ok a)"
    " WHERE n > before GROUP BY usr;\n";

static const char *const oracles[] = {
    over_oracle, jumps_oracle,
    "SELECT usr, seq, printf('%.9f', amount), place, n + 1 FROM (SELECT *, row_number() OVER "
    "(PARTITION "
    "BY usr ORDER BY amount DESC NULLS FIRST, n NULLS LAST, seq DESC) AS place FROM e"
    " WHERE seq % 7 <> 3) WHERE place <= 5;",
    "SELECT seq, n FROM (SELECT *, row_number() OVER (PARTITION BY n ORDER BY at DESC, seq) AS r"
    " FROM e) WHERE r = 1;"};

static void make_events(struct prng *prng, struct event *events, struct buf *script)
{
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
        (void)snprintf(json, sizeof json,
                       "{\"seq\":%d,\"usr\":%s%s%s,\"n\":%s,\"amount\":%s,\"at\":%lld}", i, quote,
                       usr, quote, n, amount, at);
        events[i] = world_event((uint32_t)prng_below(prng, WORLD_SOURCES), json);
        buf_printf(script, "INSERT INTO e VALUES (%u,%d,%s%s%s,%s,%s,%lld);\n", events[i].source, i,
                   quote[0] == '"' ? "'" : "", usr, quote[0] == '"' ? "'" : "", n, amount, at);
    }
}

static void check(const struct world *once)
{
    assert_true(once->store.states[0].late > 0);
}

static void test_against_sqlite(void **state)
{
    (void)state;
    world_test(&(struct world_test){
        .name = "over",
        .definition = definition,
        .rows = ROWS,
        .columns = "src, seq integer, usr text, n integer, amount real, at integer",
        .make_events = make_events,
        .check = check,
        .oracles = oracles,
        .oracle_count = array_len(oracles)});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sqlite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
