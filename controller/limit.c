/* How fast a version may be replayed: asked for by a deploy, a replay or `limit`, kept in the version's
 * object ("limit"), told to its worker, which keeps to it (replayer/governor.h). Own header:
 * core_inside.h.
 *
 * It is for versions on their way to their first swap. One that has served has readers, or may have
 * them again in an instant: its worker forgets the limit, and nobody can give it one.
 *
 * "freshness_ms" and "finish_by" are goals instead of a number: regulate.c finds what they allow now. */
#include "controller/core_inside.h"

#include "base/timefmt.h"
#include "controller/finish.h"
#include "replayer/governor.h"

#include <math.h>
#include <string.h>

#define FRESHNESS_MS_MAX 3600000
#define PRIORITY_MAX     100
#define ALL_FIRST        0.05 /* of the limit over all, until it is divided */

/* ---- What was asked for */

static bool is_known(const char *name)
{
    static const char *const known[] = {
        "records_per_second", "bytes_per_second", "broker_bytes_per_second",
        "freshness_ms",       "finish_by",        "priority"};
    for (size_t i = 0; i < array_len(known); i++) {
        if (strcmp(known[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static int check_number(const json_t *limit, const char *name, int64_t most, struct err *err)
{
    const json_t *value = json_object_get(limit, name);
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > most) {
        return err_set(err, KE_INVALID, "\"%s\" must be a whole number from 1 to %lld", name,
                       (long long)most);
    }
    return 0;
}

/* ms since 1970; 0: not asked for. */
static int64_t finish_of(const json_t *limit)
{
    const char *text = json_text(limit, "finish_by", NULL);
    int64_t us = 0;
    return text != NULL && time_parse(text, strlen(text), &us) ? us / 1000 : 0;
}

static int check_finish(const json_t *limit, int64_t now_ms, struct err *err)
{
    const json_t *value = json_object_get(limit, "finish_by");
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    if (finish_of(limit) == 0) {
        int rc = err_set(err, KE_INVALID, "\"finish_by\" is not a time");
        err_hint(err, "write it as 2026-01-31T06:00:00Z");
        return rc;
    }
    if (finish_of(limit) <= now_ms) {
        char now[TIME_TEXT_LEN];
        time_format(now_ms * 1000, now);
        return err_set(err, KE_INVALID, "\"finish_by\" has passed: %s, and it is %s",
                       json_string_value(value), now);
    }
    return 0;
}

int limit_check(const json_t *limit, int64_t now_ms, struct err *err)
{
    struct governor_limit parsed;
    int rc = governor_limit_parse(limit, &parsed, err);
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)limit, name, value) {
        if (rc == 0 && !is_known(name)) {
            rc = err_set(err, KE_INVALID, "a limit has no member \"%s\"", name);
            err_hint(err, "it has \"records_per_second\", \"bytes_per_second\", "
                          "\"broker_bytes_per_second\", \"freshness_ms\", \"finish_by\" and "
                          "\"priority\"");
        }
    }
    if (rc == 0) {
        rc = check_number(limit, "freshness_ms", FRESHNESS_MS_MAX, err);
    }
    if (rc == 0) {
        rc = check_finish(limit, now_ms, err);
    }
    if (rc == 0) {
        rc = check_number(limit, "priority", PRIORITY_MAX, err);
    }
    bool goal = json_int(limit, "freshness_ms", 0) > 0;
    bool any = goal || finish_of(limit) > 0 || governor_limited(&parsed) ||
               json_int(limit, "priority", 0) > 0;
    if (rc == 0 && json_is_object(limit) && !any) {
        rc = err_set(err, KE_INVALID, "a limit without a number");
        err_hint(err, "null is no limit");
    }
    return rc;
}

static bool is_replayed(const struct core_version *version)
{
    return version_is_candidate(version_role(version));
}

json_t *limit_of(const struct core_version *version)
{
    json_t *limit = json_object_get(version->object, "limit");
    return is_replayed(version) && json_is_object(limit) ? json_incref(limit) : json_null();
}

int64_t limit_freshness_us(const struct core_version *version)
{
    const json_t *limit = json_object_get(version->object, "limit");
    return is_replayed(version) ? 1000 * json_int(limit, "freshness_ms", 0) : 0;
}

int64_t limit_finish_ms(const struct core_version *version)
{
    return is_replayed(version) ? finish_of(json_object_get(version->object, "limit")) : 0;
}

bool limit_has_goal(const struct core_version *version)
{
    return limit_freshness_us(version) > 0 || limit_finish_ms(version) > 0;
}

bool limit_is_governed(const struct core *core, const struct core_version *version)
{
    return limit_has_goal(version) || (core->limit_all != NULL && is_replayed(version));
}

double limit_mean_bytes(const struct core_version *version)
{
    double records = (double)json_int(version->child.stats, "records", 0);
    return records > 0 ? (double)json_int(version->child.stats, "bytes", 0) / records : 0;
}

/* ---- What the worker is told */

/* Before the first look at what it may. */
static double first_pace(const struct core *core, const struct core_version *version)
{
    int64_t by_ms = limit_finish_ms(version);
    double left_s = (double)(by_ms - core_now_ms(core)) / 1000;
    double needs = by_ms > 0 ? finish_needs(lag_left(&version->lag), 0, left_s) : PACE_MOST;
    double most = limit_freshness_us(version) > 0 ? fmin(needs, PACE_START) : needs;
    double all = (double)json_int(core->limit_all, "records_per_second", 0);
    return all > 0 ? fmin(most, ALL_FIRST * all) : most;
}

/* Its part of the limit over all in bytes, when that is less than its own. */
static void set_bytes(const struct core *core, const struct core_version *version, json_t *now,
                      const char *member, double paced)
{
    double all = (double)json_int(core->limit_all, member, 0);
    bool caught_up = version->paced >= PACE_MOST && paced <= 0;
    double bytes = paced > 0 ? paced : ALL_FIRST * all;
    double own = (double)json_int(now, member, 0);
    if (all > 0 && !caught_up && (own <= 0 || bytes < own)) {
        object_set(now, member, json_integer((json_int_t)fmax(bytes, 1)));
    }
}

json_t *limit_now(const struct core *core, const struct core_version *version)
{
    json_t *limit = limit_of(version);
    if (!limit_is_governed(core, version)) {
        return limit;
    }
    json_t *now = json_is_object(limit) ? json_copy(limit) : json_object();
    json_decref(limit);
    set_bytes(core, version, now, "bytes_per_second", version->paced_bytes);
    set_bytes(core, version, now, "broker_bytes_per_second", version->paced_broker);
    double paced = version->paced > 0 ? version->paced : first_pace(core, version);
    double most = (double)json_int(now, "records_per_second", 0);
    double records = most > 0 ? fmin(most, paced) : paced;
    if (records < PACE_MOST) {
        object_set(now, "records_per_second", json_integer((json_int_t)fmax(records, 1)));
    }
    return now;
}

void limit_tell(struct core *core, struct core_version *version)
{
    json_t *message = json_pack("{s:s}", "do", "limit");
    json_t *limit = limit_now(core, version);
    ASSERT(message != NULL);
    if (json_is_object(limit)) {
        int merged = json_object_update(message, limit);
        ASSERT(merged == 0);
    }
    json_decref(limit);
    child_send(core, &version->child, message);
}

json_t *limit_kept(const json_t *limit)
{
    if (!json_is_object(limit)) {
        return json_null();
    }
    json_t *copy = json_deep_copy(limit);
    if (finish_of(copy) > 0) {
        char time[TIME_TEXT_LEN];
        time_format(finish_of(copy) * 1000, time);
        object_set(copy, "finish_by", json_string(time));
    }
    return copy;
}

int limit_set(struct core *core, struct core_version *version, const json_t *limit, const char *who,
              struct err *err)
{
    int rc = limit_check(limit, core_now_ms(core), err);
    if (rc == 0 && !is_replayed(version)) {
        rc = err_set(err, KE_REFUSED, "v%u of %s is %s: a limit is for a version that is replayed",
                     version->number, version->processor->name,
                     state_name(&version_states, version->state));
        err_hint(err, "what serves, and what stands by to serve again, reads as fast as it can");
    }
    if (rc == 0) {
        rc = version_set(core, version, json_pack("{s:o}", "limit", limit_kept(limit)), err);
    }
    if (rc != 0) {
        return rc;
    }
    version->needs_us = 0;
    core->regulated = UINT32_MAX; /* all is divided anew */
    limit_tell(core, version);
    journal_note(
        core, "limit", version->processor->name, version->number,
        json_pack("{s:O, s:s}", "limit", json_object_get(version->object, "limit"), "who", who),
        "%s v%u %s, by %s", version->processor->name, version->number,
        json_is_object(limit) ? "has a limit" : "has no limit any more", who);
    return 0;
}
