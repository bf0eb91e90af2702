/* What a definition will do, in words for people: EXPLAIN. */
#ifndef KAPPA_PROCESSOR_EXPLAIN_H
#define KAPPA_PROCESSOR_EXPLAIN_H

#include "base/buf.h"
#include "processor/plan.h"

/* Appends text of several lines: inputs and the columns that are decoded, then each pipeline: windows,
 * operators, keys, aggregates, bytes of state a key, what is merged when reading, when rows go, and
 * why the result is a function of the log. */
void plan_explain(const struct plan *plan, struct buf *out);

#endif
