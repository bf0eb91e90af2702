/* Goal: a worker obeys its protocol, stands at exact cuts, and loses or doubles nothing however it
 * dies. Method: the real worker_main in a forked child, driven by real JSON lines over pipes, on an
 * embedded log; the digests it reports are compared with those of fresh replays to the same cut on
 * other shard counts and batch sizes. Kill rounds: SIGKILL at random moments and at random steps of
 * commits, while records are produced.
 *
 * KAPPA_SEED gives the seed, KAPPA_ROUNDS the number of kill rounds. */
#include "tests/unit/replayer/worker_rig.h"

#include <sys/stat.h>

static uint64_t seed = 20260131;
static uint32_t rounds = 24;

static const struct worker_setup plain = {.version = 1, .shards = 2, .cache_bytes = 8 << 20};

static int64_t ms_since(int64_t start_us)
{
    return (clock_mono_us(clock_real()) - start_us) / 1000;
}

/* Waits until progress says that everything is read and committed. */
static void wait_for_end(struct place *place, struct worker_child *child)
{
    int64_t end[WORKER_PARTITIONS];
    int64_t next[WORKER_PARTITIONS];
    place_ends(place, end);
    do {
        bool eof = false;
        json_t *event = worker_event(child, WORKER_WAIT_MS, &eof);
        assert_non_null(event);
        assert_string_equal(json_text(event, "is", ""), "progress");
        event_offsets(event, "committed", next);
        json_decref(child->progress);
        child->progress = event;
    } while (memcmp(next, end, sizeof end) != 0);
}

static bool building_exists(const struct place *place, uint32_t version)
{
    char *path = xasprintf("%s/versions/p/%u/BUILDING", place->root, version);
    bool found = access(path, F_OK) == 0;
    free(path);
    return found;
}

/* ---- The protocol */

static void test_life(void **state)
{
    (void)state;
    struct place *place = place_new(seed, 5000);
    struct worker_child *child = worker_open(place, &plain);
    int64_t cut[WORKER_PARTITIONS];
    wait_for_end(place, child);
    const json_t *p = child->progress;
    assert_string_equal(json_text(p, "mode", ""), "running");
    assert_int_equal(json_int(p, "records", -1), 5000);
    assert_int_equal(json_int(p, "dead", -1), 0);
    assert_true(json_is_null(json_object_get(p, "trouble")));
    assert_true(json_int(p, "rss_bytes", 0) > 1000000);
    assert_true(json_int(p, "file_bytes", 0) > 0);
    assert_true(json_is_true(json_array_get(json_object_get(p, "at_end"), 0)));
    assert_true(building_exists(place, 1));
    worker_send(child, "seal", 0);
    worker_wait_drop(child, "sealed");
    assert_false(building_exists(place, 1));
    worker_send(child, "pause", 0);
    worker_wait_drop(child, "paused");
    worker_send(child, "resume", 0);
    worker_wait_drop(child, "resumed");
    worker_send_json(child, json_pack("{s:s,s:b}", "do", "serving", "on", 1));
    place_produce(place, 100);
    wait_for_end(place, child);
    worker_stop(child);
    child = worker_start(NULL); /* it goes on where it was */
    worker_send_json(child, open_message(place, &plain));
    json_t *opened = worker_wait(child, "opened");
    int64_t next[WORKER_PARTITIONS];
    event_offsets(opened, "next", next);
    place_ends(place, cut);
    assert_memory_equal(next, cut, sizeof next);
    assert_true(json_is_true(json_object_get(opened, "sealed")));
    json_decref(opened);
    worker_stop(child);
    place_free(place);
}

static void test_hold_and_run_to(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 1, 3000);
    struct worker_child *child = worker_open(place, &plain);
    int64_t worst = 0;
    for (int64_t id = 1; id <= 10; id++) {
        int64_t held[WORKER_PARTITIONS];
        int64_t cut[WORKER_PARTITIONS];
        place_produce(place, 200);
        int64_t start = clock_mono_us(clock_real());
        if (id % 2 == 0) {
            worker_send(child, "near", id);
            json_t *near = worker_wait(child, "near");
            assert_int_equal(json_int(near, "id", 0), id);
            json_decref(near);
        }
        worker_send(child, "hold", id);
        json_t *event = worker_wait(child, "held");
        worst = i64_max(worst, ms_since(start));
        assert_int_equal(json_int(event, "id", 0), id);
        assert_in_range(json_int(event, "held_us", 0), start, clock_mono_us(clock_real()));
        event_offsets(event, "next", held);
        json_decref(event);
        place_produce(place, 100);
        place_ends(place, cut);
        for (uint32_t s = 0; s < WORKER_PARTITIONS; s++) {
            assert_true(held[s] <= cut[s]);
            cut[s] -= (cut[s] - held[s]) / 3;
        }
        worker_run_to(child, 100 + id, cut);
        event = worker_wait(child, "at_cut");
        assert_int_equal(json_int(event, "id", 0), 100 + id);
        int64_t at[WORKER_PARTITIONS];
        event_offsets(event, "cut", at);
        assert_memory_equal(at, cut, sizeof cut);
        if (id % 4 == 0) {
            struct worker_setup other = {.version = 10 + (uint32_t)id,
                                         .shards = 1 + (uint32_t)id % 3,
                                         .batch_records = 7,
                                         .cache_bytes = 10000};
            json_t *replayed = worker_replay(place, &other, cut);
            expect_same(event, replayed);
            json_decref(replayed);
        }
        json_decref(event);
        worker_send(child, "release", 0);
    }
    print_message("slowest hold: %lld ms\n", (long long)worst);
    worker_stop(child);
    place_free(place);
}

/* A run_to that cannot be reached yet is given up by release; its answer never comes. */
static void test_release_ends_a_run(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 2, 500);
    struct worker_child *child = worker_open(place, &plain);
    int64_t cut[WORKER_PARTITIONS];
    wait_for_end(place, child);
    place_ends(place, cut);
    cut[1] += 10;
    worker_send(child, "hold", 1);
    worker_wait_drop(child, "held");
    worker_run_to(child, 2, cut);
    worker_send(child, "release", 0);
    worker_send(child, "resume", 0); /* its answer says that the release was read before it */
    worker_wait_drop(child, "resumed");
    place_produce(place, 200);
    wait_for_end(place, child); /* any at_cut would fail this */
    worker_stop(child);
    place_free(place);
}

/* The answer to an order to run is about that order, and not about the one before, which had ended. */
static void test_one_run_after_another(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 9, 500);
    struct worker_child *child = worker_open(place, &plain);
    int64_t there[WORKER_PARTITIONS];
    wait_for_end(place, child);
    for (int id = 1; id <= 10; id++) {
        int64_t cut[WORKER_PARTITIONS];
        place_ends(place, cut);
        worker_run_to(child, id, cut);
        json_t *event = worker_wait(child, "at_cut");
        assert_int_equal(json_int(event, "id", 0), id);
        event_offsets(event, "cut", there);
        assert_memory_equal(there, cut, sizeof cut);
        json_decref(event);
        place_produce(place, 300);
    }
    worker_stop(child);
    place_free(place);
}

/* ---- Sending */

static const char sending_sql[] =
    "CREATE TABLE events (\"user\" text, amount bigint) WITH (topic = 'events', format = 'json');\n"
    "CREATE TABLE copies (\"user\" text) WITH (topic = 'copies', format = 'json');\n"
    "INSERT INTO copies SELECT \"user\" FROM events;\n";

static int64_t copies_sent(const struct place *place)
{
    int64_t start = 0;
    int64_t end = 0;
    assert_int_equal(place->log->ops->offsets(place->log, "copies", 0, &start, &end, NULL), 0);
    return end;
}

static json_t *serving_message(const struct place *place)
{
    char *dir = xasprintf("%s/versions/p", place->root);
    char *version = xasprintf("%s/versions/p/1", place->root);
    json_t *message = json_pack(
        "{s:s, s:b, s:{s:s, s:s, s:[{s:i, s:s, s:i, s:[{s:s, s:i}], s:[s], s:[i, i, i], s:n}]}}",
        "do", "serving", "on", 1, "outbox", "name", "p#1", "dir", dir, "spans", "epoch", 1, "dir",
        version, "shards", 2, "inputs", "topic", "events", "partitions", WORKER_PARTITIONS,
        "topics", "copies", "from", 0, 0, 0, "to");
    assert_non_null(message);
    free(version);
    free(dir);
    return message;
}

/* Who does not serve any more sends nothing: what it makes from there on is another version's to send. */
static void test_serving_off_ends_the_sender(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 11, 300);
    struct log_topic_options options = {.partitions = 1, .retain_ms = -1, .retain_bytes = -1};
    assert_int_equal(place->log->ops->topic_create(place->log, "copies", &options, NULL), 0);
    struct worker_setup setup = plain;
    setup.sql = sending_sql;
    struct worker_child *child = worker_open(place, &setup);
    wait_for_end(place, child);
    assert_int_equal(copies_sent(place), 0);
    worker_send_json(child, serving_message(place));
    for (int i = 0; i < 6000 && copies_sent(place) < 300; i++) {
        (void)usleep(10000);
    }
    assert_int_equal(copies_sent(place), 300);
    worker_send_json(child, json_pack("{s:s, s:b}", "do", "serving", "on", 0));
    worker_send(child, "resume", 0); /* its answer says that the line before was read */
    worker_wait_drop(child, "resumed");
    place_produce(place, 300);
    wait_for_end(place, child);
    assert_false(json_bool(json_object_get(child->progress, "outbox"), "sending", true));
    (void)usleep(100000); /* a sender that is not stopped looks every 20 ms */
    assert_int_equal(copies_sent(place), 300);
    worker_stop(child);
    place_free(place);
}

/* ---- */

/* A worker opened with a cut never passes it, though the log goes on behind: a shard that began to
 * read before it knew of the cut once did, now and then. */
static void test_until_is_never_passed(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 9, 60);
    const int64_t cut[WORKER_PARTITIONS] = {3, 0, 5};
    json_t *first = NULL;
    for (uint32_t i = 0; i < 25; i++) {
        struct worker_setup setup = {
            .version = 20 + i, .shards = 1 + i % 3, .cache_bytes = 1 << 20};
        json_t *event = worker_replay(place, &setup, cut);
        int64_t at[WORKER_PARTITIONS];
        event_offsets(event, "cut", at);
        assert_memory_equal(at, cut, sizeof cut);
        if (first) {
            expect_same(first, event);
            json_decref(event);
        } else {
            first = event;
        }
    }
    json_decref(first);
    place_free(place);
}

static void test_end_of_input_drains(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 3, 20000);
    struct worker_child *child = worker_open(place, &plain);
    close(child->in);
    child->in = -1;
    worker_wait_drop(child, "stopped");
    int status = worker_end(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    place_free(place);
}

/* Nobody reads the events for a while: the worker goes on, and answers when it is listened to. */
static void test_deaf_controller(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 4, 1000);
    struct worker_child *child = worker_open(place, &plain);
    for (int i = 0; i < 60; i++) {
        place_produce(place, 10);
        usleep(10000);
    }
    worker_send(child, "hold", 5);
    json_t *event = worker_wait(child, "held");
    assert_int_equal(json_int(event, "id", 0), 5);
    json_decref(event);
    worker_stop(child);
    place_free(place);
}

/* ---- What goes wrong */

/* Expects `failed` with this code word, and exit 1. */
static void expect_failed(struct worker_child *child, const char *code, const char *says)
{
    json_t *event = worker_wait(child, "failed");
    const json_t *error = json_object_get(event, "error");
    if (strcmp(json_text(error, "code", ""), code) != 0 ||
        !strstr(json_text(error, "message", ""), says)) {
        fail_msg("%s", json_print(event));
    }
    json_decref(event);
    int status = worker_end(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void expect_line_fails(const char *line, const char *code, const char *says)
{
    struct worker_child *child = worker_start(NULL);
    assert_int_equal(write(child->in, line, strlen(line)), (ssize_t)strlen(line));
    expect_failed(child, code, says);
}

static void test_bad_commands(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 5, 100);
    expect_line_fails("this is not JSON\n", "invalid", "not JSON");
    expect_line_fails("{\"do\":\"dance\"}\n", "invalid", "dance");
    expect_line_fails("{\"do\":\"hold\",\"id\":1}\n", "invalid", "first command");
    expect_line_fails("{\"do\":\"open\"}\n", "invalid", "\"processor\"");
    struct worker_setup setup = plain;
    setup.sql = "SELECT nothing FROM nowhere";
    struct worker_child *child = worker_start(NULL);
    worker_send_json(child, open_message(place, &setup));
    expect_failed(child, "sql", "");
    setup = plain;
    setup.topic = "other";
    child = worker_start(NULL);
    worker_send_json(child, open_message(place, &setup));
    expect_failed(child, "invalid", "'other'");
    const int64_t too_early[WORKER_PARTITIONS] = {0, 0, 0};
    child = worker_open(place, &plain);
    wait_for_end(place, child);
    worker_run_to(child, 1, too_early);
    expect_failed(child, "invalid", "cannot go back");
    child = worker_open(place, &plain); /* nothing is broken for good by that */
    worker_stop(child);
    place_free(place);
}

static void test_topic_made_again(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 6, 1000);
    struct worker_child *child = worker_open(place, &plain);
    wait_for_end(place, child);
    char *command = xasprintf("rm -rf '%s/events'", place->log_dir);
    assert_int_equal(system(command), 0); // NOLINT
    free(command);
    place_make_topic(place);
    expect_failed(child, "topic_changed", "events");
    place_free(place);
}

/* It says where it stands even if it fails at once. */
static void test_opened_before_failed(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 10, 300);
    struct worker_child *child = worker_open(place, &plain);
    int64_t cut[WORKER_PARTITIONS];
    int64_t next[WORKER_PARTITIONS];
    wait_for_end(place, child);
    place_ends(place, cut);
    worker_stop(child);
    char *command = xasprintf("rm -rf '%s/events'", place->log_dir);
    assert_int_equal(system(command), 0); // NOLINT
    free(command);
    place_make_topic(place);
    for (uint32_t i = 0; i < 10; i++) {
        child = worker_start(NULL);
        worker_send_json(child, open_message(place, &plain));
        json_t *opened = worker_wait(child, "opened");
        event_offsets(opened, "next", next);
        assert_memory_equal(next, cut, sizeof next);
        json_decref(opened);
        expect_failed(child, "topic_changed", "events");
    }
    place_free(place);
}

/* The parent dies without a word while somebody else keeps the pipe open: the worker goes too. */
static void test_dies_with_its_parent(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 7, 100);
    int in[2];
    int out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    pid_t middle = fork();
    assert_true(middle >= 0);
    if (middle == 0) {
        if (fork() == 0) {
            close(out[0]);
            _exit(worker_main(in[0], out[1]));
        }
        close(out[1]);
        pause();
        _exit(0);
    }
    close(in[0]);
    close(out[1]);
    struct worker_child child = {.pid = middle, .in = in[1], .out = out[0]};
    worker_send_json(&child, open_message(place, &plain));
    worker_wait_drop(&child, "opened");
    assert_int_equal(kill(middle, SIGKILL), 0);
    assert_int_equal(waitpid(middle, NULL, 0), middle);
    bool eof = false;
    for (int64_t start = clock_mono_us(clock_real()); !eof && ms_since(start) < 5000;) {
        json_t *event = worker_event(&child, 1000, &eof);
        json_decref(event);
    }
    assert_true(eof);
    close(in[1]);
    close(out[0]);
    json_decref(child.progress);
    buf_free(&child.buf);
    place_free(place);
}

/* ---- Crashes */

static bool is_dead(const struct worker_child *child)
{
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    return info.si_pid == child->pid;
}

/* One life of a worker that ends by SIGKILL: at a step of a commit, or at a random moment during a
 * hold, a run to a cut, or plain work. True when it died at a step. */
static bool live_and_die(struct place *place, struct prng *prng, const struct worker_setup *setup)
{
    static const char *const steps[] = {"flush", "commit", "committed"};
    struct worker_setup mine = *setup;
    bool at_step = prng_below(prng, 2) == 0;
    char *fail = xasprintf("%s:%u", steps[prng_below(prng, 3)], 1 + (unsigned)prng_below(prng, 8));
    mine.fail = at_step ? fail : NULL;
    struct worker_child *child = worker_start(mine.fail);
    worker_send_json(child, open_message(place, &mine));
    worker_send(child, "hold", 1); /* before it is open, even */
    worker_send(child, "release", 1);
    if (prng_below(prng, 3) == 0) {
        worker_send(child, "seal", 0);
    }
    worker_send_json(child,
                     json_pack("{s:s,s:b}", "do", "serving", "on", (int)prng_below(prng, 2)));
    for (int i = 0; i < 5; i++) {
        place_produce(place, (uint32_t)prng_below(prng, 200));
        usleep((useconds_t)prng_below(prng, 8000));
    }
    if (prng_below(prng, 2) == 0) {
        int64_t cut[WORKER_PARTITIONS];
        place_ends(place, cut);
        worker_send(child, "hold", 2);
        worker_run_to(child, 3, cut);
        usleep((useconds_t)prng_below(prng, 3000));
    }
    bool dead = is_dead(child);
    assert_int_equal(kill(child->pid, SIGKILL), 0);
    int status = worker_end(child);
    assert_true(WIFSIGNALED(status));
    free(fail);
    return dead;
}

static void test_kill_rounds(void **state)
{
    (void)state;
    struct place *place = place_new(seed + 8, 2000);
    struct prng prng;
    prng_init(&prng, seed);
    struct worker_setup setup = plain;
    setup.cache_bytes = 50000;
    setup.batch_records = 100;
    uint32_t at_steps = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        at_steps += live_and_die(place, &prng, &setup);
        if (round % 6 != 5) {
            continue;
        }
        int64_t cut[WORKER_PARTITIONS];
        place_ends(place, cut);
        struct worker_setup fresh = {
            .version = 100 + round, .shards = 1 + round % 3, .cache_bytes = 8 << 20};
        json_t *survived = worker_replay(place, &setup, cut);
        json_t *replayed = worker_replay(place, &fresh, cut);
        expect_same(survived, replayed);
        json_decref(survived);
        json_decref(replayed);
    }
    print_message("%u of %u died at a step of a commit\n", at_steps, rounds);
    assert_true(rounds < 20 || at_steps > 0);
    place_free(place);
}

int main(void)
{
    const char *given = getenv("KAPPA_SEED");
    seed = given ? strtoull(given, NULL, 10) : seed;
    given = getenv("KAPPA_ROUNDS");
    rounds = given ? (uint32_t)strtoul(given, NULL, 10) : rounds;
    print_message("KAPPA_SEED=%llu\n", (unsigned long long)seed);
    (void)setenv("KAPPA_LOG", "off", 0);
    (void)signal(SIGPIPE, SIG_IGN); /* commands to a worker that has died */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_hold_and_run_to),
        cmocka_unit_test(test_release_ends_a_run),
        cmocka_unit_test(test_one_run_after_another),
        cmocka_unit_test(test_serving_off_ends_the_sender),
        cmocka_unit_test(test_until_is_never_passed),
        cmocka_unit_test(test_end_of_input_drains),
        cmocka_unit_test(test_deaf_controller),
        cmocka_unit_test(test_bad_commands),
        cmocka_unit_test(test_topic_made_again),
        cmocka_unit_test(test_opened_before_failed),
        cmocka_unit_test(test_dies_with_its_parent),
        cmocka_unit_test(test_kill_rounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
