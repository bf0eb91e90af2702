/* kappa dead, kappa late. */
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
#define VALUE_SHOWN   73 /* bytes of a record in text: a line of 80 columns */

static int dead_run(struct cli *cli, struct err *err);
static int late_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"limit", '\0', "N", "at most so many records (default 100)"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_dead = {
    .name = "dead",
    .args = "PROCESSOR [VERSION]",
    .args_min = 1,
    .args_max = 2,
    .summary = "show the records that could not be processed",
    .help =
        "Malformed JSON, a wrong type, a missing event time: such a record is kept with its "
        "place and the\n"
        "reason, and the stream goes on. Without VERSION: those of the one that serves. With -o "
        "json:\n{\"dead\":[...]} with the whole bytes.",
    .examples = "kappa dead features\nkappa dead features 2 --limit 1000 -o json\n",
    .options = options,
    .run = dead_run,
};

const struct cmd_entry cmd_late = {
    .name = "late",
    .args = "PROCESSOR [VERSION]",
    .args_min = 1,
    .args_max = 2,
    .summary = "show the records that came too late",
    .help =
        "A record is late when the window it belongs to is closed. It is counted; it is kept, "
        "with its\n"
        "place and the window, when its table says WITH (late='late'). Without VERSION: those of "
        "the\none that serves. With -o json: {\"late\":[...]}.",
    .examples = "kappa late features\nkappa late features 2 --limit 1000 -o json\n",
    .options = options,
    .run = late_run,
};

/* What the two commands differ in. */
struct kept {
    const char *word;
    const char *none; /* what else is said when there are none */
    int (*read)(struct reader *reader, const char *processor, uint32_t version, int64_t limit,
                json_t **out, struct err *err);
};

/* The number of the version that serves. */
static int serving_remote(const struct cli *cli, uint32_t *version, struct err *err)
{
    struct buf path = {0};
    json_t *processor = NULL;
    buf_append_text(&path, "/v1/processors");
    client_path_add(&path, cli->args[0]);
    int rc = call_server(cli, buf_text(&path), NULL, CLIENT_WAIT_SECONDS, &processor, err);
    buf_free(&path);
    if (rc < 0) {
        return rc;
    }
    *version = (uint32_t)json_int(processor, "serving", 0);
    json_decref(processor);
    return *version != 0
               ? 0
               : err_set(err, KE_NOT_FOUND, "no version of %s serves yet: name one", cli->args[0]);
}

static int kept_remote(const struct cli *cli, const struct kept *kept, uint32_t version,
                       int64_t limit, json_t **out, struct err *err)
{
    struct buf path = {0};
    int rc = version == 0 ? serving_remote(cli, &version, err) : 0;
    if (rc < 0) {
        return rc;
    }
    buf_append_text(&path, "/v1/processors");
    client_path_add(&path, cli->args[0]);
    buf_printf(&path, "/versions/%" PRIu32 "/%s?limit=%" PRId64, version, kept->word, limit);
    rc = call_server(cli, buf_text(&path), NULL, CLIENT_WAIT_SECONDS, out, err);
    buf_free(&path);
    return rc;
}

static int kept_local(const struct cli *cli, const struct kept *kept, uint32_t version,
                      int64_t limit, json_t **out, struct err *err)
{
    struct reader *reader;
    json_t *records = NULL;
    int rc = place_reader(cli, &reader, err);
    if (rc < 0) {
        return rc;
    }
    rc = kept->read(reader, cli->args[0], version, limit, &records, err);
    reader_close(reader);
    if (rc == 0) {
        *out = json_pack("{s:o}", kept->word, records);
    }
    return rc;
}

/* Two lines a record: where and why, then its bytes. */
static void kept_text(const struct cli *cli, const json_t *records, struct buf *out)
{
    size_t i;
    const json_t *item;
    json_array_foreach (records, i, item) {
        char place[200];
        (void)snprintf(place, sizeof place, "%s/%" PRId64 " offset %" PRId64,
                       json_text(item, "topic", ""), json_int(item, "partition", 0),
                       json_int(item, "offset", 0));
        out_styled(out, cli->colour, OUT_BOLD, place);
        const char *table = json_text(item, "table", NULL);
        buf_printf(out, "  %s%s", table == NULL ? "" : table, table == NULL ? "" : ": ");
        const char *reason = json_text(item, "reason", "");
        out_safe(out, reason, strlen(reason));
        buf_append_text(out, "\n    ");
        const char *value = json_text(item, "value", "");
        size_t len = strlen(value);
        size_t shown = len <= VALUE_SHOWN ? len : VALUE_SHOWN;
        while (shown < len && shown > 0 && ((unsigned char)value[shown] & 0xC0) == 0x80) {
            shown--; /* not within a letter */
        }
        out_safe(out, value, shown);
        buf_printf(out, "%s%s\n", shown < len ? "..." : "",
                   json_bool(item, "base64", false) ? "  (base64)" : "");
    }
}

static int kept_run(struct cli *cli, const struct kept *kept, struct err *err)
{
    uint32_t version = 0;
    int64_t limit = 0;
    json_t *answer = NULL;
    int rc = cli->arg_count > 1 ? cli_version_arg(cli->args[1], &version, err) : 0;
    if (rc == 0) {
        rc = cli_option_int(cli, "limit", 0, 10000, LIMIT_DEFAULT, &limit, err);
    }
    if (rc == 0) {
        rc = place_server(cli) == NULL ? kept_local(cli, kept, version, limit, &answer, err)
                                       : kept_remote(cli, kept, version, limit, &answer, err);
    }
    if (rc < 0) {
        return rc;
    }
    json_t *records = json_object_get(answer, kept->word);
    if (cli->json) {
        rc = out_json(answer, err);
    } else {
        struct buf text = {0};
        kept_text(cli, records, &text);
        rc = out_write(&text, err);
        buf_free(&text);
        if (json_array_size(records) == 0) {
            (void)fprintf(stderr, "no %s records%s\n", kept->word, kept->none);
        } else if ((int64_t)json_array_size(records) == limit) {
            (void)fprintf(stderr, "the first %" PRId64 "; --limit shows more\n", limit);
        }
    }
    json_decref(answer);
    return rc;
}

static int dead_run(struct cli *cli, struct err *err)
{
    return kept_run(cli, &(struct kept){"dead", "", reader_dead}, err);
}

static int late_run(struct cli *cli, struct err *err)
{
    return kept_run(
        cli,
        &(struct kept){"late",
                       " are kept: tables keep them WITH (late='late'); kappa status counts all",
                       reader_late},
        err);
}
