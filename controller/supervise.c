/* Worker processes over libuv. Own header: supervise.h.
 *
 * A child is a process handle, two pipes and a timer. It is reported as exited when the process has
 * ended AND its stdout has been read to the end, so that its last words (`failed`) come first; the
 * end of stdout is waited for LAST_WORDS_MS at most, since a grandchild might hold it open. It is
 * freed when all handles are closed. */
#include "controller/supervise.h"

#include "base/limits.h"
#include "base/trace.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#define PROCESS_MAGIC 0x50726F63U
#define LAST_WORDS_MS 500

struct process {
    uint32_t magic;
    struct process *next; /* chain of the supervise */
    struct supervise *supervise;
    uint64_t worker;
    char *name; /* owned */
    uv_process_t handle;
    uv_pipe_t in;  /* its stdin */
    uv_pipe_t out; /* its stdout */
    uv_timer_t last_words;
    struct buf line;
    size_t queued; /* bytes written and not yet taken */
    int status;
    int signal;
    bool killed;   /* nothing it still says counts */
    bool ended;    /* the process */
    bool read_all; /* its stdout */
    bool in_closed;
    uint32_t handles; /* not closed yet */
};

struct supervise {
    struct supervise_options options;
    struct process *processes;
    uint32_t count;
};

void supervise_open(const struct supervise_options *options, struct supervise **out)
{
    *out = xcalloc(1, sizeof **out);
    (*out)->options = *options;
}

uint32_t supervise_count(const struct supervise *supervise)
{
    return supervise->count;
}

void supervise_close(struct supervise *supervise)
{
    if (supervise != NULL) {
        ASSERT_CMP(supervise->count, ==, 0);
        free(supervise);
    }
}

static struct process *find(const struct supervise *supervise, uint64_t worker)
{
    struct process *process = supervise->processes;
    while (process != NULL && process->worker != worker) {
        process = process->next;
    }
    return process;
}

/* ---- The end of a child ---- */

static void process_free(struct process *process)
{
    struct process **at = &process->supervise->processes;
    while (*at != process) {
        at = &(*at)->next;
        ASSERT(*at != NULL);
    }
    *at = process->next;
    process->supervise->count--;
    buf_free(&process->line);
    free(process->name);
    process->magic = 0;
    free(process);
}

static struct process *process_of(const uv_handle_t *handle)
{
    struct process *process = handle->data;
    MAGIC_ASSERT(process, PROCESS_MAGIC);
    return process;
}

static void on_closed(uv_handle_t *handle)
{
    struct process *process = process_of(handle);
    ASSERT_CMP(process->handles, >, 0);
    if (--process->handles == 0) {
        process_free(process);
    }
}

static void close_in(struct process *process)
{
    if (!process->in_closed) {
        process->in_closed = true;
        uv_close((uv_handle_t *)&process->in, on_closed);
    }
}

static void close_all(struct process *process)
{
    close_in(process);
    uv_close((uv_handle_t *)&process->out, on_closed);
    uv_close((uv_handle_t *)&process->last_words, on_closed);
    uv_close((uv_handle_t *)&process->handle, on_closed);
}

/* Both ends reached: tells, and lets go. */
static void maybe_exited(struct process *process)
{
    if (!process->ended || !process->read_all) {
        return;
    }
    close_all(process);
    const struct supervise_options *options = &process->supervise->options;
    options->exited(options->ctx, process->worker, process->status, process->signal);
}

static void on_last_words(uv_timer_t *timer)
{
    struct process *process = process_of((uv_handle_t *)timer);
    process->read_all = true;
    maybe_exited(process);
}

static void on_end(uv_process_t *handle, int64_t status, int signal)
{
    struct process *process = process_of((uv_handle_t *)handle);
    process->ended = true;
    process->status = (int)status;
    process->signal = signal;
    if (!process->read_all) {
        int rc = uv_timer_start(&process->last_words, on_last_words, LAST_WORDS_MS, 0);
        ASSERT_CMP(rc, ==, 0);
    }
    maybe_exited(process);
}

static void process_kill(struct process *process)
{
    if (!process->ended) {
        (void)uv_process_kill(&process->handle, SIGKILL);
    }
}

/* For breaking the protocol: said once. */
static void process_punish(struct process *process, const char *why)
{
    if (!process->killed) {
        trace(TRACE_ERROR, "the worker of %s %s: killed", process->name, why);
        process->killed = true;
        process_kill(process);
    }
}

/* ---- What it says ---- */

static void take_line(struct process *process, const char *text, size_t len)
{
    json_t *event = json_parse(text, len, NULL);
    if (json_is_object(event)) {
        const struct supervise_options *options = &process->supervise->options;
        options->event(options->ctx, process->worker, event);
    } else {
        char why[160];
        (void)snprintf(why, sizeof why, "speaks no JSON (\"%.*s\")", (int)(len < 80 ? len : 80),
                       text);
        process_punish(process, why);
    }
    json_decref(event);
}

static void take_lines(struct process *process)
{
    size_t done = 0;
    const char *data = (const char *)process->line.data;
    for (;;) {
        const char *end = memchr(data + done, '\n', process->line.len - done);
        if (end == NULL) {
            break;
        }
        size_t len = (size_t)(end - (data + done));
        if (len > 0 && !process->killed) {
            take_line(process, data + done, len);
        }
        done += len + 1;
    }
    memmove(process->line.data, process->line.data + done, process->line.len - done);
    process->line.len -= done;
    if (process->line.len > LIMIT_MESSAGE_BYTES) {
        buf_reset(&process->line);
        process_punish(process, "sends a line longer than a message may be");
    }
}

/* libuv reads straight into the line. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct process *process = process_of(handle);
    buf_reserve(&process->line, suggested);
    *out = uv_buf_init((char *)process->line.data + process->line.len, (unsigned)suggested);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *unused)
{
    (void)unused;
    struct process *process = process_of((uv_handle_t *)stream);
    if (count > 0) {
        process->line.len += (size_t)count;
        take_lines(process);
    } else if (count < 0 && !process->read_all) {
        process->read_all = true;
        (void)uv_read_stop(stream);
        maybe_exited(process);
    }
}

/* ---- What it is told ---- */

struct message {
    uv_write_t request;
    struct process *process;
    struct buf line;
};

static void on_written(uv_write_t *request, int status)
{
    (void)status; /* a worker that does not read any more is about to be reported as gone */
    struct message *message = container_of(request, struct message, request);
    message->process->queued -= message->line.len;
    buf_free(&message->line);
    free(message);
}

void supervise_send(struct supervise *supervise, uint64_t worker, const json_t *body)
{
    struct process *process = find(supervise, worker);
    if (process == NULL || process->in_closed) {
        return;
    }
    struct message *message = xcalloc(1, sizeof *message);
    message->process = process;
    json_write(&message->line, body);
    buf_append_u8(&message->line, '\n');
    process->queued += message->line.len;
    uv_buf_t buf = uv_buf_init((char *)message->line.data, (unsigned)message->line.len);
    int rc = uv_write(&message->request, (uv_stream_t *)&process->in, &buf, 1, on_written);
    if (rc != 0) {
        on_written(&message->request, rc);
    } else if (process->queued > SUPERVISE_QUEUE_MAX) {
        process_punish(process, "reads nothing");
    }
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    /* Cancelled when the process ended first: the pipe is closed already. */
    struct process *process = request->data;
    if (status != UV_ECANCELED) {
        close_in(process);
    }
    free(request);
}

void supervise_stop(struct supervise *supervise, uint64_t worker, bool kill)
{
    struct process *process = find(supervise, worker);
    if (process == NULL) {
        return;
    }
    if (kill) {
        process_kill(process);
        return;
    }
    /* What was sent before must arrive before the end of the stream: uv_close would drop it. */
    uv_shutdown_t *request = xcalloc(1, sizeof *request);
    request->data = process;
    if (process->in_closed || uv_shutdown(request, (uv_stream_t *)&process->in, on_shutdown) != 0) {
        free(request);
    }
}

/* ---- The start ---- */

static void init_handle(struct process *process, uv_handle_t *handle)
{
    handle->data = process;
    process->handles++;
}

int supervise_start(struct supervise *supervise, uint64_t worker, const char *name, struct err *err)
{
    struct process *process = xcalloc(1, sizeof *process);
    uv_loop_t *loop = supervise->options.loop;
    process->magic = PROCESS_MAGIC;
    process->supervise = supervise;
    process->worker = worker;
    process->name = xstrdup(name);
    process->next = supervise->processes;
    supervise->processes = process;
    supervise->count++;
    int rc = uv_pipe_init(loop, &process->in, 0);
    ASSERT(rc == 0);
    rc = uv_pipe_init(loop, &process->out, 0);
    ASSERT(rc == 0);
    rc = uv_timer_init(loop, &process->last_words);
    ASSERT(rc == 0);
    uv_stdio_container_t stdio[3] = {
        {.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_READABLE_PIPE),
         .data.stream = (uv_stream_t *)&process->in},
        {.flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_WRITABLE_PIPE),
         .data.stream = (uv_stream_t *)&process->out},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    uv_process_options_t options = {.file = supervise->options.args[0],
                                    .args = (char **)(uintptr_t)supervise->options.args,
                                    .exit_cb = on_end,
                                    .stdio = stdio,
                                    .stdio_count = 3};
    rc = uv_spawn(loop, &process->handle, &options);
    init_handle(process, (uv_handle_t *)&process->in);
    init_handle(process, (uv_handle_t *)&process->out);
    init_handle(process, (uv_handle_t *)&process->last_words);
    init_handle(process, (uv_handle_t *)&process->handle);
    if (rc != 0) {
        process->worker = 0; /* nobody's any more */
        close_all(process);
        return err_set(err, KE_IO, "cannot start a worker process: %s", uv_strerror(rc));
    }
    rc = uv_read_start((uv_stream_t *)&process->out, on_alloc, on_read);
    ASSERT(rc == 0);
    return process->handle.pid;
}
