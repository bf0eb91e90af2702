/* The manual as roff (macros of man). Own header: manual.h. Texts of commands are paragraphs, and lines
 * that are set in, which stay as they are; topics are the pages of docs/help with the few marks of
 * Markdown that they use. */
#include "cli/manual.h"

#include "cli/cmd.h"
#include "cli/options.h"
#include "cli/topics.h"
#include "include/kappa/version.h"

#include <string.h>

const char cli_exit_codes[] = "0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused by a "
                              "safety check,\n5 cannot reach the server or broker, 6 not "
                              "authorized, 7 a wait ran out";

/* Text that roff prints as it is. */
static void roff_bytes(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool begins = i == 0 || text[i - 1] == '\n';
        if (begins && (text[i] == '.' || text[i] == '\'')) {
            buf_append_text(out, "\\&");
        }
        if (text[i] == '\\' || text[i] == '-') {
            buf_append_u8(out, '\\');
        }
        buf_append_u8(out, text[i] == '\\' ? 'e' : (uint8_t)text[i]);
    }
}

static void roff_text(struct buf *out, const char *text)
{
    roff_bytes(out, text, strlen(text));
}

/* Paragraphs, blocks and lists as they follow one another: which roff they need is decided line by line. */
struct roff {
    struct buf *out;
    bool block; /* lines stay as they are */
    bool item;  /* of a list */
    bool gap;   /* an empty line came */
    bool any;   /* text came behind the title, which begins a paragraph itself */
};

static void paragraph(struct roff *roff)
{
    buf_append_text(roff->out, roff->any ? ".PP\n" : "");
    roff->any = true;
}

static void block_end(struct roff *roff)
{
    if (roff->block) {
        buf_append_text(roff->out, ".fi\n.RE\n");
    }
    roff->block = false;
}

/* A line that stays as it is. */
static void block_line(struct roff *roff, const char *line, size_t len)
{
    if (!roff->block) {
        if (!roff->item) {
            paragraph(roff);
        }
        buf_append_text(roff->out, roff->item ? ".RS\n.nf\n" : ".RS 4\n.nf\n");
        roff->block = true;
    } else if (roff->gap) {
        buf_append_text(roff->out, "\n");
    }
    roff->gap = false;
    roff_bytes(roff->out, line, len);
    buf_append_u8(roff->out, '\n');
}

/* How long a mark of a list is that the line begins with: "- " or "2. "; 0: it has none. */
static size_t list_mark(const char *line, size_t len)
{
    size_t digits = strspn(line, "0123456789");
    if (len > 2 && line[0] == '-' && line[1] == ' ') {
        return 2;
    }
    return digits > 0 && digits < len && line[digits] == '.' ? digits + 2 : 0;
}

static void item_begin(struct roff *roff, const char *line, size_t mark)
{
    block_end(roff);
    if (line[0] == '-') {
        buf_append_text(roff->out, ".IP \\(bu 2\n");
    } else {
        buf_printf(roff->out, ".IP %.*s 4\n", (int)(mark - 1), line);
    }
    roff->item = true;
    roff->gap = false;
    roff->any = true;
}

static void text_line(struct roff *roff, const char *line, size_t len)
{
    size_t mark = list_mark(line, len);
    size_t indent = strspn(line, " ");
    bool goes_on = roff->item && indent > 0 && indent < 4 && !roff->gap;
    if (mark > 0) {
        item_begin(roff, line, mark);
    } else if (goes_on) {
        mark = indent;
    } else if (roff->gap || roff->block || roff->item) {
        block_end(roff);
        paragraph(roff);
        roff->item = false;
    }
    roff->gap = false;
    roff->any = true;
    roff_bytes(roff->out, line + mark, len - mark);
    buf_append_u8(roff->out, '\n');
}

/* A text of the help: lines that begin with a blank stay as they are, but for those of a list. */
static void help_line(struct roff *roff, const char *line, size_t len)
{
    bool kept = line[0] == ' ' && !(roff->item && !roff->gap && strspn(line, " ") < 4);
    if (len == 0) {
        roff->gap = true;
    } else if (kept) {
        size_t indent = strspn(line, " ") < 4 ? strspn(line, " ") : 4; /* roff sets it in */
        block_line(roff, line + indent, len - indent);
    } else {
        text_line(roff, line, len);
    }
}

static void roff_help(struct buf *out, const char *text)
{
    struct roff roff = {.out = out};
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        help_line(&roff, text, len);
        text += len + (text[len] == '\n');
    }
    block_end(&roff);
}

static void roff_lines(struct buf *out, const char *text)
{
    buf_append_text(out, ".PP\n.RS 4\n.nf\n");
    roff_text(out, text);
    buf_append_text(out, ".fi\n.RE\n");
}

/* ---- Topics */

static void title(struct buf *out, const char *line, size_t len)
{
    size_t marks = strspn(line, "#");
    buf_append_text(out, marks == 1 ? ".SS " : ".PP\n.B ");
    roff_bytes(out, line + marks + 1, len - marks - 1);
    buf_append_u8(out, '\n');
}

static void roff_topic(struct buf *out, const char *text)
{
    struct roff roff = {.out = out};
    bool fenced = false;
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        if (strncmp(text, "```", 3) == 0) {
            fenced = !fenced;
        } else if (fenced) {
            block_line(&roff, text, len);
        } else if (text[0] == '#') {
            block_end(&roff);
            title(out, text, len);
            roff = (struct roff){.out = out};
        } else {
            help_line(&roff, text, len);
        }
        text += len + (text[len] == '\n');
    }
    block_end(&roff);
}

/* ---- Commands */

static void options_roff(struct buf *out, const struct cmd_option *list)
{
    for (; list->name != NULL; list++) {
        buf_append_text(out, ".TP\n\\fB");
        if (list->letter != '\0') {
            buf_printf(out, "\\-%c\\fR, \\fB", list->letter);
        }
        buf_append_text(out, "\\-\\-");
        roff_text(out, list->name);
        buf_append_text(out, "\\fR");
        if (list->value != NULL) {
            buf_append_text(out, " \\fI");
            roff_text(out, list->value);
            buf_append_text(out, "\\fR");
        }
        buf_append_u8(out, '\n');
        roff_text(out, list->help);
        buf_append_text(out, "\n");
    }
}

static void command_roff(struct buf *out, const struct cmd_entry *entry)
{
    buf_append_text(out, ".SS kappa ");
    roff_text(out, entry->name);
    buf_append_text(out, entry->args[0] == '\0' ? "" : " ");
    roff_text(out, entry->args);
    buf_append_text(out, "\n");
    roff_help(out, entry->help);
    options_roff(out, entry->options);
    if (entry->examples[0] != '\0') {
        roff_lines(out, entry->examples);
    }
}

void manual_page(struct buf *out)
{
    buf_append_text(
        out, ".TH KAPPA 1 \"\" \"kappa " KAPPA_VERSION "\" \"Kappa\"\n"
             ".SH NAME\nkappa \\- replay a log through new stream logic and swap it in\n"
             ".SH SYNOPSIS\n\\fBkappa\\fR \\fICOMMAND\\fR [\\fIARGUMENTS\\fR] "
             "[\\fIOPTIONS\\fR]\n"
             ".SH DESCRIPTION\nTables are made from a log by SQL. A new version is replayed "
             "beside the old one, and\nreaders are moved to it at one exact cut. Data goes to "
             "standard output, messages to\nstandard error. Options may stand anywhere;\n"
             ".B \\-\\-\nends them.\n.SH OPTIONS OF ALL COMMANDS\n");
    options_roff(out, options_common);
    buf_append_text(out, ".SH COMMANDS\n");
    for (size_t i = 0; cmd_entries[i] != NULL; i++) {
        if (!cmd_entries[i]->hidden) {
            command_roff(out, cmd_entries[i]);
        }
    }
    buf_append_text(out, ".SH TOPICS\nWhat \\fBkappa help\\fR \\fITOPIC\\fR explains.\n");
    for (size_t i = 0; topics_page(i) != NULL; i++) {
        roff_topic(out, topics_page(i));
    }
    buf_append_text(out, ".SH ENVIRONMENT\n"
                         ".TP\n.B KAPPA_DATA\nthe data directory, when \\-\\-data does not say it\n"
                         ".TP\n.B KAPPA_SERVER\nthe server, when \\-\\-server does not say it\n"
                         ".TP\n.B KAPPA_TOKEN\nthe token to show, when \\-\\-token\\-file names no "
                         "file\n"
                         ".SH EXIT STATUS\n");
    roff_text(out, cli_exit_codes);
    buf_append_text(out, ".\n");
}
