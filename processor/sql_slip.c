/* Slips of the pen at the place of a syntax error, with what to write. Own header: sql.h.
 *
 * Unlike the spellings of other systems (sql_dialect.c) these are known by the word that the parser
 * stumbled over and by what stands just in front of it. */
#include "processor/sql.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define WORD_LEN 32

/* Reserved words that people like as names of columns. */
static const char *const reserved[] = {
    "all",    "any",       "array",    "asc",     "case",    "cast",       "check",
    "column", "default",   "desc",     "do",      "end",     "for",        "foreign",
    "from",   "grant",     "group",    "in",      "limit",   "not",        "offset",
    "on",     "only",      "order",    "primary", "placing", "references", "session_user",
    "some",   "symmetric", "table",    "then",    "to",      "trailing",   "unique",
    "user",   "using",     "variadic", "when",    "where",   "window"};

static const char *const before_names[] = {"select", "as", "by", "distinct", "and", "or"};

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool listed(const char *word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(word, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The word at this place, empty if there is none or it is longer than any that matters. */
static void word_at(const struct sql *sql, size_t place, char word[WORD_LEN])
{
    size_t len = 0;
    while (place + len < sql->len && is_word(sql->text[place + len])) {
        len++;
    }
    len = len < WORD_LEN ? len : 0;
    memcpy(word, sql->text + place, len);
    word[len] = '\0';
}

/* The word that ends in front of this place. */
static void word_before(const struct sql *sql, size_t place, char word[WORD_LEN])
{
    size_t from = place;
    while (from > 0 && is_word(sql->text[from - 1])) {
        from--;
    }
    word_at(sql, from, word);
    word[place - from < WORD_LEN ? place - from : 0] = '\0';
}

static size_t skip_blanks_back(const struct sql *sql, size_t place)
{
    while (place > 0 && isspace((unsigned char)sql->text[place - 1])) {
        place--;
    }
    return place;
}

/* Parentheses that are open at the end, of what is neither quoted nor a comment. */
static int parentheses_open(const struct sql *sql)
{
    int open = 0;
    for (size_t i = 0; i < sql->len; i++) {
        char c = sql->text[i];
        const char *end = NULL;
        if (c == '\'' || c == '"') {
            end = strchr(sql->text + i + 1, c);
        } else if (strncmp(sql->text + i, "--", 2) == 0) {
            end = strchr(sql->text + i, '\n');
        }
        i = end == NULL ? i : (size_t)(end - sql->text);
        open += end != NULL ? 0 : c == '(' ? 1 : c == ')' ? -1 : 0;
    }
    return open;
}

/* What stands in front is a bracket or a comma: the start of an element of a list. */
static bool slip_in_list(struct sql *sql, size_t place, size_t behind, const char *word)
{
    char before[WORD_LEN];
    char mark = sql->text[behind - 1];
    char here = sql->text[place];
    word_before(sql, skip_blanks_back(sql, behind - 1), before);
    if (mark == '(' && strcasecmp(before, "filter") == 0) {
        err_hint(sql->err, "write FILTER (WHERE condition)");
    } else if (here == '\'' && strchr(sql->text + place + 1, '\'') == NULL) {
        err_hint(sql->err, "the quote that ends this text is missing");
    } else if (here == '\'' && (mark == ',' || strcasecmp(before, "with") == 0)) {
        err_hint(sql->err, "names of options have no quotes: WITH (topic='...', format='json')");
    } else if (mark == ',' && (here == ')' || strcasecmp(word, "from") == 0)) {
        err_hint(sql->err, "there is a comma too many in front of it");
    } else {
        return false;
    }
    return true;
}

bool sql_slip_hint(struct sql *sql, size_t place)
{
    size_t behind = skip_blanks_back(sql, place);
    if (behind == 0) {
        return false;
    }
    char word[WORD_LEN];
    char before[WORD_LEN];
    char mark = sql->text[behind - 1];
    word_at(sql, place, word);
    word_before(sql, behind, before);
    if (place >= sql->len) {
        if (parentheses_open(sql) <= 0) {
            return false;
        }
        err_hint(sql->err, "a parenthesis is not closed");
    } else if (strcasecmp(word, "create") == 0 || strcasecmp(word, "insert") == 0) {
        err_hint(sql->err, "is a semicolon missing in front of it?");
    } else if (strcasecmp(word, "array") == 0 && sql->text[place + strlen(word)] == '<') {
        err_hint(sql->err, "an array of a type is written type[], e.g. text[]");
    } else if (sql->text[place] == '<' &&
               listed(before, (const char *const[]){"map", "row", "struct"}, 3)) {
        err_hint(sql->err,
                 "there is no such type: jsonb holds objects, column ->> 'field' reads one");
    } else if ((mark == '(' || mark == ',') && slip_in_list(sql, place, behind, word)) {
        return true;
    } else if (listed(word, reserved, array_len(reserved)) &&
               (mark == '(' || mark == ',' ||
                listed(before, before_names, array_len(before_names)))) {
        err_hint(sql->err, "%s is a reserved word; as a name it needs double quotes: \"%s\"", word,
                 word);
    } else {
        return false;
    }
    return true;
}
