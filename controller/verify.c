/* Verify: replays a version into a scratch directory up to the cut it has committed, on another
 * number of threads and another batch size, and compares the digests. Own header: core_inside.h.
 *
 *     job      cut and digests of the version, as committed now
 *     worker   a scratch worker runs from the version's start to exactly that cut
 *     at_cut   digests per source are compared; the next progress tells how many records it took,
 *              and the request is answered
 *     exit     the scratch directory is removed
 *
 * A scratch worker that ends early ends the verify: it is not started again. A verify is not in the
 * catalog; what a crash leaves behind is removed at the next start (controller.c). */
#include "controller/core_inside.h"

#include "base/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERIFY_BATCH_RECORDS 777 /* not the batch size of anything else */

struct core_verify {
    struct core_job job;
    struct core_verify *next; /* chain of the core */
    void *request;            /* NULL when answered */
    bool gate;                /* asked for by the version's gate; false when answered */
    struct core_ops ops;      /* a copy: the job may outlive the core */
    char *processor;          /* owned */
    uint32_t version;
    char *dir;      /* below versions/; owned */
    json_t *open;   /* the first message, without `until`; owned until the start */
    json_t *digest; /* of the version; owned; from the job */
    json_t *at_cut; /* the worker's answer; owned, NULL until then */
    double seconds; /* that it took */
    int64_t started_us;
    struct child child;
    bool asked; /* the job is done */
    int rc;     /* of the job */
    struct err err;
};

static void verify_free(struct core_verify *verify)
{
    free(verify->processor);
    free(verify->dir);
    json_decref(verify->open);
    json_decref(verify->digest);
    json_decref(verify->at_cut);
    child_free(&verify->child);
    free(verify);
}

static void verify_answer(struct core *core, struct core_verify *verify, json_t *body,
                          const struct err *err)
{
    if (verify->request != NULL) {
        core_reply(core, verify->request, body, err);
        verify->request = NULL;
        return;
    }
    if (verify->gate) {
        verify->gate = false;
        gate_verified(core, verify->processor, verify->version, body, err);
    }
    json_decref(body);
}

/* Out of the chain; the directory goes too. */
static void verify_remove(struct core *core, struct core_verify *verify)
{
    struct core_verify **at = &core->verifies;
    while (*at != verify) {
        at = &(*at)->next;
        ASSERT(*at != NULL);
    }
    *at = verify->next;
    struct err err = {0};
    if (core->ops.remove_files(core->ops.ctx, verify->dir, &err) != 0) {
        trace(TRACE_WARN, "the scratch directory %s is not removed: %s", verify->dir, err.text);
    }
    verify_free(verify);
}

/* ---- The job ---- */

static void verify_run(struct core_job *job)
{
    struct core_verify *verify = container_of(job, struct core_verify, job);
    verify->rc = verify->ops.version_digest(verify->ops.ctx, verify->processor, verify->version,
                                            &verify->digest, &verify->err);
}

/* The cut as the worker wants it: one offset per source. */
static json_t *cut_of(const json_t *digest)
{
    json_t *cut = json_array();
    size_t i;
    json_t *source;
    json_array_foreach (json_object_get(digest, "sources"), i, source) {
        int rc = json_array_append_new(cut, json_integer(json_int(source, "next", -1)));
        ASSERT(rc == 0);
    }
    return cut;
}

static void verify_done(struct core *core, struct core_job *job)
{
    struct core_verify *verify = container_of(job, struct core_verify, job);
    if (core == NULL) {
        verify_free(verify);
        return;
    }
    verify->asked = true;
    if (core->dead) {
        return;
    }
    if (verify->rc == 0 && core->stopping) {
        verify->rc = err_set(&verify->err, KE_CLOSED, "the server is shutting down");
    }
    if (verify->rc != 0) {
        verify_answer(core, verify, NULL, &verify->err);
        verify_remove(core, verify);
        return;
    }
    object_set(verify->open, "until", cut_of(verify->digest));
    char name[LIMIT_NAME_LEN + 32];
    (void)snprintf(name, sizeof name, "%s v%u verify", verify->processor, verify->version);
    json_t *open = verify->open;
    verify->open = NULL;
    if (!child_start(core, &verify->child, name, open) && !core->dead) {
        verify_answer(core, verify, NULL, &verify->child.exit);
        verify_remove(core, verify);
    }
}

/* ---- The scratch worker ---- */

struct child *verify_child(struct core *core, uint64_t worker, struct core_verify **out)
{
    for (struct core_verify *verify = core->verifies; verify != NULL; verify = verify->next) {
        if (verify->child.id == worker) {
            *out = verify;
            return &verify->child;
        }
    }
    return NULL;
}

/* Source by source: the same rows, as far as a digest can tell. */
static bool same_digests(const struct core_verify *verify, const json_t *replayed)
{
    const json_t *sources = json_object_get(verify->digest, "sources");
    if (!json_is_array(replayed) || json_array_size(replayed) != json_array_size(sources)) {
        return false;
    }
    size_t i;
    json_t *source;
    json_array_foreach (sources, i, source) {
        const char *digest = json_text(source, "digest", "");
        const char *again = json_string_value(json_array_get(replayed, i));
        if (again == NULL || strcmp(digest, again) != 0) {
            return false;
        }
    }
    return true;
}

static void verify_finish(struct core *core, struct core_verify *verify, int64_t records)
{
    json_t *cut = cut_of(verify->digest);
    bool there = json_equal(cut, json_object_get(verify->at_cut, "cut")) != 0;
    json_decref(cut);
    bool same = there && same_digests(verify, json_object_get(verify->at_cut, "sources"));
    json_t *body = json_pack("{s:b, s:O?, s:s, s:s, s:I, s:f}", "verified", same, "cut",
                             json_object_get(verify->digest, "cut"), "digest",
                             json_text(verify->digest, "digest", ""), "replayed_digest",
                             json_text(verify->at_cut, "digest", ""), "records",
                             (json_int_t)records, "seconds", verify->seconds);
    ASSERT(body != NULL);
    trace(same ? TRACE_INFO : TRACE_ERROR, "%s v%u: replayed again, its digest is %s",
          verify->processor, verify->version, same ? "the same" : "DIFFERENT");
    verify_answer(core, verify, body, NULL);
    child_stop(core, &verify->child, false);
}

void verify_event(struct core *core, struct core_verify *verify, const json_t *event)
{
    const char *word = json_text(event, "is", "");
    verify->child.heard_us = core_now_us(core);
    if (strcmp(word, "opened") == 0) {
        verify->child.phase = CHILD_OPEN;
    } else if (strcmp(word, "progress") == 0 && verify->at_cut != NULL &&
               (verify->request != NULL || verify->gate)) {
        verify_finish(core, verify, json_int(event, "records", 0));
    } else if (strcmp(word, "failed") == 0) {
        error_from_json(json_object_get(event, "error"), &verify->child.said);
        err_prefix(&verify->child.said, "the replay for verifying");
        verify_answer(core, verify, NULL, &verify->child.said);
    } else if (strcmp(word, "at_cut") == 0 && verify->at_cut == NULL) {
        verify->at_cut = json_incref((json_t *)(uintptr_t)event);
        verify->seconds = (double)(core_now_us(core) - verify->started_us) / 1e6;
    }
}

void verify_exited(struct core *core, struct core_verify *verify, const struct err *cause)
{
    struct err err = *cause;
    err_prefix(&err, "the replay for verifying");
    verify_answer(core, verify, NULL, &err);
    verify_remove(core, verify);
}

/* Somebody waits, perhaps a swap: for a worker that hangs nobody does for ever. */
static void watch_silence(struct core *core, struct core_verify *verify)
{
    int64_t silent_us = child_silence_us(core, &verify->child);
    if (silent_us >= VERIFY_SILENT_US) {
        struct err err = {0};
        (void)err_set(&err, KE_TIMEOUT,
                      "the replay for verifying: its worker has said nothing for %lld s",
                      (long long)(silent_us / 1000000));
        verify_answer(core, verify, NULL, &err);
        child_stop(core, &verify->child, true);
    }
}

void verify_tick(struct core *core)
{
    for (struct core_verify *verify = core->verifies; verify != NULL; verify = verify->next) {
        child_watch(core, &verify->child);
        watch_silence(core, verify);
    }
}

uint32_t verify_workers_left(const struct core *core)
{
    uint32_t left = 0;
    for (const struct core_verify *at = core->verifies; at != NULL; at = at->next) {
        left += at->child.phase != CHILD_OFF ? 1 : 0;
    }
    return left;
}

void verify_shutdown(struct core *core)
{
    for (struct core_verify *verify = core->verifies; verify != NULL; verify = verify->next) {
        child_stop(core, &verify->child, false);
    }
}

/* Those whose job is out are freed by the job. */
void verify_close(struct core *core)
{
    struct err err = {0};
    (void)err_set(&err, KE_CLOSED, "the server is shutting down");
    while (core->verifies != NULL) {
        struct core_verify *verify = core->verifies;
        core->verifies = verify->next;
        verify_answer(core, verify, NULL, &err);
        if (verify->asked) {
            verify_free(verify);
        }
    }
}

/* ---- The request ---- */

static int check_request(struct core *core, const struct core_version *version, struct err *err)
{
    if (core->ops.version_digest == NULL) {
        return err_set(err, KE_REFUSED, "verify is not possible here");
    }
    if (version->state == VERSION_PLANNED || version->state == VERSION_ABORTED ||
        version->dropping) {
        return err_set(err, KE_REFUSED, "v%u is %s: it has nothing to verify", version->number,
                       state_name(&version_states, version->state));
    }
    const json_t *window = json_object_get(version->object, "window");
    if (window != NULL) {
        int rc =
            err_set(err, KE_REFUSED,
                    "v%u took windows over from v%lld as that stood then: no replay of its own "
                    "definition gives them",
                    version->number, (long long)json_int(window, "of", 0));
        err_hint(err, "kappa replay %s makes a version of all records; kappa diff compares the two",
                 version->processor->name);
        return rc;
    }
    for (const struct core_verify *at = core->verifies; at != NULL; at = at->next) {
        bool answered = at->request == NULL && !at->gate; /* its worker is on its way out */
        if (!answered && strcmp(at->processor, version->processor->name) == 0) {
            return err_set(err, KE_BUSY, "v%u of %s is being verified", at->version, at->processor);
        }
    }
    return 0;
}

static void verify_begin(struct core *core, void *request, struct core_version *version)
{
    struct core_verify *verify = xcalloc(1, sizeof *verify);
    const char *name = version->processor->name;
    verify->job = (struct core_job){.run = verify_run, .done = verify_done};
    verify->request = request;
    verify->gate = request == NULL;
    verify->ops = core->ops;
    verify->processor = xstrdup(name);
    verify->version = version->number;
    verify->started_us = core_now_us(core);
    verify->dir =
        xasprintf("%s/.verify-%u-%llu", name, version->number, (unsigned long long)++core->last_id);
    verify->open = child_open_message(core, version);
    object_set(verify->open, "commits", json_false()); /* it stands elsewhere */
    char *dir = xasprintf("%s/versions/%s", core->data_dir, verify->dir);
    char *group = xasprintf("%s-verify", json_text(verify->open, "group", ""));
    int64_t shards = json_int(version->object, "shards", 1);
    int64_t sources = version->lag.count;
    object_set(verify->open, "dir", json_string(dir));
    object_set(verify->open, "group", json_string(group));
    object_set(verify->open, "shards", json_integer(shards == 1 ? i64_min(sources, 2) : 1));
    object_set(verify->open, "batch_records", json_integer(VERIFY_BATCH_RECORDS));
    object_set(verify->open, "building", json_true());
    object_set(verify->open, "serving", json_false());
    (void)json_object_del(verify->open, "base"); /* that it is what a replay gives is in question */
    (void)json_object_del(verify->open, "outbox"); /* what is replayed here is never sent */
    free(dir);
    free(group);
    verify->next = core->verifies;
    core->verifies = verify;
    core_run_job(core, &verify->job);
}

void verify_request(struct core *core, void *request, struct core_version *version)
{
    struct err err = {0};
    if (check_request(core, version, &err) == 0) {
        verify_begin(core, request, version);
    } else {
        core_reply(core, request, NULL, &err);
    }
}

int verify_for_gate(struct core *core, struct core_version *version, struct err *err)
{
    int rc = check_request(core, version, err);
    if (rc == 0) {
        verify_begin(core, NULL, version);
    }
    return rc;
}
