/* Arrays of scalars: their elements as key columns, one behind the other (the layout of a column is in
 * include/kappa/row.h). So arrays compare, group and are equal by their bytes: element by element,
 * nulls last, the shorter one first. The zeros at the end of a numeric are not kept. */
#ifndef KAPPA_PROCESSOR_ARRAY_H
#define KAPPA_PROCESSOR_ARRAY_H

#include "base/arena.h"
#include "base/buf.h"
#include "processor/expr.h"

/* Elements one after the other; *pos begins at 0. False: no more. Bytes are borrowed or in the arena. */
bool array_next(struct kappa_text array, size_t *pos, enum kappa_type element, struct arena *memory,
                struct kappa_value *out);
/* Elements in all. */
int64_t array_count(struct kappa_text array, enum kappa_type element, struct arena *memory);
/* The array of these values of one type, nulls among them; it lives in the arena. */
struct kappa_text array_make(const struct kappa_value *values, size_t count, struct arena *memory);

/* PostgreSQL's text of arrays: {1,NULL,"a b"}; of arrays in arrays EXPR_ERROR_CAST. */
enum expr_state array_parse(struct kappa_text text, enum kappa_type element, struct arena *memory,
                            struct kappa_text *out);
void array_text(struct buf *out, struct kappa_text array, enum kappa_type element);
/* From a canonical JSON array (jsonb.h): numbers, booleans and strings as columns take them, times as
 * strings only. */
enum expr_state array_from_json(struct kappa_text doc, enum kappa_type element,
                                struct arena *memory, struct kappa_text *out);

#endif
