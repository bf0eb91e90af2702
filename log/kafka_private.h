/* Shared by the files of the Kafka log, and the one place that includes librdkafka.
 *
 *     kafka_conf.c         properties, callbacks, error texts      log_kafka.c         metadata
 *     log_kafka_reader.c   consumer, one client per reader         log_kafka_writer.c  producer
 *     log_kafka_sender.c   producer with transactions              kafka_produce.c     one record
 *
 * A client is one rd_kafka_t with its callbacks' state. The log has one for metadata; every reader
 * and writer has its own, since one librdkafka client fetches from a broker with one thread.
 *
 * Nothing above log/ sees a word of this: librdkafka's errors become Kappa's codes and sentences in
 * kafka_conf.c. */
#ifndef KAPPA_LOG_KAFKA_PRIVATE_H
#define KAPPA_LOG_KAFKA_PRIVATE_H

#include "log/log.h"

#include <librdkafka/rdkafka.h>

#include <pthread.h>
#include <stdatomic.h>

/* Bound on every metadata call: an operator waits for it. */
#define KAFKA_REQUEST_MS 5000

struct kafka_property {
    char *name;
    char *value; /* may be a secret: never printed */
};

/* What log_open_kafka was given, checked. Read-only from then on: any thread. */
struct kafka_settings {
    char *brokers;
    struct kafka_property *properties;
    size_t count;
};

enum kafka_role { KAFKA_METADATA, KAFKA_READER, KAFKA_WRITER, KAFKA_SENDER };

#define KAFKA_CLIENT_MAGIC 0x6b636c69U

struct kafka_client {
    uint32_t magic;
    rd_kafka_t *rk;
    const struct kafka_settings *settings; /* of the log, which outlives its clients */
    pthread_mutex_t lock;                  /* guards trouble_text, partition_lost */
    char trouble_text[512];                /* the last thing librdkafka said about its brokers */
    bool partition_lost;            /* a partition in use was deleted: see kafka_client_close */
    atomic_bool trouble;            /* said since the flag was last cleared */
    _Atomic uint64_t doubt;         /* log_batch.doubt of what is read from now on */
    struct kafka_client *next_live; /* kafka_conf.c */
};

struct kafka_log {
    struct log base;
    struct kafka_settings settings;
    struct kafka_client metadata;
    struct kafka_client group; /* commits for group_name; only then */
    char *group_name;          /* or NULL; owned */
};

static inline struct kafka_log *kafka_log_of(struct log *log)
{
    return container_of(log, struct kafka_log, base);
}

/* ---- kafka_conf.c */

/* Checks the properties by name and, for those Kappa does not own, through librdkafka. */
int kafka_settings_init(struct kafka_settings *settings, const char *brokers,
                        const json_t *properties, struct err *err) must_check;
void kafka_settings_close(struct kafka_settings *settings);
/* The value given for this property, or NULL. */
const char *kafka_settings_find(const struct kafka_settings *settings, const char *name);

/* Starts a client; does not wait for any broker. name: of a reader its group, of a sender its
 * transactional id, of METADATA the group that it commits for, or NULL. The struct must stay where it
 * is until the close. */
int kafka_client_init(struct kafka_client *client, const struct kafka_settings *settings,
                      enum kafka_role role, const char *name, struct err *err) must_check;
void kafka_client_close(struct kafka_client *client);
/* Copies what librdkafka last said about its brokers; "" when it was silent. */
void kafka_client_trouble(struct kafka_client *client, char *text, size_t size);
/* What is read from now on may be of another topic of that name. Any thread. */
void kafka_client_doubt(struct kafka_client *client);
/* Forgets it: the brokers were seen to work. */
void kafka_client_trouble_over(struct kafka_client *client);

/* Code of a librdkafka error for a call that names a topic. */
enum err_code kafka_error_code(rd_kafka_resp_err_t code);
/* Fills err for a failed call: "WHAT: librdkafka's words", for broker trouble with the brokers and
 * what to check. detail: librdkafka's longer text or NULL. Returns the negative code. */
int kafka_error(struct kafka_client *client, rd_kafka_resp_err_t code, const char *detail,
                struct err *err, const char *what, ...) printf_like(5, 6);
/* The same for trouble that no call returned: BROKER. */
int kafka_error_brokers(struct kafka_client *client, struct err *err, const char *what, ...)
    printf_like(3, 4);

/* ---- log_kafka.c: also used by readers, with their own client */

/* Start and end of a partition in at most timeout_ms. An offset of -1 never comes out. */
int kafka_query_range(struct kafka_client *client, const char *topic, int32_t partition,
                      int timeout_ms, int64_t *start, int64_t *end, struct err *err) must_check;
int kafka_topic_partitions(struct log *log, const char *topic, uint32_t *count,
                           struct err *err) must_check;

/* ---- log_kafka_reader.c, log_kafka_writer.c */
int kafka_reader_open(struct log *log, const char *group, struct log_reader **out,
                      struct err *err) must_check;
int kafka_writer_open(struct log *log, const char *topic, struct log_writer **out,
                      struct err *err) must_check;
int kafka_sender_open(struct log *log, const char *name, struct log_sender **out,
                      struct err *err) must_check;

/* ---- kafka_extent.c */

int kafka_extent(struct log *log, const char *topic, uint32_t partition, int64_t from, int64_t to,
                 struct log_extent *out, struct err *err);

/* ---- kafka_group.c */

int kafka_group_commit(struct log *log, const char *group, const struct log_place *places,
                       uint32_t count, struct err *err);
void kafka_group_close(struct kafka_log *kafka);
int kafka_groups_delete(struct log *log, const char *const *groups, uint32_t count,
                        struct err *err);

/* ---- kafka_produce.c */

/* Kappa's header bytes (include/kappa/record.h) as librdkafka's; NULL when they are malformed. */
rd_kafka_headers_t *kafka_headers_new(const struct kappa_record *record);
/* One try. The error is NULL when librdkafka has taken the record, and the headers with it. opaque:
 * comes back in the delivery report. */
rd_kafka_error_t *kafka_produce(rd_kafka_t *rk, rd_kafka_topic_t *rkt, int32_t partition,
                                const struct kappa_record *record, rd_kafka_headers_t *headers,
                                void *opaque);

/* librdkafka's delivery report; the message's opaque is the writer. */
void kafka_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque);
/* The same for senders. */
void kafka_sender_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque);

#endif
