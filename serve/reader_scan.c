/* All rows of a table, in key order. Own header: reader.h. */
#include "serve/reader_inner.h"

int reader_scan(struct reader *reader, const char *table, uint32_t version, int64_t limit,
                bool (*row)(void *ctx, const struct plan_view *view,
                            const struct kappa_value *values),
                void *ctx, struct reader_stamp *stamp, struct err *err)
{
    struct reader_read reading = {0};
    int rc = reader_begin(reader, table, version, &reading, err);
    if (rc != 0) {
        return rc;
    }
    const struct plan_view *view = &reading.version->plan->views[reading.table];
    struct reader_cursor *cursor = NULL;
    rc = limit == 0 ? 0 : reader_cursor_open(reader, &reading, NULL, &cursor, err);
    for (int64_t left = limit; rc == 0 && left != 0; left -= left > 0 ? 1 : 0) {
        const struct kappa_value *values = NULL;
        rc = reader_cursor_next(cursor, &values, err);
        if (rc != 1 || !row(ctx, view, values)) {
            break;
        }
        rc = 0;
    }
    rc = rc < 0 ? rc : 0;
    if (rc == 0 && stamp != NULL) {
        reader_stamp_of(&reading, stamp);
    }
    reader_cursor_close(cursor);
    reader_end(reader, &reading);
    return rc;
}
