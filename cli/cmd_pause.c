/* kappa pause. */
#include "cli/call.h"
#include "cli/cmd.h"

static int pause_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_pause = {
    .name = "pause",
    .args = "PROCESSOR VERSION",
    .args_min = 2,
    .args_max = 2,
    .summary = "stop a version from consuming",
    .help = "The version stays where it is until it is resumed; reads of it go on. A serving "
            "version is refused.",
    .examples = "kappa pause features 2\n",
    .options = options,
    .run = pause_run,
};

static int pause_run(struct cli *cli, struct err *err)
{
    return call_version_command(cli, "pause", "paused", err);
}
