/* SET swap.NAME = value: the policy of a deploy (policy.h). Own header: sql.h.
 *
 * It says nothing about rows, so it is left out of the definition's hash. */
#include "processor/policy.h"
#include "processor/sql.h"

#include <string.h>

/* The text of one value; NULL: not a constant. */
static const char *value_text(struct sql *sql, const json_t *arg)
{
    const json_t *constant = sql_body(arg, "A_Const");
    const json_t *text = json_object_get(constant, "sval");
    const json_t *whole = json_object_get(constant, "ival");
    const json_t *decimal = json_object_get(constant, "fval");
    if (text != NULL) {
        return json_text(text, "sval", "");
    }
    if (whole != NULL) {
        return arena_printf(&sql->temp, "%lld", (long long)json_int(whole, "ival", 0));
    }
    return decimal != NULL ? json_text(decimal, "fval", "") : NULL;
}

/* Several values are a list: SET swap.columns = score, rank. */
static const char *value_of(struct sql *sql, const json_t *args)
{
    const char *all = NULL;
    size_t i;
    json_t *arg;
    json_array_foreach (args, i, arg) {
        const char *text = value_text(sql, arg);
        if (text == NULL) {
            return NULL;
        }
        all = i == 0 ? text : arena_printf(&sql->temp, "%s, %s", all, text);
    }
    return all;
}

static int name_refuse(struct sql *sql, const char *name)
{
    struct sql_guess guess = sql_guess_new(name);
    const char *all = "";
    for (int i = 0; i < POLICY_SETTINGS; i++) {
        const char *known = policy_name((enum policy_setting)i);
        sql_guess_offer(&guess, known);
        all = arena_printf(&sql->temp, "%s%s%s", all, i == 0 ? "" : ", ", known);
    }
    int rc = sql_error(sql, sql->statement, "there is no setting \"%s\"", name);
    sql_guess_hint(sql, &guess, arena_printf(&sql->temp, "settings: %s", all));
    return rc;
}

/* The values are checked here, and read again by who needs them. */
static int check_value(struct sql *sql, const char *name, const char *value, int place)
{
    struct policy policy;
    struct err err = {0};
    policy_init(&policy);
    return policy_set(&policy, name, value, &err) == 0 ? 0 : sql_error(sql, place, "%s", err.text);
}

int sql_set(struct sql *sql, const json_t *body)
{
    const char *name = json_text(body, "name", "");
    int place = sql_place(body);
    place = place >= 0 ? place : sql->statement;
    if (!sql_is(body, "kind", "VAR_SET_VALUE") || json_bool(body, "is_local", false)) {
        int rc = sql_error(sql, sql->statement, "not supported yet: this kind of SET");
        err_hint(sql->err, "write SET swap.max_dead = 10; without the line, nothing is asked for");
        return rc;
    }
    if (policy_find(name) == POLICY_SETTINGS) {
        return name_refuse(sql, name);
    }
    struct plan *plan = sql->plan;
    for (uint32_t i = 0; i < plan->setting_count; i++) {
        if (strcmp(plan->settings[i].name, name) == 0) {
            return sql_error(sql, sql->statement, "%s is set twice", name);
        }
    }
    const char *value = value_of(sql, json_object_get(body, "args"));
    if (value == NULL) {
        return sql_error(sql, place, "%s needs a constant", name);
    }
    if (check_value(sql, name, value, place) != 0) {
        return -KE_SQL;
    }
    ASSERT_CMP(plan->setting_count, <, POLICY_SETTINGS);
    sql->settings[plan->setting_count++] = (struct plan_setting){
        .name = policy_name(policy_find(name)), .value = arena_strdup(&plan->memory, value)};
    return 0;
}

json_t *sql_without_settings(const json_t *statements)
{
    json_t *kept = json_array();
    size_t i;
    json_t *statement;
    json_array_foreach (statements, i, statement) {
        if (sql_body(json_object_get(statement, "stmt"), "VariableSetStmt") == NULL) {
            ASSERT(json_array_append(kept, statement) == 0);
        }
    }
    return kept;
}
