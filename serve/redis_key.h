/* Names of rows: table[@VERSION][@tMS][:key[:key...]].
 *
 *     user_features:u42             the row of the serving version
 *     user_features@3:u42           of version 3
 *     orders:42:7                   a key of two columns
 *     per_minute:u42                tables with windows: the key's newest window
 *     per_minute@t1767225600000:u42 the window that holds the time, in ms since 1970
 *     clicks:0:117                  tables without a group key: partition, offset
 *
 * In keys of several columns a backslash takes the next character as it is: "a\:b" is a:b. A key of
 * one column is the rest of the name, colons, backslashes and all.
 */
#ifndef KAPPA_SERVE_REDIS_KEY_H
#define KAPPA_SERVE_REDIS_KEY_H

#include "base/buf.h"
#include "base/limits.h"
#include "processor/plan.h"

#define REDIS_KEY_PARTS 32

struct redis_key {
    char table[LIMIT_NAME_LEN + 1];
    uint32_t version; /* 0: the serving one */
    int64_t at_us;    /* or KAPPA_NO_TIME */
    const char *rest; /* behind the ':' of the table; or NULL: there is none */
    size_t rest_len;
};

/* The parts in front of the key. INVALID: it is none. */
int redis_key_parse(const char *text, size_t len, struct redis_key *out,
                    struct err *err) must_check;
/* How many values the key of a table has. */
uint32_t redis_key_parts(const struct plan_view *view);
/* Splits the rest for a table or view of so many parts. parts point into text, which is reset first.
 * INVALID, LIMIT. */
int redis_key_split(const struct redis_key *key, uint32_t want, struct buf *text,
                    const char *parts[REDIS_KEY_PARTS], uint32_t *count,
                    struct err *err) must_check;
/* Appends the name of a row whose stored key (window end, key columns) this is; prefix: of the
 * table, as it was asked for. number: of the row among those of its key, from 0. False: the row
 * cannot be named, for a key column is null. */
bool redis_key_print(struct buf *out, const char *prefix, const struct plan_view *view,
                     uint32_t partition, const uint8_t *key, size_t len, uint32_t number);

/* Glob as Redis has it: * ? [a-z] [^x] and backslash. */
bool redis_glob(const char *pattern, size_t pattern_len, const char *text, size_t len);

#endif
