/* How fast replays may be so that what serves stays fresh. Pure: values in, values out.
 *
 * Each look compares the freshness of what serves with the goal: worse than it, the replays together
 * get PACE_SLOWER of what they had; nearly as bad, they keep it; else they get more: twice as much
 * until the goal was missed for the first time, then PACE_FASTER more. So the rate saws below what
 * the machine can do beside its live work, and follows it when that changes. A look that misses the goal
 * right after one that did is not counted: it saw the end of what the first one saw. Nothing is given that
 * would not be used, so that a rate that was not tried is not believed in. */
#ifndef KAPPA_CONTROLLER_PACE_H
#define KAPPA_CONTROLLER_PACE_H

#include "base/histogram.h"

#define PACE_START  10000.0 /* records/s of all replays together */
#define PACE_LEAST  1000.0  /* not less, whatever happens: a replay ends some day */
#define PACE_MOST   1e9
#define PACE_SLOWER 0.6
#define PACE_FASTER 0.08
#define PACE_NEAR   0.8 /* of the goal: not faster from here on */
#define PACE_LEFT   0.1 /* of a rate: for those that are not first */

enum pace_why { PACE_BEGINS, PACE_GROWS, PACE_QUIET, PACE_UNUSED, PACE_IS_NEAR, PACE_FALLS };

struct pace {
    double rate;   /* records/s of all replays together */
    bool missed;   /* the goal was missed once */
    bool settling; /* it has just become slower: what was measured is partly of before */
    enum pace_why why;
};

void pace_open(struct pace *pace);
/* worst_us: p99 of what serves, negative when nothing came; used: records/s that the replays made of
 * the rate. */
void pace_look(struct pace *pace, double worst_us, double goal_us, double used);

/* A replay that takes part. */
struct pace_share {
    double weight; /* > 0 */
    double most;   /* records/s, or PACE_MOST */
    bool
        first; /* served before the others: it must be done at a time, and `most` is what it needs */
    double gets; /* out */
};

/* Divides the rate by weight; what one may not have goes to the others. Those that are first share
 * among themselves, but for PACE_LEFT of the rate if others want it. */
void pace_divide(double rate, struct pace_share *shares, uint32_t count);

/* Freshness of a version in windows of about a second, longer when little comes. */
struct pace_window {
    struct histogram before; /* the worker's counts when the window began */
    int64_t since_us;        /* when it began; 0: never */
    int64_t ended_us;        /* the last one did; 0: none has */
    int64_t p50_us, p99_us;  /* of the last one; -1: nothing came */
};

/* The worker's counts now. */
void pace_window_look(struct pace_window *window, const struct histogram *counts, int64_t now_us);

#endif
