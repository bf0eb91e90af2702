/* The union of two versions' partitions. Own header: partitions.h. */
#include "controller/partitions.h"

#include "controller/lag.h"

#include <stdlib.h>
#include <string.h>

/* Index of the input's topic, or topic_count when it is not there. */
static uint32_t place(const struct partitions *partitions, const json_t *input)
{
    const char *name = json_text(input, "topic", "");
    int64_t identity = json_int(input, "identity", 0);
    uint32_t i = 0;
    while (i < partitions->topic_count && (strcmp(partitions->topics[i].name, name) != 0 ||
                                           partitions->topics[i].identity != identity)) {
        i++;
    }
    return i;
}

static uint32_t partitions_of(const json_t *input)
{
    int64_t count = json_int(input, "partitions", 0);
    ASSERT_CMP(count, >, 0);
    return (uint32_t)count;
}

static void collect(struct partitions *partitions, const json_t *inputs)
{
    size_t i;
    json_t *input;
    json_array_foreach (inputs, i, input) {
        uint32_t at = place(partitions, input);
        if (at == partitions->topic_count) {
            partitions->topics =
                xrealloc(partitions->topics, (at + 1) * sizeof *partitions->topics);
            partitions->topics[at] = (struct partitions_topic){
                .name = json_text(input, "topic", ""), .identity = json_int(input, "identity", 0)};
            partitions->topic_count++;
        }
        if (partitions_of(input) > partitions->topics[at].partitions) {
            partitions->topics[at].partitions = partitions_of(input);
        }
    }
}

void partitions_open(struct partitions *partitions, const json_t *old, const json_t *new)
{
    memset(partitions, 0, sizeof *partitions);
    collect(partitions, old);
    collect(partitions, new);
    for (uint32_t i = 0; i < partitions->topic_count; i++) {
        partitions->topics[i].base = partitions->count;
        partitions->count += partitions->topics[i].partitions;
    }
}

void partitions_close(struct partitions *partitions)
{
    free(partitions->topics);
    memset(partitions, 0, sizeof *partitions);
}

uint32_t *partitions_map(const struct partitions *partitions, const json_t *inputs)
{
    uint32_t *map = xcalloc(partitions->count * json_array_size(inputs), sizeof *map);
    uint32_t source = 0;
    size_t i;
    json_t *input;
    json_array_foreach (inputs, i, input) {
        uint32_t at = place(partitions, input);
        ASSERT_CMP(at, <, partitions->topic_count);
        for (uint32_t partition = 0; partition < partitions_of(input); partition++) {
            map[source++] = partitions->topics[at].base + partition;
        }
    }
    return map;
}

json_t *partitions_cut_json(const struct partitions *partitions, const int64_t *cut)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < partitions->topic_count; i++) {
        const struct partitions_topic *topic = &partitions->topics[i];
        /* Of a recreated topic the later one, which is the new version's, stays. */
        int rc = json_object_set_new(object, topic->name,
                                     lag_offsets_json(&cut[topic->base], topic->partitions));
        ASSERT(rc == 0);
    }
    return object;
}
