/* Names of output columns without AS, as PostgreSQL's FigureColname. Own header: sql.h. */
#include "processor/sql.h"

#include <string.h>

/* How good a name is: a type's or CASE's is weak, and gives way to one found deeper. */
enum strength { NAME_NONE, NAME_WEAK, NAME_STRONG };

// NOLINTNEXTLINE(misc-no-recursion): the tree was bound, so its depth is within LIMIT_SQL_DEPTH
static enum strength figure(const json_t *node, const char **name)
{
    const json_t *body = NULL;
    const char *kind = sql_kind(node, &body);
    if (strcmp(kind, "ColumnRef") == 0) {
        const json_t *fields = json_object_get(body, "fields");
        const char *last = sql_name(fields, json_array_size(fields) - 1);
        *name = last == NULL ? *name : last;
        return last == NULL ? NAME_NONE : NAME_STRONG;
    }
    if (strcmp(kind, "FuncCall") == 0) {
        const json_t *names = json_object_get(body, "funcname");
        *name = sql_name(names, json_array_size(names) - 1);
        return NAME_STRONG;
    }
    if (strcmp(kind, "A_Expr") == 0 && sql_is(body, "kind", "AEXPR_NULLIF")) {
        *name = "nullif";
        return NAME_STRONG;
    }
    if (strcmp(kind, "CoalesceExpr") == 0) {
        *name = "coalesce";
        return NAME_STRONG;
    }
    if (strcmp(kind, "MinMaxExpr") == 0) {
        *name = sql_is(body, "op", "IS_GREATEST") ? "greatest" : "least";
        return NAME_STRONG;
    }
    if (strcmp(kind, "TypeCast") == 0) {
        enum strength inner = figure(json_object_get(body, "arg"), name);
        if (inner == NAME_NONE) {
            const json_t *names = json_object_get(json_object_get(body, "typeName"), "names");
            *name = sql_name(names, json_array_size(names) - 1);
            return NAME_WEAK;
        }
        return inner;
    }
    if (strcmp(kind, "CaseExpr") == 0) {
        const json_t *otherwise = json_object_get(body, "defresult");
        if (otherwise != NULL && figure(otherwise, name) == NAME_STRONG) {
            return NAME_STRONG;
        }
        *name = "case";
        return NAME_WEAK;
    }
    return NAME_NONE;
}

const char *sql_figure_name(const json_t *node)
{
    const char *name = NULL;
    return figure(node, &name) == NAME_NONE || name == NULL ? "?column?" : name;
}
