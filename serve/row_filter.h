/* WHICH ROWS of a table: a condition over its output columns, in the language of definitions, as it could
 * stand behind WHERE there; it knows one row, and no other tables.
 *
 *     row_filter_open -> row_filter_holds... -> row_filter_close        one thread at a time
 */
#ifndef KAPPA_SERVE_ROW_FILTER_H
#define KAPPA_SERVE_ROW_FILTER_H

#include "base/err.h"
#include "processor/plan.h"

struct row_filter;

/* SQL: as plan_compile, with the lines of the condition. The view is borrowed. */
int row_filter_open(const struct plan_view *view, const char *condition, struct row_filter **out,
                    struct err *err) must_check;
/* 1, or 0 when it is false or null. REFUSED: it has no value for this row (a division by zero). */
int row_filter_holds(struct row_filter *filter, const struct kappa_value *values,
                     struct err *err) must_check;
void row_filter_close(struct row_filter *filter);

#endif
