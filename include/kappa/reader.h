/* libkappa: rows of Kappa's tables, read from the files of a data directory without a server.
 *
 *     kappa_reader_open
 *       kappa_scope_begin("user_features")      one snapshot of one version; "user_features@3" names it
 *         kappa_scope_stamp                     which version, epoch and cut
 *         kappa_scope_table                     a table of it
 *           kappa_get, kappa_get_text, kappa_get_many
 *           kappa_scan -> kappa_rows_next... -> kappa_rows_close
 *       kappa_scope_end
 *     kappa_reader_close
 *
 * What is promised: everything read in a scope comes from one version, at one cut, whatever is
 * applied, swapped or dropped meanwhile; all tables of a processor can be read in it. Scopes that are
 * begun one after the other never go back: neither epoch nor, within a version, cut.
 *
 * Errors: functions that return int give 0 (or 1 where it says so), or a negative enum kappa_code. The
 * sentence for a person goes into the struct kappa_error passed last, which may be NULL and is written
 * only when something failed. Arguments are checked; no argument and no version that is dropped ends
 * the process. What does: memory that runs out; and, since files are mapped, pages of data.mdb that
 * something damaged or cut off under a running reader (SIGBUS, SIGSEGV), or damaged so that LMDB's own checks
 * abort. Files that are damaged where a row or a head is decoded give KAPPA_CORRUPT.
 *
 * Threads: a reader is shared by any number of threads. A scope with its tables and cursors is used by
 * one thread at a time. Scopes are cheap to begin (microseconds) and should be short (seconds): while
 * one is open, space of its snapshot cannot be used again by the writer, and a map that must grow
 * waits for it, up to 5 s, then new scopes fail with KAPPA_BUSY.
 *
 * fork: a child cannot use what its parent opened: every call gives KAPPA_CLOSED, and closing does
 * nothing. The child opens its own reader.
 *
 * Ownership: what kappa_..._open, _begin and kappa_scan give is given back by _close and _end. Pointers
 * and texts that come out are borrowed; each function says until when, at most to the scope's end.
 *
 * Units: times are microseconds since 1970 UTC, dates days since 1970, intervals microseconds. What a
 * value is by its type is in kappa/row.h. */
#ifndef KAPPA_READER_H
#define KAPPA_READER_H

#include "include/kappa/row.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KAPPA_API __attribute__((visibility("default")))

enum kappa_code {
    KAPPA_OK = 0,
    KAPPA_INVALID = 1,   /* an argument: NULL, not of the type, a wrong count... */
    KAPPA_SQL = 2,       /* a definition in the catalog that this library cannot read */
    KAPPA_NOT_FOUND = 3, /* no such data directory, table or version */
    KAPPA_REFUSED =
        5, /* a view (it is read by SQL); a value in an error state (sum out of range) */
    KAPPA_TIMEOUT = 8, /* the serving pointer did not come to rest for 30 s */
    KAPPA_IO = 9,
    KAPPA_DISK_FULL = 10,
    KAPPA_CORRUPT = 11, /* stored bytes do not decode */
    KAPPA_BUSY = 14,    /* scopes are open: on close, or while the map must grow */
    KAPPA_LIMIT = 15,   /* 4096 snapshots of a version's files are open, in all processes */
    KAPPA_CLOSED = 17,  /* opened before this process was forked, or already closed */
    KAPPA_INTERNAL = 19
};

struct kappa_error {
    int code;        /* negative enum kappa_code */
    char text[1536]; /* what happened, where */
    char hint[512];  /* what to do; may be empty */
};

struct kappa_reader; /* a data directory */
struct kappa_scope;  /* a snapshot of one version */
struct kappa_table;  /* a table in it: lives as long as the scope */
struct kappa_rows;   /* a scan */

/* "0.1.0": of the library in use. */
KAPPA_API const char *kappa_library_version(void);
/* "not_found"... of a code, negative or positive; never NULL. */
KAPPA_API const char *kappa_code_word(int code);

/* ---- The data directory */

/* data_dir: what `kappa up --data` was given; on a local disk. */
KAPPA_API int kappa_reader_open(const char *data_dir, struct kappa_reader **out,
                                struct kappa_error *error);
/* BUSY, and nothing happens, while scopes are open. NULL is nothing to close. */
KAPPA_API int kappa_reader_close(struct kappa_reader *reader, struct kappa_error *error);

/* A table of a version in the catalog; borrowed by the call. */
struct kappa_catalog_entry {
    const char *table;
    const char *processor;
    const char *state; /* "serving", "ready", "replaying"... */
    uint32_t version;
};

/* Calls fn for the tables of all versions until it returns false. fn must not use the reader. */
KAPPA_API int kappa_reader_tables(struct kappa_reader *reader,
                                  bool (*fn)(void *ctx, const struct kappa_catalog_entry *entry),
                                  void *ctx, struct kappa_error *error);

/* ---- A read scope */

/* name: a table, to read the version that serves it; or "table@N", to read version N in whatever state
 * it is, as long as its files exist; or "table@candidate": the newest version that is on its way to serve. */
KAPPA_API int kappa_scope_begin(struct kappa_reader *reader, const char *name,
                                struct kappa_scope **out, struct kappa_error *error);
/* A scope for the rows of one key, such as a user's: as above, but while a canary is on (`kappa canary`) and
 * the key is in its share, of the candidate. key: the first value of the table's key as text; it is the same
 * for all tables of which that is the first. One scope is of one version in any case. */
KAPPA_API int kappa_scope_begin_for(struct kappa_reader *reader, const char *name, const char *key,
                                    struct kappa_scope **out, struct kappa_error *error);
/* Closes the cursors that are still open, too. NULL does nothing. */
KAPPA_API void kappa_scope_end(struct kappa_scope *scope);

/* How far the version is in one partition of an input. */
struct kappa_position {
    const char *topic;
    uint32_t partition;
    int64_t next; /* offset of the first record that is not in the tables yet */
};

struct kappa_stamp {
    const char *processor;
    uint32_t version;
    uint64_t epoch;                   /* of the processor: one more at every swap */
    const struct kappa_position *cut; /* by input, then partition */
    uint32_t cut_count;
};

/* Borrowed until the scope ends. */
KAPPA_API int kappa_scope_stamp(struct kappa_scope *scope, struct kappa_stamp *out,
                                struct kappa_error *error);
/* A table of the scope's version; name NULL: the one that the scope was begun with. */
KAPPA_API int kappa_scope_table(struct kappa_scope *scope, const char *name,
                                struct kappa_table **out, struct kappa_error *error);

/* ---- What a table looks like */

enum kappa_table_kind {
    KAPPA_TABLE_ROWS,   /* a row per record: keys are partition and offset */
    KAPPA_TABLE_GROUPS, /* a row per key */
    KAPPA_TABLE_WINDOWS /* a row per key and window */
};

struct kappa_column {
    const char *name;
    enum kappa_type type;
};

struct kappa_table_shape_info {
    const char *name;
    enum kappa_table_kind kind;
    uint32_t column_count;
    uint32_t key_count; /* values that name a row, without its window */
};

/* Names are borrowed until the scope ends. */
KAPPA_API int kappa_table_describe(struct kappa_table *table, struct kappa_table_shape_info *out,
                                   struct kappa_error *error);
/* Column i of the rows, i < column_count. */
KAPPA_API int kappa_table_column(struct kappa_table *table, uint32_t i, struct kappa_column *out,
                                 struct kappa_error *error);
/* Value i of a key, i < key_count. Tables that keep several rows of a key have their number, from 1,
 * as the last one: "row_number", bigint. */
KAPPA_API int kappa_table_key(struct kappa_table *table, uint32_t i, struct kappa_column *out,
                              struct kappa_error *error);

/* ---- One row */

/* The key's newest window (of those that readers may see). */
#define KAPPA_NEWEST INT64_MIN

/* 1 and the row, or 0: there is none.
 *     keys     key_count values, each of the key's type; whole numbers of any width; or text, which is
 *              read as a person writes that type ('2026-01-31', '1.50', 'true'). NULL is a key, too
 *     at_us    tables with windows: the window that holds that time, or KAPPA_NEWEST; other tables:
 *              KAPPA_NEWEST
 *     row      column_count values, borrowed until the next call with this table or the scope's end */
KAPPA_API int kappa_get(struct kappa_table *table, const struct kappa_value *keys,
                        uint32_t key_count, int64_t at_us, const struct kappa_value **row,
                        struct kappa_error *error);
/* The same with NUL-terminated texts. */
KAPPA_API int kappa_get_text(struct kappa_table *table, const char *const *keys, uint32_t key_count,
                             int64_t at_us, const struct kappa_value **row,
                             struct kappa_error *error);
/* `count` rows; keys: count times key_count values. rows[i] is NULL where there is none; they live until
 * the scope ends. Returns 0; when a key is refused or a row fails, that error, with nothing in rows. */
KAPPA_API int kappa_get_many(struct kappa_table *table, const struct kappa_value *keys,
                             uint32_t key_count, uint32_t count, int64_t at_us,
                             const struct kappa_value **rows, struct kappa_error *error);

/* ---- Many rows */

/* Which rows: those that keep all that is given. All zero: every row. Tables with a row per record take
 * no bounds. */
struct kappa_range {
    const struct kappa_value *keys; /* leading key values that are equal; as in kappa_get */
    uint32_t key_count;             /* without "row_number" */
    /* Of the key value behind these, at most two: */
    const struct kappa_value *from;  /* >= ; not null */
    const struct kappa_value *below; /* <  ; not null */
    const struct kappa_text *prefix; /* or alone: it is text (or bytea) and begins with this */
    /* Tables with windows: bounds of the window's end, both inclusive, in us. */
    bool windows;
    int64_t window_end_least;
    int64_t window_end_most;
};

/* Rows in the order of (window end, key); with a row per record in that of the offset. range NULL: all. It is
 * borrowed by the call. Any number of scans may be open in a scope. */
KAPPA_API int kappa_scan(struct kappa_table *table, const struct kappa_range *range,
                         struct kappa_rows **out, struct kappa_error *error);
/* 1 and a row, borrowed until the next call; 0 behind the last. After an error only kappa_rows_close. */
KAPPA_API int kappa_rows_next(struct kappa_rows *rows, const struct kappa_value **row,
                              struct kappa_error *error);
KAPPA_API void kappa_rows_close(struct kappa_rows *rows);

/* ---- Values as text */

/* As a cast to text prints it, times as RFC 3339; a null is empty. Writes at most size bytes with the
 * NUL, cut off where it does not fit; returns the length without it (so that one may ask again), or
 * negative. buffer may be NULL when size is 0. */
KAPPA_API int64_t kappa_value_text(const struct kappa_value *value, char *buffer, size_t size);
/* As JSON, in the same way: null, booleans and numbers plain (numeric with all its digits); NaN,
 * infinities, times and other types as strings; arrays
 * element by element; jsonb as it is. */
KAPPA_API int64_t kappa_value_json(const struct kappa_value *value, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
