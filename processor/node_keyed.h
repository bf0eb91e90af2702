/* State per key of an operator: a hidden table and a cache in front of it.
 *
 *     node_keyed_open
 *     node_keyed_find ...           the state of a key, loaded or new; agg_cache_touch before a change
 *     node_keyed_flush              changed states, sorted, into the sink
 *     node_keyed_committed, node_keyed_evict
 *     node_keyed_close
 *
 * The layout says what a state is: one slot of an agg_operator, or aggregates. Keys: source u16 BE and
 * key columns. Part of node.h; belongs to one processor. */
#ifndef KAPPA_PROCESSOR_NODE_KEYED_H
#define KAPPA_PROCESSOR_NODE_KEYED_H

#include "processor/agg_cache.h"

struct processor;
struct kappa_change_sink;

struct node_keyed {
    struct agg_layout layout; /* filled by the owner before node_keyed_open */
    struct agg_cache cache;
    uint32_t table;
    bool deletes;       /* states of row_state.h, which may be cleared: then the row is deleted */
    bool *maybe_stored; /* per source: the store may hold rows that are not in the cache */
    uint32_t source_count;
};

void node_keyed_open(struct processor *p, struct node_keyed *keyed, uint32_t table);
void node_keyed_close(struct node_keyed *keyed);
/* A source begins (again). stored: it may have rows. */
void node_keyed_restore(struct node_keyed *keyed, uint32_t source, bool stored);
/* key: with its source prefix. */
int node_keyed_find(struct processor *p, struct node_keyed *keyed, uint32_t source,
                    const uint8_t *key, size_t key_len, struct agg_entry **out,
                    struct err *err) must_check;
int node_keyed_flush(struct processor *p, const struct node_keyed *keyed,
                     const struct kappa_change_sink *sink, struct err *err) must_check;
void node_keyed_committed(struct node_keyed *keyed);
/* Until the pool has at most `budget` bytes. */
void node_keyed_evict(struct processor *p, struct node_keyed *keyed, size_t budget);

#endif
