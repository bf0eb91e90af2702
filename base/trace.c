/* Diagnostic messages. Own header: trace.h. One write(2) a line, so that lines of several processes on
 * one stderr do not mix. */
#include "base/trace.h"

#include "base/clock.h"
#include "base/timefmt.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRACE_LINE_MAX 4096

static char trace_area[160] = "kappa";
static atomic_int trace_level_min = -1;

void trace_set_area(const char *area)
{
    (void)snprintf(trace_area, sizeof trace_area, "%s", area);
}

static int level_min(void)
{
    int level = atomic_load(&trace_level_min);
    if (level >= 0) {
        return level;
    }
    const char *wish = getenv("KAPPA_LOG");
    static const char *const names[] = {"debug", "info", "warn", "error"};
    level = TRACE_INFO;
    for (size_t i = 0; wish != NULL && i < array_len(names); i++) {
        if (strcmp(wish, names[i]) == 0) {
            level = (int)i;
        }
    }
    atomic_store(&trace_level_min, level);
    return level;
}

void trace(enum trace_level level, const char *format, ...)
{
    static const char *const words[] = {"debug", "info ", "warn ", "error"};
    if ((int)level < level_min()) {
        return;
    }
    char when[TIME_TEXT_LEN];
    time_format(clock_wall_ms(clock_real()) * 1000, when);
    char line[TRACE_LINE_MAX];
    int head = snprintf(line, sizeof line, "%s %s %s: ", when, words[level], trace_area);
    ASSERT(head > 0);
    va_list args;
    va_start(args, format);
    int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, args);
    va_end(args);
    ASSERT(body >= 0);
    size_t len = strlen(line);
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* nobody to tell */
}
