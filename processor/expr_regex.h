/* Regular expressions: PCRE2, which expr_regex.c alone includes.
 *
 * Perl's expressions: of alternatives the first that fits wins (PostgreSQL: the longest). As in
 * PostgreSQL a point matches a newline, ^ and $ match only at the ends of the text, and \w, \d, \s
 * go by Unicode; the flags i c n m p w s x q g mean the same. Matching takes at most
 * REGEX_STEPS_MAX steps of PCRE2's interpreter; its compiler to machine code, which counts
 * otherwise, is not used. */
#ifndef KAPPA_PROCESSOR_EXPR_REGEX_H
#define KAPPA_PROCESSOR_EXPR_REGEX_H

#include "processor/expr_compile.h"

#define REGEX_STEPS_MAX    1000000
#define REGEX_HEAP_KIB_MAX 8192
#define REGEX_PATTERN_MAX  8192 /* bytes */

#define REGEX_MESSAGE_BYTES 256

/* True if a call of this evaluator has a pattern: its second argument. */
bool expr_regex_is(expr_run_fn run);
/* Checks a call's pattern and flags as far as they are constants. False: *argument is the one that is
 * wrong, message says what is wrong with a pattern. */
bool expr_regex_check(const struct expr_node *call, char *message, uint32_t *argument);
/* The compiled pattern of a call, if it is constant, in memory; else NULL. */
const void *expr_regex_prepare(const struct expr_node *call, struct arena *memory);

#endif
