/* Goal: a repair brings back everything that was archived while the log has it, whatever byte is wrong;
 * and it changes no byte of an archive whose log is another, or does not have what is damaged.
 * Method: an archive of an embedded log in many small files, a wrong bit anywhere, and a log that is
 * the same, another one, shortened, or compacted. */
#include "tests/unit/log/log_test.h"

#include "log/archive_mend.h"
#include "log/archive_patch.h"
#include "log/archive_topic.h"
#include "log/segment_name.h"

#include <unistd.h>

#define TOPIC   "clicks"
#define RECORDS 600
#define EACH    23 /* records of a block */

struct place {
    char archive[64];
    struct test_log base;
    struct log *log; /* the base with its archive, owns it */
};

static void place_open(struct place *place, struct test_log base)
{
    temp_dir(place->archive, sizeof place->archive);
    place->base = base;
    place->log = log_open_archived(place->archive, base.log);
}

static void place_close(struct place *place)
{
    place->log->ops->close(place->log);
    remove_tree(place->archive);
    if (place->base.dir[0] != '\0') {
        remove_tree(place->base.dir);
    }
}

/* Blocks of EACH records, in files of segment_bytes; the last is not sealed. */
static void archive_all(const struct place *place, int64_t segment_bytes)
{
    struct archive_writer writer;
    struct log_reader *reader = NULL;
    struct log *log = place->base.log;
    OK(archive_writer_open(&writer, place->archive, TOPIC, 0, &test_err));
    writer.segment_bytes = segment_bytes;
    if (writer.end < 0) {
        OK(archive_writer_begin(&writer, 0, &test_err));
    }
    OK(log->ops->reader_open(log, "test", &reader, &test_err));
    OK(reader->ops->add(reader, 0, TOPIC, 0, writer.end, &test_err));
    while (writer.end < RECORDS) {
        struct log_batch batch;
        OK(reader->ops->next(reader, 0, EACH, &batch, &test_err));
        assert_false(batch.none);
        OK(archive_writer_add(&writer, batch.records, batch.count, batch.next_offset, &test_err));
        OK(archive_writer_flush(&writer, &test_err));
    }
    reader->ops->close(reader);
    archive_writer_close(&writer);
}

static struct archive_view view_of(const struct place *place)
{
    struct archive_view view;
    OK(archive_view_load(place->archive, TOPIC, 0, &view, &test_err));
    return view;
}

/* RECORDS of them in the log, and its archive. */
static void place_fill(struct place *place, struct test_log base, int64_t segment_bytes)
{
    place_open(place, base);
    make_topic(&place->base, TOPIC, 1, 0);
    append_numbers(&place->base, TOPIC, 0, 0, RECORDS);
    archive_all(place, segment_bytes);
}

/* Of span i, its block number k: a byte of the block. */
static void flip_block(const struct place *place, uint32_t i, uint32_t k, off_t byte)
{
    struct archive_view view = view_of(place);
    struct archive_segment segment;
    OK(archive_segment_load(view.dir, &view.owner, view.spans[i].base, true, &segment, &test_err));
    assert_true(k < segment.entry_count);
    char *path = segment_name_path(view.dir, segment.base, ARCHIVE_SUFFIX);
    flip(path, segment.entries[k].at + byte, 1);
    free(path);
    archive_segment_free(&segment);
    archive_view_free(&view);
}

static size_t problems_of(const struct place *place, int64_t *records)
{
    json_t *problems = json_array();
    int64_t blocks = 0;
    *records = 0;
    OK(archive_mend_check(place->archive, TOPIC, 0, problems, &blocks, records, &test_err));
    size_t count = json_array_size(problems);
    json_decref(problems);
    return count;
}

static int repair(const struct place *place, bool same, int64_t *fetched)
{
    *fetched = 0;
    int rc = archive_mend_repair(place->log, place->archive, TOPIC, 0, same, fetched, &test_err);
    return rc == 0
               ? archive_mend_fill(place->log, place->archive, TOPIC, 0, false, fetched, &test_err)
               : rc;
}

/* The archive alone gives every record up to `end`. */
static void check_records(const struct place *place, int64_t end)
{
    struct test_log alone = {.log = log_open_archived(place->archive, NULL)};
    struct archive_topic settings = {.partitions = 1, .retain = {-1, -1}};
    OK(archive_topic_store(place->archive, TOPIC, &settings, &test_err));
    int64_t found = 0;
    OK(read_numbers(&alone, TOPIC, 0, 0, &found));
    assert_int_equal(found, end);
    alone.log->ops->close(alone.log);
}

/* Names and bytes of all files of the partition. */
static uint64_t bytes_of(const struct place *place)
{
    char *dir = xasprintf("%s/" TOPIC "/0", place->archive);
    int64_t *bases = NULL;
    size_t count = 0;
    uint64_t sum = 14695981039346656037U;
    OK(segment_name_list(dir, ARCHIVE_SUFFIX, &bases, &count, &test_err));
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        char *path = segment_name_path(dir, bases[i], ARCHIVE_SUFFIX);
        assert_int_equal(stat(path, &st), 0);
        uint8_t *bytes = xmalloc((size_t)st.st_size);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
        for (off_t k = 0; k < st.st_size; k++) {
            sum = (sum ^ bytes[k]) * 1099511628211U;
        }
        sum = (sum ^ (uint64_t)bases[i]) * 1099511628211U;
        (void)close(fd);
        free(bytes);
        free(path);
    }
    free(bases);
    free(dir);
    return sum;
}

/* ---- Tests */

/* A wrong bit anywhere: everything that was archived is there again. */
static void test_any_bit(void **state)
{
    (void)state;
    struct place place;
    struct prng prng;
    prng_init(&prng, unit_seed("any_bit"));
    place_fill(&place, open_embedded(), 900);
    for (int round = 0; round < 150; round++) {
        struct archive_view view = view_of(&place);
        int64_t fetched = 0;
        int64_t records = 0;
        uint32_t i = (uint32_t)prng_below(&prng, view.count);
        char *path = segment_name_path(view.dir, view.spans[i].base, ARCHIVE_SUFFIX);
        flip(path, (off_t)prng_below(&prng, (uint64_t)view.spans[i].size),
             (uint8_t)(1U << prng_below(&prng, 8)));
        free(path);
        archive_view_free(&view);
        view = view_of(&place);
        int64_t end = view.count > 0 ? view.spans[view.count - 1].end : 0;
        archive_view_free(&view);
        bool told = problems_of(&place, &records) > 0;
        int rc = repair(&place, prng_below(&prng, 2) == 0, &fetched);
        /* A file of one block, whose header is damaged, has nothing that vouches for the log. */
        assert_int_equal(rc == -KE_REFUSED ? repair(&place, true, &fetched) : rc, 0);
        assert_int_equal(problems_of(&place, &records), 0);
        view = view_of(&place);
        assert_true(view.spans[view.count - 1].end >= (told ? RECORDS - EACH : end));
        assert_int_equal(records, view.spans[view.count - 1].end);
        archive_view_free(&view);
        archive_all(&place, 900); /* what a writer would: a torn end is read again */
        check_records(&place, RECORDS);
    }
    place_close(&place);
}

/* The last file, damaged in the middle, is whole again, and as long as it was. */
static void test_last_file(void **state)
{
    (void)state;
    static const off_t bytes[] = {2, 70}; /* of a block's header, of its records */
    for (size_t b = 0; b < 2; b++) {
        struct place place;
        int64_t fetched = 0;
        int64_t records = 0;
        place_fill(&place, open_embedded(), 1 << 20);
        append_numbers(&place.base, TOPIC, 0, RECORDS, 50);
        flip_block(&place, 0, 1, bytes[b]);
        assert_true(problems_of(&place, &records) > 0);
        assert_int_equal(repair(&place, false, &fetched), 0);
        assert_int_equal(fetched, EACH);
        assert_int_equal(problems_of(&place, &records), 0);
        assert_int_equal(records, RECORDS);
        check_records(&place, RECORDS);
        place_close(&place);
    }
}

/* Sound blocks are kept, also of a file whose header and end are damaged, and the log has little. */
static void test_file_header(void **state)
{
    (void)state;
    struct place place;
    int64_t fetched = 0;
    int64_t records = 0;
    place_fill(&place, open_memory(), 1 << 20);
    log_memory_trim(place.base.log, TOPIC, 0, RECORDS - 2 * EACH - 1);
    char *path = xasprintf("%s/" TOPIC "/0/%020d" ARCHIVE_SUFFIX, place.archive, 0);
    flip(path, 20, 1);
    assert_true(problems_of(&place, &records) > 0);
    assert_int_equal(records, 0);
    assert_int_equal(repair(&place, false, &fetched), 0);
    assert_int_equal(fetched, 0);
    assert_int_equal(problems_of(&place, &records), 0);
    assert_int_equal(records, RECORDS);
    flip(path, 20, 1); /* and when nothing shows whose records they are, they are left */
    log_memory_trim(place.base.log, TOPIC, 0, RECORDS);
    uint64_t before = bytes_of(&place);
    assert_int_equal(repair(&place, false, &fetched), 0);
    assert_true(bytes_of(&place) == before);
    assert_true(problems_of(&place, &records) > 0);
    free(path);
    check_records(&place, 0);
    place_close(&place);
}

/* The only block's header is damaged: the file's end says what it held. Fetched when the topic says that
 * it is the same. */
static void test_one_block(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        struct place place;
        int64_t fetched = 0;
        place_fill(&place, open_embedded(), 1); /* each block in a file of its own */
        flip_block(&place, 5, 0, 2);
        uint64_t before = bytes_of(&place);
        assert_int_equal(repair(&place, same == 1, &fetched), same == 1 ? 0 : -KE_REFUSED);
        if (same == 1) {
            assert_int_equal(fetched, EACH);
            check_records(&place, RECORDS);
        } else {
            assert_true(bytes_of(&place) == before);
        }
        place_close(&place);
    }
}

/* The log has removed what is damaged: the file stays as it is, which is no error. */
static void test_log_lacks(void **state)
{
    (void)state;
    struct place place;
    int64_t fetched = 0;
    int64_t records = 0;
    place_fill(&place, open_memory(), 1 << 20);
    flip_block(&place, 0, 2, 70);
    log_memory_trim(place.base.log, TOPIC, 0, 2 * EACH + 1);
    uint64_t before = bytes_of(&place);
    assert_int_equal(repair(&place, true, &fetched), 0);
    assert_int_equal(fetched, 0);
    assert_true(bytes_of(&place) == before);
    assert_int_equal(problems_of(&place, &records), 1);
    place_close(&place);
}

/* The topic was made again, and the log cannot tell: not a byte of the archive changes. */
static void test_another_topic(void **state)
{
    (void)state;

    static const struct {
        uint32_t block;
        off_t byte;
        int64_t records;
        int rc;
    } cases[] = {
        {0, 70, RECORDS, -KE_TOPIC_CHANGED}, {3, 70, RECORDS, -KE_TOPIC_CHANGED},
        {0, 2, RECORDS, -KE_TOPIC_CHANGED},  {3, 2, RECORDS, -KE_TOPIC_CHANGED},
        {0, 70, 100, -KE_TOPIC_CHANGED},
    };

    for (size_t c = 0; c < array_len(cases); c++) {
        struct place place;
        int64_t fetched = 0;
        int64_t records = 0;
        place_fill(&place, open_memory(), 1 << 20);
        struct archive_topic settings = {.partitions = 1, .retain = {-1, -1}};
        OK(archive_topic_store(place.archive, TOPIC, &settings, &test_err));
        flip_block(&place, 0, cases[c].block, cases[c].byte);
        log_memory_recreate(place.base.log, TOPIC);
        append_numbers(&place.base, TOPIC, 0, 100000, cases[c].records);
        uint64_t before = bytes_of(&place);
        assert_int_equal(repair(&place, false, &fetched), cases[c].rc);
        assert_true(bytes_of(&place) == before);
        assert_true(problems_of(&place, &records) > 0);
        place_close(&place);
    }
}

/* The log has let go of records in between: the file stays. With a log that does not say whether it
 * is compacted, only what a block's header vouches for is fetched. */
static void test_compacted(void **state)
{
    (void)state;

    static const struct {
        off_t byte;
        int64_t hole; /* no record has it */
        int rc;
    } cases[] = {{70, EACH + 3, -KE_TOPIC_CHANGED},
                 {70, 5 * EACH, 0},
                 {2, EACH + 3, -KE_REFUSED},
                 {2, 5 * EACH, -KE_REFUSED}};

    for (size_t c = 0; c < array_len(cases); c++) {
        struct place place;
        int64_t fetched = 0;
        place_fill(&place, open_memory(), 1 << 20);
        flip_block(&place, 0, 1, cases[c].byte);
        log_memory_recreate(place.base.log, TOPIC);
        append_numbers(&place.base, TOPIC, 0, 0, cases[c].hole);
        log_memory_skip_to(place.base.log, TOPIC, 0, cases[c].hole + 1);
        append_numbers(&place.base, TOPIC, 0, cases[c].hole + 1, RECORDS - cases[c].hole - 1);
        uint64_t before = bytes_of(&place);
        assert_int_equal(repair(&place, false, &fetched), cases[c].rc);
        assert_true((bytes_of(&place) == before) == (cases[c].rc != 0));
        if (cases[c].rc == 0) {
            check_records(&place, RECORDS);
        }
        place_close(&place);
    }
}

/* A topic that says who it is. */
static void test_identity(void **state)
{
    (void)state;
    struct place place;
    struct archive_topic settings = {.partitions = 1, .retain = {-1, -1}};
    bool known = false;
    place_open(&place, open_memory());
    struct log *log = place.base.log;
    make_topic(&place.base, TOPIC, 1, 0);
    OK(archive_topic_same(log, place.archive, TOPIC, &settings, &known, &test_err));
    assert_false(known);
    OK(log->ops->topic_identity(log, TOPIC, &settings.identity, &test_err));
    OK(archive_topic_same(log, place.archive, TOPIC, &settings, &known, &test_err));
    assert_true(known);
    log_memory_recreate(log, TOPIC);
    assert_int_equal(archive_topic_same(log, place.archive, TOPIC, &settings, &known, &test_err),
                     -KE_TOPIC_CHANGED);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_bit),     cmocka_unit_test(test_last_file),
        cmocka_unit_test(test_file_header), cmocka_unit_test(test_another_topic),
        cmocka_unit_test(test_one_block),   cmocka_unit_test(test_log_lacks),
        cmocka_unit_test(test_compacted),   cmocka_unit_test(test_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
