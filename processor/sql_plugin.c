/* FROM plugin('file.so', table) AS f(column type, ...). Own header: sql.h.
 *
 * What a plugin makes is an input like others, whose columns are those declared; it stands behind the
 * inputs that are topics. The same call in several queries is one plugin. */
#include "processor/sql.h"

#include <string.h>

static int usage(struct sql *sql, int place, const char *problem)
{
    int rc = sql_error(sql, place, "%s", problem);
    err_hint(sql->err, "write FROM plugin('file.so', table) AS f(column type, ...)");
    return rc;
}

/* A name without a path: where the file is, is said at the deploy. */
static bool is_file_name(const char *name)
{
    size_t len = strlen(name);
    return len > 3 && len <= LIMIT_NAME_LEN && strcmp(name + len - 3, ".so") == 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               len &&
           name[0] != '.';
}

static bool same_columns(const struct plan_input *a, const struct plan_column *columns,
                         uint32_t count)
{
    bool same = a->column_count == count;
    for (uint32_t i = 0; same && i < count; i++) {
        same = a->columns[i].type == columns[i].type &&
               strcmp(a->columns[i].name, columns[i].name) == 0;
    }
    return same;
}

static uint32_t find(const struct sql *sql, const char *file, uint32_t input,
                     const struct plan_column *columns, uint32_t count)
{
    for (uint32_t i = 0; i < sql->plan->plugin_count; i++) {
        const struct plan_plugin *plugin = &sql->plugins[i];
        if (plugin->input == input && strcmp(plugin->file, file) == 0 &&
            same_columns(&sql->inputs[plugin->rows], columns, count)) {
            return plugin->rows;
        }
    }
    return PLAN_NONE;
}

/* A plugin sees all columns of its input. */
static void use_columns(struct sql *sql, uint32_t input)
{
    for (uint32_t c = 0; c < sql->inputs[input].column_count; c++) {
        struct plan_column *column = &sql->columns[input][c];
        column->used = column->used || !column->hidden;
    }
}

static int add(struct sql *sql, const char *file, uint32_t input, const char *alias,
               struct plan_column *columns, uint32_t count, int place)
{
    if (sql->plan->plugin_count == LIMIT_INPUTS || sql->state_count == LIMIT_VIEWS) {
        return sql_error(sql, place, "more than %d plugins", LIMIT_INPUTS);
    }
    for (uint32_t c = 0; c < count; c++) {
        columns[c].used = true;
    }
    uint32_t rows = LIMIT_INPUTS + sql->plan->plugin_count;
    struct plan_input *made = &sql->inputs[rows];
    *made = (struct plan_input){.name = arena_strdup(&sql->plan->memory, alias),
                                .topic = sql->inputs[input].topic,
                                .columns = columns,
                                .column_count = count,
                                .event_time = PLAN_NONE,
                                .timestamp_unit_us_num = 1,
                                .timestamp_unit_us_den = 1};
    sql->columns[rows] = columns;
    sql->plugins[sql->plan->plugin_count++] =
        (struct plan_plugin){.file = arena_strdup(&sql->plan->memory, file),
                             .input = input,
                             .rows = rows,
                             .table = sql->state_count}; /* plan_finish adds the tables of views */
    sql->states[sql->state_count++] = (struct plan_table){
        .shape.name = arena_printf(&sql->plan->memory, "%s.state%u", file, sql->state_count),
        .hidden = true};
    use_columns(sql, input);
    return 0;
}

uint32_t sql_rows_input(const struct sql *sql, uint32_t rows)
{
    return rows < LIMIT_INPUTS ? rows : sql->plugins[rows - LIMIT_INPUTS].input;
}

int sql_plugin(struct sql *sql, struct sql_select *select, const json_t *args,
               const json_t *columns_json, const char *alias, int place, struct sql_relation *out)
{
    const json_t *file = json_object_get(sql_body(json_array_get(args, 0), "A_Const"), "sval");
    const json_t *table = json_object_get(sql_body(json_array_get(args, 1), "ColumnRef"), "fields");
    const char *name = json_array_size(table) == 1 ? sql_name(table, 0) : NULL;
    if (json_array_size(args) != 2 || file == NULL || name == NULL) {
        return usage(sql, place, "plugin takes the name of its file and a table");
    }
    const char *path = json_text(file, "sval", "");
    if (!is_file_name(path)) {
        return usage(sql, sql_place(json_array_get(args, 0)),
                     "a plugin's file is a name without folders that ends with .so; it lies beside "
                     "the definition");
    }
    if (columns_json == NULL) {
        return usage(sql, place, "the columns that the plugin makes must be declared");
    }
    uint32_t count = 0;
    struct plan_column *columns = sql_columns(sql, columns_json, alias, &count);
    struct sql_relation base;
    if (columns == NULL || sql_relation_bind(sql, select, name, place, alias, &base) != 0) {
        return -KE_SQL;
    }
    if (select->where != NULL || select->phase_count > 0 || select->input >= LIMIT_INPUTS ||
        sql->inputs[select->input].primary_count > 0) {
        return usage(sql, place, "a plugin takes the rows of a table to read, not of a view");
    }
    uint32_t rows = find(sql, path, select->input, columns, count);
    if (rows == PLAN_NONE) {
        rows = LIMIT_INPUTS + sql->plan->plugin_count;
        if (add(sql, path, select->input, alias, columns, count, place) != 0) {
            return -KE_SQL;
        }
    }
    select->input = rows;
    *out = sql_relation_of_input(sql, select, alias, place);
    return 0;
}
