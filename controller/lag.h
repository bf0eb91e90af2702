/* How far a version has come, from what its worker reports: the vectors, their rates, and the two
 * questions the life cycle asks. Pure; the arithmetic is replayer/catchup.h.
 *
 * Unknown offsets are -1. Positions outlive the worker that reported them (a dead worker's version
 * is where it was); the live end is unknown until a worker has told it. */
#ifndef KAPPA_CONTROLLER_LAG_H
#define KAPPA_CONTROLLER_LAG_H

#include "base/json.h"
#include "replayer/catchup.h"

/* A version this close to the end is caught up, however slow it is. */
#define LAG_READY_RECORDS 1000
/* ... or this many seconds of its own pace away, however fast: a swap waits for them. */
#define LAG_READY_SECONDS 0.25

#define LAG_STALLED_US INT64_C(10000000)

struct lag {
    uint32_t count;       /* sources */
    int64_t *begin;       /* where the version started */
    int64_t *target;      /* the ends when it was deployed */
    int64_t *next;        /* next offset to apply */
    int64_t *committed;   /* cut of the last commit */
    int64_t *log_start;   /* first offset the log holds */
    int64_t *log_end;     /* its end, for readers */
    int64_t *log_high;    /* behind all that is there, also what an open transaction holds back */
    int64_t *blocked_us;  /* such a one blocks the source since then; -1: none does */
    int64_t *record_time; /* of the newest applied record, ms, or KAPPA_NO_TIME */
    bool *at_end;         /* the worker saw the end there */
    int64_t *moved_us;    /* when next was last seen to grow, or to be at the end */
    struct catchup_rate rate;
    struct catchup_rate arrival;
    struct catchup_trend trend; /* of the rate, while there is a lag */
    double pace;                /* records/s over all of that time, once it is known; else 0 */
    int64_t pace_records;       /* that it was measured with */
};

/* begin, target: arrays of the version object, of the same length >= 1. */
void lag_open(struct lag *lag, const json_t *begin, const json_t *target);
void lag_close(struct lag *lag);

/* From `opened`: positions only; ends are unknown again, rates start afresh. False: not as many as
 * there are sources. */
bool lag_opened(struct lag *lag, const json_t *next);
/* The rows are of no cut below these offsets: it is not past its target there. */
void lag_least(struct lag *lag, const json_t *least);
/* From `progress`: each vector that is there and of the right length is taken. */
bool lag_progress(struct lag *lag, const json_t *event, int64_t now_us);
/* From `held` and `at_cut`. */
void lag_position(struct lag *lag, const int64_t *next);

/* Past the target everywhere. */
bool lag_past_target(const struct lag *lag);
/* Close enough to the live end, or at it everywhere. */
bool lag_is_ready(const struct lag *lag);
/* How a source stands, for people and alerts: "ok" (at the end, or on its way there), "stalled"
 * (records wait and none has been applied for LAG_STALLED_US), "blocked" (at the end that readers see,
 * and an open transaction holds back what lies behind it), "unknown" (the end is). */
const char *lag_status(const struct lag *lag, uint32_t source, int64_t now_us);
/* Records behind, or CATCHUP_UNKNOWN. */
int64_t lag_records(const struct lag *lag);
/* The same; while the end is not known, what is left to the target. */
int64_t lag_left(const struct lag *lag);
/* Of the oldest source, or CATCHUP_NEVER when unknown. */
double lag_seconds(const struct lag *lag, int64_t wall_ms);
/* Seconds until it has caught up: by the trend of the rate, against what arrives. */
double lag_eta_seconds(const struct lag *lag);
struct catchup_eta lag_eta_range(const struct lag *lag);
/* 0..1 of the way to the end (or to the target while the end is not known). */
double lag_done(const struct lag *lag);

/* Integers of a JSON array into out[count]; false when it is not an array of exactly these. */
bool lag_offsets(const json_t *array, int64_t *out, uint32_t count);
/* The other way: a new reference. */
json_t *lag_offsets_json(const int64_t *offsets, uint32_t count);

#endif
