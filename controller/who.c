/* Who may swap a processor: SET swap.who = 'alice, ops'. Own header: core_inside.h.
 *
 * Both lists count, that of the version that serves and that of the version that is to serve: a person who
 * stands in neither's way may move it. Swaps of the controller's own are not in question, nor is the way
 * back: whoever may operate may roll back. So that the list is no mere wish, a person whom the serving
 * version does not name may deploy only what keeps it, and does not make swaps automatic that were not.
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

static const char *list_of_version(const struct core_version *version)
{
    return version == NULL ? NULL : list_of(json_object_get(version->object, "policy"));
}

static int check_list(const struct core *core, const struct core_version *version, const char *who,
                      struct err *err)
{
    const char *list = list_of_version(version);
    if (list == NULL || (core->access && policy_names(list, who))) {
        return 0;
    }
    const char *processor = version->processor->name;
    if (!core->access) {
        int rc = err_set(err, KE_REFUSED,
                         "only %s may swap %s (swap.who of v%u), and this server asks nobody who "
                         "he is",
                         list, processor, version->number);
        err_hint(err,
                 "start it with kappa up --access FILE, or deploy with --set swap.who=default");
        return rc;
    }
    int rc = err_set(err, KE_FORBIDDEN, "only %s may swap %s (swap.who of v%u), not %s", list,
                     processor, version->number, who);
    err_hint(err, "ask one of them; kappa rollback %s is open to everybody with the role operate",
             processor);
    return rc;
}

int who_may_swap(const struct core *core, const struct core_version *version, const char *who,
                 struct err *err)
{
    const struct core_version *serving = core_serving(version->processor);
    int rc = check_list(core, serving, who, err);
    return rc == 0 ? check_list(core, version, who, err) : rc;
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
    const struct core_version *serving = known == NULL ? NULL : core_serving(known);
    const char *list = list_of_version(serving);
    bool may = list == NULL || policy_names(list, who) || strcmp(who, PERSON_LOCAL) == 0;
    if (may) {
        return 0;
    }
    bool keeps = wanted != NULL && strcmp(wanted, list) == 0;
    bool manual = is_manual(policy) || !is_manual(json_object_get(serving->object, "policy"));
    if (keeps && manual) {
        return 0;
    }
    int rc = err_set(err, KE_FORBIDDEN,
                     keeps ? "only %s may make the swaps of %s automatic (swap.who of v%u), not %s"
                           : "only %s may change swap.who of %s (v%u), not %s",
                     list, processor, serving->number, who);
    err_hint(err,
             keeps ? "deploy it with --swap manual, or ask one of them"
                   : "keep the line SET swap.who of the version that serves, or ask one of them");
    return rc;
}
