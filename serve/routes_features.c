/* Features of entities in the shape of Feast's server, whose clients ("online_store: type: remote")
 * can so read Kappa's tables: POST /get-online-features. Own header: routes_private.h.
 *
 *     {"features":["table:column",...], "entities":{"user_id":["u1","u2"]}, "full_feature_names":bool}
 *     -> {"metadata":{"feature_names":["user_id","column",...],
 *                     "stamps":[{"processor","version","epoch","cut"}]},
 *         "results":[{"values":[..],"statuses":["PRESENT"|"NULL_VALUE"|"NOT_FOUND"],
 *                     "event_timestamps":[..]}]}
 *
 * results are by feature, in the order of feature_names, and hold a value for each entity, as Feast's
 * clients read them. A feature view is a table, its join keys are the table's key columns; of windows
 * the newest one is given, and its end is the event's time (else 1970). A view (CREATE VIEW) is one too, by
 * its own key (serve/query.h). All tables and views of a processor are read from one version at one cut. */
#include "base/timefmt.h"
#include "include/kappa/record.h"
#include "serve/reader_pins.h"
#include "serve/routes_private.h"

#include <stdlib.h>
#include <string.h>

#define FEATURES_MAX     1024
#define ENTITIES_MAX     100000
#define VALUES_BYTES_MAX (64 << 20)
#define NO_TIME_TEXT     "1970-01-01T00:00:00Z"

struct feature {
    char table[LIMIT_NAME_LEN + 1];
    const char *column; /* in the body */
    const char *title;  /* in the answer: column, or the text that full_feature_names makes */
    char *owned;
    uint32_t pin;    /* which reading */
    uint32_t output; /* index of the column */
    bool done;       /* its table was read */
    struct buf values, statuses, times;
};

struct request {
    const json_t *entities;
    size_t rows;
    struct feature *features;
    uint32_t count;
    struct reader_pins pins;
    const struct route_context *context;
};

/* ---- what is asked */

static int feature_read(const json_t *item, bool full, struct feature *out, struct err *err)
{
    const char *text = json_is_string(item) ? json_string_value(item) : "";
    const char *colon = strchr(text, ':');
    size_t len = colon == NULL ? 0 : (size_t)(colon - text);
    if (len == 0 || len > LIMIT_NAME_LEN || colon[1] == '\0') {
        return err_set(err, KE_INVALID, "a feature is \"table:column\", not \"%.100s\"", text);
    }
    memcpy(out->table, text, len);
    out->column = colon + 1;
    out->owned = full ? xasprintf("%s__%s", out->table, out->column) : NULL;
    out->title = full ? out->owned : out->column;
    return 0;
}

static int names_differ(const struct request *request, struct err *err)
{
    for (uint32_t i = 0; i < request->count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(request->features[i].title, request->features[k].title) == 0) {
                int rc = err_set(err, KE_INVALID, "two features are named %s",
                                 request->features[i].title);
                err_hint(err, "\"full_feature_names\":true names them table__column");
                return rc;
            }
        }
    }
    return 0;
}

static int entities_read(struct request *request, struct err *err)
{
    const char *name;
    json_t *list;
    bool first = true;
    json_object_foreach ((json_t *)(uintptr_t)request->entities, name, list) {
        if (!json_is_array(list) || json_array_size(list) > ENTITIES_MAX ||
            (!first && json_array_size(list) != request->rows)) {
            return err_set(err, KE_INVALID,
                           "the entities of \"%.100s\" must be a list as long as the others, of at "
                           "most %d",
                           name, ENTITIES_MAX);
        }
        request->rows = json_array_size(list);
        first = false;
    }
    return first ? err_set(err, KE_INVALID, "\"entities\" is empty: name the keys to read") : 0;
}

static int request_read(const json_t *body, struct request *out, struct err *err)
{
    const json_t *features = json_object_get(body, "features");
    const json_t *full_names = json_object_get(body, "full_feature_names");
    if (full_names != NULL && !json_is_null(full_names) && !json_is_boolean(full_names)) {
        return err_set(err, KE_INVALID, "\"full_feature_names\" must be true or false");
    }
    bool full = json_is_true(full_names);
    out->entities = json_object_get(body, "entities");
    if (json_object_get(body, "feature_service") != NULL) {
        int rc = err_set(err, KE_INVALID, "there are no feature services here");
        err_hint(err, "list the features: {\"features\":[\"table:column\"],...}");
        return rc;
    }
    if (!json_is_array(features) || !json_is_object(out->entities) ||
        json_array_size(features) == 0 || json_array_size(features) > FEATURES_MAX) {
        int rc = err_set(err, KE_INVALID,
                         "the body needs \"features\", a list of at most %d, and \"entities\", an "
                         "object",
                         FEATURES_MAX);
        err_hint(err,
                 "{\"features\":[\"user_features:clicks\"],\"entities\":{\"user_id\":[\"u1\"]}}");
        return rc;
    }
    int rc = entities_read(out, err);
    out->features = xcalloc(json_array_size(features), sizeof *out->features);
    for (size_t i = 0; i < json_array_size(features) && rc == 0; i++) {
        rc = feature_read(json_array_get(features, i), full, &out->features[out->count++], err);
    }
    return rc == 0 ? names_differ(out, err) : rc;
}

/* ---- which tables */

static uint32_t pin_of(const struct reader_pins *pins, const char *table)
{
    for (uint32_t i = 0; i < pins->name_count; i++) {
        if (strcmp(pins->names[i].name, table) == 0) {
            return pins->names[i].pin;
        }
    }
    return PLAN_NONE;
}

static uint32_t output_of(const struct plan_view *view, const char *name)
{
    for (uint32_t i = 0; i < view->output_count; i++) {
        if (strcmp(view->outputs[i].name, name) == 0) {
            return i;
        }
    }
    return PLAN_NONE;
}

static int column_find(struct feature *feature, const char *kind, const struct plan_view *view,
                       struct err *err)
{
    feature->output = output_of(view, feature->column);
    return feature->output != PLAN_NONE ? 0
                                        : err_set(err, KE_NOT_FOUND, "%s %s has no column %.100s",
                                                  kind, feature->table, feature->column);
}

static int feature_find(struct request *request, struct feature *feature, struct err *err)
{
    feature->pin = pin_of(&request->pins, feature->table);
    if (feature->pin == PLAN_NONE) {
        return reader_table_not_served(request->pins.reader, feature->table, err);
    }
    const struct reader_version *version = request->pins.reads[feature->pin].version;
    uint32_t table = reader_version_table(version, feature->table);
    return table == PLAN_NONE ? 0 /* a view's columns are known when it is read */
                              : column_find(feature, "table", &version->plan->views[table], err);
}

static int pin_tables(struct request *request, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < request->count && rc == 0; i++) {
        rc = reader_pins_add(&request->pins, request->features[i].table, 0, err);
    }
    if (rc == 0) {
        rc = reader_pins_begin(&request->pins, err);
    }
    for (uint32_t i = 0; i < request->count && rc == 0; i++) {
        rc = feature_find(request, &request->features[i], err);
    }
    return rc;
}

/* ---- values */

static void put_value(struct feature *feature, size_t i, const json_t *value, const char *status,
                      const char *time)
{
    const char *comma = i == 0 ? "" : ",";
    buf_append_text(&feature->values, comma);
    json_write(&feature->values, value);
    buf_printf(&feature->statuses, "%s\"%s\"", comma, status);
    buf_printf(&feature->times, "%s\"%s\"", comma, time);
}

/* Whether to go on reading: all values are held until the answer is put together. */
static int check(const struct request *request, struct err *err)
{
    size_t bytes = 0;
    int rc = route_stopped(request->context->stop, err);
    for (uint32_t i = 0; i < request->count; i++) {
        const struct feature *feature = &request->features[i];
        bytes += feature->values.len + feature->statuses.len + feature->times.len;
    }
    if (rc == 0 && bytes > VALUES_BYTES_MAX) {
        rc = err_set(err, KE_LIMIT, "the answer would be longer than %d MiB",
                     VALUES_BYTES_MAX >> 20);
        err_hint(err, "ask for fewer entities or features at once");
    }
    return rc;
}

/* The column that is the end of the row's window, or PLAN_NONE. */
static uint32_t window_end_of(const struct plan_view *view)
{
    uint32_t output = PLAN_NONE;
    for (uint32_t k = 0; k < view->key_count && output == PLAN_NONE; k++) {
        output = view->keys[k].role == PLAN_KEY_WINDOW_END ? output_of(view, view->keys[k].name)
                                                           : PLAN_NONE;
    }
    return output;
}

/* What the column of the window's end says. */
static void event_time(const struct kappa_value *row, uint32_t end, char *text)
{
    memcpy(text, NO_TIME_TEXT, sizeof NO_TIME_TEXT);
    if (row != NULL && end != PLAN_NONE && !row[end].is_null &&
        row[end].type == KAPPA_TYPE_TIMESTAMPTZ) {
        time_format(row[end].i, text);
    }
}

/* The lists that the columns of a key are read from. */
struct key_lists {
    const json_t *lists[ROUTE_KEYS_MAX];
    uint32_t count;
};

/* One more column of the key of a table, or view. */
static int key_list_add(const struct request *request, const char *kind, const char *table,
                        const char *column, struct key_lists *keys, struct err *err)
{
    const json_t *list = json_object_get(request->entities, column);
    if (list == NULL) {
        return err_set(err, KE_INVALID, "%s %s is read by %s, which is not in \"entities\"", kind,
                       table, column);
    }
    if (keys->count == ROUTE_KEYS_MAX) {
        return err_set(err, KE_LIMIT, "%s %s has a key of more than %d columns", kind, table,
                       ROUTE_KEYS_MAX);
    }
    keys->lists[keys->count++] = list;
    return 0;
}

static int table_keys(const struct request *request, const struct plan_view *view,
                      struct key_lists *keys, struct err *err)
{
    int rc = 0;
    *keys = (struct key_lists){0};
    const struct plan_key *key;
    for (uint32_t k = 0; rc == 0 && (key = reader_key_column(view, k)) != NULL; k++) {
        rc = key_list_add(request, "table", view->shape.name, key->name, keys, err);
    }
    return rc == 0 && keys->count == 0
               ? err_set(err, KE_REFUSED, "table %s has no key columns to read it by",
                         view->shape.name)
               : rc;
}

/* The key of an entity: 1, 0 it names no row, negative. */
static int key_of(const struct key_lists *keys, size_t i, struct route_key *key, struct err *err)
{
    json_t *columns = json_array();
    for (uint32_t k = 0; k < keys->count; k++) {
        json_t *value = json_array_get(keys->lists[k], i);
        ASSERT(json_array_append(columns, value) == 0);
    }
    int rc = route_key_read(columns, key, err);
    json_decref(columns);
    return rc;
}

/* 1 a row, 0 none. */
static int row_find(const struct reader_read *reading, struct row_finisher *finisher,
                    const struct key_lists *keys, size_t i, const struct kappa_value **values,
                    struct err *err)
{
    struct route_key key;
    int rc = key_of(keys, i, &key, err);
    if (rc == 1) {
        rc = reader_row_find_text(reading, finisher, (const char *const *)key.texts, key.count,
                                  KAPPA_NO_TIME, values, err);
        route_key_free(&key);
    }
    if (rc < 0) {
        err_prefix(err, "entity %zu", i);
    }
    return rc;
}

/* Row i of a table, or NULL: what is asked of it. */
static void put_row(struct request *request, const char *table, size_t i,
                    const struct kappa_value *row, const char *time)
{
    for (uint32_t f = 0; f < request->count; f++) {
        struct feature *feature = &request->features[f];
        if (strcmp(feature->table, table) != 0) {
            continue;
        }
        bool null = row == NULL || row[feature->output].is_null;
        json_t *value = null ? json_null() : reader_value_json(&row[feature->output]);
        put_value(feature, i, value,
                  row == NULL ? "NOT_FOUND"
                  : null      ? "NULL_VALUE"
                              : "PRESENT",
                  time);
        feature->done = true;
        json_decref(value);
    }
}

/* The features of one table, from `first` on, into their lists. */
static int table_read(struct request *request, const struct feature *first, struct err *err)
{
    struct reader_read reading = request->pins.reads[first->pin];
    reading.table = reader_version_table(reading.version, first->table);
    const struct plan_view *view = &reading.version->plan->views[reading.table];
    uint32_t end = window_end_of(view);
    struct key_lists keys;
    int rc = table_keys(request, view, &keys, err);
    struct row_finisher *finisher =
        reader_finisher_take(request->pins.reader, reading.version, reading.table);
    for (size_t i = 0; i < request->rows && rc == 0; i++) {
        const struct kappa_value *row = NULL;
        char time[TIME_TEXT_LEN + 1];
        rc = row_find(&reading, finisher, &keys, i, &row, err);
        if (rc >= 0) {
            row = rc == 1 ? row : NULL;
            event_time(row, end, time);
            put_row(request, first->table, i, row, time);
            rc = check(request, err);
        }
    }
    reader_finisher_give(request->pins.reader, reading.version, reading.table, finisher);
    return rc;
}

/* ---- views */

struct view_giving {
    struct request *request;
    const char *view;
    uint32_t end; /* column of the window's end, or PLAN_NONE */
    int rc;
    struct err *err;
};

static bool view_row(void *ctx, size_t i, const struct kappa_value *row)
{
    struct view_giving *giving = ctx;
    char time[TIME_TEXT_LEN + 1];
    event_time(row, giving->end, time);
    put_row(giving->request, giving->view, i, row, time);
    giving->rc = check(giving->request, giving->err);
    return giving->rc == 0;
}

/* Where the columns are, of the features that are of this view, and the lists of its key. */
static int view_find(struct request *request, const char *view, const struct query_rows *rows,
                     struct key_lists *keys, struct err *err)
{
    const struct query_view_key *key = query_rows_key(rows);
    int rc = key->count == 0 ? query_rows_keyless(rows, err) : 0;
    *keys = (struct key_lists){0};
    for (uint32_t f = 0; f < request->count && rc == 0; f++) {
        struct feature *feature = &request->features[f];
        rc = strcmp(feature->table, view) == 0
                 ? column_find(feature, "view", query_rows_shape(rows), err)
                 : 0;
    }
    for (uint32_t k = 0; k < key->count && rc == 0; k++) {
        rc = key_list_add(request, "view", view, key->names[k], keys, err);
    }
    return rc;
}

static int entities_ask(const struct request *request, const struct key_lists *keys,
                        struct query_rows *rows, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < request->rows && rc == 0; i++) {
        struct route_key key;
        rc = key_of(keys, i, &key, err);
        if (rc == 0) {
            query_rows_ask_none(rows);
        } else if (rc == 1) {
            rc =
                query_rows_ask(rows, (const char *const *)key.texts, key.count, KAPPA_NO_TIME, err);
            route_key_free(&key);
        }
        if (rc < 0) {
            err_prefix(err, "entity %zu", i);
        }
    }
    return rc;
}

/* The same of a view, at the cut of the tables of its processor. */
static int view_read(struct request *request, const struct feature *first, struct err *err)
{
    const struct route_context *context = request->context;
    struct query *query = NULL;
    struct query_rows *rows = NULL;
    struct key_lists keys;
    int rc = route_view_rows(context, first->table, &request->pins.reads[first->pin], &query, &rows,
                             err);
    if (rc < 0) {
        return rc;
    }
    const struct query_view_key *key = query_rows_key(rows);
    struct view_giving giving = {.request = request,
                                 .view = first->table,
                                 .end = key->end != NULL ? key->end_output : PLAN_NONE,
                                 .err = err};
    rc = view_find(request, first->table, rows, &keys, err);
    rc = rc == 0 ? entities_ask(request, &keys, rows, err) : rc;
    if (rc == 0) {
        rc = query_rows_run(rows, QUERY_VIEW_TIMEOUT_US, context->stop, view_row, &giving, err);
    }
    query_rows_close(rows);
    query_pool_give(context->queries, query);
    return rc < 0 ? rc : giving.rc;
}

/* ---- the answer */

static void put_metadata(const struct request *request, struct buf *out)
{
    json_t *names = json_array();
    json_t *stamps = json_array();
    const char *name;
    json_t *list;
    json_object_foreach ((json_t *)(uintptr_t)request->entities, name, list) {
        ASSERT(json_array_append_new(names, json_string(name)) == 0);
    }
    for (uint32_t i = 0; i < request->count; i++) {
        ASSERT(json_array_append_new(names, json_string(request->features[i].title)) == 0);
    }
    for (uint32_t i = 0; i < request->pins.read_count; i++) {
        struct reader_stamp stamp;
        reader_stamp_of(&request->pins.reads[i], &stamp);
        json_t *item = json_pack("{s:s, s:I, s:I, s:o}", "processor", stamp.processor, "version",
                                 (json_int_t)stamp.version, "epoch", (json_int_t)stamp.epoch, "cut",
                                 stamp.cut);
        ASSERT(item != NULL);
        reader_stamp_since(stamp.since, item);
        ASSERT(json_array_append_new(stamps, item) == 0);
    }
    json_t *metadata = json_pack("{s:o, s:o}", "feature_names", names, "stamps", stamps);
    buf_append_text(out, "{\"metadata\":");
    json_write(out, metadata);
    json_decref(metadata);
}

static void put_result(struct buf *out, bool first, const struct feature *feature)
{
    buf_append_text(out, first ? "{\"values\":[" : ",\n{\"values\":[");
    buf_append(out, feature->values.data, feature->values.len);
    buf_append_text(out, "],\"statuses\":[");
    buf_append(out, feature->statuses.data, feature->statuses.len);
    buf_append_text(out, "],\"event_timestamps\":[");
    buf_append(out, feature->times.data, feature->times.len);
    buf_append_text(out, "]}");
}

static void feature_free(struct feature *feature)
{
    buf_free(&feature->values);
    buf_free(&feature->statuses);
    buf_free(&feature->times);
    free(feature->owned);
}

static int put_results(const struct request *request, struct route_answer *answer, struct err *err)
{
    const char *name;
    json_t *list;
    bool first = true;
    int rc = 0;
    put_metadata(request, &answer->body);
    buf_append_text(&answer->body, ",\"results\":[");
    json_object_foreach ((json_t *)(uintptr_t)request->entities, name, list) {
        struct feature entity = {0};
        for (size_t i = 0; i < request->rows; i++) {
            put_value(&entity, i, json_array_get(list, i), "PRESENT", NO_TIME_TEXT);
        }
        put_result(&answer->body, first, &entity);
        feature_free(&entity);
        first = false;
    }
    for (uint32_t i = 0; i < request->count && rc == 0; i++) {
        put_result(&answer->body, false, &request->features[i]);
        rc = route_answer_spill(answer, err);
    }
    buf_append_text(&answer->body, "]}\n");
    return rc;
}

static int features_answer(struct request *request, struct route_answer *answer, struct err *err)
{
    int rc = pin_tables(request, err);
    for (uint32_t i = 0; i < request->count && rc == 0; i++) {
        const struct feature *feature = &request->features[i];
        if (!feature->done && request->rows > 0) {
            bool view = reader_version_table(request->pins.reads[feature->pin].version,
                                             feature->table) == PLAN_NONE;
            rc = (view ? view_read : table_read)(request, feature, err);
        }
    }
    if (rc == 0 && request->pins.read_count == 1) {
        struct reader_stamp stamp;
        reader_stamp_of(&request->pins.reads[0], &stamp);
        route_stamp(answer, &stamp);
        json_decref(stamp.cut);
    }
    if (rc == 0) {
        rc = put_results(request, answer, err);
    }
    reader_pins_end(&request->pins);
    return rc;
}

int route_features(const struct route_context *context, const struct route_request *request,
                   struct route_answer *answer, struct err *err)
{
    json_t *body = NULL;
    int rc = route_reader_needed(context, err);
    if (rc == 0) {
        rc = route_body_object(request, &body, err);
    }
    if (rc < 0) {
        return rc;
    }
    struct request *asked = xcalloc(1, sizeof *asked);
    asked->context = context;
    reader_pins_init(&asked->pins, context->reader);
    rc = request_read(body, asked, err);
    if (rc == 0) {
        rc = features_answer(asked, answer, err);
    }
    for (uint32_t i = 0; i < asked->count; i++) {
        feature_free(&asked->features[i]);
    }
    free(asked->features);
    free(asked);
    json_decref(body);
    return rc;
}
