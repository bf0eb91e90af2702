/* kappa explain. */
#include "cli/cmd.h"
#include "cli/definition.h"
#include "cli/output.h"
#include "processor/explain.h"

#include <string.h>
#include <unistd.h>

#define TEXT_COLUMN 13 /* where the text of an item begins */

static int explain_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_explain = {
    .name = "explain",
    .args = "FILE.sql",
    .args_min = 1,
    .args_max = 1,
    .summary = "check a definition and say what it will do",
    .help = "Inputs and the columns that are read, windows, operators, keys and the state kept for "
            "each, what is\n"
            "merged when reading, when rows go, and why a replay gives the same. Needs no server. "
            "\"-\" reads\n"
            "standard input.",
    .examples = "kappa explain features.sql\n",
    .options = options,
    .run = explain_run,
};

/* On a terminal long lines go on below their text: "  word       text". */
static void explain_wrapped(struct buf *out, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        size_t column = *text == ' ' && len > TEXT_COLUMN ? TEXT_COLUMN : 0;
        if (len > OUT_LINE) {
            buf_append(out, text, column);
            out_wrapped(out, text + column, len - column, column, OUT_LINE, &column);
        } else {
            buf_append(out, text, len);
        }
        buf_append_u8(out, '\n');
        text += len + (text[len] == '\n');
    }
}

static int explain_run(struct cli *cli, struct err *err)
{
    struct buf sql = {0};
    struct buf text = {0};
    struct definition definition = {.plan = NULL};
    int rc = definition_read(cli->args[0], &sql, err);
    if (rc == 0) {
        rc = definition_compile(cli->args[0], &sql, &definition, err);
    }
    if (rc == 0) {
        plan_explain(definition.plan, &text);
        if (cli->json) {
            json_t *answer = json_pack("{s:s}", "explain", buf_text(&text));
            rc = out_json(answer, err);
            json_decref(answer);
        } else {
            struct buf shown = {0};
            if (isatty(STDOUT_FILENO) == 1) {
                explain_wrapped(&shown, buf_text(&text));
            } else {
                buf_append(&shown, text.data, text.len);
            }
            rc = out_write(&shown, err);
            buf_free(&shown);
        }
    }
    definition_free(&definition);
    buf_free(&sql);
    buf_free(&text);
    return rc;
}
