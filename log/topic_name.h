/* Names of topics: what is allowed, and which ones somebody may have meant. Used by every log. */
#ifndef KAPPA_LOG_TOPIC_NAME_H
#define KAPPA_LOG_TOPIC_NAME_H

#include "base/err.h"
#include "base/json.h"

/* Kafka's rule: 1 to LIMIT_NAME_LEN of A-Z a-z 0-9 . _ - but not "." or "..". Such a name is also
 * safe as the name of a folder. */
bool topic_name_valid(const char *name);
/* INVALID with the rule when it is not. */
int topic_name_check(const char *name, struct err *err) must_check;
/* Fills err with NOT_FOUND; the hint names near topics of `topics` (array of {"name",...}, may be
 * NULL), or all when there are few. Returns the negative code. */
int topic_name_not_found(const char *name, const json_t *topics, struct err *err);

#endif
