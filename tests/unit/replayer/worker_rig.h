/* A worker in a forked child, spoken to over pipes as the controller does, over an embedded log in
 * a directory of its own: what the tests of the worker share. */
#ifndef KAPPA_TESTS_WORKER_RIG_H
#define KAPPA_TESTS_WORKER_RIG_H

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/prng.h"
#include "log/log.h"
#include "replayer/worker.h"

#define WORKER_PARTITIONS 3
#define WORKER_WAIT_MS    120000

static const char worker_sql[] =
    "CREATE TABLE events (\"user\" text, amount bigint, ts timestamptz)\n"
    "  WITH (topic = 'events', format = 'json', event_time = 'ts', watermark = '5 s',\n"
    "        timestamp_unit = 'ms');\n"
    "CREATE MATERIALIZED VIEW by_user AS\n"
    "  SELECT \"user\", count(*) AS events, sum(amount) AS amount FROM events GROUP BY \"user\";\n"
    "CREATE MATERIALIZED VIEW by_minute WITH (retain = '10 minutes') AS\n"
    "  SELECT \"user\", window_start, window_end, sum(amount) AS amount\n"
    "  FROM tumble(events, ts, interval '1 minute') GROUP BY \"user\", window_start, window_end;\n";

/* The place: a log and the directories of versions. */
struct place {
    char root[40];
    char *log_dir;
    struct log *log;
    int64_t produced; /* events so far */
    struct prng prng;
};

struct worker_child {
    pid_t pid;
    int in, out; /* our ends: commands, events */
    struct buf buf;
    json_t *progress; /* the last one seen */
};

/* What `open` says besides the place. */
struct worker_setup {
    uint32_t version; /* names the directory */
    uint32_t shards;
    uint32_t batch_records;
    size_t cache_bytes;
    const int64_t *until; /* or NULL */
    const char *sql;      /* or NULL */
    const char *topic;    /* or NULL */
    const char *fail;     /* KAPPA_FAIL, or NULL */
};

/* ---- The place */

static inline void place_produce(struct place *place, uint32_t events)
{
    struct log_writer *writer = NULL;
    struct err err = {0};
    if (place->log->ops->writer_open(place->log, "events", &writer, &err) != 0) {
        fail_msg("%s", err.text);
    }
    for (uint32_t i = 0; i < events; i++, place->produced++) {
        uint8_t text[256] = {0};
        int64_t ts = 1700000000000 + place->produced * 20;
        int len = snprintf((char *)text, sizeof text - KAPPA_RECORD_TAIL,
                           "{\"user\":\"u%llu\",\"amount\":%llu,\"ts\":%lld}",
                           (unsigned long long)prng_below(&place->prng, 500),
                           (unsigned long long)prng_below(&place->prng, 1000), (long long)ts);
        struct kappa_record record = {
            .time_ms = ts, .key_len = KAPPA_NULL_LEN, .value = text, .value_len = (uint32_t)len};
        int32_t partition = (int32_t)prng_below(&place->prng, WORKER_PARTITIONS);
        assert_int_equal(writer->ops->append(writer, partition, &record, &err), 0);
    }
    assert_int_equal(writer->ops->flush(writer, false, &err), 0);
    writer->ops->close(writer);
}

static inline void place_make_topic(struct place *place)
{
    struct log_topic_options options = {
        .partitions = WORKER_PARTITIONS, .retain_ms = -1, .retain_bytes = -1};
    struct err err = {0};
    if (place->log->ops->topic_create(place->log, "events", &options, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

static inline struct place *place_new(uint64_t seed, uint32_t events)
{
    struct place *place = xcalloc(1, sizeof *place);
    struct err err = {0};
    (void)snprintf(place->root, sizeof place->root, "/tmp/kappa-worker-XXXXXX");
    assert_non_null(mkdtemp(place->root));
    place->log_dir = xasprintf("%s/log", place->root);
    prng_init(&place->prng, seed);
    if (log_open_embedded(place->log_dir, &place->log, &err) != 0) {
        fail_msg("%s", err.text);
    }
    place_make_topic(place);
    place_produce(place, events);
    return place;
}

static inline void place_free(struct place *place)
{
    place->log->ops->close(place->log);
    char *command = xasprintf("rm -rf '%s'", place->root);
    assert_int_equal(system(command), 0); // NOLINT
    free(command);
    free(place->log_dir);
    free(place);
}

static inline void place_ends(struct place *place, int64_t *cut)
{
    for (uint32_t p = 0; p < WORKER_PARTITIONS; p++) {
        int64_t start = 0;
        assert_int_equal(place->log->ops->offsets(place->log, "events", p, &start, &cut[p], NULL),
                         0);
    }
}

/* ---- The child */

static inline struct worker_child *worker_start(const char *fail)
{
    struct worker_child *child = xcalloc(1, sizeof *child);
    int in[2];
    int out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    child->pid = fork();
    assert_true(child->pid >= 0);
    if (child->pid == 0) {
        close(in[1]);
        close(out[0]);
        if (fail) {
            (void)setenv("KAPPA_FAIL", fail, 1);
        }
        _exit(worker_main(in[0], out[1]));
    }
    close(in[0]);
    close(out[1]);
    child->in = in[1];
    child->out = out[0];
    return child;
}

static inline void worker_send_json(struct worker_child *child, json_t *message)
{
    struct buf line = {0};
    json_write(&line, message);
    buf_append_u8(&line, '\n');
    json_decref(message);
    size_t at = 0;
    while (at < line.len) {
        ssize_t n = write(child->in, line.data + at, line.len - at);
        if (n < 0) {
            break; /* it died: the test finds out by what it does not answer */
        }
        at += (size_t)n;
    }
    buf_free(&line);
}

static inline void worker_send(struct worker_child *child, const char *what, int64_t id)
{
    worker_send_json(child, json_pack("{s:s,s:I}", "do", what, "id", (json_int_t)id));
}

static inline json_t *cut_json(const int64_t *cut)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < WORKER_PARTITIONS; i++) {
        json_array_append_new(array, json_integer(cut[i]));
    }
    return array;
}

static inline void worker_run_to(struct worker_child *child, int64_t id, const int64_t *cut)
{
    worker_send_json(child, json_pack("{s:s,s:I,s:o}", "do", "run_to", "id", (json_int_t)id, "cut",
                                      cut_json(cut)));
}

static inline json_t *open_message(const struct place *place, const struct worker_setup *setup)
{
    const char *topic = setup->topic ? setup->topic : "events";
    char *dir = xasprintf("%s/versions/p/%u", place->root, setup->version);
    json_t *sources = json_array();
    uint64_t identity = 0;
    (void)place->log->ops->topic_identity(place->log, "events", &identity, NULL);
    for (int p = 0; p < WORKER_PARTITIONS; p++) {
        json_array_append_new(sources, json_pack("{s:s,s:i,s:i,s:i}", "topic", topic, "partition",
                                                 p, "input", 0, "start", 0));
    }
    json_t *message = json_pack(
        "{s:s,s:s,s:i,s:s,s:s,s:s,s:{s:s,s:s},s:s,s:i,s:I,s:i,s:b,s:o,s:[{s:s,s:i,s:I}]}", "do",
        "open", "processor", "p", "version", (int)setup->version, "definition",
        setup->sql ? setup->sql : worker_sql, "file", "p.sql", "dir", dir, "log", "kind",
        "embedded", "dir", place->log_dir, "group", "kappa-p", "shards", (int)setup->shards,
        "cache_bytes", (json_int_t)setup->cache_bytes, "batch_records", (int)setup->batch_records,
        "building", 1, "sources", sources, "topics", "topic", topic, "partitions",
        WORKER_PARTITIONS, "identity", (json_int_t)identity);
    assert_non_null(message);
    if (setup->until) {
        json_object_set_new(message, "until", cut_json(setup->until));
    }
    free(dir);
    return message;
}

/* The next event, or NULL when the child closed its end (*eof) or the time is over. */
static inline json_t *worker_event(struct worker_child *child, int timeout_ms, bool *eof)
{
    int64_t until = clock_mono_us(clock_real()) + timeout_ms * 1000LL;
    *eof = false;
    for (;;) {
        uint8_t *end = child->buf.len > 0 ? memchr(child->buf.data, '\n', child->buf.len) : NULL;
        if (end) {
            size_t len = (size_t)(end - child->buf.data);
            struct err err = {0};
            json_t *event = json_parse((const char *)child->buf.data, len, &err);
            if (!event) {
                fail_msg("%s: %.*s", err.text, (int)len, (const char *)child->buf.data);
            }
            child->buf.len -= len + 1;
            memmove(child->buf.data, end + 1, child->buf.len);
            return event;
        }
        struct pollfd fd = {.fd = child->out, .events = POLLIN};
        int64_t left = (until - clock_mono_us(clock_real())) / 1000;
        if (left < 0 || poll(&fd, 1, (int)left) <= 0) {
            return NULL;
        }
        buf_reserve(&child->buf, 65536);
        ssize_t n = read(child->out, child->buf.data + child->buf.len, 65536);
        if (n <= 0) {
            *eof = true;
            return NULL;
        }
        child->buf.len += (size_t)n;
    }
}

/* Waits for the event of this kind, past progress; NULL when the child died instead. Any other
 * event is a failure of the test, unless the kind is NULL. */
static inline json_t *worker_wait_or_death(struct worker_child *child, const char *is)
{
    for (;;) {
        bool eof = false;
        json_t *event = worker_event(child, WORKER_WAIT_MS, &eof);
        if (!event) {
            if (!eof) {
                fail_msg("no '%s' came", is);
            }
            return NULL;
        }
        const char *kind = json_text(event, "is", "");
        if (strcmp(kind, is) == 0) {
            return event;
        }
        if (strcmp(kind, "progress") != 0) {
            fail_msg("waiting for '%s' came %s", is, json_print(event));
        }
        json_decref(child->progress);
        child->progress = event;
    }
}

static inline json_t *worker_wait(struct worker_child *child, const char *is)
{
    json_t *event = worker_wait_or_death(child, is);
    if (!event) {
        fail_msg("the worker ended while '%s' was waited for", is);
    }
    return event;
}

static inline void worker_wait_drop(struct worker_child *child, const char *is)
{
    json_decref(worker_wait(child, is));
}

/* The exit status as of waitpid; frees the child. */
static inline int worker_end(struct worker_child *child)
{
    int status = 0;
    if (child->in >= 0) {
        close(child->in);
    }
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    close(child->out);
    json_decref(child->progress);
    buf_free(&child->buf);
    free(child);
    return status;
}

static inline void worker_stop(struct worker_child *child)
{
    worker_send(child, "stop", 0);
    worker_wait_drop(child, "stopped");
    int status = worker_end(child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static inline struct worker_child *worker_open(struct place *place,
                                               const struct worker_setup *setup)
{
    struct worker_child *child = worker_start(setup->fail);
    worker_send_json(child, open_message(place, setup));
    worker_wait_drop(child, "opened");
    return child;
}

static inline void event_offsets(const json_t *event, const char *name, int64_t *out)
{
    const json_t *array = json_object_get(event, name);
    assert_int_equal(json_array_size(array), WORKER_PARTITIONS);
    for (uint32_t i = 0; i < WORKER_PARTITIONS; i++) {
        out[i] = json_integer_value(json_array_get(array, i));
    }
}

/* The at_cut event of a fresh worker that replays to this cut. The caller's reference. */
static inline json_t *worker_replay(struct place *place, const struct worker_setup *setup,
                                    const int64_t *cut)
{
    struct worker_setup copy = *setup;
    copy.until = cut;
    struct worker_child *child = worker_open(place, &copy);
    json_t *event = worker_wait(child, "at_cut");
    worker_stop(child);
    return event;
}

/* Both events tell the same cut and digests. */
static inline void expect_same(const json_t *a, const json_t *b)
{
    static const char *const names[] = {"cut", "digest", "tables", "sources"};
    for (size_t i = 0; i < array_len(names); i++) {
        if (!json_equal(json_object_get(a, names[i]), json_object_get(b, names[i]))) {
            fail_msg("%s differs: %s and %s", names[i], json_print(a), json_print(b));
        }
    }
}

#endif
