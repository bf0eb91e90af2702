/* Labels: a CSV file with a header. Own header: export.h. */
#include "cli/export.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/suggest.h"
#include "processor/key_codec.h"

uint32_t export_label_column(const struct export_job *export, const char *name)
{
    for (uint32_t i = 0; i < export->name_count; i++) {
        if (strcmp(export->names[i], name) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

bool export_name_same(const struct export_job *export, const char *a, const char *b)
{
    return (export->sqlite ? strcasecmp(a, b) : strcmp(a, b)) == 0;
}

static int names_take(struct export_job *export, const struct csv_field *fields, uint32_t count,
                      struct err *err)
{
    export->names = xcalloc(count + 1, sizeof(char *));
    for (uint32_t i = 0; i < count; i++) {
        if (fields[i].len == 0 || strlen(fields[i].text) != fields[i].len) {
            return err_set(err, KE_INVALID, "%s: column %" PRIu32 " has no name", export->labels,
                           i + 1);
        }
        for (uint32_t k = 0; k < i; k++) {
            if (export_name_same(export, export->names[k], fields[i].text)) {
                return err_set(err, KE_INVALID, "%s: two columns are called \"%s\"", export->labels,
                               fields[i].text);
            }
        }
        export->names[i] = xstrndup(fields[i].text, fields[i].len);
        export->name_count++;
    }
    export->time_field = export_label_column(export, export->time_column);
    if (export->time_field == UINT32_MAX) {
        struct suggest nearest;
        suggest_begin(&nearest, export->time_column);
        for (uint32_t i = 0; i < export->name_count; i++) {
            suggest_offer(&nearest, export->names[i]);
        }
        int rc = err_set(err, KE_INVALID, "%s has no column \"%s\" for the labels' times",
                         export->labels, export->time_column);
        if (nearest.best != NULL) {
            err_hint(err, "did you mean --time-column %s?", nearest.best);
        }
        return rc;
    }
    return 0;
}

int export_labels_open(struct export_job *export, struct err *err)
{
    struct csv *csv = NULL;
    const struct csv_field *fields = NULL;
    uint32_t count = 0;
    int rc = csv_open(export->labels, &csv, err);
    if (rc == 0) {
        rc = csv_next(csv, &fields, &count, err);
    }
    if (rc == 0) {
        rc = err_set(err, KE_INVALID, "%s is empty: a header with the names of columns is needed",
                     export->labels);
    } else if (rc == 1) {
        rc = names_take(export, fields, count, err);
    }
    csv_close(csv);
    return rc;
}

/* ---- Loading */

struct loader {
    const struct export_job *export;
    const struct export_pass *pass;
    struct csv *csv;
    struct export_labels *out;
    size_t capacity;
    struct arena memory;
};

static int time_take(struct loader *loader, const struct csv_field *field, int64_t *us,
                     struct err *err)
{
    const struct plan_key key = {.type = KAPPA_TYPE_TIMESTAMPTZ,
                                 .name = loader->export->time_column};
    const int64_t bound = INT64_C(1) << 62;
    struct kappa_value value = {.is_null = true};
    arena_reset(&loader->memory);
    int rc = field->len > 0 && strlen(field->text) == field->len
                 ? plan_key_value_from_text(&key, field->text, &loader->memory, &value, NULL)
                 : -KE_INVALID;
    if (rc != 0 || value.is_null || value.i <= -bound || value.i >= bound) {
        rc = err_set(err, KE_INVALID, "%s line %" PRIu64 ": %s: \"%.60s\" is no time",
                     loader->export->labels, csv_line(loader->csv), loader->export->time_column,
                     field->text);
        err_hint(err, "RFC 3339, such as 2026-01-31T12:00:00Z, or milliseconds since 1970");
        return rc;
    }
    *us = value.i;
    return 0;
}

/* The label's key in a table, as stored; TAP_NO_KEY when a column of it is null. */
static int key_take_text(struct loader *loader, const struct export_table *table,
                         const struct csv_field *fields, uint64_t *at, struct err *err)
{
    const char *texts[LIMIT_COLUMNS];
    uint8_t key[LIMIT_TABLE_KEY_LEN];
    uint8_t head[2];
    size_t len = 0;
    uint32_t source = 0;
    *at = TAP_NO_KEY;
    for (uint32_t k = 0; k < table->field_count; k++) {
        const struct csv_field *field = &fields[table->fields[k]];
        if (field->len == 0 && !field->quoted) {
            return 0;
        }
        if (strlen(field->text) != field->len) {
            return err_set(err, KE_INVALID, "%s line %" PRIu64 ": %s holds a zero byte",
                           loader->export->labels, csv_line(loader->csv),
                           loader->export->names[table->fields[k]]);
        }
        texts[k] = field->text;
    }
    int rc = plan_key_from_text(table->plan, texts, table->field_count, key, &len, &source, err);
    if (rc != 0) {
        err_prefix(err, "%s line %" PRIu64, loader->export->labels, csv_line(loader->csv));
        return rc;
    }
    struct buf *bytes = &loader->out->bytes;
    *at = bytes->len;
    store_u16_be(head, u16_from(len));
    buf_append(bytes, head, sizeof head);
    buf_append(bytes, key, len);
    return 0;
}

static int label_take(struct loader *loader, const struct csv_field *fields, uint32_t count,
                      struct err *err)
{
    const struct export_job *export = loader->export;
    struct export_labels *out = loader->out;
    uint32_t tables = loader->pass->table_count;
    if (count != export->name_count) {
        return err_set(err, KE_INVALID,
                       "%s line %" PRIu64 " has %" PRIu32 " fields, the header %" PRIu32,
                       export->labels, csv_line(loader->csv), count, export->name_count);
    }
    if (out->tap.count == TAP_LABELS_MAX) {
        int rc =
            err_set(err, KE_LIMIT, "%s has more than %u labels", export->labels, TAP_LABELS_MAX);
        err_hint(err, "split the file, for instance by time");
        return rc;
    }
    if (out->tap.count == loader->capacity) {
        loader->capacity = loader->capacity == 0 ? 1024 : loader->capacity * 2;
        out->times = xrealloc(out->times, loader->capacity * sizeof *out->times);
        out->keys = xrealloc(out->keys, loader->capacity * tables * sizeof *out->keys);
    }
    uint32_t label = out->tap.count++;
    int rc = time_take(loader, &fields[export->time_field], &out->times[label], err);
    for (uint32_t t = 0; t < tables && rc == 0; t++) {
        rc = key_take_text(loader, &export->tables[loader->pass->tables[t]], fields,
                           &out->keys[(size_t)label * tables + t], err);
    }
    return rc;
}

struct by_time {
    int64_t time;
    uint32_t row;
};

static int compare(const void *a, const void *b)
{
    const struct by_time *left = a;
    const struct by_time *right = b;
    if (left->time != right->time) {
        return left->time < right->time ? -1 : 1;
    }
    return left->row < right->row ? -1 : 1;
}

static void sort(struct export_labels *labels, uint32_t tables)
{
    uint32_t count = labels->tap.count;
    struct by_time *order = xcalloc((size_t)count + 1, sizeof *order);
    uint64_t *keys = xcalloc((size_t)count * tables + 1, sizeof *keys);
    labels->rows = xcalloc((size_t)count + 1, sizeof *labels->rows);
    for (uint32_t i = 0; i < count; i++) {
        order[i] = (struct by_time){labels->times[i], i};
    }
    qsort(order, count, sizeof *order, compare);
    for (uint32_t i = 0; i < count; i++) {
        labels->times[i] = order[i].time;
        labels->rows[i] = order[i].row;
        memcpy(keys + (size_t)i * tables, labels->keys + (size_t)order[i].row * tables,
               tables * sizeof *keys);
    }
    free(labels->keys);
    free(order);
    labels->keys = keys;
    labels->tap.times = labels->times;
    labels->tap.keys = keys;
    labels->tap.bytes = labels->bytes.data;
}

int export_labels_load(const struct export_job *export, const struct export_pass *pass,
                       struct export_labels *out, struct err *err)
{
    struct loader loader = {.export = export, .pass = pass, .out = out};
    const struct csv_field *fields = NULL;
    uint32_t count = 0;
    *out = (struct export_labels){.rows = NULL};
    arena_init(&loader.memory);
    int rc = csv_open(export->labels, &loader.csv, err);
    rc = rc == 0 ? csv_next(loader.csv, &fields, &count, err) : rc; /* the header */
    while (rc >= 0) {
        rc = csv_next(loader.csv, &fields, &count, err);
        if (rc != 1) {
            break;
        }
        rc = label_take(&loader, fields, count, err);
    }
    if (rc == 0) {
        sort(out, pass->table_count);
    }
    csv_close(loader.csv);
    arena_free(&loader.memory);
    return rc;
}

void export_labels_free(struct export_labels *labels)
{
    free(labels->rows);
    free(labels->times);
    free(labels->keys);
    buf_free(&labels->bytes);
    *labels = (struct export_labels){.rows = NULL};
}
