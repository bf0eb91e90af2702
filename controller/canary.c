/* Canary: a share of the keys is read from a candidate before it serves (serve/reader_canary.c says
 * which, and what that means for readers). Own header: core_inside.h.
 *
 * Setting it, changing it and taking it back is the first half of a swap: both versions are held and run
 * to one cut, and while they stand there one transaction writes the processor's object and the pointers
 * of all its tables, with the canary or without. So the keys that move from one version to the other do it
 * at one cut, and no read of a key goes back. Nothing else moves: who serves, the epoch, outputs.
 *
 * A canary ends by itself, in the transaction that makes it so: with any swap of the processor, and when
 * its version is paused, aborted or has failed (its keys go back to the serving version at once then,
 * wherever that stands). */
#include "controller/core_inside.h"

#include "table/catalog.h"

#include <math.h>
#include <string.h>

uint32_t canary_version(const struct core_processor *processor)
{
    return (uint32_t)json_int(json_object_get(processor->object, "canary"), "version", 0);
}

static json_t *canary_json(const struct core_processor *processor)
{
    json_t *canary = json_object_get(processor->object, "canary");
    return json_is_object(canary) ? json_deep_copy(canary) : json_null();
}

json_t *canary_status(const struct core *core, const struct core_processor *processor)
{
    json_t *canary = canary_json(processor);
    json_t *reads = NULL;
    if (json_is_object(canary) && core->ops.canary_reads != NULL) {
        core->ops.canary_reads(core->ops.ctx, processor->name, canary_version(processor), &reads);
    }
    if (json_is_object(canary)) {
        object_set(canary, "reads", reads != NULL ? reads : json_null());
    }
    return canary;
}

/* ---- The transaction ---- */

void change_canary(struct change *change, struct core_processor *processor, json_t *canary)
{
    struct core_version *serving = core_serving(processor);
    json_t *object = json_copy(processor->object);
    struct catalog_canary record = {0};
    if (canary != NULL) {
        record.version = (uint32_t)json_int(canary, "version", 0);
        record.share =
            (uint16_t)lround(json_number(canary, "share", 0) * (CATALOG_SHARE_ALL / 100.0));
        record.shadow = json_bool(canary, "shadow", false);
        object_set(object, "canary", canary);
    } else {
        (void)json_object_del(object, "canary");
    }
    change_processor(change, processor, object);
    for (uint32_t i = 0; serving != NULL && i < version_table_count(serving); i++) {
        change_pointer(change, version_table(serving, i), processor->name, serving->number,
                       (uint64_t)json_int(processor->object, "epoch", 0), &record);
    }
}

void canary_follow(struct change *change, struct core_version *version, const json_t *object)
{
    uint32_t to = state_find(&version_states, json_text(object, "state", ""));
    bool stays = version_is_candidate((enum version_state)to) || to == VERSION_SERVING ||
                 to == VERSION_STANDBY; /* of a swap, which ends it */
    if (!stays && canary_version(version->processor) == version->number) {
        change_canary(change, version->processor, NULL);
    }
}

/* {"processor","version","canary","cut","hold_ms"}: what was done. */
static json_t *answer_make(const struct core_processor *processor, json_t *cut, double hold_ms)
{
    json_t *answer = json_pack("{s:s, s:o, s:o, s:f}", "processor", processor->name, "canary",
                               canary_json(processor), "cut", cut, "hold_ms", hold_ms);
    ASSERT(answer != NULL);
    return answer;
}

int canary_commit(struct core *core, struct core_processor *processor, struct err *err)
{
    struct core_swap *swap = &processor->swap;
    bool on = json_number(swap->canary, "share", 0) > 0;
    struct change change;
    change_begin(&change, core);
    change_canary(&change, processor, on ? json_incref(swap->canary) : NULL);
    int rc = change_commit(&change, err);
    if (rc == 0) {
        swap->receipt =
            answer_make(processor, partitions_cut_json(&swap->partitions, swap->swap.cut), 0);
    }
    return rc;
}

/* ---- Asking ---- */

/* The newest version that could be one. */
static struct core_version *newest_ready(const struct core_processor *processor)
{
    for (uint32_t i = processor->version_count; i-- > 0;) {
        if (processor->versions[i]->state == VERSION_READY) {
            return processor->versions[i];
        }
    }
    return NULL;
}

static int check_share(const json_t *body, double *share, struct err *err)
{
    const json_t *asked = json_object_get(body, "share");
    *share = json_is_number(asked) ? json_number_value(asked) : -1;
    double parts = *share * (CATALOG_SHARE_ALL / 100.0);
    if (!(*share >= 0 && *share <= 100) || fabs(parts - rint(parts)) > 1e-6) {
        int rc =
            err_set(err, KE_INVALID, "\"share\" must be the percentage of the keys, from 0 to 100");
        err_hint(err, "with two digits behind the point at most; 0 ends the canary");
        return rc;
    }
    *share = rint(parts) / (CATALOG_SHARE_ALL / 100.0);
    return 0;
}

/* Which version's keys move; NULL and 0: there is nothing to do. */
static int choose(struct core_processor *processor, uint32_t number, double share,
                  struct core_version **out, struct err *err)
{
    uint32_t known = canary_version(processor);
    *out = NULL;
    if (share <= 0) {
        *out = known != 0 ? core_version_find(processor, known) : NULL;
        return 0;
    }
    if (core_serving(processor) == NULL) {
        return err_set(err, KE_REFUSED,
                       "%s has no version that serves: there is nothing to compare with",
                       processor->name);
    }
    *out = number != 0 ? core_version_find(processor, number) : newest_ready(processor);
    if (*out == NULL && number != 0) {
        return core_version_unknown(processor, number, err);
    }
    if (*out == NULL || (*out)->state != VERSION_READY) {
        int rc =
            *out == NULL
                ? err_set(err, KE_REFUSED, "%s has no candidate that is ready", processor->name)
                : err_set(err, KE_REFUSED, "v%u is %s: a canary is a candidate that is ready",
                          (*out)->number, state_name(&version_states, (*out)->state));
        err_hint(err,
                 "kappa deploy --swap manual makes one, kappa wait --for caught-up waits for it");
        return rc;
    }
    if (known != 0 && known != (*out)->number) {
        int rc = err_set(err, KE_REFUSED, "v%u is the canary of %s", known, processor->name);
        err_hint(err, "end it first: kappa canary %s off", processor->name);
        return rc;
    }
    return 0;
}

/* Without a cut: somebody does not run, or it was asked for. */
static int end_now(struct core *core, struct core_processor *processor, struct err *err)
{
    struct change change;
    change_begin(&change, core);
    change_canary(&change, processor, NULL);
    return change_commit(&change, err);
}

void canary_request(struct core *core, void *request, struct core_processor *processor,
                    uint32_t number, const json_t *body)
{
    struct err err = {0};
    struct core_version *version = NULL;
    double share = 0;
    const char *who = json_text(body, "who", "api");
    int rc = check_share(body, &share, &err);
    if (rc == 0) {
        rc = choose(processor, number, share, &version, &err);
    }
    if (rc == 0 && share > 0 && !json_bool(body, "shadow", false)) {
        rc =
            who_may_swap(core, version, who, &err); /* part of the readers is swapped, as it were */
    }
    if (rc != 0) {
        core_reply(core, request, NULL, &err);
        return;
    }
    struct core_version *serving = core_serving(processor);
    bool live = version != NULL && serving != NULL && child_is_open(&version->child) &&
                child_is_open(&serving->child);
    bool now = share <= 0 && (!live || json_bool(body, "force", false));
    if (now && version != NULL) {
        rc = end_now(core, processor, &err);
        if (rc == 0) {
            canary_told(core, processor, version, who);
        }
    }
    if (rc == 0 && (now || version == NULL)) {
        core_reply(core, request, answer_make(processor, json_null(), 0), NULL);
        return;
    }
    if (rc == 0) {
        json_t *canary = json_pack("{s:i, s:f, s:b, s:s, s:I}", "version", (int)version->number,
                                   "share", share, "shadow", json_bool(body, "shadow", false),
                                   "who", who, "since_ms", (json_int_t)core_now_ms(core));
        ASSERT(canary != NULL);
        rc = conduct_start_canary(core, version, canary, who, request, &err);
        if (rc != 0 && share <= 0) {
            err_hint(&err,
                     "with --force it ends at once; its keys are then read as of where v%u stands",
                     serving->number);
        }
    }
    if (rc != 0) {
        core_reply(core, request, NULL, &err);
    }
}

void canary_told(struct core *core, const struct core_processor *processor,
                 const struct core_version *version, const char *who)
{
    const json_t *canary = json_object_get(processor->object, "canary");
    if (canary == NULL) {
        journal_note(core, "canary", processor->name, version->number, json_pack("{s:n}", "canary"),
                     "the canary of %s, v%u, has ended (by %s)", processor->name, version->number,
                     who);
        return;
    }
    journal_note(core, "canary", processor->name, version->number,
                 json_pack("{s:O}", "canary", canary), "%g %% of the keys of %s %s v%u (by %s)",
                 json_number(canary, "share", 0), processor->name,
                 json_bool(canary, "shadow", false) ? "are compared with" : "are read from",
                 version->number, who);
}
