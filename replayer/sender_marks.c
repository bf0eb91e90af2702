/* Marks: messages that say which event time has passed, in a topic that wants them. Own header:
 * sender_inside.h.
 *
 * A mark has neither key nor value; its header "kappa-mark" is a time X in ms: of each input partition
 * that is not idle, a message at X or later has been sent to the topic. It goes to every partition of
 * the topic, behind the messages it speaks of, in the same commit: whenever X has grown, but not more
 * often than every MARK_US. A partition is idle when no message came from it for the time `idle`,
 * everything it held is sent, and the log, asked after that time, says that there was no more. A
 * partition from which nothing ever came holds X up like one that is behind, unless it is idle. When
 * all are idle, X is the largest time that was sent.
 *
 * So the clock is read once, here, by the one sender; the marks lie in the log, and whoever reads it
 * again comes to the same conclusions. They are in no outbox and in no digest, have no name, and
 * recovery does not see them. A mark that comes twice, or says less than one before it, changes
 * nothing; therefore it does no harm when a sender that begins knows less of the past than the last
 * one did. What it knows is in SENT; what is missing there it has from the ends of the topics.
 *
 * Only the span that is open has marks: the spans before it are finished first, as they are. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "include/kappa/message.h"
#include "replayer/sender_inside.h"

#define MARK_US   200000   /* between marks */
#define ASK_US    10000000 /* between questions for the end of a partition that is silent */
#define ASKS_STEP 4        /* a question may take long */

/* ---- Opening */

static void times_open(struct sender *sender)
{
    for (uint32_t i = 0; i < sender->input_count; i++) {
        struct sender_input *input = &sender->inputs[i];
        input->times = xcalloc(sender->topic_count, sizeof *input->times);
        input->round_times = xcalloc(sender->topic_count, sizeof *input->round_times);
        input->end = -1;
        for (uint32_t t = 0; t < sender->topic_count; t++) {
            input->times[t] = KAPPA_NO_TIME;
            input->round_times[t] = KAPPA_NO_TIME;
        }
    }
}

/* Several outputs may be one topic. */
static void topic_open(const struct sender *sender, struct sender_topic *topic,
                       const struct sender_piece *piece, const struct sender_marks *marks)
{
    if (topic->feeds == NULL) {
        topic->feeds = xcalloc(sender->input_count, sizeof *topic->feeds);
        topic->tail_place = xcalloc(sender->input_count, sizeof *topic->tail_place);
        topic->tail_time = xcalloc(sender->input_count, sizeof *topic->tail_time);
        topic->idle_us = marks->idle_us;
        topic->marked_ms = KAPPA_NO_TIME;
        sender_marks_forget(sender, topic);
    }
    bool waits = topic->idle_us < 0 || marks->idle_us < 0;
    topic->idle_us = waits ? -1 : i64_max(topic->idle_us, marks->idle_us);
    for (uint32_t s = 0; s < piece->source_count; s++) {
        topic->feeds[piece->inputs[s]] |= marks->feeds[s];
    }
}

void sender_marks_open(struct sender *sender, const struct sender_marks *marks)
{
    const struct sender_piece *last = &sender->pieces[sender->piece_count - 1];
    for (uint32_t output = 0; output < last->topic_count; output++) {
        if (marks[output].on) {
            topic_open(sender, &sender->topics[last->topics[output]], last, &marks[output]);
            sender->marking = true;
        }
    }
    if (sender->marking) {
        times_open(sender);
    }
}

/* ---- What was sent before */

void sender_marks_forget(const struct sender *sender, struct sender_topic *topic)
{
    for (uint32_t i = 0; topic->feeds != NULL && i < sender->input_count; i++) {
        topic->tail_place[i] = (struct sender_place){.offset = -1};
        topic->tail_time[i] = KAPPA_NO_TIME;
    }
}

void sender_marks_found(struct sender_topic *topic, uint32_t input,
                        const struct sender_place *place, int64_t time_ms)
{
    if (topic->feeds != NULL) {
        if (sender_place_order(place, &topic->tail_place[input]) > 0) {
            topic->tail_place[input] = *place;
        }
        topic->tail_time[input] = i64_max(topic->tail_time[input], time_ms);
    }
}

/* ---- What has passed */

/* Largest times of the messages of this round. */
static void round_times(struct sender *sender, const struct sender_piece *piece, int64_t now)
{
    for (uint32_t s = 0; s < piece->source_count; s++) {
        struct sender_input *input = &sender->inputs[piece->inputs[s]];
        for (uint32_t t = 0; t < sender->topic_count; t++) {
            input->round_times[t] = KAPPA_NO_TIME;
        }
        if (input->waiting || input->quiet_us == 0) {
            input->quiet_us = now;
            input->end = -1;
        }
    }
    for (uint32_t i = 0; i < sender->message_count; i++) {
        const struct sender_message *message = &sender->messages[i];
        struct sender_input *input = &sender->inputs[piece->inputs[message->source]];
        input->quiet_us = now;
        input->end = -1;
        if (message->place.output < piece->topic_count && message->len >= KAPPA_MESSAGE_HEAD) {
            int64_t *time = &input->round_times[piece->topics[message->place.output]];
            *time = i64_max(*time, (int64_t)load_u64_le(sender->bytes.data + message->at));
        }
    }
}

/* Has it been silent for so long, and nothing is on the way? at: it is read and sent up to here. *asks:
 * questions left. */
static bool is_idle(struct sender *sender, struct sender_input *input, int64_t at, int64_t idle_us,
                    int64_t now, uint32_t *asks)
{
    if (idle_us < 0 || now - input->quiet_us < idle_us) {
        return false;
    }
    bool asked = input->asked_us >= input->quiet_us + idle_us;
    if ((!asked || now - input->asked_us >= ASK_US) && *asks > 0) {
        int64_t start = 0;
        struct err err = {0};
        --*asks;
        if (sender->log->ops->offsets(sender->log, input->topic, input->partition, &start,
                                      &input->end, &err) != 0) {
            trace(TRACE_DEBUG, "the end of %s/%" PRIu32 " is not known: %s", input->topic,
                  input->partition, err.text);
            input->end = -1; /* it may hold more */
        }
        input->asked_us = now;
    }
    return input->end >= 0 && at >= input->end;
}

/* X of a topic, or KAPPA_NO_TIME. */
static int64_t passed(struct sender *sender, const struct sender_piece *piece, uint32_t topic,
                      int64_t now, uint32_t *asks)
{
    const struct sender_topic *of = &sender->topics[topic];
    int64_t least = INT64_MAX;
    int64_t largest = KAPPA_NO_TIME;
    for (uint32_t s = 0; s < piece->source_count; s++) {
        struct sender_input *input = &sender->inputs[piece->inputs[s]];
        int64_t time = i64_max(input->times[topic], input->round_times[topic]);
        if (!of->feeds[piece->inputs[s]]) {
            continue;
        }
        largest = i64_max(largest, time);
        int64_t at = i64_max(input->sent, piece->from[s]); /* nothing below is ours */
        if (time < least && !is_idle(sender, input, at, of->idle_us, now, asks)) {
            least = time;
        }
    }
    return least == INT64_MAX ? largest : least;
}

bool sender_marks_due(struct sender *sender, const struct sender_piece *piece)
{
    int64_t now = clock_mono_us(sender->clock);
    uint32_t asks = ASKS_STEP;
    bool due = false;
    round_times(sender, piece, now);
    bool open = piece == &sender->pieces[sender->piece_count - 1];
    for (uint32_t t = 0; t < sender->topic_count; t++) {
        struct sender_topic *topic = &sender->topics[t];
        topic->mark_ms = KAPPA_NO_TIME;
        if (topic->feeds == NULL || !open || now - topic->marked_us < MARK_US) {
            continue;
        }
        int64_t time = passed(sender, piece, t, now, &asks);
        if (time > topic->marked_ms) {
            topic->mark_ms = time;
            due = true;
        }
    }
    return due;
}

/* ---- Writing */

static int mark_append(struct sender *sender, const struct sender_topic *topic, struct err *err)
{
    static const char name[] = KAPPA_MESSAGE_MARK;
    struct buf *header = &sender->header;
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, topic->mark_ms);
    buf_reset(header);
    buf_append_u32_le(header, sizeof name - 1);
    buf_append(header, name, sizeof name - 1);
    buf_append_u32_le(header, (uint32_t)len);
    buf_append(header, text, (size_t)len);
    struct kappa_record record = {.offset = -1,
                                  .time_ms = topic->mark_ms,
                                  .key_len = KAPPA_NULL_LEN,
                                  .value_len = KAPPA_NULL_LEN,
                                  .headers = header->data,
                                  .headers_len = u32_from(header->len)};
    int rc = 0;
    for (uint32_t p = 0; p < topic->partitions && rc == 0; p++) {
        rc = sender->out->ops->append(sender->out, topic->name, p, &record, err);
    }
    return rc;
}

int sender_marks_append(struct sender *sender, struct err *err)
{
    int rc = 0;
    for (uint32_t t = 0; t < sender->topic_count && rc == 0; t++) {
        if (sender->topics[t].feeds != NULL && sender->topics[t].mark_ms != KAPPA_NO_TIME) {
            rc = mark_append(sender, &sender->topics[t], err);
        }
    }
    return rc;
}

void sender_marks_arrive(struct sender *sender, const struct sender_piece *piece)
{
    int64_t now = clock_mono_us(sender->clock);
    for (uint32_t t = 0; t < sender->topic_count; t++) {
        struct sender_topic *topic = &sender->topics[t];
        if (topic->feeds == NULL) {
            continue;
        }
        if (topic->mark_ms != KAPPA_NO_TIME) {
            topic->marked_ms = topic->mark_ms;
            topic->marked_us = now;
        }
        for (uint32_t s = 0; s < piece->source_count; s++) {
            uint32_t i = piece->inputs[s];
            struct sender_input *input = &sender->inputs[i];
            input->times[t] = i64_max(input->times[t], input->round_times[t]);
            /* Messages that an earlier sender sent, and that the outbox has given up since. */
            if (topic->tail_place[i].offset < input->sent) {
                input->times[t] = i64_max(input->times[t], topic->tail_time[i]);
                topic->tail_time[i] = KAPPA_NO_TIME;
            }
        }
    }
}
