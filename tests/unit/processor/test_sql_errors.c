/* Goal: what a person reads when a definition is wrong stays as it is: place, sentence, caret, hint.
 *
 * Method: tests/sql/errors.txt holds cases: SQL, a line "----", the expected error, a line "====". A line
 * {t} in the SQL stands for the table below. KAPPA_UPDATE=1 writes what is said now into the file, for a
 * person to read the difference. Run from the top of the repository. */
#include "processor/plan.h"
#include "tests/unit/unit.h"

#include "base/buf.h"

#include <string.h>

#define CASES_FILE "tests/sql/errors.txt"
#define TABLE                                                                                      \
    "CREATE TABLE t (a integer, b bigint, d double precision, s text, f boolean, ts timestamptz) " \
    "WITH (event_time='ts');"

static char *read_cases(void)
{
    FILE *file = fopen(CASES_FILE, "r");
    assert_non_null(file);
    struct buf text = {0};
    char chunk[4096];
    size_t len;
    while ((len = fread(chunk, 1, sizeof chunk, file)) > 0) {
        buf_append(&text, chunk, len);
    }
    (void)fclose(file);
    char *copy = xstrdup(buf_text(&text));
    buf_free(&text);
    return copy;
}

/* What plan_compile says about one definition. */
static void say(const char *sql, struct buf *out)
{
    struct buf text = {0};
    const char *mark = strstr(sql, "{t}");
    if (mark != NULL) {
        buf_append(&text, sql, (size_t)(mark - sql));
        buf_append_text(&text, TABLE);
        buf_append_text(&text, mark + 3);
    } else {
        buf_append_text(&text, sql);
    }
    struct plan *plan = NULL;
    struct err err = {0};
    int rc = plan_compile("f.sql", buf_text(&text), text.len, &plan, &err);
    if (rc == 0) {
        buf_append_text(out, "compiles\n");
        plan_free(plan);
    } else {
        assert_int_equal(rc, -KE_SQL);
        assert_int_equal(err.code, rc);
        buf_printf(out, "%s\n", err.text);
        if (err.hint[0] != '\0') {
            buf_printf(out, "hint: %s\n", err.hint);
        }
    }
    /* Without err only the code comes back. */
    assert_int_equal(plan_compile("f.sql", buf_text(&text), text.len, &plan, NULL), rc);
    if (rc == 0) {
        plan_free(plan);
    }
    buf_free(&text);
}

static void test_errors(void **state)
{
    (void)state;
    bool update = getenv("KAPPA_UPDATE") != NULL;
    char *text = read_cases();
    struct buf written = {0};
    uint32_t count = 0;
    uint32_t wrong = 0;
    for (char *at = text; *at != '\0'; count++) {
        char *expected = strstr(at, "\n----\n");
        assert_non_null(expected);
        char *end = strstr(expected, "====\n");
        assert_non_null(end);
        *expected = '\0';
        expected += strlen("\n----\n");
        *end = '\0';
        struct buf said = {0};
        say(at, &said);
        if (strcmp(buf_text(&said), expected) != 0) {
            wrong++;
            if (!update) {
                print_error("%s\n---- expected\n%s---- said\n%s\n", at, expected, buf_text(&said));
            }
        }
        buf_printf(&written, "%s\n----\n%s====\n", at, buf_text(&said));
        buf_free(&said);
        at = end + strlen("====\n");
    }
    if (update) {
        FILE *file = fopen(CASES_FILE, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(written.data, 1, written.len, file), written.len);
        assert_int_equal(fclose(file), 0);
    } else {
        assert_int_equal(wrong, 0);
    }
    assert_true(count > 100);
    buf_free(&written);
    free(text);
}

static void test_raw_bytes(void **state)
{
    (void)state;
    struct plan *plan = NULL;
    struct err err = {0};
    assert_int_equal(plan_compile("f.sql", "SELECT '\xff'", 9, &plan, &err), -KE_SQL);
    assert_non_null(strstr(err.text, "f.sql:1:9: the definition is not valid UTF-8"));
    assert_int_equal(plan_compile("f.sql", "SELECT \0 1", 10, &plan, &err), -KE_SQL);
    assert_non_null(strstr(err.text, "zero byte"));
    size_t len = 64 * 1024 + 1;
    char *blanks = xmalloc(len);
    memset(blanks, ' ', len);
    assert_int_equal(plan_compile("f.sql", blanks, len, &plan, &err), -KE_SQL);
    assert_non_null(strstr(err.text, "65536"));
    free(blanks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_raw_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
