/* Bringing a definition's plugins to the server: into its data directory. */
#ifndef KAPPA_CLI_PLUGIN_COPY_H
#define KAPPA_CLI_PLUGIN_COPY_H

#include "base/json.h"
#include "cli/cmd.h"
#include "processor/plan.h"

/* The plugins that the plan names lie beside `file`. Copies each to DATA/plugins/HASH.so; *out is
 * {"name.so": hash}, or NULL when there are none. REFUSED when the server is another machine's. */
int plugins_copy(const struct cli *cli, const char *file, const struct plan *plan, json_t **out,
                 struct err *err) must_check;

#endif
