/* The page of the manual, kappa(1), made from the commands and the topics of the help. */
#ifndef KAPPA_CLI_MANUAL_H
#define KAPPA_CLI_MANUAL_H

#include "base/buf.h"

extern const char cli_exit_codes[];

void manual_page(struct buf *out);

#endif
