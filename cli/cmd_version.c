/* kappa version. */
#include "cli/cmd.h"
#include "cli/output.h"
#include "include/kappa/version.h"

static int version_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_version = {
    .name = "version",
    .args = "",
    .summary = "show the release",
    .help = "Shows the release of this binary.",
    .examples = "",
    .options = options,
    .run = version_run,
};

static int version_run(struct cli *cli, struct err *err)
{
    if (cli->json) {
        json_t *object = json_pack("{s:s}", "version", KAPPA_VERSION);
        int rc = out_json(object, err);
        json_decref(object);
        return rc;
    }
    struct buf text = {0};
    buf_append_text(&text, "kappa " KAPPA_VERSION "\n");
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}
