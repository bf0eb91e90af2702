/* Errors of a statement with the place, its line and a caret. Own header: query_translate.h. */
#include "serve/query_translate.h"

#include <string.h>

#define SHOWN_BEFORE 100 /* bytes of the line in front of the place, and behind it */
#define SHOWN_BEHIND 60

static bool continues(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

int query_error_at(const struct query_origin *origin, size_t place, struct err *err,
                   const char *message)
{
    const char *text = origin->text;
    size_t len = origin->len;
    place = place + origin->place < len ? place + origin->place : len;
    size_t line = 1;
    size_t start = 0;
    for (size_t i = 0; i < place; i++) {
        if (text[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    size_t column = 1;
    for (size_t i = start; i < place; i++) {
        column += continues(text[i]) ? 0 : 1;
    }
    size_t end = place;
    while (end < len && text[end] != '\n' && (end < place + SHOWN_BEHIND || continues(text[end]))) {
        end++;
    }
    size_t shown = place - start > SHOWN_BEFORE ? place - SHOWN_BEFORE : start;
    while (shown < place && continues(text[shown])) {
        shown++;
    }
    struct buf caret = {0};
    for (size_t i = shown; i < place; i++) {
        if (!continues(text[i])) {
            buf_append_u8(&caret, text[i] == '\t' ? '\t' : ' ');
        }
    }
    int rc = err_set(err, KE_SQL, "%s%s%zu:%zu: %s\n  %.*s\n  %s^",
                     origin->file == NULL ? "" : origin->file, origin->file == NULL ? "" : ":",
                     line, column, message, int_from(end - shown), text + shown, buf_text(&caret));
    buf_free(&caret);
    return rc;
}
