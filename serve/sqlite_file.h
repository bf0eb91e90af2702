/* A new SQLite file, written once: tables with rows, values as read-time SQL has them (query.h).
 *
 *     sqlite_file_create -> per table: sqlite_file_table -> [sqlite_file_text, sqlite_file_value of each
 *     column -> sqlite_file_row]... -> sqlite_file_close
 *
 * No journal: until it is closed without an error the file is nothing. */
#ifndef KAPPA_SERVE_SQLITE_FILE_H
#define KAPPA_SERVE_SQLITE_FILE_H

#include "base/err.h"
#include "include/kappa/row.h"

#define SQLITE_FILE_COLUMNS 2000 /* of a table: SQLite's own limit */

struct sqlite_file;

struct sqlite_column {
    const char *name;
    enum kappa_type type; /* which values it is declared for */
};

/* The file is not there. */
int sqlite_file_create(const char *path, struct sqlite_file **out, struct err *err) must_check;
/* Makes a table; rows go into it from now on. */
int sqlite_file_table(struct sqlite_file *file, const char *name,
                      const struct sqlite_column *columns, uint32_t count,
                      struct err *err) must_check;
/* A value of the next row, column from 0; those that are not given are null. */
int sqlite_file_text(struct sqlite_file *file, uint32_t column, const char *text, size_t len,
                     struct err *err) must_check;
int sqlite_file_value(struct sqlite_file *file, uint32_t column, const struct kappa_value *value,
                      struct err *err) must_check;
int sqlite_file_row(struct sqlite_file *file, struct err *err) must_check;
/* whole: all is written, and synced; else what is there is worth nothing. Always frees. */
int sqlite_file_close(struct sqlite_file *file, bool whole, struct err *err);

#endif
