/* What names mean: the relations of FROM, and the row-level inputs behind their columns. Own header:
 * sql.h.
 *
 * A row-level input is numbered as the row program numbers it: the columns of the input, window_start,
 * window_end, then what operators write. A column of a relation is any expression over inputs, so a
 * subquery needs no step of its own: what it computes is computed where it is used. */
#include "processor/sql.h"

#include <string.h>

static enum kappa_type input_type(const struct sql *sql, const struct sql_select *select,
                                  uint32_t index)
{
    const struct plan_input *input = &sql->inputs[select->input];
    if (index < input->column_count) {
        return input->columns[index].type;
    }
    uint32_t behind = index - input->column_count;
    return behind < 2 ? KAPPA_TYPE_TIMESTAMPTZ : select->operator_types[behind - 2];
}

struct expr_node *sql_input(struct sql *sql, const struct sql_select *select, uint32_t index,
                            int place)
{
    struct expr_node *node =
        expr_node_new(&sql->pool, EXPR_NODE_INPUT, input_type(sql, select, index), place);
    node->index = index;
    if (index < sql->inputs[select->input].column_count) {
        node->modifier = sql->inputs[select->input].columns[index].modifier;
    }
    return expr_pool_assign(&sql->pool, node);
}

struct sql_relation sql_relation_of_input(struct sql *sql, const struct sql_select *select,
                                          const char *alias, int place)
{
    const struct plan_input *input = &sql->inputs[select->input];
    uint32_t own = input->column_count;
    struct sql_relation relation = {.alias = alias};
    relation.fields = arena_calloc(&sql->temp, sizeof *relation.fields * ((size_t)own + 1));
    for (uint32_t i = 0; i < own; i++) {
        relation.fields[relation.count++] =
            (struct sql_field){.name = input->columns[i].name,
                               .node = sql_input(sql, select, i, place),
                               .hidden = input->columns[i].hidden};
    }
    return relation;
}

/* ---- Finding columns. */

bool sql_field_exists(const struct sql_scope *scope, const char *name)
{
    for (uint32_t r = 0; r < scope->relation_count; r++) {
        const struct sql_relation *relation = &scope->relations[r];
        for (uint32_t i = 0; i < relation->count; i++) {
            if (!relation->fields[i].hidden && strcmp(relation->fields[i].name, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

const char *sql_field_name(const struct sql_scope *scope, const struct expr_node *node,
                           const char **alias)
{
    for (uint32_t r = 0; r < scope->relation_count; r++) {
        const struct sql_relation *relation = &scope->relations[r];
        for (uint32_t i = 0; i < relation->count; i++) {
            if (relation->fields[i].node->id == node->id) {
                *alias = relation->alias;
                return relation->fields[i].name;
            }
        }
    }
    return NULL;
}

static struct expr_node *qualifier_missing(struct sql *sql, const struct sql_scope *scope,
                                           const char *qualifier, int place)
{
    (void)sql_error(sql, place, "missing FROM-clause entry for table \"%s\"", qualifier);
    if (scope->relation_count == 1) {
        err_hint(sql->err, "columns here are qualified with \"%s\"", scope->relations[0].alias);
    }
    return NULL;
}

static struct expr_node *column_missing(struct sql *sql, const struct sql_scope *scope,
                                        const char *qualifier, const char *name, int place)
{
    if (qualifier == NULL) {
        (void)sql_error(sql, place, "column \"%s\" does not exist", name);
    } else {
        (void)sql_error(sql, place, "column %s.%s does not exist", qualifier, name);
    }
    bool windowed = scope->select != NULL && scope->select->window_us > 0;
    if (!windowed && strncmp(name, "window_", 7) == 0) {
        err_hint(sql->err, "it comes from FROM tumble(%s, event_time_column, interval '5 minutes')",
                 scope->relation_count == 0 ? "table" : scope->relations[0].alias);
        return NULL;
    }
    struct sql_guess guess = sql_guess_new(name);
    for (uint32_t r = 0; r < scope->relation_count; r++) {
        const struct sql_relation *relation = &scope->relations[r];
        for (uint32_t i = 0; i < relation->count; i++) {
            if (!relation->fields[i].hidden) {
                sql_guess_offer(&guess, relation->fields[i].name);
            }
        }
    }
    bool quoted =
        qualifier == NULL && place >= 0 && (size_t)place < sql->len && sql->text[place] == '"';
    sql_guess_hint(sql, &guess,
                   quoted ? "names have double quotes; a text has single ones, as in 'Oslo'"
                          : NULL);
    return NULL;
}

struct expr_node *sql_field_at(struct sql *sql, const struct sql_scope *scope,
                               struct expr_node *node, int place)
{
    if (node->kind != EXPR_NODE_INPUT || scope->select == NULL) {
        return node;
    }
    return sql_input(sql, scope->select, node->index, place);
}

struct expr_node *sql_field_find(struct sql *sql, const struct sql_scope *scope,
                                 const char *qualifier, const char *name, int place)
{
    struct expr_node *found = NULL;
    bool qualified = false;
    for (uint32_t r = 0; r < scope->relation_count; r++) {
        const struct sql_relation *relation = &scope->relations[r];
        if (qualifier != NULL && strcmp(qualifier, relation->alias) != 0) {
            continue;
        }
        qualified = true;
        for (uint32_t i = 0; i < relation->count; i++) {
            if (relation->fields[i].hidden || (relation->fields[i].merged && qualifier == NULL) ||
                strcmp(relation->fields[i].name, name) != 0) {
                continue;
            }
            if (found != NULL) {
                return sql_error_null(sql, place, "column reference \"%s\" is ambiguous", name);
            }
            found = relation->fields[i].node;
        }
    }
    if (found != NULL) {
        return sql_field_at(sql, scope, found, place);
    }
    return qualifier != NULL && !qualified ? qualifier_missing(sql, scope, qualifier, place)
                                           : column_missing(sql, scope, qualifier, name, place);
}
