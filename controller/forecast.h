/* What a replay would cost and whether it would get there: arithmetic over what is known. Pure. */
#ifndef KAPPA_CONTROLLER_FORECAST_H
#define KAPPA_CONTROLLER_FORECAST_H

#include "base/json.h"
#include "replayer/catchup.h"

#define FORECAST_UNKNOWN (-1)

struct forecast_facts {
    int64_t records; /* offsets to read */
    double rate_low; /* of the replay, records/s; 0: not known */
    double rate_high;
    double arrival;  /* records/s that come meanwhile; FORECAST_UNKNOWN: taken as none */
    bool retained;   /* the log deletes by time, and when is known: */
    double headroom; /* seconds until the first record to read may be deleted; may be negative */
    const char *log; /* who deletes: "broker" or "log" */
    int64_t disk_needed; /* bytes; FORECAST_UNKNOWN */
    int64_t disk_free;
    uint64_t sampled; /* records */
    uint64_t dead;    /* of them */
};

struct forecast {
    struct catchup_eta eta; /* both CATCHUP_NEVER when not known or never */
    bool known;             /* a rate is known */
    bool catches_up;        /* at the higher pace, at least; only when known */
    double utilisation;     /* arrival / replay, by the mean pace; FORECAST_UNKNOWN */
};

void forecast_make(const struct forecast_facts *facts, struct forecast *out);
/* Sentences about what stands against it; a new array, maybe empty. */
json_t *forecast_warnings(const struct forecast_facts *facts, const struct forecast *forecast);

#endif
