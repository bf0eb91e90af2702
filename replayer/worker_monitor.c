/* The thread that asks the log slow questions. Own header: worker_monitor.h. */
#include "replayer/worker_monitor.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cond.h"
#include "base/trace.h"

#define EVERY_MS        2000
#define FIRST_MS        300
#define GONE_LOOKS      3 /* in a row that miss something of a topic, until it counts as gone */
#define STOP_WAIT_MS    1000
#define COMMIT_AGAIN_US INT64_C(3600000000) /* a group is committed again although nothing moved */
#define COMMIT_RETRY_US INT64_C(30000000)   /* after an error */

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
    int64_t *start; /* as answered while resting, or while the reader did not know; or -1 */
    int64_t *end;
    struct err finding; /* code 0: none */
    uint32_t finding_source;
    bool told;   /* what follows is set */
    int64_t *at; /* as told: next, committed, high */
    int64_t *committed;
    int64_t *high;
    int64_t *blocked_at; /* the last stable offset is here, below what is there; or -1 */

    /* The thread's own. */
    uint32_t *missed;      /* of each topic: looks in a row that missed something of it */
    int64_t *still;        /* stood here at the last look, with something behind; or -1 */
    int64_t *group;        /* as committed last; -1: never */
    int64_t group_next_us; /* not committed before, unless it has moved and nothing is wrong */
    bool group_failed;
};

#define VECTORS 9 /* with an entry for each source */

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

/* Returns 0 when the topic is as the version knows it, or when nobody answers. *missed: it is not there,
 * or less of it is; a broker that has just started may say so, since it does not know yet. */
static int ask_topic(const struct worker_monitor *m, const struct worker_topic *topic, bool *missed,
                     struct err *err)
{
    uint32_t partitions = 0;
    uint64_t identity = 0;
    int rc = m->log->ops->topic_partitions(m->log, topic->topic, &partitions, err);
    *missed = rc == -KE_NOT_FOUND || (rc == 0 && partitions < topic->partitions);
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

/* A reader that is still in an archive does not know where the log behind it ends. */
static void ask_unknown(struct worker_monitor *m, uint32_t s)
{
    const struct worker_source *source = &m->open->sources[s];
    int64_t start = -1;
    int64_t end = -1;
    pthread_mutex_lock(&m->lock);
    bool unknown = m->told && !m->resting && m->high[s] < 0;
    pthread_mutex_unlock(&m->lock);
    if (!unknown ||
        m->log->ops->offsets(m->log, source->topic, source->partition, &start, &end, NULL) != 0) {
        return;
    }
    pthread_mutex_lock(&m->lock);
    m->start[s] = start;
    m->end[s] = end;
    pthread_mutex_unlock(&m->lock);
}

/* Stood still, with something behind, at this look and the one before? */
static bool suspicious(struct worker_monitor *m, uint32_t s, int64_t *at)
{
    pthread_mutex_lock(&m->lock);
    bool waits = m->told && !m->resting && m->high[s] > m->at[s];
    *at = m->at[s];
    pthread_mutex_unlock(&m->lock);
    bool still = waits && m->still[s] == *at;
    m->still[s] = waits ? *at : -1;
    return still;
}

static void ask_stable(struct worker_monitor *m, uint32_t s)
{
    const struct worker_source *source = &m->open->sources[s];
    int64_t at = -1;
    int64_t start = -1;
    int64_t end = -1;
    struct err err = {.code = 0};
    if (suspicious(m, s, &at) &&
        m->log->ops->offsets(m->log, source->topic, source->partition, &start, &end, &err) != 0) {
        return; /* nobody answers: as it was */
    }
    pthread_mutex_lock(&m->lock);
    m->blocked_at[s] = end >= 0 && end <= at ? at : -1;
    pthread_mutex_unlock(&m->lock);
}

/* ---- The group */

/* The cut in places[]; *moved: sources that moved since it was committed last. False while a source's is
 * not known. */
static bool group_cut(struct worker_monitor *m, struct log_place *places, uint32_t *moved)
{
    pthread_mutex_lock(&m->lock);
    bool known = m->told;
    *moved = 0;
    for (uint32_t s = 0; s < m->open->source_count; s++) {
        const struct worker_source *source = &m->open->sources[s];
        places[s] = (struct log_place){source->topic, source->partition, m->committed[s]};
        known = known && m->committed[s] >= 0;
        *moved += m->committed[s] != m->group[s];
    }
    pthread_mutex_unlock(&m->lock);
    return known;
}

static void group_told(struct worker_monitor *m, const struct log_place *places, int rc,
                       const struct err *err)
{
    for (uint32_t s = 0; s < m->open->source_count && rc == 0; s++) {
        m->group[s] = places[s].offset;
    }
    if (rc != 0 && !m->group_failed) {
        trace(TRACE_WARN, "%s; what watches the lag from outside sees old figures", err->text);
    }
    m->group_failed = rc != 0;
    m->group_next_us = clock_mono_us(clock_real()) + (rc == 0 ? COMMIT_AGAIN_US : COMMIT_RETRY_US);
}

static void group_commit(struct worker_monitor *m)
{
    struct log_place *places = xcalloc(m->open->source_count, sizeof *places);
    uint32_t moved = 0;
    bool known = group_cut(m, places, &moved);
    bool waited = clock_mono_us(clock_real()) >= m->group_next_us;
    if (known && (waited || (moved > 0 && !m->group_failed))) {
        struct err err = {.code = 0};
        int rc =
            m->log->ops->group_commit(m->log, m->open->group, places, m->open->source_count, &err);
        group_told(m, places, rc, &err);
    }
    free(places);
}

/* ---- The thread */

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
        bool missed = false;
        int rc = ask_topic(m, &m->open->topics[t], &missed, &err);
        m->missed[t] = missed ? m->missed[t] + 1 : 0;
        if (rc != 0 && (!missed || m->missed[t] >= GONE_LOOKS)) {
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
    for (uint32_t s = 0; s < m->open->source_count && going_on(m, &resting); s++) {
        ask_unknown(m, s);
        ask_stable(m, s);
    }
    if (m->open->commits && m->log->ops->group_commit != NULL && going_on(m, &resting)) {
        group_commit(m);
    }
}

static void *thread_main(void *ctx)
{
    struct worker_monitor *m = ctx;
    uint32_t wait_ms = FIRST_MS;
    pthread_mutex_lock(&m->lock);
    while (!m->stop && m->finding.code == 0) {
        struct timespec until = cond_until(wait_ms);
        wait_ms = EVERY_MS;
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
    int64_t **vectors[VECTORS] = {&m->next, &m->start,      &m->end,   &m->at,   &m->committed,
                                  &m->high, &m->blocked_at, &m->still, &m->group};
    for (uint32_t v = 0; v < VECTORS; v++) {
        int64_t *vector = xcalloc(open->source_count, sizeof *vector);
        for (uint32_t i = 0; i < open->source_count; i++) {
            vector[i] = -1;
        }
        *vectors[v] = vector;
    }
    m->missed = xcalloc((size_t)open->topic_count + 1, sizeof *m->missed);
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

void worker_monitor_tell(struct worker_monitor *m, const int64_t *next, const int64_t *committed,
                         const int64_t *high)
{
    size_t bytes = m->open->source_count * sizeof *next;
    pthread_mutex_lock(&m->lock);
    memcpy(m->at, next, bytes);
    memcpy(m->committed, committed, bytes);
    memcpy(m->high, high, bytes);
    m->told = true;
    pthread_mutex_unlock(&m->lock);
}

void worker_monitor_blocked(struct worker_monitor *m, const int64_t *next, bool *blocked)
{
    pthread_mutex_lock(&m->lock);
    for (uint32_t i = 0; i < m->open->source_count; i++) {
        blocked[i] = !m->resting && m->blocked_at[i] >= 0 && m->blocked_at[i] == next[i];
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
    free(m->missed);
    free(m->next);
    free(m->start);
    free(m->end);
    free(m->at);
    free(m->committed);
    free(m->high);
    free(m->blocked_at);
    free(m->still);
    free(m->group);
    free(m);
    return true;
}
