/* Tokens and their hashes: SHA-256 of nettle, randomness of the kernel. */
#ifndef KAPPA_SERVE_PEOPLE_TOKEN_H
#define KAPPA_SERVE_PEOPLE_TOKEN_H

#include "base/err.h"
#include "base/library.h"
#include "serve/people_file.h"

/* A fresh one of 32 random bytes, with its NUL. */
void token_new(char out[TOKEN_TEXT_LEN + 1]);
void token_hash(const char *token, size_t len, uint8_t out[TOKEN_HASH_LEN]);
/* In a time that does not tell where they differ. */
bool token_hash_same(const uint8_t a[TOKEN_HASH_LEN], const uint8_t b[TOKEN_HASH_LEN]);

/* Of nettle. */
void token_library(struct library *out);

#endif
