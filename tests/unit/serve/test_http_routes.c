/* Goal: what the routes of tables, topics and metrics give, and that a slow one holds nobody up.
 * Method: a real server over the log in memory and a real reader of versions made by hand. Serving
 * reads can be made to wait at a gate, between their first look at the pointer and the snapshot. */
#define EVENTS 40000 /* so many that a scan passes through a file */
#include "tests/unit/serve/http_rig.h"
#include "tests/unit/serve/reader_world.h"

#include "base/base.h"

#define VERSION 1
#define EPOCH   9

static struct world world;
static struct reader *reader;
static int64_t raw_rows; /* of table raw */

/* While closed, reads of what is served wait. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_closed;
static int at_gate;

static void pass_gate(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&gate);
    at_gate++;
    pthread_cond_broadcast(&gate_moved);
    while (gate_closed) {
        pthread_cond_wait(&gate_moved, &gate);
    }
    at_gate--;
    pthread_mutex_unlock(&gate);
}

static int world_setup(void **state)
{
    (void)state;
    char *text = xasprintf("%s%s", definition,
                           "CREATE MATERIALIZED VIEW triple AS SELECT u, lower(u) AS v, upper(u) "
                           "AS w, count(*) AS c FROM ev GROUP BY u, lower(u), upper(u);\n");
    world_open(&world, unit_seed("http_routes"));
    make_version_of(&world, VERSION, EVENTS, text);
    serve(&world, VERSION, EPOCH);
    free(text);
    for (uint32_t i = 0; i < EVENTS; i++) {
        raw_rows += world.events[i].n > 3;
    }
    assert_ok(reader_open(world.dir, &reader, &fault));
    reader->between = pass_gate;
    return 0;
}

static int world_teardown(void **state)
{
    (void)state;
    reader_close(reader);
    world_close(&world);
    return 0;
}

static int setup(void **state)
{
    *state = rig_open(reader);
    return 0;
}

/* ---- Tables ---- */

/* How paths become keys: what is not there is named in the answer. */
static void test_paths_of_rows(void **state)
{
    struct rig *rig = *state;

    static const struct {
        const char *path;
        const char *named;
    } cases[] = {
        {"/v1/tables/totals/rows/a", "table totals has no row (a)"},
        {"/v1/tables/totals/rows/c+d", "table totals has no row (c+d)"},
        {"/v1/tables/totals/rows/", "table totals has no row ()"},
        {"/v1/tables/totals/rows/..", "table totals has no row (..)"},
        {"/v1/tables/totals/rows/%C3%A9?version=1", "table totals has no row (\xc3\xa9)"},
        {"/v1/tables/totals/rows/%C3%A9?version=7", "no version 7 of p"},
        {"/v1/tables/triple/rows/a%2Fb/%20/c+d?version=1", "table triple has no row (a/b,  , c+d)"},
        {"/v1/tables/totals%2Fu/rows/k", "no table totals/u"},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        struct answer answer;
        rig_ask(rig, "GET", cases[i].path, "", NULL, &answer);
        assert_int_equal(answer.status, 404);
        if (strstr(buf_text(&answer.body), cases[i].named) == NULL) {
            fail_msg("%s: no \"%s\" in %s", cases[i].path, cases[i].named, buf_text(&answer.body));
        }
        answer_free(&answer);
    }
}

static void test_rows_by_key(void **state)
{
    struct rig *rig = *state;
    char path[200];
    const struct event *event = &world.events[301]; /* one second after the window's beginning */
    assert_int_equal(event->t_ms, 1000);
    static const char *const times[] = {"1970-01-01T00:00:01Z", "%401970-01-01T00:00:01%2B00:00",
                                        "1500", "0"};
    for (size_t i = 0; i < array_len(times); i++) {
        struct answer answer;
        (void)snprintf(path, sizeof path, "/v1/tables/per_minute/rows/u%u?at=%s", event->user,
                       times[i]);
        rig_ask(rig, "GET", path, "", NULL, &answer);
        assert_int_equal(answer.status, 200);
        assert_non_null(strstr(buf_text(&answer.body), "\"window_end\":\"1970-01-01T00:01:00Z\""));
        answer_free(&answer);
    }
    struct answer answer;
    rig_ask(rig, "GET", "/v1/tables/everything/row", "", NULL, &answer);
    assert_int_equal(answer.status, 200);
    char start[100];
    (void)snprintf(start, sizeof start, "{\"table\":\"everything\",\"version\":%d,\"epoch\":%d,",
                   VERSION, EPOCH);
    assert_int_equal(strncmp(buf_text(&answer.body), start, strlen(start)), 0);
    assert_non_null(strstr(buf_text(&answer.body), "\"row\":{\"c\":40000}}\n"));
    const char *cut = strstr(buf_text(&answer.body), "\"cut\":{\"events\":[");
    assert_non_null(cut);
    assert_non_null(strstr(buf_text(&answer.head), "X-Kappa-Version: 1"));
    assert_non_null(strstr(buf_text(&answer.head), "X-Kappa-Epoch: 9"));
    const char *header = strstr(buf_text(&answer.head), "X-Kappa-Cut: {\"events\":[");
    assert_non_null(header);
    size_t len = strcspn(cut, "]");
    assert_int_equal(strncmp(header + strlen("X-Kappa-Cut: "), cut + strlen("\"cut\":"),
                             len - strlen("\"cut\":")),
                     0);
    answer_free(&answer);
    rig_expect(rig, "GET", "/v1/tables/per_minute/rows/u1?at=noon", "", NULL, 400, "invalid");
    /* A time at the end of what a number holds. */
    rig_expect(rig, "GET", "/v1/tables/per_minute/rows?at=9223372036854403", "", NULL, 200, "");
    rig_expect(rig, "GET", "/v1/tables/totals/rows/u1/u2", "", NULL, 400, "invalid");
    rig_expect(rig, "GET", "/v1/tables/totals/rows/u1?at=0", "", NULL, 400, "invalid");
    rig_expect(rig, "GET", "/v1/processors/p/versions/x/dead", "", NULL, 400, "invalid");
    rig_ask(rig, "GET", "/v1/processors/p/versions/1/dead?limit=1", "", NULL, &answer);
    assert_int_equal(answer.status, 200);
    json_t *dead = json_loadb(buf_text(&answer.body), answer.body.len, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(dead, "dead")), 1);
    json_decref(dead);
    answer_free(&answer);
}

/* Counts the lines, which are rows of table raw. */
static int64_t rows_in(const struct answer *answer)
{
    static const char begins[] = "{\"u\":\"u";
    int64_t count = 0;
    for (const char *at = buf_text(&answer->body); *at != '\0'; count++) {
        if (strncmp(at, begins, strlen(begins)) != 0) {
            return -1;
        }
        at = strchr(at, '\n') + 1;
    }
    return count;
}

/* Few rows, and so many that the answer goes through a file. */
static void test_scans(void **state)
{
    struct rig *rig = *state;
    const int64_t limits[] = {0, 1, 1000, raw_rows, raw_rows + 1};
    for (size_t i = 0; i < array_len(limits); i++) {
        struct answer answer;
        char path[100];
        (void)snprintf(path, sizeof path, "/v1/tables/raw/rows?limit=%lld", (long long)limits[i]);
        rig_ask(rig, "GET", path, "", NULL, &answer);
        assert_int_equal(answer.status, 200);
        assert_int_equal(rows_in(&answer), limits[i] < raw_rows ? limits[i] : raw_rows);
        assert_non_null(strstr(buf_text(&answer.head), "application/x-ndjson"));
        assert_non_null(strstr(buf_text(&answer.head), "X-Kappa-Version: 1"));
        bool more = limits[i] > 0 && limits[i] < raw_rows;
        assert_int_equal(strstr(buf_text(&answer.head), "X-Kappa-Next:") != NULL, more);
        answer_free(&answer);
    }
    struct answer answer;
    rig_ask(rig, "GET", "/v1/tables/raw/rows?version=1", "", NULL, &answer);
    assert_int_equal(rows_in(&answer), raw_rows);
    assert_true(answer.body.len > 1U << 20);
    answer_free(&answer);
    rig_expect(rig, "GET", "/v1/tables/totals/rows?limit=-1", "", NULL, 400, "invalid");
    rig_expect(rig, "GET", "/v1/tables/totals/rows?limit=1x", "", NULL, 400, "invalid");
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
    gate_close();
    for (int i = 0; i < SLOW; i++) {
        fds[i] = rig_begin(rig, "GET", "/v1/tables/raw/rows?limit=3", "", NULL);
    }
    gate_wait(SLOW);
    rig_expect(rig, "GET", "/v1/tables/everything/row?version=1", "", NULL, 200, "");
    rig_expect(rig, "GET", "/v1/tables/raw/rows?version=1", "", NULL, 503, "again");
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
    gate_close();
    int fd = rig_begin(rig, "GET", "/v1/tables/raw/rows", "", NULL);
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_paths_of_rows),
        TEST(test_rows_by_key),
        TEST(test_scans),
        TEST(test_slow_routes_hold_nobody_up),
        TEST(test_stop_during_a_scan),
        TEST(test_topics),
        TEST(test_metrics),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
