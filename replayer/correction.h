/* MOTION, the way out, afterwards: how the messages that were sent differ from those that the serving
 * version makes of the same records, and sending the difference.
 *
 *     correction_open -> correction_find -> correction_walk (to count, to list)
 *                                           or correction_send (the same, and sent) -> correction_close
 *
 * What was sent is what the topics hold: for each name (sender_name.h) and key the newest message,
 * corrections included. What should have been sent is what a replay of the serving version makes, from its
 * start to the cut of its swap: the messages in the outboxes of its environments with names below the cut.
 * Both are functions of logs. So a run that dies leaves nothing behind that the next one would not find in
 * the topics, and a run after one that ended finds nothing to do.
 *
 *     there and other     replaced: the message as it should be
 *     not there           added
 *     there, should not   retracted: its key and a null value
 *
 * A message whose key is another is retracted, and added with its key: which message is the newest is only
 * known within a partition, and that follows from the key. A correction goes where the message is that it
 * corrects, whatever partitions the topic has gained since. It bears the name of that message, and the
 * header "kappa-correction" (sender_name.h), by which those who look for names to know how far the sender
 * has come pass it over.
 *
 * Corrections leave by input partition and offset, of one record the retractions first. They are sent by a
 * sender of the log under a name of their own ("kappa-NAME-corrections"): it is opened before the topics
 * are read, so nothing of an earlier run can come any more. Before each batch the caller is asked whether
 * the version still serves; that a swap may come right behind the answer does no harm, since the next run
 * compares with what is there.
 *
 * The caller sees to it that all messages below the cut are sent, that one run works at a time, and that
 * names of other versions than this processor's are not there. Memory: the messages of one record, and a
 * batch. One thread. */
#ifndef KAPPA_REPLAYER_CORRECTION_H
#define KAPPA_REPLAYER_CORRECTION_H

#include <stdatomic.h>

#include "base/clock.h"
#include "log/log.h"
#include "replayer/sender_name.h"

/* An input partition of the serving version. */
struct correction_source {
    const char *topic;
    uint64_t identity; /* or 0 */
    uint32_t partition;
    int64_t start; /* of the version: what it would have made of records below is not known */
    int64_t cut;   /* its messages from here on are its own */
};

/* A topic that any version of the processor has written. */
struct correction_topic {
    const char *name;
    uint32_t spread; /* partitions that messages without a place yet are spread over; 0: all */
};

struct correction_options {
    struct log *log;  /* with its archives */
    struct log *base; /* the log behind these, or the same: what is said of topics' settings */
    const struct clock_ops *clock;
    const char *name;     /* of the sender: sender.h */
    const char *dir;      /* for what is found; is there */
    const char *replayed; /* the replay's environments; NULL: it makes no messages */
    uint32_t shards;      /* of them */
    uint64_t epoch;       /* of the swap */
    const struct correction_source *sources; /* of the version, in its order; all borrowed */
    uint32_t source_count;
    const struct correction_topic *topics;
    uint32_t topic_count;
    const uint32_t *outputs; /* per output of the version's definition: its topic, of these */
    uint32_t output_count;
    atomic_bool *stop;
};

enum correction_kind { CORRECTION_REPLACED, CORRECTION_ADDED, CORRECTION_RETRACTED };

#define CORRECTION_KINDS 3

/* "replaced" */
const char *correction_word(enum correction_kind kind);

/* One difference. All borrowed, until the function that got it returns. */
struct correction {
    enum correction_kind kind;
    const char *input;
    uint64_t identity;
    uint32_t input_partition;
    struct sender_place place;
    const char *topic;
    uint32_t partition;
    struct kappa_record record; /* as it is to be, without headers of ours */
};

struct correction_counts {
    uint64_t
        names; /* messages that were sent under a name, corrections not counted; correction_find */
    uint64_t same; /* from here on: correction_walk */
    uint64_t of[CORRECTION_KINDS];
    uint64_t unknown; /* of records before the version's start: not compared */
    uint64_t
        foreign; /* of a topic that was deleted since, or has lost its partition: not compared */
};

struct corrections;

int correction_open(const struct correction_options *options, struct corrections **out,
                    struct err *err) must_check;
void correction_close(struct corrections *corrections);
/* Reads the topics up to their ends. send: correction_send will follow. REFUSED and RANGE_LOST where a
 * topic does not tell all that was sent. */
int correction_find(struct corrections *corrections, bool send, struct err *err) must_check;
/* Calls fn for each difference. */
int correction_walk(struct corrections *corrections,
                    int (*fn)(void *ctx, const struct correction *correction, struct err *err),
                    void *ctx, struct err *err) must_check;

struct correction_sending {
    /* Does the version still serve? Asked before each batch. */
    int (*may)(void *ctx, struct err *err);
    /* Told of each that is about to be sent; may be NULL. */
    int (*told)(void *ctx, const struct correction *correction, struct err *err);
    void *ctx;
    /* For tests; may be NULL: "correct" before a batch is appended, "corrected" behind its commit. */
    int (*fail_point)(void *ctx, const char *step);
};

/* *sent: acknowledged ones, also when it fails. */
int correction_send(struct corrections *corrections, const struct correction_sending *sending,
                    uint64_t *sent, struct err *err) must_check;
void correction_counts(const struct corrections *corrections, struct correction_counts *out);

#endif
