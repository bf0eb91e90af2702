/* kappa history. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>

#define DIGEST_SHOWN 12 /* hexadecimal digits */

static int history_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_history = {
    .name = "history",
    .args = "PROCESSOR",
    .args_min = 1,
    .args_max = 1,
    .summary = "show the receipts of all swaps, newest first",
    .help = "One line for each swap and rollback; `-o json` gives the whole receipts, with the cut "
            "and the\n"
            "digest of each table.",
    .examples = "kappa history features\nkappa history features -o json\n",
    .options = options,
    .run = history_run,
};

/* The first digits of a digest. */
static void digest_cell(struct out_table *table, const json_t *receipt, const char *name)
{
    const char *digest = json_text(receipt, name, NULL);
    if (digest == NULL) {
        out_table_cell(table, NULL);
    } else {
        out_table_cellf(table, "%.*s", DIGEST_SHOWN, digest);
    }
}

static void history_text(const struct cli *cli, const json_t *receipts, struct buf *out)
{
    static const char *const titles[] = {"EPOCH",      "TIME",       "SWAP", "WHY",
                                         "OLD DIGEST", "NEW DIGEST", "HOLD"};
    struct out_table table;
    out_table_begin(&table, array_len(titles), 1U << 0 | 1U << 6);
    out_table_titles(&table, titles);
    size_t i;
    const json_t *receipt;
    json_array_foreach (receipts, i, receipt) {
        int64_t old = json_int(receipt, "old", 0);
        char from[24] = "none";
        if (old != 0) {
            (void)snprintf(from, sizeof from, "v%" PRId64, old);
        }
        out_table_cellf(&table, "%" PRId64, json_int(receipt, "epoch", 0));
        out_table_cellf(&table, "%.19s", json_text(receipt, "time", "-"));
        out_table_cellf(&table, "%s > v%" PRId64, from, json_int(receipt, "new", 0));
        out_table_cell(&table, json_text(receipt, "why", NULL));
        digest_cell(&table, receipt, "old_digest");
        digest_cell(&table, receipt, "new_digest");
        out_table_cellf(&table, "%.1f ms", json_number(receipt, "hold_ms", 0));
    }
    out_table_end(&table, cli->colour, out);
}

static int history_run(struct cli *cli, struct err *err)
{
    struct buf path = {0};
    struct buf text = {0};
    json_t *answer;
    buf_append_text(&path, "/v1/processors");
    client_path_add(&path, cli->args[0]);
    client_path_add(&path, "history");
    int rc = call_server(cli, buf_text(&path), NULL, CLIENT_WAIT_SECONDS, &answer, err);
    buf_free(&path);
    if (rc < 0) {
        return rc;
    }
    json_t *receipts = json_object_get(answer, "receipts");
    if (cli->json) {
        rc = out_json(answer, err);
    } else if (json_array_size(receipts) == 0) {
        buf_printf(&text, "%s has not been swapped yet\n", cli->args[0]);
        rc = out_write(&text, err);
    } else {
        history_text(cli, receipts, &text);
        rc = out_write(&text, err);
    }
    json_decref(answer);
    buf_free(&text);
    return rc;
}
