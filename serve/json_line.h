/* Key and time of a record from a field of its JSON text, without parsing the rest: what produce
 * needs of each line.
 *
 * The text is scanned, not validated: a line that is not JSON may still be a record (processors
 * keep it in their dead tables), only a wanted field must be found. */
#ifndef KAPPA_SERVE_JSON_LINE_H
#define KAPPA_SERVE_JSON_LINE_H

#include "base/buf.h"
#include "base/err.h"

/* The value of a top-level member, as it stands in the text. The last one wins when a name is
 * repeated, as in the tables. INVALID: the text is not an object, or has no such member. */
int json_line_field(const char *text, size_t len, const char *name, const char **value,
                    size_t *value_len, struct err *err) must_check;

/* A key: the bytes of a string, the digits of a number, true or false. out is reset first. *null:
 * the member is null, and so is the key. INVALID: an object or array. */
int json_line_key(const char *text, size_t len, const char *name, struct buf *out, bool *null,
                  struct err *err) must_check;

/* A record time in ms: a number of ms since 1970, or an RFC 3339 string. */
int json_line_time(const char *text, size_t len, const char *name, int64_t *time_ms,
                   struct err *err) must_check;

#endif
