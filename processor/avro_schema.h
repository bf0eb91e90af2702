/* Avro schemas (specification 1.11) as trees, for reading the binary encoding.
 *
 *     avro_schema_parse -> avro_schema_root, looked at by decode_avro.c -> avro_schema_free
 *
 * A tree is read-only. Named types refer to one another, so a "tree" may have cycles; who walks it
 * along data counts the depth. A logical type that is unknown or does not fit its type is ignored, as
 * the specification asks. Written here and not taken from the C library avro-c (1.11), which does not
 * keep logical types: the scale of a decimal would be lost. */
#ifndef KAPPA_PROCESSOR_AVRO_SCHEMA_H
#define KAPPA_PROCESSOR_AVRO_SCHEMA_H

#include "base/base.h"
#include "base/err.h"

enum avro_kind {
    AVRO_NULL,
    AVRO_BOOLEAN,
    AVRO_INT,
    AVRO_LONG,
    AVRO_FLOAT,
    AVRO_DOUBLE,
    AVRO_BYTES,
    AVRO_STRING,
    AVRO_RECORD,
    AVRO_ENUM,
    AVRO_ARRAY,
    AVRO_MAP,
    AVRO_UNION,
    AVRO_FIXED
};

enum avro_logical {
    AVRO_PLAIN,
    AVRO_DATE,
    AVRO_TIMESTAMP_MILLIS, /* with or without "local-" */
    AVRO_TIMESTAMP_MICROS,
    AVRO_DECIMAL,
    AVRO_UUID
};

struct avro_field {
    const char *name;
    const struct avro_type *type;
};

struct avro_type {
    enum avro_kind kind;
    enum avro_logical logical;
    bool empty;                     /* every value is encoded in no bytes at all */
    uint32_t count;                 /* of fields, symbols or branches */
    struct avro_field *fields;      /* RECORD */
    const char **symbols;           /* ENUM */
    const struct avro_type **types; /* UNION: branches; ARRAY, MAP: [0] is that of the elements */
    uint32_t size;                  /* FIXED */
    uint32_t scale;                 /* DECIMAL: digits behind the point, at most 38 */
};

struct avro_schema;

/* text: a schema; or {"schema": one, "references": [schemas whose named types it uses, each behind those
 * that it uses itself]}. INVALID and a sentence when it is none. */
int avro_schema_parse(const char *text, size_t len, struct avro_schema **out,
                      struct err *err) must_check;
const struct avro_type *avro_schema_root(const struct avro_schema *schema);
void avro_schema_free(struct avro_schema *schema);
/* "int", "record"... */
const char *avro_kind_name(enum avro_kind kind);

#endif
