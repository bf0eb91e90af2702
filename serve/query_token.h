/* Words of a statement as read-time SQL writes them: enough to find names of tables, ends of
 * statements, and spellings to translate. Broken text gives odd tokens, never an error: SQLite says
 * what is wrong with it. */
#ifndef KAPPA_SERVE_QUERY_TOKEN_H
#define KAPPA_SERVE_QUERY_TOKEN_H

#include "base/base.h"

enum query_token_kind {
    QUERY_TOKEN_END,
    QUERY_TOKEN_WORD,   /* keyword or bare name */
    QUERY_TOKEN_QUOTED, /* "name", [name], `name` */
    QUERY_TOKEN_STRING, /* 'text' */
    QUERY_TOKEN_NUMBER,
    QUERY_TOKEN_PARAM, /* ?1 $1 :name @name */
    QUERY_TOKEN_SIGN   /* an operator or a parenthesis */
};

struct query_token {
    enum query_token_kind kind;
    const char *text;
    uint32_t len;
    bool open; /* a quote without its end */
};

/* The token at or behind *at, which moves behind it; blanks and comments are passed over. */
struct query_token query_token_next(const char *text, size_t len, size_t *at);

/* Is it this word (in capitals), or this sign? */
bool query_token_is(const struct query_token *token, const char *word);

/* The name that a word or quoted token stands for: folded to small letters, or without its quotes.
 * False when it is none or does not fit. */
bool query_token_name(const struct query_token *token, char *name, size_t size);

/* Bytes of the first statement with its semicolon; 0: it has no end yet. *empty: it holds nothing
 * but blanks and comments. */
size_t query_statement(const char *text, size_t len, bool *empty);

#endif
