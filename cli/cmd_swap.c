/* kappa swap. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/corrections.h"

static int swap_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"force", '\0', NULL, "although its policy says no; takes --reason"},
    {"reason", '\0', "TEXT", "why: it is written into the receipt"},
    {"accept-gap", '\0', NULL, "although it started later in the log than the serving version"},
    {"alone", '\0', NULL, "without the other processors of its group (SET swap.in_group)"},
    CORRECTIONS_OPTION,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_swap = {
    .name = "swap",
    .args = "PROCESSOR [VERSION]",
    .args_min = 1,
    .args_max = 2,
    .summary = "make a version the serving one, at one exact cut",
    .help =
        "Both versions are brought to the same offsets, then all tables of the processor "
        "change over in one\n"
        "transaction. Without a version: the newest that is ready. Prints the receipt. Refused "
        "(exit 4)\n"
        "when the version is not ready, or its policy (SET swap.NAME in the definition, --set) "
        "says no;\n"
        "nothing has changed then. What the policy asks for is checked now, which may take as "
        "long as a\n"
        "comparison of all rows. --force overrules the policy, and nothing else. Processors that "
        "name one\n"
        "group (SET swap.in_group = 'shop') change over with it, in the same transaction, each at "
        "its own cut:\n"
        "all that is said above is asked of each of them.",
    .examples = "kappa swap features\nkappa swap features 2\n"
                "kappa swap alerts 2 --corrections\n"
                "kappa swap features 2 --force --reason 'the drift is the fix'\n",
    .options = options,
    .run = swap_run,
};

static int words_set(const struct cli *cli, json_t *body, struct err *err)
{
    const char *reason = cli_option(cli, "reason");
    bool force = cli_option(cli, "force") != NULL;
    if (force && (reason == NULL || reason[0] == '\0')) {
        return err_set(err, KE_INVALID,
                       "--force needs --reason TEXT: it is written into the receipt");
    }
    json_t *text = reason != NULL ? json_string(reason) : NULL;
    if (reason != NULL && text == NULL) {
        return err_set(err, KE_INVALID, "the reason is not UTF-8");
    }
    if (text != NULL) {
        (void)json_object_set_new(body, "reason", text);
    }
    if (force) {
        (void)json_object_set_new(body, "force", json_true());
    }
    if (cli_option(cli, "accept-gap") != NULL) {
        (void)json_object_set_new(body, "accept_gap", json_true());
    }
    call_alone(cli, body);
    return 0;
}

static int swap_run(struct cli *cli, struct err *err)
{
    json_t *receipt;
    int correct = corrections_asked(cli, err);
    if (correct < 0) {
        return correct;
    }
    json_t *body = call_body();
    if (cli->arg_count == 2) {
        uint32_t version;
        int rc = cli_version_arg(cli->args[1], &version, err);
        if (rc < 0) {
            json_decref(body);
            return rc;
        }
        (void)json_object_set_new(body, "version", json_integer(version));
    }
    int rc = words_set(cli, body, err);
    if (rc < 0) {
        json_decref(body);
        return rc;
    }
    rc = call_post(cli, cli->args[0], 0, "swap", body, CLIENT_WAIT_FOR_EVER, &receipt, err);
    if (rc == 0) {
        rc = correct == 1 ? corrections_follow_receipt(cli, receipt, err)
                          : call_print_receipt(cli, receipt, err);
        json_decref(receipt);
    }
    return rc;
}
