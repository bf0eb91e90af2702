/* Reading libpg_query's JSON parse tree. Own header: sql.h.
 *
 * What the compiler does not understand it must not ignore: sql_only refuses every member of a node that
 * its caller did not name, with the words of the table below. */
#include "processor/sql.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *sql_kind(const json_t *node, const json_t **body)
{
    void *member = json_object_iter((json_t *)(uintptr_t)node);
    if (member == NULL) {
        *body = NULL;
        return "";
    }
    *body = json_object_iter_value(member);
    return json_object_iter_key(member);
}

const json_t *sql_body(const json_t *node, const char *kind)
{
    return json_object_get(node, kind);
}

bool sql_is(const json_t *body, const char *member, const char *text)
{
    return strcmp(json_text(body, member, ""), text) == 0;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by jansson's nesting limit of 2048
int sql_place(const json_t *node)
{
    const char *name;
    json_t *child;
    size_t i;
    int64_t own = json_int(node, "location", -1);
    if (own >= 0) {
        return (int)own;
    }
    int least = -1;
    json_object_foreach ((json_t *)(uintptr_t)node, name, child) {
        int place = sql_place(child);
        least = place >= 0 && (least < 0 || place < least) ? place : least;
    }
    json_array_foreach (node, i, child) {
        int place = sql_place(child);
        least = place >= 0 && (least < 0 || place < least) ? place : least;
    }
    return least;
}

const char *sql_name(const json_t *list, size_t i)
{
    const json_t *string = sql_body(json_array_get(list, i), "String");
    return string == NULL ? NULL : json_text(string, "sval", "");
}

const char *sql_plain_name(const json_t *list)
{
    size_t count = json_array_size(list);
    const char *first = sql_name(list, 0);
    if (count == 1) {
        return first;
    }
    bool catalog = count == 2 && first != NULL && strcmp(first, "pg_catalog") == 0;
    return catalog ? sql_name(list, 1) : NULL;
}

/* Members that say what a person wrote; keyword: where to put the caret, searched near the member. */
static const struct {
    const char *member;
    const char *phrase;
    const char *keyword;
} phrases[] = {
    {"sortClause", "ORDER BY (a table has no order; sort when reading)", "order"},
    {"limitCount", "LIMIT", "limit"},
    {"limitOffset", "OFFSET", "offset"},
    {"distinctClause", "SELECT DISTINCT (GROUP BY the columns instead)", "distinct"},
    {"withClause", "WITH queries", "with"},
    {"windowClause", "window functions (WINDOW)", "window"},
    {"lockingClause", "FOR UPDATE", "for"},
    {"intoClause", "SELECT INTO", "into"},
    {"valuesLists", "VALUES", "values"},
    {"groupDistinct", "GROUP BY DISTINCT", "group"},
    {"over", "window functions (OVER)", "over"},
    {"agg_order", "ORDER BY inside an aggregate", "order"},
    {"agg_within_group", "ordered-set aggregates (WITHIN GROUP)", "within"},
    {"func_variadic", "VARIADIC arguments", "variadic"},
    {"agg_distinct", "DISTINCT in this call", "distinct"},
    {"agg_filter", "FILTER in this call", "filter"},
    {"lateral", "LATERAL", "lateral"},
    {"ordinality", "WITH ORDINALITY", "with"},
    {"is_rowsfrom", "ROWS FROM", "rows"},
    {"coldeflist", "a column list after a function in FROM", NULL},
    {"colNames", "a column list after the view's name", NULL},
    {"schemaname", "schema names", NULL},
    {"catalogname", "database names", NULL},
    {"if_not_exists", "IF NOT EXISTS (a definition names each table once)", "if"},
    {"skipData", "WITH NO DATA", "with"},
    {"tableSpaceName", "TABLESPACE", "tablespace"},
    {"tablespacename", "TABLESPACE", "tablespace"},
    {"accessMethod", "USING", "using"},
    {"inhRelations", "INHERITS", "inherits"},
    {"partspec", "PARTITION BY", "partition"},
    {"partbound", "PARTITION OF", "partition"},
    {"ofTypename", "tables OF a type", "of"},
    {"constraints", "constraints on a column (a record that does not fit its type is kept as dead)",
     NULL},
    {"collClause", "COLLATE (texts compare by their bytes)", "collate"},
    {"arrayBounds", "arrays", NULL},
    {"setof", "SETOF", "setof"},
    {"pct_type", "%TYPE", NULL},
    {"typmods", "a length or precision of a type", NULL},
    {"defnamespace", "option names with a dot", NULL},
};

/* DISTINCT ON (x): its list names something. */
static bool is_distinct_on(const char *member, const json_t *value)
{
    return strcmp(member, "distinctClause") == 0 && json_object_size(json_array_get(value, 0)) > 0;
}

static void member_hint(struct sql *sql, const char *member, const json_t *value)
{
    if (strcmp(member, "sortClause") == 0 || is_distinct_on(member, value)) {
        err_hint(sql->err, "for the first rows of each key: row_number() OVER (PARTITION BY k "
                           "ORDER BY x) AS n in a subquery, WHERE n <= 10 around it");
    } else if (strcmp(member, "withClause") == 0) {
        err_hint(sql->err, "write CREATE VIEW name AS ... in front");
    }
}

static bool is_letter(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* The word stands at this place, whole. */
static bool matches_word(const struct sql *sql, int at, const char *word)
{
    const char *text = sql->text + at;
    size_t len = strlen(word);
    return strncasecmp(text, word, len) == 0 && !is_letter(text[len]) &&
           (at == 0 || !is_letter(text[-1]));
}

int sql_keyword_place(const struct sql *sql, const char *keyword, int place)
{
    if (keyword == NULL) {
        return place;
    }
    for (int at = place; at >= sql->statement; at--) {
        if (matches_word(sql, at, keyword)) {
            return at;
        }
    }
    int start = place >= 0 ? place : sql->statement;
    for (int at = start; at < sql->statement_end; at++) {
        if (matches_word(sql, at, keyword)) {
            return at;
        }
    }
    return place;
}

static int refuse_member(struct sql *sql, const json_t *body, const char *member)
{
    const json_t *value = json_object_get(body, member);
    int place = sql_place(value);
    int fallback = sql_place(body);
    for (size_t i = 0; i < array_len(phrases); i++) {
        if (strcmp(phrases[i].member, member) == 0) {
            int at = sql_keyword_place(sql, phrases[i].keyword, place >= 0 ? place : fallback);
            (void)sql_error(sql, at, "not supported yet: %s", phrases[i].phrase);
            member_hint(sql, member, value);
            return -KE_SQL;
        }
    }
    return sql_error(sql, place >= 0 ? place : fallback, "not supported yet: %s", member);
}

int sql_only(struct sql *sql, const json_t *body, const char *const *allowed)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)body, name, value) {
        bool known = strcmp(name, "location") == 0;
        for (size_t i = 0; allowed[i] != NULL && !known; i++) {
            known = strcmp(name, allowed[i]) == 0;
        }
        if (!known) {
            return refuse_member(sql, body, name);
        }
    }
    return 0;
}

static bool is_place(const char *name)
{
    return strcmp(name, "location") == 0 || strcmp(name, "stmt_location") == 0 ||
           strcmp(name, "stmt_len") == 0;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by jansson's nesting limit of 2048
static void strip_places(json_t *node)
{
    const char *name;
    json_t *child;
    void *next;
    size_t i;
    json_object_foreach_safe(node, next, name, child)
    {
        if (is_place(name)) {
            (void)json_object_del(node, name);
        } else {
            strip_places(child);
        }
    }
    json_array_foreach (node, i, child) {
        strip_places(child);
    }
}

struct digest sql_hash(json_t *tree)
{
    strip_places(tree);
    char *text = json_dumps(tree, JSON_COMPACT | JSON_SORT_KEYS);
    ASSERT(text != NULL);
    struct digest digest = hash_content(text, strlen(text));
    free(text);
    return digest;
}
