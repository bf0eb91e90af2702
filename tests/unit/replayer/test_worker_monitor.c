/* Goal: a topic that is not the version's any more is found, and only that; a stuck log does not
 * keep the worker from ending. Method: monitors over fake logs, one per case, run side by side,
 * since each asks only every two seconds. */
#include "replayer/worker_monitor.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
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
    bool stuck;          /* never answers */
};

static struct fake *fake_of(struct log *log)
{
    return container_of(log, struct fake, base);
}

static int fake_partitions(struct log *log, const char *topic, uint32_t *count, struct err *err)
{
    const struct fake *fake = fake_of(log);
    if (fake->stuck) {
        pause();
    }
    if (fake->partitions_code != 0) {
        return err_set(err, (enum err_code)fake->partitions_code, "no answer about %s", topic);
    }
    *count = fake->partitions;
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
    {.fake = {.stuck = true}},
};

static void check_case(const struct monitor_case *c, struct worker_monitor *monitor, int event_fd)
{
    struct err finding = {0};
    uint32_t source = 99;
    bool found = worker_monitor_look(monitor, &finding, &source);
    if (found != (c->code != 0) || finding.code != -c->code) {
        fail_msg("case %d: %s", (int)(c - cases), finding.text);
    }
    struct pollfd fd = {.fd = event_fd, .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), found ? 1 : 0);
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
    const struct timespec pause = {.tv_sec = 2, .tv_nsec = 500000000};
    nanosleep(&pause, NULL);
    for (size_t i = 0; i < array_len(cases); i++) {
        check_case(&cases[i], monitors[i], event_fds[i]);
        int64_t begin = clock_mono_us(clock_real());
        assert_int_equal(worker_monitor_stop(monitors[i]), !cases[i].fake.stuck);
        assert_true(clock_mono_us(clock_real()) - begin < 2000000);
        close(event_fds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
