/* kappa archive ls. */
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "log/archive_topic.h"

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

/* {"partition","from","to","records","bytes","raw_bytes","segments","damaged","gaps":[{"from","to",
 * "lost"}]} */
static int partition_object(const char *dir, const char *topic, uint32_t partition, json_t **out,
                            struct err *err)
{
    struct archive_view view;
    int64_t from = -1;
    int64_t to = -1;
    int64_t records = 0;
    int64_t bytes = 0;
    int64_t raw = 0;
    int rc = archive_view_load(dir, topic, partition, &view, err);
    if (rc != 0) {
        return rc;
    }
    json_t *gaps = json_array();
    for (uint32_t i = 0; i < view.count; i++) {
        int64_t low = -1;
        int64_t high = -1;
        bool lost = false;
        records += view.spans[i].records;
        bytes += view.spans[i].size;
        raw += view.spans[i].raw_bytes;
        if (archive_view_gap(&view, i, &low, &high, &lost)) {
            (void)json_array_append_new(gaps, json_pack("{s:I,s:I,s:b}", "from", (json_int_t)low,
                                                        "to", (json_int_t)high, "lost", (int)lost));
        }
    }
    if (!archive_view_tail(&view, &from, &to)) {
        from = view.first;
        to = view.first;
    }
    *out = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "partition", (json_int_t)partition,
                     "from", (json_int_t)from, "to", (json_int_t)to, "records", (json_int_t)records,
                     "bytes", (json_int_t)bytes, "raw_bytes", (json_int_t)raw, "segments",
                     (json_int_t)view.count, "damaged", (json_int_t)view.damaged, "gaps", gaps);
    archive_view_free(&view);
    return 0;
}

static int topic_object(const char *dir, const char *topic, json_t **out, struct err *err)
{
    struct archive_topic settings;
    json_t *partitions = json_array();
    int rc = archive_topic_load(dir, topic, &settings, err);
    for (uint32_t i = 0; rc == 0 && i < settings.partitions; i++) {
        json_t *partition = NULL;
        rc = partition_object(dir, topic, i, &partition, err);
        if (rc == 0) {
            (void)json_array_append_new(partitions, partition);
        }
    }
    if (rc != 0) {
        json_decref(partitions);
        return rc;
    }
    json_t *state = archive_topic_state(dir, topic);
    json_t *error = json_object_get(state, "error");
    *out = json_pack("{s:s,s:s,s:I,s:I,s:O,s:o}", "name", topic, "archive",
                     settings.on ? "on" : "off", "retain_ms", (json_int_t)settings.retain.ms,
                     "retain_bytes", (json_int_t)settings.retain.bytes, "error",
                     settings.on && error != NULL ? error : json_null(), "partitions", partitions);
    json_decref(state);
    return 0;
}

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
        rc = rc == 0 ? topic_object(dir, json_string_value(name), &topic, err) : rc;
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
