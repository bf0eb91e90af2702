/* Folders for what is thrown away, also when the process dies: a sweep removes those whose owner is gone.
 *
 *     PARENT/LOCK        flock while a folder is made or others are swept
 *     PARENT/PID-N/LOCK  flock as long as its owner lives
 *
 *     scratch_open -> files below scratch_dir -> scratch_close */
#ifndef KAPPA_BASE_SCRATCH_H
#define KAPPA_BASE_SCRATCH_H

#include "base/err.h"

struct scratch;

/* Makes the parent (its own parent is there), sweeps it, makes a folder. */
int scratch_open(const char *parent, struct scratch **out, struct err *err) must_check;
const char *scratch_dir(const struct scratch *scratch);
/* Removes the folder with all that is in it. NULL is fine. */
void scratch_close(struct scratch *scratch);
/* Removes what dead owners left. A parent that is not there is fine. */
void scratch_sweep(const char *parent);

#endif
