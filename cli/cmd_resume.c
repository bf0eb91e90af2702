/* kappa resume. */
#include "cli/call.h"
#include "cli/cmd.h"

static int resume_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_resume = {
    .name = "resume",
    .args = "PROCESSOR VERSION",
    .args_min = 2,
    .args_max = 2,
    .summary = "let a paused version go on",
    .help = "The version goes back to the state in which it was paused. A serving version whose "
            "worker gave up is\ntried again.",
    .examples = "kappa resume features 2\n",
    .options = options,
    .run = resume_run,
};

static int resume_run(struct cli *cli, struct err *err)
{
    return call_version_command(cli, "resume", "going on", err);
}
