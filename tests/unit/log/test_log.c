/* Goal: the embedded log and the log in memory mean the same by offsets, times, keys, values,
 * headers, positions and errors: the rules of log/log.h.
 * Method: one suite that runs on both. Random histories are compared with a naive model: arrays of
 * what was appended. Segments are tiny, so that the embedded log changes files all the time. */
#include "tests/unit/log/log_test.h"

#include "base/limits.h"
#include "log/notify.h"

#include <linux/capability.h>
#include <pthread.h>
#include <sys/syscall.h>

typedef struct test_log (*open_log_fn)(void);

static struct test_log open_for(void **state)
{
    open_log_fn open_log = *(open_log_fn *)*state;
    return open_log();
}

/* ---- The model ---- */

#define PARTITIONS 3

struct model_record {
    int64_t time_ms;
    struct buf key, value, headers;
    bool key_null, value_null;
};

struct model {
    struct model_record *records[PARTITIONS];
    int64_t count[PARTITIONS];
};

static void fill_random(struct buf *buf, struct prng *prng, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        buf_append_u8(buf, (uint8_t)prng_next(prng));
    }
}

static uint32_t pick_partition(struct prng *prng)
{
    return (uint32_t)prng_below(prng, PARTITIONS);
}

static struct kappa_record model_add(struct model *model, uint32_t partition, struct prng *prng)
{
    int64_t n = model->count[partition]++;
    struct model_record **list = &model->records[partition];
    *list = xrealloc(*list, (size_t)(n + 1) * sizeof **list);
    struct model_record *record = &(*list)[n];
    *record = (struct model_record){
        .time_ms = (int64_t)prng_below(prng, 1000),
        .key_null = prng_below(prng, 3) == 0,
        .value_null = prng_below(prng, 5) == 0,
    };
    buf_reserve(&record->key, 0);
    buf_reserve(&record->value, 0);
    buf_reserve(&record->headers, 0);
    fill_random(&record->key, prng, prng_below(prng, 20));
    fill_random(&record->value, prng,
                prng_below(prng, 200) == 0 ? prng_below(prng, 20000) : prng_below(prng, 100));
    if (prng_below(prng, 4) == 0) {
        buf_append_u32_le(&record->headers, 1);
        buf_append_u8(&record->headers, 'h');
        buf_append_u32_le(&record->headers, KAPPA_NULL_LEN);
    }
    return (struct kappa_record){
        .offset = 77, /* ignored */
        .time_ms = record->time_ms,
        .key = record->key_null ? NULL : record->key.data,
        .value = record->value_null ? NULL : record->value.data,
        .headers = record->headers.data,
        .key_len = record->key_null ? KAPPA_NULL_LEN : u32_from(record->key.len),
        .value_len = record->value_null ? KAPPA_NULL_LEN : u32_from(record->value.len),
        .headers_len = u32_from(record->headers.len),
    };
}

static void model_free(struct model *model)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (int64_t i = 0; i < model->count[p]; i++) {
            buf_free(&model->records[p][i].key);
            buf_free(&model->records[p][i].value);
            buf_free(&model->records[p][i].headers);
        }
        free(model->records[p]);
    }
}

static void assert_same(const struct kappa_record *record, const struct model_record *expected)
{
    assert_int_equal(record->time_ms, expected->time_ms);
    assert_int_equal(record->headers_len, expected->headers.len);
    assert_memory_equal(record->headers, expected->headers.data, expected->headers.len);
    if (expected->key_null) {
        assert_null(record->key);
        assert_int_equal(record->key_len, KAPPA_NULL_LEN);
    } else {
        assert_int_equal(record->key_len, expected->key.len);
        assert_memory_equal(record->key, expected->key.data, expected->key.len);
    }
    if (expected->value_null) {
        assert_null(record->value);
        assert_int_equal(record->value_len, KAPPA_NULL_LEN);
        return;
    }
    assert_int_equal(record->value_len, expected->value.len);
    assert_memory_equal(record->value, expected->value.data, expected->value.len);
    unsigned sum = 0;
    for (uint32_t i = 0; i < KAPPA_RECORD_TAIL; i++) {
        sum += record->value[record->value_len + i]; /* must be readable */
    }
    assert_true(sum <= 255 * KAPPA_RECORD_TAIL);
}

/* ---- Random histories ---- */

static void check_offsets(struct test_log *test, const struct model *model)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        int64_t start = -1;
        int64_t end = -1;
        OK(test->log->ops->offsets(test->log, "t", p, &start, &end, &test_err));
        assert_int_equal(start, 0);
        assert_int_equal(end, model->count[p]);
    }
}

static void check_times(struct test_log *test, const struct model *model, struct prng *prng)
{
    for (int i = 0; i < 20; i++) {
        uint32_t p = (uint32_t)prng_below(prng, PARTITIONS);
        int64_t time_ms = (int64_t)prng_below(prng, 1010);
        int64_t expected = -1;
        for (int64_t k = 0; k < model->count[p] && expected < 0; k++) {
            expected = model->records[p][k].time_ms >= time_ms ? k : -1;
        }
        int64_t found = -2;
        OK(test->log->ops->offset_at_time(test->log, "t", p, time_ms, &found, &test_err));
        assert_int_equal(found, expected);
    }
}

/* Reads all partitions from random offsets through one reader. */
static void check_reading(struct test_log *test, const struct model *model, struct prng *prng)
{
    struct log_reader *reader = NULL;
    int64_t next[PARTITIONS];
    OK(test->log->ops->reader_open(test->log, "test", &reader, &test_err));
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        next[p] = (int64_t)prng_below(prng, (uint64_t)model->count[p] + 1);
        OK(reader->ops->add(reader, p + 10, "t", p, next[p], &test_err));
    }
    for (;;) {
        struct log_batch batch;
        uint32_t max = 1 + (uint32_t)prng_below(prng, 50);
        OK(reader->ops->next(reader, 0, max, &batch, &test_err));
        if (batch.none) {
            break;
        }
        uint32_t p = batch.source - 10;
        assert_true(p < PARTITIONS);
        assert_true(batch.count <= max);
        for (uint32_t i = 0; i < batch.count; i++, next[p]++) {
            assert_int_equal(batch.records[i].offset, next[p]);
            assert_same(&batch.records[i], &model->records[p][next[p]]);
        }
        assert_int_equal(batch.next_offset, next[p]);
        assert_int_equal(batch.end_offset, model->count[p]);
        assert_int_equal(batch.at_end, next[p] == model->count[p]);
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        int64_t start;
        int64_t end;
        assert_int_equal(next[p], model->count[p]);
        int64_t high = -1;
        reader->ops->progress(reader, p + 10, &start, &end, &high);
        assert_int_equal(start, 0);
        assert_int_equal(end, model->count[p]);
    }
    reader->ops->close(reader);
}

static void test_random_history(void **state)
{
    struct prng prng;
    prng_init(&prng, unit_seed("history"));
    for (int round = 0; round < 12; round++) {
        struct test_log test = open_for(state);
        struct model model = {0};
        make_topic(&test, "t", PARTITIONS, 1 + (int64_t)prng_below(&prng, 5000));
        struct log_writer *writer = open_writer(&test, "t");
        for (int step = 0; step < 12; step++) {
            uint64_t count = prng_below(&prng, 60);
            for (uint64_t i = 0; i < count; i++) {
                uint32_t p = pick_partition(&prng);
                struct kappa_record record = model_add(&model, p, &prng);
                OK(writer->ops->append(writer, (int32_t)p, &record, &test_err));
            }
            if (prng_below(&prng, 4) == 0) {
                writer->ops->close(writer);
                writer = open_writer(&test, "t");
            } else {
                OK(writer->ops->flush(writer, prng_below(&prng, 3) == 0, &test_err));
            }
            check_offsets(&test, &model);
            check_times(&test, &model, &prng);
            check_reading(&test, &model, &prng);
        }
        writer->ops->close(writer);
        model_free(&model);
        close_log(&test);
    }
}

/* ---- Positions ---- */

static void test_end_and_beyond(void **state)
{
    struct test_log test = open_for(state);
    make_topic(&test, "t", 1, 100);
    struct log_batch batch;
    int64_t end;

    struct log_reader *empty = open_reader(&test, "t", 0, 0);
    OK(empty->ops->next(empty, 0, 10, &batch, &test_err));
    assert_true(batch.none);
    empty->ops->close(empty);

    append_numbers(&test, "t", 0, 0, 10);
    struct log_reader *behind = open_reader(&test, "t", 0, 11);
    assert_int_equal(behind->ops->next(behind, 0, 10, &batch, &test_err), -KE_TOPIC_CHANGED);
    assert_int_equal(batch.source, 0);
    assert_non_null(strstr(test_err.text, "11"));
    assert_non_null(strstr(test_err.text, "10"));
    behind->ops->close(behind);

    struct log_reader *at_end = open_reader(&test, "t", 0, 10);
    OK(at_end->ops->next(at_end, 0, 10, &batch, &test_err));
    assert_true(batch.none);
    append_numbers(&test, "t", 0, 10, 1);
    OK(at_end->ops->next(at_end, 1000, 10, &batch, &test_err));
    assert_false(batch.none);
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch.records[0].offset, 10);
    assert_true(batch.at_end);
    at_end->ops->close(at_end);

    OK(read_numbers(&test, "t", 0, 0, &end));
    assert_int_equal(end, 11);
    struct log_reader *negative = NULL;
    OK(test.log->ops->reader_open(test.log, "test", &negative, &test_err));
    assert_int_equal(negative->ops->add(negative, 0, "t", 0, -1, &test_err), -KE_INVALID);
    negative->ops->close(negative);
    close_log(&test);
}

/* Retention: whole segments of the embedded log, any offset in memory. */
static int64_t take_away(struct test_log *test, const char *topic)
{
    int64_t start = -1;
    int64_t end = -1;
    if (is_embedded(test)) {
        OK(test->log->ops->expire(test->log, INT64_C(1) << 40, &test_err));
    } else {
        log_memory_trim(test->log, topic, 0, 30);
    }
    OK(test->log->ops->offsets(test->log, topic, 0, &start, &end, &test_err));
    return start;
}

static void test_range_lost(void **state)
{
    struct test_log test = open_for(state);
    struct log_topic_options options = {1, 1000, -1, 300};
    struct log_batch batch;
    int64_t end;
    OK(test.log->ops->topic_create(test.log, "t", &options, &test_err));
    append_numbers(&test, "t", 0, 0, 40);
    if (is_embedded(&test)) {
        /* Times near 1970 are old at once when a segment is full; begin from what is left. */
        int64_t start = take_away(&test, "t");
        assert_true(start > 0);
    }
    struct log_reader *before = open_reader(&test, "t", 0, 39);
    OK(before->ops->next(before, 0, 1, &batch, &test_err));
    assert_int_equal(batch.count, 1);
    append_numbers(&test, "t", 0, 40, 60);
    int64_t start = take_away(&test, "t");
    assert_true(start > 0);

    /* What was handed out stays readable though its segment may be gone. */
    assert_memory_equal(batch.records[0].value, "value 39", 8);
    int rc = before->ops->next(before, 0, 1, &batch, &test_err);
    assert_int_equal(rc, start > 40 ? -KE_RANGE_LOST : 0);
    before->ops->close(before);

    assert_int_equal(read_numbers(&test, "t", 0, start - 1, &end), -KE_RANGE_LOST);
    assert_int_equal(end, start - 1);
    char expected[64];
    (void)snprintf(expected, sizeof expected, "%" PRId64 " to 100", start);
    assert_non_null(strstr(test_err.text, expected));
    OK(read_numbers(&test, "t", 0, start, &end));
    assert_int_equal(end, 100);
    close_log(&test);
}

/* ---- Taking turns, waiting, waking ---- */

static void test_sources_take_turns(void **state)
{
    struct test_log test = open_for(state);
    make_topic(&test, "t", 3, 1000);
    struct log_reader *reader = NULL;
    OK(test.log->ops->reader_open(test.log, "test", &reader, &test_err));
    for (uint32_t p = 0; p < 3; p++) {
        append_numbers(&test, "t", p, 0, 100);
        OK(reader->ops->add(reader, p, "t", p, 0, &test_err));
    }
    for (uint32_t i = 0; i < 30; i++) {
        struct log_batch batch;
        OK(reader->ops->next(reader, 0, 5, &batch, &test_err));
        assert_int_equal(batch.source, i % 3);
    }
    reader->ops->close(reader);
    close_log(&test);
}

static void test_batch_bytes(void **state)
{
    struct test_log test = open_for(state);
    make_topic(&test, "t", 1, 0);
    size_t size = LIMIT_BATCH_BYTES / 4;
    uint8_t *bytes = xcalloc(1, LIMIT_RECORD_BYTES + 1);
    struct log_writer *writer = open_writer(&test, "t");
    for (int i = 0; i < 12; i++) {
        struct kappa_record record = text_record(NULL, NULL, 1);
        record.value = bytes;
        record.value_len = u32_from(i == 9 ? LIMIT_RECORD_BYTES - 1000 : size);
        OK(writer->ops->append(writer, 0, &record, &test_err));
    }
    struct kappa_record large = text_record(NULL, NULL, 1);
    large.value = bytes;
    large.value_len = LIMIT_RECORD_BYTES + 1;
    assert_int_equal(writer->ops->append(writer, 0, &large, &test_err), -KE_LIMIT);
    writer->ops->close(writer);
    free(bytes);

    struct log_reader *reader = open_reader(&test, "t", 0, 0);
    uint32_t records = 0;
    while (records < 12) {
        struct log_batch batch;
        OK(reader->ops->next(reader, 0, 4096, &batch, &test_err));
        assert_false(batch.none);
        assert_in_range(batch.count, 1, 4);
        records += batch.count;
    }
    reader->ops->close(reader);
    close_log(&test);
}

static void *wake_thread(void *arg)
{
    struct log_reader *reader = arg;
    (void)usleep(20000);
    reader->ops->wake(reader);
    return NULL;
}

static void test_wake(void **state)
{
    struct test_log test = open_for(state);
    make_topic(&test, "t", 1, 0);
    struct log_reader *reader = open_reader(&test, "t", 0, 0);
    pthread_t thread;
    struct log_batch batch;
    assert_int_equal(pthread_create(&thread, NULL, wake_thread, reader), 0);
    OK(reader->ops->next(reader, 60000, 10, &batch, &test_err));
    assert_true(batch.none);
    assert_int_equal(pthread_join(thread, NULL), 0);
    OK(reader->ops->next(reader, 10, 10, &batch, &test_err)); /* the wake is used up */
    assert_true(batch.none);
    reader->ops->close(reader);
    close_log(&test);
}

static void *append_thread(void *arg)
{
    struct test_log *test = arg;
    for (int64_t i = 0; i < 200; i++) {
        append_numbers(test, "t", 0, i, 1);
    }
    return NULL;
}

/* A reader beside a writer in one process gets every record once, in order. */
static void test_follow_thread(void **state)
{
    struct test_log test = open_for(state);
    make_topic(&test, "t", 1, 500);
    struct log_reader *reader = open_reader(&test, "t", 0, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, append_thread, &test), 0);
    int64_t next = 0;
    while (next < 200) {
        struct log_batch batch;
        OK(reader->ops->next(reader, 10000, 3, &batch, &test_err));
        assert_false(batch.none);
        for (uint32_t i = 0; i < batch.count; i++) {
            assert_int_equal(batch.records[i].offset, next++);
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    reader->ops->close(reader);
    close_log(&test);
}

/* Each publish rings the bell that waiting readers of any process sleep on. */
static void test_bell(void **state)
{
    struct test_log test = open_for(state);
    struct notify notify = {0};
    make_topic(&test, "t", 1, 0);
    OK(notify_open(&notify, test.dir, &test_err));
    for (int64_t i = 0; i < 3; i++) {
        uint32_t before = notify_sequence(&notify);
        append_numbers(&test, "t", 0, i, 1);
        assert_int_not_equal(notify_sequence(&notify), before);
        notify_wait(&notify, before, 60000); /* returns at once */
    }
    notify_close(&notify);
    close_log(&test);
}

/* A right of root that would pass over modes is given up for a while. */
static void heed_modes(bool heed)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    assert_int_equal(syscall(SYS_capget, &head, data), 0);
    for (int i = 0; i < 2; i++) {
        data[i].effective = heed ? 0 : data[i].permitted;
    }
    assert_int_equal(syscall(SYS_capset, &head, data), 0);
}

static void modes(const char *dir, const char *how)
{
    char *command = xasprintf("chmod -R %s '%s'", how, dir);
    assert_int_equal(system(command), 0);
    free(command);
}

/* Who may only read the log's files reads them, learns of new records within his wait, and may not write. */
static void test_only_reading(void **state)
{
    struct test_log test = open_for(state);
    make_topic(&test, "t", 1, 0);
    append_numbers(&test, "t", 0, 0, 3);
    modes(test.dir, "a-w");
    heed_modes(true);
    struct log *log = NULL;
    struct log_reader *reader = NULL;
    struct log_writer *writer = NULL;
    struct log_batch batch;
    OK(log_open_embedded(test.dir, &log, &test_err));
    assert_int_equal(log->ops->writer_open(log, "t", &writer, &test_err), -KE_IO);
    assert_non_null(strstr(test_err.hint, "chmod"));
    OK(log->ops->reader_open(log, NULL, &reader, &test_err));
    OK(reader->ops->add(reader, 0, "t", 0, 0, &test_err));
    OK(reader->ops->next(reader, 0, 10, &batch, &test_err));
    assert_int_equal(batch.count, 3);
    heed_modes(false);
    modes(test.dir, "u+w");
    append_numbers(&test, "t", 0, 3, 1);
    OK(reader->ops->next(reader, 60000, 10, &batch, &test_err)); /* is not woken, and looks */
    assert_int_equal(batch.count, 1);
    reader->ops->wake(reader);
    OK(reader->ops->next(reader, 60000, 10, &batch, &test_err));
    assert_true(batch.none);
    reader->ops->close(reader);
    log->ops->close(log);
    close_log(&test);
}

/* ---- Topics and writers ---- */

static void test_topics(void **state)
{
    struct test_log test = open_for(state);
    const struct log_ops *ops = test.log->ops;
    struct log_topic_options options = {2, -1, -1, 0};
    struct log_writer *writer = NULL;
    uint32_t count = 0;
    uint64_t identity = 0;
    uint64_t other = 0;
    int64_t offset = 0;
    json_t *list = NULL;
    make_topic(&test, "orders", 2, 0);
    make_topic(&test, "clicks", 1, 0);
    make_topic(&test, ".hidden-_x", 1, 0);
    assert_int_equal(ops->topic_create(test.log, "orders", &options, &test_err), -KE_EXISTS);
    options.partitions = 0;
    assert_int_equal(ops->topic_create(test.log, "none", &options, &test_err), -KE_INVALID);
    options.partitions = LIMIT_PARTITIONS + 1;
    assert_int_equal(ops->topic_create(test.log, "many", &options, &test_err), -KE_LIMIT);
    options.partitions = 1;
    static const char *const bad[] = {"", ".", "..", "a/b", "a b", "~x", "\xc3\xa4", "a\n"};
    for (size_t i = 0; i < array_len(bad); i++) {
        assert_int_equal(ops->topic_create(test.log, bad[i], &options, &test_err), -KE_INVALID);
    }
    char name[LIMIT_NAME_LEN + 2];
    memset(name, 'n', sizeof name);
    name[LIMIT_NAME_LEN + 1] = '\0';
    assert_int_equal(ops->topic_create(test.log, name, &options, &test_err), -KE_INVALID);
    name[LIMIT_NAME_LEN] = '\0';
    OK(ops->topic_create(test.log, name, &options, &test_err));

    OK(ops->topic_list(test.log, &list, &test_err));
    assert_int_equal(json_array_size(list), 4);
    assert_string_equal(json_text(json_array_get(list, 0), "name", ""), ".hidden-_x");
    assert_string_equal(json_text(json_array_get(list, 1), "name", ""), "clicks");
    assert_string_equal(json_text(json_array_get(list, 3), "name", ""), "orders");
    assert_int_equal(json_int(json_array_get(list, 3), "partitions", 0), 2);
    json_decref(list);

    OK(ops->topic_partitions(test.log, "orders", &count, &test_err));
    assert_int_equal(count, 2);
    OK(ops->topic_identity(test.log, "orders", &identity, &test_err));
    OK(ops->topic_identity(test.log, "clicks", &other, &test_err));
    assert_true(identity != other);
    assert_int_equal(ops->topic_partitions(test.log, "order", &count, &test_err), -KE_NOT_FOUND);
    assert_non_null(strstr(test_err.hint, "'orders'"));
    assert_int_equal(ops->writer_open(test.log, "ordres", &writer, &test_err), -KE_NOT_FOUND);
    assert_non_null(strstr(test_err.hint, "'orders'"));
    assert_int_equal(ops->offsets(test.log, "orders", 2, &offset, &offset, &test_err),
                     -KE_NOT_FOUND);
    assert_int_equal(ops->offset_at_time(test.log, "orders", 0, -5, &offset, &test_err),
                     -KE_INVALID);
    struct log_reader *reader = NULL;
    OK(ops->reader_open(test.log, "test", &reader, &test_err));
    assert_int_equal(reader->ops->add(reader, 0, "nothing", 0, 0, &test_err), -KE_NOT_FOUND);
    assert_int_equal(reader->ops->add(reader, 0, "orders", 2, 0, &test_err), -KE_NOT_FOUND);
    reader->ops->close(reader);
    close_log(&test);
}

static void test_choice_of_partition(void **state)
{
    struct test_log test = open_for(state);
    make_topic(&test, "t", 4, 0);
    struct log_writer *writer = open_writer(&test, "t");
    int64_t expected[4] = {0};
    for (int i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "key %d", i);
        struct kappa_record record = text_record(key, "v", KAPPA_NO_TIME);
        OK(writer->ops->append(writer, -1, &record, &test_err));
        expected[log_partition_of_key(key, strlen(key), 4)]++;
    }
    for (int i = 0; i < 40; i++) {
        struct kappa_record record = text_record(NULL, "v", KAPPA_NO_TIME);
        OK(writer->ops->append(writer, -1, &record, &test_err));
        expected[i % 4]++;
    }
    struct kappa_record record = text_record(NULL, "v", 0);
    assert_int_equal(writer->ops->append(writer, 4, &record, &test_err), -KE_INVALID);
    assert_int_equal(writer->ops->append(writer, -2, &record, &test_err), -KE_INVALID);
    OK(writer->ops->flush(writer, true, &test_err));
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    for (uint32_t p = 0; p < 4; p++) {
        int64_t start;
        int64_t end;
        int64_t found;
        OK(test.log->ops->offsets(test.log, "t", p, &start, &end, &test_err));
        assert_int_equal(end, expected[p]);
        OK(test.log->ops->offset_at_time(test.log, "t", p, now_ms - 60000, &found, &test_err));
        assert_int_equal(found, 0); /* no time means now */
    }
    writer->ops->close(writer);
    close_log(&test);
}

static open_log_fn embedded = open_embedded;
static open_log_fn memory = open_memory;

#define ON(test, log)                                                                              \
    {                                                                                              \
#test " on " #log, test, NULL, NULL, &(log)                                                \
    }
#define ON_BOTH(test) ON(test, embedded), ON(test, memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_random_history),      ON_BOTH(test_end_and_beyond),
        ON_BOTH(test_range_lost),          ON_BOTH(test_sources_take_turns),
        ON_BOTH(test_batch_bytes),         ON_BOTH(test_wake),
        ON_BOTH(test_follow_thread),       ON(test_bell, embedded),
        ON(test_only_reading, embedded),   ON_BOTH(test_topics),
        ON_BOTH(test_choice_of_partition),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
