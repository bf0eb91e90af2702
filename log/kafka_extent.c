/* What Kafka tells of a topic's retention: DescribeConfigs. It needs a right of its own (DescribeConfigs
 * on the topic); who lacks it learns that nothing is known, which is no error. How many bytes a range
 * of offsets takes the protocol does not tell. */
#include "log/kafka_private.h"

#include <stdlib.h>
#include <string.h>

/* The value of a setting, or NULL. */
static const char *setting_text(const rd_kafka_ConfigEntry_t **entries, size_t count,
                                const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0) {
            return rd_kafka_ConfigEntry_value(entries[i]);
        }
    }
    return NULL;
}

/* A setting that is a number; LOG_UNKNOWN when it is not there. */
static int64_t setting(const rd_kafka_ConfigEntry_t **entries, size_t count, const char *name)
{
    const char *value = setting_text(entries, count, name);
    if (value == NULL) {
        return LOG_UNKNOWN;
    }
    char *end = NULL;
    long long number = strtoll(value, &end, 10);
    return end != value && *end == '\0' ? i64_max(number, -1) : LOG_UNKNOWN;
}

static void take(rd_kafka_event_t *event, struct log_extent *out)
{
    size_t resources = 0;
    if (event == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return;
    }
    const rd_kafka_ConfigResource_t **found = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &resources);
    if (resources == 1 && rd_kafka_ConfigResource_error(found[0]) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count = 0;
        const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(found[0], &count);
        out->retain_ms = setting(entries, count, "retention.ms");
        out->retain_bytes = setting(entries, count, "retention.bytes");
        const char *policy = setting_text(entries, count, "cleanup.policy");
        out->compacted = policy == NULL ? LOG_UNKNOWN : strstr(policy, "compact") != NULL;
        const char *time = setting_text(entries, count, "message.timestamp.type");
        out->stamped = time == NULL ? LOG_UNKNOWN : strcmp(time, "LogAppendTime") == 0;
        if (policy != NULL && strstr(policy, "delete") == NULL) {
            out->retain_ms = -1; /* these only say how long tombstones and the like stay */
            out->retain_bytes = -1;
        }
    }
}

int kafka_extent(struct log *log, const char *topic, uint32_t partition, int64_t from, int64_t to,
                 struct log_extent *out, struct err *err)
{
    rd_kafka_t *rk = kafka_log_of(log)->metadata.rk;
    (void)partition;
    (void)from;
    (void)to;
    (void)err;
    *out = LOG_EXTENT_UNKNOWN;
    (void)rd_kafka_poll(rk, 0);
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_REQUEST_MS, NULL, 0);
    rd_kafka_DescribeConfigs(rk, &resource, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 2 * KAFKA_REQUEST_MS);
    take(event, out);
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
    return 0;
}
