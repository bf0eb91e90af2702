/* The reference of SQL functions, made from processor/functions.def: `kappa help functions` and
 * docs/FUNCTIONS.md. */
#ifndef KAPPA_CLI_FUNCTIONS_HELP_H
#define KAPPA_CLI_FUNCTIONS_HELP_H

#include "base/buf.h"

/* All of them as Markdown. */
void functions_markdown(struct buf *out);
/* For a terminal: all, or those of one name. False if there is none of it. */
bool functions_text(struct buf *out, const char *name);
/* The name nearest to one that there is not, or NULL. */
const char *functions_nearest(const char *name);

#endif
