/* Choosing from what a version begins. Own header: base.h. */
#include "controller/base.h"

#include "base/timefmt.h"
#include "controller/snapshot_files.h"
#include "processor/plan_object.h"

#include <stdlib.h>
#include <string.h>

/* ---- The position ---- */

static bool is_time(const struct position_point *point)
{
    return point->kind == POSITION_TIME;
}

/* A time in one topic at least, and nothing but times and beginnings. */
static bool is_of_times(const struct position *position)
{
    bool any = position->item_count == 0 && is_time(&position->all);
    for (uint32_t i = 0; i < position->item_count; i++) {
        const struct position_point *point = &position->items[i].point;
        if (!is_time(point) && point->kind != POSITION_BEGINNING) {
            return false;
        }
        any |= is_time(point);
    }
    return any;
}

bool base_wants(const struct base *base, const struct position *position)
{
    return is_of_times(position) && plan_is_stateful(base->plan);
}

/* ---- Does a snapshot fit? ---- */

enum fit {
    FITS,
    OTHER_STATE,
    TOO_LATE,
    TOO_OLD,
    NOT_COMPLETE,
    OTHER_TOPICS,
    OTHER_RECORDS,
    FIT_COUNT
};

static int64_t cut_of(const json_t *note, uint32_t source)
{
    return json_int(json_array_get(json_object_get(note, "sources"), source), "next", -1);
}

static int64_t cut_sum(const json_t *note, uint32_t source_count)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < source_count; i++) {
        sum += cut_of(note, i);
    }
    return sum;
}

static bool same_topics(const json_t *note, const struct plan *plan,
                        const struct position_topic *topics, uint32_t source_count)
{
    const json_t *inputs = json_object_get(note, "inputs");
    bool same = json_array_size(inputs) == plan->input_count &&
                json_array_size(json_object_get(note, "sources")) == source_count &&
                json_array_size(json_object_get(note, "start")) == source_count;
    for (uint32_t i = 0; i < plan->input_count && same; i++) {
        const json_t *input = json_array_get(inputs, i);
        same = strcmp(json_text(input, "topic", ""), topics[i].topic) == 0 &&
               json_int(input, "partitions", 0) == topics[i].partitions;
    }
    return same;
}

/* The same bytes of the same records? */
static bool same_state(const struct base *base, const json_t *note)
{
    struct plan *plan = NULL;
    struct err err = {0};
    const json_t *plugins = json_object_get(note, "plugins");
    bool plain = json_object_size(plugins) == 0 && json_object_size(base->plugins) == 0;
    if (!plain && !json_equal(plugins, base->plugins)) {
        return false;
    }
    if (plan_compile_object(note, &plan, &err) != 0) {
        return false; /* of a later Kappa */
    }
    bool same = digest_equal(plan_state_hash(plan), plan_state_hash(base->plan));
    plan_free(plan);
    return same;
}

/* Is a record below its cut newer than all that it was made of? Then the log has lost some of these, as a
 * machine that dies may make it do, and others stand in their places. Kafka has markers with times of their
 * own: there the worker asks, which reads the record (replayer/topic_same.h). In doubt it is not used. */
static bool log_differs(const json_t *note, struct log *log, const struct position_topic *topics,
                        uint32_t topic_count)
{
    bool differs = false;
    uint32_t source = 0;
    for (uint32_t i = 0; i < topic_count && strcmp(log->kind, "kafka") != 0; i++) {
        for (uint32_t p = 0; p < topics[i].partitions && !differs; p++, source++) {
            const json_t *of = json_array_get(json_object_get(note, "sources"), source);
            int64_t newest_ms = json_int(of, "record_time_ms", -1);
            int64_t offset = -1;
            differs =
                newest_ms >= 0 && (log->ops->offset_at_time(log, topics[i].topic, p, newest_ms + 1,
                                                            &offset, NULL) != 0 ||
                                   (offset >= 0 && offset < cut_of(note, source)));
        }
    }
    return differs;
}

static enum fit fit_of(const struct base *base, const json_t *note, struct log *log,
                       const struct position_topic *topics, const struct position_range *ranges,
                       uint32_t source_count)
{
    if (!same_topics(note, base->plan, topics, source_count)) {
        return OTHER_TOPICS;
    }
    for (uint32_t i = 0; i < source_count; i++) {
        int64_t cut = cut_of(note, i);
        if (cut < 0 || cut > ranges[i].start || cut > ranges[i].target) {
            return TOO_LATE;
        }
        if (cut < ranges[i].log_start) {
            return TOO_OLD;
        }
    }
    if (!json_bool(note, "complete", false)) {
        return NOT_COMPLETE;
    }
    if (!same_state(base, note)) {
        return OTHER_STATE;
    }
    return log_differs(note, log, topics, base->plan->input_count) ? OTHER_RECORDS : FITS;
}

/* The best, and why the others are not it. */
static json_t *choose(const struct base *base, const json_t *list, struct log *log,
                      const struct position_topic *topics, const struct position_range *ranges,
                      uint32_t source_count, uint32_t *counts)
{
    json_t *best = NULL;
    size_t i;
    json_t *note;
    json_array_foreach ((json_t *)(uintptr_t)list, i, note) {
        enum fit fit = fit_of(base, note, log, topics, ranges, source_count);
        counts[fit]++;
        bool later = best == NULL || cut_sum(note, source_count) >= cut_sum(best, source_count);
        if (fit == FITS && later) {
            best = note;
        }
    }
    return best;
}

/* ---- What is said of it ---- */

static char *why_none(const struct base *base, size_t count, const uint32_t *counts)
{
    static const char *const words[FIT_COUNT] = {
        [OTHER_STATE] = "hold the state of another definition",
        [TOO_LATE] = "hold records from after that time",
        [TOO_OLD] = "end before what the log still has",
        [NOT_COMPLETE] = "are of versions that are not complete",
        [OTHER_TOPICS] = "are of other topics or partitions",
        [OTHER_RECORDS] = "hold records that the log has lost"};
    if (count == 0) {
        return xasprintf("%s has no snapshots", base->processor);
    }
    struct buf text = {0};
    buf_printf(&text, "no snapshot of %s fits: ", base->processor);
    const char *comma = "";
    for (int i = OTHER_STATE; i < FIT_COUNT; i++) {
        if (counts[i] > 0) {
            buf_printf(&text, "%s%u %s", comma, counts[i], words[i]);
            comma = ", ";
        }
    }
    char *copy = xstrdup(buf_text(&text));
    buf_free(&text);
    return copy;
}

static char *why_this(const json_t *note)
{
    char made[TIME_TEXT_LEN];
    time_format(json_int(note, "made_ms", 0) * 1000, made);
    return xasprintf("snapshot %s of v%lld, made %s, has the same state, and no record from after "
                     "that time",
                     json_text(note, "id", "?"), (long long)json_int(note, "version", 0), made);
}

static void use_beginning(struct base *base, struct position_range *ranges, uint32_t source_count,
                          bool *complete)
{
    base->kind = BASE_BEGINNING;
    memcpy(ranges, base->begin, source_count * sizeof *ranges);
    *complete = base->begin_complete;
}

static void use_snapshot(struct base *base, json_t *note, struct position_range *ranges,
                         uint32_t source_count, bool *complete)
{
    base->kind = BASE_SNAPSHOT;
    base->note = json_incref(note);
    base->why = why_this(note);
    for (uint32_t i = 0; i < source_count; i++) {
        ranges[i].start = cut_of(note, i);
    }
    *complete = true;
}

/* ---- Windows that are taken over */

static int plan_windows(struct base *base, const json_t *serving, int64_t from_us, struct err *err)
{
    struct plan *plan = NULL;
    int rc = plan_compile_object(serving, &plan, err);
    if (rc == 0) {
        rc = plan_windows_check(plan, base->plan, err);
        plan_free(plan);
    }
    if (rc != 0) {
        return rc;
    }
    int64_t since = INT64_MAX;
    json_t *first = json_array();
    base->window_since_us = INT64_MIN;
    for (uint32_t i = 0; i < base->plan->view_count; i++) {
        int64_t start = 0;
        int64_t end = plan_first_window(&base->plan->views[i], from_us, &start);
        since = i64_min(since, start);
        base->window_since_us = i64_max(base->window_since_us, start);
        (void)json_array_append_new(first, json_integer(end));
    }
    base->window =
        json_pack("{s:I, s:I, s:I, s:o}", "of", (json_int_t)json_int(serving, "version", 0),
                  "from_us", (json_int_t)from_us, "since_us", (json_int_t)since, "first_us", first);
    ASSERT(base->window != NULL);
    return 0;
}

int base_window(struct base *base, const struct position *position, const json_t *serving,
                struct err *err)
{
    if (base->empty_state) {
        return err_set(err, KE_INVALID,
                       "--in-window takes over what was before: it goes without "
                       "--empty-state");
    }
    if (position->item_count > 0 || !is_time(&position->all)) {
        return err_set(err, KE_INVALID,
                       "--in-window needs --from @TIME or -DURATION, one for all topics");
    }
    if (serving == NULL) {
        return err_set(err, KE_REFUSED,
                       "--in-window: no version of %s serves that windows could be "
                       "taken over from",
                       base->processor);
    }
    int rc = plan_windows(base, serving, position->all.value * 1000, err);
    if (rc == 0) {
        char time[TIME_TEXT_LEN];
        base->kind = BASE_WINDOW;
        base->serving = json_deep_copy(serving);
        time_format(base->window_since_us, time);
        base->why = xasprintf("windows from %s on are recomputed, those before are v%lld's", time,
                              (long long)json_int(serving, "version", 0));
    }
    return rc;
}

/* It still serves, and reads what this one will. */
static int window_settle(const struct base *base, const uint64_t *identities, const json_t *serving,
                         uint32_t source_count, struct err *err)
{
    const json_t *inputs = json_object_get(base->serving, "inputs");
    bool same = json_int(serving, "version", -1) == json_int(base->window, "of", 0) &&
                json_array_size(json_object_get(base->serving, "start")) == source_count;
    size_t i;
    const json_t *input;
    json_array_foreach (inputs, i, input) {
        same = same && i < base->plan->input_count &&
               (uint64_t)json_int(input, "identity", 0) == identities[i];
    }
    return same ? 0
                : err_set(err, KE_REFUSED,
                          "--in-window: another version serves by now, or a topic "
                          "has changed since it was made");
}

int base_look(struct base *base, const struct position *position, struct log *log,
              const struct position_topic *topics, struct position_range *ranges,
              uint32_t source_count, bool *complete, struct err *err)
{
    if (base->kind == BASE_WINDOW) {
        *complete = false;
        return 0;
    }
    if (!base_wants(base, position) || *complete) {
        return 0; /* what lies at that time is all there is */
    }
    if (base->empty_state) {
        base->kind = BASE_EMPTY;
        base->why = xstrdup("asked for: nothing is known of what was before");
        return 0;
    }
    const struct position beginning = {.all = {.kind = POSITION_BEGINNING}};
    base->begin = xcalloc(source_count, sizeof *base->begin);
    int rc = position_resolve(&beginning, log, topics, base->plan->input_count, base->begin,
                              &base->begin_complete, err);
    if (rc != 0) {
        return rc;
    }
    uint32_t counts[FIT_COUNT] = {0};
    json_t *list = snapshot_list(base->data_dir, base->processor);
    json_t *note = choose(base, list, log, topics, ranges, source_count, counts);
    if (note != NULL) {
        use_snapshot(base, note, ranges, source_count, complete);
    } else {
        use_beginning(base, ranges, source_count, complete);
        base->why = why_none(base, json_array_size(list), counts);
    }
    json_decref(list);
    return 0;
}

int base_settle(struct base *base, const uint64_t *identities, struct position_range *ranges,
                const json_t *serving, uint32_t source_count, bool *complete, struct err *err)
{
    if (base->kind == BASE_WINDOW) {
        return window_settle(base, identities, serving, source_count, err);
    }
    const json_t *inputs = json_object_get(base->note, "inputs");
    bool same = true;
    size_t i;
    const json_t *input;
    json_array_foreach (inputs, i, input) {
        same &= (uint64_t)json_int(input, "identity", 0) == identities[i];
    }
    if (base->kind == BASE_SNAPSHOT && !same) {
        free(base->why);
        base->why = xstrdup("a topic was deleted and made again since the snapshot");
        json_decref(base->note);
        base->note = NULL;
        use_beginning(base, ranges, source_count, complete);
    }
    return 0;
}

/* ---- The version's object ---- */

static void set(json_t *object, const char *name, json_t *value)
{
    int rc = json_object_set_new(object, name, value);
    ASSERT(rc == 0);
}

/* Since when it knows all, in ms; negative: not known. */
static int64_t since_of(const struct position *position, int64_t now_ms)
{
    int64_t since = -1;
    if (position->item_count == 0) {
        return is_time(&position->all)              ? position->all.value
               : position->all.kind == POSITION_END ? now_ms
                                                    : -1;
    }
    for (uint32_t i = 0; i < position->item_count; i++) {
        const struct position_point *point = &position->items[i].point;
        if (!is_time(point) && point->kind != POSITION_BEGINNING && point->kind != POSITION_END) {
            return -1;
        }
        int64_t here = is_time(point) ? point->value : point->kind == POSITION_END ? now_ms : 0;
        since = i64_max(since, here);
    }
    return since;
}

static void set_snapshot(const json_t *note, json_t *object)
{
    json_t *cut = json_array();
    size_t i;
    const json_t *source;
    json_array_foreach (json_object_get(note, "sources"), i, source) {
        (void)json_array_append_new(cut, json_integer(json_int(source, "next", 0)));
    }
    set(object, "base",
        json_pack("{s:O, s:O, s:O, s:o}", "snapshot", json_object_get(note, "id"), "version",
                  json_object_get(note, "version"), "made_ms", json_object_get(note, "made_ms"),
                  "cut", cut));
    set(object, "start", json_deep_copy(json_object_get(note, "start")));
    set(object, "shards", json_incref(json_object_get(note, "shards")));
}

void base_set(const struct base *base, const struct position *position, int64_t now_ms,
              json_t *object)
{
    static const char *const words[] = {[BASE_EMPTY] = "empty",
                                        [BASE_SNAPSHOT] = "snapshot",
                                        [BASE_BEGINNING] = "beginning",
                                        [BASE_WINDOW] = "window"};
    if (base->empty_state) {
        set(object, "empty_state", json_true());
    }
    if (base->kind != BASE_POSITION) {
        set(object, "begins", json_pack("{s:s, s:s}", "with", words[base->kind], "why", base->why));
    }
    if (base->kind == BASE_SNAPSHOT) {
        set_snapshot(base->note, object);
    }
    if (base->kind == BASE_WINDOW) {
        set(object, "window", json_incref(base->window));
        set(object, "start", json_deep_copy(json_object_get(base->serving, "start")));
        set(object, "shards", json_incref(json_object_get(base->serving, "shards")));
        set(object, "complete_since_ms", json_integer((base->window_since_us + 999) / 1000));
    }
    bool at = base->kind == BASE_POSITION || base->kind == BASE_EMPTY;
    int64_t since = since_of(position, now_ms);
    if (at && since >= 0 && !json_bool(object, "complete", true)) {
        set(object, "complete_since_ms", json_integer(since));
    }
}

void base_free(struct base *base)
{
    json_decref(base->note);
    free(base->why);
    free(base->begin);
    json_decref(base->window);
    json_decref(base->serving);
}
