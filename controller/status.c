/* The status objects (docs/ARCHITECTURE.md, HTTP). Own header: core_inside.h. */
#include "controller/core_inside.h"

#include "base/timefmt.h"
#include "include/kappa/record.h"

#include <string.h>

/* Numbers that are not known are null. */
static json_t *number_or_null(double value)
{
    return value < 0 ? json_null() : json_real(value);
}

static json_t *offset_or_null(int64_t value)
{
    return value < 0 ? json_null() : json_integer(value);
}

static json_t *time_json(int64_t ms)
{
    char text[TIME_TEXT_LEN];
    time_format(ms * 1000, text);
    return json_string(text);
}

/* One word for a partition: of the version when it does not read, else of the partition's lag. */
static const char *source_status(const struct core *core, const struct core_version *version,
                                 uint32_t source)
{
    const char *failure = json_text(json_object_get(version->object, "error"), "code", NULL);
    if (failure != NULL) {
        return failure;
    }
    if (version->state == VERSION_PAUSED) {
        return "paused";
    }
    if (!child_is_open(&version->child)) {
        return "stopped";
    }
    const json_t *trouble = json_object_get(version->child.stats, "trouble");
    if (strcmp(json_text(trouble, "code", ""), err_word(KE_BROKER)) == 0) {
        return "disconnected";
    }
    return lag_status(&version->lag, source, core_now_us(core));
}

static json_t *source_json(const struct core *core, const struct core_version *version,
                           uint32_t source, const char *topic, int64_t partition)
{
    const struct lag *lag = &version->lag;
    int64_t behind = catchup_lag(lag->next[source], lag->log_end[source]);
    double seconds = catchup_lag_seconds(behind, lag->record_time[source], core_now_ms(core));
    json_t *object = json_pack(
        "{s:s, s:I, s:o, s:I, s:I, s:o, s:o, s:o, s:s}", "topic", topic, "partition",
        (json_int_t)partition, "start", offset_or_null(lag->log_start[source]), "next",
        (json_int_t)lag->next[source], "committed", (json_int_t)lag->committed[source], "end",
        offset_or_null(lag->log_end[source]), "lag", offset_or_null(behind), "lag_seconds",
        number_or_null(seconds), "status", source_status(core, version, source));
    ASSERT(object != NULL);
    int64_t blocked_us = lag->blocked_us[source];
    object_set(object, "high", offset_or_null(lag->log_high[source]));
    object_set(object, "blocked_seconds",
               json_real(blocked_us < 0 ? 0.0 : (double)(core_now_us(core) - blocked_us) / 1e6));
    return object;
}

static json_t *sources_json(const struct core *core, const struct core_version *version)
{
    json_t *sources = json_array();
    uint32_t source = 0;
    size_t i;
    json_t *input;
    json_array_foreach (json_object_get(version->object, "inputs"), i, input) {
        const char *topic = json_text(input, "topic", "");
        for (int64_t partition = 0; partition < json_int(input, "partitions", 0); partition++) {
            int rc = json_array_append_new(sources,
                                           source_json(core, version, source++, topic, partition));
            ASSERT(rc == 0);
        }
    }
    return sources;
}

/* The last progress without what is shown elsewhere. */
static json_t *worker_json(const struct core *core, const struct child *child)
{
    static const char *const taken[] = {
        "rss_bytes",        "cache_bytes",   "cache_rows", "evictions",
        "file_bytes",       "used_bytes",    "commits",    "commit_us",
        "duplicates",       "commit_us_max", "bytes",      "mode",
        "time_us",          "commits_took",  "freshness",  "readers",
        "oldest_reader_us", "archived_bytes"};
    static const char *const phases[] = {[CHILD_OFF] = "off",
                                         [CHILD_STARTING] = "starting",
                                         [CHILD_OPEN] = "running",
                                         [CHILD_STOPPING] = "stopping"};
    json_t *worker =
        json_pack("{s:s, s:o, s:i, s:o}", "phase", phases[child->phase], "pid",
                  child->phase == CHILD_OFF ? json_null() : json_integer(child->pid), "restarts",
                  (int)child->restarts, "last_exit", error_to_json(&child->exit));
    ASSERT(worker != NULL);
    for (size_t i = 0; i < array_len(taken) && child->phase != CHILD_OFF; i++) {
        json_t *value = json_object_get(child->stats, taken[i]);
        if (value != NULL) {
            object_set(worker, taken[i], json_incref(value));
        }
    }
    if (child->phase == CHILD_OFF && !child->blocked && child->start_us > core_now_us(core)) {
        object_set(worker, "starts_in_ms",
                   json_integer((child->start_us - core_now_us(core)) / 1000));
    }
    return worker;
}

/* A stopped process, or a thread that waits for a disk: what is known of it is old. */
static json_t *silence_json(const struct child *child, int64_t silent_us)
{
    struct err err = {0};
    long long seconds = (long long)(silent_us / 1000000);
    if (child->phase == CHILD_STARTING) {
        (void)err_set(&err, KE_TIMEOUT, "its worker has been opening its files for %lld s",
                      seconds);
    } else {
        (void)err_set(&err, KE_TIMEOUT,
                      "its worker has said nothing for %lld s: what is shown is as old as that",
                      seconds);
    }
    err_hint(&err,
             "it may be stopped, or wait for a disk: look at process %d, and kill it to have "
             "it started again",
             child->pid);
    return error_to_json(&err);
}

/* What is in the way and may pass: said by the worker, or why it is not running. */
static json_t *trouble_json(const struct core *core, const struct core_version *version)
{
    const struct child *child = &version->child;
    int64_t silent_us = child_silence_us(core, child);
    if (silent_us > 0 &&
        (child_is_open(child) || version_is_sealed((enum version_state)version->state))) {
        return silence_json(child, silent_us); /* one that is built may copy much before it opens */
    }
    bool down = version_wants_worker((enum version_state)version->state) && !child_is_open(child);
    if (down && child->exit.code != 0) {
        return error_to_json(&child->exit);
    }
    json_t *trouble = json_object_get(child->stats, "trouble");
    return child_is_open(child) && json_is_object(trouble) ? json_incref(trouble) : json_null();
}

/* [soonest, latest]; null where it would not come. */
static json_t *eta_range_json(const struct lag *lag, bool open)
{
    struct catchup_eta eta = lag_eta_range(lag);
    if (!open || eta.low < 0) {
        return json_null();
    }
    json_t *range = json_pack("[f, o]", eta.low, number_or_null(eta.high));
    ASSERT(range != NULL);
    return range;
}

static json_t *version_json(const struct core *core, const struct core_version *version)
{
    const json_t *object = version->object;
    const struct lag *lag = &version->lag;
    const json_t *stats = version->child.stats;
    bool open = child_is_open(&version->child);
    int64_t behind = lag_records(lag);
    json_t *error = json_object_get(object, "error");
    double rate = open ? catchup_rate_get(&lag->rate) : 0.0;
    json_t *out = json_pack(
        "{s:i, s:s, s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:f, s:o, s:f, s:I, s:I, s:I}",
        "version", (int)version->number, "state", state_name(&version_states, version->state),
        "hash", json_text(object, "hash", ""), "file", json_text(object, "file", ""), "created",
        time_json(json_int(object, "created_ms", 0)), "since",
        time_json(json_int(object, "state_since_ms", 0)), "swap", json_text(object, "swap", "auto"),
        "sources", sources_json(core, version), "lag", offset_or_null(behind), "lag_seconds",
        number_or_null(lag_seconds(lag, core_now_ms(core))), "rate", rate, "eta_seconds",
        open ? number_or_null(lag_eta_seconds(lag)) : json_null(), "progress", lag_done(lag),
        "records", (json_int_t)json_int(stats, "records", 0), "dead",
        (json_int_t)json_int(stats, "dead", 0), "late", (json_int_t)json_int(stats, "late", 0));
    ASSERT(out != NULL);
    object_set(out, "eta_range", eta_range_json(lag, open));
    object_set(out, "barred", json_boolean(json_bool(object, "barred", false)));
    object_set(out, "complete", json_boolean(json_bool(object, "complete", true)));
    int64_t since_ms = json_int(object, "complete_since_ms", -1);
    json_t *begins = json_object_get(object, "begins");
    object_set(out, "complete_since", since_ms < 0 ? json_null() : time_json(since_ms));
    object_set(out, "begins", begins == NULL ? json_null() : json_incref(begins));
    object_set(out, "tables", json_incref(json_object_get(object, "tables")));
    object_set(out, "shards", json_incref(json_object_get(object, "shards")));
    if (version->state == VERSION_STANDBY) {
        object_set(out, "standby_until", time_json(json_int(object, "standby_until_ms", 0)));
    }
    json_t *outputs = outputs_status(version);
    if (outputs != NULL) {
        object_set(out, "outputs", outputs);
    }
    object_set(out, "policy", json_deep_copy(json_object_get(object, "policy")));
    object_set(out, "limit", limit_of(version));
    object_set(out, "pace", limit_pace(core, version));
    object_set(out, "snapshots",
               snapshot_sizes_of(core, version->processor->name, version->number));
    object_set(out, "freshness", limit_freshness(version));
    object_set(out, "held_back", gate_status(version));
    object_set(out, "error", json_is_object(error) ? json_incref(error) : json_null());
    object_set(out, "trouble", trouble_json(core, version));
    object_set(out, "worker", worker_json(core, &version->child));
    return out;
}

static json_t *swap_json(const struct core_swap *swap)
{
    if (!swap->active) {
        return json_null();
    }
    json_t *object = json_pack(
        "{s:s, s:I, s:i, s:s}", "step", state_name(&swap_steps, swap->swap.step), "since_ms",
        (json_int_t)swap->since_ms, "new", (int)swap->new->number, "why", swap->why);
    ASSERT(object != NULL);
    object_set(object, "group", swap->group != NULL ? json_string(swap->group) : json_null());
    return object;
}

json_t *status_processor(const struct core *core, const struct core_processor *processor)
{
    json_t *versions = json_array();
    for (uint32_t i = 0; i < processor->version_count; i++) {
        int rc = json_array_append_new(versions, version_json(core, processor->versions[i]));
        ASSERT(rc == 0);
    }
    int64_t serving = json_int(processor->object, "serving", 0);
    json_t *body = json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:I}", "name", processor->name,
                             "serving", serving != 0 ? json_integer(serving) : json_null(), "epoch",
                             (json_int_t)json_int(processor->object, "epoch", 0), "versions",
                             versions, "swap", swap_json(&processor->swap), "last_swap_error",
                             error_to_json(&processor->swap.error), "swaps_given_up",
                             (json_int_t)processor->swap.given_up);
    ASSERT(body != NULL);
    object_set(body, "group", group_status(core, processor));
    object_set(body, "canary", canary_status(core, processor));
    object_set(body, "snapshots", snapshot_sizes_of(core, processor->name, 0));
    object_set(body, "snapshot_trouble", snapshot_trouble(core, processor));
    return body;
}

json_t *core_status(const struct core *core)
{
    return status_all(core);
}

json_t *status_all(const struct core *core)
{
    json_t *processors = json_array();
    for (uint32_t i = 0; i < core->processor_count; i++) {
        int rc = json_array_append_new(processors, status_processor(core, core->processors[i]));
        ASSERT(rc == 0);
    }
    json_t *body = json_pack("{s:o, s:O?}", "processors", processors, "limit", core->limit_all);
    ASSERT(body != NULL);
    return body;
}
