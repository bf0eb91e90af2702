/* A short taste of a replay: some records of each source read from the log and applied in memory with
 * the compiled plan. Nothing is written, and nothing of it stays.
 *
 * What it measures is one thread without commits: an upper bound of what a shard does. Plans with
 * plugins are only read (native code runs in workers alone), so are those whose schemas a registry
 * keeps. */
#ifndef KAPPA_REPLAYER_SAMPLE_H
#define KAPPA_REPLAYER_SAMPLE_H

#include "base/clock.h"
#include "log/log.h"
#include "processor/plan.h"

struct sample_source {
    const char *topic; /* borrowed */
    uint32_t partition;
    uint32_t partitions; /* of the topic */
    uint32_t input;      /* of the plan */
    int64_t start;
    int64_t end;
};

struct sample_options {
    const struct plan *plan;
    struct log *log;
    const struct clock_ops *clock;
    const struct sample_source *sources; /* at most LIMIT_SOURCES */
    uint32_t source_count;
    int64_t budget_us; /* from the first batch on */
    int64_t wait_us;   /* for the first batch: a client of Kafka needs to connect */
    uint32_t records_max;
    int64_t *first_time_ms; /* per source: record time of its first one, or KAPPA_NO_TIME; filled */
};

struct sample {
    bool applied; /* else only read */
    uint64_t records;
    uint64_t bytes; /* of their keys, values and headers */
    uint64_t dead;
    double per_second;  /* of one thread; 0: not known */
    struct err refused; /* the version would fail at such records (dead_limit); code 0: no */
};

int sample_take(const struct sample_options *options, struct sample *out,
                struct err *err) must_check;

#endif
