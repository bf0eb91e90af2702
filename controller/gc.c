/* Removing what nobody needs any more: `kappa gc`. Own header: core_inside.h.
 *
 *     request   versions that are retired, aborted or failed, and have been for long enough; of the
 *               retired ones of a processor the newest `keep` stay
 *     job       how large they are; plugins that no version names
 *     done      looked at once more, then dropped as by `kappa drop`; plugins are removed
 *
 * A version that serves, stands by, is paused or on its way is never touched, nor is one whose messages
 * are not all sent. */
#include "controller/core_inside.h"

#include "base/timefmt.h"
#include "base/trace.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLDER_THAN_MS INT64_C(3600000) /* when nothing is said */
#define KEEP          1
#define PLUGIN_MS     INT64_C(3600000) /* a younger file may belong to a deploy under way */

struct gc {
    struct core_job job;
    void *request;
    char *data_dir;
    char *processor; /* only this one; or NULL */
    bool dry;
    int64_t older_than_ms;
    int64_t keep;
    int64_t now_ms;
    json_t *versions; /* to go: items of the answer */
    json_t *kept;     /* the same, with why */
    json_t *named;    /* {hash: true}: plugins that versions name */
    json_t *plugins;  /* to go: items of the answer */
};

static void gc_free(struct gc *gc)
{
    free(gc->data_dir);
    free(gc->processor);
    json_decref(gc->versions);
    json_decref(gc->kept);
    json_decref(gc->named);
    json_decref(gc->plugins);
    free(gc);
}

/* ---- The rules ---- */

static bool is_over(const struct core_version *version)
{
    return (version->state == VERSION_RETIRED || version->state == VERSION_ABORTED ||
            version->state == VERSION_FAILED) &&
           !version->dropping && !conduct_involves(version);
}

/* Why it stays; code 0: it may go. newer: retired versions of the processor that are newer. */
static void judge(const struct gc *gc, struct core_version *version, int64_t newer, struct err *err)
{
    int64_t since = json_int(version->object, "state_since_ms", gc->now_ms);
    char text[TIME_TEXT_LEN];
    if (outputs_may_drop(version, err) != 0) {
        return;
    }
    if (version->state == VERSION_RETIRED && newer < gc->keep) {
        (void)err_set(err, KE_REFUSED, "one of the newest %lld retired versions",
                      (long long)gc->keep);
    } else if (gc->now_ms - since < gc->older_than_ms) {
        duration_format((gc->now_ms - since) * 1000, text);
        (void)err_set(err, KE_REFUSED, "only %s for %s",
                      state_name(&version_states, version->state), text);
    }
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

static void look_at_processor(const struct gc *gc, struct core_processor *processor)
{
    int64_t newer = 0;
    for (uint32_t i = processor->version_count; i-- > 0;) {
        struct core_version *version = processor->versions[i];
        struct err stays = {0};
        if (!is_over(version)) {
            continue;
        }
        judge(gc, version, newer, &stays);
        newer += version->state == VERSION_RETIRED;
        append(stays.code != 0 ? gc->kept : gc->versions,
               item_of(version, stays.code != 0 ? stays.text : NULL));
    }
}

/* Anew, from the model. */
static void look(struct gc *gc, struct core *core)
{
    json_decref(gc->versions);
    json_decref(gc->kept);
    json_decref(gc->named);
    gc->versions = json_array();
    gc->kept = json_array();
    gc->named = json_object();
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *processor = core->processors[i];
        if (gc->processor == NULL || strcmp(gc->processor, processor->name) == 0) {
            look_at_processor(gc, processor);
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
}

/* ---- The job: sizes ---- */

static _Thread_local int64_t tree_bytes;

static int add_size(const char *path, const struct stat *stat_of, int kind, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    tree_bytes += kind == FTW_F ? (int64_t)stat_of->st_blocks * 512 : 0;
    return 0;
}

static int64_t size_of_tree(const char *path)
{
    tree_bytes = 0;
    (void)nftw(path, add_size, 16, FTW_PHYS);
    return tree_bytes;
}

static int64_t allocated(const struct stat *stat_of)
{
    return (int64_t)stat_of->st_blocks * 512;
}

/* "HASH.so" that no version names, and old enough. */
static void plugin_look(struct gc *gc, const char *name)
{
    struct stat stat_of;
    const char *dot = strrchr(name, '.');
    char *hash = xstrndup(name, dot == NULL ? 0 : (size_t)(dot - name));
    char *path = xasprintf("%s/plugins/%s", gc->data_dir, name);
    bool plugin = dot != NULL && strcmp(dot, ".so") == 0 && stat(path, &stat_of) == 0 &&
                  S_ISREG(stat_of.st_mode);
    if (plugin && json_object_get(gc->named, hash) == NULL &&
        gc->now_ms - (int64_t)stat_of.st_mtime * 1000 > PLUGIN_MS) {
        json_int_t bytes = allocated(&stat_of);
        append(gc->plugins, json_pack("{s:s, s:I}", "file", name, "bytes", bytes));
    }
    free(hash);
    free(path);
}

static void gc_run(struct core_job *job)
{
    struct gc *gc = container_of(job, struct gc, job);
    size_t i;
    json_t *item;
    json_array_foreach (gc->versions, i, item) {
        char *path =
            xasprintf("%s/versions/%s/%lld", gc->data_dir, json_text(item, "processor", ""),
                      (long long)json_int(item, "version", 0));
        object_set(item, "bytes", json_integer(size_of_tree(path)));
        free(path);
    }
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

/* ---- Acting ---- */

/* What was found before and may still go. */
static void drop_versions(struct core *core, const json_t *found, const json_t *now)
{
    size_t i;
    json_t *item;
    json_array_foreach (found, i, item) {
        const char *name = json_text(item, "processor", "");
        uint32_t number = (uint32_t)json_int(item, "version", 0);
        bool still = false;
        for (size_t k = 0; k < json_array_size(now); k++) {
            const json_t *other = json_array_get(now, k);
            still = still || (strcmp(json_text(other, "processor", ""), name) == 0 &&
                              json_int(other, "version", 0) == number);
        }
        struct core_processor *processor = core_processor_find(core, name);
        struct core_version *version =
            processor != NULL ? core_version_find(processor, number) : NULL;
        if (still && version != NULL) {
            version->dropping = true;
            version_advance(core, version);
        }
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
        if (json_object_get(gc->named, hash) == NULL && unlink(path) != 0) {
            trace(TRACE_WARN, "%s is not removed: %s", path, strerror(errno));
        }
        free(hash);
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

static void gc_done(struct core *core, struct core_job *job)
{
    struct gc *gc = container_of(job, struct gc, job);
    if (core == NULL || core->dead || !waiters_take(&core->jobs, gc->request)) {
        gc_free(gc);
        return;
    }
    json_t *found = json_incref(gc->versions);
    if (!gc->dry && !core->stopping) {
        look(gc, core);
        drop_versions(core, found, gc->versions);
        remove_plugins(gc);
    }
    json_int_t bytes = sum_bytes(found) + sum_bytes(gc->plugins);
    json_t *body = json_pack("{s:b, s:O, s:O, s:O, s:I}", "dry_run", gc->dry, "versions", found,
                             "kept", gc->kept, "plugins", gc->plugins, "bytes", bytes);
    ASSERT(body != NULL);
    core_reply(core, gc->request, body, NULL);
    json_decref(found);
    gc_free(gc);
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
    struct gc *gc = xcalloc(1, sizeof *gc);
    gc->job = (struct core_job){.run = gc_run, .done = gc_done};
    gc->request = request;
    gc->data_dir = xstrdup(core->data_dir);
    gc->processor = processor != NULL ? xstrdup(processor) : NULL;
    gc->dry = json_bool(body, "dry_run", false);
    gc->older_than_ms = older_than_ms;
    gc->keep = keep;
    gc->now_ms = core_now_ms(core);
    gc->plugins = json_array();
    look(gc, core);
    waiters_add(&core->jobs, request);
    core_run_job(core, &gc->job);
}
