/* Goal: the states of the log in memory that tests ask for: holes, open transactions, retention, a
 * topic made again, injected errors. What it shares with the other logs is in test_log.c.
 * Method: small cases by hand, and random holes against a naive list. */
#include "tests/unit/log/log_test.h"

static void append_at(struct test_log *test, int64_t offset)
{
    char value[32];
    (void)snprintf(value, sizeof value, "at %" PRId64, offset);
    struct kappa_record record = text_record("k", value, offset);
    record.offset = offset;
    log_memory_append(test->log, "t", 0, &record);
}

static void test_holes(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("holes"));
    for (int round = 0; round < 200; round++) {
        struct test_log test = open_memory();
        int64_t offsets[50];
        int64_t count = 0;
        int64_t end = 0;
        make_topic(&test, "t", 1, 0);
        while (count < 50) {
            end += (int64_t)prng_below(&prng, 4);
            offsets[count++] = end;
            append_at(&test, end++);
        }
        end += (int64_t)prng_below(&prng, 4);
        log_memory_skip_to(test.log, "t", 0, end);
        int64_t from = (int64_t)prng_below(&prng, (uint64_t)end + 1); /* also inside a hole */
        int64_t i = 0;
        while (i < count && offsets[i] < from) {
            i++;
        }
        struct log_reader *reader = open_reader(&test, "t", 0, from);
        int64_t position = from;
        for (;;) {
            struct log_batch batch;
            OK(reader->ops->next(reader, 0, 1 + (uint32_t)prng_below(&prng, 9), &batch, &test_err));
            if (batch.none) {
                break;
            }
            for (uint32_t k = 0; k < batch.count; k++) {
                assert_int_equal(batch.records[k].offset, offsets[i++]);
                assert_true(batch.next_offset > batch.records[k].offset);
            }
            assert_true(batch.next_offset > position);
            position = batch.next_offset;
            assert_int_equal(batch.end_offset, end);
            assert_int_equal(batch.at_end, position == end);
        }
        assert_int_equal(i, count);
        assert_int_equal(position, end);
        reader->ops->close(reader);
        close_log(&test);
    }
}

static void test_open_transaction(void **state)
{
    (void)state;
    struct test_log test = open_memory();
    struct log_batch batch;
    int64_t start;
    int64_t end;
    int64_t found;
    make_topic(&test, "t", 1, 0);
    for (int64_t i = 0; i < 10; i++) {
        append_at(&test, i);
    }
    log_memory_set_end(test.log, "t", 0, 4);
    OK(test.log->ops->offsets(test.log, "t", 0, &start, &end, &test_err));
    assert_int_equal(end, 4);
    OK(test.log->ops->offset_at_time(test.log, "t", 0, 5, &found, &test_err));
    assert_int_equal(found, -1);
    struct log_reader *reader = open_reader(&test, "t", 0, 0);
    OK(reader->ops->next(reader, 0, 100, &batch, &test_err));
    assert_int_equal(batch.count, 4);
    assert_true(batch.at_end);
    OK(reader->ops->next(reader, 0, 100, &batch, &test_err));
    assert_true(batch.none);
    log_memory_set_end(test.log, "t", 0, -1);
    OK(reader->ops->next(reader, 0, 100, &batch, &test_err));
    assert_int_equal(batch.count, 6);
    assert_int_equal(batch.records[0].offset, 4);
    reader->ops->close(reader);
    close_log(&test);
}

static void test_recreate(void **state)
{
    (void)state;
    struct test_log test = open_memory();
    struct log_batch batch;
    uint64_t before;
    uint64_t after;
    make_topic(&test, "t", 1, 0);
    append_at(&test, 0);
    OK(test.log->ops->topic_identity(test.log, "t", &before, &test_err));
    struct log_reader *reader = open_reader(&test, "t", 0, 0);
    OK(reader->ops->next(reader, 0, 10, &batch, &test_err));
    log_memory_recreate(test.log, "t");
    OK(test.log->ops->topic_identity(test.log, "t", &after, &test_err));
    assert_true(before != after);
    assert_memory_equal(batch.records[0].value, "at 0", 4); /* still readable */
    assert_int_equal(reader->ops->next(reader, 0, 10, &batch, &test_err), -KE_TOPIC_CHANGED);
    reader->ops->close(reader);
    close_log(&test);
}

static void test_injected_errors(void **state)
{
    (void)state;
    struct test_log test = open_memory();
    struct log_batch batch;
    make_topic(&test, "t", 1, 0);
    for (int64_t i = 0; i < 10; i++) {
        append_at(&test, i);
    }
    struct log_reader *reader = open_reader(&test, "t", 0, 0);
    log_memory_fail(test.log, "t", 0, 3, KE_BROKER, 2);
    OK(reader->ops->next(reader, 0, 100, &batch, &test_err));
    assert_int_equal(batch.count, 3);
    assert_false(batch.at_end);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(reader->ops->next(reader, 0, 100, &batch, &test_err), -KE_BROKER);
        assert_int_equal(batch.source, 0);
    }
    OK(reader->ops->next(reader, 0, 2, &batch, &test_err));
    assert_int_equal(batch.records[0].offset, 3);
    log_memory_fail(test.log, "t", 0, 7, KE_CORRUPT, 0);
    OK(reader->ops->next(reader, 0, 100, &batch, &test_err));
    assert_int_equal(batch.count, 2);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(reader->ops->next(reader, 0, 100, &batch, &test_err), -KE_CORRUPT);
    }
    log_memory_fail(test.log, "t", 0, 0, KE_OK, 0);
    OK(reader->ops->next(reader, 0, 100, &batch, &test_err));
    assert_int_equal(batch.count, 3);
    reader->ops->close(reader);
    close_log(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_open_transaction),
        cmocka_unit_test(test_recreate),
        cmocka_unit_test(test_injected_errors),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
