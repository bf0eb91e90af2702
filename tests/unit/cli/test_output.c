/* Goal: numbers, tables and the status read well, fit 80 columns, and cannot steer a terminal; a wait
 * ends when it should. Method: objects in, text out. */
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/status_text.h"
#include "cli/waiting.h"

#include "base/prng.h"
#include "tests/unit/unit.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static void test_numbers(void **state)
{
    (void)state;
    char text[OUT_NUMBER_LEN];

    static const struct {
        int64_t value;
        const char *text;
    } counts[] = {{0, "0"},
                  {999, "999"},
                  {1000, "1,000"},
                  {-1234567, "-1,234,567"},
                  {INT64_MAX, "9,223,372,036,854,775,807"},
                  {INT64_MIN, "-9,223,372,036,854,775,808"}};

    for (size_t i = 0; i < array_len(counts); i++) {
        assert_string_equal(out_count(counts[i].value, text), counts[i].text);
    }

    static const struct {
        double value;
        const char *text;
    } shorts[] = {{0, "0"},           {7, "7"},          {999, "999"},
                  {1000, "1.00 k"},   {12345, "12.3 k"}, {123456, "123 k"},
                  {999999, "1.00 M"}, {1.5e9, "1.50 G"}, {2e15, "2000 T"}};

    for (size_t i = 0; i < array_len(shorts); i++) {
        assert_string_equal(out_short(shorts[i].value, text), shorts[i].text);
    }
    assert_string_equal(out_bytes(1536, text), "1.50 KiB");

    static const struct {
        double seconds;
        const char *text;
    } briefs[] = {{0, "0ms"},       {0.85, "850ms"}, {0.9999, "1.0s"}, {59.96, "0m59s"},
                  {12.34, "12.3s"}, {245, "4m05s"},  {7800, "2h10m"},  {273600, "3d04h"},
                  {1e9, "11574d"},  {-1, "-"}};

    for (size_t i = 0; i < array_len(briefs); i++) {
        json_t *seconds = json_real(briefs[i].seconds);
        assert_string_equal(out_brief(seconds, text), briefs[i].text);
        assert_true(strlen(text) <= 6);
        json_decref(seconds);
    }
    assert_string_equal(out_brief(NULL, text), "-");
    assert_string_equal(out_seconds(json_null(), text), "-");
}

static void test_bars(void **state)
{
    (void)state;

    static const struct {
        double ratio;
        const char *bar;
    } cases[] = {{-1, "[----------]"},    {0, "[----------]"}, {0.5, "[#####-----]"},
                 {0.999, "[#########-]"}, {1, "[##########]"}, {7, "[##########]"}};

    for (size_t i = 0; i < array_len(cases); i++) {
        struct buf out = {0};
        out_bar(&out, cases[i].ratio, 12);
        assert_string_equal(buf_text(&out), cases[i].bar);
        buf_free(&out);
    }
}

/* Whatever comes in, no control character goes out. */
static void test_nothing_steers_the_terminal(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("safe"));
    struct buf out = {0};
    for (int i = 0; i < 20000; i++) {
        char text[16];
        size_t len = prng_below(&prng, sizeof text);
        for (size_t k = 0; k < len; k++) {
            text[k] = (char)(prng_below(&prng, 3) == 0 ? 0xC2 : prng_below(&prng, 256));
        }
        buf_reset(&out);
        out_safe(&out, text, len);
        for (size_t k = 0; k < out.len; k++) {
            assert_true(out.data[k] >= 0x20 && out.data[k] != 0x7F);
            if (out.data[k] == 0xC2 && k + 1 < out.len) {
                assert_true(out.data[k + 1] >= 0xA0 || out.data[k + 1] < 0x80);
            }
        }
    }
    buf_reset(&out);
    out_safe(&out, "a\x1b[31m\n\xc3\xa9", 9);
    assert_string_equal(buf_text(&out), "a\\x1b[31m\\n\xc3\xa9");
    buf_free(&out);
}

static void test_table(void **state)
{
    (void)state;
    struct out_table table;
    struct buf out = {0};
    out_table_begin(&table, 3, 1U << 1);
    table.indent = 1;
    const char *const cells[] = {"NAME",         "N", "REST", "\xc3\xa9\xc3\xa9", "12345", "",
                                 "\xe6\x97\xa5", "7", NULL};
    for (size_t i = 0; i < array_len(cells); i++) {
        out_table_cell(&table, cells[i]);
    }
    out_table_end(&table, false, &out);
    assert_string_equal(
        buf_text(&out),
        " NAME      N  REST\n \xc3\xa9\xc3\xa9    12345\n \xe6\x97\xa5        7  -\n");
    buf_free(&out);
}

/* One long cell does not move all others to the right. */
static void test_wide_cell(void **state)
{
    (void)state;
    struct out_table table;
    struct buf out = {0};
    char wide[80];
    char want[200];
    memset(wide, 'w', sizeof wide);
    wide[61] = '\0';
    out_table_begin(&table, 2, 0);
    const char *const cells[] = {"K", "V", wide, "1", "abc", "2"};
    for (size_t i = 0; i < array_len(cells); i++) {
        out_table_cell(&table, cells[i]);
    }
    out_table_end(&table, false, &out);
    (void)snprintf(want, sizeof want, "K    V\n%s  1\nabc  2\n", wide);
    assert_string_equal(buf_text(&out), want);
    buf_free(&out);
}

/* ---- The status ---- */

static json_t *source_make(struct prng *prng, const char *topic, int partition, bool large)
{
    int64_t end = large ? INT64_C(60000000000) : (int64_t)prng_below(prng, 1000);
    int64_t next = large ? INT64_C(59000000000) : (int64_t)prng_below(prng, (uint64_t)end + 1);
    json_t *seconds = prng_below(prng, 4) == 0 ? json_null() : json_real(prng_unit(prng) * 1e6);
    return json_pack("{s:s,s:i,s:i,s:I,s:I,s:I,s:o}", "topic", topic, "partition", partition,
                     "start", 0, "next", (json_int_t)next, "end", (json_int_t)end, "lag",
                     (json_int_t)(end - next), "lag_seconds", seconds);
}

static json_t *version_make(struct prng *prng, int number, const char *state, int partitions,
                            bool large)
{
    static const char *const topics[] = {"t", "user-events",
                                         "a-very-long-name-of-a-topic-that-does-not-fit-anywhere"};
    json_t *sources = json_array();
    for (int p = 0; p < partitions; p++) {
        (void)json_array_append_new(
            sources, source_make(prng, topics[prng_below(prng, array_len(topics))], p, large));
    }
    json_t *version = json_pack(
        "{s:i,s:s,s:o,s:I,s:f,s:f,s:f,s:f,s:I,s:I,s:b,s:{s:s,s:s},s:n}", "version", number, "state",
        state, "sources", sources, "lag", (json_int_t)(large ? INT64_C(59999999999) : 7),
        "lag_seconds", large ? 999999.0 : 0.5, "rate", 1234567.8, "eta_seconds", 3599.0, "progress",
        prng_unit(prng), "records", (json_int_t)INT64_C(12345678901), "dead", (json_int_t)123456,
        "barred", 1, "error", "message",
        "the log no longer holds the range: partition 3 of topic user-events begins at 4711, the "
        "version is at 17",
        "hint", "deploy it again with --from beginning, and keep the topic for longer", "trouble");
    assert_non_null(version);
    return version;
}

static void lines_fit(const char *text, size_t columns)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char *line = xstrndup(text, len);
        if (out_width(line) > columns) {
            fail_msg("%zu columns: %s", out_width(line), line);
        }
        free(line);
        text += len + (text[len] == '\n');
    }
}

static void test_status_fits(void **state)
{
    (void)state;
    static const char *const states[] = {"planned", "replaying", "catching_up", "ready",
                                         "serving", "standby",   "retired",     "paused",
                                         "failed",  "aborted"};
    struct prng prng;
    prng_init(&prng, unit_seed("status"));
    for (int i = 0; i < 300; i++) {
        json_t *versions = json_array();
        for (uint64_t v = prng_below(&prng, 4); v > 0; v--) {
            (void)json_array_append_new(
                versions, version_make(&prng, (int)v, states[prng_below(&prng, array_len(states))],
                                       (int)prng_below(&prng, 40), prng_below(&prng, 2) == 0));
        }
        json_t *status =
            json_pack("{s:[{s:s,s:i,s:i,s:O,s:n,s:{s:s}}]}", "processors", "name", "features",
                      "serving", 1, "epoch", 7, "versions", versions, "swap", "last_swap_error",
                      "message", "the hold ran out after 2 s: v2 stood still at partition 3");
        struct buf out = {0};
        struct status_view view = {.whole = i % 2 == 0, .watched = i % 3 == 0, .before = status};
        status_text(&out, status, &view);
        lines_fit(buf_text(&out), 80);
        assert_non_null(strstr(buf_text(&out), "features"));
        const json_t *first = json_array_get(versions, 0);
        if (first != NULL) {
            uint32_t lines = 0;
            buf_reset(&out);
            progress_text(&out, "features", first, NULL, &lines);
            lines_fit(buf_text(&out), 80);
            assert_true(lines <= 12);
        }
        buf_free(&out);
        json_decref(status);
        json_decref(versions);
    }
}

static json_t *worked(int pid, double fetch, double commit, double limited, double bytes, int next)
{
    return json_pack("{s:i,s:i,s:{s:i,s:f,s:{s:f,s:f,s:f}},s:[{s:s,s:i,s:i,s:i,s:i,s:i}]}",
                     "version", 2, "shards", 2, "worker", "pid", pid, "bytes", bytes, "time_us",
                     "fetch", fetch, "commit", commit, "limited", limited, "sources", "topic",
                     "events", "partition", 0, "start", 0, "next", next, "end", 4000, "lag",
                     4000 - next);
}

/* Differences of one worker; all of it when it is another one. */
static void test_where_the_time_goes(void **state)
{
    (void)state;
    json_t *before = worked(7, 1e6, 2e6, 0, 1e6, 1000);
    json_t *now = worked(7, 1.5e6, 3e6, 0.5e6, 1e6 + 1024 * 1024, 2000);
    json_t *other = worked(8, 1e6, 1e6, 0, 1024, 3999);
    struct buf out = {0};
    uint32_t lines = 0;
    progress_where(&out, now, before, &lines);
    assert_string_equal(buf_text(&out), "  1.00 MiB/s; fetch 25 commit 50 limited 25 %\n");
    progress_bars(&out, now, before, &lines);
    assert_int_equal(lines, 2);
    assert_non_null(strstr(buf_text(&out), "] "));
    assert_non_null(strstr(buf_text(&out), " 50 %  1.00 k/s  lag 2,000\n"));
    buf_reset(&out);
    progress_where(&out, other, now, &lines);
    assert_string_equal(buf_text(&out), "  1.00 KiB/s; fetch 50 commit 50 %\n");
    buf_reset(&out);
    progress_bars(&out, other, now, &lines);
    assert_null(strstr(buf_text(&out), "/s"));
    assert_non_null(strstr(buf_text(&out), " 99 % ")); /* not before it is whole */
    buf_free(&out);
    json_decref(before);
    json_decref(now);
    json_decref(other);
}

/* ---- What is redrawn in place ---- */

static void clipped(const char *text, uint32_t columns, uint32_t rows, const char *want)
{
    struct buf out = {0};
    uint32_t lines = 0;
    buf_append_text(&out, text);
    uint32_t left = out_clip(&out, columns, rows);
    assert_string_equal(buf_text(&out), want);
    for (const char *at = want; *at != '\0'; at++) {
        lines += *at == '\n';
    }
    assert_int_equal(left, lines);
    buf_free(&out);
}

/* The last column stays free: what stands in it may be taken away by erasing to the end of the line. */
static void test_redrawn_text_fits(void **state)
{
    (void)state;
    clipped("", 10, 5, "");
    clipped("0123456789\nab\n", 0, 0, "0123456789\nab\n");
    clipped("0123456789\nab\n", 11, 3, "0123456789\nab\n");
    clipped("0123456789\nab\n", 10, 3, "012345678\nab\n");
    clipped("\x1b[1m0123\x1b[0m4567\n", 7, 0, "\x1b[1m0123\x1b[0m45\n");
    clipped("\x1b[32m0123456789\x1b[0m\n", 5, 0, "\x1b[32m0123\x1b[0m\n");
    clipped("\xe6\xbc\xa2\xe6\xbc\xa2\xc3\xa9x\n", 6, 0, "\xe6\xbc\xa2\xe6\xbc\xa2\xc3\xa9\n");
    clipped("\xe6\xbc\xa2\xe6\xbc\xa2\xc3\xa9x\n", 4, 0, "\xe6\xbc\xa2\n");
    clipped("\xff\xff\xff\n", 3, 0, "\xff\xff\n");
    clipped("a\nb\nc\nd\ne\n", 80, 6, "a\nb\nc\nd\ne\n");
    clipped("a\nb\nc\nd\ne\n", 80, 5, "a\nb\nc\nand 2 lines more\n");
}

/* ---- Waiting ---- */

static int judged(const char *state, enum wait_goal goal, struct err *err)
{
    json_t *version = json_pack("{s:i,s:s,s:{s:s,s:s}}", "version", 2, "state", state, "error",
                                "code", "range_lost", "message", "the log begins later");
    int rc = wait_judge("p", version, goal, err);
    json_decref(version);
    return rc;
}

static void test_waits(void **state)
{
    (void)state;
    struct err err = {0};

    static const struct {
        const char *state;
        int caught_up;
        int serving;
    } cases[] = {
        {"planned", 0, 0},
        {"replaying", 0, 0},
        {"catching_up", 0, 0},
        {"paused", 0, 0},
        {"ready", 1, 0},
        {"serving", 1, 1},
        {"standby", 1, 0},
        {"retired", -KE_REFUSED, -KE_REFUSED},
        {"aborted", -KE_REFUSED, -KE_REFUSED},
        {"failed", -KE_RANGE_LOST, -KE_RANGE_LOST},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        assert_int_equal(judged(cases[i].state, WAIT_CAUGHT_UP, &err), cases[i].caught_up);
        assert_int_equal(judged(cases[i].state, WAIT_SERVING, &err), cases[i].serving);
    }
    assert_non_null(strstr(err.text, "the log begins later"));
    assert_int_equal(err_exit_code(err.code), 4);
    enum wait_goal goal;
    assert_int_equal(wait_goal_parse("caught-up", &goal, &err), 0);
    assert_int_equal(goal, WAIT_CAUGHT_UP);
    assert_int_equal(wait_goal_parse("done", &goal, &err), -KE_INVALID);
}

int main(void)
{
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_nothing_steers_the_terminal),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_wide_cell),
        cmocka_unit_test(test_status_fits),
        cmocka_unit_test(test_where_the_time_goes),
        cmocka_unit_test(test_redrawn_text_fits),
        cmocka_unit_test(test_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
