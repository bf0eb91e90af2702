/* The changed entries of a cache in the order of their keys. Own header: key_index.h. */
#include "processor/key_index.h"

#include <string.h>

struct key_node {
    struct agg_entry *entry;
    struct key_node *left;
    struct key_node *right;
};

void key_index_open(struct key_index *index)
{
    *index = (struct key_index){0};
    arena_init(&index->memory);
}

void key_index_close(struct key_index *index)
{
    arena_free(&index->memory);
}

void key_index_clear(struct key_index *index)
{
    index->root = NULL;
    index->taken = 0;
    arena_reset(&index->memory);
}

int key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int entry_order(const struct agg_cache *cache, const struct agg_entry *entry,
                       const uint8_t *key, size_t len)
{
    return key_compare(agg_entry_key(cache, entry), entry->key_len, key, len);
}

/* Takes a tree apart: what is below the key, and what is above it. */
static void split(const struct agg_cache *cache, struct key_node *tree, const uint8_t *key,
                  size_t len, struct key_node **below, struct key_node **above)
{
    while (tree != NULL) {
        if (entry_order(cache, tree->entry, key, len) < 0) {
            *below = tree;
            below = &tree->right;
            tree = tree->right;
        } else {
            *above = tree;
            above = &tree->left;
            tree = tree->left;
        }
    }
    *below = NULL;
    *above = NULL;
}

static void insert(struct key_index *index, const struct agg_cache *cache, struct agg_entry *entry)
{
    const uint8_t *key = agg_entry_key(cache, entry);
    struct key_node **place = &index->root;
    while (*place != NULL && (*place)->entry->hash >= entry->hash) {
        int order = entry_order(cache, (*place)->entry, key, entry->key_len);
        if (order == 0) {
            return; /* it was there before */
        }
        place = order > 0 ? &(*place)->left : &(*place)->right;
    }
    struct key_node *node = arena_alloc(&index->memory, sizeof *node);
    node->entry = entry;
    split(cache, *place, key, entry->key_len, &node->left, &node->right);
    *place = node;
}

void key_index_take(struct key_index *index, const struct agg_cache *cache)
{
    for (; index->taken < cache->dirty_count; index->taken++) {
        insert(index, cache, cache->dirty[index->taken]);
    }
}

struct agg_entry *key_index_from(const struct key_index *index, const struct agg_cache *cache,
                                 const uint8_t *key, size_t len)
{
    struct agg_entry *found = NULL;
    for (const struct key_node *node = index->root; node != NULL;) {
        if (entry_order(cache, node->entry, key, len) < 0) {
            node = node->right;
        } else {
            found = node->entry;
            node = node->left;
        }
    }
    return found;
}
