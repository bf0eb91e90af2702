/* The source checked by a program: who may include whom, where each foreign library may appear,
 * sizes, banned calls, leftovers. Run from the top of the repository: `tidy FILE...` (the Makefile
 * gives it what git tracks). Prints file:line: what is wrong and what to do; exit 1 if anything is.
 *
 * Method: line by line over C sources and headers. A function is what lies between a "{" and a "}"
 * in the first column. Rules are the tables at the top. */
#include "base/base.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_COLUMNS_MAX   110 /* comments; clang-format holds code to 100 */
#define FUNCTION_LINES_MAX 70
#define FILE_LINES_MAX     900

/* ---- Rules ---- */

/* What the files of a folder may include, apart from their own folder and include/kappa. */
static const struct {
    const char *folder;
    const char *may; /* folders between blanks */
} folder_rules[] = {
    {"include", " "},
    {"base", " include "},
    {"log", " base include "},
    {"processor", " base include "},
    {"table", " base include "},
    {"replayer", " log processor table base include "},
    {"serve", " log processor table base include "},
    {"library", " serve processor table base include "},
    {"examples", " include "},
    {"controller", " replayer serve log processor table base include "},
    {"cli", " controller replayer serve log processor table base include "},
    {"bench", " library controller replayer serve log processor table base include "},
    {"tests", " library cli controller replayer serve log processor table base include bench "},
};

/* Each foreign library and the files that may include it (between blanks; a folder ends in "/"). */
static const struct {
    const char *header;
    const char *where;
} library_rules[] = {
    {"<jansson.h>", " base/json.h "},
    {"<xxhash.h>", " base/digest.c "},
    {"<lmdb.h>", " table/env.h bench/ tests/ "},
    {"<librdkafka/rdkafka.h>", " log/kafka_private.h bench/ tests/ "},
    {"<zstd.h>", " log/archive_block.c "},
    {"<pg_query.h>", " processor/sql_parse.c "},
    {"<pcre2.h>", " processor/expr_regex.c "},
    {"<utf8proc.h>", " processor/letter.c "},
    {"<simdjson.h>", " processor/json_simd.cc "},
    {"<nettle/", " processor/expr_encode.c serve/people_token.c "},
    {"<microhttpd.h>", " serve/http.c serve/http_private.h bench/http_constant.c "},
    {"<curl/curl.h>", " cli/client.c replayer/schemas.c tests/ "},
    {"<uv.h>", " controller/ serve/ tests/ "},
    {"<sqlite3.h>", " serve/query_private.h tests/ bench/ "},
    {"<editline/readline.h>", " cli/sql_shell.c "},
    {"<zlib.h>", " serve/http_gzip.c "},
    {"<cmocka.h>", " tests/ "},
};

/* Pure folders: no clock, files or threads. */
static const struct {
    const char *folder;
    const char *header;
} pure_rules[] = {
    {"processor/", "<time.h>"},   {"processor/", "<stdio.h>"}, {"processor/", "<pthread.h>"},
    {"processor/", "<unistd.h>"}, {"processor/", "<fcntl.h>"},
};

static const struct {
    const char *call;
    const char *instead;
} banned_calls[] = {
    {"strcpy", "snprintf or memcpy with a known length"},
    {"strcat", "struct buf"},
    {"sprintf", "snprintf"},
    {"vsprintf", "vsnprintf"},
    {"gets", "fgets"},
    {"atoi", "strtoll with checks"},
    {"atol", "strtoll with checks"},
    {"atof", "strtod with checks"},
    {"strtok", "a loop over memchr"},
    {"localtime", "base/timefmt.h"},
    {"rand", "base/prng.h"},
    {"random", "base/prng.h"},
    {"alloca", "an arena"},
    {"tmpnam", "mkdtemp"},
    {"mktemp", "mkstemp"},
};

static const char *const leftovers[] = {"FIXME", "XXX", "TODO", "HACK"};

/* ---- The checker ---- */

static int problems;

static void printf_like(3, 4) report(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)printf("%s:%d: ", file, line);
    (void)vprintf(format, args);
    (void)printf("\n");
    va_end(args);
    problems++;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t len = strlen(text);
    size_t tail = strlen(suffix);
    return len >= tail && strcmp(text + len - tail, suffix) == 0;
}

/* Is `file` named in a blank-separated list, or in a folder of it? */
static bool listed(const char *list, const char *file)
{
    const char *at = list;
    while (*at != '\0') {
        at += strspn(at, " ");
        size_t len = strcspn(at, " ");
        bool folder = len > 0 && at[len - 1] == '/';
        if (len > 0 && strncmp(file, at, len) == 0 && (folder || file[len] == '\0')) {
            return true;
        }
        at += len;
    }
    return false;
}

static void check_own_include(const char *file, int line, const char *path)
{
    char folder[32];
    char target[40];
    (void)snprintf(folder, sizeof folder, "%.*s", (int)strcspn(file, "/"), file);
    (void)snprintf(target, sizeof target, " %.*s ", (int)strcspn(path, "/"), path);
    if (strchr(path, '/') == NULL) {
        report(file, line, "include \"%s\": give the path from the top of the repository", path);
        return;
    }
    for (size_t i = 0; i < array_len(folder_rules); i++) {
        char own[40];
        (void)snprintf(own, sizeof own, " %s ", folder);
        if (strcmp(folder, folder_rules[i].folder) == 0 && strcmp(own, target) != 0 &&
            strstr(folder_rules[i].may, target) == NULL) {
            report(file, line,
                   "%s/ may not include \"%s\": dependencies point one way (docs/ARCHITECTURE.md)",
                   folder, path);
        }
    }
}

static void check_foreign_include(const char *file, int line, const char *header)
{
    for (size_t i = 0; i < array_len(library_rules); i++) {
        if (starts_with(header, library_rules[i].header) && !listed(library_rules[i].where, file)) {
            report(file, line, "%s may be included only by%s", library_rules[i].header,
                   library_rules[i].where);
        }
    }
    for (size_t i = 0; i < array_len(pure_rules); i++) {
        if (starts_with(file, pure_rules[i].folder) && starts_with(header, pure_rules[i].header)) {
            report(file, line, "%s is pure: it may not include %s", pure_rules[i].folder,
                   pure_rules[i].header);
        }
    }
}

static void check_include(const char *file, int line, const char *text)
{
    const char *at = text + strlen("#include");
    at += strspn(at, " ");
    char name[256];
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 1, "\">") + 2, at);
    if (name[0] == '"') {
        name[strlen(name) - 1] = '\0';
        check_own_include(file, line, name + 1);
    } else {
        check_foreign_include(file, line, name);
    }
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        if ((at == text || !is_word(at[-1])) && !is_word(at[len])) {
            return true;
        }
    }
    return false;
}

static void check_calls(const char *file, int line, const char *text)
{
    for (size_t i = 0; i < array_len(banned_calls); i++) {
        const char *call = banned_calls[i].call;
        size_t len = strlen(call);
        for (const char *at = strstr(text, call); at != NULL; at = strstr(at + 1, call)) {
            bool alone = (at == text || !is_word(at[-1])) && at[len] == '(';
            if (alone) {
                report(file, line, "%s() is banned here: use %s", call, banned_calls[i].instead);
            }
        }
    }
}

/* Columns as a reader counts them: UTF-8 sequences are one. */
static size_t columns(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xC0) != 0x80 ? 1 : 0;
    }
    return count;
}

static void check_line(const char *file, int line, const char *text)
{
    size_t len = strlen(text);
    if (columns(text) > LINE_COLUMNS_MAX) {
        report(file, line, "line of %zu columns; at most %d", columns(text), LINE_COLUMNS_MAX);
    }
    if (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
        report(file, line, "blanks at the end of the line");
    }
    if (strchr(text, '\t') != NULL) {
        report(file, line, "a tab: indent with four blanks");
    }
    for (size_t i = 0; i < array_len(leftovers); i++) {
        if (has_word(text, leftovers[i]) && strcmp(file, "tests/tidy.c") != 0) {
            report(file, line, "%s left over: do it, or say in a sentence what is so",
                   leftovers[i]);
        }
    }
    if (starts_with(text, "#include")) {
        check_include(file, line, text);
    } else if (strcmp(file, "tests/tidy.c") != 0) {
        check_calls(file, line, text);
    }
}

static void check_file(const char *file)
{
    FILE *in = fopen(file, "r");
    if (in == NULL) {
        report(file, 0, "cannot be read");
        return;
    }
    char *text = NULL;
    size_t cap = 0;
    int line = 0;
    int function_start = 0;
    bool comment_first = false;
    ssize_t len;
    while ((len = getline(&text, &cap, in)) >= 0) {
        line++;
        text[strcspn(text, "\n")] = '\0';
        comment_first = comment_first || (line == 1 && starts_with(text, "/*"));
        if (strcmp(text, "{") == 0) {
            function_start = line;
        } else if (strcmp(text, "}") == 0 && function_start > 0) {
            if (line - function_start - 1 > FUNCTION_LINES_MAX) {
                report(file, function_start, "function of %d lines; at most %d",
                       line - function_start - 1, FUNCTION_LINES_MAX);
            }
            function_start = 0;
        }
        check_line(file, line, text);
    }
    if (!comment_first) {
        report(file, 1, "the first line must begin the comment that says what the file is");
    }
    if (line > FILE_LINES_MAX) {
        report(file, line, "%d lines; at most %d: a file is one noun", line, FILE_LINES_MAX);
    }
    free(text);
    (void)fclose(in);
}

int main(int argc, char **argv)
{
    int checked = 0;
    for (int i = 1; i < argc; i++) {
        if (ends_with(argv[i], ".c") || ends_with(argv[i], ".h") || ends_with(argv[i], ".cc")) {
            check_file(argv[i]);
            checked++;
        }
    }
    (void)printf("tidy: %d files, %d problems\n", checked, problems);
    return problems == 0 && checked > 0 ? 0 : 1;
}
