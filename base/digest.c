/* Digests and hashes by XXH3 (the one file that includes xxhash). Own header: digest.h. */
#include "base/digest.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct digest digest_row(uint64_t seed, const void *key, size_t key_len, const void *value,
                         size_t value_len)
{
    /* The value is hashed with the key's hash as its seed: both bind together, and no copy is made.
     * The key's length enters through the seed, so that moving bytes between them changes the hash. */
    uint64_t key_hash = XXH3_64bits_withSeed(key, key_len, seed ^ ((uint64_t)key_len << 48));
    XXH128_hash_t hash = XXH3_128bits_withSeed(value, value_len, key_hash);
    uint64_t key_high = XXH3_64bits_withSeed(key, key_len, ~seed);
    return (struct digest){hash.low64, hash.high64 ^ key_high};
}

void digest_add(struct digest *sum, struct digest row)
{
    uint64_t low = sum->low + row.low;
    sum->high += row.high + (low < row.low ? 1 : 0);
    sum->low = low;
}

void digest_remove(struct digest *sum, struct digest row)
{
    uint64_t borrow = sum->low < row.low ? 1 : 0;
    sum->low -= row.low;
    sum->high -= row.high + borrow;
}

bool digest_equal(struct digest a, struct digest b)
{
    return a.low == b.low && a.high == b.high;
}

static void hex_put(char *text, uint64_t value)
{
    for (int i = 15; i >= 0; i--) {
        text[i] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

void digest_format(struct digest digest, char *text)
{
    hex_put(text, digest.high);
    hex_put(text + 16, digest.low);
    text[DIGEST_TEXT_LEN] = '\0';
}

static bool hex_u64(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef";
        const char *at = text[i] == '\0' ? NULL : strchr(digits, text[i]);
        if (at == NULL) {
            return false;
        }
        value = value << 4 | (uint64_t)(at - digits);
    }
    *out = value;
    return true;
}

bool digest_parse(const char *text, struct digest *out)
{
    struct digest digest;
    if (strlen(text) != DIGEST_TEXT_LEN || !hex_u64(text, &digest.high) ||
        !hex_u64(text + 16, &digest.low)) {
        return false;
    }
    *out = digest;
    return true;
}

uint64_t hash_bytes(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}

struct digest hash_content(const void *data, size_t len)
{
    XXH128_hash_t hash = XXH3_128bits(data, len);
    return (struct digest){hash.low64, hash.high64};
}
