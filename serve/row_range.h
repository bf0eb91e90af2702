/* WHICH ROWS of a table by their keys and windows, as texts that a client gives. What no client gave is
 * NULL. Texts are borrowed. */
#ifndef KAPPA_SERVE_ROW_RANGE_H
#define KAPPA_SERVE_ROW_RANGE_H

#include "serve/reader_inner.h"
#include "serve/routes.h"

struct row_range {
    const char *keys[ROUTE_QUERY_MAX]; /* leading key columns that are equal, in their order */
    uint32_t key_count;
    const char
        *from; /* bounds of the key column behind them: from on, and below; or a prefix alone */
    const char *below;
    const char *prefix;
    const char *since; /* windows whose end is in (since, until] */
    const char *until;
    const char *at; /* or windows that hold this time */
};

/* The parameters key, from, below, prefix, since, until, at. */
void row_range_asked(const struct route_request *request, struct row_range *out);
/* As values of the table's types, into bounds that were initialised. INVALID: the table has no such key
 * column, or no windows; a text that is no value. */
int row_range_bounds(const struct row_range *range, const struct plan_view *view,
                     struct reader_bounds *bounds, struct err *err) must_check;

/* Is anything asked for? */
bool row_range_is_all(const struct row_range *range);

/* A whole scan. Borrowed by the call. */
struct row_range_ask {
    const char *table;
    uint32_t version;              /* as for reader_get */
    const struct row_range *range; /* NULL: all keys and windows */
    const char *where;             /* a condition (row_filter.h), or NULL */
    int64_t limit;                 /* < 0: all */
};

/* Gets the output columns; false: no more. */
typedef bool row_range_fn(void *ctx, const struct plan_view *view,
                          const struct kappa_value *values);

/* As reader_scan, of the rows that are asked for. */
int row_range_scan(struct reader *reader, const struct row_range_ask *ask, row_range_fn *row,
                   void *ctx, struct reader_stamp *stamp, struct err *err) must_check;

#endif
