/* Compares two versions of a processor at one cut. Own header: core_inside.h.
 *
 *     job       both are opened, so that nothing slow is left for the hold      (OPENING)
 *     hold      as in a swap: held, run_to(C), at_cut                           (HOLDING)
 *     job       a read snapshot of both, then they are released                 (SNAPPING)
 *     job       rows are compared in the snapshots, however long it takes       (COMPARING)
 *
 * The steps of the hold and the rule of the cut are a swap's (swap.c), and so is the bound. While one
 * holds, no swap of the processor begins, and the other way round. A version whose worker is not
 * running stands where it is. Whatever the workers said, the snapshots' own positions decide whether
 * the two are at one cut (ops.diff->snapshot).
 *
 * Versions are known by number and worker, and looked up each time: they may go at any time. */
#include "controller/core_inside.h"

#include "base/trace.h"

#include <stdlib.h>
#include <string.h>

#define DIFFS_MAX        2      /* each takes a thread of the jobs' pool */
#define DIFF_LIMIT_MAX   1000   /* samples; serve/diff.h */
#define HOLD_SECONDS     0.25   /* further apart than what a version applies in this time ... */
#define HOLD_RECORDS     1000.0 /* ... and than this: they would not meet within a hold */
#define MILLISECONDS(us) ((double)(us) / 1e3)

enum diff_phase { OPENING, WAITING, HOLDING, SNAPPING, COMPARING };

struct core_diff {
    struct core_job job;
    struct core_diff *next;      /* chain of the core */
    void *request;               /* NULL when answered */
    bool gate;                   /* asked for by the gate of b; false when answered */
    struct core_ops ops;         /* a copy: the job may outlive the core */
    char *processor;             /* owned */
    json_t *body;                /* owned copy */
    uint32_t number[SWAP_SIDES]; /* a, b */
    uint64_t worker[SWAP_SIDES]; /* that is held; 0: none */
    enum diff_phase phase;
    int64_t until_us; /* WAITING: not tried any longer */
    bool swap_open;
    bool holding; /* workers were told to hold and not released */
    struct swap swap;
    struct partitions partitions;
    int64_t hold_us; /* how long they were held */
    void *diff;      /* ops.diff's; owned */
    json_t *answer;  /* owned */
    int rc;          /* of the job */
    struct err err;
};

static void diff_free(struct core_diff *diff)
{
    if (diff->swap_open) {
        swap_close(&diff->swap);
        partitions_close(&diff->partitions);
    }
    if (diff->diff != NULL) {
        diff->ops.diff->close(diff->diff);
    }
    json_decref(diff->answer);
    json_decref(diff->body);
    free(diff->processor);
    free(diff);
}

static void diff_answer(struct core *core, struct core_diff *diff, json_t *body,
                        const struct err *err)
{
    if (diff->request != NULL) {
        core_reply(core, diff->request, body, err);
        diff->request = NULL;
        return;
    }
    if (diff->gate) {
        diff->gate = false;
        gate_compared(core, diff->processor, diff->number[0], diff->number[1], body, err);
    }
    json_decref(body);
}

/* ---- Workers ---- */

/* Its version with the worker that is held, or NULL when either is gone. */
static struct core_version *held_version(struct core *core, const struct core_diff *diff, int side)
{
    struct core_processor *processor = core_processor_find(core, diff->processor);
    struct core_version *version =
        processor != NULL ? core_version_find(processor, diff->number[side]) : NULL;
    bool same = version != NULL && diff->worker[side] != 0 && child_is_open(&version->child) &&
                version->child.id == diff->worker[side];
    return same ? version : NULL;
}

static void send_word(struct core *core, const struct core_diff *diff, const char *word)
{
    for (int side = 0; side < SWAP_SIDES; side++) {
        struct core_version *version = held_version(core, diff, side);
        if (version != NULL) {
            json_t *message = json_pack("{s:s, s:I}", "do", word, "id", (json_int_t)diff->swap.id);
            ASSERT(message != NULL);
            child_send(core, &version->child, message);
        }
    }
}

static void release(struct core *core, struct core_diff *diff)
{
    if (diff->holding) {
        diff->holding = false;
        diff->hold_us = core_now_us(core) - diff->swap.started_us;
        send_word(core, diff, "release");
    }
}

/* Ends it with an answer. When a job is out, the job frees it. */
static void diff_end(struct core *core, struct core_diff *diff, json_t *body, const struct err *err)
{
    release(core, diff);
    diff_answer(core, diff, body, err);
    struct core_diff **at = &core->diffs;
    while (*at != diff) {
        at = &(*at)->next;
        ASSERT(*at != NULL);
    }
    *at = diff->next;
    diff_free(diff);
}

/* ---- Jobs ---- */

static void diff_job(struct core_job *job)
{
    struct core_diff *diff = container_of(job, struct core_diff, job);
    const struct core_diff_ops *ops = diff->ops.diff;
    if (diff->phase == OPENING) {
        diff->rc = ops->open(diff->ops.ctx, diff->processor, diff->number[0], diff->number[1],
                             diff->body, &diff->diff, &diff->err);
    } else if (diff->phase == SNAPPING) {
        diff->rc = ops->snapshot(diff->diff, &diff->err);
    } else {
        diff->rc = ops->run(diff->diff, &diff->answer, &diff->err);
    }
}

static void diff_try(struct core *core, struct core_diff *diff);

static void diff_done(struct core *core, struct core_job *job)
{
    struct core_diff *diff = container_of(job, struct core_diff, job);
    if (core == NULL) {
        diff_free(diff);
        return;
    }
    if (core->dead) {
        diff->phase = WAITING; /* no job is out: diff_close_all frees it */
        return;
    }
    release(core, diff);
    if (diff->rc == 0 && core->stopping) {
        diff->rc = err_set(&diff->err, KE_CLOSED, "the server is shutting down");
    }
    if (diff->rc != 0) {
        diff_end(core, diff, NULL, &diff->err);
    } else if (diff->phase == OPENING) {
        diff->phase = WAITING;
        diff->until_us = core_now_us(core) + LATER_US;
        diff_try(core, diff);
    } else if (diff->phase == SNAPPING) {
        trace(TRACE_DEBUG, "%s: v%u and v%u were held %.1f ms to be compared", diff->processor,
              diff->number[0], diff->number[1], MILLISECONDS(diff->hold_us));
        diff->phase = COMPARING;
        core_run_job(core, &diff->job);
    } else {
        json_t *answer = diff->answer;
        diff->answer = NULL;
        object_set(answer, "hold_ms", json_real(MILLISECONDS(diff->hold_us)));
        diff_end(core, diff, answer, NULL);
    }
}

static void diff_snap(struct core *core, struct core_diff *diff)
{
    diff->phase = SNAPPING;
    core_run_job(core, &diff->job);
}

/* ---- The hold ---- */

/* A number that both understand: how far one is behind the other where it is. */
static double behind(const struct core_version *version, const struct core_version *other,
                     const struct partitions *partitions)
{
    uint32_t *map = partitions_map(partitions, json_object_get(version->object, "inputs"));
    uint32_t *map_other = partitions_map(partitions, json_object_get(other->object, "inputs"));
    int64_t *next = xcalloc(partitions->count, sizeof *next);
    double sum = 0;
    for (uint32_t i = 0; i < other->lag.count; i++) {
        next[map_other[i]] = i64_max(next[map_other[i]], other->lag.next[i]);
    }
    for (uint32_t i = 0; i < version->lag.count; i++) {
        sum += (double)i64_max(0, next[map[i]] - i64_max(0, version->lag.next[i]));
    }
    free(map);
    free(map_other);
    free(next);
    return sum;
}

/* Would it reach the other's place within a hold? */
static int check_near(const struct core_version *version, const struct core_version *other,
                      const struct partitions *partitions, struct err *err)
{
    double far = behind(version, other, partitions);
    bool paused = version->state == VERSION_PAUSED; /* what was measured before says nothing */
    double pace = paused ? 0 : catchup_rate_get(&version->lag.rate) * HOLD_SECONDS;
    if (far <= HOLD_RECORDS || far <= pace) {
        return 0;
    }
    int rc =
        err_set(err, KE_REFUSED, "v%u is %.0f records behind v%u: they cannot be held at one cut",
                version->number, far, other->number);
    err_hint(err, paused ? "kappa resume %s %u" : "kappa wait %s %u --for caught-up",
             version->processor->name, version->number);
    return rc;
}

static int check_all_near(struct core_version *const *versions, const struct partitions *partitions,
                          struct err *err)
{
    int rc = 0;
    for (int side = 0; side < SWAP_SIDES && rc == 0; side++) {
        if (child_is_open(&versions[side]->child)) {
            rc = check_near(versions[side], versions[1 - side], partitions, err);
        }
    }
    return rc;
}

/* Swaps want a live new side: a version that stands still goes to the old one. */
static enum swap_side side_of(const struct core_diff *diff, int index)
{
    bool turned = diff->worker[1] == 0;
    return (index == 0) != turned ? SWAP_OLD : SWAP_NEW;
}

static void hold(struct core *core, struct core_diff *diff, struct core_version *const *versions)
{
    swap_open(&diff->swap, ++core->last_id, diff->partitions.count, core_now_us(core), HOLD_US_MAX);
    diff->swap_open = true;
    for (int i = 0; i < SWAP_SIDES; i++) {
        const struct core_version *version = versions[i];
        bool live = diff->worker[i] != 0;
        uint32_t *map =
            partitions_map(&diff->partitions, json_object_get(version->object, "inputs"));
        swap_party_set(&diff->swap, side_of(diff, i), live ? SWAP_LIVE : SWAP_STILL, map,
                       version->lag.committed, version->lag.count);
        free(map);
    }
    diff->phase = HOLDING;
    diff->holding = true;
    send_word(core, diff, "hold");
}

/* Why it cannot begin now: AGAIN when waiting helps. */
static int check_begin(const struct core_processor *processor, struct core_version *const *versions,
                       const uint32_t *numbers, struct err *err)
{
    for (int side = 0; side < SWAP_SIDES; side++) {
        if (versions[side] == NULL || versions[side]->dropping) {
            return err_set(err, KE_NOT_FOUND, "v%u of %s is gone", numbers[side], processor->name);
        }
        if (versions[side]->child.phase == CHILD_STARTING) {
            return err_set(err, KE_AGAIN, "the worker of v%u is starting", numbers[side]);
        }
    }
    return processor->swap.active
               ? err_set(err, KE_AGAIN, "a swap to v%u is under way", processor->swap.new->number)
               : 0;
}

/* WAITING: holds both if that is possible now. */
static void diff_try(struct core *core, struct core_diff *diff)
{
    struct err err = {0};
    struct core_processor *processor = core_processor_find(core, diff->processor);
    if (processor == NULL) {
        (void)core_processor_unknown(core, diff->processor, &err);
        diff_end(core, diff, NULL, &err);
        return;
    }
    struct core_version *versions[SWAP_SIDES];
    for (int side = 0; side < SWAP_SIDES; side++) {
        versions[side] = core_version_find(processor, diff->number[side]);
    }
    int rc = check_begin(processor, versions, diff->number, &err);
    if (rc == -KE_AGAIN && core_now_us(core) < diff->until_us) {
        return;
    }
    if (rc == 0) {
        ASSERT(versions[0] != NULL && versions[1] != NULL);
        partitions_open(&diff->partitions, json_object_get(versions[0]->object, "inputs"),
                        json_object_get(versions[1]->object, "inputs"));
        rc = check_all_near(versions, &diff->partitions, &err);
        if (rc != 0) {
            partitions_close(&diff->partitions);
        }
    }
    if (rc != 0) {
        diff_end(core, diff, NULL, &err);
        return;
    }
    for (int side = 0; side < SWAP_SIDES; side++) {
        ASSERT(versions[side] != NULL);
        const struct child *child = &versions[side]->child;
        diff->worker[side] = child_is_open(child) ? child->id : 0;
    }
    if (diff->worker[0] == 0 && diff->worker[1] == 0) {
        partitions_close(&diff->partitions);
        diff_snap(core, diff);
    } else {
        hold(core, diff, versions);
    }
}

/* ---- Events ---- */

static void send_cut(struct core *core, struct core_diff *diff)
{
    for (int i = 0; i < SWAP_SIDES; i++) {
        struct core_version *version = held_version(core, diff, i);
        if (version != NULL) {
            child_send_cut(core, version, &diff->swap, side_of(diff, i));
        }
    }
}

static int take_answer(struct core *core, struct core_diff *diff, enum swap_side side,
                       const struct core_version *version, const json_t *event, struct err *err)
{
    struct swap *swap = &diff->swap;
    bool held = strcmp(json_text(event, "is", ""), "held") == 0;
    uint32_t count = version->lag.count;
    int64_t *offsets = xcalloc(count, sizeof *offsets);
    int rc = 0;
    if (!lag_offsets(json_object_get(event, held ? "next" : "cut"), offsets, count)) {
        rc = err_set(err, KE_INTERNAL, "the worker of v%u answers nonsense", version->number);
    } else if (held) {
        uint32_t before = swap->step;
        rc = swap_held(swap, side, swap->id, offsets, count, err);
        if (rc == 0 && before == SWAP_PREPARE && swap->step == SWAP_RUN_TO) {
            send_cut(core, diff);
        }
    } else {
        rc = swap_at_cut(swap, side, swap->id, offsets, count, err);
    }
    free(offsets);
    return rc;
}

void diff_event(struct core *core, struct core_version *version, const json_t *event)
{
    uint64_t id = (uint64_t)json_int(event, "id", 0);
    struct core_diff *diff = core->diffs;
    while (diff != NULL && (diff->phase != HOLDING || diff->swap.id != id)) {
        diff = diff->next;
    }
    if (diff == NULL || core->dead) {
        return;
    }
    ASSERT(version != NULL);
    struct err err = {0};
    int rc = 0;
    for (int i = 0; i < SWAP_SIDES && rc == 0; i++) {
        if (held_version(core, diff, i) == version) {
            rc = take_answer(core, diff, side_of(diff, i), version, event, &err);
        }
    }
    if (rc == 0 && diff->swap.step == SWAP_CHECK) {
        rc = swap_may_commit(&diff->swap, core_now_us(core), &err);
        if (rc == 0) {
            diff_snap(core, diff);
        }
    }
    if (rc != 0) {
        diff_end(core, diff, NULL, &err);
    }
}

/* ---- Ticks ---- */

bool diff_holds(const struct core *core, const struct core_processor *processor)
{
    for (const struct core_diff *diff = core->diffs; diff != NULL; diff = diff->next) {
        if (diff->holding && strcmp(diff->processor, processor->name) == 0) {
            return true;
        }
    }
    return false;
}

/* A worker that was to answer is gone, or the time is over. */
static int check_hold(struct core *core, const struct core_diff *diff, struct err *err)
{
    for (int i = 0; i < SWAP_SIDES; i++) {
        if (diff->worker[i] != 0 && held_version(core, diff, i) == NULL) {
            return err_set(err, KE_AGAIN, "the worker of v%u ended while it was held",
                           diff->number[i]);
        }
    }
    if (swap_expired(&diff->swap, core_now_us(core))) {
        enum swap_side side = SWAP_NEW;
        const char *what = swap_waits_for(&diff->swap, &side);
        int i = side_of(diff, 0) == side ? 0 : 1;
        int rc = err_set(err, KE_TIMEOUT, "the hold of %lld ms ran out waiting for v%u %s",
                         (long long)(HOLD_US_MAX / 1000), diff->number[i], what);
        err_hint(err, "both go on; try again when there is less to apply");
        return rc;
    }
    return 0;
}

void diff_tick(struct core *core)
{
    struct core_diff *next = NULL;
    for (struct core_diff *diff = core->diffs; diff != NULL && !core->dead; diff = next) {
        struct err err = {0};
        next = diff->next;
        if (diff->phase == WAITING) {
            diff_try(core, diff);
        } else if (diff->phase == HOLDING && check_hold(core, diff, &err) != 0) {
            diff_end(core, diff, NULL, &err);
        } else if (diff->phase == SNAPPING && diff->holding &&
                   swap_expired(&diff->swap, core_now_us(core))) {
            release(core, diff); /* the snapshots say whether they are still at one cut */
        }
    }
}

void diff_shutdown(struct core *core)
{
    struct err err = {0};
    (void)err_set(&err, KE_CLOSED, "the server is shutting down");
    struct core_diff *next = NULL;
    for (struct core_diff *diff = core->diffs; diff != NULL; diff = next) {
        next = diff->next;
        if (diff->phase == WAITING || diff->phase == HOLDING) {
            diff_end(core, diff, NULL, &err);
        } else if (diff->phase == COMPARING) {
            core->ops.diff->stop(diff->diff);
        }
    }
}

/* Those whose job is out are freed by the job. */
void diff_close_all(struct core *core)
{
    struct err err = {0};
    (void)err_set(&err, KE_CLOSED, "the server is shutting down");
    while (core->diffs != NULL) {
        struct core_diff *diff = core->diffs;
        core->diffs = diff->next;
        diff_answer(core, diff, NULL, &err);
        if (diff->phase == WAITING || diff->phase == HOLDING) {
            diff_free(diff);
        }
    }
}

/* ---- The request ---- */

static int check_version(struct core_processor *processor, const json_t *body, const char *name,
                         uint32_t *number, struct err *err)
{
    const json_t *asked = json_object_get(body, name);
    int64_t value = json_is_integer(asked) ? json_integer_value(asked) : 0;
    if (value < 1 || value > INT32_MAX) {
        return err_set(err, KE_INVALID, "\"%s\" must be the number of a version", name);
    }
    *number = (uint32_t)value;
    const struct core_version *version = core_version_find(processor, *number);
    if (version == NULL) {
        return core_version_unknown(processor, *number, err);
    }
    if (version->state == VERSION_PLANNED || version->state == VERSION_ABORTED ||
        version->dropping) {
        return err_set(err, KE_REFUSED, "v%u is %s: it has nothing to compare", *number,
                       state_name(&version_states, version->state));
    }
    return 0;
}

static int check_body(const json_t *body, struct err *err)
{
    const json_t *limit = json_object_get(body, "limit");
    if (limit != NULL && (!json_is_integer(limit) || json_integer_value(limit) < 0 ||
                          json_integer_value(limit) > DIFF_LIMIT_MAX)) {
        return err_set(err, KE_INVALID, "\"limit\" must be a whole number from 0 to %d",
                       DIFF_LIMIT_MAX);
    }
    return 0;
}

static int check_free(const struct core *core, const struct core_processor *processor,
                      struct err *err)
{
    uint32_t count = 0;
    if (core->ops.diff == NULL) {
        return err_set(err, KE_REFUSED, "versions cannot be compared here");
    }
    for (const struct core_diff *diff = core->diffs; diff != NULL; diff = diff->next) {
        count++;
        if (strcmp(diff->processor, processor->name) == 0) {
            return err_set(err, KE_BUSY, "v%u and v%u of %s are being compared", diff->number[0],
                           diff->number[1], diff->processor);
        }
    }
    return count < DIFFS_MAX ? 0
                             : err_set(err, KE_BUSY, "%u comparisons are under way already", count);
}

static void diff_begin(struct core *core, void *request, const struct core_processor *processor,
                       const uint32_t *number, const json_t *body)
{
    struct core_diff *diff = xcalloc(1, sizeof *diff);
    diff->job = (struct core_job){.run = diff_job, .done = diff_done};
    diff->request = request;
    diff->gate = request == NULL;
    diff->ops = core->ops;
    diff->processor = xstrdup(processor->name);
    diff->body = json_deep_copy(body);
    memcpy(diff->number, number, sizeof diff->number);
    diff->next = core->diffs;
    core->diffs = diff;
    core_run_job(core, &diff->job);
}

void diff_request(struct core *core, void *request, struct core_processor *processor,
                  const json_t *body)
{
    struct err err = {0};
    uint32_t number[SWAP_SIDES] = {0};
    int rc = check_body(body, &err);
    if (rc == 0) {
        rc = check_version(processor, body, "a", &number[0], &err);
    }
    if (rc == 0) {
        rc = check_version(processor, body, "b", &number[1], &err);
    }
    if (rc == 0 && number[0] == number[1]) {
        rc = err_set(&err, KE_INVALID, "v%u is compared with itself: name two versions", number[0]);
    }
    if (rc == 0) {
        rc = check_free(core, processor, &err);
    }
    if (rc != 0) {
        core_reply(core, request, NULL, &err);
        return;
    }
    diff_begin(core, request, processor, number, body);
}

int diff_for_gate(struct core *core, struct core_processor *processor, uint32_t a, uint32_t b,
                  struct err *err)
{
    const uint32_t number[SWAP_SIDES] = {a, b};
    int rc = check_free(core, processor, err);
    if (rc == 0) {
        /* Shares of rows are judged: how many are equal must be known. */
        json_t *body = json_pack("{s:i, s:b}", "limit", 0, "exact", 1);
        ASSERT(body != NULL);
        diff_begin(core, NULL, processor, number, body);
        json_decref(body);
    }
    return rc;
}
