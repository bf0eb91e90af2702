/* Avro's binary encoding, byte by byte. Functions that return bool return false when the bytes are not
 * what their type says; `fault` says why then. No read leaves [start, end). */
#ifndef KAPPA_PROCESSOR_AVRO_READ_H
#define KAPPA_PROCESSOR_AVRO_READ_H

#include "include/kappa/row.h"
#include "processor/avro_schema.h"

struct avro_cursor {
    const uint8_t *at;
    const uint8_t *start;
    const uint8_t *end;
    const char *fault;
};

bool avro_fail(struct avro_cursor *cursor, const char *what);
/* int and long: zigzag, seven bits a byte. */
bool avro_read_long(struct avro_cursor *cursor, int64_t *value);
bool avro_read_boolean(struct avro_cursor *cursor, bool *value);
bool avro_read_float(struct avro_cursor *cursor, double *value);
bool avro_read_double(struct avro_cursor *cursor, double *value);
/* bytes and string: a length and so many bytes, borrowed. */
bool avro_read_bytes(struct avro_cursor *cursor, struct kappa_text *value);
bool avro_read_fixed(struct avro_cursor *cursor, uint32_t size, struct kappa_text *value);
/* Of an enum or a union: below count. */
bool avro_read_index(struct avro_cursor *cursor, uint32_t count, uint32_t *value);
/* The bytes of a decimal: two's complement, big endian, of any length. False: more digits than a numeric
 * has. */
bool avro_decimal(struct kappa_text bytes, uint32_t scale, struct kappa_numeric *value);
/* A value that nobody reads. depth: of records, unions, arrays and maps around it. */
bool avro_skip(struct avro_cursor *cursor, const struct avro_type *type, uint32_t depth);

#endif
