/* record_key(), record_offset(), record_partition(), record_timestamp(), record_header('name'): what a
 * record is besides its value, in expressions. Own headers: sql_format.h, sql.h.
 *
 * Each is a hidden column of the input. Those that a definition names anywhere are given to all its
 * inputs, before the first query is bound: rows of a program begin with the columns. */
#include "processor/sql_format.h"

#include <string.h>

#define METAS_MAX 32 /* different ones in a definition */

static const struct {
    const char *name;
    enum plan_meta_kind kind;
    enum kappa_type type;
} metas[] = {
    {"record_key", PLAN_META_KEY, KAPPA_TYPE_TEXT},
    {"record_offset", PLAN_META_OFFSET, KAPPA_TYPE_BIGINT},
    {"record_partition", PLAN_META_PARTITION, KAPPA_TYPE_INTEGER},
    {"record_timestamp", PLAN_META_TIMESTAMP, KAPPA_TYPE_TIMESTAMPTZ},
    {"record_header", PLAN_META_HEADER, KAPPA_TYPE_TEXT},
};

struct found {
    size_t row;         /* of metas */
    const char *header; /* or NULL */
};

struct finding {
    struct found found[METAS_MAX];
    uint32_t count;
    bool too_many;
};

static size_t row_find(const char *name)
{
    size_t row = 0;
    while (row < array_len(metas) && strcmp(metas[row].name, name) != 0) {
        row++;
    }
    return row;
}

/* The text of record_header's argument; NULL if it is no literal. */
static const char *header_of(const json_t *call)
{
    const json_t *args = json_object_get(call, "args");
    const json_t *constant = sql_body(json_array_get(args, 0), "A_Const");
    const char *text = json_text(json_object_get(constant, "sval"), "sval", NULL);
    return json_array_size(args) == 1 ? text : NULL;
}

static void add(struct finding *finding, size_t row, const char *header)
{
    bool needs_header = metas[row].kind == PLAN_META_HEADER;
    if (needs_header && header == NULL) {
        return; /* refused where it is bound */
    }
    for (uint32_t i = 0; i < finding->count; i++) {
        const struct found *known = &finding->found[i];
        if (known->row == row && (!needs_header || strcmp(known->header, header) == 0)) {
            return;
        }
    }
    finding->too_many = finding->count == METAS_MAX;
    if (!finding->too_many) {
        finding->found[finding->count++] =
            (struct found){.row = row, .header = needs_header ? header : NULL};
    }
}

// NOLINTNEXTLINE(misc-no-recursion): the tree's depth is bounded by the parser
static void find(struct finding *finding, const json_t *node)
{
    const char *member;
    json_t *child;
    size_t i;
    if (json_is_array(node)) {
        json_array_foreach (node, i, child) {
            find(finding, child);
        }
        return;
    }
    if (!json_is_object(node)) {
        return;
    }
    const json_t *call = sql_body(node, "FuncCall");
    const char *name = call == NULL ? NULL : sql_plain_name(json_object_get(call, "funcname"));
    size_t row = name == NULL ? array_len(metas) : row_find(name);
    if (row < array_len(metas)) {
        add(finding, row, header_of(call));
    }
    /* jansson's iterator wants a tree that may change. */
    void *at = json_object_iter((json_t *)(uintptr_t)node);
    for (; at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)node, at)) {
        member = json_object_iter_key(at);
        (void)member;
        find(finding, json_object_iter_value(at));
    }
}

int sql_metas(struct sql *sql, uint32_t index, const char *event_time)
{
    struct finding finding = {.count = 0};
    find(&finding, sql->statements);
    if (event_time != NULL && strcmp(event_time, "record_timestamp()") == 0) {
        add(&finding, row_find("record_timestamp"), NULL);
    }
    if (finding.too_many) {
        return sql_error(sql, -1, "more than %d different headers of records", METAS_MAX);
    }
    struct plan_input *input = &sql->inputs[index];
    struct arena *memory = &sql->plan->memory;
    uint32_t declared = input->column_count;
    struct plan_column *columns =
        arena_calloc(memory, (declared + finding.count) * sizeof *columns);
    struct plan_meta *made = arena_calloc(memory, (finding.count + 1) * sizeof *made);
    memcpy(columns, input->columns, declared * sizeof *columns);
    for (uint32_t i = 0; i < finding.count; i++) {
        const struct found *found = &finding.found[i];
        const char *header = found->header == NULL ? NULL : arena_strdup(memory, found->header);
        const char *name = metas[found->row].name;
        columns[declared + i] = (struct plan_column){
            .name = header == NULL ? arena_printf(memory, "%s()", name)
                                   : arena_printf(memory, "%s('%s')", name, header),
            .type = metas[found->row].type,
            .hidden = true,
        };
        made[i] = (struct plan_meta){
            .kind = metas[found->row].kind, .column = declared + i, .header = header};
    }
    sql->columns[index] = columns;
    input->columns = columns;
    input->column_count = declared + finding.count;
    input->metas = made;
    input->meta_count = finding.count;
    return 0;
}

/* ---- In expressions. */

bool sql_is_meta(const char *name)
{
    return row_find(name) < array_len(metas);
}

static int meta_arguments(struct sql *sql, const json_t *call, size_t row, const char *header)
{
    bool needs_header = metas[row].kind == PLAN_META_HEADER;
    if (needs_header ? header != NULL : json_array_size(json_object_get(call, "args")) == 0) {
        return 0;
    }
    int rc = sql_error(sql, sql_place(call), "%s takes %s", metas[row].name,
                       needs_header ? "the name of a header, as a literal" : "no arguments");
    err_hint(sql->err, needs_header ? "write %s('name')" : "write %s()", metas[row].name);
    return rc;
}

struct expr_node *sql_bind_meta(struct sql *sql, const struct sql_scope *scope, const json_t *call,
                                const char *name)
{
    size_t row = row_find(name);
    const char *header = header_of(call);
    int place = sql_place(call);
    if (meta_arguments(sql, call, row, header) != 0) {
        return NULL;
    }
    if (scope->select == NULL || scope->select->input == PLAN_NONE) {
        return sql_error_null(sql, place,
                              "%s() is of a record: it belongs to a query over a table "
                              "to read",
                              name);
    }
    const struct plan_input *input = &sql->inputs[scope->select->input];
    for (uint32_t m = 0; m < input->meta_count; m++) {
        const struct plan_meta *meta = &input->metas[m];
        if (meta->kind == metas[row].kind &&
            (meta->header == NULL || strcmp(meta->header, header) == 0)) {
            return sql_input(sql, scope->select, meta->column, place);
        }
    }
    return sql_error_null(sql, place, "%s() is not known here", name);
}
