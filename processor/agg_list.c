/* Lists of values in the order of the log. Own header: agg_list.h. */
#include "processor/agg_list.h"

#include "processor/value_codec.h"

#include <string.h>

static void append(struct agg_list *list, struct pool *pool, const struct buf *bytes)
{
    size_t needed = list->len + bytes->len;
    if (needed > list->capacity) {
        size_t wanted = needed + needed / 4;
        uint32_t capacity = u32_from(pool_block_size(wanted));
        uint8_t *block = pool_alloc(pool, capacity);
        if (list->bytes != NULL) {
            memcpy(block, list->bytes, list->len);
            pool_free(pool, list->bytes, list->capacity);
        }
        list->bytes = block;
        list->capacity = capacity;
    }
    ASSERT(list->bytes != NULL);
    memcpy(list->bytes + list->len, bytes->data, bytes->len);
    list->len += (uint32_t)bytes->len;
}

static void become_full(struct agg_list *list, struct pool *pool)
{
    agg_list_free(list, pool);
    list->full = true;
}

void agg_list_add(struct agg_list *list, struct pool *pool, const struct agg_list_item *item,
                  uint32_t limit, struct buf *scratch)
{
    if (list->full) {
        return;
    }
    uint64_t null = item->value.is_null ? 2 : 0;
    uint64_t distance = (uint64_t)item->offset - (uint64_t)list->offset;
    buf_reset(scratch);
    if (list->any && item->source == list->source && distance >> 62 == 0) {
        buf_append_varint(scratch, distance << 2 | null);
    } else {
        buf_append_varint(scratch, null | 1);
        buf_append_varint(scratch, item->source);
        buf_append_varint(scratch, agg_zigzag(item->offset));
    }
    if (!item->value.is_null) {
        value_encode(scratch, &item->value);
    }
    if (list->len + scratch->len > limit) {
        become_full(list, pool);
        return;
    }
    append(list, pool, scratch);
    list->source = item->source;
    list->offset = item->offset;
    list->any = true;
}

struct agg_list_reader agg_list_read(const struct agg_list *list, enum kappa_type type)
{
    return (struct agg_list_reader){.in = {.bytes = list->bytes, .len = list->len}, .type = type};
}

bool agg_list_next(struct agg_list_reader *reader)
{
    struct agg_cursor *in = &reader->in;
    struct agg_list_item *item = &reader->item;
    bool first = in->pos == 0;
    uint64_t head = 0;
    uint64_t source = 0;
    uint64_t offset = 0;
    if (in->pos == in->len || !agg_take_varint(in, &head)) {
        return false;
    }
    if ((head & 1) == 0) {
        int64_t now = 0;
        if (first || __builtin_add_overflow(item->offset, (int64_t)(head >> 2), &now)) {
            return false;
        }
        item->offset = now;
    } else {
        if (head >> 2 != 0 || !agg_take_varint(in, &source) || source > UINT32_MAX ||
            !agg_take_varint(in, &offset)) {
            return false;
        }
        item->source = (uint32_t)source;
        item->offset = agg_unzigzag(offset);
    }
    item->value = (struct kappa_value){.type = reader->type, .is_null = (head & 2) != 0};
    return item->value.is_null || agg_take_value(in, &item->value);
}

static bool is_before(const struct agg_list_item *a, const struct agg_list_item *b)
{
    return a->source != b->source ? a->source < b->source : a->offset < b->offset;
}

void agg_list_merge(struct agg_list *list, struct pool *pool, const struct agg_list *more,
                    enum kappa_type type, uint32_t limit)
{
    if (list->full || more->full) {
        become_full(list, pool);
        return;
    }
    struct buf scratch = {0};
    struct agg_list all = {0};
    struct agg_list_reader a = agg_list_read(list, type);
    struct agg_list_reader b = agg_list_read(more, type);
    bool has_a = agg_list_next(&a);
    bool has_b = agg_list_next(&b);
    while (has_a || has_b) {
        bool take_b = has_b && (!has_a || is_before(&b.item, &a.item));
        agg_list_add(&all, pool, take_b ? &b.item : &a.item, limit, &scratch);
        if (take_b) {
            has_b = agg_list_next(&b);
        } else {
            has_a = agg_list_next(&a);
        }
    }
    agg_list_free(list, pool);
    *list = all;
    buf_free(&scratch);
}

void agg_list_free(struct agg_list *list, struct pool *pool)
{
    if (list->bytes != NULL) {
        pool_free(pool, list->bytes, list->capacity);
    }
    *list = (struct agg_list){0};
}

void agg_list_encode(const struct agg_list *list, struct buf *out)
{
    buf_append_varint(out, list->full ? 0 : (uint64_t)list->len + 1);
    if (list->len > 0) {
        buf_append(out, list->bytes, list->len);
    }
}

bool agg_list_decode(struct agg_list *list, struct pool *pool, struct agg_cursor *in,
                     enum kappa_type type, uint32_t limit)
{
    uint64_t wire = 0;
    if (!agg_take_varint(in, &wire)) {
        return false;
    }
    list->full = wire == 0;
    if (wire <= 1) {
        return true;
    }
    uint64_t len = wire - 1;
    if (len > limit || len > in->len - in->pos) {
        return false;
    }
    struct agg_list_reader reader = {.in = {.bytes = in->bytes + in->pos, .len = len},
                                     .type = type};
    while (reader.in.pos < len) {
        if (!agg_list_next(&reader)) {
            return false;
        }
    }
    struct buf bytes = {.data = (uint8_t *)(uintptr_t)(in->bytes + in->pos), .len = len};
    append(list, pool, &bytes);
    in->pos += len;
    list->any = true;
    list->source = reader.item.source;
    list->offset = reader.item.offset;
    return true;
}
