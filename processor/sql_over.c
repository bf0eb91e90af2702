/* Window functions: f(x) OVER (PARTITION BY key ORDER BY event_time frame). Own header: sql.h.
 *
 * All functions of one SELECT with the same key and order become one operator. Its state is per source:
 * so the rows of a key must be in one partition, which the message key says, or a topic of one
 * partition. */
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

/* PostgreSQL's bits of frameOptions. */
enum {
    FRAME_GIVEN = 0x1,
    FRAME_RANGE = 0x2,
    FRAME_ROWS = 0x4,
    FRAME_GROUPS = 0x8,
    FRAME_START_UNBOUNDED = 0x20,
    FRAME_START_CURRENT = 0x200,
    FRAME_END_CURRENT = 0x400,
    FRAME_START_PRECEDING = 0x800,
    FRAME_END_PRECEDING = 0x1000,
    FRAME_FOLLOWING = 0x80 | 0x100 | 0x2000 | 0x4000,
    FRAME_EXCLUDE_CURRENT = 0x8000,
    FRAME_EXCLUDE_OTHER = 0x10000 | 0x20000
};

#define LAG_MAX 1000

/* The parts of an OVER clause. */
struct window {
    struct expr_node **keys;
    uint32_t key_count;
    bool by_time;
    bool ordered;
    const json_t *frame; /* the body that has the frame */
    const json_t *order;
    int place;
};

/* ---- The clause. */

/* What a window says, with what it takes over from the one it is built upon. */
struct clause {
    const json_t *partition;
    const json_t *order;
    const json_t *frame; /* the body that has it */
};

/* The definition of this name among the first *count of WINDOW; *count: those before it. */
static const json_t *named_window(struct sql *sql, const struct sql_scope *scope, const char *name,
                                  int place, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        const json_t *body = sql_body(json_array_get(scope->windows, i), "WindowDef");
        if (sql_is(body, "name", name)) {
            *count = i;
            return body;
        }
    }
    return sql_error_null(sql, place, "window \"%s\" does not exist", name);
}

static bool has_frame(const json_t *body)
{
    return (json_int(body, "frameOptions", 0) & FRAME_GIVEN) != 0;
}

static int refuse_override(struct sql *sql, const char *what, const char *name, int place)
{
    return sql_error(sql, place, "cannot override %s clause of window \"%s\"", what, name);
}

/* PostgreSQL's rules of OVER (name ...) and WINDOW w AS (name ...): the partition comes from there and
 * is not given again, the order is given in one of the two, the frame is not taken over. */
static int clause_read(struct sql *sql, const struct sql_scope *scope, const json_t *body,
                       int place, size_t count, struct clause *clause)
{
    *clause = (struct clause){.frame = body};
    while (body != NULL) {
        const char *base = json_text(body, "refname", NULL);
        const json_t *partition = json_object_get(body, "partitionClause");
        const json_t *order = json_object_get(body, "orderClause");
        if (json_array_size(order) > 0 && clause->order == NULL) {
            clause->order = order;
        }
        if (base == NULL) {
            clause->partition = partition;
            return 0;
        }
        bool plain = json_array_size(order) == 0 && !has_frame(body);
        const json_t *from = named_window(sql, scope, base, place, &count);
        if (from == NULL) {
            return -KE_SQL;
        }
        if (json_array_size(partition) > 0) {
            return refuse_override(sql, "PARTITION BY", base, place);
        }
        if (json_array_size(order) > 0 &&
            json_array_size(json_object_get(from, "orderClause")) > 0) {
            return refuse_override(sql, "ORDER BY", base, place);
        }
        if (has_frame(from)) {
            int rc = sql_error(sql, place,
                               "cannot copy window \"%s\" because it has a frame clause", base);
            if (plain) {
                err_hint(sql->err, "omit the parentheses: OVER %s", base);
            }
            return rc;
        }
        body = from;
    }
    return -KE_SQL;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static int bind_keys(struct sql *sql, const struct sql_scope *scope, const json_t *list,
                     struct window *window)
{
    struct sql_scope inner = *scope;
    inner.clause = "PARTITION BY";
    inner.windows_allowed = false;
    window->key_count = u32_from(json_array_size(list));
    window->keys = sql_bind_list(sql, &inner, list);
    if (window->keys == NULL) {
        return -KE_SQL;
    }
    for (uint32_t k = 0; k < window->key_count; k++) {
        if (window->keys[k]->type == KAPPA_TYPE_NULL) {
            return sql_error(sql, window->keys[k]->place, "a constant in PARTITION BY");
        }
    }
    return 0;
}

static struct expr_node *refuse_order(struct sql *sql, const struct sql_scope *scope, int place)
{
    const struct plan_input *input = &sql->inputs[scope->select->input];
    (void)sql_error(sql, place, "rows of OVER are ordered by event time, ascending");
    if (input->event_time == PLAN_NONE) {
        err_hint(sql->err,
                 "add event_time='column' to CREATE TABLE %s, or leave ORDER BY out: the "
                 "order is that of the log then",
                 input->name);
    } else {
        err_hint(
            sql->err,
            "write ORDER BY %s; for the first rows by another order use row_number() with WHERE "
            "row_number <= n around it",
            input->columns[input->event_time].name);
    }
    return NULL;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static int bind_order(struct sql *sql, const struct sql_scope *scope, const json_t *list,
                      struct window *window)
{
    if (json_array_size(list) == 0) {
        return 0;
    }
    struct sql_scope inner = *scope;
    inner.clause = "ORDER BY";
    inner.windows_allowed = false;
    const json_t *sort = sql_body(json_array_get(list, 0), "SortBy");
    const json_t *expr = json_object_get(sort, "node");
    const struct expr_node *node = sql_bind(sql, &inner, expr);
    if (node == NULL) {
        return -KE_SQL;
    }
    const struct plan_input *input = &sql->inputs[scope->select->input];
    bool plain =
        sql_is(sort, "sortby_dir", "SORTBY_DEFAULT") || sql_is(sort, "sortby_dir", "SORTBY_ASC");
    window->ordered = true;
    window->by_time = json_array_size(list) == 1 && plain && node->kind == EXPR_NODE_INPUT &&
                      node->index == input->event_time;
    return 0;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static int bind_window(struct sql *sql, const struct sql_scope *scope, const json_t *over,
                       struct window *window)
{
    const char *name = json_text(over, "name", NULL);
    const json_t *body = over;
    size_t count = json_array_size(scope->windows);
    struct clause clause;
    window->place = sql_place(over);
    if (name != NULL) {
        body = named_window(sql, scope, name, window->place, &count);
    }
    if (body == NULL || clause_read(sql, scope, body, window->place, count, &clause) != 0 ||
        bind_keys(sql, scope, clause.partition, window) != 0 ||
        bind_order(sql, scope, clause.order, window) != 0) {
        return -KE_SQL;
    }
    window->frame = clause.frame;
    window->order = clause.order;
    return 0;
}

/* ---- Frames. */

/* The offset of a bound: a number of rows, or an interval. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static int bind_bound(struct sql *sql, const json_t *node, bool rows, int64_t *out)
{
    const struct sql_scope scope = {.clause = "a frame"};
    struct expr_node *bound = sql_bind(sql, &scope, node);
    if (bound != NULL && bound->type == KAPPA_TYPE_NULL) {
        bound = sql_coerce(sql, bound, rows ? KAPPA_TYPE_BIGINT : KAPPA_TYPE_INTERVAL);
    }
    if (bound == NULL) {
        return -KE_SQL;
    }
    bool whole = bound->type == KAPPA_TYPE_INTEGER || bound->type == KAPPA_TYPE_BIGINT;
    if (bound->kind != EXPR_NODE_CONSTANT || bound->constant.is_null || bound->constant.i < 0 ||
        (rows ? !whole : bound->type != KAPPA_TYPE_INTERVAL)) {
        return sql_error(sql, sql_place(node), "%s PRECEDING: %s",
                         rows ? "ROWS n" : "RANGE interval",
                         rows ? "n is a constant whole number, 0 or more"
                              : "write an interval like interval '60 seconds'");
    }
    int64_t most = rows ? INT64_C(1000000) : SQL_DURATION_MAX_US;
    if (bound->constant.i > most) {
        return sql_error(sql, sql_place(node), "the frame is longer than %s",
                         rows ? "1,000,000 rows" : "100 years");
    }
    *out = bound->constant.i;
    return 0;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static int bind_frame(struct sql *sql, const struct window *window, struct plan_frame *frame)
{
    int64_t bits = json_int(window->frame, "frameOptions", 0);
    frame->rows = (bits & FRAME_ROWS) != 0;
    frame->start = PLAN_UNBOUNDED;
    frame->without_current = (bits & FRAME_EXCLUDE_CURRENT) != 0;
    if ((bits & FRAME_FOLLOWING) != 0) {
        int rc = sql_error(sql, window->place,
                           "a frame cannot end behind the current row: those rows "
                           "have not come yet");
        err_hint(sql->err, "end it with CURRENT ROW, or before");
        return rc;
    }
    if ((bits & (FRAME_GROUPS | FRAME_EXCLUDE_OTHER)) != 0) {
        return sql_error(sql, window->place,
                         "not supported yet: GROUPS, EXCLUDE GROUP and EXCLUDE TIES");
    }
    if (!window->ordered && !frame->rows) {
        /* Without ORDER BY all rows are peers: the frame is all of them, up to this one. */
        frame->rows = true;
        return (bits & (FRAME_START_PRECEDING | FRAME_END_PRECEDING)) == 0
                   ? 0
                   : sql_error(sql, window->place,
                               "RANGE with an interval needs ORDER BY event time");
    }
    if ((bits & FRAME_START_CURRENT) != 0) {
        frame->start = 0;
    }
    if ((bits & FRAME_START_PRECEDING) != 0 &&
        bind_bound(sql, json_object_get(window->frame, "startOffset"), frame->rows,
                   &frame->start) != 0) {
        return -KE_SQL;
    }
    if ((bits & FRAME_END_PRECEDING) != 0 &&
        bind_bound(sql, json_object_get(window->frame, "endOffset"), frame->rows, &frame->end) !=
            0) {
        return -KE_SQL;
    }
    return frame->end > frame->start
               ? sql_error(sql, window->place, "the frame ends before it starts")
               : 0;
}

/* ---- The operator. */

static bool same_keys(const struct sql_phase *phase, const struct window *window)
{
    bool same = phase->kind == PLAN_OVER && phase->key_count == window->key_count &&
                phase->by_time == window->by_time;
    for (uint32_t k = 0; same && k < window->key_count; k++) {
        same = phase->keys[k]->id == window->keys[k]->id;
    }
    return same;
}

static struct sql_phase *phase_of(struct sql *sql, struct sql_select *select,
                                  const struct window *window)
{
    for (uint32_t i = select->phase_open; i < select->phase_count; i++) {
        if (same_keys(&select->phases[i], window)) {
            return &select->phases[i];
        }
    }
    if (select->phase_count == SQL_PHASES_MAX || sql->state_count == LIMIT_VIEWS) {
        return sql_error_null(sql, window->place, "more than %d different windows in one query",
                              SQL_PHASES_MAX);
    }
    struct sql_phase *phase = &select->phases[select->phase_count++];
    *phase = (struct sql_phase){.where = select->where,
                                .keys = window->keys,
                                .key_count = window->key_count,
                                .by_time = window->by_time};
    phase->values = arena_calloc(&sql->temp, sizeof(struct expr_node *) * LIMIT_OVER_VALUES);
    phase->overs = arena_calloc(&sql->temp, sizeof *phase->overs * LIMIT_OVER_VALUES);
    select->where = NULL;
    sql_keys_together(sql, select->input, window->keys, window->key_count);
    return phase;
}

/* The index of an expression among the values kept with a row; PLAN_NONE and an error when full. */
static uint32_t value_keep(struct sql *sql, struct sql_phase *phase, struct expr_node *node)
{
    for (uint32_t i = 0; i < phase->value_count; i++) {
        if (phase->values[i]->id == node->id) {
            return i;
        }
    }
    if (phase->value_count == LIMIT_OVER_VALUES) {
        (void)sql_error(sql, node->place, "window functions of one query need more than %d values",
                        LIMIT_OVER_VALUES);
        return PLAN_NONE;
    }
    phase->values[phase->value_count] = node;
    return phase->value_count++;
}

static bool over_equal(const struct sql_over *a, const struct sql_over *b)
{
    const struct plan_over *x = &a->over;
    const struct plan_over *y = &b->over;
    const struct plan_aggregate *m = &x->aggregate;
    const struct plan_aggregate *n = &y->aggregate;
    bool same_default = (a->otherwise == NULL) == (b->otherwise == NULL) &&
                        (a->otherwise == NULL || a->otherwise->id == b->otherwise->id);
    bool same_frame = x->frame.rows == y->frame.rows && x->frame.start == y->frame.start &&
                      x->frame.end == y->frame.end &&
                      x->frame.without_current == y->frame.without_current;
    return x->kind == y->kind && x->value == y->value && x->n == y->n && same_default &&
           same_frame && m->kind == n->kind && m->argument == n->argument &&
           m->filter == n->filter && m->by == n->by && m->by_type == n->by_type &&
           m->parameter.type == KAPPA_TYPE_NULL && n->parameter.type == KAPPA_TYPE_NULL;
}

/* Adds the function, or finds an equal one; its output as an expression. */
static struct expr_node *over_add(struct sql *sql, struct sql_select *select,
                                  struct sql_phase *phase, const struct sql_over *over,
                                  enum kappa_type type, int place)
{
    uint32_t own = sql->inputs[select->input].column_count + 2;
    for (uint32_t i = 0; i < phase->over_count; i++) {
        if (over_equal(&phase->overs[i], over)) {
            return sql_input(sql, select, phase->overs[i].over.out, place);
        }
    }
    if (phase->over_count == LIMIT_OVER_VALUES || select->operator_count == SQL_OPERATORS_MAX) {
        return sql_error_null(sql, place, "more than %d window functions", LIMIT_OVER_VALUES);
    }
    select->operator_types[select->operator_count] = type;
    phase->overs[phase->over_count] = *over;
    phase->overs[phase->over_count].over.out = own + select->operator_count++;
    return sql_input(sql, select, phase->overs[phase->over_count++].over.out, place);
}

/* ---- Functions. */

/* lag(x [, n [, default]]) */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_lag(struct sql *sql, const struct sql_scope *scope,
                                  const json_t *body, struct sql_phase *phase, int place)
{
    struct sql_scope inner = *scope;
    inner.clause = "a window function";
    inner.windows_allowed = false;
    const json_t *list = json_object_get(body, "args");
    uint32_t count = u32_from(json_array_size(list));
    struct expr_node **args = sql_bind_list(sql, &inner, list);
    if (args == NULL) {
        return NULL;
    }
    if (count < 1 || count > 3) {
        return sql_error_null(sql, place,
                              "lag takes a value, perhaps a number of rows and a default");
    }
    struct sql_over over;
    memset(&over, 0, sizeof over);
    over.over.kind = PLAN_OVER_LAG;
    over.over.n = 1;
    over.over.otherwise = PLAN_NONE;
    enum kappa_type type =
        count == 3 ? sql_common_type(sql, (struct expr_node *[]){args[0], args[2]}, 2, "lag")
        : args[0]->type == KAPPA_TYPE_NULL ? KAPPA_TYPE_TEXT
                                           : args[0]->type;
    if (type == KAPPA_TYPE_NULL) {
        return NULL;
    }
    args[0] = sql_coerce(sql, args[0], type);
    if (args[0] == NULL) {
        return NULL;
    }
    if (count > 1) {
        const struct expr_node *n = args[1];
        bool whole =
            n->type == KAPPA_TYPE_INTEGER && n->kind == EXPR_NODE_CONSTANT && !n->constant.is_null;
        if (!whole || n->constant.i < 0 || n->constant.i > LAG_MAX) {
            return sql_error_null(sql, n->place, "lag goes back a constant number of rows, 0 to %d",
                                  LAG_MAX);
        }
        over.over.n = n->constant.i;
    }
    if (count == 3) {
        over.otherwise = sql_coerce(sql, args[2], type);
        if (over.otherwise == NULL) {
            return NULL;
        }
    }
    over.over.value = value_keep(sql, phase, args[0]);
    return over.over.value == PLAN_NONE ? NULL
                                        : over_add(sql, scope->select, phase, &over, type, place);
}

static struct expr_node *bind_row_number(struct sql *sql, const struct sql_scope *scope,
                                         const json_t *body, struct sql_phase *phase, int place)
{
    struct sql_over over;
    memset(&over, 0, sizeof over);
    over.over.kind = PLAN_OVER_ROW_NUMBER;
    if (json_array_size(json_object_get(body, "args")) > 0) {
        return sql_error_null(sql, place, "row_number() takes no argument");
    }
    return over_add(sql, scope->select, phase, &over, KAPPA_TYPE_BIGINT, place);
}

/* last_value(x): the last row of the frame is the current one, or the one n rows before. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_last_value(struct sql *sql, const struct sql_scope *scope,
                                         const json_t *body, const struct window *window,
                                         struct sql_phase *phase)
{
    struct sql_scope inner = *scope;
    int place = sql_place(body);
    inner.clause = "a window function";
    inner.windows_allowed = false;
    const json_t *list = json_object_get(body, "args");
    struct expr_node **args = sql_bind_list(sql, &inner, list);
    if (args == NULL) {
        return NULL;
    }
    if (json_array_size(list) != 1) {
        return sql_error_null(sql, place, "last_value takes one value");
    }
    struct sql_over over;
    memset(&over, 0, sizeof over);
    struct plan_frame frame = {0};
    if (bind_frame(sql, window, &frame) != 0) {
        return NULL;
    }
    if (frame.without_current || (!frame.rows && frame.end > 0) || frame.end > LAG_MAX) {
        (void)sql_error(sql, place, "last_value() over a frame that ends in the past");
        err_hint(sql->err, "write lag(x, n) for the row n rows before, at most %d", LAG_MAX);
        return NULL;
    }
    over.over.kind = PLAN_OVER_LAG;
    over.over.otherwise = PLAN_NONE;
    over.over.n = frame.end;
    enum kappa_type type = args[0]->type == KAPPA_TYPE_NULL ? KAPPA_TYPE_TEXT : args[0]->type;
    args[0] = sql_coerce(sql, args[0], type);
    over.over.value = args[0] == NULL ? PLAN_NONE : value_keep(sql, phase, args[0]);
    return over.over.value == PLAN_NONE ? NULL
                                        : over_add(sql, scope->select, phase, &over, type, place);
}

/* first_value(x): of the row with the earliest time in the frame, null or not; first() skips nulls. Of
 * equal times, or without an order, the one with the smallest offset. */
static int first_row(struct sql *sql, const struct sql_select *select, const struct window *window,
                     struct sql_aggregate *aggregate)
{
    ASSERT(aggregate->kind == PLAN_FIRST);
    aggregate->kind = PLAN_MIN_BY;
    aggregate->by =
        window->by_time
            ? sql_input(sql, select, sql->inputs[select->input].event_time, window->place)
            : sql_text_constant(sql, (struct kappa_text){"", 0}, window->place);
    return aggregate->by == NULL ? -KE_SQL : 0;
}

/* The kept value that stands for a register of the aggregate. */
static int value_index(struct sql *sql, struct sql_phase *phase, struct expr_node *node,
                       uint32_t *index)
{
    *index = node == NULL ? PLAN_NONE : value_keep(sql, phase, node);
    return node != NULL && *index == PLAN_NONE ? -KE_SQL : 0;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
static struct expr_node *bind_aggregate(struct sql *sql, const struct sql_scope *scope,
                                        const json_t *body, const char *name,
                                        const struct window *window, struct sql_phase *phase)
{
    struct sql_aggregate *aggregates =
        arena_calloc(&sql->temp, sizeof *aggregates * SQL_AGGREGATES_MAX);
    uint32_t count = 0;
    struct sql_scope inner = *scope;
    inner.clause = NULL;
    inner.windows_allowed = false;
    inner.aggregates = aggregates;
    inner.aggregate_count = &count;
    bool first_value = strcmp(name, "first_value") == 0;
    const struct expr_node *node =
        sql_bind_aggregate(sql, &inner, body, first_value ? "first" : name);
    struct sql_aggregate *from = &aggregates[0];
    if (node == NULL || (first_value && first_row(sql, scope->select, window, from) != 0)) {
        return NULL;
    }
    struct sql_over over;
    memset(&over, 0, sizeof over);
    over.over.kind = PLAN_OVER_AGGREGATE;
    struct plan_aggregate *to = &over.over.aggregate;
    sql_plan_aggregate(from, to);
    if (bind_frame(sql, window, &over.over.frame) != 0 ||
        value_index(sql, phase, from->argument, &to->argument) != 0 ||
        value_index(sql, phase, from->by, &to->by) != 0 ||
        value_index(sql, phase, from->filter, &to->filter) != 0) {
        return NULL;
    }
    return over_add(sql, scope->select, phase, &over, from->result_type, sql_place(body));
}

static struct expr_node *refuse_function(struct sql *sql, const char *name, int place)
{
    static const struct {
        const char *name;
        const char *hint;
    } others[] = {
        {"lead", "it looks at rows that have not come yet; use lag() from the later row"},
        {"ntile", "it needs all rows; sort and count when reading (kappa sql)"},
        {"percent_rank",
         "it needs all rows; write it in a CREATE VIEW over the table, or in kappa sql"},
        {"cume_dist",
         "it needs all rows; write it in a CREATE VIEW over the table, or in kappa sql"},
        {"rank", "write row_number(), or rank() in a CREATE VIEW over the table"},
        {"dense_rank", "write row_number(), or dense_rank() in a CREATE VIEW over the table"},
        {"nth_value", "write lag(x, n): it counts from the current row back"},
    };

    for (size_t i = 0; i < array_len(others); i++) {
        if (strcmp(others[i].name, name) == 0) {
            (void)sql_error(sql, place, "%s() is no window function here", name);
            err_hint(sql->err, "%s", others[i].hint);
            return NULL;
        }
    }
    return sql_error_null(sql, place,
                          "OVER specified, but %s is not a window function nor an "
                          "aggregate function",
                          name);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_SQL_DEPTH
struct expr_node *sql_bind_over(struct sql *sql, const struct sql_scope *scope, const json_t *body,
                                const char *name)
{
    int place = sql_place(body);
    bool lag = strcmp(name, "lag") == 0;
    bool number = strcmp(name, "row_number") == 0;
    bool last_value = strcmp(name, "last_value") == 0;
    bool first_value = strcmp(name, "first_value") == 0;
    bool aggregate = function_exists(FUNCTION_AGGREGATE, name);
    if (!scope->windows_allowed || scope->in_aggregate) {
        (void)sql_error(sql, place, "window functions are not allowed in %s",
                        scope->in_aggregate     ? "an aggregate"
                        : scope->clause != NULL ? scope->clause
                                                : "a query with GROUP BY or HAVING");
        err_hint(sql->err, "write them in a subquery in FROM");
        return NULL;
    }
    if (!lag && !number && !aggregate && !first_value && !last_value) {
        return refuse_function(sql, name, place);
    }
    if (!aggregate && json_object_get(body, "agg_filter") != NULL) {
        return sql_error_null(sql, place, "FILTER is not implemented for %s", name);
    }
    struct window window = {0};
    if (bind_window(sql, scope, json_object_get(body, "over"), &window) != 0) {
        return NULL;
    }
    if (scope->select->top != NULL) {
        return sql_error_null(sql, place, "window functions over numbered rows, or beside them");
    }
    if (!window.by_time && window.ordered) {
        return number ? sql_bind_top(sql, scope, window.order, window.keys, window.key_count, place)
                      : refuse_order(sql, scope, place);
    }
    struct sql_phase *phase = phase_of(sql, scope->select, &window);
    if (phase == NULL) {
        return NULL;
    }
    return lag          ? bind_lag(sql, scope, body, phase, place)
           : number     ? bind_row_number(sql, scope, body, phase, place)
           : last_value ? bind_last_value(sql, scope, body, &window, phase)
                        : bind_aggregate(sql, scope, body, name, &window, phase);
}
