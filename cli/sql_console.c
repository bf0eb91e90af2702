/* Own header: sql_console.h. */
#include "cli/sql_console.h"

#include "base/clock.h"
#include "base/suggest.h"
#include "serve/query_token.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help[] = "  \\d            tables and views\n"
                           "  \\d NAME       columns and key of one, and where it is read from\n"
                           "  \\timing       say how long statements take, on or off\n"
                           "  \\x            a line for each column of a row, on or off\n"
                           "  \\o FORMAT     table, csv, json or ndjson\n"
                           "  \\q            leave (or Ctrl-D)\n"
                           "  \\?            this\n"
                           "A statement ends with a semicolon. Ctrl-C cancels it.\n"
                           "\"table@3\" is a table as version 3 keeps it.\n";

int sql_console_open(const struct cli *cli, struct sql_console *console, struct err *err)
{
    *console = (struct sql_console){.colour = cli->colour};
    const char *format = cli_option(cli, "output");
    if (format != NULL && strcmp(format, "text") != 0) {
        bool known = sql_format_parse(format, &console->format);
        ASSERT(known); /* the options were looked at */
    }
    return sql_session_open(cli, &console->session, err);
}

void sql_console_close(struct sql_console *console)
{
    sql_session_close(&console->session);
}

static int say(const struct buf *text, struct err *err)
{
    return out_write(text, err);
}

int sql_console_statement(struct sql_console *console, const char *text, size_t len,
                          struct err *err)
{
    struct sql_output output;
    struct query_result result;
    struct err write_err = {0};
    int64_t begun_us = clock_mono_us(clock_real());
    sql_output_init(&output, console->format);
    output.expanded = console->expanded;
    output.colour = console->colour;
    output.stamps = console->stamps;
    struct query_sink sink = sql_output_sink(&output);
    int rc = sql_session_run(&console->session, text, len, &sink, &result, err);
    int written = sql_output_end(&output, &result, rc < 0, &write_err);
    json_decref(result.stamps);
    if (rc == 0 && written < 0) {
        *err = write_err;
        rc = written;
    }
    if (rc == 0 && console->timing) {
        struct buf line = {0};
        buf_printf(&line, "Time: %.3f ms\n",
                   (double)(clock_mono_us(clock_real()) - begun_us) / 1000);
        rc = say(&line, err);
        buf_free(&line);
    }
    return rc;
}

/* ---- \d */

static void list_tables(const json_t *tables, bool colour, struct buf *out)
{
    struct out_table table;
    size_t i;
    json_t *item;
    out_table_begin(&table, 4, 0);
    out_table_cell(&table, "NAME");
    out_table_cell(&table, "KIND");
    out_table_cell(&table, "FROM");
    out_table_cell(&table, "KEY");
    json_array_foreach (tables, i, item) {
        struct buf key = {0};
        size_t c;
        json_t *column;
        json_array_foreach (json_object_get(item, "columns"), c, column) {
            if (json_bool(column, "key", false)) {
                buf_printf(&key, "%s%s", key.len == 0 ? "" : ", ", json_text(column, "name", ""));
            }
        }
        out_table_cell(&table, json_text(item, "name", ""));
        out_table_cell(&table, json_text(item, "kind", ""));
        out_table_cellf(&table, "%s v%" PRId64, json_text(item, "processor", ""),
                        json_int(item, "version", 0));
        out_table_cell(&table, buf_text(&key));
        buf_free(&key);
    }
    out_table_end(&table, colour, out);
}

static void show_table(const json_t *item, bool colour, struct buf *out)
{
    struct out_table table;
    size_t i;
    json_t *column;
    buf_printf(out, "%s %s\n", json_text(item, "kind", ""), json_text(item, "name", ""));
    out_table_begin(&table, 3, 0);
    out_table_cell(&table, "COLUMN");
    out_table_cell(&table, "TYPE");
    out_table_cell(&table, "KEY");
    json_array_foreach (json_object_get(item, "columns"), i, column) {
        const char *type = json_text(column, "type", "");
        out_table_cell(&table, json_text(column, "name", ""));
        out_table_cell(&table, type[0] == '\0' ? "(computed)" : type);
        out_table_cell(&table, json_bool(column, "key", false) ? "key" : "");
    }
    out_table_end(&table, colour, out);
    buf_printf(out, "from %s v%" PRId64 ", epoch %" PRId64, json_text(item, "processor", ""),
               json_int(item, "version", 0), json_int(item, "epoch", 0));
    const char *topic;
    json_t *offsets;
    json_object_foreach (json_object_get(item, "cut"), topic, offsets) {
        buf_printf(out, ", %s ", topic);
        json_write(out, offsets);
    }
    buf_append_u8(out, '\n');
    if (json_text(item, "query", NULL) != NULL) {
        buf_printf(out, "as %s\n", json_text(item, "query", ""));
    }
}

static int describe(struct sql_console *console, const char *name, struct err *err)
{
    json_t *answer = NULL;
    struct buf text = {0};
    size_t i;
    json_t *item;
    int rc = sql_session_tables(&console->session, &answer, err);
    if (rc < 0) {
        return rc;
    }
    const json_t *tables = json_object_get(answer, "tables");
    const json_t *found = NULL;
    struct suggest nearest;
    suggest_begin(&nearest, name);
    json_array_foreach (tables, i, item) {
        suggest_offer(&nearest, json_text(item, "name", ""));
        found = strcmp(json_text(item, "name", ""), name) == 0 ? item : found;
    }
    if (name[0] == '\0' && json_array_size(tables) == 0) {
        buf_append_text(&text, "no tables are served yet\n");
    } else if (name[0] == '\0') {
        list_tables(tables, console->colour, &text);
    } else if (found != NULL) {
        show_table(found, console->colour, &text);
    } else {
        rc = err_set(err, KE_NOT_FOUND, "there is no table or view %s", name);
        if (nearest.best != NULL) {
            err_hint(err, "did you mean %s?", nearest.best);
        }
    }
    if (rc == 0) {
        rc = say(&text, err);
    }
    buf_free(&text);
    json_decref(answer);
    return rc;
}

static int toggle(bool *value, const char *what, struct err *err)
{
    struct buf text = {0};
    *value = !*value;
    buf_printf(&text, "%s is %s\n", what, *value ? "on" : "off");
    int rc = say(&text, err);
    buf_free(&text);
    return rc;
}

int sql_console_meta(struct sql_console *console, const char *line, struct err *err)
{
    char word[16] = "";
    size_t len = strcspn(line, " \t");
    const char *argument = line + len + strspn(line + len, " \t");
    size_t argument_len = strlen(argument);
    while (argument_len > 0 && strchr(" \t;", argument[argument_len - 1]) != NULL) {
        argument_len--;
    }
    memcpy(word, line, len < sizeof word ? len : sizeof word - 1);
    if (len > 0 && len < sizeof word && word[len - 1] == ';') {
        word[len - 1] = '\0';
    }
    if (strcmp(word, "\\q") == 0) {
        return 1;
    }
    if (strcmp(word, "\\timing") == 0) {
        return toggle(&console->timing, "timing", err);
    }
    if (strcmp(word, "\\x") == 0) {
        return toggle(&console->expanded, "expanded display", err);
    }
    if (strcmp(word, "\\?") == 0 || strcmp(word, "\\h") == 0) {
        struct buf text = {0};
        buf_append_text(&text, help);
        int rc = say(&text, err);
        buf_free(&text);
        return rc;
    }
    char *name = xstrndup(argument, argument_len);
    int rc = 0;
    if (strcmp(word, "\\d") == 0 || strcmp(word, "\\d+") == 0 || strcmp(word, "\\dt") == 0 ||
        strcmp(word, "\\dv") == 0) {
        rc = describe(console, name, err);
    } else if (strcmp(word, "\\o") == 0) {
        rc = sql_format_parse(name, &console->format)
                 ? 0
                 : err_set(err, KE_INVALID, "\\o %s: the format is table, csv, json or ndjson",
                           name);
    } else {
        rc = err_set(err, KE_INVALID, "there is no command %s", word);
        err_hint(err, "\\? lists them");
    }
    free(name);
    return rc;
}

int sql_console_script(struct sql_console *console, const char *text, size_t len, struct err *err)
{
    while (len > 0) {
        bool empty = true;
        while (len > 0 && isspace((unsigned char)*text) != 0) {
            text++;
            len--;
        }
        if (len > 0 && *text == '\\') {
            const char *end = memchr(text, '\n', len);
            size_t line_len = end == NULL ? len : (size_t)(end - text);
            char *line = xstrndup(text, line_len);
            int rc = sql_console_meta(console, line, err);
            free(line);
            if (rc != 0) {
                return rc < 0 ? rc : 0;
            }
            text += line_len;
            len -= line_len;
            continue;
        }
        size_t statement = query_statement(text, len, &empty);
        statement = statement == 0 ? len : statement;
        int rc = empty ? 0 : sql_console_statement(console, text, statement, err);
        if (rc < 0) {
            return rc;
        }
        text += statement;
        len -= statement;
    }
    return 0;
}
