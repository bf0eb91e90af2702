/* Goal: a start position means what the header says, and everything else is refused with a reason.
 * Method: tables of texts; resolving runs against a fake log of two topics whose answers are
 * written here, so that each rule (retention, holes in time, an end that moves while asking) is
 * one row. */
#include "log/position.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- The fake log: topic "a" holds 5 to 10, "b/0" holds 0 to 4, "b/1" nothing. Record time of
 * offset n is 1000 * n. */

#define NOW_MS 100000

static int64_t grown; /* records that come to every partition between two questions */

static int fake_offsets(struct log *log, const char *topic, uint32_t partition, int64_t *start,
                        int64_t *end, struct err *err)
{
    (void)log;
    if (strcmp(topic, "broken") == 0) {
        return err_set(err, KE_BROKER, "the broker is away");
    }
    *start = strcmp(topic, "a") == 0 ? 5 : 0;
    *end = strcmp(topic, "a") == 0 ? 10 : partition == 0 ? 4 : 0;
    return 0;
}

static int fake_offset_at_time(struct log *log, const char *topic, uint32_t partition,
                               int64_t time_ms, int64_t *offset, struct err *err)
{
    int64_t start = 0;
    int64_t end = 0;
    int rc = fake_offsets(log, topic, partition, &start, &end, err);
    int64_t first = i64_max((time_ms + 999) / 1000, start);
    *offset = first < end + grown ? first : -1;
    return rc;
}

static const struct log_ops fake_ops = {.offsets = fake_offsets,
                                        .offset_at_time = fake_offset_at_time};
static struct log fake = {.ops = &fake_ops, .kind = "fake"};

static const struct position_topic one_topic[] = {{"b", 2}};
static const struct position_topic single[] = {{"a", 1}};
static const struct position_topic two_topics[] = {{"a", 1}, {"b", 2}};

/* ---- Parsing */

static void test_parse_refuses(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",        "start",      "Beginning",   "-",         "0:-5",        "1:",
        ":5",      "a/",         "/0:5",        "0:5,",      ",0:5",        "0:5,,1:6",
        "0:x",     "x:0",        "@",           "@tomorrow", "@-5",         "@1969-12-31T23:59:59Z",
        "1.5",     "0:1 ",       " 0:1",        "0;1",       "@2026-13-01", "99999999999999999999",
        "a/b/0:1", "0:1:2",      "@5x",         "/end",      "--5",         "-x",
        "-1.5",    "-5 parsecs", "-9000 weeks", "a/@",       "a/--1",       "a/0:-1",
        "0:@x",    "a/@-5",      "a/start",     "0:-",
    };
    for (size_t i = 0; i < array_len(texts); i++) {
        struct position position;
        struct err err = {0};
        if (position_parse(texts[i], NOW_MS, &position, &err) != -KE_INVALID) {
            fail_msg("'%s' was taken", texts[i]);
        }
        assert_non_null(strstr(err.text, texts[i]));
        assert_true(err.hint[0] != '\0');
    }
}

static void test_parse_times(void **state)
{
    (void)state;

    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"@0", 0},
        {"@1700000000123", 1700000000123},
        {"@1970-01-01T00:00:01Z", 1000},
        {"@1970-01-01T00:00:00.0005Z", 1}, /* the first ms that is not before it */
        {"@1970-01-01T01:00:00.250+01:00", 250},
        {"@1970-01-02", 86400000},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        struct position position;
        assert_int_equal(position_parse(cases[i].text, NOW_MS, &position, NULL), 0);
        assert_int_equal(position.all.kind, POSITION_TIME);
        assert_int_equal(position.all.value, cases[i].ms);
        position_free(&position);
    }
}

/* ---- Resolving */

struct resolve_case {
    const char *text;
    const struct position_topic *topics;
    uint32_t topic_count;
    int code;         /* of the error, or 0 */
    const char *says; /* part of the error's text */
    int64_t starts[3];
    bool complete;
};

static const struct resolve_case resolve_cases[] = {
    {"beginning", two_topics, 2, 0, NULL, {5, 0, 0}, true},
    {"end", two_topics, 2, 0, NULL, {10, 4, 0}, false},
    {"@0", one_topic, 1, 0, NULL, {0, 0}, true},
    {"@0", two_topics, 2, 0, NULL, {5, 0, 0}, false},
    {"@2000", two_topics, 2, 0, NULL, {5, 2, 0}, false},
    {"@7001", two_topics, 2, 0, NULL, {8, 4, 0}, false},
    {"@99000", two_topics, 2, 0, NULL, {10, 4, 0}, false},
    {"7", single, 1, 0, NULL, {7}, false},
    {"5", single, 1, 0, NULL, {5}, false},
    {"10", single, 1, 0, NULL, {10}, false},
    {"beginning", single, 1, 0, NULL, {5}, true},
    {"0:beginning", single, 1, 0, NULL, {5}, true},
    {"-0", two_topics, 2, 0, NULL, {10, 4, 0}, false},
    {"-3", two_topics, 2, 0, NULL, {7, 1, 0}, false},
    {"-4", one_topic, 1, 0, NULL, {0, 0}, true},
    {"-99", two_topics, 2, 0, NULL, {5, 0, 0}, false},
    {"-9223372036854775807", one_topic, 1, 0, NULL, {0, 0}, true},
    {"-98s", one_topic, 1, 0, NULL, {2, 0}, false},
    {"-1m32s", two_topics, 2, 0, NULL, {8, 4, 0}, false},
    {"-1ms", two_topics, 2, 0, NULL, {10, 4, 0}, false},
    {"4", single, 1, KE_RANGE_LOST, "offset 4", {0}, false},
    {"11", single, 1, KE_INVALID, "holds 5 to 10", {0}, false},
    {"0:1,1:0", one_topic, 1, 0, NULL, {1, 0}, false},
    {"1:0,0:0", one_topic, 1, 0, NULL, {0, 0}, true},
    {"0:end,1:0", one_topic, 1, 0, NULL, {4, 0}, false},
    {"b/0:2,b/1:0", one_topic, 1, 0, NULL, {2, 0}, false},
    {"a/0:6,b/0:2,b/1:end", two_topics, 2, 0, NULL, {6, 2, 0}, false},
    {"a/0:6,b/0:2", two_topics, 2, KE_INVALID, "leaves out", {0}, false},
    {"0:6,1:2", two_topics, 2, KE_INVALID, "of which topic", {0}, false},
    {"c/0:6", two_topics, 2, KE_INVALID, "topic 'c'", {0}, false},
    {"3", one_topic, 1, KE_INVALID, "has 2 partitions", {0}, false},
    {"0:0,2:0", one_topic, 1, KE_NOT_FOUND, "no partition 2", {0}, false},
    {"0:0,0:1,1:0", one_topic, 1, KE_INVALID, "named twice", {0}, false},
    {"0:0,1:1", one_topic, 1, KE_INVALID, "partition 1", {0}, false},
    {"end,0:5", one_topic, 1, KE_INVALID, "named twice", {0}, false},
    {"-5,0:1", one_topic, 1, KE_INVALID, "named twice", {0}, false},
    {"a/5,b/end", two_topics, 2, 0, NULL, {5, 4, 0}, false},
    {"a/@7001,b/beginning", two_topics, 2, 0, NULL, {8, 0, 0}, false},
    {"a/beginning,b/beginning", two_topics, 2, 0, NULL, {5, 0, 0}, true},
    {"a/-2,b/-98s", two_topics, 2, 0, NULL, {8, 2, 0}, false},
    {"a/@1970-01-01T00:00:07Z,b/0:@2000,b/1:-1m", two_topics, 2, 0, NULL, {7, 2, 0}, false},
    {"b/-3", one_topic, 1, 0, NULL, {1, 0}, false},
    {"a/end", two_topics, 2, KE_INVALID, "leaves out", {0}, false},
    {"a/end,b/0", two_topics, 2, KE_INVALID, "has 2 partitions", {0}, false},
    {"a/end,b/end,b/1:0", two_topics, 2, KE_INVALID, "named twice", {0}, false},
    {"a/end,end", two_topics, 2, KE_INVALID, "of which topic", {0}, false},
};

static int resolve(const char *text, const struct position_topic *topics, uint32_t count,
                   struct position_range *ranges, bool *complete, struct err *err)
{
    struct position position;
    assert_int_equal(position_parse(text, NOW_MS, &position, err), 0);
    int rc = position_resolve(&position, &fake, topics, count, ranges, complete, err);
    position_free(&position);
    return rc;
}

static void test_resolve(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_len(resolve_cases); i++) {
        const struct resolve_case *c = &resolve_cases[i];
        struct position_range ranges[3] = {{0}};
        struct err err = {0};
        bool complete = false;
        int rc = resolve(c->text, c->topics, c->topic_count, ranges, &complete, &err);
        if (rc != -c->code) {
            fail_msg("'%s': code %d, %s", c->text, rc, err.text);
        }
        if (rc != 0) {
            if (!strstr(err.text, c->says)) {
                fail_msg("'%s' says: %s", c->text, err.text);
            }
            continue;
        }
        uint32_t source = 0;
        for (uint32_t t = 0; t < c->topic_count; t++) {
            for (uint32_t p = 0; p < c->topics[t].partitions; p++, source++) {
                assert_int_equal(ranges[source].start, c->starts[source]);
                assert_true(ranges[source].start <= ranges[source].target);
            }
        }
        assert_int_equal(complete, c->complete);
    }
}

/* The range lost names what was asked for and what there is. */
static void test_range_lost_names(void **state)
{
    (void)state;
    struct position_range ranges[1];
    struct err err = {0};
    bool complete = false;
    assert_int_equal(resolve("0:2", single, 1, ranges, &complete, &err), -KE_RANGE_LOST);
    assert_non_null(strstr(err.text, "offset 2"));
    assert_non_null(strstr(err.text, "holds 5 to 10"));
    assert_non_null(strstr(err.text, "'a' partition 0"));
}

/* Who only looks may leave partitions out; what a list says of the others is checked all the same. */
static void test_some(void **state)
{
    (void)state;

    static const struct {
        const char *text;
        int code;
        int64_t starts[2];
    } cases[] = {
        {"0:2", 0, {2, POSITION_LEFT_OUT}},
        {"1:0", 0, {POSITION_LEFT_OUT, 0}},
        {"b/1:end", 0, {POSITION_LEFT_OUT, 0}},
        {"-1", 0, {3, 0}},
        {"1:1", KE_INVALID, {0}},
        {"2:0", KE_NOT_FOUND, {0}},
        {"1", KE_INVALID, {0}},
        {"a/0:6", KE_INVALID, {0}},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        struct position position;
        struct position_range ranges[2] = {{0}};
        assert_int_equal(position_parse(cases[i].text, NOW_MS, &position, NULL), 0);
        int rc = position_resolve_some(&position, &fake, one_topic, ranges, NULL);
        position_free(&position);
        if (rc != -cases[i].code) {
            fail_msg("'%s': code %d", cases[i].text, rc);
        }
        for (uint32_t p = 0; rc == 0 && p < 2; p++) {
            assert_int_equal(ranges[p].start, cases[i].starts[p]);
        }
    }
}

/* Records that come while the questions are asked do not lift the start above the frozen end. */
static void test_time_is_frozen(void **state)
{
    (void)state;
    struct position_range ranges[1];
    bool complete = false;
    grown = 50;
    assert_int_equal(resolve("@20000", single, 1, ranges, &complete, NULL), 0);
    grown = 0;
    assert_int_equal(ranges[0].start, 10);
    assert_int_equal(ranges[0].target, 10);
}

static void test_log_errors_pass(void **state)
{
    (void)state;
    const struct position_topic broken[] = {{"broken", 1}};
    struct position_range ranges[1];
    bool complete = false;
    assert_int_equal(resolve("beginning", broken, 1, ranges, &complete, NULL), -KE_BROKER);
    assert_int_equal(resolve("@5", broken, 1, ranges, &complete, NULL), -KE_BROKER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_refuses),   cmocka_unit_test(test_parse_times),
        cmocka_unit_test(test_resolve),         cmocka_unit_test(test_range_lost_names),
        cmocka_unit_test(test_time_is_frozen),  cmocka_unit_test(test_some),
        cmocka_unit_test(test_log_errors_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
