/* Goal: a version that has read records which the log lost when the machine died is told so, also when others
 * lie in their place by then; a log that only grew is the same, whatever the times of its records are.
 * Method: an embedded log, copied at the moment that was synced and put back. */
#include "replayer/topic_same.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TOPIC "t"

static char dir[] = "/tmp/kappa-same-XXXXXX";
static struct err fault;

static struct log *log_of_dir(void)
{
    struct log *log = NULL;
    char *path = xasprintf("%s/log", dir);
    assert_int_equal(log_open_embedded(path, &log, &fault), 0);
    free(path);
    return log;
}

/* One record for each of these times. */
static void append(const int64_t *times, size_t count)
{
    struct log *log = log_of_dir();
    struct log_writer *writer = NULL;
    assert_int_equal(log->ops->writer_open(log, TOPIC, &writer, &fault), 0);
    for (size_t i = 0; i < count; i++) {
        const struct kappa_record record = {.time_ms = times[i],
                                            .key_len = KAPPA_NULL_LEN,
                                            .value = (const uint8_t *)"{}",
                                            .value_len = 2};
        assert_int_equal(writer->ops->append(writer, 0, &record, &fault), 0);
    }
    assert_int_equal(writer->ops->flush(writer, true, &fault), 0);
    writer->ops->close(writer);
    log->ops->close(log);
}

/* In the directory. */
static void run(const char *text)
{
    char *command = xasprintf("cd '%s' && %s", dir, text);
    assert_int_equal(system(command), 0);
    free(command);
}

/* What a version that has read up to `next` is told; the newest that it has read is of time_ms. */
static int ask(int64_t next, int64_t time_ms, const char *says)
{
    struct log *log = log_of_dir();
    const struct topic_read read = {.topic = TOPIC, .next = next, .time_ms = time_ms};
    bool asked = false;
    struct err err = {0};
    int rc = topic_same(log, "g", &read, &asked, &err);
    log->ops->close(log);
    assert_true(asked);
    if (rc != 0 && strstr(err.text, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    }
    return rc;
}

static int setup(void **state)
{
    (void)state;
    const struct log_topic_options options = {.partitions = 1, .retain_ms = -1, .retain_bytes = -1};
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6); /* NOLINT: as long as it was */
    assert_non_null(mkdtemp(dir));
    struct log *log = log_of_dir();
    assert_int_equal(log->ops->topic_create(log, TOPIC, &options, &fault), 0);
    log->ops->close(log);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    run("rm -r \"$PWD\"");
    return 0;
}

static const int64_t before[] = {1000, 1007, 1003}; /* synced */
static const int64_t lost[] = {1008, 1002};         /* and read, but not synced */
static const int64_t later[] = {2000, 2001, 1500, 2002};

static void test_log_that_grew(void **state)
{
    (void)state;
    append(before, array_len(before));
    append(lost, array_len(lost));
    assert_int_equal(ask(5, 1008, ""), 0);
    append(later, array_len(later));
    for (int64_t next = 1; next <= 9; next++) {
        static const int64_t newest[] = {1000, 1007, 1007, 1008, 1008, 2000, 2001, 2001, 2002};
        assert_int_equal(ask(next, newest[next - 1], ""), 0);
    }
    assert_int_equal(ask(0, KAPPA_NO_TIME, ""), 0); /* nothing read */
}

static void test_machine_lost_the_tail(void **state)
{
    (void)state;
    append(before, array_len(before));
    run("cp -a log kept");
    append(lost, array_len(lost));
    assert_int_equal(ask(5, 1008, ""), 0);
    run("rm -r log && mv kept log");
    assert_int_equal(ask(5, 1008, ""), -KE_TOPIC_CHANGED);
    assert_int_equal(ask(3, 1007, ""), 0); /* it had not read what was lost */
    /* Others in their place, past where it stands. */
    append(later, array_len(later));
    assert_int_equal(ask(5, 1008, "offset 3 of partition 0 is newer"), -KE_TOPIC_CHANGED);
    assert_int_equal(ask(3, 1007, ""), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_log_that_grew),
        TEST(test_machine_lost_the_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
