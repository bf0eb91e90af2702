/* A set of byte strings in first-seen order. Own header: agg_set.h. */
#include "processor/agg_set.h"

#include "base/buf.h"
#include "base/digest.h"

#include <stdlib.h>
#include <string.h>

#define AGG_SET_LINEAR 32  /* values found without an index */
#define AGG_SET_CHAIN  256 /* places; good hashes need some 60 among millions of values */
#define NONE           UINT32_MAX
#define SHORT          16 /* bytes that two words hold */

struct agg_set {
    uint32_t count;
    uint32_t capacity;   /* values; a power of two */
    uint32_t index_size; /* 0, or 2 * capacity */
    uint32_t bytes_used;
    uint32_t bytes_capacity;
    uint32_t sorted;  /* 1: the index is the values' numbers in the order of their bytes */
    uint32_t words[]; /* hash, end, index; then the bytes */
};

struct agg_set agg_set_full_mark;

static size_t block_size(uint32_t capacity, uint32_t index_size, uint32_t bytes)
{
    return sizeof(struct agg_set) + (2 * (size_t)capacity + index_size) * sizeof(uint32_t) + bytes;
}

static inline uint32_t *hashes(struct agg_set *set)
{
    return set->words;
}

static inline uint32_t *ends(struct agg_set *set)
{
    return set->words + set->capacity;
}

static inline uint32_t *index_of(struct agg_set *set)
{
    return set->words + 2 * (size_t)set->capacity;
}

static inline uint8_t *bytes_of(struct agg_set *set)
{
    return (uint8_t *)(set->words + 2 * (size_t)set->capacity + set->index_size);
}

/* ---- values, which are short most of all: without calls */

/* Up to SHORT bytes as words. With the length they say all of it. */
struct two_words {
    uint64_t head;
    uint64_t tail; /* may overlap the head */
};

static inline struct two_words words_of(const uint8_t *bytes, uint32_t len)
{
    struct two_words words = {0};
    if (len >= sizeof words.head) {
        memcpy(&words.head, bytes, sizeof words.head);
        memcpy(&words.tail, bytes + len - sizeof words.tail, sizeof words.tail);
    } else if (len >= sizeof(uint32_t)) {
        uint32_t half[2];
        memcpy(&half[0], bytes, sizeof half[0]);
        memcpy(&half[1], bytes + len - sizeof half[1], sizeof half[1]);
        words = (struct two_words){half[0], half[1]};
    } else if (len > 0) {
        words = (struct two_words){bytes[0] | (uint64_t)bytes[len / 2] << 8, bytes[len - 1]};
    }
    return words;
}

static inline uint32_t hash_words(struct two_words words, uint32_t len)
{
    uint128 product = (uint128)(words.head ^ UINT64_C(0x9E3779B97F4A7C15)) *
                      (words.tail ^ len ^ UINT64_C(0xD1B54A32D192ED03));
    uint64_t folded = (uint64_t)product ^ (uint64_t)(product >> 64);
    return (uint32_t)(folded ^ folded >> 32);
}

/* Nothing that is stored depends on it. */
static inline uint32_t hash_of(const uint8_t *bytes, uint32_t len)
{
    if (len > SHORT) {
        return (uint32_t)hash_bytes(bytes, len);
    }
    return hash_words(words_of(bytes, len), len);
}

static inline bool same_words(struct two_words left, struct two_words right)
{
    return left.head == right.head && left.tail == right.tail;
}

static inline bool same_bytes(const uint8_t *a, const uint8_t *b, uint32_t len)
{
    if (len > SHORT) {
        return memcmp(a, b, len) == 0;
    }
    return same_words(words_of(a, len), words_of(b, len));
}

static inline void copy_bytes(uint8_t *to, const uint8_t *from, uint32_t len)
{
    struct two_words words = len <= SHORT ? words_of(from, len) : (struct two_words){0};
    if (len > SHORT) {
        memcpy(to, from, len);
    } else if (len >= sizeof words.head) {
        memcpy(to, &words.head, sizeof words.head);
        memcpy(to + len - sizeof words.tail, &words.tail, sizeof words.tail);
    } else if (len >= sizeof(uint32_t)) {
        const uint32_t half[2] = {(uint32_t)words.head, (uint32_t)words.tail};
        memcpy(to, &half[0], sizeof half[0]);
        memcpy(to + len - sizeof half[1], &half[1], sizeof half[1]);
    } else {
        for (uint32_t i = 0; i < len; i++) {
            to[i] = from[i];
        }
    }
}

static inline bool value_is(struct agg_set *set, uint32_t i, const uint8_t *bytes, uint32_t len)
{
    uint32_t start = i == 0 ? 0 : ends(set)[i - 1];
    return ends(set)[i] - start == len && same_bytes(bytes_of(set) + start, bytes, len);
}

/* Four hashes at a time; those behind the last value belong to nobody and are masked away. */
static uint32_t linear_find(struct agg_set *set, uint32_t hash, const uint8_t *bytes, uint32_t len)
{
    typedef int32_t lanes __attribute__((vector_size(16)));

    const uint32_t *all = hashes(set);
    lanes wanted = {(int32_t)hash, (int32_t)hash, (int32_t)hash, (int32_t)hash};
    for (uint32_t i = 0; i < set->count; i += 4) {
        lanes four;
        memcpy(&four, all + i, sizeof four);
        lanes equal = four == wanted;
        uint64_t halves[2];
        memcpy(halves, &equal, sizeof halves);
        if ((halves[0] | halves[1]) == 0) {
            continue;
        }
        for (uint32_t k = i; k < i + 4 && k < set->count; k++) {
            if (all[k] == hash && value_is(set, k, bytes, len)) {
                return k;
            }
        }
    }
    return NONE;
}

/* ---- an index in the order of bytes: where hashes do not help */

static int value_compare(struct agg_set *set, uint32_t i, const uint8_t *bytes, uint32_t len)
{
    uint32_t start = i == 0 ? 0 : ends(set)[i - 1];
    uint32_t own = ends(set)[i] - start;
    if (own != len) {
        return own < len ? -1 : 1;
    }
    return memcmp(bytes_of(set) + start, bytes, len);
}

static int compare_numbers(const void *a, const void *b, void *ctx)
{
    struct agg_set *set = ctx;
    uint32_t i = *(const uint32_t *)b;
    uint32_t start = i == 0 ? 0 : ends(set)[i - 1];
    return value_compare(set, *(const uint32_t *)a, bytes_of(set) + start, ends(set)[i] - start);
}

/* Of the first `count` places of the index: the first one whose value is not below this one. */
static uint32_t sorted_place(struct agg_set *set, uint32_t count, const uint8_t *bytes,
                             uint32_t len)
{
    uint32_t low = 0;
    for (uint32_t high = count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (value_compare(set, index_of(set)[middle], bytes, len) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint32_t sorted_find(struct agg_set *set, uint32_t count, const uint8_t *bytes, uint32_t len)
{
    uint32_t at = sorted_place(set, count, bytes, len);
    bool found = at < count && value_compare(set, index_of(set)[at], bytes, len) == 0;
    return found ? index_of(set)[at] : NONE;
}

/* The newest value, behind the others. */
static void sorted_put(struct agg_set *set, uint32_t i)
{
    uint32_t *index = index_of(set);
    uint32_t start = i == 0 ? 0 : ends(set)[i - 1];
    uint32_t at = sorted_place(set, i, bytes_of(set) + start, ends(set)[i] - start);
    memmove(index + at + 1, index + at, (i - at) * sizeof *index);
    index[at] = i;
}

static void index_sort(struct agg_set *set)
{
    set->sorted = 1;
    for (uint32_t i = 0; i < set->count; i++) {
        index_of(set)[i] = i;
    }
    qsort_r(index_of(set), set->count, sizeof(uint32_t), compare_numbers, set);
}

/* ---- the index */

static uint32_t set_find(struct agg_set *set, uint32_t hash, const uint8_t *bytes, uint32_t len)
{
    if (set->index_size == 0) {
        return linear_find(set, hash, bytes, len);
    }
    if (set->sorted != 0) {
        return sorted_find(set, set->count, bytes, len);
    }
    const uint32_t *index = index_of(set);
    uint32_t mask = set->index_size - 1;
    uint32_t at = hash & mask;
    for (uint32_t n = 0; n < AGG_SET_CHAIN && index[at] != 0; n++, at = (at + 1) & mask) {
        uint32_t i = index[at] - 1;
        if (hashes(set)[i] == hash && value_is(set, i, bytes, len)) {
            return i;
        }
    }
    return NONE;
}

/* false: all places near its hash are taken. */
static bool hash_put(struct agg_set *set, uint32_t i)
{
    uint32_t *index = index_of(set);
    uint32_t mask = set->index_size - 1;
    uint32_t at = hashes(set)[i] & mask;
    for (uint32_t n = 0; n < AGG_SET_CHAIN; n++, at = (at + 1) & mask) {
        if (index[at] == 0) {
            index[at] = i + 1;
            return true;
        }
    }
    return false;
}

static void index_put(struct agg_set *set, uint32_t i)
{
    if (set->sorted != 0) {
        sorted_put(set, i);
    } else if (!hash_put(set, i)) {
        index_sort(set);
    }
}

/* Of all values, in an index that is empty. */
static void index_make(struct agg_set *set)
{
    bool fits = true;
    for (uint32_t i = 0; i < set->count && set->index_size > 0 && fits; i++) {
        fits = hash_put(set, i);
    }
    if (!fits) {
        index_sort(set);
    }
}

/* An empty block for so many values of so many bytes, and as many bytes more as it holds anyway. */
static struct agg_set *set_block(struct pool *pool, uint32_t capacity, uint32_t bytes)
{
    uint32_t index_size = capacity > AGG_SET_LINEAR ? capacity * 2 : 0;
    size_t size = block_size(capacity, index_size, bytes);
    size_t block = pool_block_size(size);
    struct agg_set *set = pool_alloc(pool, block);
    *set = (struct agg_set){.capacity = capacity,
                            .index_size = index_size,
                            .bytes_capacity = bytes + (uint32_t)(block - size)};
    memset(index_of(set), 0, index_size * sizeof(uint32_t));
    return set;
}

/* A block with room for one more value of len bytes. */
static struct agg_set *set_grow(struct agg_set *old, struct pool *pool, uint32_t len)
{
    uint32_t used = old == NULL ? 0 : old->bytes_used;
    uint32_t count = old == NULL ? 0 : old->count;
    uint32_t capacity = old == NULL ? 2 : old->capacity;
    capacity = count == capacity ? capacity * 2 : capacity;
    /* As many bytes per free value as the values so far. */
    uint32_t each = (used + len) / (count + 1);
    struct agg_set *set = set_block(pool, capacity, used + len + each * (capacity - count - 1));
    set->count = count;
    set->bytes_used = used;
    if (old != NULL) {
        memcpy(hashes(set), hashes(old), count * sizeof(uint32_t));
        memcpy(ends(set), ends(old), count * sizeof(uint32_t));
        memcpy(bytes_of(set), bytes_of(old), used);
        set->sorted = old->sorted;
        if (set->sorted != 0) {
            memcpy(index_of(set), index_of(old), count * sizeof(uint32_t));
        }
        agg_set_free(old, pool);
    }
    if (set->sorted == 0) {
        index_make(set);
    }
    return set;
}

struct agg_set *agg_set_add(struct agg_set *set, struct pool *pool, const void *bytes, uint32_t len,
                            size_t limit)
{
    uint32_t number = 0;
    return agg_set_put(set, pool, bytes, len, limit, &number);
}

/* Appends a value that is not in the set, which has room for it; the index does not know it yet. */
static uint32_t put_bytes(struct agg_set *set, uint32_t hash, const uint8_t *bytes, uint32_t len)
{
    uint32_t i = set->count++;
    copy_bytes(bytes_of(set) + set->bytes_used, bytes, len);
    set->bytes_used += len;
    hashes(set)[i] = hash;
    ends(set)[i] = set->bytes_used;
    return i;
}

static void put_new(struct agg_set *set, uint32_t hash, const uint8_t *bytes, uint32_t len)
{
    uint32_t i = put_bytes(set, hash, bytes, len);
    if (set->index_size > 0) {
        index_put(set, i);
    }
}

/* Into a set that is not full. */
static struct agg_set *set_put(struct agg_set *set, struct pool *pool, const void *bytes,
                               uint32_t len, size_t limit, uint32_t *number)
{
    bytes = len == 0 ? "" : bytes; /* an empty text may be anywhere, also at NULL */
    uint32_t hash = hash_of(bytes, len);
    *number = set == NULL ? NONE : set_find(set, hash, bytes, len);
    if (*number != NONE) {
        return set;
    }
    if ((set == NULL ? 0 : set->bytes_used) + (size_t)len > limit) {
        agg_set_free(set, pool);
        return AGG_SET_FULL;
    }
    if (set == NULL || set->count == set->capacity || set->bytes_capacity - set->bytes_used < len) {
        set = set_grow(set, pool, len);
    }
    *number = set->count;
    put_new(set, hash, bytes, len);
    return set;
}

/* The union with a set whose values are to be found in the order of bytes: they are looked for among
 * those that were there, which no other one of `more` is equal to, and sorted once. */
static struct agg_set *union_sorted(struct agg_set *set, struct pool *pool,
                                    const struct agg_set *more, size_t limit)
{
    uint32_t before = set->count;
    for (uint32_t i = 0; i < agg_set_count(more); i++) {
        uint32_t len = 0;
        const uint8_t *bytes = agg_set_value(more, i, &len);
        if (sorted_find(set, before, bytes, len) != NONE) {
            continue;
        }
        if (set->bytes_used + (size_t)len > limit) {
            agg_set_free(set, pool);
            return AGG_SET_FULL;
        }
        if (set->count == set->capacity || set->bytes_capacity - set->bytes_used < len) {
            set = set_grow(set, pool, len);
        }
        (void)put_bytes(set, hash_of(bytes, len), bytes, len);
    }
    index_sort(set);
    return set;
}

struct agg_set *agg_set_union(struct agg_set *set, struct pool *pool, const struct agg_set *more,
                              size_t limit)
{
    if (set == AGG_SET_FULL || more == AGG_SET_FULL) {
        agg_set_free(set, pool);
        return AGG_SET_FULL;
    }
    for (uint32_t i = 0; i < agg_set_count(more) && set != AGG_SET_FULL; i++) {
        uint32_t len = 0;
        uint32_t number = 0;
        if (set != NULL && set->sorted != 0) {
            return union_sorted(set, pool, more, limit); /* what it has of them is found again */
        }
        const uint8_t *bytes = agg_set_value(more, i, &len);
        set = set_put(set, pool, bytes, len, limit, &number);
    }
    return set;
}

struct agg_set *agg_set_put(struct agg_set *set, struct pool *pool, const void *bytes, uint32_t len,
                            size_t limit, uint32_t *number)
{
    return set == AGG_SET_FULL ? set : set_put(set, pool, bytes, len, limit, number);
}

void agg_set_free(struct agg_set *set, struct pool *pool)
{
    if (set != NULL && set != AGG_SET_FULL) {
        pool_free(pool, set, block_size(set->capacity, set->index_size, set->bytes_capacity));
    }
}

uint32_t agg_set_count(const struct agg_set *set)
{
    return set == NULL ? 0 : set->count;
}

const uint8_t *agg_set_value(const struct agg_set *set, uint32_t i, uint32_t *len)
{
    ASSERT_CMP(i, <, set->count);
    const uint32_t *end = set->words + set->capacity;
    uint32_t start = i == 0 ? 0 : end[i - 1];
    *len = end[i] - start;
    return (const uint8_t *)(set->words + 2 * (size_t)set->capacity + set->index_size) + start;
}

size_t agg_set_bytes(const struct agg_set *set)
{
    return set == NULL || set == AGG_SET_FULL
               ? 0
               : block_size(set->capacity, set->index_size, set->bytes_capacity);
}

void agg_set_prefetch(const struct agg_set *set)
{
    __builtin_prefetch(set);
    __builtin_prefetch((const uint8_t *)set + 64);
    __builtin_prefetch((const uint8_t *)set + 128);
    __builtin_prefetch((const uint8_t *)set + 192);
}
