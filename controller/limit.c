/* How fast a version may be replayed: asked for by a deploy, a replay or `limit`, kept in the version's
 * object ("limit"), told to its worker, which keeps to it (replayer/governor.h). Own header:
 * core_inside.h.
 *
 * It is for versions on their way to their first swap. One that has served has readers, or may have
 * them again in an instant: its worker forgets the limit, and nobody can give it one. */
#include "controller/core_inside.h"

#include "replayer/governor.h"

#include <string.h>

static bool is_known(const char *name)
{
    return strcmp(name, "records_per_second") == 0 || strcmp(name, "bytes_per_second") == 0;
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
            err_hint(err, "it has \"records_per_second\" and \"bytes_per_second\"");
        }
    }
    if (rc == 0 && json_is_object(limit) && !governor_limited(&parsed)) {
        rc = err_set(err, KE_INVALID, "a limit without a number");
        err_hint(err, "null is no limit");
    }
    return rc;
}

static bool is_replayed(const struct core_version *version)
{
    enum version_state state = (enum version_state)version->state;
    return version_is_candidate(state == VERSION_PAUSED ? version_paused_from(version) : state);
}

json_t *limit_of(const struct core_version *version)
{
    json_t *limit = json_object_get(version->object, "limit");
    return is_replayed(version) && json_is_object(limit) ? json_incref(limit) : json_null();
}

static void tell(struct core *core, struct core_version *version)
{
    json_t *message = json_pack("{s:s}", "do", "limit");
    json_t *limit = limit_of(version);
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
