/* The inside of the HTTP server: http.c starts and stops it, http_admit.c looks at headers,
 * http_people.c at who asks, http_request.c takes bodies and sends answers, http_changes.c streams
 * the changes of tables, http_sleep.c has the requests that wait: for the controller (a call), or for
 * a thread of their own (a slow route).
 *
 * A request that sleeps has two owners, its connection and its call or thread; the one that lets go
 * last frees it. calls_lock guards what both touch. */
#ifndef KAPPA_SERVE_HTTP_PRIVATE_H
#define KAPPA_SERVE_HTTP_PRIVATE_H

#include "serve/feed.h"
#include "serve/http.h"
#include "serve/http_listen.h"
#include "serve/http_stream.h"
#include "serve/people.h"
#include "serve/routes.h"

#include <microhttpd.h>
#include <pthread.h>

#define HTTP_SERVER_MAGIC  0x68747450U
#define HTTP_REQUEST_MAGIC 0x68747251U

struct http_request;

struct http_server {
    uint32_t magic;
    struct MHD_Daemon *daemon;
    struct http_listen listening;
    struct http_options options; /* borrowed pointers inside */
    struct route_context context;
    struct route_counters counters; /* atomic increments */
    struct http_streams *streams;   /* of the status */
    struct feeds *feeds;            /* changes of tables; NULL without a reader */
    struct http_request *sleeping;  /* calls_lock: requests whose connection is suspended */
    uint32_t unfinished;            /* calls_lock: requests that slept and are not yet answered */
    uint32_t running;               /* calls_lock: threads of slow routes */
    pthread_cond_t finished;        /* unfinished or running became 0 */
    bool stopping; /* written with calls_lock; read by route_context.stop, atomic */
    pthread_mutex_t spare_lock;
    struct http_request *spare; /* spare_lock: requests to be used again, by next */
    uint32_t spare_count;       /* spare_lock */
};

struct http_request {
    struct http_call call; /* first: the controller holds this */
    uint32_t magic;
    int64_t begun_us;            /* when its headers were there */
    uint32_t owners;             /* calls_lock once it slept: connection, and call or thread */
    struct http_server *server;  /* valid while the connection owns it */
    const struct route *route;   /* NULL: err says why */
    struct route_request parsed; /* pointers into path and query_text */
    char *path;
    char *query_text[2 * ROUTE_QUERY_MAX]; /* owned names and values */
    char *if_none_match;                   /* owned, or NULL */
    struct buf body;
    struct person person; /* who asks; without a name where nobody is asked */
    char challenge[160];  /* of WWW-Authenticate, for 401 and 403, or "" */
    const char *allow;    /* for 405, or NULL */
    int status;           /* instead of the status of err's code, or 0 */

    bool gzip;                 /* the client takes it */
    bool slept;                /* its connection was suspended */
    bool answered;             /* calls_lock: reply, ready or err is set */
    json_t *call_body;         /* owned */
    json_t *reply;             /* of the controller; owned */
    struct route_answer ready; /* of a slow route, when has_ready; owned */
    bool has_ready;
    struct MHD_Connection *connection; /* calls_lock: suspended one */
    struct http_request *next;         /* calls_lock: of server->sleeping */
    struct http_request *prev;
    struct err err; /* last, as it is large: why it is refused, or what the call brought */
};

/* MHD's callbacks. */
enum MHD_Result http_request_handle(void *server, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *upload, size_t *upload_len, void **request);
void http_request_completed(void *server, struct MHD_Connection *connection, void **request,
                            enum MHD_RequestTerminationCode code);

/* Fills request->route, or request->err. */
int http_request_admit(struct http_server *server, struct MHD_Connection *connection,
                       const char *url, const char *method, struct http_request *request);

/* http_people.c: may this person do that? Fills request->person; UNAUTHORIZED, FORBIDDEN. */
int http_people_admit(struct http_server *server, struct MHD_Connection *connection,
                      struct http_request *request);
/* A long answer goes on: is the person still there, with the role? */
bool http_people_still(struct http_server *server, const struct route *route,
                       struct person *person);

/* Says that the body is too large. */
int http_request_too_large(struct http_request *request);

/* http_stream.c: an answer of server-sent events, whose text `read` gives as long as the request's
 * person is let in. LIMIT: then `gone` was called. */
int http_stream_response(const struct http_request *request, struct MHD_Connection *connection,
                         MHD_ContentReaderCallback read, MHD_ContentReaderFreeCallback gone,
                         void *ctx, struct MHD_Response **out, struct err *err) must_check;

/* http_changes.c: the answer to a client that wants the changes of a table. */
int http_changes_begin(struct http_request *request, struct MHD_Connection *connection,
                       struct MHD_Response **out);

/* Frees a request that nobody owns. */
void http_request_free(struct http_request *request);
/* The same, of a request whose server still runs. */
void http_request_spare(struct http_server *server, struct http_request *request);
void http_request_spares_free(struct http_server *server);

/* http_sleep.c: puts the connection to sleep and hands the request over, or sets err. */
int http_sleep_call(struct http_request *request, struct MHD_Connection *connection);
int http_sleep_slow(struct http_request *request, struct MHD_Connection *connection);
/* Has it been answered since? */
bool http_sleep_answered(const struct http_request *request);
/* The connection lets go. */
void http_sleep_release(struct http_server *server, struct http_request *request);

/* Answers all sleeping requests with CLOSED, waits a moment for the answers to leave, and for the
 * threads of slow routes to end. */
void http_sleep_close(struct http_server *server);

#endif
