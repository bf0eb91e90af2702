/* Requests that wait with their connection suspended: for the controller, or for a slow route that
 * runs in a thread of its own, so that neither a long scan nor a broker that is away keeps the
 * threads of the server. Own headers: http.h, http_private.h. */
#include "serve/http_gzip.h"
#include "serve/http_private.h"

#include <time.h>

#define CLOSE_WAIT_MS 500 /* for the last answers to leave when the server stops */
#define SLOW_MAX      32  /* threads of slow routes at a time */

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

/* One owner lets go; with the lock held. True: the caller frees it. */
static bool release(struct http_request *request)
{
    ASSERT_CMP(request->owners, >, 0);
    return --request->owners == 0;
}

static int is_stopping(struct err *err)
{
    return err_set(err, KE_CLOSED, "the server is stopping");
}

/* Suspends the connection and puts the request among the sleepers; with the lock held. */
static void fall_asleep(struct http_request *request, struct MHD_Connection *connection)
{
    struct http_server *server = request->server;
    ASSERT(!request->slept);
    request->slept = true;
    request->owners++;
    request->connection = connection;
    request->next = server->sleeping;
    if (request->next != NULL) {
        request->next->prev = request;
    }
    server->sleeping = request;
    server->unfinished++;
    MHD_suspend_connection(connection);
}

/* Takes the request out of the sleepers and wakes its connection; with the lock held. */
static void wake(struct http_request *request)
{
    ASSERT(!request->answered);
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

bool http_sleep_answered(const struct http_request *request)
{
    lock();
    bool answered = request->answered;
    unlock();
    return answered;
}

void http_sleep_release(struct http_server *server, struct http_request *request)
{
    if (!request->slept) { /* nobody else ever had it */
        ASSERT_CMP(request->owners, ==, 1);
        http_request_spare(server, request);
        return;
    }
    lock();
    if (--server->unfinished == 0) {
        (void)pthread_cond_broadcast(&server->finished);
    }
    bool last = release(request);
    unlock();
    if (last) {
        http_request_spare(server, request);
    }
}

/* ---- Calls ---- */

int http_sleep_call(struct http_request *request, struct MHD_Connection *connection)
{
    struct http_server *server = request->server;
    struct http_call *call = &request->call;
    int rc = route_call(request->route, &request->parsed, &call->processor, &call->version,
                        &request->call_body, &request->err);
    if (rc < 0) {
        return rc;
    }
    if (request->person.name[0] != '\0' && request->call_body != NULL &&
        request->route->method[0] == 'P') {
        rc = json_object_set_new(request->call_body, "who", json_string(request->person.name));
        ASSERT(rc == 0);
    }
    call->magic = HTTP_CALL_MAGIC;
    call->verb = request->route->verb;
    call->body = request->call_body;
    lock();
    if (server->stopping) {
        unlock();
        return is_stopping(&request->err);
    }
    fall_asleep(request, connection);
    unlock();
    server->options.call(server->options.ctx, call);
    return 0;
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
    bool last = release(request);
    unlock();
    if (last) {
        http_request_free(request);
    }
}

/* ---- Slow routes ---- */

/* The thread's result; it lets go of the request and of the server. */
static void slow_finish(struct http_request *request, struct route_answer *answer,
                        const struct err *err)
{
    struct http_server *server = request->server;
    bool taken = false;
    lock();
    if (!request->answered) {
        if (err->code != 0) {
            request->err = *err;
        } else {
            request->ready = *answer;
            request->has_ready = true;
            taken = true;
        }
        wake(request);
    }
    if (--server->running == 0) {
        (void)pthread_cond_broadcast(&server->finished);
    }
    bool last = release(request);
    unlock();
    if (!taken) {
        route_answer_free(answer);
    }
    if (last) {
        http_request_free(request);
    }
}

static void *slow_run(void *ctx)
{
    struct http_request *request = ctx;
    MAGIC_ASSERT(request, HTTP_REQUEST_MAGIC);
    struct route_answer answer;
    struct err err = {0};
    route_answer_init(&answer, request->route->status);
    const struct route *route = request->route;
    int rc = (route->slowly != NULL ? route->slowly : route->answer)(
        &request->server->context, &request->parsed, &answer, &err);
    if (rc == 0 && answer.spill >= 0) {
        rc = route_answer_spill_rest(&answer, &err);
    }
    ASSERT((rc < 0) == (err.code != 0));
    if (rc == 0 && request->gzip) {
        http_gzip(&answer);
    }
    slow_finish(request, &answer, &err);
    return NULL;
}

int http_sleep_slow(struct http_request *request, struct MHD_Connection *connection)
{
    struct http_server *server = request->server;
    lock();
    if (server->stopping) {
        unlock();
        return is_stopping(&request->err);
    }
    if (server->running == SLOW_MAX) {
        unlock();
        int rc = err_set(&request->err, KE_AGAIN, "%d scans and topic requests are running already",
                         SLOW_MAX);
        err_hint(&request->err, "try again in a moment");
        return rc;
    }
    fall_asleep(request, connection);
    server->running++;
    unlock();
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, slow_run, request);
    if (failed == 0) {
        (void)pthread_detach(thread);
        return 0;
    }
    struct err err = {0};
    struct route_answer none;
    (void)err_errno(&err, failed, "no thread for the request");
    route_answer_init(&none, 0);
    slow_finish(request, &none, &err); /* the connection still owns the request */
    return 0;
}

/* ---- Stop ---- */

void http_sleep_close(struct http_server *server)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += CLOSE_WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    lock();
    __atomic_store_n(&server->stopping, true, __ATOMIC_RELAXED);
    while (server->sleeping != NULL) {
        struct http_request *request = server->sleeping;
        (void)is_stopping(&request->err);
        wake(request);
    }
    int rc = 0;
    while (server->unfinished > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&server->finished, &calls_lock, &until);
    }
    while (server->running > 0) {
        (void)pthread_cond_wait(&server->finished, &calls_lock);
    }
    unlock();
}
