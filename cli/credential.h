/* The token that a command shows to the server. Never on the command line, which every user of the
 * machine can read. */
#ifndef KAPPA_CLI_CREDENTIAL_H
#define KAPPA_CLI_CREDENTIAL_H

#include "base/json.h"
#include "cli/cmd.h"

/* From --token-file, else KAPPA_TOKEN, else the file of the server itself (server: its
 * DATA/server.json, or NULL), else ~/.config/kappa/token. *out: malloc'd; NULL where there is none.
 * REFUSED when others may read the file. */
int credential_find(const struct cli *cli, const json_t *server, char **out,
                    struct err *err) must_check;

#endif
