/* CSV files as RFC 4180 has them, read row by row: fields with commas, quotes and newlines in quotes; lines
 * end with LF or CRLF; a byte order mark at the start is skipped. And fields written. */
#ifndef KAPPA_CLI_CSV_H
#define KAPPA_CLI_CSV_H

#include "base/buf.h"
#include "base/err.h"

#define CSV_FIELDS_MAX 1024
#define CSV_ROW_BYTES  ((size_t)4 << 20)

struct csv_field {
    const char *text; /* ends with a NUL, and may hold others */
    size_t len;
    bool quoted;
};

struct csv;

int csv_open(const char *path, struct csv **out, struct err *err) must_check;
void csv_close(struct csv *csv);
/* 1 a row (fields are borrowed until the next call), 0 the end, negative. Lines without any byte are passed
 * over. */
int csv_next(struct csv *csv, const struct csv_field **fields, uint32_t *count,
             struct err *err) must_check;
/* Where the row began that was read last, from 1. */
uint64_t csv_line(const struct csv *csv);

/* Appends a field, in quotes where it needs them; empty texts always, for nothing at all is null. */
void csv_write(struct buf *out, const char *text, size_t len);

#endif
