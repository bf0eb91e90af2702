/* Judging a version that wants to serve: its settings brought together, and what they say about what was
 * found. Pure: JSON and numbers in, a sentence out.
 *
 * Settings are {"swap.max_dead": "10"}, as in policy.h. Each judge answers 0, or REFUSED with the reason;
 * what it found goes to `checks`, an array of {"setting","limit","found"} for the receipt. */
#ifndef KAPPA_CONTROLLER_JUDGE_H
#define KAPPA_CONTROLLER_JUDGE_H

#include "base/json.h"
#include "base/limits.h"
#include "processor/policy.h"

struct plan;

/* ---- Settings ---- */

/* What the definition sets: a new reference. */
json_t *settings_of_plan(const struct plan *plan);
/* What was asked for before and is asked for now, in which "default" takes one back. *out: a new
 * reference. INVALID. before and given may be NULL. */
int settings_ask(const json_t *before, const json_t *given, json_t **out,
                 struct err *err) must_check;
/* What counts: a new reference. */
json_t *settings_join(const json_t *of_plan, const json_t *asked);
/* Of a version's object. The policy borrows from it. */
void settings_read(const json_t *version, struct policy *out);
/* What was asked for when it was made. A new reference. */
json_t *settings_asked(const json_t *version);

/* ---- Judges ---- */

struct judge {
    const char *processor;
    const json_t *version; /* objects of the catalog */
    const json_t *serving; /* or NULL */
    struct policy policy;
    json_t *checks; /* borrowed; or NULL */
};

/* Does it read what the serving version reads, from no later on? */
int judge_gap(const json_t *version, const json_t *serving, struct err *err) must_check;
int judge_dead(const struct judge *judge, uint64_t dead, uint64_t records,
               struct err *err) must_check;
/* caught_us: caught up for so long. */
int judge_caught_up(const struct judge *judge, int64_t caught_us, struct err *err) must_check;
/* Negative: not known. */
int judge_lag(const struct judge *judge, int64_t records, double seconds,
              struct err *err) must_check;
/* The answer of a comparison, a: serving, b: this (serve/diff.h). */
int judge_diff(const struct judge *judge, const json_t *answer, struct err *err) must_check;
/* The answer of verify. */
int judge_verify(const struct judge *judge, const json_t *answer, struct err *err) must_check;
/* Negative: not known. */
int judge_disk(int64_t needed, int64_t free_bytes, struct err *err) must_check;

#endif
