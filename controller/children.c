/* Worker processes as the brain sees them: what should run, runs; what should not, ends. Own header:
 * core_inside.h.
 *
 * Nothing here is told to start or stop a version's worker: child_reconcile compares what the
 * version's state asks for with what there is, so a crash between a decision and its execution is
 * made up by the next look. A child that ends unasked comes back after a backoff that doubles from
 * 100 ms to 10 s and starts anew after 30 s of health; one that said that it cannot go on does not
 * come back (`blocked`). */
#include "controller/core_inside.h"

#include "base/trace.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- One child ---- */

bool child_is_open(const struct child *child)
{
    return child->phase == CHILD_OPEN;
}

void child_free(struct child *child)
{
    json_decref(child->stats);
    child->stats = NULL;
}

void child_send(struct core *core, struct child *child, json_t *message)
{
    if (child->phase == CHILD_STARTING || child->phase == CHILD_OPEN) {
        if (!core_dies(core, "send")) {
            core->ops.worker_send(core->ops.ctx, child->id, message);
        }
    }
    json_decref(message);
}

void child_send_cut(struct core *core, struct core_version *version, const struct swap *swap,
                    enum swap_side side)
{
    int64_t *cut = xcalloc(version->lag.count, sizeof *cut);
    swap_cut_of(swap, side, cut);
    json_t *message = json_pack("{s:s, s:I, s:o}", "do", "run_to", "id", (json_int_t)swap->id,
                                "cut", lag_offsets_json(cut, version->lag.count));
    ASSERT(message != NULL);
    child_send(core, &version->child, message);
    free(cut);
}

void child_send_word(struct core *core, struct child *child, const char *word)
{
    json_t *message = json_pack("{s:s}", "do", word);
    ASSERT(message != NULL);
    child_send(core, child, message);
}

/* The next start is later than the last one was. */
void child_back_off(struct core *core, struct child *child)
{
    child->backoff_us = child->backoff_us == 0
                            ? START_BACKOFF_US
                            : i64_min(2 * child->backoff_us, START_BACKOFF_US_MAX);
    child->start_us = core_now_us(core) + child->backoff_us;
}

bool child_start(struct core *core, struct child *child, const char *name, json_t *open)
{
    ASSERT(child->phase == CHILD_OFF);
    if (core_dies(core, "start")) {
        json_decref(open);
        return false;
    }
    uint64_t id = ++core->last_id;
    struct err err = {0};
    int pid = core->ops.worker_start(core->ops.ctx, id, name, &err);
    if (pid < 0) {
        trace(TRACE_WARN, "%s: its worker did not start: %s", name, err.text);
        child->exit = err;
        child_back_off(core, child);
        json_decref(open);
        return false;
    }
    child->id = id;
    child->pid = pid;
    child->phase = CHILD_STARTING;
    child->started_us = core_now_us(core);
    child->sealed = false;
    child->seal_sent = false;
    child->said.code = 0;
    child_send(core, child, open);
    return true;
}

void child_stop(struct core *core, struct child *child, bool kill)
{
    if (child->phase == CHILD_OFF || core->dead) {
        return;
    }
    child->phase = CHILD_STOPPING;
    child->kill_us = core_now_us(core) + STOP_US_MAX;
    core->ops.worker_stop(core->ops.ctx, child->id, kill);
}

int64_t child_silence_us(const struct core *core, const struct child *child)
{
    int64_t now = core_now_us(core);
    if (child->phase == CHILD_STARTING) {
        return now - child->started_us >= OPENING_US ? now - child->started_us : 0;
    }
    return child->phase == CHILD_OPEN && now - child->heard_us >= SILENT_US ? now - child->heard_us
                                                                            : 0;
}

void child_kill(struct core *core, const struct child *child)
{
    if (child->phase != CHILD_OFF && !core->dead) {
        core->ops.worker_stop(core->ops.ctx, child->id, true);
    }
}

void child_watch(struct core *core, struct child *child)
{
    if (child->phase == CHILD_STOPPING && core_now_us(core) >= child->kill_us) {
        trace(TRACE_WARN, "worker %d does not end: killed", child->pid);
        child_stop(core, child, true);
    }
}

/* ---- The child of a version ---- */

static void add_sources(json_t *sources, const char *topic, uint32_t input, int64_t partitions,
                        const json_t *start)
{
    for (int64_t partition = 0; partition < partitions; partition++) {
        size_t source = json_array_size(sources);
        json_t *entry =
            json_pack("{s:s, s:I, s:i, s:O}", "topic", topic, "partition", (json_int_t)partition,
                      "input", (int)input, "start", json_array_get(start, source));
        ASSERT(entry != NULL);
        int rc = json_array_append_new(sources, entry);
        ASSERT(rc == 0);
    }
}

/* {"file.so": path}, or NULL when the definition has no plugins. */
static json_t *plugins_message(const struct core *core, const json_t *object)
{
    json_t *plugins = json_object_get(object, "plugins");
    if (json_object_size(plugins) == 0) {
        return NULL;
    }
    json_t *paths = json_object();
    const char *file;
    json_t *hash;
    json_object_foreach (plugins, file, hash) {
        char *path = xasprintf("%s/plugins/%s.so", core->data_dir, json_string_value(hash));
        object_set(paths, file, json_string(path));
        free(path);
    }
    return paths;
}

/* The snapshot that it begins with, if it does. */
static void base_message(const struct core *core, const struct core_version *version,
                         json_t *message)
{
    const char *id = json_text(json_object_get(version->object, "base"), "snapshot", NULL);
    if (id != NULL) {
        char *dir =
            xasprintf("%s/versions/%s/snapshots/%s", core->data_dir, version->processor->name, id);
        object_set(message, "base", json_string(dir));
        free(dir);
    }
}

/* The version that it takes windows over from, if it does. */
static void take_message(const struct core *core, const struct core_version *version,
                         json_t *message)
{
    json_t *window = json_object_get(version->object, "window");
    if (window != NULL) {
        char *dir = xasprintf("%s/versions/%s/%lld", core->data_dir, version->processor->name,
                              (long long)json_int(window, "of", 0));
        object_set(message, "take",
                   json_pack("{s:s, s:O, s:O}", "from", dir, "since_us",
                             json_object_get(window, "since_us"), "first_us",
                             json_object_get(window, "first_us")));
        free(dir);
    }
}

json_t *child_open_message(const struct core *core, const struct core_version *version)
{
    const json_t *object = version->object;
    const json_t *inputs = json_object_get(object, "inputs");
    json_t *sources = json_array();
    size_t i;
    json_t *input;
    json_array_foreach (inputs, i, input) {
        add_sources(sources, json_text(input, "topic", ""), u32_from(i),
                    json_int(input, "partitions", 0), json_object_get(object, "start"));
    }
    char *dir =
        xasprintf("%s/versions/%s/%u", core->data_dir, version->processor->name, version->number);
    char *group = groups_name(core, version->processor->name, version->number);
    json_t *message = json_pack(
        "{s:s, s:s, s:i, s:O, s:O, s:s, s:O*, s:s, s:O, s:O, s:i, s:b, s:b, s:n, s:o, s:O}", "do",
        "open", "processor", version->processor->name, "version", (int)version->number,
        "definition", json_object_get(object, "definition"), "file",
        json_object_get(object, "file"), "dir", dir, "log", core->log_config, "group", group,
        "shards", json_object_get(object, "shards"), "cache_bytes",
        json_object_get(object, "cache_bytes"), "batch_records", 0, "building",
        !version_is_sealed(version->state), "serving", version->state == VERSION_SERVING, "until",
        "sources", sources, "topics", inputs);
    ASSERT(message != NULL);
    object_set(message, "commits", json_boolean(groups_are_on(core)));
    char *schemas = xasprintf("%s/schemas", core->data_dir);
    object_set(message, "schemas", json_string(schemas));
    object_set(message, "limit", limit_now(core, version));
    object_set(message, "nice", json_integer(core->replay_nice));
    base_message(core, version, message);
    take_message(core, version, message);
    free(schemas);
    json_t *plugins = plugins_message(core, object);
    if (plugins != NULL) {
        object_set(message, "plugins", plugins);
    }
    json_t *files = json_object_get(object, "files");
    if (files != NULL) {
        object_set(message, "files", json_incref(files));
    }
    json_t *outbox =
        version->state == VERSION_SERVING ? outputs_message(core, version->processor) : NULL;
    if (outbox != NULL) {
        object_set(message, "outbox", outbox);
    }
    free(dir);
    free(group);
    return message;
}

static void version_name(const struct core_version *version, char *text, size_t size)
{
    (void)snprintf(text, size, "%s v%u", version->processor->name, version->number);
}

/* Takes the directory away, once. */
static int remove_files(struct core *core, struct core_version *version, struct err *err)
{
    if (version->files_gone) {
        return 0;
    }
    char *dir = xasprintf("%s/%u", version->processor->name, version->number);
    int rc = core->ops.remove_files(core->ops.ctx, dir, err);
    free(dir);
    version->files_gone = rc == 0;
    return rc;
}

/* The end of `drop`: files first, so that a crash between leaves something to drop again. */
static void finish_drop(struct core *core, struct core_version *version)
{
    struct err err = {0};
    int rc = remove_files(core, version, &err);
    if (rc == 0) {
        struct change change;
        json_t *who = who_dropped(version);
        change_begin(&change, core);
        change_version_delete(&change, version);
        if (who != NULL) {
            change_processor(&change, version->processor, who);
        }
        rc = change_commit(&change, &err);
    }
    if (rc == 0) {
        trace(TRACE_INFO, "%s v%u is dropped", version->processor->name, version->number);
        json_t *body = json_copy(version->object);
        object_set(body, "dropped", json_true());
        core_reply(core, version->drop, body, NULL);
        journal_note(core, "dropped", version->processor->name, version->number, NULL,
                     "%s v%u is dropped", version->processor->name, version->number);
        model_version_remove(version);
    } else {
        core_reply(core, version->drop, NULL, &err);
        version->drop = NULL;
        version->dropping = false;
    }
}

/* Its worker is gone for good: what waited for that. Frees a dropped version. */
static void finish_removal(struct core *core, struct core_version *version)
{
    groups_forget(core, version);
    if (version->dropping) {
        finish_drop(core, version);
        return;
    }
    bool due = version->state == VERSION_ABORTED && !version->files_gone &&
               core_now_us(core) >= version->remove_us;
    struct err err = {0};
    if (due && remove_files(core, version, &err) != 0) {
        trace(TRACE_ERROR, "%s v%u: its files are not removed: %s", version->processor->name,
              version->number, err.text);
        version->remove_us = core_now_us(core) + START_BACKOFF_US_MAX;
    }
}

static void reconcile_off(struct core *core, struct core_version *version)
{
    struct child *child = &version->child;
    bool wanted = version_wants_worker(version->state) && !child->blocked && !core->stopping;
    if (wanted && conduct_freezes(version)) {
        return;
    }
    if (wanted && core_now_us(core) >= child->start_us) {
        char name[LIMIT_NAME_LEN + 16];
        version_name(version, name, sizeof name);
        (void)child_start(core, child, name, child_open_message(core, version));
    } else if (!wanted) {
        finish_removal(core, version);
    }
}

void child_reconcile(struct core *core, struct core_version *version)
{
    struct child *child = &version->child;
    if (core->dead) {
        return;
    }
    if (child->phase == CHILD_OFF) {
        reconcile_off(core, version);
        return;
    }
    bool wanted = version_wants_worker(version->state) || version->state == VERSION_PAUSED;
    if (child->phase == CHILD_STOPPING) {
        child_watch(core, child);
    } else if (!wanted || core->stopping) {
        child_stop(core, child, false);
    }
    bool healthy = child_is_open(child) && core_now_us(core) - child->started_us >= HEALTHY_US;
    if (healthy && child->backoff_us != 0) {
        child->backoff_us = 0;
        child->exit.code = 0;
    }
}
