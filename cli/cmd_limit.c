/* kappa limit. */
#include "base/clock.h"
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
    .help = "LIMIT is records per second, bytes per second (keys, values and headers), or\n"
            "both: 50000/s, 20MB/s, 50k/s,20MB/s; or none. It may have goals:\n"
            "\n"
            "- freshness=50ms (or 'freshness p99 <= 50 ms'): as fast as keeps the records of\n"
            "  what serves readable within 50 ms, 99 commits of 100, measured each second.\n"
            "- 'finish by 06:00' (the next one of the clock here; or a time as\n"
            "  2026-01-31T06:00:00Z), 'finish in 2h': no faster than it takes to be caught\n"
            "  up by then, with a tenth of the time in hand (3 s to 10 min), so that the\n"
            "  rest is left to others. Checks before a swap (swap.verify, limits of\n"
            "  differences) come after that.\n"
            "\n"
            "The least of all that is said counts: a number comes before a goal, and the\n"
            "freshness of what serves before being done in time; `kappa status` then says\n"
            "what holds the replay back and by how much it will be late. Once the time has\n"
            "passed, it is as fast as the rest allows. Several replays with a goal of\n"
            "freshness divide by their priority (priority=3; 1 if not said); those with a\n"
            "time to be done by come before the others.\n"
            "\n"
            "It counts at once, while the version reads, and stays after a restart. It is\n"
            "for versions on their way to their first swap: what serves reads as fast as it\n"
            "can, and so does a version on its way to the cut of a swap. A limit below what\n"
            "arrives never lets the version catch up.",
    .examples = "kappa limit features 2 50000/s\n"
                "kappa limit features 2 50k/s,20MB/s\n"
                "kappa limit features 2 freshness=50ms\n"
                "kappa limit features 2 '20MB/s, finish by 06:00'\n"
                "kappa limit features 2 none\n",
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
        rc = limit_text_parse(cli->args[2], clock_wall_ms(clock_real()), &limit, err);
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
