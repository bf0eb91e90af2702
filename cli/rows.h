/* Rows on their way to the person: an aligned table as they come, or a JSON object a line. */
#ifndef KAPPA_CLI_ROWS_H
#define KAPPA_CLI_ROWS_H

#include "base/json.h"
#include "cli/output.h"
#include "serve/reader.h"

#define ROWS_COLUMNS_MAX 256

struct rows {
    bool json;
    bool colour;
    uint64_t count;                  /* rows taken */
    struct buf text;                 /* not yet written */
    struct out_table table;          /* rows of the block at hand, when columns > 0 */
    uint32_t columns;                /* 0 until the first row */
    uint64_t right;                  /* columns of numbers, by the first row */
    size_t widths[ROWS_COLUMNS_MAX]; /* carried from block to block */
    uint32_t block_rows;
    int rc; /* of writing; sticky */
    struct err err;
};

void rows_begin(struct rows *rows, bool json, bool colour);
/* Borrowed. False when writing failed: no more rows are wanted. */
bool rows_take(struct rows *rows, const json_t *row);
/* A row that is JSON text already. */
bool rows_take_text(struct rows *rows, const char *text, size_t len);
/* A row as a reader gives it. */
bool rows_take_values(struct rows *rows, const struct plan_view *view,
                      const struct kappa_value *values);
/* Writes what is left; the error of writing, if any. */
int rows_end(struct rows *rows, struct err *err) must_check;

#endif
