/* kappa gc. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"

#include <inttypes.h>
#include <string.h>

static int gc_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"dry-run", '\0', NULL, "only say what would go"},
    {"older-than", '\0', "TIME", "that have been over for this long (default 1h)"},
    {"keep", '\0', "N", "the newest N retired versions of each processor stay (default 1)"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_gc = {
    .name = "gc",
    .args = "[PROCESSOR]",
    .args_max = 1,
    .summary = "remove versions that are over, with their files",
    .help =
        "Versions that are retired, aborted or failed go when they have been so for "
        "--older-than; the newest --keep\n"
        "retired ones stay, and so does one whose messages are not all sent. Plugins that no "
        "version names go too.\n"
        "What serves, stands by, is paused or on its way is never touched. Receipts stay in "
        "the history.\n"
        "With a disk budget (kappa up --disk-budget), here and by itself: while all versions and "
        "snapshots\n"
        "take more, snapshots without a name go, the oldest first, then versions that are over, "
        "whatever their\n"
        "age: aborted ones, then failed ones, then retired ones, of each the oldest first. When "
        "that is not\n"
        "enough, the event over_budget says so, and nothing stops.",
    .examples = "kappa gc --dry-run\nkappa gc features --keep 0 --older-than 0s\n",
    .options = options,
    .run = gc_run,
};

static void rows(const struct cli *cli, const json_t *answer, struct buf *out)
{
    static const char *const titles[] = {"PROCESSOR", "VERSION", "STATE", "SINCE", "SIZE", ""};
    static const char *const lists[] = {"versions", "kept"};
    bool dry = json_bool(answer, "dry_run", false);
    struct out_table table;
    out_table_begin(&table, array_len(titles), 1U << 4);
    for (size_t i = 0; i < array_len(titles); i++) {
        out_table_cell(&table, titles[i]);
    }
    for (size_t l = 0; l < array_len(lists); l++) {
        const json_t *item;
        size_t i;
        json_array_foreach (json_object_get(answer, lists[l]), i, item) {
            char size[OUT_NUMBER_LEN];
            const json_t *bytes = json_object_get(item, "bytes");
            out_table_cell(&table, json_text(item, "processor", ""));
            out_table_cellf(&table, "v%" PRId64, json_int(item, "version", 0));
            out_table_cell(&table, json_text(item, "state", ""));
            out_table_cellf(&table, "%.19s", json_text(item, "since", ""));
            out_table_cell(&table,
                           bytes == NULL ? NULL : out_bytes(json_number_value(bytes), size));
            if (l == 0) {
                out_table_cellf(&table, "%s: %s", dry ? "would go" : "is removed",
                                json_text(item, "why", ""));
            } else {
                out_table_cellf(&table, "stays: %s", json_text(item, "why", ""));
            }
        }
    }
    out_table_end(&table, cli->colour, out);
}

static int print(const struct cli *cli, const json_t *answer, struct err *err)
{
    if (cli->json) {
        return out_json(answer, err);
    }
    struct buf text = {0};
    char size[OUT_NUMBER_LEN];
    size_t versions = json_array_size(json_object_get(answer, "versions"));
    size_t plugins = json_array_size(json_object_get(answer, "plugins"));
    if (versions + json_array_size(json_object_get(answer, "kept")) > 0) {
        rows(cli, answer, &text);
    }
    const json_t *item;
    size_t i;
    json_array_foreach (json_object_get(answer, "snapshots"), i, item) {
        buf_printf(&text, "snapshot %s of %s %s: %s\n", json_text(item, "snapshot", ""),
                   json_text(item, "processor", ""),
                   json_bool(answer, "dry_run", false) ? "would go" : "is removed",
                   json_text(item, "why", ""));
    }
    if (versions + plugins + i == 0) {
        buf_append_text(&text, "nothing to remove\n");
    } else {
        buf_printf(&text, "%s: %zu versions, %zu plugins, %s\n",
                   json_bool(answer, "dry_run", false) ? "would be removed" : "removed", versions,
                   plugins, out_bytes(json_number(answer, "bytes", 0), size));
    }
    const json_t *snapshots = json_object_get(answer, "snapshots_used");
    if (json_int(snapshots, "count", 0) > 0) {
        buf_printf(&text, "%" PRId64 " %s %s (counted in the disk budget)\n",
                   json_int(snapshots, "count", 0),
                   json_int(snapshots, "count", 0) == 1 ? "snapshot takes" : "snapshots take",
                   out_bytes(json_number(snapshots, "bytes", 0), size));
    }
    const json_t *budget = json_object_get(answer, "budget");
    double left = json_number(answer, "left", 0);
    if (json_is_integer(budget)) {
        bool over = left > json_number_value(budget);
        buf_printf(&text, "versions and snapshots take %s",
                   out_bytes(json_number(answer, "used", 0), size));
        buf_printf(&text, ", %s when that is gone", out_bytes(left, size));
        buf_printf(&text, "; the disk budget is %s%s\n", out_bytes(json_number_value(budget), size),
                   over ? ": nothing more may go" : "");
    }
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

static int body_make(const struct cli *cli, json_t *body, struct err *err)
{
    int64_t older_us = -1;
    int64_t keep = -1;
    int rc = cli_option_duration(cli, "older-than", -1, &older_us, err);
    if (rc == 0) {
        rc = cli_option_int(cli, "keep", 0, INT32_MAX, -1, &keep, err);
    }
    if (older_us >= 0) {
        (void)json_object_set_new(body, "older_than_ms", json_integer(older_us / 1000));
    }
    if (keep >= 0) {
        (void)json_object_set_new(body, "keep", json_integer(keep));
    }
    if (cli_option(cli, "dry-run") != NULL) {
        (void)json_object_set_new(body, "dry_run", json_true());
    }
    if (cli->arg_count == 1) {
        (void)json_object_set_new(body, "processor", json_string(cli->args[0]));
    }
    return rc;
}

static int gc_run(struct cli *cli, struct err *err)
{
    json_t *body = call_body();
    json_t *answer = NULL;
    int rc = body_make(cli, body, err);
    if (rc == 0) {
        rc = call_server(cli, "/v1/gc", body, CLIENT_WAIT_FOR_EVER, &answer, err);
    }
    if (rc == 0) {
        rc = print(cli, answer, err);
        json_decref(answer);
    }
    json_decref(body);
    return rc;
}
