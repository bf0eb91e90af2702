/* Rendering of metrics: rows of metrics.def times the objects of the status. Own header:
 * metrics.h. */
#include "serve/metrics.h"

#include "base/histogram.h"
#include "include/kappa/version.h"
#include "log/archiver.h"
#include "serve/feed.h"
#include "serve/process_stats.h"
#include "serve/reader.h"
#include "serve/redis.h"

#include <inttypes.h>
#include <string.h>

enum level {
    BUILD,
    PEOPLE,
    PROCESS,
    DATA,
    LIMIT,
    HTTP,
    ROUTE,
    REDIS,
    COMMAND,
    ROUNDS,
    FEEDS,
    ARCHIVE,
    ARCHIVED,
    PROCESSOR,
    SWAPS,
    STATE,
    VERSION,
    PHASE,
    COMPARED,
    SOURCE,
    STATUS
};

struct metric {
    enum level level;
    const char *name;
    const char *type;
    const char *member;
    const char *help;
};

static const struct metric metrics[] = {
#define X(level, name, type, member, help) {level, #name, #type, member, help},
#include "serve/metrics.def"
#undef X
};

static const char *const level_labels[] = {
    [BUILD] = "version",
    [PEOPLE] = "reason",
    [PROCESS] = "",
    [DATA] = "",
    [LIMIT] = "",
    [HTTP] = "class",
    [ROUTE] = "method, route",
    [REDIS] = "",
    [COMMAND] = "command",
    [ROUNDS] = "",
    [FEEDS] = "",
    [ARCHIVE] = "topic",
    [ARCHIVED] = "topic, partition",
    [PROCESSOR] = "processor",
    [SWAPS] = "processor, result",
    [STATE] = "processor, version, state",
    [VERSION] = "processor, version",
    [PHASE] = "processor, version, phase",
    [COMPARED] = "processor, version, result",
    [SOURCE] = "processor, version, topic, partition",
    [STATUS] = "processor, version, topic, partition, status",
};

/* What a sample is of. The parts below its level are NULL. */
struct subject {
    const json_t *processor;
    const json_t *version;
    const json_t *source;
};

static const char *prefix(const struct metric *metric)
{
    return metric->level == PROCESS ? "" : "kappa_";
}

/* `name="value"` with the escapes of the format; a comma in front unless it is the first label. */
static void label(struct buf *out, const char *name, const char *value)
{
    if (out->data[out->len - 1] != '{') {
        buf_append_u8(out, ',');
    }
    buf_printf(out, "%s=\"", name);
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '\n') {
            buf_append_text(out, "\\n");
            continue;
        }
        if (*at == '"' || *at == '\\') {
            buf_append_u8(out, '\\');
        }
        buf_append_u8(out, (uint8_t)*at);
    }
    buf_append_u8(out, '"');
}

static void label_number(struct buf *out, const char *name, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    label(out, name, text);
}

/* The value at a dotted path, borrowed, or NULL. */
static const json_t *member_find(const json_t *object, const char *path)
{
    char name[32];
    while (object != NULL) {
        size_t len = strcspn(path, ".");
        ASSERT_CMP(len, <, sizeof name);
        memcpy(name, path, len);
        name[len] = '\0';
        object = json_object_get(object, name);
        if (path[len] == '\0') {
            break;
        }
        path += len + 1;
    }
    return object;
}

static bool in_microseconds(const char *member)
{
    size_t len = strlen(member);
    return len > 3 && strcmp(member + len - 3, "_us") == 0;
}

/* " 12\n", behind the labels. */
static void value_write(struct buf *out, const struct metric *metric, const json_t *value)
{
    if (in_microseconds(metric->member)) {
        buf_printf(out, " %.9g\n", json_number_value(value) / 1e6);
    } else if (json_is_boolean(value)) {
        buf_append_text(out, json_is_true(value) ? " 1\n" : " 0\n");
    } else if (json_is_integer(value)) {
        buf_printf(out, " %" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
    } else {
        buf_printf(out, " %.15g\n", json_real_value(value));
    }
}

static void name_open(struct buf *out, const struct metric *metric, const char *suffix)
{
    buf_printf(out, "%s%s%s{", prefix(metric), metric->name, suffix);
}

static void subject_labels(struct buf *out, const struct subject *of)
{
    label(out, "processor", json_text(of->processor, "name", ""));
    if (of->version != NULL) {
        label_number(out, "version", json_int(of->version, "version", 0));
    }
    if (of->source != NULL) {
        label(out, "topic", json_text(of->source, "topic", ""));
        label_number(out, "partition", json_int(of->source, "partition", 0));
    }
}

/* The lines of a histogram; labels is what stands between the braces. */
static void histogram_write(struct buf *out, const struct metric *metric, const char *labels,
                            const struct histogram *histogram)
{
    uint64_t count = 0;
    const char *comma = labels[0] == '\0' ? "" : ",";
    for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) {
        count += histogram->counts[i];
        name_open(out, metric, "_bucket");
        buf_append_text(out, labels);
        if (i < HISTOGRAM_BOUNDS) {
            buf_printf(out, "%sle=\"%g\"} %" PRIu64 "\n", comma,
                       (double)histogram_bounds_us[i] / 1e6, count);
        } else {
            buf_printf(out, "%sle=\"+Inf\"} %" PRIu64 "\n", comma, count);
        }
    }
    name_open(out, metric, "_sum");
    buf_printf(out, "%s} %.9g\n", labels, (double)histogram->sum_us / 1e6);
    name_open(out, metric, "_count");
    buf_printf(out, "%s} %" PRIu64 "\n", labels, count);
}

static void histogram_of(struct buf *out, const struct metric *metric, const struct subject *of,
                         const json_t *value)
{
    struct histogram histogram;
    if (!histogram_from_json(value, &histogram)) {
        return;
    }
    struct buf labels = {0};
    buf_append_u8(&labels, '{');
    subject_labels(&labels, of);
    histogram_write(out, metric, buf_text(&labels) + 1, &histogram);
    buf_free(&labels);
}

/* A sample with one label more; value NULL: 1. */
static void sample_with(struct buf *out, const struct metric *metric, const struct subject *of,
                        const char *name, const char *text, const json_t *value)
{
    name_open(out, metric, "");
    subject_labels(out, of);
    label(out, name, text);
    buf_append_u8(out, '}');
    if (value == NULL) {
        buf_append_text(out, " 1\n");
    } else {
        value_write(out, metric, value);
    }
}

static void sample(struct buf *out, const struct metric *metric, const struct subject *of)
{
    const json_t *object = of->source != NULL    ? of->source
                           : of->version != NULL ? of->version
                                                 : of->processor;
    const json_t *value = member_find(object, metric->member);
    if (metric->type[0] == 'h') {
        histogram_of(out, metric, of, value);
    } else if (json_is_number(value) || json_is_boolean(value)) {
        name_open(out, metric, "");
        subject_labels(out, of);
        buf_append_u8(out, '}');
        value_write(out, metric, value);
    }
}

/* A number for each member of an object, whose name is a label. */
static void samples_of_members(struct buf *out, const struct metric *metric,
                               const struct subject *of, const char *label)
{
    const char *name;
    json_t *value;
    const json_t *members = member_find(of->version, metric->member);
    json_object_foreach ((json_t *)(uintptr_t)members, name, value) {
        sample_with(out, metric, of, label, name, value);
    }
}

static void samples_of_version(struct buf *out, const struct metric *metric, struct subject of)
{
    if (metric->level == STATE) {
        sample_with(out, metric, &of, "state", json_text(of.version, "state", "unknown"), NULL);
    } else if (metric->level == PHASE) {
        samples_of_members(out, metric, &of, "phase");
    } else if (metric->level == COMPARED) {
        samples_of_members(out, metric, &of, "result");
    } else if (metric->level == VERSION) {
        sample(out, metric, &of);
    } else {
        size_t i;
        json_array_foreach (json_object_get(of.version, "sources"), i, of.source) {
            if (metric->level == SOURCE) {
                sample(out, metric, &of);
            } else {
                sample_with(out, metric, &of, "status", json_text(of.source, "status", "unknown"),
                            NULL);
            }
        }
    }
}

static void samples_of_processor(struct buf *out, const struct metric *metric,
                                 const json_t *processor)
{
    struct subject of = {.processor = processor};
    if (metric->level == PROCESSOR) {
        sample(out, metric, &of);
        return;
    }
    if (metric->level == SWAPS) {
        sample_with(out, metric, &of, "result", "done", json_object_get(processor, "epoch"));
        sample_with(out, metric, &of, "result", "given_up",
                    json_object_get(processor, "swaps_given_up"));
        return;
    }
    size_t i;
    json_array_foreach (json_object_get(processor, "versions"), i, of.version) {
        samples_of_version(out, metric, of);
    }
}

static void samples_of_http(struct buf *out, const struct metric *metric,
                            const struct route_counters *counters)
{
    for (size_t i = 1; i < array_len(counters->answers); i++) {
        buf_printf(out, "kappa_%s{class=\"%zuxx\"} %" PRIu64 "\n", metric->name, i,
                   __atomic_load_n(&counters->answers[i], __ATOMIC_RELAXED));
    }
}

/* Only addresses that somebody has asked for. */
static void samples_of_routes(struct buf *out, const struct metric *metric,
                              const struct route_counters *counters)
{
    const struct route *route;
    for (uint32_t i = 0; (route = route_numbered(i)) != NULL; i++) {
        struct histogram took = {0};
        struct buf labels = {0};
        histogram_merge(&took, &counters->took[i]);
        uint64_t count = 0;
        for (uint32_t k = 0; k < HISTOGRAM_COUNTS; k++) {
            count += took.counts[k];
        }
        if (count > 0) {
            buf_append_u8(&labels, '{');
            label(&labels, "method", route->method);
            label(&labels, "route", route->path);
            histogram_write(out, metric, buf_text(&labels) + 1, &took);
        }
        buf_free(&labels);
    }
}

struct counter {
    const char *member;
    const uint64_t *value;
};

/* The one of the counters that the metric names. */
static void sample_counter(struct buf *out, const struct metric *metric,
                           const struct counter *counters, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(metric->member, counters[i].member) == 0) {
            buf_printf(out, "kappa_%s %" PRIu64 "\n", metric->name,
                       __atomic_load_n(counters[i].value, __ATOMIC_RELAXED));
        }
    }
}

static void samples_of_people(struct buf *out, const struct metric *metric,
                              const struct people_counters *counters)
{
    const struct counter reasons[] = {{"no_token", &counters->missing},
                                      {"unknown_token", &counters->unknown},
                                      {"role_missing", &counters->forbidden}};
    for (size_t i = 0; i < array_len(reasons); i++) {
        name_open(out, metric, "");
        label(out, level_labels[PEOPLE], reasons[i].member);
        buf_printf(out, "} %" PRIu64 "\n", __atomic_load_n(reasons[i].value, __ATOMIC_RELAXED));
    }
}

static void sample_of_redis(struct buf *out, const struct metric *metric,
                            const struct redis_counters *counters)
{
    const struct counter members[] = {{"connected", &counters->connected},
                                      {"connections", &counters->connections},
                                      {"errors", &counters->errors},
                                      {"cut_off", &counters->cut_off}};
    sample_counter(out, metric, members, array_len(members));
}

static void samples_of_commands(struct buf *out, const struct metric *metric,
                                const struct redis_counters *counters)
{
    const char *word;
    for (uint32_t i = 0; (word = redis_command_word(i)) != NULL; i++) {
        uint64_t count = __atomic_load_n(&counters->commands_of[i], __ATOMIC_RELAXED);
        if (count > 0) {
            char small[32] = "";
            for (size_t c = 0; word[c] != '\0' && c + 1 < sizeof small; c++) {
                small[c] = (char)(word[c] >= 'A' && word[c] <= 'Z' ? word[c] + 32 : word[c]);
            }
            name_open(out, metric, "");
            label(out, "command", small);
            buf_printf(out, "} %" PRIu64 "\n", count);
        }
    }
}

static void samples_of_rounds(struct buf *out, const struct metric *metric,
                              const struct redis_counters *counters)
{
    struct histogram took = {0};
    histogram_merge(&took, &counters->rounds);
    histogram_write(out, metric, "", &took);
}

static void sample_of_feeds(struct buf *out, const struct metric *metric,
                            const struct feed_counters *counters)
{
    const struct counter members[] = {{"followers", &counters->followers},
                                      {"tables", &counters->tables},
                                      {"steps", &counters->steps},
                                      {"resets", &counters->resets},
                                      {"too_slow", &counters->too_slow}};
    sample_counter(out, metric, members, array_len(members));
}

/* A number that there is one of, without labels. */
static void sample_alone(struct buf *out, const struct metric *metric, const json_t *object)
{
    const json_t *value = member_find(object, metric->member);
    if (json_is_number(value)) {
        buf_printf(out, "%s%s", prefix(metric), metric->name);
        value_write(out, metric, value);
    }
}

static void sample_of_archive(struct buf *out, const struct metric *metric, const json_t *archive,
                              const json_t *partition)
{
    const json_t *value = member_find(partition != NULL ? partition : archive, metric->member);
    if (json_is_number(value)) {
        name_open(out, metric, "");
        label(out, "topic", json_text(archive, "topic", ""));
        if (partition != NULL) {
            label_number(out, "partition", json_int(partition, "partition", 0));
        }
        buf_append_u8(out, '}');
        value_write(out, metric, value);
    }
}

static void samples_of_archives(struct buf *out, const struct metric *metric,
                                const json_t *archives)
{
    size_t i;
    size_t p;
    const json_t *archive;
    const json_t *partition;
    json_array_foreach (archives, i, archive) {
        if (metric->level == ARCHIVE) {
            sample_of_archive(out, metric, archive, NULL);
            continue;
        }
        json_array_foreach (json_object_get(archive, "partitions"), p, partition) {
            sample_of_archive(out, metric, archive, partition);
        }
    }
}

/* Everything that is looked at once for a rendering. */
struct shown {
    const json_t *status;
    const struct route_counters *counters;
    json_t *process;
    json_t *disk;
    json_t *archives;
};

static void samples(struct buf *out, const struct metric *metric, const struct shown *shown)
{
    size_t i;
    const json_t *processor;
    switch (metric->level) {
    case BUILD:
        name_open(out, metric, "");
        label(out, "version", KAPPA_VERSION);
        buf_append_text(out, "} 1\n");
        break;
    case PROCESS:
        sample_alone(out, metric, shown->process);
        break;
    case DATA:
        sample_alone(out, metric, shown->disk);
        break;
    case LIMIT:
        sample_alone(out, metric, json_object_get(shown->status, "limit"));
        break;
    case HTTP:
        samples_of_http(out, metric, shown->counters);
        break;
    case ROUTE:
        samples_of_routes(out, metric, shown->counters);
        break;
    case PEOPLE:
        samples_of_people(out, metric, shown->counters->people);
        break;
    case REDIS:
        sample_of_redis(out, metric, shown->counters->redis);
        break;
    case COMMAND:
        samples_of_commands(out, metric, shown->counters->redis);
        break;
    case ROUNDS:
        samples_of_rounds(out, metric, shown->counters->redis);
        break;
    case FEEDS:
        sample_of_feeds(out, metric, shown->counters->feeds);
        break;
    case ARCHIVE:
    case ARCHIVED:
        samples_of_archives(out, metric, shown->archives);
        break;
    case PROCESSOR:
    case SWAPS:
    case STATE:
    case VERSION:
    case PHASE:
    case COMPARED:
    case SOURCE:
    case STATUS:
        json_array_foreach (json_object_get(shown->status, "processors"), i, processor) {
            samples_of_processor(out, metric, processor);
        }
        break;
    }
}

/* What reads of this server have shown of canaries, into the versions' objects. */
static void add_canaries(const json_t *status, struct reader *reader)
{
    size_t i;
    size_t k;
    const json_t *processor;
    json_t *version;
    json_array_foreach (json_object_get(status, "processors"), i, processor) {
        json_array_foreach (json_object_get(processor, "versions"), k, version) {
            json_t *counts = NULL;
            reader_canary_report(reader, json_text(processor, "name", ""),
                                 (uint32_t)json_int(version, "version", 0), &counts);
            int rc = counts != NULL ? json_object_set_new(version, "canary_reads", counts) : 0;
            ASSERT(rc == 0);
        }
    }
}

void metrics_render(const json_t *status, const struct route_counters *counters, struct buf *out)
{
    struct shown shown = {
        .status = status,
        .counters = counters,
        .process = process_stats(),
        .disk = disk_stats(counters->data),
        .archives = counters->archiver == NULL ? NULL : archiver_figures(counters->archiver)};
    if (counters->reader != NULL) {
        add_canaries(status, counters->reader);
    }
    for (size_t m = 0; m < array_len(metrics); m++) {
        const struct metric *metric = &metrics[m];
        bool redis = metric->level == REDIS || metric->level == COMMAND || metric->level == ROUNDS;
        if ((redis && counters->redis == NULL) ||
            (metric->level == PEOPLE && counters->people == NULL) ||
            (metric->level == FEEDS && counters->feeds == NULL)) {
            continue;
        }
        buf_printf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix(metric), metric->name,
                   metric->help, prefix(metric), metric->name, metric->type);
        samples(out, metric, &shown);
    }
    json_decref(shown.process);
    json_decref(shown.disk);
    json_decref(shown.archives);
}

void metrics_markdown(struct buf *out)
{
    buf_append_text(out, "# Metrics\n\n`GET /metrics` gives these in Prometheus' text format. Made "
                         "from serve/metrics.def by `kappa help --metrics`.\n\n"
                         "| name | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for (size_t m = 0; m < array_len(metrics); m++) {
        buf_printf(out, "| `%s%s` | %s | %s | %s |\n", prefix(&metrics[m]), metrics[m].name,
                   metrics[m].type, level_labels[metrics[m].level], metrics[m].help);
    }
}
