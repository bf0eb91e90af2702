/* The worker's main thread: a loop over the command pipe, the event pipe and the shards' news. */
#include "replayer/worker.h"

#include "replayer/priority.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cond.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/trace.h"
#include "replayer/fail_point.h"
#include "replayer/snapshot.h"
#include "replayer/worker_inside.h"

#define READ_BYTES         65536
#define OUT_BYTES_MAX      (4 << 20) /* unread answers: no more commands are taken beyond */
#define LAST_WORDS_WAIT_MS 2000
#define COPY_TELL_MS       1000

/* ---- Ends */

void worker_order_all(struct worker *w, enum worker_do what, bool on, const int64_t *cut)
{
    w->seq++;
    for (uint32_t i = 0; i < w->shard_count; i++) {
        worker_shard_order(&w->shards[i], w->seq, what, on, cut, w->open.source_count);
    }
}

static void stop(struct worker *w)
{
    if (!w->stopping) {
        w->stopping = true;
        w->request_count = 0;
        worker_order_all(w, WORKER_STOP, false, NULL);
    }
}

/* The first failure is the one that is told; the shards keep what they have applied. */
static void fail(struct worker *w, const struct err *failure, uint32_t source)
{
    if (w->failure.code == 0) {
        w->failure = *failure;
        w->failure_source = source;
    }
    stop(w);
}

/* ---- Commands */

/* A command that moves the shards ends the wait for the answers to earlier ones. */
static void forget_requests(struct worker *w)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->request_count; i++) {
        enum worker_do what = w->requests[i].what;
        if (what != WORKER_NEAR && what != WORKER_HOLD && what != WORKER_RUN_TO) {
            w->requests[kept++] = w->requests[i];
        }
    }
    w->request_count = kept;
}

static int add_request(struct worker *w, enum worker_do what, uint64_t id, struct err *err)
{
    if (w->request_count == WORKER_REQUESTS_MAX) {
        return err_set(err, KE_LIMIT, "more than %d commands wait for their answer",
                       WORKER_REQUESTS_MAX);
    }
    w->requests[w->request_count++] =
        (struct worker_request){.what = what, .id = id, .seq = w->seq};
    return 0;
}

/* Those who sleep because of the old limit look again within a step. */
static void limit_set(struct worker *w, const struct governor_limit *limit)
{
    governor_set(&w->governor, limit, clock_mono_us(clock_real()));
}

/* From here on somebody waits for it. */
static void hurry(struct worker *w)
{
    if (w->nice != 0) {
        priority_add(-w->nice);
        w->nice = 0;
    }
}

static int do_command(struct worker *w, const struct worker_command *command, struct err *err)
{
    bool waited_for = command->what == WORKER_NEAR || command->what == WORKER_HOLD;
    if (waited_for || command->what == WORKER_SERVING) {
        hurry(w);
    }
    switch (command->what) {
    case WORKER_NEAR:
    case WORKER_HOLD:
    case WORKER_RUN_TO:
        forget_requests(w);
        worker_order_all(w, command->what, false, command->cut);
        return add_request(w, command->what, command->id, err);
    case WORKER_RELEASE:
        forget_requests(w);
        worker_order_all(w, command->what, false, NULL);
        return 0;
    case WORKER_RESUME:
        worker_monitor_resting(w->monitor, NULL);
        worker_order_all(w, command->what, false, NULL);
        return add_request(w, command->what, 0, err);
    case WORKER_PAUSE:
    case WORKER_SEAL:
        worker_order_all(w, command->what, false, NULL);
        return add_request(w, command->what, 0, err);
    case WORKER_SERVING:
        if (!command->on) {
            worker_send_off(w); /* before a shard commits anything behind the cut */
        }
        limit_set(w, &(struct governor_limit){0}); /* nor when it stands by afterwards */
        worker_order_all(w, command->what, command->on, NULL);
        return command->on ? worker_send_on(w, command->outbox, err) : 0;
    case WORKER_SENT:
        worker_order_all(w, command->what, false, command->cut);
        return 0;
    case WORKER_LIMIT:
        limit_set(w, &command->limit);
        return 0;
    case WORKER_STOP:
        stop(w);
        return 0;
    case WORKER_OPEN:
    case WORKER_COPY:
        return err_set(err, KE_INVALID, "a second \"open\"");
    }
    return -KE_INTERNAL;
}

static int do_open(struct worker *w, json_t *message, struct err *err)
{
    int rc = worker_setup(w, message, err);
    if (rc != 0) {
        return rc;
    }
    if (w->open.serving) {
        worker_order_all(w, WORKER_SERVING, true, NULL);
        rc = worker_send_on(w, w->open.outbox, err);
    }
    if (w->open.until) {
        worker_order_all(w, WORKER_RUN_TO, false, w->open.until);
        rc = add_request(w, WORKER_RUN_TO, 0, err);
    }
    int64_t nice = json_int(w->open.message, "nice", 0);
    if (!w->open.serving && json_bool(w->open.message, "building", false) && nice > 0) {
        w->nice = (int)i64_min(nice, PRIORITY_NICE_MAX);
        priority_add(w->nice);
    }
    worker_launch(w);
    return rc;
}

/* Says every second that there is more of a copy: where nothing is said, nothing moves. */
struct copy_teller {
    struct worker *w;
    const char *making; /* the directory */
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool over; /* lock */
};

static void *copy_tell(void *ctx)
{
    struct copy_teller *teller = ctx;
    uint64_t told = 0;
    (void)pthread_mutex_lock(&teller->lock);
    while (!teller->over) {
        struct timespec until = cond_until(COPY_TELL_MS);
        while (!teller->over &&
               pthread_cond_timedwait(&teller->moved, &teller->lock, &until) == 0) {
        }
        uint64_t bytes = teller->over ? told : file_tree_bytes(teller->making);
        if (bytes > told) {
            told = bytes;
            worker_say(teller->w, "copying");
        }
    }
    (void)pthread_mutex_unlock(&teller->lock);
    return NULL;
}

static int copy_telling(struct worker *w, const json_t *message, json_t **note, struct err *err)
{
    struct copy_teller teller = {.w = w, .making = json_text(message, "making", "")};
    pthread_t thread;
    ASSERT(pthread_mutex_init(&teller.lock, NULL) == 0);
    cond_init(&teller.moved);
    int failed = pthread_create(&thread, NULL, copy_tell, &teller);
    if (failed != 0) {
        return err_errno(err, failed, "cannot start a thread");
    }
    int rc = snapshot_make(message, fail_point_here, note, err);
    (void)pthread_mutex_lock(&teller.lock);
    teller.over = true;
    (void)pthread_cond_signal(&teller.moved);
    (void)pthread_mutex_unlock(&teller.lock);
    (void)pthread_join(thread, NULL);
    (void)pthread_cond_destroy(&teller.moved);
    (void)pthread_mutex_destroy(&teller.lock);
    return rc;
}

/* Makes a snapshot, and that is all that this process is for. Who wants it to stop kills it. */
static int do_copy(struct worker *w, const json_t *message, struct err *err)
{
    json_t *note = NULL;
    fail_point_setup();
    snapshot_lower_priority();
    int rc = copy_telling(w, message, &note, err);
    if (rc == 0) {
        worker_say_copied(w, note);
        stop(w);
    }
    return rc;
}

static int do_line(struct worker *w, const char *line, size_t len, struct err *err)
{
    json_t *message = NULL;
    enum worker_do what = WORKER_STOP;
    int rc = worker_message_parse(line, len, &message, &what, err);
    if (rc != 0) {
        return rc;
    }
    bool opened = w->open.message != NULL;
    if (what == WORKER_OPEN && !opened) {
        return do_open(w, message, err);
    }
    if (what == WORKER_COPY && !opened) {
        rc = do_copy(w, message, err);
        json_decref(message);
        return rc;
    }
    struct worker_command command = {.cut = NULL};
    if (!opened && what != WORKER_STOP) {
        rc = err_set(err, KE_INVALID, "the first command must be \"open\"");
    } else {
        rc = worker_command_parse(message, what, w->open.source_count, &command, err);
    }
    if (rc == 0) {
        rc = do_command(w, &command, err);
    }
    worker_command_free(&command);
    json_decref(message);
    return rc;
}

/* Carries out the whole lines in the buffer and keeps the rest. */
static void take_lines(struct worker *w)
{
    size_t at = 0;
    while (at < w->in.len && !w->stopping) {
        const uint8_t *end = memchr(w->in.data + at, '\n', w->in.len - at);
        if (!end) {
            break;
        }
        struct err err = {.code = 0};
        size_t len = (size_t)(end - w->in.data) - at;
        int rc = len > 0 ? do_line(w, (const char *)w->in.data + at, len, &err) : 0;
        if (rc != 0) {
            err.code = rc;
            fail(w, &err, UINT32_MAX);
        }
        at += len + 1;
    }
    w->in.len = w->stopping ? 0 : w->in.len - at;
    if (w->in.len > 0 && at > 0) {
        memmove(w->in.data, w->in.data + at, w->in.len);
    }
}

static void read_commands(struct worker *w)
{
    buf_reserve(&w->in, READ_BYTES);
    ssize_t n = read(w->in_fd, w->in.data + w->in.len, READ_BYTES);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (n <= 0) {
        w->input_ended = true;
        stop(w);
        return;
    }
    w->in.len += (size_t)n;
    take_lines(w);
    if (w->in.len > LIMIT_MESSAGE_BYTES) {
        struct err err = {.code = 0};
        err_set(&err, KE_LIMIT, "a command is longer than %d bytes", LIMIT_MESSAGE_BYTES);
        fail(w, &err, UINT32_MAX);
    }
}

/* ---- Answers */

/* What all shards have come to. */
struct gathered {
    bool opened;         /* all have */
    bool closed;         /* all have */
    uint64_t done_seq;   /* all have carried out orders up to this */
    uint64_t at_cut_seq; /* of all, or 0 when they differ */
};

static struct gathered gather(struct worker *w)
{
    struct gathered all = {.opened = true, .closed = true, .done_seq = UINT64_MAX};
    for (uint32_t i = 0; i < w->shard_count; i++) {
        struct worker_shard *shard = &w->shards[i];
        pthread_mutex_lock(&shard->lock);
        const struct worker_report *report = &shard->report;
        struct err failure = report->failure;
        uint32_t source = report->status.failed_source;
        uint64_t at_cut = report->at_cut_seq;
        all.opened &= report->opened;
        all.closed &= report->closed;
        all.done_seq = report->done_seq < all.done_seq ? report->done_seq : all.done_seq;
        pthread_mutex_unlock(&shard->lock);
        all.at_cut_seq = i == 0 || at_cut == all.at_cut_seq ? at_cut : 0;
        if (failure.code != 0) {
            fail(w, &failure, source);
        }
    }
    return all;
}

/* All shards are open. When they were all sealed but the last act of sealing was cut off, it is
 * done now. */
static int say_opened(struct worker *w, struct err *err)
{
    int rc = 0;
    if (w->snapshot.sealed) {
        rc = version_dir_sealed(w->dir, err);
    }
    if (rc == 0) {
        w->opened = true;
        worker_say_opened(w);
        worker_send_start(w);
    }
    return rc;
}

static int answer(struct worker *w, const struct worker_request *request, struct err *err)
{
    int rc = 0;
    switch (request->what) {
    case WORKER_NEAR:
        worker_say_near(w, request->id);
        return 0;
    case WORKER_HOLD:
        worker_say_held(w, request->id);
        return 0;
    case WORKER_RUN_TO:
        worker_say_at_cut(w, request->id);
        return 0;
    case WORKER_SEAL:
        rc = version_dir_sealed(w->dir, err);
        if (rc == 0) {
            worker_say(w, "sealed");
        }
        return rc;
    case WORKER_PAUSE:
        worker_monitor_resting(w->monitor, w->snapshot.next);
        worker_say(w, "paused");
        return 0;
    case WORKER_RESUME:
        worker_say(w, "resumed");
        return 0;
    case WORKER_OPEN:
    case WORKER_RELEASE:
    case WORKER_SERVING:
    case WORKER_SENT:
    case WORKER_LIMIT:
    case WORKER_COPY:
    case WORKER_STOP:
        break;
    }
    ASSERT(false);
    return -KE_INTERNAL;
}

/* Says what has become true, in the order of the commands: opened first, then the requests. A
 * run_to under way does not keep back the answers behind it. */
static int answer_all(struct worker *w, const struct gathered *all, struct err *err)
{
    worker_snapshot_take(w);
    int rc = !w->opened && all->opened ? say_opened(w, err) : 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->request_count; i++) {
        struct worker_request request = w->requests[i];
        bool ready = request.what == WORKER_RUN_TO ? all->at_cut_seq == request.seq
                                                   : all->done_seq >= request.seq;
        if (rc == 0 && w->opened && ready) {
            rc = answer(w, &request, err);
        } else {
            w->requests[kept++] = request;
        }
    }
    w->request_count = kept;
    return rc;
}

/* Looks at the shards and the monitor. True when everything has ended. */
static bool look(struct worker *w)
{
    struct err err = {.code = 0};
    uint32_t source = UINT32_MAX;
    struct gathered all = gather(w);
    if (w->shard_count == 0) {
        return w->stopping;
    }
    if (w->failure.code != 0 && !w->opened &&
        all.opened) { /* where it stands is known all the same */
        worker_snapshot_take(w);
        w->opened = true;
        worker_say_opened(w);
    }
    if (!w->stopping && worker_monitor_look(w->monitor, &err, &source)) {
        fail(w, &err, source);
    }
    if (!w->stopping) {
        int rc = answer_all(w, &all, &err);
        if (rc != 0) {
            err.code = rc;
            fail(w, &err, UINT32_MAX);
        }
    }
    return w->stopping && all.closed;
}

/* ---- The loop */

static void wait_for_news(const struct worker *w, int timeout_ms, bool *input, bool *output)
{
    bool listening = !w->input_ended && !w->stopping && w->out.len - w->out_at < OUT_BYTES_MAX;
    struct pollfd fds[] = {
        {.fd = w->event_fd, .events = POLLIN},
        {.fd = listening ? w->in_fd : -1, .events = POLLIN},
        {.fd = worker_out_waiting(w) ? w->out_fd : -1, .events = POLLOUT},
    };
    *input = false;
    *output = false;
    if (poll(fds, array_len(fds), timeout_ms) <= 0) {
        return;
    }
    if (fds[0].revents & POLLIN) {
        uint64_t count = 0;
        ssize_t n = read(w->event_fd, &count, sizeof count);
        (void)n; /* non-blocking; the count does not matter */
    }
    *input = fds[1].revents != 0;
    *output = fds[2].revents != 0;
}

/* The last event, waited for a little. */
static void last_words(struct worker *w)
{
    if (w->failure.code != 0) {
        worker_say_failed(w);
    } else {
        worker_say(w, "stopped");
    }
    int64_t until = clock_mono_us(clock_real()) + LAST_WORDS_WAIT_MS * 1000L;
    while (worker_out_waiting(w) && clock_mono_us(clock_real()) < until) {
        struct pollfd fd = {.fd = w->out_fd, .events = POLLOUT};
        (void)poll(&fd, 1, 50);
        worker_out_flush(w);
    }
}

static void run(struct worker *w)
{
    while (!look(w)) {
        bool input = false;
        bool output = false;
        int timeout_ms = w->opened && !w->stopping ? worker_progress(w) : 1000;
        wait_for_news(w, timeout_ms, &input, &output);
        if (input) {
            read_commands(w);
        }
        if (output) {
            worker_out_flush(w);
        }
        if (w->failure.code == 0 && worker_runs_away(w, &w->failure)) {
            last_words(w);
            _exit(1); /* a thread is lost in the plugin: nothing can be put in order */
        }
    }
}

/* A worker never outlives its controller: two of them would fight for the version. The end of stdin
 * covers a parent that died before this. ctrl-C and a stop of the whole group are for the
 * controller, which then closes our stdin. */
static bool tie_to_parent(void)
{
    pid_t parent = getppid();
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

int worker_main(int in_fd, int out_fd)
{
    struct worker w = {.in_fd = in_fd, .out_fd = out_fd, .failure_source = UINT32_MAX};
    if (!tie_to_parent()) {
        return 1;
    }
    int flags = fcntl(out_fd, F_GETFL);
    w.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w.event_fd < 0 || flags < 0 || fcntl(out_fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        trace(TRACE_ERROR, "cannot set up the worker's pipes: %s", strerror(errno));
        return 1;
    }
    run(&w);
    worker_teardown(&w);
    last_words(&w);
    close(w.event_fd);
    buf_free(&w.in);
    buf_free(&w.out);
    return w.failure.code != 0 ? 1 : 0;
}
