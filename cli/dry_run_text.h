/* What `--dry-run` of deploy and replay says. */
#ifndef KAPPA_CLI_DRY_RUN_TEXT_H
#define KAPPA_CLI_DRY_RUN_TEXT_H

#include "base/json.h"
#include "cli/cmd.h"

/* plan: the server's answer (docs/ARCHITECTURE.md, HTTP). */
int dry_run_print(const struct cli *cli, const json_t *plan, struct err *err) must_check;

#endif
