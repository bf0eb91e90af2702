/* Goal: every aggregate gives what functions.def says it does.
 * Method: the example of each row over a table t with one column x of the values 1, 2, 2, null, all
 * in one source, and one in each of four. */
#include "processor/functions.h"
#include "tests/unit/processor/agg_rig.h"

static void check(const struct function_row *row, bool spread)
{
    static const char *const xs[] = {"1", "2", "2", "null"};
    char *sql = xasprintf("CREATE TABLE t (x integer); CREATE MATERIALIZED VIEW v AS SELECT "
                          "(%s)::text AS r FROM t;",
                          row->example);
    struct rig rig;
    rig_open(&rig, sql);
    for (uint32_t i = 0; i < array_len(xs); i++) {
        rig_add(&rig, spread ? i : 0, xasprintf("{\"x\":%s}", xs[i]));
    }
    rig_run(&rig, NULL);
    char *value = NULL;
    assert_true(rig_values(&rig, NULL, &value, 1));
    if (strcmp(value, row->expected) != 0) {
        fail_msg("%s: %s, the table says %s", row->example, value, row->expected);
    }
    free(value);
    free(sql);
    rig_close(&rig);
}

static void test_examples(void **state)
{
    (void)state;
    uint32_t count;
    const struct function_row *rows = function_rows(&count);
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].kind == FUNCTION_AGGREGATE) {
            check(&rows[i], false);
            check(&rows[i], true);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_examples)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
