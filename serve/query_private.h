/* The inside of read-time SQL: query.c (statements), query_table.c (tables as SQLite sees them),
 * query_value.c (values in and out), query_numeric.c (decimals), query_function.c, query_aggregate.c,
 * query_sum.c (functions that SQLite lacks or does otherwise), query_view.c (names and views), query_read.c
 * and query_rows.c (views read like tables), query_describe.c (what there is). The one header that includes
 * sqlite3.h. */
#ifndef KAPPA_SERVE_QUERY_PRIVATE_H
#define KAPPA_SERVE_QUERY_PRIVATE_H

#include "processor/numeric.h"
#include "serve/query.h"
#include "serve/query_token.h"
#include "serve/query_translate.h"
#include "serve/reader_pins.h"

#include <sqlite3.h>

#define QUERY_MAGIC     0x71756572U
#define QUERY_COLLATION "kappa_time"          /* of columns that hold times */
#define QUERY_TIME_LEN  40                    /* room for the text of a time */
#define QUERY_NAME_LEN  (LIMIT_NAME_LEN + 16) /* room for table@version */

/* What a column of a table is for finding rows. */
enum query_role { QUERY_ROLE_NONE, QUERY_ROLE_KEY, QUERY_ROLE_START, QUERY_ROLE_END };

/* A table under a name that statements can use. */
struct query_table {
    struct query_table *next; /* of query->tables */
    struct query *query;
    char name[QUERY_NAME_LEN];
    char *schema; /* CREATE TABLE as declared; owned */
    /* While a statement runs that may use it: */
    bool bound;
    uint32_t pin;   /* index of query->pins.reads; PLAN_NONE: only its columns are known */
    uint32_t table; /* of that version */
    const struct plan_view *view;
    uint8_t roles[LIMIT_COLUMNS];  /* enum query_role per output */
    uint8_t keys[LIMIT_COLUMNS];   /* QUERY_ROLE_KEY: which column of the key */
    uint8_t scales[LIMIT_COLUMNS]; /* of numerics, as far as they were read: query_scale_note */
    uint32_t key_count;            /* columns of the key */
};

/* A numeric of more digits than a double keeps; see query_numeric.c. */
struct query_long {
    double stands; /* for the value, > 0; 0: free */
    struct kappa_numeric value;
};

struct query {
    uint32_t magic;
    sqlite3 *db;
    struct reader *reader;
    struct query *next; /* of the pool */
    struct query_table *tables;
    struct reader_pins pins;
    bool used[READER_PINS_MAX];              /* reads that the statement looks at */
    char views[LIMIT_VIEWS][QUERY_NAME_LEN]; /* created for the statement, bases first */
    uint32_t view_count;
    uint32_t version;             /* of names without one; 0: the serving ones */
    const struct reader_read *at; /* as in the options */
    bool guarded;                 /* the text at hand is a user's: only SELECT */
    bool expired;                 /* the time was over */
    int64_t until_us;             /* monotonic; INT64_MAX: no limit */
    int64_t now_us;               /* now() of the statement, since 1970 */
    const bool *stop;
    struct query_long *longs; /* of the statement: a hash table by what stands for them */
    uint32_t long_slots;      /* a power of two; 0: none yet */
    uint32_t long_count;
    struct err err; /* why a table could not be read, or what is refused */
};

/* query_table.c: makes the table of a plan known under a name. A code of SQLite. */
int query_table_bind(struct query *query, const char *name, uint32_t pin, const struct plan *plan,
                     uint32_t table);
/* The scale that the values of a column have been read with; NULL: it is of no table. */
const uint8_t *query_table_scale(const struct query *query, const char *table, const char *column);
/* The statement is over: nothing may be read any more. */
void query_tables_unbind(struct query *query);
/* Has the statement to end? Also called from long loops. */
bool query_is_over(struct query *query);

/* query_view.c: adds the tables and views that a text names to the pins. */
int query_names_add(struct query *query, const char *text, size_t len, uint32_t version,
                    struct err *err) must_check;
/* The pins have begun: binds tables, creates views and what they read. */
int query_names_bind(struct query *query, struct err *err) must_check;
/* Drops the views. */
void query_names_drop(struct query *query);
/* All tables and views of a plan, without any data. */
int query_plan_bind(struct query *query, const struct plan *plan, struct err *err) must_check;

/* query_rows.c: a row of a view as readers of tables have one. */
struct query_row {
    struct plan_view shape;     /* its outputs: name, and TIMESTAMPTZ or no type */
    struct kappa_value *values; /* of the row at hand */
    struct arena names;         /* of the shape and the values */
    struct arena memory;        /* of texts of the row at hand */
};

void query_row_init(struct query_row *row);
void query_row_free(struct query_row *row);
/* Before the first row, as the sink of a statement is told. */
void query_row_columns(struct query_row *row, const struct query_column *columns, uint32_t count);
/* Copies a row of these columns. */
void query_row_set(struct query_row *row, const struct query_value *values);

/* query_rows.c: which columns of the view are its key; and all of its columns. */
int query_view_key_read(struct query *query, const struct plan *plan,
                        const struct plan_read_view *view, struct query_view_key *key,
                        struct query_row *row, struct err *err) must_check;

/* query.c: runs a statement of our own. */
int query_exec(struct query *query, const char *text, struct err *err) must_check;
/* Prepares a user's text. */
int query_prepare(struct query *query, const struct query_text *text, sqlite3_stmt **out,
                  struct err *err) must_check;

/* query_value.c */
/* A value as SQLite has it; text is room for the ones that are made, empty before. */
void query_value_plain(const struct kappa_value *value, struct buf *text, struct query_value *out);
void query_result_value(struct query *query, sqlite3_context *context,
                        const struct kappa_value *value);
/* The same for a parameter of a statement, to be kept in a file. A code of SQLite. */
int query_bind_value(sqlite3_stmt *statement, int number, const struct kappa_value *value);
/* The declared type of a column; and what is shown of one: its first word in small letters. */
const char *query_type_declared(enum kappa_type type);
#define QUERY_TYPE_LEN 32
void query_type_shown(const char *declared, char *text);

/* Whether a key of this type can equal the value. */
enum query_match { QUERY_MATCH_VALUE, QUERY_MATCH_NEVER, QUERY_MATCH_UNSURE };
enum query_match query_key_value(enum kappa_type type, sqlite3_value *value,
                                 struct kappa_value *out);
void query_time_text(int64_t us, char *text);
/* RFC 3339 in any form, or digits: ms since 1970. */
bool query_time_parse(const char *text, size_t len, int64_t *us);
int query_time_collate(void *ctx, int a_len, const void *a, int b_len, const void *b);

/* A column of what a statement gives out. */
struct query_given {
    const char *type;          /* declared, of a column of a table; NULL: an expression */
    const uint8_t *scale;      /* of a numeric column; or NULL */
    char digits[NUMERIC_TEXT]; /* of the value at hand */
};

/* What columns are; before the first row, while the statement lives. */
void query_given_read(const struct query *query, sqlite3_stmt *statement, int column,
                      struct query_given *given);
/* A column of the row at hand. */
void query_value_take(const struct query *query, sqlite3_stmt *statement, int column,
                      struct query_given *given, struct query_value *out);

/* query_numeric.c */
#define QUERY_SCALE_MIXED  254
#define QUERY_SCALE_UNSEEN 255
/* A value of this scale was read. */
void query_scale_note(uint8_t *scale, struct kappa_numeric value);
/* As SQLite has it; or the error that it cannot be kept apart from others. */
void query_result_numeric(struct query *query, sqlite3_context *context,
                          struct kappa_numeric value);
/* The numeric that a double stands for, without zeros at the end of its fraction; false: for none. */
bool query_numeric_of(const struct query *query, double d, struct kappa_numeric *out);
/* The same among those of at most 15 digits. */
bool query_numeric_short(double d, struct kappa_numeric *out);
/* The first 15 digits of any double; false: a numeric has no room for them. */
bool query_numeric_near(double d, struct kappa_numeric *out);
/* With at least so many digits behind the point, where they are known. As numeric_format. */
uint32_t query_numeric_text(struct kappa_numeric value, uint8_t scale, char *text);
/* The statement is over: numerics that it has seen are forgotten. */
void query_numerics_forget(struct query *query);

/* query_function.c, query_aggregate.c */
int query_functions_add(struct query *query);
int query_aggregates_add(sqlite3 *db);
/* query_sum.c */
int query_sums_add(struct query *query);

#endif
