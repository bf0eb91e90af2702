/* Lag, rates and time left. Own header: catchup.h. */
#include "replayer/catchup.h"

#include <math.h>

#include "include/kappa/record.h"

#define SAMPLE_US_MIN 1000 /* below this a quotient is mostly the clock's grain */

void catchup_rate_add(struct catchup_rate *rate, int64_t now_us, int64_t count)
{
    if (!rate->started || count < rate->last_count || now_us < rate->last_us) {
        *rate = (struct catchup_rate){.last_us = now_us, .last_count = count, .started = true};
        return;
    }
    int64_t passed = now_us - rate->last_us;
    if (passed < SAMPLE_US_MIN) {
        return;
    }
    double present = (double)(count - rate->last_count) * 1e6 / (double)passed;
    double keep = exp(-(double)passed / (double)CATCHUP_SMOOTH_US);
    rate->per_second = keep * rate->per_second + (1.0 - keep) * present;
    rate->weight = keep * rate->weight + (1.0 - keep);
    rate->last_us = now_us;
    rate->last_count = count;
}

double catchup_rate_get(const struct catchup_rate *rate)
{
    return rate->weight > 0.0 ? rate->per_second / rate->weight : 0.0;
}

void catchup_trend_add(struct catchup_trend *trend, int64_t now_us, int64_t count, double present)
{
    if (!trend->started || count < trend->last_count || now_us < trend->last_us) {
        *trend = (struct catchup_trend){.begin_us = now_us,
                                        .last_us = now_us,
                                        .begin_count = count,
                                        .last_count = count,
                                        .started = true};
        return;
    }
    int64_t passed = now_us - trend->last_us;
    if (passed < SAMPLE_US_MIN) {
        return;
    }
    int64_t memory = i64_max(CATCHUP_SMOOTH_US, (now_us - trend->begin_us) / 4);
    double keep = exp(-(double)passed / (double)i64_min(memory, CATCHUP_TREND_US_MAX));
    double pace = (double)(count - trend->last_count) * 1e6 / (double)passed;
    trend->per_second = keep * trend->per_second + (1.0 - keep) * pace;
    trend->weight = keep * trend->weight + (1.0 - keep);
    double mean = catchup_trend_get(trend);
    if (mean > 0.0) {
        double off = (present - mean) / mean;
        trend->error = keep * trend->error + (1.0 - keep) * off * off;
        trend->error_weight = keep * trend->error_weight + (1.0 - keep);
    }
    trend->last_us = now_us;
    trend->last_count = count;
}

double catchup_trend_get(const struct catchup_trend *trend)
{
    return trend->weight > 0.0 ? trend->per_second / trend->weight : 0.0;
}

double catchup_trend_spread(const struct catchup_trend *trend)
{
    double spread =
        trend->error_weight > 0.0 ? sqrt(trend->error / trend->error_weight) : CATCHUP_SPREAD_MAX;
    return fmin(fmax(spread, CATCHUP_SPREAD_MIN), CATCHUP_SPREAD_MAX);
}

struct catchup_eta catchup_eta_range(int64_t lag, double rate, double spread, double arrival)
{
    return (struct catchup_eta){catchup_eta_seconds(lag, rate * (1.0 + spread), arrival),
                                catchup_eta_seconds(lag, rate * (1.0 - spread), arrival)};
}

int64_t catchup_lag(int64_t next, int64_t end)
{
    if (next < 0 || end < 0) {
        return CATCHUP_UNKNOWN;
    }
    return i64_max(end - next, 0);
}

int64_t catchup_lag_sum(const int64_t *next, const int64_t *end, uint32_t count)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        int64_t lag = catchup_lag(next[i], end[i]);
        if (lag == CATCHUP_UNKNOWN) {
            return CATCHUP_UNKNOWN;
        }
        sum += lag;
    }
    return sum;
}

int64_t catchup_sum(const int64_t *offsets, uint32_t count)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += i64_max(offsets[i], 0);
    }
    return sum;
}

double catchup_eta_seconds(int64_t lag, double rate, double arrival)
{
    if (lag == 0) {
        return 0.0;
    }
    double gain = rate - arrival;
    if (lag < 0 || !(gain > 0.0)) {
        return CATCHUP_NEVER;
    }
    return (double)lag / gain;
}

double catchup_progress(const int64_t *start, const int64_t *next, const int64_t *target,
                        uint32_t count)
{
    int64_t done = 0;
    int64_t all = 0;
    for (uint32_t i = 0; i < count; i++) {
        int64_t span = i64_max(target[i] - start[i], 0);
        int64_t passed = i64_max(next[i] - start[i], 0);
        all += span;
        done += i64_min(passed, span);
    }
    return all == 0 ? 1.0 : (double)done / (double)all;
}

bool catchup_reached(const int64_t *next, const int64_t *target, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (next[i] < target[i]) {
            return false;
        }
    }
    return true;
}

double catchup_lag_seconds(int64_t lag, int64_t record_time_ms, int64_t wall_ms)
{
    if (lag == 0) {
        return 0.0;
    }
    if (lag < 0 || record_time_ms == KAPPA_NO_TIME) {
        return CATCHUP_NEVER;
    }
    return (double)i64_max(wall_ms - record_time_ms, 0) / 1000.0;
}
