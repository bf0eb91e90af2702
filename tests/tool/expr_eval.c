/* Evaluates expressions over fixed rows, for tests that compare with PostgreSQL.
 *
 *     expr_eval --functions      the rows of functions.def, as JSON objects
 *     expr_eval < INPUT          a JSON value a line: {"columns": n, "rows": [[text or null, ...]]},
 *                                then expressions, as strings, over the text columns c0 ... c(n-1)
 *                                (cast them: c0::integer)
 *
 * For each expression one line: ["text" | null | {"error": "..."}, ...], a value for each row as the
 * expression's cast to text makes it, or {"refused": message} when it does not compile. */
#include "base/json.h"
#include "processor/expr_step.h"
#include "processor/functions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_line(json_t *value)
{
    char *text = json_print(value);
    (void)printf("%s\n", text);
    free(text);
    json_decref(value);
}

static int print_functions(void)
{
    static const char *const kinds[] = {
        [FUNCTION_SCALAR] = "scalar",
        [FUNCTION_OPERATOR] = "operator",
        [FUNCTION_AGGREGATE] = "aggregate",
    };

    uint32_t count;
    const struct function_row *rows = function_rows(&count);
    for (uint32_t i = 0; i < count; i++) {
        print_line(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "kind", kinds[rows[i].kind], "name",
                             rows[i].name, "args", rows[i].args, "result", rows[i].result,
                             "example", rows[i].example, "expected", rows[i].expected));
    }
    return 0;
}

static void fill_row(struct expr_machine *machine, uint32_t row, const json_t *values)
{
    for (uint32_t c = 0; c < machine->program->input_count; c++) {
        const json_t *value = json_array_get(values, c);
        struct expr_vec *vec = &machine->registers[c];
        vec->state[row] = json_is_string(value) ? EXPR_OK : EXPR_NULL;
        if (json_is_string(value)) {
            vec->s[row] =
                (struct kappa_text){json_string_value(value), u32_from(json_string_length(value))};
        }
    }
}

static json_t *value_of(const struct expr_vec *vec, uint32_t row)
{
    enum expr_state state;
    struct kappa_value value = expr_value(vec, row, &state);
    if (state == EXPR_NULL) {
        return json_null();
    }
    if (state != EXPR_OK) {
        return json_pack("{s:s}", "error", expr_error_text(state));
    }
    return json_text_lossy(value.s.bytes, value.s.len);
}

static json_t *evaluate(const struct plan *plan, const json_t *rows)
{
    const struct plan_view *view = &plan->views[0];
    uint32_t count = u32_from(json_array_size(rows));
    struct expr_machine machine;
    expr_machine_open(&machine, &view->row, count);
    for (uint32_t i = 0; i < count; i++) {
        fill_row(&machine, i, json_array_get(rows, i));
    }
    expr_run(&machine, count);
    json_t *values = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(values, value_of(&machine.registers[view->append_regs[0]], i));
    }
    expr_machine_close(&machine);
    return values;
}

static json_t *compile_and_evaluate(const char *expr, const json_t *setup)
{
    struct buf sql = {0};
    buf_append_text(&sql, "CREATE TABLE t (");
    for (int64_t c = 0; c < json_int(setup, "columns", 0); c++) {
        buf_printf(&sql, "%sc%lld text", c == 0 ? "" : ", ", (long long)c);
    }
    buf_printf(&sql, "); CREATE MATERIALIZED VIEW v AS SELECT (%s)::text AS x FROM t;", expr);
    struct plan *plan = NULL;
    struct err err = {0};
    json_t *result = NULL;
    if (plan_compile("expr", buf_text(&sql), sql.len, &plan, &err) != 0) {
        result = json_pack("{s:s, s:s}", "refused", err.text, "hint", err.hint);
    } else {
        result = evaluate(plan, json_object_get(setup, "rows"));
        plan_free(plan);
    }
    buf_free(&sql);
    return result;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--functions") == 0) {
        return print_functions();
    }
    json_t *setup = NULL;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    while ((len = getline(&line, &cap, stdin)) >= 0) {
        json_error_t error;
        json_t *value = json_loadb(line, (size_t)len, JSON_DECODE_ANY, &error);
        ASSERT(value != NULL);
        if (setup == NULL) {
            setup = value;
            continue;
        }
        print_line(compile_and_evaluate(json_string_value(value), setup));
        json_decref(value);
    }
    free(line);
    json_decref(setup);
    return 0;
}
