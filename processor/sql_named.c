/* CREATE VIEW name AS SELECT ... Own header: sql.h.
 *
 * Over tables to read it is a name for a subquery, bound anew wherever it is used. Over tables that the
 * definition makes it is kept as text and computed when it is read (serve/). */
#include "processor/sql.h"

#include <string.h>

const struct sql_named *sql_named_find(const struct sql *sql, const char *name)
{
    for (uint32_t i = 0; i < sql->named_count; i++) {
        if (strcmp(sql->named[i].name, name) == 0) {
            return &sql->named[i];
        }
    }
    return NULL;
}

static bool is_made(const struct sql *sql, const char *name)
{
    for (uint32_t i = 0; i < sql->plan->view_count; i++) {
        if (strcmp(sql->views[i].shape.name, name) == 0) {
            return true;
        }
    }
    const struct sql_named *named = sql_named_find(sql, name);
    return named != NULL && named->query == NULL;
}

/* Does the query, or anything in it, read a table that the definition makes? */
// NOLINTNEXTLINE(misc-no-recursion): bounded by jansson's nesting limit of 2048
static bool reads_made(const struct sql *sql, const json_t *node)
{
    const char *member;
    json_t *child;
    size_t i;
    const json_t *range = sql_body(node, "RangeVar");
    if (range != NULL && is_made(sql, json_text(range, "relname", ""))) {
        return true;
    }
    json_object_foreach ((json_t *)(uintptr_t)node, member, child) {
        if (reads_made(sql, child)) {
            return true;
        }
    }
    json_array_foreach (node, i, child) {
        if (reads_made(sql, child)) {
            return true;
        }
    }
    return false;
}

/* The text behind AS. */
static int read_view(struct sql *sql, const char *name, const json_t *range)
{
    int as = sql_keyword_place(sql, "as", sql_place(range));
    int view = sql_keyword_place(sql, "view", sql_place(range));
    for (int at = view; as < view && at < sql->statement_end; at++) {
        as = sql_keyword_place(sql, "as", at);
    }
    uint32_t place = (uint32_t)as + 2;
    while (place < (uint32_t)sql->statement_end && strchr(" \t\r\n", sql->text[place]) != NULL) {
        place++;
    }
    sql->read_views[sql->plan->read_view_count++] =
        (struct plan_read_view){.name = name,
                                .query = arena_strndup(&sql->plan->memory, sql->text + place,
                                                       (size_t)sql->statement_end - place),
                                .place = place};
    return 0;
}

static int inlined(struct sql *sql, const json_t *query)
{
    struct sql_select *select = sql_select_bind(sql, query, false);
    if (select == NULL) {
        return -KE_SQL;
    }
    if (select->grouped) {
        int rc = sql_error(sql, -1, "a view with aggregates over a topic keeps state");
        err_hint(sql->err, "write CREATE MATERIALIZED VIEW");
        return rc;
    }
    return 0;
}

int sql_named_view(struct sql *sql, const json_t *body)
{
    static const char *const allowed[] = {"view", "query", "withCheckOption", NULL};
    const json_t *range = json_object_get(body, "view");
    const json_t *query = sql_body(json_object_get(body, "query"), "SelectStmt");
    if (sql_only(sql, body, allowed) != 0) {
        return -KE_SQL;
    }
    if (query == NULL) {
        return sql_error(sql, -1, "not supported yet: this behind AS; write SELECT");
    }
    if (sql->named_count == LIMIT_VIEWS) {
        return sql_error(sql, -1, "more than %d views", LIMIT_VIEWS);
    }
    const char *name = sql_new_name(sql, range);
    if (name == NULL) {
        return -KE_SQL;
    }
    bool at_read = reads_made(sql, query);
    int rc = at_read ? read_view(sql, name, range) : inlined(sql, query);
    if (rc == 0) {
        sql->named[sql->named_count++] =
            (struct sql_named){.name = name, .query = at_read ? NULL : query};
    }
    return rc;
}
