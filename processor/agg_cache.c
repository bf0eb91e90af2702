/* The rows of one group view in memory. Own header: agg_cache.h. */
#include "processor/agg_cache.h"

#include "include/kappa/record.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64
/* The table is at most 5/8 full: linear probing then looks at about two slots. */
#define FULL_NUM  5
#define FULL_DEN  8

static size_t entry_size(const struct agg_cache *cache, size_t key_len)
{
    return sizeof(struct agg_entry) + cache->layout->bytes + key_len;
}

static void slots_alloc(struct agg_cache *cache, size_t slots)
{
    cache->slots = xcalloc(slots, sizeof *cache->slots);
    cache->mask = slots - 1;
    cache->hand = 0;
}

void agg_cache_open(struct agg_cache *cache, const struct agg_layout *layout, struct pool *pool)
{
    *cache = (struct agg_cache){.layout = layout, .pool = pool};
    slots_alloc(cache, SLOTS_MIN);
}

static void entry_free(struct agg_cache *cache, struct agg_entry *entry)
{
    if (cache->release != NULL) {
        cache->release(cache->release_ctx, entry);
    }
    agg_state_free(cache->layout, entry->state, cache->pool);
    pool_free(cache->pool, entry, entry_size(cache, entry->key_len));
}

void agg_cache_close(struct agg_cache *cache)
{
    for (size_t i = 0; cache->slots != NULL && i <= cache->mask; i++) {
        if (cache->slots[i].entry != NULL) {
            entry_free(cache, cache->slots[i].entry);
        }
    }
    free(cache->slots);
    free(cache->dirty);
    *cache = (struct agg_cache){0};
}

struct agg_entry *agg_cache_find(const struct agg_cache *cache, uint64_t hash, const uint8_t *key,
                                 size_t key_len)
{
    for (size_t i = hash & cache->mask; cache->slots[i].entry != NULL; i = (i + 1) & cache->mask) {
        struct agg_entry *entry = cache->slots[i].entry;
        if (cache->slots[i].hash == hash && entry->key_len == key_len &&
            memcmp(agg_entry_key(cache, entry), key, key_len) == 0) {
            return entry;
        }
    }
    return NULL;
}

static void slot_put(struct agg_cache *cache, uint64_t hash, struct agg_entry *entry)
{
    size_t i = hash & cache->mask;
    while (cache->slots[i].entry != NULL) {
        i = (i + 1) & cache->mask;
    }
    cache->slots[i] = (struct agg_slot_ref){hash, entry};
}

static void resize(struct agg_cache *cache, size_t slots)
{
    struct agg_slot_ref *old = cache->slots;
    size_t old_count = cache->mask + 1;
    slots_alloc(cache, slots);
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].entry != NULL) {
            slot_put(cache, old[i].hash, old[i].entry);
        }
    }
    free(old);
}

struct agg_entry *agg_cache_create(struct agg_cache *cache, uint64_t hash, const uint8_t *key,
                                   size_t key_len, uint32_t source, int64_t window_end)
{
    if ((cache->count + 1) * FULL_DEN > (cache->mask + 1) * FULL_NUM) {
        resize(cache, (cache->mask + 1) * 2);
    }
    struct agg_entry *entry = pool_alloc(cache->pool, entry_size(cache, key_len));
    entry->hash = hash;
    entry->window_end = window_end;
    entry->time = KAPPA_NO_TIME;
    entry->source = source;
    entry->key_len = u16_from(key_len);
    entry->flags = 0;
    memset(entry->state, 0, cache->layout->bytes);
    memcpy(entry->state + cache->layout->bytes, key, key_len);
    slot_put(cache, hash, entry);
    cache->count++;
    return entry;
}

/* Empties slot i; later slots of the same run move up, so that no probe ends too early. */
static void slot_clear(struct agg_cache *cache, size_t i)
{
    size_t hole = i;
    for (size_t j = (i + 1) & cache->mask; cache->slots[j].entry != NULL;
         j = (j + 1) & cache->mask) {
        size_t home = cache->slots[j].hash & cache->mask;
        /* It may move if its home is not behind the hole, going around. */
        if (((j - home) & cache->mask) >= ((j - hole) & cache->mask)) {
            cache->slots[hole] = cache->slots[j];
            hole = j;
        }
    }
    cache->slots[hole].entry = NULL;
}

static void remove_at(struct agg_cache *cache, size_t i)
{
    struct agg_entry *entry = cache->slots[i].entry;
    ASSERT((entry->flags & AGG_ENTRY_DIRTY) == 0);
    ASSERT(cache->count > 0);
    slot_clear(cache, i);
    entry_free(cache, entry);
    cache->count--;
}

void agg_cache_make_dirty(struct agg_cache *cache, struct agg_entry *entry)
{
    if (cache->dirty_count == cache->dirty_capacity) {
        cache->dirty_capacity = cache->dirty_capacity == 0 ? 256 : cache->dirty_capacity * 2;
        cache->dirty = xrealloc(cache->dirty, cache->dirty_capacity * sizeof(struct agg_entry *));
    }
    cache->dirty[cache->dirty_count++] = entry;
    entry->flags |= AGG_ENTRY_DIRTY | AGG_ENTRY_USED;
    cache->dirty_bytes +=
        entry_size(cache, entry->key_len) + agg_state_owned(cache->layout, entry->state);
}

void agg_cache_committed(struct agg_cache *cache)
{
    for (size_t i = 0; i < cache->dirty_count; i++) {
        struct agg_entry *entry = cache->dirty[i];
        entry->flags = (uint8_t)((entry->flags & ~AGG_ENTRY_DIRTY) | AGG_ENTRY_STORED);
    }
    cache->dirty_count = 0;
    cache->dirty_bytes = 0;
}

/* Few are left of many: the table shrinks, so that later sweeps are short. */
static void shrink(struct agg_cache *cache)
{
    size_t slots = cache->mask + 1;
    while (slots > SLOTS_MIN && cache->count * 8 < slots) {
        slots /= 2;
    }
    if (slots < (cache->mask + 1) / 2) {
        resize(cache, slots);
    }
}

/* A sweep waits for the memory of each entry and of what it owns: both are fetched ahead. */
static void sweep_ahead(const struct agg_cache *cache, size_t i,
                        bool (*gone)(void *ctx, struct agg_entry *entry), void *ctx)
{
    const size_t far = 24;
    const size_t near = 8;
    const struct agg_entry *entry = cache->slots[(i + far) & cache->mask].entry;
    if (entry != NULL) {
        for (size_t at = 0; at < sizeof *entry + cache->layout->bytes; at += 64) {
            __builtin_prefetch((const uint8_t *)entry + at);
        }
    }
    struct agg_entry *next = cache->slots[(i + near) & cache->mask].entry;
    if (next != NULL && (next->flags & AGG_ENTRY_DIRTY) == 0 && cache->layout->count > 0 &&
        gone(ctx, next)) {
        agg_state_prefetch(cache->layout, next->state);
    }
}

void agg_cache_forget(struct agg_cache *cache, bool (*gone)(void *ctx, struct agg_entry *entry),
                      void *ctx)
{
    size_t kept = 0;
    for (size_t i = 0; i < cache->dirty_count; i++) {
        if (i + 16 < cache->dirty_count) {
            __builtin_prefetch(cache->dirty[i + 16]);
        }
        struct agg_entry *entry = cache->dirty[i];
        if (gone(ctx, entry)) {
            entry->flags &= (uint8_t)~AGG_ENTRY_DIRTY;
        } else {
            cache->dirty[kept++] = entry;
        }
    }
    /* What an entry counts for was added while it grew; the rest counts for as much on average. */
    cache->dirty_bytes = cache->dirty_count == 0
                             ? 0
                             : (size_t)((uint128)cache->dirty_bytes * kept / cache->dirty_count);
    cache->dirty_count = kept;
    agg_cache_drop_if(cache, gone, ctx);
}

void agg_cache_drop_if(struct agg_cache *cache, bool (*gone)(void *ctx, struct agg_entry *entry),
                       void *ctx)
{
    /* When a slot is emptied a later one may move into it, so the same slot is looked at again.
     * What moves from the table's start to its end was looked at before. */
    for (size_t i = 0; i <= cache->mask;) {
        struct agg_entry *entry = cache->slots[i].entry;
        sweep_ahead(cache, i, gone, ctx);
        if (entry != NULL && (entry->flags & AGG_ENTRY_DIRTY) == 0 && gone(ctx, entry)) {
            remove_at(cache, i);
        } else {
            i++;
        }
    }
    shrink(cache);
}

size_t agg_cache_evict(struct agg_cache *cache, size_t budget,
                       void (*evicted)(void *ctx, const struct agg_entry *entry), void *ctx)
{
    size_t removed = 0;
    /* Two rounds meet every entry once with its mark taken away. */
    for (size_t steps = 2 * (cache->mask + 1); steps > 0 && cache->pool->used_bytes > budget;) {
        struct agg_entry *entry = cache->slots[cache->hand].entry;
        bool clean = entry != NULL && (entry->flags & AGG_ENTRY_DIRTY) == 0;
        if (clean && (entry->flags & AGG_ENTRY_USED) == 0) {
            evicted(ctx, entry);
            remove_at(cache, cache->hand);
            removed++;
            continue;
        }
        if (clean) {
            entry->flags &= (uint8_t)~AGG_ENTRY_USED;
        }
        cache->hand = (cache->hand + 1) & cache->mask;
        steps--;
    }
    shrink(cache);
    return removed;
}

size_t agg_cache_table_bytes(const struct agg_cache *cache)
{
    return (cache->mask + 1) * sizeof *cache->slots;
}
