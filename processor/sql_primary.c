/* PRIMARY KEY of a table to read: its records say how rows stand now. Own header: sql_format.h. */
#include "processor/sql_format.h"

#include <string.h>

static bool is_primary(const json_t *constraint)
{
    return constraint != NULL && sql_is(constraint, "contype", "CONSTR_PRIMARY");
}

static int add_name(struct sql *sql, struct sql_primary *primary, const char *name, int place)
{
    for (uint32_t i = 0; i < primary->count; i++) {
        if (strcmp(primary->names[i], name) == 0) {
            return sql_error(sql, place, "column \"%s\" appears twice in primary key constraint",
                             name);
        }
    }
    if (primary->count == SQL_PRIMARY_MAX) {
        return sql_error(sql, place, "a primary key of more than %d columns", SQL_PRIMARY_MAX);
    }
    primary->names[primary->count++] = arena_strdup(&sql->temp, name);
    return 0;
}

static int begin(struct sql *sql, struct sql_primary *primary, int place)
{
    if (primary->count > 0) {
        return sql_error(sql, place, "multiple primary keys for one table are not allowed");
    }
    primary->place = place;
    return 0;
}

/* PRIMARY KEY (a, b). */
static int table_constraint(struct sql *sql, struct sql_primary *primary, const json_t *constraint)
{
    static const char *const allowed[] = {"contype", "keys", NULL};
    int place = sql_place(constraint);
    const json_t *keys = json_object_get(constraint, "keys");
    if (sql_only(sql, constraint, allowed) != 0 || begin(sql, primary, place) != 0) {
        return -KE_SQL;
    }
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const char *name = sql_name(keys, i);
        if (name == NULL || add_name(sql, primary, name, place) != 0) {
            return -KE_SQL;
        }
    }
    return 0;
}

/* A column without its PRIMARY KEY; others of its constraints stay, for who refuses them. */
static int column_constraints(struct sql *sql, struct sql_primary *primary, json_t *column)
{
    json_t *list = json_object_get(column, "constraints");
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *constraint = sql_body(json_array_get(list, i), "Constraint");
        if (!is_primary(constraint)) {
            continue;
        }
        int place = sql_place(constraint);
        if (begin(sql, primary, place) != 0 ||
            add_name(sql, primary, json_text(column, "colname", ""), place) != 0) {
            return -KE_SQL;
        }
        json_array_remove(list, i);
    }
    if (list != NULL && json_array_size(list) == 0) {
        json_object_del(column, "constraints");
    }
    return 0;
}

json_t *sql_primary_split(struct sql *sql, const json_t *elements, struct sql_primary *primary)
{
    json_t *columns = json_deep_copy(elements);
    *primary = (struct sql_primary){.place = -1};
    for (size_t i = 0; i < json_array_size(columns);) {
        json_t *element = json_array_get(columns, i);
        const json_t *constraint = sql_body(element, "Constraint");
        int rc = is_primary(constraint)
                     ? table_constraint(sql, primary, constraint)
                     : column_constraints(sql, primary, json_object_get(element, "ColumnDef"));
        if (rc != 0) {
            json_decref(columns);
            return NULL;
        }
        if (is_primary(constraint)) {
            json_array_remove(columns, i);
        } else {
            i++;
        }
    }
    return columns == NULL ? json_array() : columns;
}

int sql_primary_set(struct sql *sql, struct plan_input *input, const struct sql_primary *primary)
{
    uint32_t *indexes = arena_calloc(&sql->plan->memory, (primary->count + 1) * sizeof *indexes);
    for (uint32_t i = 0; i < primary->count; i++) {
        struct sql_guess guess = sql_guess_new(primary->names[i]);
        indexes[i] = PLAN_NONE;
        for (uint32_t c = 0; c < input->column_count; c++) {
            if (strcmp(input->columns[c].name, primary->names[i]) == 0) {
                indexes[i] = c;
            }
            sql_guess_offer(&guess, input->columns[c].name);
        }
        if (indexes[i] == PLAN_NONE) {
            int rc = sql_error(sql, primary->place, "column \"%s\" named in key does not exist",
                               primary->names[i]);
            sql_guess_hint(sql, &guess, NULL);
            return rc;
        }
    }
    input->primary = indexes;
    input->primary_count = primary->count;
    return 0;
}
