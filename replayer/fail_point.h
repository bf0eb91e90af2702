/* KAPPA_FAIL=STEP:COUNT kills the process at the COUNT-th time that it comes to STEP, or with
 * KAPPA_FAIL_STOPS in the environment stops it (SIGCONT lets it go on); for tests. */
#ifndef KAPPA_REPLAYER_FAIL_POINT_H
#define KAPPA_REPLAYER_FAIL_POINT_H

/* Reads the environment: once, at the start. */
void fail_point_setup(void);
/* Any thread. ctx is not looked at: for options that take such a function. Returns 0, or not at all. */
int fail_point_here(void *ctx, const char *step);

#endif
