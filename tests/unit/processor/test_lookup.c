/* Goal: a join within a topic gives each row of the left side the newest row of the right side with its
 * key that came before it, whatever the commits, evictions and restarts are.
 * Method: random records of two kinds in one topic, two sources, through SQL and the naive store; the
 * oracle is sqlite3. A second run commits often and keeps nothing in memory: same stored bytes. */
#include "tests/unit/processor/sql_world.h"

#include "base/prng.h"

#include <string.h>

#define ROWS 600

static const char definition[] =
    "CREATE TABLE e (seq bigint, kind text, id bigint, ref bigint, name text, price bigint, at "
    "timestamptz)"
    " WITH (topic='e', event_time='at', timestamp_unit='ms');\n"
    "CREATE VIEW item AS SELECT id, name, price AS least, at FROM e WHERE kind = 'item';\n"
    "CREATE VIEW bid AS SELECT seq, ref, price, at FROM e WHERE kind = 'bid';\n"
    "CREATE MATERIALIZED VIEW seen AS SELECT b.seq, b.price, i.name, i.least FROM bid b"
    "   LEFT JOIN item i ON i.id = b.ref WHERE b.price > 3;\n"
    "CREATE MATERIALIZED VIEW best AS SELECT i.id, i.name, max(b.price) AS price, count(*) AS bids"
    "   FROM bid b JOIN item i ON b.ref = i.id AND b.price >= i.least AND b.at < i.at + interval "
    "'9 s'"
    "   GROUP BY i.id, i.name;\n"
    "CREATE MATERIALIZED VIEW chain AS SELECT b.seq, i.name, j.name AS other FROM bid b"
    "   JOIN item i ON b.ref = i.id LEFT JOIN item j ON j.id = i.least;\n"
    "CREATE VIEW note AS SELECT ref, name, price AS rank FROM e WHERE kind = 'other';\n"
    "CREATE MATERIALIZED VIEW pair AS SELECT b.seq, i.name, n.name AS note FROM bid b"
    "   JOIN item i ON b.ref = i.id JOIN note n ON b.ref = n.ref;\n"
    "CREATE MATERIALIZED VIEW maybe AS SELECT seq, ref, i.name, n.name AS note, rank FROM bid b"
    "   LEFT JOIN note n USING (ref) JOIN item i ON i.id = ref AND i.least >= coalesce(rank, 2);\n"
    "CREATE MATERIALIZED VIEW counted AS SELECT b.ref, count(*) AS n, count(n.ref) AS notes,"
    "   sum(b.price * i.least) AS total FROM bid b JOIN item i ON b.ref = i.id"
    "   LEFT JOIN note n ON n.ref = b.ref AND n.rank > b.price AND n.rank < i.least + 4"
    "   WHERE b.price > 1 GROUP BY b.ref;\n";

/* i: the item that bid b sees. */
#define NOTE(row)                                                                                  \
    "(SELECT seq FROM e i WHERE i.kind = 'other' AND i.src = b.src AND i.seq < b.seq AND i.ref "   \
    "= b.ref ORDER BY i.seq DESC LIMIT 1) = " row
#define SEEN(key, row)                                                                             \
    "(SELECT seq FROM e i WHERE i.kind = 'item' AND i.src = b.src AND i.seq < b.seq AND i.id "     \
    "= " key " ORDER BY i.seq DESC LIMIT 1) = " row

static const char *const oracles[] = {
    "SELECT b.seq, b.price, i.name, i.price FROM e b LEFT JOIN e i ON " SEEN(
        "b.ref", "i.seq") " WHERE b.kind = 'bid' AND b.price > 3;",
    "SELECT i.id, i.name, max(b.price), count(*) FROM e b JOIN e i ON " SEEN(
        "b.ref", "i.seq") " WHERE b.kind = 'bid' AND b.price >= i.price AND b.at < i.at + 9000 "
                          "GROUP BY i.id, i.name;",
    "SELECT b.seq, x.name, j.name FROM e b JOIN e x ON " SEEN(
        "b.ref", "x.seq") " LEFT JOIN e j ON " SEEN("x.price", "j.seq") " WHERE b.kind = 'bid';",
    "SELECT b.seq, x.name, n.name FROM e b JOIN e x ON " SEEN(
        "b.ref", "x.seq") " JOIN e n ON " NOTE("n.seq") " WHERE b.kind = 'bid';",
    "SELECT b.seq, b.ref, x.name, n.name, n.price FROM e b LEFT JOIN e n ON " NOTE(
        "n.seq") " JOIN e x ON " SEEN("b.ref", "x.seq") " WHERE b.kind = 'bid' AND x.price >= "
                                                        "coalesce(n.price, 2);",
    "SELECT b.ref, count(*), count(n.seq), sum(b.price * x.price) FROM e b JOIN e x ON " SEEN(
        "b.ref", "x.seq") " LEFT JOIN e n ON " NOTE("n.seq") " AND n.price > b.price AND n.price < "
                                                             "x.price + 4 WHERE b.kind = 'bid' AND "
                                                             "b.price > 1 GROUP BY b.ref;"};

static void make_events(struct prng *prng, struct event *events, struct buf *script)
{
    int64_t at = 1700000000000;
    for (int i = 0; i < ROWS; i++) {
        bool item = prng_below(prng, 4) == 0;
        const char *kind = item ? "item" : prng_below(prng, 9) == 0 ? "other" : "bid";
        char ref[16] = "null";
        char price[16] = "null";
        if (prng_below(prng, 10) != 0) {
            (void)snprintf(ref, sizeof ref, "%d", (int)prng_below(prng, 12));
        }
        if (prng_below(prng, 10) != 0) {
            (void)snprintf(price, sizeof price, "%d", (int)prng_below(prng, 12));
        }
        at += (int64_t)prng_below(prng, 1500);
        char json[300];
        (void)snprintf(json, sizeof json,
                       "{\"seq\":%d,\"kind\":\"%s\",\"%s\":%s,\"name\":\"n%d\",\"price\":%s,"
                       "\"at\":%lld}",
                       i, kind, item ? "id" : "ref", ref, i % 37, price, (long long)at);
        events[i] = world_event((uint32_t)prng_below(prng, WORLD_SOURCES), json);
        buf_printf(script, "INSERT INTO e VALUES (%u,%d,'%s',%s,%s,'n%d',%s,%lld);\n",
                   events[i].source, i, kind, item ? ref : "null", item ? "null" : ref, i % 37,
                   price, (long long)at);
    }
}

static void check(const struct world *once)
{
    assert_true(once->plan->inputs[0].one_partition);
}

static void test_against_sqlite(void **state)
{
    (void)state;
    world_test(&(struct world_test){.name = "lookup",
                                    .definition = definition,
                                    .rows = ROWS,
                                    .columns = "src, seq integer, kind text, id integer, ref "
                                               "integer, name text, price integer, at integer",
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
