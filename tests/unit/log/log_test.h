/* What the tests of the logs share: a log in a folder of its own, records that are easy to make and
 * compare, and a reader that takes all there is. */
#ifndef KAPPA_TESTS_UNIT_LOG_LOG_TEST_H
#define KAPPA_TESTS_UNIT_LOG_LOG_TEST_H

#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/prng.h"
#include "log/log.h"
#include "log/log_memory.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Asserts success and shows the sentence otherwise. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        int ok_rc = (call);                                                                        \
        if (ok_rc != 0) {                                                                          \
            fail_msg("%s: %d %s", #call, ok_rc, test_err.text);                                    \
        }                                                                                          \
    } while (0)

static struct err test_err;

struct test_log {
    struct log *log;
    char dir[64]; /* "" for the log in memory; removed at close */
};

/* In memory where the machine has such a folder: the tests sync often. */
static inline void temp_dir(char *dir, size_t size)
{
    struct stat st;
    const char *base = getenv("TMPDIR");
    if (base == NULL || strlen(base) > 30) {
        base = stat("/dev/shm", &st) == 0 ? "/dev/shm" : "/tmp";
    }
    (void)snprintf(dir, size, "%s/kappa-log-XXXXXX", base);
    assert_non_null(mkdtemp(dir));
}

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* These bits of the byte are wrong from now on, or right again. */
static inline void flip(const char *path, int64_t at, uint8_t bits)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= bits;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static inline struct test_log open_embedded(void)
{
    struct test_log test = {0};
    temp_dir(test.dir, sizeof test.dir);
    OK(log_open_embedded(test.dir, &test.log, &test_err));
    return test;
}

static inline struct test_log open_memory(void)
{
    struct test_log test = {0};
    OK(log_open_memory(&test.log, &test_err));
    return test;
}

static inline void close_log(struct test_log *test)
{
    test->log->ops->close(test->log);
    if (test->dir[0] != '\0') {
        remove_tree(test->dir);
    }
}

static inline bool is_embedded(const struct test_log *test)
{
    return test->dir[0] != '\0';
}

static inline void make_topic(struct test_log *test, const char *name, uint32_t partitions,
                              int64_t segment_bytes)
{
    struct log_topic_options options = {partitions, -1, -1, segment_bytes};
    OK(test->log->ops->topic_create(test->log, name, &options, &test_err));
}

static inline struct log_writer *open_writer(struct test_log *test, const char *topic)
{
    struct log_writer *writer = NULL;
    OK(test->log->ops->writer_open(test->log, topic, &writer, &test_err));
    return writer;
}

static inline struct log_reader *open_reader(struct test_log *test, const char *topic,
                                             uint32_t partition, int64_t offset)
{
    struct log_reader *reader = NULL;
    OK(test->log->ops->reader_open(test->log, "test", &reader, &test_err));
    OK(reader->ops->add(reader, 0, topic, partition, offset, &test_err));
    return reader;
}

/* A record with a text value; key NULL: null. */
static inline struct kappa_record text_record(const char *key, const char *value, int64_t time_ms)
{
    return (struct kappa_record){
        .time_ms = time_ms,
        .key = (const uint8_t *)key,
        .key_len = key == NULL ? KAPPA_NULL_LEN : u32_from(strlen(key)),
        .value = (const uint8_t *)value,
        .value_len = value == NULL ? KAPPA_NULL_LEN : u32_from(strlen(value)),
    };
}

/* `count` records "value N" to one partition, N from `first`, time N, in one flush. */
static inline void append_numbers(struct test_log *test, const char *topic, uint32_t partition,
                                  int64_t first, int64_t count)
{
    struct log_writer *writer = open_writer(test, topic);
    for (int64_t i = first; i < first + count; i++) {
        char value[32];
        (void)snprintf(value, sizeof value, "value %" PRId64, i);
        struct kappa_record record = text_record("k", value, i);
        OK(writer->ops->append(writer, (int32_t)partition, &record, &test_err));
    }
    OK(writer->ops->flush(writer, false, &test_err));
    writer->ops->close(writer);
}

/* Reads from offset to the end and checks that record N is "value N"; returns the records read, or
 * the error. */
static inline int read_numbers(struct test_log *test, const char *topic, uint32_t partition,
                               int64_t offset, int64_t *end)
{
    struct log_reader *reader = NULL;
    OK(test->log->ops->reader_open(test->log, "test", &reader, &test_err));
    int rc = reader->ops->add(reader, 0, topic, partition, offset, &test_err);
    int64_t next = offset;
    while (rc == 0) {
        struct log_batch batch;
        rc = reader->ops->next(reader, 0, 7, &batch, &test_err);
        if (rc != 0 || batch.none) {
            break;
        }
        for (uint32_t i = 0; i < batch.count; i++) {
            char value[32];
            int len = snprintf(value, sizeof value, "value %" PRId64, next);
            assert_int_equal(batch.records[i].offset, next);
            assert_int_equal(batch.records[i].value_len, len);
            assert_memory_equal(batch.records[i].value, value, (size_t)len);
            next++;
        }
        assert_int_equal(batch.next_offset, next);
    }
    reader->ops->close(reader);
    *end = next;
    return rc;
}

#endif
