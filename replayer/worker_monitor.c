/* The thread that asks the log slow questions. Own header: worker_monitor.h. */
#include "replayer/worker_monitor.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cond.h"

#define EVERY_MS     2000
#define STOP_WAIT_MS 300

struct worker_monitor {
    const struct worker_open *open; /* borrowed */
    struct log *log;                /* borrowed */
    int event_fd;                   /* borrowed */
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    bool stop;
    bool ended;
    bool resting;
    int64_t *next;  /* of each source while resting */
    int64_t *start; /* as answered, or -1 */
    int64_t *end;
    struct err finding; /* code 0: none */
    uint32_t finding_source;
};

static void found(struct worker_monitor *m, const struct err *finding, uint32_t source)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&m->lock);
    m->finding = *finding;
    m->finding_source = source;
    pthread_mutex_unlock(&m->lock);
    ssize_t n = write(m->event_fd, &one, sizeof one);
    ASSERT(n == (ssize_t)sizeof one);
}

/* ---- Questions */

/* Returns 0 when the topic is as the version knows it, or when nobody answers. */
static int ask_topic(const struct worker_monitor *m, const struct worker_topic *topic,
                     struct err *err)
{
    uint32_t partitions = 0;
    uint64_t identity = 0;
    int rc = m->log->ops->topic_partitions(m->log, topic->topic, &partitions, err);
    if (rc == -KE_NOT_FOUND) {
        err_set(err, KE_TOPIC_CHANGED, "topic '%s' is gone", topic->topic);
        err_hint(err, "deploy again when it is back: its offsets mean other records then");
        return -KE_TOPIC_CHANGED;
    }
    if (rc == 0 && topic->partitions != 0 && partitions != topic->partitions) {
        err_set(err, KE_TOPIC_CHANGED,
                "topic '%s' has %" PRIu32 " partitions now, this version was made for %" PRIu32,
                topic->topic, partitions, topic->partitions);
        err_hint(err, "replay the processor: a new version reads all partitions");
        return -KE_TOPIC_CHANGED;
    }
    if (rc == 0 && topic->identity != 0) {
        rc = m->log->ops->topic_identity(m->log, topic->topic, &identity, err);
        if (rc == 0 && identity != 0 && identity != topic->identity) {
            err_set(err, KE_TOPIC_CHANGED, "topic '%s' was deleted and made again", topic->topic);
            err_hint(err, "replay the processor: its offsets mean other records now");
            return -KE_TOPIC_CHANGED;
        }
    }
    return 0;
}

/* While nothing reads: does the log still hold the next record? */
static int ask_offsets(struct worker_monitor *m, uint32_t s, struct err *err)
{
    const struct worker_source *source = &m->open->sources[s];
    int64_t start = -1;
    int64_t end = -1;
    int rc = m->log->ops->offsets(m->log, source->topic, source->partition, &start, &end, err);
    if (rc != 0) {
        return 0;
    }
    pthread_mutex_lock(&m->lock);
    bool lost = m->resting && start > m->next[s];
    int64_t next = m->next[s];
    m->start[s] = start;
    m->end[s] = end;
    pthread_mutex_unlock(&m->lock);
    if (!lost) {
        return 0;
    }
    err_set(err, KE_RANGE_LOST,
            "topic '%s' partition %" PRIu32 " begins at offset %" PRId64 " now, this version "
            "paused at %" PRId64,
            source->topic, source->partition, start, next);
    err_hint(err, "replay the processor from what is left, or lengthen the topic's retention");
    return -KE_RANGE_LOST;
}

/* False when asked to stop meanwhile. */
static bool going_on(struct worker_monitor *m, bool *resting)
{
    pthread_mutex_lock(&m->lock);
    bool on = !m->stop;
    *resting = m->resting;
    pthread_mutex_unlock(&m->lock);
    return on;
}

static void ask_all(struct worker_monitor *m)
{
    bool resting = false;
    for (uint32_t t = 0; t < m->open->topic_count && going_on(m, &resting); t++) {
        struct err err = {.code = 0};
        if (ask_topic(m, &m->open->topics[t], &err) != 0) {
            found(m, &err, UINT32_MAX);
            return;
        }
    }
    for (uint32_t s = 0; s < m->open->source_count && going_on(m, &resting) && resting; s++) {
        struct err err = {.code = 0};
        if (ask_offsets(m, s, &err) != 0) {
            found(m, &err, s);
            return;
        }
    }
}

static void *thread_main(void *ctx)
{
    struct worker_monitor *m = ctx;
    pthread_mutex_lock(&m->lock);
    while (!m->stop && m->finding.code == 0) {
        struct timespec until = cond_until(EVERY_MS);
        int rc = 0;
        while (!m->stop && rc == 0) {
            rc = pthread_cond_timedwait(&m->wake, &m->lock, &until);
        }
        if (!m->stop) {
            pthread_mutex_unlock(&m->lock);
            ask_all(m);
            pthread_mutex_lock(&m->lock);
        }
    }
    m->ended = true;
    pthread_cond_broadcast(&m->wake);
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ---- For the main thread */

struct worker_monitor *worker_monitor_start(const struct worker_open *open, struct log *log,
                                            int event_fd)
{
    struct worker_monitor *m = xcalloc(1, sizeof *m);
    m->open = open;
    m->log = log;
    m->event_fd = event_fd;
    m->next = xcalloc(open->source_count, sizeof *m->next);
    m->start = xcalloc(open->source_count, sizeof *m->start);
    m->end = xcalloc(open->source_count, sizeof *m->end);
    for (uint32_t i = 0; i < open->source_count; i++) {
        m->start[i] = -1;
        m->end[i] = -1;
    }
    pthread_mutex_init(&m->lock, NULL);
    cond_init(&m->wake);
    int rc = pthread_create(&m->thread, NULL, thread_main, m);
    ASSERT_CMP(rc, ==, 0);
    return m;
}

void worker_monitor_resting(struct worker_monitor *m, const int64_t *next)
{
    pthread_mutex_lock(&m->lock);
    m->resting = next != NULL;
    if (next) {
        memcpy(m->next, next, m->open->source_count * sizeof *next);
    }
    pthread_mutex_unlock(&m->lock);
}

bool worker_monitor_look(struct worker_monitor *m, struct err *finding, uint32_t *source)
{
    pthread_mutex_lock(&m->lock);
    bool any = m->finding.code != 0;
    if (any) {
        *finding = m->finding;
        *source = m->finding_source;
    }
    pthread_mutex_unlock(&m->lock);
    return any;
}

void worker_monitor_offsets(struct worker_monitor *m, int64_t *start, int64_t *end)
{
    pthread_mutex_lock(&m->lock);
    for (uint32_t i = 0; i < m->open->source_count; i++) {
        start[i] = i64_max(start[i], m->start[i]);
        end[i] = i64_max(end[i], m->end[i]);
    }
    pthread_mutex_unlock(&m->lock);
}

bool worker_monitor_stop(struct worker_monitor *m)
{
    int rc = 0;
    struct timespec until = cond_until(STOP_WAIT_MS);
    pthread_mutex_lock(&m->lock);
    m->stop = true;
    pthread_cond_broadcast(&m->wake);
    while (!m->ended && rc == 0) {
        rc = pthread_cond_timedwait(&m->wake, &m->lock, &until);
    }
    bool ended = m->ended;
    pthread_mutex_unlock(&m->lock);
    if (!ended) {
        return false; /* it still uses everything: left to the end of the process */
    }
    pthread_join(m->thread, NULL);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    free(m->next);
    free(m->start);
    free(m->end);
    free(m);
    return true;
}
