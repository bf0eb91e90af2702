/* What a plugin may do wrong without dying of it: not return, or take ever more memory. Own header:
 * worker_inside.h.
 *
 * The main thread looks; the shard's thread is in the plugin and cannot be stopped. So a worker that
 * finds it says why and exits at once, uncommitted: its rows are as of the last commit.
 *
 * KAPPA_STEP_SECONDS: another limit than 30 s, for tests. */
#include "replayer/worker_inside.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#define STEP_MAX_S    30
#define MEMORY_BESIDE ((uint64_t)1 << 30) /* beside three times the cache's budget */

static int64_t step_max_s(void)
{
    const char *text = getenv("KAPPA_STEP_SECONDS");
    long given = text == NULL ? 0 : strtol(text, NULL, 10);
    return given > 0 ? given : STEP_MAX_S;
}

bool worker_runs_away(const struct worker *w, struct err *err)
{
    if (w->plugins == NULL) {
        return false;
    }
    const char *file = w->plan->plugins[0].file;
    int64_t now = clock_mono_us(clock_real());
    int64_t most_s = step_max_s();
    for (uint32_t i = 0; i < w->shard_count; i++) {
        int64_t since = atomic_load(&w->shards[i].step_us);
        if (since != 0 && now - since > most_s * 1000000) {
            (void)err_set(err, KE_REFUSED, "plugin %s does not return: a step takes more than %d s",
                          file, (int)most_s);
            err_hint(err, "mend it and deploy it again; tables are as of the last commit");
            return true;
        }
    }
    uint64_t most = 3 * (uint64_t)w->open.cache_bytes + MEMORY_BESIDE;
    uint64_t taken = worker_rss_bytes();
    if (taken > most) {
        (void)err_set(err, KE_REFUSED,
                      "a worker with the plugin %s has taken %" PRIu64 " MiB, it may take %" PRIu64,
                      file, taken >> 20, most >> 20);
        err_hint(err, "what a plugin keeps belongs into put(); memory of its own must not grow");
        return true;
    }
    return false;
}
