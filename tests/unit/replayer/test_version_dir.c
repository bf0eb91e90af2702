/* Goal: a version directory is opened as new, building or sealed exactly as its files say,
 * environments of another boot are removed, and only one worker holds it. Method: real directories
 * under mkdtemp with stand-ins for environments; the boot id is given; a second holder is a forked
 * process. */
#include "replayer/version_dir.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

struct place {
    char root[64];
    char *dir; /* not made yet */
};

static int setup(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    (void)snprintf(place->root, sizeof place->root, "/tmp/kappa-version-dir-XXXXXX");
    assert_non_null(mkdtemp(place->root));
    place->dir = xasprintf("%s/versions/p/1", place->root);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    char *command = xasprintf("rm -rf '%s'", place->root);
    int rc = system(command); // NOLINT
    free(command);
    free(place->dir);
    free(place);
    return rc;
}

static bool exists(const struct place *place, const char *name)
{
    char *path = xasprintf("%s/%s", place->dir, name);
    bool found = access(path, F_OK) == 0;
    free(path);
    return found;
}

/* A directory with the files an environment has. */
static void make_environment(const struct version_dir *dir, uint32_t shard)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    char *path = version_dir_shard(dir, shard);
    assert_int_equal(mkdir(path, 0777), 0);
    for (size_t i = 0; i < array_len(files); i++) {
        char *name = xasprintf("%s/%s", path, files[i]);
        int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
        assert_true(fd >= 0);
        close(fd);
        free(name);
    }
    free(path);
}

static struct version_dir *open_dir(const struct place *place, const char *boot_id)
{
    struct version_dir *dir = NULL;
    struct err err = {0};
    if (version_dir_open(place->dir, boot_id, &dir, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return dir;
}

static void test_new_is_building(void **state)
{
    const struct place *place = *state;
    struct version_dir *dir = open_dir(place, "boot-1");
    assert_true(version_dir_building(dir));
    assert_false(version_dir_wiped(dir));
    assert_true(exists(place, "BUILDING"));
    version_dir_close(dir);
    dir = open_dir(place, NULL); /* the machine's id; nothing to lose yet */
    assert_true(version_dir_building(dir));
    version_dir_close(dir);
}

static void test_same_boot_goes_on(void **state)
{
    const struct place *place = *state;
    struct version_dir *dir = open_dir(place, "boot-1");
    make_environment(dir, 0);
    version_dir_close(dir);
    dir = open_dir(place, "boot-1");
    assert_true(version_dir_building(dir));
    assert_false(version_dir_wiped(dir));
    assert_true(exists(place, "0/data.mdb"));
    version_dir_close(dir);
}

static void test_other_boot_wipes(void **state)
{
    const struct place *place = *state;
    struct version_dir *dir = open_dir(place, "boot-1");
    make_environment(dir, 0);
    make_environment(dir, 11);
    version_dir_close(dir);
    dir = open_dir(place, "boot-2");
    assert_true(version_dir_building(dir));
    assert_true(version_dir_wiped(dir));
    assert_false(exists(place, "0"));
    assert_false(exists(place, "11"));
    make_environment(dir, 0);
    version_dir_close(dir);
    dir = open_dir(place, "boot-2"); /* the new id was written */
    assert_false(version_dir_wiped(dir));
    assert_true(exists(place, "0/data.mdb"));
    version_dir_close(dir);
}

static void test_sealed_survives_boots(void **state)
{
    const struct place *place = *state;
    struct version_dir *dir = open_dir(place, "boot-1");
    make_environment(dir, 0);
    assert_int_equal(version_dir_sealed(dir, NULL), 0);
    assert_false(version_dir_building(dir));
    assert_int_equal(version_dir_sealed(dir, NULL), 0);
    version_dir_close(dir);
    assert_false(exists(place, "BUILDING"));
    dir = open_dir(place, "boot-2");
    assert_false(version_dir_building(dir));
    assert_false(version_dir_wiped(dir));
    assert_true(exists(place, "0/data.mdb"));
    version_dir_close(dir);
}

/* A process that holds the lock for this long, or until killed. */
static pid_t hold_elsewhere(const struct place *place, unsigned ms)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct version_dir *dir = NULL;
        int rc = version_dir_open(place->dir, "boot-1", &dir, NULL);
        ssize_t n = write(ready[1], "x", 1);
        usleep(ms * 1000);
        _exit(rc == 0 && n == 1 ? 0 : 1);
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void test_waits_for_a_dying_worker(void **state)
{
    const struct place *place = *state;
    pid_t pid = hold_elsewhere(place, 300);
    struct version_dir *dir = open_dir(place, "boot-1");
    version_dir_close(dir);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_busy(void **state)
{
    const struct place *place = *state;
    pid_t pid = hold_elsewhere(place, 60000);
    struct version_dir *dir = NULL;
    struct err err = {0};
    int64_t before = clock_mono_us(clock_real());
    assert_int_equal(version_dir_open(place->dir, "boot-1", &dir, &err), -KE_BUSY);
    assert_true(clock_mono_us(clock_real()) - before >= 4900000);
    assert_non_null(strstr(err.text, "LOCK"));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    version_dir_close(open_dir(place, "boot-1")); /* its death frees the lock */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new_is_building, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_boot_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_boot_wipes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sealed_survives_boots, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waits_for_a_dying_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_busy, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
