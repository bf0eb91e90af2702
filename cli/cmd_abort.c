/* kappa abort. */
#include "cli/call.h"
#include "cli/cmd.h"

static int abort_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_abort = {
    .name = "abort",
    .args = "PROCESSOR VERSION",
    .args_min = 2,
    .args_max = 2,
    .summary = "give up a version that has not served yet",
    .help = "Ends a version on its way (replaying, catching up, ready, paused) and removes its "
            "files. It can be\ndropped from the list afterwards. A version that serves or stands "
            "by is refused.",
    .examples = "kappa abort features 3\n",
    .options = options,
    .run = abort_run,
};

static int abort_run(struct cli *cli, struct err *err)
{
    return call_version_command(cli, "abort", "aborted", err);
}
