/* CREATE MATERIALIZED VIEW name [WITH (retain='1 h')] AS SELECT ... Own header: sql.h. */
#include "processor/sql.h"

#include <string.h>

static int retain_read(struct sql *sql, const struct sql_select *select, const json_t *list,
                       int64_t *retain_us)
{
    struct sql_option option = {"retain", NULL, -1};
    if (sql_options(sql, list, &option, 1) != 0) {
        return -KE_SQL;
    }
    *retain_us = INT64_MAX;
    if (option.value == NULL) {
        return 0;
    }
    bool windowed = false;
    for (uint32_t k = 0; k < select->key_count; k++) {
        windowed = windowed || sql_key_role(sql, select, select->keys[k]) != PLAN_KEY_COLUMN;
    }
    if (!windowed) {
        int rc = sql_error(sql, option.place,
                           "option \"retain\" needs a window: rows go when their window's end is "
                           "that long past");
        err_hint(sql->err, "use FROM tumble(...) and GROUP BY window_start, window_end, or leave "
                           "retain out");
        return rc;
    }
    return sql_option_duration(sql, &option, retain_us);
}

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
    int64_t retain_us = INT64_MAX;
    if (select == NULL ||
        retain_read(sql, select, json_object_get(into, "options"), &retain_us) != 0) {
        return -KE_SQL;
    }
    return sql_plan_view(sql, select, name, retain_us);
}
