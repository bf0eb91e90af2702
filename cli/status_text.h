/* The status as people read it, within 80 columns. */
#ifndef KAPPA_CLI_STATUS_TEXT_H
#define KAPPA_CLI_STATUS_TEXT_H

#include "base/json.h"
#include "cli/output.h"

struct status_view {
    bool colour;
    bool whole;           /* every partition, else only while they are few */
    bool watched;         /* it is shown again and again: bars of versions on their way */
    const json_t *before; /* a status of some time ago, or NULL */
};

/* status: {"processors":[...]}. */
void status_text(struct buf *out, const json_t *status, const struct status_view *view);

#endif
