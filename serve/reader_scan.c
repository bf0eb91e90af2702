/* All rows of a table, in key order. Own header: reader.h.
 *
 * The cursor gives partials: those of one key follow one another, by source. A row is given out
 * when the next key comes, or the end. */
#include "serve/reader_inner.h"

#include <string.h>

struct scan {
    const struct plan_view *view;
    struct row_finisher *finisher;
    bool (*row)(void *ctx, const struct plan_view *view, const struct kappa_value *values);
    void *ctx;
    int64_t left;   /* rows that may still be given out; < 0: no bound */
    bool begun;     /* a row is being merged */
    bool done;      /* the caller has had enough */
    size_t key_len; /* of that row */
    uint8_t key[LIMIT_TABLE_KEY_LEN];
};

/* Finishes the row at hand and gives it out. */
static int scan_emit(struct scan *scan, struct err *err)
{
    const struct kappa_value *values = NULL;
    if (!scan->begun) {
        return 0;
    }
    scan->begun = false;
    int rc = row_finisher_finish(scan->finisher, &values, err);
    if (rc == 1) {
        scan->left -= scan->left > 0 ? 1 : 0;
        scan->done = !scan->row(scan->ctx, scan->view, values) || scan->left == 0;
    }
    return rc < 0 ? rc : 0;
}

/* One partial: of the row at hand, or the first one of the next. */
static int scan_add(struct scan *scan, const uint8_t *key, size_t key_len, const uint8_t *value,
                    size_t value_len, struct err *err)
{
    bool same = scan->begun && scan->view->kind == PLAN_GROUP && key_len == scan->key_len &&
                memcmp(key, scan->key, key_len) == 0;
    if (!same) {
        int rc = scan_emit(scan, err);
        if (rc != 0 || scan->done) {
            return rc;
        }
        bool windowed = scan->view->shape.windowed;
        if (key_len > sizeof scan->key || (windowed && key_len < KAPPA_KEY_WINDOW_BYTES)) {
            return err_set(err, KE_CORRUPT, "table %s: a row's key does not decode",
                           scan->view->shape.name);
        }
        memcpy(scan->key, key, key_len);
        scan->key_len = key_len;
        size_t skip = windowed ? KAPPA_KEY_WINDOW_BYTES : 0;
        row_finisher_begin(scan->finisher, windowed ? load_i64_sortable(key) : 0, key + skip,
                           key_len - skip);
        scan->begun = true;
    }
    return row_finisher_add(scan->finisher, value, value_len, err);
}

static int scan_all(const struct reader_read *reading, struct scan *scan, struct err *err)
{
    struct view_cursor *cursor = NULL;
    int rc = view_cursor_open(reading->snapshot, reading->table, reading->version->source_count,
                              &cursor, err);
    if (rc != 0) {
        return rc;
    }
    while (!scan->done) {
        uint32_t source = 0;
        const uint8_t *key = NULL;
        const uint8_t *value = NULL;
        size_t key_len = 0;
        size_t value_len = 0;
        rc = view_cursor_next(cursor, &source, &key, &key_len, &value, &value_len, err);
        if (rc != 1) {
            break;
        }
        rc = scan_add(scan, key, key_len, value, value_len, err);
        if (rc < 0) {
            break;
        }
    }
    if (rc >= 0 && !scan->done) {
        rc = scan_emit(scan, err);
    }
    view_cursor_close(cursor);
    return rc < 0 ? rc : 0;
}

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
    struct scan scan = {
        .view = &reading.version->plan->views[reading.table],
        .finisher = reader_finisher_take(reader, reading.version, reading.table),
        .row = row,
        .ctx = ctx,
        .left = limit,
        .done = limit == 0,
    };
    rc = scan_all(&reading, &scan, err);
    if (rc == 0 && stamp != NULL) {
        *stamp = (struct reader_stamp){
            .version = reading.version->number,
            .epoch = reading.epoch,
            .cut = reader_cut(reading.version, reading.snapshot),
        };
        memcpy(stamp->processor, reading.version->processor, sizeof stamp->processor);
    }
    reader_finisher_give(reader, reading.version, reading.table, scan.finisher);
    reader_end(reader, &reading);
    return rc;
}
