/* kappa help: from the entries, for terminals, as docs/COMMANDS.md and as a page of the manual. */
#include "cli/cmd.h"
#include "cli/functions_help.h"
#include "cli/manual.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/topics.h"
#include "serve/metrics.h"

#include <stdio.h>
#include <string.h>

static int help_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"markdown", '\0', NULL, "all commands as Markdown: docs/COMMANDS.md"},
    {"man", '\0', NULL, "all commands as a page of the manual, kappa(1)"},
    {"metrics", '\0', NULL, "all metrics as Markdown: docs/METRICS.md"},
    {"functions", '\0', NULL, "all SQL functions as Markdown: docs/FUNCTIONS.md"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_help = {
    .name = "help",
    .args = "[COMMAND|TOPIC]",
    .args_max = 2,
    .summary = "show help for a command, or about a topic",
    .help = "Without an argument: the list of all. `kappa help functions` lists the functions of "
            "SQL, with\n"
            "a name it shows examples. `kappa help topics` lists what else is explained.",
    .examples = "kappa help deploy\nkappa help windows\nkappa help functions\n"
                "kappa help functions date_trunc\n",
    .options = options,
    .run = help_run,
};

static void options_text(struct buf *out, const struct cmd_option *list)
{
    struct out_table table;
    out_table_begin(&table, 2, 0);
    table.indent = 2;
    table.wrap = OUT_LINE;
    for (; list->name != NULL; list++) {
        char letter[8] = "    ";
        if (list->letter != '\0') {
            (void)snprintf(letter, sizeof letter, "-%c, ", list->letter);
        }
        out_table_cellf(&table, "%s--%s%s%s", letter, list->name, list->value == NULL ? "" : " ",
                        list->value == NULL ? "" : list->value);
        out_table_cell(&table, list->help);
    }
    out_table_end(&table, false, out);
}

static void each_line(struct buf *out, const char *text, const char *before)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        buf_append_text(out, before);
        buf_append(out, text, len);
        buf_append_u8(out, '\n');
        text += len + (text[len] == '\n');
    }
}

/* The title above this command in the list of all, or NULL. */
static const char *title_at(const char *name)
{
    static const struct {
        const char *first;
        const char *title;
    } titles[] = {
        {"init", "begin"},        {"topic create", "the log"},
        {"apply", "definitions"}, {"status", "versions"},
        {"get", "rows"},          {"dead", "records and messages set aside"},
        {"snapshot", "state"},    {"access add", "and else"},
    };

    for (size_t i = 0; i < array_len(titles); i++) {
        if (strcmp(titles[i].first, name) == 0) {
            return titles[i].title;
        }
    }
    return NULL;
}

/* From entry i up to the next title; what is behind it. */
static size_t commands_text(struct buf *out, size_t i)
{
    struct out_table table;
    out_table_begin(&table, 2, 0);
    table.indent = 2;
    table.wrap = OUT_LINE;
    do {
        const struct cmd_entry *entry = cmd_entries[i++];
        if (!entry->hidden) {
            out_table_cellf(&table, "%s %s", entry->name, entry->args);
            out_table_cell(&table, entry->summary);
        }
    } while (cmd_entries[i] != NULL && title_at(cmd_entries[i]->name) == NULL);
    out_table_end(&table, false, out);
    return i;
}

static void overview(const struct cli *cli, struct buf *out)
{
    buf_append_text(out, "kappa: tables from a log; a new version is replayed beside the old one,\n"
                         "then swapped in at one exact cut\n\n"
                         "usage: kappa COMMAND [ARGUMENTS] [OPTIONS]\n\n");
    for (size_t i = 0; cmd_entries[i] != NULL;) {
        const char *title = title_at(cmd_entries[i]->name);
        out_styled(out, cli->colour, OUT_BOLD, title != NULL ? title : "commands");
        buf_append_text(out, "\n");
        i = commands_text(out, i);
        buf_append_text(out, "\n");
    }
    out_styled(out, cli->colour, OUT_BOLD, "options of all commands");
    buf_append_text(out, "\n");
    options_text(out, options_common);
    buf_append_text(out, "\n");
    out_styled(out, cli->colour, OUT_BOLD, "a first tour");
    buf_append_text(out, "\n"
                         "  kappa up --data d &                         start the platform\n"
                         "  kappa topic create events --data d          a topic in its own log\n"
                         "  kappa produce events --key user_id --data d < events.jsonl\n"
                         "  kappa deploy features.sql --wait --data d   make a table of it\n"
                         "  kappa get user_features alice --data d      read a row\n\n");
    out_styled(out, cli->colour, OUT_BOLD, "exit codes");
    buf_append_text(out, "\n");
    each_line(out, cli_exit_codes, "  ");
    buf_append_text(out, "\n");
    out_styled(out, cli->colour, OUT_BOLD, "topics");
    buf_append_text(out, "\n");
    topics_list(out);
    buf_append_text(out, "\n`kappa help COMMAND` and `kappa help TOPIC` say more.\n");
}

static void one(const struct cli *cli, const struct cmd_entry *entry, struct buf *out)
{
    buf_printf(out, "usage: kappa %s%s%s [OPTIONS]\n\n", entry->name,
               entry->args[0] == '\0' ? "" : " ", entry->args);
    out_paragraphs(out, entry->help);
    if (entry->examples[0] != '\0') {
        buf_append_text(out, "\n");
        out_styled(out, cli->colour, OUT_BOLD, "examples");
        buf_append_text(out, "\n");
        each_line(out, entry->examples, "  ");
    }
    if (entry->options[0].name != NULL) {
        buf_append_text(out, "\n");
        out_styled(out, cli->colour, OUT_BOLD, "options");
        buf_append_text(out, "\n");
        options_text(out, entry->options);
    }
    buf_append_text(out, "\n");
    out_styled(out, cli->colour, OUT_BOLD, "options of all commands");
    buf_append_text(out, "\n");
    options_text(out, options_common);
}

static void options_markdown(struct buf *out, const struct cmd_option *list)
{
    for (; list->name != NULL; list++) {
        buf_append_text(out, "- `");
        if (list->letter != '\0') {
            buf_printf(out, "-%c`, `", list->letter);
        }
        buf_printf(out, "--%s%s%s`: %s\n", list->name, list->value == NULL ? "" : " ",
                   list->value == NULL ? "" : list->value, list->help);
    }
}

/* Paragraphs; what stays as it is becomes a block. */
static void help_markdown(struct buf *out, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        buf_append_text(out, *text == ' ' ? "    " : "");
        buf_append(out, text, len);
        buf_append_u8(out, '\n');
        text += len + (text[len] == '\n');
    }
}

static void markdown(struct buf *out)
{
    buf_append_text(out, "# Commands\n\nMade from the command table by `kappa help --markdown`.\n\n"
                         "Data goes to standard output, messages to standard error. Options may "
                         "stand anywhere; `--` ends them.\n\nExit codes: ");
    for (const char *at = cli_exit_codes; *at != '\0'; at++) {
        buf_append_u8(out, *at == '\n' ? ' ' : (uint8_t)*at);
    }
    buf_append_text(out, ". With `-o json` an error is one object on standard error: "
                         "`{\"error\":{\"code\",\"message\",\"hint\"}}`.\n\n"
                         "Options of all commands:\n\n");
    options_markdown(out, options_common);
    for (size_t i = 0; cmd_entries[i] != NULL; i++) {
        const struct cmd_entry *entry = cmd_entries[i];
        if (entry->hidden) {
            continue;
        }
        buf_printf(out, "\n## kappa %s\n\n    kappa %s%s%s\n\n", entry->name, entry->name,
                   entry->args[0] == '\0' ? "" : " ", entry->args);
        help_markdown(out, entry->help);
        if (entry->options[0].name != NULL) {
            buf_append_text(out, "\n");
            options_markdown(out, entry->options);
        }
        if (entry->examples[0] != '\0') {
            buf_append_text(out, "\nExamples:\n\n");
            each_line(out, entry->examples, "    ");
        }
    }
}

static int unknown(const struct cli *cli, struct err *err)
{
    struct suggest suggest;
    suggest_begin(&suggest, cli->args[0]);
    options_offer(&suggest);
    for (size_t i = 0; topics_name(i) != NULL; i++) {
        suggest_offer(&suggest, topics_name(i));
    }
    int rc = err_set(err, KE_INVALID, "there is no command or topic \"%s\"", cli->args[0]);
    if (suggest.best != NULL) {
        err_hint(err, "did you mean `kappa help %s`? `kappa help` lists all", suggest.best);
    } else {
        err_hint(err, "`kappa help` lists all commands and topics");
    }
    return rc;
}

/* `kappa help topic`: every command whose first word it is. */
static bool group(const struct cli *cli, struct buf *out)
{
    size_t len = strlen(cli->args[0]);
    bool any = false;
    for (size_t i = 0; cli->arg_count == 1 && cmd_entries[i] != NULL; i++) {
        const char *name = cmd_entries[i]->name;
        if (strncmp(name, cli->args[0], len) == 0 && name[len] == ' ') {
            buf_append_text(out, any ? "\n" : "");
            one(cli, cmd_entries[i], out);
            any = true;
        }
    }
    return any;
}

/* What has a page of its own: a group of commands, a command, a topic; a command and a topic may have
 * one name. */
static bool about(const struct cli *cli, struct buf *out)
{
    int words;
    if (group(cli, out)) {
        return true;
    }
    const struct cmd_entry *entry = options_find(cli->args[0], cli->args[1], &words);
    if (entry != NULL && cli->arg_count == words) {
        one(cli, entry, out);
    }
    bool both = out->len > 0;
    buf_append_text(out, both ? "\n" : "");
    if (cli->arg_count == 1 && topics_text(out, cli->args[0], cli->colour)) {
        return true;
    }
    out->len -= both ? 1 : 0;
    return both;
}

static int help_run(struct cli *cli, struct err *err)
{
    struct buf out = {0};
    int rc = 0;
    if (cli_option(cli, "markdown") != NULL) {
        markdown(&out);
    } else if (cli_option(cli, "man") != NULL) {
        manual_page(&out);
    } else if (cli_option(cli, "metrics") != NULL) {
        metrics_markdown(&out);
    } else if (cli_option(cli, "functions") != NULL) {
        functions_markdown(&out);
    } else if (cli->arg_count > 0 && strcmp(cli->args[0], "functions") == 0) {
        const char *name = cli->arg_count > 1 ? cli->args[1] : NULL;
        if (!functions_text(&out, name)) {
            rc = err_set(err, KE_INVALID, "there is no function \"%s\"", name);
            const char *nearest = functions_nearest(name);
            err_hint(err, "%s%s%s`kappa help functions` lists all",
                     nearest != NULL ? "did you mean " : "", nearest != NULL ? nearest : "",
                     nearest != NULL ? "? " : "");
        }
    } else if (cli->arg_count == 0) {
        overview(cli, &out);
    } else if (cli->arg_count == 1 && strcmp(cli->args[0], "topics") == 0) {
        topics_list(&out);
    } else if (!about(cli, &out)) {
        rc = unknown(cli, err);
    }
    if (rc == 0) {
        rc = out_write(&out, err);
    }
    buf_free(&out);
    return rc;
}
