/* Writing rows block by block, so that a large table needs no memory. Own header: rows.h. */
#include "cli/rows.h"

#include <stdlib.h>

#define BLOCK_ROWS  500         /* column widths are known within a block */
#define BLOCK_BYTES (64U << 10) /* of text before it is written */

void rows_begin(struct rows *rows, bool json, bool colour)
{
    *rows = (struct rows){.json = json, .colour = colour};
}

static void text_write(struct rows *rows)
{
    if (rows->rc == 0 && rows->text.len > 0) {
        rows->rc = out_write(&rows->text, &rows->err);
    }
    buf_reset(&rows->text);
}

static void block_end(struct rows *rows, bool heading)
{
    rows->table.least = rows->widths;
    out_table_end(&rows->table, heading && rows->colour, &rows->text);
    rows->block_rows = 0;
    text_write(rows);
}

static void block_begin(struct rows *rows)
{
    out_table_begin(&rows->table, rows->columns, rows->right);
}

static void heading(struct rows *rows, const json_t *row)
{
    size_t columns = json_object_size(row);
    rows->columns = columns < ROWS_COLUMNS_MAX ? u32_from(columns) : ROWS_COLUMNS_MAX;
    uint32_t c = 0;
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)row, name, value) {
        if (c < 64 && json_is_figure(value)) {
            rows->right |= UINT64_C(1) << c;
        }
        c++;
    }
    block_begin(rows);
    c = 0;
    json_object_foreach ((json_t *)(uintptr_t)row, name, value) {
        if (c++ < rows->columns) {
            out_table_cell(&rows->table, name);
        }
    }
}

static bool line_end(struct rows *rows)
{
    buf_append_u8(&rows->text, '\n');
    rows->count++;
    if (rows->text.len > BLOCK_BYTES) {
        text_write(rows);
    }
    return rows->rc == 0;
}

bool rows_take(struct rows *rows, const json_t *row)
{
    if (rows->json) {
        json_write(&rows->text, row);
        return line_end(rows);
    }
    if (rows->columns == 0) {
        heading(rows, row);
    }
    uint32_t c = 0;
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)row, name, value) {
        struct buf cell = {0};
        if (c++ < rows->columns) {
            out_value(&cell, value);
            out_table_cell(&rows->table, buf_text(&cell));
        }
        buf_free(&cell);
    }
    for (; c < rows->columns; c++) {
        out_table_cell(&rows->table, NULL);
    }
    rows->count++;
    if (++rows->block_rows == BLOCK_ROWS) {
        block_end(rows, rows->count == BLOCK_ROWS);
        block_begin(rows);
    }
    return rows->rc == 0;
}

bool rows_take_text(struct rows *rows, const char *text, size_t len)
{
    if (rows->json) {
        buf_append(&rows->text, text, len);
        return line_end(rows);
    }
    json_t *row = json_parse_exact(text, len, &rows->err);
    if (row == NULL) {
        rows->rc = rows->err.code;
        return false;
    }
    bool more = rows_take(rows, row);
    json_decref(row);
    return more;
}

bool rows_take_values(struct rows *rows, const struct plan_view *view,
                      const struct kappa_value *values)
{
    if (rows->json) {
        reader_row_write(&rows->text, view, values);
        return line_end(rows);
    }
    json_t *row = reader_row_json(view, values);
    bool more = rows_take(rows, row);
    json_decref(row);
    return more;
}

int rows_end(struct rows *rows, struct err *err)
{
    if (rows->columns > 0) {
        block_end(rows, rows->count <= BLOCK_ROWS);
    } else {
        text_write(rows);
    }
    buf_free(&rows->text);
    if (rows->rc < 0 && err != NULL) {
        *err = rows->err;
    }
    return rows->rc;
}
