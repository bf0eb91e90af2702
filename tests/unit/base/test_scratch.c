/* Goal: a folder for what is thrown away goes with its owner, and those of dead owners go with
 * the next one; those of the living stay. Method: children that die holding one. */
#include "base/scratch.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static void put_files(const char *dir)
{
    char *below = xasprintf("%s/a", dir);
    char *file = xasprintf("%s/a/b", dir);
    assert_int_equal(mkdir(below, 0777), 0);
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    free(file);
    free(below);
}

/* A child that has a folder and dies, or lives on until it is killed: its folder. */
static char *owner_of(const char *parent, pid_t *pid)
{
    int pipes[2];
    char name[256];
    assert_int_equal(pipe(pipes), 0);
    *pid = fork();
    assert_true(*pid >= 0);
    if (*pid == 0) {
        struct scratch *scratch = NULL;
        if (scratch_open(parent, &scratch, NULL) != 0) {
            _exit(1);
        }
        put_files(scratch_dir(scratch));
        const char *dir = scratch_dir(scratch);
        if (write(pipes[1], dir, strlen(dir) + 1) < 0) {
            _exit(1);
        }
        (void)pause();
        _exit(1);
    }
    ssize_t n = read(pipes[0], name, sizeof name);
    assert_true(n > 0 && name[n - 1] == '\0');
    assert_int_equal(close(pipes[0]), 0);
    assert_int_equal(close(pipes[1]), 0);
    return xstrdup(name);
}

static void end(pid_t pid)
{
    int status = 0;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void test_owners(void **state)
{
    (void)state;
    char dir[] = "/tmp/kappa-scratch-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *parent = xasprintf("%s/exports", dir);
    struct scratch *own = NULL;
    pid_t first = 0;
    pid_t second = 0;
    scratch_sweep(parent); /* is not there */
    assert_int_equal(scratch_open(parent, &own, NULL), 0);
    put_files(scratch_dir(own));
    char *of_first = owner_of(parent, &first);
    char *of_second = owner_of(parent, &second);
    assert_true(there(of_first) && there(of_second) && there(scratch_dir(own)));
    end(first);
    assert_true(there(of_first));
    scratch_sweep(parent);
    assert_true(!there(of_first) && there(of_second) && there(scratch_dir(own)));
    end(second);
    struct scratch *next = NULL;
    assert_int_equal(scratch_open(parent, &next, NULL), 0); /* sweeps, too */
    assert_true(!there(of_second) && there(scratch_dir(own)) && there(scratch_dir(next)));
    char *of_own = xstrdup(scratch_dir(own));
    scratch_close(own);
    scratch_close(next);
    scratch_close(NULL);
    assert_true(!there(of_own));
    char *lock = xasprintf("%s/LOCK", parent);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(rmdir(parent), 0); /* nothing else is in it */
    assert_int_equal(rmdir(dir), 0);
    free(lock);
    free(of_own);
    free(of_first);
    free(of_second);
    free(parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_owners)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
