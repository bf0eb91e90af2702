/* Options of a command from a file: a line each, `name = value` as in --name value; # begins a
 * comment line. What the command line says wins; only options that may be repeated add up. */
#ifndef KAPPA_CLI_CONFIG_FILE_H
#define KAPPA_CLI_CONFIG_FILE_H

#include "cli/cmd.h"

/* Adds to cli->given the options of the file that the command line leaves open. repeated: the name
 * of the option that adds up, or NULL. *text owns the values and must live as long as cli. Errors
 * name file and line. */
int config_file_read(const char *path, const char *repeated, struct cli *cli, char **text,
                     struct err *err) must_check;

#endif
