/* Goal: several processes share an embedded log: what was acknowledged is never lost, offsets have
 * no gap and no record appears twice, whoever is killed at whatever moment; a reader in another
 * process follows; a full disk publishes nothing by halves.
 * Method: children that append and report what was acknowledged through shared memory, kill -9 at
 * random moments, then a recount. The full disk is a small tmpfs in a namespace of its own. */
#include "tests/unit/log/log_test.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define WRITERS 3

/* Shared between the test and its children. */
struct shared {
    _Atomic uint64_t
        appended[WRITERS]; /* numbers begun: the next life of the writer goes on here */
    _Atomic uint64_t acknowledged[WRITERS];
};

static void *share(size_t size)
{
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    return map;
}

/* A child that writes for ever must not outlive a test that failed. */
static pid_t start_child(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)) {
        _exit(1);
    }
    return pid;
}

static void child_check(bool good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "child: %s: %s\n", what, test_err.text);
        _exit(1);
    }
}

/* Appends "WRITER NUMBER" for ever, in batches of random size, until it is killed. */
static _Noreturn void writer_child(const char *dir, uint32_t id, struct shared *shared,
                                   uint64_t seed)
{
    struct prng prng;
    prng_init(&prng, seed);
    struct log *log = NULL;
    struct log_writer *writer = NULL;
    child_check(log_open_embedded(dir, &log, &test_err) == 0, "open");
    child_check(log->ops->writer_open(log, "t", &writer, &test_err) == 0, "writer");
    for (;;) {
        uint64_t count = 1 + prng_below(&prng, 40);
        uint64_t last = 0;
        for (uint64_t i = 0; i < count; i++) {
            char value[64];
            last = atomic_fetch_add(&shared->appended[id], 1) + 1;
            (void)snprintf(value, sizeof value, "%u %" PRIu64, id, last);
            struct kappa_record record = text_record(NULL, value, 1);
            child_check(writer->ops->append(writer, 0, &record, &test_err) == 0, "append");
        }
        bool sync = prng_below(&prng, 10) == 0;
        child_check(writer->ops->flush(writer, sync, &test_err) == 0, "flush");
        atomic_store(&shared->acknowledged[id], last);
    }
}

static pid_t start_writer(const char *dir, uint32_t id, struct shared *shared, uint64_t seed)
{
    pid_t pid = start_child();
    if (pid == 0) {
        writer_child(dir, id, shared, seed);
    }
    return pid;
}

static void kill_child(pid_t pid)
{
    int status = 0;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status)); /* it had not given up by itself */
}

/* Every record: the next offset, and numbers of each writer ascending. */
struct recount {
    int64_t next;
    uint64_t last[WRITERS];
    uint64_t seen[WRITERS];
    uint32_t gaps[WRITERS]; /* in the writer's numbers */
};

static void count_batch(struct recount *recount, const struct log_batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct kappa_record *record = &batch->records[i];
        char text[64] = {0};
        char *rest = NULL;
        assert_int_equal(record->offset, recount->next++);
        assert_true(record->value_len < sizeof text);
        memcpy(text, record->value, record->value_len);
        unsigned long id = strtoul(text, &rest, 10);
        uint64_t number = strtoull(rest, NULL, 10);
        assert_true(id < WRITERS);
        assert_true(number > recount->last[id]);
        recount->gaps[id] += number > recount->last[id] + 1 ? 1 : 0;
        recount->last[id] = number;
        recount->seen[id]++;
    }
}

/* Many lives of several writers. What a life had begun but not acknowledged when it was killed may be
 * missing: one gap in the writer's numbers for each life, and the number acknowledged last in each
 * life must be met. */
static void test_killed_writers(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("killed writers"));
    struct test_log test = open_embedded();
    struct shared *shared = share(sizeof *shared);
    pid_t pids[WRITERS];
    uint64_t acknowledged[WRITERS][64] = {0};
    make_topic(&test, "t", 1, 3000);
    for (uint32_t i = 0; i < WRITERS; i++) {
        pids[i] = start_writer(test.dir, i, shared, prng_next(&prng));
    }
    struct log_reader *reader = open_reader(&test, "t", 0, 0);
    struct recount live = {0};
    const int kills = 60;
    for (int round = 0; round < kills; round++) {
        int64_t pause_us = (int64_t)prng_below(&prng, 20000);
        struct log_batch batch;
        OK(reader->ops->next(reader, 1000, 1 + (uint32_t)prng_below(&prng, 4000), &batch,
                             &test_err));
        if (!batch.none) {
            count_batch(&live, &batch);
        }
        (void)usleep((useconds_t)pause_us);
        uint32_t id = (uint32_t)round % WRITERS;
        kill_child(pids[id]);
        acknowledged[id][round / WRITERS] = atomic_load(&shared->acknowledged[id]);
        if (round < kills - WRITERS) {
            pids[id] = start_writer(test.dir, id, shared, prng_next(&prng));
        }
    }
    struct recount recount = {0};
    uint32_t found[WRITERS] = {0}; /* acknowledged marks that were met */
    struct log_reader *again = open_reader(&test, "t", 0, 0);
    for (;;) {
        struct log_batch batch;
        OK(again->ops->next(again, 0, 1, &batch, &test_err));
        if (batch.none) {
            break;
        }
        count_batch(&recount, &batch);
        for (uint32_t id = 0; id < WRITERS; id++) {
            while (found[id] < (uint32_t)kills / WRITERS &&
                   acknowledged[id][found[id]] <= recount.last[id]) {
                uint64_t mark = acknowledged[id][found[id]++];
                assert_true(mark == recount.last[id] || mark == 0);
            }
        }
    }
    for (uint32_t id = 0; id < WRITERS; id++) {
        assert_int_equal(found[id], kills / WRITERS);
        assert_true(recount.seen[id] <= atomic_load(&shared->appended[id]));
        assert_true(recount.seen[id] > 0);
        assert_true(recount.gaps[id] <= (uint32_t)kills / WRITERS);
    }
    int64_t start;
    int64_t end;
    OK(test.log->ops->offsets(test.log, "t", 0, &start, &end, &test_err));
    assert_int_equal(end, recount.next);
    again->ops->close(again);
    reader->ops->close(reader);
    (void)munmap(shared, sizeof *shared);
    close_log(&test);
}

/* One life of one writer: all numbers up to the acknowledged one, without a gap. */
static void test_killed_once(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("killed once"));
    for (int round = 0; round < 25; round++) {
        struct test_log test = open_embedded();
        struct shared *shared = share(sizeof *shared);
        make_topic(&test, "t", 1, 200 + (int64_t)prng_below(&prng, 3000));
        pid_t pid = start_writer(test.dir, 0, shared, prng_next(&prng));
        (void)usleep((useconds_t)prng_below(&prng, 15000));
        kill_child(pid);
        int64_t acknowledged = (int64_t)atomic_load(&shared->acknowledged[0]);
        struct log_reader *reader = open_reader(&test, "t", 0, 0);
        struct recount recount = {0};
        struct log_batch batch = {0};
        while (!batch.none) {
            OK(reader->ops->next(reader, 0, 1000, &batch, &test_err));
            count_batch(&recount, &batch);
            assert_int_equal(recount.last[0], recount.next); /* no number is missing */
        }
        assert_true(recount.next >= acknowledged);
        assert_true(recount.next <= (int64_t)atomic_load(&shared->appended[0]));
        reader->ops->close(reader);
        (void)munmap(shared, sizeof *shared);
        close_log(&test);
    }
}

/* ---- Following ---- */

static _Noreturn void reader_child(const char *dir, int64_t count)
{
    struct log *log = NULL;
    struct log_reader *reader = NULL;
    struct log_batch batch;
    child_check(log_open_embedded(dir, &log, &test_err) == 0, "open");
    child_check(log->ops->reader_open(log, "child", &reader, &test_err) == 0, "reader");
    child_check(reader->ops->add(reader, 0, "t", 0, 0, &test_err) == 0, "add");
    for (int64_t next = 0; next < count;) {
        child_check(reader->ops->next(reader, 20000, 100, &batch, &test_err) == 0, "next");
        child_check(!batch.none, "nothing came");
        for (uint32_t i = 0; i < batch.count; i++) {
            child_check(batch.records[i].offset == next++, "offset");
        }
    }
    reader->ops->close(reader);
    log->ops->close(log);
    _exit(0);
}

static void test_follow_process(void **state)
{
    (void)state;
    struct test_log test = open_embedded();
    make_topic(&test, "t", 1, 2000);
    pid_t pid = start_child();
    if (pid == 0) {
        reader_child(test.dir, 500);
    }
    for (int64_t i = 0; i < 500; i += 5) {
        append_numbers(&test, "t", 0, i, 5);
        (void)usleep(i % 50 == 0 ? 5000 : 0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close_log(&test);
}

/* ---- A full disk ---- */

#define SKIPPED 77

static void enter_small_disk(const char *dir)
{
    if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("small", dir, "tmpfs", 0, "size=512k") != 0) {
        _exit(SKIPPED);
    }
}

static void fill_disk(const char *path)
{
    char block[4096] = {1};
    int fd = open(path, O_WRONLY | O_CREAT, 0666);
    child_check(fd >= 0, "filler");
    while (write(fd, block, sizeof block) > 0) {
    }
    (void)close(fd);
}

static int append_until_full(struct log_writer *writer, int64_t *taken)
{
    for (;;) {
        char value[32];
        (void)snprintf(value, sizeof value, "value %" PRId64, *taken);
        struct kappa_record record = text_record("k", value, *taken);
        int rc = writer->ops->append(writer, 0, &record, &test_err);
        if (rc != 0) {
            return rc;
        }
        ++*taken;
        rc = *taken % 10 == 0 ? writer->ops->flush(writer, false, &test_err) : 0;
        if (rc != 0) {
            return rc;
        }
    }
}

static _Noreturn void full_disk_child(const char *dir, int64_t segment_bytes)
{
    enter_small_disk(dir);
    struct test_log test = {0};
    int64_t taken = 0;
    int64_t start;
    int64_t end;
    int64_t read_to;
    char *filler = xasprintf("%s/filler", dir);
    (void)snprintf(test.dir, sizeof test.dir, "%s", dir);
    child_check(log_open_embedded(dir, &test.log, &test_err) == 0, "open");
    make_topic(&test, "t", 1, segment_bytes);
    struct log_writer *writer = open_writer(&test, "t");
    append_numbers(&test, "t", 0, 0, 3);
    taken = 3;
    for (int round = 0; round < 3; round++) {
        fill_disk(filler);
        int rc = append_until_full(writer, &taken);
        child_check(rc == -KE_DISK_FULL, "not DISK_FULL");
        child_check(writer->ops->flush(writer, false, &test_err) == -KE_DISK_FULL, "still full");
        child_check(read_numbers(&test, "t", 0, 0, &read_to) == 0, "read while full");
        child_check(test.log->ops->offsets(test.log, "t", 0, &start, &end, &test_err) == 0, "ends");
        child_check(read_to == end, "all that is published is readable");
        child_check(end < taken, "something waits");
        child_check(unlink(filler) == 0, "unlink");
        child_check(writer->ops->flush(writer, true, &test_err) == 0, "space returned");
        child_check(read_numbers(&test, "t", 0, 0, &read_to) == 0, "read");
        child_check(read_to == taken, "each record once");
    }
    writer->ops->close(writer);
    test.log->ops->close(test.log);
    free(filler);
    _exit(0);
}

static void test_full_disk(void **state)
{
    (void)state;
    static const int64_t segment_bytes[] = {700, 20000, 0};
    for (size_t i = 0; i < array_len(segment_bytes); i++) {
        char dir[64];
        int status = -1;
        temp_dir(dir, sizeof dir);
        pid_t pid = start_child();
        if (pid == 0) {
            full_disk_child(dir, segment_bytes[i]);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        remove_tree(dir);
        if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
            (void)printf("full disk: skipped, no namespace of its own may be made here\n");
            skip();
        }
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_once),
        cmocka_unit_test(test_killed_writers),
        cmocka_unit_test(test_follow_process),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests_name("processes", tests, NULL, NULL);
}
