/* Goal: limits as people write them mean what they say, also times of day where the clock changes; what is
 * wrong is refused with a reason. Method: tables of texts, in fixed time zones. */
#include "cli/limit_text.h"

#include "base/timefmt.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t ms_of(const char *time)
{
    int64_t us = 0;
    assert_true(time_parse(time, strlen(time), &us));
    return us / 1000;
}

static void zone(const char *name)
{
    (void)setenv("TZ", name, 1);
    tzset();
}

/* Berlin's rule, written out: no files of zones are needed. */
#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"

static void test_finish(void **state)
{
    (void)state;

    static const struct {
        const char *zone, *now, *text, *by;
    } rows[] = {
        {"UTC0", "2026-11-21T18:00:00Z", "finish by 06:00", "2026-11-22T06:00:00Z"},
        {"UTC0", "2026-11-21T05:59:59Z", "finish by 6:00", "2026-11-21T06:00:00Z"},
        {"UTC0", "2026-11-21T06:00:00Z", "finish by 06:00", "2026-11-22T06:00:00Z"},
        {"UTC0", "2026-12-31T23:59:00Z", "finish_by=00:00:30", "2027-01-01T00:00:30Z"},
        {BERLIN, "2026-11-21T18:00:00Z", "finish by 06:00", "2026-11-22T05:00:00Z"},
        {BERLIN, "2026-11-21T18:00:00Z", "finish by 06:00Z", "2026-11-22T06:00:00Z"},
        {BERLIN, "2026-07-01T18:00:00Z", "finish by 06:00", "2026-07-02T04:00:00Z"},
        {BERLIN, "2026-10-24T20:00:00Z", "finish by 06:00", "2026-10-25T05:00:00Z"},
        {BERLIN, "2026-03-28T20:00:00Z", "finish by 06:00", "2026-03-29T04:00:00Z"},
        {"UTC0", "2026-01-01T00:00:00Z", "finish by 2026-01-31T06:00:00+02:00",
         "2026-01-31T04:00:00Z"},
        {"UTC0", "2026-01-01T00:00:00Z", "finish by = 2026-01-31", "2026-01-31T00:00:00Z"},
        {"UTC0", "2026-01-01T00:00:00Z", "finish in 2h", "2026-01-01T02:00:00Z"},
        {"UTC0", "2026-01-01T00:00:00Z", "finish in 1 day", "2026-01-02T00:00:00Z"},
        {"UTC0", "2026-01-01T00:00:00Z", "finish_in=90s", "2026-01-01T00:01:30Z"},
    };

    for (size_t i = 0; i < array_len(rows); i++) {
        struct err err = {0};
        json_t *limit = NULL;
        zone(rows[i].zone);
        int rc = limit_text_parse(rows[i].text, ms_of(rows[i].now), &limit, &err);
        assert_int_equal(rc, 0);
        assert_string_equal(json_text(limit, "finish_by", ""), rows[i].by);
        json_decref(limit);
    }
    zone("UTC0");
}

static void test_together(void **state)
{
    (void)state;
    struct err err = {0};
    struct buf text = {0};
    json_t *limit = NULL;
    int rc = limit_text_parse("20MB/s, 50k/s, freshness p99 <= 50 ms, finish by 06:00, priority=3",
                              ms_of("2026-01-01T00:00:00Z"), &limit, &err);
    assert_int_equal(rc, 0);
    limit_text(&text, limit);
    assert_string_equal(buf_text(&text), "50,000 records/s, 20 MB/s, freshness p99 <= 50 ms, "
                                         "finish by 2026-01-01T06:00:00Z (priority 3)");
    json_decref(limit);
    buf_free(&text);
    rc = limit_text_parse("broker <= 100 MB/s,5/s", 0, &limit, &err);
    assert_int_equal(rc, 0);
    assert_int_equal(json_int(limit, "broker_bytes_per_second", 0), 100000000);
    limit_text(&text, limit);
    assert_string_equal(buf_text(&text), "5 records/s, broker <= 100 MB/s");
    json_decref(limit);
    buf_free(&text);
    limit = json_pack("{s:s}", "finish_by", "2026-01-01T06:00:00Z");
    limit_text(&text, limit);
    assert_string_equal(buf_text(&text), "finish by 2026-01-01T06:00:00Z");
    json_decref(limit);
    buf_free(&text);
}

static void test_wrong(void **state)
{
    (void)state;

    static const struct {
        const char *text, *says;
    } rows[] = {
        {"finish", "says neither"},
        {"finish at 06:00", "says neither"},
        {"finish by", "has no time"},
        {"finish by 25:00", "has no time"},
        {"finish by 06:60", "has no time"},
        {"finish by 06:00 pm", "has no time"},
        {"finish by 6", "has no time"},
        {"finish by 06:00:1", "has no time"},
        {"finish in 06:00", "has no duration"},
        {"finish in", "has no duration"},
        {"finish in 1h, finish by 06:00", "says again"},
        {"finish by 2026-02-30", "has no time"},
        {"broker", "has no bytes per second"},
        {"broker <= fast", "has no bytes per second"},
        {"broker <= 5k/s", "limited in bytes"},
        {"broker=5MB/s, broker=6MB/s", "says again"},
    };

    for (size_t i = 0; i < array_len(rows); i++) {
        struct err err = {0};
        json_t *limit = NULL;
        int rc = limit_text_parse(rows[i].text, ms_of("2026-01-01T00:00:00Z"), &limit, &err);
        if (rc != -KE_INVALID || strstr(err.text, rows[i].says) == NULL) {
            fail_msg("%s: %d %s", rows[i].text, rc, err.text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finish),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
