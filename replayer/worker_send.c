/* Senders within a worker: when they start, what they report, how they end. Own header:
 * worker_inside.h.
 *
 * One that was told to stop may be waiting for the log for some seconds; the next one is started
 * meanwhile and waits for its lock. */
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "replayer/fail_point.h"
#include "replayer/worker_inside.h"

#define END_WAIT_MS 1500

/* Frees those that have ended. */
static void reap(struct worker *w)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->sender_count; i++) {
        bool running = w->sending && i + 1 == w->sender_count;
        if (running || !worker_sender_join(w->senders[i], 0)) {
            w->senders[kept++] = w->senders[i];
        }
    }
    w->sender_count = kept;
}

void worker_send_off(struct worker *w)
{
    worker_outbox_free(&w->outbox);
    if (w->sending) {
        worker_sender_stop(w->senders[w->sender_count - 1]);
        w->sending = false;
    }
}

int worker_send_on(struct worker *w, const json_t *outbox, struct err *err)
{
    worker_send_off(w);
    if (outbox == NULL) {
        return 0;
    }
    int rc = worker_outbox_parse(outbox, &w->outbox, err);
    if (rc == 0) {
        const struct sender_span *last = &w->outbox.spans[w->outbox.span_count - 1];
        if (last->source_count != w->open.source_count) {
            return err_set(err, KE_INVALID, "\"outbox\": the last span has %u sources, not %u",
                           last->source_count, w->open.source_count);
        }
        if (w->opened) {
            worker_send_start(w);
        }
    }
    return rc;
}

/* Per output; each has its own array of sources. */
static struct sender_marks *marks_make(const struct worker *w)
{
    const struct plan *plan = w->plan;
    struct sender_marks *marks = xcalloc(plan->topic_count + 1, sizeof *marks);
    for (uint32_t t = 0; t < plan->topic_count; t++) {
        bool *feeds = xcalloc(w->open.source_count + 1, sizeof *feeds);
        for (uint32_t v = plan->view_count; v < plan->pipeline_count; v++) {
            for (uint32_t s = 0; plan->views[v].topic == t && s < w->open.source_count; s++) {
                feeds[s] |= w->open.sources[s].input == plan->views[v].input;
            }
        }
        marks[t] = (struct sender_marks){
            .on = plan->topics[t].marks, .idle_us = plan->topics[t].idle_us, .feeds = feeds};
    }
    return marks;
}

static void marks_free(const struct worker *w, struct sender_marks *marks)
{
    for (uint32_t t = 0; t < w->plan->topic_count; t++) {
        free((void *)(uintptr_t)marks[t].feeds);
    }
    free(marks);
}

void worker_send_start(struct worker *w)
{
    reap(w);
    if (w->outbox.message == NULL) {
        return;
    }
    if (w->sender_count == WORKER_SENDERS_MAX) {
        return; /* tried again with the next look */
    }
    ASSERT(!w->sending);
    struct sender_marks *marks = marks_make(w);
    w->senders[w->sender_count++] =
        worker_sender_start(&w->outbox, marks, w->log, &w->bell, fail_point_here);
    marks_free(w, marks);
    w->sending = true;
}

void worker_send_look(struct worker *w)
{
    if (w->sender_count > (w->sending ? 1U : 0U)) {
        reap(w);
    }
    if (w->outbox.message != NULL && w->opened) {
        worker_send_start(w);
    }
    if (!w->sending) {
        return;
    }
    struct sender_status status;
    uint64_t epoch = 0;
    uint32_t count = w->open.source_count;
    int64_t *positions = xcalloc(count + 1, sizeof *positions);
    worker_sender_look(w->senders[w->sender_count - 1], &status, positions, &epoch);
    if (memcmp(positions, w->sent, count * sizeof *positions) != 0) {
        memcpy(w->sent, positions, count * sizeof *positions);
        worker_order_all(w, WORKER_SENT, false, w->sent);
    }
    free(positions);
}

bool worker_send_end(struct worker *w)
{
    bool all = true;
    worker_send_off(w);
    for (uint32_t i = 0; i < w->sender_count; i++) {
        all &= worker_sender_join(w->senders[i], END_WAIT_MS);
    }
    w->sender_count = 0;
    return all;
}

json_t *worker_send_status(struct worker *w, struct err *trouble)
{
    if (w->plan->topic_count == 0) {
        return NULL;
    }
    json_t *object =
        json_pack("{s:I, s:b}", "rows", (json_int_t)w->snapshot.outbox_rows, "sending", w->sending);
    ASSERT(object != NULL);
    if (!w->sending) {
        return object;
    }
    struct sender_status status;
    uint64_t epoch = 0;
    int64_t *positions = xcalloc(w->open.source_count + 1, sizeof *positions);
    worker_sender_look(w->senders[w->sender_count - 1], &status, positions, &epoch);
    json_t *array = json_array();
    for (uint32_t i = 0; i < w->open.source_count; i++) {
        json_array_append_new(array, json_integer(positions[i]));
    }
    free(positions);
    if (status.drained) { /* what is still stored is sent, and goes with the next commits */
        json_object_set_new(object, "rows", json_integer(0));
    }
    json_object_set_new(object, "sent", json_integer((json_int_t)status.sent));
    json_object_set_new(object, "recognised", json_integer((json_int_t)status.recognised));
    json_object_set_new(object, "waiting_ms", json_integer(status.waiting_us / 1000));
    json_object_set_new(object, "positions", array);
    json_object_set_new(object, "epoch", json_integer((json_int_t)epoch));
    if (trouble->code == 0) {
        *trouble = status.trouble;
    }
    return object;
}
