/* The HTTP door: rows, topics, metrics, and control calls handed to the controller.
 *
 * Reads of rows and calls on topics are answered in the server's own threads, from the reader and
 * the log. Whatever decides something is a struct http_call: it is given to options->call, the
 * connection sleeps, and whoever holds the call answers it once, at any time, from any thread.
 *
 *     http_server_start -> (options->call(ctx, call) ... http_call_reply(call, ...))* ->
 *     http_server_stop
 *
 * Invariants:
 *  1. Every call that was handed over is answered exactly once with http_call_reply, also after
 *     http_server_stop: the call outlives its connection and is freed by the reply.
 *  2. options->call is called from a thread of the server, several at a time, and must not block:
 *     it queues the call and wakes its owner.
 *  3. http_server_stop answers connections that still sleep with CLOSED, and returns when no thread
 *     of the server runs any more; from then on options->call is not called.
 */
#ifndef KAPPA_SERVE_HTTP_H
#define KAPPA_SERVE_HTTP_H

#include "base/err.h"
#include "base/json.h"
#include "base/library.h"

struct http_server;
struct log;
struct people;
struct reader;
struct redis_counters;

enum http_verb {

#define X(name, word) HTTP_VERB_##name,
#include "serve/calls.def"
#undef X
    HTTP_VERB_COUNT
};

/* A control call. The members are read-only and live until the reply. */
struct http_call {
    uint32_t magic;        /* HTTP_CALL_MAGIC */
    enum http_verb verb;   /* which of calls.def */
    const char *processor; /* a valid name (letters, digits, '_', '-', '.'), or NULL */
    uint32_t version;      /* of the path or of the body's "version", or 0 when not given */
    const json_t *body; /* an object for POST, NULL for GET; with people its "who" is the person */
};

#define HTTP_CALL_MAGIC 0x68744C4CU
#define HTTP_THREADS    2 /* also of the Redis door; the fewest that `kappa up` takes by itself */

struct http_options {
    const char *address;   /* "host:port", "[v6]:port" or "port"; port 0: any free one */
    struct reader *reader; /* NULL: table routes answer CLOSED; borrowed until stop */
    struct log *log;       /* NULL: topic routes answer CLOSED; borrowed until stop */
    const char *archive;   /* folder of archives of topics, or NULL; borrowed until stop */
    const struct redis_counters *redis; /* shown by /metrics; NULL: off; borrowed until stop */
    struct people *people;              /* who may ask what, likewise; NULL: everybody all */
    struct archiver *archiver;          /* likewise; NULL: nothing is archived */
    const char *data; /* likewise: the directory whose disk is looked at; or NULL */
    uint32_t threads; /* that answer; 0: HTTP_THREADS */
    void *ctx;        /* for call */
    void (*call)(void *ctx, struct http_call *call);
};

/* BUSY when the port is taken: the text names the address, the hint what to do. */
int http_server_start(const struct http_options *options, struct http_server **out,
                      struct err *err) must_check;
/* The port really bound. */
uint16_t http_server_port(const struct http_server *server);
/* "127.0.0.1:8317", as server.json wants it. Lives as long as the server. */
const char *http_server_address(const struct http_server *server);
void http_server_stop(struct http_server *server);

/* Does anybody watch the status (GET /v1/status/stream)? Then it is published a few times a second:
 * clients get it when it differs from the last one, and a sign of life when it does not for long.
 * status is borrowed. Any thread, neither blocks. */
bool http_server_watched(const struct http_server *server);
void http_server_publish(struct http_server *server, const json_t *status);

/* Answers a call: body (taken; NULL only with an error) when err is NULL or unset, else the error,
 * with the status of base/errors.def. The call is gone afterwards. Any thread, never blocks. */
void http_call_reply(struct http_call *call, json_t *body, const struct err *err);

/* The word of calls.def. */
const char *http_verb_word(enum http_verb verb);

/* Of libmicrohttpd. */
void http_library(struct library *out);

#endif
