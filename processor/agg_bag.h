/* A multiset of 64-bit keys: how often each was added. The state of percentiles.
 *
 * Entries stand in ascending order in one block; new keys wait behind it in a tail, which is sorted
 * and merged when it is full, so that adding a key costs a few moves. What a bag holds, and its
 * bytes, do not depend on when that happens. A bag with more different keys than its limit is full
 * for good and holds nothing.
 *
 * Bytes: varint 0: full; else different keys + 1, then for each the varint distance from the one
 * before (the first: from 0) and the varint count. */
#ifndef KAPPA_PROCESSOR_AGG_BAG_H
#define KAPPA_PROCESSOR_AGG_BAG_H

#include "processor/agg_operator.h"

struct agg_bag_entry {
    uint64_t key;
    uint64_t count;
};

struct agg_bag { /* zeroed: empty */
    struct agg_bag_entry *entries;
    uint64_t *tail;
    uint32_t count;    /* entries */
    uint32_t capacity; /* entries there is room for */
    uint32_t tail_count;
    uint32_t tail_capacity; /* UINT32_MAX: the bag is full */
};

/* The entries with the tail merged in. */
struct agg_bag_view {
    const struct agg_bag_entry *entries;
    uint32_t count;
    uint64_t total; /* of the counts */
    void *owned;    /* to be freed */
};

static inline bool agg_bag_is_full(const struct agg_bag *bag)
{
    return bag->tail_capacity == UINT32_MAX;
}

/* limit: different keys it may hold. */
void agg_bag_make_room(struct agg_bag *bag, struct pool *pool, uint32_t limit);

static inline void agg_bag_add(struct agg_bag *bag, struct pool *pool, uint64_t key, uint32_t limit)
{
    if (bag->tail_count == bag->tail_capacity) {
        agg_bag_make_room(bag, pool, limit);
    }
    if (!agg_bag_is_full(bag)) {
        bag->tail[bag->tail_count++] = key;
    }
}

void agg_bag_merge(struct agg_bag *bag, struct pool *pool, const struct agg_bag *more,
                   uint32_t limit);
void agg_bag_free(struct agg_bag *bag, struct pool *pool);
size_t agg_bag_owned(const struct agg_bag *bag);
void agg_bag_encode(const struct agg_bag *bag, struct buf *out, uint32_t limit);
/* bag: zeroed. No key is above `top`. */
bool agg_bag_decode(struct agg_bag *bag, struct pool *pool, struct agg_cursor *in, uint32_t limit,
                    uint64_t top);
struct agg_bag_view agg_bag_view(const struct agg_bag *bag);
void agg_bag_view_free(struct agg_bag_view *view);
/* The key at place `rank` < total of the sorted sequence. */
uint64_t agg_bag_at(const struct agg_bag_view *view, uint64_t rank);

#endif
