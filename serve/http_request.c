/* One HTTP request from its headers to its answer. Own header: http_private.h.
 *
 *     headers -> admitted or refused -> body -> answered at once
 *                                            -> asleep, woken with what it waited for, answered
 *
 * Refusals by the headers (host, type, size, address) are sent before the body is read. */
#include "serve/http_private.h"

#include "base/clock.h"
#include "base/limits.h"
#include "include/kappa/record.h"
#include "serve/http_gzip.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_MAX 64 /* requests of a server that are kept to be used again */

static void request_clear(struct http_request *request)
{
    MAGIC_ASSERT(request, HTTP_REQUEST_MAGIC);
    free(request->path);
    for (uint32_t i = 0; i < array_len(request->query_text) && request->query_text[i] != NULL;
         i++) {
        free(request->query_text[i]);
    }
    free(request->if_none_match);
    buf_free(&request->body);
    if (request->has_ready) {
        route_answer_free(&request->ready);
    }
    json_decref(request->call_body);
    json_decref(request->reply);
    request->magic = 0;
    request->call.magic = 0;
}

void http_request_free(struct http_request *request)
{
    request_clear(request);
    free(request);
}

/* A request is large, and what malloc does for large ones costs more than using one again. */
void http_request_spare(struct http_server *server, struct http_request *request)
{
    request_clear(request);
    (void)pthread_mutex_lock(&server->spare_lock);
    if (server->spare_count < SPARE_MAX) {
        request->next = server->spare;
        server->spare = request;
        server->spare_count++;
        request = NULL;
    }
    (void)pthread_mutex_unlock(&server->spare_lock);
    free(request);
}

void http_request_spares_free(struct http_server *server)
{
    while (server->spare != NULL) {
        struct http_request *request = server->spare;
        server->spare = request->next;
        free(request);
    }
}

/* One of zeros. */
static struct http_request *request_take(struct http_server *server)
{
    (void)pthread_mutex_lock(&server->spare_lock);
    struct http_request *request = server->spare;
    if (request != NULL) {
        server->spare = request->next;
        server->spare_count--;
    }
    (void)pthread_mutex_unlock(&server->spare_lock);
    if (request == NULL) {
        return xcalloc(1, sizeof *request);
    }
    memset(request, 0, offsetof(struct http_request, err));
    request->err.code = 0;
    request->err.text[0] = '\0';
    request->err.hint[0] = '\0';
    return request;
}

/* ---- Answers ---- */

/* The body's memory, or its file, goes to the response. */
static struct MHD_Response *response_make(struct route_answer *answer)
{
    struct MHD_Response *response;
    if (answer->spill >= 0) {
        response = MHD_create_response_from_fd64(answer->spilled, answer->spill);
        answer->spill = response == NULL ? answer->spill : -1;
        return response;
    }
    response =
        MHD_create_response_from_buffer(answer->body.len, answer->body.data, MHD_RESPMEM_MUST_FREE);
    if (response != NULL) {
        answer->body = (struct buf){0};
    }
    return response;
}

/* Counts the answer and hands the response over. */
static enum MHD_Result send_response(struct http_request *request,
                                     struct MHD_Connection *connection, int code,
                                     struct MHD_Response *response)
{
    unsigned status = (unsigned)code;
    unsigned class = status / 100;
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    ASSERT_CMP(class, <, array_len(request->server->counters.answers));
    struct route_counters *counters = &request->server->counters;
    __atomic_add_fetch(&counters->answers[class], 1, __ATOMIC_RELAXED);
    if (request->route != NULL) {
        histogram_add(&counters->took[route_number(request->route)],
                      clock_mono_us(clock_real()) - request->begun_us);
    }
    enum MHD_Result sent = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return sent;
}

/* Sends the answer and frees it. */
static enum MHD_Result send_answer(struct http_request *request, struct MHD_Connection *connection,
                                   struct route_answer *answer)
{
    if (request->gzip && answer->spill < 0) {
        http_gzip(answer);
    }
    struct MHD_Response *response = response_make(answer);
    if (response == NULL) {
        route_answer_free(answer);
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, "Content-Type", answer->type);
    (void)MHD_add_response_header(response, "Cache-Control",
                                  answer->tagged ? "no-cache" : "no-store");
    if (request->allow != NULL) {
        (void)MHD_add_response_header(response, "Allow", request->allow);
    }
    if (request->challenge[0] != '\0') {
        (void)MHD_add_response_header(response, "WWW-Authenticate", request->challenge);
    }
    for (uint32_t i = 0; i < answer->header_count; i++) {
        (void)MHD_add_response_header(response, answer->headers[i].name,
                                      route_header_value(answer, i));
    }
    enum MHD_Result sent = send_response(request, connection, answer->status, response);
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
    if (rc == 0 && answer.later) {
        route_answer_free(&answer);
        rc = http_sleep_slow(request, connection);
        return rc < 0 ? send_err(request, connection) : MHD_YES;
    }
    if (rc < 0) {
        route_answer_free(&answer);
        return send_err(request, connection);
    }
    return send_answer(request, connection, &answer);
}

static enum MHD_Result answer_stream(struct http_request *request,
                                     struct MHD_Connection *connection)
{
    struct MHD_Response *response = NULL;
    int rc = request->route->verb == ROUTE_CHANGES
                 ? http_changes_begin(request, connection, &response)
                 : http_stream_begin(request->server->streams, request, connection, &response,
                                     &request->err);
    return rc < 0 ? send_err(request, connection)
                  : send_response(request, connection, request->route->status, response);
}

/* What a sleep has brought. */
static enum MHD_Result answer_slept(struct http_request *request, struct MHD_Connection *connection)
{
    if (!http_sleep_answered(request)) {
        return MHD_YES;
    }
    if (request->err.code != 0) {
        return send_err(request, connection);
    }
    if (request->has_ready) {
        request->has_ready = false;
        return send_answer(request, connection, &request->ready);
    }
    struct route_answer answer;
    route_answer_init(&answer, request->route->status);
    if (request->route->render != NULL) {
        request->route->render(request->reply, &request->server->counters, &answer);
    } else {
        route_answer_json(&answer, request->reply);
        if (json_bool(request->reply, "dry_run", false)) {
            answer.status = MHD_HTTP_OK; /* nothing was made */
        }
    }
    return send_answer(request, connection, &answer);
}

/* ---- Callbacks of the library ---- */

static struct http_request *request_begin(struct http_server *server,
                                          struct MHD_Connection *connection, const char *url,
                                          const char *method)
{
    struct http_request *request = request_take(server);
    request->magic = HTTP_REQUEST_MAGIC;
    request->begun_us = clock_mono_us(clock_real());
    request->owners = 1;
    request->server = server;
    if (http_request_admit(server, connection, url, method, request) < 0) {
        request->route = NULL;
    }
    return request;
}

static enum MHD_Result body_add(struct http_request *request, const char *upload,
                                size_t *upload_len)
{
    if (request->route != NULL) {
        if (request->body.len + *upload_len > LIMIT_HTTP_BODY_BYTES) {
            (void)http_request_too_large(request);
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
    if (request->slept) {
        return answer_slept(request, connection);
    }
    if (request->body.len > 0) {
        buf_reserve(&request->body, KAPPA_RECORD_TAIL);
    }
    request->parsed.body = request->body.data;
    request->parsed.body_len = request->body.len;
    const struct route *route = request->route;
    if (route->answer != NULL && !route->slow) {
        return answer_now(request, connection);
    }
    if (route->answer == NULL && route->verb >= ROUTE_STREAM) {
        return answer_stream(request, connection);
    }
    int rc =
        route->slow ? http_sleep_slow(request, connection) : http_sleep_call(request, connection);
    return rc < 0 ? send_err(request, connection) : MHD_YES;
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
    http_sleep_release(server, request);
}
