/* kappa wait. */
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/waiting.h"

static int wait_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"for", '\0', "GOAL", "caught-up (ready, serving or standby) or serving (default)"},
    {"timeout", '\0', "TIME", "give up after this long (default 10m)"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_wait = {
    .name = "wait",
    .args = "PROCESSOR VERSION",
    .args_min = 2,
    .args_max = 2,
    .summary = "wait until a version has caught up or serves",
    .help = "Exit 0 when the goal is reached, 7 when the time is over (the message names the "
            "partition that is\n"
            "furthest behind), 1 or 4 with the reason when the version has failed.",
    .examples = "kappa wait features 2 --for caught-up --timeout 5m\n",
    .options = options,
    .run = wait_run,
};

static int wait_run(struct cli *cli, struct err *err)
{
    uint32_t version = 0;
    int64_t timeout_us = 0;
    enum wait_goal goal = WAIT_SERVING;
    const char *wanted = cli_option(cli, "for");
    int rc = cli_version_arg(cli->args[1], &version, err);
    if (rc == 0 && wanted != NULL) {
        rc = wait_goal_parse(wanted, &goal, err);
    }
    if (rc == 0) {
        rc = cli_option_duration(cli, "timeout", WAIT_TIMEOUT_US, &timeout_us, err);
    }
    if (rc < 0) {
        return rc;
    }
    json_t *object;
    rc = wait_until(cli, cli->args[0], version, goal, timeout_us, &object, err);
    if (rc < 0) {
        return rc;
    }
    if (cli->json) {
        rc = out_json(object, err);
    }
    json_decref(object);
    return rc;
}
