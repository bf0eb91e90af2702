/* kappa outbox. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "serve/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_DEFAULT 100

static int outbox_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"shadow", '\0', NULL,
     "what a candidate would have sent; without VERSION: the newest on its way to serve"},
    {"limit", '\0', "N", "at most so many messages (default 100)"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_outbox = {
    .name = "outbox",
    .args = "PROCESSOR [VERSION]",
    .args_min = 1,
    .args_max = 2,
    .summary = "show the messages for topics that are not sent",
    .help = "Of the serving version: what waits to be sent. Of another one: what it made and does "
            "not send,\n"
            "the newest 1,000 for each partition: a candidate shows what it would have sent. Each "
            "with the\n"
            "record that caused it. With -o json: {\"messages\":[...]}.",
    .examples = "kappa outbox fraud\nkappa outbox fraud --shadow\nkappa outbox fraud 3 --shadow "
                "--limit 1000 -o json\n",
    .options = options,
    .run = outbox_run,
};

static int outbox_remote(const struct cli *cli, uint32_t version, int64_t limit, json_t **out,
                         struct err *err)
{
    struct buf path = {0};
    buf_append_text(&path, "/v1/processors");
    client_path_add(&path, cli->args[0]);
    buf_printf(&path, "/outbox?limit=%" PRId64, limit);
    if (version == READER_CANDIDATE) {
        buf_append_text(&path, "&version=" READER_CANDIDATE_WORD);
    } else if (version != 0) {
        buf_printf(&path, "&version=%" PRIu32, version);
    }
    int rc = call_server(cli, buf_text(&path), NULL, CLIENT_WAIT_SECONDS, out, err);
    buf_free(&path);
    return rc;
}

static int outbox_local(const struct cli *cli, uint32_t version, int64_t limit, json_t **out,
                        struct err *err)
{
    struct reader *reader;
    json_t *messages = NULL;
    int rc = place_reader(cli, &reader, err);
    if (rc < 0) {
        return rc;
    }
    rc = reader_outbox(reader, cli->args[0], version, limit, &messages, err);
    reader_close(reader);
    if (rc == 0) {
        *out = json_pack("{s:o}", "messages", messages);
    }
    return rc;
}

static void value_cell(struct out_table *table, const json_t *value)
{
    if (value == NULL || json_is_null(value) || json_is_string(value)) {
        out_table_cell(table, json_string_value(value));
        return;
    }
    char *text = json_print(value);
    out_table_cell(table, text);
    free(text);
}

static void outbox_text(const struct cli *cli, const json_t *messages, struct buf *out)
{
    static const char *const titles[] = {"RECORD", "TO", "KEY", "VALUE"};
    struct out_table table;
    out_table_begin(&table, array_len(titles), 0);
    out_table_titles(&table, titles);
    size_t i;
    const json_t *message;
    json_array_foreach (messages, i, message) {
        out_table_cellf(&table, "%s/%" PRId64 " offset %" PRId64, json_text(message, "topic", ""),
                        json_int(message, "partition", 0), json_int(message, "offset", 0));
        out_table_cell(&table, json_text(message, "to", ""));
        value_cell(&table, json_object_get(message, "key"));
        value_cell(&table, json_object_get(message, "value"));
    }
    out_table_end(&table, cli->colour, out);
}

static int outbox_run(struct cli *cli, struct err *err)
{
    uint32_t version = 0;
    int64_t limit = 0;
    json_t *answer = NULL;
    int rc = 0;
    if (cli->arg_count > 1) {
        rc = cli_version_arg(cli->args[1], &version, err);
    } else if (cli_option(cli, "shadow") != NULL) {
        version = READER_CANDIDATE;
    }
    if (rc == 0) {
        rc = cli_option_int(cli, "limit", 0, 10000, LIMIT_DEFAULT, &limit, err);
    }
    if (rc == 0) {
        rc = place_server(cli) == NULL ? outbox_local(cli, version, limit, &answer, err)
                                       : outbox_remote(cli, version, limit, &answer, err);
    }
    if (rc < 0) {
        return rc;
    }
    const json_t *messages = json_object_get(answer, "messages");
    if (cli->json) {
        rc = out_json(answer, err);
    } else if (json_array_size(messages) == 0) {
        (void)fprintf(stderr, "no messages\n");
    } else {
        struct buf text = {0};
        outbox_text(cli, messages, &text);
        rc = out_write(&text, err);
        buf_free(&text);
        if ((int64_t)json_array_size(messages) == limit) {
            (void)fprintf(stderr, "the first %" PRId64 "; --limit shows more\n", limit);
        }
    }
    json_decref(answer);
    return rc;
}
