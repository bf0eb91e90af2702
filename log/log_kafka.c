/* The log on Kafka: opening it, and the calls about topics. Records are read in log_kafka_reader.c
 * and written in log_kafka_writer.c.
 *
 * All calls here may come from any thread and end within KAFKA_REQUEST_MS and a little, whatever
 * the brokers do. librdkafka 2.0.2 needs care for that:
 *  - rd_kafka_query_watermark_offsets ignores its timeout while a broker is away. Both ends of a
 *    partition are asked for with rd_kafka_offsets_for_times instead, whose timeout holds; the
 *    "times" -2 and -1 mean the start and the end in Kafka's protocol.
 *  - rd_kafka_offsets_for_times leaves its question in the list when it fails, so that a time would
 *    be taken for an offset: first the return code counts, then the partition's, then the sign.
 *  - an offset of -1 means "none" in an answer and "the end" in a question: it is never passed on.
 */
#include "log/kafka_private.h"

#include "base/clock.h"
#include "base/limits.h"
#include "log/topic_name.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RETRY_MS       50
#define ERROR_TEXT_LEN 512
#define PROTOCOL_START (-2) /* ListOffsets: the earliest offset */
#define PROTOCOL_END   (-1) /* ListOffsets: the last stable offset, with read_committed */

static int64_t now_ms(void)
{
    return clock_mono_us(clock_real()) / 1000;
}

/* Milliseconds left until then, at least 1: librdkafka takes 0 as "do not even try". */
static int left_ms(int64_t deadline_ms)
{
    int64_t left = deadline_ms - now_ms();
    return left < 1 ? 1 : (int)i64_min(left, KAFKA_REQUEST_MS);
}

static void sleep_ms(long ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

/* Errors that a leader election or a topic in the making explains. */
static bool passes_soon(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR__TRANSPORT ||
           code == RD_KAFKA_RESP_ERR__WAIT_COORD;
}

/* ---- Topics */

static bool topic_is_internal(const char *name)
{
    return strncmp(name, "__", 2) == 0; /* Kafka's own: __consumer_offsets, __transaction_state */
}

static int compare_names(const void *a, const void *b)
{
    const struct rd_kafka_metadata_topic *left = a;
    const struct rd_kafka_metadata_topic *right = b;
    return strcmp(left->topic, right->topic);
}

static int kafka_topic_list(struct log *log, json_t **out, struct err *err)
{
    struct kafka_log *kafka = kafka_log_of(log);
    const struct rd_kafka_metadata *metadata = NULL;
    (void)rd_kafka_poll(kafka->metadata.rk, 0);
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(kafka->metadata.rk, 1, NULL, &metadata, KAFKA_REQUEST_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error(&kafka->metadata, code, NULL, err, "cannot list the topics");
    }
    size_t count = (size_t)metadata->topic_cnt;
    if (count > 0) {
        qsort(metadata->topics, count, sizeof metadata->topics[0], compare_names);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
        if (topic->err == RD_KAFKA_RESP_ERR_NO_ERROR && !topic_is_internal(topic->topic)) {
            json_array_append_new(list, json_pack("{s:s,s:i}", "name", topic->topic, "partitions",
                                                  topic->partition_cnt));
        }
    }
    rd_kafka_metadata_destroy(metadata);
    kafka_client_trouble_over(&kafka->metadata);
    *out = list;
    return 0;
}

/* One look: the topic's number of partitions. */
static rd_kafka_resp_err_t topic_look(struct kafka_client *client, const char *topic,
                                      int timeout_ms, uint32_t *count)
{
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(client->rk, topic, NULL);
    if (rkt == NULL) {
        return rd_kafka_last_error();
    }
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(client->rk, 0, rkt, &metadata, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (metadata->topic_cnt != 1) {
            code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        } else if (metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            code = metadata->topics[0].err;
        } else if (metadata->topics[0].partition_cnt <= 0) {
            code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        } else {
            *count = (uint32_t)metadata->topics[0].partition_cnt;
        }
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(rkt);
    return code;
}

/* Looks until the topic is there. until_known: also while there is no such topic (it was just
 * made). */
static rd_kafka_resp_err_t topic_await(struct kafka_client *client, const char *topic,
                                       bool until_known, uint32_t *count)
{
    int64_t deadline = now_ms() + KAFKA_REQUEST_MS;
    for (;;) {
        (void)rd_kafka_poll(client->rk, 0);
        rd_kafka_resp_err_t code = topic_look(client, topic, left_ms(deadline), count);
        bool again =
            passes_soon(code) || (until_known && code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        if (!again || now_ms() >= deadline) {
            return code;
        }
        sleep_ms(RETRY_MS);
    }
}

static int topic_missing(struct log *log, const char *topic, struct err *err)
{
    json_t *topics = NULL;
    if (kafka_topic_list(log, &topics, NULL) != 0) {
        topics = NULL;
    }
    int rc = topic_name_not_found(topic, topics, err);
    json_decref(topics);
    return rc;
}

int kafka_topic_partitions(struct log *log, const char *topic, uint32_t *count, struct err *err)
{
    struct kafka_client *client = &kafka_log_of(log)->metadata;
    int rc = topic_name_check(topic, err);
    if (rc != 0) {
        return rc;
    }
    rd_kafka_resp_err_t code = topic_await(client, topic, false, count);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        kafka_client_trouble_over(client);
        return 0;
    }
    if (kafka_error_code(code) == KE_NOT_FOUND) {
        return topic_missing(log, topic, err);
    }
    return kafka_error(client, code, NULL, err, "cannot look up topic %s", topic);
}

/* librdkafka 2.0.2 does not receive topic ids (they came with KIP-516): a topic deleted and made
 * again is noticed only when a position lies above its end. */
static int kafka_topic_identity(struct log *log, const char *topic, uint64_t *identity,
                                struct err *err)
{
    (void)log;
    (void)topic;
    (void)err;
    *identity = 0;
    return 0;
}

/* ---- Making a topic */

static void topic_config(rd_kafka_NewTopic_t *new_topic, const char *name, int64_t value)
{
    char *text = xasprintf("%lld", (long long)value);
    (void)rd_kafka_NewTopic_set_config(new_topic, name, text);
    free(text);
}

/* The result of the one topic in the event; text is copied to `text`. */
static rd_kafka_resp_err_t created(rd_kafka_event_t *event, char *text, size_t size)
{
    if (event == NULL) {
        return RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const char *reason = rd_kafka_event_error_string(event);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count = 0;
        const rd_kafka_topic_result_t **topics =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        ASSERT_CMP(count, ==, 1);
        code = rd_kafka_topic_result_error(topics[0]);
        reason = rd_kafka_topic_result_error_string(topics[0]);
    }
    (void)snprintf(text, size, "%s", reason == NULL ? "" : reason);
    return code;
}

static rd_kafka_resp_err_t create(rd_kafka_t *rk, rd_kafka_NewTopic_t *new_topic, char *text,
                                  size_t size)
{
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_REQUEST_MS, text, size);
    (void)rd_kafka_AdminOptions_set_operation_timeout(options, KAFKA_REQUEST_MS, text, size);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, &new_topic, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 2 * KAFKA_REQUEST_MS);
    rd_kafka_resp_err_t code = created(event, text, size);
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    return code;
}

static int kafka_topic_create(struct log *log, const char *topic,
                              const struct log_topic_options *options, struct err *err)
{
    struct kafka_client *client = &kafka_log_of(log)->metadata;
    char text[ERROR_TEXT_LEN] = "";
    int rc = topic_name_check(topic, err);
    if (rc != 0) {
        return rc;
    }
    if (options->partitions == 0 || options->partitions > INT32_MAX) {
        return err_set(err, KE_INVALID, "topic %s needs at least one partition", topic);
    }
    if (options->segment_bytes != 0) {
        rc = err_set(err, KE_INVALID, "the size of segments is a matter of the embedded log's");
        err_hint(err, "a topic of Kafka has it as segment.bytes, which kafka-configs.sh changes");
        return rc;
    }
    rd_kafka_NewTopic_t *new_topic =
        rd_kafka_NewTopic_new(topic, (int)options->partitions, -1, text, sizeof text);
    if (new_topic == NULL) {
        return err_set(err, KE_INVALID, "cannot create topic %s: %s", topic, text);
    }
    topic_config(new_topic, "retention.ms", options->retain_ms);
    topic_config(new_topic, "retention.bytes", options->retain_bytes);
    (void)rd_kafka_poll(client->rk, 0);
    rd_kafka_resp_err_t code = create(client->rk, new_topic, text, sizeof text);
    rd_kafka_NewTopic_destroy(new_topic);
    if (code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        return err_set(err, KE_EXISTS, "topic %s already exists", topic);
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        uint32_t count = 0;
        text[0] = '\0';
        code = topic_await(client, topic, true, &count); /* metadata lags behind the controller */
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error(client, code, text, err, "cannot create topic %s", topic);
    }
    kafka_client_trouble_over(client);
    return 0;
}

/* ---- Offsets */

/* One question about one partition, asked again while a leader is being found. question: a time in
 * ms or a PROTOCOL_ value; *answer: an offset, or -1 for "none". */
static rd_kafka_resp_err_t offset_ask(struct kafka_client *client, const char *topic,
                                      int32_t partition, int64_t question, int64_t deadline,
                                      int64_t *answer)
{
    for (;;) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *row = rd_kafka_topic_partition_list_add(list, topic, partition);
        row->offset = question;
        rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(client->rk, list, left_ms(deadline));
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            code = list->elems[0].err;
        }
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            *answer = list->elems[0].offset < 0 ? -1 : list->elems[0].offset;
        }
        rd_kafka_topic_partition_list_destroy(list);
        if (!passes_soon(code) || now_ms() >= deadline) {
            return code;
        }
        sleep_ms(RETRY_MS);
    }
}

int kafka_query_range(struct kafka_client *client, const char *topic, int32_t partition,
                      int timeout_ms, int64_t *start, int64_t *end, struct err *err)
{
    int64_t deadline = now_ms() + timeout_ms;
    int64_t low = -1;
    int64_t high = -1;
    rd_kafka_resp_err_t code = offset_ask(client, topic, partition, PROTOCOL_START, deadline, &low);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = offset_ask(client, topic, partition, PROTOCOL_END, deadline, &high);
    }
    if (code == RD_KAFKA_RESP_ERR__NOENT) { /* its words for: no leader was found */
        code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && (low < 0 || high < low)) {
        return err_set(err, KE_BROKER, "%s [%d]: Kafka says the range is %lld to %lld", topic,
                       partition, (long long)low, (long long)high);
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return kafka_error(client, code, NULL, err, "cannot ask for the range of %s [%d]", topic,
                           partition);
    }
    *start = low;
    *end = high;
    return 0;
}

/* NOT_FOUND when the topic has no such partition, else what the question about offsets gave. */
static int partition_check(struct log *log, const char *topic, uint32_t partition, int rc,
                           struct err *err)
{
    uint32_t count = 0;
    if (rc != -KE_NOT_FOUND) {
        return rc;
    }
    rc = kafka_topic_partitions(log, topic, &count, err);
    if (rc == 0) {
        rc = err_set(err, KE_NOT_FOUND, "topic %s has no partition %u", topic, partition);
        err_hint(err, "it has %u, numbered from 0", count);
    }
    return rc;
}

static int kafka_offsets(struct log *log, const char *topic, uint32_t partition, int64_t *start,
                         int64_t *end, struct err *err)
{
    struct kafka_client *client = &kafka_log_of(log)->metadata;
    int rc = topic_name_check(topic, err);
    if (rc != 0) {
        return rc;
    }
    (void)rd_kafka_poll(client->rk, 0);
    rc = kafka_query_range(client, topic, (int32_t)(partition & INT32_MAX), KAFKA_REQUEST_MS, start,
                           end, err);
    return partition_check(log, topic, partition, rc, err);
}

static int kafka_offset_at_time(struct log *log, const char *topic, uint32_t partition,
                                int64_t time_ms, int64_t *offset, struct err *err)
{
    struct kafka_client *client = &kafka_log_of(log)->metadata;
    int rc = topic_name_check(topic, err);
    if (rc != 0) {
        return rc;
    }
    if (time_ms < 0) { /* would be taken for a name of an end */
        return err_set(err, KE_INVALID, "%s [%u]: a time before 1970 cannot be looked up", topic,
                       partition);
    }
    (void)rd_kafka_poll(client->rk, 0);
    int64_t answer = -1;
    rd_kafka_resp_err_t code = offset_ask(client, topic, (int32_t)(partition & INT32_MAX), time_ms,
                                          now_ms() + KAFKA_REQUEST_MS, &answer);
    if (code == RD_KAFKA_RESP_ERR__NOENT) {
        code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rc = kafka_error(client, code, NULL, err, "cannot look up a time in %s [%u]", topic,
                         partition);
        return partition_check(log, topic, partition, rc, err);
    }
    *offset = answer;
    return 0;
}

static int kafka_expire(struct log *log, int64_t now, struct err *err)
{
    (void)log;
    (void)now;
    (void)err;
    return 0; /* the broker does it */
}

/* ---- Life */

static void kafka_close(struct log *log)
{
    struct kafka_log *kafka = kafka_log_of(log);
    kafka_group_close(kafka);
    kafka_client_close(&kafka->metadata);
    kafka_settings_close(&kafka->settings);
    free(kafka);
}

static const struct log_ops kafka_ops = {
    .close = kafka_close,
    .topic_create = kafka_topic_create,
    .topic_list = kafka_topic_list,
    .topic_partitions = kafka_topic_partitions,
    .topic_identity = kafka_topic_identity,
    .offsets = kafka_offsets,
    .offset_at_time = kafka_offset_at_time,
    .extent = kafka_extent,
    .group_commit = kafka_group_commit,
    .groups_delete = kafka_groups_delete,
    .expire = kafka_expire,
    .reader_open = kafka_reader_open,
    .writer_open = kafka_writer_open,
    .sender_open = kafka_sender_open,
};

int log_open_kafka(const char *brokers, const json_t *properties, struct log **out, struct err *err)
{
    struct kafka_log *kafka = xcalloc(1, sizeof *kafka);
    kafka->base = (struct log){.ops = &kafka_ops, .kind = "kafka"};
    int rc = kafka_settings_init(&kafka->settings, brokers, properties, err);
    if (rc == 0) {
        rc = kafka_client_init(&kafka->metadata, &kafka->settings, KAFKA_METADATA, NULL, err);
        if (rc != 0) {
            kafka_settings_close(&kafka->settings);
        }
    }
    if (rc != 0) {
        free(kafka);
        return rc;
    }
    *out = &kafka->base;
    return 0;
}
