/* Plain values as bytes, without their type, by payload: bytes as varint length and bytes, double as
 * 8 bytes LE, numeric as varint scale and the coefficient as zigzag varint of up to 128 bits, the
 * rest as zigzag varint. Used inside aggregate states and by the rows of append tables. */
#ifndef KAPPA_PROCESSOR_VALUE_CODEC_H
#define KAPPA_PROCESSOR_VALUE_CODEC_H

#include "base/buf.h"
#include "include/kappa/row.h"

/* value: not null. */
void value_encode(struct buf *out, const struct kappa_value *value);
/* value->type is given; text is borrowed from the bytes. False: the bytes are none. */
bool value_decode(const uint8_t *bytes, size_t len, size_t *pos, struct kappa_value *value);

#endif
