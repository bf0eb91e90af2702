/* Who may swap a processor: SET swap.who = 'alice, ops'. Own header: core_inside.h.
 *
 * The list in force is that of the newest version that has ever served: it stays in force when that one is
 * rolled back, or dropped ("who" in the processor's object: its number and, once it is gone, its settings).
 * So nobody gets rid of it by going back to a version that has none.
 *
 *     swap, canary     the list in force and that of the version that is to serve
 *     rollback         the list in force, unless it says swap.rollback = anyone; and PERSON_LOCAL, who
 *                      has the server's files: for emergencies
 *     drop, pause      of the version that stands by, which is the way back: as rollback
 *     deploy           the list in force, when the version has another one, says otherwise who may roll
 *                      back, or would be swapped in by itself where the newest is not
 *
 * Swaps of the controller's own are not in question.
 *
 * Names mean something only where everybody is asked who he is (core->access): else such a definition is
 * refused, and one that is there is swapped by nobody. */
#include "controller/core_inside.h"
#include "controller/judge.h"
#include "serve/people_file.h"

#include <string.h>

static const char *list_of(const json_t *policy)
{
    return json_text(policy, policy_name(POLICY_WHO), NULL);
}

static const char *rollback_of(const json_t *policy)
{
    return json_text(policy, policy_name(POLICY_ROLLBACK), "listed");
}

static const json_t *policy_of(const struct core_version *version)
{
    return json_object_get(version->object, "policy");
}

/* ---- The list in force */

struct in_force {
    const json_t *policy; /* borrowed; NULL: none */
    uint32_t version;     /* whose it is; 0: nothing has served */
};

static struct in_force in_force(const struct core_processor *processor)
{
    const json_t *kept = json_object_get(processor->object, "who");
    uint32_t number =
        (uint32_t)json_int(kept, "version", json_int(processor->object, "serving", 0));
    const struct core_version *version = core_version_find(processor, number);
    return (struct in_force){.policy = version != NULL ? policy_of(version)
                                                       : json_object_get(kept, "policy"),
                             .version = number};
}

void who_served(const struct core_processor *processor, json_t *object, uint32_t number)
{
    uint32_t newest = in_force(processor).version;
    object_set(object, "who",
               json_pack("{s:i}", "version", (int)(number > newest ? number : newest)));
    json_t *policy = json_object_get(json_object_get(processor->object, "who"), "policy");
    if (policy != NULL && number <= newest) {
        object_set(json_object_get(object, "who"), "policy", json_incref(policy));
    }
}

json_t *who_dropped(const struct core_version *version)
{
    static const enum policy_setting kept[] = {POLICY_WHO, POLICY_ROLLBACK, POLICY_MODE};
    const struct core_processor *processor = version->processor;
    const json_t *who = json_object_get(processor->object, "who");
    if (json_int(who, "version", 0) != version->number) {
        return NULL;
    }
    json_t *policy = json_object();
    for (size_t i = 0; i < array_len(kept); i++) {
        const char *name = policy_name(kept[i]);
        json_t *value = json_object_get(policy_of(version), name);
        if (value != NULL) {
            object_set(policy, name, json_incref(value));
        }
    }
    json_t *object = json_copy(processor->object);
    object_set(object, "who",
               json_pack("{s:i, s:o}", "version", (int)version->number, "policy", policy));
    return object;
}

/* ---- Questions */

static int check_list(const struct core *core, const struct core_processor *processor,
                      const struct in_force *in, const char *who, struct err *err)
{
    const char *list = list_of(in->policy);
    if (list == NULL || (core->access && policy_names(list, who))) {
        return 0;
    }
    if (!core->access) {
        int rc = err_set(err, KE_REFUSED,
                         "only %s may swap %s (swap.who of v%u), and this server asks nobody who "
                         "he is",
                         list, processor->name, in->version);
        err_hint(err,
                 "start it with kappa up --access FILE, or deploy with --set swap.who=default");
        return rc;
    }
    int rc = err_set(err, KE_FORBIDDEN, "only %s may swap %s (swap.who of v%u), not %s", list,
                     processor->name, in->version, who);
    err_hint(err, "ask one of them");
    return rc;
}

int who_may_swap(const struct core *core, const struct core_version *version, const char *who,
                 struct err *err)
{
    const struct in_force now = in_force(version->processor);
    const struct in_force then = {.policy = policy_of(version), .version = version->number};
    int rc = check_list(core, version->processor, &now, who, err);
    return rc == 0 ? check_list(core, version->processor, &then, who, err) : rc;
}

int who_may_go_back(const struct core *core, const struct core_processor *processor,
                    const char *who, const char *what, struct err *err)
{
    const struct in_force now = in_force(processor);
    const char *list = list_of(now.policy);
    bool may = list == NULL || !core->access || policy_names(list, who) ||
               strcmp(who, PERSON_LOCAL) == 0 || strcmp(rollback_of(now.policy), "anyone") == 0;
    if (may) {
        return 0;
    }
    int rc = err_set(err, KE_FORBIDDEN, "only %s may %s %s (swap.who of v%u), not %s", list, what,
                     processor->name, now.version, who);
    err_hint(err, "ask one of them, or who has the files of the server; SET swap.rollback = anyone "
                  "opens the way back to everybody with the role operate");
    return rc;
}

static bool is_manual(const json_t *policy)
{
    return strcmp(json_text(policy, policy_name(POLICY_MODE), "auto"), "manual") == 0;
}

int who_may_deploy(struct core *core, const char *processor, const json_t *policy, const char *who,
                   struct err *err)
{
    const char *wanted = list_of(policy);
    if (!core->access) {
        if (wanted == NULL) {
            return 0;
        }
        int rc = err_set(err, KE_REFUSED,
                         "swap.who names persons, and this server asks nobody who he is");
        err_hint(err,
                 "start it with kappa up --access FILE, or deploy with --set swap.who=default");
        return rc;
    }
    struct core_processor *known = core_processor_find(core, processor);
    const struct in_force now = known == NULL ? (struct in_force){.policy = NULL} : in_force(known);
    const char *list = list_of(now.policy);
    bool may = list == NULL || policy_names(list, who) || strcmp(who, PERSON_LOCAL) == 0;
    if (may) {
        return 0;
    }
    bool keeps = wanted != NULL && strcmp(wanted, list) == 0;
    bool back = strcmp(rollback_of(policy), rollback_of(now.policy)) == 0;
    bool manual = is_manual(policy) || !is_manual(now.policy);
    if (keeps && back && manual) {
        return 0;
    }
    int rc =
        err_set(err, KE_FORBIDDEN,
                !keeps  ? "only %s may change swap.who of %s (v%u), not %s"
                : !back ? "only %s may change swap.rollback of %s (v%u), not %s"
                        : "only %s may make the swaps of %s automatic (swap.who of v%u), not %s",
                list, processor, now.version, who);
    err_hint(err, keeps && back
                      ? "deploy it with --swap manual, or ask one of them"
                      : "keep the lines SET swap.who and swap.rollback that are in force, or "
                        "ask one of them");
    return rc;
}
