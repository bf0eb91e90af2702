/* Random streams for the plan of hand_plan.h, and what its tables must hold at the end: a model
 * that knows no states, keeps all events of a group and counts. */
#ifndef KAPPA_TESTS_NAIVE_MODEL_H
#define KAPPA_TESTS_NAIVE_MODEL_H

#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/prng.h"
#include "include/kappa/record.h"
#include "tests/unit/processor/hand_plan.h"
#include "tests/unit/processor/mem_store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EVENTS_MAX 600

/* One event as the model sees it; -1 in null flags. */
struct event {
    uint32_t source;
    int64_t offset;
    bool bad; /* no row at all */
    bool has[H_COLUMNS];
    char usr[16];
    int64_t n, i, ok, keep, at; /* at: us */
    double amount;
    char p[40];
    char json[512];
    size_t json_len;
};

struct stream {
    struct event events[EVENTS_MAX];
    uint32_t count;
};

/* ---- Streams. */

static inline void event_json(struct event *e, struct prng *prng)
{
    struct buf out = {0};
    buf_append_text(&out, "{\"other\":[1,{\"a\":null}]");
    if (e->has[H_USR]) {
        buf_printf(&out, ",\"usr\":\"%s\"", e->usr);
    } else if (prng_below(prng, 2) == 0) {
        buf_append_text(&out, ",\"usr\":null");
    }
    const int64_t *numbers[] = {[H_N] = &e->n, [H_I] = &e->i};
    for (uint32_t c = H_N; c <= H_I; c++) {
        if (e->has[c]) {
            buf_printf(&out, ",\"%s\":%lld", hand_columns[c].name, (long long)*numbers[c]);
        }
    }
    if (e->has[H_AMOUNT]) {
        buf_printf(&out, ",\"amount\":%.17g", e->amount);
    }
    if (e->has[H_P]) {
        buf_printf(&out, ",\"p\":\"%s\"", e->p);
    }
    if (e->has[H_OK]) {
        buf_printf(&out, ",\"ok\":%s", e->ok ? "true" : "false");
    }
    if (e->has[H_KEEP]) {
        buf_printf(&out, ",\"keep\":%s", e->keep ? "true" : "false");
    }
    if (e->has[H_AT]) {
        buf_printf(&out, ",\"at\":%lld", (long long)(e->at / 1000));
    }
    buf_append_text(&out, "}");
    assert_true(out.len < sizeof e->json);
    memcpy(e->json, buf_text(&out), out.len + 1);
    e->json_len = out.len;
    buf_free(&out);
}

/* grain: times are multiples of it, so that coarse ones meet the ends of windows exactly. */
static inline void event_random(struct event *e, struct prng *prng, int64_t now, int64_t grain)
{
    static const char *const amounts[] = {"0.1", "0.2", "0.3", "1e16", "-1e16", "3.14159", "-0.0"};
    for (uint32_t c = 0; c < H_COLUMNS; c++) {
        e->has[c] = prng_below(prng, 8) != 0;
    }
    e->has[H_AT] = prng_below(prng, 40) != 0;
    e->bad = !e->has[H_AT] || prng_below(prng, 40) == 0;
    (void)snprintf(e->usr, sizeof e->usr, "u%d", (int)prng_below(prng, 12));
    e->n = (int64_t)prng_below(prng, 40) - 20;
    e->n = prng_below(prng, 30) == 0 ? INT64_MAX / 64 : e->n;
    e->i = (int64_t)prng_below(prng, 4);
    e->amount = strtod(amounts[prng_below(prng, array_len(amounts))], NULL);
    (void)snprintf(e->p, sizeof e->p, "%.*s%d", (int)prng_below(prng, 20),
                   "product-name-of-some-length", (int)prng_below(prng, 30));
    e->ok = prng_below(prng, 2) == 0;
    e->keep = prng_below(prng, 6) != 0;
    /* Mostly within the bound of the watermark, sometimes far behind. */
    int64_t back = (int64_t)prng_below(prng, prng_below(prng, 10) == 0 ? 30000 : 4000);
    e->at = (now - back) / grain * grain * 1000;
    event_json(e, prng);
    if (e->bad && e->has[H_AT]) {
        e->json[prng_below(prng, e->json_len)] = '\1'; /* nowhere valid in JSON */
    }
}

static inline struct stream *stream_random(struct prng *prng)
{
    struct stream *stream = xcalloc(1, sizeof *stream);
    stream->count = (uint32_t)(1 + prng_below(prng, EVENTS_MAX));
    int64_t offsets[MEM_SOURCES] = {0};
    int64_t now[MEM_SOURCES];
    int64_t grain = prng_below(prng, 2) == 0 ? 1 : 1000;
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        now[s] = 1700000000000 + (int64_t)prng_below(prng, 20000);
    }
    for (uint32_t i = 0; i < stream->count; i++) {
        struct event *e = &stream->events[i];
        e->source = (uint32_t)prng_below(prng, MEM_SOURCES);
        offsets[e->source] += 1 + (prng_below(prng, 5) == 0 ? 3 : 0);
        e->offset = offsets[e->source];
        now[e->source] += (int64_t)prng_below(prng, 1200);
        event_random(e, prng, now[e->source], grain);
    }
    return stream;
}

/* ---- The finished rows, a line each: "source-free key | columns". */

static inline void line_value(struct buf *out, const struct kappa_value *value)
{
    if (value->is_null) {
        buf_append_text(out, " null");
    } else if (value->type == KAPPA_TYPE_TEXT) {
        buf_printf(out, " '%.*s'", (int)value->s.len, value->s.bytes);
    } else if (value->type == KAPPA_TYPE_DOUBLE) {
        buf_printf(out, " %.17g", value->d);
    } else {
        buf_printf(out, " %lld", (long long)value->i);
    }
}

struct lines {
    char **text;
    size_t count;
};

static inline void lines_add(struct lines *lines, struct buf *line)
{
    lines->text = xrealloc(lines->text, (lines->count + 1) * sizeof *lines->text);
    lines->text[lines->count++] = xstrdup(buf_text(line));
    buf_reset(line);
}

static inline int compare_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void lines_sort(struct lines *lines)
{
    if (lines->count > 0) {
        qsort(lines->text, lines->count, sizeof *lines->text, compare_text);
    }
}

static inline void lines_free(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++) {
        free(lines->text[i]);
    }
    free(lines->text);
}

/* ---- The model: no states, no merging, all events of a group at hand. */

static inline int64_t floor_to(int64_t t, int64_t size, int64_t offset)
{
    int64_t k = (t - offset) / size;
    return ((t - offset) % size < 0 ? k - 1 : k) * size + offset;
}

/* The register of an event as a value. */
static inline struct kappa_value event_value(const struct event *e, uint32_t c)
{
    struct kappa_value v = {.type = hand_columns[c].type, .is_null = !e->has[c]};
    const int64_t ints[H_COLUMNS] = {[H_N] = e->n,
                                     [H_I] = e->i,
                                     [H_OK] = e->ok,
                                     [H_KEEP] = e->keep,
                                     [H_AT] = e->at / 1000 * 1000};
    if (v.type == KAPPA_TYPE_TEXT) {
        const char *text = c == H_USR ? e->usr : e->p;
        v.s = (struct kappa_text){text, (uint32_t)strlen(text)};
    } else if (v.type == KAPPA_TYPE_DOUBLE) {
        v.d = e->amount;
    } else {
        v.i = ints[c];
    }
    return v;
}

static inline int value_compare(const struct kappa_value *a, const struct kappa_value *b)
{
    if (a->type == KAPPA_TYPE_TEXT) {
        return strcmp(a->s.bytes, b->s.bytes);
    }
    if (a->type == KAPPA_TYPE_DOUBLE) {
        return (a->d > b->d) - (a->d < b->d);
    }
    return (a->i > b->i) - (a->i < b->i);
}

static inline bool truth(const struct event *e, uint32_t c)
{
    return c == PLAN_NONE || (e->has[c] && (c == H_OK ? e->ok : e->keep) != 0);
}

static inline struct kappa_value best_of(const struct plan_aggregate *aggregate,
                                         const struct kappa_value *values, size_t count)
{
    struct kappa_value best = {.type = aggregate->result_type, .is_null = true};
    for (size_t i = 0; i < count; i++) {
        int order = best.is_null ? 0 : value_compare(&values[i], &best);
        if (best.is_null || (aggregate->kind == PLAN_MIN ? order < 0 : order > 0)) {
            best = values[i];
        }
    }
    if (best.type == KAPPA_TYPE_DOUBLE && !best.is_null) {
        best.d += 0.0;
    }
    return best;
}

static inline struct kappa_value sum_of(const struct plan_aggregate *aggregate,
                                        const struct kappa_value *values, size_t count)
{
    struct kappa_value out = {.type = aggregate->result_type, .is_null = count == 0};
    bool real = aggregate->argument_type == KAPPA_TYPE_DOUBLE;
    int128 whole = 0;
    /* Sums of doubles are exact and rounded once; these amounts are multiples of 2^-60. */
    for (size_t i = 0; i < count && real; i++) {
        whole += (int128)ldexp(values[i].d, 60);
    }
    double total = ldexp((double)whole, -60);
    for (size_t i = 0; i < count && !real; i++) {
        whole += values[i].i;
    }
    if (aggregate->kind == PLAN_AVG && count > 0) {
        out.d = (real ? total : (double)whole) / (double)count;
    } else if (real) {
        out.d = total;
    } else {
        out.i = (int64_t)whole;
        if (whole != (int64_t)whole) {
            out.type = KAPPA_TYPE_NULL; /* out of range: the line says so */
        }
    }
    return out;
}

static inline struct kappa_value model_aggregate(const struct plan_aggregate *aggregate,
                                                 const struct event *const *group, size_t count)
{
    static struct kappa_value values[EVENTS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        bool counts = truth(group[i], aggregate->filter) &&
                      (aggregate->argument == PLAN_NONE || group[i]->has[aggregate->argument]);
        if (counts) {
            values[n++] = aggregate->argument == PLAN_NONE
                              ? (struct kappa_value){0}
                              : event_value(group[i], aggregate->argument);
        }
    }
    struct kappa_value out = {.type = KAPPA_TYPE_BIGINT, .i = (int64_t)n};
    if (aggregate->kind == PLAN_COUNT_DISTINCT) {
        for (size_t i = 0; i < n; i++) {
            bool again = false;
            for (size_t k = 0; k < i; k++) {
                again = again || value_compare(&values[k], &values[i]) == 0;
            }
            out.i -= again ? 1 : 0;
        }
    } else if (aggregate->kind == PLAN_SUM || aggregate->kind == PLAN_AVG) {
        out = sum_of(aggregate, values, n);
    } else if (aggregate->kind == PLAN_MIN || aggregate->kind == PLAN_MAX) {
        out = best_of(aggregate, values, n);
    }
    return out;
}

struct model {
    const struct event *events[EVENTS_MAX]; /* good ones, in source and offset order */
    int64_t watermark[EVENTS_MAX];          /* behind the event */
    int64_t lateness;
    int64_t last[MEM_SOURCES]; /* watermark at the end */
    size_t count;
    uint64_t dead[MEM_SOURCES];
    uint64_t late[MEM_SOURCES];
};

static inline void model_init(struct model *model, const struct stream *stream, int64_t lateness)
{
    memset(model, 0, sizeof *model);
    model->lateness = lateness;
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        model->last[s] = INT64_MIN / 2; /* below everything, even less a time */
        for (uint32_t i = 0; i < stream->count; i++) {
            const struct event *e = &stream->events[i];
            if (e->source != s) {
                continue;
            }
            if (e->bad) {
                model->dead[s]++;
                continue;
            }
            int64_t at = e->at / 1000 * 1000 - HAND_WATERMARK_US;
            model->last[s] = at > model->last[s] ? at : model->last[s];
            model->watermark[model->count] = model->last[s];
            model->events[model->count++] = e;
        }
    }
}

/* An event in a row of a table. */
struct member {
    char *row;  /* which row: never the same for two */
    char *name; /* its keys, as they are shown */
    const struct event *event;
};

struct members {
    struct member *list;
    size_t count;
};

static inline void line_time(struct buf *out, int64_t us)
{
    line_value(out, &(struct kappa_value){.type = KAPPA_TYPE_TIMESTAMPTZ, .i = us});
}

/* source: of rows that are not merged with other sources'; else UINT32_MAX. */
static inline void members_add(struct members *members, const struct plan_view *view,
                               const struct event *e, uint32_t source, int64_t start, int64_t end)
{
    struct buf name = {0};
    for (uint32_t k = 0; k < view->key_count; k++) {
        const struct plan_key *key = &view->keys[k];
        if (key->role == PLAN_KEY_COLUMN) {
            struct kappa_value value = event_value(e, key->reg);
            line_value(&name, &value);
        } else {
            line_time(&name, key->role == PLAN_KEY_WINDOW_START ? start : end);
        }
    }
    members->list = xrealloc(members->list, (members->count + 1) * sizeof *members->list);
    members->list[members->count++] =
        (struct member){xasprintf("%u %s", source, buf_text(&name)), xstrdup(buf_text(&name)), e};
    buf_free(&name);
}

static inline void model_group_line(const struct plan_view *view, const char *name,
                                    const struct event *const *group, size_t count,
                                    struct lines *lines)
{
    struct buf line = {0};
    buf_printf(&line, "%s:%s", view->shape.name, name);
    for (uint32_t a = 0; a < view->aggregate_count; a++) {
        struct kappa_value value = model_aggregate(&view->aggregates[a], group, count);
        if (value.type == KAPPA_TYPE_NULL) {
            buf_reset(&line);
            buf_printf(&line, "%s: %s: aggregate: %s", view->shape.name, view->shape.name,
                       expr_error_text(EXPR_ERROR_OVERFLOW));
            break;
        }
        line_value(&line, &value);
    }
    lines_add(lines, &line);
    buf_free(&line);
}

static inline int64_t event_time_of(const struct event *e)
{
    return e->at / 1000 * 1000;
}

static inline bool is_over(int64_t end, int64_t more, int64_t watermark)
{
    return more != INT64_MAX && end <= watermark - more;
}

/* Tumble and hop: the event is in every window that is open, and stands in those not expired. */
static inline void model_windows(struct model *model, const struct plan_view *view, size_t i,
                                 struct members *members)
{
    const struct event *e = model->events[i];
    int64_t t = event_time_of(e);
    int64_t start = floor_to(t, view->slide_us, view->window_offset_us);
    bool late = true;
    for (; start + view->window_us > t; start -= view->slide_us) {
        int64_t end = start + view->window_us;
        if (!is_over(end, model->lateness, model->watermark[i])) {
            late = false;
            if (!is_over(end, view->retain_us, model->last[e->source])) {
                members_add(members, view, e, UINT32_MAX, start, end);
            }
        }
    }
    model->late[e->source] += late;
}

/* One session: the events it has, by number. */
struct naive_session {
    int64_t start, end;
    bool gone;
    size_t events[EVENTS_MAX];
    size_t count;
};

static inline bool same_user(const struct event *a, const struct event *b)
{
    return a->source == b->source && a->has[H_USR] == b->has[H_USR] &&
           (!a->has[H_USR] || strcmp(a->usr, b->usr) == 0);
}

/* The sessions of the user and source of event `first`, which is their first one. */
static inline void model_sessions_of(struct model *model, const struct plan_view *view,
                                     size_t first, struct members *members)
{
    struct naive_session *sessions = xcalloc(model->count, sizeof *sessions);
    size_t count = 0;
    for (size_t i = first; i < model->count; i++) {
        const struct event *e = model->events[i];
        if (!same_user(model->events[first], e) || !truth(e, view->where)) {
            continue;
        }
        int64_t t = event_time_of(e);
        struct naive_session *own = &sessions[count];
        *own = (struct naive_session){t, t + view->window_us, false, {i}, 1};
        /* Open sessions that begin or end less than the gap from it become part of it. */
        for (size_t s = 0; s < count; s++) {
            struct naive_session *other = &sessions[s];
            if (!other->gone && !is_over(other->end, model->lateness, model->watermark[i]) &&
                other->start < t + view->window_us && t < other->end) {
                own->start = other->start < own->start ? other->start : own->start;
                own->end = i64_max(other->end, own->end);
                memcpy(own->events + own->count, other->events, other->count * sizeof *own->events);
                own->count += other->count;
                other->gone = true;
            }
        }
        if (is_over(own->end, model->lateness, model->watermark[i])) {
            model->late[e->source]++;
        } else {
            count++;
        }
    }
    for (size_t s = 0; s < count; s++) {
        for (size_t k = 0; k < sessions[s].count; k++) {
            const struct event *e = model->events[sessions[s].events[k]];
            if (!sessions[s].gone &&
                !is_over(sessions[s].end, view->retain_us, model->last[e->source])) {
                members_add(members, view, e, e->source, sessions[s].start, sessions[s].end);
            }
        }
    }
    free(sessions);
}

/* The group of the user and source of event `first`, as often as it began from zero. */
static inline void model_recent_of(struct model *model, const struct plan_view *view, size_t first,
                                   struct members *members)
{
    size_t group[EVENTS_MAX];
    size_t count = 0;
    int64_t time = INT64_MIN;
    uint32_t source = model->events[first]->source;
    for (size_t i = first; i < model->count; i++) {
        const struct event *e = model->events[i];
        if (!same_user(model->events[first], e) || !truth(e, view->where)) {
            continue;
        }
        if (count > 0 && is_over(time, view->ttl_us, model->watermark[i])) {
            count = 0;
            time = INT64_MIN;
        }
        if (count == 0 && is_over(event_time_of(e), view->ttl_us, model->watermark[i])) {
            model->late[source]++;
            continue;
        }
        time = i64_max(time, event_time_of(e));
        group[count++] = i;
    }
    for (size_t k = 0; k < count && !is_over(time, view->ttl_us, model->last[source]); k++) {
        members_add(members, view, model->events[group[k]], UINT32_MAX, 0, 0);
    }
}

/* Is it the first event of its user in its source? */
static inline bool is_first(const struct model *model, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (same_user(model->events[k], model->events[i])) {
            return false;
        }
    }
    return true;
}

static inline void model_event(struct model *model, const struct plan_view *view, size_t i,
                               struct members *members)
{
    const struct event *e = model->events[i];
    if (view->window == PLAN_WINDOW_SESSION || view->ttl_us > 0) {
        if (is_first(model, i)) {
            (view->ttl_us > 0 ? model_recent_of : model_sessions_of)(model, view, i, members);
        }
    } else if (!truth(e, view->where)) {
        return;
    } else if (view->shape.windowed) {
        model_windows(model, view, i, members);
    } else {
        members_add(members, view, e, UINT32_MAX, 0, 0);
    }
}

static inline int compare_members(const void *a, const void *b)
{
    const struct member *left = a;
    const struct member *right = b;
    int order = strcmp(left->row, right->row);
    if (order != 0) {
        return order;
    }
    if (left->event->source != right->event->source) {
        return left->event->source < right->event->source ? -1 : 1;
    }
    return left->event->offset < right->event->offset ? -1 : 1;
}

static inline void model_groups(struct model *model, const struct plan_view *view,
                                struct lines *lines)
{
    struct members members = {0};
    for (size_t i = 0; i < model->count; i++) {
        model_event(model, view, i, &members);
    }
    if (members.count > 0) {
        qsort(members.list, members.count, sizeof *members.list, compare_members);
    }
    const struct event *group[EVENTS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < members.count; i++) {
        group[n++] = members.list[i].event;
        if (i + 1 == members.count || strcmp(members.list[i].row, members.list[i + 1].row) != 0) {
            model_group_line(view, members.list[i].name, group, n, lines);
            n = 0;
        }
    }
    for (size_t i = 0; i < members.count; i++) {
        free(members.list[i].row);
        free(members.list[i].name);
    }
    free(members.list);
}

static inline void model_view(struct model *model, const struct plan_view *view,
                              struct lines *lines)
{
    if (view->kind == PLAN_GROUP) {
        model_groups(model, view, lines);
        return;
    }
    struct buf line = {0};
    for (size_t i = 0; i < model->count; i++) {
        if (truth(model->events[i], view->where)) {
            buf_printf(&line, "%s:", view->shape.name);
            for (uint32_t c = 0; c < view->append_count; c++) {
                struct kappa_value value = event_value(model->events[i], view->append_regs[c]);
                line_value(&line, &value);
            }
            lines_add(lines, &line);
        }
    }
    buf_free(&line);
}

#endif
