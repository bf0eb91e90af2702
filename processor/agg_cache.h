/* The rows of one group view in memory: a write-back cache in front of the store.
 *
 *     agg_cache_open
 *     loop: agg_cache_find, agg_cache_create, agg_cache_touch     while records are applied
 *           agg_cache_sorted                                      dirty rows by key, for a flush
 *           agg_cache_committed                                   they are stored now
 *           agg_cache_drop_if, agg_cache_evict                    make room
 *     agg_cache_close
 *
 * An open-addressing table of (hash, entry) with linear probing; the whole 64-bit hash stands in
 * the slot, so that growing and probing touch an entry only when it is almost surely the right one.
 * Entries lie in blocks of the processor's pool and do not move:
 *
 *     | header | state (layout.bytes) | key |
 *
 * Invariants:
 *  1. An entry is dirty if and only if it is in the dirty list; only clean entries leave.
 *  2. `stored` is false only if the store is known to hold no row of this key.
 */
#ifndef KAPPA_PROCESSOR_AGG_CACHE_H
#define KAPPA_PROCESSOR_AGG_CACHE_H

#include "processor/agg_state.h"

enum {
    AGG_ENTRY_DIRTY = 1,
    AGG_ENTRY_STORED = 2,
    AGG_ENTRY_USED = 4 /* since the clock hand passed */
};

struct agg_entry {
    uint64_t hash;
    int64_t window_end; /* 0 in tables without windows */
    int64_t time;       /* for the owner: with ttl the last event time, KAPPA_NO_TIME: no rows */
    uint32_t source;
    uint16_t key_len;
    uint8_t flags;
    _Alignas(16) uint8_t state[];
};

struct agg_slot_ref {
    uint64_t hash;
    struct agg_entry *entry; /* NULL: free */
};

struct agg_cache {
    const struct agg_layout *layout;
    struct pool *pool; /* shared by the views of a processor */
    struct agg_slot_ref *slots;
    size_t mask;  /* slots - 1 */
    size_t count; /* entries */
    size_t hand;  /* of the eviction clock */
    struct agg_entry **dirty;
    size_t dirty_count;
    size_t dirty_capacity;
    size_t dirty_bytes; /* about what a flush has to write */
    /* NULL, or called before an entry goes: gives back what its state owns beyond the layout. */
    void (*release)(void *ctx, struct agg_entry *entry);
    void *release_ctx;
};

/* An entry with the first bytes of its key that tell it from the others. */
struct agg_sorted {
    uint64_t prefix;
    struct agg_entry *entry;
};

void agg_cache_open(struct agg_cache *cache, const struct agg_layout *layout, struct pool *pool);
void agg_cache_close(struct agg_cache *cache);

static inline const uint8_t *agg_entry_key(const struct agg_cache *cache,
                                           const struct agg_entry *entry)
{
    return entry->state + cache->layout->bytes;
}

/* NULL if it is not there. */
struct agg_entry *agg_cache_find(const struct agg_cache *cache, uint64_t hash, const uint8_t *key,
                                 size_t key_len);
/* A new clean entry with a zeroed state; the key is not there yet. */
struct agg_entry *agg_cache_create(struct agg_cache *cache, uint64_t hash, const uint8_t *key,
                                   size_t key_len, uint32_t source, int64_t window_end);
void agg_cache_make_dirty(struct agg_cache *cache, struct agg_entry *entry);

/* The entry is about to change. */
static inline void agg_cache_touch(struct agg_cache *cache, struct agg_entry *entry)
{
    if ((entry->flags & AGG_ENTRY_DIRTY) == 0) {
        agg_cache_make_dirty(cache, entry);
    }
}

/* Where the entry with this hash would be looked for first. */
static inline void agg_cache_prefetch(const struct agg_cache *cache, uint64_t hash)
{
    __builtin_prefetch(&cache->slots[hash & cache->mask]);
}

/* The entry that this hash most likely belongs to, or NULL; its key is not compared. */
static inline struct agg_entry *agg_cache_peek(const struct agg_cache *cache, uint64_t hash)
{
    const struct agg_slot_ref *slot = &cache->slots[hash & cache->mask];
    while (slot->entry != NULL && slot->hash != hash) {
        slot = slot == &cache->slots[cache->mask] ? cache->slots : slot + 1;
    }
    return slot->entry;
}

/* The dirty entries in the order of their keys: dirty_count of them, to be freed by the caller;
 * NULL if there are none. */
struct agg_sorted *agg_cache_sorted(const struct agg_cache *cache);
/* The dirty entries are clean and stored. */
void agg_cache_committed(struct agg_cache *cache);
/* Removes the clean entries for which `gone` says true, which may be asked twice. */
void agg_cache_drop_if(struct agg_cache *cache, bool (*gone)(void *ctx, struct agg_entry *entry),
                       void *ctx);
/* The same, dirty or not: their rows are no more, and no flush is to write them. */
void agg_cache_forget(struct agg_cache *cache, bool (*gone)(void *ctx, struct agg_entry *entry),
                      void *ctx);
/* Clock sweep: removes clean entries not used since the hand last passed, until the pool has at
 * most budget bytes or nothing clean is left. evicted is told of each before it goes. Returns how
 * many. */
size_t agg_cache_evict(struct agg_cache *cache, size_t budget,
                       void (*evicted)(void *ctx, const struct agg_entry *entry), void *ctx);
/* Memory of the table itself. */
size_t agg_cache_table_bytes(const struct agg_cache *cache);

#endif
