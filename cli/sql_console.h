/* Statements and backslash commands of `kappa sql`, one after the other, from a person or a file.
 *
 *     sql_console_open -> sql_console_statement, sql_console_meta ... -> sql_console_close */
#ifndef KAPPA_CLI_SQL_CONSOLE_H
#define KAPPA_CLI_SQL_CONSOLE_H

#include "cli/sql_output.h"
#include "cli/sql_session.h"

struct sql_console {
    struct sql_session session;
    enum sql_format format;
    bool expanded;
    bool timing;
    bool stamps; /* say where rows come from, below a table */
    bool colour;
};

int sql_console_open(const struct cli *cli, struct sql_console *console,
                     struct err *err) must_check;
void sql_console_close(struct sql_console *console);
/* Runs one statement and writes what it gives. */
int sql_console_statement(struct sql_console *console, const char *text, size_t len,
                          struct err *err) must_check;
/* A line that begins with a backslash: 1 \q, 0 done, negative. */
int sql_console_meta(struct sql_console *console, const char *line, struct err *err) must_check;
/* All statements and backslash commands of a text; the first error ends it. */
int sql_console_script(struct sql_console *console, const char *text, size_t len,
                       struct err *err) must_check;

#endif
