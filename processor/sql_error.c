/* Errors of a definition: the place as file:line:col, the line, a caret; and did-you-mean. Own header:
 * sql.h.
 *
 * Columns count characters, from 1. The caret line repeats the tabs of the source line, so that the
 * caret stands right wherever tabs stop. A long line is cut around the caret. */
#include "processor/sql.h"

#include "base/suggest.h"

#include <stdarg.h>
#include <string.h>

#define SHOWN_WHOLE  130 /* characters of a line that is shown whole */
#define SHOWN_BEFORE 70  /* of a longer one: before the caret */
#define SHOWN_BEHIND 50

size_t sql_character(const char *bytes, size_t left)
{
    const unsigned char *text = (const unsigned char *)bytes;
    if (text[0] < 0x80) {
        return 1;
    }
    size_t len = text[0] >= 0xC2 && text[0] <= 0xDF   ? 2
                 : text[0] >= 0xE0 && text[0] <= 0xEF ? 3
                 : text[0] >= 0xF0 && text[0] <= 0xF4 ? 4
                                                      : 0;
    if (len == 0 || left < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xF0 && text[1] < 0x90);
    bool beyond = (text[0] == 0xED && text[1] > 0x9F) || (text[0] == 0xF4 && text[1] > 0x8F);
    return overlong || beyond ? 0 : len;
}

/* Behind the character at a place; a stray byte counts as one. */
static size_t step(const struct sql *sql, size_t at)
{
    size_t len = sql_character(sql->text + at, sql->len - at);
    return at + (len == 0 ? 1 : len);
}

/* The line that holds a place. */
struct line {
    size_t start;
    size_t end; /* of its text, without the newline */
    size_t number;
    size_t column;  /* of the place, in characters from 0 */
    size_t columns; /* of the line */
};

static struct line line_of(const struct sql *sql, size_t place)
{
    struct line line = {.number = 1};
    for (size_t i = 0; i < place; i++) {
        if (sql->text[i] == '\n') {
            line.number++;
            line.start = i + 1;
        }
    }
    for (size_t i = line.start; i < place; i = step(sql, i)) {
        line.column++;
    }
    line.end = line.start;
    while (line.end < sql->len && sql->text[line.end] != '\n') {
        line.end++;
    }
    while (line.end > place && line.end > line.start && sql->text[line.end - 1] == '\r') {
        line.end--;
    }
    for (size_t i = line.start; i < line.end; i = step(sql, i)) {
        line.columns++;
    }
    return line;
}

/* "\n  SOURCE LINE\n  CARET" */
static void draw_line(const struct sql *sql, const struct line *line, struct buf *out)
{
    bool whole = line->columns <= SHOWN_WHOLE;
    size_t first = !whole && line->column > SHOWN_BEFORE ? line->column - SHOWN_BEFORE : 0;
    size_t last = whole ? SHOWN_WHOLE : line->column + SHOWN_BEHIND;
    struct buf caret = {0};
    buf_append_text(out, first > 0 ? "\n  ..." : "\n  ");
    buf_append_text(&caret, first > 0 ? "\n     " : "\n  ");
    size_t column = 0;
    size_t i = line->start;
    for (; i < line->end && column <= last; column++) {
        size_t next = step(sql, i);
        char c = sql->text[i];
        bool control = (unsigned char)c < ' ' && c != '\t';
        bool stray = (unsigned char)c >= 0x80 && next == i + 1;
        if (column >= first && (control || stray)) {
            buf_append_text(out, control ? " " : "?");
        } else if (column >= first) {
            buf_append(out, sql->text + i, next - i);
        }
        if (column >= first && column < line->column) {
            buf_append(&caret, c == '\t' ? "\t" : " ", 1);
        }
        i = next;
    }
    buf_append_text(out, i < line->end ? "..." : "");
    buf_append_text(out, buf_text(&caret));
    buf_append_text(out, "^");
    buf_free(&caret);
}

static int printf_like(3, 0)
    error_write(struct sql *sql, int place, const char *format, va_list args)
{
    size_t at = (size_t)(place >= 0 ? place : sql->statement);
    ASSERT_CMP(at, <=, sql->len);
    struct line line = line_of(sql, at);
    struct buf message = {0};
    buf_vprintf(&message, format, args);
    struct buf drawing = {0};
    draw_line(sql, &line, &drawing);
    int rc = err_set(sql->err, KE_SQL, "%.200s:%zu:%zu: %.800s%s", sql->file, line.number,
                     line.column + 1, buf_text(&message), buf_text(&drawing));
    buf_free(&message);
    buf_free(&drawing);
    return rc;
}

int sql_error(struct sql *sql, int place, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = error_write(sql, place, format, args);
    va_end(args);
    return rc;
}

void *sql_error_null(struct sql *sql, int place, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)error_write(sql, place, format, args);
    va_end(args);
    return NULL;
}

/* ---- Did you mean. */

struct sql_guess sql_guess_new(const char *word)
{
    size_t len = strlen(word);
    uint32_t limit = len < 4 ? 1 : len < 8 ? 2 : 3;
    return (struct sql_guess){word, NULL, limit + 1};
}

void sql_guess_offer(struct sql_guess *guess, const char *candidate)
{
    uint32_t distance = suggest_distance(guess->word, candidate);
    if (distance < guess->distance && distance < strlen(guess->word)) {
        guess->distance = distance;
        guess->best = candidate;
    }
}

void sql_guess_hint(struct sql *sql, const struct sql_guess *guess, const char *fallback)
{
    if (guess->best != NULL) {
        err_hint(sql->err, "did you mean \"%s\"?", guess->best);
    } else if (fallback != NULL) {
        err_hint(sql->err, "%s", fallback);
    }
}
