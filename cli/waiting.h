/* Waiting until a version has got somewhere: `kappa wait`, `deploy --wait`, `replay --wait`. */
#ifndef KAPPA_CLI_WAITING_H
#define KAPPA_CLI_WAITING_H

#include "base/json.h"
#include "cli/cmd.h"

enum wait_goal {
    WAIT_CAUGHT_UP, /* ready, serving or standby */
    WAIT_SERVING
};

#define WAIT_TIMEOUT_US INT64_C(600000000)

/* "caught-up" or "serving". */
int wait_goal_parse(const char *text, enum wait_goal *out, struct err *err) must_check;

/* What a look at the version says about the wait: 1 the goal is reached, 0 not yet, negative: it
 * will never be, with the reason. Pure. */
int wait_judge(const char *processor, const json_t *version, enum wait_goal goal,
               struct err *err) must_check;

/* Polls until the goal is reached; shows progress on stderr. *out: the version object then; may be
 * NULL. TIMEOUT with the partition that is furthest behind; the version's own error when it
 * failed; NOT_FOUND. A server that is away for a moment is waited for. */
int wait_until(const struct cli *cli, const char *processor, uint32_t version, enum wait_goal goal,
               int64_t timeout_us, json_t **out, struct err *err) must_check;

#endif
