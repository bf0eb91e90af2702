/* MD5 and SHA-256 of bytes. Our own, since libraries refuse MD5 where a machine is set to FIPS mode, and
 * a table may not depend on that. */
#ifndef KAPPA_PROCESSOR_HASH_TEXT_H
#define KAPPA_PROCESSOR_HASH_TEXT_H

#include "base/base.h"

#define HASH_MD5_BYTES    16
#define HASH_SHA256_BYTES 32

/* RFC 1321 */
void hash_md5(const void *bytes, size_t len, uint8_t *out);
/* FIPS 180-4 */
void hash_sha256(const void *bytes, size_t len, uint8_t *out);

#endif
