/* What people see: tables, numbers, colours, errors. Data goes to stdout, messages to stderr.
 *
 * Text from tables and topics is made harmless for terminals: control characters are shown as
 * escapes. */
#ifndef KAPPA_CLI_OUTPUT_H
#define KAPPA_CLI_OUTPUT_H

#include "base/buf.h"
#include "base/json.h"
#include "cli/cmd.h"

/* ---- Aligned columns ----
 * out_table_begin -> out_table_cell (row by row, left to right) -> out_table_end */

struct out_table {
    uint32_t columns;
    uint64_t right;    /* bit c: column c is flushed right (numbers) */
    char **cells;      /* owned */
    size_t cell_count; /* a multiple of columns when a row is whole */
    size_t cell_cap;
    uint32_t indent; /* blanks in front of each line */
    size_t *least;   /* or NULL: least width of each column; becomes the width used. Borrowed */
    size_t wrap;     /* or 0: of two columns, lines have at most so many: the second one goes on in
                        the next line, and begins there when the first is too wide */
};

void out_table_begin(struct out_table *table, uint32_t columns, uint64_t right);
/* Copies; NULL is shown as "-". */
void out_table_cell(struct out_table *table, const char *text);
void out_table_cellf(struct out_table *table, const char *format, ...) printf_like(2, 3);
/* A row of titles, one for each column. */
void out_table_titles(struct out_table *table, const char *const *titles);
/* Appends all lines; the first row is the heading when bold is set. Frees the table. */
void out_table_end(struct out_table *table, bool bold, struct buf *out);

/* ---- Text in lines of OUT_LINE columns ---- */

#define OUT_LINE 80

/* Words of a text; *column is where the line stands, and `indent` where the next ones begin. Appended
 * without a newline at the end. */
void out_wrapped(struct buf *out, const char *text, size_t len, size_t indent, size_t width,
                 size_t *column);
/* Paragraphs, of which blank lines are between; lines that begin with a blank stay as they are. */
void out_paragraphs(struct buf *out, const char *text);

/* ---- Words ---- */

/* Columns that the text takes on a terminal. */
size_t out_width(const char *text);
/* Appended with control characters escaped. */
void out_safe(struct buf *out, const char *text, size_t len);
/* A JSON value as a person reads it: text without quotes, null as "null". Appended. */
void out_value(struct buf *out, const json_t *value);
/* 1,234,567. text has OUT_NUMBER_LEN bytes. */
#define OUT_NUMBER_LEN 40
char *out_count(int64_t value, char *text);
/* 1.23 M, 950 k, 12. */
char *out_short(double value, char *text);
/* 12.3 MiB. */
char *out_bytes(double value, char *text);
/* Seconds as 850 ms, 12.3 s, 4 min 05 s; "-" when negative or not a number. */
char *out_seconds(const json_t *seconds, char *text);
/* At most six columns: 850ms, 12.3s, 4m05s, 2h10m, 3d04h; "-" as above. */
char *out_brief(const json_t *seconds, char *text);
/* [#####-----], width columns in all. ratio outside of 0..1 is clamped. */
void out_bar(struct buf *out, double ratio, uint32_t width);

/* ---- What is redrawn in place ---- */

/* Of the terminal; 0: not known. */
void out_screen(int fd, uint32_t *columns, uint32_t *rows);
/* Whole lines, cut to what stays on a screen of that size (0: any), so that nothing wraps or
 * scrolls. Colours take no room. Returns how many lines are left. */
uint32_t out_clip(struct buf *text, uint32_t columns, uint32_t rows);

/* ---- Colour; empty text when colours are off ---- */

enum out_style { OUT_PLAIN, OUT_BOLD, OUT_DIM, OUT_RED, OUT_GREEN, OUT_YELLOW };

/* Styled text; appended. */
void out_styled(struct buf *out, bool colour, enum out_style style, const char *text);
/* For states of a version. */
enum out_style out_state_style(const char *state);

/* ---- Leaving ---- */

/* Sets cli->colour and cli->live from the terminals and the environment. */
void out_terminals(struct cli *cli);
/* Writes everything to stdout; IO when it cannot. A closed pipe ends the process quietly. */
int out_write(const struct buf *text, struct err *err) must_check;
/* One JSON text as a line on stdout. */
int out_json(const json_t *value, struct err *err) must_check;
/* The error on stderr: an object in JSON mode, else sentences. Returns the exit code. */
int out_error(const struct err *err, bool json);

#endif
