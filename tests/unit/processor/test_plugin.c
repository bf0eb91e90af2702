/* Goal: a plugin makes rows as SQL would, whatever the commits, evictions and restarts are; its rows go
 * into tables, groups and topics; what it does wrong is an error or a dead record.
 * Method: a plugin in this file that counts per user, remembers the number before, and emits several
 * rows for some events, against window functions over the same records in the same definition. */
#include "tests/unit/processor/sql_world.h"

#include "base/prng.h"

#include <string.h>

#define ROWS 500

/* ---- The plugin: per user the number of events and the n before; an extra row when n is 3; state of a
 * user is forgotten when n is 9. */

struct memory {
    int64_t count;
    int64_t before;
    bool known;
};

static int counter_open(const struct kappa_plugin_schema *schema, void **instance, char *error,
                        size_t error_size)
{
    *instance = NULL;
    if (schema->input_count != 3 || schema->output_count != 4 ||
        schema->output_types[0] != KAPPA_TYPE_BIGINT) {
        (void)snprintf(error, error_size, "it wants other columns than %u and %u",
                       schema->input_count, schema->output_count);
        return 1;
    }
    return 0;
}

static int counter_event(void *instance, const struct kappa_event *event,
                         const struct kappa_host *host)
{
    (void)instance;
    const struct kappa_value *usr = &event->values[1];
    const struct kappa_value *n = &event->values[2];
    if (usr->is_null) {
        return host->refuse(host->ctx, "nobody");
    }
    struct memory memory = {0};
    const void *kept = NULL;
    uint32_t len = 0;
    int rc = host->get(host->ctx, usr->s.bytes, usr->s.len, &kept, &len);
    if (rc < 0) {
        return rc;
    }
    if (rc == 1) {
        assert_int_equal(len, sizeof memory);
        memcpy(&memory, kept, len);
    }
    memory.count++;
    struct kappa_value values[4] = {
        event->values[0],
        *usr,
        {.type = KAPPA_TYPE_BIGINT, .i = memory.count},
        {.type = KAPPA_TYPE_BIGINT, .is_null = !memory.known, .i = memory.before}};
    rc = host->emit(host->ctx, values, 4);
    for (int i = 0; i < 2 && rc == 0 && !n->is_null && n->i == 3; i++) {
        values[2].i = -1 - i;
        rc = host->emit(host->ctx, values, 4);
    }
    memory.known = !n->is_null;
    memory.before = n->is_null ? 0 : n->i;
    if (rc == 0 && !n->is_null && n->i == 9) {
        return host->del(host->ctx, usr->s.bytes, usr->s.len);
    }
    return rc < 0 ? rc : host->put(host->ctx, usr->s.bytes, usr->s.len, &memory, sizeof memory);
}

static void counter_close(void *instance)
{
    (void)instance;
}

static const struct kappa_plugin counter = {KAPPA_PLUGIN_ABI, counter_open, counter_event,
                                            counter_close};

static const char definition[] =
    "CREATE TABLE e (seq bigint, usr text, n bigint) WITH (topic='e');\n"
    "CREATE VIEW made AS SELECT * FROM plugin('counter.so', e)"
    "   AS c(seq bigint, usr text, number bigint, before bigint);\n"
    "CREATE MATERIALIZED VIEW all_rows AS SELECT seq, usr, number, before FROM made;\n"
    "CREATE MATERIALIZED VIEW per_user AS SELECT usr, count(*) AS rows, max(number) AS most FROM "
    "made"
    "   WHERE number > 0 GROUP BY usr;\n";

static const char *const oracles[] = {
    /* number since the user was last forgotten */
    "CREATE TABLE ok AS SELECT *, (SELECT max(seq) FROM e f WHERE f.src = a.src AND f.usr = a.usr "
    "AND"
    " f.seq < a.seq AND f.n = 9) AS forgot FROM e a WHERE usr IS NOT NULL;\n"
    "CREATE TABLE made AS SELECT seq, usr, n, (SELECT count(*) FROM ok b WHERE b.src = a.src AND "
    "b.usr = a.usr"
    "  AND b.seq <= a.seq AND b.seq > coalesce(a.forgot, -1)) AS number, (SELECT n FROM ok b WHERE"
    "  b.src = a.src AND b.usr = a.usr AND b.seq < a.seq AND b.seq > coalesce(a.forgot, -1)"
    "  ORDER BY b.seq DESC LIMIT 1) AS before FROM ok a;\n"
    "SELECT seq, usr, number, before FROM made UNION ALL SELECT seq, usr, -1, before FROM made "
    "WHERE n = 3"
    " UNION ALL SELECT seq, usr, -2, before FROM made WHERE n = 3;",
    "CREATE TABLE ok AS SELECT *, (SELECT max(seq) FROM e f WHERE f.src = a.src AND f.usr = a.usr "
    "AND"
    " f.seq < a.seq AND f.n = 9) AS forgot FROM e a WHERE usr IS NOT NULL;\n"
    "SELECT usr, count(*), max((SELECT count(*) FROM ok b WHERE b.src = a.src AND b.usr = a.usr"
    " AND b.seq <= a.seq AND b.seq > coalesce(a.forgot, -1))) FROM ok a GROUP BY usr;"};

static void make_events(struct prng *prng, struct event *events, struct buf *script)
{
    for (int i = 0; i < ROWS; i++) {
        char usr[16] = "null";
        char n[16] = "null";
        if (prng_below(prng, 8) != 0) {
            (void)snprintf(usr, sizeof usr, "u%d", (int)prng_below(prng, 6));
        }
        if (prng_below(prng, 8) != 0) {
            (void)snprintf(n, sizeof n, "%d", (int)prng_below(prng, 12));
        }
        const char *quote = strcmp(usr, "null") == 0 ? "" : "\"";
        char json[200];
        (void)snprintf(json, sizeof json, "{\"seq\":%d,\"usr\":%s%s%s,\"n\":%s}", i, quote, usr,
                       quote, n);
        events[i] = world_event((uint32_t)prng_below(prng, WORLD_SOURCES), json);
        buf_printf(script, "INSERT INTO e VALUES (%u,%d,%s%s%s,%s);\n", events[i].source, i,
                   quote[0] == '"' ? "'" : "", usr, quote[0] == '"' ? "'" : "", n);
    }
}

static void check(const struct world *once)
{
    assert_int_equal(once->plan->plugin_count, 1);
    assert_true(once->store.states[0].dead > 0);
    assert_string_equal((char *)once->store.dead[0].row.key, "counter.so: nobody");
}

static void test_against_sqlite(void **state)
{
    (void)state;
    const struct kappa_plugin *const plugins[] = {&counter};
    world_test(&(struct world_test){.name = "plugin",
                                    .definition = definition,
                                    .plugins = plugins,
                                    .rows = ROWS,
                                    .columns = "src, seq integer, usr text, n integer",
                                    .make_events = make_events,
                                    .check = check,
                                    .oracles = oracles,
                                    .oracle_count = array_len(oracles)});
}

/* ---- What goes wrong. */

static int wrong_open(const struct kappa_plugin_schema *schema, void **instance, char *error,
                      size_t error_size)
{
    (void)schema;
    (void)error;
    (void)error_size;
    *instance = NULL;
    return 0;
}

static int wrong_event(void *instance, const struct kappa_event *event,
                       const struct kappa_host *host)
{
    (void)instance;
    struct kappa_value values[4] = {{.type = KAPPA_TYPE_TEXT, .s = {"x", 1}},
                                    {.is_null = true},
                                    {.is_null = true},
                                    {.is_null = true}};
    static char long_key[KAPPA_PLUGIN_KEY_MAX + 1];
    int64_t what = event->values[2].i;
    if (what == 0) {
        return host->emit(host->ctx, values, 4); /* text for bigint */
    }
    if (what == 1) {
        (void)host->emit(host->ctx, values, 3); /* and goes on as if nothing had been */
        return 0;
    }
    return what == 2 ? host->put(host->ctx, long_key, sizeof long_key, "", 0) : 77;
}

static const struct kappa_plugin wrong = {KAPPA_PLUGIN_ABI, wrong_open, wrong_event, counter_close};

static void test_wrong(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "plugin counter.so emitted a row with a value of another type than its column",
        "plugin counter.so emitted a row with another number of values than it has columns",
        "plugin counter.so: a key of its state has 481 bytes, at most 480",
        "plugin counter.so gave up with code 77 at offset 0"};

    for (size_t i = 0; i < array_len(texts); i++) {
        const struct kappa_plugin *const plugins[] = {&wrong};
        struct world w;
        struct err err = {0};
        char json[128] = {0};
        int len = snprintf(json, sizeof json, "{\"seq\":1,\"usr\":\"a\",\"n\":%zu}", i);
        world_open(&w, definition, 1 << 20, plugins);
        struct kappa_record record = {
            .value = (const uint8_t *)json, .value_len = (uint32_t)len, .key_len = KAPPA_NULL_LEN};
        assert_true(processor_apply(w.processor, 0, &record, 1, 1, &err) < 0);
        assert_string_equal(err.text, texts[i]);
        world_close(&w);
    }
}

static void test_refused(void **state)
{
    (void)state;
    struct err err = {0};
    struct plan *plan = NULL;
    struct processor *processor = NULL;
    const struct kappa_plugin *const plugins[] = {&counter};
    const char *other =
        "CREATE TABLE e (seq bigint) WITH (topic='e');"
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM plugin('counter.so', e) AS c(seq bigint);";
    assert_int_equal(plan_compile("t.sql", other, strlen(other), &plan, &err), 0);
    struct processor_options options = {.plan = plan, .plugins = plugins, .cache_bytes = 1};
    assert_true(processor_open(&options, &processor, &err) < 0);
    assert_string_equal(err.text,
                        "plugin counter.so does not open: it wants other columns than 1 and 1");
    options.plugins = NULL;
    assert_true(processor_open(&options, &processor, &err) < 0);
    assert_string_equal(err.text, "plugin counter.so is not loaded here");
    plan_free(plan);
}

/* Whether rows of a key are together is known of the message key only, not of what a plugin emits. */
static void test_joins_of_its_rows_need_one_partition(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "a.seq FROM e a JOIN e b ON a.usr = b.usr",
        "a.seq FROM e a JOIN e b ON a.seq = b.seq",
        "a.seq FROM p a JOIN p b ON a.usr = b.usr",
    };
    for (size_t i = 0; i < array_len(queries); i++) {
        char *text = xasprintf(
            "CREATE TABLE e (usr text, seq bigint) WITH (topic='e', key='usr');"
            "CREATE VIEW p AS SELECT * FROM plugin('counter.so', e) AS c(usr text, seq bigint);"
            "CREATE MATERIALIZED VIEW v AS SELECT %s;",
            queries[i]);
        struct plan *plan = NULL;
        struct err err = {0};
        if (plan_compile("t.sql", text, strlen(text), &plan, &err) != 0) {
            fail_msg("%s", err.text);
        }
        assert_int_equal(plan->inputs[0].one_partition, i > 0);
        plan_free(plan);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sqlite),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_joins_of_its_rows_need_one_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
