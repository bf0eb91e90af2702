/* Goal: what the routes of tables, topics and metrics give, and that a slow one holds nobody up.
 * Method: a real server over the log in memory and a reader that is played by this file. */
#include "tests/unit/serve/http_rig.h"

#include "base/base.h"
#include "include/kappa/record.h"
#include "processor/plan.h"

/* ---- The reader ---- */

/* What reader_get was asked, as one line. */
static char asked[512];
static _Atomic int64_t rows_to_give;
/* While closed, scans wait in front of their first row. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_closed;
static int at_gate;

int reader_get(struct reader *reader, const char *table, uint32_t version, const char *const *keys,
               uint32_t key_count, int64_t at_us, json_t **out, struct err *err)
{
    (void)reader;
    struct buf text = {0};
    buf_printf(&text, "%s v%u at %lld:", table, version, (long long)at_us);
    for (uint32_t i = 0; i < key_count; i++) {
        buf_printf(&text, " <%s>", keys[i]);
    }
    (void)snprintf(asked, sizeof asked, "%s", buf_text(&text));
    buf_free(&text);
    if (key_count > 0 && strcmp(keys[0], "nobody") == 0) {
        return err_set(err, KE_NOT_FOUND, "table %s has no row (nobody)", table);
    }
    *out = json_pack("{s:s,s:i,s:i,s:{s:[i,i]},s:{s:i}}", "table", table, "version", 3, "epoch", 9,
                     "cut", "t", 5, 6, "row", "n", 1);
    return 0;
}

int reader_scan(struct reader *reader, const char *table, uint32_t version, int64_t limit,
                bool (*row)(void *ctx, const struct plan_view *view,
                            const struct kappa_value *values),
                void *ctx, struct reader_stamp *stamp, struct err *err)
{
    (void)reader, (void)version;
    if (strcmp(table, "none") == 0) {
        return err_set(err, KE_NOT_FOUND, "there is no table none");
    }
    pthread_mutex_lock(&gate);
    at_gate++;
    pthread_cond_broadcast(&gate_moved);
    while (gate_closed) {
        pthread_cond_wait(&gate_moved, &gate);
    }
    at_gate--;
    pthread_mutex_unlock(&gate);
    *stamp = (struct reader_stamp){.processor = "p", .version = 3, .epoch = 9};
    stamp->cut = json_pack("{s:[i]}", "t", 5);
    int64_t count = limit >= 0 && limit < rows_to_give ? limit : rows_to_give;
    for (int64_t i = 0; i < count; i++) {
        struct kappa_value value = {.type = KAPPA_TYPE_BIGINT, .i = i};
        if (!row(ctx, NULL, &value)) {
            break;
        }
    }
    return 0;
}

json_t *reader_row_json(const struct plan_view *view, const struct kappa_value *values)
{
    (void)view;
    return json_pack("{s:I,s:s}", "n", (json_int_t)values[0].i, "pad",
                     "0123456789012345678901234567890123456789");
}

int reader_dead(struct reader *reader, const char *processor, uint32_t version, int64_t limit,
                json_t **out, struct err *err)
{
    (void)reader, (void)err;
    *out = json_pack("[{s:s,s:i,s:I}]", "processor", processor, "version", (int)version, "limit",
                     (json_int_t)limit);
    return 0;
}

int reader_late(struct reader *reader, const char *processor, uint32_t version, int64_t limit,
                json_t **out, struct err *err)
{
    (void)reader, (void)err;
    *out = json_pack("[{s:s,s:i,s:I}]", "processor", processor, "version", (int)version, "limit",
                     (json_int_t)-limit);
    return 0;
}

/* ---- Tables ---- */

static void test_rows_by_key(void **state)
{
    struct rig *rig = *state;

    static const struct {
        const char *path;
        const char *asked;
    } cases[] = {
        {"/v1/tables/t/rows/a", "t v0 at -9223372036854775808: <a>"},
        {"/v1/tables/t/rows/a/b", "t v0 at -9223372036854775808: <a> <b>"},
        {"/v1/tables/t/rows/a%2Fb/%20/c+d", "t v0 at -9223372036854775808: <a/b> < > <c+d>"},
        {"/v1/tables/t/rows/%C3%A9?version=7", "t v7 at -9223372036854775808: <\xc3\xa9>"},
        {"/v1/tables/t/rows/", "t v0 at -9223372036854775808: <>"},
        {"/v1/tables/t/rows/../..", "t v0 at -9223372036854775808: <..> <..>"},
        {"/v1/tables/t%2Fu/rows/k?at=1970-01-01T00:00:01Z", "t/u v0 at 1000000: <k>"},
        {"/v1/tables/t/rows/k?at=%401970-01-01T00:00:01%2B00:00", "t v0 at 1000000: <k>"},
        {"/v1/tables/t/rows/k?at=1500", "t v0 at 1500000: <k>"},
        {"/v1/tables/t/row?at=0", "t v0 at 0:"},
        {"/v1/tables/t/row", "t v0 at -9223372036854775808:"},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        rig_expect(rig, "GET", cases[i].path, "", NULL, 200, "");
        assert_string_equal(asked, cases[i].asked);
    }
    struct answer answer;
    rig_ask(rig, "GET", "/v1/tables/t/rows/k", "", NULL, &answer);
    assert_string_equal(buf_text(&answer.body),
                        "{\"table\":\"t\",\"version\":3,\"epoch\":9,\"cut\":{\"t\":[5,6]},"
                        "\"row\":{\"n\":1}}\n");
    assert_non_null(strstr(buf_text(&answer.head), "X-Kappa-Version: 3"));
    assert_non_null(strstr(buf_text(&answer.head), "X-Kappa-Epoch: 9"));
    assert_non_null(strstr(buf_text(&answer.head), "X-Kappa-Cut: {\"t\":[5,6]}"));
    answer_free(&answer);
    rig_expect(rig, "GET", "/v1/tables/t/rows/nobody", "", NULL, 404, "not_found");
    rig_expect(rig, "GET", "/v1/processors/p/versions/4/dead?limit=5", "", NULL, 200, "");
    rig_expect(rig, "GET", "/v1/processors/p/versions/x/dead", "", NULL, 400, "invalid");
}

/* Counts the lines {"n":0..} in order. */
static int64_t rows_in(const struct answer *answer)
{
    int64_t count = 0;
    const char *at = buf_text(&answer->body);
    while (*at != '\0') {
        char wanted[40];
        (void)snprintf(wanted, sizeof wanted, "{\"n\":%lld,", (long long)count);
        if (strncmp(at, wanted, strlen(wanted)) != 0) {
            return -1;
        }
        at = strchr(at, '\n') + 1;
        count++;
    }
    return count;
}

/* Few rows, and so many that the answer goes through a file. */
static void test_scans(void **state)
{
    struct rig *rig = *state;
    static const int64_t counts[] = {0, 1, 1000, 100000};
    for (size_t i = 0; i < array_len(counts); i++) {
        struct answer answer;
        rows_to_give = counts[i];
        rig_ask(rig, "GET", "/v1/tables/t/rows", "", NULL, &answer);
        assert_int_equal(answer.status, 200);
        assert_int_equal(rows_in(&answer), counts[i]);
        assert_non_null(strstr(buf_text(&answer.head), "application/x-ndjson"));
        assert_non_null(strstr(buf_text(&answer.head), "X-Kappa-Version: 3"));
        answer_free(&answer);
    }
    struct answer answer;
    rig_ask(rig, "GET", "/v1/tables/t/rows?limit=7&version=2", "", NULL, &answer);
    assert_int_equal(rows_in(&answer), 7);
    answer_free(&answer);
    rig_expect(rig, "GET", "/v1/tables/none/rows", "", NULL, 404, "not_found");
}

static void gate_close(void)
{
    pthread_mutex_lock(&gate);
    gate_closed = true;
    pthread_mutex_unlock(&gate);
}

static void gate_wait(int count)
{
    pthread_mutex_lock(&gate);
    while (at_gate < count) {
        pthread_cond_wait(&gate_moved, &gate);
    }
    pthread_mutex_unlock(&gate);
}

static void *gate_open(void *delay_us)
{
    (void)usleep(*(useconds_t *)delay_us);
    pthread_mutex_lock(&gate);
    gate_closed = false;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate);
    return NULL;
}

/* 32 scans stand still: everything else goes on, one more is asked to come again. */
static void test_slow_routes_hold_nobody_up(void **state)
{
    struct rig *rig = *state;

    enum { SLOW = 32 };

    int fds[SLOW];
    useconds_t at_once = 0;
    rows_to_give = 3;
    gate_close();
    for (int i = 0; i < SLOW; i++) {
        fds[i] = rig_begin(rig, "GET", "/v1/tables/t/rows", "", NULL);
    }
    gate_wait(SLOW);
    rig_expect(rig, "GET", "/v1/tables/t/rows/k", "", NULL, 200, "");
    rig_expect(rig, "GET", "/v1/tables/t/rows", "", NULL, 503, "again");
    (void)gate_open(&at_once);
    for (int i = 0; i < SLOW; i++) {
        struct answer answer;
        rig_receive(fds[i], &answer);
        assert_int_equal(rows_in(&answer), 3);
        answer_free(&answer);
    }
}

/* The stop waits for the scan's thread, whose reader is closed right after; its client hears of it. */
static void test_stop_during_a_scan(void **state)
{
    struct rig *rig = *state;
    pthread_t opener;
    useconds_t delay_us = 200000;
    rows_to_give = 1000000;
    gate_close();
    int fd = rig_begin(rig, "GET", "/v1/tables/t/rows", "", NULL);
    gate_wait(1);
    assert_int_equal(pthread_create(&opener, NULL, gate_open, &delay_us), 0);
    http_server_stop(rig->server);
    rig->server = NULL;
    assert_int_equal(at_gate, 0);
    pthread_join(opener, NULL);
    struct answer answer;
    rig_receive(fd, &answer);
    assert_int_equal(answer.status, 503);
    answer_free(&answer);
}

/* ---- Topics ---- */

static void read_is(const struct rig *rig, const char *query, const char *values, const char *next)
{
    struct answer answer;
    struct buf got = {0};
    struct buf path = {0};
    buf_printf(&path, "/v1/topics/t/records%s", query);
    rig_ask(rig, "GET", buf_text(&path), "", NULL, &answer);
    if (answer.status != 200) {
        fail_msg("%s: %s", query, buf_text(&answer.body));
    }
    const char *at = buf_text(&answer.body);
    while (*at != '\0') {
        size_t len = strcspn(at, "\n");
        json_t *record = json_loadb(at, len, 0, NULL);
        assert_non_null(record);
        char *value = json_dumps(json_object_get(record, "value"), JSON_ENCODE_ANY | JSON_COMPACT);
        buf_printf(&got, "%lld:%s;", (long long)json_int(record, "offset", -1), value);
        free(value);
        json_decref(record);
        at += len + 1;
    }
    assert_string_equal(buf_text(&got), values);
    char header[100];
    (void)snprintf(header, sizeof header, "X-Kappa-Next: %s\r\n", next);
    buf_append_text(&answer.head, "\r\n");
    assert_non_null(strstr(buf_text(&answer.head), header));
    buf_free(&got);
    buf_free(&path);
    answer_free(&answer);
}

static void test_topics(void **state)
{
    struct rig *rig = *state;
    rig_expect(rig, "POST", "/v1/topics", RIG_JSON, "{\"name\":\"t\",\"partitions\":1}", 201, "");
    rig_expect(rig, "POST", "/v1/topics", RIG_JSON, "{\"name\":\"t\",\"partitions\":1}", 409,
               "exists");
    rig_expect(rig, "POST", "/v1/topics", RIG_JSON, "{\"name\":\"u\",\"partitions\":3}", 201, "");
    rig_expect(rig, "POST", "/v1/topics", RIG_JSON, "{\"partitions\":3}", 400, "invalid");
    rig_expect(rig, "POST", "/v1/topics", RIG_JSON, "{\"name\":\"v\",\"partitions\":0}", 400,
               "invalid");
    struct answer answer;
    rig_ask(rig, "GET", "/v1/topics", "", NULL, &answer);
    assert_string_equal(buf_text(&answer.body), "{\"topics\":[{\"name\":\"t\",\"partitions\":1},"
                                                "{\"name\":\"u\",\"partitions\":3}]}\n");
    answer_free(&answer);
    rig_ask(rig, "POST", "/v1/topics/t/records?key=k&time=at", RIG_LINES,
            "{\"k\":\"a\",\"at\":1000}\n\n{\"k\":2,\"at\":2000}\r\n{\"k\":null,\"at\":3000}",
            &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(buf_text(&answer.body), "{\"records\":3}\n");
    answer_free(&answer);
    /* Without a field to take, every line is a record as it is. */
    rig_expect(rig, "POST", "/v1/topics/t/records", RIG_LINES, "nonsense\n\n\"text\"\n", 200, "");
    read_is(rig, "?limit=1", "0:{\"k\":\"a\",\"at\":1000};", "0:1");
    read_is(rig, "?from=0:1&limit=2", "1:{\"k\":2,\"at\":2000};2:{\"k\":null,\"at\":3000};", "0:3");
    read_is(rig, "?from=3", "3:\"nonsense\";4:\"\";5:\"\\\"text\\\"\";", "0:6");
    read_is(rig, "?from=@1970-01-01T00:00:02Z&limit=1", "1:{\"k\":2,\"at\":2000};", "0:2");
    read_is(rig, "?from=@3000&limit=1", "2:{\"k\":null,\"at\":3000};", "0:3");
    read_is(rig, "?from=-1", "5:\"\\\"text\\\"\";", "0:6");
    read_is(rig, "?from=-100&limit=1", "0:{\"k\":\"a\",\"at\":1000};", "0:1");
    read_is(rig, "?from=end", "", "0:6");
    read_is(rig, "?from=1&until=3", "1:{\"k\":2,\"at\":2000};2:{\"k\":null,\"at\":3000};", "0:3");
    read_is(rig, "?from=-5&until=-4", "1:{\"k\":2,\"at\":2000};", "0:2");
    read_is(rig, "?until=@2000", "0:{\"k\":\"a\",\"at\":1000};", "0:1");
    read_is(rig, "?from=3&until=1", "", "0:3");
    read_is(rig, "?from=5&until=end", "5:\"\\\"text\\\"\";", "0:6");
    rig_expect(rig, "GET", "/v1/topics/t/records?until=0:7", "", NULL, 400, "invalid");
    rig_expect(rig, "GET", "/v1/topics/t/records?until=", "", NULL, 400, "invalid");
    rig_expect(rig, "GET", "/v1/topics/t/records?from=0:7", "", NULL, 400, "invalid");
    rig_expect(rig, "GET", "/v1/topics/t/records?from=1:0", "", NULL, 404, "not_found");
    rig_expect(rig, "GET", "/v1/topics/t/records?from=soon", "", NULL, 400, "invalid");
    rig_expect(rig, "GET", "/v1/topics/t/records?partition=1", "", NULL, 404, "not_found");
    rig_expect(rig, "GET", "/v1/topics/none/records", "", NULL, 404, "not_found");
    rig_expect(rig, "POST", "/v1/topics/none/records", RIG_LINES, "{}", 404, "not_found");
    /* A line without its key ends it; what came before stays. */
    rig_ask(rig, "POST", "/v1/topics/u/records?key=k&partition=2", RIG_LINES,
            "{\"k\":1}\n{\"j\":1}\n{\"k\":2}\n", &answer);
    assert_int_equal(answer.status, 400);
    assert_non_null(strstr(buf_text(&answer.body), "line 2"));
    answer_free(&answer);
    rig_ask(rig, "GET", "/v1/topics/u/records?partition=2", "", NULL, &answer);
    assert_non_null(strstr(buf_text(&answer.body), "\"key\":\"1\",\"value\":{\"k\":1}}\n"));
    assert_int_equal(answer.body.len, strcspn(buf_text(&answer.body), "\n") + 1);
    answer_free(&answer);
}

/* ---- Metrics ---- */

static void test_metrics(void **state)
{
    struct rig *rig = *state;
    int fd = rig_begin(rig, "GET", "/metrics", "", NULL);
    struct http_call *call = rig_take(rig);
    assert_int_equal(call->verb, HTTP_VERB_STATUS);
    json_t *status = json_pack(
        "{s:[{s:s,s:i,s:I,s:[{s:i,s:s,s:I,s:f,s:n,s:f,s:I,s:{s:I},s:[{s:s,s:i,s:I,s:I,s:n}]}]}]}",
        "processors", "name", "p\"q\\", "serving", 2, "epoch", (json_int_t)5, "versions", "version",
        2, "state", "serving", "lag", (json_int_t)12345678901234, "rate", 1.5, "eta_seconds",
        "progress", 1.0, "records", (json_int_t)7, "worker", "rss_bytes", (json_int_t)1000,
        "sources", "topic", "t", "partition", 3, "next", (json_int_t)9, "end", (json_int_t)10,
        "lag_seconds");
    assert_non_null(status);
    http_call_reply(call, status, NULL);
    struct answer answer;
    rig_receive(fd, &answer);
    static const char *const lines[] = {
        "# TYPE kappa_build_info gauge\n",
        "kappa_serving_version{processor=\"p\\\"q\\\\\"} 2\n",
        "kappa_swaps_total{processor=\"p\\\"q\\\\\",result=\"done\"} 5\n",
        "kappa_version_info{processor=\"p\\\"q\\\\\",version=\"2\",state=\"serving\"} 1\n",
        "kappa_version_lag_offsets{processor=\"p\\\"q\\\\\",version=\"2\"} 12345678901234\n",
        "kappa_apply_rate_records{processor=\"p\\\"q\\\\\",version=\"2\"} 1.5\n",
        "kappa_worker_rss_bytes{processor=\"p\\\"q\\\\\",version=\"2\"} 1000\n",
        "topic=\"t\",partition=\"3\"} 9\n",
        "kappa_http_answers_total{class=\"2xx\"} ",
    };
    for (size_t i = 0; i < array_len(lines); i++) {
        if (strstr(buf_text(&answer.body), lines[i]) == NULL) {
            fail_msg("no line %s in\n%s", lines[i], buf_text(&answer.body));
        }
    }
    /* What is not known has no sample. */
    assert_null(strstr(buf_text(&answer.body), "\nkappa_replay_eta_seconds{"));
    assert_null(strstr(buf_text(&answer.body), "\nkappa_partition_lag_seconds{"));
    assert_non_null(strstr(buf_text(&answer.head), "text/plain; version=0.0.4"));
    answer_free(&answer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_rows_by_key),        TEST(test_scans),  TEST(test_slow_routes_hold_nobody_up),
        TEST(test_stop_during_a_scan), TEST(test_topics), TEST(test_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
