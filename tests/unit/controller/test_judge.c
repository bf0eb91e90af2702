/* Goal: what a comparison found is judged as the policy says, table by table and column by column; what
 * only the new version has is no difference, what it lacks is; gaps are found partition by partition.
 * Method: answers of serve/diff.h and version objects written by hand. */
#include "tests/unit/unit.h"

#include "controller/judge.h"

#include <string.h>

static json_t *parse(const char *text)
{
    struct err err = {0};
    json_t *value = json_parse(text, strlen(text), &err);
    if (value == NULL) {
        fail_msg("%s: %s", text, err.text);
    }
    return value;
}

/* says: NULL, it passes; else a part of the refusal. */
static void judge_as(const char *settings, const char *tables, const char *says)
{
    char text[300];
    (void)snprintf(text, sizeof text, "{\"version\":2,\"swap\":\"auto\",\"policy\":%s}", settings);
    json_t *version = parse(text);
    json_t *serving = parse("{\"version\":1}");
    json_t *answer = json_pack("{s:o}", "tables", parse(tables));
    struct judge judge = {.processor = "p", .version = version, .serving = serving};
    struct err err = {0};
    settings_read(version, &judge.policy);
    assert_true(policy_compares(&judge.policy));
    int rc = judge_diff(&judge, answer, &err);
    if (says == NULL ? rc != 0 : rc != -KE_REFUSED || strstr(err.text, says) == NULL) {
        fail_msg("%s %s: \"%s\" instead of \"%s\"", settings, tables, err.text,
                 says != NULL ? says : "passed");
    }
    json_decref(version);
    json_decref(serving);
    json_decref(answer);
}

#define T(counts, columns) "{\"table\":\"t\",\"in\":\"both\"," counts ",\"columns\":[" columns "]}"
#define SCORE              "{\"name\":\"score\",\"in\":\"both\",\"differ\":5}"
#define RANK               "{\"name\":\"rank\",\"in\":\"both\",\"differ\":0}"
#define CHANGED            "\"changed\":5,\"equal\":995,\"only_in_a\":0,\"only_in_b\":0"
#define ADDED              "\"changed\":0,\"equal\":995,\"only_in_a\":2,\"only_in_b\":3"

static void test_diffs(void **state)
{
    (void)state;
    static const char half[] = "{\"swap.max_changed\":\"0.5 %\"}";
    static const char none[] = "{\"swap.max_changed\":\"0\"}";
    static const char score[] = "{\"swap.columns\":\"score\"}";
    static const char rank[] = "{\"swap.columns\":\"rank\"}";
    judge_as(half, "[" T(CHANGED, SCORE) "]", NULL);
    judge_as(half, "[" T(ADDED, RANK) "]", NULL);
    judge_as(none, "[" T(CHANGED, SCORE) "]", "5 of 1000 rows of t differ from v1 (0.5 %)");
    judge_as(none, "[" T(ADDED, RANK) "]", "5 of 1000 rows of t differ");
    judge_as(none, "[{\"table\":\"t\",\"in\":\"both\",\"identical\":true}]", NULL);
    judge_as(none, "[]", NULL);
    /* The worst table counts, not the sum. */
    judge_as(
        half,
        "[" T(CHANGED, SCORE) ",{\"table\":\"u\",\"in\":\"both\",\"changed\":6,\"equal\":994}]",
        "6 of 1000 rows of u");
    judge_as(score, "[" T(CHANGED, SCORE "," RANK) "]", NULL);
    judge_as(rank, "[" T(CHANGED, SCORE "," RANK) "]", "the column score differs in 5 rows of t");
    judge_as(score, "[" T(ADDED, RANK) "]", "5 rows of t are only in one of v1 and v2");
    /* What is new is no difference; what is missing is. */
    judge_as(none, "[{\"table\":\"t\",\"in\":\"b\"}]", NULL);
    judge_as(none, "[{\"table\":\"t\",\"in\":\"a\"}]", "the table t of v1 is missing in v2");
    judge_as(score, "[" T(CHANGED, SCORE ",{\"name\":\"x\",\"in\":\"b\"}") "]", NULL);
    judge_as(score, "[" T(CHANGED, SCORE ",{\"name\":\"x\",\"in\":\"a\"}") "]",
             "the column x of t is missing in v2");
    judge_as(half, "[{\"table\":\"t\",\"in\":\"both\",\"why_not\":\"no key\"}]", "no key");
}

static void gap_is(const char *version, const char *serving, const char *says)
{
    json_t *of_new = parse(version);
    json_t *of_old = parse(serving);
    struct err err = {0};
    int rc = judge_gap(of_new, of_old, &err);
    if (says == NULL ? rc != 0 : rc != -KE_REFUSED || strstr(err.text, says) == NULL) {
        fail_msg("\"%s\" instead of \"%s\"", err.text, says != NULL ? says : "no gap");
    }
    json_decref(of_new);
    json_decref(of_old);
}

#define V(number, inputs, start)                                                                   \
    "{\"version\":" number ",\"inputs\":[" inputs "],\"start\":[" start "]}"
#define IN(topic, identity, partitions)                                                            \
    "{\"topic\":\"" topic "\",\"identity\":" identity ",\"partitions\":" partitions "}"

static void test_gaps(void **state)
{
    (void)state;
    static const char old[] = V("1", IN("a", "1", "2") "," IN("b", "1", "1"), "5,6,7");
    gap_is(old, old, NULL);
    /* The same topics in another order, from earlier on; topics that only one reads. */
    gap_is(V("2", IN("b", "1", "1") "," IN("a", "1", "2"), "0,5,6"), old, NULL);
    gap_is(V("2", IN("c", "9", "2") "," IN("a", "1", "2"), "9,9,5,6"), old, NULL);
    gap_is(V("2", IN("b", "1", "1") "," IN("a", "1", "2"), "7,5,9"), old,
           "v2 started later than v1, which serves, and lacks 3 offsets: a/1 begins at offset 9, "
           "not 6");
    gap_is(V("2", IN("b", "1", "1") "," IN("a", "1", "2"), "8,6,6"), old, "lacks 2 offsets: b/0");
    gap_is(V("2", IN("a", "2", "2"), "5,6"), old, "the topic a was made anew");
    gap_is(V("2", IN("a", "1", "1"), "5"), old, "v2 reads 1 partitions of topic a, v1 reads 2");
    gap_is(V("2", IN("a", "1", "3"), "5,6,900"), old, NULL); /* it has grown since */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_diffs),
        cmocka_unit_test(test_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
