/* Goal: a diff says of every row of two versions what a comparison of all pairs says, for each kind of
 * table; and never compares two cuts. Method: versions of two definitions made by hand over random
 * events (reader_world.h); both are scanned, and each row of one is looked for in the other by its
 * key columns as JSON, quadratically. Distances are counted again from the same rows. KAPPA_SEED
 * repeats a run. */
#include "serve/diff.h"
#include "serve/row_filter.h"
#include "tests/unit/serve/reader_world.h"

#include <math.h>
#include <stdlib.h>

#define INPUT                                                                                      \
    "CREATE TABLE ev (u text, n bigint, x double precision, t timestamptz) WITH (topic='events', " \
    "format='json', event_time='t', watermark='5 s', timestamp_unit='ms');\n"

static const char before[] =
    INPUT "CREATE MATERIALIZED VIEW totals AS SELECT u, count(*) AS c, sum(n) AS s, avg(x) AS a, "
          "max(t) AS newest FROM ev GROUP BY u;\n"
          "CREATE MATERIALIZED VIEW per_minute AS SELECT u, window_end, count(*) AS c "
          "FROM tumble(ev, t, interval '1 minute') GROUP BY u, window_start, window_end;\n"
          "CREATE MATERIALIZED VIEW hops AS SELECT u, window_end, sum(n) AS s "
          "FROM hop(ev, t, interval '1 minute', interval '2 minutes') "
          "GROUP BY u, window_start, window_end;\n"
          "CREATE MATERIALIZED VIEW visits AS SELECT u, window_end, count(*) AS c "
          "FROM session(ev, t, interval '20 seconds') GROUP BY u, window_start, window_end;\n"
          "CREATE MATERIALIZED VIEW raw AS SELECT t, n, x "
          "FROM ev WHERE n > 3;\n"
          "CREATE MATERIALIZED VIEW best AS SELECT u, n, r FROM (SELECT u, n, row_number() OVER "
          "(PARTITION BY u ORDER BY n DESC) AS r FROM ev) AS ranked WHERE r <= 3;\n"
          "CREATE MATERIALIZED VIEW everything AS SELECT count(*) AS c FROM ev;\n"
          "CREATE MATERIALIZED VIEW gone AS SELECT u, count(*) AS c FROM ev GROUP BY u;\n"
          "CREATE MATERIALIZED VIEW other_key AS SELECT u, count(*) AS c FROM ev GROUP BY u;\n";

static const char after[] = INPUT
    "CREATE MATERIALIZED VIEW totals AS SELECT u, count(*) AS c, sum(n + 0.25) AS s, "
    "min(x) AS a, min(t) AS newest, max(n) AS most FROM ev WHERE u <> 'u3' GROUP BY u;\n"
    "CREATE MATERIALIZED VIEW per_minute AS SELECT u, window_end, count(*) AS c "
    "FROM tumble(ev, t, interval '1 minute') WHERE n <> 2 GROUP BY u, window_start, window_end;\n"
    "CREATE MATERIALIZED VIEW hops AS SELECT u, window_end, sum(n) AS s "
    "FROM hop(ev, t, interval '1 minute', interval '2 minutes') WHERE n > 2 "
    "GROUP BY u, window_start, window_end;\n"
    "CREATE MATERIALIZED VIEW visits AS SELECT u, window_end, count(*) AS c "
    "FROM session(ev, t, interval '20 seconds') WHERE n <> 5 "
    "GROUP BY u, window_start, window_end;\n"
    "CREATE MATERIALIZED VIEW raw AS SELECT t, n, "
    "CASE WHEN n = 7 THEN null WHEN n = 8 THEN x + 1 ELSE x END AS x FROM ev WHERE n > 5 OR n = "
    "3;\n"
    "CREATE MATERIALIZED VIEW best AS SELECT u, n, r FROM (SELECT u, n, row_number() OVER "
    "(PARTITION BY u ORDER BY n DESC) AS r FROM ev WHERE n <> 16) AS ranked WHERE r <= 4;\n"
    "CREATE MATERIALIZED VIEW everything AS SELECT count(*) AS c FROM ev;\n"
    "CREATE MATERIALIZED VIEW other_key AS SELECT u, n, count(*) AS c FROM ev GROUP BY u, n;\n"
    "CREATE MATERIALIZED VIEW new AS SELECT u, count(*) AS c FROM ev GROUP BY u;\n";

static const struct {
    const char *name;
    const char *keys[3];
} tables[] = {
    {"totals", {"u"}},
    {"per_minute", {"u", "window_end"}},
    {"hops", {"u", "window_end"}},
    {"visits", {"u", "window_end"}},
    {"raw", {"t"}},
    {"best", {"u", "r"}},
    {"everything", {NULL}},
};

/* Of the comparisons that follow. */
static uint64_t exact_rows = DIFF_EXACT_ROWS;

/* ---- the oracle */

static bool collect(void *ctx, const struct plan_view *view, const struct kappa_value *values)
{
    assert_int_equal(json_array_append_new(ctx, reader_row_json(view, values)), 0);
    return true;
}

static json_t *scan(struct reader *reader, const char *table, uint32_t version)
{
    json_t *rows = json_array();
    assert_ok(reader_scan(reader, table, version, -1, collect, rows, NULL, &fault));
    return rows;
}

static bool same_figure(const json_t *a, const json_t *b)
{
    char *text_a = json_print(a);
    char *text_b = json_print(b);
    bool same = strcmp(text_a, text_b) == 0 || ((json_is_figure(a) && json_is_figure(b)) &&
                                                strtod(text_a, NULL) == strtod(text_b, NULL));
    free(text_a);
    free(text_b);
    return same;
}

static json_t *find_row(const json_t *rows, const json_t *like, const char *const *keys)
{
    size_t i;
    json_t *row;
    json_array_foreach (rows, i, row) {
        bool same = true;
        for (size_t k = 0; k < 3 && keys[k] != NULL; k++) {
            same =
                same && same_figure(json_object_get(row, keys[k]), json_object_get(like, keys[k]));
        }
        if (same) {
            return row;
        }
    }
    return NULL;
}

/* Of the comparisons that follow: only rows with this column above `where_above` in one version. */
static const char *where_column;
static int64_t where_above;

static bool is_chosen(const json_t *a, const json_t *b)
{
    return where_column == NULL || json_int(a, where_column, INT64_MIN) > where_above ||
           json_int(b, where_column, INT64_MIN) > where_above;
}

static bool same_row(const json_t *a, const json_t *b)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)a, name, value) {
        const json_t *other = json_object_get(b, name);
        if (other != NULL && !same_figure(value, other)) {
            return false;
        }
    }
    return true;
}

static const json_t *named(const json_t *list, const char *member, const char *name)
{
    size_t i;
    const json_t *item;
    json_array_foreach (list, i, item) {
        if (strcmp(json_text(item, member, ""), name) == 0) {
            return item;
        }
    }
    return NULL;
}

static double figure(const json_t *value)
{
    char *text = json_print(value);
    double d = strtod(text, NULL);
    free(text);
    return d;
}

/* How many differ in a column of numbers, and how far. */
static void check_column(const json_t *column, const json_t *rows_a, const json_t *rows_b,
                         const char *const *keys)
{
    const char *name = json_text(column, "name", "");
    int64_t differ = 0;
    int64_t nulls = 0;
    double sum = 0;
    double most = 0;
    size_t i;
    json_t *a;
    json_array_foreach (rows_a, i, a) {
        const json_t *b = find_row(rows_b, a, keys);
        const json_t *x = json_object_get(a, name);
        const json_t *y = json_object_get(b, name);
        if (b == NULL || same_figure(x, y) || !is_chosen(a, b)) {
            continue;
        }
        differ++;
        if (json_is_null(x) || json_is_null(y)) {
            nulls++;
        } else if (json_is_figure(x)) {
            double far = fabs(figure(y) - figure(x));
            sum += far;
            most = far > most ? far : most;
        }
    }
    assert_int_equal(json_int(column, "differ", -1), differ);
    assert_int_equal(json_int(column, "nulls", -1), nulls);
    if (json_object_get(column, "mean") != NULL && json_text(column, "unit", NULL) == NULL) {
        double mean = sum / (double)(differ - nulls);
        assert_true(fabs(json_number(column, "mean", -1) - mean) <= 1e-9 * (1 + mean));
        assert_true(fabs(json_number(column, "max", -1) - most) <= 1e-9 * (1 + most));
        assert_true(json_number(column, "p50", -1) <= json_number(column, "p99", -1));
        assert_true(json_number(column, "p99", -1) <= json_number(column, "max", -1));
    }
}

/* Exactly, or that it lies between the bounds. */
static void check_equal(const json_t *found, int64_t equal)
{
    if (exact_rows > 0) {
        assert_int_equal(json_int(found, "equal", -1), equal);
        assert_null(json_object_get(found, "equal_most"));
        return;
    }
    int64_t least = json_int(found, "equal", -1);
    assert_in_range(equal, least, json_int(found, "equal_most", least));
}

static void check_table(struct reader *reader, const json_t *found, const char *const *keys,
                        uint32_t a_version, uint32_t b_version)
{
    const char *table = json_text(found, "table", "");
    json_t *rows_a = scan(reader, table, a_version);
    json_t *rows_b = scan(reader, table, b_version);
    int64_t counts[4] = {0}; /* only a, only b, changed, equal */
    size_t i;
    json_t *row;
    json_array_foreach (rows_a, i, row) {
        const json_t *other = find_row(rows_b, row, keys);
        if (!is_chosen(row, other)) {
            continue;
        }
        counts[other == NULL ? 0 : same_row(row, other) ? 3 : 2]++;
    }
    json_array_foreach (rows_b, i, row) {
        counts[1] += find_row(rows_a, row, keys) == NULL && is_chosen(NULL, row) ? 1 : 0;
    }
    print_message("%s: %lld %lld %lld %lld\n", table, (long long)counts[0], (long long)counts[1],
                  (long long)counts[2], (long long)counts[3]);
    if (json_bool(found, "identical", false)) {
        assert_int_equal(counts[0] + counts[1] + counts[2], 0);
        json_decref(rows_a);
        json_decref(rows_b);
        return;
    }
    assert_int_equal(json_int(found, "only_in_a", -1), counts[0]);
    assert_int_equal(json_int(found, "only_in_b", -1), counts[1]);
    assert_int_equal(json_int(found, "changed", -1), counts[2]);
    check_equal(found, counts[3]);
    const json_t *samples = json_object_get(found, "samples");
    assert_int_equal(json_array_size(json_object_get(samples, "changed")),
                     counts[2] < 5 ? counts[2] : 5);
    json_array_foreach (json_object_get(samples, "changed"), i, row) {
        const json_t *a = find_row(rows_a, json_object_get(row, "a"), keys);
        assert_true(a != NULL && json_equal(a, json_object_get(row, "a")) != 0);
        assert_ptr_not_equal(find_row(rows_b, a, keys), NULL);
        assert_false(same_row(a, find_row(rows_b, a, keys)));
        assert_true(json_array_size(json_object_get(row, "columns")) > 0);
    }
    json_array_foreach (json_object_get(samples, "only_in_b"), i, row) {
        assert_ptr_equal(find_row(rows_a, row, keys), NULL);
    }
    const json_t *column;
    json_array_foreach (json_object_get(found, "columns"), i, column) {
        if (strcmp(json_text(column, "in", ""), "both") == 0) {
            check_column(column, rows_a, rows_b, keys);
        }
    }
    json_decref(rows_a);
    json_decref(rows_b);
}

/* ---- tests */

static struct reader *two_versions(struct world *world, uint64_t seed, uint32_t limit_a,
                                   uint32_t limit_b, const char *text_b)
{
    world_open(world, seed);
    make_version_of(world, 1, limit_a, before);
    make_version_of(world, 2, limit_b, text_b);
    struct reader *reader = NULL;
    serve(world, 1, 1);
    assert_ok(reader_open(world->dir, &reader, &fault));
    return reader;
}

static json_t *compare(struct reader *reader, uint32_t a, uint32_t b, const char *table)
{
    char where[40];
    (void)snprintf(where, sizeof where, "%s > %lld", where_column, (long long)where_above);
    const struct diff_options options = {.table = table,
                                         .where = where_column == NULL ? NULL : where,
                                         .limit = 5,
                                         .exact_rows = exact_rows};
    struct diff *diff = NULL;
    json_t *answer = NULL;
    assert_ok(diff_open(reader, "p", a, b, &options, &diff, &fault));
    assert_ok(diff_snapshot(diff, &fault));
    assert_ok(diff_run(diff, &answer, &fault));
    diff_close(diff);
    return answer;
}

static void test_every_row(void **state)
{
    (void)state;
    struct world world;
    struct reader *reader = two_versions(&world, unit_seed("every_row"), EVENTS, EVENTS, after);
    json_t *answer = compare(reader, 1, 2, NULL);
    const json_t *list = json_object_get(answer, "tables");
    assert_false(json_bool(answer, "same", true));
    for (size_t i = 0; i < array_len(tables); i++) {
        const json_t *found = named(list, "table", tables[i].name);
        assert_ptr_not_equal(found, NULL);
        check_table(reader, found, tables[i].keys, 1, 2);
    }
    assert_string_equal(json_text(named(list, "table", "gone"), "in", ""), "a");
    assert_string_equal(json_text(named(list, "table", "new"), "in", ""), "b");
    assert_ptr_not_equal(
        strstr(json_text(named(list, "table", "other_key"), "why_not", ""), "(u text, n bigint)"),
        NULL);
    const json_t *columns = json_object_get(named(list, "table", "totals"), "columns");
    assert_string_equal(json_text(named(columns, "name", "most"), "in", ""), "b");
    assert_string_equal(json_text(named(columns, "name", "s"), "type_b", ""), "numeric");
    assert_string_equal(json_text(named(columns, "name", "newest"), "unit", ""), "seconds");
    int64_t raw_only_in_b = json_int(named(list, "table", "raw"), "only_in_b", 0);
    assert_true(raw_only_in_b > 0);
    json_decref(answer);
    /* One table alone; the other way round. */
    answer = compare(reader, 2, 1, "raw");
    assert_int_equal(json_array_size(json_object_get(answer, "tables")), 1);
    const json_t *back = json_array_get(json_object_get(answer, "tables"), 0);
    assert_int_equal(json_int(back, "only_in_a", -1), raw_only_in_b);
    json_decref(answer);
    reader_close(reader);
    world_close(&world);
}

/* The same definition on another number of events each: no scan where the bytes are the same. */
static void test_identical(void **state)
{
    (void)state;
    struct world world;
    struct reader *reader = two_versions(&world, unit_seed("identical"), EVENTS, EVENTS, before);
    json_t *answer = compare(reader, 1, 2, NULL);
    size_t i;
    const json_t *table;
    assert_true(json_bool(answer, "same", false));
    json_array_foreach (json_object_get(answer, "tables"), i, table) {
        assert_true(json_bool(table, "identical", false));
    }
    assert_int_equal(i, 9);
    json_decref(answer);
    reader_close(reader);
    world_close(&world);
}

/* A table whose rows another definition keeps and reads in the same way is not scanned when its bytes are
 * the same; one whose output is computed otherwise from the same bytes is. */
static void test_alike(void **state)
{
    (void)state;
    struct world world;
    static const char one[] = INPUT
        "CREATE MATERIALIZED VIEW kept AS SELECT u, sum(n) AS s FROM ev WHERE n < 100 GROUP BY u;\n"
        "CREATE MATERIALIZED VIEW shown AS SELECT u, sum(n) + 1 AS s FROM ev GROUP BY u;\n"
        "CREATE MATERIALIZED VIEW named AS SELECT u, count(*) AS c FROM ev GROUP BY u;\n"
        "CREATE MATERIALIZED VIEW left_out AS SELECT u, count(*) AS c FROM ev GROUP BY u "
        "HAVING count(*) > 1;\n";
    static const char two[] =
        INPUT "CREATE MATERIALIZED VIEW kept AS SELECT u, sum(n) AS s FROM ev WHERE n > -100 GROUP "
              "BY u;\n"
              "CREATE MATERIALIZED VIEW shown AS SELECT u, sum(n) + 2 AS s FROM ev GROUP BY u;\n"
              "CREATE MATERIALIZED VIEW named AS SELECT u, count(*) AS d FROM ev GROUP BY u;\n"
              "CREATE MATERIALIZED VIEW left_out AS SELECT u, count(*) AS c FROM ev GROUP BY u "
              "HAVING count(*) > 100000;\n";
    world_open(&world, unit_seed("alike"));
    make_version_of(&world, 1, EVENTS, one);
    make_version_of(&world, 2, EVENTS, two);
    serve(&world, 1, 1);
    struct reader *reader = NULL;
    assert_ok(reader_open(world.dir, &reader, &fault));
    json_t *answer = compare(reader, 1, 2, NULL);
    const json_t *list = json_object_get(answer, "tables");
    assert_true(json_bool(named(list, "table", "kept"), "identical", false));
    const json_t *shown = named(list, "table", "shown");
    assert_int_equal(json_int(shown, "changed", -1), USERS);
    const json_t *columns = json_object_get(named(list, "table", "named"), "columns");
    assert_string_equal(json_text(named(columns, "name", "d"), "in", ""), "b");
    assert_int_equal(json_int(named(list, "table", "left_out"), "only_in_a", -1), USERS);
    json_decref(answer);
    reader_close(reader);
    world_close(&world);
}

/* Tables that both keep alike, with everything that decides how they are compared and counted; the
 * filter and one more column, which makes them unlike, are put in. */
static const char filtered[] = INPUT
    "CREATE MATERIALIZED VIEW totals AS SELECT u, count(*) AS c, sum(n) AS s# FROM ev WHERE "
    "@ "
    "GROUP BY u;\n"
    "CREATE MATERIALIZED VIEW per_minute AS SELECT u, window_end, count(*) AS c, sum(n) AS s# "
    "FROM tumble(ev, t, interval '1 minute') WHERE @ GROUP BY u, window_start, window_end;\n"
    "CREATE MATERIALIZED VIEW hops AS SELECT u, window_end, sum(n) AS s# "
    "FROM hop(ev, t, interval '1 minute', interval '2 minutes') WHERE @ "
    "GROUP BY u, window_start, window_end;\n"
    "CREATE MATERIALIZED VIEW visits AS SELECT u, window_end, count(*) AS c# "
    "FROM session(ev, t, interval '20 seconds') WHERE @ GROUP BY u, window_start, window_end;\n"
    "CREATE MATERIALIZED VIEW raw AS SELECT t, n, x# FROM ev WHERE @;\n"
    "CREATE MATERIALIZED VIEW pairs AS SELECT u, n, count(*) AS c# FROM ev WHERE @ "
    "GROUP BY u, n;\n"
    "CREATE MATERIALIZED VIEW few AS SELECT u, n, count(*) AS c# FROM ev WHERE @ "
    "GROUP BY u, n HAVING count(*) > 2;\n"
    "CREATE MATERIALIZED VIEW best AS SELECT u, n, r# FROM (SELECT u, n, row_number() OVER "
    "(PARTITION BY u ORDER BY n DESC) AS r FROM ev WHERE @) AS ranked WHERE r <= 3;\n"
    "CREATE MATERIALIZED VIEW everything AS SELECT count(*) AS c# FROM ev WHERE @;\n";

static const struct {
    const char *name;
    const char *keys[3];
    const char *where; /* a column that a condition chooses by */
} filtered_tables[] = {
    {"totals", {"u"}, "c"},
    {"per_minute", {"u", "window_end"}, "c"},
    {"hops", {"u", "window_end"}, "s"},
    {"raw", {"t"}, "n"},
    {"visits", {"u", "window_end"}, "c"},
    {"pairs", {"u", "n"}, "c"},
    {"few", {"u", "n"}, "c"},
    {"best", {"u", "r"}, "n"},
    {"everything", {NULL}, "c"},
};

/* # is one more column, @ the filter. */
static char *filled(const char *column, const char *filter)
{
    struct buf text = {0};
    for (const char *at = filtered; *at != '\0'; at++) {
        if (*at == '#' || *at == '@') {
            buf_append_text(&text, *at == '#' ? column : filter);
        } else {
            buf_append(&text, at, 1);
        }
    }
    char *copy = xstrdup(buf_text(&text));
    buf_free(&text);
    return copy;
}

/* The same counts, columns and samples, but for the column that only one of them has. */
static void check_same(const json_t *of_leaves, const json_t *of_scan)
{
    static const char *const counts[] = {"only_in_a", "only_in_b", "changed"};
    if (json_bool(of_leaves, "identical", false)) {
        for (size_t i = 0; i < array_len(counts); i++) {
            assert_int_equal(json_int(of_scan, counts[i], -1), 0);
        }
        return;
    }
    for (size_t i = 0; i < array_len(counts); i++) {
        assert_int_equal(json_int(of_leaves, counts[i], -1), json_int(of_scan, counts[i], -2));
    }
    check_equal(of_leaves, json_int(of_scan, "equal", -1));
    assert_null(json_object_get(of_scan, "equal_most"));
    const json_t *columns = json_object_get(of_scan, "columns");
    size_t at;
    const json_t *column;
    json_array_foreach (json_object_get(of_leaves, "columns"), at, column) {
        assert_true(json_equal(column, named(columns, "name", json_text(column, "name", ""))));
    }
    static const char *const kinds[] = {"changed", "only_in_a", "only_in_b"};
    for (size_t i = 0; i < array_len(kinds); i++) {
        const json_t *a = json_object_get(json_object_get(of_leaves, "samples"), kinds[i]);
        const json_t *b = json_object_get(json_object_get(of_scan, "samples"), kinds[i]);
        const json_t *row;
        assert_int_equal(json_array_size(a), json_array_size(b));
        json_array_foreach (a, at, row) {
            json_t *other = json_array_get(b, at);
            (void)json_object_del(i == 0 ? json_object_get(other, "b") : other, "extra");
            assert_true(json_equal(row, other));
        }
    }
}

/* A condition leaves out the same rows, whether leaves or all rows are read, and which is a or b. */
static void check_where(struct prng *prng, struct reader *reader)
{
    for (uint32_t round = 0; round < 4; round++) {
        uint32_t other = 2 + round / 2;
        uint32_t a = round % 2 == 0 ? 1 : other;
        uint32_t b = round % 2 == 0 ? other : 1;
        for (size_t i = 0; i < array_len(filtered_tables); i++) {
            const char *name = filtered_tables[i].name;
            where_column = filtered_tables[i].where;
            where_above = (int64_t)prng_below(prng, prng_below(prng, 2) ? 40 : 6);
            exact_rows = prng_below(prng, 2) ? UINT64_MAX : 0;
            json_t *answer = compare(reader, a, b, name);
            const json_t *found = json_array_get(json_object_get(answer, "tables"), 0);
            check_table(reader, found, filtered_tables[i].keys, a, b);
            json_decref(answer);
        }
    }
    where_column = NULL;
}

/* What a comparison by the bytes of leaves says is what a scan of both says, and what a comparison of all
 * pairs says; whatever differs, however large the leaves are. */
static void test_leaves_and_scan(void **state)
{
    (void)state;
    struct prng prng;
    uint64_t seed = unit_seed("leaves_and_scan");
    prng_init(&prng, seed);
    for (int round = 0; round < 6; round++) {
        struct world world;
        world_open(&world, prng_next(&prng));
        world.leaf_bits = (uint32_t)prng_below(&prng, 4);
        /* Of every n-th event, or of those behind some moment, or of all: bits of the time decide. */
        uint64_t some = prng_below(&prng, EVENTS);
        static const char *const filters[] = {"n <> 4", "u <> 'u3'", "x < 120", "n < 1000"};
        char *filter =
            round % 2 == 0
                ? xasprintf("%s", filters[prng_below(&prng, array_len(filters))])
                : xasprintf("t < timestamptz '1969-12-31 23:55:00Z' + %llu * interval '1 "
                            "second' OR n > %llu",
                            (unsigned long long)some, (unsigned long long)prng_below(&prng, 18));
        char *texts[3] = {filled("", "n > -1000"), filled("", filter),
                          filled(", 1 AS extra", filter)};
        for (uint32_t i = 0; i < 3; i++) {
            make_version_of(&world, i + 1, EVENTS, texts[i]);
        }
        serve(&world, 1, 1);
        struct reader *reader = NULL;
        assert_ok(reader_open(world.dir, &reader, &fault));
        print_message("round %d: %u bits, %s\n", round, world.leaf_bits, filter);
        for (int exact = 0; exact < 2; exact++) {
            exact_rows = exact ? UINT64_MAX : 0;
            json_t *by_leaves = compare(reader, 1, 2, NULL);
            json_t *by_scan = compare(reader, 1, 3, NULL);
            for (size_t i = 0; i < array_len(filtered_tables); i++) {
                const char *name = filtered_tables[i].name;
                const json_t *found = named(json_object_get(by_leaves, "tables"), "table", name);
                check_same(found, named(json_object_get(by_scan, "tables"), "table", name));
                check_table(reader, found, filtered_tables[i].keys, 1, 2);
            }
            json_decref(by_leaves);
            json_decref(by_scan);
        }
        check_where(&prng, reader);
        exact_rows = DIFF_EXACT_ROWS;
        for (uint32_t i = 0; i < 3; i++) {
            free(texts[i]);
        }
        free(filter);
        reader_close(reader);
        world_close(&world);
    }
}

/* Conditions over columns of every type. */
static void test_conditions(void **state)
{
    (void)state;
    static const char text[] =
        "CREATE TABLE ev (b boolean, \"an \"\"odd\"\" name\" smallint, i integer, l bigint, d "
        "numeric(9,2), "
        "r real, x double precision, t text, y bytea, u uuid, j jsonb, da date, ts timestamp, "
        "tz timestamptz, iv interval, a integer[], ta text[]) WITH (topic='ev', format='json');\n"
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM ev;\n";
    static const char *const good[] = {
        "b IS NULL AND i IS NULL AND l IS NULL AND d IS NULL AND r IS NULL AND x IS NULL",
        "\"an \"\"odd\"\" name\" IS NULL AND t IS NULL AND y IS NULL AND u IS NULL AND j IS NULL",
        "da IS NULL AND ts IS NULL AND tz IS NULL AND iv IS NULL AND a IS NULL AND ta IS NULL",
        "true",
        "coalesce(t, 'x') = 'x' -- a comment",
    };
    static const char *const refused[][2] = {
        {"no = 1", "where:1:1: column \"no\" does not exist"},
        {"i >\n  t", "where:"},
        {"i + 1", "must be type boolean"},
        {"count(*) > 1", "aggregate functions are not allowed"},
        {"record_offset() > 1", "one condition over the columns"},
        {"i = 1); CREATE MATERIALIZED VIEW w AS SELECT 1 AS x FROM this WHERE (true",
         "one condition over the columns"},
        {" \n", "is empty"},
    };
    struct plan *plan = NULL;
    struct row_filter *filter = NULL;
    assert_ok(plan_compile("p.sql", text, sizeof text - 1, &plan, &fault));
    const struct plan_view *view = &plan->views[0];
    struct kappa_value values[17];
    assert_int_equal(view->output_count, array_len(values));
    for (uint32_t i = 0; i < view->output_count; i++) {
        values[i] = (struct kappa_value){.type = view->outputs[i].type, .is_null = true};
    }
    for (size_t i = 0; i < array_len(good); i++) {
        assert_ok(row_filter_open(view, good[i], &filter, &fault));
        assert_int_equal(row_filter_holds(filter, values, &fault), 1);
        row_filter_close(filter);
    }
    for (size_t i = 0; i < array_len(refused); i++) {
        assert_int_equal(row_filter_open(view, refused[i][0], &filter, &fault), -KE_SQL);
        assert_non_null(strstr(fault.text, refused[i][1]));
    }
    values[2] = (struct kappa_value){.type = KAPPA_TYPE_INTEGER, .i = 7};
    assert_ok(row_filter_open(view, "i > 6 AND 1 / (i - 7) > 0", &filter, &fault));
    assert_int_equal(row_filter_holds(filter, values, &fault), -KE_REFUSED);
    assert_string_equal(fault.text, "where: division by zero");
    values[2].i = 6;
    assert_int_equal(row_filter_holds(filter, values, &fault), 0);
    values[2].i = 8;
    assert_int_equal(row_filter_holds(filter, values, &fault), 1);
    values[2].is_null = true;
    assert_int_equal(row_filter_holds(filter, values, &fault), 0);
    row_filter_close(filter);
    plan_free(plan);
}

static void test_refused(void **state)
{
    (void)state;
    struct world world;
    struct reader *reader = two_versions(&world, unit_seed("refused"), EVENTS, EVENTS / 2, after);
    struct diff_options options = {.limit = 5};
    struct diff *diff = NULL;
    assert_ok(diff_open(reader, "p", 1, 2, &options, &diff, &fault));
    assert_int_equal(diff_snapshot(diff, &fault), -KE_REFUSED);
    assert_ptr_not_equal(strstr(fault.text, "not at one cut: v1 stands at offset"), NULL);
    diff_close(diff);
    assert_int_equal(diff_open(reader, "p", 1, 7, &options, &diff, &fault), -KE_NOT_FOUND);
    options.table = "nothing";
    assert_int_equal(diff_open(reader, "p", 1, 2, &options, &diff, &fault), -KE_NOT_FOUND);
    options.table = "totals";
    options.where = "c > 3 AND most > 2"; /* v1 has no such column */
    assert_int_equal(diff_open(reader, "p", 1, 2, &options, &diff, &fault), -KE_SQL);
    assert_non_null(strstr(fault.text, "table totals of v1: where:1:11: column \"most\""));
    options.where = NULL;
    options.table = NULL;
    /* Stopped: it ends with CLOSED. */
    make_version_of(&world, 3, EVENTS, after);
    json_t *answer = NULL;
    assert_ok(diff_open(reader, "p", 1, 3, &options, &diff, &fault));
    assert_ok(diff_snapshot(diff, &fault));
    diff_stop(diff);
    int rc = diff_run(diff, &answer, &fault);
    assert_true(rc == 0 || rc == -KE_CLOSED); /* small tables end before they look */
    json_decref(answer);
    diff_close(diff);
    reader_close(reader);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row),  cmocka_unit_test(test_identical),
        cmocka_unit_test(test_alike),      cmocka_unit_test(test_leaves_and_scan),
        cmocka_unit_test(test_conditions), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
