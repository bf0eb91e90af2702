/* Rows one after the other. Own header: inner.h and include/kappa/reader.h. */
#include "library/inner.h"

#include <stdlib.h>
#include <string.h>

/* A bound from outside, of the type of the column behind the equal ones. */
static int bound_value(const struct plan_view *view, uint32_t column,
                       const struct kappa_value *given, struct arena *memory,
                       struct kappa_value *value, const struct kappa_value **out, struct err *err)
{
    if (given == NULL) {
        return 0;
    }
    *out = value;
    return library_key_value(view, column, given, memory, value, err);
}

static int bounds_make(const struct plan_view *view, const struct kappa_range *given,
                       struct reader_bounds *out, struct err *err)
{
    struct reader_range *range = &out->range;
    bool bounded = given->from != NULL || given->below != NULL || given->prefix != NULL;
    if (given->key_count > library_key_columns(view) ||
        (given->keys == NULL && given->key_count > 0)) {
        return err_set(err, KE_INVALID, "a key of table %s has %u columns, got %u",
                       view->shape.name, library_key_columns(view), given->key_count);
    }
    if (view->kind == PLAN_APPEND && (bounded || given->key_count > 0)) {
        return err_set(err, KE_INVALID,
                       "table %s has a row per record: scan all of it, or get rows by partition "
                       "and offset",
                       view->shape.name);
    }
    if (given->windows && !view->shape.windowed) {
        return err_set(err, KE_INVALID, "table %s has no windows", view->shape.name);
    }
    for (uint32_t i = 0; i < given->key_count; i++) {
        int rc = library_key_value(view, i, &given->keys[i], &out->memory, &out->keys[i], err);
        if (rc != 0) {
            return rc;
        }
    }
    range->key_count = given->key_count;
    range->window_least = given->windows ? given->window_end_least : INT64_MIN;
    range->window_most = given->windows ? given->window_end_most : INT64_MAX;
    struct kappa_value values[2];
    const struct kappa_value *from = NULL;
    const struct kappa_value *below = NULL;
    int rc = bound_value(view, given->key_count, given->from, &out->memory, &values[0], &from, err);
    if (rc == 0) {
        rc = bound_value(view, given->key_count, given->below, &out->memory, &values[1], &below,
                         err);
    }
    return rc == 0 ? reader_bounds_set(view, out, from, below, given->prefix, err) : rc;
}

static int open_cursor(struct kappa_table *table, const struct kappa_range *given,
                       struct reader_cursor **out, struct err *err)
{
    struct reader_read reading = table->scope->reading;
    reading.table = table->index;
    if (given == NULL) {
        return reader_cursor_open(table->scope->owner->reader, &reading, NULL, out, err);
    }
    struct reader_bounds *bounds = xcalloc(1, sizeof *bounds);
    reader_bounds_init(bounds);
    int rc = bounds_make(table->view, given, bounds, err);
    bool empty = rc == 0 && ((given->windows && given->window_end_least > given->window_end_most));
    if (rc == 0 && !empty) {
        rc = reader_cursor_open(table->scope->owner->reader, &reading, &bounds->range, out, err);
    }
    reader_bounds_free(bounds);
    free(bounds);
    return rc;
}

int kappa_scan(struct kappa_table *table, const struct kappa_range *range, struct kappa_rows **out,
               struct kappa_error *error)
{
    int rc = library_check_table(table, error);
    if (rc != 0) {
        return rc;
    }
    if (out == NULL) {
        return library_fail(error, KE_INVALID, "a place for the rows is needed");
    }
    struct err reason = {0};
    struct reader_cursor *cursor = NULL;
    rc = open_cursor(table, range, &cursor, &reason);
    if (rc != 0) {
        return library_result(rc, &reason, error);
    }
    struct kappa_rows *rows = xcalloc(1, sizeof *rows);
    *rows = (struct kappa_rows){
        .magic = LIBRARY_ROWS_MAGIC, .table = table, .cursor = cursor, .next = table->scope->rows};
    table->scope->rows = rows;
    *out = rows;
    return 0;
}

int kappa_rows_next(struct kappa_rows *rows, const struct kappa_value **row,
                    struct kappa_error *error)
{
    if (rows == NULL || rows->magic != LIBRARY_ROWS_MAGIC) {
        return library_fail(error, KE_INVALID, "this is no open scan");
    }
    int rc = library_check_table(rows->table, error);
    if (rc != 0) {
        return rc;
    }
    if (row == NULL || rows->failed) {
        return library_fail(error, KE_INVALID,
                            rows->failed ? "the scan has failed: it can only be closed"
                                         : "a place for the row is needed");
    }
    struct err reason;
    reason.code = 0;
    rc = rows->cursor == NULL ? 0 : reader_cursor_next(rows->cursor, row, &reason);
    rows->failed = rc < 0;
    return library_result(rc, &reason, error);
}

void kappa_rows_close(struct kappa_rows *rows)
{
    if (rows == NULL || rows->magic != LIBRARY_ROWS_MAGIC ||
        library_check_table(rows->table, NULL) != 0) {
        return;
    }
    struct kappa_rows **at = &rows->table->scope->rows;
    while (*at != rows) {
        at = &(*at)->next;
    }
    *at = rows->next;
    reader_cursor_close(rows->cursor);
    rows->magic = 0;
    free(rows);
}
