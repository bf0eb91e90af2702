/* Goal: log_open_kafka takes librdkafka's properties, refuses by name the ones a promise rests on,
 * and says what is wrong with the others; without a broker every call ends in bounded time with
 * BROKER and names what to check.
 * Method: one property at a time; a port of this process that is bound but does not listen stands
 * for a broker that is away. */
#include "tests/unit/log/log_test.h"

#include "base/clock.h"
#include "log/kafka_private.h"

#include <arpa/inet.h>
#include <sys/socket.h>

static int open_with(const char *name, json_t *value, struct log **out)
{
    json_t *properties = json_object();
    json_object_set_new(properties, name, value);
    test_err = (struct err){0};
    int rc = log_open_kafka("127.0.0.1:1", properties, out, &test_err);
    json_decref(properties);
    return rc;
}

static void refused(const char *name, json_t *value, const char *words)
{
    struct log *log = NULL;
    assert_int_equal(open_with(name, value, &log), -KE_INVALID);
    assert_null(log);
    assert_non_null(strstr(test_err.text, name));
    if (strstr(test_err.text, words) == NULL) {
        fail_msg("'%s' is not in '%s'", words, test_err.text);
    }
}

static void test_owned(void **state)
{
    (void)state;
    refused("auto.offset.reset", json_string("latest"), "must be an error");
    refused("enable.auto.commit", json_string("true"), "one transaction");
    refused("enable.auto.offset.store", json_true(), "one transaction");
    refused("group.id", json_string("mine"), "processor and version");
    refused("bootstrap.servers", json_string("other:9092"), "brokers");
    refused("metadata.broker.list", json_string("other:9092"), "brokers");
    refused("isolation.level", json_string("read_uncommitted"), "committed");
    refused("check.crcs", json_false(), "damaged");
    refused("enable.partition.eof", json_string("false"), "end");
    refused("acks", json_integer(0), "acknowledged");
    refused("enable.idempotence", json_string("false"), "once");
    refused("partitioner", json_string("random"), "Java");
    refused("plugin.library.paths", json_string("evil.so"), "foreign code");
}

static void test_foreign(void **state)
{
    (void)state;
    refused("no.such.property", json_string("1"), "No such configuration property");
    refused("fetch.min.bytes", json_string("many"), "fetch.min.bytes");
    refused("security.protocol", json_string("carrier pigeon"), "security.protocol");
    refused("client.id", json_array(), "text or a number");
    struct log *log = NULL;
    assert_int_equal(log_open_kafka(" , ", NULL, &log, &test_err), -KE_INVALID);
    assert_int_equal(log_open_kafka(NULL, NULL, &log, &test_err), -KE_INVALID);
    json_t *list = json_array();
    assert_int_equal(log_open_kafka("127.0.0.1:1", list, &log, &test_err), -KE_INVALID);
    json_decref(list);
}

static void test_secrets_stay(void **state)
{
    (void)state;
    struct log *log = NULL;
    json_t *properties =
        json_pack("{s:s,s:s,s:s,s:s}", "security.protocol", "sasl_plaintext", "sasl.mechanism",
                  "NONSENSE", "sasl.username", "ann", "sasl.password", "hunter2");
    int rc = log_open_kafka("127.0.0.1:1", properties, &log, &test_err);
    assert_int_equal(rc, -KE_INVALID);
    assert_null(strstr(test_err.text, "hunter2"));
    assert_null(strstr(test_err.hint, "hunter2"));
    json_decref(properties);
}

static void test_accepted(void **state)
{
    (void)state;
    static const char *const texts[] = {"queued.max.messages.kbytes", "linger.ms",
                                        "message.timeout.ms"};
    for (size_t i = 0; i < array_len(texts); i++) {
        struct log *log = NULL;
        OK(open_with(texts[i], i % 2 == 0 ? json_string("4000") : json_integer(4000), &log));
        assert_string_equal(log->kind, "kafka");
        assert_string_equal(kafka_settings_find(&kafka_log_of(log)->settings, texts[i]), "4000");
        assert_null(kafka_settings_find(&kafka_log_of(log)->settings, "acks"));
        log->ops->close(log);
    }
}

/* A port nobody answers at; the socket keeps it ours. */
static int dead_port(char *address, size_t size)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    (void)snprintf(address, size, "127.0.0.1:%u", ntohs(name.sin_port));
    return fd;
}

static int64_t now_ms(void)
{
    return clock_mono_us(clock_real()) / 1000;
}

static void check_broker_error(int rc, const char *address)
{
    assert_int_equal(rc, -KE_BROKER);
    assert_non_null(strstr(test_err.text, address));
    assert_non_null(strstr(test_err.hint, "check that Kafka runs"));
}

static void test_no_broker(void **state)
{
    (void)state;
    char address[64];
    int64_t start = 0;
    int64_t end = 0;
    struct log *log = NULL;
    struct log_reader *reader = NULL;
    int fd = dead_port(address, sizeof address);
    int64_t began = now_ms();
    OK(log_open_kafka(address, NULL, &log, &test_err));
    OK(log->ops->reader_open(log, "group", &reader, &test_err));
    OK(reader->ops->add(reader, 5, "topic", 0, 7, &test_err));
    assert_true(now_ms() - began < 10000);

    check_broker_error(log->ops->offsets(log, "topic", 0, &start, &end, &test_err), address);
    assert_true(now_ms() - began < 60000);

    /* The reader goes on, and complains about once a second, not more often. */
    int complaints = 0;
    int calls = 0;
    struct log_batch batch;
    for (began = now_ms(); complaints < 4; calls++) {
        assert_true(now_ms() - began < 60000);
        int rc = reader->ops->next(reader, 50, 100, &batch, &test_err);
        if (rc != 0) {
            check_broker_error(rc, address);
            assert_int_equal(batch.source, UINT32_MAX);
            complaints++;
        } else {
            assert_true(batch.none);
        }
    }
    assert_true(now_ms() - began >= 2500);
    assert_true(calls > 2 * complaints);
    int64_t high = -1;
    reader->ops->progress(reader, 5, &start, &end, &high);
    assert_int_equal(start, -1);
    assert_int_equal(end, -1);
    began = now_ms();
    reader->ops->close(reader);
    log->ops->close(log);
    assert_true(now_ms() - began < 30000);
    (void)close(fd);
}

static void test_adding(void **state)
{
    (void)state;
    struct log *log = NULL;
    struct log_reader *reader = NULL;
    OK(log_open_kafka("127.0.0.1:1", NULL, &log, &test_err));
    assert_int_equal(log->ops->reader_open(log, "", &reader, &test_err), -KE_INVALID);
    OK(log->ops->reader_open(log, "group", &reader, &test_err));
    /* -1 and -2 mean the ends to librdkafka: they must not get there. */
    assert_int_equal(reader->ops->add(reader, 0, "t", 0, -1, &test_err), -KE_INVALID);
    assert_int_equal(reader->ops->add(reader, 0, "t", 0, -2, &test_err), -KE_INVALID);
    for (uint32_t i = 0; i < 200; i++) {
        char topic[16];
        (void)snprintf(topic, sizeof topic, "t%u", (i * 7919U) % 10);
        OK(reader->ops->add(reader, i, topic, i / 10, 0, &test_err));
    }
    assert_int_equal(reader->ops->add(reader, 300, "t3", 4, 0, &test_err), -KE_INVALID);
    reader->ops->close(reader);
    log->ops->close(log);
}

/* The client of a reader whose partition was deleted is left behind: it goes on talking of brokers that are
 * away, when its struct is another thing. */
static void test_left_behind(void **state)
{
    (void)state;
    static rd_kafka_t *left; /* known to leak checkers */
    struct kafka_settings settings;
    char address[64];
    int fd = dead_port(address, sizeof address);
    OK(kafka_settings_init(&settings, address, NULL, &test_err));
    struct kafka_client *client = xcalloc(1, sizeof *client);
    OK(kafka_client_init(client, &settings, KAFKA_READER, "group", &test_err));
    left = client->rk;
    uint64_t doubt = atomic_load(&client->doubt);
    for (int64_t began = now_ms(); atomic_load(&client->doubt) == doubt;) {
        assert_true(now_ms() - began < 60000); /* it talks of its broker */
        (void)usleep(10000);
    }
    client->partition_lost = true;
    kafka_client_close(client);
    memset(client, 0xee, sizeof *client);
    free(client);
    (void)usleep(3000000); /* it has tried again meanwhile, or this finds nothing */
    assert_non_null(left);
    kafka_settings_close(&settings);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owned),        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_secrets_stay), cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_no_broker),    cmocka_unit_test(test_adding),
        cmocka_unit_test(test_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
