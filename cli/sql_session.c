/* Own header: sql_session.h. An answer of a server is read line by line, as query_answer.h says. */
#include "cli/sql_session.h"

#include "cli/client.h"
#include "cli/place.h"

#include <stdlib.h>
#include <string.h>

#define SERVER_TIMEOUT_US INT64_C(600000000) /* the most that a server takes */

int sql_session_open(const struct cli *cli, struct sql_session *session, struct err *err)
{
    *session = (struct sql_session){0};
    int rc = place_version(cli, &session->version, err);
    if (rc == 0) {
        rc = cli_option_duration(cli, "timeout", 0, &session->timeout_us, err);
    }
    if (rc == 0 && place_server(cli) != NULL) {
        return place_client(cli, &session->client, err);
    }
    if (rc == 0) {
        rc = place_reader(cli, &session->reader, err);
    }
    if (rc == 0) {
        rc = query_open(session->reader, &session->query, err);
    }
    if (rc < 0) {
        sql_session_close(session);
    }
    return rc;
}

void sql_session_close(struct sql_session *session)
{
    query_close(session->query);
    if (session->reader != NULL) {
        reader_close(session->reader);
    }
    if (session->client != NULL) {
        client_close(session->client);
    }
    *session = (struct sql_session){0};
}

/* ---- a server's answer */

struct lines {
    const struct query_sink *sink;
    struct query_result *result;
    bool begun; /* the columns have come */
    bool done;  /* so has the end */
    uint32_t columns;
    struct query_value *values;
    struct err err;
};

static json_t *parse(struct lines *lines, const char *before, const char *text, size_t len,
                     const char *behind)
{
    struct buf whole = {0};
    buf_append_text(&whole, before);
    buf_append(&whole, text, len);
    buf_append_text(&whole, behind);
    json_t *json = json_parse_exact(buf_text(&whole), whole.len, &lines->err);
    buf_free(&whole);
    return json;
}

static bool take_head(struct lines *lines, const char *text, size_t len)
{
    json_t *head = parse(lines, "", text, len, "]}");
    const json_t *list = json_object_get(head, "columns");
    lines->columns = u32_from(json_array_size(list));
    lines->values = xcalloc(lines->columns + 1, sizeof *lines->values);
    lines->begun = true;
    struct query_column *columns = xcalloc(lines->columns + 1, sizeof *columns);
    for (uint32_t i = 0; i < lines->columns; i++) {
        columns[i].name = json_text(json_array_get(list, i), "name", "");
        columns[i].type = json_text(json_array_get(list, i), "type", "");
    }
    if (head != NULL) {
        lines->sink->columns(lines->sink->ctx, columns, lines->columns);
    }
    free(columns);
    json_decref(head);
    return head != NULL;
}

static void value_of(const json_t *json, struct query_value *value)
{
    *value = (struct query_value){.kind = QUERY_NULL};
    if (json_is_boolean(json)) {
        value->kind = QUERY_BOOLEAN;
        value->i = json_is_true(json);
    } else if (json_is_integer(json)) {
        value->kind = QUERY_INTEGER;
        value->i = json_integer_value(json);
    } else if (json_is_real(json)) {
        value->kind = QUERY_DOUBLE;
        value->d = json_real_value(json);
    } else if (json_figure(json) != NULL) {
        value->kind = QUERY_NUMBER;
        value->bytes = json_figure(json);
        value->len = strlen(value->bytes);
    } else if (json_is_string(json)) {
        value->kind = QUERY_TEXT;
        value->bytes = json_string_value(json);
        value->len = json_string_length(json);
    }
}

static bool take_row(struct lines *lines, const char *text, size_t len)
{
    json_t *row = parse(lines, "", text, text[len - 1] == ',' ? len - 1 : len, "");
    if (row == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < lines->columns; i++) {
        value_of(json_array_get(row, i), &lines->values[i]);
    }
    lines->result->rows++;
    bool more = lines->sink->row(lines->sink->ctx, lines->values, lines->columns);
    json_decref(row);
    return more;
}

static bool take_end(struct lines *lines, const char *text, size_t len)
{
    json_t *end = parse(lines, "{\"rows\":[", text, len, "");
    if (end != NULL) {
        lines->done = true;
        lines->result->truncated = json_bool(end, "truncated", false);
        lines->result->stamps = json_incref(json_object_get(end, "stamps"));
        json_decref(end);
    }
    return end != NULL;
}

static bool take_line(void *ctx, const char *text, size_t len)
{
    struct lines *lines = ctx;
    if (len == 0) {
        return true;
    }
    if (!lines->begun) {
        return take_head(lines, text, len);
    }
    return text[0] == ']' ? take_end(lines, text, len) : take_row(lines, text, len);
}

static int run_remote(struct sql_session *session, const char *text, size_t len,
                      const struct query_sink *sink, struct query_result *result, struct err *err)
{
    struct lines lines = {.sink = sink, .result = result};
    int64_t timeout_us = session->timeout_us == 0 ? SERVER_TIMEOUT_US : session->timeout_us;
    json_t *sql = json_stringn(text, len);
    if (sql == NULL) {
        return err_set(err, KE_SQL, "the statement is not UTF-8");
    }
    json_t *body =
        json_pack("{s:o, s:I, s:I}", "sql", sql, "limit", (json_int_t)INT64_MAX, "timeout_ms",
                  (json_int_t)i64_min(timeout_us, SERVER_TIMEOUT_US) / 1000);
    ASSERT(body != NULL);
    if (session->version != 0) {
        json_t *version = session->version == READER_CANDIDATE ? json_string(READER_CANDIDATE_WORD)
                                                               : json_integer(session->version);
        ASSERT(json_object_set_new(body, "version", version) == 0);
    }
    int rc = client_post_for_lines(session->client, "/v1/sql", body, take_line, &lines,
                                   &session->stop, err);
    json_decref(body);
    free(lines.values);
    if (rc == 0 && lines.err.code != 0) {
        rc = err_set(err, KE_UNREACHABLE, "the server's answer cannot be read: %.300s",
                     lines.err.text);
    }
    return rc;
}

int sql_session_run(struct sql_session *session, const char *text, size_t len,
                    const struct query_sink *sink, struct query_result *result, struct err *err)
{
    *result = (struct query_result){0};
    if (session->client != NULL) {
        return run_remote(session, text, len, sink, result, err);
    }
    struct query_options options = {
        .rows_max = -1,
        .timeout_us = session->timeout_us,
        .stop = &session->stop,
        .version = session->version,
    };
    return query_run(session->query, text, len, &options, sink, result, err);
}

int sql_session_tables(struct sql_session *session, json_t **out, struct err *err)
{
    return session->client != NULL
               ? client_call(session->client, "/v1/tables", NULL, CLIENT_WAIT_SECONDS, out, err)
               : query_describe(session->query, out, err);
}
