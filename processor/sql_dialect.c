/* Spellings of Flink, ksqlDB and Materialize that PostgreSQL's grammar refuses, with what to write here.
 * Own header: sql.h.
 *
 * Looked for only after a syntax error, in the text around it, so a wrong guess costs nothing but a
 * wrong hint. A template's \1 ... \3 stand for what the pattern's groups matched. */
#include "processor/sql.h"

#include <regex.h>
#include <string.h>

#define AROUND_BEFORE 160
#define AROUND_BEHIND 200
#define GROUPS        7

struct dialect_row {
    const char *pattern; /* POSIX extended, any case */
    const char *hint;
};

#define WORD   "([A-Za-z_][A-Za-z_0-9]*)"
#define BLANK  "[[:space:]]*"
#define BLANKS "[[:space:]]+"

static const struct dialect_row rows[] = {
    {"TABLE" BLANK "\\(" BLANK "TUMBLE" BLANK "\\(" BLANK "(TABLE" BLANKS ")?" WORD BLANK "," BLANK
     "DESCRIPTOR" BLANK "\\(" BLANK WORD BLANK "\\)" BLANK "," BLANK "(INTERVAL" BLANKS
     "'[^']*'(" BLANKS "[A-Za-z]+)?)",
     "write FROM tumble(\\2, \\3, \\4)"},
    {"TABLE" BLANK "\\(" BLANK "HOP" BLANK "\\(" BLANK "(TABLE" BLANKS ")?" WORD BLANK "," BLANK
     "DESCRIPTOR" BLANK "\\(" BLANK WORD BLANK "\\)" BLANK "," BLANK "(INTERVAL" BLANKS
     "'[^']*'(" BLANKS "[A-Za-z]+)?)" BLANK "," BLANK "(INTERVAL" BLANKS "'[^']*'(" BLANKS
     "[A-Za-z]+)?)",
     "write FROM hop(\\2, \\3, \\4, \\6)"},
    {"TABLE" BLANK "\\(" BLANK "SESSION",
     "write FROM session(table, event_time_column, interval '30 seconds')"},
    {"TABLE" BLANK "\\(" BLANK "(TUMBLE|HOP|CUMULATE)",
     "write FROM tumble(table, event_time_column, interval '5 minutes')"},
    {"WATERMARK" BLANKS "FOR" BLANKS WORD BLANKS "AS" BLANKS WORD BLANK "-" BLANK "INTERVAL" BLANKS
     "'([^']*)'" BLANKS "([A-Za-z]+)",
     "leave it out of the columns and write WITH (event_time='\\1', watermark='\\3 \\4')"},
    {"WATERMARK" BLANKS "FOR" BLANKS WORD BLANKS "AS" BLANKS WORD BLANK "-" BLANK "INTERVAL" BLANKS
     "'([^']*)'",
     "leave it out of the columns and write WITH (event_time='\\1', watermark='\\3')"},
    {"WATERMARK" BLANKS "FOR" BLANKS WORD,
     "leave it out of the columns and write WITH (event_time='\\1', watermark='5 s')"},
    {"CREATE" BLANKS "(OR" BLANKS "REPLACE" BLANKS ")?(SOURCE|STREAM)" BLANKS "(IF" BLANKS
     "NOT" BLANKS "EXISTS" BLANKS ")?",
     "write CREATE TABLE name (column type, ...) WITH (topic='...')"},
    {"CREATE" BLANKS "SINK", "there are no sinks: a materialized view is read over HTTP"},
    {"CREATE" BLANKS "OR" BLANKS "REPLACE",
     "write CREATE: a changed definition is deployed as a new version"},
    {"EMIT" BLANKS "(CHANGES|FINAL|ON|WITH)", "leave EMIT out: a view always holds the newest "
                                              "rows; WITH (emit='final') hides windows that are "
                                              "not closed"},
    {"WINDOW" BLANKS "TUMBLING" BLANK "\\(" BLANK "SIZE" BLANKS "([0-9]+)" BLANKS "([A-Za-z]+)",
     "write FROM tumble(table, event_time_column, interval '\\1 \\2') and GROUP BY window_start, "
     "window_end"},
    {"WINDOW" BLANKS "HOPPING" BLANK "\\(" BLANK "SIZE" BLANKS "([0-9]+)" BLANKS "([A-Za-z]+)" BLANK
     "," BLANK "ADVANCE" BLANKS "BY" BLANKS "([0-9]+)" BLANKS "([A-Za-z]+)",
     "write FROM hop(table, event_time_column, interval '\\3 \\4', interval '\\1 \\2') and GROUP "
     "BY "
     "window_start, window_end"},
    {"WINDOW" BLANKS "SESSION" BLANK "\\(" BLANK "([0-9]+)" BLANKS "([A-Za-z]+)",
     "write FROM session(table, event_time_column, interval '\\1 \\2') and GROUP BY window_start, "
     "window_end"},
    {"WINDOW" BLANKS "HOPPING",
     "write FROM hop(table, event_time_column, interval '1 minute', interval '5 minutes')"},
    {"FOR" BLANKS "SYSTEM_TIME", "not supported yet: joins as of a time"},
    {"`", "names are quoted with double quotes, not backticks"},
};

/* Copies the template, groups filled in. */
static void hint_write(struct sql *sql, const char *template, const char *text,
                       const regmatch_t *groups)
{
    struct buf hint = {0};
    for (const char *c = template; *c != '\0'; c++) {
        if (*c != '\\') {
            buf_append(&hint, c, 1);
            continue;
        }
        c++;
        const regmatch_t *group = &groups[*c - '0'];
        if (group->rm_so >= 0) {
            buf_append(&hint, text + group->rm_so, (size_t)(group->rm_eo - group->rm_so));
        }
    }
    err_hint(sql->err, "%s", buf_text(&hint));
    buf_free(&hint);
}

static bool row_matches(const struct dialect_row *row, const char *text, regmatch_t *groups)
{
    regex_t pattern;
    int rc = regcomp(&pattern, row->pattern, REG_EXTENDED | REG_ICASE);
    ASSERT_CMP(rc, ==, 0);
    bool found = regexec(&pattern, text, GROUPS + 1, groups, 0) == 0;
    regfree(&pattern);
    return found;
}

void sql_dialect_hint(struct sql *sql, size_t place)
{
    size_t from = place > AROUND_BEFORE ? place - AROUND_BEFORE : 0;
    for (size_t i = from; i < place; i++) {
        if (sql->text[i] == ';') {
            from = i + 1; /* another statement */
        }
    }
    size_t to = place + AROUND_BEHIND < sql->len ? place + AROUND_BEHIND : sql->len;
    char around[AROUND_BEFORE + AROUND_BEHIND + 1];
    memcpy(around, sql->text + from, to - from);
    around[to - from] = '\0';
    for (size_t i = 0; i < array_len(rows); i++) {
        regmatch_t groups[GROUPS + 1];
        if (row_matches(&rows[i], around, groups)) {
            hint_write(sql, rows[i].hint, around, groups);
            return;
        }
    }
}
