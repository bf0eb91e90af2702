/* kappa rollback. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/corrections.h"

static int rollback_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"alone", '\0', NULL, "without the processors that changed over with it"},
    CORRECTIONS_OPTION,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_rollback = {
    .name = "rollback",
    .args = "PROCESSOR",
    .args_min = 1,
    .args_max = 1,
    .summary = "swap back to the version that served before",
    .help =
        "The version on standby has gone on consuming, so this is the same exact swap "
        "backwards: nothing is\n"
        "lost or replayed. The version that is rolled back stays on standby, and is not "
        "swapped in again\n"
        "until somebody asks with `kappa swap`. Prints the receipt. Processors that changed over "
        "with it as a\n"
        "group go back with it; refused when one of them has changed since.",
    .examples = "kappa rollback features\n",
    .options = options,
    .run = rollback_run,
};

static int rollback_run(struct cli *cli, struct err *err)
{
    json_t *receipt;
    int correct = corrections_asked(cli, err);
    if (correct < 0) {
        return correct;
    }
    json_t *body = call_body();
    call_alone(cli, body);
    int rc = call_post(cli, cli->args[0], 0, "rollback", body, CLIENT_WAIT_FOR_EVER, &receipt, err);
    if (rc == 0) {
        rc = correct == 1 ? corrections_follow_receipt(cli, receipt, err)
                          : call_print_receipt(cli, receipt, err);
        json_decref(receipt);
    }
    return rc;
}
