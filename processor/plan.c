/* A definition to a plan: parse, then statement by statement. Own header: plan.h. */
#include "base/limits.h"
#include "processor/policy.h"
#include "processor/sql_format.h"

#include <stdlib.h>
#include <string.h>

/* Where a statement really begins: behind blanks and comments. */
static int skip_comments(const struct sql *sql, int place)
{
    size_t at = (size_t)place;
    while (at < sql->len) {
        const char *text = sql->text + at;
        if (strncmp(text, "--", 2) == 0) {
            const char *end = strchr(text, '\n');
            at = end == NULL ? sql->len : (size_t)(end - sql->text) + 1;
        } else if (strncmp(text, "/*", 2) == 0) {
            const char *end = strstr(text, "*/");
            at = end == NULL ? sql->len : (size_t)(end - sql->text) + 2;
        } else if (strchr(" \t\r\n\v\f", *text) != NULL) {
            at++;
        } else {
            break;
        }
    }
    return at < sql->len ? (int)at : place;
}

/* "CreateIndexStmt" is what a person wrote as some statement we do not have. */
static int statement_refuse(struct sql *sql, const char *kind, const json_t *body)
{
    static const struct {
        const char *kind;
        const char *phrase;
        const char *hint;
    } rows[] = {
        {"SelectStmt", "SELECT by itself",
         "it makes no table; write CREATE MATERIALIZED VIEW name AS SELECT ..."},
        {"CreateTableAsStmt", "CREATE TABLE ... AS",
         "write CREATE MATERIALIZED VIEW name AS SELECT ..."},
        {"CreateForeignTableStmt", "CREATE FOREIGN TABLE",
         "write CREATE TABLE name (column type, ...) WITH (topic='...')"},
        {"DropStmt", "DROP", "a definition says what there is; deploy one without it"},
        {"AlterTableStmt", "ALTER TABLE", "change CREATE TABLE and deploy a new version"},
    };

    for (size_t i = 0; i < array_len(rows); i++) {
        if (strcmp(rows[i].kind, kind) == 0) {
            int rc = sql_error(sql, sql->statement, "not supported yet: %s", rows[i].phrase);
            err_hint(sql->err, "%s", rows[i].hint);
            return rc;
        }
    }
    (void)body;
    int rc = sql_error(sql, sql->statement, "not supported yet: this statement");
    err_hint(sql->err, "a definition holds CREATE TABLE, CREATE MATERIALIZED VIEW, CREATE VIEW, "
                       "INSERT INTO and SET swap.NAME");
    return rc;
}

static int statement_compile(struct sql *sql, const json_t *statement)
{
    int64_t start = json_int(statement, "stmt_location", 0);
    int64_t len = json_int(statement, "stmt_len", 0);
    sql->statement = skip_comments(sql, (int)start);
    sql->statement_end = len == 0 ? (int)sql->len : (int)(start + len);
    const json_t *body = NULL;
    const char *kind = sql_kind(json_object_get(statement, "stmt"), &body);
    if (strcmp(kind, "CreateStmt") == 0) {
        const char *name = json_text(json_object_get(body, "relation"), "relname", "");
        return sql_is_topic(sql, name) ? sql_topic(sql, body) : sql_table(sql, body);
    }
    if (strcmp(kind, "ViewStmt") == 0) {
        return sql_named_view(sql, body);
    }
    if (strcmp(kind, "InsertStmt") == 0) {
        return sql_insert(sql, body);
    }
    if (strcmp(kind, "VariableSetStmt") == 0) {
        return sql_set(sql, body);
    }
    if (strcmp(kind, "CreateTableAsStmt") == 0 && sql_is(body, "objtype", "OBJECT_MATVIEW")) {
        return sql_view(sql, body);
    }
    return statement_refuse(sql, kind, body);
}

/* Views that make tables stand first, then those that write topics; tables: theirs, then states. */
/* Is the name in quotes its JSON? */
static bool is_plain_name(const char *name)
{
    for (; *name != '\0'; name++) {
        if (*name < ' ' || *name > '~' || *name == '"' || *name == '\\') {
            return false;
        }
    }
    return true;
}

/* The names of output columns as readers write them. */
static void outputs_label(struct plan *plan, const struct plan_view *view)
{
    struct plan_output *outputs = (struct plan_output *)(uintptr_t)view->outputs;
    for (uint32_t i = 0; i < view->output_count; i++) {
        size_t len = strlen(outputs[i].name);
        if (is_plain_name(outputs[i].name)) {
            char *label = arena_alloc(&plan->memory, len + PLAN_LABEL_AROUND);
            label[0] = '"';
            memcpy(label + 1, outputs[i].name, len);
            memcpy(label + 1 + len, "\":", 2);
            outputs[i].label = label;
            outputs[i].label_len = u32_from(len + PLAN_LABEL_AROUND);
        }
    }
}

static void plan_finish(struct sql *sql)
{
    struct plan *plan = sql->plan;
    plan->pipeline_count = plan->view_count + sql->topic_view_count;
    struct plan_view *views =
        arena_calloc(&plan->memory, sizeof *views * ((size_t)plan->pipeline_count + 1));
    memcpy(views, sql->views, sizeof *views * plan->view_count);
    memcpy(views + plan->view_count, sql->topic_views, sizeof *views * sql->topic_view_count);
    plan->views = views;
    plan->table_count = plan->view_count + sql->state_count;
    struct plan_table *tables =
        arena_calloc(&plan->memory, sizeof *tables * ((size_t)plan->table_count + 1));
    for (uint32_t i = 0; i < plan->view_count; i++) {
        tables[i] = (struct plan_table){.shape = views[i].shape};
        /* Windows of a hop are put together from many rows: two versions are compared by windows. */
        tables[i].shape.leaves = views[i].window != PLAN_WINDOW_HOP;
    }
    memcpy(tables + plan->view_count, sql->states, sizeof *tables * sql->state_count);
    plan->tables = tables;
    for (uint32_t i = 0; i < plan->plugin_count; i++) {
        sql->plugins[i].table += plan->view_count;
        /* What a plugin makes of a record lies where the record does. */
        if (sql->inputs[LIMIT_INPUTS + i].one_partition) {
            sql->inputs[sql->plugins[i].input].one_partition = true;
        }
    }
    for (uint32_t v = 0; v < plan->pipeline_count; v++) {
        views[v].table = views[v].emits ? views[v].table + plan->view_count : v;
        outputs_label(plan, &views[v]);
        for (uint32_t i = 0; i < views[v].phase_count; i++) {
            struct plan_operator *op = (struct plan_operator *)(uintptr_t)views[v].phases[i].op;
            op->table += plan->view_count;
        }
    }
}

static int definition_compile(struct sql *sql, json_t *tree)
{
    size_t i;
    json_t *statement;
    sql->statements = json_object_get(tree, "stmts");
    json_array_foreach (sql->statements, i, statement) {
        int rc = statement_compile(sql, statement);
        if (rc != 0) {
            return rc;
        }
    }
    if (sql->plan->view_count == 0 && sql->topic_view_count == 0) {
        sql->statement = 0;
        int rc = sql_error(sql, 0, "the definition makes no table");
        err_hint(sql->err, "add CREATE MATERIALIZED VIEW name AS SELECT ...");
        return rc;
    }
    if (sql->plan->view_count + sql->state_count > LIMIT_VIEWS) {
        return sql_error(sql, 0,
                         "the definition keeps more than %d tables, states of operators "
                         "included",
                         LIMIT_VIEWS);
    }
    plan_finish(sql);
    json_t *hashed = sql_without_settings(sql->statements);
    sql->plan->hash = sql_hash(hashed); /* takes the places out: last */
    json_decref(hashed);
    sql_file_hash(sql->plan);
    return 0;
}

int plan_compile(const char *file, const char *text, size_t len, struct plan **out, struct err *err)
{
    return plan_compile_files(file, text, len, NULL, out, err);
}

int plan_compile_files(const char *file, const char *text, size_t len,
                       const struct plan_files *files, struct plan **out, struct err *err)
{
    struct plan *plan = xcalloc(1, sizeof *plan);
    arena_init(&plan->memory);
    struct sql sql = {.file = file, .len = len, .err = err, .plan = plan, .files = files};
    arena_init(&sql.temp);
    plan->text = arena_strndup(&plan->memory, text, len);
    sql.text = plan->text;
    sql.inputs = arena_calloc(&plan->memory, sizeof *sql.inputs * 2 * LIMIT_INPUTS);
    sql.views = arena_calloc(&sql.temp, sizeof *sql.views * LIMIT_VIEWS);
    sql.topic_views = arena_calloc(&sql.temp, sizeof *sql.topic_views * LIMIT_VIEWS);
    sql.states = arena_calloc(&sql.temp, sizeof *sql.states * LIMIT_VIEWS);
    sql.named = arena_calloc(&sql.temp, sizeof *sql.named * LIMIT_VIEWS);
    sql.topics = arena_calloc(&plan->memory, sizeof *sql.topics * LIMIT_VIEWS);
    sql.read_views = arena_calloc(&plan->memory, sizeof *sql.read_views * LIMIT_VIEWS);
    plan->inputs = sql.inputs;
    sql.plugins = arena_calloc(&plan->memory, sizeof *sql.plugins * LIMIT_INPUTS);
    plan->plugins = sql.plugins;
    sql.file_list = arena_calloc(&plan->memory, sizeof *sql.file_list * LIMIT_INPUTS);
    plan->files = sql.file_list;
    plan->topics = sql.topics;
    plan->read_views = sql.read_views;
    sql.settings = arena_calloc(&plan->memory, sizeof *sql.settings * POLICY_SETTINGS);
    plan->settings = sql.settings;
    json_t *tree = sql_parse(&sql);
    int rc = tree == NULL ? -KE_SQL : definition_compile(&sql, tree);
    json_decref(tree);
    arena_free(&sql.temp);
    if (rc != 0) {
        plan_free(plan);
        return rc;
    }
    *out = plan;
    return 0;
}

void plan_free(struct plan *plan)
{
    if (plan == NULL) {
        return;
    }
    arena_free(&plan->memory);
    free(plan);
}

uint32_t plan_view_keyed(const struct plan *plan, const struct plan_view *view)
{
    const struct plan_input *input = &plan->inputs[view->input];
    uint32_t column = 0;
    bool told = input->keyed && view->rows == view->input && view->kind == PLAN_GROUP;
    for (uint32_t k = 0; told && k < view->key_count; k++) {
        if (view->keys[k].role == PLAN_KEY_COLUMN) {
            if (view->keys[k].reg == input->key_column) {
                return column;
            }
            column++;
        }
    }
    return PLAN_NONE;
}
