/* Values as text and as JSON: what messages of topic outputs are made of. */
#ifndef KAPPA_PROCESSOR_VALUE_TEXT_H
#define KAPPA_PROCESSOR_VALUE_TEXT_H

#include "base/buf.h"
#include "include/kappa/row.h"

/* As a cast to text prints it, but times as RFC 3339. value: not null. */
void value_text(struct buf *out, const struct kappa_value *value);
/* As a JSON value: null, numbers and booleans plain, NaN and infinities and all else as strings. */
void value_json(struct buf *out, const struct kappa_value *value);
/* A JSON string with its quotes; bytes: UTF-8. */
void value_json_string(struct buf *out, const char *bytes, size_t len);

#endif
