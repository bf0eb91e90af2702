/* The log: is it reached, do its topics fit what versions need of them. Own header: doctor.h. */
#include "cli/doctor.h"

#include "base/clock.h"
#include "base/timefmt.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/place.h"
#include "log/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOPICS_MAX     100
#define PARTITIONS_MAX 64 /* looked at of one topic */
#define FUTURE_MS      60000
#define CHECK_LEN      300
#define DAY_MS         INT64_C(86400000)

/* What the partitions of a topic have in common, and how far they go. */
struct topic_look {
    const char *topic;
    char check[CHECK_LEN];
    uint32_t partitions;
    int64_t records; /* offsets between starts and ends */
    bool future;     /* some record's time is to come */
    struct log_extent extent;
};

static int partition_look(struct log *log, uint32_t partition, struct topic_look *look,
                          struct err *err)
{
    int64_t start;
    int64_t end;
    int64_t later = -1;
    int rc = log->ops->offsets(log, look->topic, partition, &start, &end, err);
    if (rc == 0) {
        rc = log->ops->offset_at_time(log, look->topic, partition,
                                      clock_wall_ms(clock_real()) + FUTURE_MS, &later, err);
    }
    if (rc == 0 && partition == 0 && log->ops->extent != NULL) {
        rc = log->ops->extent(log, look->topic, 0, start, end, &look->extent, err);
    }
    if (rc == 0) {
        look->records += end - start;
        look->future |= later >= 0;
    }
    return rc;
}

/* "for ever", "for 7 days", "up to 10 GiB a partition". */
static void kept_text(const struct log_extent *extent, char *text, size_t size)
{
    char time[TIME_TEXT_LEN];
    char bytes[OUT_NUMBER_LEN];
    bool timed = extent->retain_ms >= 0;
    bool sized = extent->retain_bytes >= 0;
    if (extent->retain_ms == LOG_UNKNOWN) {
        (void)snprintf(text, size, "kept for a time that the broker does not tell");
        return;
    }
    if (!timed && !sized) {
        (void)snprintf(text, size, "kept for ever");
        return;
    }
    if (timed && extent->retain_ms % DAY_MS == 0) {
        (void)snprintf(time, sizeof time, "%" PRId64 " d", extent->retain_ms / DAY_MS);
    } else {
        duration_format(timed ? i64_min(extent->retain_ms, INT64_MAX / 1000) * 1000 : 0, time);
    }
    (void)out_bytes((double)extent->retain_bytes, bytes);
    (void)snprintf(text, size, "kept%s%s%s%s%s", timed ? " for " : "", timed ? time : "",
                   timed && sized ? " and" : "", sized ? " up to " : "", sized ? bytes : "");
}

static void topic_say(struct doctor *doctor, const struct topic_look *look)
{
    char kept[200];
    char records[OUT_NUMBER_LEN];
    const char *plural = look->partitions == 1 ? "" : "s";
    kept_text(&look->extent, kept, sizeof kept);
    (void)out_short((double)look->records, records);
    if (look->extent.compacted == 1) {
        doctor_say(
            doctor, DOCTOR_WARN, look->check,
            "cleanup.policy=delete, unless the definition only takes the last record of each "
            "key (an input with a primary key)",
            "%" PRIu32 " partition%s; compacted: a replay does not see the records that a live "
            "version saw, so its rows may differ",
            look->partitions, plural);
    } else if (look->future) {
        doctor_say(
            doctor, DOCTOR_WARN, look->check,
            "look at the clocks of its producers; such records drive the watermark ahead, and "
            "what comes after is late",
            "%" PRIu32 " partition%s, %s records, some with a time to come", look->partitions,
            plural, records);
    } else {
        doctor_say(doctor, DOCTOR_OK, look->check, NULL, "%" PRIu32 " partition%s, %s records, %s",
                   look->partitions, plural, records, kept);
    }
}

static void topic_check(struct doctor *doctor, struct log *log, const char *topic)
{
    struct err err = {0};
    struct topic_look look = {.topic = topic, .extent = LOG_EXTENT_UNKNOWN};
    (void)snprintf(look.check, sizeof look.check, "topic %s", topic);
    int rc = log->ops->topic_partitions(log, topic, &look.partitions, &err);
    for (uint32_t i = 0; rc == 0 && i < look.partitions && i < PARTITIONS_MAX; i++) {
        rc = partition_look(log, i, &look, &err);
    }
    if (rc < 0) {
        doctor_say_err(doctor, DOCTOR_FAIL, look.check, &err);
    } else {
        topic_say(doctor, &look);
    }
}

/* ---- Ends against positions */

static bool reads(const json_t *version)
{
    const char *state = json_text(version, "state", "");
    return strcmp(state, "retired") != 0 && strcmp(state, "aborted") != 0 &&
           strcmp(state, "failed") != 0;
}

/* A version's position was told before the log is asked, so that it lies within. */
static bool source_fits(struct doctor *doctor, struct log *log, const char *name, int64_t version,
                        const json_t *source)
{
    int64_t start;
    int64_t end;
    struct err err = {0};
    const char *topic = json_text(source, "topic", "");
    int64_t partition = json_int(source, "partition", 0);
    int64_t next = json_int(source, "next", 0);
    int rc = log->ops->offsets(log, topic, (uint32_t)partition, &start, &end, &err);
    if (rc < 0) {
        doctor_say_err(doctor, DOCTOR_FAIL, name, &err);
        return false;
    }
    if (next >= start && next <= end) {
        return true;
    }
    doctor_say(
        doctor, DOCTOR_FAIL, name,
        "deploy it again: `kappa replay` from what the log has (--accept-gap, if it began earlier)",
        "v%" PRId64 " reads %s/%" PRId64 " at %" PRId64 " next, but the log has %" PRId64
        " to %" PRId64,
        version, topic, partition, next, start, end);
    return false;
}

static void positions(struct doctor *doctor, struct log *log)
{
    size_t p;
    const json_t *processor;
    json_array_foreach (json_object_get(doctor->status, "processors"), p, processor) {
        char name[CHECK_LEN];
        bool fits = true;
        (void)snprintf(name, sizeof name, "cut of %s", json_text(processor, "name", ""));
        size_t v;
        const json_t *version;
        json_array_foreach (json_object_get(processor, "versions"), v, version) {
            size_t i;
            const json_t *source;
            json_array_foreach (json_object_get(version, "sources"), i, source) {
                fits = fits &&
                       (!reads(version) ||
                        source_fits(doctor, log, name, json_int(version, "version", 0), source));
            }
        }
        if (fits) {
            doctor_say(doctor, DOCTOR_OK, name, NULL, "positions lie within the log");
        }
    }
}

/* ---- Replays */

static void replay_say(struct doctor *doctor, const char *name, const json_t *answer)
{
    char records[OUT_NUMBER_LEN];
    const json_t *refused = json_object_get(answer, "refused");
    const json_t *warnings = json_object_get(answer, "warnings");
    const json_t *eta = json_object_get(answer, "eta_range");
    char time[OUT_NUMBER_LEN];
    if (json_is_object(refused)) {
        const char *hint = json_text(refused, "hint", "");
        doctor_say(doctor, DOCTOR_WARN, name, hint[0] == '\0' ? NULL : hint,
                   "it would be refused: %s", json_text(refused, "message", ""));
    } else if (json_array_size(warnings) > 0) {
        doctor_say(doctor, DOCTOR_WARN, name, "`kappa replay --dry-run` says more", "%s",
                   json_string_value(json_array_get(warnings, 0)));
    } else {
        (void)out_short(json_number(answer, "records", 0), records);
        (void)out_brief(json_array_get(eta, json_array_size(eta) > 1 ? 1 : 0), time);
        doctor_say(doctor, DOCTOR_OK, name, NULL, "it would read %s records in about %s", records,
                   time);
    }
}

static void replays(struct doctor *doctor)
{
    size_t i;
    const json_t *processor;
    json_array_foreach (json_object_get(doctor->status, "processors"), i, processor) {
        struct err err = {0};
        char check[CHECK_LEN];
        const char *name = json_text(processor, "name", "");
        json_t *answer = NULL;
        json_t *body = call_body();
        (void)json_object_set_new(body, "dry_run", json_true());
        int rc =
            call_post(doctor->cli, name, 0, "replay", body, CLIENT_WAIT_SECONDS, &answer, &err);
        (void)snprintf(check, sizeof check, "replay of %s", name);
        if (rc < 0) {
            err_prefix(&err, "it would be refused");
            doctor_say_err(doctor, DOCTOR_WARN, check, &err);
        } else {
            replay_say(doctor, check, answer);
            json_decref(answer);
        }
    }
}

/* ---- The log */

/* The topics that versions read, once each; of a log that nothing reads yet, all. A new object. */
static json_t *topics_wanted(const struct doctor *doctor, const json_t *all)
{
    json_t *wanted = json_object();
    size_t p;
    size_t i;
    const json_t *processor;
    const json_t *topic;
    json_array_foreach (json_object_get(doctor->status, "processors"), p, processor) {
        size_t v;
        const json_t *version;
        json_array_foreach (json_object_get(processor, "versions"), v, version) {
            const json_t *source;
            json_array_foreach (json_object_get(version, "sources"), i, source) {
                if (reads(version)) {
                    (void)json_object_set_new(wanted, json_text(source, "topic", ""), json_true());
                }
            }
        }
    }
    if (json_object_size(wanted) == 0) {
        json_array_foreach (all, i, topic) {
            (void)json_object_set_new(wanted, json_text(topic, "name", ""), json_true());
        }
    }
    return wanted;
}

static void log_check(struct doctor *doctor, struct log *log)
{
    struct err err = {0};
    json_t *all = NULL;
    bool kafka = strcmp(log->kind, "kafka") == 0;
    int64_t began = clock_mono_us(clock_real());
    int rc = log->ops->topic_list(log, &all, &err);
    double took_ms = (double)(clock_mono_us(clock_real()) - began) / 1e3;
    if (rc < 0) {
        doctor_say_err(doctor, DOCTOR_FAIL, kafka ? "broker" : "log", &err);
        return;
    }
    doctor_say(doctor, DOCTOR_OK, kafka ? "broker" : "log", NULL, "%s log, %zu topic%s, %.1f ms",
               log->kind, json_array_size(all), json_array_size(all) == 1 ? "" : "s", took_ms);
    json_t *wanted = topics_wanted(doctor, all);
    const char *topic;
    json_t *unused;
    size_t count = 0;
    json_object_foreach (wanted, topic, unused) {
        if (count++ < TOPICS_MAX) {
            topic_check(doctor, log, topic);
        }
    }
    positions(doctor, log);
    json_decref(wanted);
    json_decref(all);
}

void doctor_log(struct doctor *doctor)
{
    struct err err = {0};
    struct log *log;
    if (!doctor->remote) {
        int rc = place_log(doctor->cli, false, &log, &err);
        if (rc == 0) {
            log_check(doctor, log);
            log->ops->close(log);
        } else if (rc != -KE_NOT_FOUND) {
            doctor_say_err(doctor, DOCTOR_FAIL, "log", &err);
        }
    }
    replays(doctor);
}
