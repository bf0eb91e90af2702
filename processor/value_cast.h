/* Values of every type as text, and back: PostgreSQL's input and output functions. Casts, literals,
 * keys that people write and strings in records are read by the same rules. */
#ifndef KAPPA_PROCESSOR_VALUE_CAST_H
#define KAPPA_PROCESSOR_VALUE_CAST_H

#include "base/arena.h"
#include "base/buf.h"
#include "processor/expr.h"

/* EXPR_OK, EXPR_ERROR_CAST, EXPR_ERROR_OVERFLOW, or EXPR_ERROR_ARGUMENT for intervals of months. The
 * value has the type; its bytes are borrowed from the text or live in the arena. */
enum expr_state value_parse(struct kappa_text text, enum kappa_type type, struct arena *memory,
                            struct kappa_value *out);
/* The text of a value that is not null: borrowed from the value, or in the arena. */
struct kappa_text value_format(const struct kappa_value *value, struct arena *memory);
/* The same of a type whose payload is no bytes, into EXPR_VALUE_TEXT bytes; the length is returned. */
uint32_t value_scalar_text(const struct kappa_value *value, char *text);
/* The same of a type whose payload is bytes. */
void value_bytes_text(struct buf *out, const struct kappa_value *value);

#endif
