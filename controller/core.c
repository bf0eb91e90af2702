/* The brain: opening, ticking, and the moves of versions along their life cycle. Own header: core.h.
 *
 * Every look (core_tick, and each event for its version) does what is due and nothing else: it is
 * safe to look at any time and as often as one likes. */
#include "controller/core_inside.h"

#include "base/trace.h"
#include "table/catalog.h"

#include <stdlib.h>
#include <string.h>

/* ---- Small words ---- */

int64_t core_now_us(const struct core *core)
{
    return clock_mono_us(core->ops.clock);
}

int64_t core_now_ms(const struct core *core)
{
    return clock_wall_ms(core->ops.clock);
}

bool core_dies(struct core *core, const char *step)
{
    if (!core->dead && core->ops.fail_point != NULL) {
        core->dead = core->ops.fail_point(core->ops.ctx, step) != 0;
    }
    return core->dead;
}

void core_reply(struct core *core, void *request, json_t *body, const struct err *err)
{
    if (request != NULL && !core->dead) {
        core->ops.reply(core->ops.ctx, request, body, err);
    } else {
        json_decref(body);
    }
}

void core_run_job(struct core *core, struct core_job *job)
{
    core->jobs_out++;
    core->ops.run_job(core->ops.ctx, job);
}

void core_job_finish(struct core *core, struct core_job *job)
{
    if (core != NULL) {
        ASSERT_CMP(core->jobs_out, >, 0);
        core->jobs_out--;
    }
    job->done(core, job);
}

void waiters_add(struct core_waiter **list, void *request)
{
    struct core_waiter *waiter = xcalloc(1, sizeof *waiter);
    waiter->request = request;
    waiter->next = *list;
    *list = waiter;
}

bool waiters_take(struct core_waiter **list, void *request)
{
    for (struct core_waiter **at = list; *at != NULL; at = &(*at)->next) {
        struct core_waiter *waiter = *at;
        if (waiter->request == request) {
            *at = waiter->next;
            free(waiter);
            return true;
        }
    }
    return false;
}

void waiters_reply(struct core *core, struct core_waiter **list, const json_t *body,
                   const struct err *err)
{
    while (*list != NULL) {
        struct core_waiter *waiter = *list;
        *list = waiter->next;
        core_reply(core, waiter->request, body != NULL ? json_deep_copy(body) : NULL, err);
        free(waiter);
    }
}

uint32_t version_table_count(const struct core_version *version)
{
    return u32_from(json_array_size(json_object_get(version->object, "tables")));
}

const char *version_table(const struct core_version *version, uint32_t index)
{
    const json_t *tables = json_object_get(version->object, "tables");
    const char *name = json_string_value(json_array_get(tables, index));
    ASSERT(name != NULL);
    return name;
}

enum version_state version_paused_from(const struct core_version *version)
{
    uint32_t from = state_find(&version_states, json_text(version->object, "paused_from", ""));
    return from < VERSION_STATE_COUNT ? (enum version_state)from : VERSION_REPLAYING;
}

enum version_state version_role(const struct core_version *version)
{
    enum version_state state = (enum version_state)version->state;
    return state == VERSION_PAUSED ? version_paused_from(version) : state;
}

/* ---- Moves ---- */

/* to may be the state it is in: then only members change. */
static int version_write(struct core *core, struct core_version *version, enum version_state to,
                         json_t *extra, struct err *err)
{
    json_t *object = version_object_in(core, version, to);
    if (extra != NULL) {
        int merged = json_object_update(object, extra);
        ASSERT(merged == 0);
        json_decref(extra);
    }
    struct change change;
    change_begin(&change, core);
    change_version(&change, version, object);
    return change_commit(&change, err);
}

int version_move(struct core *core, struct core_version *version, enum version_state to,
                 json_t *extra, struct err *err)
{
    ASSERT(state_may_move(&version_states, version->state, to));
    enum version_state from = (enum version_state)version->state;
    int rc = version_write(core, version, to, extra, err);
    if (rc == 0) {
        trace(TRACE_INFO, "%s v%u: %s -> %s", version->processor->name, version->number,
              state_name(&version_states, from), state_name(&version_states, to));
    }
    return rc;
}

/* What nobody waits for: logged when it fails, and not tried again for a moment. */
static bool self_done(struct core *core, const struct core_version *version, int rc,
                      const struct err *err)
{
    if (rc != 0 && !core->dead) {
        trace(TRACE_ERROR, "%s v%u stays %s: %s", version->processor->name, version->number,
              state_name(&version_states, version->state), err->text);
        core->catalog_us = core_now_us(core) + CATALOG_RETRY_US;
    }
    return rc == 0;
}

static bool self_waits(const struct core *core)
{
    return core->dead || core_now_us(core) < core->catalog_us;
}

bool version_move_self(struct core *core, struct core_version *version, enum version_state to,
                       json_t *extra)
{
    if (self_waits(core)) {
        json_decref(extra);
        return false;
    }
    struct err err = {0};
    return self_done(core, version, version_move(core, version, to, extra, &err), &err);
}

int version_set(struct core *core, struct core_version *version, json_t *extra, struct err *err)
{
    return version_write(core, version, (enum version_state)version->state, extra, err);
}

bool version_set_self(struct core *core, struct core_version *version, json_t *extra)
{
    if (self_waits(core)) {
        json_decref(extra);
        return false;
    }
    struct err err = {0};
    return self_done(core, version, version_set(core, version, extra, &err), &err);
}

/* Sets the error that is shown, or takes it away. */
static void version_note_error(struct core *core, struct core_version *version,
                               const struct err *error)
{
    json_t *extra = json_pack("{s:o}", "error", error_to_json(error));
    ASSERT(extra != NULL);
    (void)version_set_self(core, version, extra);
}

void version_fail(struct core *core, struct core_version *version, const struct err *error)
{
    trace(TRACE_ERROR, "%s v%u cannot go on: %s", version->processor->name, version->number,
          error->text);
    version->child.blocked = true;
    version->child.exit = *error;
    conduct_give_up_version(core, version, error);
    child_stop(core, &version->child, false);
    if (version->state == VERSION_SERVING) {
        /* Reads go on: the pointer still names it. */
        version_note_error(core, version, error);
    }
}

/* A version that cannot go on becomes failed; at the next look if the catalog cannot write now. */
static void advance_blocked(struct core *core, struct core_version *version)
{
    const struct child *child = &version->child;
    if (child->blocked && version->state != VERSION_SERVING &&
        state_may_move(&version_states, version->state, VERSION_FAILED)) {
        (void)version_move_self(core, version, VERSION_FAILED,
                                json_pack("{s:o}", "error", error_to_json(&child->exit)));
    }
}

/* catching_up: seal when close enough, ready when sealed. */
static void advance_catching_up(struct core *core, struct core_version *version)
{
    struct child *child = &version->child;
    if (!lag_is_ready(&version->lag)) {
        return;
    }
    version->caught_us = version->caught_us != 0 ? version->caught_us : core_now_us(core);
    if (child->sealed) {
        (void)version_move_self(core, version, VERSION_READY, NULL);
    } else if (!child->seal_sent) {
        child->seal_sent = true;
        child_send_word(core, child, "seal");
    }
}

/* The object's times by the clock as it is now. */
static void standby_correct(struct core *core, struct core_version *version, int64_t by_ms)
{
    int64_t until_ms = version->standby_ms + by_ms;
    int64_t since_ms = json_int(version->object, "state_since_ms", 0) + by_ms;
    if (version_set_self(core, version,
                         json_pack("{s:I, s:I}", "standby_until_ms", (json_int_t)until_ms,
                                   "state_since_ms", (json_int_t)since_ms))) {
        version->standby_ms = until_ms;
        trace(TRACE_WARN, "the clock was set by %lld s: %s v%u stands by for as long as before",
              (long long)(by_ms / 1000), version->processor->name, version->number);
    }
}

/* Who stands by was promised a time, and the object says when it is over. Should somebody set the clock
 * meanwhile, the promise stands and the object is corrected. A server that starts has only the object: it
 * takes no more than the whole time from it. */
static void standby_watch(struct core *core, struct core_version *version)
{
    int64_t until_ms = json_int(version->object, "standby_until_ms", 0);
    int64_t now_ms = core_now_ms(core);
    int64_t now_us = core_now_us(core);
    if (until_ms == 0 || version_role(version) != VERSION_STANDBY) {
        return;
    }
    if (version->standby_ms != until_ms) {
        int64_t whole_ms = until_ms - json_int(version->object, "state_since_ms", until_ms);
        int64_t left_ms = i64_max(i64_min(until_ms - now_ms, whole_ms), 0);
        version->standby_ms = until_ms;
        version->standby_us = now_us + left_ms * 1000;
    }
    int64_t by_ms = now_ms + (version->standby_us - now_us) / 1000 - until_ms;
    if (version->standby_us > now_us && llabs(by_ms) > CLOCK_SET_MS) {
        standby_correct(core, version, by_ms);
    }
}

static bool standby_is_over(const struct core *core, const struct core_version *version)
{
    return version->state == VERSION_STANDBY && !conduct_involves(version) &&
           version->standby_ms != 0 && core_now_us(core) >= version->standby_us;
}

/* A serving version that had an error and is healthy again. */
static void advance_serving(struct core *core, struct core_version *version)
{
    bool healthy = child_is_open(&version->child) &&
                   core_now_us(core) - version->child.started_us >= HEALTHY_US;
    if (version->state == VERSION_SERVING && healthy &&
        json_is_object(json_object_get(version->object, "error"))) {
        version_note_error(core, version, &(struct err){0});
    }
}

void version_advance(struct core *core, struct core_version *version)
{
    if (core->dead) {
        return;
    }
    bool open = child_is_open(&version->child);
    if (open && version->state == VERSION_REPLAYING && lag_past_target(&version->lag)) {
        const struct lag *lag = &version->lag;
        json_t *pace = lag->pace > 0 ? json_pack("{s:f, s:I}", "replay_rate", lag->pace,
                                                 "replay_records", (json_int_t)lag->pace_records)
                                     : NULL;
        (void)version_move_self(core, version, VERSION_CATCHING_UP, pace);
    }
    if (open && version->state == VERSION_CATCHING_UP) {
        advance_catching_up(core, version);
    }
    gate_advance(core, version);
    journal_lag(core, version);
    limit_watch(core, version);
    standby_watch(core, version);
    if (standby_is_over(core, version)) {
        (void)version_move_self(core, version, VERSION_RETIRED, NULL);
    }
    advance_serving(core, version);
    advance_blocked(core, version);
    child_reconcile(core, version);
}

void processor_advance(struct core *core, struct core_processor *processor)
{
    for (uint32_t i = processor->version_count; i-- > 0;) {
        version_advance(core, processor->versions[i]);
    }
    requests_later(core, processor, NULL);
    conduct_tick(core, processor);
    outputs_tick(core, processor);
}

/* ---- Open, tick, close ---- */

int core_open(const struct core_options *options, struct core **out, struct err *err)
{
    ASSERT_CMP(options->shards, >, 0);
    ASSERT_CMP(options->cache_bytes, >, 0);
    struct core *core = xcalloc(1, sizeof *core);
    core->ops = options->ops;
    core->catalog = options->catalog;
    core->log = options->log;
    core->log_config = options->log_config;
    core->data_dir = xstrdup(options->data_dir);
    core->groups = json_array();
    core->shards = options->shards;
    core->cache_bytes = options->cache_bytes;
    core->disk_budget = options->disk_budget;
    core->replay_nice = options->replay_nice;
    core->standby_ms = options->standby_ms >= 0 ? options->standby_ms : CORE_STANDBY_MS;
    core->access = options->access;
    core->standby_forced = options->standby_forced;
    core->snapshot_silent_us =
        options->snapshot_silent_ms > 0 ? 1000 * options->snapshot_silent_ms : SNAPSHOT_SILENT_US;
    pace_open(&core->pace);
    int rc = change_load(core, err);
    if (rc == 0) {
        rc = limit_all_load(core, err);
    }
    if (rc != 0) {
        core_close(core);
        return rc;
    }
    journal_note(core, "started", NULL, 0, NULL, "the server has started, with %u processor%s",
                 core->processor_count, core->processor_count == 1 ? "" : "s");
    *out = core;
    return 0;
}

void core_tick(struct core *core)
{
    for (uint32_t i = 0; i < core->processor_count && !core->dead; i++) {
        processor_advance(core, core->processors[i]);
    }
    if (!core->dead) {
        limit_tick(core);
        plots_tick(core);
        verify_tick(core);
        snapshot_tick(core);
        diff_tick(core);
        journal_tick(core);
        groups_tick(core);
        gc_tick(core);
        snapshot_sizes_tick(core);
    }
}

void core_shutdown(struct core *core)
{
    if (core->dead) {
        return;
    }
    core->stopping = true;
    struct err err = {0};
    (void)err_set(&err, KE_CLOSED, "the server is shutting down");
    for (uint32_t i = 0; i < core->processor_count; i++) {
        requests_later(core, core->processors[i], &err);
        conduct_give_up(core, core->processors[i], &err);
    }
    verify_shutdown(core);
    snapshot_shutdown(core);
    diff_shutdown(core);
    journal_end_waits(core);
    core_tick(core);
}

uint32_t core_workers_left(const struct core *core)
{
    uint32_t left = verify_workers_left(core) + snapshot_workers_left(core);
    for (uint32_t i = 0; i < core->processor_count; i++) {
        const struct core_processor *processor = core->processors[i];
        for (uint32_t k = 0; k < processor->version_count; k++) {
            left += processor->versions[k]->child.phase != CHILD_OFF ? 1 : 0;
        }
    }
    return left;
}

uint32_t core_jobs_left(const struct core *core)
{
    return core->jobs_out;
}

void core_close(struct core *core)
{
    if (core == NULL) {
        return;
    }
    struct err err = {0};
    (void)err_set(&err, KE_CLOSED, "the server is shutting down");
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *processor = core->processors[i];
        requests_later(core, processor, &err);
        conduct_close(core, processor);
        for (uint32_t k = 0; k < processor->version_count; k++) {
            core_reply(core, processor->versions[k]->drop, NULL, &err);
        }
    }
    verify_close(core);
    snapshot_close(core);
    diff_close_all(core);
    waiters_reply(core, &core->jobs, NULL, &err);
    journal_end_waits(core);
    journal_free(core);
    model_free(core);
    json_decref(core->groups);
    free(core->pace_of);
    json_decref(core->limit_all);
    json_decref(core->snapshot_sizes);
    free(core->data_dir);
    free(core);
}
