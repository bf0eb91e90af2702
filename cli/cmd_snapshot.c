/* kappa snapshot. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"

#include <inttypes.h>

static int snapshot_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"name", '\0', "NAME", "keep it under this name until it is dropped by hand"},
    {"drop", '\0', "SNAPSHOT", "instead: remove the one with this id or name"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_snapshot = {
    .name = "snapshot",
    .args = "PROCESSOR [VERSION]",
    .args_min = 1,
    .args_max = 2,
    .summary = "copy a version's state as it is now, to begin from later",
    .help =
        "Copies the files of a version (by default of the one that serves) by a process of the "
        "lowest\n"
        "priority; the version goes on meanwhile. A later `kappa replay P --from @TIME` or deploy "
        "begins with\n"
        "the last snapshot at or before that time whose state is the same, and gives what a replay "
        "of all would.\n"
        "Those without a name go by themselves, oldest first: SET snapshot.keep = 3 and "
        "snapshot.max_bytes =\n"
        "'20 GB' say how many stay; SET snapshot.every = '10 min' makes them by itself.",
    .examples = "kappa snapshot features\nkappa snapshot features --name before-release\n"
                "kappa snapshot features --drop before-release\n",
    .options = options,
    .run = snapshot_run,
};

static void print_made(const struct cli *cli, const json_t *answer, struct buf *out)
{
    (void)cli;
    char size[OUT_NUMBER_LEN];
    bool dropped = json_bool(answer, "dropped", false);
    buf_printf(out, "snapshot %s of v%" PRId64, json_text(answer, "id", "?"),
               json_int(answer, "version", 0));
    const char *name = json_text(answer, "name", NULL);
    if (name != NULL) {
        buf_printf(out, " (%s)", name);
    }
    buf_printf(out, " is %s, %s\n", dropped ? "removed" : "made",
               out_bytes(json_number(answer, "bytes", 0), size));
}

static int snapshot_run(struct cli *cli, struct err *err)
{
    const char *drop = cli_option(cli, "drop");
    const char *name = cli_option(cli, "name");
    uint32_t version = 0;
    json_t *answer = NULL;
    int rc = cli->arg_count == 2 ? cli_version_arg(cli->args[1], &version, err) : 0;
    if (rc == 0 && drop != NULL && (name != NULL || version != 0)) {
        rc = err_set(err, KE_INVALID, "--drop names the snapshot: nothing else goes with it");
    }
    if (rc != 0) {
        return rc;
    }
    json_t *body = call_body();
    if (drop != NULL) {
        (void)json_object_set_new(body, "snapshot", json_string(drop));
    }
    if (name != NULL) {
        (void)json_object_set_new(body, "name", json_string(name));
    }
    if (version != 0) {
        (void)json_object_set_new(body, "version", json_integer(version));
    }
    rc = call_post(cli, cli->args[0], 0, drop != NULL ? "drop-snapshot" : "snapshots", body,
                   CLIENT_WAIT_FOR_EVER, &answer, err);
    if (rc == 0) {
        rc = call_print(cli, answer, print_made, err);
        json_decref(answer);
    }
    return rc;
}
