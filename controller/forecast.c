/* Forecast of a replay. Own header: forecast.h. */
#include "controller/forecast.h"

#include "base/buf.h"
#include "base/timefmt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_LEN 32

void forecast_make(const struct forecast_facts *facts, struct forecast *out)
{
    double arrival = facts->arrival > 0 ? facts->arrival : 0;
    double mean = (facts->rate_low + facts->rate_high) / 2;
    *out = (struct forecast){.eta = {CATCHUP_NEVER, CATCHUP_NEVER},
                             .known = facts->rate_high > 0 || facts->records == 0,
                             .utilisation = FORECAST_UNKNOWN};
    out->eta.low = catchup_eta_seconds(facts->records, facts->rate_high, arrival);
    out->eta.high = catchup_eta_seconds(facts->records, facts->rate_low, arrival);
    out->catches_up = out->eta.low >= 0;
    if (facts->arrival >= 0 && mean > 0) {
        out->utilisation = facts->arrival / mean;
    }
}

/* "35 k/s" */
static const char *rate_text(double rate, char *text)
{
    static const char units[] = " kMG";
    size_t unit = 0;
    while (rate >= 1000 && unit < 3) {
        rate /= 1000;
        unit++;
    }
    (void)snprintf(text, TEXT_LEN, unit == 0 ? "%.0f/s" : "%.3g %c/s", rate, units[unit]);
    return text;
}

static const char *seconds_text(double seconds, char *text)
{
    duration_format((int64_t)(fmin(fmax(seconds, 0), 1e11) * 1e6), text);
    return text;
}

static void warn(json_t *warnings, char *text)
{
    int rc = json_array_append_new(warnings, json_string(text));
    ASSERT(rc == 0);
    free(text);
}

static void warn_pace(const struct forecast_facts *facts, const struct forecast *forecast,
                      json_t *warnings)
{
    char arrival[TEXT_LEN];
    char low[TEXT_LEN];
    char high[TEXT_LEN];
    if (facts->records == 0 || !forecast->known || forecast->eta.high >= 0) {
        return;
    }
    (void)rate_text(facts->arrival, arrival);
    (void)rate_text(facts->rate_low, low);
    (void)rate_text(facts->rate_high, high);
    warn(warnings,
         forecast->catches_up
             ? xasprintf("may never catch up: arrival %s, replay %s to %s", arrival, low, high)
             : xasprintf("will never catch up: arrival %s, replay %s", arrival, high));
}

static void warn_retention(const struct forecast_facts *facts, const struct forecast *forecast,
                           json_t *warnings)
{
    char headroom[TIME_TEXT_LEN];
    char need[TIME_TEXT_LEN];
    if (!facts->retained || facts->records == 0) {
        return;
    }
    if (facts->headroom <= 0) {
        warn(warnings, xasprintf("your start is older than the topic's retention: the %s may "
                                 "delete it at any time",
                                 facts->log));
    } else if (forecast->known &&
               (forecast->eta.high < 0 || forecast->eta.high > facts->headroom)) {
        (void)seconds_text(facts->headroom, headroom);
        (void)seconds_text(forecast->eta.high, need);
        warn(warnings, forecast->eta.high < 0
                           ? xasprintf("the %s will have deleted your start in %s, and the replay "
                                       "may not end",
                                       facts->log, headroom)
                           : xasprintf("the %s will have deleted your start in %s; you need %s",
                                       facts->log, headroom, need));
    }
}

json_t *forecast_warnings(const struct forecast_facts *facts, const struct forecast *forecast)
{
    json_t *warnings = json_array();
    warn_pace(facts, forecast, warnings);
    warn_retention(facts, forecast, warnings);
    if (facts->disk_needed >= 0 && facts->disk_free >= 0 && facts->disk_needed > facts->disk_free) {
        warn(warnings,
             xasprintf("the disk has %lld MiB free, and the tables need about %lld MiB",
                       (long long)(facts->disk_free >> 20), (long long)(facts->disk_needed >> 20)));
    }
    if (facts->dead > 0) {
        warn(warnings,
             xasprintf("%llu of %llu records that were looked at are dead: they could not "
                       "be processed",
                       (unsigned long long)facts->dead, (unsigned long long)facts->sampled));
    }
    return warnings;
}
