/* The picture of a version on its way: one line with rate, lag and time left, a bar per partition.
 * Redrawn in place on a terminal; elsewhere a line when the state changes. On stderr. */
#ifndef KAPPA_CLI_PROGRESS_H
#define KAPPA_CLI_PROGRESS_H

#include "base/json.h"
#include "cli/cmd.h"

struct progress {
    bool live;      /* redraw in place */
    uint32_t drawn; /* lines on the terminal to go over */
    char said[32];  /* the state last said, when not live */
};

void progress_begin(struct progress *progress, const struct cli *cli);
/* version: an element of "versions" of the status. */
void progress_show(struct progress *progress, const char *processor, const json_t *version);

/* The lines of the picture; for tests and for --watch. */
void progress_text(struct buf *out, const char *processor, const json_t *version, uint32_t *lines);

/* The source with the largest lag, borrowed; NULL when there is none. */
const json_t *progress_slowest(const json_t *version);

#endif
