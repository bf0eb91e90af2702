/* CRC-32C (Castagnoli), as Kafka and iSCSI use it: reflected polynomial 0x82F63B78, start and end
 * complemented. The CPU's instruction where it has one, else slicing by eight. */
#ifndef KAPPA_LOG_CRC32C_H
#define KAPPA_LOG_CRC32C_H

#include "base/base.h"

/* Goes on from the checksum of the bytes before; 0 to begin. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same without the instruction: for CPUs that lack it, and for tests. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
