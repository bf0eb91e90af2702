/* What deploy and replay share: the options of a new version, and what is said about it. */
#ifndef KAPPA_CLI_RELEASE_H
#define KAPPA_CLI_RELEASE_H

#include "base/json.h"
#include "cli/cmd.h"

/* clang-format off */
#define RELEASE_OPTIONS                                                                            \
    {"from", '\0', "POSITION", "beginning (default), end, @TIME, -N, -DURATION, or PARTITION:OFFSET,..."}, \
    {"in-window", '\0', NULL, "with --from @TIME: recompute windows from there on, take the others over"}, \
    {"empty-state", '\0', NULL, "with --from @TIME: begin knowing nothing of what was before"},        \
    {"swap", '\0', "WHEN", "auto: swapped in when caught up (default); manual: waits for kappa swap"}, \
    {"set", '\0', "NAME=VALUE", "a setting of the policy, such as swap.max_dead=10; may be repeated"}, \
    {"accept-gap", '\0', NULL, "it may start later than the serving version, and lack what is before"}, \
    {"outputs", '\0', "WHAT", "messages are sent from its start (all: a first version), or its swap (new)"}, \
    {"limit", '\0', "LIMIT", "read at most this, as in `kappa limit`: 50000/s, 20MB/s, or both"},     \
    {"dry-run", '\0', NULL, "only say what would be read, how long it takes, what is in the way"}, \
    {"corrections", '\0', NULL, "with --wait: then send what differs of messages (`kappa corrections`)"}, \
    {"wait", '\0', NULL, "wait until it serves, or with --swap manual until it is ready"},         \
    {"timeout", '\0', "TIME", "with --wait: give up after this long (default 10m)"},               \
    {"shards", '\0', "N", "threads and environments of the version (default: the cores)"},         \
    {"cache-bytes", '\0', "N", "memory for rows of the version's worker (default 256 MiB)"}
/* clang-format on */

/* Adds the options to the body of the call. */
int release_body(const struct cli *cli, json_t *body, struct err *err) must_check;
/* From what it begins, and why, where that was decided; a line or nothing. version: its object, or a dry
 * run's answer. */
void release_begins(const json_t *version, struct buf *out);
/* Says what was made; waits if asked; in JSON mode prints the version object, after a wait as it is
 * then. answer: what the server said. */
int release_follow(const struct cli *cli, const char *processor, const json_t *answer,
                   struct err *err) must_check;

#endif
