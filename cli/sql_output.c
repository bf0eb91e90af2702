/* Own header: sql_output.h. A table's widths are those of its first rows: a large answer is written
 * block by block. */
#include "cli/sql_output.h"

#include "cli/csv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ROWS  1000
#define BLOCK_BYTES (64U << 10)

bool sql_format_parse(const char *text, enum sql_format *format)
{
    static const char *const words[] = {
        [SQL_TABLE] = "table", [SQL_CSV] = "csv", [SQL_JSON] = "json", [SQL_NDJSON] = "ndjson"};
    for (size_t i = 0; i < array_len(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *format = (enum sql_format)i;
            return true;
        }
    }
    return false;
}

void sql_output_init(struct sql_output *output, enum sql_format format)
{
    *output = (struct sql_output){.format = format};
}

static void flush(struct sql_output *output)
{
    if (output->rc == 0 && output->text.len > 0) {
        output->rc = out_write(&output->text, &output->err);
    }
    buf_reset(&output->text);
}

/* ---- cells of tables */

static char *cell_of(const struct query_value *value)
{
    struct buf text = {0};
    char *cell;
    if (value->kind == QUERY_NULL) {
        return xstrdup("");
    }
    if (value->kind == QUERY_TEXT) {
        out_safe(&text, value->bytes, value->len);
    } else {
        query_value_json(&text, value);
    }
    const char *shown = buf_text(&text);
    bool quoted = value->kind != QUERY_TEXT && shown[0] == '"';   /* infinities and bytes */
    size_t skip = value->kind == QUERY_BLOB ? 2 : quoted ? 1 : 0; /* an escaped backslash */
    cell = quoted ? xstrndup(shown + skip, text.len - skip - 1) : xstrdup(shown);
    buf_free(&text);
    return cell;
}

static void pad(struct buf *out, size_t count, char with)
{
    for (size_t i = 0; i < count; i++) {
        buf_append_u8(out, (uint8_t)with);
    }
}

static void heading(struct sql_output *output)
{
    for (uint32_t c = 0; c < output->columns; c++) {
        size_t blanks = output->widths[c] - out_width(output->names[c]);
        buf_append_text(&output->text, c == 0 ? " " : "| ");
        pad(&output->text, blanks / 2, ' ');
        out_styled(&output->text, output->colour, OUT_BOLD, output->names[c]);
        pad(&output->text, blanks - blanks / 2 + 1, ' ');
    }
    buf_append_u8(&output->text, '\n');
    for (uint32_t c = 0; c < output->columns; c++) {
        if (c > 0) {
            buf_append_u8(&output->text, '+');
        }
        pad(&output->text, output->widths[c] + 2, '-');
    }
    buf_append_u8(&output->text, '\n');
    output->heading_done = true;
}

static void table_row(struct sql_output *output, char *const *cells)
{
    for (uint32_t c = 0; c < output->columns; c++) {
        size_t blanks = output->widths[c] - out_width(cells[c]);
        bool last = c + 1 == output->columns;
        buf_append_text(&output->text, c == 0 ? " " : "| ");
        pad(&output->text, output->right[c] ? blanks : 0, ' ');
        buf_append_text(&output->text, cells[c]);
        pad(&output->text, (output->right[c] || last ? 0 : blanks) + (last ? 0 : 1), ' ');
    }
    buf_append_u8(&output->text, '\n');
}

static void cells_write(struct sql_output *output)
{
    for (size_t i = 0; i < output->cell_count; i++) {
        size_t width = out_width(output->cells[i]);
        size_t *widest = &output->widths[i % output->columns];
        *widest = width > *widest ? width : *widest;
    }
    if (!output->heading_done) {
        heading(output);
    }
    for (size_t i = 0; i < output->cell_count; i += output->columns) {
        table_row(output, &output->cells[i]);
    }
    for (size_t i = 0; i < output->cell_count; i++) {
        free(output->cells[i]);
    }
    output->cell_count = 0;
    flush(output);
}

static void expanded_row(struct sql_output *output, const struct query_value *values)
{
    size_t widest = 0;
    for (uint32_t c = 0; c < output->columns; c++) {
        size_t width = out_width(output->names[c]);
        widest = width > widest ? width : widest;
    }
    buf_printf(&output->text, "-[ RECORD %" PRIu64 " ]", output->rows);
    pad(&output->text, widest > 12 ? widest - 12 : 3, '-');
    buf_append_u8(&output->text, '\n');
    for (uint32_t c = 0; c < output->columns; c++) {
        char *cell = cell_of(&values[c]);
        buf_append_text(&output->text, output->names[c]);
        pad(&output->text, widest - out_width(output->names[c]), ' ');
        buf_printf(&output->text, " | %s\n", cell);
        free(cell);
    }
}

static void cell_keep(struct sql_output *output, const struct query_value *value, uint32_t column)
{
    if (output->cell_count == output->cell_cap) {
        output->cell_cap = output->cell_cap == 0 ? 256 : 2 * output->cell_cap;
        output->cells = xrealloc(output->cells, output->cell_cap * sizeof *output->cells);
    }
    output->cells[output->cell_count++] = cell_of(value);
    if (value->kind == QUERY_TEXT || value->kind == QUERY_BOOLEAN) {
        output->right[column] = false;
    }
}

/* ---- CSV and JSON */

static void csv_value(struct buf *out, const struct query_value *value)
{
    struct buf text = {0};
    if (value->kind == QUERY_TEXT) {
        csv_write(out, value->bytes, value->len);
    } else if (value->kind != QUERY_NULL) {
        query_value_json(&text, value);
        bool quoted = text.data[0] == '"';
        size_t skip = value->kind == QUERY_BLOB ? 2 : quoted ? 1 : 0; /* an escaped backslash */
        buf_append(out, text.data + skip, text.len - skip - (quoted ? 1 : 0));
    }
    buf_free(&text);
}

static void csv_row(struct sql_output *output, const struct query_value *values)
{
    for (uint32_t c = 0; c < output->columns; c++) {
        if (c > 0) {
            buf_append_u8(&output->text, ',');
        }
        csv_value(&output->text, &values[c]);
    }
    buf_append_text(&output->text, "\n");
}

static void object_row(struct sql_output *output, const struct query_value *values)
{
    for (uint32_t c = 0; c < output->columns; c++) {
        struct query_value name = {
            .kind = QUERY_TEXT, .bytes = output->names[c], .len = strlen(output->names[c])};
        buf_append_u8(&output->text, c == 0 ? '{' : ',');
        query_value_json(&output->text, &name);
        buf_append_u8(&output->text, ':');
        query_value_json(&output->text, &values[c]);
    }
    buf_append_text(&output->text, "}\n");
}

/* ---- the sink */

static void names_free(struct sql_output *output)
{
    for (uint32_t c = 0; c < output->columns; c++) {
        free(output->names[c]);
    }
    free(output->names);
    free(output->right);
    free(output->widths);
    output->names = NULL;
    output->right = NULL;
    output->widths = NULL;
    output->columns = 0;
}

static void take_columns(void *ctx, const struct query_column *columns, uint32_t count)
{
    struct sql_output *output = ctx;
    output->names = xcalloc(count, sizeof *output->names);
    output->right = xcalloc(count, sizeof *output->right);
    output->widths = xcalloc(count, sizeof *output->widths);
    output->columns = count;
    for (uint32_t c = 0; c < count; c++) {
        static const char *const texts[] = {"text",  "timestamptz", "timestamp", "date", "uuid",
                                            "jsonb", "boolean",     "bytea",     "array"};
        struct buf name = {0};
        bool json = output->format == SQL_JSON || output->format == SQL_NDJSON;
        output->right[c] = true;
        for (size_t i = 0; i < array_len(texts); i++) {
            output->right[c] = output->right[c] && strcmp(columns[c].type, texts[i]) != 0;
        }
        if (json || output->format == SQL_CSV) {
            buf_append_text(&name, columns[c].name);
        } else {
            out_safe(&name, columns[c].name, strlen(columns[c].name));
        }
        output->names[c] = xstrdup(buf_text(&name));
        output->widths[c] = out_width(output->names[c]);
        buf_free(&name);
    }
    output->answer = (struct query_answer){.out = &output->text};
    if (output->format == SQL_JSON) {
        query_answer_columns(&output->answer, columns, count);
    } else if (output->format == SQL_CSV) {
        for (uint32_t c = 0; c < count; c++) {
            buf_append_text(&output->text, c > 0 ? "," : "");
            csv_write(&output->text, output->names[c], strlen(output->names[c]));
        }
        buf_append_text(&output->text, "\n");
    }
}

static bool take_row(void *ctx, const struct query_value *values, uint32_t count)
{
    struct sql_output *output = ctx;
    output->rows++;
    switch (output->format) {
    case SQL_TABLE:
        if (output->expanded) {
            expanded_row(output, values);
            break;
        }
        for (uint32_t c = 0; c < count; c++) {
            cell_keep(output, &values[c], c);
        }
        if (output->cell_count >= (size_t)BLOCK_ROWS * count) {
            cells_write(output);
        }
        break;
    case SQL_CSV:
        csv_row(output, values);
        break;
    case SQL_JSON:
        query_answer_row(&output->answer, values, count);
        break;
    case SQL_NDJSON:
        object_row(output, values);
        break;
    }
    if (output->text.len > BLOCK_BYTES) {
        flush(output);
    }
    return output->rc == 0;
}

struct query_sink sql_output_sink(struct sql_output *output)
{
    output->rows = 0;
    output->heading_done = false;
    output->cell_count = 0;
    return (struct query_sink){.ctx = output, .columns = take_columns, .row = take_row};
}

/* "uf v1, epoch 3, cut clicks [10, 20]". */
static void stamps_write(struct sql_output *output, const json_t *stamps)
{
    size_t i;
    json_t *stamp;
    struct buf line = {0};
    json_array_foreach (stamps, i, stamp) {
        const char *topic;
        json_t *offsets;
        buf_printf(&line, "%s%s v%" PRId64 ", epoch %" PRId64, i == 0 ? "from " : "; ",
                   json_text(stamp, "processor", ""), json_int(stamp, "version", 0),
                   json_int(stamp, "epoch", 0));
        json_object_foreach (json_object_get(stamp, "cut"), topic, offsets) {
            buf_printf(&line, ", %s ", topic);
            json_write(&line, offsets);
        }
    }
    if (line.len > 0) {
        out_styled(&output->text, output->colour, OUT_DIM, buf_text(&line));
        buf_append_u8(&output->text, '\n');
    }
    buf_free(&line);
}

int sql_output_end(struct sql_output *output, const struct query_result *result, bool failed,
                   struct err *err)
{
    if (output->format == SQL_TABLE && output->columns > 0) {
        if (!output->expanded && (!failed || output->rows > 0)) {
            cells_write(output);
        }
        if (!failed) {
            buf_printf(&output->text, "(%" PRIu64 " row%s)\n", output->rows,
                       output->rows == 1 ? "" : "s");
        }
    }
    if (!failed && output->format == SQL_JSON) {
        query_answer_end(&output->answer, result->truncated, result->stamps);
    }
    if (!failed && output->format == SQL_TABLE && output->stamps) {
        stamps_write(output, result->stamps);
    }
    flush(output);
    names_free(output);
    free(output->cells);
    output->cells = NULL;
    output->cell_cap = 0;
    buf_free(&output->text);
    int rc = output->rc;
    if (rc < 0 && err != NULL) {
        *err = output->err;
    }
    output->rc = 0;
    return rc;
}
