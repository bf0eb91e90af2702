/* What workers say, and how they end. Own header: core.h (and core_inside.h).
 *
 * An event changes what is known, then the version is looked at (version_advance). An event of an
 * unknown incarnation is dropped; one that makes no sense is the worker's bug: logged and
 * dropped. */
#include "controller/core_inside.h"

#include "base/trace.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* ---- Errors on the wire ---- */

void error_from_json(const json_t *body, struct err *err)
{
    (void)err_set(err, err_from_word(json_text(body, "code", "internal")), "%s",
                  json_text(body, "message", "it did not say why"));
    err_hint(err, "%s", json_text(body, "hint", ""));
}

json_t *error_to_json(const struct err *err)
{
    if (err->code == 0) {
        return json_null();
    }
    json_t *outer = json_from_err(err);
    json_t *body = json_incref(json_object_get(outer, "error"));
    json_decref(outer);
    return body;
}

/* Not to be healed by starting again: the log or the files are not what they were, or the definition's
 * own limit was reached. */
static bool is_for_good(int code)
{
    return code == -KE_RANGE_LOST || code == -KE_TOPIC_CHANGED || code == -KE_CORRUPT ||
           code == -KE_REFUSED;
}

/* ---- Events of a version's worker ---- */

static void on_opened(struct core *core, struct core_version *version, const json_t *event)
{
    struct child *child = &version->child;
    struct err err = {0};
    lag_least(&version->lag, json_object_get(event, "least"));
    if (!lag_opened(&version->lag, json_object_get(event, "next"))) {
        (void)err_set(&err, KE_CORRUPT, "its worker opened with other sources than the %u known",
                      version->lag.count);
        version_fail(core, version, &err);
        return;
    }
    child->phase = CHILD_OPEN;
    json_decref(version->told_sent);
    version->told_sent = NULL;
    child->sealed = json_bool(event, "sealed", false);
    if (version_is_sealed(version->state) && !child->sealed) {
        (void)err_set(&err, KE_CORRUPT, "the files of v%u are gone or were replaced",
                      version->number);
        err_hint(&err, "kappa replay %s makes a new version from the log",
                 version->processor->name);
        version_fail(core, version, &err);
    } else if (version->state == VERSION_PLANNED ||
               (version->state == VERSION_CATCHING_UP && !lag_past_target(&version->lag))) {
        (void)version_move_self(core, version, VERSION_REPLAYING, NULL);
    } else if (version->state == VERSION_PAUSED) {
        child_send_word(core, child, "pause");
    }
}

static void on_progress(struct core *core, struct core_version *version, const json_t *event)
{
    if (!lag_progress(&version->lag, event, core_now_us(core))) {
        trace(TRACE_WARN, "%s v%u: progress without positions", version->processor->name,
              version->number);
        return;
    }
    json_decref(version->child.stats);
    version->child.stats = json_incref((json_t *)(uintptr_t)event);
}

static void on_sealed(struct core *core, struct core_version *version, const json_t *event)
{
    (void)core;
    (void)event;
    version->child.sealed = true;
}

static void on_failed(struct core *core, struct core_version *version, const json_t *event)
{
    struct err err = {0};
    error_from_json(json_object_get(event, "error"), &err);
    version->child.said = err;
    if (is_for_good(err.code)) {
        version_fail(core, version, &err);
    }
}

static void on_nothing(struct core *core, struct core_version *version, const json_t *event)
{
    (void)core;
    (void)version;
    (void)event;
}

/* Held, or at a cut: for a swap or for a diff, whoever asked. */
static void on_answer(struct core *core, struct core_version *version, const json_t *event)
{
    conduct_event(core, version, event);
    diff_event(core, version, event);
}

static void on_near(struct core *core, struct core_version *version, const json_t *event)
{
    conduct_near(core, version, (uint64_t)json_int(event, "id", 0));
}

static const struct {
    const char *word;
    void (*fn)(struct core *core, struct core_version *version, const json_t *event);
} event_rows[] = {
    {"near", on_near},       {"opened", on_opened},  {"progress", on_progress},
    {"held", on_answer},     {"at_cut", on_answer},  {"sealed", on_sealed},
    {"failed", on_failed},   {"paused", on_nothing}, {"resumed", on_nothing},
    {"stopped", on_nothing},
};

static void version_event(struct core *core, struct core_version *version, const json_t *event)
{
    const char *word = json_text(event, "is", "");
    version->child.heard_us = core_now_us(core);
    for (size_t i = 0; i < array_len(event_rows); i++) {
        if (strcmp(event_rows[i].word, word) == 0) {
            event_rows[i].fn(core, version, event);
            version_advance(core, version);
            return;
        }
    }
    trace(TRACE_WARN, "%s v%u: its worker says '%s', which nobody understands",
          version->processor->name, version->number, word);
}

/* ---- Who is speaking ---- */

static struct core_version *version_of_worker(struct core *core, uint64_t worker)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *processor = core->processors[i];
        for (uint32_t k = 0; k < processor->version_count; k++) {
            if (processor->versions[k]->child.id == worker) {
                return processor->versions[k];
            }
        }
    }
    return NULL;
}

void core_worker_event(struct core *core, uint64_t worker, const json_t *event)
{
    if (core->dead || worker == 0) {
        return;
    }
    struct core_version *version = version_of_worker(core, worker);
    struct core_verify *verify = NULL;
    struct core_snapshot *snapshot = NULL;
    if (version != NULL) {
        struct core_processor *processor = version->processor;
        /* One that was told to end may still speak; what it says no longer counts. */
        if (version->child.phase != CHILD_STOPPING) {
            version_event(core, version, event);
            conduct_tick(core, processor);
        }
    } else if (verify_child(core, worker, &verify) != NULL) {
        verify_event(core, verify, event);
    } else if (snapshot_child(core, worker, &snapshot) != NULL) {
        snapshot_event(core, snapshot, event);
    }
}

/* ---- Exits ---- */

/* "killed by signal 9", "exited 1: the disk is full". */
static void describe_exit(const struct child *child, int status, int signal, struct err *err)
{
    if (child->said.code != 0) {
        *err = child->said;
        err_prefix(err, "exited %d", status);
    } else if (signal != 0) {
        (void)err_set(err, KE_AGAIN, "its worker was killed by signal %d (%s)", signal,
                      strsignal(signal));
    } else {
        (void)err_set(err, KE_AGAIN, "its worker exited %d", status);
    }
}

static void child_gone(struct child *child)
{
    child->id = 0;
    child->pid = 0;
    child->phase = CHILD_OFF;
    child->said.code = 0;
}

/* A worker that dies again and again is started again and again, for what kills it may pass; but what
 * runs a plugin has died of it, and its records will come again. */
static void check_plugins(struct core *core, struct core_version *version, int signal,
                          const struct err *cause)
{
    bool killed =
        signal == SIGKILL || signal == SIGTERM; /* from outside: no fault of the plugin's */
    if (killed || version->child.backoff_us < PLUGIN_DEATHS_US ||
        json_object_size(json_object_get(version->object, "plugins")) == 0) {
        return;
    }
    struct err err = {0};
    (void)err_set(&err, KE_REFUSED, "%s, again and again: it runs a plugin", cause->text);
    err_hint(
        &err,
        "mend the plugin and deploy it again; `kappa dead` and the server's messages say more");
    version_fail(core, version, &err);
}

static void version_exited(struct core *core, struct core_version *version, int status, int signal)
{
    struct core_processor *processor = version->processor;
    struct child *child = &version->child;
    bool asked = child->phase == CHILD_STOPPING;
    struct err cause = {0};
    describe_exit(child, status, signal, &cause);
    bool was_healthy = core_now_us(core) - child->started_us >= HEALTHY_US;
    child_gone(child);
    if (!asked) {
        child->exit = cause;
        child->restarts++;
        child->backoff_us = was_healthy ? 0 : child->backoff_us;
        child_back_off(core, child);
        trace(TRACE_WARN, "%s v%u: %s; started again in %lld ms", version->processor->name,
              version->number, cause.text, (long long)(child->backoff_us / 1000));
        journal_error(core, version, "worker_ended", &cause);
        check_plugins(core, version, signal, &cause);
    }
    conduct_give_up_version(core, version, &cause);
    version_advance(core, version);
    requests_later(core, processor, NULL); /* a swap may have waited for just that */
}

void core_worker_exited(struct core *core, uint64_t worker, int status, int signal)
{
    if (core->dead || worker == 0) {
        return;
    }
    struct core_version *version = version_of_worker(core, worker);
    struct core_verify *verify = NULL;
    struct core_snapshot *snapshot = NULL;
    if (version != NULL) {
        version_exited(core, version, status, signal);
        return;
    }
    struct child *child = verify_child(core, worker, &verify);
    child = child != NULL ? child : snapshot_child(core, worker, &snapshot);
    if (child == NULL) {
        return;
    }
    struct err cause = {0};
    describe_exit(child, status, signal, &cause);
    child_gone(child);
    if (verify != NULL) {
        verify_exited(core, verify, &cause);
    } else {
        snapshot_exited(core, snapshot, &cause);
    }
}
