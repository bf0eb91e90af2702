/* Text in lines that fit a terminal. Own header: output.h. */
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>

void out_wrapped(struct buf *out, const char *text, size_t len, size_t indent, size_t width,
                 size_t *column)
{
    const char *end = text + len;
    bool begins = true; /* nothing stands in this line yet but its indent */
    while (text < end) {
        if (*text == ' ' || *text == '\n') {
            text++;
            continue;
        }
        size_t word_len = 0;
        while (text + word_len < end && text[word_len] != ' ' && text[word_len] != '\n') {
            word_len++;
        }
        char *word = xstrndup(text, word_len);
        size_t word_width = out_width(word);
        if (!begins && *column + 1 + word_width > width) {
            buf_append_u8(out, '\n');
            for (size_t i = 0; i < indent; i++) {
                buf_append_u8(out, ' ');
            }
            *column = indent;
        } else if (!begins) {
            buf_append_u8(out, ' ');
            (*column)++;
        }
        buf_append_text(out, word);
        *column += word_width;
        begins = false;
        text += word_len;
        free(word);
    }
}

/* How many bytes the paragraph that begins here has: up to a line that is empty, or begins with a
 * blank. */
static size_t paragraph_len(const char *text)
{
    size_t len = 0;
    do {
        len += strcspn(text + len, "\n");
        len += text[len] == '\n';
    } while (text[len] != '\0' && text[len] != '\n' && text[len] != ' ');
    return len;
}

void out_paragraphs(struct buf *out, const char *text)
{
    while (*text != '\0') {
        size_t len;
        if (*text == ' ' || *text == '\n') {
            len = strcspn(text, "\n");
            buf_append(out, text, len);
            len += text[len] == '\n';
        } else {
            size_t column = 0;
            len = paragraph_len(text);
            out_wrapped(out, text, len, 0, OUT_LINE, &column);
        }
        buf_append_u8(out, '\n');
        text += len;
    }
}
