/* How what a processor has sent differs from what its serving version would have sent, computed and sent in
 * the command's own process: `kappa corrections`, and --corrections of commands that swap.
 *
 *     corrections_run = corrections_look (corrections_known.c: catalog, receipt, SENT)
 *                       -> a replay up to the cut of the newest swap -> replayer/correction.h -> an answer
 *
 * Everything temporary lies in a scratch folder below DATA/exports. DATA/versions/P/CORRECTIONS is locked
 * while they are sent, and says by whom. */
#ifndef KAPPA_CLI_CORRECTIONS_H
#define KAPPA_CLI_CORRECTIONS_H

#include "base/json.h"
#include "base/limits.h"
#include "cli/cmd.h"

#define CORRECTIONS_SAMPLES 20
#define CORRECTIONS_OPTION                                                                         \
    {                                                                                              \
        "corrections", '\0', NULL, "then send what differs of what was sent (`kappa corrections`)" \
    }

/* What the catalog and SENT say. */
struct corrections_known {
    struct catalog *catalog;
    json_t *processor; /* objects of the catalog */
    json_t *version;   /* the one that serves */
    json_t *receipt;   /* of its swap */
    json_t *versions;  /* {"3": object}: all that are there */
    json_t *receipts;  /* of the processor, oldest first */
    json_t *sent;      /* SENT, when everything below the cut was; or NULL */
    char *dir;         /* DATA/versions/P */
    char *name;        /* of the sender */
    const char *none;  /* why there can be no difference, or NULL */
};

/* Everything that messages below the cut have to be sent for is, or is waited for while a server runs. */
int corrections_look(const struct cli *cli, const char *processor, struct corrections_known *known,
                     struct err *err) must_check;
/* Does the version of `known` still serve, as of the same swap? REFUSED when it does not. */
int corrections_still(const struct corrections_known *known, struct err *err) must_check;
/* The names of all topics that versions have written when they served: a new array. */
json_t *corrections_topics(const struct corrections_known *known);
void corrections_forget(struct corrections_known *known);

/* *out: {"processor","version","epoch","cut","sent" (how many now),"same","replaced","added","retracted",
 * "not_compared","samples":[...],"note"}. samples: at most so many. A server that runs is told of what was
 * sent. */
int corrections_run(const struct cli *cli, const char *processor, bool send, int64_t samples,
                    json_t **out, struct err *err) must_check;
/* Does the command line ask for --corrections? 1, 0, or REFUSED where they cannot be made from here: asked
 * before anything else is done. */
int corrections_asked(const struct cli *cli, struct err *err) must_check;
/* Another version serves now: sends the corrections, and says so, in JSON mode by adding the answer to the
 * array "corrections" of `said`. */
int corrections_follow(const struct cli *cli, const char *processor, json_t *said,
                       struct err *err) must_check;
/* The same of a receipt, which is printed, and of all processors of its group. */
int corrections_follow_receipt(const struct cli *cli, json_t *receipt, struct err *err) must_check;
/* The answer as people read it. */
void corrections_text(const struct cli *cli, const json_t *answer, struct buf *out);

#endif
