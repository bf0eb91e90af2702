/* How much disk snapshots take, per processor and version, for status and metrics. Own header:
 * core_inside.h.
 *
 * Looked at by a job: when one was made or has gone, and once a minute. In between what was found stays. */
#include "controller/core_inside.h"

#include "controller/snapshot_files.h"

#include <stdio.h>
#include <stdlib.h>

#define LOOK_US INT64_C(60000000)

struct sizes {
    struct core_job job;
    char *data_dir;
    json_t *found; /* {processor: {"count","bytes","versions":{"N":{"count","bytes"}}}} */
};

static void add(json_t *sum, const json_t *note)
{
    object_set(sum, "count", json_integer(json_int(sum, "count", 0) + 1));
    object_set(sum, "bytes", json_integer(json_int(sum, "bytes", 0) + json_int(note, "bytes", 0)));
}

static json_t *nothing(void)
{
    json_t *sum = json_pack("{s:i, s:i}", "count", 0, "bytes", 0);
    ASSERT(sum != NULL);
    return sum;
}

/* Of a version; made when it is not there yet. */
static json_t *sum_of(json_t *versions, uint32_t number)
{
    char name[16];
    (void)snprintf(name, sizeof name, "%u", number);
    json_t *sum = json_object_get(versions, name);
    if (sum == NULL) {
        sum = nothing();
        object_set(versions, name, sum);
    }
    return sum;
}

static void sizes_run(struct core_job *job)
{
    struct sizes *sizes = container_of(job, struct sizes, job);
    const char *processor;
    json_t *sum;
    json_object_foreach (sizes->found, processor, sum) {
        json_t *list = snapshot_list(sizes->data_dir, processor);
        json_t *versions = json_object();
        size_t i;
        const json_t *note;
        json_array_foreach (list, i, note) {
            add(sum, note);
            add(sum_of(versions, (uint32_t)json_int(note, "version", 0)), note);
        }
        object_set(sum, "versions", versions);
        json_decref(list);
    }
}

static void sizes_done(struct core *core, struct core_job *job)
{
    struct sizes *sizes = container_of(job, struct sizes, job);
    if (core != NULL) {
        core->sizes_out = false;
        json_decref(core->snapshot_sizes);
        core->snapshot_sizes = json_incref(sizes->found);
    }
    json_decref(sizes->found);
    free(sizes->data_dir);
    free(sizes);
}

void snapshot_sizes_tick(struct core *core)
{
    if (core->sizes_out || core->stopping || core_now_us(core) < core->sizes_us) {
        return;
    }
    struct sizes *sizes = xcalloc(1, sizeof *sizes);
    sizes->job = (struct core_job){.run = sizes_run, .done = sizes_done};
    sizes->data_dir = xstrdup(core->data_dir);
    sizes->found = json_object();
    for (uint32_t i = 0; i < core->processor_count; i++) {
        object_set(sizes->found, core->processors[i]->name, nothing());
    }
    core->sizes_out = true;
    core->sizes_us = core_now_us(core) + LOOK_US;
    core_run_job(core, &sizes->job);
}

void snapshot_sizes_changed(struct core *core)
{
    core->sizes_us = 0;
}

/* Without what is inside. */
static json_t *shown(const json_t *sum)
{
    json_t *object = json_pack("{s:I, s:I}", "count", (json_int_t)json_int(sum, "count", 0),
                               "bytes", (json_int_t)json_int(sum, "bytes", 0));
    ASSERT(object != NULL);
    return object;
}

json_t *snapshot_sizes_of(const struct core *core, const char *processor, uint32_t version)
{
    char name[16];
    const json_t *sum = json_object_get(core->snapshot_sizes, processor);
    if (version == 0) {
        return shown(sum);
    }
    (void)snprintf(name, sizeof name, "%u", version);
    return shown(json_object_get(json_object_get(sum, "versions"), name));
}
