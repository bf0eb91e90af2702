/* Goal: who watches the status gets the newest document, whole, however slowly it reads; nothing is
 * sent that is the same; streams end with the server and leave no room taken.
 * Method: a real server on the loopback, raw sockets, documents published by the test. */
#include "tests/unit/serve/http_rig.h"

#include "serve/http_private.h"

#include <poll.h>

#define SECOND INT64_C(1000000)

static int watch(const struct rig *rig)
{
    static const char request[] =
        "GET /v1/status/stream HTTP/1.0\r\nHost: localhost\r\n\r\n"; /* 1.0: no chunks */
    int fd = rig_connect(rig);
    rig_send(fd, request, sizeof request - 1);
    return fd;
}

/* Reads until the text so far contains `wanted`. */
static void read_until(int fd, struct buf *text, const char *wanted)
{
    size_t from = 0; /* what lies before was searched */
    while (strstr(buf_text(text) + from, wanted) == NULL) {
        from = text->len > strlen(wanted) ? text->len - strlen(wanted) : 0;
        char block[65536];
        ssize_t len = recv(fd, block, sizeof block, 0);
        if (len <= 0) {
            fail_msg("the stream ended before %s: %.300s", wanted, buf_text(text));
        }
        buf_append(text, block, (size_t)len);
    }
}

static void publish(const struct rig *rig, int number, int64_t now_us)
{
    json_t *status = json_pack("{s:i}", "n", number);
    http_streams_publish(rig->server->streams, status, now_us);
    json_decref(status);
}

static int occurrences(const char *text, const char *what)
{
    int count = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
        count++;
    }
    return count;
}

static void wait_watched(const struct rig *rig, bool wanted)
{
    for (int i = 0; i < 1000 && http_server_watched(rig->server) != wanted; i++) {
        usleep(5000);
    }
    assert_int_equal(http_server_watched(rig->server), wanted);
}

static void test_changes_and_signs_of_life(void **state)
{
    struct rig *rig = *state;
    struct buf text = {0};
    assert_false(http_server_watched(rig->server));
    int fd = watch(rig);
    read_until(fd, &text, "retry: 2000\n\n");
    assert_non_null(strstr(buf_text(&text), "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(buf_text(&text), "Cache-Control: no-store\r\n"));
    assert_true(http_server_watched(rig->server));
    publish(rig, 1, SECOND);
    read_until(fd, &text, "event: status\ndata: {\"n\":1}\n\n");
    publish(rig, 1, 2 * SECOND);
    publish(rig, 1, 3 * SECOND);
    publish(rig, 2, 4 * SECOND);
    read_until(fd, &text, "data: {\"n\":2}\n\n");
    assert_int_equal(occurrences(buf_text(&text), "data:"), 2); /* the same is not said again */
    assert_null(strstr(buf_text(&text), ": alive"));
    publish(rig, 2, 18 * SECOND);
    publish(rig, 2, 19 * SECOND); /* 15 s without news */
    read_until(fd, &text, ": alive\n\n");
    publish(rig, 3, 20 * SECOND);
    read_until(fd, &text, "data: {\"n\":3}\n\n");
    assert_int_equal(occurrences(buf_text(&text), ": alive"), 1);

    struct buf second = {0}; /* another one is told at once */
    int late = watch(rig);
    read_until(late, &second, "data: {\"n\":3}\n\n");
    close(fd);
    close(late);
    publish(rig, 4, 21 * SECOND); /* finds that they are gone */
    for (int i = 22; http_server_watched(rig->server) && i < 200; i++) {
        usleep(5000);
        publish(rig, i, i * SECOND);
    }
    wait_watched(rig, false);
    buf_free(&text);
    buf_free(&second);
}

static void await_bytes(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&wanted, 1, 120000), 1);
}

/* It reads nothing while 300 documents of 100 KB pass: it gets some of them, whole, and the last. */
static void test_slow_client(void **state)
{
    struct rig *rig = *state;
    struct buf text = {0};
    int fd = watch(rig);
    read_until(fd, &text, "retry: 2000\n\n");
    char *filler = xmalloc(100001);
    memset(filler, 'x', 100000);
    filler[100000] = '\0';
    for (int i = 1; i <= 300; i++) {
        json_t *status = json_pack("{s:i, s:s, s:i}", "n", i, "filler", filler, "end", i);
        http_streams_publish(rig->server->streams, status, i * SECOND);
        json_decref(status);
        usleep(500);
        if (i == 1) {
            await_bytes(fd); /* of the first, however late the server is */
        }
    }
    read_until(fd, &text, "\"end\":300}\n\n");
    int events = occurrences(buf_text(&text), "event: status\n");
    assert_in_range(events, 2, 200); /* what fits the sockets, and the newest */
    assert_int_equal(occurrences(buf_text(&text), "xxx\",\"end\":"), events);
    assert_true(text.len > (size_t)events * 100000); /* whole ones */
    free(filler);
    close(fd);
    buf_free(&text);
}

static void test_too_many(void **state)
{
    struct rig *rig = *state;
    static int fds[HTTP_STREAMS_MAX];
    struct buf text = {0};
    for (int i = 0; i < HTTP_STREAMS_MAX; i++) {
        fds[i] = watch(rig);
        buf_reset(&text);
        read_until(fds[i], &text, "retry: 2000\n\n");
    }
    struct answer answer;
    rig_ask(rig, "GET", "/v1/status/stream", "", NULL, &answer);
    assert_true(answer.status >= 400);
    assert_non_null(strstr(buf_text(&answer.body), "128 clients watch the status already"));
    answer_free(&answer);
    rig_expect(rig, "GET", "/healthz", "", NULL, 200, "");
    for (int i = 0; i < HTTP_STREAMS_MAX; i++) {
        close(fds[i]);
    }
    for (int i = 1; http_server_watched(rig->server) && i < 1000; i++) {
        publish(rig, i, i * SECOND);
        usleep(5000);
    }
    assert_false(http_server_watched(rig->server));
    int fd = watch(rig);
    buf_reset(&text);
    read_until(fd, &text, "retry: 2000\n\n");
    assert_null(strstr(buf_text(&text), "event:")); /* an old status is not told */
    close(fd);
    buf_free(&text);
}

static void test_stop(void **state)
{
    struct rig *rig = *state;
    int fds[10];
    struct buf text = {0};
    for (int i = 0; i < 10; i++) {
        fds[i] = watch(rig);
        buf_reset(&text);
        read_until(fds[i], &text, "retry: 2000\n\n");
    }
    publish(rig, 1, SECOND);
    http_server_stop(rig->server);
    rig->server = NULL;
    for (int i = 0; i < 10; i++) {
        char block[1000];
        ssize_t len;
        do {
            len = recv(fds[i], block, sizeof block, 0);
        } while (len > 0);
        assert_int_equal(len, 0); /* ended, not hanging */
        close(fds[i]);
    }
    buf_free(&text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_changes_and_signs_of_life),
        TEST(test_slow_client),
        TEST(test_too_many),
        TEST(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
