/* Different values that are only read: those of a stored count(DISTINCT), and of several sources' ones
 * together.
 *
 * What is stored is kept as it is, the values of one source behind those of the other, and which of them
 * are different is found out once, when the result is asked for: values of one source are, so that most
 * of all nothing has to be found out. When there are many, they go into a set (agg_set.h) instead, so
 * that those that come again take no memory; what is kept as it is are 4096 values at most beside those
 * of the first source: the places that their hashes share are not bounded.
 *
 * Nothing seen is NULL. */
#ifndef KAPPA_PROCESSOR_AGG_UNIQUE_H
#define KAPPA_PROCESSOR_AGG_UNIQUE_H

#include "processor/agg_operator.h"

struct agg_set;
struct agg_unique;

/* Adds `count` > 0 encoded values (value_codec.h), different from each other; false: the bytes are none. */
bool agg_unique_add(struct agg_unique **unique, struct pool *pool, struct agg_cursor *in,
                    uint64_t count, enum kappa_type type);
/* For good: a source has more than it may keep. */
void agg_unique_fill(struct agg_unique **unique, struct pool *pool);
void agg_unique_free(struct agg_unique *unique, struct pool *pool);
/* Memory taken. */
size_t agg_unique_bytes(const struct agg_unique *unique);

bool agg_unique_is_full(const struct agg_unique *unique);
/* How many different values there are; *values, if wanted, in the order in which they first came. */
uint32_t agg_unique_values(const struct agg_unique *unique, enum kappa_type type,
                           struct arena *arena, struct kappa_value **values);
/* The same of a set that was not read. */
uint32_t agg_unique_of_set(const struct agg_set *set, enum kappa_type type, struct arena *arena,
                           struct kappa_value **values);

#endif
