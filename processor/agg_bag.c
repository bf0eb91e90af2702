/* A multiset of 64-bit keys. Own header: agg_bag.h. */
#include "processor/agg_bag.h"

#include <stdlib.h>
#include <string.h>

#define TAIL_MIN 8
#define TAIL_MAX 65536

static int compare_keys(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

struct source {
    const struct agg_bag_entry *entries;
    uint32_t count;
};

/* Merges two ascending sequences; out has room for both. Returns the entries written. */
static uint32_t merge_entries(struct source a, struct source b, struct agg_bag_entry *out)
{
    uint32_t n = 0;
    uint32_t i = 0;
    uint32_t k = 0;
    while (i < a.count || k < b.count) {
        bool left = k == b.count || (i < a.count && a.entries[i].key <= b.entries[k].key);
        bool right = i == a.count || (k < b.count && b.entries[k].key <= a.entries[i].key);
        out[n].key = left ? a.entries[i].key : b.entries[k].key;
        out[n].count = (left ? a.entries[i].count : 0) + (right ? b.entries[k].count : 0);
        i += left;
        k += right;
        n++;
    }
    return n;
}

struct agg_bag_view agg_bag_view(const struct agg_bag *bag)
{
    struct agg_bag_view view = {.entries = bag->entries, .count = bag->count};
    if (bag->tail_count > 0 && !agg_bag_is_full(bag)) {
        uint32_t tail = bag->tail_count;
        uint64_t *keys = xmalloc(tail * sizeof *keys);
        memcpy(keys, bag->tail, tail * sizeof *keys);
        qsort(keys, tail, sizeof *keys, compare_keys);
        struct agg_bag_entry *all = xmalloc(((size_t)bag->count + 2 * (size_t)tail) * sizeof *all);
        struct agg_bag_entry *late = all + bag->count + tail;
        uint32_t late_count = 0;
        for (uint32_t i = 0; i < tail; i++) {
            if (late_count > 0 && late[late_count - 1].key == keys[i]) {
                late[late_count - 1].count++;
            } else {
                late[late_count++] = (struct agg_bag_entry){keys[i], 1};
            }
        }
        free(keys);
        view.count = merge_entries((struct source){bag->entries, bag->count},
                                   (struct source){late, late_count}, all);
        view.entries = view.owned = all;
    }
    for (uint32_t i = 0; i < view.count; i++) {
        view.total += view.entries[i].count;
    }
    return view;
}

void agg_bag_view_free(struct agg_bag_view *view)
{
    free(view->owned);
    *view = (struct agg_bag_view){0};
}

uint64_t agg_bag_at(const struct agg_bag_view *view, uint64_t rank)
{
    uint32_t i = 0;
    while (i + 1 < view->count && rank >= view->entries[i].count) {
        rank -= view->entries[i].count;
        i++;
    }
    ASSERT_CMP(i, <, view->count);
    return view->entries[i].key;
}

void agg_bag_free(struct agg_bag *bag, struct pool *pool)
{
    if (bag->entries != NULL) {
        pool_free(pool, bag->entries, bag->capacity * sizeof *bag->entries);
    }
    if (bag->tail != NULL) {
        pool_free(pool, bag->tail, bag->tail_capacity * sizeof *bag->tail);
    }
    *bag = (struct agg_bag){0};
}

static void become_full(struct agg_bag *bag, struct pool *pool)
{
    agg_bag_free(bag, pool);
    bag->tail_capacity = bag->tail_count = UINT32_MAX;
}

/* The entries become those of the view, with an empty tail. */
static void take_view(struct agg_bag *bag, struct pool *pool, const struct agg_bag_view *view)
{
    if (view->count > bag->capacity) {
        /* A quarter more, and what the block holds anyway. */
        uint32_t wanted = view->count + view->count / 4;
        size_t block = pool_block_size(wanted * sizeof *bag->entries);
        struct agg_bag_entry *entries = pool_alloc(pool, block);
        if (bag->entries != NULL) {
            pool_free(pool, bag->entries, bag->capacity * sizeof *bag->entries);
        }
        bag->entries = entries;
        bag->capacity = (uint32_t)(block / sizeof *entries);
    }
    if (view->count > 0) {
        memmove(bag->entries, view->entries, view->count * sizeof *bag->entries);
    }
    bag->count = view->count;
    bag->tail_count = 0;
}

/* Pool sizes are remembered as capacities: sizes that are not a whole number of items would not be
 * given back as they were taken. */
_Static_assert(sizeof(struct agg_bag_entry) == 16, "blocks of the pool are multiples of 16");

void agg_bag_make_room(struct agg_bag *bag, struct pool *pool, uint32_t limit)
{
    if (agg_bag_is_full(bag)) {
        return;
    }
    if (bag->tail_count > 0) {
        struct agg_bag_view view = agg_bag_view(bag);
        bool full = view.count > limit;
        if (!full) {
            take_view(bag, pool, &view);
        }
        agg_bag_view_free(&view);
        if (full) {
            become_full(bag, pool);
            return;
        }
    }
    uint32_t wanted = bag->count / 4 < TAIL_MIN   ? TAIL_MIN
                      : bag->count / 4 > TAIL_MAX ? TAIL_MAX
                                                  : bag->count / 4;
    if (bag->tail_capacity < wanted) {
        if (bag->tail != NULL) {
            pool_free(pool, bag->tail, bag->tail_capacity * sizeof *bag->tail);
        }
        bag->tail_capacity = wanted;
        bag->tail = pool_alloc(pool, bag->tail_capacity * sizeof *bag->tail);
    }
}

void agg_bag_merge(struct agg_bag *bag, struct pool *pool, const struct agg_bag *more,
                   uint32_t limit)
{
    if (agg_bag_is_full(bag) || agg_bag_is_full(more)) {
        become_full(bag, pool);
        return;
    }
    struct agg_bag_view ours = agg_bag_view(bag);
    struct agg_bag_view theirs = agg_bag_view(more);
    struct agg_bag_view all = {0};
    size_t room = (size_t)ours.count + theirs.count;
    struct agg_bag_entry *merged = xmalloc((room + 1) * sizeof *merged);
    all.count = merge_entries((struct source){ours.entries, ours.count},
                              (struct source){theirs.entries, theirs.count}, merged);
    all.entries = all.owned = merged;
    agg_bag_view_free(&ours);
    agg_bag_view_free(&theirs);
    if (all.count > limit) {
        become_full(bag, pool);
    } else {
        take_view(bag, pool, &all);
    }
    agg_bag_view_free(&all);
}

size_t agg_bag_owned(const struct agg_bag *bag)
{
    return agg_bag_is_full(bag)
               ? 0
               : bag->capacity * sizeof *bag->entries + bag->tail_capacity * sizeof *bag->tail;
}

/* ---- Bytes. */

void agg_bag_encode(const struct agg_bag *bag, struct buf *out, uint32_t limit)
{
    struct agg_bag_view view = {0};
    if (!agg_bag_is_full(bag)) {
        view = agg_bag_view(bag);
    }
    if (agg_bag_is_full(bag) || view.count > limit) {
        buf_append_varint(out, 0);
        agg_bag_view_free(&view);
        return;
    }
    buf_reserve(out, (1 + 2 * (size_t)view.count) * AGG_VARINT_BYTES);
    uint8_t *at = agg_put_varint(out->data + out->len, (uint64_t)view.count + 1);
    uint64_t before = 0;
    for (uint32_t i = 0; i < view.count; i++) {
        at = agg_put_varint(at, view.entries[i].key - before);
        at = agg_put_varint(at, view.entries[i].count);
        before = view.entries[i].key;
    }
    *at = 0;
    out->len = (size_t)(at - out->data);
    agg_bag_view_free(&view);
}

static bool take_entries(struct agg_bag_entry *entries, uint32_t count, struct agg_cursor *in,
                         uint64_t top)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t distance = 0;
        if (!agg_take_varint(in, &distance) || !agg_take_varint(in, &entries[i].count) ||
            (i > 0 && distance == 0) || distance > top - before || entries[i].count == 0 ||
            entries[i].count > UINT64_MAX >> 24) {
            return false;
        }
        before += distance;
        entries[i].key = before;
    }
    return true;
}

bool agg_bag_decode(struct agg_bag *bag, struct pool *pool, struct agg_cursor *in, uint32_t limit,
                    uint64_t top)
{
    uint64_t wire = 0;
    if (!agg_take_varint(in, &wire)) {
        return false;
    }
    if (wire == 0) {
        become_full(bag, pool);
        return true;
    }
    uint64_t count = wire - 1;
    if (count > limit || count > (in->len - in->pos) / 2) {
        return false;
    }
    if (count > 0) {
        size_t block = pool_block_size(count * sizeof *bag->entries);
        bag->entries = pool_alloc(pool, block);
        bag->capacity = (uint32_t)(block / sizeof *bag->entries);
        if (!take_entries(bag->entries, (uint32_t)count, in, top)) {
            return false;
        }
        bag->count = (uint32_t)count;
    }
    return true;
}
