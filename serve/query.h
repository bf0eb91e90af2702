/* READ-TIME SQL: SELECT over the tables of all processors, run by SQLite over virtual tables that
 * read like every other reader: rows of a processor come from one version at one snapshot.
 *
 *     query_open -> query_run... -> query_close        one thread at a time
 *     query_pool_take -> query_run -> query_pool_give   connections kept for the next request
 *
 * Names: every table that is served, under its name; "table@3" is the table as version 3 keeps it,
 * "table@candidate" as the newest version on its way to serve does.
 * Views of a definition (CREATE VIEW) are there like tables, of the version that serves.
 *
 * Values: whole numbers, doubles, text; booleans are 0 and 1; a time is text of one width,
 * 2026-01-31T12:00:00.000000Z, so that texts compare as times do; columns that hold times also
 * compare with a time written in any other form of RFC 3339. Numerics: docs/CONCEPTS.md, query_numeric.c.
 *
 * Safety: one SELECT, nothing else (an authorizer refuses the rest); a time limit, a bound on rows
 * and on memory. */
#ifndef KAPPA_SERVE_QUERY_H
#define KAPPA_SERVE_QUERY_H

#include "base/err.h"
#include "base/json.h"
#include "base/library.h"
#include "base/limits.h"
#include "serve/reader.h"

struct query;
struct query_pool;
struct reader_read;

#define QUERY_TIMEOUT_US 30000000 /* when nothing is said */

enum query_value_kind {
    QUERY_NULL,
    QUERY_BOOLEAN, /* a column of a table; expressions are whole numbers */
    QUERY_INTEGER,
    QUERY_DOUBLE,
    QUERY_NUMBER, /* a numeric: its digits in `bytes`, a JSON number */
    QUERY_TEXT,   /* UTF-8 unless the statement made it otherwise; may hold zero bytes */
    QUERY_BLOB
};

struct query_value {
    enum query_value_kind kind;
    int64_t i;
    double d;
    const char *bytes; /* borrowed until the next row */
    size_t len;
};

struct query_column {
    const char *name;
    const char *type; /* of the table's column, else of the first value; "unknown": it was null */
};

/* Where the answer goes. */
struct query_sink {
    void *ctx;
    /* Once, before the first row; also when there is none. */
    void (*columns)(void *ctx, const struct query_column *columns, uint32_t count);
    /* False: no more rows are wanted. */
    bool (*row)(void *ctx, const struct query_value *values, uint32_t count);
};

struct query_options {
    const json_t *params; /* array for ?, ?1, $1; object for :name; or NULL */
    int64_t rows_max;     /* < 0: no bound */
    int64_t timeout_us;   /* 0: none */
    const bool *stop;     /* atomic, or NULL: set to break off */
    uint32_t version;     /* of all tables that are named without one; 0: the serving ones */
    const struct reader_read *at; /* NULL, or a read of that version: all of it is read there */
};

struct query_result {
    uint64_t rows;
    bool truncated; /* there were more than rows_max */
    json_t *stamps; /* [{"processor","version","epoch","cut"}] of what was read; the caller's */
};

int query_open(struct reader *reader, struct query **out, struct err *err) must_check;
void query_close(struct query *query);

/* One statement; a semicolon may end it. SQL errors come as "1:8: no such column: x", the line and a
 * caret. TIMEOUT, LIMIT, CLOSED (stop was set). result is filled when it returns 0. */
int query_run(struct query *query, const char *text, size_t len,
              const struct query_options *options, const struct query_sink *sink,
              struct query_result *result, struct err *err) must_check;

/* {"tables":[{"name","kind":"table"|"view","processor","version","epoch","cut","columns":[{"name",
 * "type","key"}],"query"}]} of what serves; query: of a view, as written. A new reference. */
int query_describe(struct query *query, json_t **out, struct err *err) must_check;

/* Can the views of a definition be read? Errors as plan_compile gives them. */
int query_check_views(const struct plan *plan, const char *file, struct err *err) must_check;

/* Is this the name of a view of a definition? name and version as for reader_get. */
bool query_is_view(struct reader *reader, const char *name, uint32_t version);

/* How rows of a view are asked for: by the columns of the key of the first table that it reads, as far as
 * it gives them out under the same names. */
struct query_view_key {
    const struct plan_view *base; /* that table, or NULL: it reads none */
    uint32_t count;
    const struct plan_key *columns[LIMIT_COLUMNS]; /* of the table; all borrowed from the plan */
    const char *names[LIMIT_COLUMNS];              /* in the view */
    const char *start;                             /* of the window, or NULL */
    const char *end;
    uint32_t end_output; /* which column of the view `end` is */
    bool whole;          /* all that names a row of the table is there */
};

/* Rows of a view by their keys as of a read, all that are asked for by one statement:
 *
 *     query_rows_open -> (query_rows_ask... -> query_rows_run)... -> query_rows_close
 *
 * The read is one of a version that has the view (reader_begin_any, struct reader_pins); it and the query
 * outlive this. */
struct query_rows;
#define QUERY_VIEW_TIMEOUT_US 60000000 /* where nobody else waits for it */

int query_rows_open(struct query *query, const char *view, const struct reader_read *reading,
                    struct query_rows **out, struct err *err) must_check;
void query_rows_close(struct query_rows *rows);
/* Borrowed until the close. */
const struct query_view_key *query_rows_key(const struct query_rows *rows);
/* The view's columns as outputs, for reader_row_write; nothing else of it is filled. Borrowed; their names
 * may move with query_rows_run. */
const struct plan_view *query_rows_shape(const struct query_rows *rows);
/* REFUSED: there is no column to ask by, and why. */
int query_rows_keyless(const struct query_rows *rows, struct err *err);
/* One more key: texts and time as for reader_get. INVALID: it is none of this view; REFUSED: as above;
 * then nothing is asked for any more. */
int query_rows_ask(struct query_rows *rows, const char *const *texts, uint32_t count, int64_t at_us,
                   struct err *err) must_check;
/* One more that no row has. */
void query_rows_ask_none(struct query_rows *rows);
/* Gives the row of each key in the order in which they were asked for, NULL where there is none; of windows
 * the newest one. Values are borrowed until the next row. False: no more are wanted. Then nothing is
 * asked for. REFUSED: a key has several rows. TIMEOUT, LIMIT, SQL: as query_run. */
int query_rows_run(struct query_rows *rows, int64_t timeout_us, const bool *stop,
                   bool (*give)(void *ctx, size_t i, const struct kappa_value *values), void *ctx,
                   struct err *err) must_check;
/* The row of one key, behind a run: 1, 0 there is none, negative. Values are borrowed until the next run. */
int query_rows_one(struct query_rows *rows, const char *const *texts, uint32_t count, int64_t at_us,
                   int64_t timeout_us, const struct kappa_value **values,
                   struct err *err) must_check;
/* As reader_get, of a view. */
int query_view_get(struct query *query, const char *view, uint32_t version, const char *const *keys,
                   uint32_t key_count, int64_t at_us, json_t **out, struct err *err) must_check;
/* As reader_scan, in the view's own order; rows are objects, borrowed. stop: atomic, or NULL. */
int query_view_scan(struct query *query, const char *view, uint32_t version, int64_t limit,
                    bool (*row)(void *ctx, const json_t *row), void *ctx, const bool *stop,
                    struct reader_stamp *stamp, struct err *err) must_check;

/* The same as of a read of its version. Before the rows *key is set (a new reference): an array of the names
 * of the columns that are its key, those of query_view_get and a window's end, when all are there that name
 * a row of its first table; else null. timeout_us, stop: as in the options. */
int query_view_at(struct query *query, const char *view, const struct reader_read *reading,
                  json_t **key, bool (*row)(void *ctx, const json_t *row), void *ctx,
                  int64_t timeout_us, const bool *stop, struct err *err) must_check;
/* Does it, or a view that it reads, ask what time it is, or for chance? Then its rows are no function of
 * the tables. */
bool query_view_drifts(const struct plan *plan, const char *view);

struct query_pool *query_pool_new(struct reader *reader);
void query_pool_free(struct query_pool *pool);
int query_pool_take(struct query_pool *pool, struct query **out, struct err *err) must_check;
void query_pool_give(struct query_pool *pool, struct query *query);

/* Appends a value as JSON: numbers with all their digits, infinities as text, blobs as "\\xdead". */
void query_value_json(struct buf *out, const struct query_value *value);

/* Of SQLite. */
void query_library(struct library *out);

#endif
