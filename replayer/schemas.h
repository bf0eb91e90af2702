/* Schemas by number, from a registry over HTTP (Confluent's interface), each fetched once and kept in
 * files: a number names one schema for ever.
 *
 *     schemas_open -> schemas_get ... (any thread) -> schemas_close
 *
 *     DIR/HOST-DIGEST/N.json       the registry's answer about schema N; of one that refers to others,
 *                                  {"schema": text}: itself and all of them, as avro_schema_parse takes it
 *     DIR/HOST-DIGEST/N.missing    its answer that there is no schema N. Kept too, so that every version
 *                                  takes the same decision about the records that name it; who takes the
 *                                  file away lets it be asked for again. */
#ifndef KAPPA_REPLAYER_SCHEMAS_H
#define KAPPA_REPLAYER_SCHEMAS_H

#include "base/buf.h"
#include "base/err.h"

struct schemas;

/* dir: made when needed; NULL: nothing is kept. */
struct schemas *schemas_open(const char *dir);
void schemas_close(struct schemas *schemas);
/* registry: its URL. 0: *text is the schema; or *missing: the registry has none of this number, or not
 * all that it refers to. UNREACHABLE: it did not answer, or not sensibly: try again later. Takes two
 * seconds at most, twice that for a schema with references. */
int schemas_get(struct schemas *schemas, const char *registry, uint32_t id, struct buf *text,
                bool *missing, struct err *err) must_check;

#endif
