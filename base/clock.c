/* The machine's clocks. Own header: clock.h. */
#include "base/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id, int64_t per_second)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);
    ASSERT(rc == 0);
    return (int64_t)now.tv_sec * per_second + (int64_t)now.tv_nsec / (1000000000 / per_second);
}

static int64_t real_mono_us(void *ctx)
{
    (void)ctx;
    return read_clock(CLOCK_MONOTONIC, 1000000);
}

static int64_t real_wall_ms(void *ctx)
{
    (void)ctx;
    return read_clock(CLOCK_REALTIME, 1000);
}

const struct clock_ops *clock_real(void)
{
    static const struct clock_ops ops = {NULL, real_mono_us, real_wall_ms};
    return &ops;
}
