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
    {"all", '\0', NULL, "of all replays of the server together"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_limit = {
    .name = "limit",
    .args = "PROCESSOR VERSION LIMIT | --all LIMIT",
    .args_min = 1,
    .args_max = 3,
    .summary = "limit how fast a version is replayed",
    .help = "LIMIT is records per second, bytes per second (keys, values and headers), or\n"
            "both: 50000/s, 20MB/s, 50k/s,20MB/s; or none. It may have goals:\n"
            "\n"
            "- 'broker <= 100MB/s' (or broker=100MB/s): bytes per second that are read\n"
            "  from the log itself; what archives give does not count, and is read on\n"
            "  meanwhile. On the wire it may be less (compression) or, for a moment, more\n"
            "  (Kafka is read ahead by some MB).\n"
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
            "what holds the replay back and by how much it will be late, as do an event\n"
            "(late, in_time) and `kappa doctor`. Once the time has passed, it is as fast as\n"
            "the rest allows.\n"
            "\n"
            "With --all it is a limit (numbers, and 'broker <=') over all replays of the\n"
            "server together: what they read from brokers, the embedded log and archives.\n"
            "They divide it by their priority (priority=3; 1 if not said), and what one does not\n"
            "use goes to the others; so do replays with a goal of freshness what that\n"
            "allows. Those with a time to be done by take what they need first, but for a\n"
            "tenth.\n"
            "\n"
            "It counts at once, while the version reads, and stays after a restart. It is\n"
            "for versions on their way to their first swap: what serves reads as fast as it\n"
            "can, and so does a version on its way to the cut of a swap. A limit below what\n"
            "arrives never lets the version catch up.",
    .examples = "kappa limit features 2 50000/s\n"
                "kappa limit features 2 50k/s,20MB/s\n"
                "kappa limit features 2 freshness=50ms\n"
                "kappa limit features 2 '20MB/s, finish by 06:00'\n"
                "kappa limit features 2 none\n"
                "kappa limit features 2 'broker <= 50MB/s'\n"
                "kappa limit --all 100MB/s\n",
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

static void said_of_all(const struct cli *cli, const json_t *answer, struct buf *out)
{
    const json_t *limit = json_object_get(answer, "limit");
    (void)cli;
    buf_append_text(out, "all replays together ");
    if (json_is_object(limit)) {
        buf_append_text(out, "are limited to ");
        limit_text(out, limit);
    } else {
        buf_append_text(out, "have no limit");
    }
    buf_append_u8(out, '\n');
}

static int post(const struct cli *cli, uint32_t version, json_t *limit, struct err *err)
{
    bool all = cli_option(cli, "all") != NULL;
    json_t *answer = NULL;
    json_t *body = call_body();
    int rc = 0;
    (void)json_object_set_new(body, "limit", limit);
    if (all) {
        rc = call_server(cli, "/v1/limit", body, CLIENT_WAIT_SECONDS, &answer, err);
        json_decref(body);
    } else {
        rc =
            call_post(cli, cli->args[0], version, "limit", body, CLIENT_WAIT_SECONDS, &answer, err);
    }
    if (rc == 0) {
        rc = call_print(cli, answer, all ? said_of_all : said, err);
        json_decref(answer);
    }
    return rc;
}

static int limit_run(struct cli *cli, struct err *err)
{
    bool all = cli_option(cli, "all") != NULL;
    uint32_t version = 0;
    json_t *limit = NULL;
    int rc = 0;
    if (cli->arg_count != (all ? 1 : 3)) {
        rc = err_set(err, KE_INVALID, "give PROCESSOR VERSION LIMIT, or --all LIMIT");
    } else if (!all) {
        rc = cli_version_arg(cli->args[1], &version, err);
    }
    if (rc == 0) {
        rc = limit_text_parse(cli->args[cli->arg_count - 1], clock_wall_ms(clock_real()), &limit,
                              err);
    }
    return rc < 0 ? rc : post(cli, version, limit, err);
}
