/* kappa swap. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"

static int swap_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_swap = {
    .name = "swap",
    .args = "PROCESSOR [VERSION]",
    .args_min = 1,
    .args_max = 2,
    .summary = "make a version the serving one, at one exact cut",
    .help = "Both versions are brought to the same offsets, then all tables of the processor "
            "change over in one\n"
            "transaction. Without a version: the newest that is ready. Prints the receipt. Refused "
            "(exit 4)\n"
            "when the version is not ready; nothing has changed then.",
    .examples = "kappa swap features\nkappa swap features 2\n",
    .options = options,
    .run = swap_run,
};

static int swap_run(struct cli *cli, struct err *err)
{
    json_t *body = call_body();
    json_t *receipt;
    if (cli->arg_count == 2) {
        uint32_t version;
        int rc = cli_version_arg(cli->args[1], &version, err);
        if (rc < 0) {
            json_decref(body);
            return rc;
        }
        (void)json_object_set_new(body, "version", json_integer(version));
    }
    int rc = call_post(cli, cli->args[0], 0, "swap", body, CLIENT_WAIT_FOR_EVER, &receipt, err);
    if (rc == 0) {
        rc = call_print_receipt(cli, receipt, err);
        json_decref(receipt);
    }
    return rc;
}
