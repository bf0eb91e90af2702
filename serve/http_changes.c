/* The changes of a table to a client of HTTP: what a follower of its feed takes. Own headers:
 * http_private.h, feed.h. A connection that has taken all sleeps (MHD_suspend_connection) until its
 * feed wakes it. */
#include "serve/http_private.h"
#include "serve/routes_private.h"
#include "serve/row_range.h"

#include <stdlib.h>

#define SEGMENT_TABLE 2 /* of /v1/tables/T/changes */

struct changes {
    struct MHD_Connection *connection;
    struct feed_follower *follower;
};

static void sleep_connection(void *ctx)
{
    const struct changes *changes = ctx;
    MHD_suspend_connection(changes->connection);
}

static void wake_connection(void *ctx)
{
    const struct changes *changes = ctx;
    MHD_resume_connection(changes->connection);
}

static ssize_t changes_read(void *ctx, uint64_t position, char *to, size_t room)
{
    (void)position;
    const struct changes *changes = ctx;
    ssize_t taken = feed_take(changes->follower, to, room);
    return taken < 0 ? MHD_CONTENT_READER_END_OF_STREAM : taken;
}

static void changes_gone(void *ctx)
{
    struct changes *changes = ctx;
    feed_leave(changes->follower);
    free(changes);
}

/* A browser that connects again names the last cut in a header; who cannot set one, in a parameter. */
static const char *last_id(const struct http_request *request, struct MHD_Connection *connection)
{
    const char *after = route_query(&request->parsed, "after");
    const char *id = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Last-Event-ID");
    return id != NULL ? id : after;
}

int http_changes_begin(struct http_request *request, struct MHD_Connection *connection,
                       struct MHD_Response **out)
{
    struct feeds *feeds = request->server->feeds;
    int64_t rows = 1;
    if (feeds == NULL) {
        return route_reader_needed(&request->server->context, &request->err);
    }
    int rc = route_query_int(&request->parsed, "rows", 0, 1, 1, &rows, &request->err);
    if (rc < 0) {
        return rc;
    }
    struct changes *changes = xcalloc(1, sizeof *changes);
    const struct feed_sleeper sleeper = {sleep_connection, wake_connection, changes};
    struct row_range range;
    row_range_asked(&request->parsed, &range);
    const struct feed_ask ask = {.table = request->parsed.segments[SEGMENT_TABLE],
                                 .range = &range,
                                 .where = route_query(&request->parsed, "where"),
                                 .after = last_id(request, connection),
                                 .rows = rows == 1};
    changes->connection = connection;
    rc = feed_follow(feeds, &ask, &sleeper, &changes->follower, &request->err);
    if (rc < 0) {
        free(changes);
        return rc;
    }
    return http_stream_response(request, connection, changes_read, changes_gone, changes, out,
                                &request->err);
}
