/* A sender's thread. Own header: worker_sender.h. */
#include "replayer/worker_sender.h"

#include <stdlib.h>
#include <string.h>

#include "base/cond.h"

#define SLEEP_MS 20 /* when nobody rings: pauses after errors, SENT made clean */

struct worker_sender {
    struct worker_outbox outbox;
    struct worker_bell *bell; /* borrowed */
    struct sender *sender;    /* of the thread, but for sender_stop */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t gone;
    struct sender_status status;
    int64_t *positions; /* per source of the last span */
    uint32_t span;      /* being sent */
    bool ended;
};

/* ---- The bell */

void worker_bell_init(struct worker_bell *bell)
{
    pthread_mutex_init(&bell->lock, NULL);
    cond_init(&bell->wake);
    bell->rung = 0;
}

void worker_bell_ring(struct worker_bell *bell)
{
    pthread_mutex_lock(&bell->lock);
    bell->rung++;
    pthread_cond_broadcast(&bell->wake);
    pthread_mutex_unlock(&bell->lock);
}

/* Sleeps until it was rung after `heard`. */
static void bell_wait(struct worker_bell *bell, uint64_t heard)
{
    int rc = 0;
    struct timespec until = cond_until(SLEEP_MS);
    pthread_mutex_lock(&bell->lock);
    while (bell->rung == heard && rc == 0) {
        rc = pthread_cond_timedwait(&bell->wake, &bell->lock, &until);
    }
    pthread_mutex_unlock(&bell->lock);
}

static uint64_t bell_heard(struct worker_bell *bell)
{
    pthread_mutex_lock(&bell->lock);
    uint64_t rung = bell->rung;
    pthread_mutex_unlock(&bell->lock);
    return rung;
}

/* ---- The thread */

static void publish(struct worker_sender *ws)
{
    pthread_mutex_lock(&ws->lock);
    sender_status(ws->sender, &ws->status);
    sender_positions(ws->sender, ws->positions);
    ws->span = sender_span(ws->sender);
    pthread_mutex_unlock(&ws->lock);
}

static void *thread_main(void *ctx)
{
    struct worker_sender *ws = ctx;
    while (!sender_stopped(ws->sender)) {
        uint64_t heard = bell_heard(ws->bell); /* a commit during the step rings again */
        bool more = sender_step(ws->sender);
        publish(ws);
        if (!more && !sender_stopped(ws->sender)) {
            bell_wait(ws->bell, heard);
        }
    }
    sender_close(ws->sender);
    pthread_mutex_lock(&ws->lock);
    ws->ended = true;
    pthread_cond_broadcast(&ws->gone);
    pthread_mutex_unlock(&ws->lock);
    return NULL;
}

struct worker_sender *worker_sender_start(struct worker_outbox *outbox,
                                          const struct sender_marks *marks, struct log *log,
                                          struct worker_bell *bell,
                                          int (*fail_point)(void *ctx, const char *step))
{
    struct worker_sender *ws = xcalloc(1, sizeof *ws);
    ws->outbox = *outbox;
    *outbox = (struct worker_outbox){.message = NULL};
    ws->bell = bell;
    const struct sender_span *last = &ws->outbox.spans[ws->outbox.span_count - 1];
    struct sender_options options = {.log = log,
                                     .clock = clock_real(),
                                     .dir = ws->outbox.dir,
                                     .name = ws->outbox.name,
                                     .spans = ws->outbox.spans,
                                     .span_count = ws->outbox.span_count,
                                     .marks = marks,
                                     .fail_point = fail_point};
    sender_open(&options, &ws->sender);
    ws->positions = xcalloc(last->source_count, sizeof *ws->positions);
    sender_positions(ws->sender, ws->positions);
    pthread_mutex_init(&ws->lock, NULL);
    cond_init(&ws->gone);
    int rc = pthread_create(&ws->thread, NULL, thread_main, ws);
    ASSERT_CMP(rc, ==, 0);
    return ws;
}

void worker_sender_stop(struct worker_sender *ws)
{
    pthread_mutex_lock(&ws->lock);
    if (!ws->ended) { /* else the sender is closed */
        sender_stop(ws->sender);
    }
    pthread_mutex_unlock(&ws->lock);
    worker_bell_ring(ws->bell);
}

void worker_sender_look(struct worker_sender *ws, struct sender_status *status, int64_t *positions,
                        uint64_t *epoch)
{
    const struct worker_outbox *outbox = &ws->outbox;
    pthread_mutex_lock(&ws->lock);
    *status = ws->status;
    memcpy(positions, ws->positions,
           outbox->spans[outbox->span_count - 1].source_count * sizeof *positions);
    *epoch = outbox->epochs[ws->span];
    pthread_mutex_unlock(&ws->lock);
}

bool worker_sender_join(struct worker_sender *ws, int wait_ms)
{
    int rc = 0;
    struct timespec until = cond_until(wait_ms);
    pthread_mutex_lock(&ws->lock);
    while (!ws->ended && rc == 0) {
        rc = pthread_cond_timedwait(&ws->gone, &ws->lock, &until);
    }
    bool ended = ws->ended;
    pthread_mutex_unlock(&ws->lock);
    if (!ended) {
        return false;
    }
    pthread_join(ws->thread, NULL);
    pthread_cond_destroy(&ws->gone);
    pthread_mutex_destroy(&ws->lock);
    worker_outbox_free(&ws->outbox);
    free(ws->positions);
    free(ws);
    return true;
}
