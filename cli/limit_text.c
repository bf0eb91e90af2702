/* Limits in words. Own header: limit_text.h. */
#include "cli/limit_text.h"

#include "base/timefmt.h"
#include "cli/output.h"
#include "replayer/governor.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    const char *name;
    double times;
    bool bytes;
} units[] = {
    {"/s", 1, false},
    {"k/s", 1e3, false},
    {"M/s", 1e6, false},
    {"G/s", 1e9, false},
    {"B/s", 1, true},
    {"kB/s", 1e3, true},
    {"KB/s", 1e3, true},
    {"MB/s", 1e6, true},
    {"GB/s", 1e9, true},
    {"KiB/s", 1024, true},
    {"MiB/s", 1024 * 1024, true},
    {"GiB/s", 1024 * 1024 * 1024, true},
};

static int wrong(const char *part, const char *why, struct err *err)
{
    int rc = err_set(err, KE_INVALID, "the limit '%s' %s", part, why);
    err_hint(err, "write 50000/s (records), 20MB/s (bytes), both as 50k/s,20MB/s, "
                  "'broker <= 100MB/s' (what brokers are asked for), freshness=50ms, "
                  "'finish by 06:00', 'finish in 2h', or none");
    return rc;
}

static int member_set(const char *part, json_t *limit, const char *member, int64_t value,
                      struct err *err)
{
    if (json_object_get(limit, member) != NULL) {
        return wrong(part, "says again what another part says", err);
    }
    (void)json_object_set_new(limit, member, json_integer(value));
    return 0;
}

/* What stands behind a word and "=" or "<="; NULL: the part does not begin with the word. */
static const char *behind(const char *part, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(part, word, len) != 0) {
        return NULL;
    }
    const char *at = part + len + strspn(part + len, " ");
    if (strncmp(at, "p99", 3) == 0) {
        at += 3 + strspn(at + 3, " ");
    }
    at += strncmp(at, "<=", 2) == 0 ? 2 : strncmp(at, "=", 1) == 0 ? 1 : 0;
    return at + strspn(at, " ");
}

static int freshness_parse(const char *part, const char *text, json_t *limit, struct err *err)
{
    int64_t us = 0;
    if (!duration_parse(text, strlen(text), &us) || us < 1000) {
        return wrong(part, "has no duration of 1 ms or more", err);
    }
    return member_set(part, limit, "freshness_ms", us / 1000, err);
}

/* The next time that a clock here shows "06:00" (06:00:30, 6:00; 06:00Z: one of UTC); ms since 1970, or
 * -1 when the text is no such time. */
static int64_t clock_parse(const char *text, int64_t now_ms)
{
    unsigned hour = 0;
    unsigned minute = 0;
    unsigned second = 0;
    int len = 0;
    int seconds_len = 0;
    if (sscanf(text, "%2u:%2u%n", &hour, &minute, &len) != 2 || len < 4) {
        return -1;
    }
    text += len;
    if (sscanf(text, ":%2u%n", &second, &seconds_len) == 1 && seconds_len == 3) {
        text += seconds_len;
    }
    bool utc = strcmp(text, "Z") == 0;
    if ((text[0] != '\0' && !utc) || hour > 23 || minute > 59 || second > 59) {
        return -1;
    }
    time_t now = (time_t)(now_ms / 1000);
    for (int day = 0; day <= 1; day++) {
        struct tm at;
        (void)(utc ? gmtime_r(&now, &at) : localtime_r(&now, &at));
        at.tm_mday += day;
        at.tm_hour = (int)hour;
        at.tm_min = (int)minute;
        at.tm_sec = (int)second;
        at.tm_isdst = -1; /* whatever the clock shows then */
        time_t then = utc ? timegm(&at) : mktime(&at);
        if (then > now) {
            return (int64_t)then * 1000;
        }
    }
    return -1;
}

/* "by TIME", "_by=TIME", "in DURATION" behind "finish". */
static int finish_parse(const char *part, const char *text, int64_t now_ms, json_t *limit,
                        struct err *err)
{
    static const char *const words[] = {"by", "_by", "in", "_in"};
    int64_t us = 0;
    int64_t ms = -1;
    const char *at = NULL;
    size_t word = 0;
    while (at == NULL && word < array_len(words)) {
        at = behind(text, words[word++]);
    }
    if (at == NULL) {
        return wrong(part, "says neither 'finish by' a time nor 'finish in' a duration", err);
    }
    size_t len = strlen(at);
    if (word > 2) {
        ms = duration_parse(at, len, &us) ? now_ms + us / 1000 : -1;
    } else {
        ms = clock_parse(at, now_ms);
        ms = ms < 0 && time_parse(at, len, &us) ? us / 1000 : ms;
    }
    if (ms < 0) {
        return wrong(part,
                     word > 2 ? "has no duration"
                              : "has no time, as 06:00 or "
                                "2026-01-31T06:00:00Z",
                     err);
    }
    if (json_object_get(limit, "finish_by") != NULL) {
        return wrong(part, "says again what another part says", err);
    }
    char time[TIME_TEXT_LEN];
    time_format(ms * 1000, time);
    (void)json_object_set_new(limit, "finish_by", json_string(time));
    return 0;
}

static int priority_parse(const char *part, const char *text, json_t *limit, struct err *err)
{
    size_t len = strspn(text, "0123456789");
    long value = len > 0 && len <= 3 && text[len] == '\0' ? strtol(text, NULL, 10) : 0;
    if (value < 1 || value > 100) {
        return wrong(part, "has no whole number from 1 to 100", err);
    }
    return member_set(part, limit, "priority", value, err);
}

/* "50k/s", "20MB/s"; broker: only the latter, of what is read from brokers. */
static int rate_parse(const char *part, const char *text, bool broker, json_t *limit,
                      struct err *err)
{
    char *end = NULL;
    size_t digits = strspn(text, "0123456789.");
    double number = digits > 0 ? strtod(text, &end) : 0;
    if (digits == 0 || end != text + digits) {
        return wrong(part, broker ? "has no bytes per second" : "begins with no number", err);
    }
    const char *unit = end + strspn(end, " ");
    for (size_t i = 0; i < array_len(units); i++) {
        if (strcmp(units[i].name, unit) != 0) {
            continue;
        }
        double value = floor(number * units[i].times);
        const char *member = broker           ? "broker_bytes_per_second"
                             : units[i].bytes ? "bytes_per_second"
                                              : "records_per_second";
        if (broker && !units[i].bytes) {
            return wrong(part, "is of records, and brokers are limited in bytes", err);
        }
        if (!(value >= 1 && value <= (double)GOVERNOR_RATE_MAX)) {
            return wrong(part, "is not between 1 and 10^12", err);
        }
        return member_set(part, limit, member, (int64_t)value, err);
    }
    return wrong(part, "has no unit that is known", err);
}

static int part_parse(const char *part, int64_t now_ms, json_t *limit, struct err *err)
{
    const char *finish = behind(part, "finish");
    const char *freshness = behind(part, "freshness");
    const char *priority = behind(part, "priority");
    const char *broker = behind(part, "broker");
    if (finish != NULL) {
        return finish_parse(part, finish, now_ms, limit, err);
    }
    if (freshness != NULL) {
        return freshness_parse(part, freshness, limit, err);
    }
    if (priority != NULL) {
        return priority_parse(part, priority, limit, err);
    }
    return broker != NULL ? rate_parse(part, broker, true, limit, err)
                          : rate_parse(part, part, false, limit, err);
}

int limit_text_parse(const char *text, int64_t now_ms, json_t **out, struct err *err)
{
    if (strcmp(text, "none") == 0) {
        *out = json_null();
        return 0;
    }
    json_t *limit = json_object();
    char *copy = xstrdup(text);
    char *rest = copy;
    int rc = 0;
    for (char *part = strsep(&rest, ","); rc == 0 && part != NULL; part = strsep(&rest, ",")) {
        rc = part_parse(part + strspn(part, " "), now_ms, limit, err);
    }
    free(copy);
    if (rc != 0) {
        json_decref(limit);
        return rc;
    }
    *out = limit;
    return 0;
}

/* Of 1000, as it was written: out_bytes counts in 1024. */
static void bytes_text(struct buf *out, double bytes)
{
    buf_printf(out, "%.3g %s/s",
               bytes >= 1e9   ? bytes / 1e9
               : bytes >= 1e6 ? bytes / 1e6
               : bytes >= 1e3 ? bytes / 1e3
                              : bytes,
               bytes >= 1e9   ? "GB"
               : bytes >= 1e6 ? "MB"
               : bytes >= 1e3 ? "kB"
                              : "B");
}

static void comma(struct buf *out, size_t begin)
{
    buf_append_text(out, out->len > begin ? ", " : "");
}

void limit_text(struct buf *out, const json_t *limit)
{
    char number[OUT_NUMBER_LEN];
    size_t begin = out->len;
    int64_t records = json_int(limit, "records_per_second", 0);
    int64_t bytes = json_int(limit, "bytes_per_second", 0);
    int64_t broker = json_int(limit, "broker_bytes_per_second", 0);
    if (records > 0) {
        buf_printf(out, "%s records/s", out_count(records, number));
    }
    if (bytes > 0) {
        comma(out, begin);
        bytes_text(out, (double)bytes);
    }
    if (broker > 0) {
        comma(out, begin);
        buf_append_text(out, "broker <= ");
        bytes_text(out, (double)broker);
    }
    int64_t goal = json_int(limit, "freshness_ms", 0);
    if (goal > 0) {
        comma(out, begin);
        buf_printf(out, "freshness p99 <= %" PRId64 " ms", goal);
    }
    const char *by = json_text(limit, "finish_by", NULL);
    if (by != NULL) {
        comma(out, begin);
        buf_printf(out, "finish by %s", by);
    }
    if (json_int(limit, "priority", 1) != 1) {
        bool any = out->len > begin;
        buf_printf(out, any ? " (priority %" PRId64 ")" : "priority %" PRId64,
                   json_int(limit, "priority", 1));
    }
}
