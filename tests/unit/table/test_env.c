/* Goal: the rules of env.h hold: one opening per process, the map moves only when nobody reads, a
 * forked child cannot use what its parent opened, and what the world does wrong comes back as a
 * sentence. Method: threads, children, and (where the machine lets us) private mounts and process
 * namespaces: a full disk is a full tmpfs, two containers are two children that are both pid 1. */
#include "table/env.h"
#include "tests/unit/table/temp.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t syncs;

/* In front of the library's: counts. */
int fdatasync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

static void test_opened_once(void **state)
{
    (void)state;
    char *dir = temp_dir();
    char *other = xasprintf("%s/../%s", dir, strrchr(dir, '/') + 1);
    struct env *a = NULL;
    struct env *b = NULL;
    assert_int_equal(env_open(dir, false, 0, &a, &fault), -KE_NOT_FOUND);
    assert_ok(env_open(dir, true, ENV_MAP_MIN, &a, &fault));
    assert_ok(env_open(other, false, 0, &b, &fault));
    assert_ptr_equal(a, b);
    env_close(a);
    MDB_txn *txn = NULL;
    assert_ok(env_read_begin(b, &txn, &fault)); /* the second opening holds it */
    env_read_end(b, txn);
    env_close(b);
    /* Another directory at the same path is another environment. */
    assert_ok(env_open(dir, false, 0, &a, &fault));
    char *command = xasprintf("rm -r '%s'", dir);
    assert_int_equal(system(command), 0);
    free(command);
    assert_int_equal(env_open(dir, false, 0, &b, &fault), -KE_NOT_FOUND);
    assert_ok(env_open(dir, true, ENV_MAP_MIN, &b, &fault));
    assert_ptr_not_equal(a, b);
    env_close(a);
    env_close(b);
    free(other);
    remove_dir(dir);
}

/* Who may read the data file may take part as a reader, which is written into the lock file. */
static void test_group_reads(void **state)
{
    (void)state;

    static const struct {
        mode_t umask;
        mode_t data;
        mode_t lock;
    } cases[] = {{022, 0640, 0660}, {027, 0640, 0660}, {077, 0600, 0600}};

    for (size_t i = 0; i < array_len(cases); i++) {
        mode_t before = umask(cases[i].umask);
        char *dir = temp_dir();
        struct env *env = NULL;
        assert_ok(env_open(dir, true, ENV_MAP_MIN, &env, &fault));
        env_close(env);
        (void)umask(before);
        const char *const names[] = {"data.mdb", "lock.mdb"};
        for (size_t n = 0; n < array_len(names); n++) {
            char *path = xasprintf("%s/%s", dir, names[n]);
            struct stat st;
            assert_int_equal(stat(path, &st), 0);
            assert_int_equal(st.st_mode & 0777, n == 0 ? cases[i].data : cases[i].lock);
            free(path);
        }
        remove_dir(dir);
    }
}

static void put_bytes(struct env *env, uint32_t key, size_t len)
{
    MDB_txn *txn = NULL;
    MDB_dbi dbi = 0;
    uint8_t *value = xcalloc(1, len);
    memset(value, (int)key, len);
    MDB_val k = {sizeof key, &key};
    MDB_val v = {len, value};
    assert_ok(env_write_begin(env, &txn, &fault));
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
    assert_ok(env_write_commit(env, txn, "test", &fault));
    free(value);
}

/* What was reserved is used before the file grows, and nothing in it changes. */
static void test_reserve(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct env *env = NULL;
    assert_ok(env_open(dir, true, 8 << 20, &env, &fault));
    put_bytes(env, 1, 100000);
    uint64_t before = env_file_bytes(env);
    uint64_t unsynced = syncs;
    assert_ok(env_reserve(env, 1 << 20, &fault));
    assert_int_equal(syncs, unsynced + 1);
    uint64_t reserved = env_file_bytes(env);
    assert_int_equal(reserved, before + (1 << 20));
    assert_ok(env_reserve(env, 1 << 20, &fault));
    assert_int_equal(env_file_bytes(env), reserved);
    for (uint32_t key = 2; key < 10; key++) {
        put_bytes(env, key, 100000);
        assert_int_equal(env_file_bytes(env), reserved);
    }
    assert_ok(env_reserve(env, 1 << 20, &fault));
    assert_true(env_file_bytes(env) > reserved);
    env_close(env);
    assert_ok(env_open(dir, true, 8 << 20, &env, &fault));
    MDB_txn *txn = NULL;
    MDB_dbi dbi = 0;
    assert_ok(env_read_begin(env, &txn, &fault));
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
    for (uint32_t key = 1; key < 10; key++) {
        MDB_val k = {sizeof key, &key};
        MDB_val v;
        assert_int_equal(mdb_get(txn, dbi, &k, &v), 0);
        assert_int_equal(v.mv_size, 100000);
        for (size_t i = 0; i < v.mv_size; i++) {
            assert_int_equal(((const uint8_t *)v.mv_data)[i], key);
        }
    }
    env_read_end(env, txn);
    env_fix_map(env);
    assert_ok(env_reserve(env, 1U << 30, &fault)); /* never beyond the map */
    assert_false(env_outgrown(env));
    uint64_t synced = syncs;
    assert_ok(env_reserve(env, 1U << 30, &fault)); /* and not for nothing */
    assert_int_equal(syncs, synced);
    env_close(env);
    remove_dir(dir);
}

static void test_empty_file(void **state)
{
    (void)state;
    char *dir = temp_dir();
    char *path = xasprintf("%s/data.mdb", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    struct env *env = NULL;
    assert_int_equal(env_open(dir, false, 0, &env, &fault), -KE_NOT_FOUND);
    assert_ok(env_open(dir, true, ENV_MAP_MIN, &env, &fault)); /* a writer goes on from there */
    env_close(env);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(write(fd, "this is no environment, it is a sentence", 40), 40);
    assert_int_equal(env_open(dir, false, 0, &env, &fault), -KE_CORRUPT);
    assert_non_null(strstr(fault.text, dir));
    (void)close(fd);
    free(path);
    remove_dir(dir);
}

static void test_fork(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct env *env = NULL;
    assert_ok(env_open(dir, true, ENV_MAP_MIN, &env, &fault));
    MDB_txn *txn = NULL;
    assert_ok(env_read_begin(env, &txn, &fault));
    pid_t child = fork();
    if (child == 0) {
        MDB_txn *other = NULL;
        struct env *again = NULL;
        int wrong = env_read_begin(env, &other, &fault) != -KE_CLOSED;
        wrong |= env_write_begin(env, &other, &fault) != -KE_CLOSED;
        wrong |= strstr(fault.text, "forked") == NULL;
        wrong |= env_open(dir, false, 0, &again, &fault) != 0;
        wrong |= again == env;
        wrong |= env_read_begin(again, &other, &fault) != 0;
        env_read_end(again, other);
        env_close(again);
        env_close(env); /* does nothing */
        _exit(wrong);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    env_read_end(env, txn);
    assert_ok(env_write_begin(env, &txn, &fault));
    env_write_abort(env, txn);
    env_close(env);
    remove_dir(dir);
}

/* ---- the map and readers */

struct slow_reader {
    struct env *env;
    MDB_txn *txn;
    bool ended; /* atomic */
};

static void *end_slowly(void *ctx)
{
    struct slow_reader *reader = ctx;
    (void)usleep(150000);
    __atomic_store_n(&reader->ended, true, __ATOMIC_SEQ_CST);
    env_read_end(reader->env, reader->txn);
    return NULL;
}

static void test_growth_waits_for_readers(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct slow_reader reader = {0};
    assert_ok(env_open(dir, true, ENV_MAP_MIN, &reader.env, &fault));
    assert_ok(env_read_begin(reader.env, &reader.txn, &fault));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, end_slowly, &reader), 0);
    MDB_envinfo before;
    MDB_envinfo after;
    assert_int_equal(mdb_env_info(env_mdb(reader.env), &before), 0);
    assert_ok(env_grow(reader.env, &fault));
    assert_true(__atomic_load_n(&reader.ended, __ATOMIC_SEQ_CST));
    assert_int_equal(mdb_env_info(env_mdb(reader.env), &after), 0);
    assert_int_equal(after.me_mapsize, before.me_mapsize * 2);
    assert_int_equal(pthread_join(thread, NULL), 0);
    env_close(reader.env);
    remove_dir(dir);
}

/* Many threads read while one writes and grows. */
static void *read_on(void *ctx)
{
    struct env *env = ctx;
    struct err err;
    for (int i = 0; i < 3000; i++) {
        MDB_txn *txn = NULL;
        ASSERT(env_read_begin(env, &txn, &err) == 0);
        MDB_dbi dbi = 1; /* the unnamed database */
        MDB_stat st;
        ASSERT(mdb_stat(txn, dbi, &st) == 0);
        env_read_end(env, txn);
    }
    return NULL;
}

static void fill(struct env *env, uint64_t count)
{
    uint8_t value[2000] = {0};
    for (uint64_t i = 0; i < count; i++) {
        int rc;
        do {
            MDB_txn *txn = NULL;
            MDB_dbi dbi = 0;
            MDB_val k = {sizeof i, &i};
            MDB_val v = {sizeof value, value};
            rc = env_write_begin(env, &txn, &fault);
            assert_int_equal(rc, 0);
            rc = mdb_dbi_open(txn, NULL, 0, &dbi);
            if (rc == 0) {
                rc = mdb_put(txn, dbi, &k, &v, 0);
            }
            rc = rc == 0 ? env_write_commit(env, txn, "test", &fault)
                         : env_write_failed(env, txn, rc, "test", &fault);
        } while (rc == -KE_AGAIN);
        assert_ok(rc);
    }
}

static void test_threads_and_growth(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct env *env = NULL;
    assert_ok(env_open(dir, true, ENV_MAP_MIN, &env, &fault));
    env_set_nosync(env, true);
    pthread_t threads[4];
    for (size_t i = 0; i < array_len(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, env), 0);
    }
    fill(env, 2000);
    for (size_t i = 0; i < array_len(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    MDB_envinfo info;
    assert_int_equal(mdb_env_info(env_mdb(env), &info), 0);
    assert_true(info.me_mapsize >= (size_t)4 << 20);
    env_close(env);
    remove_dir(dir);
}

/* A map that cannot grow stays what it was: LMDB alone would be left without one. */
static int no_room_child(const char *dir)
{
    struct env *env = NULL;
    MDB_txn *txn = NULL;
    struct rlimit limit;
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    (void)signal(SIGSEGV, SIG_DFL); /* cmocka's would go on with the parent's tests */
    int wrong = env_open(dir, true, (size_t)64 << 20, &env, &fault) != 0;
    wrong |= statm == NULL || fscanf(statm, "%lu", &pages) != 1 || fclose(statm) != 0;
    wrong |= getrlimit(RLIMIT_AS, &limit) != 0;
    limit.rlim_cur = (rlim_t)pages * (rlim_t)getpagesize() + ((rlim_t)32 << 20);
    wrong |= setrlimit(RLIMIT_AS, &limit) != 0;
    wrong |= env_grow(env, &fault) != -KE_IO || strstr(fault.hint, "ulimit -v") == NULL;
    fill(env, 50);
    wrong |= env_read_begin(env, &txn, &fault) != 0;
    env_read_end(env, txn);
    limit.rlim_cur = limit.rlim_max;
    wrong |= setrlimit(RLIMIT_AS, &limit) != 0 || env_grow(env, &fault) != 0;
    env_close(env);
    return wrong;
}

static void test_no_room_for_the_map(void **state)
{
    (void)state;
    char *dir = temp_dir();
    pid_t child = fork();
    if (child == 0) {
        _exit(no_room_child(dir));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    remove_dir(dir);
}

/* A reader that was killed holds its pages back only until the map is full. */
static void test_killed_reader(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct env *env = NULL;
    assert_ok(env_open(dir, true, ENV_MAP_MIN * 4, &env, &fault));
    env_set_nosync(env, true);
    fill(env, 50);
    pid_t child = fork();
    if (child == 0) {
        struct env *again = NULL;
        MDB_txn *txn = NULL;
        _exit(env_open(dir, false, 0, &again, &fault) != 0 ||
              env_read_begin(again, &txn, &fault) != 0); /* dies within it */
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (int i = 0; i < 30; i++) {
        fill(env, 50); /* the same keys */
    }
    MDB_envinfo info;
    assert_int_equal(mdb_env_info(env_mdb(env), &info), 0);
    assert_int_equal(info.me_mapsize, ENV_MAP_MIN * 4);
    env_close(env);
    remove_dir(dir);
}

/* ---- what needs rights */

enum { CHILD_SKIPPED = 77 };

/* True: the child did its work well. False: it may not make namespaces here. */
static bool child_worked(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CHILD_SKIPPED) {
        print_message("skipped: namespaces may not be made here\n");
        return false;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    return true;
}

/* Runs it in a process of its own, on a new directory; skips the test where it may not do what it needs. */
static void run_child(int (*run)(const char *dir))
{
    char *dir = temp_dir();
    pid_t child = fork();
    if (child == 0) {
        _exit(run(dir));
    }
    bool worked = child_worked(child);
    remove_dir(dir);
    if (!worked) {
        skip();
    }
}

/* Writes until the disk is full. */
static int fill_disk(struct env *env, uint64_t *written)
{
    uint8_t value[100000] = {0};
    for (uint64_t i = *written;; i++) {
        MDB_txn *txn = NULL;
        MDB_dbi dbi = 0;
        MDB_val k = {sizeof i, &i};
        MDB_val v = {sizeof value, value};
        int rc = env_write_begin(env, &txn, &fault);
        if (rc != 0) {
            return rc;
        }
        rc = mdb_dbi_open(txn, NULL, 0, &dbi);
        rc = rc != 0 ? rc : mdb_put(txn, dbi, &k, &v, 0);
        rc = rc == 0 ? env_write_commit(env, txn, "cannot commit", &fault)
                     : env_write_failed(env, txn, rc, "cannot write", &fault);
        if (rc != 0) {
            return rc;
        }
        *written = i + 1;
    }
}

/* Without a place in the lock file, pages that a snapshot sees would be used again. */
static int read_only_child(const char *dir)
{
    struct env *env = NULL;
    char *path = xasprintf("%s/0", dir);
    int wrong = env_open(path, true, ENV_MAP_MIN, &env, &fault) != 0;
    fill(env, 50);
    env_close(env);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(dir, dir, NULL, MS_BIND, NULL) != 0 ||
        mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) != 0) {
        return CHILD_SKIPPED;
    }
    wrong |= env_open(path, false, 0, &env, &fault) != -KE_REFUSED;
    wrong |= strstr(fault.text, "read-only") == NULL || strstr(fault.hint, "KAPPA_ANY_FS") == NULL;
    wrong |= setenv("KAPPA_ANY_FS", "1", 1) != 0 || env_open(path, false, 0, &env, &fault) != 0;
    MDB_txn *txn = NULL;
    wrong |= env_read_begin(env, &txn, &fault) != 0;
    env_read_end(env, txn);
    env_close(env);
    free(path);
    return wrong;
}

static void test_mounted_read_only(void **state)
{
    (void)state;
    run_child(read_only_child);
}

static int disk_full_child(const char *dir)
{
    struct env *env = NULL;
    uint64_t written = 0;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", dir, "tmpfs", 0, "size=3m") != 0) {
        return CHILD_SKIPPED;
    }
    char *path = xasprintf("%s/0", dir);
    int wrong = env_open(path, true, (size_t)64 << 20, &env, &fault) != 0;
    wrong |= fill_disk(env, &written) != -KE_DISK_FULL;
    wrong |= strstr(fault.text, "MiB free") == NULL;
    wrong |= written < 10;
    env_close(env);
    /* The last commit is there, and more room lets it go on. */
    wrong |= mount("none", dir, "tmpfs", MS_REMOUNT, "size=4m") != 0;
    wrong |= env_open(path, true, (size_t)64 << 20, &env, &fault) != 0;
    MDB_stat st;
    wrong |= mdb_env_stat(env_mdb(env), &st) != 0 || st.ms_entries != written;
    uint64_t before = written;
    wrong |= fill_disk(env, &written) != -KE_DISK_FULL || written <= before;
    env_close(env);
    return wrong;
}

static void test_disk_full(void **state)
{
    (void)state;
    run_child(disk_full_child);
}

/* Pid 1 of a namespace of its own: takes a read transaction and holds it until the pipe closes. */
static int container(const char *dir, int out, int hold)
{
    struct env *env = NULL;
    MDB_txn *txn = NULL;
    if (getpid() != 1 || env_open(dir, false, 0, &env, &fault) != 0) {
        return 1;
    }
    int rc = env_read_begin(env, &txn, &fault);
    const char *answer = rc == 0 ? "0" : "?";
    if (rc == -KE_BUSY && strstr(fault.hint, "--pid") != NULL) {
        answer = "b";
    }
    char byte;
    return write(out, answer, 1) != 1 || read(hold, &byte, 1) != 0;
}

/* A child that makes a namespace and waits for the container in it. */
static pid_t start_container(const char *dir, const int *out, const int *hold)
{
    pid_t child = fork();
    if (child != 0) {
        return child;
    }
    (void)close(hold[1]);
    if (unshare(CLONE_NEWPID) != 0) {
        _exit(write(out[1], "s", 1) == 1 ? CHILD_SKIPPED : 1);
    }
    pid_t first = fork();
    if (first == 0) {
        _exit(container(dir, out[1], hold[0]));
    }
    int status = 0;
    _exit(first < 0 || waitpid(first, &status, 0) != first || status != 0);
}

static void test_pid_namespaces(void **state)
{
    (void)state;
    char *dir = temp_dir();
    struct env *env = NULL;
    assert_ok(env_open(dir, true, ENV_MAP_MIN, &env, &fault));
    env_close(env);
    int out[2];
    int hold[2];
    pid_t children[2];
    char answers[2] = {0};
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(hold), 0);
    for (int i = 0; i < 2; i++) {
        children[i] = start_container(dir, out, hold);
        assert_int_equal(read(out[0], &answers[i], 1), 1);
    }
    for (int i = 0; i < 2; i++) {
        (void)close(i == 0 ? hold[1] : hold[0]); /* lets both end */
    }
    bool worked = true;
    for (int i = 0; i < 2; i++) {
        worked &= child_worked(children[i]);
    }
    remove_dir(dir);
    if (!worked) {
        skip();
    }
    assert_int_equal(answers[0], '0');
    assert_int_equal(answers[1], 'b');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opened_once),
        cmocka_unit_test(test_group_reads),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_empty_file),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_growth_waits_for_readers),
        cmocka_unit_test(test_threads_and_growth),
        cmocka_unit_test(test_killed_reader),
        cmocka_unit_test(test_no_room_for_the_map),
        cmocka_unit_test(test_mounted_read_only),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_pid_namespaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
