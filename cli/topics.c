/* Topics of the help. Their texts are pages of the documentation, docs/help/NAME.md: there they are
 * read as Markdown, and their commands run by a test; here the marks of Markdown are taken away. Own
 * header: topics.h. */
#include "cli/topics.h"

#include "base/embed.h"
#include "cli/output.h"

#include <string.h>

#define X(name, summary) EMBED(topic_##name, "docs/help/" #name ".md")
#include "cli/topics.def"
#undef X

static const struct topic {
    const char *name;
    const char *summary;
    const uint8_t *text;
} topics[] = {

#define X(name, summary) {#name, summary, embed_topic_##name},
#include "cli/topics.def"
#undef X
};

/* A line without the marks of Markdown; in a block it is set in. */
static void line_text(struct buf *out, const char *line, size_t len, bool block, bool colour)
{
    size_t marks = block ? 0 : strspn(line, "#");
    if (marks > 0) {
        char *title = xstrndup(line + marks + 1, len - marks - 1);
        out_styled(out, colour, OUT_BOLD, title);
        free(title);
    } else {
        buf_append_text(out, block && len > 0 ? "    " : "");
        buf_append(out, line, len);
    }
    buf_append_u8(out, '\n');
}

bool topics_text(struct buf *out, const char *name, bool colour)
{
    const char *at = NULL;
    for (size_t i = 0; i < array_len(topics); i++) {
        at = strcmp(topics[i].name, name) == 0 ? (const char *)topics[i].text : at;
    }
    bool found = at != NULL;
    bool block = false;
    while (found && *at != '\0') {
        size_t len = strcspn(at, "\n");
        if (strncmp(at, "```", 3) == 0) {
            block = !block;
        } else {
            line_text(out, at, len, block, colour);
        }
        at += len + (at[len] == '\n');
    }
    return found;
}

void topics_list(struct buf *out)
{
    struct out_table table;
    out_table_begin(&table, 2, 0);
    table.indent = 2;
    table.wrap = OUT_LINE;
    for (size_t i = 0; i < array_len(topics); i++) {
        out_table_cell(&table, topics[i].name);
        out_table_cell(&table, topics[i].summary);
    }
    out_table_cell(&table, "functions");
    out_table_cell(&table, "all functions of SQL; `kappa help functions NAME` shows examples");
    out_table_end(&table, false, out);
}

const char *topics_page(size_t i)
{
    return i < array_len(topics) ? (const char *)topics[i].text : NULL;
}

const char *topics_name(size_t i)
{
    return i < array_len(topics) ? topics[i].name : i == array_len(topics) ? "functions" : NULL;
}
