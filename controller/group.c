/* Which processors change over together. Own header: core_inside.h.
 *
 * A version names its group: SET swap.in_group = 'shop'. A processor belongs to the group that its newest
 * candidate names, or, when there is none, the version that serves. A candidate is swapped in with a
 * ready candidate of each member, or not at all. Two exceptions, so that a group can come to be: what
 * serves nothing yet does not wait for members that have no candidate; and a person may say "alone".
 *
 *     p  v1 serves, v2 ready        shop  \
 *     q  v4 serves, v5 ready        shop  /  p v2 and q v5 in one transaction
 *     r  v1 serves, v2 replaying    shop     so both wait for r v2
 *
 * A way back (or forward again) undoes the last swap: its receipt says which members moved in it, and
 * they go back together. A member that has moved since is in the way. One that had nothing before stays. */
#include "controller/core_inside.h"

#include "processor/policy.h"
#include "table/catalog.h"

#include <stdlib.h>
#include <string.h>

const char *group_name(const struct core_version *version)
{
    return json_text(json_object_get(version->object, "policy"), policy_name(POLICY_GROUP), NULL);
}

static void add_member(struct group *group, struct core_version *version)
{
    group->members = xrealloc(group->members, (group->count + 1) * sizeof *group->members);
    group->members[group->count++] = (struct group_member){.version = version};
}

/* ---- Forward ---- */

/* Newer than all that ever served: the newest that is ready, or else the newest on its way. */
static struct core_version *candidate_of(const struct core_processor *processor)
{
    struct core_version *newest = NULL;
    for (uint32_t i = processor->version_count; i-- > 0;) {
        struct core_version *version = processor->versions[i];
        enum version_state state = (enum version_state)version->state;
        if (version_has_served(version_role(version))) {
            return newest;
        }
        if (state == VERSION_READY) {
            return version;
        }
        if (newest == NULL && (version_is_candidate(state) || state == VERSION_PAUSED)) {
            newest = version;
        }
    }
    return newest;
}

/* The version that says to which group its processor belongs, or NULL. */
static struct core_version *speaker_of(struct core_processor *processor)
{
    struct core_version *candidate = candidate_of(processor);
    return candidate != NULL ? candidate : core_serving(processor);
}

static bool belongs(struct core_processor *processor, const char *name)
{
    const struct core_version *speaker = speaker_of(processor);
    const char *group = speaker != NULL ? group_name(speaker) : NULL;
    return group != NULL && strcmp(group, name) == 0;
}

static int not_ready(const struct core_version *asked, const char *name,
                     struct core_processor *other, struct err *err)
{
    const struct core_version *candidate = candidate_of(other);
    const struct core_version *serving = core_serving(other);
    int rc;
    if (candidate == NULL) {
        rc = err_set(err, KE_REFUSED,
                     "it changes over with the group \"%s\", and %s has no version newer than v%u",
                     name, other->name, serving != NULL ? serving->number : 0);
        err_hint(err, "deploy one (kappa replay %s), or kappa swap %s %u --alone", other->name,
                 asked->processor->name, asked->number);
    } else {
        rc = err_set(err, KE_REFUSED, "it changes over with the group \"%s\", and v%u of %s is %s",
                     name, candidate->number, other->name,
                     state_name(&version_states, candidate->state));
        err_hint(err, "kappa wait %s %u --for caught-up, or kappa swap %s %u --alone", other->name,
                 candidate->number, asked->processor->name, asked->number);
    }
    return rc;
}

static int add_candidates(struct core *core, struct core_version *asked, const char *name,
                          struct group *group, struct err *err)
{
    bool first = core_serving(asked->processor) == NULL;
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *other = core->processors[i];
        if (other == asked->processor || !belongs(other, name)) {
            continue;
        }
        struct core_version *candidate = candidate_of(other);
        if (candidate != NULL && candidate->state == VERSION_READY) {
            add_member(group, candidate);
        } else if (candidate != NULL || !first) {
            return not_ready(asked, name, other, err);
        }
    }
    return 0;
}

/* ---- Back ---- */

static int add_moved(struct core *core, const char *name, const json_t *moved, struct group *group,
                     struct err *err)
{
    struct core_processor *other = core_processor_find(core, name);
    int64_t old = json_int(moved, "old", 0);
    if (old == 0) {
        return 0;
    }
    int64_t epoch = other != NULL ? json_int(other->object, "epoch", 0) : 0;
    struct core_version *version = other != NULL ? core_version_find(other, (uint32_t)old) : NULL;
    if (epoch == json_int(moved, "epoch", -1) && version != NULL) {
        add_member(group, version);
        return 0;
    }
    int rc = version == NULL
                 ? err_set(err, KE_REFUSED, "%s changed over with it, and its v%lld is gone", name,
                           (long long)old)
                 : err_set(err, KE_REFUSED, "%s changed over with it, and has changed since", name);
    err_hint(err, "--alone leaves the other processors where they are");
    return rc;
}

/* Its receipt of the last swap. */
static int last_receipt(struct core *core, const struct core_processor *processor, json_t **out,
                        struct err *err)
{
    char key[CATALOG_KEY_LEN];
    catalog_key_receipt(key, processor->name, (uint64_t)json_int(processor->object, "epoch", 0));
    int rc = catalog_get(core->catalog, key, out, err);
    return rc == -KE_NOT_FOUND ? 0 : rc;
}

/* Those that moved with the serving version, if the asked one is what it moved away from. */
static int add_way_back(struct core *core, const struct core_version *asked, struct group *group,
                        struct err *err)
{
    json_t *receipt = NULL;
    int rc = last_receipt(core, asked->processor, &receipt, err);
    const json_t *last = json_object_get(receipt, "group");
    if (rc == 0 && json_is_object(last) && json_int(receipt, "old", 0) == asked->number) {
        group->name = xstrdup(json_text(last, "name", ""));
        const char *name;
        json_t *moved;
        json_object_foreach (json_object_get(last, "members"), name, moved) {
            if (rc == 0 && strcmp(name, asked->processor->name) != 0) {
                rc = add_moved(core, name, moved, group, err);
            }
        }
    }
    json_decref(receipt);
    return rc;
}

/* ---- Both ---- */

int group_open(struct core *core, struct core_version *asked, bool alone, struct group *group,
               struct err *err)
{
    *group = (struct group){0};
    add_member(group, asked);
    const char *name = group_name(asked);
    if (alone) {
        return 0;
    }
    if (version_has_served((enum version_state)asked->state)) {
        return add_way_back(core, asked, group, err);
    }
    if (name == NULL) {
        return 0;
    }
    group->name = xstrdup(name);
    return add_candidates(core, asked, name, group, err);
}

void group_close(struct group *group)
{
    for (uint32_t i = 0; i < group->count; i++) {
        json_decref(group->members[i].note);
    }
    free(group->members);
    free(group->name);
    *group = (struct group){0};
}

json_t *group_status(const struct core *core, const struct core_processor *processor)
{
    const struct core_version *speaker = speaker_of((struct core_processor *)(uintptr_t)processor);
    const char *name = speaker != NULL ? group_name(speaker) : NULL;
    if (name == NULL) {
        return json_null();
    }
    json_t *with = json_array();
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *other = core->processors[i];
        if (other != processor && belongs(other, name)) {
            int rc = json_array_append_new(with, json_string(other->name));
            ASSERT(rc == 0);
        }
    }
    json_t *status = json_pack("{s:s, s:o}", "name", name, "with", with);
    ASSERT(status != NULL);
    return status;
}
