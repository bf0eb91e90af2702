/* kappa deploy. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/definition.h"
#include "cli/place.h"
#include "cli/plugin_copy.h"
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

/* "dir/features.sql" -> "features". */
static char *stem(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(base, '.');
    return xstrndup(base, dot == NULL || dot == base ? strlen(base) : (size_t)(dot - base));
}

/* What the definition names, beside it: plugins go to the server's data directory, texts into the
 * body. One that does not compile has nothing: the server says what is wrong, unless it is a file. */
static int body_beside(const struct cli *cli, const struct buf *sql, json_t *body, struct err *err)
{
    struct definition definition;
    json_t *plugins = NULL;
    struct err unsaid = {0};
    int rc = definition_compile(cli->args[0], sql, &definition, &unsaid);
    if (rc == 0) {
        rc = plugins_copy(cli, cli->args[0], definition.plan, &plugins, err);
    } else if (definition.file_is_wrong) {
        *err = unsaid;
    } else {
        rc = 0;
    }
    if (rc == 0 && plugins != NULL) {
        (void)json_object_set_new(body, "plugins", plugins);
    }
    if (rc == 0 && json_object_size(definition.files) > 0) {
        (void)json_object_set(body, "files", definition.files);
    }
    definition_free(&definition);
    return rc;
}

static int body_make(const struct cli *cli, const char *name, const struct buf *sql, json_t **out,
                     struct err *err)
{
    json_t *text = json_stringn(buf_text(sql), sql->len);
    if (text == NULL) {
        return err_set(err, KE_SQL, "%s is not UTF-8 text", cli->args[0]);
    }
    json_t *body = call_body();
    (void)json_object_set_new(body, "name", json_string(name));
    (void)json_object_set_new(body, "file", json_string(cli->args[0]));
    (void)json_object_set_new(body, "sql", text);
    int rc = body_beside(cli, sql, body, err);
    if (rc == 0) {
        rc = release_body(cli, body, err);
    }
    if (rc < 0) {
        json_decref(body);
        return rc;
    }
    *out = body;
    return 0;
}

static int deploy_text(const struct cli *cli, const char *name, const struct buf *sql,
                       struct err *err)
{
    json_t *body = NULL;
    struct client *client;
    int rc = body_make(cli, name, sql, &body, err);
    if (rc < 0) {
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
        char *name = given != NULL ? xstrdup(given) : stem(cli->args[0]);
        rc = deploy_text(cli, name, &sql, err);
        free(name);
    }
    buf_free(&sql);
    return rc;
}
