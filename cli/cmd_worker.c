/* kappa worker: what kappa up starts for each version. Not for people. */
#include "cli/cmd.h"
#include "replayer/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int worker_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_worker = {
    .name = "worker",
    .args = "",
    .summary = "consume for one version; started by kappa up",
    .help = "Speaks the worker protocol of docs/ARCHITECTURE.md on its standard input and output.",
    .examples = "",
    .options = options,
    .run = worker_run,
    .hidden = true,
};

static int worker_run(struct cli *cli, struct err *err)
{
    (void)cli;
    (void)err;
    int code = worker_main(STDIN_FILENO, STDOUT_FILENO);
    exit(code); /* not an error to print: the events have said it */
}
