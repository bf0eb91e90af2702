/* kappa events. */
#include "base/clock.h"
#include "base/suggest.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_SECONDS 25 /* of one question, with --follow */
#define AWAY_US_MAX  INT64_C(60000000)
#define EVENTS_MAX   1000
#define EVENTS_FEW   100

static int events_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"follow", 'f', NULL, "go on with what happens from now on"},
    {"limit", 'n', "N",
     "look at the newest N to begin with (default 100, with --type all; at most 1000 are kept)"},
    {"type", '\0', "TYPE,...", "only these types"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_events = {
    .name = "events",
    .args = "[PROCESSOR]",
    .args_max = 1,
    .summary = "show what has happened: states, swaps, refusals, failures",
    .help =
        "The server keeps the newest 1000 in memory, since it started. Types are the states of a "
        "version (planned,\n"
        "replaying, catching_up, ready, serving, standby, retired, paused, failed, aborted), and "
        "swapped (with the\n"
        "receipt), swap_failed, refused (by its policy), policy and canary (another one), limit "
        "(of its replay),\n"
        "late and in_time (it will not be, or will be, done by the time that its limit names),\n"
        "lagging and caught_up, blocked and unblocked (of a version that serves; by a transaction "
        "open "
        "for a\n"
        "minute), worker_ended, dropped, over_budget (of the disk), snapshot, snapshot_failed, "
        "corrected, started. With -o "
        "json a line "
        "each. `kappa up\n"
        "--hook` runs a command for each.",
    .examples = "kappa events features\n"
                "kappa events --follow --type ready,swapped,refused,failed -o json\n",
    .options = options,
    .run = events_run,
};

/* Each of them must be a type. */
static int types_check(const char *list, struct err *err)
{
    while (list != NULL && *list != '\0') {
        size_t len = strcspn(list, ",");
        char *type = xstrndup(list, len);
        struct suggest suggest;
        bool known = false;
        suggest_begin(&suggest, type);
#define X(word)                                                                                    \
    suggest_offer(&suggest, #word);                                                                \
    known |= strcmp(type, #word) == 0;
#include "controller/journal.def"
#undef X
        int rc =
            known ? 0
                  : err_set(err, KE_INVALID, "--type %s: there are no events of this type", type);
        if (rc != 0 && suggest.best != NULL) {
            err_hint(err, "did you mean %s?", suggest.best);
        } else if (rc != 0) {
            err_hint(err, "`kappa help events` lists the types");
        }
        free(type);
        if (rc != 0) {
            return rc;
        }
        list += len + (list[len] == ',');
    }
    return 0;
}

static void event_text(const struct cli *cli, const json_t *event, struct buf *out)
{
    const char *type = json_text(event, "type", "");
    const char *message = json_text(event, "message", "");
    buf_printf(out, "%.19sZ  ", json_text(event, "time", ""));
    size_t begin = out->len;
    out_styled(out, cli->colour, out_state_style(type), type);
    for (size_t width = strlen(type); width < 14 && out->len > begin; width++) {
        buf_append_u8(out, ' ');
    }
    out_safe(out, message, strlen(message));
    buf_append_u8(out, '\n');
}

static int show(const struct cli *cli, const json_t *answer, struct err *err)
{
    const char *types = cli_option(cli, "type");
    struct buf out = {0};
    size_t i;
    const json_t *event;
    json_array_foreach (json_object_get(answer, "events"), i, event) {
        if (types != NULL && !list_has(types, json_text(event, "type", ""))) {
            continue;
        }
        if (cli->json) {
            json_write(&out, event);
            buf_append_u8(&out, '\n');
        } else {
            event_text(cli, event, &out);
        }
    }
    int rc = out_write(&out, err);
    buf_free(&out);
    return rc;
}

/* after < 0: the newest ones. */
static int ask(const struct cli *cli, int64_t after, int64_t limit, int wait, json_t **out,
               struct err *err)
{
    struct buf path = {0};
    buf_printf(&path, "/v1/events?limit=%" PRId64 "&wait=%d", limit, wait);
    if (after >= 0) {
        buf_printf(&path, "&after=%" PRId64, after);
    }
    client_query_add(&path, "processor", cli->args[0]);
    int rc = call_server(cli, buf_text(&path), NULL, WAIT_SECONDS + CLIENT_WAIT_SECONDS, out, err);
    buf_free(&path);
    return rc;
}

/* A server that is away for a moment is waited for. */
static int follow(const struct cli *cli, int64_t after, struct err *err)
{
    int64_t seen_us = clock_mono_us(clock_real());
    for (;;) {
        json_t *answer = NULL;
        int rc = ask(cli, after, EVENTS_MAX, WAIT_SECONDS, &answer, err);
        int64_t now_us = clock_mono_us(clock_real());
        if (rc == 0) {
            seen_us = now_us;
            after = json_int(answer, "next", after);
            rc = show(cli, answer, err);
        } else if ((rc == -KE_UNREACHABLE || rc == -KE_CLOSED) && now_us - seen_us < AWAY_US_MAX) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 200000000L}, NULL);
            rc = 0;
        }
        json_decref(answer);
        if (rc != 0) {
            return rc;
        }
    }
}

static int events_run(struct cli *cli, struct err *err)
{
    int64_t limit = 0;
    json_t *answer = NULL;
    const char *types = cli_option(cli, "type");
    int rc = types_check(types, err);
    if (rc == 0) {
        rc = cli_option_int(cli, "limit", 0, EVENTS_MAX, types == NULL ? EVENTS_FEW : EVENTS_MAX,
                            &limit, err);
    }
    if (rc == 0) {
        rc = ask(cli, -1, limit, 0, &answer, err);
    }
    if (rc == 0) {
        rc = show(cli, answer, err);
    }
    int64_t next = json_int(answer, "next", 0);
    json_decref(answer);
    return rc == 0 && cli_option(cli, "follow") != NULL ? follow(cli, next, err) : rc;
}
