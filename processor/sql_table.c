/* CREATE TABLE: a topic to read, and the columns of its records. Own header: sql.h. */
#include "processor/functions.h"
#include "processor/sql_format.h"

#include <string.h>

/* Names of tables and topics become paths, URLs and keys. */
static bool is_plain_name(const char *name)
{
    for (const char *c = name; *c != '\0'; c++) {
        bool letter = (*c | 0x20) >= 'a' && (*c | 0x20) <= 'z';
        bool digit = *c >= '0' && *c <= '9';
        if (!letter && !digit && strchr("._-", *c) == NULL) {
            return false;
        }
    }
    return name[0] != '\0' && name[0] != '.' && strlen(name) <= LIMIT_NAME_LEN;
}

static bool name_taken(const struct sql *sql, const char *name)
{
    bool taken = sql_named_find(sql, name) != NULL;
    for (uint32_t i = 0; i < sql->plan->input_count; i++) {
        taken = taken || strcmp(sql->inputs[i].name, name) == 0;
    }
    for (uint32_t i = 0; i < sql->plan->view_count; i++) {
        taken = taken || strcmp(sql->views[i].shape.name, name) == 0;
    }
    for (uint32_t i = 0; i < sql->plan->topic_count; i++) {
        taken = taken || strcmp(sql->topics[i].name, name) == 0;
    }
    return taken;
}

const char *sql_new_name(struct sql *sql, const json_t *range)
{
    static const char *const allowed[] = {"relname", "inh", "relpersistence", NULL};
    int place = sql_place(range);
    const char *name = json_text(range, "relname", "");
    if (sql_only(sql, range, allowed) != 0) {
        return NULL;
    }
    if (!sql_is(range, "relpersistence", "p")) {
        return sql_error_null(sql, place, "not supported yet: TEMPORARY and UNLOGGED tables");
    }
    if (!is_plain_name(name)) {
        return sql_error_null(sql, place,
                              "\"%s\" is no name for a table: letters, digits, \"_\", \"-\" and "
                              "\".\", at most %d",
                              name, LIMIT_NAME_LEN);
    }
    if (name_taken(sql, name)) {
        return sql_error_null(sql, place, "relation \"%s\" already exists", name);
    }
    return arena_strdup(&sql->plan->memory, name);
}

/* ---- Columns. */

static int column_read(struct sql *sql, const json_t *element, struct plan_column *columns,
                       uint32_t count)
{
    static const char *const allowed[] = {"colname", "typeName", "is_local", NULL};
    const json_t *body = sql_body(element, "ColumnDef");
    if (body == NULL) {
        const json_t *other = NULL;
        const char *kind = sql_kind(element, &other);
        bool like = strcmp(kind, "TableLikeClause") == 0;
        return sql_error(sql, sql_place(element), "not supported yet: %s",
                         like ? "LIKE another table" : "constraints");
    }
    const char *name = json_text(body, "colname", "");
    if (sql_only(sql, body, allowed) != 0) {
        return -KE_SQL;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(columns[i].name, name) == 0) {
            return sql_error(sql, sql_place(body), "column \"%s\" specified more than once", name);
        }
    }
    const json_t *type_name = json_object_get(body, "typeName");
    struct sql_type type;
    if (sql_type_bind(sql, type_name, &type) != 0) {
        return -KE_SQL;
    }
    columns[count] = (struct plan_column){.name = arena_strdup(&sql->plan->memory, name),
                                          .type = type.type,
                                          .modifier = type.modifier};
    return 0;
}

struct plan_column *sql_columns(struct sql *sql, const json_t *list, const char *table,
                                uint32_t *count)
{
    size_t size = json_array_size(list);
    if (size == 0) {
        return sql_error_null(sql, -1, "table \"%s\" has no columns", table);
    }
    if (size > LIMIT_COLUMNS) {
        return sql_error_null(sql, sql_place(json_array_get(list, LIMIT_COLUMNS)),
                              "more than %d columns", LIMIT_COLUMNS);
    }
    struct plan_column *columns = arena_calloc(&sql->plan->memory, sizeof *columns * size);
    for (uint32_t i = 0; i < size; i++) {
        if (column_read(sql, json_array_get(list, i), columns, i) != 0) {
            return NULL;
        }
    }
    *count = (uint32_t)size;
    return columns;
}

static int columns_read(struct sql *sql, const json_t *list, uint32_t index)
{
    struct plan_input *input = &sql->inputs[index];
    struct sql_primary primary;
    json_t *columns = sql_primary_split(sql, list, &primary);
    if (columns == NULL) {
        return -KE_SQL;
    }
    sql->columns[index] = sql_columns(sql, columns, input->name, &input->column_count);
    json_decref(columns);
    input->columns = sql->columns[index];
    return input->columns == NULL ? -KE_SQL : sql_primary_set(sql, input, &primary);
}

/* ---- Options. */

enum {
    OPTION_TOPIC,
    OPTION_EVENT_TIME,
    OPTION_WATERMARK,
    OPTION_FROM,
    OPTION_LATENESS,
    OPTION_LATE,
    OPTION_HISTORY,
    OPTION_IDLE,
    OPTION_UNIT,
    OPTION_COUNT
};

const char *sql_topic_name(struct sql *sql, const struct sql_option *option, const char *table)
{
    if (option->value == NULL) {
        return table;
    }
    if (!is_plain_name(option->value)) {
        return sql_error_null(sql, option->place,
                              "\"%.60s\" is no name for a topic: letters, digits, \"_\", \"-\" and "
                              "\".\", at most %d",
                              option->value, LIMIT_NAME_LEN);
    }
    return arena_strdup(&sql->plan->memory, option->value);
}

static int topic_set(struct sql *sql, struct plan_input *input, const struct sql_option *option)
{
    input->topic = sql_topic_name(sql, option, input->name);
    if (input->topic == NULL) {
        return -KE_SQL;
    }
    for (uint32_t i = 0; i < sql->plan->input_count; i++) {
        if (strcmp(sql->inputs[i].topic, input->topic) == 0) {
            (void)sql_error(sql, option->place, "topic \"%s\" is already read by table \"%s\"",
                            input->topic, sql->inputs[i].name);
            err_hint(sql->err,
                     "declare all columns in \"%s\"; CREATE VIEW ... WHERE tells its "
                     "kinds of records apart",
                     sql->inputs[i].name);
            return -KE_SQL;
        }
    }
    return 0;
}

static int event_time_set(struct sql *sql, struct plan_input *input,
                          const struct sql_option *option)
{
    input->event_time = PLAN_NONE;
    if (option->value == NULL) {
        return 0;
    }
    struct sql_guess guess = sql_guess_new(option->value);
    for (uint32_t i = 0; i < input->column_count; i++) {
        if (strcmp(input->columns[i].name, option->value) == 0) {
            input->event_time = i;
        }
        sql_guess_offer(&guess, input->columns[i].name);
    }
    if (input->event_time == PLAN_NONE) {
        int rc = sql_error(sql, option->place,
                           "option \"event_time\": column \"%.60s\" does not "
                           "exist",
                           option->value);
        sql_guess_hint(sql, &guess, NULL);
        return rc;
    }
    enum kappa_type type = input->columns[input->event_time].type;
    if (type != KAPPA_TYPE_TIMESTAMPTZ) {
        int rc = sql_error(sql, option->place, "option \"event_time\": column \"%s\" is of type %s",
                           option->value, function_type_name(type));
        err_hint(sql->err, "declare it as timestamptz; timestamp_unit says what its numbers count");
        return rc;
    }
    return 0;
}

static int unit_set(struct sql *sql, struct plan_input *input, const struct sql_option *option)
{
    static const struct {
        const char *name;
        int64_t num;
        int64_t den;
    } units[] = {{"s", 1000000, 1}, {"ms", 1000, 1}, {"us", 1, 1}, {"ns", 1, 1000}};

    const char *wanted = option->value == NULL ? "ms" : option->value;
    for (size_t i = 0; i < array_len(units); i++) {
        if (strcmp(units[i].name, wanted) == 0) {
            input->timestamp_unit_us_num = units[i].num;
            input->timestamp_unit_us_den = units[i].den;
            return 0;
        }
    }
    int rc =
        sql_error(sql, option->place, "option \"timestamp_unit\": \"%.60s\" is no unit", wanted);
    err_hint(sql->err, "units: 's', 'ms', 'us', 'ns'");
    return rc;
}

static int watermark_set(struct sql *sql, struct plan_input *input, const struct sql_option *option)
{
    input->watermark_us = 0;
    if (option->value == NULL) {
        return 0;
    }
    if (input->event_time == PLAN_NONE) {
        int rc = sql_error(sql, option->place, "option \"watermark\" needs option \"event_time\"");
        err_hint(sql->err, "add event_time='column'");
        return rc;
    }
    return sql_option_duration(sql, option, &input->watermark_us);
}

/* watermark_from: what moves the watermark. */
static int from_set(struct sql *sql, struct plan_input *input, const struct sql_option *option)
{
    const char *value = option->value == NULL ? "events" : option->value;
    input->marked = strcmp(value, "marks") == 0;
    if (!input->marked && strcmp(value, "events") != 0) {
        int rc =
            sql_error(sql, option->place, "option \"watermark_from\": \"%.60s\" is unknown", value);
        err_hint(sql->err, "'events', the default, or 'marks', which `kappa rekey --marks` writes "
                           "into the topic that it makes");
        return rc;
    }
    if (input->marked && input->event_time == PLAN_NONE) {
        int rc =
            sql_error(sql, option->place, "option \"watermark_from\" needs option \"event_time\"");
        err_hint(sql->err, "add event_time='column'");
        return rc;
    }
    return 0;
}

/* lateness: for how long windows stay open; late: what becomes of records behind that. */
static int late_set(struct sql *sql, struct plan_input *input, const struct sql_option *options)
{
    const struct sql_option *lateness = &options[OPTION_LATENESS];
    const struct sql_option *late = &options[OPTION_LATE];
    const struct sql_option *given = lateness->value != NULL ? lateness : late;
    if (given->value != NULL && input->event_time == PLAN_NONE) {
        int rc =
            sql_error(sql, given->place, "option \"%s\" needs option \"event_time\"", given->name);
        err_hint(sql->err, "add event_time='column'");
        return rc;
    }
    if (lateness->value != NULL && sql_option_duration(sql, lateness, &input->lateness_us) != 0) {
        return -KE_SQL;
    }
    const char *policy = late->value == NULL ? "drop" : late->value;
    input->late_kept = strcmp(policy, "late") == 0;
    if (strcmp(policy, "update") == 0 && input->lateness_us == 0) {
        int rc = sql_error(sql, late->place, "late='update' needs option \"lateness\"");
        err_hint(sql->err, "add lateness='10 minutes': so long late records change their window");
        return rc;
    }
    if (strcmp(policy, "drop") != 0 && strcmp(policy, "update") != 0 && !input->late_kept) {
        int rc = sql_error(sql, late->place, "option \"late\": \"%.60s\" is unknown", policy);
        err_hint(sql->err,
                 "'drop' counts late records, 'late' keeps them to be looked at, 'update' "
                 "says that lateness='...' lets them change their window");
        return rc;
    }
    return 0;
}

/* For how long joins by time keep versions that others have replaced. */
static int history_set(struct sql *sql, struct plan_input *input, const struct sql_option *option)
{
    input->history_us = INT64_MAX;
    if (option->value == NULL) {
        return 0;
    }
    if (input->event_time == PLAN_NONE) {
        int rc = sql_error(sql, option->place, "option \"history\" needs option \"event_time\"");
        err_hint(sql->err, "add event_time='column': history is let go by the watermark");
        return rc;
    }
    return sql_option_duration(sql, option, &input->history_us);
}

static int idle_refuse(struct sql *sql, const struct plan_input *input,
                       const struct sql_option *option)
{
    if (option->value == NULL) {
        return 0;
    }
    int rc = sql_error(sql, option->place,
                       "not supported yet: option \"idle\" here: that nothing came for a while is "
                       "known to a clock only, and a replay would not see it");
    err_hint(sql->err,
             "let the topic say it: `kappa rekey %s --marks --idle \"%s\" --into TOPIC`, then read "
             "TOPIC with watermark_from='marks'",
             input->topic, option->value);
    return rc;
}

int sql_table(struct sql *sql, const json_t *body)
{
    static const char *const allowed[] = {"relation", "tableElts", "options", "oncommit", NULL};
    if (sql_only(sql, body, allowed) != 0) {
        return -KE_SQL;
    }
    if (sql->plan->input_count == LIMIT_INPUTS) {
        return sql_error(sql, -1, "more than %d tables to read", LIMIT_INPUTS);
    }
    struct sql_option options[OPTION_COUNT + SQL_FORMAT_OPTIONS] = {
        [OPTION_TOPIC] = {"topic", NULL, -1},
        [OPTION_EVENT_TIME] = {"event_time", NULL, -1},
        [OPTION_WATERMARK] = {"watermark", NULL, -1},
        [OPTION_FROM] = {"watermark_from", NULL, -1},
        [OPTION_LATENESS] = {"lateness", NULL, -1},
        [OPTION_LATE] = {"late", NULL, -1},
        [OPTION_HISTORY] = {"history", NULL, -1},
        [OPTION_IDLE] = {"idle", NULL, -1},
        [OPTION_UNIT] = {"timestamp_unit", NULL, -1},
    };
    sql_format_options(&options[OPTION_COUNT]);
    uint32_t index = sql->plan->input_count;
    struct plan_input *input = &sql->inputs[index];
    input->name = sql_new_name(sql, json_object_get(body, "relation"));
    if (input->name == NULL || columns_read(sql, json_object_get(body, "tableElts"), index) != 0 ||
        sql_options(sql, json_object_get(body, "options"), options, array_len(options)) != 0 ||
        topic_set(sql, input, &options[OPTION_TOPIC]) != 0 ||
        sql_format(sql, input, &options[OPTION_COUNT]) != 0 ||
        sql_metas(sql, index, options[OPTION_EVENT_TIME].value) != 0 ||
        event_time_set(sql, input, &options[OPTION_EVENT_TIME]) != 0 ||
        unit_set(sql, input, &options[OPTION_UNIT]) != 0 ||
        watermark_set(sql, input, &options[OPTION_WATERMARK]) != 0 ||
        from_set(sql, input, &options[OPTION_FROM]) != 0 || late_set(sql, input, options) != 0 ||
        history_set(sql, input, &options[OPTION_HISTORY]) != 0 ||
        idle_refuse(sql, input, &options[OPTION_IDLE]) != 0) {
        return -KE_SQL;
    }
    if (input->event_time != PLAN_NONE) {
        sql->columns[index][input->event_time].used = true;
    }
    sql->plan->input_count++;
    return 0;
}
