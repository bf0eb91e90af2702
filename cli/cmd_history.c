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
    .args = "[PROCESSOR]",
    .args_min = 0,
    .args_max = 1,
    .summary = "show the receipts of swaps, newest first",
    .help = "One line for each swap and rollback of the processor; without one, the last 100 of "
            "all. `-o json`\n"
            "gives the whole receipts, with the cut and the digest of each table.",
    .examples = "kappa history features\nkappa history\nkappa history features -o json\n",
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

/* v1 > v2 */
static void swap_cell(struct out_table *table, const json_t *receipt)
{
    int64_t old = json_int(receipt, "old", 0);
    char from[24] = "none";
    if (old != 0) {
        (void)snprintf(from, sizeof from, "v%" PRId64, old);
    }
    out_table_cellf(table, "%s > v%" PRId64, from, json_int(receipt, "new", 0));
}

static void hold_cell(struct out_table *table, const json_t *receipt)
{
    out_table_cellf(table, "%.1f ms", json_number(receipt, "hold_ms", 0));
}

static void history_of_one(const struct cli *cli, const json_t *receipts, struct buf *out)
{
    static const char *const titles[] = {"EPOCH",      "TIME",       "SWAP", "WHY",
                                         "OLD DIGEST", "NEW DIGEST", "HOLD"};
    struct out_table table;
    out_table_begin(&table, array_len(titles), 1U << 0 | 1U << 6);
    out_table_titles(&table, titles);
    size_t i;
    const json_t *receipt;
    json_array_foreach (receipts, i, receipt) {
        out_table_cellf(&table, "%" PRId64, json_int(receipt, "epoch", 0));
        out_table_cellf(&table, "%.19s", json_text(receipt, "time", "-"));
        swap_cell(&table, receipt);
        out_table_cell(&table, json_text(receipt, "why", NULL));
        digest_cell(&table, receipt, "old_digest");
        digest_cell(&table, receipt, "new_digest");
        hold_cell(&table, receipt);
    }
    out_table_end(&table, cli->colour, out);
}

static void history_of_all(const struct cli *cli, const json_t *receipts, struct buf *out)
{
    static const char *const titles[] = {"TIME", "PROCESSOR", "SWAP", "WHY", "WHO", "HOLD"};
    struct out_table table;
    out_table_begin(&table, array_len(titles), 1U << 5);
    out_table_titles(&table, titles);
    size_t i;
    const json_t *receipt;
    json_array_foreach (receipts, i, receipt) {
        out_table_cellf(&table, "%.19s", json_text(receipt, "time", "-"));
        out_table_cell(&table, json_text(receipt, "processor", NULL));
        swap_cell(&table, receipt);
        out_table_cell(&table, json_text(receipt, "why", NULL));
        out_table_cell(&table, json_text(receipt, "who", NULL));
        hold_cell(&table, receipt);
    }
    out_table_end(&table, cli->colour, out);
}

static void history_text(const struct cli *cli, const json_t *answer, struct buf *out)
{
    const json_t *receipts = json_object_get(answer, "receipts");
    if (json_array_size(receipts) == 0) {
        buf_printf(out, "%s has not been swapped yet\n",
                   cli->arg_count > 0 ? cli->args[0] : "no processor");
    } else if (cli->arg_count > 0) {
        history_of_one(cli, receipts, out);
    } else {
        history_of_all(cli, receipts, out);
    }
}

static int history_run(struct cli *cli, struct err *err)
{
    struct buf path = {0};
    json_t *answer;
    if (cli->arg_count > 0) {
        buf_append_text(&path, "/v1/processors");
        client_path_add(&path, cli->args[0]);
        client_path_add(&path, "history");
    } else {
        buf_append_text(&path, "/v1/history");
    }
    int rc = call_server(cli, buf_text(&path), NULL, CLIENT_WAIT_SECONDS, &answer, err);
    buf_free(&path);
    if (rc == 0) {
        rc = call_print(cli, answer, history_text, err);
        json_decref(answer);
    }
    return rc;
}
