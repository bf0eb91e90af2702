/* How long things took, counted in classes that are the same everywhere, so that counts of threads
 * and processes add up. Exact sums, bounded memory.
 *
 * Class i holds what took at most histogram_bounds_us[i] and more than the bound before; the last
 * class has no bound. histogram_add may be called by any thread at any time. */
#ifndef KAPPA_BASE_HISTOGRAM_H
#define KAPPA_BASE_HISTOGRAM_H

#include "base/json.h"

#define HISTOGRAM_BOUNDS 16
#define HISTOGRAM_COUNTS (HISTOGRAM_BOUNDS + 1)

struct histogram {
    uint64_t counts[HISTOGRAM_COUNTS];
    uint64_t sum_us;
};

/* 100 us to 10 s, in steps of 2 to 2.5. */
extern const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS];

void histogram_add(struct histogram *histogram, int64_t took_us);
/* Adds the other's counts. */
void histogram_merge(struct histogram *into, const struct histogram *from);
/* How many there are. */
uint64_t histogram_count(const struct histogram *histogram);
/* What this part of them (0..1) took at most: exact at the bounds of classes, between them by how
 * many of the class there are; beyond the last bound, twice that. Negative when there are none. */
int64_t histogram_quantile_us(const struct histogram *histogram, double part);
/* What came since `before` was copied of it; false, and all of it, when that is not an earlier state. */
bool histogram_since(const struct histogram *now, const struct histogram *before,
                     struct histogram *out);
/* {"counts":[...],"sum_us":n}: a new reference; and the other way, false when it is not that. */
json_t *histogram_to_json(const struct histogram *histogram);
bool histogram_from_json(const json_t *value, struct histogram *out);

#endif
