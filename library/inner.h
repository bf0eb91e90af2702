/* The inside of libkappa, shared by open.c (data directories, fork), scope.c (snapshots and tables),
 * key.c (keys from outside), get.c (rows by key), scan.c (cursors) and value.c (values as text).
 *
 * Here the rule of the house is turned round: nothing that a caller hands in is asserted. Each function of
 * the public header checks its handles (magic words: NULL, closed, of another kind), then whether the
 * process was forked since, then its values; only then the reader inside is called, which asserts. */
#ifndef KAPPA_LIBRARY_INNER_H
#define KAPPA_LIBRARY_INNER_H

#include "include/kappa/reader.h"
#include "serve/reader_inner.h"

#define LIBRARY_READER_MAGIC 0x4c42694cU
#define LIBRARY_SCOPE_MAGIC  0x6f63534cU
#define LIBRARY_TABLE_MAGIC  0x6261544cU
#define LIBRARY_ROWS_MAGIC   0x776f524cU

struct kappa_reader {
    uint32_t magic;
    unsigned generation; /* of the process that opened it */
    uint32_t scopes;     /* open; atomic */
    struct reader *reader;
};

struct kappa_table {
    uint32_t magic;
    struct kappa_scope *scope;
    uint32_t index; /* of the plan's views */
    const struct plan_view *view;
    struct row_finisher *finisher; /* taken by the first get */
};

struct kappa_scope {
    uint32_t magic;
    unsigned generation;
    struct kappa_reader *owner;
    struct reader_read reading; /* .table: the one it was begun with */
    struct kappa_rows *rows;    /* scans that are open */
    struct kappa_position *cut; /* made by the first stamp */
    struct arena memory;        /* rows of kappa_get_many */
    struct kappa_table tables[];
};

struct kappa_rows {
    uint32_t magic;
    bool failed;
    struct kappa_table *table;
    struct kappa_rows *next;      /* of the scope's */
    struct reader_cursor *cursor; /* NULL: it is known to be empty */
};

/* Fills error (if not NULL) and returns -code. */
int library_fail(struct kappa_error *error, enum err_code code, const char *format, ...)
    printf_like(3, 4);
/* Hands on what the inside said; returns its code, or 0 and 1 as they are. */
int library_result(int rc, const struct err *reason, struct kappa_error *error);
/* CLOSED in a child forked since that generation. */
int library_check_fork(unsigned generation, struct kappa_error *error) must_check;

int library_check_scope(const struct kappa_scope *scope, struct kappa_error *error) must_check;
int library_check_table(const struct kappa_table *table, struct kappa_error *error) must_check;

/* Key columns of the table, without windows and row number. */
uint32_t library_key_columns(const struct plan_view *view);
/* Does the row's number belong to the key? */
bool library_keeps_several(const struct plan_view *view);
/* A key value from outside, of its column's type; text lives in the value or the arena. */
int library_key_value(const struct plan_view *view, uint32_t column,
                      const struct kappa_value *given, struct arena *memory,
                      struct kappa_value *out, struct err *err) must_check;
/* A whole key: columns has room for LIMIT_TABLE_KEY_LEN bytes, out points to it. */
int library_key(const struct plan_view *view, const struct kappa_value *given, uint32_t count,
                uint8_t *columns, struct reader_key *out, struct err *err) must_check;
/* Is it one that a caller may give: a type that there is, bytes where there must be some, a day that has a
 * date? */
bool library_value_is_sound(const struct kappa_value *value);
/* The value of key i (its columns, then perhaps the row's number; of append views partition and
 * offset). */
struct kappa_column library_key_column(const struct plan_view *view, uint32_t i);

#endif
