/* Goal: calls sleep until they are answered, once, by anyone, in any order, also across a stop;
 * what is wrong with a request is said with the right status; nothing that a socket can send harms.
 * Method: a real server on the loopback, raw sockets, calls kept by the test. */
#include "tests/unit/serve/http_rig.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/prng.h"

static void test_a_call_sleeps_until_it_is_answered(void **state)
{
    struct rig *rig = *state;
    int fd = rig_begin(rig, "POST", "/v1/processors/features/versions/7/abort", RIG_JSON,
                       "{\"who\":\"me\"}");
    struct http_call *call = rig_take(rig);
    assert_int_equal(call->verb, HTTP_VERB_ABORT);
    assert_string_equal(call->processor, "features");
    assert_int_equal(call->version, 7);
    assert_string_equal(json_text(call->body, "who", ""), "me");
    char byte;
    usleep(50000);
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1); /* nothing has come */
    http_call_reply(call, json_pack("{s:i}", "version", 7), NULL);
    struct answer answer;
    rig_receive(fd, &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(buf_text(&answer.body), "{\"version\":7}\n");
    assert_non_null(strstr(buf_text(&answer.head), "application/json"));
    answer_free(&answer);
}

static void test_what_each_route_asks(void **state)
{
    struct rig *rig = *state;

    static const struct {
        const char *method;
        const char *path;
        const char *body;
        const char *verb;
        const char *processor;
        uint32_t version;
        int status;
    } cases[] = {
        {"GET", "/v1/status", NULL, "status", NULL, 0, 200},
        {"GET", "/v1/processors", NULL, "status", NULL, 0, 200},
        {"GET", "/v1/processors/p.1", NULL, "status", "p.1", 0, 200},
        {"POST", "/v1/processors", "{\"name\":\"n\",\"sql\":\"s\"}", "deploy", "n", 0, 201},
        {"POST", "/v1/processors/p/replay", "{}", "replay", "p", 0, 201},
        {"POST", "/v1/processors/p/swap", "{\"version\":3}", "swap", "p", 3, 200},
        {"POST", "/v1/processors/p/swap", "", "swap", "p", 0, 200},
        {"POST", "/v1/processors/p/rollback", "{}", "rollback", "p", 0, 200},
        {"POST", "/v1/processors/p/versions/2/pause", "{}", "pause", "p", 2, 200},
        {"POST", "/v1/processors/p/versions/2/limit", "{}", "limit", "p", 2, 200},
        {"POST", "/v1/processors/p/versions/2/resume", "{}", "resume", "p", 2, 200},
        {"POST", "/v1/processors/p/versions/2/drop", "{}", "drop", "p", 2, 200},
        {"POST", "/v1/processors/p/versions/2/verify", "{}", "verify", "p", 2, 200},
        {"GET", "/v1/processors/p/history", NULL, "history", "p", 0, 200},
        {"GET", "/v1/processors/p/plots", NULL, "plots", "p", 0, 200},
        {"GET", "/readyz", NULL, "status", NULL, 0, 200},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        int fd = rig_begin(rig, cases[i].method, cases[i].path,
                           cases[i].body == NULL ? "" : RIG_JSON, cases[i].body);
        struct http_call *call = rig_take(rig);
        assert_string_equal(http_verb_word(call->verb), cases[i].verb);
        assert_int_equal(call->version, cases[i].version);
        if (cases[i].processor == NULL) {
            assert_null(call->processor);
        } else {
            assert_string_equal(call->processor, cases[i].processor);
        }
        assert_int_equal(call->body != NULL, cases[i].body != NULL);
        http_call_reply(call, json_object(), NULL);
        struct answer answer;
        rig_receive(fd, &answer);
        assert_int_equal(answer.status, cases[i].status);
        answer_free(&answer);
    }
}

static void test_errors_of_calls(void **state)
{
    struct rig *rig = *state;

    static const struct {
        const char *word;
        enum err_code code;
        int status;
    } cases[] = {
        {"not_found", KE_NOT_FOUND, 404}, {"refused", KE_REFUSED, 409},     {"sql", KE_SQL, 400},
        {"timeout", KE_TIMEOUT, 504},     {"disk_full", KE_DISK_FULL, 507},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        int fd = rig_begin(rig, "POST", "/v1/processors/p/swap", RIG_JSON, "{}");
        struct err err = {0};
        (void)err_set(&err, cases[i].code, "line one \"quoted\"\nline two\n  ^");
        err_hint(&err, "do this");
        http_call_reply(rig_take(rig), NULL, &err);
        struct answer answer;
        rig_receive(fd, &answer);
        assert_int_equal(answer.status, cases[i].status);
        json_t *body = json_loadb(buf_text(&answer.body), answer.body.len, 0, NULL);
        const json_t *error = json_object_get(body, "error");
        assert_string_equal(json_text(error, "code", ""), cases[i].word);
        assert_string_equal(json_text(error, "message", ""), "line one \"quoted\"\nline two\n  ^");
        assert_string_equal(json_text(error, "hint", ""), "do this");
        json_decref(body);
        answer_free(&answer);
    }
}

static void test_refusals(void **state)
{
    struct rig *rig = *state;
    rig_expect(rig, "GET", "/v1/nothing", "", NULL, 404, "not_found");
    rig_expect(rig, "GET", "/dashboard/nothing.js", "", NULL, 404, "not_found");
    rig_expect(rig, "GET", "/v1/status", "Host: evil.example\r\n", NULL, 403, "refused");
    rig_expect(rig, "GET", "/v1/status", "Host: 127.evil.example\r\n", NULL, 403, "refused");
    rig_expect(rig, "GET", "/v1/status", "Host: localhost.evil.example:80\r\n", NULL, 403,
               "refused");
    rig_expect(rig, "POST", "/v1/processors/p/swap", "", "{}", 415, "invalid");
    rig_expect(rig, "POST", "/v1/processors/p/swap", "Content-Type: text/plain\r\n", "{}", 415,
               "invalid");
    rig_expect(rig, "POST", "/v1/processors/p/swap", "Content-Type: application/jsonx\r\n", "{}",
               415, "invalid");
    rig_expect(rig, "POST", "/v1/processors/p/swap", RIG_JSON, "{", 400, "invalid");
    rig_expect(rig, "POST", "/v1/processors/p/swap", RIG_JSON, "[]", 400, "invalid");
    rig_expect(rig, "POST", "/v1/processors/p/swap", RIG_JSON, "{\"version\":-1}", 400, "invalid");
    rig_expect(rig, "POST", "/v1/processors/p/swap", RIG_JSON, "{\"version\":\"1\"}", 400,
               "invalid");
    rig_expect(rig, "POST", "/v1/processors", RIG_JSON, "{\"name\":\"x\"}", 400, "invalid");
    rig_expect(rig, "POST", "/v1/processors", RIG_JSON, "{\"name\":\"../x\",\"sql\":\"\"}", 400,
               "invalid");
    rig_expect(rig, "POST", "/v1/processors/p/versions/x/abort", RIG_JSON, "{}", 400, "invalid");
    rig_expect(rig, "POST", "/v1/processors/p/versions/0/abort", RIG_JSON, "{}", 400, "invalid");
    rig_expect(rig, "POST", "/v1/processors/..%2Fp/rollback", RIG_JSON, "{}", 400, "invalid");
    rig_expect(rig, "GET", "/v1/status?verbose=1", "", NULL, 400, "invalid");
    rig_expect(rig, "GET", "/v1/processors/%zz", "", NULL, 400, "invalid");
    rig_expect(rig, "GET", "/v1/processors/%00", "", NULL, 400, "invalid");
    rig_expect(rig, "GET", "/v1/processors/%ff", "", NULL, 400, "invalid");
    rig_expect(rig, "DELETE", "/v1/status", "", NULL, 405, "invalid");
    rig_expect(rig, "POST", "/v1/status", RIG_JSON, "{}", 405, "invalid");
    struct answer answer;
    rig_ask(rig, "PUT", "/v1/topics", "", NULL, &answer);
    assert_non_null(strstr(buf_text(&answer.head), "Allow: GET, HEAD, POST"));
    answer_free(&answer);
    assert_int_equal(rig->call_count, 0);
}

/* What browsers say of a request that another site's page makes. */
static void test_other_sites(void **state)
{
    struct rig *rig = *state;
    __atomic_store_n(&rig->echo, true, __ATOMIC_RELEASE);

    static const struct {
        const char *headers;
        int status;
    } cases[] = {
        {"Origin: http://evil.example\r\n", 403},
        {"Origin: null\r\n", 403},
        {"Origin: http://localhost:9\r\nHost: localhost:8\r\n", 403},
        {"Origin: http://localhost:8\r\nHost: localhost:8\r\n", 200},
        {"Origin: http://localhost\r\n", 200},
        {"Sec-Fetch-Site: cross-site\r\n", 403},
        {"Sec-Fetch-Site: same-site\r\nOrigin: http://localhost\r\n", 403},
        {"Sec-Fetch-Site: none\r\n", 200},
        {"Sec-Fetch-Site: same-origin\r\nOrigin: https://proxy.example\r\n", 200},
    };

    for (size_t i = 0; i < array_len(cases); i++) {
        char headers[300];
        (void)snprintf(headers, sizeof headers, "%s%s", RIG_JSON, cases[i].headers);
        rig_expect(rig, "POST", "/v1/processors/p/rollback", headers, "{}", cases[i].status,
                   cases[i].status == 200 ? "" : "refused");
    }
}

static void test_good_hosts(void **state)
{
    struct rig *rig = *state;
    static const char *const hosts[] = {"localhost",   "localhost:8317", "LocalHost",
                                        "127.0.0.1:1", "127.0.0.53",     "[::1]:8317"};
    for (size_t i = 0; i < array_len(hosts); i++) {
        char line[100];
        (void)snprintf(line, sizeof line, "Host: %s\r\n", hosts[i]);
        rig_expect(rig, "GET", "/healthz", line, NULL, 200, "");
    }
    struct answer answer;
    rig_ask(rig, "HEAD", "/healthz", "", NULL, &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.len, 0);
    answer_free(&answer);
}

/* Larger than the bound, announced and not. */
static void test_large_bodies(void **state)
{
    struct rig *rig = *state;
    int fd = rig_connect(rig);
    static const char announced[] = "POST /v1/processors/p/swap HTTP/1.1\r\nHost: localhost\r\n"
                                    "Content-Type: application/json\r\nContent-Length: 8388609\r\n"
                                    "Connection: close\r\n\r\n";
    struct answer answer;
    rig_send(fd, announced, sizeof announced - 1);
    rig_receive(fd, &answer);
    assert_int_equal(answer.status, 413);
    answer_free(&answer);

    fd = rig_connect(rig);
    static const char chunked[] = "POST /v1/processors/p/swap HTTP/1.1\r\nHost: localhost\r\n"
                                  "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
                                  "Connection: close\r\n\r\n";
    rig_send(fd, chunked, sizeof chunked - 1);
    char *chunk = xmalloc(1U << 20);
    memset(chunk, ' ', 1U << 20);
    for (int i = 0; i < 9; i++) {
        rig_send(fd, "100000\r\n", 8);
        rig_send(fd, chunk, 1U << 20);
        rig_send(fd, "\r\n", 2);
    }
    rig_send(fd, "0\r\n\r\n", 5);
    rig_receive(fd, &answer);
    assert_int_equal(answer.status, 413);
    answer_free(&answer);
    free(chunk);

    /* Just within it. */
    char *body = xmalloc(LIMIT_HTTP_BODY_BYTES + 1);
    memset(body, ' ', LIMIT_HTTP_BODY_BYTES);
    body[LIMIT_HTTP_BODY_BYTES] = '\0';
    body[0] = '{';
    body[1] = '}';
    __atomic_store_n(&rig->echo, true, __ATOMIC_RELEASE);
    rig_expect(rig, "POST", "/v1/processors/p/swap", RIG_JSON, body, 200, "");
    free(body);
}

/* Many connections asleep at once, answered in a random order: each gets its own answer. */
static void test_many_asleep(void **state)
{
    struct rig *rig = *state;

    enum { MANY = 200 };

    int fds[MANY];
    struct prng prng;
    prng_init(&prng, unit_seed("asleep"));
    for (int i = 0; i < MANY; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "/v1/processors/p%d", i);
        fds[i] = rig_begin(rig, "GET", path, "", NULL);
    }
    rig_wait(rig, MANY);
    rig_expect(rig, "GET", "/healthz", "", NULL, 200, ""); /* the threads are free */
    while (rig->call_count > 0) {
        int i = (int)prng_below(&prng, (uint64_t)rig->call_count);
        struct http_call *call = rig->calls[i];
        rig->calls[i] = rig->calls[--rig->call_count];
        http_call_reply(call, json_pack("{s:s}", "name", call->processor), NULL);
    }
    for (int i = 0; i < MANY; i++) {
        char wanted[64];
        (void)snprintf(wanted, sizeof wanted, "{\"name\":\"p%d\"}\n", i);
        struct answer answer;
        rig_receive(fds[i], &answer);
        assert_string_equal(buf_text(&answer.body), wanted);
        answer_free(&answer);
    }
}

/* The person has gone before the answer came. */
static void test_client_gone(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 20; i++) {
        int fd = rig_begin(rig, "POST", "/v1/processors/p/swap", RIG_JSON, "{}");
        struct http_call *call = rig_take(rig);
        close(fd);
        http_call_reply(call, json_object(), NULL);
    }
    rig_expect(rig, "GET", "/healthz", "", NULL, 200, "");
}

/* Sleepers get CLOSED; the calls may be answered when the server is long gone. */
static void test_stop_with_sleepers(void **state)
{
    struct rig *rig = *state;

    enum { SLEEPERS = 30 };

    int fds[SLEEPERS];
    for (int i = 0; i < SLEEPERS; i++) {
        fds[i] = rig_begin(rig, "POST", "/v1/processors/p/swap", RIG_JSON, "{}");
    }
    rig_wait(rig, SLEEPERS);
    http_server_stop(rig->server);
    rig->server = NULL;
    for (int i = 0; i < SLEEPERS; i++) {
        struct answer answer;
        rig_receive(fds[i], &answer);
        assert_int_equal(answer.status, 503);
        assert_non_null(strstr(buf_text(&answer.body), "\"closed\""));
        answer_free(&answer);
    }
    struct err err = {0};
    (void)err_set(&err, KE_REFUSED, "too late");
    while (rig->call_count > 0) {
        struct http_call *call = rig_take(rig);
        assert_string_equal(call->processor, "p"); /* still whole */
        http_call_reply(call, rig->call_count % 2 == 0 ? json_object() : NULL,
                        rig->call_count % 2 == 0 ? NULL : &err);
    }
}

struct hammer {
    struct rig *rig;
    int number;
    int good;
};

static void *hammer_run(void *ctx)
{
    struct hammer *hammer = ctx;
    for (int i = 0; i < 100; i++) {
        char path[64];
        char wanted[64];
        (void)snprintf(path, sizeof path, "/v1/processors/t%d-%d", hammer->number, i);
        (void)snprintf(wanted, sizeof wanted, "\"t%d-%d\"", hammer->number, i);
        struct answer answer;
        rig_ask(hammer->rig, "GET", path, "", NULL, &answer);
        hammer->good += answer.status == 200 && strstr(buf_text(&answer.body), wanted) != NULL;
        answer_free(&answer);
        if (i % 10 == 0) { /* looks at what the other threads count */
            rig_expect(hammer->rig, "GET", "/metrics", "", NULL, 200, "");
        }
    }
    return NULL;
}

/* Answered from within call(), while the connection is just going to sleep. */
static void test_answers_at_once_from_many_threads(void **state)
{
    struct rig *rig = *state;
    __atomic_store_n(&rig->echo, true, __ATOMIC_RELEASE);
    struct hammer hammers[8];
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        hammers[i] = (struct hammer){.rig = rig, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer_run, &hammers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(hammers[i].good, 100);
    }
}

/* Bytes that are nearly HTTP. The server stays, and answers the next good request. */
static void test_garbage(void **state)
{
    struct rig *rig = *state;
    __atomic_store_n(&rig->echo, true, __ATOMIC_RELEASE);
    struct prng prng;
    prng_init(&prng, unit_seed("garbage"));
    static const char good[] =
        "POST /v1/topics/t/records?key=a&time=b HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: application/x-ndjson\r\nContent-Length: 10\r\n"
        "Connection: close\r\n\r\n{\"a\":1}\n{}";
    for (int i = 0; i < 300; i++) {
        char text[sizeof good];
        size_t len = sizeof good - 1;
        memcpy(text, good, sizeof good);
        for (uint64_t n = prng_below(&prng, 6); n > 0; n--) {
            text[prng_below(&prng, len)] = (char)prng_below(&prng, 256);
        }
        if (prng_below(&prng, 4) == 0) {
            len = prng_below(&prng, len);
        }
        int fd = rig_connect(rig);
        rig_send(fd, text, len);
        /* A connection that says too little is kept for a while: no use to wait for its end. */
        struct timeval limit = {.tv_usec = 5000};
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
        struct answer answer;
        rig_receive(fd, &answer);
        answer_free(&answer);
    }
    rig_expect(rig, "GET", "/healthz", "", NULL, 200, "");
}

static void test_port_in_use(void **state)
{
    struct rig *rig = *state;
    struct err err = {0};
    struct http_server *second;
    struct http_options options = {.address = http_server_address(rig->server), .call = rig_call};
    assert_int_equal(http_server_start(&options, &second, &err), -KE_BUSY);
    assert_non_null(strstr(err.text, http_server_address(rig->server)));
    assert_non_null(strstr(err.hint, "--http"));
    static const char *const bad[] = {"", "x", "127.0.0.1:", "127.0.0.1:99999", "1:2:3", "[::1:5"};
    for (size_t i = 0; i < array_len(bad); i++) {
        options.address = bad[i];
        assert_int_equal(http_server_start(&options, &second, &err), -KE_INVALID);
    }
}

/* Without reader and log a server still carries control calls. */
static void test_without_data(void **state)
{
    struct rig *rig = *state;
    struct err err = {0};
    struct http_server *bare;
    struct http_options options = {.address = "127.0.0.1:0", .ctx = rig, .call = rig_call};
    struct http_server *whole = rig->server;
    assert_int_equal(http_server_start(&options, &bare, &err), 0);
    rig->server = bare;
    rig_expect(rig, "GET", "/v1/tables/t/rows/k", "", NULL, 503, "closed");
    rig_expect(rig, "GET", "/v1/topics", "", NULL, 503, "closed");
    __atomic_store_n(&rig->echo, true, __ATOMIC_RELEASE);
    rig_expect(rig, "GET", "/v1/status", "", NULL, 200, "");
    rig->server = whole;
    http_server_stop(bare);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_call_sleeps_until_it_is_answered),
        TEST(test_what_each_route_asks),
        TEST(test_errors_of_calls),
        TEST(test_refusals),
        TEST(test_good_hosts),
        TEST(test_other_sites),
        TEST(test_large_bodies),
        TEST(test_many_asleep),
        TEST(test_client_gone),
        TEST(test_stop_with_sleepers),
        TEST(test_answers_at_once_from_many_threads),
        TEST(test_garbage),
        TEST(test_port_in_use),
        TEST(test_without_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
