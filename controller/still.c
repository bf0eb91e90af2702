/* A swap away from a version whose worker is not running: it cannot be asked to hold, but it stands
 * still anyway. Own header: core_inside.h.
 *
 * While the swap is active its worker is not started (child_reconcile), so what its files say is
 * where it is. They are read in a job; then the swap goes on with the new version alone, which runs
 * at least up to there. Files that cannot be read cannot be served either: then the last position
 * heard of it has to do. */
#include "controller/core_inside.h"

#include "base/trace.h"

#include <stdlib.h>

struct still {
    struct core_job job;
    struct core_ops ops; /* a copy: the job may outlive the core */
    char *processor;     /* owned */
    uint32_t version;
    uint64_t swap;  /* id of the try it was asked for */
    json_t *digest; /* owned */
    int rc;
    struct err err;
};

static void still_run(struct core_job *job)
{
    struct still *still = container_of(job, struct still, job);
    still->rc = still->ops.version_digest(still->ops.ctx, still->processor, still->version,
                                          &still->digest, &still->err);
}

/* The files' positions become the model's. */
static int take_positions(struct core_version *old, const json_t *digest, struct err *err)
{
    const json_t *sources = json_object_get(digest, "sources");
    if (json_array_size(sources) != old->lag.count) {
        return err_set(err, KE_CORRUPT, "its files hold %zu partitions instead of %u",
                       json_array_size(sources), old->lag.count);
    }
    int64_t *next = xcalloc(old->lag.count, sizeof *next);
    for (uint32_t i = 0; i < old->lag.count; i++) {
        next[i] = json_int(json_array_get(sources, i), "next", -1);
    }
    lag_position(&old->lag, next);
    free(next);
    return 0;
}

static void still_done(struct core *core, struct core_job *job)
{
    struct still *still = container_of(job, struct still, job);
    struct core_processor *processor =
        core != NULL && !core->dead ? core_processor_find(core, still->processor) : NULL;
    struct core_swap *swap = processor != NULL ? &processor->swap : NULL;
    if (swap != NULL && swap->active && swap->asking && swap->swap.id == still->swap) {
        int rc = still->rc;
        if (rc == 0) {
            rc = take_positions(swap->old, still->digest, &still->err);
        }
        if (rc != 0) {
            trace(TRACE_WARN, "%s v%u: its position is taken as last heard: %s", processor->name,
                  still->version, still->err.text);
        }
        conduct_prepare(core, processor);
    }
    json_decref(still->digest);
    free(still->processor);
    free(still);
}

void still_ask(struct core *core, struct core_processor *processor)
{
    struct core_swap *swap = &processor->swap;
    lag_position(&swap->old->lag, swap->old->lag.committed);
    if (core->ops.version_digest == NULL) {
        conduct_prepare(core, processor);
        return;
    }
    struct still *still = xcalloc(1, sizeof *still);
    still->job = (struct core_job){.run = still_run, .done = still_done};
    still->ops = core->ops;
    still->processor = xstrdup(processor->name);
    still->version = swap->old->number;
    still->swap = swap->swap.id;
    core_run_job(core, &still->job);
}
