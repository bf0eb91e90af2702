/* What every unit test needs: cmocka with its headers, and a seed that is printed and can be given. */
#ifndef KAPPA_TESTS_UNIT_H
#define KAPPA_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* KAPPA_SEED, or one from the clock; printed, so that a failure can be run again. */
static inline uint64_t unit_seed(const char *test)
{
    const char *wish = getenv("KAPPA_SEED");
    uint64_t seed = wish != NULL ? strtoull(wish, NULL, 0)
                                 : (uint64_t)time(NULL) * 1000003U + (uint64_t)getpid();
    (void)printf("%s: KAPPA_SEED=%llu\n", test, (unsigned long long)seed);
    return seed;
}

#endif
