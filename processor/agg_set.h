/* A set of byte strings in the order they first came: the state of one count(DISTINCT).
 *
 * One block of memory:
 *
 *     | header | hash u32 x capacity | end u32 x capacity | index u32 x index_size | bytes... |
 *
 * Value i is bytes[end[i-1] .. end[i]). Up to AGG_SET_LINEAR values are found by comparing hashes
 * one by one, which touches two cache lines; beyond that the index (open addressing, value number +
 * 1) finds them.
 *
 * The hash has no seed, so values can be made whose hashes are the same: 65,536 of them took 20 s to add,
 * and the newest 335 us to find. So a value is put less than AGG_SET_CHAIN places behind where its hash
 * points; when these are taken, the index becomes the numbers of all values in the order of their bytes,
 * which are found by halves: 0.4 s and 0.1 us (of the 262,144 that fit into 4 MiB: 4.6 s, 18 us each, and
 * 0.15 us). The order in which values first came is untouched.
 *
 * The empty set is NULL. A set whose bytes would pass the limit becomes
 * AGG_SET_FULL, for good: reading it is an error, and its memory is given back. */
#ifndef KAPPA_PROCESSOR_AGG_SET_H
#define KAPPA_PROCESSOR_AGG_SET_H

#include "base/pool.h"

struct agg_set;

extern struct agg_set agg_set_full_mark;
#define AGG_SET_FULL (&agg_set_full_mark)

/* Adds a value and returns the set, which may have moved. */
struct agg_set *agg_set_add(struct agg_set *set, struct pool *pool, const void *bytes, uint32_t len,
                            size_t limit);
/* Likewise, and says the value's number; nothing when the set is full. */
struct agg_set *agg_set_put(struct agg_set *set, struct pool *pool, const void *bytes, uint32_t len,
                            size_t limit, uint32_t *number);
/* Adds all values of another set, in their order; full when one of the two is. */
struct agg_set *agg_set_union(struct agg_set *set, struct pool *pool, const struct agg_set *more,
                              size_t limit);
/* NULL and AGG_SET_FULL are sets too. */
void agg_set_free(struct agg_set *set, struct pool *pool);
uint32_t agg_set_count(const struct agg_set *set);
/* Value i < count, borrowed until the next add. */
const uint8_t *agg_set_value(const struct agg_set *set, uint32_t i, uint32_t *len);
/* Memory taken. */
size_t agg_set_bytes(const struct agg_set *set);
void agg_set_prefetch(const struct agg_set *set);

#endif
