/* What may stand next on a command line, for shells. */
#ifndef KAPPA_CLI_COMPLETION_H
#define KAPPA_CLI_COMPLETION_H

#include "base/buf.h"

/* Appends, a line each, what the last of the words may become; the words are those behind `kappa`,
 * the last one is being typed and may be "". Names of processors, versions, tables and topics are
 * asked of the server that the line means; when it does not answer at once, there are none. Nothing
 * is appended where a file stands. */
void completion_candidates(char *const *words, int count, struct buf *out);

/* The script that makes a shell ask; NULL for a shell that is not known. */
const char *completion_script(const char *shell);

#endif
