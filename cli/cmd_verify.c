/* kappa verify. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>

static int verify_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_verify = {
    .name = "verify",
    .args = "PROCESSOR VERSION",
    .args_min = 2,
    .args_max = 2,
    .summary = "replay a version again and compare digests",
    .help = "Replays the version's definition from its start to its present cut into a scratch "
            "version, on other\n"
            "threads and batch sizes, and compares the digests of all tables. Exit 0 when they are "
            "equal, 4\n"
            "when not. The version goes on meanwhile.",
    .examples = "kappa verify features 2\n",
    .options = options,
    .run = verify_run,
};

static int verify_run(struct cli *cli, struct err *err)
{
    uint32_t version;
    json_t *answer;
    int rc = cli_version_arg(cli->args[1], &version, err);
    if (rc < 0) {
        return rc;
    }
    if (cli->live && !cli->json) {
        (void)fprintf(stderr, "replaying v%" PRIu32 " of %s to compare...\n", version,
                      cli->args[0]);
    }
    rc = call_post(cli, cli->args[0], version, "verify", call_body(), CLIENT_WAIT_FOR_EVER, &answer,
                   err);
    if (rc < 0) {
        return rc;
    }
    bool same = json_bool(answer, "verified", false);
    if (cli->json) {
        rc = out_json(answer, err);
    } else {
        char records[OUT_NUMBER_LEN];
        char seconds[OUT_NUMBER_LEN];
        struct buf text = {0};
        out_styled(&text, cli->colour, same ? OUT_GREEN : OUT_RED, same ? "verified" : "DIFFERENT");
        buf_printf(&text, ": v%" PRIu32 " of %s, %s records replayed in %s\n", version,
                   cli->args[0], out_count(json_int(answer, "records", 0), records),
                   out_seconds(json_object_get(answer, "seconds"), seconds));
        buf_printf(&text, "  stored    %s\n  replayed  %s\n", json_text(answer, "digest", "-"),
                   json_text(answer, "replayed_digest", "-"));
        rc = out_write(&text, err);
        buf_free(&text);
    }
    json_decref(answer);
    if (rc == 0 && !same) {
        rc = err_set(err, KE_REFUSED,
                     "v%" PRIu32 " of %s is not what its definition makes of the log", version,
                     cli->args[0]);
        err_hint(err, "do not serve from it: `kappa replay %s` builds it anew; please report this",
                 cli->args[0]);
    }
    return rc;
}
