/* The gate in front of a swap: a candidate's policy is checked before it may serve. Own header:
 * core_inside.h; what the checks say is judge.c.
 *
 *     at each look   gap, dead records, time caught up, lag      from what is known
 *     then           verify                                      a job and a worker, once
 *     then           comparison with the serving version         jobs and a short hold
 *
 * Only a READY version passes here: a rollback, or a swap to a version that has served, is never in the
 * way of a policy. An automatic swap that is refused stays so (the refusal is in the catalog) until the
 * policy changes, another version serves, or a person asks: then all is looked at anew. What only has
 * to be waited for, and a check that could not be made, is no refusal. */
#include "controller/core_inside.h"

#include "base/trace.h"
#include "controller/judge.h"

#include <string.h>

struct look {
    struct core *core;
    struct core_version *version;
    struct core_version *serving; /* or NULL */
    struct judge judge;
    bool accept_gap;
};

/* checks is taken over by the caller. */
static void look_begin(struct look *look, struct core *core, struct core_version *version,
                       const json_t *body, json_t *checks)
{
    *look = (struct look){.core = core,
                          .version = version,
                          .serving = core_serving(version->processor),
                          .judge = {.processor = version->processor->name,
                                    .version = version->object,
                                    .checks = checks}};
    settings_read(version->object, &look->judge.policy);
    look->judge.serving = look->serving != NULL ? look->serving->object : NULL;
    look->accept_gap = look->judge.policy.accept_gap || json_bool(body, "accept_gap", false);
}

/* ---- Refusals ---- */

static uint32_t serving_number(const struct core_version *version)
{
    return (uint32_t)json_int(version->processor->object, "serving", 0);
}

/* One that still counts, or NULL. */
static const json_t *refusal_of(const struct core_version *version)
{
    const json_t *refusal = json_object_get(version->object, "refusal");
    bool counts = json_is_object(refusal) &&
                  (uint32_t)json_int(refusal, "against", 0) == serving_number(version);
    return counts ? refusal : NULL;
}

static void refusal_keep(struct core *core, struct core_version *version, const struct err *err)
{
    const json_t *known = refusal_of(version);
    if (known != NULL && strcmp(json_text(known, "message", ""), err->text) == 0) {
        return;
    }
    json_t *refusal = error_to_json(err);
    object_set(refusal, "against", json_integer(serving_number(version)));
    json_t *extra = json_pack("{s:o}", "refusal", refusal);
    ASSERT(extra != NULL);
    if (version_set_self(core, version, extra)) {
        trace(TRACE_WARN, "%s v%u is not swapped in: %s", version->processor->name, version->number,
              err->text);
        journal_error(core, version, "refused", err);
    }
}

/* ---- Checks ---- */

static int check_gap(const struct look *look, struct err *err)
{
    if (look->serving == NULL || look->accept_gap) {
        return 0;
    }
    int rc = judge_gap(look->version->object, look->serving->object, err);
    if (rc != 0) {
        err_hint(err, "kappa swap %s %u --accept-gap, or SET swap.accept_gap = on, takes that",
                 look->version->processor->name, look->version->number);
    }
    return rc;
}

static bool all_are_dead(const struct core_version *version)
{
    int64_t records = json_int(version->child.stats, "records", 0);
    return records > 0 && json_int(version->child.stats, "dead", 0) == records;
}

/* Refused for good. */
static int check_known(const struct look *look, struct err *err)
{
    const json_t *stats = look->version->child.stats;
    if (look->serving != NULL && look->judge.policy.max_dead.unit == POLICY_NO_LIMIT &&
        all_are_dead(look->version) && !all_are_dead(look->serving)) {
        const char *name = look->version->processor->name;
        (void)err_set(err, KE_REFUSED,
                      "all %lld records that v%u has read are dead, those of v%u, which serves, "
                      "are not",
                      (long long)json_int(stats, "records", 0), look->version->number,
                      look->serving->number);
        err_hint(err, "kappa dead %s %u shows why; with SET swap.max_dead = '100 %%' it serves",
                 name, look->version->number);
        return -KE_REFUSED;
    }
    return judge_dead(&look->judge, (uint64_t)json_int(stats, "dead", 0),
                      (uint64_t)json_int(stats, "records", 0), err);
}

/* To be waited for. */
static int check_time(const struct look *look, struct err *err)
{
    const struct core_version *version = look->version;
    int64_t now = core_now_us(look->core);
    int64_t since = version->gate.caught_us;
    int rc = judge_caught_up(&look->judge, since != 0 ? now - since : 0, err);
    if (rc == 0) {
        rc = judge_lag(&look->judge, lag_records(&version->lag),
                       lag_seconds(&version->lag, core_now_ms(look->core)), err);
    }
    return rc;
}

static int busy(const struct core_version *version, struct err *err)
{
    return version->gate.verifying
               ? err_set(err, KE_AGAIN, "v%u is being replayed once more, to be verified",
                         version->number)
               : err_set(err, KE_AGAIN, "v%u is being compared with the serving version",
                         version->number);
}

/* Begins what takes long. 0: all of it is done. AGAIN: under way, or it could not be begun. */
static int check_slow(const struct look *look, struct err *err)
{
    struct core_version *version = look->version;
    struct gate *gate = &version->gate;
    int64_t now = core_now_us(look->core);
    bool fresh = look->serving != NULL && gate->against == look->serving->number &&
                 now - gate->compared_us < GATE_FRESH_US;
    bool compare = policy_compares(&look->judge.policy) && look->serving != NULL && !fresh;
    bool verify = look->judge.policy.verify && !gate->verified;
    if (!verify && !compare) {
        return 0;
    }
    if (gate_is_busy(version)) {
        return busy(version, err);
    }
    if (now < gate->try_us) {
        *err = gate->waits;
        return -KE_AGAIN;
    }
    bool *under_way = verify ? &gate->verifying : &gate->comparing;
    *under_way = true;
    gate->failed = false;
    int rc = verify ? verify_for_gate(look->core, version, err)
                    : diff_for_gate(look->core, version->processor, look->serving->number,
                                    version->number, err);
    if (rc == 0) {
        return busy(version, err);
    }
    *under_way = false;
    err->code = -KE_AGAIN;
    return -KE_AGAIN;
}

/* What was found, for the receipt; takes checks. NULL: nothing was asked for. */
static json_t *note_of(const struct core_version *version, json_t *checks)
{
    if (version->gate.found != NULL) {
        int rc = json_array_extend(checks, version->gate.found);
        ASSERT(rc == 0);
    }
    if (json_array_size(checks) == 0) {
        json_decref(checks);
        return NULL;
    }
    json_t *note = json_pack("{s:o}", "checks", checks);
    ASSERT(note != NULL);
    return note;
}

int gate_auto(struct core *core, struct core_version *version, json_t **note, struct err *err)
{
    const json_t *refusal = refusal_of(version);
    if (refusal != NULL) {
        error_from_json(refusal, err);
        return -KE_REFUSED;
    }
    struct look look;
    json_t *checks = json_array();
    look_begin(&look, core, version, NULL, checks);
    int rc = check_gap(&look, err);
    if (rc == 0) {
        rc = check_known(&look, err);
    }
    if (rc != 0) {
        refusal_keep(core, version, err);
    } else {
        rc = check_time(&look, err);
        if (rc == 0) {
            rc = check_slow(&look, err);
        }
        rc = rc != 0 ? -KE_AGAIN : 0;
        version->gate.waits = rc != 0 ? *err : (struct err){0};
    }
    if (rc == 0) {
        *note = note_of(version, checks);
    } else {
        json_decref(checks);
    }
    return rc;
}

/* ---- A person asks ---- */

/* Why the policy would say no: code 0 when it would not, as far as is known now. */
static void say_no(const struct look *look, struct err *err)
{
    const struct core_version *version = look->version;
    const json_t *refusal = refusal_of(version);
    const struct policy *policy = &look->judge.policy;
    if (refusal != NULL) {
        error_from_json(refusal, err);
    } else if (check_known(look, err) != 0 || check_time(look, err) != 0) {
        return;
    } else if (policy->verify && !version->gate.verified) {
        (void)err_set(err, KE_REFUSED, "v%u was not verified", version->number);
    } else if (policy_compares(policy) && look->serving != NULL &&
               version->gate.against != look->serving->number) {
        (void)err_set(err, KE_REFUSED, "v%u was not compared with v%u", version->number,
                      look->serving->number);
    }
}

/* Who overrules what, and why. */
static int overrule(const struct look *look, const json_t *body, json_t **note, struct err *err)
{
    const char *reason = json_text(body, "reason", "");
    struct err no = {0};
    if (reason[0] == '\0') {
        int rc = err_set(err, KE_INVALID, "to overrule a policy takes a reason");
        err_hint(err, "kappa swap %s %u --force --reason TEXT: it is written into the receipt",
                 look->judge.processor, look->version->number);
        return rc;
    }
    say_no(look, &no);
    *note = json_pack("{s:b, s:s, s:o}", "forced", 1, "reason", reason, "overruled",
                      no.code != 0 ? json_string(no.text) : json_null());
    ASSERT(*note != NULL);
    return 0;
}

static void hint_force(const struct look *look, struct err *err)
{
    if (err->code != 0 && err->hint[0] == '\0') {
        err_hint(err, "kappa swap %s %u --force --reason TEXT swaps it in all the same",
                 look->judge.processor, look->version->number);
    }
}

/* All checks, for a person who waits. */
static int check_all(const struct look *look, bool first, struct err *err)
{
    struct core_version *version = look->version;
    int rc = check_known(look, err);
    if (rc == 0) {
        rc = check_time(look, err);
    }
    if (rc == 0 && first) {
        version->gate.against = 0;
        version->gate.try_us = 0;
        version->gate.failed = false;
    }
    const json_t *refusal = refusal_of(version);
    if (rc == 0 && !first && refusal != NULL) {
        error_from_json(refusal, err);
        return -KE_REFUSED;
    }
    if (rc == 0 && !first && version->gate.failed) {
        *err = version->gate.waits;
        err->code = -KE_REFUSED;
        return -KE_REFUSED;
    }
    if (rc == 0 && first && refusal != NULL &&
        !version_set_self(look->core, version, json_pack("{s:n}", "refusal"))) {
        return err_set(err, KE_AGAIN, "the catalog cannot be written now");
    }
    return rc == 0 ? check_slow(look, err) : rc;
}

int gate_asked(struct core *core, struct core_version *version, const json_t *body, bool first,
               json_t **note, struct err *err)
{
    struct look look;
    json_t *checks = json_array();
    look_begin(&look, core, version, body, checks);
    bool force = json_bool(body, "force", false);
    int rc = check_gap(&look, err);
    if (rc == 0 && force) {
        look.judge.checks = NULL;
        rc = overrule(&look, body, note, err);
    } else if (rc == 0) {
        rc = check_all(&look, first, err);
        hint_force(&look, err);
    }
    if (rc == 0 && !force) {
        *note = note_of(version, json_incref(checks));
    }
    json_decref(checks);
    return rc;
}

/* ---- What is known ---- */

bool gate_is_busy(const struct core_version *version)
{
    return version->gate.verifying || version->gate.comparing;
}

void gate_advance(const struct core *core, struct core_version *version)
{
    struct gate *gate = &version->gate;
    bool there = version->state == VERSION_READY && child_is_open(&version->child) &&
                 lag_is_ready(&version->lag);
    gate->caught_us = !there ? 0 : gate->caught_us != 0 ? gate->caught_us : core_now_us(core);
}

void gate_reset(struct core_version *version)
{
    struct gate *gate = &version->gate;
    json_decref(gate->found);
    *gate = (struct gate){.verified = gate->verified,
                          .verifying = gate->verifying,
                          .comparing = gate->comparing,
                          .caught_us = gate->caught_us};
}

json_t *gate_status(const struct core_version *version)
{
    const json_t *refusal = refusal_of(version);
    if (version->state != VERSION_READY) {
        return json_null();
    }
    return refusal != NULL ? json_deep_copy(refusal) : error_to_json(&version->gate.waits);
}

/* ---- Answers ---- */

static struct core_version *version_named(struct core *core, const char *processor, uint32_t number)
{
    struct core_processor *known = core_processor_find(core, processor);
    return known != NULL ? core_version_find(known, number) : NULL;
}

/* The check could not be made: later again. */
static void check_failed(struct core *core, struct core_version *version, const struct err *err)
{
    struct gate *gate = &version->gate;
    gate->backoff_us =
        gate->backoff_us == 0 ? GATE_RETRY_US : i64_min(2 * gate->backoff_us, GATE_RETRY_US_MAX);
    gate->try_us = core_now_us(core) + gate->backoff_us;
    gate->failed = true;
    gate->waits = *err;
    err_prefix(&gate->waits, "v%u could not be checked", version->number);
}

/* Takes what was found instead of what an earlier check of the same found. */
static void found_take(struct gate *gate, json_t *checks)
{
    json_t *old = gate->found;
    size_t i;
    json_t *item;
    json_array_foreach (old, i, item) {
        const char *setting = json_text(item, "setting", "");
        bool again = false;
        for (size_t k = 0; k < json_array_size(checks); k++) {
            const char *other = json_text(json_array_get(checks, k), "setting", "");
            again = again || strcmp(setting, other) == 0;
        }
        if (!again) {
            int rc = json_array_append(checks, item);
            ASSERT(rc == 0);
        }
    }
    json_decref(old);
    gate->found = checks;
}

/* Judged by the policy of now, which may not be the one that asked. */
static bool check_passed(struct core *core, struct core_version *version, const json_t *body,
                         int (*judge)(const struct judge *judge, const json_t *answer,
                                      struct err *err))
{
    struct gate *gate = &version->gate;
    struct look look;
    struct err err = {0};
    json_t *checks = json_array();
    look_begin(&look, core, version, NULL, checks);
    gate->backoff_us = 0;
    gate->try_us = 0;
    int rc = judge(&look.judge, body, &err);
    found_take(gate, checks);
    if (rc != 0) {
        refusal_keep(core, version, &err);
    }
    return rc == 0;
}

void gate_verified(struct core *core, const char *processor, uint32_t number, const json_t *body,
                   const struct err *err)
{
    struct core_version *version = version_named(core, processor, number);
    if (version == NULL || !version->gate.verifying || core->dead) {
        return;
    }
    version->gate.verifying = false;
    if (body == NULL) {
        check_failed(core, version, err);
    } else {
        version->gate.verified = check_passed(core, version, body, judge_verify);
    }
}

void gate_compared(struct core *core, const char *processor, uint32_t a, uint32_t b,
                   const json_t *body, const struct err *err)
{
    struct core_version *version = version_named(core, processor, b);
    if (version == NULL || !version->gate.comparing || core->dead) {
        return;
    }
    version->gate.comparing = false;
    if (body == NULL) {
        check_failed(core, version, err);
    } else if (a == serving_number(version) && check_passed(core, version, body, judge_diff)) {
        version->gate.against = a;
        version->gate.compared_us = core_now_us(core);
    }
}
