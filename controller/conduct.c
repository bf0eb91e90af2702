/* Conducts a swap: sends what swap.c decides, writes COMMIT, tells everybody. Own header:
 * core_inside.h.
 *
 *     conduct_start     near to the new one                (it writes what it has)
 *     near              hold to the new one                (PREPARE)
 *     held              hold to the old one
 *     held              run_to(C) to both                  (RUN_TO)
 *     at_cut, at_cut    checks                             (CHECK)
 *     commit            one catalog transaction            (COMMIT: from here on it has happened)
 *                       serving on/off, release, receipt   (RELEASE)
 *
 * A group (group.c) is a swap of each member, each with its own cut and answers, that share a `move`:
 * they begin together, COMMIT waits until all are in CHECK and is one transaction of all, and giving up
 * one gives up all.
 *
 * Readers see an old cut from when the old version has stopped to RELEASE: the hold. (It stops between two
 * commits: one under way goes on, and readers see what it writes.) A candidate writes seldom, so it is first
 * told that a cut is near. Should it not answer in time, that is no reason to give up: the hold is
 * longer then.
 *
 * Whatever goes wrong before COMMIT (a worker ends, the hold runs out, the catalog refuses) ends in
 * conduct_give_up: both are released, the reason is kept and shown, and an automatic swap is tried
 * again with backoff.
 *
 * An old version whose worker is not running does not hold up its successor: it stands still, the
 * new one runs at least up to there (still.c). If that worker cannot go on at all, the old version
 * becomes failed instead of standby. */
#include "controller/core_inside.h"

#include "base/trace.h"

#include <stdlib.h>
#include <string.h>

/* ---- Start ---- */

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

/* Why this version cannot be swapped in now: 0 when it can. */
static int check_new(const struct core_version *version, struct err *err)
{
    uint32_t number = version->number;
    const char *state = state_name(&version_states, version->state);
    if (version->state == VERSION_SERVING) {
        return err_set(err, KE_REFUSED, "v%u of %s is already serving", number,
                       version->processor->name);
    }
    int64_t lag = lag_records(&version->lag);
    if (version_is_candidate((enum version_state)version->state) &&
        version->state != VERSION_READY) {
        int rc = lag == CATCHUP_UNKNOWN
                     ? err_set(err, KE_REFUSED, "v%u is not caught up: it is %s", number, state)
                     : err_set(err, KE_REFUSED, "v%u is not caught up: lag %lld record%s, %s",
                               number, (long long)lag, plural(lag), state);
        err_hint(err, "kappa wait %s %u --for caught-up", version->processor->name, number);
        return rc;
    }
    if (!version_may_serve((enum version_state)version->state)) {
        const char *why = json_text(json_object_get(version->object, "error"), "message", "");
        int rc = err_set(err, KE_REFUSED, "v%u is %s%s%s", number, state,
                         why[0] == '\0' ? "" : ": ", why);
        err_hint(err,
                 version->state == VERSION_PAUSED
                     ? "kappa resume %s %u"
                     : "kappa replay %s builds a new version of the serving definition",
                 version->processor->name, number);
        return rc;
    }
    if (!child_is_open(&version->child)) {
        return err_set(err, KE_AGAIN, "the worker of v%u is not running%s%s", number,
                       version->child.exit.code != 0 ? ": " : " yet",
                       version->child.exit.code != 0 ? version->child.exit.text : "");
    }
    if (!lag_is_ready(&version->lag)) {
        return lag == CATCHUP_UNKNOWN
                   ? err_set(err, KE_AGAIN, "the lag of v%u is not known yet", number)
                   : err_set(err, KE_REFUSED, "v%u is not caught up: lag %lld record%s", number,
                             (long long)lag, plural(lag));
    }
    return 0;
}

/* A worker that hangs (in opening, or stopped, or behind a disk) neither holds nor dies. A person who asks
 * does not wait for it: it is killed, and what its files say is where it is. */
static int check_hangs(struct core *core, const struct core_version *old, struct err *err)
{
    int64_t silent_us = old != NULL ? child_silence_us(core, &old->child) : 0;
    if (silent_us == 0) {
        return 0;
    }
    trace(TRACE_WARN, "%s v%u: its worker (process %d) hangs, and is killed for a swap",
          old->processor->name, old->number, old->child.pid);
    child_kill(core, &old->child);
    int rc = err_set(err, KE_AGAIN,
                     "the worker of the serving v%u has said nothing for %lld s, and was killed; "
                     "it has not ended yet",
                     old->number, (long long)(silent_us / 1000000));
    err_hint(err, "a process that waits for a disk ends when that answers: look at process %d",
             old->child.pid);
    return rc;
}

/* What the old version does in the swap; negative: it must be waited for. One whose worker is not
 * running stands still; a person need not wait until it does, an automatic swap waits for a worker
 * that is only being restarted. */
static int part_of_old(const struct core_version *old, bool asked, enum swap_part *part,
                       struct err *err)
{
    const struct child *child = old != NULL ? &old->child : NULL;
    if (child == NULL) {
        *part = SWAP_ABSENT;
    } else if (child_is_open(child)) {
        *part = SWAP_LIVE;
    } else if (child->phase == CHILD_OFF &&
               (asked || child->blocked || child->backoff_us >= STILL_US)) {
        *part = SWAP_STILL;
    } else {
        return err_set(err, KE_AGAIN, "the worker of the serving v%u is %s", old->number,
                       child->phase == CHILD_STARTING ? "starting" : "not running");
    }
    return 0;
}

static struct core_version *side_version(const struct core_swap *swap, enum swap_side side)
{
    return side == SWAP_OLD ? swap->old : swap->new;
}

static bool side_is_live(const struct core_swap *swap, enum swap_side side)
{
    return swap->swap.party[side].part == SWAP_LIVE;
}

static void set_party(struct core_swap *swap, enum swap_side side, enum swap_part part)
{
    struct core_version *version = side_version(swap, side);
    if (part == SWAP_ABSENT) {
        swap_party_set(&swap->swap, side, part, NULL, NULL, 0);
        return;
    }
    uint32_t *map = partitions_map(&swap->partitions, json_object_get(version->object, "inputs"));
    swap_party_set(&swap->swap, side, part, map, version->lag.next, version->lag.count);
    free(map);
}

static void send_side(struct core *core, struct core_swap *swap, enum swap_side side,
                      const char *word)
{
    if (side_is_live(swap, side)) {
        json_t *message = json_pack("{s:s, s:I}", "do", word, "id", (json_int_t)swap->swap.id);
        ASSERT(message != NULL);
        child_send(core, &side_version(swap, side)->child, message);
    }
}

/* Who was only told that a cut is near goes back to its own pace, too. */
static void send_release(struct core *core, struct core_swap *swap)
{
    if (!side_is_live(swap, SWAP_NEW)) {
        child_send_word(core, &swap->new->child, "release");
    }
    send_side(core, swap, SWAP_OLD, "release");
    send_side(core, swap, SWAP_NEW, "release");
}

bool conduct_moves(const struct core_processor *processor, uint64_t move)
{
    return processor->swap.active && processor->swap.move == move;
}

/* PREPARE, once all members are where they can begin. */
static void prepare_all(struct core *core, uint64_t move)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        const struct core_swap *swap = &core->processors[i]->swap;
        if (conduct_moves(core->processors[i], move) && (swap->asking || swap->nearing)) {
            return;
        }
    }
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_swap *swap = &core->processors[i]->swap;
        if (conduct_moves(core->processors[i], move)) {
            swap->swap.started_us = core_now_us(core);
            swap->step_us[SWAP_PREPARE] = swap->swap.started_us;
            set_party(swap, SWAP_OLD, swap->part);
            set_party(swap, SWAP_NEW, SWAP_LIVE);
            send_side(core, swap, SWAP_NEW, "hold");
        }
    }
}

/* Readers wait from when the old ones hold: they are told once all new ones do. */
static void hold_old(struct core *core, uint64_t move)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        const struct core_processor *member = core->processors[i];
        if (conduct_moves(member, move) && !member->swap.swap.party[SWAP_NEW].held) {
            return;
        }
    }
    for (uint32_t i = 0; i < core->processor_count; i++) {
        if (conduct_moves(core->processors[i], move)) {
            send_side(core, &core->processors[i]->swap, SWAP_OLD, "hold");
        }
    }
}

void conduct_prepare(struct core *core, struct core_processor *processor)
{
    processor->swap.asking = false;
    prepare_all(core, processor->swap.move);
}

void conduct_near(struct core *core, const struct core_version *version, uint64_t id)
{
    struct core_swap *swap = &version->processor->swap;
    if (swap->active && swap->nearing && swap->new == version && swap->swap.id == id) {
        swap->nearing = false;
        prepare_all(core, swap->move);
    }
}

static void send_near(struct core *core, const struct core_swap *swap)
{
    json_t *message = json_pack("{s:s, s:I}", "do", "near", "id", (json_int_t)swap->swap.id);
    ASSERT(message != NULL);
    child_send(core, &swap->new->child, message);
}

/* Could it begin now? */
static int check_member(struct core *core, struct core_version *version, bool asked,
                        enum swap_part *part, struct err *err)
{
    struct core_processor *processor = version->processor;
    if (processor->swap.active) {
        return err_set(err, KE_BUSY, "a swap to v%u is under way", processor->swap.new->number);
    }
    if (diff_holds(core, processor)) {
        return err_set(err, KE_AGAIN, "versions of %s are held for a comparison", processor->name);
    }
    int rc = check_new(version, err);
    rc = rc == 0 && asked ? check_hangs(core, core_serving(processor), err) : rc;
    return rc == 0 ? part_of_old(core_serving(processor), asked, part, err) : rc;
}

static void begin_member(struct core *core, const struct group *group,
                         const struct group_member *member, uint64_t move, enum swap_part part)
{
    struct core_version *version = member->version;
    struct core_version *old = core_serving(version->processor);
    struct core_swap *swap = &version->processor->swap;
    swap->active = true;
    swap->move = move;
    swap->group = group->count > 1 ? xstrdup(group->name) : NULL;
    swap->asking = part == SWAP_STILL;
    swap->nearing = true;
    swap->near_us = core_now_us(core);
    swap->part = part;
    swap->old = old;
    swap->new = version;
    swap->note = json_deep_copy(member->note);
    swap->since_ms = core_now_ms(core);
    partitions_open(&swap->partitions, old != NULL ? json_object_get(old->object, "inputs") : NULL,
                    json_object_get(version->object, "inputs"));
    swap_open(&swap->swap, ++core->last_id, swap->partitions.count, core_now_us(core), HOLD_US_MAX);
}

int conduct_start(struct core *core, const struct group *group, const char *why, const char *who,
                  void *request, struct err *err)
{
    struct core_version *asked = group->members[0].version;
    struct core_swap *first = &asked->processor->swap;
    if (request != NULL && first->active && first->new == asked && first->canary == NULL) {
        waiters_add(&first->waiters, request);
        return 0;
    }
    enum swap_part *parts = xcalloc(group->count, sizeof *parts);
    int rc = 0;
    for (uint32_t i = 0; i < group->count && rc == 0; i++) {
        rc = check_member(core, group->members[i].version, request != NULL, &parts[i], err);
        if (rc != 0 && i > 0) {
            err_prefix(err, "%s", group->members[i].version->processor->name);
        }
    }
    if (rc == 0 && request != NULL) {
        waiters_add(&first->waiters, request);
    }
    uint64_t move = ++core->last_id;
    for (uint32_t i = 0; i < group->count && rc == 0; i++) {
        struct core_version *version = group->members[i].version;
        begin_member(core, group, &group->members[i], move, parts[i]);
        version->processor->swap.why = why;
        version->processor->swap.who = xstrdup(who);
        trace(TRACE_DEBUG, "%s: swap to v%u begins (%s)", version->processor->name, version->number,
              why);
    }
    for (uint32_t i = 0; i < group->count && rc == 0; i++) {
        struct core_processor *processor = group->members[i].version->processor;
        send_near(core, &processor->swap);
        if (parts[i] == SWAP_STILL) {
            still_ask(core, processor);
        }
    }
    free(parts);
    return rc;
}

int conduct_start_canary(struct core *core, struct core_version *version, json_t *canary,
                         const char *who, void *request, struct err *err)
{
    struct core_processor *processor = version->processor;
    struct group_member member = {.version = version};
    const struct group alone = {.members = &member, .count = 1};
    enum swap_part part = SWAP_ABSENT;
    int rc = check_member(core, version, false, &part, err);
    if (rc == 0 && part != SWAP_LIVE) {
        rc = err_set(err, KE_AGAIN, "the serving version of %s is not running", processor->name);
    }
    if (rc != 0) {
        json_decref(canary);
        return rc;
    }
    waiters_add(&processor->swap.waiters, request);
    begin_member(core, &alone, &member, ++core->last_id, part);
    processor->swap.canary = canary;
    processor->swap.why = "canary";
    processor->swap.who = xstrdup(who);
    send_near(core, &processor->swap);
    return 0;
}

/* ---- Ends ---- */

static void swap_clear(struct core_swap *swap)
{
    swap_close(&swap->swap);
    json_decref(swap->at_cut[SWAP_OLD]);
    json_decref(swap->at_cut[SWAP_NEW]);
    json_decref(swap->receipt);
    json_decref(swap->note);
    json_decref(swap->canary);
    partitions_close(&swap->partitions);
    free(swap->who);
    free(swap->group);
    struct core_swap kept = {.error = swap->error,
                             .backoff_us = swap->backoff_us,
                             .try_us = swap->try_us,
                             .given_up = swap->given_up,
                             .waiters = swap->waiters};
    *swap = kept;
}

static void give_up_member(struct core *core, struct core_processor *processor,
                           const struct err *error)
{
    struct core_swap *swap = &processor->swap;
    struct err reason = *error;
    if (swap->canary != NULL) {
        err_prefix(&reason, "the canary v%u stays as it is", swap->new->number);
        swap_fail(&swap->swap);
        send_release(core, swap);
        swap_clear(swap);
        waiters_reply(core, &swap->waiters, NULL, &reason);
        return;
    }
    err_prefix(&reason, "the swap to v%u was given up", swap->new->number);
    trace(TRACE_WARN, "%s: %s", processor->name, reason.text);
    swap_fail(&swap->swap);
    send_release(core, swap);
    journal_error(core, swap->new, "swap_failed", &reason);
    swap->error = reason;
    swap->given_up++;
    swap->backoff_us = swap->backoff_us == 0 ? SWAP_BACKOFF_US
                                             : i64_min(2 * swap->backoff_us, SWAP_BACKOFF_US_MAX);
    swap->try_us = core_now_us(core) + swap->backoff_us;
    swap_clear(swap);
    waiters_reply(core, &swap->waiters, NULL, &reason);
}

void conduct_give_up(struct core *core, struct core_processor *processor, const struct err *error)
{
    if (!processor->swap.active || core->dead) {
        return;
    }
    uint64_t move = processor->swap.move;
    struct err of_others = *error;
    err_prefix(&of_others, "%s", processor->name);
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *member = core->processors[i];
        if (conduct_moves(member, move)) {
            give_up_member(core, member, member == processor ? error : &of_others);
        }
    }
}

bool conduct_involves(const struct core_version *version)
{
    const struct core_swap *swap = &version->processor->swap;
    return swap->active && (swap->old == version || swap->new == version);
}

bool conduct_freezes(const struct core_version *version)
{
    const struct core_swap *swap = &version->processor->swap;
    return swap->active && swap->old == version && swap->part == SWAP_STILL;
}

void conduct_give_up_version(struct core *core, struct core_version *version,
                             const struct err *error)
{
    if (conduct_involves(version)) {
        struct err reason = *error;
        err_prefix(&reason, "v%u", version->number);
        conduct_give_up(core, version->processor, &reason);
    }
}

void conduct_close(struct core *core, struct core_processor *processor)
{
    struct err err = {0};
    (void)err_set(&err, KE_CLOSED, "the server is shutting down");
    if (processor->swap.active) {
        swap_clear(&processor->swap);
    }
    waiters_reply(core, &processor->swap.waiters, NULL, &err);
}

/* ---- COMMIT and RELEASE ---- */

static void send_serving(struct core *core, struct core_version *version, bool on)
{
    json_t *outbox = on ? outputs_message(core, version->processor) : NULL;
    json_t *message = json_pack("{s:s, s:b, s:o*}", "do", "serving", "on", on, "outbox", outbox);
    ASSERT(message != NULL);
    child_send(core, &version->child, message);
}

/* ---- How long the hold took, step by step ---- */

static void steps_note(const struct core *core, struct core_swap *swap)
{
    for (uint32_t step = 0; step <= swap->swap.step && swap->swap.step <= SWAP_RELEASE; step++) {
        if (swap->step_us[step] == 0) {
            swap->step_us[step] = core_now_us(core);
        }
    }
}

/* {"prepare","run_to","check","commit","release"} are the hold; of run_to, what each worker's own commit
 * took; and "near", before the hold. */
static json_t *steps_json(const struct core_swap *swap, int64_t end_us)
{
    static const char *const commits[SWAP_SIDES] = {"old_commit", "new_commit"};
    json_t *steps = json_object();
    object_set(steps, "near", json_real((double)(swap->swap.started_us - swap->near_us) / 1000.0));
    for (uint32_t step = SWAP_PREPARE; step <= SWAP_RELEASE; step++) {
        int64_t until = step == SWAP_RELEASE ? end_us : swap->step_us[step + 1];
        object_set(steps, state_name(&swap_steps, step),
                   json_real((double)(until - swap->step_us[step]) / 1000.0));
    }
    for (int side = 0; side < SWAP_SIDES; side++) {
        if (swap->at_cut[side] != NULL) {
            object_set(steps, commits[side],
                       json_real(json_number(swap->at_cut[side], "commit_us", 0) / 1000.0));
        }
    }
    return steps;
}

/* Behind COMMIT: who serves is told, and all go on. The new one first: then readers see newer cuts again
 * (who is woken may take the CPU from who wakes it). */
static void release_member(struct core *core, struct core_swap *swap)
{
    swap_committed(&swap->swap);
    steps_note(core, swap);
    if (swap->canary == NULL) {
        send_serving(core, swap->new, true);
    }
    send_side(core, swap, SWAP_NEW, "release");
    int64_t now_us = core_now_us(core);
    if (swap->canary == NULL && swap->old != NULL) {
        send_serving(core, swap->old, false);
    }
    send_side(core, swap, SWAP_OLD, "release");
    int64_t hold_us = now_us - swap->swap.started_us;
    object_set(swap->receipt, "hold_ms", json_real((double)hold_us / 1000.0));
    object_set(swap->receipt, "steps_ms", steps_json(swap, now_us));
    if (swap->canary == NULL && strcmp(swap->why, "auto") == 0 && swap->new->caught_us != 0) {
        double waited_ms = (double)(now_us - swap->new->caught_us) / 1000.0;
        object_set(swap->receipt, "caught_up_ms", json_real(waited_ms));
    }
}

static void tell_member(struct core *core, struct core_processor *processor)
{
    struct core_swap *swap = &processor->swap;
    if (swap->canary != NULL) {
        json_t *answer = json_incref(swap->receipt);
        canary_told(core, processor, swap->new, swap->who);
        swap_clear(swap);
        waiters_reply(core, &swap->waiters, answer, NULL);
        json_decref(answer);
        return;
    }
    char instead[40] = "";
    if (swap->old != NULL) {
        (void)snprintf(instead, sizeof instead, " instead of v%u", swap->old->number);
    }
    trace(TRACE_INFO, "%s: v%u serves%s, epoch %llu, held %.1f ms (%s)", processor->name,
          swap->new->number, instead, (unsigned long long)swap->epoch,
          json_number(swap->receipt, "hold_ms", 0), swap->why);
    conduct_correct_hold(core, processor);
    json_t *receipt = json_incref(swap->receipt);
    journal_note(core, "swapped", processor->name, swap->new->number,
                 json_pack("{s:O}", "receipt", receipt), "%s v%u serves%s (%s, by %s)",
                 processor->name, swap->new->number, instead, swap->why, swap->who);
    swap->error.code = 0;
    swap->backoff_us = 0;
    swap->try_us = 0;
    swap_clear(swap);
    waiters_reply(core, &swap->waiters, receipt, NULL);
    json_decref(receipt);
}

/* Behind the hold of all members. */
static void swap_release(struct core *core, uint64_t move)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        if (conduct_moves(core->processors[i], move)) {
            release_member(core, &core->processors[i]->swap);
        }
    }
    for (uint32_t i = 0; i < core->processor_count; i++) {
        if (conduct_moves(core->processors[i], move)) {
            tell_member(core, core->processors[i]);
        }
    }
}

/* When all members are there. */
static void swap_finish(struct core *core, struct core_processor *processor)
{
    uint64_t move = processor->swap.move;
    for (uint32_t i = 0; i < core->processor_count; i++) {
        const struct core_processor *member = core->processors[i];
        if (conduct_moves(member, move) && member->swap.swap.step != SWAP_CHECK) {
            return;
        }
    }
    struct err err = {0};
    int rc = 0;
    for (uint32_t i = 0; i < core->processor_count && rc == 0; i++) {
        struct core_processor *member = core->processors[i];
        if (conduct_moves(member, move)) {
            rc = swap_may_commit(&member->swap.swap, core_now_us(core), &err);
            steps_note(core, &member->swap);
        }
    }
    if (rc == 0) {
        rc = processor->swap.canary != NULL ? canary_commit(core, processor, &err)
                                            : conduct_commit(core, move, &err);
    }
    if (rc == 0) {
        swap_release(core, move);
    } else {
        conduct_give_up(core, processor, &err);
    }
}

/* ---- Events ---- */

static void send_cut(struct core *core, struct core_swap *swap)
{
    for (int side = 0; side < SWAP_SIDES; side++) {
        struct core_version *version = side_version(swap, (enum swap_side)side);
        if (side_is_live(swap, (enum swap_side)side)) {
            child_send_cut(core, version, &swap->swap, (enum swap_side)side);
        }
    }
}

static int on_held(struct core *core, struct core_swap *swap, enum swap_side side,
                   const int64_t *next, uint64_t id, const json_t *event, struct err *err)
{
    uint32_t before = swap->swap.step;
    int rc = swap_held(&swap->swap, side, id, next, side_version(swap, side)->lag.count, err);
    if (rc == 0 && before == SWAP_PREPARE && id == swap->swap.id && side == SWAP_OLD) {
        int64_t now_us = core_now_us(core);
        swap_held_since(&swap->swap, i64_min(json_int(event, "held_us", 0), now_us));
        swap->step_us[SWAP_PREPARE] = swap->swap.started_us;
    } else if (rc == 0 && before == SWAP_PREPARE && id == swap->swap.id) {
        hold_old(core, swap->move);
    }
    if (rc == 0 && before == SWAP_PREPARE && swap->swap.step == SWAP_RUN_TO) {
        send_cut(core, swap);
    }
    return rc;
}

static int on_at_cut(struct core_swap *swap, enum swap_side side, const int64_t *cut, uint64_t id,
                     const json_t *event, struct err *err)
{
    if (id == swap->swap.id) {
        json_decref(swap->at_cut[side]);
        swap->at_cut[side] = json_incref((json_t *)(uintptr_t)event);
    }
    return swap_at_cut(&swap->swap, side, id, cut, side_version(swap, side)->lag.count, err);
}

void conduct_event(struct core *core, struct core_version *version, const json_t *event)
{
    struct core_swap *swap = &version->processor->swap;
    if (!conduct_involves(version)) {
        return;
    }
    enum swap_side side = version == swap->old ? SWAP_OLD : SWAP_NEW;
    uint64_t id = (uint64_t)json_int(event, "id", 0);
    bool held = strcmp(json_text(event, "is", ""), "held") == 0;
    int64_t *offsets = xcalloc(version->lag.count, sizeof *offsets);
    struct err err = {0};
    int rc = 0;
    if (!lag_offsets(json_object_get(event, held ? "next" : "cut"), offsets, version->lag.count)) {
        rc = id != swap->swap.id ? 0
                                 : err_set(&err, KE_INTERNAL, "the worker of v%u answers nonsense",
                                           version->number);
    } else if (held) {
        rc = on_held(core, swap, side, offsets, id, event, &err);
    } else {
        rc = on_at_cut(swap, side, offsets, id, event, &err);
    }
    free(offsets);
    steps_note(core, swap);
    if (rc != 0) {
        conduct_give_up(core, version->processor, &err);
    } else if (swap->swap.step == SWAP_CHECK && !core->dead) {
        swap_finish(core, version->processor);
    }
}

/* ---- Ticks ---- */

/* Of a group, the member that is not there. */
static struct core_processor *late_member(const struct core *core, struct core_processor *processor)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *member = core->processors[i];
        if (conduct_moves(member, processor->swap.move) && member->swap.swap.step < SWAP_CHECK) {
            return member;
        }
    }
    return processor;
}

/* Some have not answered `near`: it goes on without. True: that is what was waited for. */
static bool near_enough(struct core *core, uint64_t move)
{
    bool any = false;
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_swap *swap = &core->processors[i]->swap;
        if (conduct_moves(core->processors[i], move) && swap->nearing) {
            swap->nearing = false;
            any = true;
        }
    }
    if (any) {
        prepare_all(core, move);
    }
    return any;
}

static void run_out(struct core *core, struct core_processor *processor)
{
    if (near_enough(core, processor->swap.move)) {
        return;
    }
    processor = late_member(core, processor);
    const struct core_swap *swap = &processor->swap;
    enum swap_side side = SWAP_NEW;
    const char *what = swap_waits_for(&swap->swap, &side);
    struct err err = {0};
    (void)err_set(&err, KE_TIMEOUT, "the hold of %lld ms ran out waiting for v%u %s",
                  (long long)(HOLD_US_MAX / 1000), side_version(swap, side)->number, what);
    if (side == SWAP_OLD) {
        err_hint(
            &err,
            "a worker that has said nothing for 5 s is killed when a swap is asked for by hand");
    }
    conduct_give_up(core, processor, &err);
}

/* The one to swap in without being asked: the newest ready one, if it is newer than all that ever
 * served. So an automatic swap never goes back. */
static struct core_version *auto_candidate(struct core_processor *processor)
{
    for (uint32_t i = processor->version_count; i-- > 0;) {
        struct core_version *version = processor->versions[i];
        if (version_has_served((enum version_state)version->state) ||
            json_bool(version->object, "barred", false)) {
            return NULL;
        }
        if (version->state == VERSION_READY &&
            strcmp(json_text(version->object, "swap", "auto"), "auto") == 0) {
            return version;
        }
    }
    return NULL;
}

/* Would this member be swapped in by itself, if it were alone? */
static int check_auto(struct core *core, const struct core_version *version, struct err *err)
{
    const struct core_processor *processor = version->processor;
    if (strcmp(json_text(version->object, "swap", "auto"), "auto") != 0) {
        return err_set(err, KE_AGAIN, "v%u waits for a person: swap.mode = manual",
                       version->number);
    }
    if (core_now_us(core) < processor->swap.try_us || diff_holds(core, processor) ||
        processor->swap.active) {
        return err_set(err, KE_AGAIN, "v%u is tried again soon", version->number);
    }
    return 0;
}

/* May all of them? */
static int check_group(struct core *core, struct group *group, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < group->count && rc == 0; i++) {
        struct group_member *member = &group->members[i];
        rc = i == 0 ? 0 : check_auto(core, member->version, err);
        if (rc == 0) {
            rc = gate_auto(core, member->version, &member->note, err);
        }
        if (rc != 0 && i > 0) {
            err_prefix(err, "it changes over with the group \"%s\", and %s", group->name,
                       member->version->processor->name);
        }
    }
    return rc;
}

static void try_auto(struct core *core, struct core_version *version)
{
    struct core_swap *swap = &version->processor->swap;
    struct group group;
    struct err err = {0};
    struct err found = {0};
    int rc = group_open(core, version, false, &group, &err);
    /* If others are not there, its own checks are made all the same. */
    group.count = rc == 0 ? group.count : 1;
    int passed = check_group(core, &group, &found);
    if (rc == 0) {
        rc = passed;
        err = found;
    }
    if (rc != 0 && version->gate.waits.code == 0) {
        version->gate.waits = err;
        version->gate.waits.code = -KE_AGAIN;
    }
    if (rc == 0 && conduct_start(core, &group, "auto", "kappa", NULL, &err) != 0) {
        swap->error = err;
        swap->try_us = core_now_us(core) + SWAP_BACKOFF_US;
    }
    group_close(&group);
}

void conduct_tick(struct core *core, struct core_processor *processor)
{
    struct core_swap *swap = &processor->swap;
    if (core->dead || core->stopping) {
        return;
    }
    if (swap->active) {
        if (swap_expired(&swap->swap, core_now_us(core))) {
            run_out(core, processor);
        }
        return;
    }
    struct core_version *version = auto_candidate(processor);
    if (version == NULL || core_now_us(core) < swap->try_us || diff_holds(core, processor)) {
        return;
    }
    try_auto(core, version);
}
