/* What is redrawn in place has to fit the terminal: a line that wraps, or one too many, and the
 * next picture lands in the wrong place. Own header: output.h. */
#include "cli/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <wchar.h>

void out_screen(int fd, uint32_t *columns, uint32_t *rows)
{
    struct winsize size = {.ws_col = 0};
    bool known = ioctl(fd, TIOCGWINSZ, &size) == 0;
    *columns = known ? size.ws_col : 0;
    *rows = known ? size.ws_row : 0;
}

/* Length of a sequence that colours, or 0. */
static size_t escape_len(const char *text, size_t len)
{
    if (len < 3 || text[0] != '\x1b' || text[1] != '[') {
        return 0;
    }
    size_t at = 2;
    while (at < len && text[at] != 'm') {
        at++;
    }
    return at < len ? at + 1 : 0;
}

/* Bytes of the letter at text, and its columns. */
static size_t letter(const char *text, size_t len, uint32_t *columns)
{
    mbstate_t state = {0};
    wchar_t wide;
    size_t bytes = mbrtowc(&wide, text, len, &state);
    int width = bytes == 0 || bytes > len ? 1 : wcwidth(wide);
    *columns = width > 0 ? (uint32_t)width : 0;
    return bytes == 0 || bytes > len ? 1 : bytes;
}

/* Without what is behind the last column; its colours end all the same. */
static void line_clip(const char *line, size_t len, uint32_t columns, struct buf *out)
{
    uint32_t column = 0;
    for (size_t at = 0; at < len;) {
        uint32_t width = 0;
        size_t escape = escape_len(line + at, len - at);
        size_t bytes = escape > 0 ? escape : letter(line + at, len - at, &width);
        if (escape > 0 || column + width < columns) {
            buf_append(out, line + at, bytes);
        }
        column += width;
        at += bytes;
    }
}

uint32_t out_clip(struct buf *text, uint32_t columns, uint32_t rows)
{
    struct buf out = {0};
    const char *line = buf_text(text);
    uint32_t all = 0;
    uint32_t drawn = 0;
    for (size_t i = 0; i < text->len; i++) {
        all += text->data[i] == '\n';
    }
    bool fits = rows < 3 || all < rows;
    for (uint32_t i = 0; i < all; i++) {
        size_t len = strcspn(line, "\n");
        if (fits || i + 2 < rows) {
            line_clip(line, len, columns > 1 ? columns : UINT32_MAX, &out);
            buf_append_u8(&out, '\n');
            drawn++;
        }
        line += len + 1;
    }
    if (!fits) {
        buf_printf(&out, "and %" PRIu32 " lines more\n", all - drawn);
        drawn++;
    }
    buf_free(text);
    *text = out;
    return drawn;
}
