/* Rows one after the other. Own header: inner.h and include/kappa/reader.h. */
#include "library/inner.h"

#include "processor/key_codec.h"

#include <stdlib.h>
#include <string.h>

/* A range as the reader takes it. Bounds are the equal columns, then the bound of the next one. */
struct bounds {
    struct arena memory;
    struct kappa_value keys[LIMIT_COLUMNS];
    uint8_t low[LIMIT_TABLE_KEY_LEN];
    uint8_t high[LIMIT_TABLE_KEY_LEN];
    struct reader_range range;
};

static int too_long(struct err *err)
{
    return err_set(err, KE_INVALID, "a bound is longer than %d bytes, which no key is",
                   LIMIT_GROUP_KEY_LEN);
}

/* The equal columns at `at`; NULL when they do not fit. */
static uint8_t *put_keys(const struct bounds *bounds, uint8_t *at)
{
    const uint8_t *end = at + LIMIT_GROUP_KEY_LEN;
    for (uint32_t i = 0; i < bounds->range.key_count && at != NULL; i++) {
        at = key_put_value(at, end, &bounds->keys[i]);
    }
    return at;
}

/* The equal columns and a value behind them. NULL value: in front of (tag 1) or behind (tag 2) every
 * value that is not null. */
static int put_bound(const struct bounds *bounds, const struct plan_view *view,
                     const struct kappa_value *given, uint8_t tag, uint8_t *bytes, size_t *len,
                     struct err *err)
{
    struct arena memory;
    struct kappa_value value;
    uint8_t *at = put_keys(bounds, bytes);
    const uint8_t *end = bytes + LIMIT_GROUP_KEY_LEN;
    int rc = 0;
    arena_init(&memory);
    if (at != NULL && given == NULL) {
        *at = tag; /* there is room: columns leave some behind LIMIT_GROUP_KEY_LEN */
        at++;
    } else if (at != NULL) {
        rc = library_key_value(view, bounds->range.key_count, given, &memory, &value, err);
        if (rc == 0 && value.is_null) {
            rc = err_set(err, KE_INVALID, "a bound may not be null");
        }
        at = rc == 0 ? key_put_value(at, end, &value) : at;
    }
    arena_free(&memory);
    if (rc == 0 && (at == NULL || at > end)) {
        rc = too_long(err);
    }
    *len = rc == 0 ? (size_t)(at - bytes) : 0;
    return rc;
}

/* [prefix, the first text that does not begin with it). */
static int put_prefix(struct bounds *bounds, const struct plan_view *view,
                      const struct kappa_text *prefix, struct err *err)
{
    const struct kappa_column column = library_key_column(view, bounds->range.key_count);
    bool there = bounds->range.key_count < library_key_columns(view);
    if (!there || (column.type != KAPPA_TYPE_TEXT && column.type != KAPPA_TYPE_BYTEA)) {
        return err_set(err, KE_INVALID, "%s of table %s is no text: it has no prefix",
                       there ? column.name : "what stands behind the key", view->shape.name);
    }
    const struct kappa_value value = {.type = column.type, .s = *prefix};
    size_t len = 0;
    int rc = put_bound(bounds, view, &value, 0, bounds->low, &len, err);
    if (rc != 0) {
        return rc;
    }
    len -= 2; /* the end mark of the text */
    bounds->range.low_len = len;
    while (bounds->low[len - 1] == 0xFF) {
        len--; /* the tag in front is small */
    }
    memcpy(bounds->high, bounds->low, len);
    bounds->high[len - 1]++;
    bounds->range.high_len = len;
    return 0;
}

static int bounds_make(const struct plan_view *view, const struct kappa_range *given,
                       struct bounds *out, struct err *err)
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
    if (given->prefix != NULL && (given->from != NULL || given->below != NULL)) {
        return err_set(err, KE_INVALID, "a prefix stands alone: not beside from or below");
    }
    for (uint32_t i = 0; i < given->key_count; i++) {
        int rc = library_key_value(view, i, &given->keys[i], &out->memory, &out->keys[i], err);
        if (rc != 0) {
            return rc;
        }
    }
    range->keys = out->keys;
    range->key_count = given->key_count;
    range->low = out->low;
    range->high = out->high;
    range->window_least = given->windows ? given->window_end_least : INT64_MIN;
    range->window_most = given->windows ? given->window_end_most : INT64_MAX;
    if (given->prefix != NULL) {
        return put_prefix(out, view, given->prefix, err);
    }
    int rc = 0;
    if (bounded) {
        rc = put_bound(out, view, given->from, 1, out->low, &range->low_len, err);
    }
    if (bounded && rc == 0) {
        rc = put_bound(out, view, given->below, 2, out->high, &range->high_len, err);
    }
    return rc;
}

static int open_cursor(struct kappa_table *table, const struct kappa_range *given,
                       struct reader_cursor **out, struct err *err)
{
    struct reader_read reading = table->scope->reading;
    reading.table = table->index;
    if (given == NULL) {
        return reader_cursor_open(table->scope->owner->reader, &reading, NULL, out, err);
    }
    struct bounds *bounds = xcalloc(1, sizeof *bounds);
    arena_init(&bounds->memory);
    int rc = bounds_make(table->view, given, bounds, err);
    bool empty = rc == 0 && ((given->windows && given->window_end_least > given->window_end_most));
    if (rc == 0 && !empty) {
        rc = reader_cursor_open(table->scope->owner->reader, &reading, &bounds->range, out, err);
    }
    arena_free(&bounds->memory);
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
