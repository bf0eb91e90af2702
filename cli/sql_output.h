/* Rows of a statement as people and programs want them.
 *
 *     sql_output_init -> (sql_output_sink -> sql_output_end)* */
#ifndef KAPPA_CLI_SQL_OUTPUT_H
#define KAPPA_CLI_SQL_OUTPUT_H

#include "cli/output.h"
#include "serve/query.h"
#include "serve/query_answer.h"

enum sql_format {
    SQL_TABLE, /* aligned columns and the number of rows */
    SQL_CSV, /* RFC 4180 with a heading, lines end with a newline; null is empty, an empty text is "" */
    SQL_JSON,   /* one object, as POST /v1/sql gives it */
    SQL_NDJSON, /* an object a row */
};

struct sql_output {
    enum sql_format format;
    bool expanded; /* SQL_TABLE: a line for each column of a row */
    bool colour;
    bool stamps; /* SQL_TABLE: say where the rows come from */
    struct buf text;
    uint32_t columns;
    char **names;   /* owned */
    bool *right;    /* columns of numbers */
    size_t *widths; /* of columns so far */
    char **cells;   /* of rows not yet written; owned */
    size_t cell_count;
    size_t cell_cap;
    bool heading_done;
    uint64_t rows;
    struct query_answer answer;
    int rc; /* of writing; sticky */
    struct err err;
};

bool sql_format_parse(const char *text, enum sql_format *format);
void sql_output_init(struct sql_output *output, enum sql_format format);
struct query_sink sql_output_sink(struct sql_output *output);
/* The statement is over. failed: it broke off, what came is written. The error of writing, if any. */
int sql_output_end(struct sql_output *output, const struct query_result *result, bool failed,
                   struct err *err) must_check;

#endif
