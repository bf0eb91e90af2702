/* Groups: where a version stands, as tools see it that know Kafka and not Kappa (Burrow, kminion,
 * kafka-consumer-groups.sh). Own header: core_inside.h.
 *
 * The worker commits (replayer/worker_monitor.h), under PREFIX.PROCESSOR.vN. Here is the name, and the
 * rule of when a group goes: with the version's last reader. A retired, aborted or dropped version
 * would only look like one that falls behind; one that is paused or has failed is behind, and stays.
 * A group that could not be deleted is tried again while the server runs; in the end brokers forget it
 * by themselves (offsets.retention.minutes). */
#include "controller/core_inside.h"

#include "base/trace.h"
#include "log/log.h"

#include <stdlib.h>
#include <string.h>

#define GROUPS_DEFAULT  "kappa" /* of a reader that commits nothing */
#define GROUPS_MAX      64      /* in one request */
#define GROUPS_EVERY_US INT64_C(1000000)
#define GROUPS_RETRY_US INT64_C(60000000)

struct forget {
    struct core_job job;
    struct log *log; /* borrowed; outlives jobs */
    json_t *names;   /* owned */
    int rc;
    struct err err;
};

bool groups_are_on(const struct core *core)
{
    return json_object_get(core->log_config, "groups") != NULL;
}

char *groups_name(const struct core *core, const char *processor, uint32_t version)
{
    return xasprintf("%s.%s.v%u", json_text(core->log_config, "groups", GROUPS_DEFAULT), processor,
                     version);
}

void groups_forget(struct core *core, struct core_version *version)
{
    bool over =
        version->dropping || version->state == VERSION_RETIRED || version->state == VERSION_ABORTED;
    if (!groups_are_on(core) || !over || version->group_gone || core->stopping) {
        return;
    }
    char *name = groups_name(core, version->processor->name, version->number);
    int rc = json_array_append_new(core->groups, json_string(name));
    ASSERT(rc == 0);
    free(name);
    version->group_gone = true;
}

static void forget_run(struct core_job *job)
{
    struct forget *forget = container_of(job, struct forget, job);
    const char *names[GROUPS_MAX];
    uint32_t count = u32_from(json_array_size(forget->names));
    for (uint32_t i = 0; i < count; i++) {
        names[i] = json_string_value(json_array_get(forget->names, i));
    }
    forget->rc = forget->log->ops->groups_delete(forget->log, names, count, &forget->err);
}

static void forget_done(struct core *core, struct core_job *job)
{
    struct forget *forget = container_of(job, struct forget, job);
    if (core != NULL) {
        core->groups_out = false;
        if (forget->rc != 0) {
            trace(TRACE_WARN, "%s; tried again later", forget->err.text);
            int rc = json_array_extend(core->groups, forget->names);
            ASSERT(rc == 0);
            core->groups_us = core_now_us(core) + GROUPS_RETRY_US;
        }
    }
    json_decref(forget->names);
    free(forget);
}

void groups_tick(struct core *core)
{
    if (json_array_size(core->groups) == 0 || core->groups_out || core->stopping ||
        core->log->ops->groups_delete == NULL || core_now_us(core) < core->groups_us) {
        return;
    }
    struct forget *forget = xcalloc(1, sizeof *forget);
    forget->job = (struct core_job){.run = forget_run, .done = forget_done};
    forget->log = core->log;
    forget->names = json_array();
    while (json_array_size(core->groups) > 0 && json_array_size(forget->names) < GROUPS_MAX) {
        int rc = json_array_append(forget->names, json_array_get(core->groups, 0));
        ASSERT(rc == 0);
        (void)json_array_remove(core->groups, 0);
    }
    core->groups_out = true;
    core->groups_us = core_now_us(core) + GROUPS_EVERY_US;
    core_run_job(core, &forget->job);
}
