/* The inside of a sender: sender.c (life, steps), sender_read.c (reading the outbox), sender_round.c
 * (sending), sender_sent.c (the file SENT) and sender_recover.c (reading the topics). */
#ifndef KAPPA_REPLAYER_SENDER_INSIDE_H
#define KAPPA_REPLAYER_SENDER_INSIDE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "replayer/sender.h"
#include "replayer/sender_name.h"
#include "table/outbox.h"

/* An input partition, known to all spans under this number. */
struct sender_input {
    char *topic; /* owned */
    uint64_t identity;
    uint32_t partition;
    int64_t sent; /* messages of records below are sent, or never will be; -1: none yet */
};

/* A topic that is written. */
struct sender_topic {
    char *name; /* owned */
    uint32_t
        partitions; /* that messages are spread over; changes only when SENT is clean; 0: unknown */
    uint64_t identity;
    int64_t
        *checkpoints; /* per partition: what was sent and is not in `sent` lies behind; -1: all */
    bool *written;    /* per partition: since the checkpoint */
    /* Per partition NULL, or per input the greatest name found there. */
    struct sender_place **found;
};

/* A span, with its sources and topics as numbers. */
struct sender_piece {
    char *dir;
    uint32_t shards;
    uint32_t source_count;
    uint32_t *inputs; /* per source */
    int64_t *from, *to;
    uint32_t topic_count;
    uint32_t *topics; /* per output */
};

/* A message read from the outbox. Its bytes lie in sender->bytes. */
struct sender_message {
    uint32_t source;
    struct sender_place place;
    size_t at;
    size_t len;
};

/* The next message of a source, while a round is read. */
struct sender_head {
    struct outbox_cursor *cursor; /* owned */
    struct outbox_row row;
    int64_t time_ms; /* of the message, or KAPPA_NO_TIME */
    uint32_t source;
};

enum sender_phase { SENDER_LOCK, SENDER_FENCE, SENDER_RECOVER, SENDER_SEND };

struct sender {
    struct log *log; /* borrowed */
    const struct clock_ops *clock;
    char *dir;
    char *name;
    int (*fail_point)(void *ctx, const char *step);
    void *fail_ctx;
    atomic_bool stopped;
    bool died;

    struct sender_input *inputs;
    uint32_t input_count;
    struct sender_topic *topics;
    uint32_t topic_count;
    struct sender_piece *pieces;
    uint32_t piece_count;
    uint32_t piece; /* the one being sent */

    enum sender_phase phase;
    int lock_fd;
    int64_t lock_us; /* waiting for the lock since */
    struct log_sender *out;
    struct outbox *outbox; /* of the piece being sent, or NULL */

    bool loaded;        /* SENT was read */
    bool clean;         /* SENT says so */
    bool marked;        /* SENT on disk says that it is not, and for how many partitions */
    bool drained;       /* the last round found nothing */
    bool changed;       /* `sent` grew since it was written */
    int64_t saved_us;   /* when it was written */
    int64_t checked_us; /* when checkpoints were moved */
    uint64_t sent;
    uint64_t recognised;

    /* A round. */
    struct sender_head *heads; /* room for one per source */
    struct sender_message *messages;
    uint32_t message_count, message_cap;
    struct buf bytes;
    struct buf header;
    int64_t *reach; /* per source of the piece: where `sent` will be */

    int64_t retry_us, retry_wait_us;
    int64_t waiting_since_us; /* 0: nothing waits */
    struct err trouble;
};

/* True: the test wants it dead here. */
bool sender_fails(struct sender *sender, const char *step);

/* ---- sender_sent.c */

/* Reads SENT: positions, topics. Nothing there, or nothing that makes sense: whole topics will be
 * read. */
void sender_sent_load(struct sender *sender);
/* Writes it. sync: it is on disk when this returns. */
int sender_sent_save(struct sender *sender, bool clean, bool sync, struct err *err) must_check;

/* ---- sender_recover.c */

/* Makes the topics' partitions known, and reads their ends unless SENT is clean. */
int sender_recover(struct sender *sender, struct err *err) must_check;
/* Moves the checkpoints of partitions written since to their ends, unless messages that were found
 * lie ahead. Everything sent is committed. */
int sender_checkpoint(struct sender *sender, bool *moved, struct err *err) must_check;
void sender_topic_free(struct sender_topic *topic);
/* Where a message goes. */
uint32_t sender_partition(const struct sender_topic *topic, uint32_t input_partition,
                          const struct kappa_record *record);

/* ---- sender_read.c */

/* The next messages of the piece, in the order in which they leave; and `reach`. */
int sender_read(struct sender *sender, const struct sender_piece *piece,
                struct err *err) must_check;

/* ---- sender_round.c */

/* Reads and sends some; *more: there was something. */
int sender_round(struct sender *sender, bool *more, struct err *err) must_check;
/* Nothing is to be sent, or the end has come: makes SENT clean when that is worth it. */
int sender_rest(struct sender *sender, bool last, struct err *err) must_check;

#endif
