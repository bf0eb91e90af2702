/* What the parts of the SQL compiler share. Inside of processor/: others use plan.h.
 *
 *     sql_parse.c      text -> parse tree (JSON)          sql_table.c    CREATE TABLE -> plan_input
 *     sql_tree.c       reading the tree, its hash         sql_option.c   WITH (...)
 *     sql_error.c      places, carets, did-you-mean       sql_view.c     CREATE MATERIALIZED VIEW
 *     sql_dialect.c    spellings of other systems         sql_select.c   SELECT, subqueries
 *     sql_type.c       type names, casts, literals        sql_from.c     FROM, tumble
 *     sql_scope.c      what names mean in a query         sql_group.c    GROUP BY, HAVING
 *     sql_bind.c       expressions                        sql_topic.c    INSERT INTO
 *     sql_operator.c, sql_call.c,                         sql_named.c    CREATE VIEW
 *     sql_aggregate.c, sql_over.c: more of them           sql_phase.c    operators between steps
 *     sql_join.c       JOIN within a topic                sql_top.c      first rows of each key
 *     plan.c           the whole definition               sql_plan.c     trees -> plan_view
 *     sql_format.c     how records are read               sql_meta.c     record_key() and its like
 *     sql_file.c       files that lie beside it           sql_set.c      SET: the policy of a deploy
 *
 * Functions that return a pointer return NULL, those that return int a negative code, after having
 * written the error; nothing else is written then. A place is a byte position in the definition.
 * Recursion follows the parse tree and is bounded by LIMIT_SQL_DEPTH. */
#ifndef KAPPA_PROCESSOR_SQL_H
#define KAPPA_PROCESSOR_SQL_H

#include "base/json.h"
#include "base/limits.h"
#include "processor/expr_compile.h"
#include "processor/plan.h"

struct function_row; /* functions.h */

/* One compilation. */
struct sql {
    const char *file; /* for messages */
    const char *text; /* NUL-terminated UTF-8 */
    size_t len;
    struct err *err; /* may be NULL */
    struct plan *plan;
    struct plan_input *inputs; /* of the plan; LIMIT_INPUTS, then those of plugins */
    struct plan_column *columns[2 * LIMIT_INPUTS]; /* of each input */
    struct plan_plugin *plugins;                   /* of the plan; LIMIT_INPUTS */
    struct plan_view *views;                       /* that make tables; LIMIT_VIEWS */
    struct plan_view *topic_views;                 /* INSERT INTO; LIMIT_VIEWS */
    uint32_t topic_view_count;
    struct plan_topic *topics; /* of the plan; LIMIT_VIEWS */
    struct plan_table *states; /* hidden tables, numbered behind those of the views; LIMIT_VIEWS */
    uint32_t state_count;
    struct plan_read_view *read_views; /* of the plan; LIMIT_VIEWS */
    struct plan_setting *settings;     /* of the plan; POLICY_SETTINGS */
    struct sql_named *named;           /* CREATE VIEW; LIMIT_VIEWS */
    uint32_t named_count;
    const struct plan_files *files; /* where texts of files come from; NULL: there are none */
    struct plan_file *file_list;    /* of the plan; LIMIT_INPUTS */
    const json_t *statements;       /* all of the definition */
    struct arena temp;              /* trees; freed with the compilation */
    struct expr_pool pool;          /* nodes of the statement being compiled, in temp */
    int statement;                  /* place of the statement being compiled */
    int statement_end;
    uint32_t depth; /* nesting of the expression being bound */
};

/* ---- sql_error.c */

/* "file:line:col: message", the line, a caret. place -1: the statement. Returns -KE_SQL. */
int sql_error(struct sql *sql, int place, const char *format, ...) printf_like(3, 4);
/* The same, for functions that return pointers. */
void *sql_error_null(struct sql *sql, int place, const char *format, ...) printf_like(3, 4);

/* Length of the well-formed UTF-8 character at bytes, 0 if it is not one. */
size_t sql_character(const char *bytes, size_t left);

/* Finds the candidate that is closest to a word, if any is close. */
struct sql_guess {
    const char *word;
    const char *best; /* NULL: none is close */
    uint32_t distance;
};

struct sql_guess sql_guess_new(const char *word);
void sql_guess_offer(struct sql_guess *guess, const char *candidate);
/* Sets "did you mean ...?" as the hint if there is a guess, else the fallback, if it is not NULL. */
void sql_guess_hint(struct sql *sql, const struct sql_guess *guess, const char *fallback);

/* ---- sql_parse.c, sql_slip.c, sql_dialect.c */

/* A new reference to {"stmts": [...]}. */
json_t *sql_parse(struct sql *sql);
/* Sets a hint when the place of a syntax error looks like a slip that many make. */
bool sql_slip_hint(struct sql *sql, size_t place);
/* Sets a hint when the text around a syntax error is another system's dialect. */
void sql_dialect_hint(struct sql *sql, size_t place);
/* What a function of another system is called here; NULL if it is not known. */
const char *sql_dialect_function(const char *name);

/* ---- sql_tree.c: a node is {"Kind": body}; members that are 0, false or empty are absent */

/* Kind of a node, "" if it is none; *body is its members. */
const char *sql_kind(const json_t *node, const json_t **body);
/* The body of a node of this kind, else NULL. */
const json_t *sql_body(const json_t *node, const char *kind);
bool sql_is(const json_t *body, const char *member, const char *text);
/* Place of a node or body: its own, or the first one inside it; -1 if there is none. */
int sql_place(const json_t *node);
/* Element i of a list of names; NULL if it is not a String. */
const char *sql_name(const json_t *list, size_t i);
/* The last name of a list whose others are the schema pg_catalog; NULL if there is another schema. */
const char *sql_plain_name(const json_t *list);
/* Where the keyword of a part was written: backwards from its place, else forwards. */
int sql_keyword_place(const struct sql *sql, const char *keyword, int place);
/* Refuses members outside `allowed` (a NULL-ended list) as not supported yet. */
int sql_only(struct sql *sql, const json_t *body, const char *const *allowed);
/* Digest of the tree without places. */
struct digest sql_hash(json_t *tree);

/* ---- sql_type.c */

/* A type as written. */
struct sql_type {
    enum kappa_type type;
    int64_t modifier; /* of numeric(p, s): p << 8 | s; else 0 */
};

int sql_type_bind(struct sql *sql, const json_t *type_name, struct sql_type *out);
/* A string literal read as a value of the type. */
struct expr_node *sql_literal(struct sql *sql, struct kappa_text text, enum kappa_type type,
                              int place);
/* Implicit conversion: what function_converts allows, and bare literals. */
struct expr_node *sql_coerce(struct sql *sql, struct expr_node *node, enum kappa_type type);
/* CAST(node AS type). */
struct expr_node *sql_cast(struct sql *sql, struct expr_node *node, struct sql_type type,
                           int place);
/* The type that all nodes convert to, text if all are bare literals; KAPPA_TYPE_NULL and an error in
 * the words "COALESCE types text and integer cannot be matched" when there is none. */
enum kappa_type sql_common_type(struct sql *sql, struct expr_node *const *nodes, uint32_t count,
                                const char *what);

/* ---- sql_bind.c, sql_operator.c, sql_call.c */

/* A column of something in FROM: a name for a row-level expression. */
struct sql_field {
    const char *name;
    struct expr_node *node;
    bool hidden; /* no part of * */
    bool merged; /* by JOIN ... USING: without a qualifier its name means another one */
};

struct sql_relation {
    const char *alias; /* the name that qualifies its columns */
    struct sql_field *fields;
    uint32_t count;
};

#define SQL_RELATIONS_MAX 8

/* What names mean in one place of a query. */
struct sql_scope {
    struct sql_relation relations[SQL_RELATIONS_MAX];
    uint32_t relation_count;
    struct sql_select *select; /* whose rows these are; NULL: there are none (constants) */
    const char *clause;        /* where aggregates are refused: "WHERE"...; NULL where allowed */
    bool in_aggregate;
    bool windows_allowed;             /* f() OVER (...) */
    const json_t *windows;            /* WINDOW clause of the query, or NULL */
    struct sql_aggregate *aggregates; /* of the select */
    uint32_t *aggregate_count;
};

#define SQL_AGGREGATES_MAX  LIMIT_COLUMNS
/* Registers of one program: each thread holds a batch of values for every one. */
#define SQL_REGISTERS_MAX   4096
/* Windows and retention: event time plus this stays in range. */
#define SQL_DURATION_MAX_US (INT64_C(36500) * 86400 * 1000000)

struct sql_aggregate {
    enum plan_aggregate_kind kind;
    enum kappa_type result_type;
    struct expr_node *argument;   /* NULL for count(*) */
    struct expr_node *by;         /* second argument, NULL if there is none */
    struct expr_node *filter;     /* NULL if there is none */
    struct kappa_value parameter; /* constant argument; type KAPPA_TYPE_NULL: none */
};

/* Binds one expression; its type may be KAPPA_TYPE_NULL. */
struct expr_node *sql_bind(struct sql *sql, const struct sql_scope *scope, const json_t *node);
/* Binds a condition; what: "WHERE", "HAVING"... */
struct expr_node *sql_bind_boolean(struct sql *sql, const struct sql_scope *scope,
                                   const json_t *node, const char *what);
/* Binds a list to an array in temp. */
struct expr_node **sql_bind_list(struct sql *sql, const struct sql_scope *scope,
                                 const json_t *list);
struct expr_node *sql_bind_operator(struct sql *sql, const struct sql_scope *scope,
                                    const json_t *body);
struct expr_node *sql_bind_call(struct sql *sql, const struct sql_scope *scope, const json_t *body);
/* ---- sql_function.c */

/* A call of a row of functions.def, arguments converted. */
struct expr_node *sql_function_call(struct sql *sql, const struct function_row *row,
                                    struct expr_node *const *args, uint32_t count, int place);
/* The error of a call that no row of functions.def fits; NULL. */
struct expr_node *sql_function_missing(struct sql *sql, const char *name,
                                       struct expr_node *const *args, uint32_t count, int place);
/* ---- sql_aggregate.c */
struct expr_node *sql_bind_aggregate(struct sql *sql, const struct sql_scope *scope,
                                     const json_t *body, const char *name);
extern const char *const sql_aggregate_members[]; /* that a call may have, for sql_only */
/* name(...) OVER (...): sql_over.c */
struct expr_node *sql_bind_over(struct sql *sql, const struct sql_scope *scope, const json_t *body,
                                const char *name);
/* sql_top.c: row_number() by another order than event time. order: of the window. */
struct expr_node *sql_bind_top(struct sql *sql, const struct sql_scope *scope, const json_t *order,
                               struct expr_node **keys, uint32_t key_count, int place);
/* One condition of the WHERE around it. */
int sql_top_where(struct sql *sql, struct sql_select *select, const struct sql_scope *scope,
                  const json_t *condition);
int sql_top_check(struct sql *sql, const struct sql_select *select);
/* A query over a table with a primary key. */
int sql_upsert(struct sql *sql, struct sql_select *select);
void sql_top_add(struct sql *sql, const struct sql_select *select, struct expr_builder *builder,
                 struct plan_view *view);
void sql_top_outputs(struct sql *sql, const struct sql_select *select, struct plan_view *view);
/* sql_array.c: ARRAY[...], array[n], x op ANY (array) or ALL. */
struct expr_node *sql_bind_array(struct sql *sql, const struct sql_scope *scope,
                                 const json_t *body);
struct expr_node *sql_bind_subscript(struct sql *sql, const struct sql_scope *scope,
                                     const json_t *body);
struct expr_node *sql_bind_any(struct sql *sql, const struct sql_scope *scope,
                               enum expr_order order, const json_t *body, bool any);
/* a op b for = <> < <= > >=, operands converted. */
struct expr_node *sql_compare(struct sql *sql, enum expr_order order, struct expr_node *left,
                              struct expr_node *right, int place);
struct expr_node *sql_null(struct sql *sql, enum kappa_type type, int place);
struct expr_node *sql_text_constant(struct sql *sql, struct kappa_text text, int place);

/* ---- sql_meta.c */

/* Is this record_key, record_header...? */
bool sql_is_meta(const char *name);
struct expr_node *sql_bind_meta(struct sql *sql, const struct sql_scope *scope, const json_t *call,
                                const char *name);

/* ---- sql_table.c, sql_option.c */

/* One option of WITH (...) as read; value NULL: not given. */
struct sql_option {
    const char *name;
    const char *value;
    int place;
};

int sql_table(struct sql *sql, const json_t *body);
/* Reads the column definitions into the plan's memory. */
struct plan_column *sql_columns(struct sql *sql, const json_t *list, const char *table,
                                uint32_t *count);
/* Is this a name for a topic? NULL: no, and an error. */
const char *sql_topic_name(struct sql *sql, const struct sql_option *option, const char *table);
/* The name of something to make, free and well-formed. */
const char *sql_new_name(struct sql *sql, const json_t *range);

/* Reads WITH (...) into the options of this list, by name. */
int sql_options(struct sql *sql, const json_t *list, struct sql_option *options, uint32_t count);
int sql_option_duration(struct sql *sql, const struct sql_option *option, int64_t *us);

/* ---- sql_set.c */

int sql_set(struct sql *sql, const json_t *body);
/* The statements that rows depend on: a new reference. */
json_t *sql_without_settings(const json_t *statements);

/* ---- sql_scope.c */

/* Finds a column by name; qualifier may be NULL. NULL and an error when there is none, or several. */
struct expr_node *sql_field_find(struct sql *sql, const struct sql_scope *scope,
                                 const char *qualifier, const char *name, int place);
/* The expression of a field as referred to at this place, for messages. */
struct expr_node *sql_field_at(struct sql *sql, const struct sql_scope *scope,
                               struct expr_node *node, int place);
bool sql_field_exists(const struct sql_scope *scope, const char *name);
/* The name of a row-level expression in the scope; NULL if none of its columns is just this. */
const char *sql_field_name(const struct sql_scope *scope, const struct expr_node *node,
                           const char **alias);
/* A row-level input of the select: a column of its table, or behind them window_start, window_end,
 * and what operators write. */
struct expr_node *sql_input(struct sql *sql, const struct sql_select *select, uint32_t index,
                            int place);
/* The columns of the select's input. */
struct sql_relation sql_relation_of_input(struct sql *sql, const struct sql_select *select,
                                          const char *alias, int place);

/* ---- sql_select.c, sql_view.c, sql_from.c, sql_group.c */

struct sql_target {
    const char *name;
    int place;
    struct expr_node *node; /* typed; after sql_group_check over keys and aggregates */
};

/* A window function while it is compiled. */
struct sql_over {
    struct plan_over over;
    struct expr_node *otherwise; /* lag's default, or NULL */
};

/* WHERE, then an operator. */
struct sql_phase {
    enum plan_operator_kind kind;
    struct expr_node *where; /* or NULL */
    struct expr_node **keys;
    uint32_t key_count;
    struct expr_node **values; /* kept: with a row (LIMIT_OVER_VALUES), or of the right side */
    uint32_t value_count;
    /* PLAN_LOOKUP */
    struct expr_node *right_where; /* or NULL */
    struct expr_node **right_keys;
    uint32_t *outs; /* row-level inputs that stand for the values */
    bool inner;
    struct expr_node *left_time; /* of a join by time: with right_time, of one type; or NULL */
    struct expr_node *right_time;
    bool before; /* right_time < left_time, else <= */
    /* PLAN_OVER */
    bool by_time;
    struct sql_over *overs; /* LIMIT_OVER_VALUES */
    uint32_t over_count;
};

struct sql_order {
    struct expr_node *node;
    bool descending;
};

/* The first rows of each key: sql_top.c. */
struct sql_top {
    struct expr_node **keys;
    uint32_t key_count;
    struct sql_order *order;
    uint32_t order_count;
    uint32_t number; /* row-level input that stands for the row's number */
    uint32_t limit;  /* 0 until WHERE has said it */
    bool upsert;     /* the rows of a table with a primary key, not numbered ones */
    int place;
};

#define SQL_PHASES_MAX    8
#define SQL_OPERATORS_MAX LIMIT_COLUMNS /* registers that operators write, in one view */

/* One pipeline while it is compiled: the query and the subqueries in its FROM, which all work on rows
 * of the same input. */
struct sql_select {
    uint32_t input; /* PLAN_NONE until FROM has found it */
    enum plan_window_kind window;
    int window_place;  /* of the function behind FROM */
    int64_t window_us; /* 0 without windows; of session the gap */
    int64_t slide_us;
    int64_t window_offset_us;
    struct sql_phase phases[SQL_PHASES_MAX];
    uint32_t phase_count;
    uint32_t phase_open;     /* operators from here on may take more functions of this SELECT */
    struct expr_node *where; /* behind the last phase; or NULL */
    enum kappa_type operator_types[SQL_OPERATORS_MAX];
    uint32_t operator_count;    /* registers written by operators */
    struct sql_top *top;        /* or NULL */
    struct sql_scope scope;     /* of the outermost query */
    struct sql_target *targets; /* LIMIT_COLUMNS */
    uint32_t target_count;
    struct expr_node *having; /* or NULL; after sql_group_check over keys and aggregates */
    struct expr_node **keys;  /* GROUP BY, without repetitions */
    uint32_t key_count;
    bool grouped; /* GROUP BY, HAVING or an aggregate */
    struct sql_aggregate aggregates[SQL_AGGREGATES_MAX];
    uint32_t aggregate_count;
};

int sql_view(struct sql *sql, const json_t *body);
/* Binds a whole SELECT. literals: bare literals stay of type NULL in the targets, for who knows their
 * type; else they are texts. */
struct sql_select *sql_select_bind(struct sql *sql, const json_t *query, bool literals);
/* A SELECT in FROM: its rows go on in the same pipeline, its columns become a relation. */
int sql_subquery(struct sql *sql, struct sql_select *select, const json_t *query, const char *alias,
                 struct sql_relation *out);
/* FROM: fills the scope's relations, and the input and window of the select. */
int sql_from(struct sql *sql, struct sql_select *select, const json_t *list,
             struct sql_scope *scope);
/* A table to read, or a CREATE VIEW over one. */
int sql_relation_bind(struct sql *sql, struct sql_select *select, const char *name, int place,
                      const char *alias, struct sql_relation *out);
/* One item of it: a relation, or a join of several. */
int sql_from_item(struct sql *sql, struct sql_select *select, const json_t *node,
                  struct sql_scope *scope);
/* JOIN: sql_join.c. */
int sql_join(struct sql *sql, struct sql_select *select, const json_t *body,
             struct sql_scope *scope);
/* FROM plugin(...): sql_plugin.c. */
int sql_plugin(struct sql *sql, struct sql_select *select, const json_t *args,
               const json_t *columns_json, const char *alias, int place, struct sql_relation *out);
/* The topic that rows come from: themselves, or what their plugin reads. */
uint32_t sql_rows_input(const struct sql *sql, uint32_t rows);
/* One more condition on the rows of the select; clause: "WHERE"... */
int sql_where(struct sql *sql, struct sql_select *select, const struct sql_scope *scope,
              const json_t *condition, const char *clause);
/* PostgreSQL's name of a column without AS. */
const char *sql_figure_name(const json_t *node);
/* Resolves GROUP BY; needs the targets. */
int sql_group_bind(struct sql *sql, struct sql_select *select, const json_t *list);
/* Rewrites targets and HAVING over keys and aggregates: inputs are then the keys in order, then the
 * aggregates. Refuses columns that are neither. */
int sql_group_check(struct sql *sql, struct sql_select *select);
/* What follows the rows of these keys sees one partition: the message key must keep them together, or
 * the topic have only one, which the deploy checks. */
void sql_keys_together(struct sql *sql, uint32_t input, struct expr_node *const *keys,
                       uint32_t count);
enum plan_key_role sql_key_role(const struct sql *sql, const struct sql_select *select,
                                const struct expr_node *key);

/* ---- sql_window.c: tumble, hop, session */

bool sql_is_window(const char *name);
/* name(args) behind FROM: the window of the select, and the relation with window_start and
 * window_end. */
int sql_window(struct sql *sql, struct sql_select *select, const char *name, const json_t *args,
               int place, struct sql_relation *out);
/* Into the view, whose keys are there. read_by_rows: the row program reads window_start or
 * window_end. */
int sql_window_plan(struct sql *sql, const struct sql_select *select, bool read_by_rows,
                    struct plan_view *view);

/* WITH (...) of a materialized view. */
struct sql_view_options {
    int64_t retain_us; /* INT64_MAX: for ever */
    int64_t ttl_us;    /* 0: none */
    bool final_only;
};

int sql_view_options(struct sql *sql, const struct sql_select *select, const json_t *list,
                     struct sql_view_options *out);

/* ---- sql_named.c: CREATE VIEW. Over a table to read, it is a name for a subquery; over tables that
 * the definition makes, it is computed when it is read. */

struct sql_named {
    const char *name;
    const json_t *query; /* SelectStmt; NULL: a read-time view */
};

int sql_named_view(struct sql *sql, const json_t *body);
const struct sql_named *sql_named_find(const struct sql *sql, const char *name);

/* ---- sql_topic.c */

/* Is this CREATE TABLE the target of an INSERT INTO of the definition? */
bool sql_is_topic(const struct sql *sql, const char *name);
int sql_topic(struct sql *sql, const json_t *body);
int sql_insert(struct sql *sql, const json_t *body);

/* ---- sql_plan.c: the finished statement into the plan */

int sql_plan_view(struct sql *sql, const struct sql_select *select, const char *name,
                  const struct sql_view_options *options);
/* sql_phase.c: phases come before all other steps; places of steps are known when all are added. */
int sql_phases_add(struct sql *sql, const struct sql_select *select, struct expr_builder *builder,
                   struct plan_view *view);
void sql_phases_finish(const struct expr_builder *builder, struct plan_view *view);
/* All but the registers. */
void sql_plan_aggregate(const struct sql_aggregate *from, struct plan_aggregate *to);
/* INSERT INTO: targets[k] becomes column columns[k] of the topic. Of groups: when their windows are
 * closed. */
int sql_plan_topic(struct sql *sql, const struct sql_select *select, uint32_t topic,
                   const uint32_t *columns);

#endif
