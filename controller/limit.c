/* How fast a version may be replayed: asked for by a deploy, a replay or `limit`, kept in the version's
 * object ("limit"), told to its worker, which keeps to it (replayer/governor.h). Own header:
 * core_inside.h.
 *
 * It is for versions on their way to their first swap. One that has served has readers, or may have
 * them again in an instant: its worker forgets the limit, and nobody can give it one.
 *
 * "freshness_ms" is a goal instead of a number: as fast as keeps the 99th of 100 commits of what serves,
 * of any processor, that fresh (pace.h). What is measured counts for all replays with a goal together;
 * the strictest goal rules, and "priority" divides. Those that have caught up to where they could be
 * swapped in only follow what arrives, as what serves does, and are let go. */
#include "controller/core_inside.h"

#include "controller/pace.h"
#include "replayer/governor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FRESHNESS_MS_MAX 3600000
#define PRIORITY_MAX     100
#define LOOK_US          INT64_C(900000)
#define TELL_CHANGE      0.02 /* smaller ones are not worth a line */

/* ---- What was asked for */

static bool is_known(const char *name)
{
    static const char *const known[] = {"records_per_second", "bytes_per_second", "freshness_ms",
                                        "priority"};
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

int limit_check(const json_t *limit, struct err *err)
{
    struct governor_limit parsed;
    int rc = governor_limit_parse(limit, &parsed, err);
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)limit, name, value) {
        if (rc == 0 && !is_known(name)) {
            rc = err_set(err, KE_INVALID, "a limit has no member \"%s\"", name);
            err_hint(err, "it has \"records_per_second\", \"bytes_per_second\", \"freshness_ms\" "
                          "and \"priority\"");
        }
    }
    if (rc == 0) {
        rc = check_number(limit, "freshness_ms", FRESHNESS_MS_MAX, err);
    }
    if (rc == 0) {
        rc = check_number(limit, "priority", PRIORITY_MAX, err);
    }
    bool goal = json_int(limit, "freshness_ms", 0) > 0;
    if (rc == 0 && json_is_object(limit) && !governor_limited(&parsed) && !goal) {
        rc = err_set(err, KE_INVALID, "a limit without a number");
        err_hint(err, "null is no limit");
    }
    if (rc == 0 && json_int(limit, "priority", 0) > 0 && !goal) {
        rc = err_set(err, KE_INVALID, "\"priority\" without \"freshness_ms\"");
        err_hint(err, "it divides among replays what a goal of freshness allows them together");
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

static int64_t goal_us(const struct core_version *version)
{
    const json_t *limit = json_object_get(version->object, "limit");
    return is_replayed(version) ? 1000 * json_int(limit, "freshness_ms", 0) : 0;
}

/* ---- What the worker is told */

json_t *limit_now(const struct core_version *version)
{
    json_t *limit = limit_of(version);
    if (goal_us(version) == 0) {
        return limit;
    }
    json_t *now = json_copy(limit);
    json_decref(limit);
    double paced = version->paced > 0 ? version->paced : PACE_START;
    double most = (double)json_int(now, "records_per_second", 0);
    double records = most > 0 ? fmin(most, paced) : paced;
    if (records < PACE_MOST) {
        object_set(now, "records_per_second", json_integer((json_int_t)fmax(records, 1)));
    }
    return now;
}

static void tell(struct core *core, struct core_version *version)
{
    json_t *message = json_pack("{s:s}", "do", "limit");
    json_t *limit = limit_now(version);
    ASSERT(message != NULL);
    if (json_is_object(limit)) {
        int merged = json_object_update(message, limit);
        ASSERT(merged == 0);
    }
    json_decref(limit);
    child_send(core, &version->child, message);
}

int limit_set(struct core *core, struct core_version *version, const json_t *limit, const char *who,
              struct err *err)
{
    int rc = limit_check(limit, err);
    if (rc == 0 && !is_replayed(version)) {
        rc = err_set(err, KE_REFUSED, "v%u of %s is %s: a limit is for a version that is replayed",
                     version->number, version->processor->name,
                     state_name(&version_states, version->state));
        err_hint(err, "what serves, and what stands by to serve again, reads as fast as it can");
    }
    if (rc == 0) {
        json_t *copy = json_is_object(limit) ? json_deep_copy(limit) : json_null();
        rc = version_set(core, version, json_pack("{s:o}", "limit", copy), err);
    }
    if (rc != 0) {
        return rc;
    }
    tell(core, version);
    journal_note(
        core, "limit", version->processor->name, version->number,
        json_pack("{s:O, s:s}", "limit", json_object_get(version->object, "limit"), "who", who),
        "%s v%u %s, by %s", version->processor->name, version->number,
        json_is_object(limit) ? "has a limit" : "has no limit any more", who);
    return 0;
}

/* ---- Looking at what serves */

/* The worst of what was measured since the last look. */
struct worst {
    const struct core_version *version; /* NULL: nothing was */
    bool any;                           /* something serves */
    bool news;                          /* and a window of it has ended */
};

static void look_at(struct core *core, struct core_version *version, struct worst *worst)
{
    struct histogram counts;
    if (version->state != VERSION_SERVING || !child_is_open(&version->child)) {
        version->fresh.since_us = 0;
        return;
    }
    worst->any = true;
    if (!histogram_from_json(json_object_get(version->child.stats, "freshness"), &counts)) {
        return;
    }
    pace_window_look(&version->fresh, &counts, core_now_us(core));
    if (version->fresh.ended_us <= core->pace_us) {
        return;
    }
    worst->news = true;
    if (version->fresh.p99_us >= 0 &&
        (worst->version == NULL || version->fresh.p99_us > worst->version->fresh.p99_us)) {
        worst->version = version;
    }
}

/* ---- The replays with a goal */

struct paced {
    struct core_version **versions; /* owned */
    struct pace_share *shares;      /* owned */
    uint32_t count;
    double used;
    int64_t goal_us;
};

static bool is_paced(const struct core_version *version)
{
    return goal_us(version) > 0 && version->state != VERSION_PAUSED &&
           child_is_open(&version->child) && !lag_is_ready(&version->lag);
}

static void let_go(struct core *core, struct core_version *version)
{
    if (goal_us(version) > 0 && child_is_open(&version->child) && version->paced != PACE_MOST &&
        lag_is_ready(&version->lag)) {
        version->paced = PACE_MOST;
        tell(core, version);
    }
}

static void paced_add(struct paced *paced, struct core_version *version)
{
    const json_t *limit = json_object_get(version->object, "limit");
    double most = (double)json_int(limit, "records_per_second", 0);
    int64_t goal = goal_us(version);
    paced->versions = xrealloc(paced->versions, (paced->count + 1) * sizeof(struct core_version *));
    paced->shares = xrealloc(paced->shares, (paced->count + 1) * sizeof *paced->shares);
    paced->versions[paced->count] = version;
    paced->shares[paced->count++] = (struct pace_share){
        .weight = (double)json_int(limit, "priority", 1), .most = most > 0 ? most : PACE_MOST};
    paced->used += json_number(version->child.stats, "rate", 0);
    paced->goal_us = paced->goal_us == 0 ? goal : i64_min(paced->goal_us, goal);
}

static void look_at_all(struct core *core, struct worst *worst, struct paced *paced)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *processor = core->processors[i];
        for (uint32_t k = 0; k < processor->version_count; k++) {
            struct core_version *version = processor->versions[k];
            look_at(core, version, worst);
            let_go(core, version);
            if (is_paced(version)) {
                paced_add(paced, version);
            }
        }
    }
}

static void divide(struct core *core, const struct paced *paced)
{
    pace_divide(core->pace.rate, paced->shares, paced->count);
    for (uint32_t i = 0; i < paced->count; i++) {
        struct core_version *version = paced->versions[i];
        double gets = fmax(paced->shares[i].gets, 1);
        if (fabs(gets - version->paced) > TELL_CHANGE * version->paced) {
            version->paced = gets;
            tell(core, version);
        }
    }
}

void limit_tick(struct core *core)
{
    struct worst worst = {.version = NULL};
    struct paced paced = {.count = 0};
    int64_t now = core_now_us(core);
    look_at_all(core, &worst, &paced);
    bool due = now - core->pace_us >= LOOK_US && (worst.news || !worst.any);
    if (paced.count == 0) {
        pace_open(&core->pace);
        core->pace_us = now;
    } else if (due || core->pace_count != paced.count) {
        double p99 = worst.version != NULL ? (double)worst.version->fresh.p99_us : -1;
        if (due) {
            pace_look(&core->pace, p99, (double)paced.goal_us, paced.used);
            core->pace_us = now;
            core->pace_worst_us = (int64_t)p99;
            core->pace_goal_us = paced.goal_us;
            free(core->pace_of);
            core->pace_of =
                worst.version == NULL
                    ? NULL
                    : xasprintf("%s v%u", worst.version->processor->name, worst.version->number);
        }
        divide(core, &paced);
    }
    core->pace_count = paced.count;
    free(paced.versions);
    free(paced.shares);
}

/* ---- What is said of it */

static char *why_text(const struct core *core)
{
    static const char *const words[] = {
        [PACE_BEGINS] = "it begins slowly",
        [PACE_GROWS] = "faster",
        [PACE_QUIET] = "faster, for nothing arrives at what serves",
        [PACE_UNUSED] = "not faster, for something else holds the replay back",
        [PACE_IS_NEAR] = "not faster, for that is near the goal",
        [PACE_FALLS] = "slower",
    };
    if (core->pace_of == NULL) {
        return xstrdup(words[core->pace.why]);
    }
    return xasprintf("p99 of the freshness of %s is %.3g ms, the goal %.3g ms: %s", core->pace_of,
                     (double)core->pace_worst_us / 1000, (double)core->pace_goal_us / 1000,
                     words[core->pace.why]);
}

json_t *limit_pace(const struct core *core, const struct core_version *version)
{
    if (!is_paced(version)) {
        return json_null();
    }
    json_t *limit = limit_now(version);
    char *why = why_text(core);
    json_t *pace = json_pack("{s:O, s:s}", "records_per_second",
                             json_object_get(limit, "records_per_second"), "why", why);
    ASSERT(pace != NULL);
    json_decref(limit);
    free(why);
    return pace;
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
