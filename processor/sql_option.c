/* WITH (name='value', ...): every name is checked, every value is text. Own header: sql.h. */
#include "base/timefmt.h"
#include "processor/sql.h"

#include <string.h>

/* Options of other systems, and what to do here. */
static const struct {
    const char *name;
    const char *hint;
} foreign_options[] = {
    {"connector", "leave it out: the server knows its log; topic='...' names the topic"},
    {"kafka_topic", "write topic='...'"},
    {"value_format", "write format='json'"},
    {"timestamp", "write event_time='column'"},
    {"retention", "write retain='1 h'"},
    {"version", "leave it out: each deploy makes the next version"},
};

static int option_unknown(struct sql *sql, const char *name, int place,
                          const struct sql_option *options, uint32_t count)
{
    int rc = sql_error(sql, place, "unknown option \"%s\"", name);
    for (size_t i = 0; i < array_len(foreign_options); i++) {
        if (strcmp(foreign_options[i].name, name) == 0) {
            err_hint(sql->err, "%s", foreign_options[i].hint);
            return rc;
        }
    }
    struct sql_guess guess = sql_guess_new(name);
    const char *names = "";
    for (uint32_t i = 0; i < count; i++) {
        sql_guess_offer(&guess, options[i].name);
        names = arena_printf(&sql->temp, "%s%s%s", names, i == 0 ? "" : ", ", options[i].name);
    }
    sql_guess_hint(sql, &guess, arena_printf(&sql->temp, "options here: %s", names));
    return rc;
}

/* The text of a value: quoted, or a single word; NULL otherwise. */
static const char *option_text(struct sql *sql, const json_t *arg)
{
    const json_t *string = sql_body(arg, "String");
    const json_t *word = sql_body(arg, "TypeName");
    const char *text = NULL;
    if (string != NULL) {
        text = json_text(string, "sval", "");
    } else if (word != NULL && json_array_size(json_object_get(word, "names")) == 1 &&
               json_object_get(word, "typmods") == NULL &&
               json_object_get(word, "arrayBounds") == NULL) {
        text = sql_name(json_object_get(word, "names"), 0);
    }
    return text == NULL ? NULL : arena_strdup(&sql->temp, text);
}

static int option_read(struct sql *sql, const json_t *body, struct sql_option *options,
                       uint32_t count)
{
    static const char *const allowed[] = {"defname", "arg", "defaction", NULL};
    if (sql_only(sql, body, allowed) != 0) {
        return -KE_SQL;
    }
    const char *name = json_text(body, "defname", "");
    int place = sql_place(body);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(options[i].name, name) != 0) {
            continue;
        }
        if (options[i].value != NULL) {
            return sql_error(sql, place, "option \"%s\" is given twice", name);
        }
        options[i].place = place;
        options[i].value = option_text(sql, json_object_get(body, "arg"));
        if (options[i].value == NULL) {
            return sql_error(sql, place, "option \"%s\" needs a text in quotes: %s='...'", name,
                             name);
        }
        return 0;
    }
    return option_unknown(sql, name, place, options, count);
}

int sql_options(struct sql *sql, const json_t *list, struct sql_option *options, uint32_t count)
{
    size_t i;
    json_t *element;
    json_array_foreach (list, i, element) {
        const json_t *body = NULL;
        (void)sql_kind(element, &body);
        if (option_read(sql, body, options, count) != 0) {
            return -KE_SQL;
        }
    }
    return 0;
}

int sql_option_duration(struct sql *sql, const struct sql_option *option, int64_t *us)
{
    ASSERT(option->value != NULL);
    int64_t value = 0;
    if (!duration_parse(option->value, strlen(option->value), &value)) {
        int rc = sql_error(sql, option->place, "option \"%s\": \"%.60s\" is not a duration",
                           option->name, option->value);
        err_hint(sql->err, "write a number and a unit, e.g. '5 s', '10 minutes', '1 h', '7 days'");
        return rc;
    }
    if (value > SQL_DURATION_MAX_US) {
        return sql_error(sql, option->place, "option \"%s\" is longer than 100 years",
                         option->name);
    }
    *us = value;
    return 0;
}
