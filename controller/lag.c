/* Progress of a version. Own header: lag.h. */
#include "controller/lag.h"

#include "include/kappa/record.h"

#include <stdlib.h>
#include <string.h>

#define LAG_PACE_US 500000 /* a shorter time tells nothing of how fast a replay is */

bool lag_offsets(const json_t *array, int64_t *out, uint32_t count)
{
    if (!json_is_array(array) || json_array_size(array) != count) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!json_is_integer(json_array_get(array, i))) {
            return false;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        out[i] = (int64_t)json_integer_value(json_array_get(array, i));
    }
    return true;
}

json_t *lag_offsets_json(const int64_t *offsets, uint32_t count)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        int rc = json_array_append_new(array, json_integer(offsets[i]));
        ASSERT(rc == 0);
    }
    return array;
}

static int64_t *filled(uint32_t count, int64_t value)
{
    int64_t *vector = xcalloc(count, sizeof *vector);
    for (uint32_t i = 0; i < count; i++) {
        vector[i] = value;
    }
    return vector;
}

void lag_open(struct lag *lag, const json_t *begin, const json_t *target)
{
    memset(lag, 0, sizeof *lag);
    lag->count = u32_from(json_array_size(begin));
    ASSERT_CMP(lag->count, >, 0);
    lag->begin = filled(lag->count, 0);
    lag->target = filled(lag->count, 0);
    bool valid =
        lag_offsets(begin, lag->begin, lag->count) && lag_offsets(target, lag->target, lag->count);
    ASSERT(valid);
    lag->next = filled(lag->count, 0);
    memcpy(lag->next, lag->begin, lag->count * sizeof *lag->next);
    lag->committed = filled(lag->count, 0);
    memcpy(lag->committed, lag->begin, lag->count * sizeof *lag->committed);
    lag->log_start = filled(lag->count, -1);
    lag->log_end = filled(lag->count, -1);
    lag->log_high = filled(lag->count, -1);
    lag->blocked_us = filled(lag->count, -1);
    lag->record_time = filled(lag->count, KAPPA_NO_TIME);
    lag->at_end = xcalloc(lag->count, sizeof *lag->at_end);
    lag->moved_us = filled(lag->count, -1);
}

void lag_close(struct lag *lag)
{
    free(lag->begin);
    free(lag->target);
    free(lag->next);
    free(lag->committed);
    free(lag->log_start);
    free(lag->log_end);
    free(lag->log_high);
    free(lag->blocked_us);
    free(lag->record_time);
    free(lag->at_end);
    free(lag->moved_us);
    memset(lag, 0, sizeof *lag);
}

void lag_least(struct lag *lag, const json_t *least)
{
    for (uint32_t i = 0; i < lag->count && json_array_size(least) == lag->count; i++) {
        lag->target[i] =
            i64_max(lag->target[i], (int64_t)json_integer_value(json_array_get(least, i)));
    }
}

bool lag_opened(struct lag *lag, const json_t *next)
{
    if (!lag_offsets(next, lag->next, lag->count)) {
        return false;
    }
    memcpy(lag->committed, lag->next, lag->count * sizeof *lag->next);
    memset(lag->at_end, 0, lag->count * sizeof *lag->at_end);
    for (uint32_t i = 0; i < lag->count; i++) {
        lag->log_start[i] = -1;
        lag->log_end[i] = -1;
        lag->log_high[i] = -1;
        lag->blocked_us[i] = -1;
        lag->moved_us[i] = -1;
    }
    memset(&lag->rate, 0, sizeof lag->rate);
    memset(&lag->arrival, 0, sizeof lag->arrival);
    memset(&lag->trend, 0, sizeof lag->trend);
    return true;
}

void lag_position(struct lag *lag, const int64_t *next)
{
    memcpy(lag->next, next, lag->count * sizeof *next);
}

static void take_flags(const json_t *array, bool *out, uint32_t count)
{
    for (uint32_t i = 0; i < count && json_array_size(array) == count; i++) {
        out[i] = json_is_true(json_array_get(array, i));
    }
}

/* Who is at the end, or does not run, does not show what it can. */
static void trend_add(struct lag *lag, int64_t now_us, bool running)
{
    if (!running || lag_records(lag) == 0) {
        memset(&lag->trend, 0, sizeof lag->trend);
        return;
    }
    catchup_trend_add(&lag->trend, now_us, catchup_sum(lag->next, lag->count),
                      catchup_rate_get(&lag->rate));
    int64_t passed_us = lag->trend.last_us - lag->trend.begin_us;
    if (passed_us >= LAG_PACE_US) {
        lag->pace_records = lag->trend.last_count - lag->trend.begin_count;
        lag->pace = (double)lag->pace_records * 1e6 / (double)passed_us;
    }
}

/* next, waited: as they were before the event, and how many records waited then. */
static void moved(struct lag *lag, const int64_t *next, const int64_t *waited, int64_t now_us)
{
    for (uint32_t i = 0; i < lag->count; i++) {
        if (lag->next[i] != next[i] || waited[i] <= 0 || lag->moved_us[i] < 0) {
            lag->moved_us[i] = now_us;
        }
    }
}

const char *lag_status(const struct lag *lag, uint32_t source, int64_t now_us)
{
    ASSERT_CMP(source, <, lag->count);
    if (lag->log_end[source] < 0 || lag->moved_us[source] < 0) {
        return "unknown";
    }
    if (lag->blocked_us[source] >= 0) {
        return "blocked";
    }
    bool waits = catchup_lag(lag->next[source], lag->log_end[source]) > 0;
    return waits && now_us - lag->moved_us[source] >= LAG_STALLED_US ? "stalled" : "ok";
}

/* Who is not blocked any more starts anew the next time. */
static void take_blocked(struct lag *lag, const json_t *array, int64_t now_us)
{
    for (uint32_t i = 0; i < lag->count; i++) {
        bool blocked = json_is_true(json_array_get(array, i));
        int64_t since = lag->blocked_us[i] >= 0 ? lag->blocked_us[i] : now_us;
        lag->blocked_us[i] = blocked ? since : -1;
    }
}

bool lag_progress(struct lag *lag, const json_t *event, int64_t now_us)
{
    int64_t *before = xcalloc(2 * (size_t)lag->count, sizeof *before);
    for (uint32_t i = 0; i < lag->count; i++) {
        before[i] = lag->next[i];
        before[lag->count + i] = catchup_lag(lag->next[i], lag->log_end[i]);
    }
    if (!lag_offsets(json_object_get(event, "next"), lag->next, lag->count)) {
        free(before);
        return false;
    }
    (void)lag_offsets(json_object_get(event, "committed"), lag->committed, lag->count);
    (void)lag_offsets(json_object_get(event, "start"), lag->log_start, lag->count);
    (void)lag_offsets(json_object_get(event, "end"), lag->log_end, lag->count);
    (void)lag_offsets(json_object_get(event, "high"), lag->log_high, lag->count);
    take_blocked(lag, json_object_get(event, "blocked"), now_us);
    take_flags(json_object_get(event, "at_end"), lag->at_end, lag->count);
    /* A time that is not known yet is null there. */
    const json_t *times = json_object_get(event, "record_time_ms");
    for (uint32_t i = 0; i < lag->count && json_array_size(times) == lag->count; i++) {
        const json_t *time = json_array_get(times, i);
        lag->record_time[i] =
            json_is_integer(time) ? (int64_t)json_integer_value(time) : KAPPA_NO_TIME;
    }
    moved(lag, before, before + lag->count, now_us);
    free(before);
    catchup_rate_add(&lag->rate, now_us, catchup_sum(lag->next, lag->count));
    if (lag_records(lag) != CATCHUP_UNKNOWN) {
        catchup_rate_add(&lag->arrival, now_us, catchup_sum(lag->log_end, lag->count));
    }
    trend_add(lag, now_us, strcmp(json_text(event, "mode", "running"), "running") == 0);
    return true;
}

bool lag_past_target(const struct lag *lag)
{
    return catchup_reached(lag->next, lag->target, lag->count);
}

int64_t lag_records(const struct lag *lag)
{
    return catchup_lag_sum(lag->next, lag->log_end, lag->count);
}

int64_t lag_left(const struct lag *lag)
{
    int64_t left = lag_records(lag);
    return left != CATCHUP_UNKNOWN ? left : catchup_lag_sum(lag->next, lag->target, lag->count);
}

bool lag_is_ready(const struct lag *lag)
{
    bool at_end = true;
    for (uint32_t i = 0; i < lag->count; i++) {
        at_end = at_end && lag->at_end[i];
    }
    int64_t lag_now = lag_records(lag);
    if (lag_now == CATCHUP_UNKNOWN) {
        return at_end;
    }
    double drains = catchup_rate_get(&lag->rate) * LAG_READY_SECONDS;
    return at_end || lag_now <= LAG_READY_RECORDS || (double)lag_now <= drains;
}

double lag_seconds(const struct lag *lag, int64_t wall_ms)
{
    double worst = 0;
    for (uint32_t i = 0; i < lag->count; i++) {
        int64_t behind = catchup_lag(lag->next[i], lag->log_end[i]);
        double seconds = catchup_lag_seconds(behind, lag->record_time[i], wall_ms);
        if (seconds < 0) {
            return CATCHUP_NEVER;
        }
        worst = seconds > worst ? seconds : worst;
    }
    return worst;
}

double lag_eta_seconds(const struct lag *lag)
{
    return catchup_eta_seconds(lag_records(lag), catchup_trend_get(&lag->trend),
                               catchup_rate_get(&lag->arrival));
}

struct catchup_eta lag_eta_range(const struct lag *lag)
{
    return catchup_eta_range(lag_records(lag), catchup_trend_get(&lag->trend),
                             catchup_trend_spread(&lag->trend), catchup_rate_get(&lag->arrival));
}

double lag_done(const struct lag *lag)
{
    int64_t *goal = xcalloc(lag->count, sizeof *goal);
    for (uint32_t i = 0; i < lag->count; i++) {
        goal[i] = i64_max(lag->target[i], lag->log_end[i]);
    }
    double done = catchup_progress(lag->begin, lag->next, goal, lag->count);
    free(goal);
    return done;
}
