/* jansson, and the few helpers that every caller would write again. This is the one header that
 * includes it; jansson serves definitions, control messages and API bodies, never the hot path. */
#ifndef KAPPA_BASE_JSON_H
#define KAPPA_BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

/* Parses len bytes (at most LIMIT_JSON_DEPTH deep, duplicates: last wins). NULL and err otherwise.
 */
json_t *json_parse(const char *text, size_t len, struct err *err);
/* Typed members; the fallback is returned when the member is missing or of another type. Text is
 * borrowed from the object. */
const char *json_text(const json_t *object, const char *name, const char *fallback);
int64_t json_int(const json_t *object, const char *name, int64_t fallback);
bool json_bool(const json_t *object, const char *name, bool fallback);
double json_number(const json_t *object, const char *name, double fallback);
/* INVALID when the object (or NULL) has a member that is not in the list (see list_has): who wrote it meant
 * something by it. */
int json_only(const json_t *object, const char *known, struct err *err) must_check;
/* One line, keys in the order they were set. Appended to buf. */
void json_write(struct buf *buf, const json_t *value);
/* The shortest digits that read back as the same double (jansson writes 17, as in
 * 356.68000000000001). With a point or exponent, so that it stays a real number to readers. NaN and
 * infinities, which JSON has not, by their names. */
void json_write_real(struct buf *buf, double value);
/* As a malloc'd string for the caller to free. */
char *json_print(const json_t *value);
/* {"error":{"code","message","hint"}} */
json_t *json_from_err(const struct err *err);
/* The other way; false if the value is not an error object. */
bool json_to_err(const json_t *value, struct err *err);
/* A value that json_write writes as this text, which is JSON already: a number of more digits than a
 * double has, a document. Nothing parsed is ever taken for one. A new reference. */
json_t *json_raw(const char *text, size_t len);
/* A number, also one of json_raw. */
bool json_is_figure(const json_t *value);
/* The text of a number of json_raw, or NULL; borrowed. */
const char *json_figure(const json_t *value);
/* As json_parse, but numbers that jansson would round or refuse become json_raw: those with more
 * digits than a double or 64 bits have, and those with zeros at the end of their fraction. */
json_t *json_parse_exact(const char *text, size_t len, struct err *err);
/* Writes a text as JSON, in quotes. It need not be UTF-8: invalid bytes become U+FFFD. */
void json_write_text(struct buf *buf, const void *bytes, size_t len);
void json_write_int(struct buf *buf, int64_t value);
/* Text that need not be UTF-8: invalid bytes become U+FFFD. A new reference. */
json_t *json_text_lossy(const void *bytes, size_t len);

#endif
