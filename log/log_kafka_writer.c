/* Writing to Kafka: one idempotent producer per writer.
 *
 *     kafka_writer_open -> append... -> flush -> close                 (one thread)
 *
 * append() copies the record into librdkafka's queue; what became of it is learned from delivery
 * reports, served whenever the writer polls. The first failure is kept and given by the next
 * append() or flush(); nothing is lost silently: a record is written, or an error is returned before
 * or by the flush that follows it. close() drops what was not flushed.
 *
 * A full queue is waited for. When no broker answers, librdkafka gives records up after
 * message.timeout.ms, which ends the wait with BROKER.
 */
#include "log/kafka_private.h"

#include "base/clock.h"
#include "base/limits.h"

#include <string.h>

#define WRITER_MAGIC   0x6b777472U
#define POLL_EVERY     64 /* appends between looks at delivery reports */
#define FULL_POLL_MS   20
#define TIMEOUT_MS     30000 /* message.timeout.ms, unless a property says otherwise */
#define TIMEOUT_GRACE  5000  /* for librdkafka to notice its own timeout */
#define ERROR_TEXT_LEN 512

struct kafka_writer {
    struct log_writer base;
    uint32_t magic;
    struct kafka_client client;
    char *topic;
    rd_kafka_topic_t *rkt;
    int64_t patience_ms;      /* how long a full queue or a flush is waited for */
    atomic_uint round_robin;  /* for records without a key */
    uint32_t since_poll;      /* appends */
    uint64_t failed;          /* records whose delivery failed since the last flush */
    rd_kafka_resp_err_t code; /* why the first of them failed */
};

static struct kafka_writer *writer_of(struct log_writer *base)
{
    struct kafka_writer *writer = container_of(base, struct kafka_writer, base);
    MAGIC_ASSERT(writer, WRITER_MAGIC);
    return writer;
}

static int64_t now_ms(void)
{
    return clock_mono_us(clock_real()) / 1000;
}

/* ---- librdkafka's callbacks */

/* Served by the writer's own thread, in rd_kafka_poll and rd_kafka_flush. */
void kafka_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    (void)opaque;
    struct kafka_writer *writer = message->_private;
    MAGIC_ASSERT(writer, WRITER_MAGIC);
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        writer->code = writer->failed == 0 ? message->err : writer->code;
        writer->failed++;
    }
}

/* May run in a thread of librdkafka when the topic's partitions were not known at the append. */
static int32_t partition_callback(const rd_kafka_topic_t *rkt, const void *key, size_t len,
                                  int32_t partitions, void *opaque, void *message_opaque)
{
    (void)rkt;
    (void)message_opaque;
    struct kafka_writer *writer = opaque;
    MAGIC_ASSERT(writer, WRITER_MAGIC);
    if (key == NULL) {
        unsigned turn = atomic_fetch_add(&writer->round_robin, 1);
        return (int32_t)(turn % (unsigned)partitions);
    }
    return (int32_t)log_partition_of_key(key, len, (uint32_t)partitions);
}

/* ---- append */

/* The first failed delivery as an error; forgets it. */
static int failure(struct kafka_writer *writer, struct err *err)
{
    rd_kafka_resp_err_t code = writer->code;
    uint64_t failed = writer->failed;
    writer->failed = 0;
    if (code == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT) {
        return kafka_error_brokers(&writer->client, err,
                                   "%llu records for topic %s were not acknowledged in time",
                                   (unsigned long long)failed, writer->topic);
    }
    int rc = kafka_error(&writer->client, code, NULL, err, "%llu records for topic %s were refused",
                         (unsigned long long)failed, writer->topic);
    if (rc == -KE_LIMIT) {
        err_hint(err, "raise max.message.bytes of the topic, or send smaller records");
    }
    return rc;
}

static int record_check(const struct kafka_writer *writer, const struct kappa_record *record,
                        struct err *err)
{
    uint64_t size = (uint64_t)record->headers_len +
                    (record->key_len == KAPPA_NULL_LEN ? 0 : record->key_len) +
                    (record->value_len == KAPPA_NULL_LEN ? 0 : record->value_len);
    if (size > LIMIT_RECORD_BYTES) {
        return err_set(err, KE_LIMIT, "a record of %llu bytes for topic %s: the limit is %d",
                       (unsigned long long)size, writer->topic, LIMIT_RECORD_BYTES);
    }
    if (record->time_ms <= 0 && record->time_ms != KAPPA_NO_TIME) {
        /* Kafka knows no earlier times, and 0 means "now" to librdkafka. */
        return err_set(err, KE_INVALID, "topic %s: Kafka cannot hold the record time %lld ms",
                       writer->topic, (long long)record->time_ms);
    }
    return 0;
}

static int produce_waiting(struct kafka_writer *writer, int32_t partition,
                           const struct kappa_record *record, rd_kafka_headers_t *headers,
                           struct err *err)
{
    int64_t deadline = now_ms() + writer->patience_ms;
    for (;;) {
        rd_kafka_error_t *error =
            kafka_produce(writer->client.rk, writer->rkt, partition, record, headers, writer);
        if (error == NULL) {
            return 0;
        }
        rd_kafka_resp_err_t code = rd_kafka_error_code(error);
        int rc = -KE_AGAIN;
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            rc = kafka_error(&writer->client, code, rd_kafka_error_string(error), err,
                             "cannot write to topic %s", writer->topic);
        } else if (now_ms() >= deadline) {
            rc = kafka_error_brokers(&writer->client, err, "Kafka takes no records for topic %s",
                                     writer->topic);
        }
        rd_kafka_error_destroy(error);
        if (rc != -KE_AGAIN) {
            if (headers != NULL) {
                rd_kafka_headers_destroy(headers);
            }
            return rc;
        }
        (void)rd_kafka_poll(writer->client.rk, FULL_POLL_MS);
    }
}

static int kafka_writer_append(struct log_writer *base, int32_t partition,
                               const struct kappa_record *record, struct err *err)
{
    struct kafka_writer *writer = writer_of(base);
    int rc = record_check(writer, record, err);
    if (rc != 0) {
        return rc;
    }
    if (++writer->since_poll >= POLL_EVERY) {
        writer->since_poll = 0;
        (void)rd_kafka_poll(writer->client.rk, 0);
    }
    if (writer->failed > 0) {
        return failure(writer, err);
    }
    rd_kafka_headers_t *headers = NULL;
    if (record->headers_len > 0) {
        headers = kafka_headers_new(record);
        if (headers == NULL) {
            return err_set(err, KE_INVALID, "topic %s: the headers of a record are malformed",
                           writer->topic);
        }
    }
    return produce_waiting(writer, partition, record, headers, err);
}

static int kafka_writer_flush(struct log_writer *base, bool sync, struct err *err)
{
    (void)sync; /* acknowledged by all replicas, always */
    struct kafka_writer *writer = writer_of(base);
    rd_kafka_resp_err_t code = rd_kafka_flush(writer->client.rk, (int)writer->patience_ms);
    if (writer->failed > 0) {
        return failure(writer, err);
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error_brokers(&writer->client, err,
                                   "%d records for topic %s are not acknowledged yet",
                                   rd_kafka_outq_len(writer->client.rk), writer->topic);
    }
    kafka_client_trouble_over(&writer->client);
    return 0;
}

/* ---- Life */

static void kafka_writer_close(struct log_writer *base)
{
    struct kafka_writer *writer = writer_of(base);
    (void)rd_kafka_purge(writer->client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    (void)rd_kafka_poll(writer->client.rk, 0);
    rd_kafka_topic_destroy(writer->rkt);
    kafka_client_close(&writer->client);
    free(writer->topic);
    writer->magic = 0;
    free(writer);
}

static const struct log_writer_ops kafka_writer_ops = {
    .close = kafka_writer_close,
    .append = kafka_writer_append,
    .flush = kafka_writer_flush,
};

static int64_t patience(const struct kafka_settings *settings)
{
    const char *text = kafka_settings_find(settings, "message.timeout.ms");
    if (text == NULL) {
        text = kafka_settings_find(settings, "delivery.timeout.ms");
    }
    int64_t ms = text == NULL ? TIMEOUT_MS : strtoll(text, NULL, 10);
    bool bounded = ms > 0 && ms < INT32_MAX - TIMEOUT_GRACE; /* 0: librdkafka never gives up */
    return (bounded ? ms : TIMEOUT_MS) + TIMEOUT_GRACE;
}

int kafka_writer_open(struct log *log, const char *topic, struct log_writer **out, struct err *err)
{
    const struct kafka_settings *settings = &kafka_log_of(log)->settings;
    uint32_t partitions = 0;
    int rc = kafka_topic_partitions(log, topic, &partitions, err);
    if (rc != 0) {
        return rc;
    }
    struct kafka_writer *writer = xcalloc(1, sizeof *writer);
    writer->base.ops = &kafka_writer_ops;
    writer->magic = WRITER_MAGIC;
    rc = kafka_client_init(&writer->client, settings, KAFKA_WRITER, NULL, err);
    if (rc != 0) {
        free(writer);
        return rc;
    }
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(writer->client.rk);
    rd_kafka_topic_conf_set_opaque(conf, writer);
    rd_kafka_topic_conf_set_partitioner_cb(conf, partition_callback);
    writer->rkt = rd_kafka_topic_new(writer->client.rk, topic, conf);
    ASSERT(writer->rkt != NULL); /* the name was checked */
    writer->topic = xstrdup(topic);
    writer->patience_ms = patience(settings);
    *out = &writer->base;
    return 0;
}
