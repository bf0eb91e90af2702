/* How fast replays with goals may be now: looks at what serves and at how far they are, divides, and
 * tells their workers. Own header: core_inside.h.
 *
 *     least of   its own number         limit "records_per_second"
 *                what it needs          "finish_by": to be done in time (finish.h), and no more, so that the
 *                                       rest is for others; once the time is over, no bound
 *                its part of the whole  of the limit over all replays together (limit_all.c): by
 *                                       priority, and what one does not use goes to the others
 *                its part of the pace   "freshness_ms": as fast as keeps the 99th of 100 commits of what
 *                                       serves, of any processor, that fresh (pace.h)
 *
 * So freshness comes before being done in time, and who must be done in time comes before who must not.
 *
 * What is measured counts for all replays with a goal of freshness together; the strictest goal rules, and
 * "priority" divides. Those that have caught up to where they could be swapped in only follow what
 * arrives, as what serves does, and are let go. */
#include "controller/core_inside.h"

#include "controller/finish.h"

#include <math.h>
#include <stdlib.h>

#define LOOK_US     INT64_C(900000)
#define TELL_CHANGE 0.02 /* smaller ones are not worth a line */
#define MUCH_MORE   1.3
#define USED        0.7  /* less than this part of what it may: it does not use it ... */
#define LEAVE       1.5  /* ... and is left so much more than it uses, */
#define LEAVE_LEAST 0.02 /* and this part of the whole */
#define SETTLED_US  INT64_C(2500000)
#define BYTES_MOST  1e15
#define ALMOST      (1 - 1e-6)

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

struct replay {
    struct core_version *version;
    double number; /* its own limit, or PACE_MOST */
    double needs;  /* to be done in time, or PACE_MOST */
    double weight;
    double mean;        /* bytes of a record; 0: not known */
    double uses;        /* records/s that it would use, or PACE_MOST: more than it has */
    double uses_broker; /* bytes/s that it would ask brokers for, or BYTES_MOST: more than it may */
    double gets;
    double gets_bytes;  /* of the limit over all; 0: that has no bytes */
    double gets_broker; /* the same of those of brokers */
    enum limit_held held;
    bool fresh; /* it has a goal of freshness */
};

struct replays {
    struct replay *list; /* owned */
    uint32_t count;
    uint32_t fresh; /* of them */
    double used;    /* records/s of these */
    int64_t goal_us;
    bool news; /* what one needs was looked at */
};

/* Few records may be left for the pace that it had, and yet many bytes: at the target it has caught up. */
static bool has_caught_up(const struct core_version *version)
{
    return lag_past_target(&version->lag) && lag_is_ready(&version->lag);
}

bool limit_is_regulated(const struct core *core, const struct core_version *version)
{
    return limit_is_governed(core, version) && version->state != VERSION_PAUSED &&
           child_is_open(&version->child) && !has_caught_up(version);
}

static void let_go(struct core *core, struct core_version *version)
{
    if (limit_is_governed(core, version) && child_is_open(&version->child) &&
        version->paced != PACE_MOST && has_caught_up(version)) {
        version->paced = PACE_MOST;
        version->paced_bytes = 0;
        version->paced_broker = 0;
        version->held = LIMIT_HELD_FREE;
        limit_tell(core, version);
    }
}

/* Looked at once a second: what arrives is a noisy figure. */
static bool look_at_needs(const struct core *core, struct core_version *version)
{
    int64_t by_ms = limit_finish_ms(version);
    int64_t now = core_now_us(core);
    if (by_ms == 0 || (version->needs_us != 0 && now - version->needs_us < LOOK_US)) {
        return false;
    }
    version->needs = finish_needs(lag_left(&version->lag), catchup_rate_get(&version->lag.arrival),
                                  (double)(by_ms - core_now_ms(core)) / 1000);
    version->needs_us = now;
    return true;
}

/* How much it asks brokers for, once a second too. */
static void look_at_broker(const struct core *core, struct core_version *version)
{
    int64_t now = core_now_us(core);
    int64_t bytes = json_int(version->child.stats, "bytes", 0) -
                    json_int(version->child.stats, "archived_bytes", 0);
    if (version->broker_us != 0 && now - version->broker_us < LOOK_US) {
        return;
    }
    bool anew = version->broker_us == 0 || bytes < version->broker_bytes;
    version->broker_rate =
        anew ? 0
             : (double)(bytes - version->broker_bytes) * 1e6 / (double)(now - version->broker_us);
    version->broker_bytes = bytes;
    version->broker_us = now;
}

static double would_ask(const struct core *core, const struct core_version *version)
{
    bool settled = core_now_us(core) - version->raised_us >= SETTLED_US;
    bool less = version->broker_rate < USED * version->paced_broker;
    return settled && less ? LEAVE * version->broker_rate : BYTES_MOST;
}

/* What it would use, if it had more: what holds back who uses less is not its limit. */
static double would_use(const struct core *core, const struct core_version *version)
{
    double rate = json_number(version->child.stats, "rate", 0);
    double mean = limit_mean_bytes(version);
    double may = version->paced;
    if (version->paced_bytes > 0 && mean > 0) {
        may = fmin(may, version->paced_bytes / mean);
    }
    bool settled = core_now_us(core) - version->raised_us >= SETTLED_US;
    return settled && may > 0 && rate < USED * may ? LEAVE * rate : PACE_MOST;
}

static void replays_add(const struct core *core, struct replays *replays,
                        struct core_version *version)
{
    const json_t *limit = json_object_get(version->object, "limit");
    double number = (double)json_int(limit, "records_per_second", 0);
    int64_t goal = limit_freshness_us(version);
    replays->news = look_at_needs(core, version) || replays->news;
    look_at_broker(core, version);
    replays->list = xrealloc(replays->list, (replays->count + 1) * sizeof *replays->list);
    replays->list[replays->count++] =
        (struct replay){.version = version,
                        .number = number > 0 ? number : PACE_MOST,
                        .weight = (double)json_int(limit, "priority", 1),
                        .mean = limit_mean_bytes(version),
                        .uses = would_use(core, version),
                        .uses_broker = would_ask(core, version),
                        .needs = limit_finish_ms(version) > 0 ? fmax(version->needs, 1) : PACE_MOST,
                        .fresh = goal > 0};
    if (goal > 0) {
        replays->fresh++;
        replays->used += json_number(version->child.stats, "rate", 0);
        replays->goal_us = replays->goal_us == 0 ? goal : i64_min(replays->goal_us, goal);
    }
}

static void look_at_all(struct core *core, struct worst *worst, struct replays *replays)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *processor = core->processors[i];
        for (uint32_t k = 0; k < processor->version_count; k++) {
            struct core_version *version = processor->versions[k];
            look_at(core, version, worst);
            let_go(core, version);
            if (limit_is_regulated(core, version)) {
                replays_add(core, replays, version);
            }
        }
    }
}

/* What each may have by itself. */
static void bound_each(struct replays *replays)
{
    for (uint32_t i = 0; i < replays->count; i++) {
        struct replay *replay = &replays->list[i];
        replay->gets = fmin(replay->number, replay->needs);
        replay->held = replay->gets >= PACE_MOST        ? LIMIT_HELD_FREE
                       : replay->number < replay->needs ? LIMIT_HELD_NUMBER
                                                        : LIMIT_HELD_FINISH;
    }
}

/* Divides what the goal of freshness allows among those that have one. */
static void divide_pace(const struct core *core, struct replays *replays)
{
    struct pace_share *shares = xcalloc(replays->fresh + 1, sizeof *shares);
    uint32_t count = 0;
    for (uint32_t i = 0; i < replays->count; i++) {
        const struct replay *replay = &replays->list[i];
        if (replay->fresh) {
            shares[count++] = (struct pace_share){
                .weight = replay->weight, .most = replay->gets, .first = replay->needs < PACE_MOST};
        }
    }
    pace_divide(core->pace.rate, shares, count);
    count = 0;
    for (uint32_t i = 0; i < replays->count; i++) {
        struct replay *replay = &replays->list[i];
        if (!replay->fresh) {
            continue;
        }
        double gets = shares[count++].gets;
        replay->held = gets < replay->gets * ALMOST ? LIMIT_HELD_FRESHNESS : replay->held;
        replay->gets = gets;
    }
    free(shares);
}

/* Its part of a whole, when it may have `most` of it and would use `uses`; false: that is less than it
 * could use. */
static bool take_share(const struct pace_share *share, double most, double uses, double *gets)
{
    *gets = share->gets;
    return share->gets >= fmin(most, uses) * ALMOST;
}

static struct pace_share share_of(const struct replay *replay, double whole, double most,
                                  double uses)
{
    return (struct pace_share){.weight = replay->weight,
                               .most = fmin(most, fmax(uses, LEAVE_LEAST * whole)),
                               .first = replay->needs < PACE_MOST};
}

static double bytes_of(const struct replay *replay, double records)
{
    return records < PACE_MOST && replay->mean > 0 ? records * replay->mean : BYTES_MOST;
}

/* Divides the bytes that brokers may be asked for by all replays. */
static void divide_broker(const struct core *core, struct replays *replays)
{
    double bytes = (double)json_int(core->limit_all, "broker_bytes_per_second", 0);
    if (bytes <= 0) {
        return;
    }
    struct pace_share *shares = xcalloc(replays->count + 1, sizeof *shares);
    for (uint32_t i = 0; i < replays->count; i++) {
        shares[i] = share_of(&replays->list[i], bytes, BYTES_MOST, replays->list[i].uses_broker);
    }
    pace_divide(bytes, shares, replays->count);
    for (uint32_t i = 0; i < replays->count; i++) {
        struct replay *replay = &replays->list[i];
        bool enough = take_share(&shares[i], BYTES_MOST, replay->uses_broker, &replay->gets_broker);
        replay->held = enough ? replay->held : LIMIT_HELD_ALL;
    }
    free(shares);
}

/* Divides the limit over all replays: records, then bytes. */
static void divide_all(const struct core *core, struct replays *replays)
{
    double records = (double)json_int(core->limit_all, "records_per_second", 0);
    double bytes = (double)json_int(core->limit_all, "bytes_per_second", 0);
    struct pace_share *shares = xcalloc(replays->count + 1, sizeof *shares);
    for (uint32_t i = 0; i < replays->count && records > 0; i++) {
        const struct replay *replay = &replays->list[i];
        shares[i] = share_of(replay, records, replay->gets, replay->uses);
    }
    if (records > 0) {
        pace_divide(records, shares, replays->count);
    }
    for (uint32_t i = 0; i < replays->count && records > 0; i++) {
        struct replay *replay = &replays->list[i];
        bool enough = take_share(&shares[i], replay->gets, replay->uses, &replay->gets);
        replay->held = enough ? replay->held : LIMIT_HELD_ALL;
    }
    for (uint32_t i = 0; i < replays->count && bytes > 0; i++) {
        const struct replay *replay = &replays->list[i];
        shares[i] =
            share_of(replay, bytes, bytes_of(replay, replay->gets), bytes_of(replay, replay->uses));
    }
    if (bytes > 0) {
        pace_divide(bytes, shares, replays->count);
    }
    for (uint32_t i = 0; i < replays->count && bytes > 0; i++) {
        struct replay *replay = &replays->list[i];
        bool enough = take_share(&shares[i], bytes_of(replay, replay->gets),
                                 bytes_of(replay, replay->uses), &replay->gets_bytes);
        replay->held = enough ? replay->held : LIMIT_HELD_ALL;
    }
    free(shares);
}

static bool differs(double now, double before)
{
    return fabs(now - before) > TELL_CHANGE * before;
}

static void divide(struct core *core, struct replays *replays)
{
    bound_each(replays);
    divide_pace(core, replays);
    divide_all(core, replays);
    divide_broker(core, replays);
    core->all_us = core_now_us(core);
    for (uint32_t i = 0; i < replays->count; i++) {
        struct core_version *version = replays->list[i].version;
        double gets = fmax(replays->list[i].gets, 1);
        version->held = replays->list[i].held;
        double bytes = replays->list[i].gets_bytes;
        double broker = replays->list[i].gets_broker;
        if (gets > MUCH_MORE * version->paced || bytes > MUCH_MORE * version->paced_bytes ||
            broker > MUCH_MORE * version->paced_broker) {
            version->raised_us = core_now_us(core);
        }
        if (differs(gets, version->paced) || differs(bytes, version->paced_bytes) ||
            differs(broker, version->paced_broker)) {
            version->paced = gets;
            version->paced_bytes = bytes;
            version->paced_broker = broker;
            limit_tell(core, version);
        }
    }
}

/* Compares the freshness of what serves with the goal. */
static void look_at_pace(struct core *core, const struct worst *worst,
                         const struct replays *replays)
{
    double p99 = worst->version != NULL ? (double)worst->version->fresh.p99_us : -1;
    pace_look(&core->pace, p99, (double)replays->goal_us, replays->used);
    core->pace_us = core_now_us(core);
    core->pace_worst_us = (int64_t)p99;
    core->pace_goal_us = replays->goal_us;
    free(core->pace_of);
    core->pace_of = worst->version == NULL ? NULL
                                           : xasprintf("%s v%u", worst->version->processor->name,
                                                       worst->version->number);
}

void limit_tick(struct core *core)
{
    struct worst worst = {.version = NULL};
    struct replays replays = {.count = 0};
    int64_t now = core_now_us(core);
    look_at_all(core, &worst, &replays);
    bool due = now - core->pace_us >= LOOK_US && (worst.news || !worst.any);
    if (replays.fresh == 0) {
        pace_open(&core->pace);
        core->pace_us = now;
        due = false;
    } else if (due) {
        look_at_pace(core, &worst, &replays);
    }
    bool all_due = core->limit_all != NULL && now - core->all_us >= LOOK_US;
    if (due || replays.news || all_due || core->regulated != replays.count) {
        divide(core, &replays);
    }
    core->regulated = replays.count;
    free(replays.list);
}
