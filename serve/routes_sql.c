/* Handlers of read-time SQL. Own header: routes_private.h. */
#include "serve/query.h"
#include "serve/query_answer.h"
#include "serve/routes_private.h"

#include <string.h>

#define ROWS_DEFAULT   10000
#define TIMEOUT_MAX_MS 600000

struct sql_answer {
    struct query_answer rows;
    struct route_answer *answer;
    int rc; /* of keeping a large answer in a file */
    struct err *err;
};

static void take_columns(void *ctx, const struct query_column *columns, uint32_t count)
{
    struct sql_answer *sql = ctx;
    query_answer_columns(&sql->rows, columns, count);
}

static bool take_row(void *ctx, const struct query_value *values, uint32_t count)
{
    struct sql_answer *sql = ctx;
    query_answer_row(&sql->rows, values, count);
    sql->rc = route_answer_spill(sql->answer, sql->err);
    return sql->rc == 0;
}

static int options_read(const json_t *body, const struct route_context *context,
                        struct query_options *options, struct err *err)
{
    int64_t timeout_ms = QUERY_TIMEOUT_US / 1000;
    *options = (struct query_options){
        .params = json_object_get(body, "params"), .rows_max = ROWS_DEFAULT, .stop = context->stop};
    int rc = json_only(body, "sql,params,limit,timeout_ms,version", err);
    if (rc == 0 && json_text(body, "sql", NULL) == NULL) {
        rc = err_set(err, KE_INVALID, "the body needs \"sql\", a text");
    }
    if (rc == 0) {
        rc = route_body_int(body, "limit", 0, INT64_MAX, &options->rows_max, err);
    }
    if (rc == 0) {
        rc = route_body_int(body, "timeout_ms", 1, TIMEOUT_MAX_MS, &timeout_ms, err);
    }
    if (rc == 0) {
        rc = route_version_json(body, &options->version, err);
    }
    options->timeout_us = timeout_ms * 1000;
    return rc;
}

static int run(const struct route_context *context, const json_t *body, struct route_answer *answer,
               struct err *err)
{
    struct query_options options;
    struct query *query = NULL;
    struct query_result result = {0};
    struct sql_answer sql = {.rows = {.out = &answer->body}, .answer = answer, .err = err};
    struct query_sink sink = {.ctx = &sql, .columns = take_columns, .row = take_row};
    int rc = options_read(body, context, &options, err);
    if (rc == 0) {
        rc = query_pool_take(context->queries, &query, err);
    }
    if (rc < 0) {
        return rc;
    }
    const char *text = json_text(body, "sql", "");
    rc = query_run(query, text, strlen(text), &options, &sink, &result, err);
    query_pool_give(context->queries, query);
    if (rc == 0 && sql.rc == 0) {
        query_answer_end(&sql.rows, result.truncated, result.stamps);
    }
    json_decref(result.stamps);
    return rc < 0 ? rc : sql.rc;
}

static int queries_needed(const struct route_context *context, struct err *err)
{
    return context->queries != NULL
               ? 0
               : err_set(err, KE_CLOSED,
                         "tables cannot be read here: the server has no data directory");
}

int route_sql(const struct route_context *context, const struct route_request *request,
              struct route_answer *answer, struct err *err)
{
    json_t *body = NULL;
    int rc = queries_needed(context, err);
    if (rc == 0) {
        rc = route_body_object(request, &body, err);
    }
    if (rc == 0) {
        rc = run(context, body, answer, err);
        json_decref(body);
    }
    return rc;
}

int route_tables(const struct route_context *context, const struct route_request *request,
                 struct route_answer *answer, struct err *err)
{
    struct query *query = NULL;
    json_t *tables = NULL;
    (void)request;
    int rc = queries_needed(context, err);
    if (rc == 0) {
        rc = query_pool_take(context->queries, &query, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = query_describe(query, &tables, err);
    query_pool_give(context->queries, query);
    if (rc == 0) {
        route_answer_json(answer, tables);
        json_decref(tables);
    }
    return rc;
}
