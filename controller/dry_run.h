/* A deploy or replay that only says what it would do. Nothing is written: no catalog, no files, no
 * topics.
 *
 *     dry_run_know     the core's thread: what the model and the workers have told
 *     dry_run_look     the job: what the log tells, and a short sample of the replay
 *     dry_run_json     the answer (docs/ARCHITECTURE.md, HTTP) -> dry_run_free */
#ifndef KAPPA_CONTROLLER_DRY_RUN_H
#define KAPPA_CONTROLLER_DRY_RUN_H

#include "controller/forecast.h"
#include "log/position.h"
#include "processor/plan.h"
#include "replayer/sample.h"

struct core;

struct dry_run {
    /* What is asked for; borrowed from the deploy. */
    const struct plan *plan;
    struct log *log;
    const struct position_topic *topics; /* per input */
    const struct position_range *ranges; /* per source */
    uint32_t source_count;
    uint32_t shards;
    /* dry_run_know */
    char *data_dir; /* owned */
    int64_t now_ms;
    uint32_t paced_version; /* whose replay was measured; 0: none */
    double pace;
    bool paced_same;       /* by the same definition */
    double arrival;        /* as the serving version sees it; FORECAST_UNKNOWN */
    int64_t serving_bytes; /* its files; FORECAST_UNKNOWN */
    int64_t serving_rss;
    bool same_tables; /* so its size says what the new one will have */
    int64_t cache_bytes;
    /* dry_run_look */
    struct sample_source *sources; /* per source; owned */
    struct log_extent *extents;    /* the same */
    int64_t *first_time_ms;        /* the same */
    int64_t *archived; /* the same: read from an archive up to here, at most to its end */
    struct sample sample;
    struct err trouble; /* of the sample; code 0: none */
    double log_arrival; /* by record times; FORECAST_UNKNOWN */
    int64_t disk_free;
};

void dry_run_know(struct dry_run *dry, struct core *core, const char *processor, const char *hash);
void dry_run_look(struct dry_run *dry);
json_t *dry_run_json(const struct dry_run *dry);
void dry_run_free(struct dry_run *dry);
/* Bytes that may be written there; FORECAST_UNKNOWN. */
int64_t dry_run_disk_free(const char *dir);

#endif
