/* Reading options from a file. Own header: config_file.h. */
#include "cli/config_file.h"

#include "base/file.h"
#include "base/suggest.h"
#include "cli/options.h"

#include <string.h>

#define CONFIG_LEN_MAX ((size_t)64 * 1024)

static int read_all(const char *path, struct buf *out, struct err *err)
{
    int rc = file_read(path, CONFIG_LEN_MAX, out, err);
    if (rc == 0 && (out->len > CONFIG_LEN_MAX || strlen(buf_text(out)) != out->len)) {
        rc = err_set(err, KE_INVALID, "%s is not a file of options", path);
    }
    return rc;
}

/* Without blanks at both ends; what was behind them is lost. */
static char *trimmed(char *text)
{
    text += strspn(text, " \t\r");
    for (size_t len = strlen(text); len > 0 && strchr(" \t\r", text[len - 1]) != NULL; len--) {
        text[len - 1] = '\0';
    }
    return text;
}

static const struct cmd_option *find(const struct cmd_option *options, const char *name,
                                     struct suggest *suggest)
{
    for (; options->name != NULL; options++) {
        if (options->value != NULL && strcmp(options->name, name) == 0) {
            return options;
        }
        suggest_offer(suggest, options->value == NULL ? "" : options->name);
    }
    return NULL;
}

/* One line that is not empty. */
static int take(char *line, const char *repeated, const struct cli *before, struct cli *cli,
                struct err *err)
{
    char *equals = strchr(line, '=');
    if (equals == NULL) {
        return err_set(err, KE_INVALID, "\"%s\" is not \"name = value\"", line);
    }
    *equals = '\0';
    const char *name = trimmed(line);
    const char *value = trimmed(equals + 1);
    struct suggest suggest;
    suggest_begin(&suggest, name);
    const struct cmd_option *option = find(cli->entry->options, name, &suggest);
    if (option == NULL) {
        option = find(options_common, name, &suggest);
    }
    if (option == NULL) {
        int rc = err_set(err, KE_INVALID, "there is no option \"%s\"", name);
        if (suggest.best != NULL) {
            err_hint(err, "did you mean %s?", suggest.best);
        }
        return rc;
    }
    bool adds = repeated != NULL && strcmp(name, repeated) == 0;
    if (!adds && cli_option(before, name) != NULL) {
        return 0; /* the command line wins */
    }
    if (cli->given_count == CMD_GIVEN_MAX) {
        return err_set(err, KE_LIMIT, "more than %d options", CMD_GIVEN_MAX);
    }
    cli->given[cli->given_count].option = option;
    cli->given[cli->given_count].value = value;
    cli->given_count++;
    return 0;
}

int config_file_read(const char *path, const char *repeated, struct cli *cli, char **text,
                     struct err *err)
{
    struct buf all = {0};
    struct cli before = *cli;
    int rc = read_all(path, &all, err);
    *text = xstrdup(rc == 0 ? buf_text(&all) : "");
    buf_free(&all);
    char *next = *text;
    for (int number = 1; rc == 0 && next != NULL; number++) {
        char *line = trimmed(strsep(&next, "\n"));
        if (*line != '\0' && *line != '#') {
            rc = take(line, repeated, &before, cli, err);
            if (rc < 0) {
                err_prefix(err, "%s, line %d", path, number);
            }
        }
    }
    return rc;
}
