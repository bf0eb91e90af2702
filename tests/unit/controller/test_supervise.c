/* Goal: workers are started, heard, told and buried as supervise.h says, whatever they do; the data
 * directory has one holder and keeps nothing that was thrown away.
 * Method: a shell plays the worker; a loop runs until it is over. Two processes fight for a lock. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "controller/datadir.h"
#include "controller/supervise.h"

#include <ftw.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <uv.h>

struct heard {
    uv_loop_t loop;
    struct supervise *supervise;
    json_t *events; /* array */
    int exits;
    int status;
    int signal;
    bool event_after_exit;
};

static void on_event(void *ctx, uint64_t worker, const json_t *event)
{
    struct heard *heard = ctx;
    assert_int_equal(worker, 7);
    heard->event_after_exit = heard->event_after_exit || heard->exits > 0;
    json_array_append_new(heard->events, json_deep_copy(event));
}

static void on_exited(void *ctx, uint64_t worker, int status, int signal)
{
    struct heard *heard = ctx;
    assert_int_equal(worker, 7);
    heard->exits++;
    heard->status = status;
    heard->signal = signal;
}

static void heard_open(struct heard *heard, const char *const *args)
{
    memset(heard, 0, sizeof *heard);
    heard->events = json_array();
    assert_int_equal(uv_loop_init(&heard->loop), 0);
    const struct supervise_options options = {
        .loop = &heard->loop, .args = args, .ctx = heard, .event = on_event, .exited = on_exited};
    supervise_open(&options, &heard->supervise);
}

static void heard_run(struct heard *heard)
{
    int rc = uv_run(&heard->loop, UV_RUN_DEFAULT); /* until no handle is left */
    assert_int_equal(rc, 0);
    assert_int_equal(supervise_count(heard->supervise), 0);
    assert_int_equal(heard->exits, 1);
    assert_false(heard->event_after_exit);
}

static void heard_close(struct heard *heard)
{
    supervise_close(heard->supervise);
    assert_int_equal(uv_loop_close(&heard->loop), 0);
    json_decref(heard->events);
}

/* Runs a script to its end. stop: close its stdin at once; kill: kill it. */
static void run_script(struct heard *heard, const char *script, bool stop, bool kill)
{
    const char *const args[] = {"/bin/sh", "-c", script, NULL};
    heard_open(heard, args);
    struct err err = {0};
    assert_true(supervise_start(heard->supervise, 7, "p v1", &err) > 0);
    json_t *message = json_pack("{s:s}", "do", "open");
    supervise_send(heard->supervise, 7, message);
    supervise_send(heard->supervise, 8, message); /* nobody: nothing happens */
    json_decref(message);
    if (stop) {
        supervise_stop(heard->supervise, 7, false);
        supervise_stop(heard->supervise, 7, false); /* twice is once */
    }
    if (kill) {
        supervise_stop(heard->supervise, 7, true);
    }
    heard_run(heard);
}

static void test_talks_and_ends(void **unused)
{
    (void)unused;
    struct heard heard;
    run_script(&heard,
               "read line; echo '{\"is\":\"opened\"}'; printf '{\"said\":%s}\\n\\n' \"$line\"; "
               "cat >/dev/null; printf '{\"is\":'; sleep 0.05; printf '\"stopped\"}\\n'; exit 3",
               true, false);
    assert_int_equal(heard.status, 3);
    assert_int_equal(heard.signal, 0);
    assert_int_equal(json_array_size(heard.events), 3);
    const json_t *said = json_object_get(json_array_get(heard.events, 1), "said");
    assert_string_equal(json_text(said, "do", ""), "open");
    assert_string_equal(json_text(json_array_get(heard.events, 2), "is", ""), "stopped");
    heard_close(&heard);
}

/* Its last words come before its end, also when somebody else keeps the process table busy. */
static void test_last_words_come_first(void **unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++) {
        struct heard heard;
        run_script(&heard,
                   "i=0; while [ $i -lt 50 ]; do echo '{\"is\":\"progress\"}'; i=$((i+1)); done; "
                   "echo '{\"is\":\"failed\"}'; kill -9 $$",
                   false, false);
        assert_int_equal(heard.signal, 9);
        assert_int_equal(json_array_size(heard.events), 51);
        heard_close(&heard);
    }
}

static void test_kill(void **unused)
{
    (void)unused;
    struct heard heard;
    run_script(&heard, "trap '' TERM INT; echo; exec cat /dev/zero >/dev/null", true, true);
    assert_int_equal(heard.signal, 9);
    heard_close(&heard);
}

/* A grandchild that holds its stdout does not hold up the news of its end. */
static void test_grandchild(void **unused)
{
    (void)unused;
    struct heard heard;
    time_t before = time(NULL);
    run_script(&heard, "sleep 5 2>/dev/null & echo '{}'; exit 4", false, false);
    assert_true(time(NULL) - before < 4);
    assert_int_equal(heard.status, 4);
    assert_int_equal(json_array_size(heard.events), 1);
    heard_close(&heard);
}

static void test_nonsense_is_killed(void **unused)
{
    (void)unused;
    static const char *const scripts[] = {
        "echo 'Segmentation fault'; exec sleep 100",
        "echo '[1,2]'; exec sleep 100",
        "head -c 3000000 /dev/zero | tr '\\0' x; exec sleep 100",
    };
    for (size_t i = 0; i < array_len(scripts); i++) {
        struct heard heard;
        run_script(&heard, scripts[i], false, false);
        assert_int_equal(heard.signal, 9);
        assert_int_equal(json_array_size(heard.events), 0);
        heard_close(&heard);
    }
}

/* One that never reads does not eat the server's memory. */
static void test_deaf_worker_is_killed(void **unused)
{
    (void)unused;
    const char *const args[] = {"/bin/sleep", "100", NULL};
    struct heard heard;
    heard_open(&heard, args);
    assert_true(supervise_start(heard.supervise, 7, "p v1", NULL) > 0);
    char *text = xcalloc(1, LIMIT_MESSAGE_BYTES);
    memset(text, 'x', LIMIT_MESSAGE_BYTES - 1);
    json_t *message = json_pack("{s:s}", "do", text);
    for (int i = 0; i < 10; i++) {
        supervise_send(heard.supervise, 7, message);
    }
    heard_run(&heard);
    assert_int_equal(heard.signal, 9);
    json_decref(message);
    free(text);
    heard_close(&heard);
}

static void test_program_that_is_not_there(void **unused)
{
    (void)unused;
    const char *const args[] = {"/nowhere/kappa", "worker", NULL};
    struct heard heard;
    heard_open(&heard, args);
    struct err err = {0};
    assert_int_equal(supervise_start(heard.supervise, 7, "p v1", &err), -KE_IO);
    assert_non_null(strstr(err.text, "no such file"));
    assert_int_equal(uv_run(&heard.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(heard.exits, 0);
    heard_close(&heard);
}

/* ---- The data directory ---- */

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static bool exists(const char *dir, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    struct stat stat;
    return lstat(path, &stat) == 0;
}

static void make(const char *dir, const char *name)
{
    char command[256];
    (void)snprintf(command, sizeof command, "mkdir -p %s/%s && echo x > %s/%s/data", dir, name, dir,
                   name);
    assert_int_equal(system(command), 0); /* NOLINT: a test */
}

static void test_one_holder(void **unused)
{
    (void)unused;
    char base[] = "/tmp/kappa-dir-XXXXXX";
    assert_non_null(mkdtemp(base));
    char path[64];
    (void)snprintf(path, sizeof path, "%s/new/data", base);
    struct datadir *datadir = NULL;
    struct err err = {0};
    assert_int_equal(datadir_open(path, &datadir, &err), 0);
    pid_t child = fork();
    if (child == 0) {
        struct datadir *other = NULL;
        struct err refused = {0};
        char pid[32];
        (void)snprintf(pid, sizeof pid, "(pid %ld)", (long)getppid());
        bool right =
            datadir_open(path, &other, &refused) == -KE_BUSY && strstr(refused.text, pid) != NULL;
        _exit(right ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    datadir_close(datadir);
    assert_int_equal(datadir_open(path, &datadir, &err), 0);

    json_t *server = json_pack("{s:s}", "http", "127.0.0.1:1");
    assert_int_equal(datadir_publish(datadir, server, &err), 0);
    json_decref(server);
    assert_true(exists(path, "server.json"));

    make(path, "versions/p/1");
    make(path, "versions/p/2");
    make(path, "versions/p/.verify-1-5");
    make(path, "versions/.trash-1-0");
    assert_int_equal(datadir_trash(datadir, "p/1", &err), 0);
    assert_int_equal(datadir_trash(datadir, "p/1", &err), 0);
    assert_false(exists(path, "versions/p/1"));
    datadir_sweep(datadir, false);
    assert_true(exists(path, "versions/p/.verify-1-5"));
    assert_false(exists(path, "versions/.trash-1-0"));
    datadir_sweep(datadir, true);
    assert_false(exists(path, "versions/p/.verify-1-5"));
    assert_true(exists(path, "versions/p/2/data"));
    datadir_close(datadir);
    assert_false(exists(path, "server.json"));
    (void)nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A server that died while it forked leaves a child with its lock for a moment. */
static void test_dead_holder(void **unused)
{
    (void)unused;
    char base[] = "/tmp/kappa-dir-XXXXXX";
    assert_non_null(mkdtemp(base));
    struct datadir *datadir = NULL;
    struct err err = {0};
    pid_t server = fork();
    if (server == 0) {
        if (datadir_open(base, &datadir, &err) == 0 && fork() == 0) {
            (void)usleep(300000);
        }
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(server, &status, 0), server);
    assert_int_equal(datadir_open(base, &datadir, &err), 0);
    datadir_close(datadir);
    (void)nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_talks_and_ends),
        cmocka_unit_test(test_last_words_come_first),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_grandchild),
        cmocka_unit_test(test_nonsense_is_killed),
        cmocka_unit_test(test_deaf_worker_is_killed),
        cmocka_unit_test(test_program_that_is_not_there),
        cmocka_unit_test(test_one_holder),
        cmocka_unit_test(test_dead_holder),
    };
    (void)setenv("KAPPA_LOG", "none", 0);
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
