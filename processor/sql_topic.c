/* Topic outputs: CREATE TABLE out (...) WITH (topic=...), and INSERT INTO out SELECT ... Own header:
 * sql.h. */
#include "include/kappa/message.h"
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

bool sql_is_topic(const struct sql *sql, const char *name)
{
    size_t i;
    json_t *statement;
    json_array_foreach (sql->statements, i, statement) {
        const json_t *insert = sql_body(json_object_get(statement, "stmt"), "InsertStmt");
        if (insert != NULL && sql_is(json_object_get(insert, "relation"), "relname", name)) {
            return true;
        }
    }
    return false;
}

/* ---- CREATE TABLE. */

enum {
    OPTION_TOPIC,
    OPTION_FORMAT,
    OPTION_KEY,
    OPTION_HEADERS,
    OPTION_KEEP,
    OPTION_TIME,
    OPTION_MARKS,
    OPTION_IDLE,
    OPTION_COUNT
};

static uint32_t column_find(const struct plan_topic *topic, const char *name, size_t len)
{
    for (uint32_t i = 0; i < topic->column_count; i++) {
        if (strlen(topic->columns[i].name) == len &&
            strncmp(topic->columns[i].name, name, len) == 0) {
            return i;
        }
    }
    return PLAN_NONE;
}

static int column_missing(struct sql *sql, const struct plan_topic *topic,
                          const struct sql_option *option, const char *name)
{
    struct sql_guess guess = sql_guess_new(name);
    for (uint32_t i = 0; i < topic->column_count; i++) {
        sql_guess_offer(&guess, topic->columns[i].name);
    }
    int rc = sql_error(sql, option->place, "option \"%s\": column \"%.60s\" does not exist",
                       option->name, name);
    sql_guess_hint(sql, &guess, NULL);
    return rc;
}

static int key_set(struct sql *sql, struct plan_topic *topic, const struct sql_option *option)
{
    topic->key = PLAN_NONE;
    if (option->value == NULL) {
        return 0;
    }
    topic->key = column_find(topic, option->value, strlen(option->value));
    return topic->key == PLAN_NONE ? column_missing(sql, topic, option, option->value) : 0;
}

/* headers='a, b' */
static int headers_set(struct sql *sql, struct plan_topic *topic, const struct sql_option *option)
{
    const char *at = option->value == NULL ? "" : option->value;
    uint32_t *headers = arena_calloc(&sql->plan->memory, sizeof *headers * topic->column_count);
    while (*at != '\0') {
        at += strspn(at, " ,");
        size_t len = strcspn(at, " ,");
        if (len == 0) {
            break;
        }
        uint32_t column = column_find(topic, at, len);
        if (column == PLAN_NONE || topic->header_count == topic->column_count) {
            return column_missing(sql, topic, option, arena_strndup(&sql->temp, at, len));
        }
        const char *name = topic->columns[column].name;
        if (strcmp(name, KAPPA_MESSAGE_NAME) == 0) {
            return sql_error(sql, option->place,
                             "option \"headers\": %s is the name that each message gets", name);
        }
        if (strcmp(name, KAPPA_MESSAGE_CORRECTION) == 0) {
            return sql_error(sql, option->place,
                             "option \"headers\": %s says that a message corrects another one",
                             name);
        }
        headers[topic->header_count++] = column;
        at += len;
    }
    topic->headers = headers;
    return 0;
}

/* raw: the one column that is neither key nor header; the only column may be key and value. */
static int value_set(struct sql *sql, struct plan_topic *topic, const struct sql_option *format)
{
    uint32_t found = 0;
    for (uint32_t c = 0; c < topic->column_count; c++) {
        bool other = (c == topic->key && topic->column_count > 1) || c == topic->time;
        for (uint32_t h = 0; h < topic->header_count; h++) {
            other = other || topic->headers[h] == c;
        }
        topic->value = other ? topic->value : c;
        found += other ? 0 : 1;
    }
    if (found == 1) {
        return 0;
    }
    int rc = sql_error(sql, format->place,
                       "format 'raw': the value is one column, and \"%s\" has %u that are neither "
                       "key, header nor time",
                       topic->name, found);
    err_hint(sql->err, "name the others in key='column' and headers='column, ...'");
    return rc;
}

static int format_set(struct sql *sql, struct plan_topic *topic, const struct sql_option *option)
{
    topic->format = "json";
    topic->value = PLAN_NONE;
    if (option->value == NULL || strcmp(option->value, "json") == 0) {
        return 0;
    }
    if (strcmp(option->value, "raw") == 0) {
        topic->format = "raw";
        return value_set(sql, topic, option);
    }
    int rc =
        sql_error(sql, option->place, "not supported yet: writing format \"%.60s\"", option->value);
    err_hint(sql->err, "the formats are 'json', one object a message, and 'raw', one column");
    return rc;
}

/* record_headers: do the messages have the headers of the records that cause them? */
static int keep_set(struct sql *sql, struct plan_topic *topic, const struct sql_option *option)
{
    const char *value = option->value == NULL ? "drop" : option->value;
    topic->keep_headers = strcmp(value, "keep") == 0;
    if (topic->keep_headers || strcmp(value, "drop") == 0) {
        return 0;
    }
    return sql_error(sql, option->place, "option \"record_headers\": it is 'keep' or 'drop'");
}

/* time='column' */
static int time_set(struct sql *sql, struct plan_topic *topic, const struct sql_option *option)
{
    topic->time = PLAN_NONE;
    if (option->value == NULL) {
        return 0;
    }
    topic->time = column_find(topic, option->value, strlen(option->value));
    if (topic->time == PLAN_NONE) {
        return column_missing(sql, topic, option, option->value);
    }
    enum kappa_type type = topic->columns[topic->time].type;
    if (type == KAPPA_TYPE_TIMESTAMPTZ) {
        return 0;
    }
    int rc = sql_error(sql, option->place, "option \"time\": column \"%s\" is of type %s",
                       option->value, function_type_name(type));
    err_hint(sql->err, "declare it as timestamptz");
    return rc;
}

/* marks='on', idle='30 s' */
static int marks_set(struct sql *sql, struct plan_topic *topic, const struct sql_option *marks,
                     const struct sql_option *idle)
{
    const char *value = marks->value == NULL ? "off" : marks->value;
    topic->idle_us = -1;
    topic->marks = strcmp(value, "on") == 0;
    if (!topic->marks && strcmp(value, "off") != 0) {
        return sql_error(sql, marks->place, "option \"marks\": it is 'on' or 'off'");
    }
    if (idle->value == NULL) {
        return 0;
    }
    if (!topic->marks) {
        int rc = sql_error(sql, idle->place, "option \"idle\" needs option \"marks\"");
        err_hint(sql->err, "add marks='on': marks say which time has passed, and pass by "
                           "partitions that have been silent for so long");
        return rc;
    }
    return sql_option_duration(sql, idle, &topic->idle_us);
}

/* The columns without their NOT NULL, which are noted: *marks has one per element. */
static json_t *split_not_null(struct sql *sql, const json_t *elements, bool **marks)
{
    json_t *list = json_deep_copy(elements);
    size_t i;
    json_t *element;
    *marks = arena_calloc(&sql->plan->memory, json_array_size(list) + 1);
    json_array_foreach (list, i, element) {
        json_t *column = json_object_get(element, "ColumnDef");
        json_t *constraints = json_object_get(column, "constraints");
        for (size_t k = json_array_size(constraints); k-- > 0;) {
            const json_t *constraint = sql_body(json_array_get(constraints, k), "Constraint");
            if (constraint != NULL && sql_is(constraint, "contype", "CONSTR_NOTNULL")) {
                (*marks)[i] = true;
                json_array_remove(constraints, k);
            }
        }
        if (constraints != NULL && json_array_size(constraints) == 0) {
            json_object_del(column, "constraints");
        }
    }
    return list;
}

static int columns_set(struct sql *sql, struct plan_topic *topic, const json_t *elements)
{
    bool *marks;
    json_t *list = split_not_null(sql, elements, &marks);
    topic->columns = sql_columns(sql, list, topic->name, &topic->column_count);
    topic->not_null = marks;
    json_decref(list);
    return topic->columns == NULL ? -KE_SQL : 0;
}

int sql_topic(struct sql *sql, const json_t *body)
{
    static const char *const allowed[] = {"relation", "tableElts", "options", "oncommit", NULL};
    if (sql_only(sql, body, allowed) != 0) {
        return -KE_SQL;
    }
    if (sql->plan->topic_count == LIMIT_VIEWS) {
        return sql_error(sql, -1, "more than %d topics to write", LIMIT_VIEWS);
    }
    struct sql_option options[OPTION_COUNT] = {
        [OPTION_TOPIC] = {"topic", NULL, -1},
        [OPTION_FORMAT] = {"format", NULL, -1},
        [OPTION_KEY] = {"key", NULL, -1},
        [OPTION_HEADERS] = {"headers", NULL, -1},
        [OPTION_KEEP] = {"record_headers", NULL, -1},
        [OPTION_TIME] = {"time", NULL, -1},
        [OPTION_MARKS] = {"marks", NULL, -1},
        [OPTION_IDLE] = {"idle", NULL, -1},
    };
    struct plan_topic *topic = &sql->topics[sql->plan->topic_count];
    topic->name = sql_new_name(sql, json_object_get(body, "relation"));
    if (topic->name == NULL) {
        return -KE_SQL;
    }
    if (columns_set(sql, topic, json_object_get(body, "tableElts")) != 0 ||
        sql_options(sql, json_object_get(body, "options"), options, OPTION_COUNT) != 0) {
        return -KE_SQL;
    }
    topic->topic = sql_topic_name(sql, &options[OPTION_TOPIC], topic->name);
    if (topic->topic == NULL || key_set(sql, topic, &options[OPTION_KEY]) != 0 ||
        headers_set(sql, topic, &options[OPTION_HEADERS]) != 0 ||
        time_set(sql, topic, &options[OPTION_TIME]) != 0 ||
        marks_set(sql, topic, &options[OPTION_MARKS], &options[OPTION_IDLE]) != 0 ||
        format_set(sql, topic, &options[OPTION_FORMAT]) != 0 ||
        keep_set(sql, topic, &options[OPTION_KEEP]) != 0) {
        return -KE_SQL;
    }
    sql->plan->topic_count++;
    return 0;
}

/* ---- INSERT INTO. */

static uint32_t topic_find(const struct sql *sql, const char *name)
{
    for (uint32_t i = 0; i < sql->plan->topic_count; i++) {
        if (strcmp(sql->topics[i].name, name) == 0) {
            return i;
        }
    }
    return PLAN_NONE;
}

/* The column list, or all columns in order. */
static int insert_columns(struct sql *sql, const struct plan_topic *topic, const json_t *list,
                          uint32_t *columns, uint32_t *count)
{
    size_t i;
    json_t *element;
    *count = 0;
    if (list == NULL) {
        for (; *count < topic->column_count; (*count)++) {
            columns[*count] = *count;
        }
        return 0;
    }
    json_array_foreach (list, i, element) {
        static const char *const allowed[] = {"name", NULL};
        const json_t *target = sql_body(element, "ResTarget");
        const char *name = json_text(target, "name", "");
        uint32_t column = column_find(topic, name, strlen(name));
        if (sql_only(sql, target, allowed) != 0) {
            return -KE_SQL;
        }
        if (column == PLAN_NONE) {
            return sql_error(sql, sql_place(target),
                             "column \"%s\" of relation \"%s\" does not exist", name, topic->name);
        }
        for (uint32_t k = 0; k < *count; k++) {
            if (columns[k] == column) {
                return sql_error(sql, sql_place(target), "column \"%s\" specified more than once",
                                 name);
            }
        }
        columns[(*count)++] = column;
    }
    return 0;
}

/* Gives each target the type of its column. */
static int targets_convert(struct sql *sql, struct sql_select *select,
                           const struct plan_topic *topic, const uint32_t *columns, uint32_t count)
{
    if (select->target_count != count) {
        return sql_error(sql, select->targets[0].place,
                         "INSERT has %s expressions than target columns",
                         select->target_count > count ? "more" : "fewer");
    }
    for (uint32_t k = 0; k < count; k++) {
        struct sql_target *target = &select->targets[k];
        const struct plan_column *column = &topic->columns[columns[k]];
        if (!function_converts(target->node->type, column->type)) {
            int rc =
                sql_error(sql, target->place,
                          "column \"%s\" is of type %s but expression is of type %s", column->name,
                          function_type_name(column->type), function_type_name(target->node->type));
            err_hint(sql->err, "cast it: CAST(... AS %s)", function_type_name(column->type));
            return rc;
        }
        target->node = sql_coerce(sql, target->node, column->type);
        if (target->node == NULL) {
            return -KE_SQL;
        }
    }
    return 0;
}

/* Groups become messages when they are final: when their window is closed. */
static int groups_check(struct sql *sql, const struct sql_select *select,
                        const struct plan_topic *topic)
{
    int place = select->targets[0].place;
    bool windowed = false;
    for (uint32_t k = 0; k < select->key_count && select->top == NULL; k++) {
        windowed = windowed || sql_key_role(sql, select, select->keys[k]) != PLAN_KEY_COLUMN;
    }
    if (!windowed) {
        int rc = sql_error(
            sql, place, "%s never final, so INSERT INTO cannot write them",
            select->top != NULL && select->top->upsert ? "rows of a table with a PRIMARY KEY are"
            : select->top != NULL                      ? "the first rows of a key are"
                                  : "groups without window_start or window_end in GROUP BY are");
        err_hint(sql->err,
                 "group by the window of tumble(...), hop(...) or session(...): its rows are "
                 "written when it is closed; or write CREATE MATERIALIZED VIEW: a table that is "
                 "read");
        return rc;
    }
    if (topic->keep_headers) {
        int rc = sql_error(sql, place,
                           "record_headers='keep' is for messages that a record makes, "
                           "not for groups of records");
        err_hint(sql->err, "leave record_headers out of CREATE TABLE %s", topic->name);
        return rc;
    }
    sql_keys_together(sql, select->input, select->keys, select->key_count);
    return 0;
}

int sql_insert(struct sql *sql, const json_t *body)
{
    static const char *const allowed[] = {"relation", "cols", "selectStmt", "override", NULL};
    const json_t *range = json_object_get(body, "relation");
    const char *name = json_text(range, "relname", "");
    const json_t *query = sql_body(json_object_get(body, "selectStmt"), "SelectStmt");
    if (sql_only(sql, body, allowed) != 0) {
        return -KE_SQL;
    }
    uint32_t index = topic_find(sql, name);
    if (index == PLAN_NONE) {
        int rc = sql_error(sql, sql_place(range), "relation \"%s\" does not exist", name);
        err_hint(sql->err,
                 "declare it above: CREATE TABLE %s (column type, ...) WITH (topic='...')", name);
        return rc;
    }
    if (query == NULL || json_object_get(query, "valuesLists") != NULL) {
        return sql_error(sql, sql_place(body), "INSERT INTO takes a SELECT over a table to read");
    }
    if (sql->topic_view_count == LIMIT_VIEWS) {
        return sql_error(sql, -1, "more than %d INSERT INTO", LIMIT_VIEWS);
    }
    const struct plan_topic *topic = &sql->topics[index];
    uint32_t columns[LIMIT_COLUMNS];
    uint32_t count = 0;
    struct sql_select *select = sql_select_bind(sql, query, true);
    if (select == NULL ||
        insert_columns(sql, topic, json_object_get(body, "cols"), columns, &count) != 0) {
        return -KE_SQL;
    }
    if ((select->grouped || select->top != NULL) && groups_check(sql, select, topic) != 0) {
        return -KE_SQL;
    }
    return targets_convert(sql, select, topic, columns, count) != 0
               ? -KE_SQL
               : sql_plan_topic(sql, select, index, columns);
}
