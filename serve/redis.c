/* Sockets and threads of the Redis door; the only file of it that touches a socket. Own header:
 * redis.h.
 *
 * A round of a thread:
 *
 *     epoll_wait -> take what has arrived, of all connections -> answer their requests from
 *     snapshots begun now -> give the snapshots back -> send
 *
 * A connection whose answers wait is not read until they are gone: what it sends stays in the
 * kernel, which holds the client up. If none of its answers goes for stall_ms, it is cut off. */
#include "serve/redis.h"

#include "base/clock.h"
#include "base/trace.h"
#include "serve/http.h"
#include "serve/http_listen.h"
#include "serve/redis_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS      256 /* of a round */
#define TAKE_BYTES  (64 << 10)
#define IN_MAX      (REDIS_REQUEST_MAX + TAKE_BYTES)
#define BUFFER_KEPT (256 << 10) /* of an idle connection; more is given back */
#define STALL_MS    10000
#define TICK_MS     500
#define REDIS_MAGIC 0x52656469U

struct connection {
    struct connection *next; /* of its thread */
    struct connection *prev;
    struct connection *active_next; /* of this round */
    int fd;
    bool active;
    bool more;        /* requests are left that can be answered at once */
    bool ended;       /* the client sends no more, or is gone */
    bool writing;     /* waits for EPOLLOUT and not for EPOLLIN */
    size_t sent;      /* of out */
    int64_t moved_us; /* when bytes of out last went, or there were none */
    struct redis_session session;
};

struct redis_thread {
    struct redis_server *server;
    pthread_t thread;
    int epoll;
    struct connection *connections;
    struct connection *active;
    int64_t tick_us;
    struct redis_context context;
};

struct redis_server {
    uint32_t magic;
    struct redis_options options;
    struct http_listen listening;
    int wake; /* eventfd: readable when the server stops */
    uint64_t next_id;
    struct redis_counters counters;
    struct redis_scans *scans;
    uint32_t started;
    uint32_t thread_count;
    struct redis_thread threads[];
};

static int64_t now_us(void)
{
    return clock_mono_us(clock_real());
}

/* ---- connections */

static void count_add(uint64_t *counter, int64_t by)
{
    __atomic_add_fetch(counter, (uint64_t)by, __ATOMIC_RELAXED);
}

static void connection_close(struct redis_thread *thread, struct connection *connection)
{
    if (connection->prev == NULL) {
        thread->connections = connection->next;
    } else {
        connection->prev->next = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->prev = connection->prev;
    }
    count_add(&thread->server->counters.connected, -1);
    /* A worker that is being started has the socket too until it becomes another program, and as long as that
     * lasts closing it here would not take it out of the epoll. */
    (void)epoll_ctl(thread->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
    (void)close(connection->fd);
    redis_session_free(&connection->session);
    free(connection);
}

static void peer_describe(const struct sockaddr_storage *name, char *text, size_t cap)
{
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;
    if (name->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)name;
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        port = ntohs(v4->sin_port);
    } else if (name->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)name;
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        port = ntohs(v6->sin6_port);
    }
    (void)snprintf(text, cap, "%s:%u", host, port);
}

static void connection_open(struct redis_thread *thread, int fd,
                            const struct sockaddr_storage *peer)
{
    static const char full[] = "-ERR max number of clients reached\r\n";
    struct redis_counters *counters = &thread->server->counters;
    int on = 1;
    if (__atomic_load_n(&counters->connected, __ATOMIC_RELAXED) >= REDIS_CONNECTIONS_MAX) {
        (void)send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        count_add(&counters->cut_off, 1);
        (void)close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    struct connection *connection = xcalloc(1, sizeof *connection);
    char address[64];
    peer_describe(peer, address, sizeof address);
    connection->fd = fd;
    connection->moved_us = now_us();
    redis_session_init(&connection->session,
                       __atomic_add_fetch(&thread->server->next_id, 1, __ATOMIC_RELAXED), address);
    connection->next = thread->connections;
    if (connection->next != NULL) {
        connection->next->prev = connection;
    }
    thread->connections = connection;
    count_add(&counters->connected, 1);
    count_add(&counters->connections, 1);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(thread->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        connection_close(thread, connection);
    }
}

static void accept_some(struct redis_thread *thread)
{
    for (int i = 0; i < 16; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof peer;
        int fd = accept4(thread->server->listening.fd, (struct sockaddr *)(void *)&peer, &len,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            return;
        }
        connection_open(thread, fd, &peer);
    }
}

/* ---- bytes in and out */

static void activate(struct redis_thread *thread, struct connection *connection)
{
    if (!connection->active) {
        connection->active = true;
        connection->active_next = thread->active;
        thread->active = connection;
    }
}

static void take(struct connection *connection)
{
    struct buf *in = &connection->session.in;
    if (connection->writing || in->len >= IN_MAX) {
        return;
    }
    buf_reserve(in, TAKE_BYTES);
    ssize_t got = recv(connection->fd, in->data + in->len, TAKE_BYTES, 0);
    if (got > 0) {
        in->len += (size_t)got;
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        connection->ended = true;
    }
}

static void buffer_trim(struct buf *buffer)
{
    if (buffer->len == 0 && buffer->cap > BUFFER_KEPT) {
        buf_free(buffer);
    }
}

/* Sends what it can, and says for what the connection waits. False: it is broken. */
static bool send_some(struct redis_thread *thread, struct connection *connection)
{
    struct buf *out = &connection->session.out;
    while (connection->sent < out->len) {
        ssize_t done = send(connection->fd, out->data + connection->sent,
                            out->len - connection->sent, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0 && errno != EAGAIN) {
            return false;
        }
        if (done < 0) {
            break;
        }
        connection->sent += (size_t)done;
        connection->moved_us = now_us();
    }
    bool waits = connection->sent < out->len;
    if (!waits) {
        connection->sent = 0;
        buf_reset(out);
        buffer_trim(out);
        buffer_trim(&connection->session.in);
    }
    if (waits != connection->writing) {
        struct epoll_event event = {.events = waits ? EPOLLOUT : EPOLLIN, .data.ptr = connection};
        connection->writing = waits;
        connection->moved_us = now_us();
        return epoll_ctl(thread->epoll, EPOLL_CTL_MOD, connection->fd, &event) == 0;
    }
    return true;
}

/* ---- rounds */

/* Sends, or closes what is at its end. */
static void settle(struct redis_thread *thread, struct connection *connection)
{
    const struct redis_session *session = &connection->session;
    if (session->cut_off) {
        count_add(&thread->server->counters.cut_off, 1);
        connection_close(thread, connection);
        return;
    }
    bool well = send_some(thread, connection);
    bool ended =
        (session->closing || (connection->ended && !connection->more)) && !connection->writing;
    if (!well || ended) {
        connection_close(thread, connection);
        return;
    }
    if (connection->more && !connection->writing) {
        activate(thread, connection);
    }
}

/* All that is active answers what it has; then all snapshots are given back, and only then is
 * anything sent: nobody waits for a client while it holds one. */
static void answer(struct redis_thread *thread)
{
    struct connection *active = thread->active;
    thread->active = NULL;
    for (struct connection *at = active; at != NULL; at = at->active_next) {
        at->more = !at->writing && redis_session_run(&at->session, &thread->context);
    }
    redis_reads_end(&thread->context.reads);
    while (active != NULL) {
        struct connection *connection = active;
        active = connection->active_next;
        connection->active = false;
        settle(thread, connection);
    }
}

/* Cuts off who reads nothing of his answers. */
static void tick(struct redis_thread *thread, int64_t now)
{
    int64_t stall = thread->server->options.stall_ms * 1000;
    if (now < thread->tick_us) {
        return;
    }
    thread->tick_us = now + i64_min((int64_t)TICK_MS * 1000, stall);
    struct connection *next;
    for (struct connection *at = thread->connections; at != NULL; at = next) {
        next = at->next;
        if (at->writing && !at->active && now - at->moved_us > stall) {
            count_add(&thread->server->counters.cut_off, 1);
            connection_close(thread, at);
        }
    }
}

static void arrived(struct redis_thread *thread, struct connection *connection, uint32_t events)
{
    if ((events & EPOLLOUT) != 0) {
        if (!send_some(thread, connection)) {
            connection->session.cut_off = true;
        }
    }
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        connection->session.cut_off = connection->session.cut_off || connection->writing;
        connection->ended = true;
    }
    if ((events & EPOLLIN) != 0) {
        take(connection);
    }
    activate(thread, connection);
}

static void *thread_main(void *arg)
{
    struct redis_thread *thread = arg;
    struct redis_server *server = thread->server;
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(thread->epoll, events, EVENTS, thread->active != NULL ? 0 : TICK_MS);
        int64_t begun = now_us();
        bool stop = false;
        bool knock = false;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &server->wake) {
                stop = true;
            } else if (events[i].data.ptr == server) {
                knock = true;
            } else {
                arrived(thread, events[i].data.ptr, events[i].events);
            }
        }
        if (stop) {
            break;
        }
        bool any = thread->active != NULL;
        answer(thread);
        int64_t now = now_us();
        if (any) {
            histogram_add(&server->counters.rounds, now - begun);
        }
        tick(thread, now);
        if (knock) {
            accept_some(thread);
        }
    }
    while (thread->connections != NULL) {
        connection_close(thread, thread->connections);
    }
    return NULL;
}

/* ---- start and stop */

static int thread_start(struct redis_server *server, struct redis_thread *thread, struct err *err)
{
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = &server->wake};
    struct epoll_event knock = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = server};
    thread->server = server;
    thread->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (thread->epoll < 0 || epoll_ctl(thread->epoll, EPOLL_CTL_ADD, server->wake, &wake) != 0 ||
        epoll_ctl(thread->epoll, EPOLL_CTL_ADD, server->listening.fd, &knock) != 0) {
        int rc = err_errno(err, errno, "cannot start the Redis server");
        if (thread->epoll >= 0) {
            (void)close(thread->epoll);
        }
        return rc;
    }
    redis_context_init(&thread->context, server->options.reader, server->scans, &server->counters);
    thread->context.people = server->options.people;
    thread->context.port = server->listening.port;
    int failed = pthread_create(&thread->thread, NULL, thread_main, thread);
    if (failed != 0) {
        redis_context_free(&thread->context);
        (void)close(thread->epoll);
        return err_errno(err, failed, "cannot start a thread of the Redis server");
    }
    (void)pthread_setname_np(thread->thread, "redis"); /* for top and perf */
    server->started++;
    return 0;
}

int redis_server_start(const struct redis_options *options, struct redis_server **out,
                       struct err *err)
{
    struct http_listen listening;
    int rc = http_listen(options->address, "--redis", &listening, err);
    if (rc < 0) {
        return rc;
    }
    uint32_t threads = options->threads > 0 ? options->threads : HTTP_THREADS;
    struct redis_server *server = xcalloc(1, sizeof *server + threads * sizeof server->threads[0]);
    server->magic = REDIS_MAGIC;
    server->thread_count = threads;
    server->options = *options;
    server->options.stall_ms = options->stall_ms > 0 ? options->stall_ms : STALL_MS;
    server->listening = listening;
    server->scans = redis_scans_new();
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->wake < 0) {
        rc = err_errno(err, errno, "cannot start the Redis server");
    }
    for (uint32_t i = 0; i < server->thread_count && rc == 0; i++) {
        rc = thread_start(server, &server->threads[i], err);
    }
    if (rc < 0) {
        redis_server_stop(server);
        return rc;
    }
    if (!listening.loopback) {
        trace(
            TRACE_WARN, "Redis listens on %s without %s", options->address,
            options->people == NULL
                ? "authentication: whoever reaches it may read all tables (--access FILE asks for "
                  "tokens)"
                : "TLS: tokens can be read on the way; put a proxy with TLS in front");
    }
    *out = server;
    return 0;
}

const char *redis_server_address(const struct redis_server *server)
{
    MAGIC_ASSERT(server, REDIS_MAGIC);
    return server->listening.address;
}

const struct redis_counters *redis_server_counters(const struct redis_server *server)
{
    MAGIC_ASSERT(server, REDIS_MAGIC);
    return &server->counters;
}

void redis_server_stop(struct redis_server *server)
{
    MAGIC_ASSERT(server, REDIS_MAGIC);
    if (server->started > 0) {
        uint64_t one = 1;
        ASSERT(write(server->wake, &one, sizeof one) == sizeof one);
    }
    for (uint32_t i = 0; i < server->started; i++) {
        struct redis_thread *thread = &server->threads[i];
        ASSERT(pthread_join(thread->thread, NULL) == 0);
        redis_context_free(&thread->context);
        (void)close(thread->epoll);
    }
    (void)close(server->listening.fd);
    if (server->wake >= 0) {
        (void)close(server->wake);
    }
    redis_scans_free(server->scans);
    server->magic = 0;
    free(server);
}
