/* Rows of views by their keys, as of one read. Own header: query.h.
 *
 * A view's key are the columns of the key of the first table that it reads, as far as it gives them out under
 * the same names. All keys that are asked for at once are one statement,
 *
 *     SELECT e.key, v.* FROM json_each(?1) AS e CROSS JOIN "view" AS v ON v."k" = (the key's value) ...
 *
 * so SQLite looks each one up where a view can be asked for a key, and computes it once where it cannot
 * (rank(), say). The rows come by key, of one key those of the newest window first. */
#include "processor/event_time.h"
#include "processor/key_codec.h"
#include "processor/value_text.h"
#include "serve/query_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- what the key of a view is */

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
        const struct plan_read_view *inner = reader_view_find(plan, name);
        if (inner != NULL && inner != view) {
            view = inner;
            at = 0;
            depth++;
        }
    }
    return NULL;
}

static uint32_t output_of(const struct query_row *row, const char *name)
{
    for (uint32_t i = 0; i < row->shape.output_count; i++) {
        if (strcmp(row->shape.outputs[i].name, name) == 0) {
            return i;
        }
    }
    return PLAN_NONE;
}

static void key_add(const struct plan_view *base, uint32_t output, const struct query_row *row,
                    struct query_view_key *key)
{
    const char *name = base->outputs[output].name;
    uint32_t k = base->outputs[output].reg;
    uint32_t column = output_of(row, name);
    if (base->kind != PLAN_GROUP || k >= base->key_count || column == PLAN_NONE) {
        return;
    }
    if (base->keys[k].role == PLAN_KEY_COLUMN) {
        key->columns[key->count] = &base->keys[k];
        key->names[key->count++] = name;
    } else if (base->keys[k].role == PLAN_KEY_WINDOW_START) {
        key->start = name;
    } else {
        key->end = name;
        key->end_output = column;
    }
}

static bool is_whole(const struct plan_view *base, const struct query_view_key *key)
{
    uint32_t columns = 0;
    for (uint32_t k = 0; k < base->key_count; k++) {
        columns += base->keys[k].role == PLAN_KEY_COLUMN ? 1 : 0;
    }
    return base->kind == PLAN_GROUP && key->count == columns &&
           (!base->shape.windowed || key->end != NULL);
}

/* The names of the columns that the view gives out. */
static void columns_read(sqlite3_stmt *statement, struct query_row *row)
{
    uint32_t count = (uint32_t)sqlite3_column_count(statement);
    struct query_column *columns = xcalloc(count, sizeof *columns);
    for (uint32_t i = 0; i < count; i++) {
        columns[i] = (struct query_column){sqlite3_column_name(statement, (int)i), ""};
    }
    query_row_columns(row, columns, count);
    free(columns);
}

int query_view_key_read(struct query *query, const struct plan *plan,
                        const struct plan_read_view *view, struct query_view_key *key,
                        struct query_row *row, struct err *err)
{
    const struct plan_view *base = base_of(plan, view);
    char *select = xasprintf("SELECT * FROM \"%s\"", view->name);
    struct query_text text = {0};
    sqlite3_stmt *statement = NULL;
    *key = (struct query_view_key){.base = base};
    int rc = query_plan_bind(query, plan, err);
    if (rc == 0) {
        rc = query_translate(&text, select, strlen(select), NULL, err);
    }
    if (rc == 0) {
        rc = query_prepare(query, &text, &statement, err);
    }
    if (rc == 0) {
        columns_read(statement, row);
    }
    for (uint32_t k = 0; rc == 0 && base != NULL && k < base->key_count; k++) {
        for (uint32_t i = 0; i < base->output_count; i++) {
            if (base->outputs[i].reg == k) {
                key_add(base, i, row, key);
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

/* ---- a row */

void query_row_init(struct query_row *row)
{
    *row = (struct query_row){0};
    arena_init(&row->names);
    arena_init(&row->memory);
}

void query_row_free(struct query_row *row)
{
    arena_free(&row->names);
    arena_free(&row->memory);
}

void query_row_columns(struct query_row *row, const struct query_column *columns, uint32_t count)
{
    arena_reset(&row->names);
    struct plan_output *outputs = arena_calloc(&row->names, (count + 1) * sizeof *outputs);
    for (uint32_t i = 0; i < count; i++) {
        bool is_time = strcmp(columns[i].type, "timestamptz") == 0;
        outputs[i].name = arena_strdup(&row->names, columns[i].name);
        outputs[i].type = is_time ? KAPPA_TYPE_TIMESTAMPTZ : KAPPA_TYPE_NULL;
    }
    row->values = arena_calloc(&row->names, (count + 1) * sizeof *row->values);
    row->shape.outputs = outputs;
    row->shape.output_count = count;
}

static struct kappa_value text_value(struct query_row *row, enum kappa_type type,
                                     const struct query_value *value)
{
    const char *copy = arena_strndup(&row->memory, value->bytes, value->len);
    return (struct kappa_value){.type = type, .s = {copy, u32_from(value->len)}};
}

/* As readers of tables print it. Digits that no double keeps are printed as they are, as documents. */
static struct kappa_value value_of(struct query_row *row, bool is_time,
                                   const struct query_value *value)
{
    int64_t us = 0;
    switch (value->kind) {
    case QUERY_BOOLEAN:
        return (struct kappa_value){.type = KAPPA_TYPE_BOOLEAN, .i = value->i};
    case QUERY_INTEGER:
        return (struct kappa_value){.type = KAPPA_TYPE_BIGINT, .i = value->i};
    case QUERY_DOUBLE:
        return (struct kappa_value){.type = KAPPA_TYPE_DOUBLE, .d = value->d};
    case QUERY_NUMBER:
        return text_value(row, KAPPA_TYPE_JSONB, value);
    case QUERY_TEXT:
        if (is_time && query_time_parse(value->bytes, value->len, &us)) {
            return (struct kappa_value){.type = KAPPA_TYPE_TIMESTAMPTZ, .i = us};
        }
        return text_value(row, KAPPA_TYPE_TEXT, value);
    case QUERY_BLOB:
        return text_value(row, KAPPA_TYPE_BYTEA, value);
    case QUERY_NULL:
    default:
        return (struct kappa_value){.is_null = true};
    }
}

void query_row_set(struct query_row *row, const struct query_value *values)
{
    arena_reset(&row->memory);
    for (uint32_t i = 0; i < row->shape.output_count; i++) {
        bool is_time = row->shape.outputs[i].type == KAPPA_TYPE_TIMESTAMPTZ;
        row->values[i] = value_of(row, is_time, &values[i]);
    }
}

/* ---- what is asked */

struct query_rows {
    struct query *query;
    struct reader_read reading; /* borrowed: the caller ends it */
    char view[LIMIT_NAME_LEN + 1];
    struct query_view_key key;
    struct query_row row; /* the one given last */
    json_t *asked;        /* [[value of each column of the key, time or null]...] */
    bool timed;           /* a time is among them */
};

int query_rows_open(struct query *query, const char *view, const struct reader_read *reading,
                    struct query_rows **out, struct err *err)
{
    const struct plan *plan = reading->version->plan;
    const struct plan_read_view *found = reader_view_find(plan, view);
    ASSERT(found != NULL);
    struct query_rows *rows = xcalloc(1, sizeof *rows);
    rows->query = query;
    rows->reading = *reading;
    rows->asked = json_array();
    (void)snprintf(rows->view, sizeof rows->view, "%s", view);
    query_row_init(&rows->row);
    int rc = query_view_key_read(query, plan, found, &rows->key, &rows->row, err);
    if (rc < 0) {
        query_rows_close(rows);
        return rc;
    }
    *out = rows;
    return 0;
}

void query_rows_close(struct query_rows *rows)
{
    if (rows != NULL) {
        query_row_free(&rows->row);
        json_decref(rows->asked);
        free(rows);
    }
}

const struct query_view_key *query_rows_key(const struct query_rows *rows)
{
    return &rows->key;
}

const struct plan_view *query_rows_shape(const struct query_rows *rows)
{
    return &rows->row.shape;
}

/* Why it has the key that it has. */
static void key_hint(const struct query_rows *rows, struct err *err)
{
    const struct plan_view *base = rows->key.base;
    struct buf names = {0};
    for (uint32_t k = 0; base != NULL && k < base->key_count; k++) {
        buf_printf(&names, "%s%s", k == 0 ? "" : ", ", base->keys[k].name);
    }
    if (base == NULL) {
        err_hint(err, "its key would be that of a table, and it reads none");
    } else if (base->kind != PLAN_GROUP) {
        err_hint(err,
                 "its key would be that of %s, the first table that it reads, which has a row per "
                 "record; `kappa sql` asks by any column",
                 base->shape.name);
    } else {
        err_hint(err,
                 "its key is that of %s, the first table that it reads (%.200s), as far as it "
                 "gives it out "
                 "under the same names; `kappa sql` asks by any column",
                 base->shape.name, buf_text(&names));
    }
    buf_free(&names);
}

int query_rows_keyless(const struct query_rows *rows, struct err *err)
{
    int rc = err_set(err, KE_REFUSED, "view %s has no key to ask by", rows->view);
    key_hint(rows, err);
    return rc;
}

/* As hex() of SQLite writes it. */
static json_t *hex_json(const char *bytes, size_t len)
{
    struct buf text = {0};
    for (size_t i = 0; i < len; i++) {
        buf_printf(&text, "%02X", (unsigned)(unsigned char)bytes[i]);
    }
    json_t *json = json_string(buf_text(&text));
    buf_free(&text);
    return json;
}

/* A value of the key as the table's column has it. */
static int key_value(const struct plan_key *column, const char *text, json_t **out, struct err *err)
{
    struct arena memory;
    struct kappa_value value;
    struct query_value plain;
    struct buf scratch = {0};
    arena_init(&memory);
    int rc = plan_key_value_from_text(column, text, &memory, &value, err);
    if (rc == 0 && value.type == KAPPA_TYPE_NUMERIC) { /* as text, to its last digit */
        value_text(&scratch, &value);
        *out = json_text_lossy(buf_text(&scratch), scratch.len);
    } else if (rc == 0) {
        query_value_plain(&value, &scratch, &plain);
        *out = plain.kind == QUERY_INTEGER  ? json_integer(plain.i)
               : plain.kind == QUERY_DOUBLE ? json_real(plain.d)
               : plain.kind == QUERY_BLOB   ? hex_json(plain.bytes, plain.len)
                                            : json_text_lossy(plain.bytes, plain.len);
    }
    buf_free(&scratch);
    arena_free(&memory);
    return rc;
}

static void forget(struct query_rows *rows)
{
    json_array_clear(rows->asked);
    rows->timed = false;
}

/* Can the view be asked by so many values, and for a time? */
static int key_check(const struct query_rows *rows, uint32_t count, int64_t at_us, struct err *err)
{
    const struct query_view_key *key = &rows->key;
    if (count != key->count && key->count == 0) {
        return query_rows_keyless(rows, err);
    }
    if (count != key->count) {
        int rc = err_set(err, KE_INVALID, "view %s has %u column%s in its key, %u were given",
                         rows->view, key->count, key->count == 1 ? "" : "s", count);
        key_hint(rows, err);
        return rc;
    }
    if (at_us != KAPPA_NO_TIME && (key->start == NULL || key->end == NULL)) {
        return err_set(err, KE_INVALID, "view %s gives out no window: it takes no time",
                       rows->view);
    }
    return 0;
}

int query_rows_ask(struct query_rows *rows, const char *const *texts, uint32_t count, int64_t at_us,
                   struct err *err)
{
    json_t *item = json_array();
    int rc = key_check(rows, count, at_us, err);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        json_t *value = NULL;
        rc = key_value(rows->key.columns[i], texts[i], &value, err);
        if (rc == 0) {
            ASSERT(json_array_append_new(item, value) == 0);
        }
    }
    if (rc < 0) {
        json_decref(item);
        forget(rows);
        return rc;
    }
    char time[QUERY_TIME_LEN];
    if (at_us != KAPPA_NO_TIME) {
        query_time_text(at_us, time);
        rows->timed = true;
    }
    json_t *at = at_us == KAPPA_NO_TIME ? json_null() : json_string(time);
    ASSERT(json_array_append_new(item, at) == 0);
    ASSERT(json_array_append_new(rows->asked, item) == 0);
    return 0;
}

void query_rows_ask_none(struct query_rows *rows)
{
    ASSERT(json_array_append_new(rows->asked, json_null()) == 0);
}

/* ---- the statement */

static void statement_write(const struct query_rows *rows, struct buf *out)
{
    const struct query_view_key *key = &rows->key;
    bool several = json_array_size(rows->asked) > 1;
    buf_printf(out,
               "SELECT e.key, v.* FROM json_each(?1) AS e CROSS JOIN \"%s\" AS v ON e.type = "
               "'array'",
               rows->view);
    for (uint32_t i = 0; i < key->count; i++) {
        bool blob = key->columns[i]->type == KAPPA_TYPE_BYTEA;
        bool decimal = key->columns[i]->type == KAPPA_TYPE_NUMERIC;
        buf_printf(out, " AND %sv.\"%s\"%s = %s(json_extract(e.value, '$[%u]'))",
                   blob ? "hex(" : "", key->names[i], blob ? ")" : "", decimal ? "to_numeric" : "",
                   i);
    }
    if (rows->timed) {
        buf_printf(out,
                   " AND (json_extract(e.value, '$[%u]') IS NULL OR "
                   "(v.\"%s\" <= json_extract(e.value, '$[%u]') AND v.\"%s\" > "
                   "json_extract(e.value, '$[%u]')))",
                   key->count, key->start, key->count, key->end, key->count);
    }
    if (several || key->end != NULL) {
        buf_printf(out, " ORDER BY %s", several ? "1" : "");
    }
    if (key->end != NULL) {
        buf_printf(out, "%sv.\"%s\" DESC", several ? ", " : "", key->end);
    }
}

/* Rows as they are put beside their keys. */
struct giving {
    struct query_rows *rows;
    bool (*give)(void *ctx, size_t i, const struct kappa_value *values);
    void *ctx;
    size_t next; /* key that is to be told next */
    bool held;   /* it has a row */
    bool several;
    bool ended; /* who asks wants no more */
};

/* Tells all keys below i. */
static void give_below(struct giving *giving, size_t i)
{
    for (; giving->next < i && !giving->ended; giving->next++) {
        const struct kappa_value *values = giving->held ? giving->rows->row.values : NULL;
        giving->ended = !giving->give(giving->ctx, giving->next, values);
        giving->held = false;
    }
}

static void take_columns(void *ctx, const struct query_column *columns, uint32_t count)
{
    struct giving *giving = ctx;
    query_row_columns(&giving->rows->row, columns + 1, count - 1);
}

/* Another row of the key that is held: of an older window? */
static bool is_older(const struct query_rows *rows, const struct query_value *values)
{
    int64_t end = 0;
    if (rows->key.end == NULL) {
        return false;
    }
    const struct query_value *value = &values[rows->key.end_output];
    const struct kappa_value *newest = &rows->row.values[rows->key.end_output];
    bool is_time = value->kind == QUERY_TEXT && query_time_parse(value->bytes, value->len, &end);
    return is_time && newest->type == KAPPA_TYPE_TIMESTAMPTZ && end < newest->i;
}

static bool take_row(void *ctx, const struct query_value *values, uint32_t count)
{
    struct giving *giving = ctx;
    size_t i = (size_t)values[0].i;
    ASSERT_CMP(count, ==, giving->rows->row.shape.output_count + 1);
    ASSERT_CMP(i, >=, giving->next);
    if (giving->held && i == giving->next) {
        giving->several = !is_older(giving->rows, values + 1);
        return !giving->several;
    }
    give_below(giving, i);
    query_row_set(&giving->rows->row, values + 1);
    giving->held = true;
    return !giving->ended;
}

static int several_rows(const struct query_rows *rows, size_t i, struct err *err)
{
    int rc = err_set(err, KE_REFUSED, "view %s has several rows of one key", rows->view);
    const json_t *key = json_array_get(rows->asked, i);
    char *text = json_print(json_array_get(key, 0));
    if (rows->key.count > 0) {
        rc = err_set(err, KE_REFUSED, "view %s has several rows of the key %.100s%s", rows->view,
                     text, rows->key.count > 1 ? ", ..." : "");
    }
    free(text);
    key_hint(rows, err);
    return rc;
}

int query_rows_run(struct query_rows *rows, int64_t timeout_us, const bool *stop,
                   bool (*give)(void *ctx, size_t i, const struct kappa_value *values), void *ctx,
                   struct err *err)
{
    struct giving giving = {.rows = rows, .give = give, .ctx = ctx};
    struct query_sink sink = {.ctx = &giving, .columns = take_columns, .row = take_row};
    struct query_result result = {0};
    struct buf select = {0};
    size_t count = json_array_size(rows->asked);
    if (count == 0) {
        return 0;
    }
    char *keys = json_print(rows->asked);
    json_t *params = json_array();
    ASSERT(json_array_append_new(params, json_string(keys)) == 0);
    struct query_options options = {.params = params,
                                    .rows_max = -1,
                                    .timeout_us = timeout_us,
                                    .stop = stop,
                                    .version = rows->reading.version->number,
                                    .at = &rows->reading};
    statement_write(rows, &select);
    int rc = query_run(rows->query, buf_text(&select), select.len, &options, &sink, &result, err);
    if (rc == 0 && giving.several) {
        rc = several_rows(rows, giving.next, err);
    } else if (rc == 0) {
        give_below(&giving, count);
    }
    json_decref(result.stamps);
    json_decref(params);
    free(keys);
    buf_free(&select);
    forget(rows);
    return rc;
}

/* ---- one row */

static bool row_is_there(void *ctx, size_t i, const struct kappa_value *values)
{
    const struct kappa_value **found = ctx;
    (void)i;
    *found = values;
    return true;
}

int query_rows_one(struct query_rows *rows, const char *const *texts, uint32_t count, int64_t at_us,
                   int64_t timeout_us, const struct kappa_value **values, struct err *err)
{
    *values = NULL;
    int rc = query_rows_ask(rows, texts, count, at_us, err);
    if (rc == 0) {
        rc = query_rows_run(rows, timeout_us, NULL, row_is_there, values, err);
    }
    return rc < 0 ? rc : *values != NULL;
}

int query_view_get(struct query *query, const char *view, uint32_t version, const char *const *keys,
                   uint32_t key_count, int64_t at_us, json_t **out, struct err *err)
{
    char name[LIMIT_NAME_LEN + 1];
    struct reader_read reading;
    struct query_rows *rows = NULL;
    const struct kappa_value *values = NULL;
    int rc = reader_begin_any(query->reader, view, version, &reading, err);
    if (rc < 0) {
        return rc;
    }
    rc = reader_name_split(view, name, &version, err);
    rc = rc < 0 ? rc : query_rows_open(query, name, &reading, &rows, err);
    rc = rc < 0 ? rc
                : query_rows_one(rows, keys, key_count, at_us, QUERY_VIEW_TIMEOUT_US, &values, err);
    if (rc == 0) {
        rc = err_set(err, KE_NOT_FOUND, "view %s has no such row", view);
    } else if (rc == 1) {
        struct reader_stamp stamp;
        reader_stamp_of(&reading, &stamp);
        *out = json_pack("{s:s, s:I, s:I, s:o, s:o}", "table", view, "version",
                         (json_int_t)stamp.version, "epoch", (json_int_t)stamp.epoch, "cut",
                         stamp.cut, "row", reader_row_json(query_rows_shape(rows), values));
        ASSERT(*out != NULL);
        reader_stamp_since(stamp.since, *out);
        rc = 0;
    }
    query_rows_close(rows);
    reader_end(query->reader, &reading);
    return rc;
}
