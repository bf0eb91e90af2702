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
    {"CREATE" BLANKS "(OR" BLANKS "REPLACE" BLANKS ")?SINK" BLANKS WORD,
     "write CREATE TABLE \\2 (column type, ...) WITH (topic='...') and INSERT INTO \\2 SELECT ...; "
     "a "
     "materialized view needs no sink to be read"},
    {"MATCH_RECOGNIZE",
     "not supported yet: patterns over rows; lag() and counts by OVER (PARTITION "
     "BY key ORDER BY event_time) say many of them"},
    {"CREATE" BLANKS "OR" BLANKS "REPLACE",
     "write CREATE: a changed definition is deployed as a new version"},
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
    {"FOR" BLANKS "SYSTEM_TIME" BLANKS "AS" BLANKS "OF",
     "leave FOR SYSTEM_TIME AS OF out: a row joins the newest row of the other side as of its own "
     "place in the log, or, with a condition ON ... AND other.valid_from <= stream.ts, the one "
     "that "
     "is valid at its time"},
    {"ASOF" BLANKS "JOIN", "write JOIN other ON stream.key = other.key AND other.valid_from <= "
                           "stream.ts: that is a join by time"},
    {"PARTITION" BLANKS "BY" BLANKS WORD BLANKS "EMIT",
     "leave PARTITION BY out: GROUP BY says the key; kappa rekey writes a topic under another one"},
    {"EMIT" BLANKS "(CHANGES|FINAL|ON|WITH)", "leave EMIT out: a view always holds the newest "
                                              "rows; WITH (emit='final') hides windows that are "
                                              "not closed"},
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

/* Functions of Flink, ksqlDB and others, in lower case, and what they are called here. */
static const struct {
    const char *name;
    const char *instead;
} functions[] = {
    {"latest_by_offset", "write last(x)"},
    {"earliest_by_offset", "write first(x)"},
    {"last_value", "write last(x)"},
    {"first_value", "write first(x)"},
    {"ucase", "write upper(x)"},
    {"lcase", "write lower(x)"},
    {"len", "write length(x)"},
    {"ifnull", "write coalesce(x, y)"},
    {"nvl", "write coalesce(x, y)"},
    {"if", "write CASE WHEN condition THEN x ELSE y END"},
    {"iif", "write CASE WHEN condition THEN x ELSE y END"},
    {"instr", "write strpos(text, part)"},
    {"locate", "write strpos(text, part)"},
    {"regexp", "write text ~ 'pattern'"},
    {"regexp_extract", "write regexp_match(text, 'pattern'): the first group"},
    {"split_index", "write split_part(text, separator, n), with n from 1"},
    {"split", "write split_part(text, separator, n) for the n-th part"},
    {"listagg", "write string_agg(x, ',')"},
    {"group_concat", "write string_agg(x, ',')"},
    {"count_distinct", "write count(DISTINCT x)"},
    {"geo_distance", "write haversine_km(latitude, longitude, latitude, longitude)"},
    {"json_value", "write document ->> 'field', of a jsonb column"},
    {"extractjsonfield", "write document ->> 'field', of a jsonb column"},
    {"json_extract_path_text", "write document ->> 'field', of a jsonb column"},
    {"timestampdiff", "subtract the times: a - b; date_part('epoch', a - b) for seconds"},
    {"timestampadd", "add an interval: ts + interval '5 minutes'"},
    {"dateadd", "add an interval: ts + interval '5 minutes'"},
    {"datediff", "subtract the times: a - b; date_part('epoch', a - b) / 86400 for days"},
    {"from_unixtime", "write to_timestamp(seconds)"},
    {"to_timestamp_ltz", "write to_timestamp(seconds)"},
    {"stringtotimestamp", "write text::timestamptz"},
    {"timestamptostring", "write ts::text"},
    {"date_format", "write date_trunc('day', ts)::text, or ts::text"},
    {"year", "write date_part('year', ts)"},
    {"month", "write date_part('month', ts)"},
    {"dayofweek", "write date_part('dow', ts)"},
    {"dayofmonth", "write date_part('day', ts)"},
    {"hour", "write date_part('hour', ts)"},
    {"minute", "write date_part('minute', ts)"},
    {"tumble_start", "write FROM tumble(table, ts, interval '5 minutes') and window_start"},
    {"tumble_end", "write FROM tumble(table, ts, interval '5 minutes') and window_end"},
    {"hop_start", "write FROM hop(table, ts, slide, size) and window_start"},
    {"hop_end", "write FROM hop(table, ts, slide, size) and window_end"},
    {"session_start", "write FROM session(table, ts, gap) and window_start"},
    {"session_end", "write FROM session(table, ts, gap) and window_end"},
    {"unnest", "not supported yet: a record makes one row; array_to_string, x[1] and cardinality "
               "read an array"},
    {"to_char", "not supported yet: date_trunc('day', ts)::text, or lpad(x::text, 3, '0')"},
    {"rowtime", "write record_timestamp()"},
    {"rowpartition", "write record_partition()"},
    {"rowoffset", "write record_offset()"},
};

const char *sql_dialect_function(const char *name)
{
    for (size_t i = 0; i < array_len(functions); i++) {
        if (strcmp(functions[i].name, name) == 0) {
            return functions[i].instead;
        }
    }
    return NULL;
}
