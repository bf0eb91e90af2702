/* Own header: http_stream.h. */
#include "serve/http_stream.h"

#include "serve/http_private.h"

#include <stdlib.h>
#include <string.h>

#define STREAMS_MAGIC 0x53545253U
#define STREAM_MAGIC  0x53545245U
#define BLOCK_BYTES   16384
#define SLOW_SECONDS  10 /* without a byte taken: cut off */
#define HEARTBEAT_US  INT64_C(15000000)

/* Text on its way to any number of clients. */
struct message {
    uint32_t owners; /* lock */
    size_t len;
    char text[];
};

struct stream {
    uint32_t magic;
    struct http_streams *streams;
    struct MHD_Connection *connection;
    struct message *sending; /* lock: or NULL */
    size_t sent;             /* lock: bytes of it */
    uint64_t status_seen;    /* lock: newest status it was given */
    uint64_t beats_seen;     /* lock */
    bool asleep;             /* lock: the connection is suspended */
    struct stream *next;     /* lock */
    struct stream *prev;
};

struct http_streams {
    uint32_t magic;
    pthread_mutex_t lock;
    struct stream *first;     /* lock */
    uint32_t count;           /* lock for writing; read atomically */
    struct message *greeting; /* what a stream begins with */
    struct message *beat;
    struct message *status; /* lock: the newest, or NULL; forgotten when nobody watches */
    uint64_t status_number; /* lock */
    uint64_t beat_number;   /* lock */
    int64_t sent_us;        /* lock: when there was something last */
    bool closing;           /* lock */
};

static void lock(struct http_streams *streams)
{
    int rc = pthread_mutex_lock(&streams->lock);
    ASSERT_CMP(rc, ==, 0);
}

static void unlock(struct http_streams *streams)
{
    int rc = pthread_mutex_unlock(&streams->lock);
    ASSERT_CMP(rc, ==, 0);
}

static struct message *message_new(const void *text, size_t len)
{
    struct message *message = xmalloc(sizeof *message + len);
    message->owners = 1;
    message->len = len;
    memcpy(message->text, text, len);
    return message;
}

static void message_release(struct message *message)
{
    if (message != NULL && --message->owners == 0) {
        free(message);
    }
}

struct http_streams *http_streams_new(void)
{
    static const char greeting[] = "retry: 2000\n\n";
    static const char beat[] = ": alive\n\n";
    struct http_streams *streams = xcalloc(1, sizeof *streams);
    streams->magic = STREAMS_MAGIC;
    streams->greeting = message_new(greeting, sizeof greeting - 1);
    streams->beat = message_new(beat, sizeof beat - 1);
    int rc = pthread_mutex_init(&streams->lock, NULL);
    ASSERT_CMP(rc, ==, 0);
    return streams;
}

void http_streams_free(struct http_streams *streams)
{
    MAGIC_ASSERT(streams, STREAMS_MAGIC);
    ASSERT(streams->first == NULL);
    message_release(streams->greeting);
    message_release(streams->beat);
    message_release(streams->status);
    (void)pthread_mutex_destroy(&streams->lock);
    streams->magic = 0;
    free(streams);
}

/* ---- One client ---- */

/* What it has not been given yet, or NULL; with the lock held. */
static struct message *stream_news(const struct stream *stream)
{
    const struct http_streams *streams = stream->streams;
    if (streams->status != NULL && stream->status_seen != streams->status_number) {
        return streams->status;
    }
    return stream->beats_seen != streams->beat_number ? streams->beat : NULL;
}

/* The last message is taken: on to the next, if there is one. */
static void stream_turn(struct stream *stream)
{
    message_release(stream->sending);
    stream->sending = stream_news(stream);
    stream->sent = 0;
    if (stream->sending == NULL) {
        return;
    }
    stream->sending->owners++;
    stream->beats_seen = stream->streams->beat_number;
    if (stream->sending == stream->streams->status) {
        stream->status_seen = stream->streams->status_number;
    }
}

/* The library asks for bytes. With none the connection sleeps, or it would ask again at once. */
static ssize_t stream_read(void *ctx, uint64_t position, char *to, size_t room)
{
    (void)position;
    struct stream *stream = ctx;
    MAGIC_ASSERT(stream, STREAM_MAGIC);
    ssize_t taken = 0;
    lock(stream->streams);
    ASSERT(!stream->asleep);
    if (stream->sending == NULL || stream->sent == stream->sending->len) {
        stream_turn(stream);
    }
    if (stream->streams->closing) {
        taken = MHD_CONTENT_READER_END_OF_STREAM;
    } else if (stream->sending == NULL) {
        stream->asleep = true;
        MHD_suspend_connection(stream->connection);
    } else {
        size_t left = stream->sending->len - stream->sent;
        size_t len = left < room ? left : room;
        memcpy(to, stream->sending->text + stream->sent, len);
        stream->sent += len;
        taken = (ssize_t)len;
    }
    unlock(stream->streams);
    return taken;
}

static void stream_gone(void *ctx)
{
    struct stream *stream = ctx;
    MAGIC_ASSERT(stream, STREAM_MAGIC);
    struct http_streams *streams = stream->streams;
    lock(streams);
    if (stream->prev != NULL) {
        stream->prev->next = stream->next;
    } else {
        streams->first = stream->next;
    }
    if (stream->next != NULL) {
        stream->next->prev = stream->prev;
    }
    message_release(stream->sending);
    __atomic_sub_fetch(&streams->count, 1, __ATOMIC_RELAXED);
    if (streams->first == NULL) { /* it would be old when the next client comes */
        message_release(streams->status);
        streams->status = NULL;
    }
    unlock(streams);
    stream->magic = 0;
    free(stream);
}

/* Puts it among the others. */
static int stream_enter(struct stream *stream, struct err *err)
{
    struct http_streams *streams = stream->streams;
    int rc = 0;
    lock(streams);
    if (streams->closing) {
        rc = err_set(err, KE_CLOSED, "the server is stopping");
    } else if (streams->count == HTTP_STREAMS_MAX) {
        rc = err_set(err, KE_AGAIN, "%d clients watch the status already", HTTP_STREAMS_MAX);
        err_hint(err, "GET /v1/status now and then does the same");
    } else {
        stream->sending = streams->greeting;
        stream->sending->owners++;
        stream->beats_seen = streams->beat_number;
        stream->next = streams->first;
        if (stream->next != NULL) {
            stream->next->prev = stream;
        }
        streams->first = stream;
        __atomic_add_fetch(&streams->count, 1, __ATOMIC_RELAXED);
    }
    unlock(streams);
    return rc;
}

/* What stands between the library and a stream: who follows it may lose the right to. */
struct followed {
    MHD_ContentReaderCallback read;
    MHD_ContentReaderFreeCallback gone;
    void *ctx; /* of the two */
    struct http_server *server;
    const struct route *route;
    struct person person;
};

static ssize_t followed_read(void *ctx, uint64_t position, char *to, size_t room)
{
    struct followed *followed = ctx;
    return http_people_still(followed->server, followed->route, &followed->person)
               ? followed->read(followed->ctx, position, to, room)
               : MHD_CONTENT_READER_END_OF_STREAM;
}

static void followed_gone(void *ctx)
{
    struct followed *followed = ctx;
    followed->gone(followed->ctx);
    free(followed);
}

int http_stream_response(const struct http_request *request, struct MHD_Connection *connection,
                         MHD_ContentReaderCallback read, MHD_ContentReaderFreeCallback gone,
                         void *ctx, struct MHD_Response **out, struct err *err)
{
    struct followed *followed = xcalloc(1, sizeof *followed);
    *followed = (struct followed){.read = read,
                                  .gone = gone,
                                  .ctx = ctx,
                                  .server = request->server,
                                  .route = request->route,
                                  .person = request->person};
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK_BYTES, followed_read, followed, followed_gone);
    if (response == NULL) {
        followed_gone(followed);
        return err_set(err, KE_LIMIT, "no memory for the stream");
    }
    (void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                    (unsigned)SLOW_SECONDS);
    (void)MHD_add_response_header(response, "Content-Type", "text/event-stream");
    (void)MHD_add_response_header(response, "X-Accel-Buffering", "no"); /* nginx would collect */
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    *out = response;
    return 0;
}

int http_stream_begin(struct http_streams *streams, const struct http_request *request,
                      struct MHD_Connection *connection, struct MHD_Response **out, struct err *err)
{
    MAGIC_ASSERT(streams, STREAMS_MAGIC);
    struct stream *stream = xcalloc(1, sizeof *stream);
    stream->magic = STREAM_MAGIC;
    stream->streams = streams;
    stream->connection = connection;
    int rc = stream_enter(stream, err);
    if (rc < 0) {
        free(stream);
        return rc;
    }
    return http_stream_response(request, connection, stream_read, stream_gone, stream, out, err);
}

/* ---- All of them ---- */

bool http_streams_watched(const struct http_streams *streams)
{
    return __atomic_load_n(&streams->count, __ATOMIC_RELAXED) > 0;
}

/* Wakes those who sleep and have something to take (or must end); with the lock held. */
static void wake_sleepers(struct http_streams *streams)
{
    for (struct stream *stream = streams->first; stream != NULL; stream = stream->next) {
        if (stream->asleep && (streams->closing || stream_news(stream) != NULL)) {
            stream->asleep = false;
            MHD_resume_connection(stream->connection);
        }
    }
}

void http_streams_publish(struct http_streams *streams, const json_t *status, int64_t now_us)
{
    MAGIC_ASSERT(streams, STREAMS_MAGIC);
    struct buf text = {0};
    buf_append_text(&text, "event: status\ndata: ");
    json_write(&text, status);
    buf_append_text(&text, "\n\n");
    lock(streams);
    const struct message *last = streams->status;
    bool same =
        last != NULL && last->len == text.len && memcmp(last->text, text.data, text.len) == 0;
    if (!same && streams->first != NULL) {
        message_release(streams->status);
        streams->status = message_new(text.data, text.len);
        streams->status_number++;
        streams->sent_us = now_us;
    } else if (now_us - streams->sent_us >= HEARTBEAT_US) {
        streams->beat_number++;
        streams->sent_us = now_us;
    }
    wake_sleepers(streams);
    unlock(streams);
    buf_free(&text);
}

void http_streams_close(struct http_streams *streams)
{
    MAGIC_ASSERT(streams, STREAMS_MAGIC);
    lock(streams);
    streams->closing = true;
    wake_sleepers(streams);
    unlock(streams);
}
