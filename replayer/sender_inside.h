/* The inside of a sender: sender.c (life, steps), sender_read.c (reading the outbox), sender_round.c
 * (sending), sender_marks.c (marks), sender_sent.c (the file SENT) and sender_recover.c (reading the
 * topics). */
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
    bool waiting; /* there was more of it than the round took */

    /* Of topics with marks; sender_marks.c. Times are KAPPA_NO_TIME where there is none. */
    int64_t *times;       /* per topic: the largest time of its messages below `sent` */
    int64_t *round_times; /* per topic: and of those of this round */
    int64_t quiet_us;     /* since when no message came; 0: not known yet */
    int64_t end;          /* of the partition, asked for since; -1: not asked, or no answer */
    int64_t asked_us;
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

    /* Marks; NULL and unused without. */
    bool *feeds; /* per input: its records make messages of this topic */
    int64_t idle_us;
    struct sender_place *tail_place; /* per input: the greatest name found in any partition */
    int64_t *tail_time;              /* per input: the largest time of what was found */
    int64_t marked_ms;               /* the newest mark, or KAPPA_NO_TIME */
    int64_t marked_us;               /* when it was written */
    int64_t mark_ms;                 /* of this round, or KAPPA_NO_TIME: none */
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
    bool marking;   /* some topic has marks */

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

/* ---- sender_marks.c */

/* The inputs, topics and pieces are made. */
void sender_marks_open(struct sender *sender, const struct sender_marks *marks);
/* A message was found in the topic while recovering; before that, what was found is forgotten. */
void sender_marks_found(struct sender_topic *topic, uint32_t input,
                        const struct sender_place *place, int64_t time_ms);
void sender_marks_forget(const struct sender *sender, struct sender_topic *topic);
/* A round was read: is a mark to be written behind its messages? May ask the log for the ends of
 * partitions that have been silent for long. */
bool sender_marks_due(struct sender *sender, const struct sender_piece *piece);
/* Appends the marks that are due. */
int sender_marks_append(struct sender *sender, struct err *err) must_check;
/* The round is sent, and the positions have followed. */
void sender_marks_arrive(struct sender *sender, const struct sender_piece *piece);

/* ---- sender_round.c */

/* Reads and sends some; *more: there was something. */
int sender_round(struct sender *sender, bool *more, struct err *err) must_check;
/* Nothing is to be sent, or the end has come: makes SENT clean when that is worth it. */
int sender_rest(struct sender *sender, bool last, struct err *err) must_check;

#endif
