/* kappa diff. */
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SAMPLES_MAX   1000
#define OTHER_COLUMNS 4 /* of a row without a key that are shown */

static int diff_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"table", 't', "TABLE", "only this table"},
    {"where", '\0', "EXPR", "only rows for which this holds in A or in B"},
    {"limit", '\0', "N", "at most so many rows of each kind are shown (default 10)"},
    {"exact", '\0', NULL, "count the equal rows of large tables too"},
    {"records", '\0', NULL, "read the log for the records that explain the rows shown"},
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_diff = {
    .name = "diff",
    .args = "PROCESSOR A B",
    .args_min = 3,
    .args_max = 3,
    .summary = "compare two versions, row by row, at one cut",
    .help =
        "Both versions are held at the same cut for a moment (2 s at most, as in a swap), so that "
        "what differs\n"
        "is the definitions' doing and not that one of them is further. Then both go on, and their "
        "rows are\n"
        "compared as they were: rows that only one has, rows that changed; for each column how "
        "many values\n"
        "differ and how far (|b - a|; times in seconds). Columns are compared by name. With -o "
        "json: all of it.\n\n"
        "Where both definitions keep and read a table's rows in the same way, only ranges of keys "
        "whose digests\n"
        "differ are read: it costs what differs. How many rows are equal may then be known from "
        "... to ... only,\n"
        "as rows may have parts in several partitions; --exact counts them.\n\n"
        "EXPR is a condition over the columns of a row, as behind WHERE in a definition; both "
        "versions must have\n"
        "the columns that it names.\n\n"
        "--records reads the log up to the cut, and lists for each row that is shown which records "
        "the two\n"
        "versions count differently, ten at most. Rows of joins, OVER, sessions, hopping windows "
        "and tables that\n"
        "the two keep in different ways are made of too much else: then it says so.",
    .examples = "kappa diff features 1 2\n"
                "kappa diff features 1 2 --where \"country = 'SE' AND clicks > 100\"\nkappa diff "
                "features 1 2 --table user_features --limit 50 "
                "-o json\n",
    .options = options,
    .run = diff_run,
};

/* ---- one table, for people */

struct names {
    const char *of[2]; /* "v1", "v2" */
};

static void number_cell(struct out_table *table, const json_t *column, const char *name)
{
    const json_t *value = json_object_get(column, name);
    if (value == NULL) {
        out_table_cell(table, NULL);
    } else {
        out_table_cellf(table, "%.6g", json_number_value(value));
    }
}

static void columns_text(const struct cli *cli, const json_t *columns, struct buf *out)
{
    static const char *const titles[] = {"COLUMN", "TYPE", "DIFFER", "NULL", "MEAN",
                                         "P50",    "P90",  "P99",    "MAX",  "UNIT"};
    static const char *const far[] = {"mean", "p50", "p90", "p99", "max"};
    struct out_table table;
    out_table_begin(&table, array_len(titles), 0x1FC);
    table.indent = 2;
    out_table_titles(&table, titles);
    size_t i;
    const json_t *column;
    json_array_foreach (columns, i, column) {
        char number[OUT_NUMBER_LEN];
        if (json_int(column, "differ", 0) == 0) {
            continue;
        }
        const char *other = json_text(column, "type_b", NULL);
        out_table_cell(&table, json_text(column, "name", ""));
        out_table_cellf(&table, "%s%s%s", json_text(column, "type", ""),
                        other != NULL ? " -> " : "", other != NULL ? other : "");
        out_table_cell(&table, out_count(json_int(column, "differ", 0), number));
        out_table_cell(&table, out_count(json_int(column, "nulls", 0), number));
        for (size_t k = 0; k < array_len(far); k++) {
            number_cell(&table, column, far[k]);
        }
        out_table_cell(&table, json_text(column, "unit", ""));
    }
    out_table_end(&table, cli->colour, out);
}

static void other_columns(const struct names *names, const json_t *columns, struct buf *out)
{
    size_t i;
    const json_t *column;
    json_array_foreach (columns, i, column) {
        const char *in = json_text(column, "in", "both");
        if (strcmp(in, "both") != 0) {
            buf_printf(out, "  column only in %s: ", names->of[in[0] == 'b']);
            out_safe(out, json_text(column, "name", ""), strlen(json_text(column, "name", "")));
            buf_printf(out, " %s\n", json_text(column, "type", ""));
        }
    }
}

static void pair(struct buf *out, const char *name, const json_t *value)
{
    buf_append_text(out, " ");
    out_safe(out, name, strlen(name));
    buf_append_text(out, "=");
    out_value(out, value);
}

/* What tells the row: its key; without one its first columns. */
static void row_name(const json_t *columns, const json_t *row, struct buf *out)
{
    size_t i;
    const json_t *column;
    uint32_t shown = 0;
    json_array_foreach (columns, i, column) {
        const char *name = json_text(column, "name", "");
        if (json_bool(column, "key", false)) {
            pair(out, name, json_object_get(row, name));
            shown++;
        }
    }
    bool by_key = shown > 0;
    json_array_foreach (columns, i, column) {
        const json_t *value = json_object_get(row, json_text(column, "name", ""));
        if (!by_key && value != NULL && shown < OTHER_COLUMNS) {
            pair(out, json_text(column, "name", ""), value);
            shown++;
        }
    }
}

static void changed_text(const json_t *columns, const json_t *sample, struct buf *out)
{
    const json_t *a = json_object_get(sample, "a");
    const json_t *b = json_object_get(sample, "b");
    buf_append_text(out, "  ~");
    row_name(columns, a, out);
    buf_append_text(out, ":");
    size_t i;
    const json_t *name;
    json_array_foreach (json_object_get(sample, "columns"), i, name) {
        const char *text = json_string_value(name);
        buf_append_text(out, i == 0 ? "" : ",");
        pair(out, text, json_object_get(a, text));
        buf_append_text(out, " -> ");
        out_value(out, json_object_get(b, text));
    }
    buf_append_text(out, "\n");
}

/* The records that explain sample i of a kind. */
static void records_text(const struct names *names, const json_t *table, const char *kind, size_t i,
                         struct buf *out)
{
    const json_t *records = json_object_get(table, "records");
    if (records == NULL) {
        return;
    }
    size_t at;
    const json_t *record;
    const json_t *list = json_array_get(json_object_get(records, kind), i);
    json_array_foreach (list, at, record) {
        const char *in = json_text(record, "in", "both");
        buf_append_text(out, at == 0 ? "      records: " : ", ");
        out_safe(out, json_text(record, "topic", ""), strlen(json_text(record, "topic", "")));
        buf_printf(out, "/%" PRId64 "@%" PRId64 "%s%s", json_int(record, "partition", 0),
                   json_int(record, "offset", 0), strcmp(in, "both") == 0 ? "" : " only in ",
                   strcmp(in, "both") == 0 ? "" : names->of[in[0] == 'b']);
    }
    buf_append_text(out, at == 0 ? "      no record counts differently: another result is made of "
                                   "the same ones\n"
                                 : "\n");
}

/* How many rows of a kind are not shown. */
static void more_text(const json_t *table, const char *kind, const char *what, struct buf *out)
{
    const json_t *shown = json_object_get(json_object_get(table, "samples"), kind);
    size_t some = json_array_size(shown);
    int64_t more = json_int(table, kind, 0) - i64_from(some);
    if (some > 0 && more > 0) {
        char count[OUT_NUMBER_LEN];
        buf_printf(out, "  %s ... and %s more (--limit N shows them)\n", what,
                   out_count(more, count));
    }
}

static void samples_text(const struct names *names, const json_t *table, struct buf *out)
{
    static const char *const kinds[] = {"only_in_a", "only_in_b"};
    const json_t *samples = json_object_get(table, "samples");
    const json_t *columns = json_object_get(table, "columns");
    size_t i;
    const json_t *row;
    json_array_foreach (json_object_get(samples, "changed"), i, row) {
        changed_text(columns, row, out);
        records_text(names, table, "changed", i, out);
    }
    more_text(table, "changed", "~", out);
    for (size_t kind = 0; kind < array_len(kinds); kind++) {
        json_array_foreach (json_object_get(samples, kinds[kind]), i, row) {
            buf_append_text(out, kind == 0 ? "  -" : "  +");
            char *text = json_print(row);
            buf_append_text(out, " ");
            out_safe(out, text, strlen(text));
            free(text);
            buf_append_text(out, "\n");
            records_text(names, table, kinds[kind], i, out);
        }
        more_text(table, kinds[kind], kind == 0 ? "-" : "+", out);
    }
}

static void counts_text(const struct names *names, const json_t *table, struct buf *out)
{
    char changed[OUT_NUMBER_LEN];
    char only_a[OUT_NUMBER_LEN];
    char only_b[OUT_NUMBER_LEN];
    char equal[OUT_NUMBER_LEN];
    buf_printf(out, ": %s changed, %s only in %s, %s only in %s, %s",
               out_count(json_int(table, "changed", 0), changed),
               out_count(json_int(table, "only_in_a", 0), only_a), names->of[0],
               out_count(json_int(table, "only_in_b", 0), only_b), names->of[1],
               out_count(json_int(table, "equal", 0), equal));
    if (json_object_get(table, "equal_most") != NULL) {
        buf_printf(out, " to %s", out_count(json_int(table, "equal_most", 0), equal));
    }
    buf_append_text(out, " equal\n");
}

static void table_text(const struct cli *cli, const struct names *names, const json_t *table,
                       struct buf *out)
{
    const char *in = json_text(table, "in", "both");
    out_styled(out, cli->colour, OUT_BOLD, json_text(table, "table", ""));
    if (strcmp(in, "both") != 0) {
        buf_printf(out, ": only in %s\n", names->of[in[0] == 'b']);
    } else if (json_bool(table, "identical", false)) {
        buf_append_text(out, ": the same, by its digests\n");
    } else if (json_text(table, "why_not", NULL) != NULL) {
        buf_printf(out, ": its rows cannot be compared: %s\n", json_text(table, "why_not", ""));
    } else {
        counts_text(names, table, out);
        const json_t *columns = json_object_get(table, "columns");
        other_columns(names, columns, out);
        if (json_int(table, "changed", 0) > 0) {
            columns_text(cli, columns, out);
        }
        samples_text(names, table, out);
        if (json_object_get(table, "records_why_not") != NULL) {
            buf_printf(out, "  which records explain them cannot be told: %s\n",
                       json_text(table, "records_why_not", ""));
        }
        if (json_bool(table, "records_partial", false)) {
            buf_append_text(out, "  the log has lost its first records: those that are left were "
                                 "looked at\n");
        }
    }
}

/* ---- the answer */

static void answer_text(const struct cli *cli, const json_t *answer, struct buf *out)
{
    char of[2][16];
    char took[OUT_NUMBER_LEN];
    (void)snprintf(of[0], sizeof of[0], "v%d", (int)json_int(answer, "a", 0));
    (void)snprintf(of[1], sizeof of[1], "v%d", (int)json_int(answer, "b", 0));
    const struct names names = {{of[0], of[1]}};
    buf_printf(out, "%s and %s of %s at one cut, held %.1f ms, compared in %s\n", of[0], of[1],
               cli->args[0], json_number(answer, "hold_ms", 0),
               out_seconds(json_object_get(answer, "seconds"), took));
    const char *topic;
    json_t *offsets;
    json_object_foreach (json_object_get(answer, "cut"), topic, offsets) {
        buf_printf(out, "  %s up to", topic);
        size_t i;
        const json_t *offset;
        json_array_foreach (offsets, i, offset) {
            buf_printf(out, " %" PRId64, (int64_t)json_integer_value(offset));
        }
        buf_append_text(out, "\n");
    }
    const json_t *complete = json_object_get(answer, "complete");
    for (int side = 0; side < 2; side++) {
        if (!json_bool(complete, side == 0 ? "a" : "b", true)) {
            buf_printf(out, "  %s did not start at the beginning of the log: it may have less\n",
                       of[side]);
        }
    }
    size_t i;
    const json_t *table;
    json_array_foreach (json_object_get(answer, "tables"), i, table) {
        table_text(cli, &names, table, out);
    }
    if (json_bool(answer, "same", false)) {
        out_styled(out, cli->colour, OUT_GREEN, "no difference");
        buf_append_text(out, "\n");
    }
}

static int diff_body(const struct cli *cli, json_t **out, struct err *err)
{
    uint32_t version[2] = {0};
    int64_t limit = 0;
    int rc = cli_option_int(cli, "limit", 0, SAMPLES_MAX, -1, &limit, err);
    for (int side = 0; side < 2 && rc == 0; side++) {
        rc = cli_version_arg(cli->args[1 + side], &version[side], err);
    }
    if (rc < 0) {
        return rc;
    }
    json_t *body = call_body();
    json_t *more = json_pack("{s:I, s:I, s:s*, s:s*}", "a", (json_int_t)version[0], "b",
                             (json_int_t)version[1], "table", cli_option(cli, "table"), "where",
                             cli_option(cli, "where"));
    if (more == NULL) {
        json_decref(body);
        return err_set(err, KE_INVALID, "the table or the condition is not UTF-8");
    }
    ASSERT(json_object_update(body, more) == 0);
    json_decref(more);
    if (limit >= 0) {
        ASSERT(json_object_set_new(body, "limit", json_integer(limit)) == 0);
    }
    static const char *const flags[] = {"exact", "records"};
    for (size_t i = 0; i < array_len(flags); i++) {
        if (cli_option(cli, flags[i]) != NULL) {
            ASSERT(json_object_set_new(body, flags[i], json_true()) == 0);
        }
    }
    *out = body;
    return 0;
}

static int diff_run(struct cli *cli, struct err *err)
{
    json_t *body = NULL;
    json_t *answer = NULL;
    int rc = diff_body(cli, &body, err);
    if (rc == 0) {
        rc = call_post(cli, cli->args[0], 0, "diff", body, CLIENT_WAIT_FOR_EVER, &answer, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = call_print(cli, answer, answer_text, err);
    json_decref(answer);
    return rc;
}
