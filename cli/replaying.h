/* A version that a command replays in its own process, from its start to a cut.
 *
 *     replaying_open -> the caller sets the cut of each source -> replaying_run -> replaying_close
 *
 * Options of the command that are looked at, if it has them: --shards, --cache. */
#ifndef KAPPA_CLI_REPLAYING_H
#define KAPPA_CLI_REPLAYING_H

#include "base/json.h"
#include "cli/cmd.h"
#include "replayer/tap_replay.h"

struct replaying {
    const struct cli *cli;
    const char *processor;
    uint32_t version;
    const json_t *object; /* of the catalog */
    /* Filled: */
    struct shard_source *list; /* the partitions as the version numbers them */
    uint32_t count;
    int64_t *cut; /* per source: zeros */
};

int replaying_open(struct replaying *replaying, struct err *err) must_check;
/* `replay` comes with plan, log, group, dir, stop, and what is to be kept; the rest is filled. dir is made.
 * Shows progress on stderr. */
int replaying_run(const struct replaying *replaying, struct tap_replay *replay, struct tap **tap,
                  struct tap_done *done, struct err *err) must_check;
/* Also after a failure. */
void replaying_close(struct replaying *replaying);
/* CORRUPT: what the catalog says of the version cannot be. */
int replaying_wrong(const struct replaying *replaying, struct err *err) must_check;

#endif
