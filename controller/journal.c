/* What has happened: the newest events, for `kappa events`, hooks and GET /v1/events. Own header:
 * core_inside.h.
 *
 *     {"seq","time","type","processor","version","message", and more by type}
 *
 * Kept in memory: JOURNAL_EVENTS of them. seq grows across restarts, since it begins with the clock; so
 * who asks for what came after an event misses nothing but what was pushed out. A request may wait for
 * events; at most JOURNAL_WAITERS do. */
#include "controller/core_inside.h"

#include "base/timefmt.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOURNAL_WAITERS   64
#define JOURNAL_WAIT_MAX  30 /* seconds */
#define JOURNAL_LIMIT     100
#define JOURNAL_LIMIT_MAX JOURNAL_EVENTS

struct journal_waiter {
    struct journal_waiter *next;
    void *request;
    int64_t after;
    int64_t limit;
    char *processor; /* or NULL: all; owned */
    int64_t until_us;
};

static const json_t *event_at(const struct journal *journal, uint32_t index)
{
    return journal->events[(journal->begin + index) % JOURNAL_EVENTS];
}

static bool is_wanted(const json_t *event, const struct journal_waiter *waiter)
{
    return json_int(event, "seq", 0) > waiter->after &&
           (waiter->processor == NULL ||
            strcmp(json_text(event, "processor", ""), waiter->processor) == 0);
}

/* The oldest that are wanted, at most limit of them; without `after` the newest. */
static json_t *events_for(const struct journal *journal, const struct journal_waiter *waiter)
{
    json_t *events = json_array();
    for (uint32_t i = 0; i < journal->count; i++) {
        json_t *event = (json_t *)(uintptr_t)event_at(journal, i);
        bool full = (int64_t)json_array_size(events) >= waiter->limit;
        if (!is_wanted(event, waiter) || (full && (waiter->after >= 0 || waiter->limit == 0))) {
            continue;
        }
        if (full) {
            (void)json_array_remove(events, 0);
        }
        int rc = json_array_append(events, event);
        ASSERT(rc == 0);
    }
    return events;
}

/* Takes the events. next: what to ask for next time as "after". */
static void answer(struct core *core, void *request, const struct journal_waiter *waiter,
                   json_t *events)
{
    size_t count = json_array_size(events);
    int64_t last = count > 0            ? json_int(json_array_get(events, count - 1), "seq", 0)
                   : waiter->after >= 0 ? waiter->after
                                        : core->journal.seq;
    json_t *body = json_pack("{s:o, s:I}", "events", events, "next", (json_int_t)last);
    ASSERT(body != NULL);
    core_reply(core, request, body, NULL);
}

static void waiter_free(struct journal_waiter *waiter)
{
    free(waiter->processor);
    free(waiter);
}

/* Those for whom there is something, or whose time is over. */
static void answer_waiters(struct core *core)
{
    struct journal *journal = &core->journal;
    int64_t now = core_now_us(core);
    struct journal_waiter **at = &journal->waiters;
    while (*at != NULL) {
        struct journal_waiter *waiter = *at;
        json_t *events = events_for(journal, waiter);
        if (json_array_size(events) == 0 && now < waiter->until_us) {
            json_decref(events);
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        journal->waiter_count--;
        answer(core, waiter->request, waiter, events);
        waiter_free(waiter);
    }
}

/* ---- Writing ---- */

static void push(struct journal *journal, json_t *event)
{
    if (journal->count == JOURNAL_EVENTS) {
        json_decref(journal->events[journal->begin]);
        journal->begin = (journal->begin + 1) % JOURNAL_EVENTS;
        journal->count--;
    }
    journal->events[(journal->begin + journal->count++) % JOURNAL_EVENTS] = event;
}

static bool is_type(const char *type)
{
#define X(word) || strcmp(type, #word) == 0
    return false
#include "controller/journal.def"
        ;
#undef X
}

void journal_note(struct core *core, const char *type, const char *processor, uint32_t version,
                  json_t *more, const char *format, ...)
{
    struct journal *journal = &core->journal;
    char time[TIME_TEXT_LEN];
    char message[1600];
    ASSERT(is_type(type));
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    int64_t now_ms = core_now_ms(core);
    time_format(now_ms * 1000, time);
    journal->seq = i64_max(journal->seq + 1, journal->count == 0 ? now_ms : 0);
    json_t *event = json_pack("{s:I, s:s, s:s, s:s*, s:o*, s:o}", "seq", (json_int_t)journal->seq,
                              "time", time, "type", type, "processor", processor, "version",
                              version != 0 ? json_integer(version) : NULL, "message",
                              json_text_lossy(message, strlen(message)));
    ASSERT(event != NULL);
    if (more != NULL) {
        int rc = json_object_update_missing(event, more);
        ASSERT(rc == 0);
        json_decref(more);
    }
    push(journal, event);
    if (core->ops.event != NULL && !core->dead) {
        core->ops.event(core->ops.ctx, event);
    }
    if (journal->waiters != NULL && !core->dead) {
        answer_waiters(core);
    }
}

void journal_state(struct core *core, const struct core_version *version, enum version_state from)
{
    enum version_state to = (enum version_state)version->state;
    const json_t *error = json_object_get(version->object, "error");
    const char *why = to == VERSION_FAILED ? json_text(error, "message", "") : "";
    json_t *more = json_pack("{s:s}", "from", state_name(&version_states, from));
    ASSERT(more != NULL);
    if (why[0] != '\0') {
        object_set(more, "error", json_deep_copy(error));
    }
    journal_note(core, state_name(&version_states, to), version->processor->name, version->number,
                 more, "%s v%u is %s%s%s", version->processor->name, version->number,
                 state_name(&version_states, to), why[0] != '\0' ? ": " : "", why);
}

void journal_error(struct core *core, const struct core_version *version, const char *type,
                   const struct err *err)
{
    journal_note(core, type, version->processor->name, version->number,
                 json_pack("{s:o}", "error", error_to_json(err)), "%s v%u: %s",
                 version->processor->name, version->number, err->text);
}

/* Partitions of a serving version that an open transaction has kept back for long, and that it is over.
 * Transactions of some seconds are the life of who writes exactly once. */
static void journal_blocked(struct core *core, struct core_version *version)
{
    const struct lag *lag = &version->lag;
    int64_t now = core_now_us(core);
    int64_t longest_us = -1;
    uint32_t blocked = 0;
    for (uint32_t i = 0; i < lag->count && version->state == VERSION_SERVING; i++) {
        int64_t for_us = lag->blocked_us[i] >= 0 ? now - lag->blocked_us[i] : -1;
        blocked += for_us >= BLOCKED_US;
        longest_us = i64_max(longest_us, for_us);
    }
    if (blocked > 0 && !version->blocked) {
        version->blocked = true;
        journal_note(core, "blocked", version->processor->name, version->number,
                     json_pack("{s:I}", "partitions", (json_int_t)blocked),
                     "%s v%u: an open transaction has held back %u of its partitions for %lld s",
                     version->processor->name, version->number, blocked,
                     (long long)(longest_us / 1000000));
    } else if (longest_us < 0 && version->blocked) {
        version->blocked = false;
        journal_note(core, "unblocked", version->processor->name, version->number, NULL,
                     "%s v%u: no partition of it is held back any more", version->processor->name,
                     version->number);
    }
}

void journal_lag(struct core *core, struct core_version *version)
{
    journal_blocked(core, version);
    int64_t now = core_now_us(core);
    bool behind = version->state == VERSION_SERVING && child_is_open(&version->child) &&
                  !lag_is_ready(&version->lag);
    if (!behind) {
        version->behind_us = 0;
    } else if (version->behind_us == 0) {
        version->behind_us = now;
    }
    bool lagging = behind && now - version->behind_us >= LAGGING_US;
    bool told = version->lagging;
    bool over = !behind && told;
    if ((lagging && !told) || over) {
        int64_t lag = lag_records(&version->lag);
        version->lagging = lagging;
        journal_note(core, lagging ? "lagging" : "caught_up", version->processor->name,
                     version->number, json_pack("{s:I}", "lag", (json_int_t)lag),
                     lagging ? "%s v%u serves and has been %lld records behind"
                             : "%s v%u has caught up: %lld records behind",
                     version->processor->name, version->number, (long long)lag);
    }
}

/* ---- Reading ---- */

static bool read_number(const json_t *member, int64_t *out)
{
    const char *text = json_string_value(member);
    if (text == NULL) {
        *out = json_integer_value(member);
        return json_is_integer(member);
    }
    char *end = NULL;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != NULL && end != text && *end == '\0' && errno == 0;
}

/* A member that is a number, or the text of one (of a query). */
static int number_of(const json_t *body, const char *name, int64_t most, int64_t fallback,
                     int64_t *out, struct err *err)
{
    const json_t *member = json_object_get(body, name);
    if (member == NULL) {
        *out = fallback;
        return 0;
    }
    return read_number(member, out) && *out >= 0 && *out <= most
               ? 0
               : err_set(err, KE_INVALID, "\"%s\" is not a whole number from 0 to %lld", name,
                         (long long)most);
}

void journal_request(struct core *core, void *request, const json_t *body)
{
    struct journal *journal = &core->journal;
    struct journal_waiter asked = {.request = request};
    struct err err = {0};
    int64_t wait = 0;
    int rc = number_of(body, "after", INT64_MAX, -1, &asked.after, &err);
    if (rc == 0) {
        rc = number_of(body, "limit", JOURNAL_LIMIT_MAX, JOURNAL_LIMIT, &asked.limit, &err);
    }
    if (rc == 0) {
        rc = number_of(body, "wait", JOURNAL_WAIT_MAX, 0, &wait, &err);
    }
    if (rc != 0) {
        core_reply(core, request, NULL, &err);
        return;
    }
    asked.processor = (char *)(uintptr_t)json_text(body, "processor", NULL);
    json_t *events = events_for(journal, &asked);
    bool waits = json_array_size(events) == 0 && wait > 0 && asked.limit > 0 &&
                 journal->waiter_count < JOURNAL_WAITERS;
    if (!waits) {
        answer(core, request, &asked, events);
        return;
    }
    json_decref(events);
    struct journal_waiter *waiter = xcalloc(1, sizeof *waiter);
    *waiter = asked;
    waiter->processor = asked.processor != NULL ? xstrdup(asked.processor) : NULL;
    waiter->until_us = core_now_us(core) + wait * 1000000;
    waiter->next = journal->waiters;
    journal->waiters = waiter;
    journal->waiter_count++;
}

void journal_tick(struct core *core)
{
    if (core->journal.waiters != NULL) {
        answer_waiters(core);
    }
}

void journal_end_waits(struct core *core)
{
    struct err err = {0};
    (void)err_set(&err, KE_CLOSED, "the server is shutting down");
    while (core->journal.waiters != NULL) {
        struct journal_waiter *waiter = core->journal.waiters;
        core->journal.waiters = waiter->next;
        core_reply(core, waiter->request, NULL, &err);
        waiter_free(waiter);
    }
    core->journal.waiter_count = 0;
}

void journal_free(struct core *core)
{
    struct journal *journal = &core->journal;
    for (uint32_t i = 0; i < journal->count; i++) {
        json_decref((json_t *)(uintptr_t)event_at(journal, i));
    }
}
