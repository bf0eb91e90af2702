/* The changed entries of a cache in the order of their keys, for scans.
 *
 *     key_index_open
 *     key_index_take -> key_index_from ...     while records are applied
 *     key_index_clear                          when the cache is committed
 *     key_index_close
 *
 * A cache finds keys by their hash; who never scans pays nothing for an order. The entries that have
 * become dirty since the last look are taken from the cache's list, so that a scan costs no more than
 * what it gives and what has changed since the one before. Dirty entries stay where they are, and in
 * the list, until the commit. It is a treap; the hash of the key is the priority, so that its shape is
 * a function of the keys alone. */
#ifndef KAPPA_PROCESSOR_KEY_INDEX_H
#define KAPPA_PROCESSOR_KEY_INDEX_H

#include "processor/agg_cache.h"

struct key_node;

struct key_index {
    struct arena memory;
    struct key_node *root;
    size_t taken; /* of the cache's dirty list */
};

void key_index_open(struct key_index *index);
void key_index_close(struct key_index *index);
void key_index_clear(struct key_index *index);
void key_index_take(struct key_index *index, const struct agg_cache *cache);
/* The entry with the smallest key that is not below this one, or NULL. */
struct agg_entry *key_index_from(const struct key_index *index, const struct agg_cache *cache,
                                 const uint8_t *key, size_t len);
/* < 0, 0, > 0: a stands before b, ... */
int key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

#endif
