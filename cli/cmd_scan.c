/* kappa scan. */
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/place.h"
#include "cli/row_choice.h"
#include "cli/rows.h"
#include "serve/query.h"
#include "serve/row_range.h"

#include <stdio.h>

static int scan_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    ROW_CHOICE_OPTIONS,
    {"limit", '\0', "N", "at most so many rows"},
    {"version", '\0', "N", "read this version, or `candidate`, instead of the one that serves"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_scan = {
    .name = "scan",
    .args = "TABLE [KEY...]",
    .args_min = 1,
    .args_max = -1,
    .summary = "read rows in the order of the key: all, or some",
    .help =
        "All rows of one snapshot of one version; with leading columns of the key, bounds of the "
        "next one, or a\n"
        "condition (EXPR, as behind WHERE in a definition) those that keep all of it. Keys and "
        "windows bound what is\n"
        "read, a condition is asked of each row. TIME is RFC 3339, or ms since 1970. With -o json: "
        "an object\n"
        "{column: value} a line. Reads the data directory without a server, unless --server is "
        "given.",
    .examples = "kappa scan user_features --limit 20\n"
                "kappa scan user_features --prefix u1 --where \"clicks_5m > 100\"\n"
                "kappa scan hourly_value sensor-7 --since 2026-01-05 --until 2026-01-06\n"
                "kappa scan hourly_value --at 2026-01-05T10:30:00Z     # all sensors\n"
                "kappa scan user_features -o json | wc -l\n",
    .options = options,
    .run = scan_run,
};

static bool take_row(void *ctx, const struct plan_view *view, const struct kappa_value *values)
{
    return rows_take_values(ctx, view, values);
}

static bool take_line(void *ctx, const char *text, size_t len)
{
    return rows_take_text(ctx, text, len);
}

static bool take_object(void *ctx, const json_t *row)
{
    return rows_take(ctx, row);
}

/* A view has no key to choose rows by, and is not of types that a condition could know. */
static int view_plain(const struct row_range_ask *ask, struct err *err)
{
    if (row_range_is_all(ask->range) && ask->where == NULL) {
        return 0;
    }
    int rc = err_set(err, KE_INVALID, "%s is a view: all of it is read", ask->table);
    err_hint(err, "kappa sql \"SELECT * FROM %s WHERE ...\" reads some", ask->table);
    return rc;
}

static int scan_view(struct reader *reader, const struct row_range_ask *ask, struct rows *rows,
                     struct err *err)
{
    struct query *query;
    struct reader_stamp stamp = {0};
    int rc = view_plain(ask, err);
    rc = rc == 0 ? query_open(reader, &query, err) : rc;
    if (rc == 0) {
        rc = query_view_scan(query, ask->table, ask->version, ask->limit, take_object, rows, NULL,
                             &stamp, err);
        json_decref(stamp.cut);
        query_close(query);
    }
    return rc;
}

static int scan_local(const struct cli *cli, const struct row_range_ask *ask, struct rows *rows,
                      struct err *err)
{
    struct reader *reader;
    int rc = place_reader(cli, &reader, err);
    if (rc == 0) {
        rc = row_range_scan(reader, ask, take_row, rows, NULL, err);
        if (rc == -KE_REFUSED && query_is_view(reader, ask->table, ask->version)) {
            rc = scan_view(reader, ask, rows, err);
        }
        reader_close(reader);
    }
    return rc;
}

static int scan_remote(const struct cli *cli, struct rows *rows, struct err *err)
{
    struct client *client;
    int rc = place_client(cli, &client, err);
    if (rc < 0) {
        return rc;
    }
    struct buf path = {0};
    row_choice_path(cli, "/rows", &path);
    client_query_add(&path, "limit", cli_option(cli, "limit"));
    client_query_add(&path, "version", cli_option(cli, "version"));
    rc = client_lines(client, buf_text(&path), take_line, rows, err);
    buf_free(&path);
    client_close(client);
    return rc;
}

static int range_given(const struct cli *cli, struct row_range *range, struct err *err)
{
    *range = (struct row_range){
        .from = cli_option(cli, "from"),
        .below = cli_option(cli, "below"),
        .prefix = cli_option(cli, "prefix"),
        .since = cli_option(cli, "since"),
        .until = cli_option(cli, "until"),
        .at = cli_option(cli, "at"),
    };
    if (cli->arg_count - 1 > (int)array_len(range->keys)) {
        return err_set(err, KE_LIMIT, "more than %zu columns of a key", array_len(range->keys));
    }
    for (int i = 1; i < cli->arg_count; i++) {
        range->keys[range->key_count++] = cli->args[i];
    }
    return 0;
}

static int scan_run(struct cli *cli, struct err *err)
{
    struct row_range range;
    struct row_range_ask ask = {
        .table = cli->args[0], .range = &range, .where = cli_option(cli, "where")};
    int rc = place_version(cli, &ask.version, err);
    if (rc == 0) {
        rc = cli_option_int(cli, "limit", 0, INT64_MAX, -1, &ask.limit, err);
    }
    if (rc == 0) {
        rc = range_given(cli, &range, err);
    }
    if (rc < 0) {
        return rc;
    }
    struct rows *rows = xcalloc(1, sizeof *rows);
    rows_begin(rows, cli->json, cli->colour);
    rc = place_server(cli) == NULL ? scan_local(cli, &ask, rows, err) : scan_remote(cli, rows, err);
    struct err write_err = {0};
    uint64_t count = rows->count;
    int written = rows_end(rows, &write_err);
    free(rows);
    if (rc < 0) {
        return rc;
    }
    if (written < 0) {
        *err = write_err;
        return written;
    }
    if (count == 0 && !cli->json) {
        (void)fprintf(stderr, "no rows\n");
    }
    return 0;
}
