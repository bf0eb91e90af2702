/* `kappa sql` on a terminal: line editing and history (libedit), statements over several lines,
 * Ctrl-C. */
#ifndef KAPPA_CLI_SQL_SHELL_H
#define KAPPA_CLI_SQL_SHELL_H

#include "cli/sql_console.h"

/* Until \q or the end of input. */
int sql_shell(struct sql_console *console, struct err *err) must_check;

#endif
