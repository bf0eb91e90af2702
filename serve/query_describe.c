/* What can be read: tables and views of the versions that serve, with their columns. Own header:
 * query.h. */
#include "serve/query_private.h"

#include <stdlib.h>
#include <string.h>

static void append(json_t *list, json_t *item)
{
    ASSERT(item != NULL);
    ASSERT(json_array_append_new(list, item) == 0);
}

static bool is_key(const struct plan_view *view, uint32_t output)
{
    return view->kind == PLAN_GROUP && view->outputs[output].reg < view->key_count;
}

static json_t *table_columns(const struct plan_view *view)
{
    json_t *columns = json_array();
    for (uint32_t i = 0; i < view->output_count; i++) {
        char type[QUERY_TYPE_LEN];
        query_type_shown(query_type_declared(view->outputs[i].type), type);
        append(columns, json_pack("{s:s, s:s, s:b}", "name", view->outputs[i].name, "type", type,
                                  "key", is_key(view, i)));
    }
    return columns;
}

/* Columns of a view as SQLite sees them. */
static int view_columns(struct query *query, const char *name, json_t **out, struct err *err)
{
    char *select = xasprintf("SELECT * FROM \"%s\"", name);
    struct query_text text = {0};
    sqlite3_stmt *statement = NULL;
    int rc = query_translate(&text, select, strlen(select), NULL, err);
    if (rc == 0) {
        rc = query_prepare(query, &text, &statement, err);
    }
    if (rc == 0) {
        json_t *columns = json_array();
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const char *declared = sqlite3_column_decltype(statement, i);
            char type[QUERY_TYPE_LEN] = "";
            query_type_shown(declared == NULL ? "" : declared, type);
            append(columns, json_pack("{s:s, s:s, s:b}", "name", sqlite3_column_name(statement, i),
                                      "type", type, "key", 0));
        }
        *out = columns;
    }
    (void)sqlite3_finalize(statement);
    query_text_free(&text);
    free(select);
    return rc;
}

static json_t *entry(const struct reader_stamp *stamp, const char *name, const char *kind,
                     json_t *columns, const char *text)
{
    json_t *item =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:O, s:o, s:s?}", "name", name, "kind", kind,
                  "processor", stamp->processor, "version", (json_int_t)stamp->version, "epoch",
                  (json_int_t)stamp->epoch, "cut", stamp->cut, "columns", columns, "query", text);
    ASSERT(item != NULL);
    reader_stamp_since(stamp->since, item);
    return item;
}

static int describe_version(struct query *query, const struct reader_read *reading, json_t *list,
                            struct err *err)
{
    const struct plan *plan = reading->version->plan;
    struct reader_stamp stamp;
    reader_stamp_of(reading, &stamp);
    int rc = query_plan_bind(query, plan, err);
    for (uint32_t i = 0; i < plan->view_count && rc == 0; i++) {
        const struct plan_view *view = &plan->views[i];
        append(list, entry(&stamp, view->shape.name, "table", table_columns(view), NULL));
    }
    for (uint32_t i = 0; i < plan->read_view_count && rc == 0; i++) {
        const struct plan_read_view *view = &plan->read_views[i];
        json_t *columns = NULL;
        rc = view_columns(query, view->name, &columns, err);
        if (rc == 0) {
            append(list, entry(&stamp, view->name, "view", columns, view->query));
        }
    }
    query_names_drop(query);
    json_decref(stamp.cut);
    return rc;
}

static int describe_processor(struct query *query, const json_t *processor, json_t *list,
                              struct err *err)
{
    struct reader_read reading = {.epoch = (uint64_t)json_int(processor, "epoch", 0)};
    uint32_t serving = (uint32_t)json_int(processor, "serving", 0);
    if (serving == 0) {
        return 0;
    }
    int rc = reader_version_take(query->reader, json_text(processor, "processor", ""), serving,
                                 &reading.version, err);
    if (rc != 0) {
        return rc;
    }
    rc = view_snapshot_begin(reading.version->view, &reading.snapshot, err);
    if (rc != 0) {
        reader_version_give(query->reader, reading.version);
        return rc;
    }
    rc = describe_version(query, &reading, list, err);
    reader_end(query->reader, &reading);
    return rc;
}

int query_describe(struct query *query, json_t **out, struct err *err)
{
    MAGIC_ASSERT(query, QUERY_MAGIC);
    json_t *processors = NULL;
    json_t *list = json_array();
    size_t i;
    json_t *item;
    query->err = (struct err){0};
    int rc = catalog_list(query->reader->catalog, "p/", &processors, err);
    json_array_foreach (processors, i, item) {
        if (rc == 0) {
            rc = describe_processor(query, json_object_get(item, "value"), list, err);
        }
    }
    json_decref(processors);
    if (rc < 0) {
        json_decref(list);
        return rc;
    }
    *out = json_pack("{s:o}", "tables", list);
    return 0;
}
