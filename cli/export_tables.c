/* Which tables of which versions, and which of their columns. Own header: export.h. */
#include "cli/export.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/suggest.h"
#include "cli/place.h"
#include "processor/plan_object.h"
#include "serve/reader.h"
#include "serve/sqlite_file.h"

/* ---- Versions */

/* The pass of a version, made when it is the first table of it. */
static int pass_of(struct export_job *export, struct reader *reader, const json_t *object,
                   uint32_t *out, struct err *err)
{
    const char *processor = json_text(object, "processor", "");
    uint32_t version = (uint32_t)json_int(object, "version", 0);
    for (uint32_t i = 0; i < export->pass_count; i++) {
        if (export->passes[i].version == version &&
            strcmp(export->passes[i].processor, processor) == 0) {
            *out = i;
            return 0;
        }
    }
    struct export_pass *pass = &export->passes[export->pass_count];
    size_t len = strlen(processor);
    ASSERT_CMP(len, <=, LIMIT_NAME_LEN);
    memcpy(pass->processor, processor, len + 1);
    pass->version = version;
    pass->object = json_incref((json_t *)(uintptr_t)object);
    *out = export->pass_count++;
    int rc = plan_compile_object(object, &pass->plan, err);
    return rc == 0 ? reader_version_digest(reader, processor, version, &pass->committed, err) : rc;
}

/* ---- What cannot be looked at in a label's past */

static int check_kind(const struct export_job *export, const struct export_pass *pass,
                      const struct export_table *table, struct err *err)
{
    const struct plan_view *view = table->plan;
    const char *name = view->shape.name;
    const struct plan *plan = pass->plan;
    const json_t *window = json_object_get(pass->object, "window");
    if (window != NULL) {
        int rc = err_set(err, KE_REFUSED,
                         "v%" PRIu32 " of %s took windows over from v%lld as that stood then: no "
                         "replay of its own definition gives them",
                         pass->version, pass->processor, (long long)json_int(window, "of", 0));
        err_hint(err, "kappa replay %s makes a version of all records, which can be exported",
                 pass->processor);
        return rc;
    }
    if (view->kind == PLAN_APPEND) {
        int rc =
            err_set(err, KE_REFUSED, "table %s has a row per record and no key of its own", name);
        err_hint(err, "export a table with GROUP BY over it, or over a PRIMARY KEY");
        return rc;
    }
    if (view->final_only) {
        int rc = err_set(err, KE_REFUSED,
                         "table %s shows windows when they are closed (emit='final'): the one that "
                         "holds a label's time never is",
                         name);
        err_hint(err, "export a table with emit='live', which is the default");
        return rc;
    }
    if (export->newest && view->shape.windowed && view->window == PLAN_WINDOW_HOP) {
        int rc = err_set(err, KE_REFUSED,
                         "--newest is not for windows that overlap, as those of %s", name);
        err_hint(err, "without it a label gets the window that holds its time");
        return rc;
    }
    if (view->top != NULL && view->top->limit > 1) {
        int rc = err_set(err, KE_REFUSED, "table %s has up to %" PRIu32 " rows of a key", name,
                         view->top->limit);
        err_hint(err, "a table with one row of a key (WHERE n = 1) can be exported");
        return rc;
    }
    json_t *inputs = json_object_get(pass->object, "inputs");
    bool many = json_int(json_array_get(inputs, view->input), "partitions", 0) > 1;
    if (view->window == PLAN_WINDOW_SESSION && many && plan_view_keyed(plan, view) == PLAN_NONE) {
        int rc = err_set(err, KE_REFUSED,
                         "sessions of table %s may have parts in several partitions", name);
        err_hint(err, "with key='column' on the input, and that column in GROUP BY, they are in "
                      "one");
        return rc;
    }
    return 0;
}

static int keys_find(const struct export_job *export, struct export_table *table, struct err *err)
{
    const struct plan_view *view = table->plan;
    for (uint32_t k = 0; k < view->key_count; k++) {
        if (view->keys[k].role != PLAN_KEY_COLUMN) {
            continue;
        }
        uint32_t field = export_label_column(export, view->keys[k].name);
        if (field == UINT32_MAX) {
            int rc = err_set(err, KE_INVALID, "%s has no column \"%s\", which table %s is keyed by",
                             export->labels, view->keys[k].name, view->shape.name);
            err_hint(err, "the labels' columns are called as the columns of the tables' keys");
            return rc;
        }
        table->fields[table->field_count++] = field;
    }
    return 0;
}

/* ---- Columns */

static bool is_key_column(const struct plan_view *view, uint32_t output)
{
    uint32_t reg = view->outputs[output].reg; /* the final program begins with the keys */
    return reg < view->key_count && view->keys[reg].role == PLAN_KEY_COLUMN;
}

static uint32_t output_of(const struct plan_view *view, const char *name, size_t len)
{
    for (uint32_t o = 0; o < view->output_count; o++) {
        if (strlen(view->outputs[o].name) == len && memcmp(view->outputs[o].name, name, len) == 0) {
            return o;
        }
    }
    return UINT32_MAX;
}

static void column_add(struct export_table *table, uint32_t output)
{
    for (uint32_t c = 0; c < table->column_count; c++) {
        if (table->columns[c].output == output) {
            return;
        }
    }
    table->columns[table->column_count++] = (struct export_column){.output = output};
}

/* "column" of every table that has one, or "table.column". */
static int column_choose(struct export_job *export, const char *text, size_t len, struct err *err)
{
    const char *dot = memchr(text, '.', len);
    const char *column = dot != NULL ? dot + 1 : text;
    size_t column_len = len - (size_t)(column - text);
    bool found = false;
    struct suggest nearest;
    char *name = xstrndup(column, column_len);
    suggest_begin(&nearest, name);
    for (uint32_t t = 0; t < export->table_count; t++) {
        struct export_table *table = &export->tables[t];
        size_t asked = strlen(table->asked);
        if (dot != NULL &&
            (asked != (size_t)(dot - text) || memcmp(table->asked, text, asked) != 0)) {
            continue;
        }
        uint32_t output = output_of(table->plan, column, column_len);
        for (uint32_t o = 0; o < table->plan->output_count; o++) {
            suggest_offer(&nearest, table->plan->outputs[o].name);
        }
        if (output != UINT32_MAX) {
            found = true;
            column_add(table, output);
        }
    }
    int rc = 0;
    if (!found) {
        rc = err_set(err, KE_INVALID, "--columns: no table has a column \"%.*s\"", (int)len, text);
        if (nearest.best != NULL) {
            err_hint(err, "did you mean %s?", nearest.best);
        } else {
            err_hint(err, "write COLUMN or TABLE.COLUMN, with commas between");
        }
    }
    free(name);
    return rc;
}

static int columns_choose(struct export_job *export, struct err *err)
{
    const char *text = cli_option(export->cli, "columns");
    for (uint32_t t = 0; t < export->table_count && text == NULL; t++) {
        struct export_table *table = &export->tables[t];
        for (uint32_t o = 0; o < table->plan->output_count; o++) {
            if (!is_key_column(table->plan, o)) {
                column_add(table, o);
            }
        }
    }
    int rc = 0;
    while (text != NULL && rc == 0) {
        size_t len = strcspn(text, ",");
        rc = column_choose(export, text, len, err);
        text = text[len] == ',' ? text + len + 1 : NULL;
    }
    return rc;
}

/* How many columns of the file have this name; plain: would have it without any prefix. */
static uint32_t named_so(const struct export_job *export, const char *name, bool plain)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < export->name_count; i++) {
        count += export_name_same(export, export->names[i], name) ? 1 : 0;
    }
    for (uint32_t t = 0; t < export->table_count; t++) {
        const struct export_table *table = &export->tables[t];
        for (uint32_t c = 0; c < table->column_count; c++) {
            const char *own = plain ? table->plan->outputs[table->columns[c].output].name
                                    : table->columns[c].name;
            count += export_name_same(export, own, name) ? 1 : 0;
        }
    }
    return count;
}

/* A name that is not the only one gets its table in front, as Feast does it. */
static int columns_name(struct export_job *export, struct err *err)
{
    uint32_t columns = export->name_count;
    for (uint32_t t = 0; t < export->table_count; t++) {
        struct export_table *table = &export->tables[t];
        columns += table->column_count;
        for (uint32_t c = 0; c < table->column_count; c++) {
            const char *name = table->plan->outputs[table->columns[c].output].name;
            table->columns[c].name = named_so(export, name, true) > 1
                                         ? xasprintf("%s__%s", table->prefix, name)
                                         : xstrdup(name);
        }
    }
    for (uint32_t t = 0; t < export->table_count; t++) {
        for (uint32_t c = 0; c < export->tables[t].column_count; c++) {
            const char *name = export->tables[t].columns[c].name;
            if (named_so(export, name, false) > 1) {
                int rc = err_set(err, KE_INVALID, "two columns of the file would be called \"%s\"",
                                 name);
                err_hint(err, "rename the labels' column, or choose others with --columns");
                return rc;
            }
        }
    }
    if (export->sqlite && columns > SQLITE_FILE_COLUMNS) {
        int rc = err_set(err, KE_LIMIT, "a table of SQLite has %d columns at most, not %" PRIu32,
                         SQLITE_FILE_COLUMNS, columns);
        err_hint(err, "choose some with --columns, or write a .csv");
        return rc;
    }
    return 0;
}

/* ---- */

static int table_find(struct export_job *export, struct reader *reader, uint32_t index,
                      struct err *err)
{
    struct export_table *table = &export->tables[index];
    json_t *object = NULL;
    table->asked = export->cli->args[index];
    for (uint32_t t = 0; t < index; t++) {
        if (strcmp(export->tables[t].asked, table->asked) == 0) {
            return err_set(err, KE_INVALID, "table %s is named twice", table->asked);
        }
    }
    int rc = reader_table_object(reader, table->asked, 0, &object, &table->view, err);
    if (rc == -KE_REFUSED) {
        err_hint(err, "a view is computed when it is read: export the tables that it is made of");
    }
    if (rc != 0) {
        return rc;
    }
    table->prefix = xstrdup(table->asked);
    char *at = strchr(table->prefix, '@');
    if (at != NULL) {
        *at = '_';
    }
    rc = pass_of(export, reader, object, &table->pass, err);
    json_decref(object);
    if (rc == 0) {
        struct export_pass *pass = &export->passes[table->pass];
        pass->tables[pass->table_count++] = index;
        table->plan = &pass->plan->views[table->view];
        rc = check_kind(export, pass, table, err);
    }
    return rc == 0 ? keys_find(export, table, err) : rc;
}

int export_tables_find(struct export_job *export, struct err *err)
{
    uint32_t count = (uint32_t) export->cli->arg_count;
    if (count > EXPORT_TABLES_MAX) {
        return err_set(err, KE_LIMIT, "at most %d tables", EXPORT_TABLES_MAX);
    }
    struct reader *reader = NULL;
    int rc = place_reader(export->cli, &reader, err);
    if (rc != 0) {
        return rc;
    }
    export->tables = xcalloc(count, sizeof *export->tables);
    export->passes = xcalloc(count, sizeof *export->passes);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        export->table_count++;
        rc = table_find(export, reader, i, err);
    }
    reader_close(reader);
    rc = rc == 0 ? columns_choose(export, err) : rc;
    return rc == 0 ? columns_name(export, err) : rc;
}
