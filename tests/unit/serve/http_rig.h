/* A server on a free port of the loopback, raw sockets to talk to it, and a controller that is a
 * list of calls which the test answers when it likes. */
#ifndef KAPPA_TESTS_HTTP_RIG_H
#define KAPPA_TESTS_HTTP_RIG_H

#include "base/buf.h"
#include "log/log.h"
#include "serve/http.h"
#include "serve/reader.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#define RIG_CALLS_MAX 256

struct rig {
    struct http_server *server;
    struct log *log;
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct http_call *calls[RIG_CALLS_MAX]; /* not yet answered by the test */
    int call_count;
    bool echo; /* atomic: answer at once, from the thread that asks, with the processor's name */
};

static inline void rig_call(void *ctx, struct http_call *call)
{
    struct rig *rig = ctx;
    assert_int_equal(call->magic, HTTP_CALL_MAGIC);
    if (__atomic_load_n(&rig->echo, __ATOMIC_ACQUIRE)) {
        const char *name = call->processor == NULL ? "" : call->processor;
        http_call_reply(
            call, json_pack("{s:s,s:s}", "name", name, "verb", http_verb_word(call->verb)), NULL);
        return;
    }
    pthread_mutex_lock(&rig->lock);
    assert_true(rig->call_count < RIG_CALLS_MAX);
    rig->calls[rig->call_count++] = call;
    pthread_cond_signal(&rig->came);
    pthread_mutex_unlock(&rig->lock);
}

/* Waits until this many calls are there; the oldest first. */
static inline void rig_wait(struct rig *rig, int count)
{
    pthread_mutex_lock(&rig->lock);
    while (rig->call_count < count) {
        pthread_cond_wait(&rig->came, &rig->lock);
    }
    pthread_mutex_unlock(&rig->lock);
}

static inline struct http_call *rig_take(struct rig *rig)
{
    rig_wait(rig, 1);
    pthread_mutex_lock(&rig->lock);
    struct http_call *call = rig->calls[--rig->call_count];
    pthread_mutex_unlock(&rig->lock);
    return call;
}

/* A server over this reader, which may be NULL. */
static inline struct rig *rig_open(struct reader *reader)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    struct err err = {0};
    pthread_mutex_init(&rig->lock, NULL);
    pthread_cond_init(&rig->came, NULL);
    assert_int_equal(log_open_memory(&rig->log, &err), 0);
    struct http_options options = {
        .address = "127.0.0.1:0", .reader = reader, .log = rig->log, .ctx = rig, .call = rig_call};
    if (http_server_start(&options, &rig->server, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return rig;
}

static inline void rig_close(struct rig *rig)
{
    if (rig->server != NULL) {
        http_server_stop(rig->server);
    }
    rig->log->ops->close(rig->log);
    pthread_mutex_destroy(&rig->lock);
    pthread_cond_destroy(&rig->came);
    free(rig);
}

static inline int rig_setup(void **state)
{
    *state = rig_open(NULL);
    return 0;
}

static inline int rig_teardown(void **state)
{
    rig_close(*state);
    return 0;
}

/* ---- A client ---- */

static inline int rig_connect_port(uint16_t port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    struct timeval limit = {.tv_sec = 120};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    return fd;
}

static inline int rig_connect(const struct rig *rig)
{
    return rig_connect_port(http_server_port(rig->server));
}

static inline void rig_send(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return; /* the server may close early: the answer tells */
        }
        at += sent;
        len -= (size_t)sent;
    }
}

struct answer {
    int status;      /* 0: the connection was closed without one */
    struct buf head; /* all header lines */
    struct buf body;
};

static inline void answer_free(struct answer *answer)
{
    buf_free(&answer->head);
    buf_free(&answer->body);
}

/* Reads to the end of the connection: requests say Connection: close. */
static inline void rig_receive(int fd, struct answer *answer)
{
    struct buf all = {0};
    char block[16384];
    ssize_t len;
    while ((len = recv(fd, block, sizeof block, 0)) > 0) {
        buf_append(&all, block, (size_t)len);
    }
    close(fd);
    *answer = (struct answer){0};
    const char *text = buf_text(&all);
    const char *end = strstr(text, "\r\n\r\n");
    if (end != NULL && strncmp(text, "HTTP/1.1 ", 9) == 0) {
        answer->status = (int)strtol(text + 9, NULL, 10);
        buf_append(&answer->head, text, (size_t)(end - text));
        buf_append(&answer->body, end + 4, all.len - (size_t)(end + 4 - text));
    }
    buf_free(&all);
}

/* Sends a request, does not wait. headers: lines with their ends, or "". */
static inline int rig_begin(const struct rig *rig, const char *method, const char *path,
                            const char *headers, const char *body)
{
    struct buf text = {0};
    int fd = rig_connect(rig);
    buf_printf(&text, "%s %s HTTP/1.1\r\nConnection: close\r\n%s", method, path, headers);
    if (strstr(headers, "Host:") == NULL) {
        buf_append_text(&text, "Host: localhost\r\n");
    }
    if (body != NULL) {
        buf_printf(&text, "Content-Length: %zu\r\n", strlen(body));
    }
    buf_append_text(&text, "\r\n");
    buf_append_text(&text, body == NULL ? "" : body);
    rig_send(fd, text.data, text.len);
    buf_free(&text);
    return fd;
}

static inline void rig_ask(const struct rig *rig, const char *method, const char *path,
                           const char *headers, const char *body, struct answer *answer)
{
    rig_receive(rig_begin(rig, method, path, headers, body), answer);
}

#define RIG_JSON  "Content-Type: application/json\r\n"
#define RIG_LINES "Content-Type: application/x-ndjson\r\n"

/* The status, and the code of the error in the body ("" without one). */
static inline void rig_expect(const struct rig *rig, const char *method, const char *path,
                              const char *headers, const char *body, int status, const char *code)
{
    struct answer answer;
    rig_ask(rig, method, path, headers, body, &answer);
    if (answer.status != status) {
        fail_msg("%s %s: status %d, not %d: %s", method, path, answer.status, status,
                 buf_text(&answer.body));
    }
    json_t *object = json_loadb(buf_text(&answer.body), answer.body.len, 0, NULL);
    const json_t *error = json_object_get(object, "error");
    const char *got = json_text(error, "code", "");
    if (strcmp(got, code) != 0) {
        fail_msg("%s %s: code %s, not %s", method, path, got, code);
    }
    if (code[0] != '\0') {
        assert_true(strlen(json_text(error, "message", "")) > 10);
    }
    json_decref(object);
    answer_free(&answer);
}

#endif
