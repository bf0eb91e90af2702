/* A reader of Kafka inside: shared by log_kafka_reader.c (life, positions, errors) and kafka_fill.c
 * (what one look at librdkafka's queue brings).
 *
 * What one call of rd_kafka_consume_batch_queue brings is a "fill": its messages come in runs of one
 * partition each. The records of a run point into librdkafka's buffers, which are given back when
 * the next fill begins.
 *
 *     messages  m0 m1 m2 | m3 m4 | EOF | m6 ...        records  r0 r1 r2 | r3 r4 | r6 ...
 *               p0         p1      p1    p0            runs     p0        p1 (at end)  p0
 *
 * Invariants:
 *  1. A source's `read` is the next offset wanted; records below it are dropped, so that no record
 *     is handed out twice whatever librdkafka delivers again.
 *  2. Positions move by records and by PARTITION_EOF, whose offset lies behind all holes (compacted
 *     records, transaction markers). Nothing is counted from differences of offsets.
 *  3. The consumer is assigned once and never sought, paused or resumed: each of these drops or
 *     re-delivers messages in librdkafka 2.0.2. Back-pressure is not calling next().
 *  4. What a batch says of doubt is looked up when it is handed out: no record that was fetched behind
 *     something doubtful is without it.
 *  5. The bytes behind a value that vector parsers may look at are in the value's own page, or the
 *     value is copied (KAPPA_RECORD_TAIL).
 */
#ifndef KAPPA_LOG_KAFKA_READER_H
#define KAPPA_LOG_KAFKA_READER_H

#include "base/arena.h"
#include "base/limits.h"
#include "log/kafka_private.h"

#define KAFKA_READER_MAGIC 0x6b726472U
#define KAFKA_FILL_MAX     LIMIT_BATCH_RECORDS
#define KAFKA_NO_INDEX     UINT32_MAX
#define KAFKA_PROBE_MS     200 /* what a look at the brokers may add to a wait */

struct kafka_source {
    char *topic;
    int32_t partition;
    uint32_t source;            /* the caller's number */
    int64_t read;               /* next offset wanted from librdkafka; the reader's thread */
    _Atomic int64_t position;   /* next offset to hand out */
    _Atomic int64_t end_seen;   /* offset of the last PARTITION_EOF, or -1 */
    _Atomic int64_t quiet_high; /* high watermark up to which nothing more is readable, or -1 */
};

struct kafka_run {
    uint32_t index;                /* of the source */
    uint32_t first, count;         /* records */
    int64_t next;                  /* the position behind it */
    bool at_end;                   /* a PARTITION_EOF at `next` followed */
    const rd_kafka_message_t *bad; /* an error instead of records, else NULL */
};

struct kafka_reader {
    struct log_reader base;
    uint32_t magic;
    uint32_t lost; /* index of a source whose position is gone and whose range is still asked for */
    struct kafka_client client;
    rd_kafka_queue_t *queue;
    char *user, *password; /* see nudge(); NULL when nudging is not possible */
    int64_t assigned_us;   /* when */
    int64_t filled_us;     /* when the last fill ended; 0: none did */
    bool assigned;
    bool started; /* something was received */
    atomic_bool woken;
    int failed;             /* an error for good, given again by every next() */
    uint32_t failed_source; /* the caller's number */
    uint32_t gone_looks;    /* in a row that a source was not known to brokers */
    int64_t probed_us;      /* when trouble was last looked into */
    struct err failure;

    struct kafka_source *sources;
    uint32_t *by_name; /* indexes of sources by topic and partition */
    uint32_t source_count, source_cap;
    uint32_t by_source[LIMIT_SOURCES]; /* the caller's number -> index, or KAFKA_NO_INDEX */

    uint32_t message_count, record_count, run_count; /* of this fill */
    uint32_t run_now;                                /* the next to hand out */
    const rd_kafka_topic_t *last_topic;              /* of the last message looked up */
    uint32_t last_index;                             /* its source */
    struct arena copies;                /* headers, and values whose tail is not readable */
    size_t average;                     /* bytes per message of the last fill, at least 1 */
    size_t nudge_messages, nudge_bytes; /* consumed since the last nudge */
    uint64_t dropped;                   /* records below the position */
    rd_kafka_message_t *messages[KAFKA_FILL_MAX];
    struct kappa_record records[KAFKA_FILL_MAX];
    struct kafka_run runs[KAFKA_FILL_MAX];
};

/* ---- log_kafka_reader.c: sources by topic and partition */

/* Place in by_name of the first source that is not below. */
uint32_t kafka_source_place(const struct kafka_reader *reader, const char *topic,
                            int32_t partition);
/* Index, or KAFKA_NO_INDEX. */
uint32_t kafka_source_find(const struct kafka_reader *reader, const char *topic, int32_t partition);

/* ---- kafka_fill.c */

/* Ends the present fill and takes another, waiting up to timeout_ms for its first message. */
void kafka_fill(struct kafka_reader *reader, int timeout_ms);
/* Gives the present fill's messages back: its records are gone. */
void kafka_fill_release(struct kafka_reader *reader);
/* Prepares what kafka_fill needs to wake broker threads. */
void kafka_fill_prepare(struct kafka_reader *reader);

#endif
