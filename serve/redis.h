/* The Redis door: tables read by any Redis client, RESP2 and RESP3. Nothing is written here: tables
 * are written by the log alone.
 *
 *     redis_server_start -> redis_server_stop
 *
 * Threads of its own, each with an epoll of its own. A round of a thread takes what has arrived on
 * all of its connections, then begins snapshots, then answers: so each answer is as new as its
 * request, and connections share snapshots. What one round answers from a processor comes from one
 * version.
 *
 * Invariants:
 *  1. A request is answered from one version; no connection sees the epoch of a processor go back.
 *  2. No client makes the server hold more than the limits of redis_private.h: one that sends too
 *     much gets an error, one that does not read its answers is cut off.
 *  3. redis_server_stop returns when no thread runs any more.
 */
#ifndef KAPPA_SERVE_REDIS_H
#define KAPPA_SERVE_REDIS_H

#include "base/err.h"
#include "base/histogram.h"

struct people;
struct reader;
struct redis_server;

#define REDIS_COUNTED 64 /* commands that are counted one by one */

struct redis_options {
    const char *address;   /* "host:port", "[v6]:port" or "port"; port 0: any free one */
    struct reader *reader; /* borrowed until stop */
    struct people *people; /* who may read, likewise; NULL: everybody */
    uint32_t threads;      /* 0: HTTP_THREADS */
    int64_t stall_ms;      /* 0: as usual; else how long a client may read nothing of its answers */
};

/* What the door has done so far. All atomic. */
struct redis_counters {
    uint64_t connected;   /* now */
    uint64_t connections; /* ever */
    uint64_t commands;
    uint64_t errors;  /* answers that are errors */
    uint64_t cut_off; /* connections closed by us: too slow, too greedy, no Redis protocol */
    uint64_t commands_of[REDIS_COUNTED]; /* of these commands, by redis_command_word */
    struct histogram rounds; /* from the arrival of requests to their answers, of a thread */
};

/* "hgetall"... of commands_of[i]; the last is "unknown", which writing ones are, too; then NULL. */
const char *redis_command_word(uint32_t i);

/* BUSY when the port is taken: the text names the address, the hint what to do. */
int redis_server_start(const struct redis_options *options, struct redis_server **out,
                       struct err *err) must_check;
/* "127.0.0.1:6379", as server.json wants it. Lives as long as the server. */
const char *redis_server_address(const struct redis_server *server);
/* Live: read with atomic loads. Lives as long as the server. */
const struct redis_counters *redis_server_counters(const struct redis_server *server);
void redis_server_stop(struct redis_server *server);

#endif
