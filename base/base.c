/* Assertion failures and memory that cannot run out quietly. Own header: base.h. */
#include "base/base.h"

#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRACE_FRAMES_MAX 40

static _Noreturn void die_with_trace(void)
{
    void *frames[TRACE_FRAMES_MAX];
    int count = backtrace(frames, TRACE_FRAMES_MAX);
    backtrace_symbols_fd(frames, count, STDERR_FILENO);
    abort();
}

_Noreturn void assert_failed(const char *file, int line, const char *function, const char *text)
{
    (void)fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", file, line, function, text);
    die_with_trace();
}

_Noreturn void assert_failed_cmp(const char *file, int line, const char *function, const char *text,
                                 long long a, long long b)
{
    (void)fprintf(stderr, "%s:%d: %s: assertion failed: %s (%lld, %lld)\n", file, line, function,
                  text, a, b);
    die_with_trace();
}

static _Noreturn void out_of_memory(size_t size)
{
    (void)fprintf(stderr, "out of memory: %zu bytes asked for\n", size);
    die_with_trace();
}

void *xmalloc(size_t size)
{
    void *memory = malloc(size == 0 ? 1 : size);
    if (memory == NULL) {
        out_of_memory(size);
    }
    return memory;
}

void *xcalloc(size_t count, size_t size)
{
    void *memory = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
    if (memory == NULL) {
        out_of_memory(size);
    }
    return memory;
}

void *xrealloc(void *old, size_t size)
{
    void *memory = realloc(old, size == 0 ? 1 : size);
    if (memory == NULL) {
        out_of_memory(size);
    }
    return memory;
}

char *xstrdup(const char *text)
{
    return xstrndup(text, strlen(text));
}

char *xstrndup(const char *text, size_t len)
{
    char *copy = xmalloc(len + 1);
    if (len > 0) {
        memcpy(copy, text, len);
    }
    copy[len] = '\0';
    return copy;
}

char *xasprintf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0) {
        out_of_memory(0);
    }
    return text;
}

bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = list; *at != '\0';) {
        size_t item = strcspn(at, ",");
        if (item == len && memcmp(at, word, len) == 0) {
            return true;
        }
        at += item + (at[item] == ',');
    }
    return false;
}
