/* Goal: a file is known again only while nothing about it has changed, and only by its owner. Method:
 * made-up answers of stat, each differing in one member. */
#include "log/archive_known.h"

#include <time.h>

#include "tests/unit/unit.h"

static const struct archive_owner owner = {.topic_crc = 7, .partition = 3};

static struct stat file_changed(int64_t seconds_ago)
{
    struct stat file = {.st_dev = 5, .st_ino = 1234, .st_size = 4096};
    (void)clock_gettime(CLOCK_REALTIME, &file.st_ctim);
    file.st_ctim.tv_sec -= seconds_ago;
    file.st_mtim = file.st_ctim;
    return file;
}

static bool known(const struct stat *file)
{
    struct archive_segment out;
    return archive_known_get(file, &owner, 100, &out);
}

static void test_known(void **state)
{
    (void)state;
    struct archive_segment segment = {.base = 100, .end = 200, .records = 42, .sealed = true};
    struct archive_segment out;
    struct stat file = file_changed(0);
    assert_false(known(&file));
    archive_known_put(&file, &owner, &segment); /* it may change again within the same tick */
    assert_false(known(&file));
    file = file_changed(60);
    archive_known_put(&file, &owner, &segment);
    assert_true(archive_known_get(&file, &owner, 100, &out));
    assert_int_equal(out.end, 200);
    assert_int_equal(out.records, 42);

    struct stat others[] = {file, file, file, file, file, file, file};
    others[0].st_dev++;
    others[1].st_ino++;
    others[2].st_size++;
    others[3].st_mtim.tv_nsec++;
    others[4].st_mtim.tv_sec++;
    others[5].st_ctim.tv_nsec++;
    others[6].st_ctim.tv_sec++;
    for (size_t i = 0; i < array_len(others); i++) {
        assert_false(known(&others[i]));
    }
    const struct archive_owner moved = {.topic_crc = 8, .partition = 3};
    const struct archive_owner other = {.topic_crc = 7, .partition = 4};
    assert_false(archive_known_get(&file, &moved, 100, &out));
    assert_false(archive_known_get(&file, &other, 100, &out));
    assert_false(archive_known_get(&file, &owner, 101, &out));
    assert_true(known(&file));

    segment.end = 300; /* the file was written anew */
    others[2] = file;
    others[2].st_size = 8192;
    archive_known_put(&others[2], &owner, &segment);
    assert_false(known(&file));
    assert_true(archive_known_get(&others[2], &owner, 100, &out));
    assert_int_equal(out.end, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
