/* Goal: the embedded log after crashes and damage: a torn tail is cut off, what was synced and is
 * damaged is CORRUPT with file, byte and offset, leftovers of killed writers do no harm, retention
 * takes whole segments by its rule.
 * Method: files are changed by hand: cut at every byte of the last record, every byte of a record
 * flipped, the head removed or given another boot id. Record N holds "value N", so every reading is
 * a recount. */
#include "tests/unit/log/log_test.h"

#include "log/segment.h"
#include "log/segment_name.h"
#include "log/segment_record.h"

#define HEAD_BOOT_AT   16 /* bytes of the head, see log/head.h */
#define HEAD_SYNCED_AT 72

static void patch(const char *path, int64_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    (void)close(fd);
}

static int64_t file_size(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static char *partition_file(const struct test_log *test, const char *name)
{
    return xasprintf("%s/t/0/%s", test->dir, name);
}

/* The machine was started again; records below `synced` had reached the disk. */
static void crash_machine(const struct test_log *test, int64_t synced)
{
    char *head = partition_file(test, "head");
    patch(head, HEAD_BOOT_AT, "another", 7);
    patch(head, HEAD_SYNCED_AT, &synced, sizeof synced);
    free(head);
}

static void remove_head(const struct test_log *test)
{
    char *head = partition_file(test, "head");
    assert_int_equal(unlink(head), 0);
    free(head);
}

static int64_t *list_segments(const struct test_log *test, size_t *count)
{
    int64_t *bases = NULL;
    char *dir = partition_file(test, "");
    OK(segment_name_list(dir, SEGMENT_SUFFIX, &bases, count, &test_err));
    free(dir);
    return bases;
}

static char *segment_file(const struct test_log *test, int64_t base)
{
    char *dir = partition_file(test, "");
    dir[strlen(dir) - 1] = '\0';
    char *path = segment_name_path(dir, base, SEGMENT_SUFFIX);
    free(dir);
    return path;
}

static char *last_segment(const struct test_log *test, int64_t *base)
{
    size_t count = 0;
    int64_t *bases = list_segments(test, &count);
    assert_true(count > 0);
    *base = bases[count - 1];
    free(bases);
    return segment_file(test, *base);
}

/* Where record `offset` begins and ends in the file. */
static void find_record(const char *path, int64_t base, int64_t offset, int64_t *from, int64_t *to)
{
    int64_t size = file_size(path);
    uint8_t *bytes = xmalloc((size_t)size);
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, bytes, (size_t)size, 0), size);
    (void)close(fd);
    size_t at = SEGMENT_HEADER_BYTES;
    for (int64_t i = base; i < offset; i++) {
        at += segment_record_size(bytes, at, (size_t)size);
    }
    *from = (int64_t)at;
    *to = (int64_t)(at + segment_record_size(bytes, at, (size_t)size));
    assert_true(*to > *from);
    free(bytes);
}

static struct test_log with_records(int64_t count, int64_t segment_bytes)
{
    struct test_log test = open_embedded();
    make_topic(&test, "t", 1, segment_bytes);
    append_numbers(&test, "t", 0, 0, count);
    return test;
}

static void expect_numbers(struct test_log *test, int64_t count)
{
    int64_t end;
    OK(read_numbers(test, "t", 0, 0, &end));
    assert_int_equal(end, count);
}

/* ---- Torn tails ---- */

enum crash { HEAD_OLD, HEAD_LOST };

static void cut_at(int64_t cut_back, bool zeros_behind, enum crash crash)
{
    struct test_log test = with_records(20, 20000);
    int64_t base;
    int64_t from;
    int64_t to;
    char *path = last_segment(&test, &base);
    find_record(path, base, 19, &from, &to);
    int64_t size = file_size(path);
    bool whole = cut_back == 0;
    assert_true(to - cut_back >= from);
    assert_int_equal(truncate(path, to - cut_back), 0);
    if (zeros_behind) {
        assert_int_equal(truncate(path, size), 0);
    }
    if (crash == HEAD_OLD) {
        crash_machine(&test, 19);
    } else {
        remove_head(&test);
    }
    int64_t left = whole ? 20 : 19;
    int64_t end;
    assert_int_equal(read_numbers(&test, "t", 0, 20, &end), whole ? 0 : -KE_TOPIC_CHANGED);
    expect_numbers(&test, left);
    append_numbers(&test, "t", 0, left, 5);
    expect_numbers(&test, left + 5);
    remove_head(&test); /* what was cut off does not come back */
    expect_numbers(&test, left + 5);
    free(path);
    close_log(&test);
}

static void test_torn_tail(void **state)
{
    (void)state;
    int64_t record = SEGMENT_RECORD_FIXED + 1 + (int64_t)strlen("value 19");
    for (int64_t back = 0; back <= record; back++) {
        cut_at(back, false, HEAD_OLD);
        cut_at(back, true, HEAD_OLD);
        cut_at(back, false, HEAD_LOST);
        cut_at(back, true, HEAD_LOST);
    }
}

/* Pages reach the disk in any order: a hole in front of sound records, none of them synced. */
static void test_unsynced_hole(void **state)
{
    (void)state;
    struct test_log test = with_records(20, 20000);
    int64_t base;
    int64_t from;
    int64_t to;
    char *path = last_segment(&test, &base);
    uint8_t zeros[64] = {0};
    find_record(path, base, 15, &from, &to);
    patch(path, from, zeros, (size_t)(to - from));
    crash_machine(&test, 12);
    expect_numbers(&test, 15);
    append_numbers(&test, "t", 0, 15, 1); /* as long as the one that was there */
    expect_numbers(&test, 16);
    remove_head(&test); /* what was cut off does not come back */
    expect_numbers(&test, 16);
    append_numbers(&test, "t", 0, 16, 3);
    expect_numbers(&test, 19);
    free(path);
    close_log(&test);
}

/* ---- Damage ---- */

static void expect_corrupt(struct test_log *test, const char *path, int64_t offset, int64_t read_to)
{
    int64_t end;
    char text[64];
    assert_int_equal(read_numbers(test, "t", 0, 0, &end), -KE_CORRUPT);
    assert_int_equal(end, read_to);
    (void)snprintf(text, sizeof text, "offset %" PRId64, offset);
    assert_non_null(strstr(test_err.text, path));
    assert_non_null(strstr(test_err.text, "byte "));
    assert_non_null(strstr(test_err.text, text));
}

/* Every byte of record 7: the log is running, the machine was restarted, the head is lost. */
static void test_flipped_byte(void **state)
{
    (void)state;
    struct test_log test = with_records(20, 20000);
    int64_t base;
    int64_t from;
    int64_t to;
    char *path = last_segment(&test, &base);
    find_record(path, base, 7, &from, &to);
    for (int64_t at = from; at < to; at++) {
        flip(path, at, 0x10);
        expect_corrupt(&test, path, 7, 7);
        flip(path, at, 0x10);
    }
    expect_numbers(&test, 20);
    flip(path, to - 1, 0x10);
    int64_t found;
    assert_int_equal(test.log->ops->offset_at_time(test.log, "t", 0, 10, &found, &test_err),
                     -KE_CORRUPT);
    crash_machine(&test, 20);
    expect_corrupt(&test, path, 7, 0);
    remove_head(&test);
    expect_corrupt(&test, path, 7, 0);
    flip(path, to - 1, 0x10);
    expect_numbers(&test, 20);
    free(path);
    close_log(&test);
}

/* Random flips anywhere in the records, in many segments: either the flip is seen, or it hit bytes
 * that hold nothing; never a wrong record. */
static void test_random_flips(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("flips"));
    struct test_log test = with_records(60, 400);
    for (int round = 0; round < 300; round++) {
        size_t count = 0;
        int64_t end;
        int64_t *bases = list_segments(&test, &count);
        char *path = segment_file(&test, bases[prng_below(&prng, count)]);
        int64_t at = (int64_t)prng_below(&prng, (uint64_t)file_size(path));
        flip(path, at, 0x10);
        int rc = read_numbers(&test, "t", 0, 0, &end); /* compares each value */
        assert_true(rc == -KE_CORRUPT || (rc == 0 && end == 60));
        flip(path, at, 0x10);
        free(path);
        free(bases);
    }
    expect_numbers(&test, 60);
    close_log(&test);
}

static void test_missing_and_short_files(void **state)
{
    (void)state;
    struct test_log test = with_records(60, 400);
    size_t count = 0;
    int64_t end;
    int64_t *bases = list_segments(&test, &count);
    assert_true(count > 4);
    char *path = segment_file(&test, bases[2]);
    char *aside = partition_file(&test, "aside");
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(read_numbers(&test, "t", 0, 0, &end), -KE_CORRUPT);
    assert_int_equal(end, bases[2]);
    remove_head(&test);
    assert_int_equal(read_numbers(&test, "t", 0, 0, &end), -KE_CORRUPT);
    assert_non_null(strstr(test_err.text, "missing"));
    assert_int_equal(rename(aside, path), 0);
    expect_numbers(&test, 60);

    int64_t size = file_size(path);
    for (int64_t cut = 0; cut < size - SEGMENT_PAD_BYTES; cut += 97) {
        assert_int_equal(rename(path, aside), 0);
        int in = open(aside, O_RDONLY);
        int out = open(path, O_RDWR | O_CREAT, 0666);
        char bytes[8192];
        ssize_t got = pread(in, bytes, (size_t)cut, 0);
        assert_int_equal(write(out, bytes, (size_t)got), got);
        (void)close(in);
        (void)close(out);
        assert_int_equal(read_numbers(&test, "t", 0, 0, &end), -KE_CORRUPT);
        assert_int_equal(end, bases[2]);
        assert_int_equal(rename(aside, path), 0);
    }
    expect_numbers(&test, 60);
    char *last = segment_file(&test, bases[count - 1]);
    assert_int_equal(truncate(last, SEGMENT_HEADER_BYTES), 0);
    assert_int_equal(read_numbers(&test, "t", 0, 0, &end), -KE_CORRUPT);
    assert_int_equal(end, bases[count - 1]);
    free(last);
    free(aside);
    free(path);
    free(bases);
    close_log(&test);
}

static void test_damaged_head(void **state)
{
    (void)state;
    struct test_log test = with_records(60, 400);
    char *head = partition_file(&test, "head");
    patch(head, 0, "garbage!", 8);
    expect_numbers(&test, 60);
    assert_int_equal(truncate(head, 100), 0);
    expect_numbers(&test, 60);
    crash_machine(&test, 60);
    expect_numbers(&test, 60);
    append_numbers(&test, "t", 0, 60, 60);
    expect_numbers(&test, 120);
    free(head);
    close_log(&test);
}

/* ---- Killed writers ---- */

/* Killed between writing and publishing: bytes behind the end, also sound ones. */
static void test_unpublished_bytes(void **state)
{
    (void)state;
    struct test_log test = with_records(10, 20000);
    int64_t base;
    int64_t from;
    int64_t to;
    char *path = last_segment(&test, &base);
    find_record(path, base, 9, &from, &to);
    struct buf buf = {0};
    for (int64_t i = 10; i < 14; i++) {
        struct kappa_record record = text_record("k", "unknowns", 1); /* as long as "value 10" */
        size_t at = buf.len;
        segment_record_encode(&buf, &record, 1);
        segment_record_stamp(buf.data + at, buf.len - at, i);
    }
    patch(path, to, buf.data, buf.len - 3);
    expect_numbers(&test, 10);
    append_numbers(&test, "t", 0, 10, 1);
    expect_numbers(&test, 11);
    remove_head(&test); /* recovery does not take them for records behind the new one */
    expect_numbers(&test, 11);
    append_numbers(&test, "t", 0, 11, 20);
    expect_numbers(&test, 31);
    buf_free(&buf);
    free(path);
    close_log(&test);
}

/* Killed while the next segment was made: sealed but active, the next file there or not yet. */
static void test_interrupted_roll(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        struct test_log test = with_records(10, 1000);
        int64_t base;
        int64_t from;
        int64_t to;
        char *path = last_segment(&test, &base);
        char *dir = partition_file(&test, "");
        find_record(path, base, 9, &from, &to);
        struct segment_seal seal = {10, base, 9, to};
        int fd = open(path, O_RDWR);
        OK(segment_seal(fd, base, &seal, path, &test_err));
        (void)close(fd);
        if (variant % 2 == 1) {
            OK(segment_create(dir, 10, 2000, &fd, &test_err));
            (void)close(fd);
        }
        if (variant >= 2) {
            crash_machine(&test, 10);
        }
        expect_numbers(&test, 10);
        for (int64_t i = 10; i < 60; i++) {
            append_numbers(&test, "t", 0, i, 1);
        }
        expect_numbers(&test, 60);
        remove_head(&test);
        expect_numbers(&test, 60);
        free(dir);
        free(path);
        close_log(&test);
    }
}

/* ---- Retention ---- */

static int64_t record_bytes(int64_t from, int64_t to)
{
    int64_t sum = 0;
    for (int64_t i = from; i < to; i++) {
        char value[32];
        sum += SEGMENT_RECORD_FIXED + 1 + snprintf(value, sizeof value, "value %" PRId64, i);
    }
    return sum;
}

/* Kafka's rule: from the oldest, a sealed segment goes while what stays is at least the bound, or
 * while its newest record is too old. */
static int64_t expected_start(const int64_t *bases, size_t count, int64_t end,
                              const struct log_topic_options *options, int64_t now_ms)
{
    int64_t total = record_bytes(bases[0], end) + (int64_t)count * SEGMENT_HEADER_BYTES;
    size_t i = 0;
    for (; i + 1 < count; i++) {
        int64_t size = record_bytes(bases[i], bases[i + 1]) + SEGMENT_HEADER_BYTES;
        bool large = options->retain_bytes >= 0 && total - size >= options->retain_bytes;
        bool old = options->retain_ms >= 0 && bases[i + 1] - 1 < now_ms - options->retain_ms;
        if (!large && !old) {
            break;
        }
        total -= size;
    }
    return bases[i];
}

/* A bound that some number of segments reaches exactly, or any. */
static int64_t pick_bound(const int64_t *bases, size_t count, int64_t end, struct prng *prng)
{
    size_t keep = (size_t)prng_below(prng, count) + 1;
    int64_t exact = record_bytes(bases[count - keep], end) + (int64_t)keep * SEGMENT_HEADER_BYTES;
    return exact + (int64_t)prng_below(prng, 3) - 1;
}

/* Written without bounds, so that nothing goes while writing; then topic.json gets them. */
static void test_retention(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("retention"));
    for (int round = 0; round < 100; round++) {
        int64_t end = 1 + (int64_t)prng_below(&prng, 100);
        struct test_log test = with_records(end, 100 + (int64_t)prng_below(&prng, 600));
        size_t count = 0;
        int64_t *bases = list_segments(&test, &count);
        bool by_size = prng_below(&prng, 2) == 0;
        bool by_age = !by_size || prng_below(&prng, 2) == 0;
        struct log_topic_options options = {
            .retain_bytes = by_size ? pick_bound(bases, count, end, &prng) : -1,
            .retain_ms = by_age ? (int64_t)prng_below(&prng, 120) : -1,
        };
        int64_t now_ms = (int64_t)prng_below(&prng, 200); /* record N has time N */
        char *path = xasprintf("%s/t/topic.json", test.dir);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        (void)fprintf(file,
                      "{\"format\":1,\"partitions\":1,\"retain_ms\":%" PRId64
                      ",\"retain_bytes\":%" PRId64 ",\"segment_bytes\":100,\"identity\":\"1\"}",
                      options.retain_ms, options.retain_bytes);
        (void)fclose(file);
        free(path);
        int64_t expected = expected_start(bases, count, end, &options, now_ms);
        free(bases);

        OK(test.log->ops->expire(test.log, now_ms, &test_err));
        int64_t start;
        int64_t stop;
        int64_t read_to;
        OK(test.log->ops->offsets(test.log, "t", 0, &start, &stop, &test_err));
        assert_int_equal(start, expected);
        assert_int_equal(stop, end);
        OK(read_numbers(&test, "t", 0, start, &read_to));
        assert_int_equal(read_to, end);
        bases = list_segments(&test, &count);
        assert_int_equal(bases[0], expected);
        free(bases);
        crash_machine(&test, end);
        OK(test.log->ops->offsets(test.log, "t", 0, &start, &stop, &test_err));
        assert_int_equal(start, expected);
        assert_int_equal(stop, end);
        close_log(&test);
    }
}

/* Retention runs by itself when a segment is full. */
static void test_retention_at_roll(void **state)
{
    (void)state;
    struct test_log test = open_embedded();
    struct log_topic_options options = {1, -1, 1000, 300};
    OK(test.log->ops->topic_create(test.log, "t", &options, &test_err));
    append_numbers(&test, "t", 0, 0, 2000);
    size_t count = 0;
    int64_t end;
    int64_t *bases = list_segments(&test, &count);
    assert_in_range(count, 3, 8);
    OK(read_numbers(&test, "t", 0, bases[0], &end));
    assert_int_equal(end, 2000);
    free(bases);
    close_log(&test);
}

/* ---- A topic deleted under its users ---- */

static void test_deleted_topic(void **state)
{
    (void)state;
    struct test_log test = with_records(10, 20000);
    struct log_reader *reader = open_reader(&test, "t", 0, 10);
    struct log_writer *writer = open_writer(&test, "t");
    struct kappa_record record = text_record("k", "v", 1);
    OK(writer->ops->append(writer, 0, &record, &test_err));
    uint64_t before = 0;
    uint64_t after = 0;
    OK(test.log->ops->topic_identity(test.log, "t", &before, &test_err));
    char *topic = xasprintf("%s/t", test.dir);
    remove_tree(topic);
    make_topic(&test, "t", 1, 0);
    OK(test.log->ops->topic_identity(test.log, "t", &after, &test_err));
    assert_true(before != after);
    append_numbers(&test, "t", 0, 0, 3);

    assert_int_equal(writer->ops->flush(writer, false, &test_err), -KE_TOPIC_CHANGED);
    assert_int_equal(writer->ops->flush(writer, false, &test_err), -KE_TOPIC_CHANGED);
    struct log_batch batch;
    assert_int_equal(reader->ops->next(reader, 5000, 10, &batch, &test_err), -KE_TOPIC_CHANGED);
    writer->ops->close(writer);
    reader->ops->close(reader);
    expect_numbers(&test, 3);
    free(topic);
    close_log(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torn_tail),
        cmocka_unit_test(test_unsynced_hole),
        cmocka_unit_test(test_flipped_byte),
        cmocka_unit_test(test_random_flips),
        cmocka_unit_test(test_missing_and_short_files),
        cmocka_unit_test(test_damaged_head),
        cmocka_unit_test(test_unpublished_bytes),
        cmocka_unit_test(test_interrupted_roll),
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_retention_at_roll),
        cmocka_unit_test(test_deleted_topic),
    };
    (void)setenv("KAPPA_LOG", "error", 1); /* recovery warns of every tail that it cuts off */
    return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
