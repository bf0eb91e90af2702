/* Temporary directories and the check of calls that may fail, for the tests of table/. */
#ifndef KAPPA_TESTS_TABLE_TEMP_H
#define KAPPA_TESTS_TABLE_TEMP_H

#include "base/err.h"
#include "tests/unit/unit.h"

static inline char *temp_dir(void)
{
    char *dir = xstrdup("/tmp/kappa-table-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return dir;
}

/* Removes a directory of directories of files. */
static inline void remove_dir(char *dir)
{
    char *command = xasprintf("rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    free(command);
    free(dir);
}

/* The error of the latest failed call. */
__attribute__((unused)) static struct err fault;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        if (rc_ < 0) {                                                                             \
            fail_msg("%s: %d %s", #call, rc_, fault.text);                                         \
        }                                                                                          \
    } while (0)

#endif
