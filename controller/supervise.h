/* Worker processes: spawned, spoken to in lines of JSON, and buried. libuv at work; what it means is
 * the brain's business.
 *
 *     supervise_open -> (supervise_start -> supervise_send... -> [supervise_stop] -> exited)* ->
 *     supervise_close
 *
 * The process must ignore SIGPIPE: a worker may die while it is written to.
 *
 * Invariants:
 *  1. For every start that returned a pid there is exactly one `exited`, after its last event.
 *  2. Callbacks come from the loop, never from within a call made here.
 *  3. A worker that sends a line longer than LIMIT_MESSAGE_BYTES or something that is not JSON, or
 *     that reads nothing while SUPERVISE_QUEUE_MAX bytes wait for it, is killed.
 */
#ifndef KAPPA_CONTROLLER_SUPERVISE_H
#define KAPPA_CONTROLLER_SUPERVISE_H

#include "base/err.h"
#include "base/json.h"

#define SUPERVISE_QUEUE_MAX (8 << 20)

struct supervise;
struct uv_loop_s;

struct supervise_options {
    struct uv_loop_s *loop;
    const char *const *args; /* of the program, NULL at the end; args[0] is its path */
    void *ctx;               /* for the callbacks */
    void (*event)(void *ctx, uint64_t worker, const json_t *event);
    /* signal 0: exited with status. */
    void (*exited)(void *ctx, uint64_t worker, int status, int signal);
};

void supervise_open(const struct supervise_options *options, struct supervise **out);
/* The pid, or a negative code. The worker inherits stderr; stdin and stdout are pipes. */
int supervise_start(struct supervise *supervise, uint64_t worker, const char *name,
                    struct err *err) must_check;
/* Nothing happens when the worker is gone. */
void supervise_send(struct supervise *supervise, uint64_t worker, const json_t *message);
/* kill: SIGKILL. Else its stdin ends. */
void supervise_stop(struct supervise *supervise, uint64_t worker, bool kill);
/* Processes and their handles that are still there. */
uint32_t supervise_count(const struct supervise *supervise);
/* All must be gone. */
void supervise_close(struct supervise *supervise);

#endif
