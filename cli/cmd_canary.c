/* kappa canary. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int canary_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"version", '\0', "N", "of this version; without it, the newest that is ready"},
    {"shadow", '\0', NULL, "only compare: the serving version answers"},
    {"force", '\0', NULL, "with off: at once, without bringing both versions to one cut"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_canary = {
    .name = "canary",
    .args = "PROCESSOR SHARE%|off",
    .args_min = 2,
    .args_max = 2,
    .summary = "read a share of the keys from a candidate",
    .help = "Reads of one row by its key go to the candidate for that share of the keys: GET of "
            "one row, "
            "`kappa\n"
            "get`, commands of Redis on one row outside of MULTI, scopes of libkappa for a key. "
            "The hash "
            "of the\n"
            "key's first column says which, the same in every reader; a larger share keeps the "
            "keys of a "
            "smaller\n"
            "one. What reads several rows (scans, SQL, lists of keys, MULTI) reads the serving "
            "version, so "
            "that\n"
            "nothing mixes two. Both versions are held at one cut while it changes, as in a swap, "
            "so no "
            "read of a\n"
            "key goes back. For each such read the row of the serving version is read too and "
            "compared:\n"
            "kappa_canary_reads_total of /metrics. --shadow does that and nothing else. A swap "
            "ends it, and "
            "so does\n"
            "what stops the candidate.",
    .examples = "kappa deploy features.sql --swap manual\n"
                "kappa canary features 5% --shadow\n"
                "kappa canary features 10%\n"
                "kappa canary features off\n",
    .options = options,
    .run = canary_run,
};

/* "10%", "0.5%", "off". */
static int share_read(const char *text, double *share, struct err *err)
{
    char *end = NULL;
    *share = 0;
    if (strcmp(text, "off") == 0) {
        return 0;
    }
    size_t len = strspn(text, "0123456789.");
    if (len > 0 && len <= 6 && strcmp(text + len, "%") == 0) {
        *share = strtod(text, &end);
        if (end == text + len && *share <= 100) {
            return 0;
        }
    }
    int rc = err_set(err, KE_INVALID, "\"%s\" is no share of the keys", text);
    err_hint(err, "write 10%% or 0.5%%, or off");
    return rc;
}

static void canary_text(const struct cli *cli, const json_t *answer, struct buf *out)
{
    const json_t *canary = json_object_get(answer, "canary");
    (void)cli;
    if (!json_is_object(canary)) {
        buf_printf(out, "%s has no canary: the serving version answers for all keys\n",
                   json_text(answer, "processor", ""));
        return;
    }
    buf_printf(out, "%g %% of the keys of %s are %s v%" PRId64 " (held %.1f ms)\n",
               json_number(canary, "share", 0), json_text(answer, "processor", ""),
               json_bool(canary, "shadow", false) ? "compared with" : "read from",
               json_int(canary, "version", 0), json_number(answer, "hold_ms", 0));
}

static int canary_run(struct cli *cli, struct err *err)
{
    double share = 0;
    int64_t version = 0;
    json_t *answer = NULL;
    int rc = share_read(cli->args[1], &share, err);
    if (rc == 0) {
        rc = cli_option_int(cli, "version", 1, INT32_MAX, 0, &version, err);
    }
    if (rc < 0) {
        return rc;
    }
    json_t *body = call_body();
    (void)json_object_set_new(body, "share", json_real(share));
    (void)json_object_set_new(body, "shadow", json_boolean(cli_option(cli, "shadow") != NULL));
    (void)json_object_set_new(body, "force", json_boolean(cli_option(cli, "force") != NULL));
    if (version != 0) {
        (void)json_object_set_new(body, "version", json_integer(version));
    }
    rc = call_post(cli, cli->args[0], 0, "canary", body, CLIENT_WAIT_FOR_EVER, &answer, err);
    if (rc == 0) {
        rc = call_print(cli, answer, canary_text, err);
        json_decref(answer);
    }
    return rc;
}
