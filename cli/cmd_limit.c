/* kappa limit. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/limit_text.h"
#include "cli/output.h"

#include <inttypes.h>

static int limit_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_limit = {
    .name = "limit",
    .args = "PROCESSOR VERSION LIMIT",
    .args_min = 3,
    .args_max = 3,
    .summary = "limit how fast a version is replayed",
    .help =
        "LIMIT is records per second, bytes per second (keys, values and headers), or both: "
        "50000/s, 20MB/s,\n50k/s,20MB/s; or none. It may be a goal: freshness=50ms (or 'freshness "
        "p99 <= 50 ms') is as fast as\nkeeps the records of what serves readable within 50 ms, 99 "
        "commits of 100, measured each second; several replays with\na goal divide by their "
        "priority (priority=3; 1 if not said). There is no goal of when to be done.\nIt counts at "
        "once, while the version reads, and "
        "stays after a restart. It is for\nversions on their way to their first swap: what serves "
        "reads as fast as it can, and so does a version\non its way to the cut of a swap. A limit "
        "below what arrives never lets the version catch up.\n`kappa status` shows the limit.",
    .examples = "kappa limit features 2 50000/s\nkappa limit features 2 freshness=50ms\nkappa "
                "limit features 2 50k/s,20MB/s\nkappa limit "
                "features 2 none\n",
    .options = options,
    .run = limit_run,
};

static void said(const struct cli *cli, const json_t *answer, struct buf *out)
{
    const json_t *limit = json_object_get(answer, "limit");
    buf_printf(out, "v%" PRId64 " of %s ", json_int(answer, "version", 0), cli->args[0]);
    if (json_is_object(limit)) {
        buf_append_text(out, "is limited to ");
        limit_text(out, limit);
    } else {
        buf_append_text(out, "reads as fast as it can");
    }
    buf_append_u8(out, '\n');
}

static int limit_run(struct cli *cli, struct err *err)
{
    uint32_t version = 0;
    json_t *limit = NULL;
    json_t *answer = NULL;
    int rc = cli_version_arg(cli->args[1], &version, err);
    if (rc == 0) {
        rc = limit_text_parse(cli->args[2], &limit, err);
    }
    if (rc < 0) {
        return rc;
    }
    json_t *body = call_body();
    (void)json_object_set_new(body, "limit", limit);
    rc = call_post(cli, cli->args[0], version, "limit", body, CLIENT_WAIT_SECONDS, &answer, err);
    if (rc == 0) {
        rc = call_print(cli, answer, said, err);
        json_decref(answer);
    }
    return rc;
}
