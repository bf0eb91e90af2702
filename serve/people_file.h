/* The access file: who may do what. A line for each person or program:
 *
 *     # NAME ROLE[,ROLE] TOKEN-HASH
 *     alice read,operate sha256:0f3c...
 *
 * # begins a comment line. The file has the hash of a token only. Tokens that are made here are 32
 * random bytes, so that one round of SHA-256 is enough: there is nothing to guess. Whoever can write
 * the file is in; so it must belong to nobody but its owner (mode 0600). */
#ifndef KAPPA_SERVE_PEOPLE_FILE_H
#define KAPPA_SERVE_PEOPLE_FILE_H

#include "base/buf.h"
#include "base/err.h"

#define PERSON_NAME_LEN   64
#define PEOPLE_MAX        1000       /* lines of a file: all are compared with each token */
#define PEOPLE_FILE_BYTES (1U << 20) /* of it */
#define TOKEN_HASH_LEN    32
#define TOKEN_LEN_MAX     512 /* of one that somebody shows */
#define TOKEN_TEXT_LEN    70  /* of one that is made here: "kappa_" and 64 hexadecimal digits */

/* Who shows the token of DATA/server.json: a local user that the server's own files belong to. */
#define PERSON_LOCAL "local"

enum role_number {

#define X(name, word, help) ROLE_NUMBER_##name,
#include "serve/roles.def"
#undef X
    ROLE_COUNT
};

/* Bits of a set of roles. */
enum role {

#define X(name, word, help) ROLE_##name = 1 << ROLE_NUMBER_##name,
#include "serve/roles.def"
#undef X
    ROLE_ALL = (1 << ROLE_COUNT) - 1
};

struct person {
    char name[PERSON_NAME_LEN + 1]; /* "": nobody */
    uint32_t roles;                 /* set of enum role */
    uint8_t hash[TOKEN_HASH_LEN];
    uint64_t seen; /* people.c: the reading of the file in which it stood */
};

struct people_list {
    struct person *persons; /* owned; in the order of the file */
    uint32_t count;
};

/* Text of a file. INVALID names the line. */
int people_parse(const char *text, struct people_list *out, struct err *err) must_check;
void people_list_free(struct people_list *list);
/* NULL: none of that name. */
const struct person *people_list_find(const struct people_list *list, const char *name);

/* The file's text. REFUSED when others than its owner may read or write it. */
int people_file_read(const char *path, struct buf *text, struct err *err) must_check;

/* Changes the file, whole or not at all; made when missing. One at a time, other programs too. EXISTS,
 * NOT_FOUND, LIMIT. */
int people_file_add(const char *path, const struct person *person, struct err *err) must_check;
int people_file_remove(const char *path, const char *name, struct err *err) must_check;

/* INVALID: what a name must be like. */
int person_name_check(const char *name, struct err *err) must_check;

/* "read,operate" into a set, and back (appended), with this between them. */
int roles_parse(const char *text, uint32_t *roles, struct err *err) must_check;
void roles_write(uint32_t roles, const char *between, struct buf *out);
/* The words of all roles, with commas; static. */
const char *roles_words(void);

#endif
