/* Read-time SQL beside the reader that it stands on: one row by its key, and all rows of a table.
 *
 *     sql_read DATA TABLE KEY-COLUMN KEY
 *
 * One JSON line: microseconds a row read, rows a second scanned. */
#include "base/clock.h"
#include "include/kappa/record.h"
#include "serve/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GETS 20000

static void must(int rc, const struct err *err)
{
    if (rc < 0) {
        (void)fprintf(stderr, "%s\n", err->text);
        exit(1);
    }
}

static double now(void)
{
    return (double)clock_mono_us(clock_real()) / 1e6;
}

static void no_columns(void *ctx, const struct query_column *columns, uint32_t count)
{
    (void)ctx;
    (void)columns;
    (void)count;
}

static bool count_row(void *ctx, const struct query_value *values, uint32_t count)
{
    (void)values;
    (void)count;
    *(int64_t *)ctx += 1;
    return true;
}

static bool scan_row(void *ctx, const struct plan_view *view, const struct kappa_value *values)
{
    (void)view;
    (void)values;
    *(int64_t *)ctx += 1;
    return true;
}

static int64_t ask(struct query *query, const char *text, const json_t *params)
{
    int64_t rows = 0;
    struct err err = {0};
    struct query_sink sink = {.ctx = &rows, .columns = no_columns, .row = count_row};
    struct query_options options = {.params = params, .rows_max = -1};
    struct query_result result;
    must(query_run(query, text, strlen(text), &options, &sink, &result, &err), &err);
    json_decref(result.stamps);
    return rows;
}

static double gets_of_reader(struct reader *reader, const char *table, const char *key)
{
    double begun = now();
    for (uint32_t i = 0; i < GETS; i++) {
        json_t *row = NULL;
        struct err err = {0};
        must(reader_get(reader, table, 0, &key, 1, KAPPA_NO_TIME, &row, &err), &err);
        json_decref(row);
    }
    return (now() - begun) / GETS * 1e6;
}

static double gets_of_sql(struct query *query, const char *text, const json_t *params)
{
    double begun = now();
    for (uint32_t i = 0; i < GETS; i++) {
        if (ask(query, text, params) == 0) {
            (void)fprintf(stderr, "no row\n");
            exit(1);
        }
    }
    return (now() - begun) / GETS * 1e6;
}

int main(int argc, char **argv)
{
    struct reader *reader = NULL;
    struct query *query = NULL;
    struct err err = {0};
    if (argc != 5) {
        (void)fprintf(stderr, "usage: sql_read DATA TABLE KEY-COLUMN KEY\n");
        return 2;
    }
    must(reader_open(argv[1], &reader, &err), &err);
    must(query_open(reader, &query, &err), &err);
    char *get = xasprintf("SELECT * FROM \"%s\" WHERE \"%s\" = ?", argv[2], argv[3]);
    char *all = xasprintf("SELECT * FROM \"%s\"", argv[2]);
    char *sum = xasprintf("SELECT count(*) FROM \"%s\"", argv[2]);
    json_t *params = json_pack("[s]", argv[4]);
    double reader_us = gets_of_reader(reader, argv[2], argv[4]);
    double sql_us = gets_of_sql(query, get, params);
    int64_t rows = 0;
    double begun = now();
    must(reader_scan(reader, argv[2], 0, -1, scan_row, &rows, NULL, &err), &err);
    double scan_s = now() - begun;
    begun = now();
    (void)ask(query, all, NULL);
    double sql_s = now() - begun;
    begun = now();
    (void)ask(query, sum, NULL);
    double count_s = now() - begun;
    (void)printf("{\"get_us\":%.2f,\"sql_get_us\":%.2f,\"rows\":%lld,\"scan_rows_s\":%.0f,"
                 "\"sql_scan_rows_s\":%.0f,\"sql_count_rows_s\":%.0f}\n",
                 reader_us, sql_us, (long long)rows, (double)rows / scan_s, (double)rows / sql_s,
                 (double)rows / count_s);
    json_decref(params);
    free(get);
    free(all);
    free(sum);
    query_close(query);
    reader_close(reader);
    return 0;
}
