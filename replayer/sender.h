/* MOTION, the way out: sends a processor's messages from the outboxes of its versions to their
 * topics, in order and exactly once.
 *
 *     sender_open -> sender_step, sender_step, ... -> sender_close
 *
 * One sender works for a processor: the one of the version that serves. What is real is said by
 * spans: for each input partition, which version's messages are sent from which offset on. The spans
 * of a processor cut the offsets of each partition into pieces without gap or overlap, since every
 * swap adds one at its exact cut; a sender finishes the pieces of earlier versions (it reads their
 * outboxes) before it begins its own. So each input record has its messages sent by one version, and
 * messages of one input partition leave in the order of their records.
 *
 * Every message carries its name in the header "kappa-out" (sender_name.h). To which partition it
 * goes is a function of the message and of the topic's number of partitions: by key as
 * log_partition_of_key, without a key by the number of the input partition. Therefore what was sent
 * before a crash is found in the topic itself: per input partition and output partition, the
 * greatest name says how far it was sent. Only the end of the topic is read, from a checkpoint in
 * DATA/versions/P/SENT: behind it lies everything that was sent after what that file says.
 *
 * Steps, and the fail points between them:
 *
 *     lock      DATA/versions/P/SENDER, an flock: the earlier sender has ended
 *     fence     log->sender_open: nothing of it can come any more
 *     recover   read the ends of the topics
 *     round     read messages of committed transactions from the outbox; "mark" SENT as unclean if
 *               it says clean (synced); append "appended" commit "sent"; sometimes save "saved"
 *
 * SENT is never believed about what was not sent: it may be old, or missing (then whole topics are
 * read). It says "clean" when nothing was sent since it was written; then no topic has to be read.
 *
 * Any error closes the log's sender; after a pause that doubles, it begins again with the fence.
 * Nobody waits for a sender: what cannot be sent stays in the outbox.
 *
 * All calls come from one thread. */
#ifndef KAPPA_REPLAYER_SENDER_H
#define KAPPA_REPLAYER_SENDER_H

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "log/log.h"

/* An input partition of a version, and what of it the version may send. */
struct sender_source {
    const char *topic;
    uint64_t identity; /* of the topic, or 0 */
    uint32_t partition;
    int64_t from; /* offset of the first record whose messages are real */
    int64_t to;   /* behind the last one; INT64_MAX: as long as it serves */
};

/* What one version sends. */
struct sender_span {
    const char *dir; /* DATA/versions/P/N */
    uint32_t shards;
    const struct sender_source *sources; /* all of the version, in its order */
    uint32_t source_count;
    const char *const *topics; /* per output of its definition */
    uint32_t topic_count;
};

/* Marks in an output's topic: sender_marks.c. */
struct sender_marks {
    bool on;
    int64_t idle_us;   /* a partition without messages for so long is not waited for; -1: it is */
    const bool *feeds; /* per source of the last span: its records make messages of this output */
};

struct sender_options {
    struct log *log;
    const struct clock_ops *clock;
    const char *dir;  /* DATA/versions/P */
    const char *name; /* of the processor, never used for another one: see sender_name.h */
    const struct sender_span *spans;  /* oldest first; the last one is open. Copied. */
    uint32_t span_count;              /* > 0 */
    const struct sender_marks *marks; /* per output of the last span, or NULL. Copied. */
    /* For tests; may be NULL. Non-zero: the sender stops as if its process had died there. */
    int (*fail_point)(void *ctx, const char *step);
    void *fail_ctx;
};

struct sender_status {
    bool sending;        /* lock, fence and recovery are behind it */
    bool drained;        /* everything that was there at the last look is sent */
    uint64_t sent;       /* messages, by all senders of this processor that SENT remembers */
    uint64_t recognised; /* messages found in the topics after a crash, and not sent again */
    int64_t
        waiting_us; /* for how long something has been waiting that could not be sent; 0: nothing */
    struct err trouble; /* why it does not send now; code 0: none */
};

struct sender;

void sender_open(const struct sender_options *options, struct sender **out);
/* Does one thing; true: call again at once, there may be more. May wait for the log for seconds. */
bool sender_step(struct sender *sender);
/* The cut at which this version ceases to be the one that sends: nothing that is committed after this
 * call is sent. Any thread; afterwards sender_step only returns false. */
void sender_stop(struct sender *sender);
bool sender_stopped(const struct sender *sender);
/* For each source of the last span: every message below this offset is sent, or never will be. out
 * has its source_count. */
void sender_positions(const struct sender *sender, int64_t *out);
/* Which span is being sent: those before it are done. */
uint32_t sender_span(const struct sender *sender);
void sender_status(const struct sender *sender, struct sender_status *out);
/* Did a fail point stop it? */
bool sender_died(const struct sender *sender);
void sender_close(struct sender *sender);
/* As the death of the process would: SENT stays as it is. */
void sender_abandon(struct sender *sender);

/* What the SENT of a processor says (sender_sent.c), a new reference, or NULL. The messages of records below
 * "sent" of an input are in their topics; what is not said may be there too. Any process. */
json_t *sender_sent_read(const char *dir);

#endif
