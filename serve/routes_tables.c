/* Handlers of rows and dead records: straight from the reader. Own header: routes_private.h. */
#include "serve/routes_private.h"

#include "base/timefmt.h"
#include "include/kappa/record.h"
#include "serve/query.h"
#include "serve/reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCAN_ROWS_MAX     INT64_MAX
#define DEAD_LIMIT        100
#define DEAD_LIMIT_MAX    10000
#define CUT_HEADER_LEN    4096 /* a longer cut would not fit the memory of a connection */
#define SEGMENT_TABLE     2    /* of /v1/tables/TABLE/rows/KEY... */
#define SEGMENT_KEYS      4
#define SEGMENT_PROCESSOR 2 /* of /v1/processors/P/versions/N/dead */
#define SEGMENT_VERSION   4

static int reader_needed(const struct route_context *context, struct err *err)
{
    if (context->reader != NULL) {
        return 0;
    }
    return err_set(err, KE_CLOSED, "tables cannot be read here: the server has no data directory");
}

static int version_asked(const struct route_request *request, uint32_t *version, struct err *err)
{
    int64_t value;
    int rc = route_query_int(request, "version", 1, INT32_MAX, 0, &value, err);
    if (rc == 0) {
        *version = (uint32_t)value;
    }
    return rc;
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

static void stamp_headers(struct route_answer *answer, uint32_t version, uint64_t epoch,
                          const json_t *cut)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu32, version);
    route_answer_header(answer, "X-Kappa-Version", text);
    (void)snprintf(text, sizeof text, "%" PRIu64, epoch);
    route_answer_header(answer, "X-Kappa-Epoch", text);
    char *cut_text = json_print(cut);
    if (strlen(cut_text) < CUT_HEADER_LEN) {
        route_answer_header(answer, "X-Kappa-Cut", cut_text);
    }
    free(cut_text);
}

static void row_answer(struct route_answer *answer, json_t *row)
{
    stamp_headers(answer, (uint32_t)json_int(row, "version", 0),
                  (uint64_t)json_int(row, "epoch", 0), json_object_get(row, "cut"));
    route_answer_json(answer, row);
    json_decref(row);
}

/* A view may take long to compute. */
static bool is_view(const struct route_context *context, const char *name, uint32_t version, int rc,
                    struct err *err)
{
    bool yes = rc == -KE_REFUSED && context->queries != NULL &&
               query_is_view(context->reader, name, version);
    if (yes && err != NULL) {
        *err = (struct err){0};
    }
    return yes;
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
    int rc = version_asked(request, &version, err);
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
        row_answer(answer, row);
    }
    return rc;
}

int route_row(const struct route_context *context, const struct route_request *request,
              struct route_answer *answer, struct err *err)
{
    uint32_t version = 0;
    int rc = reader_needed(context, err);
    if (rc == 0) {
        rc = version_asked(request, &version, err);
    }
    int64_t at_us = KAPPA_NO_TIME;
    const char *at = route_query(request, "at");
    if (rc == 0 && at != NULL) {
        rc = route_time(at, &at_us, err);
    }
    if (rc < 0) {
        return rc;
    }
    json_t *row;
    rc = reader_get(context->reader, request->segments[SEGMENT_TABLE], version,
                    &request->segments[SEGMENT_KEYS], request->segment_count - SEGMENT_KEYS, at_us,
                    &row, err);
    if (is_view(context, request->segments[SEGMENT_TABLE], version, rc, err)) {
        answer->later = true;
        return 0;
    }
    if (rc == 0) {
        row_answer(answer, row);
    }
    return rc;
}

struct scan {
    const struct route_context *context;
    struct route_answer *answer;
    int rc; /* why it broke off */
    struct err *err;
};

static bool scan_object(void *ctx, const json_t *row)
{
    struct scan *scan = ctx;
    scan->rc = __atomic_load_n(scan->context->stop, __ATOMIC_RELAXED)
                   ? err_set(scan->err, KE_CLOSED, "the server is stopping")
                   : route_answer_spill(scan->answer, scan->err);
    if (scan->rc == 0) {
        route_answer_json(scan->answer, row);
    }
    return scan->rc == 0;
}

static bool scan_row(void *ctx, const struct plan_view *view, const struct kappa_value *values)
{
    struct scan *scan = ctx;
    json_t *row = reader_row_json(view, values);
    bool more = scan_object(scan, row);
    json_decref(row);
    return more;
}

/* All rows of a view. */
static int scan_view(const struct route_context *context, const char *name, uint32_t version,
                     int64_t limit, struct scan *scan, struct reader_stamp *stamp, struct err *err)
{
    struct query *query = NULL;
    int rc = query_pool_take(context->queries, &query, err);
    if (rc == 0) {
        rc = query_view_scan(query, name, version, limit, scan_object, scan, context->stop, stamp,
                             err);
        query_pool_give(context->queries, query);
    }
    return rc;
}

int route_rows(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err)
{
    uint32_t version = 0;
    int64_t limit = -1;
    int rc = reader_needed(context, err);
    if (rc == 0) {
        rc = version_asked(request, &version, err);
    }
    if (rc == 0) {
        rc = route_query_int(request, "limit", 0, SCAN_ROWS_MAX, -1, &limit, err);
    }
    if (rc < 0) {
        return rc;
    }
    struct scan scan = {.context = context, .answer = answer, .err = err};
    struct reader_stamp stamp = {0};
    rc = reader_scan(context->reader, request->segments[SEGMENT_TABLE], version, limit, scan_row,
                     &scan, &stamp, err);
    if (is_view(context, request->segments[SEGMENT_TABLE], version, rc, err)) {
        rc = scan_view(context, request->segments[SEGMENT_TABLE], version, limit, &scan, &stamp,
                       err);
    }
    if (rc < 0) {
        return rc;
    }
    answer->type = "application/x-ndjson";
    stamp_headers(answer, stamp.version, stamp.epoch, stamp.cut);
    json_decref(stamp.cut);
    return scan.rc;
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
    int rc = reader_needed(context, err);
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
