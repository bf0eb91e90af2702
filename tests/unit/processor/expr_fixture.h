/* Compiling one expression over a table t, for tests of expressions.
 *
 * Columns: i1 i2 integer, b1 b2 bigint, d1 d2 double precision, s1 s2 text, f1 f2 boolean, z1 z2
 * timestamptz. */
#ifndef KAPPA_TESTS_EXPR_FIXTURE_H
#define KAPPA_TESTS_EXPR_FIXTURE_H

#include "processor/plan.h"
#include "tests/unit/unit.h"

#include <string.h>

#define FIXTURE_COLUMNS 12
#define FIXTURE_TABLE                                                                              \
    "CREATE TABLE t (i1 integer, i2 integer, b1 bigint, b2 bigint, d1 double precision, d2 "       \
    "double "                                                                                      \
    "precision, s1 text, s2 text, f1 boolean, f2 boolean, z1 timestamptz, z2 timestamptz);"

/* The plan of SELECT exprs FROM t; fails the test with the message when it does not compile. */
static inline struct plan *fixture_plan(const char *exprs)
{
    char *sql = xasprintf(FIXTURE_TABLE "CREATE MATERIALIZED VIEW v AS SELECT %s FROM t;", exprs);
    struct plan *plan = NULL;
    struct err err = {0};
    if (plan_compile("f.sql", sql, strlen(sql), &plan, &err) != 0) {
        fail_msg("%s\n%s\n%s", exprs, err.text, err.hint);
    }
    free(sql);
    return plan;
}

/* All inputs null in rows 0 .. n-1. */
static inline void fixture_nulls(struct expr_machine *machine, uint32_t n)
{
    for (uint32_t c = 0; c < FIXTURE_COLUMNS; c++) {
        memset(machine->registers[c].state, EXPR_NULL, n);
    }
}

/* The value of a constant expression cast to text, or "null", or "error: ...". Valid until free. */
static inline char *fixture_eval(const char *expr)
{
    char *select = xasprintf("(%s)::text AS x", expr);
    struct plan *plan = fixture_plan(select);
    free(select);
    const struct plan_view *view = &plan->views[0];
    struct expr_machine machine;
    expr_machine_open(&machine, &view->row, 2);
    fixture_nulls(&machine, 2);
    expr_run(&machine, 2);
    enum expr_state state;
    struct kappa_value value = expr_value(&machine.registers[view->append_regs[0]], 1, &state);
    char *text = state == EXPR_OK     ? xstrndup(value.s.bytes, value.s.len)
                 : state == EXPR_NULL ? xstrdup("null")
                                      : xasprintf("error: %s", expr_error_text(state));
    expr_machine_close(&machine);
    plan_free(plan);
    return text;
}

#endif
