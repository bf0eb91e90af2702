/* Order-free digest of a set of rows: the sum modulo 2^128 of a 128-bit hash (XXH3) of each row.
 * Adding and removing rows in any order gives the same digest as computing it from scratch. */
#ifndef KAPPA_BASE_DIGEST_H
#define KAPPA_BASE_DIGEST_H

#include "base/base.h"

struct digest {
    uint64_t low;
    uint64_t high;
};

#define DIGEST_TEXT_LEN 32 /* hexadecimal digits */

/* Hash of one row; seed separates tables. */
struct digest digest_row(uint64_t seed, const void *key, size_t key_len, const void *value,
                         size_t value_len);
void digest_add(struct digest *sum, struct digest row);
void digest_remove(struct digest *sum, struct digest row);
bool digest_equal(struct digest a, struct digest b);
/* Hexadecimal, high word first; text has DIGEST_TEXT_LEN + 1 bytes. */
void digest_format(struct digest digest, char *text);
bool digest_parse(const char *text, struct digest *out);

/* Plain 64-bit and 128-bit hashes of bytes, for tables and content hashes. */
uint64_t hash_bytes(const void *data, size_t len);
struct digest hash_content(const void *data, size_t len);

#endif
