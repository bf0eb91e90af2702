/* Faster and slower. Own header: pace.h. */
#include "controller/pace.h"

#include <math.h>

#define WINDOW_US     900000
#define WINDOW_US_MAX 5000000
#define WINDOW_COUNT  30 /* fewer say little about the 99th of 100 */
#define USED          0.7 /* less than this part of the rate: it is not what holds the replays back */

void pace_open(struct pace *pace)
{
    *pace = (struct pace){.rate = PACE_START, .why = PACE_BEGINS};
}

void pace_look(struct pace *pace, double worst_us, double goal_us, double used)
{
    bool settling = pace->settling;
    pace->settling = false;
    if (worst_us > goal_us && settling) {
        pace->why = PACE_FALLS;
    } else if (worst_us > goal_us) {
        /* What was given and not used did no harm. */
        pace->rate =
            PACE_SLOWER * (used > 0 && !pace->missed ? fmin(pace->rate, used) : pace->rate);
        pace->missed = true;
        pace->settling = true;
        pace->why = PACE_FALLS;
    } else if (worst_us > PACE_NEAR * goal_us) {
        pace->why = PACE_IS_NEAR;
    } else if (used < USED * pace->rate) {
        pace->why = PACE_UNUSED;
    } else {
        pace->rate *= pace->missed ? 1 + PACE_FASTER : 2;
        pace->why = worst_us < 0 ? PACE_QUIET : PACE_GROWS;
    }
    pace->rate = fmin(fmax(pace->rate, PACE_LEAST), PACE_MOST);
}

/* Among those that are first, or those that are not. Returns what is left of the rate. */
static double divide_among(double rate, struct pace_share *shares, uint32_t count, bool first)
{
    double left = rate;
    double weights = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (shares[i].first == first) {
            shares[i].gets = -1;
            weights += shares[i].weight;
        }
    }
    /* Those that may not have their part first, as often as that leaves more for others. */
    for (bool again = true; again;) {
        again = false;
        for (uint32_t i = 0; i < count; i++) {
            struct pace_share *share = &shares[i];
            bool open = share->first == first && share->gets < 0;
            if (open && share->most < left * share->weight / weights) {
                share->gets = share->most;
                left -= share->most;
                weights -= share->weight;
                again = true;
            }
        }
    }
    double rest = left;
    for (uint32_t i = 0; i < count; i++) {
        if (shares[i].first == first && shares[i].gets < 0) {
            shares[i].gets = left * shares[i].weight / weights;
            rest = 0;
        }
    }
    return rest;
}

void pace_divide(double rate, struct pace_share *shares, uint32_t count)
{
    double kept = PACE_LEFT * rate;
    double rest = divide_among(rate - kept, shares, count, true);
    rest = divide_among(rest + kept, shares, count, false);
    if (rest > 0) {
        double firsts = rest;
        for (uint32_t i = 0; i < count; i++) {
            firsts += shares[i].first ? shares[i].gets : 0;
        }
        (void)divide_among(firsts, shares, count, true);
    }
}

void pace_window_look(struct pace_window *window, const struct histogram *counts, int64_t now_us)
{
    struct histogram fresh;
    if (window->since_us == 0 || !histogram_since(counts, &window->before, &fresh)) {
        window->before = *counts; /* a worker that has just begun */
        window->since_us = now_us;
        return;
    }
    uint64_t count = histogram_count(&fresh);
    int64_t passed = now_us - window->since_us;
    bool enough = count == 0 || count >= WINDOW_COUNT || passed >= WINDOW_US_MAX;
    if (passed < WINDOW_US || !enough) {
        return;
    }
    window->p50_us = histogram_quantile_us(&fresh, 0.5);
    window->p99_us = histogram_quantile_us(&fresh, 0.99);
    window->before = *counts;
    window->since_us = now_us;
    window->ended_us = now_us;
}
