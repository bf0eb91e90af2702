/* Reading a definition from a file. */
#ifndef KAPPA_CLI_DEFINITION_H
#define KAPPA_CLI_DEFINITION_H

#include "base/buf.h"
#include "base/err.h"

/* Appends the whole file; "-" is standard input. LIMIT when it is larger than a definition may be. */
int definition_read(const char *path, struct buf *out, struct err *err) must_check;

#endif
