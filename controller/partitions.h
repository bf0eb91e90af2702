/* The partitions that two versions read, numbered together: so their positions can be compared. Pure.
 *
 *     partitions_open -> partitions_map, partitions_cut_json -> partitions_close
 *
 * A topic that was recreated (another identity) is another topic: offsets of the two cannot be
 * compared. */
#ifndef KAPPA_CONTROLLER_PARTITIONS_H
#define KAPPA_CONTROLLER_PARTITIONS_H

#include "base/json.h"

struct partitions_topic {
    const char *name; /* borrowed from the inputs */
    int64_t identity;
    uint32_t partitions; /* the larger count of the two */
    uint32_t base;       /* number of its partition 0 */
};

struct partitions {
    struct partitions_topic *topics; /* owned */
    uint32_t topic_count;
    uint32_t count; /* of all partitions */
};

/* Arrays of {"topic","identity","partitions"}; they stay until close. old may be NULL. */
void partitions_open(struct partitions *partitions, const json_t *old, const json_t *new);
void partitions_close(struct partitions *partitions);
/* Source of a version with these inputs -> number. The caller frees it. */
uint32_t *partitions_map(const struct partitions *partitions, const json_t *inputs);
/* {topic: [offset per partition]} of one offset per number. A new reference. */
json_t *partitions_cut_json(const struct partitions *partitions, const int64_t *cut);

#endif
