/* CREATE MATERIALIZED VIEW name [WITH (retain='1 h')] AS SELECT ... Own header: sql.h. */
#include "processor/sql.h"

int sql_view(struct sql *sql, const json_t *body)
{
    static const char *const allowed[] = {"query", "into", "objtype", NULL};
    static const char *const allowed_into[] = {"rel", "options", "onCommit", NULL};
    const json_t *into = json_object_get(body, "into");
    const json_t *query = sql_body(json_object_get(body, "query"), "SelectStmt");
    if (sql_only(sql, body, allowed) != 0 || sql_only(sql, into, allowed_into) != 0) {
        return -KE_SQL;
    }
    if (query == NULL) {
        return sql_error(sql, -1, "not supported yet: this behind AS; write SELECT");
    }
    if (sql->plan->view_count == LIMIT_VIEWS) {
        return sql_error(sql, -1, "more than %d views", LIMIT_VIEWS);
    }
    const char *name = sql_new_name(sql, json_object_get(into, "rel"));
    if (name == NULL) {
        return -KE_SQL;
    }
    struct sql_select *select = sql_select_bind(sql, query, false);
    struct sql_view_options options;
    if (select == NULL ||
        sql_view_options(sql, select, json_object_get(into, "options"), &options) != 0) {
        return -KE_SQL;
    }
    return sql_plan_view(sql, select, name, &options);
}
