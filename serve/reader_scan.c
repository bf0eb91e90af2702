/* All rows of a table, or those that are chosen, in key order. Own headers: reader.h, row_range.h. */
#include "serve/row_filter.h"
#include "serve/row_range.h"

#include <stdlib.h>

/* Is it one that is asked for? 1, 0, negative. */
static int takes(struct row_filter *where, const struct kappa_value *values, struct err *err)
{
    return where == NULL ? 1 : row_filter_holds(where, values, err);
}

static int rows_give(struct reader_cursor *cursor, struct row_filter *where, int64_t limit,
                     const struct plan_view *view, row_range_fn *row, void *ctx, struct err *err)
{
    const struct kappa_value *values = NULL;
    int rc;
    while (limit != 0 && (rc = reader_cursor_next(cursor, &values, err)) != 0) {
        int taken = rc < 0 ? rc : takes(where, values, err);
        if (taken < 0) {
            return taken;
        }
        if (taken == 0) {
            continue;
        }
        limit -= limit > 0 ? 1 : 0;
        if (!row(ctx, view, values)) {
            break;
        }
    }
    return 0;
}

int row_range_scan(struct reader *reader, const struct row_range_ask *ask, row_range_fn *row,
                   void *ctx, struct reader_stamp *stamp, struct err *err)
{
    struct reader_read reading = {0};
    int rc = reader_begin(reader, ask->table, ask->version, &reading, err);
    if (rc != 0) {
        return rc;
    }
    const struct plan_view *view = &reading.version->plan->views[reading.table];
    struct reader_bounds *bounds = xcalloc(1, sizeof *bounds);
    struct row_filter *where = NULL;
    struct reader_cursor *cursor = NULL;
    reader_bounds_init(bounds);
    rc = ask->range == NULL ? 0 : row_range_bounds(ask->range, view, bounds, err);
    if (rc == 0 && ask->where != NULL) {
        rc = row_filter_open(view, ask->where, &where, err);
    }
    if (rc == 0 && ask->limit != 0) {
        rc = reader_cursor_open(reader, &reading, &bounds->range, &cursor, err);
    }
    if (rc == 0) {
        rc = rows_give(cursor, where, ask->limit, view, row, ctx, err);
    }
    if (rc == 0 && stamp != NULL) {
        reader_stamp_of(&reading, stamp);
    }
    reader_cursor_close(cursor);
    row_filter_close(where);
    reader_bounds_free(bounds);
    free(bounds);
    reader_end(reader, &reading);
    return rc;
}

int reader_scan(struct reader *reader, const char *table, uint32_t version, int64_t limit,
                bool (*row)(void *ctx, const struct plan_view *view,
                            const struct kappa_value *values),
                void *ctx, struct reader_stamp *stamp, struct err *err)
{
    const struct row_range_ask all = {.table = table, .version = version, .limit = limit};
    return row_range_scan(reader, &all, row, ctx, stamp, err);
}
