/* kappa get. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "include/kappa/record.h"
#include "serve/query.h"
#include "serve/reader.h"
#include "serve/routes.h"

#include <inttypes.h>
#include <stdio.h>

static int get_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"at", '\0', "TIME", "of a window table: the window that holds TIME"},
    {"version", '\0', "N", "read this version, or `candidate`, instead of the one that serves"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_get = {
    .name = "get",
    .args = "TABLE KEY...",
    .args_min = 1,
    .args_max = -1,
    .summary = "read one row",
    .help = "One argument for each column of the key, none for a table without. Of a window table: "
            "the key's\n"
            "newest window, or with --at the one that holds TIME (RFC 3339, or ms since 1970). A "
            "row of a table\n"
            "without GROUP BY is named by its partition and offset. Exit 3 when there is no such "
            "row. With -o\n"
            "json: {\"table\",\"version\",\"epoch\",\"cut\",\"row\"}. Reads the data directory "
            "without a server, unless\n"
            "--server is given.",
    .examples = "kappa get user_features alice\n"
                "kappa get hourly_value sensor-7 --at 2026-01-05T10:30:00Z\n"
                "kappa get by_country_and_day DE 2026-01-05 --version 2 -o json\n"
                "kappa get user_features@candidate alice    as the next version sees her\n"
                "kappa get balance -- -17     a key that begins with a dash\n",
    .options = options,
    .run = get_run,
};

static int get_view(struct reader *reader, const char *view, uint32_t version,
                    const char *const *keys, uint32_t count, int64_t at_us, json_t **out,
                    struct err *err)
{
    struct query *query;
    int rc = query_open(reader, &query, err);
    if (rc == 0) {
        rc = query_view_get(query, view, version, keys, count, at_us, out, err);
        query_close(query);
    }
    return rc;
}

static int get_local(const struct cli *cli, uint32_t version, json_t **out, struct err *err)
{
    int64_t at_us = KAPPA_NO_TIME;
    const char *at = cli_option(cli, "at");
    if (at != NULL) {
        int rc = route_time(at, &at_us, err);
        if (rc < 0) {
            return rc;
        }
    }
    struct reader *reader;
    int rc = place_reader(cli, &reader, err);
    if (rc < 0) {
        return rc;
    }
    const char *keys[ROUTE_SEGMENTS_MAX];
    uint32_t count = (uint32_t)cli->arg_count - 1;
    if (count > ROUTE_SEGMENTS_MAX) {
        rc = err_set(err, KE_LIMIT, "more than %d columns of a key", ROUTE_SEGMENTS_MAX);
    }
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        keys[i] = cli->args[i + 1];
    }
    if (rc == 0) {
        rc = reader_get(reader, cli->args[0], version, keys, count, at_us, out, err);
    }
    if (rc == -KE_REFUSED && query_is_view(reader, cli->args[0], version)) {
        rc = get_view(reader, cli->args[0], version, keys, count, at_us, out, err);
    }
    reader_close(reader);
    return rc;
}

static int get_remote(const struct cli *cli, json_t **out, struct err *err)
{
    struct buf path = {0};
    buf_append_text(&path, "/v1/tables");
    client_path_add(&path, cli->args[0]);
    buf_append_text(&path, cli->arg_count > 1 ? "/rows" : "/row");
    for (int i = 1; i < cli->arg_count; i++) {
        client_path_add(&path, cli->args[i]);
    }
    client_query_add(&path, "at", cli_option(cli, "at"));
    client_query_add(&path, "version", cli_option(cli, "version"));
    int rc = call_server(cli, buf_text(&path), NULL, CLIENT_WAIT_SECONDS, out, err);
    buf_free(&path);
    return rc;
}

static void row_text(const struct cli *cli, const json_t *answer, struct buf *out)
{
    struct out_table table;
    out_table_begin(&table, 2, 0);
    const char *name;
    json_t *value;
    json_object_foreach (json_object_get(answer, "row"), name, value) {
        struct buf cell = {0};
        out_value(&cell, value);
        out_table_cell(&table, name);
        out_table_cell(&table, buf_text(&cell));
        buf_free(&cell);
    }
    out_table_end(&table, false, out);
    if (cli->live && cli->colour) {
        (void)fprintf(stderr, "\x1b[2m%s v%" PRId64 ", epoch %" PRId64 "\x1b[0m\n",
                      json_text(answer, "table", ""), json_int(answer, "version", 0),
                      json_int(answer, "epoch", 0));
    }
}

static int get_run(struct cli *cli, struct err *err)
{
    uint32_t version = 0;
    json_t *answer = NULL;
    int rc = place_version(cli, &version, err);
    if (rc == 0) {
        rc = place_server(cli) == NULL ? get_local(cli, version, &answer, err)
                                       : get_remote(cli, &answer, err);
    }
    if (rc == -KE_NOT_FOUND && err->hint[0] == '\0') {
        err_hint(err, "`kappa scan %s --limit 5` shows some rows", cli->args[0]);
    }
    if (rc < 0) {
        return rc;
    }
    rc = call_print(cli, answer, row_text, err);
    json_decref(answer);
    return rc;
}
