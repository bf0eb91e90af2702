/* The server around libmicrohttpd: threads, limits, start and stop. Requests are in http_request.c,
 * what they mean in routes.c. Own header: http.h. */
#include "serve/http.h"

#include "base/clock.h"
#include "base/trace.h"
#include "serve/http_private.h"
#include "serve/query.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECTIONS_MAX  512
#define CONNECTION_BYTES (16 << 10) /* for the headers of a request; cleared for each one */
#define IDLE_SECONDS_MAX 60         /* of a connection that does not sleep in a call */

/* Paths and parameters are split before their escapes are undone: a key may hold a '/'. */
static size_t keep_escapes(void *ctx, struct MHD_Connection *connection, char *text)
{
    (void)ctx;
    (void)connection;
    return strlen(text);
}

static struct MHD_Daemon *daemon_start(struct http_server *server, uint32_t threads)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        http_request_handle, server, MHD_OPTION_LISTEN_SOCKET, server->listening.fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)threads, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS_MAX, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED, http_request_completed, server,
        MHD_OPTION_END);
}

int http_server_start(const struct http_options *options, struct http_server **out, struct err *err)
{
    ASSERT(options->call != NULL);
    struct http_listen listening;
    int rc = http_listen(options->address, "--http", &listening, err);
    if (rc < 0) {
        return rc;
    }
    struct http_server *server = xcalloc(1, sizeof *server);
    server->magic = HTTP_SERVER_MAGIC;
    server->listening = listening;
    server->options = *options;
    server->counters.redis = options->redis;
    server->counters.data = options->data;
    server->counters.reader = options->reader;
    server->counters.archiver = options->archiver;
    server->counters.people = options->people == NULL ? NULL : people_counters(options->people);
    server->context = (struct route_context){
        .reader = options->reader,
        .queries = options->reader == NULL ? NULL : query_pool_new(options->reader),
        .log = options->log,
        .archive = options->archive,
        .stop = &server->stopping};
    rc = pthread_cond_init(&server->finished, NULL);
    ASSERT_CMP(rc, ==, 0);
    rc = pthread_mutex_init(&server->spare_lock, NULL);
    ASSERT_CMP(rc, ==, 0);
    server->streams = http_streams_new();
    server->feeds = options->reader == NULL ? NULL : feeds_new(options->reader);
    server->counters.feeds = server->feeds == NULL ? NULL : feeds_counters(server->feeds);
    server->daemon = daemon_start(server, options->threads > 0 ? options->threads : HTTP_THREADS);
    if (server->daemon == NULL) {
        rc = err_errno(err, errno, "cannot start the HTTP server on %s", options->address);
        (void)close(listening.fd);
        http_streams_free(server->streams);
        feeds_free(server->feeds);
        query_pool_free(server->context.queries);
        (void)pthread_cond_destroy(&server->finished);
        (void)pthread_mutex_destroy(&server->spare_lock);
        free(server);
        return rc;
    }
    if (!listening.loopback && options->people == NULL) {
        trace(TRACE_WARN,
              "HTTP listens on %s without authentication: whoever reaches it may "
              "deploy and swap (--access FILE asks for tokens)",
              options->address);
    } else if (!listening.loopback) {
        trace(TRACE_WARN,
              "HTTP listens on %s without TLS: tokens can be read on the way; put a proxy with TLS "
              "in front",
              options->address);
    }
    *out = server;
    return 0;
}

uint16_t http_server_port(const struct http_server *server)
{
    MAGIC_ASSERT(server, HTTP_SERVER_MAGIC);
    return server->listening.port;
}

const char *http_server_address(const struct http_server *server)
{
    MAGIC_ASSERT(server, HTTP_SERVER_MAGIC);
    return server->listening.address;
}

bool http_server_watched(const struct http_server *server)
{
    MAGIC_ASSERT(server, HTTP_SERVER_MAGIC);
    return http_streams_watched(server->streams);
}

void http_server_publish(struct http_server *server, const json_t *status)
{
    MAGIC_ASSERT(server, HTTP_SERVER_MAGIC);
    http_streams_publish(server->streams, status, clock_mono_us(clock_real()));
}

void http_server_stop(struct http_server *server)
{
    MAGIC_ASSERT(server, HTTP_SERVER_MAGIC);
    int fd = MHD_quiesce_daemon(server->daemon);
    http_streams_close(server->streams);
    if (server->feeds != NULL) {
        feeds_close(server->feeds);
    }
    http_sleep_close(server);
    MHD_stop_daemon(server->daemon);
    http_streams_free(server->streams);
    feeds_free(server->feeds);
    if (fd >= 0) {
        (void)close(fd);
    }
    ASSERT(server->sleeping == NULL);
    query_pool_free(server->context.queries);
    http_request_spares_free(server);
    (void)pthread_cond_destroy(&server->finished);
    (void)pthread_mutex_destroy(&server->spare_lock);
    server->magic = 0;
    free(server);
}

void http_library(struct library *out)
{
    *out = (struct library){.name = "libmicrohttpd"};
    unsigned long built = MHD_VERSION; /* in hexadecimal, as it is written */
    (void)snprintf(out->built, sizeof out->built, "%lx.%lx.%lx", built >> 24, built >> 16 & 0xff,
                   built >> 8 & 0xff);
    (void)snprintf(out->runs, sizeof out->runs, "%s", MHD_get_version());
}
