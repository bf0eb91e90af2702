/* How far behind, how fast, how long still: arithmetic over offsets. Pure: values in, values out;
 * the caller owns clock and memory.
 *
 * Words: next = the next offset a source will apply; end = the first offset the log does not show
 * yet; target = the end frozen at the deploy. All are offsets, so holes count as records: rates and
 * lags are in the same unit and their quotient is right. Unknown offsets are -1.
 *
 *     lag       sum over sources of end - next
 *     rate      offsets passed per second, smoothed
 *     arrival   offsets added to the log per second, smoothed
 *     ETA       lag / (rate - arrival); never when that is not positive
 */
#ifndef KAPPA_REPLAYER_CATCHUP_H
#define KAPPA_REPLAYER_CATCHUP_H

#include "base/base.h"

/* No number can be given: a lag of unknown ends, an ETA of never. */
#define CATCHUP_UNKNOWN (-1)
#define CATCHUP_NEVER   (-1.0)

/* A smoothed rate of a growing count: an exponential mean with a time constant of
 * CATCHUP_SMOOTH_US, so that it does not matter how often it is fed. All zero: fresh. */
struct catchup_rate {
    int64_t last_us;    /* monotonic time of the last sample */
    int64_t last_count; /* its count */
    double per_second;  /* the mean so far */
    double weight;      /* sum of the weights in the mean, 0..1: corrects its start from zero */
    bool started;       /* a first sample was seen */
};

#define CATCHUP_SMOOTH_US 2000000

/* Feeds a sample. A count below the last one (the source began again) starts afresh; samples less
 * than 1 ms apart are left to the next one. */
void catchup_rate_add(struct catchup_rate *rate, int64_t now_us, int64_t count);
/* Per second; 0 before the second sample. */
double catchup_rate_get(const struct catchup_rate *rate);

/* How a replay goes on the whole, for the forecast of its end: the mean over about the last quarter of
 * its time so far (60 s at most), and how far the smoothed rate strays from it. All zero: fresh. */
struct catchup_trend {
    int64_t begin_us, last_us;
    int64_t begin_count, last_count;
    double per_second; /* the mean so far, and its weight as in catchup_rate */
    double weight;
    double error; /* mean square of (rate - mean) / mean, and its weight */
    double error_weight;
    bool started;
};

#define CATCHUP_TREND_US_MAX 60000000
/* A forecast is never taken to be surer than this: the load of a machine changes. */
#define CATCHUP_SPREAD_MIN   0.2
#define CATCHUP_SPREAD_MAX   0.9

/* Feeds a sample; present: the smoothed rate now. As catchup_rate_add otherwise. */
void catchup_trend_add(struct catchup_trend *trend, int64_t now_us, int64_t count, double present);
/* Per second; 0 before the second sample. */
double catchup_trend_get(const struct catchup_trend *trend);
/* Part of the rate by which it may be more or less. */
double catchup_trend_spread(const struct catchup_trend *trend);

/* Seconds left as a range; high is CATCHUP_NEVER when the slower pace does not catch up, both are
 * when the lag is unknown or neither does. */
struct catchup_eta {
    double low, high;
};

struct catchup_eta catchup_eta_range(int64_t lag, double rate, double spread, double arrival);

/* Of one source: end - next, 0 when the end is known to be older than next, CATCHUP_UNKNOWN when
 * either is unknown. */
int64_t catchup_lag(int64_t next, int64_t end);
/* Sum over sources; CATCHUP_UNKNOWN when one is. */
int64_t catchup_lag_sum(const int64_t *next, const int64_t *end, uint32_t count);
/* Sum of offsets, unknown ones as 0: what the rates are fed with. */
int64_t catchup_sum(const int64_t *offsets, uint32_t count);
/* Seconds until the lag is gone: 0 when it is, CATCHUP_NEVER when it is unknown or does not
 * shrink. */
double catchup_eta_seconds(int64_t lag, double rate, double arrival);
/* Share of start..target that is done, 0 to 1; 1 when there is nothing to do. A position past its
 * target counts as at it. */
double catchup_progress(const int64_t *start, const int64_t *next, const int64_t *target,
                        uint32_t count);
/* True when every source has reached its target. */
bool catchup_reached(const int64_t *next, const int64_t *target, uint32_t count);
/* How old the newest applied record is while there is a lag: seconds, 0 without lag or when its
 * time lies in the future, CATCHUP_NEVER when the lag or the time is unknown. */
double catchup_lag_seconds(int64_t lag, int64_t record_time_ms, int64_t wall_ms);

#endif
