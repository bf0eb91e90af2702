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

#define STOP_EVERY 4096U

/* ---- Metadata */

static json_t *tables_metadata(const struct export_job *export)
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

static json_t *processors_metadata(const struct export_job *export)
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
        const json_t *since = json_object_get(pass->object, "complete_since_ms");
        if (since != NULL) {
            (void)json_object_set(item, "complete_since_ms", (json_t *)(uintptr_t)since);
        }
        (void)json_array_append_new(list, item);
    }
    return list;
}

json_t *export_metadata(const struct export_job *export)
{
    json_t *metadata =
        json_pack("{s:s, s:s, s:s, s:I, s:o, s:o}", "kappa", KAPPA_VERSION, "time_column",
                  export->time_column, "windows", export->newest ? "newest" : "at", "rows",
                  (json_int_t) export->count, "tables", tables_metadata(export), "processors",
                  processors_metadata(export));
    ASSERT(metadata != NULL);
    return metadata;
}

/* ---- Rows, in the order of the labels */

struct joiner {
    struct csv *csv;
    const struct csv_field *fields;
    struct kappa_value *values; /* of all tables, in their order */
    uint32_t *first;            /* per table: its values begin there */
    struct kappa_value *scratch;
    uint64_t row;
};

static int changed(const struct export_job *export, struct err *err)
{
    return err_set(err, KE_REFUSED, "%s has changed while it was read", export->labels);
}

/* Skips the header. */
static int joiner_open(const struct export_job *export, struct joiner *joiner, struct err *err)
{
    uint32_t count = 0;
    *joiner = (struct joiner){.row = 0};
    joiner->first = xcalloc(export->table_count + 1, sizeof *joiner->first);
    for (uint32_t t = 0; t < export->table_count; t++) {
        joiner->first[t + 1] = joiner->first[t] + export->tables[t].column_count;
    }
    uint32_t columns = joiner->first[export->table_count];
    joiner->values = xcalloc(columns + 1, sizeof *joiner->values);
    joiner->scratch = xcalloc(columns + 1, sizeof *joiner->scratch);
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
    free(joiner->first);
    free(joiner->values);
    free(joiner->scratch);
}

static int values_join(const struct export_job *export, struct joiner *joiner, struct err *err)
{
    for (uint32_t p = 0; p < export->pass_count; p++) {
        const struct export_pass *pass = &export->passes[p];
        const struct kappa_value *from = joiner->scratch;
        int rc = export_pass_values(export, pass, joiner->row, joiner->scratch, err);
        if (rc != 0) {
            return rc;
        }
        for (uint32_t t = 0; t < pass->table_count; t++) {
            uint32_t table = pass->tables[t];
            uint32_t count = export->tables[table].column_count;
            memcpy(joiner->values + joiner->first[table], from, count * sizeof *from);
            from += count;
        }
    }
    return 0;
}

/* The next label with its values: 1, 0 at the end, negative. */
static int joiner_next(const struct export_job *export, struct joiner *joiner, struct err *err)
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
    rc = values_join(export, joiner, err);
    joiner->row++;
    return rc == 0 ? 1 : rc;
}

int export_join(const struct export_job *export,
                int (*row)(void *ctx, const struct csv_field *label,
                           const struct kappa_value *values, struct err *err),
                void *ctx, struct err *err)
{
    struct joiner joiner;
    int rc = joiner_open(export, &joiner, err);
    while (rc == 0) {
        rc = joiner_next(export, &joiner, err);
        if (rc != 1) {
            break;
        }
        rc = row(ctx, joiner.fields, joiner.values, err);
    }
    joiner_close(&joiner);
    return rc;
}

/* ---- The file: made beside, and renamed when it is whole */

static int move_in(const char *from, const char *to, struct err *err)
{
    return rename(from, to) == 0 ? 0 : err_errno(err, errno, "cannot make %s", to);
}

static int metadata_write(const struct export_job *export, const char *path, struct err *err)
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

static int csv_make(const struct export_job *export, const char *made, struct err *err)
{
    char *beside = xasprintf("%s.json", export->out);
    char *beside_made = xasprintf("%s.json", made);
    int rc = export_csv_make(export, made, err);
    rc = rc == 0 ? metadata_write(export, beside_made, err) : rc;
    rc = rc == 0 ? move_in(beside_made, beside, err) : rc;
    if (rc != 0) {
        (void)unlink(beside_made);
    }
    free(beside);
    free(beside_made);
    return rc;
}

int export_write(const struct export_job *export, struct err *err)
{
    char *made = xasprintf("%s.part-%d", export->out, (int)getpid());
    (void)unlink(made);
    int rc = export->sqlite ? export_sqlite_make(export, made, err) : csv_make(export, made, err);
    rc = rc == 0 ? move_in(made, export->out, err) : rc;
    if (rc != 0) {
        (void)unlink(made);
    }
    free(made);
    return rc;
}

/* ---- */

void export_free(struct export_job *export)
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
