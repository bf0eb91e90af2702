/* JOIN within one topic: for each row of the left side the newest row of the right side with its key, as
 * of its place in the partition. Own header: sql.h.
 *
 * A condition right.valid_from <= left.at between two times makes it a join by time: of the rows of the
 * right side that came before, the one that is valid at the left one's time.
 *
 * Both sides read the same input, so the log has one order for them, and a replay follows it. Between
 * two topics there is no such order: such a join is computed when it is read (CREATE VIEW), or both
 * are brought into one topic first. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

struct join {
    struct sql_select *select;
    struct sql_scope *scope; /* of the query; its relations are the left side at first */
    struct sql_scope right;  /* one relation */
    struct expr_node *right_where;
    bool inner;
    struct expr_node *left_keys[LIMIT_JOIN_KEYS];
    struct expr_node *right_keys[LIMIT_JOIN_KEYS];
    uint32_t key_count;
    struct expr_node *left_time; /* NULL: not by time */
    struct expr_node *right_time;
    bool before;
    const json_t *rest[LIMIT_JOIN_KEYS]; /* conditions that are no keys */
    uint32_t rest_count;
};

/* ---- The right side. */

static int refuse_topics(struct sql *sql, const struct plan_input *left,
                         const struct plan_input *right, int place)
{
    int rc =
        sql_error(sql, place,
                  "a join of two topics, \"%s\" and \"%s\": nothing says which of their records "
                  "came first, so a replay could not repeat it",
                  left->topic, right->topic);
    err_hint(sql->err,
             "if the right side only adds columns, make a table of each and join them in a "
             "CREATE VIEW, which is computed when it is read; if it decides what is counted, "
             "bring both into one topic, and join within that: "
             "`kappa rekey %s %s --key COLUMN --into TOPIC`",
             left->topic, right->topic);
    return rc;
}

static int bind_right(struct sql *sql, struct join *join, const json_t *node)
{
    struct sql_select *side = arena_calloc(&sql->temp, sizeof *side);
    side->input = PLAN_NONE;
    join->right.select = side;
    join->right.clause = "a join";
    if (sql_from_item(sql, side, node, &join->right) != 0) {
        return -KE_SQL;
    }
    if (side->input != join->select->input) {
        return refuse_topics(sql, &sql->inputs[join->select->input], &sql->inputs[side->input],
                             sql_place(node));
    }
    if (side->phase_count > 0 || side->window_us > 0 || side->top != NULL) {
        return sql_error(sql, sql_place(node),
                         "not supported yet: joins, windows and window functions on the right of "
                         "a join");
    }
    join->right.select = join->select; /* the rows are the same */
    join->right_where = side->where;
    return 0;
}

/* ---- ON. */

/* Binds without saying what is wrong. */
static struct expr_node *bind_quietly(struct sql *sql, const struct sql_scope *scope,
                                      const json_t *node)
{
    struct err *err = sql->err;
    struct sql_scope inner = *scope;
    inner.clause = "JOIN";
    sql->err = NULL;
    struct expr_node *bound = sql_bind(sql, &inner, node);
    sql->err = err;
    return bound;
}

static bool key_add(struct sql *sql, struct join *join, struct expr_node *left,
                    struct expr_node *right)
{
    if (left == NULL || right == NULL || left->constant_only || right->constant_only ||
        left->type == KAPPA_TYPE_NULL || right->type == KAPPA_TYPE_NULL) {
        return false;
    }
    struct expr_node *both[] = {left, right};
    enum kappa_type type = sql_common_type(sql, both, 2, "JOIN");
    if (type == KAPPA_TYPE_NULL) {
        return false;
    }
    join->left_keys[join->key_count] = sql_coerce(sql, left, type);
    join->right_keys[join->key_count] = sql_coerce(sql, right, type);
    join->key_count++;
    return true;
}

/* left = right, written either way round. */
static bool key_pair(struct sql *sql, struct join *join, const json_t *a, const json_t *b)
{
    struct expr_node *left = bind_quietly(sql, join->scope, a);
    return left != NULL && key_add(sql, join, left, bind_quietly(sql, &join->right, b));
}

/* USING (name, ...): equality, and from here on the name alone means the left one. */
static int take_names(struct sql *sql, struct join *join, const json_t *names, int place)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = sql_name(names, i);
        struct expr_node *left = sql_field_find(sql, join->scope, NULL, name, place);
        struct expr_node *right =
            left == NULL ? NULL : sql_field_find(sql, &join->right, NULL, name, place);
        if (right == NULL) {
            return -KE_SQL;
        }
        if (join->key_count == LIMIT_JOIN_KEYS || !key_add(sql, join, left, right)) {
            return sql_error(sql, place, "JOIN ... USING (%s) does not give a key", name);
        }
        struct sql_relation *relation = &join->right.relations[0];
        for (uint32_t f = 0; f < relation->count; f++) {
            bool same = strcmp(relation->fields[f].name, name) == 0;
            relation->fields[f].merged = relation->fields[f].merged || same;
        }
    }
    return 0;
}

/* ---- Time: right.valid_from <= left.at. */

/* The names in both mean one thing each, seen from behind the join. */
static bool binds_behind(struct sql *sql, const struct join *join, const json_t *a, const json_t *b)
{
    struct sql_scope *both = arena_alloc(&sql->temp, sizeof *both);
    *both = *join->scope;
    if (both->relation_count < SQL_RELATIONS_MAX) {
        both->relations[both->relation_count++] = join->right.relations[0];
    }
    return bind_quietly(sql, both, a) != NULL && bind_quietly(sql, both, b) != NULL;
}

static bool is_time(enum kappa_type type)
{
    return type == KAPPA_TYPE_DATE || type == KAPPA_TYPE_TIMESTAMP ||
           type == KAPPA_TYPE_TIMESTAMPTZ;
}

/* Is `early` a time of the right side, and `late` one of the left side? Then the join is by them. */
static int time_pair(struct sql *sql, struct join *join, const json_t *early, const json_t *late,
                     bool before)
{
    struct expr_node *left = bind_quietly(sql, join->scope, late);
    struct expr_node *right = bind_quietly(sql, &join->right, early);
    if (left == NULL || right == NULL || left->constant_only || right->constant_only ||
        !is_time(left->type) || !is_time(right->type) || !binds_behind(sql, join, early, late)) {
        return 0;
    }
    if (join->right_time != NULL) {
        int rc = sql_error(sql, sql_place(early),
                           "a join by two times of the right side: its history has one order");
        err_hint(sql->err, "keep the time from which a row is valid, and write the other condition "
                           "into WHERE");
        return rc;
    }
    struct expr_node *both[] = {left, right};
    enum kappa_type type = sql_common_type(sql, both, 2, "JOIN");
    join->left_time = sql_coerce(sql, left, type);
    join->right_time = sql_coerce(sql, right, type);
    join->before = before;
    return join->left_time == NULL || join->right_time == NULL ? -KE_SQL : 1;
}

/* 1 a condition on time, 0 another one, negative. */
static int take_time(struct sql *sql, struct join *join, const json_t *body)
{
    const json_t *a = json_object_get(body, "lexpr");
    const json_t *b = json_object_get(body, "rexpr");
    if (sql_is(body, "kind", "AEXPR_BETWEEN")) {
        const json_t *from = json_array_get(json_object_get(sql_body(b, "List"), "items"), 0);
        int rc = time_pair(sql, join, from, a, false);
        return rc < 0 ? rc : 0; /* its end is a condition like others */
    }
    const char *name = sql_name(json_object_get(body, "name"), 0);
    if (!sql_is(body, "kind", "AEXPR_OP") || name == NULL) {
        return 0;
    }
    bool before = strcmp(name, "<") == 0;
    bool behind = strcmp(name, ">") == 0;
    if (before || strcmp(name, "<=") == 0) {
        return time_pair(sql, join, a, b, before);
    }
    return behind || strcmp(name, ">=") == 0 ? time_pair(sql, join, b, a, behind) : 0;
}

/* ---- Conditions. */

static int take_condition(struct sql *sql, struct join *join, const json_t *node)
{
    const json_t *body = sql_body(node, "A_Expr");
    bool equals = body != NULL && sql_is(body, "kind", "AEXPR_OP") &&
                  strcmp(sql_name(json_object_get(body, "name"), 0), "=") == 0;
    const json_t *a = json_object_get(body, "lexpr");
    const json_t *b = json_object_get(body, "rexpr");
    if (join->key_count == LIMIT_JOIN_KEYS || join->rest_count == LIMIT_JOIN_KEYS) {
        return sql_error(sql, sql_place(node), "a join with more than %d conditions",
                         LIMIT_JOIN_KEYS);
    }
    if (equals && (key_pair(sql, join, a, b) || key_pair(sql, join, b, a))) {
        return 0;
    }
    int rc = body == NULL ? 0 : take_time(sql, join, body);
    if (rc == 0) {
        join->rest[join->rest_count++] = node;
    }
    return rc < 0 ? rc : 0;
}

static int take_conditions(struct sql *sql, struct join *join, const json_t *quals)
{
    const json_t *logic = sql_body(quals, "BoolExpr");
    if (logic == NULL || !sql_is(logic, "boolop", "AND_EXPR")) {
        return take_condition(sql, join, quals);
    }
    size_t i;
    json_t *node;
    json_array_foreach (json_object_get(logic, "args"), i, node) {
        if (take_condition(sql, join, node) != 0) {
            return -KE_SQL;
        }
    }
    return 0;
}

/* ---- The operator. */

static bool holds_column(const struct join *join, struct expr_node *const *keys, uint32_t column)
{
    for (uint32_t k = 0; k < join->key_count; k++) {
        if (keys[k]->kind == EXPR_NODE_INPUT && keys[k]->index == column) {
            return true;
        }
    }
    return false;
}

/* The columns of the right side as the operator gives them. */
static int outputs_add(struct sql *sql, struct join *join, struct sql_phase *phase,
                       struct sql_relation *out)
{
    struct sql_select *select = join->select;
    const struct sql_relation *from = &join->right.relations[0];
    uint32_t own = sql->inputs[select->input].column_count + 2;
    *out = (struct sql_relation){.alias = from->alias};
    out->fields = arena_calloc(&sql->temp, sizeof *out->fields * ((size_t)from->count + 1));
    phase->values =
        arena_calloc(&sql->temp, sizeof(struct expr_node *) * ((size_t)from->count + 1));
    phase->outs = arena_calloc(&sql->temp, sizeof *phase->outs * ((size_t)from->count + 1));
    for (uint32_t i = 0; i < from->count; i++) {
        if (from->fields[i].hidden) {
            continue;
        }
        if (select->operator_count == SQL_OPERATORS_MAX) {
            return sql_error(sql, -1, "joins and window functions give more than %d columns",
                             SQL_OPERATORS_MAX);
        }
        struct expr_node *value = from->fields[i].node;
        select->operator_types[select->operator_count] = value->type;
        uint32_t index = own + select->operator_count++;
        phase->values[phase->value_count] = value;
        phase->outs[phase->value_count++] = index;
        out->fields[out->count++] =
            (struct sql_field){.name = from->fields[i].name,
                               .node = sql_input(sql, select, index, value->place),
                               .merged = from->fields[i].merged};
    }
    return 0;
}

static int phase_add(struct sql *sql, struct join *join, int place)
{
    struct sql_select *select = join->select;
    struct plan_input *input = &sql->inputs[select->input];
    if (select->phase_count == SQL_PHASES_MAX || join->scope->relation_count == SQL_RELATIONS_MAX) {
        return sql_error(sql, place, "more than %d joins and windows in one query", SQL_PHASES_MAX);
    }
    struct sql_phase *phase = &select->phases[select->phase_count++];
    *phase = (struct sql_phase){.kind = PLAN_LOOKUP,
                                .where = select->where,
                                .right_where = join->right_where,
                                .inner = join->inner,
                                .left_time = join->left_time,
                                .right_time = join->right_time,
                                .before = join->before,
                                .key_count = join->key_count};
    size_t bytes = sizeof(struct expr_node *) * join->key_count;
    phase->keys = arena_alloc(&sql->temp, bytes);
    phase->right_keys = arena_alloc(&sql->temp, bytes);
    memcpy(phase->keys, join->left_keys, bytes);
    memcpy(phase->right_keys, join->right_keys, bytes);
    select->where = NULL;
    select->phase_open = select->phase_count;
    bool together = input->keyed && holds_column(join, join->left_keys, input->key_column) &&
                    holds_column(join, join->right_keys, input->key_column);
    input->one_partition = input->one_partition || !together;
    struct sql_relation *out = &join->scope->relations[join->scope->relation_count];
    if (outputs_add(sql, join, phase, out) != 0) {
        return -KE_SQL;
    }
    join->scope->relation_count++;
    return 0;
}

/* A condition of LEFT JOIN besides the keys: where it is not true the columns of the right side are null. */
static int left_condition(struct sql *sql, struct sql_scope *scope, const json_t *node)
{
    struct sql_scope inner = *scope;
    inner.clause = "JOIN";
    inner.windows_allowed = false;
    struct expr_node *condition = sql_bind_boolean(sql, &inner, node, "JOIN");
    const struct sql_relation *right = &scope->relations[scope->relation_count - 1];
    for (uint32_t i = 0; condition != NULL && i < right->count; i++) {
        struct expr_node *value = right->fields[i].node;
        struct expr_node *chosen =
            expr_node_call(&sql->pool, expr_case, value->type, value->place, 3);
        chosen->modifier = value->modifier;
        chosen->args[0] = condition;
        chosen->args[1] = value;
        chosen->args[2] = sql_null(sql, value->type, value->place);
        right->fields[i].node = expr_pool_assign(&sql->pool, chosen);
    }
    return condition == NULL ? -KE_SQL : 0;
}

static int names_check(struct sql *sql, const struct join *join, int place)
{
    const char *alias = join->right.relations[0].alias;
    for (uint32_t r = 0; r < join->scope->relation_count; r++) {
        if (strcmp(join->scope->relations[r].alias, alias) == 0) {
            int rc = sql_error(sql, place, "table name \"%s\" specified more than once", alias);
            err_hint(sql->err, "give one of them another name with AS");
            return rc;
        }
    }
    return 0;
}

int sql_join(struct sql *sql, struct sql_select *select, const json_t *body,
             struct sql_scope *scope)
{
    static const char *const allowed[] = {"jointype", "larg", "rarg", "quals", "usingClause", NULL};
    const json_t *names = json_object_get(body, "usingClause");
    const json_t *quals = json_object_get(body, "quals");
    const json_t *right = json_object_get(body, "rarg");
    int place = sql_place(right);
    struct join *join = arena_calloc(&sql->temp, sizeof *join);
    join->select = select;
    join->scope = scope;
    join->inner = sql_is(body, "jointype", "JOIN_INNER");
    if (json_is_true(json_object_get(body, "isNatural"))) {
        return sql_error(sql, place,
                         "not supported yet: NATURAL JOIN: name the columns, USING (k)");
    }
    if (sql_only(sql, body, allowed) != 0 ||
        sql_from_item(sql, select, json_object_get(body, "larg"), scope) != 0) {
        return -KE_SQL;
    }
    if (!join->inner && !sql_is(body, "jointype", "JOIN_LEFT")) {
        int rc = sql_error(sql, place, "not supported yet: RIGHT and FULL joins");
        err_hint(sql->err,
                 "each row of the left side looks for one on the right: JOIN or LEFT JOIN");
        return rc;
    }
    if (join->inner && select->top != NULL) {
        int rc = sql_error(sql, place,
                           "not supported yet: a join that rows leave after they are "
                           "numbered");
        err_hint(sql->err, "join in the subquery, before row_number(), or write LEFT JOIN");
        return rc;
    }
    if (bind_right(sql, join, right) != 0 || names_check(sql, join, place) != 0) {
        return -KE_SQL;
    }
    if (quals == NULL && names == NULL) {
        return sql_error(sql, place, "a join needs ON left.key = right.key");
    }
    if (names != NULL ? take_names(sql, join, names, place) != 0
                      : take_conditions(sql, join, quals) != 0) {
        return -KE_SQL;
    }
    if (join->key_count == 0) {
        return sql_error(sql, sql_place(quals), "a join needs ON left.key = right.key");
    }
    if (phase_add(sql, join, place) != 0) {
        return -KE_SQL;
    }
    for (uint32_t i = 0; i < join->rest_count; i++) {
        int rc = join->inner ? sql_where(sql, select, scope, join->rest[i], "JOIN")
                             : left_condition(sql, scope, join->rest[i]);
        if (rc != 0) {
            return -KE_SQL;
        }
    }
    return 0;
}
