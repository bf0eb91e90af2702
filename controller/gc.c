/* Removing what nobody needs any more: `kappa gc`, and the disk budget. Own header: core_inside.h.
 *
 *     request   versions that are over (retired, aborted or failed), and have been for long enough; of the
 *               retired ones of a processor the newest `keep` stay
 *     job       how large all is; what more must go for the budget; plugins that no version names
 *     done      looked at once more, then dropped as by `kappa drop`; plugins are removed
 *
 * The rules:
 *  1. A version that serves, stands by, is paused or on its way is never touched, nor is one whose
 *     messages are not all sent.
 *  2. On request: what has been over for `older_than`, but for the newest `keep` retired ones.
 *  3. With a budget (kappa up --disk-budget), on request and by itself: while what lies below
 *     DATA/versions takes more, snapshots without a name go, the oldest first, for they only save time;
 *     then what is over, whatever its age: first aborted ones, then failed ones, then retired ones; of each
 *     kind those first that have been so for longest. On request, snapshots without a name also go when
 *     their processor has no version left. One that a version on its way began with stays.
 *  4. When that is not enough, it is told once (event over_budget). Nothing else is done: a server that
 *     stops reading or serving helps nobody.
 *  5. Trash is what was dropped already; the server frees it by itself, at once and when it starts. */
#include "controller/core_inside.h"

#include "base/file.h"
#include "base/timefmt.h"
#include "base/trace.h"
#include "controller/datadir.h"
#include "controller/snapshot_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLDER_THAN_MS INT64_C(3600000) /* when nothing is said */
#define KEEP          1
#define PLUGIN_MS     INT64_C(3600000)  /* a younger file may belong to a deploy under way */
#define BUDGET_US     INT64_C(10000000) /* between looks at the budget */

struct gc {
    struct core_job job;
    void *request; /* NULL: the server itself, for the budget */
    char *data_dir;
    char *processor; /* only this one; or NULL */
    bool dry;
    int64_t older_than_ms;
    int64_t keep;
    int64_t now_ms;
    json_t *versions;  /* to go: items of the answer */
    json_t *kept;      /* the same, with why they stay */
    json_t *spare;     /* of those, what the budget may take, in that order */
    int64_t budget;    /* bytes; 0: none */
    int64_t used;      /* by all versions' files, with the trash */
    int64_t trash;     /* of that */
    json_t *named;     /* {hash: true}: plugins that versions name */
    json_t *plugins;   /* to go: items of the answer */
    json_t *needed;    /* {processor: [id]}: snapshots that stay; {}: it has no versions */
    json_t *snapshots; /* to go: items of the answer */
    int64_t snapshot_count, snapshot_bytes; /* of all that there are, a part of `used` */
};

static void gc_free(struct gc *gc)
{
    free(gc->data_dir);
    free(gc->processor);
    json_decref(gc->versions);
    json_decref(gc->kept);
    json_decref(gc->spare);
    json_decref(gc->named);
    json_decref(gc->plugins);
    json_decref(gc->needed);
    json_decref(gc->snapshots);
    free(gc);
}

/* ---- The rules ---- */

static bool is_over(const struct core_version *version)
{
    return (version->state == VERSION_RETIRED || version->state == VERSION_ABORTED ||
            version->state == VERSION_FAILED) &&
           !version->dropping && !conduct_involves(version);
}

/* Why it stays by the rules of age; code 0: it may go. newer: retired versions of the processor that are
 * newer. */
static void judge(const struct gc *gc, const struct core_version *version, int64_t newer,
                  struct err *err)
{
    int64_t since = json_int(version->object, "state_since_ms", gc->now_ms);
    char text[TIME_TEXT_LEN];
    if (version->state == VERSION_RETIRED && newer < gc->keep) {
        (void)err_set(err, KE_REFUSED, "one of the newest %lld retired versions",
                      (long long)gc->keep);
    } else if (gc->now_ms - since < gc->older_than_ms) {
        duration_format((gc->now_ms - since) * 1000, text);
        (void)err_set(err, KE_REFUSED, "only %s for %s",
                      state_name(&version_states, version->state), text);
    }
}

/* For the budget: which of two goes first. */
static bool goes_before(const struct core_version *a, const struct core_version *b)
{
    static const int rank[VERSION_STATE_COUNT] = {
        [VERSION_ABORTED] = 1, [VERSION_FAILED] = 2, [VERSION_RETIRED] = 3};
    int order = rank[a->state] - rank[b->state];
    int64_t since_a = json_int(a->object, "state_since_ms", 0);
    int64_t since_b = json_int(b->object, "state_since_ms", 0);
    return order != 0 ? order < 0 : since_a < since_b;
}

static json_t *item_of(const struct core_version *version, const char *why)
{
    char time[TIME_TEXT_LEN];
    time_format(json_int(version->object, "state_since_ms", 0) * 1000, time);
    json_t *item =
        json_pack("{s:s, s:I, s:s, s:s, s:s*}", "processor", version->processor->name, "version",
                  (json_int_t)version->number, "state", state_name(&version_states, version->state),
                  "since", time, "why", why);
    ASSERT(item != NULL);
    return item;
}

static void append(json_t *list, json_t *item)
{
    int rc = json_array_append_new(list, item);
    ASSERT(rc == 0);
}

/* Into gc->spare, at its place. spares: the versions of its items. */
static void spare_add(const struct gc *gc, const struct core_version **spares,
                      const struct core_version *version, json_t *item)
{
    size_t at = json_array_size(gc->spare);
    for (; at > 0 && goes_before(version, spares[at - 1]); at--) {
        spares[at] = spares[at - 1];
    }
    spares[at] = version;
    int rc = json_array_insert(gc->spare, at, item);
    ASSERT(rc == 0);
}

static void look_at_processor(const struct gc *gc, struct core_processor *processor,
                              const struct core_version **spares)
{
    int64_t newer = 0;
    for (uint32_t i = processor->version_count; i-- > 0;) {
        struct core_version *version = processor->versions[i];
        struct err stays = {0};
        char text[TIME_TEXT_LEN];
        if (!is_over(version)) {
            continue;
        }
        bool bound = outputs_may_drop(version, &stays) != 0;
        if (!bound) {
            judge(gc, version, newer, &stays);
        }
        newer += version->state == VERSION_RETIRED;
        if (stays.code == 0) {
            int64_t since = json_int(version->object, "state_since_ms", gc->now_ms);
            duration_format((gc->now_ms - since) * 1000, text);
            (void)snprintf(stays.text, sizeof stays.text, "%s for %s",
                           state_name(&version_states, version->state), text);
        }
        json_t *item = item_of(version, stays.text);
        append(stays.code != 0 ? gc->kept : gc->versions, item);
        if (stays.code != 0 && !bound) {
            spare_add(gc, spares, version, item);
        }
    }
}

/* Anew, from the model. */
static void look(struct gc *gc, struct core *core)
{
    json_decref(gc->versions);
    json_decref(gc->kept);
    json_decref(gc->spare);
    json_decref(gc->named);
    json_decref(gc->needed);
    gc->needed = json_object();
    gc->versions = json_array();
    gc->kept = json_array();
    gc->spare = json_array();
    gc->named = json_object();
    uint32_t count = 0;
    for (uint32_t i = 0; i < core->processor_count; i++) {
        count += core->processors[i]->version_count;
    }
    const struct core_version **spares = xcalloc(count + 1, sizeof(struct core_version *));
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *processor = core->processors[i];
        if (gc->processor == NULL || strcmp(gc->processor, processor->name) == 0) {
            look_at_processor(gc, processor, spares);
            object_set(gc->needed, processor->name, snapshots_needed(processor));
        }
        for (uint32_t k = 0; k < processor->version_count; k++) {
            const char *file;
            json_t *hash;
            json_object_foreach (json_object_get(processor->versions[k]->object, "plugins"), file,
                                 hash) {
                object_set(gc->named, json_string_value(hash), json_true());
            }
        }
    }
    free(spares);
}

/* ---- The job: sizes ---- */

static int64_t allocated(const struct stat *stat_of)
{
    return (int64_t)stat_of->st_blocks * 512;
}

/* Is it a file that has been there for long? */
static bool plugin_is_old(const struct gc *gc, const char *path, struct stat *stat_of)
{
    return stat(path, stat_of) == 0 && S_ISREG(stat_of->st_mode) &&
           gc->now_ms - (int64_t)stat_of->st_mtime * 1000 > PLUGIN_MS;
}

/* "HASH.so" that no version names, and old enough. */
static void plugin_look(struct gc *gc, const char *name)
{
    struct stat stat_of;
    const char *dot = strrchr(name, '.');
    char *hash = xstrndup(name, dot == NULL ? 0 : (size_t)(dot - name));
    char *path = xasprintf("%s/plugins/%s", gc->data_dir, name);
    if (dot != NULL && strcmp(dot, ".so") == 0 && json_object_get(gc->named, hash) == NULL &&
        plugin_is_old(gc, path, &stat_of)) {
        json_int_t bytes = allocated(&stat_of);
        append(gc->plugins, json_pack("{s:s, s:I}", "file", name, "bytes", bytes));
    }
    free(hash);
    free(path);
}

static void sizes_of(const struct gc *gc, json_t *list)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        char *path =
            xasprintf("%s/versions/%s/%lld", gc->data_dir, json_text(item, "processor", ""),
                      (long long)json_int(item, "version", 0));
        object_set(item, "bytes", json_integer((json_int_t)file_tree_bytes(path)));
        free(path);
    }
}

static int64_t sum_bytes(const json_t *list)
{
    int64_t sum = 0;
    size_t i;
    const json_t *item;
    json_array_foreach (list, i, item) {
        sum += json_int(item, "bytes", 0);
    }
    return sum;
}

/* What will be left of `used` when all that is to go has gone. */
static int64_t left_of(const struct gc *gc)
{
    return i64_max(0, gc->used - gc->trash - sum_bytes(gc->versions) - sum_bytes(gc->snapshots));
}

static double megabytes(int64_t bytes)
{
    return (double)bytes / 1e6;
}

/* Moves from the kept to those to go what the budget asks for. */
static void budget_take(struct gc *gc)
{
    size_t i;
    json_t *item;
    json_array_foreach (gc->spare, i, item) {
        int64_t left = left_of(gc);
        if (gc->budget == 0 || left <= gc->budget) {
            return;
        }
        if (json_int(item, "bytes", 0) == 0) { /* it would not help */
            continue;
        }
        char *why = xasprintf("the disk budget of %.1f MB is exceeded by %.1f MB",
                              megabytes(gc->budget), megabytes(left - gc->budget));
        object_set(item, "why", json_string(why));
        free(why);
        append(gc->versions, json_incref(item));
        for (size_t k = json_array_size(gc->kept); k-- > 0;) {
            if (json_array_get(gc->kept, k) == item) {
                (void)json_array_remove(gc->kept, k);
            }
        }
    }
}

/* Into the list of those that may go, the oldest first. */
static void snapshots_of(struct gc *gc, const char *processor, const json_t *needed, json_t *spare)
{
    json_t *list = snapshot_list(gc->data_dir, processor);
    gc->snapshot_count += (int64_t)json_array_size(list);
    gc->snapshot_bytes += snapshot_bytes(list);
    size_t i;
    json_t *note;
    json_array_foreach (list, i, note) {
        size_t at = json_array_size(spare);
        int64_t made = json_int(note, "made_ms", 0);
        const char *id = json_text(note, "id", "");
        if (json_text(note, "name", NULL) != NULL || json_object_get(needed, id) != NULL) {
            continue;
        }
        while (at > 0 && json_int(json_array_get(spare, at - 1), "made_ms", 0) > made) {
            at--;
        }
        int rc = json_array_insert_new(spare, at,
                                       json_pack("{s:s, s:s, s:I, s:O}", "processor", processor,
                                                 "snapshot", id, "made_ms", (json_int_t)made,
                                                 "bytes", json_object_get(note, "bytes")));
        ASSERT(rc == 0);
    }
    json_decref(list);
}

static void look_at_snapshots(struct gc *gc)
{
    json_t *spare = json_array();
    const char *processor;
    json_t *needed;
    json_object_foreach (gc->needed, processor, needed) {
        snapshots_of(gc, processor, needed, spare);
    }
    size_t i;
    json_t *item;
    json_array_foreach (spare, i, item) {
        needed = json_object_get(gc->needed, json_text(item, "processor", ""));
        bool nobody = gc->request != NULL && json_is_null(json_object_get(needed, ""));
        int64_t over = gc->budget > 0 ? left_of(gc) - gc->budget : 0;
        if (nobody || over > 0) {
            char *why = nobody ? xstrdup("its processor has no version left")
                               : xasprintf("the disk budget of %.1f MB is exceeded by %.1f MB",
                                           megabytes(gc->budget), megabytes(over));
            object_set(item, "why", json_string(why));
            append(gc->snapshots, json_incref(item));
            free(why);
        }
    }
    json_decref(spare);
}

static void look_at_trash(struct gc *gc, const char *versions)
{
    DIR *dir = opendir(versions);
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL;
         entry = readdir(dir)) {
        if (strncmp(entry->d_name, DATADIR_TRASH, strlen(DATADIR_TRASH)) == 0) {
            char *path = xasprintf("%s/%s", versions, entry->d_name);
            gc->trash += (int64_t)file_tree_bytes(path);
            free(path);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

static void look_at_plugins(struct gc *gc)
{
    char *path = xasprintf("%s/plugins", gc->data_dir);
    DIR *dir = gc->processor == NULL ? opendir(path) : NULL;
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL;
         entry = readdir(dir)) {
        plugin_look(gc, entry->d_name);
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    free(path);
}

static void gc_run(struct core_job *job)
{
    struct gc *gc = container_of(job, struct gc, job);
    char *versions = xasprintf("%s/versions", gc->data_dir);
    sizes_of(gc, gc->versions);
    sizes_of(gc, gc->kept);
    look_at_trash(gc, versions); /* first: trash that goes meanwhile drops no version */
    gc->used = (int64_t)file_tree_bytes(versions);
    look_at_snapshots(gc);
    budget_take(gc);
    if (gc->request != NULL) {
        look_at_plugins(gc);
    }
    free(versions);
}

/* ---- Acting ---- */

/* What was found before and may still go. */
static void drop_versions(struct core *core, const json_t *found)
{
    size_t i;
    json_t *item;
    json_array_foreach (found, i, item) {
        struct err none = {0};
        struct core_processor *processor =
            core_processor_find(core, json_text(item, "processor", ""));
        struct core_version *version =
            processor != NULL ? core_version_find(processor, (uint32_t)json_int(item, "version", 0))
                              : NULL;
        if (version != NULL && is_over(version) && outputs_may_drop(version, &none) == 0) {
            trace(TRACE_INFO, "%s v%u goes: %s", processor->name, version->number,
                  json_text(item, "why", ""));
            version->dropping = true;
            version_advance(core, version);
        }
    }
}

static void remove_snapshots(struct core *core, const struct gc *gc)
{
    size_t i;
    json_t *item;
    snapshot_sizes_changed(core);
    json_array_foreach (gc->snapshots, i, item) {
        const char *processor = json_text(item, "processor", "");
        const char *id = json_text(item, "snapshot", "");
        const json_t *needed = json_object_get(gc->needed, processor); /* as of now */
        struct err err = {0};
        char *dir = xasprintf("%s/snapshots/%s", processor, id);
        if (json_object_get(needed, id) == NULL &&
            core->ops.remove_files(core->ops.ctx, dir, &err) != 0) {
            trace(TRACE_WARN, "the snapshot %s is not removed: %s", dir, err.text);
        }
        free(dir);
    }
}

static void remove_plugins(const struct gc *gc)
{
    size_t i;
    json_t *item;
    json_array_foreach (gc->plugins, i, item) {
        const char *name = json_text(item, "file", "");
        char *hash = xstrndup(name, strcspn(name, "."));
        char *path = xasprintf("%s/plugins/%s", gc->data_dir, name);
        struct stat now; /* a deploy that came meanwhile makes it young */
        if (json_object_get(gc->named, hash) == NULL && plugin_is_old(gc, path, &now) &&
            unlink(path) != 0) {
            trace(TRACE_WARN, "%s is not removed: %s", path, strerror(errno));
        }
        free(hash);
        free(path);
    }
}

/* That nothing more can go is told once. */
static void tell_budget(struct core *core, const struct gc *gc)
{
    int64_t left = left_of(gc);
    bool over = gc->budget > 0 && left > gc->budget;
    if (over && !core->gc_over) {
        struct err err = {0};
        (void)err_set(
            &err, KE_DISK_FULL,
            "versions take %.1f MB, the disk budget is %.1f MB, and no more of them is over",
            megabytes(left), megabytes(gc->budget));
        err_hint(&err, "abort candidates that nobody needs, let standby times be shorter "
                       "(SET swap.standby), or start the server with a larger --disk-budget");
        trace(TRACE_WARN, "%s", err.text);
        journal_note(core, "over_budget", NULL, 0, json_pack("{s:o}", "error", error_to_json(&err)),
                     "%s", err.text);
    }
    core->gc_over = over;
}

static json_t *answer_make(const struct gc *gc)
{
    json_int_t bytes = sum_bytes(gc->versions) + sum_bytes(gc->plugins) + sum_bytes(gc->snapshots);
    json_int_t left = left_of(gc);
    json_t *body =
        json_pack("{s:b, s:O, s:O, s:O, s:O, s:I, s:I, s:I, s:I, s:o, s:{s:I, s:I}}", "dry_run",
                  gc->dry, "versions", gc->versions, "kept", gc->kept, "plugins", gc->plugins,
                  "snapshots", gc->snapshots, "bytes", bytes, "used", (json_int_t)gc->used, "trash",
                  (json_int_t)gc->trash, "left", left, "budget",
                  gc->budget > 0 ? json_integer(gc->budget) : json_null(), "snapshots_used",
                  "count", (json_int_t)gc->snapshot_count, "bytes", (json_int_t)gc->snapshot_bytes);
    ASSERT(body != NULL);
    return body;
}

static void gc_done(struct core *core, struct core_job *job)
{
    struct gc *gc = container_of(job, struct gc, job);
    if (core != NULL && gc->request == NULL) {
        core->gc_out = false;
    }
    if (core == NULL || core->dead ||
        (gc->request != NULL && !waiters_take(&core->jobs, gc->request))) {
        gc_free(gc);
        return;
    }
    json_t *body = answer_make(gc);
    if (!gc->dry && !core->stopping) {
        json_t *found = json_incref(gc->versions);
        tell_budget(core, gc);
        look(gc, core); /* which plugins are named now */
        drop_versions(core, found);
        remove_snapshots(core, gc);
        remove_plugins(gc);
        json_decref(found);
    }
    if (gc->request != NULL) {
        core_reply(core, gc->request, body, NULL);
    } else {
        json_decref(body);
    }
    gc_free(gc);
}

static struct gc *gc_new(struct core *core)
{
    struct gc *gc = xcalloc(1, sizeof *gc);
    gc->job = (struct core_job){.run = gc_run, .done = gc_done};
    gc->data_dir = xstrdup(core->data_dir);
    gc->now_ms = core_now_ms(core);
    gc->budget = core->disk_budget;
    gc->plugins = json_array();
    gc->snapshots = json_array();
    return gc;
}

void gc_tick(struct core *core)
{
    if (core->disk_budget == 0 || core->gc_out || core->stopping ||
        core_now_us(core) < core->gc_us) {
        return;
    }
    struct gc *gc = gc_new(core);
    gc->older_than_ms = INT64_MAX; /* nothing goes for its age */
    look(gc, core);
    core->gc_out = true;
    core->gc_us = core_now_us(core) + BUDGET_US;
    core_run_job(core, &gc->job);
}

static int check_member(const json_t *body, const char *name, int64_t fallback, int64_t *out,
                        struct err *err)
{
    const json_t *member = json_object_get(body, name);
    *out = member == NULL ? fallback : json_integer_value(member);
    return member == NULL || (json_is_integer(member) && *out >= 0)
               ? 0
               : err_set(err, KE_INVALID, "\"%s\" must be a whole number from 0 on", name);
}

void gc_request(struct core *core, void *request, const json_t *body)
{
    struct err err = {0};
    int64_t older_than_ms = 0;
    int64_t keep = 0;
    const char *processor = json_text(body, "processor", NULL);
    int rc = check_member(body, "older_than_ms", OLDER_THAN_MS, &older_than_ms, &err);
    if (rc == 0) {
        rc = check_member(body, "keep", KEEP, &keep, &err);
    }
    if (rc == 0 && processor != NULL && core_processor_find(core, processor) == NULL) {
        rc = core_processor_unknown(core, processor, &err);
    }
    if (rc != 0) {
        core_reply(core, request, NULL, &err);
        return;
    }
    struct gc *gc = gc_new(core);
    gc->request = request;
    gc->processor = processor != NULL ? xstrdup(processor) : NULL;
    gc->dry = json_bool(body, "dry_run", false);
    gc->older_than_ms = older_than_ms;
    gc->keep = keep;
    look(gc, core);
    waiters_add(&core->jobs, request);
    core_run_job(core, &gc->job);
}
