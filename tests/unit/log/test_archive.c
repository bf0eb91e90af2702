/* Goal: an archive gives back exactly the records and holes that went in, or says that it cannot: after
 * kills, torn ends, flipped bits and missing files, and it goes on where it ended.
 * Method: random writers against a naive list of records; every file operation of a damage is made on
 * the files themselves. */
#include "tests/unit/log/log_test.h"

#include "log/archive_partition.h"
#include "log/segment_name.h"

#include <dirent.h>

#define RECORDS_MAX 4000
#define TOPIC       "clicks"

struct model_record {
    int64_t offset, time_ms;
    uint64_t seed; /* its bytes are a function of it */
};

struct model {
    char dir[64];
    struct prng prng;
    struct model_record records[RECORDS_MAX];
    uint32_t count;
    int64_t base, end;
};

/* ---- Records made of a seed */

static struct kappa_record make_record(const struct model_record *from, uint8_t *room)
{
    struct prng prng;
    prng_init(&prng, from->seed);
    uint32_t key = (uint32_t)prng_below(&prng, 12);
    uint32_t value = (uint32_t)prng_below(&prng, 10) == 0 ? 3000 : (uint32_t)prng_below(&prng, 90);
    uint64_t kind = prng_below(&prng, 8);
    for (uint32_t i = 0; i < key + value + 13; i++) {
        room[i] = (uint8_t)(kind < 4 ? 'a' + prng_below(&prng, 3) : prng_next(&prng));
    }
    uint8_t *headers = room + key + value;
    store_u32_le(headers, 2);
    store_u32_le(headers + 6, kind == 1 ? KAPPA_NULL_LEN : 3);
    return (struct kappa_record){
        .offset = from->offset,
        .time_ms = from->time_ms,
        .key = kind == 2 ? NULL : room,
        .key_len = kind == 2 ? KAPPA_NULL_LEN : key,
        .value = kind == 3 ? NULL : room + key,
        .value_len = kind == 3 ? KAPPA_NULL_LEN : value,
        .headers = headers,
        .headers_len = kind == 4   ? 0
                       : kind == 1 ? 10
                                   : 13,
    };
}

static void same_bytes(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
    assert_int_equal(a_len, b_len);
    assert_true((a == NULL) == (b == NULL) || a_len == 0);
    if (a_len != KAPPA_NULL_LEN && a_len > 0) {
        assert_memory_equal(a, b, a_len);
    }
}

static void same_record(const struct kappa_record *found, const struct model_record *expected)
{
    uint8_t room[4096];
    struct kappa_record made = make_record(expected, room);
    assert_int_equal(found->offset, made.offset);
    assert_int_equal(found->time_ms, made.time_ms);
    same_bytes(found->key, found->key_len, made.key, made.key_len);
    same_bytes(found->value, found->value_len, made.value, made.value_len);
    same_bytes(found->headers, found->headers_len, made.headers, made.headers_len);
}

/* ---- A partition and its model */

static void model_begin(struct model *model, const char *test)
{
    temp_dir(model->dir, sizeof model->dir);
    if (test != NULL) { /* NULL: another one, with the numbers that follow */
        prng_init(&model->prng, unit_seed(test));
    }
    model->count = 0;
    model->base = (int64_t)prng_below(&model->prng, 3) * 1000;
    model->end = model->base;
}

static void writer_open(struct model *model, struct archive_writer *writer)
{
    OK(archive_writer_open(writer, model->dir, TOPIC, 3, &test_err));
    writer->segment_bytes = 4096;
    if (writer->end < 0) {
        OK(archive_writer_begin(writer, model->base, &test_err));
    }
}

static struct archive_view view_of(const struct model *model)
{
    struct archive_view view;
    OK(archive_view_load(model->dir, TOPIC, 3, &view, &test_err));
    return view;
}

/* Random records with holes, in batches, flushed now and then. */
static void write_some(struct model *model, struct archive_writer *writer, uint32_t wanted)
{
    while (wanted > 0 && model->count < RECORDS_MAX) {
        struct kappa_record batch[20];
        uint8_t *rooms[20];
        uint32_t count = 0;
        uint32_t size = (uint32_t)prng_below(&model->prng, 20);
        for (; count < size && wanted > 0 && model->count < RECORDS_MAX; count++, wanted--) {
            struct model_record *record = &model->records[model->count++];
            model->end +=
                prng_below(&model->prng, 5) == 0 ? (int64_t)prng_below(&model->prng, 9) : 0;
            *record = (struct model_record){
                .offset = model->end++,
                .time_ms = prng_below(&model->prng, 20) == 0
                               ? KAPPA_NO_TIME
                               : model->end * 10 + (int64_t)prng_below(&model->prng, 500),
                .seed = prng_next(&model->prng)};
            rooms[count] = xmalloc(4096);
            batch[count] = make_record(record, rooms[count]);
        }
        model->end += (int64_t)prng_below(&model->prng, 3);
        OK(archive_writer_add(writer, batch, count, model->end, &test_err));
        if (prng_below(&model->prng, 3) == 0) {
            OK(archive_writer_flush(writer, &test_err));
        }
        for (uint32_t i = 0; i < count; i++) {
            free(rooms[i]);
        }
    }
}

/* The records from `offset` as far as the archive goes without a gap. Each must be the model's next;
 * *end: where it stopped; the return code: why. */
static int read_on(const struct model *model, int64_t offset, int64_t *end)
{
    struct archive_view view = view_of(model);
    struct archive_unpack unpack = {0};
    int64_t next = offset;
    uint32_t m = 0;
    int rc = 0;
    while (m < model->count && model->records[m].offset < offset) {
        m++;
    }
    for (uint32_t i; rc == 0 && (i = archive_view_find(&view, next)) != UINT32_MAX;) {
        struct archive_segment segment;
        OK(archive_segment_load(view.dir, &view.owner, view.spans[i].base, true, &segment,
                                &test_err));
        for (uint32_t k = archive_segment_find(&segment, next); k < segment.entry_count; k++) {
            struct archive_block block;
            struct kappa_record record;
            bool bad = false;
            rc = archive_segment_read(view.dir, &segment, k, &block, &unpack, &test_err);
            while (rc == 0 && archive_block_next(&unpack, &block, &record, &bad)) {
                if (record.offset >= offset) {
                    assert_true(m < model->count);
                    same_record(&record, &model->records[m++]);
                }
            }
            assert_false(rc == 0 && bad);
            if (rc != 0) {
                break;
            }
            next = block.next;
            assert_true(m == model->count || model->records[m].offset >= next);
        }
        archive_segment_free(&segment);
    }
    archive_unpack_free(&unpack);
    archive_view_free(&view);
    *end = next;
    return rc;
}

/* The model loses what the archive does not have. */
static void model_cut(struct model *model, int64_t end)
{
    assert_true(end <= model->end);
    while (model->count > 0 && model->records[model->count - 1].offset >= end) {
        model->count--;
    }
    model->end = end;
}

static void check_all(const struct model *model)
{
    int64_t end = 0;
    OK(read_on(model, model->base, &end));
    assert_int_equal(end, model->end);
}

/* ---- Tests */

static void test_random(void **state)
{
    (void)state;
    struct model *model = xcalloc(1, sizeof *model);
    for (int round = 0; round < 30; round++) {
        model_begin(model, round == 0 ? "random" : NULL);
        for (int life = 0; life < 8; life++) {
            struct archive_writer writer;
            writer_open(model, &writer);
            assert_int_equal(writer.end, model->end);
            write_some(model, &writer, (uint32_t)prng_below(&model->prng, 400));
            bool kill = prng_below(&model->prng, 2) == 0;
            if (!kill) {
                OK(archive_writer_flush(&writer, &test_err));
                OK(archive_writer_sync(&writer, &test_err));
            } else {
                model_cut(model, writer.pack.head.from);
            }
            archive_writer_close(&writer);
            check_all(model);
            if (model->end > model->base) {
                int64_t from =
                    model->base +
                    (int64_t)prng_below(&model->prng, (uint64_t)(model->end - model->base));
                int64_t end = 0;
                OK(read_on(model, from, &end));
                assert_int_equal(end, model->end);
            }
        }
        remove_tree(model->dir);
    }
    free(model);
}

static char *last_file(const struct model *model, bool any)
{
    char *dir = xasprintf("%s/" TOPIC "/3", model->dir);
    int64_t *bases = NULL;
    size_t count = 0;
    OK(segment_name_list(dir, ARCHIVE_SUFFIX, &bases, &count, &test_err));
    assert_true(count > 0);
    /* prng is not touched: a copy does */
    struct prng prng = model->prng;
    char *path =
        segment_name_path(dir, bases[any ? prng_below(&prng, count) : count - 1], ARCHIVE_SUFFIX);
    free(bases);
    free(dir);
    return path;
}

static void fill_partition(struct model *model, const char *test, uint32_t records)
{
    struct archive_writer writer;
    model_begin(model, test);
    writer_open(model, &writer);
    write_some(model, &writer, records);
    OK(archive_writer_flush(&writer, &test_err));
    archive_writer_close(&writer);
}

/* Cut at every byte of the last file: the next writer goes on behind the last whole block. */
static void test_torn(void **state)
{
    (void)state;
    struct model *model = xcalloc(1, sizeof *model);
    fill_partition(model, "torn", 600);
    char *path = last_file(model, false);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    for (off_t size = st.st_size - 1; size >= 0; size -= 1 + (off_t)prng_below(&model->prng, 40)) {
        struct archive_writer writer;
        assert_int_equal(truncate(path, size), 0);
        OK(archive_writer_open(&writer, model->dir, TOPIC, 3, &test_err));
        model_cut(model, writer.end);
        archive_writer_close(&writer);
        check_all(model);
        assert_int_equal(stat(path, &st), 0);
        size = i64_min(size, st.st_size);
    }
    struct archive_writer writer;
    writer_open(model, &writer);
    write_some(model, &writer, 100);
    OK(archive_writer_flush(&writer, &test_err));
    archive_writer_close(&writer);
    check_all(model);
    free(path);
    remove_tree(model->dir);
    free(model);
}

/* A check of everything finds the flip, and no read gives a record that is not the model's. */
static void test_flips(void **state)
{
    (void)state;
    struct model *model = xcalloc(1, sizeof *model);
    fill_partition(model, "flips", 2000);
    for (int round = 0; round < 400; round++) {
        (void)prng_next(&model->prng);
        char *path = last_file(model, true);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        off_t at = (off_t)prng_below(&model->prng, (uint64_t)st.st_size);
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        uint8_t flipped = (uint8_t)(byte ^ (1U << prng_below(&model->prng, 8)));
        assert_int_equal(pwrite(fd, &flipped, 1, at), 1);

        int64_t end = 0;
        int rc = read_on(model, model->base, &end);
        assert_true(rc == 0 || rc == -KE_CORRUPT);
        struct archive_view view = view_of(model);
        bool found =
            view.damaged > 0 || view.count == 0 || view.spans[view.count - 1].end < model->end;
        for (uint32_t i = 0; i < view.count; i++) {
            struct archive_check check = {0};
            int64_t from;
            int64_t to;
            bool lost;
            OK(archive_view_check(&view, i, &check, &test_err));
            found = found || check.bad_blocks > 0 || check.unsealed ||
                    archive_view_gap(&view, i, &from, &to, &lost);
        }
        archive_view_free(&view);
        assert_true(found || rc != 0 || end < model->end);
        assert_true(found);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        (void)close(fd);
        free(path);
    }
    check_all(model);
    remove_tree(model->dir);
    free(model);
}

/* A file that is gone is a lost gap; filled again, everything is there. */
static void test_missing(void **state)
{
    (void)state;
    struct model *model = xcalloc(1, sizeof *model);
    fill_partition(model, "missing", 2000);
    struct archive_view view = view_of(model);
    assert_true(view.count > 4);
    uint32_t gone = 1 + (uint32_t)prng_below(&model->prng, view.count - 3);
    int64_t from = view.spans[gone].base;
    int64_t to = view.spans[gone + 1].end;
    for (uint32_t i = gone; i < gone + 2; i++) {
        char *path = segment_name_path(view.dir, view.spans[i].base, ARCHIVE_SUFFIX);
        assert_int_equal(unlink(path), 0);
        free(path);
    }
    archive_view_free(&view);
    view = view_of(model);
    int64_t gap_from;
    int64_t gap_to;
    bool lost = false;
    assert_true(archive_view_gap(&view, gone, &gap_from, &gap_to, &lost));
    assert_true(lost);
    assert_int_equal(gap_from, from);
    assert_int_equal(gap_to, to);
    int64_t end = 0;
    int64_t start = 0;
    OK(read_on(model, model->base, &end));
    assert_int_equal(end, from);
    assert_true(archive_view_tail(&view, &start, &end));
    assert_int_equal(start, to);

    struct archive_writer writer;
    OK(archive_writer_open_gap(&writer, &view, from, to, &test_err));
    for (uint32_t i = 0; i < model->count; i++) {
        uint8_t room[4096];
        struct kappa_record record = make_record(&model->records[i], room);
        if (record.offset >= from) { /* those behind the gap are not taken */
            OK(archive_writer_add(&writer, &record, 1, record.offset + 1, &test_err));
        }
    }
    OK(archive_writer_finish(&writer, &test_err));
    archive_writer_close(&writer);
    archive_view_free(&view);
    check_all(model);
    remove_tree(model->dir);
    free(model);
}

/* The log's retention was quicker: a gap that nobody lost. */
static void test_overtaken(void **state)
{
    (void)state;
    struct model *model = xcalloc(1, sizeof *model);
    fill_partition(model, "overtaken", 300);
    struct archive_writer writer;
    int64_t end = model->end;
    writer_open(model, &writer);
    OK(archive_writer_begin(&writer, end + 50, &test_err));
    struct model_record extra = {.offset = end + 50, .time_ms = 1, .seed = 7};
    uint8_t room[4096];
    struct kappa_record record = make_record(&extra, room);
    OK(archive_writer_add(&writer, &record, 1, end + 51, &test_err));
    OK(archive_writer_flush(&writer, &test_err));
    archive_writer_close(&writer);
    struct archive_view view = view_of(model);
    int64_t from;
    int64_t to;
    bool lost = true;
    assert_true(archive_view_gap(&view, view.count - 1, &from, &to, &lost));
    assert_false(lost);
    assert_int_equal(from, end);
    assert_int_equal(to, end + 50);
    archive_view_free(&view);
    remove_tree(model->dir);
    free(model);
}

static void test_times(void **state)
{
    (void)state;
    struct model *model = xcalloc(1, sizeof *model);
    fill_partition(model, "times", 1500);
    struct archive_view view = view_of(model);
    for (int round = 0; round < 200; round++) {
        int64_t from =
            model->base + (int64_t)prng_below(&model->prng, (uint64_t)(model->end - model->base));
        int64_t time_ms = (int64_t)prng_below(&model->prng, (uint64_t)model->end * 10 + 900);
        int64_t expected = -1;
        for (uint32_t i = 0; expected < 0 && i < model->count; i++) {
            const struct model_record *record = &model->records[i];
            if (record->offset >= from && record->time_ms != KAPPA_NO_TIME &&
                record->time_ms >= time_ms) {
                expected = record->offset;
            }
        }
        int64_t found = 0;
        OK(archive_view_time(&view, from, time_ms, &found, &test_err));
        assert_int_equal(found, expected);
    }
    archive_view_free(&view);
    remove_tree(model->dir);
    free(model);
}

static void test_retention(void **state)
{
    (void)state;
    struct model *model = xcalloc(1, sizeof *model);
    fill_partition(model, "retention", 2000);
    struct archive_view view = view_of(model);
    int64_t total = 0;
    for (uint32_t i = 0; i < view.count; i++) {
        total += view.spans[i].size;
    }
    assert_int_equal(archive_view_expired(&view, &(struct archive_retain){-1, -1}, INT64_MAX), 0);
    assert_int_equal(archive_view_expired(&view, &(struct archive_retain){0, -1}, 1 << 30),
                     view.count - 1);
    uint32_t half = archive_view_expired(&view, &(struct archive_retain){-1, total / 2}, 0);
    assert_true(half > 0);
    assert_true(half < view.count - 1);
    int64_t start = view.spans[half].base;
    OK(archive_view_remove(&view, half, &test_err));
    archive_view_free(&view);
    view = view_of(model);
    int64_t from;
    int64_t to;
    bool lost;
    assert_int_equal(view.first, start);
    assert_int_equal(view.spans[0].base, start);
    assert_false(archive_view_gap(&view, 0, &from, &to, &lost)); /* nobody misses it */
    archive_view_free(&view);
    int64_t end = 0;
    OK(read_on(model, start, &end));
    assert_int_equal(end, model->end);
    remove_tree(model->dir);
    free(model);
}

/* A damaged header in the last file with sound blocks behind it is no torn end. */
static void test_middle(void **state)
{
    (void)state;
    struct model *model = xcalloc(1, sizeof *model);
    struct archive_writer writer;
    model_begin(model, "middle");
    writer_open(model, &writer);
    writer.segment_bytes = 1 << 30;
    write_some(model, &writer, 500);
    OK(archive_writer_flush(&writer, &test_err));
    int64_t at = writer.segment.entries[writer.segment.entry_count / 2].at;
    archive_writer_close(&writer);
    char *path = last_file(model, false);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\377\377", 2, at + 20), 2);
    (void)close(fd);
    assert_int_equal(archive_writer_open(&writer, model->dir, TOPIC, 3, &test_err), -KE_CORRUPT);
    free(path);
    remove_tree(model->dir);
    free(model);
}

/* A file in the folder of another partition is refused. */
static void test_owner(void **state)
{
    (void)state;
    struct model *model = xcalloc(1, sizeof *model);
    fill_partition(model, "owner", 200);
    char *from = xasprintf("%s/" TOPIC "/3", model->dir);
    char *to = xasprintf("%s/" TOPIC "/4", model->dir);
    assert_int_equal(rename(from, to), 0);
    struct archive_view view;
    OK(archive_view_load(model->dir, TOPIC, 4, &view, &test_err));
    assert_int_equal(view.count, 0);
    assert_true(view.damaged > 0);
    archive_view_free(&view);
    free(from);
    free(to);
    remove_tree(model->dir);
    free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),    cmocka_unit_test(test_torn),
        cmocka_unit_test(test_flips),     cmocka_unit_test(test_missing),
        cmocka_unit_test(test_overtaken), cmocka_unit_test(test_times),
        cmocka_unit_test(test_retention), cmocka_unit_test(test_middle),
        cmocka_unit_test(test_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
