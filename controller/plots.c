/* Plots: lag and rate of every version over the last hour, for people to look at. Kept in memory
 * only, 720 points of 32 bytes a version. Own header: core_inside.h.
 *
 * A point is noted every 5 s while the version's worker is there; a gap in time is a gap. A version
 * without a point younger than an hour has no memory. */
#include "controller/core_inside.h"

#include "base/clock.h"

#include <stdlib.h>

#define POINT_US   INT64_C(5000000)
#define POINTS_MAX 720
#define KEPT_MS    INT64_C(3600000)

struct point {
    int64_t time_ms;
    int64_t lag;        /* records, or negative: unknown */
    double lag_seconds; /* negative: unknown */
    double rate;        /* records/s */
};

/* A ring. */
struct plot {
    uint32_t first; /* oldest */
    uint32_t count;
    struct point points[POINTS_MAX];
};

void plot_free(struct plot *plot)
{
    free(plot);
}

static void plot_note(struct plot *plot, struct point point)
{
    if (plot->count == POINTS_MAX) {
        plot->first = (plot->first + 1) % POINTS_MAX;
        plot->count--;
    }
    plot->points[(plot->first + plot->count) % POINTS_MAX] = point;
    plot->count++;
}

static void plot_forget(struct plot *plot, int64_t before_ms)
{
    while (plot->count > 0 && plot->points[plot->first].time_ms < before_ms) {
        plot->first = (plot->first + 1) % POINTS_MAX;
        plot->count--;
    }
}

static void version_note(const struct core *core, struct core_version *version)
{
    int64_t now_ms = core_now_ms(core);
    if (child_is_open(&version->child)) {
        if (version->plot == NULL) {
            version->plot = xcalloc(1, sizeof *version->plot);
        }
        plot_note(version->plot, (struct point){.time_ms = now_ms,
                                                .lag = lag_records(&version->lag),
                                                .lag_seconds = lag_seconds(&version->lag, now_ms),
                                                .rate = catchup_rate_get(&version->lag.rate)});
    }
    if (version->plot != NULL) {
        plot_forget(version->plot, now_ms - KEPT_MS);
        if (version->plot->count == 0) {
            plot_free(version->plot);
            version->plot = NULL;
        }
    }
}

void plots_tick(struct core *core)
{
    int64_t now = core_now_us(core);
    if (now < core->plot_us) {
        return;
    }
    core->plot_us = now + POINT_US;
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *processor = core->processors[i];
        for (uint32_t k = 0; k < processor->version_count; k++) {
            version_note(core, processor->versions[k]);
        }
    }
}

static json_t *point_json(const struct point *point)
{
    json_t *lag = point->lag < 0 ? json_null() : json_integer(point->lag);
    json_t *seconds = point->lag_seconds < 0 ? json_null() : json_real(point->lag_seconds);
    json_t *object = json_pack("[I, o, o, f]", (json_int_t)point->time_ms, lag, seconds,
                               point->rate < 0 ? 0.0 : point->rate);
    ASSERT(object != NULL);
    return object;
}

json_t *plots_json(const struct core_processor *processor)
{
    json_t *versions = json_array();
    for (uint32_t i = 0; i < processor->version_count; i++) {
        const struct core_version *version = processor->versions[i];
        const struct plot *plot = version->plot;
        json_t *points = json_array();
        for (uint32_t k = 0; plot != NULL && k < plot->count; k++) {
            int rc = json_array_append_new(
                points, point_json(&plot->points[(plot->first + k) % POINTS_MAX]));
            ASSERT(rc == 0);
        }
        int rc = json_array_append_new(
            versions, json_pack("{s:i, s:o}", "version", (int)version->number, "points", points));
        ASSERT(rc == 0);
    }
    json_t *body =
        json_pack("{s:I, s:[s,s,s,s], s:o}", "every_seconds", (json_int_t)(POINT_US / 1000000),
                  "point", "time_ms", "lag", "lag_seconds", "rate", "versions", versions);
    ASSERT(body != NULL);
    return body;
}
