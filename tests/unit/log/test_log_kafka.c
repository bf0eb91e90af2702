/* Goal: the log on Kafka keeps the rules of log/log.h: offsets, times, keys, headers, ends, lost
 * ranges, transactions, trouble with brokers.
 * Method: against a real broker when KAPPA_TEST_KAFKA=host:port is set (as the system tests do),
 * with topics of their own names. Without it, against librdkafka's mock cluster, which knows neither
 * times nor transactions nor retention: those tests are skipped, loudly. What was appended is kept
 * in a model; broker states are made with plain librdkafka. */
#include "tests/unit/log/log_test.h"

#include "base/clock.h"
#include "base/limits.h"
#include "log/kafka_private.h"

#include <librdkafka/rdkafka_mock.h>

#include <pthread.h>

enum { ADMIN_MS = 60000, WAIT_MS = 100, PATIENCE_MS = 120000 };

static const char *brokers;           /* host:port,... */
static rd_kafka_mock_cluster_t *mock; /* NULL with a real broker */
static rd_kafka_t *plain; /* a producer: admin calls, and what Kappa's writer cannot do */
static int skips;

static int64_t now_ms(void)
{
    return clock_mono_us(clock_real()) / 1000;
}

/* True when the test needs more than the mock cluster. */
static bool needs_real(const char *test)
{
    if (mock != NULL) {
        (void)fprintf(stderr, "!!! %s SKIPPED: KAPPA_TEST_KAFKA is not set\n", test);
        skips++;
    }
    return mock != NULL;
}

static struct test_log open_kafka(void)
{
    struct test_log test = {0};
    OK(log_open_kafka(brokers, NULL, &test.log, &test_err));
    return test;
}

/* A topic that no other test or process has. */
static char *new_topic(struct test_log *test, const char *name, uint32_t partitions)
{
    static int count;
    char *topic =
        xasprintf("unit.%s-%d-%d-%lld", name, (int)getpid(), count++, (long long)now_ms());
    if (mock != NULL) {
        assert_int_equal(rd_kafka_mock_topic_create(mock, topic, (int)partitions, 1), 0);
    } else {
        make_topic(test, topic, partitions, 0);
    }
    return topic;
}

static void admin_wait(rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ADMIN_MS);
    assert_non_null(event);
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fail_msg("admin: %s", rd_kafka_event_error_string(event));
    }
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
}

static void delete_topic(const char *topic)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(plain);
    rd_kafka_DeleteTopic_t *deleted = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(plain, &deleted, 1, NULL, queue);
    admin_wait(queue);
    rd_kafka_DeleteTopic_destroy(deleted);
}

/* As retention does. */
static void delete_records(const char *topic, int32_t partition, int64_t before)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = before;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(plain);
    rd_kafka_DeleteRecords_t *deleted = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(plain, &deleted, 1, NULL, queue);
    admin_wait(queue);
    rd_kafka_DeleteRecords_destroy(deleted);
    rd_kafka_topic_partition_list_destroy(list);
}

/* next(), again while only passing trouble comes. */
static int next_settled(struct log_reader *reader, uint32_t max_records, struct log_batch *batch)
{
    int rc = 0;
    int64_t deadline = now_ms() + PATIENCE_MS;
    do {
        rc = reader->ops->next(reader, WAIT_MS, max_records, batch, &test_err);
    } while (now_ms() < deadline && ((rc == 0 && batch->none) || rc == -KE_BROKER));
    return rc;
}

/* Reads one partition to its end; the position there. *records: how many came. */
static int64_t read_to_end(struct log_reader *reader, int64_t *records)
{
    struct log_batch batch;
    int64_t next = -1;
    *records = 0;
    do {
        OK(next_settled(reader, 1000, &batch));
        assert_false(batch.none);
        assert_true(batch.next_offset > next || batch.at_end);
        next = batch.next_offset;
        *records += batch.count;
    } while (!batch.at_end);
    assert_int_equal(batch.end_offset, next);
    return next;
}

static void expect_error(struct test_log *test, const char *topic, uint32_t partition,
                         int64_t offset, int code, const char *words)
{
    struct log_reader *reader = open_reader(test, topic, partition, offset);
    struct log_batch batch;
    for (int again = 0; again < 2; again++) { /* errors for good stay */
        assert_int_equal(next_settled(reader, 10, &batch), code);
        assert_int_equal(batch.source, 0);
        if (strstr(test_err.text, words) == NULL) {
            fail_msg("'%s' is not in '%s'", words, test_err.text);
        }
    }
    reader->ops->close(reader);
}

/* ---- Round trip */

#define PARTITIONS 4

struct model {
    struct kappa_record *records[PARTITIONS]; /* bytes owned */
    uint32_t count[PARTITIONS];
};

static uint8_t *random_bytes(struct prng *prng, uint32_t len)
{
    uint8_t *bytes = xmalloc(len + 1U);
    for (uint32_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)prng_next(prng);
    }
    return bytes;
}

static void random_headers(struct prng *prng, struct kappa_record *record)
{
    struct buf buf = {0};
    uint64_t count = 1 + prng_below(prng, 3);
    for (uint64_t i = 0; i < count; i++) {
        uint32_t len = (uint32_t)prng_below(prng, 30);
        bool null = prng_below(prng, 4) == 0;
        buf_append_u32_le(&buf, 2);
        buf_append_text(&buf, i == 0 ? "h0" : "h1");
        buf_append_u32_le(&buf, null ? KAPPA_NULL_LEN : len);
        for (uint32_t k = 0; !null && k < len; k++) {
            buf_append_u8(&buf, (uint8_t)prng_next(prng));
        }
    }
    record->headers = buf.data;
    record->headers_len = u32_from(buf.len);
}

static struct kappa_record random_record(struct prng *prng, int64_t time_ms)
{
    struct kappa_record record = {.time_ms = time_ms,
                                  .key_len = (uint32_t)prng_below(prng, 12),
                                  .value_len = (uint32_t)prng_below(prng, 300)};
    if (prng_below(prng, 500) == 0) {
        record.value_len = (uint32_t)prng_below(prng, 100000);
    }
    record.key_len = prng_below(prng, 4) == 0 ? KAPPA_NULL_LEN : record.key_len;
    record.value_len = prng_below(prng, 10) == 0 ? KAPPA_NULL_LEN : record.value_len;
    record.key = record.key_len == KAPPA_NULL_LEN ? NULL : random_bytes(prng, record.key_len);
    record.value = record.value_len == KAPPA_NULL_LEN ? NULL : random_bytes(prng, record.value_len);
    if (prng_below(prng, 5) == 0) {
        random_headers(prng, &record);
    }
    return record;
}

static void same_bytes(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
    assert_int_equal(a_len, b_len);
    assert_true((a == NULL) == (b == NULL));
    if (a_len > 0 && a_len != KAPPA_NULL_LEN) {
        assert_memory_equal(a, b, a_len);
    }
}

static void same_record(const struct kappa_record *read, const struct kappa_record *written)
{
    assert_int_equal(read->time_ms, written->time_ms);
    same_bytes(read->key, read->key_len, written->key, written->key_len);
    same_bytes(read->value, read->value_len, written->value, written->value_len);
    assert_int_equal(read->headers_len, written->headers_len);
    if (read->headers_len > 0) {
        assert_memory_equal(read->headers, written->headers, read->headers_len);
    }
    static volatile uint8_t sink;
    for (uint32_t i = 0; read->value != NULL && i < KAPPA_RECORD_TAIL; i++) {
        sink = (uint8_t)(sink ^ read->value[read->value_len + i]); /* must be readable */
    }
}

static void append_model(struct test_log *test, const char *topic, struct prng *prng,
                         struct model *model, uint32_t count)
{
    struct log_writer *writer = open_writer(test, topic);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t partition = (uint32_t)prng_below(prng, PARTITIONS);
        struct kappa_record record = random_record(prng, 1700000000000 + i);
        bool by_key = record.key != NULL && prng_below(prng, 2) == 0;
        if (by_key) {
            partition = log_partition_of_key(record.key, record.key_len, PARTITIONS);
        }
        OK(writer->ops->append(writer, by_key ? -1 : (int32_t)partition, &record, &test_err));
        struct kappa_record **list = &model->records[partition];
        *list = xrealloc(*list, (model->count[partition] + 1) * sizeof **list);
        (*list)[model->count[partition]++] = record;
    }
    OK(writer->ops->flush(writer, true, &test_err));
    writer->ops->close(writer);
}

static void model_free(struct model *model)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t i = 0; i < model->count[p]; i++) {
            struct kappa_record *record = &model->records[p][i];
            free((void *)(uintptr_t)record->key);
            free((void *)(uintptr_t)record->value);
            free((void *)(uintptr_t)record->headers);
        }
        free(model->records[p]);
    }
}

/* Reads all partitions with one reader and compares every record. */
static void read_model(struct test_log *test, const char *topic, const struct model *model,
                       struct prng *prng)
{
    struct log_reader *reader = NULL;
    int64_t at[PARTITIONS];
    uint32_t open = PARTITIONS;
    bool ended[PARTITIONS] = {false};
    OK(test->log->ops->reader_open(test->log, "model", &reader, &test_err));
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        at[p] = (int64_t)prng_below(prng, model->count[p] + 1);
        OK(reader->ops->add(reader, 10 + p, topic, p, at[p], &test_err));
    }
    while (open > 0) {
        struct log_batch batch;
        uint32_t bound = 1 + (uint32_t)prng_below(prng, 500);
        OK(next_settled(reader, bound, &batch));
        assert_false(batch.none);
        uint32_t p = batch.source - 10;
        assert_true(p < PARTITIONS);
        assert_true(batch.count <= bound);
        for (uint32_t i = 0; i < batch.count; i++) {
            assert_int_equal(batch.records[i].offset, at[p]);
            same_record(&batch.records[i], &model->records[p][at[p]]);
            at[p]++;
        }
        assert_int_equal(batch.next_offset, at[p]);
        if (batch.at_end && !ended[p]) {
            ended[p] = true;
            open--;
            int64_t start = -1;
            int64_t end = -1;
            int64_t high = -1;
            reader->ops->progress(reader, batch.source, &start, &end, &high);
            assert_int_equal(end, at[p]);
        }
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(at[p], model->count[p]);
    }
    reader->ops->close(reader);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct prng prng;
    struct model model = {0};
    prng_init(&prng, unit_seed("round trip"));
    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "round", PARTITIONS);
    append_model(&test, topic, &prng, &model, 6000);
    for (int round = 0; round < 3; round++) {
        read_model(&test, topic, &model, &prng);
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        int64_t start = -1;
        int64_t end = -1;
        OK(test.log->ops->offsets(test.log, topic, p, &start, &end, &test_err));
        assert_int_equal(start, 0);
        assert_int_equal(end, model.count[p]);
    }
    model_free(&model);
    free(topic);
    close_log(&test);
}

/* Records without a key spread over all partitions. */
static void test_round_robin(void **state)
{
    (void)state;
    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "robin", PARTITIONS);
    struct log_writer *writer = open_writer(&test, topic);
    struct kappa_record record = text_record(NULL, "v", KAPPA_NO_TIME);
    for (int i = 0; i < 400; i++) {
        OK(writer->ops->append(writer, -1, &record, &test_err));
    }
    OK(writer->ops->flush(writer, false, &test_err));
    writer->ops->close(writer);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct log_reader *reader = open_reader(&test, topic, p, 0);
        int64_t records = 0;
        assert_int_equal(read_to_end(reader, &records), 100);
        assert_int_equal(records, 100);
        reader->ops->close(reader);
    }
    free(topic);
    close_log(&test);
}

/* ---- Topics, offsets, times */

static void test_topics(void **state)
{
    (void)state;
    if (needs_real("test_topics")) {
        return;
    }
    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "topics", 3);
    uint32_t count = 0;
    uint64_t identity = 1;
    int64_t start = 0;
    int64_t end = 0;
    OK(test.log->ops->topic_partitions(test.log, topic, &count, &test_err));
    assert_int_equal(count, 3);
    OK(test.log->ops->topic_identity(test.log, topic, &identity, &test_err));
    struct log_topic_options options = {3, -1, -1, 0};
    assert_int_equal(test.log->ops->topic_create(test.log, topic, &options, &test_err), -KE_EXISTS);
    assert_int_equal(test.log->ops->topic_create(test.log, "a b", &options, &test_err),
                     -KE_INVALID);
    topic[strlen(topic) - 1] ^= 1; /* a near name */
    assert_int_equal(test.log->ops->topic_partitions(test.log, topic, &count, &test_err),
                     -KE_NOT_FOUND);
    assert_non_null(strstr(test_err.text, topic));
    assert_int_equal(test.log->ops->offsets(test.log, topic, 0, &start, &end, &test_err),
                     -KE_NOT_FOUND);
    struct log_writer *writer = NULL;
    assert_int_equal(test.log->ops->writer_open(test.log, topic, &writer, &test_err),
                     -KE_NOT_FOUND);
    topic[strlen(topic) - 1] ^= 1;
    assert_int_equal(test.log->ops->offsets(test.log, topic, 3, &start, &end, &test_err),
                     -KE_NOT_FOUND);
    json_t *list = NULL;
    OK(test.log->ops->topic_list(test.log, &list, &test_err));
    const char *before = "";
    bool found = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_text(json_array_get(list, i), "name", "");
        assert_true(strcmp(before, name) < 0);
        assert_true(strncmp(name, "__", 2) != 0);
        found = found || strcmp(name, topic) == 0;
        before = name;
    }
    assert_true(found);
    json_decref(list);
    free(topic);
    close_log(&test);
}

static void test_times(void **state)
{
    (void)state;
    if (needs_real("test_times")) {
        return;
    }

    enum { COUNT = 500 };

    struct prng prng;
    prng_init(&prng, unit_seed("times"));
    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "times", 1);
    struct log_writer *writer = open_writer(&test, topic);
    int64_t base = 1700000000000;
    int64_t times[COUNT];
    int64_t offset = 0;
    for (int i = 0; i < COUNT; i++) {
        times[i] = base + (int64_t)prng_below(&prng, 1000); /* out of order, too */
        struct kappa_record record = text_record("k", "v", times[i]);
        OK(writer->ops->append(writer, 0, &record, &test_err));
        if (i % 50 == 0) { /* several batches */
            OK(writer->ops->flush(writer, false, &test_err));
        }
    }
    OK(writer->ops->flush(writer, false, &test_err));
    struct kappa_record early = text_record("k", "v", 0);
    assert_int_equal(writer->ops->append(writer, 0, &early, &test_err), -KE_INVALID);
    writer->ops->close(writer);
    for (int round = 0; round < 100; round++) {
        int64_t wanted = base + (int64_t)prng_below(&prng, 1010);
        int64_t expected = 0;
        while (expected < COUNT && times[expected] < wanted) {
            expected++;
        }
        OK(test.log->ops->offset_at_time(test.log, topic, 0, wanted, &offset, &test_err));
        assert_int_equal(offset, expected == COUNT ? -1 : expected);
    }
    OK(test.log->ops->offset_at_time(test.log, topic, 0, 0, &offset, &test_err));
    assert_int_equal(offset, 0);
    assert_int_equal(test.log->ops->offset_at_time(test.log, topic, 0, -1, &offset, &test_err),
                     -KE_INVALID);
    free(topic);
    close_log(&test);
}

/* ---- Lost ranges */

static void test_range_lost(void **state)
{
    (void)state;
    if (needs_real("test_range_lost")) {
        return;
    }
    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "range", 2);
    append_numbers(&test, topic, 1, 1, 1000);
    delete_records(topic, 1, 600);
    expect_error(&test, topic, 1, 0, -KE_RANGE_LOST, "offset 0 was wanted");
    expect_error(&test, topic, 1, 599, -KE_RANGE_LOST, "starts at 600 (end 1000)");
    int64_t start = 0;
    int64_t end = 0;
    OK(test.log->ops->offsets(test.log, topic, 1, &start, &end, &test_err));
    assert_int_equal(start, 600);
    assert_int_equal(end, 1000);
    struct log_reader *reader = open_reader(&test, topic, 1, 600);
    int64_t records = 0;
    assert_int_equal(read_to_end(reader, &records), 1000);
    assert_int_equal(records, 400);
    int64_t high = -1;
    reader->ops->progress(reader, 0, &start, &end, &high);
    assert_int_equal(start, 600);
    assert_int_equal(end, 1000);
    reader->ops->close(reader);
    free(topic);
    close_log(&test);
}

static void test_above_the_end(void **state)
{
    (void)state;
    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "above", 1);
    append_numbers(&test, topic, 0, 1, 10);
    expect_error(&test, topic, 0, 11, -KE_TOPIC_CHANGED, "offset 11 was wanted");
    expect_error(&test, topic, 0, INT64_C(1) << 40, -KE_TOPIC_CHANGED, "ends at 10 (start 0)");
    struct log_reader *reader = open_reader(&test, topic, 0, 10);
    int64_t records = 0;
    assert_int_equal(read_to_end(reader, &records), 10);
    assert_int_equal(records, 0);
    reader->ops->close(reader);
    free(topic);
    close_log(&test);
}

static void test_topic_deleted(void **state)
{
    (void)state;
    if (needs_real("test_topic_deleted")) {
        return;
    }
    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "deleted", 1);
    append_numbers(&test, topic, 0, 1, 10);
    struct log_reader *reader = open_reader(&test, topic, 0, 0);
    int64_t records = 0;
    (void)read_to_end(reader, &records);
    delete_topic(topic);
    struct log_batch batch;
    int rc;
    do { /* the broker may say the end once more */
        rc = next_settled(reader, 10, &batch);
    } while (rc == 0 && !batch.none && batch.count == 0);
    assert_int_equal(rc, -KE_TOPIC_CHANGED);
    assert_int_equal(batch.source, 0);
    assert_non_null(strstr(test_err.text, topic));
    reader->ops->close(reader);
    free(topic);
    close_log(&test);
}

/* Deleted and made again, shorter than before: the position lies above the end. */
static void test_topic_again(void **state)
{
    (void)state;
    if (needs_real("test_topic_again")) {
        return;
    }
    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "again", 1);
    append_numbers(&test, topic, 0, 1, 100);
    delete_topic(topic);
    struct log_topic_options options = {1, -1, -1, 0};
    int64_t deadline = now_ms() + PATIENCE_MS;
    while (test.log->ops->topic_create(test.log, topic, &options, &test_err) != 0) {
        assert_true(now_ms() < deadline);
        usleep(100000);
    }
    append_numbers(&test, topic, 0, 1, 5);
    expect_error(&test, topic, 0, 100, -KE_TOPIC_CHANGED, "ends at 5");
    free(topic);
    close_log(&test);
}

/* ---- Transactions */

static rd_kafka_t *transactional(const char *id)
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text);
    (void)rd_kafka_conf_set(conf, "transactional.id", id, text, sizeof text);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(rk);
    assert_null(rd_kafka_init_transactions(rk, ADMIN_MS));
    return rk;
}

enum ending { COMMIT, ABORT, OPEN };

static void transaction(rd_kafka_t *rk, const char *topic, int count, enum ending ending)
{
    static char value[] = "tx";
    assert_null(rd_kafka_begin_transaction(rk));
    for (int i = 0; i < count; i++) {
        rd_kafka_vu_t units[] = {
            {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
            {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = 0},
            {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {value, 2}},
            {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        };
        assert_null(rd_kafka_produceva(rk, units, array_len(units)));
    }
    assert_int_equal(rd_kafka_flush(rk, ADMIN_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    if (ending == COMMIT) {
        assert_null(rd_kafka_commit_transaction(rk, ADMIN_MS));
    } else if (ending == ABORT) {
        assert_null(rd_kafka_abort_transaction(rk, ADMIN_MS));
    }
}

/* The position comes to the end wherever markers and aborted records lie, and stops at the last
 * stable offset while a transaction is open. */
static void test_transactions(void **state)
{
    (void)state;
    if (needs_real("test_transactions")) {
        return;
    }
    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "tx", 1);
    rd_kafka_t *rk = transactional(topic);
    int64_t records = 0;
    int64_t start = 0;
    int64_t end = 0;
    struct log_batch batch;
    transaction(rk, topic, 10, COMMIT); /* 0-9, marker 10 */
    struct log_reader *reader = open_reader(&test, topic, 0, 0);
    /* The first end may be the one before the marker was visible; the position then follows. */
    int64_t next = read_to_end(reader, &records);
    assert_int_equal(records, 10);
    assert_int_equal(next, 11);
    transaction(rk, topic, 5, ABORT); /* 11-15, marker 16 */
    OK(next_settled(reader, 100, &batch));
    assert_int_equal(batch.count, 0);
    assert_true(batch.at_end);
    assert_int_equal(batch.next_offset, 17);

    transaction(rk, topic, 3, OPEN);       /* 17-19 */
    append_numbers(&test, topic, 0, 1, 2); /* 20-21, held back with them */
    int64_t deadline = now_ms() + 1500;
    do {
        OK(reader->ops->next(reader, WAIT_MS, 100, &batch, &test_err));
        assert_true(batch.none);
    } while (now_ms() < deadline);
    OK(test.log->ops->offsets(test.log, topic, 0, &start, &end, &test_err));
    assert_int_equal(end, 17);
    int64_t high = -1;
    reader->ops->progress(reader, 0, &start, &end, &high);
    assert_int_equal(end, 17); /* although the high watermark is 22 */
    struct log_reader *late = open_reader(&test, topic, 0, 12); /* within the aborted records */
    assert_int_equal(read_to_end(late, &records), 17);
    assert_int_equal(records, 0);
    late->ops->close(late);

    assert_null(rd_kafka_commit_transaction(rk, ADMIN_MS)); /* marker 22 */
    records = 0;
    do {
        OK(next_settled(reader, 100, &batch));
        assert_false(batch.none);
        records += batch.count;
    } while (!batch.at_end);
    assert_int_equal(batch.next_offset, 23);
    assert_int_equal(records, 5);
    reader->ops->close(reader);
    rd_kafka_destroy(rk);
    free(topic);
    close_log(&test);
}

/* ---- Waiting and trouble */

static void *wake_soon(void *arg)
{
    struct log_reader *reader = arg;
    usleep(200000);
    reader->ops->wake(reader);
    return NULL;
}

static void test_wake(void **state)
{
    (void)state;

    enum { WAKE_MS = 60000 };

    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "wake", 1);
    struct log_reader *reader = open_reader(&test, topic, 0, 0);
    int64_t records = 0;
    assert_int_equal(read_to_end(reader, &records), 0);
    struct log_batch batch;
    for (int round = 0; round < 3; round++) {
        pthread_t thread;
        int64_t began = now_ms();
        assert_int_equal(pthread_create(&thread, NULL, wake_soon, reader), 0);
        OK(reader->ops->next(reader, WAKE_MS, 10, &batch, &test_err));
        assert_true(batch.none);
        assert_in_range(now_ms() - began, 150, WAKE_MS / 2);
        pthread_join(thread, NULL);
    }
    reader->ops->wake(reader); /* before the wait: not lost */
    int64_t began = now_ms();
    OK(reader->ops->next(reader, WAKE_MS, 10, &batch, &test_err));
    assert_true(now_ms() - began < WAKE_MS / 2);
    began = now_ms();
    OK(reader->ops->next(reader, 0, 10, &batch, &test_err));
    assert_true(now_ms() - began < WAKE_MS / 2);
    reader->ops->close(reader);
    free(topic);
    close_log(&test);
}

/* A record is read soon after it was written: the reader does not wait for more of them. */
static void test_latency(void **state)
{
    (void)state;
    struct test_log test = open_kafka();
    char *topic = new_topic(&test, "latency", 1);
    struct log_reader *reader = open_reader(&test, topic, 0, 0);
    struct log_writer *writer = open_writer(&test, topic);
    int64_t records = 0;
    assert_int_equal(read_to_end(reader, &records), 0);
    int64_t best = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        struct log_batch batch;
        struct kappa_record record = text_record("k", "v", KAPPA_NO_TIME);
        OK(writer->ops->append(writer, 0, &record, &test_err));
        OK(writer->ops->flush(writer, false, &test_err));
        int64_t began = now_ms();
        do {
            OK(reader->ops->next(reader, 3000, 1000, &batch, &test_err));
        } while (!batch.none && batch.count == 0); /* an end in between */
        assert_int_equal(batch.count, 1);
        best = i64_min(best, now_ms() - began);
    }
    assert_true(best < 100);
    writer->ops->close(writer);
    reader->ops->close(reader);
    free(topic);
    close_log(&test);
}

/* A slow consumer must not stand still: librdkafka stops fetching when its queue is full, and is
 * to go on as soon as there is room again, not after its second. */
static void test_no_stall(void **state)
{
    (void)state;

    enum { COUNT = 60000, QUEUE = 1000 };

    struct test_log test = {0};
    json_t *properties =
        json_pack("{s:i,s:i,s:i}", "queued.min.messages", QUEUE, "fetch.message.max.bytes", 65536,
                  "queued.max.messages.kbytes", 256);
    OK(log_open_kafka(brokers, properties, &test.log, &test_err));
    json_decref(properties);
    char *topic = new_topic(&test, "stall", 1);
    struct log_writer *writer = open_writer(&test, topic);
    char value[30];
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    struct kappa_record record = text_record("k", value, KAPPA_NO_TIME);
    for (int i = 0; i < COUNT; i++) {
        OK(writer->ops->append(writer, 0, &record, &test_err));
    }
    OK(writer->ops->flush(writer, false, &test_err));
    writer->ops->close(writer);
    struct log_reader *reader = open_reader(&test, topic, 0, 0);
    int64_t records = 0;
    int64_t began = now_ms();
    while (records < COUNT) {
        struct log_batch batch;
        OK(next_settled(reader, 500, &batch));
        records += batch.count;
        usleep(1000); /* half a million records a second at most: 0.12 s in all */
    }
    /* With a second lost at each full queue it takes 10 s. */
    assert_in_range(now_ms() - began, 0, 9000);
    reader->ops->close(reader);
    free(topic);
    close_log(&test);
}

/* Has the broker stopped: the mock at once, a real one by tests/system/kafka, which waits for the
 * line, stops it, makes the file and starts it again a few seconds later. */
static void broker_stop(void)
{
    if (mock != NULL) {
        (void)rd_kafka_mock_broker_set_down(mock, 1);
        return;
    }
    (void)printf("BROKER AWAY NOW\n");
    (void)fflush(stdout);
    int64_t deadline = now_ms() + PATIENCE_MS;
    while (access(getenv("KAPPA_TEST_AWAY"), F_OK) != 0) {
        assert_true(now_ms() < deadline);
        usleep(10000);
    }
}

/* Checks that the batch goes on from *next. */
static void check_numbers(const struct log_batch *batch, int64_t *next)
{
    for (uint32_t i = 0; !batch->none && i < batch->count; i++) {
        char value[32];
        assert_int_equal(batch->records[i].offset, (*next)++);
        int len = snprintf(value, sizeof value, "value %" PRId64, *next);
        assert_int_equal(batch->records[i].value_len, len);
        assert_memory_equal(batch->records[i].value, value, (size_t)len);
    }
}

/* The broker goes away in mid-read and comes back: trouble is told, nothing is lost or doubled. */
static void test_broker_away(void **state)
{
    (void)state;

    enum { COUNT = 20000 };

    if (mock == NULL && getenv("KAPPA_TEST_AWAY") == NULL) {
        return; /* tests/system/kafka runs it */
    }
    struct test_log test = {0};
    json_t *properties =
        json_pack("{s:i,s:i}", "queued.min.messages", 1000, "fetch.message.max.bytes", 16384);
    OK(log_open_kafka(brokers, properties, &test.log, &test_err));
    json_decref(properties);
    char *topic = new_topic(&test, "away", 1);
    append_numbers(&test, topic, 0, 1, COUNT);
    struct log_reader *reader = open_reader(&test, topic, 0, 0);
    int64_t next = 0;
    int troubles = 0;
    bool stopped = false;
    bool appended = false;
    int64_t deadline = now_ms() + 2 * (int64_t)PATIENCE_MS;
    while (next < COUNT + 10) {
        struct log_batch batch;
        assert_true(now_ms() < deadline);
        int rc = reader->ops->next(reader, WAIT_MS, 100, &batch, &test_err);
        if (rc == 0) {
            check_numbers(&batch, &next);
        } else {
            assert_int_equal(rc, -KE_BROKER);
            if (++troubles == 2 && mock != NULL) {
                (void)rd_kafka_mock_broker_set_up(mock, 1);
            }
        }
        if (!stopped && next >= COUNT / 4) {
            broker_stop();
            stopped = true;
        } else if (next == COUNT && !appended) {
            append_numbers(&test, topic, 0, COUNT + 1, 10);
            appended = true;
        }
    }
    assert_true(troubles >= 1);
    reader->ops->close(reader);
    free(topic);
    close_log(&test);
}

/* Keys written by Kafka's Java client (tests/system/kafka) lie where log_partition_of_key says. */
static void test_java_keys(void **state)
{
    (void)state;
    const char *topic = getenv("KAPPA_TEST_JAVA_TOPIC");
    if (topic == NULL || mock != NULL) {
        return;
    }
    struct test_log test = open_kafka();
    uint32_t partitions = 0;
    int64_t records = 0;
    OK(test.log->ops->topic_partitions(test.log, topic, &partitions, &test_err));
    for (uint32_t p = 0; p < partitions; p++) {
        struct log_reader *reader = open_reader(&test, topic, p, 0);
        struct log_batch batch;
        do {
            OK(next_settled(reader, 100, &batch));
            for (uint32_t i = 0; i < batch.count; i++) {
                const struct kappa_record *record = &batch.records[i];
                assert_int_equal(log_partition_of_key(record->key, record->key_len, partitions), p);
                records++;
            }
        } while (!batch.at_end);
        reader->ops->close(reader);
    }
    assert_true(records > 1000);
    close_log(&test);
}

static void open_plain(void)
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    brokers = getenv("KAPPA_TEST_KAFKA");
    if (brokers != NULL) {
        (void)rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text);
    }
    plain = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (brokers == NULL) {
        mock = rd_kafka_mock_cluster_new(plain, 1);
        brokers = rd_kafka_mock_cluster_bootstraps(mock);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_round_robin),
        cmocka_unit_test(test_topics),        cmocka_unit_test(test_times),
        cmocka_unit_test(test_range_lost),    cmocka_unit_test(test_above_the_end),
        cmocka_unit_test(test_topic_deleted), cmocka_unit_test(test_topic_again),
        cmocka_unit_test(test_transactions),  cmocka_unit_test(test_wake),
        cmocka_unit_test(test_latency),       cmocka_unit_test(test_no_stall),
        cmocka_unit_test(test_broker_away),   cmocka_unit_test(test_java_keys),
    };
    open_plain();
    cmocka_set_test_filter(getenv("KAPPA_TEST_ONLY"));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (mock != NULL) {
        rd_kafka_mock_cluster_destroy(mock);
    }
    rd_kafka_destroy(plain);
    if (skips > 0) {
        (void)fprintf(stderr,
                      "!!! %d TESTS WERE SKIPPED: they need a real broker in "
                      "KAPPA_TEST_KAFKA\n",
                      skips);
    }
    return failed;
}
