/* Control calls: who asks for what, checked, and either answered or kept waiting. Own header: core.h.
 *
 * A row per word of serve/calls.def. Each function answers `request` once, now or later. */
#include "controller/core_inside.h"

#include "base/trace.h"
#include "table/catalog.h"

#include <stdio.h>
#include <string.h>

#define HISTORY_MAX     1000 /* receipts in one answer, newest first */
#define HISTORY_ALL_MAX 100  /* of all processors */
#define REASON_LEN      1000 /* of a person's swap */

struct ask {
    struct core *core;
    void *request;
    struct core_processor *processor; /* NULL unless the row needs it */
    struct core_version *version;     /* NULL unless the row needs it */
    const char *name;                 /* of the processor as asked, or NULL */
    uint32_t number;                  /* of the version as asked, or 0 */
    const json_t *body;               /* or NULL */
    int64_t until_us;                 /* a second try of a swap waits no longer; 0: the first */
    uint32_t served;                  /* of a second try: what served at the first */
};

static void refuse(const struct ask *ask, const struct err *err)
{
    core_reply(ask->core, ask->request, NULL, err);
}

static const char *asker(const struct ask *ask)
{
    return json_text(ask->body, "who", "api");
}

/* ---- Reading ---- */

static void ask_status(const struct ask *ask)
{
    if (ask->name == NULL) {
        core_reply(ask->core, ask->request, status_all(ask->core), NULL);
        return;
    }
    core_reply(ask->core, ask->request, status_processor(ask->core, ask->processor), NULL);
}

static void ask_history(const struct ask *ask)
{
    struct err err = {0};
    json_t *body = history_json(ask->core, ask->processor,
                                ask->processor != NULL ? HISTORY_MAX : HISTORY_ALL_MAX, &err);
    core_reply(ask->core, ask->request, body, body != NULL ? NULL : &err);
}

static void ask_plots(const struct ask *ask)
{
    core_reply(ask->core, ask->request, plots_json(ask->processor), NULL);
}

static void ask_events(const struct ask *ask)
{
    journal_request(ask->core, ask->request, ask->body);
}

/* `kappa corrections` has sent messages (replayer/correction.h): it is written into the events. */
static void ask_corrected(const struct ask *ask)
{
    static const char *const members[] = {"epoch", "replaced", "added", "retracted"};
    json_t *more = json_pack("{s:s}", "who", json_text(ask->body, "who", "unknown"));
    for (size_t i = 0; i < array_len(members); i++) {
        object_set(more, members[i], json_integer(json_int(ask->body, members[i], 0)));
    }
    journal_note(
        ask->core, "corrected", ask->name, (uint32_t)json_int(ask->body, "version", 0), more,
        "what %s has sent was corrected by %s: %lld replaced, %lld added, %lld retracted",
        ask->name, json_text(ask->body, "who", "unknown"),
        (long long)json_int(ask->body, "replaced", 0), (long long)json_int(ask->body, "added", 0),
        (long long)json_int(ask->body, "retracted", 0));
    core_reply(ask->core, ask->request, json_object(), NULL);
}

static void ask_gc(const struct ask *ask)
{
    gc_request(ask->core, ask->request, ask->body);
}

/* ---- New versions ---- */

static void ask_deploy(const struct ask *ask)
{
    deploy_request(ask->core, ask->request, ask->name, ask->body);
}

static void ask_replay(const struct ask *ask)
{
    replay_request(ask->core, ask->request, ask->processor, ask->body);
}

static void ask_verify(const struct ask *ask)
{
    verify_request(ask->core, ask->request, ask->version);
}

static void ask_diff(const struct ask *ask)
{
    diff_request(ask->core, ask->request, ask->processor, ask->body);
}

/* ---- Swaps ---- */

/* Without a number: the newest ready version, or one that was rolled back from (forward again). If
 * there is none, the newest candidate, so that the answer says why not. */
static struct core_version *newest_to_swap(struct core_processor *processor)
{
    struct core_version *standby = NULL;
    struct core_version *candidate = NULL;
    int64_t serving = json_int(processor->object, "serving", 0);
    for (uint32_t i = processor->version_count; i-- > 0;) {
        struct core_version *version = processor->versions[i];
        if (version->state == VERSION_READY) {
            return version;
        }
        if (standby == NULL && version->state == VERSION_STANDBY && version->number > serving) {
            standby = version;
        }
        if (candidate == NULL && version_is_candidate((enum version_state)version->state)) {
            candidate = version;
        }
    }
    return standby != NULL ? standby : candidate;
}

static uint32_t serving_number(const struct ask *ask)
{
    return (uint32_t)json_int(ask->processor->object, "serving", 0);
}

/* Workers that are just starting are waited for: after a crash a rollback must not need luck. So are
 * the checks of a policy, however long they take. */
static bool wait_for_workers(const struct ask *ask, const struct group *group, bool rollback)
{
    struct core_later *later = &ask->processor->later;
    int64_t now = core_now_us(ask->core);
    int64_t until = ask->until_us != 0 ? ask->until_us : now + LATER_US;
    for (uint32_t i = 0; i < group->count; i++) {
        until = gate_is_busy(group->members[i].version) ? now + LATER_US : until;
    }
    if (later->request != NULL || now >= until || ask->core->stopping) {
        return false;
    }
    *later = (struct core_later){.request = ask->request,
                                 .rollback = rollback,
                                 .number = group->members[0].version->number,
                                 .serving = serving_number(ask),
                                 .body = json_deep_copy(ask->body),
                                 .until_us = until};
    return true;
}

/* Why, in the person's words, goes into the receipt; and that a group was left behind. */
static void note_words(const struct ask *ask, const struct group *group, json_t **note)
{
    const char *reason = json_text(ask->body, "reason", NULL);
    bool alone = json_bool(ask->body, "alone", false) && group_name(group->members[0].version);
    if (reason != NULL || alone) {
        *note = *note != NULL ? *note : json_object();
    }
    if (reason != NULL) {
        object_set(*note, "reason", json_string(reason));
    }
    if (alone) {
        object_set(*note, "alone", json_true());
    }
}

static int check_reason(const struct ask *ask, struct err *err)
{
    size_t len = strlen(json_text(ask->body, "reason", ""));
    return len <= REASON_LEN ? 0
                             : err_set(err, KE_INVALID, "a reason has at most %d bytes, not %zu",
                                       REASON_LEN, len);
}

/* Who may, and the gates of all that change over: checks of several are made at the same time. */
static int ask_gates(const struct ask *ask, struct group *group, bool back, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < group->count && (rc == 0 || rc == -KE_AGAIN); i++) {
        struct group_member *member = &group->members[i];
        struct err reason = {0};
        int found = back ? who_may_go_back(ask->core, member->version->processor, asker(ask),
                                           "roll back", &reason)
                         : who_may_swap(ask->core, member->version, asker(ask), &reason);
        found = found == 0 && member->version->state == VERSION_READY
                    ? gate_asked(ask->core, member->version, ask->body, ask->until_us == 0,
                                 &member->note, &reason)
                    : found;
        if (found != 0 && i > 0) {
            err_prefix(&reason, "it changes over with %s", member->version->processor->name);
        }
        if (found != 0) {
            rc = found;
            *err = reason;
        }
        note_words(ask, group, &member->note);
    }
    return rc;
}

static void start_swap(const struct ask *ask, struct core_version *version, const char *why)
{
    struct err err = {0};
    struct group group = {0};
    bool back = strcmp(why, "rollback") == 0;
    int rc = check_reason(ask, &err);
    if (rc == 0) {
        rc = group_open(ask->core, version, json_bool(ask->body, "alone", false), &group, &err);
    }
    if (rc == 0) {
        rc = ask_gates(ask, &group, back, &err);
    }
    if (rc == 0) {
        rc = conduct_start(ask->core, &group, why, asker(ask), ask->request, &err);
    }
    bool waits = rc == -KE_AGAIN && wait_for_workers(ask, &group, back);
    if (rc != 0 && !waits) {
        refuse(ask, &err);
    }
    group_close(&group);
}

static void ask_swap(const struct ask *ask)
{
    struct err err = {0};
    struct core_version *version = ask->number != 0 ? core_version_find(ask->processor, ask->number)
                                                    : newest_to_swap(ask->processor);
    if (version != NULL) {
        start_swap(ask, version, "swap");
    } else if (ask->number != 0) {
        (void)core_version_unknown(ask->processor, ask->number, &err);
        refuse(ask, &err);
    } else {
        (void)err_set(&err, KE_REFUSED, "%s has no version that could be swapped in", ask->name);
        err_hint(&err, "kappa deploy or kappa replay makes one; kappa rollback goes back");
        refuse(ask, &err);
    }
}

static struct core_version *standby_of(struct core_processor *processor)
{
    for (uint32_t i = processor->version_count; i-- > 0;) {
        if (processor->versions[i]->state == VERSION_STANDBY) {
            return processor->versions[i];
        }
    }
    return NULL;
}

/* While it waited, another version may have begun to serve: that is not the one to go back from. */
static void ask_rollback(const struct ask *ask)
{
    struct err err = {0};
    struct core_version *version = standby_of(ask->processor);
    if (ask->until_us != 0 && serving_number(ask) != ask->served) {
        (void)err_set(&err, KE_REFUSED, "v%u has begun to serve meanwhile, instead of v%u",
                      serving_number(ask), ask->served);
        err_hint(&err, "kappa status %s shows what serves; kappa rollback %s goes back from that",
                 ask->name, ask->name);
        refuse(ask, &err);
    } else if (version == NULL) {
        (void)err_set(&err, KE_REFUSED, "%s has no version on standby to roll back to", ask->name);
        err_hint(&err, "kappa status %s shows the versions; kappa replay builds one again",
                 ask->name);
        refuse(ask, &err);
    } else if (json_bool(version->object, "barred", false)) {
        (void)err_set(&err, KE_REFUSED, "the version on standby, v%u, was itself rolled back",
                      version->number);
        err_hint(&err, "kappa swap %s %u rolls forward to it", ask->name, version->number);
        refuse(ask, &err);
    } else {
        start_swap(ask, version, "rollback");
    }
}

void requests_later(struct core *core, struct core_processor *processor, const struct err *give_up)
{
    struct core_later later = processor->later;
    if (later.request == NULL || core->dead) {
        return;
    }
    processor->later = (struct core_later){0};
    struct ask ask = {.core = core,
                      .request = later.request,
                      .processor = processor,
                      .name = processor->name,
                      .number = later.number,
                      .body = later.body,
                      .until_us = later.until_us,
                      .served = later.serving};
    if (give_up != NULL) {
        refuse(&ask, give_up);
    } else if (later.rollback) {
        ask_rollback(&ask);
    } else {
        ask_swap(&ask);
    }
    json_decref(later.body);
}

/* ---- One version's life ---- */

/* Answers with the object as it is now. The version may be gone afterwards. */
static void reply_version(const struct ask *ask, int rc, const struct err *err)
{
    if (rc == 0) {
        core_reply(ask->core, ask->request, json_deep_copy(ask->version->object), NULL);
        version_advance(ask->core, ask->version);
    } else {
        refuse(ask, err);
    }
}

/* What serves stays, and whoever may not go back does not take the way back away. */
static int check_not_serving(const struct ask *ask, const char *what, struct err *err)
{
    if (ask->version->state != VERSION_SERVING) {
        bool back = version_role(ask->version) == VERSION_STANDBY;
        return back ? who_may_go_back(ask->core, ask->processor, asker(ask),
                                      "take away the version on standby of", err)
                    : 0;
    }
    int rc = err_set(err, KE_REFUSED, "v%u of %s is serving: it cannot be %s", ask->number,
                     ask->name, what);
    err_hint(err, "swap in another version first (kappa swap, kappa rollback)");
    return rc;
}

static void give_up_swap(const struct ask *ask, const char *what)
{
    struct err reason = {0};
    (void)err_set(&reason, KE_REFUSED, "%s by %s", what, asker(ask));
    conduct_give_up_version(ask->core, ask->version, &reason);
}

static void ask_abort(const struct ask *ask)
{
    struct core_version *version = ask->version;
    struct err err = {0};
    int rc = check_not_serving(ask, "aborted", &err);
    bool standby = version_role(version) == VERSION_STANDBY;
    if (rc == 0 && (standby || !state_may_move(&version_states, version->state, VERSION_ABORTED))) {
        rc = err_set(&err, KE_REFUSED, "v%u is %s: only a candidate can be aborted",
                     version->number, state_name(&version_states, version->state));
        err_hint(&err, "kappa drop %s %u removes it", ask->name, version->number);
    }
    if (rc == 0) {
        give_up_swap(ask, "aborted");
        rc = version_move(ask->core, version, VERSION_ABORTED, NULL, &err);
    }
    reply_version(ask, rc, &err);
}

static void ask_pause(const struct ask *ask)
{
    struct core_version *version = ask->version;
    struct err err = {0};
    int rc = check_not_serving(ask, "paused", &err);
    if (rc == 0 && !state_may_move(&version_states, version->state, VERSION_PAUSED)) {
        rc = err_set(&err, KE_REFUSED, "v%u is %s: it cannot be paused", version->number,
                     state_name(&version_states, version->state));
    }
    if (rc == 0) {
        give_up_swap(ask, "paused");
        const char *from = state_name(&version_states, version->state);
        rc = version_move(ask->core, version, VERSION_PAUSED,
                          json_pack("{s:s}", "paused_from", from), &err);
    }
    if (rc == 0 && child_is_open(&version->child)) {
        child_send_word(ask->core, &version->child, "pause");
    }
    reply_version(ask, rc, &err);
}

static void ask_resume(const struct ask *ask)
{
    struct core_version *version = ask->version;
    struct err err = {0};
    int rc = 0;
    if (version->state == VERSION_PAUSED) {
        rc = version_move(ask->core, version, version_paused_from(version), NULL, &err);
        if (rc == 0) {
            child_send_word(ask->core, &version->child, "resume");
        }
    } else if (version->state == VERSION_SERVING && version->child.blocked &&
               !conduct_involves(version)) {
        /* A person repaired what was wrong: another try. */
        version->child.blocked = false;
        version->child.start_us = 0;
    } else {
        rc = err_set(&err, KE_REFUSED, "v%u is not paused: it is %s", version->number,
                     state_name(&version_states, version->state));
    }
    reply_version(ask, rc, &err);
}

static void ask_limit(const struct ask *ask)
{
    struct err err = {0};
    const json_t *limit = json_object_get(ask->body, "limit");
    int rc = 0;
    if (limit == NULL) {
        rc = err_set(&err, KE_INVALID, "it needs \"limit\": an object, or null for no limit");
    } else {
        rc = limit_set(ask->core, ask->version, limit, asker(ask), &err);
    }
    reply_version(ask, rc, &err);
}

static void ask_limit_all(const struct ask *ask)
{
    limit_all_request(ask->core, ask->request, ask->body);
}

/* The state in which a version may be dropped: none to move to when it is final already. */
static enum version_state dropped_state(const struct core_version *version)
{
    if (version_states.rows[version->state].final) {
        return (enum version_state)version->state;
    }
    return state_may_move(&version_states, version->state, VERSION_ABORTED) ? VERSION_ABORTED
                                                                            : VERSION_RETIRED;
}

static void ask_drop(const struct ask *ask)
{
    struct core_version *version = ask->version;
    struct err err = {0};
    int rc = check_not_serving(ask, "dropped", &err);
    if (rc == 0) {
        rc = outputs_may_drop(version, &err);
    }
    if (rc == 0 && version->dropping) {
        rc = err_set(&err, KE_BUSY, "v%u is being dropped", version->number);
    }
    if (rc == 0) {
        give_up_swap(ask, "dropped");
        enum version_state to = dropped_state(version);
        if (to != (enum version_state)version->state) {
            rc = version_move(ask->core, version, to, NULL, &err);
        }
    }
    if (rc != 0) {
        refuse(ask, &err);
        return;
    }
    version->dropping = true;
    version->drop = ask->request;
    version_advance(ask->core, version);
}

static void ask_canary(const struct ask *ask)
{
    canary_request(ask->core, ask->request, ask->processor, ask->number, ask->body);
}

static void ask_snapshot(const struct ask *ask)
{
    snapshot_request(ask->core, ask->request, ask->processor, ask->number, ask->body);
}

static void ask_snapshots(const struct ask *ask)
{
    snapshots_request(ask->core, ask->request, ask->processor);
}

static void ask_snapshot_drop(const struct ask *ask)
{
    snapshot_drop_request(ask->core, ask->request, ask->processor, ask->body);
}

/* ---- The table ---- */

enum ask_needs { NEEDS_NOTHING, NEEDS_NAME, NEEDS_PROCESSOR, NEEDS_VERSION };

/* members: of the body; "limit" and others are looked at by who takes them. */
static const struct ask_row {
    const char *verb;
    enum ask_needs needs;
    const char *members;
    void (*fn)(const struct ask *ask);
} ask_rows[] = {
    {"status", NEEDS_NOTHING, "", ask_status},
    {"events", NEEDS_NOTHING, "after,limit,processor,wait", ask_events},
    {"deploy", NEEDS_NAME,
     "cache_bytes,dry_run,empty_state,file,files,from,in_window,limit,name,outputs,plugins,"
     "settings,shards,sql,swap,who",
     ask_deploy},
    {"replay", NEEDS_PROCESSOR,
     "cache_bytes,dry_run,empty_state,from,in_window,limit,outputs,settings,shards,swap,who",
     ask_replay},
    {"swap", NEEDS_PROCESSOR, "accept_gap,alone,force,reason,version,who", ask_swap},
    {"rollback", NEEDS_PROCESSOR, "accept_gap,alone,force,reason,who", ask_rollback},
    {"abort", NEEDS_VERSION, "who", ask_abort},
    {"pause", NEEDS_VERSION, "who", ask_pause},
    {"resume", NEEDS_VERSION, "who", ask_resume},
    {"drop", NEEDS_VERSION, "who", ask_drop},
    {"verify", NEEDS_VERSION, "who", ask_verify},
    {"history", NEEDS_NOTHING, "", ask_history},
    {"gc", NEEDS_NOTHING, "dry_run,keep,older_than_ms,processor,who", ask_gc},
    {"diff", NEEDS_PROCESSOR, "a,b,exact,limit,records,table,where,who", ask_diff},
    {"plots", NEEDS_PROCESSOR, "", ask_plots},
    {"limit", NEEDS_VERSION, "limit,who", ask_limit},
    {"limit_all", NEEDS_NOTHING, "limit,who", ask_limit_all},
    {"canary", NEEDS_PROCESSOR, "force,shadow,share,version,who", ask_canary},
    {"snapshot", NEEDS_PROCESSOR, "name,version,who", ask_snapshot},
    {"snapshots", NEEDS_PROCESSOR, "", ask_snapshots},
    {"snapshot_drop", NEEDS_PROCESSOR, "snapshot,who", ask_snapshot_drop},
    {"corrected", NEEDS_PROCESSOR, "added,epoch,replaced,retracted,version,who", ask_corrected},
};

static const struct ask_row *find_row(const char *verb)
{
    for (size_t i = 0; i < array_len(ask_rows); i++) {
        if (strcmp(ask_rows[i].verb, verb) == 0) {
            return &ask_rows[i];
        }
    }
    return NULL;
}

static bool is_text(const json_t *value)
{
    return json_is_string(value);
}

static bool is_whole(const json_t *value)
{
    return json_is_integer(value);
}

static bool is_truth(const json_t *value)
{
    return json_is_boolean(value);
}

/* What a member is, in all calls that have it; null is left out. One of another type, or of another name,
 * would count as left out, too: "dry_run":"true" and "dryrun":true as an order to do it. */
static int check_members(const char *known, const json_t *body, struct err *err)
{
    static const struct {
        const char *name;
        bool (*is)(const json_t *value);
        const char *what;
    } members[] = {{"accept_gap", is_truth, "true or false"},
                   {"added", is_whole, "a whole number"},
                   {"alone", is_truth, "true or false"},
                   {"cache_bytes", is_whole, "a whole number"},
                   {"dry_run", is_truth, "true or false"},
                   {"empty_state", is_truth, "true or false"},
                   {"epoch", is_whole, "a whole number"},
                   {"exact", is_truth, "true or false"},
                   {"file", is_text, "text"},
                   {"force", is_truth, "true or false"},
                   {"from", is_text, "text"},
                   {"in_window", is_truth, "true or false"},
                   {"name", is_text, "text"},
                   {"outputs", is_text, "text"},
                   {"processor", is_text, "text"},
                   {"reason", is_text, "text"},
                   {"records", is_truth, "true or false"},
                   {"replaced", is_whole, "a whole number"},
                   {"retracted", is_whole, "a whole number"},
                   {"shadow", is_truth, "true or false"},
                   {"shards", is_whole, "a whole number"},
                   {"snapshot", is_text, "text"},
                   {"sql", is_text, "text"},
                   {"swap", is_text, "text"},
                   {"table", is_text, "the name of a table"},
                   {"where", is_text, "the text of a condition"},
                   {"who", is_text, "text"}};

    int rc = json_only(body, known, err);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < array_len(members); i++) {
        const json_t *value = json_object_get(body, members[i].name);
        if (value != NULL && !json_is_null(value) && !members[i].is(value)) {
            return err_set(err, KE_INVALID, "\"%s\" must be %s", members[i].name, members[i].what);
        }
    }
    return 0;
}

/* Finds the processor and version that the row needs. */
static int resolve(struct ask *ask, const struct ask_row *row, struct err *err)
{
    bool wants = row->needs >= NEEDS_PROCESSOR || (row->needs == NEEDS_NOTHING && ask->name);
    if (row->needs >= NEEDS_NAME && ask->name == NULL) {
        return err_set(err, KE_INVALID, "'%s' needs the name of a processor", row->verb);
    }
    if (wants) {
        ask->processor = core_processor_find(ask->core, ask->name);
        if (ask->processor == NULL) {
            return core_processor_unknown(ask->core, ask->name, err);
        }
    }
    if (row->needs == NEEDS_VERSION) {
        ask->version = core_version_find(ask->processor, ask->number);
        if (ask->version == NULL) {
            return core_version_unknown(ask->processor, ask->number, err);
        }
    }
    return 0;
}

void core_request(struct core *core, void *request, const char *verb, const char *processor,
                  uint32_t version, const json_t *body)
{
    struct err err = {0};
    struct ask ask = {
        .core = core, .request = request, .name = processor, .number = version, .body = body};
    const struct ask_row *row = find_row(verb);
    if (core->stopping) {
        (void)err_set(&err, KE_CLOSED, "the server is shutting down");
    } else if (row == NULL) {
        (void)err_set(&err, KE_INVALID, "there is no call '%s'", verb);
    } else if (check_members(row->members, body, &err) == 0 && resolve(&ask, row, &err) == 0) {
        row->fn(&ask);
        return;
    }
    refuse(&ask, &err);
}
