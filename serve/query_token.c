/* Own header: query_token.h. */
#include "serve/query_token.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_word(char c)
{
    return isalnum((unsigned char)c) != 0 || c == '_' || c == '$' || ((unsigned char)c & 0x80) != 0;
}

/* Behind blanks and comments. */
static size_t skip_blanks(const char *text, size_t len, size_t at)
{
    for (;;) {
        while (at < len && isspace((unsigned char)text[at]) != 0) {
            at++;
        }
        if (at + 1 < len && text[at] == '-' && text[at + 1] == '-') {
            const char *end = memchr(text + at, '\n', len - at);
            at = end == NULL ? len : (size_t)(end - text);
        } else if (at + 1 < len && text[at] == '/' && text[at + 1] == '*') {
            const char *end = memmem(text + at + 2, len - at - 2, "*/", 2);
            at = end == NULL ? len : (size_t)(end - text) + 2;
        } else {
            return at;
        }
    }
}

/* Behind the quote that ends what begins at `at`; doubled ones stand for one. */
static size_t quoted_end(const char *text, size_t len, size_t at, char first, bool *open)
{
    char quote = first;
    if (first == '[') {
        quote = ']';
    }
    for (at++; at < len; at++) {
        if (text[at] == quote && quote != ']' && at + 1 < len && text[at + 1] == quote) {
            at++;
        } else if (text[at] == quote) {
            *open = false;
            return at + 1;
        }
    }
    *open = true;
    return len;
}

static size_t number_end(const char *text, size_t len, size_t at)
{
    while (at < len && (is_word(text[at]) || text[at] == '.' ||
                        ((text[at] == '+' || text[at] == '-') && (text[at - 1] | 32) == 'e'))) {
        at++;
    }
    return at;
}

static size_t sign_len(const char *text, size_t left)
{
    static const char *const signs[] = {
        "->>", "!~*", "::", "||", "->", "<=", ">=", "<>", "!=", "==", "<<", ">>", "~*", "!~"};
    for (size_t i = 0; i < array_len(signs); i++) {
        size_t len = strlen(signs[i]);
        if (len <= left && memcmp(text, signs[i], len) == 0) {
            return len;
        }
    }
    return 1;
}

static bool is_digit(const char *text, size_t len, size_t at)
{
    return at < len && isdigit((unsigned char)text[at]) != 0;
}

struct query_token query_token_next(const char *text, size_t len, size_t *at)
{
    size_t start = skip_blanks(text, len, *at);
    size_t end = start;
    struct query_token token = {.kind = QUERY_TOKEN_END, .text = text + start};
    char c = '\0';
    if (start < len) {
        c = text[start];
    }
    if (start >= len) {
        end = len;
    } else if (c == '\'') {
        token.kind = QUERY_TOKEN_STRING;
        end = quoted_end(text, len, start, '\'', &token.open);
    } else if (c == '"' || c == '`' || c == '[') {
        token.kind = QUERY_TOKEN_QUOTED;
        end = quoted_end(text, len, start, c, &token.open);
    } else if (is_digit(text, len, start) || (c == '.' && is_digit(text, len, start + 1))) {
        token.kind = QUERY_TOKEN_NUMBER;
        end = number_end(text, len, start + 1);
    } else if (c == '?' || c == '@' || c == '$' ||
               (c == ':' && start + 1 < len && is_word(text[start + 1]))) {
        token.kind = QUERY_TOKEN_PARAM;
        for (end = start + 1; end < len && is_word(text[end]);) {
            end++;
        }
    } else if (is_word(c)) {
        token.kind = QUERY_TOKEN_WORD;
        while (end < len && is_word(text[end])) {
            end++;
        }
    } else {
        token.kind = QUERY_TOKEN_SIGN;
        end = start + sign_len(text + start, len - start);
    }
    token.len = u32_from(end - start);
    *at = end;
    return token;
}

bool query_token_is(const struct query_token *token, const char *word)
{
    bool may = token->kind == QUERY_TOKEN_WORD || token->kind == QUERY_TOKEN_SIGN;
    return may && strlen(word) == token->len && strncasecmp(token->text, word, token->len) == 0;
}

bool query_token_name(const struct query_token *token, char *name, size_t size)
{
    size_t len = 0;
    if (token->kind == QUERY_TOKEN_WORD && token->len < size) {
        for (; len < token->len; len++) {
            unsigned char c = (unsigned char)token->text[len];
            name[len] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        }
    } else if (token->kind == QUERY_TOKEN_QUOTED && !token->open) {
        char quote = token->text[token->len - 1];
        for (size_t i = 1; i + 1 < token->len; i++) {
            if (len + 1 >= size) {
                return false;
            }
            name[len++] = token->text[i];
            i += token->text[i] == quote ? 1 : 0;
        }
    }
    name[len] = '\0';
    return len > 0;
}

size_t query_statement(const char *text, size_t len, bool *empty)
{
    size_t at = 0;
    *empty = true;
    for (;;) {
        struct query_token token = query_token_next(text, len, &at);
        if (token.kind == QUERY_TOKEN_END || token.open) {
            *empty = *empty && token.kind == QUERY_TOKEN_END;
            return 0;
        }
        if (query_token_is(&token, ";")) {
            return at;
        }
        *empty = false;
    }
}
