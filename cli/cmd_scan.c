/* kappa scan. */
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/place.h"
#include "cli/rows.h"
#include "serve/query.h"
#include "serve/reader.h"

#include <stdio.h>

static int scan_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"limit", '\0', "N", "at most so many rows"},
    {"version", '\0', "N", "read this version, or `candidate`, instead of the one that serves"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_scan = {
    .name = "scan",
    .args = "TABLE",
    .args_min = 1,
    .args_max = 1,
    .summary = "read all rows in the order of the key",
    .help = "All rows of one snapshot of one version. With -o json: an object {column: value} a "
            "line. Reads the\n"
            "data directory without a server, unless --server is given.",
    .examples = "kappa scan user_features --limit 20\nkappa scan user_features -o json | wc -l\n",
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

static int scan_view(struct reader *reader, const char *view, uint32_t version, int64_t limit,
                     struct rows *rows, struct err *err)
{
    struct query *query;
    struct reader_stamp stamp = {0};
    int rc = query_open(reader, &query, err);
    if (rc == 0) {
        rc = query_view_scan(query, view, version, limit, take_object, rows, NULL, &stamp, err);
        json_decref(stamp.cut);
        query_close(query);
    }
    return rc;
}

static int scan_local(const struct cli *cli, uint32_t version, int64_t limit, struct rows *rows,
                      struct err *err)
{
    struct reader *reader;
    int rc = place_reader(cli, &reader, err);
    if (rc == 0) {
        rc = reader_scan(reader, cli->args[0], version, limit, take_row, rows, NULL, err);
        if (rc == -KE_REFUSED && query_is_view(reader, cli->args[0], version)) {
            rc = scan_view(reader, cli->args[0], version, limit, rows, err);
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
    buf_append_text(&path, "/v1/tables");
    client_path_add(&path, cli->args[0]);
    buf_append_text(&path, "/rows");
    client_query_add(&path, "limit", cli_option(cli, "limit"));
    client_query_add(&path, "version", cli_option(cli, "version"));
    rc = client_lines(client, buf_text(&path), take_line, rows, err);
    buf_free(&path);
    client_close(client);
    return rc;
}

static int scan_run(struct cli *cli, struct err *err)
{
    uint32_t version = 0;
    int64_t limit = -1;
    int rc = place_version(cli, &version, err);
    if (rc == 0) {
        rc = cli_option_int(cli, "limit", 0, INT64_MAX, -1, &limit, err);
    }
    if (rc < 0) {
        return rc;
    }
    struct rows *rows = xcalloc(1, sizeof *rows);
    rows_begin(rows, cli->json, cli->colour);
    rc = place_server(cli) == NULL ? scan_local(cli, version, limit, rows, err)
                                   : scan_remote(cli, rows, err);
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
