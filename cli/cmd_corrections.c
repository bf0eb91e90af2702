/* kappa corrections. */
#include "cli/call.h"
#include "cli/cmd.h"
#include "cli/corrections.h"
#include "cli/place.h"

static int corrections_command(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"send", '\0', NULL, "send the difference; without it, it is only shown"},
    {"limit", '\0', "N", "show at most so many of them (default 20)"},
    {"shards", '\0', "N", "threads of the replay (default: one per core, at most 8)"},
    {"cache", '\0', "BYTES", "memory for rows of a replay (default 256MiB)"},
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_corrections = {
    .name = "corrections",
    .args = "PROCESSOR",
    .args_min = 1,
    .args_max = 1,
    .summary = "how sent messages differ from those of the serving version; send the difference",
    .help =
        "At a swap the messages of records below its cut stay those of the version before. This "
        "replays the serving version from its start to that cut, reads what the topics hold, and "
        "says which messages are other ones (replaced), missing (added), or should not be there "
        "(retracted). With --send they are sent: the message as it should be, or its key with a "
        "null value, under the name of the message that it corrects (header kappa-out) and with "
        "the header kappa-correction: the epoch of the swap and the kind, as in \"7 replaced\".\n"
        "\n"
        "The topics say what was sent, so a run that was killed is finished by running it again, "
        "and a second run sends nothing. Refused where the topics do not tell: one is compacted, "
        "has lost its beginning, or was made again; and where messages of the version before are "
        "still being sent. Runs where the data directory is. `kappa swap --corrections` does it "
        "behind a swap, for all processors of a group that changed over; deploy and replay for the "
        "processor they are asked for.",
    .examples = "kappa corrections alerts\n"
                "kappa corrections alerts --limit 1000 -o json\n"
                "kappa corrections alerts --send\n",
    .options = options,
    .run = corrections_command,
};

static int corrections_command(struct cli *cli, struct err *err)
{
    int64_t limit = 0;
    json_t *answer = NULL;
    int rc = cli_option_int(cli, "limit", 0, 100000, CORRECTIONS_SAMPLES, &limit, err);
    if (rc == 0) {
        rc = corrections_run(cli, cli->args[0], cli_option(cli, "send") != NULL, limit, &answer,
                             err);
    }
    if (rc == 0) {
        rc = call_print(cli, answer, corrections_text, err);
    }
    json_decref(answer);
    return rc;
}
