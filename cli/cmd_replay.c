/* kappa replay. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/release.h"

static int replay_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    RELEASE_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_replay = {
    .name = "replay",
    .args = "PROCESSOR",
    .args_min = 1,
    .args_max = 1,
    .summary = "make a new version from the same definition",
    .help = "As a deploy of the definition that serves, from another start if one is given.",
    .examples = "kappa replay features --wait\nkappa replay features --dry-run --from -2h\nkappa "
                "replay features --from beginning --swap manual\n",
    .options = options,
    .run = replay_run,
};

static int replay_run(struct cli *cli, struct err *err)
{
    json_t *body = call_body();
    json_t *answer;
    int rc = release_body(cli, body, err);
    if (rc < 0) {
        json_decref(body);
        return rc;
    }
    rc = call_post(cli, cli->args[0], 0, "replay", body, CLIENT_WAIT_FOR_EVER, &answer, err);
    if (rc == 0) {
        rc = release_follow(cli, cli->args[0], answer, err);
        json_decref(answer);
    }
    return rc;
}
