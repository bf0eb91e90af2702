/* The status as people read it, within 80 columns. */
#ifndef KAPPA_CLI_STATUS_TEXT_H
#define KAPPA_CLI_STATUS_TEXT_H

#include "base/json.h"
#include "cli/output.h"

/* status: {"processors":[...]}. whole: every partition, else only while they are few. */
void status_text(struct buf *out, const json_t *status, bool colour, bool whole);

#endif
