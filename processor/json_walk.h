/* The tokens of one JSON text, and the check of what is skipped.
 *
 * `k` is always the number of a token. The list ends with the text's length, so that at[k + 1] may
 * be looked at for every token k, but a token exists only below `count`. A scalar may not be the
 * last token: looking for its end would leave the text.
 *
 * Functions that return bool return false when the text is malformed: then `fault` says why, and
 * fault_token where. */
#ifndef KAPPA_PROCESSOR_JSON_WALK_H
#define KAPPA_PROCESSOR_JSON_WALK_H

#include "include/kappa/row.h"
#include "processor/json_token.h"

struct json_walk {
    const uint8_t *text;
    const uint32_t *at; /* where token k begins */
    uint32_t count;     /* tokens */
    bool escapes;       /* a backslash is somewhere in the text */
    uint32_t fault_token;
    const char *fault;
};

/* First byte of token k, 0 behind the last. */
static inline uint8_t json_token(const struct json_walk *walk, uint32_t k)
{
    return k < walk->count ? walk->text[walk->at[k]] : 0;
}

/* The bytes between the quotes of the string token k, escapes and all. Behind its closing quote
 * there is only white space up to the next token. */
static inline struct kappa_text json_string(const struct json_walk *walk, uint32_t k)
{
    const uint8_t *start = walk->text + walk->at[k] + 1;
    const uint8_t *last = walk->text + walk->at[k + 1] - 1;
    while (*last != '"') {
        last--;
    }
    ASSERT(last >= start);
    return (struct kappa_text){(const char *)start, (uint32_t)(last - start)};
}

/* Notes the fault and returns false. */
bool json_fail(struct json_walk *walk, uint32_t k, const char *what);
/* Checks the string, number or literal k. */
bool json_check_scalar(struct json_walk *walk, uint32_t k);
/* Checks the object or array that begins at *k, which becomes the token behind it. depth: levels
 * around it. */
bool json_check_nested(struct json_walk *walk, uint32_t *k, uint32_t depth);

#endif
