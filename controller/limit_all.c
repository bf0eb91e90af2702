/* The limit over all replays of the server together: kept in the catalog ("x/limit"), divided among them by
 * regulate.c. Own header: core_inside.h.
 *
 * What counts is what replays read: records, and bytes of keys, values and headers, from a broker, the
 * embedded log or an archive ("broker_bytes_per_second": not from archives). What serves, stands by or has
 * caught up does not count: it reads what arrives. */
#include "controller/core_inside.h"

#include "replayer/governor.h"
#include "table/catalog.h"

#include <string.h>

#define LIMIT_ALL_KEY "x/limit"

static int check(const json_t *limit, struct err *err)
{
    struct governor_limit parsed = {0};
    const char *name;
    json_t *value;
    int rc = governor_limit_parse(limit, &parsed, err);
    json_object_foreach ((json_t *)(uintptr_t)limit, name, value) {
        bool known = strcmp(name, "records_per_second") == 0 ||
                     strcmp(name, "bytes_per_second") == 0 ||
                     strcmp(name, "broker_bytes_per_second") == 0;
        if (rc == 0 && !known) {
            rc = err_set(err, KE_INVALID, "a limit over all replays has no member \"%s\"", name);
            err_hint(err, "it has \"records_per_second\", \"bytes_per_second\" and "
                          "\"broker_bytes_per_second\"; goals and priority are each version's own");
        }
    }
    if (rc == 0 && json_is_object(limit) && !governor_limited(&parsed)) {
        rc = err_set(err, KE_INVALID, "a limit without a number");
        err_hint(err, "null is no limit");
    }
    return rc;
}

int limit_all_load(struct core *core, struct err *err)
{
    json_t *known = NULL;
    int rc = catalog_get(core->catalog, LIMIT_ALL_KEY, &known, err);
    if (rc == -KE_NOT_FOUND) {
        return 0;
    }
    core->limit_all = rc == 0 && json_is_object(known) ? json_incref(known) : NULL;
    json_decref(known);
    return rc;
}

static int keep(struct core *core, const json_t *limit, struct err *err)
{
    struct change change;
    json_t *object = json_is_object(limit) ? json_deep_copy(limit) : NULL;
    if (object == NULL && core->limit_all == NULL) {
        return 0;
    }
    change_begin(&change, core);
    change_put(&change, LIMIT_ALL_KEY, core->limit_all, json_incref(object));
    int rc = change_commit(&change, err);
    if (rc == 0) {
        json_decref(core->limit_all);
        core->limit_all = json_incref(object);
    }
    json_decref(object);
    return rc;
}

/* Whom it no longer concerns is told what is left. */
static void tell_all(struct core *core)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *processor = core->processors[i];
        for (uint32_t k = 0; k < processor->version_count; k++) {
            struct core_version *version = processor->versions[k];
            if (version_is_candidate((enum version_state)version->state) &&
                child_is_open(&version->child)) {
                version->paced = 0;
                version->paced_bytes = 0;
                version->paced_broker = 0;
                limit_tell(core, version);
            }
        }
    }
    core->regulated = UINT32_MAX;
}

void limit_all_request(struct core *core, void *request, const json_t *body)
{
    struct err err = {0};
    const json_t *limit = json_object_get(body, "limit");
    const char *who = json_text(body, "who", "api");
    int rc = limit == NULL
                 ? err_set(&err, KE_INVALID, "it needs \"limit\": an object, or null for no limit")
                 : check(limit, &err);
    if (rc == 0) {
        rc = keep(core, limit, &err);
    }
    if (rc != 0) {
        core_reply(core, request, NULL, &err);
        return;
    }
    tell_all(core);
    journal_note(core, "limit", NULL, 0,
                 json_pack("{s:O?, s:s}", "limit", core->limit_all, "who", who),
                 "all replays together %s, by %s",
                 core->limit_all != NULL ? "have a limit" : "have no limit any more", who);
    core_reply(core, request, json_pack("{s:O?}", "limit", core->limit_all), NULL);
}
