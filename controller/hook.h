/* A command that is run for each event: `kappa up --hook CMD`. libuv at work.
 *
 *     hook_open -> hook_event ... -> hook_end -> (hook_busy is false) -> hook_close
 *
 * Each run is `/bin/sh -c CMD` with the event as a line of JSON on its standard input, and KAPPA_EVENT,
 * KAPPA_PROCESSOR and KAPPA_VERSION in its environment; what it prints goes to standard error. Runs come
 * one at a time, in the order of the events. One that takes longer than HOOK_SECONDS is killed with all
 * it has started; an event that finds HOOK_QUEUE of them waiting is left out. Both are logged, as is a
 * run that fails; none is tried again. The loop never waits. */
#ifndef KAPPA_CONTROLLER_HOOK_H
#define KAPPA_CONTROLLER_HOOK_H

#include "base/json.h"

#define HOOK_SECONDS 30
#define HOOK_QUEUE   256

struct hook;
struct uv_loop_s;

/* The command is copied. timeout_ms: HOOK_SECONDS, but in tests. */
void hook_open(struct uv_loop_s *loop, const char *command, int64_t timeout_ms, struct hook **out);
/* Borrowed. */
void hook_event(struct hook *hook, const json_t *event);
/* No more events: the run under way is killed, those that wait are left out. */
void hook_end(struct hook *hook);
/* Its handles are still there. */
bool hook_busy(const struct hook *hook);
/* NULL is fine. Not while it is busy, unless the process ends. */
void hook_close(struct hook *hook);

#endif
