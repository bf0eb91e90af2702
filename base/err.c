/* Error codes and sentences. Own header: err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct err_row {
    int exit_code;
    int http_status;
    const char *word;
    const char *text;
};

static const struct err_row err_rows[] = {
    [KE_OK] = {0, 200, "ok", "no error"},
#define X(name, number, exit_code, http, word, text)                                               \
    [KE_##name] = {(exit_code), (http), (word), (text)},
#include "base/errors.def"
#undef X
};

static const struct err_row *err_row(int code)
{
    unsigned index = (unsigned)(code < 0 ? -code : code);
    if (index >= array_len(err_rows)) {
        index = KE_INTERNAL;
    }
    return &err_rows[index];
}

int err_set(struct err *err, enum err_code code, const char *format, ...)
{
    ASSERT_CMP(code, >, 0);
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        err->hint[0] = '\0';
        err->code = -(int)code;
    }
    return -(int)code;
}

void err_hint(struct err *err, const char *format, ...)
{
    if (err == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->hint, sizeof err->hint, format, args);
    va_end(args);
}

void err_prefix(struct err *err, const char *format, ...)
{
    if (err == NULL) {
        return;
    }
    char context[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(context, sizeof context, format, args);
    va_end(args);
    size_t used = strlen(context);
    size_t text_len = strlen(err->text);
    if (used + 2 + text_len >= sizeof err->text) {
        text_len = sizeof err->text - used - 3; /* the end of the sentence is cut */
    }
    memmove(err->text + used + 2, err->text, text_len);
    memcpy(err->text, context, used);
    memcpy(err->text + used, ": ", 2);
    err->text[used + 2 + text_len] = '\0';
}

static enum err_code code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return KE_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
        return KE_DISK_FULL;
    default:
        return KE_IO;
    }
}

int err_errno(struct err *err, int errnum, const char *format, ...)
{
    enum err_code code = code_of_errno(errnum);
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        size_t len = strlen(err->text);
        char reason[128];
        (void)snprintf(err->text + len, sizeof err->text - len, ": %s",
                       strerror_r(errnum, reason, sizeof reason));
        err->hint[0] = '\0';
        err->code = -(int)code;
        if (errnum == EACCES) {
            err_hint(err,
                     "run it as the user to whom it belongs, or let this one in (chown, chmod)");
        } else if (errnum == EMFILE) {
            err_hint(err, "raise the limit of open files (`ulimit -n`, LimitNOFILE=)");
        }
    }
    return -(int)code;
}

const char *err_word(int code)
{
    return err_row(code)->word;
}

const char *err_text(int code)
{
    return err_row(code)->text;
}

int err_exit_code(int code)
{
    return err_row(code)->exit_code;
}

int err_http_status(int code)
{
    return err_row(code)->http_status;
}

enum err_code err_from_word(const char *word)
{
    for (unsigned i = 0; i < array_len(err_rows); i++) {
        if (err_rows[i].word != NULL && strcmp(err_rows[i].word, word) == 0) {
            return (enum err_code)i;
        }
    }
    return KE_INTERNAL;
}
