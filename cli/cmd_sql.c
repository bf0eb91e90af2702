/* kappa sql. */
#include "cli/sql_shell.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int sql_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"command", 'c', "SQL", "run these statements and leave; may be repeated"},
    {"file", 'f', "FILE", "run the statements of a file (- is the standard input)"},
    {"version", '\0', "N",
     "tables that are named plainly are those of version N, or of the `candidate`"},
    {"timeout", '\0', "TIME", "end a statement after this long (a server: at most 10m)"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_sql = {
    .name = "sql",
    .args = "[SQL]",
    .args_min = 0,
    .args_max = 1,
    .summary = "ask the tables of all processors: joins, ranks, aggregates",
    .help =
        "SELECT by SQLite over all tables that are served, and views of definitions. All tables of "
        "a\n"
        "processor are read at one moment, from one version; \"table@3\" and \"table@candidate\" "
        "name a version. On a "
        "terminal: an\n"
        "editor with history; \\? shows its commands. -o table (default), csv, json or ndjson. "
        "Reads "
        "the data\n"
        "directory without a server, unless --server is given.\n"
        "\n"
        "Times are text of one width, 2026-01-31T12:00:00.000000Z: texts compare as times do. In "
        "what\n"
        "SQLite lacks, spellings of PostgreSQL are understood: x::type, t + interval '1 hour', "
        "ILIKE,\n"
        "extract(), date_trunc(), percentile_cont() WITHIN GROUP. Numerics are exact where they "
        "are\n"
        "selected, compared, sorted, grouped, summed and rounded; + - * / and avg see doubles\n"
        "(docs/CONCEPTS.md). Only SELECT is allowed.",
    .examples = "kappa sql -c \"SELECT * FROM user_features WHERE user_id = 'alice'\"\n"
                "kappa sql 'SELECT k, rank() OVER (ORDER BY clicks DESC) FROM totals LIMIT 10'\n"
                "kappa sql -o csv -f report.sql > report.csv\n"
                "kappa sql 'SELECT k, a.n, b.n FROM \"t@1\" a JOIN \"t@2\" b USING (k)'\n",
    .options = options,
    .formats = "table,csv,ndjson",
    .run = sql_run,
};

static bool *stop_flag;

static void interrupted(int number)
{
    (void)number;
    __atomic_store_n(stop_flag, true, __ATOMIC_RELAXED);
}

/* All of a file. */
static int read_all(const char *path, struct buf *out, struct err *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (file == NULL) {
        return err_errno(err, errno, "cannot read %s", path);
    }
    char block[16384];
    size_t len;
    while ((len = fread(block, 1, sizeof block, file)) > 0) {
        buf_append(out, block, len);
    }
    int rc = ferror(file) != 0 ? err_errno(err, errno, "cannot read %s", path) : 0;
    if (!standard) {
        (void)fclose(file);
    }
    return rc;
}

static int run_file(struct sql_console *console, const char *path, struct err *err)
{
    struct buf text = {0};
    int rc = read_all(path, &text, err);
    if (rc == 0) {
        rc = sql_console_script(console, buf_text(&text), text.len, err);
    }
    buf_free(&text);
    return rc;
}

static int run_given(const struct cli *cli, struct sql_console *console, struct err *err)
{
    const char *text;
    const char *file = cli_option(cli, "file");
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && (text = cli_option_at(cli, "command", i)) != NULL; i++) {
        rc = sql_console_script(console, text, strlen(text), err);
    }
    if (rc == 0 && cli->arg_count > 0) {
        rc = sql_console_script(console, cli->args[0], strlen(cli->args[0]), err);
    }
    if (rc == 0 && file != NULL) {
        rc = run_file(console, file, err);
    }
    return rc;
}

static int sql_run(struct cli *cli, struct err *err)
{
    struct sql_console console;
    bool given =
        cli_option(cli, "command") != NULL || cli_option(cli, "file") != NULL || cli->arg_count > 0;
    int rc = sql_console_open(cli, &console, err);
    if (rc < 0) {
        return rc;
    }
    bool person = !given && isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
    console.stamps = person || (cli->live && isatty(STDOUT_FILENO) == 1);
    if (person) {
        rc = sql_shell(&console, err);
    } else {
        struct sigaction action = {.sa_handler = interrupted, .sa_flags = (int)SA_RESETHAND};
        stop_flag = &console.session.stop;
        (void)sigemptyset(&action.sa_mask);
        (void)sigaction(SIGINT, &action, NULL);
        rc = given ? run_given(cli, &console, err) : run_file(&console, "-", err);
    }
    sql_console_close(&console);
    return rc;
}
