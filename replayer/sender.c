/* Life and steps of a sender. Own header: sender.h; a round: sender_round.c; the file SENT:
 * sender_sent.c; what was sent before: sender_recover.c. */
#include "replayer/sender.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/trace.h"
#include "replayer/sender_inside.h"

#define RETRY_US_MIN  50000
#define RETRY_US_MAX  5000000
#define LOCK_RETRY_US 10000
#define LOCK_LONG_US  5000000 /* then it is told as trouble */

bool sender_fails(struct sender *sender, const char *step)
{
    if (sender->fail_point != NULL && sender->fail_point(sender->fail_ctx, step) != 0) {
        sender->died = true;
        atomic_store(&sender->stopped, true);
    }
    return sender->died;
}

/* ---- Opening */

static uint32_t input_number(struct sender *sender, const struct sender_source *source)
{
    for (uint32_t i = 0; i < sender->input_count; i++) {
        const struct sender_input *input = &sender->inputs[i];
        if (input->partition == source->partition && input->identity == source->identity &&
            strcmp(input->topic, source->topic) == 0) {
            return i;
        }
    }
    sender->inputs = xrealloc(sender->inputs, (sender->input_count + 1) * sizeof *sender->inputs);
    sender->inputs[sender->input_count] = (struct sender_input){.topic = xstrdup(source->topic),
                                                                .identity = source->identity,
                                                                .partition = source->partition,
                                                                .sent = -1};
    return sender->input_count++;
}

static uint32_t topic_number(struct sender *sender, const char *name)
{
    for (uint32_t i = 0; i < sender->topic_count; i++) {
        if (strcmp(sender->topics[i].name, name) == 0) {
            return i;
        }
    }
    sender->topics = xrealloc(sender->topics, (sender->topic_count + 1) * sizeof *sender->topics);
    sender->topics[sender->topic_count] = (struct sender_topic){.name = xstrdup(name)};
    return sender->topic_count++;
}

static void piece_init(struct sender *sender, struct sender_piece *piece,
                       const struct sender_span *span)
{
    *piece = (struct sender_piece){.dir = xstrdup(span->dir),
                                   .shards = span->shards,
                                   .source_count = span->source_count,
                                   .topic_count = span->topic_count};
    piece->inputs = xcalloc(span->source_count + 1, sizeof *piece->inputs);
    piece->from = xcalloc(span->source_count + 1, sizeof *piece->from);
    piece->to = xcalloc(span->source_count + 1, sizeof *piece->to);
    piece->topics = xcalloc(span->topic_count + 1, sizeof *piece->topics);
    for (uint32_t i = 0; i < span->source_count; i++) {
        piece->inputs[i] = input_number(sender, &span->sources[i]);
        piece->from[i] = span->sources[i].from;
        piece->to[i] = span->sources[i].to;
    }
    for (uint32_t i = 0; i < span->topic_count; i++) {
        piece->topics[i] = topic_number(sender, span->topics[i]);
    }
}

void sender_open(const struct sender_options *options, struct sender **out)
{
    struct sender *sender = xcalloc(1, sizeof *sender);
    uint32_t most = 0;
    ASSERT_CMP(options->span_count, >, 0);
    sender->log = options->log;
    sender->clock = options->clock;
    sender->dir = xstrdup(options->dir);
    sender->name = xstrdup(options->name);
    sender->fail_point = options->fail_point;
    sender->fail_ctx = options->fail_ctx;
    sender->lock_fd = -1;
    sender->pieces = xcalloc(options->span_count, sizeof *sender->pieces);
    for (uint32_t i = 0; i < options->span_count; i++) {
        piece_init(sender, &sender->pieces[i], &options->spans[i]);
        most = options->spans[i].source_count > most ? options->spans[i].source_count : most;
    }
    sender->piece_count = options->span_count;
    sender->reach = xcalloc(most + 1, sizeof *sender->reach);
    sender->heads = xcalloc(most + 1, sizeof *sender->heads);
    if (options->marks != NULL) {
        sender_marks_open(sender, options->marks);
    }
    *out = sender;
}

/* ---- Steps */

static int lock_take(struct sender *sender, struct err *err)
{
    char *path = xasprintf("%s/SENDER", sender->dir);
    int rc = 0;
    if (sender->lock_fd < 0) {
        sender->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    }
    if (sender->lock_fd < 0) {
        rc = err_errno(err, errno, "cannot open %s", path);
    } else if (flock(sender->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        rc = err_set(err, errno == EWOULDBLOCK ? KE_BUSY : KE_IO,
                     "another process of this processor still sends (%s is locked)", path);
    }
    free(path);
    return rc;
}

static void outs_close(struct sender *sender)
{
    if (sender->out != NULL) {
        sender->out->ops->close(sender->out);
        sender->out = NULL;
    }
    outbox_close(sender->outbox);
    sender->outbox = NULL;
}

static void trouble_met(struct sender *sender, const struct err *cause)
{
    int64_t now = clock_mono_us(sender->clock);
    outs_close(sender);
    sender->phase = sender->phase == SENDER_LOCK ? SENDER_LOCK : SENDER_FENCE;
    if (sender->trouble.code != cause->code) {
        trace(TRACE_WARN, "sending: %s", cause->text);
    }
    sender->trouble = *cause;
    sender->retry_wait_us = sender->retry_wait_us == 0
                                ? RETRY_US_MIN
                                : i64_min(2 * sender->retry_wait_us, RETRY_US_MAX);
    sender->retry_us = now + sender->retry_wait_us;
    sender->waiting_since_us = sender->waiting_since_us == 0 ? now : sender->waiting_since_us;
}

static void trouble_over(struct sender *sender)
{
    if (sender->trouble.code != 0) {
        trace(TRACE_INFO, "sending again");
        sender->trouble = (struct err){.code = 0};
    }
    sender->retry_wait_us = 0;
}

/* The lock of the sender before this one is waited for: it ends by itself. */
static bool step_lock(struct sender *sender)
{
    struct err err = {0};
    int64_t now = clock_mono_us(sender->clock);
    if (sender->lock_us == 0) {
        sender->lock_us = now;
    }
    int rc = lock_take(sender, &err);
    if (rc == 0) {
        sender->phase = SENDER_FENCE;
        return true;
    }
    if (rc != -KE_BUSY || now - sender->lock_us > LOCK_LONG_US) {
        trouble_met(sender, &err);
    } else {
        sender->retry_us = now + LOCK_RETRY_US;
    }
    return false;
}

static int step_fence(struct sender *sender, struct err *err)
{
    char *name = xasprintf("kappa-%s", sender->name);
    int rc = sender->log->ops->sender_open(sender->log, name, &sender->out, err);
    free(name);
    if (rc == 0) {
        sender->phase = SENDER_RECOVER;
    }
    return rc;
}

static int step_recover(struct sender *sender, struct err *err)
{
    if (!sender->loaded) {
        sender_sent_load(sender);
        sender->loaded = true;
    }
    int rc = sender_recover(sender, err);
    if (rc == 0) {
        sender->marked = false; /* for as many partitions as there are now */
        sender->checked_us = clock_mono_us(sender->clock);
        sender->phase = SENDER_SEND;
    }
    return rc;
}

static int step_send(struct sender *sender, bool *more, struct err *err)
{
    int rc = sender_round(sender, more, err);
    sender->drained = rc == 0 && !*more;
    if (rc == 0) {
        trouble_over(sender);
        sender->waiting_since_us = 0;
    }
    return rc == 0 && !*more ? sender_rest(sender, false, err) : rc;
}

bool sender_step(struct sender *sender)
{
    struct err err = {0};
    bool more = true;
    int rc = 0;
    if (atomic_load(&sender->stopped) || clock_mono_us(sender->clock) < sender->retry_us) {
        return false;
    }
    switch (sender->phase) {
    case SENDER_LOCK:
        return step_lock(sender);
    case SENDER_FENCE:
        rc = step_fence(sender, &err);
        break;
    case SENDER_RECOVER:
        rc = step_recover(sender, &err);
        break;
    case SENDER_SEND:
        rc = step_send(sender, &more, &err);
        break;
    }
    if (rc != 0 && !(rc == -KE_CLOSED && atomic_load(&sender->stopped))) {
        trouble_met(sender, &err); /* what became of a commit is not known */
    }
    return rc == 0 && more && !atomic_load(&sender->stopped);
}

void sender_stop(struct sender *sender)
{
    atomic_store(&sender->stopped, true);
}

bool sender_stopped(const struct sender *sender)
{
    return atomic_load(&sender->stopped);
}

uint32_t sender_span(const struct sender *sender)
{
    return sender->piece;
}

void sender_positions(const struct sender *sender, int64_t *out)
{
    const struct sender_piece *last = &sender->pieces[sender->piece_count - 1];
    for (uint32_t i = 0; i < last->source_count; i++) {
        out[i] = sender->inputs[last->inputs[i]].sent;
    }
}

void sender_status(const struct sender *sender, struct sender_status *out)
{
    *out = (struct sender_status){.sending = sender->phase == SENDER_SEND,
                                  .drained = sender->drained,
                                  .sent = sender->sent,
                                  .recognised = sender->recognised,
                                  .trouble = sender->trouble};
    if (sender->waiting_since_us != 0) {
        out->waiting_us = clock_mono_us(sender->clock) - sender->waiting_since_us;
    }
}

bool sender_died(const struct sender *sender)
{
    return sender->died;
}

void sender_abandon(struct sender *sender)
{
    sender->died = true;
    sender_close(sender);
}

void sender_close(struct sender *sender)
{
    struct err err = {0};
    if (sender->phase == SENDER_SEND && sender->out != NULL && !sender->died &&
        sender->trouble.code == 0) {
        int rc = sender_rest(sender, true, &err);
        trace(TRACE_DEBUG, "sending ends: %d", rc); /* if it failed, the next one reads more */
    }
    outs_close(sender);
    if (sender->lock_fd >= 0) {
        close(sender->lock_fd);
    }
    for (uint32_t i = 0; i < sender->input_count; i++) {
        free(sender->inputs[i].topic);
        free(sender->inputs[i].times);
        free(sender->inputs[i].round_times);
    }
    for (uint32_t i = 0; i < sender->topic_count; i++) {
        sender_topic_free(&sender->topics[i]);
        free(sender->topics[i].name);
        free(sender->topics[i].feeds);
        free(sender->topics[i].tail_place);
        free(sender->topics[i].tail_time);
    }
    for (uint32_t i = 0; i < sender->piece_count; i++) {
        free(sender->pieces[i].dir);
        free(sender->pieces[i].inputs);
        free(sender->pieces[i].from);
        free(sender->pieces[i].to);
        free(sender->pieces[i].topics);
    }
    free(sender->inputs);
    free(sender->topics);
    free(sender->pieces);
    free(sender->messages);
    free(sender->reach);
    free(sender->heads);
    buf_free(&sender->bytes);
    buf_free(&sender->header);
    free(sender->dir);
    free(sender->name);
    free(sender);
}
