/* Waiting on a condition until a moment of the monotonic clock, which nobody sets:
 *
 *     cond_init, then under the mutex:
 *     struct timespec until = cond_until(ms);
 *     while (!there && pthread_cond_timedwait(&cond, &mutex, &until) == 0) {} */
#ifndef KAPPA_BASE_COND_H
#define KAPPA_BASE_COND_H

#include "base/base.h"

#include <pthread.h>
#include <time.h>

void cond_init(pthread_cond_t *cond);
/* So long from now; not negative. */
struct timespec cond_until(int64_t ms);

#endif
