/* One HTTP request from its headers to its answer, and the calls that sleep in between.
 *
 *     headers -> admitted or refused -> body -> answered at once
 *                                            -> asked: suspended, http_call_reply, resumed, answered
 *
 * Refusals by the headers (host, type, size, address) are sent before the body is read. */
#include "serve/http_private.h"

#include "base/limits.h"
#include "include/kappa/record.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define CLOSE_WAIT_MS 500 /* for the last answers to leave when the server stops */

/* Guards the members marked so in http_private.h. One for the process: a call may be answered when
 * its server is gone. */
static pthread_mutex_t calls_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const verb_words[] = {
#define X(name, word) [HTTP_VERB_##name] = (word),
#include "serve/calls.def"
#undef X
};

const char *http_verb_word(enum http_verb verb)
{
    ASSERT_CMP(verb, <, HTTP_VERB_COUNT);
    return verb_words[verb];
}

static void lock(void)
{
    int rc = pthread_mutex_lock(&calls_lock);
    ASSERT_CMP(rc, ==, 0);
}

static void unlock(void)
{
    int rc = pthread_mutex_unlock(&calls_lock);
    ASSERT_CMP(rc, ==, 0);
}

static void request_free(struct http_request *request)
{
    MAGIC_ASSERT(request, HTTP_REQUEST_MAGIC);
    free(request->path);
    for (size_t i = 0; i < array_len(request->query_text); i++) {
        free(request->query_text[i]);
    }
    buf_free(&request->body);
    json_decref(request->call_body);
    json_decref(request->reply);
    request->magic = 0;
    request->call.magic = 0;
    free(request);
}

/* One owner lets go; with the lock held. True: the caller frees it. */
static bool request_release(struct http_request *request)
{
    ASSERT_CMP(request->owners, >, 0);
    return --request->owners == 0;
}

/* ---- Admission: what the headers say ---- */

/* A browser that was led here by a foreign name (DNS rebinding) sends that name. */
static int check_host(const struct http_server *server, struct MHD_Connection *connection,
                      struct http_request *request)
{
    if (!server->listening.loopback) {
        return 0;
    }
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    if (host == NULL) {
        return 0; /* HTTP/1.0: no browser */
    }
    size_t len = strcspn(host, host[0] == '[' ? "]" : ":");
    if ((len == 9 && strncasecmp(host, "localhost", len) == 0) ||
        (len >= 7 && strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == len) ||
        strncmp(host, "[::1]", 5) == 0) {
        return 0;
    }
    request->status = MHD_HTTP_FORBIDDEN;
    (void)err_set(&request->err, KE_REFUSED,
                  "the request is for the host \"%.100s\", but this "
                  "server answers for this machine only",
                  host);
    err_hint(&request->err, "use localhost or 127.0.0.1; for access from elsewhere start `kappa up "
                            "--http 0.0.0.0:PORT` behind something that authenticates");
    return -KE_REFUSED;
}

static bool type_is(const char *type, const char *wanted)
{
    size_t len = strcspn(type, "; \t");
    return len == strlen(wanted) && strncasecmp(type, wanted, len) == 0;
}

/* A form of a foreign page cannot set this type, so it cannot post here. */
static int check_type(struct MHD_Connection *connection, struct http_request *request)
{
    const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
    if (type != NULL && type_is(type, "application/json")) {
        return 0;
    }
    if (type != NULL && request->route->body_lines && type_is(type, "application/x-ndjson")) {
        return 0;
    }
    const char *wanted = request->route->body_lines ? "application/x-ndjson" : "application/json";
    request->status = MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
    (void)err_set(&request->err, KE_INVALID, "the content type of a POST must be %s, not %.100s",
                  wanted, type == NULL ? "absent" : type);
    err_hint(&request->err, "with curl: -H 'Content-Type: %s'", wanted);
    return -KE_INVALID;
}

static int too_large(struct http_request *request)
{
    int rc = err_set(&request->err, KE_LIMIT, "the body of the request is larger than %d MiB",
                     LIMIT_HTTP_BODY_BYTES >> 20);
    err_hint(&request->err, "send it in several requests");
    return rc;
}

static int check_length(struct MHD_Connection *connection, struct http_request *request)
{
    const char *text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    bool large = text != NULL && strtoull(text, NULL, 10) > LIMIT_HTTP_BODY_BYTES;
    return large ? too_large(request) : 0;
}

static enum MHD_Result query_add(void *ctx, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    struct http_request *request = ctx;
    uint32_t i = request->parsed.query_count;
    if (i == ROUTE_QUERY_MAX) {
        (void)err_set(&request->err, KE_LIMIT, "more than %d parameters", ROUTE_QUERY_MAX);
        return MHD_NO;
    }
    request->query_text[2 * i] = xstrdup(name);
    request->query_text[2 * i + 1] = xstrdup(value == NULL ? "" : value);
    if (route_unescape(request->query_text[2 * i], &request->err) < 0 ||
        route_unescape(request->query_text[2 * i + 1], &request->err) < 0) {
        return MHD_NO;
    }
    request->parsed.query[i].name = request->query_text[2 * i];
    request->parsed.query[i].value = request->query_text[2 * i + 1];
    request->parsed.query_count++;
    return MHD_YES;
}

/* Fills request->route, or request->err. */
static int admit(struct http_server *server, struct MHD_Connection *connection, const char *url,
                 const char *method, struct http_request *request)
{
    int rc = check_host(server, connection, request);
    if (rc < 0) {
        return rc;
    }
    request->path = xstrdup(url);
    request->parsed.method = strcmp(method, "HEAD") == 0 ? "GET" : method;
    rc = route_split(request->path, &request->parsed, &request->err);
    if (rc < 0) {
        return rc;
    }
    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, query_add, request);
    if (request->err.code != 0) {
        return request->err.code;
    }
    rc = route_find(&request->parsed, &request->route, &request->allow, &request->err);
    if (rc < 0) {
        request->status = request->allow != NULL ? MHD_HTTP_METHOD_NOT_ALLOWED : 0;
        return rc;
    }
    if (strcmp(method, "POST") == 0) {
        rc = check_type(connection, request);
        if (rc == 0) {
            rc = check_length(connection, request);
        }
    }
    return rc;
}

/* ---- Answers ---- */

/* Sends the answer and frees it. */
static enum MHD_Result send_answer(struct http_request *request, struct MHD_Connection *connection,
                                   struct route_answer *answer)
{
    /* The buffer's memory goes to the response, which frees it. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(answer->body.len, answer->body.data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        route_answer_free(answer);
        return MHD_NO;
    }
    answer->body = (struct buf){0};
    (void)MHD_add_response_header(response, "Content-Type", answer->type);
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (request->allow != NULL) {
        (void)MHD_add_response_header(response, "Allow", request->allow);
    }
    for (uint32_t i = 0; i < answer->header_count; i++) {
        (void)MHD_add_response_header(response, answer->headers[i].name, answer->headers[i].value);
    }
    unsigned status = (unsigned)answer->status;
    unsigned class = status / 100;
    ASSERT_CMP(class, <, array_len(request->server->counters.answers));
    __atomic_add_fetch(&request->server->counters.answers[class], 1, __ATOMIC_RELAXED);
    enum MHD_Result sent = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    route_answer_free(answer);
    return sent;
}

static enum MHD_Result send_err(struct http_request *request, struct MHD_Connection *connection)
{
    ASSERT(request->err.code != 0);
    struct route_answer answer;
    route_answer_init(&answer, 0);
    route_answer_err(&answer, &request->err);
    if (request->status != 0) {
        answer.status = request->status;
    }
    return send_answer(request, connection, &answer);
}

static enum MHD_Result answer_now(struct http_request *request, struct MHD_Connection *connection)
{
    struct route_answer answer;
    route_answer_init(&answer, request->route->status);
    int rc =
        request->route->answer(&request->server->context, &request->parsed, &answer, &request->err);
    if (rc < 0) {
        route_answer_free(&answer);
        return send_err(request, connection);
    }
    return send_answer(request, connection, &answer);
}

static enum MHD_Result answer_call(struct http_request *request, struct MHD_Connection *connection)
{
    lock();
    bool answered = request->answered;
    unlock();
    if (!answered) {
        return MHD_YES;
    }
    if (request->err.code != 0) {
        return send_err(request, connection);
    }
    struct route_answer answer;
    route_answer_init(&answer, request->route->status);
    if (request->route->render != NULL) {
        request->route->render(request->reply, &request->server->counters, &answer);
    } else {
        route_answer_json(&answer, request->reply);
    }
    return send_answer(request, connection, &answer);
}

/* ---- Calls ---- */

/* Puts the connection to sleep and hands the call over. */
static enum MHD_Result ask(struct http_request *request, struct MHD_Connection *connection)
{
    struct http_server *server = request->server;
    struct http_call *call = &request->call;
    int rc = route_call(request->route, &request->parsed, &call->processor, &call->version,
                        &request->call_body, &request->err);
    if (rc < 0) {
        return send_err(request, connection);
    }
    call->magic = HTTP_CALL_MAGIC;
    call->verb = request->route->verb;
    call->body = request->call_body;
    lock();
    if (server->stopping) {
        unlock();
        (void)err_set(&request->err, KE_CLOSED, "the server is stopping");
        return send_err(request, connection);
    }
    request->asked = true;
    request->owners++;
    request->connection = connection;
    request->next = server->sleeping;
    if (request->next != NULL) {
        request->next->prev = request;
    }
    server->sleeping = request;
    server->unfinished++;
    MHD_suspend_connection(connection);
    unlock();
    server->options.call(server->options.ctx, call);
    return MHD_YES;
}

/* Takes the request out of the sleepers and wakes its connection; with the lock held. */
static void wake(struct http_request *request)
{
    request->answered = true;
    if (request->prev != NULL) {
        request->prev->next = request->next;
    } else {
        request->server->sleeping = request->next;
    }
    if (request->next != NULL) {
        request->next->prev = request->prev;
    }
    request->next = NULL;
    request->prev = NULL;
    MHD_resume_connection(request->connection);
    request->connection = NULL;
}

void http_call_reply(struct http_call *call, json_t *body, const struct err *err)
{
    MAGIC_ASSERT(call, HTTP_CALL_MAGIC);
    struct http_request *request = container_of(call, struct http_request, call);
    MAGIC_ASSERT(request, HTTP_REQUEST_MAGIC);
    bool failed = err != NULL && err->code != 0;
    ASSERT(failed || body != NULL);
    lock();
    if (request->answered) { /* the server was stopped: nobody waits any more */
        json_decref(body);
    } else {
        if (failed) {
            request->err = *err;
            json_decref(body);
        } else {
            request->reply = body;
        }
        wake(request);
    }
    bool last = request_release(request);
    unlock();
    if (last) {
        request_free(request);
    }
}

void http_requests_close(struct http_server *server)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += CLOSE_WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    lock();
    server->stopping = true;
    while (server->sleeping != NULL) {
        struct http_request *request = server->sleeping;
        (void)err_set(&request->err, KE_CLOSED, "the server is stopping");
        wake(request);
    }
    int rc = 0;
    while (server->unfinished > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&server->finished, &calls_lock, &until);
    }
    unlock();
}

/* ---- Callbacks of the library ---- */

static struct http_request *request_begin(struct http_server *server,
                                          struct MHD_Connection *connection, const char *url,
                                          const char *method)
{
    struct http_request *request = xcalloc(1, sizeof *request);
    request->magic = HTTP_REQUEST_MAGIC;
    request->owners = 1;
    request->server = server;
    if (admit(server, connection, url, method, request) < 0) {
        request->route = NULL;
    }
    return request;
}

static enum MHD_Result body_add(struct http_request *request, const char *upload,
                                size_t *upload_len)
{
    if (request->route != NULL) {
        if (request->body.len + *upload_len > LIMIT_HTTP_BODY_BYTES) {
            (void)too_large(request);
            request->route = NULL; /* the rest is read and dropped */
            buf_reset(&request->body);
        } else {
            buf_append(&request->body, upload, *upload_len);
        }
    }
    *upload_len = 0;
    return MHD_YES;
}

enum MHD_Result http_request_handle(void *server, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *upload, size_t *upload_len, void **state)
{
    (void)version;
    struct http_request *request = *state;
    if (request == NULL) {
        request = request_begin(server, connection, url, method);
        *state = request;
        return request->route == NULL ? send_err(request, connection) : MHD_YES;
    }
    MAGIC_ASSERT(request, HTTP_REQUEST_MAGIC);
    if (*upload_len > 0) {
        return body_add(request, upload, upload_len);
    }
    if (request->route == NULL) {
        return send_err(request, connection);
    }
    if (request->asked) {
        return answer_call(request, connection);
    }
    buf_reserve(&request->body, KAPPA_RECORD_TAIL);
    request->parsed.body = request->body.data;
    request->parsed.body_len = request->body.len;
    return request->route->answer != NULL ? answer_now(request, connection)
                                          : ask(request, connection);
}

void http_request_completed(void *ctx, struct MHD_Connection *connection, void **state,
                            enum MHD_RequestTerminationCode code)
{
    (void)connection;
    (void)code;
    struct http_server *server = ctx;
    struct http_request *request = *state;
    *state = NULL;
    if (request == NULL) {
        return;
    }
    MAGIC_ASSERT(request, HTTP_REQUEST_MAGIC);
    lock();
    if (request->asked && --server->unfinished == 0) {
        (void)pthread_cond_signal(&server->finished);
    }
    bool last = request_release(request);
    unlock();
    if (last) {
        request_free(request);
    }
}
