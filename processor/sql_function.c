/* Calls of rows of functions.def: arguments converted, constants checked; and what is said when there
 * is no such row. Own header: sql.h. */
#include "processor/expr_regex.h"
#include "processor/functions.h"
#include "processor/sql.h"

#include <string.h>

/* "text, integer" */
static const char *type_list(struct sql *sql, struct expr_node *const *args, uint32_t count)
{
    const char *list = "";
    for (uint32_t k = 0; k < count && k < 8; k++) {
        list = arena_printf(&sql->temp, "%s%s%s", list, k == 0 ? "" : ", ",
                            function_type_name(args[k]->type));
    }
    return count > 8 ? arena_printf(&sql->temp, "%s, ...", list) : list;
}

/* "substr(text, integer) or substr(text, integer, integer)" */
static const char *signatures(struct sql *sql, const char *name)
{
    uint32_t count;
    const struct function_row *rows = function_rows(&count);
    const char *list = "";
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].kind == FUNCTION_OPERATOR || strcmp(rows[i].name, name) != 0) {
            continue;
        }
        list = arena_printf(&sql->temp, "%s%s%s(", list, list[0] == '\0' ? "" : " or ", name);
        for (const char *letter = rows[i].args; *letter != '\0'; letter++) {
            const char *type = *letter == '*' ? "..."
                               : *letter == 'x' || *letter == 'a'
                                   ? "any type"
                                   : function_type_name(function_letter_type(*letter));
            list =
                arena_printf(&sql->temp, "%s%s%s", list, letter == rows[i].args ? "" : ", ", type);
        }
        bool rows_only = rows[i].kind == FUNCTION_AGGREGATE && rows[i].args[0] == '\0';
        list = arena_printf(&sql->temp, "%s%s)", list, rows_only ? "*" : "");
    }
    return list;
}

struct expr_node *sql_function_missing(struct sql *sql, const char *name,
                                       struct expr_node *const *args, uint32_t count, int place)
{
    if (count > FUNCTION_ARGS_MAX) {
        return sql_error_null(sql, place, "more than %d arguments of one call", FUNCTION_ARGS_MAX);
    }
    (void)sql_error(sql, place, "function %s(%s) does not exist", name,
                    type_list(sql, args, count));
    if (function_exists(FUNCTION_SCALAR, name) || function_exists(FUNCTION_AGGREGATE, name)) {
        err_hint(sql->err, "there is %s", signatures(sql, name));
        return NULL;
    }
    const char *instead = sql_dialect_function(name);
    if (instead != NULL) {
        err_hint(sql->err, "%s", instead);
        return NULL;
    }
    struct sql_guess guess = sql_guess_new(name);
    uint32_t row_count;
    const struct function_row *rows = function_rows(&row_count);
    for (uint32_t i = 0; i < row_count; i++) {
        if (rows[i].kind != FUNCTION_OPERATOR) {
            sql_guess_offer(&guess, rows[i].name);
        }
    }
    sql_guess_hint(sql, &guess, "`kappa help functions` lists all functions");
    return NULL;
}

/* Units written as constants are checked now: date_trunc('huor', t). */
static int check_unit(struct sql *sql, const struct function_row *row, const struct expr_node *unit)
{
    bool trunc = row->run == expr_date_trunc;
    bool extract = row->run == expr_extract || row->run == expr_extract_interval;
    if ((!trunc && !extract) || unit->kind != EXPR_NODE_CONSTANT || unit->constant.is_null) {
        return 0;
    }
    struct kappa_text text = unit->constant.s;
    bool known = trunc ? expr_trunc_unit_known(text) : expr_extract_unit_known(text);
    if (row->run == expr_extract_interval) {
        known = text.len == 5 && strncmp(text.bytes, "epoch", 5) == 0;
    }
    if (known) {
        return 0;
    }
    static const char *const units[] = {
        "epoch",   "year",   "quarter", "month",      "week",         "day",          "hour",
        "minute",  "second", "dow",     "isodow",     "milliseconds", "microseconds", "doy",
        "isoyear", "decade", "century", "millennium", "julian"};
    char *word = arena_strndup(&sql->temp, text.bytes, text.len > 40 ? 40 : text.len);
    (void)sql_error(sql, unit->place, "unit \"%s\" not recognized for type %s", word,
                    function_type_name(function_letter_type(row->args[1])));
    struct sql_guess guess = sql_guess_new(word);
    for (size_t i = 0; i < array_len(units) && row->run != expr_extract_interval; i++) {
        sql_guess_offer(&guess, units[i]);
    }
    sql_guess_hint(sql, &guess, NULL);
    return -KE_SQL;
}

/* So are time zones. */
static int check_zone(struct sql *sql, const struct expr_node *call)
{
    const struct expr_node *zone = call->args[0];
    if (call->run != expr_at_time_zone || zone->kind != EXPR_NODE_CONSTANT ||
        zone->constant.is_null || expr_time_zone_known(zone->constant.s)) {
        return 0;
    }
    int rc = sql_error(sql, zone->place, "not supported yet: time zones but UTC");
    err_hint(sql->err, "the rules of a zone change with the machine that applies them; add an "
                       "interval, e.g. ts + interval '1 h'");
    return rc;
}

/* So are patterns. */
static int check_pattern(struct sql *sql, const struct expr_node *call)
{
    char message[REGEX_MESSAGE_BYTES];
    uint32_t argument = 0;
    if (!expr_regex_is(call->run) || expr_regex_check(call, message, &argument)) {
        return 0;
    }
    int place = call->args[argument]->place;
    if (argument != 1) {
        (void)sql_error(sql, place, "invalid regular expression flags");
        err_hint(sql->err, "flags: i any case, n lines, x with comments, q no pattern, and g "
                           "(every match) in regexp_replace");
        return -KE_SQL;
    }
    return sql_error(sql, place, "invalid regular expression: %s", message);
}

/* An argument of a parameter by its letter. */
static struct expr_node *convert(struct sql *sql, struct expr_node *arg, char letter)
{
    if (letter != 'a' && letter != 'x' && letter != 'X') {
        return sql_coerce(sql, arg, function_letter_type(letter));
    }
    if (letter == 'X') {
        return arg;
    }
    if (letter == 'x' && arg->type != KAPPA_TYPE_NULL) {
        return arg;
    }
    if (arg->type != KAPPA_TYPE_BOOLEAN) {
        return sql_cast(sql, arg, (struct sql_type){KAPPA_TYPE_TEXT, 0}, arg->place);
    }
    struct expr_node *letters =
        expr_node_call(&sql->pool, expr_letter_from_boolean, KAPPA_TYPE_TEXT, arg->place, 1);
    letters->args[0] = arg;
    return expr_pool_assign(&sql->pool, letters);
}

struct expr_node *sql_function_call(struct sql *sql, const struct function_row *row,
                                    struct expr_node *const *args, uint32_t count, int place)
{
    struct expr_node *call =
        expr_node_call(&sql->pool, row->run, function_letter_type(row->result[0]), place, count);
    for (uint32_t k = 0; k < count; k++) {
        call->args[k] = convert(sql, args[k], function_arg_letter(row, k));
        if (call->args[k] == NULL) {
            return NULL;
        }
    }
    if ((count > 0 && (check_unit(sql, row, call->args[0]) != 0 || check_zone(sql, call) != 0)) ||
        check_pattern(sql, call) != 0) {
        return NULL;
    }
    return expr_pool_assign(&sql->pool, call);
}
