/* Goal: plan_state_hash is the same for definitions that store the same bytes of the same records, as far
 * as it can tell, and differs whenever something that decides them does. Method: a definition, and changes
 * of it, each said to keep the state or not; each must change the definition's own hash, so that none is
 * compared with itself. */
#include "processor/plan.h"
#include "tests/unit/processor/plan_of.h"

#include <string.h>

#define TABLE                                                                                      \
    "CREATE TABLE t (k text, a bigint, d double precision, ts timestamptz) WITH (topic='in', "     \
    "event_time='ts', watermark='1 minute'%s);"

static void compare(const char *a, const char *b, bool same)
{
    struct plan *x = plan_of(a);
    struct plan *y = plan_of(b);
    struct plan *again = plan_of(a);
    assert_true(digest_equal(plan_state_hash(x), plan_state_hash(again)));
    assert_false(digest_equal(x->hash, y->hash));
    if (digest_equal(plan_state_hash(x), plan_state_hash(y)) != same) {
        fail_msg("the state %s:\n%s\n%s", same ? "should be the same" : "should differ", a, b);
    }
    plan_free(x);
    plan_free(y);
    plan_free(again);
}

static void views(const char *a, const char *b, bool same)
{
    char *table = xasprintf(TABLE, "");
    char *x = xasprintf("%sCREATE MATERIALIZED VIEW v %s;", table, a);
    char *y = xasprintf("%sCREATE MATERIALIZED VIEW v %s;", table, b);
    compare(x, y, same);
    free(table);
    free(x);
    free(y);
}

#define TUMBLE  "FROM tumble(t, ts, interval '5 minutes') GROUP BY k, window_end"
#define BY_K(x) "AS SELECT k, " x " FROM t GROUP BY k"

static void test_what_is_read_only(void **state)
{
    (void)state;
    views(BY_K("sum(a) AS s"), BY_K("2 * sum(a) AS s"), true);
    views(BY_K("sum(a) AS s"), BY_K("sum(a) AS other"), true);
    views(BY_K("sum(a) AS s"), BY_K("sum(a) AS s") " HAVING sum(a) > 3", true);
    views(BY_K("sum(a) AS s, count(*) AS n"),
          BY_K("sum(a) AS s, count(*) + 1 AS n, sum(a) * 2 AS x"), true);
    char *table = xasprintf(TABLE, "");
    char *plain = xasprintf("%sCREATE MATERIALIZED VIEW v " BY_K("sum(a) AS s") ";", table);
    char *more = xasprintf("%sCREATE VIEW w AS SELECT k FROM v WHERE s > 1;", plain);
    compare(plain, more, true);
    free(table);
    free(plain);
    free(more);
}

static void test_what_is_stored(void **state)
{
    (void)state;
    views(BY_K("sum(a) AS s"), BY_K("sum(a + 1) AS s"), false);
    views(BY_K("sum(a) AS s"), BY_K("sum(d) AS s"), false);
    views(BY_K("sum(a) AS s"), BY_K("max(a) AS s"), false);
    views(BY_K("sum(a) AS s"), BY_K("sum(a) FILTER (WHERE a > 0) AS s"), false);
    views(BY_K("sum(a) FILTER (WHERE a > 1) AS s, max(a) AS m"), /* the same things are computed */
          BY_K("sum(a) AS s, max(a) FILTER (WHERE a > 1) AS m"), false);
    views(BY_K("sum(a) FILTER (WHERE a > 1) AS s"), BY_K("sum(a) FILTER (WHERE a > 2) AS s"),
          false);
    views(BY_K("sum(a) AS s"), BY_K("sum(a) AS s, count(*) AS n"), false);
    views(BY_K("sum(a) AS s"), "AS SELECT k, sum(a) AS s FROM t WHERE a <> 7 GROUP BY k", false);
    views(BY_K("sum(a) AS s"), "AS SELECT lower(k) AS k, sum(a) AS s FROM t GROUP BY lower(k)",
          false);
    views(BY_K("sum(a) AS s"), "WITH (ttl='1 h') " BY_K("sum(a) AS s"), false);
    views(BY_K("approx_percentile(a, 0.5) AS s"), BY_K("approx_percentile(a, 0.9) AS s"), false);
    views(BY_K("topk(k, 3) AS s"), BY_K("topk(k, 4) AS s"), false);
    views(BY_K("count(*) FILTER (WHERE k ~ 'a+') AS s"),
          BY_K("count(*) FILTER (WHERE k ~ 'b+') AS s"), false);
    views(BY_K("count(*) FILTER (WHERE k LIKE 'a%') AS s"),
          BY_K("count(*) FILTER (WHERE k LIKE 'b%') AS s"), false);
    views("AS SELECT k, window_end, count(*) AS n " TUMBLE,
          "WITH (retain='1 h') AS SELECT k, window_end, count(*) AS n " TUMBLE, false);
    views(
        "AS SELECT k, window_end, count(*) AS n " TUMBLE,
        "AS SELECT k, window_end, count(*) AS n FROM tumble(t, ts, interval '6 minutes') GROUP BY "
        "k, window_end",
        false);
    views("AS SELECT k, a FROM t", "AS SELECT k, a + 1 AS a FROM t", false);
    views("AS SELECT k, a FROM t", "AS SELECT k, a, d FROM t", false);
    views("AS SELECT k, lag(a) OVER (PARTITION BY k ORDER BY ts) AS l FROM t",
          "AS SELECT k, lag(a, 2) OVER (PARTITION BY k ORDER BY ts) AS l FROM t", false);
    views("AS SELECT * FROM (SELECT k, a, row_number() OVER (PARTITION BY k ORDER BY a) AS n FROM "
          "t) x "
          "WHERE n <= 3",
          "AS SELECT * FROM (SELECT k, a, row_number() OVER (PARTITION BY k ORDER BY a) AS n FROM "
          "t) x "
          "WHERE n <= 4",
          false);
}

static void test_what_is_read_from_the_log(void **state)
{
    (void)state;
    static const char *const options[] = {", lateness='5 s'",
                                          ", late='late'",
                                          ", timestamp_unit='s'",
                                          ", key='k'",
                                          ", dead_limit='5'",
                                          ", dead_limit='5 %'",
                                          ", format='csv'",
                                          ", rename='old=k'",
                                          ", key='k', partitioner='murmur2'",
                                          ", watermark_from='marks'"};
    const char *view = "CREATE MATERIALIZED VIEW v " BY_K("sum(a) AS s") ";";
    char *table = xasprintf(TABLE, "");
    char *plain = xasprintf("%s%s", table, view);
    for (size_t i = 0; i < array_len(options); i++) {
        char *other = xasprintf(TABLE, options[i]);
        char *sql = xasprintf("%s%s", other, view);
        compare(plain, sql, false);
        free(other);
        free(sql);
    }
    free(table);
    free(plain);
}

#define OUT                                                                                        \
    "CREATE TABLE out (k text, n bigint) WITH (topic='out', key='k'%s);"                           \
    "INSERT INTO out SELECT k, %s FROM tumble(t, ts, interval '1 minute') GROUP BY k, "            \
    "window_end %s;"

static void test_messages(void **state)
{
    (void)state;
    char *table = xasprintf(TABLE, ", key='k'");
    char *plain_out = xasprintf(OUT, "", "count(*)", "");
    char *plain = xasprintf("%s%s", table, plain_out);
    const char *changes[][3] = {{", headers='n'", "count(*)", ""},
                                {"", "2 * count(*)", ""},
                                {"", "count(*)", "HAVING count(*) > 1"}};
    for (size_t i = 0; i < array_len(changes); i++) {
        char *other_out = xasprintf(OUT, changes[i][0], changes[i][1], changes[i][2]);
        char *other = xasprintf("%s%s", table, other_out);
        compare(plain, other, false);
        free(other_out);
        free(other);
    }
    free(table);
    free(plain_out);
    free(plain);
}

static void test_stateful(void **state)
{
    (void)state;

    static const struct {
        const char *view;
        bool stateful;
    } cases[] = {{"AS SELECT k, a FROM t WHERE a > 3", false},
                 {BY_K("count(*) AS n"), true},
                 {"AS SELECT k, lag(a) OVER (PARTITION BY k ORDER BY ts) AS l FROM t", true}};

    for (size_t i = 0; i < array_len(cases); i++) {
        char *table = xasprintf(TABLE, "");
        char *sql = xasprintf("%sCREATE MATERIALIZED VIEW v %s;", table, cases[i].view);
        struct plan *plan = plan_of(sql);
        assert_int_equal(plan_is_stateful(plan), cases[i].stateful);
        plan_free(plan);
        free(table);
        free(sql);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_read_only),
        cmocka_unit_test(test_what_is_stored),
        cmocka_unit_test(test_what_is_read_from_the_log),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_stateful),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
