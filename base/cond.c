/* Conditions and the monotonic clock. Own header: cond.h. */
#include "base/cond.h"

void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    ASSERT(pthread_condattr_init(&monotonic) == 0);
    ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_cond_init(cond, &monotonic) == 0);
    (void)pthread_condattr_destroy(&monotonic);
}

struct timespec cond_until(int64_t ms)
{
    struct timespec until;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}
