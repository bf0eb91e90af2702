/* The reference of SQL functions. Own header: functions_help.h. */
#include "cli/functions_help.h"

#include "base/suggest.h"
#include "cli/output.h"
#include "processor/functions.h"

#include <string.h>

static const struct {
    enum function_kind kind;
    const char *title;
    const char *note;
} sections[] = {
    {FUNCTION_OPERATOR, "Operators",
     "Whole numbers never wrap; a result out of range is an error of the record."},
    {FUNCTION_SCALAR, "Functions",
     "A null argument makes null, where the text does not say otherwise."},
    {FUNCTION_AGGREGATE, "Aggregates",
     "Nulls are left out. FILTER (WHERE ...) chooses rows. Examples run over x in 1, 2, 2, null."},
};

static const char syntax[] = "Syntax beside functions, as in PostgreSQL: comparisons, AND, OR, "
                             "NOT, IS [NOT] NULL / TRUE / FALSE / UNKNOWN, "
                             "IS [NOT] DISTINCT FROM, BETWEEN [SYMMETRIC], IN (...), LIKE, ILIKE, "
                             "CASE, COALESCE, NULLIF, GREATEST, LEAST, "
                             "casts (CAST(x AS type), x::type), AT TIME ZONE 'UTC'.";

static const char *letter_name(char letter)
{
    return letter == 'x' || letter == 'a' ? "any"
                                          : function_type_name(function_letter_type(letter));
}

/* "substr(text, integer)", "integer + integer", "- integer" */
static void signature(const struct function_row *row, struct buf *out)
{
    size_t count = strlen(row->args);
    if (row->kind == FUNCTION_OPERATOR) {
        bool infix = count == 2;
        buf_printf(out, "%s%s%s ", infix ? letter_name(row->args[0]) : "", infix ? " " : "",
                   row->name);
        buf_append_text(out, letter_name(row->args[count - 1]));
        return;
    }
    buf_printf(out, "%s(", row->name);
    for (size_t k = 0; k < count; k++) {
        bool more = row->args[k] == '*';
        buf_printf(out, "%s%s", k == 0 ? "" : ", ", more ? "..." : letter_name(row->args[k]));
    }
    bool rows_only = row->kind == FUNCTION_AGGREGATE && count == 0;
    buf_append_text(out, rows_only ? "*)" : ")");
}

static void result_name(const struct function_row *row, struct buf *out)
{
    buf_append_text(out, row->result[0] == 'x' ? "the same" : letter_name(row->result[0]));
}

/* A cell of a Markdown table: a bar would end it. */
static void cell(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        buf_append_text(out, *text == '|' ? "\\" : "");
        buf_append_u8(out, (uint8_t)*text);
    }
}

static void row_markdown(const struct function_row *row, struct buf *out)
{
    struct buf call = {0};
    signature(row, &call);
    buf_append_text(out, "| `");
    cell(out, buf_text(&call));
    buf_append_text(out, "` | ");
    result_name(row, out);
    buf_append_text(out, " | ");
    cell(out, row->help);
    buf_append_text(out, " | `");
    cell(out, row->example);
    buf_append_text(out, "` | `");
    cell(out, row->expected);
    buf_append_text(out, "` |\n");
    buf_free(&call);
}

void functions_markdown(struct buf *out)
{
    uint32_t count;
    const struct function_row *rows = function_rows(&count);
    buf_printf(out,
               "# Functions\n\nMade from processor/functions.def by `kappa help --functions`. "
               "Every example is a "
               "test, and is compared with PostgreSQL where PostgreSQL has the function. "
               "processor/README.md says where Kappa differs.\n\n%s\n",
               syntax);
    for (size_t s = 0; s < array_len(sections); s++) {
        buf_printf(
            out,
            "\n## %s\n\n%s\n\n| call | result | what | example | value |\n|---|---|---|---|---|\n",
            sections[s].title, sections[s].note);
        for (uint32_t i = 0; i < count; i++) {
            if (rows[i].kind == sections[s].kind) {
                row_markdown(&rows[i], out);
            }
        }
    }
}

/* What one name does: each form with its example. */
static void row_text(const struct function_row *row, struct buf *out)
{
    struct buf call = {0};
    signature(row, &call);
    size_t column = 2;
    buf_append_text(out, "  ");
    out_wrapped(out, buf_text(&call), call.len, column + 2, OUT_LINE, &column);
    buf_free(&call);
    column = 6;
    buf_append_text(out, "\n      ");
    out_wrapped(out, row->help, strlen(row->help), column, OUT_LINE, &column);
    buf_append_text(out, "\n      ");
    column = 6;
    out_wrapped(out, row->example, strlen(row->example), column + 2, OUT_LINE, &column);
    buf_append_text(out, "\n      = ");
    column = 8;
    out_wrapped(out, row->expected, strlen(row->expected), column, OUT_LINE, &column);
    buf_append_text(out, "\n");
}

static bool section_text(struct buf *out, size_t s, const char *name)
{
    uint32_t count;
    const struct function_row *rows = function_rows(&count);
    struct out_table table;
    struct buf text = {0};
    bool any = false;
    out_table_begin(&table, 2, 0);
    table.indent = 2;
    table.wrap = OUT_LINE;
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].kind != sections[s].kind || (name != NULL && strcmp(rows[i].name, name) != 0)) {
            continue;
        }
        any = true;
        if (name != NULL) {
            row_text(&rows[i], &text);
            continue;
        }
        struct buf call = {0};
        signature(&rows[i], &call);
        out_table_cell(&table, buf_text(&call));
        out_table_cell(&table, rows[i].help);
        buf_free(&call);
    }
    out_table_end(&table, false, &text);
    if (any) {
        buf_printf(out, "%s\n%s%s", sections[s].title, buf_text(&text), name == NULL ? "\n" : "");
    }
    buf_free(&text);
    return any;
}

bool functions_text(struct buf *out, const char *name)
{
    bool any = false;
    for (size_t s = 0; s < array_len(sections); s++) {
        any = section_text(out, s, name) || any;
    }
    if (name == NULL) {
        out_paragraphs(out, syntax);
        buf_append_text(out, "\n`kappa help functions NAME` shows examples.\n");
    }
    return any;
}

const char *functions_nearest(const char *name)
{
    uint32_t count;
    const struct function_row *rows = function_rows(&count);
    struct suggest suggest;
    suggest_begin(&suggest, name);
    for (uint32_t i = 0; i < count; i++) {
        suggest_offer(&suggest, rows[i].name);
    }
    return suggest.best;
}
