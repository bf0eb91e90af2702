/* Which partition a key belongs to: murmur2 as Kafka's Java client computes it, so that records
 * written here and by Kafka's own producers with the same key meet in the same partition.
 * Source: Appleby's MurmurHash2 (public domain) with Kafka's seed. */
#include "log/log.h"

#define MURMUR2_SEED  0x9747b28cU
#define MURMUR2_MIX   0x5bd1e995U
#define MURMUR2_SHIFT 24

static uint32_t murmur2(const uint8_t *data, size_t len)
{
    uint32_t h = MURMUR2_SEED ^ u32_from(len);
    for (; len >= 4; len -= 4, data += 4) {
        uint32_t k = load_u32_le(data);
        k *= MURMUR2_MIX;
        k ^= k >> MURMUR2_SHIFT;
        k *= MURMUR2_MIX;
        h *= MURMUR2_MIX;
        h ^= k;
    }
    if (len >= 3) {
        h ^= (uint32_t)data[2] << 16;
    }
    if (len >= 2) {
        h ^= (uint32_t)data[1] << 8;
    }
    if (len >= 1) {
        h ^= data[0];
        h *= MURMUR2_MIX;
    }
    h ^= h >> 13;
    h *= MURMUR2_MIX;
    return h ^ (h >> 15);
}

uint32_t log_partition_of_key(const void *key, size_t len, uint32_t partitions)
{
    ASSERT(partitions > 0);
    ASSERT(key != NULL || len == 0);
    return (murmur2(key, len) & INT32_MAX) % partitions;
}
