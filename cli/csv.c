/* Own header: csv.h. */
#include "cli/csv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct csv {
    FILE *file;
    char *path;
    uint64_t line;  /* being read */
    uint64_t began; /* the row */
    struct buf bytes;
    size_t starts[CSV_FIELDS_MAX];
    struct csv_field fields[CSV_FIELDS_MAX];
    uint32_t count;
};

int csv_open(const char *path, struct csv **out, struct err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return err_errno(err, errno, "cannot read %s", path);
    }
    struct csv *csv = xcalloc(1, sizeof *csv);
    csv->file = file;
    csv->path = xstrdup(path);
    csv->line = 1;
    static const int mark[] = {0xEF, 0xBB, 0xBF};
    for (size_t i = 0; i < array_len(mark); i++) {
        int c = getc_unlocked(file);
        if (c != mark[i]) {
            rewind(file);
            break;
        }
    }
    *out = csv;
    return 0;
}

void csv_close(struct csv *csv)
{
    if (csv == NULL) {
        return;
    }
    (void)fclose(csv->file);
    buf_free(&csv->bytes);
    free(csv->path);
    free(csv);
}

uint64_t csv_line(const struct csv *csv)
{
    return csv->began;
}

static int refused(const struct csv *csv, struct err *err, const char *what)
{
    return err_set(err, KE_INVALID, "%s line %llu: %s", csv->path, (unsigned long long)csv->began,
                   what);
}

static int field_begin(struct csv *csv, struct err *err)
{
    if (csv->count == CSV_FIELDS_MAX) {
        return refused(csv, err, "more than 1,024 fields");
    }
    csv->starts[csv->count] = csv->bytes.len;
    csv->fields[csv->count++] = (struct csv_field){.quoted = false};
    return 0;
}

static void field_end(struct csv *csv)
{
    csv->fields[csv->count - 1].len = csv->bytes.len - csv->starts[csv->count - 1];
    buf_append_u8(&csv->bytes, 0);
}

/* The rest of a field behind its opening quote; *next is what follows the closing one. */
static int quoted_rest(struct csv *csv, int *next, struct err *err)
{
    for (;;) {
        int c = getc_unlocked(csv->file);
        if (c == EOF) {
            return refused(csv, err, "a field's quotes do not end");
        }
        if (c == '"') {
            c = getc_unlocked(csv->file);
            if (c != '"') {
                *next = c;
                return 0;
            }
        }
        csv->line += c == '\n';
        if (csv->bytes.len >= CSV_ROW_BYTES) {
            return refused(csv, err, "the row is longer than 4 MiB (a quote that does not end?)");
        }
        buf_append_u8(&csv->bytes, (uint8_t)c);
    }
}

/* What ends a line: LF, CRLF, the end of the file. */
static bool line_ends(struct csv *csv, int c)
{
    if (c == '\r') {
        int next = getc_unlocked(csv->file);
        if (next != '\n') {
            (void)ungetc(next, csv->file);
            return next == EOF;
        }
        return true;
    }
    return c == '\n' || c == EOF;
}

/* One field; *more: another one follows in the line. first: its first byte. */
static int field_read(struct csv *csv, int first, bool *more, struct err *err)
{
    int c = first;
    int rc = field_begin(csv, err);
    if (rc == 0 && c == '"') {
        csv->fields[csv->count - 1].quoted = true;
        rc = quoted_rest(csv, &c, err);
        if (rc == 0 && c != ',' && !line_ends(csv, c)) {
            rc = refused(csv, err, "something follows a field's closing quote");
        }
        *more = c == ',';
        field_end(csv);
        return rc;
    }
    for (; rc == 0; c = getc_unlocked(csv->file)) {
        if (c == ',' || line_ends(csv, c)) {
            break;
        }
        if (csv->bytes.len >= CSV_ROW_BYTES) {
            rc = refused(csv, err, "the row is longer than 4 MiB");
        }
        buf_append_u8(&csv->bytes, (uint8_t)c);
    }
    *more = c == ',';
    field_end(csv);
    return rc;
}

int csv_next(struct csv *csv, const struct csv_field **fields, uint32_t *count, struct err *err)
{
    int c = getc_unlocked(csv->file);
    while (c == '\n' || c == '\r') {
        csv->line += c == '\n';
        c = getc_unlocked(csv->file);
    }
    csv->began = csv->line;
    csv->count = 0;
    buf_reset(&csv->bytes);
    if (c == EOF) {
        return ferror(csv->file) ? err_errno(err, errno, "cannot read %s", csv->path) : 0;
    }
    bool more = true;
    while (more) {
        int rc = field_read(csv, c, &more, err);
        if (rc != 0) {
            return rc;
        }
        c = more ? getc_unlocked(csv->file) : c;
    }
    csv->line++;
    for (uint32_t i = 0; i < csv->count; i++) {
        csv->fields[i].text = (const char *)csv->bytes.data + csv->starts[i];
    }
    *fields = csv->fields;
    *count = csv->count;
    return 1;
}

void csv_write(struct buf *out, const char *text, size_t len)
{
    bool plain = len > 0;
    for (size_t i = 0; i < len && plain; i++) {
        plain = strchr("\",\r\n", text[i]) == NULL; /* also a zero byte */
    }
    if (plain) {
        buf_append(out, text, len);
        return;
    }
    buf_append_u8(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"') {
            buf_append_u8(out, '"');
        }
        buf_append_u8(out, (uint8_t)text[i]);
    }
    buf_append_u8(out, '"');
}
