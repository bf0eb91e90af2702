/* Handlers of rows and dead records: straight from the reader. Own header: routes_private.h. */
#include "serve/routes_private.h"

#include "base/digits.h"
#include "base/limits.h"
#include "base/timefmt.h"
#include "include/kappa/record.h"
#include "serve/query.h"
#include "serve/reader_inner.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEAD_LIMIT        100
#define DEAD_LIMIT_MAX    10000
#define ANSWER_AROUND     128  /* what stands around a row and its cut */
#define CUT_HEADER_LEN    4096 /* a longer cut would not fit the memory of a connection */
#define SEGMENT_TABLE     2    /* of /v1/tables/TABLE/rows/KEY... */
#define SEGMENT_KEYS      4
#define SEGMENT_PROCESSOR 2 /* of /v1/processors/P/versions/N/dead */
#define SEGMENT_VERSION   4

int route_reader_needed(const struct route_context *context, struct err *err)
{
    if (context->reader != NULL) {
        return 0;
    }
    return err_set(err, KE_CLOSED, "tables cannot be read here: the server has no data directory");
}

int route_version_asked(const struct route_request *request, uint32_t *version, struct err *err)
{
    const char *text = route_query(request, "version");
    *version = 0;
    if (text == NULL || reader_version_parse(text, strlen(text), version)) {
        return 0;
    }
    int rc =
        err_set(err, KE_INVALID, "version must be the number of a version, not \"%.100s\"", text);
    err_hint(err, "or `" READER_CANDIDATE_WORD "`: the newest version on its way to serve");
    return rc;
}

int route_version_json(const json_t *body, uint32_t *version, struct err *err)
{
    *version = 0;
    if (json_object_get(body, "version") == NULL) {
        return 0;
    }
    int64_t number = json_int(body, "version", 0);
    if (number >= 1 && number <= INT32_MAX) {
        *version = (uint32_t)number;
        return 0;
    }
    if (strcmp(json_text(body, "version", ""), READER_CANDIDATE_WORD) == 0) {
        *version = READER_CANDIDATE;
        return 0;
    }
    return err_set(err, KE_INVALID,
                   "\"version\" must be the number of a version, or \"" READER_CANDIDATE_WORD "\"");
}

int route_time(const char *text, int64_t *us, struct err *err)
{
    const char *from = text[0] == '@' ? text + 1 : text;
    char *end = NULL;
    errno = 0;
    long long ms = strtoll(from, &end, 10);
    if (end != from && *end == '\0' && errno == 0 && ms < INT64_MAX / 1000 &&
        ms > INT64_MIN / 1000) {
        *us = ms * 1000;
        return 0;
    }
    if (time_parse(from, strlen(from), us)) {
        return 0;
    }
    int rc = err_set(err, KE_INVALID, "\"%s\" is not a time", text);
    err_hint(err, "write 2026-01-31T12:00:00Z, or milliseconds since 1970");
    return rc;
}

int route_stopped(const bool *stop, struct err *err)
{
    return __atomic_load_n(stop, __ATOMIC_RELAXED)
               ? err_set(err, KE_CLOSED, "the server is stopping")
               : 0;
}

static void stamp_headers(struct route_answer *answer, uint32_t version, uint64_t epoch,
                          const char *cut, const char *since)
{
    char text[DIGITS_MAX + 1];
    *digits_put(text, version, 1) = '\0';
    route_answer_header(answer, "X-Kappa-Version", text);
    *digits_put(text, epoch, 1) = '\0';
    route_answer_header(answer, "X-Kappa-Epoch", text);
    if (strlen(cut) < CUT_HEADER_LEN) {
        route_answer_header(answer, "X-Kappa-Cut", cut);
    }
    if (since[0] != '\0') {
        route_answer_header(answer, "X-Kappa-Complete-Since", since);
    }
}

void route_stamp(struct route_answer *answer, const struct reader_stamp *stamp)
{
    char *cut = json_print(stamp->cut);
    stamp_headers(answer, stamp->version, stamp->epoch, cut, stamp->since);
    free(cut);
}

static void stamp_body(struct buf *body, const char *table, uint32_t version, uint64_t epoch,
                       const char *since)
{
    buf_append_text(body, "{\"table\":\"");
    buf_append_text(body, table);
    buf_append_text(body, "\",\"version\":");
    json_write_int(body, version);
    buf_append_text(body, ",\"epoch\":");
    json_write_int(body, (int64_t)epoch);
    if (strcmp(since, "unknown") == 0) {
        buf_append_text(body, ",\"complete_since\":null");
    } else if (since[0] != '\0') {
        buf_printf(body, ",\"complete_since\":\"%s\"", since);
    }
    buf_append_text(body, ",\"cut\":");
}

void route_stamp_body(struct buf *body, const char *table, const struct reader_stamp *stamp)
{
    stamp_body(body, table, stamp->version, stamp->epoch, stamp->since);
    json_write(body, stamp->cut);
}

/* Tagged by version and row: the cut moves on with every commit, whether the row has changed or not. */
static void row_answer(struct route_answer *answer, const struct route_request *request,
                       const char *table, struct reader_row_text *found)
{
    struct buf *row = &found->row;
    const struct buf *cut = &found->cut;
    size_t row_len = row->len;
    stamp_headers(answer, found->version, found->epoch, buf_text(cut), found->since);
    buf_append_u8(row, ' '); /* for the tag; it is cut off again */
    json_write_int(row, found->version);
    buf_append_u8(row, ' ');
    buf_append_text(row, table);
    bool known = route_answer_tag(answer, request, row->data, row->len);
    row->len = row_len;
    if (!known) {
        buf_reserve(&answer->body, ANSWER_AROUND + LIMIT_NAME_LEN + cut->len + row->len);
        stamp_body(&answer->body, table, found->version, found->epoch, found->since);
        buf_append(&answer->body, cut->data, cut->len);
        buf_append_text(&answer->body, ",\"row\":");
        buf_append(&answer->body, row->data, row->len);
        buf_append_text(&answer->body, "}\n");
    }
}

/* A view may take long to compute. */
bool route_is_view(const struct route_context *context, const char *name, uint32_t version, int rc,
                   struct err *err)
{
    bool yes = rc == -KE_REFUSED && context->queries != NULL &&
               query_is_view(context->reader, name, version);
    if (yes && err != NULL) {
        *err = (struct err){0};
    }
    return yes;
}

int route_view_rows(const struct route_context *context, const char *name,
                    const struct reader_read *reading, struct query **query,
                    struct query_rows **out, struct err *err)
{
    char view[LIMIT_NAME_LEN + 1];
    uint32_t version = 0;
    if (context->queries == NULL) {
        return reader_view_refused(name, err);
    }
    int rc = reader_name_split(name, view, &version, err);
    if (rc == 0) {
        rc = query_pool_take(context->queries, query, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = query_rows_open(*query, view, reading, out, err);
    if (rc < 0) {
        query_pool_give(context->queries, *query);
    }
    return rc;
}

/* A row of a view, in a thread of its own. */
int route_view(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err)
{
    uint32_t version = 0;
    int64_t at_us = KAPPA_NO_TIME;
    const char *at = route_query(request, "at");
    struct query *query = NULL;
    json_t *row;
    int rc = route_version_asked(request, &version, err);
    if (rc == 0 && at != NULL) {
        rc = route_time(at, &at_us, err);
    }
    if (rc == 0) {
        rc = query_pool_take(context->queries, &query, err);
    }
    if (rc < 0) {
        return rc;
    }
    uint32_t key_count =
        request->segment_count > SEGMENT_KEYS ? request->segment_count - SEGMENT_KEYS : 0;
    rc = query_view_get(query, request->segments[SEGMENT_TABLE], version,
                        &request->segments[SEGMENT_KEYS], key_count, at_us, &row, err);
    query_pool_give(context->queries, query);
    if (rc == 0) {
        struct reader_row_text text = {.version = (uint32_t)json_int(row, "version", 0),
                                       .epoch = (uint64_t)json_int(row, "epoch", 0)};
        bool complete = json_object_get(row, "complete_since") == NULL;
        (void)snprintf(text.since, sizeof text.since, "%s",
                       complete ? "" : json_text(row, "complete_since", "unknown"));
        json_write(&text.row, json_object_get(row, "row"));
        json_write(&text.cut, json_object_get(row, "cut"));
        row_answer(answer, request, json_text(row, "table", ""), &text);
        reader_row_text_free(&text);
        json_decref(row);
    }
    return rc;
}

int route_row(const struct route_context *context, const struct route_request *request,
              struct route_answer *answer, struct err *err)
{
    uint32_t version = 0;
    int rc = route_reader_needed(context, err);
    if (rc == 0) {
        rc = route_version_asked(request, &version, err);
    }
    int64_t at_us = KAPPA_NO_TIME;
    const char *at = route_query(request, "at");
    if (rc == 0 && at != NULL) {
        rc = route_time(at, &at_us, err);
    }
    if (rc < 0) {
        return rc;
    }
    const char *table = request->segments[SEGMENT_TABLE];
    struct reader_row_text row = {0};
    rc = reader_get_text(context->reader, table, version, &request->segments[SEGMENT_KEYS],
                         request->segment_count - SEGMENT_KEYS, at_us, &row, err);
    if (route_is_view(context, table, version, rc, err)) {
        answer->later = true;
        rc = 0;
    } else if (rc == 0) {
        row_answer(answer, request, table, &row);
    }
    reader_row_text_free(&row);
    return rc;
}

static int kept_records(const struct route_context *context, const struct route_request *request,
                        bool late, struct route_answer *answer, struct err *err)
{
    int64_t limit = -1;
    int64_t version = 0;
    struct route_request named = *request;
    named.query[0].name = "version";
    named.query[0].value = request->segments[SEGMENT_VERSION];
    named.query_count = 1;
    int rc = route_reader_needed(context, err);
    if (rc == 0) {
        rc = route_query_int(request, "limit", 0, DEAD_LIMIT_MAX, DEAD_LIMIT, &limit, err);
    }
    if (rc == 0) {
        rc = route_query_int(&named, "version", 1, INT32_MAX, 0, &version, err);
    }
    if (rc < 0) {
        return rc;
    }
    json_t *records;
    const char *processor = request->segments[SEGMENT_PROCESSOR];
    rc = (late ? reader_late : reader_dead)(context->reader, processor, (uint32_t)version, limit,
                                            &records, err);
    if (rc < 0) {
        return rc;
    }
    json_t *body = json_pack("{s:o}", late ? "late" : "dead", records);
    route_answer_json(answer, body);
    json_decref(body);
    return 0;
}

int route_dead(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err)
{
    return kept_records(context, request, false, answer, err);
}

int route_late(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err)
{
    return kept_records(context, request, true, answer, err);
}
