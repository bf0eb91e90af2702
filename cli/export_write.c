/* The file: labels and rows joined. Own header: export.h. */
#include "cli/export.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "include/kappa/version.h"
#include "processor/decode.h"
#include "processor/value_text.h"

#define WRITE_BYTES ((size_t)1 << 20)
#define STOP_EVERY  4096U

/* ---- Metadata */

static json_t *tables_metadata(const struct export *export)
{
    json_t *list = json_array();
    for (uint32_t t = 0; t < export->table_count; t++) {
        const struct export_table *table = &export->tables[t];
        const struct export_pass *pass = &export->passes[table->pass];
        json_t *columns = json_array();
        for (uint32_t c = 0; c < table->column_count; c++) {
            const struct plan_output *output = &table->plan->outputs[table->columns[c].output];
            (void)json_array_append_new(
                columns, json_pack("{s:s, s:s, s:s}", "name", table->columns[c].name, "column",
                                   output->name, "type", decoder_type_name(output->type)));
        }
        json_t *item = json_pack("{s:s, s:s, s:i, s:o, s:I, s:I}", "table", table->plan->shape.name,
                                 "processor", pass->processor, "version", (int)pass->version,
                                 "columns", columns, "rows", (json_int_t)table->rows, "refused",
                                 (json_int_t)table->refused);
        ASSERT(item != NULL);
        if (table->refused > 0) {
            (void)json_object_set_new(item, "refused_because", json_string(table->why.text));
        }
        (void)json_array_append_new(list, item);
    }
    return list;
}

static json_t *processors_metadata(const struct export *export)
{
    json_t *list = json_array();
    for (uint32_t p = 0; p < export->pass_count; p++) {
        const struct export_pass *pass = &export->passes[p];
        char digest[DIGEST_TEXT_LEN + 1];
        digest_format(pass->done.digest, digest);
        json_t *item = json_pack(
            "{s:s, s:i, s:s, s:O, s:s, s:I, s:b}", "processor", pass->processor, "version",
            (int)pass->version, "definition_hash", json_text(pass->object, "hash", ""), "cut",
            json_object_get(pass->committed, "cut"), "digest", digest, "records",
            (json_int_t)pass->done.records, "complete", json_bool(pass->object, "complete", true));
        ASSERT(item != NULL);
        (void)json_array_append_new(list, item);
    }
    return list;
}

json_t *export_metadata(const struct export *export)
{
    json_t *metadata =
        json_pack("{s:s, s:s, s:I, s:o, s:o}", "kappa", KAPPA_VERSION, "time_column",
                  export->time_column, "rows", (json_int_t) export->count, "tables",
                  tables_metadata(export), "processors", processors_metadata(export));
    ASSERT(metadata != NULL);
    return metadata;
}

/* ---- Rows, in the order of the labels */

struct joiner {
    struct csv *csv;
    const struct csv_field *fields;
    struct kappa_value *values; /* of all tables, in the order of the passes */
    uint64_t row;
};

static uint32_t columns_of(const struct export *export)
{
    uint32_t count = 0;
    for (uint32_t t = 0; t < export->table_count; t++) {
        count += export->tables[t].column_count;
    }
    return count;
}

static int changed(const struct export *export, struct err *err)
{
    return err_set(err, KE_REFUSED, "%s has changed while it was read", export->labels);
}

/* Skips the header. */
static int joiner_open(const struct export *export, struct joiner *joiner, struct err *err)
{
    uint32_t count = 0;
    *joiner = (struct joiner){.row = 0};
    joiner->values = xcalloc(columns_of(export) + 1, sizeof *joiner->values);
    int rc = csv_open(export->labels, &joiner->csv, err);
    if (rc == 0) {
        rc = csv_next(joiner->csv, &joiner->fields, &count, err);
        rc = rc == 0 ? changed(export, err) : rc < 0 ? rc : 0;
    }
    return rc;
}

static void joiner_close(struct joiner *joiner)
{
    csv_close(joiner->csv);
    free(joiner->values);
}

/* The next label with its values: 1, 0 at the end, negative. */
static int joiner_next(const struct export *export, struct joiner *joiner, struct err *err)
{
    uint32_t count = 0;
    int rc = csv_next(joiner->csv, &joiner->fields, &count, err);
    if (rc < 0 || (rc == 0 && joiner->row == export->count)) {
        return rc;
    }
    if (rc == 0 || joiner->row == export->count || count != export->name_count) {
        return changed(export, err);
    }
    if (joiner->row % STOP_EVERY == 0 && atomic_load(export->stop)) {
        return err_set(err, KE_CLOSED, "stopped");
    }
    struct kappa_value *at = joiner->values;
    for (uint32_t p = 0; p < export->pass_count; p++) {
        const struct export_pass *pass = &export->passes[p];
        rc = export_pass_values(export, pass, joiner->row, at, err);
        if (rc != 0) {
            return rc;
        }
        for (uint32_t t = 0; t < pass->table_count; t++) {
            at += export->tables[pass->tables[t]].column_count;
        }
    }
    joiner->row++;
    return 1;
}

/* Where the values of a table begin in those of all passes. */
static uint32_t values_of(const struct export *export, uint32_t table)
{
    uint32_t at = 0;
    for (uint32_t p = 0; p < export->pass_count; p++) {
        const struct export_pass *pass = &export->passes[p];
        for (uint32_t t = 0; t < pass->table_count; t++) {
            if (pass->tables[t] == table) {
                return at;
            }
            at += export->tables[pass->tables[t]].column_count;
        }
    }
    return at;
}

/* ---- CSV */

static void csv_header(const struct export *export, struct buf *out)
{
    for (uint32_t i = 0; i < export->name_count; i++) {
        if (i > 0) {
            buf_append_u8(out, ',');
        }
        csv_write(out, export->names[i], strlen(export->names[i]));
    }
    for (uint32_t t = 0; t < export->table_count; t++) {
        for (uint32_t c = 0; c < export->tables[t].column_count; c++) {
            const char *name = export->tables[t].columns[c].name;
            buf_append_u8(out, ',');
            csv_write(out, name, strlen(name));
        }
    }
    buf_append_u8(out, '\n');
}

static void csv_value(struct buf *out, struct buf *text, const struct kappa_value *value)
{
    if (value->is_null) {
        return;
    }
    buf_reset(text);
    value_text(text, value);
    csv_write(out, buf_text(text), text->len);
}

static void csv_row(const struct export *export, const struct joiner *joiner, struct buf *out,
                    struct buf *text)
{
    for (uint32_t i = 0; i < export->name_count; i++) {
        const struct csv_field *field = &joiner->fields[i];
        if (i > 0) {
            buf_append_u8(out, ',');
        }
        if (field->len > 0 || field->quoted) {
            csv_write(out, field->text, field->len);
        }
    }
    for (uint32_t t = 0; t < export->table_count; t++) {
        const struct kappa_value *values = joiner->values + values_of(export, t);
        for (uint32_t c = 0; c < export->tables[t].column_count; c++) {
            buf_append_u8(out, ',');
            csv_value(out, text, &values[c]);
        }
    }
    buf_append_u8(out, '\n');
}

static int csv_rows(const struct export *export, FILE *file, struct err *err)
{
    struct joiner joiner;
    struct buf out = {0};
    struct buf text = {0};
    int rc = joiner_open(export, &joiner, err);
    rc = rc == 0 ? 1 : rc;
    csv_header(export, &out);
    while (rc == 1) {
        rc = joiner_next(export, &joiner, err);
        if (rc == 1) {
            csv_row(export, &joiner, &out, &text);
        }
        if (rc >= 0 && (rc == 0 || out.len >= WRITE_BYTES)) {
            if (fwrite(out.data, 1, out.len, file) != out.len) {
                rc = err_errno(err, errno, "cannot write %s", export->out);
            }
            buf_reset(&out);
        }
    }
    joiner_close(&joiner);
    buf_free(&out);
    buf_free(&text);
    return rc;
}

static int sync_and_close(FILE *file, const char *path, int rc, struct err *err)
{
    if (rc == 0 && (fflush(file) != 0 || fsync(fileno(file)) != 0)) {
        rc = err_errno(err, errno, "cannot write %s", path);
    }
    if (fclose(file) != 0 && rc == 0) {
        rc = err_errno(err, errno, "cannot write %s", path);
    }
    return rc;
}

static int move_in(const char *from, const char *to, struct err *err)
{
    return rename(from, to) == 0 ? 0 : err_errno(err, errno, "cannot make %s", to);
}

static int metadata_write(const struct export *export, const char *path, struct err *err)
{
    json_t *metadata = export_metadata(export);
    char *text = json_dumps(metadata, JSON_INDENT(2));
    ASSERT(text != NULL);
    struct buf bytes = {0};
    int fd = -1;
    buf_append_text(&bytes, text);
    buf_append_u8(&bytes, '\n');
    int rc = file_create(path, bytes.data, bytes.len, &fd, err);
    if (rc == 0) {
        (void)close(fd);
    }
    buf_free(&bytes);
    free(text);
    json_decref(metadata);
    return rc;
}

int export_write_csv(const struct export *export, struct err *err)
{
    char *made = xasprintf("%s.part-%d", export->out, (int)getpid());
    char *beside = xasprintf("%s.json", export->out);
    char *beside_made = xasprintf("%s.part-%d", beside, (int)getpid());
    FILE *file = fopen(made, "wxe");
    int rc = file != NULL ? 0 : err_errno(err, errno, "cannot make %s", made);
    if (rc == 0) {
        rc = sync_and_close(file, made, csv_rows(export, file, err), err);
        rc = rc == 0 ? metadata_write(export, beside_made, err) : rc;
        rc = rc == 0 ? move_in(beside_made, beside, err) : rc;
        rc = rc == 0 ? move_in(made, export->out, err) : rc;
        if (rc != 0) {
            (void)unlink(made);
            (void)unlink(beside_made);
        }
    }
    free(made);
    free(beside);
    free(beside_made);
    return rc;
}

/* ---- */

void export_free(struct export *export)
{
    for (uint32_t p = 0; p < export->pass_count; p++) {
        struct export_pass *pass = &export->passes[p];
        if (pass->rows != NULL) {
            (void)munmap((void *)(uintptr_t)pass->rows, pass->rows_len);
        }
        free(pass->at);
        free(pass->done.sources);
        json_decref(pass->object);
        json_decref(pass->committed);
        if (pass->plan != NULL) {
            plan_free(pass->plan);
        }
    }
    for (uint32_t t = 0; t < export->table_count; t++) {
        for (uint32_t c = 0; c < export->tables[t].column_count; c++) {
            free(export->tables[t].columns[c].name);
        }
        free(export->tables[t].prefix);
    }
    for (uint32_t i = 0; i < export->name_count; i++) {
        free(export->names[i]);
    }
    free(export->names);
    free(export->tables);
    free(export->passes);
    scratch_close(export->scratch);
}
