/* Statements: from text to rows, and connections. Own header: query.h.
 *
 *     translate -> names to pins -> snapshots -> tables and views known -> prepare -> step ... ->
 *     snapshots end
 *
 * A connection is kept for other statements; between two of them nothing of a version is held. */
#include "serve/query.h"

#include "base/clock.h"
#include "serve/query_private.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_BETWEEN_LOOKS 20000              /* of the virtual machine */
#define MEMORY_MAX          (INT64_C(1) << 30) /* of all statements; sorts go to files long before */
#define POOL_IDLE           8
/* json_each is made when it is named first, which is refused in a user's statement. */
#define LIST_KNOWN          "SELECT 1 FROM json_each('[]');"

/* ---- who may do what */

bool query_is_over(struct query *query)
{
    if (query->stop != NULL && __atomic_load_n(query->stop, __ATOMIC_RELAXED)) {
        return true;
    }
    if (query->until_us != INT64_MAX && clock_mono_us(clock_real()) > query->until_us) {
        query->expired = true;
    }
    return query->expired;
}

static int look_around(void *ctx)
{
    return query_is_over(ctx);
}

static int only_select(struct err *err)
{
    int rc = err_set(err, KE_REFUSED, "only SELECT is allowed here");
    err_hint(err, "tables are changed by producing to their topics, and by `kappa deploy`");
    return rc;
}

/* SELECT, and nothing that leaves the connection. */
static int authorize(void *ctx, int action, const char *a, const char *b, const char *c,
                     const char *d)
{
    struct query *query = ctx;
    (void)a;
    (void)c;
    (void)d;
    if (!query->guarded || action == SQLITE_SELECT || action == SQLITE_READ ||
        action == SQLITE_RECURSIVE) {
        return SQLITE_OK;
    }
    if (action == SQLITE_FUNCTION && b != NULL && strcmp(b, "load_extension") != 0 &&
        strcmp(b, "fts3_tokenizer") != 0) {
        return SQLITE_OK;
    }
    if (query->err.code == 0) {
        (void)only_select(&query->err);
    }
    return SQLITE_DENY;
}

/* ---- connections */

static void limits_set(sqlite3 *db)
{
    static const struct {
        int limit;
        int value;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, 64 << 20},      {SQLITE_LIMIT_SQL_LENGTH, 1 << 20},
        {SQLITE_LIMIT_EXPR_DEPTH, 400},       {SQLITE_LIMIT_COMPOUND_SELECT, 100},
        {SQLITE_LIMIT_ATTACHED, 0},           {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
        {SQLITE_LIMIT_TRIGGER_DEPTH, 1},      {SQLITE_LIMIT_WORKER_THREADS, 0},
        {SQLITE_LIMIT_VARIABLE_NUMBER, 1000}, {SQLITE_LIMIT_VDBE_OP, 1000000},
    };

    for (size_t i = 0; i < array_len(limits); i++) {
        (void)sqlite3_limit(db, limits[i].limit, limits[i].value);
    }
}

static int setup(struct query *query)
{
    sqlite3 *db = query->db;
    limits_set(db);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, (int *)NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, (int *)NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, (int *)NULL);
    int rc = sqlite3_exec(db, "PRAGMA case_sensitive_like = 1; PRAGMA temp_store = 1;" LIST_KNOWN,
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_create_collation_v2(db, QUERY_COLLATION, SQLITE_UTF8, NULL, query_time_collate,
                                         NULL);
    }
    if (rc == SQLITE_OK) {
        rc = query_functions_add(query);
    }
    if (rc == SQLITE_OK) {
        rc = query_aggregates_add(db);
    }
    if (rc == SQLITE_OK) {
        rc = query_sums_add(query);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_set_authorizer(db, authorize, query);
    }
    sqlite3_progress_handler(db, STEPS_BETWEEN_LOOKS, look_around, query);
    return rc;
}

int query_open(struct reader *reader, struct query **out, struct err *err)
{
    (void)sqlite3_hard_heap_limit64(MEMORY_MAX);
    struct query *query = xcalloc(1, sizeof *query);
    query->magic = QUERY_MAGIC;
    query->reader = reader;
    query->until_us = INT64_MAX;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(":memory:", &query->db, flags, NULL);
    if (rc == SQLITE_OK) {
        rc = setup(query);
    }
    if (rc != SQLITE_OK) {
        int failed = err_set(err, KE_INTERNAL, "SQLite cannot be set up: %s", sqlite3_errstr(rc));
        query_close(query);
        return failed;
    }
    *out = query;
    return 0;
}

void query_close(struct query *query)
{
    if (query == NULL) {
        return;
    }
    MAGIC_ASSERT(query, QUERY_MAGIC);
    ASSERT_CMP(query->pins.read_count, ==, 0);
    (void)sqlite3_close(query->db);
    ASSERT(query->tables == NULL); /* modules free them */
    query->magic = 0;
    free(query);
}

/* ---- errors */

/* SQLite's own words for what a table of the platform is missing. */
static void explain(struct query *query, struct err *err)
{
    static const char no_table[] = "no such table: ";
    const char *at = strstr(err->text, no_table);
    char name[QUERY_NAME_LEN];
    struct err known = {0};
    if (at != NULL && query->reader != NULL) {
        at += strlen(no_table);
        size_t len = strcspn(at, "\n");
        len = len < sizeof name ? len : sizeof name - 1;
        memcpy(name, at, len);
        name[len] = '\0';
        (void)reader_table_not_served(query->reader, name, &known);
        err->code = -KE_NOT_FOUND;
        if (strstr(known.text, "not served yet") != NULL) {
            (void)snprintf(err->hint, sizeof err->hint, "%.300s; write \"%.100s@N\"", known.text,
                           name);
        } else {
            (void)snprintf(err->hint, sizeof err->hint, "%s", known.hint);
        }
    } else if (strstr(err->text, "no such function: ") != NULL) {
        err_hint(err, "functions are those of SQLite, and the ones in serve/README.md");
    }
}

/* Turns a code of SQLite into an error of ours. text: the statement, or NULL: no place is known. */
static int failed(struct query *query, int code, const struct query_text *text, struct err *err)
{
    if (query->err.code != 0 && code != SQLITE_INTERRUPT) {
        if (err != NULL) {
            *err = query->err;
        }
        return query->err.code;
    }
    if (code == SQLITE_INTERRUPT && query->expired) {
        int rc = err_set(err, KE_TIMEOUT, "the statement took too long and was ended");
        err_hint(err, "ask for less, by the columns of a key or a range of window_end; or allow "
                      "more time");
        return rc;
    }
    if (code == SQLITE_INTERRUPT) {
        return err_set(err, KE_CLOSED, "the statement was cancelled");
    }
    if (code == SQLITE_NOMEM || code == SQLITE_TOOBIG) {
        return err_set(err, KE_LIMIT, "the statement needs more memory than is allowed");
    }
    const char *message = sqlite3_errmsg(query->db);
    if (strstr(message, "may not be modified") != NULL) {
        return only_select(err);
    }
    int place = sqlite3_error_offset(query->db);
    if (text == NULL) {
        return err_set(err, KE_SQL, "%s", message);
    }
    int rc = place < 0
                 ? err_set(err, KE_SQL, "%s", message)
                 : query_error_at(&text->origin, query_place(text, (size_t)place), err, message);
    if (err == NULL) {
        return rc;
    }
    explain(query, err);
    return err->code;
}

int query_exec(struct query *query, const char *text, struct err *err)
{
    bool guarded = query->guarded;
    query->guarded = false;
    int rc = sqlite3_exec(query->db, text, NULL, NULL, NULL);
    query->guarded = guarded;
    return rc == SQLITE_OK ? 0 : failed(query, rc, NULL, err);
}

/* ---- one statement */

int query_prepare(struct query *query, const struct query_text *text, sqlite3_stmt **out,
                  struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(query->db, buf_text(&text->out), int_from(text->out.len + 1),
                                &statement, NULL);
    if (rc != SQLITE_OK) {
        return failed(query, rc, text, err);
    }
    if (statement == NULL) {
        return err_set(err, KE_SQL, "there is no statement");
    }
    if (sqlite3_column_count(statement) == 0 || sqlite3_stmt_readonly(statement) == 0) {
        (void)sqlite3_finalize(statement);
        return only_select(err);
    }
    *out = statement;
    return 0;
}

static int bind_one(sqlite3_stmt *statement, int index, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return sqlite3_bind_text64(statement, index, json_string_value(value),
                                   json_string_length(value), SQLITE_TRANSIENT, SQLITE_UTF8);
    case JSON_INTEGER:
        return sqlite3_bind_int64(statement, index, json_integer_value(value));
    case JSON_REAL:
        return sqlite3_bind_double(statement, index, json_real_value(value));
    case JSON_TRUE:
    case JSON_FALSE:
        return sqlite3_bind_int(statement, index, json_is_true(value));
    case JSON_NULL:
        return sqlite3_bind_null(statement, index);
    case JSON_OBJECT:
    case JSON_ARRAY:
    default:
        return SQLITE_MISMATCH;
    }
}

static int bind_params(sqlite3_stmt *statement, const json_t *params, struct err *err)
{
    int count = sqlite3_bind_parameter_count(statement);
    for (int i = 1; i <= count; i++) {
        const char *name = sqlite3_bind_parameter_name(statement, i);
        bool number = name == NULL ||
                      ((name[0] == '?' || name[0] == '$') && name[1] >= '1' && name[1] <= '9');
        size_t index = number && name != NULL ? strtoul(name + 1, NULL, 10) - 1 : (size_t)i - 1;
        const json_t *value =
            number ? json_array_get(params, index) : json_object_get(params, name + 1);
        if (value == NULL) {
            int rc =
                err_set(err, KE_INVALID, "parameter %s has no value", name == NULL ? "?" : name);
            err_hint(err, "\"params\": [..] for ?, ?1 and $1, {\"name\": ..} for :name");
            return rc;
        }
        if (bind_one(statement, i, value) != SQLITE_OK) {
            return err_set(err, KE_INVALID, "parameter %d: a list or an object is no value", i);
        }
    }
    return 0;
}

/* Columns: the declared type without what is there for SQLite, else the type of the first value. */
static void columns_tell(sqlite3_stmt *statement, bool first, const struct query_sink *sink)
{
    static const char *const types[] = {[SQLITE_INTEGER] = "bigint",
                                        [SQLITE_FLOAT] = "double precision",
                                        [SQLITE_TEXT] = "text",
                                        [SQLITE_BLOB] = "bytea",
                                        [SQLITE_NULL] = "unknown"};
    uint32_t count = (uint32_t)sqlite3_column_count(statement);
    struct query_column *columns = xcalloc(count, sizeof *columns);
    char(*texts)[QUERY_TYPE_LEN] = xcalloc(count, sizeof *texts);
    for (uint32_t i = 0; i < count; i++) {
        const char *declared = sqlite3_column_decltype(statement, (int)i);
        columns[i].name = sqlite3_column_name(statement, (int)i);
        columns[i].type = types[first ? sqlite3_column_type(statement, (int)i) : SQLITE_NULL];
        if (declared == NULL) {
            continue;
        }
        query_type_shown(declared, texts[i]);
        columns[i].type = texts[i];
    }
    sink->columns(sink->ctx, columns, count);
    free(texts);
    free(columns);
}

static int rows_give(struct query *query, sqlite3_stmt *statement, const struct query_text *text,
                     int64_t rows_max, const struct query_sink *sink, struct query_result *result,
                     struct err *err)
{
    int count = sqlite3_column_count(statement);
    struct query_value *values = xcalloc((size_t)count, sizeof *values);
    struct query_given *given = xcalloc((size_t)count, sizeof *given);
    int rc = sqlite3_step(statement);
    for (int i = 0; i < count; i++) {
        query_given_read(query, statement, i, &given[i]);
    }
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
        columns_tell(statement, rc == SQLITE_ROW, sink);
    }
    while (rc == SQLITE_ROW) {
        if (rows_max >= 0 && result->rows == (uint64_t)rows_max) {
            result->truncated = true;
            break;
        }
        for (int i = 0; i < count; i++) {
            query_value_take(query, statement, i, &given[i], &values[i]);
        }
        result->rows++;
        if (!sink->row(sink->ctx, values, (uint32_t)count)) {
            break;
        }
        rc = sqlite3_step(statement);
    }
    free(given);
    free(values);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : failed(query, rc, text, err);
}

static json_t *stamps(const struct query *query)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < query->pins.read_count; i++) {
        if (query->used[i]) {
            struct reader_stamp stamp;
            reader_stamp_of(&query->pins.reads[i], &stamp);
            json_t *item = json_pack("{s:s, s:I, s:I, s:o}", "processor", stamp.processor,
                                     "version", (json_int_t)stamp.version, "epoch",
                                     (json_int_t)stamp.epoch, "cut", stamp.cut);
            ASSERT(item != NULL);
            reader_stamp_since(stamp.since, item);
            ASSERT(json_array_append_new(list, item) == 0);
        }
    }
    return list;
}

/* Says so before SQLite says it in many ways. */
static int check_select(const char *text, size_t len, struct err *err)
{
    static const char *const first[] = {"SELECT", "WITH", "VALUES", "EXPLAIN"};
    size_t at = 0;
    struct query_token token = query_token_next(text, len, &at);
    while (query_token_is(&token, "(")) {
        token = query_token_next(text, len, &at);
    }
    for (size_t i = 0; i < array_len(first); i++) {
        if (query_token_is(&token, first[i])) {
            return 0;
        }
    }
    if (token.kind == QUERY_TOKEN_END) {
        return err_set(err, KE_SQL, "there is no statement");
    }
    bool known = token.kind == QUERY_TOKEN_WORD;
    int rc = err_set(err, known ? KE_REFUSED : KE_SQL, "only SELECT is allowed here, not %.*s",
                     token.len < 40 ? (int)token.len : 40, token.text);
    bool asks = query_token_is(&token, "SHOW") || query_token_is(&token, "DESCRIBE") ||
                query_token_is(&token, "DESC") || query_token_is(&token, "TABLE");
    err_hint(err, asks ? "kappa sql '\\d' lists all tables, '\\d NAME' the columns of one"
                       : "tables are changed by producing to their topics, and by `kappa deploy`");
    return rc;
}

static int run_pinned(struct query *query, const struct query_text *text,
                      const struct query_options *options, const struct query_sink *sink,
                      struct query_result *result, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = query_names_bind(query, err);
    query->guarded = true;
    if (rc == 0) {
        rc = query_prepare(query, text, &statement, err);
    }
    if (rc == 0) {
        rc = bind_params(statement, options->params, err);
    }
    if (rc == 0) {
        rc = rows_give(query, statement, text, options->rows_max, sink, result, err);
    }
    (void)sqlite3_finalize(statement);
    query->guarded = false;
    if (rc == 0) {
        result->stamps = stamps(query);
    }
    query_names_drop(query);
    query_numerics_forget(query);
    return rc;
}

int query_run(struct query *query, const char *text, size_t len,
              const struct query_options *options, const struct query_sink *sink,
              struct query_result *result, struct err *err)
{
    MAGIC_ASSERT(query, QUERY_MAGIC);
    struct query_text translated = {0};
    *result = (struct query_result){0};
    query->stop = options->stop;
    query->expired = false;
    query->err = (struct err){0};
    query->version = options->version;
    query->at = options->at;
    query->now_us = clock_wall_ms(clock_real()) * 1000;
    query->until_us =
        options->timeout_us == 0 ? INT64_MAX : clock_mono_us(clock_real()) + options->timeout_us;
    memset(query->used, 0, sizeof query->used);
    reader_pins_init(&query->pins, query->reader);
    int rc = check_select(text, len, err);
    if (rc == 0) {
        rc = query_translate(&translated, text, len, NULL, err);
    }
    if (rc == 0) {
        rc = query_names_add(query, buf_text(&translated.out), translated.out.len, options->version,
                             err);
    }
    if (rc == 0 && options->at != NULL) {
        reader_pins_at(&query->pins, options->at);
    } else if (rc == 0) {
        rc = reader_pins_begin(&query->pins, err);
    }
    if (rc == 0) {
        rc = run_pinned(query, &translated, options, sink, result, err);
    }
    reader_pins_end(&query->pins);
    query_text_free(&translated);
    query->stop = NULL;
    return rc;
}

/* ---- pool */

struct query_pool {
    struct reader *reader;
    pthread_mutex_t lock;
    struct query *idle; /* lock */
    uint32_t idle_count;
};

struct query_pool *query_pool_new(struct reader *reader)
{
    struct query_pool *pool = xcalloc(1, sizeof *pool);
    pool->reader = reader;
    ASSERT(pthread_mutex_init(&pool->lock, NULL) == 0);
    return pool;
}

void query_pool_free(struct query_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    while (pool->idle != NULL) {
        struct query *query = pool->idle;
        pool->idle = query->next;
        query_close(query);
    }
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
}

int query_pool_take(struct query_pool *pool, struct query **out, struct err *err)
{
    (void)pthread_mutex_lock(&pool->lock);
    struct query *query = pool->idle;
    if (query != NULL) {
        pool->idle = query->next;
        pool->idle_count--;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    if (query == NULL) {
        return query_open(pool->reader, out, err);
    }
    query->next = NULL;
    *out = query;
    return 0;
}

void query_pool_give(struct query_pool *pool, struct query *query)
{
    (void)pthread_mutex_lock(&pool->lock);
    if (pool->idle_count < POOL_IDLE) {
        query->next = pool->idle;
        pool->idle = query;
        pool->idle_count++;
        query = NULL;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    query_close(query);
}

void query_library(struct library *out)
{
    *out = (struct library){.name = "SQLite"};
    (void)snprintf(out->built, sizeof out->built, "%s", SQLITE_VERSION);
    (void)snprintf(out->runs, sizeof out->runs, "%s", sqlite3_libversion());
}
