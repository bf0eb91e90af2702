/* Positions: the text parsed, then resolved against a log. Own header: position.h. */
#include "log/position.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/timefmt.h"

#define FORMS                                                                                      \
    "write beginning, end, @TIME (RFC 3339 or milliseconds since 1970), -N for the last N, "       \
    "-DURATION such as -2h, OFFSET, or PARTITION:OFFSET,... (TOPIC/PARTITION:OFFSET,... for "      \
    "several topics, or TOPIC/@TIME,TOPIC/beginning,...)"

#define BEFORE_1970 "a time before 1970 has no records"

/* ---- Parsing */

static int refuse(struct err *err, const char *text, const char *why)
{
    int code = err_set(err, KE_INVALID, "position '%s': %s", text, why);
    err_hint(err, FORMS);
    return code;
}

/* Digits only, at most INT64_MAX. */
static bool parse_digits(const char *text, size_t len, int64_t *out)
{
    int64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text[i] - '0', &value)) {
            return false;
        }
    }
    *out = value;
    return len > 0;
}

static bool same(const char *text, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(text, word, len) == 0;
}

/* "@TIME". Returns NULL, or what is wrong; so do the others. */
static const char *parse_time(const char *text, size_t len, struct position_point *out)
{
    out->kind = POSITION_TIME;
    if (!time_parse_ms(text + 1, len - 1, &out->value)) {
        return len > 1 && text[1] == '-' ? BEFORE_1970 : "that is not a time";
    }
    return out->value < 0 ? BEFORE_1970 : NULL;
}

/* "-N" or "-DURATION". */
static const char *parse_back(const char *text, size_t len, int64_t now_ms,
                              struct position_point *out)
{
    int64_t us;
    if (parse_digits(text + 1, len - 1, &out->value)) {
        out->kind = POSITION_LAST;
        return NULL;
    }
    if (!duration_parse(text + 1, len - 1, &us)) {
        return "behind '-' stands a number of records or a duration";
    }
    out->kind = POSITION_TIME;
    out->value = now_ms - us / 1000;
    return out->value < 0 ? BEFORE_1970 : NULL;
}

static const char *parse_point(const char *text, size_t len, int64_t now_ms,
                               struct position_point *out)
{
    if (len > 0 && text[0] == '@') {
        return parse_time(text, len, out);
    }
    if (len > 0 && text[0] == '-') {
        return parse_back(text, len, now_ms, out);
    }
    if (same(text, len, "beginning") || same(text, len, "end")) {
        out->kind = text[0] == 'b' ? POSITION_BEGINNING : POSITION_END;
        return NULL;
    }
    out->kind = POSITION_OFFSET;
    return parse_digits(text, len, &out->value)
               ? NULL
               : "an offset must be a whole number, 'beginning' or 'end'";
}

/* One of "POINT", "P:POINT", "TOPIC/POINT", "TOPIC/P:POINT" in [item, item + len). A partition's
 * "-N" is refused: a program that writes Kafka's -1 for an end would get the last record instead. */
static const char *parse_item(const char *item, size_t len, int64_t now_ms,
                              struct position_item *out)
{
    *out = (struct position_item){.partition = -1};
    const char *slash = memchr(item, '/', len);
    const char *rest = slash ? slash + 1 : item;
    size_t rest_len = len - (size_t)(rest - item);
    bool word = rest_len > 0 && (rest[0] == '@' || rest[0] == '-'); /* a time has colons too */
    const char *colon = word ? NULL : memchr(rest, ':', rest_len);
    if (slash == item) {
        return "in front of '/' stands the name of a topic";
    }
    if (colon) {
        if (!parse_digits(rest, (size_t)(colon - rest), &out->partition)) {
            return "what stands before ':' must be the number of a partition";
        }
        rest_len -= (size_t)(colon + 1 - rest);
        rest = colon + 1;
    }
    const char *why = parse_point(rest, rest_len, now_ms, &out->point);
    if (!why && colon && out->point.kind == POSITION_LAST) {
        why = "an offset is not negative";
    }
    out->topic = slash && !why ? xstrndup(item, (size_t)(slash - item)) : NULL;
    return why;
}

static int parse_items(const char *text, int64_t now_ms, struct position *out, struct err *err)
{
    const char *item = text;
    for (;;) {
        size_t len = strcspn(item, ",");
        struct position_item parsed;
        const char *why = parse_item(item, len, now_ms, &parsed);
        if (!why && out->item_count == LIMIT_SOURCES) {
            why = "more partitions than a version may have";
            free(parsed.topic);
        }
        if (why) {
            return refuse(err, text, why);
        }
        out->items = xrealloc(out->items, (out->item_count + 1) * sizeof *out->items);
        out->items[out->item_count++] = parsed;
        if (item[len] == '\0') {
            return 0;
        }
        item += len + 1;
    }
}

int position_parse(const char *text, int64_t now_ms, struct position *out, struct err *err)
{
    *out = (struct position){.item_count = 0};
    if (text[0] == '\0') {
        return refuse(err, text, "it is empty");
    }
    int rc = parse_items(text, now_ms, out, err);
    if (rc != 0) {
        position_free(out);
        return rc;
    }
    /* One word for all, except that an offset is that of one partition. */
    if (out->item_count == 1 && !out->items[0].topic && out->items[0].partition < 0 &&
        out->items[0].point.kind != POSITION_OFFSET) {
        out->all = out->items[0].point;
        out->item_count = 0;
    }
    return 0;
}

void position_free(struct position *position)
{
    for (uint32_t i = 0; i < position->item_count; i++) {
        free(position->items[i].topic);
    }
    free(position->items);
    *position = (struct position){.item_count = 0};
}

/* ---- Resolving */

struct resolving {
    const struct position *position;
    struct log *log;
    const struct position_topic *topics;
    uint32_t topic_count;
    uint32_t *first; /* source of each topic's partition 0 */
    uint32_t source_count;
    bool some; /* partitions may be left out of a list */
    struct position_range *ranges;
    const struct position_item **asked; /* per source: its item, where there are items */
};

/* The topic that an item means, or topic_count. */
static uint32_t find_topic(const struct resolving *r, const char *name)
{
    for (uint32_t t = 0; t < r->topic_count; t++) {
        if (strcmp(r->topics[t].topic, name) == 0) {
            return t;
        }
    }
    return r->topic_count;
}

static int note_item(struct resolving *r, const struct position_item *item, uint32_t t,
                     uint32_t partition, struct err *err)
{
    uint32_t source = r->first[t] + partition;
    if (r->asked[source]) {
        return err_set(err, KE_INVALID, "partition %" PRIu32 " of topic '%s' is named twice",
                       partition, r->topics[t].topic);
    }
    r->asked[source] = item;
    return 0;
}

/* Finds the sources of an item, and notes it there. */
static int assign_item(struct resolving *r, const struct position_item *item, struct err *err)
{
    uint32_t t = 0;
    if (item->topic) {
        t = find_topic(r, item->topic);
        if (t == r->topic_count) {
            return err_set(err, KE_INVALID, "the position names topic '%s', which is not read here",
                           item->topic);
        }
    } else if (r->topic_count > 1) {
        err_set(err, KE_INVALID, "the position must say of which topic the partitions are");
        err_hint(err, "write TOPIC/PARTITION:OFFSET, for example %s/0:0", r->topics[0].topic);
        return -KE_INVALID;
    }
    const char *topic = r->topics[t].topic;
    uint32_t partitions = r->topics[t].partitions;
    if (item->partition < 0 && item->point.kind == POSITION_OFFSET && partitions != 1) {
        err_set(err, KE_INVALID, "topic '%s' has %" PRIu32 " partitions, one offset is given",
                topic, partitions);
        err_hint(err, "write one PARTITION:OFFSET for each, separated by commas");
        return -KE_INVALID;
    }
    if (item->partition >= (int64_t)partitions) {
        return err_set(err, KE_NOT_FOUND,
                       "topic '%s' has no partition %" PRId64 ", only 0 to %" PRIu32, topic,
                       item->partition, partitions - 1);
    }
    if (item->partition >= 0) {
        return note_item(r, item, t, (uint32_t)item->partition, err);
    }
    int rc = 0;
    for (uint32_t p = 0; p < partitions && rc == 0; p++) {
        rc = note_item(r, item, t, p, err);
    }
    return rc;
}

static int assign_items(struct resolving *r, struct err *err)
{
    for (uint32_t i = 0; i < r->position->item_count; i++) {
        int rc = assign_item(r, &r->position->items[i], err);
        if (rc != 0) {
            return rc;
        }
    }
    for (uint32_t t = 0; !r->some && t < r->topic_count; t++) {
        for (uint32_t p = 0; p < r->topics[t].partitions; p++) {
            if (!r->asked[r->first[t] + p]) {
                err_set(err, KE_INVALID,
                        "the position leaves out partition %" PRIu32 " of topic '%s'", p,
                        r->topics[t].topic);
                err_hint(err,
                         "name every partition (PARTITION:beginning and PARTITION:end are "
                         "allowed), or give a topic one position: %s/beginning",
                         r->topics[t].topic);
                return -KE_INVALID;
            }
        }
    }
    return 0;
}

/* The start by an offset that was asked for. */
static int resolve_offset(int64_t asked, const char *topic, uint32_t partition,
                          struct position_range *range, struct err *err)
{
    if (asked < range->log_start) {
        err_set(err, KE_RANGE_LOST,
                "offset %" PRId64 " of topic '%s' partition %" PRIu32
                " was asked for, but the log holds %" PRId64 " to %" PRId64 " only",
                asked, topic, partition, range->log_start, range->target);
        err_hint(err,
                 "retention has taken it; 'beginning' or %" PRIu32 ":%" PRId64 " is what is left",
                 partition, range->log_start);
        return -KE_RANGE_LOST;
    }
    if (asked > range->target) {
        return err_set(err, KE_INVALID,
                       "offset %" PRId64 " of topic '%s' partition %" PRIu32
                       " was asked for, but the log holds %" PRId64 " to %" PRId64 " only",
                       asked, topic, partition, range->log_start, range->target);
    }
    range->start = asked;
    return 0;
}

/* The end was asked before the time: records may have come since, so the answer can lie above the
 * frozen end, never meaning to skip what lies between. */
static int resolve_time(const struct resolving *r, int64_t time_ms, const char *topic,
                        uint32_t partition, struct position_range *range, struct err *err)
{
    int64_t offset = -1;
    int rc = r->log->ops->offset_at_time(r->log, topic, partition, time_ms, &offset, err);
    if (rc != 0) {
        return rc;
    }
    range->start = offset < 0 ? range->target : offset;
    range->start = i64_max(i64_min(range->start, range->target), range->log_start);
    return 0;
}

static const struct position_point *point_of(const struct resolving *r, uint32_t source)
{
    if (r->position->item_count == 0) {
        return &r->position->all;
    }
    return r->asked[source] ? &r->asked[source]->point : NULL;
}

static int resolve_source(const struct resolving *r, uint32_t topic, uint32_t partition,
                          struct err *err)
{
    const char *name = r->topics[topic].topic;
    uint32_t source = r->first[topic] + partition;
    struct position_range *range = &r->ranges[source];
    const struct position_point *point = point_of(r, source);
    int rc = r->log->ops->offsets(r->log, name, partition, &range->log_start, &range->target, err);
    if (rc != 0) {
        return rc;
    }
    ASSERT_CMP(range->log_start, >=, 0);
    ASSERT_CMP(range->target, >=, range->log_start);
    if (point == NULL) {
        range->start = POSITION_LEFT_OUT;
        return 0;
    }
    switch (point->kind) {
    case POSITION_BEGINNING:
        range->start = range->log_start;
        return 0;
    case POSITION_END:
        range->start = range->target;
        return 0;
    case POSITION_TIME:
        return resolve_time(r, point->value, name, partition, range, err);
    case POSITION_LAST: /* subtracted without an overflow: the difference is not negative */
        range->start = range->target - i64_min(point->value, range->target - range->log_start);
        return 0;
    case POSITION_OFFSET:
        return resolve_offset(point->value, name, partition, range, err);
    }
    ASSERT(false);
    return -KE_INTERNAL;
}

static int resolve_all(struct resolving *r, bool *complete, struct err *err)
{
    if (r->position->item_count > 0) {
        int rc = assign_items(r, err);
        if (rc != 0) {
            return rc;
        }
    }
    bool whole = true;
    for (uint32_t t = 0; t < r->topic_count; t++) {
        for (uint32_t p = 0; p < r->topics[t].partitions; p++) {
            int rc = resolve_source(r, t, p, err);
            if (rc != 0) {
                return rc;
            }
            uint32_t source = r->first[t] + p;
            const struct position_range *range = &r->ranges[source];
            const struct position_point *point = point_of(r, source);
            bool beginning = point && point->kind == POSITION_BEGINNING;
            whole &= range->start == range->log_start && (range->log_start == 0 || beginning);
        }
    }
    *complete = whole;
    return 0;
}

static int resolve_topics(struct resolving *r, bool *complete, struct err *err)
{
    r->first = xcalloc(r->topic_count + 1, sizeof(uint32_t));
    for (uint32_t t = 0; t < r->topic_count; t++) {
        r->first[t] = r->source_count;
        r->source_count += r->topics[t].partitions;
    }
    r->asked = xcalloc(r->source_count + 1, sizeof(const struct position_item *));
    int rc = r->source_count <= LIMIT_SOURCES
                 ? resolve_all(r, complete, err)
                 : err_set(err, KE_LIMIT,
                           "the inputs have %" PRIu32 " partitions, at most %d can be read",
                           r->source_count, LIMIT_SOURCES);
    free(r->asked);
    free(r->first);
    return rc;
}

int position_resolve(const struct position *position, struct log *log,
                     const struct position_topic *topics, uint32_t topic_count,
                     struct position_range *ranges, bool *complete, struct err *err)
{
    struct resolving r = {.position = position,
                          .log = log,
                          .topics = topics,
                          .topic_count = topic_count,
                          .ranges = ranges};
    return resolve_topics(&r, complete, err);
}

int position_resolve_some(const struct position *position, struct log *log,
                          const struct position_topic *topic, struct position_range *ranges,
                          struct err *err)
{
    bool complete;
    struct resolving r = {.position = position,
                          .log = log,
                          .topics = topic,
                          .topic_count = 1,
                          .some = true,
                          .ranges = ranges};
    return resolve_topics(&r, &complete, err);
}
