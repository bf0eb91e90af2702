/* Classes of durations. Own header: histogram.h. */
#include "base/histogram.h"

#include <string.h>

const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {
    100,   250,    500,    1000,   2500,    5000,    10000,   25000,
    50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
};

void histogram_add(struct histogram *histogram, int64_t took_us)
{
    int64_t took = i64_max(took_us, 0);
    uint32_t class = 0;
    while (class < HISTOGRAM_BOUNDS && took > histogram_bounds_us[class]) {
        class ++;
    }
    __atomic_add_fetch(&histogram->counts[class], 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&histogram->sum_us, u64_from_i64(took), __ATOMIC_RELAXED);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) {
        into->counts[i] += __atomic_load_n(&from->counts[i], __ATOMIC_RELAXED);
    }
    into->sum_us += __atomic_load_n(&from->sum_us, __ATOMIC_RELAXED);
}

uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) {
        count += histogram->counts[i];
    }
    return count;
}

int64_t histogram_quantile_us(const struct histogram *histogram, double part)
{
    double rank = part * (double)histogram_count(histogram);
    double below = 0;
    int64_t from = 0;
    for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) {
        int64_t to = i < HISTOGRAM_BOUNDS ? histogram_bounds_us[i] : 2 * from;
        double count = (double)histogram->counts[i];
        if (count > 0 && below + count >= rank) {
            return from + (int64_t)((double)(to - from) * (rank - below) / count);
        }
        below += count;
        from = to;
    }
    return -1;
}

bool histogram_since(const struct histogram *now, const struct histogram *before,
                     struct histogram *out)
{
    *out = *now;
    bool grown = now->sum_us >= before->sum_us;
    for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) {
        grown &= now->counts[i] >= before->counts[i];
    }
    for (uint32_t i = 0; grown && i < HISTOGRAM_COUNTS; i++) {
        out->counts[i] -= before->counts[i];
    }
    out->sum_us -= grown ? before->sum_us : 0;
    return grown;
}

json_t *histogram_to_json(const struct histogram *histogram)
{
    json_t *counts = json_array();
    for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) {
        int rc = json_array_append_new(counts, json_integer((json_int_t)histogram->counts[i]));
        ASSERT(rc == 0);
    }
    json_t *object =
        json_pack("{s:o, s:I}", "counts", counts, "sum_us", (json_int_t)histogram->sum_us);
    ASSERT(object != NULL);
    return object;
}

bool histogram_from_json(const json_t *value, struct histogram *out)
{
    const json_t *counts = json_object_get(value, "counts");
    if (json_array_size(counts) != HISTOGRAM_COUNTS) {
        return false;
    }
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) {
        int64_t count = json_integer_value(json_array_get(counts, i));
        if (count < 0) {
            return false;
        }
        out->counts[i] = (uint64_t)count;
    }
    out->sum_us = (uint64_t)i64_max(json_int(value, "sum_us", 0), 0);
    return true;
}
