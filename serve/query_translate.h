/* Spellings of PostgreSQL that SQLite lacks, rewritten word by word:
 *
 *     x::type, CAST(x AS type)     the functions that convert as PostgreSQL does
 *     t + interval '1 hour'        time_add(t, '1 hour'), and with a minus
 *     timestamptz '...', date '...'
 *     extract(field FROM t)        date_part('field', t)
 *     x ILIKE y                    x MATCH y; match() is ours
 *     percentile_cont(p) WITHIN GROUP (ORDER BY x)     percentile_cont(p, x)
 *     current_timestamp            now()
 *     left(x, n), right(x, n)      text_left(x, n): to SQLite LEFT is a word of joins
 *     name@3                       "name@3"
 *
 * What cannot be rewritten is refused with the way out. Places in the new text lead back to places
 * in the old one, for messages. */
#ifndef KAPPA_SERVE_QUERY_TRANSLATE_H
#define KAPPA_SERVE_QUERY_TRANSLATE_H

#include "base/buf.h"
#include "base/err.h"
#include "serve/query_token.h"

/* A piece of the new text. */
struct query_piece {
    enum query_token_kind kind;
    const char *text; /* of the old text, a constant, or in `made` */
    uint32_t len;
    uint32_t place; /* in the old text */
    uint32_t out;   /* in the new text */
    bool blank;     /* something stood in front of it */
};

/* Where a text was taken from, for messages: a whole one of which it is a part. */
struct query_origin {
    const char *file; /* or NULL */
    const char *text;
    size_t len;
    size_t place; /* of the part */
};

struct query_text {
    const char *text; /* the old one */
    size_t len;
    struct query_origin origin;
    struct query_piece *pieces;
    uint32_t count;
    uint32_t cap;
    char **made; /* owned texts of pieces */
    uint32_t made_count;
    struct buf out; /* the new text */
};

/* KE_SQL, as query_error_at writes it. Free it in any case. origin NULL: the text is whole. */
int query_translate(struct query_text *query, const char *text, size_t len,
                    const struct query_origin *origin, struct err *err) must_check;
/* The place in the old text of a place in the new one. */
size_t query_place(const struct query_text *query, size_t out);
void query_text_free(struct query_text *query);

/* "[file:]line:column: message", the line, a caret. place: in the part. Returns -KE_SQL. */
int query_error_at(const struct query_origin *origin, size_t place, struct err *err,
                   const char *message);

#endif
