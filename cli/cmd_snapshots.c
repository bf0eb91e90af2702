/* kappa snapshots. */
#include "base/timefmt.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"

#include <inttypes.h>

#define STATE_SHOWN 12 /* hexadecimal digits */

static int snapshots_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_snapshots = {
    .name = "snapshots",
    .args = "PROCESSOR",
    .args_min = 1,
    .args_max = 1,
    .summary = "list the snapshots of a processor, oldest first",
    .help =
        "UP TO is the largest record time that the snapshot holds; RECORDS those it was made of. "
        "Snapshots with\n"
        "one STATE can stand in for one another: a definition with that state begins with any of "
        "them. `-o json`\n"
        "has the cut and the digest of each partition.",
    .examples = "kappa snapshots features\nkappa snapshots features -o json\n",
    .options = options,
    .run = snapshots_run,
};

static void time_cell(struct out_table *table, int64_t ms)
{
    char text[TIME_TEXT_LEN];
    time_format(ms * 1000, text);
    out_table_cellf(table, "%.19s", text);
}

static void row(struct out_table *table, const json_t *snapshot)
{
    char size[OUT_NUMBER_LEN];
    char records[OUT_NUMBER_LEN];
    int64_t count = 0;
    int64_t newest = INT64_MIN;
    size_t i;
    const json_t *source;
    json_array_foreach (json_object_get(snapshot, "sources"), i, source) {
        int64_t time = json_int(source, "record_time_ms", INT64_MIN);
        count += json_int(source, "records", 0);
        newest = time > newest ? time : newest;
    }
    out_table_cell(table, json_text(snapshot, "id", "?"));
    out_table_cell(table, json_text(snapshot, "name", NULL));
    time_cell(table, json_int(snapshot, "made_ms", 0));
    if (newest == INT64_MIN) {
        out_table_cell(table, NULL);
    } else {
        time_cell(table, newest);
    }
    out_table_cell(table, out_count(count, records));
    out_table_cell(table, out_bytes(json_number(snapshot, "bytes", 0), size));
    out_table_cellf(table, "%.*s", STATE_SHOWN, json_text(snapshot, "state", "-"));
}

static void print_list(const struct cli *cli, const json_t *answer, struct buf *out)
{
    static const char *const titles[] = {"SNAPSHOT", "NAME", "MADE", "UP TO",
                                         "RECORDS",  "SIZE", "STATE"};
    const json_t *list = json_object_get(answer, "snapshots");
    struct out_table table;
    if (json_array_size(list) == 0) {
        buf_printf(out, "%s has no snapshots\n", json_text(answer, "processor", "it"));
        return;
    }
    out_table_begin(&table, array_len(titles), 1U << 4 | 1U << 5);
    out_table_titles(&table, titles);
    size_t i;
    const json_t *snapshot;
    json_array_foreach (list, i, snapshot) {
        row(&table, snapshot);
    }
    out_table_end(&table, cli->colour, out);
}

static int snapshots_run(struct cli *cli, struct err *err)
{
    struct buf path = {0};
    json_t *answer = NULL;
    buf_append_text(&path, "/v1/processors");
    client_path_add(&path, cli->args[0]);
    client_path_add(&path, "snapshots");
    int rc = call_server(cli, buf_text(&path), NULL, CLIENT_WAIT_SECONDS, &answer, err);
    buf_free(&path);
    if (rc == 0) {
        rc = call_print(cli, answer, print_list, err);
        json_decref(answer);
    }
    return rc;
}
