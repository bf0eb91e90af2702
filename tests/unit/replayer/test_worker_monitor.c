/* Goal: a topic that is not the version's any more is found, and only that; a stuck log does not keep
 * the worker from ending; a source is blocked when it stands at the last stable offset and the log goes
 * on; the cut is committed as a group when it has moved. Method: monitors over fake logs, side by side
 * where they can be, since each asks only every two seconds. */
#include "replayer/worker_monitor.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

/* What a fake log answers. */
struct fake {
    struct log base;
    uint64_t identity;
    int64_t start, end;
    uint32_t partitions;
    int partitions_code; /* error instead, or 0 */
    uint32_t
        wrong;  /* so many of the first answers name one partition less, or that error; 0: all */
    bool stuck; /* never answers */
    atomic_uint asked; /* times */
};

static struct fake *fake_of(struct log *log)
{
    return container_of(log, struct fake, base);
}

static int fake_partitions(struct log *log, const char *topic, uint32_t *count, struct err *err)
{
    struct fake *fake = fake_of(log);
    if (fake->stuck) {
        pause();
    }
    uint32_t before = atomic_fetch_add(&fake->asked, 1);
    bool wrong = before < fake->wrong;
    if (fake->partitions_code != 0 && (wrong || fake->wrong == 0)) {
        return err_set(err, (enum err_code)fake->partitions_code, "no answer about %s", topic);
    }
    *count = fake->partitions - (wrong ? 1 : 0);
    return 0;
}

static int fake_identity(struct log *log, const char *topic, uint64_t *identity, struct err *err)
{
    (void)topic;
    (void)err;
    *identity = fake_of(log)->identity;
    return 0;
}

static int fake_offsets(struct log *log, const char *topic, uint32_t partition, int64_t *start,
                        int64_t *end, struct err *err)
{
    (void)topic;
    (void)partition;
    (void)err;
    *start = fake_of(log)->start;
    *end = fake_of(log)->end;
    return 0;
}

static const struct log_ops ops = {
    .topic_partitions = fake_partitions, .topic_identity = fake_identity, .offsets = fake_offsets};

struct monitor_case {
    struct fake fake;
    int64_t next;
    const char *says; /* part of the finding's text */
    int code;         /* of the finding, 0: none */
    bool resting;
};

/* The version was made for topic "t" of 2 partitions, identity 7. */
static struct monitor_case cases[] = {
    {.fake = {.partitions = 2, .identity = 7, .start = 50, .end = 90}, .next = 10},
    {.fake = {.partitions = 2, .identity = 7, .start = 10, .end = 90}, .next = 10, .resting = true},
    {.fake = {.partitions = 2, .identity = 7, .start = 11, .end = 90},
     .next = 10,
     .resting = true,
     .code = KE_RANGE_LOST,
     .says = "at 10"},
    {.fake = {.partitions = 3, .identity = 7}, .code = KE_TOPIC_CHANGED, .says = "3 partitions"},
    {.fake = {.partitions = 1, .identity = 7}, .code = KE_TOPIC_CHANGED, .says = "1 partitions"},
    {.fake = {.partitions = 2, .identity = 8}, .code = KE_TOPIC_CHANGED, .says = "made again"},
    {.fake = {.partitions = 2, .identity = 0}}, /* it cannot tell */
    {.fake = {.partitions_code = KE_NOT_FOUND}, .code = KE_TOPIC_CHANGED, .says = "gone"},
    {.fake = {.partitions_code = KE_BROKER}}, /* trouble is no finding */
    /* A broker that has just started does not know all topics yet. */
    {.fake = {.partitions = 2, .identity = 7, .partitions_code = KE_NOT_FOUND, .wrong = 2}},
    {.fake = {.partitions = 2, .identity = 7, .wrong = 2}},
    {.fake = {.stuck = true}},
};

#define LOOKS 4 /* more than a finding needs */

/* Until it has found something, or has looked often enough. */
static void await_looks(const struct monitor_case *c, struct worker_monitor *monitor)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    struct err finding = {0};
    uint32_t source = 0;
    bool done = c->fake.stuck;
    for (int i = 0; i < 6000 && !done; i++) {
        nanosleep(&pause, NULL);
        done = worker_monitor_look(monitor, &finding, &source) ||
               (c->code == 0 && atomic_load(&c->fake.asked) >= LOOKS);
    }
    assert_true(done);
}

static void check_case(const struct monitor_case *c, struct worker_monitor *monitor, int event_fd)
{
    struct err finding = {0};
    uint32_t source = 99;
    bool found = worker_monitor_look(monitor, &finding, &source);
    if (found != (c->code != 0) || finding.code != -c->code) {
        fail_msg("case %d: %s", (int)(c - cases), finding.text);
    }
    struct pollfd fd = {.fd = event_fd, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, found ? 10000 : 0), found ? 1 : 0);
    if (found) {
        assert_non_null(strstr(finding.text, c->says));
        assert_true(finding.hint[0] != '\0');
        assert_int_equal(source, c->code == KE_RANGE_LOST ? 0 : UINT32_MAX);
    }
    int64_t start = -1;
    int64_t end = -1;
    worker_monitor_offsets(monitor, &start, &end);
    assert_int_equal(end, c->resting ? c->fake.end : -1);
}

static void test_cases(void **state)
{
    (void)state;
    struct worker_source sources[] = {{.topic = "t"}};
    struct worker_topic topics[] = {{.topic = "t", .partitions = 2, .identity = 7}};
    static struct worker_open open; /* static: a stuck monitor goes on using it */
    static struct worker_source kept_sources[1];
    static struct worker_topic kept_topics[1];
    memcpy(kept_sources, sources, sizeof sources);
    memcpy(kept_topics, topics, sizeof topics);
    open = (struct worker_open){
        .sources = kept_sources, .source_count = 1, .topics = kept_topics, .topic_count = 1};
    struct worker_monitor *monitors[array_len(cases)];
    int event_fds[array_len(cases)];
    for (size_t i = 0; i < array_len(cases); i++) {
        cases[i].fake.base = (struct log){.ops = &ops, .kind = "fake"};
        event_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        monitors[i] = worker_monitor_start(&open, &cases[i].fake.base, event_fds[i]);
        if (cases[i].resting) {
            worker_monitor_resting(monitors[i], &cases[i].next);
        }
    }
    for (size_t i = 0; i < array_len(cases); i++) {
        await_looks(&cases[i], monitors[i]);
        check_case(&cases[i], monitors[i], event_fds[i]);
        assert_int_equal(worker_monitor_stop(monitors[i]), !cases[i].fake.stuck);
        close(event_fds[i]);
    }
}

/* ---- Blocked sources, and the group ---- */

#define LANES 3

/* Partitions with last stable offsets, and what was committed. */
struct lanes {
    struct log base;
    int64_t stable[LANES];
    pthread_mutex_t lock; /* guards what follows */
    int64_t group[LANES];
    uint32_t commits; /* tried */
    int code;         /* they fail with it, or 0 */
};

static int lanes_offsets(struct log *log, const char *topic, uint32_t partition, int64_t *start,
                         int64_t *end, struct err *err)
{
    (void)topic;
    (void)err;
    *start = 0;
    *end = container_of(log, struct lanes, base)->stable[partition];
    return 0;
}

static int lanes_commit(struct log *log, const char *group, const struct log_place *places,
                        uint32_t count, struct err *err)
{
    struct lanes *lanes = container_of(log, struct lanes, base);
    assert_string_equal(group, "g.p.v1");
    assert_int_equal(count, LANES);
    pthread_mutex_lock(&lanes->lock);
    lanes->commits++;
    int code = lanes->code;
    for (uint32_t i = 0; i < LANES && code == 0; i++) {
        assert_string_equal(places[i].topic, "t");
        assert_int_equal(places[i].partition, i);
        lanes->group[i] = places[i].offset;
    }
    pthread_mutex_unlock(&lanes->lock);
    return code == 0 ? 0 : err_set(err, (enum err_code)code, "no right to commit");
}

static uint32_t lanes_commits(struct lanes *lanes, int64_t *first)
{
    pthread_mutex_lock(&lanes->lock);
    uint32_t commits = lanes->commits;
    *first = lanes->group[0];
    pthread_mutex_unlock(&lanes->lock);
    return commits;
}

static void await_blocked(struct worker_monitor *monitor, const int64_t *next, uint32_t source)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    bool blocked[LANES] = {false};
    for (int i = 0; i < 3000 && !blocked[source]; i++) {
        nanosleep(&pause, NULL);
        worker_monitor_blocked(monitor, next, blocked);
    }
    for (uint32_t i = 0; i < LANES; i++) {
        assert_int_equal(blocked[i], i == source);
    }
}

static void await_commits(struct lanes *lanes, uint32_t commits, int64_t group)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    int64_t first = -1;
    for (int i = 0; i < 3000 && lanes_commits(lanes, &first) < commits; i++) {
        nanosleep(&pause, NULL);
    }
    assert_int_equal(lanes_commits(lanes, &first), commits);
    assert_int_equal(first, group);
}

static void test_blocked_and_group(void **state)
{
    (void)state;
    static const struct log_ops lanes_ops = {.topic_partitions = fake_partitions,
                                             .offsets = lanes_offsets,
                                             .group_commit = lanes_commit};
    struct lanes lanes = {.base = {.ops = &lanes_ops, .kind = "fake"}, .stable = {10, 15, 10}};
    pthread_mutex_init(&lanes.lock, NULL);
    struct worker_source sources[] = {{.topic = "t", .partition = 0},
                                      {.topic = "t", .partition = 1},
                                      {.topic = "t", .partition = 2}};
    struct worker_open open = {
        .sources = sources, .source_count = LANES, .group = "g.p.v1", .commits = true};
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct worker_monitor *monitor = worker_monitor_start(&open, &lanes.base, event_fd);
    int64_t next[LANES] = {10, 10, 10};
    int64_t committed[LANES] = {-1, 10, 10};  /* nothing is told before all is known */
    const int64_t high[LANES] = {20, 20, 10}; /* 1 is slow, 2 has read all there is */
    bool blocked[LANES];
    worker_monitor_tell(monitor, next, committed, high);
    await_blocked(monitor, next, 0);
    await_commits(&lanes, 0, 0);
    committed[0] = 10;
    worker_monitor_tell(monitor, next, committed, high);
    await_commits(&lanes, 1, 10);
    next[0] = 15; /* it goes on: at once not blocked any more */
    committed[0] = 15;
    worker_monitor_blocked(monitor, next, blocked);
    assert_false(blocked[0]);
    pthread_mutex_lock(&lanes.lock);
    lanes.code = KE_REFUSED;
    pthread_mutex_unlock(&lanes.lock);
    worker_monitor_tell(monitor, next, committed, high);
    await_commits(&lanes, 2, 10);
    next[0] = 10;
    worker_monitor_resting(monitor, next); /* who does not read is not blocked */
    worker_monitor_blocked(monitor, next, blocked);
    assert_false(blocked[0]);
    const struct timespec pause = {.tv_sec = 4, .tv_nsec = 500000000};
    nanosleep(&pause, NULL);
    await_commits(&lanes, 2, 10); /* refused: not asked again so soon */
    assert_true(worker_monitor_stop(monitor));
    pthread_mutex_destroy(&lanes.lock);
    close(event_fd);
}

/* A reader in an archive knows no end: the log is asked for it, and only for that one. */
static void test_unknown_end(void **state)
{
    (void)state;
    static const struct log_ops lanes_ops = {.topic_partitions = fake_partitions,
                                             .offsets = lanes_offsets};
    struct lanes lanes = {.base = {.ops = &lanes_ops, .kind = "fake"}, .stable = {10, 15, 10}};
    struct worker_source sources[] = {{.topic = "t", .partition = 0},
                                      {.topic = "t", .partition = 1},
                                      {.topic = "t", .partition = 2}};
    struct worker_open open = {.sources = sources, .source_count = LANES};
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct worker_monitor *monitor = worker_monitor_start(&open, &lanes.base, event_fd);
    const int64_t next[LANES] = {3, 10, 10};
    const int64_t high[LANES] = {10, -1, 10};
    int64_t start[LANES] = {0, -1, 0};
    int64_t end[LANES] = {9, -1, 9};
    const struct timespec pause = {.tv_nsec = 20000000};
    worker_monitor_tell(monitor, next, next, high);
    for (int i = 0; i < 3000 && end[1] < 0; i++) {
        nanosleep(&pause, NULL);
        worker_monitor_offsets(monitor, start, end);
    }
    assert_int_equal(start[1], 0);
    assert_int_equal(end[1], 15);
    assert_int_equal(end[0], 9);
    assert_int_equal(end[2], 9);
    assert_true(worker_monitor_stop(monitor));
    close(event_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases),
                                       cmocka_unit_test(test_unknown_end),
                                       cmocka_unit_test(test_blocked_and_group)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
