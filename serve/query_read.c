/* Views of definitions read like tables: one row by its key, all rows. Own header: query.h.
 *
 * Both are statements, so that a view behaves the same way wherever it is read. */
#include "base/timefmt.h"
#include "serve/query_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VIEW_TIMEOUT_US 60000000

/* What its stamp says of the version that it read, when that is not complete. */
static void since_copy(const json_t *stamp, json_t *out)
{
    json_t *since = json_object_get(stamp, "complete_since");
    if (since != NULL) {
        ASSERT(json_object_set(out, "complete_since", since) == 0);
    }
}

/* The version that a name is read from, and the name without it; 0, or negative. Give it back. */
static int version_of(struct reader *reader, const char *text, uint32_t version, char *name,
                      struct reader_version **out, struct err *err)
{
    char processor[LIMIT_NAME_LEN + 1];
    struct catalog_pointer pointer = {0};
    int rc = reader_name_split(text, name, &version, err);
    if (rc == 0) {
        rc = version != 0 ? reader_version_resolve(reader, name, &version, processor, err)
                          : catalog_pointer_get(reader->catalog, name, &pointer, err);
    }
    if (rc != 0) {
        return rc;
    }
    return version != 0 ? reader_version_take(reader, processor, version, out, err)
                        : reader_version_take(reader, pointer.processor, pointer.version, out, err);
}

static const struct plan_read_view *find_view(const struct plan *plan, const char *name)
{
    for (uint32_t i = 0; i < plan->read_view_count; i++) {
        if (strcmp(plan->read_views[i].name, name) == 0) {
            return &plan->read_views[i];
        }
    }
    return NULL;
}

bool query_is_view(struct reader *reader, const char *name, uint32_t version)
{
    char plain[LIMIT_NAME_LEN + 1];
    struct reader_version *found = NULL;
    if (version_of(reader, name, version, plain, &found, NULL) != 0) {
        return false;
    }
    bool is_view = find_view(found->plan, plain) != NULL;
    reader_version_give(reader, found);
    return is_view;
}

/* Is this token a word for what changes by itself? behind: the text after it. */
static bool token_drifts(const struct query_token *token, const char *behind)
{
    static const struct {
        const char *word;
        const char *signs; /* that make it that */
    } words[] = {
        {"CURRENT_TIMESTAMP", ""}, {"CURRENT_DATE", ""}, {"CURRENT_TIME", ""}, {"NOW", "("},
        {"RANDOM", "("},           {"RANDOMBLOB", "("},  {"DATE", "()"},       {"TIME", "()"},
        {"DATETIME", "()"},        {"JULIANDAY", "()"},  {"UNIXEPOCH", "()"},
    };

    for (size_t i = 0; i < array_len(words); i++) {
        bool same = query_token_is(token, words[i].word);
        size_t at = 0;
        for (const char *sign = words[i].signs; same && *sign != '\0'; sign++) {
            struct query_token next = query_token_next(behind, strlen(behind), &at);
            same = next.len == 1 && next.text[0] == *sign;
        }
        if (same) {
            return true;
        }
    }
    return token->kind == QUERY_TOKEN_STRING && token->len == 5 &&
           strncasecmp(token->text, "'now'", 5) == 0;
}

bool query_view_drifts(const struct plan *plan, const char *view)
{
    char name[QUERY_NAME_LEN];
    const struct plan_read_view *seen[LIMIT_VIEWS];
    uint32_t count = 0;
    const struct plan_read_view *first = find_view(plan, view);
    seen[count++] = first;
    for (uint32_t i = 0; first != NULL && i < count; i++) {
        const char *text = seen[i]->query;
        for (size_t at = 0;;) {
            struct query_token token = query_token_next(text, strlen(text), &at);
            if (token.kind == QUERY_TOKEN_END) {
                break;
            }
            if (token_drifts(&token, text + at)) {
                return true;
            }
            const struct plan_read_view *inner =
                query_token_name(&token, name, sizeof name) ? find_view(plan, name) : NULL;
            bool known = inner == NULL || count == array_len(seen);
            for (uint32_t k = 0; k < count; k++) {
                known = known || seen[k] == inner;
            }
            if (!known) {
                seen[count++] = inner;
            }
        }
    }
    return false;
}

/* ---- what the key of a view is */

struct view_key {
    uint32_t count;
    const char *names[LIMIT_COLUMNS]; /* columns, borrowed from the plan */
    const char *start;                /* of the window, or NULL */
    const char *end;
    bool whole; /* all that names a row of the first table is there */
};

/* The first table that the view's text names, by way of other views. */
static const struct plan_view *base_of(const struct plan *plan, const struct plan_read_view *view)
{
    char name[QUERY_NAME_LEN];
    size_t at = 0;
    for (uint32_t depth = 0; depth < LIMIT_VIEWS;) {
        struct query_token token = query_token_next(view->query, strlen(view->query), &at);
        if (token.kind == QUERY_TOKEN_END) {
            return NULL;
        }
        if (!query_token_name(&token, name, sizeof name)) {
            continue;
        }
        for (uint32_t i = 0; i < plan->view_count; i++) {
            if (strcmp(plan->views[i].shape.name, name) == 0) {
                return &plan->views[i];
            }
        }
        const struct plan_read_view *inner = find_view(plan, name);
        if (inner != NULL && inner != view) {
            view = inner;
            at = 0;
            depth++;
        }
    }
    return NULL;
}

/* Has a prepared SELECT this column? */
static bool gives_out(sqlite3_stmt *statement, const char *name)
{
    for (int i = 0; i < sqlite3_column_count(statement); i++) {
        if (strcmp(sqlite3_column_name(statement, i), name) == 0) {
            return true;
        }
    }
    return false;
}

static void key_add(const struct plan_view *base, uint32_t output, sqlite3_stmt *statement,
                    struct view_key *key)
{
    const char *name = base->outputs[output].name;
    uint32_t k = base->outputs[output].reg;
    if (base->kind != PLAN_GROUP || k >= base->key_count || !gives_out(statement, name)) {
        return;
    }
    if (base->keys[k].role == PLAN_KEY_COLUMN) {
        key->names[key->count++] = name;
    } else if (base->keys[k].role == PLAN_KEY_WINDOW_START) {
        key->start = name;
    } else {
        key->end = name;
    }
}

static bool is_whole(const struct plan_view *base, const struct view_key *key)
{
    uint32_t columns = 0;
    for (uint32_t k = 0; k < base->key_count; k++) {
        columns += base->keys[k].role == PLAN_KEY_COLUMN ? 1 : 0;
    }
    return base->kind == PLAN_GROUP && key->count == columns &&
           (!base->shape.windowed || key->end != NULL);
}

/* Which columns of the view are its key. */
static int key_read(struct query *query, const struct plan *plan, const struct plan_read_view *view,
                    struct view_key *key, struct err *err)
{
    const struct plan_view *base = base_of(plan, view);
    char *select = xasprintf("SELECT * FROM \"%s\"", view->name);
    struct query_text text = {0};
    sqlite3_stmt *statement = NULL;
    *key = (struct view_key){0};
    int rc = query_plan_bind(query, plan, err);
    if (rc == 0) {
        rc = query_translate(&text, select, strlen(select), NULL, err);
    }
    if (rc == 0) {
        rc = query_prepare(query, &text, &statement, err);
    }
    for (uint32_t k = 0; rc == 0 && base != NULL && k < base->key_count; k++) {
        for (uint32_t i = 0; i < base->output_count; i++) {
            if (base->outputs[i].reg == k) {
                key_add(base, i, statement, key);
                break;
            }
        }
    }
    key->whole = rc == 0 && base != NULL && is_whole(base, key);
    (void)sqlite3_finalize(statement);
    query_names_drop(query);
    query_text_free(&text);
    free(select);
    return rc;
}

/* ---- the statements */

static int select_row(const char *view, const struct view_key *key, uint32_t key_count,
                      int64_t at_us, struct buf *out, struct err *err)
{
    if (key_count != key->count) {
        int rc = err_set(err, KE_INVALID, "view %s has %u columns in its key, %u were given", view,
                         key->count, key_count);
        err_hint(err, "they are those of the first table that it reads; `kappa sql` can ask for "
                      "any column");
        return rc;
    }
    if (at_us != KAPPA_NO_TIME && (key->start == NULL || key->end == NULL)) {
        return err_set(err, KE_INVALID, "view %s gives out no window: it takes no time", view);
    }
    buf_printf(out, "SELECT * FROM \"%s\"", view);
    for (uint32_t i = 0; i < key->count; i++) {
        buf_printf(out, " %s \"%s\" = ?%u", i == 0 ? "WHERE" : "AND", key->names[i], i + 1);
    }
    if (at_us != KAPPA_NO_TIME) {
        char time[QUERY_TIME_LEN];
        query_time_text(at_us, time);
        buf_printf(out, " %s \"%s\" <= '%s' AND \"%s\" > '%s'", key->count == 0 ? "WHERE" : "AND",
                   key->start, time, key->end, time);
    }
    if (key->end != NULL) {
        buf_printf(out, " ORDER BY \"%s\" DESC", key->end);
    }
    buf_append_text(out, " LIMIT 1");
    return 0;
}

/* Rows as objects, as reader_row_json makes them. */
struct objects {
    json_t *row; /* the last one; owned */
    uint32_t columns;
    char **names;                               /* owned */
    bool *times;                                /* columns that hold times */
    bool (*give)(void *ctx, const json_t *row); /* or NULL */
    void *ctx;
};

static void take_columns(void *ctx, const struct query_column *columns, uint32_t count)
{
    struct objects *objects = ctx;
    objects->columns = count;
    objects->names = xcalloc(count, sizeof *objects->names);
    objects->times = xcalloc(count, sizeof *objects->times);
    for (uint32_t i = 0; i < count; i++) {
        objects->names[i] = xstrdup(columns[i].name);
        objects->times[i] = strcmp(columns[i].type, "timestamptz") == 0;
    }
}

static json_t *text_json(const struct query_value *value, bool is_time)
{
    int64_t us = 0;
    char time[TIME_TEXT_LEN];
    if (is_time && query_time_parse(value->bytes, value->len, &us)) {
        time_format(us, time);
        return json_string(time);
    }
    return json_text_lossy(value->bytes, value->len);
}

static json_t *object_value(const struct query_value *value, bool is_time)
{
    struct kappa_value number = {.type = KAPPA_TYPE_DOUBLE, .d = value->d};
    switch (value->kind) {
    case QUERY_BOOLEAN:
        return json_boolean(value->i != 0);
    case QUERY_INTEGER:
        return json_integer(value->i);
    case QUERY_DOUBLE:
        return reader_value_json(&number);
    case QUERY_NUMBER:
        return json_raw(value->bytes, value->len);
    case QUERY_TEXT:
        return text_json(value, is_time);
    case QUERY_BLOB:
    case QUERY_NULL:
    default: {
        struct buf text = {0};
        query_value_json(&text, value);
        json_t *json = json_loadb(buf_text(&text), text.len, JSON_DECODE_ANY, NULL);
        buf_free(&text);
        return json;
    }
    }
}

static bool take_row(void *ctx, const struct query_value *values, uint32_t count)
{
    struct objects *objects = ctx;
    json_decref(objects->row);
    objects->row = json_object();
    for (uint32_t i = 0; i < count; i++) {
        json_t *value = object_value(&values[i], objects->times[i]);
        ASSERT(json_object_set_new(objects->row, objects->names[i], value) == 0);
    }
    return objects->give == NULL || objects->give(objects->ctx, objects->row);
}

static void objects_free(struct objects *objects)
{
    for (uint32_t i = 0; i < objects->columns; i++) {
        free(objects->names[i]);
    }
    free(objects->names);
    free(objects->times);
    json_decref(objects->row);
}

static json_t *texts(const char *const *keys, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(json_array_append_new(list, json_text_lossy(keys[i], strlen(keys[i]))) == 0);
    }
    return list;
}

static int row_run(struct query *query, const char *select, const char *view, uint32_t version,
                   const json_t *params, json_t **out, struct err *err)
{
    struct objects objects = {0};
    struct query_result result = {0};
    struct query_sink sink = {.ctx = &objects, .columns = take_columns, .row = take_row};
    struct query_options options = {
        .params = params, .rows_max = 1, .timeout_us = VIEW_TIMEOUT_US, .version = version};
    int rc = query_run(query, select, strlen(select), &options, &sink, &result, err);
    if (rc == 0 && objects.row == NULL) {
        rc = err_set(err, KE_NOT_FOUND, "view %s has no such row", view);
    }
    if (rc == 0) {
        const json_t *stamp = json_array_get(result.stamps, 0);
        *out = json_pack("{s:s, s:I, s:I, s:O*, s:O}", "table", view, "version",
                         (json_int_t)json_int(stamp, "version", 0), "epoch",
                         (json_int_t)json_int(stamp, "epoch", 0), "cut",
                         json_object_get(stamp, "cut"), "row", objects.row);
        ASSERT(*out != NULL);
        since_copy(stamp, *out);
    }
    json_decref(result.stamps);
    objects_free(&objects);
    return rc;
}

int query_view_get(struct query *query, const char *view, uint32_t version, const char *const *keys,
                   uint32_t key_count, int64_t at_us, json_t **out, struct err *err)
{
    char plain[LIMIT_NAME_LEN + 1];
    struct reader_version *found = NULL;
    struct view_key key = {0};
    struct buf select = {0};
    int rc = version_of(query->reader, view, version, plain, &found, err);
    if (rc != 0) {
        return rc;
    }
    const struct plan_read_view *plan_view = find_view(found->plan, plain);
    rc = plan_view == NULL ? err_set(err, KE_NOT_FOUND, "there is no view %s", view)
                           : key_read(query, found->plan, plan_view, &key, err);
    if (rc == 0) {
        rc = select_row(view, &key, key_count, at_us, &select, err);
    }
    reader_version_give(query->reader, found);
    if (rc == 0) {
        json_t *params = texts(keys, key_count);
        rc = row_run(query, buf_text(&select), view, version, params, out, err);
        json_decref(params);
    }
    buf_free(&select);
    return rc;
}

int query_view_scan(struct query *query, const char *view, uint32_t version, int64_t limit,
                    bool (*row)(void *ctx, const json_t *row), void *ctx, const bool *stop,
                    struct reader_stamp *stamp, struct err *err)
{
    char *select = xasprintf("SELECT * FROM \"%s\"", view);
    struct objects objects = {.give = row, .ctx = ctx};
    struct query_result result = {0};
    struct query_sink sink = {.ctx = &objects, .columns = take_columns, .row = take_row};
    struct query_options options = {.rows_max = limit, .stop = stop, .version = version};
    int rc = query_run(query, select, strlen(select), &options, &sink, &result, err);
    if (rc == 0) {
        const json_t *from = json_array_get(result.stamps, 0);
        *stamp = (struct reader_stamp){
            .version = (uint32_t)json_int(from, "version", 0),
            .epoch = (uint64_t)json_int(from, "epoch", 0),
            .cut = json_incref(json_object_get(from, "cut")),
        };
        (void)snprintf(stamp->processor, sizeof stamp->processor, "%s",
                       json_text(from, "processor", ""));
        bool complete = json_object_get(from, "complete_since") == NULL;
        (void)snprintf(stamp->since, sizeof stamp->since, "%s",
                       complete ? "" : json_text(from, "complete_since", "unknown"));
    }
    json_decref(result.stamps);
    objects_free(&objects);
    free(select);
    return rc;
}

/* The columns of its key, when they name a row of its first table. */
static json_t *key_names(const struct view_key *key)
{
    json_t *names = key->whole ? json_array() : json_null();
    for (uint32_t i = 0; key->whole && i < key->count; i++) {
        ASSERT(json_array_append_new(names, json_string(key->names[i])) == 0);
    }
    if (key->whole && key->end != NULL) {
        ASSERT(json_array_append_new(names, json_string(key->end)) == 0);
    }
    return names;
}

int query_view_at(struct query *query, const char *view, const struct reader_read *reading,
                  json_t **key, bool (*row)(void *ctx, const json_t *row), void *ctx,
                  int64_t timeout_us, const bool *stop, struct err *err)
{
    const struct plan *plan = reading->version->plan;
    const struct plan_read_view *found = find_view(plan, view);
    struct view_key columns = {0};
    if (found == NULL) {
        return err_set(err, KE_NOT_FOUND, "version %u of %s has no view %s",
                       reading->version->number, reading->version->processor, view);
    }
    int rc = key_read(query, plan, found, &columns, err);
    if (rc < 0) {
        return rc;
    }
    *key = key_names(&columns);
    char *select = xasprintf("SELECT * FROM \"%s\"", view);
    struct objects objects = {.give = row, .ctx = ctx};
    struct query_result result = {0};
    struct query_sink sink = {.ctx = &objects, .columns = take_columns, .row = take_row};
    struct query_options options = {.rows_max = -1,
                                    .timeout_us = timeout_us,
                                    .stop = stop,
                                    .version = reading->version->number,
                                    .at = reading};
    rc = query_run(query, select, strlen(select), &options, &sink, &result, err);
    json_decref(result.stamps);
    objects_free(&objects);
    free(select);
    return rc;
}
