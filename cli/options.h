/* From argv to a command and its options. Options may stand anywhere; "--" ends them. */
#ifndef KAPPA_CLI_OPTIONS_H
#define KAPPA_CLI_OPTIONS_H

#include "base/suggest.h"
#include "cli/cmd.h"

/* Options that every command takes. */
extern const struct cmd_option options_common[];

/* Fills cli. argv is permuted, and must live as long as cli. INVALID with did-you-mean. cli->entry
 * is set as soon as the command is known; with --help it is the help command with the command's
 * name as arguments; with --version the version command. */
int options_parse(int argc, char **argv, struct cli *cli, struct err *err) must_check;

/* Does the command line ask for JSON, whatever else is wrong with it? */
bool options_want_json(int argc, char *const *argv);

/* The names of all commands, for did-you-mean. */
void options_offer(struct suggest *suggest);

/* The entry of a name of one or two words (second may be NULL); *words: how many were used. NULL
 * when there is none. */
const struct cmd_entry *options_find(const char *first, const char *second, int *words);

#endif
