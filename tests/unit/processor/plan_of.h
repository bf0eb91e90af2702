/* A plan for tests, or the test fails with what the compiler says. */
#ifndef KAPPA_TESTS_UNIT_PROCESSOR_PLAN_OF_H
#define KAPPA_TESTS_UNIT_PROCESSOR_PLAN_OF_H

#include "processor/plan.h"
#include "tests/unit/unit.h"

#include <string.h>

static inline struct plan *plan_of(const char *sql)
{
    struct plan *plan = NULL;
    struct err err = {0};
    if (plan_compile("f.sql", sql, strlen(sql), &plan, &err) != 0) {
        fail_msg("%s\n%s\n%s", sql, err.text, err.hint);
    }
    return plan;
}

#endif
