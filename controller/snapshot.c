/* Snapshots: made of a version beside its run, listed, let go. Own header: core_inside.h; how one is made:
 * replayer/snapshot.h; who begins with one: base.c.
 *
 *     job      which there are, what a new one would take, what must go for it
 *     worker   a process that copies and ends; then the request is answered
 *     exit     the newest `keep` without a name stay
 *
 * The rules:
 *  1. One at a time of a processor.
 *  2. By itself (SET snapshot.every): of what serves, when the newest of that version is so old, and when
 *     records came since.
 *  3. snapshot.max_bytes is never passed: the oldest without a name go first, before the new one is made;
 *     when that would not be enough, nothing goes, and it is not made. Nor is it when the disk has less
 *     room than it takes.
 *  4. The process tells that it copies; one that tells nothing for SNAPSHOT_SILENT_US is killed.
 *  5. What a version that is not sealed yet began with stays, named or not. */
#include "controller/core_inside.h"

#include "base/file.h"
#include "base/trace.h"
#include "controller/dry_run.h"
#include "controller/judge.h"
#include "controller/snapshot_files.h"
#include "processor/plan_object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_US  INT64_C(1000000)  /* between looks at what is due */
#define SHOWN_US INT64_C(10000000) /* silent for so long: status says it */

struct core_snapshot {
    struct core_job job;
    struct core_snapshot *next; /* chain of the core */
    void *request;              /* NULL: answered, or made by itself */
    bool due;                   /* made by itself: only if it is due */
    char *data_dir;             /* all owned */
    char *processor;
    char *id;
    char *name;   /* or NULL */
    char *making; /* below versions/ */
    json_t *info; /* for snapshot.json, until the start */
    uint32_t version;
    int64_t used_bytes; /* by the version's pages, or -1 */
    json_t *list;       /* from the job */
    int64_t need_bytes; /* the same: about */
    int64_t disk_free;
    struct child child;
    bool asked; /* the job is done */
    bool made;
    bool given_up; /* it was killed, and that is told */
};

static void snapshot_free(struct core_snapshot *snapshot)
{
    free(snapshot->data_dir);
    free(snapshot->processor);
    free(snapshot->id);
    free(snapshot->name);
    free(snapshot->making);
    json_decref(snapshot->info);
    json_decref(snapshot->list);
    child_free(&snapshot->child);
    free(snapshot);
}

static void snapshot_remove(struct core *core, struct core_snapshot *snapshot)
{
    struct core_snapshot **at = &core->snapshots;
    while (*at != snapshot) {
        at = &(*at)->next;
        ASSERT(*at != NULL);
    }
    *at = snapshot->next;
    snapshot_free(snapshot);
}

/* Nothing came of it. */
static void snapshot_failed(struct core *core, struct core_snapshot *snapshot,
                            const struct err *err)
{
    struct core_processor *processor = core_processor_find(core, snapshot->processor);
    if (snapshot->request != NULL) {
        core_reply(core, snapshot->request, NULL, err);
        snapshot->request = NULL;
        return;
    }
    if (processor == NULL || processor->snapshot_error.code != 0 || core->stopping) {
        return;
    }
    processor->snapshot_error = *err;
    trace(TRACE_WARN, "%s v%u: no snapshot: %s", snapshot->processor, snapshot->version, err->text);
    journal_note(core, "snapshot_failed", snapshot->processor, snapshot->version,
                 json_pack("{s:o}", "error", error_to_json(err)), "%s v%u: no snapshot: %s",
                 snapshot->processor, snapshot->version, err->text);
}

/* ---- What goes ---- */

static bool began_on_the_way(const struct core_version *version)
{
    return version->state == VERSION_PLANNED || version->state == VERSION_PAUSED ||
           version_is_candidate((enum version_state)version->state);
}

/* Does an unsealed version begin with it? If the machine dies it will be asked for again. */
static bool is_needed(const struct core_processor *processor, const json_t *note)
{
    const char *id = json_text(note, "id", "");
    for (uint32_t i = 0; i < processor->version_count; i++) {
        const struct core_version *version = processor->versions[i];
        const json_t *base = json_object_get(version->object, "base");
        if (began_on_the_way(version) && strcmp(json_text(base, "snapshot", ""), id) == 0) {
            return true;
        }
    }
    return false;
}

json_t *snapshots_needed(const struct core_processor *processor)
{
    json_t *needed = json_object();
    for (uint32_t i = 0; i < processor->version_count; i++) {
        const struct core_version *version = processor->versions[i];
        const char *id = json_text(json_object_get(version->object, "base"), "snapshot", NULL);
        if (id != NULL && began_on_the_way(version)) {
            object_set(needed, id, json_true());
        }
    }
    if (processor->version_count == 0) {
        object_set(needed, "", json_null());
    }
    return needed;
}

static bool may_go(const struct core_processor *processor, const json_t *note)
{
    return json_text(note, "name", NULL) == NULL && !is_needed(processor, note);
}

/* Takes its files away, and the note out of the list. */
static int note_remove(struct core *core, const char *processor, json_t *list, size_t index,
                       struct err *err)
{
    char *dir =
        xasprintf("%s/snapshots/%s", processor, json_text(json_array_get(list, index), "id", "?"));
    int rc = core->ops.remove_files(core->ops.ctx, dir, err);
    if (rc == 0) {
        (void)json_array_remove(list, index);
        snapshot_sizes_changed(core);
    }
    free(dir);
    return rc;
}

static uint32_t unnamed(const json_t *list)
{
    uint32_t count = 0;
    size_t i;
    const json_t *note;
    json_array_foreach (list, i, note) {
        count += json_text(note, "name", NULL) == NULL;
    }
    return count;
}

/* Lets the oldest go until at most `keep` without a name are there, and `most` bytes (0: any) hold all of
 * them and `more`. The newest stays when spare_last says so. */
static void trim(struct core *core, const struct core_processor *processor, json_t *list,
                 int64_t keep, int64_t most, int64_t more, bool spare_last)
{
    for (size_t i = 0; i + (spare_last ? 1 : 0) < json_array_size(list);) {
        struct err err = {0};
        bool many = unnamed(list) > keep;
        bool large = most > 0 && snapshot_bytes(list) + more > most;
        bool goes = (many || large) && may_go(processor, json_array_get(list, i));
        if (goes && note_remove(core, processor->name, list, i, &err) == 0) {
            continue;
        }
        i++;
    }
}

/* What those without a name take that may go. */
static int64_t spare_bytes(const struct core_processor *processor, const json_t *list)
{
    int64_t sum = 0;
    size_t i;
    const json_t *note;
    json_array_foreach (list, i, note) {
        sum += may_go(processor, note) ? json_int(note, "bytes", 0) : 0;
    }
    return sum;
}

static double megabytes(int64_t bytes)
{
    return (double)bytes / 1e6;
}

/* Is there room for it? Makes it, if letting others go is enough. */
static int make_room(struct core *core, const struct core_snapshot *snapshot,
                     const struct core_processor *processor, const struct policy *policy,
                     struct err *err)
{
    int64_t most = policy->snapshot_max_bytes;
    int64_t all = snapshot_bytes(snapshot->list) + snapshot->need_bytes;
    int64_t least = all - spare_bytes(processor, snapshot->list);
    if (snapshot->disk_free >= 0 &&
        snapshot->disk_free < snapshot->need_bytes + snapshot->need_bytes / 10) {
        return err_set(err, KE_DISK_FULL,
                       "a snapshot takes about %.1f MB, and the disk has %.1f MB free",
                       megabytes(snapshot->need_bytes), megabytes(snapshot->disk_free));
    }
    if (most > 0 && least > most) {
        int rc = err_set(err, KE_LIMIT,
                         "with another snapshot those of %s would take %.1f MB, more than "
                         "snapshot.max_bytes (%.1f MB)",
                         processor->name, megabytes(least), megabytes(most));
        err_hint(err, "let one with a name go (kappa snapshot %s --drop NAME), or raise the limit",
                 processor->name);
        return rc;
    }
    trim(core, processor, snapshot->list, INT64_MAX, most, snapshot->need_bytes, false);
    return 0;
}

/* ---- The job ---- */

static void snapshot_run(struct core_job *job)
{
    struct core_snapshot *snapshot = container_of(job, struct core_snapshot, job);
    snapshot->list = snapshot_list(snapshot->data_dir, snapshot->processor);
    char *dir =
        xasprintf("%s/versions/%s/%u", snapshot->data_dir, snapshot->processor, snapshot->version);
    int64_t files = (int64_t)file_tree_bytes(dir);
    snapshot->need_bytes = snapshot->used_bytes >= 0 ? i64_min(snapshot->used_bytes, files) : files;
    snapshot->disk_free = dry_run_disk_free(snapshot->data_dir);
    free(dir);
}

/* The newest one of the version, or NULL. */
static const json_t *newest_of(const json_t *list, uint32_t version)
{
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *note = json_array_get(list, i);
        if (json_int(note, "version", 0) == version) {
            return note;
        }
    }
    return NULL;
}

static bool has_moved(const struct core_version *version, const json_t *note)
{
    const json_t *sources = json_object_get(note, "sources");
    if (json_array_size(sources) != version->lag.count) {
        return true;
    }
    for (uint32_t i = 0; i < version->lag.count; i++) {
        if (json_int(json_array_get(sources, i), "next", -1) != version->lag.committed[i]) {
            return true;
        }
    }
    return false;
}

/* By itself: is it time? */
static bool is_due(const struct core *core, const struct core_version *version,
                   const struct policy *policy, const json_t *newest)
{
    int64_t age_ms = core_now_ms(core) - json_int(newest, "made_ms", 0);
    return policy->snapshot_every_us > 0 &&
           (newest == NULL ||
            (age_ms >= policy->snapshot_every_us / 1000 && has_moved(version, newest)));
}

/* 1: not now. */
static int check_again(struct core *core, struct core_snapshot *snapshot, struct err *err)
{
    struct core_processor *processor = core_processor_find(core, snapshot->processor);
    struct core_version *version =
        processor != NULL ? core_version_find(processor, snapshot->version) : NULL;
    if (core->stopping) {
        return err_set(err, KE_CLOSED, "the server is shutting down");
    }
    if (version == NULL || version->dropping) {
        return err_set(err, KE_NOT_FOUND, "v%u of %s is gone", snapshot->version,
                       snapshot->processor);
    }
    struct policy policy;
    settings_read(version->object, &policy);
    const json_t *newest = newest_of(snapshot->list, snapshot->version);
    processor->snapshot_made_ms = newest != NULL ? json_int(newest, "made_ms", 0) : 0;
    processor->snapshots_known = true;
    if (snapshot->due && !is_due(core, version, &policy, newest)) {
        return 1;
    }
    if (snapshot->name != NULL && snapshot_named(snapshot->list, snapshot->name) != NULL) {
        return err_set(err, KE_EXISTS, "%s has a snapshot \"%s\" already", processor->name,
                       snapshot->name);
    }
    return make_room(core, snapshot, processor, &policy, err);
}

static void snapshot_start(struct core *core, struct core_snapshot *snapshot)
{
    char name[LIMIT_NAME_LEN + 32];
    (void)snprintf(name, sizeof name, "%s v%u snapshot", snapshot->processor, snapshot->version);
    char *from =
        xasprintf("%s/versions/%s/%u", core->data_dir, snapshot->processor, snapshot->version);
    char *to =
        xasprintf("%s/versions/%s/snapshots/%s", core->data_dir, snapshot->processor, snapshot->id);
    char *making = xasprintf("%s/versions/%s", core->data_dir, snapshot->making);
    json_t *order = json_pack("{s:s, s:s, s:s, s:s, s:O, s:o}", "do", "copy", "from", from, "to",
                              to, "making", making, "shards",
                              json_object_get(snapshot->info, "shards"), "info", snapshot->info);
    ASSERT(order != NULL);
    snapshot->info = NULL;
    free(from);
    free(to);
    free(making);
    if (!child_start(core, &snapshot->child, name, order) && !core->dead) {
        snapshot_failed(core, snapshot, &snapshot->child.exit);
        snapshot_remove(core, snapshot);
    }
}

static void snapshot_done(struct core *core, struct core_job *job)
{
    struct core_snapshot *snapshot = container_of(job, struct core_snapshot, job);
    if (core == NULL) {
        snapshot_free(snapshot);
        return;
    }
    snapshot->asked = true;
    if (core->dead) {
        return;
    }
    struct err err = {0};
    int rc = check_again(core, snapshot, &err);
    if (rc == 0) {
        snapshot_start(core, snapshot);
        return;
    }
    if (rc < 0) {
        snapshot_failed(core, snapshot, &err);
    }
    snapshot_remove(core, snapshot);
}

/* ---- The process that copies ---- */

struct child *snapshot_child(struct core *core, uint64_t worker, struct core_snapshot **out)
{
    for (struct core_snapshot *at = core->snapshots; at != NULL; at = at->next) {
        if (at->child.id == worker) {
            *out = at;
            return &at->child;
        }
    }
    return NULL;
}

static void snapshot_made(struct core *core, struct core_snapshot *snapshot, json_t *note)
{
    struct core_processor *processor = core_processor_find(core, snapshot->processor);
    struct core_version *version =
        processor != NULL ? core_version_find(processor, snapshot->version) : NULL;
    snapshot->made = true;
    snapshot_sizes_changed(core);
    trace(TRACE_INFO, "%s v%u: snapshot %s, %.1f MB", snapshot->processor, snapshot->version,
          snapshot->id, megabytes(json_int(note, "bytes", 0)));
    journal_note(core, "snapshot", snapshot->processor, snapshot->version,
                 json_pack("{s:s, s:O, s:O}", "snapshot", snapshot->id, "name",
                           json_object_get(note, "name"), "bytes", json_object_get(note, "bytes")),
                 "%s v%u: snapshot %s is made", snapshot->processor, snapshot->version,
                 snapshot->id);
    if (snapshot->request != NULL) {
        core_reply(core, snapshot->request, json_deep_copy(note), NULL);
        snapshot->request = NULL;
    }
    if (processor == NULL) {
        return;
    }
    struct policy policy;
    policy_init(&policy);
    if (version != NULL) {
        settings_read(version->object, &policy);
    }
    processor->snapshot_made_ms = json_int(note, "made_ms", 0);
    processor->snapshot_error.code = 0;
    int rc = json_array_append(snapshot->list, note);
    ASSERT(rc == 0);
    trim(core, processor, snapshot->list, policy.snapshot_keep, policy.snapshot_max_bytes, 0, true);
}

void snapshot_event(struct core *core, struct core_snapshot *snapshot, const json_t *event)
{
    const char *word = json_text(event, "is", "");
    snapshot->child.heard_us = core_now_us(core);
    json_t *note = json_object_get(event, "snapshot");
    if (strcmp(word, "copied") == 0 && !snapshot->made) {
        snapshot_made(core, snapshot, note);
    } else if (strcmp(word, "failed") == 0) {
        error_from_json(json_object_get(event, "error"), &snapshot->child.said);
    }
}

void snapshot_exited(struct core *core, struct core_snapshot *snapshot, const struct err *cause)
{
    if (!snapshot->made) {
        struct err err = *cause;
        struct err trouble = {0};
        err_prefix(&err, "the process that copies");
        if (!snapshot->given_up) {
            snapshot_failed(core, snapshot, &err);
        }
        if (core->ops.remove_files(core->ops.ctx, snapshot->making, &trouble) != 0) {
            trace(TRACE_WARN, "%s is not removed: %s", snapshot->making, trouble.text);
        }
    }
    snapshot_remove(core, snapshot);
}

/* For how long nothing more has come of it. */
static int64_t silence_us(const struct core *core, const struct core_snapshot *snapshot)
{
    const struct child *child = &snapshot->child;
    bool copies = child->phase != CHILD_OFF && !snapshot->made;
    return copies ? core_now_us(core) - i64_max(child->started_us, child->heard_us) : 0;
}

/* Stopped, or waiting for a disk: as long as it is there no other one is made. */
static void watch_silence(struct core *core, struct core_snapshot *snapshot)
{
    int64_t silent_us = silence_us(core, snapshot);
    if (silent_us >= core->snapshot_silent_us && !snapshot->given_up) {
        struct err err = {0};
        snapshot->given_up = true;
        (void)err_set(&err, KE_TIMEOUT,
                      "the process that copies has copied nothing for %lld s: it is killed",
                      (long long)(silent_us / 1000000));
        snapshot_failed(core, snapshot, &err);
        child_stop(core, &snapshot->child, true);
    }
}

json_t *snapshot_trouble(const struct core *core, const struct core_processor *processor)
{
    for (const struct core_snapshot *at = core->snapshots; at != NULL; at = at->next) {
        int64_t silent_us = silence_us(core, at);
        if (silent_us >= SHOWN_US && strcmp(at->processor, processor->name) == 0) {
            struct err err = {0};
            (void)err_set(&err, KE_TIMEOUT,
                          "the process that copies v%u has copied nothing for %lld s; after "
                          "%lld s it is killed",
                          at->version, (long long)(silent_us / 1000000),
                          (long long)(core->snapshot_silent_us / 1000000));
            err_hint(&err, "it may be stopped, or wait for a disk: look at process %d",
                     at->child.pid);
            return error_to_json(&err);
        }
    }
    return error_to_json(&processor->snapshot_error);
}

uint32_t snapshot_workers_left(const struct core *core)
{
    uint32_t left = 0;
    for (const struct core_snapshot *at = core->snapshots; at != NULL; at = at->next) {
        left += at->child.phase != CHILD_OFF ? 1 : 0;
    }
    return left;
}

/* It looks at nothing while it copies, so it is killed: what it leaves behind has no name. */
void snapshot_shutdown(struct core *core)
{
    for (struct core_snapshot *at = core->snapshots; at != NULL; at = at->next) {
        child_stop(core, &at->child, true);
    }
}

/* Those whose job is out are freed by the job. */
void snapshot_close(struct core *core)
{
    struct err err = {0};
    (void)err_set(&err, KE_CLOSED, "the server is shutting down");
    while (core->snapshots != NULL) {
        struct core_snapshot *snapshot = core->snapshots;
        core->snapshots = snapshot->next;
        core_reply(core, snapshot->request, NULL, &err);
        snapshot->request = NULL;
        if (snapshot->asked) {
            snapshot_free(snapshot);
        }
    }
}

/* ---- Requests ---- */

/* One that is made may still be on its way out. */
static struct core_snapshot *under_way(const struct core *core, const char *processor)
{
    struct core_snapshot *at = core->snapshots;
    while (at != NULL && (at->made || strcmp(at->processor, processor) != 0)) {
        at = at->next;
    }
    return at;
}

/* What snapshot.json says besides what is copied: all that a version needs to begin with it. */
static json_t *info_of(const struct core *core, const struct core_version *version, const char *id,
                       const char *name, const char *who)
{
    static const char *const kept[] = {
        "definition", "file",   "hash",     "plugins",           "files",
        "inputs",     "shards", "complete", "complete_since_ms", "start"};
    json_t *info = json_pack("{s:s, s:s, s:i, s:s?, s:s, s:I}", "id", id, "processor",
                             version->processor->name, "version", (int)version->number, "name",
                             name, "who", who, "made_ms", (json_int_t)core_now_ms(core));
    ASSERT(info != NULL);
    for (size_t i = 0; i < array_len(kept); i++) {
        json_t *member = json_object_get(version->object, kept[i]);
        if (member != NULL) {
            object_set(info, kept[i], json_deep_copy(member));
        }
    }
    return info;
}

static void snapshot_begin(struct core *core, void *request, const struct core_version *version,
                           const char *name, const char *who)
{
    struct core_snapshot *snapshot = xcalloc(1, sizeof *snapshot);
    const char *processor = version->processor->name;
    snapshot->job = (struct core_job){.run = snapshot_run, .done = snapshot_done};
    snapshot->request = request;
    snapshot->due = request == NULL;
    snapshot->data_dir = xstrdup(core->data_dir);
    snapshot->processor = xstrdup(processor);
    snapshot->version = version->number;
    snapshot->id = xasprintf("v%u-%lld", version->number, (long long)core_now_ms(core));
    snapshot->name = name != NULL ? xstrdup(name) : NULL;
    snapshot->making = xasprintf("%s/" SNAPSHOT_MAKING "%s", processor, snapshot->id);
    snapshot->info = info_of(core, version, snapshot->id, name, who);
    snapshot->used_bytes =
        child_is_open(&version->child) ? json_int(version->child.stats, "used_bytes", -1) : -1;
    snapshot->next = core->snapshots;
    core->snapshots = snapshot;
    core_run_job(core, &snapshot->job);
}

static int check_name(const char *name, struct err *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t len = strlen(name);
    if (len == 0 || len > LIMIT_NAME_LEN || strspn(name, letters) != len) {
        return err_set(err, KE_INVALID,
                       "a snapshot's name has at most %d letters, digits, '_', '-' and '.'",
                       LIMIT_NAME_LEN);
    }
    return 0;
}

static int check_request(const struct core *core, const struct core_processor *processor,
                         const struct core_version *version, const char *name, struct err *err)
{
    if (version->state == VERSION_PLANNED || version->state == VERSION_ABORTED ||
        version->dropping) {
        return err_set(err, KE_REFUSED, "v%u is %s: it has no files to copy", version->number,
                       state_name(&version_states, version->state));
    }
    if (under_way(core, processor->name) != NULL) {
        return err_set(err, KE_BUSY, "a snapshot of %s is being made", processor->name);
    }
    return name != NULL ? check_name(name, err) : 0;
}

void snapshot_request(struct core *core, void *request, struct core_processor *processor,
                      uint32_t number, const json_t *body)
{
    struct err err = {0};
    const char *name = json_text(body, "name", NULL);
    struct core_version *version =
        number != 0 ? core_version_find(processor, number) : core_serving(processor);
    if (version == NULL && number == 0 && processor->version_count > 0) {
        version = processor->versions[processor->version_count - 1];
    }
    int rc = version == NULL ? core_version_unknown(processor, number, &err)
                             : check_request(core, processor, version, name, &err);
    if (rc == 0) {
        snapshot_begin(core, request, version, name, json_text(body, "who", "api"));
    } else {
        core_reply(core, request, NULL, &err);
    }
}

void snapshot_tick(struct core *core)
{
    for (struct core_snapshot *at = core->snapshots; at != NULL; at = at->next) {
        child_watch(core, &at->child);
        watch_silence(core, at);
    }
    int64_t now = core_now_us(core);
    if (core->stopping || now < core->snapshot_us) {
        return;
    }
    core->snapshot_us = now + LOOK_US;
    for (uint32_t i = 0; i < core->processor_count && !core->dead; i++) {
        struct core_processor *processor = core->processors[i];
        const struct core_version *version = core_serving(processor);
        struct policy policy;
        if (version == NULL || json_object_size(json_object_get(version->object, "policy")) == 0) {
            continue;
        }
        settings_read(version->object, &policy);
        int64_t age_ms = core_now_ms(core) - processor->snapshot_made_ms;
        bool due = !processor->snapshots_known || age_ms >= policy.snapshot_every_us / 1000;
        if (policy.snapshot_every_us > 0 && due && now >= processor->snapshot_us &&
            under_way(core, processor->name) == NULL) {
            /* The next look in any case, also when nothing comes of this one. */
            processor->snapshot_us = now + i64_min(policy.snapshot_every_us, 60 * LOOK_US);
            snapshot_begin(core, NULL, version, NULL, "kappa");
        }
    }
}

/* ---- Listing and letting go ---- */

struct listing {
    struct core_job job;
    void *request;
    char *data_dir;
    char *processor;
    char *drop;   /* the id or name of one to go, or NULL */
    json_t *list; /* from the job */
};

/* The state hash of a definition, as this program sees it; null when it does not compile. */
static json_t *state_json(const json_t *note)
{
    struct err err = {0};
    struct plan *plan = NULL;
    char text[DIGEST_TEXT_LEN + 1];
    if (plan_compile_object(note, &plan, &err) != 0) {
        return json_null();
    }
    digest_format(plan_state_hash(plan), text);
    plan_free(plan);
    return json_string(text);
}

static void listing_run(struct core_job *job)
{
    struct listing *listing = container_of(job, struct listing, job);
    listing->list = snapshot_list(listing->data_dir, listing->processor);
    size_t i;
    json_t *note;
    json_array_foreach (listing->list, i, note) {
        const json_t *before = i > 0 ? json_array_get(listing->list, i - 1) : NULL;
        bool same = before != NULL &&
                    strcmp(json_text(before, "hash", ""), json_text(note, "hash", "")) == 0;
        json_t *state = same ? json_incref(json_object_get(before, "state")) : state_json(note);
        object_set(note, "state", state);
    }
}

static int drop_one(struct core *core, struct listing *listing, json_t **out, struct err *err)
{
    const struct core_processor *processor = core_processor_find(core, listing->processor);
    json_t *note = snapshot_named(listing->list, listing->drop);
    if (note == NULL || processor == NULL) {
        int rc = err_set(err, KE_NOT_FOUND, "%s has no snapshot \"%.100s\"", listing->processor,
                         listing->drop);
        err_hint(err, "kappa snapshots %s lists them", listing->processor);
        return rc;
    }
    if (is_needed(processor, note)) {
        return err_set(err, KE_REFUSED,
                       "a version on its way began with it, and may need it again until it is "
                       "ready");
    }
    *out = json_incref(note);
    object_set(note, "dropped", json_true());
    size_t i = 0;
    while (json_array_get(listing->list, i) != note) {
        i++;
    }
    int rc = note_remove(core, listing->processor, listing->list, i, err);
    if (rc != 0) {
        json_decref(*out);
    }
    return rc;
}

static void listing_done(struct core *core, struct core_job *job)
{
    struct listing *listing = container_of(job, struct listing, job);
    struct err err = {0};
    json_t *body = NULL;
    int rc = 0;
    if (core != NULL && !core->dead && waiters_take(&core->jobs, listing->request)) {
        if (listing->drop != NULL) {
            rc = drop_one(core, listing, &body, &err);
        } else {
            body = json_pack("{s:s, s:O, s:I}", "processor", listing->processor, "snapshots",
                             listing->list, "bytes", (json_int_t)snapshot_bytes(listing->list));
            ASSERT(body != NULL);
        }
        size_t i;
        json_t *note;
        json_array_foreach (listing->list, i, note) {
            (void)json_object_del(note, "definition");
            (void)json_object_del(note, "files");
        }
        if (listing->drop != NULL && rc == 0) {
            (void)json_object_del(body, "definition");
            (void)json_object_del(body, "files");
        }
        core_reply(core, listing->request, body, rc == 0 ? NULL : &err);
    }
    json_decref(listing->list);
    free(listing->data_dir);
    free(listing->processor);
    free(listing->drop);
    free(listing);
}

static void listing_start(struct core *core, void *request, const char *processor, const char *drop)
{
    struct listing *listing = xcalloc(1, sizeof *listing);
    listing->job = (struct core_job){.run = listing_run, .done = listing_done};
    listing->request = request;
    listing->data_dir = xstrdup(core->data_dir);
    listing->processor = xstrdup(processor);
    listing->drop = drop != NULL ? xstrdup(drop) : NULL;
    waiters_add(&core->jobs, request);
    core_run_job(core, &listing->job);
}

void snapshots_request(struct core *core, void *request, const struct core_processor *processor)
{
    listing_start(core, request, processor->name, NULL);
}

void snapshot_drop_request(struct core *core, void *request, const struct core_processor *processor,
                           const json_t *body)
{
    struct err err = {0};
    const char *drop = json_text(body, "snapshot", NULL);
    if (drop == NULL) {
        (void)err_set(&err, KE_INVALID, "it needs \"snapshot\": the id or name of one");
        core_reply(core, request, NULL, &err);
        return;
    }
    listing_start(core, request, processor->name, drop);
}
