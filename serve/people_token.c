/* Own header: people_token.h. */
#include "serve/people_token.h"

#include <errno.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <nettle/version.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define TOKEN_PREFIX "kappa_" /* so that a scanner for lost secrets knows one */
#define RANDOM_BYTES 32

_Static_assert(TOKEN_HASH_LEN == SHA256_DIGEST_SIZE, "the hash is SHA-256");
_Static_assert(TOKEN_TEXT_LEN == sizeof TOKEN_PREFIX - 1 + (size_t)2 * RANDOM_BYTES,
               "a prefix and two digits a byte");

void token_new(char out[TOKEN_TEXT_LEN + 1])
{
    uint8_t bytes[RANDOM_BYTES];
    size_t done = 0;
    while (done < sizeof bytes) { /* waits only in a machine that has just started */
        ssize_t got = getrandom(bytes + done, sizeof bytes - done, 0);
        ASSERT(got > 0 || errno == EINTR);
        done += got > 0 ? (size_t)got : 0;
    }
    size_t at = sizeof TOKEN_PREFIX - 1;
    memcpy(out, TOKEN_PREFIX, at);
    for (size_t i = 0; i < sizeof bytes; i++, at += 2) {
        (void)snprintf(out + at, 3, "%02x", bytes[i]);
    }
    explicit_bzero(bytes, sizeof bytes);
}

void token_hash(const char *token, size_t len, uint8_t out[TOKEN_HASH_LEN])
{
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, len, (const uint8_t *)token);
    sha256_digest(&context, TOKEN_HASH_LEN, out);
}

bool token_hash_same(const uint8_t a[TOKEN_HASH_LEN], const uint8_t b[TOKEN_HASH_LEN])
{
    return memeql_sec(a, b, TOKEN_HASH_LEN) != 0;
}

void token_library(struct library *out)
{
    *out = (struct library){.name = "nettle"};
    (void)snprintf(out->built, sizeof out->built, "%d.%d", NETTLE_VERSION_MAJOR,
                   NETTLE_VERSION_MINOR);
    (void)snprintf(out->runs, sizeof out->runs, "%d.%d", nettle_version_major(),
                   nettle_version_minor());
}
