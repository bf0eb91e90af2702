/* Running the hook. Own header: hook.h.
 *
 * A run is a process handle, a pipe and a timer; it is over when the process has ended, and freed when
 * all handles are closed. Then the next one begins. */
#include "controller/hook.h"

#include "base/trace.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#define ENV_OWN 3 /* variables of the event */

struct run {
    struct hook *hook;
    uv_process_t process;
    uv_pipe_t in;
    uv_timer_t timer;
    uv_write_t write;
    uv_shutdown_t shut;
    struct buf line;
    char *what; /* "ready of features v2"; owned */
    bool started;
    bool late; /* killed */
    uint32_t handles;
};

struct hook {
    uv_loop_t *loop;
    char *command; /* owned */
    uint64_t timeout_ms;
    json_t *queue; /* events that wait; owned */
    struct run *run;
    uint64_t left_out;
    bool ended;
};

static void run_next(struct hook *hook);

void hook_open(struct uv_loop_s *loop, const char *command, int64_t timeout_ms, struct hook **out)
{
    struct hook *hook = xcalloc(1, sizeof *hook);
    hook->loop = loop;
    hook->command = xstrdup(command);
    hook->timeout_ms = (uint64_t)timeout_ms;
    hook->queue = json_array();
    *out = hook;
}

void hook_close(struct hook *hook)
{
    if (hook != NULL) {
        free(hook->command);
        json_decref(hook->queue);
        free(hook);
    }
}

bool hook_busy(const struct hook *hook)
{
    return hook != NULL && hook->run != NULL;
}

/* ---- The end of a run ---- */

static void on_closed(uv_handle_t *handle)
{
    struct run *run = handle->data;
    if (--run->handles > 0) {
        return;
    }
    struct hook *hook = run->hook;
    buf_free(&run->line);
    free(run->what);
    free(run);
    hook->run = NULL;
    run_next(hook);
}

static void run_close(struct run *run)
{
    uv_handle_t *const handles[] = {(uv_handle_t *)&run->process, (uv_handle_t *)&run->in,
                                    (uv_handle_t *)&run->timer};
    for (size_t i = 0; i < array_len(handles); i++) {
        if (!uv_is_closing(handles[i])) {
            uv_close(handles[i], on_closed);
        }
    }
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
    struct run *run = process->data;
    if (run->late) {
        trace(TRACE_WARN, "the hook took longer than %llu ms for the event %s: killed",
              (unsigned long long)run->hook->timeout_ms, run->what);
    } else if (signal != 0 && !run->hook->ended) {
        trace(TRACE_WARN, "the hook was killed by signal %d at the event %s", signal, run->what);
    } else if (status != 0) {
        trace(TRACE_WARN, "the hook exited %lld at the event %s", (long long)status, run->what);
    }
    run_close(run);
}

/* With all that it has started: it leads a group of its own. */
static void run_kill(const struct run *run)
{
    int pid = uv_process_get_pid(&run->process);
    if (run->started && pid > 0) {
        (void)kill(-pid, SIGKILL);
    }
}

static void on_late(uv_timer_t *timer)
{
    struct run *run = timer->data;
    run->late = true;
    run_kill(run);
}

/* ---- The begin ---- */

/* The environment with the event's words; the caller frees the list and its first ENV_OWN texts. */
static char **make_env(const json_t *event)
{
    size_t count = 0;
    while (environ[count] != NULL) {
        count++;
    }
    char **env = xcalloc(count + ENV_OWN + 1, sizeof *env);
    env[0] = xasprintf("KAPPA_EVENT=%s", json_text(event, "type", ""));
    env[1] = xasprintf("KAPPA_PROCESSOR=%s", json_text(event, "processor", ""));
    env[2] = xasprintf("KAPPA_VERSION=%lld", (long long)json_int(event, "version", 0));
    memcpy(env + ENV_OWN, environ, count * sizeof *env);
    return env;
}

static int run_spawn(struct run *run, const json_t *event)
{
    char shell[] = "/bin/sh";
    char option[] = "-c";
    char *args[] = {shell, option, run->hook->command, NULL};
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&run->in},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO}};
    char **env = make_env(event);
    uv_process_options_t options = {.exit_cb = on_exit_of,
                                    .file = shell,
                                    .args = args,
                                    .env = env,
                                    .stdio = stdio,
                                    .stdio_count = 3,
                                    .flags = UV_PROCESS_DETACHED};
    int rc = uv_spawn(run->hook->loop, &run->process, &options);
    for (int i = 0; i < ENV_OWN; i++) {
        free(env[i]);
    }
    free(env);
    return rc;
}

static void on_shut(uv_shutdown_t *request, int status)
{
    (void)status;
    struct run *run = request->data;
    if (!uv_is_closing((uv_handle_t *)&run->in)) {
        uv_close((uv_handle_t *)&run->in, on_closed);
    }
}

/* Whoever does not read his standard input is not to blame. */
static void run_feed(struct run *run, const json_t *event)
{
    json_write(&run->line, event);
    buf_append_u8(&run->line, '\n');
    uv_buf_t text = uv_buf_init((char *)run->line.data, (unsigned)run->line.len);
    uv_stream_t *in = (uv_stream_t *)&run->in;
    if (uv_write(&run->write, in, &text, 1, NULL) != 0 ||
        uv_shutdown(&run->shut, in, on_shut) != 0) {
        on_shut(&run->shut, 0);
    }
}

static void run_start(struct hook *hook, const json_t *event)
{
    struct run *run = xcalloc(1, sizeof *run);
    run->hook = hook;
    run->what = xasprintf("%s %s %lld", json_text(event, "type", ""),
                          json_text(event, "processor", ""), (long long)json_int(event, "seq", 0));
    run->handles = 3;
    run->process.data = run->in.data = run->timer.data = run->shut.data = run;
    int rc = uv_pipe_init(hook->loop, &run->in, 0);
    ASSERT_CMP(rc, ==, 0);
    rc = uv_timer_init(hook->loop, &run->timer);
    ASSERT_CMP(rc, ==, 0);
    hook->run = run;
    rc = run_spawn(run, event);
    if (rc != 0) {
        trace(TRACE_WARN, "the hook does not start: %s", uv_strerror(rc));
        run_close(run);
        return;
    }
    run->started = true;
    rc = uv_timer_start(&run->timer, on_late, hook->timeout_ms, 0);
    ASSERT_CMP(rc, ==, 0);
    run_feed(run, event);
}

static void run_next(struct hook *hook)
{
    if (hook->run != NULL || json_array_size(hook->queue) == 0) {
        return;
    }
    json_t *event = json_incref(json_array_get(hook->queue, 0));
    (void)json_array_remove(hook->queue, 0);
    run_start(hook, event);
    json_decref(event);
}

void hook_event(struct hook *hook, const json_t *event)
{
    if (hook->ended) {
        return;
    }
    if (json_array_size(hook->queue) >= HOOK_QUEUE) {
        hook->left_out++;
        trace(TRACE_WARN, "the hook is too slow: %llu events were left out",
              (unsigned long long)hook->left_out);
        return;
    }
    int rc = json_array_append(hook->queue, (json_t *)(uintptr_t)event);
    ASSERT(rc == 0);
    run_next(hook);
}

void hook_end(struct hook *hook)
{
    hook->ended = true;
    (void)json_array_clear(hook->queue);
    if (hook->run != NULL) {
        run_kill(hook->run);
    }
}
