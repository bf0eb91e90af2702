/* kappa export. */
#include "cli/cmd.h"
#include "cli/export.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int export_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"labels", '\0', "FILE", "a CSV file: a row per label, with a header"},
    {"time-column", '\0', "COLUMN", "the labels' time: RFC 3339, or milliseconds since 1970"},
    {"newest", '\0', NULL,
     "of tables with windows the key's newest one, not that which holds the label's time"},
    {"columns", '\0', "LIST",
     "only these: COLUMN or TABLE.COLUMN, with commas between (default: all but keys)"},
    {"out", '\0', "FILE", "where the rows go: FILE.csv (and FILE.csv.json), or FILE.sqlite"},
    {"shards", '\0', "N", "threads of the replay (default: one per core, at most 8)"},
    {"limit", '\0', "LIMIT",
     "read at most this: 50000/s, 20MB/s, 'broker <= 20MB/s' (`kappa limit`)"},
    {"cache", '\0', "BYTES", "memory for rows of a replay (default 256MiB)"},
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_export = {
    .name = "export",
    .args = "TABLE...",
    .args_min = 1,
    .args_max = -1,
    .summary = "values of tables as they were at the times of labels",
    .help =
        "For each label the columns of the tables as they were at its time, never later: the file "
        "to train a model with. The labels' columns are called as the key columns of the "
        "tables. TABLE@N is a version.\n"
        "\n"
        "The log is replayed beside the version, up to the cut that it has committed; it goes on "
        "meanwhile; --limit leaves it room, for the replay of an export is not among those that "
        "`kappa "
        "limit --all` divides. Per partition, a label sees the records in front of the first one "
        "that is "
        "later than the label (by event time where the input has one). Of a table with windows it "
        "gets the one that holds its time, as `kappa get --at` would have shown it then; with "
        "--newest the key's newest one, as `kappa get` would have. What has no row is empty.\n"
        "\n"
        "FILE.csv.json, or the table kappa_export of FILE.sqlite, holds the definition's hash, cut "
        "and digest of each version, which the replay has compared with those of the version. Runs "
        "where the data directory is.",
    .examples = "kappa export clicks --labels labels.csv --time-column at --out train.csv\n"
                "kappa export clicks totals@3 --labels labels.csv --time-column at \\\n"
                "  --columns views,totals@3.amount --out train.csv\n",
    .options = options,
    .run = export_run,
};

static int option_needed(const struct cli *cli, const char *name, const char **out, struct err *err)
{
    *out = cli_option(cli, name);
    return *out != NULL ? 0 : err_set(err, KE_INVALID, "--%s is missing", name);
}

static bool ends_with(const char *text, const char *tail)
{
    size_t len = strlen(text);
    return len > strlen(tail) && strcmp(text + len - strlen(tail), tail) == 0;
}

static int options_read(struct export_job *export, struct err *err)
{
    const struct cli *cli = export->cli;
    int rc = option_needed(cli, "labels", &export->labels, err);
    rc = rc == 0 ? option_needed(cli, "time-column", &export->time_column, err) : rc;
    rc = rc == 0 ? option_needed(cli, "out", &export->out, err) : rc;
    export->newest = cli_option(cli, "newest") != NULL;
    export->sqlite = rc == 0 && ends_with(export->out, ".sqlite");
    if (rc == 0 && !export->sqlite && !ends_with(export->out, ".csv")) {
        rc = err_set(err, KE_INVALID,
                     "--out %s: a name that ends with .csv or .sqlite says what to write",
                     export->out);
    }
    if (rc == 0 && place_server(cli) != NULL) {
        rc = err_set(err, KE_REFUSED, "an export reads the data directory, not a server");
        err_hint(err, "run it where the server runs, with --data DIR");
    }
    return rc == 0 ? place_own_check(cli, err) : rc;
}

static int scratch_make(struct export_job *export, struct err *err)
{
    char *parent = xasprintf("%s/exports", place_data(export->cli));
    int rc = scratch_open(parent, &export->scratch, err);
    free(parent);
    return rc;
}

/* What could not be read is said, whatever the output is. */
static void tell_refused(const struct export_job *export)
{
    for (uint32_t t = 0; t < export->table_count; t++) {
        const struct export_table *table = &export->tables[t];
        if (table->refused > 0) {
            (void)fprintf(stderr,
                          "warning: %" PRIu64 " rows of %s cannot be read and are left empty: %s\n",
                          table->refused, table->asked, table->why.text);
        }
    }
}

static int tell(const struct export_job *export, struct err *err)
{
    tell_refused(export);
    if (export->cli->json) {
        json_t *metadata = export_metadata(export);
        int rc = out_json(metadata, err);
        json_decref(metadata);
        return rc;
    }
    struct buf text = {0};
    char labels[OUT_NUMBER_LEN];
    char count[OUT_NUMBER_LEN];
    buf_printf(&text, "%s labels in %s\n", out_count((int64_t) export->count, labels), export->out);
    for (uint32_t t = 0; t < export->table_count; t++) {
        const struct export_table *table = &export->tables[t];
        const struct export_pass *pass = &export->passes[table->pass];
        buf_printf(&text, "  %s: v%" PRIu32 " of %s, %s labels have a row\n",
                   table->plan->shape.name, pass->version, pass->processor,
                   out_count((int64_t)table->rows, count));
    }
    for (uint32_t p = 0; p < export->pass_count; p++) {
        const struct export_pass *pass = &export->passes[p];
        char digest[DIGEST_TEXT_LEN + 1];
        digest_format(pass->done.digest, digest);
        buf_printf(&text, "  %s v%" PRIu32 ": %s records replayed, digest %s, as stored\n",
                   pass->processor, pass->version, out_count((int64_t)pass->done.records, count),
                   digest);
    }
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

static int export_run(struct cli *cli, struct err *err)
{
    struct export_job export = {.cli = cli, .stop = interrupt_catch()};
    int rc = options_read(&export, err);
    rc = rc == 0 ? export_labels_open(&export, err) : rc;
    rc = rc == 0 ? export_tables_find(&export, err) : rc;
    rc = rc == 0 ? scratch_make(&export, err) : rc;
    for (uint32_t p = 0; p < export.pass_count && rc == 0; p++) {
        rc = export_pass_run(&export, &export.passes[p], err);
    }
    rc = rc == 0 ? export_write(&export, err) : rc;
    rc = rc == 0 ? tell(&export, err) : rc;
    if (rc == -KE_CLOSED && atomic_load(export.stop)) {
        rc = err_set(err, KE_CLOSED, "stopped: nothing was written");
    }
    export_free(&export);
    return rc;
}
