/* What a deploy would do. Own header: dry_run.h. */
#include "controller/dry_run.h"

#include "base/clock.h"
#include "base/timefmt.h"
#include "controller/core_inside.h"
#include "include/kappa/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SAMPLE_US         300000
#define SAMPLE_WAIT_US    2000000
#define SAMPLE_RECORDS    100000
#define PACE_RECORDS_MIN  10000 /* measured with fewer, a pace says little */
#define PACE_SPREAD       0.25  /* of one that was measured: machines are not always as busy */
#define SAMPLE_SPREAD_LOW 0.35  /* part of the sampled pace that commits and neighbours may leave */
#define ARRIVAL_LONG_MS   60000
#define ARRIVAL_SHORT_MS  5000

/* ---- What is known ---- */

static bool tables_are_same(const struct dry_run *dry, const struct core_version *version)
{
    bool same = version_table_count(version) == dry->plan->view_count + dry->plan->read_view_count;
    for (uint32_t i = 0; same && i < dry->plan->view_count; i++) {
        same = strcmp(version_table(version, i), dry->plan->views[i].shape.name) == 0;
    }
    return same;
}

static bool inputs_are_same(const struct dry_run *dry, const struct core_version *version)
{
    const json_t *inputs = json_object_get(version->object, "inputs");
    bool same = json_array_size(inputs) == dry->plan->input_count;
    for (uint32_t i = 0; same && i < dry->plan->input_count; i++) {
        same = strcmp(json_text(json_array_get(inputs, i), "topic", ""),
                      dry->plan->inputs[i].topic) == 0;
    }
    return same;
}

void dry_run_know(struct dry_run *dry, struct core *core, const char *processor, const char *hash)
{
    struct core_processor *known = core_processor_find(core, processor);
    dry->data_dir = xstrdup(core->data_dir);
    dry->now_ms = core_now_ms(core);
    dry->arrival = FORECAST_UNKNOWN;
    dry->serving_bytes = FORECAST_UNKNOWN;
    dry->serving_rss = FORECAST_UNKNOWN;
    for (uint32_t i = known != NULL ? known->version_count : 0; i-- > 0;) {
        const struct core_version *version = known->versions[i];
        double pace = json_number(version->object, "replay_rate", 0);
        bool same = strcmp(json_text(version->object, "hash", ""), hash) == 0;
        bool enough = json_int(version->object, "replay_records", 0) >= PACE_RECORDS_MIN;
        if (pace > 0 && enough && (dry->paced_version == 0 || (same && !dry->paced_same))) {
            dry->paced_version = version->number;
            dry->pace = pace;
            dry->paced_same = same;
        }
    }
    struct core_version *serving = known != NULL ? core_serving(known) : NULL;
    if (serving != NULL && child_is_open(&serving->child)) {
        dry->serving_bytes = json_int(serving->child.stats, "file_bytes", FORECAST_UNKNOWN);
        dry->serving_rss = json_int(serving->child.stats, "rss_bytes", FORECAST_UNKNOWN);
        dry->same_tables = tables_are_same(dry, serving);
        if (inputs_are_same(dry, serving) && serving->lag.arrival.weight > 0.5) {
            dry->arrival = catchup_rate_get(&serving->lag.arrival);
        }
    }
}

/* ---- What the log tells ---- */

static void list_sources(struct dry_run *dry)
{
    uint32_t source = 0;
    for (uint32_t i = 0; i < dry->plan->input_count; i++) {
        for (uint32_t p = 0; p < dry->topics[i].partitions; p++, source++) {
            dry->sources[source] = (struct sample_source){.topic = dry->topics[i].topic,
                                                          .partition = p,
                                                          .partitions = dry->topics[i].partitions,
                                                          .input = i,
                                                          .start = dry->ranges[source].start,
                                                          .end = dry->ranges[source].target};
        }
    }
    ASSERT_CMP(source, ==, dry->source_count);
}

/* Offsets that came in the last `ms`, per second, by record time; FORECAST_UNKNOWN. */
static double arrival_since(const struct dry_run *dry, int64_t ms)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < dry->source_count; i++) {
        const struct sample_source *source = &dry->sources[i];
        int64_t offset = -1;
        if (dry->log->ops->offset_at_time(dry->log, source->topic, source->partition,
                                          dry->now_ms - ms, &offset, NULL) != 0) {
            return FORECAST_UNKNOWN;
        }
        sum += offset < 0 ? 0 : i64_max(source->end - offset, 0);
    }
    return (double)sum * 1000 / (double)ms;
}

int64_t dry_run_disk_free(const char *dir)
{
    struct statvfs disk;
    return statvfs(dir, &disk) == 0 ? (int64_t)disk.f_bavail * (int64_t)disk.f_frsize
                                    : FORECAST_UNKNOWN;
}

/* Where the archive hands over to the log. */
static int64_t archived_to(const struct dry_run *dry, const struct sample_source *source)
{
    struct log *log = dry->log;
    int64_t to = source->start;
    if (log->ops->archived != NULL &&
        log->ops->archived(log, source->topic, source->partition, source->start, &to, NULL) != 0) {
        to = source->start;
    }
    return i64_min(to, source->end);
}

void dry_run_look(struct dry_run *dry)
{
    dry->sources = xcalloc(dry->source_count, sizeof *dry->sources);
    dry->extents = xcalloc(dry->source_count, sizeof *dry->extents);
    dry->first_time_ms = xcalloc(dry->source_count, sizeof *dry->first_time_ms);
    dry->archived = xcalloc(dry->source_count, sizeof *dry->archived);
    list_sources(dry);
    for (uint32_t i = 0; i < dry->source_count; i++) {
        const struct sample_source *source = &dry->sources[i];
        dry->extents[i] = LOG_EXTENT_UNKNOWN;
        dry->first_time_ms[i] = KAPPA_NO_TIME;
        dry->archived[i] = archived_to(dry, source);
        if (i > 0 && dry->sources[i - 1].input == source->input && dry->extents[i - 1].bytes < 0) {
            dry->extents[i] = dry->extents[i - 1]; /* all it knows is of the topic */
        } else if (dry->log->ops->extent != NULL &&
                   dry->log->ops->extent(dry->log, source->topic, source->partition, source->start,
                                         source->end, &dry->extents[i], NULL) != 0) {
            dry->extents[i] = LOG_EXTENT_UNKNOWN;
        }
    }
    double short_arrival = arrival_since(dry, ARRIVAL_SHORT_MS);
    double long_arrival = arrival_since(dry, ARRIVAL_LONG_MS);
    /* The lesser: a load of old records that is over is no arrival. */
    dry->log_arrival = short_arrival < 0 ? short_arrival : fmin(short_arrival, long_arrival);
    dry->disk_free = dry_run_disk_free(dry->data_dir);
    const struct sample_options options = {.plan = dry->plan,
                                           .log = dry->log,
                                           .clock = clock_real(),
                                           .sources = dry->sources,
                                           .source_count = dry->source_count,
                                           .budget_us = SAMPLE_US,
                                           .wait_us = SAMPLE_WAIT_US,
                                           .records_max = SAMPLE_RECORDS,
                                           .first_time_ms = dry->first_time_ms};
    if (sample_take(&options, &dry->sample, &dry->trouble) == 0) {
        dry->trouble.code = 0;
    }
}

void dry_run_free(struct dry_run *dry)
{
    free(dry->data_dir);
    free(dry->sources);
    free(dry->extents);
    free(dry->first_time_ms);
    free(dry->archived);
}

/* ---- The answer ---- */

static json_t *number_or_null(double value)
{
    return value < 0 ? json_null() : json_real(value);
}

static json_t *bytes_or_null(int64_t value)
{
    return value < 0 ? json_null() : json_integer(value);
}

static int64_t records_of(const struct dry_run *dry, uint32_t source)
{
    return dry->sources[source].end - dry->sources[source].start;
}

/* As the log says, else by the mean size of what was looked at. */
static int64_t bytes_of(const struct dry_run *dry, uint32_t source)
{
    int64_t known = dry->extents[source].bytes;
    if (known >= 0 || dry->sample.records == 0) {
        return known;
    }
    double mean = (double)dry->sample.bytes / (double)dry->sample.records;
    return (int64_t)(mean * (double)records_of(dry, source));
}

/* Seconds until the first record to read may be deleted. False: never, or not known. */
static bool headroom_of(const struct dry_run *dry, uint32_t source, double *seconds)
{
    int64_t retain = dry->extents[source].retain_ms;
    int64_t first = dry->first_time_ms[source];
    if (retain < 0 || first == KAPPA_NO_TIME || records_of(dry, source) == 0) {
        return false;
    }
    *seconds = ((double)first + (double)retain - (double)dry->now_ms) / 1000;
    return true;
}

static const char *log_word(const struct dry_run *dry)
{
    return strcmp(dry->log->kind, "kafka") == 0 ? "broker" : "log";
}

static void piece_add(json_t *pieces, const char *from_where, int64_t from, int64_t to)
{
    if (from < to) {
        json_t *piece = json_pack("{s:s, s:I, s:I}", "source", from_where, "from", (json_int_t)from,
                                  "to", (json_int_t)to);
        int rc = json_array_append_new(pieces, piece);
        ASSERT(rc == 0);
    }
}

/* Who gives which offsets. */
static json_t *pieces_json(const struct dry_run *dry, uint32_t i)
{
    const struct sample_source *source = &dry->sources[i];
    json_t *pieces = json_array();
    piece_add(pieces, "archive", source->start, dry->archived[i]);
    piece_add(pieces, log_word(dry), dry->archived[i], source->end);
    return pieces;
}

static json_t *source_json(const struct dry_run *dry, uint32_t i)
{
    const struct sample_source *source = &dry->sources[i];
    double headroom = 0;
    char time[TIME_TEXT_LEN] = "";
    bool timed = dry->first_time_ms[i] != KAPPA_NO_TIME;
    bool retained = headroom_of(dry, i, &headroom);
    if (timed) {
        time_format(dry->first_time_ms[i] * 1000, time);
    }
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "topic", source->topic,
                  "partition", (json_int_t)source->partition, "from", (json_int_t)source->start,
                  "to", (json_int_t)source->end, "records", (json_int_t)records_of(dry, i), "bytes",
                  bytes_or_null(bytes_of(dry, i)), "first_time",
                  timed ? json_string(time) : json_null(), "headroom_seconds",
                  retained ? json_real(headroom) : json_null(), "pieces", pieces_json(dry, i));
    ASSERT(object != NULL);
    return object;
}

/* Threads that would have something to do. */
static uint32_t threads_of(const struct dry_run *dry)
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < dry->source_count; i++) {
        busy += records_of(dry, i) > 0;
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t threads = dry->shards < busy ? dry->shards : busy;
    threads = cores > 0 && (uint32_t)cores < threads ? (uint32_t)cores : threads;
    return threads > 0 ? threads : 1;
}

/* Fills in the pace; which of the two it was comes back. */
static const char *pace_of(const struct dry_run *dry, struct forecast_facts *facts)
{
    bool sampled = dry->sample.per_second > 0;
    if (dry->paced_version != 0 && (dry->paced_same || !sampled)) {
        facts->rate_low = dry->pace * (1 - PACE_SPREAD);
        facts->rate_high = dry->pace * (1 + PACE_SPREAD);
        return "measured";
    }
    facts->rate_high = dry->sample.per_second * threads_of(dry);
    facts->rate_low = facts->rate_high * SAMPLE_SPREAD_LOW;
    return sampled ? "sample" : NULL;
}

static void facts_of(const struct dry_run *dry, struct forecast_facts *facts)
{
    *facts = (struct forecast_facts){.arrival = dry->arrival >= 0 ? dry->arrival : dry->log_arrival,
                                     .log = log_word(dry),
                                     .disk_needed =
                                         dry->same_tables ? dry->serving_bytes : FORECAST_UNKNOWN,
                                     .disk_free = dry->disk_free,
                                     .sampled = dry->sample.records,
                                     .dead = dry->sample.dead};
    for (uint32_t i = 0; i < dry->source_count; i++) {
        double headroom;
        facts->records += records_of(dry, i);
        if (headroom_of(dry, i, &headroom)) {
            facts->headroom = facts->retained ? fmin(facts->headroom, headroom) : headroom;
            facts->retained = true;
        }
    }
}

static json_t *speed_json(const struct dry_run *dry, const char *source,
                          const struct forecast_facts *facts)
{
    if (source == NULL) {
        return json_null();
    }
    bool measured = strcmp(source, "measured") == 0;
    json_t *speed =
        json_pack("{s:s, s:o, s:f, s:f, s:I}", "source", source, "version",
                  measured ? json_integer(dry->paced_version) : json_null(), "low", facts->rate_low,
                  "high", facts->rate_high, "sampled", (json_int_t)dry->sample.records);
    ASSERT(speed != NULL);
    return speed;
}

static json_t *warnings_json(const struct dry_run *dry, const struct forecast_facts *facts,
                             const struct forecast *forecast)
{
    json_t *warnings = forecast_warnings(facts, forecast);
    const struct err *const errors[] = {&dry->trouble, &dry->sample.refused};
    static const char *const words[] = {"no records could be looked at", "the version would fail"};
    for (size_t i = 0; i < array_len(errors); i++) {
        if (errors[i]->code != 0) {
            char *text = xasprintf("%s: %s", words[i], errors[i]->text);
            json_array_append_new(warnings, json_string(text));
            free(text);
        }
    }
    return warnings;
}

static json_t *disk_json(const struct dry_run *dry, const struct forecast_facts *facts)
{
    int64_t both =
        facts->disk_needed < 0 ? FORECAST_UNKNOWN : facts->disk_needed + dry->serving_bytes;
    json_t *disk =
        json_pack("{s:o, s:o, s:o, s:o}", "serving_bytes", bytes_or_null(dry->serving_bytes),
                  "new_bytes", bytes_or_null(facts->disk_needed), "both_bytes", bytes_or_null(both),
                  "free_bytes", bytes_or_null(dry->disk_free));
    ASSERT(disk != NULL);
    return disk;
}

json_t *dry_run_json(const struct dry_run *dry)
{
    struct forecast_facts facts;
    struct forecast forecast;
    facts_of(dry, &facts);
    const char *speed = pace_of(dry, &facts);
    forecast_make(&facts, &forecast);
    json_t *sources = json_array();
    int64_t bytes = 0;
    for (uint32_t i = 0; i < dry->source_count; i++) {
        int64_t some = bytes_of(dry, i);
        json_array_append_new(sources, source_json(dry, i));
        bytes = some < 0 || bytes < 0 ? FORECAST_UNKNOWN : bytes + some;
    }
    json_t *eta = forecast.eta.low < 0
                      ? json_null()
                      : json_pack("[f, o]", forecast.eta.low, number_or_null(forecast.eta.high));
    json_t *body = json_pack(
        "{s:o, s:I, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:I, s:o}, s:o}", "sources",
        sources, "records", (json_int_t)facts.records, "bytes", bytes_or_null(bytes),
        "bytes_estimated", dry->source_count > 0 && dry->extents[0].bytes < 0, "speed",
        speed_json(dry, speed, &facts), "arrival", number_or_null(facts.arrival), "utilisation",
        number_or_null(forecast.utilisation), "eta_range", eta, "catches_up",
        forecast.known ? json_boolean(forecast.catches_up) : json_null(), "headroom_seconds",
        facts.retained ? json_real(facts.headroom) : json_null(), "disk", disk_json(dry, &facts),
        "memory", "cache_bytes", (json_int_t)dry->cache_bytes, "serving_rss_bytes",
        bytes_or_null(dry->serving_rss), "warnings", warnings_json(dry, &facts, &forecast));
    ASSERT(body != NULL);
    return body;
}
