/* Aligned columns. Own header: output.h. */
#include "cli/output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define GAP        2  /* blanks between columns */
#define PADDED_MAX 60 /* of a wider cell the others in its column take no notice */
#define FIRST_MAX  28 /* of two columns that are wrapped, the first is wider only in its own line */

size_t out_width(const char *text)
{
    size_t width = 0;
    mbstate_t state = {0};
    size_t left = strlen(text);
    while (left > 0) {
        wchar_t wide;
        size_t len = mbrtowc(&wide, text, left, &state);
        if (len == 0 || len > left) { /* not of this locale's encoding: a column a byte */
            memset(&state, 0, sizeof state);
            len = 1;
            width++;
        } else {
            int columns = wcwidth(wide);
            width += columns > 0 ? (size_t)columns : 0;
        }
        text += len;
        left -= len;
    }
    return width;
}

void out_table_begin(struct out_table *table, uint32_t columns, uint64_t right)
{
    ASSERT_CMP(columns, >, 0);
    *table = (struct out_table){.columns = columns, .right = right};
}

static void cell_take(struct out_table *table, char *text)
{
    if (table->cell_count == table->cell_cap) {
        table->cell_cap = table->cell_cap == 0 ? 64 : 2 * table->cell_cap;
        table->cells = xrealloc(table->cells, table->cell_cap * sizeof *table->cells);
    }
    table->cells[table->cell_count++] = text;
}

void out_table_cell(struct out_table *table, const char *text)
{
    cell_take(table, xstrdup(text == NULL ? "-" : text));
}

void out_table_titles(struct out_table *table, const char *const *titles)
{
    for (uint32_t c = 0; c < table->columns; c++) {
        out_table_cell(table, titles[c]);
    }
}

void out_table_cellf(struct out_table *table, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    ASSERT(len >= 0);
    cell_take(table, text);
}

static void pad(struct buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_append_u8(out, ' ');
    }
}

static void row_write(const struct out_table *table, const size_t *widths, size_t row, bool bold,
                      struct buf *out)
{
    size_t start = out->len;
    pad(out, table->indent);
    for (uint32_t c = 0; c < table->columns; c++) {
        const char *text = table->cells[row * table->columns + c];
        bool right = c < 64 && (table->right >> c & 1) != 0;
        size_t width = out_width(text);
        size_t blanks = width < widths[c] ? widths[c] - width : 0;
        pad(out, right ? blanks : 0);
        out_styled(out, bold && row == 0, OUT_BOLD, text);
        bool last = c + 1 == table->columns;
        pad(out, (right ? 0 : blanks) + (last ? 0 : GAP));
    }
    while (out->len > start && out->data[out->len - 1] == ' ') {
        out->len--;
    }
    buf_append_u8(out, '\n');
}

/* A row of two columns, in as many lines as it needs. */
static void row_wrapped(const struct out_table *table, size_t left, const char *first,
                        const char *second, struct buf *out)
{
    size_t indent = table->indent + left + GAP;
    size_t blanks = strspn(first, " "); /* of an option without a letter */
    size_t column = table->indent + blanks;
    pad(out, column);
    out_wrapped(out, first, strlen(first), table->indent + 2 * GAP, table->wrap, &column);
    if (second[0] != '\0' && column + GAP > indent) {
        buf_append_u8(out, '\n');
        column = 0;
    }
    if (second[0] != '\0') {
        pad(out, indent - column);
        column = indent;
        out_wrapped(out, second, strlen(second), indent, table->wrap, &column);
    }
    buf_append_u8(out, '\n');
}

static void rows_wrapped(const struct out_table *table, struct buf *out)
{
    ASSERT_CMP(table->columns, ==, 2);
    size_t left = 0;
    for (size_t i = 0; i < table->cell_count; i += 2) {
        size_t width = out_width(table->cells[i]);
        left = width > left && width <= FIRST_MAX ? width : left;
    }
    for (size_t i = 0; i < table->cell_count; i += 2) {
        row_wrapped(table, left, table->cells[i], table->cells[i + 1], out);
    }
}

void out_table_end(struct out_table *table, bool bold, struct buf *out)
{
    ASSERT_CMP(table->cell_count % table->columns, ==, 0);
    size_t *widths = xcalloc(table->columns, sizeof *widths);
    for (uint32_t c = 0; table->least != NULL && c < table->columns; c++) {
        widths[c] = table->least[c];
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t width = out_width(table->cells[i]);
        size_t *widest = &widths[i % table->columns];
        *widest = width > *widest && width <= PADDED_MAX ? width : *widest;
    }
    if (table->wrap > 0) {
        rows_wrapped(table, out);
    }
    for (size_t row = 0; table->wrap == 0 && row < table->cell_count / table->columns; row++) {
        row_write(table, widths, row, bold, out);
    }
    if (table->least != NULL) {
        memcpy(table->least, widths, table->columns * sizeof *widths);
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        free(table->cells[i]);
    }
    free(widths);
    free(table->cells);
    *table = (struct out_table){0};
}
