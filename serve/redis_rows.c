/* Commands on rows. Own header: redis_private.h.
 *
 * Values are the text that JSON prints for them, without the quotes of texts: numbers exact, times as
 * RFC 3339, arrays and documents as JSON. A column that is null is not in the hash: HGETALL, HKEYS,
 * HVALS, HLEN and HEXISTS do not know it, HGET and HMGET give nil. GET gives JSON, where it is null.
 *
 * A table that is not there is an error, not an absent row: but for EXISTS and TYPE. */
#include "serve/redis_private.h"

#include "base/clock.h"
#include "base/timefmt.h"
#include "processor/value_cast.h"
#include "processor/value_text.h"

#include <string.h>

/* A row that is looked up. */
struct row {
    const struct plan_view *view;
    const struct kappa_value *values; /* NULL: there is none */
};

/* What a name of a row says, and a read of its table or view. */
static int name_look(struct redis_session *session, const struct redis_arg *name,
                     struct redis_key *key, struct reader_read *reading, struct err *err)
{
    int rc = redis_key_parse(name->text, name->len, key, err);
    return rc < 0
               ? rc
               : redis_reads_any(&session->context->reads, key->table, key->version, reading, err);
}

/* Rows of a view as they come. */
struct view_rows {
    struct redis_session *session;
    struct row row;                                                      /* the last one */
    void (*reply)(struct redis_session *session, const struct row *row); /* to each, or NULL */
};

static bool view_row(void *ctx, size_t i, const struct kappa_value *values)
{
    struct view_rows *rows = ctx;
    (void)i;
    rows->row.values = values;
    if (rows->reply != NULL) {
        rows->reply(rows->session, &rows->row);
    }
    return rows->session->out.len <= REDIS_OUT_MAX;
}

static int view_ask(struct redis_session *session, const struct redis_key *key,
                    struct query_rows *rows, struct err *err)
{
    const char *parts[REDIS_KEY_PARTS];
    uint32_t count = 0;
    int rc = redis_key_split(key, query_rows_key(rows)->count, &session->context->key, parts,
                             &count, err);
    return rc < 0 ? rc : query_rows_ask(rows, parts, count, key->at_us, err);
}

/* The row of a view that the first of the names is, whose key this is; and of the names behind it, as long as
 * they are of the same view. How many that were, or negative. */
static int view_ask_all(struct redis_session *session, const struct redis_key *key,
                        const struct redis_arg *names, uint32_t count, struct query_rows *rows,
                        struct err *err)
{
    int rc = view_ask(session, key, rows, err);
    uint32_t asked = 1;
    for (; rc == 0 && asked < count; asked++) {
        struct redis_key next;
        struct err none;
        if (redis_key_parse(names[asked].text, names[asked].len, &next, &none) < 0 ||
            next.version != key->version || strcmp(next.table, key->table) != 0) {
            break;
        }
        rc = view_ask(session, &next, rows, err);
    }
    return rc < 0 ? rc : int_from(asked);
}

/* Gives the rows of these names: how many they were, or negative. It may take no longer than this turn has
 * left for views. */
static int view_look(struct view_rows *out, const struct redis_key *key,
                     const struct reader_read *reading, const struct redis_arg *names,
                     uint32_t count, struct err *err)
{
    struct redis_context *context = out->session->context;
    struct query_rows *rows = NULL;
    int64_t begun = clock_mono_us(clock_real());
    int64_t left = REDIS_VIEWS_MAX_US - context->views_us;
    int asked = 0;
    int rc = left <= 0 ? -KE_TIMEOUT
                       : redis_reads_view(&context->reads, key->table, reading, &rows, err);
    if (rc == 0) {
        out->row.view = query_rows_shape(rows);
        asked = view_ask_all(out->session, key, names, count, rows, err);
        rc = asked < 0 ? asked : query_rows_run(rows, left, NULL, view_row, out, err);
    }
    context->views_us += clock_mono_us(clock_real()) - begun;
    if (rc == -KE_TIMEOUT) {
        rc = err_set(err, KE_TIMEOUT,
                     "view %s takes too long here: others wait while it is computed, for %d ms at "
                     "most for all views of a request",
                     key->table, REDIS_VIEWS_MAX_US / 1000);
        err_hint(err, "HTTP has more time: GET /v1/tables/%s/rows/KEY, POST /v1/tables/%s/get",
                 key->table, key->table);
    }
    return rc < 0 ? rc : asked;
}

/* The row of a table; of none its values are NULL. */
static int table_look(struct redis_session *session, const struct redis_key *key, bool alone,
                      struct reader_read *reading, struct row *row, struct err *err)
{
    struct redis_context *context = session->context;
    const char *parts[REDIS_KEY_PARTS];
    uint32_t count = 0;
    row->view = &reading->version->plan->views[reading->table];
    int rc = redis_key_split(key, redis_key_parts(row->view), &context->key, parts, &count, err);
    if (rc == 0 && key->version == 0 && alone) {
        rc = redis_reads_row(&context->reads, key->table, parts, count, key->at_us, reading, err);
        row->view = rc == 0 ? &reading->version->plan->views[reading->table] : row->view;
    }
    if (rc == 0) {
        rc = reader_row_find_text(reading, redis_reads_finisher(&context->reads, reading), parts,
                                  count, key->at_us, &row->values, err);
    }
    if (rc != 1) {
        row->values = NULL;
    }
    return rc < 0 ? rc : 0;
}

/* 0 also when there is no row; negative with its error. alone: the command reads no other key, so that a
 * canary may answer. */
static int row_look(struct redis_session *session, const struct redis_arg *name, bool alone,
                    struct row *row, struct err *err)
{
    struct redis_key key;
    struct reader_read reading;
    *row = (struct row){0};
    int rc = name_look(session, name, &key, &reading, err);
    if (rc < 0) {
        return rc;
    }
    if (reading.table != PLAN_NONE) {
        return table_look(session, &key, alone, &reading, row, err);
    }
    struct view_rows rows = {.session = session};
    rc = view_look(&rows, &key, &reading, name, 1, err);
    *row = rows.row;
    return rc < 0 ? rc : 0;
}

/* As row_look; false: the error is answered. */
static bool row_find(struct redis_session *session, const struct redis_arg *name, struct row *row)
{
    struct err err; /* large: not cleared for each command */
    if (row_look(session, name, true, row, &err) < 0) {
        redis_reply_err(&session->reply, &err);
        return false;
    }
    return true;
}

/* The text of a value that is not null, in scratch or borrowed from the value. */
static struct kappa_text text_of(struct redis_session *session, const struct kappa_value *value)
{
    struct buf *text = &session->context->value;
    char *scalar = session->context->scalar;
    if (value->type == KAPPA_TYPE_TEXT) {
        return value->s;
    }
    if (value->type == KAPPA_TYPE_TIMESTAMPTZ) {
        return (struct kappa_text){scalar, (uint32_t)time_format(value->i, scalar)};
    }
    if (kappa_type_payload(value->type) == KAPPA_PAYLOAD_INT) {
        return (struct kappa_text){scalar, value_scalar_text(value, scalar)};
    }
    buf_reset(text);
    if (kappa_type_is_array(value->type)) {
        value_json(text, value);
    } else if (value->type == KAPPA_TYPE_DOUBLE) {
        json_write_real(text, value->d); /* its digits are those of HTTP */
    } else {
        value_text(text, value);
    }
    return (struct kappa_text){buf_text(text), (uint32_t)text->len};
}

static void reply_value(struct redis_session *session, const struct kappa_value *value)
{
    struct kappa_text text = text_of(session, value);
    redis_reply_bulk(&session->reply, text.bytes, text.len);
}

static uint32_t fields_there(const struct row *row)
{
    uint32_t count = 0;
    for (uint32_t i = 0; row->values != NULL && i < row->view->output_count; i++) {
        count += row->values[i].is_null ? 0 : 1;
    }
    return count;
}

/* The value of a column, or NULL when it is null, or not there. */
static const struct kappa_value *field(const struct row *row, const struct redis_arg *name)
{
    for (uint32_t i = 0; row->values != NULL && i < row->view->output_count; i++) {
        const char *column = row->view->outputs[i].name;
        if (strlen(column) == name->len && memcmp(column, name->text, name->len) == 0) {
            return row->values[i].is_null ? NULL : &row->values[i];
        }
    }
    return NULL;
}

/* ---- hashes */

static void reply_name(struct redis_session *session, const struct plan_output *output)
{
    if (output->label != NULL) { /* its length is known */
        redis_reply_bulk(&session->reply, output->label + 1, output->label_len - PLAN_LABEL_AROUND);
    } else {
        redis_reply_text(&session->reply, output->name);
    }
}

static void reply_fields(struct redis_session *session, const struct row *row, bool names,
                         bool values)
{
    for (uint32_t i = 0; row->values != NULL && i < row->view->output_count; i++) {
        if (row->values[i].is_null) {
            continue;
        }
        if (names) {
            reply_name(session, &row->view->outputs[i]);
        }
        if (values) {
            reply_value(session, &row->values[i]);
        }
    }
}

void redis_hgetall(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    (void)count;
    if (row_find(session, &args[1], &row)) {
        redis_reply_map(&session->reply, fields_there(&row));
        reply_fields(session, &row, true, true);
    }
}

void redis_hkeys(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    (void)count;
    if (row_find(session, &args[1], &row)) {
        redis_reply_array(&session->reply, fields_there(&row));
        reply_fields(session, &row, true, false);
    }
}

void redis_hvals(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    (void)count;
    if (row_find(session, &args[1], &row)) {
        redis_reply_array(&session->reply, fields_there(&row));
        reply_fields(session, &row, false, true);
    }
}

void redis_hlen(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    (void)count;
    if (row_find(session, &args[1], &row)) {
        redis_reply_int(&session->reply, fields_there(&row));
    }
}

static void reply_field(struct redis_session *session, const struct row *row,
                        const struct redis_arg *name)
{
    const struct kappa_value *value = field(row, name);
    if (value == NULL) {
        redis_reply_null(&session->reply);
    } else {
        reply_value(session, value);
    }
}

void redis_hget(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    (void)count;
    if (row_find(session, &args[1], &row)) {
        reply_field(session, &row, &args[2]);
    }
}

void redis_hmget(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    if (!row_find(session, &args[1], &row)) {
        return;
    }
    redis_reply_array(&session->reply, count - 2);
    for (uint32_t i = 2; i < count && session->out.len <= REDIS_OUT_MAX; i++) {
        reply_field(session, &row, &args[i]);
    }
}

void redis_hexists(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    (void)count;
    if (row_find(session, &args[1], &row)) {
        redis_reply_int(&session->reply, field(&row, &args[2]) != NULL);
    }
}

void redis_hstrlen(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    (void)count;
    if (row_find(session, &args[1], &row)) {
        const struct kappa_value *value = field(&row, &args[2]);
        redis_reply_int(&session->reply, value == NULL ? 0 : text_of(session, value).len);
    }
}

/* False: they cannot be understood. */
static bool hscan_options(const struct redis_arg *args, uint32_t count,
                          const struct redis_arg **pattern, bool *values)
{
    bool good = redis_arg_is(&args[2], "0");
    for (uint32_t i = 3; good && i < count; i++) {
        if (redis_arg_is(&args[i], "NOVALUES")) {
            *values = false;
            continue;
        }
        bool match = redis_arg_is(&args[i], "MATCH");
        good = (match || redis_arg_is(&args[i], "COUNT")) && i + 1 < count;
        *pattern = good && match ? &args[i + 1] : *pattern;
        i++;
    }
    return good;
}

void redis_hscan(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    const struct redis_arg *pattern = NULL;
    uint32_t found = 0;
    bool values = true;
    if (!hscan_options(args, count, &pattern, &values)) {
        redis_reply_error(
            &session->reply,
            "ERR write HSCAN name 0 [MATCH pattern] [COUNT n] [NOVALUES]: all columns "
            "come in one answer");
        return;
    }
    if (!row_find(session, &args[1], &row)) {
        return;
    }
    bool wanted[LIMIT_COLUMNS] = {false};
    for (uint32_t i = 0; row.values != NULL && i < row.view->output_count; i++) {
        const char *column = row.view->outputs[i].name;
        wanted[i] =
            !row.values[i].is_null &&
            (pattern == NULL || redis_glob(pattern->text, pattern->len, column, strlen(column)));
        found += wanted[i] ? 1 : 0;
    }
    redis_reply_array(&session->reply, 2);
    redis_reply_text(&session->reply, "0");
    redis_reply_array(&session->reply, (values ? 2 : 1) * (uint64_t)found);
    for (uint32_t i = 0; row.values != NULL && i < row.view->output_count; i++) {
        if (wanted[i]) {
            redis_reply_text(&session->reply, row.view->outputs[i].name);
        }
        if (wanted[i] && values) {
            reply_value(session, &row.values[i]);
        }
    }
}

/* The i-th column that is not null. */
static uint32_t column_there(const struct row *row, uint64_t i)
{
    uint32_t column = 0;
    while (row->values[column].is_null || i-- > 0) {
        column++;
    }
    return column;
}

/* Which columns is left to the server: the first ones; below zero, again and again. */
void redis_hrandfield(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    int64_t asked = 1;
    bool values = count == 4 && redis_arg_is(&args[3], "WITHVALUES");
    if (count > 4 || (count == 4 && !values) ||
        (count > 2 && !redis_arg_int(&args[2], -REDIS_ARGS_MAX, REDIS_ARGS_MAX, &asked))) {
        redis_reply_error(&session->reply, "ERR write HRANDFIELD name [count [WITHVALUES]]");
        return;
    }
    if (!row_find(session, &args[1], &row)) {
        return;
    }
    int64_t there = fields_there(&row);
    if (count == 2 && there == 0) {
        redis_reply_null(&session->reply);
        return;
    }
    int64_t given = there == 0 ? 0 : asked < 0 ? -asked : i64_min(asked, there);
    bool pairs = values && session->reply.protocol == 3;
    if (count > 2) {
        redis_reply_array(&session->reply, (uint64_t)(values && !pairs ? 2 * given : given));
    }
    for (int64_t i = 0; i < given && session->out.len <= REDIS_OUT_MAX; i++) {
        uint32_t column = column_there(&row, (uint64_t)(i % there));
        if (pairs) {
            redis_reply_array(&session->reply, 2);
        }
        reply_name(session, &row.view->outputs[column]);
        if (values) {
            reply_value(session, &row.values[column]);
        }
    }
}

/* ---- rows as JSON */

/* The row in scratch; its length. */
static size_t row_text(struct redis_session *session, const struct row *row)
{
    struct buf *text = &session->context->value;
    buf_reset(text);
    reader_row_write(text, row->view, row->values);
    return text->len;
}

static void reply_row(struct redis_session *session, const struct row *row)
{
    if (row->values == NULL) {
        redis_reply_null(&session->reply);
        return;
    }
    size_t len = row_text(session, row);
    redis_reply_bulk(&session->reply, session->context->value.data, len);
}

void redis_get(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    (void)count;
    if (row_find(session, &args[1], &row)) {
        reply_row(session, &row);
    }
}

/* Answers the first of these names, and where that is a row of a view, those of the same view behind it with
 * one statement: how many, or negative. */
static int mget_some(struct redis_session *session, const struct redis_arg *names, uint32_t count,
                     bool alone, struct err *err)
{
    struct redis_key key;
    struct reader_read reading;
    struct row row = {0};
    int rc = name_look(session, &names[0], &key, &reading, err);
    if (rc == 0 && reading.table == PLAN_NONE) {
        struct view_rows rows = {.session = session, .reply = reply_row};
        return view_look(&rows, &key, &reading, names, count, err);
    }
    if (rc == 0) {
        rc = table_look(session, &key, alone, &reading, &row, err);
    }
    if (rc < 0) {
        return rc;
    }
    reply_row(session, &row);
    return 1;
}

void redis_mget(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    size_t begin = session->out.len;
    redis_reply_array(&session->reply, count - 1);
    for (uint32_t i = 1; i < count && session->out.len <= REDIS_OUT_MAX;) {
        struct err err;
        int answered = mget_some(session, &args[i], count - i, count == 2, &err);
        if (answered < 0) {
            session->out.len = begin;
            redis_reply_err(&session->reply, &err);
            return;
        }
        i += (uint32_t)answered;
    }
}

void redis_strlen(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    (void)count;
    if (row_find(session, &args[1], &row)) {
        redis_reply_int(&session->reply, row.values == NULL ? 0 : (int64_t)row_text(session, &row));
    }
}

/* ---- is it there */

/* As row_look, but what is not there at all is no row. */
static bool row_there(struct redis_session *session, const struct redis_arg *name, bool alone,
                      bool *there)
{
    struct row row;
    struct err err;
    int rc = row_look(session, name, alone, &row, &err);
    *there = rc == 0 && row.values != NULL;
    if (rc < 0 && rc != -KE_NOT_FOUND && rc != -KE_INVALID) {
        redis_reply_err(&session->reply, &err);
        return false;
    }
    return true;
}

void redis_exists(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    int64_t found = 0;
    for (uint32_t i = 1; i < count; i++) {
        bool there = false;
        if (!row_there(session, &args[i], count == 2, &there)) {
            return;
        }
        found += there ? 1 : 0;
    }
    redis_reply_int(&session->reply, found);
}

void redis_type(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    bool there = false;
    (void)count;
    if (row_there(session, &args[1], true, &there)) {
        redis_reply_status(&session->reply, there ? "hash" : "none");
    }
}

void redis_ttl(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    bool there = false;
    (void)count;
    if (row_there(session, &args[1], true, &there)) {
        redis_reply_int(&session->reply, there ? -1 : -2);
    }
}

void redis_object(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    if (count != 3 || !redis_arg_is(&args[1], "ENCODING")) {
        redis_reply_error(&session->reply, "ERR write OBJECT ENCODING name");
    } else if (row_find(session, &args[2], &row)) {
        if (row.values == NULL) {
            redis_reply_null(&session->reply);
        } else {
            redis_reply_text(&session->reply, "hashtable");
        }
    }
}

void redis_memory(struct redis_session *session, const struct redis_arg *args, uint32_t count)
{
    struct row row;
    if (count < 3 || !redis_arg_is(&args[1], "USAGE")) {
        redis_reply_error(&session->reply, "ERR write MEMORY USAGE name");
    } else if (row_find(session, &args[2], &row)) {
        if (row.values == NULL) {
            redis_reply_null(&session->reply);
        } else {
            redis_reply_int(&session->reply, (int64_t)row_text(session, &row));
        }
    }
}
