/* A condition over the rows of a table. Own header: row_filter.h.
 *
 * It is compiled as the WHERE of a definition whose one input has the table's columns; its row program is
 * run here. The condition stands on lines of its own, so that errors show what was written. */
#include "serve/row_filter.h"

#include "base/buf.h"
#include "processor/expr.h"
#include "processor/functions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME        "where" /* of the condition in errors */
#define LINES_ABOVE 1

struct row_filter {
    struct plan *plan;
    struct expr_machine machine; /* one row */
    uint32_t count;              /* of columns */
};

static void quoted(struct buf *out, const char *name)
{
    buf_append_text(out, "\"");
    for (const char *at = name; *at != '\0'; at++) {
        buf_append(out, at, 1);
        if (*at == '"') {
            buf_append(out, at, 1);
        }
    }
    buf_append_text(out, "\"");
}

static void definition_of(const struct plan_view *view, const char *condition, struct buf *out)
{
    buf_append_text(out, "CREATE TABLE this (");
    for (uint32_t i = 0; i < view->output_count; i++) {
        buf_append_text(out, i == 0 ? "" : ", ");
        quoted(out, view->outputs[i].name);
        buf_printf(out, " %s", function_type_name(view->outputs[i].type));
    }
    buf_printf(out, ") WITH (topic = 'this', format = 'json'); CREATE MATERIALIZED VIEW kept AS "
                    "SELECT true AS yes FROM this WHERE (\n");
    buf_append_text(out, condition);
    buf_append_text(out, "\n);");
}

static unsigned long lines_of(const char *condition)
{
    unsigned long lines = 1;
    for (const char *at = condition; *at != '\0'; at++) {
        lines += *at == '\n';
    }
    return lines;
}

/* "where:2:5: ..." is about line 1 of what was written, and what is wrong behind it, about its end. */
static void lines_set(const char *condition, struct err *err)
{
    static const char start[] = NAME ":";
    char *behind = NULL;
    if (err == NULL || strncmp(err->text, start, sizeof start - 1) != 0) {
        return;
    }
    unsigned long line = strtoul(err->text + sizeof start - 1, &behind, 10);
    if (line > LINES_ABOVE + lines_of(condition)) {
        (void)err_set(err, KE_SQL, NAME ": the condition is not complete: %.500s", condition);
        return;
    }
    if (*behind == ':' && line > LINES_ABOVE) {
        char *rest = xstrdup(behind);
        (void)snprintf(err->text, sizeof err->text, "%s%lu%s", start, line - LINES_ABOVE, rest);
        free(rest);
    }
}

/* Is it a condition over `columns` columns and nothing else? Parentheses of its own may have ended the
 * clause, and of the record that a row came from nothing is known: record_offset() is one more column. */
static bool is_plain(const struct plan *plan, uint32_t columns)
{
    const struct plan_view *view = &plan->views[0];
    return plan->view_count == 1 && plan->pipeline_count == 1 && plan->input_count == 1 &&
           plan->plugin_count == 0 && plan->read_view_count == 0 && view->kind == PLAN_APPEND &&
           plan->inputs[0].column_count == columns && view->phase_count == 0 &&
           view->window_us == 0 && view->append_count == 1;
}

int row_filter_open(const struct plan_view *view, const char *condition, struct row_filter **out,
                    struct err *err)
{
    struct buf text = {0};
    struct plan *plan = NULL;
    if (condition[strspn(condition, " \t\r\n")] == '\0') {
        return err_set(err, KE_SQL, NAME ": the condition is empty");
    }
    definition_of(view, condition, &text);
    int rc = plan_compile(NAME, buf_text(&text), text.len, &plan, err);
    buf_free(&text);
    if (rc != 0) {
        lines_set(condition, err);
        return rc;
    }
    if (!is_plain(plan, view->output_count)) {
        plan_free(plan);
        rc = err_set(err, KE_SQL, "it must be one condition over the columns of a row");
        err_hint(err, "as behind WHERE in a definition: score > 5 AND country = 'SE'");
        return rc;
    }
    struct row_filter *filter = xcalloc(1, sizeof *filter);
    filter->plan = plan;
    filter->count = view->output_count;
    expr_machine_open(&filter->machine, &plan->views[0].row, 1);
    *out = filter;
    return 0;
}

int row_filter_holds(struct row_filter *filter, const struct kappa_value *values, struct err *err)
{
    uint32_t where = filter->plan->views[0].where;
    if (where == PLAN_NONE) {
        return 1;
    }
    for (uint32_t i = 0; i < filter->count; i++) {
        expr_set(&filter->machine.registers[i], 0, &values[i]);
    }
    expr_run(&filter->machine, 1);
    enum expr_state state = EXPR_OK;
    struct kappa_value value = expr_value(&filter->machine.registers[where], 0, &state);
    if (state >= EXPR_ERROR_FIRST) {
        return err_set(err, KE_REFUSED, NAME ": %s", expr_error_text(state));
    }
    return state == EXPR_OK && !value.is_null && value.i != 0 ? 1 : 0;
}

void row_filter_close(struct row_filter *filter)
{
    if (filter == NULL) {
        return;
    }
    expr_machine_close(&filter->machine);
    plan_free(filter->plan);
    free(filter);
}
