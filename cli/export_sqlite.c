/* The file as SQLite: the table `labels`, a row per label in the order of the file, and `kappa_export`, a row
 * per version that was replayed. Columns of labels are texts, but for whole numbers that a table is keyed by.
 * Own header: export.h. */
#include "cli/export.h"

#include <stdlib.h>
#include <string.h>

#include "serve/sqlite_file.h"

struct writer {
    const struct export_job *export;
    struct sqlite_file *file;
    uint32_t columns; /* of tables */
};

/* The type of the labels' column: that of a key that it is, if it is one of a number. */
static enum kappa_type label_type(const struct export_job *export, uint32_t field)
{
    for (uint32_t t = 0; t < export->table_count; t++) {
        const struct export_table *table = &export->tables[t];
        uint32_t number = 0;
        for (uint32_t k = 0; k < table->plan->key_count; k++) {
            const struct plan_key *key = &table->plan->keys[k];
            if (key->role == PLAN_KEY_COLUMN && table->fields[number++] == field) {
                bool whole = key->type >= KAPPA_TYPE_SMALLINT && key->type <= KAPPA_TYPE_BIGINT;
                return whole ? key->type : KAPPA_TYPE_TEXT;
            }
        }
    }
    return KAPPA_TYPE_TEXT;
}

static int labels_table(struct writer *writer, struct err *err)
{
    const struct export_job *export = writer->export;
    uint32_t count = 0;
    for (uint32_t t = 0; t < export->table_count; t++) {
        writer->columns += export->tables[t].column_count;
    }
    struct sqlite_column *columns =
        xcalloc(export->name_count + writer->columns + 1, sizeof *columns);
    for (uint32_t i = 0; i < export->name_count; i++) {
        columns[count++] = (struct sqlite_column){export->names[i], label_type(export, i)};
    }
    for (uint32_t t = 0; t < export->table_count; t++) {
        const struct export_table *table = &export->tables[t];
        for (uint32_t c = 0; c < table->column_count; c++) {
            const struct export_column *column = &table->columns[c];
            columns[count++] =
                (struct sqlite_column){column->name, table->plan->outputs[column->output].type};
        }
    }
    int rc = sqlite_file_table(writer->file, "labels", columns, count, err);
    free(columns);
    return rc;
}

static int row(void *ctx, const struct csv_field *label, const struct kappa_value *values,
               struct err *err)
{
    struct writer *writer = ctx;
    uint32_t names = writer->export->name_count;
    int rc = 0;
    for (uint32_t i = 0; i < names && rc == 0; i++) {
        if (label[i].len > 0 || label[i].quoted) {
            rc = sqlite_file_text(writer->file, i, label[i].text, label[i].len, err);
        }
    }
    for (uint32_t c = 0; c < writer->columns && rc == 0; c++) {
        rc = sqlite_file_value(writer->file, names + c, &values[c], err);
    }
    return rc == 0 ? sqlite_file_row(writer->file, err) : rc;
}

static const struct sqlite_column about_columns[] = {
    {"processor", KAPPA_TYPE_TEXT},       {"version", KAPPA_TYPE_BIGINT},
    {"definition_hash", KAPPA_TYPE_TEXT}, {"cut", KAPPA_TYPE_JSONB},
    {"digest", KAPPA_TYPE_TEXT},          {"records", KAPPA_TYPE_BIGINT},
    {"complete", KAPPA_TYPE_BOOLEAN},     {"tables", KAPPA_TYPE_JSONB},
    {"time_column", KAPPA_TYPE_TEXT},     {"kappa", KAPPA_TYPE_TEXT},
};

/* A member of the metadata as a value: texts as they are, the rest as JSON, which SQLite takes for numbers
 * where the column is one. */
static int about_value(struct writer *writer, uint32_t column, const json_t *value, struct err *err)
{
    struct buf text = {0};
    if (json_is_string(value)) {
        buf_append(&text, json_string_value(value), json_string_length(value));
    } else if (json_is_boolean(value)) {
        buf_append_text(&text, json_is_true(value) ? "1" : "0");
    } else {
        json_write(&text, value);
    }
    int rc = sqlite_file_text(writer->file, column, buf_text(&text), text.len, err);
    buf_free(&text);
    return rc;
}

static int about_table(struct writer *writer, struct err *err)
{
    json_t *metadata = export_metadata(writer->export);
    size_t i;
    json_t *processor;
    int rc = sqlite_file_table(writer->file, "kappa_export", about_columns,
                               (uint32_t)array_len(about_columns), err);
    json_array_foreach (json_object_get(metadata, "processors"), i, processor) {
        for (uint32_t c = 0; c < array_len(about_columns) && rc == 0; c++) {
            const json_t *value = json_object_get(processor, about_columns[c].name);
            value = value != NULL ? value : json_object_get(metadata, about_columns[c].name);
            rc = about_value(writer, c, value, err);
        }
        rc = rc == 0 ? sqlite_file_row(writer->file, err) : rc;
    }
    json_decref(metadata);
    return rc;
}

int export_sqlite_make(const struct export_job *export, const char *path, struct err *err)
{
    struct writer writer = {.export = export};
    int rc = sqlite_file_create(path, &writer.file, err);
    if (rc != 0) {
        return rc;
    }
    rc = labels_table(&writer, err);
    rc = rc == 0 ? export_join(export, row, &writer, err) : rc;
    rc = rc == 0 ? about_table(&writer, err) : rc;
    int closed = sqlite_file_close(writer.file, rc == 0, rc == 0 ? err : NULL);
    return rc == 0 ? closed : rc;
}
