/* Goal: every aggregate gives the value that a naive model gives; its stored bytes do not depend on
 * batches, commits, restarts and evictions, nor its value on how records were spread over sources,
 * but where the order of the log is its meaning.
 *
 * Method: random rows of a few groups, three spreads of them; each is run straight and cut up; the
 * models keep all rows of a group, in (source, offset) order, and know no states. */
#include "base/limits.h"
#include "processor/expr_step.h"
#include "processor/numeric.h"
#include "tests/unit/processor/agg_rig.h"

#include <math.h>

#define ROWS_MAX 400

struct row {
    uint32_t key;
    uint32_t source;
    int64_t at; /* seconds */
    bool has_i, has_d, has_s, has_b;
    int64_t i;
    double d;
    bool b;
    char s[12];
};

/* Rows of one group, in (source, offset) order. */
struct group {
    const struct row *rows[ROWS_MAX];
    uint32_t count;
};

typedef void (*model_fn)(const struct group *group, char *out);

#define OUT_BYTES 8192

static void put_double(char *out, double value)
{
    out[expr_format_double(value, out)] = '\0';
}

static void put_int(char *out, int64_t value)
{
    (void)snprintf(out, OUT_BYTES, "%lld", (long long)value);
}

static void put_text(char *out, const char *value)
{
    (void)snprintf(out, OUT_BYTES, "%s", value == NULL ? "null" : value);
}

/* ---- Models. */

static void model_count_if(const struct group *g, char *out)
{
    int64_t n = 0;
    for (uint32_t r = 0; r < g->count; r++) {
        n += g->rows[r]->has_b && g->rows[r]->b;
    }
    put_int(out, n);
}

static void model_bool(const struct group *g, char *out, bool all)
{
    int seen[2] = {0};
    for (uint32_t r = 0; r < g->count; r++) {
        seen[g->rows[r]->b] += g->rows[r]->has_b;
    }
    bool value = all ? seen[0] == 0 : seen[1] > 0;
    put_text(out, seen[0] + seen[1] == 0 ? NULL : value ? "true" : "false");
}

static void model_bool_and(const struct group *g, char *out)
{
    model_bool(g, out, true);
}

static void model_bool_or(const struct group *g, char *out)
{
    model_bool(g, out, false);
}

static void model_first(const struct group *g, char *out)
{
    const struct row *best = NULL;
    for (uint32_t r = 0; r < g->count; r++) {
        const struct row *row = g->rows[r];
        best = row->has_s && (best == NULL || row->at < best->at) ? row : best;
    }
    put_text(out, best == NULL ? NULL : best->s);
}

/* FILTER (WHERE b) */
static void model_last(const struct group *g, char *out)
{
    const struct row *best = NULL;
    for (uint32_t r = 0; r < g->count; r++) {
        const struct row *row = g->rows[r];
        bool counts = row->has_s && row->has_b && row->b;
        best = counts && (best == NULL || row->at >= best->at) ? row : best;
    }
    put_text(out, best == NULL ? NULL : best->s);
}

static void model_min_by(const struct group *g, char *out)
{
    const struct row *best = NULL;
    for (uint32_t r = 0; r < g->count; r++) {
        const struct row *row = g->rows[r];
        best = row->has_d && (best == NULL || row->d < best->d) ? row : best;
    }
    put_text(out, best == NULL || !best->has_s ? NULL : best->s);
}

static void model_max_by(const struct group *g, char *out)
{
    const struct row *best = NULL;
    for (uint32_t r = 0; r < g->count; r++) {
        const struct row *row = g->rows[r];
        best = row->has_s && (best == NULL || strcmp(row->s, best->s) > 0) ? row : best;
    }
    if (best == NULL || !best->has_i) {
        put_text(out, NULL);
    } else {
        put_int(out, best->i);
    }
}

static void model_string_agg(const struct group *g, char *out)
{
    struct buf text = {0};
    bool any = false;
    for (uint32_t r = 0; r < g->count; r++) {
        if (g->rows[r]->has_s) {
            buf_printf(&text, "%s%s", any ? "|" : "", g->rows[r]->s);
            any = true;
        }
    }
    put_text(out, any ? buf_text(&text) : NULL);
    buf_free(&text);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Different texts, sorted. */
static uint32_t different_texts(const struct group *g, const char **texts)
{
    uint32_t n = 0;
    for (uint32_t r = 0; r < g->count; r++) {
        if (g->rows[r]->has_s) {
            texts[n++] = g->rows[r]->s;
        }
    }
    qsort(texts, n, sizeof *texts, compare_strings);
    uint32_t kept = 0;
    for (uint32_t k = 0; k < n; k++) {
        if (kept == 0 || strcmp(texts[kept - 1], texts[k]) != 0) {
            texts[kept++] = texts[k];
        }
    }
    return kept;
}

static void model_string_distinct(const struct group *g, char *out)
{
    const char *texts[ROWS_MAX];
    struct buf text = {0};
    uint32_t n = different_texts(g, texts);
    for (uint32_t k = 0; k < n; k++) {
        buf_printf(&text, "%s%s", k == 0 ? "" : ", ", texts[k]);
    }
    put_text(out, n == 0 ? NULL : buf_text(&text));
    buf_free(&text);
}

static void model_different(const struct group *g, char *out)
{
    const char *texts[ROWS_MAX];
    put_int(out, different_texts(g, texts));
}

static int compare_ints(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static int compare_doubles(const void *a, const void *b)
{
    return expr_compare_double(*(const double *)a, *(const double *)b);
}

static uint32_t sorted_ints(const struct group *g, int64_t *values)
{
    uint32_t n = 0;
    for (uint32_t r = 0; r < g->count; r++) {
        if (g->rows[r]->has_i) {
            values[n++] = g->rows[r]->i;
        }
    }
    qsort(values, n, sizeof *values, compare_ints);
    return n;
}

static uint32_t sorted_doubles(const struct group *g, double *values)
{
    uint32_t n = 0;
    for (uint32_t r = 0; r < g->count; r++) {
        if (g->rows[r]->has_d) {
            values[n++] = g->rows[r]->d;
        }
    }
    qsort(values, n, sizeof *values, compare_doubles);
    return n;
}

static void model_sum_distinct(const struct group *g, char *out)
{
    int64_t values[ROWS_MAX];
    uint32_t n = sorted_ints(g, values);
    int64_t sum = 0;
    for (uint32_t k = 0; k < n; k++) {
        sum += k == 0 || values[k] != values[k - 1] ? values[k] : 0;
    }
    put_int(out, sum);
    if (n == 0) {
        put_text(out, NULL);
    }
}

static double interpolated(const double *values, uint32_t n, double fraction)
{
    double place = fraction * (n - 1);
    double low = values[(uint32_t)floor(place)];
    double high = values[(uint32_t)ceil(place)];
    return low + (place - floor(place)) * (high - low);
}

static void model_cont(const struct group *g, char *out)
{
    double values[ROWS_MAX];
    uint32_t n = sorted_doubles(g, values);
    if (n == 0) {
        put_text(out, NULL);
    } else {
        put_double(out, interpolated(values, n, 0.3) + 0.0);
    }
}

static void model_median(const struct group *g, char *out)
{
    int64_t ints[ROWS_MAX];
    double values[ROWS_MAX];
    uint32_t n = sorted_ints(g, ints);
    for (uint32_t k = 0; k < n; k++) {
        values[k] = (double)ints[k];
    }
    if (n == 0) {
        put_text(out, NULL);
    } else {
        put_double(out, interpolated(values, n, 0.5));
    }
}

static void model_disc(const struct group *g, char *out)
{
    int64_t values[ROWS_MAX];
    uint32_t n = sorted_ints(g, values);
    uint32_t rank = (uint32_t)ceil(0.7 * n);
    if (n == 0) {
        put_text(out, NULL);
    } else {
        put_int(out, values[rank == 0 ? 0 : rank - 1]);
    }
}

static void model_mode(const struct group *g, char *out)
{
    int64_t values[ROWS_MAX];
    uint32_t n = sorted_ints(g, values);
    uint32_t best = 0;
    uint32_t best_count = 0;
    for (uint32_t k = 0, run = 0; k < n; k++) {
        run = k > 0 && values[k] == values[k - 1] ? run + 1 : 1;
        if (run > best_count) {
            best_count = run;
            best = k;
        }
    }
    if (n == 0) {
        put_text(out, NULL);
    } else {
        put_int(out, values[best]);
    }
}

/* Checked to a part in 10^12: the model rounds at each step. */
static void model_var_pop(const struct group *g, char *out)
{
    int64_t values[ROWS_MAX];
    uint32_t n = sorted_ints(g, values);
    long double mean = 0;
    long double sum = 0;
    for (uint32_t k = 0; k < n; k++) {
        mean += (long double)values[k] / n;
    }
    for (uint32_t k = 0; k < n; k++) {
        sum += (values[k] - mean) * (values[k] - mean);
    }
    put_double(out, n == 0 ? 0 : (double)(sum / n));
    if (n == 0) {
        put_text(out, NULL);
    }
}

static void model_stddev(const struct group *g, char *out)
{
    double values[ROWS_MAX];
    uint32_t n = sorted_doubles(g, values);
    long double mean = 0;
    long double sum = 0;
    for (uint32_t k = 0; k < n; k++) {
        mean += (long double)values[k] / n;
    }
    for (uint32_t k = 0; k < n; k++) {
        sum += (values[k] - mean) * (values[k] - mean);
    }
    put_double(out, n < 2 ? 0 : (double)sqrtl(sum / (n - 1)));
    if (n < 2) {
        put_text(out, NULL);
    }
}

/* Checked to 0.8 %. */
static void model_approx(const struct group *g, char *out)
{
    double values[ROWS_MAX];
    uint32_t n = sorted_doubles(g, values);
    if (n == 0) {
        put_text(out, NULL);
    } else {
        put_double(out, values[(uint32_t)ceil(0.9 * n) - 1] + 0.0);
    }
}

static void model_jsonb_agg(const struct group *g, char *out)
{
    struct buf text = {0};
    for (uint32_t r = 0; r < g->count; r++) {
        const struct row *row = g->rows[r];
        buf_append_text(&text, r == 0 ? "[" : ", ");
        if (row->has_i) {
            buf_printf(&text, "%lld", (long long)row->i);
        } else {
            buf_append_text(&text, "null");
        }
    }
    buf_append_text(&text, "]");
    put_text(out, buf_text(&text));
    buf_free(&text);
}

static void model_array_agg(const struct group *g, char *out)
{
    struct buf text = {0};
    for (uint32_t r = 0; r < g->count; r++) {
        const struct row *row = g->rows[r];
        buf_printf(&text, "%s%s", r == 0 ? "{" : ",", row->has_s ? row->s : "NULL");
    }
    buf_append_text(&text, "}");
    put_text(out, buf_text(&text));
    buf_free(&text);
}

/* The most frequent text first, four of them. */
static void model_topk(const struct group *g, char *out)
{
    const char *texts[ROWS_MAX];
    uint32_t counts[ROWS_MAX] = {0};
    uint32_t n = different_texts(g, texts);
    struct buf text = {0};
    for (uint32_t k = 0; k < n; k++) {
        for (uint32_t r = 0; r < g->count; r++) {
            counts[k] += g->rows[r]->has_s && strcmp(g->rows[r]->s, texts[k]) == 0;
        }
    }
    for (uint32_t place = 0; place < 4 && place < n; place++) {
        uint32_t best = 0;
        for (uint32_t k = 1; k < n; k++) {
            best = counts[k] > counts[best] ? k : best;
        }
        buf_printf(&text, "%s%s", place == 0 ? "{" : ",", texts[best]);
        counts[best] = 0;
    }
    buf_append_text(&text, "}");
    put_text(out, n == 0 ? NULL : buf_text(&text));
    buf_free(&text);
}

static const struct {
    const char *sql;
    model_fn model;
    double tolerance; /* relative; 0: the same text */
    bool ordered;     /* depends on the spread */
} cases[] = {
    {"count_if(b)", model_count_if, 0, false},
    {"bool_and(b)", model_bool_and, 0, false},
    {"bool_or(b)", model_bool_or, 0, false},
    {"first(s)", model_first, 0, true},
    {"last(s) FILTER (WHERE b)", model_last, 0, true},
    {"min_by(s, d)", model_min_by, 0, true},
    {"max_by(i, s)", model_max_by, 0, true},
    {"string_agg(s, '|')", model_string_agg, 0, true},
    {"array_agg(s)", model_array_agg, 0, true},
    {"jsonb_agg(i)", model_jsonb_agg, 0, true},
    {"topk(s, 4)", model_topk, 0, false},
    {"string_agg(DISTINCT s, ', ')", model_string_distinct, 0, false},
    {"approx_count_distinct(s)", model_different, 0, false},
    {"count(DISTINCT s)", model_different, 0, false},
    {"sum(DISTINCT i)", model_sum_distinct, 0, false},
    {"percentile_cont(0.3) WITHIN GROUP (ORDER BY d)", model_cont, 0, false},
    {"percentile_disc(0.7) WITHIN GROUP (ORDER BY i)", model_disc, 0, false},
    {"median(i)", model_median, 0, false},
    {"mode() WITHIN GROUP (ORDER BY i)", model_mode, 0, false},
    {"var_pop(i)", model_var_pop, 1e-12, false},
    {"stddev(d)", model_stddev, 1e-12, false},
    {"approx_percentile(d, 0.9)", model_approx, 0.008, false},
};

enum { CASES = array_len(cases), KEYS = 4 };

static struct row random_row(struct prng *prng)
{
    static const double doubles[] = {0.1, 0.25, 1e6, 1e-6, -3.75, 123456.789, 0, -0.0};
    struct row row = {.key = (uint32_t)prng_below(prng, KEYS),
                      .at = 1700000000 + (int64_t)prng_below(prng, 30) * 10,
                      .has_i = prng_below(prng, 6) != 0,
                      .has_d = prng_below(prng, 6) != 0,
                      .has_s = prng_below(prng, 6) != 0,
                      .has_b = prng_below(prng, 6) != 0,
                      .i = (int64_t)prng_below(prng, 40) - 20,
                      .b = prng_below(prng, 2) == 0};
    row.i = prng_below(prng, 20) == 0 ? row.i * 1000000000 : row.i;
    row.d = doubles[prng_below(prng, array_len(doubles))] * (double)(1 + prng_below(prng, 9));
    (void)snprintf(row.s, sizeof row.s, "s%u", (unsigned)prng_below(prng, 50));
    return row;
}

static char *row_json(const struct row *row)
{
    struct buf out = {0};
    buf_printf(&out, "{\"k\":\"%c\",\"at\":%lld", 'a' + row->key, (long long)row->at);
    if (row->has_i) {
        buf_printf(&out, ",\"i\":%lld", (long long)row->i);
    }
    if (row->has_d) {
        buf_printf(&out, ",\"d\":%.17g", row->d);
    }
    if (row->has_s) {
        buf_printf(&out, ",\"s\":\"%s\"", row->s);
    }
    if (row->has_b) {
        buf_printf(&out, ",\"b\":%s", row->b ? "true" : "false");
    }
    buf_append_text(&out, "}");
    char *json = xstrdup(buf_text(&out));
    buf_free(&out);
    return json;
}

static char *definition(void)
{
    struct buf sql = {0};
    buf_append_text(&sql,
                    "CREATE TABLE t (k text, i bigint, d double precision, s text, b boolean, "
                    "at timestamptz) WITH (event_time = 'at', timestamp_unit = 's');\n"
                    "CREATE MATERIALIZED VIEW v AS SELECT ");
    for (uint32_t c = 0; c < CASES; c++) {
        buf_printf(&sql, "%s(%s)::text AS c%u", c == 0 ? "" : ", ", cases[c].sql, c);
    }
    buf_append_text(&sql, " FROM t GROUP BY k;");
    char *text = xstrdup(buf_text(&sql));
    buf_free(&sql);
    return text;
}

static bool agrees(const char *said, const char *expected, double tolerance)
{
    if (strcmp(said, expected) == 0 || tolerance == 0 || strcmp(expected, "null") == 0) {
        return strcmp(said, expected) == 0;
    }
    double a = strtod(said, NULL);
    double b = strtod(expected, NULL);
    return fabs(a - b) <= tolerance * fabs(b) + 1e-300;
}

static void check_group(const struct rig *rig, const struct row *rows, uint32_t count, uint32_t key,
                        char **first_spread)
{
    struct group group = {0};
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        for (uint32_t r = 0; r < count; r++) {
            if (rows[r].key == key && rows[r].source == s) {
                group.rows[group.count++] = &rows[r];
            }
        }
    }
    const char name[2] = {(char)('a' + (char)key), '\0'};
    char *values[CASES] = {0};
    if (!rig_values(rig, name, values, CASES)) {
        assert_int_equal(group.count, 0);
        return;
    }
    for (uint32_t c = 0; c < CASES; c++) {
        char expected[OUT_BYTES];
        cases[c].model(&group, expected);
        if (!agrees(values[c], expected, cases[c].tolerance)) {
            fail_msg("%s: %s, the model says %s", cases[c].sql, values[c], expected);
        }
        if (first_spread[c] == NULL) {
            first_spread[c] = values[c];
            continue;
        }
        if (!cases[c].ordered) {
            assert_string_equal(values[c], first_spread[c]);
        }
        free(values[c]);
    }
}

/* One spread of the rows, straight and cut up. Returns the evictions. */
static uint64_t run_spread(const char *sql, struct row *rows, uint32_t count, struct prng *prng,
                           char *first_spread[KEYS][CASES])
{
    uint32_t sources = 1 + (uint32_t)prng_below(prng, MEM_SOURCES);
    struct rig straight;
    struct rig cut;
    rig_open(&straight, sql);
    rig_open(&cut, sql);
    for (uint32_t r = 0; r < count; r++) {
        rows[r].source = (uint32_t)prng_below(prng, sources);
        rig_add(&straight, rows[r].source, row_json(&rows[r]));
        rig_add(&cut, rows[r].source, row_json(&rows[r]));
    }
    rig_run(&straight, NULL);
    rig_run(&cut, prng);
    mem_assert_same_rows(&straight.store, &cut.store);
    for (uint32_t key = 0; key < KEYS; key++) {
        check_group(&straight, rows, count, key, first_spread[key]);
    }
    uint64_t evictions = cut.evictions;
    rig_close(&straight);
    rig_close(&cut);
    return evictions;
}

static void test_random(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("aggregates"));
    char *sql = definition();
    uint64_t evictions = 0;
    for (int round = 0; round < 60; round++) {
        static struct row rows[ROWS_MAX];
        uint32_t count = 1 + (uint32_t)prng_below(&prng, round % 3 == 0 ? 12 : ROWS_MAX);
        for (uint32_t r = 0; r < count; r++) {
            rows[r] = random_row(&prng);
        }
        char *first_spread[KEYS][CASES] = {{0}};
        for (int spread = 0; spread < 3; spread++) {
            evictions += run_spread(sql, rows, count, &prng, first_spread);
        }
        for (uint32_t key = 0; key < KEYS; key++) {
            for (uint32_t c = 0; c < CASES; c++) {
                free(first_spread[key][c]);
            }
        }
    }
    free(sql);
    assert_true(evictions > 100);
}

/* A text that is too long for a row is a dead record, not a row that cannot be written. */
static void test_long_text(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "CREATE TABLE t (k text, s text); CREATE MATERIALIZED VIEW v AS SELECT k, "
                   "length(max(s))::text AS n, count(*)::text AS c FROM t GROUP BY k;");
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t len = LIMIT_KEPT_TEXT_BYTES + i;
        char *text = xmalloc(len + 1);
        memset(text, 'a', len);
        text[len] = '\0';
        rig_add(&rig, 0, xasprintf("{\"k\":\"a\",\"s\":\"%s\"}", text));
        free(text);
    }
    rig_run(&rig, NULL);
    char *values[3] = {0};
    assert_true(rig_values(&rig, "a", values, 3));
    assert_string_equal(values[1], "1048576");
    assert_string_equal(values[2], "1");
    assert_int_equal(rig.store.dead_count, 1);
    for (int i = 0; i < 3; i++) {
        free(values[i]);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_long_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
