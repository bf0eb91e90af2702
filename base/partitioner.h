/* Which partition of a topic a key belongs to, as the clients of Kafka choose it. */
#ifndef KAPPA_BASE_PARTITIONER_H
#define KAPPA_BASE_PARTITIONER_H

#include "base/base.h"

enum partitioner {
    PARTITIONER_NONE,
    PARTITIONER_MURMUR2, /* Kafka's Java client, librdkafka's murmur2 and murmur2_random, and ours */
    PARTITIONER_CRC32, /* librdkafka's consistent and consistent_random, which is its default (that one
                            puts empty keys anywhere) */
    PARTITIONER_COUNT
};

/* "murmur2"...; NULL for NONE. */
const char *partitioner_name(enum partitioner partitioner);
/* partitioner: not NONE. partitions > 0; the key may be empty. */
uint32_t partition_of_key(enum partitioner partitioner, const void *key, size_t len,
                          uint32_t partitions);

#endif
