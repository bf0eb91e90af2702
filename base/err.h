/* Error codes and a person's sentence.
 *
 * Functions that can fail return 0 or a negative code (-KE_...). The sentence goes into the struct
 * err passed last (may be NULL: then only the code travels). Each layer may put its context in
 * front. */
#ifndef KAPPA_BASE_ERR_H
#define KAPPA_BASE_ERR_H

#include "base/base.h"

enum err_code {
    KE_OK = 0,

#define X(name, number, exit_code, http, word, text) KE_##name = (number),
#include "base/errors.def"
#undef X
};

struct err {
    int code;        /* negative, or 0 when unset */
    char text[1536]; /* what happened, where; one sentence or, for SQL, lines with a caret */
    char hint[512];  /* what to do; may be empty */
};

/* Fills err (if not NULL) and returns -code, so that callers can write `return err_set(...)`. */
int err_set(struct err *err, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds what to do. Does nothing when err is NULL. */
void err_hint(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " in front of the text. */
void err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For errno: ENOENT -> NOT_FOUND, ENOSPC/EDQUOT -> DISK_FULL, else IO; "what: strerror". EACCES has a
 * hint of its own: another user's files. Returns the negative code. */
int err_errno(struct err *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The columns of errors.def; code is positive or negative. */
const char *err_word(int code);
const char *err_text(int code);
int err_exit_code(int code);
int err_http_status(int code);
/* Inverse of err_word: the positive code, or KE_INTERNAL for an unknown word. */
enum err_code err_from_word(const char *word);

#endif
