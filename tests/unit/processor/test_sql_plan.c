/* Goal: a definition becomes the plan it says: inputs, windows, keys, aggregates, outputs, hash.
 *
 * Method: small definitions, and their plans looked at field by field. */
#include "processor/plan.h"
#include "processor/policy.h"
#include "tests/unit/processor/plan_of.h"

#include <string.h>

#define TABLE                                                                                      \
    "CREATE TABLE t (a integer, b bigint, d double precision, s text, f boolean, ts timestamptz) " \
    "WITH (event_time='ts', watermark='1 minute');"

static struct plan *compile_view(const char *query)
{
    char *sql = xasprintf(TABLE "CREATE MATERIALIZED VIEW v AS %s;", query);
    struct plan *plan = plan_of(sql);
    free(sql);
    return plan;
}

static void assert_output(const struct plan_view *view, uint32_t i, const char *name,
                          enum kappa_type type)
{
    assert_true(i < view->output_count);
    assert_string_equal(view->outputs[i].name, name);
    assert_int_equal(view->outputs[i].type, type);
}

static void test_scenario(void **state)
{
    (void)state;
    struct plan *plan = plan_of(
        "CREATE TABLE user_events (user_id text, event_type text, product_id text, amount double "
        "precision, event_time timestamptz, unread text) WITH (topic='user-events', format='json', "
        "event_time='event_time', watermark='5 s', timestamp_unit='ms');"
        "CREATE MATERIALIZED VIEW user_features WITH (retain='1 h') AS SELECT user_id, "
        "window_start, "
        "window_end, count(*) FILTER (WHERE event_type='click') AS clicks, count(*) FILTER (WHERE "
        "event_type='view') AS views, sum(amount) FILTER (WHERE event_type='purchase') AS "
        "total_amount, count(DISTINCT product_id) AS distinct_products, max(event_time) AS "
        "last_update FROM tumble(user_events, event_time, interval '5 minutes') GROUP BY user_id, "
        "window_start, window_end;");
    assert_int_equal(plan->input_count, 1);
    const struct plan_input *input = &plan->inputs[0];
    assert_string_equal(input->name, "user_events");
    assert_string_equal(input->topic, "user-events");
    assert_int_equal(input->format, PLAN_FORMAT_JSON);
    assert_int_equal(input->event_time, 4);
    assert_int_equal(input->watermark_us, 5000000);
    assert_int_equal(input->timestamp_unit_us_num, 1000);
    assert_int_equal(input->timestamp_unit_us_den, 1);
    for (uint32_t c = 0; c < 6; c++) {
        assert_int_equal(input->columns[c].used, c != 5);
    }
    assert_int_equal(plan->view_count, 1);
    const struct plan_view *view = &plan->views[0];
    assert_string_equal(view->shape.name, "user_features");
    assert_true(view->shape.windowed);
    assert_int_equal(view->kind, PLAN_GROUP);
    assert_int_equal(view->window_us, 300000000);
    assert_int_equal(view->window_offset_us, 0);
    assert_int_equal(view->retain_us, INT64_C(3600000000));
    assert_int_equal(view->where, PLAN_NONE);
    assert_int_equal(view->having, PLAN_NONE);
    assert_int_equal(view->row.input_count, 8);
    assert_int_equal(view->key_count, 3);
    assert_int_equal(view->keys[0].role, PLAN_KEY_COLUMN);
    assert_int_equal(view->keys[0].reg, 0);
    assert_string_equal(view->keys[0].name, "user_id");
    assert_int_equal(view->keys[1].role, PLAN_KEY_WINDOW_START);
    assert_int_equal(view->keys[1].reg, PLAN_NONE);
    assert_int_equal(view->keys[2].role, PLAN_KEY_WINDOW_END);
    assert_int_equal(view->aggregate_count, 5);

    static const enum plan_aggregate_kind kinds[] = {PLAN_COUNT_ROWS, PLAN_COUNT_ROWS, PLAN_SUM,
                                                     PLAN_COUNT_DISTINCT, PLAN_MAX};

    static const uint32_t arguments[] = {PLAN_NONE, PLAN_NONE, 3, 2, 4};
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(view->aggregates[i].kind, kinds[i]);
        assert_int_equal(view->aggregates[i].argument, arguments[i]);
        assert_int_equal(view->aggregates[i].filter == PLAN_NONE, i > 2);
    }
    assert_int_equal(view->row.step_count, 3); /* one comparison a filter */
    assert_int_equal(view->final.step_count, 0);
    assert_int_equal(view->final.input_count, 8);
    assert_output(view, 0, "user_id", KAPPA_TYPE_TEXT);
    assert_output(view, 1, "window_start", KAPPA_TYPE_TIMESTAMPTZ);
    assert_output(view, 3, "clicks", KAPPA_TYPE_BIGINT);
    assert_output(view, 5, "total_amount", KAPPA_TYPE_DOUBLE);
    assert_output(view, 7, "last_update", KAPPA_TYPE_TIMESTAMPTZ);
    plan_free(plan);
}

static void test_defaults(void **state)
{
    (void)state;
    struct plan *plan = plan_of("CREATE TABLE t (a int, b int); CREATE TABLE u (c int);"
                                "CREATE MATERIALIZED VIEW v AS SELECT a FROM t;"
                                "CREATE MATERIALIZED VIEW w AS SELECT * FROM u WHERE c > 0;");
    assert_int_equal(plan->input_count, 2);
    assert_string_equal(plan->inputs[0].topic, "t");
    assert_int_equal(plan->inputs[0].event_time, PLAN_NONE);
    assert_int_equal(plan->inputs[0].watermark_us, 0);
    assert_int_equal(plan->inputs[0].timestamp_unit_us_num, 1000);
    assert_true(plan->inputs[0].columns[0].used);
    assert_false(plan->inputs[0].columns[1].used);
    assert_int_equal(plan->view_count, 2);
    assert_int_equal(plan->views[0].kind, PLAN_APPEND);
    assert_int_equal(plan->views[0].append_count, 1);
    assert_int_equal(plan->views[0].append_regs[0], 0);
    assert_int_equal(plan->views[0].final.input_count, 1);
    assert_int_equal(plan->views[0].retain_us, INT64_MAX);
    assert_int_equal(plan->views[1].input, 1);
    assert_int_not_equal(plan->views[1].where, PLAN_NONE);
    assert_output(&plan->views[1], 0, "c", KAPPA_TYPE_INTEGER);
    plan_free(plan);
}

/* Equal expressions are computed once, and equal aggregates kept once, wherever they stand. */
static void test_sharing(void **state)
{
    (void)state;
    struct plan *plan = compile_view(
        "SELECT lower(s) AS k, sum(a + 1) AS x, sum(a+1) * 2 AS y, avg(a + 1) AS z, "
        "count(*) FILTER (WHERE a + 1 > 3) AS n FROM t WHERE lower(s) <> '' GROUP BY lower(s) "
        "HAVING sum(a + 1) > 10");
    const struct plan_view *view = &plan->views[0];
    assert_int_equal(view->aggregate_count, 3);
    assert_int_equal(view->aggregates[0].argument, view->aggregates[1].argument);
    /* lower, <>, 1, a + 1, 3, > */
    assert_int_equal(view->row.step_count, 6);
    assert_int_equal(view->row.constant_count, 2);
    assert_int_not_equal(view->having, PLAN_NONE);
    assert_int_equal(view->keys[0].type, KAPPA_TYPE_TEXT);
    assert_string_equal(view->keys[0].name, "k");
    assert_int_equal(view->outputs[0].reg, 0);
    assert_int_equal(view->outputs[1].reg, 1);
    plan_free(plan);
}

static void test_group_by(void **state)
{
    (void)state;
    static const char *const same[] = {
        "SELECT s AS x, a + b AS y, count(*) FROM t GROUP BY s, a + b",
        "SELECT s AS x, a + b AS y, count(*) FROM t GROUP BY 1, 2",
        "SELECT s AS x, a + b AS y, count(*) FROM t GROUP BY x, y",
        "SELECT s AS x, a + b AS y, count(*) FROM t GROUP BY t.s, y, 1, s, a+b",
    };
    for (size_t i = 0; i < array_len(same); i++) {
        struct plan *plan = compile_view(same[i]);
        const struct plan_view *view = &plan->views[0];
        assert_int_equal(view->key_count, 2);
        assert_int_equal(view->keys[0].reg, 3);
        assert_int_equal(view->keys[1].type, KAPPA_TYPE_BIGINT);
        assert_string_equal(view->keys[1].name, "y");
        assert_output(view, 2, "count", KAPPA_TYPE_BIGINT);
        assert_int_equal(view->outputs[2].reg, 2);
        plan_free(plan);
    }
    /* An input column goes before an output's name. */
    struct plan *plan = compile_view("SELECT max(a) AS s, count(*) FROM t GROUP BY s");
    assert_int_equal(plan->views[0].keys[0].reg, 3);
    plan_free(plan);
    /* Aggregates and no GROUP BY: one group without keys. */
    plan = compile_view("SELECT count(*) + 1 AS n FROM t");
    assert_int_equal(plan->views[0].kind, PLAN_GROUP);
    assert_int_equal(plan->views[0].key_count, 0);
    plan_free(plan);
}

static void test_windows(void **state)
{
    (void)state;
    struct plan *plan = compile_view(
        "SELECT window_end, count(*) FROM tumble(t, ts, interval '1 h', interval '-10 min') AS w "
        "GROUP BY w.window_end");
    const struct plan_view *view = &plan->views[0];
    assert_true(view->shape.windowed);
    assert_int_equal(view->window_us, INT64_C(3600000000));
    assert_int_equal(view->window_offset_us, INT64_C(3000000000));
    assert_int_equal(view->key_count, 1);
    assert_int_equal(view->keys[0].role, PLAN_KEY_WINDOW_END);
    assert_int_equal(view->retain_us, INT64_MAX);
    plan_free(plan);
    /* Windows that are only read do not make a window table. */
    plan =
        compile_view("SELECT *, date_trunc('day', window_start) AS day FROM tumble(t, ts, '1 h')");
    view = &plan->views[0];
    assert_false(view->shape.windowed);
    assert_int_equal(view->kind, PLAN_APPEND);
    assert_int_equal(view->output_count, 9);
    assert_output(view, 7, "window_end", KAPPA_TYPE_TIMESTAMPTZ);
    plan_free(plan);
}

static void test_types_and_names(void **state)
{
    (void)state;
    struct plan *plan = compile_view(
        "SELECT a, a + b, a * d AS p, int '5', NULL AS nothing, 3000000000 AS big, 1.5 AS dec, "
        "s::bigint, lower(s), CASE WHEN f THEN 1 END, coalesce(a, b), nullif(s, ''), "
        "greatest(a, d), f::integer, CASE WHEN f THEN 1.5 ELSE b END, extract(epoch from ts), "
        "ts - interval '1 s' AS before, -2147483648 AS least, a = 1 AS one, 'x' AS x, "
        "(-3)::text AS minus, trim(s), 9223372036854775808 AS beyond FROM t");

    static const struct {
        const char *name;
        enum kappa_type type;
    } want[] = {
        {"a", KAPPA_TYPE_INTEGER},          {"?column?", KAPPA_TYPE_BIGINT},
        {"p", KAPPA_TYPE_DOUBLE},           {"int4", KAPPA_TYPE_INTEGER},
        {"nothing", KAPPA_TYPE_TEXT},       {"big", KAPPA_TYPE_BIGINT},
        {"dec", KAPPA_TYPE_NUMERIC},        {"s", KAPPA_TYPE_BIGINT},
        {"lower", KAPPA_TYPE_TEXT},         {"case", KAPPA_TYPE_INTEGER},
        {"coalesce", KAPPA_TYPE_BIGINT},    {"nullif", KAPPA_TYPE_TEXT},
        {"greatest", KAPPA_TYPE_DOUBLE},    {"f", KAPPA_TYPE_INTEGER},
        {"b", KAPPA_TYPE_NUMERIC},          {"extract", KAPPA_TYPE_DOUBLE},
        {"before", KAPPA_TYPE_TIMESTAMPTZ}, {"least", KAPPA_TYPE_INTEGER},
        {"one", KAPPA_TYPE_BOOLEAN},        {"x", KAPPA_TYPE_TEXT},
        {"minus", KAPPA_TYPE_TEXT},         {"btrim", KAPPA_TYPE_TEXT},
        {"beyond", KAPPA_TYPE_NUMERIC},
    };
    const struct plan_view *view = &plan->views[0];
    assert_int_equal(view->output_count, array_len(want));
    for (uint32_t i = 0; i < array_len(want); i++) {
        assert_output(view, i, want[i].name, want[i].type);
    }
    plan_free(plan);
}

static char *hash_of(const char *sql)
{
    struct plan *plan = plan_of(sql);
    char *text = xmalloc(DIGEST_TEXT_LEN + 1);
    digest_format(plan->hash, text);
    plan_free(plan);
    return text;
}

/* Blanks, comments and the case of words do not change the hash; what a definition means does. */
static void test_hash(void **state)
{
    (void)state;
    static const char base[] =
        "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT -3 AS x "
        "FROM t WHERE a = 0;";
    static const char *const same[] = {
        "/* a */ create table T(A INT);\n-- b\nCREATE MATERIALIZED VIEW v AS\nSELECT-/* c */3 x "
        "FROM t WHERE(a)=0",
        "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT -(3) x FROM t WHERE a = 0;;",
    };
    static const char *const other[] = {
        "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT -4 AS x FROM t WHERE a = 0;",
        "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT 3 AS x FROM t WHERE a = 0;",
        "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT -3 AS x FROM t WHERE a = -1;",
        "CREATE TABLE t (a int8); CREATE MATERIALIZED VIEW v AS SELECT -3 AS x FROM t WHERE a = 0;",
        "CREATE TABLE t (a int); CREATE MATERIALIZED VIEW w AS SELECT -3 AS x FROM t WHERE a = 0;",
    };
    char *hash = hash_of(base);
    for (size_t i = 0; i < array_len(same); i++) {
        char *again = hash_of(same[i]);
        assert_string_equal(hash, again);
        free(again);
    }
    for (size_t i = 0; i < array_len(other); i++) {
        char *again = hash_of(other[i]);
        assert_string_not_equal(hash, again);
        free(again);
    }
    free(hash);
}

/* BETWEEN holds its subject twice: nested, a tree of 2^60 leaves but few different expressions. */
static void test_shared_trees_stay_small(void **state)
{
    (void)state;
    char *expr = xstrdup("a");
    for (int i = 0; i < 60; i++) {
        char *outer = xasprintf("(%s BETWEEN 0 AND 1)%s", expr, "::integer");
        free(expr);
        expr = outer;
    }
    char *query =
        xasprintf("SELECT max(%s) AS m, %s AS k, count(*) FROM t GROUP BY %s", expr, expr, expr);
    struct plan *plan = compile_view(query);
    assert_true(plan->views[0].row.step_count < 300);
    plan_free(plan);
    free(query);
    free(expr);
}

/* Subqueries and views over a table to read are names for expressions; views over made tables are kept
 * as text; INSERT INTO makes a pipeline without a table. */
static void test_named_parts(void **state)
{
    (void)state;
    struct plan *plan = plan_of(
        "CREATE TABLE t (a int, b text, at timestamptz) WITH (event_time='at');"
        "CREATE VIEW even AS SELECT a, b AS name, at, a * 2 AS twice FROM t WHERE a % 2 = 0;"
        "CREATE TABLE o (k text, n bigint, unset int) WITH (topic='out', key='k', headers='n');"
        "INSERT INTO o (n, k) SELECT twice, name FROM even WHERE twice > 10;"
        "CREATE MATERIALIZED VIEW m AS SELECT name, sum(twice) AS total, window_end"
        "  FROM (SELECT * FROM tumble(even, at, interval '1 minute') WHERE name <> 'x') s"
        "  GROUP BY name, window_end;"
        "CREATE VIEW top AS /* as it is */ SELECT name, total FROM m ORDER BY total DESC ;");
    assert_int_equal(plan->view_count, 1);
    assert_int_equal(plan->pipeline_count, 2);
    assert_int_equal(plan->table_count, 1);
    assert_string_equal(plan->tables[0].shape.name, "m");
    const struct plan_view *group = &plan->views[0];
    assert_int_equal(group->window_us, 60000000);
    assert_true(group->shape.windowed);
    assert_int_equal(group->key_count, 2);
    assert_string_equal(group->keys[0].name, "name");
    assert_int_equal(group->keys[0].reg, 1);
    assert_int_equal(group->keys[1].role, PLAN_KEY_WINDOW_END);
    assert_int_not_equal(group->where, PLAN_NONE);
    const struct plan_view *topic = &plan->views[1];
    assert_int_equal(topic->kind, PLAN_TOPIC);
    assert_int_equal(plan->topic_count, 1);
    assert_string_equal(plan->topics[0].topic, "out");
    assert_int_equal(plan->topics[0].key, 0);
    assert_int_equal(plan->topics[0].header_count, 1);
    assert_int_equal(plan->topics[0].headers[0], 1);
    assert_int_equal(topic->append_count, 3);
    assert_int_equal(topic->append_regs[0], 1);
    assert_int_equal(topic->append_regs[2], PLAN_NONE);
    assert_int_equal(plan->read_view_count, 1);
    assert_string_equal(plan->read_views[0].name, "top");
    assert_string_equal(plan->read_views[0].query,
                        "/* as it is */ SELECT name, total FROM m ORDER BY total DESC ");
    plan_free(plan);
}

/* Settings are kept as text and are no part of the hash. */
static void test_settings(void **state)
{
    (void)state;
    static const char base[] =
        "CREATE TABLE t (a integer, s text);"
        "CREATE MATERIALIZED VIEW v AS SELECT s, count(*) FROM t GROUP BY s;";
    static const char with[] = "SET swap.max_dead = 0; CREATE TABLE t (a integer, s text);"
                               "SET swap.columns TO n, \"Rank\"; SET swap.max_changed = '0.5 %';"
                               "CREATE MATERIALIZED VIEW v AS SELECT s, count(*) FROM t GROUP BY s;"
                               "SET swap.verify = true;";
    char *hash = hash_of(base);
    char *again = hash_of(with);
    assert_string_equal(hash, again);
    free(hash);
    free(again);

    struct plan *plan = NULL;
    struct policy policy;
    struct err err = {0};
    assert_int_equal(plan_compile("f.sql", with, strlen(with), &plan, &err), 0);
    assert_int_equal(plan->setting_count, 4);
    policy_init(&policy);
    for (uint32_t i = 0; i < plan->setting_count; i++) {
        assert_int_equal(policy_set(&policy, plan->settings[i].name, plan->settings[i].value, &err),
                         0);
    }
    assert_int_equal(policy.max_dead.unit, POLICY_COUNT);
    assert_true(policy_within(&policy.max_dead, 0, 0) && !policy_within(&policy.max_dead, 1, 9));
    assert_int_equal(policy.max_changed.unit, POLICY_SHARE);
    assert_true(policy_within(&policy.max_changed, 5, 1000));
    assert_false(policy_within(&policy.max_changed, 6, 1000));
    assert_true(policy_within(&policy.max_changed, 0, 0));
    assert_true(policy_allows_column(&policy, "n") && policy_allows_column(&policy, "Rank"));
    assert_false(policy_allows_column(&policy, "rank") || policy_allows_column(&policy, ""));
    assert_true(policy.verify && !policy.manual && !policy.accept_gap && policy_compares(&policy));
    plan_free(plan);

    static const char *const lists[] = {"ann", " ann , ben", "ben,ann", ",ben,\n ann,"};
    for (size_t i = 0; i < array_len(lists); i++) {
        assert_int_equal(policy_set(&policy, "swap.who", lists[i], &err), 0);
        assert_true(policy_names(policy.who, "ann"));
        assert_false(policy_names(policy.who, "an") || policy_names(policy.who, "anna"));
        assert_false(policy_names(policy.who, "") || policy_names(policy.who, "ann , ben"));
    }
    assert_int_equal(policy_set(&policy, "swap.who", " , ", &err), -KE_INVALID);
    assert_int_equal(policy_set(&policy, "swap.who", "ann ben", &err), -KE_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_named_parts),     cmocka_unit_test(test_scenario),
        cmocka_unit_test(test_defaults),        cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_group_by),        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_types_and_names), cmocka_unit_test(test_hash),
        cmocka_unit_test(test_settings),        cmocka_unit_test(test_shared_trees_stay_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
