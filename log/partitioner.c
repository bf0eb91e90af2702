/* Which partition a record with a key goes to: as Kafka's Java client says, so that records written
 * here and by Kafka's own producers with the same key meet in the same partition. Own header: log.h. */
#include "base/partitioner.h"
#include "log/log.h"

uint32_t log_partition_of_key(const void *key, size_t len, uint32_t partitions)
{
    return partition_of_key(PARTITIONER_MURMUR2, key, len, partitions);
}
