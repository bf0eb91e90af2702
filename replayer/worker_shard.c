/* A shard's thread: mailbox, steps, report. Own header: worker_shard.h. */
#include "replayer/worker_shard.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/trace.h"
#include "replayer/topic_same.h"

#define STEP_WAIT_MS     50
#define PUBLISH_EVERY_US 20000 /* the main thread looks every 100 ms */

/* ---- Mailbox and report */

static void tell(const struct worker_shard *ws)
{
    const uint64_t one = 1;
    ssize_t n = write(ws->event_fd, &one, sizeof one);
    ASSERT(n == (ssize_t)sizeof one); /* an eventfd: full only after 2^64 writes */
}

static struct worker_order *next_order(struct worker_shard *ws)
{
    pthread_mutex_lock(&ws->lock);
    struct worker_order *order = ws->orders;
    if (order) {
        ws->orders = order->next;
        if (!ws->orders) {
            ws->orders_last = &ws->orders;
        }
    }
    pthread_mutex_unlock(&ws->lock);
    return order;
}

static void order_free(struct worker_order *order)
{
    free(order->cut);
    free(order);
}

void worker_shard_order(struct worker_shard *ws, uint64_t seq, enum worker_do what, bool on,
                        const int64_t *cut, uint32_t cut_count)
{
    struct worker_order *order = xcalloc(1, sizeof *order);
    *order = (struct worker_order){.seq = seq, .what = what, .on = on};
    if (cut) {
        order->cut = xcalloc(cut_count + 1, sizeof *cut);
        memcpy(order->cut, cut, cut_count * sizeof *cut);
    }
    pthread_mutex_lock(&ws->lock);
    *ws->orders_last = order;
    ws->orders_last = &order->next;
    if (ws->shard) {
        shard_wake(ws->shard);
    }
    pthread_mutex_unlock(&ws->lock);
}

/* Copies what the shard says of itself into the report. done: an order's number, or 0. */
static void publish(struct worker_shard *ws, struct shard *shard, uint64_t done, uint64_t at_cut)
{
    struct shard_status status;
    shard_status(shard, &status);
    pthread_mutex_lock(&ws->lock);
    struct worker_report *report = &ws->report;
    bool matters = done > report->done_seq || at_cut != report->at_cut_seq || !report->opened;
    for (uint32_t i = 0; i < ws->options.source_count; i++) {
        shard_position(shard, i, &report->positions[i]);
        if (at_cut != 0 && at_cut != report->at_cut_seq) {
            shard_source_digests(shard, i, &report->kept[i]);
        }
    }
    report->opened = true;
    report->status = status;
    report->at_cut_seq = at_cut;
    if (done > report->done_seq) {
        report->done_seq = done;
    }
    pthread_mutex_unlock(&ws->lock);
    if (matters) {
        tell(ws);
    }
}

/* ---- The thread */

/* A cut below the position cannot be reached: the caller's mistake, not worth the process. */
static int check_cut(const struct worker_shard *ws, struct shard *shard, const int64_t *cut,
                     struct err *err)
{
    for (uint32_t i = 0; i < ws->options.source_count; i++) {
        struct shard_position position;
        uint32_t source = ws->options.sources[i].source;
        shard_position(shard, i, &position);
        if (cut[source] < position.next) {
            return err_set(err, KE_INVALID,
                           "source %" PRIu32 " stands at %" PRId64
                           " already and cannot go back to the cut %" PRId64,
                           source, position.next, cut[source]);
        }
    }
    return 0;
}

/* *running_to: the number of the run_to that is in force, or 0. */
static int obey(const struct worker_shard *ws, struct shard *shard,
                const struct worker_order *order, uint64_t *running_to, struct err *err)
{
    int rc = 0;
    switch (order->what) {
    case WORKER_NEAR:
        return shard_near(shard, err);
    case WORKER_HOLD:
        *running_to = 0;
        shard_hold(shard);
        return 0;
    case WORKER_RUN_TO:
        shard_hold(shard);
        rc = check_cut(ws, shard, order->cut, err);
        if (rc == 0) {
            shard_run_to(shard, order->cut);
            *running_to = order->seq;
        }
        return rc;
    case WORKER_RELEASE:
        *running_to = 0;
        shard_release(shard);
        return 0;
    case WORKER_PAUSE:
        return shard_pause(shard, err);
    case WORKER_RESUME:
        shard_resume(shard);
        return 0;
    case WORKER_SEAL:
        return shard_seal(shard, err);
    case WORKER_SERVING:
        shard_serving(shard, order->on);
        return 0;
    case WORKER_SENT:
        shard_outbox_below(shard, order->cut);
        return 0;
    case WORKER_OPEN:
    case WORKER_COPY:
    case WORKER_LIMIT: /* of the worker, not of a shard */
    case WORKER_STOP:
        break;
    }
    ASSERT(false);
    return -KE_INTERNAL;
}

/* Carries out everything in the mailbox. *stop: told to end. */
static int obey_all(struct worker_shard *ws, struct shard *shard, uint64_t *running_to, bool *stop,
                    struct err *err)
{
    for (;;) {
        struct worker_order *order = next_order(ws);
        if (!order) {
            return 0;
        }
        *stop = order->what == WORKER_STOP;
        int rc = *stop ? 0 : obey(ws, shard, order, running_to, err);
        uint64_t seq = order->seq;
        order_free(order);
        if (rc != 0 || *stop) {
            return rc;
        }
        publish(ws, shard, seq, 0);
    }
}

static bool at_cut(struct shard *shard)
{
    struct shard_status status;
    shard_status(shard, &status);
    return status.mode == SHARD_AT_CUT;
}

static int run(struct worker_shard *ws, struct shard *shard, struct err *err)
{
    uint64_t running_to = 0;
    int64_t published_us = 0;
    bool stop = false;
    for (;;) {
        int rc = obey_all(ws, shard, &running_to, &stop, err);
        if (rc != 0 || stop) {
            return rc;
        }
        atomic_store(&ws->step_us, clock_mono_us(ws->options.clock));
        rc = shard_step(shard, STEP_WAIT_MS, err);
        atomic_store(&ws->step_us, 0);
        if (rc != 0) {
            return rc;
        }
        int64_t now = clock_mono_us(ws->options.clock);
        bool arrived = running_to != 0 && at_cut(shard);
        if (arrived || now - published_us >= PUBLISH_EVERY_US) {
            publish(ws, shard, 0, arrived ? running_to : 0);
            published_us = now;
        }
    }
}

/* From now on nobody wakes the shard. */
static void set_shard(struct worker_shard *ws, struct shard *shard)
{
    pthread_mutex_lock(&ws->lock);
    ws->shard = shard;
    pthread_mutex_unlock(&ws->lock);
}

/* Before anything is read: are the topics still those that were read? *source: which is not. When
 * nobody answers, the reader has to find out. */
static int check_topics(const struct worker_shard *ws, struct shard *shard, uint32_t *source,
                        struct err *err)
{
    bool asked = true;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && asked && i < ws->options.source_count; i++) {
        const struct shard_source *spec = &ws->options.sources[i];
        struct shard_position position;
        shard_position(shard, i, &position);
        const struct topic_read read = {.topic = spec->topic,
                                        .partition = spec->partition,
                                        .start = spec->start,
                                        .next = position.next,
                                        .time_ms = position.record_time_max};
        *source = spec->source;
        rc = topic_same(ws->options.log, ws->options.group, &read, &asked, err);
    }
    return rc;
}

static void *thread_main(void *ctx)
{
    struct worker_shard *ws = ctx;
    struct shard *shard = NULL;
    struct err failure = {.code = 0};
    uint32_t other = UINT32_MAX;
    int rc = shard_open(&ws->options, &shard, &failure);
    if (rc == 0) {
        publish(ws, shard, 0, 0);
        set_shard(ws, shard);
        rc = check_topics(ws, shard, &other, &failure);
        other = rc != 0 ? other : UINT32_MAX;
        rc = rc == 0 ? run(ws, shard, &failure) : rc;
        set_shard(ws, NULL);
        publish(ws, shard, 0, 0);
        struct err closing = {.code = 0};
        int closed = shard_close(shard, rc == 0, &closing);
        if (rc == 0) {
            rc = closed;
            failure = closing;
        }
    }
    failure.code = rc;
    pthread_mutex_lock(&ws->lock);
    if (other != UINT32_MAX) {
        ws->report.status.failed_source = other;
    }
    ws->report.failure = failure;
    ws->report.closed = true;
    pthread_mutex_unlock(&ws->lock);
    tell(ws);
    return NULL;
}

void worker_shard_init(struct worker_shard *ws, const struct shard_options *options, int event_fd)
{
    *ws = (struct worker_shard){.options = *options, .event_fd = event_fd};
    ws->orders_last = &ws->orders;
    ws->report.positions = xcalloc(options->source_count + 1, sizeof *ws->report.positions);
    ws->report.kept = xcalloc(options->source_count + 1, sizeof *ws->report.kept);
    ws->report.status.failed_source = UINT32_MAX;
    pthread_mutex_init(&ws->lock, NULL);
}

void worker_shard_start(struct worker_shard *ws)
{
    ASSERT(!ws->started);
    int rc = pthread_create(&ws->thread, NULL, thread_main, ws);
    ASSERT_CMP(rc, ==, 0);
    ws->started = true;
}

void worker_shard_join(struct worker_shard *ws)
{
    if (ws->started) {
        pthread_join(ws->thread, NULL);
    }
    for (struct worker_order *order = next_order(ws); order; order = next_order(ws)) {
        order_free(order);
    }
    free(ws->report.positions);
    free(ws->report.kept);
    pthread_mutex_destroy(&ws->lock);
    ws->started = false;
}
