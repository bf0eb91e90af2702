/* The CPU priority of this process: lower while it replays, as before when it is about to serve.
 *
 * Raising a nice value is for everybody; lowering it again needs a right (CAP_SYS_NICE, or RLIMIT_NICE).
 * So it is found out first whether there is a way back. Values belong to threads: all are set. */
#ifndef KAPPA_REPLAYER_PRIORITY_H
#define KAPPA_REPLAYER_PRIORITY_H

#include "base/err.h"

#define PRIORITY_NICE_MAX 19

/* REFUSED when a nice value that was raised could not be lowered again. Leaves all as it is. */
int priority_check(struct err *err) must_check;
/* Adds to the nice value of all threads, and so of those they start; negative: takes away. */
void priority_add(int nice);

#endif
