/* The inside of the HTTP server: http.c starts and stops it, http_request.c holds its requests.
 *
 * A request that asked the controller has two owners, its connection and its call; the one that
 * lets go last frees it. calls_lock guards what both touch. */
#ifndef KAPPA_SERVE_HTTP_PRIVATE_H
#define KAPPA_SERVE_HTTP_PRIVATE_H

#include "serve/http.h"
#include "serve/http_listen.h"
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
    struct http_request *sleeping;  /* calls_lock: requests whose connection is suspended */
    uint32_t unfinished;            /* calls_lock: requests that slept and are not yet answered */
    pthread_cond_t finished;        /* unfinished became 0 */
    bool stopping;                  /* calls_lock */
};

struct http_request {
    struct http_call call; /* first: the controller holds this */
    uint32_t magic;
    uint32_t owners;             /* calls_lock once asked: connection, call */
    struct http_server *server;  /* valid while the connection owns it */
    const struct route *route;   /* NULL: err says why */
    struct route_request parsed; /* pointers into path and query_text */
    char *path;
    char *query_text[2 * ROUTE_QUERY_MAX]; /* owned names and values */
    struct buf body;
    const char *allow; /* for 405, or NULL */
    int status;        /* instead of the status of err's code, or 0 */
    struct err err;    /* why it is refused, or what the call brought */

    bool asked;                        /* the call was handed over */
    bool answered;                     /* calls_lock: reply or err is set */
    json_t *call_body;                 /* owned */
    json_t *reply;                     /* owned */
    struct MHD_Connection *connection; /* calls_lock: suspended one */
    struct http_request *next;         /* calls_lock: of server->sleeping */
    struct http_request *prev;
};

/* MHD's callbacks. */
enum MHD_Result http_request_handle(void *server, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *upload, size_t *upload_len, void **request);
void http_request_completed(void *server, struct MHD_Connection *connection, void **request,
                            enum MHD_RequestTerminationCode code);

/* Answers all sleeping requests with CLOSED, waits a moment for the answers to leave. */
void http_requests_close(struct http_server *server);

#endif
