/* Goal: tombstones='delete': a record without value deletes the row of its key on the right side of joins,
 * as of its place, or of its time; nothing else sees it. Whatever the commits, evictions and restarts are.
 * Method: random records in one topic, two sources, through SQL and the naive store; the oracle is sqlite3.
 * A second run commits often and keeps nothing in memory: same stored bytes. */
#include "tests/unit/processor/sql_world.h"

#include "base/prng.h"

#include <string.h>

#define ROWS 700
#define KEYS 6
#define BASE 1700000000000
/* Tombstones with this time are not for notes. */
#define FAR  2500000000000

#define DEFINITION(options)                                                                        \
    "CREATE TABLE e (seq bigint, kind text, id text, price bigint, vf timestamptz, at "            \
    "timestamptz)"                                                                                 \
    " WITH (topic='e', event_time='at', timestamp_unit='ms', key='id', "                           \
    "tombstones='delete'" options ");\n"                                                           \
    "CREATE VIEW bid AS SELECT seq, id, price, vf AS t, at FROM e WHERE kind = 'bid';\n"           \
    "CREATE VIEW item AS SELECT id, seq AS iseq, price AS least FROM e WHERE kind = 'item';\n"     \
    "CREATE VIEW note AS SELECT id, seq AS nseq FROM e WHERE kind = 'note'"                        \
    "   AND record_timestamp() < '2040-01-01';\n"                                                  \
    "CREATE VIEW version AS SELECT id, seq AS vseq, coalesce(vf, record_timestamp()) AS "          \
    "valid_from"                                                                                   \
    "   FROM e WHERE kind = 'item';\n"                                                             \
    "CREATE MATERIALIZED VIEW seen AS SELECT b.seq, i.iseq, i.least, n.nseq FROM bid b"            \
    "   LEFT JOIN item i ON i.id = b.id LEFT JOIN note n ON n.id = b.id;\n"                        \
    "CREATE MATERIALIZED VIEW counted AS SELECT b.id, count(*) AS n, sum(b.price * i.least) AS s"  \
    "   FROM bid b JOIN item i ON b.id = i.id GROUP BY b.id;\n"                                    \
    "CREATE MATERIALIZED VIEW known AS SELECT b.seq FROM bid b JOIN item ON item.id = b.id;\n"     \
    "CREATE MATERIALIZED VIEW timed AS SELECT b.seq, v.vseq FROM bid b"                            \
    "   LEFT JOIN version v ON v.id = b.id AND v.valid_from <= b.t;\n"                             \
    "CREATE MATERIALIZED VIEW timely AS SELECT b.seq FROM bid b"                                   \
    "   JOIN version v ON v.id = b.id AND v.valid_from < b.t;\n"                                   \
    "CREATE MATERIALIZED VIEW plain AS SELECT id, count(*) AS n FROM e GROUP BY id;\n"             \
    "CREATE MATERIALIZED VIEW minutes AS SELECT id, window_end, count(*) AS n"                     \
    "   FROM tumble(e, at, interval '1 minute') GROUP BY id, window_end;\n"

/* row: what was said last of the bid's key by records that `of` holds for. */
#define SAID(of, order, row)                                                                       \
    "(SELECT seq FROM e i WHERE i.src = b.src AND i.seq < b.seq AND i.id = b.id AND " of           \
    " ORDER BY " order " i.seq DESC LIMIT 1) = " row
#define ITEM SAID("i.kind IN ('item', 'gone', 'itemgone')", "", "x.seq AND x.kind = 'item'")
#define NOTE SAID("i.kind IN ('note', 'gone')", "", "n.seq AND n.kind = 'note'")
#define VERSION(order)                                                                             \
    SAID("i.kind IN ('item', 'gone', 'itemgone') AND i.vf " order " b.vf", "i.vf DESC,",           \
         "x.seq AND x.kind = 'item'")

static const char *const oracles[] = {
    "SELECT b.seq, x.seq, x.price, n.seq FROM e b LEFT JOIN e x ON " ITEM " LEFT JOIN e n ON " NOTE
    " WHERE b.kind = 'bid';",
    "SELECT b.id, count(*), sum(b.price * x.price) FROM e b JOIN e x ON " ITEM
    " WHERE b.kind = 'bid' GROUP BY 1;",
    "SELECT b.seq FROM e b JOIN e x ON " ITEM " WHERE b.kind = 'bid';",
    "SELECT b.seq, x.seq FROM e b LEFT JOIN e x ON " VERSION("<=") " WHERE b.kind = 'bid';",
    "SELECT b.seq FROM e b JOIN e x ON " VERSION("<") " WHERE b.kind = 'bid';",
    "SELECT id, count(*) FROM e WHERE kind NOT IN ('gone', 'itemgone') GROUP BY 1;"};

static const char *kind_random(struct prng *prng)
{
    static const char *const kinds[] = {"bid",  "bid",  "bid",  "item",
                                        "item", "note", "gone", "itemgone"};
    return kinds[prng_below(prng, array_len(kinds))];
}

static void make_events(struct prng *prng, struct event *events, struct buf *script)
{
    int64_t at = BASE;
    for (int i = 0; i < ROWS; i++) {
        const char *kind = kind_random(prng);
        bool gone = strstr(kind, "gone") != NULL;
        int id = (int)prng_below(prng, KEYS);
        int price = (int)prng_below(prng, 12);
        at += (int64_t)prng_below(prng, 1500);
        long long vf = (long long)(at - (int64_t)prng_below(prng, 30000)) / 1000 * 1000;
        vf = strcmp(kind, "itemgone") == 0 ? FAR + (long long)prng_below(prng, 9) : vf;
        char json[300];
        (void)snprintf(
            json, sizeof json,
            "{\"seq\":%d,\"kind\":\"%s\",\"id\":\"k%d\",\"price\":%d,\"vf\":%lld,\"at\":%lld}", i,
            kind, id, price, vf, (long long)at);
        events[i] = world_event((uint32_t)prng_below(prng, WORLD_SOURCES), json);
        (void)snprintf(events[i].key, sizeof events[i].key, "k%d", id);
        if (gone) {
            free(events[i].json);
            events[i].json = NULL;
            events[i].time_ms = vf;
        }
        buf_printf(script, "INSERT INTO e VALUES (%u,%d,'%s','k%d',%d,%lld,%lld);\n",
                   events[i].source, i, kind, id, price, vf, (long long)at);
    }
}

static void check(const struct world *once)
{
    assert_int_equal(once->store.dead_count, 0);
}

static void test_against_sqlite(void **state)
{
    (void)state;
    world_test(&(struct world_test){.name = "tombstone",
                                    .definition = DEFINITION(""),
                                    .rows = ROWS,
                                    .columns = "src, seq integer, kind text, id text, price "
                                               "integer, vf integer, at integer",
                                    .make_events = make_events,
                                    .check = check,
                                    .oracles = oracles,
                                    .oracle_count = array_len(oracles)});
}

static void check_nothing(const struct world *once)
{
    (void)once;
}

/* Versions are let go, also by tombstones: the same ones whatever the commits are. */
static void test_history(void **state)
{
    (void)state;
    world_test(&(struct world_test){.name = "tombstone-history",
                                    .definition = DEFINITION(", history='5 s'"),
                                    .rows = ROWS,
                                    .columns = "src, seq integer, kind text, id text, price "
                                               "integer, vf integer, at integer",
                                    .make_events = make_events,
                                    .check = check_nothing});
}

/* One without a key deletes nothing, and is dead; so is one whose key is no value of the column. */
static void test_dead(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w,
               "CREATE TABLE e (id bigint, n bigint) WITH (topic='e', key='id', "
               "tombstones='delete');\n"
               "CREATE MATERIALIZED VIEW v AS SELECT a.n, b.n AS m FROM e a JOIN e b ON a.id = "
               "b.id;\n",
               1 << 20, NULL);
    static const char *const keys[] = {"", "seven", "7"};
    for (size_t i = 0; i < array_len(keys); i++) {
        struct event event = {.source = 0};
        (void)snprintf(event.key, sizeof event.key, "%s", keys[i]);
        world_apply(&w, &event);
    }
    world_commit(&w);
    assert_int_equal(w.store.dead_count, 2);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sqlite),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
