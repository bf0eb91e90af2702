/* Rows of a table one a line: all of them, of a range, page by page. Own header: routes_private.h.
 *
 *     GET /v1/tables/T/rows?key=..&key=..   leading key columns that are equal, in their order
 *                          &from=..&below=..  bounds of the next key column; or &prefix=..
 *                          &since=..&until=..  windows whose end is in (since, until]; or &at=..
 *                          &where=EXPR        of these, rows of which it is true (row_filter.h)
 *                          &limit=N           and X-Kappa-Next says where to go on: &after=..
 *
 * A place to go on from is VERSION.MADE.ROW.SOURCE.KEY, the last row given, in hexadecimal digits but for
 * the version: a page of another version than the one before is refused, not mixed in. MADE is when the
 * version was deployed: a data directory that was wiped has versions of the same numbers again. Every page
 * is read at a cut of its own. */
#include "include/kappa/record.h"
#include "serve/query.h"
#include "serve/reader_inner.h"
#include "serve/routes_private.h"
#include "serve/row_filter.h"
#include "serve/row_range.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_TABLE 2    /* of /v1/tables/T/rows */
#define STOP_EVERY    4096 /* rows that are passed over */
#define PLACE_LEN     (64 + 2 * LIMIT_TABLE_KEY_LEN)

/* A row to go on behind. */
struct place {
    uint32_t version; /* 0: none is given */
    uint64_t made;    /* version_made of it */
    uint32_t number;  /* of the rows of the key */
    uint32_t source;
    size_t len;
    uint8_t key[LIMIT_TABLE_KEY_LEN - KAPPA_KEY_SOURCE_BYTES];
};

struct scan {
    const struct route_context *context;
    struct route_answer *answer;
    struct row_filter *where; /* or NULL */
    int rc;                   /* why it broke off */
    struct err *err;
};

/* ---- places */

static int place_read(const char *text, struct place *out, struct err *err)
{
    int used = 0;
    *out = (struct place){0};
    int found = sscanf(text, "%" SCNu32 ".%" SCNx64 ".%" SCNx32 ".%" SCNx32 ".%n", &out->version,
                       &out->made, &out->number, &out->source, &used);
    const char *digits = text + used;
    size_t len = strlen(digits);
    bool well =
        found == 4 && used > 0 && out->version > 0 && len % 2 == 0 && len / 2 <= sizeof out->key;
    for (size_t i = 0; well && i < len; i += 2) {
        int high = hex_digit(digits[i]);
        int low = hex_digit(digits[i + 1]);
        well = high >= 0 && low >= 0;
        out->key[i / 2] = (uint8_t)(well ? high * 16 + low : 0);
    }
    out->len = len / 2;
    return well ? 0
                : err_set(err, KE_INVALID,
                          "after= takes what a page before had as its header X-Kappa-Next");
}

/* Tells it from one of the same number in a data directory that was there before. */
static uint64_t version_made(const struct reader_version *version)
{
    return (uint64_t)json_int(version->object, "created_ms", 0);
}

static void place_write(const struct reader_cursor *cursor, const struct reader_version *version,
                        char *text)
{
    uint32_t source = 0;
    const uint8_t *key = NULL;
    size_t len = 0;
    reader_cursor_key(cursor, &source, &key, &len);
    int at = snprintf(text, PLACE_LEN, "%" PRIu32 ".%" PRIx64 ".%" PRIx32 ".%" PRIx32 ".",
                      version->number, version_made(version), reader_cursor_number(cursor), source);
    for (size_t i = 0; i < len; i++) {
        at += snprintf(text + at, PLACE_LEN - (size_t)at, "%02x", key[i]);
    }
}

/* Is the cursor's row the one of the place, or before it? */
static bool place_passed(const struct place *place, const struct plan_view *view,
                         const struct reader_cursor *cursor)
{
    uint32_t source = 0;
    const uint8_t *key = NULL;
    size_t len = 0;
    reader_cursor_key(cursor, &source, &key, &len);
    int order = memcmp(key, place->key, len < place->len ? len : place->len);
    if (order != 0 || len != place->len) {
        return order != 0 ? order < 0 : len < place->len;
    }
    if (view->kind == PLAN_APPEND && source != place->source) {
        return source < place->source;
    }
    return reader_cursor_number(cursor) <= place->number;
}

/* Was the page before of this version? */
static int place_check(const struct place *after, const struct reader_version *version,
                       struct err *err)
{
    if (after->version != version->number) {
        int rc = err_set(err, KE_REFUSED,
                         "the page before was of version %" PRIu32 ", and version %" PRIu32
                         " was swapped in since",
                         after->version, version->number);
        err_hint(err, "begin anew, or go on in the old one with version=%" PRIu32, after->version);
        return rc;
    }
    if (after->made != version_made(version)) {
        int rc = err_set(err, KE_REFUSED, "the page before was of another data directory");
        err_hint(err, "begin anew");
        return rc;
    }
    return 0;
}

/* ---- rows */

/* Room for one more row; false: no more. */
static bool scan_goes_on(struct scan *scan)
{
    scan->rc = route_stopped(scan->context->stop, scan->err);
    if (scan->rc == 0) {
        scan->rc = route_answer_spill(scan->answer, scan->err);
    }
    return scan->rc == 0;
}

static bool scan_object(void *ctx, const json_t *row)
{
    struct scan *scan = ctx;
    if (!scan_goes_on(scan)) {
        return false;
    }
    route_answer_json(scan->answer, row);
    return true;
}

/* All rows of a view. */
static int scan_view(const struct route_request *request, uint32_t version, int64_t limit,
                     struct scan *scan, struct err *err)
{
    struct query *query = NULL;
    struct reader_stamp stamp = {0};
    for (uint32_t i = 0; i < request->query_count; i++) {
        const char *name = request->query[i].name;
        if (strcmp(name, "limit") != 0 && strcmp(name, "version") != 0) {
            int rc = err_set(err, KE_INVALID, "%s is a view, which has no key: %s is not for it",
                             request->segments[SEGMENT_TABLE], name);
            err_hint(err, "POST /v1/sql has WHERE, ORDER BY and LIMIT");
            return rc;
        }
    }
    int rc = query_pool_take(scan->context->queries, &query, err);
    if (rc == 0) {
        rc = query_view_scan(query, request->segments[SEGMENT_TABLE], version, limit, scan_object,
                             scan, scan->context->stop, &stamp, err);
        query_pool_give(scan->context->queries, query);
    }
    if (rc == 0) {
        route_stamp(scan->answer, &stamp);
        json_decref(stamp.cut);
        rc = scan->rc;
    }
    return rc;
}

/* Is it one that is asked for? 1, 0, negative. */
static int scan_takes(struct scan *scan, const struct kappa_value *values, uint64_t *passed)
{
    if (scan->where == NULL) {
        return 1;
    }
    int holds = row_filter_holds(scan->where, values, scan->err);
    if (holds == 0 && ++*passed % STOP_EVERY == 0) {
        holds = route_stopped(scan->context->stop, scan->err);
    }
    return holds;
}

/* Rows up to the limit (below 0: all); behind it the header says where to go on. */
static int scan_cursor(struct reader_cursor *cursor, const struct plan_view *view,
                       const struct reader_version *version, int64_t limit,
                       const struct place *after, struct scan *scan)
{
    int64_t given = 0;
    uint64_t passed = 0;
    char next[PLACE_LEN] = "";
    const struct kappa_value *values = NULL;
    int rc;
    while ((rc = reader_cursor_next(cursor, &values, scan->err)) == 1) {
        if (after->version != 0 && place_passed(after, view, cursor)) {
            continue;
        }
        int takes = scan_takes(scan, values, &passed);
        if (takes < 0) {
            return takes;
        }
        if (takes == 0) {
            continue;
        }
        if (given == limit) { /* there is one more */
            route_answer_header(scan->answer, "X-Kappa-Next", next);
            return 0;
        }
        if (!scan_goes_on(scan)) {
            return scan->rc;
        }
        reader_row_write(&scan->answer->body, view, values);
        buf_append_u8(&scan->answer->body, '\n');
        if (++given == limit) {
            place_write(cursor, version, next);
        }
    }
    return rc;
}

static int scan_read(const struct reader_read *reading, const struct route_request *request,
                     int64_t limit, struct scan *scan, struct err *err)
{
    const struct plan_view *view = &reading->version->plan->views[reading->table];
    const char *text = route_query(request, "after");
    struct place *after = xcalloc(1, sizeof *after);
    struct reader_bounds *bounds = xcalloc(1, sizeof *bounds);
    struct reader_cursor *cursor = NULL;
    reader_bounds_init(bounds);
    int rc = text == NULL ? 0 : place_read(text, after, err);
    if (rc == 0 && after->version != 0) {
        rc = place_check(after, reading->version, err);
    }
    if (rc == 0) {
        struct row_range range;
        row_range_asked(request, &range);
        rc = row_range_bounds(&range, view, bounds, err);
    }
    const char *where = route_query(request, "where");
    if (rc == 0 && where != NULL) {
        rc = row_filter_open(view, where, &scan->where, err);
    }
    bool windowed = view->shape.windowed;
    if (rc == 0 && after->version != 0 && windowed && after->len < KAPPA_KEY_WINDOW_BYTES) {
        rc = err_set(err, KE_INVALID, "after= is of another table");
    }
    bool below = rc == 0 && windowed && after->version != 0 &&
                 load_i64_sortable(after->key) < bounds->range.window_least;
    if (rc == 0 && after->version != 0 && !below) {
        bounds->range.from = after->key;
        bounds->range.from_len = after->len;
    }
    if (rc == 0 && limit != 0) {
        rc = reader_cursor_open(scan->context->reader, reading, &bounds->range, &cursor, err);
    }
    if (rc == 0 && limit != 0) {
        rc = scan_cursor(cursor, view, reading->version, limit, after, scan);
    }
    reader_cursor_close(cursor);
    row_filter_close(scan->where);
    reader_bounds_free(bounds);
    free(bounds);
    free(after);
    return rc;
}

/* What the answer depends on: the version, its cut, and what was asked. */
static bool scan_is_known(const struct reader_version *version, const struct reader_stamp *stamp,
                          const struct route_request *request, struct route_answer *answer)
{
    struct buf content = {0};
    buf_printf(&content, "%s %" PRIu32 " %" PRIx64 " ", request->segments[SEGMENT_TABLE],
               stamp->version, version_made(version));
    json_write(&content, stamp->cut);
    for (uint32_t i = 0; i < request->query_count; i++) {
        buf_printf(&content, "%zu %s=%s", strlen(request->query[i].value), request->query[i].name,
                   request->query[i].value);
    }
    bool known = route_answer_tag(answer, request, content.data, content.len);
    buf_free(&content);
    return known;
}

int route_rows(const struct route_context *context, const struct route_request *request,
               struct route_answer *answer, struct err *err)
{
    uint32_t version = 0;
    int64_t limit = -1;
    int rc = route_reader_needed(context, err);
    if (rc == 0) {
        rc = route_version_asked(request, &version, err);
    }
    if (rc == 0) {
        rc = route_query_int(request, "limit", 0, INT64_MAX, -1, &limit, err);
    }
    if (rc < 0) {
        return rc;
    }
    struct scan scan = {.context = context, .answer = answer, .err = err};
    struct reader_read reading;
    answer->type = "application/x-ndjson";
    rc = reader_begin(context->reader, request->segments[SEGMENT_TABLE], version, &reading, err);
    if (route_is_view(context, request->segments[SEGMENT_TABLE], version, rc, err)) {
        return scan_view(request, version, limit, &scan, err);
    }
    if (rc < 0) {
        return rc;
    }
    struct reader_stamp stamp = {0};
    reader_stamp_of(&reading, &stamp);
    route_stamp(answer, &stamp);
    if (!scan_is_known(reading.version, &stamp, request, answer)) {
        rc = scan_read(&reading, request, limit, &scan, err);
    }
    json_decref(stamp.cut);
    reader_end(context->reader, &reading);
    return rc;
}
