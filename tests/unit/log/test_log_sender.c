/* Goal: senders of all logs: what is committed is readable, in order, in the partitions asked for; on
 * Kafka nothing else ever is: not what was not committed, not what a fenced sender still tries.
 * Method: the embedded log, the log in memory, and a real Kafka when KAPPA_TEST_KAFKA=host:port is set
 * (as the system tests do); without it its tests are skipped, loudly. */
#include "tests/unit/log/log_test.h"

#include "base/clock.h"

#define WAIT_MS     100
#define PATIENCE_MS 120000

static const char *brokers;

static int64_t now_ms(void)
{
    return clock_mono_us(clock_real()) / 1000;
}

static char *new_topic(struct test_log *test, const char *name, uint32_t partitions)
{
    char *topic = xasprintf("unit.%s-%d-%lld", name, (int)getpid(), (long long)now_ms());
    make_topic(test, topic, partitions, 0);
    return topic;
}

static struct log_sender *open_sender(struct test_log *test, const char *name)
{
    struct log_sender *sender = NULL;
    OK(test->log->ops->sender_open(test->log, name, &sender, &test_err));
    return sender;
}

static void send(struct log_sender *sender, const char *topic, uint32_t partition, int64_t first,
                 int64_t count)
{
    for (int64_t i = first; i < first + count; i++) {
        char value[32];
        (void)snprintf(value, sizeof value, "value %" PRId64, i);
        struct kappa_record record = text_record("k", value, i == 0 ? -5 : i);
        OK(sender->ops->append(sender, topic, partition, &record, &test_err));
    }
}

/* Values of a partition as readers see it, joined by commas; *next: the end. */
static void values(struct test_log *test, const char *topic, uint32_t partition, struct buf *out,
                   int64_t *next)
{
    struct log_reader *reader = open_reader(test, topic, partition, 0);
    struct log_batch batch = {.at_end = false};
    int64_t deadline = now_ms() + PATIENCE_MS;
    buf_reset(out);
    while (!batch.at_end && now_ms() < deadline) {
        int rc = reader->ops->next(reader, WAIT_MS, 100, &batch, &test_err);
        if (rc == -KE_BROKER || (rc == 0 && batch.none)) {
            if (test->dir[0] != '\0' || strcmp(test->log->kind, "memory") == 0) {
                break;
            }
            batch.at_end = false;
            continue;
        }
        assert_int_equal(rc, 0);
        for (uint32_t i = 0; i < batch.count; i++) {
            const struct kappa_record *record = &batch.records[i];
            buf_printf(out, "%s%.*s", out->len == 0 ? "" : ",", (int)record->value_len - 6,
                       (const char *)record->value + 6);
        }
        *next = batch.next_offset;
    }
    reader->ops->close(reader);
}

/* Kafka shows a transaction a moment after its commit has returned. */
static void expect(struct test_log *test, const char *topic, uint32_t partition, const char *want)
{
    struct buf got = {0};
    int64_t next = 0;
    int64_t deadline = now_ms() + PATIENCE_MS;
    do {
        values(test, topic, partition, &got, &next);
    } while (strcmp(buf_text(&got), want) != 0 && strcmp(test->log->kind, "kafka") == 0 &&
             now_ms() < deadline);
    assert_string_equal(buf_text(&got), want);
    buf_free(&got);
}

/* ---- All logs */

static void basics(struct test_log *test)
{
    char *one = new_topic(test, "one", 3);
    char *two = new_topic(test, "two", 1);
    int64_t start = -1;
    int64_t end = -1;
    struct log_sender *sender = open_sender(test, "kappa-basics");
    OK(sender->ops->commit(sender, &test_err)); /* nothing */
    send(sender, one, 2, 0, 3);
    send(sender, two, 0, 10, 2);
    send(sender, one, 0, 3, 1);
    expect(test, one, 2, "");
    OK(sender->ops->commit(sender, &test_err));
    expect(test, one, 2, "0,1,2");
    expect(test, one, 1, "");
    expect(test, one, 0, "3");
    expect(test, two, 0, "10,11");
    OK(sender->ops->range(sender, one, 2, &start, &end, &test_err));
    assert_int_equal(start, 0);
    assert_true(end >= 3);
    sender->ops->close(sender);
    sender = open_sender(test, "kappa-basics");
    send(sender, one, 2, 3, 2);
    OK(sender->ops->commit(sender, &test_err));
    sender->ops->close(sender);
    expect(test, one, 2, "0,1,2,3,4");
    free(one);
    free(two);
}

static void test_embedded(void **state)
{
    (void)state;
    struct test_log test = open_embedded();
    basics(&test);
    close_log(&test);
}

static void test_memory(void **state)
{
    (void)state;
    struct test_log test = open_memory();
    basics(&test);
    close_log(&test);
}

/* ---- Kafka */

static bool no_kafka(const char *test, struct test_log *log)
{
    *log = (struct test_log){0};
    if (brokers == NULL) {
        (void)fprintf(stderr, "!!! %s SKIPPED: KAPPA_TEST_KAFKA is not set\n", test);
        return true;
    }
    OK(log_open_kafka(brokers, NULL, &log->log, &test_err));
    return false;
}

static void test_kafka(void **state)
{
    (void)state;
    struct test_log test;
    if (!no_kafka("test_kafka", &test)) {
        basics(&test);
        close_log(&test);
    }
}

/* A sender whose records the broker has, but which has not committed, is taken over. */
static void test_fence(void **state)
{
    (void)state;
    struct test_log test;
    if (no_kafka("test_fence", &test)) {
        return;
    }
    char *topic = new_topic(&test, "fence", 1);
    struct log_sender *old = open_sender(&test, topic);
    send(old, topic, 0, 1, 2);
    OK(old->ops->commit(old, &test_err));
    send(old, topic, 0, 100, 3);
    int64_t start = 0;
    int64_t end = 0;
    int64_t deadline = now_ms() + PATIENCE_MS;
    do { /* until the broker holds them: they are behind the end, though nobody may read them */
        OK(old->ops->range(old, topic, 0, &start, &end, &test_err));
    } while (end < 6 && now_ms() < deadline);
    assert_true(end >= 6);
    OK(test.log->ops->offsets(test.log, topic, 0, &start, &end, &test_err));
    assert_int_equal(end, 3); /* two records and the mark of their transaction */

    struct log_sender *new = open_sender(&test, topic);
    OK(new->ops->range(new, topic, 0, &start, &end, &test_err));
    assert_int_equal(end, 7); /* aborted, with its mark: nothing more can come */
    send(new, topic, 0, 3, 2);
    OK(new->ops->commit(new, &test_err));
    assert_int_equal(old->ops->commit(old, &test_err), -KE_BUSY);
    old->ops->close(old);
    expect(&test, topic, 0, "1,2,3,4");
    send(new, topic, 0, 5, 1);
    OK(new->ops->commit(new, &test_err));
    new->ops->close(new);
    expect(&test, topic, 0, "1,2,3,4,5");
    free(topic);
    close_log(&test);
}

/* An open transaction of somebody else hides what we committed behind it: the range knows better. */
static void test_behind_another(void **state)
{
    (void)state;
    struct test_log test;
    if (no_kafka("test_behind_another", &test)) {
        return;
    }
    char *topic = new_topic(&test, "behind", 1);
    char *name = xasprintf("%s-other", topic);
    struct log_sender *other = open_sender(&test, name);
    struct log_sender *sender = open_sender(&test, topic);
    int64_t start = 0;
    int64_t end = 0;
    int64_t visible = 0;
    int64_t deadline = now_ms() + PATIENCE_MS;
    send(other, topic, 0, 50, 1);
    do {
        OK(other->ops->range(other, topic, 0, &start, &end, &test_err));
    } while (end < 1 && now_ms() < deadline);
    send(sender, topic, 0, 1, 2);
    OK(sender->ops->commit(sender, &test_err));
    OK(sender->ops->range(sender, topic, 0, &start, &end, &test_err));
    OK(test.log->ops->offsets(test.log, topic, 0, &start, &visible, &test_err));
    assert_int_equal(visible, 0);
    assert_true(end >= 3);
    other->ops->close(other); /* aborts */
    deadline = now_ms() + PATIENCE_MS;
    do {
        OK(test.log->ops->offsets(test.log, topic, 0, &start, &visible, &test_err));
    } while (visible < end && now_ms() < deadline);
    expect(&test, topic, 0, "1,2");
    sender->ops->close(sender);
    free(name);
    free(topic);
    close_log(&test);
}

/* What a commit costs: printed, not judged. */
static void test_cost(void **state)
{
    (void)state;
    struct test_log test;
    if (no_kafka("test_cost", &test)) {
        return;
    }
    char *topic = new_topic(&test, "cost", 4);
    struct log_sender *sender = open_sender(&test, topic);
    static const int64_t sizes[] = {1, 100, 8000};
    for (size_t i = 0; i < array_len(sizes); i++) {
        int64_t began = clock_mono_us(clock_real());

        enum { ROUNDS = 20 };

        for (uint32_t round = 0; round < ROUNDS; round++) {
            send(sender, topic, round % 4, 1, sizes[i]);
            OK(sender->ops->commit(sender, &test_err));
        }
        double us = (double)(clock_mono_us(clock_real()) - began) / ROUNDS;
        (void)printf("a transaction of %lld records: %.1f ms, %.0f records/s\n",
                     (long long)sizes[i], us / 1000, (double)sizes[i] * 1e6 / us);
    }
    sender->ops->close(sender);
    free(topic);
    close_log(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedded), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_kafka),    cmocka_unit_test(test_fence),
        cmocka_unit_test(test_cost),     cmocka_unit_test(test_behind_another),
    };
    brokers = getenv("KAPPA_TEST_KAFKA");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
