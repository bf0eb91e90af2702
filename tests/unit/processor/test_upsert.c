/* Goal: a view over a table with a primary key holds the newest row of each key; a tombstone, and a row
 * that WHERE refuses, take it away; a record that fails changes nothing.
 * Method: random changes of few keys, each in its partition, through SQL and the naive store; the oracle
 * is sqlite3. A second run commits often and keeps nothing in memory: same stored bytes. */
#include "tests/unit/processor/sql_world.h"

#include "base/prng.h"

#include <string.h>

#define ROWS 700

static const char definition[] =
    "CREATE TABLE e (id bigint PRIMARY KEY, name text, level bigint) WITH (topic='e');\n"
    "CREATE MATERIALIZED VIEW everyone AS SELECT * FROM e;\n"
    "CREATE MATERIALIZED VIEW high AS SELECT upper(name) AS shout, id, 60 / level AS share FROM e"
    "   WHERE level > 3 OR level = 0;\n";

static const char *const oracles[] = {
    "SELECT id, name, level FROM e a WHERE gone = 0 AND seq = (SELECT max(seq) FROM e b WHERE b.id "
    "= a.id);",
    "SELECT upper(name), id, 60 / level FROM e a WHERE gone = 0 AND level > 3 AND seq ="
    " (SELECT max(seq) FROM e b WHERE b.id = a.id AND (gone = 1 OR level IS NOT 0));"};

static void make_events(struct prng *prng, struct event *events, struct buf *script)
{
    for (int i = 0; i < ROWS; i++) {
        int id = (int)prng_below(prng, 40);
        bool gone = prng_below(prng, 5) == 0;
        char level[16] = "null";
        if (prng_below(prng, 8) != 0) {
            (void)snprintf(level, sizeof level, "%d", (int)prng_below(prng, 9));
        }
        char json[200];
        (void)snprintf(json, sizeof json, "{\"id\":%d,\"name\":\"n%d\",\"level\":%s}", id, i,
                       level);
        struct event *event = &events[i];
        *event = gone ? (struct event){0} : world_event(0, json);
        event->source = (uint32_t)id % WORLD_SOURCES;
        (void)snprintf(event->key, sizeof event->key, "%d", id);
        buf_printf(script, "INSERT INTO e VALUES (%d,%d,'n%d',%s,%d);\n", i, id, i,
                   gone ? "null" : level, gone);
    }
}

static void check(const struct world *once)
{
    assert_true(once->store.states[0].dead > 0);
}

static void test_against_sqlite(void **state)
{
    (void)state;
    world_test(
        &(struct world_test){.name = "upsert",
                             .definition = definition,
                             .rows = ROWS,
                             .columns = "seq integer, id integer, name text, level integer, gone",
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
