/* Batches that wait behind a cut. Own header: pending.h. */
#include "replayer/pending.h"

#include <stdlib.h>
#include <string.h>

void pending_init(struct pending *pending)
{
    *pending = (struct pending){.first = NULL};
    pending->last = &pending->first;
}

void pending_push(struct pending *pending, const struct log_batch *batch)
{
    struct pending_batch *item = xcalloc(1, sizeof *item);
    for (const struct pending_batch *old = pending->first; old; old = old->next) {
        ASSERT(!old->borrowed);
    }
    item->index = batch->source;
    item->count = batch->count;
    item->records = batch->records;
    item->next_offset = batch->next_offset;
    item->doubt = batch->doubt;
    item->borrowed = batch->count > 0;
    *pending->last = item;
    pending->last = &item->next;
}

static size_t known(uint32_t len)
{
    return len == KAPPA_NULL_LEN ? 0 : len;
}

/* Copies a field behind *to and moves *to. */
static const uint8_t *copy_bytes(uint8_t **to, const uint8_t *from, size_t len)
{
    uint8_t *at = *to;
    if (!from) {
        return NULL;
    }
    if (len > 0) {
        memcpy(at, from, len);
    }
    *to += len;
    return at;
}

/* One block: the records, then their bytes, then the tail that parsers may read. */
static void keep_batch(struct pending_batch *batch)
{
    uint32_t left = batch->count - batch->taken;
    const struct kappa_record *from = batch->records + batch->taken;
    size_t bytes = left * sizeof(struct kappa_record) + KAPPA_RECORD_TAIL;
    for (uint32_t i = 0; i < left; i++) {
        bytes += known(from[i].key_len) + known(from[i].value_len) + from[i].headers_len;
    }
    struct kappa_record *to = xmalloc(bytes);
    uint8_t *data = (uint8_t *)(to + left);
    for (uint32_t i = 0; i < left; i++) {
        to[i] = from[i];
        to[i].key = copy_bytes(&data, from[i].key, known(from[i].key_len));
        to[i].value = copy_bytes(&data, from[i].value, known(from[i].value_len));
        to[i].headers = copy_bytes(&data, from[i].headers, from[i].headers_len);
    }
    memset(data, 0, KAPPA_RECORD_TAIL);
    ASSERT(data + KAPPA_RECORD_TAIL == (uint8_t *)to + bytes);
    batch->records = to;
    batch->copy = to;
    batch->count = left;
    batch->taken = 0;
    batch->bytes = bytes;
    batch->borrowed = false;
}

void pending_keep(struct pending *pending)
{
    for (struct pending_batch *batch = pending->first; batch; batch = batch->next) {
        if (batch->borrowed) {
            keep_batch(batch);
            pending->bytes += batch->bytes;
        }
    }
}

void pending_drop(struct pending *pending, struct pending_batch *batch)
{
    struct pending_batch **link = &pending->first;
    while (*link != batch) {
        ASSERT(*link);
        link = &(*link)->next;
    }
    *link = batch->next;
    if (pending->last == &batch->next) {
        pending->last = link;
    }
    ASSERT_CMP(pending->bytes, >=, batch->bytes);
    pending->bytes -= batch->bytes;
    free(batch->copy);
    free(batch);
}

void pending_clear(struct pending *pending)
{
    while (pending->first) {
        pending_drop(pending, pending->first);
    }
    ASSERT_CMP(pending->bytes, ==, 0);
}
