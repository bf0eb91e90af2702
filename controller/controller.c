/* The server's loop. Own header: controller.h.
 *
 * One thread, the loop's, owns the brain, the workers' pipes and the catalog. Others come in
 * through two doors: HTTP's threads put calls in a queue (mutex, uv_async), and jobs run on libuv's
 * pool and come back as loop callbacks. */
#include "controller/controller.h"

#include "base/limits.h"
#include "base/trace.h"
#include "controller/core.h"
#include "controller/datadir.h"
#include "controller/hook.h"
#include "controller/notify.h"
#include "controller/supervise.h"
#include "log/archiver.h"
#include "log/log.h"
#include "log/topic_dir.h"
#include "serve/diff.h"
#include "serve/http.h"
#include "serve/people.h"
#include "serve/reader.h"
#include "serve/redis.h"
#include "table/catalog.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#define DOOR_THREADS_MAX 16 /* by itself; --threads may say more */
#define TICK_MS          100
#define PUBLISH_EVERY    3                 /* ticks: the status, to those who watch it */
#define EXPIRE_EVERY     100               /* ticks: retention of the embedded log, 10 s */
#define SHUTDOWN_US      INT64_C(10000000) /* for the workers to drain, and for jobs to end */
#define CALLS_MAX        1024 /* that wait for the loop; HTTP's connections are bounded below that */

struct call_queue {
    uv_mutex_t mutex;
    struct http_call *calls[CALLS_MAX]; /* under mutex, as is count */
    uint32_t count;
};

struct server {
    uv_loop_t loop;
    uv_timer_t tick;
    uv_async_t wake; /* calls are waiting */
    uv_signal_t sigterm, sigint, sighup;
    uv_work_t housework; /* sweeps the trash, expires the log */
    struct call_queue queue;
    struct datadir *datadir;
    struct catalog *catalog;
    struct log *log;
    json_t *log_config;
    struct archiver *archiver; /* or NULL */
    struct reader *reader;
    struct supervise *supervise;
    struct hook *hook; /* or NULL */
    struct core *core;
    struct people *people; /* or NULL: everybody may do all */
    struct http_server *http;
    struct redis_server *redis; /* or NULL */
    uint32_t ticks;
    bool swept;        /* the leftovers of earlier servers */
    bool houseworking; /* housework is under way */
    bool trash_waits;  /* something was trashed since the last sweep began */
    bool stopping;
    int64_t stop_us; /* not waited for longer */
};

static int64_t now_us(void)
{
    return clock_mono_us(clock_real());
}

/* ---- Calls: from HTTP's threads to the loop ---- */

static void on_http_call(void *ctx, struct http_call *call)
{
    struct server *server = ctx;
    struct call_queue *queue = &server->queue;
    uv_mutex_lock(&queue->mutex);
    bool room = queue->count < CALLS_MAX;
    if (room) {
        queue->calls[queue->count++] = call;
    }
    uv_mutex_unlock(&queue->mutex);
    if (room) {
        (void)uv_async_send(&server->wake);
        return;
    }
    struct err err = {0};
    (void)err_set(&err, KE_LIMIT, "%d calls are waiting already", CALLS_MAX);
    http_call_reply(call, NULL, &err);
}

static struct http_call *take_call(struct call_queue *queue)
{
    uv_mutex_lock(&queue->mutex);
    struct http_call *call = queue->count > 0 ? queue->calls[0] : NULL;
    if (call != NULL) {
        queue->count--;
        memmove(&queue->calls[0], &queue->calls[1], queue->count * sizeof(struct http_call *));
    }
    uv_mutex_unlock(&queue->mutex);
    return call;
}

static void on_wake(uv_async_t *handle)
{
    struct server *server = handle->data;
    for (struct http_call *call = take_call(&server->queue); call != NULL;
         call = take_call(&server->queue)) {
        MAGIC_ASSERT(call, HTTP_CALL_MAGIC);
        core_request(server->core, call, http_verb_word(call->verb), call->processor, call->version,
                     call->body);
    }
}

/* ---- The brain's ops ---- */

static int op_worker_start(void *ctx, uint64_t worker, const char *name, struct err *err)
{
    const struct server *server = ctx;
    return supervise_start(server->supervise, worker, name, err);
}

static void op_worker_send(void *ctx, uint64_t worker, const json_t *message)
{
    const struct server *server = ctx;
    supervise_send(server->supervise, worker, message);
}

static void op_worker_stop(void *ctx, uint64_t worker, bool kill)
{
    const struct server *server = ctx;
    supervise_stop(server->supervise, worker, kill);
}

static int op_remove_files(void *ctx, const char *dir, struct err *err)
{
    struct server *server = ctx;
    server->trash_waits = true;
    return datadir_trash(server->datadir, dir, err);
}

static void op_reply(void *ctx, void *request, json_t *body, const struct err *err)
{
    (void)ctx;
    struct http_call *call = request;
    MAGIC_ASSERT(call, HTTP_CALL_MAGIC);
    http_call_reply(call, body, err);
}

struct work {
    uv_work_t request;
    struct server *server;
    struct core_job *job;
};

static void work_run(uv_work_t *request)
{
    struct work *work = container_of(request, struct work, request);
    work->job->run(work->job);
}

static void work_done(uv_work_t *request, int status)
{
    ASSERT_CMP(status, ==, 0);
    struct work *work = container_of(request, struct work, request);
    core_job_finish(work->server->core, work->job);
    free(work);
}

static void op_run_job(void *ctx, struct core_job *job)
{
    struct server *server = ctx;
    struct work *work = xcalloc(1, sizeof *work);
    work->server = server;
    work->job = job;
    int rc = uv_queue_work(&server->loop, &work->request, work_run, work_done);
    ASSERT_CMP(rc, ==, 0);
}

static int op_version_digest(void *ctx, const char *processor, uint32_t version, json_t **out,
                             struct err *err)
{
    const struct server *server = ctx;
    return reader_version_digest(server->reader, processor, version, out, err);
}

static void op_canary_reads(void *ctx, const char *processor, uint32_t version, json_t **out)
{
    const struct server *server = ctx;
    reader_canary_report(server->reader, processor, version, out);
}

static int op_diff_open(void *ctx, const char *processor, uint32_t a, uint32_t b,
                        const json_t *body, void **out, struct err *err)
{
    const struct server *server = ctx;
    const struct diff_options options = {
        .table = json_text(body, "table", NULL),
        .where = json_text(body, "where", NULL),
        .log = json_bool(body, "records", false) ? server->log : NULL,
        .limit = json_int(body, "limit", DIFF_SAMPLES),
        .exact_rows = json_bool(body, "exact", false) ? UINT64_MAX : DIFF_EXACT_ROWS};
    struct diff *diff = NULL;
    int rc = diff_open(server->reader, processor, a, b, &options, &diff, err);
    *out = diff;
    return rc;
}

static int op_diff_snapshot(void *diff, struct err *err)
{
    return diff_snapshot(diff, err);
}

static int op_diff_run(void *diff, json_t **out, struct err *err)
{
    return diff_run(diff, out, err);
}

static void op_diff_stop(void *diff)
{
    diff_stop(diff);
}

static void op_diff_close(void *diff)
{
    diff_close(diff);
}

static const struct core_diff_ops diff_ops = {.open = op_diff_open,
                                              .snapshot = op_diff_snapshot,
                                              .run = op_diff_run,
                                              .stop = op_diff_stop,
                                              .close = op_diff_close};

static void op_event(void *ctx, const json_t *event)
{
    const struct server *server = ctx;
    if (server->hook != NULL) {
        hook_event(server->hook, event);
    }
}

static _Noreturn void end_in_doubt(const struct err *err)
{
    trace(TRACE_ERROR, "a commit of the catalog failed and nobody knows whether it holds: %s",
          err->text);
    trace(TRACE_ERROR, "the server ends; its next start reads what holds");
    _exit(1);
}

static void op_in_doubt(void *ctx, const struct err *err)
{
    (void)ctx;
    end_in_doubt(err);
}

/* ---- Workers ---- */

static void on_worker_event(void *ctx, uint64_t worker, const json_t *event)
{
    const struct server *server = ctx;
    core_worker_event(server->core, worker, event);
}

static void on_worker_exited(void *ctx, uint64_t worker, int status, int signal)
{
    const struct server *server = ctx;
    core_worker_exited(server->core, worker, status, signal);
}

/* ---- Housework: off the loop ---- */

static void housework_run(uv_work_t *request)
{
    struct server *server = container_of(request, struct server, housework);
    datadir_sweep(server->datadir, !server->swept);
    reader_sweep(server->reader);
    struct err err = {0};
    if (server->log->ops->expire(server->log, clock_wall_ms(clock_real()), &err) != 0) {
        trace(TRACE_WARN, "the log's retention: %s", err.text);
    }
}

static void housework_done(uv_work_t *request, int status)
{
    (void)status;
    struct server *server = container_of(request, struct server, housework);
    server->swept = true;
    server->houseworking = false;
}

static void housework_maybe(struct server *server)
{
    bool due = server->trash_waits || server->ticks % EXPIRE_EVERY == 1;
    if (!due || server->houseworking || server->stopping) {
        return;
    }
    server->houseworking = true;
    server->trash_waits = false;
    int rc = uv_queue_work(&server->loop, &server->housework, housework_run, housework_done);
    ASSERT_CMP(rc, ==, 0);
}

/* ---- The end ---- */

static void stop_serving(struct server *server)
{
    if (server->http != NULL) {
        http_server_stop(server->http); /* first: it shows the counters of the other */
    }
    if (server->redis != NULL) {
        redis_server_stop(server->redis);
    }
    server->http = NULL;
    server->redis = NULL;
}

static void stop_begin(struct server *server)
{
    if (server->stopping) {
        server->stop_us = now_us(); /* a second signal: no more waiting */
        return;
    }
    trace(TRACE_INFO, "stopping: the workers drain");
    notify_manager("STOPPING=1");
    server->stopping = true;
    server->stop_us = now_us() + SHUTDOWN_US;
    stop_serving(server);
    on_wake(&server->wake);
    core_shutdown(server->core);
    if (server->hook != NULL) {
        hook_end(server->hook);
    }
}

static void stop_maybe(struct server *server)
{
    bool quiet = core_workers_left(server->core) == 0 && core_jobs_left(server->core) == 0 &&
                 supervise_count(server->supervise) == 0 && !server->houseworking &&
                 !hook_busy(server->hook);
    if (quiet) {
        uv_stop(&server->loop);
    } else if (now_us() >= server->stop_us) {
        trace(TRACE_WARN, "%u workers are still busy: not waited for",
              core_workers_left(server->core));
        uv_stop(&server->loop);
    }
}

static void on_signal(uv_signal_t *handle, int signal)
{
    if (signal != SIGHUP) {
        stop_begin(handle->data);
    }
}

static void publish_maybe(struct server *server)
{
    if (server->http == NULL || server->ticks % PUBLISH_EVERY != 0 ||
        !http_server_watched(server->http)) {
        return;
    }
    json_t *status = core_status(server->core);
    http_server_publish(server->http, status);
    json_decref(status);
}

static void on_tick(uv_timer_t *handle)
{
    struct server *server = handle->data;
    server->ticks++;
    if (server->people != NULL) {
        people_tick(server->people);
    }
    core_tick(server->core);
    publish_maybe(server);
    housework_maybe(server);
    if (server->stopping) {
        stop_maybe(server);
    }
}

/* ---- Opening ---- */

static int64_t env_number(const char *name, int64_t fallback)
{
    const char *text = getenv(name);
    char *end = NULL;
    int64_t value = text != NULL ? strtoll(text, &end, 10) : fallback;
    return text != NULL && (end == text || *end != '\0' || value < 0) ? fallback : value;
}

/* Writes down which log this data belongs to, and where the command line finds it when the server is
 * down. Properties stay out: they may hold secrets. */
static int write_log_kind(struct server *server, struct err *err)
{
    json_t *setting =
        json_pack("{s:s, s:s*, s:s*}", "kind", json_text(server->log_config, "kind", ""), "brokers",
                  json_text(server->log_config, "brokers", NULL), "archive",
                  json_text(server->log_config, "archive", NULL));
    int rc = catalog_begin(server->catalog, err);
    if (rc == 0) {
        rc = catalog_put(server->catalog, "x/log", setting, err);
        rc = rc == 0 ? catalog_commit(server->catalog, err) : rc;
    }
    json_decref(setting);
    return rc;
}

static bool same_member(const json_t *a, const json_t *b, const char *name)
{
    return strcmp(json_text(a, name, ""), json_text(b, name, "")) == 0;
}

/* Nothing was deployed, and the embedded log has no topic: then no offset of any log is known here. */
static bool is_unused(struct server *server)
{
    json_t *processors = NULL;
    json_t *topics = NULL;
    char *dir = xasprintf("%s/log", datadir_path(server->datadir));
    int rc = topic_dir_list(dir, &topics, NULL);
    bool unused = (rc == 0 || rc == -KE_NOT_FOUND) && json_array_size(topics) == 0 &&
                  catalog_list(server->catalog, "p/", &processors, NULL) == 0 &&
                  json_array_size(processors) == 0;
    free(dir);
    json_decref(topics);
    json_decref(processors);
    return unused;
}

/* Offsets of another log mean nothing here. */
static int check_log_kind(struct server *server, struct err *err)
{
    json_t *known = NULL;
    int rc = catalog_get(server->catalog, "x/log", &known, err);
    if (rc == -KE_NOT_FOUND) {
        return write_log_kind(server, err);
    }
    if (rc != 0) {
        return rc;
    }
    const char *kind = json_text(known, "kind", "");
    bool same = same_member(known, server->log_config, "kind");
    if (!same && !is_unused(server)) {
        rc =
            err_set(err, KE_REFUSED, "%s was made with the %s log, not the %s one",
                    datadir_path(server->datadir), kind, json_text(server->log_config, "kind", ""));
        err_hint(err, strcmp(kind, "kafka") == 0 ? "give --kafka HOST:PORT, or another --data"
                      : strcmp(kind, "archive") == 0
                          ? "give --archive DIR, or another --data"
                          : "leave out --kafka and --archive, or give another --data");
    } else if (!same || !same_member(known, server->log_config, "brokers") ||
               !same_member(known, server->log_config, "archive")) {
        rc = write_log_kind(server, err);
    }
    json_decref(known);
    return rc;
}

/* Groups of Kafka are named PREFIX.PROCESSOR.vN. */
static int set_groups(json_t *log_config, const char *prefix, struct err *err)
{
    prefix = prefix == NULL ? CONTROLLER_GROUPS : prefix;
    if (strcmp(prefix, "off") == 0) {
        return 0;
    }
    size_t len = strlen(prefix);
    if (len == 0 || len > LIMIT_NAME_LEN ||
        strspn(prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
            len) {
        int rc = err_set(err, KE_INVALID, "\"%s\" is no prefix for the names of groups", prefix);
        err_hint(err, "letters, digits and . _ -, as in --groups kappa; off: no groups");
        return rc;
    }
    int rc = json_object_set_new(log_config, "groups", json_string(prefix));
    ASSERT(rc == 0);
    return 0;
}

static int open_log(struct server *server, const struct controller_options *options,
                    struct err *err)
{
    char *archive = options->archive != NULL
                        ? realpath(options->archive, NULL)
                        : xasprintf("%s/archive", datadir_path(server->datadir));
    if (archive == NULL) {
        return err_errno(err, errno, "cannot find the archives in %s", options->archive);
    }
    if (options->archive != NULL) {
        server->log_config = json_pack("{s:s}", "kind", "archive");
    } else if (options->kafka != NULL) {
        server->log_config = json_pack("{s:s, s:s, s:O*}", "kind", "kafka", "brokers",
                                       options->kafka, "properties", options->kafka_settings);
    } else {
        char *dir = xasprintf("%s/log", datadir_path(server->datadir));
        server->log_config = json_pack("{s:s, s:s}", "kind", "embedded", "dir", dir);
        free(dir);
    }
    if (server->log_config == NULL) {
        free(archive);
        return err_set(err, KE_INVALID, "the brokers' names are not text");
    }
    int rc = options->kafka != NULL ? set_groups(server->log_config, options->groups, err) : 0;
    (void)json_object_set_new(server->log_config, "archive", json_string(archive));
    if (rc == 0) {
        rc = check_log_kind(server, err);
    }
    if (rc == 0) {
        rc = log_open_config(server->log_config, &server->log, err);
    }
    const struct archiver_options archiver = {
        .config = server->log_config,
        .dir = archive,
        .flush_ms = env_number("KAPPA_ARCHIVE_FLUSH_MS", ARCHIVER_FLUSH_MS),
        .segment_bytes = env_number("KAPPA_ARCHIVE_SEGMENT_BYTES", 0)};
    if (rc == 0 && options->archive == NULL) {
        server->archiver = archiver_start(&archiver);
    }
    free(archive);
    return rc;
}

/* Also when it cannot be told. */
static bool is_known(void *ctx, const char *processor, uint32_t version)
{
    const struct server *server = ctx;
    char key[CATALOG_KEY_LEN];
    json_t *object = NULL;
    if (strlen(processor) > LIMIT_NAME_LEN) {
        return true;
    }
    catalog_key_version(key, processor, version);
    int rc = catalog_get(server->catalog, key, &object, NULL);
    json_decref(object);
    return rc != -KE_NOT_FOUND;
}

static int open_data(struct server *server, const struct controller_options *options,
                     struct err *err)
{
    int rc = datadir_open(options->data_dir, &server->datadir, err);
    if (rc == 0) {
        char *dir = xasprintf("%s/catalog", datadir_path(server->datadir));
        rc = catalog_open(dir, true, &server->catalog, err);
        free(dir);
    }
    if (rc == 0) {
        rc = open_log(server, options, err);
    }
    if (rc == 0) {
        rc = reader_open(datadir_path(server->datadir), &server->reader, err);
    }
    if (rc == 0) {
        datadir_forget(server->datadir, is_known, server);
    }
    return rc;
}

static int open_core(struct server *server, const struct controller_options *given, struct err *err)
{
    static const char *const args[] = {"/proc/self/exe", "worker", NULL};
    const struct supervise_options supervise = {.loop = &server->loop,
                                                .args = args,
                                                .ctx = server,
                                                .event = on_worker_event,
                                                .exited = on_worker_exited};
    supervise_open(&supervise, &server->supervise);
    int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t shards = env_number("KAPPA_SHARDS", cores);
    int64_t cache = env_number("KAPPA_CACHE_BYTES", CORE_CACHE_BYTES);
    const struct core_options options = {
        .ops = {.ctx = server,
                .clock = clock_real(),
                .worker_start = op_worker_start,
                .worker_send = op_worker_send,
                .worker_stop = op_worker_stop,
                .remove_files = op_remove_files,
                .reply = op_reply,
                .run_job = op_run_job,
                .version_digest = op_version_digest,
                .canary_reads = op_canary_reads,
                .diff = &diff_ops,
                .event = op_event,
                .in_doubt = op_in_doubt},
        .catalog = server->catalog,
        .log = server->log,
        .log_config = server->log_config,
        .data_dir = datadir_path(server->datadir),
        .shards = (uint32_t)i64_max(1, i64_min(shards, LIMIT_SHARDS)),
        .cache_bytes = i64_max(1, cache),
        .disk_budget = given->disk_budget,
        .replay_nice = given->replay_nice,
        .access = server->people != NULL,
        .standby_ms = env_number("KAPPA_STANDBY_MS", -1),
        .snapshot_silent_ms = env_number("KAPPA_SNAPSHOT_SILENT_MS", 0),
        .standby_forced = getenv("KAPPA_STANDBY_MS") != NULL};
    return core_open(&options, &server->core, err);
}

/* Reads scale with the cores as long as each has a thread that answers. */
static uint32_t door_threads(const struct controller_options *options)
{
    int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
    return options->threads > 0 ? options->threads
                                : (uint32_t)i64_max(HTTP_THREADS, i64_min(cores, DOOR_THREADS_MAX));
}

static int open_redis(struct server *server, const struct controller_options *options,
                      struct err *err)
{
    const struct redis_options redis = {.address = options->redis,
                                        .reader = server->reader,
                                        .people = server->people,
                                        .threads = door_threads(options)};
    return options->redis == NULL ? 0 : redis_server_start(&redis, &server->redis, err);
}

static int open_http(struct server *server, const struct controller_options *options,
                     struct err *err)
{
    const char *redis = server->redis == NULL ? NULL : redis_server_address(server->redis);
    const struct http_options http = {
        .address = options->http != NULL ? options->http : CONTROLLER_HTTP,
        .reader = server->reader,
        .log = server->log,
        .archive = json_text(server->log_config, "archive", NULL),
        .redis = server->redis == NULL ? NULL : redis_server_counters(server->redis),
        .people = server->people,
        .archiver = server->archiver,
        .data = datadir_path(server->datadir),
        .threads = door_threads(options),
        .ctx = server,
        .call = on_http_call};
    int rc = http_server_start(&http, &server->http, err);
    if (rc == 0) {
        json_t *found =
            json_pack("{s:i, s:s, s:s*, s:O, s:s*, s:s*}", "pid", (int)getpid(), "http",
                      http_server_address(server->http), "redis", redis, "log", server->log_config,
                      "access", server->people == NULL ? NULL : people_path(server->people),
                      "token", server->people == NULL ? NULL : people_local_token(server->people));
        ASSERT(found != NULL);
        rc = datadir_publish(server->datadir, found, err);
        json_decref(found);
    }
    return rc;
}

static void watch(struct server *server, uv_signal_t *handle, int signal)
{
    handle->data = server;
    int rc = uv_signal_init(&server->loop, handle);
    ASSERT_CMP(rc, ==, 0);
    rc = uv_signal_start(handle, on_signal, signal);
    ASSERT_CMP(rc, ==, 0);
}

static void open_loop(struct server *server)
{
    int rc = uv_loop_init(&server->loop);
    ASSERT_CMP(rc, ==, 0);
    rc = uv_mutex_init(&server->queue.mutex);
    ASSERT_CMP(rc, ==, 0);
    server->wake.data = server;
    rc = uv_async_init(&server->loop, &server->wake, on_wake);
    ASSERT_CMP(rc, ==, 0);
    server->tick.data = server;
    rc = uv_timer_init(&server->loop, &server->tick);
    ASSERT_CMP(rc, ==, 0);
    rc = uv_timer_start(&server->tick, on_tick, 0, TICK_MS);
    ASSERT_CMP(rc, ==, 0);
    watch(server, &server->sigterm, SIGTERM);
    watch(server, &server->sigint, SIGINT);
    watch(server, &server->sighup, SIGHUP);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* ---- Closing ---- */

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* All quiet: everything is given back. */
static void close_all(struct server *server)
{
    stop_serving(server);
    if (server->archiver != NULL) {
        (void)archiver_stop(server->archiver); /* stuck in the log: it ends with the process */
    }
    if (server->hook != NULL) {
        hook_end(server->hook);
    }
    while (hook_busy(server->hook)) {
        (void)uv_run(&server->loop, UV_RUN_ONCE);
    }
    if (server->core != NULL) {
        core_shutdown(server->core);
        on_wake(&server->wake); /* calls that came too late: CLOSED */
    }
    core_close(server->core);
    supervise_close(server->supervise);
    uv_walk(&server->loop, close_handle, NULL);
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    hook_close(server->hook);
    int rc = uv_loop_close(&server->loop);
    ASSERT_CMP(rc, ==, 0);
    uv_mutex_destroy(&server->queue.mutex);
    if (server->reader != NULL) {
        reader_close(server->reader);
    }
    people_close(server->people);
    catalog_close(server->catalog);
    if (server->log != NULL) {
        server->log->ops->close(server->log);
    }
    json_decref(server->log_config);
    datadir_close(server->datadir);
    free(server);
}

/* Workers or jobs did not end in time: the process's end takes them along. */
static void leave(struct server *server)
{
    bool quiet = supervise_count(server->supervise) == 0 && core_jobs_left(server->core) == 0 &&
                 !server->houseworking;
    if (!quiet) {
        datadir_close(server->datadir);
        _exit(0);
    }
}

int controller_main(const struct controller_options *options, struct err *err)
{
    trace_set_area("kappa");
    struct server *server = xcalloc(1, sizeof *server);
    open_loop(server);
    int rc = options->access == NULL ? 0 : people_open(options->access, &server->people, err);
    if (rc == 0) {
        rc = open_data(server, options, err);
    }
    if (rc == 0 && server->people != NULL) {
        datadir_warn_open(server->datadir);
    }
    if (rc == 0 && options->hook != NULL) {
        hook_open(&server->loop, options->hook, HOOK_SECONDS * 1000, &server->hook);
    }
    if (rc == 0) {
        rc = open_core(server, options, err);
    }
    if (rc == 0) {
        rc = open_redis(server, options, err);
    }
    if (rc == 0) {
        rc = open_http(server, options, err);
    }
    if (rc == 0) {
        trace(TRACE_INFO, "serving %s on http://%s, %s log", datadir_path(server->datadir),
              http_server_address(server->http), server->log->kind);
        if (server->redis != NULL) {
            trace(TRACE_INFO, "answering Redis clients on %s", redis_server_address(server->redis));
        }
        notify_manager("READY=1");
        (void)uv_run(&server->loop, UV_RUN_DEFAULT);
        leave(server);
        trace(TRACE_INFO, "stopped");
    }
    close_all(server);
    return rc;
}
