/* Own header: fail_point.h. */
#include "replayer/fail_point.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct {
    char step[16];
    long count; /* 0: never */
    int signal;
    atomic_long seen; /* by all threads */
} fail;

void fail_point_setup(void)
{
    const char *text = getenv("KAPPA_FAIL");
    const char *colon = text ? strchr(text, ':') : NULL;
    fail.count = 0;
    fail.signal = getenv("KAPPA_FAIL_STOPS") != NULL ? SIGSTOP : SIGKILL;
    atomic_store(&fail.seen, 0);
    if (colon && (size_t)(colon - text) < sizeof fail.step) {
        memcpy(fail.step, text, (size_t)(colon - text));
        fail.step[colon - text] = '\0';
        fail.count = strtol(colon + 1, NULL, 10);
    }
}

int fail_point_here(void *ctx, const char *step)
{
    (void)ctx;
    if (fail.count > 0 && strcmp(step, fail.step) == 0 &&
        atomic_fetch_add(&fail.seen, 1) + 1 == fail.count) {
        (void)raise(fail.signal);
    }
    return 0;
}
