/* Sending to Kafka exactly once: a producer with transactions.
 *
 *     kafka_sender_open -> (append... -> commit)... -> close            (one thread)
 *
 * Opening fences: the broker gives the transactional id to this client, aborts what an earlier one
 * left open and refuses what still arrives of it. A commit publishes all its records as one. What
 * became of a commit that failed is not asked here: the caller opens a new sender, which settles it,
 * and reads the topics.
 *
 * Everything waits for a bounded time. */
#include "log/kafka_private.h"

#include "base/clock.h"
#include "base/limits.h"

#include <string.h>

#define SENDER_MAGIC    0x6b736e64U
#define OPEN_MS         5000 /* to get the transactional id */
#define COMMIT_MS       8000
#define ABORT_MS        500
#define FULL_POLL_MS    20
#define POLL_EVERY      64  /* appends between looks at delivery reports */
#define TOPIC_COUNT_MAX 256 /* of one sender */

struct kafka_sender {
    struct log_sender base; /* first */
    uint32_t magic;
    struct kafka_client client;
    bool in_transaction;
    uint32_t since_poll;      /* appends */
    uint64_t failed;          /* records that were not delivered */
    rd_kafka_resp_err_t code; /* why the first of them was not */
    uint32_t topic_count;
    rd_kafka_topic_t *topics[TOPIC_COUNT_MAX];
};

static struct kafka_sender *sender_of(struct log_sender *base)
{
    struct kafka_sender *sender = container_of(base, struct kafka_sender, base);
    MAGIC_ASSERT(sender, SENDER_MAGIC);
    return sender;
}

void kafka_sender_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    (void)opaque;
    struct kafka_sender *sender = message->_private;
    MAGIC_ASSERT(sender, SENDER_MAGIC);
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        sender->code = sender->failed == 0 ? message->err : sender->code;
        sender->failed++;
    }
}

/* Takes the error of a transactional call. */
static int failed(struct kafka_sender *sender, rd_kafka_error_t *error, const char *what,
                  struct err *err)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    bool fenced = code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
                  code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
    int rc = 0;
    if (sender->failed > 0 && !fenced) { /* the reason behind "the transaction failed" */
        rc = kafka_error(&sender->client, sender->code, NULL, err, "%s: %llu records were refused",
                         what, (unsigned long long)sender->failed);
    } else {
        rc = kafka_error(&sender->client, code, rd_kafka_error_string(error), err, "%s", what);
    }
    if (fenced) {
        rc = err_set(err, KE_BUSY, "%s: another process sends under the same name", what);
        err_hint(err, "two servers run the same processor against this Kafka: stop one of them");
    }
    rd_kafka_error_destroy(error);
    return rc;
}

static int kafka_sender_range(struct log_sender *base, const char *topic, uint32_t partition,
                              int64_t *start, int64_t *end, struct err *err)
{
    struct kafka_sender *sender = sender_of(base);
    (void)rd_kafka_poll(sender->client.rk, 0);
    return kafka_query_range(&sender->client, topic, (int32_t)(partition & INT32_MAX),
                             KAFKA_REQUEST_MS, start, end, err);
}

/* ---- append */

static int topic_for(struct kafka_sender *sender, const char *topic, rd_kafka_topic_t **out,
                     struct err *err)
{
    for (uint32_t i = 0; i < sender->topic_count; i++) {
        if (strcmp(rd_kafka_topic_name(sender->topics[i]), topic) == 0) {
            *out = sender->topics[i];
            return 0;
        }
    }
    if (sender->topic_count == TOPIC_COUNT_MAX) {
        return err_set(err, KE_LIMIT, "more than %d topics for one sender", TOPIC_COUNT_MAX);
    }
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(sender->client.rk, topic, NULL);
    if (rkt == NULL) {
        return err_set(err, KE_INVALID, "Kafka takes no topic of the name %s", topic);
    }
    sender->topics[sender->topic_count++] = rkt;
    *out = rkt;
    return 0;
}

static int transaction_ready(struct kafka_sender *sender, struct err *err)
{
    if (sender->in_transaction) {
        return 0;
    }
    rd_kafka_error_t *error = rd_kafka_begin_transaction(sender->client.rk);
    if (error != NULL) {
        return failed(sender, error, "cannot begin a transaction", err);
    }
    sender->in_transaction = true;
    return 0;
}

static int produce_waiting(struct kafka_sender *sender, rd_kafka_topic_t *rkt, uint32_t partition,
                           const struct kappa_record *record, struct err *err)
{
    int64_t deadline = clock_mono_us(clock_real()) + COMMIT_MS * INT64_C(1000);
    rd_kafka_headers_t *headers = NULL;
    if (record->headers_len > 0) {
        headers = kafka_headers_new(record);
        if (headers == NULL) {
            return err_set(err, KE_CORRUPT, "topic %s: the headers of a message are malformed",
                           rd_kafka_topic_name(rkt));
        }
    }
    for (;;) {
        rd_kafka_error_t *error = kafka_produce(
            sender->client.rk, rkt, (int32_t)(partition & INT32_MAX), record, headers, sender);
        if (error == NULL) {
            return 0;
        }
        bool full = rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL;
        if (full && sender->failed == 0 && clock_mono_us(clock_real()) < deadline) {
            rd_kafka_error_destroy(error);
            (void)rd_kafka_poll(sender->client.rk, FULL_POLL_MS);
            continue;
        }
        if (headers != NULL) {
            rd_kafka_headers_destroy(headers);
        }
        return failed(sender, error, "cannot send", err);
    }
}

static int kafka_sender_append(struct log_sender *base, const char *topic, uint32_t partition,
                               const struct kappa_record *record, struct err *err)
{
    struct kafka_sender *sender = sender_of(base);
    rd_kafka_topic_t *rkt = NULL;
    struct kappa_record copy = *record;
    if (copy.time_ms <= 0) {
        copy.time_ms = KAPPA_NO_TIME; /* Kafka knows no earlier times, and 0 means "now" */
    }
    int rc = topic_for(sender, topic, &rkt, err);
    if (rc == 0) {
        rc = transaction_ready(sender, err);
    }
    if (rc == 0 && ++sender->since_poll >= POLL_EVERY) {
        sender->since_poll = 0;
        (void)rd_kafka_poll(sender->client.rk, 0);
    }
    return rc != 0 ? rc : produce_waiting(sender, rkt, partition, &copy, err);
}

static int kafka_sender_commit(struct log_sender *base, struct err *err)
{
    struct kafka_sender *sender = sender_of(base);
    if (!sender->in_transaction) {
        return 0;
    }
    rd_kafka_error_t *error = rd_kafka_commit_transaction(sender->client.rk, COMMIT_MS);
    if (error != NULL) {
        return failed(sender, error, "cannot commit a transaction", err);
    }
    sender->in_transaction = false;
    kafka_client_trouble_over(&sender->client);
    return 0;
}

/* ---- Life */

static void kafka_sender_close(struct log_sender *base)
{
    struct kafka_sender *sender = sender_of(base);
    rd_kafka_t *rk = sender->client.rk;
    (void)rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    if (sender->in_transaction) {
        rd_kafka_error_t *error = rd_kafka_abort_transaction(rk, ABORT_MS);
        if (error != NULL) {
            rd_kafka_error_destroy(error); /* the next sender's opening aborts it */
        }
    }
    (void)rd_kafka_poll(rk, 0);
    for (uint32_t i = 0; i < sender->topic_count; i++) {
        rd_kafka_topic_destroy(sender->topics[i]);
    }
    kafka_client_close(&sender->client);
    sender->magic = 0;
    free(sender);
}

static const struct log_sender_ops kafka_sender_ops = {
    .close = kafka_sender_close,
    .range = kafka_sender_range,
    .append = kafka_sender_append,
    .commit = kafka_sender_commit,
};

int kafka_sender_open(struct log *log, const char *name, struct log_sender **out, struct err *err)
{
    struct kafka_sender *sender = xcalloc(1, sizeof *sender);
    sender->base.ops = &kafka_sender_ops;
    sender->magic = SENDER_MAGIC;
    int rc =
        kafka_client_init(&sender->client, &kafka_log_of(log)->settings, KAFKA_SENDER, name, err);
    if (rc != 0) {
        free(sender);
        return rc;
    }
    rd_kafka_error_t *error = rd_kafka_init_transactions(sender->client.rk, OPEN_MS);
    if (error != NULL) {
        rc = failed(sender, error, "cannot begin to send", err);
        kafka_sender_close(&sender->base);
        return rc;
    }
    *out = &sender->base;
    return 0;
}
