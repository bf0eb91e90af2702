/* One pass over the tokens: each is appended to the pieces, or what it stands for; operators that
 * stand behind their operand go back to where the operand begins. Own header: query_translate.h. */
#include "serve/query_translate.h"

#include "processor/numeric.h"
#include "serve/reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX 200
#define NOWHERE   UINT32_MAX

/* An open parenthesis. */
struct level {
    uint32_t piece; /* its own piece */
    bool cast;      /* CAST( */
};

struct pass {
    struct query_text *query;
    size_t at; /* behind the token at hand */
    struct query_token token;
    struct level levels[DEPTH_MAX];
    uint32_t depth;
    const char *sizes[2]; /* behind the type that was taken: precision, scale; or NULL */
    struct err *err;
};

/* ---- pieces */

static int refuse(const struct pass *pass, const char *message, const char *hint)
{
    size_t place = (size_t)(pass->token.text - pass->query->text);
    int rc = query_error_at(&pass->query->origin, place, pass->err, message);
    err_hint(pass->err, "%s", hint);
    return rc;
}

static void piece_insert(struct query_text *query, uint32_t index, struct query_piece piece)
{
    if (query->count == query->cap) {
        query->cap = query->cap == 0 ? 64 : 2 * query->cap;
        query->pieces = xrealloc(query->pieces, query->cap * sizeof *query->pieces);
    }
    memmove(&query->pieces[index + 1], &query->pieces[index],
            (query->count - index) * sizeof *query->pieces);
    query->pieces[index] = piece;
    query->count++;
}

/* A piece that stands where the token stands. */
static struct query_piece piece_of(const struct pass *pass, enum query_token_kind kind,
                                   const char *text)
{
    return (struct query_piece){
        .kind = kind,
        .text = text,
        .len = u32_from(strlen(text)),
        .place = u32_from((size_t)(pass->token.text - pass->query->text)),
        .blank = kind == QUERY_TOKEN_WORD,
    };
}

static void put(struct pass *pass, enum query_token_kind kind, const char *text)
{
    piece_insert(pass->query, pass->query->count, piece_of(pass, kind, text));
}

static const char *keep(struct query_text *query, char *made)
{
    query->made = xrealloc(query->made, (query->made_count + 1) * sizeof *query->made);
    query->made[query->made_count++] = made;
    return made;
}

static void put_token(struct pass *pass)
{
    const struct query_token *token = &pass->token;
    size_t place = (size_t)(token->text - pass->query->text);
    struct query_piece piece = {.kind = token->kind,
                                .text = token->text,
                                .len = token->len,
                                .place = u32_from(place),
                                .blank = place > 0 && strchr(" \t\r\n/", token->text[-1]) != NULL};
    piece_insert(pass->query, pass->query->count, piece);
}

static bool piece_is(const struct query_piece *piece, const char *word)
{
    bool may = piece->kind == QUERY_TOKEN_WORD || piece->kind == QUERY_TOKEN_SIGN;
    return may && strlen(word) == piece->len && strncasecmp(piece->text, word, piece->len) == 0;
}

static bool last_is(const struct pass *pass, const char *word)
{
    return pass->query->count > 0 && piece_is(&pass->query->pieces[pass->query->count - 1], word);
}

/* ---- operands */

/* Where the bracket that `end` closes was opened. */
static uint32_t matching(const struct query_text *query, uint32_t end, const char *open,
                         const char *close)
{
    uint32_t depth = 0;
    for (uint32_t i = end + 1; i-- > 0;) {
        if (piece_is(&query->pieces[i], close)) {
            depth++;
        } else if (piece_is(&query->pieces[i], open) && --depth == 0) {
            return i;
        }
    }
    return NOWHERE;
}

static bool is_name(const struct query_piece *piece)
{
    static const char *const keywords[] = {"AND",  "OR",   "NOT",  "IN",     "WHERE", "SELECT",
                                           "ON",   "WHEN", "THEN", "ELSE",   "CASE",  "BY",
                                           "FROM", "JOIN", "AS",   "HAVING", "USING", "VALUES"};
    for (size_t i = 0; i < array_len(keywords); i++) {
        if (piece_is(piece, keywords[i])) {
            return false;
        }
    }
    return piece->kind == QUERY_TOKEN_WORD || piece->kind == QUERY_TOKEN_QUOTED;
}

/* First piece of the operand whose last one is `end`, or NOWHERE: a literal, a name with its
 * qualifiers, a call with FILTER and OVER, a parenthesis, CASE ... END. */
static uint32_t operand(const struct query_text *query, uint32_t end)
{
    const struct query_piece *pieces = query->pieces;
    if (piece_is(&pieces[end], "END")) {
        return matching(query, end, "CASE", "END");
    }
    uint32_t at = end;
    while (piece_is(&pieces[at], ")")) {
        at = matching(query, at, "(", ")");
        if (at == NOWHERE || at == 0 || !is_name(&pieces[at - 1])) {
            return at;
        }
        at--;
        bool behind = piece_is(&pieces[at], "OVER") || piece_is(&pieces[at], "FILTER");
        if (!behind || at == 0) {
            break;
        }
        at--;
    }
    bool name = is_name(&pieces[at]);
    bool literal = pieces[at].kind == QUERY_TOKEN_STRING || pieces[at].kind == QUERY_TOKEN_NUMBER ||
                   pieces[at].kind == QUERY_TOKEN_PARAM || piece_is(&pieces[at], "NULL");
    if (!name) {
        return literal ? at : NOWHERE;
    }
    while (at >= 2 && piece_is(&pieces[at - 1], ".") && is_name(&pieces[at - 2])) {
        at -= 2;
    }
    return at;
}

/* Turns the pieces from `first` on into the arguments of a call. */
static void wrap(struct pass *pass, uint32_t first, const char *function)
{
    bool blank = pass->query->pieces[first].blank;
    struct query_piece name = piece_of(pass, QUERY_TOKEN_WORD, function);
    name.blank = blank;
    pass->query->pieces[first].blank = false;
    piece_insert(pass->query, first, name);
    piece_insert(pass->query, first + 1, piece_of(pass, QUERY_TOKEN_SIGN, "("));
    put(pass, QUERY_TOKEN_SIGN, ")");
}

/* ---- types */

static struct query_token peek(const struct pass *pass, size_t *at)
{
    *at = pass->at;
    return query_token_next(pass->query->text, pass->query->len, at);
}

/* Takes the next token if it is this word. */
static bool take(struct pass *pass, const char *word)
{
    size_t at = 0;
    struct query_token token = peek(pass, &at);
    if (!query_token_is(&token, word)) {
        return false;
    }
    pass->at = at;
    return true;
}

/* The function that converts to a type. */
static const char *cast_function(const struct query_token *type)
{
    static const struct {
        const char *type;
        const char *function;
    } casts[] = {
        {"int", "to_integer"},        {"integer", "to_integer"}, {"bigint", "to_integer"},
        {"smallint", "to_integer"},   {"int2", "to_integer"},    {"int4", "to_integer"},
        {"int8", "to_integer"},       {"double", "to_double"},   {"real", "to_double"},
        {"float", "to_double"},       {"float4", "to_double"},   {"float8", "to_double"},
        {"numeric", "to_numeric"},    {"decimal", "to_numeric"}, {"text", "to_text"},
        {"varchar", "to_text"},       {"char", "to_text"},       {"character", "to_text"},
        {"uuid", "to_text"},          {"jsonb", "to_text"},      {"boolean", "to_boolean"},
        {"bool", "to_boolean"},       {"date", "to_date"},       {"timestamptz", "timestamptz"},
        {"timestamp", "timestamptz"},
    };

    for (size_t i = 0; i < array_len(casts); i++) {
        if (query_token_is(type, casts[i].type)) {
            return casts[i].function;
        }
    }
    return NULL;
}

/* Reads a type behind :: or AS; its function, or NULL and an error. "interval" is given as such. */
static const char *take_type(struct pass *pass)
{
    pass->token = query_token_next(pass->query->text, pass->query->len, &pass->at);
    memset(pass->sizes, 0, sizeof pass->sizes);
    const char *function =
        query_token_is(&pass->token, "interval") ? "interval" : cast_function(&pass->token);
    if (function == NULL) {
        (void)refuse(
            pass, "there is no conversion to this type here",
            "integer, bigint, double precision, numeric, text, boolean, date, timestamptz");
        return NULL;
    }
    if (query_token_is(&pass->token, "double")) {
        (void)take(pass, "precision");
    } else if (query_token_is(&pass->token, "character")) {
        (void)take(pass, "varying");
    } else if (query_token_is(&pass->token, "timestamp") &&
               (take(pass, "with") || take(pass, "without"))) {
        (void)take(pass, "time");
        (void)take(pass, "zone");
    }
    if (take(pass, "(")) { /* varchar(20), numeric(10, 2) */
        struct query_token token;
        uint32_t count = 0;
        do {
            token = query_token_next(pass->query->text, pass->query->len, &pass->at);
            if (token.kind == QUERY_TOKEN_NUMBER && count < array_len(pass->sizes)) {
                pass->sizes[count++] = keep(pass->query, xstrndup(token.text, token.len));
            }
        } while (token.kind == QUERY_TOKEN_NUMBER || query_token_is(&token, ","));
    }
    return function;
}

/* The precision and scale of the type that was taken, as arguments of its function. */
static void put_sizes(struct pass *pass, const char *function)
{
    if (strcmp(function, "to_numeric") == 0 && pass->sizes[0] != NULL) {
        put(pass, QUERY_TOKEN_SIGN, ",");
        put(pass, QUERY_TOKEN_NUMBER, pass->sizes[0]);
        put(pass, QUERY_TOKEN_SIGN, ",");
        put(pass, QUERY_TOKEN_NUMBER, pass->sizes[1] == NULL ? "0" : pass->sizes[1]);
    }
}

/* ---- spellings */

/* TIME +|- INTERVAL 'text'; the sign is the last piece. text: with its quotes. */
static int interval(struct pass *pass, const struct query_token *text)
{
    struct query_text *query = pass->query;
    bool plus = last_is(pass, "+");
    uint32_t first = (plus || last_is(pass, "-")) && query->count >= 2
                         ? operand(query, query->count - 2)
                         : NOWHERE;
    if (first == NOWHERE) {
        return refuse(pass, "an interval can only be added to a time or taken from one",
                      "write  t + interval '1 hour'  or  now() - interval '7 days'");
    }
    query->count--;
    const char *made =
        keep(query, xasprintf("'%s%.*s", plus ? "" : "-", int_from(text->len - 1), text->text + 1));
    put(pass, QUERY_TOKEN_SIGN, ",");
    put(pass, QUERY_TOKEN_STRING, made);
    wrap(pass, first, "time_add");
    return 0;
}

static int cast_behind(struct pass *pass)
{
    struct query_text *query = pass->query;
    uint32_t first = query->count > 0 ? operand(query, query->count - 1) : NOWHERE;
    if (first == NOWHERE) {
        return refuse(pass, "there is nothing to convert in front of ::",
                      "put parentheses around it: (a + b)::double precision");
    }
    struct query_token sign = pass->token;
    const char *function = take_type(pass);
    if (function == NULL) {
        return -KE_SQL;
    }
    if (strcmp(function, "interval") != 0) {
        put_sizes(pass, function);
        wrap(pass, first, function);
        return 0;
    }
    const struct query_piece *piece = &query->pieces[first];
    struct query_token text = {.kind = piece->kind, .text = piece->text, .len = piece->len};
    pass->token = sign;
    if (text.kind != QUERY_TOKEN_STRING) {
        return refuse(pass, "only a literal can be an interval here", "write interval '1 hour'");
    }
    query->count--;
    return interval(pass, &text);
}

/* AS inside of CAST( ... AS type ). */
static int cast_as(struct pass *pass)
{
    uint32_t open = pass->levels[pass->depth - 1].piece;
    const char *function = take_type(pass);
    if (function == NULL) {
        return -KE_SQL;
    }
    if (strcmp(function, "interval") == 0) {
        return refuse(pass, "only a literal can be an interval here", "write interval '1 hour'");
    }
    struct query_piece *name = &pass->query->pieces[open - 1];
    name->text = function;
    name->len = u32_from(strlen(function));
    put_sizes(pass, function);
    return 0;
}

/* percentile_cont(p) WITHIN GROUP (ORDER BY x): the call goes on with x. */
static int within_group(struct pass *pass)
{
    struct query_text *query = pass->query;
    bool call = last_is(pass, ")") && take(pass, "GROUP") && take(pass, "(") &&
                take(pass, "ORDER") && take(pass, "BY");
    uint32_t open = call ? matching(query, query->count - 1, "(", ")") : NOWHERE;
    if (open == NOWHERE || pass->depth == DEPTH_MAX) {
        return refuse(pass, "WITHIN GROUP is not understood here",
                      "write percentile_cont(0.5) WITHIN GROUP (ORDER BY x)");
    }
    query->count--;
    put(pass, QUERY_TOKEN_SIGN, ",");
    pass->levels[pass->depth++] = (struct level){.piece = open};
    return 0;
}

/* EXTRACT(field FROM t): 1 done, 0 it is none. */
static int extract(struct pass *pass)
{
    size_t start = pass->at;
    if (!take(pass, "(") || pass->depth == DEPTH_MAX) {
        pass->at = start;
        return 0;
    }
    struct query_token field = query_token_next(pass->query->text, pass->query->len, &pass->at);
    if (field.kind != QUERY_TOKEN_WORD || !take(pass, "FROM")) {
        pass->at = start;
        return 0;
    }
    put(pass, QUERY_TOKEN_WORD, "date_part");
    put(pass, QUERY_TOKEN_SIGN, "(");
    pass->levels[pass->depth++] = (struct level){.piece = pass->query->count - 1};
    put(pass, QUERY_TOKEN_STRING,
        keep(pass->query, xasprintf("'%.*s'", int_from(field.len), field.text)));
    put(pass, QUERY_TOKEN_SIGN, ",");
    return 1;
}

/* TYPE 'literal': 1 done, 0 it is none, negative. */
static int typed_literal(struct pass *pass)
{
    bool is_interval = query_token_is(&pass->token, "interval");
    bool is_time =
        query_token_is(&pass->token, "timestamptz") || query_token_is(&pass->token, "timestamp");
    size_t at = 0;
    struct query_token text = peek(pass, &at);
    if (text.kind != QUERY_TOKEN_STRING ||
        (!is_interval && !is_time && !query_token_is(&pass->token, "date"))) {
        return 0;
    }
    pass->at = at;
    if (is_interval) {
        size_t unit_at = 0;
        struct query_token unit = peek(pass, &unit_at); /* interval '5' minute */
        static const char *const units[] = {"second", "minute", "hour", "day", "week"};
        for (size_t i = 0; i < array_len(units); i++) {
            if (query_token_is(&unit, units[i])) {
                pass->at = unit_at;
                text.text = keep(pass->query, xasprintf("%.*s %s'", int_from(text.len - 1),
                                                        text.text, units[i]));
                text.len = u32_from(strlen(text.text));
                break;
            }
        }
        int rc = interval(pass, &text);
        return rc < 0 ? rc : 1;
    }
    put(pass, QUERY_TOKEN_WORD, is_time ? "timestamptz" : "to_date");
    put(pass, QUERY_TOKEN_SIGN, "(");
    put(pass, QUERY_TOKEN_STRING, keep(pass->query, xstrndup(text.text, text.len)));
    put(pass, QUERY_TOKEN_SIGN, ")");
    return 1;
}

/* EXPLAIN: the plan, which people mean, and not SQLite's program. Returns 1, or negative. */
static int explain_plan(struct pass *pass)
{
    size_t at = 0;
    struct query_token next = peek(pass, &at);
    if (query_token_is(&next, "ANALYZE") || query_token_is(&next, "VERBOSE") ||
        query_token_is(&next, "(")) {
        return refuse(pass, "EXPLAIN has no options here",
                      "EXPLAIN SELECT ... shows the plan; \\timing in `kappa sql` says how long a "
                      "statement takes");
    }
    put_token(pass);
    if (!query_token_is(&next, "QUERY")) {
        put(pass, QUERY_TOKEN_WORD, "QUERY");
        put(pass, QUERY_TOKEN_WORD, "PLAN");
    }
    return 1;
}

/* 1 done, 0 nothing special, negative. */
static int word(struct pass *pass)
{
    const struct query_token *token = &pass->token;
    if (query_token_is(token, "EXPLAIN") && pass->query->count == 0) {
        return explain_plan(pass);
    }
    bool inside_cast = pass->depth > 0 && pass->levels[pass->depth - 1].cast;
    if (query_token_is(token, "AS") && inside_cast) {
        int rc = cast_as(pass);
        return rc < 0 ? rc : 1;
    }
    if (query_token_is(token, "ILIKE")) {
        put(pass, QUERY_TOKEN_WORD, "MATCH");
        return 1;
    }
    if (query_token_is(token, "WITHIN") && last_is(pass, ")")) {
        int rc = within_group(pass);
        return rc < 0 ? rc : 1;
    }
    if (query_token_is(token, "ON") && last_is(pass, "DISTINCT")) {
        return refuse(pass, "DISTINCT ON is not supported",
                      "number the rows: SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k "
                      "ORDER BY t DESC) AS n FROM x) WHERE n = 1");
    }
    if (query_token_is(token, "LATERAL")) {
        return refuse(pass, "LATERAL is not supported",
                      "join a subquery, or number its rows with row_number()");
    }
    if (query_token_is(token, "FETCH") && pass->query->count > 0) {
        return refuse(pass, "FETCH FIRST is not supported", "write LIMIT n");
    }
    if (query_token_is(token, "EXTRACT")) {
        return extract(pass);
    }
    bool is_left = query_token_is(token, "LEFT");
    size_t at = 0;
    struct query_token next = peek(pass, &at);
    if ((is_left || query_token_is(token, "RIGHT")) && query_token_is(&next, "(")) {
        put(pass, QUERY_TOKEN_WORD, is_left ? "text_left" : "text_right");
        return 1;
    }
    if (query_token_is(token, "CURRENT_TIMESTAMP") || query_token_is(token, "LOCALTIMESTAMP")) {
        put(pass, QUERY_TOKEN_WORD, "now");
        put(pass, QUERY_TOKEN_SIGN, "(");
        put(pass, QUERY_TOKEN_SIGN, ")");
        return 1;
    }
    return typed_literal(pass);
}

/* A literal of more digits than a double or a whole number keeps, which SQLite would round; 1 done, 0 it is
 * none. */
static int long_number(struct pass *pass)
{
    const struct query_token *token = &pass->token;
    uint32_t digits = 0; /* from the first that is not 0 */
    uint32_t count = 0;
    while (count < token->len && strchr("0123456789.", token->text[count]) != NULL) {
        char c = token->text[count++];
        digits += c != '.' && (digits > 0 || c != '0');
    }
    bool whole = memchr(token->text, '.', token->len) == NULL;
    if (count < token->len || digits <= (whole ? 18 : 15) || digits > NUMERIC_DIGITS ||
        count > NUMERIC_DIGITS) {
        return 0;
    }
    put(pass, QUERY_TOKEN_WORD, "to_numeric");
    put(pass, QUERY_TOKEN_SIGN, "(");
    put(pass, QUERY_TOKEN_STRING,
        keep(pass->query, xasprintf("'%.*s'", int_from(token->len), token->text)));
    put(pass, QUERY_TOKEN_SIGN, ")");
    return 1;
}

/* name@3, name@candidate: 1 done, 0 it is none. */
static int named_version(struct pass *pass)
{
    const struct query_token *token = &pass->token;
    struct query_text *query = pass->query;
    const struct query_piece *last = query->count > 0 ? &query->pieces[query->count - 1] : NULL;
    uint32_t version;
    if (last == NULL || last->kind != QUERY_TOKEN_WORD || token->text[0] != '@' ||
        last->place + last->len != (size_t)(token->text - query->text) ||
        !reader_version_parse(token->text + 1, token->len - 1, &version)) {
        return 0;
    }
    struct query_piece *name = &query->pieces[query->count - 1];
    name->text = keep(query, xasprintf("\"%.*s%.*s\"", int_from(last->len), last->text,
                                       int_from(token->len), token->text));
    name->len = u32_from(strlen(name->text));
    name->kind = QUERY_TOKEN_QUOTED;
    return 1;
}

/* 1 done, 0 nothing special, negative. */
static int sign(struct pass *pass)
{
    const struct query_token *token = &pass->token;
    if (query_token_is(token, "::")) {
        int rc = cast_behind(pass);
        return rc < 0 ? rc : 1;
    }
    bool tilde = query_token_is(token, "~") && pass->query->count > 0 &&
                 operand(pass->query, pass->query->count - 1) != NOWHERE;
    if (tilde || query_token_is(token, "~*") || query_token_is(token, "!~*") ||
        query_token_is(token, "!~")) {
        return refuse(pass, "regular expressions are not supported here",
                      "use LIKE, ILIKE or GLOB");
    }
    if (query_token_is(token, "(")) {
        if (pass->depth == DEPTH_MAX) {
            return refuse(pass, "too many parentheses inside one another", "take it apart");
        }
        pass->levels[pass->depth++] =
            (struct level){.piece = pass->query->count, .cast = last_is(pass, "CAST")};
    } else if (query_token_is(token, ")") && pass->depth > 0) {
        pass->depth--;
    }
    return 0;
}

static void render(struct query_text *query)
{
    for (uint32_t i = 0; i < query->count; i++) {
        struct query_piece *piece = &query->pieces[i];
        const struct query_piece *last = i > 0 ? piece - 1 : NULL;
        bool words = last != NULL && last->kind != QUERY_TOKEN_SIGN &&
                     piece->kind != QUERY_TOKEN_SIGN; /* never glued together */
        if (last != NULL && (piece->blank || words)) {
            buf_append_u8(&query->out, ' ');
        }
        piece->out = u32_from(query->out.len);
        buf_append(&query->out, piece->text, piece->len);
    }
}

int query_translate(struct query_text *query, const char *text, size_t len,
                    const struct query_origin *origin, struct err *err)
{
    *query = (struct query_text){.text = text, .len = len, .origin = {.text = text, .len = len}};
    if (origin != NULL) {
        query->origin = *origin;
    }
    struct pass pass = {.query = query, .err = err};
    for (;;) {
        pass.token = query_token_next(text, len, &pass.at);
        int rc = 0;
        if (pass.token.kind == QUERY_TOKEN_END || query_token_is(&pass.token, ";")) {
            break;
        }
        if (pass.token.open) {
            return refuse(&pass, "this quote has no end", "");
        }
        if (pass.token.kind == QUERY_TOKEN_WORD) {
            rc = word(&pass);
        } else if (pass.token.kind == QUERY_TOKEN_SIGN) {
            rc = sign(&pass);
        } else if (pass.token.kind == QUERY_TOKEN_PARAM) {
            rc = named_version(&pass);
        } else if (pass.token.kind == QUERY_TOKEN_NUMBER) {
            rc = long_number(&pass);
        }
        if (rc < 0) {
            return rc;
        }
        if (rc == 0) {
            put_token(&pass);
        }
    }
    struct query_token behind = query_token_next(text, len, &pass.at);
    if (behind.kind != QUERY_TOKEN_END && query_token_is(&pass.token, ";")) {
        pass.token = behind;
        return refuse(&pass, "one statement at a time",
                      "send what is behind the semicolon by itself");
    }
    render(query);
    return 0;
}

size_t query_place(const struct query_text *query, size_t out)
{
    size_t place = query->len;
    for (uint32_t i = 0; i < query->count && query->pieces[i].out <= out; i++) {
        place = query->pieces[i].place;
    }
    return place;
}

void query_text_free(struct query_text *query)
{
    for (uint32_t i = 0; i < query->made_count; i++) {
        free(query->made[i]);
    }
    free(query->made);
    free(query->pieces);
    buf_free(&query->out);
    *query = (struct query_text){0};
}
