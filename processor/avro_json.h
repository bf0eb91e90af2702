/* An Avro value as JSON text, for columns of type jsonb and arrays.
 *
 * Records and maps become objects, arrays arrays, unions their branch's value; enums, dates, timestamps and
 * uuids strings as casts write them, decimals numbers with all their digits. */
#ifndef KAPPA_PROCESSOR_AVRO_JSON_H
#define KAPPA_PROCESSOR_AVRO_JSON_H

#include "base/buf.h"
#include "processor/avro_read.h"

struct avro_json {
    struct avro_cursor *cursor;
    struct buf *out;
    const char *refused; /* why a well-formed value has no JSON form */
};

/* Appends the value at the cursor. False: the cursor's fault or `refused` says why. depth: as of
 * avro_skip. */
bool avro_json_put(struct avro_json *json, const struct avro_type *type, uint32_t depth);

#endif
