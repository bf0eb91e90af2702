/* kappa archive ls. */
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "log/archive_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int ls_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {{NULL, '\0', NULL, NULL}};

const struct cmd_entry cmd_archive_ls = {
    .name = "archive ls",
    .args = "[TOPIC]",
    .args_max = 1,
    .summary = "show what is archived",
    .help =
        "Per partition the offsets FROM (the first from which nothing is missing) and TO (the next "
        "one to be\n"
        "archived), records, and bytes on disk. GAPS counts what is missing in front of FROM, "
        "DAMAGED files whose\n"
        "header is. Works without a server.",
    .examples = "kappa archive ls\nkappa archive ls user-events -o json\n",
    .options = options,
    .run = ls_run,
};

static void print_topic(const json_t *topic, struct out_table *table)
{
    size_t i;
    const json_t *partition;
    json_array_foreach (json_object_get(topic, "partitions"), i, partition) {
        char bytes[OUT_NUMBER_LEN];
        out_table_cellf(table, "%s/%" PRId64, json_text(topic, "name", ""),
                        json_int(partition, "partition", 0));
        out_table_cell(table, json_text(topic, "archive", ""));
        out_table_cellf(table, "%" PRId64, json_int(partition, "from", 0));
        out_table_cellf(table, "%" PRId64, json_int(partition, "to", 0));
        out_table_cellf(table, "%" PRId64, json_int(partition, "records", 0));
        out_table_cell(table, out_bytes(json_number(partition, "bytes", 0), bytes));
        out_table_cellf(table, "%zu", json_array_size(json_object_get(partition, "gaps")));
        out_table_cellf(table, "%" PRId64, json_int(partition, "damaged", 0));
    }
}

static int print(const struct cli *cli, const json_t *topics, struct err *err)
{
    static const char *const columns[] = {"PARTITION", "ARCHIVE", "FROM", "TO",
                                          "RECORDS",   "BYTES",   "GAPS", "DAMAGED"};
    struct buf text = {0};
    struct out_table table;
    out_table_begin(&table, array_len(columns), 0xfc);
    out_table_titles(&table, columns);
    size_t i;
    const json_t *topic;
    json_array_foreach (topics, i, topic) {
        print_topic(topic, &table);
    }
    out_table_end(&table, cli->colour, &text);
    json_array_foreach (topics, i, topic) {
        struct err trouble;
        if (json_to_err(topic, &trouble)) {
            buf_printf(&text, "%s: %s\n", json_text(topic, "name", ""), trouble.text);
            if (trouble.hint[0] != '\0') {
                buf_printf(&text, "  hint: %s\n", trouble.hint);
            }
        }
    }
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

static int list(const struct cli *cli, const char *dir, json_t *topics, struct err *err)
{
    json_t *names = NULL;
    int rc = place_archived(cli, dir, &names, err);
    size_t i;
    const json_t *name;
    json_array_foreach (names, i, name) {
        json_t *topic = NULL;
        rc = rc == 0 ? archive_report(dir, json_string_value(name), &topic, err) : rc;
        if (topic != NULL) {
            (void)json_array_append_new(topics, topic);
        }
    }
    json_decref(names);
    return rc;
}

static int ls_run(struct cli *cli, struct err *err)
{
    char *dir = place_archive(cli);
    json_t *topics = json_array();
    int rc = list(cli, dir, topics, err);
    if (rc == 0 && cli->json) {
        json_t *answer = json_pack("{s:O}", "topics", topics);
        rc = out_json(answer, err);
        json_decref(answer);
    } else if (rc == 0 && json_array_size(topics) == 0) {
        (void)fprintf(stderr,
                      "nothing is archived; `kappa topic set TOPIC archive=on` begins it\n");
    } else if (rc == 0) {
        rc = print(cli, topics, err);
    }
    json_decref(topics);
    free(dir);
    return rc;
}
