/* The body of a deploy: a definition from a file, with what lies beside it. */
#ifndef KAPPA_CLI_DEFINITION_BODY_H
#define KAPPA_CLI_DEFINITION_BODY_H

#include "base/buf.h"
#include "base/json.h"
#include "cli/cmd.h"

/* "dir/features.sql" -> "features". For the caller to free. */
char *definition_name(const char *path);
/* Plugins go to the server's data directory, texts into the body. path: for messages, and the place
 * where the others lie. */
int definition_body(const struct cli *cli, const char *path, const char *name,
                    const struct buf *sql, json_t **out, struct err *err) must_check;

#endif
