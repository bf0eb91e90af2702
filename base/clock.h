/* Time, always through this struct, so that a simulator can own it. Tables never see it: it serves
 * timeouts, rates and the stamps of receipts. */
#ifndef KAPPA_BASE_CLOCK_H
#define KAPPA_BASE_CLOCK_H

#include "base/base.h"

struct clock_ops {
    void *ctx;
    int64_t (*mono_us)(void *ctx); /* monotonic, for durations */
    int64_t (*wall_ms)(void *ctx); /* Unix time, for people */
};

/* The machine's clocks. */
const struct clock_ops *clock_real(void);

static inline int64_t clock_mono_us(const struct clock_ops *clock)
{
    return clock->mono_us(clock->ctx);
}

static inline int64_t clock_wall_ms(const struct clock_ops *clock)
{
    return clock->wall_ms(clock->ctx);
}

#endif
