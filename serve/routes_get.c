/* Several rows at one cut: POST /v1/tables/T/get. Own header: routes_private.h.
 *
 *     {"keys":[["u1"],["u2"]], "at":time|[time...], "version":N}
 *     -> {"table","version","epoch","cut","rows":[row|null...]}     in the order of the keys
 */
#include "include/kappa/record.h"
#include "serve/reader_inner.h"
#include "serve/routes_private.h"

#include <stdlib.h>
#include <string.h>

#define SEGMENT_TABLE 2 /* of /v1/tables/T/get */
#define KEYS_MAX      100000

int route_time_json(const json_t *value, int64_t *us, struct err *err)
{
    if (json_is_string(value)) {
        return route_time(json_string_value(value), us, err);
    }
    int64_t ms = json_is_integer(value) ? json_integer_value(value) : INT64_MAX;
    if (ms > INT64_MAX / 1000 || ms < INT64_MIN / 1000) {
        return err_set(err, KE_INVALID, "a time is a text (RFC 3339) or milliseconds since 1970");
    }
    *us = ms * 1000;
    return 0;
}

/* ---- keys */

void route_key_free(struct route_key *key)
{
    for (uint32_t i = 0; i < key->count; i++) {
        free(key->texts[i]);
    }
    key->count = 0;
}

/* As the texts of a path: words, figures, true and false. */
static char *scalar_text(const json_t *value)
{
    if (json_is_string(value)) {
        return xstrdup(json_string_value(value));
    }
    bool plain = json_is_number(value) || json_is_boolean(value) || json_is_figure(value);
    return plain ? json_print(value) : NULL;
}

int route_key_read(const json_t *values, struct route_key *out, struct err *err)
{
    size_t count = json_is_array(values) ? json_array_size(values) : 1;
    out->count = 0;
    if (count > ROUTE_KEYS_MAX) {
        return err_set(err, KE_LIMIT, "a key of more than %d values", ROUTE_KEYS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_is_array(values) ? json_array_get(values, i) : values;
        char *text = scalar_text(value);
        if (text == NULL) {
            bool null = json_is_null(value);
            route_key_free(out);
            return null ? 0
                        : err_set(err, KE_INVALID,
                                  "a key is a list of texts, numbers and booleans, one for each "
                                  "key column");
        }
        out->texts[out->count++] = text;
    }
    return 1;
}

/* ---- the call */

/* One request. */
struct get_many {
    const json_t *keys;
    const json_t *at;
    uint32_t version;
};

static int get_many_read(const json_t *body, struct get_many *out, struct err *err)
{
    int rc = json_only(body, "keys,at,version", err);
    if (rc < 0) {
        return rc;
    }
    out->keys = json_object_get(body, "keys");
    out->at = json_object_get(body, "at");
    if (!json_is_array(out->keys)) {
        rc = err_set(err, KE_INVALID, "the body needs \"keys\", a list of keys");
        err_hint(err, "{\"keys\":[[\"u1\"],[\"u2\"]]}: each key has one value for each key column");
        return rc;
    }
    if (json_array_size(out->keys) > KEYS_MAX) {
        return err_set(err, KE_LIMIT, "more than %d keys in one request", KEYS_MAX);
    }
    if (json_is_array(out->at) && json_array_size(out->at) != json_array_size(out->keys)) {
        return err_set(err, KE_INVALID, "\"at\" is one time, or one for each key");
    }
    return route_version_json(body, &out->version, err);
}

/* What is asked by key i: 1 a key, 0 it names no row, negative. */
static int key_asked(const struct get_many *asked, size_t i, struct route_key *key, int64_t *at_us,
                     struct err *err)
{
    const json_t *at = json_is_array(asked->at) ? json_array_get(asked->at, i) : asked->at;
    *at_us = KAPPA_NO_TIME;
    int rc = at == NULL || json_is_null(at) ? 0 : route_time_json(at, at_us, err);
    return rc < 0 ? rc : route_key_read(json_array_get(asked->keys, i), key, err);
}

/* Appends row i: null when there is none. */
static int get_one(const struct reader_read *reading, struct row_finisher *finisher,
                   const struct get_many *asked, size_t i, struct buf *out, struct err *err)
{
    int64_t at_us;
    struct route_key key;
    const struct kappa_value *values = NULL;
    int rc = key_asked(asked, i, &key, &at_us, err);
    if (rc == 1) {
        rc = reader_row_find_text(reading, finisher, (const char *const *)key.texts, key.count,
                                  at_us, &values, err);
        route_key_free(&key);
    }
    if (rc < 0) {
        err_prefix(err, "key %zu", i);
        return rc;
    }
    if (rc == 0) {
        buf_append_text(out, "null");
    } else {
        reader_row_write(out, &reading->version->plan->views[reading->table], values);
    }
    return 0;
}

/* The rows, separated by commas. */
static int get_rows(const struct route_context *context, const struct reader_read *reading,
                    const struct get_many *asked, struct route_answer *answer, struct err *err)
{
    struct row_finisher *finisher =
        reader_finisher_take(context->reader, reading->version, reading->table);
    int rc = 0;
    for (size_t i = 0; i < json_array_size(asked->keys) && rc == 0; i++) {
        buf_append_text(&answer->body, i == 0 ? "" : ",\n");
        rc = route_stopped(context->stop, err);
        if (rc == 0) {
            rc = get_one(reading, finisher, asked, i, &answer->body, err);
        }
        if (rc == 0) {
            rc = route_answer_spill(answer, err);
        }
    }
    reader_finisher_give(context->reader, reading->version, reading->table, finisher);
    return rc;
}

/* Rows of a view on their way out. */
struct view_answer {
    struct route_answer *answer;
    const struct plan_view *shape;
    int rc;
    struct err *err;
};

static bool put_view_row(void *ctx, size_t i, const struct kappa_value *values)
{
    struct view_answer *view = ctx;
    struct buf *out = &view->answer->body;
    buf_append_text(out, i == 0 ? "" : ",\n");
    if (values == NULL) {
        buf_append_text(out, "null");
    } else {
        reader_row_write(out, view->shape, values);
    }
    view->rc = route_answer_spill(view->answer, view->err);
    return view->rc == 0;
}

static int view_keys_ask(struct query_rows *rows, const struct get_many *asked, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < json_array_size(asked->keys) && rc == 0; i++) {
        int64_t at_us;
        struct route_key key;
        rc = key_asked(asked, i, &key, &at_us, err);
        if (rc == 0) {
            query_rows_ask_none(rows);
        } else if (rc == 1) {
            rc = query_rows_ask(rows, (const char *const *)key.texts, key.count, at_us, err);
            route_key_free(&key);
        }
        if (rc < 0) {
            err_prefix(err, "key %zu", i);
        }
    }
    return rc;
}

/* The same of a view. */
static int get_view_rows(const struct route_context *context, const char *view,
                         const struct reader_read *reading, const struct get_many *asked,
                         struct route_answer *answer, struct err *err)
{
    struct query *query = NULL;
    struct query_rows *rows = NULL;
    int rc = route_view_rows(context, view, reading, &query, &rows, err);
    if (rc < 0) {
        return rc;
    }
    struct view_answer out = {.answer = answer, .shape = query_rows_shape(rows), .err = err};
    rc = view_keys_ask(rows, asked, err);
    if (rc == 0) {
        rc = query_rows_run(rows, QUERY_VIEW_TIMEOUT_US, context->stop, put_view_row, &out, err);
    }
    query_rows_close(rows);
    query_pool_give(context->queries, query);
    return rc < 0 ? rc : out.rc;
}

static int get_many_answer(const struct route_context *context, const char *table,
                           const struct get_many *asked, struct route_answer *answer,
                           struct err *err)
{
    struct reader_read reading;
    struct reader_stamp stamp;
    int rc = reader_begin_any(context->reader, table, asked->version, &reading, err);
    if (rc < 0) {
        return rc;
    }
    reader_stamp_of(&reading, &stamp);
    route_stamp(answer, &stamp);
    route_stamp_body(&answer->body, table, &stamp);
    json_decref(stamp.cut);
    buf_append_text(&answer->body, ",\"rows\":[");
    rc = reading.table == PLAN_NONE ? get_view_rows(context, table, &reading, asked, answer, err)
                                    : get_rows(context, &reading, asked, answer, err);
    buf_append_text(&answer->body, "]}\n");
    reader_end(context->reader, &reading);
    return rc;
}

int route_get_many(const struct route_context *context, const struct route_request *request,
                   struct route_answer *answer, struct err *err)
{
    json_t *body = NULL;
    struct get_many asked = {0};
    int rc = route_reader_needed(context, err);
    if (rc == 0) {
        rc = route_body_object(request, &body, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = get_many_read(body, &asked, err);
    if (rc == 0) {
        rc = get_many_answer(context, request->segments[SEGMENT_TABLE], &asked, answer, err);
    }
    json_decref(body);
    return rc;
}
