/* Topics that were made again, of a log that cannot say so. Own header: core_inside.h.
 *
 * Kafka's topics have no identity that its library tells. A version that stood behind the end of a
 * partition before that end was asked for does say it: a log does not become shorter. So does one that
 * reads this topic alone and whose worker found it to be another (replayer/topic_same.h). Then the topic
 * has another generation, which the versions that read it from now on carry in the place of an identity,
 * so that their offsets are never compared with those of the earlier one, nor their messages taken for
 * its. */
#include "controller/core_inside.h"

#include <string.h>

/* The version's input of this topic, and the number of its first source. */
static const json_t *input_of(const struct core_version *version, const char *topic, uint32_t *base)
{
    size_t i;
    const json_t *input;
    *base = 0;
    json_array_foreach (json_object_get(version->object, "inputs"), i, input) {
        if (strcmp(json_text(input, "topic", ""), topic) == 0) {
            return input;
        }
        *base += (uint32_t)json_int(input, "partitions", 0);
    }
    return NULL;
}

/* As many partitions as before: that there are more is TOPIC_CHANGED, too, and no other topic. */
static bool found_another(const struct core_version *version, const json_t *input,
                          const struct position_topic *topic)
{
    struct err told = {0};
    bool kept = json_to_err(version->object, &told) && told.code == -KE_TOPIC_CHANGED;
    return json_array_size(json_object_get(version->object, "inputs")) == 1 &&
           json_int(input, "partitions", 0) == (int64_t)topic->partitions &&
           (kept || version->child.said.code == -KE_TOPIC_CHANGED);
}

json_t *topic_stood(const struct core_processor *processor)
{
    json_t *stood = json_object();
    for (uint32_t i = 0; processor != NULL && i < processor->version_count; i++) {
        const struct core_version *version = processor->versions[i];
        char number[12];
        (void)snprintf(number, sizeof number, "%u", version->number);
        object_set(stood, number, lag_offsets_json(version->lag.next, version->lag.count));
    }
    return stood;
}

/* stood: the version's offset in each source; NULL when it was not there yet. */
static bool stood_behind(const json_t *stood, const json_t *input, uint32_t base,
                         const struct position_topic *topic, const struct position_range *ranges)
{
    uint32_t count = (uint32_t)json_int(input, "partitions", 0);
    for (uint32_t p = 0; p < count && p < topic->partitions; p++) {
        if (json_integer_value(json_array_get(stood, base + p)) > ranges[p].target) {
            return true;
        }
    }
    return false;
}

uint64_t topic_generation(const struct core_processor *processor, const json_t *stood,
                          const struct position_topic *topic, const struct position_range *ranges)
{
    int64_t newest = 0;
    bool again = false;
    for (uint32_t i = 0; processor != NULL && i < processor->version_count; i++) {
        const struct core_version *version = processor->versions[i];
        uint32_t base = 0;
        const json_t *input = input_of(version, topic->topic, &base);
        int64_t generation = json_int(input, "identity", 0);
        if (input == NULL || generation < newest) {
            continue;
        }
        char number[12];
        (void)snprintf(number, sizeof number, "%u", version->number);
        bool another = found_another(version, input, topic) ||
                       stood_behind(json_object_get(stood, number), input, base, topic, ranges);
        again = generation > newest ? another : again || another;
        newest = generation;
    }
    return (uint64_t)newest + again;
}
