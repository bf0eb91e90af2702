/* sqlite3 as the oracle: what it prints, a line a row, sorted, and our own rows in the same form. */
#ifndef KAPPA_TESTS_SQLITE_ORACLE_H
#define KAPPA_TESTS_SQLITE_ORACLE_H

#include "tests/unit/unit.h"

#include "base/buf.h"

#include <string.h>

static inline int oracle_compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All lines as one text, sorted as `sqlite3 | sort` prints them; takes them and their array. */
static inline char *oracle_sorted(char **lines, size_t count)
{
    if (count > 0) {
        qsort(lines, count, sizeof *lines, oracle_compare_lines);
    }
    struct buf all = {0};
    for (size_t i = 0; i < count; i++) {
        buf_printf(&all, "%s\n", lines[i]);
        free(lines[i]);
    }
    free(lines);
    char *text = xstrdup(buf_text(&all));
    buf_free(&all);
    return text;
}

static inline char *oracle_sqlite(const char *script, const char *query)
{
    char path[] = "/tmp/kappa-sql-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, script, strlen(script)), (ssize_t)strlen(script));
    assert_int_equal(write(fd, query, strlen(query)), (ssize_t)strlen(query));
    (void)close(fd);
    char *command = xasprintf("sqlite3 -batch < %s | LC_ALL=C sort", path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    struct buf out = {0};
    char chunk[4096];
    for (size_t n = 0; (n = fread(chunk, 1, sizeof chunk, pipe)) > 0;) {
        buf_append(&out, chunk, n);
    }
    assert_int_equal(pclose(pipe), 0);
    (void)unlink(path);
    free(command);
    char *text = xstrdup(buf_text(&out));
    buf_free(&out);
    return text;
}

#endif
