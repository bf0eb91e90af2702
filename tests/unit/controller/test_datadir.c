/* Goal: what is dropped goes out of the way also when an earlier server, of the same process id, has left
 * trash that is not gone yet; a folder that is in use for something else is left alone. Method: a data
 * directory in a temporary one. */
#include "tests/unit/unit.h"

#include "base/file.h"
#include "controller/datadir.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_DIR "/tmp/kappa-datadir-XXXXXX"

static void run(const char *dir, const char *text)
{
    char *command = xasprintf("cd '%s' && %s", dir, text);
    assert_int_equal(system(command), 0);
    free(command);
}

static bool is_there(const char *dir, const char *name)
{
    char *path = xasprintf("%s/%s", dir, name);
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

/* A data directory in a folder that is made: dir is NEW_DIR. */
static struct datadir *opened(char *dir)
{
    struct datadir *datadir = NULL;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(datadir_open(dir, &datadir, &err), 0);
    return datadir;
}

/* It goes, with its folder. */
static void close_and_remove(struct datadir *datadir, const char *dir)
{
    datadir_close(datadir);
    file_remove_tree(dir);
}

static void test_trash_of_an_earlier_server(void **state)
{
    (void)state;
    char dir[] = NEW_DIR;
    struct err err = {0};
    struct datadir *datadir = opened(dir);
    run(dir, "mkdir -p versions/p/1/0 versions/p/2/0 && touch versions/p/1/0/a versions/p/2/0/b");
    char *left =
        xasprintf("mkdir -p versions/" DATADIR_TRASH "%ld-0/0 versions/" DATADIR_TRASH "%ld-1/0",
                  (long)getpid(), (long)getpid());
    run(dir, left);
    free(left);
    assert_int_equal(datadir_trash(datadir, "p/1", &err), 0);
    assert_int_equal(datadir_trash(datadir, "p/2", &err), 0);
    assert_int_equal(datadir_trash(datadir, "p/3", &err), 0); /* was never there */
    assert_false(is_there(dir, "versions/p/1"));
    assert_false(is_there(dir, "versions/p/2"));
    datadir_sweep(datadir, true);
    run(dir, "test -z \"$(ls -A versions | grep -v '^p$')\"");
    close_and_remove(datadir, dir);
}

static bool first_of_p(void *ctx, const char *processor, uint32_t version)
{
    (void)ctx;
    return strcmp(processor, "p") == 0 && version == 1;
}

/* What a crash of the machine has brought back after a drop is garbage; nothing else is. */
static void test_versions_that_nobody_knows(void **state)
{
    (void)state;
    char dir[] = NEW_DIR;
    struct datadir *datadir = opened(dir);
    run(dir, "mkdir -p versions/p/1/0 versions/p/2/0 versions/q/1/0 versions/p/snapshots/2 "
             "versions/p/02 versions/p/2x versions/p/.verify-2 && touch versions/p/SENT");
    datadir_forget(datadir, first_of_p, NULL);
    assert_true(is_there(dir, "versions/p/1/0"));
    assert_false(is_there(dir, "versions/p/2"));
    assert_false(is_there(dir, "versions/q/1"));
    run(dir, "cd versions/p && ls -d snapshots/2 02 2x .verify-2 SENT > ../names");
    datadir_sweep(datadir, false);
    run(dir, "test -z \"$(ls -A versions | grep -v '^[pq]$' | grep -v names)\"");
    close_and_remove(datadir, dir);
}

static void test_a_folder_of_something_else(void **state)
{
    (void)state;
    char dir[] = NEW_DIR;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    char *missing = xasprintf("%s/missing", dir);
    assert_int_equal(datadir_check(missing, &err), 0);
    free(missing);
    run(dir, "mkdir lost+found .git log log/t archive && touch server.json.new lock");
    assert_int_equal(datadir_check(dir, &err), 0);
    run(dir, "touch thesis.tex");
    struct datadir *datadir = NULL;
    assert_int_equal(datadir_open(dir, &datadir, &err), -KE_INVALID);
    assert_null(datadir);
    assert_non_null(strstr(err.text, "there is thesis.tex in it"));
    assert_non_null(strstr(err.hint, "/kappa-data"));
    run(dir, "test ! -e versions && test ! -s lock");
    run(dir,
        "mkdir catalog"); /* one that runs already: what others put beside it is their matter */
    assert_int_equal(datadir_open(dir, &datadir, &err), 0);
    close_and_remove(datadir, dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trash_of_an_earlier_server),
        cmocka_unit_test(test_versions_that_nobody_knows),
        cmocka_unit_test(test_a_folder_of_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
