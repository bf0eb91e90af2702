/* kappa drop. */
#include "cli/call.h"
#include "cli/cmd.h"

static int drop_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_drop = {
    .name = "drop",
    .args = "PROCESSOR VERSION",
    .args_min = 2,
    .args_max = 2,
    .summary = "remove a version and its files",
    .help = "Removes a version that does not serve: its worker is stopped, its files are deleted, "
            "it disappears\nfrom the status. Its receipts stay in the history.",
    .examples = "kappa drop features 1\n",
    .options = options,
    .run = drop_run,
};

static int drop_run(struct cli *cli, struct err *err)
{
    return call_version_command(cli, "drop", "dropped", err);
}
