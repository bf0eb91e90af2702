/* What is said of limits with goals: how fast a replay may be now, why it is not faster, and whether it will
 * be done in time. Own header: core_inside.h. */
#include "controller/core_inside.h"

#include "base/timefmt.h"
#include "controller/finish.h"

#include <math.h>
#include <stdlib.h>

#define SETTLED_US (3 * (int64_t)CATCHUP_SMOOTH_US)
#define LATE_US    INT64_C(5000000) /* for so long it must be otherwise than was told */
#define USED       0.7 /* less than this part of what it may: something else holds it back */

static const char *const held_names[] = {
    [LIMIT_HELD_FREE] = "nothing",  [LIMIT_HELD_NUMBER] = "limit",
    [LIMIT_HELD_FINISH] = "finish", [LIMIT_HELD_FRESHNESS] = "freshness",
    [LIMIT_HELD_ALL] = "all",
};

/* Its part of what all may ask brokers for is what it uses. */
static bool is_held_by_broker(const struct core_version *version)
{
    return version->paced_broker > 0 && version->broker_rate >= USED * version->paced_broker;
}

/* It may be faster than it is, and has had the time to. */
static bool is_slow(const struct core *core, const struct core_version *version)
{
    double rate = catchup_rate_get(&version->lag.rate);
    double mean = limit_mean_bytes(version);
    bool settled = core_now_us(core) - version->raised_us >= SETTLED_US;
    bool part = version->paced_bytes > 0 && mean > 0;
    double may = part ? fmin(version->paced, version->paced_bytes / mean) : version->paced;
    return settled && rate > 0 && rate < USED * may && !is_held_by_broker(version);
}

/* ---- Of a goal of freshness */

static void freshness_text(struct buf *out, const struct core *core)
{
    static const char *const words[] = {
        [PACE_BEGINS] = "it begins slowly",
        [PACE_GROWS] = "faster",
        [PACE_QUIET] = "faster, for nothing arrives at what serves",
        [PACE_UNUSED] = "not faster, for something else holds the replay back",
        [PACE_IS_NEAR] = "not faster, for that is near the goal",
        [PACE_FALLS] = "slower",
    };
    if (core->pace_of != NULL) {
        buf_printf(out, "p99 of the freshness of %s is %.3g ms, the goal %.3g ms: ", core->pace_of,
                   (double)core->pace_worst_us / 1000, (double)core->pace_goal_us / 1000);
    }
    buf_append_text(out, words[core->pace.why]);
}

/* ---- Of being done in time */

struct finish {
    int64_t by_ms;
    double left_s;
    double late_s;  /* 0: in time; FINISH_NEVER: not at all */
    bool held_back; /* less than it needs */
};

static void finish_look(const struct core *core, const struct core_version *version,
                        struct finish *finish)
{
    const struct lag *lag = &version->lag;
    double rate = catchup_trend_get(&lag->trend);
    finish->by_ms = limit_finish_ms(version);
    finish->left_s = (double)(finish->by_ms - core_now_ms(core)) / 1000;
    finish->held_back =
        version->paced < version->needs * (1 - FINISH_MARGIN / 2) || is_slow(core, version);
    finish->late_s =
        finish->held_back || finish->left_s < 0
            ? finish_late_s(lag_left(lag), rate, catchup_rate_get(&lag->arrival), finish->left_s)
            : 0;
}

static void needs_text(struct buf *out, const struct core *core, const struct core_version *version,
                       const struct finish *finish)
{
    char by[TIME_TEXT_LEN];
    time_format(finish->by_ms * 1000, by);
    if (finish->left_s <= 0) {
        buf_printf(out, "it should have been done by %s", by);
    } else if (version->needs >= PACE_MOST) {
        buf_printf(out, "hardly any time is left until %s", by);
    } else if (version->held == LIMIT_HELD_FINISH && !is_slow(core, version)) {
        buf_printf(out, "fast enough to be done by %s, and no faster", by);
    } else {
        buf_printf(out, "it needs %.0f records/s to be done by %s", ceil(version->needs), by);
    }
}

static void held_text(struct buf *out, const struct core *core, const struct core_version *version)
{
    switch ((enum limit_held)version->held) {
    case LIMIT_HELD_NUMBER:
        buf_append_text(out, ", its own limit comes first");
        break;
    case LIMIT_HELD_FRESHNESS:
        buf_append_text(out, ", the freshness of what serves comes first");
        break;
    case LIMIT_HELD_ALL:
        buf_append_text(out, ", the limit over all replays comes first");
        break;
    case LIMIT_HELD_FREE:
    case LIMIT_HELD_FINISH:
        break;
    }
    if (is_slow(core, version)) {
        buf_append_text(out, ", and it is not as fast as it may be: the log, the machine or a "
                             "limit in bytes hold it back");
    }
}

static bool is_late(const struct finish *finish)
{
    return finish->late_s < 0 || finish->late_s >= 1;
}

static const char *held_by(const struct core *core, const struct core_version *version)
{
    return is_slow(core, version) ? "other" : held_names[version->held];
}

static void late_text(struct buf *out, const struct finish *finish)
{
    char late[TIME_TEXT_LEN];
    if (finish->late_s < 0) {
        buf_append_text(out, "; like this it never is");
    } else if (finish->late_s >= 1) {
        duration_format((int64_t)(fmin(finish->late_s, 1e11) * 1e6), late);
        buf_printf(out, "; it will be late by %s", late);
    }
}

static void finish_text(struct buf *out, const struct core *core,
                        const struct core_version *version, const struct finish *finish)
{
    needs_text(out, core, version, finish);
    if (finish->held_back || finish->left_s <= 0) {
        held_text(out, core, version);
        late_text(out, finish);
    }
}

static json_t *finish_json(const struct core_version *version, const struct finish *finish)
{
    if (finish->by_ms == 0) {
        return json_null();
    }
    char by[TIME_TEXT_LEN];
    time_format(finish->by_ms * 1000, by);
    json_t *object = json_pack(
        "{s:s, s:o, s:o, s:b}", "by", by, "needs",
        version->needs < PACE_MOST ? json_real(version->needs) : json_null(), "late_seconds",
        finish->late_s >= 0 ? json_real(finish->late_s) : json_null(), "in_time", !is_late(finish));
    ASSERT(object != NULL);
    return object;
}

/* ---- For status.c */

json_t *limit_pace(const struct core *core, const struct core_version *version)
{
    if (!limit_is_regulated(core, version) || version->paced <= 0) {
        return json_null();
    }
    struct finish finish = {.by_ms = 0};
    struct buf why = {0};
    json_t *limit = limit_now(core, version);
    json_t *rate = json_object_get(limit, "records_per_second");
    if (limit_freshness_us(version) > 0) {
        freshness_text(&why, core);
    }
    if (limit_finish_ms(version) > 0) {
        finish_look(core, version, &finish);
        buf_append_text(&why, why.len > 0 ? "; " : "");
        finish_text(&why, core, version, &finish);
    }
    if (version->held == LIMIT_HELD_ALL && limit_finish_ms(version) == 0) {
        buf_append_text(&why, why.len > 0 ? "; " : "");
        buf_append_text(&why, "its part of the limit over all replays");
    } else if (why.len == 0) {
        buf_append_text(&why, "the limit over all replays leaves it more than it uses");
    }
    const json_t *bytes = json_object_get(limit, "bytes_per_second");
    const json_t *broker = json_object_get(limit, "broker_bytes_per_second");
    json_t *pace =
        json_pack("{s:o, s:O?, s:O?, s:s, s:s, s:o}", "records_per_second",
                  rate != NULL ? json_incref(rate) : json_null(), "bytes_per_second", bytes,
                  "broker_bytes_per_second", broker, "why", buf_text(&why), "held_by",
                  held_by(core, version), "finish", finish_json(version, &finish));
    ASSERT(pace != NULL);
    json_decref(limit);
    buf_free(&why);
    return pace;
}

/* ---- For the journal */

static void note_late(struct core *core, const struct core_version *version,
                      const struct finish *finish)
{
    char by[TIME_TEXT_LEN];
    struct buf why = {0};
    time_format(finish->by_ms * 1000, by);
    finish_text(&why, core, version, finish);
    json_t *more = json_pack("{s:s, s:o, s:s}", "by", by, "late_seconds",
                             finish->late_s >= 0 ? json_real(finish->late_s) : json_null(),
                             "held_by", held_by(core, version));
    journal_note(core, "late", version->processor->name, version->number, more, "%s v%u: %s",
                 version->processor->name, version->number, buf_text(&why));
    buf_free(&why);
}

static void note_in_time(struct core *core, const struct core_version *version, int64_t by_ms)
{
    char by[TIME_TEXT_LEN];
    time_format(by_ms * 1000, by);
    journal_note(core, "in_time", version->processor->name, version->number,
                 json_pack("{s:s}", "by", by), "%s v%u: it will be done by %s now, or is",
                 version->processor->name, version->number, by);
}

void limit_watch(struct core *core, struct core_version *version)
{
    struct finish finish = {.by_ms = limit_finish_ms(version)};
    bool regulated = finish.by_ms > 0 && limit_is_regulated(core, version);
    bool done = finish.by_ms > core_now_ms(core) && lag_past_target(&version->lag) &&
                lag_is_ready(&version->lag);
    bool late = version->late;
    if (finish.by_ms == 0) {
        version->late = false; /* it was told what to do otherwise */
        late = false;
    } else if (regulated && version->paced > 0 && version->needs_us != 0) {
        finish_look(core, version, &finish);
        late = is_late(&finish);
    } else if (done) {
        late = false;
    }
    if (late == version->late) {
        version->late_us = 0;
        return;
    }
    version->late_us = version->late_us == 0 ? core_now_us(core) : version->late_us;
    if (core_now_us(core) - version->late_us >= LATE_US || done) {
        version->late = late;
        version->late_us = 0;
        if (late) {
            note_late(core, version, &finish);
        } else {
            note_in_time(core, version, finish.by_ms);
        }
    }
}

json_t *limit_freshness(const struct core_version *version)
{
    const struct pace_window *fresh = &version->fresh;
    if (version->state != VERSION_SERVING || fresh->ended_us == 0 || fresh->p99_us < 0) {
        return json_null();
    }
    json_t *object = json_pack("{s:f, s:f}", "p50_ms", (double)fresh->p50_us / 1000, "p99_ms",
                               (double)fresh->p99_us / 1000);
    ASSERT(object != NULL);
    return object;
}
