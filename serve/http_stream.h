/* The streams of the status: server-sent events (text/event-stream) to any number of clients, none
 * of which has a thread.
 *
 *     http_streams_new -> (http_stream_begin | http_streams_publish)* -> http_streams_close ->
 *     (the daemon is stopped) -> http_streams_free
 *
 * An event is the whole status document. A client that is slower than they come is given the newest
 * one when it has taken the last: nothing queues up. A connection that has taken all sleeps
 * (MHD_suspend_connection) until there is more; one that takes nothing for SLOW seconds is cut off by
 * the library's timeout; one whose person is no longer let in ends with what comes next. Every
 * HEARTBEAT something is sent, which also finds clients that are gone.
 *
 *     retry: 2000
 *
 *     event: status
 *     data: {"processors":[...]}
 *
 *     : alive */
#ifndef KAPPA_SERVE_HTTP_STREAM_H
#define KAPPA_SERVE_HTTP_STREAM_H

#include "base/err.h"
#include "base/json.h"

struct MHD_Connection;
struct MHD_Response;
struct http_request;
struct http_streams;

#define HTTP_STREAMS_MAX 128 /* so that they leave connections for others */

struct http_streams *http_streams_new(void);
void http_streams_free(struct http_streams *streams);

/* The answer to a client that wants to watch; it is removed when the response is destroyed. AGAIN:
 * too many. */
int http_stream_begin(struct http_streams *streams, const struct http_request *request,
                      struct MHD_Connection *connection, struct MHD_Response **out,
                      struct err *err) must_check;

/* Is there anybody? Any thread. */
bool http_streams_watched(const struct http_streams *streams);
/* The status as it is now (borrowed). now_us: monotonic. Any thread, does not block. */
void http_streams_publish(struct http_streams *streams, const json_t *status, int64_t now_us);
/* All streams end. */
void http_streams_close(struct http_streams *streams);

#endif
