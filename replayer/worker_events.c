/* What a worker says: the shards' reports brought together, written as events. The pipe is never
 * waited for: events are buffered, and progress is left out while the buffer is not empty (its
 * next one tells more). Answers are few: each answers a command. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/trace.h"
#include "replayer/catchup.h"
#include "replayer/worker_inside.h"

#define PROGRESS_US          100000
#define PROGRESS_BUILDING_US 40000 /* that it has caught up is waited for */
#define PROGRESS_QUIET_US    1000000
#define MANY_SOURCES         512 /* more: lines are long, progress comes every second only */

static const char *const mode_names[] = {
    [SHARD_RUNNING] = "running", [SHARD_PAUSED] = "paused", [SHARD_HELD] = "held",
    [SHARD_TO_CUT] = "to_cut",   [SHARD_AT_CUT] = "at_cut",
};

static const char *const time_names[] = {
    [SHARD_FETCH] = "fetch",   [SHARD_WAIT] = "wait",       [SHARD_LIMITED] = "limited",
    [SHARD_DECODE] = "decode", [SHARD_COMPUTE] = "compute", [SHARD_COMMIT] = "commit",
};

/* ---- The snapshot */

/* While shards differ, the version is in the mode that is furthest from rest. */
static enum shard_mode mode_of_both(enum shard_mode a, enum shard_mode b)
{
    static const int rank[] = {
        [SHARD_RUNNING] = 4, [SHARD_TO_CUT] = 3, [SHARD_HELD] = 2,
        [SHARD_AT_CUT] = 1,  [SHARD_PAUSED] = 0,
    };
    return rank[a] >= rank[b] ? a : b;
}

static void add_status(struct worker_snapshot *s, const struct shard_status *status)
{
    s->mode = mode_of_both(s->mode, status->mode);
    s->sealed &= status->sealed;
    s->records += status->records;
    s->dead += status->dead;
    s->late += status->late;
    s->duplicates += status->duplicates;
    s->bytes += status->bytes;
    s->archived_bytes += status->archived_bytes;
    s->commits += status->commits;
    s->commit_us_max = i64_max(s->commit_us_max, status->commit_us_max);
    s->cut_commit_us = i64_max(s->cut_commit_us, status->cut_commit_us);
    s->held_us = i64_min(s->held_us, status->held_us);
    histogram_merge(&s->commits_took, &status->commits_took);
    histogram_merge(&s->freshness, &status->freshness);
    for (uint32_t i = 0; i < SHARD_TIME_COUNT; i++) {
        s->time_us[i] += status->time_us[i];
    }
    s->readers = s->readers > status->readers ? s->readers : status->readers;
    s->oldest_age_us = i64_max(s->oldest_age_us, status->oldest_age_us);
    s->cache_bytes += status->processor.cache_bytes;
    s->cache_rows += status->processor.cache_rows;
    s->evictions += status->processor.evictions;
    s->file_bytes += status->file_bytes;
    s->used_bytes += status->used_bytes;
    s->outbox_rows += status->outbox_rows;
    if (s->trouble.code == 0) {
        s->trouble = status->trouble;
    }
}

static void add_shard(struct worker_snapshot *s, struct worker_shard *shard)
{
    pthread_mutex_lock(&shard->lock);
    for (uint32_t i = 0; i < shard->options.source_count; i++) {
        const struct shard_position *position = &shard->report.positions[i];
        uint32_t source = shard->options.sources[i].source;
        s->next[source] = position->next;
        s->least[source] = position->least;
        s->committed[source] = position->committed;
        s->start[source] = position->start;
        s->end[source] = position->end;
        s->high[source] = position->high;
        s->at_end[source] = position->at_end;
        s->record_time_ms[source] = position->record_time_max;
    }
    add_status(s, &shard->report.status);
    pthread_mutex_unlock(&shard->lock);
}

void worker_snapshot_take(struct worker *w)
{
    struct worker_snapshot *s = &w->snapshot;
    *s = (struct worker_snapshot){.next = s->next,
                                  .least = s->least,
                                  .committed = s->committed,
                                  .start = s->start,
                                  .end = s->end,
                                  .high = s->high,
                                  .record_time_ms = s->record_time_ms,
                                  .at_end = s->at_end,
                                  .blocked = s->blocked,
                                  .held_us = INT64_MAX,
                                  .mode = SHARD_PAUSED,
                                  .sealed = true};
    for (uint32_t i = 0; i < w->shard_count; i++) {
        add_shard(s, &w->shards[i]);
    }
    worker_monitor_tell(w->monitor, s->next, s->committed, s->high);
    worker_monitor_offsets(w->monitor, s->start, s->end);
    worker_monitor_blocked(w->monitor, s->next, s->blocked);
    for (uint32_t i = 0; i < w->open.source_count; i++) {
        s->high[i] = i64_max(s->high[i], s->end[i]);
        if (s->blocked[i]) { /* what lies behind cannot be read: this is the end */
            s->end[i] = s->next[i];
            s->at_end[i] = true;
        }
    }
}

/* ---- Events */

static json_t *event_new(const char *is)
{
    json_t *event = json_object();
    json_object_set_new(event, "is", json_string(is));
    return event;
}

/* Takes the event. */
static void event_say(struct worker *w, json_t *event)
{
    json_write(&w->out, event);
    buf_append_u8(&w->out, '\n');
    json_decref(event);
    worker_out_flush(w);
}

static void set_offsets(json_t *event, const char *name, const int64_t *offsets, uint32_t count)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(array, json_integer(offsets[i]));
    }
    json_object_set_new(event, name, array);
}

static void set_count(json_t *event, const char *name, uint64_t count)
{
    json_object_set_new(event, name, json_integer((json_int_t)count));
}

/* The inner object: {"code","message","hint"}. */
static json_t *error_json(const struct err *err)
{
    json_t *outer = json_from_err(err);
    json_t *inner = json_incref(json_object_get(outer, "error"));
    json_decref(outer);
    return inner;
}

void worker_say(struct worker *w, const char *what)
{
    event_say(w, event_new(what));
}

void worker_say_copied(struct worker *w, json_t *note)
{
    json_t *event = event_new("copied");
    (void)json_object_del(note, "definition"); /* long, and known to who asked */
    (void)json_object_del(note, "files");
    json_object_set_new(event, "snapshot", note);
    event_say(w, event);
}

void worker_say_opened(struct worker *w)
{
    json_t *event = event_new("opened");
    json_object_set_new(event, "sealed", json_boolean(w->snapshot.sealed));
    set_offsets(event, "next", w->snapshot.next, w->open.source_count);
    if (w->open.take_from != NULL) {
        set_offsets(event, "least", w->snapshot.least, w->open.source_count);
    }
    event_say(w, event);
}

void worker_say_near(struct worker *w, uint64_t id)
{
    json_t *event = event_new("near");
    set_count(event, "id", id);
    event_say(w, event);
}

void worker_say_held(struct worker *w, uint64_t id)
{
    json_t *event = event_new("held");
    set_count(event, "id", id);
    set_offsets(event, "next", w->snapshot.next, w->open.source_count);
    set_count(event, "held_us", u64_from_i64(w->snapshot.held_us));
    event_say(w, event);
}

static json_t *digest_json(struct digest digest)
{
    char text[DIGEST_TEXT_LEN + 1];
    digest_format(digest, text);
    return json_string(text);
}

/* Digests per source; adds each source's tables and outputs to `tables`. */
static json_t *source_digests(struct worker *w, struct digest *tables, struct digest *total)
{
    json_t *array = json_array();
    for (uint32_t s = 0; s < w->open.source_count; s++) {
        struct worker_shard *shard = &w->shards[s % w->open.shards];
        pthread_mutex_lock(&shard->lock);
        const struct store_source *kept = &shard->report.kept[s / w->open.shards];
        struct digest sum = store_digest_sum(kept, w->plan->table_count + w->plan->topic_count);
        for (uint32_t t = 0; t < w->plan->table_count + w->plan->topic_count; t++) {
            digest_add(&tables[t], kept->digests[t]);
        }
        pthread_mutex_unlock(&shard->lock);
        digest_add(total, sum);
        json_array_append_new(array, digest_json(sum));
    }
    return array;
}

void worker_say_at_cut(struct worker *w, uint64_t id)
{
    struct digest tables[STORE_DIGESTS] = {{0}};
    struct digest total = {0};
    json_t *event = event_new("at_cut");
    json_t *by_table = json_object();
    json_t *sources = source_digests(w, tables, &total);
    for (uint32_t t = 0; t < w->plan->view_count; t++) {
        json_object_set_new(by_table, w->plan->views[t].shape.name, digest_json(tables[t]));
    }
    for (uint32_t t = 0; t < w->plan->topic_count; t++) {
        json_object_set_new(by_table, w->plan->topics[t].name,
                            digest_json(tables[w->plan->table_count + t]));
    }
    set_count(event, "id", id);
    set_offsets(event, "cut", w->snapshot.committed, w->open.source_count);
    set_count(event, "commit_us", u64_from_i64(w->snapshot.cut_commit_us));
    json_object_set_new(event, "digest", digest_json(total));
    json_object_set_new(event, "tables", by_table);
    json_object_set_new(event, "sources", sources);
    event_say(w, event);
}

void worker_say_failed(struct worker *w)
{
    json_t *event = event_new("failed");
    json_object_set_new(event, "error", error_json(&w->failure));
    json_object_set_new(event, "source",
                        w->failure_source == UINT32_MAX ? json_null()
                                                        : json_integer(w->failure_source));
    trace(TRACE_ERROR, "%s", w->failure.text);
    event_say(w, event);
}

/* ---- Progress */

uint64_t worker_rss_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) {
        return 0;
    }
    char line[128];
    if (fgets(line, sizeof line, file) && sscanf(line, "%*u %lu", &pages) != 1) { // NOLINT
        pages = 0;
    }
    (void)fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Takes a sample of the records count; returns records per second over about the last second. */
static double rate_now(struct worker *w, int64_t now)
{
    uint32_t at = w->rate_count++ % WORKER_RATE_SAMPLES;
    w->rate_us[at] = now;
    w->rate_records[at] = w->snapshot.records;
    uint32_t oldest = w->rate_count > WORKER_RATE_SAMPLES ? w->rate_count % WORKER_RATE_SAMPLES : 0;
    while (now - w->rate_us[oldest] > 3 * PROGRESS_QUIET_US / 2 && oldest != at) {
        oldest = (oldest + 1) % WORKER_RATE_SAMPLES;
    }
    int64_t passed = now - w->rate_us[oldest];
    uint64_t records = w->snapshot.records - w->rate_records[oldest];
    return passed > 0 ? (double)records * 1e6 / (double)passed : 0.0;
}

static void set_vectors(const struct worker *w, json_t *event)
{
    const struct worker_snapshot *s = &w->snapshot;
    uint32_t count = w->open.source_count;
    json_t *at_end = json_array();
    json_t *times = json_array();
    json_t *blocked = json_array();
    set_offsets(event, "next", s->next, count);
    set_offsets(event, "committed", s->committed, count);
    set_offsets(event, "start", s->start, count);
    set_offsets(event, "end", s->end, count);
    set_offsets(event, "high", s->high, count);
    for (uint32_t i = 0; i < count; i++) {
        bool known = s->record_time_ms[i] != KAPPA_NO_TIME;
        json_array_append_new(at_end, json_boolean(s->at_end[i]));
        json_array_append_new(times, known ? json_integer(s->record_time_ms[i]) : json_null());
        json_array_append_new(blocked, json_boolean(s->blocked[i]));
    }
    json_object_set_new(event, "at_end", at_end);
    json_object_set_new(event, "blocked", blocked);
    json_object_set_new(event, "record_time_ms", times);
}

static void set_times(const struct worker_snapshot *s, json_t *event)
{
    json_t *times = json_object();
    for (uint32_t i = 0; i < SHARD_TIME_COUNT; i++) {
        set_count(times, time_names[i], u64_from_i64(s->time_us[i]));
    }
    json_object_set_new(event, "time_us", times);
    json_object_set_new(event, "commits_took", histogram_to_json(&s->commits_took));
    json_object_set_new(event, "freshness", histogram_to_json(&s->freshness));
    set_count(event, "readers", s->readers);
    set_count(event, "oldest_reader_us", u64_from_i64(s->oldest_age_us));
}

static void say_progress(struct worker *w, double rate)
{
    const struct worker_snapshot *s = &w->snapshot;
    json_t *event = event_new("progress");
    json_object_set_new(event, "mode", json_string(mode_names[s->mode]));
    set_vectors(w, event);
    set_count(event, "records", s->records);
    set_count(event, "dead", s->dead);
    set_count(event, "late", s->late);
    set_count(event, "duplicates", s->duplicates);
    set_count(event, "bytes", s->bytes);
    set_count(event, "archived_bytes", s->archived_bytes);
    json_object_set_new(event, "rate", json_real(rate));
    set_count(event, "commits", s->commits);
    set_count(event, "commit_us", s->commits_took.sum_us);
    set_count(event, "commit_us_max", u64_from_i64(s->commit_us_max));
    set_count(event, "cache_bytes", s->cache_bytes);
    set_count(event, "cache_rows", s->cache_rows);
    set_count(event, "evictions", s->evictions);
    set_count(event, "file_bytes", s->file_bytes);
    set_count(event, "used_bytes", s->used_bytes);
    set_count(event, "rss_bytes", worker_rss_bytes());
    set_times(s, event);
    struct err trouble = s->trouble;
    json_t *outbox = worker_send_status(w, &trouble);
    if (outbox != NULL) {
        json_object_set_new(event, "outbox", outbox);
    }
    json_object_set_new(event, "trouble", trouble.code == 0 ? json_null() : error_json(&trouble));
    event_say(w, event);
}

static bool told_differs(const struct worker_told *a, const struct worker_told *b)
{
    return a->next_sum != b->next_sum || a->committed_sum != b->committed_sum ||
           a->end_sum != b->end_sum || a->commits != b->commits || a->mode != b->mode ||
           a->outbox_rows != b->outbox_rows || a->blocked != b->blocked || a->trouble != b->trouble;
}

int worker_progress(struct worker *w)
{
    int64_t now = clock_mono_us(clock_real());
    int64_t every = w->open.source_count > MANY_SOURCES ? PROGRESS_QUIET_US
                    : w->snapshot.sealed                ? PROGRESS_US
                                                        : PROGRESS_BUILDING_US;
    int64_t left = w->progress_us + every - now;
    if (left > 0) {
        return (int)((left + 999) / 1000);
    }
    worker_snapshot_take(w);
    worker_send_look(w);
    const struct worker_snapshot *s = &w->snapshot;
    uint32_t count = w->open.source_count;
    uint32_t blocked = 0;
    for (uint32_t i = 0; i < count; i++) {
        blocked += s->blocked[i];
    }
    struct worker_told present = {.next_sum = catchup_sum(s->next, count),
                                  .committed_sum = catchup_sum(s->committed, count),
                                  .end_sum = catchup_sum(s->end, count),
                                  .commits = s->commits,
                                  .mode = s->mode,
                                  .outbox_rows = s->outbox_rows,
                                  .blocked = blocked,
                                  .trouble = s->trouble.code};
    bool due = told_differs(&present, &w->told) || now - w->progress_us >= PROGRESS_QUIET_US;
    if (due && !worker_out_waiting(w)) {
        w->told = present;
        w->progress_us = now;
        say_progress(w, rate_now(w, now));
    }
    return (int)(every / 1000);
}

/* ---- The pipe */

bool worker_out_waiting(const struct worker *w)
{
    return !w->out_closed && w->out_at < w->out.len;
}

void worker_out_flush(struct worker *w)
{
    while (worker_out_waiting(w)) {
        ssize_t n = write(w->out_fd, w->out.data + w->out_at, w->out.len - w->out_at);
        if (n > 0) {
            w->out_at += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            return;
        } else if (n < 0 && errno != EINTR) {
            w->out_closed = true; /* the controller is gone: the end of stdin follows */
        }
    }
    buf_reset(&w->out);
    w->out_at = 0;
}
