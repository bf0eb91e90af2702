/* kappa deploy. */
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/definition.h"
#include "cli/definition_body.h"
#include "cli/place.h"
#include "cli/release.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int deploy_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"name", '\0', "PROCESSOR", "the processor (default: the file's name without .sql)"},
    RELEASE_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_deploy = {
    .name = "deploy",
    .args = "FILE.sql",
    .args_min = 1,
    .args_max = 1,
    .summary = "make a new version from a definition",
    .help = "The definition is checked, then the log is replayed into tables of its own beside the "
            "version that\n"
            "serves, which is not touched. When the new version has caught up it is swapped in at "
            "one exact\n"
            "cut. The same definition again makes nothing new, and says so. \"-\" reads standard "
            "input.",
    .examples = "kappa deploy features.sql --wait\n"
                "kappa deploy features.sql --dry-run\n"
                "kappa deploy features.sql --from @2026-01-01T00:00:00Z --swap manual\n"
                "kappa deploy v2.sql --name features --wait --timeout 1h\n",
    .options = options,
    .run = deploy_run,
};

static int deploy_text(const struct cli *cli, const char *name, const struct buf *sql,
                       struct err *err)
{
    json_t *body = NULL;
    struct client *client;
    int rc = definition_body(cli, cli->args[0], name, sql, &body, err);
    if (rc == 0) {
        rc = release_body(cli, body, err);
    }
    if (rc < 0) {
        json_decref(body);
        return rc;
    }
    rc = place_client(cli, &client, err);
    if (rc == 0) {
        json_t *answer;
        rc = client_call(client, "/v1/processors", body, CLIENT_WAIT_FOR_EVER, &answer, err);
        client_close(client);
        if (rc == 0) {
            rc = release_follow(cli, name, answer, err);
            json_decref(answer);
        }
    }
    json_decref(body);
    return rc;
}

static int deploy_run(struct cli *cli, struct err *err)
{
    struct buf sql = {0};
    const char *given = cli_option(cli, "name");
    if (given == NULL && strcmp(cli->args[0], "-") == 0) {
        return err_set(err, KE_INVALID, "a definition from standard input needs --name");
    }
    int rc = definition_read(cli->args[0], &sql, err);
    if (rc == 0) {
        char *name = given != NULL ? xstrdup(given) : definition_name(cli->args[0]);
        rc = deploy_text(cli, name, &sql, err);
        free(name);
    }
    buf_free(&sql);
    return rc;
}
