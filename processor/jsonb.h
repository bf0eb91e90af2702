/* JSON documents in the one form in which they are kept: the text that PostgreSQL prints for jsonb.
 *
 *     {"a": 1, "bb": [1, 2.50, "x\ny", null, true]}
 *
 * One blank behind each comma and colon; members by the length of their names, then by their bytes;
 * of members of one name the last; numbers without exponent, as numeric prints them; strings with
 * the escapes that are needed. Parts of such a text are such texts, so that access copies nothing. */
#ifndef KAPPA_PROCESSOR_JSONB_H
#define KAPPA_PROCESSOR_JSONB_H

#include "base/arena.h"
#include "processor/expr.h"

/* Any JSON text: EXPR_OK, EXPR_ERROR_CAST (malformed, or with a U+0000), EXPR_ERROR_OVERFLOW (a number of
 * more than some hundred digits), EXPR_ERROR_LIMIT (nested deeper than LIMIT_JSON_DEPTH). The result
 * lives in the arena. */
enum expr_state jsonb_parse(struct kappa_text text, struct arena *memory, struct kappa_text *out);

/* What follows takes texts made by jsonb_parse, or parts of them. */

enum jsonb_kind {
    JSONB_OBJECT,
    JSONB_ARRAY,
    JSONB_STRING,
    JSONB_NUMBER,
    JSONB_BOOLEAN,
    JSONB_NULL
};

enum jsonb_kind jsonb_kind(struct kappa_text doc);
/* The member of an object, the element of an array (from the end when negative): borrowed. False:
 * there is none, or doc is something else. */
bool jsonb_member(struct kappa_text doc, struct kappa_text name, struct kappa_text *out);
bool jsonb_element(struct kappa_text doc, int64_t index, struct kappa_text *out);
/* The elements of an array one after the other; *pos begins at 0. False: no more. */
bool jsonb_next(struct kappa_text doc, uint32_t *pos, struct kappa_text *out);
/* Elements of an array; -1 if doc is something else. */
int64_t jsonb_length(struct kappa_text doc);
/* The text of a string without quotes and escapes: borrowed, or in the arena; of anything else its
 * own text. */
struct kappa_text jsonb_text(struct kappa_text doc, struct arena *memory);

#endif
