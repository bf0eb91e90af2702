/* Rendering of metrics: rows of metrics.def times the objects of the status. Own header:
 * metrics.h. */
#include "serve/metrics.h"

#include "include/kappa/version.h"
#include "serve/redis.h"

#include <inttypes.h>
#include <string.h>

enum level { PROCESS, HTTP, REDIS, PROCESSOR, STATE, VERSION, SOURCE };

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
    [PROCESS] = "version",
    [HTTP] = "class",
    [REDIS] = "",
    [PROCESSOR] = "processor",
    [STATE] = "processor, version, state",
    [VERSION] = "processor, version",
    [SOURCE] = "processor, version, topic, partition",
};

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

/* The number at a dotted path, borrowed, or NULL. */
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
    return json_is_number(object) ? object : NULL;
}

static void sample(struct buf *out, const struct metric *metric, const json_t *processor,
                   const json_t *version, const json_t *source)
{
    const json_t *object = source != NULL ? source : version != NULL ? version : processor;
    const json_t *value = NULL;
    if (metric->level != STATE) {
        value = member_find(object, metric->member);
        if (value == NULL) {
            return;
        }
    }
    buf_printf(out, "kappa_%s{", metric->name);
    label(out, "processor", json_text(processor, "name", ""));
    if (version != NULL) {
        label_number(out, "version", json_int(version, "version", 0));
    }
    if (metric->level == STATE) {
        label(out, "state", json_text(version, "state", "unknown"));
    }
    if (source != NULL) {
        label(out, "topic", json_text(source, "topic", ""));
        label_number(out, "partition", json_int(source, "partition", 0));
    }
    if (value == NULL) {
        buf_append_text(out, "} 1\n");
    } else if (json_is_integer(value)) {
        buf_printf(out, "} %" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
    } else {
        buf_printf(out, "} %.9g\n", json_real_value(value));
    }
}

static void samples_of_version(struct buf *out, const struct metric *metric,
                               const json_t *processor, const json_t *version)
{
    if (metric->level != SOURCE) {
        sample(out, metric, processor, version, NULL);
        return;
    }
    size_t i;
    const json_t *source;
    json_array_foreach (json_object_get(version, "sources"), i, source) {
        sample(out, metric, processor, version, source);
    }
}

static void samples_of_processor(struct buf *out, const struct metric *metric,
                                 const json_t *processor)
{
    if (metric->level == PROCESSOR) {
        sample(out, metric, processor, NULL, NULL);
        return;
    }
    size_t i;
    const json_t *version;
    json_array_foreach (json_object_get(processor, "versions"), i, version) {
        samples_of_version(out, metric, processor, version);
    }
}

static void samples_of_http(struct buf *out, const struct metric *metric,
                            const struct route_counters *counters)
{
    for (size_t i = 1; i < array_len(counters->answers); i++) {
        buf_printf(out, "kappa_%s{class=\"%zuxx\"} %" PRIu64 "\n", metric->name, i,
                   counters->answers[i]);
    }
}

static void sample_of_redis(struct buf *out, const struct metric *metric,
                            const struct redis_counters *counters)
{
    const struct {
        const char *member;
        const uint64_t *value;
    } members[] = {{"connected", &counters->connected},
                   {"connections", &counters->connections},
                   {"commands", &counters->commands},
                   {"errors", &counters->errors},
                   {"cut_off", &counters->cut_off}};

    for (size_t i = 0; i < array_len(members); i++) {
        if (strcmp(metric->member, members[i].member) == 0) {
            buf_printf(out, "kappa_%s %" PRIu64 "\n", metric->name,
                       __atomic_load_n(members[i].value, __ATOMIC_RELAXED));
        }
    }
}

void metrics_render(const json_t *status, const struct route_counters *counters, struct buf *out)
{
    for (size_t m = 0; m < array_len(metrics); m++) {
        const struct metric *metric = &metrics[m];
        if (metric->level == REDIS && counters->redis == NULL) {
            continue;
        }
        buf_printf(out, "# HELP kappa_%s %s\n# TYPE kappa_%s %s\n", metric->name, metric->help,
                   metric->name, metric->type);
        if (metric->level == PROCESS) {
            buf_printf(out, "kappa_%s{", metric->name);
            label(out, "version", KAPPA_VERSION);
            buf_append_text(out, "} 1\n");
        } else if (metric->level == REDIS) {
            sample_of_redis(out, metric, counters->redis);
        } else if (metric->level == HTTP) {
            samples_of_http(out, metric, counters);
        } else {
            size_t i;
            const json_t *processor;
            json_array_foreach (json_object_get(status, "processors"), i, processor) {
                samples_of_processor(out, metric, processor);
            }
        }
    }
}

void metrics_markdown(struct buf *out)
{
    buf_append_text(out, "# Metrics\n\n`GET /metrics` gives these in Prometheus' text format. Made "
                         "from serve/metrics.def by `kappa help --metrics`.\n\n"
                         "| name | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for (size_t m = 0; m < array_len(metrics); m++) {
        buf_printf(out, "| `kappa_%s` | %s | %s | %s |\n", metrics[m].name, metrics[m].type,
                   level_labels[metrics[m].level], metrics[m].help);
    }
}
