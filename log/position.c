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
    "several topics)"

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

static bool parse_offset(const char *text, size_t len, int64_t *out)
{
    if (same(text, len, "beginning")) {
        *out = POSITION_AT_BEGINNING;
        return true;
    }
    if (same(text, len, "end")) {
        *out = POSITION_AT_END;
        return true;
    }
    return parse_digits(text, len, out);
}

static int parse_time(const char *text, struct position *out, struct err *err)
{
    const char *time = text + 1;
    out->kind = POSITION_TIME;
    if (!time_parse_ms(time, strlen(time), &out->time_ms)) {
        return refuse(err, text,
                      time[0] == '-' ? "a time before 1970 has no records" : "that is not a time");
    }
    if (out->time_ms < 0) {
        return refuse(err, text, "a time before 1970 has no records");
    }
    return 0;
}

/* "-N" or "-DURATION". */
static int parse_back(const char *text, int64_t now_ms, struct position *out, struct err *err)
{
    int64_t us;
    if (parse_digits(text + 1, strlen(text + 1), &out->last)) {
        out->kind = POSITION_LAST;
        return 0;
    }
    if (!duration_parse(text + 1, strlen(text + 1), &us)) {
        return refuse(err, text, "behind '-' stands a number of records or a duration");
    }
    out->kind = POSITION_TIME;
    out->time_ms = now_ms - us / 1000;
    return out->time_ms < 0 ? refuse(err, text, "a time before 1970 has no records") : 0;
}

/* One of "N", "P:N", "TOPIC/P:N" in [item, item + len). */
static const char *parse_item(const char *item, size_t len, struct position_offset *out)
{
    *out = (struct position_offset){.partition = -1};
    const char *slash = memchr(item, '/', len);
    const char *rest = slash ? slash + 1 : item;
    size_t rest_len = len - (size_t)(rest - item);
    const char *colon = memchr(rest, ':', rest_len);
    if (slash && (slash == item || !colon)) {
        return "an item with a topic has the form TOPIC/PARTITION:OFFSET";
    }
    if (colon) {
        if (!parse_digits(rest, (size_t)(colon - rest), &out->partition)) {
            return "what stands before ':' must be the number of a partition";
        }
        rest_len -= (size_t)(colon + 1 - rest);
        rest = colon + 1;
    }
    if (rest_len > 0 && rest[0] == '-') {
        return "an offset is not negative";
    }
    if (!parse_offset(rest, rest_len, &out->offset)) {
        return "an offset must be a whole number, 'beginning' or 'end'";
    }
    out->topic = slash ? xstrndup(item, (size_t)(slash - item)) : NULL;
    return NULL;
}

static int parse_items(const char *text, struct position *out, struct err *err)
{
    out->kind = POSITION_OFFSETS;
    const char *item = text;
    for (;;) {
        size_t len = strcspn(item, ",");
        struct position_offset offset;
        const char *why = parse_item(item, len, &offset);
        if (!why && out->offset_count == LIMIT_SOURCES) {
            why = "more partitions than a version may have";
            free(offset.topic);
        }
        if (why) {
            position_free(out);
            return refuse(err, text, why);
        }
        out->offsets =
            xrealloc(out->offsets, (out->offset_count + 1) * sizeof(struct position_offset));
        out->offsets[out->offset_count++] = offset;
        if (item[len] == '\0') {
            return 0;
        }
        item += len + 1;
    }
}

int position_parse(const char *text, int64_t now_ms, struct position *out, struct err *err)
{
    *out = (struct position){.kind = POSITION_BEGINNING};
    if (text[0] == '\0') {
        return refuse(err, text, "it is empty");
    }
    if (strcmp(text, "beginning") == 0) {
        return 0;
    }
    if (strcmp(text, "end") == 0) {
        out->kind = POSITION_END;
        return 0;
    }
    if (text[0] == '-') {
        return parse_back(text, now_ms, out, err);
    }
    return text[0] == '@' ? parse_time(text, out, err) : parse_items(text, out, err);
}

void position_free(struct position *position)
{
    for (uint32_t i = 0; i < position->offset_count; i++) {
        free(position->offsets[i].topic);
    }
    free(position->offsets);
    *position = (struct position){.kind = POSITION_BEGINNING};
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
    const struct position_offset **asked; /* per source, for POSITION_OFFSETS */
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

/* Finds the source of an item and notes it there. */
static int assign_item(struct resolving *r, const struct position_offset *item, struct err *err)
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
    uint32_t partitions = r->topics[t].partitions;
    if (item->partition < 0 && partitions != 1) {
        err_set(err, KE_INVALID, "topic '%s' has %" PRIu32 " partitions, one offset is given",
                r->topics[t].topic, partitions);
        err_hint(err, "write one PARTITION:OFFSET for each, separated by commas");
        return -KE_INVALID;
    }
    int64_t partition = i64_max(item->partition, 0);
    if (partition >= (int64_t)partitions) {
        return err_set(err, KE_NOT_FOUND,
                       "topic '%s' has no partition %" PRId64 ", only 0 to %" PRIu32,
                       r->topics[t].topic, partition, partitions - 1);
    }
    uint32_t source = r->first[t] + (uint32_t)partition;
    if (r->asked[source]) {
        return err_set(err, KE_INVALID, "partition %" PRId64 " of topic '%s' is named twice",
                       partition, r->topics[t].topic);
    }
    r->asked[source] = item;
    return 0;
}

static int assign_items(struct resolving *r, struct err *err)
{
    for (uint32_t i = 0; i < r->position->offset_count; i++) {
        int rc = assign_item(r, &r->position->offsets[i], err);
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
                err_hint(err, "name every partition; PARTITION:beginning and PARTITION:end are "
                              "allowed");
                return -KE_INVALID;
            }
        }
    }
    return 0;
}

/* The start by an offset that was asked for. */
static int resolve_offset(const struct position_offset *asked, const char *topic,
                          uint32_t partition, struct position_range *range, struct err *err)
{
    if (asked->offset == POSITION_AT_BEGINNING || asked->offset == POSITION_AT_END) {
        range->start = asked->offset == POSITION_AT_END ? range->target : range->log_start;
        return 0;
    }
    if (asked->offset < range->log_start) {
        err_set(err, KE_RANGE_LOST,
                "offset %" PRId64 " of topic '%s' partition %" PRIu32
                " was asked for, but the log holds %" PRId64 " to %" PRId64 " only",
                asked->offset, topic, partition, range->log_start, range->target);
        err_hint(err,
                 "retention has taken it; 'beginning' or %" PRIu32 ":%" PRId64 " is what is left",
                 partition, range->log_start);
        return -KE_RANGE_LOST;
    }
    if (asked->offset > range->target) {
        return err_set(err, KE_INVALID,
                       "offset %" PRId64 " of topic '%s' partition %" PRIu32
                       " was asked for, but the log holds %" PRId64 " to %" PRId64 " only",
                       asked->offset, topic, partition, range->log_start, range->target);
    }
    range->start = asked->offset;
    return 0;
}

/* The end was asked before the time: records may have come since, so the answer can lie above the
 * frozen end, never meaning to skip what lies between. */
static int resolve_time(const struct resolving *r, const char *topic, uint32_t partition,
                        struct position_range *range, struct err *err)
{
    int64_t offset = -1;
    int rc =
        r->log->ops->offset_at_time(r->log, topic, partition, r->position->time_ms, &offset, err);
    if (rc != 0) {
        return rc;
    }
    range->start = offset < 0 ? range->target : offset;
    range->start = i64_max(i64_min(range->start, range->target), range->log_start);
    return 0;
}

static int resolve_source(const struct resolving *r, uint32_t topic, uint32_t partition,
                          struct err *err)
{
    const char *name = r->topics[topic].topic;
    uint32_t source = r->first[topic] + partition;
    struct position_range *range = &r->ranges[source];
    int rc = r->log->ops->offsets(r->log, name, partition, &range->log_start, &range->target, err);
    if (rc != 0) {
        return rc;
    }
    ASSERT_CMP(range->log_start, >=, 0);
    ASSERT_CMP(range->target, >=, range->log_start);
    switch (r->position->kind) {
    case POSITION_BEGINNING:
        range->start = range->log_start;
        return 0;
    case POSITION_END:
        range->start = range->target;
        return 0;
    case POSITION_TIME:
        return resolve_time(r, name, partition, range, err);
    case POSITION_LAST: /* subtracted without an overflow: the difference is not negative */
        range->start = range->target - i64_min(r->position->last, range->target - range->log_start);
        return 0;
    case POSITION_OFFSETS:
        if (r->asked[source] == NULL) {
            range->start = POSITION_LEFT_OUT;
            return 0;
        }
        return resolve_offset(r->asked[source], name, partition, range, err);
    }
    ASSERT(false);
    return -KE_INTERNAL;
}

static int resolve_all(struct resolving *r, bool *complete, struct err *err)
{
    if (r->position->kind == POSITION_OFFSETS) {
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
            bool beginning =
                r->position->kind == POSITION_BEGINNING ||
                (r->asked[source] && r->asked[source]->offset == POSITION_AT_BEGINNING);
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
    r->asked = xcalloc(r->source_count + 1, sizeof(const struct position_offset *));
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
