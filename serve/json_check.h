/* Is a text JSON, and is it UTF-8? Strict (RFC 8259), without building anything. */
#ifndef KAPPA_SERVE_JSON_CHECK_H
#define KAPPA_SERVE_JSON_CHECK_H

#include "base/buf.h"

/* One whole JSON object or array, blanks around it allowed, nested at most LIMIT_JSON_DEPTH deep,
 * valid UTF-8, every surrogate in a pair. */
bool json_check_container(const char *text, size_t len);
/* RFC 3629: no overlong forms, no surrogates, at most U+10FFFF. */
bool utf8_check(const char *text, size_t len);

#endif
