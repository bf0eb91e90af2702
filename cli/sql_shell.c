/* Own header: sql_shell.h. The one file that includes libedit.
 *
 * Ctrl-C while a statement runs sets the session's flag, and the statement ends. While a line is
 * edited it jumps out of the editor, as psql does, and what was typed of the statement is dropped. */
#include "cli/sql_shell.h"

#include "serve/query_token.h"

#include <stdio.h> /* before readline.h, which needs FILE */

#include <editline/readline.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HISTORY_MAX 1000

static sigjmp_buf editing;
static volatile sig_atomic_t is_editing;
static bool *stop_flag; /* of the session */

static void interrupted(int number)
{
    (void)number;
    if (is_editing != 0) {
        is_editing = 0;
        siglongjmp(editing, 1);
    }
    __atomic_store_n(stop_flag, true, __ATOMIC_RELAXED);
}

/* $XDG_STATE_HOME/kappa/history, else ~/.kappa_history; NULL when there is no home. */
static char *history_path(void)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (state != NULL && state[0] == '/') {
        char *dir = xasprintf("%s/kappa", state);
        bool there = (mkdir(state, 0700) == 0 || errno == EEXIST) &&
                     (mkdir(dir, 0700) == 0 || errno == EEXIST);
        char *path = there ? xasprintf("%s/history", dir) : NULL;
        free(dir);
        return path;
    }
    return home != NULL && home[0] == '/' ? xasprintf("%s/.kappa_history", home) : NULL;
}

static void history_begin(const char *path)
{
    using_history();
    stifle_history(HISTORY_MAX);
    if (path != NULL) {
        (void)read_history(path); /* none yet */
    }
}

static void history_end(const char *path)
{
    if (path != NULL && write_history(path) == 0) {
        (void)chmod(path, 0600); /* statements may name people */
    }
}

/* A line, or NULL at the end of input; *again: Ctrl-C. */
static char *line_read(const char *prompt, bool *again)
{
    *again = false;
    if (sigsetjmp(editing, 1) != 0) {
        (void)fputs("^C\n", stdout);
        *again = true;
        return NULL;
    }
    is_editing = 1;
    char *line = readline(prompt);
    is_editing = 0;
    return line;
}

static void complain(const struct err *err)
{
    (void)fflush(stdout);
    (void)out_error(err, false);
}

/* Runs what is complete of the text and keeps the rest. */
static void run_complete(struct sql_console *console, struct buf *text)
{
    bool empty = true;
    size_t done = 0;
    size_t len;
    while ((len = query_statement(buf_text(text) + done, text->len - done, &empty)) > 0) {
        struct err err = {0};
        __atomic_store_n(&console->session.stop, false, __ATOMIC_RELAXED);
        if (!empty && sql_console_statement(console, buf_text(text) + done, len, &err) < 0) {
            complain(&err);
        }
        done += len;
    }
    if (empty) {
        buf_reset(text);
        return;
    }
    memmove(text->data, text->data + done, text->len - done);
    text->len -= done;
    text->data[text->len] = '\0';
}

/* One line of input; true: leave. */
static bool take_line(struct sql_console *console, const char *line, struct buf *text)
{
    const char *start = line + strspn(line, " \t");
    if (text->len == 0 && start[0] == '\\') {
        struct err err = {0};
        int rc = sql_console_meta(console, start, &err);
        if (rc < 0) {
            complain(&err);
        }
        return rc == 1;
    }
    if (text->len == 0 && (strcmp(start, "exit") == 0 || strcmp(start, "quit") == 0)) {
        return true;
    }
    if (text->len > 0) {
        buf_append_u8(text, '\n');
    }
    buf_append_text(text, line);
    run_complete(console, text);
    return false;
}

int sql_shell(struct sql_console *console, struct err *err)
{
    struct sigaction action = {.sa_handler = interrupted};
    struct sigaction before;
    char *path = history_path();
    struct buf text = {0};
    bool leave = false;
    (void)err;
    stop_flag = &console->session.stop;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, &before);
    rl_readline_name = "kappa";
    history_begin(path);
    (void)printf("Tables of all processors. \\d lists them, \\? helps, \\q leaves.\n");
    while (!leave) {
        bool again = false;
        char *line = line_read(text.len == 0 ? "kappa=> " : "kappa-> ", &again);
        if (again) {
            buf_reset(&text);
            continue;
        }
        if (line == NULL) {
            (void)fputs("\n", stdout);
            break;
        }
        if (line[strspn(line, " \t")] != '\0') {
            (void)add_history(line);
        }
        leave = take_line(console, line, &text);
        free(line);
    }
    history_end(path);
    (void)sigaction(SIGINT, &before, NULL);
    buf_free(&text);
    free(path);
    return 0;
}
