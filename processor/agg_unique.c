/* Different values that are only read. Own header: agg_unique.h. */
#include "processor/agg_unique.h"

#include "base/digest.h"
#include "processor/agg_set.h"
#include "processor/agg_value.h"

#include <string.h>

#define WORD       sizeof(uint64_t)
#define KEPT       4096 /* values of several sources that are kept as they are: fewer than 2^16 */
#define KEPT_BYTES ((size_t)256 << 10)
#define AHEAD_MAX  1024 /* bytes of a source that room is left for three more of */
#define SET_BYTES  ((size_t)1 << 28)

struct agg_unique {
    struct agg_set *set; /* NULL: they are below */
    uint32_t count;      /* with those that come again */
    uint32_t sources;
    uint32_t used;
    uint32_t capacity; /* a word can be read behind the last value */
    uint8_t bytes[];
};

static size_t block_size(uint32_t capacity)
{
    return sizeof(struct agg_unique) + capacity + WORD;
}

/* ---- adding */

/* An empty one with room for so many bytes. */
static struct agg_unique *unique_new(struct pool *pool, uint32_t capacity)
{
    struct agg_unique *unique = pool_alloc(pool, block_size(capacity));
    *unique = (struct agg_unique){.capacity = capacity};
    return unique;
}

/* Past so many values. */
static bool skip(struct agg_cursor *in, uint64_t count, enum kappa_type type)
{
    struct kappa_value value = {.type = type};
    if (kappa_type_payload(type) != KAPPA_PAYLOAD_BYTES) {
        for (uint64_t i = 0; i < count; i++) {
            if (!agg_take_value(in, &value)) {
                return false;
            }
        }
        return true;
    }
    size_t at = in->pos;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t len = 0;
        if (at >= in->len) {
            return false;
        }
        if (in->bytes[at] < 0x80) {
            at += 1 + (size_t)in->bytes[at];
        } else if (varint_read(in->bytes, in->len, &at, &len) && len <= in->len - at) {
            at += len;
        } else {
            return false;
        }
    }
    if (at > in->len) {
        return false;
    }
    in->pos = at;
    return true;
}

static struct agg_set *put(struct agg_set *set, struct pool *pool, struct agg_cursor *in,
                           uint64_t count, enum kappa_type type)
{
    for (uint64_t i = 0; i < count; i++) {
        struct kappa_value value = {.type = type};
        ASSERT(agg_take_value(in, &value));
        value = agg_value_canonical(value);
        struct kappa_text bytes = agg_value_bytes(&value);
        set = agg_set_add(set, pool, bytes.bytes, bytes.len, SET_BYTES);
    }
    return set;
}

/* From now on they are in a set. */
static void set_make(struct agg_unique *unique, struct pool *pool, enum kappa_type type)
{
    struct agg_cursor in = {.bytes = unique->bytes, .len = unique->used};
    unique->set = put(NULL, pool, &in, unique->count, type);
    unique->count = 0;
    unique->used = 0;
}

static struct agg_unique *with_room(struct agg_unique *old, struct pool *pool, uint32_t len)
{
    if (old != NULL && old->capacity - old->used >= len) {
        return old;
    }
    if (old == NULL) {
        return unique_new(pool, len <= AHEAD_MAX ? 4 * len : len);
    }
    struct agg_unique *unique = unique_new(pool, 2 * (old->used + len));
    uint32_t capacity = unique->capacity;
    memcpy(unique, old, sizeof *old + old->used);
    unique->capacity = capacity;
    pool_free(pool, old, block_size(old->capacity));
    return unique;
}

bool agg_unique_add(struct agg_unique **unique, struct pool *pool, struct agg_cursor *in,
                    uint64_t count, enum kappa_type type)
{
    struct agg_unique *all = *unique;
    struct agg_cursor more = *in;
    if (count > in->len - in->pos || !skip(in, count, type)) { /* a value has a byte at least */
        return false;
    }
    uint32_t len = u32_from(in->pos - more.pos);
    if (all != NULL && all->set == NULL &&
        (all->count + count > KEPT || (size_t)all->used + len > KEPT_BYTES)) {
        set_make(all, pool, type);
    }
    if (all != NULL && all->set != NULL) {
        all->set = put(all->set, pool, &more, count, type);
        return true;
    }
    all = with_room(all, pool, len);
    memcpy(all->bytes + all->used, more.bytes + more.pos, len);
    all->used += len;
    all->count += (uint32_t)count;
    all->sources++;
    *unique = all;
    return true;
}

void agg_unique_fill(struct agg_unique **unique, struct pool *pool)
{
    if (*unique == NULL) {
        *unique = unique_new(pool, 0);
    }
    agg_set_free((*unique)->set, pool);
    (*unique)->set = AGG_SET_FULL;
}

void agg_unique_free(struct agg_unique *unique, struct pool *pool)
{
    if (unique != NULL) {
        agg_set_free(unique->set, pool);
        pool_free(pool, unique, block_size(unique->capacity));
    }
}

size_t agg_unique_bytes(const struct agg_unique *unique)
{
    return unique == NULL ? 0 : block_size(unique->capacity) + agg_set_bytes(unique->set);
}

bool agg_unique_is_full(const struct agg_unique *unique)
{
    return unique != NULL && unique->set == AGG_SET_FULL;
}

/* ---- which are different */

struct span {
    uint32_t from;
    uint32_t len;
};

/* The length of a value that was encoded well. */
__attribute__((noinline)) static uint32_t value_len(const struct agg_unique *unique, uint32_t at,
                                                    enum kappa_type type)
{
    struct agg_cursor in = {.bytes = unique->bytes, .len = unique->used, .pos = at};
    ASSERT(skip(&in, 1, type));
    return (uint32_t)in.pos - at;
}

static inline uint32_t len_at(const struct agg_unique *unique, uint32_t at, bool texts,
                              enum kappa_type type)
{
    uint8_t first = unique->bytes[at];
    return texts && first < 0x80 ? first + UINT32_C(1) : value_len(unique, at, type);
}

/* A value of up to 8 bytes, its length included, is its own key: it needs not be looked at again. */
static inline uint64_t key_of(const uint8_t *bytes, uint32_t len)
{
    uint64_t key = 0;
    if (len > WORD) {
        return hash_bytes(bytes, len);
    }
    memcpy(&key, bytes, WORD);
    return key & UINT64_MAX >> (8 * (WORD - len));
}

static inline bool is_same(const uint8_t *all, struct span a, struct span b)
{
    return a.len == b.len && (a.len <= WORD || memcmp(all + a.from, all + b.from, a.len) == 0);
}

/* The different ones among the encoded values. */
static uint32_t find_different(const struct agg_unique *unique, enum kappa_type type,
                               struct arena *arena, struct span *spans)
{
    unsigned bits = 3;
    while ((UINT32_C(1) << bits) < 2 * unique->count) {
        bits++;
    }
    uint32_t mask = (UINT32_C(1) << bits) - 1;
    uint16_t *numbers =
        arena_calloc(arena, ((size_t)mask + 1) * sizeof *numbers); /* + 1; 0: none */
    uint64_t *keys = arena_alloc(arena, ((size_t)mask + 1) * sizeof *keys);
    bool texts = kappa_type_payload(type) == KAPPA_PAYLOAD_BYTES;
    uint32_t found = 0;
    for (uint32_t at = 0; at < unique->used;) {
        struct span span = {at, len_at(unique, at, texts, type)};
        uint64_t key = key_of(unique->bytes + at, span.len);
        size_t place = key * UINT64_C(0x9E3779B97F4A7C15) >> (64 - bits);
        while (numbers[place] != 0 &&
               !(keys[place] == key && is_same(unique->bytes, spans[numbers[place] - 1], span))) {
            place = (place + 1) & mask;
        }
        if (numbers[place] == 0) {
            spans[found++] = span;
            numbers[place] = (uint16_t)found;
            keys[place] = key;
        }
        at += span.len;
    }
    return found;
}

/* Those of one source are different. */
static uint32_t take_all(const struct agg_unique *unique, enum kappa_type type, struct span *spans)
{
    bool texts = kappa_type_payload(type) == KAPPA_PAYLOAD_BYTES;
    uint32_t at = 0;
    for (uint32_t i = 0; i < unique->count; i++) {
        spans[i] = (struct span){at, len_at(unique, at, texts, type)};
        at += spans[i].len;
    }
    return unique->count;
}

uint32_t agg_unique_of_set(const struct agg_set *set, enum kappa_type type, struct arena *arena,
                           struct kappa_value **values)
{
    uint32_t count = set == AGG_SET_FULL ? 0 : agg_set_count(set);
    if (values != NULL) {
        *values = arena_alloc(arena, (count + 1) * sizeof **values);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t len = 0;
            const uint8_t *bytes = agg_set_value(set, i, &len);
            (*values)[i] = agg_value_of_bytes(bytes, len, type);
        }
    }
    return count;
}

uint32_t agg_unique_values(const struct agg_unique *unique, enum kappa_type type,
                           struct arena *arena, struct kappa_value **values)
{
    if (unique == NULL || unique->set != NULL) {
        return agg_unique_of_set(unique == NULL ? NULL : unique->set, type, arena, values);
    }
    if (unique->sources == 1 && values == NULL) {
        return unique->count;
    }
    struct span *spans = arena_alloc(arena, unique->count * sizeof *spans);
    uint32_t count = unique->sources == 1 ? take_all(unique, type, spans)
                                          : find_different(unique, type, arena, spans);
    if (values != NULL) {
        *values = arena_alloc(arena, count * sizeof **values);
        for (uint32_t i = 0; i < count; i++) {
            struct agg_cursor in = {
                .bytes = unique->bytes, .len = unique->used, .pos = spans[i].from};
            struct kappa_value value = {.type = type};
            ASSERT(agg_take_value(&in, &value));
            (*values)[i] = agg_value_canonical(value);
        }
    }
    return count;
}
